//! Filters that a provider itself applies, by provider: what is accepted, checked in one place.

use serde_json::{Map, Value};

use super::{Provider, Shard};

/// A provider's own filters, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFilters {
    /// What is listed, in the order of the paths. S3 and Tigris: only keys that begin with the
    /// `prefix` behind the source path; where that is a list, each of its prefixes is a shard.
    pub shards: Vec<Shard>,
}

/// Filters that a provider does not have, or values that a filter cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFilterError {
    /// No such filter.
    #[error("provider_filters.{key}: {provider} has no such filter; it has {}", told(accepted))]
    Unknown {
        /// What was asked for.
        key: String,
        /// The provider.
        provider: &'static str,
        /// What there is.
        accepted: &'static [&'static str],
    },
    /// Not a value for it.
    #[error("{field}: {value} {problem}; it takes {accepted}")]
    WrongValue {
        /// The filter, and the place in it.
        field: String,
        /// What was given there.
        value: Value,
        /// What is wrong with it.
        problem: String,
        /// What there may be.
        accepted: &'static str,
    },
}

fn told(accepted: &[&str]) -> String {
    if accepted.is_empty() { "none".to_owned() } else { accepted.join(", ") }
}

impl Default for ProviderFilters {
    fn default() -> Self {
        Self { shards: vec![Shard::whole()] }
    }
}

impl ProviderFilters {
    /// The filters that a provider has.
    #[must_use]
    pub const fn accepted(provider: Provider) -> &'static [&'static str] {
        match provider {
            Provider::S3 | Provider::Tigris => &["prefix"],
            _ => &[],
        }
    }

    /// Reads the filters of a sync with a source at `provider`.
    ///
    /// # Errors
    /// Everything that the provider does not have, and every value that cannot be.
    pub fn read(
        provider: Provider,
        filters: &Map<String, Value>,
    ) -> Result<Self, Vec<ProviderFilterError>> {
        let accepted = Self::accepted(provider);
        let unknown = filters.keys().filter(|key| !accepted.contains(&key.as_str()));
        let mut wrong: Vec<_> = unknown
            .map(|key| ProviderFilterError::Unknown {
                key: key.clone(),
                provider: provider.as_str(),
                accepted,
            })
            .collect();
        let prefix = filters.get("prefix").filter(|_| accepted.contains(&"prefix"));
        let shards = shards(prefix).unwrap_or_else(|problems| {
            wrong.extend(problems);
            Vec::new()
        });
        if wrong.is_empty() { Ok(Self { shards }) } else { Err(wrong) }
    }

    /// The filters without those that only say which shards there are.
    #[must_use]
    pub fn but_for_shards(filters: &Map<String, Value>) -> Map<String, Value> {
        let mut others = filters.clone();
        others.retain(|key, value| key != "prefix" || !value.is_array());
        others
    }
}

/// What a prefix may be.
const PREFIX: &str = "text that keys below source_path begin with, or a list of such texts";

/// The shards that `prefix` says.
fn shards(prefix: Option<&Value>) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
    match prefix {
        None | Some(Value::Null) => Ok(vec![Shard::whole()]),
        Some(Value::String(prefix)) => Ok(vec![Shard::only(prefix)]),
        Some(Value::Array(prefixes)) if !prefixes.is_empty() => each_its_own(prefixes),
        Some(Value::Array(_)) => Err(vec![wrong(
            None,
            &Value::Array(Vec::new()),
            "names nothing, so nothing would be listed: leave the filter out to list everything",
        )]),
        Some(other) => Err(vec![wrong(None, other, "is neither text nor a list of texts")]),
    }
}

/// A shard for each prefix. Two of which one begins with the other would list some keys twice.
fn each_its_own(prefixes: &[Value]) -> Result<Vec<Shard>, Vec<ProviderFilterError>> {
    let mut problems = Vec::new();
    let mut texts: Vec<&str> = Vec::with_capacity(prefixes.len());
    for (position, value) in prefixes.iter().enumerate() {
        let problem = match value.as_str() {
            None => Some("is not text".to_owned()),
            Some("") => Some("lists everything: leave the filter out for that".to_owned()),
            Some(Shard::WHOLE) => Some("is what a source without shards calls its own".to_owned()),
            Some(text) => {
                let other = texts.iter().find(|o| o.starts_with(text) || text.starts_with(**o));
                other.map(|other| format!("overlaps with {other:?}: leave the longer one out"))
            }
        };
        match (problem, value.as_str()) {
            (None, Some(text)) => texts.push(text),
            (problem, _) => {
                problems.push(wrong(Some(position), value, problem.unwrap_or_default()));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    texts.sort_unstable();
    Ok(texts.into_iter().map(Shard::beneath).collect())
}

fn wrong(
    position: Option<usize>,
    value: &Value,
    problem: impl Into<String>,
) -> ProviderFilterError {
    let place = position.map(|position| format!("[{position}]")).unwrap_or_default();
    ProviderFilterError::WrongValue {
        field: format!("provider_filters.prefix{place}"),
        value: value.clone(),
        problem: problem.into(),
        accepted: PREFIX,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(provider: Provider, json: &Value) -> Result<ProviderFilters, String> {
        let filters = json.as_object().cloned().unwrap_or_default();
        ProviderFilters::read(provider, &filters)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_filter_that_a_provider_does_not_have_is_refused_with_those_that_it_has() {
        let prefix = json!({"prefix": "2026/"});
        assert_eq!(read(Provider::S3, &prefix).unwrap().shards, [Shard::only("2026/")]);
        let error = read(Provider::S3, &json!({"perfix": "2026/"})).unwrap_err();
        assert_eq!(error, "provider_filters.perfix: s3 has no such filter; it has prefix");
        assert!(read(Provider::Local, &prefix).unwrap_err().contains("none"));
        assert!(read(Provider::S3, &json!({"prefix": 5})).unwrap_err().contains("neither text"));
    }

    #[test]
    fn a_list_of_prefixes_is_a_shard_each_in_the_order_of_the_paths() {
        let shards = read(Provider::Tigris, &json!({"prefix": ["b/", "a", "b."]})).unwrap().shards;
        assert_eq!(shards, ["a", "b.", "b/"].map(Shard::beneath));
    }

    #[test]
    fn prefixes_that_would_list_a_key_twice_are_refused_by_their_place() {
        for (prefixes, place, reason) in [
            (json!(["a/", "b", "a/x"]), "prefix[2]: \"a/x\"", "overlaps with \"a/\""),
            (json!(["a/x", "a/"]), "prefix[1]: \"a/\"", "overlaps with \"a/x\""),
            (json!(["a", "a"]), "prefix[1]: \"a\"", "overlaps"),
            (json!(["a", ""]), "prefix[1]: \"\"", "everything"),
            (json!(["__default__"]), "prefix[0]", "without shards"),
            (json!([7]), "prefix[0]: 7", "not text"),
            (json!([]), "prefix: []", "nothing would be listed"),
        ] {
            let error = read(Provider::S3, &json!({ "prefix": prefixes })).unwrap_err();
            assert!(error.contains(place) && error.contains(reason), "{prefixes}: {error}");
        }
    }

    #[test]
    fn only_a_list_of_prefixes_may_change_without_changing_what_a_shard_is() {
        let others = |json: Value| ProviderFilters::but_for_shards(json.as_object().unwrap());
        assert_eq!(others(json!({"prefix": ["a"]})), others(json!({"prefix": ["a", "b"]})));
        assert_ne!(others(json!({"prefix": "a"})), others(json!({"prefix": "b"})));
    }
}
