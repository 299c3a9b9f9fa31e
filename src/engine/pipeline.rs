//! Walk, plan, fetch and commit, all at work together: pages are planned in order, entries are
//! fetched in any order, and what arrives is committed in batches.

use std::{
    collections::{HashSet, VecDeque},
    pin::pin,
    sync::{Arc, atomic::Ordering},
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    RunError,
    commit::{Committer, OpenedPage, PlannedPage},
    context::{Done, Pass, PassKind, Run, Walked},
    expand,
    fetch::{self, Finished, Outcome},
    lease::Lease,
    links::{self, Links},
    plan::{self, Action},
    reconcile::ToLookUp,
    renames::RenameCandidates,
    shards::PageId,
    tree::{self, TreeView},
    walk::{self, WalkedPage},
};
use crate::{
    blobs::BlobError,
    model::EntryId,
    sources::{Listing, Page, RootIdentity, retry},
    store::{
        StoreError,
        folders::Lists,
        unplaced::{self, Unplaced},
    },
};

/// Pages that may be open at once: a slow entry holds back its page, and the checkpoint, but not
/// the other entries.
const OPEN_PAGES: usize = 64;

/// Walks the source to its end, or to the end of this run's slice, or follows its changes. When
/// this returns `Ok`, everything that was listed is committed, and the root has not changed
/// meanwhile.
pub(super) async fn walk_and_commit(
    run: &Arc<Run>,
    root: &RootIdentity,
    lease: &Lease,
    stop: &CancellationToken,
    done: &mut Done,
) -> Result<Pass, RunError> {
    tree::use_access_keys(run).await?;
    if run.kind == PassKind::Full && run.has_order() && !run.is_resumed {
        tree::begin_full_pass(run).await?;
    }
    links::begin(run).await?;
    if run.profile.is_by_id() {
        tree::look_for_several_parents(run).await?;
    }
    let updated_before = run.tree.updated_entries.load(Ordering::Relaxed);
    let again = walk::again_pages(walk::failed_before(run).await?);
    let committer = Committer::new(run, done, root);
    let mut pipeline = Pipeline { committer, lease, stop, links: Links::default() };
    let mut walked = match again.is_empty() {
        true => Walked::Whole,
        false => pipeline.drive_pages(stream::iter(again), Lists::Nothing).await?,
    };
    if walked == Walked::Whole {
        walked = match (run.kind, run.profile.listing) {
            (PassKind::Full, Listing::Flat) => {
                pipeline.drive_pages(walk::pages(run, root), Lists::Nothing).await?
            }
            (PassKind::Full, Listing::ByFolder { .. }) => pipeline.list_folders(Lists::All).await?,
            (PassKind::Changes, _) => Walked::Whole,
        };
    }
    if walked == Walked::Whole && run.has_order() {
        walked = Box::pin(pipeline.replay_and_place()).await?;
    }
    if walked == Walked::Whole && run.profile.looks_up() {
        walked = Box::pin(pipeline.look_up_missing(root)).await?;
    }
    let mut committer = pipeline.committer;
    committer.count_moved(run.tree.updated_entries.load(Ordering::Relaxed) - updated_before);
    walk::check_root_again(run, root).await?;
    // Whether the old names are gone is only known after the later slices.
    let sightings = (walked == Walked::Whole).then(|| committer.sightings());
    if committer.has_rename_candidates() {
        let mut candidates = RenameCandidates::new(run, sightings);
        loop {
            let next = committer.start_candidates(candidates.next().await?);
            if next.is_empty() {
                break;
            }
            drive(&mut committer, stream::empty(), next, lease, stop).await?;
        }
        candidates.delete_all().await?;
    }
    committer.flush().await?;
    Ok(committer.pass(walked))
}

/// A pass of a source at work.
struct Pipeline<'a> {
    committer: Committer<'a>,
    lease: &'a Lease,
    stop: &'a CancellationToken,
    links: Links,
}

impl Pipeline<'_> {
    /// Plans `pages`, carries out what they ask for, and commits all of it.
    async fn drive_pages(
        &mut self,
        pages: impl Stream<Item = Result<WalkedPage, RunError>> + Send,
        lists: Lists,
    ) -> Result<Walked, RunError> {
        let run = self.committer.run();
        let planned = expand::expanded(run, lists, pages).then(move |page| async move {
            let (WalkedPage { shard, mut page, position, placed }, unexpanded) = page?;
            if run.has_order() {
                // Placed entries are those of the rows themselves.
                let is_listed = placed.is_empty();
                match tree::would_move_entries(run, &page).await? {
                    true => run.in_flight.wait_for_all().await,
                    false => run.in_flight.wait_for(&page).await,
                }
                if is_listed {
                    tree::forget_unplaced(run, &page).await?;
                }
                tree::apply(run, shard, &mut page, lists).await?;
            }
            let mut plan = plan::plan(run, shard, page, placed).await?;
            unexpanded.add_to(&mut plan);
            Ok(PlannedPage { shard, position, plan })
        });
        // On the heap: it is part of the future of everything that lists.
        let (lease, stop) = (self.lease, self.stop);
        Box::pin(drive(&mut self.committer, planned, VecDeque::new(), lease, stop)).await
    }

    /// Lists the content of folders until none is left to list.
    async fn list_folders(&mut self, lists: Lists) -> Result<Walked, RunError> {
        let run = self.committer.run();
        while let Some((shard, folders)) = tree::next_to_list(run).await? {
            let pages = walk::children(run, shard, &folders);
            if self.drive_pages(pages, lists).await? == Walked::Slice {
                return Ok(Walked::Slice);
            }
            tree::listed(run, folders).await?;
        }
        Ok(Walked::Whole)
    }

    /// Follows the feeds, and finds a place for what is listed.
    async fn replay_and_place(&mut self) -> Result<Walked, RunError> {
        let run = self.committer.run();
        if run.profile.has_feed {
            for (shard, token) in tree::tokens(run).await?.into_iter().enumerate() {
                let changes = walk::changes(run, shard, token);
                if self.drive_pages(changes, Lists::New).await? == Walked::Slice {
                    return Ok(Walked::Slice);
                }
            }
        }
        if run.profile.is_by_id() { self.find_places().await } else { Ok(Walked::Whole) }
    }

    /// Finds a place for entries whose folders were not known, and for the targets of links.
    async fn find_places(&mut self) -> Result<Walked, RunError> {
        let run = self.committer.run();
        loop {
            if self.list_folders(Lists::New).await? == Walked::Slice {
                return Ok(Walked::Slice);
            }
            let Some(has_placed) = self.place_entries().await? else { return Ok(Walked::Slice) };
            let has_learned = tree::learn_unknown_folders(run).await?;
            if has_placed || has_learned || tree::settle_several_parents(run).await? {
                continue;
            }
            match self.resolve_links().await? {
                None => return Ok(Walked::Slice),
                Some(true) => {}
                Some(false) => break,
            }
        }
        tree::keep_unknown(run).await?;
        Ok(Walked::Whole)
    }

    /// Looks up what would be removed because the listing lacks it: what is still there is where
    /// the source says that it is now, and what is below no root is gone.
    async fn look_up_missing(&mut self, root: &RootIdentity) -> Result<Walked, RunError> {
        let run = self.committer.run();
        let pass = self.committer.pass(Walked::Whole);
        let Some(mut missing) = ToLookUp::of(run, pass).await? else { return Ok(Walked::Whole) };
        // Of a root that is gone, everything is.
        walk::check_root_again(run, root).await?;
        run.tree.is_looking_up.store(true, Ordering::Relaxed);
        while let Some(entries) = missing.next(run).await? {
            for some in entries.chunks(missing.at_once) {
                let ids: Vec<EntryId> = some.iter().map(|entry| entry.id.clone()).collect();
                let mut page = run.source.by_ids(&ids).await?;
                let gone: HashSet<EntryId> =
                    std::mem::take(&mut page.removed).into_iter().collect();
                let gone = some.iter().filter(|entry| gone.contains(&entry.id));
                let keys = gone.filter_map(|entry| u64::try_from(entry.entry_key).ok());
                self.committer.record_absent(keys);
                let pages = stream::iter([Ok(walk::looked_up(page))]);
                if self.drive_pages(pages, Lists::New).await? == Walked::Slice {
                    return Ok(Walked::Slice);
                }
            }
            if self.find_places().await? == Walked::Slice {
                return Ok(Walked::Slice);
            }
        }
        Ok(Walked::Whole)
    }

    /// Asks for the targets of links that are not known to be below a root. Returns whether there
    /// were any, `None` at the end of the run's slice.
    async fn resolve_links(&mut self) -> Result<Option<bool>, RunError> {
        let run = self.committer.run();
        run.tree.is_listed.store(true, Ordering::Relaxed);
        let committer = &self.committer;
        let Some(found) = self.links.next(run, |row| committer.have_found(row)).await? else {
            return Ok(Some(false));
        };
        let pages = stream::iter([Ok(found.page)]);
        if self.drive_pages(pages, Lists::Linked).await? == Walked::Slice {
            return Ok(None);
        }
        links::resolved(run, found.resolved).await?;
        Ok(Some(true))
    }

    /// Plans the entries whose folders are known by now. Returns whether there were any, `None` at
    /// the end of the run's slice.
    async fn place_entries(&mut self) -> Result<Option<bool>, RunError> {
        let run = self.committer.run();
        let (mut after, mut has_placed) = (0, false);
        loop {
            let (sync_key, view) = (run.target.fence.sync_key, TreeView::of(run));
            let waits = run.kind == PassKind::Full;
            let (next, last) = run
                .store
                .read(move |db| {
                    let mut places = view.places(db);
                    unplaced::placeable(db, sync_key, &mut places, waits, after, PLACED_AT_ONCE)
                })
                .await?;
            let Some(last) = last else { return Ok(Some(has_placed)) };
            after = last;
            let mut pages: Vec<WalkedPage> = Vec::new();
            for (key, Unplaced { shard, entry, .. }) in next {
                let shard = run.starts.iter().position(|start| start.shard.name() == shard);
                let shard = shard.unwrap_or_default();
                match pages.last_mut() {
                    Some(page) if page.shard == shard => {
                        page.page.entries.push(entry);
                        page.placed.push(key);
                    }
                    _ => pages.push(WalkedPage {
                        shard,
                        page: Page { entries: vec![entry], ..Page::default() },
                        position: None,
                        placed: vec![key],
                    }),
                }
            }
            has_placed |= !pages.is_empty();
            let pages = stream::iter(pages.into_iter().map(Ok));
            if self.drive_pages(pages, Lists::Nothing).await? == Walked::Slice {
                return Ok(None);
            }
        }
    }
}

/// How many entries without a known folder are looked at together.
const PLACED_AT_ONCE: usize = 1000;

/// Opens `pages`, carries out what they and `waiting` ask for, and commits all of it.
async fn drive(
    committer: &mut Committer<'_>,
    pages: impl Stream<Item = Result<PlannedPage, RunError>>,
    mut waiting: VecDeque<(PageId, Action)>,
    lease: &Lease,
    stop: &CancellationToken,
) -> Result<Walked, RunError> {
    let run = committer.run();
    let mut pages = pin!(pages);
    let mut walking = true;
    let mut walked = Walked::Whole;
    let mut failure = None;
    let mut fetches: JoinSet<Vec<Finished>> = JoinSet::new();
    let at_once = run.concurrency * run.source.bundle();

    while walking || !waiting.is_empty() || !fetches.is_empty() {
        while fetches.len() < run.concurrency && !waiting.is_empty() {
            let bundle = fetch::next_bundle(run, &mut waiting);
            fetches.spawn(retry::inherited(fetch::fetch(run.clone(), bundle)));
        }
        let wants_pages = waiting.len() < at_once && committer.busy_pages() < OPEN_PAGES;
        let has_room = committer.has_room();
        let deadline = committer.commit_deadline();
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(committer.commit_then(RunError::Stopped).await),
            () = lease.lost() => return Err(StoreError::LeaseLost.into()),
            Some(done) = committer.commit_finished() => committer.count(done)?,
            Some(done) = fetches.join_next(), if has_room => {
                let finished = match done {
                    Ok(finished) => finished,
                    Err(error) => {
                        return Err(committer.commit_then(RunError::panicked(error)).await);
                    }
                };
                for Finished { page, id, known, outcome, room } in finished {
                    match outcome {
                        // There is room for what is already being fetched: finish that first.
                        Outcome::Fatal(error @ RunError::Disk(BlobError::Full { .. })) => {
                            waiting.clear();
                            (walking, failure) = (false, failure.or(Some(error)));
                        }
                        Outcome::Fatal(error) => return Err(committer.commit_then(error).await),
                        outcome => committer.record(page, id, known, outcome, room),
                    }
                }
            }
            page = pages.next(), if walking && wants_pages && has_room => match page {
                Some(Ok(page)) => {
                    let OpenedPage { mut actions, is_cut } = committer.open_page(page);
                    waiting.append(&mut actions);
                    if is_cut {
                        (walking, walked) = (false, Walked::Slice);
                    }
                }
                // What is being fetched is still wanted: end the walk, not the fetches.
                Some(Err(error)) => (walking, failure) = (false, Some(error)),
                None => walking = false,
            },
            () = async { match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }} => {}
        }
        let is_idle = waiting.is_empty() && fetches.is_empty();
        committer.commit_if_due(is_idle).await?;
    }
    committer.flush().await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(walked),
    }
}
