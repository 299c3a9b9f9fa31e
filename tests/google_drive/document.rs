//! Lines of what Google Drive promises that are shown nowhere else: what listings ask for and in
//! which order, filters, mappings, the rate.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    counted,
    fake_drive::{DOCUMENT, FOLDER, FakeDrive, Large, ROOT},
    synced::Fixture,
    syncs::{credentials, home, home_with, reports, synced},
};

fn made(drive: &FakeDrive, settings: &Value) -> Fixture {
    let fixture = Fixture::ordered(&home(drive), "google_drive", &credentials(), settings);
    drive.requests();
    fixture
}

#[test]
fn a_first_run_takes_the_token_before_it_lists_a_thousand_at_a_time_in_one_corpus() {
    let drive = FakeDrive::start();
    reports(&drive, 3);
    let fixture = made(&drive, &json!({ "source_path": "root" }));
    assert_eq!(fixture.run()["status"], "completed");
    let seen = drive.requests();
    let kinds: Vec<&str> = seen.iter().map(|seen| seen.kind.as_str()).collect();
    assert_eq!(kinds[..2], ["startPageToken", "list"]);
    let (list, changes) =
        (&seen[1], seen.iter().find(|seen| seen.kind == "changes").expect("a replay"));
    assert_eq!((list.query["corpora"].as_str(), list.query["pageSize"].as_str()), ("user", "1000"));
    assert_eq!(list.query["q"], "trashed = false");
    assert_eq!(changes.query["pageSize"], "1000");
    assert_eq!(changes.query["includeRemoved"], "true");
    for (seen, of) in [(list, "files("), (changes, "changes(")] {
        let fields = &seen.query["fields"];
        assert!(fields.contains(of) && !fields.contains('*'), "{fields}");
    }
}

#[test]
fn a_folder_of_many_folders_costs_a_request_for_each_fifty_of_them() {
    let drive = FakeDrive::start();
    let reports = drive.folder(ROOT, "Reports");
    for number in 0..120 {
        let folder = drive.folder(&reports, &format!("{number:03}"));
        drive.file(&folder, "file.txt", format!("content {number}"));
    }
    let fixture = made(&drive, &json!({ "source_path": "/Reports" }));
    assert_eq!(fixture.run()["status"], "completed");
    let counts = drive.counts();
    let asked = ["startPageToken", "list", "changes", "download"].map(|kind| counts[kind]);
    assert_eq!(asked, [1, 1 + 3, 1, 120], "{counts:?}");
    assert_eq!(fixture.paths().len(), 120);
}

#[test]
fn the_shared_drive_of_a_sync_counts_before_that_of_its_connection() {
    let drive = FakeDrive::start();
    for (id, name) in [("0ATeamDrive", "team.txt"), ("0AOtherDrive", "other.txt")] {
        drive.add(id, name, json!({ "driveId": id, "size": "0" }), Vec::new());
    }
    let fixture = made(&drive, &json!({ "source_path": "root" }));
    let connection = fixture.status()["connection_id"].as_str().unwrap().to_owned();
    let place = format!("/v1/organizations/connections/{connection}");
    let shared = json!({ "provider_config": { "shared_drive_id": "0ATeamDrive" } });
    fixture.server.patch(&place, &shared).is(200);
    for (filters, name) in
        [(json!({}), "team.txt"), (json!({ "shared_drive_id": "0AOtherDrive" }), "other.txt")]
    {
        let question = json!({
            "connection_id": connection, "source_path": "root", "provider_filters": filters,
        });
        let preview = fixture.server.post("/v1/buckets/drive/syncs/preview", &question).is(200);
        assert_eq!(preview["sample"][0]["path"], name, "{preview}");
        assert_eq!(preview["looked_at"], 1);
    }
}

#[test]
fn a_query_makes_every_run_a_full_listing_and_what_that_skips_is_not_taken_for_gone() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 3);
    let wanted = drive.file(&folder, "wanted", "wanted");
    let filters = json!({ "q": "name = 'wanted' or name = 'also'" });
    let order = json!({ "source_path": "root", "provider_filters": filters });
    let fixture = made(&drive, &order);
    for downloads in [1, 0] {
        assert_eq!(fixture.run()["status"], "completed");
        let seen = drive.requests();
        let lists: Vec<_> = seen.iter().filter(|seen| seen.kind == "list").collect();
        assert_eq!(lists.len(), 1);
        assert_eq!(
            lists[0].query["q"],
            format!(
                "trashed = false and ((name = 'wanted' or name = 'also') or mimeType = '{FOLDER}')"
            )
        );
        assert!(seen.iter().all(|seen| seen.kind != "changes" && seen.kind != "startPageToken"));
        assert_eq!(seen.iter().filter(|seen| seen.kind == "download").count(), downloads);
    }
    let before = fixture.objects();
    assert_eq!(before[&wanted].path, "Reports/2026/wanted");

    // What a listing skips is there, and is in the listing of its folder.
    drive.state().skipped_of_many.insert(wanted.clone());
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects(), before);
    drive.state().skipped_of_many.clear();
    drive.delete(&wanted);
    drive.file(&folder, "also", "also");
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["Reports/2026/also"]);
}

#[test]
fn what_stops_to_match_a_query_has_drifted_and_goes_only_where_that_is_wanted() {
    for is_wanted in [true, false] {
        let drive = FakeDrive::start();
        let folder = reports(&drive, 0);
        let files: Vec<String> =
            (0..6).map(|number| drive.file(&folder, "wanted", format!("{number}"))).collect();
        let order = json!({
            "source_path": "root", "provider_filters": { "q": "name = 'wanted'" },
            "reconcile": { "on_filter_drift": is_wanted },
        });
        let fixture = made(&drive, &order);
        fixture.run();
        let before = fixture.objects();
        drive.change(&files[0], json!({ "name": "other" }));
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(fixture.objects().contains_key(&files[0]), !is_wanted);
        assert_eq!(fixture.objects().len(), if is_wanted { 5 } else { 6 });
        drive.change(&files[0], json!({ "name": "wanted" }));
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(fixture.objects().len(), 6);
        if !is_wanted {
            assert_eq!(fixture.objects(), before);
        }
    }
}

#[test]
fn files_that_google_calls_malicious_arrive_where_somebody_accepts_that() {
    let drive = FakeDrive::start();
    let file = drive.file(ROOT, "malicious.exe", "malicious");
    drive.state().abusive.insert(file);
    let order = |accepts: bool| json!({ "source_path": "root", "provider_filters": { "acknowledge_abuse": accepts } });
    let fixture = made(&drive, &order(false));
    fixture.run();
    let kind = "permission_denied".to_owned();
    assert_eq!(fixture.letters(), [("malicious.exe".to_owned(), kind)]);
    let fixture = made(&drive, &order(true));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects().into_values().next().unwrap().content, "malicious");
}

#[test]
fn large_documents_are_fetched_by_links_with_the_token_which_no_other_host_gets() {
    let drive = FakeDrive::start();
    let document = drive.add(ROOT, "Plan", json!({ "mimeType": DOCUMENT }), b"plan".to_vec());
    drive.state().large.insert(document, Large::ByLink);
    let fixture = made(&drive, &json!({ "source_path": "root" }));
    assert_eq!(fixture.run()["status"], "completed");
    let seen = drive.requests();
    let link = seen.iter().find(|seen| seen.kind == "link").expect("the link is followed");
    assert!(link.authorization.as_ref().is_some_and(|token| token.starts_with("Bearer ")));
    assert_eq!(fixture.objects().into_values().next().unwrap().content, "plan");
}

#[test]
fn a_download_that_ends_early_and_cleanly_is_fetched_again() {
    let drive = FakeDrive::start();
    reports(&drive, 2);
    let fixture = made(&drive, &json!({ "source_path": "root" }));
    drive.state().truncates_downloads = 1;
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts()["download"], 3);
    let objects = fixture.objects();
    assert!(objects.values().all(|object| object.content.starts_with("content ")));
}

#[test]
fn properties_are_mapped_and_filtered_from_the_listing_without_a_request_more() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 0);
    let file = |name: &str, campaign: &str| {
        let id = drive.file(&folder, name, name);
        drive.change(
            &id,
            json!({
                "description": format!("about {campaign}"), "starred": true,
                "appProperties": { "campaign": campaign }, "properties": { "campaign": "other" },
            }),
        );
        id
    };
    let spring = file("a.txt", "spring");
    file("b.txt", "autumn");
    let property = |name: &str| json!({ "target_type": "field", "source": { "type": "drive_property", "key": name } });
    let order = json!({
        "source_path": "root",
        "schema_mapping": { "mappings": {
            "content": { "target_type": "blob", "source": { "type": "file" } },
            "campaign": property("campaign"),
        } },
        "file_filters": { "metadata_filters": [
            { "field": "description", "operator": "equals", "value": "about spring" },
        ] },
    });
    let fixture = made(&drive, &order);
    assert_eq!(fixture.run()["status"], "completed");
    let counts = drive.counts();
    assert_eq!((counts["download"], counts.get("get")), (1, None), "{counts:?}");
    let models = fixture.models();
    assert_eq!(models.len(), 1);
    assert_eq!(models["Reports/2026/a.txt"]["campaign"], "spring", "{models:?}");

    drive.change(&spring, json!({ "appProperties": { "campaign": "summer" } }));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts(), counted(&[("changes", 1)]), "nothing is fetched for it");
    assert_eq!(fixture.models()["Reports/2026/a.txt"]["campaign"], "summer");
}

#[test]
fn requests_keep_to_the_rate_that_is_configured() {
    let drive = FakeDrive::start();
    reports(&drive, 20);
    // A thousand units a second: five downloads.
    let home = home_with(&drive, "[limits]\ngoogle_drive_units_per_minute = 60000\n");
    let fixture = Fixture::made(&home, "google_drive", &credentials(), "root");
    let began = Instant::now();
    assert_eq!(fixture.run()["status"], "completed");
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(fixture.paths().len(), 20);
}

#[test]
fn a_folder_that_goes_while_its_drive_is_listed_is_empty_and_no_failure() {
    let drive = FakeDrive::start();
    let reports = drive.folder(ROOT, "Reports");
    let folders = ["a", "b", "c"].map(|name| drive.folder(&reports, name));
    for folder in &folders {
        drive.file(folder, "file.txt", format!("in {folder}"));
    }
    drive.state().vanishing.insert(folders[1].clone());
    let fixture = made(&drive, &json!({ "source_path": "/Reports" }));
    let job = fixture.run();
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(fixture.paths(), ["a/file.txt", "c/file.txt"]);
    drive.requests();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts(), counted(&[("changes", 1)]));

    // That of the place itself is the place's.
    drive.state().vanishing.insert(reports);
    let jobs = fixture.jobs().len();
    fixture.server.post(&format!("{}/trigger?full_sync=true", fixture.sync), &json!({})).is(200);
    assert_eq!(fixture.job_after(jobs)["status"], "failed");
    assert_eq!(fixture.paths(), ["a/file.txt", "c/file.txt"]);
}

#[test]
fn nothing_is_asked_before_the_time_that_google_names() {
    let drive = FakeDrive::start();
    reports(&drive, 3);
    let fixture = made(&drive, &json!({ "source_path": "root" }));
    drive.state().faults.push(("list", 1, 429, "rateLimitExceeded after 2"));
    let job = fixture.run();
    assert_eq!((&job["status"], &job["files_failed"]), (&json!("completed"), &json!(0)), "{job}");
    let seen = drive.requests();
    let refused = seen.iter().position(|seen| seen.status == 429).unwrap();
    let wait = seen[refused + 1].at.duration_since(seen[refused].at);
    assert!(wait >= Duration::from_secs(2), "{wait:?}");
    assert_eq!(job["details"]["rate_limit_hits"], 1, "{job}");
}

#[test]
fn the_place_of_a_sync_is_not_looked_for_again_by_a_run_that_follows_changes() {
    let drive = FakeDrive::start();
    reports(&drive, 1);
    let fixture = synced(&drive, "/Reports");
    fixture.run();
    drive.requests();
    for _ in 0..2 {
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(drive.counts(), counted(&[("changes", 1)]));
    }
}

#[test]
fn an_object_says_what_the_listing_said_of_its_file_and_what_a_document_was_exported_to() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 0);
    let said = json!({
        "createdTime": "2025-12-24T18:00:00.000Z", "starred": true, "description": "about it",
        "webViewLink": "https://docs.google.com/document/d/x/edit",
        "owners": [{ "emailAddress": "ada@example.org" }],
    });
    let file = drive.file(&folder, "plain.txt", "plain");
    let document = drive.add(&folder, "Plan", json!({ "mimeType": DOCUMENT }), b"plan".to_vec());
    for id in [&file, &document] {
        drive.change(id, said.clone());
    }
    let fixture = made(&drive, &json!({ "source_path": "root" }));
    assert_eq!(fixture.run()["status"], "completed");
    let counts = drive.counts();
    assert_eq!((counts.get("get"), counts.get("batch")), (None, None), "all from the listing");
    let models = fixture.models();
    let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    for (path, id, mime, listed) in [
        ("Reports/2026/plain.txt", &file, "text/plain", "text/plain"),
        ("Reports/2026/Plan.docx", &document, docx, DOCUMENT),
    ] {
        let model = &models[path];
        assert_eq!(model["blobs"][0]["details"]["mime_type"], mime, "{model}");
        let source = &model["source"];
        assert_eq!(source["source_object_id"], id.as_str(), "{source}");
        assert_eq!(source["modified_at"], "2026-01-02T03:04:05.678Z", "{source}");
        let metadata = &source["metadata"];
        for name in ["starred", "description", "webViewLink"] {
            assert_eq!(metadata[name], said[name], "{metadata}");
        }
        assert_eq!(metadata["owner_email"], "ada@example.org", "{metadata}");
        assert_eq!(
            metadata["createdTime"].as_str().unwrap()[..19],
            said["createdTime"].as_str().unwrap()[..19]
        );
        assert_eq!(
            (&metadata["mimeType"], &metadata["parents"][0]),
            (&json!(listed), &json!(folder))
        );
    }
}
