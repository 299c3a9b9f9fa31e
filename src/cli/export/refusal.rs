//! Why an object was not exported, and what else can go wrong on the way. No I/O.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

use crate::{blobs::BlobError, model::EntryPath, store::StoreError};

/// Why one object did not become a file. The others do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it contains an empty name, which a folder cannot hold")]
    EmptyName,
    #[error("it contains {0:?}, which means another folder")]
    Dots(EntryPath),
    #[error("it contains a NUL byte, which a name cannot hold")]
    Nul,
    #[error("it ends in a slash, as folders do, but has content")]
    FolderWithContent,
    #[error("the target refuses the name: {0}")]
    Name(String),
    #[error("the target would change the name {0:?}")]
    Altered(EntryPath),
    #[error("{0:?} exists and is not a folder")]
    NoFolder(EntryPath),
    #[error("a folder of that name exists")]
    IsFolder,
    #[error("something of that name exists that is not a file")]
    NoFile,
    #[error("{0:?} is a symbolic link, which is not followed")]
    LinkedFolder(EntryPath),
    #[error("a symbolic link of that name exists; --overwrite replaces it")]
    Link,
    #[error("the target does not tell its name from {}", other(.0.as_ref()))]
    Collision(Option<EntryPath>),
    #[error("another object with other content has the same path")]
    Twin,
    #[error("a file with other content exists; --overwrite replaces it")]
    Conflict,
    #[error("it was removed from the bucket just now")]
    Removed,
    #[error("its stored bytes are damaged ({0}); `catchment verify --repair` repairs them")]
    Damaged(String),
    #[error("{0}")]
    Io(String),
}

impl Refusal {
    /// What kind of refusal: `name` (a folder cannot hold it), `clash` (something else bears the
    /// name), `collision` (two objects for one name), `conflict` (another file is there),
    /// `damaged` (not whole in the bucket), `io` (the system's reason).
    pub(super) const fn error_type(&self) -> &'static str {
        match self {
            Self::EmptyName
            | Self::Dots(_)
            | Self::Nul
            | Self::FolderWithContent
            | Self::Name(_)
            | Self::Altered(_) => "name",
            Self::NoFolder(_)
            | Self::IsFolder
            | Self::NoFile
            | Self::LinkedFolder(_)
            | Self::Link => "clash",
            Self::Collision(_) | Self::Twin => "collision",
            Self::Conflict => "conflict",
            Self::Removed | Self::Damaged(_) => "damaged",
            Self::Io(_) => "io",
        }
    }
}

/// What keeps an object from its file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// This object only.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// All that would follow: the target takes nothing more.
    #[error("{0}")]
    TargetFull(io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
}

impl From<BlobError> for Trouble {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Damaged(damage) => Self::Refused(Refusal::Damaged(damage.problem)),
            error => Self::Refused(Refusal::Io(error.to_string())),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
                Self::TargetFull(error)
            }
            _ => Self::Refused(Refusal::Io(error.to_string())),
        }
    }
}

impl Trouble {
    /// An error of an operation that gave the target a new name, which it may not like.
    pub(super) fn naming(error: io::Error) -> Self {
        // The folder is open and what is to be named is ours, so what is "not found" (so says a
        // driver for exFAT) can only be the name.
        let is_about_the_name = matches!(
            error.kind(),
            ErrorKind::InvalidFilename | ErrorKind::InvalidInput | ErrorKind::NotFound
        ) || Errno::from_io_error(&error) == Some(Errno::ILSEQ);
        if is_about_the_name {
            return Self::Refused(Refusal::Name(error.to_string()));
        }
        error.into()
    }
}

fn other(name: Option<&EntryPath>) -> String {
    match name {
        Some(name) => format!("{name:?}, which exists"),
        None => "another one that exists".to_owned(),
    }
}
