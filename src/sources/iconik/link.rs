//! Addresses that files are downloaded from. How they are obtained and used is in `downloads`.

use http::StatusCode;
use secrecy::SecretString;
use tokio::time::Instant;

/// An address that a file can be downloaded from.
pub(super) struct Link {
    pub(super) url: SecretString,
    pub(super) since: Instant,
    /// The entity tag of what was read from it first.
    pub(super) etag: Option<String>,
}

/// A pre-signed address that is good no more: storages say so with 403 or 400, gateways with 401.
pub(super) const fn is_expired(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403)
}
