//! Namespaces on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::hosted::{NamespaceCostCapOverride, NamespaceInfrastructure, NamespaceTrustedIssuer};
use crate::{
    api::{
        json::{Patch, query_parameters},
        page::PaginationResponse,
    },
    store::namespaces::Namespace,
};

/// What a namespace is made of. What describes a processing cluster, budgets or search indexes is
/// stored and returned unchanged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateNamespaceRequest {
    /// The id to have; made up if absent.
    #[schema(pattern = "^ns_[A-Za-z0-9]{1,64}$")]
    pub namespace_id: Option<String>,
    /// What to call it, unique.
    #[schema(min_length = 3, max_length = 64)]
    pub namespace_name: String,
    /// A person's words about it.
    pub description: Option<String>,
    /// `standard` or `custom`.
    pub mode: Option<String>,
    /// What kind of namespace.
    pub namespace_type: Option<NamespaceType>,
    /// Whose it is.
    pub scope: Option<NamespaceScope>,
    /// Kept.
    pub features: Option<Vec<String>>,
    /// Kept.
    pub feature_extractors: Option<Vec<FeatureExtractor>>,
    /// Kept.
    pub vector_configs: Option<Vec<Map<String, Value>>>,
    /// Fields of its collections' documents that are found, ordered and grouped without reading
    /// all documents.
    #[schema(max_items = 64)]
    pub payload_indexes: Option<Vec<PayloadIndexConfig>>,
    /// Kept.
    pub auto_create_indexes: Option<bool>,
    /// Kept.
    pub adaptive_indexing: Option<bool>,
    /// Kept.
    pub tiering: Option<Map<String, Value>>,
    /// Kept.
    pub spend_budget: Option<Map<String, Value>>,
    /// Kept.
    pub cost_cap_override: Option<NamespaceCostCapOverride>,
    /// Kept.
    pub infrastructure: Option<NamespaceInfrastructure>,
    /// Kept.
    #[schema(max_items = 5)]
    pub trusted_issuers: Option<Vec<NamespaceTrustedIssuer>>,
    /// Kept.
    pub pinned: Option<Map<String, Value>>,
    /// Sets `expires_at`, counted from now; one of the two.
    #[schema(minimum = 60, maximum = 3_153_600_000u64)]
    pub ttl_seconds: Option<u64>,
    /// Kept. Nothing is deleted here because its time is over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

/// What kind of namespace.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamespaceType {
    /// One's own.
    #[default]
    Standard,
    /// Offered to others.
    Marketplace,
}

/// Whose a namespace is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamespaceScope {
    /// This installation's.
    #[default]
    Org,
    /// The system's.
    System,
}

/// A feature extractor as it is named in a namespace.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureExtractor {
    /// Which one.
    pub feature_extractor_name: String,
    /// Its version.
    pub version: String,
    /// Its settings.
    pub params: Option<Map<String, Value>>,
}

/// A field that is indexed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PayloadIndexConfig {
    /// The field; dots lead into it.
    #[schema(min_length = 1, max_length = 255)]
    pub field_name: String,
    /// What its values are. Values of every type are indexed as they are; the words of `text` are
    /// found without an index, and `geo` is kept only.
    pub r#type: PayloadSchemaType,
    /// Kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_schema: Option<Map<String, Value>>,
    /// Kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_protected: Option<bool>,
}

/// What the values of an indexed field are.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PayloadSchemaType {
    /// Text that is compared as a whole.
    Keyword,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// True or false.
    Bool,
    /// Places.
    Geo,
    /// Times.
    Datetime,
    /// Words.
    Text,
    /// Ids.
    Uuid,
}

/// What to change of a namespace; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchNamespaceRequest {
    /// What to call it, unique.
    #[schema(min_length = 3, max_length = 64)]
    pub namespace_name: Option<String>,
    /// A person's words about it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Vec<FeatureExtractor>>)]
    pub feature_extractors: Patch<Vec<FeatureExtractor>>,
    /// Fields of its collections' documents that are found, ordered and grouped without reading
    /// all documents. Those that are new are used once they are built.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PayloadIndexConfig>>, max_items = 64)]
    pub payload_indexes: Patch<Vec<PayloadIndexConfig>>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub auto_create_indexes: Patch<bool>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub adaptive_indexing: Patch<bool>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Map<String, Value>>)]
    pub tiering: Patch<Map<String, Value>>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Map<String, Value>>)]
    pub spend_budget: Patch<Map<String, Value>>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Map<String, Value>>)]
    pub pinned: Patch<Map<String, Value>>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub mode: Patch<String>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<NamespaceType>)]
    pub namespace_type: Patch<NamespaceType>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<NamespaceScope>)]
    pub scope: Patch<NamespaceScope>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub features: Patch<Vec<String>>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Map<String, Value>>>)]
    pub vector_configs: Patch<Vec<Map<String, Value>>>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<NamespaceCostCapOverride>)]
    pub cost_cap_override: Patch<NamespaceCostCapOverride>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<NamespaceInfrastructure>)]
    pub infrastructure: Patch<NamespaceInfrastructure>,
    /// Kept.
    #[serde(default)]
    #[schema(value_type = Option<Vec<NamespaceTrustedIssuer>>, max_items = 5)]
    pub trusted_issuers: Patch<Vec<NamespaceTrustedIssuer>>,
    /// Sets `expires_at`, counted from now, or clears it; one of the two.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 60, maximum = 3_153_600_000u64)]
    pub ttl_seconds: Patch<u64>,
    /// Kept. Nothing is deleted here because its time is over.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Patch<Timestamp>,
    /// Finds nothing to repair: there are no vector indexes here.
    #[allow(dead_code, reason = "checked, then without effect")]
    pub repair_vectors: Option<bool>,
}

/// A namespace to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateNamespaceRequest {
    /// What to call it, unique; absent: as before.
    #[schema(min_length = 3, max_length = 64)]
    pub namespace_name: Option<String>,
    /// As in `PATCH`; absent or null: none.
    #[schema(max_items = 64)]
    pub payload_indexes: Option<Vec<PayloadIndexConfig>>,
}

/// A namespace.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct NamespaceModel {
    /// Always `namespace`.
    pub object: &'static str,
    /// `ns_…`
    pub namespace_id: String,
    /// What it is called.
    pub namespace_name: String,
    /// What kind of namespace.
    pub namespace_type: Value,
    /// Whose it is.
    pub scope: Value,
    /// As it was made.
    pub mode: Value,
    /// A person's words about it.
    pub description: Option<String>,
    /// As they were given.
    pub feature_extractors: Vec<Value>,
    /// As they were given.
    pub payload_indexes: Vec<Value>,
    /// How many of them.
    pub payload_index_count: u64,
    /// As they were given.
    pub vector_configs: Vec<Value>,
    /// As it was given.
    pub auto_create_indexes: Option<bool>,
    /// As it was given.
    pub adaptive_indexing: Option<bool>,
    /// As it was given.
    pub tiering: Value,
    /// As it was given.
    pub spend_budget: Value,
    /// As it was given.
    pub pinned: Value,
    /// As it was given.
    pub cost_cap_override: Value,
    /// As it was given.
    pub infrastructure: Value,
    /// As they were given.
    pub trusted_issuers: Vec<Value>,
    /// As they were given.
    pub features: Vec<Value>,
    /// How many documents are in it.
    pub document_count: u64,
    /// Whether that is all of them.
    pub document_count_complete: bool,
    /// How many buckets are in it.
    pub bucket_count: u64,
    /// How many collections are in it.
    pub collection_count: u64,
    /// How many objects its buckets hold.
    pub object_count: u64,
    /// Whether it can be used.
    pub namespace_ready: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// As it was given.
    pub ttl_seconds: Option<u64>,
    /// As it was given. Nothing is deleted here because its time is over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl From<Namespace> for NamespaceModel {
    fn from(namespace: Namespace) -> Self {
        let mut kept = namespace.settings;
        let mut take = |name: &str| kept.remove(name).unwrap_or_default();
        let list = |value: Value| match value {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let or = |value: Value, default: &str| match value {
            Value::Null => default.into(),
            value => value,
        };
        let payload_indexes = list(take("payload_indexes"));
        Self {
            object: "namespace",
            namespace_id: namespace.id.to_string(),
            namespace_name: namespace.name,
            namespace_type: or(take("namespace_type"), "standard"),
            scope: or(take("scope"), "org"),
            mode: or(take("mode"), "standard"),
            description: take("description").as_str().map(str::to_owned),
            feature_extractors: list(take("feature_extractors"))
                .into_iter()
                .map(identified)
                .collect(),
            payload_index_count: payload_indexes.len() as u64,
            payload_indexes,
            vector_configs: list(take("vector_configs")),
            auto_create_indexes: take("auto_create_indexes").as_bool(),
            adaptive_indexing: take("adaptive_indexing").as_bool(),
            tiering: take("tiering"),
            spend_budget: take("spend_budget"),
            pinned: take("pinned"),
            cost_cap_override: take("cost_cap_override"),
            infrastructure: take("infrastructure"),
            trusted_issuers: list(take("trusted_issuers")),
            features: list(take("features")),
            document_count: namespace.document_count,
            document_count_complete: true,
            bucket_count: namespace.bucket_count,
            collection_count: namespace.collection_count,
            object_count: namespace.object_count,
            namespace_ready: true,
            created_at: namespace.created_at,
            updated_at: namespace.updated_at,
            ttl_seconds: take("ttl_seconds").as_u64(),
            expires_at: take("expires_at").as_str().and_then(|text| text.parse().ok()),
        }
    }
}

/// A feature extractor with its id, which is its name and version.
fn identified(mut extractor: Value) -> Value {
    let part = |name: &str| extractor.get(name).and_then(Value::as_str).unwrap_or_default();
    let id = format!("{}_{}", part("feature_extractor_name"), part("version"));
    extractor["feature_extractor_id"] = id.into();
    extractor
}

/// How much is in a namespace.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct NamespaceStatsResponse {
    /// `ns_…`
    pub namespace_id: String,
    /// How many documents.
    pub document_count: u64,
    /// Whether that is all of them.
    pub document_count_complete: bool,
    /// How many buckets.
    pub bucket_count: u64,
    /// How many collections.
    pub collection_count: u64,
    /// How many objects in its buckets.
    pub object_count: u64,
}

impl From<&Namespace> for NamespaceStatsResponse {
    fn from(namespace: &Namespace) -> Self {
        Self {
            namespace_id: namespace.id.to_string(),
            document_count: namespace.document_count,
            document_count_complete: true,
            bucket_count: namespace.bucket_count,
            collection_count: namespace.collection_count,
            object_count: namespace.object_count,
        }
    }
}

/// Which namespaces to report on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceStatsBatchRequest {
    /// Ids or names; unknown ones are left out of the response.
    #[schema(max_items = 1000)]
    pub namespace_ids: Vec<String>,
}

/// How much is in each of several namespaces.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NamespaceStatsBatchResponse {
    /// By what they were asked for.
    pub stats: std::collections::BTreeMap<String, NamespaceStatsResponse>,
}

/// Which namespaces to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListNamespacesRequest {
    /// How many rows to return.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The same as `limit`.
    #[schema(minimum = 1, maximum = 1000)]
    pub page_size: Option<u32>,
    /// How many rows to leave out first.
    #[schema(minimum = 0, maximum = 10000)]
    pub offset: Option<u32>,
    /// Which page, from 1.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub page: Option<u32>,
    /// Only those with exactly these.
    pub filters: Option<NamespaceFilters>,
    /// In which order; newest first if absent.
    pub sort: Option<NamespaceSort>,
    /// The same as `sort`, in a list.
    #[schema(max_items = 1)]
    pub sorts: Option<Vec<NamespaceSort>>,
    /// Only those whose name, id or description has this in it.
    pub search: Option<String>,
    /// Whether `search` minds upper and lower case.
    pub case_sensitive: Option<bool>,
}

/// Only those with exactly these.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceFilters {
    /// `ns_…`
    pub namespace_id: Option<String>,
    /// The whole name.
    pub namespace_name: Option<String>,
}

/// An order.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceSort {
    /// By what.
    pub field: NamespaceSortField,
    /// Which way; descending if absent.
    pub direction: Option<Direction>,
}

/// By what to order namespaces.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NamespaceSortField {
    /// When they were made.
    CreatedAt,
    /// When they were changed.
    UpdatedAt,
    /// What they are called.
    NamespaceName,
}

/// Which way.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[schema(as = SortDirection)]
pub(super) enum Direction {
    /// Smallest first.
    Asc,
    /// Largest first.
    Desc,
}

/// What else the list's query may say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespaceListQuery {
    /// Makes no difference: the system has no namespaces of its own here.
    #[allow(dead_code, reason = "checked, then without effect")]
    pub include_system: Option<bool>,
    /// Makes no difference: each view shows all.
    #[allow(dead_code, reason = "checked, then without effect")]
    pub view: Option<String>,
}
query_parameters!(NamespaceListQuery);

/// Namespaces.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListNamespacesResponse {
    /// This page of them.
    pub results: Vec<NamespaceModel>,
    /// Where this page is among the others.
    pub pagination: PaginationResponse,
    /// How many match.
    pub total_count: u64,
    /// All that match, summed up.
    pub stats: NamespaceListStats,
}

/// Namespaces, summed up.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct NamespaceListStats {
    /// How many documents.
    pub total_documents: u64,
    /// Whether that is all of them.
    pub total_documents_complete: bool,
    /// How many buckets.
    pub total_buckets: u64,
    /// How many collections.
    pub total_collections: u64,
    /// How many objects.
    pub total_objects: u64,
}

/// How a deletion went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedNamespace {
    /// Always true.
    pub success: bool,
    /// What was removed.
    pub namespace_id: String,
    /// The same in words.
    pub message: String,
}

/// How to delete a namespace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteNamespaceQuery {
    /// With the buckets that are in it, whose syncs end.
    pub force: Option<bool>,
}
query_parameters!(DeleteNamespaceQuery);
