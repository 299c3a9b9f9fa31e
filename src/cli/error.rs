//! Errors of commands, and the exit codes that they end the process with.

use std::{fmt, io, path::PathBuf, process::ExitCode};

use crate::{
    backup::BackupError,
    blobs::{BlobError, Damage},
    config::ConfigError,
    engine::{OpenError, RunError},
    model::EntryPath,
    store::StoreError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The command line is invalid: exit code 2.
    #[error("{0}")]
    Usage(String),
    #[error("there are no buckets in {data_dir:?} yet; `catchment sync SOURCE` creates the first")]
    NothingHere { data_dir: PathBuf },
    #[error("there is no bucket {name:?}; {}", known_buckets(known))]
    NoSuchBucket { name: String, known: Vec<String> },
    #[error("bucket {bucket:?} has no object {path:?}; `catchment ls {bucket}` lists what it has")]
    NoSuchObject { bucket: String, path: EntryPath },
    #[error(
        "{bucket}/{path}: {damage}; the next sync fetches them again, as does `catchment verify \
         --repair`"
    )]
    Damaged { bucket: String, path: EntryPath, damage: Damage },
    #[error("{path:?}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The reader of our output has closed it, which is not a failure.
    #[error("the output was closed")]
    ClosedPipe,
    #[error("{0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl CliError {
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::ClosedPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// An error of writing to stdout.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::failed(error),
        }
    }
}

fn known_buckets(known: &[String]) -> String {
    match known {
        [] => "there are none yet; `catchment sync SOURCE` creates the first".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    }
}
