//! Outages whose end nobody names: of Google, or of the network. A run waits ten minutes; then it
//! ends without blame, and goes on when it is due. The clock of these tests runs fast.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Account,
    fake_drive::{FakeDrive, ROOT, Seen},
    support::catchment::poll_until,
    synced::{DEADLINE, Fixture},
    syncs::{credentials, home},
    walk,
};

use catchment::{model::Shard, sources::SourceError};
use futures_util::TryStreamExt as _;

/// Server errors, or nothing at all.
fn break_off(drive: &FakeDrive, kind: &'static str, is_off: bool) {
    let mut state = drive.state();
    match kind {
        "network" => (state.is_off, state.off_after) = (is_off, None),
        kind => {
            state.faults.clear();
            if is_off {
                // Everything is down, not only this.
                state.faults.extend([(kind, 10_000, 503, "backendError")]);
                state.faults.extend([("about", 10_000, 503, "backendError")]);
            }
        }
    }
}

/// A run that meets an outage of that kind ends without blame, and goes on by itself.
fn is_waited_out(kind: &'static str) {
    let drive = FakeDrive::start();
    for number in 0..20 {
        drive.file(ROOT, &format!("{number:02}.txt"), format!("content {number}"));
    }
    // A minute is two seconds.
    let home = home(&drive).under_clock("+0 x30");
    let fixture = Fixture::made(&home, "google_drive", &credentials(), "root");
    drive.expire_token();
    if kind == "network" {
        // It goes off in the middle.
        drive.state().off_after = Some(10);
    } else {
        break_off(&drive, kind, true);
    }

    let job = fixture.run();

    assert_eq!(job["status"], "interrupted", "{kind}: {job}");
    let status = fixture.status();
    assert_eq!(status["status"], "INTERRUPTED", "{kind}: {status}");
    assert_eq!(status["consecutive_failures"], 0, "{kind}: {status}");
    assert!(status["next_sync_at"].is_string(), "{kind}: {status}");
    assert_eq!(fixture.letters(), [], "{kind}: no file is to blame");
    let id = status["connection_id"].as_str().unwrap();
    let health = fixture.server.get(&format!("/v1/organizations/connections/{id}")).is(200);
    let blame = (&health["status"], &health["consecutive_failures"], &health["last_error"]);
    assert_eq!(blame, (&json!("ACTIVE"), &json!(0), &Value::Null), "{kind}: {health}");

    break_off(&drive, kind, false);
    poll_until("the rest", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(100));
        (fixture.status()["status"] == "ACTIVE").then_some(())
    });
    assert_eq!(fixture.paths().len(), 20, "{kind}");
    assert_eq!(fixture.letters(), [], "{kind}");
    let seen = drive.requests();
    let is_whole = |seen: &&Seen| seen.kind == "download" && seen.status == 200;
    let downloads = seen.iter().filter(is_whole).count();
    assert!(downloads < 30, "{kind}: what had arrived is not fetched again");
}

#[test]
fn servers_that_fail_without_an_end_while_they_list_end_the_run_without_blame() {
    is_waited_out("list");
}

#[test]
fn servers_that_fail_without_an_end_while_they_deliver_end_the_run_without_blame() {
    is_waited_out("download");
}

#[test]
fn a_sign_in_server_that_fails_without_an_end_ends_the_run_without_blame() {
    is_waited_out("token");
}

#[test]
fn a_network_that_goes_off_in_the_middle_ends_the_run_without_blame() {
    is_waited_out("network");
}

#[tokio::test]
async fn a_network_that_is_off_is_waited_for_ten_minutes_and_the_connection_rests_after_that() {
    let drive = FakeDrive::start();
    drive.file(ROOT, "file", "x");
    let source = Account::of(&drive).open(&format!("root!{ROOT}")).await.unwrap();
    assert_eq!(walk(source.as_ref()).await.len(), 1);
    drop(drive);

    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let walked: Result<Vec<_>, _> = source.walk(&Shard::whole(), None).try_collect().await;

    let error = walked.unwrap_err();
    assert!(matches!(error, SourceError::Held { .. }), "{error:?}");
    let minutes = began.elapsed().as_secs() / 60;
    assert!((10..13).contains(&minutes), "{minutes} minutes");
    // Nothing is sent before that ends.
    let again: Result<Vec<_>, _> = source.walk(&Shard::whole(), None).try_collect().await;
    assert!(matches!(again, Err(SourceError::Held { .. })), "{again:?}");
    assert_eq!(began.elapsed().as_secs() / 60, minutes);
}
