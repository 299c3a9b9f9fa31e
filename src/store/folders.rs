//! Folders of sources that know folders by id: the tree that the paths of entries are made of.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Result,
    below::{self, EntryBelow, FoldersBelow},
    dead_letters,
    entries::HANDED_OVER,
    events::EventKind,
    feeds, gone, jobs, leases,
    links::{self, LinkListing},
    new_entries::pieces,
    places::{self, Placement, Places},
    processing::to_batch::Batching,
    several_parents, syncs,
    target::Target,
    touched::Touched,
};
use crate::{
    model::{Counts, EntryId, EntryPath, Folder, FolderId, Link},
    sources::RootFolder,
};

/// Whether what a page says of the tree changes the paths of entries that are known: it renames,
/// moves or removes a folder that is known.
///
/// # Errors
/// SQLite's.
pub fn any_changed(
    connection: &Connection,
    sync_key: i64,
    folders: &[Folder],
    removed: &[EntryId],
) -> Result<bool> {
    let places = Places::new(connection, sync_key, &[]);
    for folder in folders {
        let is_changed = places
            .row(&folder.id)?
            .is_some_and(|(parent, name)| parent != folder.parent || name != folder.name);
        if is_changed {
            return Ok(true);
        }
    }
    for id in removed {
        if places.row(id)?.is_some() {
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
    /// Links that were listed or have changed.
    pub links: Vec<Link>,
    /// Ids of entries, folders and links that were removed.
    pub removed: Vec<EntryId>,
    /// Of folders and entries that are in several folders: these, in order.
    pub several_parents: Vec<(EntryId, Vec<FolderId>)>,
    /// Whether what was removed may still be elsewhere, where links lead to it.
    pub may_be_elsewhere: bool,
    /// Of which folders the content has to be listed, too.
    pub lists: Lists,
    /// Whether the pass may still say where an unknown folder is.
    pub is_listing: bool,
    /// Whether objects get the new paths of their entries.
    pub updates_objects: bool,
    /// Whether entries with new paths have to be evaluated again.
    pub reevaluates: bool,
}

/// Of which folders that a page has the content is listed separately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// Of none: the listing has it, unless it left that out because the folder was outside then.
    #[default]
    Nothing,
    /// Of those that come to be below a root, which a feed does not report the content of.
    New,
    /// Of all that the pass has not listed before.
    All,
    /// As [`Self::New`], and of all below the targets of links, of which no listing has anything.
    Linked,
}

/// What a change of the tree did.
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeChanged {
    /// How many entries have other paths now, and their objects with them.
    pub updated_entries: u64,
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
    let (moved_entries, moved) = (0, Touched::default());
    let batching = Batching::of(tx, sync_key, target.bucket_key)?;
    let mut tree = Tree { tx, target, roots, change, now, moved_entries, moved, batching };
    for folder in &change.folders {
        tree.put(shard, folder)?;
    }
    for link in &change.links {
        tree.put_link(shard, link)?;
    }
    for id in &change.removed {
        tree.remove_link(id)?;
        tree.remove(id)?;
        if change.may_be_elsewhere {
            links::resolve(tx, sync_key, id)?;
        }
    }
    dead_letters::resolve_gone(tx, sync_key, &change.removed, now)?;
    tree.finish()
}

/// Gives each folder and entry that is in several folders its place in the first of them that is
/// below a root, of those that this pass has listed with `listed_by`. Returns what that did; `None`
/// where all are in their places.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn settle(
    tx: &Transaction<'_>,
    target: &Target,
    roots: &[RootFolder],
    change: &TreeChange,
    listed_by: Option<i64>,
    now: Timestamp,
) -> Result<Option<TreeChanged>> {
    leases::check(tx, target.fence)?;
    let sync_key = target.fence.sync_key;
    let (moved_entries, moved) = (0, Touched::default());
    let batching = Batching::of(tx, sync_key, target.bucket_key)?;
    let mut tree = Tree { tx, target, roots, change, now, moved_entries, moved, batching };
    let mut is_changed = false;
    for (id, parents) in several_parents::all(tx, sync_key)? {
        is_changed |= tree.settle(&id, &parents, listed_by)?;
    }
    if is_changed { tree.finish().map(Some) } else { Ok(None) }
}

/// A change of the tree under way.
struct Tree<'a> {
    tx: &'a Transaction<'a>,
    target: &'a Target,
    roots: &'a [RootFolder],
    change: &'a TreeChange,
    now: Timestamp,
    moved_entries: u64,
    /// The objects that have moved.
    moved: Touched,
    /// What is noted for processing; `None` where the bucket has no collection.
    batching: Option<Batching>,
}

impl Tree<'_> {
    fn put(&mut self, shard: &str, folder: &Folder) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        if self.roots.iter().any(|root| root.id == folder.id) {
            // Where a root is does not matter; nothing that is above it moves its content.
            return upsert(tx, self.target, shard, &Folder { parent: None, ..folder.clone() });
        }
        let first = self.first_inside(&folder.id)?;
        let own = first.as_ref().or(folder.parent.as_ref());
        let listing = LinkListing { waits: self.change.is_listing, listed_by: None };
        match links::place_of(tx, sync_key, self.roots, &folder.id, own, listing)? {
            Some((parent, name)) => {
                let folder = Folder { id: folder.id.clone(), parent: Some(parent), name };
                self.put_placed(shard, &folder, true)
            }
            None => {
                let folder = Folder { parent: own.cloned(), ..folder.clone() };
                self.put_placed(shard, &folder, false)
            }
        }
    }

    /// Of the folders that a folder is in, the first that is below a root, if they are several.
    fn first_inside(&self, id: &FolderId) -> Result<Option<FolderId>> {
        let several = self.change.several_parents.iter().find(|(child, _)| child == id);
        let Some((_, parents)) = several else { return Ok(None) };
        let places = Places::new(self.tx, self.target.fence.sync_key, self.roots);
        for parent in parents {
            if places.is_inside_without(parent, id)? {
                return Ok(Some(parent.clone()));
            }
        }
        Ok(None)
    }

    /// Gives a folder or an entry its place in the first of its folders that is below a root;
    /// `None` for `listed_by`: whatever pass has listed them. Returns whether that is another one.
    fn settle(
        &mut self,
        id: &EntryId,
        parents: &[FolderId],
        listed_by: Option<i64>,
    ) -> Result<bool> {
        let (tx, sync_key, roots) = (self.tx, self.target.fence.sync_key, self.roots);
        let known = Places::new(tx, sync_key, roots).listed_by(listed_by);
        let mut first = None;
        for parent in parents {
            if first.is_none() && known.is_inside_without(parent, id)? {
                first = Some(parent);
            }
        }
        let Some(first) = first else { return Ok(false) };
        if let Some((parent, name)) = known.row(id)? {
            if parent.as_ref() == Some(first) || links::has_place_from(tx, sync_key, id)? {
                return Ok(false);
            }
            let folder = Folder { id: id.clone(), parent: Some(first.clone()), name };
            self.put_placed(&shard_of(tx, sync_key, id)?, &folder, false)?;
            return Ok(true);
        }
        match entry_in(tx, sync_key, id)? {
            Some((entry_key, parent, name)) if parent != *first => {
                if links::has_place_from(tx, sync_key, id)? {
                    return Ok(false);
                }
                self.move_entry(entry_key, first, &name)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Gives an entry its place in another of its folders, which is below a root.
    fn move_entry(&mut self, entry_key: i64, folder: &FolderId, name: &[u8]) -> Result<()> {
        let Placement::Inside(path) = self.place(folder)? else { return Ok(()) };
        self.tx
            .prepare_cached("UPDATE entry_details SET parent = ?2 WHERE entry_key = ?1")?
            .execute(params![entry_key, folder.as_bytes()])?;
        let path = places::below(&path, name).as_bytes().to_vec();
        self.rewrite(&[EntryBelow { entry_key, path }])
    }

    /// Stores a folder that has its parent and its name from its listing, or from a link.
    fn put_placed(&mut self, shard: &str, folder: &Folder, is_linked: bool) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        let before = Places::new(tx, sync_key, self.roots).row(&folder.id)?;
        let after = Some((folder.parent.clone(), folder.name.clone()));
        let was = before.is_some().then(|| self.place(&folder.id)).transpose()?;
        let is_first = !is_listed_by(tx, self.target, &folder.id)?;
        upsert(tx, self.target, shard, folder)?;
        let is_changed = before != after;
        let lists_unchanged = match self.change.lists {
            Lists::All => true,
            Lists::Linked => is_linked,
            Lists::Nothing | Lists::New => false,
        };
        if !is_changed && !lists_unchanged {
            return Ok(());
        }
        let was_inside = matches!(was, Some(Placement::Inside(_)));
        let Placement::Inside(path) = self.place(&folder.id)? else {
            if was_inside {
                links::resolve_all(tx, sync_key)?;
                self.record_outside(&folder.id)?;
            }
            return Ok(());
        };
        if was.is_some() && !was_inside {
            links::resolve_all(tx, sync_key)?;
        }
        if is_changed {
            self.rewrite_below(&folder.id, &path)?;
        }
        match self.change.lists {
            Lists::All if is_first => mark_to_list(tx, sync_key, &folder.id),
            Lists::Linked if is_linked => self.mark_all_to_list(&folder.id),
            Lists::New | Lists::Linked if !was_inside => self.mark_all_to_list(&folder.id),
            Lists::Nothing if was == Some(Placement::Outside) => self.mark_all_to_list(&folder.id),
            Lists::All | Lists::New | Lists::Linked | Lists::Nothing => Ok(()),
        }
    }

    /// Stores a link. What has its place from the link moves with it.
    fn put_link(&mut self, shard: &str, link: &Link) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        let before = links::find(tx, sync_key, &link.id)?;
        let is_same = before.as_ref().is_some_and(|before| before.link == *link);
        links::save(tx, self.target, shard, link, is_same)?;
        let Some(before) = before.filter(|before| before.is_used && !is_same) else {
            return Ok(());
        };
        let places = Places::new(tx, sync_key, self.roots);
        let target = &link.target;
        if before.link.target == *target
            && places.row(target)?.is_some()
            && places.is_inside_without(&link.parent, target)?
        {
            let (id, parent) = (target.clone(), Some(link.parent.clone()));
            let folder = Folder { id, parent, name: link.name.clone() };
            links::use_link(tx, sync_key, target, Some(&link.id))?;
            return self.put_placed(shard, &folder, true);
        }
        self.release_target(&before.link.target)
    }

    /// A link was removed, if that is one.
    fn remove_link(&mut self, id: &EntryId) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        let Some(removed) = links::find(tx, sync_key, id)? else { return Ok(()) };
        links::delete(tx, sync_key, id)?;
        if removed.is_used { self.release_target(&removed.link.target) } else { Ok(()) }
    }

    /// What had its place from a link is gone, unless the source is asked for it and it has another
    /// place.
    fn release_target(&mut self, target: &EntryId) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        links::use_link(tx, sync_key, target, None)?;
        links::resolve(tx, sync_key, target)?;
        self.remove(target)?;
        dead_letters::resolve_gone(tx, sync_key, std::slice::from_ref(target), self.now)
    }

    /// An entry or a folder was removed. The folder is remembered as long as entries are below it.
    fn remove(&self, id: &EntryId) -> Result<()> {
        let sync_key = self.target.fence.sync_key;
        let removed = self
            .tx
            .prepare_cached(
                "UPDATE folders SET parent = NULL, to_list = 0
                 WHERE sync_key = ?1 AND folder_id = ?2",
            )?
            .execute(params![sync_key, id.as_bytes()])?;
        if removed > 0 {
            links::resolve_all(self.tx, sync_key)?;
            self.record_outside(id)?;
        }
        gone::record_removed(self.tx, sync_key, id)
    }

    fn place(&self, folder: &FolderId) -> Result<Placement> {
        Places::new(self.tx, self.target.fence.sync_key, self.roots).of(folder)
    }

    /// Gives the entries below a folder, and their objects, their paths; those that were gone with
    /// it are back.
    fn rewrite_below(&mut self, folder: &FolderId, path: &EntryPath) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        below::in_steps(tx, sync_key, folder.as_bytes(), path.as_bytes(), |step| {
            pieces(step).try_for_each(|entries| self.rewrite(entries))
        })
    }

    /// Gives entries, and their objects, their paths; those that were gone with a folder are back.
    fn rewrite(&mut self, entries: &[EntryBelow]) -> Result<()> {
        gone::clear_outside(self.tx, entries)?;
        let moved = self.rewrite_entries(entries)?;
        self.moved_entries += moved;
        let follows = moved > 0 && self.change.updates_objects;
        if follows { self.rewrite_objects(entries) } else { Ok(()) }
    }

    /// Gives entries their paths. Returns how many had others.
    fn rewrite_entries(&self, entries: &[EntryBelow]) -> Result<u64> {
        let mut update = self.tx.prepare_cached(&format!(
            "{} UPDATE entries
             SET path = content.path, judged_by = iif({}, {HANDED_OVER}, judged_by) FROM content
             WHERE entries.entry_key = content.entry_key AND entries.path IS NOT content.path",
            below::rows_of(entries.len()),
            self.change.reevaluates,
        ))?;
        below::bind(&mut update, entries)?;
        Ok(update.raw_execute()? as u64)
    }

    /// Gives the objects of entries their paths.
    fn rewrite_objects(&mut self, entries: &[EntryBelow]) -> Result<()> {
        let now = 2 * entries.len() + 1;
        let mut update = self.tx.prepare_cached(&format!(
            "{} UPDATE objects SET path = content.path, updated_at_ms = ?{now} FROM content
             JOIN entries e ON e.entry_key = content.entry_key AND e.is_duplicate = 0
             WHERE objects.object_key = e.object_key AND objects.entry_key = e.entry_key
                   AND objects.path IS NOT content.path
             RETURNING object_key",
            below::rows_of(entries.len()),
        ))?;
        below::bind(&mut update, entries)?;
        update.raw_bind_parameter(now, self.now.as_millisecond())?;
        let mut moved = Vec::with_capacity(entries.len());
        let mut rows = update.raw_query();
        while let Some(row) = rows.next()? {
            moved.push(row.get(0)?);
        }
        for object_key in &moved {
            self.moved.add_object(self.tx, *object_key)?;
        }
        match &self.batching {
            Some(batching) => batching.moved(self.tx, &moved),
            None => Ok(()),
        }
    }

    /// Records as gone the entries below a folder that is below no root that is known.
    fn record_outside(&self, folder: &FolderId) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        below::in_steps(tx, sync_key, folder.as_bytes(), b"", |step| {
            pieces(step).try_for_each(|entries| gone::record_outside(tx, sync_key, entries))
        })
    }

    /// Marks a folder and all that are known below it.
    fn mark_all_to_list(&self, folder: &FolderId) -> Result<()> {
        let (tx, sync_key) = (self.tx, self.target.fence.sync_key);
        let mut folders = FoldersBelow::new(tx, sync_key, folder.as_bytes(), b"");
        while let Some(folder) = folders.next()? {
            mark_to_list(tx, sync_key, &EntryPath::new(folder))?;
        }
        Ok(())
    }

    /// Counts what has moved, and says so.
    fn finish(self) -> Result<TreeChanged> {
        let Self { tx, target, change, now, moved_entries, moved, .. } = self;
        if moved_entries > 0 && change.reevaluates {
            feeds::need_full_pass(tx, target.fence.sync_key)?;
        }
        let updated_entries = if change.updates_objects { moved_entries } else { 0 };
        if updated_entries > 0 {
            let counts = Counts { updated: updated_entries, ..Counts::default() };
            jobs::count(tx, target.fence.sync_key, target.job_key, &counts, now)?;
        }
        moved.emit_event(tx, EventKind::ObjectsUpdated, target, now)?;
        Ok(TreeChanged { updated_entries })
    }
}

/// The shard of a folder.
fn shard_of(tx: &Transaction<'_>, sync_key: i64, folder: &FolderId) -> Result<String> {
    Ok(tx
        .prepare_cached("SELECT shard FROM folders WHERE sync_key = ?1 AND folder_id = ?2")?
        .query_row(params![sync_key, folder.as_bytes()], |row| row.get(0))?)
}

/// An entry that is in a folder: the key of its row, the folder, and its name.
fn entry_in(
    tx: &Transaction<'_>,
    sync_key: i64,
    id: &EntryId,
) -> Result<Option<(i64, FolderId, Vec<u8>)>> {
    Ok(tx
        .prepare_cached(
            "SELECT entry_key, d.parent, d.name FROM entries JOIN entry_details d USING (entry_key)
             WHERE entries.sync_key = ?1 AND source_id = ?2 AND d.parent IS NOT NULL",
        )?
        .query_row(params![sync_key, id.as_bytes()], |row| {
            let name: Option<Vec<u8>> = row.get(2)?;
            Ok((row.get(0)?, syncs::path(row.get(1)?), name.unwrap_or_default()))
        })
        .optional()?)
}

/// Whether the current pass has listed a folder already.
fn is_listed_by(tx: &Transaction<'_>, target: &Target, folder: &FolderId) -> Result<bool> {
    Ok(tx
        .prepare_cached(
            "SELECT 1 FROM folders WHERE sync_key = ?1 AND folder_id = ?2 AND pass = ?3",
        )?
        .exists(params![target.fence.sync_key, folder.as_bytes(), target.pass])?)
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

/// The folders of entries that were found to be below no root that is known, each with its shard.
///
/// # Errors
/// SQLite's.
pub fn above_outside(connection: &Connection, sync_key: i64) -> Result<Vec<(String, FolderId)>> {
    Ok(connection
        .prepare_cached(
            "SELECT DISTINCT f.shard, d.parent
             FROM gone_entries g JOIN entry_details d USING (entry_key)
                 JOIN folders f ON f.sync_key = g.sync_key AND f.folder_id = d.parent
             WHERE g.sync_key = ?1 AND g.is_outside = 1",
        )?
        .query_map([sync_key], |row| Ok((row.get(0)?, syncs::path(row.get(1)?))))?
        .collect::<Result<_, _>>()?)
}

/// Takes back that entries are gone whose folders are below no root that is known, where that is
/// because nobody can say where one of the folders above them is.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn keep_unknown(tx: &Transaction<'_>, target: &Target, places: &mut Places<'_>) -> Result<()> {
    leases::check(tx, target.fence)?;
    let sync_key = target.fence.sync_key;
    for (_, parent) in above_outside(tx, sync_key)? {
        if matches!(places.of(&parent)?, Placement::Unknown(_)) {
            gone::clear_outside_in(tx, sync_key, &parent)?;
        }
    }
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

/// Deletes the folders that a complete full pass has not listed. One that the listing has skipped
/// is asked for when an entry in it is reported.
///
/// # Errors
/// SQLite's.
pub fn delete_unlisted(tx: &Transaction<'_>, target: &Target) -> Result<()> {
    tx.prepare_cached("DELETE FROM folders WHERE sync_key = ?1 AND pass <> ?2")?
        .execute([target.fence.sync_key, target.pass])?;
    Ok(())
}

#[cfg(test)]
#[path = "folders_tests.rs"]
mod tests;
