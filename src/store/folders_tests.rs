//! Folders that move, with more below them than one step holds.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::Path};

use proptest::prelude::*;
use rusqlite::config::DbConfig;

use super::*;
use crate::{
    model::FolderId,
    store::{Store, StoreError, leases::Fence},
};

const SYNC: i64 = 1;
const TARGET: Target = Target {
    fence: Fence { sync_key: SYNC, token: 1 },
    bucket_key: 1,
    job_key: 1,
    pass: 1,
    skip_duplicates: false,
    waits_for_confirmation: false,
    modified_since: None,
    mark: None,
};

fn id(text: &str) -> FolderId {
    EntryPath::new(text.as_bytes())
}

fn roots() -> Vec<RootFolder> {
    vec![RootFolder { id: id("root"), path: id("") }]
}

/// A tree of folders below the root, by their ids: the parent and the name of each, and how many
/// files it has.
#[derive(Clone, Debug, Default)]
struct Tree(BTreeMap<String, (String, String, usize)>);

impl Tree {
    fn with(mut self, folder: &str, parent: &str, files: usize) -> Self {
        self.0.insert(folder.to_owned(), (parent.to_owned(), format!("name of {folder}"), files));
        self
    }

    /// The path of a folder; `None` below no root.
    fn path(&self, folder: &str) -> Option<String> {
        if folder == "root" {
            return Some(String::new());
        }
        let (parent, name, _) = self.0.get(folder)?;
        let parent = self.path(parent)?;
        Some(if parent.is_empty() { name.clone() } else { format!("{parent}/{name}") })
    }

    fn is_in(&self, folder: &str, other: &str) -> bool {
        folder == other || self.0.get(folder).is_some_and(|(parent, ..)| self.is_in(parent, other))
    }

    /// The paths of all files below the root.
    fn paths(&self) -> Vec<String> {
        let of = |(folder, (.., files)): (&String, &(String, String, usize))| {
            let path = self.path(folder);
            (0..*files).filter_map(move |file| Some(format!("{}/file {file}", path.as_ref()?)))
        };
        let mut paths: Vec<String> = self.0.iter().flat_map(of).collect();
        paths.sort();
        paths
    }

    fn files_in(&self, folder: &str) -> usize {
        self.0
            .iter()
            .filter(|(inner, _)| self.is_in(inner, folder))
            .map(|(_, (.., files))| files)
            .sum()
    }

    /// Writes the tree into an empty database, each file with an object.
    fn write(&self, tx: &Connection) {
        tx.execute_batch(
            "INSERT INTO buckets (bucket_key, id, namespace_key, name, created_at_ms, updated_at_ms)
             VALUES (1, 'bkt', 1, 'bucket', 0, 0);
             INSERT INTO syncs (sync_key, id, bucket_key, connection_key, source_path, options,
                 made_by, named_bucket, status, created_at_ms, updated_at_ms)
             SELECT 1, 'sync', 1, connection_key, x'', '{}', 'api', 0, 'ACTIVE', 0, 0
             FROM connections;
             INSERT INTO leases (sync_key, token, worker, host, pid, acquired_at_ms,
                 expires_at_ms) VALUES (1, 1, 'worker', 'host', 1, 0, 0);
             INSERT INTO jobs (job_key, id, sync_key, status, phase, cause, queued_at_ms,
                 updated_at_ms) VALUES (1, 'job', 1, 'running', 'discovering', 'manual', 0, 0);
             INSERT INTO folders (sync_key, shard, folder_id, name, pass)
             VALUES (1, '', CAST('root' AS BLOB), x'', 1)",
        )
        .unwrap();
        let mut key = 0;
        for (folder, (parent, name, files)) in &self.0 {
            tx.execute(
                "INSERT INTO folders (sync_key, shard, folder_id, parent, name, pass)
                 VALUES (1, '', ?1, ?2, ?3, 1)",
                params![folder.as_bytes(), parent.as_bytes(), name.as_bytes()],
            )
            .unwrap();
            let path = self.path(folder).unwrap_or_default();
            for file in 0..*files {
                key += 1;
                let name = format!("file {file}");
                let path = format!("{path}/{name}");
                tx.execute(
                    "INSERT INTO entries (entry_key, sync_key, source_id, path, version, object_key,
                         is_duplicate, pass) VALUES (?1, 1, ?2, ?3, x'', ?1, 0, 1)",
                    params![key, format!("file {key}").as_bytes(), path.as_bytes()],
                )
                .unwrap();
                tx.execute(
                    "INSERT INTO entry_details (entry_key, sync_key, parent, name)
                     VALUES (?1, 1, ?2, ?3)",
                    params![key, folder.as_bytes(), name.as_bytes()],
                )
                .unwrap();
                tx.execute(
                    "INSERT INTO objects (object_key, id, bucket_key, entry_key, path, size,
                         created_at_ms, updated_at_ms) VALUES (?1, ?2, 1, ?1, ?3, 0, 0, 0)",
                    params![key, format!("object {key}"), path.as_bytes()],
                )
                .unwrap();
            }
        }
    }

    /// Has the store told that a folder is in another one now, under another name.
    fn move_to(&mut self, tx: &Transaction<'_>, folder: &str, parent: &str) -> Result<TreeChanged> {
        let moved = self.0.get_mut(folder).unwrap();
        (moved.0, moved.1) = (parent.to_owned(), format!("new name of {folder}"));
        let (parent, name) = (Some(id(parent)), moved.1.as_bytes().to_vec());
        let folders = vec![Folder { id: id(folder), parent, name }];
        let change = TreeChange { folders, updates_objects: true, ..TreeChange::default() };
        apply(tx, &TARGET, &roots(), "", &change, Timestamp::UNIX_EPOCH)
    }
}

/// The paths that a query returns, in order.
fn paths(db: &Connection, query: &str) -> Vec<String> {
    let mut statement = db.prepare(query).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let mut paths: Vec<String> =
        rows.map(|path| String::from_utf8(path.unwrap()).unwrap()).collect();
    paths.sort();
    paths
}

fn paths_of_entries(db: &Connection) -> Vec<String> {
    paths(
        db,
        "SELECT path FROM entries WHERE entry_key NOT IN (SELECT entry_key FROM gone_entries)",
    )
}

fn paths_of_objects(db: &Connection) -> Vec<String> {
    paths(
        db,
        "SELECT path FROM objects WHERE entry_key NOT IN (SELECT entry_key FROM gone_entries)",
    )
}

fn database(tree: &Tree) -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    db.execute_batch(include_str!("../../schema.sql")).unwrap();
    tree.write(&db);
    db
}

/// A tree of folders with fewer, as many and more files than one step holds, and moves in it.
fn trees() -> impl Strategy<Value = (Tree, Vec<(usize, usize)>)> {
    let files = prop::sample::select(vec![0, 1, 2, 24, 26, 249, 250, 251, 510]);
    let folders = prop::collection::vec((any::<prop::sample::Index>(), files), 1..8);
    let tree = folders.prop_map(|folders| {
        let tree = folders.iter().enumerate();
        tree.fold(Tree::default(), |tree, (at, (parent, files))| {
            let parent = match parent.index(at + 1) {
                0 => "root".to_owned(),
                parent => format!("folder {}", parent - 1),
            };
            tree.with(&format!("folder {at}"), &parent, *files)
        })
    });
    (tree, prop::collection::vec((0_usize..8, 0_usize..10), 1..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_below_a_folder_moves_with_it_leaves_the_root_with_it_and_comes_back_with_it(
        (mut tree, moves) in trees()
    ) {
        let mut db = database(&tree);
        for (folder, parent) in moves {
            let folder = format!("folder {}", folder % tree.0.len());
            let parent = match parent.checked_sub(2) {
                None if parent == 0 => "root".to_owned(),
                // Below no root.
                None => "elsewhere".to_owned(),
                Some(parent) => format!("folder {}", parent % tree.0.len()),
            };
            if tree.is_in(&parent, &folder) {
                continue;
            }
            let (before, files) = (tree.clone(), tree.files_in(&folder));
            let tx = db.transaction().unwrap();
            let changed = tree.move_to(&tx, &folder, &parent).unwrap();
            tx.commit().unwrap();
            if before.path(&folder).is_some() && tree.path(&folder).is_some() {
                let is_moved = before.0[&folder] != tree.0[&folder];
                let files = if is_moved { files as u64 } else { 0 };
                prop_assert_eq!(changed.updated_entries, files);
            }
            prop_assert_eq!(paths_of_entries(&db), tree.paths());
            prop_assert_eq!(paths_of_objects(&db), tree.paths());
        }
    }
}

#[test]
fn what_is_below_a_folder_comes_in_steps_of_a_bounded_length_and_is_complete() {
    let tree = (0..300).fold(Tree::default().with("large", "root", 1234), |tree, folder| {
        tree.with(&format!("small {folder}"), "large", 3)
    });
    let mut db = database(&tree);
    let tx = db.transaction().unwrap();
    let (mut lengths, mut paths) = (Vec::new(), Vec::new());
    below::in_steps(&tx, SYNC, b"large", b"name of large", |step| {
        lengths.push(step.len());
        let text = |entry: &EntryBelow| String::from_utf8(entry.path.clone()).unwrap();
        paths.extend(step.iter().map(text));
        Ok(())
    })
    .unwrap();
    paths.sort();
    assert_eq!(paths, tree.paths());
    assert!(lengths.iter().all(|length| *length <= 250), "{lengths:?}");
    assert_eq!(lengths.len(), (1234 + 300 * 3_usize).div_ceil(250));
}

#[test]
fn long_paths_make_short_steps() {
    let mut tree = Tree::default();
    tree.0.insert("deep".to_owned(), ("root".to_owned(), "n".repeat(100_000), 100));
    let mut db = database(&tree);
    let tx = db.transaction().unwrap();
    let name = "n".repeat(100_000);
    let mut count = 0;
    below::in_steps(&tx, SYNC, b"deep", name.as_bytes(), |step| {
        let bytes: usize = step.iter().map(|entry| entry.path.len()).sum();
        assert!(bytes < 1_200_000, "{bytes} bytes in a step");
        count += step.len();
        Ok(())
    })
    .unwrap();
    assert_eq!(count, 100);
}

#[test]
fn folders_that_are_in_each_other_are_visited_once() {
    let tree = Tree::default().with("a", "b", 1).with("c", "a", 1);
    let mut db = Connection::open_in_memory().unwrap();
    db.execute_batch(include_str!("../../schema.sql")).unwrap();
    tree.write(&db);
    db.execute(
        "INSERT INTO folders (sync_key, shard, folder_id, parent, name, pass)
         VALUES (1, '', CAST('b' AS BLOB), CAST('c' AS BLOB), x'62', 1)",
        [],
    )
    .unwrap();
    let tx = db.transaction().unwrap();
    let mut folders = FoldersBelow::new(&tx, SYNC, b"a", b"");
    let mut visited = Vec::new();
    while let Some(folder) = folders.next().unwrap() {
        visited.push(String::from_utf8(folder).unwrap());
    }
    assert_eq!(visited, ["a", "c", "b"]);
}

/// A store with a folder of 1,000 files.
async fn stored(dir: &Path) -> (Store, Tree) {
    let store = Store::open(dir).unwrap();
    let tree = Tree::default().with("folder", "root", 1000);
    let written = tree.clone();
    store
        .write(move |tx| {
            written.write(tx);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    (store, tree)
}

async fn stored_paths(store: &Store) -> [Vec<String>; 2] {
    store.read(|db| Ok([paths_of_entries(db), paths_of_objects(db)])).await.unwrap()
}

#[tokio::test]
async fn a_move_that_fails_after_some_steps_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, tree) = stored(dir.path()).await;
    store
        .write(|tx| {
            let fails = "CREATE TRIGGER fails BEFORE UPDATE OF path ON objects
                         WHEN old.object_key = 700 BEGIN SELECT RAISE(ABORT, 'full'); END";
            Ok::<_, StoreError>(tx.execute_batch(fails)?)
        })
        .await
        .unwrap();
    let mut moved = tree.clone();
    let failed = store
        .write(move |tx| {
            let failed = moved.move_to(tx, "folder", "root").map(drop);
            // Those before it were written.
            assert_eq!(paths_of_objects(tx).iter().filter(|p| p.starts_with("new")).count(), 500);
            failed
        })
        .await;
    assert!(matches!(failed, Err(StoreError::Sqlite(_))), "{failed:?}");
    assert_eq!(stored_paths(&store).await, [tree.paths(), tree.paths()]);
}

#[tokio::test]
async fn a_kill_before_a_move_is_committed_leaves_everything_where_it_was() {
    let (dir, after_kill) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, tree) = stored(dir.path()).await;
    let mut moved = tree.clone();
    let (from, to) = (dir.path().to_owned(), after_kill.path().to_owned());
    store
        .write(move |tx| {
            // With no pages in memory, all that is changed is in the log by then.
            tx.pragma_update(None, "cache_size", 0)?;
            let length = || std::fs::metadata(from.join("catchment.db-wal")).unwrap().len();
            let before = length();
            moved.move_to(tx, "folder", "root")?;
            assert!(length() > before, "nothing of the move is on the disk");
            // What a process that is killed now leaves behind.
            for file in std::fs::read_dir(&from).unwrap().map(|file| file.unwrap().path()) {
                if file.is_file() {
                    std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
                }
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let killed = Store::open(after_kill.path()).unwrap();
    assert_eq!(stored_paths(&killed).await, [tree.paths(), tree.paths()]);
    assert_ne!(stored_paths(&store).await, [tree.paths(), tree.paths()]);
}
