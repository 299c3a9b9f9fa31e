//! Walk, plan, fetch and commit, all at work together: pages are planned in order, entries are
//! fetched in any order, and what arrives is committed in batches.

use std::{collections::VecDeque, pin::pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    RunError,
    commit::{Committer, OpenedPage, PlannedPage},
    context::{Done, Pass, Run, Walked},
    fetch::{self, Finished, Outcome},
    lease::Lease,
    plan::{self, Action},
    renames::RenameCandidates,
    shards::PageId,
    walk::{self, WalkedPage},
};
use crate::{blobs::BlobError, sources::RootIdentity, store::StoreError};

/// Pages that may be open at once: a slow entry holds back its page, and the checkpoint, but not
/// the other entries.
const OPEN_PAGES: usize = 64;

/// Walks the source to its end, or to the end of this run's slice. When this returns `Ok`,
/// everything that was listed is committed, and the root has not changed meanwhile.
pub(super) async fn walk_and_commit(
    run: &Arc<Run>,
    root: &RootIdentity,
    lease: &Lease,
    stop: &CancellationToken,
    done: &mut Done,
) -> Result<Pass, RunError> {
    let pages = walk::pages(run, root).then(|page| async {
        let WalkedPage { shard, page, position } = page?;
        Ok(PlannedPage { shard, position, plan: plan::plan(run, page).await? })
    });
    let mut committer = Committer::new(run, done, root);
    let walked = drive(&mut committer, pages, VecDeque::new(), lease, stop).await?;
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
    Ok(committer.into_pass(walked))
}

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
            fetches.spawn(fetch::fetch(run.clone(), bundle));
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
                for Finished { page, known, outcome, room } in finished {
                    match outcome {
                        // There is room for what is already being fetched: finish that first.
                        Outcome::Fatal(error @ RunError::Disk(BlobError::Full { .. })) => {
                            waiting.clear();
                            (walking, failure) = (false, failure.or(Some(error)));
                        }
                        Outcome::Fatal(error) => return Err(committer.commit_then(error).await),
                        outcome => committer.record(page, known, outcome, room),
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
        committer.commit_if_due().await?;
    }
    committer.flush().await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(walked),
    }
}
