//! What operations return and bring about where the client's walk only shows that they answer:
//! mappings of inputs, triggers, trials, diagnostics of batches, documents and what they hang
//! together with, tasks, events and figures of the past.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    ledger::{DEADLINE, Fixture},
    programs::{collect, define, failures, shell},
    receiver::Receiver,
    support::catchment::{Catchment, poll_until},
};

const BATCHES: &str = "/v1/buckets/films/batches";

/// Defines a program of Python that is asked by lines, and does this with each `request`; `say`
/// writes a line.
fn asked(home: &Catchment, name: &str, script: &str) {
    let script = format!(
        "import json, os, sys\ndef say(**what):\n    print(json.dumps(what), flush=True)\n\
         for line in sys.stdin:\n    request = json.loads(line)\n{script}\n    say(done=True)\n"
    );
    let text = format!(
        "version = \"1\"\nprogram = [\"/usr/bin/python3\", \"-c\", {}]\noutput = \"lines\"\nstay = true\n",
        json!(script)
    );
    define(home, name, &text);
}

fn ids(listed: &Value, name: &str) -> Vec<String> {
    let rows = listed["results"].as_array().unwrap();
    rows.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
}

fn objects(here: &Fixture) -> Vec<String> {
    let list = "/v1/buckets/films/objects/list?limit=1000";
    ids(&here.server.post(list, &json!({})).is(200), "object_id")
}

#[test]
fn a_new_collection_takes_what_is_there_only_when_asked_and_gives_what_its_mapping_says() {
    let here = Fixture::new();
    asked(
        &here.home,
        "echo",
        "    request['inputs'].get('file', {}).pop('path', None)\n    say(document={'given': request['inputs']})",
    );
    here.tree.write("a.txt", "words");
    here.sync(json!({}));
    let collection = |name: &str, mappings: Value| {
        let collection = json!({
            "collection_name": name, "source": {"type": "bucket", "bucket_id": "films"},
            "feature_extractor": {
                "feature_extractor_name": "echo", "version": "1", "input_mappings": mappings,
            },
        });
        here.server.post("/v1/collections", &collection)
    };
    let both = [
        (
            "by name",
            json!({
                "file": "content", "where": "key_prefix", "several": ["key_prefix", "nothing"],
                "label": {"source_type": "literal", "override": {"a": 7}},
            }),
        ),
        (
            "by list",
            json!([
                {"input_key": "file", "source_type": "blob", "path": "content"},
                {"input_key": "where", "source_type": "payload", "path": "key_prefix"},
                {"input_key": "label", "source_type": "literal", "override": {"a": 7}},
            ]),
        ),
    ];
    for (name, mappings) in both {
        let before = here.settled().len();
        collection(name, mappings).is(200);
        assert_eq!(here.settled().len(), before, "nothing is extracted unasked");
        let target = format!("/v1/collections/{}", name.replace(' ', "%20"));
        here.server.post(&format!("{target}/trigger"), &json!({})).is(202);
        let made = poll_until("the document", DEADLINE, || {
            here.settled();
            here.documents(&name.replace(' ', "%20")).pop()
        });
        let given = &made["given"];
        assert_eq!(
            (&given["where"], &given["label"]),
            (&json!("a.txt"), &json!({"a": 7})),
            "{made}"
        );
        assert_eq!(given["file"]["size_bytes"], 5, "{made}");
        assert_eq!(given.get("several.0").is_some(), name == "by name", "{made}");
        here.server.delete(&target).is(200);
        poll_until("its end", DEADLINE, || {
            here.settled();
            (here.server.get(&target).status == 404).then_some(())
        });
    }
    for wrong in [json!("content"), json!({"file": 7}), json!([{"path": "content"}])] {
        collection("wrong", wrong).blames("feature_extractor.input_mappings");
    }
    let mut long = Fixture::collection(&"n".repeat(101));
    here.server.post("/v1/collections", &long).blames("collection_name");
    long["collection_name"] = json!("n".repeat(100));
    here.server.post("/v1/collections", &long).is(200);
}

#[test]
fn a_collection_takes_from_a_bucket_of_another_namespace_and_all_are_summed_up() {
    let here = Fixture::new();
    let server = &here.server;
    server.post("/v1/namespaces", &json!({"namespace_name": "other"})).is(200);
    let in_other = |body: Value| {
        let call = server.request("POST", "/v1/buckets").header("X-Namespace", "other");
        call.json(&body).send()
    };
    in_other(json!({"bucket_name": "books", "bucket_schema": {"properties": {}}})).is(200);
    let from = |namespace: Value| {
        json!({
            "collection_name": "of books",
            "source": {"type": "bucket", "bucket_ids": ["books"], "source_namespace_id": namespace},
            "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
        })
    };
    server.post("/v1/collections", &from(Value::Null)).fails_with(404);
    server.post("/v1/collections", &from(json!("other"))).is(200);
    let object = json!({"key_prefix": "one", "blobs": [], "title": "Emma"});
    let made = server.request("POST", "/v1/buckets/books/objects?auto_process=true");
    made.header("X-Namespace", "other").json(&object).send().is(200);
    let documents = poll_until("the document", DEADLINE, || {
        Some(here.documents("of%20books")).filter(|made| !made.is_empty())
    });
    assert_eq!(documents[0]["title"], "Emma");
    here.tree.write("a.txt", "a");
    here.tree.write("b.txt", "b");
    here.sync(json!({}));
    here.settled();
    let listed = server.post("/v1/collections/list", &json!({})).is(200);
    let stats = &listed["stats"];
    assert_eq!((&listed["total_count"], &stats["total_documents"]), (&json!(2), &json!(3)));
    assert_eq!(stats["avg_documents_per_collection"], 1.5, "{stats}");
}

#[test]
fn a_trigger_names_its_first_batch_and_its_task_makes_the_others_and_ends_with_the_last() {
    const FILES: u64 = 1003;
    let here = Fixture::new();
    for number in 0..FILES {
        here.tree.write(format!("{number}.txt"), format!("{number}"));
    }
    here.sync(json!({"skip_batch_submission": true}));
    let begun = here.server.post("/v1/collections/facts/trigger", &json!({})).is(202);
    assert_eq!((&begun["batch_count"], &begun["object_count"]), (&json!(1), &json!(1000)));
    assert_eq!(begun["batch_ids"], json!([begun["batch_id"]]));
    let task = format!("/v1/tasks/{}", begun["task_id"].as_str().unwrap());
    let ended = poll_until("the end of the trigger", 3 * DEADLINE, || {
        let shown = here.server.get(&task).is(200);
        assert_ne!(shown["status"], "FAILED", "{shown}");
        (shown["status"] == "COMPLETED").then_some(shown)
    });
    let listed = here.server.post(&format!("{BATCHES}/list"), &json!({})).is(200);
    let batches = listed["results"].as_array().unwrap();
    let sizes: BTreeSet<u64> =
        batches.iter().map(|batch| batch["object_count"].as_u64().unwrap()).collect();
    assert_eq!(sizes, BTreeSet::from([3, 1000]));
    assert!(batches.iter().all(|batch| batch["status"] == "COMPLETED"), "{listed}");
    assert_eq!(ended["outputs"].as_array().unwrap().len(), 2, "{ended}");
    let counted = here.server.get("/v1/collections/facts/documents/count").is(200);
    assert_eq!(counted["count"], FILES);

    for batch in batches {
        assert_eq!(batch["object_ids"], Value::Null, "a list leaves them out");
        assert_eq!(batch["stage_history"], Value::Null);
    }
    let of_status = |status: &str| {
        let body = json!({"status": status, "collection_id": "facts"});
        let listed = here.server.post(&format!("{BATCHES}/list"), &body).is(200);
        listed["results"].as_array().unwrap().len()
    };
    assert_eq!((of_status("COMPLETED"), of_status("FAILED")), (2, 0));
}

#[test]
fn an_extractor_is_tried_on_up_to_five_objects_of_which_nothing_is_kept() {
    let here = Fixture::new();
    here.server.delete("/v1/collections/facts").is(200);
    here.tree.write("a.txt", "words");
    here.tree.write("b.pdf", "%PDF-1.7 and no more");
    here.sync(json!({}));
    let ids = objects(&here);
    let order = |ids: &[String]| {
        let extractor = json!({"feature_extractor_name": "text", "version": "v1"});
        let order =
            json!({"bucket_id": "films", "object_ids": ids, "feature_extractor": extractor});
        here.server.post("/v1/collections/try", &order)
    };
    let tried = order(&ids).is(200);
    let of = |name: &str| {
        let results = tried["results"].as_array().unwrap();
        results.iter().find(|result| result["key_prefix"] == name).unwrap().clone()
    };
    let (good, bad) = (of("a.txt"), of("b.pdf"));
    assert_eq!(good["documents"][0]["text"], "words", "{good}");
    assert!(good["duration_ms"].is_u64() && good["error"].is_null(), "{good}");
    assert!(good["memory_bytes"].as_u64().unwrap() > 1 << 20, "{good}");
    assert_eq!((&bad["documents"], &bad["error_type"]), (&json!([]), &json!("permanent")), "{bad}");
    let five: Vec<String> = ids.iter().cycle().take(6).cloned().collect();
    order(&five).blames("object_ids");
    order(&[]).blames("object_ids");
    order(&["obj_none".to_owned()]).blames("object_ids");
    let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    for table in ["documents", "outcomes", "batches", "tasks"] {
        let count = format!("SELECT count(*) FROM {table}");
        let rows: u64 = db.query_row(&count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let extractors = "/v1/collections/features/extractors";
    for name in ["text", "text_v1"] {
        let shown = here.server.get(&format!("{extractors}/{name}")).is(200);
        assert_eq!(shown["feature_extractor_id"], "text_v1");
        assert!(shown["parameter_schema"]["properties"]["split_by"].is_object(), "{shown}");
    }
    here.server.get(&format!("{extractors}/none")).fails_with(404);
}

#[test]
fn a_batch_says_what_failed_why_how_often_and_what_to_do_and_tells_no_secret() {
    let here = Fixture::new();
    here.server.delete("/v1/collections/facts").is(200);
    let script = "case $(cat \"$1\") in bad) echo the key is $KEY >&2; exit 65;; \
                  big) kill -KILL $$;; esac; echo words";
    let more = "output = \"text\"\nenvironment = { KEY = \"swordfish\" }";
    define(&here.home, "mixed", &shell(script, more));
    collect(&here, "mixed", Value::Null);
    for name in ["good", "bad", "big"] {
        here.tree.write(format!("{name}.txt"), name);
    }
    here.sync(json!({}));
    let batch = here.settled().remove(0);
    assert_eq!(batch["status"], "COMPLETED_WITH_ERRORS", "{batch}");
    let path = format!("{BATCHES}/{}", batch["batch_id"].as_str().unwrap());

    let rows = here.server.get(&format!("{path}/failed-documents")).is(200);
    let of = |class: &str| {
        let rows = rows["results"].as_array().unwrap();
        rows.iter().find(|row| row["error_type"] == class).unwrap().clone()
    };
    let (bad, big) = (of("permanent"), of("resource"));
    assert_eq!((&bad["attempts"], &big["attempts"]), (&json!(1), &json!(2)), "{rows}");
    assert!(bad["stderr"].as_str().unwrap().contains("the key is [redacted]"), "{bad}");
    let logs = here.server.get(&format!("{path}/logs")).is(200);
    let said = logs["tiers"][0]["logs"].as_str().unwrap();
    let line = format!("{}: the key is [redacted]", bad["object_id"].as_str().unwrap());
    assert!(said.contains(&line), "{logs}");

    let diagnosis = here.server.get(&format!("{path}/diagnose")).is(200);
    let counts = json!({"submitted": 3, "processed": 1, "failed": 2, "skipped": 0});
    assert_eq!(diagnosis["counts"], counts);
    assert_eq!(diagnosis["limits_hit"], 1);
    assert!(diagnosis["p50_ms"].is_u64() && diagnosis["p95_ms"].is_u64(), "{diagnosis}");
    assert!(diagnosis["ran_seconds"].is_f64() && diagnosis["waited_seconds"].is_f64());
    let errors = diagnosis["errors"].as_array().unwrap();
    let examples: BTreeSet<&str> =
        errors.iter().map(|group| group["example_object_id"].as_str().unwrap()).collect();
    assert_eq!(examples, [&bad, &big].map(|row| row["object_id"].as_str().unwrap()).into());
    assert!(errors.iter().all(|group| group["count"] == 1), "{diagnosis}");
    let advice = diagnosis["recommendations"].to_string();
    assert!(
        advice.contains("raise the limits in extractors/mixed.toml")
            && advice.contains("cannot be read"),
        "{advice}"
    );
    for told in [&rows, &logs, &diagnosis] {
        assert!(!told.to_string().contains("swordfish"), "{told}");
    }

    let again = here.server.post(&format!("{path}/retry"), &json!({})).is(200);
    assert_eq!((&again["retried_count"], &again["skipped_count"]), (&json!(1), &json!(1)));
    here.settled();
    let rows = here.server.get(&format!("{path}/failed-documents?limit=1&offset=1")).is(200);
    assert_eq!((&rows["total"], &rows["has_more"]), (&json!(2), &json!(false)), "{rows}");
}

#[test]
fn limits_are_counted_over_all_failures_though_only_the_most_frequent_are_named() {
    const FILES: usize = 55;
    let here = Fixture::new();
    let script = "    name = request['object']['path']\n    \
                  say(failed={'message': 'too much in ' + name, 'class': 'resource'})\n    continue";
    asked(&here.home, "heavy", script);
    collect(&here, "heavy", Value::Null);
    for number in 0..FILES {
        here.tree.write(format!("{number}.txt"), format!("{number}"));
    }
    here.sync(json!({}));
    let batch = here.settled().remove(0);
    assert_eq!(batch["failed_object_count"], FILES, "{}", batch["status_message"]);
    let path = format!("{BATCHES}/{}", batch["batch_id"].as_str().unwrap());
    let diagnosis = here.server.get(&format!("{path}/diagnose")).is(200);
    assert_eq!(diagnosis["limits_hit"], FILES);
    assert_eq!(diagnosis["errors"].as_array().unwrap().len(), 50);
}

#[test]
fn every_failure_of_a_batch_is_counted_though_it_names_only_the_first_thousand() {
    const FILES: usize = 1001;
    let here = Fixture::new();
    here.server.delete("/v1/collections/facts").is(200);
    for number in 0..FILES {
        here.tree.write(format!("{number}.pdf"), format!("%PDF-1.7 {number} and no more"));
    }
    here.sync(json!({"skip_batch_submission": true}));
    let words = json!({
        "collection_name": "words", "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {"feature_extractor_name": "text", "version": "v1"},
    });
    here.server.post("/v1/collections", &words).is(200);
    let every = json!({"field": "key_prefix", "operator": "ends_with", "value": ".pdf"});
    let all = here.server.post(BATCHES, &json!({"filters": {"AND": [every]}})).is(200);
    let path = format!("{BATCHES}/{}", all["batch_id"].as_str().unwrap());
    here.server.post(&format!("{path}/submit"), &json!({})).is(200);
    here.settled();
    let shown = here.server.get(&path).is(200);
    assert_eq!(shown["status"], "FAILED", "{}", shown["status_message"]);
    assert_eq!(shown["failed_object_count"], FILES);
    assert_eq!(shown["failed_objects"].as_array().unwrap().len(), 1000);
    let mut seen = BTreeSet::new();
    for offset in [0, 500, 1000] {
        let page = format!("{path}/failed-documents?limit=500&offset={offset}");
        let page = here.server.get(&page).is(200);
        assert_eq!((&page["total"], &page["has_more"]), (&json!(FILES), &json!(offset < 1000)));
        seen.extend(ids(&page, "object_id"));
    }
    assert_eq!(seen.len(), FILES);
}

#[test]
fn a_document_is_shown_with_its_parent_ancestors_children_and_object() {
    let here = Fixture::new();
    for (name, from) in [("below", "facts"), ("lowest", "below")] {
        let collection = json!({
            "collection_name": name, "source": {"type": "collection", "collection_id": from},
            "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
        });
        here.server.post("/v1/collections", &collection).is(200);
    }
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    here.settled();
    let [top, middle, lowest] = ["facts", "below", "lowest"].map(|name| {
        let all = json!(["parent", "ancestors", "children", "root_object"]);
        let list = format!("/v1/collections/{name}/documents/list");
        here.server.post(&list, &json!({"expand": all})).is(200)["results"][0].clone()
    });
    let id = |document: &Value| document["document_id"].clone();
    assert_eq!((&top["parent"], &top["ancestors"]), (&Value::Null, &json!([])), "{top}");
    assert_eq!(top["children"][0]["document_id"], id(&middle), "{top}");
    assert_eq!(middle["parent"]["document_id"], id(&top), "{middle}");
    assert_eq!(middle["children"][0]["document_id"], id(&lowest), "{middle}");
    let above: BTreeSet<String> = lowest["ancestors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["document_id"].to_string())
        .collect();
    assert_eq!(above, [id(&top), id(&middle)].map(|id| id.to_string()).into(), "{lowest}");
    let object = objects(&here).remove(0);
    for document in [&top, &middle, &lowest] {
        assert_eq!(document["root_object"]["object_id"], object, "{document}");
        assert_eq!(document["_internal"]["object_id"], object, "{document}");
    }
    let one = format!("/v1/collections/below/documents/{}", id(&middle).as_str().unwrap());
    let shown = here.server.get(&format!("{one}?expand=parent,children")).is(200);
    assert_eq!(shown["parent"]["document_id"], id(&top));
    assert!(shown.get("root_object").is_none(), "{shown}");
}

#[test]
fn files_of_documents_have_links_of_their_own_and_a_clip_is_downloaded_by_one() {
    let here = Fixture::new();
    let script = "    path = os.path.join(request['scratch'], 'clip.mp4')\n    \
                  open(path, 'w').write('a clip')\n    \
                  say(document={'start_time': 1.5, 'end_time': 2.5})\n    \
                  say(blob={'path': 'clip.mp4', 'field': 'clip', 'role': 'clip', 'mime_type': 'video/mp4'})";
    asked(&here.home, "cuts", script);
    collect(&here, "cuts", Value::Null);
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    here.settled();
    let list = "/v1/collections/made/documents/list";
    let plain = here.server.post(list, &json!({})).is(200)["results"][0].clone();
    assert_eq!(plain["document_blobs"][0]["presigned_url"], Value::Null, "{:?}", failures(&here));
    let signed = json!({"return_presigned_urls": true});
    let signed = here.server.post(list, &signed).is(200)["results"][0].clone();
    let one = format!("/v1/collections/made/documents/{}", plain["document_id"].as_str().unwrap());
    let clip = here.server.get(&format!("{one}/download")).is(200);
    let times = (&clip["start_time"], &clip["end_time"], &clip["cached"]);
    assert_eq!(times, (&json!(1.5), &json!(2.5), &json!(true)));
    let of_server = format!("http://{}", here.server.address);
    for link in [&signed["document_blobs"][0]["presigned_url"], &clip["download_url"]] {
        let target = link.as_str().unwrap().strip_prefix(&of_server).unwrap();
        let read = here.server.request("GET", target).without_token().send();
        assert_eq!((read.status, read.text().as_str()), (200, "a clip"), "{link}");
        here.server.request("DELETE", target).without_token().send().fails_with(401);
    }

    let fact = here.documents("facts").remove(0);
    let none = format!("/v1/collections/facts/documents/{}", fact["document_id"].as_str().unwrap());
    let refused = here.server.get(&format!("{none}/download")).fails_with(422);
    assert!(refused["details"].to_string().contains("start_time"), "{refused}");
}

#[test]
fn a_document_made_by_hand_stays_as_it_is_and_belongs_to_no_batch() {
    let here = Fixture::new();
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    here.settled();
    let documents = "/v1/collections/facts/documents";
    for rank in [json!(1), json!("1"), json!(true), json!(1.5)] {
        here.server.post(documents, &json!({"metadata": {"rank": rank, "by": "hand"}})).is(200);
    }
    let again = json!({"dedup_strategy": "replace"});
    here.server.post("/v1/collections/facts/trigger", &again).is(202);
    let last = here.settled().pop().unwrap();
    assert_eq!(last["documents_replaced"], 1, "{last}");
    let list = format!("{documents}/list");
    let by_hand = here.server.post(&list, &json!({"filters": {"by": "hand"}})).is(200);
    let by_hand = by_hand["results"].as_array().unwrap();
    assert_eq!(by_hand.len(), 4);
    assert!(by_hand.iter().all(|one| one["_internal"]["batch_id"].is_null()), "{by_hand:?}");

    let values = here.server.post(&format!("{documents}/distinct"), &json!({"field": "rank"}));
    let values: BTreeSet<String> = values.is(200)["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["value"].to_string())
        .collect();
    assert_eq!(values, ["1", "\"1\"", "true", "1.5"].map(str::to_owned).into(), "types stay");

    let in_body = here.server.post(&format!("{list}?search=nothing"), &json!({"search": "hand"}));
    assert_eq!(in_body.is(200)["results"].as_array().unwrap().len(), 4, "the body wins");
    let large = json!({"field": "by", "operator": "regex", "value": "((a{500}){500}){500}"});
    let refused = here.server.post(&list, &json!({"filters": {"AND": [large]}}));
    assert_eq!(refused.status, 422, "{}", refused.text());
    let fine = json!({"field": "by", "operator": "regex", "value": "^h.nd$"});
    let found = here.server.post(&list, &json!({"filters": {"AND": [fine]}})).is(200);
    assert_eq!(found["results"].as_array().unwrap().len(), 4);
}

#[test]
fn the_runs_of_a_sync_are_tasks_and_what_each_commit_did_is_one_event() {
    const FILES: usize = 12;
    let (here, receiver) = (Fixture::new(), Receiver::start());
    let server = &here.server;
    let hook = json!({
        "webhook_name": "told",
        "event_types": [
            "object.created", "objects.created.batch", "object.updated", "object.deleted",
            "document.created", "document.updated", "document.deleted", "documents.updated.batch",
            "documents.deleted.batch", "collection.updated",
        ],
        "channels": [{"channel": "webhook", "configs": {"url": receiver.url()}}],
    });
    server.post("/v1/organizations/webhooks", &hook).is(200);
    for number in 0..FILES {
        here.tree.write(format!("{number}.txt"), format!("file {number}"));
    }
    let sync = here.sync(json!({"skip_batch_submission": true}));
    here.tree.write("0.txt", "something else");
    here.tree.remove("1.txt");
    here.run_again(&sync, 2);
    let taken = poll_until("three kinds of events", DEADLINE, || {
        let taken = receiver.taken();
        let kinds: BTreeSet<String> =
            taken.iter().map(|body| body["event_type"].as_str().unwrap().to_owned()).collect();
        (kinds.len() == 3).then_some(taken)
    });
    let of = |kind: &str| -> Vec<&Value> {
        taken.iter().filter(|body| body["event_type"] == kind).map(|body| &body["data"]).collect()
    };
    let made = of("objects.created.batch");
    let total: u64 = made.iter().map(|data| data["count"].as_u64().unwrap()).sum();
    assert_eq!(total, FILES as u64, "{made:?}");
    assert!(made.len() < FILES, "one for each commit: {made:?}");
    assert!(made.iter().all(|data| data["ids"].as_array().unwrap().len() <= 10), "{made:?}");
    assert_eq!(
        (of("object.updated")[0]["count"].as_u64(), of("object.deleted")[0]["count"].as_u64()),
        (Some(1), Some(1))
    );
    let bucket = server.get("/v1/buckets/films").is(200)["bucket_id"].clone();
    for body in &taken {
        let data = &body["data"];
        assert_eq!(data["bucket_id"], bucket, "{body}");
        assert!(sync.ends_with(data["sync_config_id"].as_str().unwrap()), "{body}");
        let task = data["job_id"].as_str().unwrap().replacen("job_", "task_", 1);
        let shown = server.get(&format!("/v1/tasks/{task}")).is(200);
        assert_eq!(shown["task_type"], "api_buckets_objects_create", "{shown}");
        assert_eq!(shown["status"], "COMPLETED", "{shown}");
        assert_eq!(shown["additional_data"]["sync_job_id"], data["job_id"], "{shown}");
    }
    let runs = json!({"task_type": "api_buckets_objects_create"});
    let runs = server.post("/v1/tasks/list", &runs).is(200);
    assert_eq!(runs["results"].as_array().unwrap().len(), 2, "{runs}");

    let documents = "/v1/collections/facts/documents";
    let mut made: Vec<String> = Vec::new();
    for rank in 0..3 {
        let one = server.post(documents, &json!({"metadata": {"rank": rank}})).is(200);
        made.push(one["document_id"].as_str().unwrap().to_owned());
    }
    server.patch(&format!("{documents}/{}", made[0]), &json!({"rank": 7})).is(200);
    server.patch(&format!("{documents}/bulk"), &json!({"update_data": {"seen": true}})).is(200);
    server.delete(&format!("{documents}/{}", made[0])).is(200);
    let rest = json!({"document_ids": made[1..]});
    server.request("DELETE", &format!("{documents}/batch")).json(&rest).send().is(200);
    server.patch("/v1/collections/facts", &json!({"description": "changed"})).is(200);
    let before = taken.len();
    let taken = receiver.waits_for(before + 8);
    let kinds: Vec<&str> =
        taken[before..].iter().map(|body| body["event_type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "document.created",
            "document.created",
            "document.created",
            "document.updated",
            "documents.updated.batch",
            "document.deleted",
            "documents.deleted.batch",
            "collection.updated",
        ]
    );
    assert_eq!(taken[before]["data"]["ids"], json!([made[0]]));
}

#[test]
fn runs_and_uploads_of_the_past_are_told_with_their_counts_and_old_hours_are_forgotten() {
    let here = Fixture::new();
    let server = &here.server;
    let wanted = json!({"filename": "a.txt", "content_type": "text/plain", "file_size_bytes": 5});
    let upload = server.post("/v1/buckets/films/uploads", &wanted).is(200);
    let address = upload["presigned_url"].as_str().unwrap();
    server.request("PUT", &address[address.find("/v1/").unwrap()..]).body("hello").send().is(200);
    let confirm = upload["upload_id"].as_str().unwrap();
    server.post(&format!("/v1/buckets/films/uploads/{confirm}/confirm"), &json!({})).is(200);
    here.tree.write("a.txt", "one");
    here.tree.write("b.txt", "three");
    let sync = here.sync(json!({}));
    here.tree.write("c.txt", "seven");
    here.run_again(&sync, 2);

    let analytics = "/v1/analytics/buckets/films";
    let uploads = server.get(&format!("{analytics}/upload-performance")).is(200);
    let metrics = uploads["metrics"].as_array().unwrap();
    let count: u64 = metrics.iter().map(|point| point["upload_count"].as_u64().unwrap()).sum();
    assert_eq!((count, &uploads["summary"]["total_uploads"]), (1, &json!(1)), "{uploads}");
    assert_eq!(
        (&metrics[0]["error_rate"], metrics[0]["p95_latency_ms"].is_u64()),
        (&json!(0.0), true)
    );
    let runs = server.get(&format!("{analytics}/sync-performance")).is(200);
    let synced: Vec<u64> = runs["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["files_synced"].as_u64().unwrap())
        .collect();
    assert_eq!(synced, [1, 2], "the newest first");
    let compared = server.get(&format!("{analytics}/sync-comparison")).is(200);
    assert_eq!(compared["configs"][0]["total_files_synced"], 3, "{compared}");

    let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let stuck = || server.get(&format!("{analytics}/health")).is(200);
    assert_eq!(stuck()["stuck_syncs"], json!([]));
    let last = "WHERE job_key = (SELECT max(job_key) FROM jobs)";
    // As when a run has not moved for more than five minutes.
    let still =
        "status = 'running', completed_at_ms = NULL, updated_at_ms = updated_at_ms - 301000";
    db.execute(&format!("UPDATE jobs SET {still} {last}"), []).unwrap();
    let health = stuck();
    assert!(sync.ends_with(health["stuck_syncs"][0].as_str().unwrap()), "{health}");
    assert_eq!(health["overall_health"], "unhealthy");
    let ended = "status = 'completed', completed_at_ms = updated_at_ms";
    db.execute(&format!("UPDATE jobs SET {ended} {last}"), []).unwrap();

    let home = here.home.clone();
    let hours = |clock: &str| -> i64 {
        home.at_time(clock).run(&["process"]).exits(0);
        let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
        db.query_row("SELECT count(*) FROM bucket_hours", [], |row| row.get(0)).unwrap()
    };
    assert!(here.server.stop().success());
    assert!(hours("+399d") >= 2);
    assert_eq!(hours("+401d"), 2, "the first is older than 400 days");
}
