//! Reading a blob, or a range of it, wherever its bytes are stored.
//!
//! Bytes are hashed as they pass, and the last ones are returned only if all of them are right: a
//! reader of damaged bytes ends in an error, never in a success. Of a range, the parts that it
//! touches are hashed (see `tree`), and each part's last bytes wait for that part.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek as _, SeekFrom},
    sync::PoisonError,
};

use blake3::hazmat::{ChainingValue, HasherExt as _};

use super::{
    BlobError, Blobs, at,
    tree::{self, hasher_at, part_count, part_range},
};
use crate::{model::BlobHash, store::blobs::BlobLocation};

/// A range of a blob: `start` and `len` in bytes, already clipped to its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub len: u64,
}

/// The bytes of a blob, as a stream. An open one stays readable when the blob is collected.
///
/// Damage is an [`io::Error`] that [`Damage::of`] recognises.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    hash: BlobHash,
    /// How many bytes are still to come.
    left: u64,
    check: Check,
}

#[derive(Debug)]
enum Bytes {
    Inline(Cursor<Vec<u8>>),
    File(File),
}

/// What the bytes that pass are compared with.
#[derive(Debug)]
enum Check {
    /// Nothing: they were checked before.
    Nothing,
    /// The hash of all of them.
    Whole(blake3::Hasher),
    /// The hashes of the parts that a range touches.
    Parts(Parts),
}

/// The part that a reader is in, and those behind it that it will come to.
#[derive(Debug)]
struct Parts {
    index: usize,
    hasher: blake3::Hasher,
    /// Bytes of this part that have not passed yet.
    left: u64,
    /// Bytes of the whole blob.
    size: u64,
    /// The chaining values of this part and those behind it; none where the blob is one part.
    values: std::vec::IntoIter<ChainingValue>,
}

/// The bytes of a blob are not what they were when it was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its stored bytes are damaged: {problem}")]
pub struct Damage {
    /// What they should hash to.
    pub hash: BlobHash,
    /// What is wrong with them.
    pub problem: String,
}

impl Damage {
    /// The damage that an error of a [`Reader`] reports, if it is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> Self {
        Self::new(io::ErrorKind::InvalidData, damage)
    }
}

impl Blobs {
    /// Opens the blob of `hash`, which is stored at `place`, or the range `window` of it.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] when its file is missing or has another size, or where it is found
    /// out before the first byte; or the disk's.
    pub fn read(
        &self,
        hash: &BlobHash,
        place: BlobLocation,
        window: Option<Window>,
    ) -> Result<Reader, BlobError> {
        match place {
            BlobLocation::Inline(bytes) => read_inline(hash, bytes, window),
            BlobLocation::File { size } => {
                let file = self.open_file(hash, size)?;
                match window.filter(|part| (part.start, part.len) != (0, size)) {
                    Some(window) => self.read_range(hash, file, size, window),
                    None => Ok(Reader {
                        bytes: Bytes::File(file),
                        hash: *hash,
                        left: size,
                        check: Check::Whole(blake3::Hasher::new()),
                    }),
                }
            }
        }
    }

    /// Opens the file of `hash`, which should have `size` bytes.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] when it is missing or has another size, or the disk's.
    pub fn open_file(&self, hash: &BlobHash, size: u64) -> Result<File, BlobError> {
        let path = self.path(hash);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(hash, "their file is missing"),
            _ => at(&path)(error),
        })?;
        let found = file.metadata().map_err(at(&path))?.len();
        if found == size {
            return Ok(file);
        }
        Err(damaged(hash, &format!("there are {found} bytes instead of {size}")))
    }

    /// Opens the file of `hash` for others to read, once all of it is checked.
    ///
    /// # Errors
    /// [`BlobError::Damaged`], or the disk's.
    pub fn open_checked(&self, hash: &BlobHash, size: u64) -> Result<File, BlobError> {
        let path = self.path(hash);
        let failed = || at(&path);
        let mut file = self.open_file(hash, size)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&file).map_err(failed())?;
        let found = BlobHash::from(hasher.finalize());
        if found != *hash {
            return Err(damaged(hash, &format!("they hash to {found}")));
        }
        file.rewind().map_err(failed())?;
        Ok(file)
    }

    fn read_range(
        &self,
        hash: &BlobHash,
        file: File,
        size: u64,
        Window { start, len }: Window,
    ) -> Result<Reader, BlobError> {
        if start.saturating_add(len) > size {
            return Err(damaged(hash, &format!("there are only {size} of them")));
        }
        let path = self.path(hash);
        let failed = || at(&path);
        let mut values = self.part_values(hash, &file, size)?;
        let index = usize::try_from(start / tree::PART_BYTES).unwrap_or(usize::MAX);
        values.drain(..index.min(values.len()));
        let mut parts = Parts::starting(index, size, values);
        let mut file = file;
        file.seek(SeekFrom::Start(part_range(index, size).0)).map_err(failed())?;
        let mut reader =
            Reader { bytes: Bytes::File(file), hash: *hash, left: len, check: Check::Nothing };
        let before = start - part_range(index, size).0;
        parts
            .pass_over(&mut reader.bytes, before)
            .map_err(|error| missing_or(hash, error, failed()))?;
        reader.check = if len == 0 { Check::Nothing } else { Check::Parts(parts) };
        Ok(reader)
    }

    /// The chaining values of the parts of a blob, where it has several. Reads all of it if they
    /// are not stored.
    fn part_values(
        &self,
        hash: &BlobHash,
        file: &File,
        size: u64,
    ) -> Result<Vec<ChainingValue>, BlobError> {
        if part_count(size) < 2 {
            return Ok(Vec::new());
        }
        let path = self.path(hash);
        let stored = || tree::stored_values(&path, hash, size);
        if let Some(values) = stored() {
            return Ok(values);
        }
        // Whoever waited here finds what another reader has stored.
        let _one_at_a_time = self.rehashing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(values) = stored() {
            return Ok(values);
        }
        let values: io::Result<Vec<_>> =
            (0..part_count(size)).map(|index| tree::read_part(file, index, size)).collect();
        let values = values.map_err(|error| missing_or(hash, error, at(&path)))?;
        let found = BlobHash::from(tree::root(&values));
        if found != *hash {
            return Err(damaged(hash, &format!("they hash to {found}")));
        }
        tree::store_values(&path, &values);
        Ok(values)
    }
}

/// Bytes of the database: few enough to be checked before a range of them is returned.
fn read_inline(
    hash: &BlobHash,
    bytes: Vec<u8>,
    window: Option<Window>,
) -> Result<Reader, BlobError> {
    let found = BlobHash::of(&bytes);
    if found != *hash {
        return Err(damaged(hash, &format!("they hash to {found}")));
    }
    let size = bytes.len() as u64;
    let Window { start, len } = window.unwrap_or(Window { start: 0, len: size });
    if start.saturating_add(len) > size {
        return Err(damaged(hash, &format!("there are only {size} of them")));
    }
    let mut bytes = Cursor::new(bytes);
    bytes.set_position(start);
    Ok(Reader { bytes: Bytes::Inline(bytes), hash: *hash, left: len, check: Check::Nothing })
}

const MISSING: &str = "the last of them are missing";

fn damaged(hash: &BlobHash, problem: &str) -> BlobError {
    BlobError::Damaged(Damage { hash: *hash, problem: problem.to_owned() })
}

/// The error of a file that became shorter while it was read, or another one of the disk.
fn missing_or(
    hash: &BlobHash,
    error: io::Error,
    other: impl FnOnce(io::Error) -> BlobError,
) -> BlobError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(hash, MISSING),
        _ => other(error),
    }
}

impl Parts {
    /// `values` are those from part `index` on.
    fn starting(index: usize, size: u64, values: Vec<ChainingValue>) -> Self {
        let (start, end) = part_range(index, size);
        let (hasher, left) = (hasher_at(start), end - start);
        Self { index, hasher, left, size, values: values.into_iter() }
    }

    /// Takes bytes that have passed, of this part only.
    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.left -= bytes.len() as u64;
    }

    /// Reads `count` bytes of this part that nobody asked for.
    fn pass_over(&mut self, from: &mut Bytes, mut count: u64) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            let read = from.read(&mut buffer[..most])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pass(&buffer[..read]);
            count -= read as u64;
        }
        Ok(())
    }

    /// Compares this part, which has passed, and moves to the next. Returns whether it is right.
    fn end_part(&mut self, hash: &BlobHash) -> bool {
        if part_count(self.size) < 2 {
            return BlobHash::from(self.hasher.finalize()) == *hash;
        }
        if self.values.next() != Some(self.hasher.finalize_non_root()) {
            return false;
        }
        self.index += 1;
        let (start, end) = part_range(self.index, self.size);
        // Behind the last part there is none.
        self.left = end.saturating_sub(start);
        self.hasher = hasher_at(start);
        true
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Inline(bytes) => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl Reader {
    /// Takes bytes that have been read, and checks what is complete by now.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left -= bytes.len() as u64;
        let hash = self.hash;
        let wrong = |problem: String| Err(Damage { hash, problem }.into());
        match &mut self.check {
            Check::Nothing => {}
            Check::Whole(hasher) => {
                hasher.update(bytes);
                if self.left > 0 {
                    return Ok(());
                }
                let found = BlobHash::from(hasher.finalize());
                if found != hash {
                    return wrong(format!("they hash to {found}"));
                }
            }
            Check::Parts(parts) => {
                parts.pass(bytes);
                if self.left == 0 {
                    let passed = parts.pass_over(&mut self.bytes, parts.left);
                    passed.or_else(|error| match error.kind() {
                        io::ErrorKind::UnexpectedEof => wrong(MISSING.to_owned()),
                        _ => Err(error),
                    })?;
                }
                if parts.left == 0 && !parts.end_part(&hash) {
                    let (start, _) = part_range(parts.index, parts.size);
                    return wrong(format!("those from byte {start} on have another hash"));
                }
            }
        }
        Ok(())
    }

    /// How many bytes may be read at once.
    fn most(&self) -> u64 {
        match &self.check {
            Check::Parts(parts) => self.left.min(parts.left),
            Check::Whole(_) | Check::Nothing => self.left,
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.most()).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..most];
        let read = self.bytes.read(buffer)?;
        if read == 0 {
            let problem = format!("the last {} of them are missing", self.left);
            return Err(Damage { hash: self.hash, problem }.into());
        }
        self.pass(&buffer[..read])?;
        Ok(read)
    }
}
