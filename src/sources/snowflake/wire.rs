//! How requests reach an account: over the HTTP client that all providers share, at the account's
//! own host or the one that the installation names.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;

use super::session::{Response, Wire};
use crate::{
    clock::SharedClock,
    model::Credentials,
    sources::{
        SourceError,
        http::{Client, USER_AGENT, Usage, headers, stream},
        provider::Opening,
    },
};

/// What every request counts for in the budget of its connection.
const WEIGHT: u32 = 1;

/// How long a run waits for a connection that rests: longer than for any Retry-After.
const PATIENCE: Duration = Duration::from_secs(6 * 60);

/// Requests to one account.
pub(super) struct Account {
    client: Client<Full<Bytes>>,
    /// Scheme and host.
    base: String,
    clock: SharedClock,
}

impl Account {
    /// Requests go to `base`, a scheme and a host.
    ///
    /// # Errors
    /// When this machine has no root certificates to check it with.
    pub(super) fn new(base: String, opening: &Opening<'_>) -> Result<Arc<Self>, SourceError> {
        let keeper = opening.credentials.and_then(Credentials::keeper);
        let budget = opening.tuning.budgets.of(keeper.and_then(|keeper| keeper.id()), None);
        let is_plain = base.starts_with("http://");
        let client = Client::new(is_plain, USER_AGENT, budget)?;
        Ok(Arc::new(Self { client, base, clock: Arc::clone(&opening.tuning.clock) }))
    }

    /// What was asked of the account.
    pub(super) fn usage(&self) -> Usage {
        self.client.meter().usage()
    }
}

#[async_trait]
impl Wire for Account {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response, SourceError> {
        if let Some(left) = self.client.budget().held_beyond(PATIENCE).await {
            let message = "the quota of the warehouse is spent".to_owned();
            return Err(SourceError::Held { message, until: self.clock.now() + left });
        }
        let address: Uri = format!("{}{}", self.base, request.uri()).parse().map_err(|error| {
            SourceError::Permanent { message: format!("{} is no address: {error}", self.base) }
        })?;
        *request.uri_mut() = address;
        let response = self.client.send(request.map(Full::new), WEIGHT).await?;
        let (parts, body) = response.into_parts();
        if parts.status == http::StatusCode::TOO_MANY_REQUESTS {
            self.client.meter().was_limited();
            if let Some(wait) = headers::retry_after(&parts.headers, self.clock.now()) {
                self.client.budget().hold(wait);
            }
        }
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body: stream(body) })
    }

    fn rest(&self, wait: Duration) {
        self.client.budget().rest(wait);
    }
}
