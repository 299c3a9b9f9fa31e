//! What a run commits to, and what its checkpoints are valid for.

use jiff::Timestamp;

use super::leases::Fence;

/// What a run commits to. Does not change during a pass.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The right to write.
    pub fence: Fence,
    /// The bucket.
    pub bucket_key: i64,
    /// The job.
    pub job_key: i64,
    /// The current pass.
    pub pass: i64,
    /// Whether an entry whose bytes the bucket has already gets no object of its own.
    pub skip_duplicates: bool,
    /// Whether objects are hidden until the uploads of their bytes are confirmed.
    pub waits_for_confirmation: bool,
    /// Entries older than this are not synced; fixed when the pass begins.
    pub modified_since: Option<Timestamp>,
    /// Identifies the settings that look at more than a listing, as stored in `entries.judged_by`.
    pub mark: Option<i64>,
}

/// What a checkpoint is valid for: it proves nothing about another root, and other settings would
/// decide differently about entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The root that was listed, see `sources::RootIdentity`.
    pub root: Option<String>,
    /// The settings, see [`crate::model::SyncOptions::rules_hash`].
    pub rules_hash: i64,
}
