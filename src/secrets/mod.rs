//! The vault: credentials at rest. Sealed with XChaCha20-Poly1305 in the database
//! (`store::secrets`), their key elsewhere: in the keyring of the operating system where there is
//! one, else in a file of the data directory.
//!
//! - here: what others call
//! - `envelope`: sealing and opening one secret
//! - `keys`: where keys are kept
//! - `keyring`: the operating system's
//! - `renewal`: credentials that renew themselves while they are used
//! - `trial`: the same credentials in several connections, tried and refused as one
//!
//! No key is made before there is something to seal, and reading nothing touches no key. Each
//! envelope says which key opens it, so several can be in use at once; a key is removed only once
//! no envelope needs it. What does not live here: SQL, and what credentials mean.

mod envelope;
mod keyring;
mod keys;
mod renewal;
mod trial;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::SecretString;

use crate::{
    clock::SharedClock,
    model::{ConnectionId, Credentials},
    store::{
        Store, StoreError,
        secrets::{self, Sealed, StoredSecrets},
    },
};

pub use keyring::{Keyring, KeyringError, SystemKeyring};
pub use keys::put_key_file;
use keys::{Key, Keys};

/// How often a rotation starts over because credentials were changed while it was at work.
const MOST_ATTEMPTS: usize = 5;

/// A key that has sealed nothing for so long never will: whoever made it is dead.
const UNUSED_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// Opens and seals credentials. Clones share it.
#[derive(Clone, Debug)]
pub struct Vault {
    store: Store,
    keys: Arc<Keys>,
    /// Keys that were used already: a keyring takes its time.
    known: Arc<Mutex<HashMap<String, Arc<Key>>>>,
    /// This vault, as the holder of leases on renewing credentials.
    renewer: Arc<str>,
    clock: SharedClock,
}

/// What a rotation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The key that seals from now on.
    pub key_id: String,
    /// How many connections' credentials it has sealed.
    pub resealed: usize,
}

/// Credentials that cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The key is not where it was kept.
    #[error(
        "the key {key_id} to stored credentials is gone: it is neither in {path:?} nor in this \
         computer's keyring ({keyring}). Put it back from a backup, or enter the credentials of \
         each connection again"
    )]
    KeyGone {
        /// Which key.
        key_id: String,
        /// The file that would hold it.
        path: PathBuf,
        /// What the keyring says.
        keyring: String,
    },
    /// A key file cannot be read or written.
    #[error("the key file {path:?}: {error}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A key that is no key.
    #[error("the key {key_id} at {place} is damaged: put it back from a backup")]
    KeyDamaged {
        /// Which key.
        key_id: String,
        /// Where it is kept.
        place: String,
    },
    /// The envelope is not what was sealed with that key for that owner.
    #[error(
        "the stored secrets of {owner} were not sealed with the key {key_id}, or are damaged: enter \
         them again"
    )]
    Unopened {
        /// Whose they are, in words: `the connection "archive"`.
        owner: String,
        /// Which key was tried.
        key_id: String,
    },
    /// The operating system gives no random numbers.
    #[error("this system gives no random numbers: {0}")]
    NoRandomness(getrandom::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Vault {
    /// A vault over `store` that keeps its keys in `keyring`, or else in `data_dir`. Touches
    /// neither yet.
    #[must_use]
    pub fn new(
        store: Store,
        data_dir: &Path,
        keyring: Option<Arc<dyn Keyring>>,
        clock: SharedClock,
    ) -> Self {
        let keys = Arc::new(Keys::new(data_dir.to_owned(), keyring));
        let renewer = format!("renewer_{}", ulid::Ulid::generate()).into();
        Self { store, keys, known: Arc::default(), renewer, clock }
    }

    /// The credentials that are kept for a connection, if there are any. They know that they are
    /// kept here: what a provider gives in their place is sealed in their place.
    ///
    /// # Errors
    /// When they cannot be opened, or the database fails.
    pub async fn credentials(
        &self,
        connection_key: i64,
    ) -> Result<Option<Credentials>, SecretsError> {
        match self.store.read(move |db| secrets::of(db, connection_key)).await? {
            Some(kept) => {
                let credentials = self.open(&kept).await?;
                Ok(Some(credentials.kept_by(self.keeper(connection_key, &kept))))
            }
            None => Ok(None),
        }
    }

    /// Seals credentials for a connection, to be kept with [`secrets::keep`]. Makes a key if there
    /// is none, or if the one that sealed until now is gone: what it sealed stays as it is.
    ///
    /// # Errors
    /// When no key can be had, or the database fails.
    pub async fn seal(
        &self,
        connection: &ConnectionId,
        credentials: &Credentials,
    ) -> Result<Sealed, SecretsError> {
        self.seal_for(connection.as_str(), credentials).await
    }

    /// [`Vault::seal`] for an owner that is no connection, by its public id.
    ///
    /// # Errors
    /// When no key can be had, or the database fails.
    pub async fn seal_for(
        &self,
        owner_id: &str,
        secrets: &Credentials,
    ) -> Result<Sealed, SecretsError> {
        let key = self.sealing_key().await?;
        envelope::seal(&key, owner_id, secrets)
    }

    /// Seals everything again with a new key, and removes the old one. Wherever this is cut short,
    /// all credentials can be opened: the old key goes only after the new envelopes are durable.
    ///
    /// # Errors
    /// When something cannot be opened, and then nothing is changed; or when no key can be made.
    pub async fn rotate(&self) -> Result<Rotated, SecretsError> {
        let new = self.new_key().await?;
        let mut resealed = self.reseal(&new).await;
        for _ in 1..MOST_ATTEMPTS {
            let Err(SecretsError::Store(StoreError::KeyRotated)) = resealed else { break };
            resealed = self.reseal(&new).await;
        }
        match resealed {
            Ok(resealed) => {
                self.remove_unneeded().await?;
                Ok(Rotated { key_id: new.id().to_owned(), resealed })
            }
            Err(error) => {
                self.discard(new.id()).await;
                Err(error)
            }
        }
    }

    /// A key as text, for a backup to seal.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn key_text(&self, id: &str) -> Result<SecretString, SecretsError> {
        Ok(self.key(id).await?.to_text())
    }

    /// Exchanges all envelopes in one transaction; says how many.
    async fn reseal(&self, new: &Arc<Key>) -> Result<usize, SecretsError> {
        let (before, old) =
            self.store.read(|db| Ok((secrets::all(db)?, secrets::current_key(db)?))).await?;
        let mut after = Vec::with_capacity(before.len());
        for kept in &before {
            let credentials = self.open(kept).await?;
            after.push(envelope::seal(new, &kept.owner_id, &credentials)?);
        }
        let (count, new) = (after.len(), new.id().to_owned());
        self.store
            .write(move |tx| secrets::rotate(tx, &before, &after, old.as_deref(), &new))
            .await?;
        Ok(count)
    }

    /// Removes the keys that nothing needs, also those that processes which were killed have left.
    ///
    /// # Errors
    /// When one cannot be removed, or the database fails.
    pub async fn remove_unneeded(&self) -> Result<(), SecretsError> {
        let made_before = self.clock.now() - UNUSED_FOR;
        let unneeded = move |db: &_| secrets::unneeded_keys(db, made_before);
        for id in self.store.read(unneeded).await? {
            self.known().remove(&id);
            let (keys, gone) = (Arc::clone(&self.keys), id.clone());
            blocking(move || keys.remove(&gone)).await?;
            self.store.write(move |tx| secrets::removed_key(tx, &id)).await?;
        }
        Ok(())
    }

    /// Opens what is kept.
    ///
    /// # Errors
    /// When its key is gone, or it is damaged.
    pub async fn open(&self, kept: &StoredSecrets) -> Result<Credentials, SecretsError> {
        let key = self.key(&kept.sealed.key_id).await?;
        envelope::open(&key, kept)
    }

    async fn sealing_key(&self) -> Result<Arc<Key>, SecretsError> {
        let old = self.store.read(secrets::current_key).await?;
        if let Some(id) = &old {
            match self.key(id).await {
                Err(SecretsError::KeyGone { .. }) => {
                    tracing::warn!(key = id, "the key is missing; new credentials get a new one");
                }
                found => return found,
            }
        }
        let new = self.new_key().await?;
        let id = new.id().to_owned();
        let changed =
            self.store.write(move |tx| secrets::change_key(tx, old.as_deref(), &id)).await;
        match changed {
            Ok(()) => Ok(new),
            // Another process was faster: its key it is.
            Err(StoreError::KeyRotated) => {
                self.discard(new.id()).await;
                match self.store.read(secrets::current_key).await? {
                    Some(id) => self.key(&id).await,
                    None => Err(StoreError::KeyRotated.into()),
                }
            }
            Err(error) => {
                self.discard(new.id()).await;
                Err(error.into())
            }
        }
    }

    async fn key(&self, id: &str) -> Result<Arc<Key>, SecretsError> {
        if let Some(key) = self.known().get(id) {
            return Ok(Arc::clone(key));
        }
        let (keys, wanted) = (Arc::clone(&self.keys), id.to_owned());
        let key = Arc::new(blocking(move || keys.load(&wanted)).await?);
        self.known().insert(id.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    async fn new_key(&self) -> Result<Arc<Key>, SecretsError> {
        let key = Arc::new(Key::generate()?);
        let (id, now) = (key.id().to_owned(), self.clock.now());
        self.store.write(move |tx| secrets::key_is_made(tx, &id, now)).await?;
        let (keys, new) = (Arc::clone(&self.keys), Arc::clone(&key));
        blocking(move || keys.keep(&new)).await?;
        self.known().insert(key.id().to_owned(), Arc::clone(&key));
        Ok(key)
    }

    /// Removes a key that never sealed anything. Where that fails it does no harm.
    async fn discard(&self, id: &str) {
        self.known().remove(id);
        let (keys, gone) = (Arc::clone(&self.keys), id.to_owned());
        let removed = blocking(move || keys.remove(&gone)).await;
        let id = id.to_owned();
        let forgotten = match removed {
            Ok(()) => self.store.write(move |tx| secrets::removed_key(tx, &id)).await,
            Err(error) => return tracing::warn!(key = id, %error, "an unused key stays behind"),
        };
        if let Err(error) = forgotten {
            tracing::warn!(%error, "an unused key is looked for once more");
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Key>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SecretsError> + Send + 'static,
) -> Result<T, SecretsError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(SecretsError::Store(StoreError::Stopped)))
}

#[cfg(test)]
mod tests;
