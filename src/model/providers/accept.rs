//! Checks a `provider_config` against its provider's table, and parts settings from secrets.
//!
//! Nothing that may be a secret is ever told: of credentials, of unknown keys and of addresses only
//! the place and what is accepted there.

use serde_json::{Map, Value};

use super::{
    Kind, Presence, Spec,
    field::{Field, Need},
    rules, shown, spec,
};
use crate::model::{Connection, Credentials, Provider};

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

impl Wrong {
    pub(super) fn missing(field: String, accepted: String) -> Self {
        let message = format!("{field} is required");
        Self { field, value: None, kind: "missing", message, accepted }
    }

    pub(super) fn invalid(
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
        let message = format!("{field} is not a known key");
        Self { field, value: None, kind: "extra_forbidden", message, accepted: known.join(", ") }
    }
}

/// Takes the `provider_config` of a new connection.
///
/// # Errors
/// Every field that is wrong.
pub fn accept(provider: Provider, config: &Value) -> Result<Accepted, Vec<Wrong>> {
    let spec = spec(provider).ok_or_else(|| vec![no_such_provider(provider)])?;
    let config = config.as_object().ok_or_else(|| vec![not_an_object(ROOT)])?;
    Check::of(spec).config(config, None)
}

/// Takes a change to the `provider_config` of a connection: keys that are sent replace those before,
/// null clears, and credentials stay unless others are sent.
///
/// # Errors
/// Every field that is wrong.
pub fn amend(connection: &Connection, change: &Value) -> Result<Accepted, Vec<Wrong>> {
    let provider = connection.provider();
    let spec = spec(provider).ok_or_else(|| vec![no_such_provider(provider)])?;
    let change = change.as_object().ok_or_else(|| vec![not_an_object(ROOT)])?;
    let mut config = shown(connection);
    let kept = config.remove("credentials").unwrap_or_default();
    let kept = kept.get("type").and_then(Value::as_str);
    config.extend(change.clone());
    let kept = if change.contains_key("credentials") { None } else { kept };
    Check::of(spec).config(&config, kept)
}

fn no_such_provider(provider: Provider) -> Wrong {
    let all: Vec<&str> = super::all().map(Provider::as_str).collect();
    Wrong {
        field: "provider_type".into(),
        value: Some(provider.as_str().into()),
        kind: "invalid",
        message: "this connection exists already and cannot be made or set up".into(),
        accepted: all.join(", "),
    }
}

fn not_an_object(field: &str) -> Wrong {
    Wrong {
        field: field.to_owned(),
        value: None,
        kind: "invalid",
        message: format!("{field} is not an object"),
        accepted: "an object".into(),
    }
}

/// One configuration being looked through; goes on after a wrong field, to find them all.
struct Check {
    spec: &'static Spec,
    wrong: Vec<Wrong>,
}

impl Check {
    const fn of(spec: &'static Spec) -> Self {
        Self { spec, wrong: Vec::new() }
    }

    /// `kept`: the kind of the credentials that stay.
    fn config(
        mut self,
        config: &Map<String, Value>,
        kept: Option<&str>,
    ) -> Result<Accepted, Vec<Wrong>> {
        let spec = self.spec;
        self.tag(config.get("provider_type"));
        let settings =
            self.fields(ROOT, spec.settings, &["provider_type", "credentials"], config, false);
        let given = config.get("credentials").filter(|given| !given.is_null());
        let credentials = match (given, kept) {
            (Some(given), _) => self.credentials(given),
            (None, Some(kept)) => {
                spec.kinds.iter().find(|kind| kind.tag == kept).map(|kind| (kind, None))
            }
            (None, None) => {
                if spec.presence == Presence::Required {
                    let accepted = format!("an object whose type is {}", spec.tags());
                    self.wrong.push(Wrong::missing(format!("{ROOT}.credentials"), accepted));
                }
                None
            }
        };
        let kind = credentials.as_ref().map(|(kind, _)| kind.tag);
        let secret = credentials.as_ref().and_then(|(_, fields)| fields.as_ref());
        self.wrong.extend(rules::check(spec.provider, &settings, kind, secret));
        if !self.wrong.is_empty() {
            return Err(self.wrong);
        }
        let connection = rules::connection(spec.provider, settings, kind);
        let sealed = credentials.and_then(|(kind, fields)| Some((kind, fields?)));
        let credentials =
            sealed.filter(|(kind, _)| !kind.fields.is_empty()).map(|(kind, mut all)| {
                all.insert("type".into(), kind.tag.into());
                Credentials::from_json(Value::Object(all).to_string())
            });
        Ok(Accepted { connection, credentials })
    }

    fn tag(&mut self, tag: Option<&Value>) {
        let ours = self.spec.provider.as_str();
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
            Some(tag) => self.spec.kinds.iter().find(|kind| *tag == kind.tag),
            None => self.spec.kind_of(given),
        };
        let Some(kind) = kind else {
            let message = "the kind of credentials is not clear or not known to this provider";
            self.wrong.push(Wrong::invalid("credentials.type", None, message, &self.spec.tags()));
            return None;
        };
        let before = self.wrong.len();
        let mut fields = self.fields(&place, kind.fields, &["type"], given, true);
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
                        message: format!("{path} is not {}", field.shape.accepted()),
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

impl Spec {
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
        let knows = |name: &str| name == "type" || self.fields.iter().any(|f| f.name == name);
        self.fields.iter().all(|f| !matches!(f.need, Need::Required) || has(f.name))
            && given.keys().all(|name| knows(name))
    }
}
