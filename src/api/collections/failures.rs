//! What failed in a collection and was not done since, over all its batches; and trying it again.

use axum::{Json, extract::State};

use super::{
    found,
    response::{CollectionFailuresResponse, FailedObjectOfCollection, RetryFailuresResponse},
    trigger,
    wire::{FailuresQuery, RetryFailuresRequest},
};
use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
        json::{FromPath, Valid, ValidQuery},
        scope::Scope,
    },
    processing::chores::{self, Trigger},
    store::processing::outcomes::{self, FailureFilter},
};

/// List what failed in a collection
///
/// Each object once, however many batches tried it; those that were extracted since are left out.
#[utoipa::path(
    get, path = "/v1/collections/{collection_identifier}/failures", tag = "collections",
    operation_id = "list_collection_failures",
    params(("collection_identifier" = String, Path, description = "Id or name"), FailuresQuery),
    responses((status = 200, description = "Failures", body = CollectionFailuresResponse))
)]
pub(super) async fn list(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<FailuresQuery>,
) -> Result<Json<CollectionFailuresResponse>, ApiError> {
    let collection = found(&app, &scope, &named).await?;
    let (limit, offset) = (query.limit.unwrap_or(100), query.offset.unwrap_or(0));
    let wanted =
        FailureFilter { class: query.error_type, error: query.error, ..FailureFilter::default() };
    let key = collection.key;
    let (rows, groups, total) = app
        .engine
        .store
        .read(move |db| {
            Ok((
                outcomes::failed_of_collection(db, key, &wanted, offset.into(), limit)?,
                outcomes::failures_of_collection(db, key)?,
                outcomes::count_failed(db, key, &wanted)?,
            ))
        })
        .await?;
    let results: Vec<FailedObjectOfCollection> = rows
        .into_iter()
        .map(|row| FailedObjectOfCollection {
            object_id: row.failed.object_id,
            bucket_id: row.bucket_id,
            key_prefix: row.path.to_json_text(),
            mime_type: row.mime,
            batch_id: row.batch_id,
            error: row.failed.error,
            error_type: row.failed.class,
            attempts: row.failed.attempts,
            timestamp: row.failed.at,
            stderr: row.failed.log,
        })
        .collect();
    Ok(Json(CollectionFailuresResponse {
        collection_id: collection.id.to_string(),
        has_more: u64::from(offset) + (results.len() as u64) < total,
        results,
        groups: groups.into_iter().map(Into::into).collect(),
        total,
        limit,
        offset,
    }))
}

/// Try what failed in a collection again
#[utoipa::path(
    post, path = "/v1/collections/{collection_identifier}/failures/retry", tag = "collections",
    operation_id = "retry_collection_failures",
    params(("collection_identifier" = String, Path, description = "Id or name")),
    request_body = RetryFailuresRequest,
    responses((status = 200, description = "How many are tried again", body = RetryFailuresResponse))
)]
pub(super) async fn retry(
    State(app): State<App>,
    scope: Scope,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<RetryFailuresRequest>,
) -> Result<Json<RetryFailuresResponse>, ApiError> {
    let collection = found(&app, &scope, &named).await?;
    let passing_only = match body.retry_mode.as_deref() {
        None | Some("transient_only") => true,
        Some("all") => false,
        Some(other) => {
            return Err(ApiError::invalid_field(
                FieldError::new("retry_mode", other, "is no way to retry")
                    .accepting(vec!["transient_only", "all"]),
            ));
        }
    };
    let recipe = trigger::recipe_of(&app, &collection)?;
    let wanted = FailureFilter {
        class: body.error_type,
        error: body.error,
        object_ids: body.object_ids,
        passing_only,
    };
    let (now, namespace_key) = (app.now(), scope.namespace_key);
    let response = app
        .engine
        .store
        .write(move |tx| {
            let retried_count = outcomes::retry_failed(tx, collection.key, &wanted)?;
            let left = FailureFilter { passing_only: false, ..wanted };
            let skipped_count = outcomes::count_failed(tx, collection.key, &left)?;
            let (mut task_id, mut batch_ids) = (None, Vec::new());
            if retried_count > 0 {
                let order = Trigger { only_waiting: true, ..Trigger::default() };
                let key = collection.key;
                let id = chores::begin_trigger(tx, namespace_key, key, &order, &recipe, now)?;
                let begun = trigger::response_of(tx, &collection, namespace_key, &id)?;
                (task_id, batch_ids) = (Some(begun.task_id), begun.batch_ids);
            }
            let collection_id = collection.id.to_string();
            Ok::<_, ApiError>(RetryFailuresResponse {
                collection_id,
                retried_count,
                skipped_count,
                task_id,
                batch_ids,
            })
        })
        .await?;
    app.processor.nudge();
    Ok(Json(response))
}
