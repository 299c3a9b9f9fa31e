//! What a run would do to a drive, before it is made: with the paths that objects would have.

use serde_json::{Value, json};

use crate::{
    fake_drive::{FakeDrive, ROOT},
    synced::{Fixture, SYNCS},
    syncs::{credentials, home},
};

/// A drive with `Reports/2026/a.txt` and `b.txt`, `Other/target.txt`, and a file at its top; with
/// the ids of `2026`, `Reports` and the target.
fn drive() -> (FakeDrive, String, String, String) {
    let drive = FakeDrive::start();
    // The file is listed before the folders that it is in.
    let early = drive.file(ROOT, "a.txt", "a");
    let reports = drive.folder(ROOT, "Reports");
    let folder = drive.folder(&reports, "2026");
    drive.change(&early, json!({ "parents": [folder] }));
    drive.file(&folder, "b.txt", "b");
    let other = drive.folder(ROOT, "Other");
    let target = drive.file(&other, "target.txt", "target");
    drive.file(ROOT, "top.txt", "top");
    (drive, folder, reports, target)
}

fn preview(fixture: &Fixture, question: &Value) -> Value {
    fixture.server.post(&format!("{SYNCS}/preview"), question).is(200)
}

/// Paths of a preview's sample with what would become of them.
fn sample(preview: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sample = preview["sample"].as_array().unwrap().iter();
    let mut sample: Vec<_> =
        sample.map(|entry| (text(&entry["path"]), text(&entry["action"]))).collect();
    sample.sort();
    sample
}

fn all(action: &str, paths: &[&str]) -> Vec<(String, String)> {
    paths.iter().map(|path| ((*path).to_owned(), action.to_owned())).collect()
}

#[test]
fn a_preview_of_a_drive_shows_paths_with_folders_whatever_is_listed_first() {
    let (drive, ..) = drive();
    drive.state().page_size = 2;
    let fixture = Fixture::made(&home(&drive), "google_drive", &credentials(), "root");
    let connection = fixture.status()["connection_id"].clone();

    let whole = preview(&fixture, &json!({ "connection_id": connection, "source_path": "root" }));
    let paths = ["Other/target.txt", "Reports/2026/a.txt", "Reports/2026/b.txt", "top.txt"];
    assert_eq!(sample(&whole), all("add", &paths));
    assert_eq!((&whole["complete"], &whole["looked_at"]), (&json!(true), &json!(4)));

    let filters = json!({ "file_filters": { "include_patterns": ["Reports/**"] } });
    let mut question = json!({ "connection_id": connection, "source_path": "root" });
    question.as_object_mut().unwrap().extend(filters.as_object().unwrap().clone());
    let filtered = preview(&fixture, &question);
    let added: Vec<_> = sample(&filtered).into_iter().filter(|(_, to)| to == "add").collect();
    assert_eq!(added, all("add", &["Reports/2026/a.txt", "Reports/2026/b.txt"]));

    let place = json!({ "connection_id": connection, "source_path": "/Reports" });
    let of_folder = preview(&fixture, &place);
    assert_eq!(sample(&of_folder), all("add", &["2026/a.txt", "2026/b.txt"]));
    assert_eq!(of_folder["looked_at"], 2);
}

#[test]
fn a_preview_of_a_stored_sync_shows_moves_as_such_and_removes_nothing_that_is_there() {
    let (drive, folder, reports, target) = drive();
    drive.shortcut(&reports, "link.txt", &target);
    let place = drive.folder(ROOT, "Linked");
    drive.file(&place, "below.txt", "below");
    drive.shortcut(&reports, "linked", &place);
    let fixture = Fixture::made(&home(&drive), "google_drive", &credentials(), "/Reports");
    let id = fixture.status()["sync_config_id"].clone();
    let question = json!({ "sync_config_id": id });
    let paths = ["2026/a.txt", "2026/b.txt", "link.txt", "linked/below.txt"];
    assert_eq!(sample(&preview(&fixture, &question)), all("add", &paths));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), paths);

    let unchanged = preview(&fixture, &question);
    assert_eq!((sample(&unchanged), &unchanged["looked_at"]), (Vec::new(), &json!(4)));
    drive.change(&folder, json!({ "name": "2026 final" }));
    let moved = preview(&fixture, &question);
    let paths = ["2026 final/a.txt", "2026 final/b.txt"];
    assert_eq!(sample(&moved), all("rename", &paths));
    assert_eq!(moved["bytes_to_fetch"], 0);
    assert_eq!(fixture.run()["metadata"]["counts"]["updated"], 2, "as it said");
}
