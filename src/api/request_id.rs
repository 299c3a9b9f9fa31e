//! The id of the request under way: on every response as `X-Request-Id`, in the log, and
//! in the details of our own faults.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

/// The header that carries it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that this task handles; `None` outside of one.
pub(super) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Gives the request an id of our own, whatever the caller sent: callers must not write the log.
pub(super) async fn assign(request: Request, next: Next) -> Response {
    let id = format!("req_{}", ulid::Ulid::generate());
    let span = tracing::info_span!("request", request_id = %id);
    let mut response = CURRENT.scope(id.clone(), next.run(request)).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
