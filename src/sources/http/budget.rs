//! How fast a connection may send requests, and until when it has to wait: one budget for all
//! sources of a connection, in this process and, by way of a [`Ledger`], in all others. Waiting is
//! not an attempt.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use crate::sources::{SourceError, limits::Limits};

/// The longest that a server's Retry-After makes everybody wait.
const MAX_HOLD: Duration = Duration::from_secs(5 * 60);

/// The longest that it lets a connection rest.
const MAX_REST: Duration = Duration::from_secs(24 * 60 * 60);

/// How far ahead of its even pace a connection may be: over any five seconds that is less than a
/// tenth above its rate.
const BURST: Duration = Duration::from_millis(400);

/// How much of a rate a process takes at once: what another one may have to wait for.
const CHUNK: Duration = Duration::from_millis(250);

/// How long a process may go without looking at what others have written down.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The budgets of this process, by connection. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    known: Arc<Mutex<HashMap<String, Arc<Budget>>>>,
    limits: Arc<Limits>,
    ledger: Option<Arc<dyn Ledger>>,
}

/// Where the budgets of connections are stored, so that every process keeps to them.
#[async_trait]
pub trait Ledger: std::fmt::Debug + Send + Sync {
    /// Reserves so much time of a connection's rate, which is zero where it has none; returns how
    /// long until it is due, and how much longer the provider wants no requests. `None` where
    /// nothing can be read or written: then this process keeps to what it knows.
    async fn reserve(&self, connection: &str, cost: Duration) -> Option<Reservation>;

    /// Makes everybody wait so long.
    async fn hold(&self, connection: &str, wait: Duration);
}

/// Time reserved of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// How long until it may be used.
    pub due_in: Duration,
    /// How much longer the provider wants no requests.
    pub held_for: Duration,
}

impl Budgets {
    /// Budgets within these limits.
    #[must_use]
    pub fn within(limits: Limits) -> Self {
        Self { limits: Arc::new(limits), ..Self::default() }
    }

    /// The same budgets, written down there.
    #[must_use]
    pub fn written_in(self, ledger: Arc<dyn Ledger>) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// How fast providers are asked where their connections do not say.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The budget of a connection. One that is not stored yet has a budget of its own.
    ///
    /// `per_minute`: units that its requests may weigh in a minute; `None`: as many as the provider
    /// lets through.
    #[must_use]
    pub fn of(&self, connection: Option<&str>, per_minute: Option<u32>) -> Arc<Budget> {
        let Some(connection) = connection else {
            return Arc::new(Budget { per_minute, ..Budget::default() });
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(connection) {
            Some(budget) if budget.per_minute == per_minute => Arc::clone(budget),
            _ => {
                let shared = self.ledger.clone().map(|ledger| Shared {
                    ledger,
                    connection: connection.to_owned(),
                    part: tokio::sync::Mutex::default(),
                });
                let budget = Arc::new(Budget { per_minute, shared, ..Budget::default() });
                known.insert(connection.to_owned(), Arc::clone(&budget));
                budget
            }
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Budget {
    per_minute: Option<u32>,
    pace: Mutex<Pace>,
    shared: Option<Shared>,
}

/// What other processes have to know of a budget.
#[derive(Debug)]
struct Shared {
    ledger: Arc<dyn Ledger>,
    connection: String,
    part: tokio::sync::Mutex<Part>,
}

/// What this process has taken of the rate.
#[derive(Debug, Default)]
struct Part {
    left: Duration,
    due: Option<Instant>,
    looked_at: Option<Instant>,
}

impl Shared {
    /// Takes from what this process has of the rate, and more of it where that is not enough;
    /// returns when it is due, and how much longer the provider wants no requests.
    async fn take(&self, cost: Duration) -> (Option<Instant>, Duration) {
        let mut part = self.part.lock().await;
        let missing = cost.saturating_sub(part.left);
        let has_looked = part.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        if missing.is_zero() && has_looked {
            part.left -= cost;
            return (part.due, Duration::ZERO);
        }
        let more = if missing.is_zero() { missing } else { missing.max(CHUNK) };
        part.looked_at = Some(Instant::now());
        let Some(reservation) = self.ledger.reserve(&self.connection, more).await else {
            return (None, Duration::ZERO);
        };
        part.left = (part.left + more).saturating_sub(cost);
        if !more.is_zero() {
            part.due = Some(Instant::now() + reservation.due_in);
        }
        (part.due, reservation.held_for)
    }

    /// Stores that everybody has to wait, without waiting for that.
    fn hold(&self, wait: Duration) {
        let (ledger, connection) = (Arc::clone(&self.ledger), self.connection.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { ledger.hold(&connection, wait).await });
        }
    }
}

#[derive(Debug, Default)]
struct Pace {
    /// Until when the provider wants no requests.
    held_until: Option<Instant>,
    /// When the rate is used up to: the next request is due then, less the allowed burst.
    used_until: Option<Instant>,
}

impl Budget {
    /// Waits until a request of that weight may be sent.
    ///
    /// # Errors
    /// None yet: every wait is short.
    pub async fn admit(&self, weight: u32, meter: &Meter) -> Result<(), SourceError> {
        let began = Instant::now();
        let mut due = self.reserve(weight);
        if let Some(shared) = &self.shared {
            let (also, held_for) = shared.take(self.cost(weight)).await;
            due = also.map_or(due, |also| also.max(due));
            self.hold_here(held_for);
        }
        tokio::time::sleep_until(due).await;
        while let Some(held) = self.held_for() {
            tokio::time::sleep(held).await;
        }
        meter.count(began.elapsed());
        Ok(())
    }

    /// How much of a minute a request of that weight takes; zero where there is no rate.
    fn cost(&self, weight: u32) -> Duration {
        let rate = self.per_minute.filter(|rate| *rate > 0);
        rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs(60).mul_f64(f64::from(weight) / f64::from(rate))
        })
    }

    /// Takes a place in the rate, and returns when it is due.
    fn reserve(&self, weight: u32) -> Instant {
        let (now, cost) = (Instant::now(), self.cost(weight));
        if cost.is_zero() {
            return now;
        }
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let from = pace.used_until.map_or(now, |used| used.max(now));
        pace.used_until = Some(from + cost);
        from.checked_sub(BURST).map_or(now, |due| due.max(now))
    }

    /// Makes everybody wait, as the provider asks.
    pub fn hold(&self, wait: Duration) {
        self.rest(wait.min(MAX_HOLD));
    }

    /// Lets the connection rest for as long as the provider asks, which may be longer than a run
    /// waits: sources ask [`Budget::held_beyond`] before they send anything.
    pub fn rest(&self, wait: Duration) {
        self.hold_here(wait);
        if let Some(shared) = &self.shared {
            shared.hold(wait.min(MAX_REST));
        }
    }

    /// How much longer the provider wants no requests, by any process, if that is longer than a run
    /// waits.
    pub async fn held_beyond(&self, patience: Duration) -> Option<Duration> {
        if let Some(shared) = &self.shared {
            let (_, held_for) = shared.take(Duration::ZERO).await;
            self.hold_here(held_for);
        }
        self.held_for().filter(|left| *left > patience)
    }

    /// Makes everybody in this process wait.
    fn hold_here(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        let until = Instant::now() + wait.min(MAX_REST);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.held_until = Some(pace.held_until.map_or(until, |held| held.max(until)));
    }

    /// How much longer the provider wants no requests.
    pub fn held_for(&self) -> Option<Duration> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let left = pace.held_until.map(|held| held.saturating_duration_since(Instant::now()));
        let left = left.filter(|left| !left.is_zero());
        if left.is_none() {
            pace.held_until = None;
        }
        left
    }
}

/// Counts what one source asks of its provider.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    rate_limit_hits: AtomicU64,
    waited_ms: AtomicU64,
}

/// What a source has asked of its provider since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that were sent.
    pub requests: u64,
    /// Responses that asked to slow down.
    pub rate_limit_hits: u64,
    /// How long requests were held back, all together.
    pub throttled: Duration,
    /// What else the provider is paid for by time, and how long: a warehouse.
    pub paid: Option<(&'static str, Duration)>,
}

impl Meter {
    fn count(&self, waited: Duration) {
        self.requests.fetch_add(1, Relaxed);
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(waited, Relaxed);
    }

    /// A response asked to slow down.
    pub fn was_limited(&self) {
        self.rate_limit_hits.fetch_add(1, Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.load(Relaxed),
            rate_limit_hits: self.rate_limit_hits.load(Relaxed),
            throttled: Duration::from_millis(self.waited_ms.load(Relaxed)),
            paid: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_waits_until_the_longest_hold_is_over() {
        let (budget, meter) = (Budget::default(), Meter::default());
        let started = Instant::now();
        budget.hold(Duration::from_secs(30));
        budget.hold(Duration::from_secs(10));
        let (one, two) =
            futures_util::future::join(budget.admit(1, &meter), budget.admit(1, &meter)).await;
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(started.elapsed().as_secs(), 30);
        budget.admit(1, &meter).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 30, "the hold is over");
        let usage = meter.usage();
        assert_eq!((usage.requests, usage.throttled.as_secs()), (3, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn no_server_makes_us_wait_for_more_than_five_minutes() {
        let budget = Budget::default();
        budget.hold(Duration::from_secs(86_400));
        assert_eq!(budget.held_for().map(|wait| wait.as_secs().div_ceil(60)), Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_is_known_to_rest_in_every_process() {
        let (one, two) = two_processes(None);
        assert_eq!(two.held_beyond(Duration::from_secs(60)).await, None);
        one.rest(Duration::from_secs(3600));
        tokio::time::sleep(LOOK_EVERY).await;
        let left = two.held_beyond(Duration::from_secs(60)).await;
        assert_eq!(left.map(|left| left.as_secs()), Some(3599));
        tokio::time::sleep(Duration::from_secs(3599)).await;
        for budget in [one, two] {
            assert_eq!(budget.held_beyond(Duration::ZERO).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn over_any_five_seconds_no_more_than_a_tenth_above_the_rate_is_sent() {
        let budgets = Budgets::default();
        // 600 units a minute are 50 in five seconds.
        let budget = budgets.of(Some("conn_a"), Some(600));
        let meter = Meter::default();
        let began = Instant::now();
        let mut sent = Vec::new();
        for _ in 0..300 {
            budget.admit(1, &meter).await.unwrap();
            sent.push(began.elapsed());
        }
        for (first, from) in sent.iter().enumerate() {
            let until = *from + Duration::from_secs(5);
            let within = sent[first..].iter().take_while(|at| **at < until).count();
            assert!(within <= 55, "{within} requests in the five seconds from {from:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(31), "and no less than is allowed");
    }

    /// A ledger in memory, as two processes see it.
    #[derive(Debug)]
    struct Shelf {
        state: Mutex<(Option<Instant>, Option<Instant>)>,
    }

    #[async_trait]
    impl Ledger for Shelf {
        async fn reserve(&self, _: &str, cost: Duration) -> Option<Reservation> {
            let now = Instant::now();
            let mut state = self.state.lock().unwrap();
            let from = state.0.map_or(now, |used| used.max(now));
            state.0 = Some(from + cost);
            let held = state.1.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            Some(Reservation { due_in: from - now, held_for: held })
        }

        async fn hold(&self, _: &str, wait: Duration) {
            self.state.lock().unwrap().1 = Some(Instant::now() + wait);
        }
    }

    fn two_processes(per_minute: Option<u32>) -> (Arc<Budget>, Arc<Budget>) {
        let shelf = Arc::new(Shelf { state: Mutex::default() });
        let of = || Budgets::default().written_in(shelf.clone()).of(Some("conn_a"), per_minute);
        (of(), of())
    }

    #[tokio::test(start_paused = true)]
    async fn two_processes_of_one_connection_share_its_rate() {
        // 600 units a minute are ten in a second.
        let (one, two) = two_processes(Some(600));
        let (began, meter) = (Instant::now(), Meter::default());
        let of = async |budget: &Budget| {
            for _ in 0..50 {
                budget.admit(1, &meter).await.unwrap();
            }
        };
        futures_util::future::join(of(&one), of(&two)).await;
        let took = began.elapsed();
        assert!(took > Duration::from_secs(9) && took < Duration::from_secs(12), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_process_is_asked_to_wait_the_other_waits_too() {
        let (one, two) = two_processes(None);
        let meter = Meter::default();
        two.admit(1, &meter).await.unwrap();
        one.hold(Duration::from_secs(30));
        tokio::time::sleep(LOOK_EVERY).await;
        let began = Instant::now();
        two.admit(1, &meter).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 29);
    }

    #[test]
    fn all_sources_of_a_connection_share_its_budget_and_no_other_does() {
        let budgets = Budgets::default();
        let of = |connection| budgets.of(connection, None);
        assert!(Arc::ptr_eq(&of(Some("conn_a")), &budgets.clone().of(Some("conn_a"), None)));
        assert!(!Arc::ptr_eq(&of(Some("conn_a")), &of(Some("conn_b"))));
        assert!(!Arc::ptr_eq(&of(None), &of(None)));
    }
}
