//! Document libraries.

use super::{
    Kind, Presence, Spec,
    field::{Literal, text},
};
use crate::model::Provider;

pub(super) const GOOGLE_DRIVE: Spec = Spec {
    provider: Provider::GoogleDrive,
    model: "GoogleDriveConfig",
    settings: &[text("shared_drive_id"), text("impersonate_user")],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "service_account",
            model: "GoogleDriveServiceAccountCredentials",
            fields: &[
                text("project_id").required(),
                text("private_key_id").required(),
                text("private_key").required(),
                text("client_email").required(),
                text("client_id").required(),
            ],
        },
        Kind {
            tag: "oauth",
            model: "GoogleDriveOAuthCredentials",
            fields: &[
                text("client_id").required(),
                text("client_secret").required(),
                text("refresh_token").required(),
            ],
        },
    ],
};

pub(super) const SHAREPOINT: Spec = Spec {
    provider: Provider::Sharepoint,
    model: "SharePointConfig",
    settings: &[text("site_id"), text("drive_id"), text("folder_path")],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "client_credentials",
            model: "SharePointClientCredentials",
            fields: &[
                text("tenant_id").required(),
                text("client_id").required(),
                text("client_secret").required(),
            ],
        },
        Kind {
            tag: "delegated",
            model: "SharePointDelegatedCredentials",
            fields: &[
                text("tenant_id").required(),
                text("client_id").required(),
                text("client_secret").required(),
                text("refresh_token").required(),
            ],
        },
    ],
};

pub(super) const BOX: Spec = Spec {
    provider: Provider::Box,
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
        },
    ],
};
