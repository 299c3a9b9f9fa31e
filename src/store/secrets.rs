//! Sealed secrets of connections and webhooks, and which key seals new ones. The keys themselves
//! are never here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, StoreError, json};
use crate::model::{self, ProviderName, RENEWAL_LEASE_SECS};

/// Name of the row of `installation` that says which key seals.
const CURRENT: &str = "secrets_key";

/// Prefix of the rows of `installation` that name keys which are no longer needed and are yet to be
/// removed from where they are kept.
const RETIRED: &str = "secrets_retired:";

/// Prefix of the rows of `installation` that name keys which were made and have sealed nothing yet.
const UNUSED: &str = "secrets_unused:";

/// Credentials as they are at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Which key opens it.
    pub key_id: String,
    /// The envelope.
    pub bytes: Vec<u8>,
}

/// Which row keeps an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A connection, by its internal key.
    Connection(i64),
    /// A channel of a webhook, by its internal key.
    Channel(i64),
}

/// Sealed secrets and whose they are.
#[derive(Clone, Debug)]
pub struct StoredSecrets {
    /// Which row keeps them.
    pub owner: Owner,
    /// Public id of the connection or webhook, which the envelope is bound to.
    pub owner_id: String,
    /// What it is called, for messages: `the connection "archive"`.
    pub owner_name: String,
    /// The envelope.
    pub sealed: Sealed,
}

const OF_CONNECTIONS: &str = "SELECT connection_key, c.id, c.name, key_id, sealed
     FROM secrets JOIN connections c USING (connection_key)";

/// A connection and the credentials that it has.
#[derive(Clone, Debug)]
pub struct Has {
    /// Internal key of the connection.
    pub connection_key: i64,
    /// Its settings.
    pub settings: model::Connection,
    /// Its credentials.
    pub kept: StoredSecrets,
    /// What their server said when it refused them.
    pub refusal: Option<String>,
}

const OF_CHANNELS: &str = "SELECT channel_key, w.id, w.name, key_id, sealed
     FROM webhook_channels JOIN webhooks w USING (webhook_key) WHERE sealed IS NOT NULL";

fn of_connection(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredSecrets> {
    read(row, Owner::Connection, "connection")
}

fn of_channel(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredSecrets> {
    read(row, Owner::Channel, "webhook")
}

fn read(
    row: &rusqlite::Row<'_>,
    owner: fn(i64) -> Owner,
    noun: &str,
) -> rusqlite::Result<StoredSecrets> {
    let name: String = row.get(2)?;
    Ok(StoredSecrets {
        owner: owner(row.get(0)?),
        owner_id: row.get(1)?,
        owner_name: format!("the {noun} {name:?}"),
        sealed: Sealed { key_id: row.get(3)?, bytes: row.get(4)? },
    })
}

/// The sealed credentials of a connection, if it has any.
///
/// # Errors
/// SQLite's.
pub fn of(connection: &Connection, connection_key: i64) -> Result<Option<StoredSecrets>> {
    Ok(connection
        .prepare_cached(&format!("{OF_CONNECTIONS} WHERE connection_key = ?1"))?
        .query_row([connection_key], of_connection)
        .optional()?)
}

/// All that are kept.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<StoredSecrets>> {
    let mut statement = connection.prepare_cached(OF_CONNECTIONS)?;
    let connections = statement.query_map([], of_connection)?;
    let mut kept: Vec<StoredSecrets> = connections.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare_cached(OF_CHANNELS)?;
    for channel in statement.query_map([], of_channel)? {
        kept.push(channel?);
    }
    Ok(kept)
}

/// The sealed secrets of a channel of a webhook, if it has any.
///
/// # Errors
/// SQLite's.
pub fn of_channel_key(connection: &Connection, channel_key: i64) -> Result<Option<StoredSecrets>> {
    Ok(connection
        .prepare_cached(&format!("{OF_CHANNELS} AND channel_key = ?1"))?
        .query_row([channel_key], of_channel)
        .optional()?)
}

/// Keeps the credentials of a connection in place of those before.
///
/// # Errors
/// [`StoreError::KeyRotated`] when another key seals by now, or SQLite's.
pub fn keep(tx: &Transaction<'_>, connection_key: i64, sealed: &Sealed) -> Result<()> {
    check_key(tx, sealed)?;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO secrets (connection_key, key_id, sealed) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![connection_key, sealed.key_id, sealed.bytes])?;
    Ok(())
}

/// What was sealed before a rotation is not to be kept after it.
///
/// # Errors
/// [`StoreError::KeyRotated`] when another key seals by now, or SQLite's.
pub(super) fn check_key(connection: &Connection, sealed: &Sealed) -> Result<()> {
    match current_key(connection)?.as_deref() == Some(&sealed.key_id) {
        true => Ok(()),
        false => Err(StoreError::KeyRotated),
    }
}

/// Puts renewed credentials in the place of those that were read as `before`, and gives the lease
/// on renewing them back; `false` when others are kept by now.
///
/// # Errors
/// [`StoreError::KeyRotated`] when another key seals by now, or SQLite's.
pub fn exchange(
    tx: &Transaction<'_>,
    connection_key: i64,
    before: &[u8],
    after: &Sealed,
) -> Result<bool> {
    check_key(tx, after)?;
    let changed = tx
        .prepare_cached(
            "UPDATE secrets SET key_id = ?3, sealed = ?4, renewer = NULL, renewing_until_ms = NULL,
                                refusal = NULL
             WHERE connection_key = ?1 AND sealed = ?2",
        )?
        .execute(params![connection_key, before, after.key_id, after.bytes])?;
    Ok(changed == 1)
}

/// Takes the lease on renewing the credentials of a connection, unless another than `renewer` holds
/// it. One that ends later than any that is given now was given before the clock was set back.
///
/// # Errors
/// SQLite's.
pub fn claim(
    tx: &Transaction<'_>,
    connection_key: i64,
    renewer: &str,
    now: Timestamp,
) -> Result<bool> {
    let now = now.as_millisecond();
    let until = now.saturating_add(i64::try_from(RENEWAL_LEASE_SECS * 1000).unwrap_or(i64::MAX));
    let changed = tx
        .prepare_cached(
            "UPDATE secrets SET renewer = ?2, renewing_until_ms = ?4
             WHERE connection_key = ?1 AND (renewer IS NULL OR renewer = ?2
                 OR renewing_until_ms <= ?3 OR renewing_until_ms > ?4)",
        )?
        .execute(params![connection_key, renewer, now, until])?;
    Ok(changed == 1)
}

/// Gives the lease on renewing credentials back, if `renewer` still holds it.
///
/// # Errors
/// SQLite's.
pub fn release(tx: &Transaction<'_>, connection_key: i64, renewer: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE secrets SET renewer = NULL, renewing_until_ms = NULL
         WHERE connection_key = ?1 AND renewer = ?2",
    )?
    .execute(params![connection_key, renewer])?;
    Ok(())
}

/// Takes the lease on the credentials of several connections, as [`claim`] does: of all or of none.
///
/// # Errors
/// SQLite's.
pub fn claim_all(
    tx: &Transaction<'_>,
    connection_keys: &[i64],
    renewer: &str,
    now: Timestamp,
) -> Result<bool> {
    for key in connection_keys {
        if !claim(tx, *key, renewer, now)? {
            release_all(tx, connection_keys, renewer)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives the leases of [`claim_all`] back.
///
/// # Errors
/// SQLite's.
pub fn release_all(tx: &Transaction<'_>, connection_keys: &[i64], renewer: &str) -> Result<()> {
    connection_keys.iter().try_for_each(|key| release(tx, *key, renewer))
}

/// The connections of a provider that have credentials.
///
/// # Errors
/// SQLite's.
pub fn of_provider(connection: &Connection, provider: &ProviderName) -> Result<Vec<Has>> {
    let mut statement = connection.prepare_cached(
        "SELECT connection_key, c.id, c.name, key_id, sealed, c.settings, refusal
         FROM secrets JOIN connections c USING (connection_key) WHERE c.provider = ?1",
    )?;
    let mut rows = statement.query([provider.as_str()])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Has {
            connection_key: row.get(0)?,
            kept: of_connection(row)?,
            settings: json::read("connection", &row.get::<_, String>(5)?)?,
            refusal: row.get(6)?,
        });
    }
    Ok(all)
}

/// Writes down that the credentials which were read as `sealed` were refused.
///
/// # Errors
/// SQLite's.
pub fn record_refusal(
    tx: &Transaction<'_>,
    connection_key: i64,
    sealed: &[u8],
    refusal: &str,
) -> Result<()> {
    tx.prepare_cached("UPDATE secrets SET refusal = ?3 WHERE connection_key = ?1 AND sealed = ?2")?
        .execute(params![connection_key, sealed, refusal])?;
    Ok(())
}

/// Forgets that the credentials of a connection were refused.
///
/// # Errors
/// SQLite's.
pub fn clear_refusal(tx: &Transaction<'_>, connection_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE secrets SET refusal = NULL WHERE connection_key = ?1 AND refusal IS NOT NULL",
    )?
    .execute([connection_key])?;
    Ok(())
}

/// Forgets the credentials of a connection.
///
/// # Errors
/// SQLite's.
pub fn erase(tx: &Transaction<'_>, connection_key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM secrets WHERE connection_key = ?1")?
        .execute([connection_key])?;
    Ok(())
}

/// Forgets all credentials, and the names of their keys.
///
/// # Errors
/// SQLite's.
pub(super) fn erase_all(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM secrets", [])?;
    connection.execute("UPDATE webhook_channels SET key_id = NULL, sealed = NULL", [])?;
    connection.execute(
        "DELETE FROM installation WHERE name = ?1 OR substr(name, 1, length(?2)) = ?2
             OR substr(name, 1, length(?3)) = ?3",
        [CURRENT, RETIRED, UNUSED],
    )?;
    Ok(())
}

/// Names of the keys that are needed: the one that seals now, and those that open what is kept.
///
/// # Errors
/// SQLite's.
pub fn key_ids(connection: &Connection) -> Result<BTreeSet<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT key_id FROM secrets
         UNION SELECT key_id FROM webhook_channels WHERE key_id IS NOT NULL",
    )?;
    let mut ids = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    BTreeSet::extend(&mut ids, current_key(connection)?);
    Ok(ids)
}

/// The key that seals now.
///
/// # Errors
/// SQLite's.
pub fn current_key(connection: &Connection) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached("SELECT value FROM installation WHERE name = ?1")?
        .query_row([CURRENT], |row| row.get(0))
        .optional()?)
}

/// Lets `new` seal from now on, if `old` is what seals now.
///
/// # Errors
/// [`StoreError::KeyRotated`] when something else does, or SQLite's.
pub fn change_key(tx: &Transaction<'_>, old: Option<&str>, new: &str) -> Result<()> {
    if current_key(tx)?.as_deref() != old {
        return Err(StoreError::KeyRotated);
    }
    tx.prepare_cached("INSERT OR REPLACE INTO installation VALUES (?1, ?2)")?
        .execute([CURRENT, new])?;
    forget(tx, UNUSED, new)
}

/// Writes down that a key is about to be made. Until something is sealed with it ([`change_key`],
/// [`rotate`]), it is one that may be removed.
///
/// # Errors
/// SQLite's.
pub fn key_is_made(tx: &Transaction<'_>, id: &str, now: Timestamp) -> Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO installation VALUES (?1, ?2)")?
        .execute([format!("{UNUSED}{id}"), now.as_second().to_string()])?;
    Ok(())
}

/// Puts newly sealed envelopes in place of all that there are, lets their key seal from now on, and
/// writes down which keys may go.
///
/// # Errors
/// [`StoreError::KeyRotated`] when the envelopes are not those of `before` any more, or SQLite's.
pub fn rotate(
    tx: &Transaction<'_>,
    before: &[StoredSecrets],
    after: &[Sealed],
    old: Option<&str>,
    new: &str,
) -> Result<()> {
    let mut of_connection = tx.prepare_cached(
        "UPDATE secrets SET key_id = ?3, sealed = ?4 WHERE connection_key = ?1 AND sealed = ?2",
    )?;
    let mut of_channel = tx.prepare_cached(
        "UPDATE webhook_channels SET key_id = ?3, sealed = ?4
         WHERE channel_key = ?1 AND sealed = ?2",
    )?;
    for (kept, sealed) in before.iter().zip(after) {
        let (exchange, key) = match kept.owner {
            Owner::Connection(key) => (&mut of_connection, key),
            Owner::Channel(key) => (&mut of_channel, key),
        };
        let changed =
            exchange.execute(params![key, kept.sealed.bytes, sealed.key_id, sealed.bytes])?;
        if changed == 0 {
            return Err(StoreError::KeyRotated);
        }
    }
    let others: i64 = tx
        .prepare_cached(
            "SELECT count(*) FROM (SELECT key_id FROM secrets
                                   UNION ALL SELECT key_id FROM webhook_channels)
             WHERE key_id <> ?1",
        )?
        .query_row([new], |row| row.get(0))?;
    if others > 0 {
        return Err(StoreError::KeyRotated);
    }
    change_key(tx, old, new)?;
    let mut retire = tx.prepare_cached("INSERT OR REPLACE INTO installation VALUES (?1, '')")?;
    for id in before.iter().map(|kept| kept.sealed.key_id.as_str()).chain(old) {
        retire.execute([format!("{RETIRED}{id}")])?;
    }
    Ok(())
}

/// The keys that nothing needs and that are yet to be removed: those that were exchanged, and those
/// that were made before `made_before` and have never sealed anything.
///
/// # Errors
/// SQLite's.
pub fn unneeded_keys(connection: &Connection, made_before: Timestamp) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT substr(name, length(?1) + 1) FROM installation
         WHERE substr(name, 1, length(?1)) = ?1
         UNION ALL
         SELECT substr(name, length(?2) + 1) FROM installation
         WHERE substr(name, 1, length(?2)) = ?2 AND CAST(value AS INTEGER) < ?3",
    )?;
    let rows =
        statement.query_map(params![RETIRED, UNUSED, made_before.as_second()], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A key that nothing needs has been removed.
///
/// # Errors
/// SQLite's.
pub fn removed_key(tx: &Transaction<'_>, id: &str) -> Result<()> {
    forget(tx, RETIRED, id)?;
    forget(tx, UNUSED, id)
}

fn forget(tx: &Transaction<'_>, prefix: &str, id: &str) -> Result<()> {
    tx.prepare_cached("DELETE FROM installation WHERE name = ?1")?
        .execute([format!("{prefix}{id}")])?;
    Ok(())
}
