//! `/v1/health*`: whether this server runs, and whether what it depends on works. Needs no token.

use std::time::{Duration, Instant};

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    json::{ValidQuery, query_parameters},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(beat))
        .routes(routes!(liveness))
        .routes(routes!(deep))
}

/// Alive, and which version.
#[derive(Debug, Serialize, ToSchema)]
struct Alive {
    /// Always `OK`: the server responds.
    status: HealthStatusOutput,
    /// This program's version.
    version: &'static str,
}

/// Whether everything works.
#[derive(Clone, Copy, Debug, Serialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum HealthStatusOutput {
    /// It does.
    Ok,
    /// Not everything.
    Degraded,
}

/// What works and what does not.
#[derive(Debug, Serialize, ToSchema)]
struct HealthCheckResponse {
    /// All of it together.
    status: HealthStatusOutput,
    /// Part by part.
    data: HealthServiceStatus,
    /// What is wrong with those that do not work; null when all do.
    errors: Option<HealthServiceErrors>,
    /// Version, and with `metrics` how long each check took.
    meta: Map<String, Value>,
}

/// Part by part. Catchment has no cache, vector store, inference or analytics apart from its
/// database: these are as well as that is.
#[derive(Debug, Serialize, ToSchema)]
struct HealthServiceStatus {
    /// The database.
    cache: bool,
    /// The database.
    metadata: bool,
    /// The database.
    vector_store: bool,
    /// The folder of the blobs.
    object_storage: bool,
    /// The scheduler.
    task_queue: bool,
    /// The database.
    inference: bool,
    /// The database.
    analytics: Option<bool>,
}

/// What is wrong, part by part.
#[derive(Debug, Default, Serialize, ToSchema)]
struct HealthServiceErrors {
    /// The database.
    cache: Option<String>,
    /// The database.
    metadata: Option<String>,
    /// The database.
    vector_store: Option<String>,
    /// The folder of the blobs.
    object_storage: Option<String>,
    /// The scheduler.
    task_queue: Option<String>,
    /// The database.
    inference: Option<String>,
    /// The database.
    analytics: Option<String>,
}

/// How deep to look.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeepQuery {
    /// Whether to write as well as to read; true if absent.
    deep: Option<bool>,
    /// Whether to report how long each check took.
    metrics: Option<bool>,
}
query_parameters!(DeepQuery);

const ALIVE: Alive = Alive { status: HealthStatusOutput::Ok, version: env!("CARGO_PKG_VERSION") };

/// Is the server there
#[utoipa::path(
    get, path = "/v1/health", tag = "health", operation_id = "health_check",
    responses((status = 200, body = Alive)), security(())
)]
async fn health() -> Json<Alive> {
    Json(ALIVE)
}

/// Is the server there, for monitors
#[utoipa::path(
    get, path = "/v1/health/beat", tag = "health", operation_id = "health_beat",
    responses((status = 200, body = Alive)), security(())
)]
async fn beat() -> Json<Alive> {
    Json(ALIVE)
}

/// Should the server be left running
#[utoipa::path(
    get, path = "/v1/health/liveness", tag = "health", operation_id = "health_liveness",
    responses((status = 200, body = Alive)), security(())
)]
async fn liveness() -> Json<Alive> {
    Json(ALIVE)
}

/// Check everything that the server depends on
///
/// Answers 200 even when something does not: `status` is then `DEGRADED`.
#[utoipa::path(
    get, path = "/v1/health/deep", tag = "health", operation_id = "health_deep",
    params(DeepQuery),
    responses((status = 200, body = HealthCheckResponse)), security(())
)]
async fn deep(
    State(app): State<App>,
    ValidQuery(query): ValidQuery<DeepQuery>,
) -> Result<Json<HealthCheckResponse>, ApiError> {
    let writes = query.deep.unwrap_or(true);
    let (database, database_took) = timed(database_works(&app, writes)).await;
    let (blobs, blobs_took) = timed(blobs_work(&app, writes)).await;
    let queue = (!app.scheduler_pulse.is_alive()).then_some("the scheduler has stopped");

    let is_well = database.is_none() && blobs.is_none() && queue.is_none();
    let mut meta = Map::from_iter([("version".to_owned(), json!(env!("CARGO_PKG_VERSION")))]);
    if query.metrics.unwrap_or(false) {
        meta.insert("database_ms".to_owned(), json!(database_took.as_secs_f64() * 1000.0));
        meta.insert("object_storage_ms".to_owned(), json!(blobs_took.as_secs_f64() * 1000.0));
    }
    let said = |error: Option<&'static str>| error.map(str::to_owned);
    Ok(Json(HealthCheckResponse {
        status: if is_well { HealthStatusOutput::Ok } else { HealthStatusOutput::Degraded },
        data: HealthServiceStatus {
            // What this build has not is not there, and makes nothing unhealthy.
            cache: false,
            metadata: database.is_none(),
            vector_store: false,
            object_storage: blobs.is_none(),
            task_queue: queue.is_none(),
            inference: false,
            analytics: Some(false),
        },
        errors: (!is_well).then(|| HealthServiceErrors {
            cache: None,
            metadata: said(database),
            vector_store: None,
            object_storage: said(blobs),
            task_queue: said(queue),
            inference: None,
            analytics: None,
        }),
        meta,
    }))
}

async fn timed<T>(check: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (check.await, start.elapsed())
}

/// `None` when it works. What exactly is wrong is in the log, as paths are in it.
async fn database_works(app: &App, writes: bool) -> Option<&'static str> {
    let store = &app.engine.store;
    if let Err(error) = store.read(crate::store::probe::read).await {
        tracing::error!(%error, "the database cannot be read");
        return Some("the database cannot be read");
    }
    if writes && let Err(error) = store.write(crate::store::probe::write).await {
        tracing::error!(%error, "the database cannot be written");
        return Some("the database cannot be written");
    }
    None
}

async fn blobs_work(app: &App, writes: bool) -> Option<&'static str> {
    let blobs = app.engine.blobs.clone();
    match tokio::task::spawn_blocking(move || blobs.probe(writes)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::error!(%error, "the folder of the blobs cannot be used");
            Some("the folder of the blobs cannot be used")
        }
        Err(_) => Some("the folder of the blobs could not be checked"),
    }
}
