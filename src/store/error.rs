//! What can go wrong with the state, by what the caller does next.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

use super::holder::Holder;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be made or used.
    #[error(
        "cannot use the data directory {path:?}: {error}; choose another with --data-dir or CATCHMENT_DATA_DIR"
    )]
    DataDir {
        /// The directory, or what in it could not be used.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The database was written by a later Catchment.
    #[error(
        "the data directory {path:?} was written by a newer Catchment (schema {found}, this one \
         knows {known}); nothing was changed. Install the newer version again, or restore a backup \
         that this version made into another data directory"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database was written by an earlier Catchment, and cannot be brought up to date.
    #[error(
        "the data directory of {path:?} was written by an older Catchment (schema {found}) and is \
         to be brought up to date first, but nothing can be written there: run any command once \
         where it can be"
    )]
    Older {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: usize,
    },
    /// Nothing can be written in the data directory.
    #[error("nothing can be written in the data directory: it is read-only")]
    ReadOnly,
    /// A restore has begun to fill the data directory, and was cut short.
    #[error(
        "a restore into {path:?} was cut short: run `catchment restore` with the same backup again \
         to finish it, or remove what is there"
    )]
    HalfRestored {
        /// The data directory.
        path: PathBuf,
    },
    /// SQLite finds the database damaged.
    #[error("the database is damaged: {reason}. `catchment doctor` says how to go on")]
    Corrupt {
        /// The first thing that is wrong.
        reason: String,
    },
    /// The file is there but is not our database, or is damaged.
    #[error(
        "{path:?} is not a Catchment database, or is damaged: {error}. `catchment doctor` says how \
         to go on"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        error: rusqlite::Error,
    },
    /// There are no held removals to approve or reject.
    #[error("no removals of this sync are held")]
    NothingHeld,
    /// The disk is full. Nothing of the transaction was kept, everything before it was.
    #[error("no space left for the database")]
    Full,
    /// Another run took the lease over: this one may write nothing more.
    #[error("this run lost its lease to another one")]
    LeaseLost,
    /// Another run holds the lease.
    #[error("{0}")]
    Locked(Holder),
    /// The job has begun, or has ended, already.
    #[error("this job is no longer waiting to start")]
    NotQueued,
    /// The sync does not run: it is paused, switched off or deleted.
    #[error("this sync is paused, switched off or deleted")]
    SyncInactive,
    /// Another key seals credentials by now: seal again.
    #[error("the key of the stored credentials was changed in the meantime: try again")]
    KeyRotated,
    /// The file of a blob vanished between its writing and its commit: fetch it again.
    #[error("the bytes of a blob vanished before they were recorded")]
    BlobVanished,
    /// A stored value cannot be understood.
    #[error("the database holds an invalid {what}: {reason}")]
    InvalidValue {
        /// What was being read.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// A file of the blob store could not be handled.
    #[error("{path:?}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The thread that writes could not be started.
    #[error("cannot start the thread that writes to the database: {0}")]
    WriterThread(io::Error),
    /// Our code panicked in a transaction, which was rolled back.
    #[error("an internal error of Catchment ended a transaction; the log has the details")]
    Panicked,
    /// The writer thread has ended.
    #[error("the database writer has stopped")]
    Stopped,
    /// Anything else that SQLite says.
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
}

impl StoreError {
    /// A stored value that cannot be read back.
    pub(crate) fn nonsense(what: &'static str, reason: impl ToString) -> Self {
        Self::InvalidValue { what, reason: reason.to_string() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { reason: error.to_string() }
            }
            _ => Self::Sqlite(error),
        }
    }
}
