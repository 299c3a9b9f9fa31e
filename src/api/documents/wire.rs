//! Documents on the wire: what is asked for.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::{
    filters::{LogicalOperatorInput, SortOption},
    json::query_parameters,
};

/// Which documents are listed, and what is returned of each.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListDocumentsRequest {
    /// Only those that pass this.
    pub filters: Option<LogicalOperatorInput>,
    /// In which order; the newest first if nobody says.
    pub sort: Option<SortOption>,
    /// Only those that have every one of these words.
    pub search: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// One of several parts that together are all.
    pub partition: Option<ListPartition>,
    /// Whether to count all of them.
    pub include_total: Option<bool>,
    /// Whether files come with links that need no token.
    pub return_presigned_urls: Option<bool>,
    /// Whether vectors are response.
    pub return_vectors: Option<bool>,
    /// Only these, by name.
    #[schema(value_type = Option<Value>)]
    pub return_vector_names: Option<Value>,
    /// A field by which they are grouped.
    pub group_by: Option<String>,
    /// Only these fields; dots lead into them.
    pub select: Option<Vec<String>>,
    /// What is returned besides: `parent`, `root_object`, `ancestors`, `children`.
    pub expand: Option<Vec<String>>,
    /// Rows of a page; 10 if nobody says.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Rows to leave out first.
    #[schema(minimum = 0)]
    pub offset: Option<u32>,
}

/// One of several parts.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListPartition {
    /// Which, from 0.
    #[schema(minimum = 0)]
    pub index: u32,
    /// Of how many.
    #[schema(minimum = 1, maximum = 256)]
    pub count: u32,
}

/// What a list's query says; its body wins.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DocumentsQuery {
    /// See [`ListDocumentsRequest`].
    pub return_presigned_urls: Option<bool>,
    /// See [`ListDocumentsRequest`].
    pub return_vectors: Option<bool>,
    /// See [`ListDocumentsRequest`]; as JSON.
    pub filters: Option<String>,
    /// See [`ListDocumentsRequest`].
    pub search: Option<String>,
    /// A field, or `-` and a field for the greatest first; or as JSON.
    pub sort: Option<String>,
}
query_parameters!(DocumentsQuery);

/// What is returned of a document.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GetDocumentQuery {
    /// See [`ListDocumentsRequest`].
    pub return_presigned_urls: Option<bool>,
    /// See [`ListDocumentsRequest`].
    pub return_vectors: Option<bool>,
    /// See [`ListDocumentsRequest`].
    pub return_vector_names: Option<Vec<String>>,
    /// See [`ListDocumentsRequest`].
    pub expand: Option<Vec<String>>,
}
query_parameters!(GetDocumentQuery);

/// A document to be made by hand.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(super) struct DocumentCreateRequest {
    /// The collection; as in the path.
    pub collection_id: Option<String>,
    /// Where it comes from, as its maker says.
    pub root_object_id: Option<String>,
    /// The same.
    pub root_bucket_id: Option<String>,
    /// The same.
    pub source_type: Option<String>,
    /// The same.
    pub source_collection_id: Option<String>,
    /// The same.
    pub source_document_id: Option<String>,
    /// The same.
    pub source_object_id: Option<String>,
    /// The same.
    pub lineage_path: Option<String>,
    /// The same.
    pub lineage_chain: Option<Vec<Map<String, Value>>>,
    /// Hash of what it was made of.
    pub content_hash: Option<String>,
    /// Stored and returned unchanged.
    pub document_schema_version: Option<String>,
    /// Its fields.
    pub metadata: Option<Map<String, Value>>,
    /// Further fields, with vectors, by extractor.
    pub features: Option<Vec<FeatureModel>>,
    /// Its vectors, by name.
    #[schema(value_type = Option<Object>)]
    pub vectors: Option<Map<String, Value>>,
    /// Fields may stand at the root, too.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What an extractor of the maker's says.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FeatureModel {
    /// Which.
    pub feature_extractor_id: String,
    /// Fields.
    pub payload: Option<Map<String, Value>>,
    /// Vectors, by name; or one, by the extractor's.
    #[schema(value_type = Option<Value>)]
    pub vectors: Option<Value>,
}

/// Which documents are deleted.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchDeleteDocumentsRequest {
    /// These.
    #[schema(max_items = 1000)]
    pub document_ids: Option<Vec<String>>,
    /// Or those that pass this.
    pub filters: Option<LogicalOperatorInput>,
    /// For people.
    #[schema(max_length = 500)]
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub reason: Option<String>,
}

/// How documents are changed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchUpdateDocumentsRequest {
    /// Each in its way.
    #[schema(max_items = 1000)]
    pub updates: Option<Vec<BatchDocumentUpdate>>,
    /// Or those that pass this.
    pub filters: Option<LogicalOperatorInput>,
    /// With `filters`: what is merged into each.
    pub update_data: Option<Map<String, Value>>,
}

/// A change of one document.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchDocumentUpdate {
    /// Which.
    pub document_id: String,
    /// What is merged into it.
    pub update_data: Map<String, Value>,
}

/// A change of many documents.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkUpdateDocumentsRequest {
    /// Only those that pass this; all if nobody says.
    pub filters: Option<LogicalOperatorInput>,
    /// What is merged into each.
    pub update_data: Map<String, Value>,
}

/// What is to be counted of a collection.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DistinctValuesRequest {
    /// The field.
    pub field: String,
    /// Only documents that pass this.
    pub filters: Option<Map<String, Value>>,
    /// The most values to answer with; 1000 if nobody says.
    #[schema(minimum = 1, maximum = 10000)]
    pub limit: Option<u32>,
}
