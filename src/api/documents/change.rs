//! Documents written, changed and removed by hand.

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};

use super::{
    JsonResult, check_names,
    details::{
        BatchDeleteDocumentsResponse, BatchDeleteLimits, BatchUpdateDocumentsResponse,
        BulkUpdateDocumentsResponse, DocumentChangeResponse, View, check_schema, found,
    },
    filter_of, query_of, respond,
    wire::{
        BatchDeleteDocumentsRequest, BatchUpdateDocumentsRequest, BulkUpdateDocumentsRequest,
        DocumentCreateRequest,
    },
};
use crate::{
    api::{
        App,
        base::Base,
        collections,
        error::{ApiError, FieldError},
        json::{DeletedResponse, FromPath, Valid},
        scope::Scope,
    },
    processing::chores::{self, Edit},
    store::{
        events::{self, About, EventKind},
        processing::{
            collections::Collection,
            documents::{self, ByHand},
        },
    },
};

/// Documents that are changed while somebody waits for the answer.
const AT_ONCE: u64 = 10_000;
/// Values of a vector.
const DIMENSIONS: usize = 65_536;

fn view(scope: &Scope) -> View {
    View { namespace_id: scope.id.to_string(), ..View::default() }
}

/// Write a document by hand
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/documents", tag = "collection_documents",
    operation_id = "create_document",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = DocumentCreateRequest,
    responses((status = 200, description = "The document", body = super::details::DocumentResponse))
)]
pub(super) async fn create(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<DocumentCreateRequest>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &named).await?;
    let is_other = body
        .collection_id
        .as_ref()
        .is_some_and(|id| id != collection.id.as_str() && *id != collection.name);
    if is_other {
        return Err(ApiError::invalid_field(
            FieldError::new("collection_id", body.collection_id, "is not the one of the path")
                .accepting(collection.id.as_str()),
        ));
    }
    let origin = origin_of(&body);
    let mut fields = body.metadata.unwrap_or_default();
    let mut vectors = vectors_of("vectors", body.vectors.unwrap_or_default())?;
    for (index, feature) in body.features.into_iter().flatten().enumerate() {
        fields.extend(feature.payload.unwrap_or_default());
        let place = format!("features[{index}].vectors");
        match feature.vectors {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => vectors.extend(vectors_of(&place, map)?),
            Some(one) => {
                let map = Map::from_iter([(feature.feature_extractor_id, one)]);
                vectors.extend(vectors_of(&place, map)?);
            }
        }
    }
    fields.extend(body.more);
    check_names("metadata.", &fields)?;
    let warnings = check_schema(&collection, &fields)?;
    check_dimensions(&app, &collection, &vectors).await?;
    let document = ByHand { body: fields, vectors, origin, content_hash: body.content_hash };
    let (key, now) = (collection.key, app.now());
    let id = app
        .engine
        .store
        .write(move |tx| {
            let made = documents::create(tx, key, &document, now)?;
            let id = documents::id_of(tx, made)?;
            emit(tx, &collection, "created", std::slice::from_ref(&id), now)?;
            Ok::<_, ApiError>(id)
        })
        .await?;
    let Json(mut response) = respond(&app, &base, key, id, view(&scope)).await?;
    if !warnings.is_empty() {
        response["_internal"]["warnings"] = json!(warnings);
    }
    Ok(Json(response))
}

fn origin_of(body: &DocumentCreateRequest) -> Option<Value> {
    let said = [
        ("root_object_id", body.root_object_id.clone().map(Value::from)),
        ("root_bucket_id", body.root_bucket_id.clone().map(Value::from)),
        ("source_type", body.source_type.clone().map(Value::from)),
        ("source_collection_id", body.source_collection_id.clone().map(Value::from)),
        ("source_document_id", body.source_document_id.clone().map(Value::from)),
        ("source_object_id", body.source_object_id.clone().map(Value::from)),
        ("lineage_path", body.lineage_path.clone().map(Value::from)),
        ("lineage_chain", body.lineage_chain.clone().map(|chain| json!(chain))),
        ("document_schema_version", body.document_schema_version.clone().map(Value::from)),
    ];
    let said: Map<String, Value> = said
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)))
        .collect();
    (!said.is_empty()).then_some(Value::Object(said))
}

fn vectors_of(place: &str, given: Map<String, Value>) -> Result<Vec<(String, Vec<f32>)>, ApiError> {
    given
        .into_iter()
        .map(|(name, value)| {
            let read: Option<Vec<f32>> = serde_json::from_value(value.clone()).ok();
            read.filter(|values| !values.is_empty() && values.len() <= DIMENSIONS)
                .filter(|values| values.iter().all(|value| value.is_finite()))
                .map(|values| (name.clone(), values))
                .ok_or_else(|| {
                    ApiError::invalid_field(
                        FieldError::new(format!("{place}.{name}"), (), "is no vector")
                            .accepting(format!("1 to {DIMENSIONS} numbers")),
                    )
                })
        })
        .collect()
}

/// A vector has as many dimensions as those of its name that are there.
async fn check_dimensions(
    app: &App,
    collection: &Collection,
    vectors: &[(String, Vec<f32>)],
) -> Result<(), ApiError> {
    if vectors.is_empty() {
        return Ok(());
    }
    let key = collection.key;
    let known = app.engine.store.read(move |db| documents::vector_names(db, key)).await?;
    for (name, values) in vectors {
        let wanted = known.iter().find(|(known, _)| known == name).map(|(_, count)| *count);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != values.len() as u64) {
            return Err(ApiError::invalid_field(
                FieldError::new(format!("vectors.{name}"), values.len(), "has other dimensions")
                    .accepting(wanted),
            ));
        }
    }
    Ok(())
}

fn emit(
    tx: &crate::store::Transaction<'_>,
    collection: &Collection,
    what: &str,
    ids: &[String],
    now: jiff::Timestamp,
) -> crate::store::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let named: Vec<&String> = ids.iter().take(10).collect();
    let detail = json!({
        "collection_id": collection.id, "count": ids.len(), "by_hand": what, "document_ids": named,
    });
    events::append(tx, EventKind::DocumentsWritten, About::default(), &detail, now)
}

/// What is sent, as a patch: `metadata` is its fields, dotted keys lead into them.
fn patch_of(sent: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let mut patch = Map::new();
    for (name, value) in sent {
        match (name.as_str(), value) {
            ("metadata", Value::Object(inner)) => {
                for (name, value) in inner {
                    put(&mut patch, &name, value);
                }
            }
            // Sent by us, and sent back as it came.
            ("document_id" | "collection_id", Value::String(_)) => {}
            (name, value) => put(&mut patch, name, value),
        }
    }
    check_names("", &patch)?;
    Ok(patch)
}

fn put(into: &mut Map<String, Value>, name: &str, value: Value) {
    let nested = name.rsplit('.').fold(value, |value, part| json!({part: value}));
    if let Value::Object(nested) = nested {
        deepen(into, nested);
    }
}

/// Like a merge, but that null stays: it will remove.
fn deepen(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (value, into.get_mut(&name)) {
            (Value::Object(inner), Some(Value::Object(old))) => deepen(old, inner),
            (value, _) => {
                into.insert(name, value);
            }
        }
    }
}

async fn change(
    app: &App,
    scope: &Scope,
    base: &Base,
    named: &str,
    id: String,
    sent: Map<String, Value>,
) -> JsonResult {
    let collection = collections::found(app, scope, named).await?;
    let patch = patch_of(sent)?;
    let (now, wanted, key) = (app.now(), id.clone(), collection.key);
    app.engine
        .store
        .write(move |tx| {
            let document = found(tx, key, &wanted)?;
            let mut body = document.body.clone();
            documents::merge(&mut body, patch.clone());
            check_schema(&collection, &body)?;
            documents::edit(tx, document.key, &patch, now)?;
            emit(tx, &collection, "updated", &[wanted], now)?;
            Ok::<_, ApiError>(())
        })
        .await?;
    respond(app, base, key, id, view(scope)).await
}

/// Change a document; what is not sent stays
#[utoipa::path(
    put, path = "/v1/collections/{collection_identifier}/documents/{document_id}",
    tag = "collection_documents", operation_id = "update_document",
    params(("collection_identifier" = String, Path, description = "Id or name"),
           ("document_id" = String, Path, description = "Id")),
    request_body = DocumentUpdateRequest,
    responses((status = 200, description = "The document", body = super::details::DocumentResponse))
)]
pub(super) async fn put_document(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((collection, id)): FromPath<(String, String)>,
    Valid(DocumentUpdateRequest(sent)): Valid<DocumentUpdateRequest>,
) -> JsonResult {
    change(&app, &scope, &base, &collection, id, sent).await
}

/// Change parts of a document
#[utoipa::path(
    patch, path = "/v1/collections/{collection_identifier}/documents/{document_id}",
    tag = "collection_documents", operation_id = "patch_document",
    params(("collection_identifier" = String, Path, description = "Id or name"),
           ("document_id" = String, Path, description = "Id")),
    request_body = DocumentUpdateRequest,
    responses((status = 200, description = "The document", body = super::details::DocumentResponse))
)]
pub(super) async fn patch(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((collection, id)): FromPath<(String, String)>,
    Valid(DocumentUpdateRequest(sent)): Valid<DocumentUpdateRequest>,
) -> JsonResult {
    change(&app, &scope, &base, &collection, id, sent).await
}

/// Fields to change, by their names; dots lead into them, null removes one. `metadata` may hold
/// them, too.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[schema(value_type = std::collections::BTreeMap<String, Value>)]
pub(super) struct DocumentUpdateRequest(pub Map<String, Value>);

/// Delete a document
///
/// It comes back only when its object is extracted again.
#[utoipa::path(
    delete, path = "/v1/collections/{collection_identifier}/documents/{document_id}",
    tag = "collection_documents", operation_id = "delete_document",
    params(("collection_identifier" = String, Path, description = "Id or name"),
           ("document_id" = String, Path, description = "Id")),
    responses((status = 200, description = "It is gone", body = DeletedResponse))
)]
pub(super) async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath((named, id)): FromPath<(String, String)>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &named).await?;
    let now = app.now();
    app.engine
        .store
        .write(move |tx| {
            let document = found(tx, collection.key, &id)?;
            documents::remove(tx, document.key)?;
            emit(tx, &collection, "deleted", &[id], now)?;
            Ok::<_, ApiError>(())
        })
        .await?;
    crate::api::objects::collect_soon(&app);
    Ok(Json(json!(DeletedResponse::done())))
}

/// Delete documents, by id or by filter
#[utoipa::path(
    delete, path = "/v1/collections/{collection_identifier}/documents/batch",
    tag = "collection_documents", operation_id = "batch_delete_documents",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = BatchDeleteDocumentsRequest,
    responses((status = 200, description = "What became of each", body = BatchDeleteDocumentsResponse))
)]
pub(super) async fn delete_many(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<BatchDeleteDocumentsRequest>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &named).await?;
    let limits = BatchDeleteLimits { max_document_ids: 1000, at_once: AT_ONCE };
    match (body.document_ids, body.filters) {
        (Some(ids), None) => {
            let now = app.now();
            let results = app
                .engine
                .store
                .write(move |tx| {
                    let (mut results, mut gone) = (Vec::new(), Vec::new());
                    for id in ids {
                        match documents::by_id(tx, collection.key, &id)? {
                            Some(document) => {
                                documents::remove(tx, document.key)?;
                                results.push(changed(&id, None));
                                gone.push(id);
                            }
                            None => results.push(changed(&id, Some(NOT_THERE.to_owned()))),
                        }
                    }
                    emit(tx, &collection, "deleted", &gone, now)?;
                    Ok::<_, ApiError>((gone.len(), results))
                })
                .await?;
            crate::api::objects::collect_soon(&app);
            let (deleted, results) = results;
            Ok(Json(json!(BatchDeleteDocumentsResponse {
                task_id: None,
                status: "COMPLETED",
                deleted_count: Some(deleted as u64),
                failed_count: (results.len() - deleted) as u64,
                results: Some(results),
                limits,
                message: "Batch delete completed",
            })))
        }
        (None, Some(filters)) => {
            let edit = edit_of(&app, &collection, Some(filters), None).await?;
            let (task_id, count) = carry_out(&app, &scope, collection, edit).await?;
            let (status, message) = match task_id {
                Some(_) => ("PENDING", "Batch delete enqueued"),
                None => ("COMPLETED", "Batch delete completed"),
            };
            Ok(Json(json!(BatchDeleteDocumentsResponse {
                task_id,
                status,
                deleted_count: count,
                failed_count: 0,
                results: None,
                limits,
                message,
            })))
        }
        _ => Err(one_of("document_ids")),
    }
}

const NOT_THERE: &str = "there is no such document";

fn changed(id: &str, error: Option<String>) -> DocumentChangeResponse {
    DocumentChangeResponse { document_id: id.to_owned(), success: error.is_none(), error }
}

fn one_of(field: &str) -> ApiError {
    ApiError::invalid_field(
        FieldError { value: None, ..FieldError::new(field, (), "say which, in one way") }
            .accepting(format!("{field} or filters, one of them")),
    )
}

async fn edit_of(
    app: &App,
    collection: &Collection,
    filters: Option<crate::api::filters::LogicalOperatorInput>,
    patch: Option<Map<String, Value>>,
) -> Result<Edit, ApiError> {
    let filter = filter_of(filters)?;
    query_of(collection, filter.as_ref(), None, None)?;
    let last = app.engine.store.read(documents::newest).await?;
    Ok(Edit { filter, patch, after: 0, last, count: 0 })
}

/// Carries a change of many documents out, or makes a task of it where it is of too many. Returns
/// the task, or how many were changed.
async fn carry_out(
    app: &App,
    scope: &Scope,
    collection: Collection,
    mut edit: Edit,
) -> Result<(Option<String>, Option<u64>), ApiError> {
    let wanted = query_of(&collection, edit.filter.as_ref(), None, None)?;
    let count = app.engine.store.read(move |db| wanted.count(db)).await?;
    let (namespace_key, key) = (scope.namespace_key, collection.key);
    if count > AT_ONCE {
        let now = app.now();
        let id = app
            .engine
            .store
            .write(move |tx| chores::begin_edit(tx, namespace_key, key, &edit, now))
            .await?;
        app.processor.nudge();
        return Ok((Some(id.to_string()), None));
    }
    loop {
        let now = app.now();
        let (is_done, next) = app
            .engine
            .store
            .write(move |tx| {
                let is_done = chores::change_some(tx, key, &mut edit, now)?;
                Ok::<_, ApiError>((is_done, edit))
            })
            .await?;
        edit = next;
        if is_done {
            crate::api::objects::collect_soon(app);
            return Ok((None, Some(edit.count)));
        }
    }
}

/// Change documents, each in its way or all that match
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/documents/batch",
    tag = "collection_documents", operation_id = "batch_update_documents",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = BatchUpdateDocumentsRequest,
    responses((status = 200, description = "What became of each", body = BatchUpdateDocumentsResponse))
)]
pub(super) async fn update_many(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<BatchUpdateDocumentsRequest>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &named).await?;
    match (body.updates, body.filters, body.update_data) {
        (Some(updates), None, None) => {
            let updates = updates
                .into_iter()
                .map(|update| Ok((update.document_id, patch_of(update.update_data)?)))
                .collect::<Result<Vec<_>, ApiError>>()?;
            let now = app.now();
            let (updated, results) = app
                .engine
                .store
                .write(move |tx| {
                    let (mut results, mut updated) = (Vec::new(), Vec::new());
                    for (id, patch) in updates {
                        let error = match documents::by_id(tx, collection.key, &id)? {
                            None => Some(NOT_THERE.to_owned()),
                            Some(document) => {
                                let mut body = document.body.clone();
                                documents::merge(&mut body, patch.clone());
                                match check_schema(&collection, &body) {
                                    Err(error) => Some(error.message().to_owned()),
                                    Ok(_) => {
                                        documents::edit(tx, document.key, &patch, now)?;
                                        updated.push(id.clone());
                                        None
                                    }
                                }
                            }
                        };
                        results.push(changed(&id, error));
                    }
                    emit(tx, &collection, "updated", &updated, now)?;
                    Ok::<_, ApiError>((updated.len(), results))
                })
                .await?;
            Ok(Json(json!(BatchUpdateDocumentsResponse {
                updated_count: updated as u64,
                failed_count: (results.len() - updated) as u64,
                results: Some(results),
                message: "Batch update completed",
            })))
        }
        (None, Some(filters), Some(data)) => {
            let mut edit = edit_of(&app, &collection, Some(filters), Some(patch_of(data)?)).await?;
            let key = collection.key;
            // The answer has no place for a task: it is done when it comes.
            loop {
                let now = app.now();
                let (is_done, next) = app
                    .engine
                    .store
                    .write(move |tx| {
                        let is_done = chores::change_some(tx, key, &mut edit, now)?;
                        Ok::<_, ApiError>((is_done, edit))
                    })
                    .await?;
                edit = next;
                if is_done {
                    break;
                }
            }
            Ok(Json(json!(BatchUpdateDocumentsResponse {
                updated_count: edit.count,
                failed_count: 0,
                results: None,
                message: "Batch update completed",
            })))
        }
        _ => Err(one_of("updates")),
    }
}

/// Change all documents that match
#[utoipa::path(
    patch, path = "/v1/collections/{collection_identifier}/documents/bulk",
    tag = "collection_documents", operation_id = "bulk_update_documents",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = BulkUpdateDocumentsRequest,
    responses((status = 200, description = "How many, or the task", body = BulkUpdateDocumentsResponse))
)]
pub(super) async fn bulk(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<BulkUpdateDocumentsRequest>,
) -> JsonResult {
    let collection = collections::found(&app, &scope, &named).await?;
    let patch = patch_of(body.update_data)?;
    let edit = edit_of(&app, &collection, body.filters, Some(patch)).await?;
    let (task_id, count) = carry_out(&app, &scope, collection, edit).await?;
    let (status, message) = match task_id {
        Some(_) => ("PENDING", "Bulk update enqueued"),
        None => ("COMPLETED", "Bulk update completed"),
    };
    Ok(Json(json!(BulkUpdateDocumentsResponse { task_id, status, updated_count: count, message })))
}
