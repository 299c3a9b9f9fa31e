//! Media platforms and cameras.

use super::{
    Kind, Presence, Spec,
    field::{Literal, Shape, field, integer, one_of, text, word},
};
use crate::model::Provider;

pub(super) const INSTAGRAM: Spec = Spec {
    provider: Provider::Instagram,
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
    }],
};

pub(super) const TIKTOK: Spec = Spec {
    provider: Provider::Tiktok,
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
    }],
};

pub(super) const MUX: Spec = Spec {
    provider: Provider::Mux,
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
    }],
};

pub(super) const ICONIK: Spec = Spec {
    provider: Provider::Iconik,
    model: "IconikConfig",
    settings: &[
        field("base_url", Shape::Url { schemes: &["https", "http"], bare: false, query: false })
            .or(Literal::Text("https://app.iconik.io")),
        text("metadata_view_id"),
        field("rate_limit_rps", Shape::Number { min: 0.0, max: f64::MAX }),
        field(
            "rate_limit_redis_url",
            Shape::Url { schemes: &["redis", "rediss"], bare: false, query: false },
        ),
    ],
    presence: Presence::Required,
    kinds: &[Kind {
        tag: "app_token",
        model: "IconikCredentials",
        fields: &[text("app_id").required(), text("auth_token").required(), text("webhook_secret")],
    }],
};

pub(super) const RTSP: Spec = Spec {
    provider: Provider::Rtsp,
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
    }],
};
