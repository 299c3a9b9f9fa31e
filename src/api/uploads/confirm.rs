//! Confirming uploads: their bytes are checked against what they should be, and become objects.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde_json::json;

use super::{
    JsonResult, found,
    wire::{
        BatchConfirmRequest, BatchConfirmResponse, ConfirmQuery, ConfirmUploadRequest,
        ConfirmUploadResponse, TaskResponse,
    },
};
use crate::{
    api::{
        App,
        buckets::{self, InsertionPolicy},
        error::{ApiError, FieldError},
        json::{FromPath, Valid, ValidQuery},
        objects,
        scope::Scope,
        submission,
    },
    model::UploadStatus,
    store::{
        buckets::Bucket,
        objects::{
            record,
            write::{self, BlobBytes, CreateOptions, NewBlob, NewObject},
        },
        uploads::{self, Upload, waiting},
    },
};

/// Confirm an upload
///
/// Its bytes are checked against what they should be; then they are an object, unless it was made
/// without one. The upload that a sync made (`create_object_on_confirm: false`) has been confirmed
/// without an object: this makes the object.
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
pub(super) async fn confirm(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<ConfirmQuery>,
    Valid(body): Valid<ConfirmUploadRequest>,
) -> JsonResult<ConfirmUploadResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
    if body.auto_submit_batch == Some(true) && upload.settings.create_object_on_confirm {
        submission::check_taken(&app, &bucket, "auto_submit_batch").await?;
    }
    let confirmed = confirmed(&app, &bucket, upload, &body, query.policy).await?;
    app.processor.nudge();
    Ok(Json(confirmed))
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
    if let Some(object_key) = upload.waiting {
        return confirmed_response(app, bucket, upload, object_key).await;
    }
    if upload.status == UploadStatus::Completed {
        return Ok(confirmation(upload));
    }
    let new = match upload.settings.create_object_on_confirm {
        false => None,
        true => Some((object_of(bucket, &upload)?, objects::create::policy(bucket, policy)?)),
    };
    let (bucket_key, blobs) = (bucket.key, app.engine.blobs.clone());
    let submits = body.auto_submit_batch == Some(true);
    app.engine
        .store
        .write(move |tx| {
            let mut batch = None;
            // Somebody else may have confirmed it meanwhile.
            let upload = uploads::by_key(tx, upload.key)?;
            if upload.status != UploadStatus::InProgress {
                return Ok(confirmation(upload));
            }
            let mut settings = upload.settings.clone();
            settings.verified_at = Some(now);
            settings.completed_at = Some(now);
            uploads::complete(tx, upload.key, &settings, now)?;
            if let Some((new, policy)) = new {
                let options = CreateOptions { policy, skip_duplicates: settings.skip_duplicates };
                let exists = |hash: &_| blobs.exists(hash);
                let outcome = write::create(tx, bucket_key, &new, options, exists, now)?;
                // A refusal leaves the upload open: it may be confirmed under another policy.
                let (key, replayed_by) = objects::create::object_key_of(outcome)?;
                if submits && replayed_by.is_none() {
                    batch = Some(submission::submit_objects(tx, bucket_key, &[key], now)?);
                }
                settings.object_id = Some(record::by_key(tx, key)?.id.to_string());
                uploads::complete(tx, upload.key, &settings, now)?;
            }
            let (batch_id, task_id) =
                batch.map_or((None, None), |(batch, task)| (Some(batch), task));
            let confirmed = confirmation(uploads::by_key(tx, upload.key)?);
            Ok(ConfirmUploadResponse { batch_id, task_id, ..confirmed })
        })
        .await
}

/// Shows the object of a sync that waits for an upload.
async fn confirmed_response(
    app: &App,
    bucket: &Bucket,
    upload: Upload,
    object_key: i64,
) -> Result<ConfirmUploadResponse, ApiError> {
    let (bucket, now) = (bucket.clone(), app.now());
    app.engine
        .store
        .write(move |tx| {
            // Somebody else may have confirmed it meanwhile, or its entry may have gone.
            let id = upload.id.as_str();
            let upload = uploads::by_id(tx, bucket.key, id)?
                .ok_or_else(|| ApiError::not_found("upload", id))?;
            if upload.waiting == Some(object_key) {
                waiting::confirm(tx, &bucket, upload.key, object_key, now)?
                    .map_err(|why| ApiError::conflict(why).code("unique_key_taken"))?;
            }
            Ok(confirmation(uploads::by_key(tx, upload.key)?))
        })
        .await
}

fn check_confirmation(
    upload: &Upload,
    body: &ConfirmUploadRequest,
    now: Timestamp,
) -> Result<(), ApiError> {
    let is_late = upload.expires_at.is_some_and(|end| end <= now);
    if upload.status == UploadStatus::Failed || is_late {
        return Err(ApiError::conflict(
            "this upload was not confirmed in time: create another one",
        )
        .code("upload_expired"));
    }
    let mut wrong = Vec::new();
    let size = upload.bytes.map(|(_, size)| size).or(upload.settings.file_size_bytes);
    if upload.status == UploadStatus::Pending {
        return Err(ApiError::conflict(
            "its bytes have not arrived yet: PUT them to presigned_url",
        )
        .code("no_bytes"));
    }
    if let Some(said) = body.file_size_bytes.filter(|said| Some(*said) != size) {
        wrong.push(
            FieldError::new("file_size_bytes", said, "is not the number of bytes that arrived")
                .accepting(size),
        );
    }
    let bare = |etag: &str| etag.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    let etag = upload.settings.etag.as_deref().map(bare);
    if let Some(said) = body.etag.as_deref().filter(|said| Some(bare(said)) != etag) {
        wrong.push(
            FieldError::new("etag", said, "is not the ETag of the bytes that arrived")
                .accepting(etag),
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::invalid(wrong)) }
}

/// The object that an upload becomes.
fn object_of(bucket: &Bucket, upload: &Upload) -> Result<NewObject, ApiError> {
    let settings = &upload.settings;
    let property = settings.blob_property.clone().unwrap_or_else(|| "content".to_owned());
    let fields = settings.object_metadata.clone().unwrap_or_default();
    let fields = objects::create::fields(bucket, fields, &[&property])?;
    Ok(NewObject {
        path: Some(settings.filename.clone()),
        unique_key: objects::create::unique_key(bucket, &fields)?,
        fields,
        blobs: vec![NewBlob {
            property,
            bytes: BlobBytes::Upload(upload.key),
            kind: settings.blob_type.clone().unwrap_or_default(),
            filename: Some(settings.filename.clone()),
            mime: Some(settings.content_type.clone()),
            metadata: None,
        }],
        ..NewObject::default()
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
/// Each succeeds or fails by itself; the response says which.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/uploads/confirm/batch", tag = "bucket_uploads",
    operation_id = "confirm_uploads_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"), ConfirmQuery),
    request_body = BatchConfirmRequest,
    responses((status = 200, body = BatchConfirmResponse))
)]
pub(super) async fn confirm_batch(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<ConfirmQuery>,
    Valid(body): Valid<BatchConfirmRequest>,
) -> JsonResult<BatchConfirmResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
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
