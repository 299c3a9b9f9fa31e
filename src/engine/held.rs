//! Removals that the guard holds back: written down, let go, or refused.
//!
//! What is held is known by the keys of its entries. Letting them go removes nothing by itself: it
//! is the next complete pass that removes what it, too, proves gone, so that nothing goes which has
//! come back meanwhile, and nothing besides what was held passes the guard.

use std::sync::Arc;

use jiff::Timestamp;
use roaring::RoaringTreemap;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Engine, Observer, Report, lease};
use crate::{
    model::{Cause, JobId, Phase},
    store::{
        self, StoreError, Transaction,
        commit::Target,
        events::{self, About, EventKind},
        jobs, leases, reconcile,
        syncs::{self, HeldRemovals, Sync},
    },
};

/// Removals that wait for somebody's word.
#[derive(Clone, Debug)]
pub struct Held {
    /// What a person is told.
    pub removals: HeldRemovals,
    /// The keys of their entries.
    pub entries: RoaringTreemap,
}

/// Writes down what a complete pass holds back, if anything.
pub(super) fn write(
    tx: &Transaction<'_>,
    target: &Target,
    held: Option<&Held>,
    now: Timestamp,
) -> store::Result<()> {
    let sync_key = target.fence.sync_key;
    syncs::hold_removals(tx, sync_key, held.map(|held| (&held.removals, &held.entries)))?;
    let Some(held) = held else { return Ok(()) };
    jobs::enter(tx, target.job_key, Phase::Held, now)?;
    tell(tx, About::job(sync_key, target.job_key), "held", &held.removals, now)
}

fn tell(
    tx: &Transaction<'_>,
    about: About,
    change: &str,
    removals: &HeldRemovals,
    now: Timestamp,
) -> store::Result<()> {
    let detail = json!({
        "change": change,
        "count": removals.count,
        "of": removals.of,
        "sample": removals.sample,
    });
    events::append(tx, EventKind::SyncChanged, about, &detail, now)
}

impl Engine {
    /// Lets the held removals of a sync go, and runs it at once: what its listing proves to be
    /// still gone is removed, counted by that job. Should the run fail, the next one removes them.
    ///
    /// # Errors
    /// [`StoreError::NothingHeld`]; [`StoreError::Locked`] while a run is under way; the store's.
    /// How the run went is told by the report.
    pub async fn approve_removals(
        &self,
        sync: &Sync,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Result<Report, StoreError> {
        let job = self.queue_approved_removals(sync).await?;
        Ok(self.run_job(&job, observer, stop).await)
    }

    /// As [`Engine::approve_removals`], leaving the job in the queue for whoever runs those.
    ///
    /// # Errors
    /// As there.
    pub async fn queue_approved_removals(&self, sync: &Sync) -> Result<JobId, StoreError> {
        let job = JobId::generate();
        let (engine, sync_key, id) = (self.clone(), sync.key, job.clone());
        self.store
            .write(move |tx| {
                let now = engine.clock().now();
                let mut removals = engine.held_at_rest(tx, sync_key)?;
                removals.approved_at = Some(now);
                let entries = syncs::held_entries(tx, sync_key)?;
                syncs::hold_removals(tx, sync_key, Some((&removals, &entries)))?;
                let job_key = jobs::queue(tx, sync_key, &id, Cause::Manual, false, now)?;
                tell(tx, About::job(sync_key, job_key), "approved", &removals, now)
            })
            .await?;
        Ok(job)
    }

    /// Keeps the objects whose removal is held. They are not asked about again until their entries
    /// have been at the source once more. Answers how many objects are kept.
    ///
    /// # Errors
    /// [`StoreError::NothingHeld`]; [`StoreError::Locked`] while a run is under way; the store's.
    pub async fn reject_removals(&self, sync: &Sync) -> Result<u64, StoreError> {
        let (engine, sync_key) = (self.clone(), sync.key);
        self.store
            .write(move |tx| {
                let now = engine.clock().now();
                let removals = engine.held_at_rest(tx, sync_key)?;
                let entries = syncs::held_entries(tx, sync_key)?;
                reconcile::release(tx, sync_key, &entries)?;
                syncs::hold_removals(tx, sync_key, None)?;
                tell(tx, About::sync(sync_key), "rejected", &removals, now)?;
                Ok(removals.count)
            })
            .await
    }

    /// The held removals of a sync that does not run just now: a run decides on its own what is
    /// held.
    fn held_at_rest(&self, tx: &Transaction<'_>, sync_key: i64) -> store::Result<HeldRemovals> {
        if let Some(holder) = leases::holder(tx, sync_key)?
            && lease::is_alive(&holder, self.worker(), self.clock().now())
        {
            return Err(StoreError::Locked(holder));
        }
        syncs::held_removals(tx, sync_key)?.ok_or(StoreError::NothingHeld)
    }
}
