//! A folder in SharePoint or OneDrive as a source. The drive's delta is the only listing that is
//! promised to return everything (<https://learn.microsoft.com/graph/api/driveitem-delta>); it is
//! documented at the drive's root only, so a folder's sync reads the drive's and keeps what is
//! below.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    graph::{About, BATCH, Graph},
    item::{self, DriveItem, SELECT, Told},
    place::{Collection, Defaults, Found, Site},
};
use crate::{
    model::{Cursor, Entry, EntryId, Fingerprint, Folder, FolderId, Shard, Version},
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Page, Profile, RootFolder, RootIdentity,
        Source, SourceError, VersionMatch,
        browse::{Item, Level, Wanted},
        http as transport,
    },
};

/// How long an address of a listing is used; they expire after about an hour.
const URL_LIFE: Duration = Duration::from_secs(40 * 60);
/// Addresses that are kept for the entries which were listed last.
const MOST_URLS: usize = 5_000;
/// Items on a page of children.
const PAGE: usize = 200;
/// The token of a feed whose walk has yet to be made.
const FROM_WALK: &[u8] = b"walk";

/// See the module.
pub(super) struct SharePoint {
    graph: Graph,
    root: Root,
    /// Where the changes continue behind the walk that this source made last.
    walked_to: Mutex<Option<String>>,
    urls: Mutex<Urls>,
}

/// What a source is opened at.
pub(super) enum Root {
    /// A folder: what is below it can be synced.
    Folder(Found),
    /// A site's libraries, to look around in.
    Libraries { path: Vec<String>, defaults: Defaults },
    /// All sites, to look around in.
    Sites,
}

/// The addresses that listings gave, the newest only.
#[derive(Default)]
struct Urls {
    known: HashMap<EntryId, (SecretString, Instant)>,
    order: VecDeque<EntryId>,
}

impl Urls {
    fn put(&mut self, id: EntryId, url: SecretString) {
        if self.known.insert(id.clone(), (url, Instant::now())).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST_URLS {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn get(&self, id: &EntryId) -> Option<SecretString> {
        let (url, since) = self.known.get(id)?;
        (since.elapsed() < URL_LIFE).then(|| url.clone())
    }

    fn forget(&mut self, id: &EntryId) {
        if self.known.remove(id).is_some() {
            self.order.retain(|known| known != id);
        }
    }
}

#[async_trait]
impl Source for SharePoint {
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        let Found { drive, item } = self.found()?;
        let path = format!("/drives/{drive}/items/{item}?$select={SELECT}");
        let found: DriveItem = self.graph.get(&path, About::Place).await?;
        if found.folder.is_none() && found.root.is_none() {
            let message = "the place of this sync is no folder (any more)".to_owned();
            return Err(SourceError::RootMissing { message });
        }
        Ok(RootIdentity(Some(format!("{drive}!{item}"))))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.root().await.map(drop)
    }

    /// Drive and item: a place stays the same when it is renamed.
    fn place(&self) -> Option<Vec<u8>> {
        let Found { drive, item } = self.found().ok()?;
        Some(format!("{drive}!{item}").into_bytes())
    }

    /// Graph names nobody who is signed in as an application; asking for the place shows that these
    /// credentials are good.
    async fn account(&self) -> Result<Option<String>, SourceError> {
        match &self.root {
            Root::Folder(_) => self.root().await.map(drop)?,
            Root::Libraries { .. } | Root::Sites => {
                self.graph.get::<Site>("/sites/root", About::Place).await.map(drop)?;
            }
        }
        Ok(None)
    }

    fn profile(&self) -> Profile {
        let root = self.found().ok().map(|Found { drive, item }| RootFolder {
            id: item::entry_id(drive, item),
            path: EntryId::new(""),
        });
        Profile {
            roots: root.into_iter().collect(),
            listing: Listing::Flat,
            has_feed: true,
            absence: Absence::Ask { at_once: BATCH },
            has_outlines: false,
        }
    }

    fn walk(
        &self,
        _shard: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let start = from.and_then(|from| String::from_utf8(from.0).ok());
        let start = match start.map_or_else(|| self.delta_from_the_beginning(), Ok) {
            Ok(start) => start,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        self.keep_walked_to(None);
        stream::try_unfold(Some(start), async |next| {
            let Some(link) = next else { return Ok(None) };
            let mut page = match self.page(&link).await {
                // A walk that cannot be continued begins anew: what was listed is listed again, and
                // nothing is removed before its end.
                Err(SourceError::FeedExpired { .. }) => {
                    self.page(&self.delta_from_the_beginning()?).await?
                }
                page => page?,
            };
            let (next, delta) = (page.next.take(), page.delta.take());
            if let Some(delta) = delta {
                self.keep_walked_to(Some(delta));
            }
            let cursor = next.clone().map(|next| Cursor(next.into_bytes()));
            Ok(Some((Page { cursor, ..self.told(page.value) }, next)))
        })
        .boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        match self.item(id).await {
            Ok(found) => match self.one(id, found) {
                Told::Entry(entry) => Ok(Some(entry)),
                _ => Ok(None),
            },
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let known = self.urls().get(id);
        let url = match known.clone() {
            Some(url) => url,
            None => self.new_url(id).await?,
        };
        let mut response = self.graph.download(url.expose_secret(), header_of(range)).await?;
        if is_expired(response.status()) {
            self.urls().forget(id);
            let url = self.new_url(id).await?;
            response = self.graph.download(url.expose_secret(), header_of(range)).await?;
        }
        if !response.status().is_success() {
            return Err(self.graph.refused_download(response).await);
        }
        let facts = Facts {
            mime: fingerprint.mime.clone(),
            properties: fingerprint.properties().cloned().unwrap_or_default(),
            ..Facts::default()
        };
        Ok(Content { facts, body: Body::Stream(transport::body_of(response, range)) })
    }

    fn children(
        &self,
        _shard: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let links: VecDeque<String> = folders
            .iter()
            .filter_map(item::parts)
            .map(|(drive, item)| {
                let path = format!("/drives/{drive}/items/{item}/children");
                let path = format!("/v1.0{path}?$top={PAGE}&$select={SELECT}");
                self.graph.host.url(&path)
            })
            .collect();
        stream::try_unfold(links, async |mut links| {
            let Some(link) = links.pop_front() else { return Ok(None) };
            let page: Collection<DriveItem> = match self.graph.follow(&link, About::Item).await {
                // Gone meanwhile: there is nothing in it.
                Err(SourceError::NotFound { .. }) => return Ok(Some((Page::default(), links))),
                page => page?,
            };
            if let Some(next) = page.next {
                links.push_front(next);
            }
            Ok(Some((self.told(page.value), links)))
        })
        .boxed()
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        match self.item(id).await {
            Ok(found) => match self.one(id, found) {
                Told::Folder(folder) => Ok(Some(folder)),
                _ => Ok(None),
            },
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The walk itself ends with the token: whatever happens while it is under way is in the
    /// changes behind it.
    async fn feed_token(&self, _shard: &Shard) -> Result<Cursor, SourceError> {
        Ok(Cursor(FROM_WALK.to_vec()))
    }

    fn changes(&self, _shard: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        if from.0 == FROM_WALK {
            let walked_to = self.walked_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(delta) = walked_to {
                let page = Page { cursor: Some(Cursor(delta.into_bytes())), ..Page::default() };
                return stream::iter([Ok(page)]).boxed();
            }
            // The process that walked is gone: everything is listed as if it had changed.
            return match self.delta_from_the_beginning() {
                Ok(link) => self.changes_from(link),
                Err(error) => stream::iter([Err(error)]).boxed(),
            };
        }
        match String::from_utf8(from.0) {
            Ok(link) => self.changes_from(link),
            Err(_) => {
                let message = "the stored token is no address".to_owned();
                stream::iter([Err(SourceError::FeedExpired { message })]).boxed()
            }
        }
    }

    async fn existing(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        let known: Vec<(&EntryId, String)> = ids
            .iter()
            .filter_map(|id| {
                let (drive, item) = item::parts(id)?;
                Some((id, format!("/drives/{drive}/items/{item}?$select=id")))
            })
            .collect();
        let mut existing = Vec::new();
        for some in known.chunks(BATCH) {
            let paths: Vec<String> = some.iter().map(|(_, path)| path.clone()).collect();
            let found: Vec<Option<Value>> = self.graph.batch(&paths).await?;
            let there = some.iter().zip(found).filter(|(_, found)| found.is_some());
            existing.extend(there.map(|((id, _), _)| (*id).clone()));
        }
        Ok(existing)
    }

    fn compare(&self, stored: &[u8], listed: &Version) -> VersionMatch {
        item::compare(stored, &listed.0)
    }

    async fn browse(&self, wanted: Wanted, limit: usize) -> Result<Level, SourceError> {
        let Found { drive, item } = match &self.root {
            Root::Folder(found) => found,
            Root::Libraries { path, defaults } => return self.libraries(path, defaults).await,
            Root::Sites => return self.sites(limit).await,
        };
        let path = format!("/drives/{drive}/items/{item}/children");
        let path = format!("/v1.0{path}?$top={PAGE}&$select={SELECT}&$orderby=name");
        let mut next = Some(self.graph.host.url(&path));
        let mut level = Level::default();
        while let Some(link) = next.take() {
            let page: Collection<DriveItem> = self.graph.follow(&link, About::Place).await?;
            next = page.next;
            for found in page.value {
                let item = match (wanted, found.told(drive)) {
                    (Wanted::Folders, Told::Folder(found)) => {
                        folder(found.name, found.id.to_json_text())
                    }
                    (Wanted::Files, Told::Entry(entry)) => file_of(entry),
                    _ => continue,
                };
                if level.items.len() == limit {
                    level.truncated = true;
                    return Ok(level);
                }
                level.items.push(item);
            }
        }
        Ok(level)
    }

    fn usage(&self) -> transport::Usage {
        self.graph.http.meter().usage()
    }

    fn default_concurrency(&self) -> usize {
        8
    }
}

impl SharePoint {
    pub(super) fn new(graph: Graph, root: Root) -> Self {
        Self { graph, root, walked_to: Mutex::default(), urls: Mutex::default() }
    }

    /// The folder that is synced.
    fn found(&self) -> Result<&Found, SourceError> {
        match &self.root {
            Root::Folder(found) => Ok(found),
            Root::Libraries { .. } | Root::Sites => Err(SourceError::RootMissing {
                message: "this place has libraries and no files: name one of them".to_owned(),
            }),
        }
    }

    fn drive(&self) -> &str {
        self.found().map_or("", |found| &found.drive)
    }

    fn delta_from_the_beginning(&self) -> Result<String, SourceError> {
        let path = format!("/v1.0/drives/{}/root/delta?$select={SELECT}", self.found()?.drive);
        Ok(self.graph.host.url(&path))
    }

    /// The libraries of a site, as folders.
    async fn libraries(&self, path: &[String], defaults: &Defaults) -> Result<Level, SourceError> {
        let (site, _) = self.graph.site(path, defaults).await?;
        let mut level = Level::default();
        for library in self.graph.libraries(&site.id).await? {
            let root = format!("/drives/{}/root?$select=id", library.id);
            let root: DriveItem = self.graph.get(&root, About::Place).await?;
            let id = item::entry_id(&item::drive_id(&library.id), &root.id);
            level.items.push(folder(library.name.unwrap_or_default(), id.to_json_text()));
        }
        Ok(level)
    }

    /// The sites that can be seen, as folders.
    async fn sites(&self, limit: usize) -> Result<Level, SourceError> {
        let mut next = Some(self.graph.host.url("/v1.0/sites?search=*"));
        let mut level = Level::default();
        while let Some(link) = next.take() {
            let page: Collection<Site> = self.graph.follow(&link, About::Place).await?;
            next = page.next;
            for site in page.value {
                // Sites elsewhere than below /sites are reached by their ids only.
                let address = site.web_url.as_deref().and_then(|url| url.split_once("/sites/"));
                let Some((_, path)) = address else { continue };
                if level.items.len() == limit {
                    level.truncated = true;
                    return Ok(level);
                }
                let name = site.display_name.unwrap_or_else(|| path.to_owned());
                level.items.push(folder(name, format!("/sites/{path}")));
            }
        }
        Ok(level)
    }

    /// A page of the drive's delta.
    async fn page(&self, link: &str) -> Result<Collection<DriveItem>, SourceError> {
        self.graph.follow(link, About::Changes).await
    }

    fn changes_from(&self, link: String) -> BoxStream<'_, Result<Page, SourceError>> {
        stream::try_unfold(Some(link), async |next| {
            let Some(link) = next else { return Ok(None) };
            let mut page = self.page(&link).await?;
            let (next, delta) = (page.next.take(), page.delta.take());
            let Some(token) = next.clone().or(delta) else {
                let message = "a page of changes ends without saying where to continue".to_owned();
                return Err(SourceError::Garbled { message });
            };
            let cursor = Some(Cursor(token.into_bytes()));
            Ok(Some((Page { cursor, ..self.told(page.value) }, next)))
        })
        .boxed()
    }

    /// The items of a page. The same one may come several times: the last counts.
    fn told(&self, items: Vec<DriveItem>) -> Page {
        let mut last: HashMap<String, usize> = HashMap::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            last.insert(item.id.clone(), index);
        }
        let mut page = Page::default();
        for (index, mut item) in items.into_iter().enumerate() {
            if last.get(&item.id) != Some(&index) {
                continue;
            }
            let url = item.download_url.take();
            match item.told(self.drive()) {
                Told::Folder(folder) => page.folders.push(folder),
                Told::Entry(entry) => {
                    if let Some(url) = url {
                        self.urls().put(entry.id.clone(), url);
                    }
                    page.entries.push(entry);
                }
                Told::Removed(id) => page.removed.push(id),
                Told::Nothing => {}
            }
        }
        page
    }

    async fn item(&self, id: &EntryId) -> Result<DriveItem, SourceError> {
        let Some((drive, item)) = item::parts(id) else {
            let message = "this is no id of an item".to_owned();
            return Err(SourceError::NotFound { message });
        };
        let path = format!("/v1.0/drives/{drive}/items/{item}?$select={SELECT}");
        self.graph.get_once(&self.graph.host.url(&path), About::Item).await
    }

    /// An item that was asked for by its id.
    fn one(&self, id: &EntryId, mut found: DriveItem) -> Told {
        if let Some(url) = found.download_url.take() {
            self.urls().put(id.clone(), url);
        }
        found.told(self.drive())
    }

    /// A new address to download an item from.
    async fn new_url(&self, id: &EntryId) -> Result<SecretString, SourceError> {
        let Some((drive, item)) = item::parts(id) else {
            let message = "this is no id of an item".to_owned();
            return Err(SourceError::NotFound { message });
        };
        let path = format!("/drives/{drive}/items/{item}/content");
        let url = SecretString::from(self.graph.content(&path).await?);
        self.urls().put(id.clone(), url.clone());
        Ok(url)
    }

    fn keep_walked_to(&self, delta: Option<String>) {
        *self.walked_to.lock().unwrap_or_else(PoisonError::into_inner) = delta;
    }

    fn urls(&self) -> std::sync::MutexGuard<'_, Urls> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn folder(name: impl Into<Vec<u8>>, id: String) -> Item {
    Item {
        name: EntryId::new(name),
        id: Some(id),
        note: None,
        mime: None,
        size: None,
        modified: None,
    }
}

fn file_of(entry: Entry) -> Item {
    let file = match entry.kind {
        crate::model::EntryKind::File(file) => Some(file),
        _ => None,
    };
    Item {
        name: entry.path,
        id: Some(entry.id.to_json_text()),
        note: None,
        mime: file.as_ref().and_then(|file| file.mime.clone()),
        size: file.as_ref().map(|file| file.size),
        modified: file.and_then(|file| file.modified),
    }
}

/// A pre-signed address that is good no more, or whose item is gone.
const fn is_expired(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 404 | 410)
}

fn header_of(range: Option<ByteRange>) -> Option<String> {
    range.map(|range| format!("bytes={}-{}", range.start, range.start + range.len - 1))
}
