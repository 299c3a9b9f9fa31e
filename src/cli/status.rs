//! `catchment status`: buckets, syncs and what their last jobs did.

use std::io::Write as _;

use jiff::Timestamp;

use super::{Exit, Outcome, Settings, error::CliError, output};
use crate::{
    engine::{lease, worker::Worker},
    model::JobStatus,
    sources,
    store::{
        Connection, Store, StoreError, blobs, buckets,
        buckets::Bucket,
        dead_letters::{self, DeadLetter},
        jobs::{self, Job},
        leases::{self, Holder},
        syncs::{self, Sync},
    },
};

/// Arguments of `catchment status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment status         every bucket, its syncs and their last jobs
  catchment status --json  the same, for programs")]
pub(super) struct Args {
    /// Print the whole status as one JSON object
    #[arg(long)]
    json: bool,
}

/// Jobs and dead letters that are shown of each sync.
const SHOWN: u32 = 5;

/// All that is shown, read in one snapshot.
struct Status {
    buckets: Vec<Bucket>,
    syncs: Vec<SyncStatus>,
    blobs: u64,
    blob_bytes: u64,
}

struct SyncStatus {
    sync: Sync,
    jobs: Vec<Job>,
    holder: Option<Holder>,
    open_dead_letters: u64,
    dead_letters: Vec<DeadLetter>,
}

/// `worker` tells the holders of leases that live from those that do not.
fn gather(db: &Connection, worker: &Worker) -> Result<Status, StoreError> {
    let stored = blobs::totals(db)?;
    let syncs = syncs::all(db)?
        .into_iter()
        .map(|sync| {
            let holder = leases::holder(db, sync.key)?
                .filter(|holder| lease::is_alive(holder, worker, Timestamp::now()));
            let mut jobs = jobs::latest(db, sync.key, SHOWN)?;
            if holder.is_none() {
                jobs.iter_mut().for_each(show_as_interrupted);
            }
            Ok(SyncStatus {
                jobs,
                holder,
                open_dead_letters: dead_letters::open_count(db, sync.key)?,
                dead_letters: dead_letters::open(db, sync.key, SHOWN)?,
                sync,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Status { buckets: buckets::all(db)?, syncs, blobs: stored.blobs, blob_bytes: stored.bytes })
}

/// A job whose process died is under way until the next run of its sync records what it was.
fn show_as_interrupted(job: &mut Job) {
    if job.status == JobStatus::Running.as_str() {
        JobStatus::Interrupted.as_str().clone_into(&mut job.status);
    }
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let data_dir = settings.config()?.data_dir;
    let status = match settings.store()? {
        Some(store) => read(&store, Worker::unregistered(&data_dir)).await?,
        None => Status { buckets: Vec::new(), syncs: Vec::new(), blobs: 0, blob_bytes: 0 },
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        output::json_line(&mut out, &json(&status, &data_dir))?;
    } else {
        out.write_all(text(&status, &data_dir).as_bytes())?;
    }
    Ok(Exit::Done)
}

async fn read(store: &Store, worker: Worker) -> Result<Status, CliError> {
    Ok(store.read(move |db| gather(db, &worker)).await?)
}

fn text(status: &Status, data_dir: &std::path::Path) -> String {
    let mut lines = vec![format!(
        "{}: {}, {}",
        data_dir.display(),
        output::counted(status.blobs, "blob"),
        output::size(status.blob_bytes)
    )];
    if status.buckets.is_empty() {
        lines.push("no buckets yet: `catchment sync SOURCE` creates the first".to_owned());
    }
    for bucket in &status.buckets {
        lines.push(format!(
            "\n{}: {}, {}",
            bucket.name,
            output::counted(bucket.object_count, "object"),
            output::size(bucket.object_bytes)
        ));
        for sync in status.syncs.iter().filter(|sync| sync.sync.bucket_key == bucket.key) {
            lines.extend(sync_lines(sync));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn sync_lines(status: &SyncStatus) -> Vec<String> {
    let sync = &status.sync;
    // Only what is all there is called up to date.
    let is_whole =
        status.open_dead_letters == 0 && sync.held_removals.is_none() && sync.last_error.is_none();
    let last = match sync.last_sync_at {
        Some(at) => {
            let words = if is_whole { "up to date as of" } else { "last complete pass" };
            format!("{words} {}", at.strftime("%Y-%m-%d %H:%M:%SZ"))
        }
        None => "no complete pass yet".to_owned(),
    };
    let mut lines = vec![format!("  from {} ({last})", sources::address(&sync.location))];
    if let Some(holder) = &status.holder {
        lines.push(format!("    {holder}"));
    }
    if let Some(held) = &sync.held_removals {
        lines.push(format!(
            "    held: {} of {} objects are to be removed; --max-delete allows it",
            output::count(held.count),
            output::count(held.of)
        ));
    }
    lines.extend(status.jobs.iter().map(job_line));
    match status.open_dead_letters {
        0 => {}
        1 => lines.push("    1 entry keeps failing:".to_owned()),
        many => lines.push(format!("    {} entries keep failing:", output::count(many))),
    }
    lines.extend(status.dead_letters.iter().map(|letter| {
        format!("      {} ({}: {})", letter.path, letter.error_type, letter.message)
    }));
    lines
}

fn job_line(job: &Job) -> String {
    let counts = &job.counts;
    let phase = if job.phase == "held" { ", removals held" } else { "" };
    let error = job.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!(
        "    {} {}{phase}: {} new, {} updated, {} unchanged, {} removed, {} failed{error}",
        job.started_at.unwrap_or(job.queued_at).strftime("%Y-%m-%d %H:%M:%SZ"),
        job.status,
        output::count(counts.synced),
        output::count(counts.updated),
        output::count(counts.unchanged),
        output::count(counts.removed),
        output::count(counts.failed),
    )
}

fn json(status: &Status, data_dir: &std::path::Path) -> serde_json::Value {
    serde_json::json!({
        "data_dir": data_dir.to_string_lossy(),
        "blobs": status.blobs,
        "blob_bytes": status.blob_bytes,
        "buckets": status.buckets.iter().map(|bucket| serde_json::json!({
            "bucket_id": bucket.id,
            "bucket": bucket.name,
            "objects": bucket.object_count,
            "bytes": bucket.object_bytes,
        })).collect::<Vec<_>>(),
        "syncs": status.syncs.iter().map(sync_json).collect::<Vec<_>>(),
    })
}

fn sync_json(status: &SyncStatus) -> serde_json::Value {
    let sync = &status.sync;
    serde_json::json!({
        "sync_config_id": sync.id,
        "bucket": sync.bucket,
        "source": sources::address(&sync.location),
        "provider": sync.location.connection.provider.as_str(),
        "last_sync_at": sync.last_sync_at,
        "last_error": sync.last_error,
        "held_removals": sync.held_removals,
        "locked_by": status.holder.as_ref().map(|holder| serde_json::json!({
            "host": holder.host,
            "pid": holder.pid,
            "since": holder.since,
            "until": holder.until,
        })),
        "dead_letters": status.open_dead_letters,
        "dead_letter_sample": status.dead_letters.iter().map(|letter| serde_json::json!({
            "path": letter.path.to_json_text(),
            "path_bytes": letter.path.base64_if_not_utf8(),
            "error_type": letter.error_type,
            "message": letter.message,
            "failures": letter.failures,
            "last_failed_at": letter.last_failed,
        })).collect::<Vec<_>>(),
        "jobs": status.jobs.iter().map(|job| serde_json::json!({
            "job_id": job.id,
            "status": job.status,
            "phase": job.phase,
            "started_at": job.started_at,
            "completed_at": job.completed_at,
            "discovered": job.counts.discovered(),
            "synced": job.counts.synced,
            "updated": job.counts.updated,
            "unchanged": job.counts.unchanged,
            "duplicates": job.counts.duplicates,
            "filtered": job.counts.filtered,
            "removed": job.counts.removed,
            "failed": job.counts.failed,
            "bytes": job.counts.bytes,
            "error": job.error,
        })).collect::<Vec<_>>(),
    })
}
