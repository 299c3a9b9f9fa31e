//! An opened entry: its bytes, and what a source says about it besides listing it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bytes::Bytes;
use futures_util::stream::BoxStream;

#[cfg(doc)]
use super::Source;
use super::SourceError;
use crate::model::PartAddress;

/// A range of an entry's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// How many bytes, at least one.
    pub len: u64,
}

/// An opened entry.
pub struct Content {
    /// What the provider says about it, as far as the response to the fetch says.
    pub facts: Facts,
    /// The bytes.
    pub body: Body,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// What is known of a named part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartFacts {
    /// Its MIME type.
    pub mime: Option<String>,
    /// Its own name.
    pub filename: Option<String>,
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
    /// Its named parts that mappings can make blobs of; `None` where it has no such part.
    pub parts: BTreeMap<String, Option<PartAddress>>,
    /// Names of properties that refer to files of the provider which cannot be fetched.
    pub references: BTreeSet<String>,
    /// Whether the properties came with the listing, which makes them all the metadata there is.
    pub is_listed: bool,
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
    /// From a file, or from a socket that is read to where the bytes belong: to be drained on a
    /// blocking thread.
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

    /// What ends a read under way when it is dropped, from whichever thread: for readers that may
    /// wait for somebody for long.
    fn drop_guard(&self) -> Option<Box<dyn Send>> {
        None
    }
}
