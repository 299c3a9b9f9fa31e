//! Bodies of responses: read whole up to a limit, or as a stream that may not stall.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{BoxStream, iter, try_unfold},
};
use http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::causes;
use crate::sources::{ByteRange, SourceError, pace::Pace};

/// How long a body may send nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait for the rest of an error's explanation.
const EXPLANATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of a body as they come.
///
/// Yields an error, and then nothing more, when the connection breaks, and when nothing or next to
/// nothing comes for a minute.
pub fn stream(body: Incoming) -> BoxStream<'static, Result<Bytes, SourceError>> {
    try_unfold((body, Pace::default()), |(mut body, mut pace)| async move {
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

/// The bytes of a response that were asked for. A 200 to a range is the whole file: what was asked
/// for is cut out.
pub fn body_of(
    response: Response<Incoming>,
    range: Option<ByteRange>,
) -> BoxStream<'static, Result<Bytes, SourceError>> {
    let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
    let announced = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let body = stream(response.into_body());
    let Some(range) = range else { return body };
    if is_partial {
        if announced.is_some_and(|length| length != range.len) {
            let message = "the provider sends another range than was asked for".to_owned();
            return iter([Err(SourceError::Garbled { message })]).boxed();
        }
        return body;
    }
    let place = (range.start, range.len);
    try_unfold((body, place), |(mut body, (mut skip, mut left))| async move {
        while left > 0 {
            let Some(mut bytes) = body.try_next().await? else { return Ok(None) };
            let skipped = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            bytes = bytes.slice(skipped..);
            skip -= skipped as u64;
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= bytes.len() as u64;
            if !bytes.is_empty() {
                return Ok(Some((bytes, (body, (skip, left)))));
            }
        }
        Ok(None)
    })
    .boxed()
}

/// The first `limit` bytes of an error's body, or as many as come in ten seconds. Whatever goes
/// wrong with them, the status has been said.
pub async fn explanation(mut body: Incoming, limit: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    let read = async {
        while bytes.len() < limit
            && let Some(Ok(frame)) = body.frame().await
        {
            let data = frame.into_data().unwrap_or_default();
            let room = limit - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
    };
    // What has come by then has to do.
    drop(timeout(EXPLANATION_TIMEOUT, read).await);
    bytes.freeze()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Request;
    use http_body_util::Empty;
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A body of which a byte comes each second.
    async fn dripping() -> Incoming {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            assert!(theirs.read(&mut [0; 1024]).await.unwrap() > 0, "a request");
            theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n").await.unwrap();
            while theirs.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        sender.send_request(request).await.unwrap().into_body()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_a_byte_a_second_is_given_up_after_a_minute() {
        let began = Instant::now();
        let error = read(dripping().await, 1024 * 1024).await.unwrap_err();
        assert!(matches!(error, SourceError::Timeout { .. }), "{error:?}");
        let took = began.elapsed().as_secs();
        assert!((60..63).contains(&took), "{took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_explanation_of_an_error_is_what_comes_in_ten_seconds_or_fits() {
        let began = Instant::now();
        let bytes = explanation(dripping().await, 1024).await;
        assert!((9..=11).contains(&bytes.len()), "{bytes:?}");
        assert!((10..12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert_eq!(explanation(dripping().await, 3).await, "xxx");
    }
}
