//! The one processor of a data directory: takes the right to process, keeps it, and carries out
//! what waits, fairly and within bounds.
//!
//! A sync never waits for it. What is fresh comes before what somebody has asked for of old, for
//! which one slot is kept; among equals, the collections that have waited longest come first.

use std::{
    collections::{HashMap, HashSet},
    num::NonZero,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{batch, chores, context::Context, extract::Extractors, sweep, tier::Interrupted};
use crate::{
    engine::Engine,
    store::{
        Connection, StoreError, leases,
        processing::{
            batches::{self, Batch},
            collections, pauses,
            processor::{self, Token},
        },
    },
};

/// How often it looks around when nothing wakes it.
const LOOK: Duration = Duration::from_secs(1);
/// How long the right to process is good unless it is renewed.
const LEASE: Duration = Duration::from_secs(30);
/// Waiting batches that are looked at to choose the next.
const LOOKED_AT: u32 = 500;

/// The processor at work. Dropping it stops nothing: [`Processor::stop`] does.
#[derive(Debug)]
pub struct Processor {
    nudge: Nudge,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Wakes the processor: something waits that did not.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// Wakes it, now or when it next goes to sleep.
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

/// How many extractors may run at once where nobody says.
#[must_use]
pub fn default_concurrency() -> usize {
    (std::thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1)
}

impl Processor {
    /// Sets it to work on the data directory of `engine`.
    #[must_use]
    pub fn start(engine: Engine, extractors: Extractors, concurrency: usize) -> Self {
        let (nudge, stop) = (Nudge::default(), CancellationToken::new());
        let work =
            MainLoop::new(engine, extractors, concurrency, stop.clone(), nudge.clone(), false);
        let task = tokio::spawn(async move {
            work.go_on().await;
        });
        Self { nudge, stop, task }
    }

    /// What wakes it.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Begins nothing more, ends what extractors do, and waits for them.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the processor ended badly");
        }
    }
}

/// Why there is no processing here.
#[derive(Debug, thiserror::Error)]
pub enum Busy {
    /// Another process has the right.
    #[error("another process is processing this data directory already: a server, most likely")]
    Held,
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries out all that waits, and ends; what waits for a paused extractor is left.
///
/// # Errors
/// When another process does so already, or the state cannot be used.
pub async fn until_idle(
    engine: Engine,
    extractors: Extractors,
    concurrency: usize,
    stop: CancellationToken,
) -> Result<(), Busy> {
    let mut work = MainLoop::new(engine, extractors, concurrency, stop, Nudge::default(), true);
    if work.take_right().await?.is_none() {
        return Err(Busy::Held);
    }
    work.go_on().await;
    Ok(())
}

struct MainLoop {
    engine: Engine,
    extractors: Extractors,
    concurrency: usize,
    stop: CancellationToken,
    nudge: Nudge,
    until_idle: bool,
    context: Option<Context>,
    /// When the right was taken or renewed last.
    renewed: Option<Instant>,
    running: JoinSet<(i64, Result<(), Interrupted>)>,
    /// Batches that run, by their keys.
    active: HashMap<i64, Active>,
    /// Keys of batches that wait for a paused extractor and for nothing else.
    stalled: HashSet<i64>,
    /// When the collections of a batch were served last, by a clock that counts batches.
    served: HashMap<Vec<i64>, u64>,
    ticks: u64,
}

/// A batch that runs.
struct Active {
    is_backfill: bool,
    /// The collections of the tier that it began with.
    collections: Vec<i64>,
}

impl MainLoop {
    fn new(
        engine: Engine,
        extractors: Extractors,
        concurrency: usize,
        stop: CancellationToken,
        nudge: Nudge,
        until_idle: bool,
    ) -> Self {
        Self {
            engine,
            extractors,
            concurrency,
            stop,
            nudge,
            until_idle,
            context: None,
            renewed: None,
            running: JoinSet::new(),
            active: HashMap::new(),
            stalled: HashSet::new(),
            served: HashMap::new(),
            ticks: 0,
        }
    }

    async fn go_on(mut self) {
        while !self.stop.is_cancelled() {
            match self.look_around().await {
                Ok(true) if self.until_idle && self.active.is_empty() => break,
                Ok(_) => {}
                Err(StoreError::LeaseLost) => self.lose_right().await,
                Err(error) => {
                    tracing::error!(%error, "processing could not read or write its state")
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.nudge.0.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(ended) = self.running.join_next() => self.finish(ended).await,
            }
        }
        self.end().await;
    }

    /// Does what is due. Returns whether nothing is left to be done.
    async fn look_around(&mut self) -> Result<bool, StoreError> {
        let now = self.engine.clock().now();
        let has_work = self.engine.store.read(move |db| processor::has_work(db, now)).await?;
        if !has_work && self.active.is_empty() {
            // Nothing is written while nothing is to be done.
            self.extractors.tidy();
            self.give_back().await;
            return Ok(true);
        }
        let Some(context) = self.take_right().await? else { return Ok(false) };
        let syncs_run = !self.engine.store.read(leases::all).await?.is_empty();
        context.slots.leave_only_one(syncs_run);
        let swept = sweep::step(&context).await?;
        let done = chores::step(&context).await?;
        context.extractors.tidy();
        let has_room = context.engine.blobs.disk().is_ok_and(|disk| disk.free > disk.floor);
        if !has_room {
            // The disk is full: what runs ends, nothing more begins.
            return Ok(true);
        }
        let waiting = self.engine.store.read(|db| batches::open(db, LOOKED_AT)).await?;
        let has_begun = self.begin_some(&context, waiting).await?;
        Ok(!swept && !done && !has_begun && self.active.is_empty())
    }

    async fn take_right(&mut self) -> Result<Option<Context>, StoreError> {
        let now = self.engine.clock().now();
        let until = now + LEASE;
        if let Some(context) = &self.context {
            if self.renewed.is_none_or(|at| at.elapsed() > LEASE / 3) {
                let token = context.token;
                self.engine.store.write(move |tx| processor::renew(tx, token, until)).await?;
                self.renewed = Some(Instant::now());
            }
            return Ok(Some(context.clone()));
        }
        let holder = self.engine.store.read(processor::holder).await?;
        if let Some(holder) = holder {
            let is_ours = holder.worker == self.engine.worker().id();
            if !is_ours && holder.until > now && !self.engine.worker().is_dead(&holder.worker) {
                return Ok(None);
            }
        }
        let worker = self.engine.worker().id().to_owned();
        let token: Token =
            self.engine.store.write(move |tx| processor::take(tx, &worker, until)).await?;
        let context = Context::new(
            self.engine.clone(),
            self.extractors.clone(),
            token,
            self.stop.child_token(),
            self.concurrency,
        );
        (self.context, self.renewed) = (Some(context.clone()), Some(Instant::now()));
        Ok(Some(context))
    }

    /// Stops what runs for this process, which another one has taken over: it would only find that
    /// it may write nothing.
    fn leave_off(&mut self) {
        if let Some(context) = self.context.take() {
            tracing::warn!("another process took processing over");
            context.stop.cancel();
        }
    }

    async fn lose_right(&mut self) {
        self.leave_off();
        while let Some(ended) = self.running.join_next().await {
            self.finish(ended).await;
        }
    }

    /// Begins batches while there is room. Returns whether it began one.
    async fn begin_some(
        &mut self,
        context: &Context,
        waiting: Vec<Batch>,
    ) -> Result<bool, StoreError> {
        let now = self.engine.clock().now();
        let mut held = self.engine.store.read(move |db| PausedCollections::of(db, now)).await?;
        for active in self.active.values() {
            held.probes(&active.collections);
        }
        self.stalled.retain(|key| waiting.iter().any(|batch| batch.key == *key));
        let mut has_begun = false;
        let mut waiting: Vec<Batch> =
            waiting.into_iter().filter(|batch| !self.active.contains_key(&batch.key)).collect();
        loop {
            waiting.retain(|batch| match held.how_far(first_tier(batch)) {
                HeldUp::Nothing => true,
                // Once the others are done, all that is left waits for the paused.
                HeldUp::Part => !self.stalled.contains(&batch.key),
                HeldUp::All => false,
            });
            let Some(index) = self.next(&waiting) else { break };
            let batch = waiting.remove(index);
            let collections = first_tier(&batch).to_vec();
            held.probes(&collections);
            self.ticks += 1;
            self.served.insert(collections.clone(), self.ticks);
            let active = Active { is_backfill: batch.is_backfill, collections };
            self.active.insert(batch.key, active);
            let (context, key) = (context.clone(), batch.key);
            self.running.spawn(async move { (key, batch::run(&context, key).await) });
            has_begun = true;
        }
        Ok(has_begun)
    }

    /// Which of the waiting is next, if there is room for it.
    fn next(&self, waiting: &[Batch]) -> Option<usize> {
        let room = self.concurrency + 1;
        let backfill = self.active.values().filter(|active| active.is_backfill).count();
        let fresh = self.active.len() - backfill;
        let slot_for = |is_backfill: bool| match is_backfill {
            // One slot is kept for what is of old, whatever comes in besides.
            true => self.active.len() < room || backfill == 0,
            false => fresh < room,
        };
        let rank = |batch: &Batch| {
            let served = self.served.get(first_tier(batch)).copied().unwrap_or_default();
            let is_starved = batch.is_backfill && backfill == 0;
            (batch.is_backfill && !is_starved, served, batch.key)
        };
        (0..waiting.len())
            .filter(|index| slot_for(waiting[*index].is_backfill))
            .min_by_key(|index| rank(&waiting[*index]))
    }

    async fn finish(
        &mut self,
        ended: Result<(i64, Result<(), Interrupted>), tokio::task::JoinError>,
    ) {
        match ended {
            Ok((key, outcome)) => {
                self.active.remove(&key);
                self.stalled.remove(&key);
                match outcome {
                    Ok(())
                    | Err(Interrupted::Unwanted | Interrupted::Deleted | Interrupted::Stopped) => {}
                    Err(Interrupted::Paused) => {
                        self.stalled.insert(key);
                    }
                    Err(Interrupted::Store(StoreError::LeaseLost)) => self.leave_off(),
                    Err(Interrupted::Store(error)) => {
                        tracing::error!(%error, "a batch could not go on: it is tried again");
                    }
                }
            }
            // Which one it was is not known; what was active is looked at again.
            Err(error) => {
                tracing::error!(%error, "a batch ended badly");
                if self.running.is_empty() {
                    self.active.clear();
                }
            }
        }
        // What waited for this one need not wait for the next look.
        self.nudge.nudge();
    }

    async fn end(mut self) {
        if let Some(context) = &self.context {
            context.stop.cancel();
        }
        while self.running.join_next().await.is_some() {}
        self.extractors.end_all().await;
        self.give_back().await;
    }

    /// Gives the right back, if this process has it.
    async fn give_back(&mut self) {
        if let Some(context) = self.context.take() {
            let token = context.token;
            let released = self.engine.store.write(move |tx| processor::release(tx, token)).await;
            if let Err(error) = released {
                tracing::warn!(%error, "the right to process could not be given back");
            }
        }
    }
}

/// Which collections wait because their extractor is paused.
struct PausedCollections {
    /// Of extractors whose next probe is not due.
    waiting: HashSet<i64>,
    /// Of each extractor whose next probe is due. One batch at a time probes it.
    due: Vec<HashSet<i64>>,
}

/// How much of a tier waits for paused extractors.
enum HeldUp {
    Nothing,
    Part,
    All,
}

impl PausedCollections {
    fn of(db: &Connection, now: Timestamp) -> Result<Self, StoreError> {
        let mut held = Self { waiting: HashSet::new(), due: Vec::new() };
        let pauses = pauses::all(db)?;
        if pauses.is_empty() {
            return Ok(held);
        }
        let all = collections::all(db)?;
        for pause in pauses {
            let of_extractor = all.iter().filter(|one| one.settings.extractor.name == pause.name);
            let keys: HashSet<i64> = of_extractor.map(|collection| collection.key).collect();
            match pause.probe_at > now {
                true => held.waiting.extend(keys),
                false => held.due.push(keys),
            }
        }
        Ok(held)
    }

    /// A batch with these collections probes their extractors: others wait for what it finds.
    fn probes(&mut self, collections: &[i64]) {
        let Self { waiting, due } = self;
        due.retain(|keys| {
            let is_probed = collections.iter().any(|key| keys.contains(key));
            if is_probed {
                waiting.extend(keys);
            }
            !is_probed
        });
    }

    fn how_far(&self, collections: &[i64]) -> HeldUp {
        match collections.iter().filter(|key| self.waiting.contains(key)).count() {
            0 => HeldUp::Nothing,
            count if count == collections.len() => HeldUp::All,
            _ => HeldUp::Part,
        }
    }
}

fn first_tier(batch: &Batch) -> &[i64] {
    let tiers = batch.tiers.as_deref().unwrap_or_default();
    tiers.get(batch.tier as usize).map_or(&[], Vec::as_slice)
}
