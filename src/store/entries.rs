//! The index: what each sync has taken, for comparing with a listing.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Result, left_out};
use crate::model::{EntryId, Version};

/// What the index says about a listed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is new.
    No,
    /// It was taken at this very version.
    Same {
        /// Internal key of its row.
        entry_key: i64,
        /// Whether that was decided by the settings of today.
        is_settled: bool,
    },
    /// It was taken at another version.
    Other {
        /// Internal key of its row.
        entry_key: i64,
        /// Whether that was decided by the settings of today.
        is_settled: bool,
    },
    /// At this version, and by the settings of today, its source was asked about it, and it is left
    /// out.
    LeftOut {
        /// Internal key of its row, if it was taken earlier.
        entry_key: Option<i64>,
        /// Internal key of what is remembered.
        left_out_key: i64,
        /// The place of the condition that it does not meet.
        unmet: usize,
    },
}

impl Known {
    /// The key of the entry's row, if it has one.
    #[must_use]
    pub const fn entry_key(&self) -> Option<i64> {
        match self {
            Self::No => None,
            Self::Same { entry_key, .. } | Self::Other { entry_key, .. } => Some(*entry_key),
            Self::LeftOut { entry_key, .. } => *entry_key,
        }
    }

    /// The same key as the bitmaps of a pass keep it.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        self.entry_key().and_then(|key| u64::try_from(key).ok())
    }
}

/// What today's settings look at besides a listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judge {
    /// The mark of the settings; `None` where they look at nothing else.
    pub mark: Option<i64>,
    /// Whether entries are left out for it.
    pub leaves_out: bool,
}

/// Looks each id up, in the order given; `version` is `None` for entries that have none.
///
/// # Errors
/// SQLite's.
pub fn compare<'a>(
    connection: &Connection,
    sync_key: i64,
    entries: impl Iterator<Item = (&'a EntryId, Option<&'a Version>)>,
    judge: Judge,
) -> Result<Vec<Known>> {
    let mut lookup = connection.prepare_cached(
        "SELECT entry_key, version, judged_by FROM entries WHERE sync_key = ?1 AND source_id = ?2",
    )?;
    entries
        .map(|(id, version)| {
            let found = lookup
                .query_row(params![sync_key, id.as_bytes()], |row| {
                    let entry_key = row.get(0)?;
                    let stored = row.get_ref(1)?.as_blob()?;
                    let is_settled = row.get::<_, Option<i64>>(2)? == judge.mark;
                    Ok(match version {
                        Some(version) if version.0 == stored => {
                            Known::Same { entry_key, is_settled }
                        }
                        _ => Known::Other { entry_key, is_settled },
                    })
                })
                .optional()?
                .unwrap_or(Known::No);
            recall(connection, sync_key, id, version, judge, found)
        })
        .collect()
}

/// Looks up whether an entry that is not settled has been left out already.
fn recall(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
    version: Option<&Version>,
    judge: Judge,
    found: Known,
) -> Result<Known> {
    let (Some(version), Some(mark), true) = (version, judge.mark, judge.leaves_out) else {
        return Ok(found);
    };
    if matches!(found, Known::Same { is_settled: true, .. }) {
        return Ok(found);
    }
    let remembered = left_out::find(connection, sync_key, id, version, mark)?;
    Ok(match remembered {
        Some((left_out_key, unmet)) => {
            Known::LeftOut { entry_key: found.entry_key(), left_out_key, unmet }
        }
        None => found,
    })
}
