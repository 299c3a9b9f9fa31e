//! Jobs on the wire: [`SyncJobModel`] and the progress computed from one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::Owner;
use crate::{
    api::page::PaginationResponse,
    engine::live_progress::{LiveProgress, Retrying},
    model::{Cause, Counts, Cursor, JobStatus},
    store::{checkpoints::Progress, jobs::Job, syncs::Sync},
};

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SyncJobStatus {
    /// Under way, or waiting for its turn (`started_at` is null).
    Running,
    /// Came to its end.
    Completed,
    /// Stopped by an error.
    Failed,
    /// Stopped on request or with its worker; the next one continues.
    Interrupted,
    /// Never begun.
    Skipped,
}

impl From<SyncJobStatus> for JobStatus {
    fn from(status: SyncJobStatus) -> Self {
        match status {
            SyncJobStatus::Running => Self::Running,
            SyncJobStatus::Completed => Self::Completed,
            SyncJobStatus::Failed => Self::Failed,
            SyncJobStatus::Interrupted => Self::Interrupted,
            SyncJobStatus::Skipped => Self::Skipped,
        }
    }
}

/// Why a job was begun.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SyncJobTrigger {
    /// It was due.
    Scheduled,
    /// Somebody asked for it.
    Manual,
    /// To go on with what an earlier job left.
    Resume,
}

/// Which jobs are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListSyncJobsRequest {
    /// Only those in this state.
    pub status: Option<SyncJobStatus>,
}

/// One run of a sync.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncJobModel {
    /// Its id.
    pub sync_job_id: String,
    /// The sync.
    pub sync_config_id: String,
    /// The organization.
    pub internal_id: String,
    /// The namespace.
    pub namespace_id: String,
    /// Its state.
    #[schema(value_type = SyncJobStatus)]
    pub status: String,
    /// Why it was begun.
    pub trigger: SyncJobTrigger,
    /// What it does, or did when it ended: queued, discovering, downloading, verifying,
    /// reconciling, held.
    pub phase: Option<String>,
    /// Entries of the source: those listed, or expected while it runs; null while that is unknown.
    pub total_files: Option<u64>,
    /// Entries that became objects, or changed theirs.
    pub files_synced: u64,
    /// Entries that could not be stored.
    pub files_failed: u64,
    /// Entries that were looked at and found to be in the bucket already.
    pub files_verified: u64,
    /// When it began; null while it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// When it got on last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// Why it failed or stopped.
    #[schema(max_length = 1000)]
    pub error: Option<String>,
    /// What it went on from: `checkpoint`, or null.
    pub resumed_via: Option<String>,
    /// When it was asked for, whether it fetches everything again, and its counts one by one.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// Once it has ended: the kind of its pass (`full`, `changes`), the requests that it made, how
    /// often and for how many seconds the provider made it wait, and what else it is paid for.
    #[schema(value_type = Option<Object>)]
    pub details: Option<Map<String, Value>>,
    /// How much of what is expected is done; null while that is unknown.
    #[schema(minimum = 0, maximum = 100)]
    pub progress_percent: Option<f64>,
    /// Entries a minute that became objects or changed theirs.
    #[schema(minimum = 0)]
    pub throughput_files_per_min: Option<f64>,
    /// Seconds since it got on, while it runs.
    pub lag_seconds: Option<u64>,
    /// Where its listing continues, while it runs.
    pub current_cursor: Option<String>,
    /// The same facts in one place.
    #[schema(value_type = Option<Object>)]
    pub progress: Option<Map<String, Value>>,
    /// Why it was begun: `interval`, `file_changed`, `manual`, `resumed`, `slice`, `requeue` or
    /// `full_sync`.
    pub cause: String,
}

/// A page of jobs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncJobListResponse {
    /// Newest first.
    pub results: Vec<SyncJobModel>,
    /// Where this page is among the others.
    pub pagination: PaginationResponse,
    /// How many there are in all.
    pub total: u64,
}

impl SyncJobModel {
    /// The job on the wire at `now`. `shards`: where its sync has come to.
    pub(super) fn of(
        job: &Job,
        sync: &Sync,
        owner: &Owner,
        shards: &[Progress],
        live: &LiveProgress,
        now: Timestamp,
    ) -> Self {
        let is_running = job.status == JobStatus::Running.as_str();
        let progress = Measured::of(job, sync);
        let cursor =
            || shards.iter().find_map(|shard| shard.cursor.as_ref()).map(Cursor::to_json_text);
        Self {
            sync_job_id: job.id.to_string(),
            sync_config_id: sync.id.to_string(),
            internal_id: owner.internal_id.clone(),
            namespace_id: owner.namespace_id.clone(),
            status: job.status.clone(),
            trigger: trigger(Cause::parse(&job.cause)),
            cause: job.cause.clone(),
            phase: Some(job.phase.clone()),
            total_files: progress.total,
            files_synced: job.counts.synced + job.counts.updated,
            files_failed: job.counts.failed,
            files_verified: job.counts.unchanged,
            started_at: job.started_at,
            completed_at: job.completed_at,
            updated_at: Some(job.updated_at),
            error: job.error.clone(),
            resumed_via: job.resumed_via.clone(),
            metadata: Some(metadata(job)),
            details: job.details.as_deref().and_then(|json| serde_json::from_str(json).ok()),
            progress_percent: progress.percent,
            throughput_files_per_min: job.started_at.map(|_| job.per_minute(now)),
            lag_seconds: is_running.then(|| seconds_between(job.updated_at, now)),
            current_cursor: is_running.then(cursor).flatten(),
            progress: Some(progress.progress_model(job, live.retrying(&job.id).as_ref(), now)),
        }
    }
}

fn trigger(cause: Option<Cause>) -> SyncJobTrigger {
    match cause {
        Some(Cause::Interval | Cause::FileChanged) => SyncJobTrigger::Scheduled,
        Some(Cause::Resumed | Cause::Slice) => SyncJobTrigger::Resume,
        Some(Cause::Manual | Cause::Requeue | Cause::FullSync) | None => SyncJobTrigger::Manual,
    }
}

fn metadata(job: &Job) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("queued_at".to_owned(), json!(job.queued_at));
    facts.insert("full_sync".to_owned(), json!(job.full));
    facts.insert("refetch".to_owned(), json!(job.refetch));
    facts.insert("held".to_owned(), json!(job.phase == "held"));
    facts.insert("counts".to_owned(), counts(&job.counts).into());
    facts
}

/// Every count by its name.
pub(super) fn counts(counts: &Counts) -> Map<String, Value> {
    [
        ("discovered", counts.discovered()),
        ("synced", counts.synced),
        ("updated", counts.updated),
        ("unchanged", counts.unchanged),
        ("duplicates", counts.duplicates),
        ("filtered", counts.filtered),
        ("failed", counts.failed),
        ("removed", counts.removed),
        ("bytes", counts.bytes),
    ]
    .into_iter()
    .map(|(name, count)| (name.to_owned(), count.into()))
    .collect()
}

/// How far a job has come, as far as that can be known: the source does not say how much it has
/// before it is listed, so a pass under way, over all jobs that it takes, is measured by the last
/// complete one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Entries of the source.
    pub total: Option<u64>,
    /// Of them dealt with, in percent.
    pub percent: Option<f64>,
    /// Of them dealt with.
    done: u64,
}

impl Measured {
    /// Measures a job of a sync.
    #[expect(clippy::cast_precision_loss, reason = "a share of entries needs no 53 bits")]
    pub(super) fn of(job: &Job, sync: &Sync) -> Self {
        if job.status != JobStatus::Running.as_str() {
            let done = job.counts.discovered();
            let is_whole = job.status == JobStatus::Completed.as_str()
                || job.status == JobStatus::Skipped.as_str();
            let percent = if is_whole { Some(100.0) } else { (done == 0).then_some(0.0) };
            return Self { total: is_whole.then_some(done), percent, done };
        }
        let done = sync.pass_entries;
        let total = sync.whole_entries.filter(|total| *total > done);
        let percent = match total {
            Some(total) => Some(done as f64 * 100.0 / total as f64),
            None => (done == 0).then_some(0.0),
        };
        Self { total, percent, done }
    }

    /// The facts by their names: phase, percent, counts, rate, time left; and, while the source
    /// fails, which try comes next and when, and why the last one failed.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub(super) fn progress_model(
        &self,
        job: &Job,
        retrying: Option<&Retrying>,
        now: Timestamp,
    ) -> Map<String, Value> {
        let seconds = job.seconds(now);
        let rate = |amount: u64| if seconds > 0.0 { amount as f64 / seconds } else { 0.0 };
        let done = job.counts.discovered();
        let left = self.total.map(|total| total.saturating_sub(self.done));
        let is_running = job.status == JobStatus::Running.as_str();
        let eta = left.filter(|_| is_running && done > 0 && seconds > 0.0);
        let mut facts = counts(&job.counts);
        facts.extend([
            ("sync_job_id".to_owned(), json!(job.id)),
            ("status".to_owned(), json!(job.status)),
            ("phase".to_owned(), json!(job.phase)),
            ("percent".to_owned(), json!(self.percent)),
            ("total".to_owned(), json!(self.total)),
            ("done".to_owned(), json!(self.done)),
            ("files_per_min".to_owned(), json!(rate(done) * 60.0)),
            ("bytes_per_second".to_owned(), json!(rate(job.counts.bytes))),
            ("eta_seconds".to_owned(), json!(eta.map(|left| (left as f64 / rate(done)).ceil()))),
            ("attempt".to_owned(), json!(retrying.map(|retrying| retrying.attempt))),
            ("next_try_at".to_owned(), json!(retrying.map(|retrying| retrying.next_try_at(now)))),
            ("reason".to_owned(), json!(retrying.map(|retrying| &retrying.reason))),
        ]);
        facts
    }
}

/// Whole seconds from one instant to a later one; 0 when a clock was turned back.
pub(super) fn seconds_between(earlier: Timestamp, later: Timestamp) -> u64 {
    u64::try_from(later.duration_since(earlier).as_secs()).unwrap_or_default()
}
