//! Going through the source: is its root the one that it was, and what does it list?

use std::sync::Arc;

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::{RunError, run::Run, shards::Start};
use crate::{
    model::{Entry, EntryId},
    sources::{ErrorClass, Page, RootIdentity, retry::RetryPolicy},
    store::{checkpoints::Place, dead_letters, syncs},
};

/// Looks at the root before the walk. Where the bucket has content of another root, the run fails
/// here, unless it was told to adopt the new one.
pub(super) async fn check_root(run: &Arc<Run>) -> Result<RootIdentity, RunError> {
    let root = run.root.clone()?;
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

/// Looks at the root once more after the walk, or a part of it: a mount that went away in between
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

/// Entries that are given another chance when a pass goes on.
const SECOND_CHANCES: u32 = 10_000;

/// What failed in this pass before it was interrupted, as it is now, shard by shard: it lies behind
/// the checkpoint, and the walk does not come by there again.
pub(super) async fn failed_before(run: &Arc<Run>) -> Result<Vec<Vec<Entry>>, RunError> {
    let mut by_shard = vec![Vec::new(); run.starts.len()];
    if !run.goes_on {
        return Ok(by_shard);
    }
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
    while let Some(found) = looks.try_next().await? {
        let Some(entry) = found else { continue };
        if let Some(shard) = run.starts.iter().position(|start| start.shard.covers(&entry.path)) {
            by_shard[shard].push(entry);
        }
    }
    Ok(by_shard)
}

/// A stretch of the walk.
pub(super) struct Stretch {
    /// The shard, by its position among the starts of the run.
    pub(super) shard: usize,
    /// What lies there.
    pub(super) page: Page,
    /// Where the shard has come to once that is dealt with; `None`: no further than before.
    pub(super) place: Option<Place>,
}

/// The way through the source, shard by shard: first what failed there before (`again`), then its
/// listing from where this run begins. Not to be followed beyond an error.
pub(super) fn stretches<'a>(
    run: &'a Arc<Run>,
    root: &'a RootIdentity,
    again: Vec<Vec<Entry>>,
) -> impl Stream<Item = Result<Stretch, RunError>> + Send + 'a {
    let last = run.starts.len().saturating_sub(1);
    let shards = run.starts.iter().zip(again).enumerate();
    stream::iter(shards).flat_map(move |(shard, (start, again))| {
        let again = (!again.is_empty()).then(|| {
            let page = Page { entries: again, ..Page::default() };
            Ok(Stretch { shard, page, place: None })
        });
        // The end of the last one is that of the pass, written down once that is settled.
        let is_listed = start.place != Place::End;
        let end = (shard < last && is_listed).then(|| end(run, root, shard));
        stream::iter(again)
            .chain(listing(run, shard, start))
            .chain(stream::iter(end).then(|end| end))
    })
}

fn listing<'a>(
    run: &'a Run,
    shard: usize,
    start: &'a Start,
) -> BoxStream<'a, Result<Stretch, RunError>> {
    let from = match &start.place {
        Place::End => return stream::empty().boxed(),
        Place::Behind(cursor) => Some(cursor.clone()),
        Place::Beginning => None,
    };
    let stretch = move |mut page: Page| {
        let place = page.cursor.take().map_or(Place::Beginning, Place::Behind);
        Stretch { shard, page, place: Some(place) }
    };
    run.source.walk(&start.shard, from).map_ok(stretch).err_into().boxed()
}

/// The end of a shard, provided that it was the root's to its end.
async fn end(run: &Arc<Run>, root: &RootIdentity, shard: usize) -> Result<Stretch, RunError> {
    check_root_again(run, root).await?;
    Ok(Stretch { shard, page: Page::default(), place: Some(Place::End) })
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
