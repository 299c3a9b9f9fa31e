//! The schedule: which syncs are due, which jobs wait, whose workers are gone.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    Result, dead_letters, jobs, json,
    leases::{self, Holder},
    syncs::{self, Sync, SyncState},
    time,
};
use crate::model::{Cause, JobId, JobStatus, Pause, PausedBy, Sweep, SyncStatus};

/// A sync that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Internal key.
    pub sync_key: i64,
    /// When it was due.
    pub since: Timestamp,
    /// Whether this is the next of its regular runs, rather than one that was asked for.
    pub is_regular: bool,
    /// Seconds between its regular runs.
    pub interval_seconds: u32,
}

/// A sync that may run: of a connection that works, and with nothing under way.
const MAY_RUN: &str = "s.is_active AND s.pause IS NULL AND s.status <> 'ARCHIVED'
     AND c.status IN ('ACTIVE', 'FAILED')
     AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.sync_key = s.sync_key AND j.status = 'running')";

/// At most `limit` syncs that are due, the longest waiting first.
///
/// # Errors
/// SQLite's.
pub fn due(connection: &Connection, now: Timestamp, limit: u32) -> Result<Vec<Due>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT s.sync_key, s.next_sync_at_ms, s.status IN ('ACTIVE', 'COMPLETED_WITH_ERRORS', 'FAILED'),
                coalesce(s.options ->> '$.pace.polling_interval_seconds', 300)
         FROM syncs s JOIN connections c USING (connection_key)
         WHERE s.next_sync_at_ms <= ?1 AND {MAY_RUN} ORDER BY s.next_sync_at_ms LIMIT ?2"
    ))?;
    let due = statement
        .query_map(params![now.as_millisecond(), limit], |row| {
            Ok(Due {
                sync_key: row.get(0)?,
                since: time::from_ms(row.get(1)?),
                is_regular: row.get(2)?,
                interval_seconds: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(due)
}

/// Queues a job for a sync, unless it may not run or has one already. Returns whether it did.
/// `is_changed`: not because it is due, but because its folder has changed.
///
/// # Errors
/// SQLite's.
pub fn queue(
    tx: &Transaction<'_>,
    sync_key: i64,
    is_changed: bool,
    now: Timestamp,
) -> Result<bool> {
    let may_run = tx
        .prepare_cached(&format!(
            "SELECT 1 FROM syncs s JOIN connections c USING (connection_key)
             WHERE s.sync_key = ?1 AND {MAY_RUN}"
        ))?
        .exists([sync_key])?;
    if !may_run {
        return Ok(false);
    }
    let sync = syncs::by_key(tx, sync_key)?;
    let cause = match sync.status {
        SyncStatus::Queued if dead_letters::any_requeued(tx, sync_key)? => Cause::Requeue,
        SyncStatus::Interrupted | SyncStatus::Queued => Cause::Resumed,
        _ if is_changed => Cause::FileChanged,
        _ => Cause::Interval,
    };
    let id = JobId::generate();
    jobs::queue(tx, sync_key, &id, cause, Sweep::None, now)?;
    wait(tx, &sync, now)?;
    Ok(true)
}

/// A sync waits for its turn.
fn wait(tx: &Transaction<'_>, sync: &Sync, now: Timestamp) -> Result<()> {
    let waiting =
        SyncState { status: SyncStatus::Queued, next_sync_at: None, ..SyncState::of(sync) };
    syncs::set_state(tx, sync, &waiting, now)
}

/// A job that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Public id.
    pub job: JobId,
    /// Internal key of its sync.
    pub sync_key: i64,
    /// Internal key of that sync's connection.
    pub connection_key: i64,
}

/// The jobs that wait, the longest waiting first; only those whose sync has no other job that has
/// begun.
///
/// # Errors
/// SQLite's.
pub fn waiting(connection: &Connection) -> Result<Vec<Waiting>> {
    let mut statement = connection.prepare_cached(
        "SELECT j.id, j.sync_key, s.connection_key FROM jobs j JOIN syncs s USING (sync_key)
         WHERE j.status = 'running' AND j.started_at_ms IS NULL
           AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.sync_key = j.sync_key
                             AND o.status = 'running' AND o.started_at_ms IS NOT NULL)
         ORDER BY j.job_key",
    )?;
    let waiting = statement
        .query_map([], |row| {
            Ok(Waiting {
                job: JobId::from_stored(row.get(0)?),
                sync_key: row.get(1)?,
                connection_key: row.get(2)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(waiting)
}

/// Brings syncs that are due further ahead than their interval back to it: the clock was ahead
/// when they were put off, and has been set since.
///
/// # Errors
/// SQLite's.
pub fn pull_back(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "UPDATE syncs
         SET next_sync_at_ms =
             ?1 + 1000 * coalesce(options ->> '$.pace.polling_interval_seconds', 300)
         WHERE next_sync_at_ms >
             ?1 + 1000 * coalesce(options ->> '$.pace.polling_interval_seconds', 300)",
    )?
    .execute([now.as_millisecond()])?;
    Ok(())
}

/// The syncs with a job that has begun, and who holds their leases.
///
/// # Errors
/// SQLite's.
pub fn running(connection: &Connection) -> Result<Vec<(i64, Option<Holder>)>> {
    let keys: Vec<i64> = connection
        .prepare_cached(
            "SELECT DISTINCT sync_key FROM jobs WHERE status = 'running'
                AND started_at_ms IS NOT NULL",
        )?
        .query_map([], |row: &Row<'_>| row.get(0))?
        .collect::<Result<_, _>>()?;
    keys.into_iter().map(|key| Ok((key, leases::holder(connection, key)?))).collect()
}

/// Takes a sync over from a worker that is gone, should `gone` still hold the lease: its job is
/// interrupted, and a new one queued to go on. Returns whether it was.
///
/// # Errors
/// SQLite's.
pub fn take_over(
    tx: &Transaction<'_>,
    sync_key: i64,
    gone: Option<&Holder>,
    now: Timestamp,
) -> Result<bool> {
    if leases::holder(tx, sync_key)?.as_ref() != gone {
        return Ok(false);
    }
    leases::unlock(tx, sync_key)?;
    let begun: Option<(i64, i64)> = tx
        .prepare_cached(
            "SELECT job_key, started_at_ms FROM jobs WHERE sync_key = ?1 AND status = 'running'
                AND started_at_ms IS NOT NULL",
        )?
        .query_row([sync_key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((job_key, started_ms)) = begun else { return Ok(false) };
    let why = match gone {
        Some(holder) => format!("its worker on {}, pid {}, has ended", holder.host, holder.pid),
        None => "its worker has ended".to_owned(),
    };
    jobs::end(tx, job_key, JobStatus::Interrupted, Some(&why), now)?;
    let sync = syncs::by_key(tx, sync_key)?;
    if sync.rests() {
        return Ok(true);
    }
    let mut cut_short = SyncState { status: SyncStatus::Interrupted, ..SyncState::of(&sync) };
    // A run that gets further comes to its end sooner or later, however often its process dies.
    let got_further = sync.progressed_at.is_some_and(|at| at.as_millisecond() >= started_ms);
    if got_further {
        syncs::survived(tx, sync_key)?;
    } else if syncs::died(tx, sync_key)? >= MAX_DEATHS {
        syncs::survived(tx, sync_key)?;
        cut_short.status = SyncStatus::Suspended;
        cut_short.next_sync_at = None;
        cut_short.pause = Some(deadly(now));
        return syncs::set_state(tx, &sync, &cut_short, now).map(|()| true);
    }
    syncs::set_state(tx, &sync, &cut_short, now)?;
    if jobs::under_way(tx, sync_key)?.is_none() {
        let id = JobId::generate();
        jobs::queue(tx, sync_key, &id, Cause::Resumed, Sweep::None, now)?;
    }
    Ok(true)
}

/// So many processes in a row may die during a run of a sync that does not get any further, before
/// it waits for somebody to look.
const MAX_DEATHS: u32 = 3;

fn deadly(now: Timestamp) -> Pause {
    let reason = format!(
        "{MAX_DEATHS} times in a row the process that ran this sync died before the run got any \
         further: see its log and the system's (memory may have run out), then resume the sync"
    );
    Pause { reason: Some(reason), at: now, by: PausedBy::Failures, drain: false }
}

/// A folder of this computer that is kept up to date.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Internal key of its sync.
    pub sync_key: i64,
    /// Where it is.
    pub path: Vec<u8>,
    /// Whether the sync has begun a run before.
    pub has_run: bool,
}

/// The places that continuous syncs read at these providers, which are folders of this computer.
///
/// # Errors
/// SQLite's.
pub fn folders(connection: &Connection, providers: &[&str]) -> Result<Vec<Folder>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.sync_key, s.source_path, s.run_counter > 0
         FROM syncs s JOIN connections c USING (connection_key)
         WHERE c.provider IN (SELECT value FROM json_each(?1)) AND s.is_active AND s.pause IS NULL
           AND s.status <> 'ARCHIVED' AND s.options ->> '$.pace.mode' = 'continuous'",
    )?;
    let folders = statement
        .query_map([json::write("provider", &providers)?], |row| {
            Ok(Folder { sync_key: row.get(0)?, path: row.get(1)?, has_run: row.get(2)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(folders)
}

/// When the next sync is due, if any is.
///
/// # Errors
/// SQLite's.
pub fn next_due(connection: &Connection) -> Result<Option<Timestamp>> {
    let next: Option<i64> = connection
        .prepare_cached("SELECT min(next_sync_at_ms) FROM syncs WHERE next_sync_at_ms IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(next.map(time::from_ms))
}
