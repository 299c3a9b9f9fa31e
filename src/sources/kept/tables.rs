//! Databases.

use super::WithoutSource;
use crate::sources::provider::{
    Kind, Presence, Schema,
    field::{Literal, Shape, field, integer, text},
};

pub(in crate::sources) static POSTGRESQL: WithoutSource = WithoutSource {
    name: "postgresql",
    schema: &Schema {
        model: "PostgreSQLConfig",
        settings: &[
            text("host").required(),
            integer("port", 1, 65_535, 5432),
            text("database").required(),
            text("schema").or(Literal::Text("public")),
            field(
                "ssl_mode",
                Shape::OneOf(&[
                    "disable",
                    "allow",
                    "prefer",
                    "require",
                    "verify-ca",
                    "verify-full",
                ]),
            )
            .or(Literal::Text("prefer")),
            text("incremental_column"),
            field("primary_key_columns", Shape::Texts),
            integer("query_timeout_seconds", 1, 3600, 300),
            integer("fetch_size", 100, 10_000, 1000),
        ],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "username_password",
            model: "PostgreSQLCredentials",
            fields: &[text("username").required(), text("password").required()],
            dropped: &[],
        }],
    },
    rule: None,
};
