//! `/v1/overview`: everything that the first page of the browser shows, in one response.

mod wire;

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::OverviewResponse;
use super::{App, disk, error::ApiError, scope::Scope};
use crate::store::overview;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// What is here, what runs, what needs a person
#[utoipa::path(
    get, path = "/v1/overview", tag = "overview", operation_id = "get_overview",
    responses((status = 200, body = OverviewResponse))
)]
async fn get(State(app): State<App>, scope: Scope) -> Result<Json<OverviewResponse>, ApiError> {
    let seen = app.engine.store.read(move |db| overview::overview(db, scope.namespace_key)).await?;
    let disk = disk::used(&app).await?;
    Ok(Json(OverviewResponse::of(seen, disk)))
}
