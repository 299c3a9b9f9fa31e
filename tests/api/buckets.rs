//! `/v1/buckets`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::catchment::{Catchment, poll_until},
};

/// A bucket of that name for any objects; answers its path.
pub fn bucket(server: &Server, name: &str) -> String {
    bucket_with(server, json!({"bucket_name": name, "bucket_schema": {"properties": {}}}))
}

/// A bucket; answers its path.
pub fn bucket_with(server: &Server, body: Value) -> String {
    let made = server.post("/v1/buckets", &body).is(200);
    format!("/v1/buckets/{}", made["bucket_id"].as_str().unwrap())
}

#[test]
fn a_bucket_lives_from_create_to_delete() {
    let server = Server::start();
    let path = bucket_with(
        &server,
        json!({
            "bucket_name": "films", "description": "moving pictures", "metadata": {"a": 1},
            "bucket_schema": {"properties": {"title": {"type": "string", "required": true}}},
            "unique_key": {"fields": ["title"], "default_policy": "upsert"},
            "destination": {"connection_id": "conn_x"},
        }),
    );
    let shown = server.get("/v1/buckets/films").is(200);
    assert_eq!(shown["bucket_schema"]["properties"]["title"]["type"], "string");
    assert_eq!(shown["unique_key"]["fields"], json!(["title"]));
    assert_eq!(shown["destination"]["connection_id"], "conn_x");
    assert_eq!((&shown["object_count"], &shown["status"]), (&json!(0), &json!("ACTIVE")));

    let patched = server.patch(&path, &json!({"bucket_name": "movies", "metadata": null})).is(200);
    assert_eq!(patched["bucket_name"], "movies");
    assert_eq!(
        (&patched["metadata"], &patched["description"]),
        (&Value::Null, &json!("moving pictures"))
    );
    let put = server.put(&path, &json!({"description": "still"})).is(200);
    assert_eq!((&put["description"], &put["bucket_name"]), (&json!("still"), &json!("movies")));

    assert_eq!(server.delete(&path).is(200)["status"], "COMPLETED");
    server.get(&path).fails_with(404);
    bucket(&server, "movies");
}

#[test]
fn what_is_wrong_with_a_bucket_is_named() {
    let server = Server::start();
    bucket(&server, "films");
    let make = |body: Value| server.post("/v1/buckets", &body);
    let schema = json!({"properties": {"n": {"type": "integer"}, "o": {"type": "object"}}});
    let taken = make(json!({"bucket_name": "films", "bucket_schema": schema}));
    assert_eq!(taken.fails_with(409)["code"], "name_taken");
    make(json!({"bucket_name": "a"})).blames("bucket_schema");
    make(json!({"bucket_name": "a", "bucket_schema": schema, "colour": 1})).blames("colour");
    make(json!({"bucket_name": "a/b", "bucket_schema": schema})).blames("bucket_name");
    let bad = json!({"properties": {"n": {"type": "integer", "default": "many"}}});
    make(json!({"bucket_name": "a", "bucket_schema": bad}))
        .blames("bucket_schema.properties.n.default");
    let key = json!({"fields": ["o"]});
    make(json!({"bucket_name": "a", "bucket_schema": schema, "unique_key": key}))
        .blames("unique_key.fields");
    let adapter = json!({"adapter_type": "webhook", "webhook_secret": "canary-1"});
    let refused =
        make(json!({"bucket_name": "a", "bucket_schema": schema, "source_adapter": adapter}));
    refused.blames("source_adapter.webhook_secret");
    assert!(!refused.text().contains("canary-1"));
}

#[test]
fn a_schema_that_objects_may_not_fit_is_taken_only_by_force() {
    let server = Server::start();
    let path = bucket_with(
        &server,
        json!({"bucket_name": "b", "bucket_schema": {"properties": {"n": {"type": "integer"}}}}),
    );
    server.post(&format!("{path}/objects"), &json!({"n": 1})).is(200);
    let change = json!({"bucket_schema": {"properties": {"n": {"type": "string"}}}});
    assert_eq!(server.patch(&path, &change).fails_with(409)["code"], "schema_break");
    server.patch(&format!("{path}?force_schema_break=true"), &change).is(200);
    let key = json!({"unique_key": {"fields": ["n"]}});
    assert_eq!(server.patch(&path, &key).fails_with(409)["code"], "unique_key_fixed");
}

#[test]
fn counts_and_sizes_of_a_bucket_are_exact() {
    let server = Server::start();
    let path = bucket(&server, "b");
    for size in [10, 300, 20] {
        let blob = json!({"property": "content", "type": "text", "data": "x".repeat(size)});
        server.post(&format!("{path}/objects"), &json!({"blobs": [blob]})).is(200);
    }
    let shown = server.get(&path).is(200);
    assert_eq!((&shown["object_count"], &shown["total_size_bytes"]), (&json!(3), &json!(330)));
    let stats = &shown["storage_stats"];
    assert_eq!(stats["avg_size_bytes"], 110);
    assert_eq!((&stats["min_size_bytes"], &stats["max_size_bytes"]), (&json!(10), &json!(300)));
    let listed = server.get("/v1/buckets?include_total=true").is(200);
    assert_eq!(listed["stats"]["total_objects"], 3);
    assert_eq!(listed["pagination"]["total"], 1);
}

#[test]
fn buckets_are_found_sorted_and_paged() {
    let server = Server::start();
    for name in ["alpha", "beta", "gamma"] {
        bucket(&server, name);
    }
    let names = |answer: Value| -> Vec<String> {
        let rows = answer["results"].as_array().unwrap();
        rows.iter().map(|row| row["bucket_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(server.get("/v1/buckets").is(200)), ["gamma", "beta", "alpha"]);
    let list = |body: Value| server.post("/v1/buckets/list", &body).is(200);
    assert_eq!(names(list(json!({"search": "ALPH"}))), ["alpha"]);
    assert_eq!(names(list(json!({"filters": {"bucket_name": "beta"}}))), ["beta"]);
    let sort = json!({"field": "bucket_name", "direction": "asc"});
    let first = list(json!({"sort": sort, "limit": 2}));
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(names(first), ["alpha", "beta"]);
    let next =
        server.post(&format!("/v1/buckets/list?cursor={cursor}&limit=2"), &json!({"sort": sort}));
    assert_eq!(names(next.is(200)), ["gamma"]);
}

#[test]
fn a_bucket_takes_its_objects_and_syncs_along() {
    let home = Catchment::new();
    home.write_home("files/a.txt", "a");
    home.write_home("files/b.txt", "b");
    // What was asked of an entry that is left out is remembered, too.
    home.sync_with(home.home().join("files"), &["--metadata", "metadata.author equals Ada"]);
    let server = Server::on(&home);
    let listed = server.get("/v1/buckets").is(200);
    let path = format!("/v1/buckets/{}", listed["results"][0]["bucket_id"].as_str().unwrap());
    server.delete(&path).is(200);
    poll_until("the bucket's end", Duration::from_secs(30), || {
        (server.get(&path).status == 404).then_some(())
    });
    let status = home.run(&["status", "--json"]).exits(0).stdout();
    assert!(!status.contains("files"), "{status}");
}

#[test]
fn names_of_buckets_have_one_rule() {
    let server = Server::start();
    let create = |name: &str| {
        let schema = json!({ "properties": {} });
        server.post("/v1/buckets", &json!({ "bucket_name": name, "bucket_schema": schema }))
    };
    let long = "x".repeat(101);
    for name in ["", " ", "a/b", "-x", ".x", "a\u{7}", &long] {
        create(name).blames("bucket_name");
        let typed = server.home.run(&["sync", "/tmp", "--dry-run", &format!("--bucket={name}")]);
        typed.exits(2);
    }
    let longest = "\u{e4}".repeat(100);
    let made = create(&longest).is(200);
    let path = format!("/v1/buckets/{}", made["bucket_id"].as_str().unwrap());
    server.patch(&path, &json!({ "bucket_name": "-y" })).blames("bucket_name");
}
