//! Bringing the bytes of one body to where their size belongs, hashed as they pass.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, TryStreamExt as _, future::ready, stream::BoxStream};
use tokio::task::spawn_blocking;

use crate::{
    blobs::{BlobError, Blobs, INLINE_MAX, Stage},
    engine::Observer,
    model::{BlobHash, ErrorType, Mismatch},
    sources::{BlockingRead, Body, ErrorClass, SourceError, retry::Classified, web::WebError},
    store::{StoreError, commit::Stored},
};

/// Bytes that are gathered before they are handed to a blocking thread.
const BUFFER: usize = 256 * 1024;

/// Why bytes could not be brought over.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum FetchError {
    /// The source's fault.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its values do not fit the mapping or the bucket's schema.
    #[error(transparent)]
    Mapping(#[from] Mismatch),
    /// A URL that it names.
    #[error("{url}: {error}")]
    Web {
        /// The URL, as far as it may be shown.
        url: String,
        /// What is wrong.
        error: WebError,
    },
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] BlobError),
    /// The database's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Ours, with this entry.
    #[error("a fault of Catchment's own stopped the work on it")]
    Died,
}

impl Classified for FetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => error.class(),
            Self::Mapping(_) | Self::Died => ErrorClass::Entry,
            Self::Web { error, .. } => error.class(),
            Self::Disk(_) | Self::Store(_) => ErrorClass::Connection,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Source(error) => error.retry_after(),
            _ => None,
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
            Self::Disk(_) | Self::Store(_) | Self::Died => ErrorType::Internal,
        }
    }
}

impl From<WebError> for FetchError {
    fn from(error: WebError) -> Self {
        Self::Web { url: String::new(), error }
    }
}

/// Does the work on a blocking thread. It begins at once, whether or not anybody waits yet.
pub(super) fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> impl Future<Output = Result<T, FetchError>> + Send {
    let task = spawn_blocking(work);
    async {
        match task.await {
            Ok(outcome) => outcome,
            // One entry that trips over a fault of ours stops no other.
            Err(error) if error.is_panic() => Err(FetchError::Died),
            Err(_) => Err(StoreError::Stopped.into()),
        }
    }
}

/// Reads on a blocking thread, for as long as somebody waits for what becomes of it.
pub(super) async fn reading<T: Send + 'static>(
    reader: Box<dyn BlockingRead>,
    work: impl FnOnce(Box<dyn BlockingRead>) -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let _guard = reader.drop_guard();
    on_blocking_thread(move || work(reader)).await
}

/// A body that does not have the size that its version has.
pub(super) fn wrong_size(size: u64, got: u64) -> SourceError {
    let message = format!("{size} bytes were announced and {got} arrived");
    if got > size { SourceError::Changed { message } } else { SourceError::Transient { message } }
}

/// Brings the `size` bytes of a body to where their size belongs.
pub(in crate::engine) async fn store(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    body: Body,
    size: u64,
) -> Result<Stored, FetchError> {
    if size <= INLINE_MAX {
        small(observer, body, size).await
    } else {
        whole(blobs, observer, body, size).await
    }
}

/// Bytes that go into the database with their row.
async fn small(observer: &Arc<dyn Observer>, body: Body, size: u64) -> Result<Stored, FetchError> {
    let bytes = match body {
        Body::Stream(stream) => gather(stream, size).await?,
        Body::Blocking(reader) => reading(reader, move |reader| slurp(reader, size)).await?,
    };
    Ok(kept(bytes, &**observer))
}

pub(super) fn kept(bytes: Bytes, observer: &dyn Observer) -> Stored {
    let size = bytes.len() as u64;
    observer.received(size);
    Stored { hash: BlobHash::of(&bytes), size, inline: Some(bytes) }
}

async fn gather(
    mut stream: BoxStream<'static, Result<Bytes, SourceError>>,
    size: u64,
) -> Result<Bytes, FetchError> {
    let mut first = stream.try_next().await?.unwrap_or_default();
    if first.len() as u64 == size {
        return match stream.try_next().await? {
            None => Ok(first),
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

pub(super) fn slurp(mut reader: Box<dyn BlockingRead>, size: u64) -> Result<Bytes, FetchError> {
    // One more than there should be, so that the end is seen without another buffer.
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
async fn whole(
    blobs: &Blobs,
    observer: &Arc<dyn Observer>,
    body: Body,
    size: u64,
) -> Result<Stored, FetchError> {
    let (blobs, observer) = (blobs.clone(), observer.clone());
    let stream = match body {
        Body::Stream(stream) => stream,
        Body::Blocking(reader) => {
            let hash = reading(reader, move |reader| {
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

/// Finishes a blob of whatever size it has come to have.
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

/// Drains a stream into `sink` on blocking threads, many chunks at a time and none of them copied. One
/// buffer is written while the next one arrives.
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
                // Nobody writes on once this has returned.
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
