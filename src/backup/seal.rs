//! Secrets under a passphrase: Argon2id (<https://www.rfc-editor.org/rfc/rfc9106>) derives a key
//! from it, and XChaCha20-Poly1305 encrypts with that. The id of the installation is authenticated
//! with them. Written as JSON, bytes as base64.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::BackupError;

/// Memory that one guess of the passphrase takes, in KiB: the second choice of RFC 9106.
const MEMORY_KIB: u32 = 64 * 1024;
/// How often that memory is gone through.
const PASSES: u32 = 3;
/// Lanes, of the same choice.
const LANES: u32 = 4;
/// The most that a manifest may ask of us.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 100;

const SALT: usize = 16;
const NONCE: usize = 24;

/// Sealed secrets, and all but the passphrase that it takes to open them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sealed {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    nonce: String,
    sealed: String,
}

/// The secrets of a data directory: names, and contents as text or base64.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Bundle {
    /// Keys to stored credentials, by their id.
    pub(super) keys: BTreeMap<String, Zeroizing<String>>,
    /// Files of the data directory that are secret, by name, as base64.
    pub(super) files: BTreeMap<String, Zeroizing<String>>,
    /// The owner's extractors, by the name of their file: what their `environment` and headers say
    /// may be secret.
    #[serde(default)]
    pub(super) extractors: BTreeMap<String, ExtractorFile>,
}

/// A file of the owner's.
#[derive(Serialize, Deserialize)]
pub(super) struct ExtractorFile {
    /// Its permissions.
    pub(super) mode: u32,
    /// Its bytes as base64.
    pub(super) bytes: Zeroizing<String>,
}

impl Bundle {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.files.is_empty() && self.extractors.is_empty()
    }

    pub(super) fn seal(
        &self,
        passphrase: &SecretString,
        installation: &str,
    ) -> Result<Sealed, BackupError> {
        let failed = |error: &dyn std::fmt::Display| BackupError::Seal(error.to_string());
        let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
        getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
        getrandom::fill(&mut nonce).map_err(|error| failed(&error))?;
        let key = key(passphrase, &salt, (MEMORY_KIB, PASSES, LANES))?;
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(|error| failed(&error))?);
        let payload = Payload { msg: &text, aad: installation.as_bytes() };
        let sealed = XChaCha20Poly1305::new((&*key).into())
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|error| failed(&error))?;
        Ok(Sealed {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: BASE64_STANDARD.encode(salt),
            nonce: BASE64_STANDARD.encode(nonce),
            sealed: BASE64_STANDARD.encode(sealed),
        })
    }
}

impl Sealed {
    pub(super) fn open(
        &self,
        passphrase: &SecretString,
        installation: &str,
    ) -> Result<Bundle, BackupError> {
        let damaged = || BackupError::Seal("what was sealed is damaged".to_owned());
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| damaged());
        if self.memory_kib > MOST_MEMORY_KIB || self.passes > MOST_PASSES {
            return Err(damaged());
        }
        let nonce: [u8; NONCE] = bytes(&self.nonce)?.try_into().map_err(|_| damaged())?;
        let cost = (self.memory_kib, self.passes, self.lanes);
        let key = key(passphrase, &bytes(&self.salt)?, cost)?;
        let sealed = bytes(&self.sealed)?;
        let payload = Payload { msg: &sealed, aad: installation.as_bytes() };
        let text = XChaCha20Poly1305::new((&*key).into())
            .decrypt(&XNonce::from(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| BackupError::WrongPassphrase)?;
        serde_json::from_slice(&text).map_err(|_| damaged())
    }
}

/// A key of a passphrase, at a cost of (memory in KiB, passes, lanes).
fn key(
    passphrase: &SecretString,
    salt: &[u8],
    (memory, passes, lanes): (u32, u32, u32),
) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    let failed = |error: argon2::Error| BackupError::Seal(error.to_string());
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose_secret().as_bytes(), salt, &mut *key)
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bundle() -> Bundle {
        let keys = BTreeMap::from([("key_1".to_owned(), Zeroizing::new("canary".to_owned()))]);
        Bundle { keys, ..Bundle::default() }
    }

    #[test]
    fn what_was_sealed_opens_with_its_passphrase_and_no_other() {
        let sealed = bundle().seal(&"right".into(), "org").unwrap();
        let opened = sealed.open(&"right".into(), "org").unwrap();
        assert_eq!(*opened.keys["key_1"], "canary");
        assert!(matches!(sealed.open(&"wrong".into(), "org"), Err(BackupError::WrongPassphrase)));
        assert!(matches!(sealed.open(&"right".into(), "gro"), Err(BackupError::WrongPassphrase)));
    }

    #[test]
    fn a_manifest_cannot_ask_for_all_of_the_memory() {
        let sealed = bundle().seal(&"right".into(), "org").unwrap();
        let greedy = Sealed { memory_kib: MOST_MEMORY_KIB + 1, ..sealed };
        assert!(matches!(greedy.open(&"right".into(), "org"), Err(BackupError::Seal(_))));
    }
}
