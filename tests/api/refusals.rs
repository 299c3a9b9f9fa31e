//! A request that is refused changes nothing: everything that it asked for is kept, or none of it.

use catchment::store::DATABASE_FILE;
use serde_json::{Value, json};

use crate::{
    buckets::{bucket, bucket_with},
    server::{Answer, Server},
    support::{catchment::Catchment, fake_s3::FakeS3},
    syncs::s3_sync,
};

const CONNECTIONS: &str = "/v1/organizations/connections";

/// Sends each request, which must be refused with that status and code, and compares what its GET
/// shows before and after.
fn each_changes_nothing(server: &Server, shown: &str, refused: &[(&str, &str, Value, u16, &str)]) {
    let now = || {
        let mut body = server.get(shown).is(200);
        // The time of the request.
        body.as_object_mut().unwrap().remove("stats_updated_at");
        body
    };
    let before = now();
    for (method, target, body, status, code) in refused {
        let answer: Answer = server.request(method, target).json(body).send();
        let error = answer.fails_with(*status);
        let found = error["code"].as_str().or(error["type"].as_str()).unwrap();
        assert_eq!(found, *code, "{answer}");
        assert_eq!(now(), before, "changed by {method} {target} {body}");
    }
}

/// A server with a paused sync of the bucket `films` over a connection called `the fake`.
fn with_sync(test: impl FnOnce(&Server, &FakeS3, &str)) {
    let (server, s3) = (Server::start(), FakeS3::start());
    s3.put("a", "a");
    bucket(&server, "films");
    let sync = s3_sync(&server, &s3, json!({"status": "SUSPENDED"})).path;
    test(&server, &s3, &sync);
}

#[test]
fn a_sync_is_resumed_with_its_new_settings_or_keeps_its_old_ones() {
    with_sync(|server, _, sync| {
        server.delete(&format!("{CONNECTIONS}/the%20fake?force=true")).is(200);
        let more = |field: &str, value: Value| {
            let mut body = json!({"polling_interval_seconds": 600, "max_objects_per_run": 5});
            body[field] = value;
            body
        };
        let (resume, trigger) = (format!("{sync}/resume"), format!("{sync}/trigger"));
        each_changes_nothing(
            server,
            sync,
            &[
                ("PATCH", sync, more("status", json!("ACTIVE")), 409, "connection_unusable"),
                ("PATCH", sync, more("source_path", json!("other")), 422, "validation_error"),
                ("PATCH", sync, more("batch_size", json!(0)), 422, "validation_error"),
                ("POST", &resume, json!({}), 409, "connection_unusable"),
                ("POST", &trigger, json!({}), 409, "sync_paused"),
            ],
        );
    });
}

#[test]
fn a_sync_that_cannot_run_keeps_no_trace_of_the_order() {
    with_sync(|server, _, sync| {
        let (pause, trigger) = (format!("{sync}/pause"), format!("{sync}/trigger"));
        let (approve, reject) =
            (format!("{sync}/removals/approve"), format!("{sync}/removals/reject"));
        server.patch(sync, &json!({"is_active": false, "status": "ACTIVE"})).is(200);
        let refused = [
            ("POST", trigger.as_str(), json!({}), 409, "sync_inactive"),
            ("POST", &approve, json!({}), 409, "sync_inactive"),
            ("POST", &reject, json!({}), 409, "conflict"),
        ];
        each_changes_nothing(server, sync, &refused);

        server.delete(sync).is(200);
        let resumed = json!({"polling_interval_seconds": 600, "status": "ACTIVE"});
        let refused = [
            ("PATCH", sync, resumed, 409, "sync_deleted"),
            ("POST", &pause, json!({}), 409, "sync_deleted"),
            ("POST", &trigger, json!({}), 409, "sync_deleted"),
            ("POST", &approve, json!({}), 409, "sync_deleted"),
        ];
        each_changes_nothing(server, sync, &refused);
        let jobs = server.post(&format!("{sync}/jobs"), &json!({})).is(200);
        assert_eq!(jobs["results"], json!([]));
    });
}

#[test]
fn a_sync_that_cannot_be_made_is_not_made_in_part() {
    with_sync(|server, _, _| {
        let other = bucket(server, "other");
        let syncs = format!("{other}/syncs");
        let asked = json!({"connection_id": "the fake", "source_path": "no such place"});
        let deleted = json!({"connection_id": "the fake", "source_path": "bucket"});
        server.post(&syncs, &asked).fails_with(422);
        server.delete(&format!("{CONNECTIONS}/the%20fake?force=true")).is(200);
        server.post(&syncs, &deleted).fails_with(422);
        let listed = server.post(&format!("{syncs}/list"), &json!({})).is(200);
        assert_eq!(listed["total"], 0, "{listed}");
    });
}

#[test]
fn a_bucket_stays_as_it_is_where_one_of_its_changes_is_refused() {
    with_sync(|server, _, sync| {
        let schema = |kind: &str| json!({"properties": {"n": {"type": kind}}});
        let made = json!({"bucket_name": "full", "bucket_schema": schema("integer")});
        let path = bucket_with(server, made);
        server.post(&format!("{path}/objects"), &json!({"n": 1})).is(200);
        let more = |field: &str, value: Value| {
            let mut body = json!({"description": "new", "metadata": {"new": true}});
            body[field] = value;
            body
        };
        let key = json!({"fields": ["n"]});
        each_changes_nothing(
            server,
            &path,
            &[
                ("PATCH", &path, more("bucket_name", json!("films")), 409, "name_taken"),
                ("PATCH", &path, more("bucket_name", json!("a/b")), 422, "validation_error"),
                ("PATCH", &path, more("bucket_schema", schema("string")), 409, "schema_break"),
                ("PATCH", &path, more("unique_key", key), 409, "unique_key_fixed"),
            ],
        );
        server.post(&format!("{sync}/resume"), &json!({})).is(200);
        let films = "/v1/buckets/films";
        server.delete(films).fails_with(409);
        assert_eq!(server.get(films).is(200)["status"], "ACTIVE");
    });
}

#[test]
fn connections_and_namespaces_stay_as_they_are_where_a_change_is_refused() {
    with_sync(|server, s3, sync| {
        let endpoint = s3.endpoint();
        let config = json!({"endpoint_url": endpoint.url, "credentials": {"type": "ambient"}});
        let other = json!({"name": "other", "provider_type": "s3", "provider_config": config,
                           "test_before_save": false});
        server.post(CONNECTIONS, &other).is(200);
        server.post(&format!("{sync}/resume"), &json!({})).is(200);
        let path = format!("{CONNECTIONS}/the%20fake");
        let renamed = json!({"name": "other", "description": "new"});
        let unreachable = json!({"description": "new",
                                 "provider_config": {"endpoint_url": "http://127.0.0.1:9"}});
        let asked = [
            ("PATCH", path.as_str(), renamed, 409, "name_taken"),
            ("PATCH", &path, unreachable, 422, "connection_test_failed"),
            ("DELETE", &path, json!({}), 409, "connection_in_use"),
        ];
        let stable = ["name", "description", "status", "provider_config"];
        let now = || {
            let shown = server.get(&path).is(200);
            stable.map(|field| shown[field].clone())
        };
        let before = now();
        for (method, target, body, status, code) in asked {
            let error = server.request(method, target).json(&body).send().fails_with(status);
            assert_eq!(error["code"], code, "{error}");
            assert_eq!(now(), before, "changed by {method} {target} {body}");
        }

        let made = server.post("/v1/namespaces", &json!({"namespace_name": "drawer"})).is(200);
        let drawer = format!("/v1/namespaces/{}", made["namespace_id"].as_str().unwrap());
        let call = server.request("POST", "/v1/buckets").header("X-Namespace", "drawer");
        call.json(&json!({"bucket_name": "b", "bucket_schema": {"properties": {}}})).send().is(200);
        let default = server.get("/v1/namespaces").is(200)["results"].clone();
        let default = default.as_array().unwrap().iter().find(|one| one["bucket_count"] != 1);
        let name = default.map(|one| one["namespace_name"].as_str().unwrap()).unwrap_or("default");
        let renamed = json!({"namespace_name": name, "description": "new"});
        let default = format!("/v1/namespaces/{name}");
        each_changes_nothing(
            server,
            &drawer,
            &[
                ("PATCH", &drawer, renamed, 409, "name_taken"),
                ("DELETE", &drawer, json!({}), 409, "namespace_not_empty"),
                ("DELETE", &default, json!({}), 409, "default_namespace"),
            ],
        );
    });
}

#[test]
fn objects_and_uploads_stay_as_they_are_where_a_change_is_refused() {
    let home = Catchment::new();
    home.write_home("files/a.txt", "a");
    home.sync_with(home.home().join("files"), &["--bucket", "synced"]).exits(0);
    let server = Server::on(&home);
    let fields = json!({"sku": {"type": "string"}, "n": {"type": "integer"}});
    let path = bucket_with(
        &server,
        json!({"bucket_name": "shop", "unique_key": {"fields": ["sku"], "default_policy": "insert"},
               "bucket_schema": {"properties": fields}}),
    );
    let objects = format!("{path}/objects");
    server.post(&objects, &json!({"sku": "1", "n": 1})).is(200);
    let second = server.post(&objects, &json!({"sku": "2", "n": 2})).is(200);
    let object = format!("{objects}/{}", second["object_id"].as_str().unwrap());
    let request = json!({"filename": "a.txt", "content_type": "text/plain",
                         "object_metadata": {"sku": "1"}});
    let upload = server.post(&format!("{path}/uploads"), &request).is(200);
    let link = upload["presigned_url"].as_str().unwrap();
    let target = link.strip_prefix(&format!("http://{}", server.address)).unwrap();
    server.request("PUT", target).header("Content-Type", "text/plain").body("a").send().is(200);
    let upload = format!("{path}/uploads/{}", upload["upload_id"].as_str().unwrap());
    let confirm = format!("{upload}/confirm");
    let update = format!("{objects}?policy=update");
    let gone = json!({"sku": "4", "blobs": [{"property": "b", "type": "text", "data": "new bytes"},
                      {"property": "c", "type": "text", "upload_id": "upl_gone"}]});
    for shown in [&object, &upload, &path] {
        each_changes_nothing(
            &server,
            shown,
            &[
                ("PATCH", &object, json!({"n": 3, "sku": "1"}), 409, "unique_key_taken"),
                ("PATCH", &object, json!({"n": "three", "sku": "3"}), 422, "validation_error"),
                ("POST", &objects, json!({"sku": "1", "n": 9}), 409, "unique_key_taken"),
                ("POST", &update, json!({"sku": "3", "n": 9}), 404, "not_found"),
                ("POST", &objects, gone.clone(), 422, "validation_error"),
                ("POST", &confirm, json!({"etag": "other"}), 422, "validation_error"),
                ("POST", &confirm, json!({}), 409, "unique_key_taken"),
            ],
        );
    }
    assert_eq!(server.get(&upload).is(200)["status"], "IN_PROGRESS");

    let synced = "/v1/buckets/synced/objects";
    let listed = server.get(synced).is(200);
    let synced = format!("{synced}/{}", listed["results"][0]["object_id"].as_str().unwrap());
    let moved = json!({"key_prefix": "b.txt", "stars": 5});
    let refused = [("PATCH", synced.as_str(), moved, 409, "synced_object")];
    each_changes_nothing(&server, &synced, &refused);
}

#[test]
fn a_bucket_that_is_being_deleted_is_found_by_no_route_but_its_own() {
    let server = Server::start();
    let path = bucket(&server, "films");
    // Its rows are removed in the background, too fast to be met by a request.
    let database = server.home.data_dir().join(DATABASE_FILE);
    let marked = rusqlite::Connection::open(database).unwrap();
    assert_eq!(marked.execute("UPDATE buckets SET is_deleting = 1", []).unwrap(), 1);
    for route in ["syncs", "objects", "uploads"] {
        let list = server.post(&format!("{path}/{route}/list"), &json!({}));
        assert_eq!(list.fails_with(404)["details"]["resource"], "bucket", "{route}");
    }
    let sync = json!({"connection_id": "conn_local", "source_path": "/tmp"});
    server.post(&format!("{path}/syncs"), &sync).fails_with(404);
    server.get(&path).is(200);
}

#[test]
fn a_part_of_the_api_that_this_build_lacks_says_so() {
    let server = Server::start();
    let lacking = server.get("/v1/analytics/retrievers/ret_1/performance").fails_with(501);
    assert_eq!(
        (&lacking["type"], &lacking["details"]["part"]),
        (&json!("not_implemented"), &json!("analytics"),)
    );
    server.get("/v1/nothing").fails_with(404);
}
