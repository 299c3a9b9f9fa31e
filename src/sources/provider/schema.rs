//! The settings and credentials of a provider in the contract's words, as a table.

use serde_json::{Map, Value, json};

use super::field::{Field, Need};

/// The settings and credentials that connections to a provider take.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Name of its model in the contract.
    pub model: &'static str,
    /// Its settings.
    pub settings: &'static [Field],
    /// Whether there must be credentials.
    pub presence: Presence,
    /// The kinds of credentials.
    pub kinds: &'static [Kind],
}

/// Whether there must be credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A connection without them is refused.
    Required,
    /// A connection may have none.
    Optional,
}

/// One kind of credentials.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its `type`.
    pub tag: &'static str,
    /// Name of its model in the contract.
    pub model: &'static str,
    /// What it consists of.
    pub fields: &'static [Field],
    /// Fields that are taken and dropped: they come along when a provider's own file is given.
    pub dropped: &'static [&'static str],
}

impl Schema {
    /// As JSON Schema; `provider` is the provider's name.
    pub(in crate::sources) fn json_schema(&self, provider: &str) -> Value {
        let kinds = self
            .kinds
            .iter()
            .map(|kind| json!({ "$ref": format!("#/components/schemas/{}", kind.model) }));
        let mut one_of: Vec<Value> = kinds.collect();
        if self.presence == Presence::Optional {
            one_of.push(json!({ "type": "null" }));
        }
        let tag = json!({ "type": ["string", "null"], "enum": [provider, null] });
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
    /// As JSON Schema.
    pub(in crate::sources) fn json_schema(&self) -> Value {
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
