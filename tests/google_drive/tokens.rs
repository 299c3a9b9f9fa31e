//! Page tokens and tokens of the feed that Google refuses, again and again within one run: what was
//! listed before is neither lost nor downloaded twice.

use serde_json::json;

use crate::{
    counted,
    fake_drive::FakeDrive,
    synced::Fixture,
    syncs::{credentials, home, reports},
};

fn tokens(tokens: &[&str]) -> Vec<String> {
    tokens.iter().map(|token| (*token).to_owned()).collect()
}

fn made(drive: &FakeDrive, place: &str) -> Fixture {
    let fixture = Fixture::made(&home(drive), "google_drive", &credentials(), place);
    drive.requests();
    fixture
}

#[test]
fn several_page_tokens_that_are_refused_within_one_pass_begin_its_listing_anew() {
    // Of the drive, and of its folders: 26 and 24 items in pages of ten. The listing begins four
    // times, and gets to the second, the third, the second and the last page.
    for (place, lists) in [("root", 2 + 3 + 2 + 3), ("/Reports", 1 + 2 + 3 + 2 + 3)] {
        let drive = FakeDrive::start();
        reports(&drive, 24);
        let fixture = made(&drive, place);
        drive.state().refused_page_tokens = tokens(&["page-10", "page-20", "page-10"]);

        let job = fixture.run();

        assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(24)));
        assert_eq!(drive.state().refused_page_tokens, [""; 0]);
        let counts = drive.counts();
        assert_eq!((counts["list"], counts["download"]), (lists, 24), "{place}: {counts:?}");
        assert_eq!(fixture.paths().len(), 24);
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]));
    }
}

#[test]
fn page_tokens_that_are_always_refused_fail_the_run_and_remove_nothing() {
    for place in ["root", "/Reports"] {
        let drive = FakeDrive::start();
        reports(&drive, 24);
        let fixture = made(&drive, place);
        drive.state().refused_page_tokens = vec!["page-10".to_owned(); 100];
        assert_eq!(fixture.run()["status"], "failed", "{place}");
        assert!(drive.requests().len() < 50, "it does not go on for ever");
        drive.state().refused_page_tokens.clear();
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(fixture.paths().len(), 24);
    }
}

#[test]
fn a_token_of_the_feed_that_is_refused_at_any_page_costs_a_listing_and_loses_nothing() {
    for page in 0..3 {
        let drive = FakeDrive::start();
        let folder = reports(&drive, 5);
        let fixture = made(&drive, "root");
        fixture.run();
        let before = fixture.objects();
        let behind = drive.state().log.len();
        for number in 5..30 {
            drive.file(&folder, &format!("{number:03}.txt"), format!("content {number}"));
        }
        drive.delete(before.keys().next().unwrap());
        drive.state().refused_page_tokens = vec![format!("feed-{}", behind + 10 * page)];
        drive.requests();

        assert_eq!(fixture.run()["status"], "completed");

        let counts = drive.counts();
        let expected = [("changes", page + 1 + 1), ("startPageToken", 1), ("download", 25)];
        for (kind, count) in expected {
            assert_eq!(counts[kind], count, "page {page}: {counts:?}");
        }
        let after = fixture.objects();
        assert_eq!(after.len(), 29);
        assert!(before.iter().skip(1).all(|(file, object)| after[file] == *object));
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]), "the new token is good");
    }
}

#[test]
fn tokens_of_the_feed_that_are_refused_several_times_in_one_run_end_in_a_full_pass() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 5);
    let fixture = made(&drive, "root");
    fixture.run();
    let behind = drive.state().log.len();
    for number in 5..15 {
        drive.file(&folder, &format!("{number:03}.txt"), format!("content {number}"));
    }
    let now = drive.state().log.len();
    // That of the changes pass, and those with which two full passes follow what happened
    // meanwhile.
    drive.state().refused_page_tokens =
        vec![format!("feed-{behind}"), format!("feed-{now}"), format!("feed-{now}")];
    drive.requests();

    let job = fixture.run();

    assert_eq!(job["status"], "completed", "{job}");
    let counts = drive.counts();
    assert_eq!((counts["startPageToken"], counts["download"]), (3, 10), "{counts:?}");
    assert_eq!(fixture.paths().len(), 15);
}

#[test]
fn tokens_of_the_feed_that_cannot_be_sent_back_cost_a_listing_and_lose_nothing() {
    for long in ["startPageToken", "newStartPageToken", "nextPageToken"] {
        let drive = FakeDrive::start();
        let folder = reports(&drive, 5);
        let fixture = made(&drive, "root");
        drive.state().long_tokens.insert(long);
        for number in 5..8 {
            // More than a page of changes.
            for file in 0..12 {
                drive.file(&folder, &format!("{number} {file}"), format!("{number} {file}"));
            }
            assert_eq!(fixture.run()["status"], "completed", "{long}");
            let files = 5 + 12 * (number - 4);
            assert_eq!(fixture.paths().len(), files, "{long}");
        }
        drive.delete(fixture.objects().keys().next().unwrap());
        drive.state().long_tokens.clear();
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(fixture.paths().len(), 5 + 12 * 3 - 1, "{long}");
        drive.requests();
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]), "{long}: the new token is good");
    }
}

#[test]
fn a_page_token_that_cannot_be_sent_back_fails_the_run_with_the_reason_and_removes_nothing() {
    for place in ["root", "/Reports"] {
        let drive = FakeDrive::start();
        reports(&drive, 24);
        let fixture = made(&drive, place);
        assert_eq!(fixture.run()["status"], "completed");
        drive.state().long_tokens.insert("page");
        let before = fixture.jobs().len();
        let full = format!("{}/trigger?full_sync=true", fixture.sync);
        fixture.server.post(&full, &json!({})).is(200);
        let job = fixture.job_after(before);
        assert_eq!(job["status"], "failed", "{place}");
        assert!(job["error"].as_str().unwrap().contains("it has 100008 bytes"), "{job}");
        assert_eq!(fixture.paths().len(), 24);
    }
}
