//! How a job stands.

/// The state of a job. Wire spelling is lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Under way, or its worker died and nobody has noticed yet.
    Running,
    /// Came to its end; entries may still have failed.
    Completed,
    /// Stopped by an error of the source or of this machine.
    Failed,
    /// Stopped on request, by a full disk or by the death of its worker; the next run continues.
    Interrupted,
    /// Never begun: another run held the lease, or the sync was paused or deleted meanwhile.
    Skipped,
}

impl JobStatus {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Skipped => "skipped",
        }
    }
}

/// Why a job was begun, in the wire's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its interval was over.
    Interval,
    /// Its folder has changed.
    FileChanged,
    /// Somebody asked for it.
    Manual,
    /// It continues what an earlier job left, or the sync was resumed.
    Resumed,
    /// It is the next slice of a pass.
    Slice,
    /// Failed entries are to be tried again.
    Requeue,
    /// Somebody asked for a full sync.
    FullSync,
}

impl Cause {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::FileChanged => "file_changed",
            Self::Manual => "manual",
            Self::Resumed => "resumed",
            Self::Slice => "slice",
            Self::Requeue => "requeue",
            Self::FullSync => "full_sync",
        }
    }

    /// The cause that is spelled so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Interval,
            Self::FileChanged,
            Self::Manual,
            Self::Resumed,
            Self::Slice,
            Self::Requeue,
            Self::FullSync,
        ];
        all.into_iter().find(|cause| cause.as_str() == text)
    }

    /// Whether the job continues an earlier one.
    #[must_use]
    pub const fn continues(self) -> bool {
        matches!(self, Self::Resumed | Self::Slice)
    }

    /// Whether a person asked for the job.
    #[must_use]
    pub const fn is_of_person(self) -> bool {
        matches!(self, Self::Manual | Self::FullSync)
    }
}

/// Whether a job is a full one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sweep {
    /// It continues from checkpoints and trusts them.
    #[default]
    None,
    /// It lists and compares everything, and fetches what differs.
    Full,
    /// It lists everything, and fetches all of it again.
    Refetch,
}

impl Sweep {
    /// What was asked for with these two words.
    #[must_use]
    pub const fn of(full: bool, refetch: bool) -> Self {
        match (full, refetch) {
            (_, true) => Self::Refetch,
            (true, false) => Self::Full,
            (false, false) => Self::None,
        }
    }
}

/// What a job is doing, or was doing when it ended. Wire spelling is lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet begun.
    Queued,
    /// Looking at the root, before anything is listed.
    Discovering,
    /// Listing, comparing and fetching.
    Downloading,
    /// All is fetched: making sure that the listing was whole and of the same root.
    Verifying,
    /// Removing what is gone from the source.
    Reconciling,
    /// Done, but the removal guard holds removals back.
    Held,
}

impl Phase {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Discovering => "discovering",
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::Reconciling => "reconciling",
            Self::Held => "held",
        }
    }
}

/// How a run came out: what a person wants to know first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// The bucket equals the source.
    Completed,
    /// It does, but for entries that failed.
    CompletedWithErrors,
    /// It does, but for removals that wait for somebody's word.
    Held,
    /// The run could not come to its end.
    Failed,
    /// The run was stopped and can be gone on with.
    Interrupted,
}

impl RunStatus {
    /// Spelling in events and summaries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}
