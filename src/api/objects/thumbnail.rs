//! `GET …/objects/{object}/thumbnail`: a small picture of an object, drawn when it is first asked
//! for. Ours, beyond the public API.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{ETag, HeaderMapExt as _, IfNoneMatch};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    api::{
        App, buckets,
        content::headers,
        error::ApiError,
        json::{FromPath, ValidQuery, query_parameters},
        scope::Scope,
    },
    model::CONTENT,
    processing::thumbnails::{DEFAULT_SIZE, NoThumbnail, Subject},
    store::objects::record::{self, BlobRecord, Record},
};

/// What thumbnails are, whatever they are of.
const TYPE: &str = "image/webp";
/// Seconds after which it is worth asking again.
const RETRY_AFTER: u64 = 5;

/// How a thumbnail is to be.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThumbnailQuery {
    /// The longest edge in pixels. A smaller picture stays as it is.
    #[schema(minimum = 64, maximum = 1024, default = 256)]
    pub size: Option<u32>,
}
query_parameters!(ThumbnailQuery);

/// Get a thumbnail of an object
///
/// WebP, the right way up: of a picture, of the cover of music or a film, of a frame of a film, or
/// of the first page of a PDF. It is drawn in a confined process when it is first asked for, and
/// kept for a while.
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}/thumbnail",
    tag = "bucket_objects", operation_id = "get_object_thumbnail",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
        ThumbnailQuery
    ),
    responses(
        (status = 200, content_type = "image/webp", body = Vec<u8>),
        (status = 304, description = "The client has it"),
        (status = 415, description = "There is no picture to draw; the message says why"),
        (status = 503, description = "Not now; `Retry-After` says when"),
    )
)]
pub(super) async fn thumbnail(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<ThumbnailQuery>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let (key, wanted) = (bucket.key, id.clone());
    let found = app.engine.store.read(move |db| record::by_id_with_trash(db, key, &wanted)).await?;
    let object = found.ok_or_else(|| ApiError::not_found("object", id))?;
    let size = query.size.unwrap_or(DEFAULT_SIZE);
    let blob = face_of(&object).ok_or_else(|| not_drawable("the object has no bytes"))?;
    let etag: ETag =
        format!("\"{}-{size}\"", blob.hash.to_hex()).parse().map_err(ApiError::internal)?;
    let mut about = headers::describe(Some(TYPE), "thumbnail.webp");
    about.typed_insert(etag.clone());
    let has_it = |known: IfNoneMatch| !known.precondition_passes(&etag);
    if request.typed_get::<IfNoneMatch>().is_some_and(has_it) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let subject = Subject { hash: blob.hash, size: blob.size, mime: blob.mime.clone() };
    match app.thumbnails.of(&subject, size).await {
        Ok(picture) => Ok((about, picture).into_response()),
        Err(NoThumbnail::NotDrawable { reason, .. }) => Err(not_drawable(&reason)),
        Err(NoThumbnail::NotNow(reason)) => Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("there is no thumbnail now: {reason}"),
        )
        .retry_after(RETRY_AFTER)),
        Err(NoThumbnail::Store(error)) => Err(error.into()),
    }
}

/// The blob that an object is known by: its content, else one that can be seen, else any.
fn face_of(object: &Record) -> Option<&BlobRecord> {
    let is_visible = |blob: &&BlobRecord| {
        let kind = blob.mime.as_deref().and_then(|mime| mime.split('/').next());
        matches!(kind, Some("image" | "video" | "audio"))
    };
    let blobs = &object.blobs;
    let content = blobs.iter().find(|blob| blob.property == CONTENT);
    content.or_else(|| blobs.iter().find(is_visible)).or_else(|| blobs.first())
}

fn not_drawable(reason: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("there is no thumbnail of this object: {reason}"),
    )
    .code("no_thumbnail")
    .detail("reason", reason)
}
