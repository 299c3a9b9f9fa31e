//! What exports leave in the target when they are killed, and what they call it.
//!
//! Who writes a file that has no name of its own yet holds a lock on it, and so does who tries a
//! filesystem out in a folder of such a name. An export that was killed leaves them behind without
//! one, and the next export that comes by removes them.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
};

use cap_std::fs::Dir;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::dir::{entries, path};

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

/// Returns whether it was one. A living export has a lock on each of its files and folders, so that
/// nobody else gets one; a filesystem without locks gives none either.
fn remove_leftover(folder: &Dir, name: &CStr) -> io::Result<bool> {
    // Not through a link, and without waiting for the other end of a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |access| rustix::fs::openat(folder, name, access | flags, Mode::empty());
    let opened = match open(OFlags::RDWR) {
        Err(Errno::ISDIR) => open(OFlags::RDONLY | OFlags::DIRECTORY),
        opened => opened,
    };
    let left = File::from(opened?);
    let kind = left.metadata()?.file_type();
    let is_left = (kind.is_file() || kind.is_dir()) && left.try_lock().is_ok();
    let name = path(name.to_bytes());
    match is_left {
        true if kind.is_dir() => folder.remove_dir_all(name)?,
        true => folder.remove_file(name)?,
        false => {}
    }
    Ok(is_left)
}

/// Why an export ends that lost what it had begun.
pub(super) const TAKEN: &str =
    "another export took what this one had begun for a killed one's: run it again";
