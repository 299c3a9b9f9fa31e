//! What all stages of a run share, and what a pass hands from one stage to the next.

use std::sync::Arc;

use roaring::RoaringTreemap;
use tokio::sync::Semaphore;

use super::{
    Observer,
    request::RunOptions,
    rules::{self, Rules},
    shards::Start,
};
use crate::{
    blobs::Blobs,
    clock::SharedClock,
    model::JobId,
    sources::{RootIdentity, Source, SourceError, web::Web},
    store::{
        Store,
        checkpoints::{Basis, Sightings},
        commit::Target,
        reconcile::Scope,
        syncs::Sync,
    },
};

/// A run in progress.
pub struct Run {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: SharedClock,
    pub(super) source: Arc<dyn Source>,
    pub(super) rules: Rules,
    pub(super) web: Web,
    pub(super) sync: Sync,
    pub(super) target: Target,
    pub(super) job: JobId,
    pub(super) options: RunOptions,
    pub(super) observer: Arc<dyn Observer>,
    /// Bounds the concurrent requests to the source, for entries and for parts of entries alike.
    pub(super) requests: Semaphore,
    pub(super) concurrency: usize,
    /// Bounds the blocks of large blobs that are being written to disk.
    pub(super) writes: Arc<Semaphore>,
    /// The root as it was when the run began.
    pub(super) root: Result<RootIdentity, SourceError>,
    /// Whether it continues a pass that an earlier run began.
    pub(super) is_resumed: bool,
    /// Whether the sync had an entry when the run began.
    pub(super) had_entries: bool,
    /// Where it starts in each shard.
    pub(super) starts: Vec<Start>,
    /// What its checkpoints are valid for.
    pub(super) basis: Basis,
}

impl Run {
    /// Which of the entries that a pass does not find are removed.
    pub(super) fn removal_scope(&self) -> Scope {
        rules::removal_scope(&self.sync.location, &self.sync.options)
    }

    /// See [`rules::follows_renames`]. A sync without entries has nothing that could have been
    /// renamed, so a first run skips the look-ups, each of which would read another index page.
    pub(super) fn follows_renames(&self) -> bool {
        self.had_entries && rules::follows_renames(&self.sync.options, self.options.full)
    }
}

/// How far a walk got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// To the end of the source.
    Whole,
    /// To the end of the run's slice.
    Slice,
}

/// What a walk has learned.
#[derive(Debug)]
pub struct Pass {
    /// What it knows of entries whose rows it did not write.
    pub sightings: Sightings,
    /// How far it got, in this run and those that it continued from.
    pub walked: Walked,
    /// Keys of the `left_out` rows whose entries this run listed.
    pub left_out: RoaringTreemap,
}
