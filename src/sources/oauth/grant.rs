//! One grant per connection and process: it holds the access token of a connection, and renews it.
//!
//! A renewal is under way at most once, in this process and in all others that share the data
//! directory: a refresh token that the provider rotates is good for one use, and using it twice may
//! end the sign-in. The new refresh token is kept, durably, before the new access token is used.
//! Wherever this is cut short, what is kept is the newest that the provider gave, but for the
//! moment between its answer and our commit.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::{sync::OwnedMutexGuard, time::Instant};
use zeroize::Zeroizing;

use super::{
    Authority,
    endpoint::{Endpoint, Failure, Tokens},
};
use crate::{
    clock::SharedClock,
    model::{Credentials, Draft, Envelope, Keeper, KeeperError, RENEWAL_LEASE_SECS},
    sources::SourceError,
};

/// A token is renewed so long before it expires: requests that are on their way still need it.
const MARGIN: Duration = Duration::from_secs(60);
/// For so long a refusal is repeated without asking: nothing has changed, and others asked with it.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How often another process's renewal is polled.
const LEASE_POLL: Duration = Duration::from_millis(100);
/// How long another process's renewal is waited for.
const LEASE_PATIENCE: Duration = Duration::from_secs(2 * RENEWAL_LEASE_SECS);
/// How often a renewal starts over because other credentials are kept by now.
const MOST_ROUNDS: usize = 4;

/// What a request is sent with: `Authorization: Bearer` this. Printed redacted.
#[derive(Clone)]
pub struct AccessToken(Arc<SecretString>);

impl AccessToken {
    /// The token, for the request's header.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// The grants of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    endpoint: Endpoint,
    /// By keeper: as many as there are connections that were used.
    known: Arc<Mutex<HashMap<String, Arc<Grant>>>>,
    /// What sources of other kinds of sign-in share, see [`Grants::shared`].
    shared: Arc<Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>>,
}

impl Grants {
    /// What asks authorization servers.
    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What open sources that sign in with the same credentials share, for as long as any of them
    /// is open. `id` distinguishes credentials and must not reveal them.
    pub(in crate::sources) fn shared<T: Any + Send + Sync>(
        &self,
        id: &str,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shared.get(id).and_then(Weak::upgrade);
        if let Some(Ok(known)) = known.map(Arc::downcast) {
            return known;
        }
        let made: Arc<T> = Arc::new(make());
        shared.retain(|_, known| known.strong_count() > 0);
        let weak: Weak<T> = Arc::downgrade(&made);
        shared.insert(id.to_owned(), weak);
        made
    }

    /// The grant of these credentials: the one that is known already, unless the credentials or
    /// what they are used for have changed since.
    #[must_use]
    pub fn of(
        &self,
        credentials: &Credentials,
        authority: Arc<dyn Authority>,
        clock: SharedClock,
    ) -> Arc<Grant> {
        let keeper = match credentials.keeper() {
            Some(keeper) => Arc::clone(keeper),
            None => Draft::new(credentials.clone()),
        };
        let id = keeper.id().map(str::to_owned);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = id.as_ref().and_then(|id| known.get(id)).filter(|known| {
            known.credentials().expose_json() == credentials.expose_json()
                && known.authority.scope_of_use() == authority.scope_of_use()
        });
        if let Some(grant) = same {
            return Arc::clone(grant);
        }
        let grant = Arc::new(Grant {
            authority,
            keeper,
            endpoint: self.endpoint.clone(),
            clock,
            credentials: Mutex::new(credentials.clone()),
            held: Arc::default(),
        });
        if let Some(id) = id {
            known.insert(id, Arc::clone(&grant));
        }
        grant
    }
}

/// See the module.
#[derive(Debug)]
pub struct Grant {
    authority: Arc<dyn Authority>,
    keeper: Arc<dyn Keeper>,
    endpoint: Endpoint,
    clock: SharedClock,
    /// As they were kept when this grant last looked.
    credentials: Mutex<Credentials>,
    /// Locked for as long as a renewal takes.
    held: Arc<tokio::sync::Mutex<GrantState>>,
}

#[derive(Debug, Default)]
enum GrantState {
    #[default]
    Nothing,
    Token {
        token: AccessToken,
        /// When it is to be renewed.
        until: Timestamp,
    },
    /// The server said no, and would again.
    Refused { error: SourceError, at: Instant },
}

impl Grant {
    /// The access token to send a request with.
    ///
    /// # Errors
    /// [`SourceError::SignInAgain`] where somebody has to sign in again or bring a new secret; else
    /// what another try may help against.
    pub async fn token(self: &Arc<Self>) -> Result<AccessToken, SourceError> {
        let held = Arc::clone(&self.held).lock_owned().await;
        match &*held {
            GrantState::Token { token, until } if self.clock.now() < *until => Ok(token.clone()),
            GrantState::Refused { error, at } if at.elapsed() < REFUSED_FOR => Err(error.clone()),
            _ => self.see_renewal_through(held).await,
        }
    }

    /// The access token in the place of one that was refused (401). Many requests are refused
    /// together: the first of them renews the token, the others get what it got.
    ///
    /// # Errors
    /// As for [`Grant::token`].
    pub async fn token_after(
        self: &Arc<Self>,
        refused: &AccessToken,
    ) -> Result<AccessToken, SourceError> {
        let held = Arc::clone(&self.held).lock_owned().await;
        match &*held {
            GrantState::Token { token, .. } if !token.is(refused) => Ok(token.clone()),
            GrantState::Refused { error, at } if at.elapsed() < REFUSED_FOR => Err(error.clone()),
            _ => self.see_renewal_through(held).await,
        }
    }

    /// Renews the token, even if whoever asked for it leaves meanwhile: what the server gives must
    /// be kept.
    async fn see_renewal_through(
        self: &Arc<Self>,
        mut held: OwnedMutexGuard<GrantState>,
    ) -> Result<AccessToken, SourceError> {
        let grant = Arc::clone(self);
        let renewal = tokio::spawn(async move {
            let renewed = grant.renew().await;
            *held = match &renewed {
                Ok((token, until)) => GrantState::Token { token: token.clone(), until: *until },
                Err(error @ SourceError::SignInAgain { .. }) => {
                    GrantState::Refused { error: error.clone(), at: Instant::now() }
                }
                Err(_) => GrantState::Nothing,
            };
            renewed.map(|(token, _)| token)
        });
        renewal.await.unwrap_or_else(|error| {
            Err(SourceError::Transient { message: format!("the sign-in was cut short: {error}") })
        })
    }

    async fn renew(&self) -> Result<(AccessToken, Timestamp), SourceError> {
        let credentials = self.credentials();
        if refresh_token(&credentials).is_none() {
            // A secret that stays as it is: others may use it at the same time.
            let (credentials, _) = self.keeper.read().await?;
            self.remember(&credentials);
            return Ok(self.accepted(&self.request_tokens(&credentials).await?));
        }
        self.claim().await?;
        let renewed = self.renew_claimed().await;
        // Where credentials were exchanged, the lease went back with them.
        if let Err(error) = self.keeper.release().await {
            tracing::warn!(%error, "the lease on renewing credentials was not given back");
        }
        renewed
    }

    /// Waits until no other process renews these credentials.
    async fn claim(&self) -> Result<(), SourceError> {
        let began = Instant::now();
        while !self.keeper.claim().await? {
            if began.elapsed() > LEASE_PATIENCE {
                let message = "another process renews this sign-in and does not finish".to_owned();
                return Err(SourceError::Timeout { message });
            }
            tokio::time::sleep(LEASE_POLL).await;
        }
        Ok(())
    }

    async fn renew_claimed(&self) -> Result<(AccessToken, Timestamp), SourceError> {
        let (mut used, mut envelope) = self.keeper.read().await?;
        for _ in 0..MOST_ROUNDS {
            self.remember(&used);
            let refused = match self.request_tokens(&used).await {
                Ok(tokens) => match self.keep(&used, &mut envelope, tokens).await? {
                    Some(accepted) => return Ok(accepted),
                    None => None,
                },
                Err(error @ SourceError::SignInAgain { .. }) => Some(error),
                Err(error) => return Err(error),
            };
            // Others may be kept by now: a person's, or those of a process whose lease had ended.
            let (now, newest) = self.keeper.read().await?;
            match refused {
                Some(error) if refresh_token(&now) == refresh_token(&used) => return Err(error),
                _ => (used, envelope) = (now, newest),
            }
        }
        let message = "the stored sign-in changes faster than it can be used".to_owned();
        Err(SourceError::Transient { message })
    }

    /// Keeps the refresh token that the server gave in the place of the one that was used; then the
    /// access token may be used. `None` where other credentials are kept by now: those count.
    async fn keep(
        &self,
        used: &Credentials,
        envelope: &mut Envelope,
        tokens: Tokens,
    ) -> Result<Option<(AccessToken, Timestamp)>, SourceError> {
        let accepted = self.accepted(&tokens);
        let Some(rotated) = tokens.refresh_token.as_ref().and_then(|new| rotated(used, new)) else {
            return Ok(Some(accepted));
        };
        for _ in 0..MOST_ROUNDS {
            if self.keeper.exchange(envelope, &rotated).await? {
                self.remember(&rotated);
                return Ok(Some(accepted));
            }
            let (now, newest) = self.keeper.read().await?;
            if refresh_token(&now) != refresh_token(used) {
                return Ok(None);
            }
            // The same credentials, sealed with a new key.
            *envelope = newest;
        }
        Ok(None)
    }

    async fn request_tokens(&self, credentials: &Credentials) -> Result<Tokens, SourceError> {
        let (url, form) = self.authority.request(credentials, self.clock.now())?;
        self.endpoint.post(&url, &form).await.map_err(|failure| match failure {
            Failure::Refused(refusal) => self.authority.meaning(&refusal, credentials),
            Failure::Failed(error) => error,
        })
    }

    fn accepted(&self, tokens: &Tokens) -> (AccessToken, Timestamp) {
        let life = Duration::from_secs(tokens.expires_in.min(24 * 60 * 60));
        let life = life.saturating_sub(MARGIN.min(life / 2));
        let token = AccessToken(Arc::new(tokens.access_token.clone()));
        (token, self.clock.now() + life)
    }

    fn credentials(&self) -> Credentials {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, credentials: &Credentials) {
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials.clone();
    }
}

/// The credentials' refresh token, if they have one.
fn refresh_token(credentials: &Credentials) -> Option<Zeroizing<String>> {
    let fields: Map<String, Value> = credentials.read().ok()?;
    fields.get("refresh_token").and_then(Value::as_str).map(|token| token.to_owned().into())
}

/// The credentials with another refresh token; `None` where it is the same.
fn rotated(credentials: &Credentials, token: &SecretString) -> Option<Credentials> {
    let mut fields: Map<String, Value> = credentials.read().ok()?;
    let token = Value::from(token.expose_secret());
    if fields.get("refresh_token") == Some(&token) {
        return None;
    }
    fields.insert("refresh_token".to_owned(), token);
    let rotated = Credentials::from_json(Value::Object(fields).to_string());
    Some(match credentials.keeper() {
        Some(keeper) => rotated.kept_by(Arc::clone(keeper)),
        None => rotated,
    })
}

impl From<KeeperError> for SourceError {
    fn from(error: KeeperError) -> Self {
        match error.is_transient {
            true => Self::Transient { message: error.message },
            false => Self::Misconfigured { message: error.message },
        }
    }
}
