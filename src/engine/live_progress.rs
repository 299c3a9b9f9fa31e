//! What the runs of this process are doing right now: the files in flight, the bytes, the rate, and
//! what waits for its next try. Nothing of it is stored.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::Observer;
use crate::{
    model::{EntryPath, JobId},
    sources::retry::Retry,
};

/// How many files in flight are named; more are only counted.
const NAMED: usize = 16;
/// The time over which the rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// The progress of this process's runs; clones share it.
#[derive(Clone, Debug, Default)]
pub struct LiveProgress(Arc<Mutex<HashMap<JobId, State>>>);

#[derive(Debug)]
struct State {
    entries: u64,
    files: u64,
    bytes: u64,
    received: u64,
    in_flight: BTreeMap<String, u64>,
    /// What waits for its next try, by its number.
    retries: BTreeMap<u64, Retrying>,
    /// The received bytes when the rate's window began, and when the one before did.
    marks: [(Instant, u64); 2],
}

/// Something that failed at the source and is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrying {
    /// Which try comes next; the one that failed first was 1.
    pub attempt: u32,
    /// Why the last one did.
    pub reason: String,
    /// When the next one begins.
    pub next_try: Instant,
}

impl Retrying {
    /// When the next try begins, where it is `now`.
    #[must_use]
    pub fn next_try_at(&self, now: Timestamp) -> Timestamp {
        let wait = self.next_try.saturating_duration_since(Instant::now());
        // In whole milliseconds, which is what it can be known by.
        let at = now.as_millisecond().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(0));
        Timestamp::from_millisecond(at).unwrap_or(now)
    }
}

/// What a run is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Entries that the source has listed so far.
    pub entries: u64,
    /// Of those, files to be fetched.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, what has arrived.
    pub received: u64,
    /// Files being fetched, with their sizes in bytes; at most 16 of them.
    pub in_flight: Vec<(String, u64)>,
    /// How many files are being fetched.
    pub in_flight_count: usize,
    /// Bytes per second, measured over the last few seconds.
    pub rate: f64,
    /// What was tried most often, if anything is tried again.
    pub retrying: Option<Retrying>,
}

impl Progress {
    /// How long the rest, as far as it is known, will take; `None` while nothing arrives.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let left = self.bytes.saturating_sub(self.received);
        let seconds = left as f64 / self.rate;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl LiveProgress {
    /// Follows the run of a job until the returned observer is dropped.
    #[must_use]
    pub fn watch(&self, job: &JobId) -> Arc<dyn Observer> {
        let now = Instant::now();
        let state = State {
            entries: 0,
            files: 0,
            bytes: 0,
            received: 0,
            in_flight: BTreeMap::new(),
            retries: BTreeMap::new(),
            marks: [(now, 0); 2],
        };
        self.all().insert(job.clone(), state);
        Arc::new(Watcher { live_progress: self.clone(), job: job.clone() })
    }

    /// What a job's run tries again, if it is one of this process.
    #[must_use]
    pub fn retrying(&self, job: &JobId) -> Option<Retrying> {
        self.all().get(job).and_then(State::retrying)
    }

    /// The progress of a job's run, if it is one of this process.
    #[must_use]
    pub fn progress(&self, job: &JobId) -> Option<Progress> {
        self.all().get(job).map(State::to_progress)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<JobId, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn to_progress(&self) -> Progress {
        let (since, had) = self.marks[1];
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        Progress {
            entries: self.entries,
            files: self.files,
            bytes: self.bytes,
            received: self.received,
            in_flight: self
                .in_flight
                .iter()
                .take(NAMED)
                .map(|(path, size)| (path.clone(), *size))
                .collect(),
            in_flight_count: self.in_flight.len(),
            rate: (self.received - had) as f64 / seconds,
            retrying: self.retrying(),
        }
    }

    fn retrying(&self) -> Option<Retrying> {
        self.retries.values().max_by_key(|retry| retry.attempt).cloned()
    }

    fn receive(&mut self, bytes: u64) {
        if self.marks[0].0.elapsed() >= RATE_WINDOW {
            self.marks = [(Instant::now(), self.received), self.marks[0]];
        }
        self.received += bytes;
    }
}

struct Watcher {
    live_progress: LiveProgress,
    job: JobId,
}

impl Watcher {
    fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = self.live_progress.all().get_mut(&self.job) {
            change(state);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.live_progress.all().remove(&self.job);
    }
}

impl Observer for Watcher {
    fn found(&self, entries: u64, files: u64, bytes: u64) {
        self.change(|state| {
            state.entries += entries;
            state.files += files;
            state.bytes = state.bytes.saturating_add(bytes);
        });
    }

    fn fetching(&self, path: &EntryPath, size: u64) {
        self.change(|state| {
            state.in_flight.insert(path.to_string(), size);
        });
    }

    fn received(&self, bytes: u64) {
        self.change(|state| state.receive(bytes));
    }

    fn fetched(&self, path: &EntryPath) {
        self.change(|state| {
            if !state.in_flight.is_empty() {
                state.in_flight.remove(&path.to_string());
            }
        });
    }

    fn waits(&self, operation: u64, retry: &Retry) {
        let retrying = Retrying {
            attempt: retry.attempt,
            reason: retry.reason.clone(),
            next_try: Instant::now() + retry.wait,
        };
        self.change(|state| {
            state.retries.insert(operation, retrying);
        });
    }

    fn ended(&self, operation: u64) {
        self.change(|state| {
            state.retries.remove(&operation);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_measured_over_the_last_seconds_and_gives_the_remaining_time() {
        let (live_progress, job) = (LiveProgress::default(), JobId::generate());
        let watcher = live_progress.watch(&job);
        watcher.found(10, 2, 12_000);
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(1)).await;
            watcher.received(1000);
        }
        let progress = live_progress.progress(&job).unwrap();
        assert!((800.0..1500.0).contains(&progress.rate), "{progress:?}");
        assert_eq!(progress.received, 10_000);
        assert!(progress.eta().unwrap() <= Duration::from_secs(3));

        drop(watcher);
        assert_eq!(live_progress.progress(&job), None);
    }
}
