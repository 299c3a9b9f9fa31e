//! Resource keys: what opens folders and files that are shared by their links to an account that
//! has never seen them. A run needs those that earlier runs were shown.

use serde_json::{Value, json};

use crate::{
    counted,
    fake_drive::{FOLDER, FakeDrive},
    synced::{Fixture, SYNCS},
    syncs::{credentials, home, killed_in_silence},
};

impl FakeDrive {
    /// Shares a file or folder by its link; returns the key.
    fn share_by_link(&self, id: &str) -> String {
        let key = format!("0-Key_of_{id}");
        self.state().keys.insert(id.to_owned(), key.clone());
        self.change(id, json!({ "resourceKey": key }));
        key
    }
}

/// A folder that is shared by its link, with `a.txt` and `sub/b.txt` in it, each of which needs a
/// key of its own.
struct Linked {
    drive: FakeDrive,
    folder: String,
    link: String,
    a: String,
    b: String,
    sub: String,
}

impl Linked {
    fn new() -> Self {
        let drive = FakeDrive::start();
        let folder = drive.add("", "Linked", json!({ "mimeType": FOLDER }), Vec::new());
        let sub = drive.folder(&folder, "sub");
        let (a, b) = (drive.file(&folder, "a.txt", "a"), drive.file(&sub, "b.txt", "b"));
        for id in [&sub, &a, &b] {
            drive.share_by_link(id);
        }
        let key = drive.share_by_link(&folder);
        let link = format!(
            "https://drive.google.com/drive/folders/{folder}?usp=drive_link&resourcekey={key}"
        );
        Self { drive, folder, link, a, b, sub }
    }

    fn made(&self) -> Fixture {
        let fixture = Fixture::made(&home(&self.drive), "google_drive", &credentials(), &self.link);
        self.drive.requests();
        fixture
    }
}

fn full(fixture: &Fixture) -> Value {
    let jobs = fixture.jobs().len();
    fixture.server.post(&format!("{}/trigger?full_sync=true", fixture.sync), &json!({})).is(200);
    fixture.job_after(jobs)
}

#[test]
fn a_folder_is_synced_by_its_link_and_the_key_in_it() {
    let linked = Linked::new();
    let fixture = linked.made();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["a.txt", "sub/b.txt"]);

    // The key is stored with the place: later passes do not need the link.
    assert_eq!(full(&fixture)["status"], "completed");
    linked.drive.change(&linked.sub, json!({ "name": "renamed" }));
    linked.drive.rewrite(&linked.b, "other content");
    linked.drive.requests();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(linked.drive.counts(), counted(&[("changes", 1), ("download", 1)]));
    assert_eq!(fixture.objects()[&linked.b].content, "other content");
    assert_eq!(fixture.paths(), ["a.txt", "renamed/b.txt"]);
}

#[test]
fn a_folder_that_needs_a_key_is_not_found_without_it() {
    let linked = Linked::new();
    let fixture = linked.made();
    let connection = fixture.status()["connection_id"].clone();
    let link = format!("https://drive.google.com/drive/folders/{}?resourcekey=0-no", linked.folder);
    for place in [linked.folder.as_str(), &link] {
        let order = json!({ "connection_id": connection, "source_path": place });
        fixture.server.post(SYNCS, &order).blames("source_path");
    }
}

#[test]
fn a_file_that_failed_is_asked_for_with_its_key_once_its_next_try_is_due() {
    let linked = Linked::new();
    let refusal = (403, "insufficientFilePermissions");
    linked.drive.state().refused_files.insert(linked.a.clone(), refusal);
    let fixture = linked.made();
    fixture.run();
    assert_eq!(fixture.letters(), [("a.txt".to_owned(), "permission_denied".to_owned())]);

    linked.drive.state().refused_files.clear();
    linked.drive.requests();
    let jobs = fixture.jobs().len();
    fixture.server.post(&format!("{}/dlq/requeue", fixture.sync), &json!({})).is(200);
    fixture.begin();
    assert_eq!(fixture.job_after(jobs)["status"], "completed");

    assert_eq!(fixture.letters(), []);
    assert_eq!(fixture.paths(), ["a.txt", "sub/b.txt"]);
    let counts = linked.drive.counts();
    assert_eq!((counts["get"], counts["download"]), (1, 1), "{counts:?}");
}

#[test]
fn a_file_with_a_key_that_a_listing_skips_is_not_taken_for_gone() {
    let linked = Linked::new();
    let fixture = linked.made();
    fixture.run();
    let before = fixture.objects();
    linked.drive.state().skipped.insert(linked.b.clone());
    linked.drive.requests();
    assert_eq!(full(&fixture)["status"], "completed");
    assert_eq!(linked.drive.counts()["batch"], 1, "it was asked for");
    assert_eq!(fixture.objects(), before);
}

#[test]
fn a_server_killed_while_it_lists_folders_with_keys_continues_with_them() {
    let linked = Linked::new();
    let drive = &linked.drive;
    for id in [&linked.a, &linked.b] {
        drive.delete(id);
    }
    drive.state().page_size = 10;
    let mut folders = vec![linked.folder.clone(), linked.sub.clone()];
    // The folders are listed one after the other, each once its files are there.
    for depth in 0..3 {
        let folder = drive.folder(folders.last().unwrap(), &format!("deeper {depth}"));
        drive.share_by_link(&folder);
        folders.push(folder);
    }
    for number in 0..40 {
        let folder = &folders[number % folders.len()];
        let file = drive.file(folder, &format!("{number:03}.txt"), format!("content {number}"));
        drive.share_by_link(&file);
    }
    let fixture = linked.made();
    drive.state().silent_after = Some(12);
    fixture.begin();
    killed_in_silence(drive, fixture, 40);
}
