//! How fast a connection may send requests, and until when it has to wait: one budget for all
//! sources of a connection. Waiting is not an attempt.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::sources::SourceError;

/// The longest that a server's Retry-After makes everybody wait.
const MAX_HOLD: Duration = Duration::from_secs(5 * 60);

/// How far ahead of its even pace a connection may be: over any five seconds that is less than a
/// tenth above its rate.
const BURST: Duration = Duration::from_millis(400);

/// The budgets of this process, by connection. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Budgets(Arc<Mutex<HashMap<String, Arc<Budget>>>>);

impl Budgets {
    /// The budget of a connection. One that is not stored yet has a budget of its own.
    ///
    /// `per_minute`: units that its requests may weigh in a minute; `None`: as many as the provider
    /// lets through.
    #[must_use]
    pub fn of(&self, connection: Option<&str>, per_minute: Option<u32>) -> Arc<Budget> {
        let new = || Arc::new(Budget { per_minute, ..Budget::default() });
        let Some(connection) = connection else { return new() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(connection) {
            Some(budget) if budget.per_minute == per_minute => Arc::clone(budget),
            _ => {
                let budget = new();
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
        let due = self.reserve(weight);
        tokio::time::sleep_until(due).await;
        while let Some(held) = self.held_for() {
            tokio::time::sleep(held).await;
        }
        meter.count(began.elapsed());
        Ok(())
    }

    /// Takes a place in the rate, and returns when it is due.
    fn reserve(&self, weight: u32) -> Instant {
        let now = Instant::now();
        let Some(per_minute) = self.per_minute.filter(|rate| *rate > 0) else { return now };
        let cost = Duration::from_secs(60).mul_f64(f64::from(weight) / f64::from(per_minute));
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let from = pace.used_until.map_or(now, |used| used.max(now));
        pace.used_until = Some(from + cost);
        from.checked_sub(BURST).map_or(now, |due| due.max(now))
    }

    /// Makes everybody wait, as the provider asks.
    pub fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait.min(MAX_HOLD);
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

    #[test]
    fn all_sources_of_a_connection_share_its_budget_and_no_other_does() {
        let budgets = Budgets::default();
        let of = |connection| budgets.of(connection, None);
        assert!(Arc::ptr_eq(&of(Some("conn_a")), &budgets.clone().of(Some("conn_a"), None)));
        assert!(!Arc::ptr_eq(&of(Some("conn_a")), &of(Some("conn_b"))));
        assert!(!Arc::ptr_eq(&of(None), &of(None)));
    }
}
