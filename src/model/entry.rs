//! An entry: one thing that a source lists, before it is an object.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EntryPath, ErrorType};

/// What a source calls an entry, unique within the sync's root. For folders and S3 it is the path
/// from the root; for a drive it is the file's id. Opaque bytes, ordered bytewise.
pub type EntryId = EntryPath;

/// What a source calls a folder, where it knows folders by id. Unique within the sync's root, and
/// among the ids of entries, too.
pub type FolderId = EntryId;

/// Where a listing or a change feed continues, opaque to everyone but its source. Passing it back
/// resumes behind the page that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

impl Cursor {
    /// The cursor as text for people; only its source can read it.
    #[must_use]
    pub fn to_json_text(&self) -> String {
        EntryPath::new(self.0.as_slice()).to_json_text()
    }
}

/// A source's proof of identity of content, opaque and compared bytewise: equal versions of one
/// entry have equal bytes. (S3: ETag, size, LastModified. Folder: size, mtime, ctime, inode.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub Vec<u8>);

impl Version {
    /// For people: as it is where it is text, else in hexadecimal.
    #[must_use]
    pub fn to_text(&self) -> String {
        match str::from_utf8(&self.0) {
            Ok(text) if !text.contains(char::is_control) => text.to_owned(),
            _ => self.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

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
    /// The path from the sync's root, file name included. Where `parent` is set, the source gives
    /// the file name only, and the engine makes the path of it and the names of the folders.
    pub path: EntryPath,
    /// The folder that it is in, where the source knows folders by id.
    pub parent: Option<FolderId>,
    /// What the listing says about it.
    pub kind: EntryKind,
}

impl Entry {
    /// The folders that it is in. It counts in the first of them that is below a root.
    #[must_use]
    pub fn folders(&self) -> Vec<FolderId> {
        let further = match &self.kind {
            EntryKind::File(Fingerprint { details: Some(details), .. }) => &details.other_folders,
            _ => &Vec::new(),
        };
        self.parent.iter().chain(further).cloned().collect()
    }

    /// Says of an entry that is in folders that it is in these only.
    pub fn set_folders(&mut self, folders: Vec<FolderId>) {
        let mut folders = folders.into_iter();
        self.parent = folders.next();
        if let EntryKind::File(Fingerprint { details: Some(details), .. }) = &mut self.kind {
            details.other_folders = folders.collect();
        }
    }
}

/// What a listing says about an entry.
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
    /// Size in bytes; 0 where `details` say that it is unknown.
    pub size: u64,
    /// Identity of the content.
    pub version: Version,
    /// When the source says that it was last modified.
    pub modified: Option<Timestamp>,
    /// The provider's entity tag, where it has one.
    pub etag: Option<String>,
    /// The MIME type, where the listing has it.
    pub mime: Option<String>,
    /// What else the listing says about it; `None` where there is nothing else.
    pub details: Option<Box<Details>>,
}

impl Fingerprint {
    /// The size in bytes, unless it is unknown before the bytes have arrived.
    #[must_use]
    pub fn known_size(&self) -> Option<u64> {
        (self.size_kind() != SizeKind::Unknown).then_some(self.size)
    }

    /// How far the listed size can be trusted.
    #[must_use]
    pub fn size_kind(&self) -> SizeKind {
        self.details.as_ref().map_or(SizeKind::Exact, |details| details.size)
    }

    /// The properties that came with the listing.
    #[must_use]
    pub fn properties(&self) -> Option<&serde_json::Map<String, serde_json::Value>> {
        self.details.as_ref()?.properties.as_ref()
    }

    /// The bytes, where they came with the listing.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        self.details.as_ref()?.bytes.as_ref()
    }

    /// What of it is stored: without what only filters, mappings and fetches look at, which is most
    /// of what there is in memory of an entry that waits for its commit.
    #[must_use]
    pub fn to_store(&self) -> Self {
        Self {
            size: self.size,
            version: self.version.clone(),
            modified: self.modified,
            etag: self.etag.clone(),
            mime: self.mime.clone(),
            details: self.details.as_ref().map(|details| Box::new(details.to_store())),
        }
    }
}

/// What a listing says about a file besides its size, version and times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// How far the listed size can be trusted.
    pub size: SizeKind,
    /// Whether it can only be fetched whole, although the source can fetch parts of others.
    pub no_ranges: bool,
    /// What the provider says its bytes hash to. All of them are checked.
    pub hashes: Vec<ExpectedHash>,
    /// Changes with everything that the listing has and that is not content: name, times,
    /// properties. Another mark with the same version updates the object and fetches nothing.
    pub facts_mark: Option<i64>,
    /// What a mapping, a filter or a reader may want to know of it: a drive's properties, a row's
    /// columns. `None`: the source has to be asked for them.
    pub properties: Option<serde_json::Map<String, serde_json::Value>>,
    /// Its named parts that mappings can make blobs of, by their names; `None` where it has no such
    /// part.
    #[serde(default)]
    pub parts: BTreeMap<String, Option<PartAddress>>,
    /// Its bytes: nothing is fetched then. At most 4 MiB in all entries of a page.
    #[serde(skip)]
    pub bytes: Option<Bytes>,
    /// The folders that it is in besides its parent, where a source lets it be in several.
    #[serde(skip)]
    pub other_folders: Vec<FolderId>,
    /// Its folder and its own name; the engine sets it.
    #[serde(skip)]
    pub place: Option<(FolderId, Vec<u8>)>,
    /// How many further files of it are taken, each as an entry of its own; the engine sets it.
    #[serde(skip)]
    pub further: u32,
}

impl Details {
    /// What of them is stored, see [`Fingerprint::to_store`].
    #[must_use]
    pub fn to_store(&self) -> Self {
        Self {
            size: self.size,
            no_ranges: self.no_ranges,
            facts_mark: self.facts_mark,
            place: self.place.clone(),
            further: self.further,
            ..Self::default()
        }
    }

    /// Whether the index keeps anything of them besides the entry's row.
    #[must_use]
    pub fn has_stored_facts(&self) -> bool {
        self.place.is_some() || self.facts_mark.is_some() || self.further > 0
    }
}

/// Where a named part of an entry is: a smaller version of it, a poster. Only its source can read
/// it. It changes with the part's bytes, so that they are fetched once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartAddress(pub String);

/// How far a listed size can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SizeKind {
    /// It is the length of the bytes, or they are not those that were listed.
    #[default]
    Exact,
    /// The provider says so and may be wrong, in the size and in the hashes: two equal downloads
    /// that ended cleanly are believed rather than the listing.
    Claimed,
    /// It is not known before the bytes have arrived.
    Unknown,
}

/// A hash that a provider says a file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedHash {
    /// How it is computed.
    pub algorithm: HashAlgorithm,
    /// The digest.
    pub digest: Vec<u8>,
}

/// How a provider hashes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashAlgorithm {
    /// MD5: 16 bytes.
    Md5,
    /// SHA-1: 20 bytes.
    Sha1,
    /// SHA-256: 32 bytes.
    Sha256,
    /// Microsoft's QuickXorHash: 20 bytes.
    QuickXor,
}

/// A folder of a source that knows folders by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The source's own name for it.
    pub id: FolderId,
    /// The folder that it is in; `None` where it is in none that the source lists.
    pub parent: Option<FolderId>,
    /// Its own name, in bytes as the source has it. May contain slashes.
    pub name: Vec<u8>,
}

/// A link of a source that knows entries and folders by id: what it leads to belongs to its place,
/// too, wherever it is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The source's own name for it.
    pub id: EntryId,
    /// The folder that it is in.
    pub parent: FolderId,
    /// What its target is called there.
    pub name: Vec<u8>,
    /// What it leads to: an entry or a folder.
    pub target: EntryId,
}

/// Why an entry is left out whatever the filters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SkipReason {
    /// A symbolic link, and links are not followed.
    Symlink,
    /// A link that leads out of the root or back into itself.
    SymlinkEscapes,
    /// A FIFO, socket or device.
    SpecialFile,
    /// In an archive tier (GLACIER, `DEEP_ARCHIVE`) without a restored copy.
    Archived,
    /// Of a kind that has no bytes that could be fetched or exported: a form, a site, a notebook.
    NoContent,
    /// A link to a file that is elsewhere, or that is gone.
    DanglingLink,
    /// A link to a file that is elsewhere, and that is not followed.
    Shortcut,
    /// In another place, which a sync of its own would reach.
    Elsewhere,
    /// Its bytes are still arriving at the provider.
    StillArriving,
    /// Proxies are wanted, and it has none.
    NoProxy,
    /// Proxies are wanted, and it is so new that one may yet be made.
    NoProxyYet,
    /// Its path matches none of the patterns of the provider's own filters.
    OtherPath,
    /// It failed before, and its next try is not due: decided by the engine, by no source.
    FailedBefore,
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
            Self::NoContent => "of a kind that cannot be downloaded or exported",
            Self::DanglingLink => "link to a file that is gone or cannot be reached",
            Self::Shortcut => "shortcut (provider_filters.follow_shortcuts takes them)",
            Self::Elsewhere => "in another drive: make a sync of that place",
            Self::StillArriving => "still arriving, and looked at again in the next run",
            Self::NoProxy => "without a proxy, which provider_filters.files asks for",
            Self::NoProxyYet => "without a proxy yet, and looked at again in the next full pass",
            Self::OtherPath => "matches none of provider_filters.path_patterns",
            Self::FailedBefore => "failed before, and is tried again later",
        }
    }
}
