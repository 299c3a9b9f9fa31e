//! The S3 source against a scripted server on loopback: what it asks for, what it makes of the
//! answers, and that both of its ways to fetch a key end alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::OsStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use catchment::{
    clock::SystemClock,
    config::SourceTuning,
    model::{Cursor, EntryKind, EntryPath, Fingerprint, SyncOptions},
    sources::{
        BlockingRead, Body, ByteRange, Opener as _, Page, Registry, Source, SourceError,
        http::Budgets, locate, oauth::Grants, s3::provider::S3Connection,
    },
};
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
}

impl Seen {
    fn asks_for(&self, text: &str) -> bool {
        self.target.contains(text)
    }
}

/// Raw bytes of an answer, and whether the connection goes on behind it.
#[derive(Clone)]
struct Reply {
    bytes: Vec<u8>,
    keep: bool,
}

fn reply(status: u16, headers: &str, body: &str) -> Reply {
    let length = format!("content-length: {}\r\n", body.len());
    raw(format!("HTTP/1.1 {status} X\r\n{headers}{length}\r\n{body}"), true)
}

fn raw(text: impl Into<Vec<u8>>, keep: bool) -> Reply {
    Reply { bytes: text.into(), keep }
}

fn error(status: u16, code: &str) -> Reply {
    reply(status, "", &format!("<Error><Code>{code}</Code><Message>why</Message></Error>"))
}

/// A server that answers by a script and remembers what it was asked.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                tokio::spawn(async move { converse(stream, &*script, &log).await });
            }
        });
        Self { address, seen, task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn settings(&self) -> S3Connection {
        S3Connection {
            endpoint_url: Some(format!("http://{}", self.address)),
            region: Some("us-east-1".into()),
            anonymous: true,
            ..S3Connection::default()
        }
    }

    async fn source(&self, place: &str) -> Arc<dyn Source> {
        open(place, &self.settings()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    stream: TcpStream,
    script: &(dyn Fn(&Seen, usize) -> Reply + Send + Sync),
    log: &Mutex<Vec<Seen>>,
) -> Option<Infallible> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|count| *count > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines.first()?.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let headers = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let seen = Seen { method, target, headers };
        let number = {
            let mut log = log.lock().unwrap();
            log.push(seen.clone());
            log.len()
        };
        let Reply { bytes, keep } = script(&seen, number);
        stream.write_all(&bytes).await.ok()?;
        stream.flush().await.ok()?;
        if !keep {
            stream.shutdown().await.ok()?;
            return None;
        }
    }
}

async fn open(place: &str, settings: &S3Connection) -> Result<Arc<dyn Source>, SourceError> {
    open_with(place, settings, &SyncOptions::default()).await
}

async fn open_with(
    place: &str,
    settings: &S3Connection,
    options: &SyncOptions,
) -> Result<Arc<dyn Source>, SourceError> {
    let location = locate(OsStr::new(place), &settings.to_settings()).unwrap();
    let tuning = SourceTuning {
        clock: Arc::new(SystemClock),
        quiet_period: Duration::ZERO,
        own_folders: Vec::new(),
        hosts: Arc::default(),
        grants: Grants::default(),
        budgets: Budgets::default(),
        closings: catchment::sources::closings::Closings::default(),
    };
    Registry.open(&location, None, options, &tuning).await
}

/// A page of a listing: keys as they stand in the XML, each an object of one byte.
fn page(keys: &[&str], rest: &str) -> Reply {
    let objects: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.5Z</LastModified>\
                 <ETag>\"v1\"</ETag><Size>1</Size></Contents>"
            )
        })
        .collect();
    reply(
        200,
        "",
        &format!(
            "<?xml version=\"1.0\"?><ListBucketResult><EncodingType>url</EncodingType>\
             {objects}{rest}</ListBucketResult>"
        ),
    )
}

const END: &str = "<IsTruncated>false</IsTruncated>";

fn more(token: &str) -> String {
    format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
}

async fn walk(source: &dyn Source, from: Option<Cursor>) -> Result<Vec<Page>, SourceError> {
    source.walk(&source.shards()[0], from).try_collect().await
}

fn paths(pages: &[Page]) -> Vec<String> {
    pages.iter().flat_map(|page| &page.entries).map(|entry| entry.path.to_json_text()).collect()
}

/// The fingerprint of an object of `size` bytes whose tag is `v1`, as a listing gives it.
async fn listed(size: u64) -> Fingerprint {
    let body = page(&["k"], END);
    let text = String::from_utf8(body.bytes).unwrap();
    let text = text[text.find("<?xml").unwrap()..].replace("<Size>1<", &format!("<Size>{size}<"));
    let server = Server::start(move |_, _| reply(200, "", &text)).await;
    let source = server.source("s3://bucket").await;
    let pages = walk(&*source, None).await.unwrap();
    match &pages[0].entries[0].kind {
        EntryKind::File(fingerprint) => fingerprint.clone(),
        other => panic!("{other:?}"),
    }
}

fn arriving(body: Body) -> BoxStream<'static, Result<Bytes, SourceError>> {
    match body {
        Body::Stream(stream) => stream,
        Body::Blocking(reader) => stream::once(drained(reader)).boxed(),
    }
}

/// All that a reader brings, read beside the server that it comes from.
async fn drained(mut reader: Box<dyn BlockingRead>) -> Result<Bytes, SourceError> {
    let drain = move || {
        let (mut bytes, mut piece) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut piece)? {
                0 => return Ok(bytes.into()),
                read => bytes.extend_from_slice(&piece[..read]),
            }
        }
    };
    tokio::task::spawn_blocking(drain).await.unwrap()
}

type Fetched = Result<(Option<String>, BTreeMap<String, String>, Vec<u8>), String>;

async fn fetch(
    source: &dyn Source,
    key: &str,
    size: u64,
    range: Option<ByteRange>,
) -> Result<(Option<String>, BTreeMap<String, String>, Vec<u8>), SourceError> {
    let id = EntryPath::new(key.as_bytes());
    let content = source.fetch(&id, &listed(size).await, range).await?;
    let chunks: Vec<Bytes> = arriving(content.body).try_collect().await?;
    Ok((content.facts.mime, content.facts.metadata, chunks.concat()))
}

/// Fetches an ordinary key and one that goes beneath `object_store`; both must end alike.
async fn both_ways(answer: Reply, size: u64, range: Option<ByteRange>) -> Fetched {
    let server = Server::start(move |_, _| answer.clone()).await;
    let source = server.source("s3://bucket").await;
    let mut ends = Vec::new();
    for key in ["plain/key", "odd//key"] {
        let end = fetch(&*source, key, size, range).await;
        ends.push(end.map_err(|error| format!("{error:?}")));
    }
    // What a server does not serve as it is asked is asked for in at most two other ways.
    let asked = server.seen().len();
    assert!((2..=6).contains(&asked), "{asked} requests for two objects");
    assert_eq!(ends[0], ends[1]);
    ends.remove(0)
}

fn range(start: u64, len: u64) -> Option<ByteRange> {
    Some(ByteRange { start, len })
}

#[tokio::test]
async fn a_listing_asks_once_a_page_and_goes_on_where_the_server_says() {
    let server = Server::start(|seen, _| match seen.asks_for("continuation-token=a%2Fb%3D") {
        true => page(&["c"], END),
        false => page(&["a", "b"], &more("a/b=")),
    })
    .await;
    let source = server.source("s3://bucket").await;
    source.root().await.unwrap();
    let pages = walk(&*source, None).await.unwrap();
    assert_eq!(paths(&pages), ["a", "b", "c"]);
    assert_eq!(pages[1].cursor, Some(Cursor(b"c".to_vec())));
    let seen = server.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].target.starts_with("/bucket/?encoding-type=url&list-type=2&max-keys=1000"));
    assert!(seen[0].headers["user-agent"].starts_with("catchment/"));
    assert!(!seen[0].headers.contains_key("authorization"), "anonymous");
}

#[tokio::test]
async fn a_listing_resumes_behind_the_key_of_its_cursor() {
    let server = Server::start(|_, _| page(&["p/c"], END)).await;
    let source = server.source("s3://bucket/p").await;
    let pages = walk(&*source, Some(Cursor(b"p/b +".to_vec()))).await.unwrap();
    assert_eq!(paths(&pages), ["c"]);
    assert!(server.seen()[0].asks_for("&prefix=p%2F&start-after=p%2Fb%20%2B"));
}

#[tokio::test]
async fn a_listing_that_stumbles_is_tried_again_and_loses_nothing() {
    let whole = page(&["a"], END);
    let cut = whole.bytes[..whole.bytes.len() - 30].to_vec();
    let stumbles = [
        error(500, "InternalError"),
        error(200, "SlowDown"),
        raw(cut, false),
        page(&["a"], "<IsTruncated>true</IsTruncated>"),
        page(&["a"], &format!("{END}<KeyCount>2</KeyCount>")),
        raw("", false),
    ];
    let attempts = stumbles.map(|stumble| async move {
        let server = Server::start(move |_, number| match number {
            1 => stumble.clone(),
            _ => page(&["a"], END),
        })
        .await;
        let source = server.source("s3://bucket").await;
        assert_eq!(paths(&walk(&*source, None).await.unwrap()), ["a"]);
        assert_eq!(server.seen().len(), 2);
    });
    futures_util::future::join_all(attempts).await;
}

#[tokio::test]
async fn a_listing_that_is_refused_ends_at_once_with_the_reason() {
    for (status, code) in
        [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (404, "NoSuchBucket")]
    {
        let server = Server::start(move |_, _| error(status, code)).await;
        let source = server.source("s3://my-bucket").await;
        let failure = walk(&*source, None).await.unwrap_err();
        match code {
            "NoSuchBucket" => assert!(matches!(failure, SourceError::RootMissing { .. })),
            // The credentials work; what they may not do is no reason to suspend them.
            "AccessDenied" => {
                assert!(matches!(failure, SourceError::PermissionDenied { .. }));
            }
            _ => assert!(matches!(failure, SourceError::Auth { .. })),
        }
        assert!(failure.to_string().contains("my-bucket"), "{failure}");
        assert!(failure.to_string().contains(code), "{failure}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_later_page_that_is_refused_ends_the_stream_with_an_error() {
    let server = Server::start(|seen, _| match seen.asks_for("continuation-token") {
        true => error(403, "AccessDenied"),
        false => page(&["a"], &more("t")),
    })
    .await;
    let source = server.source("s3://bucket").await;
    let pages: Vec<_> = source.walk(&source.shards()[0], None).collect().await;
    assert_eq!(pages.len(), 2);
    assert!(pages[0].is_ok() && pages[1].is_err());
}

#[tokio::test]
async fn a_token_that_the_server_forgot_is_replaced_by_the_last_key() {
    let server = Server::start(|seen, _| {
        if seen.asks_for("continuation-token") {
            error(400, "InvalidArgument")
        } else if seen.asks_for("start-after=b") {
            page(&["c"], END)
        } else {
            page(&["a", "b"], &more("t"))
        }
    })
    .await;
    let source = server.source("s3://bucket").await;
    assert_eq!(paths(&walk(&*source, None).await.unwrap()), ["a", "b", "c"]);
}

#[tokio::test]
async fn every_odd_key_is_asked_for_under_its_exact_name() {
    let keys = [
        "plain",
        "a//b",
        "/a",
        "a/",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "sp ace",
        "pl+us",
        "per%cent",
        "ha#sh",
        "qu?es",
        "emo😀ji",
        "\u{1}\n\r\u{7f}",
        "back\\slash",
        "~",
        "a*b",
        "&<>\"'",
    ];
    let server = Server::start(|_, _| reply(200, "etag: \"v1\"\r\n", "x")).await;
    for place in ["s3://bucket", "s3://bucket/pre fix"] {
        let source = server.source(place).await;
        for key in keys {
            fetch(&*source, key, 1, None).await.unwrap();
            let target = server.seen().pop().unwrap().target;
            let sent = percent_encoding::percent_decode_str(&target).collect::<Vec<u8>>();
            let whole = format!("/{}/{key}", &place["s3://".len()..]);
            assert_eq!(String::from_utf8(sent).unwrap(), whole, "{target}");
        }
    }
}

#[tokio::test]
async fn facts_come_along_with_the_bytes_either_way() {
    let headers = "etag: \"v1\"\r\ncontent-type: text/css\r\nx-amz-meta-Who: me\r\n\
                   x-amz-meta-caf: =?UTF-8?B?w6k=?=\r\nlast-modified: nonsense\r\n\
                   cache-control: caf\u{e9}\r\n";
    let (mime, metadata, bytes) = both_ways(reply(200, headers, "hello"), 5, None).await.unwrap();
    assert_eq!(mime.as_deref(), Some("text/css"));
    assert_eq!(metadata["who"], "me");
    assert_eq!(metadata["caf"], "é");
    assert_eq!(bytes, b"hello");
}

#[tokio::test]
async fn an_empty_object_has_an_empty_body_either_way() {
    let (_, _, bytes) = both_ways(reply(200, "etag: \"v1\"\r\n", ""), 0, None).await.unwrap();
    assert!(bytes.is_empty());
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_measured_by_what_was_listed() {
    let chunked = |body: &str| {
        let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ntransfer-encoding: chunked\r\n\r\n";
        raw(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()), true)
    };
    assert_eq!(both_ways(chunked("hello"), 5, None).await.unwrap().2, b"hello");
    assert!(both_ways(chunked("hell"), 5, None).await.unwrap_err().contains("Transient"));
    assert!(both_ways(chunked("hello!"), 5, None).await.unwrap_err().contains("Changed"));
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_worth_another_try_either_way() {
    let cut = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 10\r\n\r\nhello";
    let end = both_ways(raw(cut, false), 10, None).await.unwrap_err();
    assert!(end.starts_with("Transient"), "{end}");
}

#[tokio::test]
async fn another_version_than_the_pinned_one_is_a_change_either_way() {
    for answer in [
        error(412, "PreconditionFailed"),
        reply(200, "etag: \"v2\"\r\n", "x"),
        reply(200, "etag: \"v1\"\r\n", "xy"),
    ] {
        let end = both_ways(answer, 1, None).await.unwrap_err();
        assert!(end.starts_with("Changed"), "{end}");
    }
}

#[tokio::test]
async fn a_range_is_exactly_the_one_that_was_asked_for_either_way() {
    let partial = |range: &str, body| {
        reply(206, &format!("etag: \"v1\"\r\ncontent-range: bytes {range}\r\n"), body)
    };
    assert_eq!(both_ways(partial("2-4/9", "llo"), 9, range(2, 3)).await.unwrap().2, b"llo");
    let by_rclone = reply(200, "etag: \"v1\"\r\ncontent-range: bytes 2-4/9\r\n", "llo");
    assert_eq!(both_ways(by_rclone, 9, range(2, 3)).await.unwrap().2, b"llo");
    for (answer, kind) in [
        (partial("0-2/9", "hel"), "Permanent"),
        (partial("2-4/8", "llo"), "Changed"),
        (reply(200, "etag: \"v1\"\r\n", "hello wor"), "Permanent"),
        (reply(206, "etag: \"v1\"\r\n", "llo"), "Permanent"),
        (reply(416, "content-range: bytes */1\r\n", ""), "Changed"),
        (error(416, "InvalidRange"), "Permanent"),
    ] {
        let end = both_ways(answer, 9, range(2, 3)).await.unwrap_err();
        assert!(end.starts_with(kind), "{kind}: {end}");
    }
    let beyond_numbers = partial("0-18446744073709551615/*", "hel");
    let end = both_ways(beyond_numbers, 9, range(0, 3)).await.unwrap_err();
    assert!(end.starts_with("Permanent"), "{end}");
}

/// The head of an answer with `len` bytes of `size`.
fn stretch_head(start: u64, len: u64, size: u64) -> String {
    let last = start + len - 1;
    format!(
        "HTTP/1.1 206 X\r\netag: \"v1\"\r\ncontent-range: bytes {start}-{last}/{size}\r\n\
         content-length: {len}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_stretch_is_every_byte_behind_its_head_and_none_behind_its_end() {
    for len in [1, 100, 8_191, 300_000, 3_000_000] {
        let bytes: Vec<u8> = (0..len).map(|at: u64| (at % 251) as u8).collect();
        let mut answer = stretch_head(7, len, len + 7).into_bytes();
        answer.extend(&bytes);
        answer.extend(b"HTTP/1.1 500 what nobody asked for");
        let server = Server::start(move |_, _| raw(answer.clone(), true)).await;
        let source = server.source("s3://bucket").await;
        let fetched = fetch(&*source, "k", len + 7, range(7, len)).await.unwrap();
        assert!(fetched.2 == bytes, "{len} bytes");
    }
}

#[tokio::test]
async fn a_stretch_that_ends_too_early_is_worth_another_try() {
    for sent in [0, 5] {
        let answer = stretch_head(0, 10, 10) + &"x".repeat(sent);
        let end = both_ways(raw(answer, false), 10, range(0, 10)).await.unwrap_err();
        assert!(end.starts_with("Transient") && end.contains("too early"), "{end}");
    }
}

#[tokio::test]
async fn a_stretch_of_unannounced_length_is_measured_by_what_was_asked_for() {
    let chunked_of = |range: &str, body: &str| {
        let head = format!(
            "HTTP/1.1 206 X\r\netag: \"v1\"\r\ncontent-range: bytes {range}\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
        raw(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()), true)
    };
    let long = "x".repeat(1_000_000);
    let answer = chunked_of("0-999999/1000000", &long);
    let fetched = both_ways(answer, 1_000_000, range(0, 1_000_000)).await.unwrap();
    assert!(fetched.2 == long.as_bytes());
    let chunked = |body: &str| chunked_of("2-4/9", body);
    assert_eq!(both_ways(chunked("llo"), 9, range(2, 3)).await.unwrap().2, b"llo");
    assert!(both_ways(chunked("ll"), 9, range(2, 3)).await.unwrap_err().contains("Transient"));
    assert!(both_ways(chunked("llo!"), 9, range(2, 3)).await.unwrap_err().contains("Changed"));
}

#[tokio::test]
async fn every_refusal_means_the_same_either_way() {
    for (answer, kind) in [
        (error(404, "NoSuchKey"), "NotFound"),
        (error(404, "NoSuchBucket"), "RootMissing"),
        (error(403, "AccessDenied"), "PermissionDenied"),
        (error(403, "InvalidObjectState"), "Permanent"),
        (error(403, "SignatureDoesNotMatch"), "Auth"),
        (error(401, ""), "Auth"),
        (error(500, "InternalError"), "Transient"),
        (error(503, "SlowDown"), "RateLimited"),
        (reply(429, "retry-after: 0\r\n", "later"), "RateLimited"),
        (reply(502, "", "<html>Bad Gateway"), "Transient"),
        (reply(307, "location: http://elsewhere.example/\r\n", ""), "Permanent"),
        (error(400, "InvalidRequest"), "Permanent"),
        (error(405, ""), "Permanent"),
        (raw("", false), "Transient"),
        (raw("not HTTP at all\r\n\r\n", false), "Transient"),
    ] {
        let whole = both_ways(answer.clone(), 1, None).await.unwrap_err();
        assert!(whole.starts_with(kind), "{kind}: {whole}");
        let stretch = both_ways(answer, 1, range(0, 1)).await.unwrap_err();
        assert!(stretch.starts_with(kind), "{kind}: {stretch}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_carries_no_credentials_anywhere() {
    let other = Server::start(|_, _| page(&[], END)).await;
    let location =
        format!("location: http://{}/bucket/\r\nx-amz-bucket-region: eu-west-1\r\n", other.address);
    let server = Server::start(move |_, _| reply(301, &location, "")).await;
    let failure = walk(&*server.source("s3://bucket").await, None).await.unwrap_err();
    assert!(matches!(failure, SourceError::Misconfigured { .. }));
    assert!(failure.to_string().contains("127.0.0.1"), "{failure}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_region_that_the_server_names_is_followed_on_the_same_host() {
    let server = Server::start(|_, number| match number {
        1 => reply(
            400,
            "x-amz-bucket-region: eu-west-1\r\n",
            "<Error><Code>AuthorizationHeaderMalformed</Code></Error>",
        ),
        _ => page(&["a"], END),
    })
    .await;
    let source = server.source("s3://bucket").await;
    assert_eq!(paths(&walk(&*source, None).await.unwrap()), ["a"]);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_server_that_insists_on_another_region_is_not_asked_for_ever() {
    let server = Server::start(|_, number| {
        let header = format!("x-amz-bucket-region: region-{number}\r\n");
        reply(400, &header, "<Error><Code>AuthorizationHeaderMalformed</Code></Error>")
    })
    .await;
    let failure = walk(&*server.source("s3://bucket").await, None).await.unwrap_err();
    assert!(matches!(failure, SourceError::Misconfigured { .. }));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_stalled_body_times_out() {
    let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 10\r\n\r\n";
    let server = Server::start(move |_, _| raw(format!("{head}hello"), true)).await;
    let source = server.source("s3://bucket").await;
    let id = EntryPath::new("k".as_bytes());
    let content = source.fetch(&id, &listed(10).await, None).await.unwrap();
    tokio::time::pause();
    let end: Result<Vec<Bytes>, _> = arriving(content.body).try_collect().await;
    assert!(matches!(end, Err(SourceError::Timeout { .. })), "{end:?}");
}

#[tokio::test]
async fn no_request_goes_out_while_the_provider_asks_to_wait() {
    let server = Server::start(|_, number| match number {
        1 => reply(503, "retry-after: 1\r\n", ""),
        _ => reply(200, "etag: \"v1\"\r\n", "x"),
    })
    .await;
    let source = server.source("s3://bucket").await;
    let refused = fetch(&*source, "k", 1, None).await.unwrap_err();
    assert!(matches!(refused, SourceError::RateLimited { retry_after: Some(_), .. }));
    let started = tokio::time::Instant::now();
    fetch(&*source, "another//key", 1, None).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn a_look_at_one_object_gives_the_fingerprint_of_its_listing() {
    let head = "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 7\r\n\
                last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n";
    let server = Server::start(move |_, _| raw(head, true)).await;
    let source = server.source("s3://bucket/p").await;
    let entry = source.stat(&EntryPath::new("k".as_bytes())).await.unwrap().unwrap();
    assert_eq!(entry.kind, EntryKind::File(listed(7).await));
    let seen = server.seen();
    assert_eq!(
        (seen.len(), seen[0].method.as_str(), seen[0].target.as_str()),
        (1, "HEAD", "/bucket/p/k")
    );
}

#[tokio::test]
async fn looking_up_one_object_distinguishes_gone_from_forbidden_and_from_a_missing_bucket() {
    let bare = |status: u16| raw(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"), true);
    for (status, code) in
        [(404, "NoSuchKey"), (404, "NoSuchBucket"), (403, "AccessDenied"), (400, "ExpiredToken")]
    {
        let server = Server::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => bare(status),
            _ => error(status, code),
        })
        .await;
        let source = server.source("s3://bucket").await;
        let looked = source.stat(&EntryPath::new("k".as_bytes())).await;
        match code {
            "NoSuchKey" => assert_eq!(looked.unwrap(), None),
            "NoSuchBucket" => assert!(matches!(looked, Err(SourceError::RootMissing { .. }))),
            "AccessDenied" => assert!(matches!(looked, Err(SourceError::PermissionDenied { .. }))),
            _ => assert!(matches!(looked, Err(SourceError::Auth { .. }))),
        }
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_any_request() {
    for settings in [
        S3Connection { endpoint_url: Some("localhost:9000".into()), ..S3Connection::default() },
        S3Connection { region: Some("not a region".into()), ..S3Connection::default() },
        S3Connection { profile: Some("no such profile, ever".into()), ..S3Connection::default() },
    ] {
        let refused = open("s3://bucket", &settings).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, SourceError::Misconfigured { .. }), "{refused:?}");
    }
}

fn only_prefix(name: &str, prefix: &str) -> SyncOptions {
    let provider_filters = serde_json::Map::from_iter([(name.to_owned(), prefix.into())]);
    SyncOptions { provider_filters, ..SyncOptions::default() }
}

#[tokio::test]
async fn a_provider_filter_goes_into_the_listing_and_leaves_names_as_they_are() {
    let server = Server::start(|_, _| page(&["p/2026/a"], END)).await;
    let options = only_prefix("prefix", "2026/");
    let source = open_with("s3://bucket/p", &server.settings(), &options).await.unwrap();

    let pages = walk(&*source, None).await.unwrap();

    assert!(server.seen()[0].asks_for("prefix=p%2F2026%2F"), "{:?}", server.seen()[0]);
    assert_eq!(pages[0].entries[0].path.to_json_text(), "2026/a");
}

#[tokio::test]
async fn a_provider_filter_that_there_is_not_is_refused_before_any_request() {
    let server = Server::start(|_, _| page(&[], END)).await;
    let options = only_prefix("folder", "2026/");

    let refused = open_with("s3://bucket/p", &server.settings(), &options).await;

    let message = refused.err().unwrap().to_string();
    assert!(message.contains("provider_filters.folder") && message.contains("prefix"), "{message}");
    assert!(server.seen().is_empty());
}
