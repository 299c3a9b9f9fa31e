//! Runs of zeros: they are not written, so that they take no space on a filesystem that can leave
//! holes in files, and read as zeros all the same.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
};

/// The shortest run that is left out, a multiple of every block size in use.
const RUN: usize = 64 * 1024;

static ZEROS: [u8; RUN] = [0; RUN];

/// Whether all bytes are zero. Stops at the first chunk that is not.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(RUN).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Adds `bytes` to a file that is written front to back, and moves over its runs of zeros. The file
/// has its full length only after [`end`].
///
/// # Errors
/// The disk's.
pub fn write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    for (index, chunk) in bytes.chunks(RUN).enumerate() {
        if chunk.len() < RUN || !is_zero(chunk) {
            continue;
        }
        let start = index * RUN;
        file.write_all(&bytes[written..start])?;
        file.seek(SeekFrom::Current(RUN as i64))?;
        written = start + RUN;
    }
    file.write_all(&bytes[written..])
}

/// Gives the file its length, in case that it ends in a run of zeros.
///
/// # Errors
/// The disk's.
pub fn end(mut file: &File) -> io::Result<()> {
    let length = file.stream_position()?;
    if file.metadata()?.len() < length { file.set_len(length) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io::Read as _, os::unix::fs::MetadataExt as _};

    use super::*;

    #[test]
    fn what_is_written_around_zeros_reads_as_it_was() {
        let pieces = [vec![7; 3 * RUN + 5], vec![0; 40 * RUN], vec![9; 77], vec![0; 20 * RUN]];
        let mut file = tempfile::tempfile().unwrap();
        for piece in &pieces {
            write(&file, piece).unwrap();
        }
        end(&file).unwrap();

        let mut read = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == pieces.concat());
        let on_disk = file.metadata().unwrap().blocks() * 512;
        assert!(on_disk <= 8 * RUN as u64, "{on_disk} bytes on the disk");
    }
}
