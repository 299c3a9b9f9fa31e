//! How a run begins: its source is opened, its lease taken, and its starting point found.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::{
    Engine, Observer, RegisteredWorker, RunError,
    context::{InFlight, PassKind, Run, TreeNotes},
    fetch,
    lease::{self, Lease},
    request::{Request, RunOptions},
    rules::Rules,
    shards::{self, Start},
    sync_state::{self, Ending},
};
use crate::{
    model::{Cause, JobId, JobStatus, Notice, Shard, Sweep, SyncOptions, SyncStatus},
    sources::{self, RootIdentity, Source, SourceError},
    store::{
        self, StoreError, Transaction, buckets,
        checkpoints::{self, Basis},
        commit::Target,
        connections,
        feeds::{self, Feed},
        held_back, jobs, leases,
        syncs::{self, MadeBy, Sync, SyncState},
    },
};

impl Engine {
    /// Takes the lease and begins the job. A new sync is only created once its source has
    /// responded, so that a mistyped command leaves nothing behind.
    pub(super) async fn begin(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        loop {
            if let Some(begun) = self.try_begin(request, observer.clone()).await? {
                return Ok(begun);
            }
        }
    }

    /// As [`Engine::begin`]; `None` if the settings of a sync that was made through the API changed
    /// between opening its source and taking its lease.
    async fn try_begin(
        &self,
        request: &Request,
        observer: Arc<dyn Observer>,
    ) -> Result<Option<(Run, Lease)>, RunError> {
        let wanted = request.clone();
        let known = self.store.read(move |db| wanted.find(db)).await?;
        // A sync that was made through the API runs with the settings that it has there.
        let of_api = known.as_ref().filter(|sync| sync.made_by == MadeBy::Api);
        let options = of_api.map_or(&request.options, |sync| &sync.options).clone();
        let rules = Rules::compile(&options)?;
        let source = match of_api {
            Some(sync) => self.open_source(sync).await?,
            None => self.open_requested(request).await?,
        };
        if known.is_none() {
            source.probe().await?;
        }
        let location = known.as_ref().map_or(&request.location, |sync| &sync.location);
        let rules = rules.listed_as(&source.profile(), location, &options);
        let (kind, root) = self.pass_kind(&*source, known.as_ref(), &options, &request.run).await?;
        let claim = self.claim(&*source, &root, rules, request.run.clone(), kind);
        let (job, wanted) = (JobId::generate(), request.clone());
        let (id, now) = (job.clone(), self.clock.now());
        let begun = self
            .store
            .write(move |tx| {
                let sync = wanted.ensure(tx, now)?;
                let is_of_api = sync.made_by == MadeBy::Api;
                if is_of_api && sync.rests() {
                    return Err(StoreError::SyncInactive);
                }
                if is_of_api && sync.options != options {
                    return Ok(None);
                }
                let sweep = Sweep::of(wanted.run.full, wanted.run.refetch);
                let cause = if wanted.run.full { Cause::FullSync } else { Cause::Manual };
                let job_key = jobs::queue(tx, sync.key, &id, cause, sweep, now)?;
                claim.begin(tx, sync, job_key, now).map(Some)
            })
            .await?;
        Ok(begun.map(|begun| self.run_of(begun, job, source, root, observer)))
    }

    /// Opens what a request names, with the credentials of its connection.
    ///
    /// # Errors
    /// As for [`Engine::open_source`].
    pub async fn open_requested(&self, request: &Request) -> Result<Arc<dyn Source>, RunError> {
        let credentials = match request.connection {
            Some(key) => self.vault.credentials(key).await?,
            None => None,
        };
        Ok(self.connect(&request.location, credentials.as_ref(), &request.options).await?)
    }

    /// The request with its place in the form in which it is stored: a folder that the provider
    /// knows by an id is the same sync whatever it is called.
    ///
    /// # Errors
    /// When the place cannot be found.
    pub async fn at_stored_place(&self, request: Request) -> Result<Request, RunError> {
        if request.connection.is_none() {
            return Ok(request);
        }
        let place = self.open_requested(&request).await?.place();
        let Request { mut location, connection, bucket, options, run } = request;
        location.source_path = place.unwrap_or(location.source_path);
        Ok(Request { location, connection, bucket, options, run })
    }

    /// Takes the lease for a queued job and begins it.
    pub(super) async fn begin_queued(
        &self,
        id: &JobId,
        observer: Arc<dyn Observer>,
    ) -> Result<(Run, Lease), RunError> {
        loop {
            if let Some(begun) = self.try_begin_queued(id, observer.clone()).await? {
                return Ok(begun);
            }
        }
    }

    /// As [`Engine::begin_queued`]; `None` if the settings changed between opening the source and
    /// taking the lease.
    async fn try_begin_queued(
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
        let source = self.open_source(&sync).await?;
        let rules = rules.listed_as(&source.profile(), &sync.location, &sync.options);
        let cause = Cause::parse(&job.cause);
        let options = RunOptions {
            max_delete: sync.options.max_delete,
            concurrency: sync.options.pace.sync_concurrency.and_then(|n| usize::try_from(n).ok()),
            full: job.full,
            refetch: job.refetch,
            adopt_root: false,
            slice: Some(sync.options.pace.max_objects_per_run),
            continues: cause.is_some_and(Cause::continues),
            tries_waiting: cause.is_some_and(Cause::is_of_person),
            approves: None,
        };
        let (kind, root) = self.pass_kind(&*source, Some(&sync), &sync.options, &options).await?;
        let claim = self.claim(&*source, &root, rules, options, kind);
        let now = self.clock.now();
        let begun = self
            .store
            .write(move |tx| {
                let current = syncs::by_key(tx, job.sync_key)?;
                if current.rests() {
                    return Err(StoreError::SyncInactive);
                }
                if current.options != sync.options {
                    return Ok(None);
                }
                claim.begin(tx, current, job.key, now).map(Some)
            })
            .await?;
        Ok(begun.map(|begun| self.run_of(begun, id.clone(), source, root, observer)))
    }

    /// Which kind of pass is due, and the root. A changes pass does not look at the root: what its
    /// feed reports is about the root of the last full pass. Nor does it see what was held and has
    /// come back since, so that a run that approves removals lists everything.
    async fn pass_kind(
        &self,
        source: &dyn Source,
        sync: Option<&Sync>,
        options: &SyncOptions,
        run: &RunOptions,
    ) -> Result<(PassKind, Result<RootIdentity, SourceError>), RunError> {
        let approves = run.approves.is_some() && sync.is_some_and(|it| it.held_removals.is_some());
        let may_follow = source.profile().has_feed && !run.full && !run.adopt_root && !approves;
        if let Some(sync) = sync.filter(|_| may_follow) {
            let sync_key = sync.key;
            let (feeds, unfinished) = self
                .store
                .read(move |db| {
                    Ok::<_, StoreError>((
                        feeds::load(db, sync_key)?,
                        syncs::full_since(db, sync_key)?,
                    ))
                })
                .await?;
            let now = self.clock.now();
            let wanted = rules_hash(&Sync { options: options.clone(), ..sync.clone() });
            let continues = |shard: &Shard| {
                feeds.iter().any(|feed| {
                    feed.shard == shard.name()
                        && feed.token.is_some()
                        && !feed.needs_full
                        && feed.full_at.is_some_and(|at| at + self.full_pass > now)
                        && feed.basis.as_ref().is_some_and(|basis| {
                            let is_root =
                                sync.root_identity.is_none() || basis.root == sync.root_identity;
                            let is_ours = source.may_follow(basis.root.as_deref());
                            is_root && is_ours && basis.rules_hash == wanted
                        })
                })
            };
            if unfinished.is_none() && source.shards().iter().all(continues) {
                let root = feeds.into_iter().find_map(|feed| feed.basis).and_then(|of| of.root);
                return Ok((PassKind::Changes, Ok(RootIdentity(root))));
            }
        }
        let root = source.root().await;
        if let Some(sync) = sync {
            self.remember_account(sync, source).await?;
        }
        Ok((PassKind::Full, root))
    }

    /// Writes down who is signed in, if that has turned out only now.
    async fn remember_account(&self, sync: &Sync, source: &dyn Source) -> Result<(), StoreError> {
        let known = sync.location.connection.account();
        let Some(account) = source.known_account().filter(|it| known != Some(it.as_str())) else {
            return Ok(());
        };
        let key = sync.connection_key;
        self.store.write(move |tx| connections::set_account(tx, key, account)).await
    }

    fn claim(
        &self,
        source: &dyn Source,
        root: &Result<RootIdentity, SourceError>,
        rules: Rules,
        options: RunOptions,
        kind: PassKind,
    ) -> Claim {
        Claim {
            kind,
            holder: lease::claim(&self.worker.worker, &self.clock),
            worker: self.worker.clone(),
            shards: source.shards(),
            root: root.clone().ok(),
            rules,
            options,
        }
    }

    fn run_of(
        &self,
        begun: Begun,
        job: JobId,
        source: Arc<dyn Source>,
        root: Result<RootIdentity, SourceError>,
        observer: Arc<dyn Observer>,
    ) -> (Run, Lease) {
        let Begun {
            sync,
            target,
            mut rules,
            options,
            is_resumed,
            full_since,
            had_entries,
            is_listed_again,
            starts,
            basis,
            kind,
        } = begun;
        rules.filter = rules.filter.since(target.modified_since);
        let lease = Lease::keep(target.fence, self.store.clone(), self.clock.clone());
        let concurrency = options.concurrency.unwrap_or_else(|| source.default_concurrency());
        let run = Run {
            kind,
            profile: source.profile(),
            in_flight: Arc::new(InFlight::default()),
            tags: Arc::default(),
            tree: Arc::new(TreeNotes::default()),
            store: self.store.clone(),
            blobs: self.blobs.clone(),
            clock: self.clock.clone(),
            source,
            rules: Arc::new(rules),
            web: self.web.clone(),
            sync,
            target,
            job,
            options,
            observer,
            requests: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            writes: Arc::new(Semaphore::new(fetch::WRITES)),
            root,
            is_resumed,
            full_since,
            had_entries,
            is_listed_again,
            starts,
            basis,
        };
        (run, lease)
    }

    /// Ends a job that could not begin.
    pub(super) async fn end_queued(&self, id: &JobId, error: &RunError) -> Result<(), StoreError> {
        let (id, now, why) = (id.clone(), self.clock.now(), error.to_string());
        let is_skipped =
            matches!(error, RunError::Store(StoreError::Locked(_) | StoreError::SyncInactive));
        let (of_connection, held_until) = (error.of_connection(), error.held_until());
        self.store
            .write(move |tx| {
                let Some(job) = jobs::by_id(tx, id.as_str())? else { return Ok(()) };
                if job.started_at.is_some() || job.completed_at.is_some() {
                    return Ok(());
                }
                if is_skipped {
                    return jobs::end(tx, job.key, JobStatus::Skipped, Some(&why), now);
                }
                let status = match held_until {
                    Some(_) => JobStatus::Interrupted,
                    None => JobStatus::Failed,
                };
                jobs::end(tx, job.key, status, Some(&why), now)?;
                let sync = syncs::by_key(tx, job.sync_key)?;
                let ending = match held_until {
                    Some(until) => Ending::Held { until },
                    None => Ending::Failed(&why),
                };
                let state = sync_state::after(&sync, ending, now);
                syncs::set_state(tx, &sync, &state, now)?;
                match of_connection {
                    Some(how) if sources::is_configurable(&sync.location.connection.provider) => {
                        connections::failed(tx, sync.connection_key, how, &why, now)
                    }
                    _ => Ok(()),
                }
            })
            .await
    }
}

/// Who wants a lease, and how the run is to be made.
struct Claim {
    holder: leases::Holder,
    worker: Arc<RegisteredWorker>,
    shards: Vec<Shard>,
    /// `None` where it could not be read: the run fails before it touches anything.
    root: Option<RootIdentity>,
    rules: Rules,
    options: RunOptions,
    kind: PassKind,
}

/// Identifies all settings of a sync that decide about entries.
fn rules_hash(sync: &Sync) -> i64 {
    let SyncOptions { provider_filters, .. } = &sync.options;
    let provider = &sync.location.connection.provider;
    sync.options.rules_hash(&sources::filters_besides_shards(provider, provider_filters))
}

/// Whether a full pass has listed all of these shards under the same settings.
fn was_listed(feeds: &[Feed], shards: &[Shard], basis: &Basis) -> bool {
    shards.iter().all(|shard| {
        feeds.iter().any(|feed| {
            feed.shard == shard.name()
                && feed.full_at.is_some()
                && feed.basis.as_ref() == Some(basis)
        })
    })
}

/// A job that has its lease.
struct Begun {
    sync: Sync,
    target: Target,
    rules: Rules,
    options: RunOptions,
    is_resumed: bool,
    full_since: Option<i64>,
    had_entries: bool,
    is_listed_again: bool,
    starts: Vec<Start>,
    basis: Basis,
    kind: PassKind,
}

impl Claim {
    /// Takes the lease and begins the job, in one transaction: at the checkpoint of the last run,
    /// or at the beginning of a new pass.
    fn begin(
        self,
        tx: &Transaction<'_>,
        sync: Sync,
        job_key: i64,
        now: Timestamp,
    ) -> store::Result<Begun> {
        let fence = lease::take(tx, sync.key, &self.holder, &self.worker.worker)?;
        let is_root_known = self.root.is_some();
        let basis =
            Basis { root: self.root.and_then(|root| root.0), rules_hash: rules_hash(&sync) };
        let unfinished = syncs::full_since(tx, sync.key)?;
        let continues = self.options.continues;
        let is_new_full = self.options.refetch && !(continues && unfinished.is_some());
        let is_new_sweep = self.options.full && !continues;
        let starts_over = is_new_full || is_new_sweep || self.options.adopt_root;
        if is_new_sweep {
            // A full sync that is cut off continues as one.
            feeds::invalidate(tx, sync.key)?;
        }
        let may_resume =
            sync.options.pace.resume_enabled && !starts_over && self.kind == PassKind::Full;
        let checkpoint = if may_resume { checkpoints::load(tx, sync.key)? } else { None };
        let checkpoint = checkpoint
            .filter(|checkpoint| !is_root_known || checkpoint.is_valid_for(&self.shards, &basis));
        let is_resumed = checkpoint.is_some();
        let pass = match &checkpoint {
            Some(checkpoint) => {
                syncs::pass_resumed(tx, sync.key)?;
                checkpoint.pass
            }
            None => checkpoints::begin_pass(tx, sync.key)?,
        };
        let full_since = if is_new_full { Some(pass) } else { unfinished };
        syncs::set_full_since(tx, sync.key, full_since)?;
        if full_since.is_some() {
            jobs::continue_full(tx, job_key)?;
        }
        checkpoints::retain(tx, sync.key, &self.shards)?;
        while held_back::delete_some(tx, sync.key)? {}
        jobs::start(tx, job_key, is_resumed, now)?;
        syncs::set_notice(tx, sync.key, Notice::WaitingForProvider, None)?;
        // A run that somebody requests ends a pause.
        let state = SyncState {
            status: SyncStatus::InProgress,
            pause: None,
            next_sync_at: None,
            ..SyncState::of(&sync)
        };
        syncs::set_state(tx, &sync, &state, now)?;
        let bucket = buckets::settings(tx, sync.bucket_key)?;
        let rules = self.rules.bound_to(&sync.options, bucket);
        let target = Target {
            fence,
            bucket_key: sync.bucket_key,
            job_key,
            pass,
            skip_duplicates: sync.options.skip_duplicates,
            waits_for_confirmation: !sync.options.create_object_on_confirm,
            modified_since: sync.options.sync_from,
            mark: rules.mark,
        };
        let had_entries = syncs::has_entries(tx, sync.key)?;
        let is_listed_again = had_entries
            && full_since.is_none()
            && was_listed(&feeds::load(tx, sync.key)?, &self.shards, &basis);
        let starts = shards::starts(self.shards, checkpoint);
        let options = self.options;
        Ok(Begun {
            sync,
            target,
            rules,
            options,
            is_resumed,
            full_since,
            had_entries,
            is_listed_again,
            starts,
            basis,
            kind: self.kind,
        })
    }
}
