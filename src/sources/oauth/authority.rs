//! What a provider's authorization server is asked for an access token, and what its refusals mean.

use std::{fmt, time::Duration};

use jiff::Timestamp;

pub use super::endpoint::{Form, Refusal};
use crate::{model::Credentials, sources::SourceError};

/// The authorization server of a provider, for one connection's settings.
pub trait Authority: fmt::Debug + Send + Sync {
    /// What access tokens depend on besides the credentials: the server, the person acted for.
    fn scope_of_use(&self) -> String;

    /// The address and the fields of the request for an access token.
    ///
    /// # Errors
    /// When the credentials cannot be what the provider gave.
    fn request(
        &self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<(String, Form), SourceError>;

    /// What a refusal of that request means: [`SourceError::SignInAgain`] where somebody has to
    /// sign in again or bring a new secret.
    fn meaning(&self, refusal: &Refusal, credentials: &Credentials) -> SourceError;
}

/// What a refusal means at any server; `None` where it depends on the server.
pub(super) fn common_meaning(refusal: &Refusal) -> Option<SourceError> {
    let message = || format!("the sign-in server answered {}{}", refusal.status, reason(refusal));
    if refusal.status.as_u16() == 429 || refusal.retry_after.is_some() {
        return Some(SourceError::RateLimited {
            message: message(),
            retry_after: refusal.retry_after.map(Duration::from_secs),
        });
    }
    let stumbled = matches!(refusal.error.as_str(), "temporarily_unavailable" | "server_error");
    if refusal.status.is_server_error() || stumbled {
        return Some(SourceError::Transient { message: message() });
    }
    // A proxy on the way responded, not the authorization server.
    (refusal.error.is_empty()).then(|| SourceError::Transient { message: message() })
}

/// The server's own words, in brackets.
pub(super) fn reason(refusal: &Refusal) -> String {
    match (refusal.error.as_str(), refusal.description.as_str()) {
        ("", "") => String::new(),
        (error, "") => format!(" ({error})"),
        ("", description) => format!(" ({description})"),
        (error, description) => format!(" ({error}: {description})"),
    }
}
