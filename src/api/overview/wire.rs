//! The response of the overview.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{disk::DiskUse, syncs::NoticeModel},
    model::{Counts, EntryPath, PausedBy},
    store::{
        connections::StoredConnection,
        jobs::Job,
        overview::{Overview, SyncAtAGlance},
        syncs::HeldRemovals,
    },
};

/// The state of things at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OverviewResponse {
    /// Buckets of the namespace.
    buckets: u64,
    /// Objects in them.
    objects: u64,
    /// Bytes of the objects, shared bytes counted for each.
    bytes: u64,
    /// Bytes of all blobs of this installation, each stored once.
    stored_bytes: u64,
    /// How many more bytes there would be if nothing were shared.
    saved_bytes: u64,
    /// The disk of the data directory.
    disk: DiskUse,
    /// Every sync that is not archived, oldest first.
    syncs: Vec<SyncSummary>,
    /// Connections that failed when they were last used.
    failing_connections: Vec<FailingConnection>,
}

/// A sync in a line.
#[derive(Debug, Serialize, ToSchema)]
struct SyncSummary {
    /// Its id.
    sync_config_id: String,
    /// The bucket that it fills.
    bucket_id: String,
    /// What that is called.
    bucket_name: String,
    /// The connection that it reads through.
    connection_id: String,
    /// What that is called.
    connection_name: String,
    /// Where it reads.
    source_path: String,
    /// Its state.
    status: String,
    /// Whether it is paused.
    paused: bool,
    /// Whether it paused itself, after failing again and again.
    paused_by_failures: bool,
    /// Why.
    pause_reason: Option<String>,
    /// Why the last run failed, if it did.
    last_error: Option<String>,
    /// Runs that failed since one succeeded.
    consecutive_failures: u32,
    /// When it is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_sync_at: Option<Timestamp>,
    /// Removals that wait for a decision.
    #[schema(value_type = Option<Object>)]
    held_removals: Option<HeldRemovals>,
    /// What is true of it and needs no action.
    notices: Vec<NoticeModel>,
    /// Entries that could not be stored.
    dead_letters: u64,
    /// Its last 30 runs, oldest first.
    runs: Vec<RunSummary>,
}

/// A run in a column of a chart.
#[derive(Debug, Serialize, ToSchema)]
struct RunSummary {
    /// Its id.
    sync_job_id: String,
    /// running, completed, failed, interrupted or skipped.
    status: String,
    /// Why it was begun: `interval`, `file_changed`, `manual`, `resumed`, `slice`, `requeue` or
    /// `full_sync`.
    cause: String,
    /// What it does, or did when it ended.
    phase: String,
    /// When it began; null while it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it got on last.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Timestamp>,
    /// What it did, by name.
    #[schema(value_type = Object)]
    counts: Counts,
}

/// A connection that needs a person.
#[derive(Debug, Serialize, ToSchema)]
struct FailingConnection {
    /// Its id.
    connection_id: String,
    /// What it is called.
    name: String,
    /// ACTIVE or SUSPENDED.
    status: String,
    /// What the provider said.
    last_error: Option<String>,
    /// Failures in a row.
    consecutive_failures: u32,
}

impl OverviewResponse {
    pub(super) fn of(seen: Overview, disk: DiskUse) -> Self {
        Self {
            buckets: seen.buckets,
            objects: seen.objects,
            bytes: seen.bytes,
            stored_bytes: seen.stored_bytes,
            saved_bytes: seen.bytes_of_all.saturating_sub(seen.stored_bytes),
            disk,
            syncs: seen.syncs.into_iter().map(SyncSummary::from).collect(),
            failing_connections: seen.failing.into_iter().map(FailingConnection::from).collect(),
        }
    }
}

impl From<SyncAtAGlance> for SyncSummary {
    fn from(seen: SyncAtAGlance) -> Self {
        let sync = seen.sync;
        Self {
            sync_config_id: sync.id.to_string(),
            bucket_id: sync.bucket_id.to_string(),
            bucket_name: sync.bucket,
            connection_id: sync.connection_id.to_string(),
            connection_name: seen.connection_name,
            source_path: EntryPath::new(sync.location.source_path).to_json_text(),
            status: sync.status.as_str().to_owned(),
            paused: sync.pause.is_some(),
            paused_by_failures: sync
                .pause
                .as_ref()
                .is_some_and(|pause| pause.by != PausedBy::Person),
            pause_reason: sync.pause.and_then(|pause| pause.reason),
            last_error: sync.last_error,
            consecutive_failures: sync.consecutive_failures,
            next_sync_at: sync.next_sync_at,
            held_removals: sync.held_removals,
            notices: NoticeModel::of(&sync.notices),
            dead_letters: seen.dead_letters,
            runs: seen.runs.into_iter().map(RunSummary::from).collect(),
        }
    }
}

impl From<Job> for RunSummary {
    fn from(job: Job) -> Self {
        Self {
            sync_job_id: job.id.to_string(),
            status: job.status,
            cause: job.cause,
            phase: job.phase,
            started_at: job.started_at,
            updated_at: job.updated_at,
            completed_at: job.completed_at,
            counts: job.counts,
        }
    }
}

impl From<StoredConnection> for FailingConnection {
    fn from(connection: StoredConnection) -> Self {
        Self {
            connection_id: connection.id.to_string(),
            name: connection.name,
            status: connection.status,
            last_error: connection.last_error,
            consecutive_failures: connection.consecutive_failures,
        }
    }
}
