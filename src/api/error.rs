//! The one place that makes error responses: `{"success":false,"status":N,"error":{…}}`.
//!
//! Handlers return [`ApiError`]; errors from below become one here, by what the caller can do about
//! them. Our own faults are logged with their cause and returned without it. What does not live
//! here: deciding that something is wrong.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::request_id;
use crate::{engine::RunError, store::StoreError};

/// How many wrong fields a response lists: what somebody reads before sending the next request.
pub const MOST_ERRORS: usize = 20;

/// What handlers return: JSON, or the error.
pub type JsonResult<T = Value> = Result<Json<T>, ApiError>;

/// The name of a field as a message shows it: somebody else chose it, at any length.
fn shortened(field: &str) -> &str {
    field.char_indices().nth(200).map_or(field, |(end, _)| &field[..end])
}

/// What every error response looks like.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorResponse {
    /// Always false.
    pub success: bool,
    /// The HTTP status again.
    pub status: u16,
    /// What is wrong.
    pub error: ErrorDetail,
}

/// What is wrong, and where.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// For people.
    pub message: String,
    /// For programs: `validation_error`, `not_found`, `conflict` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// For programs, finer than `type`; null where there is nothing finer.
    pub code: Option<String>,
    /// The wrong fields (`errors`), the request (`request_id`), what is in the way.
    pub details: Map<String, Value>,
}

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: `file_filters.min_size_bytes`, `mappings.title.source.type`, `items[3].name`. Empty:
    /// the body as a whole.
    pub field: String,
    /// What was sent; absent for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What is wrong with it, for people.
    pub message: String,
    /// What is accepted: a range, a list, the known keys.
    pub accepted: Value,
    /// `extra_forbidden`, `missing`, `type`, `range`, … for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl FieldError {
    /// A field with an invalid value; name the valid ones with [`FieldError::accepting`].
    #[must_use]
    pub fn new(
        field: impl Into<String>,
        value: impl Into<Value>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            value: Some(value.into()),
            message: message.into(),
            accepted: Value::Null,
            kind: "value_error",
        }
    }

    /// A field that holds a secret: its value is never returned.
    #[must_use]
    pub fn secret(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { value: None, ..Self::new(field, Value::Null, message) }
    }

    /// What is accepted instead.
    #[must_use]
    pub fn accepting(mut self, accepted: impl Into<Value>) -> Self {
        self.accepted = accepted.into();
        self
    }

    /// The `type` of this field's error.
    #[must_use]
    pub const fn of_kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }
}

/// An error of a request.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    details: Box<Map<String, Value>>,
    retry_after_secs: Option<u64>,
    /// For the log only.
    cause: Option<Box<str>>,
}

impl ApiError {
    /// An error with this status; `kind` is its `type` on the wire.
    #[must_use]
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            message: message.into(),
            details: Box::default(),
            retry_after_secs: None,
            cause: None,
        }
    }

    /// 400: the request cannot be parsed.
    #[must_use]
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404: no such `noun`.
    #[must_use]
    pub fn not_found(noun: &str, id: impl AsRef<str>) -> Self {
        let id = id.as_ref();
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {noun} {id:?}"))
            .detail("resource", noun)
            .detail("id", id)
    }

    /// Whether it says that something is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// 409: it conflicts with the current state; the message says why.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn taken(noun: &str, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        Self::conflict(format!("there is a {noun} called {name:?} already"))
            .code("name_taken")
            .detail("name", name)
    }

    /// 413.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
    }

    /// 422: these fields are wrong.
    #[must_use]
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        Self::invalid_among(fields, 0)
    }

    /// 422: these fields are wrong, and so many more. At most [`MOST_ERRORS`] are listed, the
    /// others counted.
    #[must_use]
    pub fn invalid_among(mut fields: Vec<FieldError>, more: usize) -> Self {
        let more = more + fields.len().saturating_sub(MOST_ERRORS);
        fields.truncate(MOST_ERRORS);
        let message = match (fields.as_slice(), more) {
            ([only], 0) if only.field.is_empty() => only.message.clone(),
            ([only], 0) => format!("{}: {}", only.field, only.message),
            (several, more) => {
                let names = several.iter().map(|error| shortened(&error.field)).collect::<Vec<_>>();
                let names = names.join(", ");
                let count = several.len() + more;
                match more {
                    0 => format!("{count} fields are invalid: {names}"),
                    more => format!("{count} fields are invalid: {names}, and {more} more"),
                }
            }
        };
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", message)
            .detail("errors", json!(fields));
        if more > 0 { error.detail("more_errors", more) } else { error }
    }

    /// 422: this field is wrong.
    #[must_use]
    pub fn invalid_field(field: FieldError) -> Self {
        Self::invalid(vec![field])
    }

    /// 429, to be retried after so many seconds.
    #[must_use]
    pub fn too_many(message: impl Into<String>, retry_after_secs: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
            .retry_after(retry_after_secs)
    }

    /// Seconds after which it is worth trying again.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_secs = Some(seconds);
        self
    }

    /// 500: our own fault. `cause` goes to the log only.
    #[must_use]
    pub fn internal(cause: impl ToString) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "internal error: the log has the details, under the request id",
        );
        error.cause = Some(cause.to_string().into());
        error
    }

    /// Adds a code, which is finer than the type.
    #[must_use]
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Adds a fact to the details.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// What it says to people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What it says to programs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(status = self.status.as_u16(), cause, "request failed");
        }
        if self.status.is_server_error()
            && let Some(id) = request_id::current()
        {
            self.details.insert("request_id".to_owned(), id.into());
        }
        let body = ErrorResponse {
            success: false,
            status: self.status.as_u16(),
            error: ErrorDetail {
                message: self.message,
                kind: self.kind.to_owned(),
                code: self.code.map(str::to_owned),
                details: *self.details,
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk_full",
                "the disk of the data directory is full; nothing of this request was kept",
            ),
            StoreError::Locked(holder) => Self::conflict(holder.to_string()).code("locked"),
            StoreError::SyncInactive
            | StoreError::NotQueued
            | StoreError::NothingHeld
            | StoreError::KeyRotated => Self::conflict(error.to_string()),
            error => Self::internal(error),
        }
    }
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => error.into(),
            RunError::Disk(error) => Self::internal(error),
            // The provider's and the filters' errors are for the caller.
            error => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "source_error", error.to_string()),
        }
    }
}

/// A value as an error shows it: whole if it is short.
pub(super) fn excerpt(value: &Value) -> Value {
    const LONGEST: usize = 200;
    let text = match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    if text.chars().count() <= LONGEST {
        return value.clone();
    }
    Value::String(text.chars().take(LONGEST).chain(['…']).collect())
}
