//! Who may ask: the token, the browser's session, and the names by which this server may be called.
//!
//! `guard` runs before every route. What does not live here: the routes.

mod host;
pub mod login;
mod throttle;
pub mod token;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use axum_extra::extract::cookie::CookieJar;

use self::{
    host::Names,
    login::address_of as peer_of,
    throttle::Throttle,
    token::{Fingerprint, Token, TokenFile},
};
use super::{App, connection::Connection, error::ApiError, query as query_string};
use crate::{config::Config, store::sessions};

/// The most that a request's headers may be together, in bytes.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Query parameters that people put secrets into, from where they get into logs and histories.
const SECRET_PARAMETERS: [&str; 5] =
    ["token", "access_token", "api_key", "apikey", "authorization"];

/// What requests are checked with.
#[derive(Debug)]
pub struct Access {
    token: Token,
    names: Names,
    /// Wrong codes.
    logins: Throttle,
    /// The session cookie's name. Cookies know no ports: it has ours, so that two servers of one
    /// computer do not log each other's browsers out.
    cookie: String,
    /// Whether programs on this computer may read the metrics without the token.
    has_open_metrics: bool,
}

impl Access {
    /// The checks of this installation, which listens at `address`. Makes the token if there is
    /// none yet.
    ///
    /// # Errors
    /// When the file of the token cannot be read or made.
    pub fn open(
        config: &Config,
        address: SocketAddr,
        override_token: Option<&str>,
    ) -> io::Result<Self> {
        let file = TokenFile::of(&config.data_dir);
        if override_token.is_none() {
            file.ensure()?;
        }
        Ok(Self {
            token: Token::new(file, override_token),
            names: Names::new(&config.serve.allowed_hosts, address),
            logins: Throttle::default(),
            cookie: format!("catchment_{}", address.port()),
            has_open_metrics: config.serve.open_metrics,
        })
    }

    /// Whether that is the token.
    fn admits(&self, token: &str) -> Result<bool, ApiError> {
        let expected = self.token.fingerprint().map_err(ApiError::internal)?;
        Ok(expected.is_some_and(|expected| expected.matches(token)))
    }

    /// The token that it lets in.
    #[must_use]
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Names by which the server may be called, added while it runs.
    pub(super) fn allowed_hosts(&self) -> Vec<String> {
        self.names.added()
    }

    /// Lets it be called by these, instead of those added before.
    pub fn allow_hosts(&self, names: &[String]) {
        self.names.add(names);
    }

    fn session_of(&self, headers: &HeaderMap) -> Option<String> {
        let jar = CookieJar::from_headers(headers);
        jar.get(&self.cookie).map(|cookie| cookie.value().to_owned())
    }
}

/// Lets a request through to its route, or returns the reason why not.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match check(&app, &parts).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn check(app: &App, parts: &Parts) -> Result<(), ApiError> {
    let headers = &parts.headers;
    refuse_long_headers(parts)?;
    let us = app.access.names.check(parts)?;
    if host::changes(&parts.method) {
        host::refuse_foreign(headers, &us)?;
    }
    refuse_secrets_in_query(parts)?;
    let link = app.links.admission(&parts.method, &parts.uri, app.now());
    refuse_forms(parts)?;
    if link.is_admitted() || !needs_token(app, parts) {
        return Ok(());
    }
    if is_admitted(app, parts).await? {
        if let Some(connection) = parts.extensions.get::<Arc<Connection>>() {
            connection.admit();
        }
        return Ok(());
    }
    if bearer(headers).is_some() {
        // 256 random bits need no slowing down of those who guess.
        return Err(ApiError::unauthorized("this is not the token; `catchment token` shows it"));
    }
    if let Some(ended) = link.ended() {
        return Err(ended);
    }
    Err(ApiError::unauthorized(
        "send the token as `Authorization: Bearer TOKEN`; `catchment token` shows it",
    ))
}

fn refuse_long_headers(parts: &Parts) -> Result<(), ApiError> {
    let headers: usize =
        parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if headers + target <= MAX_HEADER_BYTES {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        format!("the headers are longer than {} KiB", MAX_HEADER_BYTES / 1024),
    ))
}

/// Forms are what pages of others, and bytes that somebody opens, can send without our scripts.
/// Only signing in takes one.
fn refuse_forms(parts: &Parts) -> Result<(), ApiError> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let is_form = FORM_TYPES.iter().any(|form| essence.eq_ignore_ascii_case(form));
    if parts.method != Method::POST || !is_form || parts.uri.path() == "/login" {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("the body must be application/json, not {essence:?}"),
    ))
}

/// The types of bodies that an HTML form can send.
const FORM_TYPES: [&str; 3] =
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

fn refuse_secrets_in_query(parts: &Parts) -> Result<(), ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let has_secret = query_string::query_names(query)
        .any(|name| SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()));
    if has_secret {
        return Err(ApiError::unauthorized(
            "a token has no place in an address, where logs and histories keep it: send it as \
             `Authorization: Bearer TOKEN`",
        )
        .code("token_in_query"));
    }
    Ok(())
}

fn needs_token(app: &App, parts: &Parts) -> bool {
    let path = parts.uri.path();
    let is_health = path == "/v1/health" || path.starts_with("/v1/health/");
    if path == "/metrics" {
        return !(app.access.has_open_metrics && peer_of(&parts.extensions).is_loopback());
    }
    let is_api = path == "/v1" || path.starts_with("/v1/");
    is_api && !(is_health && parts.method == Method::GET)
}

async fn is_admitted(app: &App, parts: &Parts) -> Result<bool, ApiError> {
    let headers = &parts.headers;
    if let Some(token) = bearer(headers) {
        return app.access.admits(token);
    }
    let Some(session) = app.access.session_of(headers) else { return Ok(false) };
    // Other ports of this computer are the same site to a browser, which sends them the cookie too.
    let is_ours = !host::is_foreign_fetch(headers)
        && (!host::changes(&parts.method) || host::is_own_page(headers));
    if !is_ours {
        return Ok(false);
    }
    let (hash, now) = (*Fingerprint::of(&session).as_bytes(), app.now());
    Ok(app.engine.store.read(move |db| sessions::is_open(db, &hash, now)).await?)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
