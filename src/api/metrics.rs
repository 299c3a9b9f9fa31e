//! `/metrics` for Prometheus: how requests went since the start, and what the installation holds.
//! The format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicU64};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use super::{App, error::ApiError};
use crate::store::totals::{self, Totals};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: String,
}

type Durations = Family<Route, Histogram, fn() -> Histogram>;

/// How requests went; clones share it.
#[derive(Clone)]
pub(super) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("catchment");
        let requests = Family::default();
        // 1 ms to 16 s.
        let durations =
            Durations::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15)));
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time to the head of the answer",
            Unit::Seconds,
            durations.clone(),
        );
        Self { registry: Arc::new(Mutex::new(registry)), requests, durations }
    }
}

/// Counts and times a request, and logs it. The log has no queries: these may hold secrets.
pub(super) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let since = Instant::now();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        // Callers must not make up labels.
        _ => "other",
    }
    .to_owned();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none", MatchedPath::as_str).to_owned();
    let path = request.uri().path().to_owned();

    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), since.elapsed());
    tracing::info!(method, path, status, ms = took.as_millis() as u64, "answered");
    let labels = RequestLabels { method: method.clone(), route: route.clone(), status };
    app.metrics.requests.get_or_create(&labels).inc();
    app.metrics.durations.get_or_create(&Route { method, route }).observe(took.as_secs_f64());
    response
}

/// `GET /metrics`.
pub(super) async fn answer(State(app): State<App>) -> Result<Response, ApiError> {
    let totals = app.engine.store.read(totals::read).await?;
    let disk_free = app.engine.blobs.free().map_err(ApiError::internal)?;
    let mut body = String::new();
    {
        let requests = app.metrics.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode_registry(&mut body, &requests).map_err(ApiError::internal)?;
    }
    let state = registry_of(&totals, disk_free, app.now());
    text::encode_registry(&mut body, &state).map_err(ApiError::internal)?;
    text::encode_eof(&mut body).map_err(ApiError::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

type Number = Gauge<u64, AtomicU64>;

fn registry_of(totals: &Totals, disk_free: u64, now: jiff::Timestamp) -> Registry {
    let mut registry = Registry::with_prefix("catchment");
    let mut by_status = |name: &str, help: &str, counts: &[(String, u64)]| {
        let family = Family::<Status, Number>::default();
        for (status, count) in counts {
            family.get_or_create(&Status { status: status.clone() }).set(*count);
        }
        registry.register(name, help, family);
    };
    by_status("jobs", "Jobs by status", &totals.jobs);
    by_status("syncs", "Syncs by status", &totals.syncs);
    let mut number = |name: &str, help: &str, unit: Option<Unit>, value: u64| {
        let gauge = Number::default();
        gauge.set(value);
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, gauge),
            None => registry.register(name, help, gauge),
        }
    };
    number("objects", "Objects in all buckets", None, totals.objects);
    number(
        "object",
        "Their sizes, shared bytes counted each time",
        Some(Unit::Bytes),
        totals.object_bytes,
    );
    number("stored", "Bytes of blobs, shared ones once", Some(Unit::Bytes), totals.stored_bytes);
    number("dead_letters_open", "Entries that failed and are missing", None, totals.dead_letters);
    number("held_removals", "Syncs whose removals wait for an answer", None, totals.held);
    number("disk_free", "Free space where the data is", Some(Unit::Bytes), disk_free);
    if let Some(last) = totals.last_sync_at {
        let age = now.duration_since(last).as_secs().max(0).unsigned_abs();
        number("last_sync_age", "Since the last complete pass", Some(Unit::Seconds), age);
    }
    registry
}
