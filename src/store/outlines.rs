//! What is stored of entries that a listing only outlines: enough to see whether they have changed.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Result, entries::CurrentRules, syncs};
use crate::model::{EntryId, Version};

/// What is stored of an outlined entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutline {
    /// The key of its row.
    pub entry_key: u64,
    /// Its version.
    pub version: Vec<u8>,
    /// The mark of its facts.
    pub facts_mark: Option<i64>,
    /// Whether it was stored under the settings as they are now, and nothing is known of its end.
    pub is_current: bool,
    /// Whether it was fetched since everything is to be fetched again.
    pub is_fetched: bool,
    /// How many of its further files are taken.
    pub further: u32,
}

/// A further file of an outlined entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Further {
    /// The key of its row.
    pub entry_key: u64,
    /// Its id.
    pub id: EntryId,
    /// Whether it was stored under the settings as they are now.
    pub is_current: bool,
}

/// An entry that the filters have left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The key of the `left_out` row.
    pub key: i64,
    /// The version that was asked about.
    pub version: Version,
    /// The mark of what was listed of it besides that.
    pub facts_mark: Option<i64>,
    /// How many of its further files are taken all the same.
    pub further: u32,
}

/// What is stored of an entry.
///
/// # Errors
/// SQLite's.
pub fn stored(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
    rules: CurrentRules,
) -> Result<Option<StoredOutline>> {
    let mut lookup = connection.prepare_cached(
        "SELECT e.entry_key, e.version, d.facts_mark, e.judged_by, e.is_duplicate,
                g.entry_key IS NOT NULL, e.pass, d.further
         FROM entries e LEFT JOIN entry_details d USING (entry_key)
             LEFT JOIN gone_entries g USING (entry_key)
         WHERE e.sync_key = ?1 AND e.source_id = ?2",
    )?;
    let found = lookup.query_row(params![sync_key, id.as_bytes()], |row| {
        let shares = !rules.shares_objects && row.get(4)?;
        let (is_gone, pass): (bool, i64) = (row.get(5)?, row.get(6)?);
        Ok(StoredOutline {
            entry_key: row.get(0)?,
            version: row.get(1)?,
            facts_mark: row.get(2)?,
            is_current: row.get::<_, Option<i64>>(3)? == rules.mark && !shares && !is_gone,
            is_fetched: rules.full_since.is_some_and(|since| pass >= since),
            further: row.get::<_, Option<u32>>(7)?.unwrap_or_default(),
        })
    });
    Ok(found.optional()?)
}

/// The rows of the further files of an entry: those whose ids begin with its id and a slash.
///
/// # Errors
/// SQLite's.
pub fn further(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
    rules: CurrentRules,
) -> Result<Vec<Further>> {
    let (from, until) = ([id.as_bytes(), b"/"].concat(), [id.as_bytes(), b"0"].concat());
    connection
        .prepare_cached(
            "SELECT entry_key, source_id, judged_by FROM entries
             WHERE sync_key = ?1 AND source_id > ?2 AND source_id < ?3",
        )?
        .query_map(params![sync_key, from, until], |row| {
            let (entry_key, id) = (row.get(0)?, syncs::path(row.get(1)?));
            let is_current = row.get::<_, Option<i64>>(2)? == rules.mark;
            Ok(Further { entry_key, id, is_current })
        })?
        .map(|row| row.map_err(Into::into))
        .collect()
}

/// What is remembered of an entry that was left out under the settings as they are now.
///
/// # Errors
/// SQLite's.
pub fn left_out(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
    rules: CurrentRules,
) -> Result<Option<LeftOut>> {
    let (Some(mark), true) = (rules.mark, rules.leave_out) else { return Ok(None) };
    Ok(connection
        .prepare_cached(
            "SELECT left_out_key, version, facts_mark, further FROM left_out
             WHERE sync_key = ?1 AND source_id = ?2 AND judged_by = ?3
               AND (?4 IS NULL OR pass >= ?4)",
        )?
        .query_row(params![sync_key, id.as_bytes(), mark, rules.full_since], |row| {
            let (key, version) = (row.get(0)?, Version(row.get(1)?));
            Ok(LeftOut { key, version, facts_mark: row.get(2)?, further: row.get(3)? })
        })
        .optional()?)
}
