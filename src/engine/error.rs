//! Why a run ended early.

use jiff::Timestamp;

use crate::{
    blobs::BlobError,
    engine::filter::FilterError,
    model::RunStatus,
    secrets::SecretsError,
    sources::SourceError,
    store::{StoreError, connections::ConnectionFailure},
};

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The filters are invalid.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The source failed as a whole: its listing, its credentials, its root.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The credentials of the connection cannot be read.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The root is another one than before.
    #[error(
        "{place} is not the folder that it was (it was {was}, it is {is}): nothing was removed. \
         Mount what belongs there; or, if this is the source from now on, approve it, or run with \
         --adopt-root"
    )]
    RootChanged {
        /// The source.
        place: String,
        /// Its identity before.
        was: String,
        /// Its identity now.
        is: String,
    },
    /// The disk is full, or a file of ours cannot be written.
    #[error(transparent)]
    Disk(#[from] BlobError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error(
        "an internal error of Catchment ended the run ({message}): report it with what the log says"
    )]
    Internal {
        /// What happened.
        message: String,
    },
    /// Somebody asked for it.
    #[error("stopped on request; run the same command again to go on from here")]
    Stopped,
}

impl RunError {
    /// How the connection failed, if it did, rather than this sync of it.
    #[must_use]
    pub const fn of_connection(&self) -> Option<ConnectionFailure> {
        match self {
            Self::Source(SourceError::Auth { .. } | SourceError::SignInAgain { .. }) => {
                Some(ConnectionFailure::Refused)
            }
            Self::Source(
                SourceError::Misconfigured { .. }
                | SourceError::Unresolved { .. }
                | SourceError::Transient { .. }
                | SourceError::Timeout { .. },
            ) => Some(ConnectionFailure::Unreachable),
            _ => None,
        }
    }

    /// Until when the provider makes us wait, if that ended the run.
    #[must_use]
    pub const fn held_until(&self) -> Option<Timestamp> {
        match self {
            Self::Source(SourceError::Held { until, .. }) => Some(*until),
            _ => None,
        }
    }

    /// The fault of ours that made a task panic.
    #[must_use]
    pub fn panicked(error: tokio::task::JoinError) -> Self {
        // What it panicked with is in the log, and may quote what nobody else should read.
        let message = if error.is_panic() { "a task panicked" } else { "a task was cancelled" };
        Self::Internal { message: message.to_owned() }
    }

    /// The status of a run that ended with this error.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Stopped
            | Self::Source(SourceError::Held { .. })
            | Self::Disk(BlobError::Full { .. })
            | Self::Store(StoreError::Full | StoreError::LeaseLost) => RunStatus::Interrupted,
            _ => RunStatus::Failed,
        }
    }
}
