//! Webhooks on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    api::page::PaginationResponse,
    model::{Channel, ChannelKind},
    store::webhooks::{StoredChannel, Webhook},
};

/// What stands for a secret in a response, and keeps it in a request.
pub(super) const REDACTED: &str = "redacted";

/// A webhook to be made, or as it is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookInput {
    /// What to call it.
    #[schema(min_length = 1, max_length = 200)]
    pub webhook_name: String,
    /// The types of events that it is for. Of resources that are not here no events come.
    #[schema(min_items = 1, max_items = 100)]
    pub event_types: Vec<String>,
    /// Only events of these types of resources, which is how the type of an event begins; absent or
    /// empty: all.
    #[schema(max_items = 100)]
    pub resource_types: Option<Vec<String>>,
    /// Where it delivers to.
    #[schema(min_items = 1, max_items = 10)]
    pub channels: Vec<WebhookChannelInput>,
    /// Whether it delivers; true if absent. True lifts a pause.
    pub is_active: Option<bool>,
    /// Given by the server.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub webhook_id: Option<String>,
    /// Given by the server.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub internal_id: Option<String>,
    /// Given by the server.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub delivery_health: Option<Value>,
    /// Given by the server.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub created_at: Option<String>,
    /// Given by the server.
    #[expect(dead_code, reason = "accepted, and changes nothing")]
    pub updated_at: Option<String>,
}

/// A channel of a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookChannelInput {
    /// What it delivers to.
    pub channel: ChannelName,
    /// Its settings: a `WebhookConfig` or a `SlackConfig`.
    #[schema(schema_with = secret_object)]
    pub configs: Value,
}

/// An object with confidential values: errors do not repeat them.
fn secret_object() -> utoipa::openapi::Object {
    use utoipa::openapi::{ObjectBuilder, SchemaFormat};
    ObjectBuilder::new().format(Some(SchemaFormat::Custom("password".to_owned()))).build()
}

/// Settings of a channel to any HTTP server.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookConfig {
    /// Where to.
    pub url: String,
    /// Headers to send with each delivery. Absent: as before, where the address is.
    pub headers: Option<BTreeMap<String, String>>,
    /// Refused: there are no templates here.
    pub payload_template: Option<Value>,
    /// How long a delivery may take, in seconds: 1 to 30, 10 if absent.
    pub timeout: Option<f64>,
    /// Signs deliveries. Absent or `redacted`: as before; empty: none.
    pub signing_secret: Option<String>,
}

/// Settings of a channel to Slack.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SlackConfig {
    /// The address of an incoming webhook. As it is shown: as before.
    pub webhook_url: String,
    /// The channel.
    pub channel: Option<String>,
    /// The name of who writes.
    pub username: Option<String>,
    /// Its picture.
    pub icon_emoji: Option<String>,
    /// Its picture.
    pub icon_url: Option<String>,
    /// Refused: there are no templates here.
    pub blocks_template: Option<Value>,
}

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookOutput {
    /// Public id.
    pub webhook_id: String,
    /// What it is called.
    pub webhook_name: String,
    /// The types of events that it is for.
    pub event_types: Vec<String>,
    /// Only events of these types of resources; null: of all.
    pub resource_types: Option<Vec<String>>,
    /// Where it delivers to, without what is secret.
    pub channels: Vec<WebhookChannelOutput>,
    /// Whether it delivers.
    pub is_active: bool,
    /// How its deliveries go.
    pub delivery_health: DeliveryHealth,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a person changed it last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A channel of a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookChannelOutput {
    /// `webhook` or `slack`.
    pub channel: ChannelName,
    /// Its settings.
    #[schema(value_type = Object)]
    pub configs: Value,
}

/// What a channel delivers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChannelName {
    /// Any HTTP server.
    Webhook,
    /// Slack.
    Slack,
    /// People's mail: not here.
    Email,
}

/// How the deliveries of a webhook go: of its channel that fares worst.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryHealth {
    /// `healthy`, `failing`, or `paused` after 24 hours of failures.
    pub status: &'static str,
    /// Deliveries that failed in a row.
    pub consecutive_failures: u32,
    /// When the first of these failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_failure_at: Option<Timestamp>,
    /// When the last of these failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failure_at: Option<Timestamp>,
    /// Why.
    pub last_failure_cause: Option<String>,
    /// The same.
    pub last_error: Option<String>,
    /// When a delivery last arrived.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// Since when it is paused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
    /// Why.
    pub paused_reason: Option<String>,
}

impl From<Webhook> for WebhookOutput {
    fn from(webhook: Webhook) -> Self {
        let is_paused = webhook.channels.iter().all(|channel| channel.paused_at.is_some());
        Self {
            webhook_id: webhook.id,
            webhook_name: webhook.name,
            event_types: webhook.event_types,
            resource_types: webhook.resource_types,
            delivery_health: DeliveryHealth::of(&webhook.channels),
            channels: webhook.channels.iter().map(|it| channel_output(&it.channel)).collect(),
            is_active: webhook.is_active && !is_paused,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

impl DeliveryHealth {
    fn of(channels: &[StoredChannel]) -> Self {
        let worst = channels.iter().max_by_key(|it| (it.paused_at.is_some(), it.failures));
        let last_success_at = channels.iter().filter_map(|it| it.last_success_at).max();
        let paused_at = worst.and_then(|it| it.paused_at);
        let failures = worst.map_or(0, |it| it.failures);
        let last_error = worst.and_then(|it| it.last_error.clone());
        Self {
            status: match (paused_at, failures) {
                (Some(_), _) => "paused",
                (None, 1..) => "failing",
                (None, 0) => "healthy",
            },
            consecutive_failures: failures,
            first_failure_at: worst.and_then(|it| it.first_failure_at),
            last_failure_at: worst.and_then(|it| it.last_failure_at),
            last_failure_cause: last_error.clone(),
            paused_reason: paused_at.map(|_| {
                let why = last_error.as_deref().unwrap_or("unknown");
                format!("deliveries failed for 24 hours, the last one: {why}")
            }),
            last_error,
            last_success_at,
            paused_at,
        }
    }
}

fn channel_output(channel: &Channel) -> WebhookChannelOutput {
    match channel.kind {
        ChannelKind::Webhook => {
            let headers: BTreeMap<&String, &str> =
                channel.header_names.iter().map(|name| (name, REDACTED)).collect();
            #[expect(clippy::cast_precision_loss, reason = "at most 30 s in milliseconds")]
            let timeout = channel.timeout_ms as f64 / 1000.0;
            WebhookChannelOutput {
                channel: ChannelName::Webhook,
                configs: json!({
                    "url": channel.url,
                    "headers": if headers.is_empty() { Value::Null } else { json!(headers) },
                    "payload_template": null,
                    "timeout": timeout,
                    "signing_secret": channel.is_signed.then_some(REDACTED),
                }),
            }
        }
        ChannelKind::Slack => {
            let configured = |name: &str| channel.slack.get(name).cloned().unwrap_or_default();
            WebhookChannelOutput {
                channel: ChannelName::Slack,
                configs: json!({
                    "webhook_url": channel.url,
                    "channel": configured("channel"),
                    "username": configured("username"),
                    "icon_emoji": configured("icon_emoji"),
                    "icon_url": configured("icon_url"),
                    "blocks_template": null,
                }),
            }
        }
    }
}

/// Which webhooks to list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListWebhooksRequest {
    /// Only those for this type of event.
    pub event_type: Option<String>,
    /// Only those that deliver, or only those that do not.
    pub is_active: Option<bool>,
}

/// Webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListWebhooksResponse {
    /// The newest first.
    pub results: Vec<WebhookOutput>,
    /// Where they are among the others.
    pub pagination: PaginationResponse,
    /// How many there are in all.
    pub total: u64,
}
