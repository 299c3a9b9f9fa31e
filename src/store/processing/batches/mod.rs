//! Batches: made, found, listed, removed. `filling` says which objects are in one, and `states`
//! how one goes from a draft to its end. What a tier of one comes to is its task's.

mod filling;
mod states;

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::{Map, Value, json};

use crate::{
    model::{BatchId, BatchStatus, Dedup},
    store::{Result, StoreError, json, time},
};

pub(in crate::store::processing) use filling::add_waiting;
pub use filling::{
    add_keys, add_objects, add_unknown, forget_members, has_members_before, object_ids,
};
pub use states::{
    all_ended, begin_tier, begin_with, cancel, cancel_of_bucket, end, is_wanted, make_draft,
    queue_again, submit,
};

/// A batch as the database knows it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: BatchId,
    /// Internal key of the bucket that its objects are in.
    pub bucket_key: i64,
    /// Internal key of the sync that made it.
    pub sync_key: Option<i64>,
    /// Internal key of the trigger's task that made it.
    pub trigger_key: Option<i64>,
    /// What somebody calls it.
    pub name: Option<String>,
    /// How it stands.
    pub status: BatchStatus,
    /// Whether it waits behind what is fresh.
    pub is_backfill: bool,
    /// What is done about objects that were extracted before.
    pub dedup: Dedup,
    /// Internal keys of the collections that it is for; `None`: all that take from its bucket.
    pub collections: Option<Vec<i64>>,
    /// Internal keys of its collections by tier; `None` before it is submitted.
    pub tiers: Option<Vec<Vec<i64>>>,
    /// The tier that is under way, or that it begins with.
    pub tier: u32,
    /// How many objects it has.
    pub object_count: u64,
    /// What its maker wants to keep with it.
    pub metadata: Map<String, Value>,
    /// Whom to notify when it ends.
    pub webhook_url: Option<String>,
    /// Why it failed as a whole.
    pub error: Option<String>,
    /// How often somebody retried it.
    pub retries: u32,
    /// How the last of these was asked for.
    pub retry_reason: Option<String>,
    /// When that was.
    pub retried_at: Option<Timestamp>,
    /// How often it went on after its processor had died.
    pub restarts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was submitted.
    pub submitted_at: Option<Timestamp>,
    /// When its first object was looked at.
    pub started_at: Option<Timestamp>,
    /// When something happened last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// What a batch is made of.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Public id.
    pub id: BatchId,
    /// See [`Batch`].
    pub bucket_key: i64,
    /// See [`Batch`].
    pub sync_key: Option<i64>,
    /// See [`Batch`].
    pub trigger_key: Option<i64>,
    /// See [`Batch`].
    pub name: Option<String>,
    /// See [`Batch`].
    pub is_backfill: bool,
    /// See [`Batch`].
    pub dedup: Dedup,
    /// See [`Batch`].
    pub collections: Option<Vec<i64>>,
    /// See [`Batch`].
    pub metadata: Map<String, Value>,
}

impl Default for NewBatch {
    fn default() -> Self {
        Self {
            id: BatchId::generate(),
            bucket_key: 0,
            sync_key: None,
            trigger_key: None,
            name: None,
            is_backfill: false,
            dedup: Dedup::Skip,
            collections: None,
            metadata: Map::new(),
        }
    }
}

const COLUMNS: &str = "batch_key, id, bucket_key, sync_key, trigger_key, name, status, is_backfill,
     dedup, collections, tiers, tier, object_count, metadata, webhook_url, error, retries,
     retry_reason, retried_at_ms, restarts, created_at_ms, submitted_at_ms, started_at_ms,
     updated_at_ms, completed_at_ms";

fn read(row: &Row<'_>) -> Result<Batch> {
    let parsed = |index: usize| row.get::<_, Option<String>>(index);
    let at = |index: usize| -> Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(index)?.map(time::from_ms))
    };
    let status: String = row.get(6)?;
    let dedup: String = row.get(8)?;
    Ok(Batch {
        key: row.get(0)?,
        id: BatchId::from_stored(row.get(1)?),
        bucket_key: row.get(2)?,
        sync_key: row.get(3)?,
        trigger_key: row.get(4)?,
        name: row.get(5)?,
        status: BatchStatus::parse(&status)
            .ok_or_else(|| StoreError::nonsense("batch", &status))?,
        is_backfill: row.get(7)?,
        dedup: Dedup::parse(&dedup),
        collections: parsed(9)?.map(|text| json::read("batch", &text)).transpose()?,
        tiers: parsed(10)?.map(|text| json::read("batch", &text)).transpose()?,
        tier: row.get(11)?,
        object_count: row.get(12)?,
        metadata: parsed(13)?
            .map(|text| json::read("batch", &text))
            .transpose()?
            .unwrap_or_default(),
        webhook_url: row.get(14)?,
        error: row.get(15)?,
        retries: row.get(16)?,
        retry_reason: row.get(17)?,
        retried_at: at(18)?,
        restarts: row.get(19)?,
        created_at: time::from_ms(row.get(20)?),
        submitted_at: at(21)?,
        started_at: at(22)?,
        updated_at: time::from_ms(row.get(23)?),
        completed_at: at(24)?,
    })
}

fn several(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Batch>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM batches {rest}"))?;
    let mut rows = statement.query(values)?;
    let mut batches = Vec::new();
    while let Some(row) = rows.next()? {
        batches.push(read(row)?);
    }
    Ok(batches)
}

/// The batch of that id in a bucket.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, bucket_key: i64, id: &str) -> Result<Option<Batch>> {
    Ok(several(connection, "WHERE id = ?1 AND bucket_key = ?2", params![id, bucket_key])?.pop())
}

/// The batch with that key, if it is there.
///
/// # Errors
/// SQLite's.
pub fn by_key(connection: &Connection, key: i64) -> Result<Option<Batch>> {
    Ok(several(connection, "WHERE batch_key = ?1", [key])?.pop())
}

/// Which batches of a bucket are wanted.
#[derive(Clone, Debug, Default)]
pub struct BatchFilter {
    /// Of that status.
    pub status: Option<BatchStatus>,
    /// Of that collection, by its internal key.
    pub collection: Option<i64>,
}

/// Up to `limit` batches of a bucket before a key, the newest first, `skip` left out.
///
/// # Errors
/// SQLite's.
pub fn page(
    connection: &Connection,
    bucket_key: i64,
    wanted: &BatchFilter,
    before: Option<i64>,
    skip: u64,
    limit: u32,
) -> Result<Vec<Batch>> {
    let rest = format!(
        "WHERE bucket_key = ?1 AND batch_key < ?2 AND {WANTED} ORDER BY batch_key DESC
         LIMIT ?5 OFFSET ?6"
    );
    several(
        connection,
        &rest,
        params![
            bucket_key,
            before.unwrap_or(i64::MAX),
            wanted.status.map(BatchStatus::as_str),
            wanted.collection,
            limit,
            skip
        ],
    )
}

const WANTED: &str = "(?3 IS NULL OR status = ?3)
     AND (?4 IS NULL OR EXISTS (SELECT 1 FROM json_tree(coalesce(tiers, collections, '[]')) j
                                WHERE j.type = 'integer' AND j.value = ?4))";

/// How many batches of a bucket there are of those that are wanted.
///
/// # Errors
/// SQLite's.
pub fn count(connection: &Connection, bucket_key: i64, wanted: &BatchFilter) -> Result<u64> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM batches WHERE bucket_key = ?1 AND batch_key < ?2 AND {WANTED}"
        ))?
        .query_row(
            params![
                bucket_key,
                i64::MAX,
                wanted.status.map(BatchStatus::as_str),
                wanted.collection
            ],
            |row| row.get(0),
        )?)
}

/// Batches of a bucket by status.
///
/// # Errors
/// SQLite's.
pub fn by_status(connection: &Connection, bucket_key: i64) -> Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT status, count(*) FROM batches WHERE bucket_key = ?1 GROUP BY status",
    )?;
    let counts = statement
        .query_map([bucket_key], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(counts)
}

/// Drafts of a bucket, the oldest first.
///
/// # Errors
/// SQLite's.
pub fn drafts(connection: &Connection, bucket_key: i64) -> Result<Vec<Batch>> {
    several(
        connection,
        "WHERE bucket_key = ?1 AND status = 'DRAFT' ORDER BY batch_key",
        [bucket_key],
    )
}

/// The oldest batches that wait or are under way, fresh ones first.
///
/// # Errors
/// SQLite's.
pub fn open(connection: &Connection, limit: u32) -> Result<Vec<Batch>> {
    several(
        connection,
        "INDEXED BY batches_open WHERE status IN ('PENDING', 'IN_PROGRESS')
         ORDER BY is_backfill, batch_key LIMIT ?1",
        [limit],
    )
}

/// Whether a batch is under way that a collection takes part in.
///
/// # Errors
/// SQLite's.
pub fn runs_for(connection: &Connection, collection_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM batches INDEXED BY batches_open, json_tree(tiers) j
             WHERE status IN ('PENDING', 'IN_PROGRESS') AND status = 'IN_PROGRESS'
               AND j.type = 'integer' AND j.value = ?1",
        )?
        .exists([collection_key])?)
}

/// How many batches stand before this one.
///
/// # Errors
/// SQLite's.
pub fn queue_position(connection: &Connection, batch: &Batch) -> Result<u64> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM batches INDEXED BY batches_open
             WHERE status IN ('PENDING', 'IN_PROGRESS') AND (is_backfill, batch_key) < (?1, ?2)",
        )?
        .query_row(params![batch.is_backfill, batch.key], |row| row.get(0))?)
}

/// The batches of a sync.
#[derive(Clone, Debug, Default)]
pub struct OfSync {
    /// Public ids of the last 1000, the newest first.
    pub batch_ids: Vec<String>,
    /// Public ids of the tasks of their first tiers.
    pub task_ids: Vec<String>,
    /// How many it made in all.
    pub count: u64,
}

/// The batches that a sync made.
///
/// # Errors
/// SQLite's.
pub fn of_sync(connection: &Connection, sync_key: i64) -> Result<OfSync> {
    const TOLD: u32 = 1000;
    let list = |sql: &str| -> Result<Vec<String>> {
        let ids = connection
            .prepare_cached(sql)?
            .query_map(params![sync_key, TOLD], |row| row.get(0))?
            .collect::<std::result::Result<_, _>>()?;
        Ok(ids)
    };
    let batch_ids =
        list("SELECT id FROM batches WHERE sync_key = ?1 ORDER BY batch_key DESC LIMIT ?2")?;
    if batch_ids.is_empty() {
        return Ok(OfSync::default());
    }
    let task_ids = list(
        "SELECT t.id FROM batches b JOIN tasks t ON t.batch_key = b.batch_key AND t.tier = 0
         WHERE b.sync_key = ?1 ORDER BY b.batch_key DESC LIMIT ?2",
    )?;
    let count = connection
        .prepare_cached("SELECT count(*) FROM batches WHERE sync_key = ?1")?
        .query_row([sync_key], |row| row.get(0))?;
    Ok(OfSync { batch_ids, task_ids, count })
}

/// Makes a draft. Returns its internal key.
///
/// # Errors
/// SQLite's.
pub fn insert(tx: &Transaction<'_>, batch: &NewBatch, now: Timestamp) -> Result<i64> {
    tx.prepare_cached(
        "INSERT INTO batches (id, bucket_key, sync_key, trigger_key, name, status, is_backfill,
                              dedup, collections, metadata, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, 'DRAFT', ?6, ?7, ?8, ?9, ?10, ?10)",
    )?
    .execute(params![
        batch.id.as_str(),
        batch.bucket_key,
        batch.sync_key,
        batch.trigger_key,
        batch.name,
        batch.is_backfill,
        batch.dedup.as_str(),
        batch.collections.as_ref().map(|keys| json!(keys).to_string()),
        (!batch.metadata.is_empty()).then(|| json!(batch.metadata).to_string()),
        now.as_millisecond(),
    ])?;
    Ok(tx.last_insert_rowid())
}

/// Sets who is notified once when a batch ends.
///
/// # Errors
/// SQLite's.
pub fn set_webhook_url(tx: &Transaction<'_>, batch_key: i64, url: &str) -> Result<()> {
    tx.prepare_cached("UPDATE batches SET webhook_url = ?2 WHERE batch_key = ?1")?
        .execute(params![batch_key, url])?;
    Ok(())
}

/// Keeps what somebody wants with a batch.
///
/// # Errors
/// SQLite's.
pub fn set_metadata(
    tx: &Transaction<'_>,
    batch_key: i64,
    metadata: &Map<String, Value>,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached("UPDATE batches SET metadata = ?2, updated_at_ms = ?3 WHERE batch_key = ?1")?
        .execute(params![batch_key, json!(metadata).to_string(), now.as_millisecond()])?;
    Ok(())
}

/// Says what is done about objects that were extracted before.
///
/// # Errors
/// SQLite's.
pub fn set_dedup(tx: &Transaction<'_>, batch_key: i64, dedup: Dedup) -> Result<()> {
    tx.prepare_cached("UPDATE batches SET dedup = ?2 WHERE batch_key = ?1")?
        .execute(params![batch_key, dedup.as_str()])?;
    Ok(())
}

/// Public ids of a bucket and of its namespace.
///
/// # Errors
/// SQLite's.
pub fn whereabouts(connection: &Connection, bucket_key: i64) -> Result<(String, String)> {
    Ok(connection
        .prepare_cached(
            "SELECT b.id, n.id FROM buckets b JOIN namespaces n USING (namespace_key)
             WHERE bucket_key = ?1",
        )?
        .query_row([bucket_key], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Removes the record of a batch. Its documents stay, without it.
///
/// # Errors
/// SQLite's.
pub fn remove_record(tx: &Transaction<'_>, batch_key: i64) -> Result<()> {
    for statement in [
        "DELETE FROM batch_objects WHERE batch_key = ?1",
        "DELETE FROM tasks WHERE batch_key = ?1",
        "UPDATE documents SET batch_key = NULL WHERE batch_key = ?1",
        "UPDATE outcomes SET batch_key = NULL WHERE batch_key = ?1",
        "DELETE FROM batches WHERE batch_key = ?1",
    ] {
        tx.prepare_cached(statement)?.execute([batch_key])?;
    }
    Ok(())
}

/// Ids of the batches of a trigger, the first first.
///
/// # Errors
/// SQLite's.
pub fn of_trigger(connection: &Connection, trigger_key: i64) -> Result<Vec<Batch>> {
    several(connection, "WHERE trigger_key = ?1 ORDER BY batch_key LIMIT 1000", [trigger_key])
}

/// Removes up to `limit` batches of a bucket that goes. Returns whether there were any.
pub(crate) fn remove_of_bucket(tx: &Transaction<'_>, bucket_key: i64, limit: u32) -> Result<bool> {
    let keys: Vec<i64> = tx
        .prepare_cached("SELECT batch_key FROM batches WHERE bucket_key = ?1 LIMIT ?2")?
        .query_map(params![bucket_key, limit], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    for key in &keys {
        remove_record(tx, *key)?;
    }
    Ok(!keys.is_empty())
}
