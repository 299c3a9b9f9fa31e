//! `/v1/namespaces`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    objects::files,
    server::Server,
    support::{catchment::poll_until, trees::Tree},
};

fn made(server: &Server, name: &str) -> Value {
    server.post("/v1/namespaces", &json!({ "namespace_name": name })).is(200)
}

fn names(list: &Value) -> Vec<String> {
    let results = list["results"].as_array().unwrap();
    results.iter().map(|row| row["namespace_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_namespace_lives_from_create_to_delete() {
    let server = Server::start();
    let made = server.post(
        "/v1/namespaces",
        &json!({ "namespace_name": "films", "description": "moving pictures" }),
    );
    let id = made.is(200)["namespace_id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ns_"));
    assert_eq!(server.get("/v1/namespaces/films").is(200)["namespace_id"], id);

    let path = format!("/v1/namespaces/{id}");
    let renamed = server.patch(&path, &json!({ "namespace_name": "movies" })).is(200);
    assert_eq!(renamed["namespace_name"], "movies");
    assert_eq!(renamed["description"], "moving pictures");
    let cleared = server.patch(&path, &json!({ "description": null })).is(200);
    assert_eq!(cleared["description"], Value::Null);

    server.delete(&path).is(200);
    server.get(&path).fails_with(404);
}

#[test]
fn a_namespace_with_buckets_goes_only_by_force_and_takes_all_of_them_along() {
    let server = Server::start();
    let namespace = made(&server, "films")["namespace_id"].as_str().unwrap().to_owned();
    let within = |method: &str, target: &str, body: &Value| {
        server.request(method, target).header("X-Namespace", &namespace).json(body).send()
    };
    let schema = json!({"properties": {}});
    let bucket = json!({"bucket_name": "b", "bucket_schema": schema});
    within("POST", "/v1/buckets", &bucket).is(200);
    let large = "large enough for a file of its own ".repeat(5000);
    let blob = json!({"property": "content", "type": "text", "data": large});
    within("POST", "/v1/buckets/b/objects", &json!({"blobs": [blob]})).is(200);
    let tree = Tree::of_files("folder", 3);
    let sync = json!({"connection_id": "conn_local", "source_path": tree.root()});
    within("POST", "/v1/buckets/b/syncs", &sync).is(200);

    let path = format!("/v1/namespaces/{namespace}");
    let refused = server.delete(&path).fails_with(409);
    assert_eq!(refused["code"], "namespace_not_empty");
    assert!(refused["message"].as_str().unwrap().contains("?force=true"));
    server.delete(&format!("{path}?force=true")).is(200);
    server.get(&path).fails_with(404);
    within("GET", "/v1/buckets", &json!({})).fails_with(404);
    assert_eq!(server.get("/v1/namespaces/default").is(200)["bucket_count"], 0);
    assert_eq!(server.get("/v1/buckets").is(200)["results"], json!([]));
    made(&server, "films");
    let blobs = server.home.data_dir().join("blobs");
    poll_until("the end of its bytes", Duration::from_secs(30), || {
        (files(&blobs) == 0).then_some(())
    });
}

#[test]
fn two_namespaces_cannot_have_one_name() {
    let server = Server::start();
    made(&server, "films");
    let other = made(&server, "songs");
    let again = server.post("/v1/namespaces", &json!({ "namespace_name": "films" }));
    assert_eq!(again.fails_with(409)["code"], "name_taken");
    let path = format!("/v1/namespaces/{}", other["namespace_id"].as_str().unwrap());
    server.put(&path, &json!({ "namespace_name": "films" })).fails_with(409);
}

#[test]
fn the_default_namespace_stays() {
    let server = Server::start();
    server.delete("/v1/namespaces/default").fails_with(409);
}

#[test]
fn pages_by_cursor_show_every_namespace_once_while_others_are_added() {
    let server = Server::start();
    for name in ["one", "two", "three"] {
        made(&server, name);
    }
    let first = server.get("/v1/namespaces?limit=2").is(200);
    assert_eq!(names(&first), ["three", "two"]);
    assert_eq!(first["pagination"]["total"], 4);
    made(&server, "four");
    let cursor = first["pagination"]["next_cursor"].as_str().unwrap();
    let second = server.get(&format!("/v1/namespaces?limit=2&after={cursor}")).is(200);
    assert_eq!(names(&second), ["one", "default"]);
    assert_eq!(second["pagination"]["next_cursor"], Value::Null);
}

#[test]
fn lists_are_searched_and_ordered() {
    let server = Server::start();
    for name in ["beta", "alpha", "gamma"] {
        made(&server, name);
    }
    let sort = json!({ "field": "namespace_name", "direction": "asc" });
    let body = json!({ "search": "A", "sort": sort, "limit": 3 });
    let list = server.post("/v1/namespaces/list", &body).is(200);
    assert_eq!(names(&list), ["alpha", "beta", "default"]);
    let found = server.post("/v1/namespaces/list", &json!({ "search": "GAM" })).is(200);
    assert_eq!(names(&found), ["gamma"]);
}

#[test]
fn stats_are_returned_for_the_buckets_that_exist() {
    let server = Server::start();
    let body = json!({ "namespace_ids": ["default", "ns_unknown"] });
    let stats = server.post("/v1/namespaces/stats/batch", &body).is(200)["stats"].clone();
    assert_eq!(stats["default"]["bucket_count"], 0);
    assert_eq!(stats.as_object().unwrap().len(), 1);
    assert_eq!(server.get("/v1/namespaces/default/stats").is(200)["object_count"], 0);
}
