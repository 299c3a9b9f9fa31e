//! How fast a bucket of a million objects is listed: `cargo bench --bench listing [OBJECTS]`.
//!
//! Fills a data directory through the store, as a sync would, and indexes it for search, as a
//! server would in the background; starts the real server on it; asks it 200 times a second, from
//! this other process, over a few connections; and prints the latencies. They count from the
//! instant at which a request was due, so that a slow answer makes those behind it slow, too.
//! `CATCHMENT_BENCH_DIR` keeps the data directory for the next time.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use catchment::{
    model::{
        BlobHash, Cause, Counts, EntryPath, Fingerprint, JobId, JobStatus, Sweep, SyncOptions,
        Version,
    },
    sources::locate,
    store::{
        Store, StoreError, Transaction,
        command_line_syncs::{self, BucketChoice, SyncSource},
        commit::{self, Batch, FetchedEntry, Stored, Target},
        jobs,
        leases::{self, Holder},
        objects::text,
    },
};
use jiff::Timestamp;

const OBJECTS: u64 = 1_000_000;
const BATCH: u64 = 2_000;
const RATE: u32 = 200;
const SECONDS: u32 = 10;
const CONNECTIONS: usize = 16;

fn main() {
    let objects = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(OBJECTS);
    let kept = std::env::var_os("CATCHMENT_BENCH_DIR").map(PathBuf::from);
    let fresh = tempfile::tempdir().unwrap();
    let data_dir = kept.unwrap_or_else(|| fresh.path().join("data"));
    if !data_dir.join("catchment.db").exists() {
        let begun = Instant::now();
        tokio::runtime::Runtime::new().unwrap().block_on(fill(&data_dir, objects));
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "filled: {objects} objects in {seconds:.1} s, {:.1} µs each",
            seconds * 1e6 / objects as f64
        );
        let begun = Instant::now();
        tokio::runtime::Runtime::new().unwrap().block_on(index(&data_dir));
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "indexed for search: {seconds:.1} s, {:.1} µs each",
            seconds * 1e6 / objects as f64
        );
    }
    let server = Server::start(&data_dir);
    let list = "/v1/buckets/million/objects/list";
    let deep = server.deep_cursor(list);
    let sized = r#"{"sort":{"field":"size_bytes","direction":"desc"}}"#;
    let cases = [
        ("default page of 100", format!("{list}?limit=100"), "{}"),
        ("cursor page deep inside", format!("{list}?limit=100&cursor={deep}"), "{}"),
        (
            "prefix",
            format!("{list}?limit=100"),
            r#"{"filters":{"key_prefix":{"starts_with":"folder 123/"}}}"#,
        ),
        (
            "wide prefix",
            format!("{list}?limit=100"),
            r#"{"filters":{"key_prefix":{"starts_with":"folder 1"}}}"#,
        ),
        ("search for a common word", format!("{list}?limit=100"), r#"{"search":"PHOTO"}"#),
        ("search for a rare word", format!("{list}?limit=100"), r#"{"search":"no such word"}"#),
        (
            "the same by path, counted",
            format!("{list}?limit=100&include_total=true"),
            r#"{"search":"photo 123456","sort":{"field":"key_prefix","direction":"asc"}}"#,
        ),
        (
            "filtered by size, few",
            format!("{list}?limit=100"),
            r#"{"filters":{"size_bytes":{"gte":1990}}}"#,
        ),
        (
            "filtered by size, many",
            format!("{list}?limit=100"),
            r#"{"filters":{"size_bytes":{"gte":100}}}"#,
        ),
        ("sorted by size", format!("{list}?limit=100"), sized),
        ("exact count of all", format!("{list}?limit=100&include_total=true"), "{}"),
    ];
    for (name, target, body) in &cases {
        let mut took = server.ask(target, body);
        took.sort();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{name:28} p50 {:7.2} ms   p99 {:7.2} ms   max {:7.2} ms",
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

/// A bucket as a sync leaves it: paths in a thousand folders, sizes of 8 to 2,000 bytes.
async fn fill(data_dir: &Path, objects: u64) {
    let store = Store::open(data_dir).unwrap();
    let now = Timestamp::now();
    let target = store
        .write(move |tx| {
            let location = locate(OsStr::new("/nowhere"), &serde_json::Map::new()).expect("a path");
            let name = BucketChoice::Named("million".parse().expect("a name"));
            let sync = command_line_syncs::ensure(
                tx,
                SyncSource::Address(&location),
                &name,
                &SyncOptions::default(),
                now,
            )?;
            let holder = Holder {
                worker: "bench".to_owned(),
                host: "bench".to_owned(),
                pid: std::process::id(),
                since: now,
                until: now,
            };
            let fence = leases::take(tx, sync.key, &holder)?;
            let job_key =
                jobs::queue(tx, sync.key, &JobId::generate(), Cause::Manual, Sweep::None, now)?;
            jobs::start(tx, job_key, false, now)?;
            Ok::<_, StoreError>(Target {
                fence,
                bucket_key: sync.bucket_key,
                job_key,
                pass: 1,
                skip_duplicates: false,
                waits_for_confirmation: false,
                modified_since: None,
                mark: None,
            })
        })
        .await
        .unwrap();
    for first in (0..objects).step_by(BATCH as usize) {
        let taken = (first..(first + BATCH).min(objects)).map(entry).collect();
        let batch = Batch { fetched: taken, counts: Counts::default(), ..Batch::default() };
        store.write(move |tx| commit::commit(tx, &target, &batch, |_| true, now)).await.unwrap();
    }
    let end = move |tx: &Transaction<'_>| {
        // A job left open would be taken over by the server: it would read this computer's root.
        jobs::end(tx, target.job_key, JobStatus::Completed, None, now)?;
        leases::release(tx, target.fence)
    };
    store.write(end).await.unwrap();
    store.compact().await.unwrap();
}

/// As the server does it in the background.
async fn index(data_dir: &Path) {
    let store = Store::open(data_dir).unwrap();
    while store.read(text::is_behind).await.unwrap() {
        store.write(|tx| text::catch_up(tx, BATCH as u32)).await.unwrap();
    }
}

fn entry(number: u64) -> FetchedEntry {
    let size = 8 + number.wrapping_mul(2_654_435_761) % 1_992;
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(usize::try_from(size).unwrap(), 0);
    let path = EntryPath::new(format!("folder {}/Photo {number}.jpg", number % 1000).into_bytes());
    FetchedEntry {
        id: path.clone(),
        path,
        fingerprint: Fingerprint {
            version: Version(number.to_le_bytes().to_vec()),
            modified: Some(Timestamp::UNIX_EPOCH),
            etag: None,
            size,
            mime: None,
            details: None,
        },
        mime: Some("image/jpeg".to_owned()),
        metadata: None,
        identity: None,
        shape: None,
        stored: Stored { hash: BlobHash::of(&bytes), size, inline: Some(Bytes::from(bytes)) },
    }
}

struct Server {
    child: Child,
    address: String,
    token: String,
}

impl Server {
    fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_catchment"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("CATCHMENT_DATA_DIR", data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split(['/', ' ']).next().unwrap().to_owned();
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(data_dir.join("token")).unwrap().trim().to_owned();
        Self { child, address, token }
    }

    /// A cursor behind the ten thousandth object.
    fn deep_cursor(&self, list: &str) -> String {
        let mut connection = self.connect();
        let mut cursor = String::new();
        for _ in 0..10 {
            let target = format!("{list}?limit=1000&cursor={cursor}");
            let page: serde_json::Value =
                serde_json::from_slice(&connection.post(&target, "{}")).unwrap();
            cursor = page["pagination"]["next_cursor"].as_str().unwrap_or_default().to_owned();
        }
        cursor
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection {
            stream: BufReader::new(stream),
            head: format!("Host: {}\r\nAuthorization: Bearer {}\r\n", self.address, self.token),
        }
    }

    /// Asks at the rate, and answers how long each answer took from when it was due.
    fn ask(&self, target: &str, body: &str) -> Vec<Duration> {
        let count = (RATE * SECONDS) as usize;
        let next = Arc::new(AtomicUsize::new(0));
        let took = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let begin = Instant::now() + Duration::from_millis(50);
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                let (next, took, mut connection) = (next.clone(), took.clone(), self.connect());
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            break;
                        }
                        let due = begin + Duration::from_secs(1) * number as u32 / RATE;
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        connection.post(target, body);
                        took.lock().unwrap().push(due.elapsed());
                    }
                });
            }
        });
        Arc::into_inner(took).unwrap().into_inner().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    fn post(&mut self, target: &str, body: &str) -> Vec<u8> {
        let request = format!(
            "POST {target} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut length, mut line) = (0, String::new());
        self.stream.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).unwrap();
        answer
    }
}
