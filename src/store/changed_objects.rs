//! Objects that changed and wait to be batched: written by whoever changes them, taken into batches
//! by `processing::to_batch`.

use rusqlite::{Connection, Transaction};

use super::Result;

/// Whether what comes into a bucket is to be batched at all.
///
/// # Errors
/// SQLite's.
pub fn is_wanted(connection: &Connection, bucket_key: i64) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM collection_sources JOIN collections USING (collection_key)
             WHERE bucket_key = ?1 AND bucket_key <> 0 AND is_enabled AND is_deleting = 0",
        )?
        .exists([bucket_key])?)
}

/// Notes an object of a sync.
pub(super) fn note(tx: &Transaction<'_>, sync_key: i64, object_key: i64) -> Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO to_batch VALUES (?1, ?2)")?
        .execute([sync_key, object_key])?;
    Ok(())
}
