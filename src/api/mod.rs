//! The HTTP API: the public bucket-sync API of `/v1`, and what surrounds it.
//!
//! One module a resource: `mod.rs` has its routes and handlers, `wire.rs` its request and response
//! types, named as the public API names them. A request passes, in this order, [`server`] (limits
//! and timeouts of connections), `request_id`, [`access`] (may it ask?), [`json`] (is what it says
//! possible?) and reaches a handler, whose errors [`error`] turns into responses.
//!
//! What does not live here: SQL (`store`), decisions about syncs and entries (`engine`).

pub mod access;
mod analytics;
mod archive;
mod base;
mod batches;
mod buckets;
mod checker;
mod collections;
mod connection;
mod connections;
pub mod content;
mod disk;
mod docs;
mod documents;
pub mod error;
pub mod events;
mod filters;
mod headers;
mod health;
mod html;
pub mod json;
mod metrics;
mod namespaces;
mod objects;
mod openapi;
mod overview;
pub mod page;
mod query;
mod request_body;
mod request_id;
pub mod scope;
pub mod server;
mod settings;
pub mod sign_ins;
mod submission;
mod syncs;
mod tasks;
mod tree;
mod ui;
mod uploads;
mod webhooks;

use std::{
    any::Any,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode, Uri},
    middleware,
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa_axum::router::OpenApiRouter;

use self::{
    access::{Access, login},
    archive::Archives,
    content::links::Links,
    error::ApiError,
    events::{Listeners, Live},
    metrics::Metrics,
    sign_ins::{callback, pending::SignIns},
};
use crate::{
    config::Config,
    engine::{Engine, LiveProgress},
    processing::{extract::Extractors, processor, thumbnails::Thumbnails},
    scheduler::{Nudge, Pulse, Scheduler},
    sources::oauth::sign_in::CALLBACK,
};

/// The longest body of a request, in bytes; routes that stream have limits of their own.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// How long the next bytes of a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);

/// What every handler can reach; clones share it.
#[derive(Clone, Debug)]
pub struct App {
    /// The open data directory.
    pub engine: Engine,
    /// The settings.
    pub config: Arc<Config>,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Wakes the scheduler.
    pub scheduler: Nudge,
    /// Makes and checks signed links.
    pub links: Arc<Links>,
    /// Cancelled when the server shuts down: responses that would go on forever end then.
    pub stopping: CancellationToken,
    /// What the runs of this process do.
    pub live_progress: LiveProgress,
    /// People who are signing in to a provider.
    pub sign_ins: SignIns,
    /// The extractors that are here.
    pub extractors: Extractors,
    /// Wakes the processor.
    pub processor: processor::Nudge,
    /// Draws small pictures of objects.
    pub thumbnails: Thumbnails,
    scheduler_pulse: Pulse,
    live: Live,
    listeners: Listeners,
    metrics: Metrics,
    archives: Archives,
}

/// What works in the background of a server.
#[derive(Debug)]
pub struct Background<'a> {
    /// Runs syncs.
    pub scheduler: &'a Scheduler,
    /// What they do.
    pub live_progress: LiveProgress,
    /// The extractors that are here.
    pub extractors: Extractors,
    /// Wakes what processes.
    pub processor: processor::Nudge,
}

impl App {
    /// What handlers reach. Ends with `stopping`.
    #[must_use]
    pub fn new(
        engine: Engine,
        config: Config,
        access: Access,
        links: impl Into<Arc<Links>>,
        background: Background<'_>,
        stopping: CancellationToken,
    ) -> Self {
        let Background { scheduler, live_progress, extractors, processor } = background;
        let thumbnails = Thumbnails::new(
            engine.clone(),
            extractors.clone(),
            processor::default_concurrency(),
            config.thumbnail_cache.as_u64(),
        );
        Self {
            live: Live::start(engine.clone(), live_progress.clone(), stopping.clone()),
            listeners: Listeners::default(),
            metrics: Metrics::default(),
            archives: Archives::default(),
            sign_ins: SignIns::default(),
            config: Arc::new(config),
            access: Arc::new(access),
            links: links.into(),
            scheduler: scheduler.nudge(),
            scheduler_pulse: scheduler.pulse(),
            engine,
            live_progress,
            extractors,
            processor,
            thumbnails,
            stopping,
        }
    }

    /// This instant, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }
}

/// Resumes the deletions that an earlier process began and did not finish.
pub async fn resume_deletions(app: App) {
    buckets::resume_deletions(app).await;
}

/// The API's table of contents.
const RESOURCES: [fn() -> OpenApiRouter<App>; 20] = [
    health::routes,
    namespaces::routes,
    overview::routes,
    settings::routes,
    tree::routes,
    connections::routes,
    sign_ins::routes,
    syncs::routes,
    buckets::routes,
    objects::routes,
    collections::routes,
    batches::routes,
    tasks::routes,
    analytics::routes,
    webhooks::routes,
    documents::routes,
    content::routes,
    archive::routes,
    uploads::routes,
    events::routes,
];

/// Everything that the server serves.
pub fn router(app: App) -> Router {
    LazyLock::force(&settings::STARTED);
    // What a resource says of itself goes at once: all of it together is several times what the
    // server needs from then on.
    let routes = RESOURCES.map(|routes| routes().split_for_parts().0);
    routes
        .into_iter()
        .fold(Router::new(), Router::merge)
        .route("/openapi.json", get(document))
        .route("/docs", get(document_to_read))
        .route("/metrics", get(metrics::answer))
        .route(
            "/login",
            get(login::page).post(login::enter).layer(DefaultBodyLimit::max(login::MAX_BODY_BYTES)),
        )
        .route("/logout", post(login::leave))
        .route(CALLBACK, get(callback::callback))
        .fallback(file_or_nothing)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(middleware::from_fn_with_state(app.clone(), access::guard))
        // From here on outwards: what holds for refused requests too.
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::observe))
        .layer(middleware::from_fn(headers::protect))
        .layer(middleware::from_fn(request_id::assign))
        .with_state(app)
}

/// What the API says of itself.
struct Description {
    json: Bytes,
    page: Bytes,
}

/// Describes the API once somebody asks: that takes longer than everything else that a server does
/// before it listens, and most of the memory.
async fn described() -> Result<&'static Description, ApiError> {
    static DESCRIPTION: LazyLock<Result<Description, serde_json::Error>> = LazyLock::new(|| {
        let all = OpenApiRouter::with_openapi(openapi::frame());
        let all = RESOURCES.into_iter().fold(all, |all, routes| all.merge(routes()));
        let (_, document) = all.split_for_parts();
        let document = serde_json::to_value(openapi::finish(document))?;
        Ok(Description { json: document.to_string().into(), page: docs::page(&document).into() })
    });
    let described = tokio::task::spawn_blocking(|| DESCRIPTION.as_ref());
    described.await.map_err(ApiError::internal)?.map_err(ApiError::internal)
}

async fn document() -> Result<Response, ApiError> {
    Ok(openapi::answer(described().await?.json.clone()))
}

async fn document_to_read() -> Result<Response, ApiError> {
    let page = Html(described().await?.page.clone());
    Ok(([(axum::http::header::CONTENT_SECURITY_POLICY, headers::PAGE)], page).into_response())
}

async fn file_or_nothing(request: Request) -> Response {
    ui::file(&request).unwrap_or_else(|| nothing(request.uri().path()).into_response())
}

/// Parts of the public API that this build may not have, and what each is.
const PARTS: [(&str, &str); 5] = [
    ("analytics", "analytics"),
    ("batches", "batches"),
    ("collections", "collections"),
    ("documents", "documents"),
    ("tasks", "tasks"),
];

/// There is no such route: because this build lacks that part of the API, or because nothing has
/// it.
fn nothing(path: &str) -> ApiError {
    let mut segments = path.split('/').skip(1);
    let is_api = segments.next() == Some("v1");
    let part = segments.find_map(|segment| PARTS.iter().find(|(name, _)| *name == segment));
    match part.filter(|_| is_api) {
        Some((_, what)) => ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            format!("this build of Catchment does not have this part of the API: {what}"),
        )
        .detail("part", *what),
        None => ApiError::not_found("route", path),
    }
}

async fn unknown_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}", uri.path()),
    )
}

fn panicked(what: Box<dyn Any + Send + 'static>) -> Response {
    let words = what
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| what.downcast_ref::<&str>().copied())
        .unwrap_or("a handler panicked");
    ApiError::internal(words).into_response()
}
