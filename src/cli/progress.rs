//! Showing a run while it works: a display on a terminal, plain lines elsewhere, events for
//! programs.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::output;
use crate::{
    engine::Observer,
    model::{Counts, EntryPath, JobId, Phase, SkipReason},
    sources::retry::Retry,
    store::dead_letters::Failure,
};

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Terminal,
    Plain,
    Json,
    Quiet,
}

impl Mode {
    /// The one that suits where stderr goes.
    pub(super) fn for_people() -> Self {
        if std::io::stderr().is_terminal() { Self::Terminal } else { Self::Plain }
    }

    /// How often it shows the progress.
    const fn interval(self) -> Duration {
        match self {
            Self::Terminal => Duration::from_millis(100),
            Self::Plain => Duration::from_secs(10),
            Self::Json | Self::Quiet => Duration::from_secs(1),
        }
    }
}

/// Entries that are left out for what they are, counted by the reason.
pub(super) type LeftOut = BTreeMap<SkipReason, u64>;

/// The display of a run, from its start to [`Progress::finish`].
pub(super) struct Progress {
    shared: Arc<Shared>,
    stop: CancellationToken,
    ticking: AbortOnDropHandle<()>,
}

struct Shared {
    mode: Mode,
    source: String,
    bar: ProgressBar,
    found: AtomicU64,
    to_fetch: AtomicU64,
    fetched: AtomicU64,
    bytes_to_fetch: AtomicU64,
    bytes: AtomicU64,
    counts: Mutex<Counts>,
    in_flight: Mutex<BTreeMap<EntryPath, u64>>,
    /// What waits for its next try, by its number, and when that is.
    retries: Mutex<BTreeMap<u64, (Retry, Instant)>>,
    left_out: Mutex<LeftOut>,
}

impl Progress {
    pub(super) fn start(mode: Mode, source: String) -> Self {
        let shared = Arc::new(Shared {
            mode,
            source,
            bar: bar(mode),
            found: AtomicU64::new(0),
            to_fetch: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            bytes_to_fetch: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            counts: Mutex::default(),
            in_flight: Mutex::default(),
            retries: Mutex::default(),
            left_out: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let ticking = tokio::spawn(tick(shared.clone(), stop.clone()));
        Self { shared, stop, ticking: AbortOnDropHandle::new(ticking) }
    }

    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        self.shared.clone()
    }

    /// Ends the display; returns what was left out for what it is, whatever the filters say.
    pub(super) async fn finish(self) -> LeftOut {
        self.stop.cancel();
        // It only ends; there is nothing to learn from how.
        let _ = self.ticking.await;
        self.shared.bar.finish_and_clear();
        lock(&self.shared.left_out).clone()
    }
}

fn bar(mode: Mode) -> ProgressBar {
    if mode != Mode::Terminal {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let bar = ProgressBar::new(0);
    let template = "{spinner} {msg}\n  {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}\n  {prefix}";
    // A template of ours that does not parse leaves the default one.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

async fn tick(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(shared.mode.interval());
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.show(),
            () = stop.cancelled() => return,
        }
    }
}

impl Shared {
    fn show(&self) {
        match self.mode {
            Mode::Terminal => self.draw(),
            Mode::Plain => {
                output::line(&self.summary());
                if let Some(words) = self.retry_words() {
                    output::line(&words);
                }
            }
            Mode::Json => self.print_event(),
            Mode::Quiet => {}
        }
    }

    fn summary(&self) -> String {
        format!(
            "{} found, {} of {} fetched, {}",
            output::count(self.found.load(Relaxed)),
            output::count(self.fetched.load(Relaxed)),
            output::count(self.to_fetch.load(Relaxed)),
            output::size(self.bytes.load(Relaxed)),
        )
    }

    /// What has been tried most often, and when it is tried next.
    fn retrying(&self) -> Option<(Retry, Duration)> {
        let retries = lock(&self.retries);
        let (retry, next_try) = retries.values().max_by_key(|(retry, _)| retry.attempt)?;
        Some((retry.clone(), next_try.saturating_duration_since(Instant::now())))
    }

    /// The same in words.
    fn retry_words(&self) -> Option<String> {
        let (retry, wait) = self.retrying()?;
        let seconds = wait.as_secs_f64().ceil();
        Some(format!("the source fails ({}): try {} in {seconds} s", retry.reason, retry.attempt))
    }

    fn draw(&self) {
        self.bar.set_length(self.bytes_to_fetch.load(Relaxed));
        self.bar.set_position(self.bytes.load(Relaxed));
        let in_flight = lock(&self.in_flight);
        self.bar.set_message(format!("{}, {} in flight", self.summary(), in_flight.len()));
        let largest = in_flight.iter().max_by_key(|(_, size)| **size);
        let largest = largest.map(|(path, size)| format!("{path} ({})", output::size(*size)));
        drop(in_flight);
        self.bar.set_prefix(self.retry_words().or(largest).unwrap_or_default());
        self.bar.tick();
    }

    fn print_event(&self) {
        let counts = *lock(&self.counts);
        print_json(&serde_json::json!({
            "event": "progress",
            "found": self.found.load(Relaxed),
            "to_fetch": self.to_fetch.load(Relaxed),
            "fetched": self.fetched.load(Relaxed),
            "bytes": self.bytes.load(Relaxed),
            "bytes_to_fetch": self.bytes_to_fetch.load(Relaxed),
            "in_flight": lock(&self.in_flight).len(),
            "committed": counts.discovered(),
        }));
    }

    fn say(&self, line: &str) {
        match self.mode {
            Mode::Terminal => self.bar.println(line),
            Mode::Plain => output::line(line),
            Mode::Json | Mode::Quiet => {}
        }
    }
}

impl Observer for Shared {
    fn started(&self, job: &JobId, bucket: &str, resumed: bool) {
        if self.mode == Mode::Json {
            return print_json(&serde_json::json!({
                "event": "started",
                "job_id": job,
                "bucket": bucket,
                "source": self.source,
                "resumed": resumed,
            }));
        }
        let going_on = if resumed { ", resuming where the last run stopped" } else { "" };
        self.say(&format!("{} -> bucket {bucket}{going_on}", self.source));
    }

    fn entered(&self, phase: Phase) {
        if self.mode == Mode::Json {
            print_json(&serde_json::json!({ "event": "phase", "phase": phase.as_str() }));
        }
    }

    fn found(&self, entries: u64, files: u64, bytes: u64) {
        self.found.fetch_add(entries, Relaxed);
        self.to_fetch.fetch_add(files, Relaxed);
        self.bytes_to_fetch.fetch_add(bytes, Relaxed);
    }

    fn skipped(&self, reason: SkipReason) {
        *lock(&self.left_out).entry(reason).or_default() += 1;
    }

    fn fetching(&self, path: &EntryPath, size: u64) {
        if self.mode == Mode::Terminal || self.mode == Mode::Json {
            lock(&self.in_flight).insert(path.clone(), size);
        }
    }

    fn received(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn fetched(&self, path: &EntryPath) {
        self.fetched.fetch_add(1, Relaxed);
        if self.mode == Mode::Terminal || self.mode == Mode::Json {
            lock(&self.in_flight).remove(path);
        }
    }

    fn failed(&self, failure: &Failure) {
        match self.mode {
            Mode::Json => print_json(&serde_json::json!({
                "event": "failed",
                "path": failure.path.to_json_text(),
                "path_bytes": failure.path.base64_if_not_utf8(),
                "error_type": failure.error_type.as_str(),
                "message": failure.message,
            })),
            Mode::Quiet => {
                output::warning(&format!("failed: {} ({})", failure.path, failure.message));
            }
            Mode::Terminal | Mode::Plain => {
                self.say(&format!("failed: {} ({})", failure.path, failure.message));
            }
        }
    }

    fn committed(&self, counts: &Counts) {
        *lock(&self.counts) = *counts;
    }

    fn waits(&self, operation: u64, retry: &Retry) {
        let next_try = Instant::now() + retry.wait;
        lock(&self.retries).insert(operation, (retry.clone(), next_try));
        if self.mode == Mode::Json {
            print_json(&serde_json::json!({
                "event": "retrying",
                "attempt": retry.attempt,
                "reason": retry.reason,
                "wait_seconds": retry.wait.as_secs_f64(),
            }));
        }
    }

    fn ended(&self, operation: u64) {
        lock(&self.retries).remove(&operation);
    }
}

/// Prints an event. If stdout was closed, the run continues without printing.
fn print_json(value: &serde_json::Value) {
    let _ = output::json_line(&mut std::io::stdout().lock(), value);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
