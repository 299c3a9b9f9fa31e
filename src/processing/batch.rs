//! A batch from its first tier to its last.

use std::collections::BTreeSet;

use super::{
    context::Context,
    tier::{self, Interrupted, Tier},
};
use crate::{
    model::BatchStatus,
    store::{
        StoreError, Transaction, buckets,
        processing::{
            batches::{self, Batch},
            pauses,
            tasks::{self, Counts},
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
        // The ledger has what is settled by now, and what is deleted is left out.
        while let Err(interrupted) = run_tier(context, &batch, tier, keys).await {
            if !matches!(interrupted, Interrupted::Deleted) {
                return Err(interrupted);
            }
        }
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
    let ((takings, missing), bucket, all_tasks, paused) = context
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
    // The owner's file is gone, or cannot be used: nothing fails for it, and its objects wait.
    for name in &missing {
        if paused.iter().all(|pause| pause.name != *name || pause.probe_at <= now) {
            let reason = format!("there is no extractor {name:?} that can be used");
            context.pause(name, reason).await?;
        }
    }
    let task = all_tasks.into_iter().find(|task| task.tier == Some(number));
    let (Some(bucket), Some(task)) = (bucket, task) else { return Err(Interrupted::Unwanted) };
    if takings.is_empty() && !missing.is_empty() {
        return Err(Interrupted::Paused);
    }
    if takings.is_empty() {
        // What was counted for a collection that is deleted meanwhile counts no more.
        let skipped = move |tx: &Transaction<'_>| {
            tasks::set_counts(tx, task.key, &Counts::default(), now)?;
            tasks::end(tx, task.key, BatchStatus::Skipped, None, now)
        };
        context.write(skipped).await?;
        return Ok(());
    }
    let (mut waits, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    for (index, taking) in takings.iter().enumerate() {
        let name = &taking.extractor.name;
        match paused.iter().find(|pause| pause.name == *name) {
            Some(pause) if pause.probe_at > now => {
                waits.insert(index);
            }
            Some(pause) => {
                context.is_in_doubt(name, pause.probes + 1);
                doubtful.insert(index);
            }
            None => {}
        }
    }
    let lacks = !missing.is_empty();
    Tier { context, batch, bucket: &bucket, task: &task, takings, paused: waits, doubtful, lacks }
        .run()
        .await
}
