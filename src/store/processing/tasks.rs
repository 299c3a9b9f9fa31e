//! Tasks: one view of work that takes a while.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;

use crate::{
    model::{BatchStatus, TaskId, TaskKind},
    store::{Result, StoreError, json, time},
};

/// A task as the database knows it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// Internal key of its namespace.
    pub namespace_key: i64,
    /// Internal key of the batch that it is a tier of.
    pub batch_key: Option<i64>,
    /// Which tier.
    pub tier: Option<u32>,
    /// Internal key of the collection that it is about.
    pub collection_key: Option<i64>,
    /// How it stands.
    pub status: BatchStatus,
    /// What is to be done, and how far it has come.
    pub detail: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// What it has done.
    pub counts: Counts,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When something happened last.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// What a tier has done, in objects x collections; and in documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To be done in all.
    pub submitted: u64,
    /// Extracted.
    pub processed: u64,
    /// Failed.
    pub failed: u64,
    /// Settled before, gone, not taken by the extractor or the filter.
    pub skipped: u64,
    /// Documents that were written.
    pub documents: u64,
    /// Of those, over earlier ones.
    pub replaced: u64,
}

/// What a task belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Of {
    /// A tier of a batch.
    pub batch: Option<(i64, u32)>,
    /// A collection.
    pub collection_key: Option<i64>,
}

const COLUMNS: &str = "task_key, id, kind, namespace_key, batch_key, tier, collection_key, status,
     detail, error, submitted, processed, failed, skipped, documents, replaced, created_at_ms,
     started_at_ms, updated_at_ms, completed_at_ms";

fn read(row: &Row<'_>) -> Result<Task> {
    let at = |index: usize| -> Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(index)?.map(time::from_ms))
    };
    let (kind, status, detail): (String, String, String) = (row.get(2)?, row.get(7)?, row.get(8)?);
    Ok(Task {
        key: row.get(0)?,
        id: TaskId::from_stored(row.get(1)?),
        kind: TaskKind::parse(&kind).ok_or_else(|| StoreError::nonsense("task", &kind))?,
        namespace_key: row.get(3)?,
        batch_key: row.get(4)?,
        tier: row.get(5)?,
        collection_key: row.get(6)?,
        status: BatchStatus::parse(&status).ok_or_else(|| StoreError::nonsense("task", &status))?,
        detail: json::read("task", &detail)?,
        error: row.get(9)?,
        counts: Counts {
            submitted: row.get(10)?,
            processed: row.get(11)?,
            failed: row.get(12)?,
            skipped: row.get(13)?,
            documents: row.get(14)?,
            replaced: row.get(15)?,
        },
        created_at: time::from_ms(row.get(16)?),
        started_at: at(17)?,
        updated_at: time::from_ms(row.get(18)?),
        completed_at: at(19)?,
    })
}

fn several(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Task>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks {rest}"))?;
    let mut rows = statement.query(values)?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(read(row)?);
    }
    Ok(tasks)
}

/// Makes a task that waits. Returns its internal key and its id.
///
/// # Errors
/// SQLite's.
pub fn insert(
    tx: &Transaction<'_>,
    kind: TaskKind,
    namespace_key: i64,
    of: &Of,
    detail: &Value,
    now: Timestamp,
) -> Result<(i64, TaskId)> {
    let id = TaskId::generate();
    tx.prepare_cached(
        "INSERT INTO tasks (id, kind, namespace_key, batch_key, tier, collection_key, status,
                            detail, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'PENDING', ?7, ?8, ?8)",
    )?
    .execute(params![
        id.as_str(),
        kind.as_str(),
        namespace_key,
        of.batch.map(|(key, _)| key),
        of.batch.map(|(_, tier)| tier),
        of.collection_key,
        detail.to_string(),
        now.as_millisecond(),
    ])?;
    Ok((tx.last_insert_rowid(), id))
}

/// The task of that id in a namespace.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, namespace_key: i64, id: &str) -> Result<Option<Task>> {
    let rest = "WHERE id = ?1 AND namespace_key = ?2";
    Ok(several(connection, rest, params![id, namespace_key])?.pop())
}

/// The task with that key.
///
/// # Errors
/// SQLite's.
pub fn by_key(connection: &Connection, key: i64) -> Result<Option<Task>> {
    Ok(several(connection, "WHERE task_key = ?1", [key])?.pop())
}

/// The tasks of a batch, by tier.
///
/// # Errors
/// SQLite's.
pub fn of_batch(connection: &Connection, batch_key: i64) -> Result<Vec<Task>> {
    several(connection, "WHERE batch_key = ?1 ORDER BY tier", [batch_key])
}

/// The tasks of a namespace, the newest first.
///
/// # Errors
/// SQLite's.
pub fn of_namespace(connection: &Connection, namespace_key: i64, limit: u32) -> Result<Vec<Task>> {
    let rest = "WHERE namespace_key = ?1 ORDER BY task_key DESC LIMIT ?2";
    several(connection, rest, params![namespace_key, limit])
}

/// The task of the deletion of a bucket, while that is under way.
///
/// # Errors
/// SQLite's.
pub fn of_deletion(connection: &Connection, bucket_key: i64) -> Result<Option<Task>> {
    let rest = "WHERE status IN ('PENDING', 'IN_PROGRESS') AND kind = ?1
                  AND detail ->> '$.bucket_key' = ?2";
    let kind = TaskKind::DeleteBucket.as_str();
    Ok(several(connection, rest, params![kind, bucket_key])?.pop())
}

/// Tasks that wait or are under way and that a processor carries out besides tiers of batches, the
/// oldest first.
///
/// # Errors
/// SQLite's.
pub fn open_chores(connection: &Connection) -> Result<Vec<Task>> {
    several(
        connection,
        "WHERE status IN ('PENDING', 'IN_PROGRESS') AND batch_key IS NULL AND kind <> ?1
         ORDER BY task_key",
        [TaskKind::DeleteBucket.as_str()],
    )
}

/// Begins, or continues with, a task.
///
/// # Errors
/// SQLite's.
pub fn begin(tx: &Transaction<'_>, key: i64, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tasks SET status = 'IN_PROGRESS', started_at_ms = coalesce(started_at_ms, ?2),
                updated_at_ms = ?2 WHERE task_key = ?1",
    )?
    .execute(params![key, now.as_millisecond()])?;
    Ok(())
}

/// Sets what a task has done.
///
/// # Errors
/// SQLite's.
pub fn set_counts(tx: &Transaction<'_>, key: i64, counts: &Counts, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tasks SET submitted = ?2, processed = ?3, failed = ?4, skipped = ?5,
                documents = ?6, replaced = ?7, updated_at_ms = ?8 WHERE task_key = ?1",
    )?
    .execute(params![
        key,
        counts.submitted,
        counts.processed,
        counts.failed,
        counts.skipped,
        counts.documents,
        counts.replaced,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Adds to what a task has done.
///
/// # Errors
/// SQLite's.
pub fn add_counts(tx: &Transaction<'_>, key: i64, more: &Counts, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tasks SET submitted = submitted + ?2, processed = processed + ?3,
                failed = failed + ?4, skipped = skipped + ?5, documents = documents + ?6,
                replaced = replaced + ?7, updated_at_ms = ?8 WHERE task_key = ?1",
    )?
    .execute(params![
        key,
        more.submitted,
        more.processed,
        more.failed,
        more.skipped,
        more.documents,
        more.replaced,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// Keeps how far a task has come.
///
/// # Errors
/// SQLite's.
pub fn set_detail(tx: &Transaction<'_>, key: i64, detail: &Value, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE tasks SET detail = ?2, updated_at_ms = ?3 WHERE task_key = ?1")?
        .execute(params![key, detail.to_string(), now.as_millisecond()])?;
    Ok(())
}

/// Ends a task.
///
/// # Errors
/// SQLite's.
pub fn end(
    tx: &Transaction<'_>,
    key: i64,
    status: BatchStatus,
    error: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tasks SET status = ?2, error = ?3, completed_at_ms = ?4, updated_at_ms = ?4
         WHERE task_key = ?1",
    )?
    .execute(params![key, status.as_str(), error, now.as_millisecond()])?;
    Ok(())
}

/// Lets the tiers of a batch wait again, from one on.
pub(super) fn reopen(
    tx: &Transaction<'_>,
    batch_key: i64,
    from_tier: u32,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tasks SET status = 'PENDING', error = NULL, completed_at_ms = NULL,
                updated_at_ms = ?3 WHERE batch_key = ?1 AND tier >= ?2",
    )?
    .execute(params![batch_key, from_tier, now.as_millisecond()])?;
    Ok(())
}

/// Stops what has not ended of a batch.
pub(super) fn cancel_of_batch(tx: &Transaction<'_>, batch_key: i64, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE tasks SET status = 'CANCELED', completed_at_ms = ?2, updated_at_ms = ?2
         WHERE batch_key = ?1 AND status IN ('PENDING', 'IN_PROGRESS')",
    )?
    .execute(params![batch_key, now.as_millisecond()])?;
    Ok(())
}
