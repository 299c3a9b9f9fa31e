//! Webhooks: which events they are for, and where they deliver them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The types of events that a webhook may ask for, as the public API spells them. Those of
/// resources that are not here are accepted, and never come.
pub const EVENT_TYPES: [&str; 43] = [
    "object.created",
    "objects.created.batch",
    "object.updated",
    "object.deleted",
    "document.created",
    "document.updated",
    "document.deleted",
    "documents.updated.batch",
    "documents.deleted.batch",
    "collection.created",
    "collection.updated",
    "collection.deleted",
    "collection.documents.written",
    "collection.documents.batch_completed",
    "cluster.created",
    "cluster.updated",
    "cluster.deleted",
    "cluster.execution.started",
    "cluster.execution.completed",
    "cluster.execution.failed",
    "trigger.created",
    "trigger.updated",
    "trigger.deleted",
    "trigger.paused",
    "trigger.resumed",
    "trigger.fired",
    "trigger.execution.completed",
    "trigger.execution.failed",
    "taxonomy.created",
    "taxonomy.updated",
    "taxonomy.deleted",
    "alert.created",
    "alert.updated",
    "alert.deleted",
    "alert.triggered",
    "alert.execution.completed",
    "alert.execution.failed",
    "annotation.created",
    "annotation.updated",
    "annotation.deleted",
    "resource.executed",
    "resource.execution_failed",
    "manifest.apply.resource_state",
];

/// What a channel delivers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Any HTTP server.
    Webhook,
    /// An incoming webhook of Slack.
    Slack,
}

/// Where a webhook delivers to, as it is kept and shown: without what is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// What it delivers to.
    pub kind: ChannelKind,
    /// The address. Slack's is a secret, and only its host is here.
    pub url: String,
    /// Names of the headers that are sent with each delivery.
    pub header_names: Vec<String>,
    /// Whether deliveries are signed.
    pub is_signed: bool,
    /// How long a delivery may take, in milliseconds.
    pub timeout_ms: u64,
    /// What else Slack is sent: `channel`, `username`, `icon_emoji`, `icon_url`.
    pub slack: Map<String, Value>,
}

impl Channel {
    /// The default of [`Channel::timeout_ms`].
    pub const TIMEOUT_MS: u64 = 10_000;

    /// An address that is called once.
    #[must_use]
    pub fn plain(url: String) -> Self {
        Self {
            kind: ChannelKind::Webhook,
            url,
            header_names: Vec::new(),
            is_signed: false,
            timeout_ms: Self::TIMEOUT_MS,
            slack: Map::new(),
        }
    }

    /// Whether it cannot deliver without its [`ChannelSecrets`].
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.is_signed || !self.header_names.is_empty() || self.kind == ChannelKind::Slack
    }
}

/// What is secret of a channel.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelSecrets {
    /// Signs deliveries.
    pub signing_secret: Option<String>,
    /// Headers that are sent with each delivery, by name.
    pub headers: BTreeMap<String, String>,
    /// The address, where that is a secret.
    pub url: Option<String>,
}

/// Says that there is something, not what.
impl fmt::Debug for ChannelSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecrets([redacted])")
    }
}
