//! Signature Version 4 for requests that `object_store` cannot make: listings, and keys whose URL
//! it would normalise before signing.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign as sigv4,
    },
    sign::v4,
};
use http::{HeaderValue, Request};

use crate::sources::SourceError;

/// Signs a request without a body as S3 wants it: the path as it is, encoded once
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>). Every header
/// that is set by now is covered.
pub(super) fn sign<B>(
    request: &mut Request<B>,
    credentials: &Credentials,
    region: &str,
    time: SystemTime,
) -> Result<(), SourceError> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("s3")
        .time(time)
        .settings(settings())
        .build()
        .map_err(unsignable)?
        .into();
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let uri = request.uri().to_string();
    let signable =
        SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(&[]))
            .map_err(unsignable)?;
    let (instructions, _) = sigv4(signable, &params).map_err(unsignable)?.into_parts();
    for (name, value) in instructions.headers() {
        let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(unsignable)?;
        let mut value = HeaderValue::from_str(value).map_err(unsignable)?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

fn unsignable(error: impl std::fmt::Display) -> SourceError {
    SourceError::Permanent { message: format!("the request cannot be signed: {error}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    /// The key pair of AWS's published examples.
    fn example() -> Credentials {
        let (id, secret) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        Credentials::new(id, secret, None, None, "example")
    }

    fn authorization(uri: &str, headers: &[(&'static str, &str)]) -> String {
        let mut request = Request::get(uri).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        // 2013-05-24T00:00:00Z
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        sign(&mut request, &example(), "us-east-1", time).unwrap();
        request.headers()["authorization"].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_published_example_of_a_get_gets_its_published_signature() {
        // https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
        let signed = authorization(
            "https://examplebucket.s3.amazonaws.com/test.txt",
            &[("range", "bytes=0-9")],
        );
        assert!(
            signed.ends_with("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
            "{signed}"
        );
    }

    #[test]
    fn the_published_example_of_a_listing_gets_its_published_signature() {
        let signed =
            authorization("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", &[]);
        assert!(
            signed.ends_with("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            "{signed}"
        );
    }

    #[test]
    fn a_key_with_dot_segments_is_signed_as_it_is() {
        // The signature that botocore's S3SigV4Auth makes, which leaves paths alone too.
        let signed =
            authorization("https://examplebucket.s3.amazonaws.com/a/../b//./%2B%20c/", &[]);
        assert!(
            signed.ends_with("7e6f4bb0d14389fd0365f560aaefa7748d33a5536de7e64f46b2c648ed0f99bc"),
            "{signed}"
        );
    }
}
