//! The only place where an object becomes visible: many entries, one transaction.
//!
//! What becomes of each entry is in `taking`, `rejudge`, `renames` and `left_out`; `turns` has them
//! written in an order in which they can be.
//!
//! The bytes of every blob named here are durable already (files) or become so with the same
//! transaction (inline), so an object that can be read is whole.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{
    Result, StoreError, blobs, buckets,
    checkpoints::{self, Reached},
    dead_letters::{self, Failure},
    held_back::{self, HeldBack},
    jobs,
    leases::{self, Fence},
    left_out::{self, LeftOut},
    rejudge::Rejudged,
    renames::Moved,
    scattered,
    shape::Shape,
    touched::Touched,
    turns::Write,
};
use crate::model::{BlobHash, Counts, EntryId, EntryPath, ErrorType, Fingerprint, Identity};

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
    /// Entries that look renamed.
    pub held_back: Vec<HeldBack>,
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
            + self.held_back.len()
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
        last_object: None,
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
    held_back::hold(tx, target.fence.sync_key, &batch.held_back)?;
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
    if !batch.taken.is_empty() {
        scattered::settle(tx)?;
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
    pub(super) objects: i64,
    /// Bytes that the bucket gained.
    pub(super) bytes: i64,
    /// The key of the last object there is, once it was asked for.
    pub(super) last_object: Option<i64>,
    /// Objects that are new.
    pub(super) added: Touched,
    /// Objects that are changed.
    pub(super) updated: Touched,
}

impl Work<'_> {
    /// Notes that an entry is there, whatever became of the version that was fetched.
    pub(super) fn keep(&self, id: &EntryId) -> Result<()> {
        self.tx
            .prepare_cached("UPDATE entries SET pass = ?3 WHERE sync_key = ?1 AND source_id = ?2")?
            .execute(params![self.target.fence.sync_key, id.as_bytes(), self.target.pass])?;
        Ok(())
    }
}

/// A size for adding up; no file reaches 2^63 bytes.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
