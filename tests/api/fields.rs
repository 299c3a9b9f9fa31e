//! Every field that the public client can send, by the list in
//! `tests/fixtures/client_requests.json`: each operation with its query parameters and the fields
//! of its body. The list was read off the models of `mixpeek==1.3.783`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{server::Server, support::trees::Tree};

#[derive(Deserialize)]
struct Sent {
    query: Vec<String>,
    #[serde(default)]
    body: Vec<String>,
}

fn client_requests() -> BTreeMap<String, Sent> {
    serde_json::from_str(include_str!("../fixtures/client_requests.json")).unwrap()
}

/// A path without what its parameters are called.
fn plain(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The operation of a document for `POST /v1/…`.
fn operation<'a>(document: &'a Value, named: &str) -> &'a Value {
    let (method, wanted) = named.split_once(' ').unwrap();
    let paths = document["paths"].as_object().unwrap();
    let found = paths.iter().find(|(path, _)| plain(path) == plain(wanted));
    let (_, item) = found.unwrap_or_else(|| panic!("{named} is not there"));
    item.get(method.to_lowercase()).unwrap_or_else(|| panic!("{named} is not there"))
}

/// Whether a schema has a place for a field: `a.b[].c`.
fn takes(document: &Value, schema: &Value, field: &[&str]) -> bool {
    let Some((name, rest)) = field.split_first() else { return true };
    if let Some(reference) = schema["$ref"].as_str() {
        return takes(document, document.pointer(&reference[1..]).unwrap(), field);
    }
    for joined in ["anyOf", "oneOf", "allOf"] {
        if let Some(parts) = schema[joined].as_array() {
            return parts.iter().any(|part| takes(document, part, field));
        }
    }
    match schema["properties"].get(name.trim_end_matches("[]")) {
        Some(inner) if name.ends_with("[]") => takes(document, items_of(document, inner), rest),
        Some(inner) => takes(document, inner, rest),
        // Any object.
        None => {
            let says_object = schema["type"] == "object" || schema["type"][0] == "object";
            says_object && schema["properties"].is_null()
        }
    }
}

fn items_of<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return items_of(document, document.pointer(&reference[1..]).unwrap());
    }
    let parts = ["anyOf", "oneOf"].iter().find_map(|joined| schema[joined].as_array());
    match parts.and_then(|parts| parts.iter().find(|part| !part["items"].is_null())) {
        Some(list) => &list["items"],
        None => &schema["items"],
    }
}

#[test]
fn every_field_and_parameter_that_the_client_can_send_has_its_place() {
    let server = Server::start();
    let document = server.get("/openapi.json").is(200);
    let mut missing = Vec::new();
    for (named, sent) in client_requests() {
        let operation = operation(&document, &named);
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let is_known = |wanted: &String| {
            let is_it = |known: &Value| known["in"] == "query" && known["name"] == **wanted;
            parameters.iter().any(is_it)
        };
        missing.extend(sent.query.iter().filter(|q| !is_known(q)).map(|q| format!("{named} ?{q}")));
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let has_no_place =
            |field: &&String| !takes(&document, schema, &field.split('.').collect::<Vec<_>>());
        missing.extend(sent.body.iter().filter(has_no_place).map(|f| format!("{named} {f}")));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Asserts that an answer has every field of what was sent, as it was sent.
#[track_caller]
fn assert_kept(sent: &Value, answer: &Value) {
    for (field, value) in sent.as_object().unwrap() {
        assert!(is_within(value, &answer[field]), "{field}: {value} became {}", answer[field]);
    }
}

/// Whether all of a value is in another one, which may tell more.
fn is_within(sent: &Value, told: &Value) -> bool {
    match (sent, told) {
        (Value::Object(sent), Value::Object(told)) => sent
            .iter()
            .all(|(name, value)| told.get(name).is_some_and(|told| is_within(value, told))),
        (Value::Array(sent), Value::Array(told)) => {
            sent.len() == told.len() && sent.iter().zip(told).all(|(s, t)| is_within(s, t))
        }
        _ => sent == told,
    }
}

#[test]
fn every_field_of_a_namespace_is_kept() {
    let server = Server::start();
    let sent = json!({
        "namespace_name": "films", "description": "moving pictures", "mode": "standalone",
        "namespace_type": "marketplace", "scope": "org", "features": ["image_search"],
        "feature_extractors": [{"feature_extractor_name": "image", "version": "v1", "params": {"a": 1}}],
        "vector_configs": [{"name": "v", "dimension": 3}],
        "payload_indexes": [{"field_name": "title", "type": "text"}],
        "auto_create_indexes": true, "adaptive_indexing": false,
        "infrastructure": {"gpu_type": "l4", "max_workers": 3},
        "trusted_issuers": [{"issuer": "https://id.example", "audience": ["films"], "enabled": true}],
        "tiering": {"enabled": true}, "spend_budget": {"daily_usd": 5},
        "cost_cap_override": {"daily_usd": 2.5, "reason": "a whole festival", "owner": "ada"},
        "ttl_seconds": 3600, "pinned": {"enabled": true},
    });
    let made = server.post("/v1/namespaces", &sent).is(200);
    assert_kept(&sent, &made);
    let until = |answer: &Value| answer["expires_at"].as_str().map(|at| at[..13].to_owned());
    assert!(until(&made) > made["created_at"].as_str().map(|at| at[..13].to_owned()));

    let path = format!("/v1/namespaces/{}", made["namespace_id"].as_str().unwrap());
    let changed = json!({
        "description": "stills", "mode": "managed", "features": [], "vector_configs": [],
        "infrastructure": {"gpu_type": "t4"}, "trusted_issuers": [],
        "cost_cap_override": {"daily_usd": null, "reason": "as much as it takes", "owner": "ada"},
        "expires_at": "2040-01-02T03:04:05Z", "repair_vectors": true,
    });
    let patched = server.patch(&path, &changed).is(200);
    let mut kept = changed;
    kept.as_object_mut().unwrap().remove("repair_vectors");
    assert_kept(&kept, &patched);
    assert_eq!(
        (&patched["ttl_seconds"], &patched["namespace_name"]),
        (&Value::Null, &json!("films"))
    );
    let cleared = server.patch(&path, &json!({"expires_at": null, "infrastructure": null})).is(200);
    assert_eq!((&cleared["expires_at"], &cleared["infrastructure"]), (&Value::Null, &Value::Null));
    let both = json!({"ttl_seconds": 60, "expires_at": "2040-01-02T03:04:05Z"});
    server.patch(&path, &both).blames("expires_at");
    server.patch(&path, &json!({"ttl_seconds": 59})).blames("ttl_seconds");
    server.patch(&path, &json!({"trusted_issuers": [{}]})).blames("trusted_issuers[0].issuer");
}

#[test]
fn every_field_of_a_bucket_is_kept() {
    let server = Server::start();
    let sent = json!({
        "bucket_name": "films", "description": "moving pictures", "metadata": {"a": 1},
        "bucket_schema": {"properties": {"title": {"type": "string"}}},
        "unique_key": {"fields": ["title"], "default_policy": "upsert"},
        "destination": {"connection_id": "conn_x", "prefix": "out/"},
    });
    let made = server.post("/v1/buckets", &sent).is(200);
    assert_kept(&sent, &made);
    assert_kept(&sent, &server.get("/v1/buckets/films").is(200));
}

#[test]
fn every_field_of_a_sync_is_kept() {
    let server = Server::start();
    let tree = Tree::of_files("folder", 1);
    crate::buckets::bucket(&server, "b");
    let sent = json!({
        "connection_id": "conn_local", "source_path": tree.root(), "sync_mode": "continuous",
        "file_filters": {"include_patterns": ["*.txt"]}, "polling_interval_seconds": 60,
        "batch_size": 7, "skip_batch_submission": true, "batch_collection_ids": ["col_x"],
        "skip_duplicates": false, "description": "mine", "max_objects_per_run": 500,
        "sync_concurrency": 3, "metadata": {"a": 1},
        "reconcile": {"on_delete": true, "on_update": true},
        "batch_chunk_size": 10, "max_batch_chunk_size": 20, "resume_enabled": false,
        "resume_checkpoint_frequency": 200, "create_object_on_confirm": true,
    });
    let made = server.post("/v1/buckets/b/syncs", &sent).is(200);
    assert_kept(&sent, &made);
    let path = format!("/v1/buckets/b/syncs/{}", made["sync_config_id"].as_str().unwrap());
    assert_kept(&sent, &server.get(&path).is(200));
}

#[test]
fn every_field_of_a_connection_is_kept_but_its_secrets() {
    let server = Server::start();
    let sent = json!({
        "name": "studio", "provider_type": "s3", "description": "theirs", "metadata": {"a": 1},
        "write_enabled": true, "test_before_save": false,
        "provider_config": {
            "region": "eu-west-1",
            "credentials": {"type": "access_key", "access_key_id": "AKIAX", "secret_access_key": "hush"},
        },
    });
    let made = server.post("/v1/organizations/connections", &sent).is(200);
    let mut kept = sent;
    kept["provider_config"]["credentials"] = json!({"type": "access_key"});
    kept.as_object_mut().unwrap().remove("test_before_save");
    assert_kept(&kept, &made);
    assert!(!made.to_string().contains("hush"));
}

#[test]
fn no_field_of_a_mapping_or_a_schema_takes_a_name_of_the_object_itself() {
    let server = Server::start();
    for name in ["object_id", "status", "source", "created_at"] {
        let properties = json!({ name: { "type": "string" } });
        let refused = server.post(
            "/v1/buckets",
            &json!({ "bucket_name": "b", "bucket_schema": { "properties": properties } }),
        );
        refused.blames(&format!("bucket_schema.properties.{name}"));
    }
    let bucket = crate::buckets::bucket(&server, "films");
    let folder = server.home.write_home("photos/a.jpg", "a");
    for name in ["object_id", "status", "source", "created_at"] {
        let source = json!({ "type": "constant", "value": "x" });
        let order = json!({
            "connection_id": "conn_local", "source_path": folder.parent().unwrap(),
            "schema_mapping": { "mappings": { name: { "target_type": "field", "source": source } } },
        });
        let refused = server.post(&format!("{bucket}/syncs"), &order);
        refused.blames(&format!("schema_mapping.mappings.{name}"));
    }
}

#[test]
fn a_field_that_a_bucket_requires_is_missed_without_a_mapping_too() {
    let server = Server::start();
    let owner = json!({ "owner": { "type": "string", "required": true } });
    let body = json!({ "bucket_name": "films", "bucket_schema": { "properties": owner } });
    let bucket = crate::buckets::bucket_with(&server, body);
    let file = server.home.write_home("photos/a.jpg", "a");
    let order = json!({ "connection_id": "conn_local", "source_path": file.parent().unwrap() });
    let made = server.post(&format!("{bucket}/syncs"), &order).is(200);
    let sync = format!("{bucket}/syncs/{}", made["sync_config_id"].as_str().unwrap());
    let deadline = std::time::Duration::from_secs(60);
    let letter = crate::support::catchment::poll_until("a dead letter", deadline, || {
        let letters = server.post(&format!("{sync}/dlq"), &json!({})).is(200);
        letters["results"].get(0).cloned()
    });
    assert_eq!(letter["error_type"], "schema_mismatch");
    assert_eq!(server.get(&bucket).is(200)["object_count"], 0);
}
