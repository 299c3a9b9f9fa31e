//! Why a run stopped before its end.

use crate::{
    blobs::BlobError, engine::filter::FilterError, model::RunStatus, secrets::SecretsError,
    sources::SourceError, store::StoreError,
};

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The filters cannot be.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The source failed as a whole: its listing, its credentials, its root.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The credentials of the connection cannot be had.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// Another folder stands where the source was.
    #[error(
        "{place} is not the folder that it was (it was {was}, it is {is}): nothing was removed. \
         Mount what belongs there, or run with --adopt-root if this is the source from now on"
    )]
    RootChanged {
        /// The source.
        place: String,
        /// Its identity before.
        was: String,
        /// Its identity now.
        is: String,
    },
    /// The source lists nothing where it listed something.
    #[error(
        "{place} is empty and was not before: nothing was removed. If its content was to go, run \
         with --adopt-root, and the removal guard decides on the rest"
    )]
    RootEmptied {
        /// The source.
        place: String,
    },
    /// The disk is full, or a file of ours cannot be written.
    #[error(transparent)]
    Disk(#[from] BlobError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody asked for it.
    #[error("stopped on request; run the same command again to go on from here")]
    Stopped,
}

impl RunError {
    /// Whether the connection failed, rather than this sync of it: its credentials or settings.
    #[must_use]
    pub const fn blames_connection(&self) -> bool {
        matches!(self, Self::Source(SourceError::Auth { .. } | SourceError::Misconfigured { .. }))
    }

    /// What a run that ended so is called.
    #[must_use]
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Stopped
            | Self::Disk(BlobError::Full { .. })
            | Self::Store(StoreError::Full | StoreError::LeaseLost) => RunStatus::Interrupted,
            _ => RunStatus::Failed,
        }
    }
}
