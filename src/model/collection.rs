//! Collections as they are kept: which objects, through which extractor, with which settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Filter;

/// The description of a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectionSettings {
    /// A person's words about it.
    pub description: Option<String>,
    /// Through what objects go.
    pub extractor: ExtractorSettings,
    /// From where.
    pub source: SourceSettings,
    /// Whatever its maker wants to keep with it.
    pub metadata: Map<String, Value>,
    /// When it is triggered by itself.
    pub schedule: Option<Schedule>,
    /// JSON Schema of what people write into its documents.
    pub document_schema: Option<Value>,
    /// What is done about documents that do not fit.
    pub schema_validation: SchemaValidation,
    /// What its maker calls the fields that go in; kept and returned.
    pub input_schema: Option<Value>,
}

/// Which extractor, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExtractorSettings {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Settings of vector indexes; kept and returned.
    pub params: Option<Map<String, Value>>,
    /// Its parameters.
    pub parameters: Option<Map<String, Value>>,
    /// What it is given.
    pub inputs: Vec<InputSlot>,
    /// The same as its maker wrote it.
    pub input_mappings: Option<Value>,
    /// Fields that documents take over from what they are made of.
    pub passthrough: Vec<Passthrough>,
    /// Whether they take over all fields.
    pub all_fields: bool,
}

/// An input of an extractor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSlot {
    /// What the extractor calls it.
    pub name: String,
    /// What it is.
    pub from: InputFrom,
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputFrom {
    /// A blob of that property, else the field of that path.
    Field(String),
    /// Several of them, as a list.
    Fields(Vec<String>),
    /// Always the same.
    Literal(Value),
}

/// A field that documents take over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passthrough {
    /// Where it is in what the document is made of.
    pub source: String,
    /// What it is called in the document.
    pub target: String,
    /// What stands for it where there is none.
    pub default: Option<Value>,
    /// Whether a document cannot be without it.
    pub required: bool,
}

/// From where a collection takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceSettings {
    /// Only what passes this.
    pub filter: Option<Filter>,
    /// The same as its maker wrote it.
    pub source_filters: Option<Value>,
    /// Which fields of each source are taken over, as its maker wrote it.
    pub field_map: Option<Map<String, Value>>,
    /// The same by the source's public id. Empty: sources are not distinguished. Else those not
    /// named give all of theirs.
    pub by_source: BTreeMap<String, Vec<Passthrough>>,
}

/// When a collection is triggered by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Seconds from one time to the next, 60 at least.
    pub interval_seconds: u32,
    /// Whether the first time is at once.
    pub start_immediately: bool,
    /// A person's words about it.
    pub description: Option<String>,
}

/// What is done about documents that do not fit their collection's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaValidation {
    /// Nothing.
    #[default]
    Off,
    /// A warning is recorded.
    Warn,
    /// They are refused.
    Strict,
}

impl SchemaValidation {
    /// Wire spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Strict => "strict",
        }
    }
}

/// Why a collection was switched off by something other than a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The collection that is gone.
    pub source_collection_id: Option<String>,
    /// What it was called.
    pub source_collection_name: Option<String>,
    /// Since when, RFC 3339.
    pub disabled_at: String,
}
