//! Secrets in memory: shown to nobody, wiped when dropped.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Connection, ProviderName};

/// The credentials of a connection as a JSON object, in the shape of its provider's credentials
/// model (`{"type": "access_key", …}`). Printed redacted; wiped from memory when dropped.
///
/// Some renew themselves while they are used: a provider gives a new refresh token and takes back
/// the old one. Credentials therefore know their [`Keeper`], which the new ones go to.
#[derive(Clone)]
pub struct Credentials {
    json: SecretString,
    keeper: Option<Arc<dyn Keeper>>,
}

impl Credentials {
    /// Takes the JSON text of the object. Nobody keeps these credentials yet.
    #[must_use]
    pub fn from_json(json: String) -> Self {
        Self { json: SecretString::from(json), keeper: None }
    }

    /// The same credentials, kept by `keeper`.
    #[must_use]
    pub fn kept_by(self, keeper: Arc<dyn Keeper>) -> Self {
        Self { keeper: Some(keeper), ..self }
    }

    /// Who keeps them; `None` for credentials that are not kept yet.
    #[must_use]
    pub fn keeper(&self) -> Option<&Arc<dyn Keeper>> {
        self.keeper.as_ref()
    }

    /// The JSON text, for the one who signs with it or seals it.
    #[must_use]
    pub fn expose_json(&self) -> &str {
        self.json.expose_secret()
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

/// Where the credentials of one connection are kept, and who may renew them.
///
/// To renew: [`claim`](Keeper::claim), [`read`](Keeper::read), ask the provider,
/// [`exchange`](Keeper::exchange), and only then use what the provider gave.
#[async_trait]
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Distinguishes these credentials from those of other connections; `None` where no
    /// connection has them yet.
    fn id(&self) -> Option<&str>;

    /// The credentials as they are kept now, by this process or another.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn read(&self) -> Result<(Credentials, Envelope), KeeperError>;

    /// Takes the short lease on renewing them: `false` while another process holds it. A holder
    /// that dies loses it within [`RENEWAL_LEASE_SECS`].
    ///
    /// # Errors
    /// When it cannot be written down.
    async fn claim(&self) -> Result<bool, KeeperError>;

    /// Puts `after` in the place of what was read as `before`, durably, and gives the lease back.
    /// `false` when something else is kept by now: then nothing has changed.
    ///
    /// # Errors
    /// When it cannot be written down.
    async fn exchange(&self, before: &Envelope, after: &Credentials) -> Result<bool, KeeperError>;

    /// Gives the lease back without a change.
    ///
    /// # Errors
    /// When it cannot be written down; the lease expires then.
    async fn release(&self) -> Result<(), KeeperError>;

    /// All credentials that are kept, of other connections too; `None` where nobody knows them.
    fn all(&self) -> Option<Arc<dyn AllKept>>;
}

/// Whether the credentials of a connection are certain ones, however they are spelled.
pub type IsSame = dyn Fn(&Connection, &Credentials) -> bool + Send + Sync;

/// All credentials that are kept.
pub trait AllKept: fmt::Debug + Send + Sync {
    /// Certain credentials for a provider, whichever connections have them.
    fn trial(&self, provider: ProviderName, is_same: Box<IsSame>) -> Arc<dyn Trial>;
}

/// Credentials as their server knows them, whichever connections have them: one process at a time
/// tries them until the server has accepted them, and nobody does once it has refused them.
#[async_trait]
pub trait Trial: Send + Sync {
    /// Takes the right to try them, for as long as [`Keeper::claim`] would: `false` while another
    /// process has it.
    ///
    /// # Errors
    /// When it cannot be written down.
    async fn claim(&self) -> Result<bool, KeeperError>;

    /// Gives that right back.
    ///
    /// # Errors
    /// When it cannot be written down; it expires then.
    async fn release(&self) -> Result<(), KeeperError>;

    /// What their server said when it refused them, to this process or another. They are not to be
    /// sent again.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn refusal(&self) -> Result<Option<String>, KeeperError>;

    /// Writes down that their server refused them, with every connection that has them.
    ///
    /// # Errors
    /// When it cannot be written down.
    async fn record_refusal(&self, refusal: &str) -> Result<(), KeeperError>;

    /// Forgets the refusal: a person wants them to be tried again.
    ///
    /// # Errors
    /// When it cannot be written down.
    async fn clear_refusal(&self) -> Result<(), KeeperError>;
}

/// How long one process may take to renew credentials before another may.
pub const RENEWAL_LEASE_SECS: u64 = 30;

/// What was read, to be compared by [`Keeper::exchange`]: sealed, and never the same twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope(pub Vec<u8>);

/// Credentials that cannot be read or written where they are kept.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct KeeperError {
    /// What is wrong, and the way out.
    pub message: String,
    /// Whether another try may help.
    pub is_transient: bool,
}

/// Keeps credentials in memory while a connection that is not made yet is tried with them, so that
/// those are sealed which are good after the try.
#[derive(Debug)]
pub struct Draft {
    /// The credentials, and how often they were exchanged.
    kept: Mutex<(Credentials, u64)>,
    /// Those that are kept already, among which the same ones may be.
    all: Option<Arc<dyn AllKept>>,
}

impl Draft {
    /// Keeps `credentials` in memory.
    #[must_use]
    pub fn new(credentials: Credentials) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::new((credentials, 0)), all: None })
    }

    /// Keeps `credentials` in memory beside those that are kept already.
    #[must_use]
    pub fn beside(all: Arc<dyn AllKept>, credentials: Credentials) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::new((credentials, 0)), all: Some(all) })
    }

    /// The credentials as they are now.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.kept().0.clone()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, (Credentials, u64)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Keeper for Draft {
    fn id(&self) -> Option<&str> {
        None
    }

    async fn read(&self) -> Result<(Credentials, Envelope), KeeperError> {
        let kept = self.kept();
        Ok((kept.0.clone(), Envelope(kept.1.to_be_bytes().to_vec())))
    }

    async fn claim(&self) -> Result<bool, KeeperError> {
        Ok(true)
    }

    async fn exchange(&self, before: &Envelope, after: &Credentials) -> Result<bool, KeeperError> {
        let mut kept = self.kept();
        if before.0 != kept.1.to_be_bytes() {
            return Ok(false);
        }
        *kept = (after.clone(), kept.1 + 1);
        Ok(true)
    }

    async fn release(&self) -> Result<(), KeeperError> {
        Ok(())
    }

    fn all(&self) -> Option<Arc<dyn AllKept>> {
        self.all.clone()
    }
}
