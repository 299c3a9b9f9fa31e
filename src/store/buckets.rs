//! Buckets: found, made, listed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{Result, json, time};
use crate::model::{BucketId, BucketName, BucketSettings};

/// A bucket as the database knows it.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: BucketId,
    /// Its name, unique.
    pub name: String,
    /// How many objects it has.
    pub object_count: u64,
    /// The sum of their sizes in bytes, shared bytes counted each time.
    pub object_bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The namespace of those who name none: the oldest.
pub(super) const DEFAULT_NAMESPACE: &str = "(SELECT min(namespace_key) FROM namespaces)";

const COLUMNS: &str = "bucket_key, id, name, object_count, object_bytes, created_at_ms";

fn read(row: &Row<'_>) -> rusqlite::Result<Bucket> {
    Ok(Bucket {
        key: row.get(0)?,
        id: BucketId::from_stored(row.get(1)?),
        name: row.get(2)?,
        object_count: row.get(3)?,
        object_bytes: row.get(4)?,
        created_at: time::from_ms(row.get(5)?),
    })
}

/// The bucket of that name in the default namespace, which is the command line's.
///
/// # Errors
/// SQLite's.
pub fn by_name(connection: &Connection, name: &str) -> Result<Option<Bucket>> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM buckets WHERE namespace_key = {DEFAULT_NAMESPACE} AND name = ?1"
        ))?
        .query_row([name], read)
        .optional()?)
}

/// The bucket of that id or name in a namespace.
///
/// # Errors
/// SQLite's.
pub fn named(
    connection: &Connection,
    namespace_key: i64,
    id_or_name: &str,
) -> Result<Option<Bucket>> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM buckets WHERE namespace_key = ?1 AND (id = ?2 OR name = ?2)
             ORDER BY id = ?2 DESC"
        ))?
        .query_row(params![namespace_key, id_or_name], read)
        .optional()?)
}

/// Whether the bucket is there still.
///
/// # Errors
/// SQLite's.
pub fn exists(connection: &Connection, bucket_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM buckets WHERE bucket_key = ?1")?
        .exists([bucket_key])?)
}

/// Every bucket, by name.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Bucket>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM buckets ORDER BY name"))?;
    let buckets = statement.query_map([], read)?.collect::<Result<_, _>>()?;
    Ok(buckets)
}

/// The bucket of that name in the default namespace, made if need be. Answers its internal key.
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

/// Sets a bucket up anew.
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
