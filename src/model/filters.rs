//! Which entries a sync takes. The matcher is compiled in `engine::filter`, which also says what is
//! wrong with filters that cannot be.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The filters of a sync; all that are set must pass. Empty lists and `None` let everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileFilters {
    /// Globs of which one must match. Without `/` they match the file name in any folder, with `/`
    /// the path from the root; `**` crosses folders, `*` does not; case-sensitive.
    #[serde(deserialize_with = "null_is_empty")]
    #[schema(nullable)]
    pub include_patterns: Vec<String>,
    /// Globs of which none may match; they win over the includes.
    #[serde(deserialize_with = "null_is_empty")]
    #[schema(nullable)]
    pub exclude_patterns: Vec<String>,
    /// File name extensions, with or without dot, in any case.
    #[serde(deserialize_with = "null_is_empty")]
    #[schema(nullable)]
    pub extensions: Vec<String>,
    /// Smallest size in bytes, inclusive.
    pub min_size_bytes: Option<u64>,
    /// Largest size in bytes, inclusive.
    pub max_size_bytes: Option<u64>,
    /// Only entries modified after this instant.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_after: Option<Timestamp>,
    /// Only entries modified before this instant.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_before: Option<Timestamp>,
    /// MIME types, `type/subtype` or `type/*`.
    #[serde(deserialize_with = "null_is_empty")]
    #[schema(nullable)]
    pub mime_types: Vec<String>,
    /// Conditions on what the provider knows of an entry besides.
    #[serde(deserialize_with = "null_is_empty")]
    #[schema(nullable)]
    pub metadata_filters: Vec<MetadataFilter>,
}

/// A condition on one field of an entry's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetadataFilter {
    /// The field. Every listing has `name`, `path`, `extension`, `size`, `etag`,
    /// `modified_at`, `mime_type`. Asked of the provider: `metadata.NAME` (S3: `x-amz-meta-NAME`),
    /// `tags.NAME`, `content_type`, `storage_class` and what else it has. Dots lead into objects.
    pub field: String,
    /// How the field is checked against the value.
    #[serde(default, deserialize_with = "null_is_empty")]
    #[schema(nullable)]
    pub operator: Operator,
    /// Text, a number or a boolean; `exists` wants a boolean, or nothing for `true`.
    #[serde(default)]
    pub value: Value,
}

/// How a field is checked against a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// The same text, number or boolean.
    Equals,
    /// Anything else, nothing included.
    NotEquals,
    /// The text has the value in it.
    #[default]
    Contains,
    /// The text does not have it in it, or is not there.
    NotContains,
    /// Above: numbers and dates by their value, else by their text. So the three that follow.
    Gt,
    /// Below.
    Lt,
    /// Not below.
    Gte,
    /// Not above.
    Lte,
    /// It is there, or with `false` it is not.
    Exists,
}

impl Operator {
    /// Wire spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "equals",
            Self::NotEquals => "not_equals",
            Self::Contains => "contains",
            Self::NotContains => "not_contains",
            Self::Gt => "gt",
            Self::Lt => "lt",
            Self::Gte => "gte",
            Self::Lte => "lte",
            Self::Exists => "exists",
        }
    }
}

/// Clients send `null` for what they leave at its default.
fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
