//! Batches on the wire: responses. Requests are in `wire`.
//!
//! What the public API has and nothing here can differ in is null, empty or the same always, and
//! says so.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

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
