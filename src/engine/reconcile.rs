//! Removes what a complete pass did not find, unless that is more than the removal guard allows.
//!
//! Only called after a complete listing of the same root without errors, in the same pass.

use std::{collections::HashSet, sync::Arc};

use roaring::RoaringTreemap;
use tokio_util::sync::CancellationToken;

use super::{
    RunError,
    context::{Pass, PassKind, Run},
    held::{self, Held},
};
use crate::{
    model::{Counts, EntryId, MaxDelete, Phase},
    sources::{Absence, retry::RetryPolicy},
    store::{
        StoreError,
        checkpoints::Sightings,
        gone::{self, Gone},
        jobs, leases, left_out,
        reconcile::{self as removals, Missing, Scope},
        syncs::{self, HeldReason, HeldRemovals},
    },
};

/// Rows that one read or one transaction handles.
const PAGE: usize = 1000;

/// What a full pass would remove, to be looked up first.
pub(super) struct ToLookUp {
    /// How many ids the source is asked for at once.
    pub(super) at_once: usize,
    proof: Proof,
    /// The guard holds the removals that nobody has approved.
    only_approved: bool,
    from: Option<Vec<u8>>,
}

impl ToLookUp {
    /// That of a pass whose listing is complete; `None` where there is nothing to look up. Where
    /// the guard holds the removals, nobody is asked about them.
    pub(super) async fn of(run: &Arc<Run>, pass: Pass) -> Result<Option<Self>, RunError> {
        let Absence::LookUp { at_once } = run.profile.absence else { return Ok(None) };
        if run.kind == PassKind::Changes || !run.had_entries {
            return Ok(None);
        }
        let mut proof = Proof::of(run, pass).await?;
        proof.find_drift(run).await?;
        if proof.scope.is_empty() {
            return Ok(None);
        }
        let survey = proof.survey(run, false).await?;
        // A listing that has skipped everything is no source that is empty.
        let only_approved = !survey.source_is_empty && survey.held(run, &proof).await?.is_some();
        if only_approved && proof.approved.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { at_once: at_once.max(1), proof, only_approved, from: Some(Vec::new()) }))
    }

    /// The next ones; `None` when there are no more.
    pub(super) async fn next(&mut self, run: &Arc<Run>) -> Result<Option<Vec<Missing>>, RunError> {
        while let Some(from) = self.from.take() {
            let (mut missing, next) = self.proof.missing(run, from).await?;
            self.from = next;
            missing.retain(|entry| {
                !self.proof.is_drifted(entry)
                    && (!self.only_approved || self.proof.is_approved(entry))
            });
            if missing.is_empty() {
                continue;
            }
            // What was recorded of them before counts no more: removals that are held are recorded
            // without asking.
            let target = run.target;
            let keys: Vec<i64> = missing.iter().map(|entry| entry.entry_key).collect();
            run.store.write(move |tx| gone::forget(tx, &target, &keys)).await?;
            return Ok(Some(missing));
        }
        Ok(None)
    }
}

/// Removes what the pass proved gone, and returns the removals that the guard holds instead.
pub(super) async fn remove_missing(
    run: &Arc<Run>,
    pass: Pass,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> Result<Option<Held>, RunError> {
    let mut proof = Proof::of(run, pass).await?;
    proof.find_drift(run).await?;
    // Entries that this very run has added are not missing, and a feed that reports no removal
    // removes nothing.
    let removes_nothing = run.kind == PassKind::Changes && proof.gone.is_empty();
    if proof.scope.is_empty() || !run.had_entries || removes_nothing {
        return Ok(None);
    }
    let survey = proof.survey(run, true).await?;
    if survey.rows == 0 {
        return Ok(None);
    }
    if survey.source_is_empty && survey.objects == 0 && survey.entries.len() == survey.rows {
        // Nothing that anybody would miss, but an empty source proves nothing.
        return Ok(None);
    }
    run.observer.entered(Phase::Reconciling);
    let held = survey.held(run, &proof).await?;
    if let Some(held) = held.as_ref().filter(|_| run.profile.has_feed) {
        // The changes passes that follow do not list anything: this proof is theirs, too.
        proof.record(run, &held.entries).await?;
    }
    proof.remove(run, held.is_some(), stop, counts).await?;
    Ok(held)
}

/// What a pass proves, and which removals were approved before.
struct Proof {
    sightings: Arc<Sightings>,
    /// What the change feed has reported.
    gone: Arc<Gone>,
    scope: Scope,
    /// The source lists nothing, which is not accepted without a decision.
    source_is_empty: bool,
    /// Entries whose removal was held and has been approved.
    approved: Arc<RoaringTreemap>,
    /// What an earlier pass held, if nobody has decided yet.
    held_before: Option<HeldRemovals>,
    /// Keys of entries that were looked up and are gone.
    absent: RoaringTreemap,
}

impl Proof {
    /// Records what the pass proves about entries that were released or left out before.
    async fn of(run: &Arc<Run>, pass: Pass) -> Result<Self, RunError> {
        let Pass { sightings, left_out: listed, listed_something, absent, .. } = pass;
        let sightings = Arc::new(sightings);
        let (target, found, now) = (run.target, sightings.clone(), run.clock.now());
        let knows_all_listed = run.kind == PassKind::Full && !run.is_resumed;
        let (held, entries, gone) = run
            .store
            .write(move |tx| {
                removals::reclaim(tx, &target, &found)?;
                jobs::enter(tx, target.job_key, Phase::Verifying, now)?;
                if knows_all_listed {
                    left_out::delete_others(tx, &target, &listed)?;
                }
                let sync_key = target.fence.sync_key;
                let held = syncs::held_removals(tx, sync_key)?;
                let gone = gone::load(tx, sync_key)?;
                Ok::<_, StoreError>((held, syncs::held_entries(tx, sync_key)?, gone))
            })
            .await?;
        let is_approved = held.as_ref().is_some_and(|held| {
            let of_root = held.reason != HeldReason::ManyRemoved;
            held.approved_at.is_some() || (of_root && run.options.adopt_root)
        });
        Ok(Self {
            source_is_empty: !listed_something
                && sightings.unlisted.is_empty()
                && !run.options.adopt_root,
            sightings,
            gone: Arc::new(gone),
            scope: run.removal_scope(),
            approved: Arc::new(if is_approved { entries } else { RoaringTreemap::new() }),
            held_before: held.filter(|_| !is_approved),
            absent,
        })
    }

    fn is_approved(&self, entry: &Missing) -> bool {
        u64::try_from(entry.entry_key).is_ok_and(|key| self.approved.contains(key))
    }

    /// Finds out which of the entries that a listing lacks are there and no longer pass filters
    /// that only the source knows.
    async fn find_drift(&mut self, run: &Arc<Run>) -> Result<(), RunError> {
        let Some(at_once) = run.profile.absence.at_once() else { return Ok(()) };
        if !run.profile.filters_itself || run.kind != PassKind::Full {
            return Ok(());
        }
        let listed = self.scope.listed.clone();
        let everything = Scope { absent: true, drifted: true, listed };
        let scope = std::mem::replace(&mut self.scope, everything);
        let (mut drifted, mut from) = (Vec::new(), Some(Vec::new()));
        while let Some(id) = from {
            let (mut missing, next) = self.missing(run, id).await?;
            missing.retain(|entry| !self.is_proved(entry));
            for asked in missing.chunks(at_once) {
                let ids: Vec<EntryId> = asked.iter().map(|entry| entry.id.clone()).collect();
                let found = RetryPolicy::LISTING.run(|| run.source.drifted(&ids)).await?;
                let found: HashSet<EntryId> = found.into_iter().collect();
                let keys = asked.iter().filter(|entry| found.contains(&entry.id));
                drifted.extend(keys.filter_map(|entry| u64::try_from(entry.entry_key).ok()));
            }
            from = next;
        }
        self.scope = scope;
        if drifted.is_empty() {
            return Ok(());
        }
        let target = run.target;
        let gone = run
            .store
            .write(move |tx| {
                leases::check(tx, target.fence)?;
                gone::record(tx, target.fence.sync_key, &drifted, true)?;
                gone::load(tx, target.fence.sync_key)
            })
            .await?;
        self.gone = Arc::new(gone);
        Ok(())
    }

    /// Whether an entry is known to be gone, or not to pass the filters, without asking for it.
    fn is_proved(&self, entry: &Missing) -> bool {
        u64::try_from(entry.entry_key).is_ok_and(|key| {
            self.absent.contains(key)
                || self.gone.contains(key)
                || self.sightings.drifted.contains(key)
        })
    }

    /// Whether an entry is known to be there and not to pass the filters.
    fn is_drifted(&self, entry: &Missing) -> bool {
        u64::try_from(entry.entry_key).is_ok_and(|key| {
            self.gone.drifted.contains(key) || self.sightings.drifted.contains(key)
        })
    }

    /// Keeps the proof that these entries are gone.
    async fn record(&self, run: &Run, held: &RoaringTreemap) -> Result<(), RunError> {
        let drifted = |key: &u64| {
            !self.gone.absent.contains(*key)
                && (self.sightings.drifted.contains(*key) || self.gone.drifted.contains(*key))
        };
        let (drifted, absent): (Vec<u64>, Vec<u64>) = held.iter().partition(drifted);
        let target = run.target;
        run.store
            .write(move |tx| {
                leases::check(tx, target.fence)?;
                gone::record(tx, target.fence.sync_key, &absent, false)?;
                gone::record(tx, target.fence.sync_key, &drifted, true)
            })
            .await?;
        Ok(())
    }

    /// Counts what is missing. `confirms`: of a source that lists nothing any more only what is
    /// gone, however much that is.
    async fn survey(&self, run: &Arc<Run>, confirms: bool) -> Result<Survey, RunError> {
        let mut survey = Survey { source_is_empty: self.source_is_empty, ..Survey::default() };
        let mut from = Some(Vec::new());
        while let Some(id) = from {
            let (mut missing, next) = self.missing(run, id).await?;
            if confirms && self.source_is_empty && run.profile.absence != Absence::Listing {
                // A listing that has skipped everything is no source that is empty.
                let gone: HashSet<i64> =
                    self.confirm_gone(run, missing.clone()).await?.into_iter().collect();
                survey.source_is_empty &= gone.len() == missing.len();
                missing.retain(|entry| gone.contains(&entry.entry_key));
            }
            survey.rows += missing.len() as u64;
            for entry in missing.iter().filter(|entry| !self.is_approved(entry)) {
                survey.add(entry);
            }
            from = next;
        }
        Ok(survey)
    }

    /// Removes what is missing: all of it, or only what was approved.
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
            let is_removed = |entry: &&Missing| !only_approved || self.is_approved(entry);
            let removed: Vec<Missing> =
                missing.into_iter().filter(|entry| is_removed(&entry)).collect();
            let keys = self.confirm_gone(run, removed).await?;
            let (target, now) = (run.target, run.clock.now());
            let removed = run
                .store
                .write(move |tx| {
                    let removed = removals::remove(tx, &target, &keys, now)?;
                    jobs::enter(tx, target.job_key, Phase::Reconciling, now)?;
                    Ok::<_, StoreError>(removed)
                })
                .await?;
            counts.add(&removed);
            run.observer.committed(counts);
            from = next;
        }
        Ok(())
    }

    /// The keys of those entries that are gone: where listings may skip entries, the source is
    /// asked for each that its feed has not reported, or was asked where each is.
    async fn confirm_gone(&self, run: &Run, missing: Vec<Missing>) -> Result<Vec<i64>, RunError> {
        let (proved, doubtful): (Vec<Missing>, Vec<Missing>) =
            missing.into_iter().partition(|entry| self.is_proved(entry));
        let mut keys: Vec<i64> = proved.iter().map(|entry| entry.entry_key).collect();
        let at_once = match run.profile.absence {
            Absence::Listing => {
                keys.extend(doubtful.iter().map(|entry| entry.entry_key));
                return Ok(keys);
            }
            Absence::LookUp { .. } => {
                if !doubtful.is_empty() {
                    tracing::warn!(
                        count = doubtful.len(),
                        "entries that the listing lacks exist, and nobody can say where; they are \
                         kept"
                    );
                }
                return Ok(keys);
            }
            Absence::Ask { at_once } => at_once,
        };
        for asked in doubtful.chunks(at_once.max(1)) {
            let ids: Vec<EntryId> = asked.iter().map(|entry| entry.id.clone()).collect();
            let existing: HashSet<EntryId> =
                RetryPolicy::LISTING.run(|| run.source.existing(&ids)).await?.into_iter().collect();
            if !existing.is_empty() {
                tracing::warn!(
                    count = existing.len(),
                    "the listing has skipped entries that exist; they are kept"
                );
            }
            let is_gone = |entry: &&Missing| !existing.contains(&entry.id);
            keys.extend(asked.iter().filter(is_gone).map(|entry| entry.entry_key));
        }
        Ok(keys)
    }

    async fn missing(
        &self,
        run: &Arc<Run>,
        from: Vec<u8>,
    ) -> Result<(Vec<Missing>, Option<Vec<u8>>), RunError> {
        let (target, sightings, scope) = (run.target, self.sightings.clone(), self.scope.clone());
        let (gone, only_gone) = (self.gone.clone(), run.kind == PassKind::Changes);
        Ok(run
            .store
            .read(move |db| {
                let sync_key = target.fence.sync_key;
                let proof = removals::Proof { sightings: &sightings, gone: &gone, only_gone };
                removals::missing(db, sync_key, target.pass, proof, &scope, &from, PAGE)
            })
            .await?)
    }
}

/// What would be removed without asking anybody, counted before anything is.
#[derive(Default)]
struct Survey {
    /// The source has nothing, as far as anybody can tell.
    source_is_empty: bool,
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
        if self.sample.len() < held::SAMPLE {
            self.sample.push(entry.path.to_json_text());
        }
    }

    /// The removals that the guard holds, if it does.
    async fn held(self, run: &Run, proof: &Proof) -> Result<Option<Held>, RunError> {
        let sync_key = run.target.fence.sync_key;
        if self.objects == 0 {
            return Ok(None);
        }
        let of = run.store.read(move |db| syncs::object_count(db, sync_key)).await?;
        let before = proof.held_before.as_ref();
        let needs_decision = match before {
            _ if self.source_is_empty => true,
            // A decision that was asked for is waited for, whatever is gone now.
            Some(before) => !self.is_approved_now(run, before, of),
            None => MaxDelete::holds(run.options.max_delete, self.objects, of),
        };
        if !needs_decision {
            return Ok(None);
        }
        let reason = match self.source_is_empty {
            true => HeldReason::SourceEmptied,
            // A changes pass lists nothing: the reason of what was held before it is still that.
            false => before
                .filter(|_| run.kind == PassKind::Changes)
                .map_or(HeldReason::ManyRemoved, |before| before.reason),
        };
        let removals = HeldRemovals {
            reason,
            count: self.objects,
            of,
            sample: self.sample,
            held_at: before.map_or_else(|| run.clock.now(), |held| held.held_at),
            approved_at: None,
            limit: held::limit(run),
            root: None,
        };
        Ok(Some(Held { removals, entries: self.entries }))
    }

    /// Whether the person who made this run gave a limit with it that allows the removals. The very
    /// limit under which they were held is none: a command that is repeated decides nothing.
    fn is_approved_now(&self, run: &Run, before: &HeldRemovals, of: u64) -> bool {
        let is_asked_again = before.limit == held::limit(run);
        run.options.approves.is_some_and(|limit| {
            !is_asked_again && !MaxDelete::holds(Some(limit), self.objects, of)
        })
    }
}
