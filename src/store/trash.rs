//! The trash of a bucket: deleted objects that can still be restored, with their ids, fields and
//! bytes. They are in no other listing or count.
//!
//! An entry whose object a person deleted is not taken again while that object is here, whatever
//! becomes of the entry (`entries::TRASHED`). An object that a sync removed comes back by itself
//! when the source shows its entry again (`apply_fetched`).

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params, params_from_iter};
use serde_json::Value;

use crate::{
    model::{BucketSettings, FieldPath, FieldProblem, Filter},
    store::{
        Result, StoreError,
        buckets::{self, Bucket},
        changed_objects,
        clause::Clause,
        entries::TRASHED,
        events::{self, EventKind},
        filter::{self, Fields, Operand},
        json,
        objects::{
            fields::ObjectFields,
            query::has_text,
            write::{forget_by_entries, key_of},
        },
        processing,
        remove::{Gone, remove_object},
        row_position::RowPosition,
        stored::signed,
        syncs, time, unique_keys,
    },
};

/// An entry that an object in the trash stands for.
pub(super) struct OfEntry {
    pub(super) sync_key: i64,
    pub(super) source_id: Vec<u8>,
    pub(super) version: Vec<u8>,
}

/// An object in the trash that stands for an entry.
#[derive(Clone, Copy)]
pub(super) struct InTrash {
    pub(super) object_key: i64,
    pub(super) by_sync: bool,
}

/// Deletes objects: into the trash if the bucket has one, else for good. `state` says why. Returns
/// how many were seen before.
///
/// # Errors
/// SQLite's.
pub fn discard(
    tx: &Transaction<'_>,
    bucket_key: i64,
    object_keys: &[i64],
    state: &Value,
    now: Timestamp,
) -> Result<u64> {
    let settings = buckets::settings(tx, bucket_key)?;
    let (mut objects, mut bytes, mut ids) = (0, 0, Vec::new());
    for key in object_keys {
        let gone = match until(&settings, now) {
            Some(until) => put(tx, *key, None, state, until, now)?,
            None => {
                forget_by_entries(tx, *key)?;
                remove_object(tx, *key)?
            }
        };
        objects += gone.objects;
        bytes += gone.bytes;
        ids.push(gone.id);
    }
    buckets::adjust(tx, bucket_key, -objects, -bytes)?;
    events::objects(tx, EventKind::ObjectsRemoved, bucket_key, &ids, now)?;
    Ok(objects.unsigned_abs())
}

/// The same for objects by their ids; those that are not there are left out.
///
/// # Errors
/// SQLite's.
pub fn discard_named(
    tx: &Transaction<'_>,
    bucket_key: i64,
    ids: &[String],
    state: &Value,
    now: Timestamp,
) -> Result<u64> {
    let mut keys = Vec::new();
    for id in ids {
        keys.extend(key_of(tx, bucket_key, id)?);
    }
    keys.sort_unstable();
    keys.dedup();
    discard(tx, bucket_key, &keys, state, now)
}

/// When something that is deleted now is to be purged; `None` where the bucket has no trash.
pub(super) fn until(settings: &BucketSettings, now: Timestamp) -> Option<Timestamp> {
    let days = settings.trash_days();
    let hours = SignedDuration::from_hours(24 * i64::from(days));
    (days > 0).then(|| now.checked_add(hours).unwrap_or(Timestamp::MAX))
}

/// Puts an object that is seen into the trash. `removed` is the entry that a sync has removed it
/// with; `None`: a person deletes it, and its entry is left alone from now on.
pub(super) fn put(
    tx: &Transaction<'_>,
    object_key: i64,
    removed: Option<OfEntry>,
    state: &Value,
    until: Timestamp,
    now: Timestamp,
) -> Result<Gone> {
    let by_sync = removed.is_some();
    let entry = match removed {
        Some(entry) => Some(entry),
        None => leave_entry_alone(tx, object_key)?,
    };
    // Its unique key is free for others meanwhile, and what was made of it goes.
    unique_keys::replace(tx, object_key, None)?;
    processing::forget_object(tx, object_key)?;
    let (id, bucket_key, size): (String, i64, u64) = tx
        .prepare_cached(
            "UPDATE objects SET state = ?2, idempotency_key = NULL, updated_at_ms = ?3
             WHERE object_key = ?1 RETURNING id, bucket_key, size",
        )?
        .query_row(params![object_key, state.to_string(), now.as_millisecond()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    tx.prepare_cached(
        "INSERT INTO trash (object_key, bucket_key, size, sync_key, source_id, version,
                            deleted_at_ms, purge_at_ms, by_sync)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        object_key,
        bucket_key,
        size,
        entry.as_ref().map(|entry| entry.sync_key),
        entry.as_ref().map(|entry| &entry.source_id),
        entry.as_ref().map(|entry| &entry.version),
        now.as_millisecond(),
        until.as_millisecond(),
        by_sync,
    ])?;
    Ok(Gone { id, objects: 1, bytes: signed(size) })
}

fn leave_entry_alone(tx: &Transaction<'_>, object_key: i64) -> Result<Option<OfEntry>> {
    Ok(tx
        .prepare_cached(
            "UPDATE entries SET object_key = ?2
             WHERE entry_key = (SELECT entry_key FROM objects WHERE object_key = ?1)
             RETURNING sync_key, source_id, version",
        )?
        .query_row([object_key, TRASHED], |row| {
            Ok(OfEntry { sync_key: row.get(0)?, source_id: row.get(1)?, version: row.get(2)? })
        })
        .optional()?)
}

/// Whether anything in the trash came from a sync.
pub(super) fn has_any_of(tx: &Transaction<'_>, sync_key: i64) -> Result<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM trash WHERE sync_key = ?1 LIMIT 1")?.exists([sync_key])?)
}

/// The object in the trash that stands for an entry.
pub(super) fn of_entry(
    tx: &Transaction<'_>,
    sync_key: i64,
    source_id: &[u8],
) -> Result<Option<InTrash>> {
    Ok(tx
        .prepare_cached(
            "SELECT object_key, by_sync FROM trash WHERE sync_key = ?1 AND source_id = ?2
             ORDER BY by_sync, object_key DESC LIMIT 1",
        )?
        .query_row(params![sync_key, source_id], |row| {
            Ok(InTrash { object_key: row.get(0)?, by_sync: row.get(1)? })
        })
        .optional()?)
}

/// Takes an object out of the trash for the entry of that key, which the source shows again. Its
/// unique key is the caller's to set. Returns its id and its size in bytes.
pub(super) fn take_out(
    tx: &Transaction<'_>,
    object_key: i64,
    entry_key: i64,
    now: Timestamp,
) -> Result<(String, u64)> {
    tx.prepare_cached("DELETE FROM trash WHERE object_key = ?1")?.execute([object_key])?;
    Ok(tx
        .prepare_cached(
            "UPDATE objects SET state = NULL, entry_key = ?2, updated_at_ms = ?3
             WHERE object_key = ?1 RETURNING id, size",
        )?
        .query_row(params![object_key, entry_key, now.as_millisecond()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?)
}

/// What came of restoring objects.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The ids of those that are back.
    pub ids: Vec<String>,
    /// The ids of those that cannot come back, each with the reason.
    pub refused: Vec<(String, String)>,
}

/// Restores objects of a bucket by their keys. One whose entry is gone is kept until the source
/// shows the entry again.
///
/// # Errors
/// SQLite's.
pub fn restore(
    tx: &Transaction<'_>,
    bucket: &Bucket,
    object_keys: &[i64],
    now: Timestamp,
) -> Result<Restored> {
    let (mut restored, mut bytes) = (Restored::default(), 0);
    for key in object_keys {
        let (id, fields): (String, Option<String>) = tx
            .prepare_cached("SELECT id, fields FROM objects WHERE object_key = ?1")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let fields =
            fields.map(|text| json::read("object", &text)).transpose()?.unwrap_or_default();
        let unique_key = bucket.settings.unique_key.as_ref();
        let unique_key = unique_key.and_then(|key| key.value_of(&fields).unwrap_or_default());
        if let Some(wanted) = &unique_key
            && let Some(why) = unique_keys::taken_in(tx, bucket.key, wanted)?
        {
            restored.refused.push((id, why));
            continue;
        }
        let entry = attach_entry(tx, *key)?;
        let (entry_key, sync_key) = entry.unzip();
        if let Some(entry_key) = entry_key {
            follow_entry(tx, *key, entry_key)?;
        }
        let (id, size) = take_out(tx, *key, entry_key.unwrap_or_default(), now)?;
        unique_keys::set(tx, *key, unique_key.as_ref())?;
        if let Some(sync_key) = sync_key
            && changed_objects::is_wanted(tx, bucket.key)?
        {
            changed_objects::note(tx, sync_key, *key)?;
        }
        bytes += signed(size);
        restored.ids.push(id);
    }
    let count =
        i64::try_from(restored.ids.len()).map_err(|error| StoreError::nonsense("count", error))?;
    buckets::adjust(tx, bucket.key, count, bytes)?;
    events::objects(tx, EventKind::ObjectsAdded, bucket.key, &restored.ids, now)?;
    Ok(restored)
}

/// Gives an object that is restored the path of its entry, whose folder may have been renamed or
/// moved meanwhile, unless its sync leaves objects as they are.
fn follow_entry(tx: &Transaction<'_>, object_key: i64, entry_key: i64) -> Result<()> {
    let (sync_key, path): (i64, Vec<u8>) = tx
        .prepare_cached(
            "SELECT sync_key, coalesce(path, source_id) FROM entries WHERE entry_key = ?1",
        )?
        .query_row([entry_key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if syncs::by_key(tx, sync_key)?.options.reconcile.on_update {
        tx.prepare_cached("UPDATE objects SET path = ?2 WHERE object_key = ?1")?
            .execute(params![object_key, path])?;
    }
    Ok(())
}

/// Gives an object that is restored its entry back. Another version than the one that was deleted
/// is left to the next pass. Where the entry is gone, its row says that somebody keeps its object.
/// Returns the keys of the entry and of its sync; `None` for an object that no sync made.
fn attach_entry(tx: &Transaction<'_>, object_key: i64) -> Result<Option<(i64, i64)>> {
    let attached = tx
        .prepare_cached(
            "UPDATE entries SET object_key = ?1,
                 version = iif(entries.version = t.version, entries.version, x'')
             FROM trash t
             WHERE t.object_key = ?1 AND entries.sync_key = t.sync_key
               AND entries.source_id = t.source_id AND entries.object_key <= 0
             RETURNING entry_key, sync_key",
        )?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if attached.is_some() {
        return Ok(attached);
    }
    Ok(tx
        .prepare_cached(
            "INSERT OR IGNORE INTO entries (sync_key, source_id, path, version, modified_ns,
                                            object_key, is_duplicate, pass, released)
             SELECT t.sync_key, t.source_id, nullif(o.path, t.source_id), t.version, o.modified_ns,
                    o.object_key, 0, 0, 1
             FROM trash t JOIN objects o USING (object_key)
             WHERE t.object_key = ?1 AND t.sync_key IS NOT NULL
             RETURNING entry_key, sync_key",
        )?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Removes objects of a bucket's trash for good. What they came from stays away until it changes at
/// its source.
///
/// # Errors
/// SQLite's.
pub fn purge(
    tx: &Transaction<'_>,
    bucket_key: i64,
    object_keys: &[i64],
    now: Timestamp,
) -> Result<()> {
    for key in object_keys {
        forget_by_entries(tx, *key)?;
        remove_object(tx, *key)?;
    }
    buckets::emit_event(tx, bucket_key, "trash", now)
}

/// Whether anything in a trash has had its time.
///
/// # Errors
/// SQLite's.
pub fn is_due(connection: &Connection, now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM trash WHERE purge_at_ms <= ?1 LIMIT 1")?
        .exists([now.as_millisecond()])?)
}

/// Purges up to `limit` objects that have had their time. Returns how many.
///
/// # Errors
/// SQLite's.
pub fn purge_due(tx: &Transaction<'_>, now: Timestamp, limit: u32) -> Result<u64> {
    let due: Vec<(i64, i64)> = tx
        .prepare_cached(
            "SELECT bucket_key, object_key FROM trash WHERE purge_at_ms <= ?1
             ORDER BY purge_at_ms LIMIT ?2",
        )?
        .query_map(params![now.as_millisecond(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()?;
    for of_bucket in due.chunk_by(|one, other| one.0 == other.0) {
        let keys: Vec<i64> = of_bucket.iter().map(|(_, key)| *key).collect();
        purge(tx, of_bucket[0].0, &keys, now)?;
    }
    Ok(due.len() as u64)
}

/// What is known of an object besides that it is in the trash.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Internal key of the object.
    pub object_key: i64,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// When it is purged; `None`: when somebody does.
    pub purge_at: Option<Timestamp>,
    /// Whether a sync removed it, and not a person.
    pub by_sync: bool,
    /// Why it was deleted, if somebody said.
    pub reason: Option<String>,
}

/// A query for objects in the trash of a bucket.
#[derive(Clone, Debug)]
pub struct Query {
    bucket_key: i64,
    condition: Option<Clause>,
}

/// The fields of an object in the trash: `t` is its row there.
struct TrashFields(ObjectFields);

impl Fields for TrashFields {
    fn operand(&self, field: &FieldPath) -> Operand {
        match field.dotted().as_str() {
            "deleted_at" => Operand::Milliseconds("t.deleted_at_ms"),
            "purge_at" => Operand::Milliseconds("t.purge_at_ms"),
            "deleted_by" => Operand::Text("iif(t.by_sync, 'sync', 'person')"),
            _ => self.0.operand(field),
        }
    }
}

impl Query {
    /// Builds a query for objects with these ids, that pass the filter, and have the text; all,
    /// where none of them is given.
    ///
    /// # Errors
    /// A condition that its field cannot be asked.
    pub fn new(
        bucket: &Bucket,
        ids: Option<&[String]>,
        filter: Option<&Filter>,
        search: Option<&str>,
    ) -> std::result::Result<Self, FieldProblem> {
        let fields = TrashFields(ObjectFields { bucket_id: bucket.id.to_string() });
        let mut conditions = Vec::new();
        if let Some(ids) = ids {
            let ids = serde_json::json!(ids).to_string();
            let named = Clause::default().sql("o.id IN (SELECT value FROM json_each(").bind(ids);
            conditions.push(named.sql("))"));
        }
        if let Some(filter) = filter {
            conditions.push(filter::compile(filter, &fields)?);
        }
        conditions.extend(search.filter(|text| !text.is_empty()).map(has_text));
        let condition = (!conditions.is_empty()).then(|| Clause::joined(conditions, true));
        Ok(Self { bucket_key: bucket.key, condition })
    }

    /// Whether it is for all that is there.
    #[must_use]
    pub const fn wants_all(&self) -> bool {
        self.condition.is_none()
    }

    /// Up to `limit` objects behind `after`, `skip` left out first, the last deleted first.
    ///
    /// # Errors
    /// SQLite's.
    pub fn page(
        &self,
        connection: &Connection,
        after: Option<&RowPosition>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<(RowPosition, Facts)>> {
        let deleted_at = Clause::default().sql("t.deleted_at_ms");
        let mut clause = Clause::default()
            .sql("SELECT t.object_key, t.deleted_at_ms, t.purge_at_ms, t.by_sync,")
            .sql(" o.state ->> '$.reason'")
            .then(self.rows("t.bucket_key"));
        if let Some(place) = after {
            clause = clause.sql(" AND ").then(place.behind(&deleted_at, "t.object_key", true));
        }
        let clause = clause
            .sql(" ORDER BY t.deleted_at_ms DESC, t.object_key DESC LIMIT ")
            .bind(limit)
            .sql(" OFFSET ")
            .bind(i64::try_from(skip).unwrap_or(i64::MAX));
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let rows = statement
            .query_map(params_from_iter(&clause.values), |row| {
                let facts = Facts {
                    object_key: row.get(0)?,
                    deleted_at: time::from_ms(row.get(1)?),
                    purge_at: row.get::<_, Option<i64>>(2)?.map(time::from_ms),
                    by_sync: row.get(3)?,
                    reason: row.get(4)?,
                };
                Ok((RowPosition::new(facts.object_key, row.get(1)?), facts))
            })?
            .collect::<std::result::Result<_, _>>()?;
        Ok(rows)
    }

    /// The keys of up to `limit` objects behind a key, in their order.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keys(&self, connection: &Connection, after: i64, limit: u32) -> Result<Vec<i64>> {
        // Without the index of the bucket's trash, whose order is another one.
        let clause = Clause::default()
            .sql("SELECT t.object_key")
            .then(self.rows("+t.bucket_key"))
            .sql(" AND t.object_key > ")
            .bind(after)
            .sql(" ORDER BY t.object_key LIMIT ")
            .bind(limit);
        let mut statement = connection.prepare_cached(&clause.sql)?;
        let keys = statement
            .query_map(params_from_iter(&clause.values), |row| row.get(0))?
            .collect::<std::result::Result<_, _>>()?;
        Ok(keys)
    }

    /// How many objects match.
    ///
    /// # Errors
    /// SQLite's.
    pub fn count(&self, connection: &Connection) -> Result<u64> {
        let clause = Clause::default().sql("SELECT count(*)").then(self.rows("t.bucket_key"));
        Ok(connection
            .prepare_cached(&clause.sql)?
            .query_row(params_from_iter(&clause.values), |row| row.get(0))?)
    }

    fn rows(&self, bucket_key: &str) -> Clause {
        let rows = Clause::default()
            .sql(" FROM trash t CROSS JOIN objects o ON o.object_key = t.object_key WHERE ")
            .sql(bucket_key)
            .sql(" = ")
            .bind(self.bucket_key);
        match &self.condition {
            Some(condition) => rows.sql(" AND ").then(condition.clone()),
            None => rows,
        }
    }
}
