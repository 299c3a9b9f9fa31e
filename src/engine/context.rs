//! What all stages of a run share, and what a pass hands from one stage to the next.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
};

use roaring::RoaringTreemap;
use tokio::sync::{Notify, Semaphore};

use super::{
    Observer,
    request::RunOptions,
    rules::{self, Rules},
    shards::{self, Start},
};
use crate::{
    blobs::Blobs,
    clock::SharedClock,
    model::{Counts, EntryId, FolderId, JobId},
    sources::{Page, Profile, RootIdentity, Source, SourceError, web::Web},
    store::{
        Store, StoreError,
        checkpoints::{self, Basis, Sightings},
        commit::Target,
        leases,
        reconcile::Scope,
        syncs::{self, Sync},
    },
};

/// A run in progress, in the pass that it makes. A clone is the same run.
#[derive(Clone)]
pub struct Run {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: SharedClock,
    pub(super) source: Arc<dyn Source>,
    pub(super) rules: Arc<Rules>,
    pub(super) web: Web,
    pub(super) sync: Sync,
    pub(super) target: Target,
    pub(super) job: JobId,
    pub(super) options: RunOptions,
    pub(super) observer: Arc<dyn Observer>,
    /// Bounds the concurrent requests to the source, for entries and for parts of entries alike.
    pub(super) requests: Arc<Semaphore>,
    pub(super) concurrency: usize,
    /// Bounds the blocks of large blobs that are being written to disk.
    pub(super) writes: Arc<Semaphore>,
    /// The root as it was when the run began.
    pub(super) root: Result<RootIdentity, SourceError>,
    /// Whether it continues a pass that an earlier run began, see [`Run::needs_next_pass`].
    pub(super) is_resumed: bool,
    /// Where every entry is fetched again: the pass in which that began. Rows that were written
    /// since are done.
    pub(super) full_since: Option<i64>,
    /// Whether the sync had an entry when the run began.
    pub(super) had_entries: bool,
    /// Whether an earlier pass has listed everything under the settings as they are now, and what
    /// has not changed since then needs nothing.
    pub(super) is_listed_again: bool,
    /// Where it starts in each shard.
    pub(super) starts: Vec<Start>,
    /// What its checkpoints are valid for.
    pub(super) basis: Basis,
    /// Which kind of pass it makes.
    pub(super) kind: PassKind,
    /// How the source lists its entries.
    pub(super) profile: Profile,
    /// What has turned out of the source's tags.
    pub(super) tags: Arc<Tags>,
    /// The entries that are being fetched, where their order matters.
    pub(super) in_flight: Arc<InFlight>,
    /// What the pass has done to the tree of folders.
    pub(super) tree: Arc<TreeNotes>,
}

/// A kind of pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// Everything is listed.
    Full,
    /// Only what has changed is reported.
    Changes,
}

/// What a pass has done to the tree of folders.
#[derive(Debug, Default)]
pub struct TreeNotes {
    /// How many entries have other paths, and their objects with them.
    pub(super) updated_entries: AtomicU64,
    /// Whether the sync has any links.
    pub(super) has_links: AtomicBool,
    /// Whether anything is in several folders.
    pub(super) has_several_parents: AtomicBool,
    /// Whether the pass has come to the end of its listing and its feed.
    pub(super) is_listed: AtomicBool,
    /// Whether it looks up what its listing lacks: then only folders count that it has seen itself.
    pub(super) is_looking_up: AtomicBool,
    /// How often places were found anew for what is in several folders.
    pub(super) rounds: AtomicU32,
    /// Folders that the source was asked for in vain.
    pub(super) unreadable: Mutex<Arc<HashSet<FolderId>>>,
}

/// What has turned out of a source's tags, which it assumes to be hashes of content.
#[derive(Debug, Default)]
pub struct Tags {
    /// How many have turned out to be.
    pub(super) proved: AtomicU32,
    /// One has turned out not to be.
    pub(super) are_no_hashes: AtomicBool,
}

/// Ids of entries that are being fetched and committed: of two occurrences of an entry in a pass
/// the later one has to win, so it waits for the earlier one. Only used where a pass can report an
/// entry twice with different content.
#[derive(Debug, Default)]
pub struct InFlight {
    ids: Mutex<HashSet<EntryId>>,
    changed: Notify,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries.
    pub(super) fn add(&self, ids: impl Iterator<Item = EntryId>) {
        self.lock().extend(ids);
    }

    /// These entries are committed.
    pub(super) fn remove(&self, ids: &[EntryId]) {
        if ids.is_empty() {
            return;
        }
        let mut in_flight = self.lock();
        for id in ids {
            in_flight.remove(id);
        }
        drop(in_flight);
        self.changed.notify_waiters();
    }

    /// Waits until none of the entries that a page is about is in flight.
    pub(super) async fn wait_for(&self, page: &Page) {
        self.wait_until(|ids| {
            let mut entries = page.entries.iter().map(|entry| &entry.id).chain(&page.removed);
            !entries.any(|id| ids.contains(id))
        })
        .await;
    }

    /// Waits until no entry is in flight.
    pub(super) async fn wait_for_all(&self) {
        self.wait_until(HashSet::is_empty).await;
    }

    async fn wait_until(&self, is_free: impl Fn(&HashSet<EntryId>) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_free(&self.lock()) {
                return;
            }
            changed.await;
        }
    }
}

impl Run {
    /// Whether the pass can report an entry more than once, or by its folder.
    pub(super) fn has_order(&self) -> bool {
        self.profile.is_by_id() || self.profile.has_feed
    }

    /// Whether the pass decides nothing, because what it knows of the entries before its checkpoint
    /// is as old as that. With a change feed it is not: the replay brings it up to date.
    pub(super) fn needs_next_pass(&self) -> bool {
        self.is_resumed && !self.profile.has_feed
    }

    /// Which of the entries that a pass does not find are removed.
    pub(super) fn removal_scope(&self) -> Scope {
        rules::removal_scope(&self.sync.location, &self.sync.options)
    }

    /// See [`rules::follows_renames`]. A sync without entries has nothing that could have been
    /// renamed, so a first run skips the look-ups, each of which would read another index page.
    pub(super) fn follows_renames(&self) -> bool {
        // What a changes pass does not report may still be there under its old name.
        self.had_entries
            && self.kind == PassKind::Full
            && rules::follows_renames(&self.sync.options, self.full_since.is_some())
    }

    /// The same run in a new pass, from the beginning of the source. A resumed pass is followed by
    /// one, which compares everything once more and alone decides about removals.
    /// `done`: entries that this run has dealt with, which are not counted again.
    pub(super) async fn in_next_pass(&self, done: u64) -> Result<Self, StoreError> {
        let fence = self.target.fence;
        let pass = self
            .store
            .write(move |tx| {
                leases::check(tx, fence)?;
                let pass = checkpoints::begin_pass(tx, fence.sync_key)?;
                syncs::set_pass_entries(tx, fence.sync_key, done)?;
                Ok::<_, StoreError>(pass)
            })
            .await?;
        let shards = self.starts.iter().map(|start| start.shard.clone()).collect();
        Ok(Self {
            target: Target { pass, ..self.target },
            is_resumed: false,
            had_entries: true,
            starts: shards::starts(shards, None),
            ..self.clone()
        })
    }
}

/// What a run has done so far, over all passes that it has made.
#[derive(Debug, Default)]
pub struct Done {
    /// Its counts.
    pub counts: Counts,
    /// Entries that it has taken up: new, changed or failed ones.
    pub taken_up: u64,
    /// Entries that it has counted in an earlier pass: where it lists them again and nothing is to
    /// be done about them, they are not counted twice.
    pub counted: Counted,
}

/// How many entries were counted already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Those that the bucket has: they are listed again as unchanged.
    pub stored: u64,
    /// Those that it does not have: they are listed again as filtered, or as waiting.
    pub left_out: u64,
}

impl Done {
    /// A new pass begins: what was counted until now is listed again.
    pub(super) fn begin_next_pass(&mut self) {
        let Counts { synced, updated, unchanged, duplicates, filtered, failed, .. } = self.counts;
        self.counted = Counted {
            stored: synced + updated + unchanged + duplicates,
            left_out: filtered + failed,
        };
    }
}

impl Counted {
    /// Takes off the counts of a page what was counted before.
    pub(super) fn take_off(&mut self, counts: &mut Counts) {
        let take = |counted: &mut u64, count: &mut u64| {
            let both = (*counted).min(*count);
            *counted -= both;
            *count -= both;
        };
        take(&mut self.stored, &mut counts.unchanged);
        take(&mut self.left_out, &mut counts.filtered);
    }
}

/// How far a walk got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// To the end of the source.
    Whole,
    /// To the end of the run's slice.
    Slice,
}

/// What a walk has learned.
#[derive(Debug)]
pub struct Pass {
    /// What it knows of entries whose rows it did not write.
    pub sightings: Sightings,
    /// How far it got.
    pub walked: Walked,
    /// Whether anything was listed at all.
    pub listed_something: bool,
    /// Keys of the `left_out` rows whose entries this run listed.
    pub left_out: RoaringTreemap,
    /// Keys of entries that were looked up, because the listing lacks them, and are gone.
    pub absent: RoaringTreemap,
}
