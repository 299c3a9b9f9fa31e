//! The engine against a model: random histories of a simulated source, with edits, renames,
//! removals, faults, deaths and changes of settings, and after each completed run the bucket holds
//! what the model says. A failing history prints its seed; `SIMULATION_SEED=N` runs it alone.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use catchment::{
    clock::ManualClock,
    config::{Config, ServeConfig, SourceTuning},
    engine::{Engine, Report, Request, RunOptions, Silent},
    model::{
        BlobHash, BucketName, Credentials, Cursor, Entry, EntryId, EntryKind, EntryPath,
        FileFilters, Fingerprint, Location, MaxDelete, RunStatus, S3Connection, SyncOptions,
        Version,
    },
    sources::{Body, ByteRange, Content, Facts, Opener, Page, RootIdentity, Source, SourceError},
    store::{
        buckets,
        objects::{self, After},
        syncs::BucketChoice,
    },
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;

/// A file of the simulated source.
#[derive(Clone, Debug)]
struct File {
    version: u64,
    content: Vec<u8>,
}

/// The simulated source, and what is to go wrong with it.
#[derive(Debug, Default)]
struct World {
    files: BTreeMap<String, File>,
    clock: u64,
    /// The listing breaks before this page.
    break_before_page: Option<usize>,
    /// These cannot be fetched.
    refused: BTreeSet<String>,
    /// The order of the listing is by name, or the other way round.
    backwards: bool,
    /// After so many fetches, the process dies.
    die_after: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Simulated(Arc<Mutex<World>>);

/// Entries of a page: few, so that small worlds have many.
const PAGE: usize = 3;

#[async_trait]
impl Opener for Simulated {
    async fn open(
        &self,
        _: &Location,
        _: Option<&Credentials>,
        _: &SyncOptions,
        _: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError> {
        Ok(Arc::new(self.clone()))
    }
}

fn fingerprint(file: &File) -> Fingerprint {
    Fingerprint {
        size: file.content.len() as u64,
        version: Version(file.version.to_le_bytes().to_vec()),
        modified: None,
        etag: None,
        mime: None,
    }
}

fn entry(name: &str, file: &File) -> Entry {
    let id = EntryPath::new(name.as_bytes());
    Entry { path: id.clone(), id, kind: EntryKind::File(fingerprint(file)) }
}

#[async_trait]
impl Source for Simulated {
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        Ok(RootIdentity(None))
    }

    fn walk(&self, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        let world = self.0.lock().unwrap();
        let mut entries: Vec<Entry> =
            world.files.iter().map(|(name, file)| entry(name, file)).collect();
        let ordered = !world.backwards;
        if let Some(Cursor(from)) = from {
            entries.retain(|entry| entry.id.as_bytes() > from.as_slice());
        }
        if !ordered {
            entries.reverse();
        }
        let mut pages: Vec<Result<Page, SourceError>> = entries
            .chunks(PAGE)
            .map(|entries| {
                let last = entries.last().unwrap().id.as_bytes().to_vec();
                let cursor = ordered.then_some(Cursor(last));
                Ok(Page { entries: entries.to_vec(), cursor, unlisted: Vec::new() })
            })
            .collect();
        if let Some(page) = world.break_before_page {
            pages.truncate(page);
            pages.push(Err(SourceError::Permanent { message: "the listing broke".into() }));
        }
        stream::iter(pages).boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let name = id.to_json_text();
        Ok(self.0.lock().unwrap().files.get(&name).map(|file| entry(&name, file)))
    }

    async fn fetch(
        &self,
        id: &EntryId,
        wanted: &Fingerprint,
        _: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let dies = {
            let mut world = self.0.lock().unwrap();
            world.die_after = world.die_after.map(|left| left.saturating_sub(1));
            world.die_after == Some(0)
        };
        if dies {
            // Until the run is dropped, as a killed process drops everything.
            std::future::pending::<()>().await;
        }
        let world = self.0.lock().unwrap();
        let name = id.to_json_text();
        if world.refused.contains(&name) {
            return Err(SourceError::PermissionDenied { message: "refused".into() });
        }
        let file =
            world.files.get(&name).ok_or(SourceError::NotFound { message: "gone".into() })?;
        if fingerprint(file) != *wanted {
            return Err(SourceError::Changed { message: "another version".into() });
        }
        let bytes = Bytes::from(file.content.clone());
        Ok(Content {
            facts: Facts::default(),
            body: Body::Stream(stream::iter([Ok(bytes)]).boxed()),
        })
    }

    fn default_concurrency(&self) -> usize {
        4
    }
}

/// A random history.
struct History {
    random: fastrand::Rng,
    source: Simulated,
    config: Config,
    options: SyncOptions,
    engine: Option<Engine>,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl History {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let options = SyncOptions { skip_duplicates: random.bool(), ..SyncOptions::default() };
        let config = Config {
            data_dir: dir.path().to_owned(),
            min_free: Some(bytesize::ByteSize(0)),
            quiet_period: Duration::ZERO,
            serve: ServeConfig::default(),
            keyring: false,
            allow_private_urls: false,
        };
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let source = Simulated::default();
        Self { random, source, config, options, engine: None, clock, _dir: dir }
    }

    /// Edits of the source, between two runs.
    fn live(&mut self) {
        for _ in 0..self.random.usize(..6) {
            let mut world = self.source.0.lock().unwrap();
            world.clock += 1;
            let version = world.clock;
            let name = format!("{}/{}", self.random.alphabetic(), self.random.u8(..12));
            let content = vec![self.random.u8(..8); self.random.usize(..5)];
            match self.random.u8(..8) {
                0..4 => drop(world.files.insert(name, File { version, content })),
                4 | 5 => {
                    let victim =
                        self.random.choice(world.files.keys().cloned().collect::<Vec<_>>());
                    if let Some(victim) = victim {
                        world.files.remove(&victim);
                    }
                }
                6 => {
                    let renamed =
                        self.random.choice(world.files.keys().cloned().collect::<Vec<_>>());
                    if let Some(file) = renamed.and_then(|name| world.files.remove(&name)) {
                        world.files.insert(name, file);
                    }
                }
                _ => {
                    if let Some(file) = world.files.values_mut().next() {
                        file.version = version;
                    }
                }
            }
        }
    }

    fn plan_faults(&mut self) {
        let mut world = self.source.0.lock().unwrap();
        world.break_before_page = self.random.bool().then(|| self.random.usize(..4));
        world.backwards = self.random.u8(..4) == 0;
        world.die_after = (self.random.u8(..3) == 0).then(|| self.random.usize(1..8));
        let names: Vec<String> = world.files.keys().cloned().collect();
        world.refused = names.into_iter().filter(|_| self.random.u8(..8) == 0).collect();
    }

    fn mend(&mut self) {
        let mut world = self.source.0.lock().unwrap();
        world.break_before_page = None;
        world.die_after = None;
        world.refused.clear();
    }

    fn change_settings(&mut self) {
        let exclude = match self.random.u8(..4) {
            0 => vec!["a*/**".to_owned(), "1*".to_owned()],
            1 => vec!["*7".to_owned()],
            _ => Vec::new(),
        };
        self.options.filters = FileFilters { exclude_patterns: exclude, ..FileFilters::default() };
    }

    async fn run(&mut self, full: bool) -> Option<Report> {
        let engine = self.engine.get_or_insert_with(|| {
            Engine::open(&self.config, self.clock.clone(), Arc::new(self.source.clone())).unwrap()
        });
        let request = Request {
            location: Location::parse(OsStr::new("s3://world"), &S3Connection::default()).unwrap(),
            bucket: BucketChoice::Named("world".parse::<BucketName>().unwrap()),
            options: self.options.clone(),
            run: RunOptions {
                max_delete: Some(MaxDelete::Percent(100.0)),
                full,
                adopt_root: self.source.0.lock().unwrap().files.is_empty(),
                ..RunOptions::default()
            },
        };
        let run = engine.run(&request, Arc::new(Silent), CancellationToken::new());
        if self.source.0.lock().unwrap().die_after.is_none() {
            return Some(run.await);
        }
        // A process that dies takes its run, its threads' results and its lock file with it.
        let outcome = tokio::time::timeout(Duration::from_millis(100), run).await.ok();
        self.engine = None;
        outcome
    }

    /// What the bucket has: path and hash of each object.
    async fn bucket(&self) -> Vec<(String, BlobHash)> {
        let store = self.engine.as_ref().unwrap().store.clone();
        let bucket = store.read(|db| buckets::by_name(db, "world")).await.unwrap().unwrap();
        let page = store
            .read(move |db| objects::page(db, bucket.key, b"", &After::default(), 10_000))
            .await
            .unwrap();
        assert_eq!(bucket.object_count, page.len() as u64, "the bucket's own count");
        assert_eq!(bucket.object_bytes, page.iter().map(|object| object.size).sum::<u64>());
        page.iter().map(|object| (object.path.to_json_text(), object.hash)).collect()
    }

    /// What it should have: the files that pass the filters.
    fn expected(&self) -> Vec<(String, BlobHash)> {
        let excluded = &self.options.filters.exclude_patterns;
        let passes = |name: &str| match excluded.first().map(String::as_str) {
            Some("*7") => !name.rsplit('/').next().unwrap().ends_with('7'),
            Some(_) => !name.starts_with('a') && !name.rsplit('/').next().unwrap().starts_with('1'),
            None => true,
        };
        let world = self.source.0.lock().unwrap();
        let files = world.files.iter().filter(|(name, _)| passes(name));
        files.map(|(name, file)| (name.clone(), BlobHash::of(&file.content))).collect()
    }

    async fn check(&self) {
        let (found, expected) = (self.bucket().await, self.expected());
        if !self.options.skip_duplicates {
            assert_eq!(found, expected);
            return;
        }
        let hashes = |list: &[(String, BlobHash)]| -> BTreeSet<String> {
            list.iter().map(|(_, hash)| hash.to_string()).collect()
        };
        assert_eq!(hashes(&found), hashes(&expected), "the contents that there are");
        for object in &found {
            assert!(expected.contains(object), "{object:?} stands for a file that has these bytes");
        }
    }

    async fn play(&mut self) {
        for _ in 0..12 {
            self.live();
            if self.random.u8(..4) == 0 {
                self.change_settings();
            }
            self.plan_faults();
            // However it ends: the next one has to make it good.
            drop(self.run(false).await);
            self.mend();
            if self.random.u8(..4) == 0 {
                self.change_settings();
            }
            let full = self.random.u8(..6) == 0;
            let report = self.run(full).await.unwrap();
            assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
            self.check().await;
            let again = self.run(false).await.unwrap();
            assert_eq!(again.counts.unchanged + again.counts.filtered, again.counts.discovered());
            assert_eq!((again.counts.bytes, again.counts.removed), (0, 0), "nothing is left to do");
        }
    }
}

#[test]
fn after_any_history_of_edits_faults_and_deaths_the_bucket_equals_the_source() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let seeds = match std::env::var("SIMULATION_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..32).collect(),
    };
    for seed in seeds {
        println!("SIMULATION_SEED={seed}");
        runtime.block_on(History::new(seed).play());
    }
}
