//! The checksums that S3 keeps of whole objects, checked against the bytes as they pass.
//!
//! S3 answers with them where `x-amz-checksum-mode: ENABLED` asks it to, and only to a read of a
//! whole object
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>). The
//! ETag is none of them: only some objects of some servers have their MD5 there.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::sources::SourceError;
use crate::sources::http::headers::text_of;

/// The header that asks for checksums.
pub(super) const MODE: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-amz-checksum-mode"), HeaderValue::from_static("ENABLED"));

/// A checksum in the making, and what it has to come to.
pub(super) struct Checksum {
    name: &'static str,
    wanted: Vec<u8>,
    digest: Digest,
}

enum Digest {
    /// With the length of the value in bytes.
    Crc(Box<Crc>, usize),
    Sha256(Sha256),
}

impl Checksum {
    /// What the answer to a read of a whole object announces, if it announces one that is known and
    /// is certain to be of the whole: that of an object made of parts may be of their checksums.
    pub(super) fn announced(headers: &HeaderMap, etag: Option<&str>) -> Option<Self> {
        let is_whole = match text_of(headers, "x-amz-checksum-type") {
            Some(kind) => kind.eq_ignore_ascii_case("FULL_OBJECT"),
            None => !etag.is_some_and(|tag| tag.contains('-')),
        };
        if !is_whole {
            return None;
        }
        ["crc64nvme", "crc32c", "crc32", "sha256"].into_iter().find_map(|name| {
            let text = text_of(headers, &format!("x-amz-checksum-{name}"))?;
            let wanted = BASE64_STANDARD.decode(text.trim()).ok()?;
            let digest = Digest::new(name)?;
            (wanted.len() == digest.len()).then_some(Self { name, wanted, digest })
        })
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match &mut self.digest {
            Digest::Crc(crc, _) => crc.update(bytes),
            Digest::Sha256(hash) => hash.update(bytes),
        }
    }

    /// Whether all bytes together are what was announced.
    ///
    /// # Errors
    /// [`SourceError::Corrupt`] when they are not.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let got = match &self.digest {
            Digest::Crc(crc, len) => {
                let value = crc.finalize().to_be_bytes();
                value[value.len() - len..].to_vec()
            }
            Digest::Sha256(hash) => hash.clone().finalize().to_vec(),
        };
        if got == self.wanted {
            return Ok(());
        }
        Err(SourceError::Corrupt {
            message: format!(
                "{} {} instead of {}",
                self.name.to_ascii_uppercase(),
                BASE64_STANDARD.encode(got),
                BASE64_STANDARD.encode(&self.wanted)
            ),
        })
    }
}

impl Digest {
    fn new(name: &str) -> Option<Self> {
        let crc = |algorithm, len| Some(Self::Crc(Box::new(Crc::new(algorithm)), len));
        match name {
            "crc64nvme" => crc(CrcAlgorithm::Crc64Nvme, 8),
            "crc32c" => crc(CrcAlgorithm::Crc32Iscsi, 4),
            "crc32" => crc(CrcAlgorithm::Crc32IsoHdlc, 4),
            "sha256" => Some(Self::Sha256(Sha256::new())),
            _ => None,
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Crc(_, len) => *len,
            Self::Sha256(_) => 32,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of the bytes `123456789`: the check values of the catalogue of parametrised CRC algorithms
    /// (<https://reveng.sourceforge.io/crc-catalogue/all.htm>), and their SHA-256.
    const OF_DIGITS: [(&str, &str); 4] = [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ];

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn each_kind_knows_the_right_bytes_from_wrong_ones() {
        for told in OF_DIGITS {
            let mut checksum = Checksum::announced(&headers(&[told]), Some("tag")).unwrap();
            checksum.update(b"1234");
            checksum.update(b"56789");
            assert!(checksum.check().is_ok(), "{}", told.0);
            checksum.update(b"0");
            assert!(matches!(checksum.check(), Err(SourceError::Corrupt { .. })), "{}", told.0);
        }
    }

    #[test]
    fn what_may_be_a_checksum_of_parts_is_none_of_the_whole() {
        let crc = OF_DIGITS[0];
        let kind = |kind| headers(&[crc, ("x-amz-checksum-type", kind)]);
        assert!(Checksum::announced(&kind("COMPOSITE"), Some("tag-2")).is_none());
        assert!(Checksum::announced(&kind("FULL_OBJECT"), Some("tag-2")).is_some());
        assert!(Checksum::announced(&headers(&[crc]), Some("tag-2")).is_none());
        for odd in ["y/Q5Jg==-2", "y/Q5", "not base64"] {
            let told = headers(&[(crc.0, odd)]);
            assert!(Checksum::announced(&told, None).is_none(), "{odd}");
        }
    }
}
