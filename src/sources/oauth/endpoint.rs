//! One request to an authorization server: a form is sent, a JSON object comes back.
//!
//! Nothing that was sent or received as a secret is in an error's message, even where the server
//! repeats it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use url::form_urlencoded;

use crate::sources::{
    SourceError,
    http::{Connect, Resolver, Tcp, headers::LONGEST_WAIT},
};

/// How long an authorization server may take. Shorter than the lease on renewing credentials.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The longest answer that is read, in bytes.
const MOST_BYTES: usize = 256 * 1024;
/// The longest that a server's explanation is repeated, in characters.
const MOST_WORDS: usize = 300;

const USER_AGENT: &str = concat!("Catchment/", env!("CARGO_PKG_VERSION"));

type HttpClient = Client<HttpsConnector<Connect>, Full<Bytes>>;

/// Asks authorization servers. Clones share connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoint {
    /// Made with the first request: it loads root certificates, which many installations never
    /// need.
    client: Arc<OnceLock<Result<HttpClient, String>>>,
}

/// The fields of a request.
#[derive(Clone, Default)]
pub struct Form(Vec<(&'static str, SecretString)>);

impl Form {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Adds a field, if it has a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<&SecretString>) -> Self {
        match value {
            Some(value) => self.with(name, value.expose_secret()),
            None => self,
        }
    }

    fn encoded(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &self.0 {
            form.append_pair(name, value.expose_secret());
        }
        form.finish()
    }

    /// `text` without anything that this form says in confidence.
    fn redact(&self, text: &str) -> String {
        const SECRET: [&str; 6] =
            ["client_secret", "refresh_token", "code", "code_verifier", "assertion", "device_code"];
        let secrets = self.0.iter().filter(|(name, _)| SECRET.contains(name));
        secrets.fold(text.to_owned(), |text, (_, secret)| match secret.expose_secret() {
            "" => text,
            secret => text.replace(secret, "[redacted]"),
        })
    }
}

/// Names the fields, not what they hold.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A token response (RFC 6749, section 5.1).
#[derive(Debug, Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: SecretString,
    /// How long the access token lives, in seconds.
    #[serde(default = "an_hour")]
    pub(super) expires_in: u64,
    /// In the place of the one that was sent, or for the first time.
    pub(super) refresh_token: Option<SecretString>,
    /// What was granted, separated by spaces; absent where that is what was asked for.
    pub(super) scope: Option<String>,
}

const fn an_hour() -> u64 {
    3600
}

/// An error response (RFC 6749, section 5.2), with what Microsoft adds to it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// The error's name, as in `invalid_grant`.
    pub error: String,
    /// What the server says about it, redacted and bounded.
    pub description: String,
    /// Microsoft's numbers, as in 7000222.
    pub codes: Vec<u64>,
    /// How long the server asks us to wait, in seconds.
    pub retry_after: Option<u64>,
}

/// Why there is no response to use.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server says no.
    Refused(Refusal),
    /// The server could not be asked, or makes no sense.
    Failed(SourceError),
}

impl Endpoint {
    /// Posts a form and reads the response.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        form: &Form,
    ) -> Result<T, Failure> {
        let host = url.split('/').nth(2).unwrap_or_default();
        match tokio::time::timeout(PATIENCE, self.exchange(url, host, form)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Failed(SourceError::Timeout {
                message: format!("{host} did not answer in {} s", PATIENCE.as_secs()),
            })),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        url: &str,
        host: &str,
        form: &Form,
    ) -> Result<T, Failure> {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::from(form.encoded()))
            .map_err(|error| misconfigured(format!("{host}: {error}")))?;
        let unreachable = |error: &dyn std::error::Error| {
            let message = format!("cannot reach {host}: {}", innermost(error));
            Failure::Failed(SourceError::Transient { message })
        };
        let answer = self.client()?.request(request).await.map_err(|error| unreachable(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(&*error))?.to_bytes();
        if !parts.status.is_success() {
            return Err(Failure::Refused(refusal(parts.status, &parts.headers, &body, form)));
        }
        serde_json::from_slice(&body).map_err(|_| {
            let message = format!("{host} answered with something that is no token response");
            Failure::Failed(SourceError::Garbled { message })
        })
    }

    fn client(&self) -> Result<&HttpClient, Failure> {
        let client = self.client.get_or_init(build);
        client.as_ref().map_err(|message| misconfigured(message.clone()))
    }
}

fn build() -> Result<HttpClient, String> {
    let mut tcp = Tcp::new_with_resolver(Resolver::new());
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
        format!(
            "no root certificates to check servers with (on Debian they come with \
             ca-certificates): {error}"
        )
    })?;
    let connector = tls.https_or_http().enable_http1().wrap_connector(Connect::new(tcp));
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_ALIVE)
        .build(connector))
}

fn misconfigured(message: String) -> Failure {
    Failure::Failed(SourceError::Misconfigured { message })
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], form: &Form) -> Refusal {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        error: String,
        error_description: String,
        error_codes: Vec<u64>,
    }
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    Refusal {
        status,
        error: sanitized(&form.redact(&said.error)),
        description: sanitized(&form.redact(&said.error_description)),
        codes: said.error_codes,
        retry_after: headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.trim().parse().ok())
            .map(|seconds: u64| seconds.min(LONGEST_WAIT.as_secs())),
    }
}

/// A server's words as they may be shown: their first line, bounded, without control characters.
pub(super) fn sanitized(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MOST_WORDS).collect()
}
