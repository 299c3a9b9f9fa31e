//! The HTTP API: the public bucket-sync API of `/v1`, and what surrounds it.
//!
//! One module a resource: `mod.rs` has its routes and handlers, `wire.rs` its request and response
//! types, named as the public API names them. A request passes, in this order, [`server`] (limits
//! and timeouts of connections), `request_id`, [`access`] (may it ask?), [`json`] (is what it says
//! possible?) and reaches a handler, whose errors [`error`] turns into answers.
//!
//! What does not live here: SQL (`store`), decisions about syncs and entries (`engine`).

pub mod access;
mod base;
mod buckets;
mod checker;
mod connections;
pub mod content;
pub mod error;
mod filters;
mod health;
pub mod json;
mod namespaces;
mod objects;
mod openapi;
mod overview;
pub mod page;
mod request_id;
pub mod scope;
pub mod server;
mod settings;
mod tree;
mod syncs;
mod uploads;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, Uri},
    middleware,
    routing::get,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use self::{access::Access, content::links::Links, error::ApiError};
use crate::{config::Config, engine::Engine, scheduler::Nudge};

/// The longest body of a request, in bytes; routes that stream have limits of their own.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

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
    /// Cancelled when the server is to end: answers that would go on forever end then.
    pub stopping: CancellationToken,
}

impl App {
    /// This instant, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// Whether due syncs get run.
    fn scheduler_is_well(&self) -> bool {
        !self.stopping.is_cancelled()
    }
}

/// Goes on with what an earlier process began and did not finish.
pub async fn go_on(app: App) {
    buckets::go_on_with_deletions(app).await;
}

/// The API's table of contents.
fn resources() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame())
        .merge(health::routes())
        .merge(namespaces::routes())
        .merge(overview::routes())
        .merge(settings::routes())
        .merge(tree::routes())
        .merge(connections::routes())
        .merge(syncs::routes())
        .merge(buckets::routes())
        .merge(objects::routes())
        .merge(content::routes())
        .merge(uploads::routes())
}

/// Everything that the server answers.
///
/// # Errors
/// When the API's description cannot be put into JSON.
pub fn router(app: App) -> Result<Router, serde_json::Error> {
    let (routes, document) = resources().split_for_parts();
    let document: &'static str = Box::leak(openapi::finish(document).to_json()?.into_boxed_str());
    Ok(routes
        .route("/openapi.json", get(async move || openapi::answer(document)))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), access::guard))
        .layer(middleware::from_fn(request_id::assign))
        .with_state(app))
}

async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::not_found("route", uri.path())
}

async fn unknown_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}", uri.path()),
    )
}
