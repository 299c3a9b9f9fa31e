//! Watching a run: what it tells while it works.

use crate::{
    model::{Counts, EntryPath, JobId, Phase, SkipReason},
    store::dead_letters::Failure,
};

/// Told what a run does, as it does it. Called from several tasks at once; must not block.
pub trait Observer: Send + Sync {
    /// The run has its lease and begins; `resumed` says that it goes on where another stopped.
    fn started(&self, _job: &JobId, _bucket: &str, _resumed: bool) {}

    /// The run does something else now.
    fn entered(&self, _phase: Phase) {}

    /// The source listed `entries` more, of which `files` are to be fetched: `bytes` in all.
    fn found(&self, _entries: u64, _files: u64, _bytes: u64) {}

    /// An entry is left out for what it is.
    fn skipped(&self, _reason: SkipReason) {}

    /// An entry of `size` bytes is being fetched.
    fn fetching(&self, _path: &EntryPath, _size: u64) {}

    /// So many more bytes have arrived.
    fn received(&self, _bytes: u64) {}

    /// The entry is no longer being fetched, however that went.
    fn fetched(&self, _path: &EntryPath) {}

    /// An entry could not be taken.
    fn failed(&self, _failure: &Failure) {}

    /// A transaction committed; these are the counts of the run so far.
    fn committed(&self, _counts: &Counts) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
