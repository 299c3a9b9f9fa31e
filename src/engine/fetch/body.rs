//! Storing the bytes of one body where their size belongs, hashed as they pass.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::ready,
    stream::{BoxStream, once},
};
use tokio::task::spawn_blocking;

use super::checks::Checks;
use crate::{
    blobs::{BlobError, Blobs, INLINE_MAX, Stage},
    engine::Observer,
    model::{BlobHash, ErrorType, ExpectedHash, Mismatch},
    sources::{BlockingRead, Body, ErrorClass, SourceError, retry::Classified, web::WebError},
    store::{StoreError, commit::Stored},
};

/// How many bytes are collected before they are handed to a blocking thread.
const BUFFER: usize = 256 * 1024;

/// Why an entry could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum FetchError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its values do not fit the mapping or the bucket's schema.
    #[error(transparent)]
    Mapping(#[from] Mismatch),
    /// A URL in its data could not be fetched.
    #[error("{url}: {error}")]
    Web {
        /// The URL, without its secrets.
        url: String,
        /// What is wrong.
        error: WebError,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] BlobError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Our code panicked while working on this entry.
    #[error("an internal error of Catchment stopped the work on it")]
    Died,
}

impl Classified for FetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => error.class(),
            Self::Mapping(_) | Self::Died => ErrorClass::Entry,
            Self::Web { error, .. } => error.class(),
            Self::Disk(BlobError::TooLarge { .. }) => ErrorClass::Entry,
            Self::Disk(_) | Self::Store(_) => ErrorClass::Connection,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Source(error) => error.retry_after(),
            _ => None,
        }
    }

    fn is_timeout(&self) -> bool {
        match self {
            Self::Source(error) => error.is_timeout(),
            Self::Web { error, .. } => error.is_timeout(),
            _ => false,
        }
    }
}

impl FetchError {
    /// How the API names it on a dead letter.
    pub(in crate::engine) const fn error_type(&self) -> ErrorType {
        match self {
            Self::Source(error) => error.error_type(),
            Self::Mapping(_) => ErrorType::SchemaMismatch,
            Self::Web { error, .. } => error.error_type(),
            Self::Disk(BlobError::TooLarge { .. }) => ErrorType::TooLarge,
            Self::Disk(_) | Self::Store(_) | Self::Died => ErrorType::Internal,
        }
    }
}

impl From<WebError> for FetchError {
    fn from(error: WebError) -> Self {
        Self::Web { url: String::new(), error }
    }
}

/// Runs `work` on a blocking thread. It starts at once, even before the result is awaited.
pub(super) fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> impl Future<Output = Result<T, FetchError>> + Send {
    let task = spawn_blocking(work);
    async {
        match task.await {
            Ok(outcome) => outcome,
            // A fault of ours fails one entry, not the others.
            Err(error) if error.is_panic() => Err(FetchError::Died),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }
}

/// Reads on a blocking thread, for as long as the result is awaited.
pub(super) async fn read_blocking<T: Send + 'static>(
    reader: Box<dyn BlockingRead>,
    work: impl FnOnce(Box<dyn BlockingRead>) -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let _guard = reader.drop_guard();
    on_blocking_thread(move || work(reader)).await
}

/// The error of a body that does not have the expected size.
pub(super) fn wrong_size(size: u64, got: u64) -> SourceError {
    let message = format!("{size} bytes were announced and {got} arrived");
    if got > size { SourceError::Changed { message } } else { SourceError::Transient { message } }
}

/// Stores the `size` bytes of a body where their size belongs.
pub(in crate::engine) async fn store(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    body: Body,
    size: u64,
) -> Result<Stored, FetchError> {
    if size <= INLINE_MAX {
        small(observer, body, size).await
    } else {
        as_file(blobs, observer, body, size).await
    }
}

/// Stores the bytes of a body that has `size` bytes and these hashes; `None`: any size.
pub(super) async fn store_checked(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    body: Body,
    size: Option<u64>,
    hashes: &[ExpectedHash],
) -> Result<Stored, FetchError> {
    let (stored, check) = store_any(blobs, observer, body, hashes).await?;
    if let Some(size) = size.filter(|size| *size != stored.size) {
        return Err(wrong_size(size, stored.size).into());
    }
    check?;
    Ok(stored)
}

/// Stores the bytes of a body of any size, and says whether they have these hashes. They are in
/// memory as long as they are few, then in a file.
pub(super) async fn store_any(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    body: Body,
    hashes: &[ExpectedHash],
) -> Result<(Stored, Result<(), SourceError>), FetchError> {
    let checks = Checks::new(hashes);
    let sink = match body {
        Body::Stream(stream) => {
            let stream = match few(stream).await? {
                Few::Whole(bytes) => return Ok(checked(bytes, checks, &**observer)),
                Few::Beginning(stream) => stream,
            };
            let sink = Sink { blobs: blobs.clone(), checks, held: HeldBytes::default() };
            let write = |sink: &mut Sink, bytes: &[u8]| sink.write(bytes);
            in_buffers(observer, stream, sink, write).await?
        }
        Body::Blocking(reader) => {
            let sink = Sink { blobs: blobs.clone(), checks, held: HeldBytes::default() };
            let observer = observer.clone();
            read_blocking(reader, move |reader| {
                let mut sink = sink;
                drain(&*observer, reader, |bytes| sink.write(bytes))?;
                Ok(sink)
            })
            .await?
        }
    };
    on_blocking_thread(move || sink.finish()).await
}

/// A body that is few bytes, or more.
enum Few {
    Whole(Bytes),
    Beginning(BoxStream<'static, Result<Bytes, SourceError>>),
}

/// Collects a body as long as it is small enough to stay in memory.
async fn few(
    mut stream: BoxStream<'static, Result<Bytes, SourceError>>,
) -> Result<Few, FetchError> {
    let mut bytes = BytesMut::new();
    while bytes.len() as u64 <= INLINE_MAX {
        match stream.try_next().await? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Ok(Few::Whole(bytes.freeze())),
        }
    }
    Ok(Few::Beginning(once(ready(Ok(bytes.freeze()))).chain(stream).boxed()))
}

/// Checks and hashes few bytes at once, which takes less than handing them to another thread: with
/// that, a hundred downloads at a time kept as many threads, and each the memory it had used.
fn checked(
    bytes: Bytes,
    mut checks: Checks,
    observer: &dyn Observer,
) -> (Stored, Result<(), SourceError>) {
    checks.update(&bytes);
    (in_memory(bytes, observer), checks.finish())
}

/// Stores bytes that came with the listing.
pub(super) async fn store_listed(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    bytes: Bytes,
) -> Result<Stored, FetchError> {
    if bytes.len() as u64 <= INLINE_MAX {
        return Ok(in_memory(bytes, &**observer));
    }
    let (blobs, observer) = (blobs.clone(), observer.clone());
    on_blocking_thread(move || {
        let mut stage = blobs.stage()?;
        stage.write(&bytes)?;
        observer.received(bytes.len() as u64);
        finish_any(stage)
    })
    .await
}

/// Where bytes of an unknown number go.
struct Sink {
    blobs: Blobs,
    checks: Checks,
    held: HeldBytes,
}

enum HeldBytes {
    Memory(BytesMut),
    File(Box<Stage>),
}

impl Default for HeldBytes {
    fn default() -> Self {
        Self::Memory(BytesMut::new())
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.checks.update(bytes);
        match &mut self.held {
            HeldBytes::File(stage) => stage.write(bytes),
            HeldBytes::Memory(memory) if (memory.len() + bytes.len()) as u64 <= INLINE_MAX => {
                memory.extend_from_slice(bytes);
                Ok(())
            }
            HeldBytes::Memory(memory) => {
                let mut stage = self.blobs.stage()?;
                stage.write(memory)?;
                stage.write(bytes)?;
                self.held = HeldBytes::File(Box::new(stage));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<(Stored, Result<(), SourceError>), FetchError> {
        let stored = match self.held {
            HeldBytes::File(stage) => finish_any(*stage)?,
            HeldBytes::Memory(memory) => {
                let bytes = memory.freeze();
                let (hash, size) = (BlobHash::of(&bytes), bytes.len() as u64);
                Stored { hash, size, inline: Some(bytes) }
            }
        };
        Ok((stored, self.checks.finish()))
    }
}

/// Bytes that go into the database with their row.
async fn small(observer: &Arc<dyn Observer>, body: Body, size: u64) -> Result<Stored, FetchError> {
    let bytes = match body {
        Body::Stream(stream) => collect(stream, size).await?,
        Body::Blocking(reader) => {
            read_blocking(reader, move |reader| read_small(reader, size)).await?
        }
    };
    Ok(in_memory(bytes, &**observer))
}

pub(super) fn in_memory(bytes: Bytes, observer: &dyn Observer) -> Stored {
    let size = bytes.len() as u64;
    observer.received(size);
    Stored { hash: BlobHash::of(&bytes), size, inline: Some(bytes) }
}

async fn collect(
    mut stream: BoxStream<'static, Result<Bytes, SourceError>>,
    size: u64,
) -> Result<Bytes, FetchError> {
    let mut first = stream.try_next().await?.unwrap_or_default();
    if first.len() as u64 == size {
        return match stream.try_next().await? {
            // A copy: it is a piece of the buffer that its connection reads into, which would stay
            // in memory as a whole until the entry is committed.
            None => Ok(Bytes::copy_from_slice(&first)),
            Some(more) => Err(wrong_size(size, size + more.len() as u64).into()),
        };
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    loop {
        bytes.extend_from_slice(&first);
        if bytes.len() as u64 > size {
            return Err(wrong_size(size, bytes.len() as u64).into());
        }
        match stream.try_next().await? {
            Some(chunk) => first = chunk,
            None if bytes.len() as u64 == size => return Ok(bytes.freeze()),
            None => return Err(wrong_size(size, bytes.len() as u64).into()),
        }
    }
}

pub(super) fn read_small(
    mut reader: Box<dyn BlockingRead>,
    size: u64,
) -> Result<Bytes, FetchError> {
    // One byte more than expected, so that the end is seen without another buffer.
    let mut buffer = vec![0; usize::try_from(size).unwrap_or_default() + 1];
    let mut filled = 0;
    loop {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
        if filled as u64 > size {
            return Err(wrong_size(size, filled as u64).into());
        }
    }
    if filled as u64 != size {
        return Err(wrong_size(size, filled as u64).into());
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

/// Bytes that become a file, front to back.
async fn as_file(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    body: Body,
    size: u64,
) -> Result<Stored, FetchError> {
    let (blobs, observer) = (blobs.clone(), observer.clone());
    let stream = match body {
        Body::Stream(stream) => stream,
        Body::Blocking(reader) => {
            let hash = read_blocking(reader, move |reader| {
                let mut stage = blobs.stage()?;
                drain(&*observer, reader, |bytes| stage.write(bytes))?;
                finish(stage, size)
            });
            return Ok(Stored { hash: hash.await?, size, inline: None });
        }
    };
    let stage = on_blocking_thread(move || Ok(blobs.stage()?)).await?;
    let write = |stage: &mut Stage, bytes: &[u8]| stage.write(bytes);
    let stage = in_buffers(&observer, stream, stage, write).await?;
    let hash = on_blocking_thread(move || finish(stage, size)).await?;
    Ok(Stored { hash, size, inline: None })
}

/// Finishes a blob whose size was not known before.
pub(super) fn finish_any(stage: Stage) -> Result<Stored, FetchError> {
    let size = stage.size();
    Ok(Stored { hash: stage.finish()?, size, inline: None })
}

fn finish(stage: Stage, size: u64) -> Result<BlobHash, FetchError> {
    if stage.size() != size {
        return Err(wrong_size(size, stage.size()).into());
    }
    Ok(stage.finish()?)
}

/// Writes a stream into `sink` on blocking threads, many chunks at a time and without copying them.
/// One buffer is written while the next one arrives.
pub(super) async fn in_buffers<S: Send + 'static, E: Into<FetchError>>(
    observer: &Arc<dyn Observer>,
    mut stream: BoxStream<'static, Result<Bytes, E>>,
    sink: S,
    write: impl Fn(&mut S, &[u8]) -> Result<(), BlobError> + Copy + Send + 'static,
) -> Result<S, FetchError> {
    let mut writing = ready(Ok(sink)).boxed();
    let mut chunks: Vec<Bytes> = Vec::new();
    let mut gathered = 0;
    loop {
        let chunk = match stream.try_next().await {
            Ok(chunk) => chunk,
            Err(error) => {
                // Nothing is written any more once this has returned.
                drop(writing.await);
                return Err(error.into());
            }
        };
        let at_end = chunk.is_none();
        if let Some(chunk) = chunk {
            observer.received(chunk.len() as u64);
            gathered += chunk.len();
            chunks.push(chunk);
        }
        if gathered >= BUFFER || (at_end && gathered > 0) {
            let mut sink = writing.await?;
            let buffer = std::mem::take(&mut chunks);
            gathered = 0;
            let write_all = move || {
                buffer.iter().try_for_each(|chunk| write(&mut sink, chunk))?;
                Ok(sink)
            };
            writing = on_blocking_thread(write_all).boxed();
        }
        if at_end {
            return writing.await;
        }
    }
}

pub(super) fn drain(
    observer: &dyn Observer,
    mut reader: Box<dyn BlockingRead>,
    mut write: impl FnMut(&[u8]) -> Result<(), BlobError>,
) -> Result<(), FetchError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            read => {
                write(&buffer[..read])?;
                observer.received(read as u64);
            }
        }
    }
}
