//! `/v1/organizations/connections`: how providers are reached. Credentials come in here and never
//! go out again.

mod reach;
mod wire;

pub(super) use self::wire::StorageProvider;

use axum::{Json, extract::State};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::wire::{
    DeleteConnectionQuery, DeletedConnection, ListStorageConnectionsRequest, RequestedStatus,
    StorageConnectionCreateRequest, StorageConnectionListResponse, StorageConnectionModel,
    StorageConnectionUpdateRequest,
};
use super::{
    App,
    error::{ApiError, FieldError, JsonResult},
    json::{FromPath, Patch, Valid, ValidQuery},
    page::ListQuery,
};
use crate::{
    engine::connections::ConnectionError,
    model::{Connection, ConnectionId, Credentials},
    secrets::SecretsError,
    sources::{self, Accepted, Wrong},
    store::{
        connections::{self, NewConnection, StoredConnection},
        secrets::Sealed,
        syncs::Sync,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(list))
        .routes(routes!(get, patch, delete))
        .routes(routes!(reach::test))
        .routes(routes!(reach::files))
        .routes(routes!(reach::folders))
}

/// Create a connection
///
/// It is tried first, unless `test_before_save` is false; if it does not work nothing is kept.
#[utoipa::path(
    post, path = "/v1/organizations/connections", tag = "organization_connections",
    operation_id = "create_storage_connection_organizations",
    request_body = StorageConnectionCreateRequest,
    responses((status = 200, body = StorageConnectionModel))
)]
async fn create(
    State(app): State<App>,
    Valid(body): Valid<StorageConnectionCreateRequest>,
) -> JsonResult<StorageConnectionModel> {
    let mut accepted =
        sources::accept(&body.provider_type.0, &body.provider_config).map_err(invalid)?;
    if body.test_before_save != Some(false) {
        accepted.credentials =
            must_work(&app, &mut accepted.connection, accepted.credentials).await?;
    }
    let id = ConnectionId::generate();
    let new = NewConnection {
        sealed: sealed(&app, &id, &accepted).await?,
        id: id.clone(),
        name: body.name.clone(),
        settings: accepted.connection,
        description: body.description,
        metadata: body.metadata.unwrap_or_default(),
        write_enabled: body.write_enabled.unwrap_or_default(),
    };
    let now = app.now();
    let made = app.engine.store.write(move |tx| connections::insert(tx, &new, now)).await?;
    match made {
        true => respond(&app, found(&app, id.as_str()).await?).await,
        false => Err(ApiError::taken("connection", body.name)),
    }
}

/// List connections
#[utoipa::path(
    post, path = "/v1/organizations/connections/list", tag = "organization_connections",
    operation_id = "list_storage_connections_organizations",
    params(ListQuery),
    request_body = ListStorageConnectionsRequest,
    responses((status = 200, body = StorageConnectionListResponse))
)]
async fn list(
    State(app): State<App>,
    ValidQuery(query): ValidQuery<ListQuery>,
    Valid(body): Valid<ListStorageConnectionsRequest>,
) -> JsonResult<StorageConnectionListResponse> {
    const LIST: &str = "connections";
    let page = query.page()?;
    let behind = page.place::<i64>(LIST)?;
    let wanted = connections::ConnectionFilter {
        provider: body.provider_type.map(|wanted| wanted.0.as_str().to_owned()),
        hidden: sources::built_in(),
        status: body.status.map(|status| status.as_str().to_owned()),
        is_active: body.is_active,
    };
    let (offset, fetch) = (page.offset, page.fetch());
    let (mut rows, total, owner) = app
        .engine
        .store
        .read(move |db| {
            let rows = connections::list(db, &wanted, behind, offset, fetch)?;
            Ok((rows, connections::count(db, &wanted)?, connections::owner(db)?))
        })
        .await?;
    let pagination = page.finish(&mut rows, Some(total), LIST, |row| row.key);
    let results = rows.into_iter().map(|row| StorageConnectionModel::of(row, &owner)).collect();
    Ok(Json(StorageConnectionListResponse { results, pagination, total }))
}

/// Get a connection
#[utoipa::path(
    get, path = "/v1/organizations/connections/{connection_identifier}",
    tag = "organization_connections", operation_id = "get_storage_connection_organizations",
    params(("connection_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, body = StorageConnectionModel))
)]
async fn get(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
) -> JsonResult<StorageConnectionModel> {
    respond(&app, found(&app, &named).await?).await
}

/// Change a connection
#[utoipa::path(
    patch, path = "/v1/organizations/connections/{connection_identifier}",
    tag = "organization_connections", operation_id = "update_storage_connection_organizations",
    params(("connection_identifier" = String, Path, description = "Id or name")),
    request_body = StorageConnectionUpdateRequest,
    responses((status = 200, body = StorageConnectionModel))
)]
async fn patch(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    Valid(body): Valid<StorageConnectionUpdateRequest>,
) -> JsonResult<StorageConnectionModel> {
    let before = changeable(&app, &named).await?;
    let accepted = match &body.provider_config {
        Some(change) => {
            let accepted = sources::amend(&before.settings, change).map_err(invalid)?;
            match body.test_before_save {
                Some(false) => Some(accepted),
                _ => Some(still_works(&app, &before, accepted).await?),
            }
        }
        None => None,
    };
    let sealed = match &accepted {
        Some(accepted) => sealed(&app, &before.id, accepted).await?,
        None => None,
    };
    let after = changed(before, body, accepted)?;
    let (id, now) = (after.id.clone(), app.now());
    app.engine
        .store
        .write(move |tx| {
            // It may have been deleted while its new settings were being tested.
            if connections::by_key(tx, after.key)?.status == "ARCHIVED" {
                return Err(archived(&after.name));
            }
            match connections::update(tx, &after, sealed.as_ref(), now)? {
                true => Ok(()),
                false => Err(ApiError::taken("connection", after.name)),
            }
        })
        .await?;
    respond(&app, found(&app, id.as_str()).await?).await
}

/// The connection with what a PATCH says.
fn changed(
    mut connection: StoredConnection,
    body: StorageConnectionUpdateRequest,
    accepted: Option<Accepted>,
) -> Result<StoredConnection, ApiError> {
    let is_active = match (body.status, body.is_active) {
        (Some(status), Some(is_active)) if (status == RequestedStatus::Active) != is_active => {
            return Err(ApiError::invalid_field(
                FieldError::new("is_active", is_active, "status says the opposite")
                    .accepting("the same as status, or nothing"),
            ));
        }
        (Some(status), _) => Some(status == RequestedStatus::Active),
        (None, is_active) => is_active,
    };
    match is_active {
        Some(true) => {
            connection.status = "ACTIVE".to_owned();
            connection.consecutive_failures = 0;
        }
        // Without failures: only a person ends it.
        Some(false) => {
            connection.status = "SUSPENDED".to_owned();
            connection.consecutive_failures = 0;
        }
        None => {}
    }
    if let Some(name) = body.name {
        connection.name = name;
    }
    body.description.apply(&mut connection.description);
    match body.metadata {
        Patch::Missing => {}
        Patch::Null => connection.metadata.clear(),
        Patch::Value(metadata) => connection.metadata = metadata,
    }
    if let Some(write_enabled) = body.write_enabled {
        connection.write_enabled = write_enabled;
    }
    if let Some(accepted) = accepted {
        connection.settings = accepted.connection;
        connection.last_error = None;
        // What its failures have suspended may be used again, what a person has not.
        let has_failed = connection.consecutive_failures > 0;
        if connection.status == "FAILED" || (connection.status == "SUSPENDED" && has_failed) {
            connection.status = "ACTIVE".to_owned();
        }
        connection.consecutive_failures = 0;
    }
    Ok(connection)
}

/// Delete a connection
///
/// It stays listed as `ARCHIVED`; its credentials are erased. Refused while active syncs use it,
/// unless `force` pauses them.
#[utoipa::path(
    delete, path = "/v1/organizations/connections/{connection_identifier}",
    tag = "organization_connections", operation_id = "delete_storage_connection_organizations",
    params(
        ("connection_identifier" = String, Path, description = "Id or name"),
        DeleteConnectionQuery
    ),
    responses((status = 200, body = DeletedConnection))
)]
async fn delete(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<DeleteConnectionQuery>,
) -> JsonResult<DeletedConnection> {
    let connection = changeable(&app, &named).await?;
    let force = query.force == Some(true);
    app.engine.archive_connection(&connection, force).await.map_err(|error| match error {
        ConnectionError::InUse(active) => in_use(&connection, &active),
        ConnectionError::Store(error) => error.into(),
        error => ApiError::internal(error),
    })?;
    Ok(Json(DeletedConnection {
        connection_id: connection.id.to_string(),
        status: "ARCHIVED".to_owned(),
        message: format!(
            "connection {:?} is archived, its credentials are erased",
            connection.name
        ),
    }))
}

fn in_use(connection: &StoredConnection, active: &[Sync]) -> ApiError {
    let ids: Vec<String> = active.iter().map(|sync| sync.id.to_string()).collect();
    ApiError::conflict(format!(
        "{} active syncs use the connection {:?}: delete or pause them first, or delete it \
         with force=true, which pauses them",
        ids.len(),
        connection.name
    ))
    .code("connection_in_use")
    .detail("sync_config_ids", ids)
}

async fn found(app: &App, named: &str) -> Result<StoredConnection, ApiError> {
    let wanted = named.to_owned();
    let found = app.engine.store.read(move |db| connections::named(db, &wanted)).await?;
    found.ok_or_else(|| ApiError::not_found("connection", named))
}

/// A connection that is not archived.
pub(super) async fn usable(app: &App, named: &str) -> Result<StoredConnection, ApiError> {
    let connection = found(app, named).await?;
    match connection.status.as_str() {
        "ARCHIVED" => Err(archived(&connection.name)),
        _ => Ok(connection),
    }
}

fn archived(name: &str) -> ApiError {
    ApiError::conflict(format!("connection {name:?} is archived and cannot be used again"))
        .code("archived")
}

/// A connection that people may change: not this computer, and not archived.
async fn changeable(app: &App, named: &str) -> Result<StoredConnection, ApiError> {
    let connection = usable(app, named).await?;
    match sources::is_configurable(&connection.settings.provider) {
        true => Ok(connection),
        false => Err(ApiError::forbidden(
            "this computer is always there: it cannot be changed or deleted",
        )),
    }
}

async fn respond(app: &App, connection: StoredConnection) -> JsonResult<StorageConnectionModel> {
    let owner = app.engine.store.read(connections::owner).await?;
    Ok(Json(StorageConnectionModel::of(connection, &owner)))
}

async fn sealed(
    app: &App,
    id: &ConnectionId,
    accepted: &Accepted,
) -> Result<Option<Sealed>, ApiError> {
    match &accepted.credentials {
        Some(credentials) => Ok(Some(app.engine.vault.seal(id, credentials).await?)),
        None => Ok(None),
    }
}

/// Tests settings and credentials before they are stored; returns the credentials as they are after
/// the test, which may have renewed them.
async fn must_work(
    app: &App,
    connection: &mut Connection,
    credentials: Option<Credentials>,
) -> Result<Option<Credentials>, ApiError> {
    app.engine.tested(connection, credentials).await.map_err(|error| {
        ApiError::invalid_field(
            FieldError::secret("provider_config", error.to_string())
                .accepting("settings and credentials that work, or test_before_save: false")
                .of_kind("connection_test_failed"),
        )
        .code("connection_test_failed")
    })
}

/// [`must_work`] for a change, which may leave the stored credentials as they are.
async fn still_works(
    app: &App,
    before: &StoredConnection,
    mut accepted: Accepted,
) -> Result<Accepted, ApiError> {
    let connection = &mut accepted.connection;
    match accepted.credentials.take() {
        Some(new) => accepted.credentials = must_work(app, connection, Some(new)).await?,
        None => {
            let stored = app.engine.vault.credentials(before.key).await?;
            must_work(app, connection, stored).await?;
        }
    }
    Ok(accepted)
}

pub(super) fn invalid(wrong: Vec<Wrong>) -> ApiError {
    let field = |wrong: Wrong| FieldError {
        field: wrong.field,
        value: wrong.value,
        message: wrong.message,
        accepted: Value::String(wrong.accepted),
        kind: wrong.kind,
    };
    ApiError::invalid(wrong.into_iter().map(field).collect())
}

/// The vault's errors are for the caller: they name the way out, and no secret.
impl From<SecretsError> for ApiError {
    fn from(error: SecretsError) -> Self {
        match error {
            SecretsError::Store(error) => error.into(),
            SecretsError::KeyGone { .. } | SecretsError::Unopened { .. } => {
                Self::conflict(error.to_string()).code("credentials_unreadable")
            }
            error => Self::internal(error),
        }
    }
}
