//! One request and its response: connects, waits no longer than it must, keeps to the budget of the
//! connection, and follows no redirect.

use std::{
    error::Error,
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{
    Budget, Connect, Meter, Tcp,
    resolve::{Resolver, Unresolved},
};
use crate::sources::SourceError;

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to begin its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// When the system begins to check whether an idle peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// How long an idle connection is kept; servers close them after about as long.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Connections kept per host, so that a hundred fetches at once need no handshakes.
const KEPT_CONNECTIONS: usize = 128;
/// Read buffer of a connection at most: what bounds memory with many fetches at once.
const READ_BUFFER: usize = 128 * 1024;

/// Sends the requests of one source. `B` is what request bodies are.
pub struct Client<B> {
    pool: Connections<B>,
    connect: Connect,
    user_agent: HeaderValue,
    budget: Arc<Budget>,
    meter: Arc<Meter>,
    /// Whether a server has ever responded: from then on a name that does not resolve is a hiccup.
    has_responded: AtomicBool,
}

/// A client with TLS loads the system's root certificates, which a plain one must not need.
enum Connections<B> {
    Plain(Pool<Connect, B>),
    Tls(Pool<HttpsConnector<Connect>, B>),
}

impl<B> Client<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A client; `plain` if only `http://` will be asked for.
    ///
    /// # Errors
    /// [`SourceError::Misconfigured`] when there are no root certificates.
    pub fn new(
        plain: bool,
        user_agent: HeaderValue,
        budget: Arc<Budget>,
    ) -> Result<Self, SourceError> {
        let mut tcp = Tcp::new_with_resolver(Resolver::new());
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        tcp.enforce_http(plain);
        let connect = Connect::new(tcp);
        let mut builder = Pool::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(KEPT_CONNECTIONS)
            .http1_max_buf_size(READ_BUFFER);
        let pool = match plain {
            true => Connections::Plain(builder.build(connect.clone())),
            false => {
                let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
                    SourceError::Misconfigured {
                        message: format!(
                            "no root certificates to check servers with (on Debian they come with \
                             ca-certificates): {error}"
                        ),
                    }
                })?;
                let tls = tls.https_or_http().enable_http1().wrap_connector(connect.clone());
                Connections::Tls(builder.build(tls))
            }
        };
        let (meter, has_responded) = (Arc::default(), AtomicBool::new(false));
        Ok(Self { pool, connect, user_agent, budget, meter, has_responded })
    }

    /// The budget that requests keep to.
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Whether a server has ever responded.
    pub fn has_responded(&self) -> bool {
        self.has_responded.load(Relaxed)
    }

    /// What this client has sent and waited for.
    pub const fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// How an address can be connected to without TLS and without a proxy, for whoever reads its
    /// body from the socket.
    pub fn sockets(&self, to: &Uri) -> Option<&Tcp> {
        match &self.pool {
            Connections::Plain(_) => self.connect.direct(to),
            Connections::Tls(_) => None,
        }
    }

    /// Waits until the budget admits a request of that weight, and prepares its headers.
    ///
    /// # Errors
    /// See [`Budget::admit`].
    pub async fn prepare(&self, request: &mut Request<B>, weight: u32) -> Result<(), SourceError> {
        self.budget.admit(weight, &self.meter).await?;
        let proxy = self.connect.authorization(request.uri());
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        if let Some(authorization) = proxy {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        Ok(())
    }

    /// Sends a request of that weight and waits for the head of the response, whatever it says.
    ///
    /// # Errors
    /// When there is no response, or the budget admits none for long.
    pub async fn send(
        &self,
        mut request: Request<B>,
        weight: u32,
    ) -> Result<Response<Incoming>, SourceError> {
        self.prepare(&mut request, weight).await?;
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = match &self.pool {
            Connections::Plain(pool) => pool.request(request),
            Connections::Tls(pool) => pool.request(request),
        };
        self.responded(&host, sent).await
    }

    /// What a host responds, if it does so in time.
    ///
    /// # Errors
    /// When it does not.
    pub async fn responded<T, E: Error + 'static>(
        &self,
        host: &str,
        sent: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SourceError> {
        match timeout(RESPONSE_TIMEOUT, sent).await {
            Ok(Ok(response)) => {
                self.has_responded.store(true, Relaxed);
                Ok(response)
            }
            Ok(Err(error)) => Err(self.unreachable(host, &error)),
            Err(_) => Err(SourceError::Timeout {
                message: format!("{host} did not respond in {} s", RESPONSE_TIMEOUT.as_secs()),
            }),
        }
    }

    /// No response at all.
    fn unreachable(&self, host: &str, error: &(dyn Error + 'static)) -> SourceError {
        if let Some(unresolved) = cause::<Unresolved>(error)
            && !self.has_responded.load(Relaxed)
        {
            let message = format!("cannot reach {host}: {unresolved}");
            return SourceError::Unresolved { message };
        }
        let message = format!("cannot reach {host}: {}", causes(error));
        let is_connecting = cause::<ClientError>(error).is_some_and(ClientError::is_connect);
        let is_of = |kind| {
            let mut io = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
            io.any(|error| error.kind() == kind)
        };
        if is_of(ErrorKind::TimedOut) {
            SourceError::Timeout { message }
        } else if is_of(ErrorKind::Unsupported) {
            SourceError::Misconfigured { message }
        } else if is_of(ErrorKind::InvalidData) && is_connecting {
            // What rustls does not accept, another try will not make acceptable.
            let way_out = "this machine has to trust its certificate, or SSL_CERT_FILE to name one \
                           that vouches for it";
            SourceError::Misconfigured { message: format!("{message}; {way_out}") }
        } else {
            SourceError::Transient { message }
        }
    }
}

/// The first of the causes of an error that is of this kind.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and all its causes. Of an `io::Error`, that is what it wraps, which its `source` skips.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// An error with its causes, each said once.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use http_body_util::Empty;

    use super::*;
    use crate::sources::{ErrorClass, http::USER_AGENT};

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_hiccup_once_a_server_has_responded() {
        let client = Client::new(true, USER_AGENT, Arc::default()).unwrap();
        let class = async || {
            let request = Request::get("http://storage.invalid/").body(Empty::<Bytes>::new());
            client.send(request.unwrap(), 1).await.unwrap_err().class()
        };
        assert_eq!(class().await, ErrorClass::RetryBriefly);
        client.has_responded.store(true, Relaxed);
        assert_eq!(class().await, ErrorClass::Retry);
    }
}
