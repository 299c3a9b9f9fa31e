//! A large blob in parts, in parallel, over as many runs as it takes.

use std::{ops::Range, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    body::{FetchError, drain_in_blocks, in_blocks, on_blocking_thread, wrong_size},
    permits,
};
use crate::{
    blobs::{Block, Partial, Stretch},
    engine::{plan::Work, run::Run},
    sources::{Body, ByteRange, Facts, retry::RetryPolicy},
    store::commit::Stored,
};

/// Stretches of one blob at once: with eight, 2 x 512 MiB took longer than with four, measured.
const AT_ONCE: usize = 4;

/// Parts that one request asks for at most. Servers need a while to begin an answer, and charge for it.
const STRETCH: usize = 4;

/// A stretch has two blocks of memory, where small requests have a few buffers of their connection: with
/// 64 of these at once, there may be 16 stretches. 64 x 24 MiB took 120 MiB of memory before.
const WEIGHT: usize = 4;

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

/// Fetches a stretch, or at least its first part.
async fn some_of(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    parts: &Range<usize>,
) -> Result<Option<Facts>, FetchError> {
    match all_of(run, work, partial, parts).await {
        Ok(facts) => Ok(Some(facts)),
        Err(_) if !partial.lacks(parts.start) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn all_of(
    run: &Arc<Run>,
    work: &Work,
    partial: &Arc<Partial>,
    parts: &Range<usize>,
) -> Result<Facts, FetchError> {
    let _permit = permits(run, WEIGHT).await;
    let (start, len) = partial.range(parts);
    let range = ByteRange { start, len };
    let content = run.source.fetch(&work.id, &work.fingerprint, Some(range)).await?;
    let sink = (partial.clone(), partial.begin(parts));
    let write = |(partial, stretch): &mut (Arc<Partial>, Stretch), block: &Block| {
        partial.write(stretch, block)
    };
    let (_, stretch) = match content.body {
        Body::Stream(stream) => in_blocks(&run.observer, stream, sink, write).await?,
        Body::Blocking(reader) => {
            let observer = run.observer.clone();
            on_blocking_thread(move || drain_in_blocks(&*observer, reader, sink, write)).await?
        }
    };
    match stretch.missing() {
        0 => Ok(content.facts),
        missing => Err(wrong_size(len, len - missing).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_a_row_are_asked_for_together_as_far_as_that_leaves_enough_to_do_at_once() {
        let all = |count: usize| stretches(&(0..count).collect::<Vec<_>>());
        assert_eq!(all(0), []);
        assert_eq!(all(3), [0..1, 1..2, 2..3]);
        assert_eq!(all(6), [0..2, 2..4, 4..6]);
        assert_eq!(all(17), [0..4, 4..8, 8..12, 12..16, 16..17]);
        assert_eq!(stretches(&[0, 1, 2, 5, 6, 9, 10, 11, 12]), [0..3, 5..7, 9..12, 12..13]);
    }
}
