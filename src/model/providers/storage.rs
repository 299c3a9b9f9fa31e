//! Object storage.

use super::{
    Kind, Presence, Spec,
    field::{Field, Literal, Shape, field, one_of, text, word},
};
use crate::model::Provider;

const ENDPOINT: Field =
    field("endpoint_url", Shape::Url { schemes: &["https", "http"], bare: true, query: false });

const REGION: Field = field("region", Shape::Text { min: 1, max: 32 });

/// The AWS chain of this machine, with what picks in it: ours, beside the contract's.
const AMBIENT: Kind = Kind { tag: "ambient", model: "AmbientCredentials", fields: &[] };

const PROFILE: Field = word("profile");
const ANONYMOUS: Field = field("anonymous", Shape::Bool).or(Literal::Bool(false));
const REQUESTER_PAYS: Field = field("requester_pays", Shape::Bool).or(Literal::Bool(false));
const ADDRESSING: Field = one_of("addressing", &["auto", "path", "virtual_host"]);
const USE_SSL: Field = field("use_ssl", Shape::Bool).or(Literal::Bool(true));
const VERIFY_SSL: Field = field("verify_ssl", Shape::Bool).or(Literal::Bool(true));

pub(super) const S3: Spec = Spec {
    provider: Provider::S3,
    model: "S3Config",
    settings: &[
        REGION,
        ENDPOINT,
        USE_SSL,
        VERIFY_SSL,
        PROFILE,
        ANONYMOUS,
        REQUESTER_PAYS,
        ADDRESSING,
    ],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "access_key",
            model: "S3AccessKeyCredentials",
            fields: &[
                field("access_key_id", Shape::Text { min: 1, max: 128 }).required(),
                word("secret_access_key").required(),
                text("session_token"),
            ],
        },
        Kind {
            tag: "iam_role",
            model: "S3RoleCredentials",
            fields: &[
                field("role_arn", Shape::Role).required(),
                field("external_id", Shape::Text { min: 8, max: 128 }).required(),
            ],
        },
        AMBIENT,
    ],
};

pub(super) const TIGRIS: Spec = Spec {
    provider: Provider::Tigris,
    model: "TigrisConfig",
    settings: &[REGION, ENDPOINT, PROFILE, ANONYMOUS, REQUESTER_PAYS, ADDRESSING],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "access_key",
            model: "TigrisAccessKeyCredentials",
            fields: &[word("access_key_id").required(), word("secret_access_key").required()],
        },
        AMBIENT,
    ],
};

pub(super) const BACKBLAZE: Spec = Spec {
    provider: Provider::Backblaze,
    model: "BackblazeConfig",
    settings: &[],
    presence: Presence::Required,
    kinds: &[Kind {
        tag: "application_key",
        model: "BackblazeCredentials",
        fields: &[text("key_id").required(), text("application_key").required()],
    }],
};

/// The contract has no model for it; its words are those of the provider's description.
pub(super) const SUPABASE: Spec = Spec {
    provider: Provider::Supabase,
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
    }],
};

pub(super) const GCS: Spec = Spec {
    provider: Provider::Gcs,
    model: "GCSConfig",
    settings: &[text("bucket").required(), text("prefix")],
    presence: Presence::Required,
    kinds: &[Kind {
        tag: "service_account",
        model: "GCSServiceAccountKeyCredentials",
        fields: &[field("service_account_json", Shape::Object).required()],
    }],
};

pub(super) const AZURE_BLOB: Spec = Spec {
    provider: Provider::AzureBlob,
    model: "AzureBlobConfig",
    settings: &[text("account_name"), text("container").required(), text("prefix")],
    presence: Presence::Required,
    kinds: &[
        Kind {
            tag: "account_key",
            model: "AzureStorageAccountKeyCredentials",
            fields: &[word("account_name").required(), word("account_key").required()],
        },
        Kind {
            tag: "managed_identity",
            model: "AzureManagedIdentityCredentials",
            fields: &[text("client_id")],
        },
    ],
};
