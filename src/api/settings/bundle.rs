//! The support bundle: states, counts and times. No path, name, address, message or secret is in
//! it: those of a source are confidential.

use serde_json::{Value, json};

use super::STARTED;
use crate::{
    api::{App, error::ApiError},
    logging,
    store::{
        events::{self, Event},
        jobs::Job,
        overview::{self, Overview, SyncAtAGlance},
    },
};

/// Events that are included.
const EVENTS: u32 = 200;

/// Puts it together.
///
/// # Errors
/// The store's.
pub(super) async fn gather(app: &App, namespace_key: i64) -> Result<Value, ApiError> {
    let (seen, log) = app
        .engine
        .store
        .read(move |db| {
            Ok((overview::overview(db, namespace_key)?, events::before(db, i64::MAX, EVENTS)?))
        })
        .await?;
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": std::env::consts::OS,
        "processor": std::env::consts::ARCH,
        "made_at": app.now(),
        "uptime_seconds": STARTED.elapsed().as_secs(),
        "log_level": logging::level(),
        "totals": totals(&seen),
        "syncs": seen.syncs.iter().map(sync).collect::<Vec<_>>(),
        "events": log.iter().map(event).collect::<Vec<_>>(),
    }))
}

fn totals(seen: &Overview) -> Value {
    json!({
        "buckets": seen.buckets,
        "objects": seen.objects,
        "bytes": seen.bytes,
        "stored_bytes": seen.stored_bytes,
        "failing_connections": seen.failing.len(),
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
