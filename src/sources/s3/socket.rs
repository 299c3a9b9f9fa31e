//! An answer whose body is read from its socket by who asked, to where the bytes belong.
//!
//! The usual way, hyper reads a body into buffers of its own, and somebody copies it from there to
//! where it belongs: a seventh of the processor time that 2 x 512 MiB took, measured. Here hyper
//! asks and reads the head of the answer, and then hands its connection over, as it does for
//! protocols that go on in another way. Without TLS only: what has to be decrypted lies in a buffer
//! anyway. Knows nothing of objects; `transport` decides what comes this way.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, Read as _},
    net::{Shutdown, TcpStream},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use futures_util::{
    FutureExt as _,
    future::{Either, select},
};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    client::conn::http1::{Connection, Parts, handshake},
};
use hyper_util::rt::TokioIo;
use object_store::client::HttpRequestBody;

use super::object::{broken, cut_short, stood_still};
use crate::sources::{BlockingRead, SourceError, pace::Pace};

/// The head of a response, and the connection that its body comes over.
pub(super) struct Answer {
    /// The head; its body is not to be read here.
    pub(super) response: Response<Incoming>,
    connection: Connection<TokioIo<tokio::net::TcpStream>, HttpRequestBody>,
}

/// Sends a request over a connection that nobody else uses, and waits for the head of the response.
pub(super) async fn send(
    stream: TokioIo<tokio::net::TcpStream>,
    mut request: Request<HttpRequestBody>,
) -> hyper::Result<Answer> {
    name_host(&mut request);
    let (mut sender, mut connection) = handshake(stream).await?;
    let asked = pin!(sender.send_request(request));
    let driven = pin!(poll_fn(|context| connection.poll_without_shutdown(context)));
    let response = match select(asked, driven).await {
        Either::Left((response, _)) => response?,
        // It has ended, and the request's future returns how.
        Either::Right((_, asked)) => asked.await?,
    };
    Ok(Answer { response, connection })
}

/// Hyper's own client would do so: the host in its header, and not in the line above.
fn name_host(request: &mut Request<HttpRequestBody>) {
    let uri = request.uri();
    let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    let path = uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = path;
}

impl Answer {
    /// Lets hyper read the body.
    pub(super) fn by_hyper(self) -> Response<Incoming> {
        // An error of the connection reaches whoever reads the body.
        tokio::spawn(self.connection.map(drop));
        self.response
    }

    /// The body, which must be of `length` bytes and end by that.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn by_hand(self, length: u64, idle: Duration) -> io::Result<Socket> {
        let mut body = self.response.into_body();
        let mut early = BytesMut::new();
        while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
            early.extend(frame.into_data());
        }
        let Parts { io, read_buf, .. } = self.connection.into_parts();
        early.extend(read_buf);
        Socket::new(early, io.into_inner().into_std()?, length, idle)
    }
}

/// A body that hyper has left to us, read with blocking calls: a thread that waits for one
/// connection only is woken when that one has bytes, and as many as have some run at once. As tasks
/// of one loop that waits for all of them, 2 x 512 MiB took a sixth more processor time and a
/// twentieth more time, measured.
pub(super) struct Socket {
    /// What came along with the head.
    early: BytesMut,
    stream: Arc<TcpStream>,
    /// How many bytes are still to come.
    left: u64,
    /// How long it may stand still.
    idle: Duration,
    pace: Pace,
}

impl BlockingRead for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = if self.early.is_empty() {
            let since = Instant::now();
            let read = self.receive(&mut buffer[..most])?;
            self.pace.received(read as u64, since.elapsed())?;
            read
        } else {
            let taken = self.early.len().min(most);
            self.early.copy_to_slice(&mut buffer[..taken]);
            taken
        };
        self.left -= read as u64;
        Ok(read)
    }

    fn drop_guard(&self) -> Option<Box<dyn Send>> {
        Some(Box::new(HangUp(Arc::clone(&self.stream))))
    }
}

impl Socket {
    fn new(early: BytesMut, stream: TcpStream, left: u64, idle: Duration) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(idle))?;
        Ok(Self { early, stream: Arc::new(stream), left, idle, pace: Pace::default() })
    }

    fn receive(&self, room: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            match (&*self.stream).read(room) {
                Ok(0) => return Err(cut_short(self.left)),
                Ok(read) => return Ok(read),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Which of the two, depends on the system.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Err(stood_still(self.idle));
                    }
                    _ => return Err(broken(&error)),
                },
            }
        }
    }
}

/// Ends a connection, and so whatever read waits for it.
struct HangUp(Arc<TcpStream>);

impl Drop for HangUp {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io::Write as _, net::TcpListener, thread};

    use super::*;

    /// A body of ten bytes, and who has to send them.
    fn body(idle: Duration) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        (Socket::new(BytesMut::from(&b"he"[..]), ours, 10, idle).unwrap(), theirs)
    }

    #[test]
    fn a_stalled_body_times_out_after_the_bytes_that_came() {
        let (mut body, mut server) = body(Duration::from_millis(20));
        server.write_all(b"llo").unwrap();
        let (mut came, mut room) = (Vec::new(), [0; 100]);
        let end = loop {
            match body.read(&mut room) {
                Ok(read) => came.extend_from_slice(&room[..read]),
                Err(error) => break error,
            }
        };
        assert_eq!(came, b"hello");
        assert!(matches!(end, SourceError::Timeout { .. }), "{end:?}");
    }

    #[test]
    fn a_read_that_waits_ends_once_nobody_waits_for_it() {
        let (mut body, _server) = body(Duration::from_secs(3600));
        let guard = body.drop_guard();
        let reader = thread::spawn(move || {
            let mut room = [0; 100];
            (body.read(&mut room), body.read(&mut room))
        });
        drop(guard);
        let (early, rest) = reader.join().unwrap();
        assert_eq!(early.unwrap(), 2);
        assert!(matches!(rest, Err(SourceError::Transient { .. })), "{rest:?}");
    }
}
