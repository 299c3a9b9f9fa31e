//! A large blob in parts, in parallel, over as many runs as it takes.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    body::{FetchError, drain, in_buffers, on_blocking_thread, wrong_size},
    permit,
};
use crate::{
    blobs::{PartHasher, Partial},
    engine::{plan::Work, run::Run},
    sources::{Body, ByteRange, Facts, retry::RetryPolicy},
    store::commit::Stored,
};

/// Parts of one blob at once: with eight, 2 x 512 MiB took longer than with four, measured.
const PARTS_AT_ONCE: usize = 4;

/// Fetches the parts that are missing and joins them all; those that an earlier try brought are not fetched again.
pub(super) async fn fetch(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
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
