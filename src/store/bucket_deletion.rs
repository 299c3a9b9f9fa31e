//! Deleting a bucket: it is marked and its syncs are stopped in one transaction; its rows are
//! removed in many small ones, so that others can write in between, and a process that dies in
//! between leaves a bucket that the next one continues with.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{
    Result,
    buckets::{self, Bucket},
    leases,
    processing::{batches, collections},
    remove, uploads,
};
use crate::model::SyncStatus;

/// Rows that one transaction removes.
const STEP: u32 = 500;

/// The tables with rows that belong to a sync.
const OF_SYNCS: [&str; 14] = [
    "entries",
    "left_out",
    "held_back",
    "dead_letters",
    "checkpoints",
    "jobs",
    "leases",
    "to_batch",
    "folders",
    "unplaced_entries",
    "several_parents",
    "links",
    "access_keys",
    "feeds",
];

/// The syncs of a bucket that run, wait, or will run by themselves: public ids.
///
/// # Errors
/// SQLite's.
pub fn active_syncs(tx: &Transaction<'_>, bucket_key: i64) -> Result<Vec<String>> {
    let ids = tx
        .prepare_cached(
            "SELECT id FROM syncs s WHERE bucket_key = ?1 AND status <> 'ARCHIVED' AND (
                 EXISTS (SELECT 1 FROM leases l WHERE l.sync_key = s.sync_key)
                 OR (is_active AND pause IS NULL AND (next_sync_at_ms IS NOT NULL
                     OR status IN ('PENDING', 'QUEUED', 'IN_PROGRESS', 'ACTIVE', 'INTERRUPTED'))))
             ORDER BY sync_key",
        )?
        .query_map([bucket_key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// Marks a bucket as deleted, frees its name and stops its syncs and batches: runs under way may
/// write nothing more.
///
/// # Errors
/// SQLite's.
pub fn begin(tx: &Transaction<'_>, bucket: &Bucket, now: Timestamp) -> Result<()> {
    let sync_keys: Vec<i64> = tx
        .prepare_cached("SELECT sync_key FROM syncs WHERE bucket_key = ?1")?
        .query_map([bucket.key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for sync_key in sync_keys {
        leases::unlock(tx, sync_key)?;
        tx.prepare_cached(
            "UPDATE syncs SET status = ?2, is_active = 0, next_sync_at_ms = NULL, updated_at_ms = ?3
             WHERE sync_key = ?1",
        )?
        .execute(params![sync_key, SyncStatus::Archived.as_str(), now.as_millisecond()])?;
    }
    tx.prepare_cached(
        "UPDATE buckets SET is_deleting = 1, name = id, updated_at_ms = ?2 WHERE bucket_key = ?1",
    )?
    .execute(params![bucket.key, now.as_millisecond()])?;
    batches::cancel_of_bucket(tx, bucket.key, now)?;
    collections::lose_bucket(tx, bucket.key, now)?;
    buckets::emit_event(tx, bucket.key, "deleted", now)
}

/// Removes the next part of what is in a bucket, and the bucket after the last one. Returns whether
/// that is done.
///
/// # Errors
/// SQLite's.
pub fn step(tx: &Transaction<'_>, bucket_key: i64) -> Result<bool> {
    let objects = keys(tx, "SELECT object_key FROM objects WHERE bucket_key = ?1", bucket_key)?;
    let (mut count, mut bytes) = (0, 0);
    for key in &objects {
        let gone = remove::remove_object(tx, *key)?;
        count += gone.objects;
        bytes += gone.bytes;
    }
    buckets::adjust(tx, bucket_key, -count, -bytes)?;
    if !objects.is_empty() {
        return Ok(false);
    }
    let uploads = keys(tx, "SELECT upload_key FROM uploads WHERE bucket_key = ?1", bucket_key)?;
    for key in &uploads {
        uploads::delete(tx, *key)?;
    }
    if !uploads.is_empty() {
        return Ok(false);
    }
    for table in OF_SYNCS {
        let key = match table {
            "checkpoints" => "(sync_key, shard)",
            "to_batch" => "(sync_key, object_key)",
            _ => "rowid",
        };
        let deleted = tx
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE {key} IN (SELECT {} FROM {table} WHERE sync_key IN
                     (SELECT sync_key FROM syncs WHERE bucket_key = ?1) LIMIT ?2)",
                key.trim_matches(['(', ')'])
            ))?
            .execute(params![bucket_key, STEP * 10])?;
        if deleted > 0 {
            return Ok(false);
        }
    }
    if batches::remove_of_bucket(tx, bucket_key, STEP)? {
        return Ok(false);
    }
    tx.execute("DELETE FROM bucket_hours WHERE bucket_key = ?1", [bucket_key])?;
    tx.execute("DELETE FROM syncs WHERE bucket_key = ?1", [bucket_key])?;
    tx.execute("DELETE FROM buckets WHERE bucket_key = ?1", [bucket_key])?;
    Ok(true)
}

fn keys(tx: &Transaction<'_>, select: &str, bucket_key: i64) -> Result<Vec<i64>> {
    let keys = tx
        .prepare_cached(&format!("{select} LIMIT ?2"))?
        .query_map(params![bucket_key, STEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use rusqlite::Connection;

    use super::*;

    #[test]
    fn whatever_belongs_to_a_sync_goes_with_its_bucket() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("../../schema.sql")).unwrap();
        let belonging: BTreeSet<String> = db
            .prepare(
                "SELECT name FROM sqlite_schema
                 WHERE type = 'table' AND EXISTS (SELECT 1 FROM pragma_foreign_key_list(name)
                                                  WHERE \"table\" = 'syncs')",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(belonging, OF_SYNCS.map(str::to_owned).into());
    }
}
