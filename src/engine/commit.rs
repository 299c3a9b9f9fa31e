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

use futures_util::{StreamExt as _, future::OptionFuture, stream};
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
    plan::{self, Plan, Work},
    run::{Pass, Run},
    walk,
};
use crate::{
    blobs::{BlobError, Room},
    model::{Counts, Cursor},
    sources::RootIdentity,
    store::{
        StoreError,
        checkpoints::Tally,
        commit::{self, Batch, Reached, Taken},
        syncs,
    },
};

/// Pages that may be open at once: a slow entry holds its page, and the checkpoint, but not the rest.
const OPEN_PAGES: usize = 64;

/// Goes through the whole source. When this returns `Ok`, everything it listed is committed.
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
    let mut pages = pin!(listing.then(|page| async { plan::plan(run, page?).await }));
    let mut walking = true;
    let mut failure = None;
    let mut waiting: VecDeque<(u64, Work)> = VecDeque::new();
    let mut fetches: JoinSet<Vec<Fetched>> = JoinSet::new();
    let mut committer = Committer::new(run, counts, root);

    while walking || !waiting.is_empty() || !fetches.is_empty() {
        while fetches.len() < run.concurrency && !waiting.is_empty() {
            let bundle = fetch::next_bundle(&mut waiting, run.source.bundle());
            fetches.spawn(fetch::fetch(run.clone(), bundle));
        }
        let hungry = waiting.len() < run.concurrency && committer.pages.len() < OPEN_PAGES;
        tokio::select! {
            biased;
            () = stop.cancelled() => return committer.give_up(RunError::Stopped).await,
            () = lease.lost() => return Err(StoreError::LeaseLost.into()),
            Some(done) = fetches.join_next() => {
                for Fetched { page, known, outcome, room } in done.map_err(|_| StoreError::Stopped)? {
                    match outcome {
                        // There is room for what is on its way: end with that.
                        Outcome::Fatal(error @ RunError::Disk(BlobError::Full { .. })) => {
                            waiting.clear();
                            (walking, failure) = (false, failure.or(Some(error)));
                        }
                        Outcome::Fatal(error) => return committer.give_up(error).await,
                        outcome => committer.take(page, known, outcome, room),
                    }
                }
            }
            page = pages.next(), if walking && hungry => match page {
                Some(Ok(plan)) => {
                    for work in committer.open_page(plan) {
                        waiting.push_back(work);
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
        None => Ok(committer.pass()),
    }
}

/// Gathers outcomes into batches and commits them one after the other.
struct Committer<'a> {
    run: &'a Arc<Run>,
    counts: &'a mut Counts,
    batch: Batch,
    inline_bytes: usize,
    /// Room on the disk for them.
    rooms: Vec<Arc<Room>>,
    /// When the batch, as it is, is to be committed at the latest.
    deadline: Option<Instant>,
    under_way: Option<AbortOnDropHandle<Result<Counts, StoreError>>>,
    tally: Tally,
    /// Pages that are not wholly committed, in the order of the walk.
    pages: BTreeMap<u64, OpenPage>,
    next_page: u64,
    /// The place behind the last page that is dealt with, if that has moved since the last commit.
    reached: Option<Option<Cursor>>,
    listed_something: bool,
    /// What is remembered of left out entries that the walk came across.
    left_out: RoaringTreemap,
    /// The root's identity, until a commit has brought content of it.
    root: Option<String>,
}

struct OpenPage {
    missing: usize,
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
            rooms: Vec::new(),
            deadline: None,
            under_way: None,
            tally: resume.map(|checkpoint| checkpoint.tally.clone()).unwrap_or_default(),
            pages: BTreeMap::new(),
            next_page: 0,
            reached: None,
            // A checkpoint lies behind something that was listed.
            listed_something: resume.is_some(),
            left_out: RoaringTreemap::new(),
            root: if is_remembered { None } else { root.0.clone() },
        }
    }

    /// Takes a planned page in and answers its work.
    fn open_page(&mut self, plan: Plan) -> impl Iterator<Item = (u64, Work)> + use<> {
        let page = self.next_page;
        self.next_page += 1;
        self.listed_something |= plan.entries() > 0;
        let bytes = plan.work.iter().map(Work::bytes).sum();
        self.run.observer.found(plan.entries(), plan.work.len() as u64, bytes);
        for failure in &plan.failed {
            self.run.observer.failed(failure);
        }
        self.tally.seen.extend(plan.seen);
        self.tally.drifted.extend(plan.drifted);
        self.tally.unlisted.extend(plan.unlisted);
        self.left_out.extend(plan.left_out.into_iter().filter_map(|key| u64::try_from(key).ok()));
        self.batch.passed.add(&plan.passed);
        self.batch.failed.extend(plan.failed);
        self.pages.insert(page, OpenPage { missing: plan.work.len(), cursor: plan.cursor });
        self.touch();
        plan.work.into_iter().map(move |work| (page, work))
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
        }
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
        let full = self.batch.len() >= Self::ENTRIES || self.inline_bytes >= Self::INLINE_BYTES;
        let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if full || late { self.commit().await } else { Ok(()) }
    }

    /// Hands the batch to the store, once the one before is through.
    async fn commit(&mut self) -> Result<(), RunError> {
        self.settle().await?;
        self.deadline = None;
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
            self.counts.add(&done.map_err(|_| StoreError::Stopped)??);
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
    async fn give_up(&mut self, error: RunError) -> Result<Pass, RunError> {
        if let Err(also) = self.flush().await {
            tracing::warn!(error = %also, "could not keep the last of what had arrived");
        }
        Err(error)
    }

    fn pass(self) -> Pass {
        Pass { tally: self.tally, listed_something: self.listed_something, left_out: self.left_out }
    }
}
