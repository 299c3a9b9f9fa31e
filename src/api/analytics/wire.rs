//! Analytics on the wire: responses.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// From when to when.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct AnalyticsTimeRange {
    /// The beginning.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// The end.
    #[schema(value_type = String, format = DateTime)]
    pub end: Timestamp,
}

/// How a bucket fares.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketHealthResponse {
    /// Id.
    pub bucket_id: String,
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// `healthy`, `degraded` or `unhealthy`.
    pub overall_health: &'static str,
    /// Dead letters, failed jobs and failed objects of collections.
    pub total_errors: u64,
    /// The same by kind.
    pub error_breakdown: Vec<ErrorShareResponse>,
    /// How each sync fares.
    pub sync_health: Vec<SyncHealthResponse>,
    /// Ids of syncs whose run has not moved for five minutes.
    pub stuck_syncs: Vec<String>,
}

/// Failures of a kind.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorShareResponse {
    /// Their kind.
    pub error_type: String,
    /// How many.
    pub count: u64,
    /// Of all failures, as a share of 100.
    pub percentage: f64,
    /// When the first was.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// When the last was.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen: Timestamp,
}

/// How a sync fares.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncHealthResponse {
    /// Id.
    pub sync_config_id: String,
    /// Runs that failed since one succeeded.
    pub consecutive_failures: u32,
    /// When a run succeeded last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// When a run failed last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failure_at: Option<Timestamp>,
    /// Failed runs among all, from 0 to 1.
    pub failure_rate: f64,
}

/// Buckets that had a failure.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketsHealthResponse {
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// The buckets.
    pub buckets: Vec<BucketHealthResponse>,
}

/// Runs of a bucket's syncs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncPerformanceResponse {
    /// Id of the bucket.
    pub bucket_id: String,
    /// The sync that was asked for.
    pub sync_config_id: Option<String>,
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// The runs, the newest first.
    pub runs: Vec<SyncRunResponse>,
    /// All of these together.
    pub summary: SyncRunsSummary,
}

/// A run of a sync.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncRunResponse {
    /// Id of the job.
    pub sync_run_id: String,
    /// Id of the sync.
    pub sync_config_id: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took, or takes so far.
    pub duration_seconds: f64,
    /// Entries that it listed.
    pub files_discovered: u64,
    /// Objects that it made or changed.
    pub files_synced: u64,
    /// Entries that failed.
    pub files_failed: u64,
    /// Bytes that it brought.
    pub bytes_synced: u64,
    /// Megabits a second.
    pub throughput_mbps: f64,
    /// As the job has it.
    pub status: String,
    /// From where.
    pub provider_type: String,
}

/// Runs together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncRunsSummary {
    /// How many.
    pub total_runs: u64,
    /// Bytes that they brought.
    pub total_bytes: u64,
    /// Objects that they made or changed.
    pub total_files: u64,
}

/// The syncs of a bucket beside each other.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncComparisonResponse {
    /// Id of the bucket.
    pub bucket_id: String,
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// The syncs that ran.
    pub configs: Vec<ComparedSyncResponse>,
}

/// A sync beside others.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ComparedSyncResponse {
    /// Id.
    pub sync_config_id: String,
    /// From where.
    pub provider_type: Option<String>,
    /// How long a run takes.
    pub avg_duration_seconds: f64,
    /// Megabits a second.
    pub avg_throughput_mbps: f64,
    /// Runs that succeeded among all, from 0 to 1.
    pub success_rate: f64,
    /// Objects that its runs made or changed.
    pub total_files_synced: u64,
    /// Bytes that they brought.
    pub total_bytes_synced: u64,
}

/// How a bucket grew.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StorageAnalyticsResponse {
    /// Id of the bucket.
    pub bucket_id: String,
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// Its size, a point a step.
    pub metrics: Vec<StoragePoint>,
    /// Its size now.
    pub summary: StorageSummary,
}

/// The size of a bucket at a time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoragePoint {
    /// The beginning of the step.
    #[schema(value_type = String, format = DateTime)]
    pub time_bucket: Timestamp,
    /// Bytes at its end.
    pub total_size_bytes: u64,
    /// Objects at its end.
    pub object_count: u64,
    /// Bytes of an object.
    pub avg_size_bytes: u64,
    /// By how much it grew since the step before, in percent.
    pub growth_rate_percent: Option<f64>,
}

/// The size of a bucket now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StorageSummary {
    /// Bytes.
    pub total_size_bytes: u64,
    /// Objects.
    pub object_count: u64,
}

/// How a bucket was used. Nothing costs anything here.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageAnalyticsResponse {
    /// Id of the bucket.
    pub bucket_id: String,
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// Its use, a point a step.
    pub metrics: Vec<UsagePoint>,
    /// Always zeros.
    pub cost_breakdown: UsageCostBreakdown,
    /// Always 0.
    pub total_credits: u64,
    /// Always 0.
    pub total_cost_usd: f64,
}

/// The use of a bucket in a step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsagePoint {
    /// The beginning of the step.
    #[schema(value_type = String, format = DateTime)]
    pub time_bucket: Timestamp,
    /// Gigabytes times hours.
    pub storage_gb_hours: f64,
    /// Uploads that ended.
    pub upload_operations: u64,
    /// Runs that began.
    pub sync_operations: u64,
    /// Always 0.
    pub total_credits: u64,
    /// Always 0.
    pub estimated_cost_usd: f64,
}

/// Shares of what costs nothing.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct UsageCostBreakdown {
    /// Always 0.
    pub storage_percent: f64,
    /// Always 0.
    pub upload_percent: f64,
    /// Always 0.
    pub sync_percent: f64,
    /// Always 0.
    pub other_percent: f64,
}

/// How fast uploads to a bucket were.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadPerformanceResponse {
    /// Id of the bucket.
    pub bucket_id: String,
    /// The time that is looked at.
    pub time_range: AnalyticsTimeRange,
    /// Uploads, a point a step.
    pub metrics: Vec<UploadPoint>,
    /// All of them together.
    pub summary: UploadSummary,
}

/// Uploads in a step.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadPoint {
    /// The beginning of the step.
    #[schema(value_type = String, format = DateTime)]
    pub time_bucket: Timestamp,
    /// How many.
    pub upload_count: u64,
    /// How long one took.
    pub avg_latency_ms: u64,
    /// What 95 of 100 did not exceed.
    pub p95_latency_ms: Option<u64>,
    /// What 99 of 100 did not exceed.
    pub p99_latency_ms: Option<u64>,
    /// Megabits a second.
    pub avg_throughput_mbps: f64,
    /// Those that failed among all, from 0 to 1.
    pub error_rate: f64,
}

/// Uploads together.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadSummary {
    /// How many.
    pub total_uploads: u64,
}
