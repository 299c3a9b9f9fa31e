//! Two workers and one sync: whoever holds the lease writes, and a late one writes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/simulated.rs"]
mod simulated;

use std::{ffi::OsStr, sync::Arc, time::Duration};

use catchment::{
    clock::{Clock as _, ManualClock},
    config::{Config, ServeConfig},
    engine::{Engine, Report, Request, RunError, RunOptions, Silent},
    model::{BucketName, RunStatus, SyncOptions},
    sources::locate,
    store::{
        StoreError, buckets,
        command_line_syncs::BucketChoice,
        jobs,
        objects::{self, After},
        syncs,
    },
};
use simulated::Simulated;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A source of one file, whose bytes come once the gate is open, if there is one.
fn one_file(content: &str, gate: Option<Arc<Notify>>) -> Simulated {
    let source = Simulated::default();
    source.world().put("file", content);
    source.world().gate = gate;
    source
}

struct Fixture {
    config: Config,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
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
        Self { config, clock, _dir: dir }
    }

    /// Another process at work in the same data directory, as far as the engine can tell.
    fn worker(&self, source: &Simulated) -> Engine {
        Engine::open(&self.config, self.clock.clone(), Arc::new(source.clone())).unwrap()
    }
}

async fn run(engine: &Engine) -> Report {
    let request = Request {
        location: locate(OsStr::new("s3://place"), &serde_json::Map::new()).unwrap(),
        connection: None,
        bucket: BucketChoice::Named("bucket".parse::<BucketName>().unwrap()),
        options: SyncOptions::default(),
        run: RunOptions::default(),
    };
    engine.run(&request, Arc::new(Silent), CancellationToken::new()).await
}

#[tokio::test]
async fn a_run_that_comes_back_after_its_lease_was_taken_over_writes_nothing() {
    let fixture = Fixture::new();
    let gate = Arc::new(Notify::new());
    let old = one_file("as the first run saw it", Some(gate.clone()));
    let asked = old.world().asked.clone();
    let first = fixture.worker(&old);
    let zombie = {
        let first = first.clone();
        tokio::spawn(async move { run(&first).await })
    };
    asked.notified().await;

    let new = one_file("as it is now", None);
    let second = fixture.worker(&new);
    let refused = run(&second).await;
    assert!(matches!(refused.error, Some(RunError::Store(StoreError::Locked(_)))), "{refused:?}");

    fixture.clock.set(fixture.clock.now() + Duration::from_secs(61));
    let taken_over = run(&second).await;
    assert_eq!((taken_over.status, taken_over.counts.synced), (RunStatus::Completed, 1));

    gate.notify_one();
    let late = zombie.await.unwrap();
    assert_eq!(late.status, RunStatus::Interrupted);
    assert!(matches!(late.error, Some(RunError::Store(StoreError::LeaseLost))), "{late:?}");

    let (contents, states) = second
        .store
        .read(|db| {
            let bucket = buckets::by_name(db, "bucket")?.unwrap();
            let objects = objects::page(db, bucket.key, b"", &After::default(), 10)?;
            let sync = syncs::all(db)?.remove(0);
            let jobs = jobs::latest(db, sync.key, 10)?;
            let contents: Vec<_> = objects.into_iter().map(|object| object.hash).collect();
            let states: Vec<_> = jobs.into_iter().map(|job| job.status).collect();
            Ok((contents, states))
        })
        .await
        .unwrap();
    assert_eq!(contents, [catchment::model::BlobHash::of(b"as it is now")]);
    assert_eq!(states, ["completed", "interrupted"]);
}

#[tokio::test]
async fn the_lease_of_a_worker_that_has_ended_is_taken_over_at_once() {
    let fixture = Fixture::new();
    let source = one_file("content", Some(Arc::default()));
    let first = fixture.worker(&source);
    let asked = source.world().asked.clone();
    tokio::select! {
        _ = run(&first) => panic!("the gate is closed"),
        () = asked.notified() => {}
    }
    drop(first);

    let second = fixture.worker(&one_file("content", None));
    let report = run(&second).await;

    assert_eq!(report.status, RunStatus::Completed, "{:?}", report.error);
}
