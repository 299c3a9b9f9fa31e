//! Promises of the engine that only show over several runs, on a source that lives in memory and
//! under a clock that the test holds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod flags;
mod many_new;
mod search_index;
mod shards;
#[path = "../support/simulated.rs"]
mod simulated;

use std::{ffi::OsStr, sync::Arc, time::Duration};

use catchment::{
    clock::{Clock as _, ManualClock},
    config::{Config, ServeConfig},
    engine::{
        Engine, Report, Request, RunOptions, Silent,
        preview::{self, Bounds, Question, Verdict},
    },
    model::{
        BucketName, Cause, FileFilters, JobId, Location, Reconcile, RunStatus, Sweep, SyncMode,
        SyncOptions, SyncStatus,
    },
    sources::locate,
    store::{
        buckets,
        command_line_syncs::{self, BucketChoice, SyncSource},
        dead_letters::{self, DeadLetter, DeadLetterFilter},
        events, jobs,
        objects::{self, After},
        syncs::{self, HeldReason, Sync},
    },
};
use simulated::Simulated;
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Fixture {
    source: Simulated,
    clock: Arc<ManualClock>,
    engine: Engine,
    options: SyncOptions,
    _dir: tempfile::TempDir,
}

fn location() -> Location {
    locate(OsStr::new("s3://place"), &serde_json::Map::new()).unwrap()
}

fn bucket() -> BucketChoice {
    BucketChoice::Named("bucket".parse::<BucketName>().unwrap())
}

impl Fixture {
    /// A source of so many files, `file 00` and on.
    fn with_files(files: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().to_owned(),
            min_free: Some(bytesize::ByteSize(0)),
            quiet_period: Duration::ZERO,
            thumbnail_cache: Config::THUMBNAIL_CACHE,
            processing: None,
            allow_private_urls: false,
            url_timeout: Config::URL_TIMEOUT,
            keyring: false,
            hosts: Arc::default(),
            limits: catchment::config::Limits::default(),
            serve: ServeConfig::default(),
        };
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let source = Simulated::default();
        for number in 0..files {
            source.world().put(&format!("file {number:02}"), format!("content {number}"));
        }
        let engine = Engine::open(&config, clock.clone(), Arc::new(source.clone())).unwrap();
        Self { source, clock, engine, options: SyncOptions::default(), _dir: dir }
    }

    fn wait(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }

    async fn run(&self) -> Report {
        let request = Request {
            location: location(),
            connection: None,
            bucket: bucket(),
            options: self.options.clone(),
            run: RunOptions::default(),
        };
        self.engine.run(&request, Arc::new(Silent), CancellationToken::new()).await
    }

    async fn queue(&self, cause: Cause, full: bool) -> JobId {
        let (id, options, now) = (JobId::generate(), self.options.clone(), self.clock.now());
        let job = id.clone();
        self.engine
            .store
            .write(move |tx| {
                let location = location();
                let place = SyncSource::Address(&location);
                let sync = command_line_syncs::ensure(tx, place, &bucket(), &options, now)?;
                jobs::queue(tx, sync.key, &job, cause, Sweep::of(full, full), now)
            })
            .await
            .unwrap();
        id
    }

    async fn run_job(&self, job: &JobId) -> Report {
        self.engine.run_job(job, Arc::new(Silent), CancellationToken::new()).await
    }

    async fn sync(&self) -> Sync {
        self.engine.store.read(|db| Ok(syncs::all(db)?.remove(0))).await.unwrap()
    }

    async fn paths(&self) -> Vec<String> {
        let page = |db: &catchment::store::Connection| {
            let bucket = buckets::by_name(db, "bucket")?.unwrap();
            objects::page(db, bucket.key, b"", &After::default(), 1000)
        };
        let objects = self.engine.store.read(page).await.unwrap();
        objects.iter().map(|object| object.path.to_json_text()).collect()
    }

    async fn letters(&self, wanted: DeadLetterFilter) -> Vec<DeadLetter> {
        let sync = self.sync().await;
        let list = move |db: &catchment::store::Connection| {
            dead_letters::list(db, sync.key, &wanted, 100, 0)
        };
        self.engine.store.read(list).await.unwrap().0
    }

    fn asked(&self, name: &str) -> bool {
        let mut world = self.source.world();
        std::mem::take(&mut world.asked_for).contains(name)
    }

    fn question<'a>(
        &self,
        known: Option<Sync>,
        location: &'a Location,
        options: &'a SyncOptions,
        run: &'a RunOptions,
    ) -> Question<'a> {
        Question { known, location, options, run, now: self.clock.now() }
    }
}

/// A fixture with one entry whose three retries have failed.
async fn with_a_quarantined_entry() -> Fixture {
    let fixture = Fixture::with_files(3);
    fixture.source.world().refused.insert("file 01".into());
    for wait in [Duration::ZERO, MINUTE, 5 * MINUTE, 30 * MINUTE] {
        fixture.wait(wait);
        let report = fixture.run().await;
        assert_eq!((report.status, report.counts.failed), (RunStatus::CompletedWithErrors, 1));
        assert!(fixture.asked("file 01"), "after {wait:?}");
    }
    fixture
}

#[tokio::test]
async fn an_entry_that_keeps_failing_is_tried_less_and_less_and_at_last_no_more() {
    let fixture = with_a_quarantined_entry().await;
    let letter = fixture
        .letters(DeadLetterFilter { only_max_retries: true, ..DeadLetterFilter::default() })
        .await;
    assert_eq!((letter[0].life.retries, letter[0].error_type.as_str()), (3, "permission_denied"));

    fixture.wait(23 * 60 * MINUTE);
    let report = fixture.run().await;
    assert!(!fixture.asked("file 01"), "once in 24 hours at most");
    assert_eq!((report.counts.failed, report.counts.discovered()), (0, 3), "it waits");

    let mut tries = 0;
    for _ in 0..20 {
        fixture.wait(DAY);
        fixture.run().await;
        tries += usize::from(fixture.asked("file 01"));
    }
    let retired = fixture.letters(DeadLetterFilter::default()).await.remove(0);
    assert!(tries <= 7, "{tries} tries");
    assert!(retired.life.disposed.is_some(), "{retired:?}");
    assert_eq!(fixture.run().await.status, RunStatus::CompletedWithErrors, "it still is missing");
}

#[tokio::test]
async fn an_entry_that_changes_at_the_source_is_tried_at_once() {
    let fixture = with_a_quarantined_entry().await;
    fixture.source.world().refused.clear();
    fixture.run().await;
    assert!(!fixture.asked("file 01"), "it could be read, but nobody knows");

    fixture.source.world().put("file 01", "another content");
    let report = fixture.run().await;

    assert_eq!((report.status, report.counts.synced), (RunStatus::Completed, 1));
    let letter = fixture.letters(DeadLetterFilter::default()).await.remove(0);
    assert_eq!(letter.resolved_at, Some(fixture.clock.now()));
}

#[tokio::test]
async fn a_requeued_entry_is_due_at_once_and_so_is_its_sync() {
    let fixture = with_a_quarantined_entry().await;
    fixture.source.world().refused.clear();
    let (sync, now) = (fixture.sync().await, fixture.clock.now());
    let requeue = |kind: &str| {
        let (key, kinds) = (sync.key, vec![kind.to_owned()]);
        fixture.engine.store.write(move |tx| dead_letters::requeue(tx, key, &kinds, &[], now))
    };
    assert_eq!(requeue("timeout").await.unwrap(), 0, "another kind of failure");
    assert_eq!(requeue("permission_denied").await.unwrap(), 1);
    let due = fixture.sync().await;
    assert_eq!((due.status, due.next_sync_at), (SyncStatus::Queued, Some(now)));

    assert_eq!(fixture.run().await.counts.synced, 1);
}

#[tokio::test]
async fn an_entry_that_waits_is_requeued_and_made_due_by_other_settings() {
    let fixture = Fixture::with_files(2);
    fixture.source.world().refused.insert("file 01".into());
    fixture.run().await;
    fixture.run().await;
    let (key, now) = (fixture.sync().await.key, fixture.clock.now());
    let is_due = || async {
        let letter = fixture.letters(DeadLetterFilter::default()).await.remove(0);
        letter.life.retry_at.is_none()
    };
    assert!(!is_due().await, "it waits for five minutes");
    let requeued =
        fixture.engine.store.write(move |tx| dead_letters::requeue(tx, key, &[], &[], now));
    assert_eq!(requeued.await.unwrap(), 1, "exhausted or not");
    assert!(is_due().await);

    fixture.run().await;
    assert!(!is_due().await);
    fixture.engine.store.write(move |tx| dead_letters::make_due(tx, key, now)).await.unwrap();
    assert!(is_due().await);
}

#[tokio::test]
async fn a_panic_fails_the_entry_that_caused_it_and_no_other() {
    let fixture = Fixture::with_files(4);
    fixture.source.world().panics.insert("file 01".into());
    fixture.source.world().panics_on_fetch.insert("file 02".into());

    let report = fixture.run().await;

    assert_eq!((report.status, report.counts.synced), (RunStatus::CompletedWithErrors, 2));
    let mut letters = fixture.letters(DeadLetterFilter::default()).await;
    letters.sort_by_key(|letter| letter.path.clone());
    for (letter, path) in letters.iter().zip(["file 01", "file 02"]) {
        let found = (letter.error_type.as_str(), letter.path.to_json_text());
        assert_eq!(found, ("internal", path.into()));
        assert!(letter.message.contains("report it with what the log says"), "{}", letter.message);
        assert!(!letter.message.contains("script of the test"), "{}", letter.message);
    }
    assert_eq!(letters.len(), 2);

    fixture.source.world().panics.clear();
    fixture.source.world().panics_on_fetch.clear();
    assert_eq!(fixture.run().await.counts.synced, 2, "they are tried again like any other");
}

#[tokio::test]
async fn an_entry_that_was_marked_as_failed_is_left_alone() {
    let fixture = Fixture::with_files(2);
    fixture.source.world().refused.insert("file 00".into());
    fixture.run().await;
    let key = fixture.sync().await.key;
    let kinds = vec!["permission_denied".to_owned()];
    let marked = fixture.engine.store.write(move |tx| dead_letters::give_up(tx, key, &kinds));
    assert_eq!(marked.await.unwrap(), 1);
    fixture.source.world().refused.clear();
    fixture.asked("file 00");

    fixture.run().await;

    assert!(!fixture.asked("file 00"));
    let counts = fixture.engine.store.read(move |db| dead_letters::open_by_type(db, key));
    assert_eq!(counts.await.unwrap(), [("permission_denied".to_owned(), 1)]);
}

impl Fixture {
    /// Runs a job and those that continue it. Returns the report of each.
    async fn run_slices(&self, mut job: JobId) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            let report = self.run_job(&job).await;
            assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
            let next = report.next.clone();
            reports.push(report);
            let Some(next) = next else { return reports };
            job = next;
        }
    }
}

#[tokio::test]
async fn a_slice_takes_up_exactly_as_many_entries_as_it_may_and_unchanged_ones_are_free() {
    for (is_ordered, resumes) in [(true, true), (false, true), (true, false)] {
        let mut fixture = Fixture::with_files(20);
        fixture.source.world().backwards = !is_ordered;
        fixture.options.pace.resume_enabled = resumes;
        fixture.options.pace.max_objects_per_run = 7;

        let slices = fixture.run_slices(fixture.queue(Cause::Interval, false).await).await;

        let synced: Vec<u64> = slices.iter().map(|report| report.counts.synced).collect();
        assert_eq!(synced, [7, 7, 6]);
        assert_eq!(slices[2].counts.discovered(), 20, "the last one has seen all of it");
        let again = fixture.run_slices(fixture.queue(Cause::Interval, false).await).await;
        assert_eq!((again.len(), again[0].counts.unchanged), (1, 20));
    }
}

#[tokio::test]
async fn a_pass_in_slices_removes_nothing_before_its_end() {
    let mut fixture = Fixture::with_files(20);
    fixture.run().await;
    fixture.source.world().files.remove("file 00");
    for number in 1..20 {
        fixture.source.world().put(&format!("file {number:02}"), "changed");
    }
    fixture.options.pace.max_objects_per_run = 6;

    let first = fixture.queue(Cause::Manual, false).await;
    let slices = fixture.run_slices(first).await;

    let did: Vec<_> =
        slices.iter().map(|report| (report.counts.updated, report.counts.removed)).collect();
    assert_eq!(did, [(6, 0), (6, 0), (6, 0), (1, 1)]);
    let key = fixture.sync().await.key;
    let all = fixture.engine.store.read(move |db| jobs::latest(db, key, 3)).await.unwrap();
    assert!(all.iter().all(|job| job.cause == "slice"), "{all:?}");
}

#[tokio::test]
async fn a_full_run_that_was_cut_off_is_continued_as_a_full_one() {
    let mut fixture = Fixture::with_files(12);
    fixture.options.pace.resume_checkpoint_frequency = 1;
    fixture.run().await;
    fixture.source.world().asked_for.clear();
    fixture.source.world().break_before_page = Some(2);
    let full = fixture.queue(Cause::Manual, true).await;
    assert_eq!(fixture.run_job(&full).await.status, RunStatus::Failed);
    assert_eq!(std::mem::take(&mut fixture.source.world().asked_for).len(), 6);
    fixture.source.world().break_before_page = None;

    let report = fixture.run().await;

    assert_eq!((report.status, report.counts.discovered()), (RunStatus::Completed, 12));
    let fetched = std::mem::take(&mut fixture.source.world().asked_for);
    assert!(fetched.iter().eq((6..12).map(|n| format!("file {n:02}")).collect::<Vec<_>>().iter()));
    fixture.run().await;
    assert!(fixture.source.world().asked_for.is_empty(), "the full run is complete");
}

#[tokio::test]
async fn a_full_run_in_slices_fetches_everything() {
    let mut fixture = Fixture::with_files(10);
    fixture.run().await;
    fixture.options.pace.max_objects_per_run = 3;
    fixture.source.world().asked_for.clear();
    let mut job = fixture.queue(Cause::Manual, true).await;
    while let Some(next) = fixture.run_job(&job).await.next {
        job = next;
    }
    assert_eq!(fixture.source.world().asked_for.len(), 10);
}

#[tokio::test]
async fn a_full_run_that_was_asked_for_meanwhile_follows() {
    let fixture = Fixture::with_files(3);
    let job = fixture.queue(Cause::Manual, false).await;
    let sync = fixture.sync().await;
    let now = fixture.clock.now();
    let wish = fixture.engine.store.write(move |tx| {
        let standing = syncs::SyncState {
            pending_full_sync: true,
            pending_refetch: true,
            ..syncs::SyncState::of(&sync)
        };
        syncs::set_state(tx, &sync, &standing, now)
    });
    wish.await.unwrap();

    let next = fixture.run_job(&job).await.next.expect("the full run is queued");
    fixture.source.world().asked_for.clear();
    fixture.run_job(&next).await;

    assert_eq!(fixture.source.world().asked_for.len(), 3);
    assert!(!fixture.sync().await.pending_full_sync);
}

#[tokio::test]
async fn the_command_lines_run_goes_to_the_end() {
    let mut fixture = Fixture::with_files(10);
    fixture.options.pace.max_objects_per_run = 2;
    let report = fixture.run().await;
    assert_eq!((report.counts.synced, report.next), (10, None));
}

#[tokio::test]
async fn held_removals_that_are_approved_go_only_if_they_still_are_gone() {
    let mut fixture = Fixture::with_files(30);
    fixture.options.pace.mode = SyncMode::Continuous;
    fixture.run().await;
    fixture.source.world().files.retain(|name, _| name.as_str() >= "file 20");
    assert_eq!(fixture.run().await.status, RunStatus::Held);
    let sync = fixture.sync().await;
    assert_eq!(sync.held_removals.as_ref().unwrap().count, 20);
    fixture.source.world().put("file 00", "back");
    fixture.source.world().files.remove("file 29");

    let (observer, stop) = (Arc::new(Silent), CancellationToken::new());
    let report = fixture.engine.approve_removals(&sync, observer, stop).await.unwrap();

    assert_eq!((report.status, report.counts.removed), (RunStatus::Completed, 20));
    let paths = fixture.paths().await;
    assert_eq!(paths.len(), 10);
    assert!(paths.contains(&"file 00".to_owned()) && !paths.contains(&"file 29".to_owned()));
    assert!(fixture.sync().await.held_removals.is_none());
    let told = fixture.engine.store.read(|db| events::behind(db, 0, 1000)).await.unwrap();
    let changes: Vec<_> = told.iter().filter_map(|event| event.detail["change"].as_str()).collect();
    assert!(changes.contains(&"held") && changes.contains(&"approved"), "{changes:?}");
}

#[tokio::test]
async fn a_word_for_some_removals_is_none_for_others() {
    let mut fixture = Fixture::with_files(60);
    fixture.run().await;
    let keep = |source: &Simulated, from: &str| {
        source.world().files.retain(|name, _| name.as_str() >= from);
    };
    keep(&fixture.source, "file 31");
    fixture.run().await;
    fixture.options.max_delete = Some(catchment::model::MaxDelete::Count(5));
    let (sync, now) = (fixture.sync().await, fixture.clock.now());
    let (stored, options) = (sync.clone(), fixture.options.clone());
    let store = &fixture.engine.store;
    store.write(move |tx| syncs::set_options(tx, &stored, &options, now)).await.unwrap();
    keep(&fixture.source, "file 59");

    let (observer, stop) = (Arc::new(Silent), CancellationToken::new());
    let report = fixture.engine.approve_removals(&sync, observer, stop).await.unwrap();

    assert_eq!(report.counts.removed, 31);
    assert_eq!(report.held.map(|held| held.count), Some(28));
    assert_eq!(fixture.paths().await.len(), 29);
}

#[tokio::test]
async fn rejected_removals_are_not_asked_about_until_the_source_changes() {
    let fixture = Fixture::with_files(30);
    fixture.run().await;
    let all = fixture.source.world().files.clone();
    let lose = || fixture.source.world().files.retain(|name, _| name.as_str() >= "file 20");
    lose();
    fixture.run().await;
    let sync = fixture.sync().await;

    assert_eq!(fixture.engine.reject_removals(&sync).await.unwrap(), 20);

    let report = fixture.run().await;
    assert_eq!((report.status, report.counts.removed), (RunStatus::Completed, 0));
    assert_eq!(fixture.paths().await.len(), 30);

    fixture.source.world().files = all;
    fixture.run().await;
    lose();
    assert_eq!(fixture.run().await.status, RunStatus::Held, "gone anew, asked anew");
    assert!(fixture.engine.reject_removals(&fixture.sync().await).await.is_ok());
    let nothing = fixture.engine.reject_removals(&sync).await;
    assert!(nothing.is_err(), "there is nothing to refuse any more");
}

#[tokio::test]
async fn removals_that_wait_for_a_decision_wait_when_they_become_fewer() {
    let fixture = Fixture::with_files(30);
    fixture.run().await;
    let all = fixture.source.world().files.clone();
    fixture.source.world().files.retain(|name, _| name.as_str() >= "file 20");
    assert_eq!(fixture.run().await.held.map(|held| held.count), Some(20));
    fixture.source.world().files = all.clone();
    fixture.source.world().files.retain(|name, _| name.as_str() >= "file 05");

    let report = fixture.run().await;

    assert_eq!(report.held.map(|held| held.count), Some(5), "the list follows what is gone");
    assert_eq!((report.counts.removed, fixture.paths().await.len()), (0, 30));
    fixture.source.world().files = all;
    assert_eq!(fixture.run().await.status, RunStatus::Completed, "nothing is gone any more");
    assert!(fixture.sync().await.held_removals.is_none());
}

#[tokio::test]
async fn a_source_that_was_replaced_is_not_listed_before_a_decision() {
    let fixture = Fixture::with_files(5);
    fixture.source.world().root = Some("one disk".into());
    fixture.run().await;
    let files = std::mem::take(&mut fixture.source.world().files);
    fixture.source.world().root = Some("another disk".into());
    fixture.source.world().put("stranger", "of another disk");
    for _ in 0..2 {
        let held = fixture.run().await.held.expect("it is held");
        assert_eq!((held.reason, held.count), (HeldReason::SourceReplaced, 5));
    }
    let sync = fixture.sync().await;
    assert_eq!(fixture.engine.reject_removals(&sync).await.unwrap(), 5);
    assert_eq!(fixture.run().await.status, RunStatus::Failed, "it was refused");
    assert_eq!(fixture.paths().await.len(), 5, "and everything is kept");

    let strangers = std::mem::replace(&mut fixture.source.world().files, files);
    fixture.source.world().root = Some("one disk".into());
    assert_eq!(fixture.run().await.counts.unchanged, 5, "the old one is back");

    fixture.source.world().files = strangers;
    fixture.source.world().root = Some("another disk".into());
    assert_eq!(fixture.run().await.status, RunStatus::Held, "replaced anew, asked anew");
    let (observer, stop) = (Arc::new(Silent), CancellationToken::new());
    let sync = fixture.sync().await;
    let report = fixture.engine.approve_removals(&sync, observer, stop).await.unwrap();
    assert_eq!((report.counts.synced, report.counts.removed), (1, 5));
    assert_eq!(fixture.run().await.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_root_under_another_name_is_known_by_what_lies_there() {
    let fixture = Fixture::with_files(9);
    fixture.source.world().root = Some("device 8:1".into());
    fixture.run().await;
    fixture.source.world().root = Some("device 8:17".into());
    fixture.source.world().put("file 03", "changed");
    fixture.source.world().files.remove("file 04");

    let counts = fixture.run().await.counts;

    assert_eq!((counts.unchanged, counts.updated, counts.removed), (7, 1, 1));
}

#[tokio::test]
async fn a_preview_of_other_settings_shows_what_they_would_remove() {
    let fixture = Fixture::with_files(12);
    fixture.run().await;
    fixture.source.world().rename("file 11", "renamed");
    fixture.source.world().put("new", "content");
    let options = SyncOptions {
        filters: FileFilters { exclude_patterns: vec!["*0[0-2]".into()], ..Default::default() },
        ..SyncOptions::default()
    };
    let (place, run) = (location(), RunOptions::default());
    let question = fixture.question(Some(fixture.sync().await), &place, &options, &run);
    let stop = CancellationToken::new();

    let outlook = preview::outlook(
        &fixture.engine.store,
        &fixture.source,
        question,
        Bounds::default(),
        2,
        &stop,
    )
    .await
    .unwrap();

    let counts = outlook.preview.counts;
    assert_eq!((counts.synced, counts.updated, counts.filtered, counts.removed), (1, 1, 3, 3));
    assert_eq!((counts.unchanged, counts.bytes, outlook.preview.complete), (8, 7, true));
    assert_eq!(outlook.preview.excluded.values().sum::<u64>(), 3);
    let excluded =
        outlook.sample.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Exclude { .. }));
    assert_eq!(excluded.count(), 2, "a sample of each kind");
    assert_eq!(fixture.paths().await.len(), 12, "nothing was touched");
}

#[tokio::test]
async fn a_preview_says_how_far_it_looked() {
    let fixture = Fixture::with_files(30);
    let (place, run, options) = (location(), RunOptions::default(), SyncOptions::default());
    let question = fixture.question(None, &place, &options, &run);
    let bounds = Bounds { entries: Some(6), time: Some(Duration::from_secs(30)) };
    let stop = CancellationToken::new();

    let outlook =
        preview::outlook(&fixture.engine.store, &fixture.source, question, bounds, 50, &stop)
            .await
            .unwrap();

    assert_eq!((outlook.preview.complete, outlook.preview.looked_at), (false, 6));
    assert_eq!(outlook.sample.len(), 6);
}

#[tokio::test]
async fn with_every_flag_off_the_bucket_only_grows() {
    let mut fixture = Fixture::with_files(3);
    fixture.run().await;
    fixture.options.reconcile = Reconcile {
        on_delete: false,
        on_update: false,
        on_filter_drift: false,
        ..Reconcile::default()
    };
    fixture.options.filters.exclude_patterns = vec!["file 02".into()];
    fixture.source.world().rename("file 00", "renamed");
    fixture.source.world().put("file 01", "changed");

    let report = fixture.run().await;

    assert_eq!((report.counts.synced, report.counts.updated, report.counts.removed), (1, 0, 0));
    assert_eq!(fixture.paths().await, ["file 00", "file 01", "file 02", "renamed"]);
}

#[tokio::test]
async fn entries_that_were_skipped_as_duplicates_get_their_objects_without_a_download() {
    let mut fixture = Fixture::with_files(1);
    for name in ["copy 1", "copy 2"] {
        fixture.source.world().put(name, "content 0");
    }
    fixture.options.skip_duplicates = true;
    let counts = fixture.run().await.counts;
    assert_eq!((counts.synced, counts.duplicates), (1, 2));
    fixture.source.world().asked_for.clear();
    fixture.options.skip_duplicates = false;

    let counts = fixture.run().await.counts;

    assert_eq!((counts.synced, counts.unchanged, counts.bytes), (2, 1, 0));
    assert!(fixture.source.world().asked_for.is_empty(), "nothing was downloaded");
    assert_eq!(fixture.paths().await, ["copy 1", "copy 2", "file 00"]);
    assert_eq!(fixture.run().await.counts.unchanged, 3);
}
