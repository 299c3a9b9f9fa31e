//! Objects whose entries go or change while entries with equal bytes remain: those inherit them.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Result, entries::HANDED_OVER, unique_keys};

/// Where the entry that made an object no longer stands behind it: gives the object to an entry
/// with equal bytes, if one remains. Returns whether one did.
pub(super) fn hand_over(tx: &Transaction<'_>, object_key: i64, now: Timestamp) -> Result<bool> {
    let heir: Option<(i64, Vec<u8>, Option<i64>)> = tx
        .prepare_cached(
            "SELECT entry_key, coalesce(path, source_id), modified_ns FROM entries
             WHERE object_key = ?1 AND is_duplicate = 1 ORDER BY entry_key LIMIT 1",
        )?
        .query_row([object_key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((entry_key, path, modified_ns)) = heir else { return Ok(false) };
    // The object's fields are those of the entry that made it: where there are any, the heir is
    // looked at again, and what named the object is free until then.
    let is_mapped: bool = tx
        .prepare_cached(
            "UPDATE entries SET is_duplicate = 0, judged_by = iif(judged_by IS NULL, NULL, ?2)
             WHERE entry_key = ?1 RETURNING judged_by IS NOT NULL",
        )?
        .query_row([entry_key, HANDED_OVER], |row| row.get(0))?;
    if is_mapped {
        unique_keys::replace(tx, object_key, None)?;
    }
    tx.prepare_cached(
        "UPDATE objects SET entry_key = ?2, path = ?3, modified_ns = ?4, updated_at_ms = ?5
         WHERE object_key = ?1",
    )?
    .execute(params![object_key, entry_key, path, modified_ns, now.as_millisecond()])?;
    Ok(true)
}
