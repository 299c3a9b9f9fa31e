//! Diagnostics of a batch: what failed, what extractors logged, where time went.

use std::collections::BTreeSet;

use axum::{Json, extract::State};
use serde_json::json;

use super::{
    JsonResult,
    details::details_of,
    read_batch,
    response::{
        BatchCountsResponse, BatchDiagnosisResponse, BatchLogsResponse, ExtractorPauseResponse,
        FailedDocumentResponse, FailedDocumentsResponse, FailureGroupResponse, TierLogsResponse,
    },
    wire::{FailedQuery, LogsQuery},
};
use crate::{
    api::{
        App,
        error::ApiError,
        json::{FromPath, ValidQuery},
        scope::Scope,
    },
    store::processing::{batches::Batch, collections, outcomes, pauses},
};

/// Bytes of logs that one answer has.
const LOG_BYTES: usize = 256 * 1024;

fn keys_of(batch: &Batch, tier: Option<u32>) -> Vec<i64> {
    let tiers = batch.tiers.clone().unwrap_or_default();
    match tier {
        None => tiers.into_iter().flatten().collect(),
        Some(tier) => tiers.into_iter().nth(tier as usize).unwrap_or_default(),
    }
}

/// List what failed of a batch
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/failed-documents",
    tag = "bucket_batches", operation_id = "get_failed_documents_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id"), FailedQuery),
    responses((status = 200, description = "Objects that failed, by collection", body = FailedDocumentsResponse))
)]
pub(super) async fn failed(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<FailedQuery>,
) -> JsonResult {
    let (limit, offset) = (query.limit.unwrap_or(100), query.offset.unwrap_or(0));
    let namespace_key = scope.namespace_key;
    let response = read_batch(&app, &scope, path, move |db, batch| {
        let mut keys = keys_of(&batch, query.tier_num);
        if let Some(name) = query.collection_id {
            let wanted = collections::named(db, namespace_key, &name)?
                .ok_or_else(|| ApiError::not_found("collection", name))?
                .key;
            keys.retain(|key| *key == wanted);
        }
        let (_, total) = outcomes::count_finished(db, batch.key, &keys)?;
        let rows = outcomes::failed_of_batch(db, batch.key, &keys, offset.into(), limit)?;
        let mut response = Vec::new();
        for row in rows {
            let collection = collections::by_key(db, row.collection_key)?;
            let tier =
                batch.tiers.iter().flatten().position(|tier| tier.contains(&row.collection_key));
            response.push(FailedDocumentResponse {
                object_id: row.object_id,
                collection_id: collection.map(|it| it.id.to_string()),
                tier_num: tier.map(|tier| tier as u64),
                error: row.error,
                error_type: row.class,
                attempts: row.attempts,
                timestamp: row.at,
                stderr: row.log.map(|log| tail(&log, 4096)),
            });
        }
        Ok::<_, ApiError>(json!(FailedDocumentsResponse {
            batch_id: batch.id.to_string(),
            total,
            limit,
            offset,
            has_more: u64::from(offset) + (response.len() as u64) < total,
            results: response.clone(),
            failed_documents: response,
        }))
    })
    .await?;
    Ok(Json(response))
}

fn tail(text: &str, bytes: usize) -> String {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

/// Show what the extractors of a batch said
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/logs",
    tag = "bucket_batches", operation_id = "get_batch_logs_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id"), LogsQuery),
    responses((status = 200, description = "Logs by tier", body = BatchLogsResponse))
)]
pub(super) async fn logs(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    ValidQuery(query): ValidQuery<LogsQuery>,
) -> JsonResult {
    let response = read_batch(&app, &scope, path, move |db, batch| {
        let shown = details_of(db, batch.clone(), false)?;
        let mut tiers = Vec::new();
        for task in &shown.tasks {
            let tier = task.tier.unwrap_or_default();
            if query.tier_num.is_some_and(|wanted| wanted != tier) {
                continue;
            }
            let mut text = String::new();
            for key in keys_of(&batch, Some(tier)) {
                for (object_id, log) in outcomes::logs_of_batch(db, batch.key, key)? {
                    for line in log.lines() {
                        text.push_str(&format!("{object_id}: {line}\n"));
                    }
                }
            }
            tiers.push(TierLogsResponse {
                tier_num: tier,
                task_id: task.id.to_string(),
                status: task.status.as_str(),
                logs: tail(&text, LOG_BYTES),
                is_cut: text.len() > LOG_BYTES,
            });
        }
        Ok::<_, ApiError>(json!(BatchLogsResponse { batch_id: batch.id.to_string(), tiers }))
    })
    .await?;
    Ok(Json(response))
}

/// Show where the time of a batch went, and what to do about its failures
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_identifier}/batches/{batch_id}/diagnose",
    tag = "bucket_batches", operation_id = "diagnose_batch_buckets",
    params(("bucket_identifier" = String, Path, description = "Id or name"),
           ("batch_id" = String, Path, description = "Id")),
    responses((status = 200, description = "What can be said", body = BatchDiagnosisResponse))
)]
pub(super) async fn diagnose(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> JsonResult {
    let (now, extractors) = (app.now(), app.extractors.clone());
    let response = read_batch(&app, &scope, path, move |db, batch| {
        let durations = outcomes::durations(db, batch.key)?;
        let groups = outcomes::failures_of_batch(db, batch.key)?;
        let shown = details_of(db, batch.clone(), false)?;
        let names: Vec<&str> = shown
            .tiers
            .iter()
            .flatten()
            .map(|collection| collection.settings.extractor.name.as_str())
            .collect();
        let pauses: Vec<ExtractorPauseResponse> = pauses::all(db)?
            .into_iter()
            .filter(|pause| names.contains(&pause.name.as_str()))
            .map(|pause| ExtractorPauseResponse {
                extractor: pause.name,
                reason: pause.reason,
                since: pause.since,
                next_probe_at: pause.probe_at,
            })
            .collect();
        let failed = outcomes::failed_by_class(db, batch.key)?;
        let of_class = |class: &str| -> u64 {
            failed.iter().filter(|(of, ..)| of == class).map(|(.., count)| count).sum()
        };
        let is_limited =
            |key: i64| failed.iter().any(|(of, of_key, _)| of == "resource" && *of_key == key);
        let mut advice = Vec::new();
        if of_class("resource") > 0 {
            let own: BTreeSet<String> = shown
                .tiers
                .iter()
                .flatten()
                .filter(|collection| is_limited(collection.key))
                .map(|collection| &collection.settings.extractor)
                .filter(|it| {
                    let known = extractors.find(&it.name, &it.version);
                    !known.is_some_and(|known| known.is_builtin())
                })
                .map(|it| format!("extractors/{}.toml", it.name))
                .collect();
            let own = own.into_iter().collect::<Vec<_>>().join(" and ");
            let raise =
                if own.is_empty() { own } else { format!("raise the limits in {own}, or ") };
            advice.push(format!(
                "Some objects took too much time, memory or room: {raise}leave such objects out \
                     with a filter"
            ));
        }
        if of_class("transient") > 0 {
            advice.push("Retry the batch: some failures may pass".to_owned());
        }
        if of_class("permanent") > 0 {
            advice.push(
                "Some objects cannot be read: look at one of each kind, correct it at its source, \
                     or leave it out with a filter"
                    .to_owned(),
            );
        }
        if !pauses.is_empty() {
            advice
                .push("An extractor is paused: see its reason; it is probed by itself".to_owned());
        }
        let seconds = |from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>| {
            from.map(|from| to.unwrap_or(now).duration_since(from).as_secs_f64())
        };
        let counts = shown.counts();
        Ok::<_, ApiError>(json!(BatchDiagnosisResponse {
            batch_id: batch.id.to_string(),
            status: batch.status.as_str(),
            summary: shown.to_json(now)["status_message"].clone(),
            waited_seconds: seconds(batch.submitted_at, batch.started_at.or(batch.completed_at)),
            ran_seconds: seconds(batch.started_at, batch.completed_at),
            objects: durations.len() as u64,
            p50_ms: quantile(&durations, 50),
            p95_ms: quantile(&durations, 95),
            limits_hit: of_class("resource"),
            errors: groups.into_iter().map(FailureGroupResponse::from).collect(),
            extractor_pauses: pauses,
            recommendations: advice,
            counts: BatchCountsResponse {
                submitted: counts.submitted,
                processed: counts.processed,
                failed: counts.failed,
                skipped: counts.skipped,
            },
        }))
    })
    .await?;
    Ok(Json(response))
}

/// The value that so many percent of all do not exceed.
fn quantile(ascending: &[u64], percent: usize) -> Option<u64> {
    let last = ascending.len().checked_sub(1)?;
    ascending.get(last * percent / 100).copied()
}
