//! Objects made, changed and removed by hand. Counters, events and what garbage collection has to
//! look at move in the same transaction.
//!
//! An object that a sync made belongs to its entry: its path and bytes are the sync's to change.
//! Deleting one, or putting it into the trash (`trash`), lets the sync know
//! ([`crate::store::commit`]).

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use crate::{
    model::{BlobHash, BlobId, ObjectId},
    store::{
        Result, StoreError, blobs, buckets,
        edits::{self, Edits},
        entries::{DELETED, TRASHED},
        events::{self, EventKind},
        json,
        stored::Stored,
        unique_keys, uploads,
    },
};

/// An object to be created, or to replace the one that has the same unique key.
#[derive(Clone, Debug, Default)]
pub struct NewObject {
    /// Its path; by default its id.
    pub path: Option<String>,
    /// Its fields.
    pub fields: Map<String, Value>,
    /// Its edges, a JSON array.
    pub edges: Option<Value>,
    /// The values of the bucket's unique key, see [`crate::model::UniqueKey`].
    pub unique_key: Option<String>,
    /// The caller's name for the request.
    pub idempotency_key: Option<String>,
    /// Its blobs, each with a property of its own.
    pub blobs: Vec<NewBlob>,
}

/// A new blob.
#[derive(Clone, Debug)]
pub struct NewBlob {
    /// The property of the object.
    pub property: String,
    /// Its bytes.
    pub bytes: BlobBytes,
    /// Which kind of field.
    pub kind: String,
    /// A name for its file.
    pub filename: Option<String>,
    /// MIME type.
    pub mime: Option<String>,
    /// Metadata of the blob.
    pub metadata: Option<Map<String, Value>>,
}

/// Where the bytes of a new blob are.
#[derive(Clone, Debug)]
pub enum BlobBytes {
    /// Sent with the request.
    Stored(Stored),
    /// In the upload with that internal key.
    Upload(i64),
}

/// What to do about an object whose unique key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Only create new ones.
    Insert,
    /// Only change those that are there.
    Update,
    /// Either.
    Upsert,
}

/// The outcome of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is the object with that key now.
    Created(i64),
    /// The object with that key had its unique key, and has been changed.
    Updated(i64),
    /// The object with that key came from the same request before.
    Repeated(i64),
    /// The object with that key has the same bytes.
    Equal(i64),
    /// An object of that id has its unique key.
    Taken(String),
    /// No object has its unique key.
    Absent,
    /// The object of that id has its unique key, and its bytes are a sync's.
    Synced(String),
    /// The bytes of that blob are not there, or not any more.
    NoBytes(String),
}

/// How an object is to be created.
#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    /// See [`Policy`]; ignored without a unique key.
    pub policy: Policy,
    /// Where an object has the same bytes already, that one will do.
    pub skip_duplicates: bool,
}

/// Creates an object, or changes the one with its unique key. Changes nothing where the outcome is
/// a refusal. `file_exists` says whether the file of a hash is in place.
///
/// # Errors
/// SQLite's.
pub fn create(
    tx: &Transaction<'_>,
    bucket_key: i64,
    new: &NewObject,
    options: CreateOptions,
    file_exists: impl Fn(&BlobHash) -> bool,
    now: Timestamp,
) -> Result<CreateOutcome> {
    if let Some(key) = repeated(tx, bucket_key, new)? {
        return Ok(CreateOutcome::Repeated(key));
    }
    let existing = existing(tx, bucket_key, new)?;
    match (&existing, options.policy) {
        (Some(existing), Policy::Insert) => return Ok(CreateOutcome::Taken(existing.id.clone())),
        (None, Policy::Update) if new.unique_key.is_some() => return Ok(CreateOutcome::Absent),
        (Some(existing), _) if existing.is_synced && changes_what_is_the_syncs(new) => {
            return Ok(CreateOutcome::Synced(existing.id.clone()));
        }
        _ => {}
    }
    if let Some(property) = without_bytes(tx, new, file_exists)? {
        return Ok(CreateOutcome::NoBytes(property));
    }
    let blob_keys = blob_keys(tx, new)?;
    if let Some(existing) = existing {
        update(tx, bucket_key, &existing, new, &blob_keys, now)?;
        return Ok(CreateOutcome::Updated(existing.key));
    }
    if options.skip_duplicates
        && let Some(key) = equal(tx, bucket_key, new, &blob_keys)?
    {
        for blob_key in blob_keys {
            blobs::maybe_orphaned(tx, blob_key)?;
        }
        return Ok(CreateOutcome::Equal(key));
    }
    insert(tx, bucket_key, new, &blob_keys, now).map(CreateOutcome::Created)
}

/// An existing object that has the new object's unique key.
struct Existing {
    key: i64,
    id: String,
    is_synced: bool,
}

fn existing(tx: &Transaction<'_>, bucket_key: i64, new: &NewObject) -> Result<Option<Existing>> {
    let Some(unique_key) = &new.unique_key else { return Ok(None) };
    Ok(tx
        .prepare_cached(
            "SELECT object_key, id, entry_key <> 0 FROM objects
             WHERE bucket_key = ?1 AND unique_key = ?2",
        )?
        .query_row(params![bucket_key, unique_key], |row| {
            Ok(Existing { key: row.get(0)?, id: row.get(1)?, is_synced: row.get(2)? })
        })
        .optional()?)
}

fn repeated(tx: &Transaction<'_>, bucket_key: i64, new: &NewObject) -> Result<Option<i64>> {
    let Some(key) = &new.idempotency_key else { return Ok(None) };
    Ok(tx
        .prepare_cached(
            "SELECT object_key FROM objects WHERE bucket_key = ?1 AND idempotency_key = ?2",
        )?
        .query_row(params![bucket_key, key], |row| row.get(0))
        .optional()?)
}

fn changes_what_is_the_syncs(new: &NewObject) -> bool {
    !new.blobs.is_empty() || new.path.is_some()
}

/// The property of the first blob whose bytes are missing. Looked for before anything is written:
/// the objects of a batch share a transaction, and the others are made all the same.
fn without_bytes(
    tx: &Transaction<'_>,
    new: &NewObject,
    file_exists: impl Fn(&BlobHash) -> bool,
) -> Result<Option<String>> {
    for blob in &new.blobs {
        let is_missing = match &blob.bytes {
            BlobBytes::Upload(upload_key) => uploads::bytes_of(tx, *upload_key)?.is_none(),
            BlobBytes::Stored(stored) => stored.inline.is_none() && !file_exists(&stored.hash),
        };
        if is_missing {
            return Ok(Some(blob.property.clone()));
        }
    }
    Ok(None)
}

/// The rows of the new object's blobs, whose bytes are all there.
fn blob_keys(tx: &Transaction<'_>, new: &NewObject) -> Result<Vec<i64>> {
    let key = |blob: &NewBlob| match &blob.bytes {
        BlobBytes::Upload(upload_key) => uploads::bytes_of(tx, *upload_key)?
            .ok_or_else(|| StoreError::nonsense("upload", "its bytes were deleted")),
        BlobBytes::Stored(stored) => {
            blobs::ensure(tx, &stored.hash, stored.size, stored.inline.as_deref())
        }
    };
    new.blobs.iter().map(key).collect()
}

/// An object whose blobs are the same under the same properties.
fn equal(
    tx: &Transaction<'_>,
    bucket_key: i64,
    new: &NewObject,
    blob_keys: &[i64],
) -> Result<Option<i64>> {
    let (Some(first), Some(first_key)) = (new.blobs.first(), blob_keys.first()) else {
        return Ok(None);
    };
    let candidates: Vec<i64> = tx
        .prepare_cached(
            "SELECT object_key FROM object_blobs JOIN objects USING (object_key)
             WHERE blob_key = ?1 AND property = ?2 AND bucket_key = ?3 AND state IS NULL
             ORDER BY object_key",
        )?
        .query_map(params![first_key, first.property, bucket_key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for key in candidates {
        let theirs: Vec<(String, i64)> = tx
            .prepare_cached("SELECT property, blob_key FROM object_blobs WHERE object_key = ?1")?
            .query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let is_there = |(blob, key): (&NewBlob, &i64)| {
            theirs.iter().any(|(property, theirs)| *property == blob.property && theirs == key)
        };
        if theirs.len() == blob_keys.len() && new.blobs.iter().zip(blob_keys).all(is_there) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn insert(
    tx: &Transaction<'_>,
    bucket_key: i64,
    new: &NewObject,
    blob_keys: &[i64],
    now: Timestamp,
) -> Result<i64> {
    let id = ObjectId::generate();
    let path = new.path.as_deref().unwrap_or(id.as_str());
    tx.prepare_cached(
        "INSERT INTO objects (id, bucket_key, entry_key, path, size, mime, fields, edges, unique_key,
                              idempotency_key, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, 0, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
    )?
    .execute(params![
        id.as_str(),
        bucket_key,
        path.as_bytes(),
        new.blobs.first().and_then(|blob| blob.mime.as_deref()),
        edits::column(&new.fields)?,
        new.edges.as_ref().map(Value::to_string),
        new.unique_key,
        new.idempotency_key,
        now.as_millisecond(),
    ])?;
    let key = tx.last_insert_rowid();
    let bytes = put_blobs(tx, key, &id, new, blob_keys)?;
    buckets::adjust(tx, bucket_key, 1, bytes)?;
    events::objects(tx, EventKind::ObjectsAdded, bucket_key, &[id.to_string()], now)?;
    Ok(key)
}

fn update(
    tx: &Transaction<'_>,
    bucket_key: i64,
    existing: &Existing,
    new: &NewObject,
    blob_keys: &[i64],
    now: Timestamp,
) -> Result<()> {
    let kept: Option<String> = tx
        .prepare_cached("SELECT fields FROM objects WHERE object_key = ?1")?
        .query_row([existing.key], |row| row.get(0))?;
    let fields = with_fields(tx, existing, kept.as_deref(), new)?;
    tx.prepare_cached(
        "UPDATE objects SET path = coalesce(?2, path), fields = ?3, edges = coalesce(?4, edges),
             mime = coalesce(?5, mime), idempotency_key = coalesce(?6, idempotency_key),
             updated_at_ms = ?7
         WHERE object_key = ?1",
    )?
    .execute(params![
        existing.key,
        new.path.as_deref().map(str::as_bytes),
        edits::column(&fields)?,
        new.edges.as_ref().map(Value::to_string),
        new.blobs.first().and_then(|blob| blob.mime.as_deref()),
        new.idempotency_key,
        now.as_millisecond(),
    ])?;
    let id = ObjectId::from_stored(existing.id.clone());
    let bytes = put_blobs(tx, existing.key, &id, new, blob_keys)?;
    buckets::adjust(tx, bucket_key, 0, bytes)?;
    events::objects(
        tx,
        EventKind::ObjectsUpdated,
        bucket_key,
        std::slice::from_ref(&existing.id),
        now,
    )
}

/// The fields of an existing object with those of a new one over them: an object of a sync keeps
/// them as edits.
fn with_fields(
    tx: &Transaction<'_>,
    existing: &Existing,
    kept: Option<&str>,
    new: &NewObject,
) -> Result<Map<String, Value>> {
    let mut fields: Map<String, Value> = match kept {
        Some(text) => json::read("object", text)?,
        None => Map::new(),
    };
    if !existing.is_synced || new.fields.is_empty() {
        fields.extend(new.fields.clone());
        return Ok(fields);
    }
    let given: Option<String> = tx
        .prepare_cached("SELECT given FROM objects WHERE object_key = ?1")?
        .query_row([existing.key], |row| row.get(0))?;
    let mut edits = match edits::over(tx, existing.key, given.as_deref())? {
        Some(edits) => edits,
        None => Edits { given: fields, ..Edits::default() },
    };
    edits.edited.extend(new.fields.clone());
    edits::save(tx, existing.key, &edits)?;
    Ok(edits.merged())
}

/// Puts blobs in the places of their properties. Returns by how many bytes the object grew.
fn put_blobs(
    tx: &Transaction<'_>,
    object_key: i64,
    id: &ObjectId,
    new: &NewObject,
    blob_keys: &[i64],
) -> Result<i64> {
    for (blob, blob_key) in new.blobs.iter().zip(blob_keys) {
        let old: Option<i64> = tx
            .prepare_cached(
                "SELECT blob_key FROM object_blobs WHERE object_key = ?1 AND property = ?2",
            )?
            .query_row(params![object_key, blob.property], |row| row.get(0))
            .optional()?;
        if let Some(old) = old {
            blobs::maybe_orphaned(tx, old)?;
        }
        let metadata = blob.metadata.as_ref().map(|map| json::write("blob", map)).transpose()?;
        tx.prepare_cached(
            "INSERT OR REPLACE INTO object_blobs
                 (object_key, property, blob_key, id, type, filename, mime, metadata)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            object_key,
            blob.property,
            blob_key,
            BlobId::derived(id, &blob.property, crate::model::CONTENT).as_str(),
            blob.kind,
            blob.filename,
            blob.mime,
            metadata,
        ])?;
        if let BlobBytes::Upload(upload_key) = blob.bytes {
            uploads::used(tx, upload_key, object_key)?;
        }
    }
    let old: i64 = tx
        .prepare_cached("SELECT size FROM objects WHERE object_key = ?1")?
        .query_row([object_key], |row| row.get(0))?;
    let new: i64 = tx
        .prepare_cached(
            "UPDATE objects SET size = (SELECT coalesce(sum(b.size), 0) FROM object_blobs ob
                 JOIN blobs b USING (blob_key) WHERE ob.object_key = ?1)
             WHERE object_key = ?1 RETURNING size",
        )?
        .query_row([object_key], |row| row.get(0))?;
    Ok(new - old)
}

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its new path, if it gets one.
    pub path: Option<String>,
    /// All its fields from now on.
    pub fields: Map<String, Value>,
    /// Of an object of a sync: which of them people wrote, and what the sync gives.
    pub edits: Option<Edits>,
    /// The values of the bucket's unique key, from these fields.
    pub unique_key: Option<String>,
}

/// Changes an object through the API. Returns the id of the object that has its new unique key, if
/// there is one; nothing is changed then.
///
/// # Errors
/// SQLite's.
pub fn change(
    tx: &Transaction<'_>,
    bucket_key: i64,
    object_key: i64,
    change: &Change,
    now: Timestamp,
) -> Result<Option<String>> {
    let taken: Option<String> = tx
        .prepare_cached(
            "SELECT id FROM objects
             WHERE bucket_key = ?1 AND unique_key = ?2 AND object_key <> ?3",
        )?
        .query_row(params![bucket_key, change.unique_key, object_key], |row| row.get(0))
        .optional()?;
    if taken.is_some() {
        return Ok(taken);
    }
    unique_keys::replace(tx, object_key, change.unique_key.as_deref())?;
    let id: String = tx
        .prepare_cached(
            "UPDATE objects SET path = coalesce(?2, path), fields = ?3, updated_at_ms = ?4
             WHERE object_key = ?1 RETURNING id",
        )?
        .query_row(
            params![
                object_key,
                change.path.as_deref().map(str::as_bytes),
                edits::column(&change.fields)?,
                now.as_millisecond(),
            ],
            |row| row.get(0),
        )?;
    if let Some(edits) = &change.edits {
        edits::save(tx, object_key, edits)?;
    }
    events::objects(tx, EventKind::ObjectsUpdated, bucket_key, &[id], now)?;
    Ok(None)
}

/// Marks the entries of an object as deleted: the versions that they have are not taken
/// again.
pub(in crate::store) fn forget_by_entries(tx: &Transaction<'_>, object_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE entries SET object_key = ?2
         WHERE entry_key = (SELECT entry_key FROM objects WHERE object_key = ?1)
             AND (object_key = ?1 OR object_key = ?3)",
    )?
    .execute([object_key, DELETED, TRASHED])?;
    tx.prepare_cached(
        "UPDATE entries SET object_key = ?2, is_duplicate = 0
         WHERE object_key = ?1 AND is_duplicate = 1",
    )?
    .execute([object_key, DELETED])?;
    Ok(())
}

/// The key of the object of that id, unless it is hidden.
///
/// # Errors
/// SQLite's.
pub fn key_of(tx: &Transaction<'_>, bucket_key: i64, id: &str) -> Result<Option<i64>> {
    Ok(tx
        .prepare_cached(
            "SELECT object_key FROM objects WHERE id = ?1 AND bucket_key = ?2 AND state IS NULL",
        )?
        .query_row(params![id, bucket_key], |row| row.get(0))
        .optional()?)
}
