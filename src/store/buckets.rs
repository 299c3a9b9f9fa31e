//! Buckets: found, made, listed, changed. Deletion, which takes longer, is in `bucket_deletion`.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::json;

use super::{
    Result,
    events::{self, About, EventKind},
    json, time,
};
use crate::model::{BucketId, BucketName, BucketSettings};

/// A bucket as the database knows it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: BucketId,
    /// Internal key of its namespace.
    pub namespace_key: i64,
    /// Its name, unique in its namespace.
    pub name: String,
    /// What else there is to say of it.
    pub settings: BucketSettings,
    /// How many objects it has.
    pub object_count: u64,
    /// The sum of their sizes in bytes, shared bytes counted each time.
    pub object_bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its settings were changed last.
    pub updated_at: Timestamp,
    /// Whether it is deleted and only what is in it is still to go.
    pub is_deleting: bool,
    /// How many objects its trash has.
    pub trash_count: u64,
    /// The sum of their sizes in bytes.
    pub trash_bytes: u64,
}

/// The namespace of those who name none: the oldest.
pub(super) const DEFAULT_NAMESPACE: &str = "(SELECT min(namespace_key) FROM namespaces)";

const COLUMNS: &str = "bucket_key, id, name, object_count, object_bytes, created_at_ms,
     namespace_key, settings, updated_at_ms, is_deleting, trash_count, trash_bytes";

fn read(row: &Row<'_>) -> Result<Bucket> {
    let settings: String = row.get(7)?;
    Ok(Bucket {
        key: row.get(0)?,
        id: BucketId::from_stored(row.get(1)?),
        name: row.get(2)?,
        object_count: row.get(3)?,
        object_bytes: row.get(4)?,
        created_at: time::from_ms(row.get(5)?),
        namespace_key: row.get(6)?,
        settings: json::read("bucket", &settings)?,
        updated_at: time::from_ms(row.get(8)?),
        is_deleting: row.get(9)?,
        trash_count: row.get(10)?,
        trash_bytes: row.get(11)?,
    })
}

fn one(
    connection: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Option<Bucket>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM buckets WHERE {condition}"))?
        .query_row(values, |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn several(
    connection: &Connection,
    rest: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Bucket>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM buckets {rest}"))?;
    let mut rows = statement.query(values)?;
    let mut buckets = Vec::new();
    while let Some(row) = rows.next()? {
        buckets.push(read(row)?);
    }
    Ok(buckets)
}

/// The bucket of that name in the default namespace, which is the command line's.
///
/// # Errors
/// SQLite's.
pub fn by_name(connection: &Connection, name: &str) -> Result<Option<Bucket>> {
    one(connection, &format!("namespace_key = {DEFAULT_NAMESPACE} AND name = ?1"), [name])
}

/// The bucket of that id or, failing that, of that name in a namespace.
///
/// # Errors
/// SQLite's.
pub fn named(
    connection: &Connection,
    namespace_key: i64,
    id_or_name: &str,
) -> Result<Option<Bucket>> {
    one(
        connection,
        "namespace_key = ?1 AND (id = ?2 OR name = ?2) ORDER BY id = ?2 DESC LIMIT 1",
        params![namespace_key, id_or_name],
    )
}

/// Whether the bucket exists and is not being deleted.
///
/// # Errors
/// SQLite's.
pub fn is_live(connection: &Connection, bucket_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM buckets WHERE bucket_key = ?1 AND is_deleting = 0")?
        .exists([bucket_key])?)
}

/// The bucket with that key, unless it is gone.
///
/// # Errors
/// SQLite's.
pub fn by_key(connection: &Connection, bucket_key: i64) -> Result<Option<Bucket>> {
    one(connection, "bucket_key = ?1", [bucket_key])
}

/// Every bucket, by name.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Bucket>> {
    several(connection, "WHERE is_deleting = 0 ORDER BY name", [])
}

/// The buckets of a namespace, the newest first.
///
/// # Errors
/// SQLite's.
pub fn of_namespace(connection: &Connection, namespace_key: i64) -> Result<Vec<Bucket>> {
    several(
        connection,
        "WHERE namespace_key = ?1 AND is_deleting = 0 ORDER BY bucket_key DESC",
        [namespace_key],
    )
}

/// The buckets that are deleted and not yet gone.
///
/// # Errors
/// SQLite's.
pub fn being_deleted(connection: &Connection) -> Result<Vec<Bucket>> {
    several(connection, "WHERE is_deleting = 1", [])
}

/// Creates a bucket. Returns `None` where the name is taken.
///
/// # Errors
/// SQLite's.
pub fn insert(
    tx: &Transaction<'_>,
    namespace_key: i64,
    name: &str,
    settings: &BucketSettings,
    now: Timestamp,
) -> Result<Option<Bucket>> {
    let id = BucketId::generate();
    let made = tx
        .prepare_cached(
            "INSERT INTO buckets (id, namespace_key, name, settings, created_at_ms, updated_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.as_str(),
            namespace_key,
            name,
            json::write("bucket", settings)?,
            now.as_millisecond(),
        ])?;
    if made == 0 {
        return Ok(None);
    }
    emit_event(tx, tx.last_insert_rowid(), "created", now)?;
    named(tx, namespace_key, id.as_str())
}

/// Exchanges the name and the settings of a bucket. Returns whether the name was free.
///
/// # Errors
/// SQLite's.
pub fn update(
    tx: &Transaction<'_>,
    bucket: &Bucket,
    name: &str,
    settings: &BucketSettings,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE OR IGNORE buckets SET name = ?2, settings = ?3, updated_at_ms = ?4
             WHERE bucket_key = ?1",
        )?
        .execute(params![
            bucket.key,
            name,
            json::write("bucket", settings)?,
            now.as_millisecond(),
        ])?;
    if changed > 0 {
        emit_event(tx, bucket.key, "changed", now)?;
    }
    Ok(changed > 0)
}

pub(super) fn emit_event(
    tx: &Transaction<'_>,
    bucket_key: i64,
    change: &str,
    now: Timestamp,
) -> Result<()> {
    let about = About::bucket(bucket_key);
    events::append(tx, EventKind::BucketChanged, about, &json!({"change": change}), now)
}

/// What is known of a bucket's objects without looking at each of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extremes {
    /// Bytes of the smallest.
    pub smallest: Option<u64>,
    /// Bytes of the largest.
    pub largest: Option<u64>,
    /// When the newest was made.
    pub newest: Option<Timestamp>,
}

/// Looks at both ends of a bucket's indexes.
///
/// # Errors
/// SQLite's.
pub fn extremes(connection: &Connection, bucket_key: i64) -> Result<Extremes> {
    Ok(connection
        .prepare_cached(
            "SELECT (SELECT size FROM objects INDEXED BY objects_by_size
                     WHERE bucket_key = ?1 AND state IS NULL ORDER BY size LIMIT 1),
                    (SELECT size FROM objects INDEXED BY objects_by_size
                     WHERE bucket_key = ?1 AND state IS NULL ORDER BY size DESC LIMIT 1),
                    (SELECT created_at_ms FROM objects INDEXED BY objects_by_age
                     WHERE bucket_key = ?1 AND state IS NULL ORDER BY object_key DESC LIMIT 1)",
        )?
        .query_row([bucket_key], |row| {
            Ok(Extremes {
                smallest: row.get(0)?,
                largest: row.get(1)?,
                newest: row.get::<_, Option<i64>>(2)?.map(time::from_ms),
            })
        })?)
}

/// The bucket of that name in the default namespace, made if need be. Returns its internal key.
///
/// # Errors
/// SQLite's.
pub fn ensure(tx: &Transaction<'_>, name: &BucketName, now: Timestamp) -> Result<i64> {
    if let Some(found) = by_name(tx, name.as_str())? {
        return Ok(found.key);
    }
    tx.prepare_cached(&format!(
        "INSERT INTO buckets (id, namespace_key, name, created_at_ms, updated_at_ms)
         VALUES (?1, {DEFAULT_NAMESPACE}, ?2, ?3, ?3)"
    ))?
    .execute(params![BucketId::generate().as_str(), name.as_str(), now.as_millisecond()])?;
    Ok(tx.last_insert_rowid())
}

/// What a bucket is set up with.
///
/// # Errors
/// SQLite's, or when the row does not hold what it should.
pub fn settings(connection: &Connection, bucket_key: i64) -> Result<BucketSettings> {
    let text: String = connection
        .prepare_cached("SELECT settings FROM buckets WHERE bucket_key = ?1")?
        .query_row([bucket_key], |row| row.get(0))?;
    json::read("bucket settings", &text)
}

/// Replaces the settings of a bucket.
///
/// # Errors
/// SQLite's.
pub fn set_settings(
    tx: &Transaction<'_>,
    bucket_key: i64,
    settings: &BucketSettings,
    now: Timestamp,
) -> Result<()> {
    let text = json::write("bucket settings", settings)?;
    tx.prepare_cached(
        "UPDATE buckets SET settings = ?2, updated_at_ms = ?3 WHERE bucket_key = ?1",
    )?
    .execute(params![bucket_key, text, now.as_millisecond()])?;
    Ok(())
}

/// Changes the counters by what a transaction did.
pub(super) fn adjust(
    tx: &Transaction<'_>,
    bucket_key: i64,
    objects: i64,
    bytes: i64,
) -> Result<()> {
    if objects != 0 || bytes != 0 {
        tx.prepare_cached(
            "UPDATE buckets SET object_count = object_count + ?2, object_bytes = object_bytes + ?3
             WHERE bucket_key = ?1",
        )?
        .execute([bucket_key, objects, bytes])?;
    }
    Ok(())
}
