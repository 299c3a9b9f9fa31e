//! Batches submitted: of a draft, or of objects that somebody has just made and wants extracted at
//! once. Shared by batches, objects and uploads; routes are theirs.

use super::{
    App,
    error::{ApiError, FieldError},
};
use crate::store::{
    Connection, Transaction,
    buckets::Bucket,
    processing::{
        batches::{self, NewBatch},
        collections, tasks,
    },
};

/// Submits a draft in the transaction under way.
pub(super) fn submit_now(
    tx: &Transaction<'_>,
    key: i64,
    now: jiff::Timestamp,
) -> Result<(), ApiError> {
    let batch = batches::by_key(tx, key)?.ok_or_else(|| ApiError::internal("a batch is gone"))?;
    if batch.object_count == 0 {
        return Err(ApiError::invalid_field(
            FieldError { value: None, ..FieldError::new("object_ids", (), "the batch is empty") }
                .accepting("one object at least"),
        ));
    }
    let first = match &batch.collections {
        Some(keys) => enabled(tx, keys)?,
        None => collections::of_bucket(tx, batch.bucket_key)?,
    };
    if first.is_empty() {
        return Err(ApiError::invalid_field(
            FieldError {
                value: None,
                ..FieldError::new(
                    "collection_ids",
                    (),
                    "no enabled collection takes from this bucket: make one, or enable one",
                )
            }
            .accepting("collections that take from the bucket"),
        ));
    }
    let tiers = collections::tiers(tx, &first)?;
    Ok(batches::submit(tx, key, &tiers, now)?)
}

/// Refuses to process new objects of a bucket that nothing takes from. `field` is what asks for it.
pub(super) async fn check_taken(app: &App, bucket: &Bucket, field: &str) -> Result<(), ApiError> {
    let key = bucket.key;
    let takers = app.engine.store.read(move |db| collections::of_bucket(db, key)).await?;
    match takers.is_empty() {
        false => Ok(()),
        true => Err(ApiError::invalid_field(
            FieldError::new(
                field,
                true,
                "no enabled collection takes from this bucket: make one, or enable one",
            )
            .accepting(false),
        )),
    }
}

/// Makes a batch of objects and submits it, for whoever has just made them. Returns its id and that
/// of its first task.
pub(super) fn submit_objects(
    tx: &Transaction<'_>,
    bucket_key: i64,
    object_keys: &[i64],
    now: jiff::Timestamp,
) -> Result<(String, Option<String>), ApiError> {
    let batch = NewBatch { bucket_key, ..NewBatch::default() };
    let key = batches::insert(tx, &batch, now)?;
    batches::add_keys(tx, key, object_keys)?;
    submit_now(tx, key, now)?;
    let task = tasks::of_batch(tx, key)?.into_iter().next();
    Ok((batch.id.to_string(), task.map(|task| task.id.to_string())))
}

fn enabled(db: &Connection, keys: &[i64]) -> Result<Vec<i64>, ApiError> {
    let mut enabled = Vec::new();
    for key in keys {
        if collections::by_key(db, *key)?.is_some_and(|it| it.is_enabled && !it.is_deleting) {
            enabled.push(*key);
        }
    }
    Ok(enabled)
}
