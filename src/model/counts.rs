//! What a run did, counted.

use serde::{Deserialize, Serialize};

/// The counts of a run. Each entry that the source listed lands in exactly one of the first six, so
/// `discovered` is their sum; `removed` stands apart, being objects, not listed entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries that became new objects.
    pub synced: u64,
    /// Entries whose object was changed.
    pub updated: u64,
    /// Entries that equal what the bucket has.
    pub unchanged: u64,
    /// Entries whose bytes another object of the bucket already holds (`skip_duplicates`).
    pub duplicates: u64,
    /// Entries that the filters, or their kind, leave out.
    pub filtered: u64,
    /// Entries that could not be taken; each has a dead letter.
    pub failed: u64,
    /// Objects removed because their entries are gone or no longer pass.
    pub removed: u64,
    /// Bytes read from the source into the bucket.
    pub bytes: u64,
}

impl Counts {
    /// Every entry that the source listed.
    #[must_use]
    pub const fn discovered(&self) -> u64 {
        self.synced + self.updated + self.unchanged + self.duplicates + self.filtered + self.failed
    }

    /// Adds `other`, field by field.
    pub fn add(&mut self, other: &Self) {
        self.synced += other.synced;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.duplicates += other.duplicates;
        self.filtered += other.filtered;
        self.failed += other.failed;
        self.removed += other.removed;
        self.bytes += other.bytes;
    }
}
