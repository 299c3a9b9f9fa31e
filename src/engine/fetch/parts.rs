//! A large blob in parts, in parallel, over as many runs as it takes.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf as _, Bytes};
use futures_util::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, ready},
    stream::{self, BoxStream},
};

use super::{
    body::{FetchError, on_blocking_thread, read_blocking, wrong_size},
    checks::{self, Checks},
    permits,
};
use crate::{
    blobs::{FilledBlock, PART_BYTES, PartWriter, Partial},
    engine::{Observer, context::Run, plan::Action},
    model::{ExpectedHash, Fingerprint, HashAlgorithm, QuickXor, Version},
    sources::{BlockingRead, Body, ByteRange, Facts, SourceError, retry::RetryPolicy},
    store::commit::Stored,
};

/// Requests for one blob at once: with eight, 2 x 512 MiB took longer than with four, measured.
const AT_ONCE: usize = 4;

/// The most parts that one request asks for. Every request costs time before the first byte, and
/// providers charge for it.
const PARTS_PER_REQUEST: usize = 8;

/// The most requests for parts of all blobs at once: each has a block of memory, where small
/// requests have a few buffers of their connection. 64 x 24 MiB took 120 MiB of memory without
/// this.
const OF_ALL: usize = 10;

/// Blocks from streams that are written at once: enough to keep a disk busy, and few enough that
/// memory does not fill with blocks that wait for it. A blocking reader has its one block either
/// way.
pub(in crate::engine) const WRITES: usize = 2;

/// Fetches the parts that are missing and joins all of them; parts that an earlier attempt has
/// fetched are not fetched again.
pub(super) async fn fetch(run: &Arc<Run>, action: &Action) -> Result<(Facts, Stored), FetchError> {
    let (blobs, sync) = (run.blobs.clone(), run.sync.id.clone());
    let (id, size) = (action.id.clone(), action.fingerprint.size);
    let version = pinned_version(&action.fingerprint);
    let partial =
        on_blocking_thread(move || Ok(blobs.partial(&sync, &id, &version, size)?)).await?;
    let hashes = action.fingerprint.details.as_ref().map(|details| details.hashes.clone());
    let hashes = hashes.unwrap_or_default();
    let missing = partial.missing();
    let sums = Sums::of(&hashes, &partial, missing.len());
    let groups = groups(&missing);
    let partial = Arc::new(partial);
    let mut facts = None;
    {
        let mut fetches = stream::iter(groups)
            .map(|parts| fetch_group(run, action, &partial, &sums, parts))
            .buffer_unordered(AT_ONCE);
        while let Some(found) = fetches.try_next().await? {
            facts = facts.or(found);
        }
    }
    let facts = match facts {
        Some(facts) => facts,
        // No part was missing: ask for the facts that are usually returned with them.
        None => {
            let first = ByteRange { start: 0, len: 1 };
            run.source.fetch(&action.id, &action.fingerprint, Some(first)).await?.facts
        }
    };
    let partial = Arc::into_inner(partial).ok_or(FetchError::Died)?;
    let finish = move || {
        let checked = match sums.joined() {
            Some((expected, found)) => checks::compare(&expected, &found),
            // The parts have arrived in any order, and these hashes need one.
            None => {
                let mut checks = Checks::new(&hashes);
                if !checks.is_empty() {
                    partial.read_all(|bytes| checks.update(bytes))?;
                }
                checks.finish()
            }
        };
        if let Err(error) = checked {
            partial.discard()?;
            return Err(error.into());
        }
        Ok(partial.finish()?)
    };
    let hash = on_blocking_thread(finish).await?.ok_or(FetchError::Died)?;
    Ok((facts, Stored { hash, size, inline: None }))
}

/// The hashes of parts that can be joined in any order, so that what has arrived need not be read
/// again to be checked. Only of a blob all of whose parts arrive now.
#[derive(Clone, Default)]
struct Sums(Option<Arc<Joinable>>);

struct Joinable {
    expected: ExpectedHash,
    parts: usize,
    of: Mutex<BTreeMap<u64, QuickXor>>,
}

impl Sums {
    fn of(hashes: &[ExpectedHash], partial: &Partial, missing: usize) -> Self {
        let [expected] = hashes else { return Self::default() };
        let is_new = missing == partial.count();
        let is_joinable = is_new && expected.algorithm == HashAlgorithm::QuickXor;
        Self(is_joinable.then(|| {
            let (expected, of) = (expected.clone(), Mutex::default());
            Arc::new(Joinable { expected, parts: missing, of })
        }))
    }

    /// Starts to add what arrives from that byte on, which begins a part.
    fn starting_at(&self, offset: u64) -> Sum {
        Sum { all: self.clone(), part: QuickXor::starting_at(offset), begin: offset, at: offset }
    }

    /// The hash of all parts, and what it should be; `None` where it is not known of each.
    fn joined(&self) -> Option<(ExpectedHash, [u8; 20])> {
        let Joinable { expected, parts, of } = &**self.0.as_ref()?;
        let of = of.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whole = QuickXor::starting_at(0);
        of.values().for_each(|part| whole.join(part));
        (of.len() == *parts).then(|| (expected.clone(), whole.finish()))
    }
}

/// The hash of the part that is arriving.
struct Sum {
    all: Sums,
    part: QuickXor,
    /// Where the part begins.
    begin: u64,
    at: u64,
}

impl Sum {
    fn update(&mut self, mut bytes: &[u8]) {
        if self.all.0.is_none() {
            return;
        }
        while !bytes.is_empty() {
            let left = usize::try_from(self.begin + PART_BYTES - self.at).unwrap_or(usize::MAX);
            let (own, rest) = bytes.split_at(bytes.len().min(left));
            self.part.update(own);
            (self.at, bytes) = (self.at + own.len() as u64, rest);
            if own.len() == left {
                self.end();
                (self.begin, self.part) = (self.at, QuickXor::starting_at(self.at));
            }
        }
    }

    /// Keeps the hash of the part. One that turns out to be incomplete arrives again, and then its
    /// hash is replaced.
    fn end(&self) {
        if let Some(all) = self.all.0.as_ref().filter(|_| self.at > self.begin) {
            let mut of = all.of.lock().unwrap_or_else(PoisonError::into_inner);
            of.insert(self.begin, self.part.clone());
        }
    }
}

/// What distinguishes parts: two are never joined that were pinned by different tags.
fn pinned_version(fingerprint: &Fingerprint) -> Version {
    let tag = fingerprint.etag.as_deref().unwrap_or_default();
    Version([fingerprint.version.0.as_slice(), b"\0", tag.as_bytes()].concat())
}

/// Groups consecutive parts into requests, keeping enough groups to fetch several at once.
fn groups(missing: &[usize]) -> Vec<Range<usize>> {
    let most = missing.len().div_ceil(AT_ONCE).clamp(1, PARTS_PER_REQUEST);
    let mut groups: Vec<Range<usize>> = Vec::new();
    for &index in missing {
        match groups.last_mut() {
            Some(last) if last.end == index && last.len() < most => last.end += 1,
            _ => groups.push(index..index + 1),
        }
    }
    groups
}

/// Fetches a group of parts, in as many requests as it takes: a request that breaks off is retried
/// again for each part that it completed.
async fn fetch_group(
    run: &Arc<Run>,
    action: &Action,
    partial: &Arc<Partial>,
    sums: &Sums,
    parts: Range<usize>,
) -> Result<Option<Facts>, FetchError> {
    let mut facts = None;
    while let Some(first) = parts.clone().find(|index| partial.is_missing(*index)) {
        let rest = first..parts.end;
        facts = RetryPolicy::FETCH
            .run(|| fetch_some(run, action, partial, sums, &rest))
            .await?
            .or(facts);
    }
    Ok(facts)
}

/// Fetches a group of parts, or at least its first. An error behind the last part is never ignored:
/// it says that the bytes are not what they should be.
async fn fetch_some(
    run: &Arc<Run>,
    action: &Action,
    partial: &Arc<Partial>,
    sums: &Sums,
    parts: &Range<usize>,
) -> Result<Option<Facts>, FetchError> {
    match fetch_all(run, action, partial, sums, parts).await {
        Ok(facts) => Ok(Some(facts)),
        Err(_) if !partial.is_missing(parts.start) && partial.is_missing(parts.end - 1) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn fetch_all(
    run: &Arc<Run>,
    action: &Action,
    partial: &Arc<Partial>,
    sums: &Sums,
    parts: &Range<usize>,
) -> Result<Facts, FetchError> {
    let _permits = permits(run, run.concurrency.div_ceil(OF_ALL)).await;
    let (start, len) = partial.range(parts);
    let range = ByteRange { start, len };
    let content = run.source.fetch(&action.id, &action.fingerprint, Some(range)).await?;
    let writer = partial.write_parts(parts);
    let missing = match content.body {
        Body::Stream(stream) => {
            let pieces = Pieces { stream, rest: Bytes::new(), sum: sums.starting_at(start) };
            write_stream(run, partial, writer, pieces).await?
        }
        Body::Blocking(reader) => {
            let (observer, partial) = (run.observer.clone(), partial.clone());
            read_blocking(reader, move |reader| write_reader(&*observer, &partial, writer, reader))
                .await?
        }
    };
    match missing {
        0 => Ok(content.facts),
        missing => Err(wrong_size(len, len - missing).into()),
    }
}

/// A block that is being written.
type Write = BoxFuture<'static, Result<(), FetchError>>;

/// Parts that arrive from a network in pieces.
struct Pieces {
    stream: BoxStream<'static, Result<Bytes, SourceError>>,
    /// The rest of the last piece.
    rest: Bytes,
    /// The hash of what was written.
    sum: Sum,
}

impl Pieces {
    /// Passes what comes next to the writer, and returns how many bytes that was: none at the end.
    async fn fill(&mut self, writer: &mut PartWriter) -> Result<usize, FetchError> {
        loop {
            let written = writer.write(&self.rest)?;
            self.sum.update(&self.rest[..written]);
            self.rest.advance(written);
            if written > 0 {
                return Ok(written);
            }
            // Read to the end even behind the last byte: only then the connection is used again.
            match self.stream.try_next().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
    }
}

/// Writes parts from a netaction. One block is written while the next one fills. Returns how many
/// bytes are missing.
async fn write_stream(
    run: &Run,
    partial: &Arc<Partial>,
    mut writer: PartWriter,
    mut pieces: Pieces,
) -> Result<u64, FetchError> {
    let mut writing: Write = ready(Ok(())).boxed();
    loop {
        match pieces.fill(&mut writer).await {
            Ok(0) => break,
            Ok(written) => run.observer.received(written as u64),
            Err(error) => return Err(after(writing, error).await),
        }
        if let Some(block) = writer.filled_block() {
            writing.await?;
            writing = write_block(run, partial.clone(), block).await;
        }
    }
    writing.await?;
    pieces.sum.end();
    Ok(writer.missing())
}

/// The error, once nothing is written any more.
async fn after(writing: Write, error: FetchError) -> FetchError {
    drop(writing.await);
    error
}

/// Starts to write a block, as soon as it has a permit.
async fn write_block(run: &Run, partial: Arc<Partial>, block: FilledBlock) -> Write {
    // Never closed; if it were, writing without a permit would do no harm.
    let permit = run.writes.clone().acquire_owned().await.ok();
    let write = move || {
        partial.write_block(&block)?;
        // Its memory is released before the next one has the permit.
        drop((block, permit));
        Ok(())
    };
    on_blocking_thread(write).boxed()
}

/// Writes parts from a blocking reader, each block as soon as it is full: meanwhile the system goes
/// on buffering what arrives, and other parts arrive. Returns how many bytes are missing.
fn write_reader(
    observer: &dyn Observer,
    partial: &Partial,
    mut writer: PartWriter,
    mut reader: Box<dyn BlockingRead>,
) -> Result<u64, FetchError> {
    loop {
        // Read to the end even behind the last byte: only the end proves that all was one version.
        let read = match writer.missing() {
            0 => reader.read(&mut [0])?,
            _ => reader.read(writer.buffer()?)?,
        };
        writer.advance(read);
        if read == 0 {
            return Ok(writer.missing());
        }
        observer.received(read as u64);
        if let Some(block) = writer.filled_block() {
            partial.write_block(&block)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_parts_share_a_request_as_long_as_enough_requests_run_at_once() {
        let all = |count: usize| groups(&(0..count).collect::<Vec<_>>());
        assert!(all(0).is_empty());
        assert_eq!(all(3), [0..1, 1..2, 2..3]);
        assert_eq!(all(6), [0..2, 2..4, 4..6]);
        assert_eq!(all(17), [0..5, 5..10, 10..15, 15..17]);
        assert_eq!(all(64).len(), 8);
        assert_eq!(groups(&[0, 1, 2, 5, 6, 9, 10, 11, 12]), [0..3, 5..7, 9..12, 12..13]);
    }
}
