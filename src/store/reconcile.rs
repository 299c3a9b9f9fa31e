//! Removals: the entries that a complete pass did not find, and their objects.

use jiff::Timestamp;
use roaring::RoaringTreemap;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::json;

use super::{
    Result, buckets,
    checkpoints::Sightings,
    entries::DELETED,
    events::EventKind,
    gone, inherit, jobs, leases,
    remove::remove_object,
    syncs,
    target::Target,
    touched::Touched,
    trash::{self, OfEntry},
};
use crate::model::{Counts, EntryId, EntryPath, Shard};

/// An entry that a complete pass did not find, or found no longer passing the filters.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Internal key of its row.
    pub entry_key: i64,
    /// The source's name for it.
    pub id: EntryId,
    /// Its path.
    pub path: EntryPath,
    /// Whether it has an object of its own, which is removed with it.
    pub has_object: bool,
}

/// Which missing entries are removed.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Those that are gone from the source.
    pub absent: bool,
    /// Those that no longer pass the filters.
    pub drifted: bool,
    /// What is listed: an entry in none of these is excluded by a filter, and nothing is proved
    /// about it.
    pub listed: Vec<Shard>,
}

impl Scope {
    /// Whether anything is removed at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.absent && !self.drifted
    }

    /// Whether the listing would show an entry of that path.
    #[must_use]
    pub fn covers(&self, path: &EntryPath) -> bool {
        self.listed.iter().any(|shard| shard.covers(path))
    }

    /// Whether an entry is removed that was not listed, or was `listed` and did not pass.
    fn wants(&self, path: &EntryPath, listed: bool) -> bool {
        let left_out = listed || !self.covers(path);
        if left_out { self.drifted } else { self.absent }
    }
}

/// What a pass proves about the entries that it did not write.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// What it has listed.
    pub sightings: &'a Sightings,
    /// What the change feed has reported, in this pass and before.
    pub gone: &'a gone::Gone,
    /// Whether only that is proved gone, because the pass has not listed everything.
    pub only_gone: bool,
}

/// A sync's entries from an id on, in the order of the index that it reads: sorting all of them
/// again for each page of a thousand takes most of the time of a run with many removals.
const LISTED: &str = "SELECT entry_key, source_id FROM entries
     WHERE sync_key = ?1 AND source_id >= ?2 ORDER BY source_id";

/// Reads the entries that the pass proved missing, in the order of their ids from `from` on, at
/// most `limit`. Returns them with the first id that was not looked at, `None` at the end. For
/// entries that were seen only the index is read.
///
/// # Errors
/// SQLite's.
pub fn missing(
    connection: &Connection,
    sync_key: i64,
    pass: i64,
    proof: Proof<'_>,
    scope: &Scope,
    from: &[u8],
    limit: usize,
) -> Result<(Vec<Missing>, Option<Vec<u8>>)> {
    let mut listed = connection.prepare_cached(LISTED)?;
    let mut not_written = connection.prepare_cached(
        "SELECT is_duplicate OR object_key <= 0, coalesce(path, source_id) FROM entries
         WHERE entry_key = ?1 AND (pass <> ?2 OR ?3) AND released = 0",
    )?;
    let mut rows = listed.query(params![sync_key, from])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let entry_key: i64 = row.get(0)?;
        let is_gone = contains(&proof.gone.absent, entry_key);
        let is_drifted = contains(&proof.sightings.drifted, entry_key)
            || contains(&proof.gone.drifted, entry_key);
        let is_reported = is_gone || contains(&proof.gone.drifted, entry_key);
        if !is_reported && (proof.only_gone || contains(&proof.sightings.seen, entry_key)) {
            continue;
        }
        let unwritten = not_written
            .query_row(params![entry_key, pass, is_reported], |row| {
                Ok((row.get(0)?, syncs::path(row.get(1)?)))
            })
            .optional()?;
        let Some((is_without_object, path)): Option<(bool, EntryPath)> = unwritten else {
            continue;
        };
        let wanted = scope.wants(&path, is_drifted && !is_gone);
        if !wanted || (!is_gone && proof.sightings.is_unlisted(&path)) {
            continue;
        }
        let id = syncs::path(row.get(1)?);
        found.push(Missing { entry_key, id, path, has_object: !is_without_object });
        if found.len() == limit {
            let mut next: Vec<u8> = row.get(1)?;
            next.push(0);
            return Ok((found, Some(next)));
        }
    }
    Ok((found, None))
}

/// All entries of a sync but those that are kept although they are gone: their keys, how many of
/// them have objects of their own, and the first `most` paths.
///
/// # Errors
/// SQLite's.
pub fn everything(
    connection: &Connection,
    sync_key: i64,
    most: usize,
) -> Result<(RoaringTreemap, u64, Vec<EntryPath>)> {
    let mut statement = connection.prepare_cached(
        "SELECT entry_key, is_duplicate OR object_key <= 0, coalesce(path, source_id) FROM entries
         WHERE sync_key = ?1 AND released = 0 ORDER BY source_id",
    )?;
    let mut rows = statement.query([sync_key])?;
    let (mut keys, mut objects, mut paths) = (RoaringTreemap::new(), 0, Vec::new());
    while let Some(row) = rows.next()? {
        keys.extend(u64::try_from(row.get::<_, i64>(0)?));
        objects += u64::from(!row.get::<_, bool>(1)?);
        if paths.len() < most {
            paths.push(syncs::path(row.get(2)?));
        }
    }
    Ok((keys, objects, paths))
}

fn contains(bitmap: &RoaringTreemap, key: i64) -> bool {
    u64::try_from(key).is_ok_and(|key| bitmap.contains(key))
}

/// Keeps the objects of entries that are gone: nobody is asked about them again until they have
/// been listed again. Returns how many entries.
///
/// # Errors
/// SQLite's.
pub fn release(tx: &Transaction<'_>, sync_key: i64, entries: &RoaringTreemap) -> Result<u64> {
    let mut update = tx
        .prepare_cached("UPDATE entries SET released = 1 WHERE entry_key = ?1 AND sync_key = ?2")?;
    let mut released = 0;
    for key in entries.iter().filter_map(|key| i64::try_from(key).ok()) {
        released += update.execute([key, sync_key])? as u64;
    }
    Ok(released)
}

/// How many objects of a sync are kept although their entries are gone.
///
/// # Errors
/// SQLite's.
pub fn released(connection: &Connection, sync_key: i64) -> Result<u64> {
    Ok(connection
        .prepare_cached(
            "SELECT count(*) FROM entries INDEXED BY entries_released
             WHERE sync_key = ?1 AND released = 1 AND is_duplicate = 0 AND object_key > 0",
        )?
        .query_row([sync_key], |row| row.get(0))?)
}

/// After a complete pass, ends the release of entries that it found again.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's.
pub fn reclaim(tx: &Transaction<'_>, target: &Target, sightings: &Sightings) -> Result<()> {
    leases::check(tx, target.fence)?;
    let released: Vec<(i64, i64)> = tx
        .prepare_cached("SELECT entry_key, pass FROM entries WHERE sync_key = ?1 AND released = 1")?
        .query_map([target.fence.sync_key], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut update = tx.prepare_cached("UPDATE entries SET released = 0 WHERE entry_key = ?1")?;
    for (key, pass) in released {
        if pass == target.pass || contains(&sightings.seen, key) {
            update.execute([key])?;
        }
    }
    Ok(())
}

/// Removes entries and, where no entry with equal bytes remains, their objects. Bytes without other
/// references become garbage.
///
/// # Errors
/// [`super::StoreError::LeaseLost`], or SQLite's; nothing is removed then.
pub fn remove(
    tx: &Transaction<'_>,
    target: &Target,
    entry_keys: &[i64],
    now: Timestamp,
) -> Result<Counts> {
    leases::check(tx, target.fence)?;
    let mut counts = Counts::default();
    let (mut objects, mut bytes) = (0, 0);
    let mut removed = Touched::default();
    let settings = buckets::settings(tx, target.bucket_key)?;
    let trashed_until = trash::until(&settings, now).filter(|_| settings.trash_synced);
    for entry_key in entry_keys {
        let Some(row) = delete_entry(tx, target.fence.sync_key, *entry_key)? else { continue };
        let has_object = !row.is_duplicate && row.object_key > DELETED;
        if !has_object || inherit::hand_over(tx, row.object_key, now)? {
            continue;
        }
        let gone = match trashed_until {
            Some(until) if is_seen(tx, row.object_key)? => {
                let state = json!({ "lifecycle_state": "removed", "source": "sync", "at": now });
                trash::put(tx, row.object_key, Some(row.entry), &state, until, now)?
            }
            _ => remove_object(tx, row.object_key)?,
        };
        removed.add(|| Ok(gone.id))?;
        bytes += gone.bytes;
        objects += gone.objects;
        counts.removed += 1;
    }
    buckets::adjust(tx, target.bucket_key, -objects, -bytes)?;
    jobs::count(tx, target.fence.sync_key, target.job_key, &counts, now)?;
    removed.emit_event(tx, EventKind::ObjectsRemoved, target, now)?;
    Ok(counts)
}

/// The row of an entry that was removed.
struct Deleted {
    object_key: i64,
    is_duplicate: bool,
    entry: OfEntry,
}

fn delete_entry(tx: &Transaction<'_>, sync_key: i64, entry_key: i64) -> Result<Option<Deleted>> {
    Ok(tx
        .prepare_cached(
            "DELETE FROM entries WHERE entry_key = ?1 AND sync_key = ?2 AND released = 0
             RETURNING object_key, is_duplicate, source_id, version",
        )?
        .query_row([entry_key, sync_key], |row| {
            Ok(Deleted {
                object_key: row.get(0)?,
                is_duplicate: row.get(1)?,
                entry: OfEntry { sync_key, source_id: row.get(2)?, version: row.get(3)? },
            })
        })
        .optional()?)
}

fn is_seen(tx: &Transaction<'_>, object_key: i64) -> Result<bool> {
    Ok(tx
        .prepare_cached("SELECT 1 FROM objects WHERE object_key = ?1 AND state IS NULL")?
        .exists([object_key])?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rusqlite::StatementStatus;

    use super::*;

    /// `entries`: their ids, whether the pass wrote them, whether it saw them.
    fn database(entries: &[(Vec<u8>, bool, bool)]) -> (Connection, Sightings) {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("../../schema.sql")).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        let mut sightings = Sightings::default();
        for (id, written, seen) in entries {
            db.execute(
                "INSERT INTO entries (sync_key, source_id, version, object_key, is_duplicate, pass)
                 VALUES (1, ?1, x'', 1, 0, ?2)",
                params![id, if *written { 2 } else { 1 }],
            )
            .unwrap();
            if *seen {
                sightings.seen.extend(u64::try_from(db.last_insert_rowid()));
            }
        }
        (db, sightings)
    }

    fn everything() -> Scope {
        Scope { absent: true, drifted: true, listed: vec![Shard::whole()] }
    }

    proptest! {
        #[test]
        fn pages_of_any_size_return_each_missing_entry_once(
            ids in prop::collection::btree_set(prop::collection::vec(0_u8..3, 1..5), 0..40),
            written in prop::collection::vec(any::<bool>(), 40),
            seen in prop::collection::vec(any::<bool>(), 40),
            limit in 1_usize..6,
        ) {
            let entries: Vec<_> = ids
                .into_iter()
                .zip(written.into_iter().zip(seen))
                .map(|(id, (written, seen))| (id, written, seen))
                .collect();
            let (db, sightings) = database(&entries);
            let expected: BTreeSet<Vec<u8>> = entries
                .into_iter()
                .filter(|(_, written, seen)| !written && !seen)
                .map(|(id, ..)| id)
                .collect();
            let mut found = Vec::new();
            let mut from = Some(Vec::new());
            while let Some(id) = from {
                let (page, next) = {
                    let (gone, only_gone) = (gone::Gone::default(), false);
                    let proof = Proof { sightings: &sightings, gone: &gone, only_gone };
                    missing(&db, 1, 2, proof, &everything(), &id, limit).unwrap()
                };
                prop_assert!(page.len() <= limit);
                found.extend(page.into_iter().map(|entry| entry.path.as_bytes().to_vec()));
                from = next;
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn reading_a_page_of_removals_needs_no_sorting() {
        let entries: Vec<_> = (0..200).map(|number: u8| (vec![number], false, false)).collect();
        let (db, _) = database(&entries);
        let mut listed = db.prepare(LISTED).unwrap();
        let read = listed.query_map(params![1, [100_u8].as_slice()], |_| Ok(())).unwrap().count();
        assert_eq!(read, 100);
        assert_eq!(listed.get_status(StatementStatus::Sort), 0);
    }
}
