//! Walk, plan and fetch in step, and commit what they bring: many entries a transaction, each with
//! the checkpoint that it carries.
//!
//! Pages are planned in order, entries are fetched in any order, and the checkpoint moves over a
//! page once every entry of it is committed. One transaction is under way at most; meanwhile the
//! next one fills, and once it is full, fetches go on until all that may be under way has arrived.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use roaring::RoaringTreemap;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    RunError,
    fetch::{self, Fetched, Outcome},
    lease::Lease,
    moves::Unsettled,
    plan::{self, Plan, Renamed, Work},
    run::{Pass, Run, Walked},
    shards::{OpenPage, PageId, Shards},
    walk::{self, Stretch},
};
use crate::{
    blobs::{BlobError, Room},
    model::Counts,
    sources::RootIdentity,
    store::{
        StoreError,
        checkpoints::{Place, Reached},
        commit::{self, Batch, Committed, Taken},
        held_back::HeldBack,
        syncs,
    },
};

/// Pages that may be open at once: a slow entry holds its page, and the checkpoint, but not the rest.
const OPEN_PAGES: usize = 64;

/// Goes through the source, to its end or that of this run's slice. When this returns `Ok`,
/// everything it listed is committed, and its root is still the one that it was.
pub(super) async fn go_through(
    run: &Arc<Run>,
    lease: &Lease,
    stop: &CancellationToken,
    counts: &mut Counts,
    root: &RootIdentity,
) -> Result<Pass, RunError> {
    let again = walk::failed_before(run).await?;
    let stretches = walk::stretches(run, root, again).then(|stretch| async {
        let Stretch { shard, page, place } = stretch?;
        Ok(Planned { shard, place, plan: plan::plan(run, page).await? })
    });
    let mut committer = Committer::new(run, counts, root);
    let walked = committer.drive(stretches, VecDeque::new(), lease, stop).await?;
    walk::check_root_again(run, root).await?;
    let tally = match walked {
        Walked::Whole => {
            walk::check_not_emptied(run, committer.listed_something).await?;
            Some(committer.shards.whole_tally())
        }
        // Whether the old names are gone shows in later slices.
        Walked::Slice => None,
    };
    if committer.holds_back {
        let mut unsettled = Unsettled::new(run, tally);
        loop {
            let next = committer.take_up(unsettled.next().await?);
            if next.is_empty() {
                break;
            }
            committer.drive(stream::empty(), next, lease, stop).await?;
        }
        unsettled.forget().await?;
    }
    committer.flush().await?;
    let tally = committer.shards.whole_tally();
    Ok(Pass { tally, walked, left_out: committer.left_out })
}

/// A stretch of the walk, decided.
struct Planned {
    shard: usize,
    place: Option<Place>,
    plan: Plan,
}

impl Committer<'_> {
    /// Takes in `stretches`, fetches what they and `waiting` ask for, and commits all of it.
    async fn drive(
        &mut self,
        stretches: impl Stream<Item = Result<Planned, RunError>>,
        mut waiting: VecDeque<(PageId, Work)>,
        lease: &Lease,
        stop: &CancellationToken,
    ) -> Result<Walked, RunError> {
        let run = self.run;
        let committer = self;
        let mut stretches = pin!(stretches);
        let mut walking = true;
        let mut walked = Walked::Whole;
        let mut failure = None;
        let mut fetches: JoinSet<Vec<Fetched>> = JoinSet::new();
        let at_once = run.concurrency * run.source.bundle();

        while walking || !waiting.is_empty() || !fetches.is_empty() {
            while fetches.len() < run.concurrency && !waiting.is_empty() {
                let bundle = fetch::next_bundle(run, &mut waiting);
                fetches.spawn(fetch::fetch(run.clone(), bundle));
            }
            let hungry = waiting.len() < at_once && committer.shards.busy_pages() < OPEN_PAGES;
            let has_room = committer.has_room();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(committer.give_up(RunError::Stopped).await),
                () = lease.lost() => return Err(StoreError::LeaseLost.into()),
                Some(done) = through(&mut committer.under_way) => committer.count(done)?,
                Some(done) = fetches.join_next(), if has_room => {
                    for Fetched { page, known, outcome, room } in done.map_err(|_| StoreError::Stopped)? {
                        match outcome {
                            // There is room for what is on its way: end with that.
                            Outcome::Fatal(error @ RunError::Disk(BlobError::Full { .. })) => {
                                waiting.clear();
                                (walking, failure) = (false, failure.or(Some(error)));
                            }
                            Outcome::Fatal(error) => return Err(committer.give_up(error).await),
                            outcome => committer.take(page, known, outcome, room),
                        }
                    }
                }
                stretch = stretches.next(), if walking && hungry && has_room => match stretch {
                    Some(Ok(planned)) => {
                        let can_go_on = matches!(planned.place, Some(Place::Behind(_)));
                        waiting.extend(committer.open_page(planned));
                        if can_go_on && committer.is_at_end_of_slice() {
                            (walking, walked) = (false, Walked::Slice);
                        }
                    }
                    // What is being fetched is still wanted: end the walk, not the work.
                    Some(Err(error)) => (walking, failure) = (false, Some(error)),
                    None => walking = false,
                },
                () = due(committer.deadline), if committer.under_way.is_none() => {}
            }
            committer.commit_if_due().await?;
        }
        committer.flush().await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(walked),
        }
    }
}

/// Gathers outcomes into batches and commits them one after the other.
struct Committer<'a> {
    run: &'a Arc<Run>,
    counts: &'a mut Counts,
    batch: Batch,
    inline_bytes: usize,
    /// Entries that were dealt with since the last commit.
    since_commit: u64,
    /// Room on the disk for them.
    rooms: Vec<Arc<Room>>,
    /// When the batch, as it is, is to be committed at the latest.
    deadline: Option<Instant>,
    under_way: Option<UnderWay>,
    /// How far the pass has come.
    shards: Shards,
    /// Whether anything looks renamed.
    holds_back: bool,
    /// Entries that this run has listed.
    listed: u64,
    /// Whether the pass has listed anything at all.
    listed_something: bool,
    /// What is remembered of left out entries that the walk came across.
    left_out: RoaringTreemap,
    /// The root's identity, until a commit has brought content of it.
    root: Option<String>,
}

/// What the store does with a batch, once it has been handed over.
type UnderWay = AbortOnDropHandle<Result<Committed, StoreError>>;

/// Waits for the commit under way, if there is one.
async fn through(under_way: &mut Option<UnderWay>) -> Option<Result<Committed, StoreError>> {
    let done = under_way.as_mut()?.await;
    *under_way = None;
    Some(done.unwrap_or(Err(StoreError::Stopped)))
}

/// Resolves when a batch has waited long enough; never, while there is none.
async fn due(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl<'a> Committer<'a> {
    /// Entries of a batch, and bytes that it keeps in memory, at which it is committed.
    const ENTRIES: usize = 1000;
    const INLINE_BYTES: usize = 4 * 1024 * 1024;
    /// How long an outcome waits for company.
    const PATIENCE: Duration = Duration::from_secs(1);

    fn new(run: &'a Arc<Run>, counts: &'a mut Counts, root: &RootIdentity) -> Self {
        let is_remembered = run.sync.root_identity == root.0;
        Self {
            run,
            counts,
            batch: Batch::default(),
            inline_bytes: 0,
            since_commit: 0,
            rooms: Vec::new(),
            deadline: None,
            under_way: None,
            shards: Shards::new(&run.starts),
            holds_back: false,
            listed: 0,
            // A checkpoint lies behind something that was listed, see `reached`.
            listed_something: run.goes_on,
            left_out: RoaringTreemap::new(),
            root: if is_remembered { None } else { root.0.clone() },
        }
    }

    /// Takes a planned page in and answers its work.
    fn open_page(&mut self, planned: Planned) -> impl Iterator<Item = (PageId, Work)> + use<> {
        let Planned { shard, place, mut plan } = planned;
        let (page, entries) = (self.shards.next_page(shard), plan.entries());
        self.listed += entries;
        self.listed_something |= entries > 0;
        let bytes = plan.work.iter().map(Work::bytes).sum();
        self.run.observer.found(entries, plan.work.len() as u64, bytes);
        for failure in &plan.failed {
            self.run.observer.failed(failure);
        }
        let tally = self.shards.tally(shard);
        tally.seen.extend(plan.seen);
        tally.drifted.extend(plan.drifted);
        tally.unlisted.extend(plan.unlisted);
        let renamed = self.hold_back(page, plan.renamed, &mut plan.work);
        self.since_commit += plan.passed.discovered();
        self.left_out.extend(plan.left_out.into_iter().filter_map(|key| u64::try_from(key).ok()));
        self.batch.passed.add(&plan.passed);
        self.batch.waiting.extend(plan.waiting);
        self.batch.failed.extend(plan.failed);
        let missing = plan.work.len();
        self.shards.open(page, OpenPage { entries, missing, renamed, place });
        self.touch();
        plan.work.into_iter().map(move |work| (page, work))
    }

    /// Holds back what may be renamed, but for entries whose other name was listed already: those go
    /// to `work`. Answers how many.
    fn hold_back(&mut self, page: PageId, renamed: Vec<Renamed>, work: &mut Vec<Work>) -> usize {
        let before = self.batch.held_back.len();
        for Renamed { work: new, row } in renamed {
            if self.shards.have_found(u64::try_from(row).unwrap_or_default()) {
                work.push(new);
            } else {
                let Work { id, path, fingerprint, .. } = new;
                let held = HeldBack { page: page.into(), row, id, path, fingerprint };
                self.batch.held_back.push(held);
            }
        }
        let count = self.batch.held_back.len() - before;
        self.holds_back |= count > 0;
        count
    }

    /// Takes up what was held back, now that it is known what is to be done about it.
    fn take_up(&mut self, held_back: Vec<(PageId, Work)>) -> VecDeque<(PageId, Work)> {
        let bytes = held_back.iter().map(|(_, work)| work.bytes()).sum();
        self.run.observer.found(0, held_back.len() as u64, bytes);
        held_back.iter().for_each(|(page, _)| self.shards.is_taken_up(*page));
        held_back.into()
    }

    fn is_at_end_of_slice(&self) -> bool {
        self.run.options.slice.is_some_and(|most| self.listed >= most)
    }

    /// Takes the outcome of an entry of a page in; `known` is the key of its row.
    fn take(
        &mut self,
        page: PageId,
        known: Option<u64>,
        outcome: Outcome,
        room: Option<Arc<Room>>,
    ) {
        self.rooms.extend(room);
        match outcome {
            Outcome::Taken(taken) => self.take_bytes(*taken),
            Outcome::Filtered => {
                self.batch.passed.filtered += 1;
                self.shards.tally_of(page).drifted.extend(known);
            }
            Outcome::LeftOut(entry) => {
                self.batch.left_out.push(entry);
                self.shards.tally_of(page).drifted.extend(known);
            }
            Outcome::Rejudged(rejudged) => self.batch.rejudged.push(*rejudged),
            Outcome::Renamed(moved) => {
                if let Some(failure) = &moved.failure {
                    self.run.observer.failed(failure);
                }
                self.batch.moved.push(*moved);
            }
            Outcome::Failed(failure) => {
                self.run.observer.failed(&failure);
                self.shards.tally_of(page).seen.extend(known);
                self.batch.failed.push(failure);
            }
            // As if it had not been listed: what the bucket has of it is gone from the source.
            Outcome::Vanished | Outcome::Fatal(_) => {}
        }
        self.shards.dealt_with(page);
        self.since_commit += 1;
        self.touch();
    }

    fn take_bytes(&mut self, taken: Taken) {
        self.inline_bytes += taken.inline_bytes();
        self.batch.taken.push(taken);
    }

    /// After anything that has changed the batch.
    fn touch(&mut self) {
        self.shards.close_pages();
        self.deadline.get_or_insert_with(|| Instant::now() + Self::PATIENCE);
    }

    fn is_full(&self) -> bool {
        self.since_commit >= self.run.sync.options.pace.checkpoint_every()
            || self.batch.len() >= Self::ENTRIES
            || self.inline_bytes >= Self::INLINE_BYTES
    }

    /// Whether the batch can take more; if not, the one before has to be through first.
    fn has_room(&self) -> bool {
        self.under_way.is_none() || !self.is_full()
    }

    /// Commits the batch if it is time and the one before is through.
    async fn commit_if_due(&mut self) -> Result<(), RunError> {
        let late = || self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let is_due = self.under_way.is_none() && (self.is_full() || late());
        if is_due { self.commit().await } else { Ok(()) }
    }

    /// Hands the batch to the store, once the one before is through.
    async fn commit(&mut self) -> Result<(), RunError> {
        self.settle().await?;
        self.deadline = None;
        self.since_commit = 0;
        self.inline_bytes = 0;
        let mut batch = std::mem::take(&mut self.batch);
        batch.reached = self.reached();
        let root = self.root.take_if(|_| !batch.taken.is_empty());
        let (target, now) = (self.run.target, self.run.clock.now());
        let (store, blobs) = (self.run.store.clone(), self.run.blobs.clone());
        let rooms = std::mem::take(&mut self.rooms);
        let work = async move {
            let committed = store
                .write(move |tx| {
                    if let Some(root) = root {
                        syncs::remember_root(tx, target.fence.sync_key, Some(&root))?;
                    }
                    commit::commit(tx, &target, &batch, |hash| blobs.exists(hash), now)
                })
                .await;
            drop(rooms);
            committed
        };
        self.under_way = Some(AbortOnDropHandle::new(tokio::spawn(work)));
        Ok(())
    }

    /// How far the pass has come with this batch. Nowhere, before it has listed anything: whoever
    /// went on from there would not know of it.
    fn reached(&mut self) -> Vec<Reached> {
        if !self.listed_something {
            return Vec::new();
        }
        self.shards.reached(&self.run.basis)
    }

    /// Waits for the commit under way.
    async fn settle(&mut self) -> Result<(), RunError> {
        match through(&mut self.under_way).await {
            Some(done) => self.count(done),
            None => Ok(()),
        }
    }

    /// Counts what a commit that is through has brought.
    fn count(&mut self, done: Result<Committed, StoreError>) -> Result<(), RunError> {
        let Committed { counts, refused } = done?;
        refused.iter().for_each(|failure| self.run.observer.failed(failure));
        self.counts.add(&counts);
        self.run.observer.committed(self.counts);
        Ok(())
    }

    /// Commits all there is, and waits for it.
    async fn flush(&mut self) -> Result<(), RunError> {
        if self.deadline.is_some() {
            self.commit().await?;
        }
        self.settle().await
    }

    /// Keeps what has arrived, then fails with `error`, which matters more than a failure to keep.
    async fn give_up(&mut self, error: RunError) -> RunError {
        if let Err(also) = self.flush().await {
            tracing::warn!(error = %also, "could not keep the last of what had arrived");
        }
        error
    }
}
