//! Checkpoints: how far the current pass has come in each shard of its source, committed together
//! with the entries that it covers.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use roaring::RoaringTreemap;
use rusqlite::{Connection, Row, Transaction, params};

pub use super::target::Basis;
use super::{Result, StoreError, feeds, json, target::Target, time};
use crate::model::{Cursor, EntryPath, Shard};

/// A pass that can be resumed.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The pass.
    pub pass: i64,
    /// The shards that it has begun.
    pub shards: Vec<ShardCheckpoint>,
}

/// How far a pass has come in a shard.
#[derive(Clone, Debug)]
pub struct ShardCheckpoint {
    /// The shard's name.
    pub shard: String,
    /// Where its listing continues.
    pub position: Position,
    /// What the pass knows of the shard's entries before that position.
    pub sightings: Sightings,
    /// Entries that were processed since the last checkpoint.
    pub processed: u64,
    /// What it is valid for.
    pub basis: Basis,
}

/// Where the listing of a shard continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// At its beginning, because it can only be listed from there.
    Beginning,
    /// Behind this cursor.
    Behind(Cursor),
    /// Nowhere: all of it is listed.
    End,
    /// In the change feed of the shard: its listing is complete, or not part of the pass.
    Feed {
        /// Where the feed continues.
        token: Cursor,
        /// Whether this is the replay that ends a full pass.
        is_replay: bool,
    },
}

impl Checkpoint {
    /// Whether a run that lists these shards on that basis can resume from here. It can while
    /// shards are added, which it lists from their beginning; but rows that were written for a
    /// shard that is no longer listed would count as found.
    #[must_use]
    pub fn is_valid_for(&self, shards: &[Shard], basis: &Basis) -> bool {
        self.shards.iter().all(|saved| {
            saved.basis == *basis && shards.iter().any(|shard| shard.name() == saved.shard)
        })
    }
}

/// What a pass knows of entries whose rows it did not write. Bounded: about a bit per entry.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    /// Keys of entries that are listed, but whose rows this pass did not write.
    pub seen: RoaringTreemap,
    /// Keys of entries that are listed but no longer pass the filters.
    pub drifted: RoaringTreemap,
    /// Prefixes that could not be listed, each ending with `/`.
    pub unlisted: Vec<EntryPath>,
}

impl Sightings {
    /// Adds what `other` knows.
    pub fn join(&mut self, other: Self) {
        self.seen |= other.seen;
        self.drifted |= other.drifted;
        self.unlisted.extend(other.unlisted);
    }

    /// Whether a complete pass that knows this, and did not write the row of `key`, proves that its
    /// entry is gone.
    #[must_use]
    pub fn proves_gone(&self, key: i64, path: &EntryPath) -> bool {
        let listed = u64::try_from(key)
            .is_ok_and(|key| self.seen.contains(key) || self.drifted.contains(key));
        !listed && !self.is_unlisted(path)
    }

    /// Whether a path is below a prefix that could not be listed.
    #[must_use]
    pub fn is_unlisted(&self, path: &EntryPath) -> bool {
        self.unlisted.iter().any(|prefix| path.as_bytes().starts_with(prefix.as_bytes()))
    }
}

/// The checkpoint of the sync's current pass, if there is one.
///
/// # Errors
/// SQLite's, or when it cannot be read back.
pub fn load(connection: &Connection, sync_key: i64) -> Result<Option<Checkpoint>> {
    let mut statement = connection.prepare_cached(
        "SELECT pass, shard, cursor, seen, drifted, unlisted, is_done, root, coalesce(judged_by, 0)
         FROM checkpoints WHERE sync_key = ?1 AND (cursor IS NOT NULL OR is_done) ORDER BY shard",
    )?;
    let mut rows = statement.query([sync_key])?;
    let mut checkpoint = None;
    while let Some(row) = rows.next()? {
        let pass = row.get(0)?;
        checkpoint
            .get_or_insert_with(|| Checkpoint { pass, shards: Vec::new() })
            .shards
            .push(read(row)?);
    }
    Ok(checkpoint)
}

fn read(row: &Row<'_>) -> Result<ShardCheckpoint> {
    let position = match row.get::<_, Option<Vec<u8>>>(2)? {
        _ if row.get(6)? => Position::End,
        Some(cursor) => Position::Behind(Cursor(cursor)),
        None => Position::Beginning,
    };
    let sightings = Sightings {
        seen: bitmap(&row.get::<_, Vec<u8>>(3)?)?,
        drifted: bitmap(&row.get::<_, Vec<u8>>(4)?)?,
        unlisted: prefixes(&row.get::<_, String>(5)?)?,
    };
    let basis = Basis { root: row.get(7)?, rules_hash: row.get(8)? };
    Ok(ShardCheckpoint { shard: row.get(1)?, position, sightings, processed: 0, basis })
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

/// Saves the checkpoint of a shard, in the transaction that commits what it covers.
///
/// # Errors
/// SQLite's.
pub fn save(
    tx: &Transaction<'_>,
    target: &Target,
    checkpoint: &ShardCheckpoint,
    now: Timestamp,
) -> Result<()> {
    let nothing = Sightings::default();
    let (cursor, is_done, sightings) = match &checkpoint.position {
        // The whole shard is listed again.
        Position::Beginning => (None, false, &nothing),
        Position::Behind(cursor) => (Some(&cursor.0), false, &checkpoint.sightings),
        Position::End | Position::Feed { is_replay: true, .. } => {
            (None, true, &checkpoint.sightings)
        }
        // What a changes pass finds is not remembered: what it does not find says nothing.
        Position::Feed { is_replay: false, .. } => (None, false, &nothing),
    };
    if let Position::Feed { token, is_replay } = &checkpoint.position {
        feeds::advance(tx, target, &checkpoint.shard, token, *is_replay)?;
    }
    let unlisted: Vec<String> =
        sightings.unlisted.iter().map(|prefix| BASE64_STANDARD.encode(prefix.as_bytes())).collect();
    tx.prepare_cached(
        "INSERT INTO checkpoints
             (sync_key, shard, pass, cursor, is_done, seen, drifted, unlisted, objects_processed,
              root, judged_by, modified_since_ms, completed_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, iif(?5, ?13, NULL), ?13)
         ON CONFLICT (sync_key, shard) DO UPDATE SET
             pass = excluded.pass, cursor = excluded.cursor, is_done = excluded.is_done,
             seen = excluded.seen, drifted = excluded.drifted, unlisted = excluded.unlisted,
             objects_processed = objects_processed + excluded.objects_processed,
             root = excluded.root, judged_by = excluded.judged_by,
             modified_since_ms = excluded.modified_since_ms,
             completed_at_ms = coalesce(excluded.completed_at_ms, completed_at_ms),
             updated_at_ms = excluded.updated_at_ms",
    )?
    .execute(params![
        target.fence.sync_key,
        checkpoint.shard,
        target.pass,
        cursor,
        is_done,
        bytes_of(&sightings.seen)?,
        bytes_of(&sightings.drifted)?,
        serde_json::to_string(&unlisted).map_err(|e| StoreError::nonsense("checkpoint", e))?,
        checkpoint.processed,
        checkpoint.basis.root,
        checkpoint.basis.rules_hash,
        target.modified_since.map(Timestamp::as_millisecond),
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Begins a new pass: resets the old checkpoint and returns the number of the pass.
///
/// # Errors
/// SQLite's.
pub fn begin_pass(tx: &Transaction<'_>, sync_key: i64) -> Result<i64> {
    reset(tx, sync_key)?;
    Ok(tx
        .prepare_cached(
            "UPDATE syncs SET last_pass = last_pass + 1, pass_entries = 0, pass_base =
                 (SELECT coalesce(sum(objects_processed), 0) FROM checkpoints c
                  WHERE c.sync_key = syncs.sync_key)
             WHERE sync_key = ?1 RETURNING last_pass",
        )?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Resets the checkpoint: the next pass starts at the beginning.
///
/// # Errors
/// SQLite's.
pub fn reset(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE checkpoints
         SET cursor = NULL, is_done = 0, seen = x'', drifted = x'', unlisted = '[]'
         WHERE sync_key = ?1",
    )?
    .execute([sync_key])?;
    Ok(())
}

/// Deletes shards that are no longer listed: if they come back, they are new.
///
/// # Errors
/// SQLite's.
pub fn retain(tx: &Transaction<'_>, sync_key: i64, shards: &[Shard]) -> Result<()> {
    let names: Vec<&str> = shards.iter().map(Shard::name).collect();
    tx.prepare_cached(
        "DELETE FROM checkpoints
         WHERE sync_key = ?1 AND shard NOT IN (SELECT value FROM json_each(?2))",
    )?
    .execute(params![sync_key, json::write("shards", &names)?])?;
    Ok(())
}

/// Records that a pass is complete: there is nothing to resume, but its progress stays visible.
///
/// # Errors
/// SQLite's.
pub fn complete(
    tx: &Transaction<'_>,
    target: &Target,
    shards: &[Shard],
    now: Timestamp,
) -> Result<()> {
    // A shard that was completed earlier has its own time.
    let mut insert = tx.prepare_cached(
        "INSERT INTO checkpoints
             (sync_key, shard, pass, seen, drifted, unlisted, completed_at_ms, updated_at_ms,
              modified_since_ms)
         VALUES (?1, ?2, ?3, x'', x'', '[]', ?4, ?4, ?5)
         ON CONFLICT (sync_key, shard) DO UPDATE SET
             pass = excluded.pass,
             completed_at_ms = iif(is_done, completed_at_ms, excluded.completed_at_ms),
             updated_at_ms = excluded.updated_at_ms,
             modified_since_ms = excluded.modified_since_ms",
    )?;
    for shard in shards {
        insert.execute(params![
            target.fence.sync_key,
            shard.name(),
            target.pass,
            now.as_millisecond(),
            target.modified_since.map(Timestamp::as_millisecond),
        ])?;
    }
    reset(tx, target.fence.sync_key)
}

/// A shard's progress, as people see it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The shard; [`Shard::WHOLE`] where there are none.
    pub shard: String,
    /// The pass it is at, or completed last.
    pub pass: i64,
    /// Where the current pass continues, if there is one.
    pub cursor: Option<Cursor>,
    /// Entries processed over all passes.
    pub objects_processed: u64,
    /// Entries older than this are not synced.
    pub modified_since: Option<Timestamp>,
    /// When it was listed to its end last.
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
