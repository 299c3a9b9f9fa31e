//! Shortcuts of a drive: what they lead to is part of the place, once, where the shortcut is.

use serde_json::{Value, json};

use crate::{
    counted,
    fake_drive::{DOCUMENT, FOLDER, FakeDrive, ROOT, SHORTCUT},
    synced::{Fixture, Object},
    syncs::{credentials, home, killed_in_silence},
};

impl FakeDrive {
    /// A shortcut to a file or folder.
    pub fn shortcut(&self, parent: &str, name: &str, target: &str) -> String {
        let kind = self.state().files.get(target).map(|file| file.meta["mimeType"].clone());
        let kind = kind.unwrap_or_else(|| "text/plain".into());
        let mut details = json!({ "targetId": target, "targetMimeType": kind });
        if let Some(key) = self.state().keys.get(target) {
            details["targetResourceKey"] = key.as_str().into();
        }
        let more = json!({ "mimeType": SHORTCUT, "shortcutDetails": details });
        self.add(parent, name, more, Vec::new())
    }
}

/// A drive with `Reports`, which is synced, and `Other` beside it.
struct Places {
    drive: FakeDrive,
    reports: String,
    other: String,
}

impl Places {
    fn new() -> Self {
        let drive = FakeDrive::start();
        let reports = drive.folder(ROOT, "Reports");
        let other = drive.folder(ROOT, "Other");
        for number in 0..8 {
            drive.file(&reports, &format!("{number}.txt"), format!("content {number}"));
        }
        Self { drive, reports, other }
    }

    /// The sync of `Reports` after its first run.
    fn synced(&self) -> Fixture {
        let fixture = self.ordered(json!({}));
        self.run(&fixture);
        fixture
    }

    fn ordered(&self, filters: Value) -> Fixture {
        let order = json!({ "source_path": "/Reports", "provider_filters": filters });
        Fixture::ordered(&home(&self.drive), "google_drive", &credentials(), &order)
    }

    fn run(&self, fixture: &Fixture) {
        self.drive.requests();
        let job = fixture.run();
        assert_eq!(job["status"], "completed", "{job}");
    }

    /// Runs the sync again, which makes exactly these requests.
    fn run_with(&self, fixture: &Fixture, requests: &[(&str, usize)]) {
        self.run(fixture);
        assert_eq!(self.drive.counts(), counted(requests));
    }
}

/// The paths that are not those of `Reports` itself.
fn linked(fixture: &Fixture) -> Vec<String> {
    let own = |path: &String| path.len() == "0.txt".len() && path.ends_with(".txt");
    fixture.paths().into_iter().filter(|path| !own(path)).collect()
}

#[test]
fn a_first_run_takes_each_target_once_by_one_batch_and_lists_the_folders_among_them() {
    let places = Places::new();
    let Places { drive, reports, other } = &places;
    let inside = drive.file(reports, "in.txt", "in reach");
    drive.shortcut(reports, "in reach already", &inside);
    let target = drive.file(ROOT, "target.txt", "the target");
    drive.shortcut(reports, "first.txt", &target);
    drive.shortcut(reports, "second.txt", &target);
    let document = drive.add(ROOT, "Plan", json!({ "mimeType": DOCUMENT }), b"plan".to_vec());
    drive.shortcut(reports, "the plan", &document);
    let deep = drive.folder(other, "deep");
    drive.file(&deep, "below.txt", "below");
    drive.shortcut(reports, "folder", other);
    drive.shortcut(&deep, "back", reports);
    drive.shortcut(&deep, "in circles", other);
    drive.shortcut(reports, "to nothing", "1NoSuchFile");

    let fixture = places.synced();

    let expected = ["first.txt", "folder/deep/below.txt", "in.txt", "the plan.docx"];
    assert_eq!(linked(&fixture), expected);
    let counts = drive.counts();
    let asked = ["batch", "list", "changes", "download", "export"].map(|kind| counts[kind]);
    assert_eq!(asked, [1, 3, 1, 8 + 3, 1], "{counts:?}");
    places.run_with(&fixture, &[("changes", 1)]);
}

#[test]
fn shortcuts_are_left_out_where_they_are_not_to_be_followed() {
    let places = Places::new();
    let target = places.drive.file(ROOT, "target.txt", "the target");
    places.drive.shortcut(&places.reports, "link.txt", &target);
    let fixture = places.ordered(json!({ "follow_shortcuts": false }));
    places.run(&fixture);
    assert_eq!(linked(&fixture), [""; 0]);
    assert_eq!(places.drive.counts().get("batch"), None);
}

#[test]
fn a_target_that_is_edited_elsewhere_is_downloaded_and_one_that_is_deleted_goes() {
    let places = Places::new();
    let target = places.drive.file(ROOT, "target.txt", "before");
    places.drive.shortcut(&places.reports, "link.txt", &target);
    let fixture = places.synced();
    let before = fixture.objects()[&target].clone();

    places.drive.rewrite(&target, "after");
    places.run_with(&fixture, &[("changes", 1), ("download", 1)]);
    assert_eq!(fixture.objects()[&target], Object { content: "after".into(), ..before });

    places.drive.change(&target, json!({ "trashed": true }));
    places.run_with(&fixture, &[("changes", 1)]);
    assert_eq!(linked(&fixture), [""; 0]);
    places.drive.change(&target, json!({ "trashed": false }));
    places.run_with(&fixture, &[("changes", 1), ("download", 1)]);
    assert_eq!(linked(&fixture), ["link.txt"]);
}

#[test]
fn a_target_keeps_its_object_through_renames_of_shortcuts_and_moves_into_the_place_and_out() {
    let places = Places::new();
    let Places { drive, reports, other } = &places;
    let target = drive.file(ROOT, "target.txt", "the target");
    let first = drive.shortcut(reports, "first.txt", &target);
    let second = drive.shortcut(reports, "second.txt", &target);
    let fixture = places.synced();
    let object = fixture.objects()[&target].clone();
    assert_eq!(object.path, "first.txt");
    let is_at = |path: &str| {
        let path = path.to_owned();
        assert_eq!(fixture.objects()[&target], Object { path, ..object.clone() });
    };

    drive.change(&first, json!({ "name": "renamed.txt" }));
    places.run_with(&fixture, &[("changes", 1), ("batch", 1)]);
    is_at("renamed.txt");
    drive.change(&first, json!({ "trashed": true }));
    places.run_with(&fixture, &[("changes", 1), ("batch", 1)]);
    is_at("second.txt");
    drive.change(&target, json!({ "parents": [reports] }));
    places.run_with(&fixture, &[("changes", 1)]);
    is_at("target.txt");
    drive.change(&target, json!({ "parents": [other] }));
    places.run_with(&fixture, &[("changes", 1)]);
    is_at("second.txt");
    drive.delete(&second);
    places.run_with(&fixture, &[("changes", 1)]);
    assert_eq!(linked(&fixture), [""; 0]);
}

#[test]
fn a_folder_behind_a_shortcut_follows_the_shortcut_and_what_happens_in_it() {
    let places = Places::new();
    let Places { drive, reports, other } = &places;
    let files = ["a", "b"].map(|name| drive.file(other, name, format!("content of {name}")));
    let shortcut = drive.shortcut(reports, "link", other);
    let fixture = places.synced();
    let before = fixture.objects();
    assert_eq!(linked(&fixture), ["link/a", "link/b"]);

    drive.change(&shortcut, json!({ "name": "renamed" }));
    places.run_with(&fixture, &[("changes", 1)]);
    for (file, name) in files.iter().zip(["a", "b"]) {
        let path = format!("renamed/{name}");
        assert_eq!(fixture.objects()[file], Object { path, ..before[file].clone() });
    }
    drive.change(other, json!({ "name": "its own name does not matter" }));
    drive.file(other, "c", "new");
    places.run_with(&fixture, &[("changes", 1), ("download", 1)]);
    assert_eq!(linked(&fixture), ["renamed/a", "renamed/b", "renamed/c"]);
    drive.change(&shortcut, json!({ "trashed": true }));
    places.run_with(&fixture, &[("changes", 1)]);
    assert_eq!(linked(&fixture), [""; 0]);
}

#[test]
fn a_shortcut_that_is_new_brings_its_target_in_a_changes_pass() {
    let places = Places::new();
    let Places { drive, reports, other } = &places;
    let target = drive.file(ROOT, "target.txt", "the target");
    drive.file(other, "a", "in the folder");
    let fixture = places.synced();
    drive.shortcut(reports, "link.txt", &target);
    drive.shortcut(reports, "folder", other);
    places.run_with(&fixture, &[("changes", 1), ("batch", 1), ("list", 1), ("download", 2)]);
    assert_eq!(linked(&fixture), ["folder/a", "link.txt"]);
}

#[test]
fn a_full_pass_finds_the_targets_again_and_those_of_shortcuts_that_went_unreported_go() {
    let places = Places::new();
    let Places { drive, reports, other } = &places;
    let target = drive.file(ROOT, "target.txt", "the target");
    let unreported = drive.shortcut(reports, "link.txt", &target);
    drive.file(other, "a", "in the folder");
    drive.shortcut(reports, "folder", other);
    let fixture = places.synced();
    let before = fixture.objects();
    let full = || {
        drive.requests();
        let jobs = fixture.jobs().len();
        let trigger = format!("{}/trigger?full_sync=true", fixture.sync);
        fixture.server.post(&trigger, &json!({})).is(200);
        assert_eq!(fixture.job_after(jobs)["status"], "completed");
        drive.counts()
    };
    let counts = full();
    assert_eq!(fixture.objects(), before);
    assert_eq!((counts.get("batch"), counts.get("download")), (Some(&1), None), "{counts:?}");

    drive.state().files.remove(&unreported);
    full();
    assert_eq!(linked(&fixture), ["folder/a"]);
}

#[test]
fn a_shared_drive_asks_for_targets_that_its_feed_does_not_report() {
    let drive = FakeDrive::start();
    let shared = "0ASharedDrive";
    let of_drive = |more: Value| {
        let mut meta = json!({ "driveId": shared });
        meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        meta
    };
    drive.add(shared, "Folder", of_drive(json!({ "mimeType": FOLDER })), Vec::new());
    let target = drive.file(ROOT, "target.txt", "before");
    let details = json!({ "targetId": target, "targetMimeType": "text/plain" });
    let shortcut = json!({ "mimeType": SHORTCUT, "shortcutDetails": details });
    drive.add(shared, "link.txt", of_drive(shortcut), Vec::new());
    let order = json!({
        "source_path": "root", "provider_filters": { "shared_drive_id": shared },
    });
    let fixture = Fixture::ordered(&home(&drive), "google_drive", &credentials(), &order);
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["link.txt"]);
    drive.requests();

    drive.rewrite(&target, "after");
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(drive.counts(), counted(&[("changes", 1), ("batch", 1), ("download", 1)]));
    assert_eq!(fixture.objects()[&target].content, "after");
}

#[test]
fn targets_that_are_shared_by_their_links_are_opened_with_the_keys_of_their_shortcuts() {
    let places = Places::new();
    let Places { drive, reports, other } = &places;
    let target = drive.file(ROOT, "target.txt", "the target");
    let document = drive.add(ROOT, "Plan", json!({ "mimeType": DOCUMENT }), b"plan".to_vec());
    drive.file(other, "below.txt", "below");
    for (number, id) in [&target, &document, other].into_iter().enumerate() {
        let key = format!("0-Key_{number}");
        drive.state().keys.insert(id.clone(), key.clone());
        drive.change(id, json!({ "resourceKey": key }));
    }
    let shortcut = drive.shortcut(reports, "link.txt", &target);
    drive.shortcut(reports, "plan", &document);
    drive.shortcut(reports, "folder", other);
    let fixture = places.synced();
    assert_eq!(linked(&fixture), ["folder/below.txt", "link.txt", "plan.docx"]);
    let object = fixture.objects()[&target].clone();

    // The key is stored with the shortcut, for runs that do not list it.
    drive.change(&shortcut, json!({ "name": "renamed.txt" }));
    places.run_with(&fixture, &[("changes", 1), ("batch", 1)]);
    let path = "renamed.txt".to_owned();
    assert_eq!(fixture.objects()[&target], Object { path, ..object.clone() });
    drive.rewrite(&target, "other content");
    places.run_with(&fixture, &[("changes", 1), ("download", 1)]);
    assert_eq!(fixture.objects()[&target].content, "other content");

    let jobs = fixture.jobs().len();
    fixture.server.post(&format!("{}/trigger?full_sync=true", fixture.sync), &json!({})).is(200);
    assert_eq!(fixture.job_after(jobs)["status"], "completed");
    assert_eq!(linked(&fixture), ["folder/below.txt", "plan.docx", "renamed.txt"]);
    assert_eq!(fixture.objects()[&target].id, object.id);
}

/// Adds files numbered from 10 to 39 to what is synced: in `Reports`, at the end of shortcuts, and
/// in a folder at the end of one.
fn add_thirty(drive: &FakeDrive, reports: &str, other: &str) {
    for number in 10..40 {
        let (name, content) = (format!("{number:03}.txt"), format!("content {number}"));
        match number % 3 {
            0 => drop(drive.file(reports, &name, content)),
            1 => drop(drive.file(other, &name, content)),
            _ => {
                let target = drive.file(ROOT, &format!("target {number}"), content);
                drive.shortcut(reports, &name, &target);
            }
        }
    }
    drive.shortcut(reports, "link", other);
}

/// A drive with `Reports`, in which ten files are, and its sync, which has not run.
fn ten_files() -> (FakeDrive, String, String, Fixture) {
    let drive = FakeDrive::start();
    drive.state().page_size = 10;
    let (reports, other) = (drive.folder(ROOT, "Reports"), drive.folder(ROOT, "Other"));
    for number in 0..10 {
        drive.file(&reports, &format!("{number:03}.txt"), format!("content {number}"));
    }
    let fixture = Fixture::made(&home(&drive), "google_drive", &credentials(), "/Reports");
    (drive, reports, other, fixture)
}

#[test]
fn a_server_killed_anywhere_in_a_full_pass_with_shortcuts_has_every_file_once() {
    // In the folder itself, at the targets of shortcuts, and in the folder that one leads to.
    for killed_after in [5, 23, 34] {
        let (drive, reports, other, fixture) = ten_files();
        add_thirty(&drive, &reports, &other);
        drive.state().silent_after = Some(killed_after);
        fixture.begin();
        let fixture = killed_in_silence(&drive, fixture, 40);
        let is_linked = |path: &&String| path.starts_with("link/");
        assert_eq!(fixture.paths().iter().filter(is_linked).count(), 10);
    }
}

#[test]
fn a_server_killed_anywhere_in_a_changes_pass_with_shortcuts_has_every_file_once() {
    for killed_after in [5, 13, 25] {
        let (drive, reports, other, fixture) = ten_files();
        assert_eq!(fixture.run()["status"], "completed");
        let before = fixture.objects();
        add_thirty(&drive, &reports, &other);
        drive.state().silent_after = Some(killed_after);
        fixture.begin();
        let fixture = killed_in_silence(&drive, fixture, 40);
        let after = fixture.objects();
        assert!(before.iter().all(|(file, object)| after[file] == *object));
        let is_linked = |path: &&String| path.starts_with("link/");
        assert_eq!(fixture.paths().iter().filter(is_linked).count(), 10);
    }
}
