//! Box.

use super::WithoutSource;
use crate::sources::provider::{
    Given, Kind, Presence, Schema, Wrong,
    field::{Literal, text},
};

pub(in crate::sources) static BOX: WithoutSource = WithoutSource {
    name: "box",
    schema: &Schema {
        model: "BoxConfig",
        settings: &[text("folder_id").or(Literal::Text("0"))],
        presence: Presence::Required,
        kinds: &[
            Kind {
                tag: "oauth",
                model: "BoxOAuthCredentials",
                fields: &[
                    text("client_id").required(),
                    text("client_secret").required(),
                    text("access_token").required(),
                    text("refresh_token"),
                ],
                dropped: &[],
            },
            Kind {
                tag: "jwt",
                model: "BoxJWTCredentials",
                fields: &[
                    text("client_id").required(),
                    text("client_secret").required(),
                    text("enterprise_id").required(),
                    text("jwt_key_id").required(),
                    text("private_key").required(),
                    text("private_key_passphrase"),
                ],
                dropped: &[],
            },
            Kind {
                tag: "ccg",
                model: "BoxCCGCredentials",
                fields: &[
                    text("client_id").required(),
                    text("client_secret").required(),
                    text("enterprise_id"),
                    text("user_id"),
                ],
                dropped: &[],
            },
        ],
    },
    rule: Some(box_ccg),
};

/// An enterprise and a user exclude each other.
fn box_ccg(given: &Given<'_>) -> Vec<Wrong> {
    let has = |name: &str| given.secret.is_some_and(|all| all.contains_key(name));
    let is_ccg = !has("access_token") && !has("jwt_key_id");
    if !(is_ccg && has("enterprise_id") && has("user_id")) {
        return Vec::new();
    }
    let message = "enterprise_id and user_id exclude each other";
    vec![Wrong::invalid("credentials.user_id", None, message, "one of them")]
}
