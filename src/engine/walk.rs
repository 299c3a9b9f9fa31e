//! Going through the source: is its root the one that it was, and what does it list?

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use roaring::RoaringTreemap;

use super::{RunError, run::Run};
use crate::{
    model::{Entry, EntryId},
    sources::{ErrorClass, Page, RootIdentity, retry::RetryPolicy},
    store::{dead_letters, leases, left_out, syncs},
};

/// Looks at the root before the walk. Where the bucket has content of another root, the run fails
/// here, unless it was told to adopt the new one.
pub(super) async fn check_root(run: &Arc<Run>) -> Result<RootIdentity, RunError> {
    let root = run.source.root().await?;
    let (Some(is), Some(was)) = (&root.0, &run.sync.root_identity) else { return Ok(root) };
    if is != was && !run.options.adopt_root && has_entries(run).await? {
        return Err(RunError::RootChanged {
            place: run.sync.location.to_string(),
            was: was.clone(),
            is: is.clone(),
        });
    }
    Ok(root)
}

/// Looks at the root once more after the walk, or a slice of it: a mount that went away in between
/// has listed less than there is.
pub(super) async fn check_root_again(run: &Arc<Run>, root: &RootIdentity) -> Result<(), RunError> {
    let now = run.source.root().await?;
    if let (Some(is), Some(was)) = (&now.0, &root.0)
        && is != was
    {
        return Err(RunError::RootChanged {
            place: run.sync.location.to_string(),
            was: was.clone(),
            is: is.clone(),
        });
    }
    Ok(())
}

/// A root that lists nothing where it listed something proves nothing.
pub(super) async fn check_not_emptied(
    run: &Arc<Run>,
    listed_something: bool,
) -> Result<(), RunError> {
    if !listed_something && !run.options.adopt_root && has_entries(run).await? {
        return Err(RunError::RootEmptied { place: run.sync.location.to_string() });
    }
    Ok(())
}

/// Forgets entries that were left out and are no longer there, or by other settings than today's.
/// `met` are those that this run came across; a run that went on from another knows not of all.
pub(super) async fn forget_left_out(run: &Arc<Run>, met: RoaringTreemap) -> Result<(), RunError> {
    let (target, is_whole) = (run.target, run.resume.is_none());
    let nothing = run.store.read(move |db| left_out::is_empty(db, target.fence.sync_key)).await?;
    if nothing {
        return Ok(());
    }
    run.store
        .write(move |tx| {
            leases::check(tx, target.fence)?;
            left_out::forget_others(tx, &target, is_whole.then_some(&met))
        })
        .await?;
    Ok(())
}

/// Entries that are given another chance when a pass goes on.
const SECOND_CHANCES: u32 = 10_000;

/// What failed in this pass before it was interrupted, as it is now: it lies behind the checkpoint,
/// and the walk does not come by there again.
pub(super) async fn failed_before(run: &Arc<Run>) -> Result<Option<Page>, RunError> {
    let Some(checkpoint) = &run.resume else { return Ok(None) };
    let (target, now) = (run.target, run.clock.now());
    let failed = run
        .store
        .read(move |db| {
            let sync_key = target.fence.sync_key;
            dead_letters::of_pass(db, sync_key, target.pass, now, SECOND_CHANCES)
        })
        .await?;
    let mut looks =
        stream::iter(failed).map(|id| look_again(run, id)).buffer_unordered(run.concurrency);
    let mut entries = Vec::new();
    while let Some(found) = looks.try_next().await? {
        entries.extend(found);
    }
    let cursor = Some(checkpoint.cursor.clone());
    Ok((!entries.is_empty()).then(|| Page { entries, cursor, unlisted: Vec::new() }))
}

/// An entry as it is now; one that still cannot be looked at keeps its dead letter.
async fn look_again(run: &Run, id: EntryId) -> Result<Option<Entry>, RunError> {
    match RetryPolicy::FETCH.run(|| run.source.stat(&id)).await {
        Ok(entry) => Ok(entry),
        Err(error) if error.class() == ErrorClass::Connection => Err(error.into()),
        Err(_) => Ok(None),
    }
}

async fn has_entries(run: &Arc<Run>) -> Result<bool, RunError> {
    let sync_key = run.target.fence.sync_key;
    Ok(run.store.read(move |db| syncs::has_entries(db, sync_key)).await?)
}
