//! Walk, plan and fetch in step, and commit what they bring: many entries a transaction, each with
//! the checkpoint that it carries.
//!
//! Pages are planned in order, entries are fetched in any order, and the checkpoint moves over a
//! page once every entry of it is committed. One transaction is under way at most while the next
//! one fills.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, future::OptionFuture, stream};
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
    moves,
    plan::{self, Plan, Renamed, Work},
    run::{Pass, Run, Walked},
    walk,
};
use crate::{
    blobs::{BlobError, Room},
    model::{Counts, Cursor},
    sources::RootIdentity,
    store::{
        StoreError,
        checkpoints::Tally,
        commit::{self, Batch, Committed, Reached, Taken},
        syncs,
    },
};

/// Pages that may be open at once: a slow entry holds its page, and the checkpoint, but not the rest.
const OPEN_PAGES: usize = 64;

/// Entries that may be held back as renamed ones; more are fetched without asking.
const MOST_RENAMED: usize = 10_000;

/// Goes through the source, to its end or that of this run's slice. When this returns `Ok`,
/// everything it listed is committed, and its root is still the one that it was.
pub(super) async fn go_through(
    run: &Arc<Run>,
    lease: &Lease,
    stop: &CancellationToken,
    counts: &mut Counts,
    root: &RootIdentity,
) -> Result<Pass, RunError> {
    let from = run.resume.as_ref().map(|checkpoint| checkpoint.cursor.clone());
    let before = stream::iter(walk::failed_before(run).await?.map(Ok));
    let listing = before.chain(run.source.walk(from));
    let pages = listing.then(|page| async { plan::plan(run, page?).await });
    let mut committer = Committer::new(run, counts, root);
    let walked = committer.drive(pages, VecDeque::new(), lease, stop).await?;
    walk::check_root_again(run, root).await?;
    let renamed = std::mem::take(&mut committer.renamed);
    let held_back = match walked {
        Walked::Whole => {
            walk::check_not_emptied(run, committer.listed_something).await?;
            moves::settle(run, &committer.tally, renamed).await?
        }
        // Whether the old names are gone shows in later slices.
        Walked::Slice => renamed.into_iter().map(|(page, new)| (page, new.work)).collect(),
    };
    if !held_back.is_empty() {
        let held_back = committer.take_up(held_back);
        committer.drive(stream::empty(), held_back, lease, stop).await?;
    }
    Ok(Pass { tally: committer.tally, walked, left_out: committer.left_out })
}

impl Committer<'_> {
    /// Takes in `pages`, fetches what they and `waiting` ask for, and commits all of it.
    async fn drive(
        &mut self,
        pages: impl Stream<Item = Result<Plan, RunError>>,
        mut waiting: VecDeque<(u64, Work)>,
        lease: &Lease,
        stop: &CancellationToken,
    ) -> Result<Walked, RunError> {
        let run = self.run;
        let committer = self;
        let mut pages = pin!(pages);
        let mut walking = true;
        let mut walked = Walked::Whole;
        let mut failure = None;
        let mut fetches: JoinSet<Vec<Fetched>> = JoinSet::new();

        while walking || !waiting.is_empty() || !fetches.is_empty() {
            while fetches.len() < run.concurrency && !waiting.is_empty() {
                let bundle = fetch::next_bundle(&mut waiting, run.source.bundle());
                fetches.spawn(fetch::fetch(run.clone(), bundle));
            }
            let hungry = waiting.len() < run.concurrency && committer.busy_pages < OPEN_PAGES;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(committer.give_up(RunError::Stopped).await),
                () = lease.lost() => return Err(StoreError::LeaseLost.into()),
                Some(done) = fetches.join_next() => {
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
                page = pages.next(), if walking && hungry => match page {
                    Some(Ok(plan)) => {
                        let can_go_on = plan.cursor.is_some();
                        waiting.extend(committer.open_page(plan));
                        if can_go_on && committer.is_at_end_of_slice() {
                            (walking, walked) = (false, Walked::Slice);
                        }
                    }
                    // What is being fetched is still wanted: end the walk, not the work.
                    Some(Err(error)) => (walking, failure) = (false, Some(error)),
                    None => walking = false,
                },
                () = committer.due() => {}
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
    under_way: Option<AbortOnDropHandle<Result<Committed, StoreError>>>,
    tally: Tally,
    /// Pages that are not wholly committed, in the order of the walk.
    pages: BTreeMap<u64, OpenPage>,
    next_page: u64,
    /// Pages that wait for fetches.
    busy_pages: usize,
    /// What looks renamed, with its page.
    renamed: Vec<(u64, Renamed)>,
    /// Entries that this run has listed.
    listed: u64,
    /// The place behind the last page that is dealt with, if that has moved since the last commit.
    reached: Option<Option<Cursor>>,
    listed_something: bool,
    /// What is remembered of left out entries that the walk came across.
    left_out: RoaringTreemap,
    /// The root's identity, until a commit has brought content of it.
    root: Option<String>,
}

struct OpenPage {
    /// Entries that are being fetched.
    missing: usize,
    /// Entries that may be renamed ones.
    renamed: usize,
    cursor: Option<Cursor>,
}

impl<'a> Committer<'a> {
    /// Entries of a batch, and bytes that it keeps in memory, at which it is committed.
    const ENTRIES: usize = 1000;
    const INLINE_BYTES: usize = 4 * 1024 * 1024;
    /// How long an outcome waits for company.
    const PATIENCE: Duration = Duration::from_secs(1);

    fn new(run: &'a Arc<Run>, counts: &'a mut Counts, root: &RootIdentity) -> Self {
        let resume = run.resume.as_ref();
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
            tally: resume.map(|checkpoint| checkpoint.tally.clone()).unwrap_or_default(),
            pages: BTreeMap::new(),
            next_page: 0,
            busy_pages: 0,
            renamed: Vec::new(),
            listed: 0,
            reached: None,
            // A checkpoint lies behind something that was listed.
            listed_something: resume.is_some(),
            left_out: RoaringTreemap::new(),
            root: if is_remembered { None } else { root.0.clone() },
        }
    }

    /// Takes a planned page in and answers its work.
    fn open_page(&mut self, mut plan: Plan) -> impl Iterator<Item = (u64, Work)> + use<> {
        let page = self.next_page;
        self.next_page += 1;
        self.listed += plan.entries();
        self.listed_something |= plan.entries() > 0;
        let bytes = plan.work.iter().map(Work::bytes).sum();
        self.run.observer.found(plan.entries(), plan.work.len() as u64, bytes);
        for failure in &plan.failed {
            self.run.observer.failed(failure);
        }
        self.tally.seen.extend(plan.seen);
        self.tally.drifted.extend(plan.drifted);
        self.tally.unlisted.extend(plan.unlisted);
        let renamed = self.hold_back(page, plan.renamed, &mut plan.work);
        self.since_commit += plan.passed.discovered();
        self.left_out.extend(plan.left_out.into_iter().filter_map(|key| u64::try_from(key).ok()));
        self.batch.passed.add(&plan.passed);
        self.batch.waiting.extend(plan.waiting);
        self.batch.failed.extend(plan.failed);
        let missing = plan.work.len();
        self.busy_pages += usize::from(missing > 0);
        self.pages.insert(page, OpenPage { missing, renamed, cursor: plan.cursor });
        self.touch();
        plan.work.into_iter().map(move |work| (page, work))
    }

    /// Holds back what may be renamed, but for entries whose other name was listed already: those go
    /// to `work`. Answers how many.
    fn hold_back(&mut self, page: u64, renamed: Vec<Renamed>, work: &mut Vec<Work>) -> usize {
        let before = self.renamed.len();
        for new in renamed {
            let row = u64::try_from(new.row).unwrap_or_default();
            let is_there = self.tally.seen.contains(row) || self.tally.drifted.contains(row);
            if is_there || self.renamed.len() >= MOST_RENAMED {
                work.push(new.work);
            } else {
                self.renamed.push((page, new));
            }
        }
        self.renamed.len() - before
    }

    /// Takes up what was held back, now that it is known what is to be done about it.
    fn take_up(&mut self, held_back: Vec<(u64, Work)>) -> VecDeque<(u64, Work)> {
        let bytes = held_back.iter().map(|(_, work)| work.bytes()).sum();
        self.run.observer.found(0, held_back.len() as u64, bytes);
        for (page, _) in &held_back {
            if let Some(open) = self.pages.get_mut(page) {
                open.renamed -= 1;
                self.busy_pages += usize::from(open.missing == 0);
                open.missing += 1;
            }
        }
        held_back.into()
    }

    fn is_at_end_of_slice(&self) -> bool {
        self.run.options.slice.is_some_and(|most| self.listed >= most)
    }

    /// Takes the outcome of an entry of a page in; `known` is the key of its row.
    fn take(&mut self, page: u64, known: Option<u64>, outcome: Outcome, room: Option<Arc<Room>>) {
        self.rooms.extend(room);
        match outcome {
            Outcome::Taken(taken) => self.take_bytes(*taken),
            Outcome::Filtered => {
                self.batch.passed.filtered += 1;
                self.tally.drifted.extend(known);
            }
            Outcome::LeftOut(entry) => {
                self.batch.left_out.push(entry);
                self.tally.drifted.extend(known);
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
                self.tally.seen.extend(known);
                self.batch.failed.push(failure);
            }
            // As if it had not been listed: what the bucket has of it is gone from the source.
            Outcome::Vanished | Outcome::Fatal(_) => {}
        }
        if let Some(open) = self.pages.get_mut(&page) {
            open.missing -= 1;
            self.busy_pages -= usize::from(open.missing == 0);
        }
        self.since_commit += 1;
        self.touch();
    }

    fn take_bytes(&mut self, taken: Taken) {
        self.inline_bytes += taken.inline_bytes();
        self.batch.taken.push(taken);
    }

    /// After anything that has changed the batch.
    fn touch(&mut self) {
        self.close_pages();
        self.deadline.get_or_insert_with(|| Instant::now() + Self::PATIENCE);
    }

    /// Resolves when the batch has waited long enough; never, while there is none.
    async fn due(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    async fn commit_if_due(&mut self) -> Result<(), RunError> {
        let full = self.since_commit >= self.run.sync.options.pace.checkpoint_every()
            || self.batch.len() >= Self::ENTRIES
            || self.inline_bytes >= Self::INLINE_BYTES;
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if full || late { self.commit().await } else { Ok(()) }
    }

    /// Hands the batch to the store, once the one before is through.
    async fn commit(&mut self) -> Result<(), RunError> {
        self.settle().await?;
        self.deadline = None;
        self.since_commit = 0;
        self.inline_bytes = 0;
        let mut batch = std::mem::take(&mut self.batch);
        batch.checkpoint = self.reached();
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

    /// Closes the pages at the front that are dealt with.
    fn close_pages(&mut self) {
        while let Some(first) = self.pages.first_entry()
            && first.get().missing == 0
            && first.get().renamed == 0
        {
            self.reached = Some(first.remove().cursor);
        }
    }

    /// How far the pass has come with this batch, if that is further than before.
    fn reached(&mut self) -> Option<Reached> {
        Some(match self.reached.take()? {
            Some(cursor) => Reached::Cursor(cursor, self.tally.clone()),
            None => Reached::Nowhere,
        })
    }

    /// Waits for the commit under way.
    async fn settle(&mut self) -> Result<(), RunError> {
        let done = OptionFuture::from(self.under_way.take()).await;
        if let Some(done) = done {
            let Committed { counts, refused } = done.map_err(|_| StoreError::Stopped)??;
            refused.iter().for_each(|failure| self.run.observer.failed(failure));
            self.counts.add(&counts);
            self.run.observer.committed(self.counts);
        }
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
