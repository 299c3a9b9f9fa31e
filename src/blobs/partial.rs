//! A large blob that arrives in parts, in any order, over as many runs as it takes.
//!
//! Each finished part is recorded in a journal beside the file with its chaining value (see
//! `tree`). After an interruption the journal's parts are read again and only those that still hash
//! to their value count, so that torn writes and power cuts do no harm.
//!
//! Journal: records of 36 bytes, the part's index (u32, little-endian) and its chaining value. A
//! record that a crash cut short is ignored, and so is everything behind it.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    ops::Range,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use blake3::hazmat::ChainingValue;

use super::{
    BlobError, Blobs, Room, at,
    direct::Direct,
    make_dir,
    part_writer::{FilledBlock, PartWriter},
    tree::{PART_BYTES, part_count, part_range, read_part, root, store_values},
};
use crate::model::{BlobHash, EntryId, SyncId, Version};

const RECORD: usize = 4 + 32;

/// A blob of at least two parts, some of which may be stored.
#[derive(Debug)]
pub struct Partial {
    blobs: Blobs,
    path: PathBuf,
    journal_path: PathBuf,
    file: Direct,
    size: u64,
    /// Reserved space for what is not allocated on the disk yet.
    _room: Option<Room>,
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct Parts {
    journal: File,
    /// The chaining value of each part that is stored.
    done: Vec<Option<ChainingValue>>,
}

impl Blobs {
    /// Opens the blob for `version` of an entry, with the parts that an earlier attempt has stored
    /// and that are intact. `size` must be more than [`PART_BYTES`].
    ///
    /// # Errors
    /// [`BlobError::Full`] when there is no space for what is missing, or the disk's.
    pub fn partial(
        &self,
        sync: &SyncId,
        id: &EntryId,
        version: &Version,
        size: u64,
    ) -> Result<Partial, BlobError> {
        let folder = self.partials(sync);
        make_dir(&folder)?;
        let path = folder.join(name(id, version, size));
        let journal_path = path.with_extension("parts");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(at(&path))?;
        let mut journal = options.open(&journal_path).map_err(at(&journal_path))?;
        let mut records = Vec::new();
        journal.read_to_end(&mut records).map_err(at(&journal_path))?;
        let file = Direct::new(file, &path);
        let failed = |error| self.failed(&path, error);
        // Before anything is made for each of its parts: the size is what somebody says.
        let room = self.reserve(size.saturating_sub(file.allocated().map_err(failed)?));
        let room = room.inspect_err(|_| discard_empty(&path, &journal_path))?;
        let done = intact_parts(&records, file.file(), size);
        let is_allocated = file.allocate(size).map_err(failed)?;
        let partial = Partial {
            blobs: self.clone(),
            path,
            journal_path,
            file,
            size,
            _room: (!is_allocated).then_some(room),
            parts: Mutex::new(Parts { journal, done }),
        };
        partial.rewrite_journal()?;
        Ok(partial)
    }
}

/// Leaves nothing of a blob that does not fit and of which nothing has arrived. What cannot be
/// deleted is deleted with what else was not written for long.
fn discard_empty(path: &Path, journal_path: &Path) {
    if fs::metadata(path).is_ok_and(|facts| facts.len() == 0) {
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(journal_path);
    }
}

/// A file name for one version of one entry.
fn name(id: &EntryId, version: &Version, size: u64) -> String {
    let mut hasher = blake3::Hasher::new();
    for field in [id.as_bytes(), &version.0, &size.to_le_bytes()] {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
    }
    hasher.finalize().to_hex().to_string()
}

/// The parts that are in the journal and intact in the file.
fn intact_parts(records: &[u8], file: &File, size: u64) -> Vec<Option<ChainingValue>> {
    let count = part_count(size);
    let mut done = vec![None; count];
    for record in records.chunks_exact(RECORD) {
        let (index, value) = record.split_at(4);
        let (Ok(index), Ok(value)) = (index.try_into().map(u32::from_le_bytes), value.try_into())
        else {
            break;
        };
        let index = index as usize;
        if index < count && read_part(file, index, size).is_ok_and(|found| found == value) {
            done[index] = Some(value);
        }
    }
    done
}

impl Partial {
    /// How many parts it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().done.len()
    }

    /// The indexes of the parts that are missing.
    #[must_use]
    pub fn missing(&self) -> Vec<usize> {
        let parts = self.lock();
        (0..parts.done.len()).filter(|index| parts.done[*index].is_none()).collect()
    }

    /// Whether a part is missing.
    #[must_use]
    pub fn is_missing(&self, index: usize) -> bool {
        self.lock().done.get(index).is_some_and(Option::is_none)
    }

    /// Where some consecutive parts begin and how long they are, in bytes.
    #[must_use]
    pub fn range(&self, parts: &Range<usize>) -> (u64, u64) {
        let start = (parts.start as u64 * PART_BYTES).min(self.size);
        let end = (parts.end as u64 * PART_BYTES).min(self.size);
        (start, end.saturating_sub(start))
    }

    /// Starts to write some consecutive parts.
    #[must_use]
    pub fn write_parts(&self, parts: &Range<usize>) -> PartWriter {
        let (start, len) = self.range(parts);
        PartWriter::new(parts.start, start + len, self.blobs.blocks.clone())
    }

    /// Writes a block, and records the part that it completes. From then on that part survives the
    /// end of the process, and a power cut if the disk has written it by then.
    ///
    /// # Errors
    /// [`BlobError::Full`], or the disk's.
    pub fn write_block(&self, filled: &FilledBlock) -> Result<(), BlobError> {
        self.file
            .write(filled.block.bytes(), filled.offset)
            .map_err(|error| self.blobs.failed(&self.path, error))?;
        match filled.part {
            Some((index, value)) => self.record_part(index, value),
            None => Ok(()),
        }
    }

    /// Records a part whose bytes are all written.
    fn record_part(&self, index: usize, value: ChainingValue) -> Result<(), BlobError> {
        // Nothing is made durable here: the journal is checked when it is read, and `finish` syncs.
        self.begin_write_back(index);
        let mut parts = self.lock();
        parts
            .journal
            .write_all(&record(index, &value))
            .map_err(|error| self.blobs.failed(&self.journal_path, error))?;
        parts.done[index] = Some(value);
        Ok(())
    }

    /// Has the disk start to write a part while others arrive, without waiting for it: otherwise
    /// `finish` would have to wait for all of it. Linux reacts to this advice in that way
    /// (<https://man7.org/linux/man-pages/man2/posix_fadvise.2.html>); nothing depends on it.
    fn begin_write_back(&self, index: usize) {
        #[cfg(target_os = "linux")]
        {
            let (start, end) = part_range(index, self.size);
            let len = std::num::NonZeroU64::new(end - start);
            let _ = rustix::fs::fadvise(self.file.file(), start, len, rustix::fs::Advice::DontNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = index;
    }

    /// Makes the blob durable under its final name and returns its hash, or `None` while parts are
    /// missing.
    ///
    /// # Errors
    /// [`BlobError::Full`], or the disk's.
    pub fn finish(self) -> Result<Option<BlobHash>, BlobError> {
        let values: Option<Vec<ChainingValue>> = self.lock().done.iter().copied().collect();
        let Some(values) = values else { return Ok(None) };
        let hash = BlobHash::from(root(&values));
        self.blobs.publish(&self.path, self.file.file(), &hash, self.size)?;
        store_values(&self.blobs.path(&hash), &values);
        // A journal without its file is ignored.
        let _ = fs::remove_file(&self.journal_path);
        Ok(Some(hash))
    }

    /// Calls `visit` with all bytes, front to back. Only makes sense once no part is missing.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_all(&self, mut visit: impl FnMut(&[u8])) -> Result<(), BlobError> {
        let mut buffer = vec![0; 256 * 1024];
        let mut offset = 0;
        while offset < self.size {
            let rest = usize::try_from(self.size - offset).unwrap_or(usize::MAX);
            let piece = rest.min(buffer.len());
            let piece = &mut buffer[..piece];
            self.file.file().read_exact_at(piece, offset).map_err(at(&self.path))?;
            visit(piece);
            offset += piece.len() as u64;
        }
        Ok(())
    }

    /// Deletes the parts: they do not belong together.
    ///
    /// # Errors
    /// The disk's.
    pub fn discard(self) -> Result<(), BlobError> {
        // A journal without its file is ignored.
        let _ = fs::remove_file(&self.journal_path);
        fs::remove_file(&self.path).map_err(at(&self.path))
    }

    /// Keeps only the records of intact parts, so that new records follow complete ones.
    fn rewrite_journal(&self) -> Result<(), BlobError> {
        let mut parts = self.lock();
        let records: Vec<u8> = parts
            .done
            .iter()
            .enumerate()
            .filter_map(|(index, value)| Some(record(index, value.as_ref()?)))
            .flatten()
            .collect();
        let failed = |error| self.blobs.failed(&self.journal_path, error);
        parts.journal.set_len(0).map_err(failed)?;
        std::io::Seek::rewind(&mut parts.journal).map_err(failed)?;
        parts.journal.write_all(&records).map_err(failed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record(index: usize, value: &ChainingValue) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    record[..4].copy_from_slice(&index.to_le_bytes());
    record[4..].copy_from_slice(value);
    record
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::EntryPath;

    fn content(size: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        blake3::Hasher::new_derive_key("partial test").finalize_xof().fill(&mut bytes);
        bytes
    }

    struct Fixture {
        _dir: tempfile::TempDir,
        blobs: Blobs,
        sync: SyncId,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let blobs = Blobs::open(dir.path(), "w", Some(ByteSize(0))).unwrap();
            Self { _dir: dir, blobs, sync: SyncId::generate() }
        }

        fn open(&self, size: u64) -> Partial {
            let id = EntryPath::new("big".as_bytes());
            self.blobs.partial(&self.sync, &id, &Version(b"v1".to_vec()), size).unwrap()
        }
    }

    use bytesize::ByteSize;

    /// Writes bytes for some parts; returns how many are missing then.
    fn write(partial: &Partial, parts: Range<usize>, mut bytes: &[u8]) -> u64 {
        let mut writer = partial.write_parts(&parts);
        while !bytes.is_empty() {
            // In pieces that do not end where blocks and parts do.
            let written = writer.write(&bytes[..bytes.len().min(300_007)]).unwrap();
            bytes = &bytes[written..];
            if let Some(block) = writer.filled_block() {
                partial.write_block(&block).unwrap();
            }
        }
        writer.missing()
    }

    fn put(partial: &Partial, parts: Range<usize>, bytes: &[u8]) {
        let (start, len) = partial.range(&parts);
        let start = usize::try_from(start).unwrap();
        let bytes = &bytes[start..start + usize::try_from(len).unwrap()];
        assert_eq!(write(partial, parts, bytes), 0);
    }

    #[test]
    fn parts_written_in_any_order_hash_like_the_whole() {
        for size in [PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES - 5, 5 * PART_BYTES + 1024] {
            let fixture = Fixture::new();
            let bytes = content(size);
            let partial = fixture.open(size);
            for index in partial.missing().into_iter().rev() {
                put(&partial, index..index + 1, &bytes);
            }
            let hash = partial.finish().unwrap().unwrap();
            assert_eq!(hash, BlobHash::of(&bytes), "{size} bytes");
            assert_eq!(fs::read(fixture.blobs.path(&hash)).unwrap(), bytes);
        }
    }

    #[test]
    fn nothing_is_written_beyond_the_last_part() {
        let fixture = Fixture::new();
        let size = 2 * PART_BYTES;
        let partial = fixture.open(size);
        put(&partial, 0..2, &content(size));
        let mut writer = partial.write_parts(&(1..2));
        while writer.missing() > 0 {
            writer.write(&[7; 4096]).unwrap();
            writer.filled_block();
        }
        assert_eq!(writer.write(b"more").unwrap(), 0);
        assert!(writer.filled_block().is_none());
    }

    #[test]
    fn a_finished_part_is_not_missing_after_reopening() {
        let fixture = Fixture::new();
        let size = 3 * PART_BYTES;
        let bytes = content(size);
        put(&fixture.open(size), 1..2, &bytes);
        assert_eq!(fixture.open(size).missing(), [0, 2]);
    }

    #[test]
    fn a_download_that_breaks_off_keeps_its_complete_parts() {
        let fixture = Fixture::new();
        let size = 5 * PART_BYTES - 99;
        let bytes = content(size);
        let partial = fixture.open(size);
        let half = PART_BYTES / 2;
        let arrives = usize::try_from(2 * PART_BYTES + half).unwrap();
        let from = usize::try_from(PART_BYTES).unwrap();
        let missing = write(&partial, 1..5, &bytes[from..from + arrives]);
        assert_eq!(missing, half + PART_BYTES - 99);
        drop(partial);
        let partial = fixture.open(size);
        assert_eq!(partial.missing(), [0, 3, 4]);
        put(&partial, 3..5, &bytes);
        put(&partial, 0..1, &bytes);
        assert_eq!(partial.finish().unwrap(), Some(BlobHash::of(&bytes)));
    }

    #[test]
    fn a_damaged_part_is_missing_after_reopening() {
        let fixture = Fixture::new();
        let size = 3 * PART_BYTES;
        let partial = fixture.open(size);
        put(&partial, 1..2, &content(size));
        partial.file.file().write_all_at(b"rot", PART_BYTES + 77).unwrap();
        drop(partial);
        assert_eq!(fixture.open(size).missing(), [0, 1, 2]);
    }

    #[test]
    fn an_unfinished_blob_is_not_published() {
        let fixture = Fixture::new();
        let partial = fixture.open(2 * PART_BYTES);
        assert!(partial.finish().unwrap().is_none());
    }
}
