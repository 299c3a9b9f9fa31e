//! The engine against a model: random histories of a simulated source, listed as one or in shards,
//! with edits, renames, removals, faults, deaths, slices, changes of settings and of shards, held removals and entries that keep
//! failing, and of mappings. After each completed run the bucket holds what the model says, object for object;
//! after each other one, nothing that neither was there before nor is at the source. A failing
//! history prints its seed; `SIMULATION_SEED=N` runs it alone, `SIMULATION_HISTORIES=N` so many.
//!
//! Histories lie in memory where the system has a place for files there, and a death is heard of,
//! not waited for: what remains is the engine's own work, some milliseconds a run in a build for
//! tests. What can be decided without it is tried far more often in [`rules`].

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rules;
#[path = "../support/simulated.rs"]
mod simulated;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use catchment::{
    clock::{Clock as _, ManualClock},
    config::{Config, ServeConfig},
    engine::{Engine, Observer, Report, Request, RunOptions, Silent},
    model::{
        BlobHash, BucketName, Cause, Counts, EntryPath, FileFilters, JobId, Life, Location,
        MaxDelete, Phase, Reconcile, RunStatus, S3Connection, Shard, SyncOptions,
    },
    store::{
        buckets,
        checkpoints::{Checkpoint, Place},
        dead_letters, jobs,
        objects::{self, After},
        syncs::{self, BucketChoice, Sync},
    },
};
use simulated::{File, Simulated};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An object as a reader of the bucket sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: String,
    hash: BlobHash,
    fields: serde_json::Value,
}

/// What the model knows of an object's entry: the file as it was taken, where that is certain.
#[derive(Clone, Debug)]
struct Taken {
    hash: BlobHash,
    file: Option<File>,
    /// What the mapping has made of it, where that is certain.
    fields: Option<serde_json::Value>,
    /// It was gone, and somebody said to keep it.
    released: bool,
}

/// A random history, and the model of the bucket.
struct History {
    random: fastrand::Rng,
    source: Simulated,
    config: Config,
    options: SyncOptions,
    max_delete: Option<MaxDelete>,
    engine: Option<Engine>,
    clock: Arc<ManualClock>,
    model: BTreeMap<String, Taken>,
    /// Names whose removal is held.
    held: BTreeSet<String>,
    /// What happened, and how often.
    happened: Happened,
    /// Which of [`MAPPINGS`] is set.
    mapping: usize,
    /// Which of [`SHARDS`] are listed.
    shards: usize,
    _dir: tempfile::TempDir,
}

/// How often each kind of step was taken.
type Happened = BTreeMap<&'static str, usize>;

/// What has to happen somewhere in all histories, or they prove nothing about it.
const KINDS: [&str; 20] = [
    "add or edit",
    "removal at the source",
    "rename at the source",
    "rewrite",
    "filter edit",
    "mapping edit",
    "run",
    "full run",
    "slice",
    "listing that breaks",
    "entry that fails",
    "entry that waits",
    "death",
    "resumed pass",
    "shards edit",
    "shard that was complete",
    "rename that is followed",
    "held removals",
    "rejected removals",
    "approved removals",
];

/// The folders that files lie in.
const FOLDERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Prefixes that a history lists each by itself; none: everything at once.
const SHARDS: [&[&str]; 4] = [
    &[],
    &["a/", "b/", "c/", "d/", "e/", "f/", "g/", "h/"],
    &["a/", "c/", "d/1", "e/", "h/"],
    &["b/", "c/", "d/", "e/", "g/"],
];

/// Mappings that a history changes between, and none.
const MAPPINGS: [Option<&str>; 4] = [
    None,
    Some(r#"{"mappings": {"kind": {"source": {"type": "constant", "value": "film"}}}}"#),
    Some(r#"{"mappings": {"folder": {"source": {"type": "folder_path", "segment": 0}}}}"#),
    Some(r#"{"mappings": {"n": {"source": {"type": "filename_regex", "pattern": "^(\\d+)$"}}}}"#),
];

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

/// A directory in memory, where there is such a thing.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn location() -> Location {
    Location::parse(OsStr::new("s3://world"), &S3Connection::default()).unwrap()
}

fn bucket_choice() -> BucketChoice {
    BucketChoice::Named("world".parse::<BucketName>().unwrap())
}

impl History {
    fn new(seed: u64) -> Self {
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
            serve: ServeConfig::default(),
            keyring: false,
            allow_private_urls: false,
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
            happened: Happened::new(),
            mapping: 0,
            shards: 0,
            _dir: dir,
        }
    }

    fn did(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// What the mapping makes of an entry of that name.
    fn mapped(&self, name: &str) -> serde_json::Value {
        let (folder, file_name) = name.rsplit_once('/').unwrap();
        match self.mapping {
            0 => serde_json::Value::Null,
            1 => serde_json::json!({"kind": "film"}),
            2 => serde_json::json!({"folder": folder}),
            _ => serde_json::json!({"n": file_name}),
        }
    }

    /// Edits of the source, between two runs.
    fn live(&mut self) {
        for _ in 0..self.random.usize(..6) {
            let folder = self.random.choice(FOLDERS).unwrap();
            let name = format!("{folder}/{}", self.random.u8(..12));
            let content = vec![self.random.u8(..8); self.random.usize(..5)];
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

    fn plan_faults(&mut self) {
        let broken = self.random.choice(SHARDS[self.shards]).map(|prefix| (*prefix).to_owned());
        let mut world = self.source.world();
        if self.random.u8(..4) == 0 {
            world.refused.clear();
        }
        world.break_only = broken;
        world.break_before_page = self.random.bool().then(|| self.random.usize(..4));
        world.die_after = self.random.bool().then(|| self.random.usize(1..8));
    }

    fn mend(&mut self) {
        let mut world = self.source.world();
        world.break_before_page = None;
        world.die_after = None;
        world.backwards = self.random.u8(..4) == 0;
        // Some entries fail for longer.
        let names: Vec<String> = world.files.keys().cloned().collect();
        for name in names {
            if self.random.u8(..5) == 0 {
                world.refused.insert(name);
            } else if self.random.u8(..4) == 0 {
                world.refused.remove(&name);
            }
        }
    }

    fn change_settings(&mut self) {
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
        // Commits come often, so that deaths find some done.
        self.options.pace.resume_checkpoint_frequency = self.random.u32(1..8);
        self.max_delete = match self.random.u8(..3) {
            0 => Some(MaxDelete::Count(self.random.u64(..4))),
            _ => Some(MaxDelete::Percent(100.0)),
        };
        self.options.max_delete = self.max_delete;
        self.options.pace.max_objects_per_run = self.random.u64(1..8);
    }

    fn let_time_pass(&mut self) {
        let minutes = *self.random.choice(&[1, 1, 1, 6, 40, 1500]).unwrap();
        self.clock.set(self.clock.now() + Duration::from_secs(minutes * 60));
    }

    fn engine(&mut self) -> Engine {
        self.engine
            .get_or_insert_with(|| {
                Engine::open(&self.config, self.clock.clone(), Arc::new(self.source.clone()))
                    .unwrap()
            })
            .clone()
    }

    fn request(&self, full: bool) -> Request {
        Request {
            location: location(),
            bucket: bucket_choice(),
            options: self.options.clone(),
            run: RunOptions {
                max_delete: self.max_delete,
                full,
                adopt_root: self.listed() == 0,
                ..RunOptions::default()
            },
        }
    }

    async fn run(&mut self, full: bool) -> Option<Report> {
        self.did(if full { "full run" } else { "run" });
        let (engine, request) = (self.engine(), self.request(full));
        let (dies_fetching, died) = {
            let world = self.source.world();
            (world.die_after, world.died.clone())
        };
        let Some(moment) = dies_fetching else {
            return Some(engine.run(&request, Arc::new(Silent), CancellationToken::new()).await);
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
        // A process that dies takes its run, its threads' results and its lock file with it.
        let outcome = tokio::select! {
            biased;
            () = died.notified() => None,
            report = run => Some(report),
        };
        drop(engine);
        self.engine = None;
        self.source.world().die_after = None;
        if outcome.is_none() {
            self.did("death");
        }
        outcome
    }

    /// Runs the stored sync in slices, job by job, to the end of its pass.
    async fn run_in_slices(&mut self, full: bool) -> Report {
        let engine = self.engine();
        let (options, now) = (self.options.clone(), self.clock.now());
        let mut job = JobId::generate();
        let first = job.clone();
        engine
            .store
            .write(move |tx| {
                let sync = syncs::ensure(tx, &location(), &bucket_choice(), &options, now)?;
                // A new pass, as a run without a checkpoint begins one.
                catchment::store::checkpoints::forget(tx, sync.key)?;
                jobs::queue(tx, sync.key, &first, Cause::Scheduled, full, now).map(drop)
            })
            .await
            .unwrap();
        let mut counts = Counts::default();
        loop {
            self.did("slice");
            let report = engine.run_job(&job, Arc::new(Silent), CancellationToken::new()).await;
            assert!(report.error.is_none(), "{:?}", report.error);
            counts.add(&report.counts);
            match report.next.clone() {
                Some(next) => {
                    assert_eq!(report.counts.removed, 0, "nothing is removed before the end");
                    job = next;
                }
                None => return Report { counts, ..report },
            }
        }
    }

    async fn sync(&mut self) -> Sync {
        let store = self.engine().store;
        store.read(|db| Ok(syncs::all(db)?.remove(0))).await.unwrap()
    }

    /// What the bucket has; and every count agrees with every other.
    async fn bucket(&mut self) -> BTreeMap<String, Seen> {
        let store = self.engine().store;
        let (bucket, page, sync, jobs) = store
            .read(|db| {
                let bucket = buckets::by_name(db, "world")?;
                let Some(bucket) = bucket else { return Ok((None, Vec::new(), None, Vec::new())) };
                let page = objects::page(db, bucket.key, b"", &After::default(), 10_000)?;
                let sync = syncs::all(db)?.remove(0);
                let jobs = jobs::latest(db, sync.key, 10_000)?;
                Ok((Some(bucket), page, Some(sync), jobs))
            })
            .await
            .unwrap();
        let Some((bucket, sync)) = bucket.zip(sync) else { return BTreeMap::new() };
        assert_eq!(bucket.object_count, page.len() as u64, "the bucket's own count");
        assert_eq!(bucket.object_bytes, page.iter().map(|object| object.size).sum::<u64>());
        let mut sum = Counts::default();
        jobs.iter().for_each(|job| sum.add(&job.counts));
        assert_eq!(sync.totals.counts, sum, "the totals are the sum over the jobs");
        let seen: BTreeMap<String, Seen> = page
            .iter()
            .map(|object| {
                let fields = object.fields.as_deref().map(serde_json::from_str);
                let fields = fields.transpose().unwrap().unwrap_or_default();
                let seen = Seen { id: object.id.to_string(), hash: object.hash, fields };
                (object.path.to_json_text(), seen)
            })
            .collect();
        assert_eq!(seen.len(), page.len(), "one object a path");
        seen
    }

    /// The open dead letters, by path.
    async fn letters(&mut self) -> BTreeMap<String, Life> {
        let store = self.engine().store;
        let letters = store
            .read(|db| {
                let Some(sync) = syncs::all(db)?.pop() else { return Ok(Vec::new()) };
                dead_letters::open(db, sync.key, 10_000)
            })
            .await
            .unwrap();
        letters.into_iter().map(|letter| (letter.path.to_json_text(), letter.life)).collect()
    }

    /// Whether the listing would show an entry of that name.
    fn covers(&self, name: &str) -> bool {
        let prefixes = SHARDS[self.shards];
        prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// How many entries the listing shows.
    fn listed(&self) -> usize {
        self.source.world().files.keys().filter(|name| self.covers(name)).count()
    }

    fn passes(&self, name: &str) -> bool {
        if !self.covers(name) {
            return false;
        }
        let file_name = name.rsplit('/').next().unwrap();
        match self.options.filters.exclude_patterns.first().map(String::as_str) {
            Some("*7") => !file_name.ends_with('7'),
            Some(_) => !name.starts_with('a') && !file_name.starts_with('1'),
            None => true,
        }
    }

    /// After a run that did not come to its end: what is there was there, or is at the source; what
    /// is not, is on its way out there too. Then the model takes it as it is.
    async fn after_an_unfinished_run(&mut self, before: &BTreeMap<String, Seen>) {
        let after = self.bucket().await;
        if self.options.skip_duplicates {
            return;
        }
        let world = self.source.world().files.clone();
        for (name, seen) in &after {
            let at_source = world.get(name).map(|file| BlobHash::of(&file.content));
            let was = before.get(name).map(|seen| seen.hash);
            assert!([at_source, was].contains(&Some(seen.hash)), "{name} came from nowhere");
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            let gone = self.covers(name) && !world.contains_key(name);
            let may_go = if gone { self.options.reconcile.on_delete } else { !self.passes(name) };
            assert!(may_go, "{name} went without a reason");
        }
        let old = std::mem::take(&mut self.model);
        for (name, seen) in after {
            let released = old.get(&name).is_some_and(|taken| taken.released);
            let taken = Taken { hash: seen.hash, file: None, fields: None, released };
            self.model.insert(name, taken);
        }
    }

    /// What a complete run has to come to. `letters` are those of before.
    fn expect(&mut self, letters: &BTreeMap<String, Life>, full: bool) -> Expected {
        let mut expected = Expected::default();
        let names: Vec<String> = self.source.world().files.keys().cloned().collect();
        let passing: BTreeSet<String> =
            names.into_iter().filter(|name| self.passes(name)).collect();
        let world = self.source.world();
        let now = self.clock.now();
        let flags = &self.options.reconcile;
        let fields: BTreeMap<&String, serde_json::Value> =
            passing.iter().map(|name| (name, self.mapped(name))).collect();
        for (name, file) in world.files.iter().filter(|(name, _)| passing.contains(*name)) {
            let known = self.model.get_mut(name);
            let wants = match &known {
                None => true,
                Some(taken) if full => taken.file.as_ref() == Some(file) || flags.on_update,
                Some(taken) => taken.file.as_ref() != Some(file) && flags.on_update,
            };
            let is_certain = known.as_ref().is_none_or(|taken| taken.file.is_some());
            if let Some(taken) = known {
                taken.released = false;
                // Decided anew from what is kept, where it is what was taken.
                let is_same = taken.file.as_ref().map(|taken| taken == file);
                match (is_same, full && wants) {
                    (Some(true), false) => taken.fields = Some(fields[name].clone()),
                    (None, _) => taken.fields = None,
                    (Some(_), _) => {}
                }
            }
            if !wants {
                continue;
            }
            let same_version = world.refusals.get(name) == Some(&file.version);
            let waits =
                same_version && letters.get(name).is_some_and(|life| !life.is_due(now, full));
            match (waits, world.refused.contains(name)) {
                (true, _) => expected.waiting.extend(is_certain.then(|| name.clone())),
                (false, true) => expected.failing.extend(is_certain.then(|| name.clone())),
                (false, false) => {
                    let hash = BlobHash::of(&file.content);
                    let fields = Some(fields[name].clone());
                    let taken = Taken { hash, file: Some(file.clone()), fields, released: false };
                    self.model.insert(name.clone(), taken);
                }
            }
        }
        for (name, taken) in &self.model {
            // Of what is not listed nothing is known but that.
            let wanted = match world.files.contains_key(name) || !self.covers(name) {
                true => flags.on_filter_drift,
                false => flags.on_delete,
            };
            if !passing.contains(name) && wanted && !taken.released {
                expected.gone.insert(name.clone());
            }
        }
        expected
    }

    /// A run without faults of its own: its outcome is what the model says.
    async fn complete_run(&mut self) {
        let full = self.random.u8(..6) == 0;
        let in_slices = self.random.u8(..3) == 0 && self.listed() > 0;
        let (before, letters) = (self.bucket().await, self.letters().await);
        let old = self.model.clone();
        let listed = self.listed() as u64;
        if in_slices || old.values().any(|taken| taken.file.is_none()) {
            // Whether a new name is a renamed one, and needs no fetch, the model cannot tell.
            self.source.world().refused.clear();
        }
        if self.options.skip_duplicates {
            let report = self.run(full).await.unwrap();
            assert!(report.error.is_none(), "{:?}", report.error);
            return self.check_contents(&report).await;
        }
        let mut expected = self.expect(&letters, full);
        // What an interrupted pass left behind it has its second chance in this one.
        self.source.world().asked_for.clear();
        let report =
            if in_slices { self.run_in_slices(full).await } else { self.run(full).await.unwrap() };
        assert!(report.error.is_none(), "{:?}", report.error);
        let after = self.bucket().await;
        let renamed = if in_slices { BTreeMap::new() } else { self.renamed(&old, &letters, full) };
        for (new, gone) in &renamed {
            assert_eq!(after[new].id, before[gone].id, "{gone} became {new}, and stays what it is");
            assert!(!self.source.world().asked_for.contains(new), "{new} was not fetched");
            expected.failing.remove(new);
        }
        let unmoved: BTreeSet<String> = expected
            .gone
            .iter()
            .filter(|name| !renamed.values().any(|gone| gone == *name))
            .cloned()
            .collect();
        self.settle_removals(&report, &unmoved, &renamed, &after);
        let found: BTreeMap<&String, &BlobHash> =
            after.iter().map(|(name, seen)| (name, &seen.hash)).collect();
        let wanted: BTreeMap<&String, &BlobHash> =
            self.model.iter().map(|(name, taken)| (name, &taken.hash)).collect();
        assert_eq!(found, wanted, "the bucket is what the model says");
        for (name, taken) in &self.model {
            if let Some(fields) = &taken.fields {
                assert_eq!(&after[name].fields, fields, "{name} has the fields of its mapping");
            }
        }
        for (name, seen) in before.iter().filter(|(name, _)| old.contains_key(*name)) {
            let stays = after.get(name).is_none_or(|now| now.id == seen.id);
            assert!(stays, "{name} is the object that it was");
        }
        if !in_slices {
            assert_eq!(report.counts.discovered(), listed, "each entry is counted once");
        }
        self.check_letters(&letters, &expected).await;
    }

    /// New names by the old ones that they take the place of, as far as the model is certain.
    fn renamed(
        &self,
        old: &BTreeMap<String, Taken>,
        letters: &BTreeMap<String, Life>,
        full: bool,
    ) -> BTreeMap<String, String> {
        let world = self.source.world();
        let flags = &self.options.reconcile;
        if full
            || !flags.on_delete
            || !flags.on_update
            || old.values().any(|taken| taken.file.is_none())
        {
            return BTreeMap::new();
        }
        let mut renamed = BTreeMap::new();
        for (name, file) in &world.files {
            let is_new =
                !old.contains_key(name) && self.passes(name) && !letters.contains_key(name);
            let twins: Vec<&String> = old
                .iter()
                .filter(|(_, taken)| taken.file.as_ref().is_some_and(|was| was.stamp == file.stamp))
                .map(|(name, _)| name)
                .collect();
            if let ([twin], true) = (twins.as_slice(), is_new)
                && !world.files.contains_key(*twin)
                && !old[*twin].released
                && self.covers(twin)
            {
                renamed.insert(name.clone(), (*twin).clone());
            }
        }
        renamed
    }

    fn settle_removals(
        &mut self,
        report: &Report,
        gone: &BTreeSet<String>,
        renamed: &BTreeMap<String, String>,
        after: &BTreeMap<String, Seen>,
    ) {
        for (new, gone) in renamed {
            self.model.remove(gone);
            let file = self.source.world().files[new].clone();
            let hash = BlobHash::of(&file.content);
            let fields = Some(self.mapped(new));
            let taken = Taken { hash, file: Some(file), fields, released: false };
            self.model.insert(new.clone(), taken);
            self.did("rename that is followed");
        }
        // In slices, or where the model is not certain, what looks gone may have been renamed.
        let count = gone.len() as u64;
        let of = self.model.len() as u64;
        if report.status == RunStatus::Held {
            assert!(count > 0 && report.counts.removed == 0);
            self.did("held removals");
            self.held = gone.iter().filter(|name| after.contains_key(*name)).cloned().collect();
            self.model.retain(|name, _| !gone.contains(name) || after.contains_key(name));
            return;
        }
        assert!(
            !MaxDelete::holds(self.max_delete, report.counts.removed, of),
            "no more is removed than the guard lets through"
        );
        self.held.clear();
        for name in gone {
            assert!(!after.contains_key(name), "{name} is gone from the source");
            self.model.remove(name);
        }
    }

    async fn check_letters(&mut self, before: &BTreeMap<String, Life>, expected: &Expected) {
        let letters = self.letters().await;
        let now = self.clock.now();
        expected.waiting.iter().for_each(|_| self.did("entry that waits"));
        expected.failing.iter().for_each(|_| self.did("entry that fails"));
        for name in &expected.waiting {
            assert_eq!(letters.get(name), before.get(name), "{name} was let wait");
            assert!(!self.source.world().asked_for.contains(name), "{name} was not asked for");
        }
        for name in &expected.failing {
            let life = letters.get(name).expect("what fails has a dead letter");
            let again = before.get(name).map(|life| life.failed_again(now));
            assert!(*life == Life::begun(now) || Some(life) == again.as_ref(), "{name}: {life:?}");
        }
    }

    /// Somebody looks at the held removals.
    async fn answer(&mut self) {
        let sync = self.sync().await;
        let engine = self.engine();
        let Some(held) = &sync.held_removals else { return };
        if self.options.skip_duplicates || self.listed() == 0 {
            return;
        }
        assert_eq!(held.count, self.held.len() as u64, "{:?}", held.sample);
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
                let after = self.bucket().await;
                for name in std::mem::take(&mut self.held) {
                    assert_eq!(after.contains_key(&name), Some(&name) == back.as_ref(), "{name}");
                    self.model.remove(&name);
                }
                assert!(self.sync().await.held_removals.is_none());
                self.take_as_it_is().await;
            }
            _ => {}
        }
    }

    async fn take_as_it_is(&mut self) {
        let before = self.bucket().await;
        self.after_an_unfinished_run(&before).await;
    }

    /// With `skip_duplicates` which of several equal entries has the object is not modelled: the
    /// contents are, as far as nothing is held or fails.
    async fn check_contents(&mut self, report: &Report) {
        let found = self.bucket().await;
        let world = self.source.world();
        let files = world.files.iter().filter(|(name, _)| self.passes(name));
        let expected: BTreeMap<&String, BlobHash> =
            files.map(|(name, file)| (name, BlobHash::of(&file.content))).collect();
        if report.status != RunStatus::Completed {
            return;
        }
        let of_bucket: BTreeSet<String> =
            found.values().map(|seen| seen.hash.to_string()).collect();
        let of_source: BTreeSet<String> = expected.values().map(ToString::to_string).collect();
        assert!(of_source.is_subset(&of_bucket), "every content is there");
        for (name, seen) in &found {
            let stands = expected.get(name) == Some(&seen.hash);
            assert!(stands, "{name} stands for a file that has these bytes");
        }
    }

    async fn play(&mut self) {
        for _ in 0..ROUNDS {
            self.live();
            if self.random.u8(..4) == 0 {
                self.change_settings();
            }
            let before = self.bucket().await;
            self.plan_faults();
            // However it ends: the next one has to make it good.
            if self.random.bool() {
                let outcome = self.run(false).await;
                if outcome.is_some_and(|report| report.error.is_some()) {
                    self.did("listing that breaks");
                }
                self.after_an_unfinished_run(&before).await;
                if self.random.bool() {
                    self.resume().await;
                }
                // The next one begins anew, so that it sees the whole source.
                self.forget_the_pass().await;
            }
            self.mend();
            self.let_time_pass();
            self.complete_run().await;
            self.answer().await;
        }
        self.in_the_end().await;
    }

    /// Goes on where the last run was cut off: with what that had committed, and not before it.
    async fn resume(&mut self) {
        let store = self.engine().store;
        let checkpoint = store
            .read(|db| {
                let Some(sync) = syncs::all(db)?.pop() else { return Ok(None) };
                catchment::store::checkpoints::load(db, sync.key)
            })
            .await
            .unwrap();
        let Some(checkpoint) = checkpoint else { return };
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
        // Nothing has changed since the pass began, so it has left nothing out.
        if self.letters().await.is_empty() && !self.options.skip_duplicates {
            let names: Vec<String> = self.source.world().files.keys().cloned().collect();
            let missing: Vec<&String> = names
                .iter()
                .filter(|name| self.passes(name) && !self.model.contains_key(*name))
                .collect();
            assert!(missing.is_empty(), "{missing:?} were passed by");
        }
    }

    /// Each shard was listed from where it had come to, and one that was complete not at all.
    fn check_listings(&mut self, checkpoint: Checkpoint) {
        let listings: BTreeMap<String, Option<String>> =
            std::mem::take(&mut self.source.world().listings).into_iter().collect();
        for reached in checkpoint.shards {
            let prefix = match reached.shard.as_str() {
                Shard::WHOLE => "",
                prefix => prefix,
            };
            let from = listings.get(prefix);
            match reached.place {
                Place::End => {
                    assert_eq!(from, None, "{prefix} was complete");
                    self.did("shard that was complete");
                }
                Place::Behind(cursor) => {
                    let behind = String::from_utf8(cursor.0).unwrap();
                    assert_eq!(from, Some(&Some(behind)), "{prefix} goes on");
                }
                Place::Beginning => assert_eq!(from, Some(&None), "{prefix} begins"),
            }
        }
    }

    async fn forget_the_pass(&mut self) {
        let store = self.engine().store;
        store
            .write(|tx| {
                let Some(sync) = syncs::all(tx)?.pop() else { return Ok(()) };
                catchment::store::checkpoints::forget(tx, sync.key)
            })
            .await
            .unwrap();
    }

    /// Once nothing is wrong any more, a run leaves nothing for the next one to do.
    async fn in_the_end(&mut self) {
        self.source.world().refused.clear();
        self.max_delete = Some(MaxDelete::Percent(100.0));
        self.clock.set(self.clock.now() + Duration::from_secs(60 * 60 * 25));
        self.give_another_chance().await;
        let report = self.run(false).await.unwrap();
        assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
        let again = self.run(false).await.unwrap();
        assert_eq!(again.counts.unchanged + again.counts.filtered, again.counts.discovered());
        assert_eq!((again.counts.bytes, again.counts.removed), (0, 0), "nothing is left to do");
        assert!(self.letters().await.is_empty());
    }

    async fn give_another_chance(&mut self) {
        let (store, now) = (self.engine().store, self.clock.now());
        store
            .write(move |tx| {
                let sync = syncs::all(tx)?.remove(0);
                dead_letters::requeue(tx, sync.key, &[], &[], now)
            })
            .await
            .unwrap();
    }
}

/// What the model expects of a complete run.
#[derive(Debug, Default)]
struct Expected {
    /// Not tried, since they failed before.
    waiting: BTreeSet<String>,
    /// Tried, in vain.
    failing: BTreeSet<String>,
    /// Not there any more, or no longer passing, and to be removed for that.
    gone: BTreeSet<String>,
}

/// Rounds of a history: edits, a run that may be cut off, and one that goes to its end.
const ROUNDS: usize = 25;

/// Histories that are played when nobody says otherwise.
const HISTORIES: u64 = 40;

/// Names the history whose assertion fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIMULATION_SEED={} fails", self.0);
        }
    }
}

/// Plays a history to its end, on one thread, as far as the engine has it so.
fn play(seed: u64) -> Happened {
    let _named = Named(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut history = History::new(seed);
    runtime.block_on(history.play());
    history.happened
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}

#[test]
fn after_any_history_of_edits_faults_and_deaths_the_bucket_is_what_the_model_says() {
    let one = number("SIMULATION_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_HISTORIES").unwrap_or(HISTORIES),
    };
    println!("histories {seeds:?}");
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let happened = std::thread::scope(|scope| {
        let work = || {
            let mut happened = Happened::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return happened;
                }
                for (what, times) in play(seed) {
                    *happened.entry(what).or_default() += times;
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Happened::new();
        for worker in workers {
            for (what, times) in worker.join().expect("each history holds") {
                *all.entry(what).or_default() += times;
            }
        }
        all
    });
    let steps: usize = happened.values().sum();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{steps} steps in {seconds:.1} s, {:.0} a second: {happened:?}",
        steps as f64 / seconds
    );
    let missing: Vec<_> = KINDS.iter().filter(|what| !happened.contains_key(*what)).collect();
    assert!(one.is_some() || missing.is_empty(), "it never came to {missing:?}");
}
