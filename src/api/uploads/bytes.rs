//! `…/uploads/{upload_id}/content`: the bytes of uploads, on their way in and out.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use super::{found, receive};
use crate::{
    api::{
        App, buckets,
        content::{self, Shown},
        error::ApiError,
        json::FromPath,
        scope::Scope,
    },
    model::UploadStatus,
    store::uploads,
};

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
pub(super) async fn put_content(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    body: Body,
) -> Result<Response, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
    let now = app.now();
    let is_open = matches!(upload.status, UploadStatus::Pending | UploadStatus::InProgress)
        && upload.expires_at.is_none_or(|end| now < end);
    let closed = || ApiError::conflict("this upload no longer accepts bytes").code("upload_closed");
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
pub(super) async fn get_content(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let upload = found(&app, &bucket, &id).await?;
    let (hash, size) = upload.bytes.ok_or_else(|| ApiError::not_found("bytes of upload", &id))?;
    let settings = upload.settings;
    content::answer(
        &app,
        &Shown {
            hash,
            size,
            mime: Some(settings.content_type),
            filename: settings.filename,
            modified: settings.verified_at.unwrap_or(upload.created_at),
            owner: format!("upload {id}"),
        },
        &request,
    )
    .await
}
