//! Backups of a data directory: made while syncs run, added to by the next one, put back elsewhere.
//!
//! - here: what a backup consists of, and what can go wrong
//! - [`make`]: making one
//! - [`restore`]: putting one back
//! - [`seal`]: secrets under a passphrase
//! - `bytes`: one blob from one folder to another, and checked
//!
//! ```text
//! backup.json        what belongs to the last complete backup; replaced whole, as its last act
//! state/<id>.db      the database as it was
//! blobs/ab/ab01…     the files of its blobs, by hash, as in a data directory
//! incoming/          rubbish of one that was cut short
//! ```
//!
//! Whenever a backup is cut short, `backup.json` names a state and blobs that are still there: new
//! files come before it is replaced, and those that are needed no more go after. What does not live
//! here: SQL, and downloads that are not finished, which a sync fetches again.

mod bytes;
pub mod make;
pub mod restore;
pub mod seal;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{blobs::BlobError, model::BlobHash, secrets::SecretsError, store::StoreError};
use seal::Sealed;

/// The file that says what belongs to the last complete backup.
const MANIFEST_FILE: &str = "backup.json";

/// The only layout so far.
const FORMAT: u32 = 1;

/// What belongs to a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// When it was made.
    pub made_at: Timestamp,
    /// The version of the program that made it.
    program: String,
    /// The version of its database.
    schema: usize,
    /// Whose it is.
    installation: String,
    state: StateFile,
    /// `config.toml`, if there was one.
    config: Option<String>,
    secrets: Secrets,
    /// Blobs that were damaged when it was made, `blake3:<64 hex>`.
    damaged: Vec<String>,
}

/// The copy of the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StateFile {
    name: String,
    size: u64,
    hash: String,
}

/// What became of the secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secrets {
    /// There were none.
    None,
    /// They are not in it.
    LeftOut,
    /// They are in it, under a passphrase.
    Sealed(Sealed),
}

impl Secrets {
    /// What to call it in a report.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LeftOut => "left_out",
            Self::Sealed(_) => "sealed",
        }
    }
}

/// Why a backup cannot be made or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder is no place for a backup.
    #[error("{path:?} {reason}: choose another folder")]
    Place {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// There is no backup.
    #[error("{path:?} holds no complete backup: `catchment backup {}` makes one", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
    },
    /// The manifest makes no sense.
    #[error("{path:?} is damaged: {reason}. Another backup is needed")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later Catchment made it.
    #[error(
        "this backup was made by Catchment {program}, which is newer than this one ({}): install \
         that version to restore it",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The version that made it.
        program: String,
    },
    /// The data directory is in use.
    #[error(
        "the data directory {path:?} is not empty, and a restore overwrites nothing: choose another \
         one with --data-dir"
    )]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// The secrets are sealed, and no passphrase was given.
    #[error(
        "the secrets in this backup are sealed: set CATCHMENT_BACKUP_PASSPHRASE, or leave them out \
         with --without-secrets and enter the credentials again"
    )]
    NoPassphrase,
    /// The passphrase does not open them.
    #[error("this passphrase does not open the secrets in the backup; nothing was changed")]
    WrongPassphrase,
    /// The secrets cannot be sealed.
    #[error("the secrets cannot be sealed: {0}")]
    Seal(String),
    /// A file.
    #[error("{path:?}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The keys.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

/// How blobs came from one folder to the other, and what is wrong with those that did not.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// Blobs that were there already.
    pub kept: u64,
    /// Blobs that share their blocks with the original.
    pub reflinked: u64,
    /// Blobs that are another name of the original's file.
    pub linked: u64,
    /// Blobs that were copied.
    pub copied: u64,
    /// Bytes of those that came.
    pub bytes: u64,
    /// Blobs that are missing, or are not what their name says.
    pub damaged: Vec<BlobHash>,
}

impl Moved {
    fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.reflinked += other.reflinked;
        self.linked += other.linked;
        self.copied += other.copied;
        self.bytes += other.bytes;
        self.damaged.extend(other.damaged);
    }
}

impl Manifest {
    /// The one of the backup in `dir`; `None` where there is none.
    fn read(dir: &Path) -> Result<Option<Self>, BackupError> {
        let path = dir.join(MANIFEST_FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::Io { path, error }),
        };
        let unreadable = |error: serde_json::Error| BackupError::Unreadable {
            path: path.clone(),
            reason: error.to_string(),
        };
        // Its version first: a later one may look otherwise.
        let head: Head = serde_json::from_slice(&text).map_err(unreadable)?;
        if head.format > FORMAT {
            return Err(BackupError::Newer { program: head.program });
        }
        serde_json::from_slice(&text).map(Some).map_err(unreadable)
    }

    /// What became of the secrets.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Puts it in place of the one before. When this returns it is durable.
    fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(MANIFEST_FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| BackupError::Seal(error.to_string()))?;
        replace(&path, &text)
    }
}

/// What every layout has.
#[derive(Deserialize)]
struct Head {
    format: u32,
    program: String,
}

/// Names the file in an error of the system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::Io { path, error }
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Makes the names in a folder durable.
fn sync_dir(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path))
}

/// Makes a file's bytes durable.
fn sync_file(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(at(path))
}

/// Puts a private file in place of whatever was there, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let draft = path.with_extension("new");
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    written.map_err(at(path))?;
    sync_dir(path.parent().unwrap_or(path))
}
