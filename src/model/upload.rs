//! An upload: bytes that somebody hands in for an object to come.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is known of an upload besides its state, as its row keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UploadSettings {
    /// The name of the file.
    pub filename: String,
    /// Its MIME type.
    pub content_type: String,
    /// How many bytes are to come, if that was said; how many came, once they have.
    pub file_size_bytes: Option<u64>,
    /// For how many seconds bytes are taken.
    pub expiration_secs: u64,
    /// What its maker says of it.
    pub metadata: Option<Map<String, Value>>,
    /// Whether confirming it makes an object.
    pub create_object_on_confirm: bool,
    /// Fields of that object.
    pub object_metadata: Option<Map<String, Value>>,
    /// The property of that object.
    pub blob_property: Option<String>,
    /// Which kind of field that is.
    pub blob_type: Option<String>,
    /// SHA-256 of the bytes, 64 hex digits: as it was said, then as they came.
    pub file_hash: Option<String>,
    /// Whether bytes that were uploaded before will do.
    pub skip_duplicates: bool,
    /// Names the bytes, as the answer to them did.
    pub etag: Option<String>,
    /// Why it failed, or what else there is to say.
    pub message: Option<String>,
    /// When its bytes were found right.
    pub verified_at: Option<Timestamp>,
    /// When it was confirmed.
    pub completed_at: Option<Timestamp>,
    /// The object that was made of it.
    pub object_id: Option<String>,
}

/// The state of an upload, in the wire's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UploadStatus {
    /// Waits for bytes.
    Pending,
    /// The bytes are here, and wait to be confirmed.
    InProgress,
    /// Confirmed.
    Completed,
    /// Not confirmed in time.
    Failed,
}

impl UploadStatus {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}
