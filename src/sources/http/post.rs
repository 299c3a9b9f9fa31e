//! One POST to an address that a person gave: of a webhook, or of a service that extracts. It
//! follows no redirect, reaches no cloud's metadata, and reads a response up to a limit.
//!
//! Addresses of this machine and of private networks are allowed: what stands there is what such an
//! address is for. A connection goes to the very address that was checked, so a name that resolves
//! to another one a moment later gains nothing.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;
use url::{Host, Url};

use super::{Connect, Resolver, Tcp, USER_AGENT, causes};

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type Pool = Client<HttpsConnector<Connect<Guard>>, Full<Bytes>>;

/// Sends POSTs. Clones share connections.
#[derive(Clone, Debug)]
pub struct Poster {
    proxies: Connect,
    /// Made with the first one: it loads root certificates, which many installations never need.
    pool: Arc<OnceLock<Result<Pool, String>>>,
}

/// A POST.
#[derive(Clone, Debug)]
pub struct Post {
    /// Where to, see [`address`].
    pub url: Url,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// How long it may take, response and all.
    pub timeout: Duration,
    /// The longest response that is read, in bytes.
    pub limit: usize,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The status, whatever it is.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostError {
    /// The address must not be reached.
    #[error("{0}")]
    Refused(String),
    /// Nobody is there.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// Whom.
        host: String,
        /// Why not.
        why: String,
    },
    /// It took too long.
    #[error("no response within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection broke in the middle of the response.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The response is too long.
    #[error("the response is longer than {limit} bytes")]
    TooLong {
        /// Its status.
        status: StatusCode,
        /// How long it may be.
        limit: usize,
    },
}

/// The address that a text is, as far as the text shows that it may be reached.
///
/// # Errors
/// Why it cannot be used.
pub fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or password in it".to_owned());
    }
    // A name is checked where it is resolved; an address never comes by there.
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) => None,
        None => return Err("has no host".to_owned()),
    };
    match literal {
        Some(address) if is_metadata(address) => Err(leads_to_metadata(&address.to_string())),
        _ => Ok(url),
    }
}

fn leads_to_metadata(host: &str) -> String {
    format!("{host} is an address at which clouds tell machines their secrets: it is never reached")
}

/// Whether clouds give machines their secrets there: link-local addresses, and the few others in
/// use.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_metadata_v4(address),
        IpAddr::V6(address) => {
            let [a, b, .., g, h] = address.segments();
            // NAT64 (RFC 6052) and 6to4 carry an IPv4 address inside.
            let inner = match (a, b) {
                (0x64, 0xff9b) => Some((g, h)),
                (0x2002, _) => Some((b, address.segments()[2])),
                _ => None,
            };
            let inner =
                inner.map(|(high, low)| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
            let inner = inner.or_else(|| address.to_ipv4_mapped());
            let of_aws = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            address.is_unicast_link_local()
                || address == of_aws
                || inner.is_some_and(is_metadata_v4)
        }
    }
}

fn is_metadata_v4(address: Ipv4Addr) -> bool {
    // Of Alibaba Cloud.
    address.is_link_local() || address == Ipv4Addr::new(100, 100, 100, 200)
}

impl Default for Poster {
    fn default() -> Self {
        Self::new()
    }
}

impl Poster {
    /// Sends nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let proxies = Connect::new(Tcp::new_with_resolver(Resolver::new()));
        Self { proxies, pool: Arc::default() }
    }

    /// Sends a POST and reads the response to its end.
    ///
    /// # Errors
    /// See [`PostError`]. A status that says no is no error.
    pub async fn send(&self, post: Post) -> Result<Posted, PostError> {
        let (until, limit) = (Instant::now() + post.timeout, post.limit);
        let patience = post.timeout;
        match timeout_at(until, self.exchange(post, limit)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PostError::Timeout(patience)),
        }
    }

    async fn exchange(&self, post: Post, limit: usize) -> Result<Posted, PostError> {
        let host = post.url.host_str().unwrap_or_default().to_owned();
        let unreachable = |why: String| PostError::Unreachable { host: host.clone(), why };
        let pool = self.pool.get_or_init(build).as_ref();
        let pool = pool.map_err(|why| unreachable(why.clone()))?;
        self.check_for_proxy(&post.url).await?;
        let request = self.request(post).map_err(|error| unreachable(error.to_string()))?;
        let response = pool.request(request).await.map_err(|error| match refusal(&error) {
            Some(refused) => refused,
            None => unreachable(causes(&error)),
        })?;
        let (parts, body) = response.into_parts();
        let body = read(body, parts.status, limit).await?;
        Ok(Posted { status: parts.status, headers: parts.headers, body })
    }

    fn request(&self, post: Post) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut url = post.url;
        url.set_fragment(None);
        let mut request = Request::post(url.as_str()).body(Full::new(post.body))?;
        let proxy = self.proxies.authorization(request.uri());
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.extend(post.headers);
        if let Some(authorization) = proxy {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        Ok(request)
    }

    /// Behind a proxy it is the proxy that resolves a name. One that leads to metadata from here is
    /// refused all the same; one that does not resolve here is left to the proxy.
    async fn check_for_proxy(&self, url: &Url) -> Result<(), PostError> {
        let uri = url.as_str().parse().unwrap_or_default();
        let Some(Host::Domain(name)) = url.host().filter(|_| self.proxies.is_proxied(&uri)) else {
            return Ok(());
        };
        let Ok(found) = tokio::net::lookup_host((name, 0)).await else { return Ok(()) };
        match found.into_iter().any(|place| is_metadata(place.ip())) {
            true => Err(PostError::Refused(leads_to_metadata(name))),
            false => Ok(()),
        }
    }
}

fn build() -> Result<Pool, String> {
    let mut tcp = HttpConnector::new_with_resolver(Guard(Resolver::new()));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let tls = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("no root certificates to check servers with: {error}"))?;
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_ALIVE)
        .http1_max_buf_size(128 * 1024)
        .build(tls.https_or_http().enable_http1().wrap_connector(Connect::new(tcp))))
}

async fn read(mut body: Incoming, status: StatusCode, limit: usize) -> Result<Bytes, PostError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| PostError::Broken(causes(&error)))?;
        let Ok(more) = frame.into_data() else { continue };
        if bytes.len() + more.len() > limit {
            return Err(PostError::TooLong { status, limit });
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes.freeze())
}

/// The refusal among the causes of an error, if there is one.
fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<PostError> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| error.downcast_ref::<PostError>()).cloned()
}

/// Resolves names, and refuses those that lead to an address which is never reached.
#[derive(Clone)]
struct Guard(Resolver);

impl Service<Name> for Guard {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.to_string();
        let resolving = self.0.call(name);
        async move {
            let found = resolving.await?;
            match found.as_slice().iter().any(|place| is_metadata(place.ip())) {
                true => Err(PostError::Refused(leads_to_metadata(&host)).into()),
                false => Ok(found),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn private_addresses_can_be_posted_to_and_metadata_cannot_however_it_is_spelled() {
        for allowed in [
            "http://127.0.0.1:5678/hook",
            "http://10.0.0.1/",
            "http://[::1]/",
            "https://hooks.example/a?b",
        ] {
            assert!(address(allowed).is_ok(), "{allowed}");
        }
        for refused in [
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.1.1/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://[::ffff:169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://user:password@example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "no address",
        ] {
            assert!(address(refused).is_err(), "{refused}");
        }
    }
}
