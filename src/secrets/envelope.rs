//! One sealed secret: `1`, a nonce of 24 bytes, and the ciphertext with its tag, by
//! XChaCha20-Poly1305 (<https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha>). Its nonces
//! are long enough to be picked at random. The id of its owner, a connection or a webhook, is
//! authenticated with it, so that an envelope moved to another owner does not open.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use zeroize::Zeroizing;

use super::{SecretsError, keys::Key};
use crate::{
    model::Credentials,
    store::secrets::{Sealed, StoredSecrets},
};

/// The only layout so far.
const VERSION: u8 = 1;

/// Bytes of a nonce.
const NONCE: usize = 24;

/// Seals with a fresh nonce.
pub(super) fn seal(
    key: &Key,
    owner_id: &str,
    credentials: &Credentials,
) -> Result<Sealed, SecretsError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(SecretsError::NoRandomness)?;
    let payload = Payload { msg: credentials.expose_json().as_bytes(), aad: owner_id.as_bytes() };
    let ciphertext = XChaCha20Poly1305::new(key.expose().into())
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SecretsError::Unopened {
            owner: owner_id.to_owned(),
            key_id: key.id().to_owned(),
        })?;
    let bytes = [&[VERSION][..], &nonce, &ciphertext].concat();
    Ok(Sealed { key_id: key.id().to_owned(), bytes })
}

/// Opens what was sealed for that connection with that key.
pub(super) fn open(key: &Key, kept: &StoredSecrets) -> Result<Credentials, SecretsError> {
    let unopened = || SecretsError::Unopened {
        owner: kept.owner_name.clone(),
        key_id: kept.sealed.key_id.clone(),
    };
    let (&version, rest) = kept.sealed.bytes.split_first().ok_or_else(unopened)?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or_else(unopened)?;
    if version != VERSION {
        return Err(unopened());
    }
    let payload = Payload { msg: ciphertext, aad: kept.owner_id.as_bytes() };
    let text = XChaCha20Poly1305::new(key.expose().into())
        .decrypt(&XNonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| unopened())?;
    let json = str::from_utf8(&text).map_err(|_| unopened())?;
    Ok(Credentials::from_json(json.to_owned()))
}
