//! A file of the target that has no name of its own yet, and the names that it may get.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind, Read as _},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::RenameFlags;
use tokio_util::sync::CancellationToken;

use super::{
    dir::path,
    facts::Facts,
    leftover::{TAKEN, temp_name},
    refusal::Trouble,
};
use crate::{blobs::holes, model::BlobHash};

/// A file that has no name of its own yet, open and locked. It goes when it gets none.
#[derive(Debug)]
pub(super) struct Temp {
    folder: Arc<Dir>,
    name: String,
    pub(super) file: File,
}

impl Temp {
    /// An empty file.
    pub(super) fn create(folder: &Arc<Dir>) -> io::Result<Self> {
        let name = temp_name();
        let file = folder.open_with(&name, OpenOptions::new().write(true).create_new(true))?;
        Self { folder: folder.clone(), name, file: file.into_std() }.locked()
    }

    /// A file that shares the blocks of `from`, where the filesystem can. Whatever it says where it
    /// cannot, copying is as right, and it is not asked again.
    pub(super) fn clone_of(folder: &Arc<Dir>, from: &File, facts: &Facts) -> Option<Self> {
        if !facts.can_clone.load(Relaxed) {
            return None;
        }
        let name = temp_name();
        let clone = reflink_copy::reflink_file_to_dir(from, folder, &name).and_then(|()| {
            let file = folder.open_with(&name, OpenOptions::new().write(true))?.into_std();
            // A clone has the stored file's permissions, which are nobody else's business.
            file.set_permissions(facts.traits.permissions.clone())?;
            Self { folder: folder.clone(), name: name.clone(), file }.locked()
        });
        if clone.is_err() {
            facts.can_clone.store(false, Relaxed);
            let _ = folder.remove_file(&name);
        }
        clone.ok()
    }

    /// A file with the bytes of `from`, and their hash.
    pub(super) fn copy_of(
        folder: &Arc<Dir>,
        mut from: &File,
        stop: &CancellationToken,
    ) -> Result<(Self, BlobHash), Trouble> {
        let temp = Self::create(folder)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            if stop.is_cancelled() {
                return Err(Trouble::Stopped);
            }
            hasher.update(&buffer[..read]);
            holes::write(&temp.file, &buffer[..read])?;
        }
        holes::end(&temp.file)?;
        Ok((temp, hasher.finalize().into()))
    }

    /// Says that somebody is at it, see [`super::leftover`].
    fn locked(self) -> io::Result<Self> {
        let is_taken = matches!(self.file.try_lock(), Err(TryLockError::WouldBlock));
        // Another export may have come by between the making and the lock.
        if is_taken || self.folder.symlink_metadata(&self.name).is_err() {
            return Err(io::Error::other(TAKEN));
        }
        Ok(self)
    }

    /// Gives it this name, whatever bears it.
    pub(super) fn replace(&self, name: &[u8]) -> Result<(), Trouble> {
        self.folder.rename(&self.name, &self.folder, path(name)).map_err(Trouble::naming)
    }

    /// Renames it, but not over anything; returns whether the name was free.
    pub(super) fn take_free_name(&self, name: &[u8]) -> Result<bool, Trouble> {
        let to = path(name);
        let flags = RenameFlags::NOREPLACE;
        let renamed =
            rustix::fs::renameat_with(&*self.folder, &self.name, &*self.folder, to, flags);
        let taken = |error: &io::Error| error.kind() == ErrorKind::AlreadyExists;
        match renamed.map_err(io::Error::from) {
            Ok(()) => return Ok(true),
            Err(error) if taken(&error) => return Ok(false),
            // Not every filesystem knows how; those that do refuse names in the same words. The
            // ways below do without.
            Err(error) if !may_not_know_how(&error) => return Err(Trouble::naming(error)),
            Err(_) => {}
        }
        match self.folder.hard_link(&self.name, &self.folder, to) {
            Ok(()) => return Ok(true),
            Err(error) if taken(&error) => return Ok(false),
            Err(_) => {}
        }
        // FAT has no links either. Between the look and the renaming only somebody else could
        // take the name.
        match self.folder.symlink_metadata(to) {
            Ok(_) => Ok(false),
            Err(_) => self.replace(name).map(|()| true),
        }
    }
}

fn may_not_know_how(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}

impl Drop for Temp {
    fn drop(&mut self) {
        // Renamed, it is not there any more; linked, this is its second name.
        let _ = self.folder.remove_file(&self.name);
    }
}
