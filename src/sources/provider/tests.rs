//! What each provider accepts, refuses and keeps to itself, tried on its table.

#![allow(clippy::unwrap_used)]

use serde_json::{Map, Value, json};

use super::{
    Accepted, Kind, Schema, Wrong,
    field::{Field, Shape},
};
use crate::{
    model::{Connection, ProviderName},
    sources::{
        accept, amend, providers, public_config,
        s3::provider::{KeySource, S3Connection},
    },
};

const S3: ProviderName = ProviderName::new("s3");

/// Every provider that connections can be made to.
fn all() -> impl Iterator<Item = (ProviderName, &'static Schema)> {
    providers()
        .filter_map(|provider| Some((ProviderName::new(provider.name()), provider.schema()?)))
}

fn s3(connection: &Connection) -> S3Connection {
    S3Connection::of(connection).unwrap()
}

/// A value that fits, with `canary` in it where it can be.
fn sample(field: &Field, canary: &str) -> Value {
    match field.shape {
        Shape::Text { max, .. } => canary.chars().take(max).collect::<String>().into(),
        Shape::OneOf(words) => words[0].into(),
        Shape::Integer { min, .. } => min.into(),
        Shape::Number { .. } => json!(0.5),
        Shape::Bool => true.into(),
        Shape::Texts => json!([canary]),
        Shape::TextMap => json!({ "Authorization": canary }),
        Shape::Object => json!({ "private_key": canary }),
        Shape::Objects => json!([{ "x": canary }]),
        Shape::Time => "2026-01-31T12:00:00Z".into(),
        Shape::Url { schemes, .. } => format!("{}://host/path", schemes[0]).into(),
        Shape::Role => "arn:aws:iam::123456789012:role/reader".into(),
    }
}

/// A configuration with every field of one kind of credentials.
fn whole(schema: &Schema, kind: &Kind, canary: &str) -> Value {
    let fields = |fields: &[Field], canary: &str| -> Map<String, Value> {
        fields.iter().map(|field| (field.name.to_owned(), sample(field, canary))).collect()
    };
    let mut config = fields(schema.settings, "plain");
    for exclusive in ["gate_inference_name", "profile", "anonymous"] {
        config.remove(exclusive);
    }
    if config.contains_key("region") {
        config.insert("region".into(), "eu-west-1".into());
    }
    let mut credentials = fields(kind.fields, canary);
    if kind.tag == "ccg" {
        credentials.remove("user_id");
    }
    credentials.insert("type".into(), kind.tag.into());
    config.insert("credentials".into(), credentials.into());
    config.into()
}

fn fields(result: Result<Accepted, Vec<Wrong>>) -> Vec<(String, &'static str)> {
    result.unwrap_err().into_iter().map(|wrong| (wrong.field, wrong.kind)).collect()
}

#[test]
fn every_kind_of_credentials_of_every_provider_is_accepted_and_parted_from_the_settings() {
    for (name, schema) in all() {
        for kind in schema.kinds {
            let config = whole(schema, kind, "canary-secret");
            let accepted = accept(&name, &config)
                .unwrap_or_else(|wrong| panic!("{} {}: {wrong:?}", schema.model, kind.tag));
            let settings = serde_json::to_string(&accepted.connection).unwrap();
            assert!(!settings.contains("canary"), "{settings}");
            assert!(!format!("{accepted:?}").contains("canary"));
            let shown = public_config(&accepted.connection);
            assert_eq!(shown["credentials"], json!({ "type": kind.tag }), "{}", schema.model);
            let sealed = accepted.credentials.map(|all| all.expose_json().to_owned());
            assert_eq!(sealed.is_some(), !kind.fields.is_empty(), "{} {}", schema.model, kind.tag);
            assert!(sealed.is_none_or(|json| json.contains(kind.tag)));
        }
    }
}

#[test]
fn a_connection_is_the_same_after_it_was_stored() {
    for (name, schema) in all() {
        let config = whole(schema, &schema.kinds[0], "x");
        let connection = accept(&name, &config).unwrap().connection;
        let stored = serde_json::to_string(&connection).unwrap();
        assert_eq!(serde_json::from_str::<Connection>(&stored).unwrap(), connection);
    }
}

#[test]
fn every_wrong_field_is_named_and_no_secret_is_shown() {
    for (name, schema) in all() {
        for kind in schema.kinds {
            let mut config = whole(schema, kind, "canary-secret");
            config["credentials"]["canari"] = "canary-secret".into();
            config["nonsense"] = "canary-secret".into();
            for field in kind.fields {
                config["credentials"][field.name] = json!([["canary-secret"]]);
            }
            let wrong = accept(&name, &config).unwrap_err();
            assert!(!format!("{wrong:?}").contains("canary-secret"), "{wrong:?}");
            for field in kind.fields {
                let path = format!("provider_config.credentials.{}", field.name);
                assert!(wrong.iter().any(|wrong| wrong.field == path), "{path}: {wrong:?}");
            }
            let extra = wrong.iter().filter(|wrong| wrong.kind == "extra_forbidden").count();
            assert_eq!(extra, 2, "{wrong:?}");
        }
    }
}

#[test]
fn credentials_that_do_not_say_their_type_are_what_they_fit() {
    let config = json!({ "credentials": { "access_key_id": "a", "secret_access_key": "b" } });
    let accepted = accept(&S3, &config).unwrap();
    let S3Connection { keys, region, .. } = s3(&accepted.connection);
    assert_eq!((keys, region.as_deref()), (KeySource::AccessKey, Some("us-east-1")));
    let unclear = json!({ "credentials": { "client_id": "a", "client_secret": "b" } });
    assert_eq!(
        fields(accept(&ProviderName::new("sharepoint"), &unclear)),
        [("provider_config.credentials.type".to_owned(), "invalid")]
    );
}

#[test]
fn missing_fields_are_all_named() {
    assert_eq!(
        fields(accept(&ProviderName::new("snowflake"), &json!({}))),
        [
            ("provider_config.account".to_owned(), "missing"),
            ("provider_config.warehouse".to_owned(), "missing"),
            ("provider_config.credentials".to_owned(), "missing"),
        ]
    );
}

#[test]
fn an_endpoint_without_a_scheme_gets_it_from_use_ssl() {
    let endpoint = |use_ssl: bool, url: &str| {
        let config = json!({
            "credentials": { "type": "ambient" }, "endpoint_url": url, "use_ssl": use_ssl,
        });
        s3(&accept(&S3, &config).unwrap().connection).endpoint_url.unwrap()
    };
    assert_eq!(endpoint(false, "minio:9000"), "http://minio:9000");
    assert_eq!(endpoint(true, "minio:9000"), "https://minio:9000");
    assert_eq!(endpoint(true, "http://minio:9000"), "http://minio:9000");
}

#[test]
fn what_this_build_will_not_do_is_refused_rather_than_ignored() {
    let refused = |more: Value| {
        let mut config = json!({ "credentials": { "type": "ambient" } });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields(accept(&S3, &config)).remove(0).0
    };
    assert_eq!(refused(json!({ "verify_ssl": false })), "provider_config.verify_ssl");
    assert_eq!(refused(json!({ "use_ssl": false })), "provider_config.use_ssl");
    let inside = json!({ "endpoint_url": "https://user:canary@host" });
    assert_eq!(refused(inside), "provider_config.endpoint_url");
}

#[test]
fn credentials_in_an_address_are_refused_without_being_shown() {
    let config = json!({ "url": "rtsp://user:canary@camera/1?channel=2" });
    let wrong = accept(&ProviderName::new("rtsp"), &config).unwrap_err();
    assert!(!format!("{wrong:?}").contains("canary"));
    assert!(
        accept(&ProviderName::new("rtsp"), &json!({ "url": "rtsp://camera/1?channel=2" })).is_ok()
    );
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let config = json!({
        "credentials": { "access_key_id": "a", "secret_access_key": "b" },
        "region": "eu-west-1", "endpoint_url": "https://h",
    });
    let before = accept(&S3, &config).unwrap().connection;
    let after = amend(&before, &json!({ "endpoint_url": null })).unwrap();
    assert!(after.credentials.is_none(), "nothing new to seal");
    let shown = public_config(&after.connection);
    assert_eq!(shown["region"], "eu-west-1");
    assert_eq!(shown["endpoint_url"], Value::Null);
    assert_eq!(shown["credentials"], json!({ "type": "access_key" }));
}

#[test]
fn rules_between_fields_are_kept() {
    let azure = json!({ "container": "c", "credentials": { "type": "managed_identity" } });
    assert_eq!(
        fields(accept(&ProviderName::new("azure_blob"), &azure)),
        [("provider_config.account_name".to_owned(), "missing")]
    );
    let camera = json!({ "url": "rtsp://c/1", "gate_output_stage": "count" });
    assert_eq!(fields(accept(&ProviderName::new("rtsp"), &camera)).len(), 3);
}

#[test]
fn the_whole_key_file_of_a_service_account_is_accepted_and_only_its_credentials_are_stored() {
    let file = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k",
        "private_key": "canary", "client_email": "a@p", "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/a",
        "universe_domain": "googleapis.com",
    });
    let drive = ProviderName::new("google_drive");
    let accepted = accept(&drive, &json!({ "credentials": file })).unwrap();
    let sealed: Value = serde_json::from_str(accepted.credentials.unwrap().expose_json()).unwrap();
    assert_eq!(sealed.as_object().unwrap().len(), 6, "{sealed}");
}

#[test]
fn a_delegated_sign_in_of_a_public_client_has_no_client_secret() {
    let config = json!({ "credentials": {
        "type": "delegated", "tenant_id": "t", "client_id": "c", "refresh_token": "r",
    }});
    assert!(accept(&ProviderName::new("sharepoint"), &config).is_ok());
}
