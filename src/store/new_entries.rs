//! New entries with objects of their own, many rows in a statement.
//!
//! Nearly everything that a first pass commits is of this kind, and a statement for each row of
//! each table takes longer than writing the rows: with one for each, a sync of 500,000 rows took
//! half as long again, measured. Whatever needs a closer look is left to `apply_fetched`.
//!
//! Each table gets all rows of a batch before the next one does, and hashes are looked up and
//! inserted in their order: so the pages of one index are at hand while they are needed.

use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};

use rusqlite::{Statement, ToSql, Transaction, params_from_iter};

use super::{
    Result, blobs,
    changes::Changes,
    entries,
    fetched::FetchedEntry,
    stored::{Stored, signed},
    time,
};
use crate::model::{BlobHash, CONTENT, EntryId, ObjectId};

/// How many rows a statement inserts or looks up: of few sizes, so that it is prepared once. For
/// each statement, SQLite keeps a copy of every page that it changes, which many rows share.
const AT_ONCE: [usize; 3] = [250, 25, 1];

/// Rows that are inserted into a table. Its first columns have the same values in all rows, the
/// others have each row's own.
struct Table {
    columns: &'static str,
    shared: usize,
    own: usize,
    /// The statement for each number of rows.
    statements: OnceLock<[String; AT_ONCE.len()]>,
}

static ENTRIES: Table = Table::new(
    "entries (sync_key, is_duplicate, pass, judged_by,
              entry_key, source_id, path, version, modified_ns, etag, object_key, identity)",
    4,
    8,
);
static ENTRY_DETAILS: Table =
    Table::new("entry_details (sync_key, entry_key, parent, name, facts_mark, further)", 1, 5);
static IDENTITIES: Table = Table::new("recent_identities (identity, entry_key)", 0, 2);
static OBJECTS: Table = Table::new(
    "objects (bucket_key, created_at_ms, updated_at_ms,
              object_key, id, entry_key, path, size, modified_ns, mime, metadata)",
    3,
    8,
);
static OBJECT_BLOBS: Table = Table::new("object_blobs (property, object_key, blob_key)", 1, 2);
static BLOBS: Table = Table::new("blobs (blob_key, hash, size, inline)", 0, 4);
static HASHES: Table = Table::new("recent_hashes (prefix, blob_key)", 0, 2);
static BLOB_BYTES: Table = Table::new("blob_bytes (blob_key, bytes)", 0, 2);

/// An entry, and the keys that its rows get.
struct NewEntry<'e> {
    entry: &'e FetchedEntry,
    entry_key: i64,
    object_key: i64,
    blob_key: i64,
    object_id: ObjectId,
}

/// Bytes that are not recorded yet.
struct NewBlob<'e> {
    key: i64,
    stored: &'e Stored,
}

impl Changes<'_> {
    /// Inserts those of the entries that are new and become an object as they are. Returns the
    /// others: those that have a row, are mapped, or may share an object.
    pub(super) fn insert_new<'e>(
        &mut self,
        entries: Vec<&'e FetchedEntry>,
    ) -> Result<Vec<&'e FetchedEntry>> {
        if self.has_trash || self.target.waits_for_confirmation {
            return Ok(entries);
        }
        let (plain, mut others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.shape.is_none());
        if plain.is_empty() {
            return Ok(others);
        }
        let (new, blobs) = self.choose(&plain, &mut others)?;
        insert_blobs(self.tx, blobs)?;
        self.insert_entries(&new)?;
        self.insert_objects(&new)?;
        self.note_added(&new)?;
        Ok(others)
    }

    /// Gives those entries their keys that can be inserted, and so their blobs; the others join
    /// `others`.
    fn choose<'e>(
        &mut self,
        entries: &[&'e FetchedEntry],
        others: &mut Vec<&'e FetchedEntry>,
    ) -> Result<(Vec<NewEntry<'e>>, Vec<NewBlob<'e>>)> {
        let with_rows = self.ids_with_rows(entries)?;
        let mut chosen: HashSet<&EntryId> = HashSet::with_capacity(entries.len());
        let hashes = entries.iter().map(|entry| &entry.stored.hash).collect();
        let mut recorded = keys_of(self.tx, hashes)?;
        let mut entry_key = last_key(self.tx, "SELECT coalesce(max(entry_key), 0) FROM entries")?;
        let mut blob_key = last_key(self.tx, "SELECT coalesce(max(blob_key), 0) FROM blobs")?;
        // In order, so that each goes to the end of the index.
        let mut object_ids: Vec<_> = entries.iter().map(|_| ObjectId::generate()).collect();
        object_ids.sort_unstable_by(|a, b| b.as_str().cmp(a.as_str()));
        let (mut new, mut blobs) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let stored = &entry.stored;
            let recorded_key = recorded.get(&stored.hash).copied();
            let may_share = self.target.skip_duplicates && recorded_key.is_some();
            let has_row = !with_rows.is_empty() && with_rows.contains(entry.id.as_bytes());
            if may_share || has_row || !chosen.insert(&entry.id) {
                others.push(entry);
                continue;
            }
            let blob = recorded_key.unwrap_or_else(|| {
                blob_key += 1;
                recorded.insert(stored.hash, blob_key);
                blobs.push(NewBlob { key: blob_key, stored });
                blob_key
            });
            entry_key += 1;
            new.push(NewEntry {
                entry,
                entry_key,
                object_key: self.next_object_key()?,
                blob_key: blob,
                object_id: object_ids.pop().unwrap_or_else(ObjectId::generate),
            });
        }
        Ok((new, blobs))
    }

    /// The ids of those entries that have a row.
    fn ids_with_rows(&self, entries: &[&FetchedEntry]) -> Result<HashSet<Vec<u8>>> {
        let mut known = HashSet::new();
        let sync_key = self.target.fence.sync_key;
        if !entries::any_between(self.tx, sync_key, entries.iter().map(|entry| &entry.id))? {
            return Ok(known);
        }
        for entries in pieces(entries) {
            let mut lookup = self.tx.prepare_cached(&format!(
                "SELECT source_id FROM entries WHERE sync_key = {sync_key} AND source_id IN ({})",
                places(entries.len()),
            ))?;
            let ids = params_from_iter(entries.iter().map(|entry| entry.id.as_bytes()));
            let mut rows = lookup.query(ids)?;
            while let Some(row) = rows.next()? {
                known.insert(row.get(0)?);
            }
        }
        Ok(known)
    }

    fn insert_entries(&self, new: &[NewEntry<'_>]) -> Result<()> {
        let Self { tx, target, .. } = self;
        let sync_key = target.fence.sync_key;
        let shared: [&dyn ToSql; 4] = [&sync_key, &false, &target.pass, &target.mark];
        ENTRIES.insert(
            tx,
            &shared,
            new,
            |NewEntry { entry, entry_key, object_key, .. }, row| {
                let file = &entry.fingerprint;
                row.add(entry_key)?;
                row.add(entry.id.as_bytes())?;
                row.add(entry.path_unless_id())?;
                row.add(&file.version.0)?;
                row.add(file.modified.map(time::to_ns))?;
                row.add(&file.etag)?;
                row.add(object_key)?;
                row.add(entry.identity.map(|identity| identity.0))
            },
        )?;
        let details: Vec<_> = new
            .iter()
            .filter_map(|new| Some((new.entry_key, new.entry.fingerprint.details.as_deref()?)))
            .filter(|(_, details)| details.has_stored_facts())
            .collect();
        ENTRY_DETAILS.insert(tx, &[&sync_key], &details, |(entry_key, details), row| {
            let place = details.place.as_ref();
            row.add(entry_key)?;
            row.add(place.map(|(parent, _)| parent.as_bytes()))?;
            row.add(place.map(|(_, name)| name))?;
            row.add(details.facts_mark)?;
            row.add(details.further)
        })?;
        let identities: Vec<_> =
            new.iter().filter_map(|new| Some((new.entry.identity?, new.entry_key))).collect();
        IDENTITIES.insert(tx, &[], &identities, |(identity, entry_key), row| {
            row.add(identity.0)?;
            row.add(entry_key)
        })
    }

    fn insert_objects(&self, new: &[NewEntry<'_>]) -> Result<()> {
        let now = self.now.as_millisecond();
        OBJECTS.insert(self.tx, &[&self.target.bucket_key, &now, &now], new, |new, row| {
            let entry = new.entry;
            row.add(new.object_key)?;
            row.add(new.object_id.as_str())?;
            row.add(new.entry_key)?;
            row.add(entry.path.as_bytes())?;
            row.add(entry.stored.size)?;
            row.add(entry.fingerprint.modified.map(time::to_ns))?;
            row.add(&entry.mime)?;
            row.add(&entry.metadata)
        })?;
        OBJECT_BLOBS.insert(self.tx, &[&CONTENT], new, |new, row| {
            row.add(new.object_key)?;
            row.add(new.blob_key)
        })
    }

    /// Counts what was inserted, and notes it for events and for processing.
    fn note_added(&mut self, new: &[NewEntry<'_>]) -> Result<()> {
        for NewEntry { entry, object_key, object_id, .. } in new {
            self.counts.synced += 1;
            self.counts.bytes += entry.stored.size;
            self.objects += 1;
            self.bytes += signed(entry.stored.size);
            if let Some(batching) = &self.batching {
                batching.added(self.tx, *object_key)?;
            }
            self.added.add(|| Ok(object_id.as_str().to_owned()))?;
        }
        Ok(())
    }
}

fn insert_blobs(tx: &Transaction<'_>, mut new: Vec<NewBlob<'_>>) -> Result<()> {
    BLOBS.insert(tx, &[], &new, |NewBlob { key, stored }, row| {
        row.add(key)?;
        row.add(stored.hash.as_bytes())?;
        row.add(stored.size)?;
        row.add(stored.inline.is_some())
    })?;
    let inline: Vec<_> =
        new.iter().filter_map(|new| Some((new.key, new.stored.inline.as_ref()?))).collect();
    BLOB_BYTES.insert(tx, &[], &inline, |(key, bytes), row| {
        row.add(key)?;
        row.add(&bytes[..])
    })?;
    new.sort_unstable_by_key(|new| *new.stored.hash.as_bytes());
    HASHES.insert(tx, &[], &new, |NewBlob { key, stored }, row| {
        row.add(blobs::prefix(&stored.hash))?;
        row.add(key)
    })
}

/// The keys of those blobs that are recorded.
fn keys_of(tx: &Transaction<'_>, mut hashes: Vec<&BlobHash>) -> Result<HashMap<BlobHash, i64>> {
    hashes.sort_unstable_by_key(|hash| *hash.as_bytes());
    let mut keys = HashMap::with_capacity(hashes.len());
    for hashes in pieces(&hashes) {
        let places = places(hashes.len());
        let level = |table| {
            format!(
                "SELECT hash, blob_key FROM {table} CROSS JOIN blobs USING (blob_key)
                 WHERE prefix IN ({places})"
            )
        };
        let mut lookup = tx.prepare_cached(&format!(
            "{} UNION ALL {}",
            level("recent_hashes"),
            level("main_hashes")
        ))?;
        let mut rows =
            lookup.query(params_from_iter(hashes.iter().map(|hash| blobs::prefix(hash))))?;
        while let Some(row) = rows.next()? {
            keys.insert(BlobHash::from_bytes(row.get(0)?), row.get(1)?);
        }
    }
    Ok(keys)
}

fn last_key(tx: &Transaction<'_>, query: &str) -> Result<i64> {
    Ok(tx.prepare_cached(query)?.query_row([], |row| row.get(0))?)
}

impl Table {
    const fn new(columns: &'static str, shared: usize, own: usize) -> Self {
        Self { columns, shared, own, statements: OnceLock::new() }
    }

    /// The statement for so many rows, one of [`AT_ONCE`].
    fn statement(&self, rows: usize) -> &str {
        let statements = self.statements.get_or_init(|| AT_ONCE.map(|rows| self.written_for(rows)));
        let at = AT_ONCE.iter().position(|size| *size == rows).unwrap_or_default();
        &statements[at]
    }

    fn written_for(&self, rows: usize) -> String {
        let row = |at: usize| {
            let first = self.shared + at * self.own + 1;
            let values = (1..=self.shared).chain(first..first + self.own);
            let values: Vec<String> = values.map(|number| format!("?{number}")).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        // FAIL: the transaction is rolled back in any case, and need not be able to undo the
        // statement alone.
        format!("INSERT OR FAIL INTO {} VALUES {}", self.columns, rows.join(", "))
    }

    /// Inserts rows; `bind` adds one's own values.
    fn insert<T>(
        &self,
        tx: &Transaction<'_>,
        shared: &[&dyn ToSql],
        rows: &[T],
        bind: impl Fn(&T, &mut Values<'_, '_>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        for rows in pieces(rows) {
            let mut statement = tx.prepare_cached(self.statement(rows.len()))?;
            let mut values = Values { statement: &mut statement, next: 1 };
            shared.iter().try_for_each(|value| values.add(value))?;
            rows.iter().try_for_each(|row| bind(row, &mut values))?;
            statement.raw_execute()?;
        }
        Ok(())
    }
}

/// Takes the values of a statement, in the order of its columns.
struct Values<'s, 'c> {
    statement: &'s mut Statement<'c>,
    next: usize,
}

impl Values<'_, '_> {
    fn add(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.next, value)?;
        self.next += 1;
        Ok(())
    }
}

/// Rows in pieces of the sizes that there are statements for.
pub(super) fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = AT_ONCE.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// Numbered places for so many values, which may be named more than once in a statement.
fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|at| format!("?{at}")).collect();
    places.join(", ")
}
