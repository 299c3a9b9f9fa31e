//! The schema of a bucket: which fields its objects have, and of which types. Whether a value fits
//! is decided in `conform`, for mapped entries and for objects that somebody makes by hand alike.

mod conform;
mod number;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::FieldProblem;

pub use conform::Mismatch;
pub(crate) use conform::instant_in;
pub(crate) use number::number_in;

/// The fields of a bucket's objects, by name. Fields that it does not name are taken as they come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BucketSchema {
    /// The fields.
    pub properties: BTreeMap<String, SchemaField>,
}

/// A field of a bucket's objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SchemaField {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The value of objects that have none.
    #[serde(default)]
    pub default: Option<Value>,
    /// What an array has in it; `None`: anything.
    #[serde(default)]
    #[schema(no_recursion)]
    pub items: Option<Box<SchemaField>>,
    /// What an object has in it; `None`: anything.
    #[serde(default)]
    #[schema(no_recursion)]
    pub properties: Option<BTreeMap<String, SchemaField>>,
    /// Values to show people.
    #[serde(default)]
    pub examples: Option<Vec<Value>>,
    /// A person's words about it.
    #[serde(default)]
    pub description: Option<String>,
    /// The only values that it may have.
    #[serde(default, rename = "enum")]
    pub one_of: Option<Vec<Value>>,
    /// Whether every object must have it.
    #[serde(default)]
    pub required: Option<bool>,
    /// What clients keep with it besides.
    #[serde(flatten)]
    #[schema(ignore)]
    pub more: Map<String, Value>,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text.
    String,
    /// Any number.
    Number,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Float,
    /// True or false.
    Boolean,
    /// A JSON object.
    Object,
    /// A JSON array.
    Array,
    /// A day, `2026-01-31`.
    Date,
    /// An instant, `2026-01-31T12:00:00Z`.
    Datetime,
    /// Text to be processed; a blob.
    Text,
    /// A still; a blob.
    Image,
    /// Sound; a blob.
    Audio,
    /// Moving pictures; a blob.
    Video,
    /// A PDF document; a blob.
    Pdf,
    /// A spreadsheet; a blob.
    Excel,
}

impl FieldType {
    /// Wire spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Pdf => "pdf",
            Self::Excel => "excel",
        }
    }

    /// Whether such a field is a blob of the object.
    #[must_use]
    pub const fn is_blob(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Image | Self::Audio | Self::Video | Self::Pdf | Self::Excel
        )
    }

    /// The type of a blob with that MIME type; `text` where it says nothing that we know.
    #[must_use]
    pub fn of_mime(mime: Option<&str>) -> Self {
        let essence = mime.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/pdf" => Self::Pdf,
            "application/vnd.ms-excel"
            | "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Self::Excel,
            other => match other.split('/').next() {
                Some("image") => Self::Image,
                Some("audio") => Self::Audio,
                Some("video") => Self::Video,
                _ => Self::Text,
            },
        }
    }
}

impl BucketSchema {
    /// What is wrong with the schema itself: defaults and permitted values that no object could
    /// have, parts that the type does not have.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        for (name, field) in &self.properties {
            field.check(&format!("properties.{name}"), &mut problems);
        }
        problems
    }
}

impl SchemaField {
    fn check(&self, place: &str, problems: &mut Vec<FieldProblem>) {
        let kind = self.kind.as_str();
        let belongs = |is_there: bool, name: &str, to: FieldType| {
            (is_there && self.kind != to).then(|| {
                FieldProblem::new(
                    format!("{place}.{name}"),
                    kind,
                    format!("only {} has {name}", to.as_str()),
                )
            })
        };
        problems.extend(belongs(self.items.is_some(), "items", FieldType::Array));
        problems.extend(belongs(self.properties.is_some(), "properties", FieldType::Object));
        for (index, value) in self.one_of.iter().flatten().enumerate() {
            if let Err(mismatch) = self.of_its_type(value) {
                let at = format!("{place}.enum.{index}");
                problems.push(FieldProblem::new(at, value.clone(), mismatch.to_string()));
            }
        }
        if let Some(default) = &self.default
            && let Err(mismatch) = self.conform(default)
        {
            let at = format!("{place}.default");
            problems.push(FieldProblem::new(at, default.clone(), mismatch.to_string()));
        }
        if let Some(items) = &self.items {
            items.check(&format!("{place}.items"), problems);
        }
        for (name, field) in self.properties.iter().flatten() {
            field.check(&format!("{place}.properties.{name}"), problems);
        }
    }
}
