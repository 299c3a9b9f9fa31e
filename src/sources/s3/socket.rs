//! An answer whose body is read from its socket by who asked, to where the bytes belong.
//!
//! The usual way, hyper reads a body into buffers of its own, and somebody copies it from there to where
//! it belongs: a seventh of the processor time that 2 x 512 MiB took, measured. Here hyper asks and reads
//! the head of the answer, and then hands its connection over, as it does for protocols that go on in
//! another way. Without TLS only: what has to be decrypted lies in a buffer anyway. Knows nothing of
//! objects; `transport` decides what comes this way.

use std::{future::poll_fn, io, pin::pin, time::Duration};

use async_trait::async_trait;
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
use tokio::{net::TcpStream, time::timeout};

use super::object::{broken, cut_short, stood_still};
use crate::sources::{SocketRead, SourceError};

/// The head of an answer, and the connection that its body comes by.
pub(super) struct Answer {
    /// The head; its body is not to be read here.
    pub(super) response: Response<Incoming>,
    connection: Connection<TokioIo<TcpStream>, HttpRequestBody>,
}

/// Asks by a connection that nobody else uses, and waits for the head of the answer.
pub(super) async fn ask(
    stream: TokioIo<TcpStream>,
    mut request: Request<HttpRequestBody>,
) -> hyper::Result<Answer> {
    name_host(&mut request);
    let (mut sender, mut connection) = handshake(stream).await?;
    let asked = pin!(sender.send_request(request));
    let driven = pin!(poll_fn(|context| connection.poll_without_shutdown(context)));
    let response = match select(asked, driven).await {
        Either::Left((response, _)) => response?,
        // It has ended, and whoever asked is told how.
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
        // What becomes of it, whoever reads the body is told.
        tokio::spawn(self.connection.map(drop));
        self.response
    }

    /// The body, which must be of `length` bytes and end by that.
    pub(super) fn by_hand(self, length: u64, idle: Duration) -> Socket {
        let mut body = self.response.into_body();
        let mut early = BytesMut::new();
        while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
            early.extend(frame.into_data());
        }
        let Parts { io, read_buf, .. } = self.connection.into_parts();
        early.extend(read_buf);
        Socket { early, stream: io.into_inner(), left: length, idle }
    }
}

/// A body that hyper has left to us.
pub(super) struct Socket {
    /// What came along with the head.
    early: BytesMut,
    stream: TcpStream,
    /// How many bytes are still to come.
    left: u64,
    /// How long it may stand still.
    idle: Duration,
}

#[async_trait]
impl SocketRead for Socket {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = if self.early.is_empty() {
            self.receive(&mut buffer[..most]).await?
        } else {
            let taken = self.early.len().min(most);
            self.early.copy_to_slice(&mut buffer[..taken]);
            taken
        };
        self.left -= read as u64;
        Ok(read)
    }
}

impl Socket {
    async fn receive(&self, room: &mut [u8]) -> Result<usize, SourceError> {
        match timeout(self.idle, receive(&self.stream, room)).await {
            Ok(Ok(0)) => Err(cut_short(self.left)),
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(stood_still(self.idle)),
        }
    }
}

async fn receive(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}
