//! What a table cannot say: rules between fields, and how settings become a [`Connection`].

use serde_json::{Map, Value, json};

use super::accept::Wrong;
use crate::model::{Addressing, Connection, KeySource, OtherConnection, Provider, S3Connection};

/// The region of a bucket when nobody names one, as the contract has it.
const S3_REGION: &str = "us-east-1";

/// Tigris's endpoint and region, as the contract has them.
const TIGRIS: (&str, &str) = ("https://fly.storage.tigris.dev", "auto");

/// Every rule between fields that is broken.
pub(super) fn check(
    provider: Provider,
    settings: &Map<String, Value>,
    kind: Option<&str>,
    secret: Option<&Map<String, Value>>,
) -> Vec<Wrong> {
    match provider {
        Provider::S3 | Provider::Tigris => s3(settings, kind),
        Provider::AzureBlob => azure(settings, kind),
        Provider::Box => box_ccg(secret),
        Provider::Rtsp => rtsp(settings),
        _ => Vec::new(),
    }
}

fn s3(settings: &Map<String, Value>, kind: Option<&str>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let endpoint = text(settings, "endpoint_url");
    let use_ssl = settings.get("use_ssl") != Some(&Value::Bool(false));
    if !use_ssl && endpoint.is_none() {
        let message = "the provider's own endpoint is reached with TLS only";
        wrong.push(Wrong::invalid(
            "use_ssl",
            Some(false.into()),
            message,
            "true, or false with an endpoint_url",
        ));
    }
    let plain =
        endpoint.is_some_and(|endpoint| with_scheme(endpoint, use_ssl).starts_with("http://"));
    if settings.get("verify_ssl") == Some(&Value::Bool(false)) && !plain {
        let message = "certificates are always verified: for a certificate of your own, add its \
                       authority to this system's, or name its file in SSL_CERT_FILE";
        wrong.push(Wrong::invalid("verify_ssl", Some(false.into()), message, "true"));
    }
    if let Some(region) = text(settings, "region")
        && !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        let accepted = "lower-case letters, digits and hyphens, as in eu-central-1";
        wrong.push(Wrong::invalid("region", Some(region.into()), "this is not a region", accepted));
    }
    if kind != Some("ambient") {
        if let Some(profile) = text(settings, "profile") {
            let message = "a profile is read with ambient credentials only";
            wrong.push(Wrong::invalid(
                "profile",
                Some(profile.into()),
                message,
                "null, or credentials of the type ambient",
            ));
        }
        if settings.get("anonymous") == Some(&Value::Bool(true)) {
            let message = "anonymous access uses no keys";
            wrong.push(Wrong::invalid(
                "anonymous",
                Some(true.into()),
                message,
                "false, or credentials of the type ambient",
            ));
        }
    }
    wrong
}

fn azure(settings: &Map<String, Value>, kind: Option<&str>) -> Vec<Wrong> {
    if kind == Some("managed_identity") && text(settings, "account_name").is_none() {
        let field = "provider_config.account_name".to_owned();
        return vec![Wrong::missing(field, "text: a managed identity names no account".into())];
    }
    Vec::new()
}

fn box_ccg(secret: Option<&Map<String, Value>>) -> Vec<Wrong> {
    let both = secret
        .is_some_and(|all| !all.contains_key("access_token") && !all.contains_key("jwt_key_id"))
        && ["enterprise_id", "user_id"]
            .iter()
            .all(|name| secret.is_some_and(|all| all.contains_key(*name)));
    match both {
        true => vec![Wrong::invalid(
            "credentials.user_id",
            None,
            "enterprise_id and user_id exclude each other",
            "one of them",
        )],
        false => Vec::new(),
    }
}

fn rtsp(settings: &Map<String, Value>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let has = |name: &str| settings.get(name).is_some_and(|value| !value.is_null());
    if has("gate_inference_name") && has("gate_retriever_id") {
        wrong.push(Wrong::invalid(
            "gate_retriever_id",
            settings.get("gate_retriever_id").cloned(),
            "gate_inference_name and gate_retriever_id exclude each other",
            "null, or no gate_inference_name",
        ));
    }
    if has("gate_output_stage") {
        for needed in ["gate_retriever_id", "gate_output_field", "gate_output_threshold"] {
            if !has(needed) {
                let accepted = "a value, because gate_output_stage is set".to_owned();
                wrong.push(Wrong::missing(format!("provider_config.{needed}"), accepted));
            }
        }
    }
    wrong
}

/// How the provider is reached with these settings, which have been checked.
pub(super) fn connection(
    provider: Provider,
    settings: Map<String, Value>,
    kind: Option<&str>,
) -> Connection {
    match provider {
        Provider::Local => Connection::Local,
        Provider::S3 => Connection::S3(s3_connection(&settings, kind, (None, S3_REGION))),
        Provider::Tigris => {
            Connection::Tigris(s3_connection(&settings, kind, (Some(TIGRIS.0), TIGRIS.1)))
        }
        _ => Connection::Other(OtherConnection {
            provider,
            config: settings,
            credentials: kind.map(str::to_owned),
        }),
    }
}

fn s3_connection(
    settings: &Map<String, Value>,
    kind: Option<&str>,
    (endpoint, region): (Option<&str>, &str),
) -> S3Connection {
    let own = |name: &str| text(settings, name).map(str::to_owned);
    let flag = |name: &str| settings.get(name).and_then(Value::as_bool);
    let use_ssl = flag("use_ssl");
    let keys = match kind {
        Some("access_key") => KeySource::AccessKey,
        Some("iam_role") => KeySource::IamRole,
        _ => KeySource::Chain,
    };
    // The chain knows the region of its profile; keys that are kept know nothing.
    let region = own("region").or_else(|| (keys != KeySource::Chain).then(|| region.to_owned()));
    let endpoint = text(settings, "endpoint_url").or(endpoint);
    S3Connection {
        keys,
        endpoint_url: endpoint.map(|endpoint| with_scheme(endpoint, use_ssl != Some(false))),
        region,
        profile: own("profile"),
        anonymous: flag("anonymous").unwrap_or_default(),
        requester_pays: flag("requester_pays").unwrap_or_default(),
        addressing: match text(settings, "addressing") {
            Some("path") => Addressing::Path,
            Some("virtual_host") => Addressing::VirtualHost,
            _ => Addressing::Auto,
        },
        use_ssl,
        verify_ssl: flag("verify_ssl"),
        ..S3Connection::default()
    }
}

/// The settings of an S3 connection as the contract spells them.
pub(super) fn s3_shown(s3: &S3Connection) -> Map<String, Value> {
    let shown = json!({
        "region": s3.region,
        "endpoint_url": s3.endpoint_url,
        "use_ssl": s3.use_ssl.unwrap_or(true),
        "verify_ssl": s3.verify_ssl.unwrap_or(true),
        "profile": s3.profile,
        "anonymous": s3.anonymous,
        "requester_pays": s3.requester_pays,
        "addressing": s3.addressing,
    });
    shown.as_object().cloned().unwrap_or_default()
}

/// An endpoint's own scheme counts; one without gets it from `use_ssl`.
fn with_scheme(endpoint: &str, use_ssl: bool) -> String {
    match (endpoint.contains("://"), use_ssl) {
        (true, _) => endpoint.to_owned(),
        (false, true) => format!("https://{endpoint}"),
        (false, false) => format!("http://{endpoint}"),
    }
}

fn text<'a>(settings: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    settings.get(name).and_then(Value::as_str)
}
