//! The right to process: one process of a data directory has it at a time.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{documents::indexes, to_batch};
use crate::store::{Result, StoreError, analytics, time};

/// What a processor shows with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(i64);

/// Who has the right to process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Names the lock file that its process keeps locked for as long as it lives.
    pub worker: String,
    /// Until when, unless renewed.
    pub until: Timestamp,
}

/// Who has the right, expired or not.
///
/// # Errors
/// SQLite's.
pub fn holder(connection: &Connection) -> Result<Option<Holder>> {
    Ok(connection
        .prepare_cached("SELECT worker, expires_at_ms FROM processor WHERE worker IS NOT NULL")?
        .query_row([], |row| Ok(Holder { worker: row.get(0)?, until: time::from_ms(row.get(1)?) }))
        .optional()?)
}

/// Whether there is anything to do: batches, tasks, what waits to be batched, what is due or goes,
/// indexes of documents.
///
/// # Errors
/// SQLite's.
pub fn has_work(connection: &Connection, now: Timestamp) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM batches INDEXED BY batches_open
                            WHERE status IN ('PENDING', 'IN_PROGRESS'))
                OR EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_open
                           WHERE status IN ('PENDING', 'IN_PROGRESS') AND batch_key IS NULL
                             AND kind <> 'api_buckets_delete')
                OR EXISTS (SELECT 1 FROM collections WHERE is_deleting = 1)
                OR EXISTS (SELECT 1 FROM collections
                           WHERE next_run_at_ms <= ?1 AND is_enabled AND is_deleting = 0)",
        )?
        .query_row([now.as_millisecond()], |row| row.get::<_, bool>(0))?
        || !to_batch::syncs_waiting(connection)?.is_empty()
        || indexes::is_unfinished(connection)?
        || analytics::is_due(connection, now)?)
}

/// Takes the right, whoever had it; the caller has decided that it may. What the last holder was
/// trying is marked as having been at hand when it ended.
///
/// # Errors
/// SQLite's.
pub fn take(tx: &Transaction<'_>, worker: &str, until: Timestamp) -> Result<Token> {
    let token = tx
        .prepare_cached(
            "UPDATE processor SET token = token + 1, worker = ?1, expires_at_ms = ?2
             RETURNING token",
        )?
        .query_row(params![worker, until.as_millisecond()], |row| row.get(0))?;
    tx.execute(
        "UPDATE outcomes SET state = 'waiting', deaths = deaths + 1 WHERE state = 'trying'",
        [],
    )?;
    tx.execute("UPDATE batches SET restarts = restarts + 1 WHERE status = 'IN_PROGRESS'", [])?;
    Ok(Token(token))
}

/// Moves the expiry.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another process has the right.
pub fn renew(tx: &Transaction<'_>, token: Token, until: Timestamp) -> Result<()> {
    check(tx, token)?;
    tx.prepare_cached("UPDATE processor SET expires_at_ms = ?1")?
        .execute([until.as_millisecond()])?;
    Ok(())
}

/// Checks that the right is still this one's. The first act of every write of a processor.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another process has it.
pub fn check(tx: &Transaction<'_>, token: Token) -> Result<()> {
    let is_held = tx
        .prepare_cached("SELECT 1 FROM processor WHERE token = ?1 AND worker IS NOT NULL")?
        .exists([token.0])?;
    if is_held { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// Gives the right back. What is being tried stays to be tried, and does not count as tried.
///
/// # Errors
/// SQLite's.
pub fn release(tx: &Transaction<'_>, token: Token) -> Result<()> {
    let released = tx
        .prepare_cached(
            "UPDATE processor SET worker = NULL, expires_at_ms = NULL WHERE token = ?1",
        )?
        .execute([token.0])?;
    if released > 0 {
        tx.execute(
            "UPDATE outcomes SET state = 'waiting', attempts = max(attempts - 1, 0)
             WHERE state = 'trying'",
            [],
        )?;
    }
    Ok(())
}
