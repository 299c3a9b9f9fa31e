//! What a run is asked to do, and what it reports when it has ended.

use jiff::Timestamp;

use super::RunError;
use crate::{
    model::{Counts, JobId, Location, MaxDelete, RunStatus, SyncOptions},
    store::{
        self, Connection, Transaction,
        command_line_syncs::{self, BucketChoice, SyncSource},
        syncs::{HeldRemovals, Sync},
    },
};

/// A request to run a sync, which is created if it does not exist yet.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to read.
    pub location: Location,
    /// The key of the stored connection that leads there; `None`: that of the location, which needs
    /// no credentials of ours.
    pub connection: Option<i64>,
    /// Which bucket to fill.
    pub bucket: BucketChoice,
    /// The sync's settings, stored for later runs.
    pub options: SyncOptions,
    /// Settings of this run only.
    pub run: RunOptions,
}

impl Request {
    /// The sync that it is for, if there is one.
    ///
    /// # Errors
    /// SQLite's.
    pub fn find(&self, db: &Connection) -> store::Result<Option<Sync>> {
        command_line_syncs::find(db, self.place(), &self.bucket)
    }

    /// Finds or makes the sync that it is for, and keeps its settings.
    ///
    /// # Errors
    /// SQLite's.
    pub(super) fn ensure(&self, tx: &Transaction<'_>, now: Timestamp) -> store::Result<Sync> {
        command_line_syncs::ensure(tx, self.place(), &self.bucket, &self.options, now)
    }

    fn place(&self) -> SyncSource<'_> {
        match self.connection {
            Some(connection_key) => {
                SyncSource::Connected { connection_key, source_path: &self.location.source_path }
            }
            None => SyncSource::Address(&self.location),
        }
    }
}

/// Settings of one run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// How many objects it may remove; `None`: the removal guard's default.
    pub max_delete: Option<MaxDelete>,
    /// The limit that a person gave with this very run: it approves removals that are held under
    /// another one.
    pub approves: Option<MaxDelete>,
    /// How many fetches at once; `None`: the source's default.
    pub concurrency: Option<usize>,
    /// Start a new pass: list and compare every entry, whatever checkpoints say.
    pub full: bool,
    /// With `full`: fetch every entry again, even if its version is unchanged.
    pub refetch: bool,
    /// Accept the root as it is now, even if it is a different one or empty.
    pub adopt_root: bool,
    /// Entries taken up (new, changed or failed) after which the run ends, checkpointed, and the
    /// next one is queued; `None`: it runs to the end, as a run of the command line does.
    pub slice: Option<u64>,
    /// Entries that failed before are tried without waiting for their time: a person asked for this
    /// run.
    pub tries_waiting: bool,
    /// Continue a pass even where `full` would start a new one: this run is its next slice.
    pub continues: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// Its status.
    pub status: RunStatus,
    /// The job, if one was created.
    pub job: Option<JobId>,
    /// The bucket, if the run got far enough to know it.
    pub bucket: Option<String>,
    /// What it did.
    pub counts: Counts,
    /// Removals that the removal guard holds.
    pub held: Option<HeldRemovals>,
    /// The queued job that continues the pass, where this run ended at the end of its slice.
    pub next: Option<JobId>,
    /// Whether the source has never had an entry.
    pub nothing_there: bool,
    /// What its source remarks on how it is listed.
    pub remark: Option<String>,
    /// Why it ended early.
    pub error: Option<RunError>,
}

impl Report {
    /// The report of a run that never began.
    pub(super) fn never_begun(error: RunError) -> Self {
        Self {
            status: error.status(),
            job: None,
            bucket: None,
            counts: Counts::default(),
            held: None,
            next: None,
            nothing_there: false,
            remark: None,
            error: Some(error),
        }
    }
}
