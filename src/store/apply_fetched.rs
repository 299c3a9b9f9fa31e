//! Entries that were fetched: the object that each creates, changes or shares.

use rusqlite::{OptionalExtension as _, params};

use super::{
    Result, blobs,
    changes::Changes,
    entries,
    entries::{DELETED, TRASHED},
    fetched::FetchedEntry,
    inherit,
    shape::{self, Shape},
    stored::signed,
    time,
    trash::{self, InTrash},
    uploads::waiting::{self, UNCONFIRMED},
};
use crate::model::{CONTENT, ObjectId};

/// What the index has for an entry.
pub(super) struct Row {
    entry_key: i64,
    pub(super) object_key: i64,
    pub(super) is_duplicate: bool,
    /// Whether it is stored with the very version that was fetched again.
    pub(super) same_version: bool,
}

impl Row {
    /// Whether an entry of the version that was fetched gets no object: a person deleted it.
    pub(super) fn is_left_alone(&self) -> bool {
        self.object_key == TRASHED || self.object_key == DELETED && self.same_version
    }
}

impl Changes<'_> {
    pub(super) fn apply_fetched(&mut self, entry: &FetchedEntry, blob_key: i64) -> Result<()> {
        self.counts.bytes += entry.stored.size;
        match self.row_of(entry)? {
            None => match self.in_trash(entry)? {
                Some(trashed) => self.apply_in_trash(entry, blob_key, trashed),
                None => self.apply_new(entry, blob_key),
            },
            Some(row) if row.object_key == TRASHED => self.leave_in_trash(entry, blob_key),
            Some(row) if row.object_key == DELETED => self.apply_deleted(entry, blob_key, &row),
            Some(row) => self.apply_changed(entry, blob_key, &row),
        }
    }

    pub(super) fn row_of(&self, entry: &FetchedEntry) -> Result<Option<Row>> {
        let (id, version) = (&entry.id, &entry.fingerprint.version);
        let sync_key = self.target.fence.sync_key;
        Ok(self
            .tx
            .prepare_cached(
                "SELECT entry_key, object_key, is_duplicate, version = ?3 FROM entries
                 WHERE sync_key = ?1 AND source_id = ?2",
            )?
            .query_row(params![sync_key, id.as_bytes(), version.0], |row| {
                Ok(Row {
                    entry_key: row.get(0)?,
                    object_key: row.get(1)?,
                    is_duplicate: row.get(2)?,
                    same_version: row.get(3)?,
                })
            })
            .optional()?)
    }

    fn apply_new(&mut self, entry: &FetchedEntry, blob_key: i64) -> Result<()> {
        if let Some(equal) = self.equal_object(blob_key)? {
            self.counts.duplicates += 1;
            self.insert_entry(entry, equal, true)?;
        } else {
            self.counts.synced += 1;
            let object_key = self.next_object_key()?;
            let entry_key = self.insert_entry(entry, object_key, false)?;
            self.insert_object(entry, object_key, entry_key, blob_key)?;
        }
        Ok(())
    }

    /// The object in the trash that stands for an entry without a row.
    pub(super) fn in_trash(&self, entry: &FetchedEntry) -> Result<Option<InTrash>> {
        match self.has_trash {
            true => trash::of_entry(self.tx, self.target.fence.sync_key, entry.id.as_bytes()),
            false => Ok(None),
        }
    }

    /// An entry that the source shows again, and whose object is in the trash: what a sync removed
    /// comes back, what a person deleted stays there.
    fn apply_in_trash(
        &mut self,
        entry: &FetchedEntry,
        blob_key: i64,
        trashed: InTrash,
    ) -> Result<()> {
        let InTrash { object_key, by_sync } = trashed;
        if !by_sync {
            let entry_key = self.insert_entry(entry, TRASHED, false)?;
            self.tx
                .prepare_cached("UPDATE objects SET entry_key = ?2 WHERE object_key = ?1")?
                .execute([object_key, entry_key])?;
            return self.leave_in_trash(entry, blob_key);
        }
        self.counts.synced += 1;
        let entry_key = self.insert_entry(entry, object_key, false)?;
        let (id, size) = trash::take_out(self.tx, object_key, entry_key, self.now)?;
        self.objects += 1;
        self.bytes += signed(size);
        self.replace_content(entry, object_key, blob_key)?;
        if let Some(batching) = &self.batching {
            batching.added(self.tx, object_key)?;
        }
        self.added.add(|| Ok(id))
    }

    fn leave_in_trash(&mut self, entry: &FetchedEntry, blob_key: i64) -> Result<()> {
        self.counts.unchanged += 1;
        blobs::maybe_orphaned(self.tx, blob_key)?;
        self.mark_seen(&entry.id)
    }

    fn apply_deleted(&mut self, entry: &FetchedEntry, blob_key: i64, row: &Row) -> Result<()> {
        if row.same_version {
            self.counts.unchanged += 1;
            blobs::maybe_orphaned(self.tx, blob_key)?;
            return self.update_entry(entry, row.entry_key, DELETED, false);
        }
        self.counts.updated += 1;
        self.assign_object(entry, blob_key, row.entry_key)
    }

    fn apply_changed(&mut self, entry: &FetchedEntry, blob_key: i64, row: &Row) -> Result<()> {
        let same_bytes = self.content_of(row.object_key)? == Some(blob_key);
        if row.is_duplicate && same_bytes && self.target.skip_duplicates {
            self.counts.unchanged += 1;
            return self.update_entry(entry, row.entry_key, row.object_key, true);
        }
        if row.is_duplicate {
            self.counts.updated += 1;
            return self.assign_object(entry, blob_key, row.entry_key);
        }
        self.before_change(row.object_key)?;
        if same_bytes {
            let has_other_facts = self.update_facts(entry, row.object_key)?;
            if self.reshape(entry.shape.as_deref(), row.object_key, blob_key)? || has_other_facts {
                self.counts.updated += 1;
                self.note_updated(row.object_key)?;
            } else {
                self.counts.unchanged += 1;
            }
            return self.update_entry(entry, row.entry_key, row.object_key, false);
        }
        self.counts.updated += 1;
        if inherit::hand_over(self.tx, row.object_key, self.now)? {
            return self.assign_object(entry, blob_key, row.entry_key);
        }
        self.replace_content(entry, row.object_key, blob_key)?;
        self.note_updated(row.object_key)?;
        self.update_entry(entry, row.entry_key, row.object_key, false)
    }

    /// Gives an entry that had no object, or has handed it over, one with its new bytes.
    fn assign_object(&mut self, entry: &FetchedEntry, blob_key: i64, entry_key: i64) -> Result<()> {
        if let Some(equal) = self.equal_object(blob_key)? {
            return self.update_entry(entry, entry_key, equal, true);
        }
        let object_key = self.next_object_key()?;
        self.insert_object(entry, object_key, entry_key, blob_key)?;
        self.update_entry(entry, entry_key, object_key, false)
    }

    /// An object of the bucket with these bytes, if the sync skips duplicates.
    pub(super) fn equal_object(&self, blob_key: i64) -> Result<Option<i64>> {
        if !self.target.skip_duplicates {
            return Ok(None);
        }
        Ok(self
            .tx
            .prepare_cached(
                "SELECT object_key FROM object_blobs JOIN objects USING (object_key)
                 WHERE blob_key = ?1 AND property = content AND bucket_key = ?2
                   AND (state IS NULL OR state = ?3)
                 ORDER BY object_key LIMIT 1",
            )?
            .query_row(params![blob_key, self.target.bucket_key, UNCONFIRMED], |row| row.get(0))
            .optional()?)
    }

    pub(super) fn content_of(&self, object_key: i64) -> Result<Option<i64>> {
        Ok(self
            .tx
            .prepare_cached(
                "SELECT blob_key FROM objects JOIN object_blobs USING (object_key)
                 WHERE object_key = ?1 AND property = content",
            )?
            .query_row([object_key], |row| row.get(0))
            .optional()?)
    }

    /// A key for a new object. The database is asked once: nothing else makes objects in this
    /// transaction.
    pub(super) fn next_object_key(&mut self) -> Result<i64> {
        let last = match self.last_object {
            Some(key) => key,
            None => self
                .tx
                .prepare_cached("SELECT coalesce(max(object_key), 0) FROM objects")?
                .query_row([], |row| row.get(0))?,
        };
        let next = last + 1;
        self.last_object = Some(next);
        Ok(next)
    }

    fn insert_entry(
        &self,
        entry: &FetchedEntry,
        object_key: i64,
        is_duplicate: bool,
    ) -> Result<i64> {
        self.tx
            .prepare_cached(
                "INSERT INTO entries (sync_key, source_id, path, version, modified_ns, etag,
                                      object_key, is_duplicate, pass, identity, judged_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                self.target.fence.sync_key,
                entry.id.as_bytes(),
                entry.path_unless_id(),
                entry.fingerprint.version.0,
                entry.fingerprint.modified.map(time::to_ns),
                entry.fingerprint.etag,
                object_key,
                is_duplicate,
                self.target.pass,
                entry.identity.map(|identity| identity.0),
                self.target.mark,
            ])?;
        let entry_key = self.tx.last_insert_rowid();
        entries::save_details(self.tx, self.target.fence.sync_key, entry_key, &entry.fingerprint)?;
        if let Some(identity) = entry.identity {
            self.tx
                .prepare_cached("INSERT INTO recent_identities VALUES (?1, ?2)")?
                .execute([identity.0, entry_key])?;
        }
        Ok(entry_key)
    }

    fn update_entry(
        &self,
        entry: &FetchedEntry,
        entry_key: i64,
        object_key: i64,
        is_duplicate: bool,
    ) -> Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE entries SET path = ?2, version = ?3, modified_ns = ?4, etag = ?5,
                                    object_key = ?6, is_duplicate = ?7, pass = ?8,
                                    identity = ?9, judged_by = ?10
                 WHERE entry_key = ?1",
            )?
            .execute(params![
                entry_key,
                entry.path_unless_id(),
                entry.fingerprint.version.0,
                entry.fingerprint.modified.map(time::to_ns),
                entry.fingerprint.etag,
                object_key,
                is_duplicate,
                self.target.pass,
                entry.identity.map(|identity| identity.0),
                self.target.mark,
            ])?;
        entries::save_details(self.tx, self.target.fence.sync_key, entry_key, &entry.fingerprint)
    }

    pub(super) fn insert_object(
        &mut self,
        entry: &FetchedEntry,
        object_key: i64,
        entry_key: i64,
        blob_key: i64,
    ) -> Result<()> {
        let id = ObjectId::generate();
        let waits = self.target.waits_for_confirmation;
        self.tx
            .prepare_cached(
                "INSERT INTO objects (object_key, id, bucket_key, entry_key, path, size, modified_ns,
                                      mime, metadata, created_at_ms, updated_at_ms, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11)",
            )?
            .execute(params![
                object_key,
                id.as_str(),
                self.target.bucket_key,
                entry_key,
                entry.path.as_bytes(),
                entry.stored.size,
                entry.fingerprint.modified.map(time::to_ns),
                entry.mime,
                entry.metadata,
                self.now.as_millisecond(),
                waits.then_some(UNCONFIRMED),
            ])?;
        if !waits {
            self.objects += 1;
            self.bytes += signed(entry.stored.size);
        }
        match entry.shape.as_deref() {
            // What nearly all objects have, in one statement.
            None => {
                self.tx
                    .prepare_cached(
                        "INSERT INTO object_blobs (object_key, property, blob_key)
                         VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![object_key, CONTENT, blob_key])?;
            }
            Some(shape) => {
                self.reshape(Some(shape), object_key, blob_key)?;
            }
        }
        if waits {
            return waiting::announce(self.tx, object_key, self.now);
        }
        if let Some(batching) = &self.batching {
            batching.added(self.tx, object_key)?;
        }
        self.added.add(|| Ok(id.as_str().to_owned()))
    }

    /// Updates an object's facts where its bytes are the same. Returns whether any of them, as a
    /// reader of the bucket sees them, has changed.
    fn update_facts(&self, entry: &FetchedEntry, object_key: i64) -> Result<bool> {
        let changed = self
            .tx
            .prepare_cached(
                "UPDATE objects SET path = ?2, modified_ns = ?3, mime = ?4, metadata = ?5,
                                    updated_at_ms = ?6
                 WHERE object_key = ?1
                   AND (path, modified_ns, mime, metadata) IS NOT (?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                object_key,
                entry.path.as_bytes(),
                entry.fingerprint.modified.map(time::to_ns),
                entry.mime,
                entry.metadata,
                self.now.as_millisecond(),
            ])?;
        Ok(changed > 0)
    }

    fn replace_content(
        &mut self,
        entry: &FetchedEntry,
        object_key: i64,
        blob_key: i64,
    ) -> Result<()> {
        self.reshape(entry.shape.as_deref(), object_key, blob_key)?;
        self.update_facts(entry, object_key)?;
        self.touch(object_key)
    }

    /// Gives an object the shape that its entry has now. Returns whether that has changed.
    pub(super) fn reshape(
        &mut self,
        shape: Option<&Shape>,
        object_key: i64,
        blob_key: i64,
    ) -> Result<bool> {
        let plain;
        let shape = match shape {
            Some(shape) => shape,
            None => {
                plain = Shape::plain();
                &plain
            }
        };
        let change = shape::write(self.tx, object_key, shape, blob_key)?;
        self.bytes += change.bytes;
        Ok(change.is_seen)
    }

    pub(super) fn touch(&self, object_key: i64) -> Result<()> {
        self.tx
            .prepare_cached("UPDATE objects SET updated_at_ms = ?2 WHERE object_key = ?1")?
            .execute([object_key, self.now.as_millisecond()])?;
        Ok(())
    }
}
