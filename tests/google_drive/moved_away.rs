//! What is moved without a word in the feed, as happens in drives of other people: the next full
//! pass looks up where it is now. What is below the place no more goes, what still is follows, and
//! what nobody can say anything of stays.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    counted,
    fake_drive::{FOLDER, FakeDrive, ROOT, SHORTCUT},
    synced::{Fixture, Object},
    syncs::{reports, synced},
};

/// A run that lists everything.
fn run_in_full(fixture: &Fixture) -> Value {
    let before = fixture.jobs().len();
    fixture.server.post(&format!("{}/trigger?full_sync=true", fixture.sync), &json!({})).is(200);
    fixture.job_after(before)
}

/// The id of the file at a path.
fn id_at(objects: &BTreeMap<String, Object>, path: &str) -> String {
    objects.iter().find(|(_, object)| object.path == path).expect(path).0.clone()
}

/// A drive of somebody else with a linked folder of so many files, and a private folder beside it
/// that can be seen; the folder is linked to in My Drive.
struct Linked {
    drive: FakeDrive,
    folder: String,
    private: String,
}

impl Linked {
    fn new(files: usize) -> Self {
        let drive = FakeDrive::start();
        let shared = json!({ "mimeType": FOLDER, "sharedWithMeTime": "2026-01-01T00:00:00Z" });
        let folder = drive.add("", "theirs", shared.clone(), Vec::new());
        let private = drive.add("", "private", shared, Vec::new());
        for number in 0..files {
            drive.file(&folder, &format!("{number:02}.txt"), format!("content {number}"));
        }
        let details = json!({ "targetId": folder, "targetMimeType": FOLDER });
        let link = json!({ "mimeType": SHORTCUT, "shortcutDetails": details });
        let place = drive.folder(ROOT, "Mine");
        drive.add(&place, "linked", link, Vec::new());
        Self { drive, folder, private }
    }

    fn synced(&self) -> Fixture {
        let fixture = synced(&self.drive, "/Mine");
        assert_eq!(fixture.run()["status"], "completed");
        self.drive.requests();
        fixture
    }
}

#[test]
fn a_file_that_is_silently_moved_out_of_the_place_goes_with_the_next_full_pass() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 12);
    let [other, deep] =
        [(ROOT, "Other"), (&folder, "deep")].map(|(of, name)| drive.folder(of, name));
    let fixture = synced(&drive, "/Reports");
    fixture.run();
    let before = fixture.objects();
    let [goes, follows] = ["2026/000.txt", "2026/001.txt"].map(|path| id_at(&before, path));
    drive.change_silently(&goes, json!({ "parents": [other] }));
    drive.change_silently(&follows, json!({ "parents": [deep] }));
    fixture.run();
    assert_eq!(fixture.objects(), before, "the feed has said nothing of them");
    drive.requests();

    let job = run_in_full(&fixture);

    assert_eq!(job["status"], "completed", "{job}");
    let counts = drive.counts();
    // The file, its folder, and the folder above that.
    assert_eq!((counts["batch"], counts.get("download")), (3, None), "{counts:?}");
    let mut expected = before;
    expected.remove(&goes);
    expected.get_mut(&follows).unwrap().path = "2026/deep/001.txt".to_owned();
    assert_eq!(fixture.objects(), expected);
}

#[test]
fn a_file_that_is_silently_moved_out_of_a_linked_folder_goes_and_the_others_stay() {
    let linked = Linked::new(20);
    let fixture = linked.synced();
    let before = fixture.objects();
    assert_eq!(before.len(), 20);
    let goes = id_at(&before, "linked/07.txt");
    linked.drive.change_silently(&goes, json!({ "parents": [linked.private] }));

    assert_eq!(run_in_full(&fixture)["status"], "completed");

    assert_eq!(linked.drive.counts().get("download"), None);
    let mut expected = before;
    expected.remove(&goes);
    assert_eq!(fixture.objects(), expected);
    // And comes back as any other file does.
    linked.drive.change(&goes, json!({ "parents": [linked.folder] }));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects()[&goes].path, "linked/07.txt");
}

#[test]
fn a_file_that_is_no_longer_shared_goes_with_the_next_full_pass_though_no_feed_says_so() {
    let linked = Linked::new(20);
    let fixture = linked.synced();
    let before = fixture.objects();
    let goes = id_at(&before, "linked/07.txt");
    linked.drive.state().files.remove(&goes);
    fixture.run();
    assert_eq!(fixture.objects(), before);

    assert_eq!(run_in_full(&fixture)["status"], "completed");

    let mut expected = before;
    expected.remove(&goes);
    assert_eq!(fixture.objects(), expected);
}

#[test]
fn a_file_whose_new_folder_cannot_be_read_stays_until_somebody_can_say_where_that_is() {
    let linked = Linked::new(20);
    let (drive, private) = (&linked.drive, &linked.private);
    let fixture = linked.synced();
    let before = fixture.objects();
    let goes = id_at(&before, "linked/07.txt");
    let hide = |who: &str, hides: bool| {
        let mut state = drive.state();
        let hidden = match who {
            "Google" => &mut state.hidden,
            _ => &mut state.blocked_by_a_proxy,
        };
        match hides {
            true => hidden.insert(private.clone()),
            false => hidden.remove(private),
        };
    };
    drive.change_silently(&goes, json!({ "parents": [private] }));
    for who in ["Google", "a proxy"] {
        hide(who, true);
        // A change of it that is reported does not say where it is either.
        drive.change(&goes, json!({ "starred": true }));
        for job in [fixture.run(), run_in_full(&fixture), fixture.run(), run_in_full(&fixture)] {
            assert_eq!(job["status"], "completed", "{who}: {job}");
            assert_eq!(fixture.objects(), before, "{who}");
        }
        hide(who, false);
    }
    assert_eq!(run_in_full(&fixture)["status"], "completed");
    assert!(!fixture.objects().contains_key(&goes));
    assert_eq!(fixture.objects().len(), 19);
}

#[test]
fn a_folder_that_is_moved_to_where_nobody_can_look_keeps_its_files() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 3);
    drive.file(ROOT, "kept.txt", "kept");
    let hidden = drive.folder(ROOT, "Hidden");
    let place = drive.state().files[&folder].meta["parents"][0].as_str().unwrap().to_owned();
    for moves in [FakeDrive::change, FakeDrive::change_silently] {
        drive.change(&folder, json!({ "parents": [place] }));
        drive.state().hidden.clear();
        let fixture = synced(&drive, "/Reports");
        fixture.run();
        let before = fixture.objects();
        assert_eq!(before.len(), 3);
        drive.state().hidden.insert(hidden.clone());
        moves(&drive, &folder, json!({ "parents": [hidden] }));
        for job in [fixture.run(), run_in_full(&fixture), fixture.run()] {
            assert_eq!(job["status"], "completed", "{job}");
            assert_eq!(fixture.objects(), before);
        }
        // Once it can be seen, it is below the place again, or is not.
        drive.state().hidden.clear();
        drive.change(&hidden, json!({ "parents": [place] }));
        assert_eq!(run_in_full(&fixture)["status"], "completed");
        assert!(fixture.paths().contains(&"Hidden/2026/001.txt".to_owned()));
        assert!(before.iter().all(|(file, object)| fixture.objects()[file].id == object.id));
        drive.change(&hidden, json!({ "parents": [ROOT] }));
    }
}

#[test]
fn a_folder_that_is_silently_moved_takes_its_files_with_it() {
    for (to_place, expected) in [("Reports", 23), ("", 20)] {
        let drive = FakeDrive::start();
        let folder = reports(&drive, 20);
        let inner = drive.folder(&folder, "inner");
        for name in ["a", "b", "c"] {
            drive.file(&inner, name, name);
        }
        let reports = drive.state().files[&folder].meta["parents"][0].clone();
        let to = if to_place.is_empty() { json!(drive.folder(ROOT, "Other")) } else { reports };
        let fixture = synced(&drive, "/Reports");
        fixture.run();
        let before = fixture.objects();
        assert_eq!(before.len(), 23);
        drive.change_silently(&inner, json!({ "parents": [to] }));
        drive.requests();

        assert_eq!(run_in_full(&fixture)["status"], "completed");

        assert_eq!(drive.counts().get("download"), None);
        let after = fixture.objects();
        assert_eq!(after.len(), expected);
        assert!(after.iter().all(|(file, object)| before[file].id == object.id));
        assert_eq!(after.values().any(|object| object.path == "inner/a"), expected == 23);
    }
}

#[test]
fn many_files_that_are_silently_moved_away_wait_for_a_decision_before_anybody_is_asked() {
    let drive = FakeDrive::start();
    reports(&drive, 20);
    let other = drive.folder(ROOT, "Other");
    let fixture = synced(&drive, "/Reports");
    fixture.run();
    let before = fixture.objects();
    let moved: Vec<String> = before.keys().take(15).cloned().collect();
    for file in &moved {
        drive.change_silently(file, json!({ "parents": [other] }));
    }
    drive.requests();
    run_in_full(&fixture);
    let held = fixture.status()["held_removals"].clone();
    assert_eq!((&held["reason"], &held["count"]), (&json!("many_removed"), &json!(15)), "{held}");
    assert_eq!(drive.counts().get("batch"), None, "no more is asked than the guard lets through");
    assert_eq!(fixture.objects(), before);

    // One of them is skipped by the listing, and one is somewhere that cannot be seen.
    let hidden = drive.folder(ROOT, "Hidden");
    drive.state().hidden.insert(hidden.clone());
    drive.state().skipped.insert(moved[0].clone());
    let folder = drive.state().files[before.keys().last().unwrap()].meta["parents"].clone();
    drive.change_silently(&moved[0], json!({ "parents": folder }));
    drive.change_silently(&moved[1], json!({ "parents": [hidden] }));
    let jobs = fixture.jobs().len();
    fixture.server.post(&format!("{}/removals/approve", fixture.sync), &json!({})).is(200);
    assert_eq!(fixture.job_after(jobs)["status"], "completed");
    let mut expected = before;
    expected.retain(|file, _| !moved[2..].contains(file));
    assert_eq!(fixture.objects(), expected);
}

#[test]
fn what_a_listing_skips_is_as_it_is_now_once_it_is_looked_up() {
    let drive = FakeDrive::start();
    reports(&drive, 12);
    let fixture = synced(&drive, "root");
    fixture.run();
    let before = fixture.objects();
    let [changed, renamed] =
        ["000.txt", "001.txt"].map(|name| id_at(&before, &format!("Reports/2026/{name}")));
    let reported = drive.state().log.len();
    drive.rewrite(&changed, "other content");
    drive.change(&renamed, json!({ "name": "renamed.txt" }));
    drive.state().log.truncate(reported);
    drive.state().skipped.extend([changed.clone(), renamed.clone()]);
    drive.requests();

    assert_eq!(run_in_full(&fixture)["status"], "completed");

    let requests =
        [("startPageToken", 1), ("list", 2), ("changes", 1), ("batch", 1), ("download", 1)];
    assert_eq!(drive.counts(), counted(&requests));
    let mut expected = before;
    expected.get_mut(&changed).unwrap().content = "other content".to_owned();
    expected.get_mut(&renamed).unwrap().path = "Reports/2026/renamed.txt".to_owned();
    assert_eq!(fixture.objects(), expected);
}
