//! Places that have nothing, or are none; and namespaces whose time is over.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{BUCKET, FakeS3, Object},
        trees::Tree,
    },
    syncs,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// The codes of what a sync has to say.
fn codes(sync: &Value) -> Vec<&str> {
    let notices = sync["notices"].as_array().unwrap();
    notices.iter().map(|notice| notice["code"].as_str().unwrap()).collect()
}

fn has_run(server: &Server, path: &str, runs: u64) -> Value {
    poll_until("the run", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(20));
        let sync = server.get(path).is(200);
        let is_over = sync["sync_run_counter"] == runs && sync["locked"] == false;
        is_over.then_some(sync)
    })
}

#[test]
fn a_prefix_without_keys_is_accepted_and_said_until_it_has_one() {
    let (server, s3) = (Server::start(), FakeS3::start());
    crate::buckets::bucket(&server, "films");
    let empty = json!({
        "source_path": format!("{BUCKET}/yet/to/come"), "sync_mode": "initial_only",
    });
    let made = syncs::s3_sync(&server, &s3, empty);
    let after = has_run(&server, &made.path, 1);
    assert_eq!((codes(&after), &after["held_removals"]), (vec!["nothing_there_yet"], &Value::Null));
    assert_eq!((&after["status"], &after["last_error"]), (&json!("COMPLETED"), &Value::Null));
    let overview = server.get("/v1/overview").is(200);
    assert_eq!(codes(&overview["syncs"][0]), ["nothing_there_yet"]);

    s3.put("yet/to/come/a", "here it is");
    server.post(&format!("{}/trigger", made.path), &json!({})).is(200);
    let after = has_run(&server, &made.path, 2);
    assert_eq!((codes(&after), &after["total_files_synced"]), (vec![], &json!(1)));

    s3.delete("yet/to/come/a");
    server.post(&format!("{}/trigger", made.path), &json!({})).is(200);
    let after = has_run(&server, &made.path, 3);
    assert_eq!(after["held_removals"]["reason"], "source_emptied", "that is another thing");
}

#[test]
fn a_sync_says_that_nothing_is_there_as_soon_as_it_is_made() {
    let server = Server::start();
    crate::buckets::bucket(&server, "films");
    let tree = Tree::new("tree");
    std::fs::create_dir_all(tree.root()).unwrap();
    let order = json!({
        "connection_id": "conn_local", "source_path": tree.root(), "status": "SUSPENDED",
    });
    let made = server.post("/v1/buckets/films/syncs", &order).is(200);
    assert_eq!(codes(&made), ["nothing_there_yet"]);
}

#[test]
fn the_command_line_says_that_nothing_is_there_yet() {
    let s3 = FakeS3::start();
    let home = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}/yet/to/come");
    let said = home.run(&["sync", &source, "--endpoint-url", &s3.endpoint().url]).exits(0);
    said.says(&["nothing there yet"]);
}

#[test]
fn a_place_that_does_not_exist_is_refused_and_the_key_of_an_object_names_its_folder() {
    let (server, s3) = (Server::start(), FakeS3::start());
    crate::buckets::bucket(&server, "films");
    s3.put("videos/2024/a.mp4", "moving pictures");
    let sync = syncs::s3_sync(&server, &s3, json!({ "status": "SUSPENDED" }));
    let order = |source_path: &str| {
        let connection = sync.now()["connection_id"].clone();
        let order = json!({ "connection_id": connection, "source_path": source_path });
        server.post("/v1/buckets/films/syncs", &order)
    };
    order("no-such-bucket").blames("source_path");
    order("no-such-bucket/prefix").blames("source_path");
    let blamed = order(&format!("{BUCKET}/videos/2024/a.mp4")).blames("source_path");
    let message = blamed["message"].as_str().unwrap();
    assert!(message.contains(&format!("{BUCKET}/videos/2024\"")), "{message}");
    assert!(message.contains("a.mp4"), "{message}");
    order(&format!("{BUCKET}/videos")).is(200);

    let local = |source_path: &str| {
        let order = json!({ "connection_id": "conn_local", "source_path": source_path });
        server.post("/v1/buckets/films/syncs", &order)
    };
    local("/nowhere/at/all").blames("source_path");
    let file = server.home.write_home("folder/file.txt", "bytes");
    local(file.to_str().unwrap()).blames("source_path");
}

#[test]
fn times_beyond_the_years_of_nanoseconds_are_kept() {
    let (server, s3) = (Server::start(), FakeS3::start());
    crate::buckets::bucket(&server, "films");
    let times = ["1500-06-07T08:09:10Z", "2400-01-02T03:04:05Z", "3000-12-31T23:59:59Z"];
    for time in times {
        let second = time.parse::<jiff::Timestamp>().unwrap().as_second();
        s3.put_object(&time[..4], Object::new(time).modified(second));
    }
    let sync = syncs::s3_sync(&server, &s3, json!({ "sync_mode": "initial_only" }));
    has_run(&server, &sync.path, 1);
    let sorted = json!({ "sort": { "field": "source.modified_at", "direction": "asc" } });
    let listed = server.post("/v1/buckets/films/objects/list", &sorted).is(200);
    let rows = listed["results"].as_array().unwrap();
    let told: Vec<_> = rows.iter().map(|row| row["source"]["modified_at"].clone()).collect();
    assert_eq!(told, times.map(|time| json!(time)));
    let later = json!({ "filters": { "source.modified_at": { "gte": "2400-01-02T03:04:05Z" } } });
    let later = server.post("/v1/buckets/films/objects/list", &later).is(200);
    assert_eq!(later["results"].as_array().unwrap().len(), 2);
}

#[test]
fn a_namespace_whose_time_is_over_goes_with_all_its_buckets() {
    let home = Catchment::new();
    let server = Server::on(&home);
    let ttl = json!({ "namespace_name": "films", "ttl_seconds": 3600 });
    let id = server.post("/v1/namespaces", &ttl).is(200)["namespace_id"].clone();
    let within = |server: &Server, method: &str, target: &str, body: &Value| {
        let request = server.request(method, target).header("X-Namespace", id.as_str().unwrap());
        request.json(body).send()
    };
    let schema = json!({ "properties": {} });
    let bucket = json!({ "bucket_name": "b", "bucket_schema": schema });
    let bucket = within(&server, "POST", "/v1/buckets", &bucket).is(200);
    let tree = Tree::of_files("folder", 3);
    let sync = json!({ "connection_id": "conn_local", "source_path": tree.root() });
    within(&server, "POST", "/v1/buckets/b/syncs", &sync).is(200);
    assert!(server.stop().success());

    let early = Server::on(&home.under_clock("+50m"));
    early.get("/v1/namespaces/films").is(200);
    assert!(early.stop().success());

    let late = Server::on(&home.under_clock("+2h"));
    poll_until("the end of the namespace", DEADLINE, || {
        (late.get("/v1/namespaces/films").status == 404).then_some(())
    });
    let log = late.get("/v1/events/log?limit=100").is(200).to_string();
    assert!(log.contains("the time of namespace") && log.contains("films"), "{log}");
    poll_until("the end of its bucket", DEADLINE, || {
        let objects = late.get("/v1/overview").is(200)["stored_bytes"].clone();
        (objects == 0).then_some(())
    });
    let gone = format!("/v1/buckets/{}", bucket["bucket_id"].as_str().unwrap());
    late.get(&gone).fails_with(404);
}
