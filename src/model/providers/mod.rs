//! What a connection to each provider consists of: the settings and credentials of the contract,
//! as tables, one file a family; and [`accept`], which checks a `provider_config` against them and
//! parts the settings from the secrets.
//!
//! Every provider of the contract is accepted, whether this build can read it or not. What does not
//! live here: how a provider is reached, and sealing.

mod accept;
mod documents;
mod feeds;
mod field;
mod media;
mod rules;
mod storage;
mod tables;

use serde_json::{Map, Value, json};

use super::{Connection, Provider};
pub use accept::{Accepted, Wrong, accept, amend};
use field::{Field, Need};

/// What the contract says of one provider.
#[derive(Clone, Copy, Debug)]
struct Spec {
    provider: Provider,
    /// Name of its model in the contract.
    model: &'static str,
    settings: &'static [Field],
    presence: Presence,
    kinds: &'static [Kind],
}

/// Whether there must be credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// One kind of credentials.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Its `type`.
    tag: &'static str,
    /// Name of its model in the contract.
    model: &'static str,
    fields: &'static [Field],
}

/// The providers that connections can be made to, in the contract's order.
const SPECS: [Spec; 20] = [
    documents::GOOGLE_DRIVE,
    storage::S3,
    tables::SNOWFLAKE,
    documents::SHAREPOINT,
    storage::TIGRIS,
    tables::POSTGRESQL,
    media::INSTAGRAM,
    media::TIKTOK,
    feeds::RSS,
    feeds::HTTP_API,
    documents::BOX,
    feeds::BRIGHTDATA,
    storage::BACKBLAZE,
    media::MUX,
    feeds::EMAIL,
    storage::SUPABASE,
    media::ICONIK,
    storage::GCS,
    storage::AZURE_BLOB,
    media::RTSP,
];

/// The providers that connections can be made to.
pub fn all() -> impl Iterator<Item = Provider> {
    SPECS.iter().map(|spec| spec.provider)
}

/// The JSON Schemas of all configurations and credentials, by the contract's names of their models.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for spec in &SPECS {
        all.push((spec.model, spec.schema()));
        for kind in spec.kinds {
            if all.iter().all(|(name, _)| *name != kind.model) {
                all.push((kind.model, kind.schema()));
            }
        }
    }
    all
}

/// The `provider_config` that a reader of the connection sees: of its credentials only their type.
#[must_use]
pub fn shown(connection: &Connection) -> Map<String, Value> {
    let (settings, credentials) = match connection {
        Connection::Local => (Map::new(), None),
        Connection::S3(s3) | Connection::Tigris(s3) => {
            (rules::s3_shown(s3), Some(s3.keys.as_str()))
        }
        Connection::Other(other) => (other.config.clone(), other.credentials.as_deref()),
    };
    let mut shown = Map::new();
    shown.insert("provider_type".into(), connection.provider().as_str().into());
    let credentials = credentials.map_or(Value::Null, |kind| json!({ "type": kind }));
    shown.insert("credentials".into(), credentials);
    let known = spec(connection.provider()).map_or(&[][..], |spec| spec.settings);
    shown.extend(settings.into_iter().filter(|(name, _)| known.iter().any(|f| f.name == name)));
    shown
}

fn spec(provider: Provider) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.provider == provider)
}

impl Spec {
    fn schema(&self) -> Value {
        let kinds = self
            .kinds
            .iter()
            .map(|kind| json!({ "$ref": format!("#/components/schemas/{}", kind.model) }));
        let mut one_of: Vec<Value> = kinds.collect();
        if self.presence == Presence::Optional {
            one_of.push(json!({ "type": "null" }));
        }
        let tag = json!({ "type": ["string", "null"], "enum": [self.provider.as_str(), null] });
        let mut schema = object(self.settings);
        let properties = &mut schema["properties"];
        properties["provider_type"] = tag;
        properties["credentials"] = json!({ "oneOf": one_of });
        if self.presence == Presence::Required
            && let Some(required) = schema["required"].as_array_mut()
        {
            required.push("credentials".into());
        }
        schema
    }
}

impl Kind {
    fn schema(&self) -> Value {
        let mut schema = object(self.fields);
        schema["properties"]["type"] =
            json!({ "type": ["string", "null"], "enum": [self.tag, null], "default": self.tag });
        schema
    }
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| matches!(field.need, Need::Required))
        .map(|field| field.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests;
