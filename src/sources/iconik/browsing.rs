//! What people see who look around: collections as folders, assets as files.

use super::{
    asset::Asset,
    refusal::About,
    search::{PAGE, Paging},
    source::{EVERYTHING, Library, Objects},
    tree::Collection,
};
use crate::{
    model::EntryPath,
    sources::{
        SourceError,
        browse::{Item, Level},
        trail::Trail,
    },
};

impl Library {
    /// The collections in a folder.
    pub(super) async fn collections_in(&self, parent: &str) -> Result<Vec<Item>, SourceError> {
        let tree = self.tree().await?;
        let found = match parent {
            EVERYTHING => tree.top(),
            parent => tree.children(parent),
        };
        let item = |collection: &&Collection| Item {
            name: EntryPath::new(collection.name().as_bytes()),
            id: Some(collection.id.clone()),
            mime: None,
            size: None,
            modified: None,
            note: None,
        };
        Ok(found.iter().map(item).collect())
    }

    /// What a collection contains, a page at a time.
    pub(super) async fn contents(
        &self,
        collection: &str,
        page: u64,
        kind: &str,
    ) -> Result<Objects<Asset>, SourceError> {
        let path = format!("/API/assets/v1/collections/{collection}/contents/");
        let page = page.to_string();
        let query = [("object_types", kind), ("per_page", "100"), ("page", page.as_str())];
        self.api.get(&path, &query, About::Root).await
    }

    pub(super) async fn files_in(&self, parent: &str, limit: usize) -> Result<Level, SourceError> {
        let mut level = Level::default();
        if parent == EVERYTHING {
            // Whoever looks around does not wait for a whole library.
            let query = self.query_in(Vec::new());
            let found = self.api.search(&query, None, PAGE).await?;
            let loose = found.assets.iter().filter(|asset| asset.in_collections.is_empty());
            level.items.extend(loose.filter(|asset| asset.is_shown()).map(Asset::item));
            level.truncated = found.goes_on(&mut Paging::default());
        } else {
            let (mut page, mut trail) = (1, Trail::default());
            loop {
                let found = self.contents(parent, page, "assets").await?;
                let pages = found.pages.unwrap_or(1);
                let objects = found.objects.unwrap_or_default();
                let next = (page < pages).then(|| (page + 1).to_string());
                trail.follow(objects.len(), next.as_deref())?;
                level.items.extend(objects.iter().filter(|of| of.is_shown()).map(Asset::item));
                if page >= pages || level.items.len() > limit {
                    level.truncated = page < pages;
                    break;
                }
                page += 1;
            }
        }
        level.truncated |= level.items.len() > limit;
        level.items.truncate(limit);
        Ok(level)
    }
}
