//! Reading works where nothing can be written.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    catchment::Catchment,
    content,
    trees::{Tree, contents_of},
};

/// Large enough that its hash is made of parts.
const LARGE: usize = (17 << 20) + 5;

/// Everything at and below a folder, the folder last.
fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(all_below(&path)),
            false => all.push(path),
        }
    }
    all.push(dir.to_owned());
    all
}

/// Takes the permission to write from everything in the data directory, and binds commands to it.
fn read_only(catchment: &Catchment) -> Catchment {
    for path in all_below(catchment.data_dir()) {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & !0o222)).unwrap();
    }
    catchment.clone().bound_by_permissions()
}

fn synced() -> (Tree, Catchment) {
    let tree = Tree::of_files("tree", 5);
    tree.write("large", content::pattern(1, LARGE));
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    (tree, catchment)
}

#[test]
fn everything_can_be_read_where_nothing_can_be_written_and_nothing_is_changed() {
    let (tree, catchment) = synced();
    // Without the hashes of its parts, which cannot be stored now.
    for path in all_below(&catchment.data_dir().join("blobs")) {
        if path.extension() == Some(OsStr::new("parts")) {
            fs::remove_file(path).unwrap();
        }
    }
    let catchment = read_only(&catchment);
    let before = all_below(catchment.data_dir());

    catchment.run(&["ls"]).exits(0).says(&["tree"]);
    assert!(catchment.contents("tree") == tree.contents());
    assert!(catchment.get("tree", b"large") == content::pattern(1, LARGE));
    let range = catchment.run(&["get", "tree/large", "--range", "9000000-9000009"]).exits(0);
    assert_eq!(range.stdout, content::pattern(1, LARGE)[9_000_000..9_000_010]);
    catchment.run(&["verify"]).exits(0);
    catchment.run(&["status"]).exits(0).says(&["tree"]);
    let out = catchment.home().join("out");
    catchment.run(&[OsStr::new("export"), OsStr::new("tree"), out.as_os_str()]).exits(0);
    assert!(contents_of(&out) == tree.contents());

    assert_eq!(all_below(catchment.data_dir()), before);
}

/// A copy of a data directory in use, with a change that is only in the log of the database.
fn copied_in_use(with_index: bool) -> Catchment {
    let (_tree, catchment) = synced();
    let database = rusqlite::Connection::open(catchment.data_dir().join("catchment.db")).unwrap();
    database
        .execute_batch("PRAGMA wal_autocheckpoint = 0; UPDATE buckets SET name = 'only-in-the-log'")
        .unwrap();
    let copy = catchment.home().join("copy");
    let copied = Command::new("cp").arg("-a").arg(catchment.data_dir()).arg(&copy).status();
    assert!(copied.unwrap().success());
    assert!(fs::metadata(copy.join("catchment.db-wal")).unwrap().len() > 0);
    if !with_index {
        fs::remove_file(copy.join("catchment.db-shm")).unwrap();
    }
    catchment.with_data_dir(&copy)
}

#[test]
fn what_is_only_in_the_log_of_the_database_is_read_too() {
    for with_index in [true, false] {
        let catchment = read_only(&copied_in_use(with_index));
        catchment.run(&["ls"]).exits(0).says(&["only-in-the-log"]);
        catchment.run(&["verify"]).exits(0);
    }
}

#[test]
fn what_would_write_says_that_nothing_can_be_written() {
    let (tree, catchment) = synced();
    let catchment = read_only(&catchment);
    catchment.sync(tree.source()).exits(1).says(&["data directory", "permission denied"]);
    catchment.run(&["verify", "--repair"]).exits(1).says(&["data directory"]);
}
