//! Which entries a sync takes. The matcher is compiled in `engine::filter`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The filters of a sync; all that are set must pass. Empty lists and `None` let everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileFilters {
    /// Globs of which one must match. Without `/` they match the file name in any folder, with `/`
    /// the path from the root; `**` crosses folders, `*` does not; case-sensitive.
    pub include_patterns: Vec<String>,
    /// Globs of which none may match; they win over the includes.
    pub exclude_patterns: Vec<String>,
    /// File name extensions, with or without dot, in any case.
    pub extensions: Vec<String>,
    /// Smallest size in bytes, inclusive.
    pub min_size_bytes: Option<u64>,
    /// Largest size in bytes, inclusive.
    pub max_size_bytes: Option<u64>,
    /// Only entries modified after this instant.
    pub modified_after: Option<Timestamp>,
    /// Only entries modified before this instant.
    pub modified_before: Option<Timestamp>,
    /// MIME types, `type/subtype` or `type/*`.
    pub mime_types: Vec<String>,
}
