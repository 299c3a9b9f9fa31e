//! The story of a run: take the lease, walk the source and commit what it lists, reconcile what is
//! gone, release the lease. How it begins is in `begin`, what is recorded at its end in `end`.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Engine, Observer, RunError, collect,
    context::{Run, Walked},
    end::{Aftermath, PassOutcome, Passed},
    lease::Lease,
    pipeline, reconcile,
    request::{Report, Request},
};
use crate::{
    model::{Counts, JobId, RunStatus},
    store::syncs::HeldRemovals,
};

impl Engine {
    /// Runs the sync that `request` describes, creating it if necessary, until it is done, fails,
    /// or `stop` is cancelled, which ends it at the next checkpoint.
    pub async fn run(
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

    async fn carry_out(&self, run: Arc<Run>, lease: Lease, stop: CancellationToken) -> Report {
        run.observer.started(&run.job, &run.sync.bucket, run.is_resumed);
        let stop = either(stop, lease.unwanted().clone());
        let mut counts = Counts::default();
        let outcome = pass(&run, &lease, &stop, &mut counts).await;
        let ended = run.end(&outcome).await;
        drop(lease);
        let may_be_orphans = ended.as_ref().map_or(true, |after| after.has_orphans);
        if may_be_orphans && let Err(error) = collect::orphans(&self.store, &self.blobs).await {
            tracing::warn!(%error, "could not collect unused bytes; `catchment gc` tries again");
        }
        let next = ended.as_ref().ok().and_then(|after| after.next_job.clone());
        let (status, held, error) = verdict(outcome, ended);
        Report {
            status,
            job: Some(run.job.clone()),
            bucket: Some(run.sync.bucket.clone()),
            counts,
            held,
            next,
            error,
        }
    }
}

/// One complete pass over the source, or a slice of it, and the reconciliation that follows.
async fn pass(
    run: &Arc<Run>,
    lease: &Lease,
    stop: &CancellationToken,
    counts: &mut Counts,
) -> Result<Passed, RunError> {
    let pass = pipeline::walk_and_commit(run, lease, stop, counts).await?;
    if pass.walked == Walked::Slice {
        return Ok(Passed { outcome: PassOutcome::Slice, unlisted: Vec::new() });
    }
    let unlisted = pass.sightings.unlisted.clone();
    let held = reconcile::remove_missing(run, pass, stop, counts).await?;
    Ok(Passed { outcome: held.map_or(PassOutcome::Complete, PassOutcome::Held), unlisted })
}

/// The status of a run, the removals that it holds, and its error.
fn verdict(
    outcome: Result<Passed, RunError>,
    ended: Result<Aftermath, RunError>,
) -> (RunStatus, Option<HeldRemovals>, Option<RunError>) {
    match (outcome.map(|passed| passed.outcome), ended) {
        (Err(error), _) | (Ok(_), Err(error)) => (error.status(), None, Some(error)),
        (Ok(PassOutcome::Held(held)), Ok(_)) => (RunStatus::Held, Some(held.removals), None),
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
