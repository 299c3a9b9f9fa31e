//! Entries that a change feed has proved gone: the proof is kept until they are removed, or listed
//! again.

use roaring::RoaringTreemap;
use rusqlite::{Connection, Transaction, params};

use super::{
    Result,
    below::{self, EntryBelow},
    leases,
    target::Target,
};
use crate::model::{EntryId, FolderId};

/// The keys of entries that are gone.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// Those that are gone, or below no root any more.
    pub absent: RoaringTreemap,
    /// Those that exist, but do not pass the filters any more.
    pub drifted: RoaringTreemap,
}

impl Gone {
    /// Whether an entry is among them.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        self.absent.contains(key) || self.drifted.contains(key)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.absent.is_empty() && self.drifted.is_empty()
    }
}

/// The entries of a sync that are gone.
///
/// # Errors
/// SQLite's.
pub fn load(connection: &Connection, sync_key: i64) -> Result<Gone> {
    let mut gone = Gone::default();
    let mut statement = connection
        .prepare_cached("SELECT entry_key, is_drifted FROM gone_entries WHERE sync_key = ?1")?;
    let mut rows = statement.query([sync_key])?;
    while let Some(row) = rows.next()? {
        let Ok(key) = u64::try_from(row.get::<_, i64>(0)?) else { continue };
        if row.get(1)? {
            gone.drifted.insert(key)
        } else {
            gone.absent.insert(key)
        };
    }
    Ok(gone)
}

/// Records entries as gone.
///
/// # Errors
/// SQLite's.
pub fn record(tx: &Transaction<'_>, sync_key: i64, keys: &[u64], is_drifted: bool) -> Result<()> {
    for key in keys.iter().filter_map(|key| i64::try_from(*key).ok()) {
        tx.prepare_cached(
            "INSERT INTO gone_entries (entry_key, sync_key, is_drifted)
             SELECT entry_key, sync_key, ?3 FROM entries WHERE entry_key = ?1 AND sync_key = ?2
             ON CONFLICT DO UPDATE SET is_drifted = excluded.is_drifted, is_outside = 0",
        )?
        .execute(params![key, sync_key, is_drifted])?;
    }
    Ok(())
}

/// Nothing is known of these entries: they are asked for.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn forget(tx: &Transaction<'_>, target: &Target, keys: &[i64]) -> Result<()> {
    leases::check(tx, target.fence)?;
    keys.iter().try_for_each(|key| clear(tx, *key))
}

/// An entry was listed again.
pub(super) fn clear(tx: &Transaction<'_>, entry_key: i64) -> Result<()> {
    tx.prepare_cached("DELETE FROM gone_entries WHERE entry_key = ?1")?.execute([entry_key])?;
    Ok(())
}

/// Records entries as gone because their folder is below no root that is known.
pub(super) fn record_outside(
    tx: &Transaction<'_>,
    sync_key: i64,
    entries: &[EntryBelow],
) -> Result<()> {
    let mut insert = tx.prepare_cached(&format!(
        "{} INSERT INTO gone_entries (entry_key, sync_key, is_drifted, is_outside)
         SELECT entry_key, ?{}, 0, 1 FROM content WHERE true
         ON CONFLICT DO UPDATE SET is_drifted = 0, is_outside = 1 WHERE is_drifted = 1",
        below::rows_of(entries.len()),
        2 * entries.len() + 1,
    ))?;
    below::bind(&mut insert, entries)?;
    insert.raw_bind_parameter(2 * entries.len() + 1, sync_key)?;
    insert.raw_execute()?;
    Ok(())
}

/// The folder of entries is below a root again.
pub(super) fn clear_outside(tx: &Transaction<'_>, entries: &[EntryBelow]) -> Result<()> {
    let mut delete = tx.prepare_cached(&format!(
        "{} DELETE FROM gone_entries
         WHERE is_outside = 1 AND entry_key IN (SELECT entry_key FROM content)",
        below::rows_of(entries.len()),
    ))?;
    below::bind(&mut delete, entries)?;
    delete.raw_execute()?;
    Ok(())
}

/// Where a folder is, is not known: nothing is known of where the entries in it are.
pub(super) fn clear_outside_in(
    tx: &Transaction<'_>,
    sync_key: i64,
    folder: &FolderId,
) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM gone_entries WHERE is_outside = 1 AND entry_key IN (
             SELECT entry_key FROM entry_details WHERE sync_key = ?1 AND parent = ?2)",
    )?
    .execute(params![sync_key, folder.as_bytes()])?;
    Ok(())
}

/// Records that an entry was reported as removed.
pub(super) fn record_removed(tx: &Transaction<'_>, sync_key: i64, id: &EntryId) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO gone_entries (entry_key, sync_key, is_drifted)
         SELECT entry_key, sync_key, 0 FROM entries WHERE sync_key = ?1 AND source_id = ?2
         ON CONFLICT DO UPDATE SET is_drifted = 0, is_outside = 0",
    )?
    .execute(params![sync_key, id.as_bytes()])?;
    Ok(())
}
