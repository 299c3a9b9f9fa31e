//! Webhooks: what they are for, the channels that they deliver to, and how far each has come.
//!
//! A channel's place in the log of events is a cursor: what it has delivered is behind it. One
//! process delivers for a channel at a time; it holds the channel for a while and renews that with
//! each delivery.

use jiff::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use super::{
    Result, events, json,
    secrets::{self, Sealed},
    time,
};
use crate::model::Channel;

/// A webhook as the database knows it.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Internal key.
    pub key: i64,
    /// Public id: `wh_` and 16 hexadecimal digits.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The types of events that it is for.
    pub event_types: Vec<String>,
    /// Only events of these types of resources; `None`: of all.
    pub resource_types: Option<Vec<String>>,
    /// Whether a person lets it deliver.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a person changed it last.
    pub updated_at: Timestamp,
    /// Where it delivers to, in order.
    pub channels: Vec<StoredChannel>,
}

/// A channel of a webhook, and how its deliveries go.
#[derive(Clone, Debug)]
pub struct StoredChannel {
    /// Internal key.
    pub key: i64,
    /// Where it delivers to.
    pub channel: Channel,
    /// Deliveries that failed in a row.
    pub failures: u32,
    /// When the first of these failed.
    pub first_failure_at: Option<Timestamp>,
    /// When the last of these failed.
    pub last_failure_at: Option<Timestamp>,
    /// Why.
    pub last_error: Option<String>,
    /// When a delivery last arrived.
    pub last_success_at: Option<Timestamp>,
    /// Since when its failures pause it.
    pub paused_at: Option<Timestamp>,
}

/// What a webhook is made of, or becomes.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// See [`Webhook`].
    pub id: String,
    /// See [`Webhook`].
    pub name: String,
    /// See [`Webhook`].
    pub event_types: Vec<String>,
    /// See [`Webhook`].
    pub resource_types: Option<Vec<String>>,
    /// See [`Webhook`].
    pub is_active: bool,
    /// Its channels, in order.
    pub channels: Vec<ChannelSettings>,
}

/// What a channel is made of, or becomes.
#[derive(Clone, Debug)]
pub struct ChannelSettings {
    /// The channel that it was until now; `None`: it is new.
    pub key: Option<i64>,
    /// Where it delivers to.
    pub channel: Channel,
    /// Its secrets; `None`: it has none.
    pub sealed: Option<Sealed>,
}

const SELECT: &str = "SELECT webhook_key, id, name, event_types, resource_types, is_active,
     created_at_ms, updated_at_ms FROM webhooks";

fn read(connection: &Connection, row: &Row<'_>) -> Result<Webhook> {
    let key = row.get(0)?;
    let event_types: String = row.get(3)?;
    let resource_types: Option<String> = row.get(4)?;
    Ok(Webhook {
        key,
        id: row.get(1)?,
        name: row.get(2)?,
        event_types: json::read("webhook", &event_types)?,
        resource_types: resource_types.map(|text| json::read("webhook", &text)).transpose()?,
        is_active: row.get(5)?,
        created_at: time::from_ms(row.get(6)?),
        updated_at: time::from_ms(row.get(7)?),
        channels: channels(connection, key)?,
    })
}

fn channels(connection: &Connection, webhook_key: i64) -> Result<Vec<StoredChannel>> {
    let mut statement = connection.prepare_cached(
        "SELECT channel_key, config, failures, first_failure_at_ms, last_failure_at_ms, last_error,
                last_success_at_ms, paused_at_ms
         FROM webhook_channels WHERE webhook_key = ?1 ORDER BY channel_key",
    )?;
    let mut rows = statement.query([webhook_key])?;
    let mut channels = Vec::new();
    while let Some(row) = rows.next()? {
        let config: String = row.get(1)?;
        channels.push(StoredChannel {
            key: row.get(0)?,
            channel: json::read("webhook", &config)?,
            failures: row.get(2)?,
            first_failure_at: instant(row, 3)?,
            last_failure_at: instant(row, 4)?,
            last_error: row.get(5)?,
            last_success_at: instant(row, 6)?,
            paused_at: instant(row, 7)?,
        });
    }
    Ok(channels)
}

fn instant(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(time::from_ms))
}

/// The webhook of that id.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, id: &str) -> Result<Option<Webhook>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(|row| read(connection, row)).transpose()
}

/// All webhooks, the newest first. There are few: see the API's bound.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Webhook>> {
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} ORDER BY webhook_key DESC"))?;
    let mut rows = statement.query([])?;
    let mut webhooks = Vec::new();
    while let Some(row) = rows.next()? {
        webhooks.push(read(connection, row)?);
    }
    Ok(webhooks)
}

/// How many webhooks there are.
///
/// # Errors
/// SQLite's.
pub fn count(connection: &Connection) -> Result<usize> {
    Ok(connection
        .prepare_cached("SELECT count(*) FROM webhooks")?
        .query_row([], |row| row.get(0))?)
}

/// Makes a webhook, for events from now on.
///
/// # Errors
/// [`super::StoreError::KeyRotated`] when another key seals by now, or SQLite's.
pub fn insert(tx: &Transaction<'_>, wanted: &WebhookSettings, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO webhooks (id, name, event_types, resource_types, is_active, created_at_ms,
                               updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
    )?
    .execute(params![
        wanted.id,
        wanted.name,
        json::write("webhook", &wanted.event_types)?,
        resource_types(wanted)?,
        wanted.is_active,
        now.as_millisecond(),
    ])?;
    let key = tx.last_insert_rowid();
    for channel in &wanted.channels {
        insert_channel(tx, key, channel)?;
    }
    Ok(())
}

fn resource_types(wanted: &WebhookSettings) -> Result<Option<String>> {
    wanted.resource_types.as_ref().map(|types| json::write("webhook", types)).transpose()
}

fn insert_channel(tx: &Transaction<'_>, webhook_key: i64, wanted: &ChannelSettings) -> Result<()> {
    if let Some(sealed) = &wanted.sealed {
        secrets::check_key(tx, sealed)?;
    }
    tx.prepare_cached(
        "INSERT INTO webhook_channels (webhook_key, config, key_id, sealed, after_key)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        webhook_key,
        json::write("webhook", &wanted.channel)?,
        wanted.sealed.as_ref().map(|sealed| &sealed.key_id),
        wanted.sealed.as_ref().map(|sealed| &sealed.bytes),
        events::newest(tx)?,
    ])?;
    Ok(())
}

/// Changes a webhook. Being active lifts the pauses of its channels, which go on where they were;
/// what happened while a person had it switched off is not delivered.
///
/// # Errors
/// [`super::StoreError::KeyRotated`] when another key seals by now, or SQLite's.
pub fn update(
    tx: &Transaction<'_>,
    before: &Webhook,
    wanted: &WebhookSettings,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE webhooks SET name = ?2, event_types = ?3, resource_types = ?4, is_active = ?5,
                updated_at_ms = ?6 WHERE webhook_key = ?1",
    )?
    .execute(params![
        before.key,
        wanted.name,
        json::write("webhook", &wanted.event_types)?,
        resource_types(wanted)?,
        wanted.is_active,
        now.as_millisecond(),
    ])?;
    for channel in &before.channels {
        if !wanted.channels.iter().any(|wanted| wanted.key == Some(channel.key)) {
            remove_channel(tx, channel.key)?;
        }
    }
    for channel in &wanted.channels {
        match channel.key {
            Some(key) => update_channel(tx, key, channel)?,
            None => insert_channel(tx, before.key, channel)?,
        }
    }
    if !wanted.is_active {
        return Ok(());
    }
    tx.prepare_cached(
        "UPDATE webhook_channels SET failures = 0, first_failure_at_ms = NULL,
                next_try_at_ms = NULL, paused_at_ms = NULL WHERE webhook_key = ?1",
    )?
    .execute([before.key])?;
    if !before.is_active {
        tx.prepare_cached(
            "UPDATE webhook_channels SET after_key = ?2, sent = 0 WHERE webhook_key = ?1",
        )?
        .execute([before.key, events::newest(tx)?])?;
    }
    Ok(())
}

fn update_channel(tx: &Transaction<'_>, key: i64, wanted: &ChannelSettings) -> Result<()> {
    if let Some(sealed) = &wanted.sealed {
        secrets::check_key(tx, sealed)?;
    }
    tx.prepare_cached(
        "UPDATE webhook_channels SET config = ?2, key_id = ?3, sealed = ?4 WHERE channel_key = ?1",
    )?
    .execute(params![
        key,
        json::write("webhook", &wanted.channel)?,
        wanted.sealed.as_ref().map(|sealed| &sealed.key_id),
        wanted.sealed.as_ref().map(|sealed| &sealed.bytes),
    ])?;
    Ok(())
}

fn remove_channel(tx: &Transaction<'_>, key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM webhook_channels WHERE channel_key = ?1")?.execute([key])?;
    Ok(())
}

/// Removes a webhook with its secrets, if it is there.
///
/// # Errors
/// SQLite's.
pub fn remove(tx: &Transaction<'_>, id: &str) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM webhook_channels
         WHERE webhook_key = (SELECT webhook_key FROM webhooks WHERE id = ?1)",
    )?
    .execute([id])?;
    tx.prepare_cached("DELETE FROM webhooks WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Has something delivered once, to an address of no webhook. `body` is JSON.
///
/// # Errors
/// SQLite's.
pub(super) fn deliver_once(tx: &Transaction<'_>, url: &str, body: &str) -> Result<()> {
    tx.prepare_cached("INSERT INTO webhook_channels (body, config, after_key) VALUES (?1, ?2, 0)")?
        .execute(params![body, json::write("webhook", &Channel::plain(url.to_owned()))?])?;
    Ok(())
}

/// A channel that may have something to deliver.
#[derive(Clone, Debug)]
pub struct Due {
    /// Internal key.
    pub key: i64,
    /// The last event that it has delivered; what is delivered once has none.
    pub after: Option<i64>,
    /// The worker that says that it delivers for it, and until when.
    pub sender: Option<(String, Timestamp)>,
}

/// Channels that may have something to deliver, and the newest event.
///
/// # Errors
/// SQLite's.
pub fn due(connection: &Connection, now: Timestamp) -> Result<(Vec<Due>, i64)> {
    let newest = events::newest(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT channel_key, iif(body IS NULL, after_key, NULL), sender, sender_until_ms
         FROM webhook_channels LEFT JOIN webhooks USING (webhook_key)
         WHERE coalesce(is_active, 1) AND paused_at_ms IS NULL
           AND coalesce(next_try_at_ms, 0) <= ?1 AND (body IS NOT NULL OR after_key < ?2)
         ORDER BY channel_key",
    )?;
    let mut rows = statement.query([now.as_millisecond(), newest])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        let sender: Option<String> = row.get(2)?;
        due.push(Due {
            key: row.get(0)?,
            after: row.get(1)?,
            sender: sender.zip(instant(row, 3)?),
        });
    }
    Ok((due, newest))
}

/// A channel that this process delivers for.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Internal key.
    pub key: i64,
    /// Where it delivers to.
    pub channel: Channel,
    /// What is delivered once; `None`: events.
    pub body: Option<String>,
    /// The types of events that it is for.
    pub event_types: Vec<String>,
    /// Only events of these types of resources; `None`: of all.
    pub resource_types: Option<Vec<String>>,
    /// The last event that it has delivered.
    pub after: i64,
    /// How many messages of the event behind that one it has delivered.
    pub sent: usize,
    /// Deliveries that failed in a row.
    pub failures: u32,
    /// When the first of these failed.
    pub first_failure_at: Option<Timestamp>,
}

/// Takes a channel for a worker until a time, if it is still as it was when it was found due.
///
/// # Errors
/// SQLite's.
pub fn claim(
    tx: &Transaction<'_>,
    due: &Due,
    worker: &str,
    until: Timestamp,
) -> Result<Option<Claimed>> {
    let taken = tx
        .prepare_cached(
            "UPDATE webhook_channels SET sender = ?2, sender_until_ms = ?3
             WHERE channel_key = ?1 AND sender IS ?4",
        )?
        .execute(params![
            due.key,
            worker,
            until.as_millisecond(),
            due.sender.as_ref().map(|(sender, _)| sender)
        ])?;
    if taken == 0 {
        return Ok(None);
    }
    let mut statement = tx.prepare_cached(
        "SELECT config, body, event_types, resource_types, after_key, sent, failures,
                first_failure_at_ms
         FROM webhook_channels LEFT JOIN webhooks USING (webhook_key)
         WHERE channel_key = ?1 AND coalesce(is_active, 1) AND paused_at_ms IS NULL",
    )?;
    let mut rows = statement.query([due.key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let config: String = row.get(0)?;
    let list = |column: usize| -> Result<Option<Vec<String>>> {
        let text: Option<String> = row.get(column)?;
        text.map(|text| json::read("webhook", &text)).transpose()
    };
    Ok(Some(Claimed {
        key: due.key,
        channel: json::read("webhook", &config)?,
        body: row.get(1)?,
        event_types: list(2)?.unwrap_or_default(),
        resource_types: list(3)?,
        after: row.get(4)?,
        sent: row.get(5)?,
        failures: row.get(6)?,
        first_failure_at: instant(row, 7)?,
    }))
}

/// Gives a channel back.
///
/// # Errors
/// SQLite's.
pub fn release(tx: &Transaction<'_>, key: i64, worker: &str) -> Result<()> {
    tx.prepare_cached(
        "UPDATE webhook_channels SET sender = NULL, sender_until_ms = NULL
         WHERE channel_key = ?1 AND sender = ?2",
    )?
    .execute(params![key, worker])?;
    Ok(())
}

/// Notes how far a channel has come, and keeps it until a time. `has_sent`: a delivery arrived, and
/// not only events were passed over that it is not for. Returns whether it may go on: it is still
/// this worker's, and still active.
///
/// # Errors
/// SQLite's.
pub fn advance(
    tx: &Transaction<'_>,
    claimed: &Claimed,
    worker: &str,
    has_sent: bool,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    let changed = tx
        .prepare_cached(
            "UPDATE webhook_channels SET after_key = ?3, sent = ?4, sender_until_ms = ?5,
                    failures = iif(?6, 0, failures), next_try_at_ms = NULL,
                    first_failure_at_ms = iif(?6, NULL, first_failure_at_ms),
                    last_success_at_ms = iif(?6, ?7, last_success_at_ms)
             WHERE channel_key = ?1 AND sender = ?2
               AND (webhook_key IS NULL OR webhook_key IN
                       (SELECT webhook_key FROM webhooks WHERE is_active))",
        )?
        .execute(params![
            claimed.key,
            worker,
            claimed.after,
            claimed.sent,
            until.as_millisecond(),
            has_sent,
            now.as_millisecond(),
        ])?;
    Ok(changed > 0)
}

/// What was to be delivered once has arrived, or has failed for too long.
///
/// # Errors
/// SQLite's.
pub fn finish_once(tx: &Transaction<'_>, key: i64, worker: &str) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM webhook_channels WHERE channel_key = ?1 AND sender = ?2 AND body IS NOT NULL",
    )?
    .execute(params![key, worker])?;
    Ok(())
}

/// A delivery that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why.
    pub error: String,
    /// When to try again; `None`: it has failed for too long, and the channel is paused.
    pub next_try_at: Option<Timestamp>,
}

/// Notes a failed delivery, and gives the channel back.
///
/// # Errors
/// SQLite's.
pub fn fail(
    tx: &Transaction<'_>,
    claimed: &Claimed,
    worker: &str,
    failure: &Failure,
    now: Timestamp,
) -> Result<()> {
    let now = now.as_millisecond();
    tx.prepare_cached(
        "UPDATE webhook_channels SET after_key = ?3, sent = ?4, failures = failures + 1,
                first_failure_at_ms = coalesce(first_failure_at_ms, ?5), last_failure_at_ms = ?5,
                last_error = ?6, next_try_at_ms = ?7, paused_at_ms = iif(?7 IS NULL, ?5, NULL),
                sender = NULL, sender_until_ms = NULL
         WHERE channel_key = ?1 AND sender = ?2",
    )?
    .execute(params![
        claimed.key,
        worker,
        claimed.after,
        claimed.sent,
        now,
        failure.error,
        failure.next_try_at.map(Timestamp::as_millisecond),
    ])?;
    Ok(())
}

/// Whether the events behind a place in the log are all still there.
///
/// # Errors
/// SQLite's.
pub fn is_whole_behind(connection: &Connection, after: i64) -> Result<bool> {
    Ok(events::oldest(connection)? <= after + 1)
}
