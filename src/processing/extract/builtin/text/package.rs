//! A zip that an Office file or a book is: its parts by name, unpacked one at a time and never
//! beyond a bound.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek as _, SeekFrom},
};

use rawzip::{CompressionMethod, FileReader, ZipArchive, ZipArchiveEntryWayfinder};

use super::super::{Stop, permanent, too_much};

/// Parts that a package may have.
const PARTS: usize = 100_000;
/// Bytes of one part, unpacked.
const PART_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of all parts that are read, unpacked.
const ALL_BYTES: u64 = 256 * 1024 * 1024;

/// An open package.
pub(in super::super) struct Package {
    archive: ZipArchive<FileReader>,
    parts: HashMap<String, (ZipArchiveEntryWayfinder, CompressionMethod)>,
    left: u64,
}

impl Package {
    pub(in super::super) fn open(file: &mut File) -> Result<Self, Stop> {
        file.seek(SeekFrom::Start(0)).map_err(|error| damaged(&error))?;
        let file = file.try_clone().map_err(|error| damaged(&error))?;
        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(|error| damaged(&error))?;
        let mut parts = HashMap::new();
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(|error| damaged(&error))? {
            if parts.len() == PARTS {
                return Err(too_much(format!("it has more than {PARTS} parts")));
            }
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            parts.insert(name, (entry.wayfinder(), entry.compression_method()));
        }
        Ok(Self { archive, parts, left: ALL_BYTES })
    }

    pub(in super::super) fn has(&self, name: &str) -> bool {
        self.parts.contains_key(name)
    }

    /// The text of a part; `None` where there is none of that name.
    ///
    /// # Errors
    /// When it is damaged or unpacks to too much.
    pub(in super::super) fn part(&mut self, name: &str) -> Result<Option<String>, Stop> {
        let Some((wayfinder, method)) = self.parts.get(name) else { return Ok(None) };
        let entry = self.archive.get_entry(*wayfinder).map_err(|error| damaged(&error))?;
        let mut bytes = Vec::new();
        let most = PART_BYTES.min(self.left);
        let read = match *method {
            CompressionMethod::STORE => entry.reader().take(most + 1).read_to_end(&mut bytes),
            CompressionMethod::DEFLATE => flate2::read::DeflateDecoder::new(entry.reader())
                .take(most + 1)
                .read_to_end(&mut bytes),
            other => {
                return Err(permanent(format!(
                    "{name} is packed in a way not read here: {other:?}"
                )));
            }
        };
        let read = read.map_err(|error| damaged(&error))? as u64;
        if read > most {
            return Err(too_much(format!(
                "{name} unpacks to more than {PART_BYTES} bytes, or all parts to more than {ALL_BYTES}"
            )));
        }
        self.left -= read;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| permanent(format!("{name} is not written in UTF-8")))
    }

    /// The text of a part that a document of its kind must have.
    ///
    /// # Errors
    /// When it is missing, damaged or unpacks to too much.
    pub(in super::super) fn must_have(&mut self, name: &str) -> Result<String, Stop> {
        self.part(name)?.ok_or_else(|| permanent(format!("it has no part {name}")))
    }

    /// What the relations of a part lead to, by id; as names of parts.
    ///
    /// # Errors
    /// When they are damaged.
    pub(in super::super) fn relations(
        &mut self,
        part: &str,
    ) -> Result<HashMap<String, Relation>, Stop> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let Some(text) = self.part(&format!("{folder}/_rels/{file}.rels"))? else {
            return Ok(HashMap::new());
        };
        let mut relations = HashMap::new();
        super::xml::each(&text, |item| {
            if let super::xml::Item::Open(tag) = item
                && tag.name() == "Relationship"
                && let (Some(id), Some(target)) = (tag.get("Id"), tag.get("Target"))
            {
                let kind = tag.get("Type").unwrap_or_default();
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                relations.insert(id, Relation { kind, part: resolve(folder, &target) });
            }
            Ok(())
        })?;
        Ok(relations)
    }
}

/// What one part says of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Relation {
    /// The last word of its type: `slide`, `worksheet`, …
    pub(in super::super) kind: String,
    /// The name of the part.
    pub(in super::super) part: String,
}

/// The name of a part as another part in `folder` calls it.
pub(in super::super) fn resolve(folder: &str, target: &str) -> String {
    let mut path: Vec<&str> = match target.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|step| !step.is_empty()).collect(),
    };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.join("/")
}

fn damaged(error: &dyn std::error::Error) -> Stop {
    permanent(format!("the archive is damaged: {error}"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn parts_are_found_from_where_they_are_named() {
        assert_eq!(resolve("ppt/slides", "../notes/a.xml"), "ppt/notes/a.xml");
        assert_eq!(resolve("ppt", "/word/a.xml"), "word/a.xml");
        assert_eq!(resolve("", "../../../etc/passwd"), "etc/passwd");
    }
}
