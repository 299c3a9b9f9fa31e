//! The collections that the token sees, and their paths.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::asset::or_default;
use crate::sources::SourceError;

/// A collection, as a search, its parent's contents or its own address return it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Collection {
    #[serde(deserialize_with = "or_default")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) title: String,
    status: Option<String>,
    parent_id: Option<String>,
    #[serde(deserialize_with = "or_default")]
    in_collections: Vec<String>,
}

impl Collection {
    /// The collection that it is in; `None` at the top.
    pub(super) fn parent(&self) -> Option<&str> {
        let parent = self.parent_id.as_deref().filter(|id| !id.is_empty());
        parent.or_else(|| self.in_collections.first().map(String::as_str))
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.status.as_deref() == Some("DELETED")
    }

    /// Its own name in a path.
    pub(super) fn name(&self) -> &str {
        if self.title.is_empty() { &self.id } else { &self.title }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    by_id: HashMap<String, Collection>,
}

impl Tree {
    pub(super) fn new(collections: Vec<Collection>) -> Self {
        let known = collections.into_iter().filter(|of| !of.id.is_empty() && !of.is_deleted());
        Self { by_id: known.map(|collection| (collection.id.clone(), collection)).collect() }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Collection> {
        self.by_id.get(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Collection> {
        self.by_id.values()
    }

    /// A collection and those that it is in, from the bottom up, as far as they are visible.
    pub(super) fn chain<'a>(&'a self, id: &str) -> Vec<&'a Collection> {
        let (mut chain, mut seen) = (Vec::new(), HashSet::new());
        let mut next = self.get(id);
        while let Some(collection) = next {
            if !seen.insert(collection.id.as_str()) {
                break;
            }
            chain.push(collection);
            next = collection.parent().and_then(|parent| self.get(parent));
        }
        chain
    }

    /// The path of a collection from the top, without a slash before it.
    pub(super) fn path(&self, id: &str) -> String {
        let names: Vec<&str> = self.chain(id).into_iter().rev().map(Collection::name).collect();
        names.join("/")
    }

    /// Whether a collection is another or nested in it.
    pub(super) fn is_below(&self, id: &str, root: &str) -> bool {
        id == root || self.chain(id).iter().any(|collection| collection.id == root)
    }

    /// A collection and all that are nested in it.
    pub(super) fn nested(&self, root: &str) -> Vec<String> {
        let mut nested: Vec<String> = self
            .by_id
            .keys()
            .filter(|id| *id != root && self.is_below(id, root))
            .cloned()
            .collect();
        nested.sort_unstable();
        nested.insert(0, root.to_owned());
        nested
    }

    /// Those without a parent that is visible, by title.
    pub(super) fn top(&self) -> Vec<&Collection> {
        self.sorted(|collection| collection.parent().is_none_or(|id| self.get(id).is_none()))
    }

    /// Those that are directly in another, by title.
    pub(super) fn children(&self, parent: &str) -> Vec<&Collection> {
        self.sorted(|collection| collection.parent() == Some(parent))
    }

    fn sorted(&self, is_wanted: impl Fn(&Collection) -> bool) -> Vec<&Collection> {
        let mut found: Vec<&Collection> =
            self.by_id.values().filter(|collection| is_wanted(collection)).collect();
        found.sort_unstable_by(|a, b| (&a.title, &a.id).cmp(&(&b.title, &b.id)));
        found
    }

    /// The collection that titles lead to.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn find(&self, titles: &[String]) -> Result<&Collection, SourceError> {
        let mut level = self.top();
        let mut found = None;
        for title in titles {
            let matching: Vec<&Collection> =
                level.iter().copied().filter(|collection| collection.title == *title).collect();
            let only = match matching.as_slice() {
                [] => {
                    let message = format!("there is no collection {title:?}");
                    return Err(SourceError::RootMissing { message });
                }
                [only] => *only,
                several => {
                    let ids: Vec<&str> = several.iter().map(|of| of.id.as_str()).collect();
                    let (count, ids) = (several.len(), ids.join(" or "));
                    return Err(SourceError::Misconfigured {
                        message: format!(
                            "there are {count} collections {title:?}: name one by its id, {ids}"
                        ),
                    });
                }
            };
            found = Some(only);
            level = self.children(&only.id);
        }
        found.ok_or_else(|| SourceError::RootMissing { message: "no collection is named".into() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn tree() -> Tree {
        let all = json!([
            { "id": "1", "title": "News", "parent_id": null },
            { "id": "2", "title": "Raw", "in_collections": ["1"] },
            { "id": "3", "title": "Raw", "parent_id": "1" },
            { "id": "4", "title": "Day/One", "parent_id": "2" },
            { "id": "5", "title": "Hidden below", "parent_id": "unseen" },
            { "id": "6", "title": "A", "parent_id": "7" },
            { "id": "7", "title": "B", "parent_id": "6" },
            { "id": "8", "title": "Gone", "status": "DELETED" },
        ]);
        Tree::new(serde_json::from_value(all).unwrap())
    }

    #[test]
    fn paths_lead_from_the_top_and_circles_end() {
        let tree = tree();
        assert_eq!(tree.path("4"), "News/Raw/Day/One");
        assert_eq!(tree.path("5"), "Hidden below");
        assert!(tree.path("6").ends_with('A'));
        assert_eq!(tree.nested("1"), ["1", "2", "3", "4"]);
        assert!(tree.get("8").is_none());
        let top: Vec<&str> = tree.top().iter().map(|collection| collection.id.as_str()).collect();
        assert_eq!(top, ["5", "1"]);
    }

    #[test]
    fn two_collections_of_one_title_are_both_named() {
        let tree = tree();
        let find = |titles: &[&str]| {
            let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
            tree.find(&titles).map(|found| found.id.clone())
        };
        assert_eq!(find(&["News"]).unwrap(), "1");
        let error = find(&["News", "Raw"]).unwrap_err().to_string();
        assert!(error.contains("2 or 3"), "{error}");
        assert!(matches!(find(&["Nothing"]), Err(SourceError::RootMissing { .. })));
    }
}
