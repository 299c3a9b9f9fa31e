//! Which sync is due and which job starts next: pure decisions.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use jiff::Timestamp;

use crate::store::schedule::{Due, Waiting};

/// The longest that a regular run is delayed.
const MOST_JITTER: Duration = Duration::from_secs(10);

/// How many jobs may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// In total.
    pub total: usize,
    /// Of one connection.
    pub per_connection: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { total: 4, per_connection: 2 }
    }
}

/// Whether a due sync has waited out its jitter: regular runs that fall due together are spread
/// over a fiftieth of their interval, each always by the same delay.
#[must_use]
pub(super) fn is_ripe(due: &Due, now: Timestamp) -> bool {
    let wait = if due.is_regular { jitter(due) } else { Duration::ZERO };
    due.since + wait <= now
}

fn jitter(due: &Due) -> Duration {
    let most = Duration::from_secs(u64::from(due.interval_seconds) / 50).min(MOST_JITTER);
    let mut hasher = DefaultHasher::new();
    (due.sync_key, due.since.as_millisecond()).hash(&mut hasher);
    let share = hasher.finish() % 1000;
    most * u32::try_from(share).unwrap_or_default() / 1000
}

/// The next job to start: of the connection with the fewest running jobs, the one that has waited
/// longest. `running` counts jobs by connection; `None` when nothing may start.
#[must_use]
pub(super) fn next<'w>(
    waiting: &'w [Waiting],
    running: &HashMap<i64, usize>,
    bounds: Bounds,
) -> Option<&'w Waiting> {
    if running.values().sum::<usize>() >= bounds.total {
        return None;
    }
    let of = |job: &Waiting| running.get(&job.connection_key).copied().unwrap_or_default();
    waiting.iter().filter(|job| of(job) < bounds.per_connection).min_by_key(|job| of(job))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobId;

    fn waiting(connection_key: i64, sync_key: i64) -> Waiting {
        Waiting { job: JobId::generate(), sync_key, connection_key }
    }

    #[test]
    fn a_busy_connection_does_not_delay_another_one() {
        let jobs = [waiting(1, 1), waiting(1, 2), waiting(2, 3)];
        let running = HashMap::from([(1, 1)]);
        assert_eq!(next(&jobs, &running, Bounds::default()), Some(&jobs[2]));
        let both = HashMap::from([(1, 1), (2, 1)]);
        assert_eq!(next(&jobs, &both, Bounds::default()), Some(&jobs[0]), "then the oldest");
    }

    #[test]
    fn neither_bound_is_exceeded() {
        let jobs = [waiting(1, 1)];
        let bounds = Bounds { total: 3, per_connection: 2 };
        assert_eq!(next(&jobs, &HashMap::from([(1, 2)]), bounds), None);
        assert_eq!(next(&jobs, &HashMap::from([(2, 2), (3, 1)]), bounds), None);
        assert!(next(&jobs, &HashMap::from([(2, 2)]), bounds).is_some());
    }

    #[test]
    fn regular_runs_are_spread_over_a_fiftieth_of_their_interval_and_others_start_at_once() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let due = |sync_key, is_regular| Due { sync_key, since, is_regular, interval_seconds: 300 };
        assert!(is_ripe(&due(1, false), since));
        let at_once = (0..1000).filter(|key| is_ripe(&due(*key, true), since)).count();
        assert!(at_once < 20, "{at_once} of 1000 at the same instant");
        assert!((0..1000).all(|key| is_ripe(&due(key, true), since + Duration::from_secs(6))));
    }
}
