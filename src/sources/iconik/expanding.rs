//! Assets one by one: as they are now, and what files they consist of.

use std::sync::{Arc, PoisonError};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    asset::{Asset, File, FileSelection, Format, NamedPart, Proxy, Whole, needs_formats},
    feed::MOST_ARRIVING,
    refusal::About,
    source::{Library, NOWHERE, Objects, Root, ids},
};
use crate::{
    model::{Entry, EntryId, EntryKind, EntryPath},
    sources::{Placed, SourceError},
};

/// Files of a page.
const FILES: usize = 1000;

#[derive(Deserialize)]
struct ViewValues {
    metadata_values: Option<Map<String, Value>>,
}

impl Library {
    /// The asset of an entry as it is now; `None` when it is gone.
    pub(super) async fn asset(&self, id: &str) -> Result<Option<Asset>, SourceError> {
        let path = format!("/API/assets/v1/assets/{id}/");
        let mut asset: Asset = match self.api.get(&path, &[], About::Item).await {
            Err(SourceError::NotFound { .. }) => return Ok(None),
            asset => asset?,
        };
        if asset.is_deleted() {
            return Ok(None);
        }
        if let Some(view) = &self.scope.view {
            asset.metadata = self.metadata(id, view).await?;
        }
        Ok(Some(asset))
    }

    /// The fields of a view of metadata that an asset has.
    pub(super) async fn metadata(
        &self,
        id: &str,
        view: &str,
    ) -> Result<Map<String, Value>, SourceError> {
        let path = format!("/API/metadata/v1/assets/{id}/views/{view}/");
        match self.api.get::<ViewValues>(&path, &[], About::Item).await {
            // It has none of them.
            Err(SourceError::NotFound { .. }) => Ok(Map::new()),
            values => Ok(values?.metadata_values.unwrap_or_default()),
        }
    }

    /// Everything of a kind that an asset has, a page at a time.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        asset: &str,
        kind: &str,
        id: impl Fn(&T) -> &str,
    ) -> Result<Vec<T>, SourceError> {
        let path = format!("/API/files/v1/assets/{asset}/{kind}/");
        let per_page = FILES.to_string();
        let mut all: Vec<T> = Vec::new();
        loop {
            let mut query = vec![("per_page", per_page.as_str()), ("generate_signed_url", "false")];
            let last = all.last().map(|last| id(last).to_owned());
            query.extend(last.as_deref().map(|last| ("last_id", last)));
            let page: Objects<T> = self.api.get(&path, &query, About::Item).await?;
            let objects = page.objects.unwrap_or_default();
            // The API may give fewer than are asked for, and says so.
            let most = page.per_page.unwrap_or(FILES).clamp(1, FILES);
            let leads_on = objects.last().is_some_and(|now| last.as_deref() != Some(id(now)));
            let is_last = objects.len() < most || !leads_on;
            all.extend(objects);
            if is_last || page.total.is_some_and(|total| all.len() >= total) {
                return Ok(all);
            }
        }
    }

    /// The entries of an asset, with its files: those that came with it, else those that it is
    /// asked for. Notes whether some of them are still arriving.
    pub(super) async fn whole(
        &self,
        asset: &Asset,
        placed: &Placed,
    ) -> Result<Vec<Entry>, SourceError> {
        let wanted = self.scope.wanted;
        let mut whole = Whole {
            asset,
            files: &[],
            formats: asset.formats.as_deref().unwrap_or_default(),
            proxies: &[],
            wanted,
            patterns: self.scope.patterns.as_ref(),
            now: self.api.now(),
        };
        if let Some(reason) = asset.without_files(wanted) {
            return Ok(vec![whole.skipped(placed, reason)]);
        }
        let (files, formats, proxies);
        if wanted != FileSelection::Proxy {
            files = match &asset.files {
                Some(files) => files.clone(),
                None => self.all(&asset.id, "files", |file: &File| &file.id).await?,
            };
            whole.files = &files;
            if needs_formats(&files, asset.formats.as_deref()) {
                formats = if_any(self.all(&asset.id, "formats", Format::id).await)?;
                whole.formats = &formats;
            }
        }
        if wanted != FileSelection::Originals {
            proxies = match &asset.proxies {
                Some(proxies) => proxies.clone(),
                None => if_any(self.all(&asset.id, "proxies", |of: &Proxy| &of.id).await)?,
            };
            whole.proxies = &proxies;
        }
        let (mut entries, is_arriving) = whole.entries(placed);
        self.add_parts(asset, &mut entries).await?;
        let mut walked = self.walked();
        walked.arriving.retain(|id| *id != asset.id);
        if is_arriving && walked.arriving.len() < MOST_ARRIVING {
            walked.arriving.push(asset.id.clone());
        }
        Ok(entries)
    }

    /// Adds the addresses of the named parts that are mapped to an asset's own entry.
    async fn add_parts(&self, asset: &Asset, entries: &mut [Entry]) -> Result<(), SourceError> {
        let Some(Entry { kind: EntryKind::File(file), .. }) = entries.first_mut() else {
            return Ok(());
        };
        for part in &self.scope.parts {
            let known = match part {
                NamedPart::Proxy => &asset.proxies,
                NamedPart::Keyframe => &asset.keyframes,
            };
            let address = match known {
                Some(known) => part.address_of(known),
                None => {
                    let all = self.all(&asset.id, part.kind(), |of: &Proxy| &of.id).await;
                    part.address_of(&if_any(all)?)
                }
            };
            let details = file.details.get_or_insert_default();
            details.parts.insert(part.name().to_owned(), address);
        }
        Ok(())
    }

    /// Where an asset is in what is synced: its first collection by path, and the others.
    pub(super) async fn placed(&self, asset: &Asset) -> Result<Placed, SourceError> {
        let nowhere = |id: &str| Placed {
            folder: EntryPath::new(id.as_bytes()),
            path: EntryPath::new(Vec::new()),
            others: Vec::new(),
        };
        if asset.in_collections.is_empty() {
            return Ok(nowhere(self.places(asset)[0].to_json_text().as_str()));
        }
        let tree = self.tree().await?;
        let mut paths: Vec<(String, &String)> = asset
            .in_collections
            .iter()
            .filter(|id| tree.get(id).is_some())
            .map(|id| (tree.path(id), id))
            .collect();
        paths.sort_unstable();
        let is_inside = |id: &str| {
            let in_root = match &self.root {
                Root::Everything => true,
                Root::Collection(root) => tree.is_below(id, root),
            };
            let selected = &self.scope.collections;
            in_root && (selected.is_empty() || selected.iter().any(|of| tree.is_below(id, of)))
        };
        paths.retain(|(_, id)| is_inside(id));
        let root = match &self.root {
            Root::Everything => String::new(),
            Root::Collection(root) => tree.path(root),
        };
        let below_root = |path: &str| {
            let below = path.strip_prefix(&root).unwrap_or(path);
            EntryPath::new(below.trim_start_matches('/').as_bytes())
        };
        let mut inside = paths.iter();
        let Some((path, id)) = inside.next() else { return Ok(nowhere(NOWHERE)) };
        Ok(Placed {
            folder: EntryPath::new(id.as_bytes()),
            path: below_root(path),
            others: inside.map(|(path, _)| below_root(path)).collect(),
        })
    }

    /// One entry as it is now, with the asset that it belongs to.
    pub(super) async fn stat_asset(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let Some((asset, _)) = ids(id) else { return Ok(None) };
        let Some(found) = self.asset(asset).await? else { return Ok(None) };
        if !found.is_entry() {
            return Ok(None);
        }
        let placed = self.placed(&found).await?;
        let entries = match self.whole(&found, &placed).await {
            Err(SourceError::NotFound { .. }) => return Ok(None),
            entries => entries?,
        };
        Ok(entries.into_iter().find(|entry| entry.id == *id))
    }

    /// An asset that was listed a moment ago, or as it is now.
    pub(super) async fn listed_asset(
        &self,
        id: &EntryId,
    ) -> Result<Option<Arc<Asset>>, SourceError> {
        let known = {
            let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            listed.now.get(id).or_else(|| listed.before.get(id)).cloned()
        };
        match (known, ids(id)) {
            (Some(known), _) => self.with_metadata(known).await.map(Some),
            (None, Some((asset, _))) => Ok(self.asset(asset).await?.map(Arc::new)),
            (None, None) => Ok(None),
        }
    }

    /// Asks for the view's fields where a filter or mapping names one that the search did not
    /// return.
    pub(super) async fn with_metadata(&self, asset: Arc<Asset>) -> Result<Arc<Asset>, SourceError> {
        let is_part = |name: &String| {
            self.scope.parts.iter().any(|part| name.eq_ignore_ascii_case(part.name()))
        };
        let lacks = |name: &String| !asset.has_property(name) && !is_part(name);
        let Some(view) = self.scope.view.as_deref().filter(|_| self.scope.needed.iter().any(lacks))
        else {
            return Ok(asset);
        };
        let values = self.metadata(&asset.id, view).await?;
        let mut asset = Arc::unwrap_or_clone(asset);
        for (name, value) in values {
            asset.metadata.entry(name).or_insert(value);
        }
        Ok(Arc::new(asset))
    }

    /// Which of an asset's entries there still are, in what is synced.
    pub(super) async fn existing_of(
        &self,
        asset: &str,
        ids: Vec<EntryId>,
    ) -> Result<Vec<EntryId>, SourceError> {
        let found = match self.asset(asset).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Vec::new()),
            // What may not be read is not known to be gone.
            Err(SourceError::PermissionDenied { .. }) => {
                return Ok(ids);
            }
            Err(error) => return Err(error),
        };
        if self.needs_tree() && !self.is_inside(self.tree().await?, &found) {
            return Ok(Vec::new());
        }
        if ids.iter().all(|id| id.as_bytes() == asset.as_bytes()) {
            return Ok(ids);
        }
        let placed = self.placed(&found).await?;
        let entries = match self.whole(&found, &placed).await {
            Err(SourceError::NotFound { .. }) => return Ok(Vec::new()),
            entries => entries?,
        };
        let is_there = |id: &EntryId| {
            id.as_bytes() == asset.as_bytes() || entries.iter().any(|entry| entry.id == *id)
        };
        Ok(ids.into_iter().filter(is_there).collect())
    }
}

/// What an asset has of a kind; nothing where the API knows none.
fn if_any<T>(found: Result<Vec<T>, SourceError>) -> Result<Vec<T>, SourceError> {
    match found {
        Err(SourceError::NotFound { .. }) => Ok(Vec::new()),
        found => found,
    }
}
