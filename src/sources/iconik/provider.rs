//! Iconik as a provider: settings, credentials, places, filters.

use std::{ffi::OsStr, path::Path, sync::Arc};

use async_trait::async_trait;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value};

use super::{
    asset::{FileSelection, NamedPart},
    source::{Library, Scope},
    source_path::{SourcePath, is_id},
};
use crate::{
    model::{MappingEntry, MappingSource, Shard},
    sources::{
        Source, SourceError,
        browse::Item,
        provider::{
            Browsing, Filters, Kind, LocationError, Locations, NotAFolder, Opening, Presence,
            Provider, ProviderFilterError, Reader, Schema,
            field::{Literal, Shape, field, text},
        },
    },
};

/// Iconik.
#[derive(Debug)]
pub struct Iconik;

const SCHEMA: Schema = Schema {
    model: "IconikConfig",
    settings: &[
        field("base_url", Shape::Url { schemes: &["https", "http"], bare: false, query: false })
            .or(Literal::Text("https://app.iconik.io")),
        text("metadata_view_id"),
        field("rate_limit_rps", Shape::Number { min: 0.0, max: f64::MAX }),
        // Shared by programs on several machines; here the limit is that of this one program.
        field(
            "rate_limit_redis_url",
            Shape::Url { schemes: &["redis", "rediss"], bare: false, query: false },
        ),
    ],
    presence: Presence::Required,
    kinds: &[Kind {
        tag: "app_token",
        model: "IconikCredentials",
        fields: &[text("app_id").required(), text("auth_token").required(), text("webhook_secret")],
        dropped: &[],
    }],
};

const ACCEPTED: &str =
    "/ for everything, a path of titles such as /News/2026, or a collection's id";

impl Provider for Iconik {
    fn name(&self) -> &'static str {
        "iconik"
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }
}

#[async_trait]
impl Reader for Iconik {
    async fn open(&self, opening: Opening<'_>) -> Result<Arc<dyn Source>, SourceError> {
        let filters = &opening.options.provider_filters;
        let misconfigured = |problem: ProviderFilterError| SourceError::Misconfigured {
            message: problem.to_string(),
        };
        let patterns = texts(filters, "path_patterns").map_err(misconfigured)?;
        let scope = Scope {
            collections: texts(filters, "collection_ids").map_err(misconfigured)?,
            media_types: texts(filters, "media_type").map_err(misconfigured)?,
            patterns: globs(&patterns).map_err(misconfigured)?,
            wanted: wanted(filters).map_err(misconfigured)?,
            view: None,
            parts: parts(&opening),
            needed: opening.named_properties(),
        };
        Ok(Arc::new(Library::open(opening, scope).await?))
    }

    fn offers(&self) -> &'static [&'static str] {
        &["metadata", "column"]
    }
}

impl Locations for Iconik {
    fn accepted(&self) -> &'static str {
        ACCEPTED
    }

    fn place(&self, source_path: &str, _: &Path) -> Result<Vec<u8>, String> {
        Ok(SourcePath::parse(source_path)?.to_string().into_bytes())
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["iconik"]
    }

    fn example(&self) -> &'static str {
        "iconik:///Collection"
    }

    /// `iconik:///A/B` is a path, `iconik://ID` an id.
    fn addressed(&self, scheme: &str, rest: &OsStr) -> Result<Vec<u8>, LocationError> {
        let address = format!("{scheme}://{}", rest.to_string_lossy());
        let Some(text) = rest.to_str() else { return Err(LocationError::NotText(address)) };
        self.place(text, Path::new("")).map_err(|problem| LocationError::NoPlace {
            address,
            problem,
            accepted: format!("{scheme}:///COLLECTION/COLLECTION or {scheme}://COLLECTION_ID"),
        })
    }

    fn suggested_name(&self, source_path: &[u8]) -> String {
        let text = String::from_utf8_lossy(source_path);
        match text.trim_matches('/') {
            "" => "iconik".to_owned(),
            path => path.rsplit('/').next().unwrap_or(path).to_owned(),
        }
    }
}

impl Filters for Iconik {
    fn keys(&self) -> &'static [&'static str] {
        &["collection_ids", "media_type", "path_patterns", "use_search_api", "files"]
    }

    fn shards(&self, filters: &Map<String, Value>) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
        let mut problems = Vec::new();
        let mut read = |name: &str| {
            texts(filters, name).unwrap_or_else(|problem| {
                problems.push(problem);
                Vec::new()
            })
        };
        let (collections, patterns) = (read("collection_ids"), read("path_patterns"));
        read("media_type");
        if let Some(wrong) = collections.iter().find(|id| !is_id(id)) {
            let (value, accepted) = (wrong.as_str().into(), "ids of collections");
            let problem = "is no collection's id";
            let field = "collection_ids";
            problems.push(ProviderFilterError::wrong_value(field, &value, problem, accepted));
        }
        problems.extend(globs(&patterns).err());
        problems.extend(wanted(filters).err());
        if let Some(value) =
            filters.get("use_search_api").filter(|of| !of.is_null() && !of.is_boolean())
        {
            let (problem, accepted) = ("is neither true nor false", "true or false");
            let field = "use_search_api";
            problems.push(ProviderFilterError::wrong_value(field, value, problem, accepted));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(match collections.as_slice() {
            [] => vec![Shard::whole()],
            selected => selected.iter().map(Shard::named).collect(),
        })
    }

    /// A search is one of everything.
    fn assumed_place(&self, filters: &Map<String, Value>) -> Option<&'static str> {
        let searches = filters.get("use_search_api").and_then(Value::as_bool);
        (searches == Some(true)).then_some("/")
    }

    /// Patterns with a slash do.
    fn look_at_folders(&self, filters: &Map<String, Value>) -> bool {
        let patterns = texts(filters, "path_patterns").unwrap_or_default();
        patterns.iter().any(|pattern| pattern.contains('/'))
    }
}

/// The named parts that the sync's mapping makes blobs of.
fn parts(opening: &Opening<'_>) -> Vec<NamedPart> {
    let entries = opening.options.mapping.iter().flat_map(|mapping| mapping.entries());
    let mapped: Vec<&String> = entries
        .filter_map(|(_, entry)| match entry {
            MappingEntry::Blob(blob) => Some(&blob.source),
            MappingEntry::Field(_) => None,
        })
        .filter_map(|source| match source {
            MappingSource::Metadata { key } => Some(key),
            MappingSource::Column { name } => Some(name),
            _ => None,
        })
        .collect();
    let is_mapped = |part: &NamedPart| mapped.iter().any(|of| of.eq_ignore_ascii_case(part.name()));
    NamedPart::ALL.into_iter().filter(is_mapped).collect()
}

/// The texts of a filter: a list, or one text with commas.
fn texts(filters: &Map<String, Value>, name: &str) -> Result<Vec<String>, ProviderFilterError> {
    let given = match filters.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) => {
            text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>()
        }
        Some(value) => {
            let all = value.as_array().map(|all| all.iter().map(Value::as_str));
            let all: Option<Vec<&str>> = all.and_then(|mut all| {
                let all: Option<Vec<&str>> = all.by_ref().collect();
                all
            });
            let Some(all) = all else {
                let (problem, accepted) = ("is not a list of texts", "texts, or one with commas");
                return Err(ProviderFilterError::wrong_value(name, value, problem, accepted));
            };
            all.into_iter().map(str::to_owned).collect()
        }
    };
    let mut texts: Vec<String> = Vec::new();
    for text in given.into_iter().filter(|text| !text.is_empty()) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}

/// Patterns as `file_filters` has them: without a slash they are about the name of the file.
fn globs(patterns: &[String]) -> Result<Option<GlobSet>, ProviderFilterError> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let wrong = |error: globset::Error| {
            let (value, accepted) = (pattern.as_str().into(), "globs such as News/**/*.mxf");
            ProviderFilterError::wrong_value("path_patterns", &value, error.to_string(), accepted)
        };
        let whole = match pattern.trim_start_matches('/') {
            path if pattern.contains('/') => path.to_owned(),
            name => format!("**/{name}"),
        };
        set.add(GlobBuilder::new(&whole).literal_separator(true).build().map_err(wrong)?);
    }
    let wrong = |error: globset::Error| {
        let accepted = "globs such as News/**/*.mxf";
        let value = patterns.into();
        ProviderFilterError::wrong_value("path_patterns", &value, error.to_string(), accepted)
    };
    Ok(Some(set.build().map_err(wrong)?))
}

fn wanted(filters: &Map<String, Value>) -> Result<FileSelection, ProviderFilterError> {
    match filters.get("files") {
        None | Some(Value::Null) => Ok(FileSelection::Originals),
        Some(Value::String(text)) if text == "original" => Ok(FileSelection::Originals),
        Some(Value::String(text)) if text == "proxy" => Ok(FileSelection::Proxy),
        Some(Value::String(text)) if text == "all" => Ok(FileSelection::All),
        Some(value) => {
            let (problem, accepted) = ("is none of the files there are", "original, proxy or all");
            Err(ProviderFilterError::wrong_value("files", value, problem, accepted))
        }
    }
}

#[async_trait]
impl Browsing for Iconik {
    fn root(&self) -> Vec<u8> {
        b"/".to_vec()
    }

    fn browsed(&self, path: &str) -> Result<Vec<u8>, NotAFolder> {
        let place = SourcePath::parse(path).map_err(|_| NotAFolder {
            message: "this is neither a collection's id nor a path of titles",
            accepted: ACCEPTED,
        })?;
        Ok(place.to_string().into_bytes())
    }

    /// The id as the place, and a readable path where it leads back, else the id.
    fn below(&self, parent: &str, item: &Item) -> (String, String) {
        let name = item.name.to_json_text();
        let id = item.id.clone().unwrap_or_default();
        let parent = parent.trim_end_matches('/');
        let is_readable = !name.contains('/') && (parent.is_empty() || parent.starts_with('/'));
        let path = if is_readable { format!("{parent}/{name}") } else { id.clone() };
        (id, path)
    }

    async fn test(&self, source: &dyn Source) -> Result<String, SourceError> {
        source.probe().await?;
        Ok("Connection test succeeded: the token may search".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn shards(filters: Value) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
        Iconik.shards(filters.as_object().unwrap())
    }

    #[test]
    fn each_collection_id_is_a_shard_by_its_name() {
        let shards = shards(json!({ "collection_ids": ["c1", "c2", "c1"] })).unwrap();
        assert_eq!(shards.iter().map(Shard::name).collect::<Vec<_>>(), ["c1", "c2"]);
        assert_eq!(self::shards(json!({})).unwrap(), [Shard::whole()]);
    }

    #[test]
    fn wrong_filters_are_named_with_what_is_accepted() {
        assert!(shards(json!({ "media_type": "video, image", "use_search_api": true })).is_ok());
        for wrong in [
            json!({ "collection_ids": 5 }),
            json!({ "collection_ids": ["a/b"] }),
            json!({ "media_type": [1] }),
            json!({ "path_patterns": ["[a"] }),
            json!({ "files": "keyframes" }),
            json!({ "use_search_api": "yes" }),
        ] {
            assert_eq!(shards(wrong.clone()).unwrap_err().len(), 1, "{wrong}");
        }
    }

    #[test]
    fn patterns_without_a_slash_are_about_the_name_and_others_about_the_path() {
        let matches = |pattern: &str, path: &str| {
            globs(&[pattern.to_owned()]).unwrap().unwrap().is_match(path)
        };
        assert!(matches("*.mxf", "a.mxf") && matches("*.mxf", "News/a/b.mxf"));
        assert!(matches("News/*.mxf", "News/a.mxf") && !matches("News/*.mxf", "News/a/b.mxf"));
        assert!(matches("/News/**", "News/a/b.mxf") && !matches("*.mxf", "a.MXF"));
    }

    #[test]
    fn what_browsing_returns_can_be_sent_back_as_path_and_as_source_path() {
        let item = |name: &str| Item {
            name: crate::model::EntryPath::new(name.as_bytes()),
            id: Some("c-1".to_owned()),
            mime: None,
            size: None,
            modified: None,
            note: None,
        };
        assert_eq!(Iconik.below("/", &item("News")), ("c-1".into(), "/News".into()));
        assert_eq!(Iconik.below("/News", &item("a/b")).1, "c-1");
        assert_eq!(Iconik.below("c-0", &item("b")).1, "c-1");
        assert!(Iconik.browsed("c-1").is_ok() && Iconik.browsed("a b").is_err());
    }
}
