//! An entry that was fetched, ready to be committed.

use bytes::Bytes;

use super::{dead_letters::Failure, shape::Shape, stored::Stored};
use crate::model::{EntryId, EntryPath, ErrorType, Fingerprint, Identity};

/// An entry that was fetched.
#[derive(Clone, Debug)]
pub struct FetchedEntry {
    /// The source's name for it.
    pub id: EntryId,
    /// Its path from the root.
    pub path: EntryPath,
    /// The version that was fetched.
    pub fingerprint: Fingerprint,
    /// What a rename at the source does not change, see `sources::Source::identity`.
    pub identity: Option<Identity>,
    /// Its MIME type, if one is known.
    pub mime: Option<String>,
    /// User metadata as a JSON object, if it has any.
    pub metadata: Option<String>,
    /// Its bytes.
    pub stored: Stored,
    /// What the sync's mapping makes of it; `None` where it has none.
    pub shape: Option<Box<Shape>>,
}

impl FetchedEntry {
    /// How many bytes of it are in memory.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        let inline = |stored: &Stored| stored.inline.as_ref().map_or(0, Bytes::len);
        inline(&self.stored) + self.shape.iter().map(|shape| shape.inline_bytes()).sum::<usize>()
    }

    /// The path column of its row: NULL where it equals the id.
    pub(super) fn path_unless_id(&self) -> Option<&[u8]> {
        (self.path != self.id).then(|| self.path.as_bytes())
    }

    pub(super) fn failure(&self, error_type: ErrorType, message: String) -> Failure {
        Failure {
            id: self.id.clone(),
            path: self.path.clone(),
            version: Some(self.fingerprint.version.clone()),
            error_type,
            message,
            passes_by_itself: false,
            wait: None,
        }
    }
}
