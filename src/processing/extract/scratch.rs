//! Folders for what an extractor writes, which go when nobody needs them any more.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A folder that goes when it is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder in `parent`.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let path = parent.join(ulid::Ulid::generate().to_string());
        fs::DirBuilder::new().create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot go now goes with the staging folder that it is in.
        let _ = fs::remove_dir_all(&self.0);
    }
}
