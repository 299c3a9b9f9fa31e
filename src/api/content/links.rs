//! Signed links: an address that by itself admits to one thing, in one way, for a while.
//!
//! The signature is an HMAC-SHA256 over method, path, namespace, expiry and the hash of the bearer
//! token, with a key of this installation that is in a file of its own (0600) and never leaves it.
//! Whoever has the link has what it shows; the token is not in it, and with another token it ends.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use axum::http::{Method, Uri};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::api::{
    access::token::{Fingerprint, Token},
    error::ApiError,
    query::query_value,
};

/// The file of the key, in the data directory.
const KEY_FILE: &str = "links.key";
const KEY_BYTES: usize = 32;

/// How long a link is valid by default, in seconds.
pub(in crate::api) const DEFAULT_SECS: u64 = 3600;

/// What the address of a request, as a link, admits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Admission {
    /// What is asked for.
    Admitted,
    /// Nothing any more: it was a link of ours until then.
    Ended(Timestamp),
    /// Nothing: it is no link of ours.
    None,
}

impl Admission {
    /// Whether it does.
    pub(in crate::api) fn is_admitted(self) -> bool {
        self == Self::Admitted
    }

    /// The refusal of a link that has ended.
    pub(in crate::api) fn ended(self) -> Option<ApiError> {
        let Self::Ended(at) = self else { return None };
        let message = format!("this link ended at {at}: ask for a new one");
        Some(ApiError::unauthorized(message).code("link_expired"))
    }
}

/// Makes and checks signed links.
pub struct Links {
    key: [u8; KEY_BYTES],
    token: Token,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links(…)")
    }
}

impl Links {
    /// The links of a data directory, which last as long as this token; their key is made at the
    /// first time.
    ///
    /// # Errors
    /// When the key's file cannot be read or written, or is not ours.
    pub fn open(data_dir: &Path, token: Token) -> io::Result<Self> {
        let path = data_dir.join(KEY_FILE);
        if !path.exists() {
            make_key(data_dir, &path)?;
        }
        let key = fs::read(&path)?.try_into().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} is not a key: delete it"))
        })?;
        Ok(Self { key, token })
    }

    /// The path with what admits to it, which is nothing while the token cannot be read. `path` is
    /// percent-encoded and has no query.
    pub(in crate::api) fn sign(
        &self,
        method: &Method,
        path: &str,
        namespace: &str,
        until: Timestamp,
    ) -> String {
        let expires = until.as_second();
        let signature = self
            .mac(method, path, namespace, expires)
            .map(|mac| hex(&mac.finalize().into_bytes()))
            .unwrap_or_default();
        format!("{path}?namespace={namespace}&expires={expires}&signature={signature}")
    }

    /// Whether the request is one that a link of ours admits to.
    pub(in crate::api) fn admission(
        &self,
        method: &Method,
        uri: &Uri,
        now: Timestamp,
    ) -> Admission {
        let method = match *method {
            Method::HEAD => &Method::GET,
            ref other => other,
        };
        match self.end_of(method, uri) {
            None => Admission::None,
            Some(end) if now < end => Admission::Admitted,
            Some(end) => Admission::Ended(end),
        }
    }

    /// Until when a link of ours admits to the request; `None` where none does.
    fn end_of(&self, method: &Method, uri: &Uri) -> Option<Timestamp> {
        let query = uri.query().unwrap_or_default();
        let value = |name| query_value(query, name);
        let expires = value("expires")?.parse::<i64>().ok()?;
        let signature = unhex(&value("signature")?)?;
        let mac = self.mac(method, uri.path(), &value("namespace")?, expires)?;
        // The comparison takes as long for every wrong signature.
        mac.verify_slice(&signature).ok()?;
        Timestamp::from_second(expires).ok()
    }

    /// `None` while there is no token to bind it to.
    fn mac(
        &self,
        method: &Method,
        path: &str,
        namespace: &str,
        expires: i64,
    ) -> Option<Hmac<Sha256>> {
        let token = match self.token.fingerprint() {
            Ok(token) => token?,
            Err(error) => {
                tracing::error!(%error, "the token cannot be read: no signed link is valid");
                return None;
            }
        };
        // A key shorter than a block of the hash is filled up with zeros (RFC 2104).
        let mut block = [0; 64];
        block[..KEY_BYTES].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        // No part can hold a line feed, so that none can pass for another.
        for part in [method.as_str(), path, namespace, &expires.to_string()] {
            mac.update(part.as_bytes());
            mac.update(b"\n");
        }
        mac.update(Fingerprint::as_bytes(&token));
        Some(mac)
    }
}

/// Writes a fresh key, unless another process has done so meanwhile.
fn make_key(data_dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let fresh = data_dir.join(format!("{KEY_FILE}.new-{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    // A link, not a rename: it never replaces what is there.
    let outcome = match fs::hard_link(&fresh, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    fs::remove_file(&fresh)?;
    outcome
}

pub(in crate::api) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::api::access::token::TokenFile;

    fn links() -> Links {
        let file = TokenFile::of(Path::new("unused"));
        Links { key: [7; KEY_BYTES], token: Token::new(file, Some("token")) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn admits(link: &str, method: &Method, now: i64) -> Admission {
        links().admission(method, &link.parse().unwrap(), at(now))
    }

    #[test]
    fn a_link_admits_to_its_path_by_its_method_until_it_ends() {
        let link = links().sign(&Method::GET, "/v1/a/content", "ns_1", at(100));
        assert_eq!(admits(&link, &Method::GET, 99), Admission::Admitted);
        assert_eq!(admits(&link, &Method::HEAD, 99), Admission::Admitted);
        assert_eq!(admits(&link, &Method::GET, 100), Admission::Ended(at(100)));
        assert_eq!(admits(&link, &Method::PUT, 99), Admission::None);
        for (is, other) in
            [("/a/", "/b/"), ("ns_1", "ns_2"), ("=100", "=999"), ("signature=", "signature=00")]
        {
            let forged = link.replace(is, other);
            assert_eq!(admits(&forged, &Method::GET, 99), Admission::None, "{other}");
        }
    }
}
