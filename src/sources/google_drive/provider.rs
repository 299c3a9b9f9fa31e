//! Google Drive as a provider: its settings and credentials.

use crate::sources::{
    oauth::{google::WithGoogle, sign_in::SignIn},
    provider::{Kind, Presence, Provider, Schema, field::text},
};

/// Google Drive.
#[derive(Debug)]
pub struct GoogleDrive;

const SCHEMA: Schema = Schema {
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
            // The rest of the key file as it is downloaded.
            dropped: &[
                "auth_uri",
                "token_uri",
                "auth_provider_x509_cert_url",
                "client_x509_cert_url",
                "universe_domain",
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
            dropped: &[],
        },
    ],
};

impl Provider for GoogleDrive {
    fn name(&self) -> &'static str {
        "google_drive"
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }

    fn sign_in(&self) -> Option<&'static dyn SignIn> {
        Some(&WithGoogle)
    }
}
