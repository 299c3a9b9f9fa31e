//! Resource keys: what opens files that are shared by their links to those who have never seen them
//! (<https://developers.google.com/workspace/drive/api/guides/resource-keys>). Only some old files
//! need one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The header that they are sent with.
pub(super) const HEADER: &str = "x-goog-drive-resource-keys";

/// The keys that listings have shown, now or in earlier runs, by the ids of their files.
#[derive(Debug, Default)]
pub(super) struct ResourceKeys(Mutex<HashMap<String, String>>);

impl ResourceKeys {
    /// Notes the key of a file, unless it can be none; returns whether that is new.
    pub(super) fn insert(&self, id: &str, key: &str) -> bool {
        if !is_key(key) {
            return false;
        }
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(id.to_owned(), key.to_owned()).is_none_or(|before| before != key)
    }

    /// The key of a file, if it needs one.
    pub(super) fn of(&self, id: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The header of a request that is about these files; `None` where none of them needs a key.
    pub(super) fn header<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Option<String> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() {
            return None;
        }
        let pairs = ids.into_iter().filter_map(|id| Some(format!("{id}/{}", keys.get(id)?)));
        let pairs: Vec<String> = pairs.collect();
        (!pairs.is_empty()).then(|| pairs.join(","))
    }
}

/// Whether text can be a resource key.
pub(super) fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
