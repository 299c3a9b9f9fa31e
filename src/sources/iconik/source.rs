//! A library, or a collection in it, as a source.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use globset::GlobSet;
use http::{HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    api::{Api, Base, REQUESTS_PER_MINUTE, Token as ApiToken, explanation},
    asset::{Asset, File, Format, Proxy, Wanted, Whole, download_of, is_same, needs_formats},
    feed::{MOST_ARRIVING, Token, Window, after_cursor, later, read_after},
    place::{Place, is_id},
    refusal::{About, Meaning, meaning},
    search::{PAGE, Paging, Query},
    tree::{Collection, Tree},
};
use crate::{
    model::{
        Credentials, Cursor, Entry, EntryId, EntryKind, EntryPath, Fingerprint, Folder, FolderId,
        Identity, Shard, Version,
    },
    sources::{
        Absence, Body, ByteRange, Content, ErrorClass, Facts, Listing, Needs, Opening, Outline,
        Page, Placed, Profile, RootFolder, RootIdentity, Source, SourceError, VersionMatch,
        browse::{Item, Level, Wanted as Kind},
        http::{Usage, body_of, headers::text_of},
        limits::Rate,
    },
};

/// How many downloads at once.
const CONCURRENCY: usize = 8;

/// How many assets one call of `existing` asks for.
const ASKED_AT_ONCE: usize = 100;

/// How often a listing begins anew because the place where it continues is refused.
const RESTARTS: usize = 3;

/// How long an address of a download is used.
const LINK_LIFE: Duration = Duration::from_secs(10 * 60);

/// Most addresses that are kept.
const MOST_LINKS: usize = 256;

/// Files of a page.
const FILES: usize = 1000;

/// The folder of everything. No collection has this id.
const EVERYTHING: &str = "/";

/// The folder of assets that are in no collection of this sync. No collection has this id.
const NOWHERE: &str = "-";

/// Stands before the id of a collection that is only on the way to those of `collection_ids`.
const WAY: &str = "way:";

/// See the module.
pub(super) struct Library {
    api: Api,
    root: Root,
    scope: Scope,
    tree: OnceCell<Tree>,
    /// The assets that were listed last, until they are asked for their files.
    listed: Mutex<Listed>,
    /// Where the changes continue behind the walk that this source has made.
    walked: Mutex<Walked>,
    links: Mutex<HashMap<EntryId, Arc<tokio::sync::Mutex<Option<Link>>>>>,
}

/// What is synced.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    Everything,
    Collection(String),
}

/// What is wanted of it: the `provider_filters`, and the view of metadata.
#[derive(Default)]
pub(super) struct Scope {
    /// Each a shard; empty: everything.
    pub(super) collections: Vec<String>,
    pub(super) media_types: Vec<String>,
    pub(super) patterns: Option<GlobSet>,
    pub(super) wanted: Wanted,
    pub(super) view: Option<String>,
    /// What filters and mappings name.
    pub(super) needed: Vec<String>,
}

/// The assets of the last two pages.
#[derive(Default)]
struct Listed {
    now: HashMap<EntryId, Arc<Asset>>,
    before: HashMap<EntryId, Arc<Asset>>,
}

#[derive(Default)]
struct Walked {
    is_done: bool,
    newest: Option<String>,
    arriving: Vec<String>,
}

/// An address that a file can be downloaded from.
struct Link {
    url: SecretString,
    since: Instant,
    /// The entity tag of what was read from it first.
    etag: Option<String>,
}

/// The settings of a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    base_url: Option<String>,
    metadata_view_id: Option<String>,
    rate_limit_rps: Option<f64>,
}

#[derive(Deserialize)]
struct Secrets {
    app_id: SecretString,
    auth_token: SecretString,
}

/// A page of whatever an asset has.
#[derive(Deserialize)]
struct Objects<T> {
    objects: Option<Vec<T>>,
    pages: Option<u64>,
    per_page: Option<usize>,
    total: Option<usize>,
}

#[derive(Deserialize)]
struct DownloadUrl {
    url: Option<SecretString>,
}

#[derive(Deserialize)]
struct ViewValues {
    metadata_values: Option<Map<String, Value>>,
}

impl Library {
    /// Opens a place. One that is named by titles takes a request for each thousand collections.
    pub(super) async fn open(opening: Opening<'_>, scope: Scope) -> Result<Self, SourceError> {
        let Opening { location, credentials, tuning, .. } = opening;
        let misconfigured = |message: String| SourceError::Misconfigured { message };
        let config = location.connection.settings.get("config").cloned().unwrap_or_default();
        let settings: Settings =
            serde_json::from_value(config).map_err(|error| misconfigured(error.to_string()))?;
        let credentials = credentials.ok_or_else(|| {
            misconfigured("this connection's credentials are gone: enter them again".to_owned())
        })?;
        let secrets: Secrets =
            credentials.read().map_err(|error| misconfigured(error.to_string()))?;
        let header = |secret: &SecretString| -> Result<HeaderValue, SourceError> {
            let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| {
                misconfigured("the App-ID or token has characters that none has".to_owned())
            })?;
            value.set_sensitive(true);
            Ok(value)
        };
        let token =
            ApiToken { app_id: header(&secrets.app_id)?, auth_token: header(&secrets.auth_token)? };
        let base = settings.base_url.filter(|url| !url.is_empty());
        let base = Base::parse(base.as_deref().unwrap_or("https://app.iconik.io"))?;
        let connection = Credentials::keeper(credentials).and_then(|keeper| keeper.id());
        let named = settings.rate_limit_rps.and_then(|rate| Rate::try_from(rate).ok());
        let rate = named.or(tuning.budgets.limits().iconik_requests_per_second);
        let per_minute = rate.map_or(REQUESTS_PER_MINUTE, Rate::of_a_second);
        let budget = tuning.budgets.of(connection, Some(per_minute));
        let view = settings.metadata_view_id.filter(|id| !["", "none"].contains(&id.as_str()));
        let mut library = Self {
            api: Api::new(base, token, budget, tuning.clock.clone())?,
            root: Root::Everything,
            scope: Scope { view, ..scope },
            tree: OnceCell::new(),
            listed: Mutex::default(),
            walked: Mutex::default(),
            links: Mutex::default(),
        };
        let place = Place::parse(&String::from_utf8_lossy(&location.source_path))
            .map_err(|problem| misconfigured(format!("source_path {problem}")))?;
        library.root = match place {
            Place::Everything => Root::Everything,
            Place::Collection(id) => Root::Collection(id),
            Place::Path(titles) => {
                Root::Collection(library.tree().await?.find(&titles)?.id.clone())
            }
        };
        Ok(library)
    }

    /// The collections, asked for once.
    async fn tree(&self) -> Result<&Tree, SourceError> {
        self.tree.get_or_try_init(|| self.api.collections()).await
    }

    fn root_id(&self) -> &str {
        match &self.root {
            Root::Everything => EVERYTHING,
            Root::Collection(id) => id,
        }
    }

    fn is_selected(&self, id: &str) -> bool {
        self.scope.collections.iter().any(|selected| selected == id)
    }

    /// The folders that a collection is, to the engine's tree. Where `collection_ids` select some,
    /// only those are below the root, at the end of a way of folders that have no assets of their
    /// own: what else is in the collections on the way is not synced.
    fn folders(&self, collection: &Collection) -> Vec<Folder> {
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
    fn places(&self, asset: &Asset) -> Vec<FolderId> {
        let places: Vec<FolderId> =
            asset.in_collections.iter().map(|id| EntryPath::new(id.as_bytes())).collect();
        if !places.is_empty() {
            return places;
        }
        let is_all = self.root == Root::Everything && self.scope.collections.is_empty();
        vec![EntryPath::new(if is_all { EVERYTHING } else { NOWHERE })]
    }

    /// The first of `collection_ids` that an asset is in, directly or below.
    fn first_selected(&self, tree: &Tree, asset: &Asset) -> Option<&str> {
        let is_in =
            |selected: &&String| asset.in_collections.iter().any(|id| tree.is_below(id, selected));
        self.scope.collections.iter().find(is_in).map(String::as_str)
    }

    /// Whether an asset is in what is synced.
    fn is_inside(&self, tree: &Tree, asset: &Asset) -> bool {
        let is_below = |root: &str| asset.in_collections.iter().any(|id| tree.is_below(id, root));
        let in_root = match &self.root {
            Root::Everything => true,
            Root::Collection(root) => is_below(root),
        };
        let selected = &self.scope.collections;
        in_root && (selected.is_empty() || selected.iter().any(|id| is_below(id)))
    }

    fn needs_tree(&self) -> bool {
        self.root != Root::Everything || !self.scope.collections.is_empty()
    }

    /// The search for all assets of a shard.
    async fn query(&self, shard: &Shard) -> Result<Query, SourceError> {
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

    fn query_in(&self, collections: Vec<String>) -> Query {
        let (media_types, view) = (self.scope.media_types.clone(), self.scope.view.clone());
        Query { collections, media_types, from: None, view }
    }

    /// What assets are to a sync.
    fn page(&self, assets: Vec<Asset>, is_wanted: impl Fn(&Asset) -> bool) -> Page {
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
    /// tree tells, in this shard and in no earlier one.
    fn belongs(&self, shard: Option<(&Tree, &Shard)>, asset: &Asset) -> bool {
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

    fn walked(&self) -> MutexGuard<'_, Walked> {
        self.walked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The asset of an entry as it is now; `None` when it is gone.
    async fn asset(&self, id: &str) -> Result<Option<Asset>, SourceError> {
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
    async fn metadata(&self, id: &str, view: &str) -> Result<Map<String, Value>, SourceError> {
        let path = format!("/API/metadata/v1/assets/{id}/views/{view}/");
        match self.api.get::<ViewValues>(&path, &[], About::Item).await {
            // It has none of them.
            Err(SourceError::NotFound { .. }) => Ok(Map::new()),
            values => Ok(values?.metadata_values.unwrap_or_default()),
        }
    }

    /// Everything of a kind that an asset has, a page at a time.
    async fn all<T: DeserializeOwned>(
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
    async fn whole(&self, asset: &Asset, placed: &Placed) -> Result<Vec<Entry>, SourceError> {
        let wanted = self.scope.wanted;
        let mut whole = Whole {
            asset,
            files: &[],
            formats: asset.formats.as_deref().unwrap_or_default(),
            proxies: &[],
            wanted,
            patterns: self.scope.patterns.as_ref(),
        };
        if let Some(reason) = asset.without_files(wanted) {
            return Ok(vec![whole.skipped(placed, reason)]);
        }
        let (files, formats, proxies);
        if wanted != Wanted::Proxy {
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
        if wanted != Wanted::Originals {
            proxies = match &asset.proxies {
                Some(proxies) => proxies.clone(),
                None => if_any(self.all(&asset.id, "proxies", |of: &Proxy| &of.id).await)?,
            };
            whole.proxies = &proxies;
        }
        let (entries, is_arriving) = whole.entries(placed);
        let mut walked = self.walked();
        walked.arriving.retain(|id| *id != asset.id);
        if is_arriving && walked.arriving.len() < MOST_ARRIVING {
            walked.arriving.push(asset.id.clone());
        }
        Ok(entries)
    }

    /// Where an asset is in what is synced: its first collection by path, and the others.
    async fn placed(&self, asset: &Asset) -> Result<Placed, SourceError> {
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
        let Some(first) = paths.iter().position(|(_, id)| is_inside(id)) else {
            return Ok(nowhere(NOWHERE));
        };
        let (path, id) = paths.remove(first);
        let below_root = match &self.root {
            Root::Everything => path.as_str(),
            Root::Collection(root) => {
                path.strip_prefix(&tree.path(root)).unwrap_or(&path).trim_start_matches('/')
            }
        };
        Ok(Placed {
            folder: EntryPath::new(id.as_bytes()),
            path: EntryPath::new(below_root.as_bytes()),
            others: paths.into_iter().map(|(path, _)| EntryPath::new(path.into_bytes())).collect(),
        })
    }

    /// One entry as it is now, with the asset that it belongs to.
    async fn look(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
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

    fn link_of(&self, id: &EntryId) -> Arc<tokio::sync::Mutex<Option<Link>>> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= MOST_LINKS {
            links.retain(|_, link| Arc::strong_count(link) > 1);
        }
        links.entry(id.clone()).or_default().clone()
    }

    /// The address of an entry's bytes: one that is known, unless it is `expired`, else a new one.
    async fn address(
        &self,
        id: &EntryId,
        version: &Version,
        expired: Option<&SecretString>,
    ) -> Result<SecretString, SourceError> {
        let link = self.link_of(id);
        let mut link = link.lock().await;
        if let Some(known) = link.as_ref() {
            let is_expired =
                expired.is_some_and(|expired| expired.expose_secret() == known.url.expose_secret());
            if !is_expired && known.since.elapsed() < LINK_LIFE {
                return Ok(known.url.clone());
            }
        }
        let gone = || SourceError::NotFound { message: "this is no id of a file".to_owned() };
        let (asset, _) = ids(id).ok_or_else(gone)?;
        let (kind, part) = download_of(version).filter(|(_, id)| is_id(id)).ok_or_else(gone)?;
        let path = format!("/API/files/v1/assets/{asset}/{kind}/{part}/download_url/");
        let found: DownloadUrl = self.api.get(&path, &[], About::Item).await?;
        let url = found.url.filter(|url| !url.expose_secret().is_empty());
        let url = url.ok_or_else(|| SourceError::Garbled {
            message: "Iconik gives no address to download from".to_owned(),
        })?;
        let etag = link.take().and_then(|link| link.etag);
        *link = Some(Link { url: url.clone(), since: Instant::now(), etag });
        Ok(url)
    }

    /// Makes sure that parts of a file are of one version.
    async fn pin(&self, id: &EntryId, etag: Option<&str>) -> Result<(), SourceError> {
        let Some(etag) = etag else { return Ok(()) };
        let link = self.link_of(id);
        let mut link = link.lock().await;
        let Some(known) = link.as_mut() else { return Ok(()) };
        match &known.etag {
            Some(first) if first != etag => {
                *link = None;
                let message = format!("its entity tag is {etag} and was another before");
                Err(SourceError::Changed { message })
            }
            Some(_) => Ok(()),
            None => {
                known.etag = Some(etag.to_owned());
                Ok(())
            }
        }
    }

    /// The collections in a folder.
    async fn collections_in(&self, parent: &str) -> Result<Vec<Item>, SourceError> {
        let tree = self.tree().await?;
        let found = match parent {
            EVERYTHING => tree.top(),
            parent => tree.children(parent),
        };
        let item = |collection: &&Collection| Item {
            name: EntryPath::new(collection.name().as_bytes()),
            id: Some(collection.id.clone()),
            mime: None,
            size: None,
            modified: None,
            note: None,
        };
        Ok(found.iter().map(item).collect())
    }

    /// What a collection contains, a page at a time.
    async fn contents(
        &self,
        collection: &str,
        page: u64,
        kind: &str,
    ) -> Result<Objects<Asset>, SourceError> {
        let path = format!("/API/assets/v1/collections/{collection}/contents/");
        let page = page.to_string();
        let query = [("object_types", kind), ("per_page", "100"), ("page", page.as_str())];
        self.api.get(&path, &query, About::Root).await
    }

    async fn files_in(&self, parent: &str, limit: usize) -> Result<Level, SourceError> {
        let mut level = Level::default();
        if parent == EVERYTHING {
            // Whoever looks around does not wait for a whole library.
            let query = self.query_in(Vec::new());
            let found = self.api.search(&query, None, PAGE).await?;
            let loose = found.assets.iter().filter(|asset| asset.in_collections.is_empty());
            level.items.extend(loose.filter(|asset| asset.is_shown()).map(Asset::item));
            level.truncated = found.goes_on(&mut Paging::default());
        } else {
            let mut page = 1;
            loop {
                let found = self.contents(parent, page, "assets").await?;
                let pages = found.pages.unwrap_or(1);
                let objects = found.objects.unwrap_or_default();
                level.items.extend(objects.iter().filter(|of| of.is_shown()).map(Asset::item));
                if page >= pages || level.items.len() > limit {
                    level.truncated = page < pages;
                    break;
                }
                page += 1;
            }
        }
        level.truncated |= level.items.len() > limit;
        level.items.truncate(limit);
        Ok(level)
    }

    /// The folders of the tree, as pages.
    async fn folder_pages(&self) -> Result<Vec<Page>, SourceError> {
        let tree = self.tree().await?;
        let folders: Vec<Folder> = tree.all().flat_map(|of| self.folders(of)).collect();
        let page = |folders: &[Folder]| Page { folders: folders.to_vec(), ..Page::default() };
        Ok(folders.chunks(PAGE).map(page).collect())
    }

    fn note_newest(&self, newest: Option<String>) {
        let mut walked = self.walked();
        walked.newest = later(walked.newest.take(), newest);
    }

    /// The pages of the search for a shard, from `after` on.
    fn pages(
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
    async fn again(&self, ids: &[String]) -> Result<Vec<Asset>, SourceError> {
        let ids: Vec<String> = ids.iter().filter(|id| is_id(id)).cloned().collect();
        let asks = stream::iter(ids).map(|id| async move { self.asset(&id).await });
        let found: Vec<Option<Asset>> = asks.buffered(CONCURRENCY).try_collect().await?;
        let found: Vec<Asset> = found.into_iter().flatten().collect();
        self.walked().arriving = found.iter().map(|asset| asset.id.clone()).collect();
        Ok(found)
    }

    /// Changes from a token on.
    fn changes_from(&self, token: Token) -> BoxStream<'_, Result<Page, SourceError>> {
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
    async fn changed(&self, at: &mut Changes) -> Result<Page, SourceError> {
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

    /// An asset that was listed a moment ago, or as it is now.
    async fn listed_asset(&self, id: &EntryId) -> Result<Option<Arc<Asset>>, SourceError> {
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

    /// Asks for the view's fields where a filter or mapping names one that the search did not tell.
    async fn with_metadata(&self, asset: Arc<Asset>) -> Result<Arc<Asset>, SourceError> {
        let lacks = |name: &String| !asset.has_property(name);
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
}

/// How far a pass of changes has come.
#[derive(Default)]
struct Changes {
    /// The token behind the last page.
    token: Token,
    /// The date that the search begins at.
    from: Option<String>,
    paging: Paging,
    first: Option<Window>,
    restarts: usize,
    is_end: bool,
}

#[async_trait]
impl Source for Library {
    /// Everything is there if it can be searched, and takes no request. A collection that the
    /// search does not know is asked for by its id: an index that is being rebuilt knows nothing.
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        let host = self.api.base().host();
        let Root::Collection(id) = &self.root else {
            return Ok(RootIdentity(Some(format!("{host} everything"))));
        };
        if self.tree().await?.get(id).is_none() {
            let path = format!("/API/assets/v1/collections/{id}/");
            let found: Collection = self.api.get(&path, &[], About::Root).await?;
            return Err(match found.is_deleted() {
                true => SourceError::RootMissing {
                    message: format!("the collection {:?} is deleted", found.name()),
                },
                false => SourceError::Transient {
                    message: format!("Iconik's search does not know {:?} yet", found.name()),
                },
            });
        }
        Ok(RootIdentity(Some(format!("{host} collection {id}"))))
    }

    /// One search for one asset, and the view of metadata if one is named.
    async fn probe(&self) -> Result<(), SourceError> {
        self.api.search(&self.query_in(Vec::new()), None, 1).await?;
        if let Some(view) = &self.scope.view {
            let path = format!("/API/metadata/v1/views/{view}/");
            self.api.get::<Value>(&path, &[], About::View).await?;
        }
        self.root().await.map(drop)
    }

    fn shards(&self) -> Vec<Shard> {
        match self.scope.collections.as_slice() {
            [] => vec![Shard::whole()],
            selected => selected.iter().map(Shard::named).collect(),
        }
    }

    fn place(&self) -> Option<Vec<u8>> {
        match &self.root {
            Root::Everything => None,
            Root::Collection(id) => Some(id.clone().into_bytes()),
        }
    }

    fn profile(&self) -> Profile {
        let id = EntryPath::new(self.root_id().as_bytes());
        Profile {
            roots: vec![RootFolder { id, path: EntryPath::new(Vec::new()) }],
            listing: Listing::Flat,
            has_feed: true,
            has_outlines: true,
            absence: Absence::Ask { at_once: ASKED_AT_ONCE },
        }
    }

    fn walk(
        &self,
        shard: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let is_first = self.shards().first().is_some_and(|first| first.name() == shard.name());
        let after = from.as_ref().and_then(read_after);
        let folders = stream::once(async move {
            match is_first && from.is_none() {
                true => self.folder_pages().await,
                false => Ok(Vec::new()),
            }
        });
        let folders = folders.map_ok(|pages| stream::iter(pages).map(Ok)).try_flatten();
        folders.chain(self.pages(shard.clone(), after)).boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        self.look(id).await
    }

    async fn expand(&self, outline: &Outline, placed: &Placed) -> Result<Vec<Entry>, SourceError> {
        let asset = match self.listed_asset(&outline.id).await {
            Ok(Some(asset)) => asset,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => return unreadable(outline, placed, error),
        };
        match self.whole(&asset, placed).await {
            Ok(entries) => Ok(entries),
            Err(error) => unreadable(outline, placed, error),
        }
    }

    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let version = &fingerprint.version;
        let mut url = self.address(id, version, None).await?;
        let mut response = self.api.download(url.expose_secret(), range).await?;
        if is_expired(response.status()) {
            url = self.address(id, version, Some(&url)).await?;
            response = self.api.download(url.expose_secret(), range).await?;
        }
        if !response.status().is_success() {
            return Err(self.refused_download(response).await);
        }
        if range.is_some() {
            self.pin(id, text_of(response.headers(), header::ETAG.as_str())).await?;
        }
        let mime = text_of(response.headers(), header::CONTENT_TYPE.as_str()).map(str::to_owned);
        let facts = Facts {
            mime: fingerprint.mime.clone().or(mime),
            properties: fingerprint.properties().cloned().unwrap_or_default(),
            ..Facts::default()
        };
        Ok(Content { facts, body: Body::Stream(body_of(response, range)) })
    }

    fn children(
        &self,
        _: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let ids: Vec<String> =
            folders.iter().map(EntryId::to_json_text).filter(|id| is_id(id)).collect();
        if ids.is_empty() {
            return stream::empty().boxed();
        }
        let below = {
            let ids = ids.clone();
            async move {
                let tree = self.tree().await?;
                let nested = ids.iter().flat_map(|id| tree.children(id));
                let folders = nested.flat_map(|of| self.folders(of)).collect();
                Ok(Page { folders, ..Page::default() })
            }
        };
        let assets = stream::try_unfold(Some(Paging::default()), move |paging| {
            let query = self.query_in(ids.clone());
            async move {
                let Some(mut paging) = paging else { return Ok(None) };
                let found = self.api.search(&query, paging.after.as_deref(), PAGE).await?;
                let goes_on = found.goes_on(&mut paging);
                let page = self.page(found.assets, |asset| self.belongs(None, asset));
                Ok(Some((page, goes_on.then_some(paging))))
            }
        });
        stream::once(below).chain(assets).boxed()
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        let text = id.to_json_text();
        let collection = text.strip_prefix(WAY).unwrap_or(&text);
        if !is_id(collection) || collection == NOWHERE {
            return Ok(None);
        }
        let path = format!("/API/assets/v1/collections/{collection}/");
        let found: Collection = match self.api.get(&path, &[], About::Item).await {
            // What the token does not see, and what is gone.
            Err(SourceError::NotFound { .. } | SourceError::PermissionDenied { .. }) => {
                return Ok(None);
            }
            found => found?,
        };
        if found.is_deleted() {
            return Ok(None);
        }
        Ok(self.folders(&found).into_iter().find(|folder| folder.id == *id))
    }

    /// The walk itself ends with what is newest: whatever changes while it is under way gets a
    /// later date and comes at its end.
    async fn feed_token(&self, _: &Shard) -> Result<Cursor, SourceError> {
        Ok(Token::of_walk())
    }

    /// The first shard's feed is that of all: dates are not kept by collection.
    fn changes(&self, shard: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        let is_first = self.shards().first().is_some_and(|first| first.name() == shard.name());
        if !is_first {
            let cursor = Some(Token::default().cursor());
            return stream::iter([Ok(Page { cursor, ..Page::default() })]).boxed();
        }
        match Token::read(&from) {
            Ok(Some(token)) => self.changes_from(token),
            Ok(None) => {
                let walked = self.walked();
                if !walked.is_done {
                    // The process that walked is gone: everything is looked at as if it had
                    // changed.
                    drop(walked);
                    return self.changes_from(Token::default());
                }
                let (since, arriving) = (walked.newest.clone(), walked.arriving.clone());
                let cursor = Some(Token { since, arriving, window: None }.cursor());
                stream::iter([Ok(Page { cursor, ..Page::default() })]).boxed()
            }
            Err(message) => stream::iter([Err(SourceError::FeedExpired { message })]).boxed(),
        }
    }

    async fn existing(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        let mut by_asset: HashMap<String, Vec<EntryId>> = HashMap::new();
        for id in ids {
            if let Some((asset, _)) = self::ids(id) {
                by_asset.entry(asset.to_owned()).or_default().push(id.clone());
            }
        }
        let asks = stream::iter(by_asset)
            .map(|(asset, ids)| async move { self.existing_of(&asset, ids).await });
        let found: Vec<Vec<EntryId>> = asks.buffer_unordered(CONCURRENCY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    fn compare(&self, stored: &[u8], listed: &Version) -> VersionMatch {
        match is_same(stored, &listed.0) {
            true => VersionMatch::Same,
            false => VersionMatch::Other,
        }
    }

    fn shard_of(&self, _: &Entry) -> Option<usize> {
        // An entry that is asked for by its id is one of the feed's, which is the first shard's.
        Some(0)
    }

    async fn facts(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        needs: Needs,
    ) -> Result<Facts, SourceError> {
        if needs.is_nothing() {
            return Ok(Facts::default());
        }
        let properties = match fingerprint.properties() {
            Some(properties) => properties.clone(),
            None => match self.look(id).await?.map(|entry| entry.kind) {
                Some(EntryKind::File(file)) => file.properties().cloned().unwrap_or_default(),
                _ => Map::new(),
            },
        };
        Ok(Facts { mime: fingerprint.mime.clone(), properties, ..Facts::default() })
    }

    async fn browse(&self, wanted: Kind, limit: usize) -> Result<Level, SourceError> {
        match wanted {
            Kind::Folders => {
                let mut items = self.collections_in(self.root_id()).await?;
                let truncated = items.len() > limit;
                items.truncate(limit);
                Ok(Level { items, truncated })
            }
            Kind::Files => self.files_in(self.root_id(), limit).await,
        }
    }

    fn usage(&self) -> Usage {
        self.api.usage()
    }

    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }
}

impl Library {
    /// Which of an asset's entries there still are, in what is synced.
    async fn existing_of(
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

    async fn refused_download(
        &self,
        response: http::Response<hyper::body::Incoming>,
    ) -> SourceError {
        let (parts, body) = response.into_parts();
        let body = explanation(body).await;
        let message = format!("the storage responded with HTTP {}", parts.status);
        match parts.status.as_u16() {
            401 | 403 => SourceError::PermissionDenied { message },
            404 | 410 => SourceError::NotFound { message },
            412 | 416 => SourceError::Changed { message },
            429 => SourceError::RateLimited {
                message,
                retry_after: crate::sources::http::headers::retry_after(
                    &parts.headers,
                    self.api.now(),
                ),
            },
            408 | 500..=599 => SourceError::Transient { message },
            _ => match meaning(parts.status, &parts.headers, &body, About::Item, self.api.now()) {
                Meaning::Final(error) | Meaning::Stumbled(error) => error,
                Meaning::SlowDown(retry_after) => SourceError::RateLimited { message, retry_after },
            },
        }
    }
}

/// What an asset has of a kind; nothing where the API knows none.
fn if_any<T>(found: Result<Vec<T>, SourceError>) -> Result<Vec<T>, SourceError> {
    match found {
        Err(SourceError::NotFound { .. }) => Ok(Vec::new()),
        found => found,
    }
}

/// An asset that cannot be asked for its files is one that failed, and no reason to stop; one that
/// is gone has no entries.
fn unreadable(
    outline: &Outline,
    placed: &Placed,
    error: SourceError,
) -> Result<Vec<Entry>, SourceError> {
    match error.class() {
        class if class.ends_run() => Err(error),
        ErrorClass::Gone => Ok(Vec::new()),
        _ => Ok(vec![Entry {
            id: outline.id.clone(),
            path: outline.id.clone(),
            parent: Some(placed.folder.clone()),
            kind: EntryKind::Unreadable {
                error_type: error.error_type(),
                message: error.to_string(),
            },
        }]),
    }
}

/// A pre-signed address that is good no more: storages say so with 403 or 400, gateways with 401.
const fn is_expired(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403)
}

/// The ids of an entry's asset and, for a further file, of that.
fn ids(id: &EntryId) -> Option<(&str, Option<&str>)> {
    let text = str::from_utf8(id.as_bytes()).ok()?;
    let (asset, file) = match text.split_once('/') {
        Some((asset, file)) => (asset, Some(file)),
        None => (text, None),
    };
    (is_id(asset) && file.is_none_or(is_id)).then_some((asset, file))
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
