//! Uploads on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{
        buckets::InsertionPolicy,
        filters::{LogicalOperatorInput, SortOption},
        json::query_parameters,
        page::PaginationResponse,
    },
    model::{FieldType, UploadStatus},
};

/// Bytes that are to come.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateUploadRequest {
    /// The name of the file, without a path.
    #[schema(min_length = 1, max_length = 255)]
    pub filename: String,
    /// Its MIME type.
    #[schema(min_length = 3, max_length = 255)]
    pub content_type: String,
    /// How many bytes are to come.
    #[schema(minimum = 1, maximum = 1_099_511_627_776u64)]
    pub file_size_bytes: Option<u64>,
    /// For how many seconds they are accepted; 3600 by default.
    #[schema(minimum = 60, maximum = 86400)]
    pub presigned_url_expiration: Option<u64>,
    /// Yours.
    pub metadata: Option<Map<String, Value>>,
    /// Whether confirming creates an object; true by default.
    pub create_object_on_confirm: Option<bool>,
    /// Fields of that object.
    pub object_metadata: Option<Map<String, Value>>,
    /// The property of that object: else the schema's only blob, else the file's name without its
    /// extension.
    #[schema(pattern = "^[A-Za-z0-9_]{1,100}$")]
    pub blob_property: Option<String>,
    /// Which kind of field; else by the MIME type.
    pub blob_type: Option<FieldType>,
    /// SHA-256 of the bytes.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub file_hash: Option<String>,
    /// Whether an upload of the same bytes is used instead; true by default.
    pub skip_duplicates: Option<bool>,
}

/// Several uploads.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchUploadRequest {
    /// They.
    #[schema(min_items = 1, max_items = 100)]
    pub uploads: Vec<CreateUploadRequest>,
    /// Metadata of each, where it has none of that name.
    pub shared_metadata: Option<Map<String, Value>>,
    /// Fields of each object, where it has none of that name.
    pub shared_object_metadata: Option<Map<String, Value>>,
}

/// What the bytes should have been.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfirmUploadRequest {
    /// The ETag of the response to the PUT, with or without quotation marks.
    pub etag: Option<String>,
    /// How many were sent.
    #[schema(minimum = 1, maximum = 1_099_511_627_776u64)]
    pub file_size_bytes: Option<u64>,
    /// Whether the new object is extracted at once, in a batch of its own.
    pub auto_submit_batch: Option<bool>,
}

/// Several confirmations.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchConfirmRequest {
    /// They.
    #[schema(min_items = 1, max_items = 100)]
    pub confirmations: Vec<Confirmation>,
}

/// One of several confirmations.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    /// The upload.
    pub upload_id: String,
    /// The ETag of the response to the PUT.
    pub etag: Option<String>,
    /// How many were sent.
    #[schema(minimum = 1, maximum = 1_099_511_627_776u64)]
    pub file_size_bytes: Option<u64>,
}

/// The query of a confirmation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConfirmQuery {
    /// Accepted for clients that send it: the response has the outcome either way.
    #[serde(rename = "async")]
    pub in_background: Option<bool>,
    /// What to do about an object that has the same unique key.
    pub policy: Option<InsertionPolicy>,
}
query_parameters!(ConfirmQuery);

/// The query of an upload.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GetUploadQuery {
    /// A signed link to the bytes, once they are confirmed.
    pub return_presigned_urls: Option<bool>,
}
query_parameters!(GetUploadQuery);

/// The query of a deletion.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeleteUploadQuery {
    /// Bytes that nothing needs always go.
    pub delete_s3_object: Option<bool>,
}
query_parameters!(DeleteUploadQuery);

/// Which uploads to return.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListUploadsRequest {
    /// Only those.
    pub filters: Option<LogicalOperatorInput>,
    /// In which order; the newest first by default.
    pub sort: Option<SortOption>,
    /// Text in the file's name or in a value of the metadata.
    pub search: Option<String>,
    /// Signed links to the bytes, once they are confirmed.
    pub return_presigned_urls: Option<bool>,
    /// Rows of a page.
    #[schema(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// Rows to leave out first.
    #[schema(minimum = 0, maximum = 10000)]
    pub offset: Option<u32>,
}

/// An upload.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadResponse {
    /// Its id.
    pub upload_id: String,
    /// Its bucket.
    pub bucket_id: String,
    /// The name of the file.
    pub filename: String,
    /// Its MIME type.
    pub content_type: String,
    /// How many bytes.
    pub file_size_bytes: Option<u64>,
    /// A signed address: to PUT the bytes to, when the upload is made; to GET them from, when that
    /// is asked for.
    pub presigned_url: Option<String>,
    /// For how many seconds bytes are taken.
    pub presigned_url_expiration: u64,
    /// What others call the place of the bytes; here only a name.
    pub s3_key: String,
    /// `PENDING`: no bytes yet; `IN_PROGRESS`: not confirmed; `COMPLETED`; `FAILED`: not in time.
    #[schema(value_type = String)]
    pub status: UploadStatus,
    /// Yours.
    pub metadata: Option<Map<String, Value>>,
    /// Whether confirming makes an object.
    pub create_object_on_confirm: bool,
    /// Fields of that object.
    pub object_metadata: Option<Map<String, Value>>,
    /// The property of that object.
    pub blob_property: Option<String>,
    /// Which kind of field.
    pub blob_type: Option<String>,
    /// SHA-256 of the bytes: as it was said, then as they came.
    pub file_hash: Option<String>,
    /// Whether an upload of the same bytes will do.
    pub skip_duplicates: bool,
    /// Whether this is such an upload, made before.
    pub is_duplicate: bool,
    /// It, then.
    pub duplicate_of_upload_id: Option<String>,
    /// No.
    pub skipped_unique_key: bool,
    /// None.
    pub existing_object_id: Option<String>,
    /// What else there is to say.
    pub message: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends unless confirmed; then, when it is forgotten. One that a sync made waits until
    /// it is confirmed: the end of the year 9999.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was confirmed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// When its bytes were found right.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    /// Names the bytes.
    pub etag: Option<String>,
    /// The object that was made of it.
    pub object_id: Option<String>,
    /// None: nothing waits.
    pub task_id: Option<String>,
}

/// Several uploads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchUploadResponse {
    /// They.
    pub uploads: Vec<UploadResponse>,
    /// How many.
    pub total: u64,
}

/// What came of a confirmation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfirmUploadResponse {
    /// The upload.
    pub upload_id: String,
    /// `COMPLETED`.
    #[schema(value_type = String)]
    pub status: UploadStatus,
    /// Names the bytes.
    pub etag: Option<String>,
    /// How many they are.
    pub file_size_bytes: Option<u64>,
    /// SHA-256 of them.
    pub file_hash: Option<String>,
    /// When they were found right.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    /// When it was confirmed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// The object that was made.
    pub object_id: Option<String>,
    /// The task of that batch.
    pub task_id: Option<String>,
    /// The batch that extracts it, where `auto_submit_batch` asks for one.
    pub batch_id: Option<String>,
    /// What else there is to say.
    pub message: Option<String>,
}

/// What came of several confirmations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchConfirmResponse {
    /// Names this.
    pub task_id: String,
    /// `COMPLETED`, `COMPLETED_WITH_ERRORS` or `FAILED`.
    pub status: &'static str,
    /// How many there were.
    pub confirmations_count: u64,
    /// All of it.
    pub task: TaskResponse,
    /// What came of it in words.
    pub message: String,
}

/// Work that is done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskResponse {
    /// Names it.
    pub task_id: String,
    /// Which kind.
    pub task_type: &'static str,
    /// How it ended.
    pub status: &'static str,
    /// The uploads.
    pub inputs: Vec<String>,
    /// The objects.
    pub outputs: Vec<String>,
    /// `results`: what came of each.
    pub additional_data: Map<String, Value>,
    /// Why some failed.
    pub error: Option<String>,
}

/// A page of uploads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListUploadsResponse {
    /// They.
    pub results: Vec<UploadResponse>,
    /// Where this page is among the others.
    pub pagination: PaginationResponse,
    /// What all that match come to.
    pub stats: UploadListStats,
}

/// What uploads come to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadListStats {
    /// How many.
    pub total_uploads: u64,
    /// How many bytes.
    pub total_size_bytes: u64,
    /// How many by `status`.
    pub uploads_by_status: BTreeMap<String, u64>,
    /// Bytes on average.
    pub avg_file_size_bytes: f64,
    /// Of how many buckets: one.
    pub unique_buckets: u64,
}
