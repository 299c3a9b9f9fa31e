//! Namespaces: drawers that keep buckets apart. The oldest one is the default.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value, json};

use super::{
    Result,
    buckets::DEFAULT_NAMESPACE,
    events::{self, About, EventKind},
    json,
    processing::documents::indexes,
    syncs::{self, Sync},
    time,
};
use crate::model::NamespaceId;

/// A namespace as the database knows it.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: NamespaceId,
    /// What it is called, unique.
    pub name: String,
    /// What its maker wants to keep with it, in the API's names.
    pub settings: Map<String, Value>,
    /// How many buckets are in it.
    pub bucket_count: u64,
    /// How many objects are in those.
    pub object_count: u64,
    /// How many collections are in it.
    pub collection_count: u64,
    /// How many documents are in those.
    pub document_count: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

const SELECT: &str = "SELECT n.namespace_key, n.id, n.name, n.settings, n.created_at_ms,
     n.updated_at_ms, count(b.bucket_key), coalesce(sum(b.object_count), 0),
     (SELECT count(*) FROM collections c
      WHERE c.namespace_key = n.namespace_key AND c.is_deleting = 0),
     (SELECT coalesce(sum(c.document_count), 0) FROM collections c
      WHERE c.namespace_key = n.namespace_key AND c.is_deleting = 0)
     FROM namespaces n
     LEFT JOIN buckets b ON b.namespace_key = n.namespace_key AND b.is_deleting = 0";

fn read(row: &Row<'_>) -> Result<Namespace> {
    let settings: String = row.get(3)?;
    Ok(Namespace {
        key: row.get(0)?,
        id: NamespaceId::from_stored(row.get(1)?),
        name: row.get(2)?,
        settings: json::read("namespace", &settings)?,
        created_at: time::from_ms(row.get(4)?),
        updated_at: time::from_ms(row.get(5)?),
        bucket_count: row.get(6)?,
        object_count: row.get(7)?,
        collection_count: row.get(8)?,
        document_count: row.get(9)?,
    })
}

/// The namespace of that id or name.
///
/// # Errors
/// SQLite's.
pub fn named(connection: &Connection, id_or_name: &str) -> Result<Option<Namespace>> {
    connection
        .prepare_cached(&format!(
            "{SELECT} WHERE n.id = ?1 OR n.name = ?1
             GROUP BY n.namespace_key ORDER BY n.id = ?1 DESC"
        ))?
        .query_row([id_or_name], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

/// The namespace of those who name none.
///
/// # Errors
/// SQLite's.
pub fn default(connection: &Connection) -> Result<Namespace> {
    connection
        .prepare_cached(&format!(
            "{SELECT} GROUP BY n.namespace_key ORDER BY n.namespace_key LIMIT 1"
        ))?
        .query_row([], |row| Ok(read(row)))?
}

/// Every namespace, oldest first.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Namespace>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} GROUP BY n.namespace_key"))?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// Creates a namespace; `false` if the id or name is taken.
///
/// # Errors
/// SQLite's.
pub fn insert(
    tx: &Transaction<'_>,
    id: &NamespaceId,
    name: &str,
    settings: &Map<String, Value>,
    now: Timestamp,
) -> Result<bool> {
    let made = tx
        .prepare_cached(
            "INSERT INTO namespaces (id, name, settings, created_at_ms, updated_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id.as_str(),
            name,
            json::write("namespace", settings)?,
            now.as_millisecond()
        ])?;
    if made > 0 {
        indexes::declare(tx, tx.last_insert_rowid(), settings)?;
    }
    Ok(made > 0)
}

/// Gives it this name and these settings; `false` if another one has the name.
///
/// # Errors
/// SQLite's.
pub fn update(
    tx: &Transaction<'_>,
    namespace_key: i64,
    name: &str,
    settings: &Map<String, Value>,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE OR IGNORE namespaces SET name = ?2, settings = ?3, updated_at_ms = ?4
             WHERE namespace_key = ?1",
        )?
        .execute(params![
            namespace_key,
            name,
            json::write("namespace", settings)?,
            now.as_millisecond()
        ])?;
    if changed > 0 {
        indexes::declare(tx, namespace_key, settings)?;
    }
    Ok(changed > 0)
}

/// Removes a namespace. Buckets and collections of it that are deleted and not gone yet wait in
/// the default one, where they cannot be seen either.
///
/// # Errors
/// SQLite's, one of which is that there are other buckets in it.
pub fn delete(tx: &Transaction<'_>, namespace_key: i64) -> Result<()> {
    tx.prepare_cached(&format!(
        "UPDATE buckets SET namespace_key = {DEFAULT_NAMESPACE}
         WHERE namespace_key = ?1 AND is_deleting = 1"
    ))?
    .execute([namespace_key])?;
    tx.prepare_cached(&format!(
        "UPDATE collections SET namespace_key = {DEFAULT_NAMESPACE}
         WHERE namespace_key = ?1 AND is_deleting = 1"
    ))?
    .execute([namespace_key])?;
    indexes::drop_all(tx, namespace_key)?;
    tx.prepare_cached("DELETE FROM namespaces WHERE namespace_key = ?1")?
        .execute([namespace_key])?;
    Ok(())
}

/// The namespaces whose time is over, the default one aside.
///
/// # Errors
/// SQLite's.
pub fn expired(connection: &Connection, now: Timestamp) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT namespace_key, settings ->> '$.expires_at' FROM namespaces
         WHERE settings ->> '$.expires_at' IS NOT NULL AND namespace_key <> {DEFAULT_NAMESPACE}"
    ))?;
    let ends: Vec<(i64, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<std::result::Result<_, _>>()?;
    let is_over = |end: &str| end.parse::<Timestamp>().is_ok_and(|end| end <= now);
    Ok(ends.into_iter().filter(|(_, end)| is_over(end)).map(|(key, _)| key).collect())
}

/// The syncs into the buckets of a namespace.
///
/// # Errors
/// SQLite's.
pub fn syncs(connection: &Connection, namespace_key: i64) -> Result<Vec<Sync>> {
    let keys: Vec<i64> = connection
        .prepare_cached(
            "SELECT sync_key FROM syncs JOIN buckets USING (bucket_key)
             WHERE namespace_key = ?1 AND is_deleting = 0 ORDER BY sync_key",
        )?
        .query_map([namespace_key], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    keys.into_iter().map(|key| syncs::by_key(connection, key)).collect()
}

/// Removes a namespace whose time is over, and emits an event that says so.
///
/// # Errors
/// SQLite's, one of which is that there are other buckets in it.
pub fn expire(tx: &Transaction<'_>, namespace_key: i64, now: Timestamp) -> Result<()> {
    let name: String = tx
        .prepare_cached("SELECT name FROM namespaces WHERE namespace_key = ?1")?
        .query_row([namespace_key], |row| row.get(0))?;
    delete(tx, namespace_key)?;
    let message =
        format!("the time of namespace {name:?} was over: it was deleted with all its buckets");
    events::append(tx, EventKind::Notice, About::default(), &json!({ "message": message }), now)
}
