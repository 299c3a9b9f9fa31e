//! Fetching an entry: its bytes into the blob store, hashed as they pass, however often it takes.
//!
//! Small ones are kept in memory and go into the database with their row; larger ones become files;
//! the largest come in parts, in parallel, and what has arrived of them survives the run.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use tokio::task::spawn_blocking;

use super::{Observer, RunError, plan::Work, run::Run};
use crate::{
    blobs::{BlobError, Blobs, INLINE_MAX, PART_BYTES, PartHasher, Partial, Room, Stage},
    model::{BlobHash, EntryKind, ErrorType, Fingerprint},
    sources::{
        BlockingRead, Body, ByteRange, Content, ErrorClass, Facts, SourceError,
        retry::{Classified, RetryPolicy},
    },
    store::{
        commit::{Stored, Taken},
        dead_letters::Failure,
    },
};

/// What became of an entry.
#[derive(Debug)]
pub enum Outcome {
    /// Its bytes are here.
    Taken(Box<Taken>),
    /// It has changed since it was listed and no longer passes the filters.
    Filtered,
    /// It is gone since it was listed.
    Vanished,
    /// It could not be taken.
    Failed(Failure),
    /// Nothing else could be taken either.
    Fatal(RunError),
}

/// How often an entry that changes under our hands is looked at anew.
const REREADS: usize = 3;

/// Parts of one blob at once.
const PARTS_AT_ONCE: usize = 8;

/// Bytes that are gathered before they are handed to a blocking thread.
const BUFFER: usize = 256 * 1024;

/// From this size on a blob comes in parts.
const IN_PARTS: u64 = 2 * PART_BYTES;

/// Why bytes could not be brought over.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The source's fault.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The disk's.
    #[error(transparent)]
    Disk(#[from] BlobError),
    /// Ours.
    #[error("a worker thread has died")]
    Died,
}

impl Classified for FetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Source(error) => error.class(),
            Self::Disk(_) | Self::Died => ErrorClass::Connection,
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Source(error) => error.retry_after(),
            Self::Disk(_) | Self::Died => None,
        }
    }
}

/// An entry that was fetched, for the page that it is of.
#[derive(Debug)]
pub struct Fetched {
    /// The page.
    pub page: u64,
    /// The key of the entry's row, if it has one.
    pub known: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Room on the disk for what is still in memory of it.
    pub room: Option<Arc<Room>>,
}

/// Works that are carried out by one task: a single one, or several small ones of a source that is
/// best read so.
pub type Bundle = Vec<(u64, Work)>;

/// Most bytes of a bundle of several works.
const BUNDLE_BYTES: u64 = 256 * 1024;

/// Takes the next bundle off the works that wait; empty only when there are none.
pub(super) fn next_bundle(waiting: &mut VecDeque<(u64, Work)>, most: usize) -> Bundle {
    let mut bundle = Vec::new();
    let mut bytes = 0;
    while let Some((_, work)) = waiting.front() {
        bytes += work.fingerprint.size;
        if !bundle.is_empty() && (bundle.len() >= most || bytes > BUNDLE_BYTES) {
            break;
        }
        bundle.extend(waiting.pop_front());
    }
    bundle
}

/// Fetches a bundle's entries, retrying what may pass and looking again at what has changed.
///
/// Room for all of them is set aside first; large ones that come in parts see to that themselves.
pub(super) async fn fetch(run: Arc<Run>, bundle: Bundle) -> Vec<Fetched> {
    let bytes = bundle.iter().map(|(_, work)| room_for(&run, work)).sum();
    let room = match run.blobs.reserve(bytes) {
        Ok(room) => Arc::new(room),
        Err(error) => return no_room(&bundle, error),
    };
    for (_, work) in &bundle {
        run.observer.fetching(&work.path, work.fingerprint.size);
    }
    let first_tries = match bundle.len() {
        1 => vec![None],
        _ => all_at_once(&run, &bundle).await,
    };
    let mut fetched = Vec::with_capacity(bundle.len());
    for ((page, mut work), first_try) in bundle.into_iter().zip(first_tries) {
        let outcome = match first_try {
            Some((facts, stored)) => Outcome::Taken(Box::new(taken(&work, facts, stored))),
            None => take(&run, &mut work).await,
        };
        run.observer.fetched(&work.path);
        let in_memory = work.fingerprint.size <= INLINE_MAX;
        let room = in_memory.then(|| room.clone());
        fetched.push(Fetched { page, known: work.known, outcome, room });
    }
    fetched
}

/// What an entry will take: small ones lie in the database's log and, later, in the database.
fn room_for(run: &Run, work: &Work) -> u64 {
    match work.fingerprint.size {
        size if size <= INLINE_MAX => 2 * size + ROW_BYTES,
        size if size >= IN_PARTS && run.source.ranges() => ROW_BYTES,
        size => size + ROW_BYTES,
    }
}

/// About what the rows of an entry take.
const ROW_BYTES: u64 = 1024;

fn no_room(bundle: &Bundle, error: BlobError) -> Vec<Fetched> {
    let stands_for_all = bundle.first().map(|(page, work)| Fetched {
        page: *page,
        known: work.known,
        outcome: Outcome::Fatal(error.into()),
        room: None,
    });
    stands_for_all.into_iter().collect()
}

/// Reads small entries one after the other on one blocking thread. `None` for each that did not go
/// smoothly: it is taken by itself, with all patience.
async fn all_at_once(run: &Arc<Run>, bundle: &Bundle) -> Vec<Option<(Facts, Stored)>> {
    let _permit = permit(run).await;
    let mut readers = Vec::with_capacity(bundle.len());
    for (_, work) in bundle {
        let size = work.fingerprint.size;
        readers.push(match run.source.fetch(&work.id, &work.fingerprint, None).await {
            Ok(Content { facts, body: Body::Blocking(reader) }) if size <= INLINE_MAX => {
                Some((facts, reader, size))
            }
            _ => None,
        });
    }
    let observer = run.observer.clone();
    let read = move || {
        let read =
            |(facts, reader, size)| Some((facts, kept(slurp(reader, size).ok()?, &*observer)));
        Ok(readers.into_iter().map(|reader| reader.and_then(read)).collect())
    };
    let nothing = || bundle.iter().map(|_| None).collect();
    on_blocking_thread(read).await.unwrap_or_else(|_| nothing())
}

async fn take(run: &Arc<Run>, work: &mut Work) -> Outcome {
    let mut rereads = 0;
    loop {
        let error = match content(run, work).await {
            Ok((facts, stored)) => return Outcome::Taken(Box::new(taken(work, facts, stored))),
            Err(error) => error,
        };
        match error.class() {
            ErrorClass::Reread if rereads < REREADS => rereads += 1,
            ErrorClass::Reread
            | ErrorClass::Retry
            | ErrorClass::RetryBriefly
            | ErrorClass::Entry => return failed(work, &error),
            // Gone may mean replaced; the second look tells.
            ErrorClass::Gone if rereads == 0 => rereads += 1,
            ErrorClass::Gone => return Outcome::Vanished,
            ErrorClass::Connection => return Outcome::Fatal(fatal(error)),
        }
        match look_again(run, work).await {
            Ok(Some(fingerprint)) => work.fingerprint = fingerprint,
            Ok(None) => return Outcome::Vanished,
            Err(error) if error.class() == ErrorClass::Connection => {
                return Outcome::Fatal(error.into());
            }
            Err(error) => return failed(work, &error.into()),
        }
        if run.filter.refuses(&work.path, &work.fingerprint).is_some() {
            return Outcome::Filtered;
        }
    }
}

/// The entry as it is now; `None` when it is gone, or no longer a file.
async fn look_again(run: &Run, work: &Work) -> Result<Option<Fingerprint>, SourceError> {
    let entry = RetryPolicy::FETCH.run(|| run.source.stat(&work.id)).await?;
    Ok(entry.and_then(|entry| match entry.kind {
        EntryKind::File(fingerprint) => Some(fingerprint),
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => None,
    }))
}

fn taken(work: &Work, facts: Facts, stored: Stored) -> Taken {
    let mime = facts
        .mime
        .or_else(|| work.fingerprint.mime.clone())
        .or_else(|| work.path.mime_guess().map(str::to_owned));
    let metadata = (!facts.metadata.is_empty())
        .then(|| serde_json::Value::from_iter(facts.metadata).to_string());
    Taken {
        id: work.id.clone(),
        path: work.path.clone(),
        fingerprint: work.fingerprint.clone(),
        mime,
        metadata,
        stored,
    }
}

fn failed(work: &Work, error: &FetchError) -> Outcome {
    let error_type = match error {
        FetchError::Source(error) => error.error_type(),
        FetchError::Disk(_) | FetchError::Died => ErrorType::Internal,
    };
    Outcome::Failed(Failure {
        id: work.id.clone(),
        path: work.path.clone(),
        error_type,
        message: error.to_string(),
    })
}

fn fatal(error: FetchError) -> RunError {
    match error {
        FetchError::Source(error) => error.into(),
        FetchError::Disk(error) => error.into(),
        FetchError::Died => crate::store::StoreError::Stopped.into(),
    }
}

/// The bytes of an entry, in the way that suits its size.
async fn content(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
    if work.fingerprint.size >= IN_PARTS && run.source.ranges() {
        in_parts(run, work).await
    } else {
        RetryPolicy::FETCH.run(|| in_one(run, work)).await
    }
}

/// One try at the bytes of an entry, front to back.
async fn in_one(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
    let size = work.fingerprint.size;
    let _permit = permit(run).await;
    let content = run.source.fetch(&work.id, &work.fingerprint, None).await?;
    let stored = store(&run.blobs, &run.observer, content.body, size).await?;
    Ok((content.facts, stored))
}

async fn permit(run: &Run) -> Option<tokio::sync::SemaphorePermit<'_>> {
    // Never closed; if it were, going without a permit would do no harm.
    run.requests.acquire().await.ok()
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    spawn_blocking(work).await.unwrap_or(Err(FetchError::Died))
}

/// A body that does not have the size that its version has.
fn wrong_size(size: u64, got: u64) -> SourceError {
    let message = format!("{size} bytes were announced and {got} arrived");
    if got > size { SourceError::Changed { message } } else { SourceError::Transient { message } }
}

/// Brings the `size` bytes of a body to where their size belongs.
pub(super) async fn store(
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
        Body::Blocking(reader) => on_blocking_thread(move || slurp(reader, size)).await?,
    };
    Ok(kept(bytes, &**observer))
}

fn kept(bytes: Bytes, observer: &dyn Observer) -> Stored {
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

fn slurp(mut reader: Box<dyn BlockingRead>, size: u64) -> Result<Bytes, FetchError> {
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
    let hash = match body {
        Body::Stream(stream) => {
            let stage = on_blocking_thread(move || Ok(blobs.stage()?)).await?;
            let write = |stage: &mut Stage, bytes: &[u8]| stage.write(bytes);
            let stage = in_buffers(&observer, stream, stage, write).await?;
            on_blocking_thread(move || finish(stage, size)).await?
        }
        Body::Blocking(reader) => {
            on_blocking_thread(move || {
                let mut stage = blobs.stage()?;
                drain(&*observer, reader, |bytes| stage.write(bytes))?;
                finish(stage, size)
            })
            .await?
        }
    };
    Ok(Stored { hash, size, inline: None })
}

fn finish(stage: Stage, size: u64) -> Result<BlobHash, FetchError> {
    if stage.size() != size {
        return Err(wrong_size(size, stage.size()).into());
    }
    Ok(stage.finish()?)
}

/// Drains a stream into `sink` on blocking threads, a buffer at a time.
async fn in_buffers<S: Send + 'static>(
    observer: &Arc<dyn Observer>,
    mut stream: BoxStream<'static, Result<Bytes, SourceError>>,
    mut sink: S,
    write: impl Fn(&mut S, &[u8]) -> Result<(), BlobError> + Copy + Send + 'static,
) -> Result<S, FetchError> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let chunk = stream.try_next().await?;
        let at_end = chunk.is_none();
        if let Some(chunk) = chunk {
            observer.received(chunk.len() as u64);
            buffer.extend_from_slice(&chunk);
        }
        if buffer.len() >= BUFFER || (at_end && !buffer.is_empty()) {
            (sink, buffer) = on_blocking_thread(move || {
                write(&mut sink, &buffer)?;
                buffer.clear();
                Ok((sink, buffer))
            })
            .await?;
        }
        if at_end {
            return Ok(sink);
        }
    }
}

fn drain(
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

/// Bytes that become a file by parts; those that an earlier try brought are not fetched again.
async fn in_parts(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
    let (blobs, sync) = (run.blobs.clone(), run.sync.id.clone());
    let (id, fingerprint) = (work.id.clone(), work.fingerprint.clone());
    let size = fingerprint.size;
    let partial =
        on_blocking_thread(move || Ok(blobs.partial(&sync, &id, &fingerprint.version, size)?))
            .await?;
    let missing = partial.missing();
    let partial = Arc::new(partial);
    let mut facts = None;
    {
        let mut parts = stream::iter(missing)
            .map(|index| retrying_part(run, work, &partial, index))
            .buffer_unordered(PARTS_AT_ONCE);
        while let Some(found) = parts.try_next().await? {
            facts.get_or_insert(found);
        }
    }
    let facts = match facts {
        Some(facts) => facts,
        // All parts were there: ask for what usually comes along with them.
        None => {
            let first = ByteRange { start: 0, len: 1 };
            run.source.fetch(&work.id, &work.fingerprint, Some(first)).await?.facts
        }
    };
    let partial = Arc::into_inner(partial).ok_or(FetchError::Died)?;
    let hash = on_blocking_thread(move || Ok(partial.finish()?)).await?.ok_or(FetchError::Died)?;
    Ok((facts, Stored { hash, size, inline: None }))
}

async fn retrying_part(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    index: usize,
) -> Result<Facts, FetchError> {
    RetryPolicy::FETCH.run(|| part(run, work, partial, index)).await
}

async fn part(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    index: usize,
) -> Result<Facts, FetchError> {
    let _permit = permit(run).await;
    let (start, len) = partial.range(index);
    let range = ByteRange { start, len };
    let content = run.source.fetch(&work.id, &work.fingerprint, Some(range)).await?;
    let hasher = partial.begin(index);
    match content.body {
        Body::Stream(stream) => {
            let sink = (partial.clone(), hasher);
            let write = |(partial, hasher): &mut (Arc<Partial>, PartHasher), bytes: &[u8]| {
                partial.write(hasher, bytes)
            };
            let (partial, hasher) = in_buffers(&run.observer, stream, sink, write).await?;
            if hasher.missing() > 0 {
                return Err(wrong_size(len, len - hasher.missing()).into());
            }
            on_blocking_thread(move || Ok(partial.complete(&hasher)?)).await?;
        }
        Body::Blocking(reader) => {
            let (observer, partial, mut hasher) = (run.observer.clone(), partial.clone(), hasher);
            on_blocking_thread(move || {
                drain(&*observer, reader, |bytes| partial.write(&mut hasher, bytes))?;
                if hasher.missing() > 0 {
                    return Err(wrong_size(len, len - hasher.missing()).into());
                }
                Ok(partial.complete(&hasher)?)
            })
            .await?;
        }
    }
    Ok(content.facts)
}
