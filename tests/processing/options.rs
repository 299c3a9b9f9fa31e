//! What a request may say about processing: fields of each source, and objects that are extracted
//! as soon as they are made.

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::catchment::{Catchment, poll_until},
};

use std::time::Duration;

/// Nothing in these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

fn server(buckets: &[&str]) -> Server {
    let server = Server::on(&Catchment::new());
    for name in buckets {
        let bucket = json!({"bucket_name": name, "bucket_schema": {"properties": {}}});
        server.post("/v1/buckets", &bucket).is(200);
    }
    server
}

fn collection(source: Value) -> Value {
    json!({
        "collection_name": "made",
        "source": source,
        "feature_extractor": {"feature_extractor_name": "passthrough_extractor", "version": "v1"},
    })
}

fn documents(server: &Server, count: usize) -> Vec<Value> {
    poll_until("documents", DEADLINE, || {
        let target = "/v1/collections/made/documents/list";
        let listed = server.post(target, &json!({"limit": 100})).is(200);
        let rows = listed["results"].as_array()?.clone();
        (rows.len() >= count).then_some(rows)
    })
}

fn object(title: &str) -> Value {
    json!({"key_prefix": title, "blobs": [], "title": title, "year": 1999})
}

#[test]
fn fields_are_taken_of_each_source_as_its_map_says_and_all_of_a_source_that_it_leaves_out() {
    let server = server(&["films", "books"]);
    let source = json!({
        "type": "bucket", "bucket_ids": ["films", "books"],
        "field_map": {"films": [{"source_path": "title", "target_path": "film"}]},
    });
    let made = server.post("/v1/collections", &collection(source)).is(200);
    assert_eq!(made["source"]["field_map"]["films"][0]["target_path"], "film");
    for (bucket, title) in [("films", "Alien"), ("books", "Emma")] {
        let target = format!("/v1/buckets/{bucket}/objects?auto_process=true");
        server.post(&target, &object(title)).is(200);
    }
    let rows = documents(&server, 2);
    let of = |name: &str, value: &str| {
        rows.iter().find(|row| row[name] == value).unwrap_or_else(|| panic!("{rows:?}"))
    };
    let film = of("film", "Alien");
    assert!(film["title"].is_null() && film["year"].is_null(), "{film}");
    assert_eq!(of("title", "Emma")["year"], 1999);
}

#[test]
fn a_map_of_fields_that_collide_or_are_of_no_source_is_refused_with_their_names() {
    let server = server(&["films", "books"]);
    let field = json!([{"source_path": "title", "target_path": "name"}]);
    let source = json!({
        "type": "bucket", "bucket_ids": ["films", "books"],
        "field_map": {"films": field, "books": field},
    });
    let answer = server.post("/v1/collections", &collection(source));
    let blamed = answer.blames("source.field_map.films[0].target_path");
    let words = blamed["message"].as_str().unwrap();
    assert!(words.contains("books") && words.contains("films"), "{words}");
    let source = json!({
        "type": "bucket", "bucket_ids": ["films"], "field_map": {"books": field},
    });
    server.post("/v1/collections", &collection(source)).blames("source.field_map.books");
}

#[test]
fn objects_made_with_auto_process_are_extracted_in_a_batch_of_their_own() {
    let server = server(&["films"]);
    let target = "/v1/buckets/films/objects?auto_process=true";
    server.post(target, &object("too early")).blames("auto_process");
    let objects = server.post("/v1/buckets/films/objects/list", &json!({})).is(200);
    assert_eq!(objects["results"], json!([]), "nothing is made of a request that is refused");

    let source = json!({"type": "bucket", "bucket_ids": ["films"]});
    server.post("/v1/collections", &collection(source)).is(200);
    server.post(target, &object("one")).is(200);
    let several = json!({"objects": [object("two"), object("three")]});
    server.post("/v1/buckets/films/objects/batch?auto_process=true", &several).is(200);
    server.post("/v1/buckets/films/objects", &object("left alone")).is(200);
    let rows = documents(&server, 3);
    assert_eq!(rows.len(), 3, "{rows:?}");
    let batches = server.post("/v1/buckets/films/batches/list", &json!({})).is(200);
    let mut counts: Vec<u64> = batches["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|batch| batch["object_count"].as_u64().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
}

#[test]
fn an_upload_confirmed_with_auto_submit_batch_names_the_batch_and_its_task() {
    let server = server(&["films"]);
    let source = json!({"type": "bucket", "bucket_ids": ["films"]});
    server.post("/v1/collections", &collection(source)).is(200);
    let wanted = json!({"filename": "a.txt", "content_type": "text/plain", "file_size_bytes": 5});
    let upload = server.post("/v1/buckets/films/uploads", &wanted).is(200);
    let address = upload["presigned_url"].as_str().unwrap();
    let put = &address[address.find("/v1/").unwrap()..];
    server.request("PUT", put).body("hello").send().is(200);
    let confirm =
        format!("/v1/buckets/films/uploads/{}/confirm", upload["upload_id"].as_str().unwrap());
    let confirmed = server.post(&confirm, &json!({"auto_submit_batch": true})).is(200);
    let batch = confirmed["batch_id"].as_str().unwrap();
    let task = confirmed["task_id"].as_str().unwrap();
    poll_until("the end of the batch", DEADLINE, || {
        let batch = server.get(&format!("/v1/buckets/films/batches/{batch}")).is(200);
        (batch["status"] == "COMPLETED").then_some(())
    });
    assert_eq!(server.get(&format!("/v1/tasks/{task}")).is(200)["status"], "COMPLETED");
    assert_eq!(documents(&server, 1).len(), 1);
}
