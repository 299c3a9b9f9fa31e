//! What is in an archive. Nothing of it is kept.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
};

use serde_json::{Value, json};

use super::{Facts, rewind, set};

/// Entries that are listed with their paths.
const LISTED: usize = 1000;
/// Entries that are counted at most: what says that it has more is no archive that anybody made.
const COUNTED: u64 = 10_000_000;
/// Bytes that are unpacked of a compressed archive, to see what is in it.
const UNPACKED: u64 = 512 * 1024 * 1024;
/// Bytes of a record of a tar archive.
const RECORD: u64 = 512;

pub(super) fn read_zip(file: &mut File, facts: &mut Facts) {
    if !rewind(file) {
        return;
    }
    let Ok(copy) = file.try_clone() else { return };
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let Ok(archive) = rawzip::ZipArchive::from_file(copy, &mut buffer) else { return };
    let (mut count, mut first) = (0_u64, Vec::new());
    let mut entries = archive.entries(&mut buffer);
    while let Ok(Some(entry)) = entries.next_entry() {
        count += 1;
        if first.len() < LISTED {
            let path = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            first.push(json!({"path": path, "size_bytes": entry.uncompressed_size_hint()}));
        }
        if count == COUNTED {
            break;
        }
    }
    set_entries(count, first, facts);
}

/// <https://www.gnu.org/software/tar/manual/html_node/Standard.html>
pub(super) fn read_tar(file: &mut File, facts: &mut Facts) {
    if !rewind(file) {
        return;
    }
    let mut reader = BufReader::new(&*file);
    let listed = list_tar(&mut reader, |reader, skip| {
        i64::try_from(skip).is_ok_and(|skip| reader.seek(SeekFrom::Current(skip)).is_ok())
    });
    set_entries(listed.count, listed.first, facts);
}

/// A tar that is compressed: read through once, as far as that is sensible, and kept nowhere.
pub(super) fn read_tar_gz(file: &mut File, facts: &mut Facts) {
    if !rewind(file) {
        return;
    }
    let unpacked = flate2::read::MultiGzDecoder::new(BufReader::new(&*file));
    let mut reader = unpacked.take(UNPACKED);
    let listed = list_tar(&mut reader, |reader, skip| {
        io::copy(&mut reader.take(skip), &mut io::sink()).is_ok_and(|skipped| skipped == skip)
    });
    // How many there are is not known of what was not read to its end.
    match reader.limit() {
        0 => set(facts, "entries", (!listed.first.is_empty()).then_some(listed.first)),
        _ => set_entries(listed.count, listed.first, facts),
    }
}

#[derive(Default)]
struct Contents {
    count: u64,
    first: Vec<Value>,
}

fn list_tar<R: Read>(reader: &mut R, mut skip: impl FnMut(&mut R, u64) -> bool) -> Contents {
    let mut listed = Contents::default();
    let mut header = [0; RECORD as usize];
    while reader.read_exact(&mut header).is_ok() && header[0] != 0 && listed.count < COUNTED {
        let Some(size) = octal(&header[124..136]) else { break };
        // What is of any age has this; what has it not is no tar.
        if listed.count == 0 && &header[257..262] != b"ustar" && octal(&header[148..156]).is_none()
        {
            break;
        }
        // Long names and the like are records about the next entry, not entries.
        if !matches!(header[156], b'x' | b'g' | b'L' | b'K') {
            listed.count += 1;
            if listed.first.len() < LISTED {
                listed.first.push(json!({"path": name(&header), "size_bytes": size}));
            }
        }
        if !skip(reader, size.div_ceil(RECORD) * RECORD) {
            break;
        }
    }
    listed
}

fn set_entries(count: u64, first: Vec<Value>, facts: &mut Facts) {
    if count > 0 {
        set(facts, "entry_count", Some(count));
        set(facts, "entries", Some(first));
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

fn name(header: &[u8]) -> String {
    let until_nul = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let prefix =
        if &header[257..262] == b"ustar" { until_nul(&header[345..500]) } else { String::new() };
    let name = until_nul(&header[..100]);
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}
