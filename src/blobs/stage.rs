//! A blob that is written front to back and hashed as its bytes pass.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::{BlobError, Blobs, at, holes};
use crate::model::BlobHash;

/// A blob that is being written. Dropping it deletes it.
#[derive(Debug)]
pub struct Stage {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    size: u64,
}

impl Blobs {
    /// Starts a blob.
    ///
    /// # Errors
    /// The disk's.
    pub fn stage(&self) -> Result<Stage, BlobError> {
        let path = self.staging.join(ulid::Ulid::generate().to_string());
        let file = new_file(&path).map_err(at(&path))?;
        Ok(Stage { blobs: self.clone(), path, file, hasher: blake3::Hasher::new(), size: 0 })
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
        self.hasher.update(bytes);
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
    pub fn finish(self) -> Result<BlobHash, BlobError> {
        let hash = BlobHash::from(self.hasher.finalize());
        holes::end(&self.file).map_err(|error| self.blobs.failed(&self.path, error))?;
        self.blobs.publish(&self.path, &self.file, &hash, self.size)?;
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
