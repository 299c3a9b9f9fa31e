//! Stopping a batch, trying its failures again, running it again.

use axum::{Json, extract::State};
use serde_json::json;

use super::{
    JsonResult, change, check_same, check_webhook, collections_of, read_details, refuse_running,
    response::{ResubmitBatchResponse, RetryBatchResponse},
    task_of,
    wire::{CancelQuery, ResubmitBatchRequest, ResubmitQuery, RetryBatchRequest},
};
use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
        json::{FromPath, Valid, ValidQuery},
        scope::Scope,
        submission::submit_now,
    },
    model::{BatchStatus, Dedup},
    store::processing::{
        batches::{self, Batch},
        outcomes,
    },
};

/// Stop a batch
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/cancel",
    tag = "bucket_batches", operation_id = "cancel_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id"), CancelQuery),
    responses((status = 200, description = "The task of its first tier", body = super::response::TaskResponse))
)]
pub(super) async fn cancel(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<CancelQuery>,
) -> JsonResult {
    let now = app.now();
    let response = change(&app, &scope, path, move |tx, _, batch| {
        let was_running = batch.status == BatchStatus::InProgress;
        match batch.status {
            BatchStatus::Canceled => {}
            status if status.is_terminal() => {
                return Err(ApiError::conflict("the batch has ended already")
                    .detail("status", status.as_str()));
            }
            _ => batches::cancel(tx, &batch, query.reason.as_deref(), now)?,
        }
        let details = read_details(tx, batch.key)?;
        let mut response = match details.tasks.first() {
            Some(task) => task_of(&details, task),
            None => json!({
                "task_id": format!("task_{}", batch.id.as_str().trim_start_matches("btch_")),
                "task_type": "api_buckets_batches_process",
                "status": "CANCELED",
                "inputs": [batch.id.to_string()],
                "outputs": [],
                "additional_data": {"batch_id": batch.id},
                "error": null,
            }),
        };
        let asked = u64::from(was_running);
        response["status"] = "CANCELED".into();
        response["cancellation"] = json!({
            "ray_jobs_requested": asked,
            "ray_jobs_accepted": asked,
            "ray_jobs_refused": 0,
        });
        Ok(response)
    })
    .await?;
    app.processor.nudge();
    Ok(Json(response))
}

/// Try the failures of a batch again
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/retry",
    tag = "bucket_batches", operation_id = "retry_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id")),
    request_body = RetryBatchRequest,
    responses((status = 200, description = "How many are tried again", body = super::response::RetryBatchResponse))
)]
pub(super) async fn retry(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    Valid(body): Valid<RetryBatchRequest>,
) -> JsonResult {
    let mode = body.retry_mode.as_deref().unwrap_or("transient_only").to_owned();
    if !matches!(mode.as_str(), "transient_only" | "all") {
        return Err(ApiError::invalid_field(
            FieldError::new("retry_mode", mode, "is no way to retry")
                .accepting(vec!["transient_only", "all"]),
        ));
    }
    let now = app.now();
    let response = change(&app, &scope, path, move |tx, _, batch| {
        refuse_running(&batch)?;
        if batch.status == BatchStatus::Draft {
            return Err(ApiError::conflict("the batch is not submitted yet"));
        }
        let tiers = batch.tiers.clone().unwrap_or_default();
        let wanted = body.tier_nums.filter(|tiers| !tiers.is_empty());
        let numbers: Vec<u32> = (0..u32::try_from(tiers.len()).unwrap_or(u32::MAX))
            .filter(|tier| wanted.as_ref().is_none_or(|wanted| wanted.contains(tier)))
            .collect();
        let keys: Vec<i64> =
            numbers.iter().flat_map(|tier| tiers[*tier as usize].clone()).collect();
        let most = body.max_retry_count.unwrap_or(3);
        let (retried, left) = match batch.retries < most {
            true => outcomes::retry(tx, batch.key, &keys, mode == "all")?,
            false => (0, outcomes::count_finished(tx, batch.key, &keys)?.1),
        };
        if retried > 0 {
            // What hangs on a tier is gone through again, too.
            let first = numbers.first().copied().unwrap_or_default();
            batches::queue_again(tx, &batch, first, &mode, now)?;
        }
        let status = batches::by_key(tx, batch.key)?.map(|batch| batch.status.as_str());
        Ok::<_, ApiError>(json!(RetryBatchResponse {
            batch_id: batch.id.to_string(),
            status,
            retry_mode: mode,
            retried_count: retried,
            skipped_count: left,
            tier_nums: numbers,
            retry_count: batch.retries + u32::from(retried > 0),
            message: match (retried, left) {
                (0, 0) => "Nothing has failed".to_owned(),
                (0, left) => format!(
                    "{left} failed for good, or were retried {most} times: retry_mode \
                                          all and max_retry_count say otherwise"
                ),
                (count, _) => format!("{count} are tried again"),
            },
        }))
    })
    .await?;
    app.processor.nudge();
    Ok(Json(response))
}

/// Run a batch again
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/resubmit",
    tag = "bucket_batches", operation_id = "resubmit_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id"), ResubmitQuery),
    request_body = ResubmitBatchRequest,
    responses((status = 200, description = "The batch", body = super::response::ResubmitBatchResponse))
)]
pub(super) async fn resubmit(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<ResubmitQuery>,
    Valid(body): Valid<ResubmitBatchRequest>,
) -> JsonResult {
    check_webhook(body.webhook_url.as_deref())?;
    let submits =
        query.auto_submit.or(query.trigger_processing).or(body.auto_submit).unwrap_or(true);
    let from_tier = query.from_tier.or(body.from_tier).unwrap_or(0);
    let (now, namespace_key) = (app.now(), scope.namespace_key);
    let response = change(&app, &scope, path, move |tx, bucket, batch| {
        if !batch.status.is_terminal() {
            return Err(ApiError::conflict("the batch has not ended: submit it, or wait")
                .detail("status", batch.status.as_str()));
        }
        let named = collections_of(tx, namespace_key, bucket, body.collection_ids)?;
        check_same(tx, &batch, named)?;
        let keys = tiers_from(&batch, from_tier)?;
        if let Some(url) = &body.webhook_url {
            batches::set_webhook_url(tx, batch.key, url)?;
        }
        if let Some(dedup) = body.dedup_strategy {
            batches::set_dedup(tx, batch.key, dedup)?;
        }
        let dedup = body.dedup_strategy.unwrap_or(batch.dedup);
        if dedup.effective() == Dedup::Replace {
            outcomes::reopen(tx, batch.key, &keys)?;
        } else {
            outcomes::retry(tx, batch.key, &keys, true)?;
        }
        batches::make_draft(tx, &batch, from_tier, now)?;
        if submits {
            submit_now(tx, batch.key, now)?;
            batches::begin_with(tx, batch.key, from_tier, now)?;
        }
        let details = read_details(tx, batch.key)?;
        let message = match submits {
            true => "The batch runs again",
            false => "The batch is a draft again",
        };
        Ok::<_, ApiError>(json!(ResubmitBatchResponse {
            batch_id: batch.id.to_string(),
            status: details.batch.status.as_str(),
            from_tier,
            task_id: details.tasks.first().map(|task| task.id.to_string()),
            auto_submitted: submits,
            success: true,
            message,
            batch: details.to_json(now),
        }))
    })
    .await?;
    app.processor.nudge();
    Ok(Json(response))
}

fn tiers_from(batch: &Batch, from_tier: u32) -> Result<Vec<i64>, ApiError> {
    let tiers = batch.tiers.clone().unwrap_or_default();
    if from_tier as usize >= tiers.len().max(1) {
        return Err(ApiError::invalid_field(
            FieldError::new("from_tier", from_tier, "is no tier of the batch")
                .accepting(format!("0 to {}", tiers.len().max(1) - 1)),
        ));
    }
    Ok(tiers.into_iter().skip(from_tier as usize).flatten().collect())
}
