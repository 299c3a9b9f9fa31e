//! The body of a request on its way to a handler: not slower than a bound, and read to its end, or
//! closed for good, before the connection takes another request.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{HeaderValue, Request, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout};

/// After this long a body has to have come at [`SLOWEST`] at least.
const GRACE: Duration = Duration::from_secs(60);
/// Bytes a second.
const SLOWEST: u64 = 1024;
/// What nobody has read of a body is read for the sake of the connection, up to so many bytes.
const LEFTOVER: usize = 64 * 1024;
/// And no longer than this.
const LEFTOVER_TIME: Duration = Duration::from_secs(1);

/// The body of a request. Clones are one body.
#[derive(Clone, Debug)]
pub(super) struct RequestBody(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    incoming: Incoming,
    received: u64,
    since: Instant,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self(Arc::new(Mutex::new(State { incoming, received: 0, since: Instant::now() })))
    }

    /// Sends a response to a request whose body this is. If the body was not read, the little that
    /// may be left of it is; if more is, the connection is closed, and says so: what follows on it
    /// would be taken for the rest.
    pub(super) async fn answered(mut self, mut response: Response) -> Response {
        if !self.is_end_stream() && !self.discard().await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Reads what is left, if it is little; returns whether that was all.
    async fn discard(&mut self) -> bool {
        let rest = async {
            let mut discarded = 0;
            while let Some(frame) = self.frame().await {
                let Ok(frame) = frame else { return false };
                discarded += frame.data_ref().map_or(0, Bytes::len);
                if discarded > LEFTOVER {
                    return false;
                }
            }
            true
        };
        timeout(LEFTOVER_TIME, rest).await.unwrap_or(false)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a body in the place of the one that came, and returns both.
pub(super) fn of(request: Request<Incoming>) -> (Request<axum::body::Body>, RequestBody) {
    let (parts, incoming) = request.into_parts();
    let body = RequestBody::new(incoming);
    (Request::from_parts(parts, axum::body::Body::new(body.clone())), body)
}

impl State {
    fn is_too_slow(&self) -> bool {
        let passed = self.since.elapsed();
        passed > GRACE && self.received < passed.as_secs().saturating_mul(SLOWEST)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut state = self.lock();
        let frame = ready!(Pin::new(&mut state.incoming).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            state.received += frame.data_ref().map_or(0, |data| data.len() as u64);
            if state.is_too_slow() {
                let words = "the body came slower than 1 KiB a second";
                let error = io::Error::new(io::ErrorKind::TimedOut, words);
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.lock().incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().incoming.size_hint()
    }
}
