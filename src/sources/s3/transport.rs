//! S3 over the shared [`Client`]: turns every response that is no success into a [`Refusal`], and
//! checks that a body is the pinned version.
//!
//! `object_store` sends through it too ([`Wire`]), and `http::Uri` leaves a path as it is, where
//! the `url` crate would collapse `..`.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use tower_service::Service as _;

use super::{
    checksum::Checksum,
    object::{Measured, Pinned, broken, facts},
    refusal::{Refusal, Subject, refusal},
    socket,
};
use crate::{
    clock::SharedClock,
    sources::{
        Body, Content, SourceError,
        http::{Budget, Client, Tcp, USER_AGENT, Usage, explanation},
    },
};

/// How long a body may stand still.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most of an error's body that is read.
const EXPLANATION_BYTES: usize = 64 * 1024;

/// See the module.
pub(super) struct Transport {
    client: Client<HttpRequestBody>,
    clock: SharedClock,
}

impl Transport {
    /// A transport; `plain` when only `http://` will be asked for.
    pub(super) fn new(
        plain: bool,
        budget: Arc<Budget>,
        clock: SharedClock,
    ) -> Result<Self, SourceError> {
        Ok(Self { client: Client::new(plain, USER_AGENT, budget)?, clock })
    }

    /// What was asked of the provider.
    pub(super) fn usage(&self) -> Usage {
        self.client.meter().usage()
    }

    /// How much longer the provider asked us to hold back.
    pub(super) fn held_for(&self) -> Option<Duration> {
        self.client.budget().held_for()
    }

    /// Sends a request and waits for the head of a success.
    pub(super) async fn send(
        &self,
        mut request: HttpRequest,
        subject: Subject,
    ) -> Result<Response<Incoming>, Refusal> {
        add_unsigned(&mut request);
        let pinned = request.extensions().get::<Pinned>().cloned();
        let response = self.client.send(request, 1).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.explain(response, subject, pinned.as_ref()).await),
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
            && let Some(refusal) = pinned.and_then(|pinned| pinned.unsatisfied(&parts.headers))
        {
            return refusal;
        }
        let body = explanation(body, EXPLANATION_BYTES).await;
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
        if let Refusal::Final(SourceError::RateLimited { retry_after, .. }) = &refusal {
            self.client.meter().was_limited();
            if let Some(wait) = retry_after {
                self.client.budget().hold(*wait);
            }
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
                    let message = format!("the response is longer than {limit} bytes");
                    return Err(SourceError::Permanent { message }.into());
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok((parts, bytes.freeze()))
    }

    /// How an address is connected to, if a body can be read from its socket: without TLS and
    /// without a proxy.
    pub(super) fn sockets(&self, url: &str) -> Option<&Tcp> {
        self.client.sockets(&url.parse().ok()?)
    }

    /// Opens a pinned object by a connection of its own, to be read from its socket.
    pub(super) async fn open_socket(
        &self,
        tcp: &Tcp,
        request: HttpRequest,
    ) -> Result<Content, Refusal> {
        let pinned = pinned(&request)?;
        let answer = self.send_alone(tcp, request).await?;
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

    /// Sends a request over a connection of its own, and waits for the head of any response.
    async fn send_alone(
        &self,
        tcp: &Tcp,
        mut request: HttpRequest,
    ) -> Result<socket::Answer, SourceError> {
        add_unsigned(&mut request);
        self.client.prepare(&mut request, 1).await?;
        let uri = request.uri().clone();
        let host = uri.host().unwrap_or_default();
        let stream = self.client.responded(host, tcp.clone().call(uri.clone())).await?;
        self.client.responded(host, socket::send(stream, request)).await
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

/// Asks for stored bytes as they are packed.
#[derive(Clone, Copy)]
pub(super) struct TakesGzip;

/// Headers that servers change on their way, so that no signature may cover them.
fn add_unsigned(request: &mut HttpRequest) {
    let pinned = request.extensions().get::<Pinned>();
    let takes_gzip = pinned.is_some_and(|pinned| pinned.asking.takes_gzip)
        || request.extensions().get::<TakesGzip>().is_some();
    if takes_gzip {
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
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
