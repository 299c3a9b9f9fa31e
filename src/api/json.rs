//! Input, checked before a handler sees it: [`Valid`] bodies, [`ValidQuery`] and [`Listing`]
//! query strings, [`FromPath`] path parts; and [`Patch`], which distinguishes absent from null.
//!
//! Bodies and queries are checked against the JSON Schema of their own type, the one that
//! `/openapi.json` shows, so that document and behaviour cannot differ. What does not live here:
//! how schemas are checked (`checker`), what error responses look like (`error`).

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub(super) use super::query::query_parameters;
use super::{
    checker::{self, Checker},
    error::{ApiError, FieldError},
    page::ListQuery,
    query,
};

/// What is returned where something was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedResponse {
    /// For people.
    message: &'static str,
    /// Always true.
    success: bool,
}

impl DeletedResponse {
    /// It is gone, or was not there.
    pub(super) const fn done() -> Self {
        Self { message: "Successfully deleted", success: true }
    }
}

/// A body that its own schema accepts. An empty body counts as `{}`.
#[derive(Clone, Copy, Debug)]
pub struct Valid<T>(pub T);

impl<T, S> FromRequest<S> for Valid<T>
where
    T: DeserializeOwned + ToSchema + 'static,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        refuse_other_types(&request)?;
        let bytes = Bytes::from_request(request, state).await.map_err(unreadable)?;
        refuse_deep(&bytes)?;
        let value = if bytes.is_empty() {
            Value::Object(Map::new())
        } else {
            serde_json::from_slice(&bytes).map_err(|error| {
                ApiError::malformed(format!("the body is not JSON: {error}"))
                    .code("invalid_json")
                    .detail("line", error.line())
                    .detail("column", error.column())
            })?
        };
        checker::of::<T>()?.read(value).map(Self)
    }
}

/// How deep arrays and objects of a body may be nested.
const MAX_DEPTH: usize = 64;

/// Refuses what is nested too deep before anything is made of it.
fn refuse_deep(json: &[u8]) -> Result<(), ApiError> {
    if depth(json) <= MAX_DEPTH {
        return Ok(());
    }
    let words = format!("arrays and objects are nested more than {MAX_DEPTH} levels deep");
    let accepted = format!("at most {MAX_DEPTH} levels");
    Err(ApiError::invalid_field(FieldError {
        value: None,
        ..FieldError::new("", (), words).accepting(accepted).of_kind("too_deep")
    }))
}

/// How deep arrays and objects are nested in a text, if it is JSON.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut most, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json {
        match (in_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (true, b'"') => in_text = false,
            (true, _) => {}
            (false, b'"') => in_text = true,
            (false, b'[' | b'{') => {
                now += 1;
                most = most.max(now);
            }
            (false, b']' | b'}') => now = now.saturating_sub(1),
            (false, _) => {}
        }
    }
    most
}

/// Forms and plain text are what other sites' pages can send without being asked for leave.
fn refuse_other_types(request: &Request) -> Result<(), ApiError> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("the body must be application/json, not {essence:?}"),
    ))
}

/// Why a body could not be read to its end.
pub(super) fn unreadable(rejection: BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(format!(
            "the body is longer than {} MiB",
            super::MAX_BODY_BYTES / (1024 * 1024)
        )),
        _ if timed_out(&rejection) => late(),
        _ => ApiError::malformed("the body ended early"),
    }
}

/// 408: the body takes too long.
pub(super) fn late() -> ApiError {
    ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")
}

fn timed_out(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let is_ours = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
        if is_ours || error.is::<tower_http::timeout::TimeoutError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// A query string that its own schema accepts. Values are read as what the schema says that they
/// are; an array is a parameter given several times.
#[derive(Clone, Copy, Debug)]
pub struct ValidQuery<T>(pub T);

impl<T, S> FromRequestParts<S> for ValidQuery<T>
where
    T: DeserializeOwned + ToSchema + 'static,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let checker = checker::of::<T>()?;
        let mut given = pairs(parts);
        if !checker.knows(query::NAMESPACE) {
            given.remove(query::NAMESPACE);
        }
        checker.read(typed(&checker, given)).map(Self)
    }
}

/// The query string of a list: paging, and what else the list takes.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// Which rows.
    pub list: ListQuery,
    /// The rest.
    pub more: T,
}

impl<T, S> FromRequestParts<S> for Listing<T>
where
    T: DeserializeOwned + ToSchema + 'static,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let (paging, rest) = (checker::of::<ListQuery>()?, checker::of::<T>()?);
        let (for_list, mut for_rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            pairs(parts).into_iter().partition(|(name, _)| paging.knows(name));
        if !rest.knows(query::NAMESPACE) {
            for_rest.remove(query::NAMESPACE);
        }
        Ok(Self {
            list: paging.read(typed(&paging, for_list))?,
            more: rest.read(typed(&rest, for_rest))?,
        })
    }
}

/// Every parameter of a query string with its values in their order.
fn pairs(parts: &Parts) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in query::parse(parts.uri.query().unwrap_or_default()) {
        all.entry(name).or_default().push(value);
    }
    all
}

/// Texts as the schema's types, where they can be; what cannot stays text and fails the check.
fn typed(checker: &Checker, given: BTreeMap<String, Vec<String>>) -> Value {
    let object = given.into_iter().map(|(name, mut values)| {
        let value = if checker.takes(&name, "array") {
            Value::from_iter(values)
        } else {
            // There is at least one: it was given.
            one(checker, &name, values.pop().unwrap_or_default())
        };
        (name, value)
    });
    Value::Object(object.collect())
}

fn one(checker: &Checker, name: &str, text: String) -> Value {
    let is_number = checker.takes(name, "integer") || checker.takes(name, "number");
    let parsed = match text.as_str() {
        "true" | "True" if checker.takes(name, "boolean") => Some(Value::Bool(true)),
        "false" | "False" if checker.takes(name, "boolean") => Some(Value::Bool(false)),
        number if is_number => serde_json::from_str(number).ok().filter(Value::is_number),
        _ => None,
    };
    parsed.unwrap_or(Value::String(text))
}

/// Parts of the path: a string, or a tuple of strings in their order.
#[derive(Clone, Copy, Debug)]
pub struct FromPath<T>(pub T);

impl<T, S> FromRequestParts<S> for FromPath<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::invalid_field(
                FieldError::new("path", parts.uri.path(), rejection.body_text())
                    .accepting("percent-encoded UTF-8"),
            )),
        }
    }
}

/// A field of a PATCH. Mark it `#[serde(default)] #[schema(value_type = Option<T>)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Leave it as it is.
    #[default]
    Missing,
    /// Clear it.
    Null,
    /// Set it.
    Value(T),
}

impl<T> Patch<T> {
    /// Changes `field` as it says.
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Missing => {}
            Self::Null => *field = None,
            Self::Value(value) => *field = Some(value),
        }
    }

    /// The new value, if one was sent; `None` for null, too.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Null => None,
        }
    }

    /// Whether the field was not sent.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// With `#[serde(skip_serializing_if = "Patch::is_missing")]`.
impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Missing | Self::Null => serializer.serialize_none(),
            Self::Value(value) => serializer.serialize_some(value),
        }
    }
}
