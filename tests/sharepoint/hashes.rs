//! QuickXorHash, compared with rclone's: of parts of any cut, and of files that arrive in parts.

use std::{collections::BTreeMap, path::Path, process::Command};

use catchment::model::QuickXor;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::json;

use crate::{
    support::{
        fake_graph::{FakeGraph, Kind},
        peers::venv,
    },
    syncs::synced,
};

/// Bytes of a part of a large object.
const PART: usize = 8 * 1024 * 1024;

fn content(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new_derive_key("hashes").finalize_xof().fill(&mut bytes);
    bytes
}

/// The hashes of all files in a folder, by name, in base64, as rclone computes them.
fn of_rclone(folder: &Path) -> BTreeMap<String, String> {
    let output = Command::new(venv("rclone"))
        .args(["hashsum", "quickxor", "--base64"])
        .arg(folder)
        .env("RCLONE_CONFIG", "/dev/null")
        .output()
        .expect("rclone starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| line.split_once("  ").unwrap());
    // Microsoft writes the other alphabet of base64.
    let written = |hash: &str| hash.replace('-', "+").replace('_', "/");
    lines.map(|(hash, name)| (name.to_owned(), written(hash))).collect()
}

/// The hash of parts that end at those places, joined in the order of `order`.
fn joined(bytes: &[u8], ends: &[usize], order: &[u16]) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let mut ends: Vec<usize> = ends.iter().map(|end| end % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    let mut parts: Vec<(u16, QuickXor)> = Vec::new();
    for (index, end) in ends.into_iter().enumerate() {
        let mut part = QuickXor::starting_at(start as u64);
        // In pieces that end anywhere.
        bytes[start..end].chunks(1009).for_each(|piece| part.update(piece));
        parts.push((order[index % order.len()], part));
        start = end;
    }
    parts.sort_by_key(|(place, _)| *place);
    let mut whole = QuickXor::starting_at(0);
    parts.iter().for_each(|(_, part)| whole.join(part));
    BASE64_STANDARD.encode(whole.finish())
}

#[test]
fn parts_of_any_cut_in_any_order_have_the_hash_that_rclone_computes_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let around = |size: usize| [size.saturating_sub(1), size, size + 1];
    let sizes: Vec<usize> =
        [0, 20, 160, 320, 1760, 4096, 65_536, 1_000_000].into_iter().flat_map(around).collect();
    for size in &sizes {
        std::fs::write(folder.path().join(size.to_string()), content(*size)).unwrap();
    }
    let hashes = of_rclone(folder.path());
    let cuts = (
        prop::sample::select(sizes),
        prop::collection::vec(any::<usize>(), 0..8),
        prop::collection::vec(any::<u16>(), 1..9),
    );
    let config = Config { failure_persistence: None, ..Config::with_cases(200) };
    TestRunner::new(config)
        .run(&cuts, |(size, ends, order)| {
            let found = joined(&content(size), &ends, &order);
            prop_assert_eq!(&found, &hashes[&size.to_string()], "{} bytes", size);
            Ok(())
        })
        .unwrap();
}

#[test]
fn files_that_arrive_in_parallel_parts_are_checked_against_the_hash_that_rclone_computes() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [2 * PART - 1, 2 * PART, 2 * PART + 1, 3 * PART + 12_345];
    for size in sizes {
        std::fs::write(folder.path().join(size.to_string()), content(size)).unwrap();
    }
    let hashes = of_rclone(folder.path());
    let graph = FakeGraph::start();
    for (name, hash) in &hashes {
        let id = graph.file("root", name, content(name.parse().unwrap()));
        graph.change(&id, |item| {
            item.has_hash = false;
            item.facets = json!({ "file": { "hashes": { "quickXorHash": hash } } });
        });
    }
    let fixture = synced(&graph, "/");
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(4)), "{job}");
    // Nothing was fetched again, and nothing is noted of a wrong record.
    assert_eq!(graph.count(Kind::Item), 0, "{:?}", graph.seen());
    let bytes: usize = sizes.iter().sum();
    assert_eq!(job["metadata"]["counts"]["bytes"], bytes, "{job}");
    for (path, object) in fixture.models() {
        assert!(!object.to_string().contains("size_mismatch"), "{path}");
    }
    let ranges: Vec<String> = graph.seen().into_iter().filter_map(|seen| seen.range).collect();
    assert!(ranges.len() >= 6, "the three largest come in parts: {ranges:?}");
}

#[test]
fn a_part_that_was_damaged_on_its_way_is_found_by_the_hash_of_the_whole() {
    let graph = FakeGraph::start();
    let bytes = content(2 * PART + 5);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large"), &bytes).unwrap();
    let hash = of_rclone(folder.path())["large"].clone();
    let id = graph.file("root", "large", bytes.clone());
    graph.change(&id, |item| {
        item.has_hash = false;
        item.facets = json!({ "file": { "hashes": { "quickXorHash": hash } } });
    });
    // One byte of the first part to be asked for is another one, once.
    graph.damage_next_download();
    let fixture = synced(&graph, "/");
    assert_eq!(fixture.run()["status"], "completed");
    let object = &fixture.models()["large"];
    assert!(!object.to_string().contains("size_mismatch"), "{object}");
    let whole = fixture.bytes("large");
    assert!(whole == bytes, "the bytes are those of the file");
}
