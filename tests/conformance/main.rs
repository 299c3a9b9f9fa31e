//! Every source keeps what the engine relies on, shown by the same functions: an in-memory source,
//! folders, S3.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support modules are written like a library, for their readers.
#![allow(unreachable_pub)]

#[path = "../support/conformance.rs"]
mod conformance;
#[path = "../support/simulated.rs"]
mod simulated;
#[path = "../support/mod.rs"]
#[allow(dead_code)]
mod support;

use std::{ffi::OsStr, fs, path::Path, sync::Arc, time::Duration};

use catchment::{
    clock::SystemClock,
    config::SourceTuning,
    model::SyncOptions,
    sources::{
        Opener as _, Registry, Source, http::Budgets, locate, oauth::Grants,
        s3::provider::S3Connection,
    },
};
use conformance::Files;
use serde_json::Map;

use simulated::Simulated;
use support::fake_s3::{BUCKET, FakeS3};

async fn open(address: &str, options: &Map<String, serde_json::Value>) -> Arc<dyn Source> {
    let location = locate(OsStr::new(address), options).unwrap();
    let tuning = SourceTuning {
        clock: Arc::new(SystemClock),
        quiet_period: Duration::ZERO,
        own_folders: Vec::new(),
        hosts: Arc::default(),
        grants: Grants::default(),
        budgets: Budgets::default(),
    };
    Registry.open(&location, None, &SyncOptions::default(), &tuning).await.unwrap()
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
