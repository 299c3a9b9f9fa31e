//! Keeps the text index up to date, in the background and a little at a time: a running sync comes
//! first, and what is not indexed yet is found all the same, only more slowly.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError, objects::text};

/// How often it checks whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);

/// How many objects one transaction indexes: about 10 ms.
const STEP: u32 = 2_000;

/// The pause between two transactions, for other writers.
const PAUSE: Duration = Duration::from_millis(100);

/// Indexes what syncs and people add, until `stopping` is cancelled.
pub async fn keep_up_to_date(store: Store, stopping: CancellationToken) {
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

/// One step, if one is due. Returns whether it was.
async fn step(store: &Store) -> Result<bool, StoreError> {
    let is_behind = store.read(text::is_behind).await?;
    if is_behind {
        store.write(|tx| text::catch_up(tx, STEP)).await?;
    }
    Ok(is_behind)
}
