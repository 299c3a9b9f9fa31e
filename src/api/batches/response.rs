//! Batches on the wire: responses. Requests are in `wire`.
//!
//! What the public API has and nothing here can differ in is null, empty or the same always, and
//! says so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::processing::outcomes::FailureGroup;

/// A batch: objects that are processed together.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct BatchResponse {
    /// Id.
    pub batch_id: String,
    /// Id of its bucket.
    pub bucket_id: String,
    /// Id of its namespace.
    pub namespace_id: String,
    /// Name.
    pub batch_name: Option<String>,
    /// `DRAFT`, `PENDING`, `IN_PROGRESS`, `COMPLETED`, `COMPLETED_WITH_ERRORS`, `FAILED` or
    /// `CANCELED`.
    pub status: &'static str,
    /// Why it waits, while it does.
    pub queue_context: Option<QueueContextResponse>,
    /// Ids of its objects; null in lists.
    pub object_ids: Option<Vec<String>>,
    /// How many objects it has.
    pub object_count: u64,
    /// What was asked for: `skip`, `replace` or `force`.
    pub dedup_strategy: &'static str,
    /// What is done: `skip` or `replace`.
    pub effective_dedup_strategy: &'static str,
    /// Ids of the collections of its first tier.
    pub collection_ids: Vec<String>,
    /// What went wrong with it as a whole.
    pub error: Option<String>,
    /// The same as `error`.
    pub failure_reason: Option<String>,
    /// How many objects failed, by the type of their failure.
    pub error_summary: Option<BTreeMap<String, u64>>,
    /// `pipeline` where nothing worked.
    pub failure_category: Option<&'static str>,
    /// The first 1000 objects that failed; empty in lists.
    pub failed_objects: Vec<FailedObjectResponse>,
    /// How many objects failed, exactly.
    pub failed_object_count: u64,
    /// Always empty: an object has all of its documents or none.
    pub partial_objects: Vec<Value>,
    /// Always 0.
    pub partial_object_count: u64,
    /// Always 0.
    pub unaccounted_object_count: u64,
    /// Always `BUCKET`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Id of the task of its first tier.
    pub task_id: Option<String>,
    /// Always null.
    pub loaded_object_ids: Option<Value>,
    /// Always null.
    pub internal_metadata: Option<Value>,
    /// Yours.
    pub metadata: Option<Map<String, Value>>,
    /// How each tier stands.
    pub tier_tasks: Vec<TierTaskResponse>,
    /// The tier that is under way, from 0; null until it is submitted.
    pub current_tier: Option<u32>,
    /// How many tiers it has.
    pub total_tiers: u64,
    /// Ids of its collections, tier by tier.
    pub dag_tiers: Option<Vec<Vec<String>>>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How far it has come.
    pub progress: BatchProgressResponse,
    /// Documents that it wrote.
    pub documents_written: u64,
    /// Of those, over earlier ones.
    pub documents_replaced: u64,
    /// Always 0.
    pub documents_deleted: u64,
    /// Whether its documents can be listed: once it has ended.
    pub documents_resolvable: bool,
    /// `stalled` while an extractor of it is paused, else `healthy`.
    pub health: &'static str,
    /// Always zeros: nothing costs anything.
    pub cost: BatchCostResponse,
    /// When it changed last.
    #[schema(value_type = String, format = DateTime)]
    pub last_activity_at: Timestamp,
    /// How often somebody retried it.
    pub retry_count: u32,
    /// Always 3.
    pub max_retries: u32,
    /// When somebody retried it last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_retry_at: Option<Timestamp>,
    /// Why.
    pub retry_reason: Option<String>,
    /// How often processing ended while it was under way, and went on with it.
    pub node_death_resubmit_count: u32,
    /// Always 0.
    pub deploy_resubmit_count: u32,
    /// What is called once it has ended.
    pub webhook_url: Option<String>,
    /// When it changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// How it stands, for people.
    pub status_message: String,
    /// Always null.
    pub estimated_completion: Option<String>,
    /// As many as there are: it always continues.
    pub max_node_death_resubmits: i32,
    /// As many as there are.
    pub max_deploy_resubmits: i32,
    /// `draft`, `queued`, `extracting` or `finished`.
    pub lifecycle: &'static str,
    /// Why it does not go on.
    pub lifecycle_reason: Option<String>,
    /// When it was submitted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub submitted_at: Option<Timestamp>,
    /// When its first object was tried.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// Always null.
    pub submitted_by_key_id: Option<String>,
    /// Always null.
    pub submitted_by_key_prefix: Option<String>,
    /// Always null.
    pub submitted_by_is_internal: Option<bool>,
    /// Always null.
    pub dedup_audit: Option<Value>,
    /// Always null.
    pub manifest_key: Option<String>,
    /// Always 0.
    pub pages_dropped: u64,
    /// Always empty.
    pub pages_dropped_reasons: BTreeMap<String, u64>,
    /// Always 0.
    pub segments_dropped: u64,
    /// Always empty.
    pub segments_dropped_reasons: BTreeMap<String, u64>,
    /// Always null.
    pub status_diagnostics: Option<Value>,
    /// Always null.
    pub documents_resolvable_error: Option<String>,
    /// Always null.
    pub quota_block_first_seen_at: Option<String>,
}

/// Why a batch waits.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct QueueContextResponse {
    /// How many are before it.
    pub queue_position: Option<u64>,
    /// Which extractor is paused, and why.
    pub reason: Option<String>,
}

/// An object that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct FailedObjectResponse {
    /// Its id.
    pub object_id: String,
    /// Why.
    pub error: String,
    /// `transient`, `permanent` or `resource`.
    pub error_type: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// A tier of a batch: collections that take from the same.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TierTaskResponse {
    /// Which tier, from 0.
    pub tier_num: u32,
    /// Id of its task.
    pub task_id: String,
    /// As of a batch, or `SKIPPED`.
    pub status: &'static str,
    /// Ids of its collections.
    pub collection_ids: Vec<String>,
    /// What its extractors did.
    pub extractor_jobs: Vec<ExtractorJobResponse>,
    /// `bucket` or `collection`.
    pub source_type: &'static str,
    /// Ids of the collections of the tier before.
    pub source_collection_ids: Vec<String>,
    /// Id of the task of the tier before.
    pub parent_task_id: Option<String>,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// How long it took.
    pub duration_ms: Option<f64>,
    /// Always empty.
    pub errors: Vec<Value>,
    /// Always null.
    pub error_summary: Option<Value>,
    /// Always null.
    pub performance: Option<Value>,
    /// Always null.
    pub ray_job_id: Option<String>,
    /// Always null.
    pub requires_gpu: Option<bool>,
    /// Always null.
    pub worker_groups: Option<Value>,
    /// Always null.
    pub celery_task_id: Option<String>,
    /// Documents that it wrote.
    pub documents_written: u64,
    /// Of those, over earlier ones.
    pub documents_replaced: u64,
    /// Objects that it was given, once for each collection.
    pub documents_submitted_to_engine: u64,
    /// The same.
    pub documents_before_processing: u64,
    /// When it changed last.
    #[schema(value_type = String, format = DateTime)]
    pub last_activity_at: Timestamp,
    /// Always empty.
    pub infrastructure_events: Vec<Value>,
    /// What became of its objects, to the last one.
    pub audit: TierAuditResponse,
}

/// What one extractor did in a tier.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ExtractorJobResponse {
    /// Name of the extractor.
    pub extractor_type: String,
    /// Name and version.
    pub extractor_id: String,
    /// Id of its collection.
    pub collection_ids: Vec<String>,
    /// That of its tier.
    pub status: &'static str,
    /// Always `local`.
    pub execution_mode: &'static str,
    /// When its tier began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When its tier ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// How long its tier took.
    pub duration_ms: Option<f64>,
    /// Documents that it wrote, where it is alone in its tier.
    pub documents_written: Option<u64>,
    /// Always empty.
    pub warnings: Vec<Value>,
    /// Objects that were left out, where it is alone in its tier.
    pub documents_skipped: Option<u64>,
    /// Always empty.
    pub errors: Vec<Value>,
    /// What went wrong with its tier.
    pub error: Option<String>,
    /// When its tier changed last.
    #[schema(value_type = String, format = DateTime)]
    pub last_activity_at: Timestamp,
    /// Always null.
    pub ray_job_id: Option<String>,
}

/// What became of the objects of a tier, each counted once for each collection.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TierAuditResponse {
    /// Which tier, from 0.
    pub tier_num: u32,
    /// How many it was given.
    pub submitted: u64,
    /// How many were extracted.
    pub processed: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were left out: settled before, gone, or of no type that is taken.
    pub skipped: u64,
    /// How many are unaccounted for, which is none.
    pub lost: u64,
    /// Whether the others add up to `submitted`.
    pub balanced: bool,
    /// Always empty.
    pub notes: Vec<Value>,
    /// Always `confirmed`.
    pub durability: &'static str,
}

/// How far a batch has come.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct BatchProgressResponse {
    /// Objects that are settled, once for each collection.
    pub processed: u64,
    /// Of how many.
    pub total: u64,
    /// As a share of 100.
    pub percent: f64,
    /// How many a second.
    pub items_per_second: Option<f64>,
    /// How long it may still take.
    pub eta_seconds: Option<f64>,
    /// Always 1.
    pub batch_count: u32,
    /// Objects that failed.
    pub errors: u64,
    /// Why the first one did.
    pub first_error: Option<String>,
    /// The same.
    pub extraction_first_error: Option<String>,
    /// Objects that were left out.
    pub documents_skipped: u64,
    /// Objects that were extracted.
    pub objects_extracted: u64,
    /// Objects that were left out.
    pub objects_skipped: u64,
    /// Objects that failed.
    pub objects_failed: u64,
    /// How many batches are before it.
    pub queue_position: Option<u64>,
    /// Why it waits.
    pub queue_reason: Option<String>,
    /// Always empty.
    pub stage_history: Vec<Value>,
    /// Documents that it wrote.
    pub documents_written: u64,
    /// What is odd about it.
    pub status_warnings: Vec<String>,
}

/// What a batch costs: nothing.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::api) struct BatchCostResponse {
    /// Always 0.
    pub credits_consumed: u64,
    /// Always 0.
    pub cost_usd: f64,
    /// Always 0.
    pub credit_rate_usd: f64,
    /// Always 0.
    pub metered_model_usd: f64,
}

/// Batches of a bucket.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct ListBatchesResponse {
    /// A page of them, the newest first.
    #[schema(value_type = Vec<BatchResponse>)]
    pub results: Vec<Value>,
    /// How many there are.
    pub total_count: u64,
    /// Where the page is.
    pub pagination: crate::api::page::PaginationResponse,
}

/// Work that takes a while.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct TaskResponse {
    /// Id.
    pub task_id: String,
    /// What it does.
    pub task_type: &'static str,
    /// `PENDING`, `IN_PROGRESS`, `COMPLETED`, `FAILED` and so on.
    pub status: String,
    /// Ids of what it works on.
    pub inputs: Vec<String>,
    /// Ids of what it made.
    pub outputs: Vec<String>,
    /// More about it, by its type.
    #[schema(value_type = Object)]
    pub additional_data: Value,
    /// What went wrong.
    pub error: Option<String>,
    /// What became of the processes of a batch that was canceled.
    pub cancellation: Option<Value>,
    /// How many are before it.
    pub queue_position: Option<u64>,
    /// Always null.
    pub estimated_wait_minutes: Option<f64>,
}

/// What a retry does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RetryBatchResponse {
    /// Id of the batch.
    pub batch_id: String,
    /// Its status now.
    pub status: Option<&'static str>,
    /// `transient_only` or `all`.
    pub retry_mode: String,
    /// Objects that are tried again.
    pub retried_count: u64,
    /// Failures that stay.
    pub skipped_count: u64,
    /// The tiers that were looked at.
    pub tier_nums: Vec<u32>,
    /// How often the batch was retried.
    pub retry_count: u32,
    /// The same, for people.
    pub message: String,
}

/// A batch that runs again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResubmitBatchResponse {
    /// Id of the batch, which stays.
    pub batch_id: String,
    /// Its status now.
    pub status: &'static str,
    /// The tier that it begins with.
    pub from_tier: u32,
    /// Id of the task of its first tier.
    pub task_id: Option<String>,
    /// Whether it is submitted.
    pub auto_submitted: bool,
    /// Always true.
    pub success: bool,
    /// The same, for people.
    pub message: &'static str,
    /// The batch.
    #[schema(value_type = BatchResponse)]
    pub batch: Value,
}

/// Drafts that were submitted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmitAllBatchesResponse {
    /// How many were submitted.
    pub submitted: u64,
    /// How many could not be.
    pub failed: u64,
    /// Both together.
    pub total: u64,
    /// Ids of those that were submitted.
    pub batch_ids: Vec<String>,
    /// Why the others could not be.
    pub errors: Vec<SubmitErrorResponse>,
}

/// A batch that could not be submitted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmitErrorResponse {
    /// Id.
    pub batch_id: String,
    /// Why.
    pub error: String,
}

/// A bucket that was submitted in batches.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BulkSubmitBatchesResponse {
    /// What the batches have in common: `batch_group_id` in their metadata.
    pub batch_group_id: String,
    /// Objects in them.
    pub total_objects: u64,
    /// How many batches there are.
    pub total_batches: u64,
    /// The same.
    pub submitted: u64,
    /// Always 0.
    pub failed: u64,
    /// Objects of a batch, at most.
    pub chunk_size: u32,
    /// The batches.
    pub batches: Vec<BulkSubmittedBatchResponse>,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BulkSubmittedBatchResponse {
    /// Id.
    pub batch_id: String,
    /// Always `PENDING`.
    pub status: &'static str,
    /// How many objects it has.
    pub object_count: u64,
    /// How many batches are before it.
    pub queue_position: Option<u64>,
    /// Always null.
    pub error: Option<String>,
    /// Always null.
    pub estimate: Option<Value>,
}

/// Documents of a batch that were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedBatchDocumentsResponse {
    /// Id of the batch.
    pub batch_id: String,
    /// How many.
    pub deleted_count: u64,
    /// Always true.
    pub success: bool,
    /// The same, for people.
    pub message: &'static str,
}

/// Objects that failed, by collection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailedDocumentsResponse {
    /// Id of the batch.
    pub batch_id: String,
    /// A page of them.
    pub results: Vec<FailedDocumentResponse>,
    /// The same.
    pub failed_documents: Vec<FailedDocumentResponse>,
    /// How many there are.
    pub total: u64,
    /// Rows of a page.
    pub limit: u32,
    /// Rows before it.
    pub offset: u32,
    /// Whether there are more behind it.
    pub has_more: bool,
}

/// An object that failed in a collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FailedDocumentResponse {
    /// Id of the object.
    pub object_id: String,
    /// Id of the collection.
    pub collection_id: Option<String>,
    /// Its tier.
    pub tier_num: Option<u64>,
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

/// What extractors said.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchLogsResponse {
    /// Id of the batch.
    pub batch_id: String,
    /// Tier by tier.
    pub tiers: Vec<TierLogsResponse>,
}

/// What the extractors of a tier said.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TierLogsResponse {
    /// Which, from 0.
    pub tier_num: u32,
    /// Id of its task.
    pub task_id: String,
    /// How it stands.
    pub status: &'static str,
    /// Lines, each behind the id of its object; the last 256 KiB.
    pub logs: String,
    /// Whether there was more.
    pub is_cut: bool,
}

/// Where the time of a batch went, and what to do about its failures.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchDiagnosisResponse {
    /// Id of the batch.
    pub batch_id: String,
    /// Its status.
    pub status: &'static str,
    /// How it stands, for people.
    pub summary: Value,
    /// From its submission to its first object.
    pub waited_seconds: Option<f64>,
    /// From its first object to its end, or to now.
    pub ran_seconds: Option<f64>,
    /// Objects whose time is known.
    pub objects: u64,
    /// What half of them did not exceed.
    pub p50_ms: Option<u64>,
    /// What 95 of 100 did not exceed.
    pub p95_ms: Option<u64>,
    /// Failures by what they say, the most frequent first.
    pub errors: Vec<FailureGroupResponse>,
    /// Objects that met a limit.
    pub limits_hit: u64,
    /// Extractors of it that are paused.
    pub extractor_pauses: Vec<ExtractorPauseResponse>,
    /// What to do.
    pub recommendations: Vec<String>,
    /// What became of its objects.
    pub counts: BatchCountsResponse,
}

/// Failures that say the same.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct FailureGroupResponse {
    /// `transient`, `permanent` or `resource`.
    pub error_type: String,
    /// What they say.
    pub error: String,
    /// How many.
    pub count: u64,
    /// Id of one of their objects.
    pub example_object_id: Option<String>,
}

impl From<FailureGroup> for FailureGroupResponse {
    fn from(group: FailureGroup) -> Self {
        Self {
            error_type: group.class,
            error: group.error,
            count: group.count,
            example_object_id: group.example,
        }
    }
}

/// An extractor that is paused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExtractorPauseResponse {
    /// Its name.
    pub extractor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When it is tried next.
    #[schema(value_type = String, format = DateTime)]
    pub next_probe_at: Timestamp,
}

/// What became of the objects of a batch, once for each collection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchCountsResponse {
    /// All.
    pub submitted: u64,
    /// Those that were extracted.
    pub processed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were left out.
    pub skipped: u64,
}
