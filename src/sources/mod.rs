//! Sources: the code that reads providers, and all that is known of each. One folder a provider, one
//! line in [`registry`]; [`provider`] says how to add one.
//!
//! A source lists and fetches; it never writes to its provider, keeps no state between runs, and
//! knows nothing of SQL, buckets or schedules. What to do with an entry is the engine's business.

mod address;
pub mod browse;
pub mod google_drive;
pub mod iconik;
mod kept;
pub mod local;
pub mod oauth;
pub mod provider;
pub mod registry;
pub mod retry;
pub mod s3;
pub mod sharepoint;
pub mod snowflake;
pub mod tigris;
pub mod web;

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use jiff::Timestamp;

use self::browse::{Level, Wanted};
pub use self::{
    address::{address, locate, suggested_name},
    provider::{
        Accepted, LocationError, NotAFolder, Opening, Provider, ProviderFilterError,
        ProviderFilters, Reader, Wrong,
    },
    registry::{
        Opener, Registry, accept, amend, built_in, filters_besides_shards, is_configurable,
        provider_filters, providers, readable, reader, schemas, shown, watched,
    },
};
use crate::model::{Cursor, Entry, EntryId, EntryPath, ErrorType, Fingerprint, Identity, Shard};

/// A place that can be listed and read.
///
/// Implementations retry a failing *listing* themselves (see [`retry`]) and give up within two
/// minutes; a failing *fetch* is retried by the engine, which knows the entry's history.
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

    /// The parts that this source is listed in: all of it, and no entry in two of them. At least one;
    /// the same ones, by the same names, for as long as its settings stay the same.
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

    /// Looks at one entry again: as the listing would show it now, or `None` when it is gone.
    ///
    /// # Errors
    /// As for [`Source::fetch`].
    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError>;

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

    /// What a rename at the provider would leave as it is, as far as the listing proves equal bytes
    /// by it; `None` where it proves nothing.
    fn identity(&self, _fingerprint: &Fingerprint) -> Option<Identity> {
        None
    }

    /// What lies directly below the root, for people who look around; at most `limit` items.
    ///
    /// # Errors
    /// [`SourceError::PermissionDenied`] when these credentials work and may not see this place;
    /// else as for [`Source::root`].
    async fn browse(&self, wanted: Wanted, limit: usize) -> Result<Level, SourceError> {
        let _ = (wanted, limit);
        Err(browse::not_browsable())
    }

    /// Asks what is known of an entry besides its listing: as much as is wanted, with as few requests
    /// as that takes. Sources whose entries have nothing of the kind make none.
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

    /// Whether [`Source::fetch`] can serve part of an entry.
    fn ranges(&self) -> bool {
        true
    }

    /// How many fetches at once serve this source best when nobody says otherwise.
    fn default_concurrency(&self) -> usize;

    /// How many small entries are best read in one go. More than one pays where opening one costs
    /// less than handing it to another thread.
    fn bundle(&self) -> usize {
        1
    }
}

/// Every entry of a source, from its beginning, shard by shard. Ends as [`Source::walk`] does.
pub fn walk_all(source: &dyn Source) -> impl Stream<Item = Result<Page, SourceError>> + Send {
    stream::iter(source.shards()).flat_map(|shard| source.walk(&shard, None))
}

/// What makes a root the same root next time. Opaque text, compared whole; `None` where a provider
/// names its places uniquely anyway (a bucket).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootIdentity(pub Option<String>);

/// A stretch of a listing.
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
}

/// A stretch of an entry's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// How many bytes, at least one.
    pub len: u64,
}

/// An opened entry.
pub struct Content {
    /// What the provider says about it, as far as the answer to the fetch tells.
    pub facts: Facts,
    /// The bytes.
    pub body: Body,
}

/// What comes along with the bytes, at no extra request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The MIME type that the provider keeps for it.
    pub mime: Option<String>,
    /// User metadata (S3: `x-amz-meta-*`), names in lower case, sorted by name.
    pub metadata: BTreeMap<String, String>,
    /// Tags that people put on it, by their exact names. Only where they were asked for.
    pub tags: BTreeMap<String, String>,
    /// What else the provider knows of it: a row's columns, a drive's properties, headers.
    pub properties: serde_json::Map<String, serde_json::Value>,
}

/// What is wanted of an entry besides its listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Facts::metadata`].
    pub metadata: bool,
    /// [`Facts::tags`].
    pub tags: bool,
    /// [`Facts::properties`] and [`Facts::mime`].
    pub properties: bool,
}

impl Needs {
    /// Whether nothing is wanted.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        !(self.metadata || self.tags || self.properties)
    }

    /// What this wants and `other` does not.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self {
            metadata: self.metadata && !other.metadata,
            tags: self.tags && !other.tags,
            properties: self.properties && !other.properties,
        }
    }

    /// What either wants.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            metadata: self.metadata || other.metadata,
            tags: self.tags || other.tags,
            properties: self.properties || other.properties,
        }
    }
}

/// How the bytes of an entry arrive.
pub enum Body {
    /// From a network, as they come.
    Stream(BoxStream<'static, Result<Bytes, SourceError>>),
    /// From a file, or from a socket that is read to where the bytes belong: to be drained on a blocking
    /// thread.
    Blocking(Box<dyn BlockingRead>),
}

/// Bytes that are read with blocking calls. A file is opened with the first read.
pub trait BlockingRead: Send {
    /// Fills the front of `buffer` and says how much; 0 at the end, and only once it is certain
    /// that the version that was asked for has been read, whole and unmixed.
    ///
    /// # Errors
    /// [`SourceError::Changed`] when the file was written meanwhile, or as [`Source::fetch`].
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError>;

    /// What ends a read under way when it is dropped, from whichever thread: for readers that may wait for
    /// somebody for long.
    fn drop_guard(&self) -> Option<Box<dyn Send>> {
        None
    }
}

/// What went wrong at a source, by what the caller does next ([`SourceError::class`]).
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The connection broke, the server stumbled: worth another try.
    #[error("{message}")]
    Transient {
        /// The provider's reason.
        message: String,
    },
    /// An answer that makes no sense, or is cut short: worth a few more tries, not many.
    #[error("{message}")]
    Garbled {
        /// What is wrong with it.
        message: String,
    },
    /// The name of the host leads nowhere, and never has: worth a few more tries, not many.
    #[error("{message}")]
    Unresolved {
        /// Which name, and the system's reason.
        message: String,
    },
    /// The provider asks to slow down.
    #[error("the provider asks to slow down: {message}")]
    RateLimited {
        /// The provider's reason.
        message: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("no answer in time: {message}")]
    Timeout {
        /// What was being waited for.
        message: String,
    },
    /// The credentials do not work, for anything: the connection's failure, no entry's.
    #[error("the credentials were refused: {message}")]
    Auth {
        /// The provider's reason.
        message: String,
    },
    /// The root itself is not there.
    #[error("{message}")]
    RootMissing {
        /// What is missing, and how to go on.
        message: String,
    },
    /// This entry is not there (any more).
    #[error("gone from the source: {message}")]
    NotFound {
        /// The provider's reason.
        message: String,
    },
    /// This entry may not be read.
    #[error("permission denied: {message}")]
    PermissionDenied {
        /// The provider's reason.
        message: String,
    },
    /// The entry has another version now than the one asked for.
    #[error("it changed while it was read: {message}")]
    Changed {
        /// What differed.
        message: String,
    },
    /// What arrived does not have the checksum that the provider keeps: worth a few more tries, for
    /// the fault may lie on the way.
    #[error("what arrived is not what the provider has a checksum of: {message}")]
    Corrupt {
        /// The two checksums.
        message: String,
    },
    /// The settings of the connection cannot work.
    #[error("{message}")]
    Misconfigured {
        /// What is wrong, and how to put it right.
        message: String,
    },
    /// An answer that makes no sense, or a refusal that another try will not change.
    #[error("{message}")]
    Permanent {
        /// The provider's reason.
        message: String,
    },
}

/// What to do about a [`SourceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again, after a while.
    Retry,
    /// Try again, a few times.
    RetryBriefly,
    /// Look at the entry again: it has changed.
    Reread,
    /// The entry is gone: there is nothing to take.
    Gone,
    /// Give this entry up and go on with the rest.
    Entry,
    /// Stop the run: nothing else would work either.
    Connection,
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Transient { .. } | Self::RateLimited { .. } | Self::Timeout { .. } => {
                ErrorClass::Retry
            }
            Self::Garbled { .. } | Self::Unresolved { .. } | Self::Corrupt { .. } => {
                ErrorClass::RetryBriefly
            }
            Self::Changed { .. } => ErrorClass::Reread,
            Self::NotFound { .. } => ErrorClass::Gone,
            Self::PermissionDenied { .. } | Self::Permanent { .. } => ErrorClass::Entry,
            Self::Auth { .. } | Self::RootMissing { .. } | Self::Misconfigured { .. } => {
                ErrorClass::Connection
            }
        }
    }

    /// How the API names it on a dead letter.
    #[must_use]
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Transient { .. }
            | Self::Garbled { .. }
            | Self::Unresolved { .. }
            | Self::Permanent { .. } => ErrorType::DownloadFailed,
            Self::RateLimited { .. } => ErrorType::RateLimited,
            Self::Timeout { .. } => ErrorType::Timeout,
            Self::Auth { .. } | Self::PermissionDenied { .. } => ErrorType::PermissionDenied,
            Self::RootMissing { .. } | Self::NotFound { .. } => ErrorType::NotFound,
            Self::Changed { .. } => ErrorType::ChangedDuringRead,
            Self::Corrupt { .. } => ErrorType::ChecksumMismatch,
            Self::Misconfigured { .. } => ErrorType::Internal,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Seconds and nanoseconds as a source's clock gives them, where they make an instant at all.
pub(crate) fn instant(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}
