//! How slowly a body may come. One that stands still times out; this ends those that send a byte
//! now and then, for ever.

use std::time::Duration;

use super::SourceError;

/// How long a body is watched before it is judged, again and again.
const WINDOW: Duration = Duration::from_secs(60);

/// Bytes a second that have to come in such a time.
const SLOWEST: u64 = 1024;

/// The pace of one body. Only the time that was spent waiting for the other side counts, not that
/// in which we did something else.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    received: u64,
}

impl Pace {
    /// So many bytes came after this wait.
    ///
    /// # Errors
    /// [`SourceError::Timeout`] when they come too slowly.
    pub(super) fn received(&mut self, bytes: u64, waited: Duration) -> Result<(), SourceError> {
        self.received = self.received.saturating_add(bytes);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < WINDOW {
            return Ok(());
        }
        if self.received < SLOWEST * self.waited.as_secs() {
            let (bytes, seconds) = (self.received, self.waited.as_secs());
            let message = format!("only {bytes} bytes came in {seconds} seconds");
            return Err(SourceError::Timeout { message });
        }
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_body_that_trickles_times_out_and_one_that_is_slow_does_not() {
        let second = Duration::from_secs(1);
        let mut slow = Pace::default();
        (0..300).for_each(|_| slow.received(2048, second).unwrap());
        let mut trickling = Pace::default();
        (0..59).for_each(|_| trickling.received(1, second).unwrap());
        assert!(matches!(trickling.received(1, second), Err(SourceError::Timeout { .. })));
    }

    #[test]
    fn the_time_that_we_take_ourselves_does_not_count() {
        let mut pace = Pace::default();
        (0..1000).for_each(|_| pace.received(1, Duration::ZERO).unwrap());
    }
}
