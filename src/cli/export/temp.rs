//! A file of the target that has no name of its own yet, and the names that it may get.
//!
//! Who writes one holds a lock on it. An export that was killed leaves its files behind without
//! one, and the next export that comes by removes them.

use std::{
    ffi::{CStr, CString},
    fs::{File, TryLockError},
    io::{self, ErrorKind, Read as _},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{Mode, OFlags, RenameFlags};
use tokio_util::sync::CancellationToken;

use super::{
    dir::{entries, path},
    facts::Facts,
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

/// A name for what is not finished.
pub(super) fn temp_name() -> String {
    format!("{PREFIX}{}{SUFFIX}", ulid::Ulid::generate())
}

const PREFIX: &str = ".catchment-";
const SUFFIX: &str = ".partial";

fn is_temp_name(name: &[u8]) -> bool {
    let id =
        str::from_utf8(name).ok().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
    id.is_some_and(|id| ulid::Ulid::from_string(id).is_ok())
}

/// Removes what exports that are dead have left in `folder`. Best effort: what cannot be looked at
/// or removed stays, and is in nobody's way.
pub(super) fn clear_leftovers(folder: &Dir) {
    let Ok(entries) = entries(folder) else { return };
    let left: Vec<CString> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| is_temp_name(name.to_bytes()))
        .collect();
    for name in left {
        match remove_leftover(folder, &name) {
            Ok(true) => tracing::debug!(?name, "removed what a killed export had left"),
            Ok(false) => tracing::debug!(?name, "left to the export that writes it"),
            Err(error) => tracing::debug!(?name, %error, "cannot tell whether an export is at it"),
        }
    }
}

/// Returns whether it was one. A living export has a lock on each of its files, so that nobody
/// else gets one; a filesystem without locks gives none either.
fn remove_leftover(folder: &Dir, name: &CStr) -> io::Result<bool> {
    // Not through a link, and without waiting for the other end of a pipe.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
    let is_left = file.metadata()?.is_file() && file.try_lock().is_ok();
    if is_left {
        folder.remove_file(path(name.to_bytes()))?;
    }
    Ok(is_left)
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

    /// Says that somebody is at it, see [`clear_leftovers`].
    fn locked(self) -> io::Result<Self> {
        let is_taken = matches!(self.file.try_lock(), Err(TryLockError::WouldBlock));
        // Another export may have come by between the making and the lock.
        if is_taken || self.folder.symlink_metadata(&self.name).is_err() {
            let words = "another export took it for a killed one's leftover; run it again";
            return Err(io::Error::other(words));
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
