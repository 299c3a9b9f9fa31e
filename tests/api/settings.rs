//! `/v1/settings`.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use serde_json::{Value, json};

use crate::{
    server::{Answer, Server},
    support::catchment::{Catchment, poll_until},
};

fn called(server: &Server, host: &str) -> Answer {
    server.request("GET", "/v1/settings").header("Host", host).send()
}

#[test]
fn names_that_are_added_are_taken_at_once_and_after_a_restart() {
    let home = Catchment::new();
    let server = Server::on(&home);
    called(&server, "nas.home.example").fails_with(403);
    let hosts = json!({"allowed_hosts": ["NAS.home.example"]});
    let changed = server.patch("/v1/settings", &hosts).is(200);
    assert_eq!(changed["allowed_hosts"], json!(["nas.home.example"]));
    called(&server, "nas.home.example:7400").is(200);
    server.stop();

    let server = Server::on(&home);
    called(&server, "nas.home.example").is(200);
    server.patch("/v1/settings", &json!({"allowed_hosts": []})).is(200);
    called(&server, "nas.home.example").fails_with(403);
}

#[test]
fn what_is_wrong_with_settings_is_named_and_changes_nothing() {
    let server = Server::start();
    let before = server.get("/v1/settings").is(200);
    let patch = |body: Value| server.patch("/v1/settings", &body);
    let hosts = json!(["good.example", "http://nas/", "a b"]);
    let answer = patch(json!({"allowed_hosts": hosts}));
    answer.blames("allowed_hosts.1");
    assert_eq!(answer.blames("allowed_hosts.2")["value"], "a b");
    patch(json!({"log_level": "loud"})).blames("log_level");
    patch(json!({"colour": "red"})).blames("colour");
    let after = server.get("/v1/settings").is(200);
    assert_eq!(after["allowed_hosts"], before["allowed_hosts"]);
    assert_eq!(after["log_level"], before["log_level"]);
}

#[test]
fn more_is_logged_from_the_moment_that_somebody_says_so() {
    let server = Server::on(&Catchment::new().env("CATCHMENT_LOG", "error"));
    let id = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    let before = id(&server.get("/v1/namespaces"));
    let changed = server.patch("/v1/settings", &json!({"log_level": "info"})).is(200);
    assert_eq!(changed["log_level"], "info");
    let after = id(&server.get("/v1/namespaces"));
    let log = poll_until("the log", Duration::from_secs(10), || {
        Some(server.log()).filter(|log| log.contains(&after))
    });
    assert!(!log.contains(&before), "{log}");
}

#[test]
fn a_new_token_is_worth_what_the_old_one_was_and_that_is_worth_nothing() {
    let home = Catchment::new();
    let mut server = Server::on(&home);
    let old = server.token.clone();
    let new = server.post("/v1/settings/token/rotate", &json!({})).is(200)["token"].clone();
    let new = new.as_str().unwrap().to_owned();
    assert_ne!(new, old);
    server.get("/v1/settings").fails_with(401);
    server.token = new.clone();
    server.get("/v1/settings").is(200);
    let file = home.data_dir().join("token");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), new);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(home.run(&["token"]).exits(0).stdout().trim(), new);
    server.stop();
    // The token is read from its file.
    Server::on(&home).get("/v1/settings").is(200);
}

#[test]
fn a_token_of_the_environment_is_changed_there_alone() {
    let mut server = Server::on(&Catchment::new().env("CATCHMENT_TOKEN", "of the environment"));
    server.token = "of the environment".to_owned();
    assert_eq!(server.get("/v1/settings").is(200)["token_from_environment"], true);
    let refused = server.post("/v1/settings/token/rotate", &json!({}));
    assert!(refused.fails_with(409)["message"].as_str().unwrap().contains("CATCHMENT_TOKEN"));
    server.get("/v1/settings").is(200);
}
