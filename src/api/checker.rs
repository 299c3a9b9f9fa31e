//! Holds a JSON value against the schema of a type, and says what is wrong in the words of the
//! schema: one [`FieldError`] for each wrong field.
//!
//! A schema that has a secret (`format: password`) somewhere gets careful: values that are not
//! plain, and keys that it does not know, are named without what they hold.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use jsonschema::{
    ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::error::{ApiError, FieldError, MOST_ERRORS, excerpt};

/// The checker of a type.
#[derive(Debug)]
pub(super) struct Checker {
    document: Value,
    /// JSON pointer to the type's own schema in the document.
    root: String,
    validator: Validator,
    has_secrets: bool,
}

static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Checker>>>> = LazyLock::new(RwLock::default);

/// The checker of `T`, made at its first use.
pub(super) fn of<T: ToSchema + 'static>() -> Result<Arc<Checker>, ApiError> {
    let id = TypeId::of::<T>();
    if let Some(known) = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return Ok(known.clone());
    }
    let made = Arc::new(Checker::new::<T>().map_err(ApiError::internal)?);
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(id, made.clone());
    Ok(made)
}

/// A value as a `T`. The only way in which bodies become types: each further one would put all of
/// a type's code into the program again.
#[inline(never)]
fn parse<T: DeserializeOwned>(
    value: &Value,
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(value)
}

impl Checker {
    fn new<T: ToSchema>() -> Result<Self, String> {
        let name = T::name().into_owned();
        let mut components = vec![(name.clone(), T::schema())];
        T::schemas(&mut components);
        let components: HashMap<_, _> = components.into_iter().collect();
        let schemas = serde_json::to_value(components).map_err(|error| error.to_string())?;
        let document = json!({
            "$ref": format!("#/components/schemas/{name}"),
            "components": { "schemas": schemas },
        });
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&document)
            .map_err(|error| format!("schema of {name}: {error}"))?;
        let has_secrets = mentions_secret(&document);
        Ok(Self { root: format!("/components/schemas/{name}"), document, validator, has_secrets })
    }

    /// The value as a `T`, or every field of it that is wrong.
    pub(super) fn read<T: DeserializeOwned>(&self, value: Value) -> Result<T, ApiError> {
        let mut wrong = Wrong::default();
        for error in self.validator.iter_errors(&value).take(MOST_LOOKED_AT) {
            self.explain(&error, &value, &mut wrong);
        }
        if !wrong.listed.is_empty() {
            return Err(ApiError::invalid_among(wrong.listed, wrong.more));
        }
        // JSON has no other whole numbers than those that it has with a fraction: 614.0 is 614.
        if has_whole_floats(&value)
            && let Ok(read) = parse(&with_whole_numbers(value.clone()))
        {
            return Ok(parse(&value).unwrap_or(read));
        }
        parse(&value).map_err(|error| self.unreadable(error))
    }

    /// What the schema lets pass and the type does not.
    fn unreadable(&self, error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
        let path = match error.path().to_string() {
            whole if whole == "." => String::new(),
            path => path,
        };
        let message = match self.has_secrets {
            true => "invalid value".to_owned(),
            false => error.into_inner().to_string(),
        };
        ApiError::invalid_field(FieldError { value: None, ..FieldError::new(path, (), message) })
    }

    /// Whether the type has that field.
    pub(super) fn knows(&self, field: &str) -> bool {
        self.property(field).is_some()
    }

    /// Whether that field may be of that JSON type.
    pub(super) fn takes(&self, field: &str, kind: &str) -> bool {
        match self.property(field).and_then(|schema| schema.get("type")) {
            Some(Value::String(only)) => only == kind,
            Some(Value::Array(several)) => several.iter().any(|one| one == kind),
            _ => false,
        }
    }

    fn property(&self, field: &str) -> Option<&Value> {
        self.document.pointer(&self.root)?.get("properties")?.get(field)
    }

    /// Says what an error means for the fields of `body`.
    fn explain(&self, error: &ValidationError<'_>, body: &Value, wrong: &mut Wrong) {
        let place = error.instance_path().as_str();
        let schema = self.schema_of(error);
        match error.kind() {
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.keys(&schema);
                for key in unexpected {
                    let value = error.instance().get(key);
                    wrong.add(|| FieldError {
                        field: dotted(&format!("{place}/{}", escaped(key))),
                        value: value.filter(|_| !self.has_secrets).map(excerpt),
                        message: format!("unknown field; known fields: {}", known.join(", ")),
                        accepted: known.clone().into(),
                        kind: "extra_forbidden",
                    });
                }
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let fragment = schema.get("properties").and_then(|all| all.get(name));
                let accepted = fragment.map_or(Value::Null, |fragment| self.accepted(fragment));
                wrong.add(|| FieldError {
                    field: dotted(&format!("{place}/{}", escaped(name))),
                    value: None,
                    message: "this field is required".to_owned(),
                    accepted,
                    kind: "missing",
                });
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                self.explain_choice(error, context, body, wrong);
            }
            kind => wrong.add(|| FieldError {
                field: dotted(place),
                value: self.excerpt(error.instance(), &schema),
                message: message(kind, &self.accepted(&schema)),
                accepted: self.accepted(&schema),
                kind: kind_name(kind),
            }),
        }
    }

    /// None of several schemas fits: reports on the one that was meant, where that is clear.
    fn explain_choice(
        &self,
        error: &ValidationError<'_>,
        branches: &[Vec<ValidationError<'static>>],
        body: &Value,
        wrong: &mut Wrong,
    ) {
        let place = error.instance_path().as_str();
        let is_other_type = |branch: &&Vec<ValidationError<'static>>| {
            branch.iter().any(|error| {
                matches!(error.kind(), Kind::Type { .. }) && error.instance_path().as_str() == place
            })
        };
        let of_this_type: Vec<_> =
            branches.iter().filter(|branch| !is_other_type(branch)).collect();
        let other_tag = |branch: &Vec<ValidationError<'static>>| {
            branch
                .iter()
                .find(|error| {
                    matches!(error.kind(), Kind::Enum { .. } | Kind::Constant { .. })
                        && parent(error.instance_path().as_str()) == place
                })
                .map(|error| error.instance_path().as_str().to_owned())
        };
        let of_this_tag: Vec<_> =
            of_this_type.iter().filter(|branch| other_tag(branch).is_none()).collect();
        if let Some(meant) = of_this_tag.iter().min_by_key(|branch| branch.len()) {
            for error in meant.iter() {
                self.explain(error, body, wrong);
            }
            return;
        }
        let tags: Vec<_> = of_this_type.iter().filter_map(|branch| other_tag(branch)).collect();
        if let Some(tag) = tags.first() {
            let accepted: Vec<Value> = of_this_type
                .iter()
                .flat_map(|branch| branch.iter())
                .filter(|error| error.instance_path().as_str() == tag)
                .flat_map(|error| options(error.kind()))
                .collect();
            wrong.add(|| FieldError {
                field: dotted(tag),
                value: body.pointer(tag).and_then(|value| self.excerpt(value, &Value::Null)),
                message: format!("must be one of: {}", listed(&accepted)),
                accepted: accepted.clone().into(),
                kind: "enum",
            });
            return;
        }
        let accepted = self.accepted(&self.schema_of(error));
        wrong.add(|| FieldError {
            field: dotted(place),
            value: self.excerpt(error.instance(), &Value::Null),
            message: format!("must be {}", worded(&accepted)),
            accepted: accepted.clone(),
            kind: "type",
        });
    }

    /// The schema that contains an error's keyword.
    fn schema_of(&self, error: &ValidationError<'_>) -> Value {
        let keyword = error.schema_path().as_str();
        self.document.pointer(parent(keyword)).cloned().unwrap_or(Value::Null)
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                self.document.pointer(reference.trim_start_matches('#')).unwrap_or(schema)
            }
            None => schema,
        }
    }

    fn keys(&self, schema: &Value) -> Vec<String> {
        let properties = self.resolve(schema).get("properties").and_then(Value::as_object);
        properties.map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// The value as an error may show it; `None` for a secret.
    fn excerpt(&self, value: &Value, schema: &Value) -> Option<Value> {
        let is_plain = !value.is_object() && !value.is_array();
        let is_secret = mentions_secret(schema) || (self.has_secrets && !is_plain);
        (!is_secret).then(|| excerpt(value))
    }

    /// What a schema takes: its options, or a sentence.
    fn accepted(&self, schema: &Value) -> Value {
        let schema = self.resolve(schema);
        for choice in ["oneOf", "anyOf", "allOf"] {
            if let Some(branches) = schema.get(choice).and_then(Value::as_array) {
                return either(branches.iter().map(|branch| self.accepted(branch)).collect());
            }
        }
        if let Some(options) = schema.get("enum") {
            return options.clone();
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(only)) => vec![only],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return "any JSON value".into(),
        };
        let words: Vec<_> = kinds.iter().map(|kind| sentence(kind, schema)).collect();
        words.join(" or ").into()
    }
}

/// How many errors of a body are looked at: more than that nobody needs counted exactly.
const MOST_LOOKED_AT: usize = 1000;

/// What is wrong with a body: the first errors, and how many there are besides.
#[derive(Default)]
struct Wrong {
    listed: Vec<FieldError>,
    more: usize,
}

impl Wrong {
    fn add(&mut self, error: impl FnOnce() -> FieldError) {
        match self.listed.len() {
            MOST_ERRORS.. => self.more += 1,
            _ => self.listed.push(error()),
        }
    }
}

/// Whether any number is whole but spelled with a fraction.
fn has_whole_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => whole(number).is_some(),
        Value::Array(items) => items.iter().any(has_whole_floats),
        Value::Object(fields) => fields.values().any(has_whole_floats),
        _ => false,
    }
}

/// The value with such numbers as whole ones.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => whole(&number).map_or(Value::Number(number), Value::from),
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect()
        }
        other => other,
    }
}

/// The whole number that a number with a fraction of zero is.
fn whole(number: &serde_json::Number) -> Option<i64> {
    // Beyond 2^53 a float stands for more than one whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    let is_whole = float.fract() == 0.0 && float.abs() <= EXACT;
    is_whole.then(|| format!("{float:.0}").parse().ok())?
}

fn either(alternatives: Vec<Value>) -> Value {
    if alternatives.iter().all(Value::is_array) {
        return alternatives
            .into_iter()
            .flat_map(|one| one.as_array().cloned())
            .flatten()
            .collect();
    }
    alternatives.iter().map(worded).collect::<Vec<_>>().join(" or ").into()
}

fn worded(accepted: &Value) -> String {
    match accepted {
        Value::String(text) => text.clone(),
        Value::Array(options) => format!("one of: {}", listed(options)),
        other => other.to_string(),
    }
}

fn listed(options: &[Value]) -> String {
    let word = |option: &Value| option.as_str().map_or_else(|| option.to_string(), str::to_owned);
    options.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// What a JSON type accepts within the limits of its schema.
fn sentence(kind: &str, schema: &Value) -> String {
    let limits = |low: &str, high: &str, unit: &str| match (schema.get(low), schema.get(high)) {
        (Some(low), Some(high)) => format!(" from {low} to {high}{unit}"),
        (Some(low), None) => format!(" of at least {low}{unit}"),
        (None, Some(high)) => format!(" of at most {high}{unit}"),
        (None, None) => String::new(),
    };
    match kind {
        "integer" => format!("an integer{}", limits("minimum", "maximum", "")),
        "number" => format!("a number{}", limits("minimum", "maximum", "")),
        "string" => match (schema.get("format").and_then(Value::as_str), schema.get("pattern")) {
            (Some("date-time"), _) => "an RFC 3339 time such as 2026-01-31T12:00:00Z".to_owned(),
            (_, Some(Value::String(pattern))) => format!("text that matches {pattern}"),
            _ => format!("text{}", limits("minLength", "maxLength", " characters")),
        },
        "boolean" => "true or false".to_owned(),
        "array" => format!("a list{}", limits("minItems", "maxItems", " items")),
        "object" => match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => {
                let keys: Vec<_> = properties.keys().map(String::as_str).collect();
                format!("an object with any of the keys {}", keys.join(", "))
            }
            None => format!("an object{}", limits("minProperties", "maxProperties", " keys")),
        },
        other => other.to_owned(),
    }
}

fn options(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Enum { options } => options.as_array().cloned().unwrap_or_default(),
        Kind::Constant { expected_value } => vec![expected_value.as_ref().clone()],
        _ => Vec::new(),
    }
}

fn message(kind: &Kind, accepted: &Value) -> String {
    match kind {
        Kind::UniqueItems => "must not name anything twice".to_owned(),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Type { kind: TypeKind::Single(_) | TypeKind::Multiple(_) }
        | Kind::Enum { .. }
        | Kind::Minimum { .. }
        | Kind::Maximum { .. } => format!("must be {}", worded(accepted)),
        _ => format!("must be {}", worded(accepted)),
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Type { .. } => "type",
        Kind::Enum { .. } | Kind::Constant { .. } => "enum",
        Kind::Minimum { .. }
        | Kind::Maximum { .. }
        | Kind::ExclusiveMinimum { .. }
        | Kind::ExclusiveMaximum { .. }
        | Kind::MultipleOf { .. } => "range",
        Kind::MinLength { .. }
        | Kind::MaxLength { .. }
        | Kind::MinItems { .. }
        | Kind::MaxItems { .. }
        | Kind::MinProperties { .. }
        | Kind::MaxProperties { .. } => "length",
        Kind::Format { .. } | Kind::Pattern { .. } => "format",
        _ => "value_error",
    }
}

fn mentions_secret(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => is_password(fields) || fields.values().any(mentions_secret),
        Value::Array(items) => items.iter().any(mentions_secret),
        _ => false,
    }
}

fn is_password(fields: &Map<String, Value>) -> bool {
    fields.get("format").is_some_and(|format| format == "password")
}

fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer as people write it: `items[3].name`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
    }
    path
}
