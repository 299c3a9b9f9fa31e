//! What requests are signed in with: a token that a key signs for an hour, or one that Snowflake
//! gave out. What was refused once is never sent again, by this process or another one: repeated
//! failures lock users out.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::{runtime::Handle, time::Instant};

use super::{
    NAME,
    account::Account,
    key_pair::{KeyError, PrivateKey, TOKEN_LIFETIME},
    protocol::Refusal,
};
use crate::{
    model::{Connection, Credentials, ProviderName, RENEWAL_LEASE_SECS, Trial},
    sources::SourceError,
};

/// A token is replaced so long before it ends.
const RENEWAL_MARGIN: SignedDuration = SignedDuration::from_secs(5 * 60);

/// How often it is checked whether another process still tries the same credentials, and how long
/// that is waited for.
const TURN_POLL: Duration = Duration::from_millis(100);
const TURN_PATIENCE: Duration = Duration::from_secs(2 * RENEWAL_LEASE_SECS);

/// Credentials, as the contract's two models have them.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StoredCredentials {
    KeyPair {
        username: String,
        private_key: SecretString,
        private_key_passphrase: Option<SecretString>,
    },
    UsernamePassword {
        password: SecretString,
    },
}

/// How to sign in.
enum Way {
    Key { key: Box<PrivateKey>, username: String },
    Token(SecretString),
}

impl Way {
    /// The way that credentials are for; else what is wrong with them, which quotes none.
    fn of(credentials: &Credentials) -> Result<Self, String> {
        Ok(match credentials.read().map_err(|error| error.to_string())? {
            StoredCredentials::KeyPair { username, private_key, private_key_passphrase } => {
                let key =
                    PrivateKey::read(private_key.expose_secret(), private_key_passphrase.as_ref())
                        .map_err(|error| format!("{}: {error}", error.field()))?;
                Self::Key { key: Box::new(key), username }
            }
            StoredCredentials::UsernamePassword { password } => Self::Token(password),
        })
    }
}

/// A token, and how it is announced.
#[derive(Clone)]
pub(super) struct Bearer {
    /// `X-Snowflake-Authorization-Token-Type`.
    pub(super) kind: &'static str,
    token: SecretString,
    expires: Option<Timestamp>,
}

impl Bearer {
    /// The value of `Authorization`.
    pub(super) fn authorization(&self) -> SecretString {
        SecretString::from(format!("Bearer {}", self.token.expose_secret()))
    }

    fn is(&self, other: &Self) -> bool {
        self.token.expose_secret() == other.token.expose_secret()
    }

    /// Whether it is too old by this machine's clock.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Signs in the requests of all open sources with the same credentials.
pub(super) struct SignIn {
    account: Account,
    way: Way,
    state: Mutex<State>,
    /// Whether Snowflake has let them in.
    is_proven: AtomicBool,
    /// Until then, one request at a time: the refusal of one is that of all.
    first: tokio::sync::Mutex<()>,
    print: Print,
    /// What other connections with these credentials, and other processes, learn of a refusal from.
    trial: Option<Arc<dyn Trial>>,
}

/// Distinguishes credentials and whom they are for, however they are spelled. Not to be stored: a
/// token that somebody made up could be guessed from it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Print(blake3::Hash);

impl Print {
    fn of(account: &Account, way: &Way) -> Option<Self> {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        part(&account.host);
        part(&account.token_name);
        match way {
            Way::Key { key, username } => {
                part(&username.trim().to_uppercase());
                part(&key.fingerprint().ok()?);
            }
            Way::Token(token) => part(token.expose_secret()),
        }
        Some(Self(hasher.finalize()))
    }

    /// That of a stored connection; none where it cannot sign in.
    fn of_stored(connection: &Connection, credentials: &Credentials) -> Option<Self> {
        let account = connection.settings.get("config")?.get("account")?.as_str()?;
        Self::of(&Account::parse(account).ok()?, &Way::of(credentials).ok()?)
    }
}

/// The right to try credentials that are not proven. Dropped, it is given back.
pub(super) struct Turn<'a> {
    _first: tokio::sync::MutexGuard<'a, ()>,
    trial: Option<Arc<dyn Trial>>,
}

impl Turn<'_> {
    /// Gives it back.
    pub(super) async fn end(mut self) {
        if let Some(trial) = self.trial.take() {
            release(trial).await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let (Some(trial), Ok(runtime)) = (self.trial.take(), Handle::try_current()) {
            runtime.spawn(release(trial));
        }
    }
}

async fn release(trial: Arc<dyn Trial>) {
    if let Err(error) = trial.release().await {
        tracing::warn!(%error, "other processes have to wait before they sign in");
    }
}

#[derive(Default)]
struct State {
    current: Option<Bearer>,
    refused: Option<Refusal>,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignIn({})", self.account.token_name)
    }
}

impl SignIn {
    /// Takes the credentials of a connection.
    ///
    /// # Errors
    /// [`SourceError::Misconfigured`] when there are none, or the key cannot be used.
    pub(super) fn new(
        account: Account,
        credentials: Option<&Credentials>,
    ) -> Result<Self, SourceError> {
        let misconfigured = |message: String| SourceError::Misconfigured { message };
        let credentials = credentials
            .ok_or_else(|| misconfigured("this connection has no credentials".to_owned()))?;
        let way = Way::of(credentials).map_err(misconfigured)?;
        let print = Print::of(&account, &way)
            .ok_or_else(|| misconfigured("the private key has no public half".to_owned()))?;
        let is_same = move |connection: &Connection, credentials: &Credentials| {
            Print::of_stored(connection, credentials) == Some(print)
        };
        let all = credentials.keeper().and_then(|keeper| keeper.all());
        Ok(Self {
            account,
            way,
            state: Mutex::default(),
            is_proven: AtomicBool::default(),
            first: tokio::sync::Mutex::default(),
            print,
            trial: all.map(|all| all.trial(ProviderName::new(NAME), Box::new(is_same))),
        })
    }

    /// What sources with the same credentials share this by. Does not reveal them.
    pub(super) fn id(&self) -> String {
        format!("{NAME} {}", self.print.0.to_hex())
    }

    /// Waits until nobody else, in this process or another, tries these credentials for the first
    /// time; none once they are proven.
    ///
    /// # Errors
    /// When another process does not come to an end, or the database fails.
    pub(super) async fn turn(&self) -> Result<Option<Turn<'_>>, SourceError> {
        if self.is_proven.load(Ordering::Acquire) {
            return Ok(None);
        }
        let first = self.first.lock().await;
        if self.is_proven.load(Ordering::Acquire) {
            return Ok(None);
        }
        let Some(trial) = &self.trial else {
            return Ok(Some(Turn { _first: first, trial: None }));
        };
        let began = Instant::now();
        while !trial.claim().await? {
            if began.elapsed() > TURN_PATIENCE {
                let message = "another process signs in with the same credentials and does not \
                               finish"
                    .to_owned();
                return Err(SourceError::Timeout { message });
            }
            tokio::time::sleep(TURN_POLL).await;
        }
        Ok(Some(Turn { _first: first, trial: Some(Arc::clone(trial)) }))
    }

    /// Learns of a refusal that another process got.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn learn_refusal(&self) -> Result<(), SourceError> {
        let Some(trial) = &self.trial else { return Ok(()) };
        let Some(refusal) = trial.refusal().await? else { return Ok(()) };
        // Whatever it says: that there is one is what counts.
        let unknown = |_| Refusal { status: 401, ..Refusal::default() };
        let refusal = serde_json::from_str(&refusal).unwrap_or_else(unknown);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(refusal);
        Ok(())
    }

    /// Forgets the refusal of these credentials: a person wants them to be sent again.
    ///
    /// # Errors
    /// The database's.
    pub(super) async fn clear_refusal(&self) -> Result<(), SourceError> {
        if let Some(trial) = &self.trial {
            trial.clear_refusal().await?;
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refused = None;
        Ok(())
    }

    /// Remembers that Snowflake has let these credentials in.
    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Release);
    }

    /// The statement that lets the key in, where there is one.
    pub(super) fn statement(&self) -> Option<String> {
        match &self.way {
            Way::Key { key, username } => key.statement(username).ok(),
            Way::Token(_) => None,
        }
    }

    /// A token to send; an error where the last one was refused.
    ///
    /// # Errors
    /// The refusal that there was, or that the key cannot sign.
    pub(super) fn bearer(&self, now: Timestamp) -> Result<Bearer, NoBearer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = &state.refused {
            return Err(NoBearer::Refused(refusal.clone()));
        }
        let current =
            state.current.take().filter(|bearer| !bearer.is_expired(now + RENEWAL_MARGIN));
        let bearer = match current {
            Some(bearer) => bearer,
            None => self.new_bearer(now)?,
        };
        state.current = Some(bearer.clone());
        Ok(bearer)
    }

    /// Another token than one that was refused for its age. None where there is no other.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub(super) fn renewed(
        &self,
        refused: &Bearer,
        now: Timestamp,
    ) -> Result<Option<Bearer>, NoBearer> {
        if matches!(self.way, Way::Token(_)) {
            return Ok(None);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have replaced it already.
        if state.current.as_ref().is_some_and(|current| current.is(refused)) {
            state.current = None;
        }
        drop(state);
        // One that is made within the same second is the same.
        Ok(Some(self.bearer(now)?).filter(|renewed| !renewed.is(refused)))
    }

    /// Remembers that these credentials were refused, for all processes.
    pub(super) async fn refuse(&self, refusal: &Refusal) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refused = Some(refusal.clone());
        let (Some(trial), Ok(refusal)) = (&self.trial, serde_json::to_string(refusal)) else {
            return;
        };
        if let Err(error) = trial.record_refusal(&refusal).await {
            tracing::warn!(%error, "other processes do not know that the sign-in was refused");
        }
    }

    fn new_bearer(&self, now: Timestamp) -> Result<Bearer, NoBearer> {
        match &self.way {
            Way::Key { key, username } => {
                let token = key.sign(&self.account, username, now).map_err(NoBearer::Key)?;
                let lifetime = SignedDuration::try_from(TOKEN_LIFETIME).unwrap_or_default();
                Ok(Bearer { kind: "KEYPAIR_JWT", token, expires: now.checked_add(lifetime).ok() })
            }
            Way::Token(token) => Ok(Bearer {
                kind: "PROGRAMMATIC_ACCESS_TOKEN",
                token: token.clone(),
                expires: None,
            }),
        }
    }
}

/// Why there is no token.
#[derive(Debug)]
pub(super) enum NoBearer {
    /// The server has refused these credentials.
    Refused(Refusal),
    /// The key cannot sign.
    Key(KeyError),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sign_in(credentials: &serde_json::Value) -> Result<SignIn, SourceError> {
        let account = Account::parse("org-acc").unwrap();
        SignIn::new(account, Some(&Credentials::from_json(credentials.to_string())))
    }

    fn with_key() -> SignIn {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/snowflake/plain.p8");
        let pem = std::fs::read_to_string(path).unwrap();
        sign_in(&json!({"type": "key_pair", "username": "u", "private_key": pem})).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_signs_one_token_an_hour() {
        let sign_in = with_key();
        let token = |now| sign_in.bearer(at(now)).unwrap().token.expose_secret().to_owned();
        let first = token("2026-01-01T00:00:00Z");
        assert_eq!(token("2026-01-01T00:53:00Z"), first);
        assert_ne!(token("2026-01-01T00:55:00Z"), first);
    }

    #[test]
    fn a_token_in_the_passwords_place_is_sent_as_it_is_and_never_renewed() {
        let credentials =
            json!({"type": "username_password", "username": "u", "password": "pat-1"});
        let sign_in = sign_in(&credentials).unwrap();
        let now = at("2026-01-01T00:00:00Z");
        let bearer = sign_in.bearer(now).unwrap();
        assert_eq!(bearer.kind, "PROGRAMMATIC_ACCESS_TOKEN");
        assert_eq!(bearer.authorization().expose_secret(), "Bearer pat-1");
        assert!(sign_in.renewed(&bearer, now).unwrap().is_none());
    }

    #[tokio::test]
    async fn credentials_that_were_refused_are_not_sent_again() {
        let sign_in = with_key();
        let now = at("2026-01-01T00:00:00Z");
        let bearer = sign_in.bearer(now).unwrap();
        sign_in.refuse(&Refusal { status: 401, ..Refusal::default() }).await;
        assert!(matches!(sign_in.bearer(now), Err(NoBearer::Refused(_))));
        assert!(matches!(sign_in.renewed(&bearer, now), Err(NoBearer::Refused(_))));
    }

    #[test]
    fn a_token_that_was_refused_for_its_age_is_replaced_by_another_one_or_by_none() {
        let sign_in = with_key();
        let first = sign_in.bearer(at("2026-01-01T00:00:00Z")).unwrap();
        assert!(sign_in.renewed(&first, at("2026-01-01T00:00:00Z")).unwrap().is_none());
        let later = at("2026-01-01T00:50:00Z");
        let second = sign_in.renewed(&first, later).unwrap().unwrap();
        let of_another_request = sign_in.renewed(&first, later).unwrap().unwrap();
        assert!(second.is(&of_another_request), "one token for all");
    }

    #[test]
    fn a_key_that_cannot_be_read_is_reported_before_anything_is_sent() {
        let credentials =
            json!({"type": "key_pair", "username": "u", "private_key": "secret-text"});
        let error = sign_in(&credentials).unwrap_err();
        assert!(matches!(error, SourceError::Misconfigured { .. }));
        assert!(!error.to_string().contains("secret-text"));
    }
}
