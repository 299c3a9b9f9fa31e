//! Whether a root whose identity has changed is the same place after all. Device numbers differ
//! after a reboot or a remount, and filesystems without an id of their own (XFS, exFAT, network
//! shares) are known by nothing else. What lies there shows it: a disk that has the entries of the
//! index, unchanged, is the disk that they came from, or an exact copy of it.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{RunError, context::Run};
use crate::{
    model::EntryKind,
    sources::retry::RetryPolicy,
    store::entries::{self, StoredEntry},
};

/// Entries that are looked at, at each end of the listing.
const SAMPLE: usize = 50;

/// Whether at least half of a sample of the stored entries are there as they were.
pub(super) async fn is_same_place(run: &Arc<Run>) -> Result<bool, RunError> {
    let sync_key = run.target.fence.sync_key;
    let sample = run.store.read(move |db| entries::sample(db, sync_key, SAMPLE)).await?;
    let looked_at = sample.len();
    let unchanged: Vec<bool> = stream::iter(sample)
        .map(|stored| is_unchanged(run, stored))
        .buffer_unordered(run.concurrency)
        .try_collect()
        .await?;
    let unchanged = unchanged.into_iter().filter(|unchanged| *unchanged).count();
    Ok(looked_at > 0 && 2 * unchanged >= looked_at)
}

/// Whether an entry has the version or the time of modification that it had. Where inodes are made
/// up at each mount, its version is another one.
async fn is_unchanged(run: &Run, stored: StoredEntry) -> Result<bool, RunError> {
    let entry = match RetryPolicy::FETCH.run(|| run.source.stat(&stored.id)).await {
        Ok(entry) => entry,
        Err(error) if error.class().ends_run() => return Err(error.into()),
        Err(_) => None,
    };
    Ok(match entry.map(|entry| entry.kind) {
        Some(EntryKind::File(now)) => {
            now.version == stored.version
                || (now.modified.is_some() && now.modified == stored.modified)
        }
        _ => false,
    })
}
