//! Names in an open folder, and the folder opened to be listed. Nothing is written here.

use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};

/// What the folder lists.
pub(super) fn entries(dir: &Dir) -> io::Result<rustix::fs::Dir> {
    Ok(rustix::fs::Dir::new(readable(dir)?)?)
}

/// The folder itself, opened to be read; a [`Dir`] is one through which other things are opened.
pub(super) fn readable(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, c".", flags, Mode::empty())?)
}

/// One name as a path. [`RelativePath`](super::relative_path::RelativePath) has checked that it is
/// one.
pub(super) fn path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}
