//! Events on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::json::query_parameters,
    engine::live_progress::Progress,
    store::{events::Event, progress::Running},
};

/// One server-sent event as its fields; `data` is the JSON text of what `event` names.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream, which is written as text")]
pub(super) struct ServerSentEvent {
    /// The event's type, `job.progress` or `reset`.
    pub event: Option<String>,
    /// The event's id; `job.progress` has none.
    pub id: Option<String>,
    /// An `EventModel` or a `JobProgress` as JSON text.
    pub data: Option<String>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventModel {
    /// Its place in the order; grows, is never given twice.
    pub event_id: i64,
    /// `job.started`, `job.finished`, `objects.added`, `objects.updated`, `objects.removed`,
    /// `sync.changed`, `connection.changed`, `bucket.changed`, `notice`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The bucket that it is about.
    pub bucket_id: Option<String>,
    /// The sync that it is about.
    pub sync_config_id: Option<String>,
    /// The job that it is about.
    pub sync_job_id: Option<String>,
    /// The rest, by type.
    pub detail: Value,
}

impl From<Event> for EventModel {
    fn from(event: Event) -> Self {
        Self {
            event_id: event.key,
            kind: event.kind,
            created_at: event.at,
            bucket_id: event.bucket_id,
            sync_config_id: event.sync_id,
            sync_job_id: event.job_id,
            detail: event.detail,
        }
    }
}

/// How far a job has come: what `job.progress` holds. Counts are those that are committed; what
/// follows them is finer, and known for jobs of the answering process only.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct JobProgress {
    /// Always `job.progress`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The job.
    pub sync_job_id: String,
    /// Its sync.
    pub sync_config_id: String,
    /// That sync's bucket.
    pub bucket_id: String,
    /// What it does: `queued`, `discovering`, `downloading`, `verifying`, `reconciling`.
    pub phase: String,
    /// When it began; null while it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// What it has done, by the names of a job's counts.
    pub counts: Map<String, Value>,
    /// Entries that the source has listed.
    pub entries_found: Option<u64>,
    /// Of those, files to fetch.
    pub files_found: Option<u64>,
    /// Their bytes.
    pub bytes_found: Option<u64>,
    /// Of those, what has arrived.
    pub bytes_received: Option<u64>,
    /// Bytes a second, of late.
    pub bytes_per_second: Option<u64>,
    /// How long what is known to be left will take.
    pub eta_seconds: Option<u64>,
    /// How many files are being fetched.
    pub files_in_flight: Option<u64>,
    /// Some of them, with their sizes.
    pub in_flight: Option<Vec<FileInFlight>>,
    /// While the source fails: which try comes next; the one that failed first was 1.
    pub attempt: Option<u32>,
    /// When the next one begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_at: Option<Timestamp>,
    /// Why the last one failed.
    pub reason: Option<String>,
}

/// A file that is being fetched.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct FileInFlight {
    /// From the source's root.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
}

impl JobProgress {
    pub(super) fn new(job: Running, finer: Option<Progress>, now: Timestamp) -> Self {
        let counts = &job.counts;
        let counts = [
            ("discovered", counts.discovered()),
            ("synced", counts.synced),
            ("updated", counts.updated),
            ("unchanged", counts.unchanged),
            ("duplicates", counts.duplicates),
            ("filtered", counts.filtered),
            ("failed", counts.failed),
            ("removed", counts.removed),
            ("bytes", counts.bytes),
        ];
        let finer = finer.as_ref();
        let retrying = finer.and_then(|finer| finer.retrying.as_ref());
        Self {
            kind: "job.progress",
            sync_job_id: job.job_id.to_string(),
            sync_config_id: job.sync_id,
            bucket_id: job.bucket_id,
            phase: job.phase,
            started_at: job.started_at,
            counts: counts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count.into()))
                .collect(),
            entries_found: finer.map(|finer| finer.entries),
            files_found: finer.map(|finer| finer.files),
            bytes_found: finer.map(|finer| finer.bytes),
            bytes_received: finer.map(|finer| finer.received),
            bytes_per_second: finer.map(|finer| finer.rate as u64),
            eta_seconds: finer.and_then(Progress::eta).map(|eta| eta.as_secs()),
            files_in_flight: finer.map(|finer| finer.in_flight_count as u64),
            in_flight: finer.map(|finer| {
                let file = |(path, size): &(String, u64)| FileInFlight {
                    path: path.clone(),
                    size_bytes: *size,
                };
                finer.in_flight.iter().map(file).collect()
            }),
            attempt: retrying.map(|retrying| retrying.attempt),
            // To the second: it is compared with what was sent before.
            next_try_at: retrying.map(|retrying| {
                let at = retrying.next_try_at(now) + jiff::SignedDuration::from_millis(500);
                Timestamp::from_second(at.as_second()).unwrap_or(at)
            }),
            reason: retrying.map(|retrying| retrying.reason.clone()),
        }
    }
}

/// Which events to list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLogQuery {
    /// Only those before this one; absent: the newest.
    #[schema(minimum = 1)]
    pub before: Option<i64>,
    /// How many; 100 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}
query_parameters!(EventLogQuery);

/// The activity log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventLogResponse {
    /// Newest first.
    pub results: Vec<EventModel>,
    /// `before` of what follows; null at the end.
    pub next_before: Option<i64>,
}
