//! The state of a sync after a run has ended or somebody has changed it: its status, when it is due
//! next, whether it has failed too often. Decided here, from values alone; stored by the caller.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    model::{Pace, Pause, PausedBy, RunStatus, SyncMode, SyncStatus},
    store::syncs::{MadeBy, Sync, SyncState},
};

/// Failures in a row after which a sync is suspended.
pub const MAX_FAILURES: u32 = 5;

/// How a run ended, as far as its sync is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending<'a> {
    /// The pass is complete.
    Complete {
        /// How many dead letters are open.
        dead_letters: u64,
    },
    /// It reached the end of its slice of the pass: the next one continues at once.
    Slice,
    /// It listed nothing, because a decision about the source is waited for.
    Waiting {
        /// How many dead letters are open.
        dead_letters: u64,
    },
    /// The provider makes us wait: it is due when that ends.
    Held {
        /// When it ends.
        until: Timestamp,
    },
    /// It failed, and why.
    Failed(&'a str),
    /// It was stopped and can be resumed: at once, or later (when there is room again).
    Interrupted {
        /// Whether it makes sense to resume at once.
        at_once: bool,
    },
}

impl<'a> Ending<'a> {
    /// The ending of a run that ended early with an error.
    #[must_use]
    pub fn of_error(status: RunStatus, at_once: bool, error: &'a str) -> Self {
        match status {
            RunStatus::Interrupted => Self::Interrupted { at_once },
            _ => Self::Failed(error),
        }
    }
}

/// The state of `sync` after a run that ended so.
#[must_use]
pub fn after(sync: &Sync, ending: Ending<'_>, now: Timestamp) -> SyncState {
    let mut state = SyncState::of(sync);
    match ending {
        Ending::Complete { dead_letters } => {
            state.status = done(sync.options.pace.mode, dead_letters);
            state.consecutive_failures = 0;
            state.last_error = None;
            state.last_sync_at = Some(now);
            let again = sync.options.pace.mode == SyncMode::Continuous;
            state.next_sync_at = again.then(|| now + interval(sync));
        }
        Ending::Slice => {
            state.status = SyncStatus::Queued;
            state.consecutive_failures = 0;
            state.last_error = None;
            state.next_sync_at = Some(now);
        }
        Ending::Waiting { dead_letters } => {
            state.status = between_runs(sync, sync.options.pace.mode, dead_letters);
            state.next_sync_at = is_scheduled(sync).then(|| now + interval(sync));
        }
        Ending::Failed(why) => {
            state.status = SyncStatus::Failed;
            state.consecutive_failures += 1;
            state.last_error = Some(why.to_owned());
            state.next_sync_at = is_scheduled(sync).then(|| now + interval(sync));
            if is_scheduled(sync) && state.consecutive_failures >= MAX_FAILURES {
                state.pause = state.pause.or_else(|| Some(suspension(why, now)));
            }
        }
        Ending::Held { until } => {
            state.status = SyncStatus::Interrupted;
            state.next_sync_at = is_scheduled(sync).then(|| until.max(now));
        }
        Ending::Interrupted { at_once } => {
            state.status = SyncStatus::Interrupted;
            let wait = if at_once { Duration::ZERO } else { interval(sync) };
            state.next_sync_at = is_scheduled(sync).then(|| now + wait);
        }
    }
    rest(sync, state)
}

/// The state of `sync` after its pause has ended: due at once, unless it is done or running.
/// `is_running`: a run that the pause allowed to finish has not finished yet.
#[must_use]
pub fn resumed(sync: &Sync, is_running: bool, dead_letters: u64, now: Timestamp) -> SyncState {
    let mut state = SyncState::of(sync);
    state.pause = None;
    state.consecutive_failures = 0;
    let between = between_runs(sync, sync.options.pace.mode, dead_letters);
    state.status = if is_running { SyncStatus::InProgress } else { between };
    state.next_sync_at = (!is_running && is_open(sync, sync.options.pace.mode)).then_some(now);
    rest(sync, state)
}

/// The state of `sync` with another pace: its next run moves with the interval, and another mode
/// makes it due, or done.
#[must_use]
pub fn with_pace(sync: &Sync, pace: &Pace, dead_letters: u64, now: Timestamp) -> SyncState {
    let mut state = SyncState::of(sync);
    let before = &sync.options.pace;
    if pace.polling_interval_seconds != before.polling_interval_seconds {
        let seconds = |pace: &Pace| i64::from(pace.polling_interval_seconds);
        let later = SignedDuration::from_secs(seconds(pace) - seconds(before));
        state.next_sync_at =
            state.next_sync_at.map(|at| at.saturating_add(later).map_or(now, |at| at.max(now)));
    }
    if pace.mode != before.mode && sync.status != SyncStatus::InProgress {
        state.status = between_runs(sync, pace.mode, dead_letters);
        state.next_sync_at = is_open(sync, pace.mode).then(|| sync.next_sync_at.unwrap_or(now));
    }
    rest(sync, state)
}

/// The state of `sync` after it was switched on or off: due at once, or not at all.
#[must_use]
pub fn switched(sync: &Sync, on: bool, now: Timestamp) -> SyncState {
    let mut state = SyncState::of(sync);
    let idle = sync.status != SyncStatus::InProgress;
    let due = on && idle && is_open(sync, sync.options.pace.mode);
    state.next_sync_at = due.then_some(now);
    rest(&Sync { is_active: on, ..sync.clone() }, state)
}

/// Whether it has anything left to do without being asked.
fn is_open(sync: &Sync, mode: SyncMode) -> bool {
    mode == SyncMode::Continuous || (sync.made_by == MadeBy::Api && sync.last_sync_at.is_none())
}

fn between_runs(sync: &Sync, mode: SyncMode, dead_letters: u64) -> SyncStatus {
    match sync.last_sync_at {
        None if sync.totals.runs == 0 => SyncStatus::Pending,
        None => SyncStatus::Interrupted,
        Some(_) => done(mode, dead_letters),
    }
}

/// Applies what nothing overrides: a pause, a deletion, being switched off.
fn rest(sync: &Sync, mut state: SyncState) -> SyncState {
    if sync.status == SyncStatus::Archived {
        state.status = SyncStatus::Archived;
    } else if state.pause.is_some() {
        state.status = SyncStatus::Suspended;
    }
    let rests = state.pause.is_some() || !sync.is_active || sync.status == SyncStatus::Archived;
    if rests {
        state.next_sync_at = None;
    }
    state
}

const fn done(mode: SyncMode, dead_letters: u64) -> SyncStatus {
    match (mode, dead_letters) {
        (SyncMode::Continuous, 0) => SyncStatus::Active,
        (SyncMode::InitialOnly, 0) => SyncStatus::Completed,
        (_, _) => SyncStatus::CompletedWithErrors,
    }
}

/// Whether its runs start by themselves, as long as it has not had its one complete pass.
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
