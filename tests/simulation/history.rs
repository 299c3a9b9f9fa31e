//! What happens in a history: edits of the source, faults, changes of the settings, and the runs
//! and words of people between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use catchment::{
    blobs::INLINE_MAX,
    clock::{Clock as _, ManualClock},
    config::{Config, ServeConfig},
    engine::{Engine, Silent, verify},
    model::{FileFilters, MaxDelete, Reconcile, RunStatus, SyncOptions},
    store::{dead_letters, syncs::HeldRemovals},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Happened,
    bucket::{Found, sync_key},
    model::Taken,
    simulated::Simulated,
};

/// A random history, and the model of the bucket.
pub(super) struct History {
    pub(super) random: fastrand::Rng,
    pub(super) source: Simulated,
    pub(super) config: Config,
    pub(super) options: SyncOptions,
    pub(super) max_delete: Option<MaxDelete>,
    pub(super) engine: Option<Engine>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) model: BTreeMap<String, Taken>,
    /// Names whose removal is held.
    pub(super) held: BTreeSet<String>,
    /// What people wrote to objects, by the ids of these.
    pub(super) written: BTreeMap<String, u64>,
    /// What happened, and how often.
    pub(super) happened: Happened,
    /// Which of [`MAPPINGS`] is set.
    pub(super) mapping: usize,
    /// Which of [`SHARDS`] are listed.
    pub(super) shards: usize,
    pub(super) _dir: tempfile::TempDir,
}

/// The folders that files lie in.
pub(super) const FOLDERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Prefixes that a history lists each by itself; none: everything at once.
pub(super) const SHARDS: [&[&str]; 4] = [
    &[],
    &["a/", "b/", "c/", "d/", "e/", "f/", "g/", "h/"],
    &["a/", "c/", "d/1", "e/", "h/"],
    &["b/", "c/", "d/", "e/", "g/"],
];

/// Mappings that a history changes between, and none.
pub(super) const MAPPINGS: [Option<&str>; 4] = [
    None,
    Some(r#"{"mappings": {"kind": {"source": {"type": "constant", "value": "film"}}}}"#),
    Some(r#"{"mappings": {"folder": {"source": {"type": "folder_path", "segment": 0}}}}"#),
    Some(r#"{"mappings": {"n": {"source": {"type": "filename_regex", "pattern": "^([0-9]+)$"}}}}"#),
];

/// Rounds of a history: edits, a run that may be cut off, and one that goes to its end.
const ROUNDS: usize = 25;

/// A directory in memory, where there is such a thing.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let dir = directory();
        let mut random = fastrand::Rng::with_seed(seed);
        // Each flag of the reconcile settings alone, and all their combinations.
        let flags = seed % 8;
        let options = SyncOptions {
            skip_duplicates: flags == 7 && random.bool(),
            reconcile: Reconcile {
                on_delete: flags & 1 != 0,
                on_update: flags & 2 != 0,
                on_filter_drift: flags & 4 != 0,
                ..Reconcile::default()
            },
            ..SyncOptions::default()
        };
        let config = Config {
            data_dir: dir.path().to_owned(),
            min_free: Some(bytesize::ByteSize(0)),
            quiet_period: Duration::ZERO,
            thumbnail_cache: Config::THUMBNAIL_CACHE,
            processing: None,
            hosts: Arc::default(),
            limits: catchment::config::Limits::default(),
            serve: ServeConfig::default(),
            keyring: false,
            allow_private_urls: false,
            url_timeout: Config::URL_TIMEOUT,
        };
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        Self {
            random,
            source: Simulated::default(),
            config,
            options,
            max_delete: None,
            engine: None,
            clock,
            model: BTreeMap::new(),
            held: BTreeSet::new(),
            written: BTreeMap::new(),
            happened: Happened::new(),
            mapping: 0,
            shards: 0,
            _dir: dir,
        }
    }

    pub(super) fn did(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    pub(super) async fn play(&mut self) {
        for _ in 0..ROUNDS {
            self.live();
            if self.random.u8(..4) == 0 {
                self.change_settings();
            }
            self.plan_faults();
            // However it ends: the next one has to make it good.
            if self.random.bool() {
                let before = self.bucket().await;
                let full = self.random.u8(..4) == 0;
                self.source.world().asked_for.clear();
                let outcome = self.run(full).await;
                if outcome.is_some_and(|report| report.error.is_some()) {
                    self.did("listing that breaks");
                }
                self.after_an_unfinished_run(&before).await;
                if self.random.bool() {
                    self.resume(full).await;
                }
                // The next one begins anew, so that it sees the whole source.
                self.forget_the_pass().await;
            }
            self.mend();
            self.let_time_pass();
            match self.random.u8(..6) {
                0 | 1 => self.write_to_an_object().await,
                2 => self.set_the_trash().await,
                3 => self.stop_skipping_duplicates().await,
                _ => {}
            }
            let held = self.complete_run().await;
            self.answer(held).await;
        }
        self.in_the_end().await;
    }

    /// Edits of the source, between two runs.
    pub(super) fn live(&mut self) {
        for _ in 0..self.random.usize(..6) {
            let folder = self.random.choice(FOLDERS).unwrap();
            let name = format!("{folder}/{}", self.random.u8(..12));
            // Now and then too large for the database, so that there are files to collect.
            let length = match self.random.u8(..24) {
                0 => INLINE_MAX as usize + 1,
                _ => self.random.usize(..5),
            };
            let content = vec![self.random.u8(..8); length];
            let mut world = self.source.world();
            let names: Vec<String> = world.files.keys().cloned().collect();
            let victim = self.random.choice(names);
            let what = match (self.random.u8(..9), victim) {
                (0..4, _) | (_, None) => {
                    world.put(&name, content);
                    "add or edit"
                }
                (4 | 5, Some(victim)) => {
                    world.files.remove(&victim);
                    "removal at the source"
                }
                (6 | 7, Some(victim)) => {
                    world.rename(&victim, &name);
                    "rename at the source"
                }
                (_, Some(victim)) => {
                    let content = world.files[&victim].content.clone();
                    world.put(&victim, content);
                    "rewrite"
                }
            };
            drop(world);
            self.did(what);
        }
    }

    pub(super) fn plan_faults(&mut self) {
        let broken = self.random.choice(SHARDS[self.shards]).map(|prefix| (*prefix).to_owned());
        let mut world = self.source.world();
        if self.random.u8(..4) == 0 {
            world.heal();
        }
        world.break_only = broken;
        world.break_before_page = self.random.bool().then(|| self.random.usize(..4));
        world.die_after = self.random.bool().then(|| self.random.usize(1..8));
    }

    pub(super) fn mend(&mut self) {
        let mut world = self.source.world();
        world.break_before_page = None;
        world.die_after = None;
        world.backwards = self.random.u8(..4) == 0;
        // Some entries fail for longer.
        let names: Vec<String> = world.files.keys().cloned().collect();
        for name in names {
            match self.random.u8(..10) {
                0 => drop(world.refused.insert(name)),
                1 => drop(world.ghosts.insert(name)),
                2 | 3 => {
                    world.refused.remove(&name);
                    world.ghosts.remove(&name);
                }
                _ => {}
            }
        }
    }

    pub(super) fn change_settings(&mut self) {
        let exclude = match self.random.u8(..4) {
            0 => vec!["a*/**".to_owned(), "1*".to_owned()],
            1 => vec!["*7".to_owned()],
            _ => Vec::new(),
        };
        if self.options.filters.exclude_patterns != exclude {
            self.did("filter edit");
        }
        self.options.filters = FileFilters { exclude_patterns: exclude, ..FileFilters::default() };
        let shards = self.random.usize(..SHARDS.len());
        if self.shards != shards {
            self.did("shards edit");
        }
        self.shards = shards;
        let prefixes = SHARDS[shards];
        let of_provider = serde_json::json!({ "prefix": prefixes });
        self.options.provider_filters = of_provider.as_object().unwrap().clone();
        self.options.provider_filters.retain(|_, _| !prefixes.is_empty());
        let mapping = self.random.usize(..MAPPINGS.len());
        if self.mapping != mapping {
            self.did("mapping edit");
        }
        self.mapping = mapping;
        self.options.mapping = MAPPINGS[mapping].map(|text| serde_json::from_str(text).unwrap());
        // Commits come often, so that deaths find some done; now and then one has all there is.
        let often = *self.random.choice(&[1, 2, 3, 4, 6, 12, 40]).unwrap();
        self.options.pace.resume_checkpoint_frequency = often;
        self.max_delete = match self.random.u8(..3) {
            0 => Some(MaxDelete::Count(self.random.u64(..4))),
            _ => Some(MaxDelete::Percent(100.0)),
        };
        self.options.max_delete = self.max_delete;
        self.options.pace.max_objects_per_run = self.random.u64(1..8);
    }

    pub(super) fn let_time_pass(&mut self) {
        let minutes = *self.random.choice(&[1, 1, 1, 6, 40, 1500]).unwrap();
        self.clock.set(self.clock.now() + Duration::from_secs(minutes * 60));
    }

    /// Somebody looks at the held removals.
    pub(super) async fn answer(&mut self, held: Option<HeldRemovals>) {
        let Some(held) = held else { return };
        if self.options.skip_duplicates || self.listed() == 0 {
            return;
        }
        assert_eq!(held.count, self.held.len() as u64, "{:?}", held.sample);
        let (engine, sync) = (self.engine(), self.sync().await);
        match self.random.u8(..3) {
            0 => {
                self.did("rejected removals");
                let kept = engine.reject_removals(&sync).await.unwrap();
                assert_eq!(kept, self.held.len() as u64);
                for name in std::mem::take(&mut self.held) {
                    self.model.get_mut(&name).unwrap().released = true;
                }
                let report = self.run(false).await.unwrap();
                assert_eq!((report.held, report.counts.removed), (None, 0), "it asks no more");
            }
            1 => {
                self.did("approved removals");
                // One of them comes back before the word is carried out.
                let back = self.random.bool().then(|| self.held.iter().next().unwrap().clone());
                let back = back.filter(|name| {
                    self.passes(name) && !self.source.world().files.contains_key(name)
                });
                if let Some(name) = &back {
                    self.source.world().refused.remove(name);
                    self.source.world().ghosts.remove(name);
                    self.source.world().put(name, "back again");
                }
                let report = engine
                    .approve_removals(&sync, Arc::new(Silent), CancellationToken::new())
                    .await
                    .unwrap();
                assert!(report.error.is_none(), "{:?}", report.error);
                let mut next = report.next;
                while let Some(job) = next {
                    next =
                        engine.run_job(&job, Arc::new(Silent), CancellationToken::new()).await.next;
                }
                let Found { bucket: after, held, .. } = self.found().await;
                for name in std::mem::take(&mut self.held) {
                    assert_eq!(after.contains_key(&name), Some(&name) == back.as_ref(), "{name}");
                    self.model.remove(&name);
                }
                assert!(held.is_none());
                self.take_as_it_is().await;
            }
            _ => {}
        }
    }

    /// Once nothing is wrong any more, a run leaves nothing for the next one to do.
    pub(super) async fn in_the_end(&mut self) {
        self.source.world().heal();
        self.approve_what_waits().await;
        self.max_delete = Some(MaxDelete::Percent(100.0));
        self.clock.set(self.clock.now() + Duration::from_secs(60 * 60 * 25));
        self.give_another_chance().await;
        let report = self.run(false).await.unwrap();
        assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
        // An object that went over to an equal entry has what follows from that one's name after
        // the next pass.
        self.run(false).await.unwrap();
        let again = self.run(false).await.unwrap();
        assert_eq!(again.counts.unchanged + again.counts.filtered, again.counts.discovered());
        assert_eq!((again.counts.bytes, again.counts.removed), (0, 0), "nothing is left to do");
        assert!(self.found().await.letters.is_empty());
        self.check_bytes().await;
    }

    /// Every blob has the bytes that its hash names: no collection has taken one that is in use.
    async fn check_bytes(&mut self) {
        let engine = self.engine();
        let verified = verify::verify(&engine, None, false, Arc::default()).await.unwrap();
        assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
    }

    /// Approves what is still held: nothing else ends the waiting.
    pub(super) async fn approve_what_waits(&mut self) {
        while self.found().await.held.is_some() {
            let (engine, sync) = (self.engine(), self.sync().await);
            let (observer, stop) = (Arc::new(Silent), CancellationToken::new());
            let mut report = engine.approve_removals(&sync, observer, stop).await.unwrap();
            while let Some(job) = report.next {
                report = engine.run_job(&job, Arc::new(Silent), CancellationToken::new()).await;
            }
            assert!(report.error.is_none(), "{:?}", report.error);
        }
    }

    pub(super) async fn give_another_chance(&mut self) {
        let (store, now) = (self.engine().store, self.clock.now());
        store
            .write(move |tx| {
                let Some(sync_key) = sync_key(tx)? else { return Ok(()) };
                dead_letters::requeue(tx, sync_key, &[], &[], now).map(drop)
            })
            .await
            .unwrap();
    }
}
