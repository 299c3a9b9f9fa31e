//! A real server's bucket lives on, run after run, under settings that change, and the copy follows
//! it: edits, removals, renames, filters, prefixes, mappings, and runs that are killed.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::support::{
    catchment::Catchment,
    content,
    peers::{self, Peer},
};

/// What the test has put into the bucket.
type Objects = BTreeMap<String, Vec<u8>>;

/// One edit, as a step for the server; the model follows.
fn edit(rng: &mut fastrand::Rng, objects: &mut Objects) -> Vec<Value> {
    let name = format!("{}/{}", rng.choice(["a", "b c", "\u{e9}"]).unwrap(), rng.u8(..9));
    let put = |key: &str, content: &[u8]| json!({"do": "put", "key": key, "content": BASE64_STANDARD.encode(content)});
    let victim = rng.choice(objects.keys().cloned().collect::<Vec<_>>());
    match (rng.u8(..6), victim) {
        (0..3, _) | (_, None) => {
            let bytes = vec![rng.u8(..5); rng.usize(1..80)];
            let step = put(&name, &bytes);
            objects.insert(name, bytes);
            vec![step]
        }
        // Never the last one: that a bucket is empty which was not is refused, as it should be.
        (3, Some(victim)) if objects.len() > 1 => {
            objects.remove(&victim);
            vec![json!({"do": "delete", "key": victim})]
        }
        // A rename, as S3 has them.
        (_, Some(victim)) => {
            let bytes = objects.remove(&victim).unwrap();
            let mut steps = vec![json!({"do": "delete", "key": victim})];
            steps.push(put(&name, &bytes));
            objects.insert(name, bytes);
            steps
        }
    }
}

/// What is listed, each by itself; none: everything.
const PREFIXES: [&[&str]; 4] =
    [&[], &["\u{e9}/", "a/", "b c/"], &["a/", "\u{e9}/"], &["b c/1", "b c/2", "a/"]];

#[test]
fn after_any_history_of_a_real_bucket_the_copy_equals_it() {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let peer = Peer::seaweedfs();
    let catchment = Catchment::reaching(peer.endpoint());
    let source = format!("s3://{}", peers::BUCKET);
    let mapping = json!({"mappings": {"folder": {"source": {"type": "folder_path"}}}});
    let mapping = catchment.write_home("mapping.json", mapping.to_string());
    let mut objects = Objects::new();
    for round in 0..8 {
        let steps: Vec<Value> = (0..10).flat_map(|_| edit(&mut rng, &mut objects)).collect();
        for answer in peer.prepare(&steps) {
            assert!(answer.is_null(), "{answer}");
        }
        // The settings change as well: what is left out, and what is made of the rest.
        let excluded = rng.choice([None, Some('3'), Some('7')]).unwrap();
        let pattern = excluded.map(|digit| format!("*{digit}"));
        let is_mapped = rng.bool();
        let prefixes: &[&str] = rng.choice(PREFIXES).unwrap();
        let begins = |key: &str| prefixes.iter().any(|prefix| key.starts_with(prefix));
        // A source that lists nothing where it listed something is refused.
        let prefixes = if objects.keys().any(|key| begins(key)) { prefixes } else { &[] };
        let is_listed = |key: &&String| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix))
        };
        let mut args = vec!["--max-delete", "100%"];
        args.extend(pattern.iter().flat_map(|pattern| ["--exclude", pattern]));
        args.extend(prefixes.iter().flat_map(|prefix| ["--prefix", prefix]));
        if is_mapped {
            args.extend(["--mapping", mapping.to_str().unwrap()]);
        }
        if round % 2 == 0 {
            // Cut short somewhere; the next run makes it good.
            let delay = std::time::Duration::from_millis(rng.u64(..300));
            catchment.start_sync(&source, &args).killed_after(delay);
        }

        catchment.sync_with(&source, &args).exits(0);

        let passes = |key: &&String| excluded.is_none_or(|digit| !key.ends_with(digit));
        let passing = objects.keys().filter(passes).filter(is_listed).count() as u64;
        let wanted = objects
            .iter()
            .filter(|(key, _)| passes(key) && is_listed(key))
            .map(|(key, bytes)| (key.as_bytes().to_vec(), content::hash(bytes)))
            .collect();
        catchment.holds_exactly(peers::BUCKET, &wanted);
        let again = catchment.sync_with(&source, &args).exits(0).summary();
        assert_eq!((again.unchanged, again.bytes), (passing, 0));
        for (path, listed) in catchment.objects(peers::BUCKET) {
            let folder = String::from_utf8(path).unwrap().rsplit_once('/').unwrap().0.to_owned();
            let fields = if is_mapped { json!({"folder": folder}) } else { Value::Null };
            assert_eq!(listed.fields, fields);
        }
    }
}
