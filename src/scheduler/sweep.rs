//! What is done again and again besides running syncs: the trash loses what has had its time, and
//! namespaces whose time is over go.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{Engine, RunError, collect, expiry};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(20);

/// Sweeps in the background, one sweep at a time.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    last: Option<Instant>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Sweep {
    /// Begins a sweep if it is time for one. A sweep that is cut off loses nothing: the next one
    /// does the rest.
    pub(super) fn start_if_due(&mut self, engine: &Engine) {
        let is_under_way = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if is_under_way || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let engine = engine.clone();
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(error) = empty_trash(&engine).await {
                tracing::error!(%error, "could not purge what has had its time in the trash");
            }
            if let Err(error) = expiry::end_namespaces(&engine).await {
                tracing::error!(%error, "could not end namespaces whose time is over");
            }
        })));
    }
}

async fn empty_trash(engine: &Engine) -> Result<(), RunError> {
    let purged = collect::purge_trash(engine).await?;
    if purged > 0 {
        tracing::info!(purged, "purged objects from the trash");
        collect::orphans(&engine.store, &engine.blobs).await?;
    }
    Ok(())
}
