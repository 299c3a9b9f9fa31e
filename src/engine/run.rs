//! The story of a run: take the lease, go through the source, settle what is gone, give the lease
//! back.

use std::sync::Arc;

use jiff::Timestamp;
use roaring::RoaringTreemap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Engine, Observer, RunError, SignedOn, collect, commit,
    lease::{self, Lease},
    reconcile::{self, Settled},
    rules::Rules,
    standing::{self, Ending},
    walk,
};
use crate::{
    blobs::Blobs,
    clock::SharedClock,
    model::{
        Cause, Counts, JobId, JobStatus, Location, MaxDelete, Phase, RunStatus, SyncOptions,
        SyncStatus,
    },
    sources::{Source, web::Web},
    store::{
        self, Store, StoreError, Transaction, buckets,
        checkpoints::{self, Checkpoint, Tally},
        commit::Target,
        connections, dead_letters, jobs, leases,
        syncs::{self, BucketChoice, HeldRemovals, Standing, Sync},
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
        run.observer.started(&run.job, &run.sync.bucket, run.resume.is_some());
        let stop = either(stop, lease.unwanted().clone());
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
        let unbound = Rules::compile(&request.options)?;
        let source = self.connect(&request.location, None, &request.options).await?;
        let wanted = request.clone();
        let known =
            self.store.read(move |db| syncs::find(db, &wanted.location, &wanted.bucket)).await?;
        if known.is_none() {
            source.probe().await?;
        }
        let (job, wanted) = (JobId::generate(), request.clone());
        let (id, now, claimant) = (job.clone(), self.clock.now(), self.claimant());
        let taken_up = self
            .store
            .write(move |tx| {
                let sync =
                    syncs::ensure(tx, &wanted.location, &wanted.bucket, &wanted.options, now)?;
                let job_key = jobs::queue(tx, sync.key, &id, Cause::Manual, wanted.run.full, now)?;
                take_up(tx, sync, job_key, unbound, &wanted.run, &claimant, now)
            })
            .await?;
        Ok(self.set_out(taken_up, job, source, request.run.clone(), observer))
    }

    /// Takes the lease for a job that waits, and begins it.
    async fn begin_queued(
        &self,
        id: &JobId,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        let wanted = id.clone();
        let (job, sync) = self
            .store
            .read(move |db| {
                let job = jobs::by_id(db, wanted.as_str())?.ok_or(StoreError::NotQueued)?;
                let sync = syncs::by_key(db, job.sync_key)?;
                Ok((job, sync))
            })
            .await?;
        let unbound = Rules::compile(&sync.options)?;
        let source = self.reach(&sync).await?;
        let options = RunOptions {
            max_delete: sync.options.max_delete,
            concurrency: sync.options.pace.sync_concurrency.and_then(|n| usize::try_from(n).ok()),
            full: job.full,
            adopt_root: false,
        };
        let (how, now, claimant) = (options.clone(), self.clock.now(), self.claimant());
        let taken_up = self
            .store
            .write(move |tx| {
                // As it stands by now: it may have been changed since.
                let sync = syncs::by_key(tx, job.sync_key)?;
                if sync.rests() {
                    return Err(StoreError::Resting);
                }
                take_up(tx, sync, job.key, unbound, &how, &claimant, now)
            })
            .await?;
        Ok(self.set_out(taken_up, id.clone(), source, options, observer))
    }

    fn claimant(&self) -> Claimant {
        Claimant {
            holder: lease::claim(&self.worker.worker, &self.clock),
            worker: self.worker.clone(),
        }
    }

    fn set_out(
        &self,
        taken_up: TakenUp,
        job: JobId,
        source: Arc<dyn Source>,
        options: RunOptions,
        observer: Arc<dyn Observer>,
    ) -> (Run, Lease) {
        let TakenUp { sync, target, rules, resume } = taken_up;
        let lease = Lease::keep(target.fence, self.store.clone(), self.clock.clone());
        let concurrency = options.concurrency.unwrap_or_else(|| source.default_concurrency());
        let run = Run {
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
            source,
            rules,
            web: self.web.clone(),
            sync,
            target,
            job,
            options,
            observer,
            requests: Semaphore::new(concurrency),
            concurrency,
            resume,
        };
        (run, lease)
    }

    /// Ends a job that could not begin.
    async fn end_queued(&self, id: &JobId, error: &RunError) -> Result<(), StoreError> {
        let (id, now, why) = (id.clone(), self.clock.now(), error.to_string());
        let skipped = matches!(error, RunError::Store(StoreError::Locked(_) | StoreError::Resting));
        let blames_connection = error.blames_connection();
        self.store
            .write(move |tx| {
                let Some(job) = jobs::by_id(tx, id.as_str())? else { return Ok(()) };
                if job.started_at.is_some() || job.completed_at.is_some() {
                    return Ok(());
                }
                if skipped {
                    return jobs::end(tx, job.key, JobStatus::Skipped, Some(&why), now);
                }
                jobs::end(tx, job.key, JobStatus::Failed, Some(&why), now)?;
                let sync = syncs::by_key(tx, job.sync_key)?;
                if blames_connection {
                    connections::failed(tx, sync.connection_key, &why, now)?;
                }
                let standing = standing::after(&sync, Ending::Failed(&why), now);
                syncs::stand(tx, &sync, &standing, now)
            })
            .await
    }
}

/// Who wants a lease.
struct Claimant {
    holder: leases::Holder,
    worker: Arc<SignedOn>,
}

/// A job that has its lease.
struct TakenUp {
    sync: Sync,
    target: Target,
    rules: Rules,
    resume: Option<Checkpoint>,
}

/// Takes the lease and begins the job, in one transaction: where the last run stopped, or from the
/// beginning of a new pass.
fn take_up(
    tx: &Transaction<'_>,
    sync: Sync,
    job_key: i64,
    rules: Rules,
    options: &RunOptions,
    claimant: &Claimant,
    now: Timestamp,
) -> store::Result<TakenUp> {
    let fence = lease::take(tx, sync.key, &claimant.holder, &claimant.worker.worker)?;
    let goes_on = sync.options.pace.resume_enabled && !options.full && !options.adopt_root;
    let resume = if goes_on { checkpoints::load(tx, sync.key)? } else { None };
    let pass = match &resume {
        Some(checkpoint) => checkpoint.pass,
        None => checkpoints::begin_pass(tx, sync.key)?,
    };
    jobs::start(tx, job_key, resume.is_some(), now)?;
    // A run that somebody asks for ends a pause.
    let standing = Standing {
        status: SyncStatus::InProgress,
        pause: None,
        next_sync_at: None,
        ..Standing::of(&sync)
    };
    syncs::stand(tx, &sync, &standing, now)?;
    let schema = buckets::settings(tx, sync.bucket_key)?.bucket_schema;
    let rules = rules.bound_to(&sync.options, schema);
    let target = Target {
        fence,
        bucket_key: sync.bucket_key,
        job_key,
        pass,
        skip_duplicates: sync.options.skip_duplicates,
        mark: rules.mark,
    };
    Ok(TakenUp { sync, target, rules, resume })
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
    ) -> Result<Settled, RunError> {
        let root = walk::check_root(self).await?;
        let pass = commit::go_through(self, lease, stop, counts, &root).await?;
        walk::check_pass(self, &root, &pass).await?;
        walk::forget_left_out(self, pass.left_out).await?;
        reconcile::settle(self, pass.tally, stop, counts).await
    }

    /// Writes down how the run ended, and gives the lease back in the same transaction. Answers how
    /// many entries could not be taken in this pass, by this run or those that it went on from.
    async fn end(&self, outcome: &Result<Settled, RunError>) -> Result<u64, RunError> {
        let (target, now, sync_id) = (self.target, self.clock.now(), self.sync.id.clone());
        let end = End::of(outcome);
        let complete = end.status == JobStatus::Completed;
        let left = self.store.write(move |tx| end.write(tx, &target, now)).await?;
        if complete && left == 0 {
            let blobs = self.blobs.clone();
            let cleared = tokio::task::spawn_blocking(move || blobs.clear_partials(&sync_id)).await;
            if let Ok(Err(error)) = cleared {
                tracing::warn!(%error, "could not clear parts of earlier downloads");
            }
        }
        Ok(left)
    }
}

/// What is written down when a run ends.
struct End {
    status: JobStatus,
    error: Option<String>,
    held: Option<HeldRemovals>,
    run_status: RunStatus,
    stopped: bool,
    blames_connection: bool,
}

impl End {
    fn of(outcome: &Result<Settled, RunError>) -> Self {
        let held = match outcome {
            Ok(Settled::Held(held)) => Some(held.clone()),
            _ => None,
        };
        let error = outcome.as_ref().err();
        let run_status = error.map_or(RunStatus::Completed, RunError::status);
        Self {
            status: match run_status {
                RunStatus::Interrupted => JobStatus::Interrupted,
                RunStatus::Failed => JobStatus::Failed,
                _ => JobStatus::Completed,
            },
            error: error.map(ToString::to_string),
            held,
            run_status,
            stopped: matches!(error, Some(RunError::Stopped)),
            blames_connection: error.is_some_and(RunError::blames_connection),
        }
    }

    /// One transaction: the job, the pass, the connection, the sync, and the lease given back.
    fn write(&self, tx: &Transaction<'_>, target: &Target, now: Timestamp) -> store::Result<u64> {
        leases::check(tx, target.fence)?;
        let sync_key = target.fence.sync_key;
        if self.status == JobStatus::Completed {
            checkpoints::complete(tx, sync_key, target.pass, now)?;
            syncs::hold_removals(tx, sync_key, self.held.as_ref())?;
            dead_letters::resolve_others(tx, sync_key, target.pass, now)?;
        }
        if self.held.is_some() {
            jobs::enter(tx, target.job_key, Phase::Held, now)?;
        }
        let left = dead_letters::open_count(tx, sync_key)?;
        jobs::end(tx, target.job_key, self.status, self.error.as_deref(), now)?;
        leases::release(tx, target.fence)?;
        self.settle_sync(tx, sync_key, left, now)?;
        Ok(left)
    }

    fn settle_sync(
        &self,
        tx: &Transaction<'_>,
        sync_key: i64,
        left: u64,
        now: Timestamp,
    ) -> store::Result<()> {
        let sync = syncs::by_key(tx, sync_key)?;
        match &self.error {
            None => connections::worked(tx, sync.connection_key, now)?,
            Some(why) if self.blames_connection => {
                connections::failed(tx, sync.connection_key, why, now)?;
            }
            Some(_) => {}
        }
        let ending = match &self.error {
            None => Ending::Complete { left },
            Some(why) => Ending::of_error(self.run_status, self.stopped, why),
        };
        let mut standing = standing::after(&sync, ending, now);
        let rests = matches!(standing.status, SyncStatus::Suspended | SyncStatus::Archived);
        if sync.pending_full_sync && !rests {
            jobs::queue(tx, sync_key, &JobId::generate(), Cause::Manual, true, now)?;
            standing.pending_full_sync = false;
            standing.status = SyncStatus::Queued;
        }
        syncs::stand(tx, &sync, &standing, now)
    }
}

/// What a pass has learnt by its end.
#[derive(Debug)]
pub struct Pass {
    /// What it knows of entries whose rows it did not write.
    pub tally: Tally,
    /// Whether the source listed anything at all, in this run or those that it went on from.
    pub listed_something: bool,
    /// Keys of what is remembered of left out entries that this run came across.
    pub left_out: RoaringTreemap,
}
