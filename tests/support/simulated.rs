//! A source that lives in memory, with all that can go wrong with one: for tests that drive the
//! engine itself.

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
        Credentials, Cursor, Entry, EntryId, EntryKind, EntryPath, ErrorType, Fingerprint,
        Identity, Location, Shard, SyncOptions, Version,
    },
    sources::{
        BlockingRead, Body, ByteRange, Content, Facts, Opener, Page, RootIdentity, Source,
        SourceError, provider_filters,
    },
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::sync::Notify;

/// A file of the simulated source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Changes with whatever happens to the file, as a ctime does.
    pub version: u64,
    /// Changes with its content and its time, but not with its name, as inode and mtime do.
    pub stamp: u64,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The files of the source, and what is to go wrong with it.
#[derive(Debug, Default)]
pub struct World {
    /// By name.
    pub files: BTreeMap<String, File>,
    /// Counts what happens.
    pub clock: u64,
    /// The listing breaks before this page.
    pub break_before_page: Option<usize>,
    /// Only that of the shard with this prefix does.
    pub break_only: Option<String>,
    /// What it was opened to list.
    pub shards: Vec<Shard>,
    /// Which listings were begun: the prefix, and behind which name.
    pub listings: Vec<(String, Option<String>)>,
    /// The identity of its root, if it has one.
    pub root: Option<String>,
    /// Folders that cannot be listed, each ending with `/`.
    pub unlisted: BTreeSet<String>,
    /// These cannot be fetched.
    pub refused: BTreeSet<String>,
    /// These are listed, and nothing else knows them: their index is ahead of their data.
    pub ghosts: BTreeSet<String>,
    /// The versions that were refused last.
    pub refusals: BTreeMap<String, u64>,
    /// What was asked for, whether it was handed out or not.
    pub asked_for: BTreeSet<String>,
    /// The order of the listing is by name, or the other way round.
    pub backwards: bool,
    /// After so many fetches, the process dies.
    pub die_after: Option<usize>,
    /// Rings when it does: whoever runs it has to drop it.
    pub died: Arc<Notify>,
    /// Reading these panics.
    pub panics: BTreeSet<String>,
    /// Asking for these panics.
    pub panics_on_fetch: BTreeSet<String>,
    /// Nothing is handed out before this opens.
    pub gate: Option<Arc<Notify>>,
    /// Rings when something is asked for.
    pub asked: Arc<Notify>,
}

impl World {
    /// Writes a file anew.
    pub fn put(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.clock += 1;
        let file = File { version: self.clock, stamp: self.clock, content: content.into() };
        self.files.insert(name.to_owned(), file);
    }

    /// Whether a file is listed and cannot be read.
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.refused.contains(name) || self.ghosts.contains(name)
    }

    /// Makes every file readable.
    pub fn heal(&mut self) {
        self.refused.clear();
        self.ghosts.clear();
    }

    /// Gives a file another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        self.clock += 1;
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_owned(), File { version: self.clock, ..file });
        }
    }
}

/// The source; clones share their world.
#[derive(Clone, Debug, Default)]
pub struct Simulated(Arc<Mutex<World>>);

impl Simulated {
    /// Its world, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

/// A reader that panics.
struct Fatal;

impl BlockingRead for Fatal {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, SourceError> {
        panic!("a fault in a reader, as the script of the test has it")
    }
}

/// Entries of a page: few, so that small worlds have many.
const PAGE: usize = 3;

#[async_trait]
impl Opener for Simulated {
    async fn open(
        &self,
        location: &Location,
        _: Option<&Credentials>,
        options: &SyncOptions,
        _: &SourceTuning,
    ) -> Result<Arc<dyn Source>, SourceError> {
        let provider = &location.connection.provider;
        let filters = provider_filters(provider, &options.provider_filters).unwrap();
        self.world().shards = filters.shards;
        Ok(Arc::new(self.clone()))
    }
}

fn fingerprint(file: &File) -> Fingerprint {
    let version = [file.version.to_le_bytes(), file.stamp.to_le_bytes()].concat();
    Fingerprint {
        size: file.content.len() as u64,
        version: Version(version),
        modified: None,
        etag: None,
        mime: None,
        details: None,
    }
}

fn entry(name: &str, file: &File) -> Entry {
    let id = EntryPath::new(name.as_bytes());
    Entry { path: id.clone(), id, parent: None, kind: EntryKind::File(fingerprint(file)) }
}

fn unreadable(folder: &str) -> Entry {
    let id = EntryPath::new(folder.as_bytes());
    let message = "the folder may not be read".to_owned();
    let kind = EntryKind::Unreadable { error_type: ErrorType::PermissionDenied, message };
    Entry { path: id.clone(), id, parent: None, kind }
}

#[async_trait]
impl Source for Simulated {
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        Ok(RootIdentity(self.world().root.clone()))
    }

    fn shards(&self) -> Vec<Shard> {
        let shards = self.world().shards.clone();
        if shards.is_empty() { vec![Shard::whole()] } else { shards }
    }

    fn walk(
        &self,
        shard: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let mut world = self.world();
        let behind = from.as_ref().map(|from| String::from_utf8(from.0.clone()).unwrap());
        world.listings.push((shard.prefix().to_owned(), behind));
        let is_listed = |name: &str| !world.unlisted.iter().any(|folder| name.starts_with(folder));
        let mut entries: Vec<Entry> = world
            .files
            .iter()
            .filter(|(name, _)| name.starts_with(shard.prefix()) && is_listed(name))
            .map(|(name, file)| entry(name, file))
            .chain(world.unlisted.iter().map(|folder| unreadable(folder)))
            .collect();
        entries.sort_by_key(|entry| entry.id.clone());
        let ordered = !world.backwards;
        if let Some(Cursor(from)) = from {
            entries.retain(|entry| entry.id.as_bytes() > from.as_slice());
        }
        if !ordered {
            entries.reverse();
        }
        let mut pages: Vec<Result<Page, SourceError>> = entries
            .chunks(PAGE)
            .map(|entries| {
                let last = entries.last().unwrap().id.as_bytes().to_vec();
                let cursor = ordered.then_some(Cursor(last));
                let unlisted =
                    entries.iter().filter(|e| matches!(e.kind, EntryKind::Unreadable { .. }));
                let unlisted = unlisted.map(|entry| entry.path.clone()).collect();
                Ok(Page { entries: entries.to_vec(), cursor, unlisted, ..Page::default() })
            })
            .collect();
        let is_broken = world.break_only.as_ref().is_none_or(|only| only == shard.prefix());
        if let Some(page) = world.break_before_page.filter(|_| is_broken) {
            pages.truncate(page);
            pages.push(Err(SourceError::Permanent { message: "the listing broke".into() }));
        }
        stream::iter(pages).boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let name = id.to_json_text();
        let world = self.world();
        let file = world.files.get(&name).filter(|_| !world.ghosts.contains(&name));
        Ok(file.map(|file| entry(&name, file)))
    }

    async fn is_listed(&self, id: &EntryId) -> Result<bool, SourceError> {
        Ok(self.world().files.contains_key(&id.to_json_text()))
    }

    async fn fetch(
        &self,
        id: &EntryId,
        wanted: &Fingerprint,
        _: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let (dies, gate) = {
            let mut world = self.world();
            world.die_after = world.die_after.map(|left| left.saturating_sub(1));
            world.asked.notify_one();
            let dies = world.die_after == Some(0);
            if dies {
                world.died.notify_one();
            }
            (dies, world.gate.clone())
        };
        if dies {
            // Until the run is dropped, as a killed process drops everything.
            std::future::pending::<()>().await;
        }
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let name = id.to_json_text();
        let panics = self.world().panics_on_fetch.contains(&name);
        assert!(!panics, "a fault in a fetch, as the script of the test has it");
        let mut world = self.world();
        world.asked_for.insert(name.clone());
        let file = world
            .files
            .get(&name)
            .cloned()
            .ok_or(SourceError::NotFound { message: "gone".into() })?;
        if world.ghosts.contains(&name) {
            world.refusals.insert(name, file.version);
            return Err(SourceError::NotFound { message: "there is no data".into() });
        }
        if world.refused.contains(&name) {
            world.refusals.insert(name, file.version);
            return Err(SourceError::PermissionDenied { message: "refused".into() });
        }
        if fingerprint(&file) != *wanted {
            return Err(SourceError::Changed { message: "another version".into() });
        }
        if world.panics.contains(&name) {
            return Ok(Content { facts: Facts::default(), body: Body::Blocking(Box::new(Fatal)) });
        }
        Ok(Content {
            facts: Facts::default(),
            body: Body::Stream(stream::iter([Ok(Bytes::from(file.content))]).boxed()),
        })
    }

    fn identity(&self, fingerprint: &Fingerprint) -> Option<Identity> {
        let stamp = fingerprint.version.0.get(8..16)?;
        Some(Identity(i64::from_le_bytes(stamp.try_into().ok()?)))
    }

    fn default_concurrency(&self) -> usize {
        4
    }
}
