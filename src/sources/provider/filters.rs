//! `provider_filters`: the filters that a provider itself applies. Which ones there are, and what
//! their values mean, is in the provider's folder.

use serde_json::{Map, Value};

use super::Reader;
use crate::model::{ProviderName, Shard};

/// A provider's own filters, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFilters {
    /// What is listed, in the order of the paths.
    pub shards: Vec<Shard>,
}

/// Filters that a provider does not have, or values that a filter cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFilterError {
    /// No such filter.
    #[error("provider_filters.{key}: {provider} has no such filter; it has {}", listed(accepted))]
    Unknown {
        /// What was asked for.
        key: String,
        /// The provider.
        provider: ProviderName,
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

fn listed(accepted: &[&str]) -> String {
    if accepted.is_empty() { "none".to_owned() } else { accepted.join(", ") }
}

impl Default for ProviderFilters {
    fn default() -> Self {
        Self { shards: vec![Shard::whole()] }
    }
}

impl ProviderFilters {
    /// See [`crate::sources::provider_filters`].
    pub(in crate::sources) fn read(
        provider: &ProviderName,
        reader: Option<&dyn Reader>,
        filters: &Map<String, Value>,
    ) -> Result<Self, Vec<ProviderFilterError>> {
        let accepted = reader.map_or(&[][..], |reader| reader.keys());
        let mut known = filters.clone();
        known.retain(|key, _| accepted.contains(&key.as_str()));
        let unknown = filters.keys().filter(|key| !known.contains_key(*key));
        let mut wrong: Vec<_> = unknown
            .map(|key| match reader.and_then(|reader| reader.refused(key)) {
                Some(reason) => Self::refused(key, filters, reason),
                None => ProviderFilterError::Unknown {
                    key: key.clone(),
                    provider: provider.clone(),
                    accepted,
                },
            })
            .collect();
        let shards = match reader {
            Some(reader) => reader.shards(&known).unwrap_or_else(|problems| {
                wrong.extend(problems);
                Vec::new()
            }),
            None => vec![Shard::whole()],
        };
        if wrong.is_empty() { Ok(Self { shards }) } else { Err(wrong) }
    }

    fn refused(
        key: &str,
        filters: &Map<String, Value>,
        reason: &'static str,
    ) -> ProviderFilterError {
        let value = filters.get(key).unwrap_or(&Value::Null);
        ProviderFilterError::wrong_value(key, value, reason, "null")
    }
}

impl ProviderFilterError {
    /// A value that a filter cannot have; `field` is its place within `provider_filters`.
    pub(in crate::sources) fn wrong_value(
        field: &str,
        value: &Value,
        problem: impl Into<String>,
        accepted: &'static str,
    ) -> Self {
        Self::WrongValue {
            field: format!("provider_filters.{field}"),
            value: value.clone(),
            problem: problem.into(),
            accepted,
        }
    }
}
