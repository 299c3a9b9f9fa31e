//! Dead letters of a sync: listed, requeued, given up.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ErrorResponse, Owner, owner, sync};
use crate::{
    api::{
        App,
        error::ApiError,
        json::{FromPath, Valid, ValidQuery},
        page::ListQuery,
        scope::Scope,
    },
    engine::commands::CommandError,
    model::SyncStatus,
    store::{
        dead_letters::{self, DeadLetter, DeadLetterFilter},
        syncs::Sync,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(requeue)).routes(routes!(mark_failed))
}

/// Why an entry failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SyncErrorType {
    DownloadFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    Timeout,
    TooLarge,
    ValidationError,
    SchemaMismatch,
    ChangedDuringRead,
    ChecksumMismatch,
    UnsupportedType,
    Internal,
}

fn spelled(types: Option<Vec<SyncErrorType>>) -> Vec<String> {
    let word = |kind| serde_json::to_value(kind).ok()?.as_str().map(str::to_owned);
    types.unwrap_or_default().into_iter().filter_map(word).collect()
}

/// Which dead letters are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListDLQRequest {
    /// Only those that have used up their retries.
    pub only_max_retries: Option<bool>,
    /// Only failures of these kinds; null or none: of all.
    pub error_types: Option<Vec<SyncErrorType>>,
    /// Also those of entries that were taken since, or are gone.
    pub include_resolved: Option<bool>,
}

/// An entry that could not be taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncDeadLetterObjectModel {
    /// Its id.
    pub dlq_id: String,
    /// The sync.
    pub sync_config_id: String,
    /// The job in which it failed last.
    pub sync_job_id: Option<String>,
    /// What the source calls the entry.
    pub source_object_id: String,
    /// Its path from the sync's root.
    pub source_path: Option<String>,
    /// Why it failed.
    #[schema(value_type = SyncErrorType)]
    pub error_type: String,
    /// What happened, and what to do.
    pub error_message: String,
    /// Always null: traces go to the log only.
    pub error_stack_trace: Option<String>,
    /// When it failed first.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_seen_at: Option<Timestamp>,
    /// When it failed last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<Timestamp>,
    /// When it was tried again last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_reattempt_at: Option<Timestamp>,
    /// Retries that failed.
    pub retry_count: u32,
    /// It is tried once a day from now on.
    pub max_retries_reached: bool,
    /// When it was given another chance.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub requeued_at: Option<Timestamp>,
    /// When it was stored after all, or was gone.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    /// Why it is tried no more.
    pub disposal_reason: Option<String>,
    /// The organization.
    pub internal_id: String,
    /// The namespace.
    pub namespace_id: String,
    /// The bucket.
    pub bucket_id: String,
    /// It is not tried before this; null: with the next run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_retry_at: Option<Timestamp>,
}

impl SyncDeadLetterObjectModel {
    fn of(letter: DeadLetter, sync: &Sync, owner: &Owner) -> Self {
        Self {
            dlq_id: letter.id.to_string(),
            sync_config_id: sync.id.to_string(),
            sync_job_id: letter.job_id,
            source_object_id: letter.source_id.to_json_text(),
            source_path: Some(letter.path.to_json_text()),
            error_type: letter.error_type,
            error_message: letter.message,
            error_stack_trace: None,
            first_seen_at: Some(letter.first_failed),
            last_seen_at: Some(letter.last_failed),
            last_reattempt_at: letter.life.reattempted_at,
            retry_count: letter.life.retries,
            max_retries_reached: letter.life.is_exhausted(),
            requeued_at: letter.requeued_at,
            resolved_at: letter.resolved_at,
            next_retry_at: letter.life.retry_at,
            disposal_reason: letter.life.disposed,
            internal_id: owner.internal_id.clone(),
            namespace_id: owner.namespace_id.clone(),
            bucket_id: sync.bucket_id.to_string(),
        }
    }
}

/// A page of dead letters.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct DLQListResponse {
    /// The newest failure first.
    pub results: Vec<SyncDeadLetterObjectModel>,
    /// How many there are in all.
    pub total: u64,
}

/// List the dead letters of a sync
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/dlq", tag = "bucket_syncs",
    operation_id = "list_dlq_entries_buckets_id_syncs_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
        ListQuery,
    ),
    request_body = ListDLQRequest,
    responses((status = 200, body = DLQListResponse), (status = "4XX", body = ErrorResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(mut query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListDLQRequest>,
) -> Result<Json<DLQListResponse>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    // The public client pages no dead letters: it gets as many as a page can have.
    query.limit = query.limit.or(query.page_size).or(Some(1000));
    let page = query.page()?;
    let wanted = DeadLetterFilter {
        only_open: !body.include_resolved.unwrap_or(false),
        only_max_retries: body.only_max_retries.unwrap_or(false),
        error_types: spelled(body.error_types),
    };
    let answer = app
        .engine
        .store
        .read(move |db| {
            let owner = owner(db, &scope)?;
            let (letters, total) =
                dead_letters::list(db, sync.key, &wanted, page.limit, page.offset)?;
            let model = |letter| SyncDeadLetterObjectModel::of(letter, &sync, &owner);
            Ok(DLQListResponse { results: letters.into_iter().map(model).collect(), total })
        })
        .await?;
    Ok(Json(answer))
}

/// Which dead letters get another chance.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BulkRequeueDLQRequest {
    /// Only failures of these kinds; null or none: all.
    pub error_types: Option<Vec<SyncErrorType>>,
    /// Only these; null or none: all that are open.
    pub dlq_ids: Option<Vec<String>>,
}

/// What a requeueing came to.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct BulkRequeueDLQResponse {
    /// How many get another chance.
    pub requeued: u64,
}

/// Give dead letters another chance, at once
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/dlq/requeue",
    tag = "bucket_syncs", operation_id = "requeue_dlq_entries_buckets_id_syncs_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    request_body = BulkRequeueDLQRequest,
    responses(
        (status = 200, body = BulkRequeueDLQResponse),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn requeue(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    Valid(body): Valid<BulkRequeueDLQRequest>,
) -> Result<Json<BulkRequeueDLQResponse>, ApiError> {
    let sync = live(sync(&app, &scope, &path).await?)?;
    let (now, types) = (app.now(), spelled(body.error_types));
    let ids = body.dlq_ids.unwrap_or_default();
    let requeued = app
        .engine
        .store
        .write(move |tx| dead_letters::requeue(tx, sync.key, &types, &ids, now))
        .await?;
    app.scheduler.nudge();
    Ok(Json(BulkRequeueDLQResponse { requeued }))
}

/// Which dead letters are given up.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkMarkDLQRequest {
    /// Failures of these kinds.
    pub error_types: Vec<SyncErrorType>,
}

/// What giving up came to.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct BulkMarkDLQResponse {
    /// How many are tried no more.
    pub updated: u64,
}

/// Give dead letters up
///
/// They are tried no more, until their entries change or somebody requeues them.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/dlq/bulk-mark-failed",
    tag = "bucket_syncs", operation_id = "bulk_mark_dlq_permanently_failed_buckets_id_syncs_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    request_body = BulkMarkDLQRequest,
    responses((status = 200, body = BulkMarkDLQResponse), (status = "4XX", body = ErrorResponse))
)]
async fn mark_failed(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    Valid(body): Valid<BulkMarkDLQRequest>,
) -> Result<Json<BulkMarkDLQResponse>, ApiError> {
    let sync = live(sync(&app, &scope, &path).await?)?;
    let types = spelled(Some(body.error_types));
    let updated =
        app.engine.store.write(move |tx| dead_letters::give_up(tx, sync.key, &types)).await?;
    Ok(Json(BulkMarkDLQResponse { updated }))
}

fn live(sync: Sync) -> Result<Sync, ApiError> {
    match sync.status {
        SyncStatus::Archived => Err(CommandError::Deleted.into()),
        _ => Ok(sync),
    }
}
