//! Checkpoints: how far the pass under way has come, committed with what it covers.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use roaring::RoaringTreemap;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, StoreError, commit::Target, time};
use crate::model::{Cursor, EntryPath};

/// The one shard of a source that has none.
pub const WHOLE: &str = "__default__";

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

impl Tally {
    /// Whether a complete pass that came to this, and did not write the row of `key`, proves that
    /// its entry is gone.
    #[must_use]
    pub fn proves_gone(&self, key: i64, path: &EntryPath) -> bool {
        let listed = u64::try_from(key)
            .is_ok_and(|key| self.seen.contains(key) || self.drifted.contains(key));
        !listed && !self.is_unlisted(path)
    }

    /// Whether a path lies beneath what could not be listed.
    #[must_use]
    pub fn is_unlisted(&self, path: &EntryPath) -> bool {
        self.unlisted.iter().any(|prefix| path.as_bytes().starts_with(prefix.as_bytes()))
    }
}

/// The checkpoint of the sync's pass under way, if there is one.
///
/// # Errors
/// SQLite's, or when it cannot be read back.
pub fn load(connection: &Connection, sync_key: i64) -> Result<Option<Checkpoint>> {
    connection
        .prepare_cached(
            "SELECT pass, cursor, seen, drifted, unlisted FROM checkpoints
             WHERE sync_key = ?1 AND shard = ?2 AND cursor IS NOT NULL",
        )?
        .query_row(params![sync_key, WHOLE], |row| {
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

/// A bitmap out of a stored blob column.
pub(super) fn bitmap(bytes: &[u8]) -> Result<RoaringTreemap> {
    RoaringTreemap::deserialize_from(bytes).map_err(|e| StoreError::nonsense("checkpoint", e))
}

/// A bitmap as it is stored.
pub(super) fn bytes_of(bitmap: &RoaringTreemap) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap
        .serialize_into(&mut bytes)
        .map(|()| bytes)
        .map_err(|e| StoreError::nonsense("checkpoint", e))
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
    target: &Target,
    cursor: &Cursor,
    tally: &Tally,
    now: Timestamp,
) -> Result<()> {
    let unlisted: Vec<String> =
        tally.unlisted.iter().map(|prefix| BASE64_STANDARD.encode(prefix.as_bytes())).collect();
    tx.prepare_cached(
        "INSERT INTO checkpoints
             (sync_key, shard, pass, cursor, seen, drifted, unlisted, updated_at_ms,
              modified_since_ms)
         VALUES (?1, ?8, ?2, ?3, ?4, ?5, ?6, ?7, ?9)
         ON CONFLICT (sync_key, shard) DO UPDATE SET
             pass = excluded.pass, cursor = excluded.cursor, seen = excluded.seen,
             drifted = excluded.drifted, unlisted = excluded.unlisted,
             updated_at_ms = excluded.updated_at_ms,
             modified_since_ms = excluded.modified_since_ms",
    )?
    .execute(params![
        target.fence.sync_key,
        target.pass,
        cursor.0,
        bytes_of(&tally.seen)?,
        bytes_of(&tally.drifted)?,
        serde_json::to_string(&unlisted).map_err(|e| StoreError::nonsense("checkpoint", e))?,
        now.as_millisecond(),
        WHOLE,
        target.modified_since.map(Timestamp::as_millisecond),
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

/// Forgets where the pass has come to: it starts over.
///
/// # Errors
/// SQLite's.
pub fn forget(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE checkpoints SET cursor = NULL, seen = x'', drifted = x'', unlisted = '[]'
         WHERE sync_key = ?1",
    )?
    .execute([sync_key])?;
    Ok(())
}

/// A pass is complete: there is nothing to go on from, but what it came to is remembered.
///
/// # Errors
/// SQLite's.
pub fn complete(tx: &Transaction<'_>, target: &Target, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO checkpoints
             (sync_key, shard, pass, seen, drifted, unlisted, completed_at_ms, updated_at_ms,
              modified_since_ms)
         VALUES (?1, ?2, ?3, x'', x'', '[]', ?4, ?4, ?5)
         ON CONFLICT (sync_key, shard) DO UPDATE SET
             pass = excluded.pass, cursor = NULL, seen = x'', drifted = x'', unlisted = '[]',
             completed_at_ms = excluded.completed_at_ms, updated_at_ms = excluded.updated_at_ms,
             modified_since_ms = excluded.modified_since_ms",
    )?
    .execute(params![
        target.fence.sync_key,
        WHOLE,
        target.pass,
        now.as_millisecond(),
        target.modified_since.map(Timestamp::as_millisecond),
    ])?;
    Ok(())
}

/// Counts entries that the pass under way has dealt with.
///
/// # Errors
/// SQLite's.
pub fn processed(
    tx: &Transaction<'_>,
    target: &Target,
    entries: u64,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO checkpoints
             (sync_key, shard, pass, seen, drifted, unlisted, objects_processed, updated_at_ms,
              modified_since_ms)
         VALUES (?1, ?2, ?3, x'', x'', '[]', ?4, ?5, ?6)
         ON CONFLICT (sync_key, shard) DO UPDATE SET
             objects_processed = objects_processed + excluded.objects_processed",
    )?
    .execute(params![
        target.fence.sync_key,
        WHOLE,
        target.pass,
        entries,
        now.as_millisecond(),
        target.modified_since.map(Timestamp::as_millisecond),
    ])?;
    Ok(())
}

/// A shard's progress, as a person may look at it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The shard; [`WHOLE`] where there are none.
    pub shard: String,
    /// The pass it is at, or completed last.
    pub pass: i64,
    /// Where the pass goes on, if it is under way.
    pub cursor: Option<Cursor>,
    /// Entries dealt with over all passes.
    pub objects_processed: u64,
    /// Entries older than this are not taken.
    pub modified_since: Option<Timestamp>,
    /// When a pass was complete last.
    pub completed_at: Option<Timestamp>,
    /// When any of this changed last.
    pub updated_at: Timestamp,
}

/// The progress of every shard of a sync.
///
/// # Errors
/// SQLite's.
pub fn progress(connection: &Connection, sync_key: i64) -> Result<Vec<Progress>> {
    let mut statement = connection.prepare_cached(
        "SELECT shard, pass, cursor, objects_processed, modified_since_ms, completed_at_ms,
                updated_at_ms
         FROM checkpoints WHERE sync_key = ?1 ORDER BY shard",
    )?;
    let shards = statement
        .query_map([sync_key], |row| {
            Ok(Progress {
                shard: row.get(0)?,
                pass: row.get(1)?,
                cursor: row.get::<_, Option<Vec<u8>>>(2)?.map(Cursor),
                objects_processed: row.get(3)?,
                modified_since: row.get::<_, Option<i64>>(4)?.map(time::from_ms),
                completed_at: row.get::<_, Option<i64>>(5)?.map(time::from_ms),
                updated_at: time::from_ms(row.get(6)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(shards)
}
