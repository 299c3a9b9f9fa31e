//! Checks a `provider_config` against its provider's schema, and separates settings from secrets.
//!
//! Nothing that may be a secret is repeated in an error: of credentials, unknown keys and addresses
//! it names only the field and what is accepted there.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{
    Kind, Presence, Provider, Schema,
    field::{Field, Need},
};
use crate::model::{Connection, Credentials};

/// What a `provider_config` comes to.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// How the provider is reached, without secrets.
    pub connection: Connection,
    /// What to seal; `None` where the credentials are none, this machine's, or those before.
    pub credentials: Option<Credentials>,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// Where, as in `provider_config.credentials.type`.
    pub field: String,
    /// What is there; `None` where that may be a secret, or nothing is there.
    pub value: Option<Value>,
    /// `missing`, `extra_forbidden` or `invalid`.
    pub kind: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What is accepted in its place.
    pub accepted: String,
}

/// The place of everything here in a request.
const ROOT: &str = "provider_config";

/// For people, from within `provider_config`.
impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.trim_start_matches("provider_config.");
        write!(f, "{field}: {} (accepted: {})", self.message, self.accepted)
    }
}

impl Wrong {
    /// A field that must be there and is not.
    pub(in crate::sources) fn missing(field: String, accepted: String) -> Self {
        Self { field, value: None, kind: "missing", message: "is required".into(), accepted }
    }

    /// A field with a value that it cannot have; `field` is its path within `provider_config`.
    pub(in crate::sources) fn invalid(
        field: &str,
        value: Option<Value>,
        message: &str,
        accepted: &str,
    ) -> Self {
        Self {
            field: format!("{ROOT}.{field}"),
            value,
            kind: "invalid",
            message: message.to_owned(),
            accepted: accepted.to_owned(),
        }
    }

    fn extra(field: String, known: &[&str]) -> Self {
        Self {
            field,
            value: None,
            kind: "extra_forbidden",
            message: "is not a known key".into(),
            accepted: known.join(", "),
        }
    }
}

/// Checked settings and credentials, for the rules between them.
#[derive(Debug)]
pub struct Given<'a> {
    /// The settings, defaults filled in.
    pub settings: &'a Map<String, Value>,
    /// The kind of the credentials, those that stay included.
    pub kind: Option<&'a str>,
    /// The credentials, where new ones are given.
    pub secret: Option<&'a Map<String, Value>>,
}

impl Given<'_> {
    /// The text of a setting, if it has any.
    #[must_use]
    pub fn text(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).and_then(Value::as_str)
    }

    /// Whether a setting has a value.
    #[must_use]
    pub fn has(&self, setting: &str) -> bool {
        self.settings.get(setting).is_some_and(|value| !value.is_null())
    }
}

/// See [`crate::sources::accept`].
pub(in crate::sources) fn accept(
    provider: &'static dyn Provider,
    config: &Value,
) -> Result<Accepted, Vec<Wrong>> {
    let config = config.as_object().ok_or_else(|| vec![not_an_object(ROOT)])?;
    check(provider, config, None)
}

/// See [`crate::sources::amend`].
pub(in crate::sources) fn amend(
    provider: &'static dyn Provider,
    connection: &Connection,
    change: &Value,
) -> Result<Accepted, Vec<Wrong>> {
    let change = change.as_object().ok_or_else(|| vec![not_an_object(ROOT)])?;
    let mut config = public_settings(provider, connection);
    let kept = config.remove("credentials").unwrap_or_default();
    let kept = kept.get("type").and_then(Value::as_str);
    config.extend(change.clone());
    let kept = if change.contains_key("credentials") { None } else { kept };
    check(provider, &config, kept)
}

/// The settings of a connection that its schema knows, and the type of its credentials.
pub(in crate::sources) fn public_settings(
    provider: &dyn Provider,
    connection: &Connection,
) -> Map<String, Value> {
    let (settings, kind) = provider.settings(connection);
    let known = provider.schema().map_or(&[][..], |schema| schema.settings);
    let mut public: Map<String, Value> = settings
        .into_iter()
        .filter(|(name, _)| known.iter().any(|field| field.name == name))
        .collect();
    let credentials = kind.map_or(Value::Null, |kind| json!({ "type": kind }));
    public.insert("credentials".into(), credentials);
    public
}

fn not_an_object(field: &str) -> Wrong {
    Wrong {
        field: field.to_owned(),
        value: None,
        kind: "invalid",
        message: "is not an object".into(),
        accepted: "an object".into(),
    }
}

/// Checks a whole configuration; `kept` is the kind of the credentials that stay.
fn check(
    provider: &'static dyn Provider,
    config: &Map<String, Value>,
    kept: Option<&str>,
) -> Result<Accepted, Vec<Wrong>> {
    let schema = provider.schema().ok_or_else(Vec::new)?;
    Check { provider, schema, wrong: Vec::new() }.config(config, kept)
}

/// A configuration that is being checked; continues after a wrong field, to find them all.
struct Check {
    provider: &'static dyn Provider,
    schema: &'static Schema,
    wrong: Vec<Wrong>,
}

impl Check {
    fn config(
        mut self,
        config: &Map<String, Value>,
        kept: Option<&str>,
    ) -> Result<Accepted, Vec<Wrong>> {
        let (provider, schema) = (self.provider, self.schema);
        self.tag(config.get("provider_type"));
        let besides = &["provider_type", "credentials"];
        let settings = self.fields(ROOT, schema.settings, besides, config, false);
        let given = config.get("credentials").filter(|given| !given.is_null());
        let mut credentials = match (given, kept) {
            (Some(given), _) => self.credentials(given),
            (None, Some(kept)) => {
                schema.kinds.iter().find(|kind| kind.tag == kept).map(|kind| (kind, None))
            }
            (None, None) => {
                if schema.presence == Presence::Required {
                    let accepted = format!("an object whose type is {}", schema.tags());
                    self.wrong.push(Wrong::missing(format!("{ROOT}.credentials"), accepted));
                }
                None
            }
        };
        if let Some((kind, Some(fields))) = &mut credentials {
            self.wrong.extend(provider.complete(kind.tag, fields).err());
        }
        let given = Given {
            settings: &settings,
            kind: credentials.as_ref().map(|(kind, _)| kind.tag),
            secret: credentials.as_ref().and_then(|(_, fields)| fields.as_ref()),
        };
        self.wrong.extend(provider.check(&given));
        if !self.wrong.is_empty() {
            return Err(self.wrong);
        }
        let connection = provider.connection(&given);
        let sealed = credentials.and_then(|(kind, fields)| Some((kind, fields?)));
        let credentials =
            sealed.filter(|(kind, _)| !kind.fields.is_empty()).map(|(kind, mut all)| {
                all.insert("type".into(), kind.tag.into());
                Credentials::from_json(Value::Object(all).to_string())
            });
        Ok(Accepted { connection, credentials })
    }

    fn tag(&mut self, tag: Option<&Value>) {
        let ours = self.provider.name();
        if let Some(tag) = tag.filter(|tag| !tag.is_null() && *tag != ours) {
            let message = "another provider than the connection's provider_type";
            self.wrong.push(Wrong::invalid("provider_type", Some(tag.clone()), message, ours));
        }
    }

    /// The kind and the fields of credentials, unless something is wrong with them.
    fn credentials(
        &mut self,
        given: &Value,
    ) -> Option<(&'static Kind, Option<Map<String, Value>>)> {
        let place = format!("{ROOT}.credentials");
        let Some(given) = given.as_object() else {
            self.wrong.push(not_an_object(&place));
            return None;
        };
        let kind = match given.get("type").filter(|tag| !tag.is_null()) {
            Some(tag) => self.schema.kinds.iter().find(|kind| *tag == kind.tag),
            None => self.schema.kind_of(given),
        };
        let Some(kind) = kind else {
            let message = "the kind of credentials is not clear or not known to this provider";
            self.wrong.push(Wrong::invalid("credentials.type", None, message, &self.schema.tags()));
            return None;
        };
        let before = self.wrong.len();
        let mut given = given.clone();
        given.retain(|name, _| !kind.dropped.contains(&name.as_str()));
        let mut fields = self.fields(&place, kind.fields, &["type"], &given, true);
        fields.retain(|_, value| !value.is_null());
        (self.wrong.len() == before).then_some((kind, Some(fields)))
    }

    /// The values of `fields`, defaults filled in.
    fn fields(
        &mut self,
        place: &str,
        fields: &[Field],
        besides: &[&str],
        given: &Map<String, Value>,
        secret: bool,
    ) -> Map<String, Value> {
        let mut taken = Map::new();
        for field in fields {
            let path = format!("{place}.{}", field.name);
            let value = match given.get(field.name).filter(|value| !value.is_null()) {
                Some(value) if field.shape.admits(value) => value.clone(),
                Some(value) => {
                    let told = !secret && !field.shape.may_hide_a_secret();
                    self.wrong.push(Wrong {
                        message: format!("is not {}", field.shape.accepted()),
                        field: path,
                        value: told.then(|| value.clone()),
                        kind: "invalid",
                        accepted: field.shape.accepted(),
                    });
                    continue;
                }
                None if matches!(field.need, Need::Required) => {
                    self.wrong.push(Wrong::missing(path, field.shape.accepted()));
                    continue;
                }
                None => field.default_value(),
            };
            taken.insert(field.name.to_owned(), value);
        }
        let known: Vec<&str> =
            besides.iter().copied().chain(fields.iter().map(|field| field.name)).collect();
        for name in given.keys().filter(|name| !known.contains(&name.as_str())) {
            // A key may be a secret that slipped into the wrong place.
            let name: String = name.chars().take(64).collect();
            self.wrong.push(Wrong::extra(format!("{place}.{name}"), &known));
        }
        taken
    }
}

impl Schema {
    fn tags(&self) -> String {
        self.kinds.iter().map(|kind| kind.tag).collect::<Vec<_>>().join(", ")
    }

    /// The kind of credentials that do not say it: the only one, or the only one that they fit.
    fn kind_of(&self, given: &Map<String, Value>) -> Option<&'static Kind> {
        if let [only] = self.kinds {
            return Some(only);
        }
        let mut fitting = self.kinds.iter().filter(|kind| !given.is_empty() && kind.fits(given));
        fitting.next().filter(|_| fitting.next().is_none())
    }
}

impl Kind {
    fn fits(&self, given: &Map<String, Value>) -> bool {
        let has = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
        let knows = |name: &str| {
            name == "type"
                || self.fields.iter().any(|field| field.name == name)
                || self.dropped.contains(&name)
        };
        self.fields.iter().all(|f| !matches!(f.need, Need::Required) || has(f.name))
            && given.keys().all(|name| knows(name))
    }
}
