//! Deleting a bucket: at once for whoever looks, in the background as far as the rows go.

use std::time::Duration;

use super::{ApiError, App, Bucket, Scope, answer::DeletedBucket, buckets};
use crate::{
    engine::collect,
    store::{StoreError, bucket_end},
};

/// How long an answer waits for the end. Small buckets are gone by then.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn delete(
    app: &App,
    scope: &Scope,
    named: String,
    is_forced: bool,
) -> Result<DeletedBucket, ApiError> {
    enum Begun {
        Going(Box<Bucket>),
        Unknown,
        Active(Vec<String>),
    }
    let (namespace_key, now, wanted) = (scope.namespace_key, app.now(), named.clone());
    let begun = app
        .engine
        .store
        .write(move |tx| {
            let bucket = match buckets::named(tx, namespace_key, &wanted)? {
                None => return Ok(Begun::Unknown),
                Some(bucket) if bucket.is_going => return Ok(Begun::Going(bucket.into())),
                Some(bucket) => bucket,
            };
            let active = bucket_end::active_syncs(tx, bucket.key)?;
            if !active.is_empty() && !is_forced {
                return Ok(Begun::Active(active));
            }
            bucket_end::begin(tx, &bucket, now)?;
            Ok(Begun::Going(bucket.into()))
        })
        .await?;
    let bucket = match begun {
        Begun::Going(bucket) => bucket,
        Begun::Unknown => return Err(ApiError::not_found("bucket", named)),
        Begun::Active(syncs) => {
            return Err(ApiError::conflict(format!(
                "{} syncs of this bucket are active: pause or delete them first, or say \
                 ?force_foreclose=true",
                syncs.len()
            ))
            .code("active_syncs")
            .detail("sync_config_ids", syncs));
        }
    };
    let work = tokio::spawn(finish(app.clone(), bucket.key));
    let is_done = matches!(tokio::time::timeout(PATIENCE, work).await, Ok(Ok(true)));
    Ok(DeletedBucket {
        task_id: format!("task_{}", ulid::Ulid::generate()),
        status: if is_done { "COMPLETED" } else { "IN_PROGRESS" },
        bucket_id: bucket.id.to_string(),
        bucket_name: bucket.name,
        object_count: bucket.object_count,
    })
}

/// Goes on with the deletions that an earlier process did not finish.
pub(in crate::api) async fn go_on(app: App) {
    match app.engine.store.read(buckets::going).await {
        Ok(going) => {
            for bucket in going {
                finish(app.clone(), bucket.key).await;
            }
        }
        Err(error) => tracing::warn!(%error, "could not look for deleted buckets"),
    }
}

/// Removes what is in buckets that are deleted, without letting the answer wait.
pub(in crate::api) fn clear_soon(app: &App, going: Vec<Bucket>) {
    let app = app.clone();
    tokio::spawn(async move {
        for bucket in going {
            finish(app.clone(), bucket.key).await;
        }
    });
}

/// Removes what is in a deleted bucket. Answers whether all of it is gone; what is left then goes
/// when the server starts again.
async fn finish(app: App, bucket_key: i64) -> bool {
    let end = async {
        while !app.engine.store.write(move |tx| bucket_end::step(tx, bucket_key)).await? {
            if app.stopping.is_cancelled() {
                return Ok(false);
            }
        }
        Ok::<_, StoreError>(true)
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
