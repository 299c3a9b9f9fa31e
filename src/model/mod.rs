//! The nouns: plain values with serde shapes and no I/O.
//!
//! Everything above (`store`, `sources`, `engine`, `cli`) speaks in these types. What does *not*
//! live here: SQL, network, files, clocks.

mod counts;
mod entry;
mod filters;
mod hash;
mod ids;
mod job;
mod location;
mod path;
mod sync;

pub use counts::Counts;
pub use entry::{Cursor, Entry, EntryId, EntryKind, Fingerprint, SkipReason, Version};
pub use filters::FileFilters;
pub use hash::{BlobHash, ParseHashError};
pub use ids::{BucketId, ConnectionId, JobId, ObjectId, SyncId};
pub use job::{JobStatus, Phase, RunStatus};
pub use location::{Addressing, Connection, Location, LocationError, Provider, S3Connection};
pub use path::EntryPath;
pub use sync::{
    BucketName, BucketNameError, ErrorType, MaxDelete, MaxDeleteError, Reconcile, SyncOptions,
};
