//! The story of a run: take the lease, go through the source, settle what is gone, give the lease
//! back. How it begins is in `begin`, what is written down when it ends in `end`.

use std::sync::Arc;

use roaring::RoaringTreemap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Engine, Observer, RunError, collect, commit,
    end::Left,
    lease::Lease,
    plan,
    reconcile::{self, Settled},
    rules::Rules,
    shards::Start,
    walk,
};
use crate::{
    blobs::Blobs,
    clock::SharedClock,
    model::{Counts, EntryPath, JobId, Location, MaxDelete, RunStatus, SyncOptions},
    sources::{RootIdentity, Source, SourceError, web::Web},
    store::{
        Store,
        checkpoints::{Basis, Tally},
        commit::Target,
        reconcile::Scope,
        syncs::{BucketChoice, HeldRemovals, Sync},
    },
};

/// A run that somebody asks for: the standing order and how to carry it out this time.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to read.
    pub location: Location,
    /// Where to put it.
    pub bucket: BucketChoice,
    /// The sync's settings, kept for later runs.
    pub options: SyncOptions,
    /// This run's own settings.
    pub run: RunOptions,
}

/// Settings of one run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// How many objects it may remove; `None`: the guard's default.
    pub max_delete: Option<MaxDelete>,
    /// How many fetches at once; `None`: what suits the source.
    pub concurrency: Option<usize>,
    /// Start over and fetch every entry again, whatever its version says.
    pub full: bool,
    /// Take the root as it is now for the source, even if it is another one or empty.
    pub adopt_root: bool,
    /// Listed entries after which the run ends, checkpointed, and the next one is queued; `None`:
    /// it goes on to the end, as a run of the command line does. A source that cannot be listed
    /// from the middle is never cut.
    pub slice: Option<u64>,
    /// Go on with a pass even where `full` would begin one: it is the next slice of it.
    pub goes_on: bool,
}

/// How a run came out.
#[derive(Debug)]
pub struct Report {
    /// In a word.
    pub status: RunStatus,
    /// The job, if it came to one.
    pub job: Option<JobId>,
    /// The bucket, if it came to one.
    pub bucket: Option<String>,
    /// What it did.
    pub counts: Counts,
    /// Removals that it held back.
    pub held: Option<HeldRemovals>,
    /// The job that waits to go on with the pass, where this run ended at the end of its slice.
    pub next: Option<JobId>,
    /// Why it stopped before its end.
    pub error: Option<RunError>,
}

/// A run under way: what all its stages share.
pub struct Run {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: SharedClock,
    pub(super) source: Arc<dyn Source>,
    pub(super) rules: Rules,
    pub(super) web: Web,
    pub(super) sync: Sync,
    pub(super) target: Target,
    pub(super) job: JobId,
    pub(super) options: RunOptions,
    pub(super) observer: Arc<dyn Observer>,
    /// Requests to the source at once: entries and parts of entries alike.
    pub(super) requests: Semaphore,
    pub(super) concurrency: usize,
    /// Blocks of large blobs that go to the disk at once.
    pub(super) writes: Arc<Semaphore>,
    /// The root as it was when the run set out.
    pub(super) root: Result<RootIdentity, SourceError>,
    /// Whether it goes on with a pass that others have begun.
    pub(super) goes_on: bool,
    /// Whether the sync had an entry when the run set out.
    pub(super) had_entries: bool,
    /// Where it begins in each shard.
    pub(super) starts: Vec<Start>,
    /// What its checkpoints hold good for.
    pub(super) basis: Basis,
}

impl Engine {
    /// Runs the sync that `request` describes, making it if need be, until it is done, fails, or
    /// `stop` is cancelled, which ends it at the next checkpoint.
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

    /// Runs a job that waits in the queue, as [`Engine::run`] does. One that cannot begin ends
    /// there: skipped where another run holds the lease, failed otherwise.
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
                    tracing::error!(%job, error = %also, "could not write down how the job ended");
                }
                Report { job: Some(job.clone()), ..Report::never_begun(error) }
            }
        }
    }

    async fn carry_out(&self, run: Arc<Run>, lease: Lease, stop: CancellationToken) -> Report {
        run.observer.started(&run.job, &run.sync.bucket, run.goes_on);
        let stop = either(stop, lease.unwanted().clone());
        let mut counts = Counts::default();
        let outcome = run.pass(&lease, &stop, &mut counts).await;
        let left = run.end(&outcome).await;
        drop(lease);
        let may_be_orphans = left.as_ref().map_or(true, |left| left.has_orphans);
        if may_be_orphans && let Err(error) = collect::orphans(&self.store, &self.blobs).await {
            tracing::warn!(%error, "could not collect unused bytes; `catchment gc` tries again");
        }
        let next = left.as_ref().ok().and_then(|left| left.next.clone());
        let settled = outcome.map(|passed| passed.settled);
        let (status, held, error) = match (settled, left) {
            (Err(error), _) => (error.status(), None, Some(error)),
            (Ok(_), Err(error)) => (error.status(), None, Some(error)),
            (Ok(Settled::Held(held)), Ok(_)) => (RunStatus::Held, Some(held.removals), None),
            (Ok(Settled::Done | Settled::Slice), Ok(Left { dead_letters: 0, .. })) => {
                (RunStatus::Completed, None, None)
            }
            (Ok(Settled::Done | Settled::Slice), Ok(_)) => {
                (RunStatus::CompletedWithErrors, None, None)
            }
        };
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

/// Cancelled when either of two is.
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

impl Report {
    /// Of a run that did not come to a job, or a job that did not come to a run.
    fn never_begun(error: RunError) -> Self {
        Self {
            status: error.status(),
            job: None,
            bucket: None,
            counts: Counts::default(),
            held: None,
            next: None,
            error: Some(error),
        }
    }
}

impl Run {
    /// One complete pass over the source, and what follows from it.
    async fn pass(
        self: &Arc<Self>,
        lease: &Lease,
        stop: &CancellationToken,
        counts: &mut Counts,
    ) -> Result<Passed, RunError> {
        let root = walk::check_root(self).await?;
        let pass = commit::go_through(self, lease, stop, counts, &root).await?;
        match pass.walked {
            Walked::Whole => {
                let unlisted = pass.tally.unlisted.clone();
                let settled = reconcile::settle(self, pass, stop, counts).await?;
                Ok(Passed { settled, unlisted })
            }
            Walked::Slice => Ok(Passed { settled: Settled::Slice, unlisted: Vec::new() }),
        }
    }

    /// Which of the entries that a pass does not find it removes.
    pub(super) fn scope(&self) -> Scope {
        reconcile::scope(&self.sync.location, &self.sync.options)
    }

    /// See [`plan::follows_renames`]. Where there was nothing, nothing can have been renamed: a
    /// first run looks no identities up, each of which would be somewhere else in the index.
    pub(super) fn follows_renames(&self) -> bool {
        self.had_entries && plan::follows_renames(&self.sync.options, self.options.full)
    }
}

/// How a pass, or a slice of it, came out.
#[derive(Debug)]
pub(super) struct Passed {
    /// What became of what it did not find.
    pub(super) settled: Settled,
    /// Prefixes that it could not list: of what is beneath them it knows nothing.
    pub(super) unlisted: Vec<EntryPath>,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// To the end of the source.
    Whole,
    /// To the end of the run's slice.
    Slice,
}

/// What a walk has learnt.
#[derive(Debug)]
pub struct Pass {
    /// What it knows of entries whose rows it did not write.
    pub tally: Tally,
    /// How far it came, in this run and those that it went on from.
    pub walked: Walked,
    /// Keys of what is remembered of left out entries that this run came across.
    pub left_out: RoaringTreemap,
}
