//! Dead letters: entries that could not be taken, until they can or are gone.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{Result, syncs, time};
use crate::model::{DeadLetterId, EntryId, EntryPath, ErrorType};

/// An entry's failure in one run.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The entry.
    pub id: EntryId,
    /// Its path.
    pub path: EntryPath,
    /// What kind of failure.
    pub error_type: ErrorType,
    /// What happened, for a person.
    pub message: String,
}

/// A dead letter as the database knows it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The entry's path.
    pub path: EntryPath,
    /// The kind of failure, as the API spells it.
    pub error_type: String,
    /// What happened last.
    pub message: String,
    /// Runs in which it failed, in a row.
    pub failures: u32,
    /// When it failed last.
    pub last_failed: Timestamp,
}

/// Notes failures of this pass.
pub(super) fn record(
    tx: &Transaction<'_>,
    sync_key: i64,
    pass: i64,
    failures: &[Failure],
    now: Timestamp,
) -> Result<()> {
    let mut upsert = tx.prepare_cached(
        "INSERT INTO dead_letters (id, sync_key, source_id, path, error_type, error_message,
                                   failures, first_failed_ms, last_failed_ms, pass)
         VALUES (?8, ?1, ?2, ?3, ?4, ?5, 1, ?6, ?6, ?7)
         ON CONFLICT (sync_key, source_id) DO UPDATE SET
             path = excluded.path, error_type = excluded.error_type,
             error_message = excluded.error_message,
             failures = CASE WHEN resolved_at_ms IS NULL THEN failures + 1 ELSE 1 END,
             first_failed_ms =
                 CASE WHEN resolved_at_ms IS NULL THEN first_failed_ms ELSE excluded.first_failed_ms END,
             last_failed_ms = excluded.last_failed_ms, pass = excluded.pass,
             resolved_at_ms = NULL",
    )?;
    for failure in failures {
        upsert.execute(params![
            sync_key,
            failure.id.as_bytes(),
            failure.path.as_bytes(),
            failure.error_type.as_str(),
            failure.message,
            now.as_millisecond(),
            pass,
            DeadLetterId::generate().as_str(),
        ])?;
    }
    Ok(())
}

/// Resolves those of entries that have been taken by now.
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

/// At most `limit` entries that failed in a pass and are open still.
///
/// # Errors
/// SQLite's.
pub fn of_pass(
    connection: &Connection,
    sync_key: i64,
    pass: i64,
    limit: u32,
) -> Result<Vec<EntryId>> {
    let mut statement = connection.prepare_cached(
        "SELECT source_id FROM dead_letters
         WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND pass = ?2 LIMIT ?3",
    )?;
    let ids = statement
        .query_map(params![sync_key, pass, limit], |row| Ok(syncs::path(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    Ok(ids)
}

/// Resolves what a complete pass went by without failing: taken, unchanged, filtered out or gone.
///
/// # Errors
/// SQLite's.
pub fn resolve_others(
    tx: &Transaction<'_>,
    sync_key: i64,
    pass: i64,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE dead_letters SET resolved_at_ms = ?3
         WHERE sync_key = ?1 AND resolved_at_ms IS NULL AND pass <> ?2",
    )?
    .execute([sync_key, pass, now.as_millisecond()])?;
    Ok(())
}

/// How many are open.
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

/// The newest `limit` open ones.
///
/// # Errors
/// SQLite's.
pub fn open(connection: &Connection, sync_key: i64, limit: u32) -> Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT path, error_type, error_message, failures, last_failed_ms FROM dead_letters
         WHERE sync_key = ?1 AND resolved_at_ms IS NULL
         ORDER BY last_failed_ms DESC, dead_letter_key DESC LIMIT ?2",
    )?;
    let letters = statement
        .query_map(params![sync_key, limit], |row| {
            Ok(DeadLetter {
                path: syncs::path(row.get(0)?),
                error_type: row.get(1)?,
                message: row.get(2)?,
                failures: row.get(3)?,
                last_failed: time::from_ms(row.get(4)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(letters)
}
