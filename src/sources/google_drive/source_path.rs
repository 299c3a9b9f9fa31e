//! What a `source_path` names: as a person writes it, and resolved to ids, as it is stored.

use std::fmt;

/// The path of what other people have shared.
pub(super) const SHARED_WITH_ME: &str = "/Shared with me";

/// How people and the API call the drive of the account.
const ROOT: &str = "root";

/// Stands for the drive in the resolved form of a folder in My Drive.
const MY: &str = "my";

/// The place that browsing begins at: above all drives. No sync reads it.
pub(super) const TOP: &str = "//";

/// A place in Drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourcePath {
    /// Above all drives, for people who look around.
    Top,
    /// The whole drive: My Drive, or the shared drive that settings name.
    Drive,
    /// My Drive, whose folder is known.
    MyDrive { root: String },
    /// What is shared with the account.
    SharedWithMe,
    /// A folder by its id, wherever it is.
    Id(String),
    /// A folder by its id; `drive` is the shared drive that it is in.
    Folder { id: String, drive: Option<String> },
    /// A folder by the names of the folders that lead to it.
    Path(Vec<String>),
}

impl SourcePath {
    /// Reads a `source_path`.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on from "source_path …".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            TOP => return Ok(Self::Top),
            "/" | ROOT => return Ok(Self::Drive),
            SHARED_WITH_ME => return Ok(Self::SharedWithMe),
            _ => {}
        }
        if let Some(path) = text.strip_prefix('/') {
            let names: Vec<String> =
                path.trim_end_matches('/').split('/').map(str::to_owned).collect();
            return match names.iter().any(|name| name.is_empty() || name.contains('\0')) {
                true => Err("has a folder without a name in it".to_owned()),
                false => Ok(Self::Path(names)),
            };
        }
        match text.split_once('!') {
            Some((ROOT, root)) if is_id(root) => Ok(Self::MyDrive { root: root.to_owned() }),
            Some((MY, id)) if is_id(id) => Ok(Self::Folder { id: id.to_owned(), drive: None }),
            Some((drive, id)) if is_id(drive) && is_id(id) => {
                Ok(Self::Folder { id: id.to_owned(), drive: Some(drive.to_owned()) })
            }
            None if is_id(text) => Ok(Self::Id(text.to_owned())),
            _ => Err("is neither a folder's id nor a path that begins with /".to_owned()),
        }
    }
}

/// As it is stored.
impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str(TOP),
            Self::Drive => f.write_str(ROOT),
            Self::MyDrive { root } => write!(f, "{ROOT}!{root}"),
            Self::SharedWithMe => f.write_str(SHARED_WITH_ME),
            Self::Id(id) => f.write_str(id),
            Self::Folder { id, drive } => {
                write!(f, "{}!{id}", drive.as_deref().unwrap_or(MY))
            }
            Self::Path(names) => write!(f, "/{}", names.join("/")),
        }
    }
}

/// Whether text can be the id of a file, folder or drive. Ids are opaque; these are the characters
/// that all have had.
pub(super) fn is_id(text: &str) -> bool {
    (5..=200).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_form_of_a_place_reads_back_as_it_is_stored() {
        for text in [
            "root",
            "root!0ARootRoot",
            "/a/b c",
            "/Shared with me",
            "1AbC-d_e9",
            "my!1AbCde",
            "0ADrive!1AbCde",
        ] {
            assert_eq!(SourcePath::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SourcePath::parse("/").unwrap(), SourcePath::Drive);
        assert_eq!(SourcePath::parse("/a/").unwrap(), SourcePath::parse("/a").unwrap());
        for wrong in ["", "gdrive://x", "a b", "//a", "/a//b", "x!y", "a'b"] {
            assert!(SourcePath::parse(wrong).is_err(), "{wrong}");
        }
    }
}
