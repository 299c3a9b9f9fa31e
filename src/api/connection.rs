//! The connections of the server while they last: how many there are, who is at the other end, and
//! which has to go when others need its place.
//!
//! Whoever has shown a token or a session keeps a place. When all places are taken, whoever has not
//! shown one for the longest time loses theirs: callers without a token take nothing from those who
//! have one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio_util::sync::CancellationToken;

/// The connections that there are, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<u64, Weak<Connection>>,
    next: u64,
}

/// One of them. Its place is free once it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    is_admitted: AtomicBool,
    evicted: CancellationToken,
    all: Arc<Connections>,
}

impl Connections {
    /// A new connection.
    pub(super) fn open(self: &Arc<Self>) -> Arc<Connection> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let connection = Arc::new(Connection {
            number,
            is_admitted: AtomicBool::new(false),
            evicted: CancellationToken::new(),
            all: self.clone(),
        });
        state.open.insert(number, Arc::downgrade(&connection));
        connection
    }

    /// Ends the oldest connection that has not shown a token; returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        let state = self.lock();
        let mut open = state.open.values().filter_map(Weak::upgrade);
        let slowest =
            open.find(|one| !one.is_admitted.load(Relaxed) && !one.evicted.is_cancelled());
        drop(state);
        slowest.inspect(|one| one.evicted.cancel()).is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// The caller has shown that it may ask: it keeps its place.
    pub(super) fn admit(&self) {
        self.is_admitted.store(true, Relaxed);
    }

    /// Ends when others need the place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_without_a_token_loses_its_place_and_nobody_with_one() {
        let all = Arc::new(Connections::default());
        let (signed_in, slow, quick) = (all.open(), all.open(), all.open());
        signed_in.admit();
        assert!(all.evict());
        assert!(slow.evicted.is_cancelled());
        assert!(!quick.evicted.is_cancelled());
        drop(slow);
        assert!(all.evict());
        assert!(quick.evicted.is_cancelled());
        assert!(!all.evict(), "there is nobody else without a token");
        assert!(!signed_in.evicted.is_cancelled());
    }
}
