//! Secrets in memory: shown to nobody, wiped when dropped.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// The credentials of a connection as a JSON object, in the shape of its provider's credentials
/// model (`{"type": "access_key", …}`). Printed redacted; wiped from memory when dropped.
#[derive(Clone)]
pub struct Credentials(SecretString);

impl Credentials {
    /// Takes the JSON text of the object.
    #[must_use]
    pub fn from_json(json: String) -> Self {
        Self(SecretString::from(json))
    }

    /// The JSON text, for the one who signs with it or seals it.
    #[must_use]
    pub fn expose_json(&self) -> &str {
        self.0.expose_secret()
    }

    /// The credentials as their provider's own type.
    ///
    /// # Errors
    /// When they have another shape; the error names no value.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, UnreadableCredentials> {
        serde_json::from_str(self.expose_json()).map_err(|_| UnreadableCredentials)
    }
}

/// Says that there is something, not what.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([redacted])")
    }
}

/// Stored credentials that do not fit their provider.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the stored credentials do not fit this provider: enter them again")]
pub struct UnreadableCredentials;
