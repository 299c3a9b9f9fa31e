//! Deleting a bucket: it disappears at once, its rows are removed in the background.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{ApiError, App, Bucket, Scope, buckets, response::DeletedBucket};
use crate::{
    engine::collect,
    model::{BatchStatus, TaskId, TaskKind},
    store::{
        StoreError, Transaction, bucket_deletion,
        processing::tasks::{self, Of},
    },
};

/// How long a response waits for the removal. Small buckets are gone by then.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn delete(
    app: &App,
    scope: &Scope,
    named: String,
    is_forced: bool,
) -> Result<DeletedBucket, ApiError> {
    let (namespace_key, now) = (scope.namespace_key, app.now());
    let (bucket, task_id) = app
        .engine
        .store
        .write(move |tx| {
            let bucket = buckets::named(tx, namespace_key, &named)?
                .ok_or_else(|| ApiError::not_found("bucket", named))?;
            if bucket.is_deleting {
                let task_id = task_of(tx, namespace_key, &bucket, now)?;
                return Ok((bucket, task_id));
            }
            let active = bucket_deletion::active_syncs(tx, bucket.key)?;
            if !active.is_empty() && !is_forced {
                return Err(has_active_syncs(active));
            }
            bucket_deletion::begin(tx, &bucket, now)?;
            let task_id = task_of(tx, namespace_key, &bucket, now)?;
            Ok((bucket, task_id))
        })
        .await?;
    let work = tokio::spawn(finish(app.clone(), bucket.key));
    let is_done = matches!(tokio::time::timeout(PATIENCE, work).await, Ok(Ok(true)));
    Ok(DeletedBucket {
        task_id: task_id.to_string(),
        status: if is_done { "COMPLETED" } else { "IN_PROGRESS" },
        bucket_id: bucket.id.to_string(),
        bucket_name: bucket.name,
        object_count: bucket.object_count,
    })
}

/// The task of a deletion that is under way; a new one where it has none.
fn task_of(
    tx: &Transaction<'_>,
    namespace_key: i64,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<TaskId, StoreError> {
    if let Some(task) = tasks::of_deletion(tx, bucket.key)? {
        return Ok(task.id);
    }
    let detail = json!({
        "bucket_key": bucket.key, "bucket_id": bucket.id, "objects": bucket.object_count,
    });
    let (kind, of) = (TaskKind::DeleteBucket, Of::default());
    let (key, id) = tasks::insert(tx, kind, namespace_key, &of, &detail, now)?;
    tasks::begin(tx, key, now)?;
    Ok(id)
}

fn has_active_syncs(ids: Vec<String>) -> ApiError {
    ApiError::conflict(format!(
        "{} syncs of this bucket are active: pause or delete them first, or add \
         ?force_foreclose=true",
        ids.len()
    ))
    .code("active_syncs")
    .detail("sync_config_ids", ids)
}

/// Goes on with the deletions that an earlier process did not finish.
pub(in crate::api) async fn resume(app: App) {
    match app.engine.store.read(buckets::being_deleted).await {
        Ok(going) => {
            for bucket in going {
                finish(app.clone(), bucket.key).await;
            }
        }
        Err(error) => tracing::warn!(%error, "could not look for deleted buckets"),
    }
}

/// Removes what is in buckets that are deleted, without delaying the response.
pub(in crate::api) fn delete_in_background(app: &App, going: Vec<Bucket>) {
    let app = app.clone();
    tokio::spawn(async move {
        for bucket in going {
            finish(app.clone(), bucket.key).await;
        }
    });
}

/// Removes what is in a deleted bucket. Returns whether all of it is gone; what is left then goes
/// when the server starts again.
async fn finish(app: App, bucket_key: i64) -> bool {
    let end = async {
        loop {
            let now = app.now();
            if app.engine.store.write(move |tx| step(tx, bucket_key, now)).await? {
                return Ok::<_, StoreError>(true);
            }
            if app.stopping.is_cancelled() {
                return Ok(false);
            }
        }
    };
    match end.await {
        Ok(is_done) => {
            if let Err(error) = collect::orphans(&app.engine.store, &app.engine.blobs).await {
                tracing::warn!(%error, "could not collect the bytes of a deleted bucket");
            }
            is_done
        }
        Err(error) => {
            tracing::error!(%error, bucket_key, "a deleted bucket could not be removed");
            false
        }
    }
}

/// The next step of a deletion; its task ends with the last one.
fn step(tx: &Transaction<'_>, bucket_key: i64, now: Timestamp) -> Result<bool, StoreError> {
    let is_done = bucket_deletion::step(tx, bucket_key)?;
    if is_done && let Some(task) = tasks::of_deletion(tx, bucket_key)? {
        tasks::end(tx, task.key, BatchStatus::Completed, None, now)?;
    }
    Ok(is_done)
}
