//! Exporting a bucket: the files that went in come out, with their names, bytes and times, in the
//! folder that was asked for and nowhere else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::symlink,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tempfile::TempDir;

/// An installation, a folder `source` to sync and a folder `out` to export to.
struct Home(TempDir);

/// What a command came to.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Home {
    /// With these files in its source, synced into the bucket `source`.
    fn with(files: &[(&[u8], &[u8])]) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        for (path, content) in files {
            home.write(path, content);
        }
        home.sync();
        home
    }

    fn source(&self) -> PathBuf {
        self.0.path().join("source")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    /// Writes a file of the source, with a time in the past that has nanoseconds.
    fn write(&self, path: &[u8], content: &[u8]) {
        let path = self.source().join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let modified = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_891, 123_456_789);
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }

    fn run(&self, args: &[&OsStr]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_catchment"))
            .env("CATCHMENT_QUIET_PERIOD_MS", "0")
            .env("CATCHMENT_MIN_FREE", "0")
            .arg("--data-dir")
            .arg(self.0.path().join("data"))
            .args(args)
            .output()
            .unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn sync(&self) {
        let run = self.run(&["sync".as_ref(), self.source().as_ref()]);
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
    }

    fn export(&self, args: &[&str]) -> Run {
        let out = self.out();
        let mut all = vec!["export".as_ref(), "source".as_ref(), out.as_os_str()];
        all.extend(args.iter().map(OsStr::new));
        self.run(&all)
    }
}

impl Run {
    #[track_caller]
    fn says(self, code: i32, words: &[&str]) -> Self {
        let said = format!("exit {:?}\n{}{}", self.code, self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "it does not say {word:?}: {said}");
        }
        self
    }

    fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Everything below a folder that is no folder: content and time by path. Links are not followed.
fn contents(root: &Path) -> BTreeMap<OsString, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let facts = entry.metadata().unwrap();
            let path = entry.path();
            if facts.is_dir() {
                folders.push(path);
                continue;
            }
            let content = match facts.is_symlink() {
                true => fs::read_link(&path).unwrap().into_os_string().into_vec(),
                false => fs::read(&path).unwrap(),
            };
            let name = path.strip_prefix(root).unwrap().as_os_str().to_owned();
            found.insert(name, (content, facts.modified().unwrap()));
        }
    }
    found
}

#[test]
fn what_went_in_comes_out_with_its_names_bytes_and_times() {
    let large = vec![7; 300_000];
    let home = Home::with(&[
        (b"a.txt", b"small"),
        (b"empty", b""),
        (b"large", &large),
        (b"folder/within/a folder", b"deep"),
        (b"folder-beside", b"sorts between folder and what is in it"),
        (b"latin-1 caf\xe9/\xff\xfe", b"not UTF-8"),
        (b"new\nline\x1b[31m", b"hostile"),
        ("cafe\u{301}".as_bytes(), b"decomposed"),
        ("caf\u{e9}".as_bytes(), b"composed"),
        (b"A.TXT", b"another"),
        (b"trailing. ", b"dot and space"),
        (&[b'l'; 255], b"as long as can be"),
    ]);
    home.export(&[]).says(0, &["exported 12 objects", "0 unchanged, 0 not exported"]);
    assert_eq!(contents(&home.out()), contents(&home.source()));
}

#[test]
fn exporting_again_changes_nothing() {
    let home = Home::with(&[(b"a", b"1"), (b"d/b", &[1; 100_000]), (b"d/e/c", b"3")]);
    home.export(&[]).says(0, &["exported 3 objects"]);
    home.export(&[]).says(0, &["exported 0 objects (0 B), 3 unchanged, 0 not exported"]);
    home.export(&["--overwrite"]).says(0, &["exported 0 objects (0 B), 3 unchanged"]);
}

#[test]
fn a_file_with_the_same_bytes_and_another_time_is_unchanged() {
    let home = Home::with(&[(b"a", b"1"), (b"b", b"2")]);
    fs::create_dir(home.out()).unwrap();
    fs::write(home.out().join("a"), "1").unwrap();
    fs::write(home.out().join("b"), "x").unwrap();
    home.export(&[]).says(3, &["0 objects", "1 unchanged, 1 not exported", "not exported: b ("]);
    assert_eq!(fs::read(home.out().join("b")).unwrap(), b"x");
}

#[test]
fn a_file_that_differs_is_reported_and_kept() {
    let home = Home::with(&[(b"a", b"1"), (b"b", b"2")]);
    fs::create_dir(home.out()).unwrap();
    fs::write(home.out().join("a"), "somebody's own").unwrap();
    home.export(&[]).says(3, &["not exported: a (a file with other content exists"]);
    assert_eq!(fs::read(home.out().join("a")).unwrap(), b"somebody's own");
    assert_eq!(fs::read(home.out().join("b")).unwrap(), b"2");
}

#[test]
fn a_file_that_differs_is_replaced_when_that_is_asked_for() {
    let home = Home::with(&[(b"a", b"1"), (b"large", &[2; 100_000])]);
    fs::create_dir(home.out()).unwrap();
    fs::write(home.out().join("a"), "somebody's own").unwrap();
    fs::write(home.out().join("large"), "small").unwrap();
    home.export(&["--overwrite"]).says(0, &["exported 2 objects"]);
    assert_eq!(contents(&home.out()), contents(&home.source()));
}

#[test]
fn a_folder_that_is_a_link_to_elsewhere_is_not_followed() {
    let home = Home::with(&[(b"inside/a", b"1"), (b"leads/out", b"2"), (b"leads/far/out", b"3")]);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(home.out()).unwrap();
    symlink(elsewhere.path(), home.out().join("leads")).unwrap();
    for args in [&[][..], &["--overwrite"]] {
        home.export(args).says(3, &["not exported: leads/out (", "not exported: leads/far/out ("]);
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
    assert_eq!(fs::read(home.out().join("inside/a")).unwrap(), b"1");
}

#[test]
fn a_file_that_is_a_link_is_never_written_through() {
    let home = Home::with(&[(b"a", b"from the bucket")]);
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir(home.out()).unwrap();
    symlink(&victim, home.out().join("a")).unwrap();
    home.export(&[]).says(3, &["not exported: a (a symbolic link of that name exists"]);
    assert!(fs::symlink_metadata(home.out().join("a")).unwrap().is_symlink());
    home.export(&["--overwrite"]).says(0, &["exported 1 object "]);
    assert_eq!(contents(&home.out()), contents(&home.source()));
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
}

#[test]
fn a_file_in_the_way_of_a_folder_is_reported_and_kept() {
    let home = Home::with(&[(b"a/b", b"1"), (b"a/c/d", b"2"), (b"e", b"3")]);
    fs::create_dir_all(home.out().join("e")).unwrap();
    fs::write(home.out().join("a"), "a file").unwrap();
    home.export(&["--overwrite"])
        .says(3, &["not exported: a/b (", "not exported: a/c/d (", "not exported: e (a folder"]);
    assert_eq!(fs::read(home.out().join("a")).unwrap(), b"a file");
}

#[test]
fn only_what_begins_with_the_prefix_is_exported() {
    let home = Home::with(&[(b"2025/a", b"1"), (b"2026/b", b"2"), (b"2026-c", b"3")]);
    home.export(&["--prefix", "2026/"]).says(0, &["exported 1 object "]);
    assert_eq!(contents(&home.out()).into_keys().collect::<Vec<_>>(), ["2026/b"]);
}

#[test]
fn one_path_from_two_syncs_is_one_file_where_the_bytes_are_the_same() {
    let home = Home::with(&[(b"same", b"1"), (b"differs", b"2")]);
    let other = home.0.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("same"), "1").unwrap();
    fs::write(other.join("differs"), "3").unwrap();
    let args = ["sync".as_ref(), other.as_os_str(), "--bucket".as_ref(), "source".as_ref()];
    home.run(&args).says(0, &[]);
    let words = ["1 unchanged, 1 not exported", "not exported: differs (another object"];
    home.export(&[]).says(3, &words);
    assert_eq!(contents(&home.out()), contents(&home.source()), "the first one has the name");
    home.export(&["--overwrite"]).says(3, &["3 unchanged, 1 not exported"]);
    assert_eq!(contents(&home.out()), contents(&home.source()));
}

#[test]
fn json_reports_each_problem_with_its_exact_path_and_ends_in_a_summary() {
    let home = Home::with(&[(b"caf\xe9", b"1"), (b"fine", b"22")]);
    fs::create_dir(home.out()).unwrap();
    fs::write(home.out().join(OsStr::from_bytes(b"caf\xe9")), "other").unwrap();
    let run = home.export(&["--json"]).says(3, &[]);
    let events = run.events();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["event"], "not_exported");
    assert_eq!(events[0]["path"], "caf%E9");
    assert_eq!(events[0]["path_bytes"], "Y2Fm6Q==");
    assert_eq!(events[0]["error_type"], "conflict");
    let summary = &events[1];
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["status"], "completed_with_errors");
    assert_eq!(summary["bucket"], "source");
    let counts = ["exported", "unchanged", "failed", "bytes"].map(|count| summary[count].as_u64());
    assert_eq!(counts, [Some(1), Some(0), Some(1), Some(2)]);
}

#[test]
fn stored_bytes_that_are_cut_short_do_not_become_a_file() {
    let home = Home::with(&[(b"cut", &[3; 200_000]), (b"fine", b"1")]);
    let blobs = contents(&home.0.path().join("data/blobs"));
    assert_eq!(blobs.len(), 1, "the small one is in the database");
    for blob in blobs.keys() {
        let path = home.0.path().join("data/blobs").join(blob);
        fs::File::options().write(true).open(path).unwrap().set_len(100_000).unwrap();
    }
    home.export(&[]).says(3, &["not exported: cut (its stored bytes are damaged", "exported 1"]);
    assert_eq!(contents(&home.out()).into_keys().collect::<Vec<_>>(), ["fine"]);
}

#[test]
fn a_target_that_cannot_be_a_folder_is_an_error() {
    let home = Home::with(&[(b"a", b"1")]);
    fs::write(home.out(), "a file").unwrap();
    let run = home.export(&[]).says(1, &["out"]);
    assert!(run.stdout.is_empty());
}

#[test]
fn the_scratch_folder_of_a_killed_export_goes_with_the_next_and_that_of_a_living_one_stays() {
    let home = Home::with(&[(b"a", b"a")]);
    let folder = |name: &str| {
        let path = home.out().join(format!(".catchment-{name}.partial"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("time"), b"").unwrap();
        path
    };
    let (left, in_use) =
        (folder("01JD0000000000000000000000"), folder("01JD0000000000000000000001"));
    let lock = fs::File::open(&in_use).unwrap();
    lock.try_lock().unwrap();

    home.export(&[]).says(0, &[]);

    assert!(!left.exists() && in_use.exists());
}
