//! The index: the entries that each sync has stored, for comparing with a listing.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Result, gone, left_out, syncs, time};
use crate::model::{BlobHash, EntryId, EntryPath, Fingerprint, Identity, Version};

/// The `object_key` of an entry whose object somebody deleted by hand. The version that was stored
/// then is not synced again; another version becomes an object again.
pub(super) const DELETED: i64 = 0;

/// The `object_key` of an entry whose object a person has put into the trash. No version of it is
/// taken while the object is there.
pub(super) const TRASHED: i64 = -1;

/// A mark that belongs to no settings: this entry has taken over the object of another one, which
/// the object still describes.
pub const HANDED_OVER: i64 = -1;

/// What the index says about a listed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is new.
    No,
    /// It is stored with this very version.
    Same {
        /// Internal key of its row.
        entry_key: i64,
        /// Whether it was evaluated under the current settings.
        is_current: bool,
        /// Whether the full run under way, if there is one, has fetched it already.
        is_fetched: bool,
        /// Whether the listing says something else of it than is stored: another place, another
        /// mark of its facts, or that it exists after all.
        is_relisted: bool,
    },
    /// It is stored with another version.
    Other {
        /// Internal key of its row.
        entry_key: i64,
        /// Whether it was evaluated under the current settings.
        is_current: bool,
    },
    /// Under the current settings its source was asked about this version, and it does not meet a
    /// condition of the filters.
    LeftOut {
        /// Internal key of its row, if an earlier version is stored.
        entry_key: Option<i64>,
        /// Internal key of its `left_out` row.
        left_out_key: i64,
        /// The index of the condition that it does not meet.
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

    /// The same key as the bitmaps of a pass store it.
    #[must_use]
    pub fn row(&self) -> Option<u64> {
        self.entry_key().and_then(|key| u64::try_from(key).ok())
    }
}

/// The current settings, as far as they look at more than a listing.
#[derive(Clone, Copy, Debug, Default)]
pub struct CurrentRules {
    /// The mark of the settings; `None` where they look at nothing more.
    pub mark: Option<i64>,
    /// Whether entries can be left out because of what their source says of them.
    pub leave_out: bool,
    /// Where every entry is fetched and asked about again, the pass in which that began: what was
    /// written since is done.
    pub full_since: Option<i64>,
    /// Whether entries with equal bytes share an object; else one without its own is not current.
    pub shares_objects: bool,
}

/// The key of an entry's row, if it has one.
///
/// # Errors
/// SQLite's.
pub fn key_of(connection: &Connection, sync_key: i64, id: &EntryId) -> Result<Option<i64>> {
    Ok(connection
        .prepare_cached("SELECT entry_key FROM entries WHERE sync_key = ?1 AND source_id = ?2")?
        .query_row(params![sync_key, id.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// Whether anything is stored from the first to the last of these ids, in their order. What is
/// listed in order, and new, has nothing between it: then none of it need be looked up.
pub(super) fn any_between<'a>(
    connection: &Connection,
    sync_key: i64,
    ids: impl Iterator<Item = &'a EntryId> + Clone,
) -> Result<bool> {
    let (Some(first), Some(last)) = (ids.clone().min(), ids.max()) else { return Ok(false) };
    Ok(connection
        .prepare_cached(
            "SELECT 1 FROM entries WHERE sync_key = ?1 AND source_id BETWEEN ?2 AND ?3",
        )?
        .exists(params![sync_key, first.as_bytes(), last.as_bytes()])?)
}

/// The path that is stored of an entry.
///
/// # Errors
/// SQLite's.
pub fn path_of(connection: &Connection, entry_key: i64) -> Result<EntryPath> {
    Ok(connection
        .prepare_cached("SELECT coalesce(path, source_id) FROM entries WHERE entry_key = ?1")?
        .query_row([entry_key], |row| Ok(syncs::path(row.get(0)?)))?)
}

/// What is stored of entries that are known by id, besides their rows.
#[derive(Default)]
struct StoredDetails {
    parent: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    facts_mark: Option<i64>,
    is_gone: bool,
}

/// Looks up each entry of a source that knows entries by id, in the given order; the fingerprint is
/// `None` for entries that have none. `is_same` compares a stored version with a listed one.
///
/// # Errors
/// SQLite's.
pub fn compare_by_id<'a>(
    connection: &Connection,
    sync_key: i64,
    entries: impl Iterator<Item = (&'a EntryId, Option<&'a Fingerprint>)> + Clone,
    rules: CurrentRules,
    is_same: impl Fn(&[u8], &Version) -> bool,
) -> Result<Vec<Known>> {
    let any = any_between(connection, sync_key, entries.clone().map(|(id, _)| id))?;
    let mut lookup = connection.prepare_cached(
        "SELECT e.entry_key, e.version, e.judged_by, d.parent, d.name, d.facts_mark,
                g.entry_key IS NOT NULL, e.pass, e.is_duplicate, e.object_key
         FROM entries e LEFT JOIN entry_details d USING (entry_key)
             LEFT JOIN gone_entries g USING (entry_key)
         WHERE e.sync_key = ?1 AND e.source_id = ?2",
    )?;
    entries
        .map(|(id, file)| {
            let version = file.map(|file| &file.version);
            if !any {
                return recall(connection, sync_key, id, version, rules, Known::No);
            }
            let found = lookup
                .query_row(params![sync_key, id.as_bytes()], |row| {
                    let entry_key = row.get(0)?;
                    let version = row.get_ref(1)?.as_blob()?;
                    let shares = !rules.shares_objects && row.get(8)?;
                    let is_current = row.get::<_, Option<i64>>(2)? == rules.mark && !shares;
                    let pass: i64 = row.get(7)?;
                    let is_fetched = rules.full_since.is_some_and(|since| pass >= since);
                    let stored = StoredDetails {
                        parent: row.get(3)?,
                        name: row.get(4)?,
                        facts_mark: row.get(5)?,
                        is_gone: row.get(6)?,
                    };
                    if row.get::<_, i64>(9)? == TRASHED {
                        // Whatever its version and place, it stays as it is.
                        let is_same = file.is_some_and(|file| version == file.version.0);
                        let (is_current, is_fetched) = (true, true);
                        let is_relisted = is_same && stored.is_gone;
                        return Ok(Known::Same { entry_key, is_current, is_fetched, is_relisted });
                    }
                    Ok(match file {
                        Some(file) if is_same(version, &file.version) => Known::Same {
                            entry_key,
                            is_current,
                            is_fetched,
                            is_relisted: version != file.version.0 || stored.differs_from(file),
                        },
                        _ => Known::Other { entry_key, is_current },
                    })
                })
                .optional()?
                .unwrap_or(Known::No);
            recall(connection, sync_key, id, version, rules, found)
        })
        .collect()
}

impl StoredDetails {
    fn differs_from(&self, file: &Fingerprint) -> bool {
        let Some(details) = &file.details else { return self.is_gone };
        let (parent, name) = match &details.place {
            Some((parent, name)) => (Some(parent.as_bytes()), Some(name.as_slice())),
            None => (None, None),
        };
        self.is_gone
            || self.parent.as_deref() != parent
            || self.name.as_deref() != name
            || self.facts_mark != details.facts_mark
    }
}

/// Stores what is known of an entry besides its row: its place and the mark of its facts.
pub(super) fn save_details(
    tx: &Transaction<'_>,
    sync_key: i64,
    entry_key: i64,
    file: &Fingerprint,
) -> Result<()> {
    let Some(details) = &file.details else { return Ok(()) };
    let place = details.place.as_ref();
    tx.prepare_cached(
        "INSERT INTO entry_details (entry_key, sync_key, parent, name, facts_mark, further)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET parent = excluded.parent, name = excluded.name,
                                   facts_mark = excluded.facts_mark, further = excluded.further",
    )?
    .execute(params![
        entry_key,
        sync_key,
        place.map(|(parent, _)| parent.as_bytes()),
        place.map(|(_, name)| name),
        details.facts_mark,
        details.further,
    ])?;
    gone::clear(tx, entry_key)
}

/// Looks up each id, in the given order; `version` is `None` for entries that have none.
///
/// # Errors
/// SQLite's.
pub fn compare<'a>(
    connection: &Connection,
    sync_key: i64,
    entries: impl Iterator<Item = (&'a EntryId, Option<&'a Version>)> + Clone,
    rules: CurrentRules,
) -> Result<Vec<Known>> {
    let any = any_between(connection, sync_key, entries.clone().map(|(id, _)| id))?;
    let mut lookup = connection.prepare_cached(
        "SELECT entry_key, version, judged_by, pass, is_duplicate, object_key
         FROM entries WHERE sync_key = ?1 AND source_id = ?2",
    )?;
    entries
        .map(|(id, version)| {
            if !any {
                return recall(connection, sync_key, id, version, rules, Known::No);
            }
            let found = lookup
                .query_row(params![sync_key, id.as_bytes()], |row| {
                    let entry_key = row.get(0)?;
                    if row.get::<_, i64>(5)? == TRASHED {
                        // Whatever its version, it stays as it is.
                        let (is_current, is_fetched, is_relisted) = (true, true, false);
                        return Ok(Known::Same { entry_key, is_current, is_fetched, is_relisted });
                    }
                    let stored = row.get_ref(1)?.as_blob()?;
                    let is_current = row.get::<_, Option<i64>>(2)? == rules.mark;
                    let shares = !rules.shares_objects && row.get(4)?;
                    let pass: i64 = row.get(3)?;
                    let is_fetched = rules.full_since.is_some_and(|since| pass >= since);
                    Ok(match version {
                        Some(version) if version.0 == stored => {
                            let is_current = is_current && !shares;
                            Known::Same { entry_key, is_current, is_fetched, is_relisted: false }
                        }
                        _ => Known::Other { entry_key, is_current },
                    })
                })
                .optional()?
                .unwrap_or(Known::No);
            recall(connection, sync_key, id, version, rules, found)
        })
        .collect()
}

/// An entry as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// The source's name for it.
    pub id: EntryId,
    /// The version that is stored.
    pub version: Version,
    /// When it was modified last, as far as its source says.
    pub modified: Option<Timestamp>,
}

/// Up to `most` entries of a sync from each end of the order of their ids, without those that are
/// kept although they are gone.
///
/// # Errors
/// SQLite's.
pub fn sample(connection: &Connection, sync_key: i64, most: usize) -> Result<Vec<StoredEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM (SELECT source_id, version, modified_ns FROM entries
                        WHERE sync_key = ?1 AND released = 0 ORDER BY source_id LIMIT ?2)
         UNION
         SELECT * FROM (SELECT source_id, version, modified_ns FROM entries
                        WHERE sync_key = ?1 AND released = 0 ORDER BY source_id DESC LIMIT ?2)",
    )?;
    Ok(statement
        .query_map(params![sync_key, most], |row| {
            Ok(StoredEntry {
                id: syncs::path(row.get(0)?),
                version: Version(row.get(1)?),
                modified: row.get::<_, Option<i64>>(2)?.map(time::from_ns),
            })
        })?
        .collect::<Result<_, _>>()?)
}

/// The entry with that identity that a pass has not written yet and that is not released; `None`
/// where there are several, because it could be any of them.
///
/// # Errors
/// SQLite's.
pub fn only_one_like(
    connection: &Connection,
    sync_key: i64,
    pass: i64,
    identity: Identity,
) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT entry_key, pass, released
         FROM entries_by_identity AS i CROSS JOIN entries USING (entry_key)
         WHERE i.identity = ?2 AND sync_key = ?1 LIMIT 2",
    )?;
    let rows: Vec<(i64, i64, bool)> = statement
        .query_map([sync_key, identity.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(match rows.as_slice() {
        [(key, written, false)] if *written != pass => Some(*key),
        _ => None,
    })
}

/// The paths of those entries among `keys` whose rows a pass has not written.
///
/// # Errors
/// SQLite's.
pub fn not_written(
    connection: &Connection,
    sync_key: i64,
    pass: i64,
    keys: &[i64],
) -> Result<HashMap<i64, EntryPath>> {
    let mut lookup = connection.prepare_cached(
        "SELECT coalesce(path, source_id) FROM entries
         WHERE entry_key = ?1 AND sync_key = ?2 AND pass <> ?3",
    )?;
    let mut paths = HashMap::new();
    for key in keys {
        let path = lookup.query_row([*key, sync_key, pass], |row| row.get(0)).optional()?;
        paths.extend(path.map(|path| (*key, syncs::path(path))));
    }
    Ok(paths)
}

/// The hash of an entry's bytes; `None` where it has no object with bytes.
///
/// # Errors
/// SQLite's.
pub fn content_hash(connection: &Connection, entry_key: i64) -> Result<Option<BlobHash>> {
    let hash = connection
        .prepare_cached(
            "SELECT b.hash FROM entries e JOIN objects o USING (object_key)
             JOIN object_blobs ob ON ob.object_key = o.object_key AND ob.property = o.content
             JOIN blobs b USING (blob_key) WHERE e.entry_key = ?1",
        )?
        .query_row([entry_key], |row| row.get(0).map(BlobHash::from_bytes))
        .optional()?;
    Ok(hash)
}

/// Looks up whether an entry that is not current has been left out already.
fn recall(
    connection: &Connection,
    sync_key: i64,
    id: &EntryId,
    version: Option<&Version>,
    rules: CurrentRules,
    found: Known,
) -> Result<Known> {
    let (Some(version), Some(mark), true) = (version, rules.mark, rules.leave_out) else {
        return Ok(found);
    };
    if matches!(found, Known::Same { is_current: true, is_relisted: false, .. }) {
        return Ok(found);
    }
    let remembered = left_out::find(connection, sync_key, id, version, mark, rules.full_since)?;
    Ok(match remembered {
        Some((left_out_key, unmet)) => {
            Known::LeftOut { entry_key: found.entry_key(), left_out_key, unmet }
        }
        None => found,
    })
}
