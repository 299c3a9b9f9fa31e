//! How an entry becomes an object's fields and blobs: the mapping of a sync, as people write it.
//! `engine::mapping` carries it out.

mod parse;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use super::{FieldProblem, ProviderName, reserved};

/// The property that holds the file itself when nobody says otherwise.
pub const CONTENT: &str = "content";

/// The mapping of a sync: targets in the bucket, each with where it comes from. Valid by
/// construction, but for what depends on the provider ([`SchemaMapping::problems_with`]). Echoed
/// with `target_type` and `source.type` always there, whether they were left out or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SchemaMapping {
    mappings: BTreeMap<String, MappingEntry>,
}

/// Where one target comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "target_type", rename_all = "snake_case")]
pub enum MappingEntry {
    /// A field of the object.
    Field(FieldMapping),
    /// A blob of the object.
    Blob(BlobMapping),
}

/// A field and its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldMapping {
    /// Where the value comes from.
    pub source: MappingSource,
    /// What is done to it first, where it is text.
    pub transform: Option<Transform>,
    /// An entry without it is a dead letter.
    pub required: bool,
}

/// A blob and its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlobMapping {
    /// Where its bytes come from: the file, or a value that is a URL or the text itself.
    pub source: MappingSource,
    /// What it is, for those who process it.
    pub blob_type: BlobType,
    /// The property of the object that it becomes.
    pub blob_property: String,
    /// Its MIME type, whatever the provider says.
    pub mime_type_override: Option<String>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MappingSource {
    /// The file itself; blobs only.
    File,
    /// An object tag of S3.
    Tag {
        /// Its name, case-sensitive.
        key: String,
    },
    /// User metadata of S3 (`x-amz-meta-KEY`).
    Metadata {
        /// Its name without the prefix, in any case.
        key: String,
    },
    /// A column of a row.
    Column {
        /// Its name.
        name: String,
    },
    /// A property of a file in Google Drive.
    DriveProperty {
        /// Its name, case-sensitive.
        key: String,
    },
    /// What a regular expression finds in the file's name.
    FilenameRegex {
        /// The expression, with one capture group.
        pattern: String,
        /// The value where it finds nothing.
        default: Option<String>,
    },
    /// The folders of the entry's path.
    FolderPath {
        /// One of them: 0 is the first from the root, -1 the last; `None`: the last.
        segment: Option<i64>,
        /// All of them, joined by `/`.
        full_path: bool,
    },
    /// The same for every entry.
    Constant {
        /// The value.
        value: Value,
    },
    /// A field of an RSS entry.
    RssField {
        /// Its name.
        field: String,
    },
    /// A field of an RTSP segment.
    RtspField {
        /// Its name.
        field: String,
    },
}

/// What is done to text before it becomes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// In lower case.
    Lowercase,
    /// In upper case.
    Uppercase,
    /// Without white space around it.
    Trim,
    /// Read as JSON.
    JsonParse,
}

/// What a blob is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlobType {
    /// As its MIME type says.
    #[default]
    Auto,
    /// A still.
    Image,
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Text.
    Text,
    /// A PDF document.
    Pdf,
    /// A spreadsheet.
    Excel,
}

impl BlobType {
    /// The wire spelling; `None` for the type that the MIME type decides.
    #[must_use]
    pub const fn as_declared(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Image => Some("image"),
            Self::Video => Some("video"),
            Self::Audio => Some("audio"),
            Self::Text => Some("text"),
            Self::Pdf => Some("pdf"),
            Self::Excel => Some("excel"),
        }
    }
}

/// Compiles the expression of a [`MappingSource::FilenameRegex`].
pub(crate) use parse::compile as filename_regex;

impl MappingSource {
    /// Wire spelling of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tag { .. } => "tag",
            Self::Metadata { .. } => "metadata",
            Self::Column { .. } => "column",
            Self::DriveProperty { .. } => "drive_property",
            Self::FilenameRegex { .. } => "filename_regex",
            Self::FolderPath { .. } => "folder_path",
            Self::Constant { .. } => "constant",
            Self::RssField { .. } => "rss_field",
            Self::RtspField { .. } => "rtsp_field",
        }
    }

    /// Whether entries of every provider have such a thing.
    const fn is_offered_by_all(&self) -> bool {
        matches!(
            self,
            Self::File
                | Self::FilenameRegex { .. }
                | Self::FolderPath { .. }
                | Self::Constant { .. }
        )
    }
}

impl MappingEntry {
    /// Where it comes from.
    #[must_use]
    pub const fn source(&self) -> &MappingSource {
        match self {
            Self::Field(field) => &field.source,
            Self::Blob(blob) => &blob.source,
        }
    }
}

impl SchemaMapping {
    /// Reads a mapping as clients send it: `{"mappings": {target: entry}}`, where `target_type` and
    /// `source.type` may be left out as long as the rest implies it.
    ///
    /// # Errors
    /// All that is wrong with it; the fields' paths begin at `mappings`.
    pub fn parse(json: &Value) -> Result<Self, Vec<FieldProblem>> {
        parse::mapping(json)
    }

    /// The targets with their entries, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &MappingEntry)> {
        self.mappings.iter().map(|(target, entry)| (target.as_str(), entry))
    }

    /// The sources that entries of `provider` do not have; `offered` names the kinds that they do
    /// have besides what entries of every provider have.
    #[must_use]
    pub fn problems_with(&self, provider: &ProviderName, offered: &[&str]) -> Vec<FieldProblem> {
        self.entries()
            .filter(|(_, entry)| {
                let source = entry.source();
                !source.is_offered_by_all() && !offered.contains(&source.kind())
            })
            .map(|(target, entry)| {
                let kind = entry.source().kind();
                let message = format!("entries of {provider} have no {kind}");
                FieldProblem::new(format!("mappings.{target}.source.type"), kind, message)
            })
            .collect()
    }
}

impl SchemaMapping {
    /// Targets of fields that have names of the object's own.
    #[must_use]
    pub fn reserved_targets(&self) -> Vec<FieldProblem> {
        let fields =
            self.mappings.iter().filter(|(_, entry)| matches!(entry, MappingEntry::Field(_)));
        fields
            .filter_map(|(target, _)| {
                let message = reserved(target)?;
                let place = format!("mappings.{target}");
                let problem = FieldProblem::new(place, target.as_str(), message);
                Some(problem.accepts("any other name"))
            })
            .collect()
    }

    /// The mapping that holds where there is none: the file is the object's content.
    #[must_use]
    pub fn of_the_file() -> Self {
        let content = MappingEntry::Blob(BlobMapping {
            source: MappingSource::File,
            blob_type: BlobType::default(),
            blob_property: CONTENT.to_owned(),
            mime_type_override: None,
        });
        Self { mappings: BTreeMap::from([(CONTENT.to_owned(), content)]) }
    }
}

impl<'de> Deserialize<'de> for SchemaMapping {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(from)?;
        Self::parse(&json).map_err(|problems| D::Error::custom(FieldProblem::join(&problems)))
    }
}
