//! The one HTTP transport beneath everything: it connects, waits no longer than it must, holds
//! back while the provider asks to slow down, follows no redirect, and turns every answer that is
//! no success into a [`Refusal`].
//!
//! `object_store` sends through it too ([`Wire`]), and `http::Uri` leaves a path as it is, where
//! the `url` crate would collapse `..`.

use std::{
    fmt,
    io::{self, ErrorKind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use tokio::time::{Instant, timeout};
use tower_service::Service as _;

use super::{
    checksum::Checksum,
    object::{Measured, Pinned, broken, facts},
    refusal::{Refusal, Subject, refusal},
    resolve::{Resolver, Unresolved},
    socket,
};
use crate::{
    clock::SharedClock,
    sources::{Body, Content, SourceError},
};

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("catchment/", env!("CARGO_PKG_VERSION")));

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a body may stand still.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait for the rest of an error's explanation.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept; S3 closes them after about as long.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Connections kept per host, so that a hundred fetches at once need no handshakes.
const KEPT_CONNECTIONS: usize = 128;
/// Read buffer of a connection at most: what bounds memory with many fetches at once.
const READ_BUFFER: usize = 128 * 1024;
/// Most of an error's body that is read.
const EXPLANATION_BYTES: usize = 64 * 1024;
/// The longest that a Retry-After holds everybody back.
const MAX_HOLD: Duration = Duration::from_secs(5 * 60);

/// What connects, without TLS.
pub(super) type Tcp = hyper_util::client::legacy::connect::HttpConnector<Resolver>;

/// See the module.
pub(super) struct Transport {
    client: Connections,
    gate: Gate,
    /// Whether a server has ever answered: from then on a name that does not resolve is a hiccup.
    was_answered: AtomicBool,
    clock: SharedClock,
}

/// A client with TLS loads the system's root certificates, which a plain one must not need.
enum Connections {
    Plain(Client<Tcp, HttpRequestBody>, Tcp),
    Tls(Client<HttpsConnector<Tcp>, HttpRequestBody>),
}

impl Transport {
    /// A transport; `plain` when only `http://` will be asked for.
    pub(super) fn new(plain: bool, clock: SharedClock) -> Result<Self, SourceError> {
        let mut tcp = Tcp::new_with_resolver(Resolver::new());
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(IDLE_TIMEOUT));
        tcp.enforce_http(plain);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(KEPT_CONNECTIONS)
            .http1_max_buf_size(READ_BUFFER);
        let client = match plain {
            true => Connections::Plain(builder.build(tcp.clone()), tcp),
            false => {
                let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
                    SourceError::Misconfigured {
                        message: format!(
                            "no root certificates to check servers with (on Debian they come with \
                             ca-certificates): {error}"
                        ),
                    }
                })?;
                let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
                Connections::Tls(builder.build(connector))
            }
        };
        Ok(Self { client, gate: Gate::default(), was_answered: AtomicBool::new(false), clock })
    }

    /// How much longer the provider asked us to hold back.
    pub(super) fn held_for(&self) -> Option<Duration> {
        self.gate.remaining()
    }

    /// Sends a request and waits for the head of a success.
    pub(super) async fn send(
        &self,
        mut request: HttpRequest,
        subject: Subject,
    ) -> Result<Response<Incoming>, Refusal> {
        self.gate.wait().await;
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let pinned = request.extensions().get::<Pinned>().cloned();
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = match &self.client {
            Connections::Plain(client, _) => client.request(request),
            Connections::Tls(client) => client.request(request),
        };
        let response = self.answered(&host, sent).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.explain(response, subject, pinned.as_ref()).await),
        }
    }

    /// What a host answers, if it does so in time.
    async fn answered<T, E: std::error::Error + 'static>(
        &self,
        host: &str,
        sent: impl Future<Output = Result<T, E>>,
    ) -> Result<T, SourceError> {
        match timeout(ANSWER_TIMEOUT, sent).await {
            Ok(Ok(answer)) => {
                self.was_answered.store(true, Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.unreachable(host, &error)),
            Err(_) => Err(SourceError::Timeout {
                message: format!("{host} did not answer in {} s", ANSWER_TIMEOUT.as_secs()),
            }),
        }
    }

    /// No answer at all.
    fn unreachable(&self, host: &str, error: &(dyn std::error::Error + 'static)) -> SourceError {
        if let Some(unresolved) = cause::<Unresolved>(error)
            && !self.was_answered.load(Relaxed)
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
        } else if is_of(ErrorKind::InvalidData) && is_connecting {
            // What rustls does not accept, another try will not make acceptable.
            let way_out = "this machine has to trust its certificate, or SSL_CERT_FILE to name one \
                           that vouches for it";
            SourceError::Misconfigured { message: format!("{message}; {way_out}") }
        } else {
            SourceError::Transient { message }
        }
    }

    async fn explain(
        &self,
        response: Response<Incoming>,
        subject: Subject,
        pinned: Option<&Pinned>,
    ) -> Refusal {
        let (parts, body) = response.into_parts();
        if parts.status == StatusCode::RANGE_NOT_SATISFIABLE
            && let Some(error) = pinned.and_then(|pinned| pinned.unsatisfied(&parts.headers))
        {
            return error.into();
        }
        let body = beginning(body).await;
        self.refuse(subject, parts.status, &parts.headers, &body)
    }

    /// What an answer means that is no success, be it by its status or by its body. Holds everybody
    /// back where it says so.
    pub(super) fn refuse(
        &self,
        subject: Subject,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Refusal {
        let refusal = refusal(subject, status, headers, body, self.clock.now());
        if let Refusal::Final(SourceError::RateLimited { retry_after: Some(wait), .. }) = &refusal {
            self.gate.hold(*wait);
        }
        refusal
    }

    /// Sends a request and reads the whole answer, at most `limit` bytes.
    pub(super) async fn read(
        &self,
        request: HttpRequest,
        subject: Subject,
        limit: usize,
    ) -> Result<(Parts, Bytes), Refusal> {
        let (parts, body) = self.send(request, subject).await?.into_parts();
        let mut body = Measured::new(body, None, IDLE_TIMEOUT);
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::within(&error))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > limit {
                    let message = format!("the answer is longer than {limit} bytes");
                    return Err(SourceError::Permanent { message }.into());
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok((parts, bytes.freeze()))
    }

    /// How hosts are connected to, where a body can be read from its socket: without TLS.
    pub(super) const fn sockets(&self) -> Option<&Tcp> {
        match &self.client {
            Connections::Plain(_, tcp) => Some(tcp),
            Connections::Tls(_) => None,
        }
    }

    /// Opens a pinned object by a connection of its own, to be read from its socket.
    pub(super) async fn open_socket(
        &self,
        tcp: &Tcp,
        request: HttpRequest,
    ) -> Result<Content, Refusal> {
        let pinned = pinned(&request)?;
        let answer = self.ask(tcp, request).await?;
        let (status, headers) = (answer.response.status(), answer.response.headers());
        if !status.is_success() {
            return Err(self.explain(answer.by_hyper(), Subject::Object, Some(&pinned)).await);
        }
        pinned.check(status, headers)?;
        let facts = facts(headers);
        let body = match answer.response.body().size_hint().exact() {
            Some(length) if length == pinned.len() => {
                let socket = answer.by_hand(length, IDLE_TIMEOUT);
                Body::Blocking(Box::new(socket.map_err(|error| broken(&error))?))
            }
            // Only hyper sees where it ends.
            _ => {
                let body = answer.by_hyper().into_body();
                let body = Measured::new(body, Some(pinned.len()), IDLE_TIMEOUT);
                streamed(HttpResponseBody::new(body).bytes_stream())
            }
        };
        Ok(Content { facts, body })
    }

    /// Sends a request by a connection of its own, and waits for the head of any answer.
    async fn ask(
        &self,
        tcp: &Tcp,
        mut request: HttpRequest,
    ) -> Result<socket::Answer, SourceError> {
        self.gate.wait().await;
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default();
        let stream = self.answered(host, tcp.clone().call(uri.clone())).await?;
        self.answered(host, socket::ask(stream, request)).await
    }

    /// Opens a pinned object. The answer carries its facts as an extension and, of its headers,
    /// only those that `object_store` counts bytes with: nothing else there can fail.
    pub(super) async fn open(&self, request: HttpRequest) -> Result<HttpResponse, Refusal> {
        let pinned = pinned(&request)?;
        let (mut parts, body) = self.send(request, Subject::Object).await?.into_parts();
        pinned.check(parts.status, &parts.headers)?;
        parts.extensions.insert(facts(&parts.headers));
        let is_whole = pinned.range.is_none();
        let checksum =
            is_whole.then(|| Checksum::announced(&parts.headers, pinned.etag.as_deref())).flatten();
        parts.headers = byte_counts(&pinned);
        if pinned.range.is_some() {
            parts.status = StatusCode::PARTIAL_CONTENT;
        }
        let body = Measured::new(body, Some(pinned.len()), IDLE_TIMEOUT).checked_by(checksum);
        Ok(Response::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// What a read is pinned to.
fn pinned(request: &HttpRequest) -> Result<Pinned, SourceError> {
    request.extensions().get().cloned().ok_or_else(|| SourceError::Permanent {
        message: "a read that is pinned to no version".into(),
    })
}

/// A body as the engine takes it.
pub(super) fn streamed<E: std::error::Error + 'static>(
    bytes: BoxStream<'static, Result<Bytes, E>>,
) -> Body {
    let bytes = bytes.map(|chunk| chunk.map_err(|error| Refusal::within(&error).give_up()));
    Body::Stream(bytes.boxed())
}

/// What has been checked, in the headers that say so.
fn byte_counts(pinned: &Pinned) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_LENGTH, pinned.len().into());
    if let Some(range) = pinned.range {
        let last = range.start + range.len.saturating_sub(1);
        let text = format!("bytes {}-{last}/{}", range.start, pinned.size);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_RANGE, value);
        }
    }
    headers
}

/// The beginning of an error's body; whatever goes wrong here, the status has been said.
async fn beginning(mut body: Incoming) -> Bytes {
    let mut bytes = BytesMut::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            let room = EXPLANATION_BYTES - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if bytes.len() == EXPLANATION_BYTES {
                break;
            }
        }
    };
    // What has come by then has to do.
    drop(timeout(EXPLANATION_TIMEOUT, read).await);
    bytes.freeze()
}

/// The first of the causes of an error that is of this kind.
fn cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and all its causes. Of an `io::Error`, that is what it wraps, which its `source` skips.
fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

/// An error with its causes, each said once.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
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

/// Holds all requests of a source back until the provider is ready for more.
#[derive(Default)]
struct Gate(Mutex<Option<Instant>>);

impl Gate {
    fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait.min(MAX_HOLD);
        let mut opens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *opens = Some(opens.map_or(until, |opens| opens.max(until)));
    }

    fn remaining(&self) -> Option<Duration> {
        let mut opens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = opens.map(|opens| opens.saturating_duration_since(Instant::now()));
        let remaining = remaining.filter(|remaining| !remaining.is_zero());
        if remaining.is_none() {
            *opens = None;
        }
        remaining
    }

    async fn wait(&self) {
        while let Some(remaining) = self.remaining() {
            tokio::time::sleep(remaining).await;
        }
    }
}

/// The transport as `object_store` sees it.
#[derive(Clone)]
pub(super) struct Wire(pub(super) Arc<Transport>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.0
            .open(request)
            .await
            .map_err(|refusal| HttpError::new(HttpErrorKind::Unknown, refusal))
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{clock::SystemClock, sources::ErrorClass};

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_a_hiccup_once_a_server_has_answered() {
        let transport = Transport::new(true, Arc::new(SystemClock)).unwrap();
        let class = async || {
            let uri = "http://storage.invalid/";
            let request = http::Request::get(uri).body(HttpRequestBody::empty()).unwrap();
            let refusal = transport.send(request, Subject::Listing).await.unwrap_err();
            refusal.give_up().class()
        };
        assert_eq!(class().await, ErrorClass::RetryBriefly);
        transport.was_answered.store(true, Relaxed);
        assert_eq!(class().await, ErrorClass::Retry);
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_holds_everybody_back_until_the_longest_wait_is_over() {
        let gate = Gate::default();
        let started = Instant::now();
        gate.hold(Duration::from_secs(30));
        gate.hold(Duration::from_secs(10));
        futures_util::future::join(gate.wait(), gate.wait()).await;
        assert_eq!(started.elapsed().as_secs(), 30);
        gate.wait().await;
        assert_eq!(started.elapsed().as_secs(), 30, "it stays open");
    }

    #[tokio::test(start_paused = true)]
    async fn no_server_holds_us_back_for_more_than_five_minutes() {
        let gate = Gate::default();
        gate.hold(Duration::from_secs(86_400));
        assert_eq!(gate.remaining().map(|wait| wait.as_secs().div_ceil(60)), Some(5));
    }
}
