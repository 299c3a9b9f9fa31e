//! A suspension says why, and has a way back.

use std::time::Duration;

use serde_json::json;

use crate::{
    buckets::bucket,
    server::Server,
    support::{
        catchment::poll_until,
        fake_s3::{FakeS3, Fault, On},
    },
    syncs::s3_sync,
};

const DEADLINE: Duration = Duration::from_secs(60);
const CONNECTION: &str = "/v1/organizations/connections/the%20fake";

fn connection_is(server: &Server, status: &str) {
    poll_until(status, DEADLINE, || {
        (server.get(CONNECTION).is(200)["status"] == status).then_some(())
    });
}

/// A server with a sync whose credentials the provider refuses.
fn refused() -> (Server, FakeS3, String) {
    let (server, s3) = (Server::start(), FakeS3::start());
    bucket(&server, "films");
    s3.put("key", "bytes");
    let path = s3_sync(&server, &s3, json!({ "status": "SUSPENDED" })).path;
    s3.inject(Fault::error(On::Anything, 403, "InvalidAccessKeyId"));
    server.post(&format!("{path}/resume"), &json!({})).is(200);
    connection_is(&server, "SUSPENDED");
    (server, s3, path)
}

#[test]
fn refused_credentials_suspend_a_connection_at_once_and_a_test_that_succeeds_lifts_it() {
    let (server, s3, sync) = refused();
    assert_eq!(server.get(&sync).is(200)["consecutive_failures"], 1);
    let test = || server.post(&format!("{CONNECTION}/test"), &json!({})).is(200);
    assert_eq!(test()["success"], false);
    assert_eq!(server.get(CONNECTION).is(200)["status"], "SUSPENDED");

    s3.heal();
    assert_eq!(test()["success"], true);

    connection_is(&server, "ACTIVE");
    server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    poll_until("the object", DEADLINE, || {
        (server.get("/v1/buckets/films").is(200)["object_count"] == 1).then_some(())
    });
}

#[test]
fn a_resume_says_when_nothing_would_run_and_lifts_the_suspension_when_its_try_succeeds() {
    let (server, s3, sync) = refused();
    server.post(&format!("{sync}/pause"), &json!({})).is(200);
    let refused = server.post(&format!("{sync}/resume"), &json!({})).fails_with(409);
    assert_eq!(refused["code"], "connection_unusable");

    s3.heal();
    let resumed = server.post(&format!("{sync}/resume"), &json!({})).is(200);

    assert_eq!(resumed["paused"], false);
    connection_is(&server, "ACTIVE");
    poll_until("the object", DEADLINE, || {
        (server.get("/v1/buckets/films").is(200)["object_count"] == 1).then_some(())
    });
}

#[test]
fn failed_tests_never_suspend_a_connection() {
    let (server, s3) = (Server::start(), FakeS3::start());
    bucket(&server, "films");
    s3_sync(&server, &s3, json!({ "status": "SUSPENDED" }));
    s3.inject(Fault::error(On::Anything, 403, "InvalidAccessKeyId"));
    for _ in 0..6 {
        let test = server.post(&format!("{CONNECTION}/test"), &json!({})).is(200);
        assert_eq!(test["success"], false);
    }
    assert_eq!(server.get(CONNECTION).is(200)["status"], "ACTIVE");
}

#[test]
fn a_connection_that_a_person_suspended_is_not_lifted_by_a_test() {
    let (server, s3) = (Server::start(), FakeS3::start());
    bucket(&server, "films");
    s3_sync(&server, &s3, json!({ "status": "SUSPENDED" }));
    server.patch(CONNECTION, &json!({ "status": "SUSPENDED" })).is(200);
    let test = server.post(&format!("{CONNECTION}/test"), &json!({})).is(200);
    assert_eq!(test["success"], true);
    assert_eq!(server.get(CONNECTION).is(200)["status"], "SUSPENDED");
}

#[test]
fn a_server_that_died_three_times_during_a_sync_starts_with_it_suspended() {
    let s3 = FakeS3::start();
    s3.put("key", "bytes");
    let home = crate::support::catchment::Catchment::new();
    let mut server = Server::on(&home);
    bucket(&server, "films");
    let stall = crate::support::wire::Delivery::StallAfter(0);
    s3.inject(Fault::delivery(On::AnyGet, stall));
    let sync = s3_sync(&server, &s3, json!({})).path;
    for deaths in 1..=3 {
        s3.wait_until("the standing read", |seen| {
            let gets = seen.iter().filter(|seen| seen.kind == crate::support::fake_s3::Kind::Get);
            gets.count() >= deaths
        });
        server.kill();
        server = Server::on(&home);
    }
    let suspended = poll_until("the suspension", DEADLINE, || {
        let now = server.get(&sync).is(200);
        (now["status"] == "SUSPENDED").then_some(now)
    });
    assert!(suspended["pause_reason"].as_str().unwrap().contains("3 times"), "{suspended}");

    s3.heal();
    server.post(&format!("{sync}/resume"), &json!({})).is(200);
    poll_until("the object", DEADLINE, || {
        (server.get("/v1/buckets/films").is(200)["object_count"] == 1).then_some(())
    });
}
