//! One URL that a source's data names: fetched with care, because whoever wrote the data chose it.
//!
//! Only `http` and `https`; no address of this machine, its networks or its cloud, unless the
//! configuration allows those; bounded in size, time and redirects, each of which is checked like
//! the first. A connection goes to the very address that was checked, so a name that resolves to
//! another one a moment later (DNS rebinding) gains nothing. Behind a proxy it is the proxy that
//! resolves the name; one that resolves here to such an address is refused all the same. No
//! cookies, no credentials.

mod address;

pub(super) use address::is_public;

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, BodyStream, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{
            HttpConnector,
            dns::{GaiResolver, Name},
        },
    },
    rt::{TokioExecutor, TokioTimer},
};
use tower::Service;
use url::{Host, Url};

use super::{
    ErrorClass,
    http::{Connect, Resolver, Tcp},
    retry::Classified,
};
use crate::model::ErrorType;

/// Most bytes of one URL.
const MOST_BYTES: u64 = 1 << 30;
/// How long one URL may take from its first request to its last byte.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Fetches URLs. Clones share connections.
#[derive(Clone, Debug)]
pub struct Web {
    allow_private: bool,
    /// How long a server may take to begin its answer.
    answer_timeout: Duration,
    proxies: Connect,
    /// Made with the first URL: it loads root certificates, which many installations never need.
    client: Arc<OnceLock<Result<WebClient, String>>>,
}

type WebClient = Client<HttpsConnector<Connect<Guard>>, Empty<Bytes>>;

/// An opened URL.
pub struct WebContent {
    /// The MIME type that the server says it is of.
    pub mime: Option<String>,
    /// The last part of the path that it came from.
    pub filename: Option<String>,
    /// Its bytes.
    pub body: BoxStream<'static, Result<Bytes, WebError>>,
}

/// Why a URL cannot be had. No message holds its query, which may be a signature.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WebError {
    /// It is not one that may be fetched.
    #[error("{0}")]
    Refused(String),
    /// It has more bytes than are taken.
    #[error("it has more than {MOST_BYTES} bytes")]
    TooLarge,
    /// There is nothing.
    #[error("the server has nothing there ({0})")]
    Missing(StatusCode),
    /// Its server wants credentials.
    #[error("the server refuses it ({0}); only what is public can be fetched")]
    Denied(StatusCode),
    /// Its server asks to slow down.
    #[error("the server asks to slow down")]
    RateLimited,
    /// No answer in time.
    #[error("{0}")]
    Timeout(String),
    /// Worth another try.
    #[error("{0}")]
    Transient(String),
    /// No use to try again.
    #[error("{0}")]
    Permanent(String),
}

impl WebError {
    /// How the API names it on a dead letter.
    #[must_use]
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Refused(_) => ErrorType::ValidationError,
            Self::TooLarge => ErrorType::TooLarge,
            Self::Missing(_) => ErrorType::NotFound,
            Self::Denied(_) => ErrorType::PermissionDenied,
            Self::RateLimited => ErrorType::RateLimited,
            Self::Timeout(_) => ErrorType::Timeout,
            Self::Transient(_) | Self::Permanent(_) => ErrorType::DownloadFailed,
        }
    }
}

impl Classified for WebError {
    /// Never that of an entry that is gone, or of a connection that fails: the entry is there, and
    /// it is another server that answers.
    fn class(&self) -> ErrorClass {
        match self {
            Self::RateLimited | Self::Timeout(_) | Self::Transient(_) => ErrorClass::RetryBriefly,
            _ => ErrorClass::Entry,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }

    fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }
}

/// A URL as it may be shown: without its query, which may be a signature.
#[must_use]
pub fn without_query(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => format!(
            "{}://{}{}",
            url.scheme(),
            url.host_str().unwrap_or_default(),
            url.path().chars().take(200).collect::<String>()
        ),
        Err(_) => url.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect(),
    }
}

impl Web {
    /// A fetcher that gives servers so long to begin their responses; with `allow_private`,
    /// addresses of this machine and its networks too.
    #[must_use]
    pub fn new(allow_private: bool, answer_timeout: Duration) -> Self {
        let proxies = Connect::new(Tcp::new_with_resolver(Resolver::new()));
        Self { allow_private, answer_timeout, proxies, client: Arc::default() }
    }

    /// Opens a URL.
    ///
    /// # Errors
    /// See [`WebError`].
    pub async fn open(&self, url: &str) -> Result<WebContent, WebError> {
        let client = self.client()?;
        let mut url = self.checked(Url::parse(url).map_err(|error| {
            WebError::Refused(format!("it is no URL ({error}): write http://… or https://…"))
        })?)?;
        for _ in 0..=REDIRECTS {
            self.vet(&url).await?;
            let answer = request(client, &url, self.answer_timeout).await?;
            match answer.status() {
                status if status.is_success() => return content(&url, answer),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = self.next(&url, answer.headers())?,
                status => return Err(refusal(status)),
            }
        }
        Err(WebError::Permanent(format!("it is redirected more than {REDIRECTS} times")))
    }

    /// Refuses a name that leads to an address which may not be reached, where a proxy will connect
    /// to it. A name that does not resolve here is left to the proxy.
    async fn vet(&self, url: &Url) -> Result<(), WebError> {
        let uri = url.as_str().parse().unwrap_or_default();
        let is_proxied = !self.allow_private && self.proxies.is_proxied(&uri);
        let Some(Host::Domain(name)) = url.host().filter(|_| is_proxied) else { return Ok(()) };
        let Ok(found) = tokio::net::lookup_host((name, 0)).await else { return Ok(()) };
        let mut found = found.map(|address| address.ip());
        match found.all(address::is_public) {
            true => Ok(()),
            false => Err(WebError::Refused(not_public(name))),
        }
    }

    fn client(&self) -> Result<&WebClient, WebError> {
        let client = self.client.get_or_init(|| build(self.allow_private));
        client.as_ref().map_err(|message| WebError::Permanent(message.clone()))
    }

    /// The URL, as far as its text shows that it may be fetched.
    fn checked(&self, url: Url) -> Result<Url, WebError> {
        let refused = |message: &str| Err(WebError::Refused(message.to_owned()));
        if !matches!(url.scheme(), "http" | "https") {
            return refused("only http:// and https:// are fetched");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("it has a user name or password in it");
        }
        // A name is checked where it is resolved; an address never comes by there.
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) => None,
            None => return refused("it has no host"),
        };
        match address {
            Some(address) if !self.allow_private && !address::is_public(address) => {
                Err(WebError::Refused(not_public(&address.to_string())))
            }
            _ => Ok(url),
        }
    }

    fn next(&self, from: &Url, headers: &HeaderMap) -> Result<Url, WebError> {
        let to = headers
            .get(header::LOCATION)
            .and_then(|to| to.to_str().ok())
            .and_then(|to| from.join(to).ok())
            .ok_or_else(|| WebError::Permanent("it is redirected to nowhere".to_owned()))?;
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(WebError::Refused("it is redirected from https:// to http://".to_owned()));
        }
        self.checked(to)
    }
}

fn not_public(host: &str) -> String {
    format!(
        "{host} is an address of this machine or a private network; allow_private_urls in \
         config.toml lets such URLs be fetched"
    )
}

fn build(allow_private: bool) -> Result<WebClient, String> {
    let guard = Guard { resolver: GaiResolver::new(), allow_private };
    let mut tcp = HttpConnector::new_with_resolver(guard);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("no root certificates to check servers with: {error}"))?;
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(10))
        .http1_max_buf_size(128 * 1024)
        .build(tls.https_or_http().enable_http1().wrap_connector(Connect::new(tcp))))
}

async fn request(
    client: &WebClient,
    url: &Url,
    timeout: Duration,
) -> Result<http::Response<Incoming>, WebError> {
    let mut bare = url.clone();
    bare.set_fragment(None);
    let request = Request::get(bare.as_str())
        .header(header::USER_AGENT, concat!("catchment/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .body(Empty::new())
        .map_err(|error| WebError::Permanent(format!("it cannot be requested: {error}")))?;
    match tokio::time::timeout(timeout, client.request(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unreachable(&error)),
        Err(_) => Err(WebError::Timeout(format!("no answer within {} seconds", timeout.as_secs()))),
    }
}

/// No answer at all: because we would not go there, or because nobody was there.
fn unreachable(error: &hyper_util::client::legacy::Error) -> WebError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut words = String::new();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<WebError>() {
            return refused.clone();
        }
        words = error.to_string();
        cause = error.source();
    }
    WebError::Transient(format!("its server cannot be reached: {words}"))
}

fn refusal(status: StatusCode) -> WebError {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => WebError::Missing(status),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => WebError::Denied(status),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => WebError::RateLimited,
        status if status.is_server_error() => {
            WebError::Transient(format!("its server answers {status}"))
        }
        status => WebError::Permanent(format!("its server answers {status}")),
    }
}

fn content(url: &Url, answer: http::Response<Incoming>) -> Result<WebContent, WebError> {
    let (parts, body) = answer.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let announced = header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MOST_BYTES) {
        return Err(WebError::TooLarge);
    }
    let filename = url
        .path_segments()
        .and_then(|mut segments| segments.next_back())
        .map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned())
        .filter(|name| !name.is_empty());
    let mut taken = 0;
    let body = BodyStream::new(
        body.map_err(|error| WebError::Transient(format!("the connection broke: {error}"))),
    )
    .map(move |frame| {
        let bytes = frame?.into_data().unwrap_or_default();
        taken += bytes.len() as u64;
        if taken > MOST_BYTES { Err(WebError::TooLarge) } else { Ok(bytes) }
    });
    Ok(WebContent {
        mime: header(header::CONTENT_TYPE).map(str::to_owned),
        filename,
        body: body.boxed(),
    })
}

/// Resolves names, and keeps back the addresses that are not to be reached. The connection is made
/// to one of those that come out here, and to no other.
#[derive(Clone)]
struct Guard {
    resolver: GaiResolver,
    allow_private: bool,
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future =
        Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.resolver.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.to_string();
        let resolving = self.resolver.call(name);
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = resolving.await?.collect();
            let may_be_reached =
                |place: &SocketAddr| allow_private || address::is_public(place.ip());
            // One that may not be reached condemns the name: it is not a public one.
            match found.iter().all(may_be_reached) {
                true => Ok(found.into_iter()),
                false => Err(WebError::Refused(not_public(&host)).into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn refused(url: &str) -> bool {
        matches!(
            Web::new(false, Duration::from_secs(30)).open(url).await,
            Err(WebError::Refused(_))
        )
    }

    #[tokio::test]
    async fn no_address_of_this_machine_or_its_networks_is_reached_however_it_is_spelled() {
        for url in [
            "http://127.0.0.1/",
            "http://localhost:1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://100.64.0.1/",
            "http://0.0.0.0/",
            "http://224.0.0.1/",
            "http://[fe80::1]/",
            "http://[fd00::1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "file:///etc/passwd",
            "ftp://example.com/",
            "gopher://example.com/",
            "http://user:password@example.com/",
            "no url",
        ] {
            assert!(refused(url).await, "{url}");
        }
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_signature() {
        assert_eq!(without_query("https://a.example/b?X-Amz-Signature=s#f"), "https://a.example/b");
        assert_eq!(without_query("not a url?secret"), "not a url");
        assert_eq!(without_query("https://u:p@a.example/"), "https://a.example/");
    }
}
