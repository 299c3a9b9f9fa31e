//! One run of a sync at a time; the other is told who is at it.

use std::process::Command;

use crate::support::{
    catchment::{Catchment, Running},
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
    trees::Tree,
    wire::Delivery,
};

const SOURCE: &str = "s3://catchment-test";

/// A run that holds its lease and stands still.
fn standing_run() -> (FakeS3, Catchment, Running) {
    let s3 = FakeS3::start();
    for number in 0..5 {
        s3.put(format!("key {number}"), "x".repeat(100));
    }
    s3.inject(Fault::delivery(On::AnyGet, Delivery::StallAfter(10)));
    let catchment = Catchment::reaching(&s3.endpoint());
    let run = catchment.start_sync(SOURCE, &[] as &[&str]);
    s3.wait_until("the first read", |seen| seen.iter().any(|seen| seen.kind == Kind::Get));
    (s3, catchment, run)
}

#[test]
fn a_second_run_of_the_same_sync_says_who_holds_the_lease() {
    let (s3, catchment, first) = standing_run();
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();

    let second = catchment.sync(SOURCE);

    let second = second.exits(1).says(&[&hostname, &first.pid().to_string(), "since"]);
    assert_eq!(second.summary().discovered, 0);
    s3.heal();
    first.kill();
}

#[test]
fn the_lease_of_a_killed_run_is_taken_over_at_once() {
    let (s3, catchment, first) = standing_run();
    first.kill();
    s3.heal();

    let run = catchment.sync(SOURCE).exits(0);

    assert!(run.took < std::time::Duration::from_secs(10), "{run}");
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn the_status_shows_a_killed_run_as_interrupted_and_one_under_way_as_running() {
    let (_s3, catchment, first) = standing_run();
    let pid = first.pid().to_string();
    catchment.run(&["status"]).exits(0).says(&["is under way", &pid, "running"]);

    first.kill();

    let status = catchment.run(&["status"]).exits(0).says(&["interrupted"]).stdout();
    assert!(!status.contains("is under way") && !status.contains("running"), "{status}");
    let status = catchment.run(&["status", "--json"]).exits(0).events();
    assert_eq!(status[0]["syncs"][0]["locked_by"], serde_json::Value::Null);
}

#[test]
fn another_sync_runs_beside_it_in_the_same_data_directory() {
    let (s3, catchment, first) = standing_run();
    let tree = Tree::of_files("tree", 50);

    catchment.sync(tree.source()).exits(0);

    catchment.holds_exactly("tree", &tree.contents());
    s3.heal();
    first.kill();
}

#[test]
fn objects_can_be_read_during_a_run() {
    let (_s3, catchment, first) = standing_run();

    catchment.run(&["ls", BUCKET]).exits(0);
    catchment.run(&["status"]).exits(0).says(&[BUCKET]);

    first.kill();
}

#[test]
fn of_many_runs_at_once_only_one_does_the_work() {
    let tree = Tree::of_files("tree", 300);
    let catchment = Catchment::new();
    catchment.sync(Tree::of_files("another", 1).source()).exits(0);

    let runs: Vec<_> =
        (0..6).map(|_| catchment.start_sync(tree.source(), &[] as &[&str])).collect();
    let runs: Vec<_> = runs.into_iter().map(Running::ends).collect();

    assert!(runs.iter().all(|run| matches!(run.code(), Some(0 | 1))));
    let new: u64 = runs.iter().map(|run| run.summary().synced).sum();
    assert_eq!(new, 300, "each file becomes one object, once");
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn a_run_that_was_frozen_beyond_its_lease_commits_nothing_when_it_thaws() {
    let (s3, catchment, first) = standing_run();
    s3.accept_any_time();
    first.signal(rustix::process::Signal::STOP);
    s3.heal();

    // By the clock of the other one the lease has run out.
    catchment.at_time("+2m").sync(SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
    s3.change(|objects| objects.clear());
    s3.put("the only key", "left");
    catchment.at_time("+4m").sync_with(SOURCE, &["--max-delete", "100%"]).exits(0);

    first.signal(rustix::process::Signal::CONT);
    first.ends().exits(1).says(&["lease"]);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

/// The same command on a host of another name.
fn on_another_host(command: &Command) -> Command {
    let mut renamed = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        renamed.args(["--user", "--map-root-user"]);
    }
    renamed.args(["--uts", "sh", "-c", "hostname another-name && exec \"$0\" \"$@\""]);
    renamed.arg(command.get_program()).args(command.get_args());
    renamed.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    renamed.current_dir(command.get_current_dir().expect("a folder to work in"));
    renamed
}

#[test]
fn the_lease_of_a_killed_run_is_taken_over_at_once_by_a_host_that_got_another_name() {
    let (s3, catchment, first) = standing_run();
    first.kill();
    s3.heal();

    let endpoint = s3.endpoint().url;
    let command = catchment.command(&["sync", SOURCE, "--json", "--endpoint-url", &endpoint]);
    let ended = on_another_host(&command).output().unwrap();

    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{said}");
    catchment.holds_exactly(BUCKET, &s3.contents());
}
