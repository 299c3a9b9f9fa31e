//! The story of a run: take the lease, go through the source, settle what is gone, give the lease
//! back.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Engine, Observer, RunError, collect, commit,
    filter::Filter,
    lease::{self, Lease},
    reconcile::{self, Settled},
    walk,
};
use crate::{
    blobs::Blobs,
    clock::SharedClock,
    model::{Counts, JobId, JobStatus, Location, MaxDelete, Phase, RunStatus, SyncOptions},
    sources::Source,
    store::{
        Store,
        checkpoints::{self, Checkpoint, Tally},
        commit::Target,
        dead_letters, jobs, leases,
        syncs::{self, BucketChoice, HeldRemovals, Sync},
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
    /// Why it stopped before its end.
    pub error: Option<RunError>,
}

/// A run under way: what all its stages share.
pub struct Run {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: SharedClock,
    pub(super) source: Arc<dyn Source>,
    pub(super) filter: Filter,
    pub(super) sync: Sync,
    pub(super) target: Target,
    pub(super) job: JobId,
    pub(super) options: RunOptions,
    pub(super) observer: Arc<dyn Observer>,
    /// Requests to the source at once: entries and parts of entries alike.
    pub(super) requests: Semaphore,
    pub(super) concurrency: usize,
    /// Where the pass goes on, if it does.
    pub(super) resume: Option<Checkpoint>,
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
            Err(error) => Report {
                status: error.status(),
                job: None,
                bucket: None,
                counts: Counts::default(),
                held: None,
                error: Some(error),
            },
        }
    }

    async fn carry_out(&self, run: Arc<Run>, lease: Lease, stop: CancellationToken) -> Report {
        run.observer.started(&run.job, &run.sync.bucket, run.resume.is_some());
        let mut counts = Counts::default();
        let outcome = run.pass(&lease, &stop, &mut counts).await;
        let left = run.end(&outcome).await;
        drop(lease);
        if let Err(error) = collect::orphans(&self.store, &self.blobs).await {
            tracing::warn!(%error, "could not collect unused bytes; `catchment gc` tries again");
        }
        let (status, held, error) = match (outcome, left) {
            (Err(error), _) => (error.status(), None, Some(error)),
            (Ok(_), Err(error)) => (error.status(), None, Some(error)),
            (Ok(Settled::Held(held)), Ok(_)) => (RunStatus::Held, Some(held), None),
            (Ok(Settled::Done), Ok(0)) => (RunStatus::Completed, None, None),
            (Ok(Settled::Done), Ok(_)) => (RunStatus::CompletedWithErrors, None, None),
        };
        Report {
            status,
            job: Some(run.job.clone()),
            bucket: Some(run.sync.bucket.clone()),
            counts,
            held,
            error,
        }
    }

    /// Takes the lease and begins the job. A sync that is new is made only once its source has
    /// answered, so that a slip of the finger leaves nothing behind.
    async fn begin(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        let filter = Filter::compile(&request.options.filters)?;
        let source = self.connect(&request.location, &request.options).await?;
        let wanted = request.clone();
        let known =
            self.store.read(move |db| syncs::find(db, &wanted.location, &wanted.bucket)).await?;
        if known.is_none() {
            source.probe().await?;
        }

        let (job, wanted) = (JobId::generate(), request.clone());
        let claimant = lease::claim(&self.worker.worker, &self.clock);
        let (worker, now, id) = (self.worker.clone(), self.clock.now(), job.clone());
        let (sync, target, resume) = self
            .store
            .write(move |tx| {
                let before = syncs::find(tx, &wanted.location, &wanted.bucket)?;
                let sync =
                    syncs::ensure(tx, &wanted.location, &wanted.bucket, &wanted.options, now)?;
                let fence = lease::take(tx, sync.key, &claimant, &worker.worker)?;
                let job_key = jobs::begin(tx, sync.key, &id, now)?;
                // What lies behind a checkpoint was judged by the settings of then.
                let same = before.is_some_and(|before| before.options == wanted.options);
                let resume = match same && !wanted.run.full && !wanted.run.adopt_root {
                    true => checkpoints::load(tx, sync.key)?,
                    false => None,
                };
                let pass = match &resume {
                    Some(checkpoint) => checkpoint.pass,
                    None => checkpoints::begin_pass(tx, sync.key)?,
                };
                let target = Target {
                    fence,
                    bucket_key: sync.bucket_key,
                    job_key,
                    pass,
                    skip_duplicates: sync.options.skip_duplicates,
                };
                Ok((sync, target, resume))
            })
            .await?;
        let lease = Lease::keep(target.fence, self.store.clone(), self.clock.clone());
        let concurrency = request.run.concurrency.unwrap_or_else(|| source.default_concurrency());
        let run = Run {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
            source,
            filter,
            sync,
            target,
            job,
            options: request.run.clone(),
            observer,
            requests: Semaphore::new(concurrency),
            concurrency,
            resume,
        };
        Ok((run, lease))
    }
}

impl Run {
    /// One complete pass over the source, and what follows from it.
    async fn pass(
        self: &Arc<Self>,
        lease: &Lease,
        stop: &CancellationToken,
        counts: &mut Counts,
    ) -> Result<Settled, RunError> {
        let root = walk::check_root(self).await?;
        let pass = commit::go_through(self, lease, stop, counts, &root).await?;
        walk::check_pass(self, &root, &pass).await?;
        reconcile::settle(self, pass.tally, stop, counts).await
    }

    /// Writes down how the run ended, and gives the lease back in the same transaction. Answers how
    /// many entries could not be taken in this pass, by this run or those that it went on from.
    async fn end(&self, outcome: &Result<Settled, RunError>) -> Result<u64, RunError> {
        let (target, now, sync_id) = (self.target, self.clock.now(), self.sync.id.clone());
        let sync_key = target.fence.sync_key;
        let (status, error) = match outcome {
            Ok(_) => (JobStatus::Completed, None),
            Err(error) if error.status() == RunStatus::Interrupted => {
                (JobStatus::Interrupted, Some(error.to_string()))
            }
            Err(error) => (JobStatus::Failed, Some(error.to_string())),
        };
        let held = match outcome {
            Ok(Settled::Held(held)) => Some(held.clone()),
            _ => None,
        };
        let left = self
            .store
            .write(move |tx| {
                leases::check(tx, target.fence)?;
                if status == JobStatus::Completed {
                    checkpoints::forget(tx, sync_key)?;
                    syncs::pass_completed(tx, sync_key, now)?;
                    syncs::hold_removals(tx, sync_key, held.as_ref())?;
                    dead_letters::resolve_others(tx, sync_key, target.pass, now)?;
                }
                if held.is_some() {
                    jobs::enter(tx, target.job_key, Phase::Held)?;
                }
                if status == JobStatus::Failed {
                    syncs::run_failed(tx, sync_key, error.as_deref().unwrap_or_default())?;
                }
                jobs::end(tx, target.job_key, status, error.as_deref(), now)?;
                leases::release(tx, target.fence)?;
                dead_letters::open_count(tx, sync_key)
            })
            .await?;
        if status == JobStatus::Completed && left == 0 {
            let blobs = self.blobs.clone();
            let cleared = tokio::task::spawn_blocking(move || blobs.clear_partials(&sync_id)).await;
            if let Ok(Err(error)) = cleared {
                tracing::warn!(%error, "could not clear parts of earlier downloads");
            }
        }
        Ok(left)
    }
}

/// What a pass has learnt by its end.
#[derive(Debug)]
pub struct Pass {
    /// What it knows of entries whose rows it did not write.
    pub tally: Tally,
    /// Whether the source listed anything at all, in this run or those that it went on from.
    pub listed_something: bool,
}
