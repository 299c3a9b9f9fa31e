//! The only place where an object becomes visible: many entries in one transaction.
//!
//! What is written for each entry is in `apply_fetched`, `reevaluate`, `renames` and `left_out`;
//! `write_order` finds an order in which all of them can be written. New entries, of which there
//! may be many, are written together before all others (`new_entries`).
//!
//! The bytes of every blob named here are durable already (files) or become so with the same
//! transaction (inline), so every object that can be read is complete.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::Transaction;

use super::{
    Result, StoreError, blobs, buckets,
    changes::Changes,
    checkpoints::{self, ShardCheckpoint},
    dead_letters::{self, Failure},
    gone,
    held_back::{self, HeldBack},
    jobs, leases,
    left_out::{self, LeftOut},
    processing::to_batch::Batching,
    reevaluate::Reevaluated,
    renames::Renamed,
    touched::Touched,
    trash, two_level_index,
    unplaced::{self, Unplaced},
    write_order::Write,
};
pub use super::{fetched::FetchedEntry, stored::Stored, target::Target};
use crate::model::{BlobHash, Counts, EntryId, ErrorType};

/// What is committed together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries that were fetched.
    pub fetched: Vec<FetchedEntry>,
    /// Entries that were evaluated again.
    pub reevaluated: Vec<Reevaluated>,
    /// Stored entries that have new names.
    pub renamed: Vec<Renamed>,
    /// Entries that do not meet the filters' conditions on their metadata.
    pub left_out: Vec<LeftOut>,
    /// Outlined entries that the filters leave out, which are counted already.
    pub excluded: Vec<LeftOut>,
    /// Entries that may be renamed ones.
    pub held_back: Vec<HeldBack>,
    /// Entries that failed.
    pub failed: Vec<Failure>,
    /// Dead letters of listed entries that are not due yet.
    pub waiting: Vec<i64>,
    /// Listed entries that need no write: unchanged, filtered, and failed ones that are not due.
    /// The other fields are 0.
    pub counts: Counts,
    /// The checkpoints that this batch moves.
    pub checkpoints: Vec<ShardCheckpoint>,
    /// Entries whose folder is not known yet.
    pub unplaced: Vec<Unplaced>,
    /// Keys of such entries that were planned by now.
    pub placed: Vec<i64>,
    /// Keys of entries that a changes pass found outside of the root.
    pub outside: Vec<u64>,
    /// Keys of entries that a changes pass found no longer passing the filters.
    pub drifted: Vec<u64>,
}

impl Batch {
    /// How many entries it writes something for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fetched.len()
            + self.reevaluated.len()
            + self.renamed.len()
            + self.left_out.len()
            + self.excluded.len()
            + self.held_back.len()
            + self.failed.len()
            + self.unplaced.len()
            + self.placed.len()
            + self.outside.len()
            + self.drifted.len()
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
    /// How many entries had which outcome.
    pub counts: Counts,
    /// Entries that failed for reasons that only the store knows.
    pub refused: Vec<Failure>,
}

/// Commits a batch and returns what it did. `file_exists` says whether the file of a hash exists:
/// if it was collected since it was written, its entry fails in this run.
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
    let mut changes = Changes {
        tx,
        target,
        now,
        counts: batch.counts,
        objects: 0,
        bytes: 0,
        last_object: None,
        added: Touched::default(),
        updated: Touched::default(),
        batching: Batching::of(tx, target.fence.sync_key, target.bucket_key)?,
        has_trash: trash::has_any_of(tx, target.fence.sync_key)?,
    };
    let mut refused = Vec::new();
    let mut complete = Vec::with_capacity(batch.fetched.len());
    for entry in &batch.fetched {
        let stored = &entry.stored;
        let mut files = entry.shape.iter().flat_map(|shape| shape.files());
        if stored.inline.is_none() && !file_exists(&stored.hash)
            || files.any(|hash| !file_exists(hash))
        {
            changes.mark_seen(&entry.id)?;
            let error = StoreError::BlobVanished.to_string();
            refused.push(entry.failure(ErrorType::Internal, error));
            continue;
        }
        complete.push(entry);
    }
    let mut writes = Vec::new();
    for entry in changes.insert_new(complete)? {
        let stored = &entry.stored;
        let blob_key = blobs::ensure(tx, &stored.hash, stored.size, stored.inline.as_deref())?;
        writes.push(Write::Fetched(entry, blob_key));
    }
    blobs::tally(tx)?;
    writes.extend(batch.reevaluated.iter().map(Write::Reevaluated));
    writes.extend(batch.renamed.iter().map(Write::Renamed));
    refused.extend(changes.write_in_order(writes, &file_exists)?);
    for entry in &batch.left_out {
        left_out::save(tx, target, entry)?;
        changes.counts.filtered += 1;
    }
    for entry in &batch.excluded {
        left_out::save(tx, target, entry)?;
    }
    held_back::save(tx, target.fence.sync_key, &batch.held_back)?;
    let failed: HashSet<&EntryId> = refused.iter().map(|failure| &failure.id).collect();
    let fetched = batch.fetched.iter().map(|entry| &entry.id).filter(|id| !failed.contains(id));
    dead_letters::resolve(tx, target.fence.sync_key, fetched, now)?;
    let renamed = batch.renamed.iter().filter_map(|entry| entry.failure.as_ref());
    let failures: Vec<&Failure> = batch.failed.iter().chain(renamed).chain(&refused).collect();
    dead_letters::record(tx, target, &failures, now)?;
    dead_letters::mark_seen(tx, target.pass, &batch.waiting)?;
    changes.counts.failed += failures.len() as u64;
    buckets::adjust(tx, target.bucket_key, changes.objects, changes.bytes)?;
    let sync_key = target.fence.sync_key;
    jobs::count(tx, sync_key, target.job_key, &changes.counts, now)?;
    unplaced::save(tx, target.fence.sync_key, &batch.unplaced)?;
    unplaced::delete(tx, &batch.placed)?;
    gone::record(tx, target.fence.sync_key, &batch.outside, false)?;
    gone::record(tx, target.fence.sync_key, &batch.drifted, true)?;
    for checkpoint in &batch.checkpoints {
        checkpoints::save(tx, target, checkpoint, now)?;
    }
    if !batch.fetched.is_empty() {
        two_level_index::merge(tx)?;
    }
    changes.emit_events()?;
    if let Some(batching) = &changes.batching {
        batching.finish(tx, now)?;
    }
    let counts = changes.counts;
    Ok(Committed { counts, refused })
}
