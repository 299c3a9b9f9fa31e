//! Checkpoints: how far the pass under way has come, committed with what it covers.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use roaring::RoaringTreemap;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, StoreError};
use crate::model::{Cursor, EntryPath};

/// A pass that can be gone on with.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The pass.
    pub pass: i64,
    /// Where its listing goes on.
    pub cursor: Cursor,
    /// What it knows of the entries before the cursor.
    pub tally: Tally,
}

/// What a pass has learnt of entries whose rows it left alone. Bounded: about a bit an entry.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Keys of entries that are still there, but whose rows this pass did not write.
    pub seen: RoaringTreemap,
    /// Keys of entries that are still there but no longer pass the filters.
    pub drifted: RoaringTreemap,
    /// Prefixes that could not be listed, each ending with `/`.
    pub unlisted: Vec<EntryPath>,
}

/// The checkpoint of the sync's pass under way, if there is one.
///
/// # Errors
/// SQLite's, or when it cannot be read back.
pub fn load(connection: &Connection, sync_key: i64) -> Result<Option<Checkpoint>> {
    connection
        .prepare_cached(
            "SELECT pass, cursor, seen, drifted, unlisted FROM checkpoints WHERE sync_key = ?1",
        )?
        .query_row([sync_key], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, Vec<u8>>(2)?,
                row.get::<_, Vec<u8>>(3)?,
                row.get::<_, String>(4)?,
            ))
        })
        .optional()?
        .map(|(pass, cursor, seen, drifted, unlisted)| {
            Ok(Checkpoint {
                pass,
                cursor: Cursor(cursor),
                tally: Tally {
                    seen: bitmap(&seen)?,
                    drifted: bitmap(&drifted)?,
                    unlisted: prefixes(&unlisted)?,
                },
            })
        })
        .transpose()
}

fn bitmap(bytes: &[u8]) -> Result<RoaringTreemap> {
    RoaringTreemap::deserialize_from(bytes).map_err(|e| StoreError::nonsense("checkpoint", e))
}

fn prefixes(json: &str) -> Result<Vec<EntryPath>> {
    let texts: Vec<String> =
        serde_json::from_str(json).map_err(|e| StoreError::nonsense("checkpoint", e))?;
    texts
        .iter()
        .map(|text| BASE64_STANDARD.decode(text).map(EntryPath::new))
        .collect::<Result<_, _>>()
        .map_err(|e| StoreError::nonsense("checkpoint", e))
}

/// Writes the checkpoint, in the transaction that commits what it covers.
///
/// # Errors
/// SQLite's.
pub fn save(
    tx: &Transaction<'_>,
    sync_key: i64,
    pass: i64,
    cursor: &Cursor,
    tally: &Tally,
    now: Timestamp,
) -> Result<()> {
    let bytes = |bitmap: &RoaringTreemap| {
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        bitmap
            .serialize_into(&mut bytes)
            .map(|()| bytes)
            .map_err(|e| StoreError::nonsense("checkpoint", e))
    };
    let unlisted: Vec<String> =
        tally.unlisted.iter().map(|prefix| BASE64_STANDARD.encode(prefix.as_bytes())).collect();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO checkpoints
             (sync_key, pass, cursor, seen, drifted, unlisted, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        sync_key,
        pass,
        cursor.0,
        bytes(&tally.seen)?,
        bytes(&tally.drifted)?,
        serde_json::to_string(&unlisted).map_err(|e| StoreError::nonsense("checkpoint", e))?,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Begins a new pass: forgets the old checkpoint and gives out the next number.
///
/// # Errors
/// SQLite's.
pub fn begin_pass(tx: &Transaction<'_>, sync_key: i64) -> Result<i64> {
    forget(tx, sync_key)?;
    Ok(tx
        .prepare_cached(
            "UPDATE syncs SET last_pass = last_pass + 1 WHERE sync_key = ?1 RETURNING last_pass",
        )?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Forgets the checkpoint: the pass is done.
///
/// # Errors
/// SQLite's.
pub fn forget(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM checkpoints WHERE sync_key = ?1")?.execute([sync_key])?;
    Ok(())
}
