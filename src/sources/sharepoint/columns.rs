//! The columns of a library's list, where filters or mappings name some: which ones a file has
//! comes with its listing, and what people call them is asked for at most once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::{
    graph::{About, Graph},
    item::is_personal,
    source_path::Collection,
};
use crate::sources::{SourceError, trail::Trail};

/// What every file has a value of, by the names that filters and mappings use: no column is needed
/// for it.
const KNOWN: [&str; 19] = [
    "name",
    "filename",
    "size",
    "size_bytes",
    "path",
    "etag",
    "extension",
    "mimeType",
    "mime_type",
    "content_type",
    "webUrl",
    "description",
    "modified_at",
    "last_modified",
    "createdDateTime",
    "lastModifiedDateTime",
    "createdBy",
    "lastModifiedBy",
    "size_mismatch",
];

/// What columns of a list are called by people, with the names that their values come by.
type Names = HashMap<String, String>;

/// The columns that are asked for.
pub(super) struct Columns {
    wanted: BTreeSet<String>,
    /// By drive.
    names: Mutex<HashMap<String, Arc<Names>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Column {
    name: String,
    display_name: Option<String>,
}

impl Columns {
    /// Those among the names that filters and mappings use which a file does not have anyway.
    pub(super) fn among(named: impl IntoIterator<Item = String>) -> Self {
        let is_known = |name: &String| KNOWN.contains(&name.as_str());
        let own = |name: String| name.strip_prefix("metadata.").map_or(name.clone(), str::to_owned);
        let wanted = named.into_iter().map(own).filter(|name| !is_known(name)).collect();
        Self { wanted, names: Mutex::default() }
    }

    /// What a request for items of a drive has to say to get them. Personal drives have no lists.
    pub(super) fn expansion(&self, drive: &str) -> &'static str {
        match self.wanted.is_empty() || is_personal(drive) {
            true => "",
            false => "&$expand=listItem($expand=fields)",
        }
    }

    /// Whether a file lacks a value that may come by another name than the one that was asked for.
    pub(super) fn is_incomplete(&self, fields: &Map<String, Value>) -> bool {
        self.wanted.iter().any(|wanted| of_internal_name(fields, wanted).is_none())
    }

    /// What the columns of a drive's list are called by people: asked for once.
    ///
    /// # Errors
    /// As for a listing. A list that may not be looked at has the names that its values come by.
    pub(super) async fn names(
        &self,
        graph: &Graph,
        drive: &str,
    ) -> Result<Arc<Names>, SourceError> {
        let mut known = self.names.lock().await;
        if let Some(names) = known.get(drive) {
            return Ok(Arc::clone(names));
        }
        let names = match names_of(graph, drive).await {
            Err(error) if error.class().ends_run() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "the columns of a library could not be looked up");
                Names::default()
            }
            Ok(names) => names,
        };
        let names = Arc::new(names);
        known.insert(drive.to_owned(), Arc::clone(&names));
        Ok(names)
    }

    /// The values that were asked for, by the names that they were asked for by.
    pub(super) fn values(
        &self,
        fields: &Map<String, Value>,
        names: Option<&Names>,
    ) -> Map<String, Value> {
        let value = |wanted: &String| {
            let named = || fields.get(names?.get(wanted)?);
            of_internal_name(fields, wanted).or_else(named).filter(|value| !value.is_null())
        };
        self.wanted
            .iter()
            .filter_map(|wanted| Some((wanted.clone(), value(wanted)?.clone())))
            .collect()
    }
}

async fn names_of(graph: &Graph, drive: &str) -> Result<Names, SourceError> {
    let path = format!("/v1.0/drives/{drive}/list/columns?$select=name,displayName");
    let mut next = Some(graph.host.url(&path));
    let (mut names, mut trail) = (Names::new(), Trail::default());
    while let Some(link) = next.take() {
        let page: Collection<Column> = graph.follow(&link, About::Item).await?;
        trail.follow(page.value.len(), page.next.as_deref())?;
        next = page.next;
        for Column { name, display_name } in page.value {
            // Hidden columns share the names of others: the first one counts.
            names.entry(display_name.unwrap_or_else(|| name.clone())).or_insert(name);
        }
    }
    Ok(names)
}

/// A value by the name that it comes by, or by what that name stands for: `_x0020_` is a space.
fn of_internal_name<'f>(fields: &'f Map<String, Value>, wanted: &str) -> Option<&'f Value> {
    fields.get(wanted).or_else(|| {
        let mut others = fields.iter().filter(|(name, _)| name.contains("_x"));
        others.find(|(name, _)| decoded(name) == wanted).map(|(_, value)| value)
    })
}

/// An internal name with its `_xHHHH_` replaced by the characters that they stand for.
fn decoded(name: &str) -> String {
    let (mut units, mut rest) = (Vec::new(), name);
    while let Some(at) = rest.find("_x") {
        let code = rest.get(at + 2..at + 6).and_then(|hex| u16::from_str_radix(hex, 16).ok());
        match code.filter(|_| rest[at + 6..].starts_with('_')) {
            Some(unit) => {
                units.extend(rest[..at].encode_utf16().chain([unit]));
                rest = &rest[at + 7..];
            }
            None => {
                units.extend(rest[..at + 2].encode_utf16());
                rest = &rest[at + 2..];
            }
        }
    }
    units.extend(rest.encode_utf16());
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn columns(named: &[&str]) -> Columns {
        Columns::among(named.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn columns_are_only_asked_for_where_one_is_named_and_the_drive_has_a_list() {
        assert_eq!(columns(&["name", "mimeType", "size_bytes"]).expansion("b!1"), "");
        assert!(columns(&["metadata.Campaign"]).expansion("b!1").contains("listItem"));
        assert_eq!(columns(&["Campaign"]).expansion("0abcdef012345678"), "");
    }

    #[test]
    fn a_value_is_found_by_its_internal_name_by_what_that_stands_for_and_by_its_display_name() {
        let fields = json!({ "Due_x0020_date": "2026", "_x0410_": 1, "field_1": "x", "No": null });
        let fields = fields.as_object().unwrap();
        let names = Names::from([("Owner".to_owned(), "field_1".to_owned())]);
        let wanted = columns(&["Due date", "А", "Owner", "No", "Nothing"]);
        let values = wanted.values(fields, Some(&names));
        assert_eq!(Value::from(values), json!({ "Due date": "2026", "А": 1, "Owner": "x" }));
        assert!(wanted.is_incomplete(fields) && !columns(&["Due date"]).is_incomplete(fields));
    }

    #[test]
    fn names_that_only_look_encoded_stay_as_they_are() {
        for name in ["_x", "a_x00", "_x00zz_", "_x0020", "ä_xé"] {
            assert_eq!(decoded(name), name);
        }
        assert_eq!(decoded("A_x0026_B_x0020_C"), "A&B C");
    }
}
