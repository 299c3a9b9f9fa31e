//! Links of sources that know entries and folders by id, and the places that their targets have
//! from them: a target that is below no root by its own folder is where one of its links is.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Result, StoreError, leases,
    places::{Placement, Places},
    syncs,
    target::Target,
};
use crate::{
    model::{Entry, EntryId, EntryPath, FolderId, Link},
    sources::RootFolder,
};

/// A link as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredLink {
    pub(super) link: Link,
    /// Whether its target has its place from it.
    pub(super) is_used: bool,
}

/// A link whose target has to be asked for.
#[derive(Clone, Debug)]
pub struct ToResolve {
    /// Internal key of the link.
    pub link_key: i64,
    /// The shard of the link.
    pub shard: String,
    /// What it leads to.
    pub target: EntryId,
    /// What is known of the target.
    pub known: KnownTarget,
}

/// Which links are to be resolved.
#[derive(Clone, Copy, Debug)]
pub struct LinkFilter {
    /// Only those in folders that this pass has listed; `None`: in all that are known.
    pub listed_by: Option<i64>,
    /// Also those whose targets have their places from links, whatever is known of them.
    pub asks_always: bool,
}

/// What a page goes by that is about entries to which links may lead.
#[derive(Clone, Copy, Debug)]
pub struct LinkListing {
    /// The pass may still come to say where an unknown folder is.
    pub waits: bool,
    /// Only folders that this pass has listed are known.
    pub listed_by: Option<i64>,
}

/// What is known of the target of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownTarget {
    /// Nothing, or that it is gone, or that it has to be asked for in each pass.
    Nothing,
    /// It is a root.
    Root,
    /// An entry below a root.
    Entry {
        /// Internal key of its row.
        row: i64,
        /// The pass that wrote the row.
        pass: i64,
    },
    /// A folder below a root.
    Folder {
        /// The pass that listed it last.
        pass: i64,
        /// Whether it is there by a link.
        is_linked: bool,
    },
}

/// Whether a sync has any links.
///
/// # Errors
/// SQLite's.
pub fn has_any(connection: &Connection, sync_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM links WHERE sync_key = ?1 LIMIT 1")?
        .exists([sync_key])?)
}

pub(super) fn find(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
) -> Result<Option<StoredLink>> {
    Ok(connection
        .prepare_cached(
            "SELECT parent, name, target, is_used FROM links
             WHERE sync_key = ?1 AND link_id = ?2",
        )?
        .query_row(params![sync_key, id.as_bytes()], |row| {
            let link = Link {
                id: id.clone(),
                parent: syncs::path(row.get(0)?),
                name: row.get(1)?,
                target: syncs::path(row.get(2)?),
            };
            Ok(StoredLink { link, is_used: row.get(3)? })
        })
        .optional()?)
}

/// Stores a link. One that is the same as before is only marked as listed.
pub(super) fn save(
    tx: &Transaction<'_>,
    target: &Target,
    shard: &str,
    link: &Link,
    is_same: bool,
) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO links (sync_key, shard, link_id, parent, name, target, pass)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (sync_key, link_id) DO UPDATE SET
             shard = excluded.shard, parent = excluded.parent, name = excluded.name,
             target = excluded.target, pass = excluded.pass, is_resolved = iif(?8, is_resolved, 0),
             is_used = iif(?8, is_used, 0)",
    )?
    .execute(params![
        target.fence.sync_key,
        shard,
        link.id.as_bytes(),
        link.parent.as_bytes(),
        link.name,
        link.target.as_bytes(),
        target.pass,
        is_same,
    ])?;
    Ok(())
}

/// Whether a target has its place from a link.
pub(super) fn has_place_from(
    connection: &Connection,
    sync_key: i64,
    target: &EntryId,
) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM links WHERE sync_key = ?1 AND target = ?2 AND is_used = 1")?
        .exists(params![sync_key, target.as_bytes()])?)
}

pub(super) fn delete(tx: &Transaction<'_>, sync_key: i64, id: &EntryId) -> Result<()> {
    tx.prepare_cached("DELETE FROM links WHERE sync_key = ?1 AND link_id = ?2")?
        .execute(params![sync_key, id.as_bytes()])?;
    Ok(())
}

/// Records by which of its links a target has its place; `None`: by none.
pub(super) fn use_link(
    tx: &Transaction<'_>,
    sync_key: i64,
    target: &EntryId,
    link: Option<&EntryId>,
) -> Result<()> {
    tx.prepare_cached(
        "UPDATE links SET is_used = (link_id IS ?3)
         WHERE sync_key = ?1 AND target = ?2 AND is_used <> (link_id IS ?3)",
    )?
    .execute(params![sync_key, target.as_bytes(), link.map(EntryPath::as_bytes)])?;
    Ok(())
}

/// The source is to be asked for a target.
pub(super) fn resolve(tx: &Transaction<'_>, sync_key: i64, target: &EntryId) -> Result<()> {
    tx.prepare_cached("UPDATE links SET is_resolved = 0 WHERE sync_key = ?1 AND target = ?2")?
        .execute(params![sync_key, target.as_bytes()])?;
    Ok(())
}

/// Folders have come below a root, or are below none any more, and links and targets with them: the
/// source is to be asked for the targets that are not known to be below one.
pub(super) fn resolve_all(tx: &Transaction<'_>, sync_key: i64) -> Result<()> {
    tx.prepare_cached("UPDATE links SET is_resolved = 0 WHERE sync_key = ?1 AND is_resolved = 1")?
        .execute([sync_key])?;
    Ok(())
}

/// The source is to be asked, in a new pass, for all targets that the pass does not list; with
/// `only_used` for those that have their places from links.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn begin_pass(tx: &Transaction<'_>, target: &Target, only_used: bool) -> Result<()> {
    leases::check(tx, target.fence)?;
    tx.prepare_cached(
        "UPDATE links SET is_resolved = 0
         WHERE sync_key = ?1 AND is_resolved = 1 AND (NOT ?2 OR is_used = 1)",
    )?
    .execute(params![target.fence.sync_key, only_used])?;
    Ok(())
}

/// The place that an entry or a folder has from one of its links: the folder and the name; `None`
/// where it has none, or is below a root by its own folder `parent`.
pub(super) fn place_of(
    tx: &Transaction<'_>,
    sync_key: i64,
    roots: &[RootFolder],
    id: &EntryId,
    parent: Option<&FolderId>,
    listing: LinkListing,
) -> Result<Option<(FolderId, Vec<u8>)>> {
    let mut statement = tx.prepare_cached(
        "SELECT link_id, parent, name FROM links WHERE sync_key = ?1 AND target = ?2
         ORDER BY is_used DESC, link_key",
    )?;
    let mut rows = statement.query(params![sync_key, id.as_bytes()])?;
    let Some(mut row) = rows.next()? else { return Ok(None) };
    let mut places = Places::new(tx, sync_key, roots).listed_by(listing.listed_by);
    if let Some(parent) = parent {
        if places.is_inside_without(parent, id)? {
            use_link(tx, sync_key, id, None)?;
            return Ok(None);
        }
        if listing.waits && matches!(places.of(parent)?, Placement::Unknown(_)) {
            return Ok(None);
        }
    }
    loop {
        let folder = syncs::path(row.get(1)?);
        if places.is_inside_without(&folder, id)? {
            use_link(tx, sync_key, id, Some(&syncs::path(row.get(0)?)))?;
            return Ok(Some((folder, row.get(2)?)));
        }
        match rows.next()? {
            Some(next) => row = next,
            None => {
                use_link(tx, sync_key, id, None)?;
                return Ok(None);
            }
        }
    }
}

/// Gives entries that are below no root by their own folders the places of their links.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn place(
    tx: &Transaction<'_>,
    target: &Target,
    roots: &[RootFolder],
    entries: &mut [Entry],
    listing: LinkListing,
) -> Result<()> {
    leases::check(tx, target.fence)?;
    let sync_key = target.fence.sync_key;
    for entry in entries {
        prefer_inside(tx, sync_key, roots, entry, listing)?;
        let own = entry.parent.as_ref();
        if let Some((folder, name)) = place_of(tx, sync_key, roots, &entry.id, own, listing)? {
            entry.parent = Some(folder);
            entry.path = EntryPath::new(name);
        }
    }
    Ok(())
}

/// Of several folders that an entry is in, the one counts that is below a root, before any link.
fn prefer_inside(
    tx: &Transaction<'_>,
    sync_key: i64,
    roots: &[RootFolder],
    entry: &mut Entry,
    listing: LinkListing,
) -> Result<()> {
    let mut folders = entry.folders();
    if folders.len() > 1 {
        let mut places = Places::new(tx, sync_key, roots).listed_by(listing.listed_by);
        if let (first, Placement::Inside(_)) = places.of_first(&folders, listing.waits)? {
            entry.set_folders(folders.split_off(first));
        }
    }
    Ok(())
}

/// The next links below a root behind `after` whose targets are still to be resolved, with the last
/// key that was looked at, `None` if there were none. At most `most` are looked at.
///
/// # Errors
/// SQLite's.
pub fn to_resolve(
    connection: &Connection,
    sync_key: i64,
    roots: &[RootFolder],
    wanted: LinkFilter,
    after: i64,
    most: usize,
) -> Result<(Vec<ToResolve>, Option<i64>)> {
    let mut statement = connection.prepare_cached(
        "SELECT l.link_key, l.shard, l.parent, l.target, e.entry_key, e.pass, d.parent,
                f.pass, f.folder_id IS NOT NULL,
                EXISTS (SELECT 1 FROM links u
                        WHERE u.sync_key = ?1 AND u.target = l.target AND u.is_used = 1)
         FROM links l
             LEFT JOIN entries e ON e.sync_key = ?1 AND e.source_id = l.target
                 AND NOT EXISTS (SELECT 1 FROM gone_entries g WHERE g.entry_key = e.entry_key)
             LEFT JOIN entry_details d ON d.entry_key = e.entry_key
             LEFT JOIN folders f ON f.sync_key = ?1 AND f.folder_id = l.target
         WHERE l.sync_key = ?1 AND l.is_resolved = 0 AND l.link_key > ?2
         ORDER BY l.link_key LIMIT ?3",
    )?;
    let mut places = Places::new(connection, sync_key, roots).listed_by(wanted.listed_by);
    let mut rows = statement.query(params![sync_key, after, most])?;
    let (mut found, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let link_key: i64 = row.get(0)?;
        last = Some(link_key);
        if !matches!(places.of(&syncs::path(row.get(2)?))?, Placement::Inside(_)) {
            continue;
        }
        let target = syncs::path(row.get(3)?);
        let entry: Option<i64> = row.get(4)?;
        let own: Option<Vec<u8>> = row.get(6)?;
        let (is_folder, is_linked): (bool, bool) = (row.get(8)?, row.get(9)?);
        let mut is_inside = |folder: &FolderId| {
            Ok::<_, StoreError>(matches!(places.of(folder)?, Placement::Inside(_)))
        };
        let known = match (entry, own) {
            _ if roots.iter().any(|root| root.id == target) => KnownTarget::Root,
            _ if is_linked && wanted.asks_always => KnownTarget::Nothing,
            _ if is_folder && is_inside(&target)? => {
                KnownTarget::Folder { pass: row.get(7)?, is_linked }
            }
            (Some(entry_key), Some(own)) if is_inside(&syncs::path(own.clone()))? => {
                KnownTarget::Entry { row: entry_key, pass: row.get(5)? }
            }
            _ => KnownTarget::Nothing,
        };
        found.push(ToResolve { link_key, shard: row.get(1)?, target, known });
    }
    Ok((found, last))
}

/// The next links behind `after` that a full pass has not listed, with their keys and shards. At
/// most `most`.
///
/// # Errors
/// SQLite's.
pub fn unlisted(
    connection: &Connection,
    target: &Target,
    after: i64,
    most: usize,
) -> Result<Vec<(i64, String, EntryId)>> {
    let links = connection
        .prepare_cached(
            "SELECT link_key, shard, link_id FROM links
             WHERE sync_key = ?1 AND pass <> ?2 AND link_key > ?3 ORDER BY link_key LIMIT ?4",
        )?
        .query_map(params![target.fence.sync_key, target.pass, after, most], |row| {
            Ok((row.get(0)?, row.get(1)?, syncs::path(row.get(2)?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(links)
}

/// The next folders behind `after` that a full pass has not listed, with their keys and shards. At
/// most `most`.
///
/// # Errors
/// SQLite's.
pub fn unlisted_folders(
    connection: &Connection,
    target: &Target,
    after: i64,
    most: usize,
) -> Result<Vec<(i64, String, FolderId)>> {
    let folders = connection
        .prepare_cached(
            "SELECT folder_key, shard, folder_id FROM folders
             WHERE sync_key = ?1 AND pass <> ?2 AND folder_key > ?3 AND parent IS NOT NULL
             ORDER BY folder_key LIMIT ?4",
        )?
        .query_map(params![target.fence.sync_key, target.pass, after, most], |row| {
            Ok((row.get(0)?, row.get(1)?, syncs::path(row.get(2)?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(folders)
}

/// The targets of these links are where they belong, or are known to be gone.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn resolved(tx: &Transaction<'_>, target: &Target, keys: &[i64]) -> Result<()> {
    leases::check(tx, target.fence)?;
    let mut update = tx.prepare_cached("UPDATE links SET is_resolved = 1 WHERE link_key = ?1")?;
    for key in keys {
        update.execute([key])?;
    }
    Ok(())
}
