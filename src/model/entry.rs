//! An entry: one thing that a source lists, before it is an object.

use jiff::Timestamp;

use super::{EntryPath, ErrorType};

/// What a source calls an entry, unique within the sync's root. For folders and S3 it is the path
/// from the root; for a drive it is the file's id. Opaque bytes, ordered bytewise.
pub type EntryId = EntryPath;

/// A place mark in a source's listing, opaque to everyone but that source. Passing it back resumes
/// behind the entries that came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// A source's proof of identity of content, opaque and compared bytewise: equal versions of one
/// entry have equal bytes. (S3: ETag, size, LastModified. Folder: size, mtime, ctime, inode.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub Vec<u8>);

/// A hash of what a source knows of a file besides its name and what a rename changes: two files
/// with equal identities have equal bytes. (Folder: inode, size, mtime. S3: the MD5, the size.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity(pub i64);

impl Identity {
    /// Of these facts, each of which counts.
    #[must_use]
    pub fn of(facts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for fact in facts {
            hasher.update(&(fact.len() as u64).to_le_bytes());
            hasher.update(fact);
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(i64::from_le_bytes(bytes))
    }
}

/// One thing that a source lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The source's own name for it.
    pub id: EntryId,
    /// The path from the sync's root, file name included.
    pub path: EntryPath,
    /// What the listing tells about it.
    pub kind: EntryKind,
}

/// What a listing tells about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Bytes that can be fetched.
    File(Fingerprint),
    /// Something that is seen and left out.
    Skipped(SkipReason),
    /// Something that is there but could not even be looked at, and why.
    Unreadable {
        /// The kind of failure.
        error_type: ErrorType,
        /// What happened, for a person.
        message: String,
    },
}

/// The cheap facts of a file, known without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Size in bytes.
    pub size: u64,
    /// Identity of the content.
    pub version: Version,
    /// When the source says that it was last modified.
    pub modified: Option<Timestamp>,
    /// The provider's entity tag, where it has one.
    pub etag: Option<String>,
    /// The MIME type, where the listing tells it.
    pub mime: Option<String>,
}

/// Why an entry is left out whatever the filters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// A symbolic link, and links are not followed.
    Symlink,
    /// A link that leads out of the root or back into itself.
    SymlinkEscapes,
    /// A FIFO, socket or device.
    SpecialFile,
    /// In an archive tier (GLACIER, `DEEP_ARCHIVE`) without a restored copy.
    Archived,
}

impl SkipReason {
    /// The reason in words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Symlink => "symbolic link (--follow-symlinks takes them)",
            Self::SymlinkEscapes => "symbolic link that leads out of the folder, or nowhere",
            Self::SpecialFile => "not a regular file (FIFO, socket or device)",
            Self::Archived => {
                "in an archive storage class (GLACIER, DEEP_ARCHIVE), restore it first"
            }
        }
    }
}
