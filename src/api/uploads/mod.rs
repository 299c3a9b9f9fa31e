//! `/v1/buckets/{bucket}/uploads`: bytes that come before their object does. Made, sent to a signed
//! address of this server, confirmed.

mod receive;
mod wire;

use axum::{
    Json,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::{
    BatchConfirmRequest, BatchConfirmResponse, BatchUploadRequest, BatchUploadResponse,
    ConfirmQuery, ConfirmUploadRequest, ConfirmUploadResponse, CreateUploadRequest,
    DeleteUploadQuery, GetUploadQuery, ListUploadsRequest, ListUploadsResponse, TaskResponse,
    UploadListStats, UploadResponse,
};
use super::{
    App,
    base::Base,
    buckets::{self, InsertionPolicy, told},
    content::links,
    error::{ApiError, FieldError},
    filters,
    json::{FromPath, Valid, ValidQuery},
    objects,
    page::{InBody, ListQuery},
    scope::Scope,
};
use crate::{
    engine::collect,
    model::{FieldType, UploadSettings, UploadStatus},
    store::{
        Place, StoreError,
        buckets::Bucket,
        objects::{
            record,
            write::{self, BlobBytes, Draft, DraftBlob, Terms},
        },
        uploads::{self, Query, Upload},
    },
};

type Answer<T> = Result<Json<T>, ApiError>;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(create_batch))
        .routes(routes!(list))
        .routes(routes!(confirm_batch))
        .routes(routes!(confirm))
        .routes(routes!(get, delete))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(put_content, get_content))
                .layer(DefaultBodyLimit::disable()),
        )
}

/// Announce an upload
///
/// The answer has a signed address to PUT the bytes to. Then confirm it.
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
) -> Answer<UploadResponse> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
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
) -> Answer<BatchUploadResponse> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
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
        settings(&bucket, request.clone())?;
    }
    let mut made = Vec::new();
    for request in requests {
        made.push(announced(&app, &scope, &base, &bucket, request).await?);
    }
    Ok(Json(BatchUploadResponse { total: made.len() as u64, uploads: made }))
}

async fn announced(
    app: &App,
    scope: &Scope,
    base: &Base,
    bucket: &Bucket,
    request: CreateUploadRequest,
) -> Result<UploadResponse, ApiError> {
    let settings = settings(bucket, request)?;
    let (key, now) = (bucket.key, app.now());
    let until = now + SignedDuration::from_secs(settings.expiration_secs.cast_signed());
    let (upload, is_duplicate) = app
        .engine
        .store
        .write(move |tx| {
            let known = match &settings.file_hash {
                Some(hash) if settings.skip_duplicates => uploads::with_hash(tx, key, hash)?,
                _ => None,
            };
            match known {
                Some(known) => Ok((known, true)),
                None => Ok((uploads::insert(tx, key, &settings, until, now)?, false)),
            }
        })
        .await?;
    let put = (!is_duplicate).then(|| {
        let path = content_path(bucket, &upload);
        base.url(&app.links.sign(&Method::PUT, &path, scope.id.as_str(), until))
    });
    let mut answer = shown(bucket, upload, put);
    if is_duplicate {
        answer.is_duplicate = true;
        answer.duplicate_of_upload_id = Some(answer.upload_id.clone());
        answer.message = Some("these bytes were uploaded before; none need be sent".to_owned());
    }
    Ok(answer)
}

fn content_path(bucket: &Bucket, upload: &Upload) -> String {
    format!("/v1/buckets/{}/uploads/{}/content", bucket.id, upload.id)
}

/// What is kept of a request, if it can be.
fn settings(bucket: &Bucket, request: CreateUploadRequest) -> Result<UploadSettings, ApiError> {
    let mut wrong = Vec::new();
    let name = &request.filename;
    if name.contains(['/', '\\'])
        || name.chars().any(char::is_control)
        || name == ".."
        || name == "."
    {
        wrong.push(
            FieldError::new("filename", name.as_str(), "is no name of a file")
                .accepting("a name without a path"),
        );
    }
    let mime = &request.content_type;
    if !mime.contains('/') || HeaderValue::from_str(mime).is_err() {
        wrong.push(
            FieldError::new("content_type", mime.as_str(), "is no MIME type")
                .accepting("type/subtype, such as video/mp4"),
        );
    }
    let creates = request.create_object_on_confirm.unwrap_or(true);
    let property = request.blob_property.or_else(|| default_property(bucket, name));
    if creates && property.is_none() {
        wrong.push(
            FieldError {
                value: None,
                ..FieldError::new("blob_property", (), "cannot be made of the file's name")
            }
            .accepting("letters, digits and underscores")
            .of_kind("missing"),
        );
    }
    let kind = request.blob_type.unwrap_or_else(|| FieldType::of_mime(Some(mime)));
    let schema = bucket.settings.bucket_schema.as_ref();
    let field = schema.and_then(|schema| schema.properties.get(property.as_deref()?));
    if let Some(field) = field.filter(|field| creates && field.kind != kind) {
        wrong.push(
            FieldError::new(
                "blob_type",
                kind.as_str(),
                "is of another type in the bucket's schema",
            )
            .accepting(field.kind.as_str()),
        );
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    Ok(UploadSettings {
        filename: request.filename,
        content_type: request.content_type,
        file_size_bytes: request.file_size_bytes,
        expiration_secs: request.presigned_url_expiration.unwrap_or(links::DEFAULT_SECS),
        metadata: request.metadata,
        create_object_on_confirm: creates,
        object_metadata: request.object_metadata,
        blob_property: property,
        blob_type: Some(kind.as_str().to_owned()),
        file_hash: request.file_hash.map(|hash| hash.to_ascii_lowercase()),
        skip_duplicates: request.skip_duplicates.unwrap_or(true),
        ..UploadSettings::default()
    })
}

/// The schema's only blob, else the file's name without its extension, where that can be a property.
fn default_property(bucket: &Bucket, filename: &str) -> Option<String> {
    let schema = bucket.settings.bucket_schema.as_ref();
    let mut blobs = schema
        .into_iter()
        .flat_map(|schema| &schema.properties)
        .filter(|(_, field)| field.kind.is_blob());
    if let (Some((only, _)), None) = (blobs.next(), blobs.next()) {
        return Some(only.clone());
    }
    let stem = filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!stem.is_empty() && stem.len() <= 100 && stem.chars().all(is_plain)).then(|| stem.to_owned())
}

fn shown(bucket: &Bucket, upload: Upload, link: Option<String>) -> UploadResponse {
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
        expires_at: upload.expires_at.unwrap_or(upload.created_at),
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

/// Send the bytes of an upload
///
/// To the address that the upload was made with.
#[utoipa::path(
    put, path = "/v1/buckets/{bucket_identifier}/uploads/{upload_id}/content",
    tag = "bucket_uploads", operation_id = "put_upload_content",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("upload_id" = String, Path, description = "Id"),
        ("namespace" = Option<String>, Query, description = "Of a signed link"),
        ("expires" = Option<i64>, Query, description = "Of a signed link"),
        ("signature" = Option<String>, Query, description = "Of a signed link"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "They are here; `ETag` names them"))
)]
async fn put_content(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
    let now = app.now();
    let is_open = matches!(upload.status, UploadStatus::Pending | UploadStatus::InProgress)
        && upload.expires_at.is_none_or(|end| now < end);
    let closed = || ApiError::conflict("this upload takes no bytes any more").code("upload_closed");
    if !is_open {
        return Err(closed());
    }
    let mut settings = upload.settings;
    let expected = match upload.status {
        UploadStatus::Pending => settings.file_size_bytes,
        // What was announced has been put right by the bytes that came before.
        _ => None,
    };
    let received = receive::receive(&app.engine.blobs, body, expected).await?;
    if upload.status == UploadStatus::Pending
        && let Some(hash) = settings.file_hash.as_ref().filter(|hash| **hash != received.sha256)
    {
        return Err(ApiError::malformed(format!(
            "the bytes have the SHA-256 {}, not {hash}",
            received.sha256
        ))
        .code("wrong_hash"));
    }
    let etag = format!("\"{}\"", received.stored.hash.to_hex());
    settings.file_size_bytes = Some(received.stored.size);
    settings.file_hash = Some(received.sha256);
    settings.etag = Some(etag.clone());
    let blobs = app.engine.blobs.clone();
    let was_open = app
        .engine
        .store
        .write(move |tx| {
            let exists = |hash: &_| blobs.exists(hash);
            uploads::receive(tx, upload.key, &received.stored, &settings, exists, now)
        })
        .await?;
    if !was_open {
        return Err(closed());
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, value);
    }
    Ok((StatusCode::OK, headers).into_response())
}

/// Read the bytes of an upload
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/uploads/{upload_id}/content",
    tag = "bucket_uploads", operation_id = "get_upload_content",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("upload_id" = String, Path, description = "Id"),
        ("namespace" = Option<String>, Query, description = "Of a signed link"),
        ("expires" = Option<i64>, Query, description = "Of a signed link"),
        ("signature" = Option<String>, Query, description = "Of a signed link"),
    ),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>))
)]
async fn get_content(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
    let (hash, size) = upload.bytes.ok_or_else(|| ApiError::not_found("bytes of upload", &id))?;
    let settings = upload.settings;
    super::content::answer(
        &app,
        &super::content::Shown {
            hash,
            size,
            mime: Some(settings.content_type),
            filename: settings.filename,
            modified: settings.verified_at.unwrap_or(upload.created_at),
        },
        &request,
    )
    .await
}

/// Confirm an upload
///
/// Its bytes are held against what they should be; then they are an object, unless it was made
/// without one.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/uploads/{upload_id}/confirm",
    tag = "bucket_uploads", operation_id = "confirm_upload_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("upload_id" = String, Path, description = "Id"),
        ConfirmQuery
    ),
    request_body = ConfirmUploadRequest,
    responses((status = 200, body = ConfirmUploadResponse))
)]
async fn confirm(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<ConfirmQuery>,
    Valid(body): Valid<ConfirmUploadRequest>,
) -> Answer<ConfirmUploadResponse> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    if body.auto_submit_batch == Some(true) {
        return Err(ApiError::invalid_field(
            FieldError::new(
                "auto_submit_batch",
                true,
                "there is nothing here that processes objects",
            )
            .accepting(false),
        ));
    }
    let upload = found(&app, &bucket, &id).await?;
    confirmed(&app, &bucket, upload, &body, query.policy).await.map(Json)
}

async fn confirmed(
    app: &App,
    bucket: &Bucket,
    upload: Upload,
    body: &ConfirmUploadRequest,
    policy: Option<InsertionPolicy>,
) -> Result<ConfirmUploadResponse, ApiError> {
    let now = app.now();
    check_confirmation(&upload, body, now)?;
    if upload.status == UploadStatus::Completed {
        return Ok(confirmation(upload));
    }
    let draft = match upload.settings.create_object_on_confirm {
        false => None,
        true => Some((object_of(bucket, &upload)?, objects::create::policy(bucket, policy)?)),
    };
    let (bucket_key, blobs) = (bucket.key, app.engine.blobs.clone());
    app.engine
        .store
        .write(move |tx| {
            // Somebody else may have confirmed it meanwhile.
            let upload = uploads::by_key(tx, upload.key)?;
            if upload.status != UploadStatus::InProgress {
                return Ok(Ok(confirmation(upload)));
            }
            let mut settings = upload.settings.clone();
            settings.verified_at = Some(now);
            settings.completed_at = Some(now);
            uploads::complete(tx, upload.key, &settings, now)?;
            if let Some((draft, policy)) = draft {
                let terms = Terms { policy, skip_duplicates: settings.skip_duplicates };
                let exists = |hash: &_| blobs.exists(hash);
                let outcome = write::create(tx, bucket_key, &draft, terms, exists, now)?;
                let key = match objects::create::settled(outcome) {
                    Ok((key, _)) => key,
                    Err(refusal) => {
                        // As it was: somebody may confirm it under another policy.
                        uploads::reopen(tx, &upload, now)?;
                        return Ok(Err(refusal));
                    }
                };
                settings.object_id = Some(record::by_key(tx, key)?.id.to_string());
                uploads::complete(tx, upload.key, &settings, now)?;
            }
            uploads::by_key(tx, upload.key).map(|upload| Ok(confirmation(upload)))
        })
        .await?
}

fn check_confirmation(
    upload: &Upload,
    body: &ConfirmUploadRequest,
    now: Timestamp,
) -> Result<(), ApiError> {
    let is_late = upload.expires_at.is_some_and(|end| end <= now);
    if upload.status == UploadStatus::Failed || is_late {
        return Err(ApiError::conflict("this upload was not confirmed in time: make another one")
            .code("upload_expired"));
    }
    let mut wrong = Vec::new();
    let size = upload.bytes.map(|(_, size)| size).or(upload.settings.file_size_bytes);
    if upload.status == UploadStatus::Pending {
        return Err(ApiError::conflict("its bytes have not come yet: PUT them to presigned_url")
            .code("no_bytes"));
    }
    if let Some(said) = body.file_size_bytes.filter(|said| Some(*said) != size) {
        wrong.push(
            FieldError::new("file_size_bytes", said, "is not how many bytes came").accepting(size),
        );
    }
    let bare = |etag: &str| etag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let etag = upload.settings.etag.as_deref().map(bare);
    if let Some(said) = body.etag.as_deref().filter(|said| Some(bare(said)) != etag) {
        wrong.push(
            FieldError::new("etag", said, "is not that of the bytes that came").accepting(etag),
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}

/// The object that an upload becomes.
fn object_of(bucket: &Bucket, upload: &Upload) -> Result<Draft, ApiError> {
    let settings = &upload.settings;
    let property = settings.blob_property.clone().unwrap_or_else(|| "content".to_owned());
    let fields = settings.object_metadata.clone().unwrap_or_default();
    let fields = objects::create::fields(bucket, fields, &[&property])?;
    Ok(Draft {
        path: Some(settings.filename.clone()),
        unique_key: objects::create::unique_key(bucket, &fields)?,
        fields,
        blobs: vec![DraftBlob {
            property,
            bytes: BlobBytes::Upload(upload.key),
            kind: settings.blob_type.clone().unwrap_or_default(),
            filename: Some(settings.filename.clone()),
            mime: Some(settings.content_type.clone()),
            metadata: None,
        }],
        ..Draft::default()
    })
}

fn confirmation(upload: Upload) -> ConfirmUploadResponse {
    let settings = upload.settings;
    ConfirmUploadResponse {
        upload_id: upload.id.to_string(),
        status: upload.status,
        etag: settings.etag,
        file_size_bytes: settings.file_size_bytes,
        file_hash: settings.file_hash,
        verified_at: settings.verified_at,
        completed_at: settings.completed_at,
        object_id: settings.object_id,
        task_id: None,
        batch_id: None,
        message: settings.message,
    }
}

/// Confirm several uploads
///
/// Each stands or falls by itself; the answer tells what came of each.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/uploads/confirm/batch", tag = "bucket_uploads",
    operation_id = "confirm_uploads_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ConfirmQuery),
    request_body = BatchConfirmRequest,
    responses((status = 200, body = BatchConfirmResponse))
)]
async fn confirm_batch(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<ConfirmQuery>,
    Valid(body): Valid<BatchConfirmRequest>,
) -> Answer<BatchConfirmResponse> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    let count = body.confirmations.len();
    let (mut inputs, mut outputs, mut results, mut failed) = (vec![], vec![], vec![], 0);
    for one in body.confirmations {
        let wanted = ConfirmUploadRequest {
            etag: one.etag,
            file_size_bytes: one.file_size_bytes,
            auto_submit_batch: None,
        };
        let outcome = match found(&app, &bucket, &one.upload_id).await {
            Ok(upload) => confirmed(&app, &bucket, upload, &wanted, query.policy).await,
            Err(error) => Err(error),
        };
        results.push(match outcome {
            Ok(confirmation) => {
                outputs.extend(confirmation.object_id.clone());
                json!(confirmation)
            }
            Err(error) => {
                failed += 1;
                json!({"upload_id": one.upload_id, "status": "FAILED", "error": error.message()})
            }
        });
        inputs.push(one.upload_id);
    }
    let status = match failed {
        0 => "COMPLETED",
        failed if failed < count => "COMPLETED_WITH_ERRORS",
        _ => "FAILED",
    };
    let message = format!("{} of {count} uploads are confirmed", count - failed);
    let task_id = format!("task_{}", ulid::Ulid::generate());
    let task = TaskResponse {
        task_id: task_id.clone(),
        task_type: "api_buckets_uploads_batch_confirm",
        status,
        inputs,
        outputs,
        additional_data: [("results".to_owned(), results.into())].into_iter().collect(),
        error: (failed > 0).then(|| message.clone()),
    };
    let confirmations_count = count as u64;
    Ok(Json(BatchConfirmResponse { task_id, status, confirmations_count, task, message }))
}

/// Show an upload
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
) -> Answer<UploadResponse> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    collect::end_uploads(&app.engine).await?;
    let upload = found(&app, &bucket, &id).await?;
    let wanted = query.return_presigned_urls.unwrap_or(false);
    let link = wanted.then(|| link(&app, &scope, &base, &bucket, &upload)).flatten();
    Ok(Json(shown(&bucket, upload, link)))
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
    responses((status = 204, description = "It is gone"))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    _query: ValidQuery<DeleteUploadQuery>,
) -> Result<StatusCode, ApiError> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
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
) -> Answer<ListUploadsResponse> {
    let bucket = buckets::found(&app, &scope, &bucket).await?;
    collect::end_uploads(&app.engine).await?;
    let page =
        query.page_with(InBody { limit: body.limit, offset: body.offset, ..InBody::default() })?;
    let filter = body.filters.map(filters::filter).transpose()?;
    let sort = body.sort.as_ref().map(filters::sort).transpose()?;
    let list = format!("uploads/{}/{sort:?}", bucket.id);
    let place = page.place::<Place>(&list)?;
    let query = Query::new(bucket.key, filter.as_ref(), body.search.as_deref(), sort.as_ref())
        .map_err(|problem| ApiError::invalid_field(told(problem.within("filters"))))?;
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
            shown(&bucket, upload, link)
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
