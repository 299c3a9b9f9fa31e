//! Buckets on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    api::{
        json::{Patch, query_parameters},
        page::PaginationResponse,
    },
    model::{BucketSchema, UniqueKey},
    store::buckets::{Bucket, Extremes},
};

/// What a bucket is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketCreateRequest {
    /// What to call it, unique in its namespace.
    #[schema(min_length = 1, max_length = 255)]
    pub bucket_name: String,
    /// A person's words about it.
    pub description: Option<String>,
    /// The fields of its objects.
    pub bucket_schema: BucketSchema,
    /// The fields that no two objects share.
    pub unique_key: Option<UniqueKeyConfig>,
    /// Yours.
    pub metadata: Option<Map<String, Value>>,
    /// Kept.
    pub storage_class: Option<StorageClass>,
    /// Kept: outputs of processing stay here.
    pub destination: Option<BucketDestination>,
    /// Kept: every object is taken.
    pub ingest_filter: Option<IngestFilter>,
    /// Kept: objects come from syncs, uploads and requests.
    pub source_adapter: Option<SourceAdapterConfig>,
}

macro_rules! change_request {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            /// What to call it, unique in its namespace.
            #[schema(min_length = 1, max_length = 255)]
            pub bucket_name: Option<String>,
            /// A person's words about it.
            #[serde(default)]
            #[schema(value_type = Option<String>)]
            pub description: Patch<String>,
            /// The fields of its objects.
            #[serde(default)]
            #[schema(value_type = Option<BucketSchema>)]
            pub bucket_schema: Patch<BucketSchema>,
            /// The fields that no two objects share; only of an empty bucket.
            #[serde(default)]
            #[schema(value_type = Option<UniqueKeyConfig>)]
            pub unique_key: Patch<UniqueKeyConfig>,
            /// Yours.
            #[serde(default)]
            #[schema(value_type = Option<Map<String, Value>>)]
            pub metadata: Patch<Map<String, Value>>,
            /// Kept.
            #[serde(default)]
            #[schema(value_type = Option<StorageClass>)]
            pub storage_class: Patch<StorageClass>,
            /// Kept.
            #[serde(default)]
            #[schema(value_type = Option<BucketDestination>)]
            pub destination: Patch<BucketDestination>,
            /// Kept.
            #[serde(default)]
            #[schema(value_type = Option<IngestFilter>)]
            pub ingest_filter: Patch<IngestFilter>,
            /// Kept.
            #[serde(default)]
            #[schema(value_type = Option<SourceAdapterConfig>)]
            pub source_adapter: Patch<SourceAdapterConfig>,
        }
    };
}

change_request!(
    /// What to change of a bucket; what is absent stays, null clears.
    BucketPatchRequest
);
change_request!(
    /// What to change of a bucket; what is absent stays, null clears.
    BucketUpdateRequest
);

impl From<BucketUpdateRequest> for BucketPatchRequest {
    fn from(body: BucketUpdateRequest) -> Self {
        Self {
            bucket_name: body.bucket_name,
            description: body.description,
            bucket_schema: body.bucket_schema,
            unique_key: body.unique_key,
            metadata: body.metadata,
            storage_class: body.storage_class,
            destination: body.destination,
            ingest_filter: body.ingest_filter,
            source_adapter: body.source_adapter,
        }
    }
}

/// Fields that together name an object of a bucket. An entry of a sync whose mapped fields are those
/// of another object becomes a dead letter.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UniqueKeyConfig {
    /// The fields; scalar ones of the bucket's schema.
    #[schema(min_items = 1)]
    pub fields: Vec<String>,
    /// What to do about an object whose key is taken, when a request does not say.
    pub default_policy: Option<InsertionPolicy>,
}

/// What to do about an object whose unique key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum InsertionPolicy {
    /// Only make new ones: 409.
    Insert,
    /// Only change those that are there: else 404.
    Update,
    /// Either.
    Upsert,
}

impl From<UniqueKeyConfig> for UniqueKey {
    fn from(config: UniqueKeyConfig) -> Self {
        let policy = config.default_policy.map(|policy| match policy {
            InsertionPolicy::Insert => "insert",
            InsertionPolicy::Update => "update",
            InsertionPolicy::Upsert => "upsert",
        });
        let mut fields = config.fields;
        fields.sort();
        fields.dedup();
        Self { fields, default_policy: policy.map(str::to_owned) }
    }
}

/// How soon objects are wanted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StorageClass {
    /// At once.
    Standard,
    /// Monthly.
    Nearline,
    /// Quarterly.
    Coldline,
    /// Hardly ever.
    Archive,
}

/// Where outputs of processing go.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketDestination {
    /// A connection that may be written to.
    pub connection_id: String,
    /// A folder there.
    pub prefix: Option<String>,
}

/// Which objects are worth keeping.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IngestFilter {
    /// The retriever that judges them.
    #[schema(min_length = 1)]
    pub retriever_id: String,
    /// Its version.
    #[schema(minimum = 1)]
    pub retriever_version: Option<u32>,
    /// What is done about those that it finds.
    pub action: Option<IngestFilterAction>,
    /// What is done about those that it cannot judge.
    pub on_error: Option<IngestFilterOnError>,
    /// How long it may take.
    #[schema(minimum = 1, maximum = 300)]
    pub timeout_seconds: Option<u32>,
}

/// What is done about objects that a filter finds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum IngestFilterAction {
    /// Only they are kept.
    Keep,
    /// They are left out.
    Drop,
    /// They are marked.
    Tag,
}

/// What is done about objects that a filter cannot judge.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum IngestFilterOnError {
    /// They are kept.
    Keep,
    /// They are left out.
    Drop,
}

/// Where objects come from besides syncs.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceAdapterConfig {
    /// Which kind.
    pub adapter_type: String,
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// A connection.
    pub connection_id: Option<String>,
    /// A place without a connection of its own.
    pub connection: Option<ExternalConnection>,
    /// Which events count.
    pub event_filter: Option<EventFilter>,
    /// Which field becomes which.
    pub field_mapping: Option<BTreeMap<String, String>>,
    /// Which field is the file.
    pub blob_source: Option<BlobSource>,
    /// How much at once.
    pub batching: Option<BatchingConfig>,
    /// Which field tells equals.
    pub dedup_key: Option<String>,
    /// Refused: secrets belong in a connection.
    #[schema(format = "password")]
    pub webhook_secret: Option<String>,
    /// Where events are sent.
    pub webhook_url: Option<String>,
    /// A collection to take from.
    pub source_collection_id: Option<String>,
    /// Which of its documents.
    pub source_filters: Option<Map<String, Value>>,
    /// Buckets to take from.
    pub source_bucket_ids: Option<Vec<String>>,
}

/// A place without a connection of its own.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalConnection {
    /// Its address.
    pub api_base_url: Option<String>,
    /// Refused: secrets belong in a connection.
    #[schema(format = "password")]
    pub credentials: Option<Map<String, Value>>,
}

/// Which events count.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventFilter {
    /// Their types.
    pub event_types: Option<Vec<String>>,
}

/// Which field of an event is the file.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BlobSource {
    /// The field.
    pub file_field: String,
    /// Which kind of blob.
    pub blob_type: Option<String>,
    /// The property that it becomes.
    pub target_property: String,
}

/// How many events at once.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchingConfig {
    /// By what.
    pub mode: Option<String>,
    /// Seconds to wait for more.
    #[schema(minimum = 5, maximum = 300)]
    pub window_seconds: Option<u32>,
    /// The most.
    #[schema(minimum = 1, maximum = 1000)]
    pub max_batch_size: Option<u32>,
    /// Whether they are processed at once.
    pub auto_submit: Option<bool>,
}

/// Which buckets are wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListBucketsRequest {
    /// Rows of a page.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The same as `limit`.
    #[schema(minimum = 1, maximum = 1000)]
    pub page_size: Option<u32>,
    /// Rows to leave out first.
    #[schema(minimum = 0, maximum = 10000)]
    pub offset: Option<u32>,
    /// Which page, from 1.
    #[schema(minimum = 1)]
    pub page: Option<u32>,
    /// Text in the name, the id or the description.
    pub search: Option<String>,
    /// Names or ids that are wanted.
    pub filters: Option<BucketFilters>,
    /// In which order.
    pub sort: Option<BucketSort>,
    /// The same as `sort`, which it goes before, in a list.
    #[schema(max_items = 1)]
    pub sorts: Option<Vec<BucketSort>>,
    /// Whether upper and lower case differ in `search`.
    pub case_sensitive: Option<bool>,
}

/// Which buckets.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BucketFilters {
    /// The one of that id.
    pub bucket_id: Option<String>,
    /// The one of that name.
    pub bucket_name: Option<String>,
}

/// In which order buckets come.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketSort {
    /// By what.
    pub field: BucketSortField,
    /// Which end first; `desc` if nobody says.
    pub direction: Option<SortDirection>,
}

/// What buckets are ordered by.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BucketSortField {
    /// When they were made.
    CreatedAt,
    /// When they were changed.
    UpdatedAt,
    /// What they are called.
    BucketName,
    /// How many objects they have.
    ObjectCount,
    /// How many bytes.
    TotalSizeBytes,
}

/// Which end of an order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum SortDirection {
    /// The least.
    Asc,
    /// The greatest.
    Desc,
}

/// The query of `GET /v1/buckets`, besides paging.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BucketSearch {
    /// Text in the name, the id or the description.
    pub search: Option<String>,
}
query_parameters!(BucketSearch);

/// The query of a change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChangeQuery {
    /// Change the schema even if objects that are there do not fit it.
    pub force_schema_break: Option<bool>,
}
query_parameters!(ChangeQuery);

/// The query of a deletion.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeleteQuery {
    /// Stop the syncs that are active.
    pub force_foreclose: Option<bool>,
    /// The same as `force_foreclose`.
    pub force: Option<bool>,
}
query_parameters!(DeleteQuery);

/// A bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketResponse {
    /// Its id.
    pub bucket_id: String,
    /// Its name.
    pub bucket_name: String,
    /// A person's words about it.
    pub description: Option<String>,
    /// The fields of its objects; null: any.
    pub bucket_schema: Option<BucketSchema>,
    /// The fields that no two objects share.
    #[schema(value_type = Option<Object>)]
    pub unique_key: Option<UniqueKey>,
    /// Yours.
    pub metadata: Option<Map<String, Value>>,
    /// Kept.
    pub storage_class: Option<String>,
    /// Kept.
    #[schema(value_type = Option<Object>)]
    pub destination: Option<Value>,
    /// Kept.
    #[schema(value_type = Option<Object>)]
    pub ingest_filter: Option<Value>,
    /// How many objects it has, exactly.
    pub object_count: u64,
    /// Objects whose processing failed for good.
    pub failed_object_count: u64,
    /// The sum of their sizes, exactly; shared bytes count each time.
    pub total_size_bytes: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its settings were changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When its newest object was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_upload_at: Option<Timestamp>,
    /// When these numbers were looked up: now.
    #[schema(value_type = String, format = DateTime)]
    pub stats_updated_at: Timestamp,
    /// `ACTIVE`, or `IN_PROGRESS` while it goes.
    pub status: &'static str,
    /// Whether nothing can be put into it: while it goes.
    pub is_locked: bool,
    /// Its processing batches.
    pub batch_stats: BatchStatistics,
    /// The sizes of its objects.
    pub storage_stats: StorageStatistics,
    /// Kept.
    #[schema(value_type = Option<Object>)]
    pub source_adapter: Option<Value>,
}

/// Processing batches of a bucket.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct BatchStatistics {
    /// All.
    pub total: u64,
    /// Under way.
    pub active: u64,
    /// Done.
    pub completed: u64,
    /// Failed.
    pub failed: u64,
}

/// Sizes of the objects of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StorageStatistics {
    /// Together.
    pub total_size_bytes: u64,
    /// On average, rounded down; null of none.
    pub avg_size_bytes: Option<u64>,
    /// The largest.
    pub max_size_bytes: Option<u64>,
    /// The smallest.
    pub min_size_bytes: Option<u64>,
}

impl BucketResponse {
    /// A bucket as it stands at `now`.
    pub(super) fn of(bucket: Bucket, extremes: Extremes, now: Timestamp) -> Self {
        let settings = bucket.settings;
        Self {
            bucket_id: bucket.id.to_string(),
            bucket_name: bucket.name,
            description: settings.description,
            bucket_schema: settings.bucket_schema,
            unique_key: settings.unique_key,
            metadata: settings.metadata,
            storage_class: settings.storage_class,
            destination: settings.destination,
            ingest_filter: settings.ingest_filter,
            object_count: bucket.object_count,
            failed_object_count: 0,
            total_size_bytes: bucket.object_bytes,
            created_at: bucket.created_at,
            updated_at: bucket.updated_at,
            last_upload_at: extremes.newest,
            stats_updated_at: now,
            status: if bucket.is_going { "IN_PROGRESS" } else { "ACTIVE" },
            is_locked: bucket.is_going,
            batch_stats: BatchStatistics::default(),
            storage_stats: StorageStatistics {
                total_size_bytes: bucket.object_bytes,
                avg_size_bytes: bucket.object_bytes.checked_div(bucket.object_count),
                max_size_bytes: extremes.largest,
                min_size_bytes: extremes.smallest,
            },
            source_adapter: settings.source_adapter,
        }
    }
}

/// A page of buckets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListBucketsResponse {
    /// They.
    pub results: Vec<BucketResponse>,
    /// How many there are on all pages.
    pub total_count: u64,
    /// Where this page stands.
    pub pagination: PaginationResponse,
    /// What they come to, on all pages.
    pub stats: BucketListStats,
    /// Nothing was left out.
    #[schema(value_type = Option<Vec<Object>>)]
    pub warnings: Option<Vec<Value>>,
}

/// What several buckets come to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BucketListStats {
    /// Objects.
    pub total_objects: u64,
    /// Bytes.
    pub total_size_bytes: u64,
    /// Objects of a bucket on average.
    pub avg_objects_per_bucket: f64,
    /// Bytes of a bucket on average.
    pub avg_size_per_bucket: f64,
}

/// What became of a deletion.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedBucket {
    /// Names the deletion.
    pub task_id: String,
    /// `COMPLETED`, or `IN_PROGRESS` while what is in it goes; then the bucket is 404.
    pub status: &'static str,
    /// The bucket.
    pub bucket_id: String,
    /// What it was called; the name is free.
    pub bucket_name: String,
    /// How many objects it had.
    pub object_count: u64,
}

/// A value as the settings keep it.
pub(super) fn kept<T: Serialize>(value: T) -> Value {
    json!(value)
}
