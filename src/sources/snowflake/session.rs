//! Statements, run over the SQL API: submitted once, waited for, read partition by partition, and
//! cancelled when nobody waits for them any more.
//!
//! Every request may be repeated: a submission carries an id of its own and says that it is a
//! repeat, everything else only reads.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{HeaderMap, Method, Request, header};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle, time::Instant};
use uuid::Uuid;

use super::{
    names::Table,
    protocol::{self, Context, Meaning, QUOTA_HOLD, Refusal, ResultSet, STATEMENTS},
    rows::{Broken, Rows, Sink, Stopped, read_partition},
    sign_in::{NoBearer, SignIn},
    sql::Statement,
};
use crate::{
    clock::SharedClock,
    sources::{SourceError, retry::RetryPolicy},
};

/// Largest answer, unpacked. Partitions have some 16 MiB; one that is a single row can have more,
/// for a cell can have 128 MiB. The first one, which comes with the metadata, is held whole.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// Largest explanation of a refusal that is read.
const EXPLANATION_BYTES: usize = 64 * 1024;

/// Waits between two looks at a running statement: the first, and the longest.
const FIRST_POLL: Duration = Duration::from_millis(100);
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// How much longer than its own time limit a statement is waited for: it may queue for a warehouse.
const QUEUE_ALLOWANCE: Duration = Duration::from_secs(10 * 60);

/// How long the end of a run waits until its statements are cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// How many batches of rows wait for whoever takes them, a partition.
const BATCHES_AHEAD: usize = 4;

/// What carries requests: it connects, waits no longer than it must, holds back while the provider
/// asks for it, and reports any answer, success or not.
#[async_trait]
pub(super) trait Wire: Send + Sync {
    /// Sends a request to the account's host; its URI is a path and a query.
    ///
    /// # Errors
    /// When there is no answer.
    async fn send(&self, request: Request<Bytes>) -> Result<Response, SourceError>;

    /// Lets the whole connection rest: no request of it is sent for so long.
    fn rest(&self, wait: Duration);
}

/// An answer, whatever it says.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: BoxStream<'static, Result<Bytes, SourceError>>,
}

/// Whether a statement needs a warehouse, so that its time is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// `SHOW`, `DESCRIBE` and system functions need none.
    Nothing,
    /// A query does.
    Warehouse,
}

/// An account, as one source talks to it.
pub(super) struct Session {
    pub(super) wire: Arc<dyn Wire>,
    pub(super) sign_in: Arc<SignIn>,
    pub(super) context: Context,
    /// The table that statements are about, for messages.
    pub(super) table: Option<Table>,
    pub(super) timeout: Duration,
    pub(super) clock: SharedClock,
    /// How long warehouses have worked.
    pub(super) worked: Mutex<Duration>,
    /// Statements that are being cancelled.
    pub(super) cancels: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a statement did not come to its end.
#[derive(Debug)]
pub(super) enum Failed {
    /// Refused by Snowflake.
    Refused(Refusal),
    /// An answer does not keep what it announced: nothing that was read of it proves anything.
    Untrue(SourceError),
    /// Anything else.
    Source(SourceError),
}

impl From<SourceError> for Failed {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// A result whose rows can be read.
pub(super) struct Selected {
    session: Arc<Session>,
    pub(super) result: ResultSet,
    first: Bytes,
}

/// One request, which may be sent more than once.
struct Call {
    method: Method,
    path: String,
    body: Bytes,
}

impl Session {
    /// Runs a statement with a small result and returns all of it.
    ///
    /// # Errors
    /// What a run or a person should know.
    pub(super) async fn all(
        self: &Arc<Self>,
        statement: &Statement,
    ) -> Result<(ResultSet, Vec<Rows>), SourceError> {
        let selected = self.select(statement, Takes::Nothing).await;
        let selected = selected.map_err(|failed| self.explain(failed))?;
        let result = selected.result.clone();
        let mut rows = Vec::new();
        let mut batches = selected.rows();
        while let Some(batch) = batches.next().await {
            rows.push(batch.map_err(|failed| self.explain(failed))?);
        }
        Ok((result, rows))
    }

    /// Runs a statement until its result is there. Dropped before, it is cancelled.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn select(
        self: &Arc<Self>,
        statement: &Statement,
        takes: Takes,
    ) -> Result<Selected, Failed> {
        match self.select_once(statement, takes, self.timeout).await {
            // Once more with twice the time: a warehouse that has just started is slow.
            Err(Failed::Refused(refusal)) if refusal.meaning() == Meaning::StatementTimeout => {
                tracing::info!(
                    seconds = self.timeout.as_secs() * 2,
                    "a statement is given more time"
                );
                self.select_once(statement, takes, self.timeout * 2).await
            }
            outcome => outcome,
        }
    }

    async fn select_once(
        self: &Arc<Self>,
        statement: &Statement,
        takes: Takes,
        timeout: Duration,
    ) -> Result<Selected, Failed> {
        let started = Instant::now();
        let outcome = self.submit_and_wait(statement, takes, timeout).await;
        if takes == Takes::Warehouse {
            let took = started.elapsed();
            *self.worked.lock().unwrap_or_else(PoisonError::into_inner) += took;
            tracing::info!(seconds = took.as_secs_f64(), "a warehouse worked on a statement");
        }
        let first = outcome?;
        let result = protocol::result_set(&first)?;
        if !protocol::is_handle(&result.handle) {
            return Err(garbled("its handle is none").into());
        }
        Ok(Selected { session: Arc::clone(self), result, first })
    }

    /// Submits a statement and returns the whole answer that has its metadata.
    async fn submit_and_wait(
        self: &Arc<Self>,
        statement: &Statement,
        takes: Takes,
        timeout: Duration,
    ) -> Result<Bytes, Failed> {
        let mut wait = Wait::new(timeout + QUEUE_ALLOWANCE);
        // What may take long is submitted so that its handle is known at once: without it, it could
        // not be cancelled.
        let answers_at_once = takes == Takes::Warehouse;
        let (status, body) = self.submit(statement, timeout, answers_at_once).await?;
        if status != 202 {
            return Ok(body);
        }
        let handle = protocol::running_handle(&body)?;
        if !protocol::is_handle(&handle) {
            return Err(garbled("its handle is none").into());
        }
        let running = Running { session: self, handle };
        let call = Call::get(format!("{STATEMENTS}/{}", running.handle));
        loop {
            let (status, body) = self.request(|_| call.request()).await?;
            if status != 202 {
                running.finish();
                return Ok(body);
            }
            wait.next().await?;
        }
    }

    async fn submit(
        &self,
        statement: &Statement,
        timeout: Duration,
        answers_at_once: bool,
    ) -> Result<(u16, Bytes), Failed> {
        let id = Uuid::new_v4();
        let body = Bytes::from(protocol::submission(statement, &self.context, timeout));
        self.request(|is_repeat| {
            let mut path = format!("{STATEMENTS}?requestId={id}");
            if is_repeat {
                path.push_str("&retry=true");
            }
            if answers_at_once {
                path.push_str("&async=true");
            }
            Call { method: Method::POST, path, body: body.clone() }.request()
        })
        .await
    }

    /// Sends a request until there is a response; returns its status and all of its body.
    async fn request(
        &self,
        request: impl Fn(bool) -> Request<Bytes> + Send + Sync,
    ) -> Result<(u16, Bytes), Failed> {
        let answer = self.persist(request, |answer| async move {
            let bytes = collect(answer.body, ANSWER_BYTES).await?;
            let is_packed = is_gzip(&answer.headers);
            Ok((answer.status, if is_packed { unpack(&bytes)? } else { bytes }))
        });
        answer.await
    }

    /// Sends a request, and again while that may help, and takes what `read` makes of the answer.
    async fn persist<T, F>(
        &self,
        request: impl Fn(bool) -> Request<Bytes> + Send + Sync,
        read: impl Fn(Response) -> F + Send + Sync,
    ) -> Result<T, Failed>
    where
        T: Send,
        F: Future<Output = Result<T, SourceError>> + Send,
    {
        let mut is_repeat = false;
        let attempt = || {
            let request = request(std::mem::replace(&mut is_repeat, true));
            let read = &read;
            async move {
                match self.signed(request).await? {
                    Ok(answer) => read(answer).await.map(Ok),
                    Err(refusal) => match refusal.meaning() {
                        Meaning::Throttled | Meaning::Stumbled => {
                            Err(refusal.error(&self.context, self.table.as_ref(), self.clock.now()))
                        }
                        _ => Ok(Err(refusal)),
                    },
                }
            }
        };
        RetryPolicy::LISTING.run(attempt).await?.map_err(Failed::Refused)
    }

    /// Sends a request with a token; with a new one once, where the first is refused for its age.
    async fn signed(
        &self,
        request: Request<Bytes>,
    ) -> Result<Result<Response, Refusal>, SourceError> {
        let turn = self.sign_in.turn().await?;
        let outcome = self.signed_in_turn(request).await;
        if let Some(turn) = turn {
            turn.end().await;
        }
        outcome
    }

    async fn signed_in_turn(
        &self,
        request: Request<Bytes>,
    ) -> Result<Result<Response, Refusal>, SourceError> {
        self.sign_in.learn_refusal().await?;
        let now = self.clock.now();
        let bearer = match self.sign_in.bearer(now) {
            Ok(bearer) => bearer,
            Err(no) => return self.no_bearer(no),
        };
        let refusal = match self.once(&request, &bearer).await? {
            Ok(answer) => {
                self.sign_in.prove();
                return Ok(Ok(answer));
            }
            Err(refusal) => refusal,
        };
        let is_too_old = match refusal.meaning() {
            Meaning::TokenExpired => true,
            Meaning::SignIn => bearer.is_expired(now),
            _ => return Ok(Err(refusal)),
        };
        let renewed = match is_too_old {
            true => self.sign_in.renewed(&bearer, self.clock.now()),
            false => Ok(None),
        };
        let outcome = match renewed {
            Ok(Some(bearer)) => self.once(&request, &bearer).await?,
            Ok(None) => Err(refusal),
            Err(no) => return self.no_bearer(no),
        };
        if let Err(refusal) = &outcome
            && matches!(refusal.meaning(), Meaning::SignIn | Meaning::TokenExpired)
        {
            self.sign_in.refuse(refusal).await;
        }
        Ok(outcome)
    }

    fn no_bearer<T>(&self, no: NoBearer) -> Result<Result<T, Refusal>, SourceError> {
        match no {
            NoBearer::Refused(refusal) => Ok(Err(refusal)),
            NoBearer::Key(error) => Err(SourceError::Misconfigured { message: error.to_string() }),
        }
    }

    async fn once(
        &self,
        request: &Request<Bytes>,
        bearer: &super::sign_in::Bearer,
    ) -> Result<Result<Response, Refusal>, SourceError> {
        let mut request = request.clone();
        let unsendable = |_| SourceError::Misconfigured {
            message: "the token holds characters that cannot be sent: enter it again".to_owned(),
        };
        let authorization = bearer.authorization();
        let mut authorization =
            http::HeaderValue::from_str(authorization.expose_secret()).map_err(unsendable)?;
        authorization.set_sensitive(true);
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(
            "x-snowflake-authorization-token-type",
            http::HeaderValue::from_static(bearer.kind),
        );
        let answer = self.wire.send(request).await?;
        if (200..300).contains(&answer.status) {
            return Ok(Ok(answer));
        }
        let (headers, status) = (answer.headers, answer.status);
        // What it says is of use, and not needed.
        let body = collect(answer.body, EXPLANATION_BYTES).await.unwrap_or_default();
        let body = if is_gzip(&headers) { unpack(&body).unwrap_or_default() } else { body };
        let mut refusal = Refusal::read(status, &body);
        refusal.clock_ahead = clock_ahead(&headers, self.clock.now());
        if refusal.meaning() == Meaning::Quota {
            self.wire.rest(QUOTA_HOLD.unsigned_abs());
        }
        Ok(Err(refusal))
    }

    /// Waits until statements that nobody waits for any more are cancelled, but not for long.
    pub(super) async fn close(&self) {
        let cancels =
            std::mem::take(&mut *self.cancels.lock().unwrap_or_else(PoisonError::into_inner));
        let all = futures_util::future::join_all(cancels);
        if tokio::time::timeout(CANCEL_PATIENCE, all).await.is_err() {
            tracing::warn!(
                "a statement may go on: Snowflake has not confirmed that it is cancelled"
            );
        }
    }

    /// Says that there is no such warehouse, as Snowflake would.
    pub(super) fn no_warehouse(&self) -> SourceError {
        let refusal = Refusal {
            status: 422,
            code: "390201".to_owned(),
            message: format!("no warehouse {} is in sight", self.context.warehouse),
            ..Refusal::default()
        };
        refusal.error(&self.context, None, self.clock.now())
    }

    /// What a run or a person should know of a failure.
    pub(super) fn explain(&self, failed: Failed) -> SourceError {
        match failed {
            Failed::Refused(refusal) => {
                refusal.error(&self.context, self.table.as_ref(), self.clock.now())
            }
            Failed::Untrue(error) | Failed::Source(error) => error,
        }
    }
}

/// Waits between two looks at what Snowflake is still at, for so long and no longer.
struct Wait {
    until: Instant,
    next: Duration,
}

impl Wait {
    fn new(most: Duration) -> Self {
        Self { until: Instant::now() + most, next: FIRST_POLL }
    }

    async fn next(&mut self) -> Result<(), Failed> {
        if Instant::now() > self.until {
            let message = "the statement's own time limit has passed".to_owned();
            return Err(Failed::Refused(Refusal { status: 408, message, ..Refusal::default() }));
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 3 / 2).min(LONGEST_POLL);
        Ok(())
    }
}

impl Call {
    fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: Bytes::new() }
    }

    fn request(&self) -> Request<Bytes> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        // A path of ours, an id and a handle that was checked: this is always an address.
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, http::HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static("gzip"));
        if !self.body.is_empty() {
            headers
                .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        }
        request
    }
}

/// A statement that runs. Dropped, it is cancelled: Snowflake would go on.
struct Running<'a> {
    session: &'a Arc<Session>,
    handle: String,
}

impl Running<'_> {
    fn finish(mut self) {
        self.handle.clear();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.handle.is_empty() {
            return;
        }
        let session = Arc::clone(self.session);
        let path = format!("{STATEMENTS}/{}/cancel", self.handle);
        if let Ok(runtime) = Handle::try_current() {
            let cancel = runtime.spawn(async move {
                let request = Call { method: Method::POST, path, body: Bytes::new() }.request();
                if let Err(error) = session.signed(request).await {
                    tracing::debug!(%error, "a statement could not be cancelled");
                }
            });
            let mut cancels = self.session.cancels.lock().unwrap_or_else(PoisonError::into_inner);
            cancels.retain(|cancel| !cancel.is_finished());
            cancels.push(cancel);
        }
    }
}

impl Selected {
    /// All rows, in order. Ends with an error unless every partition has as many rows as were
    /// announced.
    pub(super) fn rows(self) -> BoxStream<'static, Result<Rows, Failed>> {
        let width = self.result.columns.len();
        let mut first = Vec::new();
        let outcome = read_partition(self.first.reader(), width, 0, &mut first);
        let expected = self.result.partitions.first().copied().unwrap_or_default();
        let first = match outcome {
            Ok(count) if count == expected => first.into_iter().map(Ok).collect(),
            Ok(count) => vec![Err(Failed::Untrue(torn(0, count, expected)))],
            Err(Broken::Garbled(message)) => vec![Err(Failed::Source(garbled(&message)))],
            Err(Broken::Stopped) => Vec::new(),
        };
        let others = Partitions {
            ahead: None,
            at: 1,
            source: Arc::new(Others { session: self.session, result: self.result }),
        };
        stream::iter(first).chain(stream::unfold(others, Partitions::next)).boxed()
    }
}

/// The partitions behind the first one, of which one is always read ahead.
struct Partitions {
    source: Arc<Others>,
    /// The number of the next one to begin with.
    at: usize,
    ahead: Option<Reading>,
}

/// What came of a request for a partition.
enum PartitionRead {
    /// Snowflake is still at it.
    NotYet,
    /// So many rows.
    Rows(u64),
    /// Nobody wants more rows.
    Stopped,
}

/// Rows of a partition as they come; the channel ends after the last, or after an error.
type Reading = mpsc::Receiver<Result<Rows, Failed>>;

/// Where partitions come from.
struct Others {
    session: Arc<Session>,
    result: ResultSet,
}

impl Partitions {
    async fn next(mut self) -> Option<(Result<Rows, Failed>, Self)> {
        loop {
            let reading = match self.ahead.as_mut() {
                Some(reading) => reading,
                None => {
                    self.ahead = Some(self.source.begin(self.at)?);
                    self.at += 1;
                    continue;
                }
            };
            match reading.recv().await {
                Some(Ok(rows)) => return Some((Ok(rows), self)),
                Some(Err(failed)) => {
                    self.at = usize::MAX;
                    self.ahead = None;
                    return Some((Err(failed), self));
                }
                None => self.ahead = None,
            }
        }
    }
}

impl Others {
    /// Begins to read a partition, if there is one.
    fn begin(self: &Arc<Self>, at: usize) -> Option<Reading> {
        let expected = *self.result.partitions.get(at)?;
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let source = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = tokio::select! {
                outcome = source.read(at, expected, &sender) => outcome,
                () = sender.closed() => return,
            };
            if let Err(failed) = outcome {
                // Nobody waits for it if this fails.
                let _ = sender.send(Err(failed)).await;
            }
        });
        Some(receiver)
    }

    /// Reads a partition to its end, from where it broke off if it does.
    async fn read(
        &self,
        at: usize,
        expected: u64,
        sender: &mpsc::Sender<Result<Rows, Failed>>,
    ) -> Result<(), Failed> {
        let call = Call::get(format!("{STATEMENTS}/{}?partition={at}", self.result.handle));
        let width = self.result.columns.len();
        let taken = Mutex::new(0_u64);
        let taken = &taken;
        let read = |answer: Response| async move {
            if answer.status == 202 {
                return Ok(PartitionRead::NotYet);
            }
            let from = *taken.lock().unwrap_or_else(PoisonError::into_inner);
            let (sent, outcome) = decode(answer, width, from, sender.clone(), ANSWER_BYTES).await?;
            *taken.lock().unwrap_or_else(PoisonError::into_inner) += sent;
            match outcome {
                Ok(count) => Ok(PartitionRead::Rows(count)),
                Err(Broken::Stopped) => Ok(PartitionRead::Stopped),
                Err(Broken::Garbled(message)) => Err(garbled(&message)),
            }
        };
        let mut wait = Wait::new(self.session.timeout + QUEUE_ALLOWANCE);
        loop {
            return match self.session.persist(|_| call.request(), read).await? {
                PartitionRead::NotYet => {
                    wait.next().await?;
                    continue;
                }
                PartitionRead::Rows(count) if count != expected => {
                    Err(Failed::Untrue(torn(at, count, expected)))
                }
                PartitionRead::Rows(_) | PartitionRead::Stopped => Ok(()),
            };
        }
    }
}

/// Reads the rows behind the first `skip` on a thread of their own, of at most so many bytes of an
/// answer; returns how many were handed on, and how it ended.
async fn decode(
    answer: Response,
    width: usize,
    skip: u64,
    sender: mpsc::Sender<Result<Rows, Failed>>,
    most: usize,
) -> Result<(u64, Result<u64, Broken>), SourceError> {
    let is_packed = is_gzip(&answer.headers);
    let runtime = Handle::current();
    let work = move || {
        let body =
            BodyReader { body: answer.body, chunk: Bytes::new(), runtime, sender: sender.clone() };
        let mut sink = Channel { sender, sent: 0 };
        let reader: Box<dyn Read> = match is_packed {
            true => Box::new(MultiGzDecoder::new(io::BufReader::new(body))),
            false => Box::new(body),
        };
        let mut text = reader.take(most as u64 + 1);
        let buffered = io::BufReader::with_capacity(64 * 1024, &mut text);
        let outcome = read_partition(buffered, width, skip, &mut sink);
        match text.limit() {
            // A cell that goes on and on is in memory as a whole.
            0 => Err(too_long(most as u64)),
            _ => Ok((sink.sent, outcome)),
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| SourceError::Permanent {
        message: format!("reading rows came to an end: {error}"),
    })?
}

/// Hands rows on to whoever reads the stream.
struct Channel {
    sender: mpsc::Sender<Result<Rows, Failed>>,
    sent: u64,
}

impl Sink for Channel {
    fn take(&mut self, rows: Rows) -> Result<(), Stopped> {
        let count = rows.len() as u64;
        self.sender.blocking_send(Ok(rows)).map_err(|_| Stopped)?;
        self.sent += count;
        Ok(())
    }
}

/// A body as a thread reads it; ends with an error once nobody wants the rows.
struct BodyReader {
    body: BoxStream<'static, Result<Bytes, SourceError>>,
    chunk: Bytes,
    runtime: Handle,
    sender: mpsc::Sender<Result<Rows, Failed>>,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let next = self.runtime.block_on(async {
                tokio::select! {
                    next = self.body.next() => Ok(next),
                    () = self.sender.closed() => Err(io::Error::other("nobody wants more rows")),
                }
            })?;
            match next {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}

async fn collect(
    mut body: BoxStream<'static, Result<Bytes, SourceError>>,
    limit: usize,
) -> Result<Bytes, SourceError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_long(limit as u64));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn unpack(bytes: &[u8]) -> Result<Bytes, SourceError> {
    let mut unpacked = Vec::new();
    let limit = ANSWER_BYTES as u64;
    let read = MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut unpacked);
    match read {
        Ok(count) if count as u64 <= limit => Ok(unpacked.into()),
        Ok(_) => Err(too_long(limit)),
        Err(error) => Err(garbled(&error.to_string())),
    }
}

fn is_gzip(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|value| value.as_bytes() == b"gzip")
}

/// By how many seconds the clock of the server is ahead of ours.
fn clock_ahead(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(theirs.as_second() - now.as_second())
}

fn garbled(message: &str) -> SourceError {
    SourceError::Garbled { message: format!("Snowflake's answer with rows: {message}") }
}

fn too_long(limit: u64) -> SourceError {
    SourceError::Permanent { message: format!("Snowflake's answer is longer than {limit} bytes") }
}

fn torn(at: usize, count: u64, expected: u64) -> SourceError {
    SourceError::Garbled {
        message: format!(
            "Snowflake's answer with rows: partition {at} has {count} rows, where {expected} were \
             announced"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::{super::account, *};
    use crate::{clock::SystemClock, model::Credentials, sources::snowflake::names::Name};

    /// An account that is never done with a statement. Keeps what it was asked.
    #[derive(Default)]
    struct NeverDone(Mutex<Vec<String>>);

    impl NeverDone {
        fn asked(&self, ending: &str) -> Vec<String> {
            let asked = self.0.lock().unwrap();
            asked.iter().filter(|path| path.ends_with(ending)).cloned().collect()
        }
    }

    #[async_trait]
    impl Wire for NeverDone {
        async fn send(&self, request: Request<Bytes>) -> Result<Response, SourceError> {
            let mut asked = self.0.lock().unwrap();
            asked.push(request.uri().path().to_owned());
            let submitted = asked.iter().filter(|path| path.ends_with("statements")).count();
            let body = json!({ "statementHandle": format!("h-{submitted}") }).to_string();
            let body = stream::iter([Ok(Bytes::from(body))]).boxed();
            Ok(Response { status: 202, headers: HeaderMap::new(), body })
        }

        fn rest(&self, _: Duration) {}
    }

    /// An answer with these bytes, packed.
    fn packed(text: &[u8]) -> Response {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        let packed = Bytes::from(packed.finish().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
        Response { status: 200, headers, body: stream::iter([Ok(packed)]).boxed() }
    }

    #[tokio::test]
    async fn a_partition_that_unpacks_to_more_than_it_may_is_not_read_on() {
        let text = format!(r#"{{"data":[["1"],["{}"]]}}"#, "x".repeat(100_000));
        let read = async |most: usize| {
            let (sender, _receiver) = mpsc::channel(BATCHES_AHEAD);
            decode(packed(text.as_bytes()), 1, 0, sender, most).await
        };
        assert!(matches!(read(text.len()).await, Ok((2, Ok(2)))));
        let Err(SourceError::Permanent { message }) = read(text.len() - 1).await else {
            panic!("it was read on");
        };
        assert!(message.contains(&(text.len() - 1).to_string()), "{message}");
    }

    /// A session with one.
    fn never_done() -> (Arc<NeverDone>, Arc<Session>) {
        let account = account::Account::parse("org-acc").unwrap();
        let token = json!({"type": "username_password", "username": "u", "password": "pat"});
        let token = Credentials::from_json(token.to_string());
        let wire = Arc::new(NeverDone::default());
        let session = Session {
            wire: Arc::clone(&wire) as Arc<dyn Wire>,
            sign_in: Arc::new(SignIn::new(account, Some(&token)).unwrap()),
            context: Context { warehouse: Name::exact("WH"), role: None, lets_in: None },
            table: None,
            timeout: Duration::from_secs(300),
            clock: Arc::new(SystemClock),
            worked: Mutex::default(),
            cancels: Mutex::default(),
        };
        (wire, Arc::new(session))
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_is_never_ready_is_not_waited_for_without_end() {
        let (_, session) = never_done();
        let handle = "h-1".to_owned();
        let result = ResultSet { handle, columns: Vec::new(), partitions: vec![0, 1], began: None };
        let mut reading = Arc::new(Others { session, result }).begin(1).unwrap();
        let began = Instant::now();
        let Some(Err(Failed::Refused(refusal))) = reading.recv().await else {
            panic!("it was read");
        };
        assert_eq!(refusal.meaning(), Meaning::StatementTimeout);
        let waited = began.elapsed().as_secs();
        assert!((900..920).contains(&waited), "{waited}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_outlasts_its_time_is_cancelled_and_so_is_its_second_try() {
        let (wire, session) = never_done();
        let statement = Statement { text: "SELECT 1".to_owned(), binds: Vec::new() };
        let began = Instant::now();
        let outcome = session.select(&statement, Takes::Warehouse).await;
        let Err(Failed::Refused(refusal)) = outcome else { panic!("it came to its end") };
        assert_eq!(refusal.meaning(), Meaning::StatementTimeout);
        let waited = began.elapsed().as_secs();
        // Once as long as it may, once twice as long, and ten minutes for the queue each time.
        assert!((2100..2140).contains(&waited), "{waited}");
        session.close().await;
        assert_eq!(wire.asked("statements").len(), 2);
        let cancelled = wire.asked("/cancel");
        assert_eq!(cancelled.len(), 2, "{cancelled:?}");
        assert!(cancelled[0].ends_with("h-1/cancel") && cancelled[1].ends_with("h-2/cancel"));
    }
}
