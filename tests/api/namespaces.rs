//! `/v1/namespaces`.

use serde_json::{Value, json};

use crate::server::Server;

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
fn stats_are_told_for_those_that_there_are() {
    let server = Server::start();
    let body = json!({ "namespace_ids": ["default", "ns_unknown"] });
    let stats = server.post("/v1/namespaces/stats/batch", &body).is(200)["stats"].clone();
    assert_eq!(stats["default"]["bucket_count"], 0);
    assert_eq!(stats.as_object().unwrap().len(), 1);
    assert_eq!(server.get("/v1/namespaces/default/stats").is(200)["object_count"], 0);
}
