//! The bytes of blobs: `…/blobs/{blob_id}/content`, streamed from where they lie.

pub mod for_services;
pub(super) mod headers;
pub mod links;

use std::io::Read as _;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{ETag, HeaderMapExt as _, LastModified};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::headers::Requested;
use super::{App, buckets, error::ApiError, json::FromPath, scope::Scope};
use crate::{
    blobs::{BlobError, Damage, Reader, Window},
    engine::verify,
    model::BlobHash,
    store::{blobs, objects::record},
};

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(content)).routes(routes!(for_services::content))
}

/// The path of a blob's content.
pub(super) fn path(bucket_id: &str, object_id: &str, blob_id: &str) -> String {
    format!("/v1/buckets/{bucket_id}/objects/{object_id}/blobs/{blob_id}/content")
}

/// Read a blob
///
/// Whole, or a stretch of it (`Range`). A signed link needs no token.
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}/blobs/{blob_id}/content",
    tag = "bucket_objects", operation_id = "get_blob_content",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
        ("blob_id" = String, Path, description = "Id, or the name of the property"),
        ("namespace" = Option<String>, Query, description = "Of a signed link"),
        ("expires" = Option<i64>, Query, description = "Of a signed link"),
        ("signature" = Option<String>, Query, description = "Of a signed link"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "A stretch", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 304, description = "The client has it"),
        (status = 416, description = "The stretch lies behind the end"),
    )
)]
async fn content(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, object_id, blob_id)): FromPath<(String, String, String)>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let wanted_id = object_id.clone();
    let object = app
        .engine
        .store
        .read(move |db| record::by_id(db, bucket.key, &wanted_id))
        .await?
        .ok_or_else(|| ApiError::not_found("object", &object_id))?;
    let blob = object
        .blobs
        .iter()
        .find(|blob| blob.id.as_str() == blob_id)
        .or_else(|| object.blobs.iter().find(|blob| blob.property == blob_id))
        .ok_or_else(|| ApiError::not_found("blob", &blob_id))?;
    let shown = Shown {
        hash: blob.hash,
        size: blob.size,
        mime: blob.mime.clone(),
        filename: blob.filename.clone(),
        modified: object.modified.unwrap_or(object.updated_at),
        owner: format!("object {}", object.id),
    };
    answer(&app, &shown, &request).await
}

/// Bytes that are asked for.
pub(super) struct Shown {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    pub(super) mime: Option<String>,
    pub(super) filename: String,
    pub(super) modified: Timestamp,
    /// What they are the bytes of, for errors: `object obj_…`.
    pub(super) owner: String,
}

/// Answers with bytes, or with what the client needs of them.
pub(super) async fn answer(
    app: &App,
    blob: &Shown,
    request: &HeaderMap,
) -> Result<Response, ApiError> {
    let etag: ETag = format!("\"{}\"", blob.hash.to_hex()).parse().map_err(ApiError::internal)?;
    let modified = std::time::SystemTime::try_from(blob.modified).ok().map(LastModified::from);
    let mut answer = headers::describe(blob.mime.as_deref(), &blob.filename);
    answer.typed_insert(etag.clone());
    if let Some(modified) = modified {
        answer.typed_insert(modified);
    }
    let (status, window) = match headers::wanted(request, &etag, modified, blob.size) {
        Requested::NotModified => return Ok((StatusCode::NOT_MODIFIED, answer).into_response()),
        Requested::Failed => {
            return Err(ApiError::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "the blob does not match If-Match or If-Unmodified-Since",
            ));
        }
        Requested::Unsatisfiable => return Ok(unsatisfiable(blob.size)),
        Requested::Whole => (StatusCode::OK, None),
        Requested::Part(window) => (StatusCode::PARTIAL_CONTENT, Some(window)),
    };
    let mut set = |name, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.insert(name, value);
        }
    };
    set(header::CONTENT_LENGTH, window.map_or(blob.size, |window| window.len).to_string());
    if let Some(Window { start, len }) = window {
        set(header::CONTENT_RANGE, format!("bytes {start}-{}/{}", start + len - 1, blob.size));
    }
    let body = body(app, blob, window).await?;
    Ok((status, answer, body).into_response())
}

/// The bytes, whose damage is the error of the request where it is found at once, and otherwise
/// ends the response before its last byte.
async fn body(app: &App, blob: &Shown, window: Option<Window>) -> Result<Body, ApiError> {
    let damaged = |damage: &Damage| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "blob_damaged",
            format!(
                "{} ({}): {damage}; the next sync fetches them again",
                blob.owner, blob.filename
            ),
        )
    };
    let reader = match open(app, blob.hash, window).await? {
        Ok(reader) => reader,
        Err(damage) => return Err(damaged(&damage)),
    };
    let mut bytes = Box::pin(stream_of(reader));
    let first = match bytes.try_next().await {
        Ok(first) => first,
        Err(error) => {
            let Some(damage) = Damage::of(&error) else { return Err(ApiError::internal(error)) };
            verify::report_damage(&app.engine.store, damage).await;
            return Err(damaged(damage));
        }
    };
    let (store, owner) = (app.engine.store.clone(), blob.owner.clone());
    let rest = bytes.or_else(move |error| {
        let (store, owner) = (store.clone(), owner.clone());
        async move {
            tracing::error!(owner, %error, "a response ends without its last bytes");
            if let Some(damage) = Damage::of(&error) {
                verify::report_damage(&store, damage).await;
            }
            Err(error)
        }
    });
    Ok(Body::from_stream(stream::iter(first.map(Ok)).chain(rest)))
}

fn unsatisfiable(size: u64) -> Response {
    let mut response = ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range_not_satisfiable",
        format!("the blob has only {size} bytes"),
    )
    .detail("size_bytes", size)
    .into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

/// Opens the bytes of a blob, or says what is wrong with them, if that is seen at once. An open
/// file stays readable when it is collected.
pub(super) async fn open(
    app: &App,
    hash: BlobHash,
    window: Option<Window>,
) -> Result<Result<Reader, Damage>, ApiError> {
    let place = app.engine.store.read(move |db| blobs::locate(db, &hash)).await?;
    let gone = || ApiError::not_found("blob", hash.to_string());
    let place = place.ok_or_else(gone)?;
    let files = app.engine.blobs.clone();
    match tokio::task::spawn_blocking(move || files.read(&hash, place, window)).await {
        Ok(Ok(reader)) => Ok(Ok(reader)),
        // Collected between the look at its row and the look at its file.
        Ok(Err(_)) if !app.engine.store.read(move |db| blobs::is_recorded(db, &hash)).await? => {
            Err(gone())
        }
        Ok(Err(BlobError::Damaged(damage))) => {
            verify::report_damage(&app.engine.store, &damage).await;
            Ok(Err(damage))
        }
        Ok(Err(error)) => Err(ApiError::internal(error)),
        Err(error) => Err(ApiError::internal(error)),
    }
}

/// The bytes as they are asked for: a client that does not read holds no thread up.
pub(super) fn stream_of(reader: Reader) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(reader, |mut reader| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk)?;
            Ok::<_, std::io::Error>((chunk, reader))
        });
        let (chunk, reader) = read.await.map_err(std::io::Error::other)??;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), reader)))
    })
}
