//! This computer as a provider: it needs no settings and no credentials, and is always there.

use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::Folder;
use crate::{
    model::{Connection, EntryPath, ProviderName},
    sources::{
        Source, SourceError,
        browse::{Item, ItemKind},
        provider::{
            Browsing, Filters, LocationError, Locations, NotAFolder, Opening, Provider, Reader,
            Schema,
        },
    },
};

/// Folders of this machine, mounted shares included.
#[derive(Debug)]
pub struct ThisComputer;

const NAME: &str = "local";

impl Provider for ThisComputer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schema(&self) -> Option<&'static Schema> {
        None
    }

    fn settings(&self, _: &Connection) -> (Map<String, Value>, Option<String>) {
        (Map::new(), None)
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }
}

#[async_trait]
impl Reader for ThisComputer {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        let root = PathBuf::from(OsStr::from_bytes(&opening.location.source_path));
        Ok(Arc::new(Folder::new(root, opening.options, opening.tuning)))
    }

    fn has_symlinks(&self) -> bool {
        true
    }

    fn is_watched(&self) -> bool {
        true
    }
}

impl Locations for ThisComputer {
    fn accepted(&self) -> &'static str {
        "an absolute folder outside Catchment's own data, as in /home/me/photos"
    }

    /// An absolute folder by its spelling, so that it is the same folder when its mount is away.
    fn place(&self, text: &str, own_data: &Path) -> Result<Vec<u8>, String> {
        if !text.starts_with('/') {
            return Err("is not an absolute folder".to_owned());
        }
        if text.contains('\0') {
            return Err("contains a NUL, which no path can have".to_owned());
        }
        let plain = without_dots(Path::new(text));
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(&plain).starts_with(real(own_data)) {
            return Err("is Catchment's own data: a bucket cannot contain itself".to_owned());
        }
        Ok(plain.into_os_string().into_vec())
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["file"]
    }

    fn example(&self) -> &'static str {
        "a folder"
    }

    fn addressed(&self, _: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError> {
        let absolute = std::path::absolute(Path::new(rest)).map_err(|error| {
            LocationError::NoCurrentDirectory { path: PathBuf::from(rest), error }
        })?;
        Ok(without_dots(&absolute).into_os_string().into_vec())
    }

    fn ambient(&self, _: &Map<String, Value>) -> Option<Connection> {
        Some(Connection { provider: ProviderName::new(NAME), settings: Map::new() })
    }

    fn address(&self, source_path: &EntryPath) -> String {
        source_path.to_string()
    }

    fn suggested_name(&self, source_path: &[u8]) -> String {
        Path::new(OsStr::from_bytes(source_path))
            .file_name()
            .map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

impl Filters for ThisComputer {}

#[async_trait]
impl Browsing for ThisComputer {
    fn root(&self) -> Vec<u8> {
        b"/".to_vec()
    }

    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(NotAFolder {
                message: "this is not an absolute folder",
                accepted: "an absolute folder without ..",
            });
        }
        Ok(path.as_bytes().to_vec())
    }

    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let parent = parent.strip_suffix('/').unwrap_or(parent);
        let path = format!("{parent}/{}", item.name.to_json_text());
        (path.clone(), path)
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        source.browse(ItemKind::Folders, 1).await?;
        Ok("Connection test succeeded: this computer".to_owned())
    }
}

/// A path without `.` and `..`, by its spelling alone: it is the same when its mount is away.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_however_it_is_spelled_and_never_our_own() {
        let data = Path::new("/var/lib/catchment");
        let place = |text| ThisComputer.place(text, data);
        assert_eq!(place("/a/./b/../c/").unwrap(), b"/a/c");
        assert!(place("relative").is_err());
        assert!(place("/var/lib/x/../catchment/files").is_err());
        assert!(place("/var/lib/catchment").is_err());
        assert!(place("/var/lib").is_ok(), "our own folders are left out of the listing");
    }

    #[test]
    fn this_computer_has_no_filters_of_its_own() {
        let prefix = Map::from_iter([("prefix".to_owned(), Value::from("2026/"))]);
        let wrong =
            crate::sources::provider_filters(&ProviderName::new(NAME), &prefix).unwrap_err();
        assert!(wrong[0].to_string().contains("none"));
    }
}
