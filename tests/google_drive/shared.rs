//! Shared drives: their feeds are about nothing else, so that what shortcuts lead to elsewhere has
//! to be asked for.

use serde_json::{Value, json};

use crate::{
    fake_drive::{FOLDER, FakeDrive, ROOT, SHORTCUT},
    synced::Fixture,
    syncs::{credentials, home, killed_in_silence},
};

/// The id of the shared drive.
const TEAM: &str = "0ATeamDrive";

impl FakeDrive {
    fn in_team(&self, parent: &str, name: &str, more: Value, content: &str) -> String {
        let mut meta = json!({ "driveId": TEAM });
        meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.add(parent, name, meta, content.into())
    }

    fn team_file(&self, parent: &str, name: &str, content: &str) -> String {
        let id = self.in_team(parent, name, json!({ "mimeType": "text/plain" }), content);
        self.rewrite(&id, content);
        id
    }

    fn team_link(&self, parent: &str, name: &str, target: &str) -> String {
        let kind = self.state().files[target].meta["mimeType"].clone();
        let details = json!({ "targetId": target, "targetMimeType": kind });
        let more = json!({ "mimeType": SHORTCUT, "shortcutDetails": details });
        self.in_team(parent, name, more, "")
    }
}

/// A shared drive with a file in a folder, and a folder of My Drive with two files, to which a
/// shortcut in the shared drive leads.
struct Team {
    drive: FakeDrive,
    folder: String,
    file: String,
    elsewhere: String,
}

impl Team {
    fn new() -> Self {
        let drive = FakeDrive::start();
        let folder = drive.in_team(TEAM, "Folder", json!({ "mimeType": FOLDER }), "");
        let file = drive.team_file(&folder, "file.txt", "of the team");
        let elsewhere = drive.folder(ROOT, "Elsewhere");
        drive.file(&elsewhere, "a.txt", "a");
        let below = drive.folder(&elsewhere, "below");
        drive.file(&below, "b.txt", "b");
        drive.team_link(TEAM, "link", &elsewhere);
        Self { drive, folder, file, elsewhere }
    }

    fn made(&self) -> Fixture {
        let order =
            json!({ "source_path": "root", "provider_filters": { "shared_drive_id": TEAM } });
        let fixture = Fixture::ordered(&home(&self.drive), "google_drive", &credentials(), &order);
        self.drive.requests();
        fixture
    }

    fn synced(&self) -> Fixture {
        let fixture = self.made();
        assert_eq!(fixture.run()["status"], "completed");
        self.drive.requests();
        fixture
    }
}

#[test]
fn a_folder_of_another_drive_that_a_shortcut_leads_to_is_listed_where_it_is() {
    let team = Team::new();
    let fixture = team.synced();
    let all = ["Folder/file.txt", "link/a.txt", "link/below/b.txt"];
    assert_eq!(fixture.paths(), all);

    // Its feed says nothing of that.
    team.drive.file(&team.elsewhere, "c.txt", "c");
    assert_eq!(fixture.run()["status"], "completed");
    let counts = team.drive.counts();
    let asked = ["changes", "batch", "download"].map(|kind| counts[kind]);
    assert_eq!(asked, [1, 1, 1], "{counts:?}");
    assert!(fixture.paths().contains(&"link/c.txt".to_owned()));
}

#[test]
fn a_server_killed_while_it_lists_folders_of_another_drive_continues_there() {
    let team = Team::new();
    let drive = &team.drive;
    drive.state().files.retain(|_, file| file.meta["mimeType"] != "text/plain");
    let deep = drive.folder(&team.elsewhere, "deep");
    for number in 0..40 {
        let (name, content) = (format!("{number:03}.txt"), format!("content {number}"));
        match number % 4 {
            0 => drop(drive.team_file(&team.folder, &name, &content)),
            1 => drop(drive.file(&team.elsewhere, &name, content)),
            _ => drop(drive.file(&deep, &name, content)),
        }
    }
    let fixture = team.made();
    drive.state().silent_after = Some(25);
    fixture.begin();
    killed_in_silence(drive, fixture, 40);
}

#[test]
fn a_target_in_another_drive_that_is_gone_is_known_by_asking_for_it_and_goes() {
    let team = Team::new();
    let target = team.drive.file(ROOT, "target.txt", "target");
    team.drive.team_link(TEAM, "linked.txt", &target);
    let fixture = team.synced();
    assert!(fixture.objects().contains_key(&target));
    for is_gone in [true, false] {
        team.drive.change(&target, json!({ "trashed": is_gone }));
        assert_eq!(fixture.run()["status"], "completed");
        assert_eq!(team.drive.counts()["batch"], 1);
        assert_eq!(fixture.objects().contains_key(&target), !is_gone);
    }
    team.drive.delete(&target);
    assert_eq!(fixture.run()["status"], "completed");
    assert!(!fixture.objects().contains_key(&target));
}

#[test]
fn what_is_moved_out_of_a_shared_drive_goes_and_what_comes_back_keeps_its_id() {
    let team = Team::new();
    let fixture = team.synced();
    team.drive.change(&team.file, json!({ "driveId": null, "parents": [ROOT] }));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.paths(), ["link/a.txt", "link/below/b.txt"]);
    team.drive.change(&team.file, json!({ "driveId": TEAM, "parents": [team.folder] }));
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects()[&team.file].path, "Folder/file.txt");
}

#[test]
fn a_shared_drive_that_is_gone_fails_the_run_and_removes_nothing() {
    let team = Team::new();
    let fixture = team.synced();
    let before = fixture.objects();
    team.drive.state().gone_drives.insert(TEAM.to_owned());
    for full in [false, true] {
        let jobs = fixture.jobs().len();
        let trigger = format!("{}/trigger?full_sync={full}", fixture.sync);
        fixture.server.post(&trigger, &json!({})).is(200);
        let job = fixture.job_after(jobs);
        assert_eq!(job["status"], "failed", "{job}");
        assert_eq!(fixture.objects(), before);
    }
    team.drive.state().gone_drives.clear();
    assert_eq!(fixture.run()["status"], "completed");
    assert_eq!(fixture.objects(), before);
    let counts = team.drive.counts();
    assert_eq!(counts.get("download"), None, "{counts:?}");
}
