//! The files that extractors make for documents: kept while a document has them, and collected
//! after it.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    ledger::{DEADLINE, Fixture},
    programs::{collect, define, failures},
    support::catchment::poll_until,
};

/// Makes two files of an object: one of its own, too large for the database, and one that is the
/// same for all.
const PAINTS: &str = r#"
import json, os, sys
request = json.loads(sys.stdin.readline())
with open(request["inputs"]["file"]["path"]) as file:
    name = file.read()
with open(os.path.join(request["scratch"], "large"), "w") as file:
    file.write(name * (200 * 1024 // len(name)))
with open(os.path.join(request["scratch"], "small"), "w") as file:
    file.write("a frame for all")
for line in ({"document": {"name": name}},
             {"blob": {"path": "large", "field": "large", "mime_type": "text/plain"}},
             {"blob": {"path": "small", "field": "small", "mime_type": "text/plain"}},
             {"done": True}):
    print(json.dumps(line), flush=True)
"#;

/// Four objects of which a collection `made` has made documents with files.
fn painted() -> (Fixture, String) {
    let here = Fixture::new();
    let script = here.home.write_home("programs/paints.py", PAINTS);
    let folder = script.parent().unwrap().display().to_string();
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/python3\", \"{}\"]\noutput = \"lines\"\n\
         allow = {{ read = [\"{folder}\"] }}\n",
        script.display()
    );
    define(&here.home, "paints", &text);
    collect(&here, "paints", Value::Null);
    for name in ["first", "second", "third", "fourth"] {
        here.tree.write(format!("{name}.txt"), name);
    }
    let sync = here.sync(json!({"batch_chunk_size": 100}));
    assert_eq!(here.settled()[0]["status"], "COMPLETED", "{:?}", failures(&here));
    assert_eq!(here.documents("made").len(), 4);
    (here, sync)
}

/// The hash that a document's file has.
fn hash_of(document: &Value, field: &str) -> String {
    let blobs = document["document_blobs"].as_array().unwrap();
    let blob = blobs.iter().find(|blob| blob["field"] == field).unwrap();
    blob["checksum"].as_str().unwrap().trim_start_matches("blake3:").to_owned()
}

/// The hashes of all bytes that are kept, in the database and beside it.
fn kept(here: &Fixture) -> BTreeSet<String> {
    let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    let mut statement = db.prepare("SELECT lower(hex(hash)) FROM blobs").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    let mut kept: BTreeSet<String> = rows.map(Result::unwrap).collect();
    let mut folders = vec![here.home.data_dir().join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if name.len() == 64 => {
                    kept.insert(name);
                }
                false => {}
            }
        }
    }
    kept
}

#[test]
fn files_of_documents_are_collected_after_their_documents_objects_batches_and_collections() {
    let (here, sync) = painted();
    let mut made = here.documents("made");
    made.sort_by_key(|document| document["path"].as_str().unwrap().to_owned());
    // In the order of their names.
    let names = ["first.txt", "fourth.txt", "second.txt", "third.txt"];
    assert_eq!(made.iter().map(|it| it["path"].as_str().unwrap()).collect::<Vec<_>>(), names);
    let large: Vec<String> = made.iter().map(|document| hash_of(document, "large")).collect();
    let small = hash_of(&made[0], "small");
    let own: Vec<String> = made
        .iter()
        .map(|document| document["_internal"]["content_hash"].as_str().unwrap())
        .map(|hash| hash.trim_start_matches("blake3:").to_owned())
        .collect();
    // What is left, once garbage has been collected.
    let leaves = |files: &[&String]| {
        here.home.run(&["gc"]).exits(0);
        assert_eq!(kept(&here), files.iter().copied().cloned().collect());
        here.home.run(&["verify"]).exits(0);
    };
    let ([a, b, c, d], [aa, bb, cc, dd]) = (&own[..], &large[..]) else { panic!("{made:?}") };
    leaves(&[a, b, c, d, aa, bb, cc, dd, &small]);

    let document = made[0]["document_id"].as_str().unwrap();
    here.server.delete(&format!("/v1/collections/made/documents/{document}")).is(200);
    leaves(&[a, b, c, d, bb, cc, dd, &small]);

    here.tree.remove("fourth.txt");
    here.run_again(&sync, 2);
    poll_until("the removal", DEADLINE, || (here.documents("made").len() == 2).then_some(()));
    leaves(&[a, c, d, cc, dd, &small]);

    // What a person deletes is in the trash with its own bytes, and not with what was made of them.
    let object = made[3]["_internal"]["object_id"].as_str().unwrap();
    here.server.delete(&format!("/v1/buckets/films/objects/{object}")).is(204);
    assert_eq!(here.documents("made").len(), 1);
    leaves(&[a, c, d, cc, &small]);

    here.tree.write("second.txt", "second again");
    here.run_again(&sync, 3);
    poll_until("the new document", DEADLINE, || {
        here.settled();
        here.documents("made").iter().any(|it| it["name"] == "second again").then_some(())
    });
    let again = here.documents("made");
    let again = again.iter().find(|it| it["name"] == "second again").unwrap();
    let newest = hash_of(again, "large");
    assert_ne!(newest, *cc);
    here.home.run(&["gc"]).exits(0);
    assert!(!kept(&here).contains(cc), "what was replaced is collected");
    assert!(kept(&here).contains(&newest) && kept(&here).contains(&small));

    here.server.delete("/v1/collections/made").is(200);
    poll_until("the end of the collection", DEADLINE, || {
        here.home.run(&["gc"]).exits(0);
        let kept = kept(&here);
        let is_gone = |hash: &String| !kept.contains(hash);
        (large.iter().all(is_gone) && is_gone(&newest) && is_gone(&small)).then_some(())
    });
    here.home.run(&["verify"]).exits(0);
}
