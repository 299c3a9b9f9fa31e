//! Webhooks: what happened is delivered to whoever asked for it, in order and at least once.
//!
//! There is no outbox: each channel of a webhook has a cursor over the log of events, which moves
//! once a delivery has arrived. A delivery that fails is tried again, later each time; what is
//! behind it waits, and other channels do not. After a day of failures the channel is paused.
//!
//! - here: which channels have something to deliver, and one channel's deliveries in turn
//! - `message`: what is delivered of an event
//! - `delivery`: one message on its way, signed
//!
//! What does not live here: SQL (`store::webhooks`), who asks for what (`api::webhooks`).

mod delivery;
mod message;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use self::message::Message;
use crate::{
    engine::Engine,
    model::ChannelSecrets,
    secrets::SecretsError,
    sources::http::post::Poster,
    store::{
        StoreError, events, secrets,
        webhooks::{self, Claimed, Due, Failure},
    },
};

/// How often the log is read.
const BEAT: Duration = Duration::from_millis(500);
/// How long a channel is this process's without a delivery. No delivery takes longer.
const LEASE: Duration = Duration::from_secs(60);
/// Channels that are delivered for at once.
const AT_ONCE: usize = 32;
/// Events that are read in one go.
const PAGE: u32 = 200;
/// Events that are passed over before that is written down.
const PASSED_OVER: i64 = 1000;
/// The first and the longest time before a delivery that failed is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(3600);
/// How long deliveries may fail before their channel is paused.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Deliveries at work. Dropping it stops nothing: [`Deliveries::stop`] does.
#[derive(Debug)]
pub struct Deliveries {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Deliveries {
    /// Delivers what the log of a data directory holds.
    #[must_use]
    pub fn start(engine: Engine) -> Self {
        let stop = CancellationToken::new();
        let work = Dispatcher {
            context: Context { engine, poster: Poster::new(), stop: stop.clone() },
            running: JoinSet::new(),
            active: HashSet::new(),
            seen: HashMap::new(),
        };
        Self { stop, task: tokio::spawn(work.run()) }
    }

    /// Begins no other delivery, and waits for those that are on their way.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the deliveries of webhooks ended badly");
        }
    }
}

/// What deliveries share.
#[derive(Clone, Debug)]
struct Context {
    engine: Engine,
    poster: Poster,
    stop: CancellationToken,
}

struct Dispatcher {
    context: Context,
    running: JoinSet<(i64, Result<Option<i64>, DeliveryError>)>,
    /// Channels that are being delivered for.
    active: HashSet<i64>,
    /// The newest event up to which there is nothing for a channel, where its cursor does not say
    /// so: that is not written down for every event.
    seen: HashMap<i64, i64>,
}

#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

impl Dispatcher {
    async fn run(mut self) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.context.stop.is_cancelled() {
            tokio::select! {
                () = self.context.stop.cancelled() => {}
                Some(ended) = self.running.join_next() => self.finish(ended),
                _ = beat.tick() => {
                    if let Err(error) = self.start_due().await {
                        tracing::warn!(%error, "what webhooks are to deliver could not be read");
                    }
                }
            }
        }
        while self.running.join_next().await.is_some() {}
    }

    /// Starts deliveries for channels that have some due.
    async fn start_due(&mut self) -> Result<(), StoreError> {
        let engine = &self.context.engine;
        let now = engine.clock().now();
        let (due, newest) = engine.store.read(move |db| webhooks::due(db, now)).await?;
        let alive: HashSet<i64> = due.iter().map(|due| due.key).collect();
        self.seen.retain(|key, _| alive.contains(key));
        for due in due {
            let is_news = self.seen.get(&due.key).is_none_or(|seen| *seen < newest);
            if self.active.len() >= AT_ONCE || self.active.contains(&due.key) || !is_news {
                continue;
            }
            if is_held(engine, &due, now) {
                continue;
            }
            self.active.insert(due.key);
            let context = self.context.clone();
            self.running.spawn(async move { (due.key, deliver(&context, &due).await) });
        }
        Ok(())
    }

    /// Takes note of a delivery that has ended.
    fn finish(
        &mut self,
        ended: Result<(i64, Result<Option<i64>, DeliveryError>), tokio::task::JoinError>,
    ) {
        match ended {
            Ok((key, outcome)) => {
                self.active.remove(&key);
                match outcome {
                    Ok(Some(seen)) => {
                        self.seen.insert(key, seen);
                    }
                    Ok(None) => {
                        self.seen.remove(&key);
                    }
                    Err(error) => tracing::warn!(%error, "a webhook's deliveries broke off"),
                }
            }
            Err(error) => {
                tracing::error!(%error, "a webhook's deliveries ended badly");
                if self.running.is_empty() {
                    self.active.clear();
                }
            }
        }
    }
}

/// Whether another process that lives delivers for it.
fn is_held(engine: &Engine, due: &Due, now: Timestamp) -> bool {
    let worker = engine.worker();
    due.sender.as_ref().is_some_and(|(sender, until)| {
        sender != worker.id() && *until > now && !worker.is_dead(sender)
    })
}

/// Delivers what there is for a channel, until there is no more or a delivery fails. Returns the
/// newest event up to which there is nothing for it.
async fn deliver(context: &Context, due: &Due) -> Result<Option<i64>, DeliveryError> {
    let store = &context.engine.store;
    let worker = context.engine.worker().id().to_owned();
    let (wanted, sender) = (due.clone(), worker.clone());
    let until = context.engine.clock().now() + LEASE;
    let claimed = store.write(move |tx| webhooks::claim(tx, &wanted, &sender, until)).await?;
    let Some(claimed) = claimed else { return Ok(None) };
    let key = claimed.key;
    let seen = match secrets_of(context, &claimed).await {
        Ok(secrets) => {
            let mut channel = Channel { context, worker: &worker, claimed, secrets };
            match channel.claimed.body.clone() {
                Some(body) => channel.tell_once(&body).await?,
                None => channel.catch_up().await?,
            }
        }
        Err(error) => {
            let mut channel =
                Channel { context, worker: &worker, claimed, secrets: ChannelSecrets::default() };
            channel.failed(error.to_string()).await?;
            None
        }
    };
    store.write(move |tx| webhooks::release(tx, key, &worker)).await?;
    Ok(seen)
}

async fn secrets_of(context: &Context, claimed: &Claimed) -> Result<ChannelSecrets, Unopened> {
    if !claimed.channel.has_secrets() {
        return Ok(ChannelSecrets::default());
    }
    let key = claimed.key;
    let kept = context.engine.store.read(move |db| secrets::of_channel_key(db, key)).await?;
    let kept = kept.ok_or(Unopened::Gone)?;
    let opened = context.engine.vault.open(&kept).await?;
    opened.read().map_err(|_| Unopened::Gone)
}

#[derive(Debug, thiserror::Error)]
enum Unopened {
    #[error("its secrets are gone, which a copy without secrets leaves out: enter them again")]
    Gone,
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

impl From<StoreError> for Unopened {
    fn from(error: StoreError) -> Self {
        Self::Secrets(error.into())
    }
}

/// A channel that is being delivered for.
struct Channel<'a> {
    context: &'a Context,
    worker: &'a str,
    claimed: Claimed,
    secrets: ChannelSecrets,
}

impl Channel<'_> {
    /// Delivers what the log holds behind the channel's cursor. Returns the newest event up to
    /// which there is nothing; `None` where there is more, or a delivery failed.
    async fn catch_up(&mut self) -> Result<Option<i64>, DeliveryError> {
        let store = self.context.engine.store.clone();
        let mut at = self.claimed.after;
        let mut is_whole = store.read(move |db| webhooks::is_whole_behind(db, at)).await?;
        loop {
            let page = store.read(move |db| events::behind(db, at, PAGE)).await?;
            if page.is_empty() {
                return Ok(Some(at));
            }
            for event in page {
                let messages = message::of(
                    &event,
                    &self.claimed.event_types,
                    self.claimed.resource_types.as_deref(),
                );
                let (sent, count) = (self.claimed.sent, messages.len());
                for (number, message) in messages.into_iter().enumerate().skip(sent) {
                    if self.context.stop.is_cancelled() {
                        return Ok(None);
                    }
                    let message = Message { events_lost: !is_whole, ..message };
                    if let Err(error) = self.send(&message.body(), &message).await {
                        self.failed(error).await?;
                        return Ok(None);
                    }
                    is_whole = true;
                    (self.claimed.after, self.claimed.sent) = match number + 1 < count {
                        true => (event.key - 1, number + 1),
                        false => (event.key, 0),
                    };
                    if !self.arrived(true).await? {
                        return Ok(None);
                    }
                }
                at = event.key;
            }
            if is_whole && at - self.claimed.after > PASSED_OVER {
                self.claimed.after = at;
                if !self.arrived(false).await? {
                    return Ok(None);
                }
            }
        }
    }

    async fn tell_once(&mut self, body: &str) -> Result<Option<i64>, DeliveryError> {
        let message = Message::default();
        if let Err(error) = self.send(body, &message).await {
            self.failed(error).await?;
            return Ok(None);
        }
        self.finish_once().await?;
        Ok(None)
    }

    async fn send(&self, body: &str, message: &Message) -> Result<(), String> {
        let now = self.context.engine.clock().now();
        let channel = &self.claimed.channel;
        let post = delivery::of(channel, &self.secrets, body, message, now)?;
        delivery::arrive(&self.context.poster, post).await
    }

    /// Notes how far it has come. Returns whether it may go on.
    async fn arrived(&self, has_sent: bool) -> Result<bool, StoreError> {
        let now = self.context.engine.clock().now();
        let (claimed, worker) = (self.claimed.clone(), self.worker.to_owned());
        self.context
            .engine
            .store
            .write(move |tx| webhooks::advance(tx, &claimed, &worker, has_sent, now + LEASE, now))
            .await
    }

    async fn failed(&mut self, error: String) -> Result<(), StoreError> {
        let now = self.context.engine.clock().now();
        let since = self.claimed.first_failure_at.unwrap_or(now);
        let is_over = now >= since + PATIENCE;
        let wait = FIRST_WAIT * 2_u32.saturating_pow(self.claimed.failures.min(16));
        let failure = Failure { error, next_try_at: (!is_over).then(|| now + wait.min(LAST_WAIT)) };
        tracing::debug!(channel = self.claimed.key, error = failure.error, "a delivery failed");
        if is_over && self.claimed.body.is_some() {
            return self.finish_once().await;
        }
        let (claimed, worker) = (self.claimed.clone(), self.worker.to_owned());
        let write = move |tx: &crate::store::Transaction<'_>| {
            webhooks::fail(tx, &claimed, &worker, &failure, now)
        };
        self.context.engine.store.write(write).await
    }

    async fn finish_once(&self) -> Result<(), StoreError> {
        let (key, worker) = (self.claimed.key, self.worker.to_owned());
        self.context.engine.store.write(move |tx| webhooks::finish_once(tx, key, &worker)).await
    }
}
