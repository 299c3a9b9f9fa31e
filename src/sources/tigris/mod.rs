//! Tigris (<https://www.tigrisdata.com/docs/sdks/s3/>): S3's API with one global region. The source
//! is that of `s3`; here is what differs.

use super::{
    provider::{Kind, Presence, Schema, field::word},
    s3::provider::{
        ADDRESSING, AMBIENT, ANONYMOUS, Compatible, ENDPOINT, PROFILE, REGION, REQUESTER_PAYS,
        Service,
    },
};

/// Tigris.
pub static TIGRIS: Compatible = Compatible {
    name: "tigris",
    schema: &Schema {
        model: "TigrisConfig",
        settings: &[REGION, ENDPOINT, PROFILE, ANONYMOUS, REQUESTER_PAYS, ADDRESSING],
        presence: Presence::Required,
        kinds: &[
            Kind {
                tag: "access_key",
                model: "TigrisAccessKeyCredentials",
                fields: &[word("access_key_id").required(), word("secret_access_key").required()],
                dropped: &[],
            },
            AMBIENT,
        ],
    },
    schemes: &["tigris", "t3"],
    example: "tigris://bucket/prefix",
    endpoint: Some("https://fly.storage.tigris.dev"),
    region: "auto",
    service: Service::Tigris,
};
