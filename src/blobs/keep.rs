//! Keeping every file in place while a backup copies them.
//!
//! A backup locks a file of the data directory for itself; whoever is about to delete blobs shares
//! that lock, and leaves it for later where a backup holds it. The operating system drops both with
//! their processes.

use std::fs::{File, OpenOptions, TryLockError};

use super::{BlobError, Blobs, at};

/// The file that is locked.
const LOCK_FILE: &str = "backup.lock";

/// While this lives, no file of a blob is deleted, or a backup begun.
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct KeepGuard {
    _lock: File,
}

impl Blobs {
    /// Keeps every file in place: waits until collections and other backups have ended.
    ///
    /// # Errors
    /// The system's.
    pub fn keep_all(&self) -> Result<KeepGuard, BlobError> {
        let lock = self.lock_file()?;
        lock.lock().map_err(at(&self.root.join(LOCK_FILE)))?;
        Ok(KeepGuard { _lock: lock })
    }

    /// Leave to delete files; `None` while a backup copies them.
    ///
    /// # Errors
    /// The system's.
    pub fn may_delete(&self) -> Result<Option<KeepGuard>, BlobError> {
        let lock = self.lock_file()?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(Some(KeepGuard { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(at(&self.root.join(LOCK_FILE))(error)),
        }
    }

    /// [`Blobs::may_delete`], once the backup that is under way has ended.
    ///
    /// # Errors
    /// The system's.
    pub fn wait_to_delete(&self) -> Result<KeepGuard, BlobError> {
        let lock = self.lock_file()?;
        lock.lock_shared().map_err(at(&self.root.join(LOCK_FILE)))?;
        Ok(KeepGuard { _lock: lock })
    }

    fn lock_file(&self) -> Result<File, BlobError> {
        let path = self.root.join(LOCK_FILE);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        opened.map_err(at(&path))
    }
}
