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
        }
    }
}

/// What a job is doing, or was doing when it ended. Wire spelling is lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet begun.
    Queued,
    /// Listing, comparing and fetching.
    Downloading,
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
            Self::Downloading => "downloading",
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
