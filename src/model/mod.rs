//! The nouns: plain values with serde shapes and no I/O.
//!
//! Everything above (`store`, `sources`, `engine`, `cli`) speaks in these types. What does *not*
//! live here: SQL, network, files, clocks.

mod batch;
mod bucket_settings;
mod collection;
mod connection;
mod counts;
mod credentials;
mod dead_letter;
mod entry;
mod filters;
mod hash;
mod ids;
mod job;
mod mapping;
mod notice;
mod own_names;
mod path;
mod problem;
mod query;
mod quick_xor;
mod schema;
mod shard;
mod sync;
mod sync_state;
mod upload;
mod webhook;

pub use batch::{BatchStatus, Dedup, TaskKind};
pub use bucket_settings::{BucketSettings, PartProblem, UniqueKey, UniqueValue};
pub use collection::{
    CollectionSettings, Disabled, ExtractorSettings, InputFrom, InputSlot, Passthrough, Schedule,
    SchemaValidation, SourceSettings,
};
pub use connection::{Connection, Location, ProviderName};
pub use counts::Counts;
pub use credentials::{
    AllKept, Credentials, Draft, Envelope, IsSame, Keeper, KeeperError, RENEWAL_LEASE_SECS, Trial,
    UnreadableCredentials,
};
pub use dead_letter::{Life, MAX_RETRIES, Patience};
pub use entry::{
    Cursor, Details, Entry, EntryId, EntryKind, ExpectedHash, Fingerprint, Folder, FolderId,
    HashAlgorithm, Identity, Link, PartAddress, SizeKind, SkipReason, Version,
};
pub use filters::{FileFilters, MetadataFilter, Operator};
pub use hash::{BlobHash, ParseHashError};
pub use ids::{
    ArchiveId, BatchId, BlobId, BucketId, CollectionId, ConnectionId, DeadLetterId, DocumentId,
    JobId, NamespaceId, ObjectId, SyncId, TaskId, UploadId,
};
pub use job::{Cause, JobStatus, Phase, RunStatus, Sweep};
pub(crate) use mapping::filename_regex;
pub use mapping::{
    BlobMapping, BlobType, CONTENT, FieldMapping, MappingEntry, MappingSource, SchemaMapping,
    Transform,
};
pub use notice::{NOTHING_THERE_YET, Notice};
pub use own_names::reserved;
pub use path::EntryPath;
pub use problem::FieldProblem;
pub use query::{Condition, FieldPath, Filter, Literal, Relation, Sort, Test};
pub use quick_xor::QuickXor;
pub use schema::{BucketSchema, FieldType, Mismatch, SchemaField};
pub(crate) use schema::{instant_in, number_in};
pub use shard::Shard;
pub use sync::{
    BucketName, BucketNameError, ErrorType, MaxDelete, MaxDeleteError, Pace, Processing, Reconcile,
    SyncOptions,
};
pub use sync_state::{Pause, PausedBy, SyncMode, SyncStatus, UnknownStatus};
pub use upload::{UploadSettings, UploadStatus};
pub use webhook::{Channel, ChannelKind, ChannelSecrets, EVENT_TYPES};
