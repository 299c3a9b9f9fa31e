//! One level of a source, for people who look for what to sync. No run depends on it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::SourceError;
use crate::model::EntryPath;

/// What to look for directly below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// Folders, or what a provider has in their place.
    Folders,
    /// Files, or what a provider has in their place.
    Files,
}

/// What lies directly below a root, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The first by name, at most as many as were asked for.
    pub items: Vec<Item>,
    /// There are more.
    pub truncated: bool,
}

/// A folder or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name within the root.
    pub name: EntryPath,
    /// The provider's id for it, where that is not its path.
    pub id: Option<String>,
    /// What else a person wants to know of it: what kind of table it is, the type of a column.
    pub note: Option<String>,
    /// The MIME type of a file, where the provider gives it.
    pub mime: Option<String>,
    /// Bytes of a file.
    pub size: Option<u64>,
    /// When a file was written last.
    pub modified: Option<Timestamp>,
}

/// The first items by name, in memory bounded by their number.
#[derive(Debug)]
pub(super) struct First<T> {
    limit: usize,
    items: BTreeMap<Vec<u8>, T>,
    truncated: bool,
}

impl<T> First<T> {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, items: BTreeMap::new(), truncated: false }
    }

    /// Takes an item, and lets the last one go if there are too many.
    pub(super) fn offer(&mut self, name: Vec<u8>, item: T) {
        self.items.insert(name, item);
        if self.items.len() > self.limit {
            self.items.pop_last();
            self.truncated = true;
        }
    }

    /// Whether nothing that sorts behind what is there can come in.
    pub(super) fn is_full(&self) -> bool {
        self.truncated
    }

    /// There are more that were not looked at.
    pub(super) const fn cut(&mut self) {
        self.truncated = true;
    }

    /// The level, with what `describe` knows of each; `None` where it is not there after all.
    pub(super) fn into_level(self, mut describe: impl FnMut(&[u8], T) -> Option<Item>) -> Level {
        let items =
            self.items.into_iter().filter_map(|(name, item)| describe(&name, item)).collect();
        Level { items, truncated: self.truncated }
    }
}

/// Says that there is nothing to look at.
pub(super) fn not_browsable() -> SourceError {
    SourceError::Misconfigured { message: "this provider has no folders to look into".into() }
}
