//! The story of a run: take the lease, walk the source and commit what it lists, reconcile what is
//! gone, release the lease. How it begins is in `begin`, what is recorded at its end in `end`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Engine, Observer, RunError, collect,
    context::{Done, InFlight, PassKind, Run, TreeNotes, Walked},
    end::{Aftermath, PassOutcome, Passed},
    held,
    lease::Lease,
    observer::Retries,
    pipeline, reconcile,
    request::{Report, Request},
    shards, verify,
    walk::{self, Root},
};
use crate::{
    model::{JobId, RunStatus},
    sources::{SourceError, retry},
    store::{checkpoints, feeds, leases, syncs::HeldRemovals},
};

/// How often a run begins a full pass because the change feed cannot be continued.
const MOST_FULL_PASSES: usize = 3;

impl Engine {
    /// Runs the sync that `request` describes, creating it if necessary, until it is done, fails,
    /// or `stop` is cancelled, which ends it at the next checkpoint.
    pub async fn run(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Report {
        let watch = Arc::new(Retries(observer.clone()));
        retry::watched(watch, self.run_watched(request, observer, stop)).await
    }

    async fn run_watched(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Report {
        let begun = tokio::select! {
            begun = self.begin(request, observer) => begun,
            () = stop.cancelled() => Err(RunError::Stopped),
        };
        match begun {
            Ok((run, lease)) => self.carry_out(Arc::new(run), lease, stop).await,
            Err(error) => Report::never_begun(error),
        }
    }

    /// Runs a queued job, as [`Engine::run`] does. A job that cannot begin ends here: it is skipped
    /// where another run holds the lease, and fails otherwise.
    pub async fn run_job(
        &self,
        job: &JobId,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Report {
        let watch = Arc::new(Retries(observer.clone()));
        retry::watched(watch, self.run_job_watched(job, observer, stop)).await
    }

    async fn run_job_watched(
        &self,
        job: &JobId,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Report {
        let begun = tokio::select! {
            begun = self.begin_queued(job, observer) => begun,
            // It stays in the queue.
            () = stop.cancelled() => return Report::never_begun(RunError::Stopped),
        };
        match begun {
            Ok((run, lease)) => self.carry_out(Arc::new(run), lease, stop).await,
            Err(error) => {
                if let Err(also) = self.end_queued(job, &error).await {
                    tracing::error!(%job, error = %also, "could not record how the job ended");
                }
                Report { job: Some(job.clone()), ..Report::never_begun(error) }
            }
        }
    }

    async fn carry_out(&self, mut run: Arc<Run>, lease: Lease, stop: CancellationToken) -> Report {
        run.observer.started(&run.job, &run.sync.bucket, run.is_resumed);
        let stop = either(stop, lease.unwanted().clone());
        let mut done = Done::default();
        let mut outcome = passes(&mut run, &lease, &stop, &mut done).await;
        for _ in 0..MOST_FULL_PASSES {
            if !matches!(outcome, Err(RunError::Source(SourceError::FeedExpired { .. }))) {
                break;
            }
            tracing::info!(job = %run.job, "the change feed cannot be continued: a full pass instead");
            outcome = match start_over(&mut run).await {
                Ok(()) => {
                    done.begin_next_pass();
                    passes(&mut run, &lease, &stop, &mut done).await
                }
                Err(error) => Err(error),
            };
        }
        run.source.close().await;
        let remark = run.source.remark();
        let counts = done.counts;
        let ended = run.end(&outcome).await;
        drop(lease);
        let may_be_orphans = ended.as_ref().map_or(true, |after| after.has_orphans);
        if may_be_orphans && let Err(error) = collect::orphans(&self.store, &self.blobs).await {
            tracing::warn!(%error, "could not collect unused bytes; `catchment gc` tries again");
        }
        if outcome.is_ok()
            && let Err(error) = verify::repair_marked(self, run.target.fence.sync_key).await
        {
            tracing::warn!(%error, "could not repair what is damaged; the next run tries again");
        }
        let next = ended.as_ref().ok().and_then(|after| after.next_job.clone());
        let nothing_there = ended.as_ref().is_ok_and(|after| after.nothing_there);
        let (status, held, error) = verdict(outcome, ended);
        Report {
            status,
            job: Some(run.job.clone()),
            bucket: Some(run.sync.bucket.clone()),
            counts,
            held,
            next,
            nothing_there,
            remark,
            error,
        }
    }
}

/// Begins a full pass in place of a pass whose feed cannot be continued.
async fn start_over(run: &mut Arc<Run>) -> Result<(), RunError> {
    let fence = run.target.fence;
    let pass = run
        .store
        .write(move |tx| {
            leases::check(tx, fence)?;
            feeds::invalidate(tx, fence.sync_key)?;
            checkpoints::begin_pass(tx, fence.sync_key)
        })
        .await?;
    let root = run.source.root().await;
    let mut next = Run::clone(run);
    next.basis.root = root.as_ref().ok().and_then(|root| root.0.clone());
    next.root = root;
    next.target.pass = pass;
    next.kind = PassKind::Full;
    next.is_resumed = false;
    next.starts = shards::starts(next.source.shards(), None);
    next.tree = Arc::new(TreeNotes::default());
    next.in_flight = Arc::new(InFlight::default());
    *run = Arc::new(next);
    Ok(())
}

/// The rest of a pass that an earlier run began, if there is one; then a complete pass over the
/// source, or a slice of it, and the reconciliation that follows. Only what a run has listed from
/// beginning to end proves what is there and what is gone. Where the source has a change feed, its
/// replay takes the place of the second listing.
async fn passes(
    run: &mut Arc<Run>,
    lease: &Lease,
    stop: &CancellationToken,
    done: &mut Done,
) -> Result<Passed, RunError> {
    let root = match walk::look_at_root(run).await? {
        Root::Known(root) => root,
        Root::Replaced { was, is } => return replaced(run, &was, is).await,
    };
    let mut pass = pipeline::walk_and_commit(run, &root, lease, stop, done).await?;
    if run.needs_next_pass() && pass.walked == Walked::Whole {
        *run = Arc::new(run.in_next_pass(done.counts.discovered()).await?);
        done.begin_next_pass();
        pass = pipeline::walk_and_commit(run, &root, lease, stop, done).await?;
    }
    if pass.walked == Walked::Slice {
        return Ok(Passed { outcome: PassOutcome::Slice, unlisted: Vec::new() });
    }
    let unlisted = pass.sightings.unlisted.clone();
    let held = reconcile::remove_missing(run, pass, stop, &mut done.counts).await?;
    Ok(Passed { outcome: held.map_or(PassOutcome::Complete, PassOutcome::Held), unlisted })
}

/// Another root is in the place of the source: nothing is listed before somebody has decided.
async fn replaced(run: &Run, was: &str, is: String) -> Result<Passed, RunError> {
    if run.sync.refused_root.as_ref() == Some(&is) {
        return Err(walk::root_changed(run, was, &is));
    }
    let held = held::everything(run, is).await?;
    Ok(Passed { outcome: PassOutcome::Replaced(held), unlisted: Vec::new() })
}

/// The status of a run, the removals that it holds, and its error.
fn verdict(
    outcome: Result<Passed, RunError>,
    ended: Result<Aftermath, RunError>,
) -> (RunStatus, Option<HeldRemovals>, Option<RunError>) {
    match (outcome.map(|passed| passed.outcome), ended) {
        (Err(error), _) | (Ok(_), Err(error)) => (error.status(), None, Some(error)),
        (Ok(PassOutcome::Held(held) | PassOutcome::Replaced(held)), Ok(_)) => {
            (RunStatus::Held, Some(held.removals), None)
        }
        (Ok(_), Ok(Aftermath { dead_letters: 0, .. })) => (RunStatus::Completed, None, None),
        (Ok(_), Ok(_)) => (RunStatus::CompletedWithErrors, None, None),
    }
}

/// A token that is cancelled when either of two is.
fn either(one: CancellationToken, other: CancellationToken) -> CancellationToken {
    let both = one.child_token();
    let cancel = both.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = other.cancelled() => cancel.cancel(),
            () = cancel.cancelled() => {}
        }
    });
    both
}
