//! The pulse of the event stream: while there are listeners, the database is read four times a
//! second, once for all listeners, for new events and for how far jobs have come.
//!
//! Other processes write events too, so the database is where to look.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Engine, LiveProgress},
    store::{StoreError, events, progress},
};

use super::wire::JobProgress;

/// How often to look.
const BEAT: Duration = Duration::from_millis(250);
/// Jobs whose progress is sent.
const JOBS: u32 = 200;

/// What a look showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Key of the newest event.
    pub newest: i64,
    /// The jobs that run.
    pub jobs: Arc<Vec<JobProgress>>,
}

/// The pulse; clones share it.
#[derive(Clone, Debug)]
pub struct Live {
    seen: Arc<watch::Sender<Seen>>,
}

impl Live {
    /// Starts looking, until `stopping`.
    #[must_use]
    pub fn start(engine: Engine, live_progress: LiveProgress, stopping: CancellationToken) -> Self {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let beat = beat(engine, live_progress, seen.clone());
        tokio::spawn(async move { stopping.run_until_cancelled(beat).await });
        Self { seen }
    }

    /// Notified of whatever one read shows that the one before did not.
    pub(super) fn listen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }
}

async fn beat(engine: Engine, live_progress: LiveProgress, seen: Arc<watch::Sender<Seen>>) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Costs nothing while there are no listeners.
        if seen.receiver_count() == 0 {
            continue;
        }
        match observe(&engine, &live_progress).await {
            Ok(now) => {
                seen.send_if_modified(|before| {
                    let is_new = *before != now;
                    *before = now;
                    is_new
                });
            }
            Err(error) => tracing::warn!(%error, "the events could not be read"),
        }
    }
}

async fn observe(engine: &Engine, live_progress: &LiveProgress) -> Result<Seen, StoreError> {
    let (newest, running) =
        engine.store.read(|db| Ok((events::newest(db)?, progress::running(db, JOBS)?))).await?;
    let now = engine.clock().now();
    let jobs = running.into_iter().map(|job| {
        let finer = live_progress.progress(&job.job_id);
        JobProgress::new(job, finer, now)
    });
    Ok(Seen { newest, jobs: Arc::new(jobs.collect()) })
}
