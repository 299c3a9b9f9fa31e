//! One level of a folder. Links are not shown: they lead elsewhere.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::Path,
};

use super::root_error;
use crate::{
    model::EntryPath,
    sources::{
        SourceError,
        browse::{First, Item, ItemKind, Level},
        instant,
    },
};

/// The folders or the regular files directly in `folder`, hidden ones too.
pub(super) fn level(folder: &Path, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
    let refused = |error: std::io::Error| root_error(folder, &error);
    let mut first = First::new(limit);
    for entry in fs::read_dir(folder).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        // What went away meanwhile is not shown.
        let Ok(kind) = entry.file_type() else { continue };
        let fits = match wanted {
            ItemKind::Folders => kind.is_dir(),
            ItemKind::Files => kind.is_file(),
        };
        if fits {
            first.offer(entry.file_name().into_vec(), ());
        }
    }
    Ok(first.into_level(|name, ()| {
        let facts = folder.join(OsStr::from_bytes(name)).symlink_metadata().ok()?;
        let is_file = wanted == ItemKind::Files;
        Some(Item {
            name: EntryPath::new(name),
            id: None,
            note: None,
            mime: None,
            size: is_file.then_some(facts.len()),
            modified: instant(facts.mtime(), facts.mtime_nsec()).filter(|_| is_file),
        })
    }))
}
