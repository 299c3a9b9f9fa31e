//! What a complete pass did not find is removed, unless that is more than the guard lets through.
//!
//! Only called after a complete, error-free listing of the same root in the same pass.

use std::sync::Arc;

use roaring::RoaringTreemap;
use tokio_util::sync::CancellationToken;

use super::{
    RunError,
    held::Held,
    run::{Pass, Run},
};
use crate::{
    model::{Counts, Location, MaxDelete, Phase, ProviderFilters, SyncOptions},
    store::{
        StoreError,
        checkpoints::Tally,
        left_out,
        reconcile::{self as removals, Missing, Scope},
        syncs::{self, HeldRemovals},
    },
};

/// How a run is settled.
#[derive(Debug)]
pub enum Settled {
    /// The bucket equals the source.
    Done,
    /// Removals wait for somebody's word.
    Held(Held),
    /// The pass goes on in another run; nothing is decided yet.
    Slice,
}

/// Rows that are read, or removed in one transaction.
const PAGE: usize = 1000;

/// Paths that a person is shown of held removals.
const SAMPLE: usize = 20;

/// Which of the entries that a pass does not find a sync with these settings removes.
pub(super) fn scope(location: &Location, options: &SyncOptions) -> Scope {
    let provider = location.connection.provider();
    // Filters that cannot be read have kept the source from being opened.
    let filters = ProviderFilters::read(provider, &options.provider_filters).unwrap_or_default();
    Scope {
        absent: options.reconcile.on_delete,
        drifted: options.reconcile.on_filter_drift,
        listed: filters.shards,
    }
}

/// Removes what the pass proved gone.
pub(super) async fn settle(
    run: &Arc<Run>,
    pass: Pass,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> Result<Settled, RunError> {
    let proof = Proof::of(run, pass).await?;
    // What this run has brought is not missing.
    if proof.scope.is_empty() || !run.had_entries {
        return Ok(Settled::Done);
    }
    let survey = proof.survey(run).await?;
    if survey.rows == 0 {
        return Ok(Settled::Done);
    }
    run.observer.entered(Phase::Reconciling);
    let held = survey.held(run, &proof).await?;
    proof.remove(run, held.is_some(), stop, counts).await?;
    Ok(held.map_or(Settled::Done, Settled::Held))
}

/// What a pass proves, and what of it somebody has let go before.
struct Proof {
    tally: Arc<Tally>,
    scope: Scope,
    /// Entries whose removal was held, and approved since.
    approved: Arc<RoaringTreemap>,
    /// Since when something has been held, if nobody has given their word yet.
    held_before: Option<HeldRemovals>,
}

impl Proof {
    /// Writes down what the pass proves of what was refused or left out before.
    async fn of(run: &Arc<Run>, pass: Pass) -> Result<Self, RunError> {
        let Pass { tally, left_out: met, .. } = pass;
        let tally = Arc::new(tally);
        let (target, found, goes_on) = (run.target, tally.clone(), run.goes_on);
        let (held, entries) = run
            .store
            .write(move |tx| {
                removals::reclaim(tx, &target, &found)?;
                // A run that went on from another one knows not of all that the pass came across.
                left_out::forget_others(tx, &target, (!goes_on).then_some(&met))?;
                let sync_key = target.fence.sync_key;
                let held = syncs::held_removals(tx, sync_key)?;
                Ok::<_, StoreError>((held, syncs::held_entries(tx, sync_key)?))
            })
            .await?;
        let is_approved = held.as_ref().is_some_and(|held| held.approved_at.is_some());
        Ok(Self {
            tally,
            scope: run.scope(),
            approved: Arc::new(if is_approved { entries } else { RoaringTreemap::new() }),
            held_before: held.filter(|_| !is_approved),
        })
    }

    fn is_approved(&self, entry: &Missing) -> bool {
        u64::try_from(entry.entry_key).is_ok_and(|key| self.approved.contains(key))
    }

    async fn survey(&self, run: &Arc<Run>) -> Result<Survey, RunError> {
        let mut survey = Survey::default();
        let mut from = Some(Vec::new());
        while let Some(id) = from {
            let (missing, next) = self.missing(run, id).await?;
            survey.rows += missing.len() as u64;
            for entry in missing.iter().filter(|entry| !self.is_approved(entry)) {
                survey.add(entry);
            }
            from = next;
        }
        Ok(survey)
    }

    /// Removes what is missing: all of it, or only what somebody has let go.
    async fn remove(
        &self,
        run: &Arc<Run>,
        only_approved: bool,
        stop: &CancellationToken,
        counts: &mut Counts,
    ) -> Result<(), RunError> {
        let mut from = (!only_approved || !self.approved.is_empty()).then(Vec::new);
        while let Some(id) = from {
            if stop.is_cancelled() {
                return Err(RunError::Stopped);
            }
            let (missing, next) = self.missing(run, id).await?;
            let goes = |entry: &&Missing| !only_approved || self.is_approved(entry);
            let keys: Vec<i64> = missing.iter().filter(goes).map(|entry| entry.entry_key).collect();
            let (target, now) = (run.target, run.clock.now());
            let removed =
                run.store.write(move |tx| removals::remove(tx, &target, &keys, now)).await?;
            counts.add(&removed);
            run.observer.committed(counts);
            from = next;
        }
        Ok(())
    }

    async fn missing(
        &self,
        run: &Arc<Run>,
        from: Vec<u8>,
    ) -> Result<(Vec<Missing>, Option<Vec<u8>>), RunError> {
        let (target, tally, scope) = (run.target, self.tally.clone(), self.scope.clone());
        Ok(run
            .store
            .read(move |db| {
                let sync_key = target.fence.sync_key;
                removals::missing(db, sync_key, target.pass, &tally, &scope, &from, PAGE)
            })
            .await?)
    }
}

/// What would be removed without anybody's word, counted before anything is.
#[derive(Default)]
struct Survey {
    /// Everything that is missing.
    rows: u64,
    objects: u64,
    entries: RoaringTreemap,
    sample: Vec<String>,
}

impl Survey {
    fn add(&mut self, entry: &Missing) {
        self.objects += u64::from(entry.has_object);
        self.entries.extend(u64::try_from(entry.entry_key));
        if self.sample.len() < SAMPLE {
            self.sample.push(entry.path.to_json_text());
        }
    }

    /// The removals that are to wait, if the guard says so.
    async fn held(self, run: &Run, proof: &Proof) -> Result<Option<Held>, RunError> {
        let sync_key = run.target.fence.sync_key;
        let of = run.store.read(move |db| syncs::object_count(db, sync_key)).await?;
        if !MaxDelete::holds(run.options.max_delete, self.objects, of) {
            return Ok(None);
        }
        let held_at =
            proof.held_before.as_ref().map_or_else(|| run.clock.now(), |held| held.held_at);
        let removals = HeldRemovals {
            count: self.objects,
            of,
            sample: self.sample,
            held_at,
            approved_at: None,
        };
        Ok(Some(Held { removals, entries: self.entries }))
    }
}
