//! Observing a run.

use std::sync::Arc;

use crate::{
    model::{Counts, EntryPath, JobId, Phase, SkipReason},
    sources::retry::{Retry, RetryWatch},
    store::dead_letters::Failure,
};

/// Is notified of what a run does, as it does it. Called from several tasks at once; must not
/// block.
pub trait Observer: Send + Sync {
    /// The run has its lease and begins; `resumed` says that it resumes the pass of another run.
    fn started(&self, _job: &JobId, _bucket: &str, _resumed: bool) {}

    /// The run has entered another phase.
    fn entered(&self, _phase: Phase) {}

    /// The source listed `entries` more, of which `files` are to be fetched, `bytes` in total.
    fn found(&self, _entries: u64, _files: u64, _bytes: u64) {}

    /// An entry is skipped because of its kind.
    fn skipped(&self, _reason: SkipReason) {}

    /// An entry of `size` bytes is being fetched.
    fn fetching(&self, _path: &EntryPath, _size: u64) {}

    /// So many more bytes have arrived.
    fn received(&self, _bytes: u64) {}

    /// The entry is no longer being fetched, whether that succeeded or not.
    fn fetched(&self, _path: &EntryPath) {}

    /// An entry failed.
    fn failed(&self, _failure: &Failure) {}

    /// A transaction has committed; these are the counts of the run so far.
    fn committed(&self, _counts: &Counts) {}

    /// Something that failed at the source waits for its next try. The number is its own until it
    /// has ended.
    fn waits(&self, _operation: u64, _retry: &Retry) {}

    /// What had to be tried again has ended, in whatever way.
    fn ended(&self, _operation: u64) {}
}

/// Notifies an observer of retries.
pub(super) struct Retries(pub(super) Arc<dyn Observer>);

impl RetryWatch for Retries {
    fn waits(&self, operation: u64, retry: &Retry) {
        self.0.waits(operation, retry);
    }

    fn ended(&self, operation: u64) {
        self.0.ended(operation);
    }
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
