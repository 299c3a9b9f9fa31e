//! Every key that S3 allows syncs under its exact bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{self, FakeS3, Kind},
    peers::{self, Peer},
};

/// Keys that S3 allows and programs stumble over. S3 takes any UTF-8 of up to 1,024 bytes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "plain",
        "deep/er/est.txt",
        "a",
        "a/b",
        "a//b",
        "a///b",
        "/a",
        "//a",
        "a/",
        "a//",
        "/",
        "//",
        ".",
        "..",
        "./x",
        "../x",
        "x/.",
        "x/..",
        "x/../y",
        "x/./y",
        "x/...",
        "../../etc/passwd",
        " ",
        " lead",
        "trail ",
        "a b",
        "a+b",
        "a%20b",
        "a%2Fb",
        "%",
        "%%",
        "%zz",
        "a#b",
        "#",
        "a?b",
        "?",
        "?list-type=2",
        "a&b=c",
        "a=b",
        "a;b",
        "a:b",
        "a,b",
        "a@b",
        "a!b",
        "a$b",
        "a'b",
        "a\"b",
        "a(b)",
        "[a]",
        "{a}",
        "a|b",
        "a^b",
        "a`b",
        "a~b",
        "~",
        "*",
        "a*b",
        "<a>",
        "a\\b",
        "\\",
        "-rf",
        ".hidden",
        "CON",
        "tab\there",
        "new\nline",
        "carriage\rreturn",
        "crlf\r\n",
        "\u{1}\u{1f}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{1f600}",
        "\u{1f600}/\u{1f4a9}",
        "\u{202e}gnp",
        "\u{feff}bom",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{2028}",
        "A",
        "_",
        "-",
    ]
    .iter()
    .map(|key| (*key).to_owned())
    .collect();
    keys.push("k".repeat(1024));
    keys.push("\u{1f600}".repeat(256));
    keys.push("s/".repeat(512));
    keys
}

/// Content that tells which key it was written under.
fn content_of(key: &str) -> Vec<u8> {
    format!("the object {key:?}").into_bytes()
}

fn contents_of(keys: &[String]) -> BTreeMap<Vec<u8>, String> {
    let content = |key: &String| (key.clone().into_bytes(), content::hash(&content_of(key)));
    keys.iter().map(content).collect()
}

#[test]
fn every_key_that_s3_allows_syncs_under_its_exact_bytes() {
    let s3 = FakeS3::start();
    let keys = odd_keys();
    for key in &keys {
        s3.put(key, content_of(key));
    }
    let catchment = Catchment::reaching(&s3.endpoint());

    let run = catchment.sync(format!("s3://{}", fake_s3::BUCKET)).exits(0);

    assert_eq!(run.summary().synced, keys.len() as u64);
    catchment.holds_exactly(fake_s3::BUCKET, &contents_of(&keys));
    assert_eq!(s3.contents(), contents_of(&keys));
}

#[test]
fn every_odd_key_is_read_back_by_its_exact_name() {
    let s3 = FakeS3::start();
    for key in odd_keys() {
        s3.put(&key, content_of(&key));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync_with(format!("s3://{}", fake_s3::BUCKET), &["--bucket", "odd"]).exits(0);

    for key in odd_keys() {
        let bytes = catchment.get("odd", key.as_bytes());
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("the object {key:?}"));
    }
}

#[test]
fn odd_keys_are_unchanged_in_the_next_run() {
    let s3 = FakeS3::start();
    for key in odd_keys() {
        s3.put(&key, content_of(&key));
    }
    s3.page_size(7);
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(format!("s3://{}", fake_s3::BUCKET)).exits(0);

    let again = catchment.sync(format!("s3://{}", fake_s3::BUCKET)).exits(0).summary();

    assert_eq!((again.unchanged, again.synced, again.removed), (odd_keys().len() as u64, 0, 0));
}

#[test]
fn a_prefix_includes_what_is_below_it_and_not_similar_names() {
    let s3 = FakeS3::start();
    for key in ["p/one", "p//two", "p/sub/three", "px", "p2/four", "q/p/five"] {
        s3.put(key, content_of(key));
    }
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync_with(format!("s3://{}/p", fake_s3::BUCKET), &["--bucket", "below"]).exits(0);

    let paths: Vec<_> = catchment.contents("below").into_keys().collect();
    assert_eq!(paths, [b"/two".to_vec(), b"one".to_vec(), b"sub/three".to_vec()]);
}

#[test]
fn content_type_and_user_metadata_are_stored_without_another_request() {
    let s3 = FakeS3::start();
    let object = fake_s3::Object::new("x").content_type("image/x-odd").metadata("camera", "leica");
    s3.put_object("photo.bin", object);
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(format!("s3://{}", fake_s3::BUCKET)).exits(0);

    let objects = catchment.objects(fake_s3::BUCKET);
    assert_eq!(objects[&b"photo.bin"[..]].mime_type.as_deref(), Some("image/x-odd"));
    assert_eq!(s3.count(fake_s3::Kind::Head), 0);
    assert_eq!(s3.count(fake_s3::Kind::Get), 1);
}

/// Fills the peer with every odd key that it takes, syncs, and compares with what boto3 finds
/// there. `must_hold` keeps the comparison honest: keys that the peer is known to hold.
fn syncs_what_the_peer_holds(peer: &Peer, must_hold: &[&str]) {
    let keys = odd_keys();
    let objects: Vec<_> = keys.iter().map(|key| (key.as_str(), content_of(key))).collect();
    let refused = peer.put_all(&objects);
    let held = peer.contents();
    let names: BTreeSet<_> = held.keys().map(|key| str::from_utf8(key).unwrap()).collect();
    for key in must_hold {
        assert!(names.contains(key), "the peer does not hold {key:?}; it refused {refused:?}");
    }
    let catchment = Catchment::reaching(peer.endpoint());

    let run = catchment.sync(format!("s3://{}", peers::BUCKET)).exits(0);

    assert_eq!(run.summary().synced, held.len() as u64);
    catchment.holds_exactly(peers::BUCKET, &held);
    let again = catchment.sync(format!("s3://{}", peers::BUCKET)).exits(0).summary();
    assert_eq!((again.unchanged, again.bytes), (held.len() as u64, 0));
}

/// SeaweedFS refuses `.` and `..` segments and cleans empty ones; `a/` takes the place of `a`.
#[test]
fn every_odd_key_that_seaweedfs_holds_syncs_under_its_exact_bytes() {
    let must_hold = [
        "plain",
        "deep/er/est.txt",
        "a/b",
        "a/",
        "a b",
        "a+b",
        "a%20b",
        "a%2Fb",
        "%",
        "a#b",
        "a?b",
        "a&b=c",
        "*",
        "new\nline",
        "tab\there",
        "caf\u{e9}",
        "cafe\u{301}",
        "\u{1f600}",
        " lead",
        "trail ",
        "\u{1}\u{1f}",
        "\u{7f}",
        "<a>",
        "a\"b",
    ];
    syncs_what_the_peer_holds(&Peer::seaweedfs(), &must_hold);
}

/// rclone refuses unclean paths and cannot hold `a` beside `a/b`; control characters it keeps.
#[test]
fn every_odd_key_that_rclone_holds_syncs_under_its_exact_bytes() {
    let longest = "k".repeat(1024);
    let must_hold = [
        "plain",
        "deep/er/est.txt",
        "a b",
        "a+b",
        "a%20b",
        "a%2Fb",
        "%",
        "a#b",
        "a?b",
        "a&b=c",
        "*",
        "new\nline",
        "tab\there",
        "carriage\rreturn",
        "\u{1f600}",
        " lead",
        "trail ",
        "\u{7f}",
        "a\\b",
        "<a>",
        "a\"b",
        &longest,
    ];
    syncs_what_the_peer_holds(&Peer::rclone(), &must_hold);
}

#[test]
fn an_object_uploaded_in_parts_to_seaweedfs_arrives_whole() {
    let peer = Peer::seaweedfs();
    let catchment = Catchment::reaching(peer.endpoint());
    let bytes = content::pattern(1, 40 << 20);
    let file = catchment.write_home("large", &bytes);
    peer.prepare(&[serde_json::json!({
        "do": "put_multipart", "key": "large.bin", "file": file, "part_size": 8 << 20,
    })]);

    catchment.sync(format!("s3://{}", peers::BUCKET)).exits(0);

    let want = BTreeMap::from([(b"large.bin".to_vec(), content::hash(&bytes))]);
    catchment.holds_exactly(peers::BUCKET, &want);
}

#[test]
fn only_the_prefixes_that_are_named_are_listed_and_one_that_is_named_later_is_added() {
    let s3 = FakeS3::start();
    for key in ["2025/a", "2026/a", "2026/b", "2027/a", "notes"] {
        s3.put(key, content_of(key));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{}", fake_s3::BUCKET);
    let first = catchment.sync_with(&source, &["--prefix", "2026/", "--prefix", "no"]).exits(0);
    assert_eq!(first.summary().synced, 3);
    s3.forget_requests();

    let more = ["--prefix", "2027/", "--prefix", "2026/", "--prefix", "no"];
    let then = catchment.sync_with(&source, &more).exits(0).summary();

    assert_eq!((then.synced, then.unchanged, then.removed), (1, 3, 0));
    assert_eq!((s3.count(Kind::List), s3.count(Kind::Get)), (3, 1));
    let keys = ["2026/a", "2026/b", "2027/a", "notes"].map(str::to_owned);
    catchment.holds_exactly(fake_s3::BUCKET, &contents_of(&keys));
}
