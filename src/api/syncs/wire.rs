//! What is sent in about syncs: [`SyncCreateRequest`], [`SyncUpdateRequest`] and the types of their
//! fields. Both take the same settings and are read by the same code (`settings`), so that creating
//! and changing cannot drift apart. What does not live here: responses (`model`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::json::Patch,
    model::{FileFilters, SyncMode},
};

/// Every state that the public API knows; syncs have those of [`crate::model::SyncStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum TaskStatusEnum {
    Pending,
    Queued,
    InProgress,
    Processing,
    Completed,
    CompletedWithErrors,
    Failed,
    Canceled,
    Interrupted,
    Unknown,
    Skipped,
    Draft,
    Active,
    Archived,
    Suspended,
    Deactivated,
}

/// What a run may change in the bucket besides adding to it. In a PATCH, what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReconcileSettings {
    /// An entry that is gone from the source removes its object; true unless said otherwise.
    pub on_delete: Option<bool>,
    /// Changed content or metadata updates the object; true unless said otherwise.
    pub on_update: Option<bool>,
    /// An entry that no longer passes the filters removes its object; true unless said otherwise.
    pub on_filter_drift: Option<bool>,
    /// Objects that were updated are batched again; true unless said otherwise.
    pub re_extract_on_update: Option<bool>,
    /// With `re_extract_on_update`: only where one of these fields changed; empty or null: any.
    pub re_extract_fields: Option<Vec<String>>,
}

/// Which objects are worth processing: a saved retriever that they are checked against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IngestFilter {
    /// The retriever.
    #[schema(min_length = 1)]
    pub retriever_id: String,
    /// Its version; null: the current one.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    pub retriever_version: Option<u32>,
    /// What becomes of an object that it returns something for; `keep` unless said otherwise.
    pub action: Option<IngestFilterAction>,
    /// What becomes of an object when it fails; `keep` unless said otherwise.
    pub on_error: Option<IngestFilterOnError>,
    /// How long it may take, in seconds.
    #[schema(minimum = 1, maximum = 300)]
    pub timeout_seconds: Option<u32>,
}

/// What becomes of an object that the filter returns something for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IngestFilterAction {
    /// Only these are kept.
    Keep,
    /// These are dropped.
    Drop,
    /// All are kept, with the verdict.
    Tag,
}

/// What becomes of an object when the filter fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum IngestFilterOnError {
    /// It is kept.
    Keep,
    /// It is dropped.
    Drop,
}

/// How many objects a run may remove before it stops and asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum MaxDeleteSetting {
    /// So many.
    Count(u64),
    /// So many, or such a share of the sync's objects: `25`, `12.5%`.
    Text(String),
}

/// How entries become fields and blobs: `{target: {target_type, source: {type, …}, …}}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SchemaMappingInput {
    /// Targets in the bucket, each with where it comes from. A field has `source`, `transform`
    /// (lowercase, uppercase, trim, json_parse) and `required`; a blob has `source`, `blob_type`,
    /// `blob_property` and `mime_type_override`. Sources: file, tag, metadata, column,
    /// drive_property, filename_regex, folder_path, constant.
    #[schema(value_type = std::collections::BTreeMap<String, Object>)]
    pub mappings: Map<String, Value>,
}

/// One list of settings for both requests.
macro_rules! requests {
    ($($(#[$meta:meta])* $name:ident: $type:ty,)*) => {
        /// A sync to be made. What is left out, or null, has its default.
        #[derive(Clone, Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct SyncCreateRequest {
            /// The connection to read through, by id or name; `conn_local` is this computer.
            pub connection_id: String,
            /// Where to read: `bucket` or `bucket/prefix` (s3, tigris), an absolute folder (local).
            /// The source is asked whether it is there.
            #[serde(default)]
            pub source_path: Option<String>,
            /// Entries last modified before this are not taken.
            #[serde(default)]
            #[schema(value_type = Option<String>, format = DateTime)]
            pub sync_from: Option<Timestamp>,
            $($(#[$meta])* #[serde(default)] pub $name: Patch<$type>,)*
        }

        /// Changes to a sync: what is left out stays as it is, null gives back the default.
        #[derive(Clone, Debug, Default, Deserialize, ToSchema)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct SyncUpdateRequest {
            /// The connection that it has already: it cannot be exchanged.
            pub connection_id: Option<String>,
            /// The place that it reads already: another place is another sync.
            pub source_path: Option<String>,
            $($(#[$meta])* pub $name: Patch<$type>,)*
        }

        /// What a run would do: of a sync that there is (`sync_config_id`), with changes or as it
        /// is, or of one that is not made yet (`connection_id` and `source_path`).
        #[derive(Clone, Debug, Default, Deserialize, ToSchema)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct SyncPreviewRequest {
            /// The sync that it is about; without it, a new one.
            pub sync_config_id: Option<String>,
            /// For a new one: the connection to read through, by id or name.
            pub connection_id: Option<String>,
            /// For a new one: where to read.
            pub source_path: Option<String>,
            /// For a new one: entries last modified before this are not taken.
            #[schema(value_type = Option<String>, format = DateTime)]
            pub sync_from: Option<Timestamp>,
            /// As if every entry were fetched again.
            pub full_sync: Option<bool>,
            /// How many entries to show of each kind; 20 unless said otherwise.
            #[schema(minimum = 0, maximum = 1000)]
            pub sample_size: Option<u32>,
            /// How many entries to look at; 100000 unless said otherwise.
            #[schema(minimum = 1, maximum = 10000000)]
            pub max_entries: Option<u64>,
            /// How long to look, in seconds; 20 unless said otherwise.
            #[schema(minimum = 1, maximum = 300)]
            pub timeout_seconds: Option<u32>,
            $($(#[$meta])* pub $name: Patch<$type>,)*
        }

        impl SyncPreviewRequest {
            /// The settings, as changes.
            #[must_use]
            pub(super) fn settings(&self) -> SyncUpdateRequest {
                SyncUpdateRequest {
                    connection_id: None,
                    source_path: None,
                    $($name: self.$name.clone(),)*
                }
            }
        }

        impl SyncCreateRequest {
            /// The settings, as if they were changes to the defaults.
            #[must_use]
            pub(super) fn settings(&self) -> SyncUpdateRequest {
                SyncUpdateRequest {
                    connection_id: None,
                    source_path: None,
                    $($name: self.$name.clone(),)*
                }
            }
        }
    };
}

requests! {
    /// Words for people.
    #[schema(value_type = Option<String>, max_length = 500)]
    description: String,
    /// Metadata stored with it; at most 50 keys.
    #[schema(value_type = Option<Object>)]
    metadata: Map<String, Value>,
    /// SUSPENDED pauses it, ACTIVE resumes it.
    #[schema(value_type = Option<TaskStatusEnum>)]
    status: TaskStatusEnum,
    /// false: neither scheduled nor triggered.
    #[schema(value_type = Option<bool>)]
    is_active: bool,
    /// `continuous`: again and again; `initial_only`: until its first complete pass.
    #[schema(value_type = Option<SyncMode>)]
    sync_mode: SyncMode,
    /// Seconds from the end of a run to the next; 300 unless said otherwise.
    #[schema(value_type = Option<u32>, minimum = 30, maximum = 900)]
    polling_interval_seconds: u32,
    /// Entries in one unit of work; 50 unless said otherwise.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    batch_size: u32,
    /// Entries that are fetched at once; null: what suits the source.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    sync_concurrency: u32,
    /// Entries after which a run ends its slice; 100000 unless said otherwise.
    #[schema(value_type = Option<u64>, minimum = 1)]
    max_objects_per_run: u64,
    /// Whether a run continues where an interrupted one stopped; true unless said otherwise.
    #[schema(value_type = Option<bool>)]
    resume_enabled: bool,
    /// Objects between two checkpoints at most; 1000 unless said otherwise.
    #[schema(value_type = Option<u32>, minimum = 100, maximum = 10000)]
    resume_checkpoint_frequency: u32,
    /// Objects in a processing batch; 100 unless said otherwise.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    batch_chunk_size: u32,
    /// The most that a batch may have; 1000 unless said otherwise.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    max_batch_chunk_size: u32,
    /// Objects are made, but not batched.
    #[schema(value_type = Option<bool>)]
    skip_batch_submission: bool,
    /// The collections that batches are for, by id or name; null or none: all of the bucket.
    #[schema(value_type = Option<Vec<String>>)]
    batch_collection_ids: Vec<String>,
    /// Which objects are worth processing; null: all.
    #[schema(value_type = Option<IngestFilter>)]
    ingest_filter: IngestFilter,
    /// false: bytes wait as uploads until they are confirmed for an object.
    #[schema(value_type = Option<bool>)]
    create_object_on_confirm: bool,
    /// An entry whose bytes the bucket has makes no second object; true unless said otherwise.
    #[schema(value_type = Option<bool>)]
    skip_duplicates: bool,
    /// Which entries are synced; replaces the filter as a whole.
    #[schema(value_type = Option<FileFilters>)]
    file_filters: FileFilters,
    /// Filters that the provider itself applies (s3, tigris: `prefix`, a text that keys begin with,
    /// or a list of such texts, each listed by itself); replaces the filter as a whole.
    #[schema(value_type = Option<Object>)]
    provider_filters: Map<String, Value>,
    /// How entries become fields and blobs; replaces the mapping as a whole; null: the file is the
    /// blob `content`.
    #[schema(value_type = Option<SchemaMappingInput>)]
    schema_mapping: Value,
    /// What a run may change in the bucket besides adding to it.
    #[schema(value_type = Option<ReconcileSettings>)]
    reconcile: ReconcileSettings,
    /// How many objects a run may remove before it stops and asks; null: half of them.
    #[schema(value_type = Option<MaxDeleteSetting>)]
    max_delete: MaxDeleteSetting,
    /// Take the files that symbolic links lead to (local).
    #[schema(value_type = Option<bool>)]
    follow_symlinks: bool,
    /// With `follow_symlinks`: also those that lead out of the folder (local).
    #[schema(value_type = Option<bool>)]
    symlinks_may_leave_root: bool,
}

/// Which syncs are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListSyncConfigurationsRequest {
    /// Only those on this connection, by id or name.
    pub connection_id: Option<String>,
    /// Only those in this state; deleted ones (ARCHIVED) are listed only so.
    pub status: Option<TaskStatusEnum>,
    /// Only those that are active, or only those that are not.
    pub is_active: Option<bool>,
}

/// Why a sync is paused.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PauseRequest {
    /// Recorded with the pause.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
    /// Let a run that is under way come to its end.
    pub drain: Option<bool>,
}
