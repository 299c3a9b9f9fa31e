//! The story of a run: take the lease, go through the source, settle what is gone, give the lease
//! back.

use std::sync::Arc;

use jiff::Timestamp;
use roaring::RoaringTreemap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Engine, Observer, RunError, SignedOn, collect, commit,
    held::{self, Held},
    lease::{self, Lease},
    plan,
    reconcile::{self, Settled},
    rules::Rules,
    standing::{self, Ending},
    walk,
};
use crate::{
    blobs::Blobs,
    clock::SharedClock,
    model::{
        Cause, Counts, JobId, JobStatus, Location, MaxDelete, RunStatus, SyncOptions, SyncStatus,
    },
    sources::{Source, web::Web},
    store::{
        self, Store, StoreError, Transaction, buckets,
        checkpoints::{self, Checkpoint, Tally},
        commit::Target,
        connections, dead_letters, jobs, leases,
        reconcile::Scope,
        syncs::{self, BucketChoice, HeldRemovals, MadeBy, Standing, Sync},
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
        let next = left.as_ref().ok().and_then(|left| left.next.clone());
        let (status, held, error) = match (outcome, left) {
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

    /// Takes the lease and begins the job. A sync that is new is made only once its source has
    /// answered, so that a slip of the finger leaves nothing behind.
    async fn begin(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        let wanted = request.clone();
        let known =
            self.store.read(move |db| syncs::find(db, &wanted.location, &wanted.bucket)).await?;
        // One that was made through the API runs as it is set up there.
        let of_api = known.as_ref().filter(|sync| sync.made_by == MadeBy::Api);
        let unbound = Rules::compile(of_api.map_or(&request.options, |sync| &sync.options))?;
        let source = match of_api {
            Some(sync) => self.reach(sync).await?,
            None => self.connect(&request.location, None, &request.options).await?,
        };
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
                if sync.made_by == MadeBy::Api && sync.rests() {
                    return Err(StoreError::Resting);
                }
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
            // A pass that cannot be gone on with is made in one go.
            slice: sync
                .options
                .pace
                .resume_enabled
                .then_some(sync.options.pace.max_objects_per_run),
            goes_on: job.cause == Cause::Resume.as_str(),
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
        let TakenUp { sync, target, mut rules, resume } = taken_up;
        rules.filter = rules.filter.since(target.modified_since);
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
    let starts_over = (options.full && !options.goes_on) || options.adopt_root;
    let goes_on = sync.options.pace.resume_enabled && !starts_over;
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
    let rules = rules.bound_to(&sync.options, buckets::settings(tx, sync.bucket_key)?);
    let target = Target {
        fence,
        bucket_key: sync.bucket_key,
        job_key,
        pass,
        skip_duplicates: sync.options.skip_duplicates,
        modified_since: sync.options.sync_from,
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
    ) -> Result<Settled, RunError> {
        let root = walk::check_root(self).await?;
        let pass = commit::go_through(self, lease, stop, counts, &root).await?;
        match pass.walked {
            Walked::Whole => {
                walk::forget_left_out(self, pass.left_out).await?;
                reconcile::settle(self, pass.tally, stop, counts).await
            }
            Walked::Slice => Ok(Settled::Slice),
        }
    }

    /// Which of the entries that a pass does not find it removes.
    pub(super) fn scope(&self) -> Scope {
        reconcile::scope(&self.sync.location, &self.sync.options)
    }

    /// See [`plan::follows_renames`].
    pub(super) fn follows_renames(&self) -> bool {
        plan::follows_renames(&self.sync.options, self.options.full)
    }

    /// Writes down how the run ended, and gives the lease back in the same transaction.
    async fn end(&self, outcome: &Result<Settled, RunError>) -> Result<Left, RunError> {
        let (target, now, sync_id) = (self.target, self.clock.now(), self.sync.id.clone());
        let end = End::of(outcome, self.options.full);
        let complete = end.status == JobStatus::Completed && !end.sliced;
        let left = self.store.write(move |tx| end.write(tx, &target, now)).await?;
        if complete && left.dead_letters == 0 {
            let blobs = self.blobs.clone();
            let cleared = tokio::task::spawn_blocking(move || blobs.clear_partials(&sync_id)).await;
            if let Ok(Err(error)) = cleared {
                tracing::warn!(%error, "could not clear parts of earlier downloads");
            }
        }
        Ok(left)
    }
}

/// What a run leaves behind.
struct Left {
    /// Entries that could not be taken in this pass, by this run or those that it went on from.
    dead_letters: u64,
    /// The job that goes on with the pass.
    next: Option<JobId>,
}

/// What is written down when a run ends.
struct End {
    status: JobStatus,
    error: Option<String>,
    held: Option<Held>,
    run_status: RunStatus,
    stopped: bool,
    blames_connection: bool,
    /// The pass is not complete, but this run's slice of it.
    sliced: bool,
    /// Whether the run fetched every entry again, as its next slice has to.
    full: bool,
    /// What was listed may not be of the source at all.
    wrong_root: bool,
}

impl End {
    fn of(outcome: &Result<Settled, RunError>, full: bool) -> Self {
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
            sliced: matches!(outcome, Ok(Settled::Slice)),
            full,
            wrong_root: matches!(
                error,
                Some(RunError::RootChanged { .. } | RunError::RootEmptied { .. })
            ),
        }
    }

    /// One transaction: the job, the pass, the connection, the sync, and the lease given back.
    fn write(&self, tx: &Transaction<'_>, target: &Target, now: Timestamp) -> store::Result<Left> {
        leases::check(tx, target.fence)?;
        let sync_key = target.fence.sync_key;
        if self.status == JobStatus::Completed && !self.sliced {
            checkpoints::complete(tx, target, now)?;
            held::write(tx, target, self.held.as_ref(), now)?;
            dead_letters::resolve_others(tx, sync_key, target.pass, now)?;
        }
        if self.wrong_root {
            // To go on from here would be to take what was not there for removed.
            checkpoints::forget(tx, sync_key)?;
        }
        let left = dead_letters::open_count(tx, sync_key)?;
        jobs::end(tx, target.job_key, self.status, self.error.as_deref(), now)?;
        leases::release(tx, target.fence)?;
        let next = self.settle_sync(tx, target, left, now)?;
        Ok(Left { dead_letters: left, next })
    }

    /// How the sync stands now. Answers the job that goes on at once, if one does.
    fn settle_sync(
        &self,
        tx: &Transaction<'_>,
        target: &Target,
        left: u64,
        now: Timestamp,
    ) -> store::Result<Option<JobId>> {
        let sync_key = target.fence.sync_key;
        let sync = syncs::by_key(tx, sync_key)?;
        match &self.error {
            None => connections::worked(tx, sync.connection_key, now)?,
            Some(why) if self.blames_connection => {
                connections::failed(tx, sync.connection_key, why, now)?;
            }
            Some(_) => {}
        }
        let ending = match &self.error {
            None if self.sliced => Ending::Slice,
            None => Ending::Complete { left },
            Some(why) => Ending::of_error(self.run_status, self.stopped, why),
        };
        let mut standing = standing::after(&sync, ending, now);
        let rests = matches!(standing.status, SyncStatus::Suspended | SyncStatus::Archived);
        let mut next = None;
        if sync.pending_full_sync && !rests {
            next = Some((Cause::Manual, true));
            standing.pending_full_sync = false;
        } else if self.sliced && !rests && sync.is_active {
            next = Some((Cause::Resume, self.full));
            // The job is queued already.
            standing.next_sync_at = None;
        } else if !rests && sync.is_active && requeued_meanwhile(tx, target)? {
            standing.next_sync_at = Some(now);
        }
        let next = next
            .map(|(cause, full)| {
                standing.status = SyncStatus::Queued;
                let id = JobId::generate();
                jobs::queue(tx, sync_key, &id, cause, full, now).map(|_| id)
            })
            .transpose()?;
        syncs::stand(tx, &sync, &standing, now)?;
        Ok(next)
    }
}

/// Whether somebody gave a dead letter another chance after the run had passed by.
fn requeued_meanwhile(tx: &Transaction<'_>, target: &Target) -> store::Result<bool> {
    let job = jobs::by_key(tx, target.job_key)?;
    let since = job.started_at.unwrap_or(job.queued_at);
    dead_letters::awaits_retry(tx, target.fence.sync_key, since)
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
