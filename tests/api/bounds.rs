//! Depth and amount are bounded at the door, and the server goes on.

use serde_json::{Value, json};

use crate::{buckets::bucket, server::Server};

/// The filters of a sync, asked about in a preview.
fn preview(server: &Server, filters: Value) -> crate::server::Answer {
    let folder = server.home.write_home("photos/a.jpg", "a");
    let folder = folder.parent().unwrap().to_str().unwrap();
    let body = json!({
        "connection_id": "conn_local", "source_path": folder, "file_filters": filters,
    });
    let bucket = bucket(server, &format!("b{}", ulid::Ulid::generate()));
    server.post(&format!("{bucket}/syncs/preview"), &body)
}

#[test]
fn patterns_have_a_bound_in_number_length_and_depth() {
    let server = Server::start();
    let nested = "{".repeat(20_000) + &"}".repeat(20_000);
    let few_nested = "{".repeat(33) + "a" + &"}".repeat(33);
    for glob in [nested, few_nested, "x".repeat(1025)] {
        let answer = preview(&server, json!({ "include_patterns": [glob] }));
        answer.blames("file_filters.include_patterns[0]");
        assert!(answer.body.len() < 10_000, "{} bytes", answer.body.len());
    }
    let many = vec!["*.jpg"; 20_000];
    preview(&server, json!({ "exclude_patterns": many })).blames("file_filters.exclude_patterns");
    let most = vec!["*.jpg"; 1000];
    preview(&server, json!({ "include_patterns": most })).is(200);
}

#[test]
fn json_has_a_bound_in_depth() {
    let server = Server::start();
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let create = |levels: usize| {
        let body = format!(
            r#"{{"namespace_name":"n{levels}","description":"x","metadata":{{"a":{}}}}}"#,
            nested(levels)
        );
        let call = server.request("POST", "/v1/namespaces");
        call.header("Content-Type", "application/json").body(body).send()
    };
    for levels in [63, 1000, 100_000] {
        let refused = create(levels).fails_with(422);
        assert!(refused["message"].as_str().unwrap().contains("64 levels"), "{refused}");
    }
    assert_ne!(create(10).status, 500);
}

#[test]
fn unknown_keys_without_number_are_a_short_refusal() {
    let server = Server::start();
    let body: serde_json::Map<_, _> =
        (0..100_000).map(|number| (format!("unknown {number}"), json!(1))).collect();

    let answer = server.post("/v1/namespaces", &Value::Object(body));

    let refused = answer.fails_with(422);
    assert_eq!(refused["details"]["errors"].as_array().unwrap().len(), 20);
    assert!(refused["details"]["more_errors"].as_u64().unwrap() >= 99_980);
    assert!(answer.body.len() < 100_000, "{} bytes", answer.body.len());
}

#[test]
fn filters_have_a_bound_in_values_conditions_and_depth() {
    let server = Server::start();
    let list =
        |filters: Value| server.post("/v1/buckets/b/objects/list", &json!({ "filters": filters }));
    bucket(&server, "b");
    let values = |count: usize| (0..count).collect::<Vec<_>>();
    let among = |count: usize| json!({ "field": "n", "operator": "in", "value": values(count) });
    list(json!({ "AND": [among(1000)] })).is(200);
    list(json!({ "AND": [among(200_000)] })).fails_with(422);
    let condition = json!({ "field": "n", "operator": "eq", "value": 1 });
    list(json!({ "AND": vec![condition.clone(); 200] })).is(200);
    list(json!({ "AND": vec![condition; 201] })).fails_with(422);
    let nested =
        |levels: usize| (0..levels).fold(json!({ "n": 1 }), |inner, _| json!({ "AND": [inner] }));
    list(nested(20)).is(200);
    list(nested(40)).fails_with(422);
}

#[test]
fn no_request_that_changes_something_takes_a_form() {
    let server = Server::start();
    for kind in
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]
    {
        for target in ["/v1/namespaces", "/v1/settings/token/rotate", "/logout"] {
            let call = server.request("POST", target).header("Content-Type", kind);
            call.body("a=b").send().fails_with(415);
        }
    }
}

#[test]
fn a_page_beyond_the_last_possible_one_is_refused_by_every_list_that_takes_it_in_its_body() {
    let server = Server::start();
    for list in ["/v1/buckets/list", "/v1/collections/list", "/v1/namespaces/list"] {
        for page in [0_u32, 1_000_001, u32::MAX] {
            server.post(&format!("{list}?page=1"), &json!({ "page": page })).fails_with(422);
        }
    }
}
