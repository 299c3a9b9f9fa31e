//! Commands to a sync: pause, resume, trigger, unlock, and the word on held removals.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ErrorResponse, model::SyncConfigurationModel, respond, sync, wire::PauseRequest};
use crate::{
    api::{
        App,
        error::ApiError,
        json::{FromPath, Valid, ValidQuery, query_parameters},
        scope::Scope,
    },
    engine::commands::Triggered,
    model::{JobId, Sweep},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(trigger))
        .routes(routes!(unlock))
        .routes(routes!(approve_removals))
        .routes(routes!(reject_removals))
}

/// The same as the body says; the body wins.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct PauseQuery {
    /// Recorded with the pause.
    #[schema(max_length = 1000)]
    reason: Option<String>,
    /// Let a run that is under way come to its end.
    drain: Option<bool>,
}
query_parameters!(PauseQuery);

/// Pause a sync
///
/// A run that is under way stops at its next checkpoint and is `interrupted`; with `drain` it comes
/// to its end. Nothing is lost.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/pause", tag = "bucket_syncs",
    operation_id = "pause_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
        PauseQuery,
    ),
    request_body = Option<PauseRequest>,
    responses(
        (status = 200, body = SyncConfigurationModel),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn pause(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<PauseQuery>,
    Valid(body): Valid<PauseRequest>,
) -> Result<Json<SyncConfigurationModel>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    let reason = body.reason.or(query.reason).filter(|reason| !reason.trim().is_empty());
    let drain = body.drain.or(query.drain).unwrap_or(false);
    app.engine.pause(sync.key, reason, drain).await?;
    app.scheduler.nudge();
    respond(&app, &scope, sync.key).await
}

/// Resume a sync
///
/// Ends a pause or suspension; the next run is due at once. Changes nothing about one that is not
/// paused.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/resume", tag = "bucket_syncs",
    operation_id = "resume_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses(
        (status = 200, body = SyncConfigurationModel),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn resume(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<SyncConfigurationModel>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    app.engine.revive_connection(sync.connection_key).await?;
    app.engine.resume(sync.key).await?;
    app.scheduler.nudge();
    respond(&app, &scope, sync.key).await
}

/// How to run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct TriggerQuery {
    /// A full sweep: nothing is trusted from checkpoints, every entry is listed and compared, and
    /// what differs is fetched.
    full_sync: Option<bool>,
    /// The same, and every entry is fetched again. Ours.
    refetch: Option<bool>,
}
query_parameters!(TriggerQuery);

/// The run that was asked for, or the one in its way.
#[derive(Debug, Serialize, ToSchema)]
struct SyncTriggered {
    /// The job.
    sync_job_id: String,
    /// Its task.
    task_id: String,
    /// What became of the command.
    status: TriggerStatus,
    /// The sync.
    sync_config_id: String,
    /// Whether a full run follows the one under way.
    pending_full_sync: bool,
}

/// What became of a command to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TriggerStatus {
    /// The job is in the queue, or begins.
    Running,
    /// Another one holds the lease.
    SkippedAlreadyRunning,
}

/// Run a sync now
///
/// Answers at once; the job begins as soon as there is room for it.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/trigger", tag = "bucket_syncs",
    operation_id = "trigger_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
        TriggerQuery,
    ),
    responses((status = 200, body = SyncTriggered), (status = "4XX", body = ErrorResponse))
)]
async fn trigger(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<TriggerQuery>,
) -> Result<Json<SyncTriggered>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    let sweep = Sweep::of(query.full_sync.unwrap_or(false), query.refetch.unwrap_or(false));
    let (job, status) = match app.engine.trigger(sync.key, sweep).await? {
        Triggered::Queued(job) => (job, TriggerStatus::Running),
        Triggered::Running(job) => (job, TriggerStatus::SkippedAlreadyRunning),
    };
    app.scheduler.nudge();
    let follows = status == TriggerStatus::SkippedAlreadyRunning;
    Ok(Json(SyncTriggered {
        task_id: task_of(&job.id),
        sync_job_id: job.id.to_string(),
        status,
        sync_config_id: sync.id.to_string(),
        pending_full_sync: follows && (sweep != Sweep::None || sync.pending_full_sync),
    }))
}

/// A job is a task of its own number.
fn task_of(job: &JobId) -> String {
    job.as_str().replacen("job_", "task_", 1)
}

/// What an unlocking came to.
#[derive(Debug, Serialize, ToSchema)]
struct SyncUnlocked {
    /// Always true.
    success: bool,
    /// The sync.
    sync_config_id: String,
    /// Whether a lease was held.
    unlocked: bool,
    /// By whom.
    locked_by_worker_id: Option<String>,
    /// On which host.
    host: Option<String>,
    /// By which process there.
    pid: Option<u32>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    locked_at: Option<Timestamp>,
    /// The job that was interrupted by it.
    interrupted_sync_job_id: Option<String>,
    /// For people.
    message: &'static str,
}

/// Take a sync's lease away from its holder
///
/// Whatever that worker writes from now on is refused; the next run continues from its checkpoint.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/unlock", tag = "bucket_syncs",
    operation_id = "force_unlock_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses((status = 200, body = SyncUnlocked), (status = "4XX", body = ErrorResponse))
)]
async fn unlock(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<SyncUnlocked>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    let unlocked = app.engine.unlock(sync.key).await?;
    app.scheduler.nudge();
    let holder = unlocked.holder;
    let message = match holder {
        Some(_) => "the lease was revoked; its worker's further writes are refused",
        None => "no lease was held",
    };
    Ok(Json(SyncUnlocked {
        success: true,
        sync_config_id: sync.id.to_string(),
        unlocked: holder.is_some(),
        host: holder.as_ref().map(|holder| holder.host.clone()),
        pid: holder.as_ref().map(|holder| holder.pid),
        locked_at: holder.as_ref().map(|holder| holder.since),
        locked_by_worker_id: holder.map(|holder| holder.worker),
        interrupted_sync_job_id: unlocked.interrupted.map(|job| job.id.to_string()),
        message,
    }))
}

/// Held removals that were let go.
#[derive(Debug, Serialize, ToSchema)]
struct RemovalsApproved {
    /// Always true.
    success: bool,
    /// The sync.
    sync_config_id: String,
    /// The job that removes what is still absent.
    sync_job_id: String,
    /// Its task.
    task_id: String,
    /// How many removals were held.
    approved: u64,
}

/// Let held removals go
///
/// A run begins at once and removes what its listing proves to be gone still, nothing else that
/// the guard would hold.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/removals/approve",
    tag = "bucket_syncs", operation_id = "approve_removals",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses((status = 200, body = RemovalsApproved), (status = "4XX", body = ErrorResponse))
)]
async fn approve_removals(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<RemovalsApproved>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    app.engine.check_may_run(sync.key).await?;
    let job = app.engine.queue_approved_removals(&sync).await?;
    app.scheduler.nudge();
    Ok(Json(RemovalsApproved {
        success: true,
        sync_config_id: sync.id.to_string(),
        task_id: task_of(&job),
        sync_job_id: job.to_string(),
        approved: sync.held_removals.map_or(0, |held| held.count),
    }))
}

/// Held removals that were refused.
#[derive(Debug, Serialize, ToSchema)]
struct RemovalsRejected {
    /// Always true.
    success: bool,
    /// The sync.
    sync_config_id: String,
    /// How many objects are kept.
    kept: u64,
}

/// Keep the objects whose removal is held
///
/// They are not asked about again until their entries have been at the source again.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/removals/reject",
    tag = "bucket_syncs", operation_id = "reject_removals",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses((status = 200, body = RemovalsRejected), (status = "4XX", body = ErrorResponse))
)]
async fn reject_removals(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<RemovalsRejected>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    let kept = app.engine.reject_removals(&sync).await?;
    Ok(Json(RemovalsRejected { success: true, sync_config_id: sync.id.to_string(), kept }))
}
