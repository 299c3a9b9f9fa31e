//! Figures of the past: sizes of buckets by the hour, runs of syncs, uploads, failures.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{Result, time};
use crate::model::UploadStatus;

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;
/// Hours that are kept: 400 days.
const KEPT: i64 = 400 * 24;

/// How large a bucket was at an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// Its beginning.
    pub at: Timestamp,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_millisecond().div_euclid(HOUR_MS)
}

/// Whether this hour is not written down yet.
///
/// # Errors
/// SQLite's.
pub fn is_due(connection: &Connection, now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM buckets WHERE is_deleting = 0)
                AND NOT EXISTS (SELECT 1 FROM bucket_hours WHERE hour >= ?1)",
        )?
        .query_row([hour_of(now)], |row| row.get(0))?)
}

/// Writes down how large each bucket is at this hour, and drops what is too old.
///
/// # Errors
/// SQLite's.
pub fn write_hour(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    let hour = hour_of(now);
    tx.execute(
        "INSERT OR IGNORE INTO bucket_hours
         SELECT bucket_key, ?1, object_count, object_bytes FROM buckets WHERE is_deleting = 0",
        [hour],
    )?;
    tx.execute("DELETE FROM bucket_hours WHERE hour < ?1", [hour - KEPT])?;
    Ok(())
}

/// How large a bucket was at each hour from one time to another. Hours that nobody wrote down, for
/// Catchment did not run, are as the last one before them; those before the first are absent.
///
/// # Errors
/// SQLite's.
pub fn hours(
    connection: &Connection,
    bucket_key: i64,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Hour>> {
    let end = hour_of(to);
    let from = hour_of(from).max(end - KEPT);
    let mut statement = connection.prepare_cached(
        "SELECT hour, objects, bytes FROM bucket_hours
         WHERE bucket_key = ?1 AND hour <= ?3
           AND hour >= coalesce((SELECT max(hour) FROM bucket_hours
                                 WHERE bucket_key = ?1 AND hour <= ?2), ?2)
         ORDER BY hour",
    )?;
    let written: Vec<(i64, u64, u64)> = statement
        .query_map([bucket_key, from, end], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<std::result::Result<_, _>>()?;
    let nexts = written.iter().skip(1).map(|(hour, ..)| *hour).chain([end + 1]);
    let hours = written.iter().zip(nexts).flat_map(|((hour, objects, bytes), next)| {
        let of_hour =
            |hour| Hour { at: time::from_ms(hour * HOUR_MS), objects: *objects, bytes: *bytes };
        ((*hour).max(from)..next).map(of_hour)
    });
    Ok(hours.collect())
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Their kind.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// When the first was.
    pub first: Timestamp,
    /// When the last was.
    pub last: Timestamp,
}

/// What has failed in a bucket since a time: dead letters by kind, runs of syncs, objects in
/// collections.
///
/// # Errors
/// SQLite's.
pub fn failures(
    connection: &Connection,
    bucket_key: i64,
    since: Timestamp,
) -> Result<Vec<Failures>> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, count(*), min(at), max(at) FROM (
             SELECT d.error_type AS kind, d.last_failed_ms AS at FROM dead_letters d
             JOIN syncs s USING (sync_key) WHERE s.bucket_key = ?1
             UNION ALL
             SELECT 'sync_failed', j.updated_at_ms FROM jobs j JOIN syncs s USING (sync_key)
             WHERE s.bucket_key = ?1 AND j.status = 'failed'
             UNION ALL
             SELECT 'extraction_' || r.class, r.updated_at_ms FROM outcomes r
             JOIN objects o USING (object_key) WHERE o.bucket_key = ?1 AND r.state = 'failed'
         ) WHERE at >= ?2 AND kind IS NOT NULL GROUP BY kind ORDER BY 2 DESC, kind",
    )?;
    let failures = statement
        .query_map(params![bucket_key, since.as_millisecond()], |row| {
            Ok(Failures {
                kind: row.get(0)?,
                count: row.get(1)?,
                first: time::from_ms(row.get(2)?),
                last: time::from_ms(row.get(3)?),
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(failures)
}

/// A run of a sync.
#[derive(Clone, Debug)]
pub struct SyncRun {
    /// Public id of the job.
    pub job_id: String,
    /// Public id of the sync.
    pub sync_id: String,
    /// The provider, as the API spells it.
    pub provider: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub completed_at: Option<Timestamp>,
    /// See `JobStatus`.
    pub status: String,
    /// Entries that it listed.
    pub discovered: u64,
    /// Objects that it made or changed.
    pub synced: u64,
    /// Entries that failed in it.
    pub failed: u64,
    /// Bytes that it brought.
    pub bytes: u64,
}

/// The runs of a bucket's syncs, or of one of them, that began after a time, the newest first.
///
/// # Errors
/// SQLite's.
pub fn sync_runs(
    connection: &Connection,
    bucket_key: i64,
    sync_id: Option<&str>,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<SyncRun>> {
    let mut statement = connection.prepare_cached(
        "SELECT j.id, s.id, c.provider, j.started_at_ms, j.completed_at_ms, j.status,
                j.synced + j.updated + j.unchanged + j.duplicates + j.filtered + j.failed,
                j.synced + j.updated, j.failed, j.bytes
         FROM jobs j JOIN syncs s USING (sync_key) JOIN connections c USING (connection_key)
         WHERE s.bucket_key = ?1 AND (?2 IS NULL OR s.id = ?2) AND j.started_at_ms >= ?3
         ORDER BY j.job_key DESC LIMIT ?4",
    )?;
    let runs = statement
        .query_map(params![bucket_key, sync_id, since.as_millisecond(), limit], |row| {
            Ok(SyncRun {
                job_id: row.get(0)?,
                sync_id: row.get(1)?,
                provider: row.get(2)?,
                started_at: time::from_ms(row.get(3)?),
                completed_at: row.get::<_, Option<i64>>(4)?.map(time::from_ms),
                status: row.get(5)?,
                discovered: row.get(6)?,
                synced: row.get(7)?,
                failed: row.get(8)?,
                bytes: row.get(9)?,
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(runs)
}

/// An upload, as far as its pace is known.
#[derive(Clone, Debug)]
pub struct Upload {
    /// When it was announced.
    pub at: Timestamp,
    /// From then to its last change, in milliseconds.
    pub took_ms: u64,
    /// Its bytes, if they came.
    pub bytes: u64,
    /// Whether it came to nothing.
    pub has_failed: bool,
}

/// The uploads of a bucket that were announced after a time, the oldest first.
///
/// # Errors
/// SQLite's.
pub fn uploads(connection: &Connection, bucket_key: i64, since: Timestamp) -> Result<Vec<Upload>> {
    let mut statement = connection.prepare_cached(
        "SELECT u.created_at_ms, u.updated_at_ms - u.created_at_ms, coalesce(b.size, 0), u.status
         FROM uploads u LEFT JOIN blobs b ON b.blob_key = u.blob_key
         WHERE u.bucket_key = ?1 AND u.created_at_ms >= ?2 ORDER BY u.created_at_ms",
    )?;
    let uploads = statement
        .query_map(params![bucket_key, since.as_millisecond()], |row| {
            let status: String = row.get(3)?;
            Ok(Upload {
                at: time::from_ms(row.get(0)?),
                took_ms: row.get::<_, i64>(1)?.unsigned_abs(),
                bytes: row.get(2)?,
                has_failed: status == UploadStatus::Failed.as_str(),
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(uploads)
}

/// The syncs of a bucket with how they fare: public id, failures in a row, last success, last
/// failure, the share of runs that failed.
#[derive(Clone, Debug)]
pub struct SyncHealth {
    /// Public id.
    pub sync_id: String,
    /// Runs that failed since one succeeded.
    pub consecutive_failures: u32,
    /// When a run succeeded last.
    pub last_success: Option<Timestamp>,
    /// When a run failed last.
    pub last_failure: Option<Timestamp>,
    /// Failed runs among all, from 0 to 1.
    pub failure_rate: f64,
    /// Whether a run is under way that has not got on for long.
    pub is_stuck: bool,
}

/// How the syncs of a bucket fare; a run is stuck when nothing of it has moved since
/// `stuck_before`.
///
/// # Errors
/// SQLite's.
pub fn sync_health(
    connection: &Connection,
    bucket_key: i64,
    stuck_before: Timestamp,
) -> Result<Vec<SyncHealth>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.id, s.consecutive_failures,
                (SELECT max(j.completed_at_ms) FROM jobs j
                 WHERE j.sync_key = s.sync_key AND j.status = 'completed'),
                (SELECT max(j.completed_at_ms) FROM jobs j
                 WHERE j.sync_key = s.sync_key AND j.status = 'failed'),
                CASE WHEN s.runs_completed + s.runs_failed = 0 THEN 0.0
                     ELSE s.runs_failed * 1.0 / (s.runs_completed + s.runs_failed) END,
                EXISTS (SELECT 1 FROM jobs j WHERE j.sync_key = s.sync_key AND j.status = 'running'
                        AND j.started_at_ms IS NOT NULL AND j.updated_at_ms < ?2)
         FROM syncs s WHERE s.bucket_key = ?1 AND s.status <> 'ARCHIVED' ORDER BY s.sync_key",
    )?;
    let health = statement
        .query_map(params![bucket_key, stuck_before.as_millisecond()], |row| {
            Ok(SyncHealth {
                sync_id: row.get(0)?,
                consecutive_failures: row.get(1)?,
                last_success: row.get::<_, Option<i64>>(2)?.map(time::from_ms),
                last_failure: row.get::<_, Option<i64>>(3)?.map(time::from_ms),
                failure_rate: row.get(4)?,
                is_stuck: row.get(5)?,
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    Ok(health)
}
