//! Memory in which the bytes of a large blob are collected for one write.
//!
//! A block has an address that direct writes accept, and uses one huge page where the system has
//! one free: the kernel then pins one page for a write, not hundreds. With blocks of 512 KiB from
//! the heap, 2 x 512 MiB took a fifth more CPU time, measured. Released blocks are reused, the last
//! one first, because it is most likely to be still in the processor's cache. Knows nothing of
//! files.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use memmap2::MmapMut;

use super::BlobError;

/// Bytes of a block: a huge page where pages are of 4 KiB
/// (<https://docs.kernel.org/admin-guide/mm/transhuge.html>).
pub(super) const BLOCK: usize = 2 * 1024 * 1024;

/// How many released blocks are kept for reuse, however few are in use: as many as one download
/// has, of which one fills while the other is written.
const KEPT: usize = 2;

/// A pool of blocks; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks(Arc<Mutex<Pool>>);

#[derive(Debug, Default)]
struct Pool {
    kept: Vec<MmapMut>,
    in_use: usize,
}

/// Bytes that are collected for one write.
#[derive(Debug)]
pub(super) struct Block {
    /// `None` only while it is returned to the pool.
    memory: Option<MmapMut>,
    /// Where the aligned bytes start.
    start: usize,
    len: usize,
    pool: Blocks,
}

impl Blocks {
    /// An empty block.
    ///
    /// # Errors
    /// [`BlobError::Memory`].
    pub(super) fn acquire(&self) -> Result<Block, BlobError> {
        let kept = self.lock().kept.pop();
        let memory = kept.map_or_else(map, Ok).map_err(BlobError::Memory)?;
        self.lock().in_use += 1;
        // By its contract it may find none; an unaligned write is then refused, and goes another
        // way.
        let start = memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        Ok(Block { memory: Some(memory), start, len: 0, pool: self.clone() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address range of twice the size of a block, so that it contains an aligned block. Memory is
/// only used for pages that are written to.
fn map() -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(2 * BLOCK)?;
    // Only advice: without it, or without huge pages, it is slower but correct.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    Ok(memory)
}

impl Block {
    /// The buffer behind what it holds.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        let rest = self.start + self.len..self.start + BLOCK;
        self.memory.as_deref_mut().map_or(&mut [], |memory| &mut memory[rest])
    }

    /// Adds the first bytes of its buffer to what it holds.
    pub(super) fn advance(&mut self, count: usize) {
        self.len = (self.len + count).min(BLOCK);
    }

    /// What it holds.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        let held = self.start..self.start + self.len;
        self.memory.as_deref().map_or(&[], |memory| &memory[held])
    }

    /// Whether its buffer is empty.
    #[must_use]
    pub(super) const fn is_full(&self) -> bool {
        self.len == BLOCK
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut pool = self.pool.lock();
        pool.in_use -= 1;
        pool.kept.extend(self.memory.take());
        // Whoever uses blocks soon needs another, and new memory has to be cleared first.
        let surplus = pool.kept.len().saturating_sub(pool.in_use.max(KEPT));
        pool.kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn put(block: &mut Block, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(block.buffer().len());
        block.buffer()[..taken].copy_from_slice(&bytes[..taken]);
        block.advance(taken);
        taken
    }

    #[test]
    fn a_block_is_aligned_and_holds_what_was_added_until_it_is_full() {
        let mut block = Blocks::default().acquire().unwrap();
        assert_eq!(put(&mut block, b"head"), 4);
        assert_eq!(put(&mut block, &vec![7; BLOCK]), BLOCK - 4);
        assert!(block.is_full());
        assert_eq!(put(&mut block, b"more"), 0);
        assert_eq!(block.bytes().as_ptr().align_offset(BLOCK), 0);
        assert!(block.bytes().strip_prefix(b"head").unwrap().iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_block_never_holds_more_than_its_size() {
        let mut block = Blocks::default().acquire().unwrap();
        put(&mut block, b"head");
        block.advance(usize::MAX - 4);
        assert_eq!(block.bytes().len(), BLOCK);
    }

    #[test]
    fn a_released_block_is_empty_when_it_is_reused() {
        let blocks = Blocks::default();
        let mut block = blocks.acquire().unwrap();
        put(&mut block, b"old");
        let address = block.bytes().as_ptr();
        drop(block);
        let block = blocks.acquire().unwrap();
        assert_eq!((block.bytes(), block.bytes().as_ptr()), (&b""[..], address));
    }

    #[test]
    fn the_pool_keeps_no_more_blocks_than_are_in_use_but_always_a_few() {
        let blocks = Blocks::default();
        let mut taken: Vec<Block> = (0..10).map(|_| blocks.acquire().unwrap()).collect();
        let mut kept_with = |in_use| {
            taken.truncate(in_use);
            blocks.lock().kept.len()
        };
        assert_eq!([8, 5, 3, 0].map(&mut kept_with), [2, 5, 3, KEPT]);
    }
}
