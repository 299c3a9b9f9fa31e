//! `/v1/activity`: what happened, newest first, from the same record that the event stream tells.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    json::{ValidQuery, query_parameters},
    scope::Scope,
};
use crate::store::events::{self, Event, LogFilter};

/// Events of an answer when nobody says.
const DEFAULT_LIMIT: u32 = 100;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which events are told.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ActivityQuery {
    /// Only of that kind (`job.finished`) or group (`job`).
    kind: Option<String>,
    /// Only about that bucket, by its id.
    bucket_id: Option<String>,
    /// Only about that sync, by its id.
    sync_id: Option<String>,
    /// Only older than the event of that id.
    #[schema(minimum = 1)]
    before: Option<i64>,
    /// How many to answer with.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}
query_parameters!(ActivityQuery);

/// A page of what happened.
#[derive(Debug, Serialize, ToSchema)]
struct ActivityResponse {
    /// Newest first.
    results: Vec<ActivityEvent>,
    /// Whether there are older ones: ask again with `before` the last one's id.
    has_more: bool,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
struct ActivityEvent {
    /// Its place in the order.
    id: i64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What kind of thing.
    event: String,
    /// The bucket that it is about.
    bucket_id: Option<String>,
    /// The sync.
    sync_id: Option<String>,
    /// The job.
    job_id: Option<String>,
    /// The rest.
    #[schema(value_type = Object)]
    detail: Value,
}

/// What happened, newest first
#[utoipa::path(
    get, path = "/v1/activity", tag = "activity", operation_id = "list_activity",
    params(ActivityQuery),
    responses((status = 200, body = ActivityResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    ValidQuery(query): ValidQuery<ActivityQuery>,
) -> Result<Json<ActivityResponse>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let filter = LogFilter {
        namespace_key: scope.namespace_key,
        kind: query.kind,
        bucket_id: query.bucket_id,
        sync_id: query.sync_id,
    };
    let before = query.before.unwrap_or(i64::MAX);
    let mut log =
        app.engine.store.read(move |db| events::log(db, &filter, before, limit + 1)).await?;
    let has_more = log.len() > limit as usize;
    log.truncate(limit as usize);
    Ok(Json(ActivityResponse { results: log.into_iter().map(Into::into).collect(), has_more }))
}

impl From<Event> for ActivityEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.key,
            at: event.at,
            event: event.kind,
            bucket_id: event.bucket_id,
            sync_id: event.sync_id,
            job_id: event.job_id,
            detail: event.detail,
        }
    }
}
