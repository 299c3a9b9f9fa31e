//! `/v1/buckets/{bucket}/uploads`: bytes that come before their object does. Made, sent to a signed
//! address of this server, confirmed.

mod announce;
mod bytes;
mod confirm;
mod receive;
mod wire;

use axum::{
    Json,
    extract::{DefaultBodyLimit, State},
    http::{Method, StatusCode},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    announce::announced,
    wire::{
        BatchUploadRequest, BatchUploadResponse, CreateUploadRequest, DeleteUploadQuery,
        GetUploadQuery, ListUploadsRequest, ListUploadsResponse, UploadListStats, UploadResponse,
    },
};
use super::{
    App,
    base::Base,
    buckets::{self, field_error},
    content::links,
    error::{ApiError, JsonResult},
    filters,
    json::{FromPath, Valid, ValidQuery},
    objects,
    page::{InBody, ListQuery},
    scope::Scope,
};
use crate::{
    engine::collect,
    model::UploadStatus,
    store::{
        RowPosition, StoreError,
        buckets::Bucket,
        trash,
        uploads::{self, Query, Upload},
    },
};

/// When an upload ends that only its confirmation ends: the last hour that there is, 9999-12-30.
const NEVER: Timestamp = Timestamp::constant(253_402_207_200, 0);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(create_batch))
        .routes(routes!(list))
        .routes(routes!(confirm::confirm_batch))
        .routes(routes!(confirm::confirm))
        .routes(routes!(get, delete))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(bytes::put_content, bytes::get_content))
                .layer(DefaultBodyLimit::disable()),
        )
}

/// Announce an upload
///
/// The response has a signed address to PUT the bytes to. Then confirm it.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/uploads", tag = "bucket_uploads",
    operation_id = "create_upload_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = CreateUploadRequest,
    responses((status = 200, body = UploadResponse))
)]
async fn create(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<CreateUploadRequest>,
) -> JsonResult<UploadResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    collect::end_uploads(&app.engine).await?;
    announced(&app, &scope, &base, &bucket, body).await.map(Json)
}

/// Announce several uploads
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/uploads/batch", tag = "bucket_uploads",
    operation_id = "create_uploads_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = BatchUploadRequest,
    responses((status = 200, body = BatchUploadResponse))
)]
async fn create_batch(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<BatchUploadRequest>,
) -> JsonResult<BatchUploadResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let shared = |own: Option<Map<String, Value>>, shared: &Option<Map<String, Value>>| {
        let mut all = shared.clone().unwrap_or_default();
        all.extend(own.unwrap_or_default());
        (!all.is_empty()).then_some(all)
    };
    let mut requests = body.uploads;
    for request in &mut requests {
        request.metadata = shared(request.metadata.take(), &body.shared_metadata);
        request.object_metadata =
            shared(request.object_metadata.take(), &body.shared_object_metadata);
        // All are checked before the first is made.
        announce::settings(&bucket, request.clone())?;
    }
    let mut made = Vec::new();
    for request in requests {
        made.push(announced(&app, &scope, &base, &bucket, request).await?);
    }
    Ok(Json(BatchUploadResponse { total: made.len() as u64, uploads: made }))
}

fn content_path(bucket: &Bucket, upload: &Upload) -> String {
    format!("/v1/buckets/{}/uploads/{}/content", bucket.id, upload.id)
}

fn to_response(bucket: &Bucket, upload: Upload, link: Option<String>) -> UploadResponse {
    let settings = upload.settings;
    let size = upload.bytes.map(|(_, size)| size).or(settings.file_size_bytes);
    UploadResponse {
        bucket_id: bucket.id.to_string(),
        s3_key: format!("{}/uploads/{}/{}", bucket.id, upload.id, settings.filename),
        upload_id: upload.id.to_string(),
        filename: settings.filename,
        content_type: settings.content_type,
        file_size_bytes: size,
        presigned_url: link,
        presigned_url_expiration: settings.expiration_secs,
        status: upload.status,
        metadata: settings.metadata,
        create_object_on_confirm: settings.create_object_on_confirm,
        object_metadata: settings.object_metadata,
        blob_property: settings.blob_property,
        blob_type: settings.blob_type,
        file_hash: settings.file_hash,
        skip_duplicates: settings.skip_duplicates,
        is_duplicate: false,
        duplicate_of_upload_id: None,
        skipped_unique_key: false,
        existing_object_id: None,
        message: settings.message,
        created_at: upload.created_at,
        expires_at: upload.expires_at.unwrap_or(NEVER),
        completed_at: settings.completed_at,
        verified_at: settings.verified_at,
        etag: settings.etag,
        object_id: settings.object_id,
        task_id: None,
    }
}

/// A link to read the bytes by, where there are any.
fn link(app: &App, scope: &Scope, base: &Base, bucket: &Bucket, upload: &Upload) -> Option<String> {
    let is_there = upload.status == UploadStatus::Completed && upload.bytes.is_some();
    let until = app.now() + SignedDuration::from_secs(links::DEFAULT_SECS.cast_signed());
    is_there.then(|| {
        let path = content_path(bucket, upload);
        base.url(&app.links.sign(&Method::GET, &path, scope.id.as_str(), until))
    })
}

async fn found(app: &App, bucket: &Bucket, id: &str) -> Result<Upload, ApiError> {
    let (key, wanted) = (bucket.key, id.to_owned());
    let found = app.engine.store.read(move |db| uploads::by_id(db, key, &wanted)).await?;
    found.ok_or_else(|| ApiError::not_found("upload", id))
}

/// Get an upload
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/uploads/{upload_id}", tag = "bucket_uploads",
    operation_id = "get_upload_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("upload_id" = String, Path, description = "Id"),
        GetUploadQuery
    ),
    responses((status = 200, body = UploadResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath((bucket, id)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<GetUploadQuery>,
) -> JsonResult<UploadResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    collect::end_uploads(&app.engine).await?;
    let upload = found(&app, &bucket, &id).await?;
    let wanted = query.return_presigned_urls.unwrap_or(false);
    let link = wanted.then(|| link(&app, &scope, &base, &bucket, &upload)).flatten();
    Ok(Json(to_response(&bucket, upload, link)))
}

/// Cancel an upload
#[utoipa::path(
    delete, path = "/v1/buckets/{bucket_identifier}/uploads/{upload_id}", tag = "bucket_uploads",
    operation_id = "delete_upload_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("upload_id" = String, Path, description = "Id"),
        DeleteUploadQuery
    ),
    responses((status = 204, description = "Deleted"))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    _query: ValidQuery<DeleteUploadQuery>,
) -> Result<StatusCode, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
    if let Some(object_key) = upload.waiting {
        let now = app.now();
        app.engine.store.write(move |tx| trash::purge(tx, bucket.key, &[object_key], now)).await?;
        objects::collect_soon(&app);
        return Ok(StatusCode::NO_CONTENT);
    }
    if upload.status == UploadStatus::Completed {
        return Err(ApiError::conflict("this upload is confirmed: delete its object instead")
            .code("upload_completed"));
    }
    app.engine.store.write(move |tx| uploads::delete(tx, upload.key)).await?;
    objects::collect_soon(&app);
    Ok(StatusCode::NO_CONTENT)
}

/// List uploads that match
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/uploads/list", tag = "bucket_uploads",
    operation_id = "list_uploads_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ListQuery),
    request_body = ListUploadsRequest,
    responses((status = 200, body = ListUploadsResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    base: Base,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListUploadsRequest>,
) -> JsonResult<ListUploadsResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    collect::end_uploads(&app.engine).await?;
    let page =
        query.page_with(InBody { limit: body.limit, offset: body.offset, ..InBody::default() })?;
    let filter = body.filters.map(filters::filter).transpose()?;
    let sort = body.sort.as_ref().map(filters::sort).transpose()?;
    let list = format!("uploads/{}/{sort:?}", bucket.id);
    let place = page.place::<RowPosition>(&list)?;
    let query = Query::new(bucket.key, filter.as_ref(), body.search.as_deref(), sort.as_ref())
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))?;
    let (skip, limit) = (page.offset, page.fetch());
    let (mut rows, (by_status, bytes)) = app
        .engine
        .store
        .read(move |db| {
            Ok::<_, StoreError>((query.page(db, place.as_ref(), skip, limit)?, query.sums(db)?))
        })
        .await?;
    let total: u64 = by_status.values().sum();
    let counted = page.include_total.then_some(total);
    let pagination = page.finish(&mut rows, counted, &list, |(place, _)| place.clone());
    let with_links = body.return_presigned_urls.unwrap_or(false);
    let results = rows
        .into_iter()
        .map(|(_, upload)| {
            let link = with_links.then(|| link(&app, &scope, &base, &bucket, &upload)).flatten();
            to_response(&bucket, upload, link)
        })
        .collect();
    let stats = UploadListStats {
        total_uploads: total,
        total_size_bytes: bytes,
        uploads_by_status: by_status,
        avg_file_size_bytes: if total == 0 { 0.0 } else { bytes as f64 / total as f64 },
        unique_buckets: u64::from(total > 0),
    };
    Ok(Json(ListUploadsResponse { results, pagination, stats }))
}
