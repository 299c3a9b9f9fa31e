//! Where beneath the target an object belongs, by its path alone. No I/O.

use super::refusal::Refusal;
use crate::model::EntryPath;

/// A place beneath the target: a chain of plain names, none of which can lead anywhere else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelativePath<'a> {
    /// The folders, outermost first.
    pub(super) folders: Vec<&'a [u8]>,
    /// The file in the last of them; `None` for an object that stands for the folder itself.
    pub(super) file: Option<&'a [u8]>,
}

impl<'a> RelativePath<'a> {
    /// The place of an object of this path and size. An empty object whose path ends in `/` is
    /// what S3 tools leave for a folder, and becomes one
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html>).
    pub(super) fn of(path: &'a EntryPath, size: u64) -> Result<Self, Refusal> {
        let bytes = path.as_bytes();
        let (names, is_folder) = match bytes.strip_suffix(b"/") {
            Some(folder) => (folder, true),
            None => (bytes, false),
        };
        let mut folders =
            names.split(|byte| *byte == b'/').map(plain).collect::<Result<Vec<_>, _>>()?;
        if is_folder && size > 0 {
            return Err(Refusal::FolderWithContent);
        }
        let file = if is_folder { None } else { folders.pop() };
        Ok(Self { folders, file })
    }
}

/// The name, if it is one that just names something in its folder.
fn plain(name: &[u8]) -> Result<&[u8], Refusal> {
    match name {
        b"" => Err(Refusal::EmptyName),
        b"." | b".." => Err(Refusal::Dots(EntryPath::new(name))),
        name if name.contains(&0) => Err(Refusal::Nul),
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        ffi::OsStr,
        os::unix::ffi::OsStrExt as _,
        path::{Component, Path},
    };

    use proptest::prelude::*;

    use super::*;

    fn refused(path: &str, size: u64) -> Refusal {
        RelativePath::of(&EntryPath::new(path), size).unwrap_err()
    }

    #[test]
    fn a_path_becomes_its_folders_and_its_file() {
        let path = EntryPath::new("a/b/c.txt");
        let place = RelativePath::of(&path, 5).unwrap();
        assert_eq!(place, RelativePath { folders: vec![b"a", b"b"], file: Some(b"c.txt") });
    }

    #[test]
    fn an_empty_object_that_ends_in_a_slash_is_a_folder() {
        let path = EntryPath::new("a/b/");
        assert_eq!(
            RelativePath::of(&path, 0).unwrap(),
            RelativePath { folders: vec![b"a", b"b"], file: None }
        );
        assert_eq!(refused("a/b/", 1), Refusal::FolderWithContent);
    }

    #[test]
    fn a_path_with_an_empty_name_is_refused() {
        for path in ["", "/", "//", "/a", "a//b", "a//"] {
            assert_eq!(refused(path, 0), Refusal::EmptyName, "{path:?}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in ["..", "../x", "a/../b", "a/..", "../"] {
            assert_eq!(refused(path, 0), Refusal::Dots(EntryPath::new("..")), "{path:?}");
        }
        assert_eq!(refused("a/./b", 0), Refusal::Dots(EntryPath::new(".")));
    }

    #[test]
    fn a_path_with_a_nul_byte_is_refused() {
        assert_eq!(refused("a/b\0c", 0), Refusal::Nul);
    }

    proptest! {
        #[test]
        fn any_path_is_refused_or_stays_strictly_beneath_the_target(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'a'), Just(0)], 0..12),
            ],
            size in 0..2_u64,
        ) {
            let path = EntryPath::new(bytes.clone());
            if let Ok(place) = RelativePath::of(&path, size) {
                let names: Vec<_> = place.folders.iter().chain(&place.file).collect();
                prop_assert!(!names.is_empty());
                for name in &names {
                    let parts: Vec<_> = Path::new(OsStr::from_bytes(name)).components().collect();
                    prop_assert_eq!(parts, [Component::Normal(OsStr::from_bytes(name))]);
                }
                let mut joined = names.iter().map(|name| name.to_vec()).collect::<Vec<_>>().join(&b'/');
                if place.file.is_none() {
                    joined.push(b'/');
                }
                prop_assert_eq!(joined, bytes, "and is the path, exactly");
            }
        }
    }
}
