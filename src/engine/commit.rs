//! Collects outcomes into batches and commits them: many entries in a transaction, together with
//! the checkpoint that covers them.
//!
//! The checkpoint moves past a page once every entry of it is committed. At most one transaction is
//! in progress; meanwhile the next batch fills, and once that is full, fetches continue until as
//! many as may run at once have finished. So what arrives faster than it can be committed is
//! committed in larger batches, which cost less for each entry.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use roaring::RoaringTreemap;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    RunError,
    context::{Done, Pass, PassKind, Run, Walked},
    fetch::Outcome,
    plan::{Action, Plan, RenameCandidate, Sighting},
    shards::{OpenPage, PageId, Shards},
};
use crate::{
    blobs::Room,
    model::EntryId,
    sources::RootIdentity,
    store::{
        StoreError,
        checkpoints::{Position, ShardCheckpoint, Sightings},
        commit::{self, Batch, Committed, FetchedEntry},
        held_back::HeldBack,
        syncs,
    },
};

/// A page of the walk with what is to be done about its entries.
pub(super) struct PlannedPage {
    /// The shard, by its index among the starts of the run.
    pub(super) shard: usize,
    /// Where the shard's listing continues behind it; `None`: where it did before.
    pub(super) position: Option<Position>,
    /// What is to be done.
    pub(super) plan: Plan,
}

/// A page that was opened.
pub(super) struct OpenedPage {
    /// What it asks for.
    pub(super) actions: VecDeque<(PageId, Action)>,
    /// Whether it asked for more than this run's slice had left: the run ends here.
    pub(super) is_cut: bool,
}

/// Collects outcomes into batches and commits one after the other.
pub(super) struct Committer<'a> {
    run: &'a Arc<Run>,
    done: &'a mut Done,
    batch: Batch,
    inline_bytes: usize,
    /// Entries that are in the batch, unchanged ones included.
    since_commit: u64,
    /// Reserved disk space for them.
    rooms: Vec<Arc<Room>>,
    /// When the batch has to be committed at the latest.
    deadline: Option<Instant>,
    in_progress: Option<CommitInProgress>,
    /// How far the pass has come.
    shards: Shards,
    /// Whether any entry looks renamed.
    has_rename_candidates: bool,
    /// Whether the pass has listed anything at all.
    listed_something: bool,
    /// Keys of the `left_out` rows whose entries were listed.
    left_out: RoaringTreemap,
    /// Keys of entries that were looked up and are gone.
    absent: RoaringTreemap,
    /// The root's identity, until a commit has stored content of it.
    root: Option<String>,
    /// Ids of the batch's entries, where their order matters.
    ids: Vec<EntryId>,
    /// Ids of the entries of the commit in progress.
    committing: Vec<EntryId>,
}

/// A batch that the store is committing.
type CommitInProgress = AbortOnDropHandle<Result<Committed, StoreError>>;

impl<'a> Committer<'a> {
    /// Entries, and bytes kept in memory, that are enough for a batch: each commit writes whole
    /// pages and waits for the disk.
    const ENTRIES: usize = 2000;
    const INLINE_BYTES: usize = 4 * 1024 * 1024;
    /// A batch may have so many times the entries after which a checkpoint is due, but more than
    /// once as many only while the commit before it is in progress.
    const WHILE_BUSY: u64 = 2;
    /// How long an outcome waits for others to join its batch.
    const MAX_WAIT: Duration = Duration::from_secs(1);

    pub(super) fn new(run: &'a Arc<Run>, done: &'a mut Done, root: &RootIdentity) -> Self {
        let is_root_stored = run.sync.root_identity == root.0;
        Self {
            run,
            done,
            batch: Batch::default(),
            inline_bytes: 0,
            since_commit: 0,
            rooms: Vec::new(),
            deadline: None,
            in_progress: None,
            shards: Shards::new(&run.starts),
            has_rename_candidates: false,
            // Of a pass with a feed, a checkpoint is only written after something was listed.
            listed_something: run.kind == PassKind::Changes
                || (run.is_resumed && !run.needs_next_pass()),
            left_out: RoaringTreemap::new(),
            absent: RoaringTreemap::new(),
            root: if is_root_stored { None } else { root.0.clone() },
            ids: Vec::new(),
            committing: Vec::new(),
        }
    }

    /// The run whose outcomes it commits.
    pub(super) fn run(&self) -> &'a Arc<Run> {
        self.run
    }

    /// Whether any entry looks renamed.
    pub(super) fn has_rename_candidates(&self) -> bool {
        self.has_rename_candidates
    }

    /// What the pass knows so far of entries whose rows it did not write.
    pub(super) fn sightings(&self) -> Sightings {
        self.shards.sightings()
    }

    /// Whether the pass has found the entry with this row.
    pub(super) fn have_found(&self, row: i64) -> bool {
        u64::try_from(row).is_ok_and(|row| self.shards.have_found(row))
    }

    /// How many pages wait for fetches.
    pub(super) fn busy_pages(&self) -> usize {
        self.shards.busy_pages()
    }

    /// What the walk has learned, once everything is committed.
    pub(super) fn pass(&self, walked: Walked) -> Pass {
        Pass {
            sightings: self.shards.sightings(),
            walked,
            listed_something: self.listed_something,
            left_out: self.left_out.clone(),
            absent: self.absent.clone(),
        }
    }

    /// Takes note of entries that were looked up and are gone.
    pub(super) fn record_absent(&mut self, keys: impl Iterator<Item = u64>) {
        self.absent.extend(keys);
    }

    /// Opens a planned page. Of a page with more to take up than is left of this run's slice, only
    /// that much is: the next run lists the page again.
    pub(super) fn open_page(&mut self, planned: PlannedPage) -> OpenedPage {
        let PlannedPage { shard, mut position, mut plan } = planned;
        let (page, entries) = (self.shards.next_page(shard), plan.entries());
        self.listed_something |= entries > 0;
        if self.run.needs_next_pass() {
            // The pass from the beginning that follows lists them again.
            plan.rename_candidates.clear();
        }
        let left = self.run.options.slice.map(|most| most.saturating_sub(self.done.taken_up));
        let is_cut = left.is_some_and(|left| plan.cut_off(left));
        if is_cut {
            position = None;
        }
        self.done.taken_up += plan.taken_up();
        self.done.counted.take_off(&mut plan.counts);
        let bytes = plan.actions.iter().map(Action::bytes).fold(0, u64::saturating_add);
        self.run.observer.found(entries, plan.actions.len() as u64, bytes);
        for failure in &plan.failed {
            self.run.observer.failed(failure);
        }
        if self.run.kind == PassKind::Changes {
            self.batch.drifted.extend(&plan.drifted);
        }
        if self.run.has_order() {
            let unplaced: Vec<EntryId> =
                plan.unplaced.iter().map(|unplaced| unplaced.entry.id.clone()).collect();
            let ids = plan.actions.iter().map(|action| action.id.clone());
            self.run.in_flight.add(ids.chain(unplaced.iter().cloned()));
            self.ids.extend(unplaced);
        }
        self.batch.unplaced.extend(plan.unplaced);
        if !is_cut {
            self.batch.placed.extend(plan.placed);
        }
        self.batch.outside.extend(plan.outside);
        let sightings = self.shards.sightings_of_shard(shard);
        sightings.seen.extend(plan.seen);
        sightings.drifted.extend(plan.drifted);
        sightings.unlisted.extend(plan.unlisted);
        let candidates = self.hold_back(page, plan.rename_candidates, &mut plan.actions);
        self.since_commit += plan.counts.discovered();
        self.left_out.extend(plan.left_out.into_iter().filter_map(|key| u64::try_from(key).ok()));
        self.batch.excluded.extend(plan.excluded);
        self.batch.counts.add(&plan.counts);
        self.batch.waiting.extend(plan.waiting);
        self.batch.failed.extend(plan.failed);
        let pending = plan.actions.len();
        self.shards.open(page, OpenPage { entries, pending, candidates, position });
        self.batch_changed();
        let actions = plan.actions.into_iter().map(|action| (page, action)).collect();
        OpenedPage { actions, is_cut }
    }

    /// Holds back what may be renamed, except for entries whose other name was listed already:
    /// those are added to `actions`. Returns how many were held back.
    fn hold_back(
        &mut self,
        page: PageId,
        candidates: Vec<RenameCandidate>,
        actions: &mut Vec<Action>,
    ) -> usize {
        let before = self.batch.held_back.len();
        for RenameCandidate { action, row } in candidates {
            if self.shards.have_found(u64::try_from(row).unwrap_or_default()) {
                actions.push(action);
            } else {
                let Action { id, path, fingerprint, .. } = action;
                let held = HeldBack { page: page.into(), row, id, path, fingerprint };
                self.batch.held_back.push(held);
            }
        }
        let count = self.batch.held_back.len() - before;
        self.has_rename_candidates |= count > 0;
        count
    }

    /// Starts actions that were held back, now that it is known what they are.
    pub(super) fn start_candidates(
        &mut self,
        candidates: Vec<(PageId, Action)>,
    ) -> VecDeque<(PageId, Action)> {
        let bytes =
            candidates.iter().map(|(_, action)| action.bytes()).fold(0, u64::saturating_add);
        self.run.observer.found(0, candidates.len() as u64, bytes);
        candidates.iter().for_each(|(page, _)| self.shards.candidate_started(*page));
        candidates.into()
    }

    /// Records the outcome of an entry of a page; `known` is the key of its row.
    pub(super) fn record(
        &mut self,
        page: PageId,
        id: EntryId,
        known: Option<u64>,
        outcome: Outcome,
        room: Option<Arc<Room>>,
    ) {
        self.rooms.extend(room);
        match outcome {
            Outcome::Fetched(entry) => self.record_fetched(*entry),
            Outcome::Filtered(sighting) => {
                self.batch.counts.filtered += 1;
                match sighting {
                    Sighting::Seen => self.shards.sightings_of_page(page).seen.extend(known),
                    Sighting::Drifted => self.record_drifted(page, known),
                }
            }
            Outcome::LeftOut(entry) => {
                self.batch.left_out.push(entry);
                self.record_drifted(page, known);
            }
            Outcome::Reevaluated(entry) => self.batch.reevaluated.push(*entry),
            Outcome::Renamed(entry) => {
                if let Some(failure) = &entry.failure {
                    self.run.observer.failed(failure);
                }
                self.batch.renamed.push(*entry);
            }
            Outcome::Failed(failure) => {
                self.run.observer.failed(&failure);
                self.shards.sightings_of_page(page).seen.extend(known);
                self.batch.failed.push(failure);
            }
            // It was listed, so nothing is removed before a listing no longer has it.
            Outcome::Vanished => self.shards.sightings_of_page(page).seen.extend(known),
            Outcome::Fatal(_) => {}
        }
        if self.run.has_order() {
            self.ids.push(id);
        }
        self.shards.entry_done(page);
        self.since_commit += 1;
        self.batch_changed();
    }

    fn record_drifted(&mut self, page: PageId, known: Option<u64>) {
        if self.run.kind == PassKind::Changes {
            self.batch.drifted.extend(known);
        }
        self.shards.sightings_of_page(page).drifted.extend(known);
    }

    fn record_fetched(&mut self, entry: FetchedEntry) {
        self.inline_bytes += entry.inline_bytes();
        self.batch.fetched.push(entry);
    }

    fn batch_changed(&mut self) {
        self.shards.close_pages();
        self.deadline.get_or_insert_with(|| Instant::now() + Self::MAX_WAIT);
    }

    fn checkpoint_every(&self) -> u64 {
        self.run.sync.options.pace.checkpoint_every()
    }

    fn is_full(&self) -> bool {
        self.since_commit >= self.checkpoint_every() * Self::WHILE_BUSY
            || self.batch.len() >= Self::ENTRIES
            || self.inline_bytes >= Self::INLINE_BYTES
    }

    /// Whether there is enough for a commit while the writer is free; while it is busy, the batch
    /// grows until it is full.
    fn is_worth_it(&self) -> bool {
        self.is_full()
            || self.since_commit >= self.checkpoint_every()
            || self.batch.len() >= self.run.sync.options.pace.batch_size as usize
    }

    /// Whether the batch can grow; if not, the commit in progress has to finish first.
    pub(super) fn has_room(&self) -> bool {
        self.in_progress.is_none() || !self.is_full()
    }

    /// When the batch has to be committed at the latest, unless a commit is in progress.
    pub(super) fn commit_deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.in_progress.is_none())
    }

    /// Waits for the commit in progress; `None` if there is none.
    pub(super) async fn commit_finished(&mut self) -> Option<Result<Committed, RunError>> {
        let done = self.in_progress.as_mut()?.await;
        self.in_progress = None;
        self.run.in_flight.remove(&std::mem::take(&mut self.committing));
        Some(match done {
            Ok(committed) => committed.map_err(RunError::from),
            Err(error) => Err(RunError::panicked(error)),
        })
    }

    /// Commits the batch if it is due and no commit is in progress. `is_idle`: nothing else would
    /// join it for now, while the next page may wait for its entries.
    pub(super) async fn commit_if_due(&mut self, is_idle: bool) -> Result<(), RunError> {
        let is_late = || self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let is_idle = is_idle && self.run.has_order() && self.deadline.is_some();
        let is_due = self.in_progress.is_none() && (self.is_worth_it() || is_late() || is_idle);
        if is_due { self.commit().await } else { Ok(()) }
    }

    /// Hands the batch to the store, once the commit in progress has finished.
    async fn commit(&mut self) -> Result<(), RunError> {
        self.wait_for_commit().await?;
        self.deadline = None;
        self.since_commit = 0;
        self.inline_bytes = 0;
        self.committing = std::mem::take(&mut self.ids);
        let mut batch = std::mem::take(&mut self.batch);
        batch.checkpoints = self.checkpoints();
        let root = self.root.take_if(|_| !batch.fetched.is_empty());
        let (target, now) = (self.run.target, self.run.clock.now());
        let (store, blobs) = (self.run.store.clone(), self.run.blobs.clone());
        let rooms = std::mem::take(&mut self.rooms);
        let work = async move {
            let committed = store
                .write(move |tx| {
                    if let Some(root) = root {
                        syncs::remember_root(tx, target.fence.sync_key, Some(&root))?;
                    }
                    let committed =
                        commit::commit(tx, &target, &batch, |hash| blobs.exists(hash), now)?;
                    // Given back, so that the writer need not take it apart.
                    Ok((committed, batch))
                })
                .await;
            drop(rooms);
            committed.map(|(committed, _)| committed)
        };
        self.in_progress = Some(AbortOnDropHandle::new(tokio::spawn(work)));
        Ok(())
    }

    /// The checkpoints that this batch moves. None before the pass has listed anything: a run that
    /// continued from there would not know that nothing had been listed before it.
    fn checkpoints(&mut self) -> Vec<ShardCheckpoint> {
        if !self.listed_something {
            return Vec::new();
        }
        self.shards.moved_checkpoints(&self.run.basis)
    }

    async fn wait_for_commit(&mut self) -> Result<(), RunError> {
        match self.commit_finished().await {
            Some(done) => self.count(done),
            None => Ok(()),
        }
    }

    /// Counts entries that have moved with their folders.
    pub(super) fn count_moved(&mut self, entries: u64) {
        self.done.counts.updated += entries;
    }

    /// Counts what a finished commit has done.
    pub(super) fn count(&mut self, done: Result<Committed, RunError>) -> Result<(), RunError> {
        let Committed { counts, refused } = done?;
        refused.iter().for_each(|failure| self.run.observer.failed(failure));
        self.done.counts.add(&counts);
        self.run.observer.committed(&self.done.counts);
        Ok(())
    }

    /// Commits everything and waits until it is done.
    pub(super) async fn flush(&mut self) -> Result<(), RunError> {
        if self.deadline.is_some() {
            self.commit().await?;
        }
        self.wait_for_commit().await
    }

    /// Commits what has arrived and returns `error`, which matters more than a failure to commit.
    pub(super) async fn commit_then(&mut self, error: RunError) -> RunError {
        if let Err(also) = self.flush().await {
            tracing::warn!(error = %also, "could not commit the last of what had arrived");
        }
        error
    }
}
