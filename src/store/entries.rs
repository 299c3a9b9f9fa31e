//! The index: what each sync has taken, for comparing with a listing.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Result;
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
    },
    /// It was taken at another version.
    Other {
        /// Internal key of its row.
        entry_key: i64,
    },
}

impl Known {
    /// The key of the entry's row, if it has one.
    #[must_use]
    pub const fn entry_key(&self) -> Option<i64> {
        match self {
            Self::No => None,
            Self::Same { entry_key } | Self::Other { entry_key } => Some(*entry_key),
        }
    }

    /// The same key as the bitmaps of a pass keep it.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        self.entry_key().and_then(|key| u64::try_from(key).ok())
    }
}

/// Looks each id up, in the order given; `version` is `None` for entries that have none.
///
/// # Errors
/// SQLite's.
pub fn compare<'a>(
    connection: &Connection,
    sync_key: i64,
    entries: impl Iterator<Item = (&'a EntryId, Option<&'a Version>)>,
) -> Result<Vec<Known>> {
    let mut lookup = connection.prepare_cached(
        "SELECT entry_key, version FROM entries WHERE sync_key = ?1 AND source_id = ?2",
    )?;
    entries
        .map(|(id, version)| {
            let found = lookup
                .query_row(params![sync_key, id.as_bytes()], |row| {
                    let entry_key = row.get(0)?;
                    let stored = row.get_ref(1)?.as_blob()?;
                    Ok(match version {
                        Some(version) if version.0 == stored => Known::Same { entry_key },
                        _ => Known::Other { entry_key },
                    })
                })
                .optional()?;
            Ok(found.unwrap_or(Known::No))
        })
        .collect()
}
