//! Slows down guessing: after some failures from one address, it has to wait.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Failures from one address in one [`WINDOW`] before it has to wait.
const MOST: u32 = 10;
/// How long failures count, from the first one.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; beyond, those whose window has passed are forgotten first.
const ADDRESSES: usize = 4096;

/// Counts failures by address.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Throttle {
    /// How many seconds that address has to wait, if it has to.
    pub(super) fn wait_secs(&self, address: IpAddr) -> Option<u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = all.get(&address).filter(|failures| failures.count >= MOST)?;
        let left = WINDOW.checked_sub(failures.since.elapsed())?;
        Some(left.as_secs() + 1)
    }

    /// One more failure from that address.
    pub(super) fn failed(&self, address: IpAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES {
            all.retain(|_, failures| failures.since.elapsed() < WINDOW);
        }
        let now = Instant::now();
        let failures = all.entry(address).or_insert(Failures { since: now, count: 0 });
        if failures.since.elapsed() >= WINDOW {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_failed_too_often_waits_until_its_window_has_passed() {
        let (throttle, guesser) = (Throttle::default(), IpAddr::from([127, 0, 0, 1]));
        for _ in 0..MOST {
            assert_eq!(throttle.wait_secs(guesser), None);
            throttle.failed(guesser);
        }
        assert!(throttle.wait_secs(guesser).is_some());
        assert_eq!(throttle.wait_secs(IpAddr::from([127, 0, 0, 2])), None);
        tokio::time::advance(WINDOW).await;
        throttle.failed(guesser);
        assert_eq!(throttle.wait_secs(guesser), None);
    }
}
