//! Sources as people type them on the command line: a folder, or `SCHEME://PLACE`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Map, Value};

use super::{
    provider::{LocationError, Provider, Reader},
    registry,
};
use crate::model::{EntryPath, Location, ProviderName};

/// Reads a SOURCE argument. What has no scheme is a folder of this computer. `options` are those of
/// the command that say how the provider is reached.
///
/// # Errors
/// When the argument has an unknown scheme, names no place, or is empty; or the provider can only
/// be reached through a stored connection.
pub fn locate(source: &OsStr, options: &Map<String, Value>) -> Result<Location, LocationError> {
    let (provider, reader, source_path) = read(source)?;
    let connection = reader
        .ambient(options)
        .ok_or_else(|| LocationError::NeedsConnection { provider: provider.name() })?;
    Ok(Location { connection, source_path })
}

/// Reads a SOURCE argument that a stored connection leads to: its provider and its place.
///
/// # Errors
/// As for [`locate`].
pub fn place(source: &OsStr) -> Result<(ProviderName, Vec<u8>), LocationError> {
    let (provider, _, source_path) = read(source)?;
    Ok((ProviderName::new(provider.name()), source_path))
}

fn read(
    source: &OsStr,
) -> Result<(&'static dyn Provider, &'static dyn Reader, Vec<u8>), LocationError> {
    if source.is_empty() {
        return Err(LocationError::Empty { accepted: accepted() });
    }
    let (scheme, rest) = split(source).unwrap_or(("file", source));
    let found = registry::readers().find(|(_, reader)| reader.schemes().contains(&scheme));
    let Some((provider, reader)) = found else {
        return Err(LocationError::UnknownScheme {
            scheme: scheme.to_owned(),
            source_text: source.to_string_lossy().into_owned(),
            accepted: accepted(),
        });
    };
    Ok((provider, reader, reader.addressed(scheme, rest)?))
}

/// The address of a place as a person would type it.
#[must_use]
pub fn address(location: &Location) -> String {
    let path = EntryPath::new(location.source_path.as_slice());
    let provider = &location.connection.provider;
    match registry::reader(provider) {
        Some(reader) => reader.address(&path),
        None => format!("{provider}://{path}"),
    }
}

/// What a bucket for a place is called when nobody names it.
#[must_use]
pub fn suggested_name(location: &Location) -> String {
    match registry::reader(&location.connection.provider) {
        Some(reader) => reader.suggested_name(&location.source_path),
        None => String::from_utf8_lossy(&location.source_path).replace('/', "-"),
    }
}

/// The forms that a source has, as in "a folder, s3://bucket/prefix or tigris://bucket/prefix".
fn accepted() -> String {
    let mut forms: Vec<&str> = registry::readers().map(|(_, reader)| reader.example()).collect();
    let last = forms.pop().unwrap_or_default();
    format!("{} or {last}", forms.join(", "))
}

/// What stands before and behind `://`, if that looks like a scheme rather than a folder's name.
fn split(source: &OsStr) -> Option<(&str, &OsStr)> {
    let bytes = source.as_bytes();
    let end = bytes.windows(3).position(|window| window == b"://")?;
    let scheme = str::from_utf8(&bytes[..end]).ok()?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then(|| (scheme, OsStr::from_bytes(&bytes[end + 3..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        locate(OsStr::new(text), &Map::new())
    }

    #[test]
    fn one_trailing_slash_names_the_same_prefix() {
        assert_eq!(parse("s3://b/p/").unwrap(), parse("s3://b/p").unwrap());
        assert_eq!(parse("s3://b/p//").unwrap().source_path, b"b/p/");
        assert_eq!(parse("s3://b/").unwrap().source_path, b"b");
    }

    #[test]
    fn a_folder_is_the_same_however_it_is_spelled() {
        assert_eq!(parse("/a/./b/../c/").unwrap(), parse("/a/c").unwrap());
        assert_eq!(parse("file:///a/c").unwrap(), parse("/a/c").unwrap());
    }

    #[test]
    fn a_place_reads_back_as_it_is_shown() {
        for text in ["/a/c", "s3://b/p", "tigris://b"] {
            assert_eq!(address(&parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_scheme_that_is_unknown_or_names_no_place_is_refused() {
        let refused = |text| parse(text).unwrap_err().to_string();
        assert_eq!(
            refused("gopher://x"),
            "unknown scheme \"gopher\" in \"gopher://x\": a source is a folder, \
             gdrive:///folder, s3://bucket/prefix, snowflake://DATABASE.SCHEMA.TABLE, \
             sharepoint:///sites/Name/Library, tigris://bucket/prefix or iconik:///Collection"
        );
        assert!(refused("s3://").contains("names no bucket"));
        assert!(refused("s3:///key").contains("names no bucket"));
        assert!(refused("").contains("empty"));
    }
}
