//! Connections: accepted, bounded, timed, and closed in good order at the end.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    connection::{Connection, Connections},
    request_body,
};

/// Connections at once. The next takes the place of one that has not shown a token, or waits until
/// one ends.
const MAX_CONNECTIONS: usize = 1024;
/// How long a request's headers may take to arrive, which is also how long an idle connection is
/// kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// What hyper may buffer of headers before it refuses them itself; the limit that callers see is
/// smaller, see `access`.
const HEADER_BUFFER: usize = 128 * 1024;
/// How long responses under way may take once the server shuts down.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Answers requests until `stopping`, and lets those under way finish.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
) -> io::Result<()> {
    let (connections, all) = (TaskTracker::new(), Arc::new(Connections::default()));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places, &all) => accepted,
            () = stopping.cancelled() => break,
        };
        let (stream, peer, place) = accepted?;
        let (router, stopping, connection) = (router.clone(), stopping.clone(), all.open());
        connections.spawn(async move {
            tokio::select! {
                () = converse(stream, peer, router, &connection, stopping) => {}
                () = connection.evicted() => {
                    tracing::debug!(%peer, "others needed the place of a connection");
                }
            }
            drop(place);
        });
    }
    connections.close();
    // What is left then hangs on a client that does not read: it is cut off.
    let _ = tokio::time::timeout(LAST_WORDS, connections.wait()).await;
    Ok(())
}

type Permit = tokio::sync::OwnedSemaphorePermit;

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    all: &Connections,
) -> io::Result<(TcpStream, SocketAddr, Permit)> {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer, place(places, all).await?)),
            // The client went away, or descriptors ran out: neither is the listener's end.
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A place for one more connection, which may be that of another.
async fn place(places: &Arc<Semaphore>, all: &Connections) -> io::Result<Permit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Ok(place);
    }
    all.evict();
    places.clone().acquire_owned().await.map_err(io::Error::other)
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    connection: &Arc<Connection>,
    stopping: CancellationToken,
) {
    // Small responses should not wait for more to send.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut request, body) = request_body::of(request);
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(connection.clone());
        let router = router.clone();
        async move {
            let response = router.oneshot(request).await?;
            Ok::<_, Infallible>(body.answered(response).await)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = stopping.cancelled(), if !is_ending => {
                is_ending = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}
