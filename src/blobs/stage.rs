//! A blob written front to back, hashed as the bytes pass.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use super::{BlobError, Blobs, at};
use crate::model::BlobHash;

/// A blob in the making. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Stage {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    size: u64,
}

impl Blobs {
    /// Begins a blob.
    ///
    /// # Errors
    /// The disk's.
    pub fn stage(&self) -> Result<Stage, BlobError> {
        let path = self.staging.join(ulid::Ulid::generate().to_string());
        let file = new_file(&path).map_err(at(&path))?;
        Ok(Stage { blobs: self.clone(), path, file, hasher: blake3::Hasher::new(), size: 0 })
    }
}

/// A file of our own that nobody else has.
fn new_file(path: &std::path::Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

impl Stage {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`BlobError::Full`], or the disk's.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| self.blobs.failed(&self.path, error))
    }

    /// How many bytes it has taken.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Makes the blob durable under its name, which this answers.
    ///
    /// # Errors
    /// [`BlobError::Full`], or the disk's.
    pub fn finish(self) -> Result<BlobHash, BlobError> {
        let hash = BlobHash::from(self.hasher.finalize());
        self.blobs.publish(&self.path, &self.file, &hash, self.size)?;
        Ok(hash)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing is there under this name once it is finished. What stays behind in spite of this
        // goes with its worker's folder.
        let _ = fs::remove_file(&self.path);
    }
}
