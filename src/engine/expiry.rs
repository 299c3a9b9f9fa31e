//! Namespaces whose time is over: they go with all that is in them, as if somebody deleted them.

use std::time::Duration;

use super::{Engine, RunError, collect, commands, lease};
use crate::{
    model::{Pause, PausedBy},
    store::{
        Connection, StoreError, bucket_deletion,
        buckets::{self, Bucket},
        leases, namespaces,
        processing::collections,
        syncs::Sync,
    },
};

/// How long runs may take to reach a checkpoint before they are cut off.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks whether they have.
const LOOK: Duration = Duration::from_millis(200);

/// Ends every namespace whose time is over: its syncs stop at a checkpoint, then it goes with what
/// is in it. The default namespace stays, whatever its settings say.
///
/// # Errors
/// The store's. What is not done then is done the next time.
pub async fn end_namespaces(engine: &Engine) -> Result<(), RunError> {
    let now = engine.clock().now();
    let expired = engine.store.read(move |db| namespaces::expired(db, now)).await?;
    for namespace_key in expired {
        stop_syncs(engine, namespace_key).await?;
        let going = engine
            .store
            .write(move |tx| {
                // Its time may have been changed meanwhile.
                if !namespaces::expired(tx, now)?.contains(&namespace_key) {
                    return Ok(Vec::new());
                }
                let going = buckets::of_namespace(tx, namespace_key)?;
                for bucket in &going {
                    bucket_deletion::begin(tx, bucket, now)?;
                }
                for collection in collections::of_namespace(tx, namespace_key)? {
                    collections::begin_removal(tx, &collection, now)?;
                }
                namespaces::expire(tx, namespace_key, now)?;
                Ok::<_, StoreError>(going)
            })
            .await?;
        remove(engine, going).await?;
    }
    Ok(())
}

/// Pauses the syncs into a namespace, and waits until none runs.
async fn stop_syncs(engine: &Engine, namespace_key: i64) -> Result<(), RunError> {
    let now = engine.clock().now();
    let reason = "the time of its namespace is over";
    let pause =
        Pause { reason: Some(reason.to_owned()), at: now, by: PausedBy::Connection, drain: false };
    engine
        .store
        .write(move |tx| {
            for sync in namespaces::syncs(tx, namespace_key)? {
                if !sync.rests() {
                    match commands::paused(tx, sync.key, pause.clone(), now) {
                        Ok(()) | Err(commands::CommandError::Deleted) => {}
                        Err(commands::CommandError::Store(error)) => return Err(error),
                        Err(_) => {}
                    }
                }
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    let end = tokio::time::Instant::now() + PATIENCE;
    while any_runs(engine, namespace_key).await? && tokio::time::Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn any_runs(engine: &Engine, namespace_key: i64) -> Result<bool, StoreError> {
    let (now, looking) = (engine.clock().now(), engine.clone());
    engine
        .store
        .read(move |db| {
            let is_held = |db: &Connection, sync: &Sync| {
                let holder = leases::holder(db, sync.key)?;
                Ok::<_, StoreError>(
                    holder.is_some_and(|holder| lease::is_alive(&holder, looking.worker(), now)),
                )
            };
            for sync in namespaces::syncs(db, namespace_key)? {
                if is_held(db, &sync)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
}

/// Removes what is in deleted buckets, a step at a time.
async fn remove(engine: &Engine, going: Vec<Bucket>) -> Result<(), RunError> {
    for bucket in going {
        while !engine.store.write(move |tx| bucket_deletion::step(tx, bucket.key)).await? {}
        collect::orphans(&engine.store, &engine.blobs).await?;
    }
    Ok(())
}
