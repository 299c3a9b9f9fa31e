//! The hash of a large blob as a tree of its parts.
//!
//! BLAKE3 is a tree, and a part of [`PART_BYTES`] is a complete subtree of it: each part is hashed
//! on its own as its bytes pass, and the parts' chaining values combine to the blob's hash without
//! reading anything again (see `blake3::hazmat`).

use blake3::hazmat::{self, ChainingValue, HasherExt as _, Mode};

/// The size of a part in bytes: a power of two, as a subtree of BLAKE3 has to be.
pub const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Where a part begins and ends in a blob of `size` bytes.
pub(super) fn part_range(index: usize, size: u64) -> (u64, u64) {
    let start = index as u64 * PART_BYTES;
    (start, (start + PART_BYTES).min(size))
}

/// A hasher for the subtree that begins at `offset`.
pub(super) fn hasher_at(offset: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

/// The hash of the blob whose parts have these chaining values, of which there are at least two.
pub(super) fn root(values: &[ChainingValue]) -> blake3::Hash {
    let (left, right) = halves(values);
    hazmat::merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash)
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let (left, right) = halves(values);
    hazmat::merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// BLAKE3's left subtree holds the largest power of two that leaves something for the right.
fn halves(values: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    values.split_at(values.len().next_power_of_two() / 2)
}
