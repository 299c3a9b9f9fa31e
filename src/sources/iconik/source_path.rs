//! What a `source_path` names: as a person writes it, and as it is stored.

use std::fmt;

/// A place in Iconik.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SourcePath {
    /// `/`: everything that the token sees.
    Everything,
    /// A collection by its id, which is how it is stored.
    Collection(String),
    /// A collection by the titles that lead to it.
    Path(Vec<String>),
}

impl SourcePath {
    /// Reads a `source_path`.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on from "source_path …".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return match is_id(text) {
                true => Ok(Self::Collection(text.to_owned())),
                false => {
                    Err("is neither a collection's id nor a path that begins with /".to_owned())
                }
            };
        };
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Ok(Self::Everything);
        }
        let titles: Vec<String> = path.split('/').map(str::to_owned).collect();
        match titles.iter().any(|title| title.is_empty() || title.contains('\0')) {
            true => Err("has a collection without a title in it".to_owned()),
            false => Ok(Self::Path(titles)),
        }
    }
}

/// As it is stored.
impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("/"),
            Self::Collection(id) => f.write_str(id),
            Self::Path(titles) => write!(f, "/{}", titles.join("/")),
        }
    }
}

/// Whether it can be an id, and nothing that means something in an address.
pub(super) fn is_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=128).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_form_of_a_place_is_read_and_spelled_one_way() {
        let path = SourcePath::Path(vec!["News".into(), "A b".into()]);
        for (text, place, spelled) in [
            ("/", SourcePath::Everything, "/"),
            ("/News/A b/", path, "/News/A b"),
            (
                "5a5e8e1c-0f3b-11ee-be56-0242ac120002",
                SourcePath::Collection("5a5e8e1c-0f3b-11ee-be56-0242ac120002".into()),
                "5a5e8e1c-0f3b-11ee-be56-0242ac120002",
            ),
        ] {
            assert_eq!(SourcePath::parse(text).unwrap(), place);
            assert_eq!(place.to_string(), spelled);
        }
        for wrong in ["", "a b", "a/b", "/a//b", "x?y", "../x"] {
            assert!(SourcePath::parse(wrong).is_err(), "{wrong}");
        }
    }
}
