//! A blob that is written front to back and hashed as its bytes pass.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use blake3::hazmat::{ChainingValue, HasherExt as _};

use super::{
    BlobError, Blobs, at, holes,
    tree::{PART_BYTES, hasher_at, root, store_values},
};
use crate::model::BlobHash;

/// A blob that is being written. Dropping it deletes it.
#[derive(Debug)]
pub struct Stage {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    hashing: Hashing,
    size: u64,
}

/// The hash of bytes that pass, part by part (see `tree`).
#[derive(Debug, Default)]
struct Hashing {
    /// The parts that are complete and followed by another byte.
    done: Vec<ChainingValue>,
    /// Of the part that is arriving.
    hasher: blake3::Hasher,
}

impl Hashing {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.hasher.count() == PART_BYTES {
                self.done.push(self.hasher.finalize_non_root());
                self.hasher = hasher_at(self.done.len() as u64 * PART_BYTES);
            }
            let left = usize::try_from(PART_BYTES - self.hasher.count()).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(left.min(bytes.len()));
            self.hasher.update(now);
            bytes = rest;
        }
    }

    /// The hash, and the values of the parts where there are several.
    fn finish(mut self) -> (BlobHash, Vec<ChainingValue>) {
        if self.done.is_empty() {
            return (self.hasher.finalize().into(), Vec::new());
        }
        self.done.push(self.hasher.finalize_non_root());
        (root(&self.done).into(), self.done)
    }
}

impl Blobs {
    /// Starts a blob.
    ///
    /// # Errors
    /// The disk's.
    pub fn stage(&self) -> Result<Stage, BlobError> {
        let path = self.staging.join(ulid::Ulid::generate().to_string());
        let file = new_file(&path).map_err(at(&path))?;
        Ok(Stage { blobs: self.clone(), path, file, hashing: Hashing::default(), size: 0 })
    }
}

/// A new file that only we can read.
fn new_file(path: &std::path::Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

impl Stage {
    /// Adds the next bytes.
    ///
    /// # Errors
    /// [`BlobError::Full`], or the disk's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.hashing.update(bytes);
        self.size += bytes.len() as u64;
        holes::write(&self.file, bytes).map_err(|error| self.blobs.failed(&self.path, error))
    }

    /// How many bytes were added.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Makes the blob durable under its final name and returns its hash.
    ///
    /// # Errors
    /// [`BlobError::Full`], or the disk's.
    pub fn finish(mut self) -> Result<BlobHash, BlobError> {
        let (hash, parts) = std::mem::take(&mut self.hashing).finish();
        holes::end(&self.file).map_err(|error| self.blobs.failed(&self.path, error))?;
        self.blobs.publish(&self.path, &self.file, &hash, self.size)?;
        if !parts.is_empty() {
            store_values(&self.blobs.path(&hash), &parts);
        }
        Ok(hash)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A finished blob has another name by now. What cannot be deleted here is deleted with the
        // worker's folder.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_pass_in_pieces_hash_like_the_whole() {
        let part = PART_BYTES as usize;
        for size in [0, 1, part - 1, part, part + 1, 2 * part, 3 * part + 77] {
            let mut bytes = vec![0; size];
            blake3::Hasher::new_derive_key("stage test").finalize_xof().fill(&mut bytes);
            let mut hashing = Hashing::default();
            bytes.chunks(300_007).for_each(|piece| hashing.update(piece));
            let (hash, parts) = hashing.finish();
            assert_eq!(hash, BlobHash::of(&bytes), "{size} bytes");
            assert_eq!(parts.len(), if size > part { size.div_ceil(part) } else { 0 });
        }
    }
}
