//! Sources by id against a model: random histories of a drive with renames, moves, folders and
//! shortcuts that come and go, feeds that repeat, expire and say nothing of some changes, shared
//! drives that go, and whose feeds say nothing of what shortcuts lead to, listings that skip,
//! access tokens that are refused and refresh tokens that are good once, requests that are asked
//! to slow down or held for longer than a run waits, deaths in the middle of either kind of pass.
//! After each complete run the bucket is what the drive has, every file that was there before has
//! kept its object, nothing is blamed for having been made to wait, and the refresh token that is
//! stored is the one that is good.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use catchment::{
    clock::{Clock as _, ManualClock},
    config::{Config, ServeConfig},
    engine::{Engine, Report, Request, RunOptions, Silent, connections::NewName},
    model::{
        BlobHash, BucketName, Connection, Credentials, Location, MaxDelete, ProviderName,
        RunStatus, SyncMode, SyncOptions, SyncStatus,
    },
    sources::Accepted,
    store::{
        StoreError,
        command_line_syncs::BucketChoice,
        connections, dead_letters,
        syncs::{self, HeldReason, Sync},
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    fake_authority::{CLIENT, SECRET},
    simulated_drive::{Drive, ELSEWHERE, ROOT, Shortcut, Used, World},
};

/// Histories that are played.
const HISTORIES: u64 = 60;

/// Rounds of a history.
const ROUNDS: usize = 20;

struct History {
    random: fastrand::Rng,
    drive: Drive,
    clock: Arc<ManualClock>,
    engine: Engine,
    /// The key of the connection.
    connection: i64,
    next_id: u32,
    /// Object ids by the ids of their entries, after the last complete run.
    objects: BTreeMap<String, String>,
    /// Whether removals wait for a decision.
    waits: bool,
    happened: BTreeMap<&'static str, usize>,
    _dir: tempfile::TempDir,
}

fn location() -> Location {
    let provider = ProviderName::new("google_drive");
    let connection = Connection { provider, settings: serde_json::Map::new() };
    Location { connection, source_path: b"root".to_vec() }
}

/// What a bucket has of an entry: the object's id, its path, its hash.
type Seen = (String, String, BlobHash);

impl History {
    async fn new(seed: u64) -> Self {
        let drive = Drive::default();
        drive.world().by_folder = seed % 2 == 1;
        drive.world().is_shared = seed % 4 >= 2;
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let hosts = format!("google_token = {:?}", drive.authority.url());
        let config = Config {
            data_dir: dir.path().to_owned(),
            min_free: Some(bytesize::ByteSize(0)),
            quiet_period: Duration::ZERO,
            thumbnail_cache: Config::THUMBNAIL_CACHE,
            processing: None,
            hosts: Arc::new(toml::from_str(&hosts).unwrap()),
            limits: catchment::config::Limits::default(),
            serve: ServeConfig::default(),
            keyring: false,
            allow_private_urls: false,
            url_timeout: Config::URL_TIMEOUT,
        };
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let engine = Engine::open(&config, clock.clone(), Arc::new(drive.clone())).unwrap();
        let credentials = json!({
            "type": "oauth", "client_id": CLIENT, "client_secret": SECRET,
            "refresh_token": drive.authority.refresh_token(),
        });
        let accepted = Accepted {
            connection: location().connection,
            credentials: Some(Credentials::from_json(credentials.to_string())),
        };
        let name = NewName::Exactly("Work".to_owned());
        let connection = engine.add_connection(name, accepted, false).await.unwrap().key;
        Self {
            random: fastrand::Rng::with_seed(seed),
            drive,
            clock,
            engine,
            connection,
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
        if self.random.u8(..4) == 0 {
            return self.edit_shortcuts();
        }
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
                let is_elsewhere = {
                    let world = self.drive.world();
                    !world.is_here(&id) && world.is_target(&id)
                };
                if is_elsewhere {
                    self.did("changed target in another drive");
                }
            }
            5 | 6 => {
                let Some(id) = self.any(&files) else { return };
                self.drive.world().relocate(&id, &parent, name);
                self.did("moved file");
                if self.drive.world().is_target(&id) {
                    self.did("moved target");
                }
            }
            7 => {
                let Some(id) = self.any(&files) else { return };
                self.drive.world().remove(&id);
                self.did("removed file");
                if self.drive.world().is_target(&id) {
                    self.did("removed target");
                }
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

    fn edit_shortcuts(&mut self) {
        let folders = self.folders();
        let (parent, name) = (self.any(&folders).unwrap(), ["a", "b", "l"][self.random.usize(..3)]);
        let mut targets: Vec<String> = self.drive.world().files.keys().cloned().collect();
        targets.extend(folders);
        targets.push("nothing".to_owned());
        let target = self.any(&targets).unwrap();
        let known: Vec<String> = self.drive.world().shortcuts.keys().cloned().collect();
        let chosen = self.any(&known);
        match (self.random.u8(..6), chosen) {
            (0, Some(id)) => {
                self.drive.world().remove(&id);
                self.did("removed shortcut");
            }
            (1, Some(id)) => {
                let target = self.drive.world().shortcuts[&id].target.clone();
                self.drive.world().put_shortcut(&id, &parent, name, &target);
                self.did("moved shortcut");
            }
            (2, Some(id)) => {
                self.drive.world().put_shortcut(&id, &parent, name, &target);
                self.did("retargeted shortcut");
            }
            _ => {
                let id = self.new_id();
                self.drive.world().put_shortcut(&id, &parent, name, &target);
                self.did("new shortcut");
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
        let mut options = SyncOptions::default();
        options.pace.mode = SyncMode::Continuous;
        let request = Request {
            location: location(),
            connection: Some(self.connection),
            bucket: BucketChoice::Named("world".parse::<BucketName>().unwrap()),
            options,
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

    /// The shortcuts that give their targets their places.
    async fn used_shortcuts(&self) -> Used {
        let read = self.engine.store.read(|db| {
            let mut statement =
                db.prepare_cached("SELECT target, link_id FROM links WHERE is_used = 1")?;
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let rows = statement
                .query_map([], |row| Ok((text(row.get(0)?), text(row.get(1)?))))?
                .collect::<Result<Used, _>>()?;
            Ok(rows)
        });
        read.await.unwrap()
    }

    /// What was lost or moved in another drive, and is no target of a shortcut itself, is known
    /// only after a full pass: until then nothing else may differ.
    async fn find_out_what_happened_elsewhere(&mut self) {
        let (found, used) = (self.bucket().await, self.used_shortcuts().await);
        let unknown: Vec<String> = {
            let world = self.drive.world();
            let expected = world.expected(&used);
            let ids = world.expected_ids();
            let is_known = |id: &String| {
                let (_, path, hash) = found.get(id)?;
                let (expected, content) = expected.get(id).filter(|_| ids.contains(id))?;
                Some(expected == path && *hash == BlobHash::of(content))
            };
            let all = found.keys().chain(&ids);
            all.filter(|id| is_known(id) != Some(true)).cloned().collect()
        };
        if unknown.is_empty() {
            return;
        }
        {
            let world = self.drive.world();
            for id in unknown {
                assert!(!world.is_here(&id), "{id} is in the drive, and its feed tells of it");
                let is_target = used.get(&id).is_some_and(|shortcut| {
                    let leads_here = |of: &Shortcut| of.target == id;
                    world.is_here(shortcut) && world.shortcuts.get(shortcut).is_some_and(leads_here)
                });
                assert!(!is_target, "{id} is a target, and is asked for in each pass");
            }
        }
        self.did("loss in another drive");
        self.clock.set(self.clock.now() + Duration::from_secs(25 * 3600));
        let report = self.run().await.expect("nothing dies");
        assert!(report.error.is_none(), "{:?}", report.error);
        if report.status == RunStatus::Held {
            self.approve_emptied(&report).await;
        }
    }

    async fn check(&mut self) {
        let (found, used) = (self.bucket().await, self.used_shortcuts().await);
        let ids = found.keys().cloned().collect();
        assert_eq!(self.drive.world().expected_ids(), ids);
        let expected: BTreeMap<String, (String, BlobHash)> = self
            .drive
            .world()
            .expected(&used)
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
        self.check_sign_in().await;
        let sync_key = self.sync().await.key;
        let letters = self.engine.store.read(move |db| dead_letters::open_count(db, sync_key));
        assert_eq!(letters.await.unwrap(), 0);
    }

    /// The refresh token that is stored is the one that is good, and none was used twice.
    async fn check_sign_in(&self) {
        let stored = self.engine.vault.credentials(self.connection).await.unwrap().unwrap();
        let stored: Value = stored.read().unwrap();
        assert_eq!(self.drive.authority.good_refresh_tokens(), [stored["refresh_token"].clone()]);
        assert_eq!(self.drive.authority.reused(), 0);
    }

    /// A run that the provider made wait has ended without blame, and is due when the wait ends.
    async fn check_held(&self, report: &Report, until: Timestamp) {
        assert_eq!(report.status, RunStatus::Interrupted, "{:?}", report.error);
        let sync = self.sync().await;
        assert_eq!((sync.status, sync.consecutive_failures), (SyncStatus::Interrupted, 0));
        assert_eq!(sync.next_sync_at, Some(until));
        let (sync_key, key) = (sync.key, self.connection);
        let (connection, letters) = self
            .engine
            .store
            .read(move |db| {
                let letters = dead_letters::open_count(db, sync_key)?;
                Ok::<_, StoreError>((connections::by_key(db, key)?, letters))
            })
            .await
            .unwrap();
        let blame = (connection.status.as_str(), connection.consecutive_failures, letters);
        assert_eq!(blame, ("ACTIVE", 0, 0));
    }

    /// What the drive and its authorization server may do to requests of any run.
    fn plan_delays(&mut self) {
        let at = self.random.usize(..12);
        match self.random.u8(..6) {
            0 => self.drive.world().expire_token_after = Some(at),
            1 => self.drive.world().slow_down = Some((at, 1 + at % 3)),
            _ => {}
        }
        if self.random.u8(..4) == 0 {
            self.drive.authority.rotate_refresh_tokens(self.random.bool());
        }
    }

    fn plan_faults(&mut self) {
        let (kind, at) = (self.random.u8(..10), self.random.usize(..4));
        let until = self.clock.now() + Duration::from_secs(3600);
        let mut world = self.drive.world();
        match kind {
            0 => world.break_before_page = Some(at),
            1 => world.expire_before_page = Some(at),
            2 => world.generation += 1,
            3 => world.die_after = Some(at + 1),
            4 | 5 => world.hold = Some((at * at, until)),
            6 if world.is_shared => world.is_gone = true,
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
        world.hold = None;
        world.is_gone = false;
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
            self.plan_delays();
            if !is_silent && self.random.bool() {
                let is_gone = self.drive.world().is_gone;
                let before = self.bucket().await;
                match self.run().await {
                    Some(report) if is_gone => {
                        assert!(report.error.is_some(), "a drive that is gone fails the run");
                        assert_eq!(self.bucket().await, before, "and nothing is removed");
                        self.did("shared drive that was gone");
                    }
                    None => {
                        self.did("death");
                        // Its lease ends with its time.
                        self.clock.set(self.clock.now() + Duration::from_secs(120));
                    }
                    Some(report) if report.status == RunStatus::Interrupted => {
                        self.did("hold");
                        let (_, until) = self.drive.world().hold.expect("only a hold interrupts");
                        self.check_held(&report, until).await;
                        self.clock.set(until);
                    }
                    Some(report) if report.error.is_some() => self.did("run that failed"),
                    Some(report) => {
                        self.did("run");
                        self.waits = report.held.is_some();
                    }
                }
                // It may have removed what the drive does not have now, and may have again later.
                let expected = self.drive.world().expected_ids();
                self.objects.retain(|id, _| expected.contains(id));
                for _ in 0..self.random.usize(..3) {
                    self.edit();
                }
            }
            self.forget_faults();
            // Listings may skip what is stored and unchanged.
            let stored: Vec<String> = self.objects.keys().cloned().collect();
            if let Some(id) = self.any(&stored).filter(|_| self.random.bool()) {
                let used = self.used_shortcuts().await;
                let is_unchanged = self.bucket().await.get(&id).is_some_and(|(_, path, hash)| {
                    let expected = self.drive.world().expected(&used);
                    expected.get(&id).is_some_and(|(expected, content)| {
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
            self.find_out_what_happened_elsewhere().await;
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
        let expected = self.drive.world().expected_ids();
        if !self.waits {
            self.did("emptied source");
            assert_eq!(held.reason, HeldReason::SourceEmptied);
            assert!(expected.is_empty(), "{:?}", held.sample);
        }
        let bucket = self.bucket().await;
        let gone = bucket.keys().filter(|id| !expected.contains(*id)).count();
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
    runtime.enable_all().max_blocking_threads(1).build().unwrap().block_on(future)
}

#[test]
fn after_any_history_of_a_drive_the_bucket_is_what_the_drive_has() {
    let one = crate::number("SIMULATION_SEED");
    let histories = crate::number("SIMULATION_HISTORIES").unwrap_or(HISTORIES);
    let seeds = one.map_or(0..histories, |seed| seed..seed + 1);
    let mut happened: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in seeds {
        let _named = crate::Named(seed);
        let mut history = play(async {
            let mut history = History::new(seed).await;
            history.play().await;
            history
        });
        let world = history.drive.world();
        let delays = [
            ("request that was asked to slow down", world.slowed_down),
            ("access token that was refused", world.unauthorized),
        ];
        drop(world);
        history.happened.extend(delays.into_iter().filter(|(_, times)| *times > 0));
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
        "new shortcut",
        "moved shortcut",
        "retargeted shortcut",
        "removed shortcut",
        "moved target",
        "removed target",
        "hold",
        "request that was asked to slow down",
        "access token that was refused",
        "shared drive that was gone",
        "loss in another drive",
        "changed target in another drive",
    ];
    let missing: Vec<_> = kinds.iter().filter(|what| !happened.contains_key(*what)).collect();
    assert!(one.is_some() || missing.is_empty(), "it never came to {missing:?}");
}

impl History {
    /// Does something that the feed says nothing of, a day before the next run.
    fn silently(&self, edit: impl FnOnce(&mut World)) {
        let mut world = self.drive.world();
        let reported = world.log.len();
        edit(&mut world);
        world.log.truncate(reported);
        drop(world);
        self.clock.set(self.clock.now() + Duration::from_secs(25 * 3600));
    }

    async fn run_whole(&self) {
        let report = self.run().await.unwrap();
        assert!(report.error.is_none(), "{:?}", report.error);
        assert_eq!(report.status, RunStatus::Completed);
    }
}

/// The kinds of drives, each with a folder `a` of some files and another folder `b` of one, synced
/// once.
async fn drives() -> Vec<History> {
    let mut drives = Vec::new();
    for kind in 0..4 {
        let mut history = History::new(kind).await;
        {
            let mut world = history.drive.world();
            world.put_folder("a", ROOT, "a");
            world.put_folder("b", ROOT, "b");
            world.put_folder("inner", "a", "inner");
            for number in 0..8 {
                let folder = if number < 4 { "a" } else { "inner" };
                world.put(&format!("file {number}"), folder, &format!("{number}"), "content");
            }
            world.put("other", "b", "other", "other");
            world.put_folder("far", ELSEWHERE, "far");
        }
        history.run_whole().await;
        history.check().await;
        history.drive.world().requests.clear();
        drives.push(history);
    }
    drives
}

#[test]
fn what_is_silently_moved_is_where_it_is_after_a_full_pass() {
    play(async {
        for mut history in drives().await {
            history.silently(|world| {
                world.relocate("file 0", "far", "out of the drive");
                world.relocate("file 1", "b", "into another folder");
                world.relocate("file 4", "far", "out of a folder in a folder");
            });
            history.run_whole().await;
            history.check().await;
            let requests = history.drive.world().requests.clone();
            assert!(!requests.iter().any(|request| request.starts_with("fetch")), "{requests:?}");
        }
    });
}

#[test]
fn a_folder_that_is_silently_moved_takes_what_is_in_it_along() {
    play(async {
        for to in ["b", "far"] {
            for mut history in drives().await {
                history.silently(|world| world.put_folder("inner", to, "moved"));
                history.run_whole().await;
                history.check().await;
                assert_eq!(history.objects.len(), if to == "b" { 9 } else { 5 });
            }
        }
    });
}

#[test]
fn what_is_moved_to_where_nobody_can_look_stays_until_somebody_can() {
    play(async {
        for is_silent in [true, false] {
            for mut history in drives().await {
                let before = history.bucket().await;
                history.drive.world().unreadable.insert("far".to_owned());
                let moves = |world: &mut World| {
                    world.relocate("file 0", "far", "0");
                    world.put_folder("inner", "far", "inner");
                };
                // What leaves a shared drive is reported as removed.
                let is_reported = !is_silent && !history.drive.world().is_shared;
                match is_reported {
                    true => moves(&mut history.drive.world()),
                    false => history.silently(moves),
                }
                // A flat listing of the whole drive has the folder itself, and says where it is.
                let is_listed = {
                    let world = history.drive.world();
                    !world.by_folder && !world.is_shared
                };
                for _ in 0..3 {
                    history.run_whole().await;
                    assert!(is_listed || history.bucket().await == before);
                    history.silently(|_| {});
                }
                history.drive.world().unreadable.clear();
                history.run_whole().await;
                history.check().await;
                assert_eq!(history.objects.len(), 9 - 5);
            }
        }
    });
}

/// A drive with so many files in one folder, synced once.
async fn synced_folder(files: usize) -> History {
    let history = History::new(0).await;
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
        history.drive.world().hold = Some((0, until));
        let report = history.run().await.unwrap();
        history.check_held(&report, until).await;
        history.clock.set(until);
        assert_eq!(history.run().await.unwrap().status, RunStatus::Completed);
    });
}

#[test]
fn a_first_run_that_is_held_after_any_request_continues_there_when_it_is_due() {
    for by_folder in [0, 1] {
        let held_after = (0..).find(|held_after| {
            let held_after = *held_after;
            play(async move {
                let history = History::new(by_folder).await;
                let is_held = is_held_and_continued(history, held_after).await;
                !is_held
            })
        });
        assert!(held_after.unwrap() > 12, "a hold after each of the requests");
    }
}

/// Whether a first run is held after so many requests, or has ended before that. When it is due it
/// continues.
async fn is_held_and_continued(mut history: History, held_after: usize) -> bool {
    for number in 0..12 {
        let mut world = history.drive.world();
        world.put(&format!("file {number}"), ROOT, &format!("{number}"), "content");
    }
    let until = history.clock.now() + Duration::from_secs(7200);
    history.drive.world().hold = Some((held_after, until));
    let report = history.run().await.unwrap();
    if report.error.is_none() {
        history.check().await;
        return false;
    }
    // A source that was never reached leaves no sync behind.
    if report.job.is_some() {
        history.check_held(&report, until).await;
    }
    history.clock.set(until);
    assert_eq!(history.run().await.unwrap().status, RunStatus::Completed);
    history.check().await;
    let requests = history.drive.world().requests.clone();
    let fetches = requests.iter().filter(|request| request.starts_with("fetch")).count();
    // Those that were under way may have to be fetched again.
    assert!((12..12 + 4).contains(&fetches), "{requests:?}");
    true
}

#[test]
fn an_access_token_that_is_refused_at_any_request_is_renewed_once_and_the_new_secret_is_stored() {
    for expired_after in 0..20 {
        play(async {
            let mut history = synced_folder(5).await;
            let before = history.drive.authority.seen().len();
            {
                let mut world = history.drive.world();
                for number in 0..10 {
                    world.put(&format!("new {number}"), "folder", "new", format!("{number}"));
                }
                world.expire_token_after = Some(expired_after);
            }
            assert_eq!(history.run().await.unwrap().status, RunStatus::Completed);
            history.check().await;
            let world = history.drive.world();
            let is_refused = world.expire_token_after.is_none();
            assert_eq!(history.drive.authority.seen().len(), before + usize::from(is_refused));
            let fetches = world.requests.iter().filter(|one| one.starts_with("fetch")).count();
            assert_eq!(fetches, 10, "{:?}", world.requests);
        });
    }
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
