//! Garbage collection: bytes that nothing refers to go, and never any others.
//!
//! Rows go first, in a transaction; files go after it has committed, under the write lock that
//! every commit needs, and only if no row has come to name them since. A crash in between leaves a
//! file without a row, which [`everything`] finds.

use std::time::Duration;

use super::{Engine, RunError};
use crate::{
    blobs::Blobs,
    model::BlobHash,
    store::{Store, StoreError, blobs, uploads},
};

/// What a collection gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that are gone.
    pub blobs: u64,
    /// The bytes that they, and abandoned parts of downloads, took.
    pub bytes: u64,
}

/// Blobs that one transaction looks at.
const PAGE: u32 = 1000;

/// Parts of downloads that nobody went on with for so long are given up.
const STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Collects the blobs that lost their last reference since the last time. Costs nothing when there
/// are none.
///
/// # Errors
/// The store's.
pub async fn orphans(store: &Store, files: &Blobs) -> Result<Collected, RunError> {
    let mut collected = Collected::default();
    // Most runs orphan nothing, and a read costs less than an empty transaction.
    if !store.read(blobs::has_orphans).await? {
        return Ok(collected);
    }
    while let Some(gone) = store.write(|tx| blobs::take_orphans(tx, PAGE)).await? {
        collected.blobs += gone.len() as u64;
        collected.bytes += gone.iter().map(|blob| blob.size).sum::<u64>();
        let hashes = gone.iter().filter(|blob| !blob.inline).map(|blob| blob.hash).collect();
        delete_files(store, files, hashes).await?;
    }
    Ok(collected)
}

/// Ends the uploads whose time is up, so that their bytes can be collected.
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

/// Looks through everything: blobs without references, files without rows, parts that nobody goes
/// on with. Then gives the database's free pages back.
///
/// # Errors
/// The store's, or the disk's.
pub async fn everything(engine: &Engine) -> Result<Collected, RunError> {
    end_uploads(engine).await?;
    engine.store.write(blobs::find_orphans).await?;
    let mut collected = orphans(&engine.store, &engine.blobs).await?;

    let (store, files) = (engine.store.clone(), engine.blobs.clone());
    let (strays, stale) = tokio::task::spawn_blocking(move || {
        let mut strays = Vec::new();
        files.each(|hash, size| {
            if !store.read_blocking(|db| blobs::is_recorded(db, &hash))? {
                strays.push((hash, size));
            }
            Ok::<_, RunError>(())
        })?;
        Ok::<_, RunError>((strays, files.clear_stale_partials(STALE)?))
    })
    .await
    .map_err(|_| StoreError::Stopped)??;
    collected.blobs += strays.len() as u64;
    collected.bytes += stale + strays.iter().map(|(_, size)| size).sum::<u64>();
    let hashes = strays.into_iter().map(|(hash, _)| hash).collect();
    delete_files(&engine.store, &engine.blobs, hashes).await?;
    engine.store.compact().await?;
    Ok(collected)
}
