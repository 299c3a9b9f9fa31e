//! The progress of running jobs, in whatever process they run.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{Result, time};
use crate::model::{Counts, JobId};

/// A job that runs or waits to.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Public id.
    pub job_id: JobId,
    /// Public id of its sync.
    pub sync_id: String,
    /// Public id of that sync's bucket.
    pub bucket_id: String,
    /// What it does, in the wire's spelling.
    pub phase: String,
    /// When it began; `None`: it waits.
    pub started_at: Option<Timestamp>,
    /// What it has done, as far as that is committed.
    pub counts: Counts,
}

/// The jobs that run or wait to, oldest first, at most `limit`.
///
/// # Errors
/// SQLite's.
pub fn running(connection: &Connection, limit: u32) -> Result<Vec<Running>> {
    let mut statement = connection.prepare_cached(
        "SELECT j.id, s.id, b.id, j.phase, j.started_at_ms, j.synced, j.updated, j.unchanged,
                j.duplicates, j.filtered, j.failed, j.removed, j.bytes
         FROM jobs j JOIN syncs s USING (sync_key) JOIN buckets b USING (bucket_key)
         WHERE j.status = 'running' ORDER BY j.job_key LIMIT ?1",
    )?;
    let running = statement
        .query_map([limit], |row| {
            Ok(Running {
                job_id: JobId::from_stored(row.get(0)?),
                sync_id: row.get(1)?,
                bucket_id: row.get(2)?,
                phase: row.get(3)?,
                started_at: row.get::<_, Option<i64>>(4)?.map(time::from_ms),
                counts: Counts {
                    synced: row.get(5)?,
                    updated: row.get(6)?,
                    unchanged: row.get(7)?,
                    duplicates: row.get(8)?,
                    filtered: row.get(9)?,
                    failed: row.get(10)?,
                    removed: row.get(11)?,
                    bytes: row.get(12)?,
                },
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(running)
}
