//! `/v1/buckets/{bucket}/batches`: objects that are processed together.

mod commands;
pub(super) mod details;
mod diagnostics;
mod response;
mod wire;

use axum::{Json, extract::State};
use serde_json::{Map, Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::response::{FailureGroupResponse, TaskResponse};
use self::{
    details::{Details, details_of, task_of},
    response::{
        BulkSubmitBatchesResponse, BulkSubmittedBatchResponse, DeletedBatchDocumentsResponse,
        SubmitAllBatchesResponse, SubmitErrorResponse,
    },
    wire::{
        AddObjectsQuery, AddObjectsToBatchRequest, BulkSubmitBatchesRequest, CreateBatchQuery,
        CreateBatchRequest, ListBatchesRequest, PatchBatchRequest, SubmitBatchRequest, SubmitQuery,
    },
};
use super::{
    App, buckets,
    error::{ApiError, FieldError, JsonResult},
    filters::{self, LogicalOperatorInput},
    json::{DeletedResponse, FromPath, Valid, ValidQuery},
    page::ListQuery,
    scope::Scope,
    submission::submit_now,
};
use crate::{
    model::{BatchId, BatchStatus},
    sources::http::post,
    store::{
        Connection, Transaction,
        buckets::Bucket,
        objects::query::Query,
        processing::{
            batches::{self, Batch, BatchFilter, NewBatch},
            collections, documents, tasks,
        },
    },
};

/// Objects that a filter may bring into one batch.
const MOST: u32 = 50_000;
/// Objects of one batch of many, as of a sync's.
const CHUNK: u32 = 1000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(submit_all))
        .routes(routes!(bulk_submit))
        .routes(routes!(get, patch, delete))
        .routes(routes!(add_objects))
        .routes(routes!(submit))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::retry))
        .routes(routes!(commands::resubmit))
        .routes(routes!(delete_documents))
        .routes(routes!(diagnostics::failed))
        .routes(routes!(diagnostics::logs))
        .routes(routes!(diagnostics::diagnose))
}

/// The batch of that id in a bucket.
pub(super) fn found(db: &Connection, bucket_key: i64, id: &str) -> Result<Batch, ApiError> {
    batches::by_id(db, bucket_key, id)?.ok_or_else(|| ApiError::not_found("batch", id))
}

/// Reads something of the batch that a path names, from one snapshot.
async fn read_batch<T: Send + 'static>(
    app: &App,
    scope: &Scope,
    (bucket, id): (String, String),
    read: impl FnOnce(&Connection, Batch) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let bucket = buckets::find(app, scope, &bucket).await?;
    app.engine.store.read_or(move |db| read(db, found(db, bucket.key, &id)?)).await
}

/// Changes the batch that a path names, in one transaction.
async fn change<T: Send + 'static>(
    app: &App,
    scope: &Scope,
    (bucket, id): (String, String),
    work: impl FnOnce(&Transaction<'_>, &Bucket, Batch) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let bucket = buckets::find(app, scope, &bucket).await?;
    app.engine
        .store
        .write(move |tx| {
            let batch = found(tx, bucket.key, &id)?;
            work(tx, &bucket, batch)
        })
        .await
}

fn read_details(db: &Connection, key: i64) -> Result<Details, ApiError> {
    let batch = batches::by_key(db, key)?.ok_or_else(|| ApiError::internal("a batch is gone"))?;
    Ok(details_of(db, batch, true)?)
}

/// Make a batch
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches", tag = "bucket_batches",
    operation_id = "create_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), CreateBatchQuery),
    request_body = CreateBatchRequest,
    responses((status = 200, description = "The batch", body = response::BatchResponse))
)]
async fn create(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<CreateBatchQuery>,
    Valid(body): Valid<CreateBatchRequest>,
) -> JsonResult {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let now = app.now();
    let submits = query
        .auto_submit
        .or(query.trigger_processing)
        .or(body.auto_submit)
        .or(body.trigger_processing)
        .unwrap_or(false);
    let skips = query.skip_validation.unwrap_or(false);
    let limit = body.limit.unwrap_or(MOST);
    let chosen = match (body.object_ids, body.filters) {
        (Some(ids), None) => Chosen::Ids(ids),
        (None, Some(filters)) => Chosen::Filter(filters),
        (ids, _) => {
            let words = if ids.is_some() { "stands beside filters" } else { "say which objects" };
            return Err(ApiError::invalid_field(
                FieldError { value: None, ..FieldError::new("object_ids", (), words) }
                    .accepting("object_ids or filters, one of them"),
            ));
        }
    };
    let chosen = chosen.resolved(&app, &bucket, limit).await?;
    let (namespace_key, named) = (scope.namespace_key, body.collection_ids.or(body.collections));
    let response = app
        .engine
        .store
        .write(move |tx| {
            let collections = collections_of(tx, namespace_key, &bucket, named)?;
            let batch = NewBatch {
                id: BatchId::generate(),
                bucket_key: bucket.key,
                name: body.batch_name,
                dedup: body.dedup_strategy.unwrap_or_default(),
                collections,
                metadata: body.metadata.unwrap_or_default(),
                ..NewBatch::default()
            };
            let key = batches::insert(tx, &batch, now)?;
            match chosen {
                Resolved::Keys(keys) => batches::add_keys(tx, key, &keys)?,
                Resolved::Ids(ids) => add(tx, key, &bucket, &ids, skips)?,
            }
            if submits {
                submit_now(tx, key, now)?;
            }
            Ok::<_, ApiError>(read_details(tx, key)?.to_json(now))
        })
        .await?;
    app.processor.nudge();
    Ok(Json(response))
}

enum Chosen {
    Ids(Vec<String>),
    Filter(LogicalOperatorInput),
}

enum Resolved {
    Ids(Vec<String>),
    Keys(Vec<i64>),
}

impl Chosen {
    async fn resolved(self, app: &App, bucket: &Bucket, limit: u32) -> Result<Resolved, ApiError> {
        match self {
            Self::Ids(ids) => Ok(Resolved::Ids(ids)),
            Self::Filter(input) => {
                let keys = keys_of(app, bucket, Some(input), Some(limit.into())).await?;
                Ok(Resolved::Keys(keys))
            }
        }
    }
}

/// The keys of the objects of a bucket that pass a filter, oldest first.
async fn keys_of(
    app: &App,
    bucket: &Bucket,
    input: Option<LogicalOperatorInput>,
    limit: Option<u64>,
) -> Result<Vec<i64>, ApiError> {
    let filter = input.map(filters::filter).transpose()?;
    let query = Query::new(bucket, filter.as_ref(), None, None).map_err(|problem| {
        ApiError::invalid_field(buckets::field_error(problem.within("filters")))
    })?;
    let limit = u32::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(u32::MAX);
    let found = app.engine.store.read(move |db| query.keys(db, None, 0, limit, None)).await?;
    let mut keys: Vec<i64> = found.places.iter().map(crate::store::RowPosition::key).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// The internal keys of collections that are named; each takes, one way or another, from the
/// bucket.
fn collections_of(
    db: &Connection,
    namespace_key: i64,
    bucket: &Bucket,
    named: Option<Vec<String>>,
) -> Result<Option<Vec<i64>>, ApiError> {
    let Some(named) = named.filter(|named| !named.is_empty()) else { return Ok(None) };
    let mut keys = Vec::new();
    for name in named {
        let found = collections::named(db, namespace_key, &name)?
            .ok_or_else(|| ApiError::not_found("collection", &name))?;
        if !collections::root_buckets(db, found.key)?.contains(&bucket.key) {
            return Err(ApiError::invalid_field(
                FieldError::new("collection_ids", name, "takes nothing from this bucket")
                    .accepting("collections that take from it"),
            ));
        }
        keys.push(found.key);
    }
    Ok(Some(keys))
}

fn add(
    tx: &Transaction<'_>,
    key: i64,
    bucket: &Bucket,
    ids: &[String],
    skips: bool,
) -> Result<(), ApiError> {
    let unknown = batches::add_objects(tx, key, bucket.key, ids)?;
    if unknown.is_empty() {
        return Ok(());
    }
    if skips {
        return Ok(batches::add_unknown(tx, key, &unknown)?);
    }
    Err(ApiError::invalid_field(
        FieldError::new("object_ids", json!(unknown), "are no objects of the bucket")
            .accepting("ids of objects, or ?skip_validation=true"),
    ))
}

/// Add objects to a draft
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/objects",
    tag = "bucket_batches", operation_id = "add_objects_to_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id"), AddObjectsQuery),
    request_body = AddObjectsToBatchRequest,
    responses((status = 200, description = "The batch", body = response::BatchResponse))
)]
async fn add_objects(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<AddObjectsQuery>,
    Valid(body): Valid<AddObjectsToBatchRequest>,
) -> JsonResult {
    let (now, skips) = (app.now(), query.skip_validation.unwrap_or(false));
    let response = change(&app, &scope, path, move |tx, bucket, batch| {
        if batch.status != BatchStatus::Draft {
            return Err(ApiError::conflict("the batch is submitted: make another")
                .detail("status", batch.status.as_str()));
        }
        add(tx, batch.key, bucket, &body.object_ids, skips)?;
        Ok::<_, ApiError>(read_details(tx, batch.key)?.to_json(now))
    })
    .await?;
    Ok(Json(response))
}

/// Submit a batch
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/submit",
    tag = "bucket_batches", operation_id = "submit_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id"), SubmitQuery),
    request_body = SubmitBatchRequest,
    responses((status = 200, description = "The task of its first tier", body = response::TaskResponse))
)]
async fn submit(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    _query: ValidQuery<SubmitQuery>,
    Valid(body): Valid<SubmitBatchRequest>,
) -> JsonResult {
    check_webhook(body.webhook_url.as_deref())?;
    let (now, namespace_key) = (app.now(), scope.namespace_key);
    let response = change(&app, &scope, path, move |tx, bucket, batch| {
        if batch.status.is_terminal() {
            return Err(ApiError::conflict("the batch has ended: resubmit it to run it again")
                .detail("status", batch.status.as_str()));
        }
        let named = collections_of(tx, namespace_key, bucket, body.collection_ids)?;
        check_same(tx, &batch, named)?;
        if let Some(url) = &body.webhook_url {
            batches::set_webhook_url(tx, batch.key, url)?;
        }
        if batch.status == BatchStatus::Draft {
            submit_now(tx, batch.key, now)?;
        }
        let details = read_details(tx, batch.key)?;
        let task = details
            .tasks
            .first()
            .ok_or_else(|| ApiError::internal("a submitted batch has no task"))?;
        Ok(task_of(&details, task))
    })
    .await?;
    app.processor.nudge();
    Ok(Json(response))
}

fn check_same(db: &Connection, batch: &Batch, named: Option<Vec<i64>>) -> Result<(), ApiError> {
    let Some(mut named) = named else { return Ok(()) };
    let mut own = match &batch.collections {
        Some(keys) => keys.clone(),
        None => collections::of_bucket(db, batch.bucket_key)?,
    };
    named.sort_unstable();
    own.sort_unstable();
    if named == own {
        return Ok(());
    }
    let mut ids = Vec::new();
    for key in own {
        ids.extend(collections::by_key(db, key)?.map(|it| it.id.to_string()));
    }
    Err(ApiError::invalid_field(
        FieldError { value: None, ..FieldError::new("collection_ids", (), "are not the batch's") }
            .accepting(ids),
    ))
}

/// An address that is called once when the batch ends, unsigned.
pub(super) fn check_webhook(url: Option<&str>) -> Result<(), ApiError> {
    match url.map(post::address) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(why)) => Err(ApiError::invalid_field(
            FieldError::new("webhook_url", url.unwrap_or_default(), why)
                .accepting("http:// or https://, without a user name, and no link-local address"),
        )),
    }
}

/// Submit all drafts of a bucket
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/submit-all", tag = "bucket_batches",
    operation_id = "submit_all_batches_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, description = "What became of each", body = response::SubmitAllBatchesResponse))
)]
async fn submit_all(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
) -> JsonResult {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let (key, now) = (bucket.key, app.now());
    let drafts = app.engine.store.read(move |db| batches::drafts(db, key)).await?;
    let (mut submitted, mut failed) = (Vec::new(), Vec::new());
    for draft in drafts {
        let id = draft.id.to_string();
        let done = app.engine.store.write(move |tx| submit_now(tx, draft.key, now)).await;
        match done {
            Ok(()) => submitted.push(id),
            Err(error) => {
                failed.push(SubmitErrorResponse { batch_id: id, error: error.message().to_owned() })
            }
        }
    }
    app.processor.nudge();
    Ok(Json(json!(SubmitAllBatchesResponse {
        submitted: submitted.len() as u64,
        failed: failed.len() as u64,
        total: (submitted.len() + failed.len()) as u64,
        batch_ids: submitted,
        errors: failed,
    })))
}

/// Submit a whole bucket, in batches
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/bulk-submit", tag = "bucket_batches",
    operation_id = "bulk_submit_batches_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = BulkSubmitBatchesRequest,
    responses((status = 200, description = "The batches", body = response::BulkSubmitBatchesResponse))
)]
async fn bulk_submit(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<BulkSubmitBatchesRequest>,
) -> JsonResult {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let chunk = body.chunk_size.unwrap_or(CHUNK).min(CHUNK);
    let keys = keys_of(&app, &bucket, body.filters, body.max_objects).await?;
    let group = format!("grp_{}", ulid::Ulid::generate());
    let (namespace_key, now) = (scope.namespace_key, app.now());
    let (named, found_in) = (body.collection_ids, bucket.clone());
    let collections = app
        .engine
        .store
        .read_or(move |db| collections_of(db, namespace_key, &found_in, named))
        .await?;
    let mut made = Vec::new();
    for part in keys.chunks(chunk as usize) {
        let (part, collections, group) = (part.to_vec(), collections.clone(), group.clone());
        let (bucket_key, dedup) = (bucket.key, body.dedup_strategy.unwrap_or_default());
        let response = app
            .engine
            .store
            .write(move |tx| {
                let metadata: Map<String, Value> =
                    [("batch_group_id".to_owned(), group.into())].into_iter().collect();
                let batch = NewBatch {
                    bucket_key,
                    is_backfill: true,
                    dedup,
                    collections,
                    metadata,
                    ..NewBatch::default()
                };
                let key = batches::insert(tx, &batch, now)?;
                batches::add_keys(tx, key, &part)?;
                submit_now(tx, key, now)?;
                let details = read_details(tx, key)?;
                Ok::<_, ApiError>(BulkSubmittedBatchResponse {
                    batch_id: details.batch.id.to_string(),
                    status: "PENDING",
                    object_count: details.batch.object_count,
                    queue_position: details.queue_position,
                    error: None,
                    estimate: None,
                })
            })
            .await?;
        made.push(response);
    }
    app.processor.nudge();
    Ok(Json(json!(BulkSubmitBatchesResponse {
        batch_group_id: group,
        total_objects: keys.len() as u64,
        total_batches: made.len() as u64,
        submitted: made.len() as u64,
        failed: 0,
        chunk_size: chunk,
        batches: made,
    })))
}

/// Show a batch
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}", tag = "bucket_batches",
    operation_id = "get_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id")),
    responses((status = 200, description = "The batch", body = response::BatchResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> JsonResult {
    let details =
        read_batch(&app, &scope, path, |db, batch| Ok(details_of(db, batch, true)?)).await?;
    Ok(Json(details.to_json(app.now())))
}

/// List batches
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/list", tag = "bucket_batches",
    operation_id = "list_batches_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ListQuery),
    request_body = ListBatchesRequest,
    responses((status = 200, description = "Batches, the newest first", body = response::ListBatchesResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(mut query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListBatchesRequest>,
) -> JsonResult {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    query.limit = query.limit.or(query.page_size).or(body.limit).or(Some(100));
    query.offset = query.offset.or(body.offset.filter(|_| body.cursor.is_none()));
    query.cursor = query.cursor.or(body.cursor);
    let page = query.page()?;
    let status = body.status.as_deref().map(parse_status).transpose()?;
    let namespace_key = scope.namespace_key;
    let before: Option<i64> = page.place("batches")?;
    let (limit, skip) = (page.limit + 1, page.offset);
    let (mut rows, total) = app
        .engine
        .store
        .read_or(move |db| {
            let collection = match body.collection_id {
                None => None,
                Some(name) => Some(
                    collections::named(db, namespace_key, &name)?
                        .ok_or_else(|| ApiError::not_found("collection", name))?
                        .key,
                ),
            };
            let wanted = BatchFilter { status, collection };
            let rows = batches::page(db, bucket.key, &wanted, before, skip, limit)?
                .into_iter()
                .map(|batch| details_of(db, batch, false))
                .collect::<crate::store::Result<Vec<_>>>()?;
            Ok::<_, ApiError>((rows, batches::count(db, bucket.key, &wanted)?))
        })
        .await?;
    let pagination = page.finish(&mut rows, Some(total), "batches", |row| row.batch.key);
    let now = app.now();
    let results = rows.iter().map(|row| row.to_json(now)).collect();
    Ok(Json(json!(response::ListBatchesResponse { results, total_count: total, pagination })))
}

/// The status of that spelling, as batches have it.
pub(super) fn parse_status(text: &str) -> Result<BatchStatus, ApiError> {
    let known = match text {
        "QUEUED" => Some(BatchStatus::Pending),
        "PROCESSING" => Some(BatchStatus::InProgress),
        other => BatchStatus::parse(other),
    };
    known.ok_or_else(|| {
        ApiError::invalid_field(FieldError::new("status", text, "is no status").accepting(vec![
            "DRAFT",
            "PENDING",
            "IN_PROGRESS",
            "COMPLETED",
            "COMPLETED_WITH_ERRORS",
            "FAILED",
            "CANCELED",
        ]))
    })
}

/// Change what is kept with a batch
#[utoipa::path(
    patch, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}", tag = "bucket_batches",
    operation_id = "patch_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id")),
    request_body = PatchBatchRequest,
    responses((status = 200, description = "The batch", body = response::BatchResponse))
)]
async fn patch(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    Valid(body): Valid<PatchBatchRequest>,
) -> JsonResult {
    let now = app.now();
    let response = change(&app, &scope, path, move |tx, _, batch| {
        let mut metadata = batch.metadata.clone();
        documents::merge(&mut metadata, body.metadata.unwrap_or_default());
        batches::set_metadata(tx, batch.key, &metadata, now)?;
        Ok::<_, ApiError>(read_details(tx, batch.key)?.to_json(now))
    })
    .await?;
    Ok(Json(response))
}

fn refuse_running(batch: &Batch) -> Result<(), ApiError> {
    match batch.status {
        BatchStatus::Pending | BatchStatus::InProgress => {
            Err(ApiError::conflict("the batch is under way: wait for its end, or cancel it")
                .code("batch_runs")
                .detail("status", batch.status.as_str()))
        }
        _ => Ok(()),
    }
}

/// Delete the record of a batch; its documents stay
#[utoipa::path(
    delete, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}", tag = "bucket_batches",
    operation_id = "delete_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id")),
    responses((status = 200, description = "It is gone", body = DeletedResponse))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> JsonResult {
    change(&app, &scope, path, move |tx, _, batch| {
        refuse_running(&batch)?;
        Ok::<_, ApiError>(batches::remove_record(tx, batch.key)?)
    })
    .await?;
    Ok(Json(json!(DeletedResponse::done())))
}

/// Delete the documents that a batch wrote
///
/// Its objects count as not extracted then.
#[utoipa::path(
    delete, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/documents",
    tag = "bucket_batches", operation_id = "delete_batch_documents_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id")),
    responses((status = 200, description = "How many went", body = response::DeletedBatchDocumentsResponse))
)]
async fn delete_documents(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> JsonResult {
    let response = change(&app, &scope, path, move |tx, _, batch| {
        refuse_running(&batch)?;
        let removed = crate::store::processing::outcomes::remove_documents_of_batch(tx, batch.key)?;
        Ok::<_, ApiError>(json!(DeletedBatchDocumentsResponse {
            batch_id: batch.id.to_string(),
            deleted_count: removed,
            success: true,
            message: "Documents deleted",
        }))
    })
    .await?;
    super::objects::collect_soon(&app);
    Ok(Json(response))
}

/// The task of a tier, with its batch.
pub(super) fn with_batch(
    db: &Connection,
    task: tasks::Task,
) -> crate::store::Result<Option<Value>> {
    let Some(batch) = task.batch_key.map(|key| batches::by_key(db, key)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    Ok(Some(task_of(&details_of(db, batch, false)?, &task)))
}
