//! A drive that lives in memory: files, folders and shortcuts known by id, a change feed, listings
//! that skip, tokens that expire. Each request needs a good access token, which an authorization
//! server renews against a refresh token that is good once, and a place in the budget of the
//! connection. For tests that drive the engine itself, and an example of a source by id.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "written like a library, for its readers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use catchment::{
    clock::SharedClock,
    config::SourceTuning,
    model::{
        Credentials, Cursor, Details, Entry, EntryId, EntryKind, EntryPath, Fingerprint, Folder,
        FolderId, Link, Location, Shard, SizeKind, SyncOptions, Version,
    },
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Opener, Page, Profile, RootFolder,
        RootIdentity, Source, SourceError,
        http::{Budget, Meter},
        oauth::{Grant, google::Google},
    },
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::fake_authority::FakeAuthority;

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

/// A shortcut of the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// The folder that it is in.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// The id of the file or folder that it leads to, which may be gone.
    pub target: String,
}

/// What is in the drive, and what is to go wrong with it.
#[derive(Debug, Default)]
pub struct World {
    /// By id.
    pub files: BTreeMap<String, File>,
    /// Folders by id, with their parents and names.
    pub folders: BTreeMap<String, (Option<String>, String)>,
    /// By id.
    pub shortcuts: BTreeMap<String, Shortcut>,
    /// What the feed reports, by id, oldest first.
    pub log: Vec<String>,
    /// Tokens of another generation are refused.
    pub generation: u64,
    /// Counts what happens.
    pub clock: u64,
    /// Whether it is a shared drive, and what is below [`ELSEWHERE`] in another one: then listings
    /// and the feed say nothing of that, and targets there have to be asked for.
    pub is_shared: bool,
    /// Whether it is gone, for as long as that lasts.
    pub is_gone: bool,
    /// Whether it is listed folder by folder.
    pub by_folder: bool,
    /// Listings do not show these files, though they exist.
    pub skipped: BTreeSet<String>,
    /// Folders that may not be looked at.
    pub unreadable: BTreeSet<String>,
    /// The next listing or feed breaks before this page.
    pub break_before_page: Option<usize>,
    /// The feed refuses its token before this page.
    pub expire_before_page: Option<usize>,
    /// After so many requests, all others are refused until then.
    pub hold: Option<(usize, Timestamp)>,
    /// After so many requests, so many others are asked to come back in a millisecond.
    pub slow_down: Option<(usize, usize)>,
    /// After so many requests, the access token is good no more.
    pub expire_token_after: Option<usize>,
    /// How often a request was refused because of its access token.
    pub unauthorized: usize,
    /// How often a request was asked to come back.
    pub slowed_down: usize,
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
        let was_here = self.is_here(id);
        self.clock += 1;
        let (version, mark) = (self.clock, i64::try_from(self.clock).unwrap());
        let (parent, name) = (parent.to_owned(), name.to_owned());
        self.files
            .insert(id.to_owned(), File { parent, name, version, mark, content: content.into() });
        self.report(id, was_here);
    }

    /// Moves or renames a file.
    pub fn relocate(&mut self, id: &str, parent: &str, name: &str) {
        let was_here = self.is_here(id);
        self.clock += 1;
        if let Some(file) = self.files.get_mut(id) {
            file.parent = parent.to_owned();
            file.name = name.to_owned();
            file.mark = i64::try_from(self.clock).unwrap();
            self.report(id, was_here);
        }
    }

    /// Makes, moves or renames a folder.
    pub fn put_folder(&mut self, id: &str, parent: &str, name: &str) {
        let was_here = self.is_here(id);
        self.folders.insert(id.to_owned(), (Some(parent.to_owned()), name.to_owned()));
        self.report(id, was_here);
    }

    /// Makes, moves, renames or retargets a shortcut.
    pub fn put_shortcut(&mut self, id: &str, parent: &str, name: &str, target: &str) {
        let [parent, name, target] = [parent, name, target].map(str::to_owned);
        let was_here = self.is_here(id);
        self.shortcuts.insert(id.to_owned(), Shortcut { parent, name, target });
        self.report(id, was_here);
    }

    /// Removes a file or a shortcut, or a folder with all that is below it; of that the feed says
    /// nothing, unless shortcuts lead there.
    pub fn remove(&mut self, id: &str) {
        let was_here = self.is_here(id);
        self.remove_silently(id);
        self.report(id, was_here);
    }

    fn remove_silently(&mut self, id: &str) {
        if self.folders.contains_key(id) {
            for child in self.children_of(id) {
                if self.is_target(&child) {
                    self.remove(&child);
                } else {
                    self.remove_silently(&child);
                }
            }
        }
        self.folders.remove(id);
        self.files.remove(id);
        self.shortcuts.remove(id);
    }

    /// Has the feed say that something has happened to what was in the drive, or is now.
    fn report(&mut self, id: &str, was_here: bool) {
        if was_here || self.is_here(id) {
            self.log.push(id.to_owned());
        }
    }

    /// Whether something is in the drive that is synced; of a drive that is not shared everything
    /// that there is.
    pub fn is_here(&self, id: &str) -> bool {
        let own = |id: &str| {
            let shortcut = self.shortcuts.get(id).map(|shortcut| shortcut.parent.clone());
            shortcut.or_else(|| self.own_place(id).map(|(parent, _)| parent))
        };
        let exists = id == ROOT || id == ELSEWHERE || own(id).is_some();
        if !self.is_shared {
            return exists;
        }
        let mut at = id.to_owned();
        while at != ROOT {
            match own(&at) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        true
    }

    /// Whether a shortcut leads there.
    pub fn is_target(&self, id: &str) -> bool {
        self.shortcuts.values().any(|shortcut| shortcut.target == id)
    }

    fn children_of(&self, id: &str) -> Vec<String> {
        let files = self.files.iter().filter(|(_, file)| file.parent == id).map(|(id, _)| id);
        let folders = self.folders.iter().filter(|(_, (parent, _))| parent.as_deref() == Some(id));
        let shortcuts = self.shortcuts.iter().filter(|(_, shortcut)| shortcut.parent == id);
        let ids = files.chain(folders.map(|(id, _)| id)).chain(shortcuts.map(|(id, _)| id));
        ids.cloned().collect()
    }

    /// What is below the root: the files and folders whose folder is, and those that a shortcut
    /// leads to whose folder is.
    pub fn inside(&self) -> BTreeSet<String> {
        let mut inside = BTreeSet::from([ROOT.to_owned()]);
        loop {
            let by_folders = self
                .folders
                .iter()
                .filter_map(|(id, (parent, _))| parent.as_ref().map(|parent| (parent, id)));
            let by_files = self.files.iter().map(|(id, file)| (&file.parent, id));
            let by_shortcuts = self
                .shortcuts
                .values()
                .map(|shortcut| (&shortcut.parent, &shortcut.target))
                .filter(|(_, id)| self.files.contains_key(*id) || self.folders.contains_key(*id));
            let more: Vec<String> = by_folders
                .chain(by_files)
                .chain(by_shortcuts)
                .filter(|(parent, id)| inside.contains(*parent) && !inside.contains(*id))
                .map(|(_, id)| id.clone())
                .collect();
            if more.is_empty() {
                return inside;
            }
            inside.extend(more);
        }
    }

    /// The path of a file or folder, where those shortcuts give their targets their places; `None`
    /// where it has none below the root.
    fn path(&self, id: &str, used: &Used) -> Option<String> {
        let (mut path, mut at) = (String::new(), id.to_owned());
        for _ in 0..1000 {
            if at == ROOT {
                return Some(path.trim_end_matches('/').to_owned());
            }
            let (parent, name) = match used.get(&at) {
                Some(shortcut) => {
                    let shortcut = self.shortcuts.get(shortcut).filter(|of| of.target == at)?;
                    (shortcut.parent.clone(), shortcut.name.clone())
                }
                None => self.own_place(&at)?,
            };
            path = format!("{name}/{path}");
            at = parent;
        }
        None
    }

    fn own_place(&self, id: &str) -> Option<(String, String)> {
        if let Some(file) = self.files.get(id) {
            return Some((file.parent.clone(), file.name.clone()));
        }
        let (parent, name) = self.folders.get(id)?;
        Some((parent.clone()?, name.clone()))
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

    /// What a complete sync of the root has, by id, with paths where those shortcuts give their
    /// targets their places.
    pub fn expected(&self, used: &Used) -> BTreeMap<String, (String, Vec<u8>)> {
        self.files
            .iter()
            .filter_map(|(id, file)| {
                Some((id.clone(), (self.path(id, used)?, file.content.clone())))
            })
            .collect()
    }

    /// The ids of the files that a complete sync of the root has.
    pub fn expected_ids(&self) -> BTreeSet<String> {
        self.inside().into_iter().filter(|id| self.files.contains_key(id)).collect()
    }

    /// What a request comes to before anybody looks at what it asks for.
    fn verdict(&mut self, now: Timestamp, is_good_token: bool) -> Verdict {
        if let Some((left, until)) = &mut self.hold {
            match left {
                0 if now < *until => return Verdict::Held(*until),
                0 => self.hold = None,
                left => *left -= 1,
            }
        }
        if let Some((left, times)) = &mut self.slow_down {
            match (left, times) {
                (0, 0) => self.slow_down = None,
                (0, times) => {
                    *times -= 1;
                    self.slowed_down += 1;
                    return Verdict::SlowDown(Duration::from_millis(1));
                }
                (left, _) => *left -= 1,
            }
        }
        if !is_good_token {
            self.unauthorized += 1;
            return Verdict::Unauthorized;
        }
        Verdict::Admitted
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
        } else if let Some(Shortcut { parent, name, target }) = self.shortcuts.get(id) {
            let (id, parent, target) = (path(id), path(parent), path(target));
            let name = name.clone().into_bytes();
            page.links.push(Link { id, parent, name, target });
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

/// The shortcuts that give their targets their places, by target.
pub type Used = BTreeMap<String, String>;

/// What a request comes to before anybody looks at what it asks for.
enum Verdict {
    Admitted,
    Unauthorized,
    SlowDown(Duration),
    Held(Timestamp),
}

/// The drive; clones share their world.
#[derive(Clone)]
pub struct Drive {
    world: Arc<Mutex<World>>,
    /// Where its access tokens come from.
    pub authority: Arc<FakeAuthority>,
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive").field("world", &self.world).finish_non_exhaustive()
    }
}

impl Default for Drive {
    fn default() -> Self {
        let mut world = World::default();
        world.folders.insert(ROOT.to_owned(), (None, "My Drive".to_owned()));
        world.folders.insert(ELSEWHERE.to_owned(), (None, "Elsewhere".to_owned()));
        let authority = Arc::new(FakeAuthority::start());
        Self { world: Arc::new(Mutex::new(world)), authority }
    }
}

impl Drive {
    /// Its world, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

/// Items of a page: few, so that small worlds have many.
const PAGE: usize = 3;

/// The drive as a connection uses it.
struct Opened {
    drive: Drive,
    grant: Arc<Grant>,
    budget: Arc<Budget>,
    meter: Meter,
    clock: SharedClock,
}

#[async_trait]
impl Opener for Drive {
    async fn open(
        &self,
        _: &Location,
        credentials: Option<&Credentials>,
        _: &SyncOptions,
        tuning: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError> {
        let credentials = credentials.expect("its connection has credentials");
        let google = Google { hosts: tuning.hosts.clone(), subject: None };
        let connection = credentials.keeper().and_then(|keeper| keeper.id());
        Ok(Arc::new(Opened {
            drive: self.clone(),
            grant: tuning.grants.of(credentials, Arc::new(google), tuning.clock.clone()),
            budget: tuning.budgets.of(connection, None),
            meter: Meter::default(),
            clock: tuning.clock.clone(),
        }))
    }
}

impl Opened {
    fn world(&self) -> MutexGuard<'_, World> {
        self.drive.world()
    }

    /// Waits until a request is let through.
    async fn admitted(&self) -> Result<(), SourceError> {
        let (mut token, mut is_renewed) = (self.grant.token().await?, false);
        loop {
            self.budget.admit(1, &self.meter).await?;
            match self.verdict(token.expose()) {
                Verdict::Admitted => return Ok(()),
                Verdict::Unauthorized if is_renewed => {
                    let message = "a new access token is refused".to_owned();
                    return Err(SourceError::Auth { message });
                }
                Verdict::Unauthorized => {
                    token = self.grant.token_after(&token).await?;
                    is_renewed = true;
                }
                Verdict::SlowDown(wait) => self.budget.hold(wait),
                Verdict::Held(until) => {
                    let message = "too many requests".to_owned();
                    return Err(SourceError::Held { message, until });
                }
            }
        }
    }

    fn verdict(&self, token: &str) -> Verdict {
        let (mut world, authority) = (self.world(), &self.drive.authority);
        match &mut world.expire_token_after {
            Some(0) => {
                world.expire_token_after = None;
                authority.expire_access_tokens();
            }
            Some(left) => *left -= 1,
            None => {}
        }
        world.verdict(self.clock.now(), authority.admits(token))
    }

    /// Pages that are made with the first request; each is one.
    fn paged<'a>(
        &'a self,
        make: impl FnOnce(&mut World) -> Pages + Send + 'a,
    ) -> BoxStream<'a, Result<Page, SourceError>> {
        let first = async move {
            self.admitted().await?;
            Ok(make(&mut self.world()))
        };
        let pages = stream::once(first).flat_map(|pages: Result<Pages, SourceError>| {
            stream::iter(pages.unwrap_or_else(|error| vec![Err(error)]))
        });
        let admitted = move |(number, page)| async move {
            if number > 0 {
                self.admitted().await?;
            }
            page
        };
        pages.enumerate().then(admitted).boxed()
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
impl Source for Opened {
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        self.admitted().await?;
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
            absence: Absence::LookUp { at_once: 3 },
            has_outlines: false,
            filters_itself: false,
            asks_for_targets: self.world().is_shared,
        }
    }

    fn walk(&self, _: &Shard, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        let from = from.map(|from| String::from_utf8(from.0).unwrap());
        self.paged(move |world| {
            world.requests.push("walk".into());
            if world.is_gone {
                return vec![Err(gone())];
            }
            let mut items: Vec<String> = world.files.keys().cloned().collect();
            items.extend(world.shortcuts.keys().cloned());
            items.extend(world.folders.keys().filter(|id| *id != ROOT).cloned());
            items.sort();
            items.retain(|id| world.is_here(id) && !world.skipped.contains(id));
            items.retain(|id| from.as_ref().is_none_or(|from| id > from));
            let last = |index: usize| {
                let at = ((index + 1) * PAGE).min(items.len());
                let last = at.checked_sub(1).map_or("", |at| items[at].as_str());
                Cursor(last.as_bytes().to_vec())
            };
            pages(world, &items, last)
        })
    }

    fn children(
        &self,
        _: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let folders = folders.to_vec();
        self.paged(move |world| {
            world.requests.push("children".into());
            if world.is_gone {
                return vec![Err(gone())];
            }
            let items: Vec<String> = folders
                .iter()
                .flat_map(|folder| world.children_of(&text(folder)))
                .filter(|id| !world.skipped.contains(id))
                .collect();
            pages(world, &items, |_| Cursor(Vec::new()))
        })
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        self.admitted().await?;
        let mut world = self.world();
        world.requests.push("folder".into());
        let id = text(id);
        if world.unreadable.contains(&id) {
            let message = format!("{id} may not be looked at");
            return Err(SourceError::PermissionDenied { message });
        }
        Ok(world.folders.get(&id).map(|(parent, name)| folder(&id, parent.as_deref(), name)))
    }

    async fn by_ids(&self, ids: &[EntryId]) -> Result<Page, SourceError> {
        self.admitted().await?;
        let mut world = self.world();
        world.requests.push("by ids".into());
        let mut page = Page::default();
        ids.iter().for_each(|id| world.add_to(&mut page, &text(id)));
        Ok(page)
    }

    async fn feed_token(&self, _: &Shard) -> Result<Cursor, SourceError> {
        self.admitted().await?;
        let mut world = self.world();
        if world.is_gone {
            return Err(gone());
        }
        world.requests.push("token".into());
        Ok(token(world.generation, world.log.len()))
    }

    fn changes(&self, _: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        self.paged(move |world| {
            world.requests.push("changes".into());
            if world.is_signed_out {
                let (message, way_out) = ("access was revoked".into(), "sign in again".into());
                return vec![Err(SourceError::SignInAgain { message, way_out })];
            }
            let from = String::from_utf8(from.0).unwrap();
            let (generation, at) = from.split_once(':').unwrap();
            let expired = || SourceError::FeedExpired { message: "resync required".into() };
            if world.is_gone || generation != world.generation.to_string() {
                return vec![Err(expired())];
            }
            let at: usize = at.parse().unwrap();
            let items: Vec<String> = world.log[at..].to_vec();
            let (generation, end) = (world.generation, world.log.len());
            // A page has no id twice, a feed may.
            let mut pages =
                pages(world, &items, |index| token(generation, (at + (index + 1) * PAGE).min(end)));
            for page in pages.iter_mut().flatten() {
                leave_out_elsewhere(world, page);
                let mut seen = BTreeSet::new();
                page.entries.retain(|entry| seen.insert(entry.id.clone()));
                page.links.retain(|link| seen.insert(link.id.clone()));
            }
            if let Some(at) = world.expire_before_page.take() {
                pages.truncate(at);
                pages.push(Err(expired()));
                world.generation += 1;
            }
            pages
        })
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        self.admitted().await?;
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
        self.admitted().await?;
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

/// What has left a shared drive is removed, as its feed says it.
fn leave_out_elsewhere(world: &World, page: &mut Page) {
    let mut removed = Vec::new();
    let mut stays = |id: &EntryId| {
        let is_here = world.is_here(&text(id));
        if !is_here {
            removed.push(id.clone());
        }
        is_here
    };
    page.entries.retain(|entry| stays(&entry.id));
    page.folders.retain(|folder| stays(&folder.id));
    page.links.retain(|link| stays(&link.id));
    page.removed.extend(removed);
}

/// The error of a drive that is gone, or that nobody here is a member of any more.
fn gone() -> SourceError {
    SourceError::RootMissing { message: "there is no such drive".into() }
}
