//! The objects of a batch: added to it, and forgotten once nobody needs to know them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::{model::ObjectId, store::Result};

/// Adds objects of the batch's bucket, none twice. Returns the ids that are of no object there.
///
/// # Errors
/// SQLite's.
pub fn add_objects(
    tx: &Transaction<'_>,
    batch_key: i64,
    bucket_key: i64,
    ids: &[String],
) -> Result<Vec<String>> {
    let mut unknown = Vec::new();
    let mut find = tx.prepare_cached(
        "SELECT object_key FROM objects WHERE id = ?1 AND bucket_key = ?2 AND state IS NULL",
    )?;
    let mut insert =
        tx.prepare_cached("INSERT OR IGNORE INTO batch_objects VALUES (?1, ?2, ?3)")?;
    for id in ids {
        match find.query_row(params![id, bucket_key], |row| row.get::<_, i64>(0)).optional()? {
            Some(key) => {
                insert.execute(params![batch_key, key, id])?;
            }
            None => unknown.push(id.clone()),
        }
    }
    recount(tx, batch_key)?;
    Ok(unknown)
}

/// Adds objects that nobody knows, which count as skipped. Their keys are below all that there are.
///
/// # Errors
/// SQLite's.
pub fn add_unknown(tx: &Transaction<'_>, batch_key: i64, ids: &[String]) -> Result<()> {
    let lowest: i64 = tx
        .prepare_cached(
            "SELECT min(coalesce(min(object_key), 0), 0) FROM batch_objects WHERE batch_key = ?1",
        )?
        .query_row([batch_key], |row| row.get(0))?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO batch_objects SELECT ?1, ?2, ?3 WHERE NOT EXISTS
             (SELECT 1 FROM batch_objects WHERE batch_key = ?1 AND object_id = ?3)",
    )?;
    for (key, id) in (i64::MIN..lowest).rev().zip(ids) {
        insert.execute(params![batch_key, key, id])?;
    }
    recount(tx, batch_key)
}

/// Adds objects by their keys.
///
/// # Errors
/// SQLite's.
pub fn add_keys(tx: &Transaction<'_>, batch_key: i64, object_keys: &[i64]) -> Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT OR IGNORE INTO batch_objects SELECT ?1, object_key, id FROM objects
         WHERE object_key = ?2 AND state IS NULL",
    )?;
    for key in object_keys {
        insert.execute([batch_key, *key])?;
    }
    recount(tx, batch_key)
}

/// Adds those of these objects that still stand for entries of the sync. Returns how many.
pub(in crate::store::processing) fn add_waiting(
    tx: &Transaction<'_>,
    batch_key: i64,
    sync_key: i64,
    object_keys: &[i64],
) -> Result<usize> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO batch_objects SELECT ?1, o.object_key, o.id FROM objects o
         JOIN entries e ON e.entry_key = o.entry_key
         WHERE o.object_key = ?2 AND e.sync_key = ?3 AND o.state IS NULL",
    )?;
    let mut count = 0;
    for key in object_keys {
        count += insert.execute([batch_key, *key, sync_key])?;
    }
    recount(tx, batch_key)?;
    Ok(count)
}

fn recount(tx: &Transaction<'_>, batch_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE batches SET object_count =
             (SELECT count(*) FROM batch_objects WHERE batch_key = ?1) WHERE batch_key = ?1",
    )?
    .execute([batch_key])?;
    Ok(())
}

/// Ids of the objects of a batch.
///
/// # Errors
/// SQLite's.
pub fn object_ids(connection: &Connection, batch_key: i64) -> Result<Vec<ObjectId>> {
    let mut statement = connection
        .prepare_cached("SELECT object_id FROM batch_objects WHERE batch_key = ?1 ORDER BY 1")?;
    let ids = statement
        .query_map([batch_key], |row| Ok(ObjectId::from_stored(row.get(0)?)))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(ids)
}

/// Forgets the members of batches without failures that ended before a time: up to `limit` batches.
///
/// # Errors
/// SQLite's.
pub fn forget_members(tx: &Transaction<'_>, before: Timestamp, limit: u32) -> Result<u64> {
    let keys: Vec<i64> = tx
        .prepare_cached(
            "SELECT batch_key FROM batches WHERE status = 'COMPLETED' AND completed_at_ms < ?1
             AND EXISTS (SELECT 1 FROM batch_objects m WHERE m.batch_key = batches.batch_key)
             LIMIT ?2",
        )?
        .query_map(params![before.as_millisecond(), limit], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    for key in &keys {
        tx.prepare_cached("DELETE FROM batch_objects WHERE batch_key = ?1")?.execute([key])?;
    }
    Ok(keys.len() as u64)
}

/// Whether there are batches whose members are to be forgotten, see [`forget_members`].
///
/// # Errors
/// SQLite's.
pub fn has_members_before(connection: &Connection, before: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM batches WHERE status = 'COMPLETED' AND completed_at_ms < ?1
             AND EXISTS (SELECT 1 FROM batch_objects m WHERE m.batch_key = batches.batch_key)",
        )?
        .exists([before.as_millisecond()])?)
}
