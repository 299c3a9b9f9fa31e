//! Files that are in several folders, as old ones may be: each is one object, in the first of its
//! folders that is below the place.

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

#[test]
fn a_preview_shows_files_in_several_folders_where_a_run_puts_them() {
    let folders = Folders::new();
    for place in ["root", "/Reports"] {
        let fixture = folders.synced(place);
        let connection = fixture.status()["connection_id"].clone();
        let question = json!({ "connection_id": connection, "source_path": place });
        let preview = fixture.server.post(&format!("{SYNCS}/preview"), &question).is(200);
        let sample = preview["sample"].as_array().unwrap().iter();
        let mut paths: Vec<&str> = sample.map(|one| one["path"].as_str().unwrap()).collect();
        paths.sort_unstable();
        assert_eq!(paths, fixture.paths());
    }
}
