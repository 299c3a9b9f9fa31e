//! A bucket's size, use and uploads over time, grouped by hour, day, week or month.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::Offset};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    JsonResult, Range, megabits,
    wire::{
        StorageAnalyticsResponse, StoragePoint, StorageSummary, UploadPerformanceResponse,
        UploadPoint, UploadSummary, UsageAnalyticsResponse, UsageCostBreakdown, UsagePoint,
    },
};
use crate::{
    api::{
        App, buckets,
        error::{ApiError, FieldError},
        json::{FromPath, ValidQuery, query_parameters},
        scope::Scope,
    },
    store::analytics::{self, Hour, Upload},
};

/// From when to when, and in which steps.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeQuery {
    /// RFC 3339, or a day; 30 days ago if nobody says.
    pub start_date: Option<String>,
    /// RFC 3339, or a day; now if nobody says.
    pub end_date: Option<String>,
    /// `hour`, `day`, `week` or `month`; `day` if nobody says.
    pub group_by: Option<String>,
}
query_parameters!(TimeQuery);

/// How far back, and in which steps.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadsQuery {
    /// Hours; 24 if nobody says.
    #[schema(minimum = 1, maximum = 8760)]
    pub hours: Option<u32>,
    /// `hour`, `day`, `week` or `month`; `hour` if nobody says.
    pub group_by: Option<String>,
}
query_parameters!(UploadsQuery);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Hour,
    Day,
    Week,
    Month,
}

impl Step {
    fn parse(text: Option<&str>, default: Self) -> Result<Self, ApiError> {
        match text {
            None => Ok(default),
            Some("hour") => Ok(Self::Hour),
            Some("day") => Ok(Self::Day),
            Some("week") => Ok(Self::Week),
            Some("month") => Ok(Self::Month),
            Some(other) => Err(ApiError::invalid_field(
                FieldError::new("group_by", other, "is no step")
                    .accepting(vec!["hour", "day", "week", "month"]),
            )),
        }
    }

    /// The beginning of the step that a time is in, in UTC.
    fn beginning(self, at: Timestamp) -> Timestamp {
        let local = Offset::UTC.to_datetime(at);
        let day = local.date();
        let hour = day.at(local.hour(), 0, 0, 0);
        let first = match self {
            Self::Hour => hour,
            Self::Day => day.at(0, 0, 0, 0),
            Self::Week => {
                let back = i64::from(day.weekday().to_monday_zero_offset()).days();
                day.checked_sub(back).unwrap_or(day).at(0, 0, 0, 0)
            }
            Self::Month => day.first_of_month().at(0, 0, 0, 0),
        };
        Offset::UTC.to_timestamp(first).unwrap_or(at)
    }
}

fn range_of(query: &TimeQuery, now: Timestamp) -> Result<Range, ApiError> {
    let read = |field: &str, text: &str| {
        let day = || {
            let date: Date = text.parse().ok()?;
            Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
        };
        text.parse::<Timestamp>().ok().or_else(day).ok_or_else(|| {
            ApiError::invalid_field(
                FieldError::new(field, text, "is no time")
                    .accepting("an RFC 3339 time, or a day such as 2026-01-31"),
            )
        })
    };
    let end = query.end_date.as_deref().map_or(Ok(now), |text| read("end_date", text))?;
    let start = match query.start_date.as_deref() {
        Some(text) => read("start_date", text)?,
        None => end.saturating_sub((30 * 24).hours()).unwrap_or(Timestamp::MIN),
    };
    if start > end {
        return Err(ApiError::invalid_field(
            FieldError::new("start_date", start.to_string(), "comes after end_date")
                .accepting("a time before end_date"),
        ));
    }
    Ok(Range { start, end })
}

/// The last hour of each step, with the step's beginning.
fn by_step(hours: &[Hour], step: Step) -> Vec<(Timestamp, Hour)> {
    let mut steps: Vec<(Timestamp, Hour)> = Vec::new();
    for hour in hours {
        let beginning = step.beginning(hour.at);
        match steps.last_mut() {
            Some((at, last)) if *at == beginning => *last = *hour,
            _ => steps.push((beginning, *hour)),
        }
    }
    steps
}

/// Show how a bucket grew
#[utoipa::path(
    get, path = "/v1/analytics/buckets/{bucket_id}/storage", tag = "analytics_buckets",
    operation_id = "get_bucket_storage_analytics",
    params(("bucket_id" = String, Path, description = "Id or name"), TimeQuery),
    responses((status = 200, description = "Its size over time", body = StorageAnalyticsResponse))
)]
#[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
pub(super) async fn storage(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<TimeQuery>,
) -> JsonResult<StorageAnalyticsResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let range = range_of(&query, app.now())?;
    let step = Step::parse(query.group_by.as_deref(), Step::Day)?;
    let key = bucket.key;
    let until = range.end.min(app.now());
    let hours =
        app.engine.store.read(move |db| analytics::hours(db, key, range.start, until)).await?;
    let steps = by_step(&hours, step);
    let mut before: Option<u64> = None;
    let metrics = steps
        .iter()
        .map(|(at, hour)| {
            let growth = before
                .filter(|before| *before > 0)
                .map(|before| (hour.bytes as f64 - before as f64) * 100.0 / before as f64);
            before = Some(hour.bytes);
            StoragePoint {
                time_bucket: *at,
                total_size_bytes: hour.bytes,
                object_count: hour.objects,
                avg_size_bytes: hour.bytes.checked_div(hour.objects).unwrap_or(0),
                growth_rate_percent: growth,
            }
        })
        .collect();
    Ok(Json(StorageAnalyticsResponse {
        bucket_id: bucket.id.to_string(),
        time_range: range.respond(),
        metrics,
        summary: StorageSummary {
            total_size_bytes: bucket.object_bytes,
            object_count: bucket.object_count,
        },
    }))
}

/// Show how a bucket was used
#[utoipa::path(
    get, path = "/v1/analytics/buckets/{bucket_id}/usage", tag = "analytics_buckets",
    operation_id = "get_bucket_usage_analytics",
    params(("bucket_id" = String, Path, description = "Id or name"), TimeQuery),
    responses((status = 200, description = "Its use over time; nothing costs anything", body = UsageAnalyticsResponse))
)]
#[expect(clippy::cast_precision_loss, reason = "gigabyte hours need no 53 bits")]
pub(super) async fn usage(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<TimeQuery>,
) -> JsonResult<UsageAnalyticsResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let range = range_of(&query, app.now())?;
    let step = Step::parse(query.group_by.as_deref(), Step::Day)?;
    let (key, until) = (bucket.key, range.end.min(app.now()));
    let (hours, uploads, runs) = app
        .engine
        .store
        .read(move |db| {
            Ok((
                analytics::hours(db, key, range.start, until)?,
                analytics::uploads(db, key, range.start)?,
                analytics::sync_runs(db, key, None, range.start, u32::MAX)?,
            ))
        })
        .await?;
    let mut metrics: BTreeMap<Timestamp, UsagePoint> = BTreeMap::new();
    for hour in &hours {
        let at = step.beginning(hour.at);
        let point = metrics.entry(at).or_insert_with(|| UsagePoint {
            time_bucket: at,
            storage_gb_hours: 0.0,
            upload_operations: 0,
            sync_operations: 0,
            total_credits: 0,
            estimated_cost_usd: 0.0,
        });
        point.storage_gb_hours += hour.bytes as f64 / 1_000_000_000.0;
    }
    for upload in uploads.iter().filter(|upload| upload.at <= range.end) {
        if let Some(point) = metrics.get_mut(&step.beginning(upload.at)) {
            point.upload_operations += 1;
        }
    }
    for run in runs.iter().filter(|run| run.started_at <= range.end) {
        if let Some(point) = metrics.get_mut(&step.beginning(run.started_at)) {
            point.sync_operations += 1;
        }
    }
    Ok(Json(UsageAnalyticsResponse {
        bucket_id: bucket.id.to_string(),
        time_range: range.respond(),
        metrics: metrics.into_values().collect(),
        cost_breakdown: UsageCostBreakdown::default(),
        total_credits: 0,
        total_cost_usd: 0.0,
    }))
}

/// Show how fast uploads to a bucket were
#[utoipa::path(
    get, path = "/v1/analytics/buckets/{bucket_id}/upload-performance", tag = "analytics_buckets",
    operation_id = "get_bucket_upload_performance_analytics",
    params(("bucket_id" = String, Path, description = "Id or name"), UploadsQuery),
    responses((status = 200, description = "Uploads over time", body = UploadPerformanceResponse))
)]
#[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
pub(super) async fn upload_performance(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket): FromPath<String>,
    ValidQuery(query): ValidQuery<UploadsQuery>,
) -> JsonResult<UploadPerformanceResponse> {
    let bucket = buckets::find(&app, &scope, &bucket).await?;
    let range = Range::of_hours(query.hours, app.now());
    let step = Step::parse(query.group_by.as_deref(), Step::Hour)?;
    let key = bucket.key;
    let uploads = app.engine.store.read(move |db| analytics::uploads(db, key, range.start)).await?;
    let mut steps: Vec<(Timestamp, Vec<&Upload>)> = Vec::new();
    for upload in &uploads {
        let at = step.beginning(upload.at);
        match steps.last_mut() {
            Some((last, all)) if *last == at => all.push(upload),
            _ => steps.push((at, vec![upload])),
        }
    }
    let metrics = steps
        .iter()
        .map(|(at, all)| {
            let mut took: Vec<u64> = all.iter().map(|upload| upload.took_ms).collect();
            took.sort_unstable();
            let total: u64 = took.iter().sum();
            let bytes: u64 = all.iter().map(|upload| upload.bytes).sum();
            let failed = all.iter().filter(|upload| upload.has_failed).count();
            let quantile = |percent: usize| took.get((took.len() - 1) * percent / 100).copied();
            UploadPoint {
                time_bucket: *at,
                upload_count: all.len() as u64,
                avg_latency_ms: total / all.len() as u64,
                p95_latency_ms: quantile(95),
                p99_latency_ms: quantile(99),
                avg_throughput_mbps: megabits(bytes, total as f64 / 1000.0),
                error_rate: failed as f64 / all.len() as f64,
            }
        })
        .collect();
    Ok(Json(UploadPerformanceResponse {
        bucket_id: bucket.id.to_string(),
        time_range: range.respond(),
        metrics,
        summary: UploadSummary { total_uploads: uploads.len() as u64 },
    }))
}
