//! Documents as they are returned: their fields at the root, what is ours under `_internal`.

use std::collections::BTreeMap;

use axum::http::Method;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    api::{App, base::Base, content::links, error::ApiError},
    processing::RESERVED,
    store::{
        Connection, Result,
        objects::record,
        processing::{
            collections,
            documents::{self, Document, DocumentBlob},
        },
    },
};

/// What is returned of a document besides its fields.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) namespace_id: String,
    pub(super) signs: bool,
    pub(super) vectors: bool,
    pub(super) vector_names: Option<Vec<String>>,
    pub(super) expand: Vec<String>,
    pub(super) select: Option<Vec<String>>,
}

/// In place of the names of vectors: only what they are called is response.
pub(super) const ALL_NAMES: &str = "true";

impl View {
    fn lists_names(&self) -> bool {
        self.vector_names.as_ref().is_some_and(|names| names == &[ALL_NAMES])
    }
}

/// A document with what is returned of it.
#[derive(Debug)]
pub(super) struct Details {
    document: Document,
    vectors: Vec<(String, Vec<f32>)>,
    expanded: Map<String, Value>,
}

/// A document: its own fields, and what is said of it. With `expand`, `parent`, `ancestors`,
/// `children` and `root_object` are there too.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentResponse {
    /// Id.
    pub document_id: String,
    /// Id of its collection.
    pub collection_id: String,
    /// Files that belong to it.
    pub document_blobs: Vec<DocumentBlobResponse>,
    /// Always null.
    pub vector_hydration_incomplete: Option<bool>,
    /// Since when it can be found.
    #[schema(value_type = String, format = DateTime)]
    pub searchable_at: Timestamp,
    /// Where it comes from: batch, object, part, recipe, lineage, times; and its vectors, with
    /// `return_vectors`.
    #[serde(rename = "_internal")]
    #[schema(value_type = Object)]
    pub internal: Value,
    /// Its fields.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// How many documents a collection has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CountDocumentsResponse {
    /// Id of the collection.
    pub collection_id: String,
    /// How many.
    pub count: u64,
}

/// The values of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DistinctValuesResponse {
    /// The field.
    pub field: String,
    /// The most frequent values.
    pub values: Vec<DistinctValueResponse>,
    /// How many values there are.
    pub total_distinct: u64,
    /// Always empty.
    pub query_info: Map<String, Value>,
}

/// A value of a field.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DistinctValueResponse {
    /// The value.
    pub value: Value,
    /// How many documents have it.
    pub count: u64,
}

/// A clip of a document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DownloadResponse {
    /// A link to it that needs no token, for an hour.
    pub download_url: String,
    /// Always true: nothing is cut here.
    pub cached: bool,
    /// Where it begins in what it is a clip of, in seconds.
    pub start_time: f64,
    /// Where it ends.
    pub end_time: f64,
}

/// Documents that were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchDeleteDocumentsResponse {
    /// The task that deletes them, where they are too many to wait for.
    pub task_id: Option<String>,
    /// `COMPLETED`, or `PENDING` with a task.
    pub status: &'static str,
    /// How many were deleted; null with a task.
    pub deleted_count: Option<u64>,
    /// How many are not there.
    pub failed_count: u64,
    /// What became of each that was named.
    pub results: Option<Vec<DocumentChangeResponse>>,
    /// What one request may ask for.
    pub limits: BatchDeleteLimits,
    /// The same, for people.
    pub message: &'static str,
}

/// What became of a document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentChangeResponse {
    /// Id.
    pub document_id: String,
    /// Whether it was changed.
    pub success: bool,
    /// Why it was not.
    pub error: Option<String>,
}

/// What one request may ask for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct BatchDeleteLimits {
    /// Ids.
    pub max_document_ids: u64,
    /// Documents that are deleted while one waits.
    pub at_once: u64,
}

/// Documents that were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchUpdateDocumentsResponse {
    /// How many were.
    pub updated_count: u64,
    /// How many were not.
    pub failed_count: u64,
    /// What became of each that was named.
    pub results: Option<Vec<DocumentChangeResponse>>,
    /// The same, for people.
    pub message: &'static str,
}

/// Documents that were changed, or will be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BulkUpdateDocumentsResponse {
    /// The task that changes them, where they are too many to wait for.
    pub task_id: Option<String>,
    /// `COMPLETED`, or `PENDING` with a task.
    pub status: &'static str,
    /// How many were changed; null with a task.
    pub updated_count: Option<u64>,
    /// The same, for people.
    pub message: &'static str,
}

/// A file that belongs to a document.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentBlobResponse {
    /// The document's field that it is.
    pub field: String,
    /// `thumbnail`, `artifact`, `source` or `processed`.
    pub role: &'static str,
    /// What it is for, in its extractor's words.
    pub purpose: Option<String>,
    /// `image`, `video`, `audio`, `text` or `other`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where its bytes are.
    pub url: String,
    /// A name for its file.
    pub filename: String,
    /// Bytes of it.
    pub size_bytes: u64,
    /// MIME type.
    pub content_type: Option<String>,
    /// `blake3:` and 64 hexadecimal digits.
    pub checksum: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Where its bytes are without a token, for an hour; with `return_presigned_urls`.
    pub presigned_url: Option<String>,
}

/// Everything that is returned of a document.
pub(super) fn details_of(db: &Connection, document: Document, view: &View) -> Result<Details> {
    let mut vectors = match view.vectors {
        true => documents::vectors(db, document.key)?,
        false => Vec::new(),
    };
    if let Some(names) = &view.vector_names
        && !view.lists_names()
    {
        vectors.retain(|(name, _)| names.contains(name));
    }
    let mut expanded = Map::new();
    for what in &view.expand {
        let value = match what.as_str() {
            "parent" => parent(db, &document)?.map(|parent| brief(&parent)),
            "ancestors" => Some(Value::Array(ancestors(db, &document)?)),
            "children" => Some(Value::Array(children(db, &document)?)),
            "root_object" => root_object(db, &document)?,
            _ => continue,
        };
        expanded.insert(what.clone(), value.unwrap_or_default());
    }
    Ok(Details { document, vectors, expanded })
}

fn brief(document: &Document) -> Value {
    let mut response = document.body.clone();
    response.insert("document_id".to_owned(), document.id.to_string().into());
    response.insert("collection_id".to_owned(), document.collection_id.to_string().into());
    Value::Object(response)
}

fn parent(db: &Connection, document: &Document) -> Result<Option<Document>> {
    let id = document.origin.as_ref().and_then(|origin| origin["source_document_id"].as_str());
    id.map_or(Ok(None), |id| documents::anywhere(db, id))
}

fn ancestors(db: &Connection, document: &Document) -> Result<Vec<Value>> {
    const MOST: usize = 32;
    let mut all = Vec::new();
    let mut next = parent(db, document)?;
    while let Some(found) = next.filter(|_| all.len() < MOST) {
        all.push(brief(&found));
        next = parent(db, &found)?;
    }
    Ok(all)
}

fn children(db: &Connection, document: &Document) -> Result<Vec<Value>> {
    let Some(object_key) = document.object_key else { return Ok(Vec::new()) };
    let id = document.id.as_str();
    let all = documents::all_of_object(db, object_key)?;
    Ok(all
        .iter()
        .filter(|other| {
            other.origin.as_ref().is_some_and(|origin| origin["source_document_id"] == *id)
        })
        .map(brief)
        .collect())
}

fn root_object(db: &Connection, document: &Document) -> Result<Option<Value>> {
    let Some(key) = document.object_key else { return Ok(None) };
    let object = record::by_key(db, key)?;
    Ok(Some(json!({
        "object_id": object.id,
        "bucket_id": document.bucket_id,
        "key_prefix": object.path.to_json_text(),
        "mime_type": object.mime,
        "metadata": object.metadata,
        "fields": object.fields,
        "size_bytes": object.size,
    })))
}

impl Details {
    /// The document as it is returned.
    pub(super) fn to_json(&self, app: &App, base: &Base, view: &View) -> Value {
        let document = &self.document;
        let mut response = match &view.select {
            None => document.body.clone(),
            Some(fields) => selected(&document.body, fields),
        };
        response.extend(self.expanded.clone());
        match &view.vector_names {
            None => {}
            Some(_) if view.lists_names() => {
                let names: Vec<&String> = self.vectors.iter().map(|(name, _)| name).collect();
                response.insert("_vectors".to_owned(), json!(names));
            }
            Some(_) => {
                for (name, values) in &self.vectors {
                    response.entry(name.clone()).or_insert_with(|| json!(values));
                }
            }
        }
        // What is ours is not shadowed by a field of the same name.
        response.retain(|name, _| !RESERVED.contains(&name.as_str()));
        let blobs = document.blobs.iter();
        json!(DocumentResponse {
            document_id: document.id.to_string(),
            collection_id: document.collection_id.to_string(),
            document_blobs: blobs
                .map(|blob| blob_to_json(app, base, document, blob, view))
                .collect(),
            vector_hydration_incomplete: None,
            searchable_at: document.updated_at,
            internal: self.internal(view),
            fields: response.into_iter().collect(),
        })
    }

    fn internal(&self, view: &View) -> Value {
        let document = &self.document;
        let origin = document.origin.clone().unwrap_or_default();
        let of = |name: &str| origin.get(name).cloned().unwrap_or_default();
        let upstream = of("source_document_id");
        let source_type = match (document.object_key, &upstream) {
            (_, Value::String(_)) => json!("collection"),
            (Some(_), _) => json!("bucket"),
            (None, _) => of("source_type"),
        };
        let root = document.object_id.as_ref().map_or_else(|| of("root_object_id"), |id| json!(id));
        let bucket =
            document.bucket_id.as_ref().map_or_else(|| of("root_bucket_id"), |id| json!(id));
        let source_object = match document.object_id.as_ref() {
            Some(id) if upstream.is_null() => json!(id),
            _ => of("source_object_id"),
        };
        let mut internal = json!({
            "internal_id": null,
            "namespace_id": view.namespace_id,
            "document_id": document.id,
            "collection_id": document.collection_id,
            "object_id": document.object_id,
            "batch_id": document.batch_id,
            "part": document.object_key.map(|_| document.part),
            "recipe": document.recipe.map(|recipe| hex(&recipe)),
            "content_hash": document.content_hash,
            "created_at": document.created_at,
            "updated_at": document.updated_at,
            "edited_fields": document.edits.iter().flat_map(Map::keys).collect::<Vec<_>>(),
            "lineage": {
                "root_object_id": root,
                "root_bucket_id": bucket,
                "source_type": source_type,
                "source_object_id": source_object,
                "source_document_id": upstream,
                "source_collection_id": of("source_collection_id"),
                "path": of("lineage_path"),
                "chain": of("lineage_chain"),
            },
            "processing": {"history": []},
            "mime_type": document.body.get("mime_type"),
            "size_bytes": document.body.get("size_bytes").filter(|size| size.is_u64()),
        });
        if view.vectors && !view.lists_names() {
            let vectors: Map<String, Value> =
                self.vectors.iter().map(|(name, values)| (name.clone(), json!(values))).collect();
            internal["vectors"] = vectors.into();
        }
        internal
    }
}

fn hex(bytes: &[u8]) -> String {
    links::hex(bytes)
}

fn selected(body: &Map<String, Value>, fields: &[String]) -> Map<String, Value> {
    let mut kept = Map::new();
    for field in fields {
        if let Some(value) = body.get(field) {
            kept.insert(field.clone(), value.clone());
            continue;
        }
        let parts: Vec<&str> = field.split('.').collect();
        let root = Value::Object(body.clone());
        let Some(value) = parts.iter().try_fold(&root, |value, part| value.get(part)) else {
            continue;
        };
        let nested = parts.iter().rev().fold(value.clone(), |value, part| json!({*part: value}));
        if let Value::Object(nested) = nested {
            documents::merge(&mut kept, nested);
        }
    }
    kept
}

/// The path of a file of a document.
fn content_path(document: &Document, ordinal: u32) -> String {
    format!(
        "/v1/collections/{}/documents/{}/blobs/{ordinal}/content",
        document.collection_id, document.id
    )
}

fn blob_to_json(
    app: &App,
    base: &Base,
    document: &Document,
    blob: &DocumentBlob,
    view: &View,
) -> DocumentBlobResponse {
    let path = content_path(document, blob.ordinal);
    let until = app.now().saturating_add(1.hours()).unwrap_or(Timestamp::MAX);
    let signed = view
        .signs
        .then(|| base.url(&app.links.sign(&Method::GET, &path, &view.namespace_id, until)));
    let by_mime = blob.mime.as_deref().and_then(|mime| mime.split('/').next());
    let known = ["image", "video", "audio", "text"];
    let kind = by_mime.filter(|kind| known.contains(kind)).unwrap_or("other");
    DocumentBlobResponse {
        field: blob.field.clone(),
        role: role_of(blob.role.as_deref()),
        purpose: blob.role.clone(),
        kind: kind.to_owned(),
        url: base.url(&path),
        filename: blob.field.clone(),
        size_bytes: blob.size,
        content_type: blob.mime.clone(),
        checksum: blob.hash.to_string(),
        created_at: document.updated_at,
        presigned_url: signed,
    }
}

/// What a file is for, in the words that the client knows.
fn role_of(role: Option<&str>) -> &'static str {
    match role {
        Some("thumbnail") => "thumbnail",
        Some("clip") => "artifact",
        Some("source") => "source",
        _ => "processed",
    }
}

/// A document with that id, or 404.
pub(super) fn found(
    db: &Connection,
    collection_key: i64,
    id: &str,
) -> std::result::Result<Document, ApiError> {
    documents::by_id(db, collection_key, id)?.ok_or_else(|| ApiError::not_found("document", id))
}

/// The schema that documents written by hand are checked against, by their collection.
pub(super) fn check_schema(
    collection: &collections::Collection,
    body: &Map<String, Value>,
) -> std::result::Result<Vec<String>, ApiError> {
    use crate::{api::error::FieldError, model::SchemaValidation};
    let settings = &collection.settings;
    let Some(schema) = &settings.document_schema else { return Ok(Vec::new()) };
    if settings.schema_validation == SchemaValidation::Off {
        return Ok(Vec::new());
    }
    let validator = jsonschema::validator_for(schema).map_err(ApiError::internal)?;
    let value = Value::Object(body.clone());
    let wrong: Vec<FieldError> = validator
        .iter_errors(&value)
        .take(20)
        .map(|error| {
            let place = error.instance_path().to_string().replace('/', ".");
            FieldError::new(
                place.trim_start_matches('.'),
                error.instance().clone().into_owned(),
                error.to_string(),
            )
            .accepting("what the collection's document_schema says")
        })
        .collect();
    if settings.schema_validation == SchemaValidation::Strict && !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    Ok(wrong.into_iter().map(|error| error.message).collect())
}
