//! Leases: the right to run a sync, with a fencing token that every write of the run shows.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

pub use super::holder::Holder;
use super::{Result, StoreError, time};

/// The fencing token that a run shows with every write. Tokens only grow, so an old one is
/// recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The sync that the run is of.
    pub sync_key: i64,
    /// The token of its lease.
    pub token: i64,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Holder> {
    Ok(Holder {
        worker: row.get(0)?,
        host: row.get(1)?,
        pid: row.get(2)?,
        since: time::from_ms(row.get(3)?),
        until: time::from_ms(row.get(4)?),
    })
}

/// Who holds the lease of a sync, expired or not.
///
/// # Errors
/// SQLite's.
pub fn holder(connection: &Connection, sync_key: i64) -> Result<Option<Holder>> {
    Ok(connection
        .prepare_cached(
            "SELECT worker, host, pid, acquired_at_ms, expires_at_ms FROM leases WHERE sync_key = ?1",
        )?
        .query_row([sync_key], read)
        .optional()?)
}

/// Takes the lease for `claimant`, whatever stood there; the caller has decided that it may. The
/// jobs that the last holder left running are interrupted.
///
/// # Errors
/// SQLite's.
pub fn take(tx: &Transaction<'_>, sync_key: i64, claimant: &Holder) -> Result<Fence> {
    let token = tx
        .prepare_cached(
            "UPDATE syncs SET last_fence = last_fence + 1 WHERE sync_key = ?1 RETURNING last_fence",
        )?
        .query_row([sync_key], |row| row.get(0))?;
    tx.prepare_cached(
        "INSERT OR REPLACE INTO leases
             (sync_key, token, worker, host, pid, acquired_at_ms, expires_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        sync_key,
        token,
        claimant.worker,
        claimant.host,
        claimant.pid,
        claimant.since.as_millisecond(),
        claimant.until.as_millisecond(),
    ])?;
    Ok(Fence { sync_key, token })
}

/// Checks that the run still holds its lease. The first act of every write of a run.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another took it.
pub fn check(tx: &Transaction<'_>, fence: Fence) -> Result<()> {
    let held = tx
        .prepare_cached("SELECT 1 FROM leases WHERE sync_key = ?1 AND token = ?2")?
        .exists([fence.sync_key, fence.token])?;
    if held { Ok(()) } else { Err(StoreError::LeaseLost) }
}

/// What the holder of a lease should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    GoOn,
    /// Stop at the next checkpoint: somebody asked for it, or the sync was paused, switched off or
    /// deleted.
    Stop,
    /// It holds nothing any more.
    Lost,
}

/// What is wished of the run that holds, or held, a lease.
///
/// # Errors
/// SQLite's.
pub fn wish(connection: &Connection, fence: Fence) -> Result<Wish> {
    let stop: Option<bool> = connection
        .prepare_cached(
            "SELECT l.is_to_stop OR s.status = 'ARCHIVED' OR NOT s.is_active
                 OR (s.pause IS NOT NULL AND NOT s.pause ->> '$.drain')
             FROM leases l JOIN syncs s USING (sync_key) WHERE sync_key = ?1 AND token = ?2",
        )?
        .query_row([fence.sync_key, fence.token], |row| row.get(0))
        .optional()?;
    Ok(match stop {
        Some(false) => Wish::GoOn,
        Some(true) => Wish::Stop,
        None => Wish::Lost,
    })
}

/// Asks the run that holds the lease of a sync to stop at its next checkpoint.
///
/// # Errors
/// SQLite's.
pub fn ask_to_stop(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached("UPDATE leases SET is_to_stop = 1 WHERE sync_key = ?1")?
        .execute([sync_key])?;
    Ok(())
}

/// Whether the run that holds a lease was asked to stop.
///
/// # Errors
/// SQLite's.
pub fn is_to_stop(connection: &Connection, fence: Fence) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM leases WHERE sync_key = ?1 AND token = ?2 AND is_to_stop")?
        .exists([fence.sync_key, fence.token])?)
}

/// Takes the lease of a sync away from its holder. Returns who that was.
///
/// # Errors
/// SQLite's.
pub fn unlock(tx: &Transaction<'_>, sync_key: i64) -> Result<Option<Holder>> {
    let holder = holder(tx, sync_key)?;
    tx.prepare_cached("DELETE FROM leases WHERE sync_key = ?1")?.execute([sync_key])?;
    Ok(holder)
}

/// Every lease, with the internal key of its sync.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> Result<Vec<(i64, Holder)>> {
    let mut statement = connection.prepare_cached(
        "SELECT worker, host, pid, acquired_at_ms, expires_at_ms, sync_key FROM leases",
    )?;
    let leases =
        statement.query_map([], |row| Ok((row.get(5)?, read(row)?)))?.collect::<Result<_, _>>()?;
    Ok(leases)
}

/// Moves the expiry.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another took it.
pub fn renew(tx: &Transaction<'_>, fence: Fence, until: Timestamp) -> Result<()> {
    check(tx, fence)?;
    tx.prepare_cached("UPDATE leases SET expires_at_ms = ?2 WHERE sync_key = ?1")?
        .execute([fence.sync_key, until.as_millisecond()])?;
    Ok(())
}

/// Gives the lease back; one that is lost already stays with its new holder.
///
/// # Errors
/// SQLite's.
pub fn release(tx: &Transaction<'_>, fence: Fence) -> Result<()> {
    tx.prepare_cached("DELETE FROM leases WHERE sync_key = ?1 AND token = ?2")?
        .execute([fence.sync_key, fence.token])?;
    Ok(())
}
