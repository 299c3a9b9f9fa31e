//! The vocabulary of the tables: what a field may hold, and what is said of one that holds
//! something else.

use serde_json::{Map, Value, json};

/// A field of a configuration or of credentials.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) need: Need,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    Required,
    Optional,
    Default(Literal),
}

/// A default that a table can hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::sources) enum Literal {
    Text(&'static str),
    Integer(i64),
    Bool(bool),
}

impl Literal {
    fn to_value(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Integer(number) => number.into(),
            Self::Bool(value) => value.into(),
        }
    }
}

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::sources) enum Shape {
    /// Text of so many characters.
    Text { min: usize, max: usize },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number within these bounds.
    Integer { min: i64, max: i64 },
    /// A number within these bounds.
    Number { min: f64, max: f64 },
    /// True or false.
    Bool,
    /// A list of texts.
    Texts,
    /// An object whose values are texts.
    TextMap,
    /// Any object.
    Object,
    /// A list of objects.
    Objects,
    /// An instant, RFC 3339; without an offset it is UTC.
    Time,
    /// An address with one of these schemes, and no credentials in it; without a scheme if `bare`,
    /// with a query if `query`.
    Url { schemes: &'static [&'static str], bare: bool, query: bool },
    /// The ARN of an IAM role
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>).
    Role,
}

/// Text that may be empty.
pub(in crate::sources) const fn text(name: &'static str) -> Field {
    field(name, Shape::Text { min: 0, max: 65_536 })
}

/// Text that says something.
pub(in crate::sources) const fn word(name: &'static str) -> Field {
    field(name, Shape::Text { min: 1, max: 65_536 })
}

/// A field of that shape that may be left out.
pub(in crate::sources) const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, need: Need::Optional }
}

/// A whole number with a default.
pub(in crate::sources) const fn integer(
    name: &'static str,
    min: i64,
    max: i64,
    default: i64,
) -> Field {
    field(name, Shape::Integer { min, max }).or(Literal::Integer(default))
}

/// One of some words, the first by default.
pub(in crate::sources) const fn one_of(
    name: &'static str,
    words: &'static [&'static str],
) -> Field {
    field(name, Shape::OneOf(words)).or(Literal::Text(words[0]))
}

impl Field {
    /// It must be there.
    pub(in crate::sources) const fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    /// It has a default.
    pub(in crate::sources) const fn or(mut self, default: Literal) -> Self {
        self.need = Need::Default(default);
        self
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it must be given.
    #[must_use]
    pub const fn is_required(&self) -> bool {
        matches!(self.need, Need::Required)
    }

    /// The value that a person means by `text`: the text itself where that may be, else what it
    /// says as JSON.
    #[must_use]
    pub fn value_of(&self, text: &str) -> Value {
        let given = Value::from(text);
        match self.shape.admits(&given) {
            true => given,
            false => serde_json::from_str(text).unwrap_or(given),
        }
    }

    /// What it holds when it is left out.
    pub(super) fn default_value(&self) -> Value {
        match self.need {
            Need::Default(default) => default.to_value(),
            Need::Required | Need::Optional => Value::Null,
        }
    }

    /// As JSON Schema.
    pub(super) fn schema(&self) -> Value {
        let mut schema = self.shape.schema();
        if !matches!(self.need, Need::Required)
            && let Some(kind) = schema.get("type").cloned()
        {
            schema.insert("type".into(), json!([kind, "null"]));
            if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
        }
        if let Need::Default(default) = self.need {
            schema.insert("default".into(), default.to_value());
        }
        schema.into()
    }
}

impl Shape {
    /// Whether `value` fits.
    pub(super) fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text { min, max } => value.as_str().is_some_and(|text| {
                let length = text.chars().count();
                min <= length && length <= max
            }),
            Self::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Self::Integer { min, max } => {
                value.as_i64().is_some_and(|number| min <= number && number <= max)
            }
            Self::Number { min, max } => {
                value.as_f64().is_some_and(|number| min <= number && number <= max)
            }
            Self::Bool => value.is_boolean(),
            Self::Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
            Self::TextMap => {
                value.as_object().is_some_and(|map| map.values().all(Value::is_string))
            }
            Self::Object => value.is_object(),
            Self::Objects => value.as_array().is_some_and(|all| all.iter().all(Value::is_object)),
            Self::Time => value.as_str().is_some_and(|text| {
                text.parse::<jiff::Timestamp>().is_ok()
                    || text.parse::<jiff::civil::DateTime>().is_ok()
            }),
            Self::Url { schemes, bare, query } => {
                value.as_str().is_some_and(|text| is_address(text, schemes, bare, query))
            }
            Self::Role => value.as_str().is_some_and(is_role),
        }
    }

    /// What fits, in words.
    pub(super) fn accepted(self) -> String {
        match self {
            Self::Text { min: 0, .. } => "text".into(),
            Self::Text { min: 1, max: 65_536 } => "text, not empty".into(),
            Self::Text { min, max } => format!("text of {min} to {max} characters"),
            Self::OneOf(words) => words.join(", "),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } if max < f64::MAX => format!("a number from {min} to {max}"),
            Self::Number { .. } => "a number".into(),
            Self::Bool => "true or false".into(),
            Self::Texts => "a list of texts".into(),
            Self::TextMap => "an object whose values are texts".into(),
            Self::Object => "an object".into(),
            Self::Objects => "a list of objects".into(),
            Self::Time => "a time as in 2026-01-31T12:00:00Z".into(),
            Self::Url { schemes, .. } => format!(
                "an address that begins with {}, without user name or password",
                schemes
                    .iter()
                    .map(|scheme| format!("{scheme}://"))
                    .collect::<Vec<_>>()
                    .join(" or ")
            ),
            Self::Role => "the ARN of a role, as in arn:aws:iam::123456789012:role/name".into(),
        }
    }

    /// Whether a value that does not fit may itself hold a secret.
    pub(in crate::sources) const fn may_hide_a_secret(self) -> bool {
        matches!(self, Self::Url { .. } | Self::Object | Self::Objects | Self::TextMap)
    }

    fn schema(self) -> Map<String, Value> {
        let schema = match self {
            Self::Text { min, max } => {
                json!({ "type": "string", "minLength": min, "maxLength": max })
            }
            Self::OneOf(words) => json!({ "type": "string", "enum": words }),
            Self::Integer { min, max } => {
                json!({ "type": "integer", "minimum": min, "maximum": max })
            }
            Self::Number { min, max } if max < f64::MAX => {
                json!({ "type": "number", "minimum": min, "maximum": max })
            }
            Self::Number { .. } => json!({ "type": "number" }),
            Self::Bool => json!({ "type": "boolean" }),
            Self::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Self::TextMap => {
                json!({ "type": "object", "additionalProperties": { "type": "string" } })
            }
            Self::Object => json!({ "type": "object", "additionalProperties": true }),
            Self::Objects => json!({ "type": "array", "items": { "type": "object" } }),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
            Self::Url { .. } | Self::Role => json!({ "type": "string", "minLength": 1 }),
        };
        schema.as_object().cloned().unwrap_or_default()
    }
}

/// A host with a path, and nothing that could be a secret.
fn is_address(text: &str, schemes: &[&str], bare: bool, query: bool) -> bool {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let known = match scheme {
        Some(scheme) => schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)),
        None => bare,
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    known
        && !host.is_empty()
        && !host.starts_with(':')
        && !rest.contains(|c: char| {
            "@#".contains(c) || (c == '?' && !query) || c.is_whitespace() || c.is_control()
        })
        && format!("http://{rest}").parse::<http::Uri>().is_ok()
}

/// As the contract's pattern has it, in any partition and with a path.
fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, role] = parts[..] else { return false };
    let Some(name) = role.strip_prefix("role/") else { return false };
    (partition == "aws" || partition.starts_with("aws-"))
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c))
}
