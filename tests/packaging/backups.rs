//! A backup is complete whenever it can be seen, and what is restored from it goes on.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, Run, poll_until},
        content,
        fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
        trees::Tree,
        wire::Delivery,
    },
};

const SOURCE: &str = "s3://catchment-test";
const NO_ARGS: &[&str] = &[];

/// A bucket with small objects, which are in the database, and larger ones, which are files.
fn source() -> FakeS3 {
    let s3 = FakeS3::start();
    for number in 0..40 {
        s3.put(format!("small {number:03}"), content::pattern(number, 2000));
    }
    for number in 0..6 {
        s3.put(format!("large {number}"), content::pattern(100 + number, 200_000));
    }
    s3
}

/// Where backups of an installation go.
fn place(home: &Catchment) -> PathBuf {
    home.home().join("backup")
}

fn back_up(home: &Catchment) -> Value {
    let run =
        home.run(&[OsStr::new("backup"), place(home).as_os_str(), OsStr::new("--json")]).exits(0);
    run.events().pop().unwrap()
}

/// Another installation, on another disk as far as it knows, that reaches the same S3 server.
fn elsewhere(home: &Catchment) -> Catchment {
    home.clone().with_data_dir(&home.home().join("elsewhere"))
}

fn restore(from: &Path, into: &Catchment) -> Run {
    into.run(&[OsStr::new("restore"), from.as_os_str()])
}

fn gets(s3: &FakeS3) -> usize {
    s3.requests().iter().filter(|seen| seen.kind == Kind::Get).count()
}

#[test]
fn what_is_restored_elsewhere_is_whole_and_goes_on_without_a_download() {
    let s3 = source();
    let home = Catchment::reaching(&s3.endpoint());
    home.sync(SOURCE).exits(0);
    let made = back_up(&home);
    assert_eq!(made["secrets"], "none", "{made}");
    assert_eq!(made["blobs"]["kept"], 0, "{made}");

    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);

    other.holds_exactly(BUCKET, &s3.contents());
    let before = gets(&s3);
    assert_eq!(other.sync(SOURCE).exits(0).summary().unchanged, 46);
    assert_eq!(gets(&s3), before, "something was downloaded again");
    s3.put("new", "comes too");
    other.sync(SOURCE).exits(0);
    other.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn the_owners_extractors_and_the_configuration_come_back_with_their_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let passphrase = "a passphrase of a test";
    let home = Catchment::new().env("CATCHMENT_BACKUP_PASSPHRASE", passphrase);
    let folder = home.data_dir().join("extractors");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(home.data_dir().join("config.toml"), "open_metrics = true\n").unwrap();
    let text = "version = \"1\"\nprogram = [\"cat\", \"{input}\"]\noutput = \"text\"\n\
                environment = { KEY = \"canary-secret\" }\n";
    for (name, mode) in [("mine.toml", 0o600), ("open.toml", 0o644)] {
        std::fs::write(folder.join(name), text).unwrap();
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.join(name), permissions).unwrap();
    }
    let tree = Tree::new("source");
    tree.write("a", "a");
    home.sync(tree.root()).exits(0);
    assert_eq!(back_up(&home)["secrets"], "sealed");
    let manifest = std::fs::read_to_string(place(&home).join("backup.json")).unwrap();
    assert!(!manifest.contains("canary"), "{manifest}");

    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);

    for (name, mode) in [("mine.toml", 0o600), ("open.toml", 0o644)] {
        let path = other.data_dir().join("extractors").join(name);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
    }
    let config = std::fs::read_to_string(other.data_dir().join("config.toml")).unwrap();
    assert_eq!(config, "open_metrics = true\n");
    assert!(other.run(&["extractors"]).exits(0).stdout().contains("mine@1"));
    let into = home.home().join("bare");
    let args = [OsStr::new("backup"), into.as_os_str(), OsStr::new("--without-secrets")];
    home.run(&args).exits(0).says(&["not in the backup: 2 files in extractors/"]);
}

#[test]
fn the_next_backup_copies_only_what_is_new_and_drops_what_is_gone() {
    let s3 = source();
    let home = Catchment::reaching(&s3.endpoint());
    home.sync(SOURCE).exits(0);
    let first = back_up(&home);
    let came = |made: &Value| {
        ["reflinked", "linked", "copied"]
            .iter()
            .map(|how| made["blobs"][how].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(came(&first), 6, "{first}");
    s3.put("large 6", content::pattern(999, 300_000));
    s3.delete("large 0");
    home.sync(SOURCE).exits(0);
    home.run(&["gc"]).exits(0);

    let second = back_up(&home);

    assert_eq!(
        (came(&second), &second["blobs"]["kept"], &second["removed"]),
        (1, &json!(5), &json!(1)),
        "{second}"
    );
    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);
    other.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn on_the_same_disk_large_files_take_no_space_twice() {
    let tree = Tree::new("tree");
    tree.write("large", content::pattern(1, 3 << 20));
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    let made = back_up(&home);
    let shared = &made["blobs"];
    assert_eq!(
        shared["reflinked"].as_u64().unwrap() + shared["linked"].as_u64().unwrap(),
        1,
        "{made}"
    );
}

#[test]
fn a_backup_made_while_a_sync_runs_is_a_moment_of_it() {
    let s3 = FakeS3::start();
    for number in 0..300 {
        s3.put(format!("key {number:03}"), content::pattern(number, 70_000));
    }
    s3.page_size(50);
    s3.inject(Fault::delivery(On::AnyGet, Delivery::Paced(70_000, Duration::from_millis(20))));
    let home = Catchment::reaching(&s3.endpoint());
    let run = home.start_sync(SOURCE, NO_ARGS);
    s3.wait_until("a page to be fetched", |seen| {
        seen.iter().filter(|seen| seen.kind == Kind::Get).count() > 120
    });

    back_up(&home);

    run.ends().exits(0);
    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);
    other.run(&["verify"]).exits(0);
    let held = other.contents(BUCKET);
    let all = s3.contents();
    assert!(held.iter().all(|(path, hash)| all.get(path) == Some(hash)));
    assert!(held.len() < 300, "the backup was to be made in the middle");
    s3.heal();
    other.sync(SOURCE).exits(0);
    other.holds_exactly(BUCKET, &all);
}

/// How often the tests kill: more when somebody asks for it.
fn kills() -> u32 {
    let asked = std::env::var("CATCHMENT_TEST_KILLS").ok();
    asked.map_or(8, |text| text.parse().expect("CATCHMENT_TEST_KILLS is a number"))
}

#[test]
fn a_backup_that_is_killed_leaves_the_last_complete_one_good() {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let tree = Tree::of_files("tree", 200);
    for number in 0..20 {
        tree.write(format!("large {number}"), content::pattern(number, 200_000));
    }
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    let mut complete = BTreeMap::new();
    let mut longest = Duration::from_millis(50);
    let (mut killed, mut round) = (0, 0);
    while killed < kills() {
        round += 1;
        assert!(round < 20 * kills(), "only {killed} of {round} backups were killed");
        let number = rng.u32(0..20);
        tree.write(format!("large {number}"), content::pattern(1000 + u64::from(round), 200_000));
        tree.write(format!("d00/f{:04}", rng.u32(0..100)), format!("round {round}"));
        home.sync(tree.source()).exits(0);
        let now = home.contents("tree");

        let started = home.start(&[OsStr::new("backup"), place(&home).as_os_str()]);
        let delay = longest.mul_f64(rng.f64() * 1.2);
        if started.killed_after(delay) {
            killed += 1;
            longest = longest.max(delay + Duration::from_millis(5));
        } else {
            longest = longest.min(delay).max(Duration::from_millis(20));
            complete = now.clone();
        }

        let other = home.clone().with_data_dir(&home.home().join(format!("restored {round}")));
        if complete.is_empty() && !place(&home).join("backup.json").exists() {
            restore(&place(&home), &other).exits(1).says(&["no complete backup"]);
            continue;
        }
        restore(&place(&home), &other).exits(0);
        other.run(&["verify"]).exits(0);
        let restored = other.contents("tree");
        // Killed behind its last act, the new one is complete.
        assert!(restored == complete || restored == now, "round {round} is neither backup");
        complete = restored;
        std::fs::remove_dir_all(other.data_dir()).unwrap();
    }
}

#[test]
fn a_restore_that_is_killed_is_refused_by_every_command_and_goes_on_when_run_again() {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let tree = Tree::of_files("tree", 100);
    for number in 0..40 {
        tree.write(format!("large {number}"), content::pattern(number, 200_000));
    }
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    back_up(&home);
    let whole = home.contents("tree");
    let mut longest = Duration::from_millis(50);
    let (mut killed, mut round) = (0, 0);
    while killed < kills() {
        round += 1;
        assert!(round < 20 * kills(), "only {killed} of {round} restores were killed");
        let other = home.clone().with_data_dir(&home.home().join(format!("restored {round}")));
        let from = place(&home);
        let started = other.start(&[OsStr::new("restore"), from.as_os_str()]);
        let delay = longest.mul_f64(rng.f64() * 1.2);
        if started.killed_after(delay) {
            killed += 1;
            longest = longest.max(delay + Duration::from_millis(5));
            if other.data_dir().join("restore.incomplete").exists() {
                other.run(&["ls", "--json"]).code();
                other.sync(tree.source()).exits(1).says(&["cut short", "catchment restore"]);
                restore(&from, &other).exits(0);
            } else if !other.data_dir().join("catchment.db").exists() {
                restore(&from, &other).exits(0);
            }
        } else {
            longest = longest.min(delay).max(Duration::from_millis(10));
        }
        assert_eq!(other.contents("tree"), whole);
        other.run(&["verify"]).exits(0);
        std::fs::remove_dir_all(other.data_dir()).unwrap();
    }
}

#[test]
fn restore_refuses_a_data_directory_that_is_not_empty() {
    let tree = Tree::of_files("tree", 3);
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    back_up(&home);
    restore(&place(&home), &home).exits(1).says(&["is not empty", "--data-dir"]);
    let other = elsewhere(&home);
    other.write_home("elsewhere/notes.txt", "mine");
    restore(&place(&home), &other).exits(1).says(&["is not empty"]);
    assert_eq!(std::fs::read(other.data_dir().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_backup_is_not_made_into_a_folder_with_other_things_or_of_another_installation() {
    let tree = Tree::of_files("tree", 3);
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    home.write_home("backup/letter.txt", "mine");
    home.run(&["backup", "backup"]).exits(1).says(&["not empty", "choose another folder"]);
    let inside = home.data_dir().join("copy");
    home.run(&[OsStr::new("backup"), inside.as_os_str()]).exits(1).says(&["data directory"]);

    std::fs::remove_file(home.home().join("backup/letter.txt")).unwrap();
    back_up(&home);
    let stranger = Catchment::new();
    stranger.sync(tree.source()).exits(0);
    let there = place(&home);
    stranger
        .run(&[OsStr::new("backup"), there.as_os_str()])
        .exits(1)
        .says(&["another installation"]);
}

/// An installation with a connection that keeps credentials.
fn with_credentials(s3: &FakeS3) -> Catchment {
    let home = Catchment::new();
    let server = Server::on(&home);
    let endpoint = s3.endpoint();
    server
        .post(
            "/v1/organizations/connections",
            &json!({
                "name": "kept",
                "provider_type": "s3",
                "provider_config": {
                    "provider_type": "s3",
                    "credentials": {"type": "access_key", "access_key_id": endpoint.access_key,
                                     "secret_access_key": endpoint.secret_key},
                    "endpoint_url": endpoint.url,
                },
            }),
        )
        .is(200);
    assert!(server.stop().success());
    home
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files_below(&path)) } else { all.push(path) }
    }
    all
}

fn contains(path: &Path, words: &[u8]) -> bool {
    std::fs::read(path).unwrap().windows(words.len()).any(|part| part == words)
}

#[test]
fn secrets_are_sealed_with_the_passphrase_and_come_back_with_it() {
    let s3 = FakeS3::start();
    let home = with_credentials(&s3);
    let token = std::fs::read_to_string(home.data_dir().join("token")).unwrap();
    home.run(&["backup", "backup"])
        .exits(2)
        .says(&["CATCHMENT_BACKUP_PASSPHRASE", "--without-secrets"]);
    let home = home.env("CATCHMENT_BACKUP_PASSPHRASE", "correct horse");
    assert_eq!(back_up(&home)["secrets"], "sealed");
    for file in files_below(&place(&home)) {
        for secret in [&*s3.endpoint().secret_key, token.trim(), "correct horse"] {
            assert!(!contains(&file, secret.as_bytes()), "{file:?} shows {secret}");
        }
    }

    let wrong = elsewhere(&home).env("CATCHMENT_BACKUP_PASSPHRASE", "wrong horse");
    restore(&place(&home), &wrong).exits(1).says(&["does not open", "nothing was changed"]);
    assert!(!wrong.data_dir().exists());
    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);

    assert_eq!(std::fs::read_to_string(other.data_dir().join("token")).unwrap(), token);
    let server = Server::on(&other);
    let answer = server.post("/v1/organizations/connections/kept/test", &json!({})).json();
    assert_eq!(answer["success"], true, "{answer}");
}

#[test]
fn secrets_that_are_left_out_are_nowhere_in_the_backup() {
    let s3 = FakeS3::start();
    let home = with_credentials(&s3);
    let key = std::fs::read_dir(home.data_dir()).unwrap().map(|entry| entry.unwrap().path()).find(
        |path| {
            path.extension().is_some_and(|end| end == "key")
                && path.to_string_lossy().contains("secrets.")
        },
    );
    let name = key.unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let id = name.strip_prefix("secrets.").unwrap().strip_suffix(".key").unwrap().to_owned();

    home.run(&["backup", "backup", "--without-secrets"]).exits(0).says(&["left out"]);

    for file in files_below(&place(&home)) {
        assert!(!contains(&file, id.as_bytes()), "{file:?} names the key {id}");
    }
    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);
    assert!(!other.data_dir().join("token").exists());
}

#[test]
fn a_damaged_blob_is_named_and_the_rest_is_backed_up() {
    let s3 = source();
    let home = Catchment::reaching(&s3.endpoint());
    home.sync(SOURCE).exits(0);
    let blob = files_below(&home.data_dir().join("blobs")).pop().unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[77] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let name = blob.file_name().unwrap().to_string_lossy().into_owned();

    home.run(&["backup", "backup"]).exits(3).says(&[&name, "verify --repair"]);

    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(3).says(&[&name]);
    other.run(&["verify", "--repair"]).exits(0);
    other.holds_exactly(BUCKET, &s3.contents());
    // Repaired at home, the next backup has it.
    home.run(&["verify", "--repair"]).exits(0);
    home.run(&["backup", "backup"]).exits(0);
}

#[test]
fn a_blob_that_rots_in_the_backup_is_found_and_replaced_when_it_is_checked() {
    let s3 = source();
    let home = Catchment::reaching(&s3.endpoint());
    home.sync(SOURCE).exits(0);
    back_up(&home);
    let blob = files_below(&place(&home).join("blobs")).pop().unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[77] ^= 1;
    // A file of its own: where the backup shares files, the original rots with it.
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, bytes).unwrap();

    home.run(&["backup", "backup", "--check"]).exits(0);

    let other = elsewhere(&home);
    restore(&place(&home), &other).exits(0);
    other.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn blobs_that_a_backup_still_copies_are_not_collected() {
    let tree = Tree::new("tree");
    tree.write("large", content::pattern(1, 200_000));
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    let blobs = || files_below(&home.data_dir().join("blobs")).len();
    // As a backup under way holds it.
    let lock = std::fs::File::create(home.data_dir().join("backup.lock")).unwrap();
    lock.lock().unwrap();

    tree.write("large", content::pattern(2, 200_000));
    home.sync(tree.source()).exits(0);
    assert_eq!(blobs(), 2, "the old one went while a backup was under way");

    drop(lock);
    tree.write("large", content::pattern(3, 200_000));
    home.sync(tree.source()).exits(0);
    poll_until("the old ones to be collected", Duration::from_secs(30), || {
        (blobs() == 1).then_some(())
    });
}

#[test]
fn a_data_directory_that_was_moved_goes_on_at_its_new_place() {
    let s3 = source();
    let home = Catchment::reaching(&s3.endpoint());
    home.sync(SOURCE).exits(0);
    let other = elsewhere(&home);
    std::fs::rename(home.data_dir(), other.data_dir()).unwrap();
    let before = gets(&s3);
    assert_eq!(other.sync(SOURCE).exits(0).summary().unchanged, 46);
    assert_eq!(gets(&s3), before);
    other.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_data_directory_or_a_backup_of_a_newer_version_is_refused_with_what_to_do() {
    let tree = Tree::of_files("tree", 3);
    let home = Catchment::new();
    home.sync(tree.source()).exits(0);
    back_up(&home);
    let manifest = place(&home).join("backup.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut newer: Value = serde_json::from_str(&text).unwrap();
    newer["schema"] = json!(9999);
    newer["program"] = json!("7.0.0");
    std::fs::write(&manifest, newer.to_string()).unwrap();
    restore(&place(&home), &elsewhere(&home)).exits(1).says(&["7.0.0", "install that version"]);

    let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
    db.pragma_update(None, "user_version", 9999).unwrap();
    drop(db);
    home.sync(tree.source()).exits(1).says(&[
        "newer",
        "nothing was changed",
        "install the newer version",
    ]);
}
