//! The search, which is the only listing that the API has: sorted by date and id, and continued
//! behind the last object. Pages by number end at the ten-thousandth object and are not used.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    api::Api,
    asset::{Asset, FIELDS},
    refusal::About,
    tree::{Collection, Tree},
};
use crate::sources::SourceError;

/// Objects of a page.
pub(super) const PAGE: usize = 1000;

/// What a search engine says of how many objects it has found, where it has not counted on.
const UNCOUNTED: u64 = 10_000;

/// Most collections that a search is narrowed to; what is in more is sorted out here.
const MOST_COLLECTIONS: usize = 1000;

/// What assets are searched for.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    /// In one of these collections; empty: anywhere.
    pub(super) collections: Vec<String>,
    /// Of one of these kinds of media; empty: of any.
    pub(super) media_types: Vec<String>,
    /// Changed at that date or later, as the API spells it.
    pub(super) from: Option<String>,
    /// The view whose fields of metadata are returned.
    pub(super) view: Option<String>,
}

/// A page of a search.
pub(super) struct SearchPage {
    pub(super) assets: Vec<Asset>,
    /// How many the search finds altogether, as far as it says.
    pub(super) total: Option<u64>,
}

/// How far a search has been read. Its end is an empty page, for the API may give fewer objects
/// than are asked for; or, without another request, that all are there which it has counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Paging {
    /// Behind what it continues; `None` at its beginning.
    pub(super) after: Option<Vec<Value>>,
    /// Whether it was begun behind some objects, which are not counted.
    is_resumed: bool,
    seen: u64,
    total: Option<u64>,
}

impl Paging {
    pub(super) fn behind(after: Option<Vec<Value>>) -> Self {
        Self { is_resumed: after.is_some(), after, ..Self::default() }
    }

    /// Takes a page of that many objects, sorted by `last` at its end. Returns whether there may be
    /// more.
    pub(super) fn goes_on(
        &mut self,
        count: usize,
        total: Option<u64>,
        last: Option<Vec<Value>>,
    ) -> bool {
        if self.seen == 0 {
            self.total = total;
        }
        self.seen += count as u64;
        // A count that stays the same is that of the whole search.
        let is_counted = !self.is_resumed && total == self.total && total != Some(UNCOUNTED);
        let is_complete = is_counted && total.is_some_and(|total| self.seen >= total);
        // Nothing comes behind an empty page, nor behind one that does not lead on.
        let leads_on = last.is_some() && last != self.after;
        if leads_on {
            self.after = last;
        }
        leads_on && !is_complete
    }
}

impl SearchPage {
    /// Whether the search continues behind this page.
    pub(super) fn goes_on(&self, paging: &mut Paging) -> bool {
        paging.goes_on(self.assets.len(), self.total, self.assets.last().map(behind))
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Objects<T> {
    objects: Option<Vec<T>>,
    total: Option<u64>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { objects: None, total: None }
    }
}

impl Query {
    fn body(&self, after: Option<&[Value]>) -> Value {
        let mut terms = Vec::new();
        let narrows = (1..=MOST_COLLECTIONS).contains(&self.collections.len());
        for (name, values) in
            [("in_collections", &self.collections), ("media_type", &self.media_types)]
        {
            match values.as_slice() {
                [] => {}
                _ if name == "in_collections" && !narrows => {}
                [only] => terms.push(json!({ "name": name, "value": only })),
                several => terms.push(json!({ "name": name, "value_in": several })),
            }
        }
        if let Some(from) = &self.from {
            terms.push(json!({ "name": "date_modified", "range": { "min": from } }));
        }
        let mut body = json!({
            "doc_types": ["assets"],
            "query": "",
            "sort": [
                { "name": "date_modified", "order": "asc" },
                { "name": "id", "order": "asc" },
            ],
            "include_fields": FIELDS,
        });
        if !terms.is_empty() {
            body["filter"] = json!({ "operator": "AND", "terms": terms });
        }
        if let Some(view) = &self.view {
            body["metadata_view_id"] = view.as_str().into();
        }
        if let Some(after) = after {
            body["search_after"] = after.into();
        }
        body
    }
}

impl Api {
    /// A page of assets.
    pub(super) async fn search(
        &self,
        query: &Query,
        after: Option<&[Value]>,
        per_page: usize,
    ) -> Result<SearchPage, SourceError> {
        let about = if after.is_some() { About::Page } else { About::Search };
        let Objects { objects, total } =
            self.objects::<Asset>(&query.body(after), per_page, about).await?;
        Ok(SearchPage { assets: objects.unwrap_or_default(), total })
    }

    /// All collections that the token sees.
    pub(super) async fn collections(&self) -> Result<Tree, SourceError> {
        #[derive(Deserialize)]
        struct Sorted {
            #[serde(flatten)]
            collection: Collection,
            #[serde(rename = "_sort")]
            sort: Option<Vec<Value>>,
        }
        let mut body = json!({
            "doc_types": ["collections"],
            "query": "",
            "sort": [{ "name": "id", "order": "asc" }],
            "include_fields": ["id", "title", "status", "object_type", "parent_id", "in_collections"],
        });
        let (mut all, mut paging) = (Vec::new(), Paging::default());
        loop {
            let page = self.objects::<Sorted>(&body, PAGE, About::Search).await?;
            let objects = page.objects.unwrap_or_default();
            let last = objects.last().map(|last| {
                last.sort.clone().unwrap_or_else(|| vec![last.collection.id.clone().into()])
            });
            let goes_on = paging.goes_on(objects.len(), page.total, last);
            all.extend(objects.into_iter().map(|sorted| sorted.collection));
            if !goes_on {
                return Ok(Tree::new(all));
            }
            body["search_after"] = paging.after.clone().unwrap_or_default().into();
        }
    }

    async fn objects<T: DeserializeOwned>(
        &self,
        body: &Value,
        per_page: usize,
        about: About,
    ) -> Result<Objects<T>, SourceError> {
        let per_page = per_page.to_string();
        let query = [
            ("per_page", per_page.as_str()),
            ("generate_signed_url", "false"),
            ("save_search_history", "false"),
        ];
        self.post("/API/search/v1/search/", &query, body, about).await
    }
}

/// The values that the search was sorted by, of its last object.
fn behind(last: &Asset) -> Vec<Value> {
    last.sort.clone().unwrap_or_else(|| {
        let date = last.date_modified.clone().unwrap_or_default();
        vec![date.into(), last.id.clone().into()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends_where_all_that_it_counted_are_there_or_with_an_empty_page() {
        let last = |id: &str| Some(vec![json!(1), json!(id)]);
        let mut counted = Paging::default();
        assert!(counted.goes_on(2, Some(3), last("a")));
        assert!(!counted.goes_on(1, Some(3), last("b")), "all three are there");
        let mut remaining = Paging::default();
        assert!(remaining.goes_on(2, Some(3), last("a")));
        assert!(remaining.goes_on(2, Some(1), last("b")), "no count of the whole search");
        assert!(!remaining.goes_on(0, Some(0), None));
        let mut uncounted = Paging::default();
        assert!(uncounted.goes_on(10_000, Some(10_000), last("a")));
        let mut resumed = Paging::behind(last("a"));
        assert!(resumed.goes_on(3, Some(3), last("b")), "what was before is not counted");
        assert!(!resumed.goes_on(3, Some(3), last("b")), "it does not lead on");
        assert!(!Paging::default().goes_on(0, None, None));
    }

    #[test]
    fn the_search_is_narrowed_to_collections_media_and_dates() {
        let query = Query {
            collections: vec!["c1".into(), "c2".into()],
            media_types: vec!["video".into()],
            from: Some("2026-05-01T00:00:00Z".into()),
            view: Some("v".into()),
        };
        let body = query.body(Some(&[json!("x"), json!("id")]));
        assert_eq!(
            body["filter"],
            json!({ "operator": "AND", "terms": [
                { "name": "in_collections", "value_in": ["c1", "c2"] },
                { "name": "media_type", "value": "video" },
                { "name": "date_modified", "range": { "min": "2026-05-01T00:00:00Z" } },
            ]})
        );
        assert_eq!(body["search_after"], json!(["x", "id"]));
        assert_eq!(body["sort"][1]["name"], "id", "the last key of the order is unique");
        assert_eq!(body["metadata_view_id"], "v");
        let all = Query::default().body(None);
        assert!(all.get("filter").is_none() && all.get("search_after").is_none());
        assert!(all.get("page").is_none());
    }
}
