//! Feeds and what is pushed.

use super::WithoutSource;
use crate::sources::provider::{
    Kind, Presence, Schema,
    field::{Literal, Shape, field, integer, one_of, text},
};

pub(in crate::sources) static RSS: WithoutSource = WithoutSource {
    name: "rss",
    schema: &Schema {
        model: "RSSConfig",
        settings: &[
            text("user_agent").or(Literal::Text("Catchment")),
            integer("request_timeout", 5, 120, 30),
        ],
        presence: Presence::Optional,
        kinds: &[Kind {
            tag: "http_headers",
            model: "RSSHttpHeaderCredentials",
            fields: &[field("headers", Shape::TextMap)],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static HTTP_API: WithoutSource = WithoutSource {
    name: "http_api",
    schema: &Schema {
        model: "HTTPAPIConfig",
        settings: &[
            one_of("http_method", &["GET", "POST"]),
            field("request_body", Shape::Object),
            text("items_path").or(Literal::Text("")),
            text("item_id_field").or(Literal::Text("id")),
            text("item_modified_field"),
            one_of("response_content_type", &["json", "jsonl"]),
            text("user_agent").or(Literal::Text("Catchment")),
            integer("request_timeout", 5, 120, 30),
        ],
        presence: Presence::Optional,
        kinds: &[Kind {
            tag: "http_headers",
            model: "HTTPAPIHeaderCredentials",
            fields: &[field("headers", Shape::TextMap)],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static BRIGHTDATA: WithoutSource = WithoutSource {
    name: "brightdata",
    schema: &Schema {
        model: "BrightDataConfig",
        settings: &[
            text("customer_id"),
            one_of("default_output_format", &["jsonl", "json", "csv", "ndjson"]),
            text("country"),
            field("inputs", Shape::Objects),
        ],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "api_token",
            model: "BrightDataCredentials",
            fields: &[text("api_token").required()],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static EMAIL: WithoutSource = WithoutSource {
    name: "email",
    schema: &Schema {
        model: "EmailConfig",
        settings: &[
            text("inbound_address"),
            field("allowed_senders", Shape::Texts),
            field("store_raw_eml", Shape::Bool).or(Literal::Bool(true)),
        ],
        presence: Presence::Optional,
        kinds: &[Kind {
            tag: "webhook_secret",
            model: "EmailCredentials",
            fields: &[text("webhook_secret")],
            dropped: &[],
        }],
    },
    rule: None,
};
