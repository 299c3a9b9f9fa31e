//! Conditions on an entry's metadata, and the metadata that they look at.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    model::{
        EntryPath, FieldProblem, Fingerprint, MetadataFilter, Operator, instant_in, number_in,
    },
    sources::{Facts, Needs},
};

/// All that is known of an entry, field by field.
#[derive(Clone, Copy, Debug)]
pub struct Dossier<'a> {
    /// Its path from the root.
    pub path: &'a EntryPath,
    /// What the listing says.
    pub fingerprint: &'a Fingerprint,
    /// What else the source says, once it has been asked.
    pub facts: Option<&'a Facts>,
}

/// What user metadata is called by S3.
const S3_METADATA: &str = "x-amz-meta-";

impl Dossier<'_> {
    /// The value of a field, by the names that [`MetadataFilter::field`] has.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Value> {
        if is_listed(name) { self.listed(name) } else { self.asked(name) }
    }

    fn listed(&self, name: &str) -> Option<Value> {
        let listed = self.fingerprint;
        let file_name = || EntryPath::new(self.path.file_name()).to_json_text();
        Some(match name {
            "path" => self.path.to_json_text().into(),
            "size" | "size_bytes" => listed.known_size()?.into(),
            "etag" => listed.etag.as_deref()?.into(),
            "modified_at" | "last_modified" => listed.modified?.to_string().into(),
            "mime_type" => listed.mime.as_deref().or_else(|| self.path.mime_guess())?.into(),
            "extension" => file_name().rsplit_once('.')?.1.into(),
            _ => file_name().into(),
        })
    }

    fn asked(&self, name: &str) -> Option<Value> {
        let facts = self.facts?;
        let named = |map: &BTreeMap<String, String>, name: &str| {
            map.get(name).map(|value| Value::from(value.as_str()))
        };
        let metadata = |name: &str| named(&facts.metadata, &name.to_lowercase());
        if let Some(name) = name.strip_prefix(S3_METADATA) {
            return metadata(name);
        }
        match name.split_once('.') {
            Some(("metadata", own)) if facts.is_listed => {
                let listed = facts.properties.get(name).or_else(|| within(&facts.properties, own));
                listed.cloned().or_else(|| metadata(own))
            }
            Some(("metadata", name)) => metadata(name),
            Some(("tags", name)) => named(&facts.tags, name),
            _ if name == "content_type" => facts.mime.as_deref().map(Value::from),
            _ => within(&facts.properties, name).cloned().or_else(|| metadata(name)),
        }
    }
}

/// The value that a dotted path leads to; names that have dots in them are found too.
fn within<'v>(object: &'v serde_json::Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| match object.get(&path[..dot])? {
        Value::Object(inner) => within(inner, &path[dot + 1..]),
        _ => None,
    })
}

/// Whether every listing has a field of that name.
fn is_listed(name: &str) -> bool {
    const LISTED: [&str; 10] = [
        "name",
        "filename",
        "path",
        "extension",
        "size",
        "size_bytes",
        "etag",
        "modified_at",
        "last_modified",
        "mime_type",
    ];
    LISTED.contains(&name)
}

/// A compiled [`MetadataFilter`].
#[derive(Debug, PartialEq, Eq)]
pub struct Condition {
    field: String,
    operator: Operator,
    value: Value,
    needs: Needs,
}

impl Condition {
    /// Compiles conditions; what cannot be compared becomes a problem.
    pub(super) fn compile(
        filters: &[MetadataFilter],
        problems: &mut Vec<FieldProblem>,
    ) -> Vec<Self> {
        for (index, filter) in filters.iter().enumerate() {
            let at = |name: &str| format!("metadata_filters.{index}.{name}");
            if filter.field.is_empty() {
                problems.push(FieldProblem::new(at("field"), "", "is empty"));
            }
            if let Some(accepted) = wanted_instead(filter.operator, &filter.value) {
                let message = format!("is nothing that {} compares with", filter.operator.as_str());
                let problem = FieldProblem::new(at("value"), filter.value.clone(), message);
                problems.push(problem.accepts(accepted));
            }
        }
        filters
            .iter()
            .map(|filter| Self {
                field: filter.field.clone(),
                operator: filter.operator,
                value: filter.value.clone(),
                needs: needs(&filter.field),
            })
            .collect()
    }

    /// What has to be asked of the source to decide it.
    pub(super) const fn needs(&self) -> Needs {
        self.needs
    }

    /// Whether it looks at the folders that an entry is in.
    pub(super) fn looks_at_folders(&self) -> bool {
        self.field == "path"
    }

    /// Whether an entry meets it.
    pub(super) fn is_met_by(&self, dossier: &Dossier<'_>) -> bool {
        let found = dossier.field(&self.field).filter(|value| !value.is_null());
        let any = |meets: fn(&Value, &Value) -> bool| match &found {
            None => false,
            Some(Value::Array(all)) => all.iter().any(|one| meets(one, &self.value)),
            Some(one) => meets(one, &self.value),
        };
        match self.operator {
            Operator::Exists => found.is_some() == self.value.as_bool().unwrap_or(true),
            Operator::Equals => any(equals),
            Operator::NotEquals => !any(equals),
            Operator::Contains => any(contains),
            Operator::NotContains => !any(contains),
            Operator::Gt => any(|found, value| compare(found, value) == Ordering::Greater),
            Operator::Lt => any(|found, value| compare(found, value) == Ordering::Less),
            Operator::Gte => any(|found, value| compare(found, value) != Ordering::Less),
            Operator::Lte => any(|found, value| compare(found, value) != Ordering::Greater),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.field, self.operator.as_str(), self.value)
    }
}

fn needs(field: &str) -> Needs {
    if is_listed(field) {
        Needs::default()
    } else if field.starts_with("tags.") {
        Needs { tags: true, ..Needs::default() }
    } else if field.starts_with("metadata.") || field.starts_with(S3_METADATA) {
        Needs { metadata: true, ..Needs::default() }
    } else {
        Needs { properties: true, ..Needs::default() }
    }
}

/// What would do where `value` does not.
fn wanted_instead(operator: Operator, value: &Value) -> Option<&'static str> {
    let scalar = value.is_string() || value.is_number();
    let (does, accepted) = match operator {
        Operator::Exists => (value.is_null() || value.is_boolean(), "true, false"),
        Operator::Equals | Operator::NotEquals | Operator::Contains | Operator::NotContains => {
            (scalar || value.is_boolean(), "text, a number or a boolean")
        }
        Operator::Gt | Operator::Lt | Operator::Gte | Operator::Lte => {
            (scalar, "a number, a date, or text")
        }
    };
    (!does).then_some(accepted)
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

fn equals(found: &Value, value: &Value) -> bool {
    text(found) == text(value)
        // 1 and 1.0 are one number, but the texts "1" and "1.0" are two.
        || (!(found.is_string() && value.is_string())
            && number(found).is_some_and(|one| number(value) == Some(one)))
}

fn contains(found: &Value, value: &Value) -> bool {
    text(found).contains(&*text(value))
}

/// By value where both are numbers or both are dates, else by text.
fn compare(found: &Value, value: &Value) -> Ordering {
    if let (Some(one), Some(other)) = (number(found), number(value)) {
        return one.partial_cmp(&other).unwrap_or(Ordering::Equal);
    }
    if let (Some(one), Some(other)) = (instant(found), instant(value)) {
        return one.cmp(&other);
    }
    text(found).cmp(&text(value))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => number_in(text)?.as_f64(),
        _ => None,
    }
}

/// An instant, or the first one of a day.
fn instant(value: &Value) -> Option<jiff::Timestamp> {
    let text = value.as_str()?.trim();
    instant_in(text).or_else(|| instant_in(&format!("{text}T00:00:00Z")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::{
        engine::filter::Filter,
        model::{FileFilters, Version},
    };

    fn meets(field: &str, operator: &str, value: Value) -> bool {
        let filters: FileFilters = serde_json::from_value(json!({"metadata_filters": [
            {"field": field, "operator": operator, "value": value},
        ]}))
        .unwrap();
        let filter = Filter::compile(&filters).unwrap();
        let fingerprint = Fingerprint {
            size: 100,
            version: Version(Vec::new()),
            modified: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            etag: Some("abc".to_owned()),
            mime: None,
            details: None,
        };
        let facts = Facts {
            mime: Some("image/png".to_owned()),
            metadata: [("rating", "10"), ("shot", "2026-03-01"), ("a.b", "dots")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            tags: [("Project".to_owned(), "blue moon".to_owned())].into(),
            properties: serde_json::from_value(
                json!({"storage_class": "STANDARD", "owner": {"name": "Ada"}, "labels": ["x", "y"]}),
            )
            .unwrap(),
            ..Facts::default()
        };
        let path = EntryPath::new("a/b.txt".as_bytes());
        let dossier = Dossier { path: &path, fingerprint: &fingerprint, facts: Some(&facts) };
        filter.refuses(&path, &fingerprint).is_none() && filter.refuses_facts(&dossier).is_none()
    }

    #[test]
    fn a_field_is_found_by_its_name_or_the_path_to_it() {
        for (field, value) in [
            ("metadata.rating", "10"),
            ("x-amz-meta-Rating", "10"),
            ("rating", "10"),
            ("metadata.a.b", "dots"),
            ("tags.Project", "blue moon"),
            ("owner.name", "Ada"),
            ("labels", "y"),
            ("content_type", "image/png"),
            ("mime_type", "text/plain"),
            ("name", "b.txt"),
            ("etag", "abc"),
        ] {
            assert!(meets(field, "equals", json!(value)), "{field}");
        }
        assert!(!meets("tags.project", "exists", json!(true)), "tags are case-sensitive");
    }

    #[test]
    fn numbers_and_dates_are_compared_as_such_and_the_rest_as_text() {
        assert!(meets("rating", "gt", json!(9)), "as text, 10 is below 9");
        assert!(meets("rating", "gte", json!("10.0")));
        assert!(!meets("rating", "lt", json!(10)));
        assert!(meets("shot", "lt", json!("2026-03-01T00:00:01Z")));
        assert!(meets("modified_at", "gt", json!("2026-01-02")));
        assert!(meets("rating", "lt", json!("a")), "one side is text");
    }

    #[test]
    fn what_is_missing_matches_only_where_that_is_asked_for() {
        for (operator, matches) in [
            ("equals", false),
            ("contains", false),
            ("gt", false),
            ("lt", false),
            ("gte", false),
            ("lte", false),
            ("not_equals", true),
            ("not_contains", true),
        ] {
            assert_eq!(meets("metadata.none", operator, json!("x")), matches, "{operator}");
        }
        assert!(!meets("none", "exists", Value::Null));
        assert!(meets("none", "exists", json!(false)));
        assert!(meets("rating", "exists", Value::Null));
    }

    #[test]
    fn a_number_equals_its_text_but_texts_are_equal_only_letter_by_letter() {
        assert!(meets("rating", "equals", json!(10.0)));
        assert!(!meets("rating", "equals", json!("10.0")));
        assert!(meets("size", "equals", json!("100")));
        assert!(meets("Project", "not_contains", json!("moon")), "tags are not metadata");
    }

    #[test]
    fn values_of_the_wrong_type_are_refused_in_their_place() {
        let filters: FileFilters = serde_json::from_value(json!({
            "metadata_filters": [
                {"field": "a", "operator": "gt", "value": true},
                {"field": "", "value": "x"},
                {"field": "b", "operator": "exists", "value": "yes"},
                {"field": "c", "value": {"an": "object"}},
            ],
            "extensions": ["."], "mime_types": ["image"], "include_patterns": ["ok", "[a"],
            "min_size_bytes": 2, "max_size_bytes": 1,
        }))
        .unwrap();
        let problems = Filter::compile(&filters).unwrap_err().0;
        let places: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            places,
            [
                "min_size_bytes",
                "include_patterns.1",
                "extensions.0",
                "mime_types.0",
                "metadata_filters.0.value",
                "metadata_filters.1.field",
                "metadata_filters.2.value",
                "metadata_filters.3.value",
            ]
        );
    }
}
