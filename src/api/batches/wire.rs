//! Batches on the wire: what is asked for.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    api::{filters::LogicalOperatorInput, json::query_parameters},
    model::Dedup,
};

/// A batch to be made.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBatchRequest {
    /// These objects.
    #[schema(min_items = 1)]
    pub object_ids: Option<Vec<String>>,
    /// Or those that pass this; 50,000 at most.
    pub filters: Option<LogicalOperatorInput>,
    /// The collections that it is for, by id or name; all that take from the bucket if nobody says.
    pub collection_ids: Option<Vec<String>>,
    /// The same.
    pub collections: Option<Vec<String>>,
    /// With `filters`: at most so many.
    #[schema(minimum = 1, maximum = 50000)]
    pub limit: Option<u32>,
    /// What is done about objects that were extracted before.
    pub dedup_strategy: Option<Dedup>,
    /// Whatever its maker wants to keep with it.
    pub metadata: Option<Map<String, Value>>,
    /// What to call it.
    #[schema(max_length = 256)]
    pub batch_name: Option<String>,
    /// Whether it is submitted at once.
    pub auto_submit: Option<bool>,
    /// The same.
    pub trigger_processing: Option<bool>,
}

/// How a batch is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBatchQuery {
    /// Objects that are not there count as skipped.
    pub skip_validation: Option<bool>,
    /// Whether it is submitted at once.
    pub auto_submit: Option<bool>,
    /// The same.
    pub trigger_processing: Option<bool>,
}
query_parameters!(CreateBatchQuery);

/// Objects for a batch.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddObjectsToBatchRequest {
    /// They.
    #[schema(min_items = 1)]
    pub object_ids: Vec<String>,
}

/// How objects are added.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddObjectsQuery {
    /// Objects that are not there count as skipped.
    pub skip_validation: Option<bool>,
}
query_parameters!(AddObjectsQuery);

/// How a batch is submitted.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitBatchRequest {
    /// Always true: it is the ledger.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub include_processing_history: Option<bool>,
    /// Must be those of the batch.
    pub collection_ids: Option<Vec<String>>,
    /// Called once, unsigned, when the batch ends.
    pub webhook_url: Option<String>,
}

/// How a batch is submitted, by query.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitQuery {
    /// Changes nothing: there is no clash to go past.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub force: Option<bool>,
}
query_parameters!(SubmitQuery);

/// A whole bucket in batches.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkSubmitBatchesRequest {
    /// The collections that they are for; all that take from the bucket if nobody says.
    pub collection_ids: Option<Vec<String>>,
    /// Only objects that pass this.
    pub filters: Option<LogicalOperatorInput>,
    /// Objects in a batch; 1000 are the most.
    #[schema(minimum = 1, maximum = 50000)]
    pub chunk_size: Option<u32>,
    /// What is done about objects that were extracted before.
    pub dedup_strategy: Option<Dedup>,
    /// At most so many.
    #[schema(minimum = 1)]
    pub max_objects: Option<u64>,
}

/// Which batches are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListBatchesRequest {
    /// Only of this status.
    pub status: Option<String>,
    /// Only those of this collection, by id or name.
    pub collection_id: Option<String>,
    /// The bucket; as in the path.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub bucket_id: Option<String>,
    /// The namespace; the request's.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub namespace_id: Option<String>,
    /// Rows to leave out first.
    #[schema(minimum = 0)]
    pub offset: Option<u32>,
    /// Rows of a page; 100 if nobody says.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// What is changed of a batch.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchBatchRequest {
    /// Merged into what is kept with it.
    pub metadata: Option<Map<String, Value>>,
}

/// Why a batch is stopped.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelQuery {
    /// For people.
    pub reason: Option<String>,
}
query_parameters!(CancelQuery);

/// Which failures are tried again.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryBatchRequest {
    /// `transient_only` (those of `resource` among them), or `all`.
    pub retry_mode: Option<String>,
    /// Only of these tiers.
    pub tier_nums: Option<Vec<u32>>,
    /// Not those that were retried so often already.
    #[schema(minimum = 1, maximum = 10)]
    pub max_retry_count: Option<u32>,
}

/// How a batch is run again.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResubmitQuery {
    /// The first tier that is run.
    #[schema(minimum = 0)]
    pub from_tier: Option<u32>,
    /// Whether it is submitted at once; true if nobody says.
    pub auto_submit: Option<bool>,
    /// The same.
    pub trigger_processing: Option<bool>,
}
query_parameters!(ResubmitQuery);

/// What else is said about running a batch again.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResubmitBatchRequest {
    /// See [`ResubmitQuery`].
    #[schema(minimum = 0)]
    pub from_tier: Option<u32>,
    /// See [`ResubmitQuery`].
    pub auto_submit: Option<bool>,
    /// See [`SubmitBatchRequest`].
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub include_processing_history: Option<bool>,
    /// Must be those of the batch.
    pub collection_ids: Option<Vec<String>>,
    /// Called once, unsigned, when the batch ends.
    pub webhook_url: Option<String>,
    /// What is done about objects that were extracted before; as the batch has it if nobody says.
    pub dedup_strategy: Option<Dedup>,
}

/// Which failures are listed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailedQuery {
    /// Only of this tier.
    #[schema(minimum = 0)]
    pub tier_num: Option<u32>,
    /// Only of this collection, by id or name.
    pub collection_id: Option<String>,
    /// Rows of a page; 100 if nobody says.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Rows to leave out first.
    #[schema(minimum = 0)]
    pub offset: Option<u32>,
}
query_parameters!(FailedQuery);

/// Whose logs.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Only of this tier.
    #[schema(minimum = 0)]
    pub tier_num: Option<u32>,
}
query_parameters!(LogsQuery);
