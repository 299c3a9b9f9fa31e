//! A library, or a collection in it, as a source.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use globset::GlobSet;
use http::{HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    api::{Api, Base, REQUESTS_PER_MINUTE, Token as ApiToken},
    asset::{Asset, FileSelection, NamedPart, is_same},
    feed::{Token, read_after},
    link::{Link, is_expired},
    refusal::{About, unreadable},
    search::{PAGE, Paging},
    source_path::{SourcePath, is_id},
    tree::{Collection, Tree},
};
use crate::{
    model::{
        Credentials, Cursor, Details, Entry, EntryId, EntryKind, EntryPath, Fingerprint, Folder,
        FolderId, PartAddress, Shard, Version,
    },
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Needs, Opening, Outline, Page,
        PartFacts, Placed, Profile, RootFolder, RootIdentity, Source, SourceError, VersionMatch,
        browse::{ItemKind, Level},
        http::{Usage, body_of, headers::text_of},
        limits::Rate,
    },
};

/// How many downloads at once.
pub(super) const CONCURRENCY: usize = 8;

/// How many assets one call of `existing` asks for.
const ASKED_AT_ONCE: usize = 100;

/// The folder of everything. No collection has this id.
pub(super) const EVERYTHING: &str = "/";

/// The folder of assets that are in no collection of this sync. No collection has this id.
pub(super) const NOWHERE: &str = "-";

/// Stands before the id of a collection that is only on the way to those of `collection_ids`.
pub(super) const WAY: &str = "way:";

/// See the module.
pub(super) struct Library {
    pub(super) api: Api,
    pub(super) root: Root,
    pub(super) scope: Scope,
    tree: OnceCell<Tree>,
    /// The assets that were listed last, until they are asked for their files.
    pub(super) listed: Mutex<RecentPages>,
    /// Where the changes continue behind the walk that this source has made.
    walked: Mutex<Walked>,
    pub(super) links: Mutex<HashMap<EntryId, Arc<tokio::sync::Mutex<Option<Link>>>>>,
}

/// What is synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
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
    pub(super) wanted: FileSelection,
    pub(super) view: Option<String>,
    /// The named parts that the mapping makes blobs of.
    pub(super) parts: Vec<NamedPart>,
    /// What filters and mappings name.
    pub(super) needed: Vec<String>,
}

/// The assets of the last two pages.
#[derive(Default)]
pub(super) struct RecentPages {
    pub(super) now: HashMap<EntryId, Arc<Asset>>,
    pub(super) before: HashMap<EntryId, Arc<Asset>>,
}

#[derive(Default)]
pub(super) struct Walked {
    pub(super) is_done: bool,
    pub(super) newest: Option<String>,
    pub(super) arriving: Vec<String>,
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
pub(super) struct Objects<T> {
    pub(super) objects: Option<Vec<T>>,
    pub(super) pages: Option<u64>,
    pub(super) per_page: Option<usize>,
    pub(super) total: Option<usize>,
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
        let place = SourcePath::parse(&String::from_utf8_lossy(&location.source_path))
            .map_err(|problem| misconfigured(format!("source_path {problem}")))?;
        library.root = match place {
            SourcePath::Everything => Root::Everything,
            SourcePath::Collection(id) => Root::Collection(id),
            SourcePath::Path(titles) => {
                Root::Collection(library.tree().await?.find(&titles)?.id.clone())
            }
        };
        Ok(library)
    }

    /// The collections, asked for once.
    pub(super) async fn tree(&self) -> Result<&Tree, SourceError> {
        self.tree.get_or_try_init(|| self.api.collections()).await
    }

    pub(super) fn root_id(&self) -> &str {
        match &self.root {
            Root::Everything => EVERYTHING,
            Root::Collection(id) => id,
        }
    }

    pub(super) fn is_selected(&self, id: &str) -> bool {
        self.scope.collections.iter().any(|selected| selected == id)
    }

    pub(super) fn walked(&self) -> MutexGuard<'_, Walked> {
        self.walked.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            filters_itself: false,
            asks_for_targets: false,
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
        self.stat_asset(id).await
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

    async fn fetch_part(
        &self,
        id: &EntryId,
        address: &PartAddress,
    ) -> Result<(PartFacts, Body), SourceError> {
        let (url, name) = self.part_address(id, address).await?;
        let response = self.api.download(url.expose_secret(), None).await?;
        if !response.status().is_success() {
            return Err(self.refused_download(response).await);
        }
        let mime = text_of(response.headers(), header::CONTENT_TYPE.as_str()).map(str::to_owned);
        let of_name = EntryPath::new(name.as_bytes()).mime_guess().map(str::to_owned);
        let filename = Some(name).filter(|name| !name.is_empty());
        let facts = PartFacts { mime: of_name.or(mime), filename };
        Ok((facts, Body::Stream(body_of(response, None))))
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
        let details = match (fingerprint.properties(), &fingerprint.details) {
            (Some(_), Some(details)) => (**details).clone(),
            _ => match self.stat_asset(id).await?.map(|entry| entry.kind) {
                Some(EntryKind::File(file)) => file.details.map(|of| *of).unwrap_or_default(),
                _ => Details::default(),
            },
        };
        let (properties, parts) = (details.properties.unwrap_or_default(), details.parts);
        Ok(Facts { mime: fingerprint.mime.clone(), properties, parts, ..Facts::default() })
    }

    async fn browse(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        match wanted {
            ItemKind::Folders => {
                let mut items = self.collections_in(self.root_id()).await?;
                let truncated = items.len() > limit;
                items.truncate(limit);
                Ok(Level { items, truncated })
            }
            ItemKind::Files => self.files_in(self.root_id(), limit).await,
        }
    }

    fn usage(&self) -> Usage {
        self.api.usage()
    }

    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }
}

/// The ids of an entry's asset and, for a further file, of that.
pub(super) fn ids(id: &EntryId) -> Option<(&str, Option<&str>)> {
    let text = str::from_utf8(id.as_bytes()).ok()?;
    let (asset, file) = match text.split_once('/') {
        Some((asset, file)) => (asset, Some(file)),
        None => (text, None),
    };
    (is_id(asset) && file.is_none_or(is_id)).then_some((asset, file))
}
