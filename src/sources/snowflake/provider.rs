//! Snowflake tables as a provider: its settings and credentials.

use crate::sources::provider::{
    Kind, Presence, Provider, Schema,
    field::{Shape, field, integer, text},
};

/// Snowflake tables.
#[derive(Debug)]
pub struct Snowflake;

const SCHEMA: Schema = Schema {
    model: "SnowflakeConfig",
    settings: &[
        text("account").required(),
        text("warehouse").required(),
        text("database"),
        text("schema"),
        text("role"),
        text("incremental_column"),
        field("primary_key_columns", Shape::Texts),
        integer("query_timeout_seconds", 30, 3600, 300),
        integer("fetch_size", 100, 10_000, 1000),
    ],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "key_pair",
            model: "SnowflakeKeyPairCredentials",
            fields: &[
                text("username").required(),
                text("private_key").required(),
                text("private_key_passphrase"),
            ],
            dropped: &[],
        },
        Kind {
            tag: "username_password",
            model: "SnowflakeUsernamePasswordCredentials",
            fields: &[text("username").required(), text("password").required()],
            dropped: &[],
        },
    ],
};

impl Provider for Snowflake {
    fn name(&self) -> &'static str {
        "snowflake"
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }
}
