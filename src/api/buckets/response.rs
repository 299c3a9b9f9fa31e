//! Buckets on the wire: responses.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{
    api::page::PaginationResponse,
    model::{BucketSchema, UniqueKey},
    store::buckets::{Bucket, Extremes},
};

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
    /// For how many days deleted objects stay in its trash; 0: it has none.
    pub trash_days: u32,
    /// Whether objects that a sync removes go to the trash, too.
    pub trash_synced: bool,
    /// Objects in the trash; they are in no other count.
    pub trash_count: u64,
    /// The sum of their sizes.
    pub trash_bytes: u64,
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

impl BatchStatistics {
    fn of(batches: &[(String, u64)]) -> Self {
        let count = |statuses: &[&str]| {
            let counted = batches.iter().filter(|(status, _)| statuses.contains(&status.as_str()));
            counted.map(|(_, count)| count).sum()
        };
        Self {
            total: batches.iter().map(|(_, count)| count).sum(),
            active: count(&["PENDING", "IN_PROGRESS"]),
            completed: count(&["COMPLETED", "COMPLETED_WITH_ERRORS"]),
            failed: count(&["FAILED"]),
        }
    }
}

impl BucketResponse {
    /// A bucket at `now`.
    pub(super) fn of(
        bucket: Bucket,
        extremes: Extremes,
        batches: &[(String, u64)],
        now: Timestamp,
    ) -> Self {
        let settings = bucket.settings;
        let trash_days = settings.trash_days();
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
            status: if bucket.is_deleting { "IN_PROGRESS" } else { "ACTIVE" },
            is_locked: bucket.is_deleting,
            batch_stats: BatchStatistics::of(batches),
            storage_stats: StorageStatistics {
                total_size_bytes: bucket.object_bytes,
                avg_size_bytes: bucket.object_bytes.checked_div(bucket.object_count),
                max_size_bytes: extremes.largest,
                min_size_bytes: extremes.smallest,
            },
            source_adapter: settings.source_adapter,
            trash_days,
            trash_synced: settings.trash_synced,
            trash_count: bucket.trash_count,
            trash_bytes: bucket.trash_bytes,
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
    /// Where this page is among the others.
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
