//! What becomes of a request whose handler panics. No request is known to make one do so: here a
//! source does, within the same router that `serve` serves.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{body::Body, http::Request};
use catchment::{
    api::{self, App, Background, access::Access, content::links::Links, server::Peer},
    clock::SystemClock,
    config::{Config, ServeConfig, SourceTuning},
    engine::{Engine, LiveProgress},
    model::{Credentials, Location, SyncOptions},
    processing::{extract::Extractors, processor::Nudge},
    scheduler::{Bounds, Observers, Scheduler},
    sources::{Opener, Source, SourceError},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What the panic says, and nobody outside may learn.
const WORDS: &str = "the ladder to /srv/attic broke, token hunter2";

/// Sources that panic.
#[derive(Debug)]
struct Trap;

#[async_trait]
impl Opener for Trap {
    async fn open(
        &self,
        _: &Location,
        _: Option<&Credentials>,
        _: &SyncOptions,
        _: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError> {
        panic!("{WORDS}")
    }
}

/// A log that the test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_returns_an_id_that_is_in_the_log_and_reveals_nothing_else() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _logged = tracing::subscriber::set_default(lines.finish());
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: dir.path().to_owned(),
        min_free: Some(bytesize::ByteSize(0)),
        quiet_period: std::time::Duration::ZERO,
        thumbnail_cache: Config::THUMBNAIL_CACHE,
        processing: None,
        allow_private_urls: false,
        url_timeout: Config::URL_TIMEOUT,
        keyring: false,
        hosts: Arc::default(),
        limits: catchment::config::Limits::default(),
        serve: ServeConfig::default(),
    };
    let engine = Engine::open(&config, Arc::new(SystemClock), Arc::new(Trap)).unwrap();
    let address = "127.0.0.1:7400".parse().unwrap();
    let access = Access::open(&config, address, Some("the token")).unwrap();
    let links = Links::open(dir.path(), access.token().clone()).unwrap();
    let live_progress = LiveProgress::default();
    let watched = live_progress.clone();
    let observers: Observers = Arc::new(move |job| watched.watch(job));
    let scheduler = Scheduler::start(engine.clone(), Bounds::default(), observers);
    let stopping = CancellationToken::new();
    let extractors = Extractors::new("catchment".into(), dir.path().join("scratch"));
    let background = Background {
        scheduler: &scheduler,
        live_progress,
        extractors,
        processor: Nudge::default(),
    };
    let app = App::new(engine, config, access, links, background, stopping);
    let router = api::router(app);
    let ask = async |target: &str| {
        let mut request = Request::get(target)
            .header("Host", "127.0.0.1:7400")
            .header("Authorization", "Bearer the token")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(Peer(address));
        router.clone().oneshot(request).await.unwrap()
    };

    let answer = ask("/v1/organizations/connections/conn_local/files?path=/").await;
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&error["success"], &error["status"]), (&Value::Bool(false), &Value::from(500)));
    assert_eq!(error["error"]["details"]["request_id"], id);
    for trace in ["ladder", "attic", "hunter2", ".rs", "panic"] {
        assert!(!text.contains(trace), "{trace:?} is in {text}");
    }
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let is_told = |line: &str| line.contains(&id) && line.contains(WORDS) && line.contains("ERROR");
    assert!(logged.lines().any(is_told), "{logged}");
    assert_eq!(ask("/v1/health").await.status(), 200);
    scheduler.stop().await;
}
