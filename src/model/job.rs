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
    /// Stopped on request, by a full disk or by the death of its worker; the next run goes on.
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

/// Why a job was begun. Wire spelling is lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was due.
    Scheduled,
    /// Somebody asked for it.
    Manual,
    /// To go on with what an earlier job left.
    Resume,
}

impl Cause {
    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::Resume => "resume",
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
