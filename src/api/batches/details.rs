//! Batches as they are returned: what the client's model has, from the database alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::response::{
    BatchCostResponse, BatchProgressResponse, BatchResponse, ExtractorJobResponse,
    FailedObjectResponse, QueueContextResponse, TaskResponse, TierAuditResponse, TierTaskResponse,
};

use crate::{
    model::{BatchStatus, Dedup},
    store::{
        Connection, Result,
        processing::{
            batches::{self, Batch},
            collections::{self, Collection},
            outcomes::{self, FailedObject},
            pauses::{self, Pause},
            tasks::{self, Counts, Task},
        },
    },
};

/// Failed objects that a batch names itself; all of them are in their own list.
const NAMED: u32 = 1000;

/// A batch with everything that is returned of it.
#[derive(Debug)]
pub(in crate::api) struct Details {
    pub(in crate::api) batch: Batch,
    pub(in crate::api) tasks: Vec<Task>,
    /// Its collections by tier; those that are gone are left out.
    pub(in crate::api) tiers: Vec<Vec<Collection>>,
    bucket_id: String,
    namespace_id: String,
    collection_ids: Vec<String>,
    object_ids: Option<Vec<String>>,
    failed: Vec<FailedObject>,
    pause: Option<Pause>,
    pub(in crate::api) queue_position: Option<u64>,
}

/// Everything that is returned of a batch; its members and failures only where they are wanted.
pub(in crate::api) fn details_of(db: &Connection, batch: Batch, whole: bool) -> Result<Details> {
    let (bucket_id, namespace_id) = batches::whereabouts(db, batch.bucket_key)?;
    let mut tiers = Vec::new();
    for keys in batch.tiers.iter().flatten() {
        let mut tier = Vec::new();
        for key in keys {
            tier.extend(collections::by_key(db, *key)?);
        }
        tiers.push(tier);
    }
    let mut collection_ids = Vec::new();
    for key in batch.collections.iter().flatten() {
        collection_ids.extend(collections::by_key(db, *key)?.map(|it| it.id.to_string()));
    }
    if batch.collections.is_none() {
        collection_ids = tiers.first().into_iter().flatten().map(|it| it.id.to_string()).collect();
    }
    let keys: Vec<i64> = batch.tiers.iter().flatten().flatten().copied().collect();
    let is_open = matches!(batch.status, BatchStatus::Pending | BatchStatus::InProgress);
    let names: Vec<&str> = tiers
        .iter()
        .flatten()
        .map(|collection| collection.settings.extractor.name.as_str())
        .collect();
    let pause = match is_open {
        true => pauses::all(db)?.into_iter().find(|pause| names.contains(&pause.name.as_str())),
        false => None,
    };
    Ok(Details {
        tasks: tasks::of_batch(db, batch.key)?,
        object_ids: match whole {
            true => {
                Some(batches::object_ids(db, batch.key)?.iter().map(ToString::to_string).collect())
            }
            false => None,
        },
        failed: match whole {
            true => outcomes::failed_of_batch(db, batch.key, &keys, 0, NAMED)?,
            false => Vec::new(),
        },
        queue_position: match batch.status {
            BatchStatus::Pending => Some(batches::queue_position(db, &batch)?),
            _ => None,
        },
        bucket_id,
        namespace_id,
        collection_ids,
        tiers,
        pause,
        batch,
    })
}

impl Details {
    /// What all tiers have done together.
    pub(in crate::api) fn counts(&self) -> Counts {
        self.tasks.iter().fold(Counts::default(), |sum, task| Counts {
            submitted: sum.submitted + task.counts.submitted,
            processed: sum.processed + task.counts.processed,
            failed: sum.failed + task.counts.failed,
            skipped: sum.skipped + task.counts.skipped,
            documents: sum.documents + task.counts.documents,
            replaced: sum.replaced + task.counts.replaced,
        })
    }

    /// The answer.
    pub(in crate::api) fn to_json(&self, now: Timestamp) -> Value {
        let batch = &self.batch;
        let counts = self.counts();
        let status = batch.status;
        let first_task = self.tasks.iter().find(|task| task.tier == Some(0));
        json!(BatchResponse {
            batch_id: batch.id.to_string(),
            bucket_id: self.bucket_id.clone(),
            namespace_id: self.namespace_id.clone(),
            batch_name: batch.name.clone(),
            status: status.as_str(),
            queue_context: self.queue_context(),
            object_ids: self.object_ids.clone(),
            object_count: batch.object_count,
            dedup_strategy: batch.dedup.as_str(),
            effective_dedup_strategy: batch.dedup.effective().as_str(),
            collection_ids: self.collection_ids.clone(),
            error: batch.error.clone(),
            failure_reason: batch.error.clone(),
            error_summary: self.error_summary(),
            failure_category: (status == BatchStatus::Failed).then_some("pipeline"),
            failed_objects: self.failed_told(),
            failed_object_count: counts.failed,
            partial_objects: Vec::new(),
            partial_object_count: 0,
            unaccounted_object_count: 0,
            kind: "BUCKET",
            task_id: first_task.map(|task| task.id.to_string()),
            loaded_object_ids: None,
            internal_metadata: None,
            metadata: (!batch.metadata.is_empty()).then(|| batch.metadata.clone()),
            tier_tasks: self.tasks.iter().map(|task| self.tier_told(task)).collect(),
            current_tier: batch.tiers.as_ref().map(|_| batch.tier),
            total_tiers: batch.tiers.as_ref().map_or(1, |tiers| tiers.len().max(1)) as u64,
            dag_tiers: batch.tiers.as_ref().map(|_| self
                .tiers
                .iter()
                .map(|tier| ids(tier))
                .collect()),
            created_at: batch.created_at,
            progress: self.progress(&counts, now),
            documents_written: counts.documents,
            documents_replaced: counts.replaced,
            documents_deleted: 0,
            documents_resolvable: status.is_terminal(),
            health: if self.pause.is_some() { "stalled" } else { "healthy" },
            cost: BatchCostResponse::default(),
            last_activity_at: batch.updated_at,
            retry_count: batch.retries,
            max_retries: 3,
            last_retry_at: batch.retried_at,
            retry_reason: batch.retry_reason.clone(),
            node_death_resubmit_count: batch.restarts,
            deploy_resubmit_count: 0,
            webhook_url: batch.webhook_url.clone(),
            updated_at: batch.updated_at,
            status_message: self.message(&counts),
            estimated_completion: None,
            max_node_death_resubmits: i32::MAX,
            max_deploy_resubmits: i32::MAX,
            lifecycle: lifecycle(status),
            lifecycle_reason: self.pause.as_ref().map(|pause| pause.reason.clone()),
            submitted_at: batch.submitted_at,
            started_at: batch.started_at,
            completed_at: batch.completed_at,
            submitted_by_key_id: None,
            submitted_by_key_prefix: None,
            submitted_by_is_internal: None,
            dedup_audit: None,
            manifest_key: None,
            pages_dropped: 0,
            pages_dropped_reasons: BTreeMap::new(),
            segments_dropped: 0,
            segments_dropped_reasons: BTreeMap::new(),
            status_diagnostics: None,
            documents_resolvable_error: None,
            quota_block_first_seen_at: None,
        })
    }

    fn queue_context(&self) -> Option<QueueContextResponse> {
        let is_waiting = self.batch.status == BatchStatus::Pending || self.pause.is_some();
        is_waiting.then(|| QueueContextResponse {
            queue_position: self.queue_position,
            reason: self.queue_reason(),
        })
    }

    fn queue_reason(&self) -> Option<String> {
        self.pause
            .as_ref()
            .map(|pause| format!("the extractor {} is paused: {}", pause.name, pause.reason))
    }

    fn message(&self, counts: &Counts) -> String {
        match self.batch.status {
            BatchStatus::Draft => "Not submitted yet".to_owned(),
            BatchStatus::Pending => {
                self.queue_reason().unwrap_or_else(|| "Waiting to be processed".to_owned())
            }
            BatchStatus::InProgress => self.queue_reason().unwrap_or_else(|| {
                let settled = counts.processed + counts.failed + counts.skipped;
                format!("{settled} of {} done", counts.submitted)
            }),
            BatchStatus::Canceled => "Canceled".to_owned(),
            _ => format!(
                "{} extracted, {} failed, {} skipped",
                counts.processed, counts.failed, counts.skipped
            ),
        }
    }

    fn failed_told(&self) -> Vec<FailedObjectResponse> {
        self.failed
            .iter()
            .map(|failed| FailedObjectResponse {
                object_id: failed.object_id.clone(),
                error: failed.error.clone(),
                error_type: failed.class.clone(),
                timestamp: failed.at,
                attempts: failed.attempts,
            })
            .collect()
    }

    fn error_summary(&self) -> Option<BTreeMap<String, u64>> {
        let mut by_class = BTreeMap::new();
        for failed in &self.failed {
            *by_class.entry(failed.class.clone()).or_default() += 1;
        }
        (!by_class.is_empty()).then_some(by_class)
    }

    fn tier_told(&self, task: &Task) -> TierTaskResponse {
        let tier = task.tier.unwrap_or_default();
        let none = Vec::new();
        let collections = self.tiers.get(tier as usize).unwrap_or(&none);
        let counts = &task.counts;
        let settled = counts.processed + counts.failed + counts.skipped;
        let is_alone = collections.len() == 1;
        let jobs = collections.iter().map(|collection| job_of(task, collection, is_alone));
        TierTaskResponse {
            tier_num: tier,
            task_id: task.id.to_string(),
            status: task.status.as_str(),
            collection_ids: ids(collections),
            extractor_jobs: jobs.collect(),
            source_type: if tier == 0 { "bucket" } else { "collection" },
            source_collection_ids: match tier {
                0 => Vec::new(),
                tier => self.tiers.get(tier as usize - 1).map(|tier| ids(tier)).unwrap_or_default(),
            },
            parent_task_id: match tier {
                0 => None,
                tier => self
                    .tasks
                    .iter()
                    .find(|it| it.tier == Some(tier - 1))
                    .map(|it| it.id.to_string()),
            },
            started_at: task.started_at,
            completed_at: task.completed_at,
            duration_ms: duration_ms(task),
            errors: Vec::new(),
            error_summary: None,
            performance: None,
            ray_job_id: None,
            requires_gpu: None,
            worker_groups: None,
            celery_task_id: None,
            documents_written: counts.documents,
            documents_replaced: counts.replaced,
            documents_submitted_to_engine: counts.submitted,
            documents_before_processing: counts.submitted,
            last_activity_at: task.updated_at,
            infrastructure_events: Vec::new(),
            audit: TierAuditResponse {
                tier_num: tier,
                submitted: counts.submitted,
                processed: counts.processed,
                failed: counts.failed,
                skipped: counts.skipped,
                lost: match task.status.is_terminal() && task.status != BatchStatus::Canceled {
                    true => counts.submitted.saturating_sub(settled),
                    false => 0,
                },
                balanced: settled == counts.submitted,
                notes: Vec::new(),
                durability: "confirmed",
            },
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    fn progress(&self, counts: &Counts, now: Timestamp) -> BatchProgressResponse {
        let settled = counts.processed + counts.failed + counts.skipped;
        let members = self.batch.object_count;
        let all: u64 = self
            .tiers
            .iter()
            .map(|tier| tier.len() as u64 * members)
            .sum::<u64>()
            .max(counts.submitted);
        let percent = match (self.batch.status.is_terminal(), all) {
            (true, _) => 100.0,
            (false, 0) => 0.0,
            (false, all) => settled as f64 * 100.0 / all as f64,
        };
        let end = self.batch.completed_at.unwrap_or(now);
        let seconds = self
            .batch
            .started_at
            .map_or(0.0, |begun| end.duration_since(begun).as_secs_f64().max(0.001));
        let rate = (seconds > 0.0).then(|| settled as f64 / seconds);
        let eta = rate
            .filter(|rate| *rate > 0.0 && !self.batch.status.is_terminal())
            .map(|rate| (all.saturating_sub(settled)) as f64 / rate);
        let mut warnings = Vec::new();
        if self.batch.dedup == Dedup::Force {
            warnings.push("dedup_strategy force runs as replace".to_owned());
        }
        warnings.extend(self.queue_reason());
        let first_error = self.failed.first().map(|failed| failed.error.clone());
        BatchProgressResponse {
            processed: settled,
            total: all,
            percent,
            items_per_second: rate,
            eta_seconds: eta,
            batch_count: 1,
            errors: counts.failed,
            first_error: first_error.clone(),
            extraction_first_error: first_error,
            documents_skipped: counts.skipped,
            objects_extracted: counts.processed,
            objects_skipped: counts.skipped,
            objects_failed: counts.failed,
            queue_position: self.queue_position,
            queue_reason: self.queue_reason(),
            stage_history: Vec::new(),
            documents_written: counts.documents,
            status_warnings: warnings,
        }
    }
}

fn job_of(task: &Task, collection: &Collection, is_alone: bool) -> ExtractorJobResponse {
    let extractor = &collection.settings.extractor;
    ExtractorJobResponse {
        extractor_type: extractor.name.clone(),
        extractor_id: format!("{}_{}", extractor.name, extractor.version),
        collection_ids: vec![collection.id.to_string()],
        status: task.status.as_str(),
        execution_mode: "local",
        started_at: task.started_at,
        completed_at: task.completed_at,
        duration_ms: duration_ms(task),
        documents_written: is_alone.then_some(task.counts.documents),
        warnings: Vec::new(),
        documents_skipped: is_alone.then_some(task.counts.skipped),
        errors: Vec::new(),
        error: task.error.clone(),
        last_activity_at: task.updated_at,
        ray_job_id: None,
    }
}

fn ids(collections: &[Collection]) -> Vec<String> {
    collections.iter().map(|collection| collection.id.to_string()).collect()
}

fn duration_ms(task: &Task) -> Option<f64> {
    let (begun, ended) = (task.started_at?, task.completed_at?);
    Some(ended.duration_since(begun).as_secs_f64() * 1000.0)
}

const fn lifecycle(status: BatchStatus) -> &'static str {
    match status {
        BatchStatus::Draft => "draft",
        BatchStatus::Pending => "queued",
        BatchStatus::InProgress => "extracting",
        _ => "finished",
    }
}

/// A task of a tier as the client's model has it.
pub(in crate::api) fn task_of(details: &Details, task: &Task) -> Value {
    let batch = &details.batch;
    json!(TaskResponse {
        task_id: task.id.to_string(),
        task_type: task.kind.as_str(),
        status: task.status.as_str().to_owned(),
        inputs: vec![batch.id.to_string()],
        outputs: Vec::new(),
        additional_data: json!({
            "batch_id": batch.id,
            "bucket_id": details.bucket_id,
            "namespace_id": details.namespace_id,
            "collection_ids": task
                .tier
                .and_then(|tier| details.tiers.get(tier as usize))
                .map(|tier| ids(tier))
                .unwrap_or_default(),
            "tier_num": task.tier,
            "object_count": batch.object_count,
            "processed": task.counts.processed,
            "failed": task.counts.failed,
            "skipped": task.counts.skipped,
            "documents_written": task.counts.documents,
            "created_at": task.created_at,
            "started_at": task.started_at,
            "completed_at": task.completed_at,
        }),
        error: task.error.clone(),
        cancellation: None,
        queue_position: match task.status {
            BatchStatus::Pending => details.queue_position,
            _ => None,
        },
        estimated_wait_minutes: None,
    })
}
