//! Syncs: what people asked to be kept up to date. How the command line finds or makes its own is
//! in `command_line_syncs`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use roaring::RoaringTreemap;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Result, StoreError, checkpoints,
    events::{self, About, EventKind},
    json, time,
};
use crate::model::{
    BucketId, ConnectionId, Counts, EntryPath, Location, Notice, Pause, SyncId, SyncOptions,
    SyncStatus,
};

/// A sync as the database knows it.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: SyncId,
    /// Internal key of the bucket that it fills.
    pub bucket_key: i64,
    /// That bucket's public id.
    pub bucket_id: BucketId,
    /// That bucket's name.
    pub bucket: String,
    /// Internal key of the connection that it reads through.
    pub connection_key: i64,
    /// That connection's public id.
    pub connection_id: ConnectionId,
    /// Where it reads.
    pub location: Location,
    /// Its settings.
    pub options: SyncOptions,
    /// Who made it.
    pub made_by: MadeBy,
    /// Its state.
    pub status: SyncStatus,
    /// Whether it may run at all.
    pub is_active: bool,
    /// Whether it is paused, and why.
    pub pause: Option<Pause>,
    /// When it is due; `None` when it is not scheduled.
    pub next_sync_at: Option<Timestamp>,
    /// A full run was asked for while another was under way.
    pub pending_full_sync: bool,
    /// The identity of the last root that had content, see `sources::RootIdentity`.
    pub root_identity: Option<String>,
    /// The identity of another root in its place, which somebody does not want.
    pub refused_root: Option<String>,
    /// End of the last complete pass.
    pub last_sync_at: Option<Timestamp>,
    /// Why the last run failed, if it did.
    pub last_error: Option<String>,
    /// Runs that failed since one succeeded.
    pub consecutive_failures: u32,
    /// What its jobs came to, all together.
    pub totals: Totals,
    /// Removals that wait for a decision.
    pub held_removals: Option<HeldRemovals>,
    /// Entries that the pass under way has dealt with.
    pub pass_entries: u64,
    /// Entries of the last complete pass; `None`: there was none.
    pub whole_entries: Option<u64>,
    /// When it got on last.
    pub progressed_at: Option<Timestamp>,
    /// Entries that failed, each once until it is resolved.
    pub failed_entries: u64,
    /// What is true of it and needs no action, in words.
    pub notices: BTreeMap<Notice, String>,
    /// Whether the full run that is still to follow fetches every entry again.
    pub pending_refetch: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last, by a person or a run.
    pub updated_at: Timestamp,
}

impl Sync {
    /// Whether it is not to run, for now or for good.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.pause.is_some() || !self.is_active || self.status == SyncStatus::Archived
    }
}

/// Who made a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    /// `catchment sync`: it runs when that is typed again, or when asked through the API.
    CommandLine,
    /// The API.
    Api,
}

impl MadeBy {
    /// Database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "command_line",
            Self::Api => "api",
        }
    }
}

/// What the jobs of a sync came to: always the sum over them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// What they did.
    pub counts: Counts,
    /// How many have begun.
    pub runs: u64,
    /// How many came to their end.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// How long they ran, in milliseconds.
    pub run_ms: u64,
    /// Objects made or changed a minute, in the job that made the most.
    pub peak_per_minute: f64,
}

/// Why removals are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// The source lists nothing, but did before.
    SourceEmptied,
    /// Another root is in the place of the source.
    SourceReplaced,
    /// They are more than the removal guard allows.
    #[default]
    ManyRemoved,
}

/// Removals that wait for a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRemovals {
    /// Why they are held.
    #[serde(default)]
    pub reason: HeldReason,
    /// How many objects would be removed.
    pub count: u64,
    /// Of how many that the sync has.
    pub of: u64,
    /// Some of their paths, as text.
    pub sample: Vec<String>,
    /// Since when.
    pub held_at: Timestamp,
    /// Since when they are approved: the next complete pass removes what is still gone.
    #[serde(default)]
    pub approved_at: Option<Timestamp>,
    /// The limit of the run that held them last, as text; `None`: the guard's default.
    #[serde(default)]
    pub limit: Option<String>,
    /// The identity of the root that is in the place of the source, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// What every query of whole syncs begins with; `s`, `b` and `c` are sync, bucket and connection.
pub(super) const SELECT: &str =
    "SELECT s.sync_key, s.id, s.bucket_key, b.id, b.name, s.connection_key, c.id, c.settings,
     s.source_path, s.options, s.made_by, s.status, s.is_active, s.pause, s.next_sync_at_ms,
     s.pending_full_sync, s.root_identity, s.last_sync_at_ms, s.last_error, s.consecutive_failures,
     s.synced, s.updated, s.unchanged, s.duplicates, s.filtered, s.failed, s.removed, s.bytes,
     s.run_counter, s.runs_completed, s.runs_failed, s.run_ms, s.held_removals, s.created_at_ms,
     s.updated_at_ms, s.peak_per_minute, s.refused_root, s.pass_entries, s.whole_entries,
     s.progressed_at_ms, s.failed_entries, s.notices, s.pending_refetch
     FROM syncs s JOIN buckets b USING (bucket_key) JOIN connections c USING (connection_key)";

/// Reads a row of [`SELECT`].
pub(super) fn read(row: &Row<'_>) -> Result<Sync> {
    let (connection, options): (String, String) = (row.get(7)?, row.get(9)?);
    let (made_by, status): (String, String) = (row.get(10)?, row.get(11)?);
    let (pause, held): (Option<String>, Option<String>) = (row.get(13)?, row.get(32)?);
    Ok(Sync {
        key: row.get(0)?,
        id: SyncId::from_stored(row.get(1)?),
        bucket_key: row.get(2)?,
        bucket_id: BucketId::from_stored(row.get(3)?),
        bucket: row.get(4)?,
        connection_key: row.get(5)?,
        connection_id: ConnectionId::from_stored(row.get(6)?),
        location: Location {
            connection: json::read("connection", &connection)?,
            source_path: row.get(8)?,
        },
        options: json::read("sync", &options)?,
        made_by: match made_by.as_str() {
            "command_line" => MadeBy::CommandLine,
            _ => MadeBy::Api,
        },
        status: status.parse().map_err(|error| StoreError::nonsense("sync", error))?,
        is_active: row.get(12)?,
        pause: pause.map(|json| json::read("pause", &json)).transpose()?,
        next_sync_at: row.get::<_, Option<i64>>(14)?.map(time::from_ms),
        pending_full_sync: row.get(15)?,
        root_identity: row.get(16)?,
        refused_root: row.get(36)?,
        last_sync_at: row.get::<_, Option<i64>>(17)?.map(time::from_ms),
        last_error: row.get(18)?,
        consecutive_failures: row.get(19)?,
        totals: Totals {
            counts: Counts {
                synced: row.get(20)?,
                updated: row.get(21)?,
                unchanged: row.get(22)?,
                duplicates: row.get(23)?,
                filtered: row.get(24)?,
                failed: row.get(25)?,
                removed: row.get(26)?,
                bytes: row.get(27)?,
            },
            runs: row.get(28)?,
            completed: row.get(29)?,
            failed: row.get(30)?,
            run_ms: row.get(31)?,
            peak_per_minute: row.get(35)?,
        },
        held_removals: held.map(|json| json::read("held removal", &json)).transpose()?,
        pass_entries: row.get(37)?,
        whole_entries: row.get(38)?,
        progressed_at: row.get::<_, Option<i64>>(39)?.map(time::from_ms),
        failed_entries: row.get(40)?,
        notices: json::read("notice", &row.get::<_, String>(41)?)?,
        pending_refetch: row.get(42)?,
        created_at: time::from_ms(row.get(33)?),
        updated_at: time::from_ms(row.get(34)?),
    })
}

/// Replaces a sync's settings. A run that continues from a checkpoint compares with them those that
/// the checkpoint was made under.
///
/// # Errors
/// SQLite's.
pub fn set_options(
    tx: &Transaction<'_>,
    sync: &Sync,
    options: &SyncOptions,
    now: Timestamp,
) -> Result<()> {
    if sync.options == *options {
        return Ok(());
    }
    tx.prepare_cached("UPDATE syncs SET options = ?2, updated_at_ms = ?3 WHERE sync_key = ?1")?
        .execute(params![sync.key, json::write("sync", options)?, now.as_millisecond()])?;
    Ok(())
}

/// A sync to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewSync<'a> {
    /// The bucket that it fills.
    pub bucket_key: i64,
    /// The connection that it reads through.
    pub connection_key: i64,
    /// Where it reads.
    pub source_path: &'a [u8],
    /// Its settings.
    pub options: &'a SyncOptions,
    /// Who makes it.
    pub made_by: MadeBy,
    /// Whether the bucket was chosen; else it was named after the source.
    pub named_bucket: bool,
    /// When it is due first; `None`: when asked.
    pub next_sync_at: Option<Timestamp>,
}

/// Makes a sync.
///
/// # Errors
/// SQLite's.
pub fn insert(tx: &Transaction<'_>, new: &NewSync<'_>, now: Timestamp) -> Result<Sync> {
    tx.prepare_cached(
        "INSERT INTO syncs (id, bucket_key, connection_key, source_path, options, made_by,
                            named_bucket, status, next_sync_at_ms, created_at_ms, updated_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
    )?
    .execute(params![
        SyncId::generate().as_str(),
        new.bucket_key,
        new.connection_key,
        new.source_path,
        json::write("sync", new.options)?,
        new.made_by.as_str(),
        new.named_bucket,
        SyncStatus::Pending.as_str(),
        new.next_sync_at.map(Timestamp::as_millisecond),
        now.as_millisecond(),
    ])?;
    let key = tx.last_insert_rowid();
    let detail = json!({"change": "created", "status": SyncStatus::Pending});
    events::append(tx, EventKind::SyncChanged, About::sync(key), &detail, now)?;
    by_key(tx, key)
}

/// Every sync that is not deleted, oldest first.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<Sync>> {
    let mut statement = connection
        .prepare_cached(&format!("{SELECT} WHERE s.status <> 'ARCHIVED' ORDER BY s.sync_key"))?;
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

/// The sync with that public id, deleted ones too.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, id: &str) -> Result<Option<Sync>> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE s.id = ?1"))?
        .query_row([id], |row| Ok(read(row)))
        .optional()?
        .transpose()
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

/// The place of a sync is another one: that of another account.
///
/// # Errors
/// SQLite's.
pub fn set_source_path(tx: &Transaction<'_>, sync_key: i64, source_path: &[u8]) -> Result<()> {
    tx.prepare_cached("UPDATE syncs SET source_path = ?2 WHERE sync_key = ?1")?
        .execute(params![sync_key, source_path])?;
    Ok(())
}

/// Remembers a root in the place of the source that somebody refused; `None`: there is none.
///
/// # Errors
/// SQLite's.
pub fn refuse_root(tx: &Transaction<'_>, sync_key: i64, identity: Option<&str>) -> Result<()> {
    tx.prepare_cached(
        "UPDATE syncs SET refused_root = ?2 WHERE sync_key = ?1 AND refused_root IS NOT ?2",
    )?
    .execute(params![sync_key, identity])?;
    Ok(())
}

/// The pass in which a full run of the sync began that is not complete yet.
///
/// # Errors
/// SQLite's.
pub fn full_since(connection: &Connection, sync_key: i64) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached("SELECT full_since FROM syncs WHERE sync_key = ?1")?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Remembers that a full run began in a pass; `None`: it is complete.
///
/// # Errors
/// SQLite's.
pub fn set_full_since(tx: &Transaction<'_>, sync_key: i64, pass: Option<i64>) -> Result<()> {
    tx.prepare_cached(
        "UPDATE syncs SET full_since = ?2 WHERE sync_key = ?1 AND full_since IS NOT ?2",
    )?
    .execute(params![sync_key, pass])?;
    Ok(())
}

/// How many objects the sync has made: what a share of removals is a share of.
///
/// # Errors
/// SQLite's.
pub fn object_count(connection: &Connection, sync_key: i64) -> Result<u64> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM entries
             WHERE sync_key = ?1 AND is_duplicate = 0 AND object_key > 0",
        )?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Whether the sync has stored anything at all.
///
/// # Errors
/// SQLite's.
pub fn has_entries(connection: &Connection, sync_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE sync_key = ?1)")?
        .query_row([sync_key], |row| row.get(0))?)
}

/// Writes down removals that wait, with the keys of their entries, or that none do.
///
/// # Errors
/// SQLite's.
pub fn hold_removals(
    tx: &Transaction<'_>,
    sync_key: i64,
    held: Option<(&HeldRemovals, &RoaringTreemap)>,
) -> Result<()> {
    let json = held.map(|(held, _)| json::write("held removal", held)).transpose()?;
    let entries = held.map(|(_, entries)| checkpoints::bytes_of(entries)).transpose()?;
    tx.prepare_cached(
        "UPDATE syncs SET held_removals = ?2, held_entries = ?3 WHERE sync_key = ?1",
    )?
    .execute(params![sync_key, json, entries])?;
    Ok(())
}

/// The removals of a sync that wait for a decision, if there are any.
///
/// # Errors
/// SQLite's.
pub fn held_removals(connection: &Connection, sync_key: i64) -> Result<Option<HeldRemovals>> {
    let held: Option<String> = connection
        .prepare_cached("SELECT held_removals FROM syncs WHERE sync_key = ?1")?
        .query_row([sync_key], |row| row.get(0))?;
    held.map(|json| json::read("held removal", &json)).transpose()
}

/// The keys of the entries whose removal waits for a decision.
///
/// # Errors
/// SQLite's.
pub fn held_entries(connection: &Connection, sync_key: i64) -> Result<RoaringTreemap> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT held_entries FROM syncs WHERE sync_key = ?1")?
        .query_row([sync_key], |row| row.get(0))?;
    bytes.map(|bytes| checkpoints::bitmap(&bytes)).transpose().map(Option::unwrap_or_default)
}

/// Makes a sync due at once, unless it rests. One that runs is due again when the run has ended.
///
/// # Errors
/// SQLite's.
pub fn make_due(tx: &Transaction<'_>, sync_key: i64, now: Timestamp) -> Result<()> {
    let sync = by_key(tx, sync_key)?;
    if sync.rests() || sync.status == SyncStatus::InProgress {
        return Ok(());
    }
    let due =
        SyncState { status: SyncStatus::Queued, next_sync_at: Some(now), ..SyncState::of(&sync) };
    set_state(tx, &sync, &due, now)
}

/// The state of a sync once a run of it has ended, or it was changed.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncState {
    /// Its state.
    pub status: SyncStatus,
    /// Whether it is paused.
    pub pause: Option<Pause>,
    /// When it is due.
    pub next_sync_at: Option<Timestamp>,
    /// Runs that failed since one succeeded.
    pub consecutive_failures: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// The end of the last complete pass.
    pub last_sync_at: Option<Timestamp>,
    /// Whether a full run is still to follow.
    pub pending_full_sync: bool,
    /// Whether that one fetches every entry again.
    pub pending_refetch: bool,
}

impl SyncState {
    /// As a sync stands now.
    #[must_use]
    pub fn of(sync: &Sync) -> Self {
        Self {
            status: sync.status,
            pause: sync.pause.clone(),
            next_sync_at: sync.next_sync_at,
            consecutive_failures: sync.consecutive_failures,
            last_error: sync.last_error.clone(),
            last_sync_at: sync.last_sync_at,
            pending_full_sync: sync.pending_full_sync,
            pending_refetch: sync.pending_refetch,
        }
    }
}

/// One more process died during a run of the sync that got no further; returns how many that are in
/// a row.
///
/// # Errors
/// SQLite's.
pub(super) fn died(tx: &Transaction<'_>, sync_key: i64) -> Result<u32> {
    Ok(tx
        .prepare_cached(
            "UPDATE syncs SET deaths = deaths + 1 WHERE sync_key = ?1 RETURNING deaths",
        )?
        .query_row([sync_key], |row| row.get(0))?)
}

/// The process outlived a run of the sync, or the run got further.
///
/// # Errors
/// SQLite's.
pub fn survived(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached("UPDATE syncs SET deaths = 0 WHERE sync_key = ?1 AND deaths <> 0")?
        .execute([sync_key])?;
    Ok(())
}

/// Stores the state of a sync, and emits an event if its status has changed.
///
/// # Errors
/// SQLite's.
pub fn set_state(
    tx: &Transaction<'_>,
    sync: &Sync,
    state: &SyncState,
    now: Timestamp,
) -> Result<()> {
    let pause = state.pause.as_ref().map(|pause| json::write("pause", pause)).transpose()?;
    tx.prepare_cached(
        "UPDATE syncs SET status = ?2, pause = ?3, next_sync_at_ms = ?4, consecutive_failures = ?5,
             last_error = substr(?6, 1, 1000), last_sync_at_ms = ?7, pending_full_sync = ?8,
             updated_at_ms = ?9, pending_refetch = ?10
         WHERE sync_key = ?1",
    )?
    .execute(params![
        sync.key,
        state.status.as_str(),
        pause,
        state.next_sync_at.map(Timestamp::as_millisecond),
        state.consecutive_failures,
        state.last_error,
        state.last_sync_at.map(Timestamp::as_millisecond),
        state.pending_full_sync,
        now.as_millisecond(),
        state.pending_refetch,
    ])?;
    if state.status != sync.status || state.pause != sync.pause {
        let detail = json!({
            "change": "status",
            "status": state.status,
            "was": sync.status,
            "paused": state.pause.is_some(),
            "reason": state.pause.as_ref().and_then(|pause| pause.reason.as_deref()),
        });
        events::append(tx, EventKind::SyncChanged, About::sync(sync.key), &detail, now)?;
    }
    Ok(())
}

/// Switches a sync on or off, and emits an event.
///
/// # Errors
/// SQLite's.
pub fn set_active(tx: &Transaction<'_>, sync: &Sync, on: bool, now: Timestamp) -> Result<()> {
    tx.prepare_cached("UPDATE syncs SET is_active = ?2, updated_at_ms = ?3 WHERE sync_key = ?1")?
        .execute(params![sync.key, on, now.as_millisecond()])?;
    let detail = json!({"change": "is_active", "is_active": on, "status": sync.status});
    events::append(tx, EventKind::SyncChanged, About::sync(sync.key), &detail, now)
}

/// Adds what a transaction of a job did to the totals, and to how far its pass has come.
pub(super) fn count(
    tx: &Transaction<'_>,
    sync_key: i64,
    counts: &Counts,
    now: Timestamp,
) -> Result<()> {
    let changes_objects = counts.synced + counts.updated + counts.removed > 0;
    tx.prepare_cached(
        "UPDATE syncs SET synced = synced + ?2, updated = updated + ?3, unchanged = unchanged + ?4,
             duplicates = duplicates + ?5, filtered = filtered + ?6, failed = failed + ?7,
             removed = removed + ?8, bytes = bytes + ?9, pass_entries = pass_entries + ?10,
             progressed_at_ms =
                 iif(?11 OR pass_entries + ?10 > pass_peak, ?12, progressed_at_ms),
             pass_peak = max(pass_peak, pass_entries + ?10)
         WHERE sync_key = ?1",
    )?
    .execute(params![
        sync_key,
        counts.synced,
        counts.updated,
        counts.unchanged,
        counts.duplicates,
        counts.filtered,
        counts.failed,
        counts.removed,
        counts.bytes,
        counts.discovered(),
        changes_objects,
        now.as_millisecond(),
    ])?;
    Ok(())
}

/// A pass is resumed at its checkpoints: what lies before them is done.
///
/// # Errors
/// SQLite's.
pub fn pass_resumed(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE syncs SET pass_entries = max(0, (SELECT coalesce(sum(objects_processed), 0)
                 FROM checkpoints c WHERE c.sync_key = syncs.sync_key) - pass_base)
         WHERE sync_key = ?1",
    )?
    .execute([sync_key])?;
    Ok(())
}

/// Sets how many entries the pass that begins has dealt with already.
///
/// # Errors
/// SQLite's.
pub fn set_pass_entries(tx: &Transaction<'_>, sync_key: i64, entries: u64) -> Result<()> {
    tx.prepare_cached("UPDATE syncs SET pass_entries = ?2 WHERE sync_key = ?1")?
        .execute(params![sync_key, entries])?;
    Ok(())
}

/// A pass is complete. The next one is measured by it, if it was over the whole source.
///
/// # Errors
/// SQLite's.
pub fn pass_completed(tx: &Transaction<'_>, sync_key: i64, is_whole: bool) -> Result<()> {
    tx.prepare_cached(
        "UPDATE syncs SET whole_entries = iif(?2, pass_entries, whole_entries), pass_entries = 0,
                          pass_peak = 0
         WHERE sync_key = ?1",
    )?
    .execute(params![sync_key, is_whole])?;
    Ok(())
}

/// So many more entries have failed that had not before, or were resolved since.
pub(super) fn count_failed(tx: &Transaction<'_>, sync_key: i64, entries: u64) -> Result<()> {
    if entries > 0 {
        tx.prepare_cached(
            "UPDATE syncs SET failed_entries = failed_entries + ?2 WHERE sync_key = ?1",
        )?
        .execute(params![sync_key, entries])?;
    }
    Ok(())
}

/// Sets what a notice of a sync says; `None`: it is not true any more.
///
/// # Errors
/// SQLite's.
pub fn set_notice(
    tx: &Transaction<'_>,
    sync_key: i64,
    notice: Notice,
    message: Option<&str>,
) -> Result<()> {
    let path = format!("$.{}", notice.as_str());
    tx.prepare_cached(
        "UPDATE syncs SET notices = iif(?3 IS NULL, json_remove(notices, ?2),
                                        json_set(notices, ?2, ?3))
         WHERE sync_key = ?1 AND notices ->> ?2 IS NOT ?3",
    )?
    .execute(params![sync_key, path, message])?;
    Ok(())
}

/// A path out of a stored blob column.
pub(super) fn path(bytes: Vec<u8>) -> EntryPath {
    EntryPath::new(bytes)
}

/// The syncs that read through a connection and can run.
///
/// # Errors
/// SQLite's.
pub fn active_of_connection(connection: &Connection, connection_key: i64) -> Result<Vec<Sync>> {
    let mut statement = connection
        .prepare_cached("SELECT sync_key FROM syncs WHERE connection_key = ?1 ORDER BY sync_key")?;
    let keys: Vec<i64> = statement
        .query_map([connection_key], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let syncs = keys.into_iter().map(|key| by_key(connection, key));
    syncs.filter(|sync| sync.as_ref().map_or(true, |sync| !sync.rests())).collect()
}
