//! Trying again: one policy beneath every provider's listing and every fetch. Whoever watches a run
//! sees what waits for its next try, however deep beneath the run that is.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

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

/// How long after the first try a server that has let us wait in vain gets another one. A body of
/// which next to nothing comes is given up after a minute, so this is two tries and two minutes.
const WAITED_IN_VAIN: Duration = Duration::from_secs(100);

/// A try that failed and will be followed by another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Which try comes next; the one that failed first was 1.
    pub attempt: u32,
    /// Why the last one failed.
    pub reason: String,
    /// How long until the next.
    pub wait: Duration,
}

/// Is notified of retries. Called from several tasks at once; must not block.
pub trait RetryWatch: Send + Sync {
    /// An operation waits for its next try. The number is its own until [`RetryWatch::ended`].
    fn waits(&self, operation: u64, retry: &Retry);

    /// An operation that had to be tried again has ended, in whatever way.
    fn ended(&self, operation: u64);
}

tokio::task_local! {
    static WATCH: Arc<dyn RetryWatch>;
}

/// Notifies `watch` of the retries in a future, but not in the tasks that it spawns
/// ([`inherited`]).
pub async fn watched<F: Future>(watch: Arc<dyn RetryWatch>, future: F) -> F::Output {
    WATCH.scope(watch, future).await
}

/// A future for another task, of whose retries the watch of this one is notified.
pub fn inherited<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let watch = WATCH.try_with(Arc::clone).ok();
    async move {
        match watch {
            Some(watch) => watched(watch, future).await,
            None => future.await,
        }
    }
}

/// An operation that may be tried again, as the watch sees it.
struct Watched {
    watch: Option<Arc<dyn RetryWatch>>,
    operation: u64,
    attempt: u32,
}

impl Watched {
    fn begin() -> Self {
        static OPERATIONS: AtomicU64 = AtomicU64::new(0);
        Self {
            watch: WATCH.try_with(Arc::clone).ok(),
            operation: OPERATIONS.fetch_add(1, Ordering::Relaxed),
            attempt: 1,
        }
    }

    fn waits(&mut self, reason: &dyn Display, wait: Duration) {
        self.attempt += 1;
        if let Some(watch) = &self.watch {
            let retry = Retry { attempt: self.attempt, reason: reason.to_string(), wait };
            watch.waits(self.operation, &retry);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.attempt > 1
            && let Some(watch) = &self.watch
        {
            watch.ended(self.operation);
        }
    }
}

/// An error that knows whether another try may help.
pub trait Classified: Display {
    /// What to do about it.
    fn class(&self) -> ErrorClass;

    /// How long the provider asks us to wait first.
    fn retry_after(&self) -> Option<Duration>;

    /// Whether it is that nothing came in time.
    fn is_timeout(&self) -> bool;
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

    fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
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
        let mut watched = Watched::begin();
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
                let give_up_after = match error.is_timeout() {
                    true => self.give_up_after.min(WAITED_IN_VAIN),
                    false => self.give_up_after,
                };
                wait.filter(|wait| {
                    brief <= BRIEFLY && started.elapsed().saturating_add(*wait) < give_up_after
                })
            })
            .notify(|error, wait| watched.waits(error, wait))
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

    /// What a watch was notified of.
    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<Option<Retry>>>);

    impl RetryWatch for Told {
        fn waits(&self, _: u64, retry: &Retry) {
            self.0.lock().unwrap().push(Some(retry.clone()));
        }

        fn ended(&self, _: u64) {
            self.0.lock().unwrap().push(None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn watchers_see_each_coming_try_and_the_end_in_other_tasks_too() {
        let told = Arc::new(Told::default());
        let tries = AtomicU32::new(0);
        let work = RetryPolicy::FETCH.run(move || {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            async move { if tried < 2 { Err(rate_limited(60)) } else { Ok(()) } }
        });
        let spawned = async { tokio::spawn(inherited(work)).await.unwrap() };
        watched(told.clone(), spawned).await.unwrap();
        let told = told.0.lock().unwrap();
        let attempts: Vec<_> =
            told.iter().map(|told| told.as_ref().map(|retry| retry.attempt)).collect();
        assert_eq!(attempts, [Some(2), Some(3), None]);
        assert!(told[0].as_ref().unwrap().wait >= Duration::from_secs(60));
        assert!(told[0].as_ref().unwrap().reason.contains("SlowDown"));
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
    async fn an_entry_whose_bytes_do_not_come_is_given_up_after_two_minutes() {
        let started = tokio::time::Instant::now();
        let outcome: Result<(), SourceError> = RetryPolicy::FETCH
            .run(|| async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(SourceError::Timeout { message: "only 60 bytes came in 60 seconds".into() })
            })
            .await;
        assert!(outcome.is_err());
        assert!(started.elapsed() < Duration::from_secs(125), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_no_clock_can_count_is_not_waited_for() {
        let outcome: Result<(), SourceError> = RetryPolicy::FETCH
            .run(|| async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Err(rate_limited(u64::MAX))
            })
            .await;
        assert!(matches!(outcome, Err(SourceError::RateLimited { .. })));
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
