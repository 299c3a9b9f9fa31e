//! The bytes of consecutive parts of a large blob in transit: collected in blocks and hashed part
//! by part. Knows no file and no journal; `partial` writes the blocks.

use blake3::hazmat::{ChainingValue, HasherExt as _};

use super::{
    BlobError,
    block::{Block, Blocks},
    tree::{PART_BYTES, hasher_at, part_range},
};

/// How many bytes are hashed at once. A complete subtree again, so that all lanes of the processor
/// are used: the pieces in which a network delivers them would leave ever smaller ones at both
/// ends.
const HASH_BYTES: usize = 64 * 1024;

/// Collects and hashes the bytes of consecutive parts, front to back. Bytes are hashed as they
/// arrive, while they are still in the processor's cache.
#[derive(Debug)]
pub struct PartWriter {
    /// The part that is arriving.
    index: usize,
    hasher: blake3::Hasher,
    /// The block that is being filled; `None`: nothing has arrived since the last one was full.
    block: Option<Block>,
    /// How many bytes of the block are hashed already.
    hashed: usize,
    blocks: Blocks,
    /// The offset of the next byte.
    offset: u64,
    part_end: u64,
    end: u64,
}

/// A block that can be written, its offset, and the part that is complete once it is written.
#[derive(Debug)]
pub struct FilledBlock {
    pub(super) block: Block,
    pub(super) offset: u64,
    pub(super) part: Option<(usize, ChainingValue)>,
}

impl PartWriter {
    /// Starts where part `index` starts, and ends at `end`.
    pub(super) fn new(index: usize, end: u64, blocks: Blocks) -> Self {
        let (start, part_end) = part_range(index, end);
        Self {
            index,
            hasher: hasher_at(start),
            block: None,
            hashed: 0,
            blocks,
            offset: start,
            part_end,
            end,
        }
    }

    /// How many bytes are still missing.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.end - self.offset
    }

    /// Copies as many of `bytes` as fit into the block, and returns how many: none at the end.
    ///
    /// # Errors
    /// [`BlobError::Memory`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, BlobError> {
        let buffer = self.buffer()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.advance(count);
        Ok(count)
    }

    /// The buffer for the next bytes, for callers that can read into it: empty at the end.
    ///
    /// # Errors
    /// [`BlobError::Memory`].
    pub fn buffer(&mut self) -> Result<&mut [u8], BlobError> {
        let left = usize::try_from(self.part_end - self.offset).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&mut []);
        }
        let block = match &mut self.block {
            Some(block) => block,
            none => none.insert(self.blocks.acquire()?),
        };
        let buffer = block.buffer();
        let most = buffer.len().min(left);
        Ok(&mut buffer[..most])
    }

    /// Counts and hashes the bytes that were put at the front of the buffer.
    pub fn advance(&mut self, count: usize) {
        let left = usize::try_from(self.part_end - self.offset).unwrap_or(usize::MAX);
        let Some(block) = &mut self.block else { return };
        // A reader that claims more than the buffer holds has not read more.
        let count = count.min(block.buffer().len()).min(left);
        block.advance(count);
        self.offset += count as u64;
        let bytes = block.bytes();
        let hashable = bytes.len() - bytes.len() % HASH_BYTES;
        if hashable > self.hashed {
            self.hasher.update(&bytes[self.hashed..hashable]);
            self.hashed = hashable;
        }
    }

    /// The block, once it has to be written before more bytes can be added.
    pub fn filled_block(&mut self) -> Option<FilledBlock> {
        let is_part_complete = self.offset == self.part_end;
        let block = self.block.take_if(|block| is_part_complete || block.is_full())?;
        self.hasher.update(&block.bytes()[self.hashed..]);
        self.hashed = 0;
        let block_offset = self.offset - block.bytes().len() as u64;
        let part = is_part_complete.then(|| self.end_part());
        Some(FilledBlock { block, offset: block_offset, part })
    }

    /// Starts the next part, and returns the one that ended.
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
