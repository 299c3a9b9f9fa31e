//! `/v1/buckets/{bucket}/objects/archive`: many objects as one zip file, which Python's own reader
//! then opens.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    buckets::bucket,
    objects::fill,
    server::{Answer, Server},
    support::{
        catchment::{Catchment, poll_until},
        content::pattern,
        peers,
        trees::{Tree, odd_names},
    },
};

/// Asks for an archive of the bucket at `path`.
fn ordered(server: &Server, path: &str, body: Value) -> Answer {
    server.post(&format!("{path}/objects/archive"), &body)
}

/// Follows the link of an answer, as a browser does: without a token.
fn followed(server: &Server, order: &Value) -> Answer {
    let target = target(server, order);
    server.request("GET", &target).without_token().send()
}

fn target(server: &Server, order: &Value) -> String {
    let url = order["url"].as_str().unwrap();
    url.strip_prefix(&format!("http://{}", server.address)).unwrap().to_owned()
}

/// What another reader says of a zip archive.
fn told(zip: &[u8]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client/unzip.py");
    let mut reader = Command::new(peers::venv("python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(zip).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "the archive cannot be read");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The files of an archive with their bytes; `None` where they are not what their sum says.
fn unpacked(zip: &Answer) -> BTreeMap<String, Option<Vec<u8>>> {
    assert_eq!((zip.status, zip.header("content-type")), (200, Some("application/zip")));
    let entries = told(&zip.body);
    let entry = |entry: &Value| {
        let bytes = entry["bytes"].as_str().map(|text| BASE64_STANDARD.decode(text).unwrap());
        (entry["name"].as_str().unwrap().to_owned(), bytes)
    };
    let files: BTreeMap<_, _> = entries.as_array().unwrap().iter().map(entry).collect();
    assert_eq!(files.len(), entries.as_array().unwrap().len(), "one name twice: {entries}");
    files
}

fn names(zip: &Answer) -> Vec<String> {
    unpacked(zip).into_keys().collect()
}

fn made(server: &Server, bucket: &str, path: &str, blobs: &[(&str, &[u8])]) -> String {
    let blob = |(property, bytes): &(&str, &[u8])| {
        let data = json!({"base64": BASE64_STANDARD.encode(bytes), "mime_type": "text/plain"});
        json!({"property": property, "type": "text", "data": data})
    };
    let blobs: Vec<_> = blobs.iter().map(blob).collect();
    let body = json!({"key_prefix": path, "blobs": blobs});
    let object = server.post(&format!("{bucket}/objects"), &body).is(200);
    object["object_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_bucket_comes_as_one_archive_with_every_byte_and_time() {
    let server = Server::start();
    let tree = Tree::new("photos");
    let large = pattern(7, 700_000);
    tree.write("2026/a.jpg", &large);
    tree.write("2026/b.txt", "b");
    tree.write("empty", "");
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_234_567_891);
    let file = std::fs::File::options().write(true).open(tree.at("2026/b.txt")).unwrap();
    file.set_modified(time).unwrap();
    server.home.sync(tree.source()).exits(0);

    let order = ordered(&server, "/v1/buckets/photos", json!({})).is(200);
    assert_eq!(
        (&order["filename"], &order["objects"], &order["bytes"]),
        (&json!("photos.zip"), &json!(3), &json!(700_001))
    );
    let zip = followed(&server, &order);
    let disposition = zip.header("content-disposition").unwrap();
    assert!(disposition.starts_with("attachment; filename=\"photos.zip\""), "{disposition}");
    let files = unpacked(&zip);
    let held: BTreeMap<_, _> = [
        ("2026/a.jpg".to_owned(), Some(large)),
        ("2026/b.txt".to_owned(), Some(b"b".to_vec())),
        ("empty".to_owned(), Some(Vec::new())),
    ]
    .into();
    assert!(files == held, "{:?}", files.keys());
    let entries = told(&zip.body);
    let entry = entries.as_array().unwrap().iter().find(|entry| entry["name"] == "2026/b.txt");
    let entry = entry.unwrap();
    assert_eq!((&entry["modified"], &entry["mode"]), (&json!(1_234_567_891), &json!("-rw-r--r--")));
}

#[test]
fn an_archive_has_what_is_named_or_what_matches() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let [one, _, three] = ["a/1.txt", "a/2.jpg", "b/3.txt"]
        .map(|path| made(&server, &bucket, path, &[("content", path.as_bytes())]));
    let of = |body: Value| {
        let order = ordered(&server, &bucket, body).is(200);
        let names = names(&followed(&server, &order));
        assert_eq!(order["objects"], names.len());
        names
    };
    assert_eq!(of(json!({"object_ids": [three, one, one]})), ["a/1.txt", "b/3.txt"]);
    assert_eq!(of(json!({"prefix": "a/"})), ["a/1.txt", "a/2.jpg"]);
    assert_eq!(of(json!({"search": ".TXT"})), ["a/1.txt", "b/3.txt"]);
    assert_eq!(of(json!({"prefix": "a/", "search": ".txt"})), ["a/1.txt"]);
    let filters =
        json!({"AND": [{"field": "key_prefix", "operator": "ends_with", "value": "jpg"}]});
    assert_eq!(of(json!({"filters": filters})), ["a/2.jpg"]);
    let order = ordered(&server, &bucket, json!({"prefix": "a/"})).is(200);
    assert_eq!(order["filename"], "a.zip");
    let order = ordered(&server, &bucket, json!({"name": "../mine"})).is(200);
    assert_eq!(order["filename"], ".._mine.zip");
}

#[test]
fn what_cannot_be_packed_is_refused_by_name() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let order = |body: Value| ordered(&server, &bucket, body);
    order(json!({})).blames("");
    let id = made(&server, &bucket, "a", &[("content", b"a")]);
    order(json!({"object_ids": [id, "obj_nope"]})).blames("object_ids[1]");
    order(json!({"object_ids": []})).blames("object_ids");
    order(json!({"object_ids": vec!["obj_x"; 5001]})).blames("object_ids");
    order(json!({"object_ids": [id], "prefix": "a"})).blames("prefix");
    order(json!({"prefix": "z"})).blames("prefix");
    order(json!({"search": "z"})).blames("search");
    order(json!({"filters": {"AND": [{"field": "n", "operator": "near", "value": 1}]}}))
        .blames("filters.AND[0].operator");
    order(json!({"files": "all"})).blames("files");
    ordered(&server, "/v1/buckets/nope", json!({})).fails_with(404);
}

#[test]
fn more_objects_than_an_archive_has_are_refused_with_another_way_to_get_them() {
    let home = Catchment::new();
    let server = Server::on(&home);
    let path = bucket(&server, "b");
    server.stop();
    fill(&home, 100_001);
    let server = Server::on(&home);
    let refused = ordered(&server, &path, json!({"prefix": "hay/"})).blames("prefix");
    assert!(refused["message"].as_str().unwrap().contains("catchment export"), "{refused}");
    assert_eq!(ordered(&server, &path, json!({"prefix": "hay/99"})).is(200)["objects"], 1111);
}

#[test]
fn hostile_paths_stay_in_the_archive_and_apart() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let paths = [
        "../../up",
        "/etc/passwd",
        "etc/passwd",
        "..\\..\\up",
        "C:\\x",
        "a//b",
        "a/b",
        "A/b",
        "d",
        "d/e",
        "NUL",
        "NOT INCLUDED.txt",
        "line\nfeed",
    ];
    for path in paths {
        made(&server, &bucket, path, &[("content", path.as_bytes())]);
    }
    let order = ordered(&server, &bucket, json!({})).is(200);
    let files = unpacked(&followed(&server, &order));
    let contents: std::collections::BTreeSet<_> =
        files.values().map(|bytes| String::from_utf8(bytes.clone().unwrap()).unwrap()).collect();
    assert_eq!(contents, paths.map(str::to_owned).into(), "{:?}", files.keys());
    let mut taken = std::collections::BTreeSet::new();
    for name in files.keys() {
        let is_plain =
            |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['\\', ':', '\n']);
        assert!(name.split('/').all(is_plain), "{name:?}");
        assert!(taken.insert(name.to_lowercase()), "{name:?} would lie over another");
    }
    assert!(!files.keys().any(|name| name.starts_with("d/") && files.contains_key("d")));
}

#[test]
fn names_that_unix_allows_are_all_packed() {
    let server = Server::start();
    let tree = Tree::new("odd");
    for name in odd_names() {
        tree.write(&name, &name);
    }
    server.home.sync(tree.source()).exits(0);
    let order = ordered(&server, "/v1/buckets/odd", json!({})).is(200);
    let files = unpacked(&followed(&server, &order));
    let mut contents: Vec<Vec<u8>> = files.into_values().map(Option::unwrap).collect();
    let mut wanted = odd_names();
    contents.sort();
    wanted.sort();
    assert_eq!(contents, wanted);
}

#[test]
fn every_blob_of_an_object_has_a_file_of_its_own() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    made(&server, &bucket, "film.txt", &[("content", b"film"), ("poster", b"poster")]);
    let order = ordered(&server, &bucket, json!({})).is(200);
    let files = unpacked(&followed(&server, &order));
    assert_eq!(files.len(), 2);
    assert_eq!(files["film.txt"].as_deref(), Some(b"film".as_slice()));
    let other = files.iter().find(|(name, _)| name.starts_with("film.txt.poster")).unwrap();
    assert_eq!(other.1.as_deref(), Some(b"poster".as_slice()));
}

#[test]
fn the_archive_names_objects_that_went_away_meanwhile() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let gone = made(&server, &bucket, "gone.txt", &[("content", b"gone")]);
    made(&server, &bucket, "stays.txt", &[("content", b"stays")]);
    let order = ordered(&server, &bucket, json!({})).is(200);
    assert_eq!(server.delete(&format!("{bucket}/objects/{gone}")).status, 204);
    let files = unpacked(&followed(&server, &order));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["NOT INCLUDED.txt", "stays.txt"]);
    assert_eq!(
        files["NOT INCLUDED.txt"].as_deref(),
        Some(b"gone.txt: it was removed\n".as_slice())
    );
}

#[test]
fn damaged_bytes_never_pass_for_whole_ones() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let bytes = pattern(9, 300_000);
    made(&server, &bucket, "damaged", &[("content", &bytes)]);
    made(&server, &bucket, "torn", &[("content", &pattern(10, 300_000))]);
    made(&server, &bucket, "whole", &[("content", &pattern(11, 300_000))]);
    let file = |seed: u32| {
        let hex = blake3::hash(&pattern(seed.into(), 300_000)).to_hex().to_string();
        server.home.data_dir().join("blobs").join(&hex[..2]).join(hex)
    };
    let mut damaged = bytes;
    damaged[200_000] ^= 1;
    std::fs::write(file(9), damaged).unwrap();
    std::fs::File::options().write(true).open(file(10)).unwrap().set_len(100_000).unwrap();

    let order = ordered(&server, &bucket, json!({})).is(200);
    let files = unpacked(&followed(&server, &order));
    assert_eq!((&files["damaged"], files.get("torn")), (&None, None));
    assert!(files["whole"].as_deref() == Some(&pattern(11, 300_000)));
    let note = String::from_utf8(files["NOT INCLUDED.txt"].clone().unwrap()).unwrap();
    assert!(note.contains("damaged: its bytes are damaged"), "{note}");
    assert!(note.contains("torn: its bytes are damaged"), "{note}");
}

#[test]
fn a_link_to_an_archive_admits_to_nothing_else_and_ends_with_the_server() {
    let home = Catchment::new();
    let server = Server::on(&home);
    let bucket = bucket(&server, "b");
    made(&server, &bucket, "a", &[("content", b"a")]);
    let order = ordered(&server, &bucket, json!({})).is(200);
    let target = target(&server, &order);
    let open = |target: &str| server.request("GET", target).without_token().send();
    assert_eq!(open(&target).status, 200);
    let id = order["archive_id"].as_str().unwrap();
    open(&target.replace(id, "arc_other")).fails_with(401);
    open(&target.replace("expires=", "expires=9")).fails_with(401);
    server.get(&format!("{bucket}/archives/arc_other")).fails_with(404);
    server.stop();
    let server = Server::on(&home);
    server.request("GET", &target).without_token().send().fails_with(404);
}

#[test]
fn beyond_the_most_downloads_at_once_the_next_is_asked_to_wait() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    // More than what lies in buffers on the way, so that a download that nobody reads goes on.
    let bytes = pattern(12, 8_000_000);
    for name in ["1", "2", "3", "4", "5"] {
        made(&server, &bucket, name, &[("content", &bytes)]);
    }
    let order = ordered(&server, &bucket, json!({})).is(200);
    let open = || server.request("GET", &target(&server, &order)).without_token();
    let unread: Vec<_> = (0..4)
        .map(|_| {
            let stream = open().open();
            // Its head has come: it has its place.
            stream.peek(&mut [0]).unwrap();
            stream
        })
        .collect();
    let refused = open().send();
    refused.fails_with(429);
    assert!(refused.header("retry-after").is_some());
    drop(unread);
    poll_until("a free place", Duration::from_secs(30), || {
        let answer = open().send();
        (answer.status == 200).then(|| assert_eq!(unpacked(&answer).len(), 5))
    });
}
