//! Connections put to use without a sync: testing them, and looking around in them.

use std::time::Duration;

use axum::{Json, extract::State};

use crate::{
    api::{
        App,
        error::{ApiError, FieldError},
        json::{FromPath, ValidQuery},
    },
    model::{Connection, Location, SyncOptions},
    sources::{
        self, NotAFolder, Reader, SourceError,
        browse::{Item, ItemKind, Level},
    },
    store::connections::StoredConnection,
};

use super::{
    JsonResult, usable,
    wire::{
        FileItem, FilesQuery, FolderItem, FoldersQuery, ListFilesResponse, ListFoldersResponse,
        StorageConnectionTestResponse,
    },
};

/// How long a caller waits for a test or a listing.
const PATIENCE: Duration = Duration::from_secs(25);

/// Files that a listing shows by default.
const FILES: u32 = 20;

/// Most folders of a level.
const MOST_FOLDERS: usize = 1000;

/// What the contract gives every folder.
const FOLDER_MIME: &str = "application/vnd.google-apps.folder";

/// Try a connection
#[utoipa::path(
    post, path = "/v1/organizations/connections/{connection_identifier}/test",
    tag = "organization_connections", operation_id = "test_storage_connection_organizations",
    params(("connection_identifier" = String, Path, description = "Id or name")),
    responses((status = 200, body = StorageConnectionTestResponse))
)]
pub(super) async fn test(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
) -> JsonResult<StorageConnectionTestResponse> {
    let connection = usable(&app, &named).await?;
    let tried = app.engine.test_stored_connection(&connection).await?;
    let success = tried.is_ok();
    let message = tried.unwrap_or_else(|reason| reason);
    Ok(Json(StorageConnectionTestResponse { success, message, details: None }))
}

/// Get the files in a folder
///
/// Where the folder is a table these are its first rows, which takes a query: it wakes what the
/// provider bills by time.
#[utoipa::path(
    get, path = "/v1/organizations/connections/{connection_identifier}/files",
    tag = "organization_connections",
    operation_id = "list_google_drive_files_organizations_connections",
    params(("connection_identifier" = String, Path, description = "Id or name"), FilesQuery),
    responses((status = 200, body = ListFilesResponse))
)]
pub(super) async fn files(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<FilesQuery>,
) -> JsonResult<ListFilesResponse> {
    let connection = usable(&app, &named).await?;
    let path = query.path.unwrap_or_else(|| "/".to_owned());
    let limit = query.max_results.unwrap_or(FILES) as usize;
    let reader = reader(&connection.settings)?;
    let level = list_level(&app, &connection, reader, &path, (ItemKind::Files, limit)).await?;
    let truncated = level.truncated;
    let results = file_items(reader, &path, level);
    let total = results.len();
    Ok(Json(ListFilesResponse { results, parent_path: path, total, truncated }))
}

/// Get the folders in a folder
#[utoipa::path(
    get, path = "/v1/organizations/connections/{connection_identifier}/folders",
    tag = "organization_connections",
    operation_id = "list_google_drive_folders_organizations_connections",
    params(("connection_identifier" = String, Path, description = "Id or name"), FoldersQuery),
    responses((status = 200, body = ListFoldersResponse))
)]
pub(super) async fn folders(
    State(app): State<App>,
    FromPath(named): FromPath<String>,
    ValidQuery(query): ValidQuery<FoldersQuery>,
) -> JsonResult<ListFoldersResponse> {
    let connection = usable(&app, &named).await?;
    let path = query.path.unwrap_or_else(|| "/".to_owned());
    let reader = reader(&connection.settings)?;
    let level =
        list_level(&app, &connection, reader, &path, (ItemKind::Folders, MOST_FOLDERS)).await?;
    let truncated = level.truncated;
    let results = folder_items(reader, &path, level);
    Ok(Json(ListFoldersResponse { results, parent_path: path, truncated }))
}

fn unreadable(connection: &Connection) -> SourceError {
    let provider = &connection.provider;
    SourceError::Misconfigured {
        message: format!("this version stores connections to {provider} and cannot read it yet"),
    }
}

/// One level of a connection.
async fn list_level(
    app: &App,
    connection: &StoredConnection,
    reader: &dyn Reader,
    path: &str,
    (wanted, limit): (ItemKind, usize),
) -> Result<Level, ApiError> {
    let source_path = source_path(reader, path)?;
    let location = Location { connection: connection.settings.clone(), source_path };
    let credentials = app.engine.vault.credentials(connection.key).await?;
    let look = async {
        let options = SyncOptions::default();
        let source = app.engine.connect(&location, credentials.as_ref(), &options).await?;
        source.browse(wanted, limit).await
    };
    in_time(look).await.map_err(|error| refusal(path, &error))
}

async fn in_time<T>(work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        let message = format!("nothing came within {} s", PATIENCE.as_secs());
        Err(SourceError::Timeout { message })
    })
}

/// A look that failed is the fault of what was asked for, or of the connection: the provider's
/// reason says which.
fn refusal(path: &str, error: &SourceError) -> ApiError {
    let accepted = match error {
        SourceError::RootMissing { .. } | SourceError::NotFound { .. } => "a folder that is there",
        SourceError::Auth { .. } | SourceError::PermissionDenied { .. } => {
            "a folder that may be read with this connection"
        }
        _ => "a folder",
    };
    ApiError::invalid_field(FieldError::new("path", path, error.to_string()).accepting(accepted))
}

/// What reads a connection's provider.
fn reader(connection: &Connection) -> Result<&'static dyn Reader, ApiError> {
    sources::reader(&connection.provider).ok_or_else(|| {
        let problem = unreadable(connection).to_string();
        ApiError::conflict(problem).code("provider_not_readable")
    })
}

/// The source path that a path from the connection's root, or an item's id, names.
fn source_path(reader: &dyn Reader, path: &str) -> Result<Vec<u8>, ApiError> {
    let wrong = |message: &str, accepted: &str| {
        ApiError::invalid_field(FieldError::new("path", path, message).accepting(accepted))
    };
    if path.contains('\0') {
        return Err(wrong("no path has a zero byte in it", "a folder"));
    }
    reader.browsed(path).map_err(|NotAFolder { message, accepted }| wrong(message, accepted))
}

fn folder_items(reader: &dyn Reader, parent: &str, level: Level) -> Vec<FolderItem> {
    let item = |item: Item| {
        let (id, path) = reader.below(parent, &item);
        FolderItem {
            id,
            name: item.name.to_json_text(),
            path,
            mime_type: FOLDER_MIME.to_owned(),
            note: item.note,
        }
    };
    level.items.into_iter().map(item).collect()
}

fn file_items(reader: &dyn Reader, parent: &str, level: Level) -> Vec<FileItem> {
    let item = |item: Item| {
        let (id, path) = reader.below(parent, &item);
        FileItem {
            id,
            name: item.name.to_json_text(),
            path,
            mime_type: item.mime.or_else(|| item.name.mime_guess().map(str::to_owned)),
            size_bytes: item.size,
            modified_at: item.modified,
        }
    };
    level.items.into_iter().map(item).collect()
}
