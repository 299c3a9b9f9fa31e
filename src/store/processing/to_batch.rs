//! Objects that wait to be batched: written by the commit that brought them, taken into batches a
//! chunk at a time, in one transaction each, so that every change is in exactly one batch.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};

use super::{
    batches::{self, NewBatch},
    collections,
};
pub use crate::store::changed_objects::is_wanted;
use crate::{
    model::{BatchId, Dedup, Processing},
    store::{
        Result,
        changed_objects::note,
        json,
        syncs::{self, Sync},
    },
};

/// The syncs that have objects waiting, do not run, and make batches.
///
/// # Errors
/// SQLite's.
pub fn syncs_waiting(connection: &Connection) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE waiting (sync_key) AS (
             SELECT min(sync_key) FROM to_batch
             UNION ALL
             SELECT (SELECT min(t.sync_key) FROM to_batch t WHERE t.sync_key > w.sync_key)
             FROM waiting w WHERE w.sync_key IS NOT NULL)
         SELECT sync_key FROM waiting w JOIN syncs s USING (sync_key)
         WHERE NOT coalesce(s.options ->> '$.processing.skip_batch_submission', 0)
           AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.sync_key = s.sync_key)",
    )?;
    let keys = statement.query_map([], |row| row.get(0))?.collect::<std::result::Result<_, _>>()?;
    Ok(keys)
}

/// Makes batches of a sync's waiting objects while there are enough for a whole one, and of the
/// rest too where `all` says so. Each is submitted at once. Returns how many were made.
///
/// # Errors
/// SQLite's.
pub fn make_batches(tx: &Transaction<'_>, sync: &Sync, all: bool, now: Timestamp) -> Result<u64> {
    let processing = &sync.options.processing;
    if processing.skip_batch_submission {
        return Ok(0);
    }
    let chunk = chunk_of(processing);
    let mut made = 0;
    loop {
        let waiting = waiting(tx, sync.key, chunk)?;
        let is_whole = waiting.len() == chunk as usize;
        if waiting.is_empty() || !(is_whole || all) {
            return Ok(made);
        }
        let chosen = chosen(tx, sync)?;
        let tiers = collections::tiers(tx, &chosen)?;
        // Nobody wants them any more: what comes later is noted again, and `trigger` finds the
        // rest.
        if !tiers.is_empty() {
            let batch = NewBatch {
                id: BatchId::generate(),
                bucket_key: sync.bucket_key,
                sync_key: Some(sync.key),
                dedup: Dedup::Skip,
                collections: processing.batch_collection_ids.is_some().then_some(chosen),
                ..NewBatch::default()
            };
            let key = batches::insert(tx, &batch, now)?;
            let count = batches::add_waiting(tx, key, sync.key, &waiting)?;
            if count == 0 {
                batches::remove_record(tx, key)?;
            } else {
                batches::submit(tx, key, &tiers, now)?;
                made += 1;
            }
        }
        let last = waiting.last().copied().unwrap_or_default();
        tx.prepare_cached("DELETE FROM to_batch WHERE sync_key = ?1 AND object_key <= ?2")?
            .execute([sync.key, last])?;
    }
}

const fn chunk_of(processing: &Processing) -> u32 {
    let most = processing.max_batch_chunk_size;
    if processing.batch_chunk_size < most { processing.batch_chunk_size } else { most }
}

/// The collections of a sync's batches: those that it names, of those that take from its bucket.
fn chosen(tx: &Transaction<'_>, sync: &Sync) -> Result<Vec<i64>> {
    let all = collections::of_bucket(tx, sync.bucket_key)?;
    let Some(wanted) = &sync.options.processing.batch_collection_ids else { return Ok(all) };
    if wanted.is_empty() {
        return Ok(all);
    }
    let mut chosen = Vec::new();
    for key in all {
        let is_wanted = collections::by_key(tx, key)?.is_some_and(|collection| {
            wanted.iter().any(|id| id == collection.id.as_str() || *id == collection.name)
        });
        if is_wanted {
            chosen.push(key);
        }
    }
    Ok(chosen)
}

fn waiting(tx: &Transaction<'_>, sync_key: i64, limit: u32) -> Result<Vec<i64>> {
    let mut statement = tx.prepare_cached(
        "SELECT object_key FROM to_batch WHERE sync_key = ?1 ORDER BY object_key LIMIT ?2",
    )?;
    let keys = statement
        .query_map(params![sync_key, limit], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    Ok(keys)
}

/// What a commit of a run does for processing: which of its objects it notes.
pub(in crate::store) struct Batching {
    sync: Sync,
    /// What objects were before they changed, in the fields that count; where any change counts,
    /// nothing is kept.
    before: HashMap<i64, Vec<Value>>,
}

impl Batching {
    /// `None` where the bucket has no collection: nothing is noted, and nothing was read but that.
    pub(in crate::store) fn of(
        tx: &Transaction<'_>,
        sync_key: i64,
        bucket_key: i64,
    ) -> Result<Option<Self>> {
        if !is_wanted(tx, bucket_key)? {
            return Ok(None);
        }
        Ok(Some(Self { sync: syncs::by_key(tx, sync_key)?, before: HashMap::new() }))
    }

    /// Notes an object that is new.
    pub(in crate::store) fn added(&self, tx: &Transaction<'_>, object_key: i64) -> Result<()> {
        note(tx, self.sync.key, object_key)
    }

    /// Notes the values of an object that may be about to change.
    pub(in crate::store) fn before_change(
        &mut self,
        tx: &Transaction<'_>,
        object_key: i64,
    ) -> Result<()> {
        let reconcile = &self.sync.options.reconcile;
        if reconcile.re_extract_on_update && !reconcile.re_extract_fields.is_empty() {
            let values = values(tx, object_key, &reconcile.re_extract_fields)?;
            self.before.insert(object_key, values);
        }
        Ok(())
    }

    /// Notes an object that has changed, if that counts.
    pub(in crate::store) fn updated(&self, tx: &Transaction<'_>, object_key: i64) -> Result<()> {
        let reconcile = &self.sync.options.reconcile;
        let counts = match (reconcile.re_extract_on_update, self.before.get(&object_key)) {
            (false, _) => false,
            (true, None) => true,
            (true, Some(before)) => {
                *before != values(tx, object_key, &reconcile.re_extract_fields)?
            }
        };
        if counts { note(tx, self.sync.key, object_key) } else { Ok(()) }
    }

    /// Notes objects of which nothing but the path has changed, if that counts.
    pub(in crate::store) fn moved(&self, tx: &Transaction<'_>, object_keys: &[i64]) -> Result<()> {
        let reconcile = &self.sync.options.reconcile;
        if !reconcile.re_extract_on_update || !reconcile.re_extract_fields.is_empty() {
            return Ok(());
        }
        object_keys.iter().try_for_each(|object_key| note(tx, self.sync.key, *object_key))
    }

    /// Makes the batches that are whole by now.
    pub(in crate::store) fn finish(&self, tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
        make_batches(tx, &self.sync, false, now).map(drop)
    }
}

/// What an object has in these fields; the name of a blob stands for its bytes.
fn values(tx: &Transaction<'_>, object_key: i64, fields: &[String]) -> Result<Vec<Value>> {
    let (own, given): (Option<String>, Option<String>) = tx
        .prepare_cached("SELECT fields, metadata FROM objects WHERE object_key = ?1")?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let read = |text: Option<String>| -> Result<Value> {
        text.map_or(Ok(Value::Null), |text| json::read("object", &text))
    };
    let (own, given) = (read(own)?, read(given)?);
    let mut blob = tx.prepare_cached(
        "SELECT blob_key FROM object_blobs WHERE object_key = ?1 AND property = ?2",
    )?;
    fields
        .iter()
        .map(|field| {
            let bytes: Option<i64> =
                blob.query_row(params![object_key, field], |row| row.get(0)).optional()?;
            let at = |value: &Value, path: &str| {
                path.split('.').try_fold(value.clone(), |value, part| value.get(part).cloned())
            };
            let value = at(&own, field).or_else(|| match field.strip_prefix("metadata.") {
                Some(inner) => at(&given, inner),
                None => at(&given, field),
            });
            Ok(json!([bytes, value]))
        })
        .collect()
}
