//! Where a bucket lives: endpoint, region, and the URLs of its keys. No requests are made here.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::provider::{Addressing, Service};
use crate::sources::SourceError;

/// RFC 3986's unreserved characters stay; everything else is percent-encoded, as Signature
/// Version 4 demands
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// As [`QUERY`], with the slashes of a key left alone.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Tigris's endpoint (<https://www.tigrisdata.com/docs/sdks/s3/>).
pub(super) const TIGRIS: &str = "https://t3.storage.dev";

/// The hosts under which Tigris answers: today's, and the one that Fly machines are set up with
/// (<https://fly.io/docs/tigris/>).
const TIGRIS_HOSTS: [&str; 2] = ["t3.storage.dev", "fly.storage.tigris.dev"];

/// A server that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// AWS itself, whose host depends on the region.
    Aws,
    /// A host that stays the same: scheme, authority and path, without a slash at its end.
    Fixed(Fixed),
}

/// See [`Endpoint::Fixed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    scheme: &'static str,
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads an endpoint URL.
    pub(super) fn parse(url: &str) -> Result<Self, SourceError> {
        let wrong = |problem: &str| SourceError::Misconfigured {
            message: format!(
                "the endpoint {url:?} {problem}: give scheme and host, as in http://127.0.0.1:9000"
            ),
        };
        let uri: Uri = url.trim().parse().map_err(|_| wrong("is not a URL"))?;
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => ("http", 80),
            Some("https") => ("https", 443),
            _ => return Err(wrong("does not start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty()
        {
            return Err(wrong("has more than a host and a path"));
        }
        // What is signed must be what is sent: lower case, and no port that goes without saying.
        let host = authority.host().to_ascii_lowercase();
        let authority = match authority.port_u16() {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host,
        };
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self::Fixed(Fixed { scheme, authority, path }))
    }

    /// Whether requests go out without TLS.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Fixed(fixed) if fixed.scheme == "http")
    }

    /// Whether this is Tigris.
    pub(super) fn is_tigris(&self) -> bool {
        matches!(self, Self::Fixed(fixed) if TIGRIS_HOSTS.contains(&fixed.authority.as_str()))
    }

    /// Whether this is a provider's own endpoint, where virtual hosts work.
    fn has_virtual_hosts(&self) -> bool {
        match self {
            Self::Aws => true,
            Self::Fixed(fixed) => {
                fixed.path.is_empty()
                    && (self.is_tigris()
                        || fixed.authority.ends_with(".amazonaws.com")
                        || fixed.authority.ends_with(".amazonaws.com.cn"))
            }
        }
    }

    /// What stands before the bucket's name: scheme, authority and path, for requests to `region`.
    fn parts(&self, region: &str) -> (&'static str, String, &str) {
        match self {
            Self::Aws => ("https", format!("s3.{region}.{}", partition(region)), ""),
            Self::Fixed(fixed) => (fixed.scheme, fixed.authority.clone(), &fixed.path),
        }
    }

    /// The URL of a bucket, without a slash at its end; without a bucket that of the whole service.
    pub(super) fn bucket_url(&self, bucket: &str, addressing: Addressing, region: &str) -> String {
        let (scheme, authority, path) = self.parts(region);
        let virtual_host = match addressing {
            Addressing::Auto => self.has_virtual_hosts() && fits_host_name(bucket),
            Addressing::Path => false,
            Addressing::VirtualHost => !bucket.is_empty(),
        };
        if virtual_host {
            format!("{scheme}://{bucket}.{authority}{path}")
        } else {
            format!("{scheme}://{authority}{path}/{}", percent_encode(bucket.as_bytes(), QUERY))
        }
    }
}

/// A service's own endpoint.
pub(super) fn default_endpoint(service: Service) -> Result<Endpoint, SourceError> {
    match service {
        Service::Tigris => Endpoint::parse(TIGRIS),
        Service::Amazon => Ok(Endpoint::Aws),
    }
}

/// The domain of a region's partition
/// (<https://docs.aws.amazon.com/general/latest/gr/s3.html>).
fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else if region.starts_with("eusc-") {
        "amazonaws.eu"
    } else {
        "amazonaws.com"
    }
}

/// Whether text looks like a region: it becomes part of a host name, and servers name regions too.
pub(super) fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a bucket's name can be a label of a host name under one wildcard certificate.
fn fits_host_name(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

/// The URL of a key, its exact bytes encoded once and no segment touched.
pub(super) fn key_url(bucket_url: &str, key: &[u8]) -> String {
    format!("{bucket_url}/{}", percent_encode(key, PATH))
}

/// A query string of `pairs`, which must come sorted by name.
pub(super) fn query(pairs: &[(&str, &[u8])]) -> String {
    debug_assert!(pairs.is_sorted_by_key(|(name, _)| name));
    let mut text = String::new();
    for (name, value) in pairs {
        let joint = if text.is_empty() { "" } else { "&" };
        text.extend([joint, name, "="]);
        text.extend(percent_encode(value, QUERY));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(endpoint: &str, bucket: &str, addressing: Addressing) -> String {
        Endpoint::parse(endpoint).unwrap().bucket_url(bucket, addressing, "us-east-1")
    }

    #[test]
    fn aws_and_tigris_get_virtual_hosts_and_other_endpoints_paths() {
        let aws = Endpoint::Aws;
        assert_eq!(
            aws.bucket_url("my-bucket", Addressing::Auto, "eu-west-3"),
            "https://my-bucket.s3.eu-west-3.amazonaws.com"
        );
        assert_eq!(
            aws.bucket_url("my.bucket", Addressing::Auto, "cn-north-1"),
            "https://s3.cn-north-1.amazonaws.com.cn/my.bucket"
        );
        assert_eq!(url(TIGRIS, "abc", Addressing::Auto), "https://abc.t3.storage.dev");
        assert_eq!(
            url("http://127.0.0.1:9000/", "abc", Addressing::Auto),
            "http://127.0.0.1:9000/abc"
        );
    }

    #[test]
    fn the_addressing_that_is_asked_for_wins() {
        assert_eq!(url("http://h:9000", "abc", Addressing::VirtualHost), "http://abc.h:9000");
        assert_eq!(url(TIGRIS, "abc", Addressing::Path), "https://t3.storage.dev/abc");
    }

    #[test]
    fn an_endpoint_is_normalised_to_what_a_host_header_says() {
        assert_eq!(
            url("https://S3.Example.com:443", "b", Addressing::Auto),
            "https://s3.example.com/b"
        );
        assert_eq!(url("http://h/base//", "b", Addressing::Auto), "http://h/base/b");
    }

    #[test]
    fn an_endpoint_that_cannot_work_is_refused() {
        for wrong in
            ["", "localhost:9000", "ftp://h", "https://user:secret@h", "https://h?x=1", "http://"]
        {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_keeps_its_dots_slashes_and_bytes_in_its_url() {
        assert_eq!(key_url("http://h/b", b"a/../b//c/."), "http://h/b/a/../b//c/.");
        assert_eq!(key_url("http://h/b", b"/+ %#?\x01\xff~"), "http://h/b//%2B%20%25%23%3F%01%FF~");
    }

    #[test]
    fn a_region_that_could_redirect_to_another_host_is_none() {
        assert!(is_region("us-gov-west-1"));
        for wrong in ["", "evil.com/", "a@b", "US-EAST-1", "x.y"] {
            assert!(!is_region(wrong), "{wrong}");
        }
    }
}
