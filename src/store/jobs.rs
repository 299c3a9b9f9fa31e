//! Jobs: one row a run, its counts moving with what it commits.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use super::{Result, time};
use crate::model::{Counts, JobId, JobStatus, Phase};

/// A job as the database knows it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Public id.
    pub id: JobId,
    /// Internal key of its sync.
    pub sync_key: i64,
    /// `running`, `completed`, `failed` or `interrupted`.
    pub status: String,
    /// `queued`, `downloading`, `reconciling` or `held`.
    pub phase: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// What it did so far.
    pub counts: Counts,
    /// Why it failed or stopped.
    pub error: Option<String>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: JobId::from_stored(row.get(0)?),
        sync_key: row.get(1)?,
        status: row.get(2)?,
        phase: row.get(3)?,
        started_at: time::from_ms(row.get(4)?),
        completed_at: row.get::<_, Option<i64>>(5)?.map(time::from_ms),
        counts: Counts {
            synced: row.get(6)?,
            updated: row.get(7)?,
            unchanged: row.get(8)?,
            duplicates: row.get(9)?,
            filtered: row.get(10)?,
            failed: row.get(11)?,
            removed: row.get(12)?,
            bytes: row.get(13)?,
        },
        error: row.get(14)?,
    })
}

/// Begins a job. Jobs of the same sync that still look running belong to a dead or fenced-off
/// worker and are marked interrupted. Answers the internal key.
///
/// # Errors
/// SQLite's.
pub fn begin(tx: &Transaction<'_>, sync_key: i64, id: &JobId, now: Timestamp) -> Result<i64> {
    tx.prepare_cached(
        "UPDATE jobs SET status = 'interrupted', completed_at_ms = ?2,
                         error = 'its worker died or lost the lease'
         WHERE sync_key = ?1 AND status = 'running'",
    )?
    .execute([sync_key, now.as_millisecond()])?;
    tx.prepare_cached(
        "INSERT INTO jobs (id, sync_key, status, phase, started_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        id.as_str(),
        sync_key,
        JobStatus::Running.as_str(),
        Phase::Downloading.as_str(),
        now.as_millisecond(),
    ])?;
    Ok(tx.last_insert_rowid())
}

/// Adds what a transaction did.
///
/// # Errors
/// SQLite's.
pub fn count(tx: &Transaction<'_>, job_key: i64, counts: &Counts) -> Result<()> {
    tx.prepare_cached(
        "UPDATE jobs SET synced = synced + ?2, updated = updated + ?3, unchanged = unchanged + ?4,
             duplicates = duplicates + ?5, filtered = filtered + ?6, failed = failed + ?7,
             removed = removed + ?8, bytes = bytes + ?9
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
    ])?;
    Ok(())
}

/// Notes what the job does now.
///
/// # Errors
/// SQLite's.
pub fn enter(tx: &Transaction<'_>, job_key: i64, phase: Phase) -> Result<()> {
    tx.prepare_cached("UPDATE jobs SET phase = ?2 WHERE job_key = ?1")?
        .execute(params![job_key, phase.as_str()])?;
    Ok(())
}

/// Ends the job.
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
    tx.prepare_cached(
        "UPDATE jobs SET status = ?2, error = ?3, completed_at_ms = ?4 WHERE job_key = ?1",
    )?
    .execute(params![job_key, status.as_str(), error, now.as_millisecond()])?;
    Ok(())
}

/// The newest `limit` jobs of a sync, newest first.
///
/// # Errors
/// SQLite's.
pub fn latest(connection: &Connection, sync_key: i64, limit: u32) -> Result<Vec<Job>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, sync_key, status, phase, started_at_ms, completed_at_ms, synced, updated,
                unchanged, duplicates, filtered, failed, removed, bytes, error
         FROM jobs WHERE sync_key = ?1 ORDER BY job_key DESC LIMIT ?2",
    )?;
    let jobs = statement.query_map(params![sync_key, limit], read)?.collect::<Result<_, _>>()?;
    Ok(jobs)
}
