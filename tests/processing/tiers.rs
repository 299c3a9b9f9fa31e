//! Collections that take from collections, and objects that change while they are at hand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    kills::Gate,
    ledger::{DEADLINE, Fixture},
    services::{collect, define},
    support::{
        catchment::poll_until,
        wire::{Answer, Reply, Request, Wire},
    },
};

/// The bytes of the file in a line of the protocol.
fn content(request: &Request) -> String {
    let line: Value = serde_json::from_slice(&request.body).unwrap();
    let bytes = line["inputs"]["file"]["content_base64"].as_str().unwrap();
    String::from_utf8(BASE64_STANDARD.decode(bytes).unwrap()).unwrap()
}

fn document(fields: Value) -> Reply {
    let document = json!({ "document": fields });
    Answer::new(200, format!("{document}\n{{\"done\":true}}\n")).into()
}

fn serve_to(here: &Fixture, wire: &Wire) {
    let text = format!("version = \"1\"\nhttp = \"{}/\"\nformat = \"catchment\"\n", wire.url());
    define(here, "remote", &text);
    let passes = json!([{"source_path": "key_prefix", "target_path": "path"}]);
    collect(here, "remote", json!({ "field_passthrough": passes }));
}

/// When each document of a collection was written last, by its path.
fn written(here: &Fixture, collection: &str) -> BTreeMap<String, String> {
    let all = here.documents(collection).into_iter();
    all.map(|it| {
        (it["path"].as_str().unwrap().to_owned(), it["_internal"]["updated_at"].to_string())
    })
    .collect()
}

#[test]
fn tiers_follow_each_other_fail_with_what_they_need_and_run_again_from_where_somebody_says() {
    let here = Fixture::new();
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = is_mended.clone();
    let wire = Wire::serve(move |request| {
        let text = content(request);
        match text.starts_with("bad") && !mended.load(Ordering::SeqCst) {
            true => Answer::new(422, "this one is bad").into(),
            false => document(json!({ "said": text })),
        }
    });
    serve_to(&here, &wire);
    // `lowest` takes from both of the others, so it is the third tier.
    for (name, sources) in [("below", json!(["made"])), ("lowest", json!(["made", "below"]))] {
        let collection = json!({
            "collection_name": name,
            "source": {"type": "collection", "collection_ids": sources},
            "feature_extractor": {
                "feature_extractor_name": "passthrough_extractor", "version": "v1",
            },
        });
        here.server.post("/v1/collections", &collection).is(200);
    }
    here.tree.write("good.txt", "good");
    here.tree.write("bad.txt", "bad");
    let sync = here.sync(json!({}));
    let batch = here.settled().remove(0);
    assert_eq!(
        (&batch["status"], &batch["total_tiers"]),
        (&json!("COMPLETED_WITH_ERRORS"), &json!(3))
    );
    let counts = || ["made", "below", "lowest"].map(|name| here.documents(name).len());
    assert_eq!(counts(), [1, 1, 2], "what a tier lacks, those below it lack");
    let path = format!("/v1/buckets/films/batches/{}", batch["batch_id"].as_str().unwrap());
    let failed = here.server.get(&format!("{path}/failed-documents")).is(200);
    assert_eq!((&failed["total"], &failed["results"][0]["tier_num"]), (&json!(1), &json!(0)));

    // No tier but the first has a failure.
    let retry = |tiers: Value| {
        let body = json!({"retry_mode": "all", "tier_nums": tiers});
        here.server.post(&format!("{path}/retry"), &body).is(200)["retried_count"].clone()
    };
    assert_eq!(retry(json!([1, 2])), 0);
    is_mended.store(true, Ordering::SeqCst);
    assert_eq!(retry(json!([0])), 1);
    poll_until("the other object", DEADLINE, || {
        here.settled();
        (counts() == [2, 2, 4]).then_some(())
    });

    let before = ["made", "below"].map(|name| written(&here, name));
    let again = json!({"dedup_strategy": "replace"});
    here.server.post(&format!("{path}/resubmit?from_tier=1"), &again).is(200);
    let batch = here.settled().remove(0);
    assert_eq!(batch["status"], "COMPLETED", "{batch}");
    let after = ["made", "below"].map(|name| written(&here, name));
    assert_eq!(after[0], before[0], "the first tier is left alone");
    assert!(before[1].iter().all(|(path, at)| after[1][path] != *at), "{before:?} {after:?}");
    assert_eq!(counts(), [2, 2, 4], "each has one set of documents still");

    here.tree.write("good.txt", "good news");
    here.run_again(&sync, 2);
    poll_until("what changed, in all tiers", DEADLINE, || {
        here.settled();
        let has =
            |name: &str| here.documents(name).iter().filter(|it| it["said"] == "good news").count();
        (has("made") == 1 && has("below") == 1 && has("lowest") == 2).then_some(())
    });
    assert_eq!(counts(), [2, 2, 4]);
}

/// A file `a.txt` whose first text is being extracted until the gate opens.
fn at_hand() -> (Fixture, Arc<Gate>, Wire, String) {
    let here = Fixture::new();
    let (gate, asked) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let (closed, count) = (gate.clone(), asked.clone());
    let wire = Wire::serve(move |request| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            closed.pass();
        }
        document(json!({ "said": content(request) }))
    });
    serve_to(&here, &wire);
    here.tree.write("a.txt", "before");
    let sync = here.sync(json!({}));
    poll_until("the question", DEADLINE, || (asked.load(Ordering::SeqCst) == 1).then_some(()));
    (here, gate, wire, sync)
}

/// Waits until the objects of the bucket are like this.
fn has(here: &Fixture, are_so: impl Fn(&[Value]) -> bool) {
    poll_until("the objects", DEADLINE, || {
        let list = "/v1/buckets/films/objects/list";
        let listed = here.server.post(list, &json!({})).is(200);
        are_so(listed["results"].as_array().unwrap()).then_some(())
    });
}

#[test]
fn an_object_that_changes_while_it_is_extracted_is_extracted_as_it_is_now() {
    let (here, gate, _wire, sync) = at_hand();
    here.tree.write("a.txt", "after that");
    here.run_again(&sync, 2);
    has(&here, |found| found[0]["blobs"][0]["details"]["size_bytes"] == 10);
    gate.open();
    let made = poll_until("the document", DEADLINE, || {
        here.settled();
        Some(here.documents("made")).filter(|made| !made.is_empty())
    });
    assert_eq!((made.len(), &made[0]["said"]), (1, &json!("after that")), "{made:?}");
    for batch in here.settled() {
        assert_eq!(batch["status"], "COMPLETED", "{batch}");
    }
}

#[test]
fn an_object_that_goes_while_it_is_extracted_leaves_no_document_and_counts_as_skipped() {
    let (here, gate, _wire, sync) = at_hand();
    here.tree.write("b.txt", "to have something left");
    here.tree.remove("a.txt");
    here.run_again(&sync, 2);
    has(&here, |found| found.len() == 1 && found[0]["key_prefix"] == "b.txt");
    gate.open();
    poll_until("what is left", DEADLINE, || {
        here.settled();
        (!here.documents("made").is_empty()).then_some(())
    });
    for batch in here.settled() {
        assert_eq!(batch["status"], "COMPLETED", "{batch}");
        assert_eq!(batch["failed_object_count"], 0);
        assert!(batch["tier_tasks"][0]["audit"]["balanced"].as_bool().unwrap(), "{batch}");
    }
    assert_eq!(written(&here, "made").into_keys().collect::<Vec<_>>(), ["b.txt"]);
    let first = here.settled().remove(0);
    assert!(first["progress"]["objects_skipped"].as_u64().unwrap() >= 1, "{first}");
}

#[test]
fn a_collection_that_is_switched_off_takes_nothing_and_catches_up_once_it_is_on_again() {
    let here = Fixture::new();
    let other = json!({
        "collection_name": "other",
        "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
    });
    here.server.post("/v1/collections", &other).is(200);
    here.tree.write("a.txt", "a");
    let sync = here.sync(json!({}));
    here.settled();
    here.server.patch("/v1/collections/other", &json!({"enabled": false})).is(200);
    here.tree.write("b.txt", "b");
    here.run_again(&sync, 2);
    poll_until("the next document", DEADLINE, || {
        (here.documents("facts").len() == 2).then_some(())
    });
    here.settled();
    assert_eq!(here.documents("other").len(), 1);
    here.server.post("/v1/collections/other/trigger", &json!({})).fails_with(409);
    here.server.patch("/v1/collections/other", &json!({"enabled": true})).is(200);
    here.server.post("/v1/collections/other/trigger", &json!({})).is(202);
    poll_until("what came meanwhile", DEADLINE, || {
        here.settled();
        (here.documents("other").len() == 2).then_some(())
    });
}

#[test]
fn objects_that_are_kept_although_their_files_are_gone_keep_their_documents() {
    let here = Fixture::new();
    here.tree.write("a.txt", "a");
    here.tree.write("b.txt", "b");
    let sync = here.sync(json!({"reconcile": {"on_delete": false}}));
    here.settled();
    let before = written(&here, "facts");
    here.tree.remove("a.txt");
    here.tree.write("c.txt", "c");
    here.run_again(&sync, 2);
    let mut after = poll_until("the next document", DEADLINE, || {
        here.settled();
        Some(written(&here, "facts")).filter(|after| after.contains_key("c.txt"))
    });
    after.remove("c.txt");
    assert_eq!((before.len(), after), (2, before));
}
