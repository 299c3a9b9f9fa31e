//! Every source keeps what the engine relies on, shown by the same functions: an in-memory source,
//! folders, S3, Google Drive, SharePoint, Snowflake.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support modules are written like a library, for their readers.
#![allow(unreachable_pub)]

#[path = "../support/conformance.rs"]
mod conformance;
#[path = "../support/fake_drive.rs"]
#[allow(dead_code)]
mod fake_drive;
#[path = "../support/snowflake.rs"]
#[allow(dead_code)]
mod fake_snowflake;
#[path = "../support/simulated.rs"]
mod simulated;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

use std::{ffi::OsStr, fs, path::Path, sync::Arc, time::Duration};

use catchment::{
    clock::SystemClock,
    config::{Hosts, SourceTuning},
    model::{Connection, Credentials, Location, ProviderName, SyncOptions},
    sources::{
        Opener as _, Registry, Source, http::Budgets, locate, oauth::Grants,
        s3::provider::S3Connection,
    },
};
use conformance::Files;
use serde_json::{Map, Value, json};

use fake_drive::{FakeDrive, ROOT};
use fake_snowflake::{ACCOUNT, FakeSnowflake, USER, private_key};
use simulated::Simulated;
use support::{
    fake_authority::PUBLIC_CLIENT,
    fake_graph::FakeGraph,
    fake_s3::{BUCKET, FakeS3},
    wire,
};

async fn open(address: &str, options: &Map<String, serde_json::Value>) -> Arc<dyn Source> {
    let location = locate(OsStr::new(address), options).unwrap();
    Registry.open(&location, None, &SyncOptions::default(), &tuning("")).await.unwrap()
}

/// `hosts`: as in `config.toml`, without the heading.
fn tuning(hosts: &str) -> SourceTuning {
    SourceTuning {
        clock: Arc::new(SystemClock),
        quiet_period: Duration::ZERO,
        own_folders: Vec::new(),
        hosts: Arc::new(toml::from_str::<Hosts>(hosts).unwrap()),
        grants: Grants::default(),
        budgets: Budgets::default(),
        closings: catchment::sources::closings::Closings::default(),
    }
}

/// Opens a place through a connection with these credentials.
async fn connected(
    provider: &'static str,
    place: &str,
    credentials: Value,
    hosts: &str,
) -> Arc<dyn Source> {
    let settings = json!({ "config": {}, "credentials": credentials["type"] });
    let connection = Connection {
        provider: ProviderName::new(provider),
        settings: settings.as_object().unwrap().clone(),
    };
    let location = Location { connection, source_path: place.into() };
    let credentials = Credentials::from_json(credentials.to_string());
    let options = SyncOptions::default();
    Registry.open(&location, Some(&credentials), &options, &tuning(hosts)).await.unwrap()
}

/// What every source passes.
async fn conforms(source: &dyn Source, files: &Files) {
    conformance::lists_everything(source, files).await;
    conformance::lists_the_same_twice(source).await;
    conformance::looks_again_as_it_lists(source).await;
    conformance::reads_whole_files(source, files).await;
    conformance::survives_being_dropped(source, files).await;
}

fn in_memory(files: &Files) -> Simulated {
    let source = Simulated::default();
    for (path, content) in files {
        source.world().put(str::from_utf8(path).unwrap(), content.clone());
    }
    source
}

#[tokio::test]
async fn an_in_memory_source_conforms() {
    let files = conformance::files();
    let source = in_memory(&files);
    conforms(&source, &files).await;
    conformance::lists_in_order(&source).await;
    conformance::resumes_from_every_cursor(&source).await;
    source.world().backwards = true;
    conformance::lists_everything(&source, &files).await;
    source.world().backwards = false;
    conformance::refuses_what_has_changed(&source, || {
        source.world().put("large", vec![1; 100_000])
    })
    .await;
    conformance::tells_what_is_gone(&source, || {
        source.world().files.remove("large");
    })
    .await;
}

fn on_disk(root: &Path, files: &Files) {
    for (path, content) in files {
        let path = root.join(str::from_utf8(path).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[tokio::test]
async fn a_folder_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let files = conformance::files();
    on_disk(dir.path(), &files);
    let source = open(dir.path().to_str().unwrap(), &Map::new()).await;
    let source = source.as_ref();
    conforms(source, &files).await;
    conformance::lists_in_order(source).await;
    conformance::reads_ranges(source, &files).await;
    let large = dir.path().join("large");
    conformance::refuses_what_has_changed(source, || fs::write(&large, vec![1; 100_000]).unwrap())
        .await;
    conformance::tells_what_is_gone(source, || fs::remove_file(&large).unwrap()).await;
}

#[tokio::test]
async fn a_large_folder_resumes_from_every_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let files: Files =
        (0..3000).map(|n| (format!("{}/{n:04}", n % 7).into_bytes(), Vec::new())).collect();
    on_disk(dir.path(), &files);
    let source = open(dir.path().to_str().unwrap(), &Map::new()).await;
    conformance::lists_everything(source.as_ref(), &files).await;
    conformance::resumes_from_every_cursor(source.as_ref()).await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let source = open(gone.to_str().unwrap(), &Map::new()).await;
    conformance::a_missing_root_is_no_empty_listing(source.as_ref()).await;
}

fn public(s3: &FakeS3) -> Map<String, serde_json::Value> {
    s3.make_public();
    let settings = S3Connection {
        endpoint_url: Some(s3.endpoint().url),
        region: Some("us-east-1".into()),
        anonymous: true,
        ..S3Connection::default()
    };
    settings.to_settings()
}

#[tokio::test]
async fn an_s3_bucket_conforms() {
    let s3 = FakeS3::start();
    s3.page_size(10);
    let files = conformance::files();
    for (key, content) in &files {
        s3.put(key, content.clone());
    }
    let source = open(&format!("s3://{BUCKET}"), &public(&s3)).await;
    let source = source.as_ref();
    conforms(source, &files).await;
    conformance::lists_in_order(source).await;
    conformance::resumes_from_every_cursor(source).await;
    conformance::reads_ranges(source, &files).await;
    conformance::refuses_what_has_changed(source, || s3.put("large", vec![1; 100_000])).await;
    conformance::tells_what_is_gone(source, || s3.delete("large")).await;
    s3.remove_bucket();
    conformance::a_missing_root_is_no_empty_listing(source).await;
}

fn in_drive(drive: &FakeDrive, files: &Files) -> String {
    drive.state().page_size = 10;
    let top = drive.folder(ROOT, "top");
    let mut folders = std::collections::BTreeMap::new();
    for (path, content) in files {
        let path = str::from_utf8(path).unwrap();
        let (folder, name) = path.split_once('/').unwrap_or(("", path));
        let parent = match folder {
            "" => top.clone(),
            folder => {
                let make = || drive.folder(&top, folder);
                folders.entry(folder.to_owned()).or_insert_with(make).clone()
            }
        };
        drive.file(&parent, name, content.clone());
    }
    top
}

async fn drive_at(drive: &FakeDrive, place: &str) -> Arc<dyn Source> {
    let url = drive.url();
    let hosts = format!("google_api = \"{url}\"\ngoogle_token = \"{url}\"\n");
    let credentials = json!({
        "type": "oauth", "client_id": "c", "client_secret": "s", "refresh_token": "r",
    });
    connected("google_drive", place, credentials, &hosts).await
}

/// The id of what has this name in the drive.
fn id_in(drive: &FakeDrive, name: &str) -> String {
    let state = drive.state();
    let found = state.files.iter().find(|(_, file)| file.meta["name"] == name);
    found.unwrap().0.clone()
}

#[tokio::test]
async fn a_folder_of_google_drive_conforms() {
    let drive = FakeDrive::start();
    let files = conformance::files();
    let top = in_drive(&drive, &files);
    let source = drive_at(&drive, &top).await;
    let source = source.as_ref();
    conformance::lists_everything(source, &files).await;
    conformance::lists_the_same_twice(source).await;
    conformance::looks_again_as_it_lists(source).await;
    conformance::reads_whole_files(source, &files).await;
    conformance::reads_ranges(source, &files).await;
    let large = id_in(&drive, "large");
    let other = String::from_utf8(vec![1; 100_000]).unwrap();
    conformance::lists_have_hashes_that_show_what_has_changed(source, || {
        drive.rewrite(&large, &other)
    })
    .await;
    conformance::knows_what_exists(source, || drive.delete(&large)).await;
}

#[tokio::test]
async fn a_whole_google_drive_conforms() {
    let drive = FakeDrive::start();
    let mut files = conformance::files();
    in_drive(&drive, &files);
    files = files.into_iter().map(|(path, bytes)| ([b"top/", &*path].concat(), bytes)).collect();
    let source = drive_at(&drive, "root").await;
    let source = source.as_ref();
    conformance::lists_everything(source, &files).await;
    conformance::lists_the_same_twice(source).await;
    conformance::resumes_from_every_cursor(source).await;
    conformance::reads_whole_files(source, &files).await;
}

#[tokio::test]
async fn what_google_drive_reports_as_changed_conforms() {
    let drive = FakeDrive::start();
    for (path, content) in conformance::files() {
        let path = String::from_utf8(path).unwrap();
        drive.file(ROOT, &path.replace('/', " "), content);
    }
    let source = drive_at(&drive, "root").await;
    let (empty, large) = (id_in(&drive, "empty"), id_in(&drive, "large"));
    conformance::reports_what_has_changed(source.as_ref(), || {
        drive.file(ROOT, "new", "new");
        drive.delete(&empty);
    })
    .await;
    conformance::tells_what_is_gone(source.as_ref(), || drive.delete(&large)).await;
}

fn in_graph(graph: &FakeGraph, files: &Files) {
    graph.page_size(10);
    let mut folders = std::collections::BTreeMap::new();
    for (path, content) in files {
        let path = str::from_utf8(path).unwrap();
        let (folder, name) = path.split_once('/').unwrap_or(("", path));
        let parent = match folder {
            "" => "root".to_owned(),
            folder => {
                let make = || graph.folder("root", folder);
                folders.entry(folder.to_owned()).or_insert_with(make).clone()
            }
        };
        graph.file(&parent, name, content.clone());
    }
}

#[tokio::test]
async fn a_drive_of_microsoft_graph_conforms() {
    let graph = FakeGraph::start();
    let files = conformance::files();
    in_graph(&graph, &files);
    let credentials = json!({
        "type": "delegated", "tenant_id": "common", "client_id": PUBLIC_CLIENT,
        "refresh_token": graph.authority.refresh_token(),
    });
    let hosts = graph.hosts();
    let hosts = hosts.strip_prefix("[hosts]\n").unwrap();
    let source = connected("sharepoint", "/", credentials, hosts).await;
    let source = source.as_ref();
    conforms(source, &files).await;
    conformance::resumes_from_every_cursor(source).await;
    conformance::reads_ranges(source, &files).await;
    let id = |name: &str| graph.named(name);
    let (large, empty) = (id("large"), id("empty"));
    conformance::reports_what_has_changed(source, || {
        graph.file("root", "new", "new");
        graph.delete(&empty);
    })
    .await;
    conformance::lists_have_hashes_that_show_what_has_changed(source, || {
        graph.change(&large, |item| item.bytes = Some(vec![1; 100_000]));
    })
    .await;
    conformance::knows_what_exists(source, || graph.delete(&large)).await;
    assert_eq!(graph.leaks(), 0);
}

/// Rows as (key, value), in pages of five, and what they are as files.
fn in_table(fake: &FakeSnowflake, name: &str, key: &[&str]) -> Files {
    let mut rows: Vec<(String, String)> =
        (0..25).map(|n| (format!("{}/row {n:02} '\"%", n % 3), format!("value {n}"))).collect();
    rows.extend([("empty".to_owned(), String::new()), ("large".to_owned(), "x".repeat(100_000))]);
    let columns = json!([["K", "text", null], ["V", "text", null]]);
    fake.table(["DB", "S", name], &columns, key, &json!(rows));
    fake.faults(&json!({ "first_rows": 5, "partition_rows": 5 }));
    let path = |key: &str| key.replace('%', "%25").replace('/', "%2F") + ".json";
    let json = |(key, value): &(String, String)| {
        format!("{{\"K\":{},\"V\":{}}}", json!(key), json!(value)).into_bytes()
    };
    rows.iter().map(|row| (path(&row.0).into_bytes(), json(row))).collect()
}

async fn table(fake: &FakeSnowflake, place: &str) -> Arc<dyn Source> {
    let config = json!({
        "account": ACCOUNT, "warehouse": "load_wh", "role": "reader",
        "credentials": {"type": "key_pair", "username": USER, "private_key": private_key()},
    });
    let accepted = catchment::sources::accept(&ProviderName::new("snowflake"), &config).unwrap();
    let location = Location { connection: accepted.connection, source_path: place.into() };
    let tuning = tuning(&format!("snowflake = \"{}\"", fake.url()));
    let credentials = accepted.credentials.as_ref();
    Registry.open(&location, credentials, &SyncOptions::default(), &tuning).await.unwrap()
}

#[tokio::test]
async fn a_table_of_snowflake_conforms() {
    let fake = FakeSnowflake::start();
    let files = in_table(&fake, "T", &["K"]);
    let source = table(&fake, "db.s.t").await;
    let source = source.as_ref();
    conforms(source, &files).await;
    conformance::resumes_from_every_cursor(source).await;
    let change = |value: Option<String>| {
        let new = value.map(|value| json!(["large", value]));
        fake.change(["DB", "S", "T"], &json!([["large"]]), &json!(Vec::from_iter(new)));
    };
    conformance::refuses_what_has_changed(source, || change(Some("y".repeat(100_000)))).await;
    conformance::tells_what_is_gone(source, || change(None)).await;
    let gone = table(&fake, "db.s.nope").await;
    conformance::a_missing_root_is_no_empty_listing(gone.as_ref()).await;
}

#[tokio::test]
async fn a_table_of_snowflake_without_a_key_lists_the_same_rows_twice() {
    let fake = FakeSnowflake::start();
    let files = in_table(&fake, "T", &[]);
    let source = table(&fake, "db.s.t").await;
    let name = |content: &Vec<u8>| format!("{}.json", blake3::hash(content).to_hex()).into_bytes();
    let files: Files = files.into_values().map(|content| (name(&content), content)).collect();
    conformance::lists_everything(source.as_ref(), &files).await;
    conformance::lists_the_same_twice(source.as_ref()).await;
    conformance::reads_whole_files(source.as_ref(), &files).await;
}
