//! Walking the source: is its root unchanged, and what does it list?

use std::sync::Arc;

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::{RunError, context::Run, same_place, shards::Start};
use crate::{
    sources::{self, Page, RootIdentity},
    store::{checkpoints::Position, leases, syncs},
};

/// The root that a run finds.
pub(super) enum Root {
    /// It is the one that the bucket's content is of, or the first one, or adopted.
    Known(RootIdentity),
    /// It is another one than that of the bucket's content.
    Replaced {
        /// The identity that it had.
        was: String,
        /// The identity that it has.
        is: String,
    },
}

/// Looks at the root before the walk.
pub(super) async fn look_at_root(run: &Arc<Run>) -> Result<Root, RunError> {
    let root = run.root.clone()?;
    let (Some(is), Some(was)) = (&root.0, &run.sync.root_identity) else {
        return Ok(Root::Known(root));
    };
    if is == was || !has_entries(run).await? {
        return Ok(Root::Known(root));
    }
    if run.options.adopt_root || same_place::is_same_place(run).await? {
        let (fence, identity) = (run.target.fence, is.clone());
        run.store
            .write(move |tx| {
                leases::check(tx, fence)?;
                syncs::remember_root(tx, fence.sync_key, Some(&identity))
            })
            .await?;
        return Ok(Root::Known(root));
    }
    Ok(Root::Replaced { was: was.clone(), is: is.clone() })
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

/// The error of a run whose root is another one.
pub(super) fn root_changed(run: &Run, was: &str, is: &str) -> RunError {
    RunError::RootChanged {
        place: sources::address(&run.sync.location),
        was: was.to_owned(),
        is: is.to_owned(),
    }
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

/// The pages of the source, shard by shard, from where this run starts. Must not be polled again
/// after an error.
pub(super) fn pages<'a>(
    run: &'a Arc<Run>,
    root: &'a RootIdentity,
) -> impl Stream<Item = Result<WalkedPage, RunError>> + Send + 'a {
    let last = run.starts.len().saturating_sub(1);
    stream::iter(run.starts.iter().enumerate()).flat_map(move |(shard, start)| {
        // The end of the last shard is the end of the pass, which is recorded after reconciling.
        let is_listed = start.position != Position::End;
        let end = (shard < last && is_listed).then(|| end_of_shard(run, root, shard));
        listing(run, shard, start).chain(stream::iter(end).then(|end| end))
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

async fn has_entries(run: &Arc<Run>) -> Result<bool, RunError> {
    let sync_key = run.target.fence.sync_key;
    Ok(run.store.read(move |db| syncs::has_entries(db, sync_key)).await?)
}
