//! One request to the API, within the budget of the connection and sent again where the API asks to
//! slow down or stumbles; and downloads from the hosts of storages, which never get our
//! credentials.

use std::{net::IpAddr, sync::OnceLock, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use url::{Host, Url};

use super::refusal::{About, Meaning, meaning};
use crate::{
    clock::SharedClock,
    sources::{
        ByteRange, SourceError,
        http::{Budget, Client, USER_AGENT, Usage, explanation, headers::text_of, read},
        web::is_public,
    },
};

/// Requests a minute, where nobody names a limit: less than half of what Iconik allows.
pub(super) const REQUESTS_PER_MINUTE: u32 = 20 * 60;

/// Requests that Iconik allows at once, where a response says how many are left and not of how
/// many.
const ALLOWED: u64 = 50;

/// Largest JSON response: a thousand assets with their metadata and files.
const JSON_BYTES: usize = 64 * 1024 * 1024;

/// Most of an error's body that is read.
pub(super) const REFUSAL_BYTES: usize = 64 * 1024;

/// How long one request may be asked to slow down before the run ends, to be due again later.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long the run is put off then, where the API does not say.
const PUT_OFF: Duration = Duration::from_secs(15 * 60);

/// How often a request is sent again that the API stumbled over.
const STUMBLES: usize = 5;

/// Redirects of a download that are followed.
const REDIRECTS: usize = 5;

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The API, as one connection uses it.
pub(super) struct Api {
    client: Client<Full<Bytes>>,
    storage: Storage,
    base: Base,
    app_id: HeaderValue,
    auth_token: HeaderValue,
    clock: SharedClock,
}

/// Scheme and host of the API, without a slash at the end.
pub(super) struct Base {
    url: Url,
    text: String,
}

/// Clients for hosts that are not the API's. They keep to no budget, for it is the API's.
#[derive(Default)]
struct Storage {
    plain: OnceLock<Client<Full<Bytes>>>,
    tls: OnceLock<Client<Full<Bytes>>>,
}

impl Storage {
    fn client(&self, is_plain: bool) -> Result<&Client<Full<Bytes>>, SourceError> {
        let place = if is_plain { &self.plain } else { &self.tls };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = Client::new(is_plain, USER_AGENT, std::sync::Arc::new(Budget::default()))?;
        Ok(place.get_or_init(|| client))
    }

    fn requests(&self) -> u64 {
        let used = [&self.plain, &self.tls].into_iter().filter_map(OnceLock::get);
        used.map(|client| client.meter().usage().requests).sum()
    }
}

impl Base {
    /// Reads a `base_url`, with or without `/API` at its end.
    ///
    /// # Errors
    /// When it is none, or would carry the token over a network in plain text.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let wrong = |problem: &str| SourceError::Misconfigured {
            message: format!("base_url {text:?} {problem}"),
        };
        let text = text.trim_end_matches('/');
        let text = text.strip_suffix("/API").unwrap_or(text);
        let url = Url::parse(text).map_err(|error| wrong(&format!("is no address: {error}")))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(wrong("has to be https://…; http:// only leads to this machine")),
        }
        Ok(Self { text: text.to_owned(), url })
    }

    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Whether a host has an address of this machine or a private network, as far as that can be told
/// here: behind a proxy, names need not resolve.
async fn is_private(url: &Url) -> bool {
    let is_special = |address: IpAddr| !is_public(address);
    match url.host() {
        Some(Host::Ipv4(address)) => is_special(address.into()),
        Some(Host::Ipv6(address)) => is_special(address.into()),
        Some(Host::Domain(name)) => {
            let port = url.port_or_known_default().unwrap_or(443);
            let found = tokio::net::lookup_host((name, port)).await;
            found.is_ok_and(|mut all| all.any(|address| is_special(address.ip())))
        }
        None => true,
    }
}

/// The secrets of a connection, as headers.
pub(super) struct Token {
    pub(super) app_id: HeaderValue,
    pub(super) auth_token: HeaderValue,
}

impl Api {
    pub(super) fn new(
        base: Base,
        token: Token,
        budget: std::sync::Arc<Budget>,
        clock: SharedClock,
    ) -> Result<Self, SourceError> {
        let client = Client::new(base.url.scheme() == "http", USER_AGENT, budget)?;
        let Token { app_id, auth_token } = token;
        Ok(Self { client, storage: Storage::default(), base, app_id, auth_token, clock })
    }

    pub(super) const fn base(&self) -> &Base {
        &self.base
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn usage(&self) -> Usage {
        let usage = self.client.meter().usage();
        Usage { requests: usage.requests + self.storage.requests(), ..usage }
    }

    /// The JSON at a path, which ends with a slash.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        about: About,
    ) -> Result<T, SourceError> {
        self.json(Method::GET, path, query, Bytes::new(), about).await
    }

    /// The JSON that a path, which ends with a slash, returns for a body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &Value,
        about: About,
    ) -> Result<T, SourceError> {
        self.json(Method::POST, path, query, Bytes::from(body.to_string()), about).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Bytes,
        about: About,
    ) -> Result<T, SourceError> {
        let pairs: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)))
            .collect();
        let question = if pairs.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{question}{}", self.base.text, pairs.join("&"));
        let response = self.send(&method, &url, &body, about).await?;
        let body = read(response.into_body(), JSON_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| SourceError::Garbled {
            message: format!("Iconik's response cannot be read: {error}"),
        })
    }

    /// Sends a request until there is a success, or an error that sending again does not help
    /// against.
    async fn send(
        &self,
        method: &Method,
        url: &str,
        body: &Bytes,
        about: About,
    ) -> Result<Response<Incoming>, SourceError> {
        let began = Instant::now();
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(32))
            .with_jitter()
            .without_max_times()
            .build();
        let mut wait = || waits.next().unwrap_or(Duration::from_secs(32));
        let mut stumbles = 0;
        loop {
            let request = self.request(method, url, body)?;
            let error = match self.client.send(request, 1).await {
                Ok(response) if response.status().is_success() => {
                    self.mind(response.headers());
                    return Ok(response);
                }
                Ok(response) => {
                    self.mind(response.headers());
                    let (parts, body) = response.into_parts();
                    let body = explanation(body, REFUSAL_BYTES).await;
                    let now = self.clock.now();
                    match meaning(parts.status, &parts.headers, &body, about, now) {
                        Meaning::SlowDown(asked) => {
                            self.client.meter().was_limited();
                            let is_long = asked.is_some_and(|asked| asked > PATIENCE);
                            if is_long || began.elapsed() > PATIENCE {
                                return Err(self.held(asked.unwrap_or(PUT_OFF)));
                            }
                            self.client.budget().hold(asked.unwrap_or_else(&mut wait));
                            continue;
                        }
                        Meaning::Stumbled(error) => error,
                        Meaning::Final(error) => return Err(error),
                    }
                }
                Err(error @ (SourceError::Transient { .. } | SourceError::Timeout { .. })) => error,
                Err(error) => return Err(error),
            };
            if stumbles == STUMBLES {
                return Err(error);
            }
            stumbles += 1;
            tokio::time::sleep(wait()).await;
        }
    }

    fn held(&self, wait: Duration) -> SourceError {
        SourceError::Held {
            message: "Iconik keeps asking to slow down".to_owned(),
            until: self.clock.now() + wait,
        }
    }

    fn request(
        &self,
        method: &Method,
        url: &str,
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, SourceError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header("App-ID", self.app_id.clone())
            .header("Auth-Token", self.auth_token.clone());
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body.clone())).map_err(|error| SourceError::Permanent {
            message: format!("Iconik cannot be asked: {error}"),
        })
    }

    /// Slows everybody down before the API has to: when less than a tenth is left of what it
    /// allows.
    fn mind(&self, headers: &HeaderMap) {
        let number = |name: &str| text_of(headers, name)?.trim().parse::<u64>().ok();
        let Some(remaining) = number("ratelimit-remaining") else { return };
        let limit = number("ratelimit-limit").unwrap_or(ALLOWED);
        if remaining.saturating_mul(10) >= limit {
            return;
        }
        let reset = Duration::from_secs(number("ratelimit-reset").unwrap_or(1).clamp(1, 60));
        let left = u32::try_from(remaining.max(1)).unwrap_or(u32::MAX);
        self.client.budget().hold(reset / left);
    }

    /// Opens an address that the API gave for a download. It carries its own permission: no header
    /// of ours goes there.
    pub(super) async fn download(
        &self,
        address: &str,
        range: Option<ByteRange>,
    ) -> Result<Response<Incoming>, SourceError> {
        let no_address = |_| SourceError::Garbled {
            message: "Iconik's address of a download is no address".to_owned(),
        };
        let mut url =
            Url::parse(address).or_else(|_| self.base.url.join(address)).map_err(no_address)?;
        for _ in 0..=REDIRECTS {
            self.check(&url).await?;
            let mut request = Request::get(url.as_str());
            if let Some(ByteRange { start, len }) = range {
                let last = start + len.saturating_sub(1);
                request = request.header(header::RANGE, format!("bytes={start}-{last}"));
            }
            let request = request.body(Full::default()).map_err(|_| SourceError::Garbled {
                message: "Iconik's address of a download is no address".to_owned(),
            })?;
            let response = self.storage.client(url.scheme() == "http")?.send(request, 1).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = text_of(response.headers(), header::LOCATION.as_str()).unwrap_or_default();
            url = url.join(to).map_err(no_address)?;
        }
        let message = format!("a download is redirected more than {REDIRECTS} times");
        Err(SourceError::Permanent { message })
    }

    /// Addresses of this machine and of private networks are those of storage on the premises: they
    /// belong to an Iconik that is there, too.
    async fn check(&self, url: &Url) -> Result<(), SourceError> {
        let refused = |message: &str| {
            let host = url.host_str().unwrap_or_default();
            Err(SourceError::Permanent {
                message: format!("Iconik gives an address at {host} for a download, {message}"),
            })
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("with a user name or password in it");
        }
        let base_is_private = is_private(&self.base.url).await;
        match url.scheme() {
            "https" => {}
            "http" if base_is_private => {}
            _ => return refused("which is not https://"),
        }
        if !base_is_private && is_private(url).await {
            return refused("which is this machine or a private network");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_download_leads_to_a_private_network_only_where_the_api_is_in_one() {
        let header = HeaderValue::from_static("x");
        let api = |base: &str| {
            let token = Token { app_id: header.clone(), auth_token: header.clone() };
            let clock = std::sync::Arc::new(crate::clock::SystemClock);
            Api::new(Base::parse(base).unwrap(), token, std::sync::Arc::default(), clock).unwrap()
        };
        let allows =
            async |base: &str, url: &str| api(base).check(&Url::parse(url).unwrap()).await.is_ok();
        let (public, private) = ("https://8.8.8.8", "http://127.0.0.1:8080");
        assert!(allows(public, "https://8.8.4.4/bucket/a").await);
        for url in [
            "http://8.8.4.4/a",
            "https://127.0.0.1/a",
            "https://10.0.0.1/a",
            "https://169.254.169.254/a",
            "https://[::1]/a",
            "https://user:word@8.8.4.4/a",
            "ftp://8.8.4.4/a",
        ] {
            assert!(!allows(public, url).await, "{url}");
        }
        assert!(allows(private, "http://10.0.0.1/a").await);
        assert!(!allows(private, "http://user@10.0.0.1/a").await);
    }

    #[test]
    fn a_base_url_is_https_or_this_machine_and_may_end_with_api() {
        for (given, base) in [
            ("https://app.iconik.io", "https://app.iconik.io"),
            ("https://eu.iconik.io/API/", "https://eu.iconik.io"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(Base::parse(given).unwrap().text, base);
        }
        for wrong in ["http://iconik.example.org", "ftp://x", "nonsense", "http://10.0.0.1"] {
            assert!(Base::parse(wrong).is_err(), "{wrong}");
        }
    }
}
