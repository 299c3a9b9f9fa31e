//! What is in an archive. Nothing is unpacked.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
};

use serde_json::{Value, json};

use super::{Facts, rewind, set};

/// Entries that are told of.
const TOLD: usize = 1000;
/// Entries that are counted at most: what says that it has more is no archive that anybody made.
const COUNTED: u64 = 10_000_000;
/// Bytes of a record of a tar archive.
const RECORD: u64 = 512;

pub(super) fn read_zip(file: &mut File, facts: &mut Facts) {
    if !rewind(file) {
        return;
    }
    let Ok(copy) = file.try_clone() else { return };
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let Ok(archive) = rawzip::ZipArchive::from_file(copy, &mut buffer) else { return };
    let (mut count, mut told) = (0_u64, Vec::new());
    let mut entries = archive.entries(&mut buffer);
    while let Ok(Some(entry)) = entries.next_entry() {
        count += 1;
        if told.len() < TOLD {
            let path = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            told.push(json!({"path": path, "size_bytes": entry.uncompressed_size_hint()}));
        }
        if count == COUNTED {
            break;
        }
    }
    tell(count, told, facts);
}

/// <https://www.gnu.org/software/tar/manual/html_node/Standard.html>
pub(super) fn read_tar(file: &mut File, facts: &mut Facts) {
    if !rewind(file) {
        return;
    }
    let mut reader = BufReader::new(&*file);
    let (mut count, mut told) = (0_u64, Vec::new());
    let mut header = [0; RECORD as usize];
    while reader.read_exact(&mut header).is_ok() && header[0] != 0 && count < COUNTED {
        let Some(size) = octal(&header[124..136]) else { break };
        // Long names and the like are records about the next entry, not entries.
        if !matches!(header[156], b'x' | b'g' | b'L' | b'K') {
            count += 1;
            if told.len() < TOLD {
                told.push(json!({"path": name(&header), "size_bytes": size}));
            }
        }
        let Ok(skip) = i64::try_from(size.div_ceil(RECORD) * RECORD) else { break };
        if reader.seek(SeekFrom::Current(skip)).is_err() {
            break;
        }
    }
    tell(count, told, facts);
}

fn tell(count: u64, told: Vec<Value>, facts: &mut Facts) {
    if count > 0 {
        set(facts, "entry_count", Some(count));
        set(facts, "entries", Some(told));
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
