//! The runs of a sync: listed and read.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ErrorResponse,
    job::{ListSyncJobsRequest, SyncJobListResponse, SyncJobModel},
    owner, sync,
};
use crate::{
    api::{
        App,
        error::ApiError,
        json::{FromPath, Valid, ValidQuery},
        page::ListQuery,
        scope::Scope,
    },
    model::JobStatus,
    store::{self, checkpoints, jobs},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// List the jobs of a sync
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/jobs", tag = "bucket_syncs",
    operation_id = "list_sync_jobs_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
        ListQuery,
    ),
    request_body = ListSyncJobsRequest,
    responses((status = 200, body = SyncJobListResponse), (status = "4XX", body = ErrorResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListSyncJobsRequest>,
) -> Result<Json<SyncJobListResponse>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    let page = query.page()?;
    let list = format!("jobs of {}", sync.id);
    let before: Option<i64> = page.place(&list)?;
    let (now, wanted, live) = (app.now(), page.clone(), app.live_progress.clone());
    let status = body.status.map(JobStatus::from);
    let (mut rows, total) = app
        .engine
        .store
        .read(move |db| {
            let owner = owner(db, &scope)?;
            let shards = checkpoints::progress(db, sync.key)?;
            let (skip, limit) = (wanted.offset, wanted.fetch().into());
            let rows = jobs::page(db, sync.key, status, before, skip, limit)?
                .iter()
                .map(|job| {
                    let model = SyncJobModel::of(job, &sync, &owner, &shards, &live, now);
                    (job.key, model)
                })
                .collect::<Vec<_>>();
            Ok((rows, jobs::total(db, sync.key, status)?))
        })
        .await?;
    let pagination = page.finish(&mut rows, Some(total), &list, |(key, _)| *key);
    let results = rows.into_iter().map(|(_, model)| model).collect();
    Ok(Json(SyncJobListResponse { results, pagination, total }))
}

/// Read a job
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/jobs/{sync_job_id}",
    tag = "bucket_syncs", operation_id = "get_sync_job_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
        ("sync_job_id" = String, Path, description = "Id of the job"),
    ),
    responses((status = 200, body = SyncJobModel), (status = "4XX", body = ErrorResponse))
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    FromPath((bucket_id, sync_id, job_id)): FromPath<(String, String, String)>,
) -> Result<Json<SyncJobModel>, ApiError> {
    let sync = sync(&app, &scope, &(bucket_id, sync_id)).await?;
    let (now, wanted, live) = (app.now(), job_id.clone(), app.live_progress.clone());
    let found: store::Result<Option<SyncJobModel>> = app
        .engine
        .store
        .read(move |db| {
            let Some(job) = jobs::by_id(db, &wanted)?.filter(|job| job.sync_key == sync.key) else {
                return Ok(None);
            };
            let owner = owner(db, &scope)?;
            let shards = checkpoints::progress(db, sync.key)?;
            Ok(Some(SyncJobModel::of(&job, &sync, &owner, &shards, &live, now)))
        })
        .await;
    found?.map(Json).ok_or_else(|| ApiError::not_found("job", job_id))
}
