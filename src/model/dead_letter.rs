//! The life of a dead letter: when an entry that keeps failing is tried again, and when no more.
//!
//! The first failure is tried again with the next run; the retries after it wait longer each time.
//! Three failed retries put it into quarantine: one try a day, to see whether it has healed. After
//! seven days of failing it is retired. An entry that has another version at its source than the
//! one that failed begins a new life at once, whatever became of the old one.
//!
//! How it is counted: a run counts an entry that it tried without success as `failed`, once,
//! however often it tried, and one that it let wait as `filtered`.

use std::time::Duration;

use jiff::Timestamp;

/// Failed retries after which a dead letter is in quarantine.
pub const MAX_RETRIES: u32 = 3;

/// How long each retry waits, counted from the failure before it.
const BACKOFF: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(5 * 60), Duration::from_secs(30 * 60)];

/// How long a try in quarantine waits.
const QUARANTINE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an entry may fail before it is retired.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a run lets entries wait that failed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until they are due.
    Full,
    /// Until they are due in quarantine; the backoff before that is not waited for.
    UntilQuarantine,
    /// Not at all: a person wants to see whether they work now. Retired ones stay retired.
    None,
}

/// Where a dead letter is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Since when it fails, or since somebody gave it another chance.
    pub since: Timestamp,
    /// Retries that failed.
    pub retries: u32,
    /// Not tried before this; `None`: with the next run.
    pub retry_at: Option<Timestamp>,
    /// When it was retried last.
    pub reattempted_at: Option<Timestamp>,
    /// Why it is tried no more; `None` while it is.
    pub disposed: Option<String>,
}

impl Life {
    /// After the first failure.
    #[must_use]
    pub const fn begun(now: Timestamp) -> Self {
        Self { since: now, retries: 0, retry_at: None, reattempted_at: None, disposed: None }
    }

    /// After one more failure.
    #[must_use]
    pub fn failed_again(&self, now: Timestamp) -> Self {
        let retries = (self.retries + 1).min(MAX_RETRIES);
        let was_in_quarantine = self.is_exhausted();
        let wait =
            usize::try_from(retries).ok().and_then(|n| BACKOFF.get(n)).unwrap_or(&QUARANTINE);
        let is_old = now.duration_since(self.since)
            >= jiff::SignedDuration::try_from(LIFETIME).unwrap_or_default();
        Self {
            since: self.since,
            retries,
            retry_at: now.checked_add(*wait).ok(),
            reattempted_at: Some(now),
            disposed: (was_in_quarantine && is_old)
                .then(|| "it has failed for seven days, and is tried no more".to_owned()),
        }
    }

    /// After a try that came too early: the next run tries again.
    #[must_use]
    pub fn tried_too_early(&self, now: Timestamp) -> Self {
        Self { retry_at: None, reattempted_at: Some(now), ..self.clone() }
    }

    /// The same, and not tried before the source lets it be.
    #[must_use]
    pub fn not_before(self, now: Timestamp, wait: Option<Duration>) -> Self {
        let allowed = wait.and_then(|wait| now.checked_add(wait).ok());
        Self { retry_at: self.retry_at.max(allowed), ..self }
    }

    /// Whether its retries are used up.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        self.retries >= MAX_RETRIES
    }

    /// Whether it may be tried now.
    #[must_use]
    pub fn is_due(&self, now: Timestamp, patience: Patience) -> bool {
        let has_waited = match patience {
            Patience::Full => false,
            Patience::UntilQuarantine => !self.is_exhausted(),
            Patience::None => true,
        };
        self.disposed.is_none() && (has_waited || self.retry_at.is_none_or(|at| at <= now))
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    fn start() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    #[test]
    fn three_retries_wait_longer_each_time_and_end_in_quarantine() {
        let first = Life::begun(start());
        assert!(first.is_due(start(), Patience::Full), "with the next run");
        let second = first.failed_again(start());
        assert!(!second.is_due(start() + 4.minutes(), Patience::Full));
        assert!(second.is_due(start() + 5.minutes(), Patience::Full));
        let third = second.failed_again(start() + 5.minutes());
        assert!(!third.is_due(start() + 34.minutes(), Patience::Full));
        assert!(
            third.is_due(start() + 34.minutes(), Patience::UntilQuarantine),
            "a full run does not wait"
        );
        let last = third.failed_again(start() + 35.minutes());
        assert!(last.is_exhausted());
        assert!(
            !last.is_due(start() + 24.hours(), Patience::UntilQuarantine),
            "quarantine is waited for"
        );
        assert!(last.is_due(start() + 24.hours() + 35.minutes(), Patience::Full));
    }

    #[test]
    fn a_try_that_came_too_early_is_no_retry_that_failed() {
        let mut life = Life::begun(start());
        for _ in 0..10 {
            life = life.tried_too_early(start());
            assert!(life.is_due(start(), Patience::Full), "with the next run");
        }
        assert_eq!(life.retries, 0);
    }

    #[test]
    fn what_the_source_wants_to_be_waited_for_is_waited_for_if_that_is_longer() {
        let wait = |hours: u64| Some(Duration::from_secs(hours * 60 * 60));
        let life = Life::begun(start()).not_before(start(), wait(24));
        assert!(!life.is_due(start() + 23.hours(), Patience::Full));
        assert!(life.is_due(start() + 24.hours(), Patience::Full));
        let again = life.failed_again(start()).not_before(start(), None);
        assert_eq!(again.retry_at, Some(start() + 5.minutes()));
    }

    #[test]
    fn seven_days_of_failing_are_the_end() {
        let mut life = Life::begun(start());
        let mut now = start();
        let mut tries = 0;
        while life.disposed.is_none() {
            now += 1.hour();
            if life.is_due(now, Patience::Full) {
                life = life.failed_again(now);
                tries += 1;
            }
        }
        assert_eq!((now - start()).as_hours() / 24, 7);
        assert_eq!(tries, 3 + 7, "three retries, then one a day");
        assert!(!life.is_due(now + 1000.hours(), Patience::None));
    }
}
