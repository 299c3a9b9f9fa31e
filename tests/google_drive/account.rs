//! Another account behind the same connection: what it sees is not taken for what the account
//! before it saw.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    counted,
    fake_drive::{FOLDER, FakeDrive, File, ROOT},
    server::Server,
    synced::Fixture,
    syncs::{reports, synced},
};

/// What an account sees: its id, its My Drive, files and folders, and its feed.
type World = (String, String, BTreeMap<String, File>, Vec<String>);

/// Signs another account in, which sees another world; returns what the one before saw.
fn sign_in(drive: &FakeDrive, fixture: &Fixture, world: World, tests: bool) -> World {
    let (permission, root, files, log) = world;
    let before = {
        let mut state = drive.state();
        (
            std::mem::replace(&mut state.permission, permission.clone()),
            std::mem::replace(&mut state.root, root),
            std::mem::replace(&mut state.files, files),
            std::mem::replace(&mut state.log, log),
        )
    };
    let id = fixture.status()["connection_id"].as_str().unwrap().to_owned();
    let credentials = json!({
        "type": "oauth", "client_id": "c", "client_secret": "s", "refresh_token": permission,
    });
    let change =
        json!({ "provider_config": { "credentials": credentials }, "test_before_save": tests });
    fixture.server.patch(&format!("/v1/organizations/connections/{id}"), &change).is(200);
    drive.requests();
    before
}

/// The world of somebody else, with three files of their own.
fn of_somebody_else() -> World {
    let root = "0ATheirDriveRoot";
    let mut files = BTreeMap::new();
    let mut add = |meta: Value, content: &str| {
        let meta: Map<String, Value> = meta.as_object().unwrap().clone();
        let id = meta["id"].as_str().unwrap().to_owned();
        files.insert(id, File { meta, content: content.into() });
    };
    add(json!({ "id": root, "name": "My Drive", "mimeType": FOLDER }), "");
    for number in 0..3 {
        let name = format!("theirs {number}");
        add(
            json!({
                "id": format!("1Theirs{number}"), "name": name, "mimeType": "text/plain",
                "parents": [root], "trashed": false, "size": name.len().to_string(),
                "modifiedTime": "2026-01-02T03:04:05.678Z",
            }),
            &name,
        );
    }
    // As many changes as there were in the feed before, and more.
    let log = (0..100).map(|number| format!("1Theirs{}", number % 3)).collect();
    ("9999".to_owned(), root.to_owned(), files, log)
}

#[test]
fn another_account_removes_nothing_and_downloads_nothing_until_somebody_decides() {
    for (place, tests) in [("root", true), ("/Reports", true), ("root", false)] {
        let drive = FakeDrive::start();
        reports(&drive, 12);
        let fixture = synced(&drive, place);
        assert_eq!(fixture.run()["status"], "completed");
        let before = fixture.objects();

        let first = sign_in(&drive, &fixture, of_somebody_else(), tests);
        for _ in 0..2 {
            let job = fixture.run();
            assert_eq!(fixture.objects(), before, "{place}");
            let counts = drive.counts();
            assert_eq!((counts.get("changes"), counts.get("list")), (None, None), "{counts:?}");
            assert_eq!(counts.get("download"), None, "{counts:?}");
            let held = fixture.status()["held_removals"].clone();
            match place {
                "root" => {
                    assert_eq!(held["reason"], "source_replaced", "{held}");
                    assert_eq!(held["count"], 12, "{held}");
                }
                // The folder is not theirs to see.
                _ => assert_eq!(job["status"], "failed", "{job}"),
            }
        }

        // The account from before is back, and so is everything.
        sign_in(&drive, &fixture, first, tests);
        assert_eq!(fixture.run()["status"], "completed", "{place}");
        assert_eq!(fixture.objects(), before, "{place}");
        assert!(fixture.status()["held_removals"].is_null());
        assert_eq!(drive.counts().get("download"), None);
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]), "{place}");
    }
}

#[test]
fn another_account_that_is_approved_has_its_own_drive_synced() {
    let drive = FakeDrive::start();
    reports(&drive, 12);
    let fixture = synced(&drive, "root");
    fixture.run();
    sign_in(&drive, &fixture, of_somebody_else(), true);
    fixture.run();
    assert_eq!(fixture.status()["held_removals"]["reason"], "source_replaced");

    let jobs = fixture.jobs().len();
    fixture.server.post(&format!("{}/removals/approve", fixture.sync), &json!({})).is(200);
    assert_eq!(fixture.job_after(jobs)["status"], "completed");

    assert_eq!(fixture.paths(), ["theirs 0", "theirs 1", "theirs 2"]);
    drive.requests();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts(), counted(&[("changes", 1)]));
}

#[test]
fn another_account_that_sees_the_same_folder_goes_on_with_a_feed_of_its_own() {
    for tests in [true, false] {
        let drive = FakeDrive::start();
        let folder = reports(&drive, 12);
        let fixture = synced(&drive, "/Reports");
        fixture.run();
        let before = fixture.objects();
        let same = {
            let state = drive.state();
            // Its feed is at another place.
            ("9999".to_owned(), ROOT.to_owned(), state.files.clone(), Vec::new())
        };
        sign_in(&drive, &fixture, same, tests);
        drive.file(&folder, "new.txt", "new");

        let job = fixture.run();

        assert_eq!(job["status"], "completed", "{job}");
        let counts = drive.counts();
        assert_eq!((counts["startPageToken"], counts["download"]), (1, 1), "{counts:?}");
        let after = fixture.objects();
        assert_eq!(after.len(), 13);
        assert!(before.iter().all(|(file, object)| after[file] == *object));
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]));
    }
}

#[test]
fn an_installation_from_before_accounts_were_written_down_goes_on_without_a_question() {
    for place in ["root", "/Reports", "/Shared with me"] {
        let drive = FakeDrive::start();
        reports(&drive, 12);
        let shared = json!({ "mimeType": FOLDER, "sharedWithMeTime": "2026-01-01T00:00:00Z" });
        let theirs = drive.add("", "theirs", shared, Vec::new());
        for number in 0..12 {
            drive.file(&theirs, &format!("{number}"), format!("their content {number}"));
        }
        let fixture = synced(&drive, place);
        fixture.run();
        let before = fixture.objects();
        assert_eq!(before.len(), 12, "{place}");
        let Fixture { server, sync } = fixture;
        let home = server.home.clone();
        server.kill();
        let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
        let before_accounts = "
            UPDATE syncs SET root_identity = iif(root_identity = 'account 0123 shared',
                'shared with 0123', replace(root_identity, 'account 0123 ', ''));
            UPDATE connections SET settings = json_remove(settings, '$.signed_in_as')
            WHERE provider = 'google_drive';";
        db.execute_batch(before_accounts).unwrap();
        drop(db);
        // Nothing is as it was, so that a look at some of it would say nothing.
        for file in before.keys() {
            drive.rewrite(file, &format!("new content of {file}"));
        }
        drive.requests();

        let fixture = Fixture { server: Server::on(&home), sync };
        let job = fixture.run();

        assert_eq!(job["status"], "completed", "{place}: {job}");
        let after = fixture.objects();
        assert!(before.iter().all(|(file, object)| after[file].id == object.id), "{place}");
        assert!(after.iter().all(|(file, object)| object.content.ends_with(file.as_str())));
        drive.requests();
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]), "{place}");
    }
}
