//! The doctor finds each fault that it knows, says how to mend it, and shows no secret.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, PermissionsExt as _},
    },
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        catchment::{Catchment, Run},
        content,
        fake_s3::{FakeS3, Fault, On},
        trees::Tree,
    },
};

/// Findings of the doctor, told as JSON.
struct Findings(Vec<Value>, Run);

fn examine(home: &Catchment) -> Findings {
    let run = home.run(&["doctor", "--json"]);
    let [report] = &run.events()[..] else { panic!("one object: {run}") };
    let findings = report["findings"].as_array().unwrap().clone();
    for finding in &findings {
        let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 4, "{finding}");
        let is_ok = finding["status"] == "ok";
        assert_eq!(finding["fix"].is_null(), is_ok, "what is wrong has a way out: {finding}");
    }
    let has_errors = findings.iter().any(|finding| finding["status"] == "error");
    assert_eq!(run.code(), Some(i32::from(has_errors)), "{run}");
    Findings(findings, run)
}

impl Findings {
    /// Asserts that a check came to that, and that message or fix speak of these.
    #[track_caller]
    fn finds(&self, check: &str, status: &str, words: &[&str]) -> &Self {
        let found = self.0.iter().filter(|finding| finding["check"] == check);
        let found: Vec<&Value> = found.filter(|finding| finding["status"] == status).collect();
        assert!(!found.is_empty(), "no {status} of {check}: {}", self.1);
        let said = format!("{found:?}");
        for word in words {
            assert!(said.contains(word), "{check} does not say {word:?}: {said}");
        }
        self
    }
}

/// An installation that keeps the small folder `tree`, on a port that nobody has.
fn healthy() -> (Catchment, Tree) {
    let tree = Tree::of_files("tree", 5);
    tree.write("large", content::pattern(1, 200_000));
    let home = Catchment::new().env("CATCHMENT_LISTEN", "127.0.0.1:0");
    home.sync(tree.source()).exits(0);
    (home, tree)
}

#[test]
fn a_healthy_installation_has_no_errors() {
    let (home, _tree) = healthy();
    let findings = examine(&home);
    for check in
        ["permissions", "disk_space", "database", "blobs", "keyring", "clock", "port", "provider"]
    {
        findings.finds(check, "ok", &[]);
    }
    assert!(findings.0.iter().any(|finding| finding["check"] == "disk_speed"));
    home.run(&["doctor"]).exits(0).says(&["database", "disk_space"]);
}

#[test]
fn before_the_first_sync_there_is_nothing_wrong_and_nothing_is_made() {
    let home = Catchment::new().env("CATCHMENT_LISTEN", "127.0.0.1:0");
    examine(&home).finds("permissions", "ok", &["first sync"]);
    assert!(!home.data_dir().exists());
}

#[test]
fn a_data_directory_that_cannot_be_written_is_an_error() {
    let (home, _tree) = healthy();
    fs::set_permissions(home.data_dir(), fs::Permissions::from_mode(0o500)).unwrap();
    let home = home.bound_by_permissions();
    examine(&home).finds("permissions", "error", &["cannot be written", "chmod u+rwx"]);
    fs::set_permissions(home.data_dir(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_data_directory_that_others_may_read_is_a_warning() {
    let (home, _tree) = healthy();
    fs::set_permissions(home.data_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    examine(&home).finds("permissions", "warning", &["others may look", "chmod 700"]);
}

#[test]
fn files_of_another_user_are_an_error_that_names_them() {
    if !rustix::process::getuid().is_root() {
        eprintln!("not shown: only root can give a file away");
        return;
    }
    let (home, _tree) = healthy();
    std::os::unix::fs::chown(home.data_dir().join("blobs"), Some(12345), None).unwrap();
    examine(&home).finds("permissions", "error", &["blobs", "another user", "chown"]);
}

#[test]
fn a_disk_without_the_room_that_is_to_stay_free_is_an_error() {
    let (home, _tree) = healthy();
    examine(&home.env("CATCHMENT_MIN_FREE", "1EiB")).finds(
        "disk_space",
        "error",
        &["CATCHMENT_MIN_FREE"],
    );
}

#[test]
fn a_clock_that_went_back_is_an_error() {
    let (home, _tree) = healthy();
    examine(&home.at_time("-2d")).finds("clock", "error", &["set-ntp"]);
}

#[test]
fn more_folders_than_can_be_watched_are_a_warning_with_the_line_that_raises_the_limit() {
    let (home, _small) = healthy();
    let tree = Tree::of_files("large", 2000);
    let server = Server::on(&home);
    let order =
        json!({"connection_id": "conn_local", "source_path": tree.root().to_str().unwrap()});
    server.post("/v1/buckets/tree/syncs", &order).is(200);
    assert!(server.stop().success());

    // A namespace of its own, in which root is nobody, has a limit of its own.
    let limited = "echo 10 >/proc/sys/user/max_inotify_watches && exec \"$0\" doctor --json";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", limited, env!("CARGO_BIN_EXE_catchment")])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home.home())
        .env("CATCHMENT_DATA_DIR", home.data_dir())
        .env("CATCHMENT_KEYRING", "off")
        .env("CATCHMENT_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["check"] == "watch_limits").unwrap();
    assert_eq!(found["status"], "warning", "{found}");
    assert!(found["fix"].as_str().unwrap().contains("user.max_inotify_watches="), "{found}");
    assert!(found["fix"].as_str().unwrap().contains("sysctl --system"), "{found}");
}

#[test]
fn a_port_in_use_is_an_error_that_says_by_whom() {
    let (home, _tree) = healthy();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let process = format!("(process {})", std::process::id());
    examine(&home.env("CATCHMENT_LISTEN", &address)).finds(
        "port",
        "error",
        &[&address, &process, "--listen"],
    );
}

#[test]
fn the_port_of_its_own_server_is_no_fault() {
    let (home, _tree) = healthy();
    let server = Server::on(&home);
    let address = server.address.to_string();
    examine(&home.env("CATCHMENT_LISTEN", &address)).finds("port", "ok", &["the server listens"]);
}

#[test]
fn a_source_that_is_gone_is_an_error_that_names_it() {
    let (home, tree) = healthy();
    fs::rename(tree.root(), tree.root().with_extension("elsewhere")).unwrap();
    let place = String::from_utf8_lossy(tree.source().as_bytes()).into_owned();
    examine(&home).finds("provider", "error", &[&place]);
}

#[test]
fn refused_credentials_are_an_error_and_are_not_shown() {
    let s3 = FakeS3::start();
    s3.put("key", "bytes");
    let secret = s3.endpoint().secret_key;
    let home = Catchment::reaching(&s3.endpoint()).env("CATCHMENT_LISTEN", "127.0.0.1:0");
    home.sync("s3://catchment-test").exits(0);
    s3.inject(Fault::error(On::Listing, 403, "InvalidAccessKeyId"));
    let findings = examine(&home);
    findings.finds("provider", "error", &["s3://catchment-test", "refused"]);
    assert!(!findings.1.stdout().contains(&secret) && !findings.1.stderr.contains(&secret));
}

/// An installation with stored credentials, whose key is in this file.
fn with_credentials() -> (Catchment, std::path::PathBuf) {
    let home = Catchment::new().env("CATCHMENT_LISTEN", "127.0.0.1:0");
    let server = Server::on(&home);
    let body = json!({
        "name": "kept",
        "provider_type": "s3",
        "test_before_save": false,
        "provider_config": {
            "provider_type": "s3",
            "credentials": {"type": "access_key", "access_key_id": "AK", "secret_access_key": "canary"},
        },
    });
    server.post("/v1/organizations/connections", &body).is(200);
    assert!(server.stop().success());
    let key = fs::read_dir(home.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("secrets.key_"));
    (home, key.unwrap())
}

#[test]
fn a_key_that_is_gone_is_an_error_and_one_that_is_there_is_not_shown() {
    let (home, key) = with_credentials();
    let text = fs::read_to_string(&key).unwrap();
    let secret = text.lines().last().unwrap();
    let findings = examine(&home);
    findings.finds("keyring", "ok", &["1 key"]);
    assert!(!findings.1.stdout().contains(secret));
    fs::remove_file(&key).unwrap();
    examine(&home).finds("keyring", "error", &["is gone", "backup", "again"]);
}

#[test]
fn a_missing_file_of_a_blob_is_an_error() {
    let (home, _tree) = healthy();
    let blobs = home.data_dir().join("blobs");
    fs::remove_dir_all(&blobs).unwrap();
    examine(&home).finds("blobs", "error", &["1 of", "verify --repair"]);
}

#[test]
fn a_damaged_database_is_an_error_with_the_way_to_go_on() {
    let (home, _tree) = healthy();
    home.run(&["gc"]).exits(0);
    let database = home.data_dir().join("catchment.db");
    let file = fs::OpenOptions::new().write(true).open(&database).unwrap();
    let pages = file.metadata().unwrap().len() / 16384;
    for page in 2..pages {
        file.write_all_at(&[0xab; 4096], page * 16384).unwrap();
    }
    examine(&home).finds("database", "error", &["catchment restore", "docs/recovery.md"]);

    file.write_all_at(b"not a database at all", 0).unwrap();
    examine(&home).finds("database", "error", &["damaged", "docs/recovery.md"]);
    home.run(&["ls"]).exits(1).says(&["catchment doctor"]);
}

/// What `docs/recovery.md` says for a damaged database without a backup.
#[test]
fn without_a_backup_a_new_database_beside_the_old_blobs_brings_back_what_the_sources_have() {
    let (home, tree) = healthy();
    let database = home.data_dir().join("catchment.db");
    fs::write(&database, "not a database at all").unwrap();
    let blobs = home.data_dir().join("blobs");
    let files = |dir: &std::path::Path| -> Vec<_> {
        let folders = fs::read_dir(dir).unwrap().map(|folder| folder.unwrap().path());
        folders
            .flat_map(|folder| fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()))
            .collect()
    };
    let before = files(&blobs);

    for end in ["", "-wal", "-shm"] {
        let from = home.data_dir().join(format!("catchment.db{end}"));
        if from.exists() {
            fs::rename(&from, from.with_extension(format!("damaged{end}"))).unwrap();
        }
    }
    home.sync(tree.source()).exits(0);
    home.run(&["gc"]).exits(0);

    home.holds_exactly("tree", &tree.contents());
    assert_eq!(files(&blobs), before, "the file that was there is used again");
    examine(&home).finds("database", "ok", &[]);
}

#[test]
fn a_database_of_a_newer_version_is_an_error() {
    let (home, _tree) = healthy();
    let db = rusqlite::Connection::open(home.data_dir().join("catchment.db")).unwrap();
    db.pragma_update(None, "user_version", 9999).unwrap();
    drop(db);
    examine(&home).finds("database", "error", &["newer"]);
}

#[test]
fn a_restore_that_was_cut_short_is_an_error() {
    let (home, _tree) = healthy();
    fs::write(home.data_dir().join("restore.incomplete"), "").unwrap();
    examine(&home).finds("database", "error", &["cut short", "catchment restore"]);
}
