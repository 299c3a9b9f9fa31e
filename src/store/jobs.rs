//! Jobs: one row a run, its counts moving with what it commits.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::json;

use super::{
    Result, StoreError,
    events::{self, About, EventKind},
    syncs, time,
};
use crate::model::{Cause, Counts, JobId, JobStatus, Phase, Sweep};

/// A job as the database knows it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: JobId,
    /// Internal key of its sync.
    pub sync_key: i64,
    /// See [`JobStatus`].
    pub status: String,
    /// See [`Phase`].
    pub phase: String,
    /// See [`Cause`].
    pub cause: String,
    /// Whether it trusts no checkpoint, and lists and compares everything.
    pub full: bool,
    /// Whether it fetches every entry again.
    pub refetch: bool,
    /// What it went on from, if it did.
    pub resumed_via: Option<String>,
    /// When it was asked for, or began unasked.
    pub queued_at: Timestamp,
    /// When it began; `None` while it waits.
    pub started_at: Option<Timestamp>,
    /// When it got on last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// What it did so far.
    pub counts: Counts,
    /// Why it failed or stopped.
    pub error: Option<String>,
    /// What it has asked of its provider, as JSON.
    pub details: Option<String>,
}

impl Job {
    /// How long it has run, or ran, in seconds; 0 before it begins.
    #[must_use]
    pub fn seconds(&self, now: Timestamp) -> f64 {
        let Some(started) = self.started_at else { return 0.0 };
        self.completed_at.unwrap_or(now).duration_since(started).as_secs_f64().max(0.0)
    }

    /// Objects made or changed a minute. Nothing is known of less than a millisecond.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
    pub fn per_minute(&self, now: Timestamp) -> f64 {
        (self.counts.synced + self.counts.updated) as f64 * 60.0 / self.seconds(now).max(0.001)
    }
}

/// What every query of whole jobs begins with.
pub(super) const SELECT: &str = "SELECT job_key, id, sync_key, status, phase, cause, full,
     resumed_via, queued_at_ms, started_at_ms, updated_at_ms, completed_at_ms, synced, updated,
     unchanged, duplicates, filtered, failed, removed, bytes, error, refetch, details FROM jobs";

/// Reads a row of [`SELECT`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        key: row.get(0)?,
        id: JobId::from_stored(row.get(1)?),
        sync_key: row.get(2)?,
        status: row.get(3)?,
        phase: row.get(4)?,
        cause: row.get(5)?,
        full: row.get(6)?,
        resumed_via: row.get(7)?,
        queued_at: time::from_ms(row.get(8)?),
        started_at: row.get::<_, Option<i64>>(9)?.map(time::from_ms),
        updated_at: time::from_ms(row.get(10)?),
        completed_at: row.get::<_, Option<i64>>(11)?.map(time::from_ms),
        counts: Counts {
            synced: row.get(12)?,
            updated: row.get(13)?,
            unchanged: row.get(14)?,
            duplicates: row.get(15)?,
            filtered: row.get(16)?,
            failed: row.get(17)?,
            removed: row.get(18)?,
            bytes: row.get(19)?,
        },
        error: row.get(20)?,
        refetch: row.get(21)?,
        details: row.get(22)?,
    })
}

/// Stores what a job has requested from its provider.
///
/// # Errors
/// SQLite's.
pub fn set_details(tx: &Transaction<'_>, job_key: i64, details: &str) -> Result<()> {
    tx.prepare_cached("UPDATE jobs SET details = ?2 WHERE job_key = ?1")?
        .execute(params![job_key, details])?;
    Ok(())
}

/// Puts a job in the queue: running by its status, waiting by its phase. Returns its internal key.
///
/// # Errors
/// SQLite's.
pub fn queue(
    tx: &Transaction<'_>,
    sync_key: i64,
    id: &JobId,
    cause: Cause,
    sweep: Sweep,
    now: Timestamp,
) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO jobs (id, sync_key, status, phase, cause, full, refetch, queued_at_ms,
                           updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
    )?
    .execute(params![
        id.as_str(),
        sync_key,
        JobStatus::Running.as_str(),
        Phase::Queued.as_str(),
        cause.as_str(),
        sweep != Sweep::None,
        sweep == Sweep::Refetch,
        now.as_millisecond(),
    ])?;
    Ok(tx.last_insert_rowid())
}

/// Records that a job that begins fetches every entry again, because an earlier one was to and did
/// not come to its end.
///
/// # Errors
/// SQLite's.
pub fn continue_full(tx: &Transaction<'_>, job_key: i64) -> Result<()> {
    tx.prepare_cached("UPDATE jobs SET full = 1, refetch = 1 WHERE job_key = ?1")?
        .execute([job_key])?;
    Ok(())
}

/// Begins a queued job, whose lease was just taken. Jobs of the same sync that began before and
/// still look running belong to a dead or fenced-off worker and are marked interrupted.
///
/// # Errors
/// [`StoreError::NotQueued`] when it has begun or ended already; SQLite's.
pub fn start(tx: &Transaction<'_>, job_key: i64, resumed: bool, now: Timestamp) -> Result<()> {
    let sync_key: i64 = tx
        .prepare_cached(
            "UPDATE jobs SET phase = ?2, started_at_ms = ?3, updated_at_ms = ?3,
                             resumed_via = iif(?4, 'checkpoint', NULL)
             WHERE job_key = ?1 AND status = 'running' AND started_at_ms IS NULL
             RETURNING sync_key",
        )?
        .query_row(
            params![job_key, Phase::Discovering.as_str(), now.as_millisecond(), resumed],
            |row| row.get(0),
        )
        .optional()?
        .ok_or(StoreError::NotQueued)?;
    interrupt_others(tx, sync_key, job_key, now)?;
    tx.prepare_cached("UPDATE syncs SET run_counter = run_counter + 1 WHERE sync_key = ?1")?
        .execute([sync_key])?;
    let detail = json!({"resumed": resumed});
    events::append(tx, EventKind::JobStarted, About::job(sync_key, job_key), &detail, now)
}

/// Interrupts the jobs of a sync that have begun and are not `job_key`: their worker is gone or
/// fenced off.
///
/// # Errors
/// SQLite's.
pub fn interrupt_others(
    tx: &Transaction<'_>,
    sync_key: i64,
    job_key: i64,
    now: Timestamp,
) -> Result<()> {
    let dead: Vec<i64> = tx
        .prepare_cached(
            "SELECT job_key FROM jobs WHERE sync_key = ?1 AND status = 'running'
                AND started_at_ms IS NOT NULL AND job_key <> ?2",
        )?
        .query_map([sync_key, job_key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for job_key in dead {
        let why = "its worker died or lost the lease";
        end(tx, job_key, JobStatus::Interrupted, Some(why), now)?;
    }
    Ok(())
}

/// Adds what a transaction did, to the job and to its sync's totals.
///
/// # Errors
/// SQLite's.
pub fn count(
    tx: &Transaction<'_>,
    sync_key: i64,
    job_key: i64,
    counts: &Counts,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE jobs SET phase = iif(phase = 'discovering', 'downloading', phase),
             synced = synced + ?2, updated = updated + ?3, unchanged = unchanged + ?4,
             duplicates = duplicates + ?5, filtered = filtered + ?6, failed = failed + ?7,
             removed = removed + ?8, bytes = bytes + ?9, updated_at_ms = ?10
         WHERE job_key = ?1",
    )?
    .execute(params![
        job_key,
        counts.synced,
        counts.updated,
        counts.unchanged,
        counts.duplicates,
        counts.filtered,
        counts.failed,
        counts.removed,
        counts.bytes,
        now.as_millisecond(),
    ])?;
    syncs::count(tx, sync_key, counts, now)
}

/// Notes what the job does now.
///
/// # Errors
/// SQLite's.
pub fn enter(tx: &Transaction<'_>, job_key: i64, phase: Phase, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE jobs SET phase = ?2, updated_at_ms = ?3 WHERE job_key = ?1")?
        .execute(params![job_key, phase.as_str(), now.as_millisecond()])?;
    Ok(())
}

/// Ends a job that is running; one that has ended already stays as it is.
///
/// # Errors
/// SQLite's.
pub fn end(
    tx: &Transaction<'_>,
    job_key: i64,
    status: JobStatus,
    error: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let ended: Option<(i64, Option<i64>)> = tx
        .prepare_cached(
            "UPDATE jobs SET status = ?2, error = substr(?3, 1, 1000), completed_at_ms = ?4,
                             updated_at_ms = ?4
             WHERE job_key = ?1 AND status = 'running' RETURNING sync_key, started_at_ms",
        )?
        .query_row(params![job_key, status.as_str(), error, now.as_millisecond()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((sync_key, started_at)) = ended else { return Ok(()) };
    let run_ms = started_at.map_or(0, |started| (now.as_millisecond() - started).max(0));
    let job = by_key(tx, job_key)?;
    tx.prepare_cached(
        "UPDATE syncs SET run_ms = run_ms + ?2, runs_completed = runs_completed + ?3,
                          runs_failed = runs_failed + ?4,
                          peak_per_minute = max(peak_per_minute, ?5)
         WHERE sync_key = ?1",
    )?
    .execute(params![
        sync_key,
        run_ms,
        status == JobStatus::Completed,
        status == JobStatus::Failed,
        job.per_minute(now),
    ])?;
    let detail = json!({
        "status": job.status,
        "phase": job.phase,
        "counts": job.counts,
        "error": job.error,
        "run_ms": run_ms,
    });
    events::append(tx, EventKind::JobFinished, About::job(sync_key, job_key), &detail, now)
}

/// The job with that internal key.
///
/// # Errors
/// SQLite's, or when there is none.
pub fn by_key(connection: &Connection, job_key: i64) -> Result<Job> {
    Ok(connection
        .prepare_cached(&format!("{SELECT} WHERE job_key = ?1"))?
        .query_row([job_key], read)?)
}

/// The job with that public id.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, id: &str) -> Result<Option<Job>> {
    Ok(connection
        .prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
        .query_row([id], read)
        .optional()?)
}

/// The job of a sync that runs or waits to, the running one first.
///
/// # Errors
/// SQLite's.
pub fn under_way(connection: &Connection, sync_key: i64) -> Result<Option<Job>> {
    Ok(connection
        .prepare_cached(&format!(
            "{SELECT} WHERE sync_key = ?1 AND status = 'running'
             ORDER BY started_at_ms IS NULL, job_key LIMIT 1"
        ))?
        .query_row([sync_key], read)
        .optional()?)
}

/// The jobs that wait for a worker, the longest waiting first.
///
/// # Errors
/// SQLite's.
pub fn waiting(connection: &Connection) -> Result<Vec<Job>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE status = 'running' AND started_at_ms IS NULL ORDER BY job_key"
    ))?;
    let jobs = statement.query_map([], read)?.collect::<Result<_, _>>()?;
    Ok(jobs)
}

/// The newest `limit` jobs of a sync, newest first.
///
/// # Errors
/// SQLite's.
pub fn latest(connection: &Connection, sync_key: i64, limit: u32) -> Result<Vec<Job>> {
    let mut statement = connection
        .prepare_cached(&format!("{SELECT} WHERE sync_key = ?1 ORDER BY job_key DESC LIMIT ?2"))?;
    let jobs = statement.query_map(params![sync_key, limit], read)?.collect::<Result<_, _>>()?;
    Ok(jobs)
}

/// The last job of a sync that began and has ended.
///
/// # Errors
/// SQLite's.
pub fn last_run(connection: &Connection, sync_key: i64) -> Result<Option<Job>> {
    newest_where(connection, sync_key, "completed_at_ms IS NOT NULL AND started_at_ms IS NOT NULL")
}

fn newest_where(connection: &Connection, sync_key: i64, condition: &str) -> Result<Option<Job>> {
    Ok(connection
        .prepare_cached(&format!(
            "{SELECT} WHERE sync_key = ?1 AND {condition} ORDER BY job_key DESC LIMIT 1"
        ))?
        .query_row([sync_key], read)
        .optional()?)
}

/// A page of a sync's jobs, newest first: those queued before the one with the internal key
/// `before`, without the first `skip`; of one state, if `status` names it.
///
/// # Errors
/// SQLite's.
pub fn page(
    connection: &Connection,
    sync_key: i64,
    status: Option<JobStatus>,
    before: Option<i64>,
    skip: u64,
    limit: u64,
) -> Result<Vec<Job>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE sync_key = ?1 AND (?2 IS NULL OR status = ?2)
            AND (?3 IS NULL OR job_key < ?3)
         ORDER BY job_key DESC LIMIT ?4 OFFSET ?5"
    ))?;
    let status = status.map(JobStatus::as_str);
    let jobs = statement
        .query_map(params![sync_key, status, before, limit, skip], read)?
        .collect::<Result<_, _>>()?;
    Ok(jobs)
}

/// When a job last did anything; `None` when there was none.
///
/// # Errors
/// SQLite's.
pub fn last_at(connection: &Connection) -> Result<Option<Timestamp>> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT updated_at_ms FROM jobs ORDER BY job_key DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map(time::from_ms))
}

/// How many jobs of a sync there are; of one state, if `status` names it.
///
/// # Errors
/// SQLite's.
pub fn total(connection: &Connection, sync_key: i64, status: Option<JobStatus>) -> Result<u64> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM jobs WHERE sync_key = ?1 AND (?2 IS NULL OR status = ?2)",
        )?
        .query_row(params![sync_key, status.map(JobStatus::as_str)], |row| row.get(0))?)
}

/// Skips the jobs of a sync that wait: it is not to run.
///
/// # Errors
/// SQLite's.
pub fn skip_waiting(tx: &Transaction<'_>, sync_key: i64, why: &str, now: Timestamp) -> Result<()> {
    let waiting: Vec<i64> = tx
        .prepare_cached(
            "SELECT job_key FROM jobs
             WHERE sync_key = ?1 AND status = 'running' AND started_at_ms IS NULL",
        )?
        .query_map([sync_key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for job_key in waiting {
        end(tx, job_key, JobStatus::Skipped, Some(why), now)?;
    }
    Ok(())
}

/// Makes a job that waits a full one.
///
/// # Errors
/// SQLite's.
pub fn make_full(tx: &Transaction<'_>, job_key: i64, sweep: Sweep) -> Result<()> {
    tx.prepare_cached(
        "UPDATE jobs SET full = full OR ?2, refetch = refetch OR ?3,
                         cause = iif(?2, 'full_sync', cause)
         WHERE job_key = ?1 AND started_at_ms IS NULL",
    )?
    .execute(params![job_key, sweep != Sweep::None, sweep == Sweep::Refetch])?;
    Ok(())
}

/// The jobs of the syncs of a namespace, the newest first.
///
/// # Errors
/// SQLite's.
pub fn of_namespace(connection: &Connection, namespace_key: i64, limit: u32) -> Result<Vec<Job>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE sync_key IN
             (SELECT sync_key FROM syncs JOIN buckets USING (bucket_key) WHERE namespace_key = ?1)
         ORDER BY job_key DESC LIMIT ?2"
    ))?;
    let jobs =
        statement.query_map(params![namespace_key, limit], read)?.collect::<Result<_, _>>()?;
    Ok(jobs)
}
