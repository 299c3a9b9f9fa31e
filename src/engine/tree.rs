//! The tree of folders of a source that knows folders by id: what a page says of it is stored
//! before the page's entries are planned, so that their paths are known.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::{
    RunError,
    context::{PassKind, Run},
};
use crate::{
    model::{EntryId, Folder, FolderId},
    sources::{Listing, Page, RootFolder, SourceError, retry::RetryPolicy},
    store::{
        Connection, StoreError, access_keys, feeds,
        folders::{self, Lists, TreeChange},
        links::{self, LinkListing},
        places::{Placement, Places},
        several_parents, unplaced,
    },
};

/// How many unknown folders are looked at together.
const AT_ONCE: usize = 1000;

/// How many the source is asked for in one call.
const ASKED_AT_ONCE: usize = 100;

/// What a pass goes by to say where folders are.
#[derive(Clone, Debug)]
pub(super) struct TreeView {
    sync_key: i64,
    roots: Vec<RootFolder>,
    /// Only folders count that this pass has listed or asked for.
    pub(super) listed_by: Option<i64>,
    unreadable: Arc<HashSet<FolderId>>,
}

impl TreeView {
    /// That of a run, as of now.
    pub(super) fn of(run: &Run) -> Self {
        let is_looking_up = run.tree.is_looking_up.load(Ordering::Relaxed);
        Self {
            sync_key: run.target.fence.sync_key,
            roots: run.profile.roots.clone(),
            listed_by: is_looking_up.then_some(run.target.pass),
            unreadable: unreadable(run),
        }
    }

    /// Where folders are.
    pub(super) fn places<'a>(&'a self, db: &'a Connection) -> Places<'a> {
        Places::new(db, self.sync_key, &self.roots)
            .listed_by(self.listed_by)
            .with_unreadable(self.unreadable.clone())
    }
}

/// The folders that the source was asked for in vain.
fn unreadable(run: &Run) -> Arc<HashSet<FolderId>> {
    run.tree.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Gives the source the keys that its pages had in earlier runs.
pub(super) async fn use_access_keys(run: &Run) -> Result<(), StoreError> {
    if !run.profile.is_by_id() {
        return Ok(());
    }
    let sync_key = run.target.fence.sync_key;
    let keys = run.store.read(move |db| access_keys::load(db, sync_key)).await?;
    run.source.use_access_keys(keys);
    Ok(())
}

/// Prepares a new full pass: takes the tokens of the feeds, and has the roots listed.
pub(super) async fn begin_full_pass(run: &Arc<Run>) -> Result<(), RunError> {
    let mut tokens = Vec::new();
    if run.profile.has_feed {
        for start in &run.starts {
            let ask = || run.source.feed_token(&start.shard);
            tokens.push((start.shard.clone(), RetryPolicy::LISTING.run(ask).await?));
        }
    }
    let (target, profile) = (run.target, run.profile.clone());
    let first = run.starts.first().map(|start| start.shard.name().to_owned()).unwrap_or_default();
    run.store
        .write(move |tx| {
            for (shard, token) in &tokens {
                feeds::begin_full_pass(tx, &target, shard, token)?;
            }
            let lists_roots = profile.listing != Listing::Flat;
            folders::begin_full_pass(tx, &target, &profile.roots, &first, lists_roots)?;
            links::begin_pass(tx, &target, false)?;
            several_parents::delete_all(tx, &target)?;
            unplaced::delete_all(tx, &target)
        })
        .await?;
    Ok(())
}

/// Looks whether anything is in several folders.
pub(super) async fn look_for_several_parents(run: &Run) -> Result<(), StoreError> {
    let sync_key = run.target.fence.sync_key;
    let has_any = run.store.read(move |db| several_parents::has_any(db, sync_key)).await?;
    run.tree.has_several_parents.store(has_any, Ordering::Relaxed);
    Ok(())
}

/// Where the feed of each shard continues, by the index of the shard.
pub(super) async fn tokens(run: &Arc<Run>) -> Result<Vec<crate::model::Cursor>, RunError> {
    let sync_key = run.target.fence.sync_key;
    let feeds = run.store.read(move |db| feeds::load(db, sync_key)).await?;
    let token = |shard: &str| {
        let feed = feeds.iter().find(|feed| feed.shard == shard)?;
        match run.kind {
            PassKind::Full => feed.pending.clone(),
            PassKind::Changes => feed.token.clone(),
        }
    };
    let missing = || SourceError::FeedExpired { message: "its token is not stored".to_owned() };
    run.starts
        .iter()
        .map(|start| token(start.shard.name()).ok_or_else(|| missing().into()))
        .collect()
}

/// Whether a page renames, moves or removes a folder that is known: the paths of entries below it
/// change, also of those that are being fetched.
pub(super) async fn would_move_entries(run: &Run, page: &Page) -> Result<bool, RunError> {
    if !page.links.is_empty() || (has_links(run) && !page.removed.is_empty()) {
        return Ok(true);
    }
    if page.folders.is_empty() && page.removed.is_empty() {
        return Ok(false);
    }
    let (sync_key, folders) = (run.target.fence.sync_key, page.folders.clone());
    let removed = page.removed.clone();
    Ok(run.store.read(move |db| folders::any_changed(db, sync_key, &folders, &removed)).await?)
}

/// What a page says of entries is newer than what waits for a place.
pub(super) async fn forget_unplaced(run: &Run, page: &Page) -> Result<(), StoreError> {
    if !run.profile.is_by_id() {
        return Ok(());
    }
    let listed = page.entries.iter().map(|entry| &entry.id);
    let ids: Vec<EntryId> = listed.chain(&page.removed).cloned().collect();
    let target = run.target;
    let older = run.store.read(move |db| unplaced::among(db, target.fence.sync_key, &ids)).await?;
    if older.is_empty() {
        return Ok(());
    }
    run.store.write(move |tx| unplaced::forget(tx, &target, &older)).await
}

/// Stores what a page says of the tree, and takes it out of the page.
pub(super) async fn apply(
    run: &Run,
    shard: usize,
    page: &mut Page,
    lists: Lists,
) -> Result<(), RunError> {
    if !page.links.is_empty() {
        run.tree.has_links.store(true, Ordering::Relaxed);
    }
    if !page.several_parents.is_empty() {
        run.tree.has_several_parents.store(true, Ordering::Relaxed);
    }
    let in_one = match run.tree.has_several_parents.load(Ordering::Relaxed) {
        true => in_one_folder(page),
        false => Vec::new(),
    };
    let mut linked = match has_links(run) {
        true => std::mem::take(&mut page.entries),
        false => Vec::new(),
    };
    let says_nothing = page.folders.is_empty()
        && page.removed.is_empty()
        && page.links.is_empty()
        && page.access_keys.is_empty()
        && page.several_parents.is_empty()
        && in_one.is_empty();
    if says_nothing && linked.is_empty() {
        return Ok(());
    }
    let roots = run.profile.roots.clone();
    if let Some(root) = roots.iter().find(|root| page.removed.contains(&root.id)) {
        let message = format!("the folder that is synced ({}) is gone from the source", root.id);
        return Err(SourceError::RootMissing { message }.into());
    }
    let change = TreeChange {
        folders: std::mem::take(&mut page.folders),
        links: std::mem::take(&mut page.links),
        removed: std::mem::take(&mut page.removed),
        several_parents: std::mem::take(&mut page.several_parents),
        may_be_elsewhere: run.profile.asks_for_targets,
        lists,
        is_listing: run.kind == PassKind::Full && !run.tree.is_listed.load(Ordering::Relaxed),
        updates_objects: run.sync.options.reconcile.on_update,
        reevaluates: run.rules.look_at_folders(),
    };
    let keys = std::mem::take(&mut page.access_keys);
    let (target, now, view) = (run.target, run.clock.now(), TreeView::of(run));
    let name = run.starts[shard].shard.name().to_owned();
    let (changed, entries) = run
        .store
        .write(move |tx| {
            several_parents::save(tx, &target, &change.several_parents, &in_one)?;
            let changed = folders::apply(tx, &target, &roots, &name, &change, now)?;
            let listing = LinkListing { waits: change.is_listing, listed_by: view.listed_by };
            links::place(tx, &target, &roots, &mut linked, listing)?;
            access_keys::save(tx, &target, &keys)?;
            Ok::<_, StoreError>((changed, linked))
        })
        .await?;
    page.entries.extend(entries);
    run.tree.updated_entries.fetch_add(changed.updated_entries, Ordering::Relaxed);
    Ok(())
}

/// What a page has that is in one folder or in none.
fn in_one_folder(page: &Page) -> Vec<EntryId> {
    let several: HashSet<&EntryId> = page.several_parents.iter().map(|(id, _)| id).collect();
    let in_one = page.entries.iter().filter(|entry| entry.folders().len() < 2);
    let entries = in_one.map(|entry| &entry.id);
    let all = entries.chain(page.folders.iter().map(|folder| &folder.id)).chain(&page.removed);
    all.filter(|id| !several.contains(id)).cloned().collect()
}

/// How often in a pass places are found anew for what is in several folders: each time some of
/// their folders have moved with the others.
const MOST_ROUNDS: u32 = 100;

/// Gives what is in several folders its place in the first of them that is below a root by now.
/// Returns whether anything has moved.
pub(super) async fn settle_several_parents(run: &Run) -> Result<bool, RunError> {
    let is_over = run.tree.rounds.fetch_add(1, Ordering::Relaxed) >= MOST_ROUNDS;
    if is_over || !run.tree.has_several_parents.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let (target, now, roots) = (run.target, run.clock.now(), run.profile.roots.clone());
    let listed_by = (run.kind == PassKind::Full).then_some(target.pass);
    let change = TreeChange {
        lists: Lists::New,
        updates_objects: run.sync.options.reconcile.on_update,
        reevaluates: run.rules.look_at_folders(),
        ..TreeChange::default()
    };
    let changed = run
        .store
        .write(move |tx| folders::settle(tx, &target, &roots, &change, listed_by, now))
        .await?;
    let Some(changed) = changed else { return Ok(false) };
    run.tree.updated_entries.fetch_add(changed.updated_entries, Ordering::Relaxed);
    Ok(true)
}

/// Whether targets of links may have their places from them.
pub(super) fn has_links(run: &Run) -> bool {
    run.tree.has_links.load(Ordering::Relaxed)
}

/// The next folders whose content has to be listed, with the index of their shard.
pub(super) async fn next_to_list(run: &Run) -> Result<Option<(usize, Vec<FolderId>)>, RunError> {
    let at_once = match run.profile.listing {
        Listing::ByFolder { at_once } => at_once.max(1),
        Listing::Flat => 1,
    };
    let sync_key = run.target.fence.sync_key;
    let next = run.store.read(move |db| folders::to_list(db, sync_key, at_once)).await?;
    Ok(next.map(|(shard, folders)| {
        let index = run.starts.iter().position(|start| start.shard.name() == shard);
        (index.unwrap_or_default(), folders)
    }))
}

/// The content of these folders is listed and committed.
pub(super) async fn listed(run: &Run, folders: Vec<FolderId>) -> Result<(), StoreError> {
    let target = run.target;
    run.store.write(move |tx| folders::listed(tx, &target, &folders)).await
}

/// Asks the source for folders that entries are in and that it has not listed. Returns whether that
/// has returned anything new. In a changes pass only for entries that are stored: what else is in
/// unknown folders is of no interest.
pub(super) async fn learn_unknown_folders(run: &Arc<Run>) -> Result<bool, RunError> {
    let (view, only_stored) = (TreeView::of(run), run.kind == PassKind::Changes);
    let pass = run.target.pass;
    let unknown: HashMap<FolderId, String> = run
        .store
        .read(move |db| {
            let (sync_key, mut places) = (view.sync_key, view.places(db));
            let most = AT_ONCE + view.unreadable.len();
            let outside = folders::above_outside(db, sync_key)?;
            let waited_for = unplaced::parents(db, sync_key, only_stored, most)?;
            let mut unknown = HashMap::new();
            for (shard, parent) in outside.into_iter().chain(waited_for) {
                if let Placement::Unknown(folder) = places.of(&parent)?
                    && !view.unreadable.contains(&folder)
                    && unknown.len() < AT_ONCE
                {
                    unknown.insert(folder, shard);
                }
            }
            if !only_stored {
                // Which folder counts is only known if it is known of all before it.
                let mut places = view.places(db).listed_by(Some(pass));
                for (_, parents) in several_parents::all(db, sync_key)? {
                    if let (_, Placement::Unknown(folder)) = places.of_first(&parents, true)?
                        && !view.unreadable.contains(&folder)
                    {
                        unknown.entry(folder).or_default();
                    }
                }
            }
            Ok::<_, StoreError>(unknown)
        })
        .await?;
    let ids: Vec<FolderId> = unknown.keys().cloned().collect();
    for some in ids.chunks(ASKED_AT_ONCE) {
        let mut found = run.source.folders(some).await?;
        let keys = std::mem::take(&mut found.access_keys);
        let several = std::mem::take(&mut found.several_parents);
        let nowhere = |id| Folder { id, parent: None, name: Vec::new() };
        let folders: Vec<Folder> =
            found.folders.into_iter().chain(found.removed.into_iter().map(nowhere)).collect();
        let known: HashSet<&FolderId> = folders.iter().map(|folder| &folder.id).collect();
        note_unreadable(run, some.iter().filter(|id| !known.contains(id)));
        let mut page = Page { access_keys: keys, ..Page::default() };
        for folder in folders {
            let of = |shard: &&String| run.starts.iter().position(|at| at.shard.name() == *shard);
            let shard = unknown.get(&folder.id).as_ref().and_then(of);
            let is_of = |of: &&(EntryId, Vec<FolderId>)| of.0 == folder.id;
            page.several_parents = several.iter().filter(is_of).cloned().collect();
            page.folders = vec![folder];
            apply(run, shard.unwrap_or_default(), &mut page, Lists::New).await?;
        }
    }
    Ok(!ids.is_empty())
}

/// The source was asked for these folders in vain.
fn note_unreadable<'a>(run: &Run, ids: impl Iterator<Item = &'a FolderId>) {
    let mut unreadable = run.tree.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    for id in ids {
        tracing::warn!(
            folder = %id,
            "a folder that entries are in cannot be read; what is stored of them stays"
        );
        Arc::make_mut(&mut unreadable).insert(id.clone());
    }
}

/// Nothing more is to be learned in this pass: what still waits for a folder is forgotten, and what
/// is stored of it stays, as does what is below a folder that moved to where nobody can look.
pub(super) async fn keep_unknown(run: &Run) -> Result<(), StoreError> {
    let (target, view) = (run.target, TreeView::of(run));
    run.store
        .write(move |tx| {
            if !view.unreadable.is_empty() {
                folders::keep_unknown(tx, &target, &mut view.places(tx))?;
            }
            unplaced::delete_all(tx, &target)
        })
        .await
}
