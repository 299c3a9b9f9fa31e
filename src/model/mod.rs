//! The nouns: plain values with serde shapes and no I/O.
//!
//! Everything above (`store`, `sources`, `engine`, `cli`) speaks in these types. What does *not*
//! live here: SQL, network, files, clocks.

mod counts;
mod credentials;
mod entry;
mod filters;
mod hash;
mod ids;
mod job;
mod location;
mod path;
pub mod providers;
mod sync;
mod sync_state;

pub use counts::Counts;
pub use credentials::{Credentials, UnreadableCredentials};
pub use entry::{Cursor, Entry, EntryId, EntryKind, Fingerprint, SkipReason, Version};
pub use filters::FileFilters;
pub use hash::{BlobHash, ParseHashError};
pub use ids::{
    BlobId, BucketId, ConnectionId, DeadLetterId, JobId, NamespaceId, ObjectId, SyncId, UploadId,
};
pub use job::{Cause, JobStatus, Phase, RunStatus};
pub use location::{
    Addressing, Connection, KeySource, Location, LocationError, OtherConnection, Provider,
    S3Connection,
};
pub use path::EntryPath;
pub use sync::{
    BucketName, BucketNameError, ErrorType, MaxDelete, MaxDeleteError, Pace, Processing, Reconcile,
    SyncOptions,
};
pub use sync_state::{Pause, PausedBy, SyncMode, SyncStatus, UnknownStatus};
