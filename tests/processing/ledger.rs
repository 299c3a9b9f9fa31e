//! What is extracted, and what is not: each object once for what goes in, through the server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        trees::Tree,
    },
};

/// Nothing in these tests takes longer, on a slow and busy machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A server, a folder, and a bucket `films` with a collection `facts` that takes all of it.
pub struct Fixture {
    pub home: Catchment,
    pub server: Server,
    pub tree: Tree,
}

impl Fixture {
    pub fn new() -> Self {
        Self::on(Catchment::new())
    }

    /// The same on an installation that has nothing yet.
    pub fn on(home: Catchment) -> Self {
        let server = Server::on(&home);
        let schema = json!({"properties": {}});
        let bucket = json!({"bucket_name": "films", "bucket_schema": schema});
        server.post("/v1/buckets", &bucket).is(200);
        server.post("/v1/collections", &Self::collection("facts")).is(200);
        Self { home, server, tree: Tree::new("source") }
    }

    pub fn collection(name: &str) -> Value {
        json!({
            "collection_name": name,
            "source": {"type": "bucket", "bucket_ids": ["films"]},
            "feature_extractor": {
                "feature_extractor_name": "file_facts",
                "version": "v1",
                "field_passthrough": [{"source_path": "key_prefix", "target_path": "path"}],
            },
        })
    }

    /// Makes a sync of the folder, and waits for its first run.
    pub fn sync(&self, more: Value) -> String {
        let path = self.tree.root().to_str().unwrap();
        let mut order = json!({"connection_id": "conn_local", "source_path": path});
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.server.post("/v1/buckets/films/syncs", &order).is(200);
        let path = format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap());
        self.has_run(&path, 1);
        path
    }

    pub fn has_run(&self, sync: &str, runs: u64) {
        poll_until("a run", DEADLINE, || {
            let listed = self.server.post(&format!("{sync}/jobs?limit=100"), &json!({}));
            let jobs = listed.is(200);
            let done =
                jobs["results"].as_array()?.iter().filter(|job| job["status"] == "completed");
            (done.count() as u64 >= runs).then_some(())
        });
    }

    pub fn run_again(&self, sync: &str, runs: u64) {
        self.server.post(&format!("{sync}/trigger"), &json!({})).is(200);
        self.has_run(sync, runs);
    }

    /// Waits until no batch is waiting or under way, and returns all batches, oldest first.
    pub fn settled(&self) -> Vec<Value> {
        self.settled_in("films")
    }

    /// The same of another bucket.
    pub fn settled_in(&self, bucket: &str) -> Vec<Value> {
        // A hostile object may use up all of its time, and that twice.
        poll_until("the end of all batches", 3 * DEADLINE, || {
            let list = format!("/v1/buckets/{bucket}/batches/list");
            let listed = self.server.post(&list, &json!({"limit": 1000})).is(200);
            let mut rows = listed["results"].as_array()?.clone();
            rows.reverse();
            let open = ["PENDING", "IN_PROGRESS"];
            rows.iter().all(|row| !open.contains(&row["status"].as_str().unwrap())).then_some(rows)
        })
    }

    pub fn documents(&self, collection: &str) -> Vec<Value> {
        let target = format!("/v1/collections/{collection}/documents/list");
        let listed = self.server.post(&target, &json!({"limit": 1000})).is(200);
        listed["results"].as_array().unwrap().clone()
    }

    /// How many objects all batches have extracted.
    pub fn extracted(&self) -> u64 {
        self.extracted_in("films")
    }

    /// The same of another bucket.
    pub fn extracted_in(&self, bucket: &str) -> u64 {
        let sum = |name: &str, batch: &Value| batch["progress"][name].as_u64().unwrap();
        let batches = self.settled_in(bucket);
        for batch in &batches {
            for tier in batch["tier_tasks"].as_array().unwrap() {
                assert_eq!(tier["audit"]["balanced"], true, "{batch}");
            }
        }
        batches.iter().map(|batch| sum("objects_extracted", batch)).sum()
    }
}

#[test]
fn a_sync_batches_what_it_brings_and_each_object_gets_one_set_of_documents() {
    let here = Fixture::new();
    for number in 0..5 {
        here.tree.write(format!("{number}.txt"), format!("content {number}"));
    }
    let sync = here.sync(json!({"batch_chunk_size": 2}));
    let batches = here.settled();
    assert_eq!(batches.len(), 3, "five objects, two a batch");
    let mut paths: Vec<_> =
        here.documents("facts").iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    assert_eq!(paths, ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"]);
    let shown = here.server.get(&sync).is(200);
    assert_eq!(shown["batches_created"], 3);
    assert_eq!(shown["batch_ids"].as_array().unwrap().len(), 3);
    here.run_again(&sync, 2);
    assert_eq!(here.settled().len(), 3, "nothing changed, nothing is batched");
}

#[test]
fn a_rename_extracts_nothing_and_changed_content_extracts_one_object() {
    let here = Fixture::new();
    here.tree.write("a.txt", "of one");
    here.tree.write("b.txt", "of the other");
    let sync = here.sync(json!({"skip_duplicates": false}));
    assert_eq!(here.extracted(), 2);
    let before = here.documents("facts");

    std::fs::rename(here.tree.at("a.txt"), here.tree.at("c.txt")).unwrap();
    here.run_again(&sync, 2);
    poll_until("the new name", DEADLINE, || {
        here.settled();
        here.documents("facts").iter().any(|it| it["path"] == "c.txt").then_some(())
    });
    assert_eq!(here.extracted(), 2, "a rename only passes its new name through");
    let ids = |documents: &[Value]| {
        let mut ids: Vec<_> =
            documents.iter().map(|it| it["document_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&before), ids(&here.documents("facts")));

    here.tree.write("b.txt", "something else altogether");
    here.run_again(&sync, 3);
    poll_until("the new size", DEADLINE, || {
        here.settled();
        here.documents("facts").iter().any(|it| it["size_bytes"] == 25).then_some(())
    });
    assert_eq!(here.extracted(), 3);
    assert_eq!(ids(&before), ids(&here.documents("facts")), "ids stay");
}

#[test]
fn a_bucket_without_a_collection_notes_nothing_for_processing() {
    let here = Fixture::new();
    here.server.delete("/v1/collections/facts").is(200);
    here.tree.write("a.txt", "one");
    let sync = here.sync(json!({}));
    here.tree.write("a.txt", "another");
    here.tree.write("b.txt", "two");
    here.run_again(&sync, 2);
    let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    for table in ["to_batch", "batches", "batch_objects", "tasks", "outcomes", "documents"] {
        let count = format!("SELECT count(*) FROM {table}");
        let rows: u64 = db.query_row(&count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
}

#[test]
fn while_batches_are_skipped_objects_gather_and_each_is_batched_once_after() {
    let here = Fixture::new();
    here.tree.write("a.txt", "one");
    let sync = here.sync(json!({"skip_batch_submission": true}));
    here.tree.write("b.txt", "two");
    here.run_again(&sync, 2);
    assert_eq!(here.settled().len(), 0);

    here.server.patch(&sync, &json!({"skip_batch_submission": false})).is(200);
    poll_until("the documents", DEADLINE, || (here.documents("facts").len() == 2).then_some(()));
    let batches = here.settled();
    assert_eq!(batches.len(), 1);
    assert_eq!(here.extracted(), 2);
}

#[test]
fn a_removed_object_takes_its_documents_of_all_tiers_with_it() {
    let here = Fixture::new();
    let below = json!({
        "collection_name": "below",
        "source": {"type": "collection", "collection_id": "facts"},
        "feature_extractor": {
            "feature_extractor_name": "passthrough_extractor", "version": "v1",
        },
    });
    here.server.post("/v1/collections", &below).is(200);
    here.tree.write("a.txt", "one");
    here.tree.write("b.txt", "two");
    let sync = here.sync(json!({}));
    here.settled();
    assert_eq!((here.documents("facts").len(), here.documents("below").len()), (2, 2));

    here.tree.remove("a.txt");
    here.run_again(&sync, 2);
    poll_until("the removal", DEADLINE, || {
        let left = (here.documents("facts").len(), here.documents("below").len());
        (left == (1, 1)).then_some(())
    });
    let counted = here.server.get("/v1/collections/facts/documents/count").is(200);
    assert_eq!(counted["count"], 1);
}

#[test]
fn other_parameters_make_what_is_there_outdated_and_rerun_nothing_unasked() {
    let here = Fixture::new();
    let rows = json!({
        "collection_name": "own fields",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {
            "feature_extractor_name": "passthrough_extractor", "version": "v1",
        },
    });
    here.server.post("/v1/collections", &rows).is(200);
    here.tree.write("a.txt", "one");
    here.sync(json!({}));
    here.settled();
    let extracted = here.extracted();

    let changed = json!({"feature_extractor": {
        "feature_extractor_name": "passthrough_extractor", "version": "v1",
        "parameters": {"preserve_metadata": false},
    }});
    let shown = here.server.patch("/v1/collections/own%20fields", &changed).is(200);
    assert_eq!(shown["outdated"], 1);
    assert_eq!(here.extracted(), extracted);
    let asked = json!({"only_outdated": true});
    here.server.post("/v1/collections/own%20fields/trigger", &asked).is(202);
    assert_eq!(here.extracted(), extracted + 1);
    assert_eq!(here.server.get("/v1/collections/own%20fields").is(200)["outdated"], 0);
}

#[test]
fn without_a_server_a_sync_says_what_waits_and_process_extracts_it() {
    let Fixture { home, server, tree } = Fixture::new();
    assert!(server.stop().success());
    tree.write("a.txt", "a");
    tree.write("b.txt", "b");
    let source = tree.root().to_str().unwrap();
    let said = home.run(&["sync", source, "--bucket", "films"]).exits(0).stdout();
    assert!(said.contains("2 objects wait to be extracted: `catchment process`"), "{said}");
    let said = home.run(&["process"]).exits(0).stdout();
    assert!(said.contains("2 documents; 0 objects failed; 0 batches waiting"), "{said}");
    let said = home.run(&["documents", "facts", "--json"]).exits(0).stdout();
    assert_eq!(said.lines().count(), 2, "{said}");
    let said = home.run(&["sync", source, "--bucket", "films"]).exits(0).stdout();
    assert!(!said.contains("wait to be extracted"), "{said}");
}

/// How often the server is killed: `CATCHMENT_TEST_KILLS`, else 20.
fn kills() -> usize {
    std::env::var("CATCHMENT_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn a_server_killed_again_and_again_leaves_each_object_exactly_one_set_of_documents() {
    const FILES: usize = 300;
    let Fixture { home, mut server, tree } = Fixture::new();
    let write = |number: usize, round: usize| {
        tree.write(format!("{number}.txt"), format!("content {number} of round {round}"));
    };
    (0..FILES).for_each(|number| write(number, 0));
    let path = tree.root().to_str().unwrap();
    let order = json!({
        "connection_id": "conn_local", "source_path": path, "batch_chunk_size": 50,
    });
    let made = server.post("/v1/buckets/films/syncs", &order).is(200);
    let sync = format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap());
    let seed = fastrand::u64(..);
    println!("the seed of this run: {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    for round in 1..=kills() {
        std::thread::sleep(Duration::from_millis(chance.u64(0..900)));
        server.kill();
        // There is always something to do: some files have other content.
        (0..10).for_each(|_| write(chance.usize(..FILES), round));
        server = Server::on(&home);
        // A server that died three times during the same sync starts with that sync suspended.
        server.post(&format!("{sync}/resume"), &json!({}));
        server.post(&format!("{sync}/trigger"), &json!({}));
    }
    let here = Fixture { home, server, tree };
    let runs = || {
        let listed = here.server.post(&format!("{sync}/jobs?limit=1000"), &json!({})).is(200);
        let rows = listed["results"].as_array().unwrap().clone();
        rows.iter().filter(|job| job["status"] == "completed").count() as u64
    };
    let before = runs();
    poll_until("a run that nothing interrupts", DEADLINE, || {
        here.server.post(&format!("{sync}/trigger"), &json!({}));
        (runs() > before + 1).then_some(())
    });
    here.settled();
    let failed = here.server.get("/v1/collections/facts").is(200)["failed"].clone();
    if failed != 0 {
        // What was at hand at three deaths counts as what caused them, until somebody asks again.
        here.server.post("/v1/collections/facts/trigger", &json!({})).is(202);
        here.settled();
    }
    let shown = here.server.get("/v1/collections/facts").is(200);
    assert_eq!((&shown["waiting"], &shown["failed"]), (&json!(0), &json!(0)), "{shown}");
    let made = here.documents("facts");
    assert_eq!(made.len(), FILES);
    let mut paths: Vec<_> = made.iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), FILES, "an object has two sets of documents");
    for document in &made {
        let path = here.tree.root().join(document["path"].as_str().unwrap());
        let size = std::fs::metadata(&path).unwrap().len();
        assert_eq!(
            document["size_bytes"], size,
            "a document is of content that is gone: {document}"
        );
    }
    let shown = here.server.get("/v1/collections/facts").is(200);
    assert_eq!(shown["failed"], 0, "{shown}");
}
