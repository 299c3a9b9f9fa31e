//! Walking the source: is its root unchanged, and what does it list?

use std::sync::Arc;

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::{RunError, context::Run, shards::Start};
use crate::{
    model::{Entry, EntryId},
    sources::{self, Page, RootIdentity, retry::RetryPolicy},
    store::{checkpoints::Position, dead_letters, syncs},
};

/// Checks the root before the walk. If the bucket has content of another root, the run fails here,
/// unless it was told to adopt the new one.
pub(super) async fn check_root(run: &Arc<Run>) -> Result<RootIdentity, RunError> {
    let root = run.root.clone()?;
    let (Some(is), Some(was)) = (&root.0, &run.sync.root_identity) else { return Ok(root) };
    if is != was && !run.options.adopt_root && has_entries(run).await? {
        return Err(root_changed(run, was, is));
    }
    Ok(root)
}

/// Checks the root once more after the walk, or part of it: a mount that went away in between has
/// listed less than there is.
pub(super) async fn check_root_again(run: &Arc<Run>, root: &RootIdentity) -> Result<(), RunError> {
    let now = run.source.root().await?;
    match (&now.0, &root.0) {
        (Some(is), Some(was)) if is != was => Err(root_changed(run, was, is)),
        _ => Ok(()),
    }
}

fn root_changed(run: &Run, was: &str, is: &str) -> RunError {
    RunError::RootChanged {
        place: sources::address(&run.sync.location),
        was: was.to_owned(),
        is: is.to_owned(),
    }
}

/// A root that lists nothing, but did before, proves nothing.
pub(super) async fn check_not_emptied(
    run: &Arc<Run>,
    listed_something: bool,
) -> Result<(), RunError> {
    if !listed_something && !run.options.adopt_root && has_entries(run).await? {
        return Err(RunError::RootEmptied { place: sources::address(&run.sync.location) });
    }
    Ok(())
}

/// How many failed entries are looked at again when a pass is resumed.
const SECOND_CHANCES: u32 = 10_000;

/// The entries that failed in this pass before it was interrupted, as they are now, by shard: they
/// lie before the checkpoint, so the walk does not list them again.
pub(super) async fn failed_before(run: &Arc<Run>) -> Result<Vec<Vec<Entry>>, RunError> {
    let mut by_shard = vec![Vec::new(); run.starts.len()];
    if !run.is_resumed {
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

/// A page of the walk.
pub(super) struct WalkedPage {
    /// The shard, by its index among the starts of the run.
    pub(super) shard: usize,
    /// What is listed there.
    pub(super) page: Page,
    /// Where the shard's listing continues behind it; `None`: where it did before.
    pub(super) position: Option<Position>,
}

/// The pages of the source, shard by shard: first what failed there before (`again`), then its
/// listing from where this run starts. Must not be polled again after an error.
pub(super) fn pages<'a>(
    run: &'a Arc<Run>,
    root: &'a RootIdentity,
    again: Vec<Vec<Entry>>,
) -> impl Stream<Item = Result<WalkedPage, RunError>> + Send + 'a {
    let last = run.starts.len().saturating_sub(1);
    let shards = run.starts.iter().zip(again).enumerate();
    stream::iter(shards).flat_map(move |(shard, (start, again))| {
        let again = (!again.is_empty()).then(|| {
            let page = Page { entries: again, ..Page::default() };
            Ok(WalkedPage { shard, page, position: None })
        });
        // The end of the last shard is the end of the pass, which is recorded after reconciling.
        let is_listed = start.position != Position::End;
        let end = (shard < last && is_listed).then(|| end_of_shard(run, root, shard));
        stream::iter(again)
            .chain(listing(run, shard, start))
            .chain(stream::iter(end).then(|end| end))
    })
}

fn listing<'a>(
    run: &'a Run,
    shard: usize,
    start: &'a Start,
) -> BoxStream<'a, Result<WalkedPage, RunError>> {
    let from = match &start.position {
        Position::End => return stream::empty().boxed(),
        Position::Behind(cursor) => Some(cursor.clone()),
        Position::Beginning => None,
    };
    let walked = move |mut page: Page| {
        let position = page.cursor.take().map_or(Position::Beginning, Position::Behind);
        WalkedPage { shard, page, position: Some(position) }
    };
    run.source.walk(&start.shard, from).map_ok(walked).err_into().boxed()
}

/// The end of a shard, provided that the root was the same until then.
async fn end_of_shard(
    run: &Arc<Run>,
    root: &RootIdentity,
    shard: usize,
) -> Result<WalkedPage, RunError> {
    check_root_again(run, root).await?;
    Ok(WalkedPage { shard, page: Page::default(), position: Some(Position::End) })
}

/// An entry as it is now; one that still cannot be looked at keeps its dead letter.
async fn look_again(run: &Run, id: EntryId) -> Result<Option<Entry>, RunError> {
    match RetryPolicy::FETCH.run(|| run.source.stat(&id)).await {
        Ok(entry) => Ok(entry),
        Err(error) if error.class().ends_run() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

async fn has_entries(run: &Arc<Run>) -> Result<bool, RunError> {
    let sync_key = run.target.fence.sync_key;
    Ok(run.store.read(move |db| syncs::has_entries(db, sync_key)).await?)
}
