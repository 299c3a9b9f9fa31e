//! What goes wrong at a source, and what to do about it.
//!
//! What does not live here: what the answers of a provider mean, which its own folder knows.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::ErrorType;

/// What went wrong at a source, by what the caller does next ([`SourceError::class`]).
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The connection broke, the server stumbled: worth another try.
    #[error("{message}")]
    Transient {
        /// The provider's reason.
        message: String,
    },
    /// An answer that makes no sense, or is cut short: worth a few more tries, not many.
    #[error("{message}")]
    Garbled {
        /// What is wrong with it.
        message: String,
    },
    /// The name of the host leads nowhere, and never has: worth a few more tries, not many.
    #[error("{message}")]
    Unresolved {
        /// Which name, and the system's reason.
        message: String,
    },
    /// The provider asks to slow down.
    #[error("the provider asks to slow down: {message}")]
    RateLimited {
        /// The provider's reason.
        message: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("no answer in time: {message}")]
    Timeout {
        /// What was being waited for.
        message: String,
    },
    /// The credentials do not work, for anything: the connection's failure, no entry's.
    #[error("the credentials were refused: {message}")]
    Auth {
        /// The provider's reason.
        message: String,
    },
    /// The root itself is not there.
    #[error("{message}")]
    RootMissing {
        /// What is missing, and how to go on.
        message: String,
    },
    /// This entry is not there (any more).
    #[error("gone from the source: {message}")]
    NotFound {
        /// The provider's reason.
        message: String,
    },
    /// This entry may not be read.
    #[error("permission denied: {message}")]
    PermissionDenied {
        /// The provider's reason.
        message: String,
    },
    /// The entry has another version now than the one asked for.
    #[error("it changed while it was read: {message}")]
    Changed {
        /// What differed.
        message: String,
    },
    /// What arrived does not have the checksum that the provider keeps: worth a few more tries, for
    /// the fault may lie on the way.
    #[error("what arrived is not what the provider has a checksum of: {message}")]
    Corrupt {
        /// The two checksums.
        message: String,
    },
    /// The provider lets us make no request before a certain time: the run ends without blame and
    /// is due then.
    #[error("the provider makes us wait until {}: {message}", .until.strftime("%Y-%m-%dT%H:%M:%SZ"))]
    Held {
        /// The provider's reason.
        message: String,
        /// When it ends.
        until: Timestamp,
    },
    /// The credentials work no more and only a person can renew them: the connection is suspended
    /// at once.
    #[error("{message}: {way_out}")]
    SignInAgain {
        /// The provider's reason.
        message: String,
        /// What the person has to do.
        way_out: String,
    },
    /// The provider refuses the token of the change feed: a full pass is needed.
    #[error("the change feed cannot be continued: {message}")]
    FeedExpired {
        /// The provider's reason.
        message: String,
    },
    /// What the provider sent has another length than it listed, though it ended cleanly. Only
    /// where the size is not exact.
    #[error("the provider lists {listed} bytes and sent {sent}")]
    SizeMismatch {
        /// The listed size.
        listed: u64,
        /// What arrived.
        sent: u64,
    },
    /// This entry is larger than the provider or this program can handle.
    #[error("too large: {message}")]
    TooLarge {
        /// The limit.
        message: String,
    },
    /// This entry is of a kind that cannot be downloaded.
    #[error("cannot be downloaded: {message}")]
    Unsupported {
        /// The provider's reason.
        message: String,
    },
    /// Somebody is writing this entry all the time: it is whole once that ends.
    #[error("{message}")]
    BeingWritten {
        /// Which one.
        message: String,
    },
    /// The settings of the connection cannot work.
    #[error("{message}")]
    Misconfigured {
        /// What is wrong, and how to put it right.
        message: String,
    },
    /// An answer that makes no sense, or a refusal that another try will not change.
    #[error("{message}")]
    Permanent {
        /// The provider's reason.
        message: String,
    },
}

/// What to do about a [`SourceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again, after a while.
    Retry,
    /// Try again, a few times.
    RetryBriefly,
    /// Look at the entry again: it has changed.
    Reread,
    /// The entry is gone: there is nothing to take.
    Gone,
    /// Give this entry up and go on with the rest.
    Entry,
    /// Stop the run: nothing else would work either.
    Connection,
    /// Stop the run without blame: it is due again when the hold ends.
    Hold,
    /// Make a full pass instead.
    StartOver,
}

impl ErrorClass {
    /// Whether the run ends: nothing else would work now either.
    #[must_use]
    pub const fn ends_run(self) -> bool {
        matches!(self, Self::Connection | Self::Hold | Self::StartOver)
    }
}

impl SourceError {
    /// What to do about it.
    #[must_use]
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Transient { .. } | Self::RateLimited { .. } | Self::Timeout { .. } => {
                ErrorClass::Retry
            }
            Self::Garbled { .. }
            | Self::Unresolved { .. }
            | Self::Corrupt { .. }
            | Self::SizeMismatch { .. } => ErrorClass::RetryBriefly,
            Self::Changed { .. } => ErrorClass::Reread,
            Self::NotFound { .. } => ErrorClass::Gone,
            Self::PermissionDenied { .. }
            | Self::Permanent { .. }
            | Self::TooLarge { .. }
            | Self::Unsupported { .. }
            | Self::BeingWritten { .. } => ErrorClass::Entry,
            Self::Auth { .. }
            | Self::SignInAgain { .. }
            | Self::RootMissing { .. }
            | Self::Misconfigured { .. } => ErrorClass::Connection,
            Self::Held { .. } => ErrorClass::Hold,
            Self::FeedExpired { .. } => ErrorClass::StartOver,
        }
    }

    /// How the API names it on a dead letter.
    #[must_use]
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Transient { .. }
            | Self::Garbled { .. }
            | Self::Unresolved { .. }
            | Self::Permanent { .. } => ErrorType::DownloadFailed,
            Self::RateLimited { .. } | Self::Held { .. } => ErrorType::RateLimited,
            Self::TooLarge { .. } => ErrorType::TooLarge,
            Self::Unsupported { .. } => ErrorType::UnsupportedType,
            Self::Timeout { .. } => ErrorType::Timeout,
            Self::Auth { .. } | Self::SignInAgain { .. } | Self::PermissionDenied { .. } => {
                ErrorType::PermissionDenied
            }
            Self::RootMissing { .. } | Self::NotFound { .. } => ErrorType::NotFound,
            Self::Changed { .. } | Self::BeingWritten { .. } => ErrorType::ChangedDuringRead,
            Self::Corrupt { .. } | Self::SizeMismatch { .. } => ErrorType::ChecksumMismatch,
            Self::Misconfigured { .. } | Self::FeedExpired { .. } => ErrorType::Internal,
        }
    }
}
