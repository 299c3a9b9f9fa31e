//! `/v1/tasks`: one view of work that takes a while: tiers of batches, triggers, changes of many
//! documents, and the jobs of syncs, as `task_` for `job_`.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    batches::{self, TaskResponse},
    error::{ApiError, JsonResult},
    filters::{LogicalOperatorInput, SortOption},
    json::{DeletedResponse, FromPath, Valid, ValidQuery},
    page::{ListQuery, PaginationResponse},
    scope::Scope,
};
use crate::{
    model::{BatchStatus, JobStatus, TaskKind},
    store::{
        Connection,
        jobs::{self, Job},
        leases,
        processing::{
            batches as batch_store, collections,
            tasks::{self, Task},
        },
        syncs,
    },
};

/// Tasks that a list looks at, the newest.
const LOOKED_AT: u32 = 10_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, delete))
}

/// Which tasks are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ListTasksRequest {
    /// Only of this status.
    status: Option<String>,
    /// Only of this type.
    task_type: Option<String>,
    /// Only those that pass this: `status`, `task_type`, `additional_data.…`.
    filters: Option<LogicalOperatorInput>,
    /// The newest first, unless `direction` is `asc`.
    sort: Option<SortOption>,
    /// Text in the id or the data.
    search: Option<String>,
}

/// Work that takes a while.
#[derive(Debug, Serialize, ToSchema)]
struct ListTasksResponse {
    /// A page of it, the newest first.
    #[schema(value_type = Vec<TaskResponse>)]
    results: Vec<Value>,
    /// Where the page is.
    pagination: PaginationResponse,
}

fn to_json(db: &Connection, task: Task) -> Result<Value, ApiError> {
    if let Some(response) = batches::with_batch(db, task.clone())? {
        return Ok(response);
    }
    let collection = task.collection_key.map(|key| collections::by_key(db, key)).transpose()?;
    let made = match task.kind {
        TaskKind::Trigger => batch_store::of_trigger(db, task.key)?,
        _ => Vec::new(),
    };
    let batch_ids: Vec<String> = made.iter().map(|batch| batch.id.to_string()).collect();
    Ok(json!(TaskResponse {
        task_id: task.id.to_string(),
        task_type: task.kind.as_str(),
        status: task.status.as_str().to_owned(),
        inputs: Vec::new(),
        outputs: batch_ids.clone(),
        additional_data: json!({
            "bucket_id": task.detail.get("bucket_id"),
            "collection_id": collection.flatten().map(|it| it.id.to_string()),
            "batch_ids": batch_ids,
            "count": task.detail.get("count"),
            "object_count": task.detail.get("objects"),
            "created_at": task.created_at,
            "started_at": task.started_at,
            "completed_at": task.completed_at,
        }),
        error: task.error,
        cancellation: None,
        queue_position: None,
        estimated_wait_minutes: None,
    }))
}

fn job_told(db: &Connection, job: &Job) -> Result<Value, ApiError> {
    let sync = syncs::by_key(db, job.sync_key)?;
    let status = match job.status.as_str() {
        status if status == JobStatus::Completed.as_str() => "COMPLETED",
        "failed" => "FAILED",
        "interrupted" => "INTERRUPTED",
        "skipped" => "SKIPPED",
        _ if job.started_at.is_none() => "PENDING",
        _ => "IN_PROGRESS",
    };
    Ok(json!(TaskResponse {
        task_id: job.id.as_str().replacen("job_", "task_", 1),
        task_type: TaskKind::SyncJob.as_str(),
        status: status.to_owned(),
        inputs: vec![sync.id.to_string()],
        outputs: Vec::new(),
        additional_data: json!({
            "sync_config_id": sync.id,
            "sync_job_id": job.id,
            "bucket_id": sync.bucket_id,
            "files_synced": job.counts.synced,
            "files_updated": job.counts.updated,
            "files_failed": job.counts.failed,
            "created_at": job.queued_at,
            "started_at": job.started_at,
            "completed_at": job.completed_at,
        }),
        error: job.error.clone(),
        cancellation: None,
        queue_position: None,
        estimated_wait_minutes: None,
    }))
}

fn job_of(db: &Connection, id: &str) -> Result<Option<Job>, ApiError> {
    Ok(jobs::by_id(db, &id.replacen("task_", "job_", 1))?)
}

/// Show a task
#[utoipa::path(
    get, path = "/v1/tasks/{task_id}", tag = "tasks", operation_id = "get_task",
    params(("task_id" = String, Path, description = "Id")),
    responses((status = 200, description = "The task", body = TaskResponse))
)]
async fn get(State(app): State<App>, scope: Scope, FromPath(id): FromPath<String>) -> JsonResult {
    let namespace_key = scope.namespace_key;
    let found = app
        .engine
        .store
        .read_or(move |db| {
            if let Some(task) = tasks::by_id(db, namespace_key, &id)? {
                return to_json(db, task);
            }
            match job_of(db, &id)? {
                Some(job) => job_told(db, &job),
                None => Err(ApiError::not_found("task", &id)),
            }
        })
        .await?;
    Ok(Json(found))
}

/// List tasks
#[utoipa::path(
    post, path = "/v1/tasks/list", tag = "tasks", operation_id = "list_tasks",
    params(ListQuery),
    request_body = ListTasksRequest,
    responses((status = 200, description = "Tasks", body = ListTasksResponse))
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListTasksRequest>,
) -> JsonResult {
    let page = query.page()?;
    let filter = body.filters.map(super::filters::filter).transpose()?;
    let namespace_key = scope.namespace_key;
    let mut rows: Vec<Value> = app
        .engine
        .store
        .read_or(move |db| {
            let mut rows = Vec::new();
            for task in tasks::of_namespace(db, namespace_key, LOOKED_AT)? {
                rows.push(to_json(db, task)?);
            }
            for job in jobs::of_namespace(db, namespace_key, LOOKED_AT)? {
                rows.push(job_told(db, &job)?);
            }
            Ok::<_, ApiError>(rows)
        })
        .await?;
    let is_wanted = |row: &Value| {
        let text = row.to_string().to_lowercase();
        body.status.as_ref().is_none_or(|status| row["status"] == **status)
            && body.task_type.as_ref().is_none_or(|kind| row["task_type"] == **kind)
            && body.search.as_ref().is_none_or(|search| text.contains(&search.to_lowercase()))
            && filter.as_ref().is_none_or(|filter| super::filters::holds(filter, row))
    };
    rows.retain(is_wanted);
    let is_ascending = body
        .sort
        .as_ref()
        .is_some_and(|sort| sort.direction != Some(super::buckets::SortDirection::Desc));
    let rank = |row: &Value| {
        let at = row["additional_data"]["created_at"].as_str().unwrap_or_default().to_owned();
        (at, row["task_id"].as_str().unwrap_or_default().to_owned())
    };
    rows.sort_by_key(rank);
    if !is_ascending {
        rows.reverse();
    }
    let total = rows.len() as u64;
    let name = format!("tasks/{is_ascending}");
    if let Some(behind) = page.place::<(String, String)>(&name)? {
        rows.retain(|row| if is_ascending { rank(row) > behind } else { rank(row) < behind });
    }
    let mut rows: Vec<Value> = rows
        .into_iter()
        .skip(usize::try_from(page.offset).unwrap_or(usize::MAX))
        .take(page.limit as usize + 1)
        .collect();
    let pagination = page.finish(&mut rows, Some(total), &name, rank);
    Ok(Json(json!(ListTasksResponse { results: rows, pagination })))
}

/// Stop a task
#[utoipa::path(
    delete, path = "/v1/tasks/{task_id}", tag = "tasks", operation_id = "kill_task",
    params(("task_id" = String, Path, description = "Id")),
    responses((status = 200, description = "It is stopped, or was not there", body = DeletedResponse))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath(id): FromPath<String>,
) -> JsonResult {
    let (namespace_key, now) = (scope.namespace_key, app.now());
    let wanted = id.clone();
    let job = app
        .engine
        .store
        .write(move |tx| {
            let Some(task) = tasks::by_id(tx, namespace_key, &wanted)? else {
                return job_of(tx, &wanted);
            };
            if task.status.is_terminal() {
                return Ok(None);
            }
            match task.batch_key.map(|key| batch_store::by_key(tx, key)).transpose()?.flatten() {
                Some(batch) => batch_store::cancel(tx, &batch, Some("its task was deleted"), now)?,
                None if task.kind == TaskKind::Trigger => {
                    for batch in batch_store::of_trigger(tx, task.key)? {
                        if !batch.status.is_terminal() {
                            batch_store::cancel(tx, &batch, Some("its trigger was deleted"), now)?;
                        }
                    }
                    tasks::end(tx, task.key, BatchStatus::Canceled, None, now)?;
                }
                None => {
                    return Err(ApiError::conflict(
                        "a change of documents or a deletion cannot be stopped half done: wait for its \
                         end",
                    ));
                }
            }
            Ok(None)
        })
        .await?;
    if let Some(job) = job {
        stop(&app, &job).await?;
    }
    app.processor.nudge();
    Ok(Json(json!(DeletedResponse::done())))
}

/// Lets a job of a sync end at its next checkpoint: its next run, when that is due, continues from
/// there. One that has not begun does not begin.
async fn stop(app: &App, job: &Job) -> Result<(), ApiError> {
    if job.completed_at.is_some() {
        return Ok(());
    }
    let (key, has_begun, now) = (job.sync_key, job.started_at.is_some(), app.now());
    app.engine
        .store
        .write(move |tx| match has_begun {
            true => leases::ask_to_stop(tx, key),
            false => jobs::skip_waiting(tx, key, "its task was deleted", now),
        })
        .await?;
    Ok(())
}
