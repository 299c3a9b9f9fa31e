//! A drive that lives in memory: files and folders known by id, a change feed, listings that skip,
//! tokens that expire. For tests that drive the engine itself, and an example of a source by id.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "written like a library, for its readers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use catchment::{
    config::SourceTuning,
    model::{
        Credentials, Cursor, Details, Entry, EntryId, EntryKind, EntryPath, Fingerprint, Folder,
        FolderId, Location, Shard, SizeKind, SyncOptions, Version,
    },
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Opener, Page, Profile, RootFolder,
        RootIdentity, Source, SourceError,
    },
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::sync::Notify;

/// The id of the folder that is synced.
pub const ROOT: &str = "root";
/// The id of a folder beside it.
pub const ELSEWHERE: &str = "elsewhere";

/// A file of the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The folder that it is in.
    pub parent: String,
    /// Its name, which others in that folder may have, too.
    pub name: String,
    /// Changes with its content.
    pub version: u64,
    /// Changes with what is said of it.
    pub mark: i64,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What is in the drive, and what is to go wrong with it.
#[derive(Debug, Default)]
pub struct World {
    /// By id.
    pub files: BTreeMap<String, File>,
    /// Folders by id, with their parents and names.
    pub folders: BTreeMap<String, (Option<String>, String)>,
    /// What the feed reports, by id, oldest first.
    pub log: Vec<String>,
    /// Tokens of another generation are refused.
    pub generation: u64,
    /// Counts what happens.
    pub clock: u64,
    /// Whether it is listed folder by folder.
    pub by_folder: bool,
    /// Listings do not show these files, though they exist.
    pub skipped: BTreeSet<String>,
    /// The next listing or feed breaks before this page.
    pub break_before_page: Option<usize>,
    /// The feed refuses its token before this page.
    pub expire_before_page: Option<usize>,
    /// The next request of the feed is held until then.
    pub held_until: Option<jiff::Timestamp>,
    /// The credentials work no more.
    pub is_signed_out: bool,
    /// After so many fetches, the process dies.
    pub die_after: Option<usize>,
    /// Rings when it does.
    pub died: Arc<Notify>,
    /// The requests that were made, fetches by their ids.
    pub requests: Vec<String>,
    /// Sizes that the listing claims wrongly, by id.
    pub claims: BTreeMap<String, u64>,
    /// Files whose size is not listed, by id.
    pub unknown_sizes: BTreeSet<String>,
    /// Files whose bytes come with the listing, by id.
    pub inline: BTreeSet<String>,
}

impl World {
    /// Makes a file or changes its content.
    pub fn put(&mut self, id: &str, parent: &str, name: &str, content: impl Into<Vec<u8>>) {
        self.clock += 1;
        let (version, mark) = (self.clock, i64::try_from(self.clock).unwrap());
        let (parent, name) = (parent.to_owned(), name.to_owned());
        self.files
            .insert(id.to_owned(), File { parent, name, version, mark, content: content.into() });
        self.log.push(id.to_owned());
    }

    /// Moves or renames a file.
    pub fn relocate(&mut self, id: &str, parent: &str, name: &str) {
        self.clock += 1;
        if let Some(file) = self.files.get_mut(id) {
            file.parent = parent.to_owned();
            file.name = name.to_owned();
            file.mark = i64::try_from(self.clock).unwrap();
            self.log.push(id.to_owned());
        }
    }

    /// Makes, moves or renames a folder.
    pub fn put_folder(&mut self, id: &str, parent: &str, name: &str) {
        self.folders.insert(id.to_owned(), (Some(parent.to_owned()), name.to_owned()));
        self.log.push(id.to_owned());
    }

    /// Removes a file, or a folder with all that is below it; of that the feed says nothing.
    pub fn remove(&mut self, id: &str) {
        self.files.remove(id);
        if self.folders.remove(id).is_some() {
            let below: Vec<String> = self.children_of(id);
            for child in below {
                self.remove_silently(&child);
            }
        }
        self.log.push(id.to_owned());
    }

    fn remove_silently(&mut self, id: &str) {
        self.files.remove(id);
        if self.folders.remove(id).is_some() {
            for child in self.children_of(id) {
                self.remove_silently(&child);
            }
        }
    }

    fn children_of(&self, id: &str) -> Vec<String> {
        let files = self.files.iter().filter(|(_, file)| file.parent == id).map(|(id, _)| id);
        let folders = self.folders.iter().filter(|(_, (parent, _))| parent.as_deref() == Some(id));
        files.chain(folders.map(|(id, _)| id)).cloned().collect()
    }

    /// The path of what is in a folder under a name; `None` outside of the root.
    pub fn path(&self, parent: &str, name: &str) -> Option<String> {
        let mut path = name.to_owned();
        let mut at = parent.to_owned();
        while at != ROOT {
            let (parent, name) = self.folders.get(&at)?;
            path = format!("{name}/{path}");
            at = parent.clone()?;
        }
        Some(path)
    }

    /// Whether a folder is, or is below, another one.
    pub fn is_below(&self, folder: &str, ancestor: &str) -> bool {
        let mut at = folder.to_owned();
        loop {
            if at == ancestor {
                return true;
            }
            match self.folders.get(&at) {
                Some((Some(parent), _)) => at = parent.clone(),
                _ => return false,
            }
        }
    }

    /// What a complete sync of the root has, by id.
    pub fn expected(&self) -> BTreeMap<String, (String, Vec<u8>)> {
        self.files
            .iter()
            .filter_map(|(id, file)| {
                let path = self.path(&file.parent, &file.name)?;
                Some((id.clone(), (path, file.content.clone())))
            })
            .collect()
    }

    fn entry(&self, id: &str, file: &File) -> Entry {
        let size = match (self.claims.get(id), self.unknown_sizes.contains(id)) {
            (_, true) => SizeKind::Unknown,
            (Some(_), _) => SizeKind::Claimed,
            _ => SizeKind::Exact,
        };
        let bytes = self.inline.contains(id).then(|| Bytes::from(file.content.clone()));
        let details = Details { size, facts_mark: Some(file.mark), bytes, ..Details::default() };
        let known = if size == SizeKind::Unknown { 0 } else { file.content.len() as u64 };
        Entry {
            id: path(id),
            path: path(&file.name),
            parent: Some(path(&file.parent)),
            kind: EntryKind::File(Fingerprint {
                size: self.claims.get(id).copied().unwrap_or(known),
                version: Version(file.version.to_le_bytes().to_vec()),
                modified: None,
                etag: None,
                mime: None,
                details: Some(Box::new(details)),
            }),
        }
    }

    fn add_to(&self, page: &mut Page, id: &str) {
        if let Some(file) = self.files.get(id) {
            page.entries.push(self.entry(id, file));
        } else if let Some((parent, name)) = self.folders.get(id) {
            page.folders.push(folder(id, parent.as_deref(), name));
        } else {
            page.removed.push(path(id));
        }
    }
}

fn path(text: &str) -> EntryPath {
    EntryPath::new(text.as_bytes())
}

fn folder(id: &str, parent: Option<&str>, name: &str) -> Folder {
    Folder { id: path(id), parent: parent.map(path), name: name.as_bytes().to_vec() }
}

fn text(id: &EntryId) -> String {
    id.to_json_text()
}

/// The drive; clones share their world.
#[derive(Clone, Debug)]
pub struct Drive(Arc<Mutex<World>>);

impl Default for Drive {
    fn default() -> Self {
        let mut world = World::default();
        world.folders.insert(ROOT.to_owned(), (None, "My Drive".to_owned()));
        world.folders.insert(ELSEWHERE.to_owned(), (None, "Elsewhere".to_owned()));
        Self(Arc::new(Mutex::new(world)))
    }
}

impl Drive {
    /// Its world, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

/// Items of a page: few, so that small worlds have many.
const PAGE: usize = 3;

#[async_trait]
impl Opener for Drive {
    async fn open(
        &self,
        _: &Location,
        _: Option<&Credentials>,
        _: &SyncOptions,
        _: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError> {
        Ok(Arc::new(self.clone()))
    }
}

/// Pages of items, of which one may break.
fn pages(world: &mut World, items: &[String], cursor: impl Fn(usize) -> Cursor) -> Pages {
    let mut pages: Pages = Vec::new();
    for (index, ids) in items.chunks(PAGE).enumerate() {
        let mut page = Page { cursor: Some(cursor(index)), ..Page::default() };
        ids.iter().for_each(|id| world.add_to(&mut page, id));
        pages.push(Ok(page));
    }
    if pages.is_empty() {
        pages.push(Ok(Page { cursor: Some(cursor(0)), ..Page::default() }));
    }
    if let Some(at) = world.break_before_page.take() {
        pages.truncate(at);
        pages.push(Err(SourceError::Permanent { message: "the listing broke".into() }));
    }
    pages
}

type Pages = Vec<Result<Page, SourceError>>;

#[async_trait]
impl Source for Drive {
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        self.world().requests.push("root".into());
        Ok(RootIdentity(Some("the root".into())))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn profile(&self) -> Profile {
        let listing = match self.world().by_folder {
            true => Listing::ByFolder { at_once: 2 },
            false => Listing::Flat,
        };
        Profile {
            roots: vec![RootFolder { id: path(ROOT), path: path("") }],
            listing,
            has_feed: true,
            absence: Absence::Ask { at_once: 3 },
            has_outlines: false,
            asks_for_targets: false,
        }
    }

    fn walk(&self, _: &Shard, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        let mut world = self.world();
        world.requests.push("walk".into());
        let from = from.map(|from| String::from_utf8(from.0).unwrap());
        let mut items: Vec<String> =
            world.files.keys().filter(|id| !world.skipped.contains(*id)).cloned().collect();
        items.extend(world.folders.keys().filter(|id| *id != ROOT).cloned());
        items.sort();
        items.retain(|id| from.as_ref().is_none_or(|from| id > from));
        let last = |index: usize| {
            let at = ((index + 1) * PAGE).min(items.len());
            let last = at.checked_sub(1).map_or("", |at| items[at].as_str());
            Cursor(last.as_bytes().to_vec())
        };
        stream::iter(pages(&mut world, &items, last)).boxed()
    }

    fn children(
        &self,
        _: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let mut world = self.world();
        world.requests.push("children".into());
        let items: Vec<String> = folders
            .iter()
            .flat_map(|folder| world.children_of(&text(folder)))
            .filter(|id| !world.skipped.contains(id))
            .collect();
        stream::iter(pages(&mut world, &items, |_| Cursor(Vec::new()))).boxed()
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        let mut world = self.world();
        world.requests.push("folder".into());
        let id = text(id);
        Ok(world.folders.get(&id).map(|(parent, name)| folder(&id, parent.as_deref(), name)))
    }

    async fn feed_token(&self, _: &Shard) -> Result<Cursor, SourceError> {
        let mut world = self.world();
        world.requests.push("token".into());
        Ok(token(world.generation, world.log.len()))
    }

    fn changes(&self, _: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        let mut world = self.world();
        world.requests.push("changes".into());
        if let Some(until) = world.held_until.take() {
            let message = "too many requests".to_owned();
            return stream::iter([Err(SourceError::Held { message, until })]).boxed();
        }
        if world.is_signed_out {
            let (message, way_out) = ("access was revoked".into(), "sign in again".into());
            return stream::iter([Err(SourceError::SignInAgain { message, way_out })]).boxed();
        }
        let from = String::from_utf8(from.0).unwrap();
        let (generation, at) = from.split_once(':').unwrap();
        let expired = || SourceError::FeedExpired { message: "resync required".into() };
        if generation != world.generation.to_string() {
            return stream::iter([Err(expired())]).boxed();
        }
        let at: usize = at.parse().unwrap();
        let items: Vec<String> = world.log[at..].to_vec();
        let generation = world.generation;
        let end = world.log.len();
        // A page has no id twice, a feed may.
        let mut pages = pages(&mut world, &items, |index| {
            token(generation, (at + (index + 1) * PAGE).min(end))
        });
        for page in pages.iter_mut().flatten() {
            let mut seen = BTreeSet::new();
            page.entries.retain(|entry| seen.insert(entry.id.clone()));
        }
        if let Some(at) = world.expire_before_page.take() {
            pages.truncate(at);
            pages.push(Err(expired()));
            world.generation += 1;
        }
        stream::iter(pages).boxed()
    }

    async fn existing(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        let mut world = self.world();
        world.requests.push("existing".into());
        let exists = |id: &&EntryId| {
            let file = world.files.get(&text(id));
            file.is_some_and(|file| world.path(&file.parent, &file.name).is_some())
        };
        Ok(ids.iter().filter(exists).cloned().collect())
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let world = self.world();
        let id = text(id);
        Ok(world.files.get(&id).map(|file| world.entry(&id, file)))
    }

    async fn fetch(
        &self,
        id: &EntryId,
        wanted: &Fingerprint,
        _: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let dies = {
            let mut world = self.world();
            world.die_after = world.die_after.map(|left| left.saturating_sub(1));
            let dies = world.die_after == Some(0);
            if dies {
                world.died.notify_one();
            }
            dies
        };
        if dies {
            // Until the run is dropped, as a killed process drops everything.
            std::future::pending::<()>().await;
        }
        let mut world = self.world();
        let id = text(id);
        world.requests.push(format!("fetch {id}"));
        let gone = || SourceError::NotFound { message: "gone".into() };
        let file = world.files.get(&id).cloned().ok_or_else(gone)?;
        if file.version.to_le_bytes() != *wanted.version.0 {
            return Err(SourceError::Changed { message: "another version".into() });
        }
        Ok(Content {
            facts: Facts::default(),
            body: Body::Stream(stream::iter([Ok(Bytes::from(file.content))]).boxed()),
        })
    }

    fn default_concurrency(&self) -> usize {
        4
    }
}

fn token(generation: u64, at: usize) -> Cursor {
    Cursor(format!("{generation}:{at}").into_bytes())
}
