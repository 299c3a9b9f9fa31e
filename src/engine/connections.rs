//! Connections made, renewed and tested: what the API, the command line and sign-ins have in
//! common.

use std::{sync::Arc, time::Duration};

use super::Engine;
use crate::{
    model::{
        Connection, ConnectionId, Credentials, Draft, Location, Pause, PausedBy, SyncOptions,
        SyncStatus,
    },
    secrets::SecretsError,
    sources::{self, Accepted, SourceError},
    store::{
        StoreError,
        connections::{self, NewConnection, StoredConnection},
        syncs::{self, Sync, SyncState},
    },
};

/// How long somebody waits for a test.
const TEST_PATIENCE: Duration = Duration::from_secs(25);

/// What a new connection is to be called.
#[derive(Clone, Debug)]
pub enum NewName {
    /// This, or it is not made.
    Exactly(String),
    /// This, or with the first number behind it that is free.
    Like(String),
}

/// What a test of a connection has found.
#[derive(Clone, Debug)]
pub struct Tested {
    /// In words.
    pub message: String,
    /// The provider's own id for who is signed in, if it has such a thing.
    pub account: Option<String>,
}

/// A connection that was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// These syncs use it, and are not at rest.
    #[error("{} active syncs use it", .0.len())]
    InUse(Vec<Sync>),
    /// Another one has that name.
    #[error("there is a connection named {0:?} already")]
    NameTaken(String),
    /// It has been deleted meanwhile.
    #[error("the connection {0:?} is archived and cannot be used again")]
    Archived(String),
    /// It does not work.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its credentials cannot be sealed.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Tests settings and credentials; returns what was found.
    ///
    /// # Errors
    /// Why they do not work.
    pub async fn test_connection(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Result<Tested, SourceError> {
        let provider = &connection.provider;
        let Some(reader) = sources::reader(provider) else {
            let message =
                format!("this version stores connections to {provider} and cannot read it yet");
            return Err(SourceError::Misconfigured { message });
        };
        let root = Location { connection: connection.clone(), source_path: reader.root() };
        let test = async {
            let source = self.connect(&root, credentials, &SyncOptions::default()).await?;
            // Whoever tests it wants its credentials to be sent, even if they were refused before.
            source.clear_refusal().await?;
            let message = reader.test(source.as_ref()).await?;
            Ok(Tested { message, account: source.known_account() })
        };
        tokio::time::timeout(TEST_PATIENCE, test).await.unwrap_or_else(|_| {
            let message = format!("nothing came within {} s", TEST_PATIENCE.as_secs());
            Err(SourceError::Timeout { message })
        })
    }

    /// Makes a connection. With `test` it is tested first, unless this version cannot read its
    /// provider; if it does not work nothing is stored.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn add_connection(
        &self,
        name: NewName,
        mut accepted: Accepted,
        test: bool,
    ) -> Result<StoredConnection, ConnectionError> {
        let credentials = match test {
            true => self.tested(&mut accepted.connection, accepted.credentials).await?,
            false => accepted.credentials,
        };
        let id = ConnectionId::generate();
        let sealed = match &credentials {
            Some(credentials) => Some(self.vault.seal(&id, credentials).await?),
            None => None,
        };
        let settings = accepted.connection;
        let now = self.clock.now();
        self.store
            .write(move |tx| {
                let name = match name {
                    NewName::Exactly(name) => name,
                    NewName::Like(name) => connections::free_name(tx, &name)?,
                };
                let new = NewConnection {
                    id: id.clone(),
                    name,
                    settings,
                    description: None,
                    metadata: serde_json::Map::new(),
                    write_enabled: false,
                    sealed,
                };
                if !connections::insert(tx, &new, now)? {
                    return Err(ConnectionError::NameTaken(new.name));
                }
                connections::named(tx, id.as_str())?.ok_or_else(|| StoreError::Stopped.into())
            })
            .await
    }

    /// Gives a connection new credentials, and lets it be used again where it was suspended.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn renew_connection(
        &self,
        connection: &StoredConnection,
        accepted: Accepted,
    ) -> Result<StoredConnection, ConnectionError> {
        let sealed = match &accepted.credentials {
            Some(credentials) => Some(self.vault.seal(&connection.id, credentials).await?),
            None => None,
        };
        let (key, settings, now) = (connection.key, accepted.connection, self.clock.now());
        self.store
            .write(move |tx| {
                let mut connection = connections::by_key(tx, key)?;
                if connection.status == "ARCHIVED" {
                    return Err(ConnectionError::Archived(connection.name));
                }
                connection.settings = settings;
                connection.status = "ACTIVE".to_owned();
                connection.consecutive_failures = 0;
                connection.last_error = None;
                if !connections::update(tx, &connection, sealed.as_ref(), now)? {
                    return Err(ConnectionError::NameTaken(connection.name));
                }
                Ok(connections::by_key(tx, key)?)
            })
            .await
    }

    /// Tests a stored connection, and writes down how it went; returns what was found, or why it
    /// does not work.
    ///
    /// # Errors
    /// The database's.
    pub async fn test_stored_connection(
        &self,
        connection: &StoredConnection,
    ) -> Result<Result<String, String>, StoreError> {
        let tried = match self.vault.credentials(connection.key).await {
            Ok(credentials) => self
                .test_connection(&connection.settings, credentials.as_ref())
                .await
                .map_err(|error| error.to_string()),
            Err(SecretsError::Store(error)) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let provider = &connection.settings.provider;
        // What this version cannot read says nothing about the connection.
        if sources::reader(provider).is_some() {
            let (key, now, outcome) = (connection.key, self.clock.now(), tried.clone());
            let is_configurable = sources::is_configurable(provider);
            self.store
                .write(move |tx| match outcome {
                    Ok(Tested { account, .. }) => {
                        if let Some(account) = account {
                            connections::set_account(tx, key, account)?;
                        }
                        connections::worked(tx, key, now)
                    }
                    Err(reason) if is_configurable => {
                        connections::test_failed(tx, key, &reason, now)
                    }
                    Err(_) => Ok(()),
                })
                .await?;
        }
        Ok(tried.map(|tested| tested.message))
    }

    /// Archives a connection and erases its credentials; with `force` even where active syncs use
    /// it, which are paused.
    ///
    /// # Errors
    /// [`ConnectionError::InUse`], or the database's.
    pub async fn archive_connection(
        &self,
        connection: &StoredConnection,
        force: bool,
    ) -> Result<(), ConnectionError> {
        let (gone, now) = (connection.clone(), self.clock.now());
        self.store
            .write(move |tx| {
                let active = syncs::active_of_connection(tx, gone.key)?;
                if !force && !active.is_empty() {
                    return Err(ConnectionError::InUse(active));
                }
                for sync in active {
                    let pause = Pause {
                        reason: Some(format!("its connection {:?} was deleted", gone.name)),
                        at: now,
                        by: PausedBy::Connection,
                        drain: false,
                    };
                    let state = SyncState {
                        status: SyncStatus::Suspended,
                        pause: Some(pause),
                        next_sync_at: None,
                        ..SyncState::of(&sync)
                    };
                    syncs::set_state(tx, &sync, &state, now)?;
                }
                Ok(connections::archive(tx, &gone, now)?)
            })
            .await
    }

    /// Tests settings and credentials before they are stored, unless this version cannot read their
    /// provider; returns the credentials as they are after the test, which may have renewed them,
    /// and takes down in the settings who is signed in.
    ///
    /// # Errors
    /// Why they do not work.
    pub async fn tested(
        &self,
        connection: &mut Connection,
        credentials: Option<Credentials>,
    ) -> Result<Option<Credentials>, SourceError> {
        if sources::reader(&connection.provider).is_none() {
            return Ok(credentials);
        }
        let (tested, credentials) = match credentials {
            // What is stored already is renewed where it is stored.
            Some(stored) if stored.keeper().is_some() => {
                (self.test_connection(connection, Some(&stored)).await?, Some(stored))
            }
            Some(new) => {
                let draft = Draft::beside(Arc::new(self.vault.clone()), new);
                let tried = draft.credentials().kept_by(draft.clone());
                let tested = self.test_connection(connection, Some(&tried)).await?;
                (tested, Some(draft.credentials()))
            }
            None => (self.test_connection(connection, None).await?, None),
        };
        if let Some(account) = tested.account {
            connection.set_account(account);
        }
        Ok(credentials)
    }
}
