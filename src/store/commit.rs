//! The only place where an object becomes visible: many entries, one transaction.
//!
//! The bytes of every blob named here are durable already (files) or become so with the same
//! transaction (inline), so an object that can be read is whole.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::json;

use super::{
    Result, StoreError, blobs, buckets,
    checkpoints::{self, Reached},
    dead_letters::{self, Failure},
    events::{self, About, EventKind},
    jobs,
    leases::{self, Fence},
    left_out::{self, LeftOut},
    rejudge::{HANDED_OVER, Rejudged},
    renames::Moved,
    shape::{self, Shape},
    time,
    turns::Write,
    unique_keys,
};
use crate::model::{
    BlobHash, CONTENT, Counts, EntryId, EntryPath, ErrorType, Fingerprint, Identity, ObjectId,
};

/// The `object_key` of an entry whose object somebody deleted by hand. The version that was here then
/// stays away; another one becomes an object again.
pub(super) const DELETED: i64 = 0;

/// What a run commits into. Fixed for the run's life.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The right to write.
    pub fence: Fence,
    /// The bucket.
    pub bucket_key: i64,
    /// The job that is charged.
    pub job_key: i64,
    /// The pass under way.
    pub pass: i64,
    /// An entry whose bytes the bucket has makes no second object.
    pub skip_duplicates: bool,
    /// Entries older than this are not taken; frozen when the pass begins.
    pub modified_since: Option<Timestamp>,
    /// The settings that look at more than a listing, as `entries.judged_by` keeps them.
    pub mark: Option<i64>,
}

/// Fetched bytes, ready to be recorded.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What they hash to.
    pub hash: BlobHash,
    /// How many they are.
    pub size: u64,
    /// The bytes themselves where they are to live in the database; else they are durable in the
    /// file that the hash names.
    pub inline: Option<Bytes>,
}

/// An entry that was fetched.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The source's name for it.
    pub id: EntryId,
    /// Its path from the root.
    pub path: EntryPath,
    /// The version that was read.
    pub fingerprint: Fingerprint,
    /// What a rename at the source would leave as it is, see `sources::Source::identity`.
    pub identity: Option<Identity>,
    /// Its MIME type, if one is known.
    pub mime: Option<String>,
    /// User metadata as a JSON object, if it has any.
    pub metadata: Option<String>,
    /// Its bytes.
    pub stored: Stored,
    /// What the sync's mapping makes of it; `None` where it has none.
    pub shape: Option<Box<Shape>>,
}

/// What is committed together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries to become objects, or to change theirs.
    pub taken: Vec<Taken>,
    /// Entries that are decided about anew.
    pub rejudged: Vec<Rejudged>,
    /// Entries that were taken under other names.
    pub moved: Vec<Moved>,
    /// Entries that are left out for more than their listing.
    pub left_out: Vec<LeftOut>,
    /// Entries that could not be taken.
    pub failed: Vec<Failure>,
    /// Dead letters of entries that are there but are not to be tried again yet.
    pub waiting: Vec<i64>,
    /// Listed entries that cost nothing: unchanged, filtered, and failed ones that wait. Other
    /// fields stay 0.
    pub passed: Counts,
    /// How far the pass has come with this batch, in the shards in which that is further than before.
    pub reached: Vec<Reached>,
}

impl Taken {
    /// How many bytes of it are in memory.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        let inline = |stored: &Stored| stored.inline.as_ref().map_or(0, Bytes::len);
        inline(&self.stored) + self.shape.iter().map(|shape| shape.inline_bytes()).sum::<usize>()
    }

    pub(super) fn failure(&self, error_type: ErrorType, message: String) -> Failure {
        Failure {
            id: self.id.clone(),
            path: self.path.clone(),
            version: Some(self.fingerprint.version.clone()),
            error_type,
            message,
        }
    }
}

impl Batch {
    /// How many entries it is about, but for those that cost nothing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len()
            + self.rejudged.len()
            + self.moved.len()
            + self.left_out.len()
            + self.failed.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// What became of the entries.
    pub counts: Counts,
    /// Entries that could not be taken for what the store alone knows.
    pub refused: Vec<Failure>,
}

/// Commits a batch; answers what it did. `file_exists` tells whether the file of a hash is in
/// place: one that was collected between its writing and now makes its entry a failure of this run.
///
/// # Errors
/// [`StoreError::LeaseLost`], [`StoreError::Full`], or SQLite's; nothing is kept then.
pub fn commit(
    tx: &Transaction<'_>,
    target: &Target,
    batch: &Batch,
    file_exists: impl Fn(&BlobHash) -> bool,
    now: Timestamp,
) -> Result<Committed> {
    leases::check(tx, target.fence)?;
    let mut work = Work {
        tx,
        target,
        now,
        counts: batch.passed,
        objects: 0,
        bytes: 0,
        added: Touched::default(),
        updated: Touched::default(),
    };
    let mut refused = Vec::new();
    let mut writes = Vec::new();
    for taken in &batch.taken {
        let stored = &taken.stored;
        let mut files = taken.shape.iter().flat_map(|shape| shape.files());
        if stored.inline.is_none() && !file_exists(&stored.hash)
            || files.any(|hash| !file_exists(hash))
        {
            work.keep(&taken.id)?;
            let error = StoreError::BlobVanished.to_string();
            refused.push(taken.failure(ErrorType::Internal, error));
            continue;
        }
        let blob_key = blobs::ensure(tx, &stored.hash, stored.size, stored.inline.as_deref())?;
        writes.push(Write::Take(taken, blob_key));
    }
    blobs::tally(tx)?;
    writes.extend(batch.rejudged.iter().map(Write::Rejudge));
    writes.extend(batch.moved.iter().map(Write::Rename));
    refused.extend(work.in_turn(writes, &file_exists)?);
    for entry in &batch.left_out {
        left_out::remember(tx, target, entry)?;
        work.counts.filtered += 1;
    }
    let failed: HashSet<&EntryId> = refused.iter().map(|failure| &failure.id).collect();
    let taken = batch.taken.iter().map(|taken| &taken.id).filter(|id| !failed.contains(id));
    dead_letters::resolve(tx, target.fence.sync_key, taken, now)?;
    let moved = batch.moved.iter().filter_map(|moved| moved.failure.as_ref());
    let failures: Vec<&Failure> = batch.failed.iter().chain(moved).chain(&refused).collect();
    dead_letters::record(tx, target, &failures, now)?;
    dead_letters::let_wait(tx, target.pass, &batch.waiting)?;
    work.counts.failed += failures.len() as u64;
    buckets::adjust(tx, target.bucket_key, work.objects, work.bytes)?;
    let sync_key = target.fence.sync_key;
    jobs::count(tx, sync_key, target.job_key, &work.counts, now)?;
    for reached in &batch.reached {
        checkpoints::reach(tx, target, reached, now)?;
    }
    work.tell()?;
    let counts = work.counts;
    Ok(Committed { counts, refused })
}

/// One transaction's work on entries and objects.
pub(super) struct Work<'a> {
    pub(super) tx: &'a Transaction<'a>,
    pub(super) target: &'a Target,
    pub(super) now: Timestamp,
    pub(super) counts: Counts,
    /// Objects that the bucket gained.
    objects: i64,
    /// Bytes that the bucket gained.
    bytes: i64,
    /// Objects that are new.
    added: Touched,
    /// Objects that are changed.
    updated: Touched,
}

/// Objects to be told of: all counted, some named.
#[derive(Default)]
pub(super) struct Touched {
    count: u64,
    ids: Vec<String>,
}

impl Touched {
    /// Notes an object.
    pub(super) fn note(&mut self, id: impl FnOnce() -> Result<String>) -> Result<()> {
        self.count += 1;
        if self.ids.len() < events::NAMED {
            self.ids.push(id()?);
        }
        Ok(())
    }

    /// Tells of them, if there are any.
    pub(super) fn tell(
        &self,
        tx: &Transaction<'_>,
        kind: EventKind,
        target: &Target,
        now: Timestamp,
    ) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let about = About::job(target.fence.sync_key, target.job_key);
        let detail = json!({"count": self.count, "object_ids": self.ids});
        events::append(tx, kind, about, &detail, now)
    }
}

/// What the index has for an entry.
pub(super) struct Row {
    entry_key: i64,
    pub(super) object_key: i64,
    pub(super) is_duplicate: bool,
    /// Whether it was taken at the very version that was fetched again.
    pub(super) same_version: bool,
}

impl Work<'_> {
    fn tell(&self) -> Result<()> {
        self.added.tell(self.tx, EventKind::ObjectsAdded, self.target, self.now)?;
        self.updated.tell(self.tx, EventKind::ObjectsUpdated, self.target, self.now)
    }

    pub(super) fn note_updated(&mut self, object_key: i64) -> Result<()> {
        let tx = self.tx;
        self.updated.note(|| {
            Ok(tx
                .prepare_cached("SELECT id FROM objects WHERE object_key = ?1")?
                .query_row([object_key], |row| row.get(0))?)
        })
    }

    /// Notes that an entry is there, whatever became of the version that was fetched.
    pub(super) fn keep(&self, id: &EntryId) -> Result<()> {
        self.tx
            .prepare_cached("UPDATE entries SET pass = ?3 WHERE sync_key = ?1 AND source_id = ?2")?
            .execute(params![self.target.fence.sync_key, id.as_bytes(), self.target.pass])?;
        Ok(())
    }

    pub(super) fn take(&mut self, taken: &Taken, blob_key: i64) -> Result<()> {
        self.counts.bytes += taken.stored.size;
        match self.row_of(taken)? {
            None => self.take_new(taken, blob_key),
            Some(row) if row.object_key == DELETED => self.take_deleted(taken, blob_key, &row),
            Some(row) => self.take_changed(taken, blob_key, &row),
        }
    }

    pub(super) fn row_of(&self, taken: &Taken) -> Result<Option<Row>> {
        let (id, version) = (&taken.id, &taken.fingerprint.version);
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

    fn take_new(&mut self, taken: &Taken, blob_key: i64) -> Result<()> {
        if let Some(equal) = self.equal_object(blob_key)? {
            self.counts.duplicates += 1;
            self.insert_entry(taken, equal, true)?;
        } else {
            self.counts.synced += 1;
            let object_key = self.next_object_key()?;
            let entry_key = self.insert_entry(taken, object_key, false)?;
            self.insert_object(taken, object_key, entry_key, blob_key)?;
        }
        Ok(())
    }

    fn take_deleted(&mut self, taken: &Taken, blob_key: i64, row: &Row) -> Result<()> {
        if row.same_version {
            self.counts.unchanged += 1;
            blobs::maybe_orphaned(self.tx, blob_key)?;
            return self.update_entry(taken, row.entry_key, DELETED, false);
        }
        self.counts.updated += 1;
        self.give_object_of_its_own(taken, blob_key, row.entry_key)
    }

    fn take_changed(&mut self, taken: &Taken, blob_key: i64, row: &Row) -> Result<()> {
        let same_bytes = self.content_of(row.object_key)? == Some(blob_key);
        if row.is_duplicate && same_bytes {
            self.counts.unchanged += 1;
            return self.update_entry(taken, row.entry_key, row.object_key, true);
        }
        if row.is_duplicate {
            self.counts.updated += 1;
            return self.give_object_of_its_own(taken, blob_key, row.entry_key);
        }
        if same_bytes {
            let has_other_facts = self.update_facts(taken, row.object_key)?;
            if self.reshape(taken.shape.as_deref(), row.object_key, blob_key)? || has_other_facts {
                self.counts.updated += 1;
                self.note_updated(row.object_key)?;
            } else {
                self.counts.unchanged += 1;
            }
            return self.update_entry(taken, row.entry_key, row.object_key, false);
        }
        self.counts.updated += 1;
        if hand_over(self.tx, row.object_key, self.now)? {
            return self.give_object_of_its_own(taken, blob_key, row.entry_key);
        }
        self.replace_content(taken, row.object_key, blob_key)?;
        self.note_updated(row.object_key)?;
        self.update_entry(taken, row.entry_key, row.object_key, false)
    }

    /// Points an entry that had no object, or has handed it over, at one with its new bytes.
    fn give_object_of_its_own(
        &mut self,
        taken: &Taken,
        blob_key: i64,
        entry_key: i64,
    ) -> Result<()> {
        if let Some(equal) = self.equal_object(blob_key)? {
            return self.update_entry(taken, entry_key, equal, true);
        }
        let object_key = self.next_object_key()?;
        self.insert_object(taken, object_key, entry_key, blob_key)?;
        self.update_entry(taken, entry_key, object_key, false)
    }

    /// An object of the bucket with these bytes, where the sync wants no second one.
    pub(super) fn equal_object(&self, blob_key: i64) -> Result<Option<i64>> {
        if !self.target.skip_duplicates {
            return Ok(None);
        }
        Ok(self
            .tx
            .prepare_cached(
                "SELECT object_key FROM object_blobs JOIN objects USING (object_key)
                 WHERE blob_key = ?1 AND property = content AND bucket_key = ?2 AND state IS NULL
                 ORDER BY object_key LIMIT 1",
            )?
            .query_row([blob_key, self.target.bucket_key], |row| row.get(0))
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

    fn next_object_key(&self) -> Result<i64> {
        Ok(self
            .tx
            .prepare_cached("SELECT coalesce(max(object_key), 0) + 1 FROM objects")?
            .query_row([], |row| row.get(0))?)
    }

    fn insert_entry(&self, taken: &Taken, object_key: i64, is_duplicate: bool) -> Result<i64> {
        self.tx
            .prepare_cached(
                "INSERT INTO entries (sync_key, source_id, path, version, modified_ns, etag,
                                      object_key, is_duplicate, pass, identity, judged_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                self.target.fence.sync_key,
                taken.id.as_bytes(),
                path_unless_id(taken),
                taken.fingerprint.version.0,
                taken.fingerprint.modified.map(time::to_ns),
                taken.fingerprint.etag,
                object_key,
                is_duplicate,
                self.target.pass,
                taken.identity.map(|identity| identity.0),
                self.target.mark,
            ])?;
        Ok(self.tx.last_insert_rowid())
    }

    fn update_entry(
        &self,
        taken: &Taken,
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
                path_unless_id(taken),
                taken.fingerprint.version.0,
                taken.fingerprint.modified.map(time::to_ns),
                taken.fingerprint.etag,
                object_key,
                is_duplicate,
                self.target.pass,
                taken.identity.map(|identity| identity.0),
                self.target.mark,
            ])?;
        Ok(())
    }

    fn insert_object(
        &mut self,
        taken: &Taken,
        object_key: i64,
        entry_key: i64,
        blob_key: i64,
    ) -> Result<()> {
        let id = ObjectId::generate();
        self.tx
            .prepare_cached(
                "INSERT INTO objects (object_key, id, bucket_key, entry_key, path, size, modified_ns,
                                      mime, metadata, created_at_ms, updated_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
            )?
            .execute(params![
                object_key,
                id.as_str(),
                self.target.bucket_key,
                entry_key,
                taken.path.as_bytes(),
                taken.stored.size,
                taken.fingerprint.modified.map(time::to_ns),
                taken.mime,
                taken.metadata,
                self.now.as_millisecond(),
            ])?;
        self.objects += 1;
        self.bytes += signed(taken.stored.size);
        match taken.shape.as_deref() {
            // What nearly all objects are, in one statement.
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
        self.added.note(|| Ok(id.as_str().to_owned()))
    }

    /// Brings an object's facts up to date where its bytes are the same. Answers whether any of
    /// them, as a reader of the bucket sees them, is another now.
    fn update_facts(&self, taken: &Taken, object_key: i64) -> Result<bool> {
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
                taken.path.as_bytes(),
                taken.fingerprint.modified.map(time::to_ns),
                taken.mime,
                taken.metadata,
                self.now.as_millisecond(),
            ])?;
        Ok(changed > 0)
    }

    fn replace_content(&mut self, taken: &Taken, object_key: i64, blob_key: i64) -> Result<()> {
        self.reshape(taken.shape.as_deref(), object_key, blob_key)?;
        self.update_facts(taken, object_key)?;
        self.touch(object_key)
    }

    /// Gives an object the shape that its entry has now. Answers whether that is another.
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

/// Where the entry that made an object no longer stands behind it: gives the object to an entry
/// with equal bytes, if one remains. Answers whether one did.
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
    // looked at anew, and what named the object is free until then.
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

/// The path column: NULL where it says what the id says.
fn path_unless_id(taken: &Taken) -> Option<&[u8]> {
    (taken.path != taken.id).then(|| taken.path.as_bytes())
}

/// A size for adding up; no file reaches 2^63 bytes.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
