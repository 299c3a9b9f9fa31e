//! Walking the source: is its root unchanged, and what does it list?

use std::sync::Arc;

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::{
    RunError,
    context::{PassKind, Run},
    same_place,
    shards::Start,
};
use crate::{
    model::{Cursor, Entry, EntryId, FolderId, Patience},
    sources::{self, Page, RootIdentity, retry::RetryPolicy},
    store::{checkpoints::Position, dead_letters, leases, syncs},
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
    let is_adopted = run.options.adopt_root || run.source.is_same_root(was, is);
    if is_adopted || same_place::is_same_place(run).await? {
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
    if run.kind == PassKind::Changes {
        return Ok(());
    }
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

/// How many failed entries that the pass does not list are checked again.
const SECOND_CHANCES: u32 = 10_000;

/// The failed entries that a pass with a change feed does not list (again), as they are now, by
/// shard: a changes pass lists none, a resumed one none before its checkpoint.
pub(super) async fn failed_before(run: &Arc<Run>) -> Result<Vec<Vec<Entry>>, RunError> {
    let mut by_shard = vec![Vec::new(); run.starts.len()];
    let is_changes = run.kind == PassKind::Changes;
    if run.needs_next_pass() || (!run.is_resumed && !is_changes) {
        return Ok(by_shard);
    }
    let (target, now) = (run.target, run.clock.now());
    let patience = Patience::of(&run.options, run.full_since.is_some());
    let at = (patience == Patience::Full).then_some(now);
    let failed = run
        .store
        .read(move |db| {
            let sync_key = target.fence.sync_key;
            // A changes pass does not list what failed before, so everything that is due is asked
            // for.
            let pass = (!is_changes).then_some(target.pass);
            dead_letters::due(db, sync_key, pass, at, SECOND_CHANCES)
        })
        .await?;
    let looks = stream::iter(failed).map(|id| async move { (look_again(run, &id).await, id) });
    let mut looks = looks.buffer_unordered(run.concurrency);
    let mut gone = Vec::new();
    while let Some((found, id)) = looks.next().await {
        match found? {
            Look::Found(entry) => {
                if let Some(shard) = run.source.shard_of(&entry) {
                    by_shard[shard].push(*entry);
                }
            }
            Look::Gone => gone.push(id),
            Look::Failed => {}
        }
    }
    drop(looks);
    if is_changes && !gone.is_empty() {
        run.store
            .write(move |tx| {
                leases::check(tx, target.fence)?;
                dead_letters::resolve_gone(tx, target.fence.sync_key, &gone, now)
            })
            .await?;
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
    /// Keys of the `unplaced_entries` that it consists of.
    pub(super) placed: Vec<i64>,
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

/// The entries that failed before, as pages of their own.
pub(super) fn again_pages(again: Vec<Vec<Entry>>) -> Vec<Result<WalkedPage, RunError>> {
    let page = |(shard, entries): (usize, Vec<Entry>)| {
        let page = Page { entries, ..Page::default() };
        Ok(WalkedPage { shard, page, position: None, placed: Vec::new() })
    };
    again.into_iter().enumerate().filter(|(_, of)| !of.is_empty()).map(page).collect()
}

/// What a source that lists folder after folder has in some folders. Its checkpoint says no more
/// than that the pass has begun: which folders are still to be listed is stored with them.
pub(super) fn children<'a>(
    run: &'a Run,
    shard: usize,
    folders: &[FolderId],
) -> BoxStream<'a, Result<WalkedPage, RunError>> {
    let walked = move |mut page: Page| {
        page.cursor = None;
        let position = Some(Position::Behind(Cursor(b"folders".to_vec())));
        WalkedPage { shard, page, position, placed: Vec::new() }
    };
    run.source.children(&run.starts[shard].shard, folders).map_ok(walked).err_into().boxed()
}

/// What the source says of entries that its listing lacks.
pub(super) fn looked_up(page: Page) -> WalkedPage {
    WalkedPage { shard: 0, page, position: None, placed: Vec::new() }
}

/// What the change feed of a shard reports from a token on.
pub(super) fn changes<'a>(
    run: &'a Run,
    shard: usize,
    from: Cursor,
) -> BoxStream<'a, Result<WalkedPage, RunError>> {
    let is_replay = run.kind == PassKind::Full;
    let walked = move |mut page: Page| {
        let position = page.cursor.take().map(|token| Position::Feed { token, is_replay });
        WalkedPage { shard, page, position, placed: Vec::new() }
    };
    run.source.changes(&run.starts[shard].shard, from).map_ok(walked).err_into().boxed()
}

fn listing<'a>(
    run: &'a Run,
    shard: usize,
    start: &'a Start,
) -> BoxStream<'a, Result<WalkedPage, RunError>> {
    let from = match &start.position {
        Position::End | Position::Feed { .. } => return stream::empty().boxed(),
        Position::Behind(cursor) => Some(cursor.clone()),
        Position::Beginning => None,
    };
    let walked = move |mut page: Page| {
        let position = page.cursor.take().map_or(Position::Beginning, Position::Behind);
        WalkedPage { shard, page, position: Some(position), placed: Vec::new() }
    };
    let pages = match run.is_listed_again {
        true => run.source.walk_again(&start.shard, from),
        false => run.source.walk(&start.shard, from),
    };
    pages.map_ok(walked).err_into().boxed()
}

/// The end of a shard, provided that the root was the same until then.
async fn end_of_shard(
    run: &Arc<Run>,
    root: &RootIdentity,
    shard: usize,
) -> Result<WalkedPage, RunError> {
    check_root_again(run, root).await?;
    let (page, position) = (Page::default(), Some(Position::End));
    Ok(WalkedPage { shard, page, position, placed: Vec::new() })
}

/// What a second look at an entry shows.
enum Look {
    Found(Box<Entry>),
    Gone,
    /// It still cannot be looked at, and keeps its dead letter.
    Failed,
}

async fn look_again(run: &Run, id: &EntryId) -> Result<Look, RunError> {
    match RetryPolicy::FETCH.run(|| run.source.stat(id)).await {
        Ok(Some(entry)) => Ok(Look::Found(Box::new(entry))),
        Ok(None) => Ok(Look::Gone),
        Err(error) if error.class().ends_run() => Err(error.into()),
        Err(_) => Ok(Look::Failed),
    }
}

async fn has_entries(run: &Arc<Run>) -> Result<bool, RunError> {
    let sync_key = run.target.fence.sync_key;
    Ok(run.store.read(move |db| syncs::has_entries(db, sync_key)).await?)
}
