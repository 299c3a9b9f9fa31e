//! `/v1/analytics/buckets`: how buckets, their syncs and their uploads fared, from what is kept
//! anyway and one row an hour and bucket. Nothing costs credits here.

mod buckets_by_time;
mod wire;

use axum::{Json, extract::State};
use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::{
    AnalyticsTimeRange, BucketHealthResponse, BucketsHealthResponse, ComparedSyncResponse,
    ErrorShareResponse, SyncComparisonResponse, SyncHealthResponse, SyncPerformanceResponse,
    SyncRunResponse, SyncRunsSummary,
};
use super::{
    App, buckets,
    error::{ApiError, JsonResult},
    json::{FromPath, ValidQuery, query_parameters},
    scope::Scope,
};
use crate::store::{
    Connection,
    analytics::{self, Failures, SyncRun},
    buckets::Bucket,
};

/// How long nothing may move in a run before it counts as stuck.
const STUCK_SECS: i64 = 300;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(all_health))
        .routes(routes!(health))
        .routes(routes!(sync_performance))
        .routes(routes!(sync_comparison))
        .routes(routes!(buckets_by_time::storage))
        .routes(routes!(buckets_by_time::usage))
        .routes(routes!(buckets_by_time::upload_performance))
}

/// How far back.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HoursQuery {
    /// Hours; 24 if nobody says.
    #[schema(minimum = 1, maximum = 8760)]
    hours: Option<u32>,
}
query_parameters!(HoursQuery);

/// Which runs.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RunsQuery {
    /// Only of this sync.
    sync_config_id: Option<String>,
    /// Hours; 24 if nobody says.
    #[schema(minimum = 1, maximum = 8760)]
    hours: Option<u32>,
    /// The most runs to answer with; 100 if nobody says.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}
query_parameters!(RunsQuery);

/// A stretch of time up to now.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: Timestamp,
    end: Timestamp,
}

impl Range {
    fn of_hours(hours: Option<u32>, now: Timestamp) -> Self {
        let start = now.saturating_sub(i64::from(hours.unwrap_or(24)).hours());
        Self { start: start.unwrap_or(Timestamp::MIN), end: now }
    }

    const fn respond(self) -> AnalyticsTimeRange {
        AnalyticsTimeRange { start: self.start, end: self.end }
    }
}

fn health_of(
    db: &Connection,
    bucket: &Bucket,
    range: Range,
) -> Result<BucketHealthResponse, ApiError> {
    let failures = analytics::failures(db, bucket.key, range.start)?;
    let stuck_before = range.end.saturating_sub(STUCK_SECS.seconds()).unwrap_or(Timestamp::MIN);
    let syncs = analytics::sync_health(db, bucket.key, stuck_before)?;
    let total: u64 = failures.iter().map(|kind| kind.count).sum();
    let stuck: Vec<String> =
        syncs.iter().filter(|sync| sync.is_stuck).map(|sync| sync.sync_id.clone()).collect();
    let worst = syncs.iter().map(|sync| sync.consecutive_failures).max().unwrap_or(0);
    let overall = match (total, worst, stuck.len()) {
        (_, 3.., _) | (_, _, 1..) => "unhealthy",
        (0, 0, 0) => "healthy",
        _ => "degraded",
    };
    let sync_health = syncs.into_iter().map(|sync| SyncHealthResponse {
        sync_config_id: sync.sync_id,
        consecutive_failures: sync.consecutive_failures,
        last_success_at: sync.last_success,
        last_failure_at: sync.last_failure,
        failure_rate: sync.failure_rate,
    });
    Ok(BucketHealthResponse {
        bucket_id: bucket.id.to_string(),
        time_range: range.respond(),
        overall_health: overall,
        total_errors: total,
        error_breakdown: failures.into_iter().map(|kind| share_of(kind, total)).collect(),
        sync_health: sync_health.collect(),
        stuck_syncs: stuck,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share_of(kind: Failures, total: u64) -> ErrorShareResponse {
    ErrorShareResponse {
        error_type: kind.kind,
        count: kind.count,
        percentage: kind.count as f64 * 100.0 / total.max(1) as f64,
        first_seen: kind.first,
        last_seen: kind.last,
    }
}

/// Show the state of a bucket
#[utoipa::path(
    get, path = "/v1/analytics/buckets/{bucket_id}/health", tag = "analytics_buckets",
    operation_id = "get_bucket_health_analytics",
    params(("bucket_id" = String, Path, description = "Id or name"), HoursQuery),
    responses((status = 200, description = "Its failures, and how its syncs fare", body = BucketHealthResponse))
)]
async fn health(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<HoursQuery>,
) -> JsonResult<BucketHealthResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let range = Range::of_hours(query.hours, app.now());
    app.engine.store.read_or(move |db| health_of(db, &bucket, range)).await.map(Json)
}

/// Show the state of all buckets that had a failure
#[utoipa::path(
    get, path = "/v1/analytics/buckets/health", tag = "analytics_buckets",
    operation_id = "get_namespace_buckets_health_analytics",
    params(HoursQuery),
    responses((status = 200, description = "Buckets with failures", body = BucketsHealthResponse))
)]
async fn all_health(
    State(app): State<App>,
    scope: Scope,
    ValidQuery(query): ValidQuery<HoursQuery>,
) -> JsonResult<BucketsHealthResponse> {
    let range = Range::of_hours(query.hours, app.now());
    let buckets = app
        .engine
        .store
        .read_or(move |db| {
            let mut response = Vec::new();
            for bucket in crate::store::buckets::of_namespace(db, scope.namespace_key)? {
                let health = health_of(db, &bucket, range)?;
                if health.overall_health != "healthy" {
                    response.push(health);
                }
            }
            Ok::<_, ApiError>(response)
        })
        .await?;
    Ok(Json(BucketsHealthResponse { time_range: range.respond(), buckets }))
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
fn megabits(bytes: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / 1_000_000.0 / seconds } else { 0.0 }
}

fn seconds_of(run: &SyncRun, now: Timestamp) -> f64 {
    let end = run.completed_at.unwrap_or(now);
    end.duration_since(run.started_at).as_secs_f64().max(0.0)
}

fn run_response(run: SyncRun, now: Timestamp) -> SyncRunResponse {
    let seconds = seconds_of(&run, now);
    SyncRunResponse {
        throughput_mbps: megabits(run.bytes, seconds),
        duration_seconds: seconds,
        sync_run_id: run.job_id,
        sync_config_id: run.sync_id,
        started_at: run.started_at,
        files_discovered: run.discovered,
        files_synced: run.synced,
        files_failed: run.failed,
        bytes_synced: run.bytes,
        status: run.status,
        provider_type: run.provider,
    }
}

/// Show how the runs of a bucket's syncs went
#[utoipa::path(
    get, path = "/v1/analytics/buckets/{bucket_id}/sync-performance", tag = "analytics_buckets",
    operation_id = "get_bucket_sync_performance_analytics",
    params(("bucket_id" = String, Path, description = "Id or name"), RunsQuery),
    responses((status = 200, description = "Runs, the newest first", body = SyncPerformanceResponse))
)]
async fn sync_performance(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<RunsQuery>,
) -> JsonResult<SyncPerformanceResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let now = app.now();
    let range = Range::of_hours(query.hours, now);
    let (limit, sync) = (query.limit.unwrap_or(100), query.sync_config_id.clone());
    let key = bucket.key;
    let runs = app
        .engine
        .store
        .read(move |db| analytics::sync_runs(db, key, sync.as_deref(), range.start, limit))
        .await?;
    let summary = SyncRunsSummary {
        total_runs: runs.len() as u64,
        total_bytes: runs.iter().map(|run| run.bytes).sum(),
        total_files: runs.iter().map(|run| run.synced).sum(),
    };
    Ok(Json(SyncPerformanceResponse {
        bucket_id: bucket.id.to_string(),
        sync_config_id: query.sync_config_id,
        time_range: range.respond(),
        runs: runs.into_iter().map(|run| run_response(run, now)).collect(),
        summary,
    }))
}

/// Compare the syncs of a bucket
#[utoipa::path(
    get, path = "/v1/analytics/buckets/{bucket_id}/sync-comparison", tag = "analytics_buckets",
    operation_id = "compare_bucket_syncs_analytics",
    params(("bucket_id" = String, Path, description = "Id or name"), HoursQuery),
    responses((status = 200, description = "Syncs", body = SyncComparisonResponse))
)]
#[expect(clippy::cast_precision_loss, reason = "an average needs no 53 bits")]
async fn sync_comparison(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<HoursQuery>,
) -> JsonResult<SyncComparisonResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let now = app.now();
    let range = Range::of_hours(query.hours, now);
    let key = bucket.key;
    let runs = app
        .engine
        .store
        .read(move |db| analytics::sync_runs(db, key, None, range.start, u32::MAX))
        .await?;
    let mut ids: Vec<&str> = runs.iter().map(|run| run.sync_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let configs = ids
        .into_iter()
        .map(|id| {
            let of: Vec<&SyncRun> = runs.iter().filter(|run| run.sync_id == id).collect();
            let seconds: f64 = of.iter().map(|run| seconds_of(run, now)).sum();
            let bytes: u64 = of.iter().map(|run| run.bytes).sum();
            let worked = of.iter().filter(|run| run.status == "completed").count();
            ComparedSyncResponse {
                sync_config_id: id.to_owned(),
                provider_type: of.first().map(|run| run.provider.clone()),
                avg_duration_seconds: seconds / of.len() as f64,
                avg_throughput_mbps: megabits(bytes, seconds),
                success_rate: worked as f64 / of.len() as f64,
                total_files_synced: of.iter().map(|run| run.synced).sum(),
                total_bytes_synced: bytes,
            }
        })
        .collect();
    Ok(Json(SyncComparisonResponse {
        bucket_id: bucket.id.to_string(),
        time_range: range.respond(),
        configs,
    }))
}
