//! Folders of sources that know folders by id: the tree that the paths of entries are made of.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::json;

use super::{
    Result, dead_letters,
    events::{self, About, EventKind},
    jobs, leases, syncs,
    target::Target,
};
use crate::{
    model::{Counts, EntryId, EntryPath, Folder, FolderId},
    sources::RootFolder,
};

/// Where a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Below a root, at this path.
    Inside(EntryPath),
    /// Below no root.
    Outside,
    /// Not known, because this folder is not.
    Unknown(FolderId),
}

/// More folders above each other than this are a circle.
const MAX_DEPTH: usize = 1000;

/// The places of folders, each looked up once.
pub struct Places<'a> {
    connection: &'a Connection,
    sync_key: i64,
    roots: &'a [RootFolder],
    known: HashMap<FolderId, Placement>,
}

impl<'a> Places<'a> {
    /// The places of a sync's folders.
    #[must_use]
    pub fn new(connection: &'a Connection, sync_key: i64, roots: &'a [RootFolder]) -> Self {
        Self { connection, sync_key, roots, known: HashMap::new() }
    }

    /// Where a folder is.
    ///
    /// # Errors
    /// SQLite's.
    pub fn of(&mut self, folder: &FolderId) -> Result<Placement> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = folder.clone();
        let place = loop {
            if let Some(root) = self.roots.iter().find(|root| root.id == at) {
                break Placement::Inside(root.path.clone());
            }
            if let Some(place) = self.known.get(&at) {
                break place.clone();
            }
            match self.row(&at)? {
                None => break Placement::Unknown(at),
                Some((None, _)) => break Placement::Outside,
                Some(_) if names.len() >= MAX_DEPTH => break Placement::Outside,
                Some((Some(parent), name)) => {
                    names.push(name);
                    at = parent;
                }
            }
        };
        let place = match place {
            Placement::Inside(path) => {
                Placement::Inside(names.iter().rev().fold(path, |path, name| below(&path, name)))
            }
            other => other,
        };
        self.known.insert(folder.clone(), place.clone());
        Ok(place)
    }

    fn row(&self, folder: &FolderId) -> Result<Option<(Option<FolderId>, Vec<u8>)>> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT parent, name FROM folders WHERE sync_key = ?1 AND folder_id = ?2",
            )?
            .query_row(params![self.sync_key, folder.as_bytes()], |row| {
                Ok((row.get::<_, Option<Vec<u8>>>(0)?.map(syncs::path), row.get(1)?))
            })
            .optional()?)
    }
}

/// The path of what has this name in a folder.
#[must_use]
pub fn below(folder: &EntryPath, name: &[u8]) -> EntryPath {
    if folder.as_bytes().is_empty() {
        return EntryPath::new(name);
    }
    EntryPath::new([folder.as_bytes(), b"/", name].concat())
}

/// Whether any of these folders is known by another name or in another place.
///
/// # Errors
/// SQLite's.
pub fn any_changed(connection: &Connection, sync_key: i64, folders: &[Folder]) -> Result<bool> {
    let places = Places::new(connection, sync_key, &[]);
    for folder in folders {
        let is_changed = places
            .row(&folder.id)?
            .is_some_and(|(parent, name)| parent != folder.parent || name != folder.name);
        if is_changed {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a page says of the tree.
#[derive(Clone, Debug, Default)]
pub struct TreeChange {
    /// Folders that were listed or have changed.
    pub folders: Vec<Folder>,
    /// Ids of entries and folders that were removed.
    pub removed: Vec<EntryId>,
    /// Of which folders the content has to be listed, too.
    pub lists: Lists,
}

/// Of which folders that a page has the content is listed separately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// Of none: the listing has it.
    #[default]
    Nothing,
    /// Of those that come to be below a root, which a feed does not report the content of.
    New,
    /// Of all that the pass has not listed before.
    All,
}

/// What a change of the tree did.
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeChanged {
    /// How many entries have other paths now.
    pub moved_entries: u64,
}

/// Applies what a page says of the tree: entries below a folder that was renamed or moved get their
/// new paths, and what was removed is recorded as gone.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn apply(
    tx: &Transaction<'_>,
    target: &Target,
    roots: &[RootFolder],
    shard: &str,
    change: &TreeChange,
    now: Timestamp,
) -> Result<TreeChanged> {
    leases::check(tx, target.fence)?;
    let sync_key = target.fence.sync_key;
    let mut changed = TreeChanged::default();
    let mut may_have_left = false;
    for folder in &change.folders {
        let before = Places::new(tx, sync_key, roots).row(&folder.id)?;
        let is_first = !is_listed_by(tx, target, &folder.id)?;
        let after = Some((folder.parent.clone(), folder.name.clone()));
        let is_new = before.is_none();
        let was_inside = !is_new && is_inside(tx, sync_key, roots, &folder.id)?;
        upsert(tx, target, shard, folder)?;
        if roots.iter().any(|root| root.id == folder.id) {
            continue;
        }
        if before == after && change.lists != Lists::All {
            continue;
        }
        let is_inside = is_inside(tx, sync_key, roots, &folder.id)?;
        may_have_left |= was_inside && !is_inside;
        if !is_new && is_inside && before != after {
            changed.moved_entries += rewrite_below(tx, target, roots, &folder.id, now)?;
        }
        let is_to_list = match change.lists {
            Lists::Nothing => false,
            Lists::New => !was_inside,
            Lists::All => is_first,
        };
        if is_inside && is_to_list {
            mark_to_list(tx, sync_key, &folder.id)?;
        }
    }
    for id in &change.removed {
        let removed = tx
            .prepare_cached("DELETE FROM folders WHERE sync_key = ?1 AND folder_id = ?2")?
            .execute(params![sync_key, id.as_bytes()])?;
        may_have_left |= removed > 0;
        record_gone(tx, sync_key, id)?;
    }
    if may_have_left {
        record_outside(tx, target, roots)?;
    }
    dead_letters::resolve_gone(tx, sync_key, &change.removed, now)?;
    let counts = Counts { updated: changed.moved_entries, ..Counts::default() };
    if changed.moved_entries > 0 {
        jobs::count(tx, sync_key, target.job_key, &counts, now)?;
    }
    Ok(changed)
}

/// Whether the current pass has listed a folder already.
fn is_listed_by(tx: &Transaction<'_>, target: &Target, folder: &FolderId) -> Result<bool> {
    Ok(tx
        .prepare_cached(
            "SELECT 1 FROM folders WHERE sync_key = ?1 AND folder_id = ?2 AND pass = ?3",
        )?
        .exists(params![target.fence.sync_key, folder.as_bytes(), target.pass])?)
}

fn is_inside(
    tx: &Transaction<'_>,
    sync_key: i64,
    roots: &[RootFolder],
    folder: &FolderId,
) -> Result<bool> {
    Ok(matches!(Places::new(tx, sync_key, roots).of(folder)?, Placement::Inside(_)))
}

fn upsert(tx: &Transaction<'_>, target: &Target, shard: &str, folder: &Folder) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO folders (sync_key, shard, folder_id, parent, name, pass)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (sync_key, folder_id) DO UPDATE SET
             shard = excluded.shard, parent = excluded.parent, name = excluded.name,
             pass = excluded.pass",
    )?
    .execute(params![
        target.fence.sync_key,
        shard,
        folder.id.as_bytes(),
        folder.parent.as_ref().map(EntryPath::as_bytes),
        folder.name,
        target.pass,
    ])?;
    Ok(())
}

/// All folders below one, itself included, with their paths.
const BELOW: &str = "WITH RECURSIVE below (folder_id, path, depth) AS (
         SELECT ?2, ?3, 0
         UNION ALL
         SELECT f.folder_id,
                CAST(iif(length(b.path) = 0, f.name, b.path || x'2f' || f.name) AS BLOB), depth + 1
         FROM below b JOIN folders f ON f.sync_key = ?1 AND f.parent = b.folder_id
         WHERE depth < 1000
     ), moved (entry_key, path) AS (
         SELECT d.entry_key,
                CAST(iif(length(b.path) = 0, d.name, b.path || x'2f' || d.name) AS BLOB)
         FROM below b JOIN entry_details d ON d.sync_key = ?1 AND d.parent = b.folder_id
     )";

/// Gives the entries below a folder, and their objects, their paths. Returns how many entries have
/// moved.
fn rewrite_below(
    tx: &Transaction<'_>,
    target: &Target,
    roots: &[RootFolder],
    folder: &FolderId,
    now: Timestamp,
) -> Result<u64> {
    let sync_key = target.fence.sync_key;
    let Placement::Inside(path) = Places::new(tx, sync_key, roots).of(folder)? else {
        return Ok(0);
    };
    let moved = tx
        .prepare_cached(&format!(
            "{BELOW} UPDATE entries SET path = moved.path FROM moved
             WHERE entries.entry_key = moved.entry_key AND entries.path IS NOT moved.path"
        ))?
        .execute(params![sync_key, folder.as_bytes(), path.as_bytes()])?;
    if moved > 0 {
        tx.prepare_cached(&format!(
            "{BELOW} UPDATE objects SET path = moved.path, updated_at_ms = ?4 FROM moved
             JOIN entries e ON e.entry_key = moved.entry_key AND e.is_duplicate = 0
             WHERE objects.object_key = e.object_key AND objects.entry_key = e.entry_key
                   AND objects.path IS NOT moved.path"
        ))?
        .execute(params![
            sync_key,
            folder.as_bytes(),
            path.as_bytes(),
            now.as_millisecond()
        ])?;
        let detail = json!({"count": moved, "object_ids": []});
        let about = About::job(sync_key, target.job_key);
        events::append(tx, EventKind::ObjectsUpdated, about, &detail, now)?;
    }
    Ok(moved as u64)
}

/// Records that an entry was reported as removed.
pub(super) fn record_gone(tx: &Transaction<'_>, sync_key: i64, id: &EntryId) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO gone_entries (entry_key, sync_key, is_drifted)
         SELECT entry_key, sync_key, 0 FROM entries WHERE sync_key = ?1 AND source_id = ?2
         ON CONFLICT DO UPDATE SET is_drifted = 0",
    )?
    .execute(params![sync_key, id.as_bytes()])?;
    Ok(())
}

/// Marks a folder: what is in it has to be listed.
///
/// # Errors
/// SQLite's.
pub fn mark_to_list(tx: &Transaction<'_>, sync_key: i64, folder: &FolderId) -> Result<()> {
    tx.prepare_cached("UPDATE folders SET to_list = 1 WHERE sync_key = ?1 AND folder_id = ?2")?
        .execute(params![sync_key, folder.as_bytes()])?;
    Ok(())
}

/// Prepares a new full pass: the roots are known, and with `lists_roots` they are what has to be
/// listed.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn begin_full_pass(
    tx: &Transaction<'_>,
    target: &Target,
    roots: &[RootFolder],
    shard: &str,
    lists_roots: bool,
) -> Result<()> {
    leases::check(tx, target.fence)?;
    let sync_key = target.fence.sync_key;
    tx.prepare_cached("UPDATE folders SET to_list = 0 WHERE sync_key = ?1 AND to_list = 1")?
        .execute([sync_key])?;
    for root in roots {
        let folder = Folder { id: root.id.clone(), parent: None, name: Vec::new() };
        upsert(tx, target, shard, &folder)?;
        if lists_roots {
            mark_to_list(tx, sync_key, &root.id)?;
        }
    }
    Ok(())
}

/// Some folders whose content has to be listed, all of one shard, with its name.
///
/// # Errors
/// SQLite's.
pub fn to_list(
    connection: &Connection,
    sync_key: i64,
    at_once: usize,
) -> Result<Option<(String, Vec<FolderId>)>> {
    let mut statement = connection.prepare_cached(
        "SELECT shard, folder_id FROM folders WHERE sync_key = ?1 AND to_list = 1
         ORDER BY folder_key LIMIT ?2",
    )?;
    let found: Vec<(String, Vec<u8>)> = statement
        .query_map(params![sync_key, at_once], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let Some((shard, _)) = found.first().cloned() else { return Ok(None) };
    let same = found.into_iter().filter(|(of, _)| *of == shard);
    let folders = same.map(|(_, id)| syncs::path(id)).collect();
    Ok(Some((shard, folders)))
}

/// The content of these folders has been listed.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn listed(tx: &Transaction<'_>, target: &Target, folders: &[FolderId]) -> Result<()> {
    leases::check(tx, target.fence)?;
    let mut update =
        tx.prepare_cached("UPDATE folders SET to_list = 0 WHERE sync_key = ?1 AND folder_id = ?2")?;
    for folder in folders {
        update.execute(params![target.fence.sync_key, folder.as_bytes()])?;
    }
    Ok(())
}

/// Records as gone the entries that are below no root any more.
fn record_outside(tx: &Transaction<'_>, target: &Target, roots: &[RootFolder]) -> Result<()> {
    let sync_key = target.fence.sync_key;
    let parents: Vec<FolderId> = tx
        .prepare_cached(
            "SELECT DISTINCT parent FROM entry_details WHERE sync_key = ?1 AND parent IS NOT NULL",
        )?
        .query_map([sync_key], |row| Ok(syncs::path(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    let mut places = Places::new(tx, sync_key, roots);
    for parent in parents {
        if !matches!(places.of(&parent)?, Placement::Inside(_)) {
            tx.prepare_cached(
                "INSERT INTO gone_entries (entry_key, sync_key, is_drifted)
                 SELECT entry_key, sync_key, 0 FROM entry_details
                 WHERE sync_key = ?1 AND parent = ?2
                 ON CONFLICT DO UPDATE SET is_drifted = 0",
            )?
            .execute(params![sync_key, parent.as_bytes()])?;
        }
    }
    Ok(())
}

/// Deletes the folders that a complete full pass has not listed.
///
/// # Errors
/// SQLite's.
pub fn delete_unlisted(tx: &Transaction<'_>, target: &Target) -> Result<()> {
    tx.prepare_cached("DELETE FROM folders WHERE sync_key = ?1 AND pass <> ?2")?
        .execute([target.fence.sync_key, target.pass])?;
    Ok(())
}
