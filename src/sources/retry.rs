//! Trying again: one policy beneath every provider's listing and every fetch.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};

use super::{ErrorClass, SourceError};

/// How often and how long to try.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The wait before the second try; it doubles from there, with jitter.
    pub first_delay: Duration,
    /// The longest wait between two tries, unless the provider asks for a longer one.
    pub max_delay: Duration,
    /// How many tries after the first.
    pub retries: usize,
    /// When to give up whatever the count says.
    pub give_up_after: Duration,
}

/// How often an answer that makes no sense is asked for again.
const BRIEFLY: usize = 3;

/// An error that knows whether another try may help.
pub trait Classified {
    /// What to do about it.
    fn class(&self) -> ErrorClass;

    /// How long the provider asks us to wait first.
    fn retry_after(&self) -> Option<Duration>;
}

impl Classified for SourceError {
    fn class(&self) -> ErrorClass {
        Self::class(self)
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl RetryPolicy {
    /// For listings: persistent, because a failed listing fails the run, but over within two
    /// minutes, because somebody waits for the reason.
    pub const LISTING: Self = Self {
        first_delay: Duration::from_millis(200),
        max_delay: Duration::from_secs(15),
        retries: 12,
        give_up_after: Duration::from_secs(100),
    };

    /// For one entry: a few tries, then a dead letter, for the next run tries again anyway.
    pub const FETCH: Self = Self {
        first_delay: Duration::from_millis(150),
        max_delay: Duration::from_secs(5),
        retries: 6,
        give_up_after: Duration::from_secs(300),
    };

    /// Runs `operation` until it succeeds, fails for good, or the policy is exhausted; the last
    /// error is returned. A provider's Retry-After is waited for in full.
    ///
    /// # Errors
    /// The last error of `operation`.
    pub async fn run<T, E, F>(self, mut operation: impl FnMut() -> F + Send) -> Result<T, E>
    where
        E: Classified,
        F: Future<Output = Result<T, E>> + Send,
    {
        let started = tokio::time::Instant::now();
        let mut brief = 0;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.retries)
            .with_jitter();
        (|| operation())
            .retry(backoff)
            .when(|error: &E| matches!(error.class(), ErrorClass::Retry | ErrorClass::RetryBriefly))
            .adjust(|error, delay| {
                if error.class() == ErrorClass::RetryBriefly {
                    brief += 1;
                }
                let asked = error.retry_after().unwrap_or_default();
                let wait = delay.map(|delay| delay.max(asked));
                wait.filter(|wait| {
                    brief <= BRIEFLY && started.elapsed() + *wait < self.give_up_after
                })
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn rate_limited(seconds: u64) -> SourceError {
        SourceError::RateLimited {
            message: "SlowDown".into(),
            retry_after: Some(Duration::from_secs(seconds)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_waited_for_in_full() {
        let started = tokio::time::Instant::now();
        let tries = AtomicU32::new(0);
        let outcome = RetryPolicy::FETCH
            .run(|| async {
                match tries.fetch_add(1, Ordering::Relaxed) {
                    0 => Err(rate_limited(60)),
                    _ => Ok(()),
                }
            })
            .await;
        assert!(outcome.is_ok());
        assert!(started.elapsed() >= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_keeps_failing_gives_up_within_two_minutes() {
        let started = tokio::time::Instant::now();
        let outcome: Result<(), SourceError> = RetryPolicy::LISTING
            .run(|| async { Err(SourceError::Transient { message: "502 Bad Gateway".into() }) })
            .await;
        assert_eq!(outcome.unwrap_err().to_string(), "502 Bad Gateway");
        assert!(started.elapsed() < Duration::from_secs(120));
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_try_cannot_change_is_not_tried_again() {
        let tries = AtomicU32::new(0);
        let outcome: Result<(), SourceError> = RetryPolicy::FETCH
            .run(|| async {
                tries.fetch_add(1, Ordering::Relaxed);
                Err(SourceError::PermissionDenied { message: "no".into() })
            })
            .await;
        assert!(outcome.is_err());
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }
}
