//! Collections on the wire: responses. Requests are in `wire`.
//!
//! What the public API has and nothing here can differ in is null, empty or the same always, and
//! says so.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::wire::{CollectionScheduleConfig, SourceType};
use crate::api::{batches::FailureGroupResponse, page::PaginationResponse};

/// A collection.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionResponse {
    /// Id.
    pub collection_id: String,
    /// Name, unique in its namespace.
    pub collection_name: String,
    /// What it is for.
    pub description: Option<String>,
    /// As its maker gave it.
    pub input_schema: Option<Value>,
    /// The fields of its documents.
    pub output_schema: CollectionSchemaResponse,
    /// Through what objects go.
    pub feature_extractor: CollectionExtractorResponse,
    /// What it takes from.
    pub source: CollectionSourceResponse,
    /// Always null.
    pub source_bucket_schemas: Option<Value>,
    /// Where its documents come from, one step.
    pub source_lineage: Vec<CollectionLineageResponse>,
    /// Always null.
    pub index_map: Option<Value>,
    /// The vectors of its documents.
    pub vector_indexes: Vec<CollectionVectorIndexResponse>,
    /// Always empty: its namespace has them.
    pub payload_indexes: Vec<Value>,
    /// Always null.
    pub embedding_task: Option<String>,
    /// Whether it takes anything.
    pub enabled: bool,
    /// Why it does not, where nobody said so.
    pub disabled_reason: Option<DisabledReasonResponse>,
    /// Yours.
    pub metadata: Map<String, Value>,
    /// When it is triggered by itself.
    pub schedule: Option<CollectionScheduleConfig>,
    /// Always null.
    pub trigger_id: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Always `active`.
    pub lifecycle_state: &'static str,
    /// How many documents it has.
    pub document_count: u64,
    /// Always 1.
    pub schema_version: u32,
    /// Always true.
    pub schema_sync_enabled: bool,
    /// JSON Schema of documents that people write.
    pub document_schema: Option<Value>,
    /// What is done about documents that do not fit: `off`, `warn` or `strict`.
    pub schema_validation: &'static str,
    /// Always empty.
    pub taxonomy_applications: Vec<Value>,
    /// Always empty.
    pub cluster_applications: Vec<Value>,
    /// Always empty.
    pub alert_applications: Vec<Value>,
    /// Always empty.
    pub retriever_enrichments: Vec<Value>,
    /// Always null.
    pub s3_vector_index: Option<Value>,
    /// Always null.
    pub last_lifecycle_transition: Option<String>,
    /// Always null.
    pub tiering_rules: Option<Value>,
    /// Always null.
    pub tiering: Option<Value>,
    /// Always null.
    pub last_schema_sync: Option<String>,
    /// Always null.
    pub retriever_transform: Option<Value>,
    /// Always null.
    pub vector_count: Option<u64>,
    /// Always 0.
    pub taxonomy_count: u64,
    /// Always 0.
    pub retriever_count: u64,
    /// Always `READY`.
    pub indexing_status: &'static str,
    /// Always null.
    pub indexing_status_scoped: Option<Value>,
    /// What is odd about it.
    pub warnings: Vec<String>,
    /// Objects that are being tried, or will be again.
    pub waiting: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Objects that were extracted with other settings.
    pub outdated: u64,
    /// Why its extractor is paused, while it is.
    pub paused_reason: Option<String>,
    /// When it is triggered next by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_run_at: Option<Timestamp>,
}

/// The fields of documents.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionSchemaResponse {
    /// By name: their type, and what they say.
    pub properties: Map<String, Value>,
}

/// Through what objects go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionExtractorResponse {
    /// The extractor.
    pub feature_extractor_name: String,
    /// Its version.
    pub version: String,
    /// Both.
    pub feature_extractor_id: String,
    /// As its maker gave them.
    pub params: Option<Map<String, Value>>,
    /// Its parameters, with its name as `extractor_type`.
    pub parameters: Option<Map<String, Value>>,
    /// What it is given, as its maker wrote it: an object, or a list.
    pub input_mappings: Option<Value>,
    /// Fields that documents take over.
    pub field_passthrough: Vec<FieldPassthroughResponse>,
    /// Whether they take over all.
    pub include_all_source_fields: bool,
}

/// A field that documents take over.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct FieldPassthroughResponse {
    /// Where it is.
    pub source_path: String,
    /// What it is called in documents.
    pub target_path: String,
    /// What stands for it where there is none.
    pub default: Option<Value>,
    /// Whether a document cannot be without it.
    pub required: bool,
}

/// What a collection takes from.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionSourceResponse {
    /// Buckets or collections.
    #[serde(rename = "type")]
    pub kind: SourceType,
    /// Ids of the buckets.
    pub bucket_ids: Option<Vec<String>>,
    /// Always null: buckets are named by their ids.
    pub source_namespace_id: Option<String>,
    /// Id of the collection, where it is one.
    pub collection_id: Option<String>,
    /// Ids of the collections.
    pub collection_ids: Option<Vec<String>>,
    /// Ids of the buckets whose objects reach it through collections.
    pub inherited_bucket_ids: Option<Vec<String>>,
    /// Only what passes this.
    pub source_filters: Option<SourceFiltersResponse>,
    /// Which fields of each source are taken over.
    pub field_map: Option<Map<String, Value>>,
}

/// What a source is filtered by.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct SourceFiltersResponse {
    /// As their maker wrote them.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub filters: Value,
}

/// A step on the way to a collection's documents.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionLineageResponse {
    /// From what.
    pub source_config: CollectionSourceResponse,
    /// Through what.
    pub feature_extractor: CollectionExtractorResponse,
    /// With which fields.
    pub output_schema: CollectionSchemaResponse,
}

/// A vector of documents.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionVectorIndexResponse {
    /// Its name.
    pub name: String,
    /// Always `dense`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Always null.
    pub feature_uri: Option<String>,
    /// What it is like.
    pub index: VectorDimensionsResponse,
    /// Always `extractor`.
    pub source: &'static str,
}

/// What a vector is like.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(in crate::api) struct VectorDimensionsResponse {
    /// How many numbers it has.
    pub dimensions: u64,
}

/// Why a collection was switched off by something other than a person.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct DisabledReasonResponse {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// The collection that is gone.
    pub source_collection_id: Option<String>,
    /// What it was called.
    pub source_collection_name: Option<String>,
    /// Since when.
    pub disabled_at: String,
}

/// Collections of a namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ListCollectionsResponse {
    /// A page of them.
    #[schema(value_type = Vec<CollectionResponse>)]
    pub results: Vec<Value>,
    /// Where the page is.
    pub pagination: PaginationResponse,
    /// How many there are.
    pub total_count: u64,
    /// All of them together.
    pub stats: CollectionsStats,
    /// Always empty.
    pub warnings: Vec<String>,
}

/// Collections together.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionsStats {
    /// Documents of all.
    pub total_documents: u64,
    /// Documents of one.
    pub avg_documents_per_collection: f64,
    /// Always 0.
    pub collections_with_taxonomies: u64,
    /// One each.
    pub total_feature_extractors: u64,
    /// Always 0.
    pub total_taxonomies: u64,
    /// Always 0.
    pub total_retrievers: u64,
}

/// A collection that is deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct DeletedCollectionResponse {
    /// For people.
    pub message: &'static str,
    /// Always true.
    pub success: bool,
    /// Id.
    pub collection_id: String,
}

/// Extractors that are here.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ListExtractorsResponse {
    /// All of them.
    pub results: Vec<ExtractorResponse>,
    /// How many.
    pub total: u64,
    /// Names of those whose files cannot be used.
    pub unusable: Vec<String>,
}

/// An extractor.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ExtractorResponse {
    /// Name and version.
    pub feature_extractor_id: String,
    /// Its name.
    pub feature_extractor_name: String,
    /// Its version.
    pub version: String,
    /// What it does.
    pub description: String,
    /// `builtin` or `own`.
    pub source: &'static str,
    /// MIME types that it takes.
    pub accepts: Vec<String>,
    /// JSON Schema of its parameters.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub parameter_schema: Value,
    /// The fields of its documents.
    pub output_schema: CollectionSchemaResponse,
    /// In what it is not confined here.
    pub not_confined: Vec<&'static str>,
    /// Whether objects may leave this computer by it: it is a service, wherever that runs, or a
    /// program that may use the network.
    pub network: bool,
}

/// What a trigger began.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TriggerCollectionResponse {
    /// Id of the first batch; null where there is nothing to extract.
    pub batch_id: Option<String>,
    /// Id of the task that makes the batches, and ends with the last of them.
    pub task_id: String,
    /// Id of the collection.
    pub collection_id: String,
    /// Ids of the buckets that are gone through.
    pub source_bucket_ids: Vec<String>,
    /// Ids of the collections that it takes from.
    pub source_collection_ids: Vec<String>,
    /// Objects in the batches that are made so far.
    pub object_count: u64,
    /// Their ids.
    pub batch_ids: Vec<String>,
    /// Id of the task.
    pub task_ids: Vec<String>,
    /// How many batches are made so far.
    pub batch_count: u64,
    /// Always null.
    pub document_count: Option<u64>,
    /// Tiers of each batch.
    pub total_tiers: u64,
    /// The same, for people.
    pub message: String,
    /// Always null.
    pub estimate: Option<Value>,
}

/// What came of objects that were tried.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TryCollectionResponse {
    /// One by one.
    pub results: Vec<TriedObjectResponse>,
}

/// What came of an object.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TriedObjectResponse {
    /// Id.
    pub object_id: String,
    /// Its path.
    pub key_prefix: String,
    /// What its documents would be.
    pub documents: Vec<Map<String, Value>>,
    /// Why there are none.
    pub error: Option<String>,
    /// `transient`, `permanent` or `resource`.
    pub error_type: Option<&'static str>,
    /// How long it took.
    pub duration_ms: u64,
    /// The most memory that its processes were seen to use together, in bytes; null of a service.
    pub memory_bytes: Option<u64>,
    /// What the extractor said.
    pub log: String,
}

/// What failed in a collection, and was not done since.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct CollectionFailuresResponse {
    /// Id of the collection.
    pub collection_id: String,
    /// A page of the objects that failed, by age.
    pub results: Vec<FailedObjectOfCollection>,
    /// All failures by what they say, the most frequent first; at most 50.
    pub groups: Vec<FailureGroupResponse>,
    /// How many objects failed, of those that were asked for.
    pub total: u64,
    /// Rows of a page.
    pub limit: u32,
    /// Rows before it.
    pub offset: u32,
    /// Whether there are more behind it.
    pub has_more: bool,
}

/// An object that failed in a collection.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct FailedObjectOfCollection {
    /// Id of the object.
    pub object_id: String,
    /// Id of its bucket.
    pub bucket_id: Option<String>,
    /// Its path.
    pub key_prefix: String,
    /// Its MIME type, if one is known.
    pub mime_type: Option<String>,
    /// Id of the batch that tried it last.
    pub batch_id: Option<String>,
    /// Why, for people.
    pub error: String,
    /// `transient`, `permanent` or `resource`.
    pub error_type: String,
    /// Tries so far.
    pub attempts: u32,
    /// When it failed last.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// The end of what the extractor said.
    pub stderr: Option<String>,
}

/// Failures that are tried again.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct RetryFailuresResponse {
    /// Id of the collection.
    pub collection_id: String,
    /// How many objects are tried again.
    pub retried_count: u64,
    /// How many failures stay.
    pub skipped_count: u64,
    /// Id of the task that makes their batches; null where none is tried again.
    pub task_id: Option<String>,
    /// Ids of the batches that are made so far.
    pub batch_ids: Vec<String>,
}
