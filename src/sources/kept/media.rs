//! Media platforms and cameras.

use super::WithoutSource;
use crate::sources::provider::{
    Given, Kind, Presence, Schema, Wrong,
    field::{Shape, field, integer, one_of, text, word},
};

pub(in crate::sources) static INSTAGRAM: WithoutSource = WithoutSource {
    name: "instagram",
    schema: &Schema {
        model: "InstagramConfig",
        settings: &[field("scopes", Shape::Texts), text("business_account_id")],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "oauth",
            model: "InstagramOAuthCredentials",
            fields: &[
                text("client_id").required(),
                text("client_secret"),
                text("access_token").required(),
                field("token_expires_at", Shape::Time),
                text("instagram_user_id").required(),
                text("instagram_username"),
            ],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static TIKTOK: WithoutSource = WithoutSource {
    name: "tiktok",
    schema: &Schema {
        model: "TikTokConfig",
        settings: &[field("scopes", Shape::Texts)],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "oauth",
            model: "TikTokOAuthCredentials",
            fields: &[
                text("client_key").required(),
                text("client_secret").required(),
                text("access_token").required(),
                text("refresh_token"),
                field("token_expires_at", Shape::Time),
                text("open_id").required(),
            ],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static MUX: WithoutSource = WithoutSource {
    name: "mux",
    schema: &Schema {
        model: "MuxConfig",
        settings: &[],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "access_token",
            model: "MuxCredentials",
            fields: &[
                text("access_token_id").required(),
                text("access_token_secret").required(),
                text("webhook_secret"),
            ],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static RTSP: WithoutSource = WithoutSource {
    name: "rtsp",
    schema: &Schema {
        model: "RTSPConfig",
        settings: &[
            field("url", Shape::Url { schemes: &["rtsp", "rtsps"], bare: false, query: true })
                .required(),
            one_of("transport", &["tcp", "udp"]),
            integer("segment_seconds", 5, 300, 30),
            integer("segments_per_run", 1, 20, 1),
            integer("connect_timeout_seconds", 5, 120, 15),
            field("scene_change_threshold", Shape::Integer { min: 0, max: 64 }),
            text("gate_inference_name"),
            text("gate_retriever_id"),
            field("gate_retriever_min_score", Shape::Number { min: 0.0, max: 1.0 }),
            text("gate_output_stage"),
            text("gate_output_field"),
            one_of("gate_output_op", &["gte", "lte", "gt", "lt", "eq"]),
            field("gate_output_threshold", Shape::Number { min: f64::MIN, max: f64::MAX }),
            one_of("gate_on_error", &["publish", "drop"]),
            integer("gate_timeout_seconds", 1, 300, 30),
        ],
        presence: Presence::Optional,
        kinds: &[Kind {
            tag: "basic",
            model: "RTSPBasicCredentials",
            fields: &[word("username").required(), word("password").required()],
            dropped: &[],
        }],
    },
    rule: Some(rtsp),
};

/// The gate is one or the other, and an output stage needs all of its own settings.
fn rtsp(given: &Given<'_>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if given.has("gate_inference_name") && given.has("gate_retriever_id") {
        wrong.push(Wrong::invalid(
            "gate_retriever_id",
            given.settings.get("gate_retriever_id").cloned(),
            "gate_inference_name and gate_retriever_id exclude each other",
            "null, or no gate_inference_name",
        ));
    }
    if given.has("gate_output_stage") {
        for needed in ["gate_retriever_id", "gate_output_field", "gate_output_threshold"] {
            if !given.has(needed) {
                let accepted = "a value, because gate_output_stage is set".to_owned();
                wrong.push(Wrong::missing(format!("provider_config.{needed}"), accepted));
            }
        }
    }
    wrong
}
