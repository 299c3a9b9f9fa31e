//! Commands that people give a sync: pause, resume, run, unlock, archive. Each command is one
//! transaction, so that two of them never mix. Runs are not here: a command to run is a job in the
//! queue.

use jiff::Timestamp;

use super::{
    Engine, lease,
    sync_state::{self, Ending},
};
use crate::{
    model::{Cause, JobId, Pause, PausedBy, Sweep, SyncStatus},
    store::{
        self, Connection, StoreError, Transaction,
        connections::{self, StoredConnection},
        dead_letters, jobs,
        jobs::Job,
        leases::{self, Holder},
        syncs::{self, Sync, SyncState},
    },
};

/// Why a command is refused, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The sync was deleted; only its history is kept.
    #[error("this sync was deleted and is kept for its history only: make a new one")]
    Deleted,
    /// It is paused.
    #[error("this sync is paused{}: resume it first (POST …/resume)", because(.reason.as_deref()))]
    Paused {
        /// Why, if somebody said.
        reason: Option<String>,
    },
    /// It is switched off.
    #[error("this sync is switched off: PATCH it with {{\"is_active\": true}} first")]
    Inactive,
    /// Its connection cannot be used.
    #[error("its connection {name:?} is {status}{}: {way_out}", because(reason.as_deref()))]
    Connection {
        /// The name of the connection.
        name: String,
        /// Its status, as the API spells it.
        status: String,
        /// What went wrong with it last.
        reason: Option<String>,
        /// What to do about it.
        way_out: &'static str,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// The result of a command to run.
#[derive(Debug)]
pub enum Triggered {
    /// This job is in the queue, or was already.
    Queued(Job),
    /// This job holds the lease; a full run follows it if one was asked for.
    Running(Job),
}

/// The result of unlocking.
#[derive(Debug)]
pub struct Unlocked {
    /// Who held the lease, if anybody did.
    pub holder: Option<Holder>,
    /// The job that was interrupted by it.
    pub interrupted: Option<Job>,
}

impl Engine {
    /// Pauses a sync. A run in progress stops at its next checkpoint, unless `drain` lets it
    /// finish; waiting jobs are skipped. Pausing again only changes the reason.
    ///
    /// # Errors
    /// [`CommandError::Deleted`].
    pub async fn pause(
        &self,
        sync_key: i64,
        reason: Option<String>,
        drain: bool,
    ) -> Result<(), CommandError> {
        let now = self.clock.now();
        let pause = Pause { reason, at: now, by: PausedBy::Person, drain };
        self.store.write(move |tx| paused(tx, sync_key, pause, now)).await
    }

    /// Tries a connection that failures have suspended, and ends that if it works.
    ///
    /// # Errors
    /// The store's.
    pub async fn revive_connection(&self, connection_key: i64) -> Result<(), CommandError> {
        let found = self.store.read(move |db| connections::by_key(db, connection_key)).await?;
        if found.status == "SUSPENDED" && found.consecutive_failures > 0 {
            // How it went is noted with the connection, where the command to resume finds it.
            let _ = self.test_stored_connection(&found).await?;
        }
        Ok(())
    }

    /// Ends a pause or suspension; the next run is due at once. Changes nothing about a sync that
    /// is not paused.
    ///
    /// # Errors
    /// When nothing would run: the sync was deleted or is switched off, or its connection was
    /// deleted or is suspended.
    pub async fn resume(&self, sync_key: i64) -> Result<(), CommandError> {
        let (now, engine) = (self.clock.now(), self.clone());
        self.store
            .write(move |tx| {
                let sync = syncs::by_key(tx, sync_key)?;
                if !sync.is_active && sync.status != SyncStatus::Archived {
                    return Err(CommandError::Inactive);
                }
                resumed(tx, sync_key, &engine, now)
            })
            .await
    }

    /// Queues a run, a full one if `sweep` says so.
    ///
    /// # Errors
    /// When the sync is paused, switched off or deleted, or its connection cannot be used.
    pub async fn trigger(&self, sync_key: i64, sweep: Sweep) -> Result<Triggered, CommandError> {
        let (now, engine) = (self.clock.now(), self.clone());
        self.store.write(move |tx| triggered(tx, sync_key, sweep, &engine, now)).await
    }

    /// Takes the lease away from whoever holds it: the job is interrupted, all further writes of
    /// its worker are refused, and the next run resumes from its checkpoint.
    ///
    /// # Errors
    /// The store's.
    pub async fn unlock(&self, sync_key: i64) -> Result<Unlocked, CommandError> {
        let now = self.clock.now();
        Ok(self.store.write(move |tx| unlocked(tx, sync_key, now)).await?)
    }

    /// Deletes a sync: it never runs again and its lease is free, its objects stay. Deleting it
    /// again changes nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn archive(&self, sync_key: i64) -> Result<(), CommandError> {
        let now = self.clock.now();
        Ok(self.store.write(move |tx| archived(tx, sync_key, now)).await?)
    }

    /// Checks that a run of the sync could begin.
    ///
    /// # Errors
    /// When the sync is paused, switched off or deleted, or its connection cannot be used.
    pub async fn check_may_run(&self, sync_key: i64) -> Result<(), CommandError> {
        self.store.read(move |db| Ok(may_run(db, &syncs::by_key(db, sync_key)?))).await?
    }

    /// Whether a lease is still valid.
    #[must_use]
    pub fn is_held(&self, holder: &Holder, now: Timestamp) -> bool {
        lease::is_alive(holder, self.worker(), now)
    }
}

/// See [`Engine::pause`]; for callers who change more in the same transaction.
///
/// # Errors
/// As there.
pub fn paused(
    tx: &Transaction<'_>,
    sync_key: i64,
    pause: Pause,
    now: Timestamp,
) -> Result<(), CommandError> {
    let sync = syncs::by_key(tx, sync_key)?;
    if sync.status == SyncStatus::Archived {
        return Err(CommandError::Deleted);
    }
    let pause = match sync.pause.clone() {
        Some(before) => Pause { at: before.at, reason: pause.reason.or(before.reason), ..pause },
        None => pause,
    };
    jobs::skip_waiting(tx, sync_key, "the sync was paused before it began", now)?;
    let state = SyncState {
        status: SyncStatus::Suspended,
        pause: Some(pause),
        next_sync_at: None,
        ..SyncState::of(&sync)
    };
    Ok(syncs::set_state(tx, &sync, &state, now)?)
}

/// See [`Engine::resume`]; for callers who change more in the same transaction.
///
/// # Errors
/// As there.
pub fn resumed(
    tx: &Transaction<'_>,
    sync_key: i64,
    engine: &Engine,
    now: Timestamp,
) -> Result<(), CommandError> {
    let sync = syncs::by_key(tx, sync_key)?;
    if sync.status == SyncStatus::Archived {
        return Err(CommandError::Deleted);
    }
    let connection = connections::by_key(tx, sync.connection_key)?;
    if matches!(connection.status.as_str(), "ARCHIVED" | "SUSPENDED") {
        return Err(unusable(connection));
    }
    if sync.pause.is_none() {
        return Ok(());
    }
    let running = leases::holder(tx, sync_key)?.is_some_and(|holder| engine.is_held(&holder, now));
    let left = dead_letters::open_count(tx, sync_key)?;
    Ok(syncs::set_state(tx, &sync, &sync_state::resumed(&sync, running, left, now), now)?)
}

fn triggered(
    tx: &Transaction<'_>,
    sync_key: i64,
    sweep: Sweep,
    engine: &Engine,
    now: Timestamp,
) -> Result<Triggered, CommandError> {
    let sync = syncs::by_key(tx, sync_key)?;
    may_run(tx, &sync)?;
    let held = leases::holder(tx, sync_key)?.is_some_and(|holder| engine.is_held(&holder, now));
    let under_way = jobs::under_way(tx, sync_key)?;
    match under_way {
        Some(job) if held && job.started_at.is_some() => {
            if sweep != Sweep::None {
                let mut state = SyncState { pending_full_sync: true, ..SyncState::of(&sync) };
                state.pending_refetch |= sweep == Sweep::Refetch;
                syncs::set_state(tx, &sync, &state, now)?;
            }
            return Ok(Triggered::Running(job));
        }
        Some(job) if job.started_at.is_none() => {
            jobs::make_full(tx, job.key, sweep)?;
            return Ok(Triggered::Queued(job));
        }
        // Its worker is gone: the new job takes over from it.
        Some(_) | None => {}
    }
    let cause = if sweep == Sweep::None { Cause::Manual } else { Cause::FullSync };
    let job_key = jobs::queue(tx, sync_key, &JobId::generate(), cause, sweep, now)?;
    let state = SyncState { status: SyncStatus::Queued, ..SyncState::of(&sync) };
    syncs::set_state(tx, &sync, &state, now)?;
    Ok(Triggered::Queued(jobs::by_key(tx, job_key)?))
}

fn may_run(tx: &Connection, sync: &Sync) -> Result<(), CommandError> {
    if sync.status == SyncStatus::Archived {
        return Err(CommandError::Deleted);
    }
    if let Some(pause) = &sync.pause {
        return Err(CommandError::Paused { reason: pause.reason.clone() });
    }
    if !sync.is_active {
        return Err(CommandError::Inactive);
    }
    let connection = connections::by_key(tx, sync.connection_key)?;
    match connection.status.as_str() {
        "SUSPENDED" | "ARCHIVED" => Err(unusable(connection)),
        _ => Ok(()),
    }
}

fn unusable(connection: StoredConnection) -> CommandError {
    let way_out = match connection.status.as_str() {
        "ARCHIVED" => "make a new sync on another connection",
        _ => "put it right and test it (POST …/connections/{id}/test) first",
    };
    let StoredConnection { name, status, last_error: reason, .. } = connection;
    CommandError::Connection { name, status: status.to_lowercase(), reason, way_out }
}

fn unlocked(tx: &Transaction<'_>, sync_key: i64, now: Timestamp) -> store::Result<Unlocked> {
    let holder = leases::unlock(tx, sync_key)?;
    let running = jobs::under_way(tx, sync_key)?.filter(|job| job.started_at.is_some());
    let Some(job) = running else { return Ok(Unlocked { holder, interrupted: None }) };
    jobs::interrupt_others(tx, sync_key, NO_JOB, now)?;
    let sync = syncs::by_key(tx, sync_key)?;
    let state = sync_state::after(&sync, Ending::Interrupted { at_once: true }, now);
    syncs::set_state(tx, &sync, &state, now)?;
    Ok(Unlocked { holder, interrupted: Some(jobs::by_key(tx, job.key)?) })
}

/// No job has this key.
const NO_JOB: i64 = 0;

fn archived(tx: &Transaction<'_>, sync_key: i64, now: Timestamp) -> store::Result<()> {
    let sync = syncs::by_key(tx, sync_key)?;
    if sync.status == SyncStatus::Archived {
        return Ok(());
    }
    leases::unlock(tx, sync_key)?;
    jobs::skip_waiting(tx, sync_key, "the sync was deleted before it began", now)?;
    jobs::interrupt_others(tx, sync_key, NO_JOB, now)?;
    syncs::hold_removals(tx, sync_key, None)?;
    let state = SyncState {
        status: SyncStatus::Archived,
        next_sync_at: None,
        pending_full_sync: false,
        pending_refetch: false,
        ..SyncState::of(&sync)
    };
    syncs::set_state(tx, &sync, &state, now)
}
