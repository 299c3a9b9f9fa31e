//! The whole installation in numbers: what the metrics show.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{Result, blobs, time};

/// The whole installation in numbers.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Jobs by status.
    pub jobs: Vec<(String, u64)>,
    /// Syncs by status.
    pub syncs: Vec<(String, u64)>,
    /// Objects in all buckets.
    pub objects: u64,
    /// Their bytes, shared ones counted each time.
    pub object_bytes: u64,
    /// Bytes that are stored, shared ones once.
    pub stored_bytes: u64,
    /// Entries that failed and are missing, of all syncs that are not deleted.
    pub dead_letters: u64,
    /// Syncs whose removals wait for a decision.
    pub held: u64,
    /// When a pass was complete last.
    pub last_sync_at: Option<Timestamp>,
}

/// Counts them.
///
/// # Errors
/// SQLite's.
pub fn read(connection: &Connection) -> Result<Totals> {
    let by_status = |sql: &str| -> Result<Vec<(String, u64)>> {
        let mut statement = connection.prepare_cached(sql)?;
        let counts = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(counts)
    };
    let count = |sql: &str| -> Result<u64> {
        Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    };
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(last_sync_at_ms) FROM syncs")?
        .query_row([], |row| row.get(0))?;
    Ok(Totals {
        jobs: by_status("SELECT status, jobs FROM job_tallies WHERE jobs > 0")?,
        syncs: by_status("SELECT status, count(*) FROM syncs GROUP BY status")?,
        objects: count("SELECT coalesce(sum(object_count), 0) FROM buckets")?,
        object_bytes: count("SELECT coalesce(sum(object_bytes), 0) FROM buckets")?,
        stored_bytes: blobs::totals(connection)?.bytes,
        // Those that are tried no more are missing all the same.
        dead_letters: count(
            "SELECT count(*) FROM dead_letters JOIN syncs USING (sync_key)
             WHERE resolved_at_ms IS NULL AND status <> 'ARCHIVED'",
        )?,
        held: count(
            "SELECT count(*) FROM syncs WHERE held_removals IS NOT NULL AND status <> 'ARCHIVED'",
        )?,
        last_sync_at: last.map(time::from_ms),
    })
}
