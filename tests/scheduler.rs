//! What the scheduler promises, on real folders with a clock that the test turns.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use catchment::{
    clock::{Clock as _, ManualClock, SharedClock, SystemClock},
    config::Config,
    engine::{Engine, Silent},
    model::{BucketName, Cause, JobId, Pause, PausedBy, Sweep, SyncMode, SyncOptions, SyncStatus},
    scheduler::{Bounds, Scheduler, Watch},
    sources::Registry,
    store::{
        buckets, connections, jobs,
        jobs::Job,
        syncs::{self, MadeBy, NewSync, Sync, SyncState},
    },
};
use jiff::Timestamp;
use tempfile::TempDir;

/// How long a test waits for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory with a scheduler at work, and folders to be kept in step.
struct House {
    dir: TempDir,
    engine: Engine,
    scheduler: Option<Scheduler>,
    clock: Arc<ManualClock>,
}

impl House {
    /// With a clock that stands still.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        Self::with(clock.clone(), clock)
    }

    /// With the system's clock.
    fn in_real_time() -> Self {
        Self::with(Arc::new(SystemClock), Arc::new(ManualClock::new(Timestamp::now())))
    }

    fn with(clock: SharedClock, manual: Arc<ManualClock>) -> Self {
        Self::waiting(Duration::ZERO, clock, manual)
    }

    /// One that waits so long for a file that may still be being written.
    fn waiting(quiet_period: Duration, clock: SharedClock, manual: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().join("data"),
            quiet_period,
            thumbnail_cache: Config::THUMBNAIL_CACHE,
            processing: None,
            ..Config::load(Some(dir.path().join("data"))).unwrap()
        };
        let engine = Engine::open(&config, clock, Arc::new(Registry)).unwrap();
        Self { dir, engine, scheduler: None, clock: manual }
    }

    fn start(&mut self) {
        let observers = Arc::new(|_: &JobId| Arc::new(Silent) as _);
        self.scheduler = Some(Scheduler::start(self.engine.clone(), Bounds::default(), observers));
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A sync of a folder, every 300 seconds, due at once.
    async fn sync(&self, folder: PathBuf, mode: SyncMode) -> Sync {
        use std::os::unix::ffi::OsStrExt as _;
        let now = self.engine.clock().now();
        let mut options = SyncOptions::default();
        options.pace.mode = mode;
        let name: BucketName = folder.file_name().unwrap().to_string_lossy().parse().unwrap();
        self.engine
            .store
            .write(move |tx| {
                let connection = connections::named(tx, "conn_local")?.unwrap();
                let new = NewSync {
                    bucket_key: buckets::ensure(tx, &name, now)?,
                    connection_key: connection.key,
                    source_path: folder.as_os_str().as_bytes(),
                    options: &options,
                    made_by: MadeBy::Api,
                    named_bucket: true,
                    next_sync_at: Some(now),
                };
                syncs::insert(tx, &new, now)
            })
            .await
            .unwrap()
    }

    async fn now_of(&self, sync: &Sync) -> Sync {
        let key = sync.key;
        self.engine.store.read(move |db| syncs::by_key(db, key)).await.unwrap()
    }

    async fn jobs(&self, sync: &Sync) -> Vec<Job> {
        let key = sync.key;
        self.engine.store.read(move |db| jobs::latest(db, key, 100)).await.unwrap()
    }

    /// Waits until as many jobs of the sync have ended, and answers them, newest first.
    async fn ended(&self, sync: &Sync, count: usize) -> Vec<Job> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let jobs = self.jobs(sync).await;
            if jobs.iter().filter(|job| job.completed_at.is_some()).count() >= count {
                return jobs;
            }
            assert!(Instant::now() < deadline, "{count} jobs have not ended: {jobs:#?}");
            if let Some(scheduler) = &self.scheduler {
                scheduler.nudge().nudge();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the folder of a sync is watched.
    #[cfg(target_os = "linux")]
    async fn watched(&self, sync: &Sync) {
        let watching = self.scheduler.as_ref().unwrap().watching();
        let deadline = Instant::now() + PATIENCE;
        while watching.of(sync.key) != Some(Watch::Live) {
            assert!(Instant::now() < deadline, "it is not watched");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets the scheduler look around a few times, for what must not happen.
    async fn look_around(&self) {
        for _ in 0..20 {
            self.scheduler.as_ref().unwrap().nudge().nudge();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn turn_clock(&self, by: i64) {
        self.clock.set(self.clock.now() + jiff::SignedDuration::from_secs(by));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_runs_when_it_is_made_and_again_an_interval_after_its_last_run() {
    let mut house = House::new();
    let folder = house.folder("photos");
    std::fs::write(folder.join("a"), "a").unwrap();
    let sync = house.sync(folder, SyncMode::Continuous).await;
    house.start();

    let first = house.ended(&sync, 1).await;
    assert_eq!((first[0].status.as_str(), first[0].counts.synced), ("completed", 1));
    let stands = house.now_of(&sync).await;
    assert_eq!(stands.status, SyncStatus::Active);
    let ended = first[0].completed_at.unwrap();
    assert_eq!(stands.next_sync_at, Some(ended + Duration::from_secs(300)));

    house.turn_clock(299);
    house.look_around().await;
    assert_eq!(house.jobs(&sync).await.len(), 1, "it is not due yet");
    house.turn_clock(8);
    let second = house.ended(&sync, 2).await;
    assert_eq!(second[0].cause, "interval");
    assert_eq!(second[0].counts.unchanged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_sleep_is_made_up_for_by_one_run() {
    let mut house = House::new();
    let sync = house.sync(house.folder("notes"), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;

    house.turn_clock(24 * 3600);
    house.ended(&sync, 2).await;
    house.look_around().await;
    assert_eq!(house.jobs(&sync).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_puts_no_sync_to_sleep() {
    let mut house = House::new();
    let sync = house.sync(house.folder("notes"), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;

    house.turn_clock(-365 * 24 * 3600);
    house.look_around().await;
    let limit = house.clock.now() + Duration::from_secs(300);
    let deadline = Instant::now() + PATIENCE;
    while house.now_of(&sync).await.next_sync_at.unwrap() > limit {
        assert!(Instant::now() < deadline, "it still sleeps for a year");
        house.look_around().await;
    }
    house.turn_clock(310);
    house.ended(&sync, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_to_run_once_runs_once() {
    let mut house = House::new();
    let sync = house.sync(house.folder("notes"), SyncMode::InitialOnly).await;
    house.start();
    house.ended(&sync, 1).await;
    let stands = house.now_of(&sync).await;
    assert_eq!((stands.status, stands.next_sync_at), (SyncStatus::Completed, None));

    house.turn_clock(3600);
    house.look_around().await;
    assert_eq!(house.jobs(&sync).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_failures_in_a_row_suspend_a_sync_and_say_why() {
    let mut house = House::new();
    let missing = house.dir.path().join("not-there");
    let sync = house.sync(missing, SyncMode::Continuous).await;
    house.start();
    for failures in 1..=5 {
        let jobs = house.ended(&sync, failures).await;
        assert_eq!(jobs[0].status, "failed");
        house.turn_clock(310);
    }
    let stands = house.now_of(&sync).await;
    assert_eq!((stands.status, stands.next_sync_at), (SyncStatus::Suspended, None));
    assert_eq!(stands.consecutive_failures, 5);
    let pause = stands.pause.unwrap();
    assert_eq!(pause.by, PausedBy::Failures);
    assert!(pause.reason.unwrap().contains("not there"));
    house.look_around().await;
    assert_eq!(house.jobs(&sync).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_forgets_the_failures_before_it() {
    let mut house = House::new();
    let late = house.dir.path().join("late");
    let sync = house.sync(late.clone(), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;
    assert_eq!(house.now_of(&sync).await.consecutive_failures, 1);

    std::fs::create_dir(&late).unwrap();
    house.turn_clock(310);
    house.ended(&sync, 2).await;
    let stands = house.now_of(&sync).await;
    assert_eq!((stands.consecutive_failures, stands.last_error), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sync_is_not_begun_even_when_it_was_queued_before() {
    let mut house = House::new();
    let sync = house.sync(house.folder("notes"), SyncMode::Continuous).await;
    let (key, now) = (sync.key, house.clock.now());
    house
        .engine
        .store
        .write(move |tx| {
            jobs::queue(tx, key, &JobId::generate(), Cause::Manual, Sweep::None, now)?;
            let sync = syncs::by_key(tx, key)?;
            let pause = Pause { reason: None, at: now, by: PausedBy::Person, drain: false };
            let standing = SyncState { pause: Some(pause), ..SyncState::of(&sync) };
            syncs::set_state(tx, &sync, &standing, now)
        })
        .await
        .unwrap();
    house.start();
    assert_eq!(house.ended(&sync, 1).await[0].status, "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_equal_the_sum_over_the_jobs() {
    let mut house = House::new();
    let folder = house.folder("photos");
    let sync = house.sync(folder.clone(), SyncMode::Continuous).await;
    house.start();
    for round in 1..=4 {
        std::fs::write(folder.join(format!("file {round}")), "x".repeat(round)).unwrap();
        std::fs::write(folder.join("changing"), "y".repeat(round)).unwrap();
        house.turn_clock(310);
        house.ended(&sync, round).await;
    }
    // The watch may have made runs of its own: as many as rounds do not mean that the last is done.
    let deadline = Instant::now() + PATIENCE;
    while house.now_of(&sync).await.totals.counts.synced < 5 {
        assert!(Instant::now() < deadline, "the last file has not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    house.scheduler.take().unwrap().stop().await;
    let jobs = house.jobs(&sync).await;
    let mut sum = catchment::model::Counts::default();
    jobs.iter().for_each(|job| sum.add(&job.counts));
    let totals = house.now_of(&sync).await.totals;
    assert_eq!(totals.counts, sum);
    // The watch may have queued another one, which the end of the scheduler left waiting.
    let begun = jobs.iter().filter(|job| job.started_at.is_some()).count();
    assert_eq!(totals.runs, begun as u64);
    assert!(sum.synced >= 5 && sum.bytes > 0, "{sum:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_in_a_watched_folder_is_an_object_without_waiting_for_the_interval() {
    let mut house = House::in_real_time();
    let folder = house.folder("inbox");
    let sync = house.sync(folder.clone(), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;
    house.watched(&sync).await;

    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::write(folder.join("deep/er/new.txt"), "new").unwrap();
    let (bucket_key, written) = (sync.bucket_key, Instant::now());
    let path = catchment::model::EntryPath::new(b"deep/er/new.txt".as_slice());
    loop {
        let wanted = path.clone();
        let found = house
            .engine
            .store
            .read(move |db| catchment::store::objects::by_path(db, bucket_key, &wanted))
            .await
            .unwrap();
        if found.is_some() {
            break;
        }
        // The interval is 300 s: only the watch can bring it within this.
        assert!(written.elapsed() < PATIENCE, "it has not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The bytes of an object, once it is there.
async fn bytes_of(house: &House, sync: &Sync, path: &str) -> Option<Vec<u8>> {
    let (bucket_key, path) = (sync.bucket_key, path.as_bytes().to_vec());
    let read = move |db: &_| {
        let path = catchment::model::EntryPath::new(path);
        let Some(object) = catchment::store::objects::by_path(db, bucket_key, &path)? else {
            return Ok(None);
        };
        let place = catchment::store::blobs::locate(db, &object.hash)?;
        Ok(match place {
            Some(catchment::store::blobs::BlobLocation::Inline(bytes)) => Some(bytes),
            _ => None,
        })
    };
    house.engine.store.read(read).await.unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_once_its_writer_has_closed_it_and_not_before() {
    use std::io::Write as _;
    // Nothing else than a closing makes a file finished within the time of this test.
    let quiet = Duration::from_secs(3600);
    let manual = Arc::new(ManualClock::new(Timestamp::now()));
    let mut house = House::waiting(quiet, Arc::new(SystemClock), manual);
    let folder = house.folder("inbox");
    let sync = house.sync(folder.clone(), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;
    house.watched(&sync).await;

    let deadline = Instant::now() + PATIENCE;
    std::fs::write(folder.join("closed.part"), "all of it").unwrap();
    std::fs::rename(folder.join("closed.part"), folder.join("renamed")).unwrap();
    std::fs::write(folder.join("closed"), "all of it").unwrap();
    for name in ["closed", "renamed"] {
        while bytes_of(&house, &sync, name).await.is_none() {
            assert!(Instant::now() < deadline, "{name} has not come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut open = std::fs::File::create(folder.join("open")).unwrap();
    open.write_all(b"half of it").unwrap();
    house.look_around().await;
    assert_eq!(bytes_of(&house, &sync, "open").await, None, "its writer may go on");
}

/// Whoever goes on writing a file keeps no other file back, and what is stored of it is whole.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_opened_added_to_and_closed_all_the_time_is_never_torn_and_comes_in_the_end()
{
    use std::io::Write as _;
    let manual = Arc::new(ManualClock::new(Timestamp::now()));
    let mut house = House::waiting(Duration::from_millis(500), Arc::new(SystemClock), manual);
    let folder = house.folder("inbox");
    let sync = house.sync(folder.clone(), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;
    house.watched(&sync).await;

    let log = folder.join("growing");
    let mut whole = Vec::new();
    for number in 0..150 {
        let line = format!("line {number:03}\n");
        let mut file = std::fs::File::options().append(true).create(true).open(&log).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        drop(file);
        whole.extend_from_slice(line.as_bytes());
        if number == 50 {
            std::fs::write(folder.join("other"), "saved meanwhile").unwrap();
        }
        if let Some(stored) = bytes_of(&house, &sync, "growing").await {
            assert!(whole.starts_with(&stored) && stored.len() % 9 == 0, "torn");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while bytes_of(&house, &sync, "growing").await.as_ref() != Some(&whole) {
        assert!(Instant::now() < deadline, "it has not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bytes_of(&house, &sync, "other").await.is_some());
}

/// A file that is written all the time makes its folder due no more often than it is worth.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_all_the_time_does_not_make_run_after_run() {
    use std::io::Write as _;
    for is_kept_open in [false, true] {
        let manual = Arc::new(ManualClock::new(Timestamp::now()));
        let mut house = House::waiting(Duration::from_secs(2), Arc::new(SystemClock), manual);
        let folder = house.folder("inbox");
        let sync = house.sync(folder.clone(), SyncMode::Continuous).await;
        house.start();
        house.ended(&sync, 1).await;
        house.watched(&sync).await;

        let log = folder.join("growing");
        let mut file = std::fs::File::create(&log).unwrap();
        for _ in 0..600 {
            file.write_all(b"one more line\n").unwrap();
            if !is_kept_open {
                file = std::fs::File::options().append(true).open(&log).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let runs = house.jobs(&sync).await.len();
        assert!(runs <= 8, "{runs} runs in six seconds, kept open: {is_kept_open}");

        drop(file);
        let whole = std::fs::read(&log).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while bytes_of(&house, &sync, "growing").await.as_ref() != Some(&whole) {
            assert!(Instant::now() < deadline, "it has not come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_of_a_watched_folder_goes_too() {
    let mut house = House::in_real_time();
    let folder = house.folder("inbox");
    std::fs::write(folder.join("one"), "1").unwrap();
    std::fs::write(folder.join("two"), "2").unwrap();
    let sync = house.sync(folder.clone(), SyncMode::Continuous).await;
    house.start();
    house.ended(&sync, 1).await;
    house.watched(&sync).await;
    let deadline = Instant::now() + PATIENCE;

    std::fs::remove_file(folder.join("one")).unwrap();
    while house.now_of(&sync).await.totals.counts.removed == 0 {
        assert!(Instant::now() < deadline, "it is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
