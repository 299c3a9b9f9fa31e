//! Settings of a bucket's processing, of where outputs go and of other sources of objects. They are
//! is stored and returned unchanged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// How soon objects are needed.
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
    #[schema(minimum = 1, maximum = 2_147_483_647)]
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
    /// The field that identifies equal objects.
    pub dedup_key: Option<String>,
    /// Refused: secrets belong in a connection.
    #[schema(format = "password")]
    pub webhook_secret: Option<String>,
    /// Where events are sent.
    pub webhook_url: Option<String>,
    /// A collection to read from.
    pub source_collection_id: Option<String>,
    /// Which of its documents.
    pub source_filters: Option<Map<String, Value>>,
    /// Buckets to read from.
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
