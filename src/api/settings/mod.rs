//! `/v1/settings`: this installation, and what of it can be changed while it runs. Ours, beyond the
//! public API.

mod bundle;
mod wire;

use std::time::Instant;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::{NewToken, SettingsResponse, SettingsUpdateRequest};
use super::{
    App, disk,
    error::{ApiError, FieldError, JsonResult},
    json::Valid,
    scope::Scope,
};
use crate::{logging, store::settings};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get, patch))
        .routes(routes!(rotate))
        .routes(routes!(support_bundle))
}

/// When the server began; set by its first response, a moment later.
pub(super) static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// This installation and its settings
#[utoipa::path(
    get, path = "/v1/settings", tag = "settings", operation_id = "get_settings",
    responses((status = 200, body = SettingsResponse))
)]
async fn get(State(app): State<App>) -> JsonResult<SettingsResponse> {
    described(&app).await.map(Json)
}

/// Change settings
#[utoipa::path(
    patch, path = "/v1/settings", tag = "settings", operation_id = "patch_settings",
    request_body = SettingsUpdateRequest,
    responses((status = 200, body = SettingsResponse))
)]
async fn patch(
    State(app): State<App>,
    Valid(body): Valid<SettingsUpdateRequest>,
) -> JsonResult<SettingsResponse> {
    if let Some(hosts) = body.allowed_hosts {
        let hosts = host_names(hosts)?;
        let kept = hosts.clone();
        app.engine.store.write(move |tx| settings::set_allowed_hosts(tx, &kept)).await?;
        app.access.allow_hosts(&hosts);
    }
    if let Some(level) = body.log_level {
        logging::set_level(level);
    }
    described(&app).await.map(Json)
}

/// Create a new token
///
/// The old one is worth nothing from then on; browsers stay signed in.
#[utoipa::path(
    post, path = "/v1/settings/token/rotate", tag = "settings", operation_id = "rotate_token",
    responses((status = 200, body = NewToken))
)]
async fn rotate(State(app): State<App>) -> JsonResult<NewToken> {
    match app.access.token().rotate().map_err(ApiError::internal)? {
        Some(token) => Ok(Json(NewToken { token })),
        None => Err(ApiError::conflict(
            "the token comes from CATCHMENT_TOKEN: change it there, and start the server again",
        )),
    }
}

/// What helps to find a fault, without names, secrets or contents
#[utoipa::path(
    get, path = "/v1/settings/support-bundle", tag = "settings", operation_id = "get_support_bundle",
    responses((status = 200, body = bundle::SupportBundle))
)]
async fn support_bundle(State(app): State<App>, scope: Scope) -> Result<Response, ApiError> {
    let bundle = bundle::gather(&app, scope.namespace_key).await?;
    let saved = (header::CONTENT_DISPOSITION, "attachment; filename=\"catchment-support.json\"");
    Ok(([saved], Json(bundle)).into_response())
}

async fn described(app: &App) -> Result<SettingsResponse, ApiError> {
    let data_dir = &app.config.data_dir;
    Ok(SettingsResponse {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: STARTED.elapsed().as_secs(),
        data_dir: data_dir.to_string_lossy().into_owned(),
        home_dir: directories::BaseDirs::new()
            .map(|dirs| dirs.home_dir().to_string_lossy().into_owned()),
        disk: disk::used(app).await?,
        token_from_environment: app.access.token().is_overridden(),
        allowed_hosts: app.access.allowed_hosts(),
        log_level: logging::level(),
    })
}

/// Names without port, scheme or path, in lower case.
fn host_names(given: Vec<String>) -> Result<Vec<String>, ApiError> {
    let is_name = |name: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        !name.is_empty() && name.len() <= 253 && name.chars().all(is_part)
    };
    let wrong: Vec<_> = given
        .iter()
        .enumerate()
        .filter(|(_, name)| !is_name(name))
        .map(|(at, name)| {
            FieldError::new(format!("allowed_hosts.{at}"), name.as_str(), "is not a host name")
                .accepting("a name such as nas.home.example, without scheme or port")
        })
        .collect();
    match wrong.is_empty() {
        true => Ok(given.into_iter().map(|name| name.to_ascii_lowercase()).collect()),
        false => Err(ApiError::invalid(wrong)),
    }
}
