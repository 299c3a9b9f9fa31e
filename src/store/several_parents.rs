//! Folders and entries that are in several folders, as old ones of some providers are: they are
//! kept with all of these, so that each has its place in the first that is below a root, whichever
//! of them come and go.

use rusqlite::{Connection, Transaction, params};

use super::{Result, leases, syncs, target::Target};
use crate::model::{EntryId, FolderId};

/// Whether anything of a sync is in several folders.
///
/// # Errors
/// SQLite's.
pub fn has_any(connection: &Connection, sync_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM several_parents WHERE sync_key = ?1 LIMIT 1")?
        .exists([sync_key])?)
}

/// Everything of a sync that is in several folders, with these, in order.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection, sync_key: i64) -> Result<Vec<(EntryId, Vec<FolderId>)>> {
    let mut statement = connection.prepare_cached(
        "SELECT child, parent FROM several_parents WHERE sync_key = ?1 ORDER BY child, position",
    )?;
    let mut rows = statement.query([sync_key])?;
    let mut all: Vec<(EntryId, Vec<FolderId>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (child, parent) = (syncs::path(row.get(0)?), syncs::path(row.get(1)?));
        match all.last_mut() {
            Some((last, parents)) if *last == child => parents.push(parent),
            _ => all.push((child, vec![parent])),
        }
    }
    Ok(all)
}

/// Stores what a page says: these are in several folders, and `others` are not.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn save(
    tx: &Transaction<'_>,
    target: &Target,
    several: &[(EntryId, Vec<FolderId>)],
    others: &[EntryId],
) -> Result<()> {
    leases::check(tx, target.fence)?;
    let sync_key = target.fence.sync_key;
    let mut delete =
        tx.prepare_cached("DELETE FROM several_parents WHERE sync_key = ?1 AND child = ?2")?;
    for id in several.iter().map(|(id, _)| id).chain(others) {
        delete.execute(params![sync_key, id.as_bytes()])?;
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO several_parents (sync_key, child, position, parent) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (id, parents) in several {
        for (position, parent) in parents.iter().enumerate() {
            insert.execute(params![sync_key, id.as_bytes(), position, parent.as_bytes()])?;
        }
    }
    Ok(())
}

/// A full pass begins, which lists them all again.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn delete_all(tx: &Transaction<'_>, target: &Target) -> Result<()> {
    leases::check(tx, target.fence)?;
    tx.prepare_cached("DELETE FROM several_parents WHERE sync_key = ?1")?
        .execute([target.fence.sync_key])?;
    Ok(())
}
