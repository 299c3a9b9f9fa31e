//! What all files that are written to one target need to know of it.

use std::sync::atomic::AtomicBool;

use super::filesystem::FilesystemTraits;

/// What all work on a target shares.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) traits: FilesystemTraits,
    /// Whether sharing blocks with the stored bytes is worth another try.
    pub(super) can_clone: AtomicBool,
}
