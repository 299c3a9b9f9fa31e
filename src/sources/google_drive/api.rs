//! One request to the API: signed in, within the budget of the connection, and sent again where the
//! API asks to slow down or stumbles.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    refusal::{Meaning, Refusal, Subject},
    resource_keys::{self, ResourceKeys},
};
use crate::{
    clock::SharedClock,
    sources::{
        SourceError,
        http::{Client, Usage, explanation, headers::text_of, read},
        oauth::{AccessToken, Grant},
    },
};

/// Units of the quota that a request takes
/// (<https://developers.google.com/workspace/drive/api/guides/limits>).
pub(super) mod units {
    pub(in super::super) const LIST: u32 = 100;
    pub(in super::super) const GET: u32 = 5;
    pub(in super::super) const DOWNLOAD: u32 = 200;
}

/// Units of a minute and user.
pub(super) const UNITS_PER_MINUTE: u32 = 325_000;

/// Folders that one query may list.
pub(super) const FOLDERS_AT_ONCE: usize = 50;

/// Largest JSON response: a thousand files, each with a description and properties.
const JSON_BYTES: usize = 64 * 1024 * 1024;

/// Most of an error's body that is read.
const REFUSAL_BYTES: usize = 256 * 1024;

/// How long one request may be asked to slow down before the run ends, to be due again later.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long the run is put off then, where the API does not say.
const PUT_OFF: Duration = Duration::from_secs(15 * 60);

/// How long one request is sent again to an API that has never responded: somebody may be waiting
/// for the reason.
const FIRST_PATIENCE: Duration = Duration::from_secs(100);

/// How often a request is sent again that the API stumbled over, before the API is asked for
/// something else: then it is down, or the request is at fault.
const STUMBLES: usize = 5;

/// The same where nothing comes, for which each try waits long already.
const SILENCES: usize = 1;

/// Longest page token, or token of changes, that is sent back: a few hundred bytes are usual, and
/// an address of more than 64 KiB is none.
const TOKEN_BYTES: usize = 16 * 1024;

/// Stands for a token of changes that cannot be sent back.
pub(super) const NO_TOKEN: &str = "";

/// Redirects of a download that are followed.
const REDIRECTS: usize = 3;

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The API, as one connection uses it.
pub(super) struct Api {
    pub(super) client: Client<Full<Bytes>>,
    pub(super) grant: Arc<Grant>,
    /// Scheme and host, without a slash at the end.
    pub(super) host: String,
    pub(super) clock: SharedClock,
    pub(super) keys: ResourceKeys,
}

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    units: u32,
    subject: Subject,
}

impl Call {
    pub(super) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = value.parse() {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn post(mut self, body: impl Into<Bytes>) -> Self {
        self.method = Method::POST;
        self.body = body.into();
        self
    }
}

impl Api {
    /// A request for a path below the host.
    pub(super) fn call(
        &self,
        subject: Subject,
        units: u32,
        path: &str,
        query: &[(&str, &str)],
    ) -> Call {
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)))
            .collect();
        let question = if pairs.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{question}{}", self.host, pairs.join("&"));
        let (method, headers, body) = (Method::GET, HeaderMap::new(), Bytes::new());
        Call { method, url, headers, body, units, subject }
    }

    /// The call with the resource keys of the files that it is about.
    pub(super) fn with_keys<'a>(&self, call: Call, ids: impl IntoIterator<Item = &'a str>) -> Call {
        match self.keys.header(ids) {
            Some(keys) => {
                call.header(header::HeaderName::from_static(resource_keys::HEADER), &keys)
            }
            None => call,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.client.meter().usage()
    }

    /// The JSON that a call returns.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, SourceError> {
        let (_, body) = self.whole(call).await?;
        serde_json::from_slice(&body).map_err(|error| SourceError::Garbled {
            message: format!("Google's response cannot be read: {error}"),
        })
    }

    /// The headers and the whole body that a call returns.
    pub(super) async fn whole(&self, call: Call) -> Result<(HeaderMap, Bytes), SourceError> {
        let (parts, body) = self.send(call).await?.into_parts();
        Ok((parts.headers, read(body, JSON_BYTES).await?))
    }

    /// Opens a download, which may be redirected.
    pub(super) async fn open(&self, call: Call) -> Result<Response<Incoming>, SourceError> {
        let mut call = call;
        for _ in 0..=REDIRECTS {
            let response = self.send(call.clone()).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = text_of(response.headers(), header::LOCATION.as_str()).unwrap_or_default();
            call = self.link(to)?;
        }
        let message = format!("a download is redirected more than {REDIRECTS} times");
        Err(SourceError::Permanent { message })
    }

    /// A download from an address that the API gave.
    pub(super) fn link(&self, url: &str) -> Result<Call, SourceError> {
        let is_safe = url.starts_with("https://") || url.starts_with(&format!("{}/", self.host));
        if !is_safe {
            let message = "Google names an address that is not https://".to_owned();
            return Err(SourceError::Permanent { message });
        }
        let (method, headers, body) = (Method::GET, HeaderMap::new(), Bytes::new());
        let (units, subject) = (units::DOWNLOAD, Subject::File);
        Ok(Call { method, url: url.to_owned(), headers, body, units, subject })
    }

    /// Whether the access token may be sent to an address: to the API's own host and to Google's.
    fn is_trusted(&self, uri: &Uri) -> bool {
        let host = uri.host().unwrap_or_default();
        let is_google = uri.scheme_str() == Some("https")
            && ["google.com", "googleapis.com"]
                .iter()
                .any(|domain| host == *domain || host.ends_with(&format!(".{domain}")));
        let own = self.host.parse::<Uri>().ok();
        let is_own = own
            .is_some_and(|own| own.scheme() == uri.scheme() && own.authority() == uri.authority());
        is_own || is_google
    }

    /// Sends a call until there is a success or a redirect, or an error that sending again does not
    /// help against.
    async fn send(&self, call: Call) -> Result<Response<Incoming>, SourceError> {
        let mut patience = Patience::new();
        let mut renewed = false;
        let mut token = self.token(None, &mut patience).await?;
        loop {
            if let Some(left) = self.client.budget().held_beyond(PATIENCE).await {
                return Err(self.held("Google wants no requests until then", left));
            }
            let sent = self.client.send(self.request(&call, &token)?, call.units).await;
            let response = match sent {
                Ok(response) => response,
                Err(
                    error @ (SourceError::Transient { .. }
                    | SourceError::Timeout { .. }
                    | SourceError::Unresolved { .. }),
                ) => {
                    self.stumbled(call.subject, error, &token, &mut patience).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if response.status().is_success() || is_redirect(response.status()) {
                return Ok(response);
            }
            match self.refusal(response).await.meaning(call.subject, self.clock.now()) {
                Meaning::Unauthorized(error) if renewed => return Err(error),
                Meaning::Unauthorized(_) => {
                    token = self.token(Some(&token), &mut patience).await?;
                    renewed = true;
                }
                Meaning::SlowDown(asked) => {
                    self.client.meter().was_limited();
                    let is_over = patience.is_over(&self.client);
                    if is_over || asked.is_some_and(|asked| asked > PATIENCE) {
                        let wait = asked.unwrap_or(PUT_OFF);
                        return Err(self.put_off("Google keeps asking to slow down", wait));
                    }
                    self.client.budget().hold(asked.unwrap_or_else(|| patience.next_wait()));
                }
                Meaning::Stumbled(error) => {
                    self.stumbled(call.subject, error, &token, &mut patience).await?;
                }
                Meaning::Final(error) => {
                    if let SourceError::Held { until, .. } = &error {
                        let wait = until.duration_since(self.clock.now());
                        self.client.budget().rest(Duration::try_from(wait).unwrap_or_default());
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The API stumbled over a request, or did not respond: waits before it is sent again, unless
    /// that is the request's fault, or the outage has lasted too long. Then the run is to be
    /// continued later, and nobody is to blame.
    async fn stumbled(
        &self,
        subject: Subject,
        error: SourceError,
        token: &AccessToken,
        patience: &mut Patience,
    ) -> Result<(), SourceError> {
        let most = match &error {
            SourceError::Timeout { .. } => SILENCES,
            _ => STUMBLES,
        };
        if patience.stumbles >= most && self.is_up(token).await {
            return Err(given_up(subject, error));
        }
        if patience.is_over(&self.client) {
            return Err(self.put_off(&error.to_string(), PUT_OFF));
        }
        patience.stumbles += 1;
        tokio::time::sleep(patience.next_wait()).await;
        Ok(())
    }

    /// The access token, or another one in the place of one that was refused. That the sign-in
    /// server stumbles is nobody's failure either.
    async fn token(
        &self,
        refused: Option<&AccessToken>,
        patience: &mut Patience,
    ) -> Result<AccessToken, SourceError> {
        loop {
            let error = match refused {
                None => self.grant.token().await,
                Some(refused) => self.grant.token_after(refused).await,
            };
            let (message, asked) = match error {
                Err(SourceError::RateLimited { message, retry_after }) => (message, retry_after),
                Err(SourceError::Transient { message } | SourceError::Timeout { message }) => {
                    (message, None)
                }
                outcome => return outcome,
            };
            let is_over = patience.is_over(&self.client);
            if is_over || asked.is_some_and(|asked| asked > PATIENCE) {
                return Err(self.put_off(&message, asked.unwrap_or(PUT_OFF)));
            }
            tokio::time::sleep(asked.unwrap_or_else(|| patience.next_wait())).await;
        }
    }

    /// Whether the API responds to a request that it has no reason to stumble over.
    async fn is_up(&self, token: &AccessToken) -> bool {
        let call = self.call(Subject::Root, units::GET, "/drive/v3/about", &[("fields", "kind")]);
        let Ok(request) = self.request(&call, token) else { return false };
        let response = self.client.send(request, call.units).await;
        response.is_ok_and(|response| !response.status().is_server_error())
    }

    /// Lets the connection rest; returns the error with which the run ends.
    fn put_off(&self, message: &str, wait: Duration) -> SourceError {
        self.client.budget().rest(wait);
        self.held(message, wait)
    }

    fn held(&self, message: &str, wait: Duration) -> SourceError {
        SourceError::Held { message: message.to_owned(), until: self.clock.now() + wait }
    }

    fn request(
        &self,
        call: &Call,
        token: &AccessToken,
    ) -> Result<Request<Full<Bytes>>, SourceError> {
        let wrong = |error: &dyn std::fmt::Display| SourceError::Permanent {
            message: format!("Google cannot be asked: {error}"),
        };
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.url)
            .body(Full::new(call.body.clone()))
            .map_err(|error| wrong(&error))?;
        let is_trusted = self.is_trusted(request.uri());
        let headers = request.headers_mut();
        headers.extend(call.headers.clone());
        if is_trusted {
            let bearer = format!("Bearer {}", token.expose());
            let mut value: header::HeaderValue = bearer
                .parse()
                .map_err(|_| wrong(&"the access token is not text that a header can hold"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn refusal(&self, response: Response<Incoming>) -> Refusal {
        let (parts, body) = response.into_parts();
        let bytes = explanation(body, REFUSAL_BYTES).await;
        Refusal::parse(parts.status, &parts.headers, &bytes, self.clock.now())
    }
}

/// The error of a request that fails again and again while the API responds to others.
fn given_up(subject: Subject, error: SourceError) -> SourceError {
    match subject {
        Subject::File => SourceError::Permanent { message: error.to_string() },
        Subject::Root | Subject::Feed => error,
    }
}

/// How long a request has been asked to wait, and how long it waits next.
struct Patience {
    began: Instant,
    /// How often the API has stumbled over it.
    stumbles: usize,
    waits: ExponentialBackoff,
}

impl Patience {
    const LONGEST_WAIT: Duration = Duration::from_secs(64);

    fn new() -> Self {
        let waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Self::LONGEST_WAIT)
            .with_jitter()
            .without_max_times();
        Self { began: Instant::now(), stumbles: 0, waits: waits.build() }
    }

    fn is_over(&self, client: &Client<Full<Bytes>>) -> bool {
        let longest = if client.has_responded() { PATIENCE } else { FIRST_PATIENCE };
        self.began.elapsed() > longest
    }

    fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(Self::LONGEST_WAIT)
    }
}

/// Whether a token can be sent back.
pub(super) fn is_token(token: &str) -> bool {
    (1..=TOKEN_BYTES).contains(&token.len())
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
