//! A file that is written in large blocks past the system's page cache, where the file system lets
//! us.
//!
//! A large blob is not read again soon, and it has to be on the disk before it counts. Through the
//! page cache its bytes are copied once more, threads that write to one file spin on its lock, and
//! other people's pages make room for ours: measured on 2 x 512 MiB, half of all CPU time. Where
//! direct writes are refused (some file systems, anything but Linux), the cache it is. Knows
//! nothing of hashes or names.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

/// What direct writes ask of addresses, offsets and lengths: the page size, which is a multiple of
/// every sector size in use (<https://man7.org/linux/man-pages/man2/open.2.html>, `O_DIRECT`).
const ALIGNMENT: usize = 4096;

/// Bytes of a block: what one write takes to the disk. With 64 fetches at once, 32 MiB of memory.
const BLOCK: usize = 512 * 1024;

/// A file open for writing at any place, by several threads at once.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    /// The same file, past the cache.
    direct: Option<File>,
}

impl Direct {
    /// Takes an open file, and opens it once more by its path.
    pub(super) fn new(file: File, path: &Path) -> Self {
        Self { file, direct: past_the_cache(path) }
    }

    /// The file as everybody else sees it.
    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Sets the blocks of `size` bytes aside on the disk. Answers whether that was possible; where
    /// it is not, the file is as long all the same, and its blocks come as they are written.
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

    /// Bytes that the file takes on the disk by now.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn allocated(&self) -> io::Result<u64> {
        // In units of 512, whatever the file system's own are.
        Ok(self.file.metadata()?.blocks().saturating_mul(512))
    }

    /// Writes the bytes of a [`Block`], or others, to their place.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = match &self.direct {
            Some(direct) if bytes.len().is_multiple_of(ALIGNMENT) => direct.write_at(bytes, offset),
            _ => Ok(0),
        };
        let written = match written {
            Ok(written) => written,
            // It asks for more than we know of: then not past the cache.
            Err(error) if error.kind() == ErrorKind::InvalidInput => 0,
            Err(error) => return Err(error),
        };
        self.file.write_all_at(&bytes[written..], offset + written as u64)
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

/// Bytes that are gathered for one write, at an address that direct writes accept.
#[derive(Debug)]
pub struct Block {
    memory: Box<[u8]>,
    /// Where the aligned bytes begin.
    start: usize,
    len: usize,
}

impl Default for Block {
    fn default() -> Self {
        let memory = vec![0; BLOCK + ALIGNMENT].into_boxed_slice();
        // Out of reach only by its contract; an address that does not suit is refused, not wrong.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, len: 0 }
    }
}

impl Block {
    /// Takes what fits of `bytes` and answers how much that was.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(BLOCK - self.len);
        self.room()[..taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    /// Takes what `read` puts at the front of the room that is left, and answers how much that was.
    ///
    /// # Errors
    /// The reader's.
    pub fn take_from<E>(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let taken = read(self.room())?;
        self.len = (self.len + taken).min(BLOCK);
        Ok(taken)
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.start + self.len..self.start + BLOCK]
    }

    /// What it holds.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it can take no more.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len == BLOCK
    }

    /// Empties it.
    pub const fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn block_of(bytes: &[u8]) -> Block {
        let mut block = Block::default();
        assert_eq!(block.take(bytes), bytes.len());
        block
    }

    #[test]
    fn a_block_holds_what_it_took_at_an_aligned_address_until_it_is_full() {
        let mut block = Block::default();
        assert_eq!(block.take(&vec![7; BLOCK + 1]), BLOCK);
        assert!(block.is_full());
        assert_eq!(block.take(b"more"), 0);
        assert_eq!(block.bytes().as_ptr().align_offset(ALIGNMENT), 0);
        block.clear();
        assert!(block.is_empty());
    }

    #[test]
    fn a_block_takes_from_a_reader_what_it_has_room_for() {
        let mut block = block_of(b"head ");
        let taken = block.take_from(|room| {
            room[..4].copy_from_slice(b"tail");
            Ok::<_, ()>(4)
        });
        assert_eq!((taken, block.bytes()), (Ok(4), &b"head tail"[..]));
        assert_eq!(block.take_from(|_| Err("torn")), Err("torn"));
        assert_eq!(block.bytes(), b"head tail");
    }

    #[test]
    fn whatever_their_length_blocks_land_where_they_belong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let direct = Direct::new(file, &path);
        let (whole, tail) = (vec![1; 2 * ALIGNMENT], vec![2; 77]);
        direct.allocate((whole.len() + tail.len()) as u64).unwrap();
        direct.write(block_of(&tail).bytes(), whole.len() as u64).unwrap();
        direct.write(block_of(&whole).bytes(), 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [whole, tail].concat());
    }
}
