//! Object storage without an API compatible with S3, or not read through it yet.

use super::WithoutSource;
use crate::sources::{
    provider::{
        Given, Kind, Presence, Schema, Wrong,
        field::{Shape, field, text, word},
    },
    s3::provider::{ENDPOINT, REGION},
};

pub(in crate::sources) static BACKBLAZE: WithoutSource = WithoutSource {
    name: "backblaze",
    schema: &Schema {
        model: "BackblazeConfig",
        settings: &[],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "application_key",
            model: "BackblazeCredentials",
            fields: &[text("key_id").required(), text("application_key").required()],
            dropped: &[],
        }],
    },
    rule: None,
};

/// The contract has no model for it; its words are those of the provider's description.
pub(in crate::sources) static SUPABASE: WithoutSource = WithoutSource {
    name: "supabase",
    schema: &Schema {
        model: "SupabaseConfig",
        settings: &[word("project_ref").required(), REGION, ENDPOINT],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "access_key",
            model: "SupabaseAccessKeyCredentials",
            fields: &[
                word("access_key_id").required(),
                word("secret_access_key").required(),
                text("session_token"),
            ],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static GCS: WithoutSource = WithoutSource {
    name: "gcs",
    schema: &Schema {
        model: "GCSConfig",
        settings: &[text("bucket").required(), text("prefix")],
        presence: Presence::Required,
        kinds: &[Kind {
            tag: "service_account",
            model: "GCSServiceAccountKeyCredentials",
            fields: &[field("service_account_json", Shape::Object).required()],
            dropped: &[],
        }],
    },
    rule: None,
};

pub(in crate::sources) static AZURE_BLOB: WithoutSource = WithoutSource {
    name: "azure_blob",
    schema: &Schema {
        model: "AzureBlobConfig",
        settings: &[text("account_name"), text("container").required(), text("prefix")],
        presence: Presence::Required,
        kinds: &[
            Kind {
                tag: "account_key",
                model: "AzureStorageAccountKeyCredentials",
                fields: &[word("account_name").required(), word("account_key").required()],
                dropped: &[],
            },
            Kind {
                tag: "managed_identity",
                model: "AzureManagedIdentityCredentials",
                fields: &[text("client_id")],
                dropped: &[],
            },
        ],
    },
    rule: Some(azure),
};

/// A managed identity names no account.
fn azure(given: &Given<'_>) -> Vec<Wrong> {
    if given.kind == Some("managed_identity") && given.text("account_name").is_none() {
        let field = "provider_config.account_name".to_owned();
        return vec![Wrong::missing(field, "text: a managed identity names no account".into())];
    }
    Vec::new()
}
