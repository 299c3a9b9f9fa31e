//! Connections and syncs: what people asked to be kept in step.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Result, StoreError, buckets, time};
use crate::model::{self, BucketName, ConnectionId, EntryPath, Location, SyncId, SyncOptions};

/// A sync as the database knows it.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: SyncId,
    /// Internal key of the bucket that it fills.
    pub bucket_key: i64,
    /// That bucket's name.
    pub bucket: String,
    /// Where it reads.
    pub location: Location,
    /// Its settings.
    pub options: SyncOptions,
    /// The identity of the last root that had content, see `sources::RootIdentity`.
    pub root_identity: Option<String>,
    /// End of the last complete pass.
    pub last_sync_at: Option<Timestamp>,
    /// Why the last run failed, if it did.
    pub last_error: Option<String>,
    /// Removals that wait for somebody's word.
    pub held_removals: Option<HeldRemovals>,
}

/// Removals that the guard held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRemovals {
    /// How many objects would go.
    pub count: u64,
    /// Of how many that the sync has.
    pub of: u64,
    /// Some of their paths, as text.
    pub sample: Vec<String>,
    /// Since when.
    pub held_at: Timestamp,
}

const SELECT: &str = "SELECT s.sync_key, s.id, s.bucket_key, b.name, c.settings, s.source_path,
     s.options, s.root_identity, s.last_sync_at_ms, s.last_error, s.held_removals
     FROM syncs s JOIN buckets b USING (bucket_key) JOIN connections c USING (connection_key)";

fn read(row: &Row<'_>) -> Result<Sync> {
    let connection: String = row.get(4)?;
    let options: String = row.get(6)?;
    let held: Option<String> = row.get(10)?;
    Ok(Sync {
        key: row.get(0)?,
        id: SyncId::from_stored(row.get(1)?),
        bucket_key: row.get(2)?,
        bucket: row.get(3)?,
        location: Location {
            connection: from_json("connection", &connection)?,
            source_path: row.get(5)?,
        },
        options: from_json("sync", &options)?,
        root_identity: row.get(7)?,
        last_sync_at: row.get::<_, Option<i64>>(8)?.map(time::from_ms),
        last_error: row.get(9)?,
        held_removals: held.map(|json| from_json("held removal", &json)).transpose()?,
    })
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| StoreError::nonsense(what, error))
}

fn to_json(what: &'static str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::nonsense(what, error))
}

/// Which bucket a sync is for.
#[derive(Clone, Debug)]
pub enum BucketChoice {
    /// The one that somebody named.
    Named(BucketName),
    /// The one named after the source: this name, or a numbered one where other sources have it.
    AfterSource(BucketName),
}

/// Finds the sync from `location` into the chosen bucket without changing anything.
///
/// # Errors
/// SQLite's.
pub fn find(
    connection: &Connection,
    location: &Location,
    bucket: &BucketChoice,
) -> Result<Option<Sync>> {
    let (condition, name) = match bucket {
        BucketChoice::Named(name) => ("b.name = ?3", Some(name.as_str())),
        BucketChoice::AfterSource(_) => ("s.named_bucket = 0 AND ?3 IS NULL", None),
    };
    connection
        .prepare_cached(&format!(
            "{SELECT} WHERE c.identity = ?1 AND s.source_path = ?2 AND {condition}"
        ))?
        .query_row(params![location.connection.identity(), location.source_path, name], |row| {
            Ok(read(row))
        })
        .optional()?
        .transpose()
}

/// Finds or makes the sync from `location` into the chosen bucket, the bucket and the connection
/// along with it, and keeps `options` and the connection's settings as its newest ones.
///
/// # Errors
/// SQLite's.
pub fn ensure(
    tx: &Transaction<'_>,
    location: &Location,
    bucket: &BucketChoice,
    options: &SyncOptions,
    now: Timestamp,
) -> Result<Sync> {
    let connection_key = ensure_connection(tx, &location.connection, now)?;
    let options_json = to_json("sync", options)?;
    if let Some(found) = find(tx, location, bucket)? {
        tx.prepare_cached("UPDATE syncs SET options = ?2 WHERE sync_key = ?1")?
            .execute(params![found.key, options_json])?;
    } else {
        let (name, named) = match bucket {
            BucketChoice::Named(name) => (name.clone(), true),
            BucketChoice::AfterSource(name) => (free_name(tx, name)?, false),
        };
        let bucket_key = buckets::ensure(tx, &name, now)?;
        tx.prepare_cached(
            "INSERT INTO syncs (id, bucket_key, connection_key, source_path, options, named_bucket,
                                created_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            SyncId::generate().as_str(),
            bucket_key,
            connection_key,
            location.source_path,
            options_json,
            named,
            now.as_millisecond(),
        ])?;
    }
    find(tx, location, bucket)?
        .ok_or_else(|| StoreError::nonsense("sync", "it is gone right after it was made"))
}

/// `name`, or the first numbered one that no bucket has.
fn free_name(tx: &Transaction<'_>, name: &BucketName) -> Result<BucketName> {
    let mut candidate = name.clone();
    let mut number = 1;
    while buckets::by_name(tx, candidate.as_str())?.is_some() {
        number += 1;
        candidate = name.numbered(number);
    }
    Ok(candidate)
}

fn ensure_connection(
    tx: &Transaction<'_>,
    connection: &model::Connection,
    now: Timestamp,
) -> Result<i64> {
    Ok(tx
        .prepare_cached(
            "INSERT INTO connections (id, identity, settings, created_at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (identity) DO UPDATE SET settings = excluded.settings
             RETURNING connection_key",
        )?
        .query_row(
            params![
                ConnectionId::generate().as_str(),
                connection.identity(),
                to_json("connection", connection)?,
                now.as_millisecond(),
            ],
            |row| row.get(0),
        )?)
}

/// Every sync, oldest first.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Sync>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} ORDER BY s.sync_key"))?;
    let mut rows = statement.query([])?;
    let mut syncs = Vec::new();
    while let Some(row) = rows.next()? {
        syncs.push(read(row)?);
    }
    Ok(syncs)
}

/// The sync with that internal key.
///
/// # Errors
/// SQLite's, or when there is none.
pub fn by_key(connection: &Connection, sync_key: i64) -> Result<Sync> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE s.sync_key = ?1"))?
        .query_row([sync_key], |row| Ok(read(row)))?
}

/// Remembers the root that was found, once it has content.
///
/// # Errors
/// SQLite's.
pub fn remember_root(tx: &Transaction<'_>, sync_key: i64, identity: Option<&str>) -> Result<()> {
    tx.prepare_cached("UPDATE syncs SET root_identity = ?2 WHERE sync_key = ?1")?
        .execute(params![sync_key, identity])?;
    Ok(())
}

/// How many objects the sync has made: what a share of removals is a share of.
///
/// # Errors
/// SQLite's.
pub fn object_count(connection: &Connection, sync_key: i64) -> Result<u64> {
    Ok(connection
        .prepare_cached("SELECT count(*) FROM entries WHERE sync_key = ?1 AND is_duplicate = 0")?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Whether the sync has taken anything at all.
///
/// # Errors
/// SQLite's.
pub fn has_entries(connection: &Connection, sync_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE sync_key = ?1)")?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Writes down removals that wait, or that none do.
///
/// # Errors
/// SQLite's.
pub fn hold_removals(
    tx: &Transaction<'_>,
    sync_key: i64,
    held: Option<&HeldRemovals>,
) -> Result<()> {
    let json = held.map(|held| to_json("held removal", held)).transpose()?;
    tx.prepare_cached("UPDATE syncs SET held_removals = ?2 WHERE sync_key = ?1")?
        .execute(params![sync_key, json])?;
    Ok(())
}

/// A complete pass came to its end.
///
/// # Errors
/// SQLite's.
pub fn pass_completed(tx: &Transaction<'_>, sync_key: i64, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE syncs SET last_sync_at_ms = ?2, last_error = NULL WHERE sync_key = ?1",
    )?
    .execute(params![sync_key, now.as_millisecond()])?;
    Ok(())
}

/// A run failed, and why.
///
/// # Errors
/// SQLite's.
pub fn run_failed(tx: &Transaction<'_>, sync_key: i64, reason: &str) -> Result<()> {
    tx.prepare_cached("UPDATE syncs SET last_error = ?2 WHERE sync_key = ?1")?
        .execute(params![sync_key, reason])?;
    Ok(())
}

/// A path out of a stored blob column.
pub(super) fn path(bytes: Vec<u8>) -> EntryPath {
    EntryPath::new(bytes)
}
