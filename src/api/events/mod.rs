//! `/v1/events`: what happens, as it happens, as server-sent events; and the log of what happened.
//!
//! Events are kept with their ids, so a listener that lost its connection says the last one that it
//! saw and misses nothing; if that one is no longer kept, it gets `reset` and should read
//! everything again what it shows. `job.progress` is not kept and has no id.

mod live;
mod wire;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as Sent, KeepAlive, Sse},
    },
};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    live::Seen,
    wire::{EventLogQuery, EventLogResponse, EventModel, JobProgress, ServerSentEvent},
};
use super::{App, error::ApiError, json::ValidQuery};
use crate::store::{StoreError, events};

pub use live::Live;

/// Listeners at once.
const LISTENERS: usize = 64;
/// Events that are read in one go.
const AT_ONCE: u32 = 200;
/// How often a silent stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Places for listeners.
#[derive(Clone, Debug)]
pub struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LISTENERS)))
    }
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(stream)).routes(routes!(log))
}

/// Listen to what happens
///
/// Server-sent events: each has the event's type as `event`, its id as `id`, and an `EventModel` as
/// `data`. `job.progress` comes at most four times a second for a job, without an id, with a
/// `JobProgress`. `Last-Event-ID` continues behind that event; `reset` says that it is no longer
/// kept.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "stream_events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen")),
    responses((status = 200, content_type = "text/event-stream", body = ServerSentEvent))
)]
async fn stream(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let place = app.listeners.0.clone().try_acquire_owned().map_err(|_| {
        ApiError::too_many(format!("{LISTENERS} listen already, which is the most"), 5)
    })?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default().to_owned());
    let last = last.filter(|id| !id.trim().is_empty());
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let stopping = app.stopping.clone();
        stopping.run_until_cancelled(listen(app, last, sender, place)).await;
    });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("still here");
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(heartbeat).into_response())
}

type EventSender = mpsc::Sender<Result<Sent, Infallible>>;

/// The listener has gone.
struct Gone;

async fn listen(app: App, last: Option<String>, sender: EventSender, _place: OwnedSemaphorePermit) {
    // Listens before it reads, so that nothing falls in between.
    let mut pulse = app.live.listen();
    let begin = async {
        let mut at = match begin(&app, last).await {
            Ok(Beginning::Behind(key)) => key,
            Ok(Beginning::Reset(newest)) => {
                let reset = Sent::default()
                    .event("reset")
                    .id(newest.to_string())
                    .data(json!({ "type": "reset", "event_id": newest }).to_string());
                send(&sender, reset).await?;
                newest
            }
            Err(error) => return Err(broken(&error)),
        };
        // The first line shows the listener that it is connected.
        send(&sender, Sent::default().comment("listening")).await?;
        let mut sent = Seen::default();
        loop {
            at = send_events(&app, at, &sender).await?;
            let now = pulse.borrow_and_update().clone();
            send_progress(&mut sent, &now, &sender).await?;
            tokio::select! {
                changed = pulse.changed() => changed.map_err(|_| Gone)?,
                () = sender.closed() => return Err(Gone),
            }
        }
    };
    let _: Result<Infallible, Gone> = begin.await;
}

enum Beginning {
    /// What follows this event.
    Behind(i64),
    /// What follows this event, after something that is no longer known.
    Reset(i64),
}

async fn begin(app: &App, last: Option<String>) -> Result<Beginning, StoreError> {
    let (oldest, newest) =
        app.engine.store.read(|db| Ok((events::oldest(db)?, events::newest(db)?))).await?;
    let Some(last) = last else { return Ok(Beginning::Behind(newest)) };
    match last.trim().parse::<i64>() {
        Ok(last) if last + 1 >= oldest && last <= newest => Ok(Beginning::Behind(last)),
        _ => Ok(Beginning::Reset(newest)),
    }
}

async fn send_events(app: &App, mut at: i64, sender: &EventSender) -> Result<i64, Gone> {
    loop {
        let read = app.engine.store.read(move |db| events::behind(db, at, AT_ONCE)).await;
        let events = read.map_err(|error| broken(&error))?;
        let count = events.len();
        for event in events {
            at = event.key;
            let model = EventModel::from(event);
            let sent = Sent::default().event(&model.kind).id(model.event_id.to_string());
            send(sender, sent.data(json!(model).to_string())).await?;
        }
        if count < AT_ONCE as usize {
            return Ok(at);
        }
    }
}

/// Sends the progress of jobs that has changed since it was sent last.
async fn send_progress(sent: &mut Seen, now: &Seen, sender: &EventSender) -> Result<(), Gone> {
    let is_new = |job: &&JobProgress| !sent.jobs.contains(job);
    for job in now.jobs.iter().filter(is_new) {
        send(sender, Sent::default().event("job.progress").data(json!(job).to_string())).await?;
    }
    *sent = now.clone();
    Ok(())
}

async fn send(sender: &EventSender, event: Sent) -> Result<(), Gone> {
    sender.send(Ok(event)).await.map_err(|_| Gone)
}

fn broken(error: &StoreError) -> Gone {
    tracing::error!(%error, "the events could not be read");
    Gone
}

/// List what happened
///
/// Newest first. Some 20,000 events are kept.
#[utoipa::path(
    get, path = "/v1/events/log", tag = "events", operation_id = "list_events",
    params(EventLogQuery),
    responses((status = 200, body = EventLogResponse))
)]
async fn log(
    State(app): State<App>,
    ValidQuery(query): ValidQuery<EventLogQuery>,
) -> Result<Json<EventLogResponse>, ApiError> {
    let (before, limit) = (query.before.unwrap_or(i64::MAX), query.limit.unwrap_or(100));
    let events = app.engine.store.read(move |db| events::before(db, before, limit)).await?;
    let is_full = events.len() == limit as usize;
    let next_before = events.last().filter(|_| is_full).map(|event| event.key);
    let results = events.into_iter().map(EventModel::from).collect();
    Ok(Json(EventLogResponse { results, next_before }))
}
