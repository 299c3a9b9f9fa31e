//! Who may ask: the token, the browser's session, and the names by which this server may be called.
//!
//! [`guard`] stands in front of every route. What does not live here: what is asked for.

pub mod token;

use axum::{
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use self::token::{Fingerprint, TokenFile};
use super::{App, error::ApiError};
use crate::config::Config;

/// What requests are checked with.
#[derive(Debug)]
pub struct Access {
    token: TokenFile,
    /// The environment's token, which counts instead of the file's.
    override_token: Option<Fingerprint>,
}

impl Access {
    /// The checks of this installation.
    #[must_use]
    pub fn new(config: &Config, override_token: Option<&str>) -> Self {
        Self {
            token: TokenFile::of(&config.data_dir),
            override_token: override_token.map(Fingerprint::of),
        }
    }

    /// Whether that is the token.
    fn admits(&self, token: &str) -> Result<bool, ApiError> {
        let expected = match self.override_token {
            Some(token) => Some(token),
            None => self.token.fingerprint().map_err(ApiError::internal)?,
        };
        Ok(expected.is_some_and(|expected| expected.matches(token)))
    }
}

/// Lets a request through to its route, or answers why not.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<(), ApiError> {
    if !needs_token(request) || app.links.admits(request, app.now()) {
        return Ok(());
    }
    match bearer(request) {
        Some(token) if app.access.admits(token)? => Ok(()),
        Some(_) => Err(ApiError::unauthorized("this is not the token; `catchment token` shows it")),
        None => Err(ApiError::unauthorized(
            "send the token as `Authorization: Bearer TOKEN`; `catchment token` shows it",
        )),
    }
}

fn needs_token(request: &Request) -> bool {
    let path = request.uri().path();
    let is_health = path == "/v1/health" || path.starts_with("/v1/health/");
    path.starts_with("/v1") && !(is_health && request.method() == Method::GET)
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
