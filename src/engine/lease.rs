//! Holding the right to run a sync: taking it, keeping it, noticing its loss.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::Worker;
use crate::{
    clock::SharedClock,
    store::{
        self, Store, StoreError,
        leases::{self, Fence, Holder},
    },
};

/// How long a lease lasts unless renewed.
pub const TERM: Duration = Duration::from_secs(60);

/// How often it is renewed: two renewals may fail before it is gone.
const RENEWAL: Duration = Duration::from_secs(20);

/// A lease that is renewed for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    /// What every write shows.
    pub fence: Fence,
    lost: CancellationToken,
    _renewal: AbortOnDropHandle<()>,
}

/// A claim on a lease by this process, at this moment.
pub fn claim(worker: &Worker, clock: &SharedClock) -> Holder {
    let since = clock.now();
    Holder {
        worker: worker.id().to_owned(),
        host: worker.host().to_owned(),
        pid: std::process::id(),
        since,
        until: since + TERM,
    }
}

/// Decides, within the transaction that takes it, whether `claimant` may have the lease.
///
/// # Errors
/// [`StoreError::Locked`] when a living worker holds it: one that has not expired, unless it was a
/// process of this host that has ended.
pub fn take(
    tx: &rusqlite::Transaction<'_>,
    sync_key: i64,
    claimant: &Holder,
    worker: &Worker,
) -> store::Result<Fence> {
    if let Some(holder) = leases::holder(tx, sync_key)? {
        let expired = holder.until <= claimant.since;
        let ended = holder.host == claimant.host && worker.is_dead(&holder.worker);
        if !expired && !ended {
            return Err(StoreError::Locked(holder));
        }
    }
    leases::take(tx, sync_key, claimant)
}

impl Lease {
    /// Keeps the lease that was taken.
    #[must_use]
    pub fn keep(fence: Fence, store: Store, clock: SharedClock) -> Self {
        let lost = CancellationToken::new();
        let renewal = tokio::spawn(renew(fence, store, clock, lost.clone()));
        Self { fence, lost, _renewal: AbortOnDropHandle::new(renewal) }
    }

    /// Resolves when another run has taken the lease. Until then writes are safe anyway: each of
    /// them checks the token.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

async fn renew(fence: Fence, store: Store, clock: SharedClock, lost: CancellationToken) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let until = clock.now() + TERM;
        match store.write(move |tx| leases::renew(tx, fence, until)).await {
            Ok(()) => {}
            Err(StoreError::LeaseLost) => {
                lost.cancel();
                return;
            }
            // The next try may succeed; if none does, another may take over, and the token decides.
            Err(error) => tracing::warn!(%error, "could not renew the lease"),
        }
    }
}

/// A worker that is shared by the runs of a process.
pub type SharedWorker = Arc<Worker>;
