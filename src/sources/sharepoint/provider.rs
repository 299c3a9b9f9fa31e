//! SharePoint and OneDrive as a provider: its settings and credentials.

use crate::sources::{
    oauth::{microsoft::WithMicrosoft, sign_in::SignIn},
    provider::{Kind, Presence, Provider, Reader, Schema, field::text},
};

/// SharePoint and OneDrive.
#[derive(Debug)]
pub struct Sharepoint;

const SCHEMA: Schema = Schema {
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
            dropped: &[],
        },
        Kind {
            tag: "delegated",
            model: "SharePointDelegatedCredentials",
            fields: &[
                text("tenant_id").required(),
                text("client_id").required(),
                // A public client, which a sign-in in the browser makes, has none.
                text("client_secret"),
                text("refresh_token").required(),
            ],
            dropped: &[],
        },
    ],
};

impl Provider for Sharepoint {
    fn name(&self) -> &'static str {
        "sharepoint"
    }

    fn schema(&self) -> Option<&'static Schema> {
        Some(&SCHEMA)
    }

    fn reader(&self) -> Option<&dyn Reader> {
        Some(self)
    }

    fn sign_in(&self) -> Option<&'static dyn SignIn> {
        Some(&WithMicrosoft)
    }
}
