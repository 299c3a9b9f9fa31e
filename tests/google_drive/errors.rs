//! What Google refuses, as a person meets it: whose failure it is, what it is called, and what is
//! asked for again. Through the built program and its API.

use std::time::Duration;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    fake_drive::{DOCUMENT, FakeDrive, Large, ROOT},
    support::catchment::Catchment,
    synced::Fixture,
    syncs::{credentials, home},
};

/// A drive with two files, and its sync, which has not run.
fn two_files() -> (FakeDrive, Fixture) {
    two_files_on(home)
}

/// The same on an installation that this makes.
fn two_files_on(home: impl Fn(&FakeDrive) -> Catchment) -> (FakeDrive, Fixture) {
    let drive = FakeDrive::start();
    drive.file(ROOT, "one.txt", "one");
    drive.file(ROOT, "two.txt", "two");
    let fixture = Fixture::made(&home(&drive), "google_drive", &credentials(), "root");
    drive.requests();
    (drive, fixture)
}

fn connection(fixture: &Fixture) -> Value {
    let id = fixture.status()["connection_id"].as_str().unwrap().to_owned();
    fixture.server.get(&format!("/v1/organizations/connections/{id}")).is(200)
}

#[test]
fn what_google_refuses_of_one_file_is_that_files_dead_letter_and_the_others_arrive() {
    let drive = FakeDrive::start();
    let mut expected = Vec::new();
    for (reason, kind) in [
        ("insufficientFilePermissions", "permission_denied"),
        ("cannotDownloadFile", "permission_denied"),
        ("cannotDownloadAbusiveFile", "permission_denied"),
        ("fileNotDownloadable", "unsupported_type"),
    ] {
        let file = drive.file(ROOT, reason, reason);
        drive.state().refused_files.insert(file, (403, reason));
        expected.push((reason.to_owned(), kind.to_owned()));
    }
    let document = |name: &str| drive.add(ROOT, name, json!({ "mimeType": DOCUMENT }), vec![1]);
    for reason in ["cannotExportFile", "fileNotExportable"] {
        let document = document(reason);
        drive.state().refused_files.insert(document, (403, reason));
        expected.push((format!("{reason}.docx"), "unsupported_type".to_owned()));
    }
    let large = document("large");
    drive.state().large.insert(large, Large::NotAtAll);
    expected.push(("large.docx".to_owned(), "too_large".to_owned()));
    let locked = drive.file(ROOT, "locked", "never asked for");
    drive.change(&locked, json!({ "capabilities": { "canDownload": false } }));
    expected.push(("locked".to_owned(), "permission_denied".to_owned()));
    drive.file(ROOT, "good.txt", "good");
    drive.file(ROOT, "empty.txt", "");
    let fixture = Fixture::made(&home(&drive), "google_drive", &credentials(), "root");
    drive.requests();

    fixture.run();

    let mut letters = fixture.letters();
    letters.sort();
    expected.sort();
    assert_eq!(letters, expected);
    assert_eq!(fixture.paths(), ["empty.txt", "good.txt"]);
    let asked = drive.requests();
    let downloads: Vec<_> = asked.iter().filter(|seen| seen.kind == "download").collect();
    assert_eq!(downloads.len(), 4 + 1, "once each, and neither the locked nor the empty one");
    let list = fixture.server.post(&format!("{}/dlq", fixture.sync), &json!({})).is(200);
    assert!(list.to_string().contains("acknowledge_abuse"), "{list}");
}

#[test]
fn a_file_whose_own_quota_is_spent_is_due_in_a_day() {
    let (drive, fixture) = two_files();
    let spent = drive.file(ROOT, "popular.txt", "popular");
    drive.state().refused_files.insert(spent, (403, "downloadQuotaExceeded"));
    fixture.run();
    assert_eq!(fixture.letters(), [("popular.txt".to_owned(), "rate_limited".to_owned())]);
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
    let list = fixture.server.post(&format!("{}/dlq", fixture.sync), &json!({})).is(200);
    let letter = &list["results"][0];
    let due: jiff::Timestamp = letter["next_retry_at"].as_str().unwrap().parse().unwrap();
    let hours = due.duration_since(jiff::Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((23.5..24.5).contains(&hours), "{letter}");
}

#[test]
fn what_is_spent_for_the_day_holds_the_connection_until_midnight_in_california() {
    // At noon there: shortly before midnight a run would wait for it.
    let now = jiff::Timestamp::now().in_tz("America/Los_Angeles").unwrap();
    let noon = now.date().at(12, 0, 0, 0).in_tz("America/Los_Angeles").unwrap();
    let minutes = noon.timestamp().duration_since(now.timestamp()).as_mins();
    let clock = format!("{minutes:+}m");
    // Requests, and bytes.
    for (kind, reason) in [("list", "dailyLimitExceeded"), ("download", "quotaExceeded")] {
        let (drive, fixture) = two_files_on(|drive| home(drive).under_clock(&clock));
        drive.state().faults.push((kind, 99, 403, reason));
        assert_eq!(fixture.run()["status"], "interrupted");
        let status = fixture.status();
        assert_eq!(
            (&status["status"], &status["consecutive_failures"]),
            (&json!("INTERRUPTED"), &json!(0))
        );
        let due: jiff::Timestamp = status["next_sync_at"].as_str().unwrap().parse().unwrap();
        let pacific = due.in_tz("America/Los_Angeles").unwrap();
        assert_eq!(pacific.date(), now.date().tomorrow().unwrap(), "{status}");
        assert_eq!((pacific.hour(), pacific.minute()), (0, 0), "{status}");
        assert_eq!(fixture.letters(), []);
        assert_eq!(connection(&fixture)["status"], "ACTIVE");
        // A run that somebody asks for meanwhile asks Google for nothing.
        drive.requests();
        assert_eq!(fixture.run()["status"], "interrupted");
        assert_eq!(drive.requests(), []);
    }
}

#[test]
fn what_the_account_or_the_project_lacks_ends_the_run_with_the_way_out() {
    let (drive, fixture) = two_files();
    for (reason, way_out) in [
        ("accessNotConfigured", "https://console.cloud.google.com/apis/library/drive"),
        ("insufficientPermissions", "sign in again"),
        ("domainPolicy", "administrator"),
    ] {
        drive.state().faults.push(("startPageToken", 1, 403, reason));
        let job = fixture.run();
        assert_eq!(job["status"], "failed", "{job}");
        assert!(job["error"].as_str().unwrap().contains(way_out), "{job}");
        assert_eq!(fixture.letters(), []);
    }
    assert_eq!(fixture.run()["status"], "completed", "once it is put right");
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
}

#[test]
fn an_access_token_that_is_refused_is_renewed_once_and_then_it_is_the_connections_failure() {
    let (drive, fixture) = two_files();
    drive.expire_token();
    assert_eq!(fixture.run()["status"], "completed", "a new token is good");
    drive.requests();
    drive.state().refuses_tokens = true;
    let job = fixture.run();
    assert_eq!(job["status"], "failed", "{job}");
    let statuses: Vec<u16> = drive.requests().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [401, 401], "the request, and its one repetition");
    assert_eq!(fixture.paths().len(), 2);
    assert_eq!(fixture.letters(), []);
    let connection = connection(&fixture);
    assert!(connection["last_error"].as_str().unwrap().contains("refused"), "{connection}");
}

#[test]
fn a_sign_in_that_has_ended_suspends_the_connection_which_says_to_sign_in_again() {
    let (drive, fixture) = two_files();
    assert_eq!(fixture.run()["status"], "completed");
    drive.expire_token();
    drive.state().refuse_sign_in = Some("invalid_grant");
    let job = fixture.run();
    assert_eq!(job["status"], "failed");
    assert!(job["error"].as_str().unwrap().contains("sign in again"), "{job}");
    assert_eq!(fixture.letters(), [], "no file is to blame");
    let connection = connection(&fixture);
    assert_eq!(connection["status"], "SUSPENDED", "{connection}");
    assert!(connection["last_error"].as_str().unwrap().contains("sign in again"), "{connection}");
    fixture.server.post(&format!("{}/trigger", fixture.sync), &json!({})).fails_with(409);
    assert_eq!(fixture.paths().len(), 2, "nothing is removed");
}

#[test]
fn a_file_that_is_gone_when_it_is_fetched_is_no_failure() {
    let (drive, fixture) = two_files();
    let gone = drive.file(ROOT, "gone.txt", "gone");
    drive.state().refused_files.insert(gone.clone(), (404, "notFound"));
    drive.state().hidden.insert(gone);
    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(fixture.letters(), []);
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
}

#[test]
fn a_place_that_is_gone_removes_nothing() {
    let drive = FakeDrive::start();
    let reports = drive.folder(ROOT, "Reports");
    drive.file(&reports, "one.txt", "one");
    let fixture = Fixture::made(&home(&drive), "google_drive", &credentials(), "/Reports");
    assert_eq!(fixture.run()["status"], "completed");
    drive.delete(&reports);
    let job = fixture.run();
    assert_eq!(job["status"], "failed", "{job}");
    assert_eq!(fixture.paths(), ["one.txt"]);
    let full = format!("{}/trigger?full_sync=true", fixture.sync);
    let before = fixture.jobs().len();
    fixture.server.post(&full, &json!({})).is(200);
    assert_eq!(fixture.job_after(before)["status"], "failed", "nor does a full pass");
    assert_eq!(fixture.paths(), ["one.txt"]);
}

#[test]
fn an_incomplete_listing_fails_the_pass_and_removes_nothing() {
    let (drive, fixture) = two_files();
    assert_eq!(fixture.run()["status"], "completed");
    drive.requests();
    drive.state().searches_incompletely = true;
    let full = format!("{}/trigger?full_sync=true", fixture.sync);
    let before = fixture.jobs().len();
    fixture.server.post(&full, &json!({})).is(200);
    assert_eq!(fixture.job_after(before)["status"], "failed");
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
    drive.state().searches_incompletely = false;
    drive.requests();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts()["list"], 1, "it is listed again");
}

#[test]
fn an_empty_page_with_a_token_is_not_the_end() {
    let (drive, fixture) = two_files();
    drive.state().begins_with_an_empty_page = true;
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
    assert_eq!(drive.counts()["list"], 2);
}

#[test]
fn a_download_that_is_cut_short_is_fetched_again() {
    let (drive, fixture) = two_files();
    drive.state().cuts_downloads = 1;
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
    assert_eq!(drive.counts()["download"], 3);
    assert!(fixture.objects().values().all(|object| object.path.starts_with(&object.content)));
}

/// The credentials of a service account, with a key of its own.
fn service_account() -> Value {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = BASE64_STANDARD.encode(der.as_ref());
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "key-1",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n"),
        "client_email": "robot@p.iam.gserviceaccount.com", "client_id": "123456",
        // What else is in a key file as it is downloaded.
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/robot",
        "universe_domain": "googleapis.com",
    })
}

#[test]
fn a_service_account_that_may_not_act_for_people_names_the_delegation_that_it_needs() {
    let drive = FakeDrive::start();
    drive.file(ROOT, "one.txt", "one");
    let fixture = Fixture::made(&home(&drive), "google_drive", &service_account(), "root");
    assert_eq!(fixture.run()["status"], "completed");
    // Another person is another token.
    let place = fixture.status()["connection_id"].as_str().unwrap().to_owned();
    let place = format!("/v1/organizations/connections/{place}");
    let acts = json!({
        "provider_config": { "impersonate_user": "ada@example.org" }, "test_before_save": false,
    });
    fixture.server.patch(&place, &acts).is(200);
    drive.state().refuse_sign_in = Some("unauthorized_client");
    let names_it = |text: &Value| {
        let words = ["ada@example.org", "delegation", "123456", "auth/drive.readonly"];
        words.iter().all(|word| text.as_str().is_some_and(|text| text.contains(word)))
    };

    let job = fixture.run();

    assert_eq!(job["status"], "failed", "{job}");
    assert!(names_it(&job["error"]), "{job}");
    let health = connection(&fixture);
    assert!(names_it(&health["last_error"]), "{health}");
    assert_eq!(health["status"], "ACTIVE", "it is put right at Google, not here");
    let test = fixture.server.post(&format!("{place}/test"), &json!({})).is(200);
    assert!(test["success"] == false && names_it(&test["message"]), "{test}");
    assert_eq!((fixture.letters(), fixture.paths()), (Vec::new(), vec!["one.txt".to_owned()]));

    drive.state().refuse_sign_in = None;
    assert_eq!(fixture.run()["status"], "completed", "once it is granted");
    assert_eq!(connection(&fixture)["last_error"], Value::Null);
}

#[test]
fn the_test_of_a_service_account_says_with_whom_to_share_the_folder() {
    let drive = FakeDrive::start();
    let email = "robot@p.iam.gserviceaccount.com";
    drive.state().account = email.to_owned();
    let fixture = Fixture::made(&home(&drive), "google_drive", &service_account(), "root");
    let id = fixture.status()["connection_id"].as_str().unwrap().to_owned();
    let test = format!("/v1/organizations/connections/{id}/test");
    let test = fixture.server.post(&test, &json!({})).is(200);
    assert_eq!(test["success"], true, "{test}");
    let words = format!("share the folder with {email}");
    assert!(test["message"].as_str().unwrap().contains(&words), "{test}");
}

#[test]
fn bursts_of_server_errors_are_waited_out_and_nobody_is_blamed_for_them() {
    let (drive, fixture) = two_files();
    // The server has an access token already.
    drive.expire_token();
    drive.state().faults = vec![
        ("token", 2, 503, "unavailable"),
        ("startPageToken", 1, 500, "internalError"),
        ("list", 2, 502, "badGateway"),
        ("list", 1, 403, "userRateLimitExceeded"),
        ("changes", 1, 503, "backendError"),
        ("download", 1, 403, "rateLimitExceeded"),
        ("download", 3, 504, "gatewayTimeout"),
    ];
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_failed"]), (&json!("completed"), &json!(0)), "{job}");
    assert!(drive.state().faults.iter().all(|fault| fault.1 == 0), "all of it has happened");
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
    assert_eq!(fixture.letters(), []);
    let health = connection(&fixture);
    assert_eq!((&health["status"], &health["last_error"]), (&json!("ACTIVE"), &Value::Null));
}

#[test]
fn an_outage_whose_end_google_names_ends_the_run_without_blame_until_then() {
    for kind in ["token", "startPageToken", "list", "download"] {
        let (drive, fixture) = two_files();
        drive.expire_token();
        drive.state().faults.push((kind, 99, 503, "backendError after 3600"));

        let job = fixture.run();

        assert_eq!(job["status"], "interrupted", "{kind}: {job}");
        let status = fixture.status();
        assert_eq!(status["status"], "INTERRUPTED", "{kind}: {status}");
        assert_eq!(status["consecutive_failures"], 0, "{kind}: {status}");
        let due: jiff::Timestamp = status["next_sync_at"].as_str().unwrap().parse().unwrap();
        let left = due.duration_since(jiff::Timestamp::now());
        assert!((50..=60).contains(&left.as_mins()), "{kind}: {status}");
        let notices = status["notices"].as_array().unwrap();
        let waits = |notice: &&Value| notice["code"] == "waiting_for_provider";
        let message = notices.iter().find(waits).expect("it says so")["message"].to_string();
        assert!(message.contains("makes us wait until 20"), "{kind}: {message}");
        assert_eq!(fixture.letters(), [], "{kind}");
        let health = connection(&fixture);
        let blame = (&health["status"], &health["consecutive_failures"]);
        assert_eq!(blame, (&json!("ACTIVE"), &json!(0)), "{kind}: {health}");
    }
}

#[test]
fn a_file_that_google_cannot_deliver_while_it_delivers_others_fails_alone() {
    let (drive, fixture) = two_files();
    let broken = drive.file(ROOT, "broken.txt", "broken");
    drive.state().refused_files.insert(broken.clone(), (500, "internalError"));
    let began = std::time::Instant::now();
    fixture.run();
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
    let kind = "download_failed".to_owned();
    assert_eq!(fixture.letters(), [("broken.txt".to_owned(), kind)]);
    assert_eq!(fixture.paths(), ["one.txt", "two.txt"]);
    let seen = drive.requests();
    let tries = seen.iter().filter(|seen| seen.id == broken).count();
    let whether_it_is_up = seen.iter().filter(|seen| seen.kind == "about").count();
    assert_eq!((tries, whether_it_is_up), (1 + 5, 1));
    assert_eq!(connection(&fixture)["status"], "ACTIVE");
}
