//! A file that is written in large blocks past the system's page cache, where the file system
//! allows it.
//!
//! A large blob is not read again soon, and it has to be on the disk before it counts. Through the
//! page cache its bytes are copied again, threads that write to one file wait for its lock, and
//! other programs' pages are evicted: measured on 2 x 512 MiB, half of all CPU time. Where direct
//! writes are refused (some file systems, all but Linux), the page cache is used. Knows nothing of
//! hashes or names.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use super::holes::is_zero;

/// The alignment that direct writes need for addresses, offsets and lengths: the page size, which
/// is a multiple of every sector size in use (<https://man7.org/linux/man-pages/man2/open.2.html>,
/// `O_DIRECT`).
const ALIGNMENT: usize = 4096;

/// A file that several threads can write to at any offset.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// The same file, past the cache.
    direct: Option<File>,
}

impl Direct {
    /// Opens a file that is open already once more, by its path.
    pub(super) fn new(file: File, path: &Path) -> Self {
        Self { file, direct: past_the_cache(path) }
    }

    /// The file, through the cache.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Allocates `size` bytes on the disk. Returns whether that was possible; otherwise the file
    /// has the same length, and its disk blocks are allocated as they are written.
    ///
    /// # Errors
    /// The disk's, which may be that it is full.
    pub(super) fn allocate(&self, size: u64) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            let whole = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&self.file, whole, 0, size).map_err(io::Error::from) {
                Ok(()) => return self.file.set_len(size).map(|()| true),
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => return Err(error),
            }
        }
        self.file.set_len(size).map(|()| false)
    }

    /// The bytes that are allocated on the disk.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn allocated(&self) -> io::Result<u64> {
        // In units of 512, whatever the file system's own are.
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    /// Writes bytes at an offset, past the cache where their address and length are aligned, as
    /// those of a full block are. Zeros become a hole, where the file system can have one.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if is_zero(bytes) && self.punch(offset, bytes.len() as u64) {
            return Ok(());
        }
        let written = match &self.direct {
            Some(direct) if bytes.len().is_multiple_of(ALIGNMENT) => direct.write_at(bytes, offset),
            _ => Ok(0),
        };
        let written = match written {
            Ok(written) => written,
            // It needs another alignment than we know of: write through the cache.
            Err(error) if error.kind() == ErrorKind::InvalidInput => 0,
            Err(error) => return Err(error),
        };
        self.file.write_all_at(&bytes[written..], offset + written as u64)
    }
}

impl Direct {
    /// Releases the disk blocks of a range, which reads as zeros from then on. Returns whether it
    /// could.
    fn punch(&self, offset: u64, len: u64) -> bool {
        #[cfg(target_os = "linux")]
        {
            let flags =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            len > 0 && rustix::fs::fallocate(&self.file, flags, offset, len).is_ok()
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (offset, len);
            false
        }
    }
}

#[cfg(target_os = "linux")]
fn past_the_cache(path: &Path) -> Option<File> {
    use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _};

    let flag = rustix::fs::OFlags::DIRECT.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flag).open(path).ok()
}

#[cfg(not(target_os = "linux"))]
fn past_the_cache(_: &Path) -> Option<File> {
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::block::Blocks, *};

    #[test]
    fn blocks_of_any_length_are_written_at_their_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let direct = Direct::new(file, &path);
        let block = |bytes: &[u8]| {
            let mut block = Blocks::default().acquire().unwrap();
            block.buffer()[..bytes.len()].copy_from_slice(bytes);
            block.advance(bytes.len());
            block
        };
        let (whole, tail) = (vec![1; 2 * ALIGNMENT], vec![2; 77]);
        direct.allocate((whole.len() + tail.len()) as u64).unwrap();
        direct.write(block(&tail).bytes(), whole.len() as u64).unwrap();
        direct.write(block(&whole).bytes(), 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [whole, tail].concat());
    }
}
