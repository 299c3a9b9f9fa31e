//! How a batch stands: from a draft through the queue and its tiers to its end, which events
//! report in the same transaction, and back where somebody wants it run again.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};

use super::{
    super::{outcomes, tasks},
    Batch, by_key, whereabouts,
};
use crate::{
    model::{BatchStatus, TaskKind},
    store::{
        Result,
        events::{self, About, EventKind},
        webhooks,
    },
};

/// Submits a batch: it waits, with a task for each tier. `tiers` are internal keys of collections.
///
/// # Errors
/// SQLite's.
pub fn submit(
    tx: &Transaction<'_>,
    batch_key: i64,
    tiers: &[Vec<i64>],
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE batches SET status = 'PENDING', tiers = ?2, tier = 0, error = NULL,
                submitted_at_ms = ?3, started_at_ms = NULL, completed_at_ms = NULL,
                updated_at_ms = ?3 WHERE batch_key = ?1",
    )?
    .execute(params![batch_key, json!(tiers).to_string(), now.as_millisecond()])?;
    let namespace_key = tx
        .prepare_cached(
            "SELECT namespace_key FROM batches JOIN buckets USING (bucket_key) WHERE batch_key = ?1",
        )?
        .query_row([batch_key], |row| row.get(0))?;
    for (tier, _) in (0_u32..).zip(tiers) {
        let of = tasks::Of { batch: Some((batch_key, tier)), collection_key: None };
        tasks::insert(tx, TaskKind::Batch, namespace_key, &of, &Value::Null, now)?;
    }
    Ok(())
}

/// Puts an ended batch back in the queue, from a tier on, with that tier's tasks as they were.
///
/// # Errors
/// SQLite's.
pub fn queue_again(
    tx: &Transaction<'_>,
    batch: &Batch,
    from_tier: u32,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE batches SET status = 'PENDING', tier = ?2, error = NULL, completed_at_ms = NULL,
                retries = retries + 1, retry_reason = ?3, retried_at_ms = ?4, updated_at_ms = ?4
         WHERE batch_key = ?1",
    )?
    .execute(params![batch.key, from_tier, reason, now.as_millisecond()])?;
    tasks::reopen(tx, batch.key, from_tier, now)
}

/// Makes a draft of an ended batch again.
///
/// # Errors
/// SQLite's.
pub fn make_draft(tx: &Transaction<'_>, batch: &Batch, tier: u32, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE batches SET status = 'DRAFT', tier = ?2, error = NULL, completed_at_ms = NULL,
                updated_at_ms = ?3 WHERE batch_key = ?1",
    )?
    .execute(params![batch.key, tier, now.as_millisecond()])?;
    tx.prepare_cached("DELETE FROM tasks WHERE batch_key = ?1")?.execute([batch.key])?;
    Ok(())
}

/// Begins, or continues with, a tier. Returns whether the batch is still wanted.
///
/// # Errors
/// SQLite's.
pub fn begin_tier(tx: &Transaction<'_>, batch: &Batch, tier: u32, now: Timestamp) -> Result<bool> {
    let begun = tx
        .prepare_cached(
            "UPDATE batches SET status = 'IN_PROGRESS', tier = ?2, updated_at_ms = ?3,
                    started_at_ms = coalesce(started_at_ms, ?3)
             WHERE batch_key = ?1 AND status IN ('PENDING', 'IN_PROGRESS')",
        )?
        .execute(params![batch.key, tier, now.as_millisecond()])?;
    Ok(begun > 0)
}

/// Whether a batch is to go on: its record is there and nobody has stopped it.
///
/// # Errors
/// SQLite's.
pub fn is_wanted(connection: &Connection, batch_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM batches WHERE batch_key = ?1 AND status = 'IN_PROGRESS'")?
        .exists([batch_key])?)
}

/// Ends a batch as its tiers came out, and emits the event.
///
/// # Errors
/// SQLite's.
pub fn end(tx: &Transaction<'_>, batch: &Batch, now: Timestamp) -> Result<BatchStatus> {
    let (worked, failed): (u64, u64) = tx
        .prepare_cached(
            "SELECT coalesce(sum(processed + skipped), 0), coalesce(sum(failed), 0)
             FROM tasks WHERE batch_key = ?1",
        )?
        .query_row([batch.key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let status = BatchStatus::ended(worked, failed);
    set_ended(tx, batch, status, None, now)?;
    Ok(status)
}

/// Stops a batch for good.
///
/// # Errors
/// SQLite's.
pub fn cancel(
    tx: &Transaction<'_>,
    batch: &Batch,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    set_ended(tx, batch, BatchStatus::Canceled, reason, now)?;
    tasks::cancel_of_batch(tx, batch.key, now)?;
    outcomes::let_go(tx, batch.key)
}

/// Stops the batches of a bucket that goes.
///
/// # Errors
/// SQLite's.
pub fn cancel_of_bucket(tx: &Transaction<'_>, bucket_key: i64, now: Timestamp) -> Result<()> {
    let open: Vec<i64> = tx
        .prepare_cached(
            "SELECT batch_key FROM batches INDEXED BY batches_open
             WHERE status IN ('PENDING', 'IN_PROGRESS') AND bucket_key = ?1",
        )?
        .query_map([bucket_key], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    for key in open {
        if let Some(batch) = by_key(tx, key)? {
            cancel(tx, &batch, Some("its bucket is deleted"), now)?;
        }
    }
    Ok(())
}

fn set_ended(
    tx: &Transaction<'_>,
    batch: &Batch,
    status: BatchStatus,
    error: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE batches SET status = ?2, error = ?3, updated_at_ms = ?4, completed_at_ms = ?4
         WHERE batch_key = ?1",
    )?
    .execute(params![batch.key, status.as_str(), error, now.as_millisecond()])?;
    let detail = json!({
        "batch_id": batch.id,
        "status": status.as_str(),
        "objects": batch.object_count,
        "collection_ids": collection_ids(tx, batch)?,
    });
    let about = About::bucket(batch.bucket_key);
    events::append(tx, EventKind::BatchFinished, about, &detail, now)?;
    match &batch.webhook_url {
        Some(url) => tell_once(tx, batch, url, detail, now),
        None => Ok(()),
    }
}

/// Public ids of the collections that a batch is for.
fn collection_ids(connection: &Connection, batch: &Batch) -> Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM collections WHERE collection_key = ?1")?;
    let mut ids = Vec::new();
    for key in batch.tiers.iter().flatten().flatten() {
        ids.extend(statement.query_row([key], |row| row.get(0)).optional()?);
    }
    Ok(ids)
}

/// Has the end of a batch delivered to the address that somebody gave with it.
fn tell_once(
    tx: &Transaction<'_>,
    batch: &Batch,
    url: &str,
    detail: Value,
    now: Timestamp,
) -> Result<()> {
    let (bucket_id, namespace_id) = whereabouts(tx, batch.bucket_key)?;
    let mut data = detail;
    data["bucket_id"] = bucket_id.into();
    let body = json!({
        "event_id": format!("evt_{}", batch.id),
        "event_type": "collection.documents.batch_completed",
        "created_at": now,
        "namespace_id": namespace_id,
        "data": data,
    });
    webhooks::deliver_once(tx, url, &body.to_string())
}

/// Lets a submitted batch begin with a later tier: those before it are not needed.
///
/// # Errors
/// SQLite's.
pub fn begin_with(tx: &Transaction<'_>, batch_key: i64, tier: u32, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE batches SET tier = ?2 WHERE batch_key = ?1")?
        .execute(params![batch_key, tier])?;
    tx.prepare_cached(
        "UPDATE tasks SET status = 'SKIPPED', completed_at_ms = ?3, updated_at_ms = ?3
         WHERE batch_key = ?1 AND tier < ?2",
    )?
    .execute(params![batch_key, tier, now.as_millisecond()])?;
    Ok(())
}

/// How the batches of a trigger came out together; `None` while one has not ended.
///
/// # Errors
/// SQLite's.
pub fn all_ended(connection: &Connection, trigger_key: i64) -> Result<Option<BatchStatus>> {
    let (open, worked, failed): (u64, u64, u64) = connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE status IN ('DRAFT', 'PENDING', 'IN_PROGRESS')),
                    count(*) FILTER (WHERE status IN ('COMPLETED', 'COMPLETED_WITH_ERRORS')),
                    count(*) FILTER (WHERE status IN ('FAILED', 'COMPLETED_WITH_ERRORS'))
             FROM batches WHERE trigger_key = ?1",
        )?
        .query_row([trigger_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok((open == 0).then_some(BatchStatus::ended(worked, failed)))
}
