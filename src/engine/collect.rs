//! Garbage collection: deletes bytes that nothing refers to, and never any others.
//!
//! Rows are deleted first, in a transaction; files after it has committed, under the write lock
//! that every commit needs, and only if no row has named them since. A crash in between leaves a
//! file without a row, which [`everything`] finds. Between the publishing of a file and the commit
//! of its row it looks the same; it is left alone while the process that made it may be alive.

use std::time::Duration;

use super::{Engine, RunError};
use crate::{
    blobs::Blobs,
    model::BlobHash,
    store::{Store, StoreError, blobs, trash, uploads},
};

/// What a collection has freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Deleted blobs.
    pub blobs: u64,
    /// The bytes of those, and of abandoned parts of downloads.
    pub bytes: u64,
}

/// How many blobs one transaction looks at.
const PAGE: u32 = 1000;

/// How many objects one transaction purges.
const PURGED_AT_ONCE: u32 = 500;

/// Parts of downloads that were not written for so long are abandoned.
const STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Collects the blobs that have lost their last reference since the last time. Costs nothing if
/// there are none.
///
/// # Errors
/// The store's.
pub async fn orphans(store: &Store, files: &Blobs) -> Result<Collected, RunError> {
    let mut collected = Collected::default();
    // Most runs orphan nothing, and a read costs less than an empty transaction.
    if !store.read(blobs::has_orphans).await? {
        return Ok(collected);
    }
    // What a backup still copies stays; the next collection finds it.
    let Some(_held) = files.may_delete()? else { return Ok(collected) };
    while let Some(gone) = store.write(|tx| blobs::take_orphans(tx, PAGE)).await? {
        collected.blobs += gone.len() as u64;
        collected.bytes += gone.iter().map(|blob| blob.size).sum::<u64>();
        let hashes = gone.iter().filter(|blob| !blob.inline).map(|blob| blob.hash).collect();
        delete_files(store, files, hashes).await?;
    }
    Ok(collected)
}

/// Ends the uploads that have expired, so that their bytes can be collected.
///
/// # Errors
/// The store's.
pub async fn end_uploads(engine: &Engine) -> Result<(), StoreError> {
    let now = engine.clock().now();
    if engine.store.read(move |db| uploads::any_ended(db, now)).await? {
        engine.store.write(move |tx| uploads::end_due(tx, now)).await?;
    }
    Ok(())
}

/// Purges what has had its time in the trash, in many small transactions. Returns how many objects;
/// their bytes are the next collection's.
///
/// # Errors
/// The store's.
pub async fn purge_trash(engine: &Engine) -> Result<u64, StoreError> {
    let now = engine.clock().now();
    let mut purged = 0;
    while engine.store.read(move |db| trash::is_due(db, now)).await? {
        purged += engine.store.write(move |tx| trash::purge_due(tx, now, PURGED_AT_ONCE)).await?;
    }
    Ok(purged)
}

async fn delete_files(
    store: &Store,
    files: &Blobs,
    hashes: Vec<BlobHash>,
) -> Result<(), StoreError> {
    if hashes.is_empty() {
        return Ok(());
    }
    let files = files.clone();
    store
        .write(move |tx| {
            blobs::delete_unrecorded(tx, &hashes, |hash| {
                if let Err(error) = files.remove(hash) {
                    tracing::warn!(%error, "could not delete a blob; `catchment gc` tries again");
                }
            })
        })
        .await
}

/// Looks through everything, once no backup is under way: blobs without references, files without
/// rows, abandoned parts. Then returns the database's free pages to the disk.
///
/// # Errors
/// The store's, or the disk's.
pub async fn everything(engine: &Engine) -> Result<Collected, RunError> {
    let files = engine.blobs.clone();
    let _held = tokio::task::spawn_blocking(move || files.wait_to_delete())
        .await
        .map_err(|_| StoreError::Stopped)??;
    end_uploads(engine).await?;
    purge_trash(engine).await?;
    engine.store.write(blobs::find_orphans).await?;
    let mut collected = orphans(&engine.store, &engine.blobs).await?;

    let (store, files) = (engine.store.clone(), engine.blobs.clone());
    let others = engine.worker().others_since();
    let (strays, stale) = tokio::task::spawn_blocking(move || {
        let mut strays = Vec::new();
        files.clear_leftovers()?;
        files.each(|hash, size| {
            // A run of another process may be about to record it.
            if others.is_some_and(|since| files.may_be_recorded_soon(&hash, since)) {
                return Ok(());
            }
            if !store.read_blocking(|db| blobs::is_recorded(db, &hash))? {
                strays.push((hash, size));
            }
            Ok::<_, RunError>(())
        })?;
        Ok::<_, RunError>((strays, files.clear_stale_partials(STALE)?))
    })
    .await
    .map_err(RunError::panicked)??;
    collected.blobs += strays.len() as u64;
    collected.bytes += stale + strays.iter().map(|(_, size)| size).sum::<u64>();
    let hashes = strays.into_iter().map(|(hash, _)| hash).collect();
    delete_files(&engine.store, &engine.blobs, hashes).await?;
    engine.store.compact().await?;
    Ok(collected)
}
