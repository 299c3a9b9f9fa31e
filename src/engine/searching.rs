//! Keeping what is searched by text up to date, in the background and a little at a time: a sync that
//! is under way comes first, and what is not indexed yet is found all the same, only more slowly.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError, objects::text};

/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);

/// Objects that one transaction indexes: some 10 ms.
const STEP: u32 = 2_000;

/// Between two transactions, for others that write.
const PAUSE: Duration = Duration::from_millis(100);

/// Indexes what syncs and people bring, until somebody says stop.
pub async fn keep_up(store: Store, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        let pause = match step(&store).await {
            Ok(true) => PAUSE,
            Ok(false) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "could not bring the search index up to date");
                LOOK
            }
        };
        tokio::select! {
            () = stopping.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One step, if one is due. Answers whether it was.
async fn step(store: &Store) -> Result<bool, StoreError> {
    let is_behind = store.read(text::is_behind).await?;
    if is_behind {
        store.write(|tx| text::catch_up(tx, STEP)).await?;
    }
    Ok(is_behind)
}
