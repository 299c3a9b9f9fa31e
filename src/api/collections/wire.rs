//! Collections on the wire: what is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{
        filters::SortOption,
        json::{Patch, query_parameters},
    },
    model::{Dedup, SchemaValidation},
};

/// A collection to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateCollectionRequest {
    /// Unique in its namespace.
    #[schema(min_length = 3, max_length = 100)]
    pub collection_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it takes from.
    pub source: SourceConfig,
    /// Stored and returned unchanged.
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Value>,
    /// Through what objects go.
    pub feature_extractor: Option<FeatureExtractorConfig>,
    /// The same by one word: an extractor's name, or `custom:` and that.
    #[schema(max_items = 1)]
    pub features: Option<Vec<String>>,
    /// Whether it takes anything; true unless said otherwise.
    pub enabled: Option<bool>,
    /// Whatever its maker wants to keep with it.
    pub metadata: Option<Map<String, Value>>,
    /// When it is triggered by itself.
    pub schedule: Option<CollectionScheduleConfig>,
    /// JSON Schema of documents that people write.
    #[schema(value_type = Option<Object>)]
    pub document_schema: Option<Value>,
    /// What is done about documents that do not fit: `off`, `warn`, `strict`.
    #[schema(value_type = Option<String>)]
    pub schema_validation: Option<SchemaValidation>,
    /// None here.
    pub taxonomy_applications: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub cluster_applications: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub alert_applications: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub retriever_enrichments: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub retriever_transform: Option<Map<String, Value>>,
    /// None here.
    pub embedding_task: Option<String>,
}

/// What a collection takes from.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceConfig {
    /// Buckets or collections.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// Buckets, by id or name.
    pub bucket_ids: Option<Vec<String>>,
    /// The same for one.
    pub bucket_id: Option<String>,
    /// The namespace of the buckets, if it is another.
    pub source_namespace_id: Option<String>,
    /// A collection, by id or name.
    pub collection_id: Option<String>,
    /// Several.
    pub collection_ids: Option<Vec<String>>,
    /// Worked out here; what is sent is not used.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub inherited_bucket_ids: Option<Vec<String>>,
    /// Only what passes this: `{"filters": {…}}`, or the filters themselves.
    pub source_filters: Option<Map<String, Value>>,
    /// Which fields of each source are taken over.
    pub field_map: Option<BTreeMap<String, Vec<FieldPassthrough>>>,
}

/// What kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceType {
    /// Objects.
    Bucket,
    /// Documents.
    Collection,
}

/// Through what objects go.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureExtractorConfig {
    /// The extractor.
    pub feature_extractor_name: String,
    /// Its version.
    pub version: String,
    /// Stored and returned unchanged.
    pub params: Option<Map<String, Value>>,
    /// Its parameters, by its own schema.
    pub parameters: Option<Map<String, Value>>,
    /// What it is given: `{input: field}`, or a list of `{input_key, source_type, path, override}`.
    #[schema(value_type = Option<Value>)]
    pub input_mappings: Option<Value>,
    /// Fields that documents take over.
    pub field_passthrough: Option<Vec<FieldPassthrough>>,
    /// Whether they take over all.
    pub include_all_source_fields: Option<bool>,
    /// Name and version together; made here.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub feature_extractor_id: Option<String>,
}

/// A field that documents take over.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FieldPassthrough {
    /// Where it is; dots lead into it.
    #[schema(min_length = 1)]
    pub source_path: String,
    /// What it is called in documents; the last part of its path if nobody says.
    pub target_path: Option<String>,
    /// What stands for it where there is none.
    #[schema(value_type = Option<Value>)]
    pub default: Option<Value>,
    /// Whether a document cannot be without it.
    pub required: Option<bool>,
}

/// When a collection is triggered by itself.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionScheduleConfig {
    /// `interval`; there is no cron here.
    pub trigger_type: String,
    /// `interval_seconds` (60 at least) and `start_immediately`.
    pub schedule_config: Map<String, Value>,
    /// What it is for.
    pub description: Option<String>,
}

/// What is changed of a collection.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchCollectionRequest {
    /// See [`CreateCollectionRequest`].
    #[schema(min_length = 3, max_length = 100)]
    pub collection_name: Option<String>,
    /// See [`CreateCollectionRequest`].
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// See [`CreateCollectionRequest`].
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub metadata: Patch<Map<String, Value>>,
    /// See [`CreateCollectionRequest`].
    pub enabled: Option<bool>,
    /// See [`CreateCollectionRequest`].
    #[serde(default)]
    #[schema(value_type = Option<CollectionScheduleConfig>)]
    pub schedule: Patch<CollectionScheduleConfig>,
    /// See [`CreateCollectionRequest`].
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub document_schema: Patch<Value>,
    /// See [`CreateCollectionRequest`].
    #[schema(value_type = Option<String>)]
    pub schema_validation: Option<SchemaValidation>,
    /// The extractor with its settings, whole; what is there is outdated then, and stays.
    pub feature_extractor: Option<FeatureExtractorConfig>,
    /// Only what passes this.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub source_filters: Patch<Map<String, Value>>,
    /// None here.
    pub taxonomy_applications: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub cluster_applications: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub alert_applications: Option<Vec<Map<String, Value>>>,
    /// None here.
    pub retriever_enrichments: Option<Vec<Map<String, Value>>>,
}

/// Which collections are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListCollectionsRequest {
    /// Rows of a page.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The same.
    #[schema(minimum = 1, maximum = 1000)]
    pub page_size: Option<u32>,
    /// Rows to leave out first.
    #[schema(minimum = 0, maximum = 10000)]
    pub offset: Option<u32>,
    /// Which page, from 1.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub page: Option<u32>,
    /// Only those with these values: `collection_name`, `enabled`, `feature_extractor_name`,
    /// `bucket_id`, `metadata.…`.
    pub filters: Option<Map<String, Value>>,
    /// In which order: `collection_name`, `created_at`, `updated_at`, `document_count`.
    pub sort: Option<SortOption>,
    /// The same; the first counts.
    pub sorts: Option<Vec<SortOption>>,
    /// Text in the name, the description or the id.
    pub search: Option<String>,
    /// There are none.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub include_system: Option<bool>,
    /// Whether upper and lower case differ in `search`.
    pub case_sensitive: Option<bool>,
}

/// Which collections are listed, by query.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CollectionSearch {
    /// Text in the name, the description or the id.
    pub search: Option<String>,
    /// The namespace, if it is another than the request's.
    pub namespace_id: Option<String>,
    /// There are none.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub include_system: Option<bool>,
}
query_parameters!(CollectionSearch);

/// How a collection is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteCollectionQuery {
    /// Even while a batch runs.
    pub force: Option<bool>,
}
query_parameters!(DeleteCollectionQuery);

/// What a trigger takes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TriggerCollectionRequest {
    /// Only of these buckets, by id or name.
    pub include_buckets: Option<Vec<String>>,
    /// Only what comes through these collections, by id or name.
    pub include_collections: Option<Vec<String>>,
    /// Only these objects.
    pub object_ids: Option<Vec<String>>,
    /// Only objects that pass this.
    pub source_filters: Option<Map<String, Value>>,
    /// What is done about objects that were extracted before; `skip` if nobody says.
    pub dedup_strategy: Option<Dedup>,
    /// Only objects that were extracted by other settings than the collection has now.
    pub only_outdated: Option<bool>,
    /// Not here.
    pub reembed: Option<Map<String, Value>>,
}

/// Which failures are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailuresQuery {
    /// Only of this type: `transient`, `permanent` or `resource`.
    pub error_type: Option<String>,
    /// Only those that say exactly this.
    pub error: Option<String>,
    /// Rows of a page; 100 if nobody says.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Rows to leave out first.
    #[schema(minimum = 0)]
    pub offset: Option<u32>,
}
query_parameters!(FailuresQuery);

/// Which failures are tried again.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryFailuresRequest {
    /// `transient_only`, which takes limits that were met, too, or `all`; the first if nobody says.
    pub retry_mode: Option<String>,
    /// Only of this type: `transient`, `permanent` or `resource`.
    pub error_type: Option<String>,
    /// Only those that say exactly this.
    pub error: Option<String>,
    /// Only of these objects.
    #[schema(max_items = 10000)]
    pub object_ids: Option<Vec<String>>,
}
