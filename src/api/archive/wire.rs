//! Archives on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::filters::LogicalOperatorInput;

/// Which objects to pack into one file: those named, or those that match; without any of these,
/// all of the bucket.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveRequest {
    /// These; then nothing else may say which.
    #[schema(min_items = 1, max_items = 5000)]
    pub object_ids: Option<Vec<String>>,
    /// Only those whose path begins so.
    #[schema(max_length = 4096)]
    pub prefix: Option<String>,
    /// Only those.
    pub filters: Option<LogicalOperatorInput>,
    /// Words, each in the path or in a value of metadata or fields, in any order and in any case.
    #[schema(max_length = 1000)]
    pub search: Option<String>,
    /// What to call the file, without the ending; the last folder of `prefix`, or the bucket's
    /// name, if nobody says.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
}

/// An archive that can be downloaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ArchiveResponse {
    /// Its id.
    pub archive_id: String,
    /// A signed link to it, which needs no token.
    pub url: String,
    /// Until when the link is good. It ends earlier when the server does.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// What the file is called.
    pub filename: String,
    /// How many objects are in it.
    pub objects: u64,
    /// Bytes of them all; the file is somewhat larger.
    pub bytes: u64,
}
