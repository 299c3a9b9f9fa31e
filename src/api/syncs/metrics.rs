//! How healthy a sync is, at one look: [`SyncMetricsResponse`].

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ErrorResponse, job::seconds_between, sync};
use crate::{
    api::{App, error::ApiError, json::FromPath, scope::Scope},
    model::{JobStatus, SyncMode},
    store::{
        dead_letters,
        jobs::Job,
        syncs::{self, HeldRemovals, Sync},
        syncs_list::{self, SyncDetails},
    },
};

/// How healthy a sync is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncMetricsResponse {
    /// The sync.
    pub sync_config_id: String,
    /// Its state.
    pub status: String,
    /// Whether it may run at all.
    pub is_active: bool,
    /// Whether it is paused or suspended.
    pub paused: bool,
    /// Entries that its jobs went by.
    pub total_files_discovered: u64,
    /// Of them those that became objects or changed theirs.
    pub total_files_synced: u64,
    /// Entries that could not be taken, each once until it is resolved.
    pub total_files_failed: u64,
    /// Batches that it made.
    pub batches_created: u64,
    /// Runs that have begun.
    pub sync_run_counter: u64,
    /// Runs that failed since one succeeded.
    pub consecutive_failures: u32,
    /// Why the last run failed.
    pub last_error: Option<String>,
    /// End of the last complete pass.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sync_at: Option<Timestamp>,
    /// When it is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_sync_at: Option<Timestamp>,
    /// Seconds since `last_sync_at`.
    pub seconds_since_last_sync: Option<u64>,
    /// A continuous sync that has not got on for longer than `stale_after_seconds`.
    pub is_stale: bool,
    /// `seconds_since_last_sync`, in its own intervals.
    pub intervals_since_last_sync: Option<f64>,
    /// `max(2 * polling_interval_seconds, 120)`.
    pub stale_after_seconds: u64,
    /// Failed of discovered, 0 to 1.
    pub failure_rate: f64,
    /// Active, not paused, not failing, not stale, not stalled.
    pub healthy: bool,
    /// Entries that have used up their retries.
    pub dlq_total: u64,
    /// The same by kind of failure.
    pub dlq_by_error: BTreeMap<String, u64>,
    /// Whether a job is under way.
    pub running_job: bool,
    /// A job is under way and has not got on for `max(stale_after_seconds, 300)` seconds.
    pub stalled: bool,
    /// Why it counts as stalled.
    pub stalled_reason: Option<String>,
    /// The newest job in short.
    #[schema(value_type = Option<Object>)]
    pub last_job: Option<Map<String, Value>>,
    /// Entries that could not be taken and still cannot, retries left or not.
    pub dead_letters: u64,
    /// Removals that wait for a decision.
    #[schema(value_type = Option<Object>)]
    pub held_removals: Option<HeldRemovals>,
}

impl SyncMetricsResponse {
    /// The metrics at `now`; `stuck`: dead letters without retries left, by kind of failure.
    #[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
    pub(super) fn of(details: &SyncDetails, stuck: Vec<(String, u64)>, now: Timestamp) -> Self {
        let sync = &details.sync;
        let totals = &sync.totals.counts;
        let interval = u64::from(sync.options.pace.polling_interval_seconds);
        let stale_after = (2 * interval).max(120);
        let running = details
            .job
            .as_ref()
            .filter(|job| job.status == JobStatus::Running.as_str() && job.started_at.is_some());
        let since = sync.last_sync_at.map(|last| seconds_between(last, now));
        let is_stale = is_stale(sync, stale_after, now);
        let stalled_reason = running.and_then(|job| stall(job, stale_after.max(300), now));
        let discovered = totals.discovered();
        Self {
            sync_config_id: sync.id.to_string(),
            status: sync.status.to_string(),
            is_active: sync.is_active,
            paused: sync.pause.is_some(),
            total_files_discovered: discovered,
            total_files_synced: totals.synced + totals.updated,
            total_files_failed: sync.failed_entries,
            batches_created: details.batches.count,
            sync_run_counter: sync.totals.runs,
            consecutive_failures: sync.consecutive_failures,
            last_error: sync.last_error.clone(),
            last_sync_at: sync.last_sync_at,
            next_sync_at: sync.next_sync_at,
            seconds_since_last_sync: since,
            is_stale,
            intervals_since_last_sync: since.map(|seconds| seconds as f64 / interval as f64),
            stale_after_seconds: stale_after,
            failure_rate: (sync.failed_entries as f64 / discovered.max(1) as f64).min(1.0),
            healthy: sync.is_active
                && sync.pause.is_none()
                && sync.consecutive_failures == 0
                && !is_stale
                && stalled_reason.is_none(),
            dlq_total: stuck.iter().map(|(_, count)| count).sum(),
            dlq_by_error: stuck.into_iter().collect(),
            running_job: running.is_some(),
            stalled: stalled_reason.is_some(),
            stalled_reason,
            last_job: details.job.as_ref().map(|job| short(job, now)),
            dead_letters: details.dead_letters,
            held_removals: sync.held_removals.clone(),
        }
    }
}

/// A sync that is not to run on its own is never stale, one whose job gets on neither. That a run
/// begins is no progress: one that hangs each time stays stale.
fn is_stale(sync: &Sync, stale_after: u64, now: Timestamp) -> bool {
    let is_to_run = sync.options.pace.mode == SyncMode::Continuous
        && sync.is_active
        && sync.pause.is_none()
        && sync.status != crate::model::SyncStatus::Archived;
    let last = sync.last_sync_at.unwrap_or(sync.created_at);
    let last = sync.progressed_at.map_or(last, |at| last.max(at));
    is_to_run && seconds_between(last, now) > stale_after
}

fn stall(job: &Job, after: u64, now: Timestamp) -> Option<String> {
    let quiet = seconds_between(job.updated_at, now);
    (quiet > after)
        .then(|| format!("the job {} has done nothing for {quiet} s while {}", job.id, job.phase))
}

fn short(job: &Job, now: Timestamp) -> Map<String, Value> {
    let facts = [
        ("sync_job_id", json!(job.id)),
        ("status", json!(job.status)),
        ("phase", json!(job.phase)),
        ("files_synced", json!(job.counts.synced + job.counts.updated)),
        ("files_failed", json!(job.counts.failed)),
        ("throughput_files_per_min", json!(job.per_minute(now))),
        ("duration_seconds", json!(job.seconds(now))),
        ("completed_at", json!(job.completed_at)),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// How healthy a sync is
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/metrics", tag = "bucket_syncs",
    operation_id = "get_sync_metrics_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses((status = 200, body = SyncMetricsResponse), (status = "4XX", body = ErrorResponse))
)]
async fn metrics(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<SyncMetricsResponse>, ApiError> {
    let key = sync(&app, &scope, &path).await?.key;
    let (details, stuck) = app
        .engine
        .store
        .read(move |db| {
            let details = syncs_list::details(db, syncs::by_key(db, key)?)?;
            Ok((details, dead_letters::stuck_by_type(db, key)?))
        })
        .await?;
    Ok(Json(SyncMetricsResponse::of(&details, stuck, app.now())))
}
