//! A sync on the wire: [`SyncConfigurationModel`], made from its [`SyncDetails`]. The
//! names are the public API's; our additions are at the end of each type.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::{
    Owner,
    job::{Measured, counts},
    wire::{IngestFilter, MaxDeleteSetting, ReconcileSettings, TaskStatusEnum},
};
use crate::{
    api::page::PaginationResponse,
    engine::{Engine, LiveProgress},
    model::{
        Cursor, EntryPath, FileFilters, MaxDelete, Notice, PausedBy, Reconcile, SchemaMapping,
        SyncMode, SyncStatus,
    },
    sources,
    store::{
        checkpoints::Progress,
        jobs::Job,
        leases::Holder,
        syncs::{HeldRemovals, Sync},
        syncs_list::SyncDetails,
    },
};

/// A sync: its settings, its state, what it has done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncConfigurationModel {
    /// Its id.
    pub sync_config_id: String,
    /// The bucket that it fills.
    pub bucket_id: String,
    /// The connection that it reads through.
    pub connection_id: String,
    /// The organization.
    pub internal_id: String,
    /// The namespace.
    pub namespace_id: String,
    /// Where it reads.
    pub source_path: String,
    /// Which entries it takes; null: all.
    pub file_filters: Option<FileFilters>,
    /// How entries become fields and blobs; null: the file is the blob `content`.
    #[schema(value_type = Option<SchemaMappingOutput>)]
    pub schema_mapping: Option<SchemaMapping>,
    /// Whether it continues after its first complete pass.
    pub sync_mode: SyncMode,
    /// Seconds from the end of a run to the next.
    pub polling_interval_seconds: u32,
    /// Entries in one unit of work.
    pub batch_size: u32,
    /// Whether objects are made at once.
    pub create_object_on_confirm: bool,
    /// Whether bytes that the bucket has make no second object.
    pub skip_duplicates: bool,
    /// Whether objects are made without being batched.
    pub skip_batch_submission: bool,
    /// The collections that batches are for; null: all of the bucket.
    pub batch_collection_ids: Option<Vec<String>>,
    /// Which objects are worth processing.
    #[schema(value_type = Option<IngestFilter>)]
    pub ingest_filter: Option<Value>,
    /// What a run may change in the bucket besides adding to it.
    pub reconcile: ReconcileSettings,
    /// Its state.
    #[schema(value_type = TaskStatusEnum)]
    pub status: SyncStatus,
    /// Whether it may run at all.
    pub is_active: bool,
    /// Entries that its jobs went by, all together.
    pub total_files_discovered: u64,
    /// Of them those that became objects or changed theirs.
    pub total_files_synced: u64,
    /// Entries that could not be taken, each once until it is resolved.
    pub total_files_failed: u64,
    /// Bytes read into the bucket.
    pub total_bytes_synced: u64,
    /// The same and more; null before the first run has ended.
    pub stats: Option<SyncStatsModel>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// End of the last complete pass.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sync_at: Option<Timestamp>,
    /// By shard, when it was listed to its end last; one that is absent is listed from its
    /// beginning.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub per_shard_last_sync_at: Option<BTreeMap<String, Timestamp>>,
    /// When it is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_sync_at: Option<Timestamp>,
    /// Who made it.
    pub created_by_user_id: String,
    /// Why the last run failed.
    #[schema(max_length = 1000)]
    pub last_error: Option<String>,
    /// Runs that failed since one succeeded.
    pub consecutive_failures: u32,
    /// Filters that the provider itself applies.
    #[schema(value_type = Option<Object>)]
    pub provider_filters: Option<Map<String, Value>>,
    /// The provider: local, s3, tigris.
    pub source_type: String,
    /// Whatever its maker keeps with it.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The worker that runs it.
    pub locked_by_worker_id: Option<String>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_at: Option<Timestamp>,
    /// Until when, unless renewed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lock_expires_at: Option<Timestamp>,
    /// A full run follows the one under way.
    pub pending_full_sync: bool,
    /// Whether it is paused or suspended.
    pub paused: bool,
    /// Why.
    pub pause_reason: Option<String>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
    /// By whom; null where it suspended itself.
    pub paused_by_user_id: Option<String>,
    /// Words for people.
    pub description: Option<String>,
    /// Entries after which a run ends its slice.
    pub max_objects_per_run: u64,
    /// The most that a batch may have.
    pub max_batch_chunk_size: u32,
    /// Objects in a processing batch.
    pub batch_chunk_size: u32,
    /// Entries that are fetched at once; null: what suits the source.
    pub sync_concurrency: Option<u32>,
    /// The job under way, else the last one.
    pub current_sync_run_id: Option<String>,
    /// How many runs have begun.
    pub sync_run_counter: u64,
    /// The batches that it made.
    pub batch_ids: Vec<String>,
    /// The tasks of those.
    pub task_ids: Vec<String>,
    /// How many batches it made.
    pub batches_created: u64,
    /// Whether a run continues where an interrupted one stopped.
    pub resume_enabled: bool,
    /// Where the pass under way continues, in the first shard that it is in the midst of.
    pub resume_cursor: Option<String>,
    /// For tables, the key of the last row that it has dealt with: a JSON list of texts. Null for
    /// files.
    pub resume_last_primary_key: Option<String>,
    /// Entries dealt with over all passes, in all shards.
    pub resume_objects_processed: u64,
    /// Objects between two checkpoints at most.
    pub resume_checkpoint_frequency: u32,
    /// The same as `resume_cursor`.
    pub current_cursor: Option<String>,
    /// The checkpoint of each shard: pass, cursor, entries dealt with over all passes, when it was
    /// listed to its end last. `__default__` where the source is listed as one.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    pub sync_checkpoints: Option<BTreeMap<String, Value>>,
    /// Mode, interval, next and last run.
    #[schema(value_type = Object)]
    pub schedule: Value,
    /// How far the job under way, else the last one, has come; null before the first.
    #[schema(value_type = Option<Object>)]
    pub sync_progress: Option<Map<String, Value>>,
    /// Whether a worker runs it.
    pub locked: bool,
    /// The exact bytes of `source_path` in base64, where they are not text.
    pub source_path_bytes: Option<String>,
    /// The bucket's name.
    pub bucket_name: String,
    /// Who made it: `api` or `command_line`.
    pub made_by: String,
    /// Entries last modified before this are not taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sync_from: Option<Timestamp>,
    /// How many objects a run may remove before it stops and asks; null: half of them.
    #[schema(value_type = Option<MaxDeleteSetting>)]
    pub max_delete: Option<MaxDeleteSetting>,
    /// Whether the files that symbolic links lead to are taken.
    pub follow_symlinks: bool,
    /// With `follow_symlinks`: also those that lead out of the folder.
    pub symlinks_may_leave_root: bool,
    /// Removals that wait for a decision.
    #[schema(value_type = Option<Object>)]
    pub held_removals: Option<HeldRemovals>,
    /// Every total by its name.
    #[schema(value_type = Object)]
    pub totals: Map<String, Value>,
    /// Entries that could not be taken and still cannot.
    pub dead_letters: u64,
    /// Objects whose entries are gone from the source, and that somebody said to keep: the filter
    /// `released` of the bucket's objects lists them.
    pub released_objects: u64,
    /// What is true of it and needs no action.
    pub notices: Vec<NoticeModel>,
}

/// Something that is true of a sync and needs no action.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct NoticeModel {
    /// `nothing_there_yet`, `watch_limited`, `waiting_for_provider` or `listed_in_full`.
    #[schema(value_type = String)]
    pub code: Notice,
    /// For people.
    pub message: String,
}

impl NoticeModel {
    /// The notice of a source that has something to remark on how it is listed.
    pub(super) fn of_remark(remark: Option<String>) -> Vec<Self> {
        remark.map(|message| Self { code: Notice::ListedInFull, message }).into_iter().collect()
    }

    /// The notices of a sync.
    pub(in crate::api) fn of(notices: &BTreeMap<Notice, String>) -> Vec<Self> {
        let one =
            |(code, message): (&Notice, &String)| Self { code: *code, message: message.clone() };
        notices.iter().map(one).collect()
    }
}

/// A mapping as it is kept: `target_type` and `source.type` are always there.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SchemaMappingOutput {
    /// Targets in the bucket, each with where it comes from; see `SchemaMappingInput`.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub mappings: Map<String, Value>,
}

/// What the runs of a sync came to, all together and the last one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncStatsModel {
    pub total_objects_synced: u64,
    pub total_objects_verified: u64,
    pub total_objects_failed: u64,
    pub total_objects_discovered: u64,
    pub total_objects_skipped: u64,
    pub total_bytes_synced: u64,
    pub total_duration_seconds: f64,
    pub total_runs_completed: u64,
    pub total_runs_failed: u64,
    pub peak_objects_per_min: f64,
    pub last_run_objects_synced: u64,
    pub last_run_objects_verified: u64,
    pub last_run_objects_failed: u64,
    pub last_run_objects_discovered: u64,
    pub last_run_objects_skipped: u64,
    pub last_run_bytes_synced: u64,
    pub last_run_duration_seconds: f64,
    pub last_run_throughput_objects_per_min: f64,
    pub last_run_throughput_mbps: f64,
    pub last_run_avg_object_size_bytes: u64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_run_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

/// A page of syncs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SyncListResponse {
    /// Newest first.
    pub results: Vec<SyncConfigurationModel>,
    /// Where this page is among the others.
    pub pagination: PaginationResponse,
    /// How many there are in all.
    pub total: u64,
}

impl SyncConfigurationModel {
    /// The sync on the wire at `now`.
    pub(super) fn of(
        details: SyncDetails,
        owner: &Owner,
        engine: &Engine,
        live: &LiveProgress,
        now: Timestamp,
    ) -> Self {
        let stats = details.last_run.as_ref().map(|last| stats(&details.sync, last, now));
        let lease = details.lease.as_ref().filter(|holder| engine.is_held(holder, now)).cloned();
        let cursor = details.shards.iter().find_map(|shard| shard.cursor.as_ref());
        let reader = sources::reader(&details.sync.location.connection.provider);
        let last_row = reader.zip(cursor).and_then(|(reader, cursor)| reader.last_row(cursor));
        let cursor = cursor.map(Cursor::to_json_text);
        let progress = details.job.as_ref().map(|job| {
            let retrying = live.retrying(&job.id);
            let measured = Measured::of(job, &details.sync);
            measured.progress_model(job, retrying.as_ref(), now)
        });
        let sync = &details.sync;
        let path = EntryPath::new(sync.location.source_path.as_slice());
        let (options, totals) = (&sync.options, &sync.totals);
        let pause = sync.pause.as_ref();
        let by_person = pause.is_some_and(|pause| pause.by == PausedBy::Person);
        Self {
            sync_config_id: sync.id.to_string(),
            bucket_id: sync.bucket_id.to_string(),
            connection_id: sync.connection_id.to_string(),
            internal_id: owner.internal_id.clone(),
            namespace_id: owner.namespace_id.clone(),
            source_path: path.to_json_text(),
            source_path_bytes: path.base64_if_not_utf8(),
            file_filters: (options.filters != FileFilters::default())
                .then(|| options.filters.clone()),
            schema_mapping: options.mapping.clone(),
            sync_mode: options.pace.mode,
            polling_interval_seconds: options.pace.polling_interval_seconds,
            batch_size: options.pace.batch_size,
            create_object_on_confirm: options.create_object_on_confirm,
            skip_duplicates: options.skip_duplicates,
            skip_batch_submission: options.processing.skip_batch_submission,
            batch_collection_ids: options.processing.batch_collection_ids.clone(),
            ingest_filter: options.processing.ingest_filter.clone(),
            reconcile: reconcile(&options.reconcile),
            status: shown_status(sync.status, lease.as_ref()),
            is_active: sync.is_active,
            total_files_discovered: totals.counts.discovered(),
            total_files_synced: totals.counts.synced + totals.counts.updated,
            total_files_failed: sync.failed_entries,
            total_bytes_synced: totals.counts.bytes,
            stats,
            created_at: sync.created_at,
            updated_at: sync.updated_at,
            last_sync_at: sync.last_sync_at,
            per_shard_last_sync_at: last_by_shard(&details.shards),
            next_sync_at: sync.next_sync_at,
            created_by_user_id: owner.user_id.clone(),
            last_error: sync.last_error.clone(),
            consecutive_failures: sync.consecutive_failures,
            provider_filters: Some(options.provider_filters.clone())
                .filter(|filters| !filters.is_empty()),
            source_type: sync.location.connection.provider.as_str().to_owned(),
            metadata: options.metadata.clone(),
            locked: lease.is_some(),
            locked_at: lease.as_ref().map(|lease| lease.since),
            lock_expires_at: lease.as_ref().map(|lease| lease.until),
            locked_by_worker_id: lease.map(|lease| lease.worker),
            pending_full_sync: sync.pending_full_sync,
            paused: pause.is_some(),
            pause_reason: pause.and_then(|pause| pause.reason.clone()),
            paused_at: pause.map(|pause| pause.at),
            paused_by_user_id: by_person.then(|| owner.user_id.clone()),
            description: options.description.clone(),
            max_objects_per_run: options.pace.max_objects_per_run,
            max_batch_chunk_size: options.processing.max_batch_chunk_size,
            batch_chunk_size: options.processing.batch_chunk_size,
            sync_concurrency: options.pace.sync_concurrency,
            current_sync_run_id: details.job.as_ref().map(|job| job.id.to_string()),
            sync_run_counter: totals.runs,
            batches_created: details.batches.count,
            batch_ids: details.batches.batch_ids.clone(),
            task_ids: details.batches.task_ids.clone(),
            resume_enabled: options.pace.resume_enabled,
            resume_cursor: cursor.clone(),
            resume_last_primary_key: last_row,
            resume_objects_processed: details.shards.iter().map(|s| s.objects_processed).sum(),
            resume_checkpoint_frequency: options.pace.resume_checkpoint_frequency,
            current_cursor: cursor,
            sync_checkpoints: checkpoints(&details.shards),
            schedule: schedule(sync),
            sync_progress: progress,
            bucket_name: sync.bucket.clone(),
            made_by: sync.made_by.as_str().to_owned(),
            sync_from: options.sync_from,
            max_delete: options.max_delete.map(max_delete),
            follow_symlinks: options.follow_symlinks,
            symlinks_may_leave_root: options.symlinks_may_leave_root,
            held_removals: sync.held_removals.clone(),
            totals: self::counts(&totals.counts),
            dead_letters: details.dead_letters,
            released_objects: details.released,
            notices: NoticeModel::of(&sync.notices),
        }
    }
}

/// A run whose lease is no longer valid has lost its worker, whether that has been noticed or not.
fn shown_status(status: SyncStatus, lease: Option<&Holder>) -> SyncStatus {
    match (status, lease) {
        (SyncStatus::InProgress, None) => SyncStatus::Interrupted,
        _ => status,
    }
}

fn reconcile(settings: &Reconcile) -> ReconcileSettings {
    ReconcileSettings {
        on_delete: Some(settings.on_delete),
        on_update: Some(settings.on_update),
        on_filter_drift: Some(settings.on_filter_drift),
        re_extract_on_update: Some(settings.re_extract_on_update),
        re_extract_fields: Some(settings.re_extract_fields.clone())
            .filter(|fields| !fields.is_empty()),
    }
}

fn max_delete(limit: MaxDelete) -> MaxDeleteSetting {
    match limit {
        MaxDelete::Count(count) => MaxDeleteSetting::Count(count),
        MaxDelete::Percent(share) => MaxDeleteSetting::Text(format!("{share}%")),
    }
}

fn last_by_shard(shards: &[Progress]) -> Option<BTreeMap<String, Timestamp>> {
    let last: BTreeMap<_, _> = shards
        .iter()
        .filter_map(|shard| Some((shard.shard.clone(), shard.completed_at?)))
        .collect();
    (!last.is_empty()).then_some(last)
}

fn checkpoints(shards: &[Progress]) -> Option<BTreeMap<String, Value>> {
    let to_model = |shard: &Progress| {
        json!({
            "pass_id": format!("pass_{:012}", shard.pass),
            "cursor": shard.cursor.as_ref().map(Cursor::to_json_text),
            "objects_processed": shard.objects_processed,
            "modified_since": shard.modified_since,
            "completed_at": shard.completed_at,
            "updated_at": shard.updated_at,
        })
    };
    (!shards.is_empty())
        .then(|| shards.iter().map(|shard| (shard.shard.clone(), to_model(shard))).collect())
}

fn schedule(sync: &Sync) -> Value {
    json!({
        "mode": sync.options.pace.mode,
        "interval_seconds": sync.options.pace.polling_interval_seconds,
        "next_sync_at": sync.next_sync_at,
        "last_sync_at": sync.last_sync_at,
    })
}

#[expect(clippy::cast_precision_loss, reason = "rates and seconds need no 53 bits")]
fn stats(sync: &Sync, last: &Job, now: Timestamp) -> SyncStatsModel {
    let (all, run) = (&sync.totals.counts, &last.counts);
    let seconds = last.seconds(now);
    let made = run.synced + run.updated;
    SyncStatsModel {
        total_objects_synced: all.synced + all.updated,
        total_objects_verified: all.unchanged,
        total_objects_failed: sync.failed_entries,
        total_objects_discovered: all.discovered(),
        total_objects_skipped: all.duplicates + all.filtered,
        total_bytes_synced: all.bytes,
        total_duration_seconds: sync.totals.run_ms as f64 / 1000.0,
        total_runs_completed: sync.totals.completed,
        total_runs_failed: sync.totals.failed,
        peak_objects_per_min: sync.totals.peak_per_minute,
        last_run_objects_synced: made,
        last_run_objects_verified: run.unchanged,
        last_run_objects_failed: run.failed,
        last_run_objects_discovered: run.discovered(),
        last_run_objects_skipped: run.duplicates + run.filtered,
        last_run_bytes_synced: run.bytes,
        last_run_duration_seconds: seconds,
        last_run_throughput_objects_per_min: last.per_minute(now),
        last_run_throughput_mbps: run.bytes as f64 / 1e6 / seconds.max(0.001),
        last_run_avg_object_size_bytes: run.bytes.checked_div(made).unwrap_or_default(),
        last_run_at: last.completed_at,
        updated_at: last.completed_at,
    }
}
