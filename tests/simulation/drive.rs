//! Sources by id against a model: random histories of a drive with renames, moves, folders that
//! come and go, feeds that repeat, expire and say nothing of some changes, listings that skip,
//! deaths in the middle of either kind of pass. After each complete run the bucket is what the
//! drive has, and every file that was there before has kept its object.

use std::{collections::BTreeMap, ffi::OsStr, sync::Arc, time::Duration};

use catchment::{
    clock::{Clock as _, ManualClock},
    config::{Config, ServeConfig},
    engine::{Engine, Report, Request, RunOptions, Silent},
    model::{BlobHash, BucketName, MaxDelete, RunStatus, SyncOptions, SyncStatus},
    sources::locate,
    store::{
        command_line_syncs::BucketChoice,
        connections,
        syncs::{self, HeldReason, Sync},
    },
};
use tokio_util::sync::CancellationToken;

use crate::simulated_drive::{Drive, ELSEWHERE, ROOT};

/// Histories that are played.
const HISTORIES: u64 = 60;

/// Rounds of a history.
const ROUNDS: usize = 20;

struct History {
    random: fastrand::Rng,
    drive: Drive,
    clock: Arc<ManualClock>,
    engine: Engine,
    next_id: u32,
    /// Object ids by the ids of their entries, after the last complete run.
    objects: BTreeMap<String, String>,
    /// Whether removals wait for a decision.
    waits: bool,
    happened: BTreeMap<&'static str, usize>,
    _dir: tempfile::TempDir,
}

/// What a bucket has of an entry: the object's id, its path, its hash.
type Seen = (String, String, BlobHash);

impl History {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            min_free: Some(bytesize::ByteSize(0)),
            quiet_period: Duration::ZERO,
            thumbnail_cache: Config::THUMBNAIL_CACHE,
            hosts: Arc::default(),
            limits: catchment::config::Limits::default(),
            serve: ServeConfig::default(),
            keyring: false,
            allow_private_urls: false,
            url_timeout: Config::URL_TIMEOUT,
        };
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let drive = Drive::default();
        drive.world().by_folder = seed % 2 == 1;
        let engine = Engine::open(&config, clock.clone(), Arc::new(drive.clone())).unwrap();
        Self {
            random: fastrand::Rng::with_seed(seed),
            drive,
            clock,
            engine,
            next_id: 0,
            objects: BTreeMap::new(),
            waits: false,
            happened: BTreeMap::new(),
            _dir: dir,
        }
    }

    fn did(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn any<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.random.usize(..from.len())].clone())
    }

    fn new_id(&mut self) -> String {
        self.next_id += 1;
        // Ids in no order, as a provider's are.
        let scramble = self.next_id.wrapping_mul(2_654_435_761);
        format!("{:08x}", scramble)
    }

    fn folders(&self) -> Vec<String> {
        self.drive.world().folders.keys().cloned().collect()
    }

    fn edit(&mut self) {
        let folders = self.folders();
        let files: Vec<String> = self.drive.world().files.keys().cloned().collect();
        let parent = self.any(&folders).unwrap();
        let name = ["a", "b", "c/d", "e"][self.random.usize(..4)];
        let movable: Vec<String> =
            folders.iter().filter(|id| *id != ROOT && *id != ELSEWHERE).cloned().collect();
        match self.random.u8(..12) {
            0..=3 => {
                let id = self.new_id();
                let content = format!("content {id}");
                self.drive.world().put(&id, &parent, name, content);
                self.did("new file");
            }
            4 => {
                let Some(id) = self.any(&files) else { return };
                let file = self.drive.world().files[&id].clone();
                let content = format!("content {}", self.random.u32(..));
                self.drive.world().put(&id, &file.parent, &file.name, content);
                self.did("changed file");
            }
            5 | 6 => {
                let Some(id) = self.any(&files) else { return };
                self.drive.world().relocate(&id, &parent, name);
                self.did("moved file");
            }
            7 => {
                let Some(id) = self.any(&files) else { return };
                self.drive.world().remove(&id);
                self.did("removed file");
            }
            8 | 9 => {
                let id = self.new_id();
                self.drive.world().put_folder(&id, &parent, name);
                self.did("new folder");
            }
            10 => {
                let Some(id) = self.any(&movable) else { return };
                let mut world = self.drive.world();
                if !world.is_below(&parent, &id) {
                    world.put_folder(&id, &parent, name);
                    drop(world);
                    self.did("moved folder");
                }
            }
            _ => {
                let Some(id) = self.any(&movable) else { return };
                self.drive.world().remove(&id);
                self.did("removed folder");
            }
        }
    }

    /// Something that the feed says nothing of.
    fn edit_silently(&mut self) {
        let before = self.drive.world().log.len();
        self.edit();
        let mut world = self.drive.world();
        if world.log.len() > before {
            world.log.truncate(before);
            drop(world);
            self.did("silent edit");
            self.clock.set(self.clock.now() + Duration::from_secs(25 * 3600));
        }
    }

    async fn run(&self) -> Option<Report> {
        let request = Request {
            location: locate(OsStr::new("s3://world"), &serde_json::Map::new()).unwrap(),
            connection: None,
            bucket: BucketChoice::Named("world".parse::<BucketName>().unwrap()),
            options: SyncOptions::default(),
            run: RunOptions {
                max_delete: Some(MaxDelete::Percent(100.0)),
                ..RunOptions::default()
            },
        };
        let died = self.drive.world().died.clone();
        let run = self.engine.run(&request, Arc::new(Silent), CancellationToken::new());
        tokio::select! {
            report = run => Some(report),
            () = died.notified() => None,
        }
    }

    async fn sync(&self) -> Sync {
        self.engine.store.read(|db| Ok(syncs::all(db)?.remove(0))).await.unwrap()
    }

    async fn bucket(&self) -> BTreeMap<String, Seen> {
        let read = self.engine.store.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT e.source_id, o.id, o.path, b.hash
                 FROM objects o JOIN entries e ON e.entry_key = o.entry_key
                     JOIN object_blobs USING (object_key) JOIN blobs b USING (blob_key)
                 WHERE o.state IS NULL",
            )?;
            let rows = statement
                .query_map([], |row| {
                    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                    let hash: [u8; 32] = row.get(3)?;
                    let seen =
                        (row.get(1)?, text(row.get(2)?), BlobHash::from(blake3::Hash::from(hash)));
                    Ok((text(row.get(0)?), seen))
                })?
                .collect::<Result<BTreeMap<_, _>, _>>()?;
            Ok(rows)
        });
        read.await.unwrap()
    }

    async fn check(&mut self) {
        let found = self.bucket().await;
        let expected: BTreeMap<String, (String, BlobHash)> = self
            .drive
            .world()
            .expected()
            .into_iter()
            .map(|(id, (path, content))| (id, (path, BlobHash::of(&content))))
            .collect();
        let seen: BTreeMap<String, (String, BlobHash)> =
            found.iter().map(|(id, (_, path, hash))| (id.clone(), (path.clone(), *hash))).collect();
        assert_eq!(seen, expected);
        let objects: BTreeMap<String, String> =
            found.into_iter().map(|(id, (object, ..))| (id, object)).collect();
        for (id, object) in &objects {
            if let Some(before) = self.objects.get(id) {
                assert_eq!(object, before, "{id} keeps its object");
            }
        }
        self.objects = objects;
    }

    fn plan_faults(&mut self) {
        let (kind, at) = (self.random.u8(..8), self.random.usize(..4));
        let mut world = self.drive.world();
        match kind {
            0 => world.break_before_page = Some(at),
            1 => world.expire_before_page = Some(at),
            2 => world.generation += 1,
            3 => world.die_after = Some(at + 1),
            4 => world.held_until = Some("2026-01-01T00:00:00Z".parse().unwrap()),
            _ => {}
        }
    }

    fn forget_faults(&mut self) {
        let mut world = self.drive.world();
        // A run that ends by itself leaves its bell rung.
        world.died = Arc::default();
        world.break_before_page = None;
        world.expire_before_page = None;
        world.die_after = None;
        world.held_until = None;
        world.skipped.clear();
    }

    async fn play(&mut self) {
        for _ in 0..ROUNDS {
            for _ in 0..self.random.usize(..6) {
                self.edit();
            }
            // Only a pass that begins after it can find it.
            let is_silent = self.random.u8(..6) == 0;
            if is_silent {
                self.edit_silently();
            }
            self.plan_faults();
            if !is_silent && self.random.bool() {
                match self.run().await {
                    None => {
                        self.did("death");
                        // Its lease ends with its time.
                        self.clock.set(self.clock.now() + Duration::from_secs(120));
                    }
                    Some(report) if report.error.is_some() => self.did("run that failed"),
                    Some(report) => {
                        self.did("run");
                        self.waits = report.held.is_some();
                    }
                }
                // It may have removed what the drive does not have now, and may have again later.
                let expected = self.drive.world().expected();
                self.objects.retain(|id, _| expected.contains_key(id));
                for _ in 0..self.random.usize(..3) {
                    self.edit();
                }
            }
            self.forget_faults();
            // Listings may skip what is stored and unchanged.
            let stored: Vec<String> = self.objects.keys().cloned().collect();
            if let Some(id) = self.any(&stored).filter(|_| self.random.bool()) {
                let is_unchanged = self.bucket().await.get(&id).is_some_and(|(_, path, hash)| {
                    self.drive.world().expected().get(&id).is_some_and(|(expected, content)| {
                        expected == path && *hash == BlobHash::of(content)
                    })
                });
                if is_unchanged {
                    self.drive.world().skipped.insert(id);
                    self.did("listing that skips");
                }
            }
            let report = self.run().await.expect("nothing dies");
            assert!(report.error.is_none(), "{:?}", report.error);
            if report.status == RunStatus::Held {
                self.approve_emptied(&report).await;
            } else {
                assert_eq!(report.status, RunStatus::Completed);
            }
            self.check().await;
            // What is edited from now on is no longer stored and unchanged.
            self.drive.world().skipped.clear();
        }
    }
}

impl History {
    /// That a source lists nothing any more waits for a decision, whatever the limit of removals
    /// is, and nothing else does. What is gone stays until the decision is made, and goes with it.
    async fn approve_emptied(&mut self, report: &Report) {
        let held = report.held.as_ref().expect("held removals");
        let expected = self.drive.world().expected();
        if !self.waits {
            self.did("emptied source");
            assert_eq!(held.reason, HeldReason::SourceEmptied);
            assert!(expected.is_empty(), "{:?}", held.sample);
        }
        let bucket = self.bucket().await;
        let gone = bucket.keys().filter(|id| !expected.contains_key(*id)).count();
        assert_eq!(held.count, gone as u64, "{:?}", held.sample);
        self.waits = false;
        let (sync, stop) = (self.sync().await, CancellationToken::new());
        let report = self.engine.approve_removals(&sync, Arc::new(Silent), stop).await.unwrap();
        assert!(report.error.is_none(), "{:?}", report.error);
        assert_eq!(report.status, RunStatus::Completed);
    }
}

fn play<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().max_blocking_threads(1).build().unwrap().block_on(future)
}

#[test]
fn after_any_history_of_a_drive_the_bucket_is_what_the_drive_has() {
    let one = crate::number("SIMULATION_SEED");
    let histories = crate::number("SIMULATION_HISTORIES").unwrap_or(HISTORIES);
    let seeds = one.map_or(0..histories, |seed| seed..seed + 1);
    let mut happened: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in seeds {
        let _named = crate::Named(seed);
        let mut history = History::new(seed);
        play(history.play());
        for (what, times) in history.happened {
            *happened.entry(what).or_default() += times;
        }
    }
    eprintln!("{happened:?}");
    let kinds = [
        "new file",
        "changed file",
        "moved file",
        "removed file",
        "new folder",
        "moved folder",
        "removed folder",
        "silent edit",
        "death",
        "run that failed",
        "run",
        "listing that skips",
        "emptied source",
    ];
    let missing: Vec<_> = kinds.iter().filter(|what| !happened.contains_key(*what)).collect();
    assert!(one.is_some() || missing.is_empty(), "it never came to {missing:?}");
}

/// A drive with so many files in one folder, synced once.
async fn synced_folder(files: usize) -> History {
    let history = History::new(0);
    {
        let mut world = history.drive.world();
        world.put_folder("folder", ROOT, "old name");
        for number in 0..files {
            world.put(&format!("file {number}"), "folder", &format!("{number}"), "content");
        }
    }
    assert_eq!(history.run().await.unwrap().status, RunStatus::Completed);
    history.drive.world().requests.clear();
    history
}

#[test]
fn a_renamed_folder_costs_one_request_and_no_download() {
    play(async {
        let mut history = synced_folder(50).await;
        history.check().await;
        history.drive.world().put_folder("folder", ROOT, "new name");
        assert_eq!(history.run().await.unwrap().counts.updated, 50);
        assert_eq!(history.drive.world().requests, ["changes"]);
        history.check().await;
    });
}

#[test]
fn a_run_without_changes_makes_one_request() {
    play(async {
        let history = synced_folder(5).await;
        assert_eq!(history.run().await.unwrap().status, RunStatus::Completed);
        assert_eq!(history.drive.world().requests, ["changes"]);
    });
}

#[test]
fn after_a_day_everything_is_listed_again() {
    play(async {
        let history = synced_folder(5).await;
        history.clock.set(history.clock.now() + Duration::from_secs(24 * 3600));
        assert_eq!(history.run().await.unwrap().counts.unchanged, 5);
        let requests = history.drive.world().requests.clone();
        assert!(requests.contains(&"walk".to_owned()), "{requests:?}");
        assert!(!requests.iter().any(|request| request.starts_with("fetch")), "{requests:?}");
    });
}

#[test]
fn a_hold_ends_the_run_without_blame_until_it_is_over() {
    play(async {
        let history = synced_folder(5).await;
        let until = history.clock.now() + Duration::from_secs(3600);
        history.drive.world().held_until = Some(until);
        let report = history.run().await.unwrap();
        assert_eq!(report.status, RunStatus::Interrupted);
        let sync = history.sync().await;
        assert_eq!((sync.status, sync.consecutive_failures), (SyncStatus::Interrupted, 0));
        assert_eq!(history.run().await.unwrap().status, RunStatus::Completed);
    });
}

#[test]
fn credentials_that_only_a_person_can_renew_suspend_the_connection_at_once() {
    play(async {
        let history = synced_folder(5).await;
        history.drive.world().is_signed_out = true;
        assert_eq!(history.run().await.unwrap().status, RunStatus::Failed);
        let key = history.sync().await.connection_key;
        let connection =
            history.engine.store.read(move |db| connections::by_key(db, key)).await.unwrap();
        assert_eq!(connection.status, "SUSPENDED");
        assert!(connection.last_error.unwrap().contains("sign in again"));
    });
}

#[test]
fn two_equal_downloads_are_believed_rather_than_a_claimed_size() {
    play(async {
        let history = synced_folder(1).await;
        {
            let mut world = history.drive.world();
            world.claims.insert("office".to_owned(), 7);
            world.put("office", ROOT, "report.docx", "twelve bytes more");
        }
        let report = history.run().await.unwrap();
        assert_eq!((report.status, report.counts.synced), (RunStatus::Completed, 1));
        let requests = history.drive.world().requests.clone();
        assert_eq!(requests.iter().filter(|request| *request == "fetch office").count(), 2);
        let metadata: String = history
            .engine
            .store
            .read(|db| {
                let mut statement = db.prepare("SELECT metadata FROM objects WHERE path = ?1")?;
                Ok(statement.query_row([b"report.docx".as_slice()], |row| row.get(0))?)
            })
            .await
            .unwrap();
        assert!(metadata.contains("size_mismatch"), "{metadata}");
    });
}

#[test]
fn an_unknown_size_and_bytes_that_come_with_the_listing_are_taken() {
    play(async {
        let mut history = synced_folder(1).await;
        {
            let mut world = history.drive.world();
            world.unknown_sizes.insert("document".to_owned());
            world.put("document", ROOT, "exported.docx", "exported");
            world.inline.insert("row".to_owned());
            world.put("row", ROOT, "row.json", "{}");
        }
        assert_eq!(history.run().await.unwrap().counts.synced, 2);
        let requests = history.drive.world().requests.clone();
        assert_eq!(requests, ["changes", "fetch document"]);
        history.check().await;
    });
}
