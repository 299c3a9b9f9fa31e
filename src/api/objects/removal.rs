//! Deleting objects, one or many: into the trash of their bucket, or for good where it has none.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{JsonResult, response::BulkSoftDeleteResponse, wire::BulkSoftDeleteRequest};
use crate::{
    api::{
        App,
        buckets::{self, field_error},
        error::{ApiError, FieldError},
        filters::{self, LogicalOperatorInput},
        json::{FromPath, Valid},
        scope::Scope,
    },
    engine::collect,
    store::{
        RowPosition,
        buckets::Bucket,
        objects::{query::Query, write},
        trash,
    },
};

/// Objects that one transaction deletes.
const STEP: u32 = 500;

/// Delete an object
///
/// It goes to the bucket's trash for as many days as the bucket says (`trash_days`), and can be
/// restored meanwhile; its entry at the source is left alone. Without a trash it is gone for good,
/// with the bytes that nothing else needs, and an object that a sync made stays away until it
/// changes at its source.
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
            let state = json!({ "lifecycle_state": "deleted", "source": "api", "at": now });
            Ok::<_, ApiError>(trash::discard(tx, bucket.key, &[key], &state, now)?)
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

/// Delete several objects
///
/// They go to the bucket's trash, see `DELETE …/objects/{object_identifier}`. Named by their ids
/// or, which is ours, by a filter.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/objects/bulk-soft-delete", tag = "bucket_objects",
    operation_id = "bulk_soft_delete_objects_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name")),
    request_body = BulkSoftDeleteRequest,
    responses((status = 200, body = BulkSoftDeleteResponse))
)]
pub(super) async fn delete_several(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    Valid(body): Valid<BulkSoftDeleteRequest>,
) -> JsonResult<BulkSoftDeleteResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let now = app.now();
    let state = json!({
        "lifecycle_state": body.lifecycle_state.as_deref().unwrap_or("disabled"),
        "reason": body.reason,
        "source": body.source.as_deref().unwrap_or("bulk_purge"),
        "at": now,
    });
    let (soft_deleted, requested) = match (body.object_ids, body.filters) {
        (Some(ids), None) => {
            let requested = ids.len() as u64;
            let deleted = app
                .engine
                .store
                .write(move |tx| trash::discard_named(tx, bucket.key, &ids, &state, now))
                .await?;
            (deleted, requested)
        }
        (None, Some(filters)) => {
            let deleted = delete_matching(&app, &bucket, filters, state, now).await?;
            (deleted, deleted)
        }
        (ids, _) => {
            let words = match ids {
                Some(_) => "comes with filters",
                None => "is missing",
            };
            let error = FieldError::new("object_ids", Value::Null, words).of_kind("missing");
            return Err(ApiError::invalid_field(
                error.accepting("object_ids or filters, not both"),
            ));
        }
    };
    collect_soon(&app);
    Ok(Json(BulkSoftDeleteResponse { soft_deleted, requested, collections: 0 }))
}

/// Deletes the objects that pass a filter, in many small transactions.
async fn delete_matching(
    app: &App,
    bucket: &Bucket,
    filters: LogicalOperatorInput,
    state: Value,
    now: Timestamp,
) -> Result<u64, ApiError> {
    let filter = filters::filter(filters)?;
    let query = Query::new(bucket, Some(&filter), None, None)
        .map_err(|problem| ApiError::invalid_field(field_error(problem.within("filters"))))?;
    let (bucket_key, mut deleted) = (bucket.key, 0);
    loop {
        let (query, state) = (query.clone(), state.clone());
        let step = app
            .engine
            .store
            .write(move |tx| {
                let found = query.keys(tx, None, 0, STEP, None)?;
                let keys: Vec<i64> = found.places.iter().map(RowPosition::key).collect();
                trash::discard(tx, bucket_key, &keys, &state, now)
            })
            .await?;
        deleted += step;
        if step == 0 {
            return Ok(deleted);
        }
    }
}
