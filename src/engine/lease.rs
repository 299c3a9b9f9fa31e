//! The right to run a sync: taking it, renewing it, noticing its loss.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::Worker;
use crate::{
    clock::SharedClock,
    store::{
        self, Store, StoreError,
        leases::{self, Fence, Holder, Wish},
    },
};

/// How long a lease lasts unless renewed.
pub const TERM: Duration = Duration::from_secs(60);

/// How often it is renewed: two renewals may fail before it is gone.
const RENEWAL: Duration = Duration::from_secs(20);

/// How often its holder checks whether it should stop: somebody may have paused or deleted the
/// sync, or taken the lease away, in this process or another.
const LOOK: Duration = Duration::from_millis(500);

/// A lease that is renewed for as long as this lives.
#[derive(Debug)]
pub struct Lease {
    /// What every write shows.
    pub fence: Fence,
    lost: CancellationToken,
    unwanted: CancellationToken,
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
/// [`StoreError::Locked`] when a living worker holds it.
pub fn take(
    tx: &rusqlite::Transaction<'_>,
    sync_key: i64,
    claimant: &Holder,
    worker: &Worker,
) -> store::Result<Fence> {
    if let Some(holder) = leases::holder(tx, sync_key)?
        && is_alive(&holder, worker, claimant.since)
    {
        return Err(StoreError::Locked(holder));
    }
    leases::take(tx, sync_key, claimant)
}

/// Whether a lease is still valid: it has not expired, and its holder still has the lock of its
/// file. The name of its host proves nothing: a host may get another one.
#[must_use]
pub fn is_alive(holder: &Holder, worker: &Worker, now: Timestamp) -> bool {
    holder.until > now && !worker.is_dead(&holder.worker)
}

impl Lease {
    /// Keeps renewing a lease that was taken.
    #[must_use]
    pub fn keep(fence: Fence, store: Store, clock: SharedClock) -> Self {
        let (lost, unwanted) = (CancellationToken::new(), CancellationToken::new());
        let renewal = tokio::spawn(renew(fence, store, clock, lost.clone(), unwanted.clone()));
        Self { fence, lost, unwanted, _renewal: AbortOnDropHandle::new(renewal) }
    }

    /// Resolves when the lease is lost: taken over by another run, or unlocked by somebody. Writes
    /// are safe even before that: each of them checks the token.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Cancelled when the sync was paused or deleted while the run is under way.
    #[must_use]
    pub fn unwanted(&self) -> &CancellationToken {
        &self.unwanted
    }
}

async fn renew(
    fence: Fence,
    store: Store,
    clock: SharedClock,
    lost: CancellationToken,
    unwanted: CancellationToken,
) {
    let mut renewal = tokio::time::Instant::now() + RENEWAL;
    loop {
        tokio::time::sleep(LOOK).await;
        match store.read(move |db| leases::wish(db, fence)).await {
            Ok(Wish::GoOn) => {}
            Ok(Wish::Stop) => unwanted.cancel(),
            Ok(Wish::Lost) => return lost.cancel(),
            Err(error) => tracing::warn!(%error, "could not look at the lease"),
        }
        if tokio::time::Instant::now() < renewal {
            continue;
        }
        renewal += RENEWAL;
        let until = clock.now() + TERM;
        match store.write(move |tx| leases::renew(tx, fence, until)).await {
            Ok(()) => {}
            Err(StoreError::LeaseLost) => return lost.cancel(),
            // The next try may succeed; if none does, another may take over, and the token decides.
            Err(error) => tracing::warn!(%error, "could not renew the lease"),
        }
    }
}

/// A worker that is shared by the runs of a process.
pub type SharedWorker = Arc<Worker>;
