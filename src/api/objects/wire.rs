//! Objects on the wire: requests. Responses are in `answer`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{
        buckets::InsertionPolicy,
        filters::{LogicalOperatorInput, SortOption},
        json::{Patch, query_parameters},
    },
    model::FieldType,
};

/// What an object is made of. Every further key is a field of the object.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(super) struct CreateObjectRequest {
    /// Its path in the bucket; its id if absent.
    pub key_prefix: Option<String>,
    /// Its blobs.
    #[serde(default)]
    pub blobs: Option<Vec<CreateBlobRequest>>,
    /// JsonResult with the object that has the same blobs, if there is one.
    pub skip_duplicates: Option<bool>,
    /// Bytes always come here.
    #[allow(dead_code)] // Taken for clients that send it.
    pub canonicalize_source: Option<bool>,
    /// Bytes are stored once whatever this says.
    #[allow(dead_code)] // Taken for clients that send it.
    pub force_remirror: Option<bool>,
    /// Edges to other objects.
    pub edges: Option<Vec<EdgeModel>>,
    /// Your name for this request: sent again, it returns the object that it created first.
    #[schema(max_length = 255)]
    pub idempotency_key: Option<String>,
    /// Fields of the object.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// A blob of an object to be: bytes in `data`, or an upload.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBlobRequest {
    /// The property of the object.
    #[schema(min_length = 1, max_length = 100)]
    pub property: String,
    /// A folder and name for its file.
    pub key_prefix: Option<String>,
    /// Which kind of field.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Text (of a text blob), a `data:` URI, base64, `{"base64", "mime_type", "filename"}`,
    /// `{"text"}`, or any other JSON value, which is kept as JSON.
    #[serde(default)]
    #[schema(value_type = Option<Value>)]
    pub data: Patch<Value>,
    /// An upload that was confirmed.
    #[schema(pattern = "^upl_[a-zA-Z0-9_-]+$")]
    pub upload_id: Option<String>,
    /// What the bytes hash to: `sha256:HEX` (or HEX alone), or `blake3:HEX`.
    pub checksum: Option<String>,
    /// Yours; also becomes fields of the object, where these have no such name.
    pub metadata: Option<Map<String, Value>>,
    /// Bytes always come here.
    #[allow(dead_code)] // Taken for clients that send it.
    pub canonicalize_source: Option<bool>,
    /// Bytes are stored once whatever this says.
    #[allow(dead_code)] // Taken for clients that send it.
    pub force_remirror: Option<bool>,
}

/// An edge to another object.
#[derive(Clone, Debug, Deserialize, serde::Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EdgeModel {
    /// What it means.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it leads.
    pub target_object_id: String,
    /// The collection of that object.
    pub target_collection_id: Option<String>,
    /// Which way it goes.
    pub direction: Option<String>,
    /// More about it.
    pub attributes: Option<Map<String, Value>>,
}

/// Several objects to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateObjectsBatchRequest {
    /// They.
    #[schema(min_items = 1, max_items = 1000)]
    pub objects: Vec<CreateObjectRequest>,
}

/// What to change of an object. Every further key is a field to set; null clears it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PatchObjectRequest {
    /// Its path; not of an object that a sync made.
    pub key_prefix: Option<String>,
    /// Taken for clients that send it: bytes do not change here.
    #[allow(dead_code)] // Taken for clients that send it.
    pub skip_duplicates: Option<bool>,
    /// Fields to set.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// What to change of an object.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct UpdateObjectRequest {
    /// Its path; not of an object that a sync made.
    pub key_prefix: Option<String>,
    /// Fields to set: inside the object's own field `metadata` those that are there, else at its
    /// root.
    pub metadata: Option<Map<String, Value>>,
    /// Taken for clients that send it: bytes do not change here.
    #[allow(dead_code)] // Taken for clients that send it.
    pub skip_duplicates: Option<bool>,
    /// Fields to set.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// Which objects to return, and what of them.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListObjectsRequest {
    /// Only those.
    pub filters: Option<LogicalOperatorInput>,
    /// In which order; the newest first by default.
    pub sort: Option<SortOption>,
    /// Words, each in the path or in a value of metadata or fields, in any order and in any case.
    #[schema(max_length = 1000)]
    pub search: Option<String>,
    /// Only these fields, with `object_id` and `bucket_id`; dots lead into them.
    pub select: Option<Vec<String>>,
    /// Signed links to the blobs, good for an hour.
    pub return_presigned_urls: Option<bool>,
    /// Whether to count all that match; the query may say it, too.
    pub include_total: Option<bool>,
}

/// The query of one object.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GetObjectQuery {
    /// Signed links to the blobs, good for an hour.
    pub return_presigned_urls: Option<bool>,
    /// Whether to count the documents that were made of it.
    pub include_document_count: Option<bool>,
}
query_parameters!(GetObjectQuery);

/// The query of a creation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CreateObjectQuery {
    /// What to do about an object that has the same unique key.
    pub policy: Option<InsertionPolicy>,
    /// Whether it is extracted at once, in a batch of its own.
    pub auto_process: Option<bool>,
}
query_parameters!(CreateObjectQuery);

/// The query of a creation of several.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CreateBatchQuery {
    /// Whether they are extracted at once, in a batch of their own.
    pub auto_process: Option<bool>,
}
query_parameters!(CreateBatchQuery);

/// Objects to be deleted: named by their ids, or by a filter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkSoftDeleteRequest {
    /// Which.
    #[schema(min_items = 1, max_items = 5000)]
    pub object_ids: Option<Vec<String>>,
    /// All that pass, instead.
    pub filters: Option<LogicalOperatorInput>,
    /// Why.
    #[schema(max_length = 500)]
    pub reason: String,
    /// Their new state; `disabled` by default.
    #[schema(max_length = 64)]
    pub lifecycle_state: Option<String>,
    /// Who changes it; `bulk_purge` by default.
    #[schema(max_length = 64)]
    pub source: Option<String>,
}

/// Which objects in the trash to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListTrashRequest {
    /// Only these.
    #[schema(max_items = 5000)]
    pub object_ids: Option<Vec<String>>,
    /// Only those that pass.
    pub filters: Option<LogicalOperatorInput>,
    /// Text in the path, or in a value of metadata or fields; upper and lower case are the same.
    pub search: Option<String>,
    /// Whether to count them.
    pub include_total: Option<bool>,
}

/// Which objects in the trash to restore or purge: one of the three.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrashRequest {
    /// These.
    #[schema(min_items = 1, max_items = 5000)]
    pub object_ids: Option<Vec<String>>,
    /// Those that pass.
    pub filters: Option<LogicalOperatorInput>,
    /// Everything that is there.
    pub all: Option<bool>,
}
