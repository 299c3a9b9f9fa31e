//! Shards: the parts that a source is listed in, each by itself and with a place mark of its own.

use super::EntryPath;

/// A part of a source: the entries whose paths begin with its prefix. The shards of a source have
/// no entry in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    name: String,
    prefix: String,
}

impl Shard {
    /// The name of the one shard of a source that is not listed in parts.
    pub const WHOLE: &'static str = "__default__";

    /// All that a source lists.
    #[must_use]
    pub fn whole() -> Self {
        Self::only("")
    }

    /// The one shard of a source that lists nothing but what begins with `prefix`.
    #[must_use]
    pub fn only(prefix: impl Into<String>) -> Self {
        Self { name: Self::WHOLE.to_owned(), prefix: prefix.into() }
    }

    /// One of several shards, known by its prefix: what has been listed of it stays so while others
    /// come and go.
    #[must_use]
    pub fn beneath(prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        Self { name: prefix.clone(), prefix }
    }

    /// One of several shards, known by a name of its own: the source says which entries are in it.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), prefix: String::new() }
    }

    /// What it is called, from run to run and in the API.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the paths of its entries begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether an entry of that path is in it.
    #[must_use]
    pub fn covers(&self, path: &EntryPath) -> bool {
        path.as_bytes().starts_with(self.prefix.as_bytes())
    }
}
