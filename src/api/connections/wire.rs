//! Connections on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{
    ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use crate::{
    api::{
        json::{Patch, query_parameters},
        page::PaginationResponse,
    },
    model::ProviderName,
    sources,
    store::connections::StoredConnection,
};

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ConnectionStatus {
    /// In use.
    Active,
    /// Switched off, by a person or after failing too often.
    Suspended,
    /// Its last test failed.
    Failed,
    /// Deleted, and kept for its history.
    Archived,
}

impl ConnectionStatus {
    /// Wire and database spelling.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Failed => "FAILED",
            Self::Archived => "ARCHIVED",
        }
    }
}

/// The states that a person may put a connection into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RequestedStatus {
    /// In use.
    Active,
    /// Switched off.
    Suspended,
}

/// The kind of storage that a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(in crate::api) struct StorageProvider(pub(in crate::api) ProviderName);

impl utoipa::PartialSchema for StorageProvider {
    fn schema() -> RefOr<Schema> {
        let names = sources::providers().map(|provider| provider.name());
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The kind of storage that a connection leads to."))
            .enum_values(Some(names))
            .into()
    }
}

impl ToSchema for StorageProvider {}

/// An object with confidential values: errors do not repeat them.
fn secret_object() -> utoipa::openapi::Object {
    use utoipa::openapi::{ObjectBuilder, SchemaFormat};
    ObjectBuilder::new().format(Some(SchemaFormat::Custom("password".to_owned()))).build()
}

/// What a connection is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StorageConnectionCreateRequest {
    /// What to call it, unique.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Where it leads.
    pub provider_type: StorageProvider,
    /// Settings and credentials, as the provider's own model has them (`S3Config` and so on).
    #[schema(schema_with = secret_object)]
    pub provider_config: Value,
    /// A person's words about it.
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// Whatever you want to keep with it.
    pub metadata: Option<Map<String, Value>>,
    /// Stored and returned unchanged; Catchment never writes to a source.
    pub write_enabled: Option<bool>,
    /// Whether it must work to be kept; true by default. Providers that this version cannot read
    /// are kept without a test.
    pub test_before_save: Option<bool>,
}

/// What to change of a connection; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StorageConnectionUpdateRequest {
    /// What to call it, unique.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// A person's words about it; null: none.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub description: Patch<String>,
    /// Whatever you want to keep with it; null: nothing.
    #[serde(default)]
    #[schema(value_type = Option<Map<String, Value>>)]
    pub metadata: Patch<Map<String, Value>>,
    /// `SUSPENDED` switches it off, `ACTIVE` on again.
    pub status: Option<RequestedStatus>,
    /// The same: false switches it off, true on again.
    pub is_active: Option<bool>,
    /// Stored and returned unchanged.
    pub write_enabled: Option<bool>,
    /// Settings replace those of the same name, null clears one; credentials replace all those
    /// before, and stay if they are absent.
    #[schema(schema_with = secret_object)]
    pub provider_config: Option<Value>,
    /// Whether new settings or credentials must work to be kept; true by default.
    pub test_before_save: Option<bool>,
}

/// Which connections to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListStorageConnectionsRequest {
    /// Only this provider's; `local` shows this computer, which is left out otherwise.
    pub provider_type: Option<StorageProvider>,
    /// Only in this state.
    pub status: Option<ConnectionStatus>,
    /// Only those in use, or only the others.
    pub is_active: Option<bool>,
}

/// A connection. Of its credentials only their type is ever returned.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StorageConnectionModel {
    pub connection_id: String,
    /// The organization: this installation.
    pub internal_id: String,
    pub provider_type: String,
    /// Settings, and `credentials` with their `type` only.
    pub provider_config: Map<String, Value>,
    pub write_enabled: bool,
    pub name: String,
    pub description: Option<String>,
    pub status: String,
    pub is_active: bool,
    /// When a run or a test last succeeded with it.
    #[schema(value_type = Option<String>, format = "date-time")]
    pub last_used_at: Option<Timestamp>,
    /// Why it failed last, if it did since.
    pub last_error: Option<String>,
    pub consecutive_failures: u32,
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
    pub created_by_user_id: String,
    pub metadata: Map<String, Value>,
}

impl StorageConnectionModel {
    /// As the API returns it. `owner`: ids of organization and person.
    pub(super) fn of(stored: StoredConnection, (organization, person): &(String, String)) -> Self {
        Self {
            provider_config: sources::public_config(&stored.settings),
            connection_id: stored.id.to_string(),
            internal_id: organization.clone(),
            provider_type: stored.provider,
            write_enabled: stored.write_enabled,
            name: stored.name,
            description: stored.description,
            is_active: stored.status == "ACTIVE",
            status: stored.status,
            last_used_at: stored.last_used_at,
            last_error: stored.last_error,
            consecutive_failures: stored.consecutive_failures,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            created_by_user_id: person.clone(),
            metadata: stored.metadata,
        }
    }
}

/// A page of connections.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StorageConnectionListResponse {
    pub results: Vec<StorageConnectionModel>,
    pub pagination: PaginationResponse,
    /// How many there are in all.
    pub total: u64,
}

/// How a test went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StorageConnectionTestResponse {
    pub success: bool,
    /// The provider's reason, if it failed.
    pub message: String,
    pub details: Option<Map<String, Value>>,
}

/// What to delete along with a connection.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DeleteConnectionQuery {
    /// Pause the syncs that use it.
    pub force: Option<bool>,
}
query_parameters!(DeleteConnectionQuery);

/// A connection is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeletedConnection {
    pub connection_id: String,
    pub status: String,
    pub message: String,
}

/// Which folder to look into.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FoldersQuery {
    /// Folder; `/` by default.
    #[schema(max_length = 4096)]
    pub path: Option<String>,
}
query_parameters!(FoldersQuery);

/// Which files to show.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FilesQuery {
    /// Folder; `/` by default.
    #[schema(max_length = 4096)]
    pub path: Option<String>,
    /// At most so many; 20 by default.
    #[schema(minimum = 1, maximum = 100)]
    pub max_results: Option<u32>,
}
query_parameters!(FilesQuery);

/// A folder.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FolderItem {
    /// What to give a sync as its `source_path`.
    pub id: String,
    pub name: String,
    /// From the connection's root.
    pub path: String,
    /// What the contract gives every folder.
    pub mime_type: String,
    /// What else is worth knowing of it: what kind of table it is, the type of a column.
    pub note: Option<String>,
}

/// The folders in a folder.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListFoldersResponse {
    pub results: Vec<FolderItem>,
    pub parent_path: String,
    /// There are more than are shown.
    pub truncated: bool,
}

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileItem {
    pub id: String,
    pub name: String,
    pub path: String,
    /// By the name's extension; null where that says nothing.
    pub mime_type: Option<String>,
    pub size_bytes: Option<u64>,
    #[schema(value_type = Option<String>, format = "date-time")]
    pub modified_at: Option<Timestamp>,
}

/// Files in a folder.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListFilesResponse {
    pub results: Vec<FileItem>,
    pub parent_path: String,
    /// How many are shown.
    pub total: usize,
    /// There are more than are shown.
    pub truncated: bool,
}
