//! What people decide about held removals: approve or reject them.
//!
//! Held removals are known by the keys of their entries. Approving removes nothing by itself: the
//! next complete pass removes those whose entries it, too, proves gone, so that nothing is removed
//! that has come back meanwhile, and nothing but what was held passes the guard. Where another root
//! is in the place of the source, approving takes that root as the source, and rejecting keeps the
//! objects and refuses the root until another one is there, or it is approved after all.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Engine, Observer, Report, held::emit_event, lease};
use crate::{
    model::{Cause, JobId, Sweep},
    store::{
        self, StoreError, Transaction,
        events::About,
        feeds, jobs, leases, reconcile,
        syncs::{self, HeldReason, HeldRemovals, Sync},
    },
};

impl Engine {
    /// Approves the held removals of a sync and runs it at once: what its listing proves to be
    /// still gone is removed, and counted by that job. If the run fails, the next one removes them.
    ///
    /// # Errors
    /// [`StoreError::NothingHeld`]; [`StoreError::Locked`] while a run is in progress; the store's.
    /// How the run went is in the report.
    pub async fn approve_removals(
        &self,
        sync: &Sync,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Result<Report, StoreError> {
        let job = self.queue_approved_removals(sync).await?;
        Ok(self.run_job(&job, observer, stop).await)
    }

    /// As [`Engine::approve_removals`], but leaves the job in the queue.
    ///
    /// # Errors
    /// As there.
    pub async fn queue_approved_removals(&self, sync: &Sync) -> Result<JobId, StoreError> {
        let job = JobId::generate();
        let moved = self.place_of_replaced_root(sync).await;
        let (engine, sync_key, id) = (self.clone(), sync.key, job.clone());
        self.store
            .write(move |tx| {
                let now = engine.clock().now();
                let mut removals = engine.held_or_refused(tx, sync_key)?;
                removals.approved_at = Some(now);
                if let Some(root) = &removals.root {
                    let root = match &moved {
                        Some((place, root)) => {
                            syncs::set_source_path(tx, sync_key, place)?;
                            root
                        }
                        None => root,
                    };
                    syncs::remember_root(tx, sync_key, Some(root))?;
                    syncs::refuse_root(tx, sync_key, None)?;
                }
                let entries = syncs::held_entries(tx, sync_key)?;
                syncs::hold_removals(tx, sync_key, Some((&removals, &entries)))?;
                // A feed does not report again what was held, so that everything is listed.
                feeds::invalidate(tx, sync_key)?;
                let job_key = jobs::queue(tx, sync_key, &id, Cause::Manual, Sweep::None, now)?;
                emit_event(tx, About::job(sync_key, job_key), "approved", &removals, now)
            })
            .await?;
        Ok(job)
    }

    /// Where another account than before is signed in, its place may be another one: its own drive.
    /// Returns that and the identity of its root. If it cannot be found out, the run says why.
    async fn place_of_replaced_root(&self, sync: &Sync) -> Option<(Vec<u8>, String)> {
        let is_replaced = sync.refused_root.is_some()
            || sync.held_removals.as_ref().is_some_and(|held| held.root.is_some());
        if !is_replaced {
            return None;
        }
        let place = self.open_source(sync).await.ok()?.place_for_account().await.ok()??;
        let mut moved = sync.clone();
        moved.location.source_path.clone_from(&place);
        let root = self.open_source(&moved).await.ok()?.root().await.ok()?;
        Some((place, root.0?))
    }

    /// Keeps the objects whose removal is held. Nobody is asked about them again until their
    /// entries have been at the source again. Returns how many objects are kept.
    ///
    /// # Errors
    /// [`StoreError::NothingHeld`]; [`StoreError::Locked`] while a run is in progress; the store's.
    pub async fn reject_removals(&self, sync: &Sync) -> Result<u64, StoreError> {
        let (engine, sync_key) = (self.clone(), sync.key);
        self.store
            .write(move |tx| {
                let now = engine.clock().now();
                let removals = engine.held_without_run(tx, sync_key)?;
                match &removals.root {
                    // The objects stay those of the root that they came from.
                    Some(root) => syncs::refuse_root(tx, sync_key, Some(root))?,
                    None => {
                        let entries = syncs::held_entries(tx, sync_key)?;
                        reconcile::release(tx, sync_key, &entries)?;
                    }
                }
                syncs::hold_removals(tx, sync_key, None)?;
                emit_event(tx, About::sync(sync_key), "rejected", &removals, now)?;
                Ok(removals.count)
            })
            .await
    }

    /// The held removals; or, where the root in the place of the source was refused before, that
    /// root, to be accepted after all.
    fn held_or_refused(&self, tx: &Transaction<'_>, sync_key: i64) -> store::Result<HeldRemovals> {
        match (self.held_without_run(tx, sync_key), syncs::by_key(tx, sync_key)?.refused_root) {
            (Err(StoreError::NothingHeld), Some(root)) => Ok(HeldRemovals {
                reason: HeldReason::SourceReplaced,
                count: 0,
                of: syncs::object_count(tx, sync_key)?,
                sample: Vec::new(),
                held_at: self.clock().now(),
                approved_at: None,
                limit: None,
                root: Some(root),
            }),
            (held, _) => held,
        }
    }

    /// The held removals of a sync that is not running: a run decides itself what is held.
    fn held_without_run(&self, tx: &Transaction<'_>, sync_key: i64) -> store::Result<HeldRemovals> {
        if let Some(holder) = leases::holder(tx, sync_key)?
            && lease::is_alive(&holder, self.worker(), self.clock().now())
        {
            return Err(StoreError::Locked(holder));
        }
        syncs::held_removals(tx, sync_key)?.ok_or(StoreError::NothingHeld)
    }
}
