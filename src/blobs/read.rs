//! Reading a blob, or a range of it, wherever its bytes are stored.
//!
//! A blob that is read whole is hashed as its bytes pass, and its last bytes are returned only if
//! all of them are right: a reader of damaged bytes ends in an error, never in a success.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek as _, SeekFrom},
};

use super::{BlobError, Blobs, at};
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
    /// For a whole blob, the hash of what has passed; taken once it is checked.
    passed: Option<blake3::Hasher>,
}

#[derive(Debug)]
enum Bytes {
    Inline(Cursor<Vec<u8>>),
    File(File),
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
    /// [`BlobError::Damaged`] when its file is missing or too short for the range, or the disk's.
    pub fn read(
        &self,
        hash: &BlobHash,
        place: BlobLocation,
        window: Option<Window>,
    ) -> Result<Reader, BlobError> {
        let damaged = |problem: String| BlobError::Damaged(Damage { hash: *hash, problem });
        let (mut bytes, size) = match place {
            BlobLocation::Inline(bytes) => {
                let size = bytes.len() as u64;
                // Small enough to be checked before a range of it is returned.
                let found = BlobHash::of(&bytes);
                if found != *hash {
                    return Err(damaged(format!("they hash to {found}")));
                }
                (Bytes::Inline(Cursor::new(bytes)), size)
            }
            BlobLocation::File => {
                let path = self.path(hash);
                let file = File::open(&path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => damaged("their file is missing".to_owned()),
                    _ => at(&path)(error),
                })?;
                let size = file.metadata().map_err(at(&path))?.len();
                (Bytes::File(file), size)
            }
        };
        let Some(Window { start, len }) = window.filter(|part| (part.start, part.len) != (0, size))
        else {
            let passed = Some(blake3::Hasher::new());
            return Ok(Reader { bytes, hash: *hash, left: size, passed });
        };
        if start.saturating_add(len) > size {
            return Err(damaged(format!("only {size} bytes are left of them")));
        }
        match &mut bytes {
            Bytes::Inline(bytes) => bytes.set_position(start),
            Bytes::File(file) => {
                file.seek(SeekFrom::Start(start)).map_err(at(&self.path(hash)))?;
            }
        }
        Ok(Reader { bytes, hash: *hash, left: len, passed: None })
    }
}

impl Reader {
    /// Checks what has passed, once that is all.
    fn check(&mut self) -> io::Result<()> {
        let Some(passed) = self.passed.take() else { return Ok(()) };
        let found = BlobHash::from(passed.finalize());
        if found == self.hash {
            return Ok(());
        }
        Err(Damage { hash: self.hash, problem: format!("they hash to {found}") }.into())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.check().map(|()| 0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..most];
        let read = match &mut self.bytes {
            Bytes::Inline(bytes) => bytes.read(buffer),
            Bytes::File(file) => file.read(buffer),
        }?;
        if read == 0 && most > 0 {
            let problem = format!("the last {} of them are missing", self.left);
            return Err(Damage { hash: self.hash, problem }.into());
        }
        if let Some(passed) = &mut self.passed {
            passed.update(&buffer[..read]);
        }
        self.left -= read as u64;
        if self.left == 0 {
            self.check()?;
        }
        Ok(read)
    }
}
