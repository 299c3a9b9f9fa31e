//! Buckets as they are asked for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::processing::{BucketDestination, IngestFilter, SourceAdapterConfig, StorageClass};
use crate::{
    api::json::{Patch, query_parameters},
    model::{BucketSchema, UniqueKey},
};

/// What a bucket is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketCreateRequest {
    /// What to call it, unique in its namespace.
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
    /// For how many days deleted objects stay in the bucket's trash, where they can be restored; 0:
    /// they are gone at once; 30 by default. Ours.
    #[schema(minimum = 0, maximum = 3650)]
    pub trash_days: Option<u32>,
    /// Whether objects that a sync removes go to the trash, too; false by default. Ours.
    pub trash_synced: Option<bool>,
}

macro_rules! change_request {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            /// What to call it, unique in its namespace.
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
            /// For how many days objects that are deleted from now on stay in the trash; 0: they
            /// are gone at once; null: 30. Ours.
            #[serde(default)]
            #[schema(value_type = Option<u32>, minimum = 0, maximum = 3650)]
            pub trash_days: Patch<u32>,
            /// Whether objects that a sync removes go to the trash, too. Ours.
            #[serde(default)]
            #[schema(value_type = Option<bool>)]
            pub trash_synced: Patch<bool>,
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
            trash_days: body.trash_days,
            trash_synced: body.trash_synced,
        }
    }
}

/// Fields that together name an object of a bucket. An entry of a sync whose mapped fields are
/// those of another object becomes a dead letter.
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

/// Which buckets to return.
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
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub page: Option<u32>,
    /// Text in the name, the id or the description.
    pub search: Option<String>,
    /// Names or ids to return.
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
    /// The direction; `desc` by default.
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
