//! How a sync stands, and who paused it.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of a sync, in the wire's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SyncStatus {
    /// Before the first run.
    Pending,
    /// Due and waiting for its turn.
    Queued,
    /// A job runs.
    InProgress,
    /// Between two runs of a continuous sync.
    Active,
    /// Its one complete pass is done (`initial_only`).
    Completed,
    /// Done, but dead letters are left.
    CompletedWithErrors,
    /// The last run failed.
    Failed,
    /// Paused, by a person or after failing too often.
    Suspended,
    /// Its last run was cut short and is to be gone on with.
    Interrupted,
    /// Deleted; kept for its history.
    Archived,
}

impl SyncStatus {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Queued,
        Self::InProgress,
        Self::Active,
        Self::Completed,
        Self::CompletedWithErrors,
        Self::Failed,
        Self::Suspended,
        Self::Interrupted,
        Self::Archived,
    ];

    /// Wire and database spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Queued => "QUEUED",
            Self::InProgress => "IN_PROGRESS",
            Self::Active => "ACTIVE",
            Self::Completed => "COMPLETED",
            Self::CompletedWithErrors => "COMPLETED_WITH_ERRORS",
            Self::Failed => "FAILED",
            Self::Suspended => "SUSPENDED",
            Self::Interrupted => "INTERRUPTED",
            Self::Archived => "ARCHIVED",
        }
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no state of a sync.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no state of a sync")]
pub struct UnknownStatus(String);

impl FromStr for SyncStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// Whether a sync continues after its first complete pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// It runs again and again.
    Continuous,
    /// After its first complete pass it is done, and runs only when asked.
    #[default]
    InitialOnly,
}

/// A sync that is not to run for now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What a person reads.
    pub reason: Option<String>,
    /// Since when.
    pub at: Timestamp,
    /// Whose doing it was.
    pub by: PausedBy,
    /// A run that is under way may come to its end.
    #[serde(default)]
    pub drain: bool,
}

/// Who paused a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PausedBy {
    /// A person.
    Person,
    /// It failed too often in a row.
    Failures,
    /// Its connection was suspended or deleted.
    Connection,
}
