//! Reading a blob, or a range of it, wherever its bytes are stored.

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
#[derive(Debug)]
pub struct Reader(Bytes);

#[derive(Debug)]
enum Bytes {
    Inline(io::Take<Cursor<Vec<u8>>>),
    File(io::Take<File>),
}

impl Blobs {
    /// Opens the blob of `hash`, which is stored at `place`, or the range `window` of it.
    ///
    /// # Errors
    /// The disk's, also for a missing file.
    pub fn read(
        &self,
        hash: &BlobHash,
        place: BlobLocation,
        window: Option<Window>,
    ) -> Result<Reader, BlobError> {
        let Window { start, len } = window.unwrap_or(Window { start: 0, len: u64::MAX });
        Ok(Reader(match place {
            BlobLocation::Inline(bytes) => {
                let mut cursor = Cursor::new(bytes);
                cursor.set_position(start);
                Bytes::Inline(cursor.take(len))
            }
            BlobLocation::File => {
                let path = self.path(hash);
                let mut file = File::open(&path).map_err(at(&path))?;
                file.seek(SeekFrom::Start(start)).map_err(at(&path))?;
                Bytes::File(file.take(len))
            }
        }))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Bytes::Inline(bytes) => bytes.read(buffer),
            Bytes::File(file) => file.read(buffer),
        }
    }
}
