//! Files and folders that are in several folders, as old ones may be: each file is one object, each
//! folder is there once, in the first of its folders that is below the place, whichever of those
//! come and go.

use serde_json::{Value, json};

use crate::{
    counted,
    fake_drive::{FakeDrive, ROOT},
    synced::{Fixture, Object, SYNCS},
    syncs::{credentials, home},
};

/// A drive with `Reports/a` and `Reports/b`, and `Other` beside it.
struct Folders {
    drive: FakeDrive,
    a: String,
    b: String,
    other: String,
}

impl Folders {
    fn new() -> Self {
        let drive = FakeDrive::start();
        // Listed before the folders that it is in.
        let both = drive.file(ROOT, "both.txt", "in a and b");
        let partly = drive.file(ROOT, "partly.txt", "in b and elsewhere");
        let reports = drive.folder(ROOT, "Reports");
        let [a, b] = ["a", "b"].map(|name| drive.folder(&reports, name));
        let other = drive.folder(ROOT, "Other");
        drive.file(&a, "only.txt", "in a");
        drive.change(&both, json!({ "parents": [b, a] }));
        drive.change(&partly, json!({ "parents": [other, b] }));
        Self { drive, a, b, other }
    }

    fn synced(&self, place: &str) -> Fixture {
        let fixture = Fixture::made(&home(&self.drive), "google_drive", &credentials(), place);
        assert_eq!(fixture.run()["status"], "completed");
        self.drive.requests();
        fixture
    }
}

#[test]
fn a_file_in_several_folders_is_in_the_first_that_is_below_the_place() {
    let folders = Folders::new();
    let fixture = folders.synced("/Reports");
    assert_eq!(fixture.paths(), ["a/only.txt", "b/both.txt", "b/partly.txt"]);
    let fixture = folders.synced("root");
    let all = ["Other/partly.txt", "Reports/a/only.txt", "Reports/b/both.txt"];
    assert_eq!(fixture.paths(), all);
}

#[test]
fn folders_of_other_people_that_a_file_is_in_do_not_hide_it() {
    let folders = Folders::new();
    let elsewhere = folders.drive.file(ROOT, "shared.txt", "in a folder that is not seen");
    folders.drive.change(&elsewhere, json!({ "parents": ["1NotSeenByThisAccount", folders.a] }));
    let fixture = folders.synced("root");
    assert!(fixture.paths().contains(&"Reports/a/shared.txt".to_owned()));
}

#[test]
fn a_second_full_pass_leaves_files_in_several_folders_where_they_are() {
    for place in ["root", "/Reports"] {
        let folders = Folders::new();
        let fixture = folders.synced(place);
        let before = fixture.objects();
        let jobs = fixture.jobs().len();
        let trigger = format!("{}/trigger?full_sync=true", fixture.sync);
        fixture.server.post(&trigger, &json!({})).is(200);
        let job = fixture.job_after(jobs);
        assert_eq!(job["status"], "completed", "{job}");
        assert_eq!(job["metadata"]["counts"]["updated"], 0, "{job}");
        assert_eq!(fixture.objects(), before);
        assert_eq!(folders.drive.counts().get("download"), None);
    }
}

#[test]
fn changes_of_the_folders_that_a_file_is_in_move_it_without_a_download() {
    let folders = Folders::new();
    let Folders { drive, a, b, other } = &folders;
    let fixture = folders.synced("/Reports");
    let before = fixture.objects();
    let moved = before.values().find(|object| object.path == "b/both.txt").unwrap().clone();
    let file = before.iter().find(|(_, object)| **object == moved).unwrap().0.clone();
    let is_at = |parents: Value, path: &str| {
        drive.change(&file, json!({ "parents": parents }));
        fixture.run();
        assert_eq!(drive.counts(), counted(&[("changes", 1)]), "{path}");
        let path = path.to_owned();
        assert_eq!(fixture.objects()[&file], Object { path, ..moved.clone() });
    };
    is_at(json!([other, a]), "a/both.txt");
    is_at(json!(["1NotSeenByThisAccount", b]), "b/both.txt");
    is_at(json!([a, b]), "a/both.txt");

    let new = drive.file(other, "new.txt", "new");
    drive.change(&new, json!({ "parents": [other, b] }));
    fixture.run();
    assert_eq!(drive.counts(), counted(&[("changes", 1), ("download", 1)]));
    assert_eq!(fixture.objects()[&new].path, "b/new.txt");
    drive.change(&new, json!({ "parents": [other] }));
    fixture.run();
    assert!(!fixture.objects().contains_key(&new), "it is in none of them any more");
}

/// A preview of a place, and the paths that it shows, sorted.
fn previewed(fixture: &Fixture, place: &str) -> (Value, Vec<String>) {
    let connection = fixture.status()["connection_id"].clone();
    let question = json!({ "connection_id": connection, "source_path": place });
    let preview = fixture.server.post(&format!("{SYNCS}/preview"), &question).is(200);
    let sample = preview["sample"].as_array().unwrap().iter();
    let mut paths: Vec<String> =
        sample.map(|one| one["path"].as_str().unwrap().to_owned()).collect();
    paths.sort_unstable();
    (preview, paths)
}

#[test]
fn a_preview_shows_files_in_several_folders_where_a_run_puts_them() {
    let folders = Folders::new();
    for place in ["root", "/Reports"] {
        let fixture = folders.synced(place);
        assert_eq!(previewed(&fixture, place).1, fixture.paths());
    }
}

/// `Reports` with `a` and `b`, and a folder with files that is in both, and in `Other` before.
struct Shared {
    drive: FakeDrive,
    reports: String,
    a: String,
    b: String,
    other: String,
    folder: String,
}

impl Shared {
    fn new() -> Self {
        let drive = FakeDrive::start();
        // Listed before the folders that it is in, and another one beside it for the guard.
        let folder = drive.folder(ROOT, "both");
        let inner = drive.folder(&folder, "inner");
        let file = drive.file(ROOT, "loose.txt", "loose");
        for number in 0..3 {
            drive.file(&inner, &format!("{number}.txt"), format!("content {number}"));
        }
        let reports = drive.folder(ROOT, "Reports");
        let [a, b] = ["a", "b"].map(|name| drive.folder(&reports, name));
        for number in 0..20 {
            drive.file(&reports, &format!("other {number}.txt"), format!("other {number}"));
        }
        let other = drive.folder(ROOT, "Other");
        drive.change(&folder, json!({ "parents": [other, a, b] }));
        drive.change(&file, json!({ "parents": [other, a, b] }));
        Self { drive, reports, a, b, other, folder }
    }

    fn synced(&self, place: &str) -> Fixture {
        let fixture = Fixture::made(&home(&self.drive), "google_drive", &credentials(), place);
        assert_eq!(fixture.run()["status"], "completed");
        self.drive.requests();
        fixture
    }
}

/// The paths of what is in several folders.
fn shared(fixture: &Fixture) -> Vec<String> {
    let mut paths = fixture.paths();
    paths.retain(|path| !path.contains("other "));
    paths
}

/// What is in several folders, in this one.
fn all_in(folder: &str) -> Vec<String> {
    let inner = (0..3).map(|number| format!("{folder}/both/inner/{number}.txt"));
    inner.chain([format!("{folder}/loose.txt")]).collect()
}

/// A run that lists everything; nothing is to be downloaded for it.
fn run_in_full(drive: &FakeDrive, fixture: &Fixture) {
    let before = fixture.jobs().len();
    drive.requests();
    fixture.server.post(&format!("{}/trigger?full_sync=true", fixture.sync), &json!({})).is(200);
    let job = fixture.job_after(before);
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(drive.counts().get("download"), None, "nothing is downloaded");
}

#[test]
fn a_folder_in_several_folders_is_in_the_first_that_is_below_the_place_and_stays_there() {
    for (place, first) in [("root", "Other"), ("/Reports", "a")] {
        let folders = Shared::new();
        let fixture = folders.synced(place);
        let before = fixture.objects();
        assert_eq!(shared(&fixture), all_in(first), "{place}");
        for _ in 0..2 {
            run_in_full(&folders.drive, &fixture);
            assert_eq!(fixture.objects(), before, "{place}: nothing moves back and forth");
            fixture.run();
            assert_eq!(folders.drive.counts(), counted(&[("changes", 1)]));
            assert_eq!(fixture.objects(), before, "{place}");
        }
    }
}

#[test]
fn what_is_in_several_folders_is_in_the_next_of_them_when_one_goes_and_back_when_it_comes() {
    for is_silent in [false, true] {
        let folders = Shared::new();
        let Shared { drive, reports, a, other, .. } = &folders;
        let fixture = folders.synced("/Reports");
        let before = fixture.objects();
        let leaves: [(Value, Value); 2] = [
            (json!({ "parents": [other] }), json!({ "parents": [reports] })),
            (json!({ "trashed": true }), json!({ "trashed": false })),
        ];
        for (gone, back) in leaves {
            for (change, place) in [(gone, "b"), (back, "a")] {
                match is_silent {
                    true => drive.change_silently(a, change.clone()),
                    false => drive.change(a, change.clone()),
                }
                match is_silent {
                    true => run_in_full(drive, &fixture),
                    false => {
                        assert_eq!(fixture.run()["status"], "completed");
                        assert_eq!(drive.counts().get("download"), None);
                    }
                }
                assert_eq!(shared(&fixture), all_in(place), "{change}");
                assert_eq!(fixture.objects().len(), before.len());
                run_in_full(drive, &fixture);
                assert_eq!(shared(&fixture), all_in(place), "{change}");
            }
        }
        let after = fixture.objects();
        assert!(before.iter().all(|(file, object)| after[file].id == object.id));
    }
}

#[test]
fn a_folder_that_leaves_the_last_of_its_folders_below_the_place_goes() {
    let folders = Shared::new();
    let Shared { drive, other, b, folder, .. } = &folders;
    let fixture = folders.synced("/Reports");
    drive.change(folder, json!({ "parents": [other, b] }));
    fixture.run();
    let mut moved = all_in("b");
    *moved.last_mut().unwrap() = "a/loose.txt".to_owned();
    moved.sort();
    assert_eq!(shared(&fixture), moved);
    drive.change(folder, json!({ "parents": [other] }));
    fixture.run();
    assert_eq!(shared(&fixture), ["a/loose.txt"]);
}

#[test]
fn a_preview_shows_folders_in_several_folders_where_a_run_puts_them() {
    let folders = Shared::new();
    for place in ["root", "/Reports"] {
        let fixture = folders.synced(place);
        let ((preview, shown), paths) = (previewed(&fixture, place), fixture.paths());
        assert!(shown.iter().all(|path| paths.contains(path)), "{shown:?}");
        assert_eq!(preview["looked_at"], paths.len(), "{preview}");
    }
}
