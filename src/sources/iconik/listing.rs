//! Listing a library: its collections as folders, and what a search or the changes return for them.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, PoisonError},
};

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use serde_json::Value;

use super::{
    asset::Asset,
    feed::{Token, Window, after_cursor, later},
    search::{PAGE, Paging, Query},
    source::{CONCURRENCY, EVERYTHING, Library, NOWHERE, Root, WAY},
    source_path::is_id,
    tree::{Collection, Tree},
};
use crate::{
    model::{EntryPath, Folder, FolderId, Identity, Shard},
    sources::{Page, Source as _, SourceError},
};

/// How often a listing begins anew because the place where it continues is refused.
const RESTARTS: usize = 3;

/// How far a pass of changes has come.
#[derive(Default)]
pub(super) struct Changes {
    /// The token behind the last page.
    token: Token,
    /// The date that the search begins at.
    from: Option<String>,
    paging: Paging,
    first: Option<Window>,
    restarts: usize,
    is_end: bool,
}

impl Library {
    /// The folders that a collection is, to the engine's tree. Where `collection_ids` select some,
    /// only those are below the root, at the end of a way of folders that have no assets of their
    /// own: what else is in the collections on the way is not synced.
    pub(super) fn folders(&self, collection: &Collection) -> Vec<Folder> {
        let folder = |id: &str, parent: Option<String>| Folder {
            id: EntryPath::new(id.as_bytes()),
            parent: parent.map(|parent| EntryPath::new(parent.into_bytes())),
            name: collection.name().as_bytes().to_vec(),
        };
        let (id, parent) = (collection.id.as_str(), collection.parent());
        let is_everything = self.root == Root::Everything;
        let top = is_everything.then(|| EVERYTHING.to_owned());
        if self.scope.collections.is_empty() {
            return vec![folder(id, parent.map(str::to_owned).or(top))];
        }
        let on_way = match parent {
            Some(parent) if parent == self.root_id() => Some(parent.to_owned()),
            Some(parent) => Some(format!("{WAY}{parent}")),
            None => top,
        };
        let own = match self.is_selected(id) {
            true => on_way.clone(),
            false => parent.map(str::to_owned),
        };
        vec![folder(id, own), folder(&format!("{WAY}{id}"), on_way)]
    }

    /// The folders that an asset is in.
    pub(super) fn places(&self, asset: &Asset) -> Vec<FolderId> {
        let places: Vec<FolderId> =
            asset.in_collections.iter().map(|id| EntryPath::new(id.as_bytes())).collect();
        if !places.is_empty() {
            return places;
        }
        let is_all = self.root == Root::Everything && self.scope.collections.is_empty();
        vec![EntryPath::new(if is_all { EVERYTHING } else { NOWHERE })]
    }

    /// The first of `collection_ids` that an asset is in, directly or below.
    pub(super) fn first_selected(&self, tree: &Tree, asset: &Asset) -> Option<&str> {
        let is_in =
            |selected: &&String| asset.in_collections.iter().any(|id| tree.is_below(id, selected));
        self.scope.collections.iter().find(is_in).map(String::as_str)
    }

    /// Whether an asset is in what is synced.
    pub(super) fn is_inside(&self, tree: &Tree, asset: &Asset) -> bool {
        let is_below = |root: &str| asset.in_collections.iter().any(|id| tree.is_below(id, root));
        let in_root = match &self.root {
            Root::Everything => true,
            Root::Collection(root) => is_below(root),
        };
        let selected = &self.scope.collections;
        in_root && (selected.is_empty() || selected.iter().any(|id| is_below(id)))
    }

    pub(super) fn needs_tree(&self) -> bool {
        self.root != Root::Everything || !self.scope.collections.is_empty()
    }

    /// The search for all assets of a shard.
    pub(super) async fn query(&self, shard: &Shard) -> Result<Query, SourceError> {
        let collections = match (self.is_selected(shard.name()), &self.root) {
            (true, _) => self.tree().await?.nested(shard.name()),
            (false, Root::Collection(root)) => {
                // A collection that is gone is no empty one.
                self.root().await?;
                self.tree().await?.nested(root)
            }
            (false, Root::Everything) => Vec::new(),
        };
        Ok(self.query_in(collections))
    }

    pub(super) fn query_in(&self, collections: Vec<String>) -> Query {
        let (media_types, view) = (self.scope.media_types.clone(), self.scope.view.clone());
        Query { collections, media_types, from: None, view }
    }

    /// What assets are to a sync.
    pub(super) fn page(&self, assets: Vec<Asset>, is_wanted: impl Fn(&Asset) -> bool) -> Page {
        let mut page = Page::default();
        let mut listed = HashMap::with_capacity(assets.len());
        for asset in assets {
            let id = asset.entry_id();
            if !asset.is_entry() || listed.contains_key(&id) {
                continue;
            }
            if asset.is_deleted() {
                page.removed.push(id);
                continue;
            }
            if is_wanted(&asset) {
                page.outlines.push(asset.outline(self.places(&asset)));
                listed.insert(id, Arc::new(asset));
            }
        }
        let mut kept = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        kept.before = mem::replace(&mut kept.now, listed);
        page
    }

    /// Whether an asset is one of those that are wanted: of one of the media, and, as far as the
    /// tree shows, in this shard and in no earlier one.
    pub(super) fn belongs(&self, shard: Option<(&Tree, &Shard)>, asset: &Asset) -> bool {
        let is_of = |wanted: &String| asset.media_type().is_some_and(|of| of == wanted);
        let media_types = &self.scope.media_types;
        if !media_types.is_empty() && !media_types.iter().any(is_of) {
            return false;
        }
        let Some((tree, shard)) = shard else { return true };
        let first = self.first_selected(tree, asset);
        let is_of_shard = !self.is_selected(shard.name()) || first == Some(shard.name());
        is_of_shard && self.is_inside(tree, asset)
    }

    /// The folders of the tree, as pages.
    pub(super) async fn folder_pages(&self) -> Result<Vec<Page>, SourceError> {
        let tree = self.tree().await?;
        let folders: Vec<Folder> = tree.all().flat_map(|of| self.folders(of)).collect();
        let page = |folders: &[Folder]| Page { folders: folders.to_vec(), ..Page::default() };
        Ok(folders.chunks(PAGE).map(page).collect())
    }

    pub(super) fn note_newest(&self, newest: Option<String>) {
        let mut walked = self.walked();
        walked.newest = later(walked.newest.take(), newest);
    }

    /// The pages of the search for a shard, from `after` on.
    pub(super) fn pages(
        &self,
        shard: Shard,
        after: Option<Vec<Value>>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let start = Some((Paging::behind(after), 0));
        stream::try_unfold(start, move |at| {
            let shard = shard.clone();
            async move {
                let Some((mut paging, restarts)) = at else { return Ok(None) };
                let query = self.query(&shard).await?;
                let found = match self.api.search(&query, paging.after.as_deref(), PAGE).await {
                    Err(SourceError::FeedExpired { message }) => {
                        if restarts == RESTARTS {
                            return Err(SourceError::Garbled { message });
                        }
                        let again = Some((Paging::default(), restarts + 1));
                        return Ok(Some((Page::default(), again)));
                    }
                    found => found?,
                };
                self.note_newest(newest(&found.assets));
                let goes_on = found.goes_on(&mut paging);
                let tree = match self.needs_tree() {
                    true => Some((self.tree().await?, &shard)),
                    false => None,
                };
                let mut page = self.page(found.assets, |asset| self.belongs(tree, asset));
                page.cursor = paging.after.as_deref().filter(|_| goes_on).map(after_cursor);
                self.walked().is_done |= !goes_on;
                Ok(Some((page, goes_on.then_some((paging, restarts)))))
            }
        })
        .boxed()
    }

    /// Assets whose files were arriving when they were looked at last.
    pub(super) async fn again(&self, ids: &[String]) -> Result<Vec<Asset>, SourceError> {
        let ids: Vec<String> = ids.iter().filter(|id| is_id(id)).cloned().collect();
        let asks = stream::iter(ids).map(|id| async move { self.asset(&id).await });
        let found: Vec<Option<Asset>> = asks.buffered(CONCURRENCY).try_collect().await?;
        let found: Vec<Asset> = found.into_iter().flatten().collect();
        self.walked().arriving = found.iter().map(|asset| asset.id.clone()).collect();
        Ok(found)
    }

    /// Changes from a token on.
    pub(super) fn changes_from(&self, token: Token) -> BoxStream<'_, Result<Page, SourceError>> {
        let from = token.from();
        let start = Changes { token, from, ..Changes::default() };
        stream::try_unfold(Some(start), move |at| async move {
            let Some(mut at) = at else { return Ok(None) };
            if !at.is_end {
                let page = self.changed(&mut at).await?;
                return Ok(Some((page, Some(at))));
            }
            // What turned out to be arriving meanwhile is looked at in the next pass.
            let arriving = self.walked().arriving.clone();
            if arriving == at.token.arriving {
                return Ok(None);
            }
            at.token.arriving = arriving;
            let page = Page { cursor: Some(at.token.cursor()), ..Page::default() };
            Ok(Some((page, None)))
        })
        .boxed()
    }

    /// The next page of changes.
    pub(super) async fn changed(&self, at: &mut Changes) -> Result<Page, SourceError> {
        let is_first = at.paging.after.is_none();
        let query = Query { from: at.from.clone(), ..self.query_in(Vec::new()) };
        let found = match self.api.search(&query, at.paging.after.as_deref(), PAGE).await {
            Err(SourceError::FeedExpired { .. }) if at.restarts < RESTARTS => {
                (at.paging, at.restarts) = (Paging::default(), at.restarts + 1);
                return Ok(Page::default());
            }
            found => found?,
        };
        let mut goes_on = found.goes_on(&mut at.paging);
        let window = found
            .total
            .filter(|_| is_first && goes_on)
            .map(|total| Window { total, digest: digest(&found.assets) });
        let is_as_before = window.is_some() && window == at.token.window;
        if is_first {
            at.first = window;
        }
        at.token.since = later(at.token.since.take(), newest(&found.assets));
        let mut assets = found.assets;
        if is_as_before {
            (assets, goes_on) = (Vec::new(), false);
        }
        if is_first {
            assets.extend(self.again(&at.token.arriving).await?);
        }
        at.is_end = !goes_on;
        let is_same_window = at.is_end && at.token.from() == at.from;
        at.token.window = at.first.clone().filter(|_| is_same_window);
        at.token.arriving.clone_from(&self.walked().arriving);
        let page = self.page(assets, |asset| self.belongs(None, asset));
        Ok(Page { cursor: Some(at.token.cursor()), ..page })
    }
}

/// The newest date of a page's assets.
fn newest(assets: &[Asset]) -> Option<String> {
    assets.iter().map(|asset| asset.date_modified.clone()).fold(None, later)
}

/// Changes with any asset of a page.
fn digest(assets: &[Asset]) -> i64 {
    let outlines = assets.iter().map(|asset| asset.outline(Vec::new()));
    let mut all = Vec::new();
    for outline in outlines {
        all.extend_from_slice(outline.id.as_bytes());
        all.push(0);
        all.extend_from_slice(&outline.version.0);
        all.push(0);
        all.extend_from_slice(&outline.facts_mark.to_le_bytes());
    }
    Identity::of(&[&all]).0
}
