//! Objects on the wire: responses.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    api::{
        App,
        base::Base,
        content::{self, links},
        error::FieldError,
        page::PaginationResponse,
        scope::Scope,
    },
    model::{self, BucketId, Version},
    store::{
        objects::{
            UNPROCESSED,
            record::{BlobRecord, Record},
        },
        trash,
    },
};

/// Refuses fields that have names of the object's own.
pub(super) fn reserved(fields: &BTreeMap<String, Value>) -> Vec<FieldError> {
    fields
        .iter()
        .filter_map(|(name, value)| {
            let message = model::reserved(name)?;
            let error = FieldError::new(name, value.clone(), message);
            Some(error.accepting("any other name").of_kind("reserved"))
        })
        .collect()
}

/// An object. Its own fields appear beside those listed here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ObjectResponse {
    /// Its id.
    pub object_id: String,
    /// Its bucket.
    pub bucket_id: String,
    /// Its path in the bucket.
    #[schema(required = false)]
    pub key_prefix: String,
    /// The exact bytes of the path in base64, where they are no UTF-8; null elsewhere.
    pub path_bytes: Option<String>,
    /// Its blobs.
    #[schema(required = false)]
    pub blobs: Vec<BlobModel>,
    /// Where it comes from; null: it was created through the API.
    pub source: Option<ObjectSource>,
    /// What it was made in.
    #[schema(required = false)]
    pub source_details: Vec<SourceDetails>,
    /// Edges to other objects.
    #[schema(value_type = Option<Vec<Object>>)]
    pub edges: Option<Value>,
    /// How far its processing is.
    #[schema(required = false)]
    pub status: &'static str,
    /// Why its processing failed.
    pub error: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, required = false)]
    pub created_at: Timestamp,
    /// When it was changed.
    #[schema(value_type = String, format = DateTime, required = false)]
    pub updated_at: Timestamp,
    /// How many documents were made of it; null in lists.
    pub document_count: Option<u64>,
    /// When processing will have seen it; null except after writes.
    pub consistency: Option<WriteConsistency>,
    /// The fields of an object of a sync that people wrote: they stay as they are when its entry
    /// changes, until a PATCH with null takes them back.
    #[schema(required = false)]
    pub edited_fields: Vec<String>,
    /// Whether its entry is gone from the source, and somebody said to keep the object.
    #[schema(required = false)]
    pub released: bool,
    /// Its fields.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// A blob of an object.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BlobModel {
    /// Its id.
    pub blob_id: String,
    /// The property of the object.
    pub property: String,
    /// The path of the object that it belongs to.
    pub key_prefix: Option<String>,
    /// Which kind of field.
    #[serde(rename = "type")]
    pub kind: String,
    /// `url`, where its bytes are, and what its maker says of it.
    pub properties: Map<String, Value>,
    /// A signed link to its bytes, if that was asked for.
    pub presigned_url: Option<String>,
    /// Its bytes.
    pub details: BlobDetails,
}

/// What is known of a blob's bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BlobDetails {
    /// A name for the file.
    pub filename: Option<String>,
    /// How many they are.
    pub size_bytes: u64,
    /// Their type.
    pub mime_type: Option<String>,
    /// `blake3:` and 64 hex digits.
    pub hash: String,
}

/// Where an object comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ObjectSource {
    /// The provider.
    pub provider: String,
    /// The connection.
    pub connection_id: String,
    /// The sync.
    pub sync_config_id: String,
    /// What the source calls it.
    pub source_object_id: String,
    /// Its path from the sync's root.
    pub path: String,
    /// The version that is here.
    pub version: String,
    /// Its etag there.
    pub etag: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// When it was changed there.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_at: Option<Timestamp>,
    /// What the source says of it.
    pub metadata: Option<Map<String, Value>>,
}

/// What an object was made in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceDetails {
    /// `bucket`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id.
    pub source_id: String,
}

/// When a write will have been seen by processing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WriteConsistency {
    /// `after_processing`.
    pub retriever_visible: &'static str,
    /// None.
    pub recommended_header: Option<String>,
    /// No.
    pub write_token_available: bool,
    /// Unknown.
    pub expected_visible_within_ms: Option<u64>,
    /// Where to look.
    pub poll: Option<Map<String, Value>>,
    /// What to do next.
    #[schema(value_type = Option<Vec<Object>>)]
    pub next_actions: Option<Vec<Value>>,
}

/// What a response adds to objects.
#[derive(Clone, Debug)]
pub(super) struct View {
    app: App,
    base: Base,
    namespace: String,
    bucket_id: String,
    with_links: bool,
}

impl View {
    pub(super) fn new(
        app: &App,
        base: Base,
        scope: &Scope,
        bucket: &BucketId,
        with_links: bool,
    ) -> Self {
        let (namespace, bucket_id) = (scope.id.to_string(), bucket.to_string());
        Self { app: app.clone(), base, namespace, bucket_id, with_links }
    }

    /// The object as the API returns it.
    pub(super) fn object(&self, record: Record) -> ObjectResponse {
        let path = record.path.to_json_text();
        let blobs = record.blobs.iter().map(|blob| self.blob(&record, &path, blob)).collect();
        let fields = record.fields.into_iter().filter(|(name, _)| model::reserved(name).is_none());
        ObjectResponse {
            object_id: record.id.to_string(),
            bucket_id: self.bucket_id.clone(),
            path_bytes: record.path.base64_if_not_utf8(),
            blobs,
            source: record.source.map(|source| ObjectSource {
                provider: source.provider,
                connection_id: source.connection_id.to_string(),
                sync_config_id: source.sync_id.to_string(),
                source_object_id: source.source_id.to_json_text(),
                path: path.clone(),
                version: Version(source.version).to_text(),
                etag: source.etag,
                size_bytes: record.size,
                modified_at: record.modified,
                metadata: record.metadata,
            }),
            key_prefix: path,
            source_details: vec![SourceDetails {
                kind: "bucket",
                source_id: self.bucket_id.clone(),
            }],
            edges: record.edges,
            status: UNPROCESSED,
            error: None,
            created_at: record.created_at,
            updated_at: record.updated_at,
            document_count: None,
            consistency: None,
            edited_fields: record
                .edits
                .map(|edits| edits.edited.into_iter().map(|(name, _)| name).collect())
                .unwrap_or_default(),
            released: record.is_released,
            fields: fields.collect(),
        }
    }

    fn blob(&self, object: &Record, path: &str, blob: &BlobRecord) -> BlobModel {
        let content = content::path(&self.bucket_id, object.id.as_str(), blob.id.as_str());
        let link = self.with_links.then(|| {
            let hour = SignedDuration::from_secs(links::DEFAULT_SECS.cast_signed());
            let until = self.app.now() + hour;
            let get = axum::http::Method::GET;
            self.base.url(&self.app.links.sign(&get, &content, &self.namespace, until))
        });
        let mut properties = blob.metadata.clone();
        properties.insert("url".to_owned(), self.base.url(&content).into());
        if let Some(link) = &link {
            properties.insert("presigned_url".to_owned(), link.clone().into());
        }
        BlobModel {
            blob_id: blob.id.to_string(),
            property: blob.property.clone(),
            key_prefix: Some(path.to_owned()),
            kind: blob.kind.clone(),
            properties,
            presigned_url: link,
            details: BlobDetails {
                filename: Some(blob.filename.clone()),
                size_bytes: blob.size,
                mime_type: blob.mime.clone(),
                hash: blob.hash.to_string(),
            },
        }
    }
}

impl ObjectResponse {
    /// All of it or, with `fields`, those and its ids.
    pub(super) fn selected(self, fields: Option<&[String]>) -> ListedObject {
        match fields {
            Some(fields) => ListedObject::Parts(select(json!(self), fields)),
            None => ListedObject::Whole(Box::new(self)),
        }
    }

    /// With what only a response about one object contains.
    pub(super) fn alone(mut self) -> Self {
        self.document_count = Some(0);
        self
    }

    /// With what only responses to writes contain.
    pub(super) fn written(mut self) -> Self {
        let poll = json!({
            "endpoint": format!("/v1/buckets/{}/objects/{}", self.bucket_id, self.object_id),
            "field": "document_count",
            "ready_when": "> 0",
        });
        self.consistency = Some(WriteConsistency {
            retriever_visible: "after_processing",
            recommended_header: None,
            write_token_available: false,
            expected_visible_within_ms: None,
            poll: poll.as_object().cloned(),
            next_actions: None,
        });
        self.alone()
    }
}

/// An object of a list, or the selected parts of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ListedObject {
    /// All of it.
    Whole(Box<ObjectResponse>),
    /// Parts of it.
    Parts(Value),
}

/// A page of objects; with `select`, of parts of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListObjectsResponse {
    /// They.
    #[schema(value_type = Vec<ObjectResponse>)]
    pub results: Vec<ListedObject>,
    /// Where this page is among the others.
    pub pagination: PaginationResponse,
    /// What this page comes to.
    pub stats: ObjectListStats,
}

/// What a page of objects comes to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ObjectListStats {
    /// Objects on this page.
    pub total_objects: u64,
    /// Their blobs.
    pub total_blobs: u64,
    /// Blobs of an object on average.
    pub avg_blobs_per_object: f64,
    /// Objects by `status`.
    pub objects_by_status: BTreeMap<String, u64>,
}

impl ObjectListStats {
    pub(super) fn of(objects: &[ObjectResponse]) -> Self {
        let blobs: usize = objects.iter().map(|object| object.blobs.len()).sum();
        let mut by_status = BTreeMap::new();
        for object in objects {
            *by_status.entry(object.status.to_owned()).or_insert(0) += 1;
        }
        Self {
            total_objects: objects.len() as u64,
            total_blobs: blobs as u64,
            avg_blobs_per_object: match objects.len() {
                0 => 0.0,
                count => blobs as f64 / count as f64,
            },
            objects_by_status: by_status,
        }
    }
}

/// Only the selected parts of an object; its ids always.
fn select(object: Value, wanted: &[String]) -> Value {
    let Value::Object(object) = object else { return object };
    let mut kept = Map::new();
    for id in ["object_id", "bucket_id"] {
        kept.extend(object.get(id).map(|value| (id.to_owned(), value.clone())));
    }
    for path in wanted {
        let parts: Vec<&str> = path.split('.').collect();
        copy(&object, &mut kept, &parts);
    }
    Value::Object(kept)
}

/// Copies what is at a path, and at that path of every item of a list.
fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[&str]) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(value) = from.get(*name) else { return };
    if rest.is_empty() {
        to.insert((*name).to_owned(), value.clone());
        return;
    }
    match value {
        Value::Object(inner) => {
            let place = to.entry(*name).or_insert_with(|| Map::new().into());
            if let Value::Object(place) = place {
                copy(inner, place, rest);
            }
        }
        Value::Array(items) => {
            let empty = || items.iter().map(|_| Value::Object(Map::new())).collect();
            let place = to.entry(*name).or_insert_with(empty);
            for (item, place) in items.iter().zip(place.as_array_mut().into_iter().flatten()) {
                if let (Value::Object(item), Value::Object(place)) = (item, place) {
                    copy(item, place, rest);
                }
            }
        }
        _ => {}
    }
}

/// What came of a batch of creations.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreateObjectsBatchResponse {
    /// Objects that are there now.
    pub succeeded: Vec<BatchObjectResult>,
    /// Requests that failed.
    pub failed: Vec<FailedObjectError>,
    /// How many there were.
    pub total_requested: u64,
    /// How many succeeded.
    pub succeeded_count: u64,
    /// How many failed.
    pub failed_count: u64,
}

/// An object that a batch made, or found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchObjectResult {
    /// It.
    #[serde(flatten)]
    pub object: ObjectResponse,
    /// Which request.
    pub object_index: u64,
    /// Whether it was there before.
    pub replayed: bool,
    /// Why it was found: `idempotency_key` or `skip_duplicates`.
    pub replayed_by: Option<&'static str>,
}

/// A request of a batch that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailedObjectError {
    /// Which.
    pub object_index: u64,
    /// Why.
    pub error: String,
    /// For programs.
    pub error_type: String,
}

/// What came of deleting objects.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BulkSoftDeleteResponse {
    /// How many were visible before.
    pub soft_deleted: u64,
    /// How many were named.
    pub requested: u64,
    /// Collections of the bucket.
    pub collections: u64,
}

/// An object in the trash. `deleted_at`, `purge_at`, `deleted_by` and `delete_reason` are of its
/// deletion, even where it has fields of such names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrashedObject {
    /// It.
    #[serde(flatten)]
    pub object: ObjectResponse,
    /// When it was deleted.
    #[schema(value_type = String, format = DateTime)]
    pub deleted_at: Timestamp,
    /// When it is purged; null: when somebody does.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub purge_at: Option<Timestamp>,
    /// `person` or `sync`.
    pub deleted_by: &'static str,
    /// Why, if somebody said.
    pub delete_reason: Option<String>,
}

impl TrashedObject {
    pub(super) fn of(mut object: ObjectResponse, facts: trash::Facts) -> Self {
        for name in ["deleted_at", "purge_at", "deleted_by", "delete_reason"] {
            object.fields.remove(name);
        }
        Self {
            object,
            deleted_at: facts.deleted_at,
            purge_at: facts.purge_at,
            deleted_by: if facts.by_sync { "sync" } else { "person" },
            delete_reason: facts.reason,
        }
    }
}

/// A page of the trash.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListTrashResponse {
    /// They.
    pub results: Vec<TrashedObject>,
    /// Where this page is among the others.
    pub pagination: PaginationResponse,
    /// Objects in the trash, on all pages.
    pub trash_count: u64,
    /// Their bytes.
    pub trash_bytes: u64,
}

/// What came of restoring objects.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Restored {
    /// How many are back.
    pub restored: u64,
    /// How many cannot come back.
    pub refused: u64,
    /// The first hundred of those.
    pub errors: Vec<RestoreRefusal>,
}

/// An object that cannot be restored.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RestoreRefusal {
    /// Its id.
    pub object_id: String,
    /// Why.
    pub message: String,
}

/// What came of purging objects.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Purged {
    /// How many are gone.
    pub purged: u64,
}
