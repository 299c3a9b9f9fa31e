//! The budgets of connections, written down in the state: every process on a data directory keeps
//! to them, and so does the next one.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    clock::SharedClock,
    sources::http::{Ledger, Reservation},
    store::{Store, StoreError, budgets},
};

/// See the module.
#[derive(Debug)]
pub(super) struct StoredLedger {
    pub(super) store: Store,
    pub(super) clock: SharedClock,
}

#[async_trait]
impl Ledger for StoredLedger {
    async fn reserve(&self, connection: &str, cost: Duration) -> Option<Reservation> {
        let (connection, now) = (connection.to_owned(), self.clock.now());
        logged(match cost.is_zero() {
            true => self.store.read(move |db| budgets::peek(db, &connection, now)).await,
            false => self.store.write(move |tx| budgets::reserve(tx, &connection, cost, now)).await,
        })
    }

    async fn hold(&self, connection: &str, wait: Duration) {
        let (connection, until) = (connection.to_owned(), self.clock.now() + wait);
        let held = self.store.write(move |tx| budgets::hold(tx, &connection, until)).await;
        logged(held);
    }
}

/// A budget that cannot be stored still limits this process.
fn logged<T>(outcome: Result<T, StoreError>) -> Option<T> {
    outcome.inspect_err(|error| tracing::debug!(%error, "could not store a budget")).ok()
}
