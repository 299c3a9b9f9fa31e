//! Bytes of a large blob on their way from a source to the disk: gathered in blocks, hashed part by
//! part. Knows no file and no journal; where a block goes is for `partial` to see to.

use blake3::hazmat::{ChainingValue, HasherExt as _};

use super::{
    BlobError,
    block::{Block, Blocks},
    partial::{PART_BYTES, hasher_at, part_range},
};

/// Bytes that are hashed together as they come. A whole subtree again, so that all lanes of the processor
/// are at work: pieces as a network brings them leave ever smaller ones at both of their ends.
const HASH_BYTES: usize = 64 * 1024;

/// Gathers and hashes the bytes of some parts in a row, front to back. Bytes are hashed as they come,
/// while the processor still has them at hand.
#[derive(Debug)]
pub struct Stretch {
    /// The part that is arriving.
    index: usize,
    hasher: blake3::Hasher,
    /// What has come since the last block was full; `None`: nothing.
    block: Option<Block>,
    /// How many bytes of the block are hashed.
    hashed: usize,
    blocks: Blocks,
    /// How far it has come.
    reached: u64,
    part_end: u64,
    end: u64,
}

/// A block, where it belongs, and the part that is whole once it is there.
#[derive(Debug)]
pub struct Filled {
    pub(super) block: Block,
    pub(super) offset: u64,
    pub(super) part: Option<(usize, ChainingValue)>,
}

impl Stretch {
    /// Begins where part `index` does, and ends at `end`.
    pub(super) fn new(index: usize, end: u64, blocks: Blocks) -> Self {
        let (start, part_end) = part_range(index, end);
        Self {
            index,
            hasher: hasher_at(start),
            block: None,
            hashed: 0,
            blocks,
            reached: start,
            part_end,
            end,
        }
    }

    /// How many bytes it still lacks.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.end - self.reached
    }

    /// Takes what it can of `bytes` before a block is ready, and answers how much that was: nothing at
    /// its end.
    ///
    /// # Errors
    /// [`BlobError::Memory`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, BlobError> {
        let room = self.room()?;
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.took(taken);
        Ok(taken)
    }

    /// Where the next bytes go, for who can put them there: none at its end.
    ///
    /// # Errors
    /// [`BlobError::Memory`].
    pub fn room(&mut self) -> Result<&mut [u8], BlobError> {
        let left = usize::try_from(self.part_end - self.reached).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&mut []);
        }
        let block = match &mut self.block {
            Some(block) => block,
            none => none.insert(self.blocks.take()?),
        };
        let room = block.room();
        let most = room.len().min(left);
        Ok(&mut room[..most])
    }

    /// Takes what has been put at the front of its room.
    pub fn took(&mut self, taken: usize) {
        let left = usize::try_from(self.part_end - self.reached).unwrap_or(usize::MAX);
        let Some(block) = &mut self.block else { return };
        // A reader that claims more than it was given room for brought no more.
        let taken = taken.min(block.room().len()).min(left);
        block.took(taken);
        self.reached += taken as u64;
        let bytes = block.bytes();
        let worth = bytes.len() - bytes.len() % HASH_BYTES;
        if worth > self.hashed {
            self.hasher.update(&bytes[self.hashed..worth]);
            self.hashed = worth;
        }
    }

    /// The block, once it has to go before more can be taken.
    pub fn hand_over(&mut self) -> Option<Filled> {
        let is_part_whole = self.reached == self.part_end;
        let block = self.block.take_if(|block| is_part_whole || block.is_full())?;
        self.hasher.update(&block.bytes()[self.hashed..]);
        self.hashed = 0;
        let offset = self.reached - block.bytes().len() as u64;
        let part = is_part_whole.then(|| self.end_part());
        Some(Filled { block, offset, part })
    }

    /// Goes on to the next part, and answers what this one was.
    fn end_part(&mut self) -> (usize, ChainingValue) {
        let part = (self.index, self.hasher.finalize_non_root());
        if self.part_end < self.end {
            self.index += 1;
            self.hasher = hasher_at(self.part_end);
            self.part_end = (self.part_end + PART_BYTES).min(self.end);
        }
        part
    }
}
