//! The runs of a history: to their end, slice by slice, or cut off by a death.

use std::{
    ffi::OsStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use catchment::{
    clock::Clock as _,
    engine::{Engine, Observer, Report, Request, RunOptions, Silent, collect},
    model::{BlobHash, BucketName, Cause, Counts, EntryPath, JobId, Location, Phase, Sweep},
    sources::locate,
    store::{
        StoreError,
        command_line_syncs::{self, BucketChoice, SyncSource},
        jobs,
        syncs::{self, Sync},
    },
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{bucket::sync_key, history::History};

/// Dies at the so manieth thing that its run tells.
struct Mortal {
    left: AtomicUsize,
    died: Arc<Notify>,
}

impl Mortal {
    fn tell(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.died.notify_one();
        }
    }
}

impl Observer for Mortal {
    fn found(&self, _: u64, _: u64, _: u64) {
        self.tell();
    }

    fn fetching(&self, _: &EntryPath, _: u64) {
        self.tell();
    }

    fn entered(&self, _: Phase) {
        self.tell();
    }

    fn committed(&self, _: &Counts) {
        self.tell();
    }
}

pub(super) fn location() -> Location {
    locate(OsStr::new("s3://world"), &serde_json::Map::new()).unwrap()
}

pub(super) fn bucket_choice() -> BucketChoice {
    BucketChoice::Named("world".parse::<BucketName>().unwrap())
}

/// A run and, if there is another process, its collections of garbage for as long as it lasts.
async fn beside_a_collection<T>(other: Option<&Engine>, run: impl Future<Output = T>) -> T {
    let collections = async {
        while let Some(other) = other {
            collect::everything(other).await.unwrap();
            tokio::task::yield_now().await;
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        outcome = run => outcome,
        () = collections => unreachable!("it never ends by itself"),
    }
}

impl History {
    pub(super) fn engine(&mut self) -> Engine {
        let engine = self.engine.take().unwrap_or_else(|| self.open());
        self.engine = Some(engine.clone());
        engine
    }

    /// The engine of one more process.
    fn open(&self) -> Engine {
        Engine::open(&self.config, self.clock.clone(), Arc::new(self.source.clone())).unwrap()
    }

    pub(super) fn request(&self, full: bool) -> Request {
        Request {
            location: location(),
            connection: None,
            bucket: bucket_choice(),
            options: self.options.clone(),
            run: RunOptions {
                max_delete: self.max_delete,
                full,
                refetch: full,
                adopt_root: self.listed() == 0,
                ..RunOptions::default()
            },
        }
    }

    pub(super) async fn run(&mut self, full: bool) -> Option<Report> {
        self.did(if full { "full run" } else { "run" });
        let (engine, request) = (self.engine(), self.request(full));
        let (dies_fetching, died) = {
            let world = self.source.world();
            (world.die_after, world.died.clone())
        };
        let other = (self.random.u8(..4) == 0).then(|| self.open());
        if other.is_some() {
            self.did("collection beside a run");
        }
        let Some(moment) = dies_fetching else {
            let run = engine.run(&request, Arc::new(Silent), CancellationToken::new());
            return Some(beside_a_collection(other.as_ref(), run).await);
        };
        // At a fetch, or at something that the run tells.
        let observer: Arc<dyn Observer> = match self.random.bool() {
            true => Arc::new(Silent),
            false => {
                self.source.world().die_after = None;
                Arc::new(Mortal { left: AtomicUsize::new(moment), died: died.clone() })
            }
        };
        let run = engine.run(&request, observer, CancellationToken::new());
        let run = beside_a_collection(other.as_ref(), run);
        // A process that dies takes its run, its threads' results and its lock file with it.
        let outcome = tokio::select! {
            biased;
            () = died.notified() => None,
            report = run => Some(report),
        };
        self.source.world().die_after = None;
        if outcome.is_none() {
            self.did("death");
            // A process takes its writer thread with it too: what that has in hand is done by then.
            engine.store.write(|_| Ok::<_, StoreError>(())).await.unwrap();
            self.engine = None;
        }
        outcome
    }

    /// Runs the stored sync in slices, job by job, to the end of its pass.
    pub(super) async fn run_in_slices(&mut self, full: bool) -> Report {
        let engine = self.engine();
        let (options, now) = (self.options.clone(), self.clock.now());
        let stored = options.clone();
        let mut job = JobId::generate();
        let first = job.clone();
        engine
            .store
            .write(move |tx| {
                let location = location();
                let place = SyncSource::Address(&location);
                let sync = command_line_syncs::ensure(tx, place, &bucket_choice(), &stored, now)?;
                // A new pass, as a run without a checkpoint begins one.
                catchment::store::checkpoints::reset(tx, sync.key)?;
                jobs::queue(tx, sync.key, &first, Cause::Interval, Sweep::of(full, full), now)
                    .map(drop)
            })
            .await
            .unwrap();
        let mut counts = Counts::default();
        loop {
            self.did("slice");
            let report = engine.run_job(&job, Arc::new(Silent), CancellationToken::new()).await;
            assert!(report.error.is_none(), "{:?}", report.error);
            counts.add(&report.counts);
            let Counts { synced, updated, failed, .. } = report.counts;
            let (taken_up, most) = (synced + updated + failed, options.pace.max_objects_per_run);
            assert!(taken_up <= most, "{taken_up} of {most} entries in a slice");
            match report.next.clone() {
                Some(next) => {
                    assert_eq!(report.counts.removed, 0, "nothing is removed before the end");
                    job = next;
                }
                None => return Report { counts, ..report },
            }
        }
    }

    /// Resumes where the last run was cut off: with what that had committed, and not before it. A
    /// full run is resumed as one.
    pub(super) async fn resume(&mut self, full: bool) {
        let store = self.engine().store;
        let checkpoint = store
            .read(|db| {
                let Some(sync_key) = sync_key(db)? else { return Ok(None) };
                catchment::store::checkpoints::load(db, sync_key)
            })
            .await
            .unwrap();
        let Some(checkpoint) = checkpoint else { return };
        if self.random.bool() {
            self.live();
            self.did("edits before a resumed pass");
        }
        if self.random.u8(..8) == 0 {
            self.source.world().files.clear();
        }
        let before = self.bucket().await;
        {
            let mut world = self.source.world();
            (world.break_before_page, world.die_after) = (None, None);
            world.listings.clear();
        }
        let starts_over = self.listed() == 0;
        let report = self.run(false).await.unwrap();
        assert!(report.error.is_none(), "{:?}", report.error);
        self.did("resumed pass");
        if !starts_over {
            self.check_listings(checkpoint);
        }
        self.after_an_unfinished_run(&before).await;
        // It has looked at all of the source, whatever has changed since the pass began.
        if self.found().await.letters.is_empty() && !self.options.skip_duplicates {
            let names: Vec<String> = self.source.world().files.keys().cloned().collect();
            let missing: Vec<&String> = names
                .iter()
                .filter(|name| self.passes(name) && !self.model.contains_key(*name))
                .collect();
            assert!(missing.is_empty(), "{missing:?} were passed by");
            if full && self.options.reconcile.on_update {
                self.did("full run that is resumed");
                let world = self.source.world();
                let unread: Vec<&String> = names
                    .iter()
                    .filter(|name| self.passes(name) && !world.asked_for.contains(*name))
                    .collect();
                assert!(unread.is_empty(), "{unread:?} were not read again");
            }
            if self.options.reconcile.on_update {
                let world = self.source.world();
                for (name, file) in world.files.iter().filter(|(name, _)| self.passes(name)) {
                    assert_eq!(self.model[name].hash, BlobHash::of(&file.content), "{name}");
                }
            }
        }
    }

    pub(super) async fn forget_the_pass(&mut self) {
        let store = self.engine().store;
        store
            .write(|tx| {
                let Some(sync_key) = sync_key(tx)? else { return Ok(()) };
                syncs::set_full_since(tx, sync_key, None)?;
                catchment::store::checkpoints::reset(tx, sync_key)
            })
            .await
            .unwrap();
    }

    pub(super) async fn sync(&mut self) -> Sync {
        let store = self.engine().store;
        store.read(|db| Ok(syncs::all(db)?.remove(0))).await.unwrap()
    }
}
