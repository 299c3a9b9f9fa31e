//! Sources: the code that reads providers, and all that is known of each. One folder a provider,
//! one line in [`registry`]; [`provider`] says how to add one.
//!
//! A source lists and fetches; it never writes to its provider, keeps no state between runs, and
//! knows nothing of SQL, buckets or schedules. What to do with an entry is the engine's business.

mod address;
pub mod browse;
pub mod closings;
mod content;
mod error;
pub mod google_drive;
pub mod hosts;
pub mod http;
pub mod iconik;
mod kept;
pub mod limits;
pub mod local;
pub mod oauth;
mod pace;
pub mod provider;
pub mod registry;
pub mod retry;
pub mod s3;
pub mod sharepoint;
pub mod snowflake;
pub mod tigris;
mod trail;
mod tree_walk;
pub mod tuning;
pub mod web;

use async_trait::async_trait;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

pub use self::{
    address::{address, locate, place, suggested_name},
    content::{BlockingRead, Body, ByteRange, Content, Facts, Needs, PartFacts},
    error::{ErrorClass, SourceError},
    provider::{
        Accepted, LocationError, NotAFolder, Opening, Provider, ProviderFilterError,
        ProviderFilters, Reader, Wrong,
    },
    registry::{
        NOT_READ, Opener, Registry, accept, amend, built_in, filters_besides_shards,
        filters_look_at_folders, is_configurable, provider_filters, providers, public_config,
        readable, reader, schemas, watched,
    },
};
use self::{
    browse::{ItemKind, Level},
    retry::RetryPolicy,
};
use crate::model::{
    Cursor, Entry, EntryId, EntryPath, ExpectedHash, Fingerprint, Folder, FolderId, Identity, Link,
    PartAddress, Shard, Version,
};

/// A place that can be listed and read.
///
/// # How to write a source
///
/// Every source has [`root`](Source::root), [`walk`](Source::walk), [`stat`](Source::stat),
/// [`fetch`](Source::fetch) and [`default_concurrency`](Source::default_concurrency); everything
/// else has a default that suits a source whose entries are known by their paths (folders, S3).
/// Errors are [`SourceError`]s: choose the variant by what should happen next
/// ([`SourceError::class`]). Implementations retry a failing *listing* themselves (see [`retry`])
/// and give up within two minutes; a failing *fetch* is retried by the engine, which knows the
/// entry's history. A source keeps no state between runs: what it needs next time is in the cursors
/// that it returns.
///
/// **Entries by id.** [`Source::profile`] says so: it names the root folders
/// ([`Profile::roots`]). Entries then carry their own name in `path` and the id of their folder in
/// `parent`, pages carry [`Page::folders`], and the engine keeps the tree and makes the paths.
/// Folders and entries may come in any order; an entry whose folder is not known yet waits until
/// the pass knows it. Listing everything beyond the root, too, is fine: what is not below a root is
/// left out, and its folders are remembered, so that they are known when they are moved. An entry
/// that is renamed or moved keeps its id; a renamed folder is one folder event, however much is
/// below it.
///
/// **Links.** What a link ([`Page::links`]) leads to has the link's place and name, and its own id.
/// Each target is there once: in its own place if that is below a root, else where one of its links
/// is.
///
/// **Which listing.** [`Listing::Flat`]: `walk` lists everything. [`Listing::ByFolder`]: the engine
/// calls [`children`](Source::children) for the roots and for every folder that it returns, breadth
/// first and as many at once as the profile says; `walk` is not called. A source with a feed needs
/// `children` in either case: a folder that is moved into the root is listed with it.
///
/// **Changes.** A source with a feed says so in its profile and returns the feed's current token
/// from [`feed_token`](Source::feed_token). A *full pass* takes the token, walks, then replays the
/// feed from that token, and only then is complete. A *changes pass* is
/// [`changes`](Source::changes) from the stored token and nothing else: `root` is not called, so
/// one request can be all. Every page of `changes` carries in `cursor` the token to continue from;
/// it is committed with the page's rows, also if the page is empty. Repeating an entry is harmless,
/// the later occurrence wins; within one page keep only the last word on an id, in `entries`,
/// `folders` or `removed`. A token that the provider refuses is [`SourceError::FeedExpired`]: the
/// engine makes a full pass instead. Full passes also happen daily, for changed settings, and on
/// request.
///
/// **What is gone.** In a full pass what was not listed is gone; in a changes pass only what
/// `removed` names, or what is below no root any more. If the listing is not reliable, the profile
/// asks for [`Absence::Ask`]: before anything is removed, the engine passes its ids to
/// [`existing`](Source::existing), and what still exists stays. Where neither the listing nor the
/// feed has everything that is moved away, it asks for [`Absence::LookUp`]: what
/// [`by_ids`](Source::by_ids) returns then is taken as if it had been listed, so that an entry is
/// where it is now, and goes if that is below no root. A folder of which nothing can be learned
/// ([`folders`](Source::folders)) removes nothing.
///
/// **What the listing says.** [`Details`](crate::model::Details) in the fingerprint: how far the
/// size can be trusted, the hashes to check, a mark of all facts that are not content, the
/// properties that filters and mappings use (so that nothing is asked for them), and the bytes
/// themselves where they come with the page. Versions that are not compared bytewise need
/// [`compare`](Source::compare).
///
/// **Entries of several files.** Where a listing says that something has changed and not what
/// files it consists of, pages carry [`Page::outlines`] in place of entries. Those that differ from
/// what is stored are expanded by [`expand`](Source::expand); the others cost nothing more. A
/// source without folders that can list cheaply what it has listed before outlines it in
/// [`walk_again`](Source::walk_again), and what differs is asked for by
/// [`look_up`](Source::look_up), many at a time.
///
/// **Waiting.** Short waits (Retry-After) are the transport's. A longer one is
/// [`SourceError::Held`]: the run ends as interrupted, without blame or dead letters, and continues
/// when the hold ends. Credentials that only a person can renew are [`SourceError::SignInAgain`]:
/// the connection is suspended at once, with the way out.
#[async_trait]
pub trait Source: Send + Sync {
    /// Looks at the root without listing it: proves that it is there and can be read.
    ///
    /// # Errors
    /// [`SourceError::RootMissing`] when it is not there, [`SourceError::Auth`] when we may not.
    async fn root(&self) -> Result<RootIdentity, SourceError>;

    /// Makes sure that the source answers and can be listed, at the least cost, before anything is
    /// made for it.
    ///
    /// # Errors
    /// As for [`Source::root`], and what a listing would fail with.
    async fn probe(&self) -> Result<(), SourceError> {
        self.root().await?;
        let Some(first) = self.shards().into_iter().next() else { return Ok(()) };
        self.walk(&first, None).next().await.transpose().map(drop)
    }

    /// Forgets that the provider has refused the credentials: a person wants them to be sent again.
    ///
    /// # Errors
    /// When that cannot be written down.
    async fn clear_refusal(&self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Whether the place is there, or could be, and has no entry at all; asked when a sync is made.
    ///
    /// # Errors
    /// As for [`Source::probe`].
    async fn is_empty(&self) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// The parts that this source is listed in: all of it, and no entry in two of them. At least
    /// one; the same ones, by the same names, for as long as its settings stay the same.
    fn shards(&self) -> Vec<Shard> {
        vec![Shard::whole()]
    }

    /// Every entry of a shard, a page at a time, starting behind `from`, which is a cursor of this
    /// very shard.
    ///
    /// The stream ends after the last page, or with the first error, after which it yields nothing
    /// more. A stream that ends without an error was a complete listing of what lay behind `from`,
    /// but for the prefixes that pages report as [`Page::unlisted`]. The same entry may be listed
    /// twice by a provider that promises no order; it is never left out.
    fn walk(&self, shard: &Shard, from: Option<Cursor>)
    -> BoxStream<'_, Result<Page, SourceError>>;

    /// Lists a shard of which an earlier pass has listed everything, as [`Source::walk`] does. May
    /// outline entries ([`Page::outlines`], without folders) in place of listing them. Cursors of
    /// both are understood by both.
    fn walk_again(
        &self,
        shard: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        self.walk(shard, from)
    }

    /// The entries that [`Source::walk_again`] has outlined and that are new or have changed, as
    /// they are now; what is gone is left out.
    ///
    /// # Errors
    /// As for [`Source::root`]; what concerns one entry only makes that unreadable.
    async fn look_up(&self, _: &[Outline]) -> Result<Vec<Entry>, SourceError> {
        Err(not_implemented("look_up"))
    }

    /// Looks at one entry again: as the listing would show it now, or `None` when it is gone.
    ///
    /// # Errors
    /// As for [`Source::fetch`].
    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError>;

    /// Whether the listing still shows an entry that [`Source::stat`] or [`Source::fetch`] did not
    /// find. A source whose listing may be ahead of its data, or behind it, asks the listing
    /// itself.
    ///
    /// # Errors
    /// As for [`Source::fetch`].
    async fn is_listed(&self, id: &EntryId) -> Result<bool, SourceError> {
        Ok(self.stat(id).await?.is_some())
    }

    /// Opens the bytes of an entry, pinned to the version in `fingerprint`: content of any other
    /// version is [`SourceError::Changed`], found out before or while it is read.
    ///
    /// With `range`, exactly those bytes; only asked for where [`Source::ranges`] is true.
    ///
    /// # Errors
    /// See [`SourceError`]; the class of the error says what to do next.
    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError>;

    /// Opens a named part of an entry, whole: one of those that its listing names
    /// ([`Details::parts`](crate::model::Details::parts)).
    ///
    /// # Errors
    /// As for [`Source::fetch`].
    async fn fetch_part(
        &self,
        _id: &EntryId,
        address: &PartAddress,
    ) -> Result<(PartFacts, Body), SourceError> {
        let PartAddress(address) = address;
        Err(SourceError::Permanent { message: format!("{address} is no part of this entry") })
    }

    /// Asked where an entry's bytes differ from what was listed of it: whether it still is of that
    /// version. Only then its record is wrong.
    ///
    /// # Errors
    /// [`SourceError::Changed`] where it is of another version by now; else as for
    /// [`Source::fetch`].
    async fn confirm(&self, _id: &EntryId, _listed: &Fingerprint) -> Result<(), SourceError> {
        Ok(())
    }

    /// What a rename at the provider would leave as it is, as far as the listing proves equal bytes
    /// by it; `None` where it proves nothing.
    fn identity(&self, _fingerprint: &Fingerprint) -> Option<Identity> {
        None
    }

    /// What the bytes of a file hash to if [`Source::identity`] may be trusted; `None` where it
    /// needs no such proof.
    fn identity_hash(&self, _fingerprint: &Fingerprint) -> Option<ExpectedHash> {
        None
    }

    /// What lies directly below the root, for people who browse; at most `limit` items.
    ///
    /// # Errors
    /// [`SourceError::PermissionDenied`] when these credentials work and may not see this place;
    /// else as for [`Source::root`].
    async fn browse(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        let _ = (wanted, limit);
        Err(browse::not_browsable())
    }

    /// Asks what is known of an entry besides its listing: as much as is wanted, with as few
    /// requests as that takes. Sources whose entries have nothing of the kind make none.
    ///
    /// # Errors
    /// As for [`Source::fetch`].
    async fn facts(
        &self,
        _id: &EntryId,
        _fingerprint: &Fingerprint,
        _needs: Needs,
    ) -> Result<Facts, SourceError> {
        Ok(Facts::default())
    }

    /// Whether `now`, which a look at a file found ([`Source::stat`]), is what was listed as
    /// `listed`, and only its version is called otherwise there.
    fn is_called_otherwise(&self, _listed: &Fingerprint, _now: &Fingerprint) -> bool {
        false
    }

    /// Whether [`Source::fetch`] can serve part of an entry.
    fn ranges(&self) -> bool {
        true
    }

    /// How this source lists its entries and reports changes; the same for its whole life. The
    /// default is that of a source whose entries are known by their paths and listed in full.
    fn profile(&self) -> Profile {
        Profile::default()
    }

    /// What is directly in some folders, a page at a time. Cursors of these pages are not used:
    /// after an interruption the folders are listed again. A folder that is gone has nothing in it.
    ///
    /// The stream ends as that of [`Source::walk`] does.
    fn children(
        &self,
        _shard: &Shard,
        _folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        stream::iter([Err(not_implemented("children"))]).boxed()
    }

    /// The folder of that id as it is now; `None` if it is gone or is no folder. See
    /// [`folders`](Source::folders).
    ///
    /// # Errors
    /// As for [`Source::fetch`].
    async fn folder(&self, _id: &FolderId) -> Result<Option<Folder>, SourceError> {
        Ok(None)
    }

    /// What these folders, at most a hundred, are now. Those that are gone, or are no folders, are
    /// `removed`: nothing is below a root by them. Those of which nothing could be learned are left
    /// out. Asked for folders that something is in and that a full pass has not listed.
    ///
    /// # Errors
    /// As for [`Source::root`].
    async fn folders(&self, ids: &[FolderId]) -> Result<Page, SourceError> {
        let asks = ids
            .iter()
            .cloned()
            .map(|id| async move { (RetryPolicy::FETCH.run(|| self.folder(&id)).await, id) });
        let mut asks = stream::iter(asks).buffer_unordered(self.default_concurrency());
        let mut page = Page::default();
        while let Some((found, id)) = asks.next().await {
            match found {
                Ok(Some(folder)) => page.folders.push(folder),
                Ok(None) => page.removed.push(id),
                Err(error) if error.class().ends_run() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(page)
    }

    /// What these ids, at most a hundred, are now: entries, folders and links, wherever they are.
    /// Those that are gone, or that these credentials do not see, are `removed`; those that nothing
    /// could be learned of are left out. Asked for the targets of links, and where the profile says
    /// [`Absence::LookUp`] for what a full listing did not have.
    ///
    /// # Errors
    /// As for [`Source::root`].
    async fn by_ids(&self, _ids: &[EntryId]) -> Result<Page, SourceError> {
        Err(not_implemented("by_ids"))
    }

    /// Takes the keys that pages had in earlier runs ([`Page::access_keys`]), before anything is
    /// listed.
    fn use_access_keys(&self, _keys: Vec<(EntryId, String)>) {}

    /// The token of the change feed of a shard as of now: `changes` from there reports everything
    /// that happens from now on. Only called where the profile has a feed.
    ///
    /// # Errors
    /// As for [`Source::root`].
    async fn feed_token(&self, _shard: &Shard) -> Result<Cursor, SourceError> {
        Err(not_implemented("feed_token"))
    }

    /// What has changed in a shard since `from`, which is a token of its feed, oldest first. The
    /// stream ends with the page whose cursor is the token as of now, or with the first error.
    fn changes(&self, _shard: &Shard, _from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        stream::iter([Err(not_implemented("changes"))]).boxed()
    }

    /// Which of these entries still exist below a root, as far as the provider knows. Only called
    /// where the profile says [`Absence::Ask`], with at most as many ids as it says.
    ///
    /// # Errors
    /// As for [`Source::root`]. An error removes nothing.
    async fn existing(&self, _ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        Err(not_implemented("existing"))
    }

    /// Which of these entries exist and do not pass the filters that the source applies itself.
    /// Only called where the profile says [`Profile::filters_itself`], of entries that a full
    /// listing did not have, with at most as many ids as for [`Source::existing`].
    ///
    /// # Errors
    /// As for [`Source::root`].
    async fn drifted(&self, _ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        Err(not_implemented("drifted"))
    }

    /// The entries of what a page outlined and is new or has changed: that of its own id first.
    /// Empty where it is gone.
    ///
    /// # Errors
    /// As for [`Source::root`]; what concerns this one only makes its entry unreadable.
    async fn expand(&self, _: &Outline, _: &Placed) -> Result<Vec<Entry>, SourceError> {
        Err(not_implemented("expand"))
    }

    /// Whether two versions of an entry have the same content.
    fn compare(&self, stored: &[u8], listed: &Version) -> VersionMatch {
        if stored == listed.0 { VersionMatch::Same } else { VersionMatch::Other }
    }

    /// The shard of an entry that was asked for by its id, by its index among [`Source::shards`];
    /// `None` where it is in none of them.
    fn shard_of(&self, entry: &Entry) -> Option<usize> {
        self.shards().iter().position(|shard| shard.covers(&entry.path))
    }

    /// The place in the form that is stored for a sync, where that is not the one that was given: a
    /// folder's id in place of its path.
    fn place(&self) -> Option<Vec<u8>> {
        None
    }

    /// Who the provider says is signed in, for whoever tests a connection; `None` where it has no
    /// such thing.
    ///
    /// # Errors
    /// As for [`Source::root`].
    async fn account(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    /// What a person should know of how this place is listed, as far as it was looked at; `None`
    /// where that is nothing unusual. Makes no request.
    fn remark(&self) -> Option<String> {
        None
    }

    /// The provider's own id for who is signed in, as far as that is known without asking; `None`
    /// also where it has no such thing.
    fn known_account(&self) -> Option<String> {
        None
    }

    /// Whether a root that had the identity `was`, as an earlier version wrote it down, is the one
    /// that is now `is`.
    fn is_same_root(&self, _was: &str, _is: &str) -> bool {
        false
    }

    /// Whether a feed of the root with this identity is one of this source's, as far as that is
    /// known without asking: feeds are those of an account.
    fn may_follow(&self, _root: Option<&str>) -> bool {
        true
    }

    /// The place in the form that is stored, for an account other than the one that it was stored
    /// for; `None` where it is the same place.
    ///
    /// # Errors
    /// As for [`Source::root`].
    async fn place_for_account(&self) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(None)
    }

    /// What it has asked of its provider since it was opened. Zero where nothing is requested.
    fn usage(&self) -> http::Usage {
        http::Usage::default()
    }

    /// Waits for what it still has to send its provider, such as that a statement is cancelled
    /// which nobody waits for any more; a few seconds at most. Called at the end of a run.
    async fn close(&self) {}

    /// How many fetches at once serve this source best when nobody says otherwise.
    fn default_concurrency(&self) -> usize;

    /// How many small entries are best read in one go. More than one pays where opening one costs
    /// less than handing it to another thread.
    fn bundle(&self) -> usize {
        1
    }
}

/// Every entry of a source, from its beginning, shard by shard, with its full path. Ends as
/// [`Source::walk`] does.
pub fn walk_all(source: &dyn Source) -> BoxStream<'_, Result<Page, SourceError>> {
    if source.profile().is_by_id() {
        return tree_walk::pages(source);
    }
    stream::iter(source.shards()).flat_map(|shard| source.walk(&shard, None)).boxed()
}

fn not_implemented(method: &str) -> SourceError {
    SourceError::Permanent {
        message: format!("the source's profile needs `{method}`, which it does not implement"),
    }
}

/// How a source lists its entries and reports changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The folders whose content is synced, where the source knows folders by id; empty: it gives
    /// full paths.
    pub roots: Vec<RootFolder>,
    /// How it is listed.
    pub listing: Listing,
    /// Whether it has a change feed.
    pub has_feed: bool,
    /// What proves that an entry is gone.
    pub absence: Absence,
    /// Whether listings leave out what does not pass filters that only the source knows.
    pub filters_itself: bool,
    /// Whether pages outline their entries ([`Page::outlines`]). A feed of outlines need not report
    /// folders: those that they are in and that are not known yet are asked for
    /// ([`Source::folder`]).
    pub has_outlines: bool,
    /// Whether the change feed says nothing of the targets of links that are elsewhere: a changes
    /// pass asks for them.
    pub asks_for_targets: bool,
}

impl Profile {
    /// Whether entries are known by ids apart from their paths.
    #[must_use]
    pub fn is_by_id(&self) -> bool {
        !self.roots.is_empty()
    }

    /// Whether entries that a listing lacks are looked up.
    #[must_use]
    pub const fn looks_up(&self) -> bool {
        matches!(self.absence, Absence::LookUp { .. })
    }
}

/// A folder whose content is synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFolder {
    /// The source's own name for it.
    pub id: FolderId,
    /// Its path from the sync's root; usually empty.
    pub path: EntryPath,
}

/// How a source is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// [`Source::walk`] lists everything.
    #[default]
    Flat,
    /// [`Source::children`] lists folder after folder.
    ByFolder {
        /// How many folders one call lists.
        at_once: usize,
    },
}

/// What proves that an entry is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absence {
    /// A complete listing without it.
    #[default]
    Listing,
    /// Asking for it ([`Source::existing`]), because a listing may skip entries.
    Ask {
        /// How many ids one call asks for.
        at_once: usize,
    },
    /// Looking it up ([`Source::by_ids`]), because a listing may skip entries, and no feed reports
    /// all of those that are moved away.
    LookUp {
        /// How many ids one call asks for.
        at_once: usize,
    },
}

impl Absence {
    /// How many ids one call asks for; `None` where nothing is asked.
    #[must_use]
    pub fn at_once(self) -> Option<usize> {
        match self {
            Self::Listing => None,
            Self::Ask { at_once } | Self::LookUp { at_once } => Some(at_once.max(1)),
        }
    }
}

/// What a source says of two versions of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// Their content is the same.
    Same,
    /// Their content differs.
    Other,
    /// They cannot be compared: the bytes decide.
    Unknown,
}

/// What makes a root the same root next time. Opaque text, compared whole; `None` where a provider
/// names its places uniquely anyway (a bucket).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootIdentity(pub Option<String>);

/// A page of a listing or of a change feed.
#[derive(Debug, Default)]
pub struct Page {
    /// The entries, at most about a thousand.
    pub entries: Vec<Entry>,
    /// Where to go on once all of `entries` are dealt with; `None` where the source can only be
    /// listed from its beginning.
    pub cursor: Option<Cursor>,
    /// Paths whose content could not be listed, each ending with `/`: what the bucket has beneath
    /// them may still be there, so nothing beneath them counts as gone. Each is among `entries`
    /// too, as unreadable.
    pub unlisted: Vec<EntryPath>,
    /// Folders that were listed or have changed, where the source knows folders by id.
    pub folders: Vec<Folder>,
    /// Of folders and entries that are in several folders: these, in order. Each has its place in
    /// the first of them that is below a root.
    pub several_parents: Vec<(EntryId, Vec<FolderId>)>,
    /// Links that were listed or have changed. Their targets are asked for ([`Source::by_ids`])
    /// unless they are below a root themselves; the folders among them are listed.
    pub links: Vec<Link>,
    /// Ids of entries, folders and links that the change feed reports as removed.
    pub removed: Vec<EntryId>,
    /// What the listing says about entries that have to be expanded once they have changed.
    pub outlines: Vec<Outline>,
    /// What opens items to who would not see them otherwise, by their ids: all that the source was
    /// not given before.
    pub access_keys: Vec<(EntryId, String)>,
}

/// What a listing says about an entry that consists of files which it does not list: whether it has
/// changed, and where it is. Only one that has is asked for its files ([`Source::expand`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The source's own name for it, which is that of its first file. Those of its other files
    /// begin with it and a slash.
    pub id: EntryId,
    /// Compared with the stored version of its first file, by [`Source::compare`].
    pub version: Version,
    /// Changes with what is not content and does not follow from its place.
    pub facts_mark: i64,
    /// The folders that it is in. Its path is below the first of them by path. None where the
    /// source knows no folders: the outline is that of one entry, which has a path of its own.
    pub folders: Vec<FolderId>,
}

impl Outline {
    /// The mark of the facts of its entries: that of its own and of its place.
    #[must_use]
    pub fn mark_in(&self, placed: &Placed) -> i64 {
        let own = self.facts_mark.to_le_bytes();
        let others = placed.others.iter().map(EntryPath::as_bytes);
        let facts: Vec<&[u8]> =
            [&own[..], placed.folder.as_bytes()].into_iter().chain(others).collect();
        Identity::of(&facts).0
    }
}

/// Where something is that is in several folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The folder that its path is below.
    pub folder: FolderId,
    /// The path of that folder from the sync's root.
    pub path: EntryPath,
    /// The paths of the others that are below the root, sorted.
    pub others: Vec<EntryPath>,
}

impl Placed {
    /// The place of an entry that is outlined without folders.
    #[must_use]
    pub fn at_its_own_path() -> Self {
        let nowhere = EntryPath::new(Vec::new());
        Self { folder: nowhere.clone(), path: nowhere, others: Vec::new() }
    }
}

/// Seconds and nanoseconds as a source's clock gives them, where they make an instant at all.
pub(crate) fn instant(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}
