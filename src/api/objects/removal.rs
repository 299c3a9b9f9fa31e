//! The ends of objects: deleted, with the bytes that nothing else needs, or hidden.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::json;

use super::{Answer, answer::BulkSoftDeleteResponse, wire::BulkSoftDeleteRequest};
use crate::{
    api::{
        App, buckets,
        error::ApiError,
        json::{FromPath, Valid},
        scope::Scope,
    },
    engine::collect,
    store::objects::write,
};

/// Delete an object
///
/// Bytes that nothing else needs go with it. An object that a sync made stays away until it changes
/// at its source.
#[utoipa::path(
    delete, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}",
    tag = "bucket_objects", operation_id = "delete_object_buckets",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
    ),
    responses((status = 204, description = "Deleted"))
)]
pub(super) async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket, id)): FromPath<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let now = app.now();
    app.engine
        .store
        .write(move |tx| {
            let key = write::key_of(tx, bucket.key, &id)?
                .ok_or_else(|| ApiError::not_found("object", id))?;
            Ok::<_, ApiError>(write::remove(tx, bucket.key, &[key], now)?)
        })
        .await?;
    collect_soon(&app);
    Ok(StatusCode::NO_CONTENT)
}

/// Gives the space of bytes that nothing needs back, without delaying the response.
pub(in crate::api) fn collect_soon(app: &App) {
    let engine = app.engine.clone();
    tokio::spawn(async move {
        if let Err(error) = collect::orphans(&engine.store, &engine.blobs).await {
            tracing::warn!(%error, "could not collect unused bytes; a later run does");
        }
    });
}

/// Hide several objects
///
/// They are kept, but no longer listed.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/bulk-soft-delete", tag = "bucket_objects",
    operation_id = "bulk_soft_delete_objects_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = BulkSoftDeleteRequest,
    responses((status = 200, body = BulkSoftDeleteResponse))
)]
pub(super) async fn hide(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<BulkSoftDeleteRequest>,
) -> Answer<BulkSoftDeleteResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let now = app.now();
    let state = json!({
        "lifecycle_state": body.lifecycle_state.as_deref().unwrap_or("disabled"),
        "reason": body.reason,
        "source": body.source.as_deref().unwrap_or("bulk_purge"),
        "at": now,
    });
    let requested = body.object_ids.len() as u64;
    let ids = body.object_ids;
    let soft_deleted =
        app.engine.store.write(move |tx| write::hide(tx, bucket.key, &ids, &state, now)).await?;
    Ok(Json(BulkSoftDeleteResponse { soft_deleted, requested, collections: 0 }))
}
