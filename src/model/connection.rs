//! How a provider is reached: its name and its settings, which only its folder in `sources` reads.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};

/// The name of a provider: a kind of storage that connections lead to. Spelled as in the API and
/// the database; what is known of the provider is in its folder in `sources`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderName(Cow<'static, str>);

impl ProviderName {
    /// A name that a provider's folder gives.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Wire and database spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How to reach a provider. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// The provider at the other end.
    pub provider: ProviderName,
    /// Its settings, in the form that the provider's folder stores.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

/// The setting of a provider that other services are compatible with: which of them is meant.
const ENDPOINT: &str = "endpoint_url";

/// The key beside the settings that says who is signed in: none that a provider has a setting of.
const ACCOUNT: &str = "signed_in_as";

/// The key beside the settings that names the provider.
const PROVIDER: &str = "provider";

impl Connection {
    /// The text of a setting, if it is there and text.
    #[must_use]
    pub fn text(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).and_then(Value::as_str)
    }

    /// Who is signed in, by the provider's own id for them, as far as that is known.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.text(ACCOUNT)
    }

    /// It has turned out who is signed in.
    pub fn set_account(&mut self, account: String) {
        self.settings.insert(ACCOUNT.to_owned(), account.into());
    }

    /// What distinguishes two connections: the same provider at the same endpoint is the same
    /// connection, whichever profile or role reads it today.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.text(ENDPOINT) {
            Some(endpoint) => format!("{}+{}", self.provider, endpoint.trim_end_matches('/')),
            None => self.provider.to_string(),
        }
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut settings = Map::deserialize(from)?;
        let mut named = settings.remove(PROVIDER);
        // Providers without a source were once stored as "other", with their name beside it.
        if named.as_ref().is_some_and(|name| name == "other") {
            named = settings.remove("type");
        }
        match named {
            Some(Value::String(name)) => {
                Ok(Self { provider: ProviderName(Cow::Owned(name)), settings })
            }
            _ => Err(D::Error::missing_field(PROVIDER)),
        }
    }
}

/// A place in a provider, with the connection that reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// How to reach the provider.
    pub connection: Connection,
    /// The contract's `source_path`, as bytes: an absolute folder, `bucket[/prefix]`, a folder's
    /// id, as the provider has it.
    pub source_path: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(json: Value) -> Connection {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_connection_that_was_stored_before_its_provider_had_a_source_still_opens() {
        let before = stored(json!({
            "provider": "other", "type": "box", "config": { "folder_id": "0" },
            "credentials": "oauth",
        }));
        assert_eq!(before.provider.as_str(), "box");
        let now = serde_json::to_value(&before).unwrap();
        assert_eq!(
            now,
            json!({
                "provider": "box", "config": { "folder_id": "0" }, "credentials": "oauth",
            })
        );
        assert_eq!(stored(now), before);
    }

    #[test]
    fn the_endpoint_distinguishes_two_connections_to_compatible_services() {
        let at = |endpoint: Value| stored(json!({ "provider": "x", "endpoint_url": endpoint }));
        assert_eq!(at(Value::Null).identity(), "x");
        assert_eq!(at("http://h:9000/".into()).identity(), "x+http://h:9000");
    }

    #[test]
    fn a_connection_without_a_provider_is_refused() {
        assert!(serde_json::from_value::<Connection>(json!({ "region": "x" })).is_err());
    }
}
