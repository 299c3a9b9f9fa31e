//! How a browser gets in: a link with a one-time code leads to a page, whose button (pressed by its
//! script) exchanges the code for a cookie.
//!
//! Following the link changes nothing, so that whatever looks at links ahead of people (mail
//! scanners, chat previews, the browser's own address bar) does not use the code up.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request, State},
    http::{Extensions, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use axum_extra::extract::cookie::{Cookie, SameSite};
use jiff::Timestamp;
use tokio::time::timeout;

use super::token::{Fingerprint, random_secret};
use crate::{
    api::{
        App,
        error::ApiError,
        html::{self, escape},
        json, query,
        server::Peer,
    },
    store::{Store, StoreError, sessions},
};

/// The longest body of a request to sign in: a code, and room for how a browser spells it.
pub(in crate::api) const MAX_BODY_BYTES: usize = 4 * 1024;
/// How long all of it may take.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How long a code can be used.
pub const CODE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long a browser stays in.
const SESSION_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Makes a code that lets one browser in.
///
/// # Errors
/// When the database cannot be written.
pub async fn new_code(store: &Store, now: Timestamp) -> Result<String, StoreError> {
    new_secret(store, sessions::Kind::Code, now, CODE_LIFE).await
}

async fn new_secret(
    store: &Store,
    kind: sessions::Kind,
    now: Timestamp,
    life: Duration,
) -> Result<String, StoreError> {
    let secret =
        random_secret().map_err(|error| StoreError::Io { path: "randomness".into(), error })?;
    let hash = *Fingerprint::of(&secret).as_bytes();
    store.write(move |tx| sessions::add(tx, kind, &hash, now, now + life)).await?;
    Ok(secret)
}

/// `GET /login?code=…`: the page with the button.
pub(in crate::api) async fn page(request: Request) -> Response {
    let code = query::query_value(request.uri().query().unwrap_or_default(), "code");
    let body = match code {
        Some(code) => format!(
            "<form method=\"post\" action=\"/login\"><input type=\"hidden\" name=\"code\" \
             value=\"{}\"><button>Open Catchment</button></form>\
             <script src=\"/login.js\" type=\"module\"></script>",
            escape(&code)
        ),
        None => "<p>Run <code>catchment open</code> on the computer that Catchment runs on, and \
                 follow the link that it prints.</p>"
            .to_owned(),
    };
    html::page(StatusCode::OK, None, &body)
}

/// `POST /login`: exchanges the code for a session.
pub(in crate::api) async fn enter(
    State(app): State<App>,
    request: Request,
) -> Result<Response, ApiError> {
    let peer = address_of(request.extensions());
    let body = Bytes::from_request(request, &());
    let body = timeout(BODY_TIME, body).await.map_err(|_| json::late())?;
    let body = body.map_err(json::unreadable)?;
    let form = String::from_utf8_lossy(&body);
    let code = query::query_value(&form, "code").unwrap_or_default();
    let (hash, now) = (*Fingerprint::of(&code).as_bytes(), app.now());
    let store = &app.engine.store;
    // A right code lets in whoever else has sent wrong ones from the same address, which on this
    // computer is everybody's. Wrong ones do not reach the writer.
    let is_right = store.read(move |db| sessions::is_code(db, &hash, now)).await?
        && store.write(move |tx| sessions::take_code(tx, &hash, now)).await?;
    if !is_right {
        if let Some(seconds) = app.access.logins.wait_secs(peer) {
            return Err(ApiError::too_many("too many wrong codes", seconds));
        }
        app.access.logins.failed(peer);
        return Ok(html::page(
            StatusCode::FORBIDDEN,
            None,
            "<p>This link has been used, or is older than ten minutes. Run <code>catchment \
             open</code> for a new one.</p>",
        ));
    }
    let session = new_secret(store, sessions::Kind::Session, now, SESSION_LIFE).await?;
    let life = i64::try_from(SESSION_LIFE.as_secs()).unwrap_or(i64::MAX);
    let cookie = cookie(&app, session, life);
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())])
        .into_response())
}

/// `POST /logout`: ends the session.
pub(in crate::api) async fn leave(
    State(app): State<App>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(session) = app.access.session_of(request.headers()) {
        let hash = *Fingerprint::of(&session).as_bytes();
        app.engine.store.write(move |tx| sessions::end(tx, &hash)).await?;
    }
    let cookie = cookie(&app, String::new(), 0);
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())])
        .into_response())
}

fn cookie(app: &App, value: String, life_secs: i64) -> String {
    Cookie::build((app.access.cookie.clone(), value))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .build()
        .to_string()
        + &format!("; Max-Age={life_secs}")
}

/// The address of a request's other end; unknown ones count as one.
pub(super) fn address_of(extensions: &Extensions) -> std::net::IpAddr {
    let unknown = std::net::IpAddr::from([0, 0, 0, 0]);
    extensions.get::<Peer>().map_or(unknown, |peer| peer.0.ip())
}
