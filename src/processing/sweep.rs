//! What is done now and then: batches of what syncs left waiting, schedules that are due, deleted
//! collections whose documents are still to go, indexes of documents, records that nobody needs any
//! more.

use std::time::Duration;

use super::{chores, context::Context};
use crate::store::{
    StoreError, analytics, leases,
    processing::{batches, collections, documents::indexes, to_batch},
    syncs,
};

/// How long the members of a batch without failures are kept.
const MEMBERS: Duration = Duration::from_secs(30 * 24 * 3600);

/// One step of each. Returns whether there was anything to do.
pub(super) async fn step(context: &Context) -> Result<bool, StoreError> {
    let has_batched = batch_what_waits(context).await?;
    let has_triggered = trigger_what_is_due(context).await?;
    let has_removed = remove_collections(context).await?;
    let has_indexed = build_indexes(context).await?;
    forget(context).await?;
    write_history(context).await?;
    Ok(has_batched || has_triggered || has_removed || has_indexed)
}

/// Batches for what waits of syncs that do not run: the rest of a run that died, or what gathered
/// while batches were switched off.
async fn batch_what_waits(context: &Context) -> Result<bool, StoreError> {
    let store = &context.engine.store;
    let waiting = store.read(to_batch::syncs_waiting).await?;
    let mut made = 0;
    for sync_key in waiting {
        let now = context.engine.clock().now();
        made += context
            .write(move |tx| match leases::holder(tx, sync_key)? {
                Some(_) => Ok(0),
                None => to_batch::make_batches(tx, &syncs::by_key(tx, sync_key)?, true, now),
            })
            .await?;
    }
    Ok(made > 0)
}

async fn trigger_what_is_due(context: &Context) -> Result<bool, StoreError> {
    let now = context.engine.clock().now();
    let due = context.engine.store.read(move |db| collections::due(db, now)).await?;
    for collection in &due {
        let wait = collection.settings.schedule.as_ref().map_or(3600, |it| it.interval_seconds);
        let next = now + Duration::from_secs(wait.into());
        let key = collection.key;
        let namespace_key = collection.namespace_key;
        context
            .write(move |tx| {
                collections::set_next_run(tx, key, Some(next))?;
                chores::trigger(tx, namespace_key, key, &chores::Trigger::default(), now).map(drop)
            })
            .await?;
    }
    Ok(!due.is_empty())
}

async fn remove_collections(context: &Context) -> Result<bool, StoreError> {
    let going = context.engine.store.read(collections::going).await?;
    for collection in &going {
        let key = collection.key;
        context.write(move |tx| collections::remove_step(tx, key)).await?;
    }
    Ok(!going.is_empty())
}

/// Builds and drops indexes of documents, for a while: each step is a transaction of its own, so
/// that syncs write in between.
async fn build_indexes(context: &Context) -> Result<bool, StoreError> {
    const STEPS: usize = 20;
    if !context.engine.store.read(indexes::is_unfinished).await? {
        return Ok(false);
    }
    for _ in 0..STEPS {
        if context.stop.is_cancelled() || !context.write(indexes::step).await? {
            break;
        }
    }
    Ok(true)
}

/// One row an hour and bucket.
async fn write_history(context: &Context) -> Result<(), StoreError> {
    let now = context.engine.clock().now();
    if context.engine.store.read(move |db| analytics::is_due(db, now)).await? {
        context.write(move |tx| analytics::write_hour(tx, now)).await?;
    }
    Ok(())
}

async fn forget(context: &Context) -> Result<(), StoreError> {
    const AT_ONCE: u32 = 20;
    let before = context.engine.clock().now() - MEMBERS;
    let has_old =
        context.engine.store.read(move |db| batches::has_members_before(db, before)).await?;
    if has_old {
        context.write(move |tx| batches::forget_members(tx, before, AT_ONCE)).await?;
    }
    Ok(())
}
