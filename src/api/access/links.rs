//! Signed links: good for reading one path until a time, by whoever has the link, without the token.
//!
//! The signature covers the path and the expiry; its key is a file of its own in the data directory.

use std::{fs, io, path::Path, time::Duration};

use axum::http::{Method, request::Parts};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::token::{random_secret, replace};
use crate::api::json::query_value;

const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";

/// Signs and checks links.
#[derive(Clone)]
pub struct Links {
    key: Vec<u8>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl Links {
    /// With the key of that data directory, made if there is none yet.
    ///
    /// # Errors
    /// When its file cannot be read or made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let file = data_dir.join("links.key");
        let key = match fs::read_to_string(&file) {
            Ok(key) if !key.trim().is_empty() => key,
            Ok(_) => made(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => made(&file)?,
            Err(error) => return Err(error),
        };
        Ok(Self { key: key.trim().as_bytes().to_vec() })
    }

    /// `path` (percent-encoded, without a query) with what lets its bearer read it for `life`.
    #[must_use]
    pub fn sign(&self, path: &str, now: Timestamp, life: Duration) -> String {
        let expires = (now + life).as_second();
        let signature =
            BASE64_URL_SAFE_NO_PAD.encode(self.mac(path, expires).finalize().as_bytes());
        format!("{path}?{EXPIRES}={expires}&{SIGNATURE}={signature}")
    }

    /// Whether the request reads what a link of ours leads to.
    pub(super) fn admit(&self, parts: &Parts, now: Timestamp) -> bool {
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let query = parts.uri.query().unwrap_or_default();
        let (Some(expires), Some(signature)) =
            (query_value(query, EXPIRES), query_value(query, SIGNATURE))
        else {
            return false;
        };
        let (Ok(expires), Ok(signature)) =
            (expires.parse::<i64>(), BASE64_URL_SAFE_NO_PAD.decode(signature))
        else {
            return false;
        };
        // `verify_slice` compares in constant time.
        reads
            && now.as_second() < expires
            && self.mac(parts.uri.path(), expires).verify_slice(&signature).is_ok()
    }

    fn mac(&self, path: &str, expires: i64) -> Hmac<Sha256> {
        // An HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap_or_else(|_| unreachable!());
        mac.update(path.as_bytes());
        mac.update(&[0]);
        mac.update(&expires.to_be_bytes());
        mac
    }
}

fn made(file: &Path) -> io::Result<String> {
    let key = random_secret()?;
    replace(file, &key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(target: &str) -> Parts {
        axum::http::Request::get(target).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_link_is_good_for_its_own_path_until_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let links = Links::open(dir.path()).unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let link = links.sign("/v1/a/content", now, Duration::from_secs(60));
        assert!(links.admit(&get(&link), now));
        assert!(Links::open(dir.path()).unwrap().admit(&get(&link), now), "after a restart too");
        assert!(!links.admit(&get(&link), now + Duration::from_secs(60)));
        assert!(!links.admit(&get(&link.replace("/a/", "/b/")), now));
        assert!(!links.admit(&get(&link.replace("expires=1", "expires=2")), now));
    }
}
