//! Entries that do not meet the filters' conditions on their metadata, stored with their version
//! and the settings, so that their source is not asked again.

use roaring::RoaringTreemap;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, target::Target};
use crate::model::{EntryId, Version};

/// An entry that does not meet a condition.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The source's name for it.
    pub id: EntryId,
    /// The version that was asked about.
    pub version: Version,
    /// The index of the condition that it does not meet.
    pub unmet: usize,
    /// Of an outlined entry, the mark of what was listed of it besides its version.
    pub facts_mark: Option<i64>,
    /// How many of its further files are taken all the same.
    pub further: u32,
}

/// What is stored for that version of an entry under the settings `mark`, since the pass `since` if
/// there is one: the key of the row, and the index of the condition that is not met.
pub(super) fn find(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
    version: &Version,
    mark: i64,
    since: Option<i64>,
) -> Result<Option<(i64, usize)>> {
    Ok(connection
        .prepare_cached(
            "SELECT left_out_key, unmet FROM left_out
             WHERE sync_key = ?1 AND source_id = ?2 AND version = ?3 AND judged_by = ?4
               AND (?5 IS NULL OR pass >= ?5)",
        )?
        .query_row(params![sync_key, id.as_bytes(), version.0, mark, since], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?)
}

/// Stores an entry that is left out.
pub(super) fn save(tx: &Transaction<'_>, target: &Target, entry: &LeftOut) -> Result<()> {
    let Some(mark) = target.mark else { return Ok(()) };
    tx.prepare_cached(
        "INSERT INTO left_out (sync_key, source_id, version, judged_by, unmet, pass, facts_mark, further)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (sync_key, source_id) DO UPDATE
         SET version = excluded.version, judged_by = excluded.judged_by, unmet = excluded.unmet,
             pass = excluded.pass, facts_mark = excluded.facts_mark, further = excluded.further",
    )?
    .execute(params![
        target.fence.sync_key,
        entry.id.as_bytes(),
        entry.version.0,
        mark,
        entry.unmet,
        target.pass,
        entry.facts_mark,
        entry.further,
    ])?;
    Ok(())
}

/// Deletes what is not needed after a complete pass: rows of other settings, and of entries that
/// this pass has neither asked about nor listed.
///
/// # Errors
/// SQLite's.
pub fn delete_others(tx: &Transaction<'_>, target: &Target, listed: &RoaringTreemap) -> Result<()> {
    let sync_key = target.fence.sync_key;
    tx.prepare_cached("DELETE FROM left_out WHERE sync_key = ?1 AND judged_by IS NOT ?2")?
        .execute(params![sync_key, target.mark])?;
    let keys: Vec<i64> = tx
        .prepare_cached("SELECT left_out_key FROM left_out WHERE sync_key = ?1 AND pass <> ?2")?
        .query_map([sync_key, target.pass], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let is_gone = |key: &i64| u64::try_from(*key).is_ok_and(|key| !listed.contains(key));
    for key in keys.into_iter().filter(is_gone) {
        tx.prepare_cached("DELETE FROM left_out WHERE left_out_key = ?1")?.execute([key])?;
    }
    Ok(())
}
