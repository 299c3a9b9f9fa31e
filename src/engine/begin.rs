//! How a run begins: its source is opened, its lease taken, and where the last one stopped is found.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::{
    Engine, Observer, RunError, SignedOn, fetch,
    lease::{self, Lease},
    rules::Rules,
    run::{Request, Run, RunOptions},
    shards::{self, Start},
    standing::{self, Ending},
};
use crate::{
    model::{Cause, JobId, JobStatus, Shard, SyncStatus},
    sources::{RootIdentity, Source, SourceError},
    store::{
        self, StoreError, Transaction, buckets,
        checkpoints::{self, Basis},
        commit::Target,
        connections, held_back, jobs, leases,
        syncs::{self, MadeBy, Standing, Sync},
    },
};

impl Engine {
    /// Takes the lease and begins the job. A sync that is new is made only once its source has
    /// answered, so that a slip of the finger leaves nothing behind.
    pub(super) async fn begin(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        loop {
            if let Some(begun) = self.begin_requested(request, observer.clone()).await? {
                return Ok(begun);
            }
        }
    }

    /// As [`Engine::begin`]; `None` where a sync that was made through the API has other settings by
    /// the time that the lease is had than those by which its source was opened.
    async fn begin_requested(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
    ) -> Result<Option<(Run, Lease)>, RunError> {
        let wanted = request.clone();
        let known =
            self.store.read(move |db| syncs::find(db, &wanted.location, &wanted.bucket)).await?;
        // One that was made through the API runs as it is set up there.
        let of_api = known.as_ref().filter(|sync| sync.made_by == MadeBy::Api);
        let options = of_api.map_or(&request.options, |sync| &sync.options).clone();
        let rules = Rules::compile(&options)?;
        let source = match of_api {
            Some(sync) => self.reach(sync).await?,
            None => self.connect(&request.location, None, &options).await?,
        };
        if known.is_none() {
            source.probe().await?;
        }
        let root = source.root().await;
        let claim = self.claim(&*source, &root, rules, request.run.clone());
        let (job, wanted) = (JobId::generate(), request.clone());
        let (id, now) = (job.clone(), self.clock.now());
        let taken_up = self
            .store
            .write(move |tx| {
                let sync =
                    syncs::ensure(tx, &wanted.location, &wanted.bucket, &wanted.options, now)?;
                let is_of_api = sync.made_by == MadeBy::Api;
                if is_of_api && sync.rests() {
                    return Err(StoreError::Resting);
                }
                if is_of_api && sync.options != options {
                    return Ok(None);
                }
                let job_key = jobs::queue(tx, sync.key, &id, Cause::Manual, wanted.run.full, now)?;
                claim.take_up(tx, sync, job_key, now).map(Some)
            })
            .await?;
        Ok(taken_up.map(|taken_up| self.set_out(taken_up, job, source, root, observer)))
    }

    /// Takes the lease for a job that waits, and begins it.
    pub(super) async fn begin_queued(
        &self,
        id: &JobId,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        loop {
            if let Some(begun) = self.begin_unchanged(id, observer.clone()).await? {
                return Ok(begun);
            }
        }
    }

    /// As [`Engine::begin_queued`]; `None` where the settings by which the source was opened are
    /// others by the time that the lease is had.
    async fn begin_unchanged(
        &self,
        id: &JobId,
        observer: Arc<dyn Observer>,
    ) -> Result<Option<(Run, Lease)>, RunError> {
        let wanted = id.clone();
        let (job, sync) = self
            .store
            .read(move |db| {
                let job = jobs::by_id(db, wanted.as_str())?.ok_or(StoreError::NotQueued)?;
                let sync = syncs::by_key(db, job.sync_key)?;
                Ok((job, sync))
            })
            .await?;
        let rules = Rules::compile(&sync.options)?;
        let source = self.reach(&sync).await?;
        let root = source.root().await;
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
        let (claim, now) = (self.claim(&*source, &root, rules, options), self.clock.now());
        let taken_up = self
            .store
            .write(move |tx| {
                let current = syncs::by_key(tx, job.sync_key)?;
                if current.rests() {
                    return Err(StoreError::Resting);
                }
                if current.options != sync.options {
                    return Ok(None);
                }
                claim.take_up(tx, current, job.key, now).map(Some)
            })
            .await?;
        Ok(taken_up.map(|taken_up| self.set_out(taken_up, id.clone(), source, root, observer)))
    }

    fn claim(
        &self,
        source: &dyn Source,
        root: &Result<RootIdentity, SourceError>,
        rules: Rules,
        options: RunOptions,
    ) -> Claim {
        Claim {
            holder: lease::claim(&self.worker.worker, &self.clock),
            worker: self.worker.clone(),
            shards: source.shards(),
            root: root.clone().ok(),
            rules,
            options,
        }
    }

    fn set_out(
        &self,
        taken_up: TakenUp,
        job: JobId,
        source: Arc<dyn Source>,
        root: Result<RootIdentity, SourceError>,
        observer: Arc<dyn Observer>,
    ) -> (Run, Lease) {
        let TakenUp { sync, target, mut rules, options, goes_on, had_entries, starts, basis } =
            taken_up;
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
            writes: Arc::new(Semaphore::new(fetch::WRITES)),
            root,
            goes_on,
            had_entries,
            starts,
            basis,
        };
        (run, lease)
    }

    /// Ends a job that could not begin.
    pub(super) async fn end_queued(&self, id: &JobId, error: &RunError) -> Result<(), StoreError> {
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

/// Who wants a lease, and how the run is to be made.
struct Claim {
    holder: leases::Holder,
    worker: Arc<SignedOn>,
    shards: Vec<Shard>,
    /// `None` where it cannot be looked at: the run fails before it touches anything.
    root: Option<RootIdentity>,
    rules: Rules,
    options: RunOptions,
}

/// A job that has its lease.
struct TakenUp {
    sync: Sync,
    target: Target,
    rules: Rules,
    options: RunOptions,
    goes_on: bool,
    had_entries: bool,
    starts: Vec<Start>,
    basis: Basis,
}

impl Claim {
    /// Takes the lease and begins the job, in one transaction: where the last run stopped, or from
    /// the beginning of a new pass.
    fn take_up(
        self,
        tx: &Transaction<'_>,
        sync: Sync,
        job_key: i64,
        now: Timestamp,
    ) -> store::Result<TakenUp> {
        let fence = lease::take(tx, sync.key, &self.holder, &self.worker.worker)?;
        let is_root_known = self.root.is_some();
        let basis =
            Basis { root: self.root.and_then(|root| root.0), judged_by: sync.options.judgement() };
        let starts_over = (self.options.full && !self.options.goes_on) || self.options.adopt_root;
        let may_go_on = sync.options.pace.resume_enabled && !starts_over;
        let checkpoint = if may_go_on { checkpoints::load(tx, sync.key)? } else { None };
        let checkpoint = checkpoint
            .filter(|checkpoint| !is_root_known || checkpoint.suits(&self.shards, &basis));
        let goes_on = checkpoint.is_some();
        let pass = match &checkpoint {
            Some(checkpoint) => checkpoint.pass,
            None => checkpoints::begin_pass(tx, sync.key)?,
        };
        checkpoints::retain(tx, sync.key, &self.shards)?;
        while held_back::forget_some(tx, sync.key)? {}
        jobs::start(tx, job_key, goes_on, now)?;
        // A run that somebody asks for ends a pause.
        let standing = Standing {
            status: SyncStatus::InProgress,
            pause: None,
            next_sync_at: None,
            ..Standing::of(&sync)
        };
        syncs::stand(tx, &sync, &standing, now)?;
        let bucket = buckets::settings(tx, sync.bucket_key)?;
        let rules = self.rules.bound_to(&sync.options, bucket);
        let target = Target {
            fence,
            bucket_key: sync.bucket_key,
            job_key,
            pass,
            skip_duplicates: sync.options.skip_duplicates,
            modified_since: sync.options.sync_from,
            mark: rules.mark,
        };
        let starts = shards::starts(self.shards, checkpoint);
        let options = self.options;
        let had_entries = syncs::has_entries(tx, sync.key)?;
        Ok(TakenUp { sync, target, rules, options, goes_on, had_entries, starts, basis })
    }
}
