//! What is wrong with a request is said field by field, always in the same shape.

use serde_json::json;

use crate::{buckets::bucket, server::Server};

#[test]
fn every_wrong_field_is_named_with_its_value_and_what_is_accepted() {
    let server = Server::start();
    let answer = server.post("/v1/namespaces", &json!({ "namespace_name": "ab", "scope": "mine" }));

    let name = answer.blames("namespace_name");
    assert_eq!(name["value"], "ab");
    assert_eq!(name["accepted"], "text from 3 to 64 characters");
    let scope = answer.blames("scope");
    assert_eq!(scope["value"], "mine");
    assert_eq!(scope["accepted"], json!(["org", "system"]));
}

#[test]
fn an_unknown_key_is_refused_and_the_known_ones_are_named() {
    let server = Server::start();
    let answer = server.post("/v1/namespaces", &json!({ "namespace_name": "abc", "nmae": 1 }));
    let unknown = answer.blames("nmae");
    assert_eq!(unknown["type"], "extra_forbidden");
    let accepted = unknown["accepted"].as_array().unwrap();
    assert!(accepted.contains(&json!("namespace_name")), "{accepted:?}");
}

#[test]
fn a_missing_field_is_named() {
    let server = Server::start();
    let missing = server.post("/v1/namespaces", &json!({})).blames("namespace_name");
    assert_eq!(missing["type"], "missing");
}

#[test]
fn a_body_that_is_no_json_is_refused_with_the_place() {
    let server = Server::start();
    let call = server.request("POST", "/v1/namespaces");
    let call = call.header("Content-Type", "application/json").body("{\n  \"a\": ,\n}");
    let error = call.send().fails_with(400);
    assert_eq!(error["details"]["line"], 2);
    assert_eq!(error["details"]["column"], 8);
}

#[test]
fn a_body_that_is_no_json_by_its_own_word_is_refused() {
    let server = Server::start();
    let call = server.request("POST", "/v1/namespaces").header("Content-Type", "text/plain");
    call.body("{}").send().fails_with(415);
}

#[test]
fn query_parameters_are_held_to_their_ranges_too() {
    let server = Server::start();
    let limit = server.get("/v1/namespaces?limit=0").blames("limit");
    assert_eq!(limit["value"], 0);
    assert_eq!(limit["accepted"], "an integer from 1 to 1000 or null");
    server.get("/v1/namespaces?limit=many").blames("limit");
    server.get("/v1/namespaces?limt=3").blames("limt");
    server.get("/v1/namespaces?cursor=nonsense").blames("cursor");
}

#[test]
fn unknown_routes_and_methods_are_refused_in_the_shape_of_errors() {
    let server = Server::start();
    server.get("/v1/nothing").fails_with(404);
    server.get("/nothing").fails_with(404);
    let wrong = server.request("PATCH", "/v1/namespaces").send();
    wrong.fails_with(405);
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")), "{wrong}");
}

#[test]
fn a_path_that_is_no_text_is_refused_in_the_shape_of_errors() {
    let server = Server::start();
    server.get("/v1/namespaces/%FF").fails_with(422);
}

#[test]
fn a_whole_number_may_be_spelled_with_a_fraction() {
    let server = Server::start();
    let bucket = crate::buckets::bucket(&server, "films");
    let folder = server.home.write_home("photos/a.jpg", "a");
    let order = json!({
        "connection_id": "conn_local", "source_path": folder.parent().unwrap(),
        "polling_interval_seconds": 614.0, "metadata": { "ratio": 2.0 },
    });
    let made = server.post(&format!("{bucket}/syncs"), &order).is(200);
    assert_eq!(made["polling_interval_seconds"], 614);
    let list = server.post("/v1/buckets/list", &json!({ "limit": 5.5 }));
    assert_eq!(list.status, 422);
}

#[test]
fn a_body_of_white_space_is_not_json_and_no_body_at_all_names_nothing() {
    let server = Server::start();
    bucket(&server, "b");
    let patch = |body: &str| {
        let call = server.request("PATCH", "/v1/buckets/b");
        call.header("Content-Type", "application/json").body(body).send()
    };
    for blank in ["\t", " ", "\r\n"] {
        assert_eq!(patch(blank).fails_with(400)["code"], "invalid_json");
    }
    patch("").is(200);
}
