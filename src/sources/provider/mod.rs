//! What a provider is to the rest of the program: [`Provider`], and [`Reader`] where this version
//! has a source for it.
//!
//! All that is known of one provider is in its folder in `sources`: its settings and credentials,
//! the places that it has, its filters, how it is browsed, signed in to and opened. Nothing outside
//! `sources` knows a provider by name.
//!
//! # How to add a provider
//! 1. Make a folder `sources/NAME/` with a `provider` module in it, and there a unit struct that
//!    implements [`Provider`]: its name, and the [`Schema`] of its settings and credentials in the
//!    contract's words. With that alone connections to it can be made, stored and shown.
//! 2. Add it to `PROVIDERS` in [`super::registry`]: one line, in the contract's order.
//! 3. Write its source, an implementation of [`Source`], and check it with the conformance suite
//!    (`tests/support/conformance.rs`).
//! 4. Implement [`Reader`] for the struct and return it from [`Provider::reader`]. It consists of
//!    four small traits, most of whose functions have defaults: [`Locations`] (what `source_path`
//!    and the command line take), [`Filters`] (what `provider_filters` take), [`Browsing`] (what
//!    people see when they browse) and [`Reader::open`].
//!
//! What does not live here: what a certain provider does, and how connections are stored.

pub(super) mod accept;
pub mod field;
pub(super) mod filters;
pub(super) mod schema;

use std::{
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Map, Value};

pub use self::{
    accept::{Accepted, Given, Wrong},
    filters::{ProviderFilterError, ProviderFilters},
    schema::{Kind, Presence, Schema},
};
use super::{
    Source, SourceError,
    browse::{Item, ItemKind},
    oauth::sign_in::SignIn,
    tuning::SourceTuning,
};
use crate::model::{
    Connection, Credentials, Cursor, EntryPath, Location, MappingEntry, MappingSource,
    ProviderName, Shard, SyncOptions,
};

/// All that is known of one provider.
pub trait Provider: fmt::Debug + Send + Sync {
    /// Its name in the API and in the database.
    fn name(&self) -> &'static str;

    /// The settings and credentials that connections to it take; `None` where its one connection is
    /// always there and cannot be made or changed.
    fn schema(&self) -> Option<&'static Schema>;

    /// Every rule between fields that is broken; the fields by themselves are checked already.
    fn check(&self, given: &Given<'_>) -> Vec<Wrong> {
        let _ = given;
        Vec::new()
    }

    /// Makes what only this program can make of new credentials of that kind, such as a key.
    ///
    /// # Errors
    /// What is wrong with them.
    fn complete(&self, kind: &str, secret: &mut Map<String, Value>) -> Result<(), Wrong> {
        let _ = (kind, secret);
        Ok(())
    }

    /// What to store of settings that were checked: by default they as they are, and the kind of
    /// credentials that goes with them.
    fn connection(&self, given: &Given<'_>) -> Connection {
        let mut stored = Map::new();
        stored.insert("config".into(), given.settings.clone().into());
        stored.insert("credentials".into(), given.kind.into());
        Connection { provider: ProviderName::new(self.name()), settings: stored }
    }

    /// The settings and the kind of credentials of a stored connection, as
    /// [`Provider::connection`] took them.
    fn settings(&self, connection: &Connection) -> (Map<String, Value>, Option<String>) {
        let config = connection.settings.get("config").and_then(Value::as_object);
        (config.cloned().unwrap_or_default(), connection.text("credentials").map(str::to_owned))
    }

    /// How people sign in to it; `None` where connections only take credentials.
    fn sign_in(&self) -> Option<&'static dyn SignIn> {
        None
    }

    /// What reads it; `None` where connections are kept for a version that can.
    fn reader(&self) -> Option<&dyn Reader> {
        None
    }
}

/// A provider that this version can read.
#[async_trait]
pub trait Reader: Locations + Filters + Browsing + Send + Sync {
    /// Opens the source of a location. Makes no request that could be left until it is used.
    ///
    /// # Errors
    /// [`SourceError::Misconfigured`] when the connection's settings cannot work.
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError>;

    /// The kinds of mapping sources, by their wire spelling, that its entries have besides those
    /// that entries of every provider have.
    fn offers(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it has symbolic links, and takes the options about them.
    fn has_symlinks(&self) -> bool {
        false
    }

    /// The key of the last row that was dealt with where a pass continues at this cursor, as JSON;
    /// `None` where entries are no rows.
    fn last_row(&self, _: &Cursor) -> Option<String> {
        None
    }

    /// Whether its places are folders of this machine, which can be watched for changes.
    fn is_watched(&self) -> bool {
        false
    }
}

/// What a source is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The place and the connection to it.
    pub location: &'a Location,
    /// The connection's credentials, if it keeps any.
    pub credentials: Option<&'a Credentials>,
    /// The sync's settings.
    pub options: &'a SyncOptions,
    /// Its `provider_filters`, checked.
    pub filters: &'a ProviderFilters,
    /// What this installation says of sources.
    pub tuning: &'a SourceTuning,
}

impl Opening<'_> {
    /// The names of properties that the sync's filters and mappings use.
    #[must_use]
    pub fn named_properties(&self) -> Vec<String> {
        let entries = self.options.mapping.iter().flat_map(|mapping| mapping.entries());
        let mapped = entries.filter_map(|(_, entry)| {
            let source = match entry {
                MappingEntry::Field(field) => &field.source,
                MappingEntry::Blob(blob) => &blob.source,
            };
            match source {
                MappingSource::Metadata { key } => Some(key.clone()),
                MappingSource::Column { name } => Some(name.clone()),
                _ => None,
            }
        });
        let filters = self.options.filters.metadata_filters.iter();
        mapped.chain(filters.map(|filter| filter.field.clone())).collect()
    }
}

/// The places that a provider has.
pub trait Locations {
    /// What `source_path` takes, in words.
    fn accepted(&self) -> &'static str;

    /// The place that a `source_path` names, spelled the one way that it is stored. `own_data` is
    /// the data directory, which no sync may read.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on from "source_path …".
    fn place(&self, source_path: &str, own_data: &Path) -> Result<Vec<u8>, String>;

    /// Schemes of its addresses on the command line, the usual one first.
    fn schemes(&self) -> &'static [&'static str];

    /// An address for messages, as in `s3://bucket/prefix`.
    fn example(&self) -> &'static str;

    /// The place that an address on the command line names; `rest` is what follows `SCHEME://`.
    ///
    /// # Errors
    /// When it names none.
    fn addressed(&self, scheme: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError>;

    /// The connection that the options of a command make; `None` where a stored one must be named.
    fn ambient(&self, options: &Map<String, Value>) -> Option<Connection> {
        let _ = options;
        None
    }

    /// The address of a place as a person would type it.
    fn address(&self, source_path: &EntryPath) -> String {
        let scheme = self.schemes().first().copied().unwrap_or_default();
        format!("{scheme}://{source_path}")
    }

    /// What a bucket for a place is called when nobody names it.
    fn suggested_name(&self, source_path: &[u8]) -> String {
        String::from_utf8_lossy(source_path).replace('/', "-")
    }
}

/// A SOURCE on the command line that names no place.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A scheme that this build does not have.
    #[error("unknown scheme {scheme:?} in {source_text:?}: a source is {accepted}")]
    UnknownScheme {
        /// What stood before `://`.
        scheme: String,
        /// The whole argument.
        source_text: String,
        /// What sources there are.
        accepted: String,
    },
    /// A scheme and nothing behind it that names a place.
    #[error("{address:?} {problem}: write {accepted}")]
    NoPlace {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
        /// How to write one.
        accepted: String,
    },
    /// An address must be text.
    #[error("{0:?} is not valid UTF-8, which an address must be")]
    NotText(String),
    /// The current directory is needed and gone.
    #[error("cannot make {path:?} absolute: {error}")]
    NoCurrentDirectory {
        /// The argument.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No argument at all.
    #[error("the source is empty: give {accepted}")]
    Empty {
        /// What sources there are.
        accepted: String,
    },
    /// The provider is read through a stored connection.
    #[error("{provider} is read through a stored connection: name it with --connection")]
    NeedsConnection {
        /// The provider.
        provider: &'static str,
    },
}

/// The filters that a provider itself applies.
pub trait Filters {
    /// The keys of `provider_filters` that it takes.
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Why a key that other clients know is not taken here, and what to do instead.
    fn refused(&self, key: &str) -> Option<&'static str> {
        let _ = key;
        None
    }

    /// Checks the values of those keys, and returns the shards that they make. Unknown keys are
    /// refused already.
    ///
    /// # Errors
    /// Every value that is wrong.
    fn shards(&self, filters: &Map<String, Value>) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
        let _ = filters;
        Ok(vec![Shard::whole()])
    }

    /// Whether a filter says nothing but which shards there are: its change leaves what has been
    /// listed of the others as it is.
    fn only_names_shards(&self, key: &str, value: &Value) -> bool {
        let _ = (key, value);
        false
    }

    /// The place that is meant with these filters where nobody names one.
    fn assumed_place(&self, filters: &Map<String, Value>) -> Option<&'static str> {
        let _ = filters;
        None
    }

    /// Whether these filters look at the folders that an entry is in: then what is moved with its
    /// folder is evaluated again.
    fn look_at_folders(&self, filters: &Map<String, Value>) -> bool {
        let _ = filters;
        false
    }
}

/// What people see who browse a provider.
#[async_trait]
pub trait Browsing {
    /// The place that everything is below.
    fn root(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The place that a path from the connection's root, or the id of an item, names.
    ///
    /// # Errors
    /// What is wrong with it.
    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        let path = path.strip_prefix('/').unwrap_or(path);
        Ok(path.strip_suffix('/').unwrap_or(path).as_bytes().to_vec())
    }

    /// What a sync takes as its `source_path` for an item in the folder `parent`, and the item's
    /// path from the connection's root.
    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let parent = parent.strip_suffix('/').unwrap_or(parent);
        let parent = parent.strip_prefix('/').unwrap_or(parent);
        let name = item.name.to_json_text();
        let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
        let id = item.id.clone().unwrap_or_else(|| path.clone());
        (id, format!("/{path}"))
    }

    /// Tests a connection, whose source at [`Browsing::root`] is `source`; returns what was found.
    ///
    /// # Errors
    /// Why it does not work.
    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        source.browse(ItemKind::Folders, 1).await?;
        Ok("Connection test succeeded".to_owned())
    }
}

/// A path that names no folder to look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFolder {
    /// What is wrong with it.
    pub message: &'static str,
    /// What is accepted in its place.
    pub accepted: &'static str,
}

#[cfg(test)]
mod tests;
