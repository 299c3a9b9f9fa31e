//! Connections: how providers are reached. Their secrets are in `secrets`, sealed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value};

use super::{Result, json, time};
use crate::model::{self, ConnectionId};

/// A connection as the database knows it.
#[derive(Clone, Debug)]
pub struct StoredConnection {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: ConnectionId,
    /// What a person calls it; unique among those that are not archived.
    pub name: String,
    /// The provider, as the API spells it.
    pub provider: String,
    /// How it is reached, without secrets.
    pub settings: model::Connection,
    /// A person's words about it.
    pub description: Option<String>,
    /// Whatever its maker wants to keep with it.
    pub metadata: Map<String, Value>,
    /// Whether others may be told that it can be written to; Catchment itself never writes.
    pub write_enabled: bool,
    /// `ACTIVE`, `SUSPENDED`, `FAILED` or `ARCHIVED`.
    pub status: String,
    /// When a run or a test last succeeded with it.
    pub last_used_at: Option<Timestamp>,
    /// Why it failed last, if it did since.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// Failures in a row after which a connection is suspended.
pub const MAX_FAILURES: u32 = 5;

const SELECT: &str = "SELECT connection_key, id, name, provider, settings, description, metadata,
     write_enabled, status, last_used_at_ms, last_error, consecutive_failures, created_at_ms,
     updated_at_ms FROM connections";

fn read(row: &Row<'_>) -> Result<StoredConnection> {
    let (settings, metadata): (String, String) = (row.get(4)?, row.get(6)?);
    Ok(StoredConnection {
        key: row.get(0)?,
        id: ConnectionId::from_stored(row.get(1)?),
        name: row.get(2)?,
        provider: row.get(3)?,
        settings: json::read("connection", &settings)?,
        description: row.get(5)?,
        metadata: json::read("connection", &metadata)?,
        write_enabled: row.get(7)?,
        status: row.get(8)?,
        last_used_at: row.get::<_, Option<i64>>(9)?.map(time::from_ms),
        last_error: row.get(10)?,
        consecutive_failures: row.get(11)?,
        created_at: time::from_ms(row.get(12)?),
        updated_at: time::from_ms(row.get(13)?),
    })
}

/// The connection of that id or name; archived ones only by their id.
///
/// # Errors
/// SQLite's.
pub fn named(connection: &Connection, id_or_name: &str) -> Result<Option<StoredConnection>> {
    connection
        .prepare_cached(&format!(
            "{SELECT} WHERE id = ?1 OR (name = ?1 AND status <> 'ARCHIVED') ORDER BY id = ?1 DESC"
        ))?
        .query_row([id_or_name], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

/// The connection with that internal key.
///
/// # Errors
/// SQLite's, or when there is none.
pub fn by_key(connection: &Connection, connection_key: i64) -> Result<StoredConnection> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE connection_key = ?1"))?
        .query_row([connection_key], |row| Ok(read(row)))?
}

/// Finds or makes the command line's connection with these settings, and keeps them as its newest.
/// Answers its internal key.
///
/// # Errors
/// SQLite's.
pub fn ensure(tx: &Transaction<'_>, settings: &model::Connection, now: Timestamp) -> Result<i64> {
    let identity = settings.identity();
    let found: Option<i64> = tx
        .prepare_cached("SELECT connection_key FROM connections WHERE identity = ?1")?
        .query_row([&identity], |row| row.get(0))
        .optional()?;
    let settings_json = json::write("connection", settings)?;
    if let Some(key) = found {
        tx.prepare_cached(
            "UPDATE connections SET settings = ?2, updated_at_ms = ?3
             WHERE connection_key = ?1 AND settings <> ?2",
        )?
        .execute(params![key, settings_json, now.as_millisecond()])?;
        return Ok(key);
    }
    tx.prepare_cached(
        "INSERT INTO connections
             (id, identity, name, provider, settings, status, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, 'ACTIVE', ?6, ?6)",
    )?
    .execute(params![
        ConnectionId::generate().as_str(),
        identity,
        free_name(tx, &identity)?,
        settings.provider().as_str(),
        settings_json,
        now.as_millisecond(),
    ])?;
    Ok(tx.last_insert_rowid())
}

/// `name`, or the first numbered one that no connection has.
fn free_name(tx: &Transaction<'_>, name: &str) -> Result<String> {
    let mut candidate = name.to_owned();
    let mut number = 1;
    while named(tx, &candidate)?.is_some() {
        number += 1;
        candidate = format!("{name}-{number}");
    }
    Ok(candidate)
}

/// A run or a test succeeded with it.
///
/// # Errors
/// SQLite's.
pub fn worked(tx: &Transaction<'_>, connection_key: i64, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE connections SET last_used_at_ms = ?2, last_error = NULL, consecutive_failures = 0,
             status = iif(status = 'FAILED', 'ACTIVE', status)
         WHERE connection_key = ?1",
    )?
    .execute(params![connection_key, now.as_millisecond()])?;
    Ok(())
}

/// It failed, as a connection: at [`MAX_FAILURES`] in a row it is suspended. This computer never
/// is: a folder that is away says nothing about the next one.
///
/// # Errors
/// SQLite's.
pub fn failed(
    tx: &Transaction<'_>,
    connection_key: i64,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE connections SET last_error = substr(?2, 1, 1000), updated_at_ms = ?3,
             consecutive_failures = consecutive_failures + 1,
             status = iif(consecutive_failures + 1 >= ?4 AND status = 'ACTIVE', 'SUSPENDED', status)
         WHERE connection_key = ?1 AND provider <> 'local'",
    )?
    .execute(params![connection_key, reason, now.as_millisecond(), MAX_FAILURES])?;
    Ok(())
}
