//! What a run would do, of a sync or of one that is not made yet. Nothing is stored.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ErrorResponse, find_bucket, job::counts, model::NoticeModel, place, settings::defaults, sync,
    wire::SyncPreviewRequest,
};
use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
        json::{FromPath, Valid},
        scope::Scope,
    },
    engine::{
        RunOptions,
        preview::{self, Bounds, Outlook, Question, Verdict},
    },
    model::{EntryPath, Location, SyncOptions},
    store::{
        connections::{self, StoredConnection},
        syncs::Sync,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(preview)).routes(routes!(preview_new))
}

/// What a run would do.
#[derive(Debug, Serialize, ToSchema)]
struct SyncPreviewResponse {
    /// The sync that it is about; null for one that is not made yet.
    sync_config_id: Option<String>,
    /// Whether everything was looked at; else the counts are those of what was, and removals are
    /// not known.
    complete: bool,
    /// How many entries were looked at.
    looked_at: u64,
    /// What would be counted.
    #[schema(value_type = Object)]
    counts: Map<String, Value>,
    /// Bytes that would be fetched. Entries whose bytes the bucket has already are among them:
    /// only the bytes show that.
    bytes_to_fetch: u64,
    /// Whether the guard would hold the removals back.
    removals_held: bool,
    /// How many entries each rule leaves out.
    excluded: std::collections::BTreeMap<String, u64>,
    /// Some entries of each kind.
    sample: Vec<PreviewedEntry>,
    /// What would be true of the sync, and need no action.
    notices: Vec<NoticeModel>,
}

/// What would become of one entry.
#[derive(Debug, Default, Serialize, ToSchema)]
struct PreviewedEntry {
    /// Its path from the sync's root.
    path: String,
    /// The exact bytes of the path in base64, where they are not text.
    path_bytes: Option<String>,
    /// What would become of it.
    action: PreviewAction,
    /// Its size, where it would be fetched.
    size_bytes: Option<u64>,
    /// Why: the rule that leaves it out, what the settings change of it, the reason of its removal
    /// or failure.
    reason: Option<String>,
    /// The path that it had, where it would be renamed.
    renamed_from: Option<String>,
}

/// What would become of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PreviewAction {
    /// It would become an object.
    #[default]
    Add,
    /// It would change its object.
    Update,
    /// Its object would get this path.
    Rename,
    /// Its object would go.
    Remove,
    /// It would be left out.
    Exclude,
    /// It failed before and would not be tried yet.
    Wait,
    /// It would fail.
    Fail,
}

/// Preview what a run would do
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/preview", tag = "bucket_syncs",
    operation_id = "preview_sync_configuration",
    params(("bucket_id" = String, Path, description = "Id or name of the bucket")),
    request_body = SyncPreviewRequest,
    responses((status = 200, body = SyncPreviewResponse), (status = "4XX", body = ErrorResponse))
)]
async fn preview(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket_id): FromPath<String>,
    Valid(body): Valid<SyncPreviewRequest>,
) -> Result<Json<SyncPreviewResponse>, ApiError> {
    let target = target(&app, &scope, bucket_id, &body).await?;
    run_preview(&app, target, &body).await
}

/// Preview a run into a bucket that does not exist yet
#[utoipa::path(
    post, path = "/v1/syncs/preview", tag = "bucket_syncs",
    operation_id = "preview_sync_configuration_without_bucket",
    request_body = SyncPreviewRequest,
    responses((status = 200, body = SyncPreviewResponse), (status = "4XX", body = ErrorResponse))
)]
async fn preview_new(
    State(app): State<App>,
    Valid(body): Valid<SyncPreviewRequest>,
) -> Result<Json<SyncPreviewResponse>, ApiError> {
    if let Some(sync_id) = &body.sync_config_id {
        return Err(ApiError::invalid_field(
            FieldError::new("sync_config_id", sync_id.as_str(), "a sync has a bucket")
                .accepting("nothing; ask below the bucket"),
        ));
    }
    let target = new(&app, &body).await?;
    run_preview(&app, target, &body).await
}

async fn run_preview(
    app: &App,
    target: PreviewTarget,
    body: &SyncPreviewRequest,
) -> Result<Json<SyncPreviewResponse>, ApiError> {
    let source = place::reach(app, &target.connection, &target.location, &target.options).await?;
    let run = RunOptions {
        max_delete: target.options.max_delete,
        full: body.full_sync.unwrap_or(false),
        ..RunOptions::default()
    };
    let sync_id = target.known.as_ref().map(|sync| sync.id.to_string());
    let bounds = Bounds {
        entries: Some(body.max_entries.unwrap_or(100_000)),
        time: Some(Duration::from_secs(body.timeout_seconds.unwrap_or(20).into())),
    };
    let most = usize::try_from(body.sample_size.unwrap_or(20)).unwrap_or_default();
    let (store, now, stop) = (app.engine.store.clone(), app.now(), app.stopping.clone());
    let notices = NoticeModel::of_remark(source.remark());
    // On a thread of its own: what looks at entries is not made to move between threads.
    let runtime = Handle::current();
    let looking = tokio::task::spawn_blocking(move || {
        let PreviewTarget { known, location, options, .. } = target;
        let question = Question { known, location: &location, options: &options, run: &run, now };
        runtime.block_on(preview::outlook(&store, source.as_ref(), question, bounds, most, &stop))
    });
    let outlook = looking.await.map_err(ApiError::internal)??;
    Ok(Json(to_response(sync_id, outlook, notices)))
}

/// What is to be previewed.
struct PreviewTarget {
    known: Option<Sync>,
    connection: StoredConnection,
    location: Location,
    options: SyncOptions,
}

async fn target(
    app: &App,
    scope: &Scope,
    bucket_id: String,
    body: &SyncPreviewRequest,
) -> Result<PreviewTarget, ApiError> {
    let Some(sync_id) = &body.sync_config_id else {
        find_bucket(app, scope, &bucket_id).await?;
        return new(app, body).await;
    };
    let sync = sync(app, scope, &(bucket_id, sync_id.clone())).await?;
    let mut wrong: Vec<_> = [
        ("connection_id", body.connection_id.is_some()),
        ("source_path", body.source_path.is_some()),
        ("sync_from", body.sync_from.is_some()),
    ]
    .into_iter()
    .filter(|(_, given)| *given)
    .map(|(field, _)| {
        FieldError::new(field, "", "the sync has one already, and keeps it")
            .accepting("nothing, beside sync_config_id")
    })
    .collect();
    let mut options = sync.options.clone();
    wrong.extend(body.settings().apply(&sync.location.connection.provider, &mut options));
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    let key = sync.connection_key;
    let connection = app.engine.store.read(move |db| connections::by_key(db, key)).await?;
    Ok(PreviewTarget { location: sync.location.clone(), known: Some(sync), connection, options })
}

async fn new(app: &App, body: &SyncPreviewRequest) -> Result<PreviewTarget, ApiError> {
    let Some(named) = &body.connection_id else {
        let mut missing = FieldError::new("connection_id", "", "this field is required")
            .accepting("the id or name of a connection, or instead sync_config_id");
        missing.value = None;
        missing.kind = "missing";
        return Err(ApiError::invalid_field(missing));
    };
    let connection = place::connection(app, named).await?;
    let mut options = defaults();
    options.sync_from = body.sync_from;
    let mut wrong = body.settings().apply(&connection.settings.provider, &mut options);
    match place::location(app, &connection, body.source_path.as_deref(), &options) {
        Ok(location) if wrong.is_empty() => {
            Ok(PreviewTarget { known: None, connection, location, options })
        }
        Ok(_) => Err(ApiError::invalid(wrong)),
        Err(error) => {
            wrong.push(error);
            Err(ApiError::invalid(wrong))
        }
    }
}

fn to_response(
    sync_config_id: Option<String>,
    outlook: Outlook,
    notices: Vec<NoticeModel>,
) -> SyncPreviewResponse {
    let Outlook { preview, sample } = outlook;
    SyncPreviewResponse {
        sync_config_id,
        complete: preview.complete,
        looked_at: preview.looked_at,
        counts: counts(&preview.counts),
        bytes_to_fetch: preview.counts.bytes,
        removals_held: preview.held,
        excluded: preview.excluded,
        sample: sample.into_iter().map(|(path, verdict)| entry(&path, verdict)).collect(),
        notices,
    }
}

fn entry(path: &EntryPath, verdict: Verdict) -> PreviewedEntry {
    let entry = PreviewedEntry {
        path: path.to_json_text(),
        path_bytes: path.base64_if_not_utf8(),
        ..PreviewedEntry::default()
    };
    match verdict {
        Verdict::Add { size } => PreviewedEntry { size_bytes: Some(size), ..entry },
        Verdict::Update { size } => {
            PreviewedEntry { action: PreviewAction::Update, size_bytes: Some(size), ..entry }
        }
        Verdict::Reshape { why } => because(PreviewAction::Update, why, entry),
        Verdict::Rename { from } => PreviewedEntry {
            action: PreviewAction::Rename,
            renamed_from: Some(from.to_json_text()),
            ..entry
        },
        Verdict::Remove { filtered } => {
            let why =
                if filtered { "the filters leave it out" } else { "it is no longer at its source" };
            because(PreviewAction::Remove, why, entry)
        }
        Verdict::Exclude { rule } => because(PreviewAction::Exclude, rule, entry),
        Verdict::Wait => because(PreviewAction::Wait, "it failed before, and waits", entry),
        Verdict::Fail { error_type, message } => {
            because(PreviewAction::Fail, format!("{}: {message}", error_type.as_str()), entry)
        }
    }
}

fn because(action: PreviewAction, why: impl Into<String>, entry: PreviewedEntry) -> PreviewedEntry {
    PreviewedEntry { action, reason: Some(why.into()), ..entry }
}
