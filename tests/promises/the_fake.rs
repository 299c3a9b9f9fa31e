//! The scripted S3 is one that a client of Amazon's accepts: boto3 signs to it, lists it and reads
//! it. What Catchment is tested against is therefore S3 and not our idea of it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::support::{
    Endpoint, content,
    fake_s3::{self, FakeS3},
    peers,
};

fn boto3(endpoint: &Endpoint, steps: &[serde_json::Value]) -> Vec<serde_json::Value> {
    peers::prepare(endpoint, fake_s3::BUCKET, steps)
}

#[test]
fn boto3_lists_and_reads_what_the_fake_holds() {
    let s3 = FakeS3::start();
    s3.page_size(2);
    for key in ["a", "a/b", "a//b", "/a", "..", "x/../y", "a b+c%20", "nl\n\u{1}", "\u{1f600}?#&"] {
        s3.put(key, format!("content of {key:?}"));
    }

    let held = peers::contents(&s3.endpoint(), fake_s3::BUCKET);

    assert_eq!(held, s3.contents());
}

#[test]
fn boto3_reads_ranges_from_the_fake() {
    let s3 = FakeS3::start();
    let bytes = content::pattern(1, 10_000);
    s3.put("key", bytes.clone());

    for (range, part) in [
        ("bytes=0-9", &bytes[..10]),
        ("bytes=100-8999", &bytes[100..9000]),
        ("bytes=9990-", &bytes[9990..]),
        ("bytes=9990-20000", &bytes[9990..]),
        ("bytes=-5", &bytes[9995..]),
    ] {
        let step = json!({"do": "get", "key": "key", "range": range});
        let answer = &boto3(&s3.endpoint(), &[step])[0];
        assert_eq!(answer["content"], json!(BASE64_STANDARD.encode(part)), "{range}");
    }
}

#[test]
fn the_fake_refuses_a_wrong_secret() {
    let s3 = FakeS3::start();
    let endpoint = Endpoint { secret_key: "wrong".to_owned(), ..s3.endpoint() };

    let answer = &boto3(&endpoint, &[json!({"do": "get", "key": "key"})])[0];

    assert!(answer["error"].as_str().unwrap().contains("SignatureDoesNotMatch"), "{answer}");
}
