//! Filters that a provider itself applies, by provider: what is accepted, checked in one place.

use serde_json::{Map, Value};

use super::Provider;

/// A provider's own filters, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderFilters {
    /// S3 and Tigris: only keys that begin with this behind the source path are listed.
    pub prefix: String,
}

/// Filters that a provider does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFilterError {
    /// No such filter.
    #[error("provider_filters.{key}: {provider} has no such filter; it has {accepted}")]
    Unknown {
        /// What was asked for.
        key: String,
        /// The provider.
        provider: &'static str,
        /// What there is.
        accepted: String,
    },
    /// Not a value for it.
    #[error("provider_filters.{key}: {value} is not {expected}")]
    WrongValue {
        /// The filter.
        key: &'static str,
        /// What was given, as JSON.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
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
    /// When one of them is none that the provider has, or has a value that it cannot have.
    pub fn read(
        provider: Provider,
        filters: &Map<String, Value>,
    ) -> Result<Self, ProviderFilterError> {
        let accepted = Self::accepted(provider);
        if let Some(key) = filters.keys().find(|key| !accepted.contains(&key.as_str())) {
            return Err(ProviderFilterError::Unknown {
                key: key.clone(),
                provider: provider.as_str(),
                accepted: if accepted.is_empty() { "none".to_owned() } else { accepted.join(", ") },
            });
        }
        let prefix = match filters.get("prefix") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(prefix)) => prefix.clone(),
            Some(other) => {
                return Err(ProviderFilterError::WrongValue {
                    key: "prefix",
                    value: other.to_string(),
                    expected: "a text",
                });
            }
        };
        Ok(Self { prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(provider: Provider, json: &Value) -> Result<ProviderFilters, String> {
        let filters = json.as_object().cloned().unwrap_or_default();
        ProviderFilters::read(provider, &filters).map_err(|error| error.to_string())
    }

    #[test]
    fn a_filter_that_a_provider_does_not_have_is_refused_with_those_that_it_has() {
        let prefix = serde_json::json!({"prefix": "2026/"});
        assert_eq!(read(Provider::S3, &prefix).unwrap().prefix, "2026/");
        let error = read(Provider::S3, &serde_json::json!({"perfix": "2026/"})).unwrap_err();
        assert_eq!(error, "provider_filters.perfix: s3 has no such filter; it has prefix");
        assert!(read(Provider::Local, &prefix).unwrap_err().contains("none"));
        assert!(
            read(Provider::S3, &serde_json::json!({"prefix": 5})).unwrap_err().contains("text")
        );
    }
}
