//! What a server leaves when it dies, and who goes on with it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{FakeS3, Fault, Kind, On},
        wire::Delivery,
    },
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A run over 40 objects that stands still behind a checkpoint: what it reads, its server, its sync
/// and its job.
fn standing_behind_a_checkpoint(home: &Catchment) -> (FakeS3, Server, String, Value) {
    let s3 = FakeS3::start();
    s3.page_size(10);
    for number in 0..40 {
        s3.put(format!("key {number:02}"), format!("bytes of {number}"));
    }
    s3.inject(Fault::delivery(On::GetOf("key 35"), Delivery::StallAfter(0)));
    let server = Server::on(home);
    let sync = sync_of(&server, &s3);
    poll_until("a checkpoint", DEADLINE, || {
        let now = server.get(&sync).is(200);
        (now["total_files_synced"].as_u64()? >= 20).then_some(())
    });
    let first = running_job(&server, &sync).expect("it runs");
    (s3, server, sync, first)
}

#[test]
fn the_run_of_a_killed_server_is_gone_on_with_by_the_next_one() {
    let home = Catchment::new();
    let (s3, server, sync, first) = standing_behind_a_checkpoint(&home);
    server.kill();
    s3.heal();
    let before = s3.count(Kind::Get);

    let server = Server::on(&home);
    let jobs = poll_until("the end of the pass", DEADLINE, || {
        let jobs = server.post(&format!("{sync}/jobs"), &json!({})).is(200)["results"].clone();
        let done = jobs.as_array()?.iter().any(|job| job["status"] == "completed");
        done.then_some(jobs)
    });
    let dead = jobs.as_array().unwrap().iter().find(|job| job["sync_job_id"] == first).unwrap();
    assert_eq!(dead["status"], "interrupted", "{dead}");
    let next = jobs.as_array().unwrap().iter().find(|job| job["trigger"] == "resume").unwrap();
    assert_eq!(next["resumed_via"], "checkpoint", "{next}");
    assert!(s3.count(Kind::Get) - before <= 20, "what was committed is not fetched again");
    let bucket = server.get("/v1/buckets/films").is(200);
    assert_eq!(bucket["object_count"], 40);
    let sum: u64 =
        jobs.as_array().unwrap().iter().filter_map(|job| job["files_synced"].as_u64()).sum();
    assert_eq!(server.get(&sync).is(200)["total_files_synced"], sum);
}

#[test]
fn a_run_that_a_server_stops_for_is_gone_on_with_first_thing() {
    let s3 = FakeS3::start();
    for number in 0..5 {
        s3.put(format!("key {number}"), format!("bytes of {number}"));
    }
    s3.inject(Fault::delivery(On::GetOf("key 4"), Delivery::StallAfter(0)));
    let home = Catchment::new();
    let server = Server::on(&home);
    let sync = sync_of(&server, &s3);
    s3.wait_until("the standing read", |seen| {
        seen.iter().filter(|seen| seen.kind == Kind::Get).count() >= 5
    });
    assert!(server.stop().success());
    s3.heal();

    let server = Server::on(&home);
    poll_until("every object", DEADLINE, || {
        let bucket = server.get("/v1/buckets/films").is(200);
        (bucket["object_count"] == 5).then_some(())
    });
    let jobs = server.post(&format!("{sync}/jobs"), &json!({})).is(200);
    let oldest = jobs["results"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(oldest["status"], "interrupted", "{oldest}");
}

#[test]
fn the_task_of_a_run_stops_it_at_its_checkpoint_and_the_next_run_continues_there() {
    let home = Catchment::new();
    let (s3, server, sync, first) = standing_behind_a_checkpoint(&home);
    let task = first.as_str().unwrap().replacen("job_", "task_", 1);
    let task = format!("/v1/tasks/{task}");
    assert_eq!(server.get(&task).is(200)["status"], "IN_PROGRESS");
    server.delete(&task).is(200);
    poll_until("the end of the run", DEADLINE, || {
        (server.get(&task).is(200)["status"] == "INTERRUPTED").then_some(())
    });
    server.delete(&task).is(200);
    let stopped = server.get(&sync).is(200);
    assert_eq!(stopped["status"], "INTERRUPTED", "{stopped}");
    assert_eq!(stopped["paused"], false, "{stopped}");
    let due: jiff::Timestamp = stopped["next_sync_at"].as_str().unwrap().parse().unwrap();
    assert!(due > jiff::Timestamp::now() + Duration::from_secs(30), "not at once: {stopped}");

    s3.heal();
    let before = s3.count(Kind::Get);
    server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    poll_until("every object", DEADLINE, || {
        (server.get("/v1/buckets/films").is(200)["object_count"] == 40).then_some(())
    });
    assert!(s3.count(Kind::Get) - before <= 20, "what was committed is not fetched again");
}

/// A sync of everything there, one request at a time.
fn sync_of(server: &Server, s3: &FakeS3) -> String {
    connect(server, s3);
    let made = server.post("/v1/buckets/films/syncs", &order(json!({}))).is(200);
    format!("/v1/buckets/films/syncs/{}", made["sync_config_id"].as_str().unwrap())
}

/// A connection to it, and a bucket called `films`.
pub fn connect(server: &Server, s3: &FakeS3) {
    let endpoint = s3.endpoint();
    let keys = json!({
        "type": "access_key",
        "access_key_id": endpoint.access_key,
        "secret_access_key": endpoint.secret_key,
    });
    let connection = json!({
        "name": "the fake", "provider_type": "s3", "test_before_save": false,
        "provider_config": {
            "endpoint_url": endpoint.url, "region": "us-east-1", "credentials": keys,
        },
    });
    server.post("/v1/organizations/connections", &connection).is(200);
    let schema = json!({ "properties": {} });
    let bucket = json!({ "bucket_name": "films", "bucket_schema": schema });
    server.post("/v1/buckets", &bucket).is(200);
}

/// What is sent to make a sync over that connection, with these fields besides.
pub fn order(more: Value) -> Value {
    let mut order = json!({
        "connection_id": "the fake",
        "source_path": crate::support::fake_s3::BUCKET,
        "sync_concurrency": 1,
        "resume_checkpoint_frequency": 100,
    });
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    order
}

fn running_job(server: &Server, sync: &str) -> Option<Value> {
    let jobs = server.post(&format!("{sync}/jobs"), &json!({ "status": "running" })).is(200);
    Some(jobs["results"].get(0)?["sync_job_id"].clone())
}

#[test]
fn a_full_sync_that_a_pause_or_a_kill_cut_off_goes_on_as_a_full_one() {
    for is_killed in [false, true] {
        let s3 = FakeS3::start();
        s3.page_size(10);
        for number in 0..30 {
            s3.put(format!("key {number:02}"), format!("bytes of {number}"));
        }
        let home = Catchment::new();
        let mut server = Server::on(&home);
        let sync = sync_of(&server, &s3);
        let ended = |server: &Server, least: usize| {
            poll_until("the jobs", DEADLINE, || {
                let jobs = server.post(&format!("{sync}/jobs"), &json!({})).is(200);
                let jobs = jobs["results"].as_array()?.clone();
                let is_over = jobs.iter().all(|job| job["status"] != "running");
                (is_over && jobs.len() >= least).then_some(jobs)
            })
        };
        let jobs = ended(&server, 1).len();
        server.patch(&sync, &json!({ "sync_concurrency": 1 })).is(200);
        s3.forget_requests();
        s3.inject(Fault::delivery(On::GetOf("key 25"), Delivery::StallAfter(0)));
        server.post(&format!("{sync}/trigger?full_sync=true&refetch=true"), &json!({})).is(200);
        s3.wait_until("the object that stalls", |seen| {
            seen.iter().any(|seen| seen.kind == Kind::Get && seen.key == b"key 25")
        });
        if is_killed {
            server.kill();
            s3.heal();
            server = Server::on(&home);
        } else {
            server.post(&format!("{sync}/pause"), &json!({})).is(200);
            s3.heal();
            ended(&server, jobs + 1);
            server.post(&format!("{sync}/resume"), &json!({})).is(200);
        }
        ended(&server, jobs + 2);
        for number in 0..30 {
            let key = format!("key {number:02}").into_bytes();
            let is_of =
                |seen: &&crate::support::fake_s3::Seen| seen.kind == Kind::Get && seen.key == key;
            let times = s3.requests().iter().filter(is_of).count();
            assert!(times >= 1, "key {number} was not fetched again, killed: {is_killed}");
        }
    }
}
