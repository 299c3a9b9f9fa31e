//! Requests go to the host that the endpoint and the addressing name, and nowhere else.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Kind, Object},
    wire::{Answer, Wire},
};

const SOURCE: &str = "s3://catchment-test";

#[test]
fn a_bucket_as_a_virtual_host_is_asked_and_signed_for_under_that_host() {
    let s3 = FakeS3::start();
    s3.put("folder/ordinary key", "x");
    s3.put("folder//odd key", "y");
    s3.put("large", content::pattern(1, 20 << 20));
    let endpoint = s3.url_under_another_name();
    let catchment = Catchment::reaching(&s3.endpoint()).with_endpoint(&endpoint);

    let run = catchment.sync_with(SOURCE, &["--addressing", "virtual"]).exits(0);

    assert_eq!(run.summary().synced, 3);
    catchment.holds_exactly(BUCKET, &s3.contents());
    let host = endpoint.replace("http://", &format!("{BUCKET}."));
    let requests = s3.requests();
    assert!(requests.iter().any(|seen| seen.kind == Kind::Get));
    for seen in requests {
        assert_eq!(seen.request.header("host"), Some(&*host), "{}", seen.request.target);
        let begins_with_bucket = seen.request.raw_path().starts_with(&format!("/{BUCKET}"));
        assert!(!begins_with_bucket, "the bucket is named twice: {}", seen.request.target);
        // The server has checked the signature; it has to be over the host.
        let signature = seen.request.header("authorization").expect("a signature");
        assert!(signature.contains("host;"), "{signature}");
    }
}

#[test]
fn a_host_that_does_not_exist_is_reported_within_seconds() {
    let catchment = Catchment::new()
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "not-a-secret")
        .with_endpoint("http://storage.invalid");

    let run = catchment.sync(SOURCE).exits(1).says(&["storage.invalid", "does not resolve"]);

    // Name servers that are out of reach take their own time to be given up.
    assert!(run.took < Duration::from_secs(50), "{run}");
}

#[test]
fn a_proxy_is_asked_for_every_host_but_this_machine_and_those_that_are_excepted() {
    let s3 = FakeS3::start();
    s3.put("folder//odd key", "y");
    s3.put("large", content::pattern(1, 20 << 20));
    let proxied = Catchment::reaching(&s3.endpoint())
        .env("HTTP_PROXY", s3.endpoint().url.replace("http://", "http://user:pass@"))
        .with_endpoint("http://storage.invalid");

    proxied.sync(SOURCE).exits(0);

    proxied.holds_exactly(BUCKET, &s3.contents());
    for seen in s3.requests() {
        assert_eq!(seen.request.proxied.as_deref(), Some("http://storage.invalid"));
        assert_eq!(seen.request.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    }

    // Nobody listens there: whoever asks this proxy fails.
    let direct = Catchment::reaching(&s3.endpoint()).env("HTTP_PROXY", "http://127.0.0.1:9");
    direct.sync(SOURCE).exits(0);
    direct
        .env("NO_PROXY", "storage.invalid")
        .with_endpoint("http://storage.invalid")
        .sync_with(SOURCE, &["--bucket", "other"])
        .exits(1)
        .says(&["does not resolve"]);
}

#[test]
fn a_proxy_is_asked_for_the_url_of_a_blob_too() {
    let s3 = FakeS3::start();
    s3.put_object("film", Object::new("film").metadata("poster", "http://pictures.invalid/a.png"));
    let proxy = Wire::serve(|request| match request.proxied.as_deref() {
        Some("http://pictures.invalid") => Answer::new(200, "png bytes").into(),
        other => Answer::new(502, format!("{other:?}")).into(),
    });
    let catchment = Catchment::reaching(&s3.endpoint()).env("HTTP_PROXY", proxy.url());
    let mapping = json!({ "mappings": { "poster": {
        "target_type": "blob", "blob_property": "poster",
        "source": { "type": "metadata", "key": "poster" },
    } } });
    let file = catchment.write_home("mapping.json", mapping.to_string());

    catchment.sync_with(SOURCE, &["--mapping", file.to_str().unwrap()]).exits(0);
}
