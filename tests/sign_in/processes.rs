//! Real processes that share a data directory and one sign-in, whose refresh token is good for one
//! use only.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    catchment::{Catchment, poll_until},
    fake_authority::PUBLIC_CLIENT,
    fake_graph::{FakeGraph, Fault, Kind},
    wire::Reply,
};

const TEST: [&str; 3] = ["connections", "test", "Work"];

/// An installation with the connection "Work" of a person who signed in.
fn home(graph: &FakeGraph) -> Catchment {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), graph.hosts()).unwrap();
    let credentials = json!({
        "type": "delegated", "tenant_id": "common", "client_id": PUBLIC_CLIENT,
        "refresh_token": graph.authority.refresh_token(),
    });
    let file = home.write_home("credentials.json", credentials.to_string());
    let connect = ["connect", "sharepoint", "--name", "Work", "--no-test", "--credentials"];
    let connect: Vec<&str> = connect.into_iter().chain([file.to_str().unwrap()]).collect();
    home.run(&connect).exits(0);
    home
}

#[test]
fn two_processes_that_renew_one_rotated_token_at_once_both_get_in() {
    let graph = FakeGraph::start();
    let home = home(&graph);
    graph.authority.take(Duration::from_millis(200));
    for _ in 0..3 {
        let both = [home.start(&TEST), home.start(&TEST)];
        for process in both {
            process.ends().exits(0).says(&["succeeded"]);
        }
    }
    assert_eq!((graph.authority.seen().len(), graph.authority.reused()), (6, 0));
}

#[test]
fn a_process_killed_between_storing_a_new_secret_and_using_its_token_loses_no_sign_in() {
    let graph = FakeGraph::start();
    let home = home(&graph);
    graph.inject(Fault::reply(Kind::Place, || Reply::Silence));
    let killed = home.start(&TEST);
    poll_until("the first use of the token", Duration::from_secs(60), || {
        (graph.count(Kind::Place) > 0).then_some(())
    });
    killed.kill();
    home.run(&TEST).exits(0);
    assert_eq!((graph.authority.seen().len(), graph.authority.reused()), (2, 0));
}

#[test]
fn a_connection_that_is_tested_before_it_is_stored_is_stored_with_the_secret_that_is_good_then() {
    let graph = FakeGraph::start();
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), graph.hosts()).unwrap();
    let credentials = json!({
        "type": "delegated", "tenant_id": "common", "client_id": PUBLIC_CLIENT,
        "refresh_token": graph.authority.refresh_token(),
    });
    let file = home.write_home("credentials.json", credentials.to_string());
    let connect = ["connect", "sharepoint", "--name", "Work", "--credentials"];
    let connect: Vec<&str> = connect.into_iter().chain([file.to_str().unwrap()]).collect();
    home.run(&connect).exits(0);
    home.run(&TEST).exits(0);
    assert_eq!((graph.authority.seen().len(), graph.authority.reused()), (2, 0));
}

#[test]
fn a_sign_in_that_was_taken_back_says_what_to_do() {
    let graph = FakeGraph::start();
    let home = home(&graph);
    graph.authority.revoke_all();
    let run = home.run(&TEST).exits(1).says(&["sign in again"]);
    assert!(!run.stdout().contains("canary"), "{run}");
}
