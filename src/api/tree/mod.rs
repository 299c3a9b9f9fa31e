//! `/v1/buckets/{bucket}/tree`: a bucket folder by folder; and which objects share bytes. Ours,
//! beyond the public API.

mod wire;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::{TreeQuery, TreeResponse, TwinsQuery, TwinsResponse};
use super::{
    App,
    error::ApiError,
    json::{FromPath, ValidQuery},
    scope::Scope,
};
use crate::store::tree;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(twins))
}

/// Get a folder of a bucket
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/tree", tag = "buckets",
    operation_id = "get_bucket_tree",
    params(("bucket_identifier" = String, Path, description = "Id or name"), TreeQuery),
    responses((status = 200, body = TreeResponse))
)]
async fn show(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<TreeQuery>,
) -> Result<Json<TreeResponse>, ApiError> {
    let prefix = query.prefix.unwrap_or_default();
    let (limit, page) = (query.limit.unwrap_or(100), query.page.unwrap_or(1));
    let offset = u64::from(page - 1) * u64::from(limit);
    let bucket = found(&app, &scope, named).await?;
    let response = app
        .engine
        .store
        .read(move |db| {
            let bytes = prefix.as_bytes();
            // A page of objects is asked for by those who have the folders already.
            if limit > 0 {
                let leaves = tree::leaves(db, bucket, bytes, limit, offset)?;
                return Ok(TreeResponse::page(prefix, leaves));
            }
            let (folders, truncated) = tree::folders(db, bucket, bytes)?;
            let count = tree::count(db, bucket, bytes)?;
            Ok(TreeResponse::opening(prefix, &folders, truncated, count))
        })
        .await?;
    Ok(Json(response))
}

/// Get which objects share bytes with one
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/objects/{object_identifier}/twins",
    tag = "bucket_objects", operation_id = "list_object_twins",
    params(
        ("bucket_identifier" = String, Path, description = "Id or name"),
        ("object_identifier" = String, Path, description = "Id"),
        TwinsQuery,
    ),
    responses((status = 200, body = TwinsResponse))
)]
async fn twins(
    State(app): State<App>,
    scope: Scope,
    FromPath((named, object)): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<TwinsQuery>,
) -> Result<Json<TwinsResponse>, ApiError> {
    let bucket = found(&app, &scope, named).await?;
    let (namespace, limit) = (scope.namespace_key, query.limit.unwrap_or(100));
    let twins =
        app.engine.store.read(move |db| tree::twins(db, namespace, bucket, &object, limit)).await?;
    Ok(Json(TwinsResponse { results: twins.into_iter().map(Into::into).collect() }))
}

async fn found(app: &App, scope: &Scope, named: String) -> Result<i64, ApiError> {
    let (namespace, wanted) = (scope.namespace_key, named.clone());
    let key = app.engine.store.read(move |db| tree::bucket(db, namespace, &wanted)).await?;
    key.ok_or_else(|| ApiError::not_found("bucket", named))
}
