//! How a sync stands once a run of it has ended: its state, when it is due next, whether it has
//! failed too often. Decided here, from values alone; written down with the end of the job.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    model::{Pace, Pause, PausedBy, RunStatus, SyncMode, SyncStatus},
    store::syncs::{MadeBy, Standing, Sync},
};

/// Failures in a row after which a sync is suspended.
pub const MAX_FAILURES: u32 = 5;

/// How a run ended, as far as its sync is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// The pass is complete; so many dead letters are open.
    Complete {
        /// Open dead letters.
        left: u64,
    },
    /// It reached the end of its slice of the pass: the next one goes on at once.
    Slice,
    /// It failed, and why.
    Failed(&'a str),
    /// It was stopped, and can be gone on with: at once, or once there is room again.
    Interrupted {
        /// Whether it makes sense to go on at once.
        at_once: bool,
    },
}

impl<'a> Ending<'a> {
    /// The ending of a run that stopped with an error before its end.
    #[must_use]
    pub fn of_error(status: RunStatus, stopped: bool, error: &'a str) -> Self {
        match status {
            RunStatus::Interrupted => Self::Interrupted { at_once: stopped },
            _ => Self::Failed(error),
        }
    }
}

/// How `sync`, as it stands now, stands after a run that ended so.
#[must_use]
pub fn after(sync: &Sync, ending: Ending<'_>, now: Timestamp) -> Standing {
    let mut standing = Standing::of(sync);
    match ending {
        Ending::Complete { left } => {
            standing.status = done(sync.options.pace.mode, left);
            standing.consecutive_failures = 0;
            standing.last_error = None;
            standing.last_sync_at = Some(now);
            let again = sync.options.pace.mode == SyncMode::Continuous;
            standing.next_sync_at = again.then(|| now + interval(sync));
        }
        Ending::Slice => {
            standing.status = SyncStatus::Queued;
            standing.consecutive_failures = 0;
            standing.last_error = None;
            standing.next_sync_at = Some(now);
        }
        Ending::Failed(why) => {
            standing.status = SyncStatus::Failed;
            standing.consecutive_failures += 1;
            standing.last_error = Some(why.to_owned());
            standing.next_sync_at = is_scheduled(sync).then(|| now + interval(sync));
            if is_scheduled(sync) && standing.consecutive_failures >= MAX_FAILURES {
                standing.pause = standing.pause.or_else(|| Some(suspension(why, now)));
            }
        }
        Ending::Interrupted { at_once } => {
            standing.status = SyncStatus::Interrupted;
            let wait = if at_once { Duration::ZERO } else { interval(sync) };
            standing.next_sync_at = is_scheduled(sync).then(|| now + wait);
        }
    }
    rest(sync, standing)
}

/// How `sync` stands once its pause is over: due at once, but where it is done or runs. `running`:
/// a run was let come to its end and has not yet; `left`: open dead letters.
#[must_use]
pub fn resumed(sync: &Sync, running: bool, left: u64, now: Timestamp) -> Standing {
    let mut standing = Standing::of(sync);
    standing.pause = None;
    standing.consecutive_failures = 0;
    let between = between_runs(sync, sync.options.pace.mode, left);
    standing.status = if running { SyncStatus::InProgress } else { between };
    standing.next_sync_at = (!running && is_open(sync, sync.options.pace.mode)).then_some(now);
    rest(sync, standing)
}

/// How `sync`, as it stands now, stands with another pace: its next run moves with the interval, and
/// another mode makes it due, or done.
#[must_use]
pub fn repaced(sync: &Sync, pace: &Pace, left: u64, now: Timestamp) -> Standing {
    let mut standing = Standing::of(sync);
    let before = &sync.options.pace;
    if pace.polling_interval_seconds != before.polling_interval_seconds {
        let seconds = |pace: &Pace| i64::from(pace.polling_interval_seconds);
        let later = SignedDuration::from_secs(seconds(pace) - seconds(before));
        standing.next_sync_at =
            standing.next_sync_at.map(|at| at.saturating_add(later).map_or(now, |at| at.max(now)));
    }
    if pace.mode != before.mode && sync.status != SyncStatus::InProgress {
        standing.status = between_runs(sync, pace.mode, left);
        standing.next_sync_at = is_open(sync, pace.mode).then(|| sync.next_sync_at.unwrap_or(now));
    }
    rest(sync, standing)
}

/// How `sync` stands switched on, or off: due at once, or not at all.
#[must_use]
pub fn switched(sync: &Sync, on: bool, now: Timestamp) -> Standing {
    let mut standing = Standing::of(sync);
    let idle = sync.status != SyncStatus::InProgress;
    let due = on && idle && is_open(sync, sync.options.pace.mode);
    standing.next_sync_at = due.then_some(now);
    rest(&Sync { is_active: on, ..sync.clone() }, standing)
}

/// Whether there is anything left to run for without being asked.
fn is_open(sync: &Sync, mode: SyncMode) -> bool {
    mode == SyncMode::Continuous || (sync.made_by == MadeBy::Api && sync.last_sync_at.is_none())
}

fn between_runs(sync: &Sync, mode: SyncMode, left: u64) -> SyncStatus {
    match sync.last_sync_at {
        None if sync.totals.runs == 0 => SyncStatus::Pending,
        None => SyncStatus::Interrupted,
        Some(_) => done(mode, left),
    }
}

/// What no ending overrides: a pause, a deletion, being switched off.
fn rest(sync: &Sync, mut standing: Standing) -> Standing {
    if sync.status == SyncStatus::Archived {
        standing.status = SyncStatus::Archived;
    } else if standing.pause.is_some() {
        standing.status = SyncStatus::Suspended;
    }
    let rests = standing.pause.is_some() || !sync.is_active || sync.status == SyncStatus::Archived;
    if rests {
        standing.next_sync_at = None;
    }
    standing
}

const fn done(mode: SyncMode, left: u64) -> SyncStatus {
    match (mode, left) {
        (SyncMode::Continuous, _) => SyncStatus::Active,
        (SyncMode::InitialOnly, 0) => SyncStatus::Completed,
        (SyncMode::InitialOnly, _) => SyncStatus::CompletedWithErrors,
    }
}

/// Whether runs of it begin by themselves, as long as it has not had its one complete pass.
fn is_scheduled(sync: &Sync) -> bool {
    sync.options.pace.mode == SyncMode::Continuous || sync.made_by == MadeBy::Api
}

fn interval(sync: &Sync) -> Duration {
    Duration::from_secs(sync.options.pace.polling_interval_seconds.into())
}

fn suspension(why: &str, now: Timestamp) -> Pause {
    Pause {
        reason: Some(format!(
            "suspended after {MAX_FAILURES} failures in a row, the last one: {why}"
        )),
        at: now,
        by: PausedBy::Failures,
        drain: false,
    }
}
