//! Removing an object for good, with all that hangs on it.

use rusqlite::{Transaction, params};

use super::{Result, blobs, processing, unique_keys, uploads};

/// An object that was removed, and how that changes its bucket's counts.
pub(super) struct Gone {
    pub(super) id: String,
    pub(super) objects: i64,
    pub(super) bytes: i64,
}

/// Removes an object, and the upload that it was made from.
pub(super) fn remove_object(tx: &Transaction<'_>, object_key: i64) -> Result<Gone> {
    uploads::waiting::forget(tx, object_key)?;
    let blob_keys: Vec<i64> = tx
        .prepare_cached("SELECT blob_key FROM object_blobs WHERE object_key = ?1")?
        .query_map([object_key], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tx.prepare_cached("DELETE FROM object_blobs WHERE object_key = ?1")?.execute([object_key])?;
    for blob_key in blob_keys {
        uploads::let_go(tx, blob_key, object_key)?;
        blobs::maybe_orphaned(tx, blob_key)?;
    }
    unique_keys::replace(tx, object_key, None)?;
    processing::forget_object(tx, object_key)?;
    Ok(tx
        .prepare_cached(
            "DELETE FROM objects WHERE object_key = ?1 RETURNING id, size, state IS NULL",
        )?
        .query_row(params![object_key], |row| {
            let is_counted: bool = row.get(2)?;
            Ok(Gone {
                id: row.get(0)?,
                objects: i64::from(is_counted),
                bytes: if is_counted { row.get(1)? } else { 0 },
            })
        })?)
}
