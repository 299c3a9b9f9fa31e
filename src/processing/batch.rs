//! A batch from its first tier to its last.

use super::{
    context::Context,
    tier::{self, Interrupted, Tier},
};
use crate::{
    model::BatchStatus,
    store::{
        StoreError, buckets,
        processing::{
            batches::{self, Batch},
            pauses, tasks,
        },
    },
};

/// Carries a batch out. What stops it before its end leaves it to be gone on with.
pub(super) async fn run(context: &Context, batch_key: i64) -> Result<(), Interrupted> {
    let loaded = context.engine.store.read(move |db| batches::by_key(db, batch_key)).await?;
    let Some(batch) = loaded else { return Ok(()) };
    let tiers = batch.tiers.clone().unwrap_or_default();
    let first = batch.tier as usize;
    for (tier, keys) in tiers.iter().enumerate().skip(first) {
        run_tier(context, &batch, tier, keys).await?;
    }
    let now = context.engine.clock().now();
    let ended = context
        .write(move |tx| match batches::is_wanted(tx, batch.key)? {
            true => batches::end(tx, &batch, now).map(Some),
            false => Ok(None),
        })
        .await?;
    if let Some(status) = ended {
        tracing::info!(status = status.as_str(), "the batch has ended");
    }
    Ok(())
}

async fn run_tier(
    context: &Context,
    batch: &Batch,
    tier: usize,
    keys: &[i64],
) -> Result<(), Interrupted> {
    let number = u32::try_from(tier).unwrap_or(u32::MAX);
    let (begun, now) = (batch.clone(), context.engine.clock().now());
    if !context.write(move |tx| batches::begin_tier(tx, &begun, number, now)).await? {
        return Err(Interrupted::Unwanted);
    }
    let (extractors, keys) = (context.extractors.clone(), keys.to_vec());
    let (bucket_key, batch_key) = (batch.bucket_key, batch.key);
    let (takings, bucket, all_tasks, paused) = context
        .engine
        .store
        .read(move |db| {
            Ok::<_, StoreError>((
                tier::takings(db, &extractors, &keys)?,
                buckets::by_key(db, bucket_key)?,
                tasks::of_batch(db, batch_key)?,
                pauses::all(db)?,
            ))
        })
        .await?;
    let takings = match takings {
        Ok(takings) => takings,
        // The owner's file is gone, or cannot be used: nothing fails for it, and all wait.
        Err(name) => {
            let reason = format!("there is no extractor {name:?} that can be used");
            context.pause(&name, reason).await?;
            return Err(Interrupted::Paused);
        }
    };
    let task = all_tasks.into_iter().find(|task| task.tier == Some(number));
    let (Some(bucket), Some(task)) = (bucket, task) else { return Err(Interrupted::Unwanted) };
    if takings.is_empty() {
        let now = context.engine.clock().now();
        context.write(move |tx| tasks::end(tx, task.key, BatchStatus::Skipped, None, now)).await?;
        return Ok(());
    }
    let mut probes = false;
    for taking in &takings {
        let name = &taking.extractor.name;
        if let Some(pause) = paused.iter().find(|pause| pause.name == *name) {
            context.is_in_doubt(name, pause.probes + 1);
            probes = true;
        }
    }
    Tier { context, batch, bucket: &bucket, task: &task, takings, probes }.run().await
}
