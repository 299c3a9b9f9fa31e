//! Settings on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{api::disk::DiskUse, logging::LogLevel};

/// This installation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SettingsResponse {
    /// This program's version.
    pub version: &'static str,
    /// Since when the server runs, in seconds.
    pub uptime_seconds: u64,
    /// Where everything lies.
    pub data_dir: String,
    /// The home folder of the user that runs the server: a place to start browsing.
    pub home_dir: Option<String>,
    /// The space that it uses there.
    pub disk: DiskUse,
    /// Whether the token is `CATCHMENT_TOKEN`'s, and cannot be changed here.
    pub token_from_environment: bool,
    /// Names by which the server may be called besides localhost.
    pub allowed_hosts: Vec<String>,
    /// How much is logged; null where the log was set up in a way of its own.
    pub log_level: Option<LogLevel>,
}

/// What to change; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingsUpdateRequest {
    /// Names by which the server may be called besides localhost; they replace those before.
    pub allowed_hosts: Option<Vec<String>>,
    /// How much is logged, until the next start.
    pub log_level: Option<LogLevel>,
}

/// A token, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewToken {
    /// `Authorization: Bearer` this.
    pub token: String,
}
