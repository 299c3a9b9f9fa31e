//! What is below a folder, visited in steps: it may be more than fits into memory.

use rusqlite::{OptionalExtension as _, Statement, Transaction, params};

use super::{Result, places::MAX_DEPTH};

/// An entry below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryBelow {
    /// Key of its row.
    pub(super) entry_key: i64,
    /// Its path, by the folders that lead to it.
    pub(super) path: Vec<u8>,
}

/// Entries of a step. For each statement, SQLite keeps a copy of every page that it changes: with
/// ten times as many, those copies alone can be more than everything else that a server holds.
const STEP: usize = 250;

/// Bytes of paths that are enough for a step.
const STEP_BYTES: usize = 1024 * 1024;

/// Passes the entries below a folder, whose path is `path`, to `take`, a step at a time. What a
/// step changes must be neither folders nor where entries are.
///
/// # Errors
/// Those of `take`, or SQLite's.
pub(super) fn in_steps(
    tx: &Transaction<'_>,
    sync_key: i64,
    folder: &[u8],
    path: &[u8],
    mut take: impl FnMut(&[EntryBelow]) -> Result<()>,
) -> Result<()> {
    let mut folders = FoldersBelow::new(tx, sync_key, folder, path);
    let (mut step, mut bytes) = (Vec::with_capacity(STEP), 0);
    while let Some(folder) = folders.next()? {
        let mut content = tx.prepare_cached(
            "SELECT entry_key, name FROM entry_details WHERE sync_key = ?1 AND parent = ?2",
        )?;
        let mut rows = content.query(params![sync_key, folder])?;
        while let Some(row) = rows.next()? {
            let mut path = folders.path.clone();
            append(&mut path, &row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default());
            bytes += path.len();
            step.push(EntryBelow { entry_key: row.get(0)?, path });
            if step.len() == STEP || bytes >= STEP_BYTES {
                take(&step)?;
                step.clear();
                bytes = 0;
            }
        }
    }
    if step.is_empty() { Ok(()) } else { take(&step) }
}

/// Binds entries to the numbered parameters of [`rows_of`] as many.
pub(super) fn bind(statement: &mut Statement<'_>, entries: &[EntryBelow]) -> rusqlite::Result<()> {
    for (at, EntryBelow { entry_key, path }) in entries.iter().enumerate() {
        statement.raw_bind_parameter(2 * at + 1, entry_key)?;
        statement.raw_bind_parameter(2 * at + 2, path)?;
    }
    Ok(())
}

/// A table `content (entry_key, path)` of so many rows, in front of a statement that has at most
/// one further parameter, the last.
pub(super) fn rows_of(count: usize) -> String {
    let rows: Vec<String> =
        (0..count).map(|at| format!("(?{}, ?{})", 2 * at + 1, 2 * at + 2)).collect();
    format!("WITH content (entry_key, path) AS (VALUES {})", rows.join(", "))
}

/// A folder and all that are known below it, each before what is in it. No more of them are in
/// memory than lead to the one that is visited.
pub(super) struct FoldersBelow<'a> {
    tx: &'a Transaction<'a>,
    sync_key: i64,
    /// The path of the folder that is visited.
    path: Vec<u8>,
    /// The folders that lead to it, and it.
    way: Vec<OnTheWay>,
    is_begun: bool,
}

/// A folder on the way to the one that is visited.
struct OnTheWay {
    id: Vec<u8>,
    /// The length of its path.
    path_bytes: usize,
    /// Key of the last folder in it that was visited.
    last_child: i64,
}

impl<'a> FoldersBelow<'a> {
    /// The folders below one, whose path is `path`.
    pub(super) fn new(tx: &'a Transaction<'a>, sync_key: i64, first: &[u8], path: &[u8]) -> Self {
        let first = OnTheWay { id: first.to_vec(), path_bytes: path.len(), last_child: i64::MIN };
        Self { tx, sync_key, path: path.to_vec(), way: vec![first], is_begun: false }
    }

    /// The id of the next folder.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            return Ok(self.way.first().map(|first| first.id.clone()));
        }
        while let Some(at) = self.way.last_mut() {
            self.path.truncate(at.path_bytes);
            let child = child_behind(self.tx, self.sync_key, &at.id, at.last_child)?;
            let Some(ChildFolder { key, id, name }) = child else {
                self.way.pop();
                continue;
            };
            at.last_child = key;
            // Every folder has one parent, so a circle below the first one leads through it.
            let is_circle = self.way.first().is_some_and(|first| first.id == id);
            if is_circle || self.way.len() > MAX_DEPTH {
                continue;
            }
            append(&mut self.path, &name);
            let path_bytes = self.path.len();
            self.way.push(OnTheWay { id: id.clone(), path_bytes, last_child: i64::MIN });
            return Ok(Some(id));
        }
        Ok(None)
    }
}

/// A folder in another one.
struct ChildFolder {
    key: i64,
    id: Vec<u8>,
    name: Vec<u8>,
}

/// The next folder in a folder, behind the one with this key.
fn child_behind(
    tx: &Transaction<'_>,
    sync_key: i64,
    parent: &[u8],
    behind: i64,
) -> Result<Option<ChildFolder>> {
    Ok(tx
        .prepare_cached(
            "SELECT folder_key, folder_id, name FROM folders
             WHERE sync_key = ?1 AND parent = ?2 AND folder_key > ?3
             ORDER BY folder_key LIMIT 1",
        )?
        .query_row(params![sync_key, parent, behind], |row| {
            Ok(ChildFolder { key: row.get(0)?, id: row.get(1)?, name: row.get(2)? })
        })
        .optional()?)
}

/// Makes the path of a folder that of what has this name in it.
fn append(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
