//! Blobs that are not the entry's file: URLs in its data, and text.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream};

use super::{
    FetchError,
    body::{finish_any, in_buffers, in_memory, on_blocking_thread},
    permit,
};
use crate::{
    blobs::{INLINE_MAX, Stage},
    engine::context::Run,
    sources::{
        retry::RetryPolicy,
        web::{PATIENCE, WebError, without_query},
    },
    store::commit::Stored,
};

/// A URL's content, stored.
pub(super) struct Fetched {
    pub(super) stored: Stored,
    pub(super) mime: Option<String>,
    pub(super) filename: Option<String>,
}

/// Fetches a URL into the blob store.
pub(super) async fn fetch(run: &Arc<Run>, url: &str) -> Result<Fetched, FetchError> {
    let attempt = || async {
        let too_slow = || WebError::Timeout(format!("not here after {} s", PATIENCE.as_secs()));
        let fetched = tokio::time::timeout(PATIENCE, once(run, url)).await;
        fetched.unwrap_or_else(|_| Err(too_slow().into()))
    };
    RetryPolicy::FETCH.run(attempt).await.map_err(|error| match error {
        FetchError::Web { error, .. } => FetchError::Web { url: without_query(url), error },
        other => other,
    })
}

/// One attempt: in memory as long as it is small, then in a file.
async fn once(run: &Arc<Run>, url: &str) -> Result<Fetched, FetchError> {
    let _permit = permit(run).await;
    let mut content = run.web.open(url).await?;
    let mut first = BytesMut::new();
    let mut is_whole = true;
    while let Some(bytes) = content.body.next().await {
        first.extend_from_slice(&bytes?);
        if first.len() as u64 > INLINE_MAX {
            is_whole = false;
            break;
        }
    }
    let first = first.freeze();
    let stored = if is_whole {
        in_memory(first, &*run.observer)
    } else {
        let blobs = run.blobs.clone();
        let stage = on_blocking_thread(move || Ok(blobs.stage()?)).await?;
        let rest = content.body.map(|bytes| bytes.map_err(FetchError::from));
        let all = stream::iter([Ok(first)]).chain(rest).boxed();
        let write = |stage: &mut Stage, bytes: &[u8]| stage.write(bytes);
        let stage = in_buffers(&run.observer, all, stage, write).await?;
        on_blocking_thread(move || finish_any(stage)).await?
    };
    Ok(Fetched { stored, mime: content.mime, filename: content.filename })
}

/// Stores text.
pub(super) async fn store_text(run: &Arc<Run>, text: &str) -> Result<Stored, FetchError> {
    let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
    if bytes.len() as u64 <= INLINE_MAX {
        return Ok(in_memory(bytes, &*run.observer));
    }
    let blobs = run.blobs.clone();
    on_blocking_thread(move || {
        let mut stage = blobs.stage()?;
        stage.write(&bytes)?;
        finish_any(stage)
    })
    .await
}
