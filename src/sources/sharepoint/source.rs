//! A folder in SharePoint or OneDrive as a source. The drive's delta is the only listing that is
//! promised to return everything (<https://learn.microsoft.com/graph/api/driveitem-delta>); it is
//! documented at the drive's root only, so a folder's sync reads the drive's and keeps what is
//! below.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
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
    columns::Columns,
    graph::{About, BATCH, Graph},
    item::{self, DriveItem, ListedItem, SELECT},
    source_path::{Collection, DriveFolder, Site, SourcePath},
};
use crate::{
    model::{Cursor, Entry, EntryId, EntryKind, Fingerprint, Folder, FolderId, Shard, Version},
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Page, Profile, RootFolder, RootIdentity,
        Source, SourceError, VersionMatch,
        browse::{Item, ItemKind, Level},
        http as transport,
        trail::Trail,
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
/// How often a walk begins anew because the provider asks for it.
const MOST_RESYNCS: usize = 5;

/// See the module.
pub(super) struct SharePoint {
    graph: Graph,
    root: Root,
    /// What can be synced; none where the root is only looked around in.
    parts: Vec<Part>,
    columns: Columns,
    /// The walks that this source has made last, by shard.
    walks: Mutex<BTreeMap<String, Walk>>,
    urls: Mutex<Urls>,
}

/// What a source is opened at.
pub(super) enum Root {
    /// A folder: what is below it can be synced.
    Folder(DriveFolder),
    /// The drive of whoever signed in, which is looked around in beside the sites.
    Own(DriveFolder),
    /// Libraries of a site, by their names: what is in them can be synced.
    Libraries { site: String, all: Vec<(String, DriveFolder)> },
    /// A site's libraries, to look around in.
    Site { id: String },
    /// All sites, to look around in; `follows`: those first that whoever signed in follows.
    Sites { follows: bool },
}

/// A folder that is synced, with the drive whose feed reports its changes.
struct Part {
    shard: Shard,
    /// What the paths of its entries begin with.
    path: String,
    found: DriveFolder,
}

/// How far a walk has come.
#[derive(Clone, Debug, Default)]
struct Walk {
    /// Where the changes continue behind it, once it has ended.
    to: Option<String>,
    /// Whether it has listed the folder that is synced.
    has_root: bool,
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
    /// The place names it already, and the walk that follows lists it: only where that has not,
    /// the provider is asked.
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        for part in &self.parts {
            let walk = self.walks().get(part.shard.name()).cloned();
            if walk.is_some_and(|walk| !walk.has_root) {
                self.look_at(&part.found).await?;
            }
        }
        match self.parts.as_slice() {
            [] => Err(self.no_folder().await),
            parts => {
                let ids: Vec<String> = parts.iter().map(|part| part.id().to_json_text()).collect();
                Ok(RootIdentity(Some(ids.join("/"))))
            }
        }
    }

    async fn probe(&self) -> Result<(), SourceError> {
        for part in &self.parts {
            self.look_at(&part.found).await?;
        }
        if self.parts.is_empty() { Err(self.no_folder().await) } else { Ok(()) }
    }

    /// Drive and item: a place stays the same when it is renamed.
    fn place(&self) -> Option<Vec<u8>> {
        let place = match &self.root {
            Root::Folder(DriveFolder { drive, item }) | Root::Own(DriveFolder { drive, item }) => {
                SourcePath::Item { drive: drive.clone(), item: item.clone() }
            }
            Root::Libraries { site, all } => {
                SourcePath::Libraries { site: site.clone(), all: all.clone() }
            }
            Root::Site { .. } | Root::Sites { .. } => return None,
        };
        Some(place.spelled().into_bytes())
    }

    /// Graph names nobody who is signed in as an application; asking for the place shows that these
    /// credentials are good.
    async fn account(&self) -> Result<Option<String>, SourceError> {
        match &self.root {
            Root::Folder(_) | Root::Own(_) | Root::Libraries { .. } => self.probe().await?,
            Root::Site { id } => {
                self.graph.libraries(id).await.map(drop)?;
            }
            Root::Sites { .. } => {
                self.graph.get::<Site>("/sites/root", About::Place).await.map(drop)?;
            }
        }
        Ok(None)
    }

    fn profile(&self) -> Profile {
        let root = |part: &Part| RootFolder { id: part.id(), path: EntryId::new(&*part.path) };
        Profile {
            roots: self.parts.iter().map(root).collect(),
            listing: Listing::Flat,
            has_feed: true,
            absence: Absence::Ask { at_once: BATCH },
            has_outlines: false,
            filters_itself: false,
            asks_for_targets: false,
        }
    }

    fn shards(&self) -> Vec<Shard> {
        match self.parts.as_slice() {
            [] => vec![Shard::whole()],
            parts => parts.iter().map(|part| part.shard.clone()).collect(),
        }
    }

    fn shard_of(&self, entry: &Entry) -> Option<usize> {
        let (drive, _) = item::parts(&entry.id)?;
        self.parts.iter().position(|part| part.found.drive == drive)
    }

    fn walk(
        &self,
        shard: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let part = match self.part(shard) {
            Ok(part) => part,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let start = from.and_then(|from| String::from_utf8(from.0).ok());
        let start = start.unwrap_or_else(|| self.delta_from_the_beginning(part));
        self.walks().insert(part.shard.name().to_owned(), Walk::default());
        let start = (Some(start), 0, Trail::default());
        stream::try_unfold(start, move |(next, resyncs, mut trail)| async move {
            let Some(link) = next else { return Ok(None) };
            let before = resyncs;
            let (mut page, resyncs) = self.page_of_walk(part, &link, before).await?;
            if resyncs != before {
                trail = Trail::default();
            }
            let (next, delta) = (page.next.take(), page.delta.take());
            trail.follow(page.value.len(), next.as_deref())?;
            let is_root = |item: &DriveItem| item.id == part.found.item && item.deleted.is_none();
            let has_root = page.value.iter().any(is_root);
            let cursor = next.clone().map(|next| Cursor(next.into_bytes()));
            let page = Page { cursor, ..self.page_of(part, page.value).await? };
            if let Some(walk) = self.walks().get_mut(part.shard.name()) {
                walk.has_root |= has_root;
                walk.to = delta;
            }
            Ok(Some((page, (next, resyncs, trail))))
        })
        .boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        match self.item(id).await {
            Ok(found) => match self.one(id, found).await? {
                ListedItem::Entry(entry) => Ok(Some(entry)),
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

    /// Asks for the item again: the bytes may be those of a version that the listing did not know
    /// yet.
    async fn confirm(&self, id: &EntryId, listed: &Fingerprint) -> Result<(), SourceError> {
        let changed = || {
            let message = "the provider has another version of it by now".to_owned();
            Err(SourceError::Changed { message })
        };
        match self.stat(id).await? {
            Some(Entry { kind: EntryKind::File(now), .. }) => {
                match item::compare(&listed.version.0, &now.version.0) {
                    VersionMatch::Same => Ok(()),
                    VersionMatch::Other | VersionMatch::Unknown => changed(),
                }
            }
            _ => changed(),
        }
    }

    fn children(
        &self,
        shard: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let part = match self.part(shard) {
            Ok(part) => part,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let links: VecDeque<String> = folders
            .iter()
            .filter_map(item::parts)
            .map(|(drive, item)| {
                let path = format!("/drives/{drive}/items/{item}/children");
                let expansion = self.columns.expansion(drive);
                let path = format!("/v1.0{path}?$top={PAGE}&$select={SELECT}{expansion}");
                self.graph.host.url(&path)
            })
            .collect();
        let start = (links, Trail::default());
        stream::try_unfold(start, move |(mut links, mut trail)| async move {
            let Some(link) = links.pop_front() else { return Ok(None) };
            let page: Collection<DriveItem> = match self.graph.follow(&link, About::Item).await {
                // Gone meanwhile: there is nothing in it.
                Err(SourceError::NotFound { .. }) => {
                    return Ok(Some((Page::default(), (links, trail))));
                }
                page => page?,
            };
            trail.follow(page.value.len(), page.next.as_deref())?;
            if let Some(next) = page.next {
                links.push_front(next);
            }
            Ok(Some((self.page_of(part, page.value).await?, (links, trail))))
        })
        .boxed()
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        match self.item(id).await {
            Ok(found) => match self.one(id, found).await? {
                ListedItem::Folder(folder) => Ok(Some(folder)),
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

    fn changes(&self, shard: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        let part = match self.part(shard) {
            Ok(part) => part,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        if from.0 == FROM_WALK {
            let walked_to = self.walks().get(shard.name()).and_then(|walk| walk.to.clone());
            if let Some(delta) = walked_to {
                let page = Page { cursor: Some(Cursor(delta.into_bytes())), ..Page::default() };
                return stream::iter([Ok(page)]).boxed();
            }
            // The process that walked is gone: everything is listed as if it had changed.
            return self.changes_from(part, self.delta_from_the_beginning(part));
        }
        match String::from_utf8(from.0) {
            Ok(link) => self.changes_from(part, link),
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
                // What is in a library that is no longer named is below no root.
                self.parts.iter().find(|part| part.found.drive == drive)?;
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

    async fn browse(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        let DriveFolder { drive, item } = match &self.root {
            Root::Folder(found) | Root::Own(found) => found,
            Root::Libraries { site: id, .. } | Root::Site { id } => {
                return self.libraries(id).await;
            }
            Root::Sites { follows } => return self.sites(*follows, limit).await,
        };
        let path = format!("/drives/{drive}/items/{item}/children");
        let path = format!("/v1.0{path}?$top={PAGE}&$select={SELECT}&$orderby=name");
        let mut next = Some(self.graph.host.url(&path));
        let (mut level, mut trail) = (Level::default(), Trail::default());
        let has_sites = matches!(self.root, Root::Own(_)) && !item::is_personal(drive);
        if has_sites && wanted == ItemKind::Folders {
            level.items.push(folder("SharePoint sites", "/sites".to_owned()));
        }
        while let Some(link) = next.take() {
            let page: Collection<DriveItem> = self.graph.follow(&link, About::Place).await?;
            trail.follow(page.value.len(), page.next.as_deref())?;
            next = page.next;
            for found in page.value {
                let item = match (wanted, found.into_listed(drive)) {
                    (ItemKind::Folders, ListedItem::Folder(found)) => {
                        folder(found.name, found.id.to_json_text())
                    }
                    (ItemKind::Files, ListedItem::Entry(entry)) => file_of(entry),
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
    pub(super) fn new(graph: Graph, root: Root, columns: Columns) -> Self {
        let parts = match &root {
            Root::Folder(found) | Root::Own(found) => {
                let (shard, path) = (Shard::whole(), String::new());
                vec![Part { shard, path, found: found.clone() }]
            }
            Root::Libraries { all, .. } => {
                let part = |(name, found): &(String, DriveFolder)| Part {
                    shard: Shard::named(name),
                    path: name.clone(),
                    found: found.clone(),
                };
                all.iter().map(part).collect()
            }
            Root::Site { .. } | Root::Sites { .. } => Vec::new(),
        };
        Self { graph, root, parts, columns, walks: Mutex::default(), urls: Mutex::default() }
    }

    /// Why there is no folder that can be synced.
    async fn no_folder(&self) -> SourceError {
        match &self.root {
            Root::Site { id } => match self.graph.folder_of_site(id, &[]).await {
                Err(error) => error,
                Ok(_) => SourceError::RootMissing { message: "the place is a site".to_owned() },
            },
            _ => SourceError::RootMissing { message: "the place names no site".to_owned() },
        }
    }

    fn part(&self, shard: &Shard) -> Result<&Part, SourceError> {
        let found = self.parts.iter().find(|part| part.shard.name() == shard.name());
        found.ok_or_else(|| SourceError::RootMissing {
            message: "the place of this sync is no folder".to_owned(),
        })
    }

    /// Makes sure that a folder is there.
    async fn look_at(&self, DriveFolder { drive, item }: &DriveFolder) -> Result<(), SourceError> {
        let path = format!("/drives/{drive}/items/{item}?$select={SELECT}");
        let found: DriveItem = self.graph.get(&path, About::Place).await?;
        if found.folder.is_none() && found.root.is_none() {
            let message = "the place of this sync is no folder (any more)".to_owned();
            return Err(SourceError::RootMissing { message });
        }
        Ok(())
    }

    fn delta_from_the_beginning(&self, part: &Part) -> String {
        let drive = &part.found.drive;
        let expansion = self.columns.expansion(drive);
        let path = format!("/v1.0/drives/{drive}/root/delta?$select={SELECT}{expansion}");
        self.graph.host.url(&path)
    }

    /// A page of a walk, which begins anew where it cannot be continued: what was listed is listed
    /// again, and nothing is removed before its end. Returns how often that was asked for.
    async fn page_of_walk(
        &self,
        part: &Part,
        link: &str,
        resyncs: usize,
    ) -> Result<(Collection<DriveItem>, usize), SourceError> {
        let (mut link, mut resyncs) = (link.to_owned(), resyncs);
        loop {
            let message = match self.graph.follow(&link, About::Changes).await {
                Err(SourceError::FeedExpired { message }) => message,
                page => return Ok((page?, resyncs)),
            };
            if resyncs == MOST_RESYNCS {
                self.look_at(&part.found).await?;
                let message = format!(
                    "the listing had to begin anew {MOST_RESYNCS} times and still has no end: \
                     {message}"
                );
                return Err(SourceError::Transient { message });
            }
            (link, resyncs) = (self.delta_from_the_beginning(part), resyncs + 1);
        }
    }

    /// The libraries of a site, as folders.
    async fn libraries(&self, site: &str) -> Result<Level, SourceError> {
        let mut level = Level::default();
        for library in self.graph.libraries(site).await? {
            let root = format!("/drives/{}/root?$select=id", library.id);
            let root: DriveItem = self.graph.get(&root, About::Place).await?;
            let id = item::entry_id(&item::drive_id(&library.id), &root.id);
            level.items.push(folder(library.name.unwrap_or_default(), id.to_json_text()));
        }
        Ok(level)
    }

    /// The sites that can be seen, as folders.
    async fn sites(&self, follows: bool, limit: usize) -> Result<Level, SourceError> {
        let mut level = Level::default();
        let mut lists = vec!["/v1.0/sites?search=*"];
        if follows {
            lists.push("/v1.0/me/followedSites");
        }
        while let Some(list) = lists.pop() {
            let is_last = lists.is_empty();
            let (mut next, mut trail) = (Some(self.graph.host.url(list)), Trail::default());
            while let Some(link) = next.take() {
                let page: Collection<Site> = match self.graph.follow(&link, About::Place).await {
                    // Who may not see what they follow may still search.
                    Err(error) if !is_last && !matches!(error, SourceError::Held { .. }) => break,
                    page => page?,
                };
                trail.follow(page.value.len(), page.next.as_deref())?;
                next = page.next;
                for site in page.value {
                    let (name, place) = named(site);
                    if level.items.iter().any(|item| item.id.as_ref() == Some(&place)) {
                        continue;
                    }
                    if level.items.len() == limit {
                        level.truncated = true;
                        return Ok(level);
                    }
                    level.items.push(folder(name, place));
                }
            }
        }
        Ok(level)
    }

    fn changes_from<'a>(
        &'a self,
        part: &'a Part,
        link: String,
    ) -> BoxStream<'a, Result<Page, SourceError>> {
        let start = (Some(link), Trail::default());
        stream::try_unfold(start, move |(next, mut trail)| async move {
            let Some(link) = next else { return Ok(None) };
            let mut page: Collection<DriveItem> = self.graph.follow(&link, About::Changes).await?;
            let (next, delta) = (page.next.take(), page.delta.take());
            trail.follow(page.value.len(), next.as_deref())?;
            let Some(token) = next.clone().or(delta) else {
                let message = "a page of changes ends without saying where to continue".to_owned();
                return Err(SourceError::Garbled { message });
            };
            let cursor = Some(Cursor(token.into_bytes()));
            let page = Page { cursor, ..self.page_of(part, page.value).await? };
            Ok(Some((page, (next, trail))))
        })
        .boxed()
    }

    /// The items of a page. The same one may come several times: the last counts.
    async fn page_of(&self, part: &Part, items: Vec<DriveItem>) -> Result<Page, SourceError> {
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
            self.name_columns(&part.found.drive, &mut item).await?;
            match item.into_listed(&part.found.drive) {
                ListedItem::Folder(folder) => page.folders.push(folder),
                ListedItem::Entry(entry) => {
                    if let Some(url) = url {
                        self.urls().put(entry.id.clone(), url);
                    }
                    page.entries.push(entry);
                }
                ListedItem::Removed(id) => page.removed.push(id),
                ListedItem::Nothing => {}
            }
        }
        Ok(page)
    }

    /// Gives an item the columns that were asked for.
    async fn name_columns(&self, drive: &str, item: &mut DriveItem) -> Result<(), SourceError> {
        let Some(fields) = item.fields() else { return Ok(()) };
        let names = match self.columns.is_incomplete(fields) {
            true => Some(self.columns.names(&self.graph, drive).await?),
            false => None,
        };
        item.columns = self.columns.values(fields, names.as_deref());
        Ok(())
    }

    async fn item(&self, id: &EntryId) -> Result<DriveItem, SourceError> {
        let Some((drive, item)) = item::parts(id) else {
            let message = "this is no id of an item".to_owned();
            return Err(SourceError::NotFound { message });
        };
        let expansion = self.columns.expansion(drive);
        let path = format!("/v1.0/drives/{drive}/items/{item}?$select={SELECT}{expansion}");
        self.graph.get_once(&self.graph.host.url(&path), About::Item).await
    }

    /// An item that was asked for by its id.
    async fn one(&self, id: &EntryId, mut found: DriveItem) -> Result<ListedItem, SourceError> {
        let drive = item::parts(id).map_or("", |(drive, _)| drive);
        if let Some(url) = found.download_url.take() {
            self.urls().put(id.clone(), url);
        }
        self.name_columns(drive, &mut found).await?;
        Ok(found.into_listed(drive))
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

    fn walks(&self) -> MutexGuard<'_, BTreeMap<String, Walk>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn urls(&self) -> MutexGuard<'_, Urls> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// The id of its folder.
    fn id(&self) -> FolderId {
        item::entry_id(&self.found.drive, &self.found.item)
    }
}

/// A site's name and place: those elsewhere than below /sites are reached by their ids.
fn named(site: Site) -> (String, String) {
    let path = site.web_url.as_deref().and_then(|url| url.split_once("/sites/"));
    let (name, place) = match path {
        Some((_, path)) => (path.to_owned(), format!("/sites/{path}")),
        None => (site.id.clone(), site.id),
    };
    (site.display_name.unwrap_or(name), place)
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
        EntryKind::File(file) => Some(file),
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
