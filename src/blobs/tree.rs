//! The hash of a large blob as a tree of its parts.
//!
//! BLAKE3 is a tree, and a part of [`PART_BYTES`] is a complete subtree of it: each part is hashed
//! on its own as its bytes pass, and the parts' chaining values combine to the blob's hash without
//! reading anything again (see `blake3::hazmat`).
//!
//! The values of a blob's parts are stored beside its file, so that a range of it can be checked
//! without reading the rest. Only values that combine to the blob's hash count, so their file need
//! neither be durable nor complete: whoever finds it missing or wrong reads the blob and writes it
//! again.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use blake3::hazmat::{self, ChainingValue, HasherExt as _, Mode};

use crate::model::BlobHash;

/// The size of a part in bytes: a power of two, as a subtree of BLAKE3 has to be.
pub const PART_BYTES: u64 = 8 * 1024 * 1024;

/// The bytes of a stored chaining value.
const VALUE: usize = 32;

/// Bytes that are read and hashed at once.
const CHUNK: usize = 256 * 1024;

/// Where a part begins and ends in a blob of `size` bytes.
pub(super) fn part_range(index: usize, size: u64) -> (u64, u64) {
    let start = index as u64 * PART_BYTES;
    (start, (start + PART_BYTES).min(size))
}

/// How many parts a blob of `size` bytes has.
pub(super) fn part_count(size: u64) -> usize {
    usize::try_from(size.div_ceil(PART_BYTES)).unwrap_or(usize::MAX)
}

/// A hasher for the subtree that begins at `offset`.
pub(super) fn hasher_at(offset: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}

/// The chaining value of a part, read from the blob's file.
pub(super) fn read_part(file: &File, index: usize, size: u64) -> io::Result<ChainingValue> {
    let (mut offset, end) = part_range(index, size);
    let mut hasher = hasher_at(offset);
    let mut buffer = vec![0; CHUNK];
    while offset < end {
        let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..want], offset)?;
        hasher.update(&buffer[..want]);
        offset += want as u64;
    }
    Ok(hasher.finalize_non_root())
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

/// Where the chaining values of a blob's parts are stored, given the path of its file.
pub(super) fn values_path(blob: &Path) -> PathBuf {
    blob.with_extension("parts")
}

/// Stores the chaining values of a blob of at least two parts. Best effort: without them, the first
/// reader of a range reads the whole blob.
pub(super) fn store_values(blob: &Path, values: &[ChainingValue]) {
    let path = values_path(blob);
    // Never half a file under this name, whoever else writes it at the same time.
    let fresh = path.with_extension(format!("parts-{}", ulid::Ulid::generate()));
    let written = fs::write(&fresh, values.concat()).and_then(|()| fs::rename(&fresh, &path));
    if let Err(error) = written {
        let _ = fs::remove_file(&fresh);
        tracing::debug!(?path, %error, "could not store the hashes of a blob's parts");
    }
}

/// The stored chaining values of the parts of a blob of `size` bytes; `None` where there are none
/// that combine to its hash.
pub(super) fn stored_values(blob: &Path, hash: &BlobHash, size: u64) -> Option<Vec<ChainingValue>> {
    let bytes = fs::read(values_path(blob)).ok()?;
    let (values, rest) = bytes.as_chunks::<VALUE>();
    let fits = rest.is_empty() && values.len() == part_count(size) && values.len() >= 2;
    (fits && BlobHash::from(root(values)) == *hash).then(|| values.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn stored_values_count_only_if_they_combine_to_the_hash() {
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("ab01");
        let values = [[1; VALUE], [2; VALUE], [3; VALUE]];
        let (hash, size) = (BlobHash::from(root(&values)), 2 * PART_BYTES + 1);
        assert_eq!(stored_values(&blob, &hash, size), None);
        store_values(&blob, &values);
        assert_eq!(stored_values(&blob, &hash, size).unwrap(), values);
        assert_eq!(stored_values(&blob, &hash, 2 * PART_BYTES), None);
        assert_eq!(stored_values(&blob, &BlobHash::of(b"another"), size), None);
        store_values(&blob, &values[..2]);
        assert_eq!(stored_values(&blob, &hash, size), None);
    }
}
