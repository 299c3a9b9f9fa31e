//! What a complete pass did not find is removed, unless that is more than the guard lets through.
//!
//! Only called after a complete, error-free listing of the same root in the same pass.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{RunError, run::Run};
use crate::{
    model::{Counts, MaxDelete, Phase},
    store::{
        checkpoints::Tally,
        reconcile::{self as removals, Missing, Scope},
        syncs::{self, HeldRemovals},
    },
};

/// How a pass is settled.
#[derive(Debug)]
pub enum Settled {
    /// The bucket equals the source.
    Done,
    /// Removals wait for somebody's word.
    Held(HeldRemovals),
}

/// Rows that are read, or removed in one transaction.
const PAGE: usize = 1000;

/// Paths that a person is shown of held removals.
const SAMPLE: usize = 20;

/// Removes what the pass proved gone.
pub(super) async fn settle(
    run: &Arc<Run>,
    tally: Tally,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> Result<Settled, RunError> {
    let reconcile = &run.sync.options.reconcile;
    let scope = Scope { absent: reconcile.on_delete, drifted: reconcile.on_filter_drift };
    if !scope.absent && !scope.drifted {
        return Ok(Settled::Done);
    }
    let tally = Arc::new(tally);
    let survey = survey(run, &tally, scope).await?;
    if survey.rows == 0 {
        return Ok(Settled::Done);
    }
    run.observer.entered(Phase::Reconciling);
    if let Some(held) = survey.held(run).await? {
        return Ok(Settled::Held(held));
    }
    remove(run, &tally, scope, stop, counts).await?;
    Ok(Settled::Done)
}

/// What would be removed, counted before anything is.
#[derive(Default)]
struct Survey {
    rows: u64,
    objects: u64,
    sample: Vec<String>,
}

async fn survey(run: &Arc<Run>, tally: &Arc<Tally>, scope: Scope) -> Result<Survey, RunError> {
    let mut survey = Survey::default();
    let mut after = Some(0);
    while let Some(key) = after {
        let (missing, next) = missing(run, tally, scope, key).await?;
        survey.rows += missing.len() as u64;
        survey.objects += missing.iter().filter(|entry| entry.has_object).count() as u64;
        let room = SAMPLE - survey.sample.len();
        survey.sample.extend(missing.iter().take(room).map(|entry| entry.path.to_json_text()));
        after = next;
    }
    Ok(survey)
}

impl Survey {
    /// The removals that are to wait, if the guard says so.
    async fn held(&self, run: &Run) -> Result<Option<HeldRemovals>, RunError> {
        let sync_key = run.target.fence.sync_key;
        let of = run.store.read(move |db| syncs::object_count(db, sync_key)).await?;
        let held = MaxDelete::holds(run.options.max_delete, self.objects, of);
        Ok(held.then(|| HeldRemovals {
            count: self.objects,
            of,
            sample: self.sample.clone(),
            held_at: run.clock.now(),
        }))
    }
}

async fn remove(
    run: &Arc<Run>,
    tally: &Arc<Tally>,
    scope: Scope,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> Result<(), RunError> {
    let mut after = Some(0);
    while let Some(key) = after {
        if stop.is_cancelled() {
            return Err(RunError::Stopped);
        }
        let (missing, next) = missing(run, tally, scope, key).await?;
        let keys: Vec<i64> = missing.iter().map(|entry| entry.entry_key).collect();
        let (target, now) = (run.target, run.clock.now());
        let removed = run.store.write(move |tx| removals::remove(tx, &target, &keys, now)).await?;
        counts.add(&removed);
        run.observer.committed(counts);
        after = next;
    }
    Ok(())
}

async fn missing(
    run: &Arc<Run>,
    tally: &Arc<Tally>,
    scope: Scope,
    after: i64,
) -> Result<(Vec<Missing>, Option<i64>), RunError> {
    let (target, tally) = (run.target, tally.clone());
    Ok(run
        .store
        .read(move |db| {
            let sync_key = target.fence.sync_key;
            removals::missing(db, sync_key, target.pass, &tally, scope, after, PAGE)
        })
        .await?)
}
