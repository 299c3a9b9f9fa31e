//! What a `source_path` names: as a person writes it, and resolved to ids, as it is stored.

use std::fmt;

use url::Url;

use super::resource_keys::is_key;

/// The path of what other people have shared.
pub(super) const SHARED_WITH_ME: &str = "/Shared with me";

/// How people and the API call the drive of the account.
const ROOT: &str = "root";

/// Stands for the drive in the resolved form of a folder in My Drive.
const MY: &str = "my";

/// The place that browsing begins at: above all drives. No sync reads it.
pub(super) const TOP: &str = "//";

/// What links to folders begin with, as people copy them.
const LINK: &str = "https://drive.google.com/";

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
    /// A folder by its id, wherever it is, with the resource key of its link, if that has one.
    Id { id: String, key: Option<String> },
    /// The same; `drive` is the shared drive that it is in.
    Folder { id: String, drive: Option<String>, key: Option<String> },
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
        if text.starts_with(LINK) {
            return link(text).ok_or_else(|| "is no link to a folder".to_owned());
        }
        let mut parts = text.split('!');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(ROOT), Some(root), None, None) if is_id(root) => {
                Ok(Self::MyDrive { root: root.to_owned() })
            }
            (Some(drive), Some(id), key, None)
                if (drive == MY || is_id(drive)) && is_id(id) && key.is_none_or(is_key) =>
            {
                let drive = (drive != MY).then(|| drive.to_owned());
                Ok(Self::Folder { id: id.to_owned(), drive, key: key.map(str::to_owned) })
            }
            (Some(id), None, ..) if is_id(id) => Ok(Self::Id { id: id.to_owned(), key: None }),
            _ => Err("is neither a folder's id nor a path that begins with /".to_owned()),
        }
    }
}

/// The folder that a link leads to, as in
/// `https://drive.google.com/drive/folders/ID?resourcekey=KEY`.
fn link(text: &str) -> Option<SourcePath> {
    let url = Url::parse(text).ok()?;
    let mut segments = url.path_segments()?.skip_while(|segment| *segment != "folders");
    let id = segments.nth(1).filter(|id| is_id(id))?.to_owned();
    let given = url.query_pairs().find(|(name, _)| name == "resourcekey");
    let key = given.map(|(_, key)| key.into_owned()).filter(|key| is_key(key));
    Some(SourcePath::Id { id, key })
}

/// As it is stored.
impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str(TOP),
            Self::Drive => f.write_str(ROOT),
            Self::MyDrive { root } => write!(f, "{ROOT}!{root}"),
            Self::SharedWithMe => f.write_str(SHARED_WITH_ME),
            Self::Id { id, key: None } => f.write_str(id),
            Self::Id { id, key: Some(key) } => {
                write!(f, "{LINK}drive/folders/{id}?resourcekey={key}")
            }
            Self::Folder { id, drive, key } => {
                write!(f, "{}!{id}", drive.as_deref().unwrap_or(MY))?;
                key.iter().try_for_each(|key| write!(f, "!{key}"))
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
            "my!1AbCde!0-Key_1",
            "0ADrive!1AbCde!0-Key_1",
            "https://drive.google.com/drive/folders/1AbC-d_e9?resourcekey=0-Key_1",
        ] {
            assert_eq!(SourcePath::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SourcePath::parse("/").unwrap(), SourcePath::Drive);
        assert_eq!(SourcePath::parse("/a/").unwrap(), SourcePath::parse("/a").unwrap());
        for wrong in [
            "",
            "gdrive://x",
            "a b",
            "//a",
            "/a//b",
            "x!y",
            "a'b",
            "my!1AbCde!a key",
            "my!1AbCde!0-Key_1!more",
            "https://drive.google.com/file/d/1AbC-d_e9/view",
            "https://drive.google.com/drive/folders/..",
            "https://drive.google.com.example.org/drive/folders/1AbC-d_e9",
        ] {
            assert!(SourcePath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn links_are_taken_as_browsers_show_them() {
        let of = |id: &str, key: Option<&str>| SourcePath::Id {
            id: id.to_owned(),
            key: key.map(str::to_owned),
        };
        for (link, place) in [
            ("drive/folders/1AbC-d_e9", of("1AbC-d_e9", None)),
            ("drive/folders/1AbC-d_e9?usp=sharing", of("1AbC-d_e9", None)),
            ("drive/u/0/folders/1AbC-d_e9/", of("1AbC-d_e9", None)),
            (
                "drive/folders/1AbC-d_e9?usp=drive_link&resourcekey=0-Key_1",
                of("1AbC-d_e9", Some("0-Key_1")),
            ),
        ] {
            assert_eq!(SourcePath::parse(&format!("{LINK}{link}")), Ok(place), "{link}");
        }
    }
}
