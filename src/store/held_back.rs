//! New entries that may be renamed ones, held back until their run knows whether the old names are
//! gone. They are stored and not kept in memory, because a folder of any size can be renamed. They
//! only belong to their run, whose checkpoint stays before them; the next run deletes them.

use rusqlite::{Connection, Transaction, params};

use super::{Result, stored::signed, syncs, time};
use crate::model::{EntryId, EntryPath, Fingerprint, Version};

/// An entry that may be one that the index has under another name.
#[derive(Clone, Debug)]
pub struct HeldBack {
    /// Its page of the walk: the shard's index, and the page's number.
    pub page: (usize, u64),
    /// The key of the row that it may be.
    pub row: i64,
    /// The source's name for it.
    pub id: EntryId,
    /// Its path from the root.
    pub path: EntryPath,
    /// What the listing says about it.
    pub fingerprint: Fingerprint,
}

/// Adds entries to those that a sync holds back.
pub(super) fn save(tx: &Transaction<'_>, sync_key: i64, entries: &[HeldBack]) -> Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO held_back (sync_key, shard, page, entry_key, source_id, path, size, version,
                                modified_ns, etag, mime)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for HeldBack { page: (shard, page), row, id, path, fingerprint } in entries {
        insert.execute(params![
            sync_key,
            i64::try_from(*shard).unwrap_or_default(),
            signed(*page),
            row,
            id.as_bytes(),
            (path != id).then(|| path.as_bytes()),
            signed(fingerprint.size),
            fingerprint.version.0,
            fingerprint.modified.map(time::to_ns),
            fingerprint.etag,
            fingerprint.mime,
        ])?;
    }
    Ok(())
}

/// The next entries that a sync holds back, in order, behind `after`, which is a key that this
/// returned, or 0. At most `most`.
///
/// # Errors
/// SQLite's.
pub fn next(
    connection: &Connection,
    sync_key: i64,
    after: i64,
    most: usize,
) -> Result<Vec<(i64, HeldBack)>> {
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(connection
        .prepare_cached(
            "SELECT held_back_key, shard, page, entry_key, source_id, path, size, version,
                    modified_ns, etag, mime
             FROM held_back WHERE sync_key = ?1 AND held_back_key > ?2
             ORDER BY held_back_key LIMIT ?3",
        )?
        .query_map(params![sync_key, after, most], |row| {
            let id = syncs::path(row.get(4)?);
            let path: Option<Vec<u8>> = row.get(5)?;
            let shard: i64 = row.get(1)?;
            let held_back = HeldBack {
                page: (usize::try_from(shard).unwrap_or_default(), number(row.get(2)?)),
                row: row.get(3)?,
                path: path.map_or_else(|| id.clone(), syncs::path),
                id,
                fingerprint: Fingerprint {
                    size: number(row.get(6)?),
                    version: Version(row.get(7)?),
                    modified: row.get::<_, Option<i64>>(8)?.map(time::from_ns),
                    etag: row.get(9)?,
                    mime: row.get(10)?,
                    details: None,
                },
            };
            Ok((row.get(0)?, held_back))
        })?
        .collect::<Result<_, _>>()?)
}

/// How many entries one statement deletes, which keeps what it has deleted in memory.
const DELETED_AT_ONCE: usize = 10_000;

/// Deletes some of what a sync holds back. Returns whether there is more.
///
/// # Errors
/// SQLite's.
pub fn delete_some(tx: &Transaction<'_>, sync_key: i64) -> Result<bool> {
    let deleted = tx
        .prepare_cached(
            "DELETE FROM held_back WHERE held_back_key IN
                 (SELECT held_back_key FROM held_back WHERE sync_key = ?1 LIMIT ?2)",
        )?
        .execute(params![sync_key, DELETED_AT_ONCE])?;
    Ok(deleted == DELETED_AT_ONCE)
}
