//! What opens entries, folders and links to who would not see them otherwise, by their ids. Sources
//! show it with what they list ([`crate::sources::Page::access_keys`]), and need it in later runs.

use rusqlite::{Connection, Transaction, params};

use super::{Result, leases, syncs, target::Target};
use crate::model::EntryId;

/// All of a sync.
///
/// # Errors
/// SQLite's.
pub fn load(connection: &Connection, sync_key: i64) -> Result<Vec<(EntryId, String)>> {
    let keys = connection
        .prepare_cached("SELECT source_id, access_key FROM access_keys WHERE sync_key = ?1")?
        .query_map([sync_key], |row| Ok((syncs::path(row.get(0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(keys)
}

/// Stores some, in the place of those that were stored for the same ids.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn save(tx: &Transaction<'_>, target: &Target, keys: &[(EntryId, String)]) -> Result<()> {
    leases::check(tx, target.fence)?;
    for (id, key) in keys {
        tx.prepare_cached(
            "INSERT INTO access_keys (sync_key, source_id, access_key) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET access_key = excluded.access_key",
        )?
        .execute(params![target.fence.sync_key, id.as_bytes(), key])?;
    }
    Ok(())
}
