//! `/v1/buckets/{bucket}/objects`: records in a bucket.

pub(super) mod aggregate;
mod change;
pub(super) mod create;
mod removal;
mod response;
mod thumbnail;
mod trash;
mod wire;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::removal::collect_soon;
use self::{
    response::{
        BatchObjectResult, CreateObjectsBatchResponse, FailedObjectError, ListObjectsResponse,
        ObjectListStats, ObjectResponse, View,
    },
    wire::{
        CreateBatchQuery, CreateObjectQuery, CreateObjectRequest, CreateObjectsBatchRequest,
        GetObjectQuery, ListObjectsRequest,
    },
};
use super::{
    App,
    base::Base,
    buckets::{self, field_error},
    error::{ApiError, JsonResult, MOST_ERRORS},
    filters,
    json::{FromPath, Valid, ValidQuery},
    page::{self, ListQuery, Page},
    scope::Scope,
    submission,
};
use crate::store::{
    RowPosition, StoreError,
    buckets::Bucket,
    objects::{
        query::{KeyPage, Query},
        record::{self, Record},
        write::{self, CreateOptions, NewObject},
    },
};

/// Objects that a page is looked for among, where no index finds them: a tenth of a second, about.
const LOOKED_AT: u32 = 100_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_object, list))
        .routes(routes!(search))
        .routes(routes!(create_batch))
        .routes(routes!(aggregate::aggregate))
        .routes(routes!(removal::delete_several))
        .routes(routes!(trash::list))
        .routes(routes!(trash::restore))
        .routes(routes!(trash::purge))
        .routes(routes!(thumbnail::thumbnail))
        .routes(routes!(get, change::patch, change::put, removal::delete))
}

/// List objects
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/objects", tag = "bucket_objects",
    operation_id = "list_objects_get_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ListQuery),
    responses((status = 200, body = ListObjectsResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<ListQuery>,
) -> JsonResult<ListObjectsResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    page_of(&app, &scope, base, bucket, query.page()?, ListObjectsRequest::default()).await
}

/// List objects that match
///
/// Without `page`, `offset` and `include_total`, a page is no longer looked for once very many
/// objects have been looked at: it may then have fewer rows than the limit, or none, and a
/// `next_cursor` that continues behind these.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/list", tag = "bucket_objects",
    operation_id = "list_objects_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ListQuery),
    request_body = ListObjectsRequest,
    responses((status = 200, body = ListObjectsResponse))
)]
async fn search(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListObjectsRequest>,
) -> JsonResult<ListObjectsResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let mut page = query.page()?;
    page.include_total |= body.include_total.unwrap_or(false);
    page_of(&app, &scope, base, bucket, page, body).await
}

async fn page_of(
    app: &App,
    scope: &Scope,
    base: Base,
    bucket: Bucket,
    page: Page,
    wanted: ListObjectsRequest,
) -> JsonResult<ListObjectsResponse> {
    let filter = wanted.filters.map(filters::filter).transpose()?;
    let sort = wanted.sort.as_ref().map(filters::sort).transpose()?;
    let list = format!("objects/{}/{sort:?}", bucket.id);
    let place = page.place::<RowPosition>(&list)?;
    let query = Query::new(&bucket, filter.as_ref(), wanted.search.as_deref(), sort.as_ref())
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))?;
    let (skip, limit, counts) = (page.offset, page.fetch(), page.include_total);
    let most = (!page.is_counted).then_some(LOOKED_AT);
    let asked = page.clone();
    let (found, records, total) = app
        .engine
        .store
        .read(move |db| {
            let found = query.keys(db, place.as_ref(), skip, limit, most)?;
            let places = &found.places;
            let shown = places.len().min(limit as usize - 1);
            let records = record::by_keys(db, places[..shown].iter().map(RowPosition::key))?;
            let total = match (counts, query.wants_all()) {
                (false, _) => None,
                (true, true) => Some(bucket.object_count),
                (true, false) => {
                    let is_whole = found.ends_at.is_none();
                    match asked.total_at_end(places.len()).filter(|_| is_whole) {
                        Some(total) => Some(total),
                        None => Some(query.count(db)?),
                    }
                }
            };
            Ok((found, records, total))
        })
        .await?;
    let KeyPage { mut places, ends_at } = found;
    let mut pagination = page.finish(&mut places, total, &list, RowPosition::clone);
    if pagination.next_cursor.is_none() {
        pagination.next_cursor = ends_at.map(|place| page::encode_cursor(&list, &place));
    }
    let view = View::new(app, base, scope, &bucket.id, wanted.return_presigned_urls == Some(true));
    let objects: Vec<_> = records.into_iter().map(|record| view.object(record)).collect();
    let stats = ObjectListStats::of(&objects);
    let results = objects.into_iter().map(|object| object.selected(wanted.select.as_deref()));
    let results = results.collect();
    Ok(Json(ListObjectsResponse { results, pagination, stats }))
}

/// Get an object
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}",
    tag = "bucket_objects", operation_id = "get_object_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
        GetObjectQuery
    ),
    responses((status = 200, body = ObjectResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((bucket, id)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<GetObjectQuery>,
) -> JsonResult<ObjectResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let record = found(&app, &bucket, id).await?;
    let with_links = query.return_presigned_urls.unwrap_or(false);
    let mut object = View::new(&app, base, &scope, &bucket.id, with_links).object(record).alone();
    if query.include_document_count == Some(false) {
        object.document_count = None;
    }
    Ok(Json(object))
}

async fn found(app: &App, bucket: &Bucket, id: String) -> Result<Record, ApiError> {
    let (key, wanted) = (bucket.key, id.clone());
    let found = app.engine.store.read(move |db| record::by_id(db, key, &wanted)).await?;
    found.ok_or_else(|| ApiError::not_found("object", id))
}

/// Create an object
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects", tag = "bucket_objects",
    operation_id = "create_object_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), CreateObjectQuery),
    request_body = CreateObjectRequest,
    responses((status = 200, body = ObjectResponse))
)]
async fn create_object(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<CreateObjectQuery>,
    Valid(body): Valid<CreateObjectRequest>,
) -> JsonResult<ObjectResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    if query.auto_process == Some(true) {
        submission::check_taken(&app, &bucket, "auto_process").await?;
    }
    let policy = create::policy(&bucket, query.policy)?;
    let options = CreateOptions { policy, skip_duplicates: body.skip_duplicates.unwrap_or(false) };
    let new = create::new_object(&app, &bucket, body).await?;
    let (key, _) = made(&app, &bucket, vec![(new, options)]).await?.remove(0)?;
    process(&app, &bucket, query.auto_process, vec![key]).await?;
    let record = app.engine.store.read(move |db| record::by_key(db, key)).await?;
    let view = View::new(&app, base, &scope, &bucket.id, false);
    Ok(Json(view.object(record).written()))
}

/// Has new objects processed, if somebody asks for it.
async fn process(
    app: &App,
    bucket: &Bucket,
    auto_process: Option<bool>,
    object_keys: Vec<i64>,
) -> Result<(), ApiError> {
    if auto_process != Some(true) || object_keys.is_empty() {
        return Ok(());
    }
    let (bucket_key, now) = (bucket.key, app.now());
    let submit = move |tx: &crate::store::Transaction<'_>| {
        submission::submit_objects(tx, bucket_key, &object_keys, now)
    };
    app.engine.store.write(submit).await?;
    app.processor.nudge();
    Ok(())
}

type Made = Result<(i64, Option<&'static str>), ApiError>;

/// Makes objects in one transaction; each succeeds or fails by itself.
pub(super) async fn made(
    app: &App,
    bucket: &Bucket,
    new_objects: Vec<(NewObject, CreateOptions)>,
) -> Result<Vec<Made>, ApiError> {
    let (bucket_key, now, blobs) = (bucket.key, app.now(), app.engine.blobs.clone());
    let outcomes = app
        .engine
        .store
        .write(move |tx| {
            let make = |(new, options): &(NewObject, CreateOptions)| {
                write::create(tx, bucket_key, new, *options, |hash| blobs.exists(hash), now)
            };
            new_objects.iter().map(make).collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    Ok(outcomes.into_iter().map(create::object_key_of).collect())
}

/// Create several objects
///
/// Those that are valid are created; it is an error (422) if none is.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/batch", tag = "bucket_objects",
    operation_id = "create_objects_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), CreateBatchQuery),
    request_body = CreateObjectsBatchRequest,
    responses((status = 200, body = CreateObjectsBatchResponse))
)]
async fn create_batch(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<CreateBatchQuery>,
    Valid(body): Valid<CreateObjectsBatchRequest>,
) -> Result<Response, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    if query.auto_process == Some(true) {
        submission::check_taken(&app, &bucket, "auto_process").await?;
    }
    // A batch has no policy of its own: the bucket's applies.
    let policy = create::policy(&bucket, None)?;
    let total = body.objects.len() as u64;
    let (mut failed, mut new_objects, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (index, request) in (0_u64..).zip(body.objects) {
        let options =
            CreateOptions { policy, skip_duplicates: request.skip_duplicates.unwrap_or(false) };
        match create::new_object(&app, &bucket, request).await {
            Ok(new) => {
                new_objects.push((new, options));
                places.push(index);
            }
            Err(error) => failed.push(failure(index, &error)),
        }
    }
    let mut keys = Vec::new();
    for (index, made) in places.into_iter().zip(made(&app, &bucket, new_objects).await?) {
        match made {
            Ok((key, replayed_by)) => keys.push((index, key, replayed_by)),
            Err(error) => failed.push(failure(index, &error)),
        }
    }
    failed.sort_by_key(|failure| failure.object_index);
    let made = keys.iter().map(|(_, key, _)| *key).collect();
    process(&app, &bucket, query.auto_process, made).await?;
    let view = View::new(&app, base, &scope, &bucket.id, false);
    let succeeded = app
        .engine
        .store
        .read(move |db| {
            keys.into_iter()
                .map(|(object_index, key, replayed_by)| {
                    Ok(BatchObjectResult {
                        object: view.object(record::by_key(db, key)?).written(),
                        object_index,
                        replayed: replayed_by.is_some(),
                        replayed_by,
                    })
                })
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    if succeeded.is_empty() && !failed.is_empty() {
        return Err(all_failed(&failed));
    }
    let (succeeded_count, failed_count) = (succeeded.len() as u64, failed.len() as u64);
    let answer = CreateObjectsBatchResponse {
        succeeded,
        failed,
        total_requested: total,
        succeeded_count,
        failed_count,
    };
    Ok(Json(answer).into_response())
}

/// The error of a batch of which nothing was created. Names no more of it than somebody reads.
fn all_failed(failed: &[FailedObjectError]) -> ApiError {
    let listed = &failed[..failed.len().min(MOST_ERRORS)];
    let words = match failed {
        [only] => format!("the object could not be created: {}", only.error),
        several => format!("none of the {} objects could be created", several.len()),
    };
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", words)
        .code("all_failed")
        .detail("failed", serde_json::json!(listed))
        .detail("failed_count", failed.len())
}

fn failure(object_index: u64, error: &ApiError) -> FailedObjectError {
    FailedObjectError {
        object_index,
        error: error.message().to_owned(),
        error_type: error.kind().to_owned(),
    }
}
