//! `/v1/buckets/{bucket}/objects`.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    buckets::{bucket, bucket_with},
    server::Server,
    support::catchment::{Catchment, poll_until},
};

fn text(property: &str, text: &str) -> Value {
    json!({"property": property, "type": "text", "data": text})
}

fn made(server: &Server, bucket: &str, body: Value) -> Value {
    server.post(&format!("{bucket}/objects"), &body).is(200)
}

fn paths(answer: &Value) -> Vec<String> {
    let rows = answer["results"].as_array().unwrap();
    rows.iter().map(|row| row["key_prefix"].as_str().unwrap().to_owned()).collect()
}

fn found(server: &Server, bucket: &str, body: Value) -> Vec<String> {
    let mut paths = paths(&server.post(&format!("{bucket}/objects/list"), &body).is(200));
    paths.sort();
    paths
}

#[test]
fn an_object_lives_from_create_to_delete() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let object = made(
        &server,
        &bucket,
        json!({"key_prefix": "notes/one.txt", "title": "One", "metadata": {"a": 1},
               "blobs": [text("content", "hello"), text("extra", &"more".repeat(50_000))]}),
    );
    assert_eq!((&object["title"], &object["status"]), (&json!("One"), &json!("PENDING")));
    let blob = &object["blobs"][0];
    assert_eq!((&blob["property"], &blob["type"]), (&json!("content"), &json!("text")));
    assert_eq!(blob["details"]["size_bytes"], 5);
    assert_eq!(blob["details"]["filename"], "one.txt");
    assert!(blob["details"]["hash"].as_str().unwrap().starts_with("blake3:"));
    assert_eq!(object["source"], Value::Null);

    let path = format!("{bucket}/objects/{}", object["object_id"].as_str().unwrap());
    let patched = server.patch(&path, &json!({"title": null, "stars": 5})).is(200);
    assert_eq!((&patched["stars"], patched.get("title")), (&json!(5), None));
    let put =
        server.put(&path, &json!({"metadata": {"a": 2, "b": 3}, "key_prefix": "two.txt"})).is(200);
    assert_eq!((&put["metadata"], &put["b"]), (&json!({"a": 2}), &json!(3)));
    assert_eq!(put["key_prefix"], "two.txt");

    server.patch(&bucket, &json!({"trash_days": 0})).is(200);
    assert_eq!(server.delete(&path).status, 204);
    server.get(&path).fails_with(404);
    assert_eq!(server.get(&bucket).is(200)["total_size_bytes"], 0);
    let blobs = server.home.data_dir().join("blobs");
    poll_until("the end of its bytes", Duration::from_secs(30), || {
        (files(&blobs) == 0).then_some(())
    });
}

/// How many files are under a folder.
pub fn files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn what_is_wrong_with_an_object_is_named() {
    let server = Server::start();
    let schema = json!({"properties": {"n": {"type": "integer"}, "image": {"type": "image"}}});
    let bucket = bucket_with(&server, json!({"bucket_name": "b", "bucket_schema": schema}));
    let make = |body: Value| server.post(&format!("{bucket}/objects"), &body);
    make(json!({"n": "many"})).blames("n");
    make(json!({"status": "DONE"})).blames("status");
    make(json!({"blobs": [text("image", "x")]})).blames("blobs[0].type");
    make(json!({"blobs": [text("a", "x"), text("a", "y")]})).blames("blobs[1].property");
    make(json!({"blobs": [{"property": "a", "type": "text"}]})).blames("blobs[0].data");
    make(json!({"blobs": [text("a", "https://example.com/x")]})).blames("blobs[0].data");
    let upload = json!({"property": "a", "type": "text", "upload_id": "upl_nope"});
    make(json!({"blobs": [upload]})).blames("blobs[0].upload_id");
    let wrong = json!({"property": "a", "type": "text", "data": "x", "checksum": "0".repeat(64)});
    make(json!({"blobs": [wrong]})).blames("blobs[0].checksum");
    server
        .post(
            &format!("{bucket}/objects/list"),
            &json!({"filters": {"AND": [{"field": "n", "operator": "near", "value": 1}]}}),
        )
        .blames("filters.AND[0].operator");
    server
        .post(
            &format!("{bucket}/objects/list"),
            &json!({"filters": {"created_at": {"gt": "soon"}}}),
        )
        .blames("filters.created_at");
}

#[test]
fn a_unique_key_is_kept_by_the_policy_of_the_request() {
    let server = Server::start();
    let bucket = bucket_with(
        &server,
        json!({"bucket_name": "b", "unique_key": {"fields": ["sku"]},
               "bucket_schema": {"properties": {"sku": {"type": "string"}}}}),
    );
    let send = |policy: &str, body: Value| {
        server.post(&format!("{bucket}/objects?policy={policy}"), &body)
    };
    server.post(&format!("{bucket}/objects"), &json!({"sku": "1"})).blames("policy");
    let first = send("insert", json!({"sku": "1", "name": "a"})).is(200);
    let taken = send("insert", json!({"sku": "1"})).fails_with(409);
    assert_eq!(taken["details"]["object_id"], first["object_id"]);
    send("update", json!({"sku": "2"})).fails_with(404);
    let again =
        send("upsert", json!({"sku": "1", "price": 3, "blobs": [text("content", "abc")]})).is(200);
    assert_eq!(again["object_id"], first["object_id"]);
    assert_eq!((&again["name"], &again["price"]), (&json!("a"), &json!(3)));
    send("upsert", json!({"name": "no key"})).blames("sku");
    let other = send("upsert", json!({"sku": "2"})).is(200);
    let path = format!("{bucket}/objects/{}", other["object_id"].as_str().unwrap());
    server.patch(&path, &json!({"sku": "1"})).fails_with(409);
    let shown = server.get(&bucket).is(200);
    assert_eq!((&shown["object_count"], &shown["total_size_bytes"]), (&json!(2), &json!(3)));
}

#[test]
fn a_request_that_is_repeated_makes_no_second_object() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let body = json!({"idempotency_key": "k", "blobs": [text("content", "same")]});
    let first = made(&server, &bucket, body.clone());
    assert_eq!(made(&server, &bucket, body)["object_id"], first["object_id"]);
    let equal = json!({"skip_duplicates": true, "blobs": [text("content", "same")]});
    let batch =
        json!({"objects": [equal, {"blobs": [text("content", "new")]}, {"bucket_id": "x"}]});
    let answer = server.post(&format!("{bucket}/objects/batch"), &batch).is(200);
    assert_eq!((&answer["succeeded_count"], &answer["failed_count"]), (&json!(2), &json!(1)));
    assert_eq!(answer["succeeded"][0]["object_id"], first["object_id"]);
    assert_eq!(answer["succeeded"][0]["replayed_by"], "skip_duplicates");
    assert_eq!(answer["failed"][0]["object_index"], 2);
    assert_eq!(server.get(&bucket).is(200)["object_count"], 2);
}

#[test]
fn a_batch_of_which_nothing_is_created_is_an_error_that_says_why_of_each() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let batch = json!({"objects": vec![json!({"status": 1}); 30]});
    let refused = server.post(&format!("{bucket}/objects/batch"), &batch).fails_with(422);
    assert_eq!(refused["details"]["failed_count"], 30);
    let listed = refused["details"]["failed"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["object_index"]), (20, &json!(0)));
    assert!(listed[0]["error"].as_str().unwrap().contains("status"), "{refused}");
}

#[test]
fn objects_are_found_by_filters_and_by_text() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    for (path, n, tags) in [
        ("a/One.txt", json!(1), json!(["red", "Blue"])),
        ("a/two.txt", json!(2.5), json!([])),
        ("b/three.md", json!("3"), json!(null)),
    ] {
        made(
            &server,
            &bucket,
            json!({"key_prefix": path, "n": n, "tags": tags, "deep": {"er": path},
                                      "blobs": [text("content", path)]}),
        );
    }
    let by = |filters: Value| found(&server, &bucket, json!({"filters": filters}));
    assert_eq!(by(json!({"n": 1})), ["a/One.txt"]);
    assert_eq!(by(json!({"n": {"gte": 1}})), ["a/One.txt", "a/two.txt"]);
    assert_eq!(by(json!({"tags": "blue"})), ["a/One.txt"]);
    assert_eq!(by(json!({"tags": "blue", "case_sensitive": true})), [""; 0]);
    assert_eq!(
        by(json!({"NOT": [{"field": "n", "operator": "in", "value": [1, "3"]}]})),
        ["a/two.txt"]
    );
    assert_eq!(
        by(
            json!({"OR": [{"n": "3"}, {"AND": [{"field": "key_prefix", "operator": "starts_with", "value": "a/t"}]}]})
        ),
        ["a/two.txt", "b/three.md"]
    );
    assert_eq!(by(json!({"tags": {"is_null": true}})), ["a/two.txt", "b/three.md"]);
    assert_eq!(by(json!({"deep.er": {"ends_with": ".MD"}})), ["b/three.md"]);
    assert_eq!(by(json!({"deep.er": {"regex": "^b.*e"}})), ["b/three.md"]);
    assert_eq!(by(json!({"blobs.details.size_bytes": 9})), ["a/One.txt", "a/two.txt"]);
    assert_eq!(by(json!({"created_at": {"lt": "2000-01-01"}})), [""; 0]);
    assert_eq!(found(&server, &bucket, json!({"search": "THREE"})), ["b/three.md"]);
    assert_eq!(found(&server, &bucket, json!({"search": "blue"})), ["a/One.txt"]);
    let hostile = by(json!({"x') OR 1=1 --": 1}));
    assert_eq!(hostile, [""; 0]);
}

#[test]
fn a_search_finds_objects_that_have_all_its_words_in_any_order() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    for (path, note) in [("2024/lisbon/tram.jpg", "a yellow tram"), ("2024/porto.jpg", "a tram")] {
        made(&server, &bucket, json!({"key_prefix": path, "blobs": [], "note": note}));
    }
    let by = |search: &str| found(&server, &bucket, json!({"search": search}));
    assert_eq!(by("JPG  2024").len(), 2);
    assert_eq!(by("tram lisbon"), ["2024/lisbon/tram.jpg"]);
    assert_eq!(by("yellow 2024 lisbon"), ["2024/lisbon/tram.jpg"]);
    assert_eq!(by("porto yellow"), [""; 0]);
    let long = server.post(&format!("{bucket}/objects/list"), &json!({"search": "a ".repeat(501)}));
    long.blames("search");
}

#[test]
fn a_page_behind_a_cursor_goes_on_where_the_last_one_ended() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    for n in 0..7 {
        let field = if n == 3 {
            json!({"key_prefix": format!("{n}")})
        } else {
            json!({"key_prefix": format!("{n}"), "rank": n % 3})
        };
        made(&server, &bucket, field);
    }
    for sort in [
        json!(null),
        json!({"field": "rank"}),
        json!({"field": "rank", "direction": "desc"}),
        json!({"field": "key_prefix"}),
        json!({"field": "size_bytes", "direction": "desc"}),
    ] {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("{bucket}/objects/list?limit=2&cursor={cursor}");
            let page = server.post(&target, &json!({"sort": sort})).is(200);
            all.extend(paths(&page));
            // What is added in between is newer than all that is still to come.
            match page["pagination"]["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        let whole = server
            .post(&format!("{bucket}/objects/list?limit=100"), &json!({"sort": sort}))
            .is(200);
        assert_eq!(all, paths(&whole), "{sort}");
        assert_eq!(all.len(), 7, "{sort}");
    }
    let newest = server.get(&format!("{bucket}/objects?limit=2&include_total=true")).is(200);
    assert_eq!(paths(&newest), ["6", "5"]);
    assert_eq!(newest["pagination"]["total"], 7);
    let cursor = newest["pagination"]["next_cursor"].as_str().unwrap();
    made(&server, &bucket, json!({"key_prefix": "new"}));
    let next = server.get(&format!("{bucket}/objects?limit=2&cursor={cursor}")).is(200);
    assert_eq!(paths(&next), ["4", "3"]);
}

#[test]
fn only_what_is_selected_is_told() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    made(&server, &bucket, json!({"title": "t", "blobs": [text("content", "abc")]}));
    let body = json!({"select": ["title", "blobs.details.size_bytes"]});
    let listed = server.post(&format!("{bucket}/objects/list"), &body).is(200);
    let row = listed["results"][0].as_object().unwrap();
    let mut keys: Vec<_> = row.keys().collect();
    keys.sort();
    assert_eq!(keys, ["blobs", "bucket_id", "object_id", "title"]);
    assert_eq!(row["blobs"], json!([{"details": {"size_bytes": 3}}]));
}

#[test]
fn objects_are_counted_in_groups() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    for (kind, n, tags) in
        [("a", 5, json!(["x", "y"])), ("a", 15, json!(["x"])), ("b", 30, json!([]))]
    {
        made(
            &server,
            &bucket,
            json!({"kind": kind, "n": n, "tags": tags, "day": "2026-03-18T10:00:00Z",
                                      "blobs": [text("content", &"x".repeat(n))]}),
        );
    }
    let count = |body: Value| server.post(&format!("{bucket}/objects/aggregate"), &body).is(200);
    let answer = count(json!({
        "group_by": [{"field": "kind"}],
        "aggregations": [
            {"function": "count", "alias": "all"}, {"function": "sum", "field": "n", "alias": "sum"},
            {"function": "avg", "field": "size_bytes", "alias": "avg"},
            {"function": "min", "field": "n", "alias": "min"}, {"function": "max", "field": "n", "alias": "max"},
            {"function": "first", "field": "n", "alias": "first"}, {"function": "last", "field": "n", "alias": "last"},
            {"function": "push", "field": "n", "alias": "push"},
            {"function": "add_to_set", "field": "kind", "alias": "set"},
            {"function": "count_distinct", "field": "day", "alias": "days"}],
        "sort_by": "all",
    }));
    assert_eq!(
        answer["results"][0],
        json!({"group": {"kind": "a"}, "metrics": {
        "all": 2, "sum": 20, "avg": 10.0, "min": 5, "max": 15, "first": 5, "last": 15,
        "push": [5, 15], "set": ["a"], "days": 1}})
    );
    assert_eq!(answer["total_groups"], 2);

    let counted = json!([{"function": "count", "alias": "n"}]);
    let having = count(json!({"group_by": [{"field": "kind"}], "aggregations": counted,
                              "having": [{"field": "n", "operator": "gt", "value": 1}]}));
    assert_eq!(having["results"].as_array().unwrap().len(), 1);
    let times = count(json!({"group_by": [{"field": "day", "date_trunc": "week", "alias": "w"},
                                          {"field": "day", "date_part": "dayOfWeek", "alias": "d"}],
                             "aggregations": counted}));
    assert_eq!(times["results"][0]["group"], json!({"w": "2026-03-16T00:00:00Z", "d": 4}));
    let tags =
        count(json!({"group_by": [{"field": "tags"}], "unwind": "tags", "aggregations": counted,
                            "sort_by": "n"}));
    assert_eq!(tags["results"][0], json!({"group": {"tags": "x"}, "metrics": {"n": 2}}));
    let blobs = count(json!({"group_by": [{"field": "blobs.type"}], "unwind": "blobs",
                             "aggregations": [{"function": "sum", "field": "blobs.details.size_bytes", "alias": "s"}]}));
    assert_eq!(blobs["results"], json!([{"group": {"blobs.type": "text"}, "metrics": {"s": 50}}]));
    let ranges =
        count(json!({"group_by": [{"field": "n"}], "aggregations": counted, "sort_by": "n",
                              "range_buckets": [{"field": "n", "boundaries": [0, 15, 20]}],
                              "filters": {"n": {"lt": 100}}}));
    assert_eq!(ranges["results"][0], json!({"group": {"n": "0-15"}, "metrics": {"n": 2}}));
    server
        .post(
            &format!("{bucket}/objects/aggregate"),
            &json!({"group_by": [{"field": "n"}],
        "aggregations": [{"function": "sum", "alias": "s"}]}),
        )
        .blames("aggregations[0].field");
}

#[test]
fn hidden_objects_are_shown_to_nobody_and_not_counted() {
    let server = Server::start();
    let bucket = bucket(&server, "b");
    let object =
        made(&server, &bucket, json!({"key_prefix": "a", "blobs": [text("content", "abc")]}));
    made(&server, &bucket, json!({"key_prefix": "b"}));
    let body = json!({"object_ids": [object["object_id"], "obj_nope"], "reason": "over"});
    let hidden = server.post(&format!("{bucket}/objects/bulk-soft-delete"), &body).is(200);
    assert_eq!((&hidden["soft_deleted"], &hidden["requested"]), (&json!(1), &json!(2)));
    assert_eq!(paths(&server.get(&format!("{bucket}/objects")).is(200)), ["b"]);
    let shown = server.get(&bucket).is(200);
    assert_eq!((&shown["object_count"], &shown["total_size_bytes"]), (&json!(1), &json!(0)));
    server
        .get(&format!("{bucket}/objects/{}", object["object_id"].as_str().unwrap()))
        .fails_with(404);
    server.delete(&bucket).is(200);
    server.get(&bucket).fails_with(404);
}

/// A home with a folder that has been synced into the bucket `files`, and the server on it.
fn synced(home: &Catchment) -> (Server, String) {
    home.sync(home.home().join("files")).exits(0);
    let server = Server::on(home);
    let listed = server.get("/v1/buckets").is(200);
    let path = format!("/v1/buckets/{}", listed["results"][0]["bucket_id"].as_str().unwrap());
    (server, path)
}

#[test]
fn a_synced_object_says_where_it_comes_from() {
    let home = Catchment::new();
    home.write_home("files/sub/a.png", "picture");
    let (server, bucket) = synced(&home);
    let object = &server.get(&format!("{bucket}/objects")).is(200)["results"][0];
    assert_eq!(object["key_prefix"], "sub/a.png");
    assert_eq!(object["source"]["provider"], "local");
    assert_eq!(object["source"]["path"], "sub/a.png");
    assert_eq!(object["source"]["size_bytes"], 7);
    assert!(object["source"]["sync_config_id"].as_str().unwrap().starts_with("sync_"));
    assert_eq!(
        (&object["blobs"][0]["type"], &object["blobs"][0]["property"]),
        (&json!("image"), &json!("content"))
    );
    let path = format!("{bucket}/objects/{}", object["object_id"].as_str().unwrap());
    server.patch(&path, &json!({"stars": 3})).is(200);
    let moved = server.patch(&path, &json!({"key_prefix": "b.png"})).fails_with(409);
    assert_eq!(moved["code"], "synced_object");
    assert_eq!(
        found(
            &server,
            &bucket,
            json!({"filters": {"source.provider": "local", "blobs.type": "image"}})
        ),
        ["sub/a.png"]
    );
}

#[test]
fn a_synced_object_that_was_deleted_for_good_stays_away_until_it_changes_at_its_source() {
    let home = Catchment::new();
    home.write_home("files/a.txt", "one");
    home.write_home("files/b.txt", "two");
    let (server, bucket) = synced(&home);
    server.patch(&bucket, &json!({"trash_days": 0})).is(200);
    let list = || found(&server, &bucket, json!({}));
    let rows = server.get(&format!("{bucket}/objects")).is(200)["results"].clone();
    for row in rows.as_array().unwrap() {
        server.delete(&format!("{bucket}/objects/{}", row["object_id"].as_str().unwrap()));
    }
    home.sync(home.home().join("files")).exits(0);
    assert_eq!(list(), [""; 0]);
    home.write_home("files/a.txt", "changed");
    home.sync(home.home().join("files")).exits(0);
    assert_eq!(list(), ["a.txt"]);
    std::fs::remove_file(home.home().join("files/b.txt")).unwrap();
    home.sync(home.home().join("files")).exits(0);
    assert_eq!(list(), ["a.txt"]);
    assert_eq!(server.get(&bucket).is(200)["object_count"], 1);
}

/// Makes the bucket large: objects without bytes, as quickly as the database takes them.
pub fn fill(home: &Catchment, objects: u32) {
    let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
    db.execute_batch(&format!(
        "INSERT INTO objects (id, bucket_key, entry_key, path, size, created_at_ms, updated_at_ms)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {objects})
         SELECT 'obj_' || i, (SELECT min(bucket_key) FROM buckets), 0,
                CAST('hay/' || i AS BLOB), 0, 0, 0 FROM n;
         UPDATE buckets SET object_count = object_count + {objects};"
    ))
    .unwrap();
}

/// The pages of a search, and what was found on all of them.
fn searched(server: &Server, bucket: &str, text: &str) -> (usize, Vec<String>) {
    let (mut pages, mut found, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let target = format!("{bucket}/objects/list?limit=10&cursor={cursor}");
        let page = server.post(&target, &json!({"search": text})).is(200);
        pages += 1;
        found.extend(paths(&page));
        match page["pagination"]["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return (pages, found),
        }
    }
}

#[test]
fn a_rare_word_in_a_large_bucket_is_found_on_some_page_and_once_it_is_indexed_on_the_first() {
    let home = Catchment::new();
    let server = Server::on(&home);
    let bucket = bucket(&server, "b");
    made(&server, &bucket, json!({"key_prefix": "needle", "blobs": [text("content", "x")]}));
    server.stop();
    fill(&home, 150_000);
    let server = Server::on(&home);
    let found = ["needle".to_owned()];
    let (pages, first) = searched(&server, &bucket, "NEEDLE");
    assert_eq!(first, found);
    assert!(pages <= 2, "{pages} pages");
    // Who counts pages relies on each being full.
    let target = format!("{bucket}/objects/list?limit=10&page=1");
    let page = server.post(&target, &json!({"search": "NEEDLE"})).is(200);
    assert_eq!(
        (paths(&page).as_slice(), &page["pagination"]["next_cursor"]),
        (&found[..], &Value::Null)
    );

    poll_until("the search index to be built", Duration::from_secs(60), || {
        let (pages, again) = searched(&server, &bucket, "NEEDLE");
        assert_eq!(again, found);
        (pages == 1).then_some(())
    });
}

#[test]
fn a_synced_object_that_was_deleted_stays_away_under_another_name_and_by_another_mapping() {
    let home = Catchment::new();
    home.write_home("files/a.txt", "one");
    home.write_home("files/b.txt", "two");
    let (server, bucket) = synced(&home);
    let list = || found(&server, &bucket, json!({}));
    let rows = server.get(&format!("{bucket}/objects")).is(200)["results"].clone();
    let a = rows.as_array().unwrap().iter().find(|row| row["key_prefix"] == "a.txt").unwrap();
    server.delete(&format!("{bucket}/objects/{}", a["object_id"].as_str().unwrap())).is(204);
    let file = |name: &str| home.home().join("files").join(name);
    std::fs::rename(file("a.txt"), file("c.txt")).unwrap();

    home.sync(home.home().join("files")).exits(0);
    assert_eq!(list(), ["b.txt"]);

    let mapping = json!({"mappings": {"kind": {"source": {"type": "constant", "value": "x"}}}});
    let mapping = home.write_home("mapping.json", mapping.to_string());
    let args = ["--mapping", mapping.to_str().unwrap()];
    for _ in 0..2 {
        home.sync_with(home.home().join("files"), &args).exits(0);
        assert_eq!(list(), ["b.txt"]);
    }
}
