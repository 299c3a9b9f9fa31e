//! Bodies of responses: read whole up to a limit, or as a stream that may not stall.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::causes;
use crate::sources::{SourceError, pace::Pace};

/// How long a body may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The bytes of a body as they come.
///
/// Yields an error, and then nothing more, when the connection breaks, and when nothing or next to
/// nothing comes for a minute.
pub fn stream(body: Incoming) -> BoxStream<'static, Result<Bytes, SourceError>> {
    stream::try_unfold((body, Pace::default()), |(mut body, mut pace)| async move {
        loop {
            let since = Instant::now();
            match timeout(IDLE_TIMEOUT, body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.into_data().unwrap_or_default();
                    pace.received(bytes.len() as u64, since.elapsed())?;
                    if !bytes.is_empty() {
                        return Ok(Some((bytes, (body, pace))));
                    }
                }
                Ok(Some(Err(error))) => {
                    let message = format!("the connection broke: {}", causes(&error));
                    return Err(SourceError::Transient { message });
                }
                Err(_) => {
                    let message = format!("no bytes came for {} s", IDLE_TIMEOUT.as_secs());
                    return Err(SourceError::Timeout { message });
                }
            }
        }
    })
    .boxed()
}

/// A whole body of at most `limit` bytes.
///
/// # Errors
/// As for [`stream()`], and [`SourceError::Permanent`] when it is longer.
pub async fn read(body: Incoming, limit: usize) -> Result<Bytes, SourceError> {
    let mut bytes = BytesMut::new();
    let mut body = stream(body);
    while let Some(more) = body.try_next().await? {
        if bytes.len() + more.len() > limit {
            let message = format!("the response is longer than {limit} bytes");
            return Err(SourceError::Permanent { message });
        }
        bytes.extend_from_slice(&more);
    }
    Ok(bytes.freeze())
}
