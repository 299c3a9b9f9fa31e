//! Syncs: what is copied from a source to a bucket, and when.
//!
//! - here: making, listing, reading, changing and deleting them
//! - `commands`: pause, resume, trigger, unlock, and the word on held removals
//! - `jobs`: their runs; `metrics`: how healthy they are; `dead_letters`: what they could not take
//! - `preview`: what a run would do
//! - `wire`, `settings`, `place`: requests, read and checked
//! - `model`, `job`: responses
//!
//! What does not live here: the state of a sync after a command (`engine::commands`), when it runs
//! (the scheduler).

mod commands;
mod dead_letters;
mod job;
mod jobs;
mod metrics;
mod model;
mod place;
mod preview;
mod settings;
mod wire;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::model::NoticeModel;
use self::{
    model::{SyncConfigurationModel, SyncListResponse},
    settings::{Command, defaults},
    wire::{ListSyncConfigurationsRequest, SyncCreateRequest, SyncUpdateRequest, TaskStatusEnum},
};
use super::{
    App,
    buckets::find as find_bucket,
    error::{ApiError, ErrorResponse, FieldError},
    json::{FromPath, Valid, ValidQuery},
    page::ListQuery,
    scope::Scope,
};
use crate::{
    engine::{
        Engine, LiveProgress, commands as engine_commands, commands::CommandError, sync_state,
    },
    model::{NOTHING_THERE_YET, Notice, Pause, PausedBy, SyncStatus},
    store::{
        self, Connection, Transaction,
        buckets::{self, Bucket},
        connections, dead_letters as letters, installation,
        syncs::{self, MadeBy, NewSync, Sync},
        syncs_list::{self, SyncFilter},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(get, update, delete))
        .merge(commands::routes())
        .merge(jobs::routes())
        .merge(metrics::routes())
        .merge(dead_letters::routes())
        .merge(preview::routes())
}

/// The owner of a sync, as every response about it says.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    internal_id: String,
    user_id: String,
    namespace_id: String,
}

fn owner(db: &Connection, scope: &Scope) -> store::Result<Owner> {
    let installation = installation::read(db)?;
    Ok(Owner {
        internal_id: installation.organization_id,
        user_id: installation.user_id,
        namespace_id: scope.id.to_string(),
    })
}

/// The sync of that id in that bucket of the request's namespace.
async fn sync(app: &App, scope: &Scope, path: &(String, String)) -> Result<Sync, ApiError> {
    let bucket = find_bucket(app, scope, &path.0).await?;
    let wanted = path.1.clone();
    let found = app.engine.store.read(move |db| syncs::by_id(db, &wanted)).await?;
    found
        .filter(|sync| sync.bucket_key == bucket.key)
        .ok_or_else(|| ApiError::not_found("sync", &path.1))
}

/// Responds with a sync.
async fn respond(
    app: &App,
    scope: &Scope,
    sync_key: i64,
) -> Result<Json<SyncConfigurationModel>, ApiError> {
    let (engine, live) = (app.engine.clone(), app.live_progress.clone());
    let (scope, now) = (scope.clone(), app.now());
    let model = app
        .engine
        .store
        .read(move |db| {
            let sync = syncs::by_key(db, sync_key)?;
            to_model(db, sync, &owner(db, &scope)?, (&engine, &live), now)
        })
        .await?;
    Ok(Json(model))
}

fn to_model(
    db: &Connection,
    sync: Sync,
    owner: &Owner,
    (engine, live): (&Engine, &LiveProgress),
    now: jiff::Timestamp,
) -> store::Result<SyncConfigurationModel> {
    Ok(SyncConfigurationModel::of(syncs_list::details(db, sync)?, owner, engine, live, now))
}

/// Create a sync
///
/// The source is asked whether it is there; the first run is due at once.
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs", tag = "bucket_syncs",
    operation_id = "create_sync_configuration_buckets",
    params(("bucket_id" = String, Path, description = "Id or name of the bucket")),
    request_body = SyncCreateRequest,
    responses(
        (status = 200, body = SyncConfigurationModel),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn create(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket_id): FromPath<String>,
    Valid(body): Valid<SyncCreateRequest>,
) -> Result<Json<SyncConfigurationModel>, ApiError> {
    let bucket = find_bucket(&app, &scope, &bucket_id).await?;
    let connection = place::connection(&app, &body.connection_id).await?;
    let request = body.settings();
    let (active, mut wrong) = (request.is_active.clone().value().unwrap_or(true), Vec::new());
    let command = request.command().unwrap_or_else(|error| {
        wrong.push(error);
        None
    });
    let mut options = defaults();
    options.sync_from = body.sync_from;
    wrong.extend(request.apply(&connection.settings.provider, &mut options));
    let location = match place::location(&app, &connection, body.source_path.as_deref(), &options) {
        Ok(location) if wrong.is_empty() => location,
        Ok(_) => return Err(ApiError::invalid(wrong)),
        Err(error) => {
            wrong.push(error);
            return Err(ApiError::invalid(wrong));
        }
    };
    let source = place::reach(&app, &connection, &location, &options).await?;
    // A place that is known by its id stays the same when it is renamed.
    let source_path = source.place().unwrap_or(location.source_path);
    // What cannot be looked at now fails the first run, and says why.
    let is_empty = source.is_empty().await.unwrap_or(false);
    let remark = source.remark();

    let now = app.now();
    let key = app
        .engine
        .store
        .write(move |tx| {
            // Either may have been deleted while the source was being reached.
            if connections::by_key(tx, connection.key)?.status == "ARCHIVED" {
                return Err(gone("connection", connection.id.as_str()));
            }
            if !buckets::is_live(tx, bucket.key)? {
                return Err(ApiError::not_found("bucket", bucket.id.as_str()));
            }
            let new = NewSync {
                bucket_key: bucket.key,
                connection_key: connection.key,
                source_path: &source_path,
                options: &options,
                made_by: MadeBy::Api,
                named_bucket: true,
                next_sync_at: Some(now),
            };
            let sync = syncs::insert(tx, &new, now)?;
            if is_empty {
                let message = Some(NOTHING_THERE_YET);
                syncs::set_notice(tx, sync.key, Notice::NothingThereYet, message)?;
            }
            syncs::set_notice(tx, sync.key, Notice::ListedInFull, remark.as_deref())?;
            if !active {
                switch(tx, sync.key, false, now)?;
            }
            if command == Some(Command::Pause) {
                let pause = Pause { reason: None, at: now, by: PausedBy::Person, drain: false };
                engine_commands::paused(tx, sync.key, pause, now)?;
            }
            Ok(sync.key)
        })
        .await?;
    app.scheduler.nudge();
    respond(&app, &scope, key).await
}

fn gone(noun: &str, id: &str) -> ApiError {
    ApiError::conflict(format!("the {noun} {id} was deleted in the meantime"))
}

/// List the syncs of a bucket
#[utoipa::path(
    post, path = "/v1/buckets/{bucket_id}/syncs/list", tag = "bucket_syncs",
    operation_id = "list_sync_configurations_buckets",
    params(("bucket_id" = String, Path, description = "Id or name of the bucket"), ListQuery),
    request_body = ListSyncConfigurationsRequest,
    responses(
        (status = 200, body = SyncListResponse),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn list(
    State(app): State<App>,
    scope: Scope,
    FromPath(bucket_id): FromPath<String>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListSyncConfigurationsRequest>,
) -> Result<Json<SyncListResponse>, ApiError> {
    const LIST: &str = "syncs";
    let page = query.page()?;
    let before: Option<i64> = page.place(LIST)?;
    let bucket = find_bucket(&app, &scope, &bucket_id).await?;
    let (engine, live) = (app.engine.clone(), app.live_progress.clone());
    let (now, wanted_page) = (app.now(), page.clone());
    let (rows, total) = app
        .engine
        .store
        .read(move |db| {
            let Some(wanted) = wanted(db, &bucket, &body)? else { return Ok((Vec::new(), 0)) };
            let owner = owner(db, &scope)?;
            let (skip, limit) = (wanted_page.offset, wanted_page.fetch().into());
            let rows = syncs_list::page(db, &wanted, before, skip, limit)?
                .into_iter()
                .map(|sync| Ok((sync.key, to_model(db, sync, &owner, (&engine, &live), now)?)))
                .collect::<store::Result<Vec<_>>>()?;
            Ok((rows, syncs_list::total(db, &wanted)?))
        })
        .await?;
    let mut rows = rows;
    let pagination = page.finish(&mut rows, Some(total), LIST, |(key, _)| *key);
    let results = rows.into_iter().map(|(_, model)| model).collect();
    Ok(Json(SyncListResponse { results, pagination, total }))
}

/// The filter of a list; `None` where nothing can pass it.
fn wanted(
    db: &Connection,
    bucket: &Bucket,
    body: &ListSyncConfigurationsRequest,
) -> store::Result<Option<SyncFilter>> {
    let mut wanted =
        SyncFilter { bucket_key: bucket.key, is_active: body.is_active, ..SyncFilter::default() };
    if let Some(named) = &body.connection_id {
        let Some(found) = connections::named(db, named)? else { return Ok(None) };
        wanted.connection_key = Some(found.key);
    }
    if let Some(status) = body.status {
        let Some(status) = state(status) else { return Ok(None) };
        wanted.status = Some(status);
    }
    Ok(Some(wanted))
}

/// The state of syncs that the public API's word means; `None` for those that no sync has.
fn state(status: TaskStatusEnum) -> Option<SyncStatus> {
    let word = serde_json::to_value(status).ok()?;
    word.as_str()?.parse().ok()
}

/// Read a sync
#[utoipa::path(
    get, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}", tag = "bucket_syncs",
    operation_id = "get_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses(
        (status = 200, body = SyncConfigurationModel),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn get(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<SyncConfigurationModel>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    respond(&app, &scope, sync.key).await
}

/// Change a sync
///
/// What is not sent stays; null gives back the default. `status` SUSPENDED pauses, ACTIVE resumes.
#[utoipa::path(
    patch, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}", tag = "bucket_syncs",
    operation_id = "update_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    request_body = SyncUpdateRequest,
    responses(
        (status = 200, body = SyncConfigurationModel),
        (status = "4XX", body = ErrorResponse),
    )
)]
async fn update(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
    Valid(body): Valid<SyncUpdateRequest>,
) -> Result<Json<SyncConfigurationModel>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    let (engine, now, key) = (app.engine.clone(), app.now(), sync.key);
    app.engine.store.write(move |tx| change(tx, key, body, &engine, now)).await?;
    app.scheduler.nudge();
    respond(&app, &scope, sync.key).await
}

/// Makes every change that was sent. The transaction is rolled back on an error, so that none of
/// them stays where one is refused.
fn change(
    tx: &Transaction<'_>,
    sync_key: i64,
    body: SyncUpdateRequest,
    engine: &Engine,
    now: jiff::Timestamp,
) -> Result<(), ApiError> {
    let sync = syncs::by_key(tx, sync_key)?;
    if sync.status == SyncStatus::Archived {
        return Err(CommandError::Deleted.into());
    }
    let mut wrong = fixed(&body, &sync);
    let command = body.command().unwrap_or_else(|error| {
        wrong.push(error);
        None
    });
    let active = body.is_active.clone().value();
    let mut options = sync.options.clone();
    wrong.extend(body.apply(&sync.location.connection.provider, &mut options));
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    if options.pace != sync.options.pace {
        let left = letters::open_count(tx, sync_key)?;
        syncs::set_state(tx, &sync, &sync_state::with_pace(&sync, &options.pace, left, now), now)?;
    }
    syncs::set_options(tx, &sync, &options, now)?;
    if (&options.mapping, &options.filters) != (&sync.options.mapping, &sync.options.filters) {
        letters::make_due(tx, sync_key, now)?;
    }
    if let Some(on) = active.filter(|on| *on != sync.is_active) {
        switch(tx, sync_key, on, now)?;
    }
    match command {
        None => {}
        Some(Command::Resume) => engine_commands::resumed(tx, sync_key, engine, now)?,
        Some(Command::Pause) => {
            let pause = Pause { reason: None, at: now, by: PausedBy::Person, drain: false };
            engine_commands::paused(tx, sync_key, pause, now)?;
        }
    }
    Ok(())
}

fn switch(
    tx: &Transaction<'_>,
    sync_key: i64,
    on: bool,
    now: jiff::Timestamp,
) -> store::Result<()> {
    let sync = syncs::by_key(tx, sync_key)?;
    syncs::set_active(tx, &sync, on, now)?;
    if !on {
        store::jobs::skip_waiting(tx, sync_key, "the sync was switched off before it began", now)?;
    }
    syncs::set_state(tx, &sync, &sync_state::switched(&sync, on, now), now)
}

/// What a sync is made with and keeps.
fn fixed(body: &SyncUpdateRequest, sync: &Sync) -> Vec<FieldError> {
    let path = crate::model::EntryPath::new(sync.location.source_path.as_slice()).to_json_text();
    [
        ("connection_id", &body.connection_id, sync.connection_id.to_string()),
        ("source_path", &body.source_path, path),
    ]
    .into_iter()
    .filter_map(|(field, sent, has)| {
        let sent = sent.as_ref().filter(|sent| **sent != has)?;
        let message = "cannot be changed: create a new sync for another place";
        Some(FieldError::new(field, sent.as_str(), message).accepting(has))
    })
    .collect()
}

/// What became of a sync that was deleted.
#[derive(Debug, Serialize, ToSchema)]
struct SyncDeleted {
    /// Always true.
    success: bool,
    /// The sync, kept for its history.
    sync_config_id: String,
    /// Always ARCHIVED.
    #[schema(value_type = TaskStatusEnum)]
    status: SyncStatus,
    /// For people.
    message: &'static str,
}

/// Delete a sync
///
/// A run is stopped and its lease is free at once; objects stay, and so does the history.
#[utoipa::path(
    delete, path = "/v1/buckets/{bucket_id}/syncs/{sync_config_id}", tag = "bucket_syncs",
    operation_id = "delete_sync_configuration_buckets_id_config",
    params(
        ("bucket_id" = String, Path, description = "Id or name of the bucket"),
        ("sync_config_id" = String, Path, description = "Id of the sync"),
    ),
    responses((status = 200, body = SyncDeleted), (status = "4XX", body = ErrorResponse))
)]
async fn delete(
    State(app): State<App>,
    scope: Scope,
    FromPath(path): FromPath<(String, String)>,
) -> Result<Json<SyncDeleted>, ApiError> {
    let sync = sync(&app, &scope, &path).await?;
    app.engine.archive(sync.key).await?;
    app.scheduler.nudge();
    Ok(Json(SyncDeleted {
        success: true,
        sync_config_id: sync.id.to_string(),
        status: SyncStatus::Archived,
        message: "the sync is deleted; its objects stay",
    }))
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::Deleted => "sync_deleted",
            CommandError::Paused { .. } => "sync_paused",
            CommandError::Inactive => "sync_inactive",
            CommandError::Connection { .. } => "connection_unusable",
            CommandError::Store(_) => "",
        };
        match error {
            CommandError::Store(error) => error.into(),
            error => Self::conflict(error.to_string()).code(code),
        }
    }
}
