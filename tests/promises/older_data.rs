//! A data directory that the first version wrote opens in this one, and everything in it is kept:
//! no byte is fetched again for an upgrade.
//!
//! `tests/fixtures/first_version.tar.gz` was written by the commit "Say what the yardstick
//! compares" with two syncs: [`source`] with one object that could not be read, and a folder with a
//! name that is not UTF-8.

use std::{collections::BTreeMap, path::Path, process::Command};

use crate::support::{
    catchment::Catchment,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, Object, On},
};

const SOURCE: &str = "s3://catchment-test";

/// The bucket as it was when the first version read it.
fn source() -> FakeS3 {
    let s3 = FakeS3::start();
    for (key, bytes) in contents() {
        // The tags that the server gave then.
        let tag = blake3::hash(&bytes).to_hex()[..32].to_owned();
        let object = Object::new(bytes).etag(&tag).modified(1_760_000_000);
        s3.put_object(key, object.content_type("text/plain").metadata("shot", "7"));
    }
    s3.put_object("broken", Object::new("cannot be read").modified(1_760_000_000));
    s3.inject(Fault::error(On::GetOf("broken"), 403, "AccessDenied"));
    s3
}

/// What of it could be read: small ones, an empty one, one that is a file of its own.
fn contents() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        ("a/one.txt", b"one".to_vec()),
        ("a//odd/../name", b"odd".to_vec()),
        ("empty", Vec::new()),
        ("large", b"a line that comes again and again\n".repeat(20_000)),
    ])
}

fn as_the_first_version_left_it(s3: &FakeS3) -> Catchment {
    let endpoint = s3.endpoint();
    let catchment = Catchment::new()
        .env("AWS_ACCESS_KEY_ID", &endpoint.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &endpoint.secret_key)
        .env("AWS_ENDPOINT_URL_S3", &endpoint.url);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/first_version.tar.gz");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(fixture)
        .arg("-C")
        .arg(catchment.home())
        .status()
        .unwrap();
    assert!(unpacked.success());
    assert_eq!(catchment.data_dir(), catchment.home().join("data"), "where it was unpacked");
    catchment
}

#[test]
fn what_the_first_version_stored_is_read_as_it_was() {
    let s3 = source();
    let catchment = as_the_first_version_left_it(&s3);

    catchment.run(&["verify"]).exits(0);

    for (path, bytes) in contents() {
        assert_eq!(catchment.get(BUCKET, path.as_bytes()), bytes, "{path}");
    }
    assert_eq!(catchment.objects(BUCKET).len(), contents().len());
    assert_eq!(catchment.get("names", b"caf\xe9"), b"not UTF-8");
}

#[test]
fn the_first_sync_after_the_upgrade_fetches_nothing_that_is_there() {
    let s3 = source();
    let catchment = as_the_first_version_left_it(&s3);
    let before = catchment.contents(BUCKET);

    let summary = catchment.sync(SOURCE).exits(3).summary();

    assert_eq!((summary.unchanged, summary.failed, summary.removed), (4, 1, 0));
    let fetched: Vec<Vec<u8>> = s3
        .requests()
        .into_iter()
        .filter(|seen| seen.kind == Kind::Get)
        .map(|seen| seen.key)
        .collect();
    assert!(fetched.iter().all(|key| key == b"broken"), "{fetched:?}");
    assert_eq!(catchment.contents(BUCKET), before);
}

#[test]
fn a_dead_letter_of_the_first_version_is_tried_again() {
    let s3 = source();
    let catchment = as_the_first_version_left_it(&s3);
    s3.heal();

    let summary = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((summary.synced, summary.failed), (1, 0));
    assert_eq!(catchment.get(BUCKET, b"broken"), b"cannot be read");
}
