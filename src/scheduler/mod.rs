//! When syncs run: due syncs are queued, queued jobs are started fairly and within bounds, the runs
//! of dead workers are taken over, a folder that changes is due at once, and the trash is emptied
//! of what has had its time.
//!
//! The schedule is in the database, so several processes on one data directory share it; leases
//! keep their runs apart. Decides nothing about entries, and knows no provider.

mod sweep;
mod takeover;
mod turn;
mod watch;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Engine, Observer},
    model::JobId,
    store::{
        StoreError,
        schedule::{self, Waiting},
    },
};

pub use turn::Bounds;
pub use watch::{Watch, Watching};

/// How often it checks the schedule when nothing wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// A difference between the wall clock and the time that has passed that counts as a jump.
const JUMP: Duration = Duration::from_secs(5);

/// How many syncs are queued at once.
const AT_ONCE: u32 = 1000;

/// Makes the observer of each job.
pub type Observers = Arc<dyn Fn(&JobId) -> Arc<dyn Observer> + Send + Sync>;

/// A running scheduler. Dropping it does not stop it: [`Scheduler::stop`] does.
#[derive(Debug)]
pub struct Scheduler {
    nudge: Nudge,
    watching: Watching,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Wakes the scheduler: something may be due.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Wakes it, now or when it goes to sleep next.
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

/// Tells whether a scheduler is running.
#[derive(Clone, Debug)]
pub struct Pulse(AbortHandle);

impl Pulse {
    /// Whether it is.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Scheduler {
    /// Starts it on the data directory of `engine`.
    #[must_use]
    pub fn start(engine: Engine, bounds: Bounds, observers: Observers) -> Self {
        let (nudge, stop) = (Nudge::default(), CancellationToken::new());
        let watching = Watching::default();
        let scheduling = Scheduling {
            folders: watch::Folders::new(&engine, watching.clone(), nudge.clone()),
            engine,
            bounds,
            observers,
            stop: stop.clone(),
            running: HashMap::new(),
            jobs: JoinSet::new(),
            clock: ClockWatch::default(),
            takeover: takeover::Takeover::default(),
            sweep: sweep::Sweep::default(),
        };
        let task = tokio::spawn(scheduling.run(nudge.clone()));
        Self { nudge, watching, stop, task }
    }

    /// A handle that wakes it.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Which folders it watches.
    #[must_use]
    pub fn watching(&self) -> Watching {
        self.watching.clone()
    }

    /// A handle that tells whether it is running.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(self.task.abort_handle())
    }

    /// Starts nothing more, has running jobs stop at their next checkpoint, and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the scheduler panicked");
        }
    }
}

/// The state of the scheduler.
struct Scheduling {
    engine: Engine,
    bounds: Bounds,
    observers: Observers,
    folders: watch::Folders,
    stop: CancellationToken,
    /// Jobs of this process, by connection.
    running: HashMap<i64, usize>,
    jobs: JoinSet<Ended>,
    clock: ClockWatch,
    takeover: takeover::Takeover,
    sweep: sweep::Sweep,
}

/// A job of this process that has ended.
struct Ended {
    sync_key: i64,
    connection_key: i64,
    took: Duration,
}

impl Scheduling {
    async fn run(mut self, nudge: Nudge) {
        while !self.stop.is_cancelled() {
            if let Err(error) = self.check_schedule().await {
                tracing::error!(%error, "the scheduler could not read or write the schedule");
            }
            let until = self.folders.next_due().map_or(LOOK, |due| due.min(LOOK));
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = nudge.0.notified() => {}
                () = tokio::time::sleep(until) => {}
                Some(ended) = self.jobs.join_next() => self.job_ended(ended),
            }
        }
        while let Some(ended) = self.jobs.join_next().await {
            self.job_ended(ended);
        }
    }

    async fn check_schedule(&mut self) -> Result<(), StoreError> {
        let now = self.engine.clock().now();
        match self.clock.observe(now) {
            Some(Jump::Back) => {
                self.engine.store.write(move |tx| schedule::pull_back(tx, now)).await?
            }
            Some(Jump::Ahead) => self.takeover.hold_off(),
            None => {}
        }
        self.takeover.take_over_dead(&self.engine).await?;
        self.sweep.start_if_due(&self.engine);
        self.folders.refresh(&self.engine).await?;
        self.queue_due(now).await?;
        self.start_waiting().await
    }

    /// Queues what is due: each sync once, however long it has been due.
    async fn queue_due(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let due = self.engine.store.read(move |db| schedule::due(db, now, AT_ONCE)).await?;
        let ripe = due.iter().filter(|due| turn::is_ripe(due, now));
        let ripe = ripe.map(|due| (due.sync_key, false));
        let changed = self.folders.take_due().into_iter().map(|key| (key, true));
        let keys: Vec<(i64, bool)> = ripe.chain(changed).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let busy = self
            .engine
            .store
            .write(move |tx| {
                let mut busy = Vec::new();
                for (key, is_changed) in keys {
                    if !schedule::queue(tx, key, is_changed, now)? {
                        busy.push(key);
                    }
                }
                Ok::<_, StoreError>(busy)
            })
            .await?;
        // What changed during a run may have been missed by it: check again afterwards.
        self.folders.mark_changed(&busy);
        Ok(())
    }

    async fn start_waiting(&mut self) -> Result<(), StoreError> {
        let mut waiting = self.engine.store.read(schedule::waiting).await?;
        while let Some(next) = turn::next(&waiting, &self.running, self.bounds).cloned() {
            waiting.retain(|job| job.sync_key != next.sync_key);
            self.start_job(next);
        }
        Ok(())
    }

    fn start_job(&mut self, next: Waiting) {
        *self.running.entry(next.connection_key).or_default() += 1;
        let (engine, stop) = (self.engine.clone(), self.stop.child_token());
        let observer = (self.observers)(&next.job);
        self.jobs.spawn(async move {
            let begun = Instant::now();
            let report = engine.run_job(&next.job, observer, stop).await;
            tracing::info!(
                job = %next.job,
                status = report.status.as_str(),
                error = report.error.as_ref().map(tracing::field::display),
                "the job has ended"
            );
            Ended {
                sync_key: next.sync_key,
                connection_key: next.connection_key,
                took: begun.elapsed(),
            }
        });
    }

    fn job_ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(ended) => {
                if let Some(count) = self.running.get_mut(&ended.connection_key) {
                    *count -= 1;
                }
                self.running.retain(|_, count| *count > 0);
                self.folders.has_run(ended.sync_key, ended.took);
            }
            // It is not known which one it was: its lease expires, and the run is taken over.
            Err(error) => {
                tracing::error!(%error, "a job panicked");
                if self.jobs.is_empty() {
                    self.running.clear();
                }
            }
        }
    }
}

/// Compares the wall clock with the time that has passed.
#[derive(Debug, Default)]
struct ClockWatch(Option<(Timestamp, Instant)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jump {
    Ahead,
    Back,
}

impl ClockWatch {
    /// Whether the wall clock has jumped since the last call. The first call counts as a jump back:
    /// the clock may have been set while no scheduler was running.
    fn observe(&mut self, now: Timestamp) -> Option<Jump> {
        let at = Instant::now();
        let Some((then, since)) = self.0.replace((now, at)) else { return Some(Jump::Back) };
        let expected = then + (at - since);
        if now + JUMP < expected {
            Some(Jump::Back)
        } else if now > expected + JUMP {
            Some(Jump::Ahead)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_ahead_or_back_is_noticed() {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let mut seen = ClockWatch::default();
        assert_eq!(seen.observe(noon), Some(Jump::Back));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(seen.observe(noon + Duration::from_secs(60)), None);
        assert_eq!(seen.observe(noon + Duration::from_secs(3600)), Some(Jump::Ahead));
        assert_eq!(seen.observe(noon), Some(Jump::Back));
    }
}
