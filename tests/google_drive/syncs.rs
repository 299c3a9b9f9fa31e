//! Drives, synced through the built program, its API and its command line.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    counted,
    fake_drive::{FOLDER, FakeDrive, ROOT},
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        client::run_client,
    },
    synced::{DEADLINE, Fixture, Object, SYNCS},
    wire::{Answer, Wire},
};

/// An installation whose Google is the fake.
pub fn home(drive: &FakeDrive) -> Catchment {
    home_with(drive, "")
}

/// An installation whose Google is the fake, with further settings.
pub fn home_with(drive: &FakeDrive, settings: &str) -> Catchment {
    let home = Catchment::new();
    std::fs::create_dir_all(home.data_dir()).unwrap();
    let url = drive.url();
    let hosts = format!("[hosts]\ngoogle_api = \"{url}\"\ngoogle_token = \"{url}\"\n{settings}");
    std::fs::write(home.data_dir().join("config.toml"), hosts).unwrap();
    home
}

pub fn credentials() -> Value {
    json!({ "type": "oauth", "client_id": "c", "client_secret": "s", "refresh_token": "r" })
}

/// A sync of a place in the drive, made through the API of a server.
pub fn synced(drive: &FakeDrive, place: &str) -> Fixture {
    Fixture::made(&home(drive), "google_drive", &credentials(), place)
}

/// A drive with so many files in `/Reports/2026`, in pages of ten; returns their folder.
pub fn reports(drive: &FakeDrive, files: usize) -> String {
    drive.state().page_size = 10;
    let reports = drive.folder(ROOT, "Reports");
    let folder = drive.folder(&reports, "2026");
    for number in 0..files {
        drive.file(&folder, &format!("{number:03}.txt"), format!("content {number}"));
    }
    drive.requests();
    folder
}

#[test]
fn a_whole_drive_is_listed_by_pages_downloaded_once_and_costs_one_request_from_then_on() {
    let drive = FakeDrive::start();
    reports(&drive, 24);
    let fixture = synced(&drive, "root");
    drive.requests();
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(24)), "{job}");
    // 26 files and folders.
    let requests = counted(&[("startPageToken", 1), ("list", 3), ("changes", 1), ("download", 24)]);
    assert_eq!(drive.counts(), requests);
    let objects = fixture.objects();
    assert_eq!(objects.len(), 24);
    assert!(
        objects.values().any(|object| {
            object.path == "Reports/2026/007.txt" && object.content == "content 7"
        })
    );

    let job = fixture.run();
    assert_eq!(job["status"], "completed");
    assert_eq!(drive.counts(), counted(&[("changes", 1)]));
    assert_eq!(fixture.objects(), objects);
}

/// Files of a drive that is measured.
const MANY: usize = 10_000;

#[test]
fn the_requests_for_ten_thousand_files_are_exactly_as_many_as_promised() {
    let drive = FakeDrive::start();
    let files: Vec<String> = (0..MANY)
        .map(|number| drive.file(ROOT, &format!("{number:05}.txt"), format!("content {number}")))
        .collect();
    // Google lets a user download about 27 files a second.
    let home = home_with(&drive, "[limits]\ngoogle_drive_units_per_minute = 1000000000\n");
    let fixture = Fixture::made(&home, "google_drive", &credentials(), "root");
    drive.requests();
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_synced"]), (&json!("completed"), &json!(MANY)));
    let listing = [("startPageToken", 1), ("list", 10), ("changes", 1)];
    let requests = counted(&[&listing[..], &[("download", MANY)]].concat());
    assert_eq!(drive.counts(), requests, "12 that list, and the downloads");
    assert_eq!(job["details"]["requests"], 12 + MANY, "{job}");

    fixture.run();
    assert_eq!(drive.counts(), counted(&[("changes", 1)]), "nothing has changed");

    let before = object_ids(&fixture);
    let folder = drive.folder(ROOT, "2026");
    fixture.run();
    assert_eq!(drive.counts(), counted(&[("changes", 1), ("list", 1)]), "a new folder is listed");
    for file in &files {
        drive.change(file, json!({ "parents": [folder] }));
    }
    fixture.run();
    assert_eq!(drive.counts(), counted(&[("changes", 10)]), "all of them have moved");
    drive.change(&folder, json!({ "name": "2026 final" }));
    let job = fixture.run();
    assert_eq!(drive.counts(), counted(&[("changes", 1)]), "their folder is renamed");
    let counts = &job["metadata"]["counts"];
    assert_eq!((&counts["updated"], &counts["bytes"]), (&json!(MANY), &json!(0)), "{job}");
    let after = object_ids(&fixture);
    assert!(after.values().all(|(_, path)| path.starts_with("2026 final/")));
    assert!(before.iter().all(|(file, (object, _))| after[file].0 == *object));
    assert_eq!((before.len(), after.len()), (MANY, MANY));
}

/// The id and the path of every object, by the ids of their files.
fn object_ids(fixture: &Fixture) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    loop {
        let all = format!("/v1/buckets/drive/objects/list?limit=1000&offset={}", found.len());
        let list = fixture.server.post(&all, &json!({})).is(200);
        let page = list["results"].as_array().unwrap();
        if page.is_empty() {
            return found;
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        found.extend(page.iter().map(|object| {
            let file = text(&object["source"]["source_object_id"]);
            (file, (text(&object["object_id"]), text(&object["key_prefix"])))
        }));
    }
}

#[test]
fn a_folder_is_listed_with_what_is_below_it_and_followed_by_its_id() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 3);
    drive.file(ROOT, "elsewhere.txt", "not synced");
    let deep = drive.folder(&folder, "deep");
    drive.file(&deep, "below.txt", "below");
    let fixture = synced(&drive, "/Reports");
    assert_eq!(fixture.run()["status"], "completed");
    let paths = ["2026/000.txt", "2026/001.txt", "2026/002.txt", "2026/deep/below.txt"];
    assert_eq!(fixture.paths(), paths);
    // The place is kept as the folder's id: what it is called does not matter.
    let reports = drive.state().files[&folder].meta["parents"][0].as_str().unwrap().to_owned();
    drive.change(&reports, json!({ "name": "Archive" }));
    drive.file(&deep, "new.txt", "new");
    drive.requests();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts(), counted(&[("changes", 1), ("download", 1)]));
    assert!(fixture.paths().contains(&"2026/deep/new.txt".to_owned()));
}

#[test]
fn a_renamed_or_moved_folder_costs_one_request_and_its_files_keep_their_objects() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 30);
    let other = drive.folder(ROOT, "Other");
    let fixture = synced(&drive, "root");
    fixture.run();
    let before = fixture.objects();
    drive.requests();
    for change in [json!({ "name": "2026 final" }), json!({ "parents": [other] })] {
        drive.change(&folder, change);
        let job = fixture.run();
        let updated = &job["metadata"]["counts"]["updated"];
        assert_eq!((&job["status"], updated), (&json!("completed"), &json!(30)), "{job}");
        assert_eq!(drive.counts(), counted(&[("changes", 1)]));
    }
    let after = fixture.objects();
    for (file, object) in &before {
        let path = object.path.replace("Reports/2026/", "Other/2026 final/");
        assert_eq!(after[file], Object { path, ..object.clone() });
    }
    assert_eq!(after.len(), before.len());
}

#[test]
fn documents_of_a_renamed_folder_follow_it() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 6);
    let fixture = synced(&drive, "root");
    let collection = json!({
        "collection_name": "facts", "source": { "type": "bucket", "bucket_ids": ["drive"] },
        "feature_extractor": {
            "feature_extractor_name": "file_facts", "version": "v1",
            "field_passthrough": [{ "source_path": "key_prefix", "target_path": "path" }],
        },
    });
    fixture.server.post("/v1/collections", &collection).is(200);
    let documents_are_in = |folder: &str| {
        poll_until("the documents", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(50));
            let list = fixture.server.post("/v1/collections/facts/documents/list", &json!({}));
            let list = list.is(200);
            let documents = list["results"].as_array().unwrap();
            let is_in = |document: &&Value| {
                document["path"].as_str().is_some_and(|path| path.starts_with(folder))
            };
            (documents.iter().filter(is_in).count() == 6).then_some(())
        });
    };
    fixture.run();
    documents_are_in("Reports/2026/");
    drive.change(&folder, json!({ "name": "2026 final" }));
    fixture.run();
    documents_are_in("Reports/2026 final/");
}

#[test]
fn a_changes_pass_adds_updates_moves_and_removes_what_google_reports() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 0);
    let [changed, moved, starred, trashed, deleted, other] = ["a", "b", "c", "d", "e", "f"]
        .map(|name| drive.file(&folder, name, format!("content of {name}")));
    let fixture = synced(&drive, "root");
    fixture.run();
    let before = fixture.objects();
    drive.requests();

    let added = drive.file(ROOT, "new", "new content");
    drive.rewrite(&changed, "changed content");
    drive.change(&moved, json!({ "parents": [ROOT], "name": "moved" }));
    drive.change(&starred, json!({ "starred": true }));
    drive.change(&trashed, json!({ "trashed": true }));
    drive.delete(&deleted);
    // Merely looked at.
    drive.change(&other, json!({ "viewedByMeTime": "2026-03-01T00:00:00Z" }));
    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(drive.counts(), counted(&[("changes", 1), ("download", 2)]));
    let after = fixture.objects();
    assert_eq!(after[&added].path, "new");
    assert_eq!(after[&changed].content, "changed content");
    assert_eq!(after[&changed].id, before[&changed].id);
    assert_eq!(after[&moved], Object { path: "moved".to_owned(), ..before[&moved].clone() });
    assert_eq!(after[&starred], before[&starred]);
    assert_eq!(after[&other], before[&other]);
    assert_eq!(after.len(), 5, "the trashed and the deleted one are gone");
}

#[test]
fn a_trashed_folder_takes_its_files_with_it_and_brings_them_back() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 12);
    for number in 0..20 {
        drive.file(ROOT, &format!("{number}"), format!("other {number}"));
    }
    let fixture = synced(&drive, "root");
    fixture.run();
    drive.requests();
    let reports = drive.state().files[&folder].meta["parents"][0].as_str().unwrap().to_owned();
    drive.change(&reports, json!({ "trashed": true }));
    let job = fixture.run();
    assert_eq!((&job["status"], fixture.objects().len()), (&json!("completed"), 20));
    assert_eq!(drive.counts(), counted(&[("changes", 1)]));
    drive.change(&reports, json!({ "trashed": false }));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects().len(), 32);
    assert_eq!(drive.counts()["download"], 12);
}

#[test]
fn most_of_a_drive_is_only_removed_when_somebody_agrees() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 20);
    drive.file(ROOT, "kept.txt", "kept");
    let fixture = synced(&drive, "root");
    fixture.run();
    drive.delete(&folder);
    fixture.run();
    assert_eq!(fixture.objects().len(), 21);
    let held = fixture.status()["held_removals"].clone();
    assert_eq!((&held["reason"], &held["count"]), (&json!("many_removed"), &json!(20)), "{held}");
    // Another pass, of which the feed says nothing, waits as well.
    fixture.run();
    assert_eq!(fixture.objects().len(), 21);
    let before = fixture.jobs().len();
    fixture.server.post(&format!("{}/removals/approve", fixture.sync), &json!({})).is(200);
    fixture.job_after(before);
    assert_eq!(fixture.paths(), ["kept.txt"]);
}

#[test]
fn a_file_whose_bytes_are_not_those_of_its_checksum_fails_alone() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 3);
    let wrong = drive.file(&folder, "wrong.txt", "these bytes");
    drive.change(&wrong, json!({ "md5Checksum": "00000000000000000000000000000000" }));
    let fixture = synced(&drive, "root");
    drive.requests();
    fixture.run();
    assert_eq!(fixture.objects().len(), 3);
    let letters = fixture.letters();
    let kind = "checksum_mismatch".to_owned();
    assert_eq!(letters, [("Reports/2026/wrong.txt".to_owned(), kind)]);
    let downloads = drive.requests().into_iter().filter(|seen| seen.kind == "download");
    assert_eq!(downloads.filter(|seen| seen.id == wrong).count(), 4, "tried again thrice");
}

#[test]
fn every_file_arrives_though_nine_of_ten_requests_are_refused_as_too_many() {
    let drive = FakeDrive::start();
    reports(&drive, 15);
    let fixture = synced(&drive, "root");
    drive.state().throttles = true;
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_failed"]), (&json!("completed"), &json!(0)), "{job}");
    assert_eq!(fixture.objects().len(), 15);
    assert_eq!(fixture.letters(), []);
}

#[test]
fn a_feed_token_that_google_refuses_costs_a_listing_and_nothing_else() {
    let drive = FakeDrive::start();
    reports(&drive, 12);
    let fixture = synced(&drive, "root");
    fixture.run();
    let before = fixture.objects();
    drive.requests();
    let behind = drive.state().log.len() + 1;
    drive.file(ROOT, "new.txt", "new");
    drive.state().forgets_feed_before = behind;
    assert_eq!(fixture.run()["status"], "completed");
    let requests = counted(&[("changes", 2), ("startPageToken", 1), ("list", 2), ("download", 1)]);
    assert_eq!(drive.counts(), requests);
    let after = fixture.objects();
    assert_eq!(after.len(), 13);
    assert!(before.iter().all(|(file, object)| after[file] == *object));
}

#[test]
fn a_listing_that_skips_files_removes_none_of_them() {
    let drive = FakeDrive::start();
    reports(&drive, 12);
    let fixture = synced(&drive, "root");
    fixture.run();
    let before = fixture.objects();
    drive.state().skipped = before.keys().take(4).cloned().collect();
    drive.requests();
    let full = format!("{}/trigger?full_sync=true", fixture.sync);
    let jobs = fixture.jobs().len();
    fixture.server.post(&full, &json!({})).is(200);
    assert_eq!(fixture.job_after(jobs)["status"], "completed");
    assert_eq!(fixture.objects(), before);
    assert_eq!(drive.counts()["batch"], 1, "it was asked for all of them at once");
}

#[test]
fn a_server_killed_in_a_full_pass_goes_on_and_has_every_file_once() {
    let drive = FakeDrive::start();
    reports(&drive, 40);
    let fixture = synced(&drive, "root");
    drive.state().silent_after = Some(17);
    fixture.begin();
    killed_in_silence(&drive, fixture, 40);
}

#[test]
fn a_server_killed_in_a_changes_pass_goes_on_and_loses_no_change() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 10);
    let fixture = synced(&drive, "root");
    fixture.run();
    let before = fixture.objects();
    let gone = before.keys().next().unwrap().clone();
    drive.delete(&gone);
    for number in 10..40 {
        drive.file(&folder, &format!("{number:03}.txt"), format!("content {number}"));
    }
    drive.change(&folder, json!({ "name": "renamed" }));
    drive.state().silent_after = Some(17);
    fixture.begin();
    let fixture = killed_in_silence(&drive, fixture, 39);
    let after = fixture.objects();
    for (file, object) in before.iter().filter(|(file, _)| **file != gone) {
        assert_eq!(after[file].id, object.id);
        assert!(after[file].path.starts_with("Reports/renamed/"), "{}", after[file].path);
    }
}

/// Waits until the drive falls silent, kills the server, and lets a new one finish: then there are
/// so many objects, each with the content that its name says.
pub fn killed_in_silence(drive: &FakeDrive, fixture: Fixture, expected: usize) -> Fixture {
    poll_until("silence", DEADLINE, || drive.state().is_silent.then_some(()));
    let Fixture { server, sync } = fixture;
    let home = server.home.clone();
    server.kill();
    drive.state().silent_after = None;
    let fixture = Fixture { server: Server::on(&home), sync };
    let objects = poll_until("the rest", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(100));
        let is_over = fixture.jobs().iter().all(|job| job["status"] != "running")
            && fixture.status()["status"] == "ACTIVE";
        is_over.then(|| fixture.objects()).filter(|objects| objects.len() == expected)
    });
    for object in objects.values() {
        let number: usize = object.path.rsplit('/').next().unwrap()[..3].parse().unwrap();
        assert_eq!(object.content, format!("content {number}"), "{}", object.path);
    }
    let bucket = fixture.server.get("/v1/buckets/drive").is(200);
    assert_eq!(bucket["object_count"], expected, "none of them twice");
    fixture
}

#[test]
fn an_object_that_is_restored_from_the_trash_is_where_its_folder_is_by_then() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 3);
    let fixture = synced(&drive, "root");
    fixture.run();
    let deleted = fixture.models()["Reports/2026/001.txt"].clone();
    let object = format!("/v1/buckets/drive/objects/{}", deleted["object_id"].as_str().unwrap());
    assert_eq!(fixture.server.delete(&object).status, 204);

    drive.change(&folder, json!({ "name": "2026 final" }));
    fixture.run();
    let trash = "/v1/buckets/drive/objects/trash";
    let listed = fixture.server.post(&format!("{trash}/list"), &json!({})).is(200);
    let was = &listed["results"][0]["key_prefix"];
    assert_eq!(was, "Reports/2026/001.txt", "the trash says where it was deleted");
    let all = json!({ "object_ids": [deleted["object_id"]] });
    fixture.server.post(&format!("{trash}/restore"), &all).is(200);
    let restored = fixture.server.get(&object).is(200);
    assert_eq!(restored["key_prefix"], "Reports/2026 final/001.txt");
    fixture.run();
    assert_eq!(fixture.paths().len(), 3);
    assert_eq!(fixture.models()["Reports/2026 final/001.txt"]["object_id"], deleted["object_id"]);
}

#[test]
fn places_that_are_none_are_refused_when_the_sync_is_made() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 1);
    drive.add(ROOT, "Twin", json!({ "mimeType": FOLDER }), Vec::new());
    drive.add(ROOT, "Twin", json!({ "mimeType": FOLDER }), Vec::new());
    let file = drive.file(&folder, "file.txt", "x");
    let fixture = synced(&drive, "root");
    let connection = fixture.status()["connection_id"].clone();
    for (place, word) in
        [("/Nowhere", "Nowhere"), ("/Twin", "2 folders"), (file.as_str(), "sync its folder")]
    {
        let order = json!({ "connection_id": connection, "source_path": place });
        let refused = fixture.server.post(SYNCS, &order).blames("source_path");
        assert!(refused.to_string().contains(word), "{refused}");
    }
}

#[test]
fn the_public_client_makes_the_connection_and_the_sync_and_reads_the_objects() {
    let drive = FakeDrive::start();
    reports(&drive, 2);
    let server = Server::on(&home(&drive));
    let given = json!({
        "server": format!("http://{}", server.address), "token": server.token,
        "credentials": credentials(),
    });
    run_client("drive.py", &given, || server.log());
}

#[test]
fn the_command_line_connects_and_syncs_a_drive() {
    let drive = FakeDrive::start();
    reports(&drive, 5);
    let home = home(&drive);
    let file = home.write_home("credentials.json", credentials().to_string());
    let connect = ["connect", "google_drive", "--name", "Work", "--credentials"];
    let connect: Vec<&str> = connect.into_iter().chain([file.to_str().unwrap()]).collect();
    home.run(&connect).exits(0);
    home.run(&["sync", "gdrive:///Reports", "--bucket", "reports"]).exits(0).says(&["5 new"]);
    let names: Vec<Vec<u8>> = home.objects("reports").into_keys().collect();
    assert_eq!(names[0], b"2026/000.txt");
    drive.requests();
    home.run(&["sync", "gdrive:///Reports", "--bucket", "reports"]).exits(0).says(&["0 new"]);
    let counts = drive.counts();
    assert_eq!((counts.get("changes"), counts.get("download")), (Some(&1), None), "{counts:?}");
    // With two connections, one has to be named.
    let connect = ["connect", "google_drive", "--name", "Home", "--credentials"];
    let connect: Vec<&str> = connect.into_iter().chain([file.to_str().unwrap()]).collect();
    home.run(&connect).exits(0);
    home.run(&["sync", "gdrive:///Reports", "--bucket", "reports"]).exits(2).says(&[
        "--connection",
        "Work",
        "Home",
    ]);
    let sync = ["sync", "gdrive:///Reports", "--bucket", "reports", "--connection", "Work"];
    home.run(&sync).exits(0).says(&["0 new"]);
}

#[test]
fn empty_pages_without_end_end_every_kind_of_listing_and_remove_nothing() {
    for place in ["root", "/Reports"] {
        let drive = FakeDrive::start();
        reports(&drive, 3);
        let fixture = synced(&drive, place);
        // Of the whole drive, of its folders, of its changes.
        for files in [0, 3] {
            drive.requests();
            drive.state().has_endless_pages = true;
            let job = fixture.run();
            assert_eq!(job["status"], "failed", "{job}");
            assert!(job["error"].to_string().contains("1000 pages in a row were empty"), "{job}");
            let asked = drive.requests().len();
            assert!((1000..1020).contains(&asked), "{asked} requests");
            assert_eq!(fixture.paths().len(), files);
            drive.state().has_endless_pages = false;
            assert_eq!(fixture.run()["status"], "completed");
            assert_eq!(fixture.paths().len(), 3);
        }
    }
}

#[test]
fn a_run_takes_up_exactly_as_many_files_as_it_may() {
    for place in ["root", "/Reports"] {
        let drive = FakeDrive::start();
        reports(&drive, 24);
        let settings = json!({ "source_path": place, "max_objects_per_run": 10 });
        let fixture = Fixture::ordered(&home(&drive), "google_drive", &credentials(), &settings);
        fixture.run();
        let synced: Vec<_> =
            fixture.jobs().iter().rev().map(|job| job["files_synced"].clone()).collect();
        assert_eq!(synced, [json!(10), json!(10), json!(4)], "{place}");
        assert_eq!(fixture.paths().len(), 24);
    }
}

#[test]
fn a_proxy_is_asked_for_access_tokens() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let proxy = Wire::serve(move |request| {
        seen.lock().unwrap().push(format!("{} {}", request.method, request.target));
        Answer::new(403, "").into()
    });
    let home = Catchment::new().env("HTTPS_PROXY", proxy.url());
    let connection = json!({
        "name": "Work", "provider_type": "google_drive", "test_before_save": false,
        "provider_config": { "credentials": credentials() },
    });
    Server::on(&home).post("/v1/organizations/connections", &connection).is(200);
    let _test = home.start(&["connections", "test", "Work"]);
    poll_until("the proxy", DEADLINE, || {
        let asked = asked.lock().unwrap();
        asked.iter().any(|target| target == "CONNECT oauth2.googleapis.com:443").then_some(())
    });
}
