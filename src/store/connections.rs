//! Connections: how providers are reached. Their secrets are in `secrets`, sealed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde_json::{Map, Value, json};

use super::{
    Result,
    events::{self, About, EventKind},
    json,
    secrets::{self, Sealed},
    time,
};
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
    /// Reported to others as the permission to write; Catchment itself never writes.
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
/// Returns its internal key.
///
/// # Errors
/// SQLite's.
pub fn ensure(tx: &Transaction<'_>, settings: &model::Connection, now: Timestamp) -> Result<i64> {
    let identity = settings.identity();
    let found = tx
        .prepare_cached(&format!("{SELECT} WHERE identity = ?1"))?
        .query_row([&identity], |row| Ok(read(row)))
        .optional()?
        .transpose()?;
    let settings_json = json::write("connection", settings)?;
    if let Some(found) = found {
        if found.settings != *settings {
            tx.prepare_cached(
                "UPDATE connections SET settings = ?2, updated_at_ms = ?3 WHERE connection_key = ?1",
            )?
            .execute(params![found.key, settings_json, now.as_millisecond()])?;
        }
        return Ok(found.key);
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
        settings.provider.as_str(),
        settings_json,
        now.as_millisecond(),
    ])?;
    Ok(tx.last_insert_rowid())
}

/// `name`, or the first numbered one that no connection has.
///
/// # Errors
/// SQLite's.
pub fn free_name(tx: &Transaction<'_>, name: &str) -> Result<String> {
    let mut candidate = name.to_owned();
    let mut number = 1;
    while named(tx, &candidate)?.is_some() {
        number += 1;
        candidate = format!("{name}-{number}");
    }
    Ok(candidate)
}

/// How a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// Its credentials were refused.
    Refused,
    /// It could not be reached, or not as it is set.
    Unreachable,
}

/// A run or a test succeeded with it, which ends a suspension by failures, not one by a person.
///
/// # Errors
/// SQLite's.
pub fn worked(tx: &Transaction<'_>, connection_key: i64, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE connections SET last_used_at_ms = ?2, last_error = NULL, consecutive_failures = 0,
             status = iif(status = 'FAILED' OR (status = 'SUSPENDED' AND consecutive_failures > 0),
                          'ACTIVE', status)
         WHERE connection_key = ?1",
    )?
    .execute(params![connection_key, now.as_millisecond()])?;
    Ok(())
}

/// It failed a run. It is suspended at once when its credentials were refused, and when it cannot
/// be reached once every active sync of it has failed [`MAX_FAILURES`] times in a row.
///
/// # Errors
/// SQLite's.
pub fn failed(
    tx: &Transaction<'_>,
    connection_key: i64,
    how: ConnectionFailure,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    let suspends = how == ConnectionFailure::Refused
        || !tx
            .prepare_cached(
                "SELECT 1 FROM syncs WHERE connection_key = ?1 AND is_active
                     AND status <> 'ARCHIVED' AND consecutive_failures < ?2",
            )?
            .exists(params![connection_key, MAX_FAILURES])?;
    tx.prepare_cached(
        "UPDATE connections SET last_error = substr(?2, 1, 1000), updated_at_ms = ?3,
             consecutive_failures = consecutive_failures + 1,
             status = iif(?4 AND status IN ('ACTIVE', 'FAILED'), 'SUSPENDED', status)
         WHERE connection_key = ?1",
    )?
    .execute(params![connection_key, reason, now.as_millisecond(), suspends])?;
    Ok(())
}

/// It failed a test: that is noted and suspends nothing, because somebody is looking at it.
///
/// # Errors
/// SQLite's.
pub fn test_failed(
    tx: &Transaction<'_>,
    connection_key: i64,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE connections SET last_error = substr(?2, 1, 1000), updated_at_ms = ?3
         WHERE connection_key = ?1",
    )?
    .execute(params![connection_key, reason, now.as_millisecond()])?;
    Ok(())
}

/// It has turned out who is signed in.
///
/// # Errors
/// SQLite's.
pub fn set_account(tx: &Transaction<'_>, connection_key: i64, account: String) -> Result<()> {
    let mut settings = by_key(tx, connection_key)?.settings;
    settings.set_account(account);
    tx.prepare_cached("UPDATE connections SET settings = ?2 WHERE connection_key = ?1")?
        .execute(params![connection_key, json::write("connection", &settings)?])?;
    Ok(())
}

/// A connection to be created.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// Its public id, which its sealed credentials are bound to.
    pub id: ConnectionId,
    /// What to call it.
    pub name: String,
    /// How it is reached, without secrets.
    pub settings: model::Connection,
    /// A person's words about it.
    pub description: Option<String>,
    /// Whatever its maker wants to keep with it.
    pub metadata: Map<String, Value>,
    /// See [`StoredConnection::write_enabled`].
    pub write_enabled: bool,
    /// Its credentials, if it keeps any.
    pub sealed: Option<Sealed>,
}

/// Keeps a new connection with its credentials; `false` if its name is taken.
///
/// # Errors
/// SQLite's, or [`super::StoreError::KeyRotated`].
pub fn insert(tx: &Transaction<'_>, new: &NewConnection, now: Timestamp) -> Result<bool> {
    if is_taken(tx, &new.name, None)? {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT INTO connections
             (id, name, provider, settings, description, metadata, write_enabled, status,
              created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'ACTIVE', ?8, ?8)",
    )?
    .execute(params![
        new.id.as_str(),
        new.name,
        new.settings.provider.as_str(),
        json::write("connection", &new.settings)?,
        new.description,
        json::write("connection", &new.metadata)?,
        new.write_enabled,
        now.as_millisecond(),
    ])?;
    let key = tx.last_insert_rowid();
    if let Some(sealed) = &new.sealed {
        secrets::keep(tx, key, sealed)?;
    }
    emit_event(tx, &new.id, "created", "ACTIVE", now)?;
    Ok(true)
}

/// Whether a connection that is not archived, other than `except`, has that name.
fn is_taken(connection: &Connection, name: &str, except: Option<i64>) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM connections WHERE name = ?1 AND status <> 'ARCHIVED'
                            AND connection_key IS NOT ?2)",
        )?
        .query_row(params![name, except], |row| row.get(0))?)
}

/// Writes down what a person has changed of a connection; `sealed` replaces its credentials.
/// `false` if its name is taken.
///
/// # Errors
/// SQLite's, or [`super::StoreError::KeyRotated`].
pub fn update(
    tx: &Transaction<'_>,
    changed: &StoredConnection,
    sealed: Option<&Sealed>,
    now: Timestamp,
) -> Result<bool> {
    if is_taken(tx, &changed.name, Some(changed.key))? {
        return Ok(false);
    }
    // Once changed by a user, the command line no longer finds it by its address.
    let is_set_up_anew = by_key(tx, changed.key)?.settings != changed.settings;
    tx.prepare_cached(
        "UPDATE connections SET name = ?2, settings = ?3, description = ?4, metadata = ?5,
             write_enabled = ?6, status = ?7, consecutive_failures = ?8, last_error = ?9,
             identity = iif(?11, NULL, identity), updated_at_ms = ?10
         WHERE connection_key = ?1",
    )?
    .execute(params![
        changed.key,
        changed.name,
        json::write("connection", &changed.settings)?,
        changed.description,
        json::write("connection", &changed.metadata)?,
        changed.write_enabled,
        changed.status,
        changed.consecutive_failures,
        changed.last_error,
        now.as_millisecond(),
        is_set_up_anew,
    ])?;
    match sealed {
        Some(sealed) => secrets::keep(tx, changed.key, sealed)?,
        None => secrets::clear_refusal(tx, changed.key)?,
    }
    emit_event(tx, &changed.id, "changed", &changed.status, now)?;
    Ok(true)
}

/// Puts a connection away for good: its credentials are erased, its name is free again.
///
/// # Errors
/// SQLite's.
pub fn archive(tx: &Transaction<'_>, connection: &StoredConnection, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE connections SET status = 'ARCHIVED', identity = NULL, updated_at_ms = ?2
         WHERE connection_key = ?1",
    )?
    .execute(params![connection.key, now.as_millisecond()])?;
    secrets::erase(tx, connection.key)?;
    emit_event(tx, &connection.id, "archived", "ARCHIVED", now)
}

fn emit_event(
    tx: &Transaction<'_>,
    id: &ConnectionId,
    change: &str,
    status: &str,
    now: Timestamp,
) -> Result<()> {
    let detail = json!({ "connection_id": id, "change": change, "status": status });
    events::append(tx, EventKind::ConnectionChanged, About::default(), &detail, now)
}

/// Which connections a list shows.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    /// Only this provider's; `None`: all but those of `hidden`.
    pub provider: Option<String>,
    /// Providers that are only listed when they are asked for.
    pub hidden: Vec<&'static str>,
    /// Only in this state.
    pub status: Option<String>,
    /// Only those that are `ACTIVE`, or only the others.
    pub is_active: Option<bool>,
}

const WANTED: &str =
    "WHERE iif(?1 IS NULL, provider NOT IN (SELECT value FROM json_each(?4)), provider = ?1)
     AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR (status = 'ACTIVE') = ?3)";

/// At most `limit` connections, newest first, behind the one with internal key `behind`.
///
/// # Errors
/// SQLite's.
pub fn list(
    connection: &Connection,
    wanted: &ConnectionFilter,
    behind: Option<i64>,
    offset: u64,
    limit: u32,
) -> Result<Vec<StoredConnection>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} {WANTED} AND (?5 IS NULL OR connection_key < ?5)
         ORDER BY connection_key DESC LIMIT ?6 OFFSET ?7"
    ))?;
    let mut rows = statement.query(params![
        wanted.provider,
        wanted.status,
        wanted.is_active,
        json::write("provider", &wanted.hidden)?,
        behind,
        limit,
        offset
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// How many connections a list shows in all.
///
/// # Errors
/// SQLite's.
pub fn count(connection: &Connection, wanted: &ConnectionFilter) -> Result<u64> {
    let hidden = json::write("provider", &wanted.hidden)?;
    Ok(connection
        .prepare_cached(&format!("SELECT count(*) FROM connections {WANTED}"))?
        .query_row(params![wanted.provider, wanted.status, wanted.is_active, hidden], |row| {
            row.get(0)
        })?)
}

/// Whose installation this is: the id of the organization, and that of the person.
///
/// # Errors
/// SQLite's.
pub fn owner(connection: &Connection) -> Result<(String, String)> {
    Ok(connection
        .prepare_cached(
            "SELECT (SELECT value FROM installation WHERE name = 'organization_id'),
                    (SELECT value FROM installation WHERE name = 'user_id')",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
