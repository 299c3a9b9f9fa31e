//! Reports of removals that are not to be believed, and files that cannot be read: whatever Google,
//! or a proxy in its place, says, nothing goes that is there, and nothing is passed over in
//! silence.

use serde_json::json;

use crate::{
    fake_drive::{FakeDrive, ROOT},
    synced::Fixture,
    syncs::{reports, synced},
};

#[test]
fn a_change_that_comes_without_its_file_is_asked_for_and_removes_only_what_is_gone() {
    let drive = FakeDrive::start();
    let folder = reports(&drive, 9);
    let loose = drive.file(ROOT, "loose.txt", "loose");
    let gone = drive.file(ROOT, "gone.txt", "gone");
    let fixture = synced(&drive, "root");
    fixture.run();
    assert_eq!(fixture.objects().len(), 11);
    for id in [&folder, &loose, &gone] {
        drive.state().reported_without_file.insert(id.clone());
        drive.state().log.push(id.clone());
    }
    drive.delete(&gone);

    assert_eq!(fixture.run()["status"], "completed");

    let paths = fixture.paths();
    assert_eq!(paths.len(), 10, "{paths:?}");
    assert!(!paths.contains(&"gone.txt".to_owned()), "{paths:?}");
}

/// Has a feed report everything as removed, which is held.
fn held(drive: &FakeDrive) -> Fixture {
    reports(drive, 30);
    let fixture = synced(drive, "root");
    fixture.run();
    let files: Vec<String> = {
        let state = drive.state();
        let is_file = |id: &&String| state.files[*id].meta["mimeType"] == "text/plain";
        state.files.keys().filter(is_file).cloned().collect()
    };
    assert_eq!(files.len(), 30);
    let mut state = drive.state();
    state.reported_as_removed.extend(files.clone());
    state.log.extend(files);
    drop(state);
    fixture.run();
    assert_eq!(fixture.status()["held_removals"]["count"], 30);
    fixture
}

#[test]
fn approving_held_removals_removes_nothing_that_is_there_again() {
    let drive = FakeDrive::start();
    let fixture = held(&drive);
    drive.state().reported_as_removed.clear();
    let kept: Vec<String> = fixture.objects().into_keys().collect();
    let before = fixture.jobs().len();

    fixture.server.post(&format!("{}/removals/approve", fixture.sync), &json!({})).is(200);
    fixture.job_after(before);

    assert_eq!(fixture.objects().into_keys().collect::<Vec<_>>(), kept);
    assert!(fixture.status()["held_removals"].is_null(), "{}", fixture.status());
}

#[test]
fn what_a_proxy_calls_missing_is_not_proven_gone() {
    let drive = FakeDrive::start();
    reports(&drive, 3);
    let blocked = drive.file(ROOT, "blocked.txt", "blocked");
    let fixture = synced(&drive, "root");
    fixture.run();
    drive.state().skipped.insert(blocked.clone());
    drive.state().blocked_by_a_proxy.insert(blocked);
    let before = fixture.jobs().len();

    fixture.server.post(&format!("{}/trigger?full_sync=true", fixture.sync), &json!({})).is(200);
    assert_eq!(fixture.job_after(before)["status"], "completed");

    assert_eq!(fixture.objects().len(), 4);
}

#[test]
fn a_file_whose_id_or_name_cannot_be_is_a_dead_letter_and_the_others_arrive() {
    let drive = FakeDrive::start();
    reports(&drive, 3);
    let odd = drive.file(ROOT, "odd.txt", "odd");
    drive.change(&odd, json!({ "id": "1.odd:id" }));
    let nameless = drive.file(ROOT, "nameless.txt", "nameless");
    drive.change(&nameless, json!({ "name": null }));
    let fields = drive.file(ROOT, "fields.txt", "fields");
    drive.change(&fields, json!({ "size": 6, "starred": "yes", "createdTime": "2026-02-31" }));
    let fixture = synced(&drive, "root");

    fixture.run();

    let mut letters = fixture.letters();
    letters.sort();
    let unsupported = "unsupported_type".to_owned();
    assert_eq!(letters, [(nameless, unsupported.clone()), ("odd.txt".to_owned(), unsupported)]);
    assert_eq!(fixture.objects().len(), 4);
}
