//! Listed entries whose folder is not known yet, stored until the pass knows it.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    Result, json, leases,
    places::{Placement, Places},
    syncs,
    target::Target,
};
use crate::model::{
    Details, Entry, EntryId, EntryKind, EntryPath, ErrorType, Fingerprint, FolderId, SkipReason,
    Version,
};

/// An entry with its shard.
#[derive(Clone, Debug)]
pub struct Unplaced {
    /// The shard's name.
    pub shard: String,
    /// The entry, which has a parent.
    pub entry: Entry,
    /// Of its folders, the one whose place is not known.
    pub waits_for: FolderId,
}

/// An entry as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    id: Vec<u8>,
    name: Vec<u8>,
    /// The folders that it is in, if they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folders: Vec<Vec<u8>>,
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    File {
        size: u64,
        version: Vec<u8>,
        modified: Option<Timestamp>,
        etag: Option<String>,
        mime: Option<String>,
        details: Option<Box<Details>>,
    },
    Skipped(SkipReason),
    Unreadable(ErrorType, String),
}

impl From<&Entry> for StoredEntry {
    fn from(entry: &Entry) -> Self {
        let kind = match entry.kind.clone() {
            EntryKind::File(file) => Kind::File {
                size: file.size,
                version: file.version.0,
                modified: file.modified,
                etag: file.etag,
                mime: file.mime,
                details: file.details,
            },
            EntryKind::Skipped(reason) => Kind::Skipped(reason),
            EntryKind::Unreadable { error_type, message } => Kind::Unreadable(error_type, message),
        };
        let folders = Some(entry.folders()).filter(|folders| folders.len() > 1);
        Self {
            id: entry.id.as_bytes().to_vec(),
            name: entry.path.as_bytes().to_vec(),
            folders: folders.iter().flatten().map(|folder| folder.as_bytes().to_vec()).collect(),
            kind,
        }
    }
}

impl StoredEntry {
    fn into_entry(self, parent: FolderId, bytes: Option<Bytes>) -> Entry {
        let kind = match self.kind {
            Kind::File { size, version, modified, etag, mime, mut details } => {
                if let Some(details) = &mut details {
                    details.bytes = bytes;
                }
                let version = Version(version);
                EntryKind::File(Fingerprint { size, version, modified, etag, mime, details })
            }
            Kind::Skipped(reason) => EntryKind::Skipped(reason),
            Kind::Unreadable(error_type, message) => EntryKind::Unreadable { error_type, message },
        };
        let (id, path) = (EntryPath::new(self.id), EntryPath::new(self.name));
        let mut entry = Entry { id, path, parent: None, kind };
        match self.folders.is_empty() {
            true => entry.set_folders(vec![parent]),
            false => entry.set_folders(self.folders.into_iter().map(EntryPath::new).collect()),
        }
        entry
    }
}

/// Stores entries. Of an entry that is stored already, the later occurrence is kept.
pub(super) fn save(tx: &Transaction<'_>, sync_key: i64, entries: &[Unplaced]) -> Result<()> {
    for Unplaced { shard, entry, waits_for } in entries {
        tx.prepare_cached("DELETE FROM unplaced_entries WHERE sync_key = ?1 AND source_id = ?2")?
            .execute(params![sync_key, entry.id.as_bytes()])?;
        tx.prepare_cached(
            "INSERT INTO unplaced_entries (sync_key, shard, source_id, parent, entry, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            sync_key,
            shard,
            entry.id.as_bytes(),
            waits_for.as_bytes(),
            json::write("unplaced entry", &StoredEntry::from(entry))?,
            bytes_of(entry),
        ])?;
    }
    Ok(())
}

/// The bytes of an entry, where the listing brought them.
fn bytes_of(entry: &Entry) -> Option<&[u8]> {
    match &entry.kind {
        EntryKind::File(file) => file.bytes().map(|bytes| bytes.as_ref()),
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => None,
    }
}

/// Entries whose place is known by now, and the last key that was looked at.
pub type Placeable = (Vec<(i64, Unplaced)>, Option<i64>);

/// Of the next entries behind `after`, those whose place is known by now, or that another of their
/// folders has to be waited for, and the last key that was looked at, `None` if there were none. At
/// most `most` are looked at. `waits` is that of [`Places::of_first`].
///
/// # Errors
/// SQLite's.
pub fn placeable(
    connection: &Connection,
    sync_key: i64,
    places: &mut Places<'_>,
    waits: bool,
    after: i64,
    most: usize,
) -> Result<Placeable> {
    let found = next(connection, sync_key, after, most)?;
    let last = found.last().map(|(key, _)| *key);
    let mut placeable = Vec::new();
    for (key, unplaced) in found {
        let folders = unplaced.entry.folders();
        let (first, place) = places.of_first(&folders, waits)?;
        let waits_still = matches!(place, Placement::Unknown(_))
            && folders.get(first) == Some(&unplaced.waits_for);
        if !waits_still {
            placeable.push((key, unplaced));
        }
    }
    Ok((placeable, last))
}

/// The next entries behind `after`. At most `most`.
fn next(
    connection: &Connection,
    sync_key: i64,
    after: i64,
    most: usize,
) -> Result<Vec<(i64, Unplaced)>> {
    let mut statement = connection.prepare_cached(
        "SELECT unplaced_key, shard, parent, entry, bytes FROM unplaced_entries
         WHERE sync_key = ?1 AND unplaced_key > ?2 ORDER BY unplaced_key LIMIT ?3",
    )?;
    let mut rows = statement.query(params![sync_key, after, most])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let stored: StoredEntry = json::read("unplaced entry", &row.get::<_, String>(3)?)?;
        let bytes = row.get::<_, Option<Vec<u8>>>(4)?.map(Bytes::from);
        let waits_for = syncs::path(row.get(2)?);
        let entry = stored.into_entry(waits_for.clone(), bytes);
        found.push((row.get(0)?, Unplaced { shard: row.get(1)?, entry, waits_for }));
    }
    Ok(found)
}

/// The folders that these entries wait for, each with the shard of an entry. `only_stored`: only of
/// those that have a row.
///
/// # Errors
/// SQLite's.
pub fn parents(
    connection: &Connection,
    sync_key: i64,
    only_stored: bool,
    most: usize,
) -> Result<Vec<(String, FolderId)>> {
    let parents = connection
        .prepare_cached(
            "SELECT min(shard), parent FROM unplaced_entries u
             WHERE sync_key = ?1
                 AND (NOT ?2 OR EXISTS (SELECT 1 FROM entries e
                                        WHERE e.sync_key = ?1 AND e.source_id = u.source_id))
             GROUP BY parent LIMIT ?3",
        )?
        .query_map(params![sync_key, only_stored, most], |row| {
            Ok((row.get(0)?, syncs::path(row.get(1)?)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(parents)
}

/// The keys of those of these entries that are stored.
///
/// # Errors
/// SQLite's.
pub fn among(connection: &Connection, sync_key: i64, ids: &[EntryId]) -> Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT unplaced_key FROM unplaced_entries WHERE sync_key = ?1 AND source_id = ?2",
    )?;
    let mut keys = Vec::new();
    for id in ids {
        let found = statement.query_map(params![sync_key, id.as_bytes()], |row| row.get(0))?;
        for key in found {
            keys.push(key?);
        }
    }
    Ok(keys)
}

/// Deletes entries that the source says something newer of.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn forget(tx: &Transaction<'_>, target: &Target, keys: &[i64]) -> Result<()> {
    leases::check(tx, target.fence)?;
    delete(tx, keys)
}

/// Deletes entries that have been planned.
pub(super) fn delete(tx: &Transaction<'_>, keys: &[i64]) -> Result<()> {
    for key in keys {
        tx.prepare_cached("DELETE FROM unplaced_entries WHERE unplaced_key = ?1")?
            .execute([key])?;
    }
    Ok(())
}

/// Deletes all entries of a sync.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn delete_all(tx: &Transaction<'_>, target: &Target) -> Result<()> {
    leases::check(tx, target.fence)?;
    tx.prepare_cached("DELETE FROM unplaced_entries WHERE sync_key = ?1")?
        .execute([target.fence.sync_key])?;
    Ok(())
}
