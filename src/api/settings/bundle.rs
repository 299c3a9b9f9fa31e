//! The support bundle: states, counts and times. No path, name, address, message or secret is in
//! it: those of a source are confidential.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::STARTED;
use crate::{
    api::{App, error::ApiError},
    logging::{self, LogLevel},
    store::{
        events::{self, Event},
        jobs::Job,
        overview::{self, SyncAtAGlance},
    },
};

/// Events that are included.
const EVENTS: u32 = 200;

/// What helps to find a fault.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SupportBundle {
    /// Of this program.
    version: &'static str,
    /// The operating system.
    system: &'static str,
    /// The kind of processor.
    processor: &'static str,
    /// When it was put together.
    #[schema(value_type = String, format = DateTime)]
    made_at: Timestamp,
    /// How long the server has been running.
    uptime_seconds: u64,
    /// What is logged.
    log_level: Option<LogLevel>,
    /// Everything together.
    totals: BundleTotals,
    /// How each sync stands, with its last runs.
    syncs: Vec<Map<String, Value>>,
    /// The last events, without names and messages.
    events: Vec<Map<String, Value>>,
}

/// What there is.
#[derive(Debug, Serialize, ToSchema)]
struct BundleTotals {
    /// Buckets.
    buckets: u64,
    /// Their objects.
    objects: u64,
    /// Bytes of these.
    bytes: u64,
    /// Bytes that are stored.
    stored_bytes: u64,
    /// Connections that fail.
    failing_connections: u64,
}

/// Puts it together.
///
/// # Errors
/// The store's.
pub(super) async fn gather(app: &App, namespace_key: i64) -> Result<SupportBundle, ApiError> {
    let (seen, log) = app
        .engine
        .store
        .read(move |db| {
            Ok((overview::overview(db, namespace_key)?, events::before(db, i64::MAX, EVENTS)?))
        })
        .await?;
    let fields = |value: Value| match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Ok(SupportBundle {
        version: env!("CARGO_PKG_VERSION"),
        system: std::env::consts::OS,
        processor: std::env::consts::ARCH,
        made_at: app.now(),
        uptime_seconds: STARTED.elapsed().as_secs(),
        log_level: logging::level(),
        totals: BundleTotals {
            buckets: seen.buckets,
            objects: seen.objects,
            bytes: seen.bytes,
            stored_bytes: seen.stored_bytes,
            failing_connections: seen.failing.len() as u64,
        },
        syncs: seen.syncs.iter().map(sync).map(fields).collect(),
        events: log.iter().map(event).map(fields).collect(),
    })
}

fn sync(seen: &SyncAtAGlance) -> Value {
    let sync = &seen.sync;
    json!({
        "sync_config_id": sync.id,
        "provider": sync.location.connection.provider.as_str(),
        "status": sync.status,
        "paused": sync.pause.is_some(),
        "consecutive_failures": sync.consecutive_failures,
        "next_sync_at": sync.next_sync_at,
        "last_sync_at": sync.last_sync_at,
        "held_removals": sync.held_removals.as_ref().map(|held| held.count),
        "dead_letters": seen.dead_letters,
        "runs": seen.runs.iter().map(run).collect::<Vec<_>>(),
    })
}

fn run(job: &Job) -> Value {
    json!({
        "sync_job_id": job.id,
        "status": job.status,
        "phase": job.phase,
        "cause": job.cause,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "counts": job.counts,
        "failed_with_a_message": job.error.is_some(),
    })
}

/// Of an event's details only those that are words of ours.
fn event(event: &Event) -> Value {
    json!({
        "at": event.at,
        "type": event.kind,
        "sync_config_id": event.sync_id,
        "sync_job_id": event.job_id,
        "status": event.detail.get("status"),
        "change": event.detail.get("change"),
        "count": event.detail.get("count"),
    })
}
