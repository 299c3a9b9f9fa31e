//! Dead letters: entries that keep failing, until they succeed or are gone. When one is retried is
//! decided in [`Life`].

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{Result, StoreError, json, syncs, target::Target, time};
use crate::model::{DeadLetterId, EntryId, EntryPath, ErrorType, Life, MAX_RETRIES, Version};

/// An entry's failure in one run.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The entry.
    pub id: EntryId,
    /// Its path.
    pub path: EntryPath,
    /// The version that failed; `None` where it could not even be looked at.
    pub version: Option<Version>,
    /// What kind of failure.
    pub error_type: ErrorType,
    /// What happened, for a person.
    pub message: String,
    /// Whether the entry is as it should be as soon as somebody is done with it: the next run tries
    /// again, and it does not count as a retry that failed.
    pub passes_by_itself: bool,
    /// How long the source wants nobody to try again.
    pub wait: Option<Duration>,
}

/// A dead letter as the database knows it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Internal key.
    pub key: i64,
    /// Public id.
    pub id: DeadLetterId,
    /// Public id of the job in which it failed last.
    pub job_id: Option<String>,
    /// What its source calls the entry.
    pub source_id: EntryId,
    /// The entry's path.
    pub path: EntryPath,
    /// The kind of failure, as the API spells it.
    pub error_type: String,
    /// What happened last.
    pub message: String,
    /// Runs in which it failed, in a row.
    pub failures: u32,
    /// When it failed first.
    pub first_failed: Timestamp,
    /// When it failed last.
    pub last_failed: Timestamp,
    /// Where it is in its life.
    pub life: Life,
    /// When it was requeued.
    pub requeued_at: Option<Timestamp>,
    /// When it was stored after all, or was gone.
    pub resolved_at: Option<Timestamp>,
}

const SELECT: &str = "SELECT dead_letter_key, d.id, j.id, source_id, path, error_type,
     error_message, failures, first_failed_ms, last_failed_ms, retries, retry_at_ms, reattempted_ms,
     requeued_ms, disposed, resolved_at_ms
     FROM dead_letters d LEFT JOIN jobs j USING (job_key)";

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let instant = |column| row.get::<_, Option<i64>>(column).map(|ms| ms.map(time::from_ms));
    let first_failed = time::from_ms(row.get(8)?);
    let requeued_at = instant(13)?;
    Ok(DeadLetter {
        key: row.get(0)?,
        id: DeadLetterId::from_stored(row.get(1)?),
        job_id: row.get(2)?,
        source_id: syncs::path(row.get(3)?),
        path: syncs::path(row.get(4)?),
        error_type: row.get(5)?,
        message: row.get(6)?,
        failures: row.get(7)?,
        first_failed,
        last_failed: time::from_ms(row.get(9)?),
        life: Life {
            since: requeued_at.unwrap_or(first_failed).max(first_failed),
            retries: row.get(10)?,
            retry_at: instant(11)?,
            reattempted_at: instant(12)?,
            disposed: row.get(14)?,
        },
        requeued_at,
        resolved_at: instant(15)?,
    })
}

/// What a plan needs to know of an open dead letter.
#[derive(Clone, Debug)]
pub struct Open {
    /// Internal key.
    pub key: i64,
    /// The version that failed, if it is known.
    pub version: Option<Version>,
    /// Where it is in its life.
    pub life: Life,
    /// Internal key of the job in which it failed last.
    pub job_key: Option<i64>,
}

/// The open dead letters among `ids`. Costs one look where there are none at all.
///
/// # Errors
/// SQLite's.
pub fn among<'a>(
    connection: &Connection,
    sync_key: i64,
    ids: impl Iterator<Item = &'a EntryId>,
) -> Result<HashMap<EntryId, Open>> {
    let mut found = HashMap::new();
    let any = connection
        .prepare_cached(
            "SELECT 1 FROM dead_letters WHERE sync_key = ?1 AND resolved_at_ms IS NULL",
        )?
        .exists([sync_key])?;
    if !any {
        return Ok(found);
    }
    for id in ids {
        if let Some((open, _)) = open_of(connection, sync_key, id)? {
            found.insert(id.clone(), open);
        }
    }
    Ok(found)
}

/// The open dead letter of an entry, and how often it has failed.
fn open_of(connection: &Connection, sync_key: i64, id: &EntryId) -> Result<Option<(Open, u32)>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE d.sync_key = ?1 AND source_id = ?2 AND resolved_at_ms IS NULL"
    ))?;
    let letter = statement.query_row(params![sync_key, id.as_bytes()], read).optional()?;
    let Some(letter) = letter else { return Ok(None) };
    let (version, job_key): (Option<Vec<u8>>, _) = connection
        .prepare_cached("SELECT version, job_key FROM dead_letters WHERE dead_letter_key = ?1")?
        .query_row([letter.key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let version = version.map(Version);
    let open = Open { key: letter.key, version, life: letter.life, job_key };
    Ok(Some((open, letter.failures)))
}

/// Records failures of this pass.
pub(super) fn record(
    tx: &Transaction<'_>,
    target: &Target,
    failures: &[&Failure],
    now: Timestamp,
) -> Result<()> {
    let mut opened = 0;
    for failure in failures {
        let open = open_of(tx, target.fence.sync_key, &failure.id)?;
        opened += u64::from(open.is_none());
        match open {
            Some((open, runs)) if open.version == failure.version || open.version.is_none() => {
                let life = match failure.passes_by_itself {
                    true => open.life.tried_too_early(now),
                    false => open.life.failed_again(now),
                };
                let life = life.not_before(now, failure.wait);
                write(tx, target, failure, &life, runs + 1, now)?;
            }
            Some(_) | None => {
                let life = Life::begun(now).not_before(now, failure.wait);
                write(tx, target, failure, &life, 1, now)?;
            }
        }
    }
    syncs::count_failed(tx, target.fence.sync_key, opened)
}

fn write(
    tx: &Transaction<'_>,
    target: &Target,
    failure: &Failure,
    life: &Life,
    failures: u32,
    now: Timestamp,
) -> Result<()> {
    // `since` is the first failure or the requeueing, which a new life both begins anew.
    let is_new = failures == 1;
    tx.prepare_cached(
        "INSERT INTO dead_letters (id, sync_key, source_id, path, error_type, error_message,
                                   failures, first_failed_ms, last_failed_ms, pass, job_key,
                                   retries, retry_at_ms, reattempted_ms, disposed, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (sync_key, source_id) DO UPDATE SET
             path = excluded.path, error_type = excluded.error_type,
             error_message = excluded.error_message, failures = excluded.failures,
             first_failed_ms = iif(?16, excluded.first_failed_ms, first_failed_ms),
             requeued_ms = iif(?16, NULL, requeued_ms),
             last_failed_ms = excluded.last_failed_ms, pass = excluded.pass,
             job_key = excluded.job_key, retries = excluded.retries,
             retry_at_ms = excluded.retry_at_ms, reattempted_ms = excluded.reattempted_ms,
             disposed = excluded.disposed, version = excluded.version, resolved_at_ms = NULL",
    )?
    .execute(params![
        DeadLetterId::generate().as_str(),
        target.fence.sync_key,
        failure.id.as_bytes(),
        failure.path.as_bytes(),
        failure.error_type.as_str(),
        failure.message,
        failures,
        now.as_millisecond(),
        target.pass,
        target.job_key,
        life.retries,
        life.retry_at.map(Timestamp::as_millisecond),
        life.reattempted_at.map(Timestamp::as_millisecond),
        life.disposed,
        failure.version.as_ref().map(|version| &version.0),
        is_new,
    ])?;
    Ok(())
}

/// Records that entries that failed before still exist but were not due.
pub(super) fn mark_seen(tx: &Transaction<'_>, pass: i64, letters: &[i64]) -> Result<()> {
    let mut update =
        tx.prepare_cached("UPDATE dead_letters SET pass = ?2 WHERE dead_letter_key = ?1")?;
    for key in letters {
        update.execute([*key, pass])?;
    }
    Ok(())
}

/// Resolves those of entries that were fetched.
pub(super) fn resolve<'a>(
    tx: &Transaction<'_>,
    sync_key: i64,
    taken: impl Iterator<Item = &'a EntryId>,
    now: Timestamp,
) -> Result<()> {
    if open_count(tx, sync_key)? == 0 {
        return Ok(());
    }
    let mut resolve = tx.prepare_cached(
        "UPDATE dead_letters SET resolved_at_ms = ?3
         WHERE sync_key = ?1 AND source_id = ?2 AND resolved_at_ms IS NULL",
    )?;
    for id in taken {
        resolve.execute(params![sync_key, id.as_bytes(), now.as_millisecond()])?;
    }
    Ok(())
}

/// Resolves those of entries that are gone.
///
/// # Errors
/// SQLite's.
pub fn resolve_gone(
    tx: &Transaction<'_>,
    sync_key: i64,
    gone: &[EntryId],
    now: Timestamp,
) -> Result<()> {
    resolve(tx, sync_key, gone.iter(), now)
}

/// At most `limit` entries that failed, in one pass or in any, are open still and may be tried at
/// that time; `None`: at any.
///
/// # Errors
/// SQLite's.
pub fn due(
    connection: &Connection,
    sync_key: i64,
    pass: Option<i64>,
    at: Option<Timestamp>,
    limit: u32,
) -> Result<Vec<EntryId>> {
    let mut statement = connection.prepare_cached(
        "SELECT source_id FROM dead_letters
         WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND pass = coalesce(?2, pass)
           AND disposed IS NULL
           AND (retry_at_ms IS NULL OR ?3 IS NULL OR retry_at_ms <= ?3) LIMIT ?4",
    )?;
    let at = at.map(Timestamp::as_millisecond);
    let ids = statement
        .query_map(params![sync_key, pass, at, limit], |row| Ok(syncs::path(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// Resolves what a complete pass went by without failing: taken, unchanged, filtered out or gone.
/// Of entries beneath what it could not list, `unlisted`, it knows nothing.
///
/// # Errors
/// SQLite's.
pub fn resolve_others(
    tx: &Transaction<'_>,
    sync_key: i64,
    pass: i64,
    unlisted: &[EntryPath],
    now: Timestamp,
) -> Result<()> {
    let others: Vec<(i64, EntryPath)> = tx
        .prepare_cached(
            "SELECT dead_letter_key, path FROM dead_letters
             WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND pass <> ?2",
        )?
        .query_map([sync_key, pass], |row| Ok((row.get(0)?, syncs::path(row.get(1)?))))?
        .collect::<Result<_, _>>()?;
    let mut resolve = tx
        .prepare_cached("UPDATE dead_letters SET resolved_at_ms = ?2 WHERE dead_letter_key = ?1")?;
    for (key, path) in others {
        if !unlisted.iter().any(|prefix| path.as_bytes().starts_with(prefix.as_bytes())) {
            resolve.execute([key, now.as_millisecond()])?;
        }
    }
    Ok(())
}

/// How many are open, those included that are tried no more.
///
/// # Errors
/// SQLite's.
pub fn open_count(connection: &Connection, sync_key: i64) -> Result<u64> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM dead_letters WHERE sync_key = ?1 AND resolved_at_ms IS NULL",
        )?
        .query_row([sync_key], |row| row.get(0))?)
}

/// How many are open of each kind of failure, most first.
///
/// # Errors
/// SQLite's.
pub fn open_by_type(connection: &Connection, sync_key: i64) -> Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT error_type, count(*) FROM dead_letters
         WHERE sync_key = ?1 AND resolved_at_ms IS NULL
         GROUP BY error_type ORDER BY count(*) DESC, error_type",
    )?;
    let kinds = statement
        .query_map([sync_key], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(kinds)
}

/// How many are open of each kind of failure whose retries are used up, most first.
///
/// # Errors
/// SQLite's.
pub fn stuck_by_type(connection: &Connection, sync_key: i64) -> Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT error_type, count(*) FROM dead_letters
         WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND retries >= ?2
         GROUP BY error_type ORDER BY count(*) DESC, error_type",
    )?;
    let kinds = statement
        .query_map(params![sync_key, MAX_RETRIES], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(kinds)
}

/// The newest `limit` open ones.
///
/// # Errors
/// SQLite's.
pub fn open(connection: &Connection, sync_key: i64, limit: u32) -> Result<Vec<DeadLetter>> {
    let wanted = DeadLetterFilter { only_open: true, ..DeadLetterFilter::default() };
    Ok(list(connection, sync_key, &wanted, limit, 0)?.0)
}

/// Which dead letters are asked for.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Only those that are not resolved.
    pub only_open: bool,
    /// Only those whose retries are used up.
    pub only_max_retries: bool,
    /// Only of these kinds of failure, as the API spells them; empty: of all.
    pub error_types: Vec<String>,
}

impl DeadLetterFilter {
    /// As SQL, with `?1` the sync, `?2` and `?3` the switches and `?4` the kinds as a JSON array.
    const CONDITION: &'static str = "d.sync_key = ?1 AND (NOT ?2 OR resolved_at_ms IS NULL)
         AND (NOT ?3 OR retries >= ?5)
         AND (?4 = '[]' OR error_type IN (SELECT value FROM json_each(?4)))";

    fn kinds(&self) -> Result<String> {
        kinds(&self.error_types)
    }
}

fn kinds(error_types: &[String]) -> Result<String> {
    json::write("error types", &error_types)
}

/// A page of dead letters, newest failure first, and how many there are in all.
///
/// # Errors
/// SQLite's.
pub fn list(
    connection: &Connection,
    sync_key: i64,
    wanted: &DeadLetterFilter,
    limit: u32,
    offset: u64,
) -> Result<(Vec<DeadLetter>, u64)> {
    let kinds = wanted.kinds()?;
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT} WHERE {} ORDER BY last_failed_ms DESC, dead_letter_key DESC LIMIT ?6 OFFSET ?7",
        DeadLetterFilter::CONDITION
    ))?;
    let (open, exhausted) = (wanted.only_open, wanted.only_max_retries);
    let letters = statement
        .query_map(params![sync_key, open, exhausted, kinds, MAX_RETRIES, limit, offset], read)?
        .collect::<Result<_, _>>()?;
    let total = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM dead_letters d WHERE {}",
            DeadLetterFilter::CONDITION
        ))?
        .query_row(params![sync_key, open, exhausted, kinds, MAX_RETRIES], |row| row.get(0))?;
    Ok((letters, total))
}

/// Gives open ones another life, all or only those of these kinds or ids, and makes the sync due.
/// Returns how many.
///
/// # Errors
/// SQLite's.
pub fn requeue(
    tx: &Transaction<'_>,
    sync_key: i64,
    error_types: &[String],
    ids: &[String],
    now: Timestamp,
) -> Result<u64> {
    let requeued = tx
        .prepare_cached(
            "UPDATE dead_letters SET retries = 0, retry_at_ms = NULL, disposed = NULL,
                                     requeued_ms = ?2
             WHERE sync_key = ?1 AND resolved_at_ms IS NULL
               AND (?4 = '[]' OR id IN (SELECT value FROM json_each(?4)))
               AND (?3 = '[]' OR error_type IN (SELECT value FROM json_each(?3)))",
        )?
        .execute(params![sync_key, now.as_millisecond(), kinds(error_types)?, kinds(ids)?])?;
    if requeued > 0 {
        syncs::make_due(tx, sync_key, now)?;
    }
    u64::try_from(requeued).map_err(|error| StoreError::nonsense("dead letters", error))
}

/// Why one is disposed of that somebody marked as failed.
const BY_HAND: &str = "marked as failed by hand";

/// Makes the open ones of a sync due, because other settings may make good what they failed with.
/// Those that somebody marked as failed stay so.
///
/// # Errors
/// SQLite's.
pub fn make_due(tx: &Transaction<'_>, sync_key: i64, now: Timestamp) -> Result<()> {
    let due = tx
        .prepare_cached(
            "UPDATE dead_letters SET retries = 0, retry_at_ms = NULL, disposed = NULL,
                                     requeued_ms = ?2
             WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND disposed IS NOT ?3",
        )?
        .execute(params![sync_key, now.as_millisecond(), BY_HAND])?;
    if due > 0 { syncs::make_due(tx, sync_key, now) } else { Ok(()) }
}

/// The same for all syncs into a bucket, whose schema has changed.
///
/// # Errors
/// SQLite's.
pub fn make_due_in(tx: &Transaction<'_>, bucket_key: i64, now: Timestamp) -> Result<()> {
    let keys: Vec<i64> = tx
        .prepare_cached("SELECT sync_key FROM syncs WHERE bucket_key = ?1")?
        .query_map([bucket_key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    keys.into_iter().try_for_each(|key| make_due(tx, key, now))
}

/// Marks open ones of these kinds as failed for good: they are tried no more, until their entries
/// change or somebody requeues them. Returns how many.
///
/// # Errors
/// SQLite's.
pub fn give_up(tx: &Transaction<'_>, sync_key: i64, error_types: &[String]) -> Result<u64> {
    let marked = tx
        .prepare_cached(
            "UPDATE dead_letters SET retries = ?2, disposed = ?4
             WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND disposed IS NULL
               AND error_type IN (SELECT value FROM json_each(?3))",
        )?
        .execute(params![sync_key, MAX_RETRIES, kinds(error_types)?, BY_HAND])?;
    u64::try_from(marked).map_err(|error| StoreError::nonsense("dead letters", error))
}

/// Whether any was requeued and has not been tried since.
///
/// # Errors
/// SQLite's.
pub fn any_requeued(connection: &Connection, sync_key: i64) -> Result<bool> {
    awaits_retry(connection, sync_key, Timestamp::MIN)
}

/// Whether any was requeued since `since` and has not been tried yet.
///
/// # Errors
/// SQLite's.
pub fn awaits_retry(connection: &Connection, sync_key: i64, since: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM dead_letters WHERE sync_key = ?1 AND resolved_at_ms IS NULL
                AND requeued_ms >= ?2 AND last_failed_ms < requeued_ms",
        )?
        .exists([sync_key, since.as_millisecond()])?)
}
