//! Bytes that are ready to be recorded, and the width of a size in the database.

use bytes::Bytes;

use crate::model::BlobHash;

/// Fetched bytes, ready to be recorded.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Their hash.
    pub hash: BlobHash,
    /// How many bytes.
    pub size: u64,
    /// The bytes themselves if they are to be stored in the database; else they are durable in the
    /// file of the hash.
    pub inline: Option<Bytes>,
}

/// A size as a signed number; no file reaches 2^63 bytes.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
