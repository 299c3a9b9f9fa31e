//! A large blob in parts, in parallel, over as many runs as it takes.

use std::{ops::Range, sync::Arc};

use bytes::{Buf as _, Bytes};
use futures_util::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, ready},
    stream::{self, BoxStream},
};

use super::{
    body::{FetchError, on_blocking_thread, reading, wrong_size},
    permits,
};
use crate::{
    blobs::{Filled, Partial, Stretch},
    engine::{Observer, plan::Work, run::Run},
    sources::{BlockingRead, Body, ByteRange, Facts, SourceError, retry::RetryPolicy},
    store::commit::Stored,
};

/// Stretches of one blob at once: with eight, 2 x 512 MiB took longer than with four, measured.
const AT_ONCE: usize = 4;

/// Parts that one request asks for at most. Servers need a while to begin an answer, and charge for it.
const STRETCH: usize = 8;

/// Stretches of all blobs at once, at most: each has a block of memory, where small requests have a few
/// buffers of their connection. 64 x 24 MiB took 120 MiB of memory without this.
const OF_ALL: usize = 10;

/// Blocks of stretches that come in pieces, written at once: enough to keep a disk busy, and few enough that
/// memory does not fill with what waits for it. A stretch that a thread reads has its one block either way.
pub(in crate::engine) const WRITES: usize = 2;

/// Fetches the parts that are missing and joins them all; those that an earlier try brought are not
/// fetched again.
pub(super) async fn fetch(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
    let (blobs, sync) = (run.blobs.clone(), run.sync.id.clone());
    let (id, fingerprint) = (work.id.clone(), work.fingerprint.clone());
    let size = fingerprint.size;
    let partial =
        on_blocking_thread(move || Ok(blobs.partial(&sync, &id, &fingerprint.version, size)?))
            .await?;
    let stretches = stretches(&partial.missing());
    let partial = Arc::new(partial);
    let mut facts = None;
    {
        let mut fetches = stream::iter(stretches)
            .map(|parts| stretch(run, work, &partial, parts))
            .buffer_unordered(AT_ONCE);
        while let Some(found) = fetches.try_next().await? {
            facts = facts.or(found);
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

/// Parts in a row, as many together as leaves enough to do at once.
fn stretches(missing: &[usize]) -> Vec<Range<usize>> {
    let most = missing.len().div_ceil(AT_ONCE).clamp(1, STRETCH);
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for &index in missing {
        match stretches.last_mut() {
            Some(last) if last.end == index && last.len() < most => last.end += 1,
            _ => stretches.push(index..index + 1),
        }
    }
    stretches
}

/// Fetches a stretch, in as many requests as it takes: one that breaks off has another try for each
/// part that it brought.
async fn stretch(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    parts: Range<usize>,
) -> Result<Option<Facts>, FetchError> {
    let mut facts = None;
    while let Some(first) = parts.clone().find(|index| partial.lacks(*index)) {
        let rest = first..parts.end;
        facts = RetryPolicy::FETCH.run(|| some_of(run, work, partial, &rest)).await?.or(facts);
    }
    Ok(facts)
}

/// Fetches a stretch, or at least its first part. What goes wrong behind the last one is not for another
/// try to forget: it says that the bytes are not what they should be.
async fn some_of(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    parts: &Range<usize>,
) -> Result<Option<Facts>, FetchError> {
    match all_of(run, work, partial, parts).await {
        Ok(facts) => Ok(Some(facts)),
        Err(_) if !partial.lacks(parts.start) && partial.lacks(parts.end - 1) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn all_of(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    parts: &Range<usize>,
) -> Result<Facts, FetchError> {
    let _permits = permits(run, run.concurrency.div_ceil(OF_ALL)).await;
    let (start, len) = partial.range(parts);
    let range = ByteRange { start, len };
    let content = run.source.fetch(&work.id, &work.fingerprint, Some(range)).await?;
    let stretch = partial.begin(parts);
    let missing = match content.body {
        Body::Stream(stream) => arrive(run, partial, stretch, stream).await?,
        Body::Blocking(reader) => {
            let (observer, partial) = (run.observer.clone(), partial.clone());
            reading(reader, move |reader| read(&*observer, &partial, stretch, reader)).await?
        }
    };
    match missing {
        0 => Ok(content.facts),
        missing => Err(wrong_size(len, len - missing).into()),
    }
}

/// A block on its way to the disk.
type Placing = BoxFuture<'static, Result<(), FetchError>>;

/// A stretch on its way from a network, in pieces.
struct Arriving {
    stream: BoxStream<'static, Result<Bytes, SourceError>>,
    /// What the last piece has left.
    rest: Bytes,
}

impl Arriving {
    /// Lets a stretch take what comes next, and answers how much that was: nothing at the end.
    async fn fill(&mut self, stretch: &mut Stretch) -> Result<usize, FetchError> {
        loop {
            let taken = stretch.take(&self.rest)?;
            self.rest.advance(taken);
            if taken > 0 {
                return Ok(taken);
            }
            // Behind the last byte, too: a connection is only used again from its end on.
            match self.stream.try_next().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
    }
}

/// Takes a stretch from a network. One block is written while the next one fills. Answers how many bytes
/// did not come.
async fn arrive(
    run: &Run,
    partial: &Arc<Partial>,
    mut stretch: Stretch,
    stream: BoxStream<'static, Result<Bytes, SourceError>>,
) -> Result<u64, FetchError> {
    let mut arriving = Arriving { stream, rest: Bytes::new() };
    let mut placing: Placing = ready(Ok(())).boxed();
    loop {
        match arriving.fill(&mut stretch).await {
            Ok(0) => break,
            Ok(taken) => run.observer.received(taken as u64),
            Err(error) => return Err(after(placing, error).await),
        }
        if let Some(filled) = stretch.hand_over() {
            placing.await?;
            placing = place(run, partial.clone(), filled).await;
        }
    }
    placing.await?;
    Ok(stretch.missing())
}

/// An error, once nobody writes on.
async fn after(placing: Placing, error: FetchError) -> FetchError {
    drop(placing.await);
    error
}

/// Begins to write a block, as soon as it is its turn.
async fn place(run: &Run, partial: Arc<Partial>, filled: Filled) -> Placing {
    // Never closed; if it were, going without a turn would do no harm.
    let turn = run.writes.clone().acquire_owned().await.ok();
    let write = move || {
        partial.place(&filled)?;
        // Its memory goes back before the next one has its turn.
        drop((filled, turn));
        Ok(())
    };
    on_blocking_thread(write).boxed()
}

/// Takes a stretch from a reader, each block written as it is full: meanwhile the system goes on to gather
/// what a network brings, and other stretches arrive. Answers how many bytes did not come.
fn read(
    observer: &dyn Observer,
    partial: &Partial,
    mut stretch: Stretch,
    mut reader: Box<dyn BlockingRead>,
) -> Result<u64, FetchError> {
    loop {
        // Behind the last byte, too: only the end tells that all of it was of one version.
        let read = match stretch.missing() {
            0 => reader.read(&mut [0])?,
            _ => reader.read(stretch.room()?)?,
        };
        stretch.took(read);
        if read == 0 {
            return Ok(stretch.missing());
        }
        observer.received(read as u64);
        if let Some(filled) = stretch.hand_over() {
            partial.place(&filled)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_a_row_are_asked_for_together_as_far_as_that_leaves_enough_to_do_at_once() {
        let all = |count: usize| stretches(&(0..count).collect::<Vec<_>>());
        assert!(all(0).is_empty());
        assert_eq!(all(3), [0..1, 1..2, 2..3]);
        assert_eq!(all(6), [0..2, 2..4, 4..6]);
        assert_eq!(all(17), [0..5, 5..10, 10..15, 15..17]);
        assert_eq!(all(64).len(), 8);
        assert_eq!(stretches(&[0, 1, 2, 5, 6, 9, 10, 11, 12]), [0..3, 5..7, 9..12, 12..13]);
    }
}
