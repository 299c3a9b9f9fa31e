//! Iconik as a provider: its settings and credentials.

use crate::sources::provider::{
    Kind, Presence, Provider, Schema,
    field::{Literal, Shape, field, text},
};

/// Iconik.
#[derive(Debug)]
pub struct Iconik;

const SCHEMA: Schema = Schema {
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
        dropped: &[],
    }],
};

impl Provider for Iconik {
    fn name(&self) -> &'static str {
        "iconik"
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }
}
