//! Connections to hosts: directly, or through the proxy that the environment names.
//!
//! `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case, are read once
//! per client. Hosts of this machine are never reached through a proxy.

use std::{
    error::Error,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

use super::resolve::Resolver;

/// Connects without a proxy.
pub type Tcp = HttpConnector<Resolver>;

/// How long a proxy may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn Error + Send + Sync>;

/// Connects to a host, through a proxy if there is one for it. `R` resolves names.
#[derive(Clone, Debug)]
pub struct Connect<R = Resolver> {
    tcp: HttpConnector<R>,
    /// How proxies are connected to: whoever set one up may have it in a private network.
    to_proxy: Tcp,
    proxies: Arc<Matcher>,
}

impl<R> Connect<R> {
    /// Connects with `tcp`, and with the proxies of the environment.
    pub fn new(tcp: HttpConnector<R>) -> Self {
        Self::with(tcp, Matcher::from_env())
    }

    fn with(tcp: HttpConnector<R>, proxies: Matcher) -> Self {
        let mut to_proxy = Tcp::new_with_resolver(Resolver::new());
        to_proxy.set_nodelay(true);
        to_proxy.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self { tcp, to_proxy, proxies: Arc::new(proxies) }
    }

    /// How hosts are connected to directly; `None` where this address is reached through a proxy.
    pub fn direct(&self, to: &Uri) -> Option<&HttpConnector<R>> {
        self.proxy(to).is_none().then_some(&self.tcp)
    }

    /// Whether an address is reached through a proxy.
    #[must_use]
    pub fn is_proxied(&self, to: &Uri) -> bool {
        self.proxy(to).is_some()
    }

    /// The header that a proxy wants with every request that is not encrypted.
    #[must_use]
    pub fn authorization(&self, to: &Uri) -> Option<HeaderValue> {
        let is_plain = to.scheme() == Some(&Scheme::HTTP);
        self.proxy(to).filter(|_| is_plain)?.basic_auth().cloned()
    }

    fn proxy(&self, to: &Uri) -> Option<Intercept> {
        if to.host().is_none_or(is_this_machine) { None } else { self.proxies.intercept(to) }
    }
}

/// Whether a host is this machine by its name or address.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let host = host.to_ascii_lowercase();
            host == "localhost" || host.ends_with(".localhost")
        }
    }
}

impl<R> Service<Uri> for Connect<R>
where
    R: Clone + Send + 'static,
    HttpConnector<R>: Service<Uri, Response = TokioIo<TcpStream>> + Send,
    <HttpConnector<R> as Service<Uri>>::Future: Send + 'static,
    <HttpConnector<R> as Service<Uri>>::Error: Into<BoxError> + Send,
{
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let proxy = self.proxy(&to);
        let (mut tcp, mut to_proxy) = (self.tcp.clone(), self.to_proxy.clone());
        async move {
            let Some(proxy) = proxy else {
                let io = tcp.call(to).await.map_err(Into::into)?;
                return Ok(Stream { io, is_proxied: false });
            };
            if proxy.uri().scheme() != Some(&Scheme::HTTP) {
                let message = "only proxies whose address begins with http:// are supported";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message).into());
            }
            if to.scheme() == Some(&Scheme::HTTP) {
                let io = to_proxy.call(proxy.uri().clone()).await?;
                return Ok(Stream { io, is_proxied: true });
            }
            let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            Ok(Stream { io: tunnel.call(to).await?, is_proxied: false })
        }
        .boxed()
    }
}

/// A connection, to a host or to a proxy that takes requests for it.
#[derive(Debug)]
pub struct Stream {
    io: TokioIo<TcpStream>,
    is_proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect() -> Connect {
        let proxies =
            Matcher::builder().all("http://user:pass@proxy.example:3128").no("inside.example");
        Connect::with(Tcp::new_with_resolver(Resolver::new()), proxies.build())
    }

    fn is_direct(to: &'static str) -> bool {
        connect().direct(&Uri::from_static(to)).is_some()
    }

    #[test]
    fn a_proxy_is_used_for_all_hosts_but_those_excepted_and_this_machine() {
        assert!(!is_direct("https://storage.example/a"));
        assert!(!is_direct("http://storage.example/a"));
        for direct in [
            "https://inside.example/",
            "http://127.0.0.1:9000/",
            "http://[::1]/",
            "http://localhost/",
            "http://bucket.localhost:1/",
        ] {
            assert!(is_direct(direct), "{direct}");
        }
    }

    #[test]
    fn a_proxys_password_goes_with_plain_requests_only() {
        let header = |to| connect().authorization(&Uri::from_static(to));
        assert!(header("http://storage.example/").is_some());
        assert!(header("https://storage.example/").is_none(), "the tunnel carries it");
        assert!(header("http://127.0.0.1/").is_none());
    }
}
