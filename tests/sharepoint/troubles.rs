//! What goes wrong at Microsoft's end, and what becomes of it: sign-ins that end, records that lie,
//! files that change while they are read, listings that leave something out, refusals.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::poll_until,
        fake_authority::{CLIENT, SECRET},
        fake_graph::{DRIVE, FakeGraph, Fault, Kind},
        wire::Answer,
    },
    synced::{DEADLINE, Fixture, SYNCS},
    syncs::{asked, credentials, home, id_of, reports, synced},
};

const CONNECTION: &str = "/v1/organizations/connections/Work";

/// A sync of the whole drive whose every run is a full pass.
fn always_in_full(graph: &FakeGraph) -> Fixture {
    let home = home(graph);
    let config = format!("{}[limits]\nfull_pass_hours = 0\n", graph.hosts());
    std::fs::write(home.data_dir().join("config.toml"), config).unwrap();
    let fixture = Fixture::made(&home, "sharepoint", &credentials(graph), "/");
    graph.forget();
    fixture
}

fn application() -> Value {
    json!({ "type": "client_credentials", "tenant_id": "t", "client_id": CLIENT,
            "client_secret": SECRET })
}

/// The connection is suspended after one run, with words that say what to do, and starts no other.
fn is_suspended_at_once(fixture: &Fixture, words: &[&str]) {
    let job = fixture.run();
    assert_eq!(job["status"], "failed", "{job}");
    let connection = fixture.server.get(CONNECTION).is(200);
    assert_eq!(connection["status"], "SUSPENDED", "{connection}");
    let refused = fixture.server.post(&format!("{}/trigger", fixture.sync), &json!({}));
    let refused = refused.fails_with(409).to_string();
    for word in words {
        assert!(connection["last_error"].as_str().unwrap().contains(word), "{connection}");
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert!(!connection.to_string().contains("canary"), "{connection}");
}

#[test]
fn an_expired_secret_suspends_the_connection_at_once_and_says_where_to_make_a_new_one() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "a");
    let place = "/users/ada@contoso.example";
    let fixture = Fixture::made(&home(&graph), "sharepoint", &application(), place);
    assert_eq!(fixture.run()["status"], "completed");
    graph.authority.expire_access_tokens();
    let before = graph.authority.seen().len();
    let expired = json!({
        "error": "invalid_client", "error_codes": [7_000_222],
        "error_description": "AADSTS7000222: The provided client secret keys are expired.",
    });
    graph.authority.refuse_next(401, expired);
    is_suspended_at_once(&fixture, &["has expired", "https://entra.microsoft.com", "new secret"]);
    assert_eq!(graph.authority.seen().len(), before + 1, "nothing was tried again");
    assert_eq!(fixture.paths(), ["a.txt"]);
}

#[test]
fn consent_that_is_taken_back_suspends_the_connection_at_once_and_says_sign_in_again() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "a");
    let fixture = synced(&graph, "/");
    assert_eq!(fixture.run()["status"], "completed");
    graph.authority.expire_access_tokens();
    graph.authority.revoke_all();
    is_suspended_at_once(&fixture, &["sign in again"]);
    assert_eq!((fixture.paths(), fixture.letters()), (vec!["a.txt".to_owned()], Vec::new()));
}

#[test]
fn every_refusal_that_only_a_person_can_mend_suspends_the_connection_and_says_how() {
    for (code, error, words) in [
        (50_173, "invalid_grant", "sign in again"),
        (50_076, "interaction_required", "sign in again"),
        (65_001, "consent_required", "sign in again"),
        (7_000_215, "invalid_client", "new secret"),
        (7_000_222, "invalid_client", "new secret"),
    ] {
        let graph = FakeGraph::start();
        let fixture = synced(&graph, "/");
        fixture.run();
        graph.authority.expire_access_tokens();
        let said = format!("AADSTS{code}: the words of Microsoft");
        let body = json!({ "error": error, "error_codes": [code], "error_description": said });
        graph.authority.refuse_next(400, body);
        is_suspended_at_once(&fixture, &[words, &format!("AADSTS{code}")]);
    }
}

#[test]
fn a_challenge_that_a_new_token_does_not_meet_suspends_the_connection() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "a");
    let fixture = synced(&graph, "/");
    fixture.run();
    graph.forget();
    let challenge = || {
        let body = json!({ "error": { "code": "InvalidAuthenticationToken",
            "message": "Continuous access evaluation resulted in challenge" } });
        let header =
            "Bearer authorization_uri=\"x\", error=\"insufficient_claims\", claims=\"e30=\"";
        Answer::new(401, body.to_string()).header("WWW-Authenticate", header).into()
    };
    graph.inject(Fault::reply(Kind::Delta, challenge).times(2));
    is_suspended_at_once(&fixture, &["sign in again"]);
    assert_eq!(graph.seen().len(), 2, "one renewal, and one repeat");
}

#[test]
fn a_missing_permission_is_named_when_a_connection_is_tested() {
    let graph = FakeGraph::start();
    let fixture = synced(&graph, "/");
    let test = || fixture.server.post(&format!("{CONNECTION}/test"), &json!({}));
    assert_eq!(test().is(200)["success"], true);
    graph.inject(Fault::error(Kind::Place, 403, "accessDenied"));
    let failed = test().text();
    assert!(failed.contains("Files.Read.All") && failed.contains("Sites.Selected"), "{failed}");
}

#[test]
fn an_application_reads_the_drive_of_anybody() {
    let graph = FakeGraph::start();
    reports(&graph, 3);
    let place = "/users/ada@contoso.example/Reports";
    let fixture = Fixture::made(&home(&graph), "sharepoint", &application(), place);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["2026/000.txt", "2026/001.txt", "2026/002.txt"]);
}

#[test]
fn a_personal_drive_is_checked_by_its_sha1_and_known_by_its_id_in_any_spelling() {
    let graph = FakeGraph::start();
    let root = graph.library("0abcdef012345678", "OneDrive");
    let id = graph.file(&root, "a.txt", "abc");
    graph.change(&id, |item| {
        let hash = "A9993E364706816ABA3E25717850C26C9CD0D89D";
        item.facets = json!({
            "file": { "mimeType": "text/plain", "hashes": { "sha1Hash": hash } },
            "parentReference": { "driveId": "ABCDEF012345678", "id": root },
        });
    });
    let fixture = synced(&graph, &format!("ABCDEF012345678!{root}"));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(asked(&graph), [1, 1, 0]);
    let objects = fixture.objects();
    assert_eq!(objects[&format!("0abcdef012345678!{id}")].content, "abc");
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!((fixture.objects(), asked(&graph)), (objects, [1, 0, 0]));
}

#[test]
fn a_file_of_which_the_record_says_too_many_bytes_is_taken_as_two_downloads_agree() {
    let graph = FakeGraph::start();
    let id = graph.file("root", "a.docx", "content");
    graph.change(&id, |item| item.size_lie = 12);
    let fixture = synced(&graph, "/");
    assert_eq!(fixture.run()["status"], "completed");
    // A page, two downloads, and a look whether it has changed meanwhile.
    assert_eq!((graph.count(Kind::Item), asked(&graph)), (1, [1, 2, 0]));
    assert_eq!(fixture.objects()[&id_of(&id)].content, "content");
    let object = fixture.models()["a.docx"].clone();
    assert!(object.to_string().contains("size_mismatch"), "{object}");
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 0]);
}

#[test]
fn a_file_whose_downloads_differ_from_each_other_fails_alone() {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let graph = FakeGraph::start();
    graph.file("root", "a.bin", "content");
    let fixture = synced(&graph, "/");
    let other =
        || Answer::new(200, format!("{:09}", NUMBER.fetch_add(1, Ordering::Relaxed))).into();
    graph.inject(Fault::reply(Kind::Download, other).times(1000));
    let job = fixture.run();
    assert_eq!(job["files_failed"], 1, "{job}");
    assert_eq!(fixture.letters(), [("a.bin".to_owned(), "checksum_mismatch".to_owned())]);
}

#[test]
fn a_file_that_changed_after_its_listing_is_not_taken_for_a_wrong_record() {
    let graph = FakeGraph::start();
    let id = graph.file("root", "a.txt", "as it was listed");
    let fixture = synced(&graph, "/");
    graph.swap_at_download(&id, 0, "as it is now");
    assert_eq!(fixture.run()["status"], "completed");
    let object = fixture.models()["a.txt"].clone();
    assert!(!object.to_string().contains("size_mismatch"), "{object}");
    assert_eq!(fixture.objects()[&id_of(&id)].content, "as it is now");
    // The second look at the item finds the change, and the next one what is there now.
    assert_eq!((graph.count(Kind::Item), asked(&graph)), (2, [1, 2, 0]));
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 0], "the change is known already");
}

#[test]
fn parts_of_a_file_that_changes_while_they_are_fetched_are_not_mixed() {
    let graph = FakeGraph::start();
    let (before, after) = (vec![b'1'; 17 << 20], vec![b'2'; 17 << 20]);
    let id = graph.file("root", "large", before);
    let fixture = synced(&graph, "/");
    graph.swap_at_download(&id, 1, after.clone());
    assert_eq!(fixture.run()["status"], "completed");
    assert!(fixture.bytes("large") == after, "all of it is of the new version");
    let object = fixture.models()["large"].clone();
    assert!(!object.to_string().contains("size_mismatch"), "{object}");
}

#[test]
fn hashes_that_appear_after_the_download_cost_no_second_one() {
    let graph = FakeGraph::start();
    let ids = [graph.file("root", "a.txt", "content"), graph.file("root", "empty", "")];
    for id in &ids {
        graph.change(id, |item| item.has_hash = false);
    }
    let fixture = always_in_full(&graph);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(asked(&graph)[1], 2);
    for id in &ids {
        graph.show_hash(id);
    }
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 0]);
    // Metadata changes, and with it the tag: the hash says that the bytes do not.
    for id in &ids {
        graph.change(id, |item| item.facets = json!({ "description": "of last year" }));
    }
    fixture.run();
    assert_eq!(asked(&graph), [1, 0, 0]);
    let object = fixture.models()["a.txt"].clone();
    assert!(object.to_string().contains("of last year"), "{object}");
}

#[test]
fn a_listing_that_leaves_files_out_removes_only_those_that_are_gone() {
    let graph = FakeGraph::start();
    reports(&graph, 30);
    let fixture = always_in_full(&graph);
    fixture.run();
    let before = fixture.objects();
    graph.forget();
    let skipped = graph.named("007.txt");
    graph.change(&skipped, |item| item.is_skipped = true);
    graph.delete(&graph.named("008.txt"));
    assert_eq!(fixture.run()["status"], "completed");
    // Both were asked for, in one request.
    assert_eq!((graph.count(Kind::Batch), graph.count(Kind::Download)), (1, 0));
    let after = fixture.objects();
    assert_eq!((after.len(), &after[&id_of(&skipped)]), (29, &before[&id_of(&skipped)]));
}

#[test]
fn a_root_that_is_gone_removes_nothing_in_either_kind_of_pass() {
    for is_full in [false, true] {
        let graph = FakeGraph::start();
        let folder = reports(&graph, 5);
        let reports = graph.item_of(&folder).parent.unwrap();
        graph.file("root", "elsewhere.txt", "elsewhere");
        let fixture = synced(&graph, "/Reports");
        fixture.run();
        let before = fixture.objects();
        graph.delete(&reports);
        if is_full {
            graph.inject(Fault::resync());
        }
        let job = fixture.run();
        assert_eq!(job["status"], "failed", "full: {is_full}: {job}");
        assert_eq!(fixture.objects(), before, "full: {is_full}");
    }
}

#[test]
fn a_drive_that_is_gone_removes_nothing() {
    let graph = FakeGraph::start();
    reports(&graph, 5);
    let fixture = synced(&graph, "/");
    fixture.run();
    let before = fixture.objects();
    graph.inject(Fault::error(Kind::Delta, 404, "itemNotFound").times(100));
    graph.inject(Fault::error(Kind::Item, 404, "itemNotFound").times(100));
    let job = fixture.run();
    assert_eq!(job["status"], "failed", "{job}");
    graph.heal();
    assert_eq!(fixture.objects(), before);
    asked(&graph);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!((fixture.objects(), asked(&graph)[1]), (before, 0));
}

#[test]
fn a_locked_file_comes_with_the_next_run_and_holds_back_no_other() {
    let graph = FakeGraph::start();
    graph.file("root", "locked.txt", "locked");
    graph.file("root", "other.txt", "other");
    let fixture = synced(&graph, "/");
    graph.lose_download_urls();
    graph.inject(Fault::error(Kind::Content, 423, "resourceLocked"));
    let job = fixture.run();
    assert_eq!(job["files_failed"], 1, "{job}");
    assert_eq!((fixture.letters().len(), fixture.paths().len()), (1, 1));
    assert_eq!(fixture.letters()[0].1, "permission_denied");
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!((fixture.letters(), fixture.paths().len()), (Vec::new(), 2));
}

#[test]
fn what_cannot_be_downloaded_is_reported_with_its_reason_and_costs_no_request() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "a");
    for (name, facets) in [
        ("notebook", json!({ "package": { "type": "oneNote" } })),
        ("virus.exe", json!({ "malware": { "description": "bad" } })),
        ("shared", json!({ "remoteItem": { "id": "x" } })),
        // A locked one is neither a file nor a folder
        // (https://github.com/OneDrive/onedrive-api-docs/issues/1905).
        ("Personal Vault", json!({ "file": null, "size": 0 })),
    ] {
        let id = graph.file("root", name, "x");
        graph.change(&id, |item| item.facets = facets);
    }
    let fixture = synced(&graph, "/");
    let job = fixture.run();
    assert_eq!(asked(&graph), [1, 1, 0], "{job}");
    assert_eq!(fixture.paths(), ["a.txt"]);
    assert_eq!(fixture.letters(), [("virus.exe".to_owned(), "permission_denied".to_owned())]);
}

#[test]
fn every_file_arrives_though_microsoft_stumbles_in_every_way_that_it_has() {
    let graph = FakeGraph::start();
    reports(&graph, 24);
    let fixture = synced(&graph, "/");
    for status in [500, 502, 504, 509] {
        graph.inject(Fault::error(Kind::Delta, status, "serviceNotAvailable"));
        graph.inject(Fault::error(Kind::Download, status, "serviceNotAvailable"));
    }
    graph.inject(Fault::reset(Kind::Delta));
    graph.inject(Fault::reset(Kind::Download));
    let job = fixture.run();
    assert_eq!((&job["status"], fixture.objects().len()), (&json!("completed"), 24), "{job}");
    assert_eq!(fixture.letters(), []);
}

#[test]
fn an_empty_page_goes_on() {
    let graph = FakeGraph::start();
    reports(&graph, 3);
    let fixture = synced(&graph, "/");
    let next = format!("{}/v1.0/drives/{DRIVE}/root/delta?token=", graph.url());
    let empty = json!({ "value": [], "@odata.nextLink": next }).to_string();
    graph.inject(Fault::reply(Kind::Delta, move || Answer::new(200, empty.clone()).into()));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects().len(), 3);
}

#[test]
fn a_walk_that_never_gets_to_its_end_is_given_up() {
    let graph = FakeGraph::start();
    reports(&graph, 15);
    let fixture = synced(&graph, "/");
    graph.inject(Fault::resync().after(1).times(20));
    let job = fixture.run();
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job.to_string().contains("begin anew"), "{job}");
    assert!(graph.count(Kind::Delta) < 10, "{}", graph.count(Kind::Delta));
}

#[test]
fn what_microsoft_asks_to_wait_is_kept_by_the_process_that_comes_next() {
    let graph = FakeGraph::start();
    reports(&graph, 3);
    let home = home(&graph);
    let file = home.write_home("credentials.json", credentials(&graph).to_string());
    let connect = ["connect", "sharepoint", "--name", "Work", "--credentials"];
    let connect: Vec<&str> = connect.into_iter().chain([file.to_str().unwrap()]).collect();
    home.run(&connect).exits(0);
    let sync = ["sync", "sharepoint:///Reports", "--bucket", "team"];
    home.run(&sync).exits(0);
    graph.forget();
    graph.inject(Fault::throttled(Kind::Delta, 429, 8).times(1));
    let first = home.start(&sync);
    poll_until("the refusal", DEADLINE, || (!graph.seen().is_empty()).then_some(()));
    let refused = Instant::now();
    // Long enough to be written down, and much shorter than the wait.
    std::thread::sleep(Duration::from_millis(500));
    first.kill();
    graph.forget();
    home.run(&sync).exits(0);
    assert!(!graph.seen().is_empty());
    assert!(refused.elapsed() >= Duration::from_secs(7), "{:?}", refused.elapsed());
}

#[test]
fn a_wait_of_an_hour_ends_the_run_without_blame_and_is_not_cut_short() {
    let graph = FakeGraph::start();
    reports(&graph, 3);
    let fixture = synced(&graph, "/");
    graph.inject(Fault::throttled(Kind::Delta, 429, 3600));
    let job = fixture.run();
    assert_eq!(job["status"], "interrupted", "{job}");
    assert_eq!(fixture.letters(), []);
    let connection = fixture.server.get(CONNECTION).is(200);
    assert_eq!(connection["status"], "ACTIVE", "{connection}");
    let due = fixture.status()["next_sync_at"].as_str().unwrap().to_owned();
    let due: jiff::Timestamp = due.parse().unwrap();
    let wait = due.as_second() - jiff::Timestamp::now().as_second();
    assert!((3000..=3700).contains(&wait), "{wait}");
    // Neither another sync of the connection nor the process that comes next asks before that.
    graph.forget();
    let order = json!({
        "connection_id": fixture.status()["connection_id"], "status": "SUSPENDED",
        "source_path": format!("{DRIVE}!{}", graph.named("2026")),
    });
    let refused = fixture.server.post(SYNCS, &order).fails_with(422).to_string();
    assert!(refused.contains("makes us wait"), "{refused}");
    let Fixture { server, sync } = fixture;
    let home = server.home.clone();
    server.stop();
    let fixture = Fixture { server: Server::on(&home), sync };
    let job = fixture.run();
    assert_eq!(job["status"], "interrupted", "{job}");
    assert!(graph.seen().is_empty(), "{:?}", graph.seen());
}

#[test]
fn a_download_to_which_our_credentials_go_is_a_leak_that_the_imitation_notices() {
    use std::io::{Read as _, Write as _};
    let graph = FakeGraph::start();
    let address = graph.download_host();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let request = "GET /download?tempauth=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let _ = stream.read(&mut [0; 16]);
    assert_eq!(graph.leaks(), 1);
    graph.forgive_leaks();
}

#[test]
fn empty_pages_without_end_end_a_listing_and_a_feed_and_remove_nothing() {
    let graph = FakeGraph::start();
    reports(&graph, 3);
    let fixture = synced(&graph, "/");
    for files in [0, 3] {
        let (url, pages) = (graph.url(), AtomicUsize::new(0));
        graph.forget();
        let endless = Fault::reply(Kind::Delta, move || {
            let page = pages.fetch_add(1, Ordering::Relaxed);
            let next = format!("{url}/v1.0/drives/{DRIVE}/root/delta?token=empty-{page}");
            Answer::new(200, json!({ "value": [], "@odata.nextLink": next }).to_string())
                .header("Content-Type", "application/json")
                .into()
        });
        graph.inject(endless.times(usize::MAX));
        let job = fixture.run();
        assert_eq!(job["status"], "failed", "{job}");
        assert!(job["error"].to_string().contains("1000 pages in a row were empty"), "{job}");
        assert!((1000..1020).contains(&graph.count(Kind::Delta)), "{}", graph.count(Kind::Delta));
        assert_eq!(fixture.paths().len(), files);
        graph.heal();
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(fixture.paths().len(), 3);
    }
}

#[test]
fn a_run_takes_up_exactly_as_many_files_as_it_may() {
    let graph = FakeGraph::start();
    reports(&graph, 24);
    let settings = json!({ "source_path": "/", "max_objects_per_run": 10 });
    let fixture = Fixture::ordered(&home(&graph), "sharepoint", &credentials(&graph), &settings);
    fixture.run();
    let synced: Vec<_> =
        fixture.jobs().iter().rev().map(|job| job["files_synced"].clone()).collect();
    assert_eq!(synced, [json!(10), json!(10), json!(4)]);
    assert_eq!(fixture.paths().len(), 24);
}

#[test]
fn a_provider_that_wants_to_be_left_alone_for_ever_is_asked_again_after_a_day() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "a");
    let fixture = synced(&graph, "/");
    graph.inject(Fault::reply(Kind::Delta, || {
        Answer::new(429, "").header("Retry-After", u64::MAX.to_string()).into()
    }));

    let job = fixture.run();

    assert_eq!(job["status"], "interrupted", "{job}");
    let next = fixture.status()["next_sync_at"].as_str().unwrap().parse::<jiff::Timestamp>();
    let hours = next.unwrap().duration_since(jiff::Timestamp::now()).as_hours();
    assert!((22..=24).contains(&hours), "{hours} hours");
}
