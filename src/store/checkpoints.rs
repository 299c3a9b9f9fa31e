//! Checkpoints: how far the pass under way has come in each shard of its source, committed with what
//! that covers.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use roaring::RoaringTreemap;
use rusqlite::{Connection, Row, Transaction, params};

use super::{Result, StoreError, commit::Target, json, time};
use crate::model::{Cursor, EntryPath, Shard};

/// A pass that can be gone on with.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The pass.
    pub pass: i64,
    /// The shards that it has begun.
    pub shards: Vec<Reached>,
}

/// How far a pass has come in a shard.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The shard's name.
    pub shard: String,
    /// Where it has come to.
    pub place: Place,
    /// What it knows of the shard's entries that lie behind.
    pub tally: Tally,
    /// Entries that were dealt with since this was written down last.
    pub processed: u64,
    /// What it holds good for.
    pub basis: Basis,
}

/// A place in the listing of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its beginning, and nowhere else: it is listed in no order.
    Beginning,
    /// Behind this cursor.
    Behind(Cursor),
    /// Its end.
    End,
}

/// What a checkpoint holds good for: of another root it proves nothing, and under other settings
/// entries would be judged otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The root that was listed, see `sources::RootIdentity`.
    pub root: Option<String>,
    /// The settings, see [`crate::model::SyncOptions::judgement`].
    pub judged_by: i64,
}

impl Checkpoint {
    /// Whether a run that lists these shards on that basis goes on from here. It does while shards
    /// are added, which it lists from their beginning; but rows that were written of a shard which is
    /// no longer listed would count as found.
    #[must_use]
    pub fn suits(&self, shards: &[Shard], basis: &Basis) -> bool {
        self.shards.iter().all(|reached| {
            reached.basis == *basis && shards.iter().any(|shard| shard.name() == reached.shard)
        })
    }
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
    /// Adds what another one knows.
    pub fn join(&mut self, other: Self) {
        self.seen |= other.seen;
        self.drifted |= other.drifted;
        self.unlisted.extend(other.unlisted);
    }

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
            .push(reached(row)?);
    }
    Ok(checkpoint)
}

fn reached(row: &Row<'_>) -> Result<Reached> {
    let place = match row.get::<_, Option<Vec<u8>>>(2)? {
        _ if row.get(6)? => Place::End,
        Some(cursor) => Place::Behind(Cursor(cursor)),
        None => Place::Beginning,
    };
    let tally = Tally {
        seen: bitmap(&row.get::<_, Vec<u8>>(3)?)?,
        drifted: bitmap(&row.get::<_, Vec<u8>>(4)?)?,
        unlisted: prefixes(&row.get::<_, String>(5)?)?,
    };
    let basis = Basis { root: row.get(7)?, judged_by: row.get(8)? };
    Ok(Reached { shard: row.get(1)?, place, tally, processed: 0, basis })
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

/// Writes down how far a shard has come, in the transaction that commits what that covers.
///
/// # Errors
/// SQLite's.
pub fn reach(
    tx: &Transaction<'_>,
    target: &Target,
    reached: &Reached,
    now: Timestamp,
) -> Result<()> {
    let nothing = Tally::default();
    let (cursor, is_done, tally) = match &reached.place {
        // What it knows it learns again.
        Place::Beginning => (None, false, &nothing),
        Place::Behind(cursor) => (Some(&cursor.0), false, &reached.tally),
        Place::End => (None, true, &reached.tally),
    };
    let unlisted: Vec<String> =
        tally.unlisted.iter().map(|prefix| BASE64_STANDARD.encode(prefix.as_bytes())).collect();
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
        reached.shard,
        target.pass,
        cursor,
        is_done,
        bytes_of(&tally.seen)?,
        bytes_of(&tally.drifted)?,
        serde_json::to_string(&unlisted).map_err(|e| StoreError::nonsense("checkpoint", e))?,
        reached.processed,
        reached.basis.root,
        reached.basis.judged_by,
        target.modified_since.map(Timestamp::as_millisecond),
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

/// Forgets where the pass has come to: it starts over.
///
/// # Errors
/// SQLite's.
pub fn forget(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE checkpoints
         SET cursor = NULL, is_done = 0, seen = x'', drifted = x'', unlisted = '[]'
         WHERE sync_key = ?1",
    )?
    .execute([sync_key])?;
    Ok(())
}

/// Forgets shards that are no longer listed: should they come back, they are new.
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

/// A pass is complete: there is nothing to go on from, but what it came to is remembered.
///
/// # Errors
/// SQLite's.
pub fn complete(
    tx: &Transaction<'_>,
    target: &Target,
    shards: &[Shard],
    now: Timestamp,
) -> Result<()> {
    // A shard that was done before has its own time.
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
    forget(tx, target.fence.sync_key)
}

/// A shard's progress, as a person may look at it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The shard; [`Shard::WHOLE`] where there are none.
    pub shard: String,
    /// The pass it is at, or completed last.
    pub pass: i64,
    /// Where the pass goes on, if it is under way.
    pub cursor: Option<Cursor>,
    /// Entries dealt with over all passes.
    pub objects_processed: u64,
    /// Entries older than this are not taken.
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
