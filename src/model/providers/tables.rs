//! Databases.

use super::{
    Kind, Presence, Spec,
    field::{Literal, Shape, field, integer, text},
};
use crate::model::Provider;

pub(super) const SNOWFLAKE: Spec = Spec {
    provider: Provider::Snowflake,
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
        },
        Kind {
            tag: "username_password",
            model: "SnowflakeUsernamePasswordCredentials",
            fields: &[text("username").required(), text("password").required()],
        },
    ],
};

pub(super) const POSTGRESQL: Spec = Spec {
    provider: Provider::Postgresql,
    model: "PostgreSQLConfig",
    settings: &[
        text("host").required(),
        integer("port", 1, 65_535, 5432),
        text("database").required(),
        text("schema").or(Literal::Text("public")),
        field(
            "ssl_mode",
            Shape::OneOf(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]),
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
    }],
};
