//! What everything that processes shares: the data directory, the right to process, the slots in
//! which extractors run, and which of them are paused.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

use super::extract::Extractors;
use crate::{
    engine::Engine,
    store::{
        StoreError, Transaction,
        events::{self, About, EventKind},
        processing::{
            pauses,
            processor::{self, Token},
        },
    },
};

/// Different objects that fail in passing, one after the other, before it counts as the extractor's
/// fault.
const IN_A_ROW: usize = 3;
/// The first and the longest time between two probes of a paused extractor.
const FIRST_PROBE: Duration = Duration::from_secs(2);
const LAST_PROBE: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) engine: Engine,
    pub(super) extractors: Extractors,
    pub(super) token: Token,
    pub(super) stop: CancellationToken,
    pub(super) slots: Slots,
    health: Arc<Mutex<HashMap<String, Health>>>,
}

#[derive(Debug, Default)]
struct Health {
    /// Objects that failed in passing since one succeeded.
    failed: HashSet<i64>,
    /// Probes that failed since.
    probes: u32,
}

impl Context {
    pub(super) fn new(
        engine: Engine,
        extractors: Extractors,
        token: Token,
        stop: CancellationToken,
        concurrency: usize,
    ) -> Self {
        Self {
            engine,
            extractors,
            token,
            stop,
            slots: Slots::new(concurrency),
            health: Arc::default(),
        }
    }

    /// Runs `work` in a transaction, if this process still has the right to.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let token = self.token;
        self.engine
            .store
            .write(move |tx| {
                processor::check(tx, token)?;
                work(tx)
            })
            .await
    }

    /// An object came through: the extractor works.
    pub(super) async fn works(&self, extractor: &str) -> Result<(), StoreError> {
        let was_in_doubt = self.lock().remove(extractor).is_some();
        if !was_in_doubt {
            return Ok(());
        }
        let (now, extractor) = (self.engine.clock().now(), extractor.to_owned());
        self.write(move |tx| {
            if pauses::lift(tx, &extractor)? {
                let detail = serde_json::json!({"extractor": extractor, "paused": false});
                events::append(tx, EventKind::ExtractorPaused, About::default(), &detail, now)?;
            }
            Ok(())
        })
        .await
    }

    /// An object failed in passing. Returns whether the extractor is to blame.
    pub(super) fn doubts(&self, extractor: &str, object_key: i64) -> bool {
        let mut health = self.lock();
        let failed = &mut health.entry(extractor.to_owned()).or_default().failed;
        failed.insert(object_key);
        failed.len() >= IN_A_ROW
    }

    /// Pauses an extractor; each time that this is said anew it waits longer for its next probe.
    pub(super) async fn pause(&self, extractor: &str, reason: String) -> Result<(), StoreError> {
        let probes = {
            let mut health = self.lock();
            let health = health.entry(extractor.to_owned()).or_default();
            health.failed.clear();
            health.probes += 1;
            health.probes
        };
        let wait = (FIRST_PROBE * 2_u32.saturating_pow(probes.min(16) - 1)).min(LAST_PROBE);
        let (now, extractor) = (self.engine.clock().now(), extractor.to_owned());
        tracing::warn!(extractor, reason, "the extractor is paused");
        self.write(move |tx| {
            pauses::pause(tx, &extractor, &reason, now + wait, now)?;
            let detail =
                serde_json::json!({"extractor": extractor, "paused": true, "reason": reason});
            events::append(tx, EventKind::ExtractorPaused, About::default(), &detail, now)
        })
        .await
    }

    /// Remembers that an extractor was paused before this process began.
    pub(super) fn is_in_doubt(&self, extractor: &str, probes: u32) {
        self.lock().entry(extractor.to_owned()).or_default().probes = probes;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Slots at which extractors run, and as many for objects that are made ready for the next free
/// one; fewer while a sync runs.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    all: usize,
    free: Arc<Semaphore>,
    ahead: Arc<Semaphore>,
    withheld: Arc<Mutex<[Vec<OwnedSemaphorePermit>; 2]>>,
    /// Read by those that do not mind company.
    company: Arc<RwLock<()>>,
}

/// A slot that is taken.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _company: Company,
}

#[expect(dead_code, reason = "held for as long as they are")]
enum Company {
    Welcome(tokio::sync::OwnedRwLockReadGuard<()>),
    Unwelcome(tokio::sync::OwnedRwLockWriteGuard<()>),
}

impl Slots {
    fn new(all: usize) -> Self {
        let all = all.max(1);
        Self {
            all,
            free: Arc::new(Semaphore::new(all)),
            ahead: Arc::new(Semaphore::new(all)),
            withheld: Arc::default(),
            company: Arc::default(),
        }
    }

    /// Leaves one slot, or all.
    pub(super) fn leave_only_one(&self, one: bool) {
        let mut withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        for (slots, withheld) in [&self.free, &self.ahead].into_iter().zip(&mut *withheld) {
            if !one {
                withheld.clear();
            }
            while one && withheld.len() + 1 < self.all {
                match slots.clone().try_acquire_owned() {
                    Ok(permit) => withheld.push(permit),
                    Err(_) => break,
                }
            }
        }
    }

    /// Waits until an object may be made ready: it holds this until it has a slot.
    pub(super) async fn prepare(&self) -> Option<OwnedSemaphorePermit> {
        self.ahead.clone().acquire_owned().await.ok()
    }

    /// Waits for a slot; `alone`, until nothing else runs.
    pub(super) async fn take(&self, alone: bool) -> Option<Slot> {
        let company = match alone {
            true => Company::Unwelcome(self.company.clone().write_owned().await),
            false => Company::Welcome(self.company.clone().read_owned().await),
        };
        let permit = self.free.clone().acquire_owned().await.ok()?;
        Some(Slot { _permit: permit, _company: company })
    }
}
