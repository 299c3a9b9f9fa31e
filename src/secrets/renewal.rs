//! The vault as the keeper of one connection's credentials, for providers that give new ones while
//! the old ones are used. The same credentials in several connections are in `trial`.

use std::sync::Arc;

use async_trait::async_trait;

use super::{SecretsError, Vault};
use crate::{
    model::{AllKept, ConnectionId, Credentials, Envelope, Keeper, KeeperError},
    store::{
        StoreError,
        secrets::{self, StoredSecrets},
    },
};

/// How often an exchange starts over because the sealing key was rotated meanwhile.
const MOST_ATTEMPTS: usize = 5;

/// See the module.
#[derive(Debug)]
struct Vaulted {
    vault: Vault,
    connection_key: i64,
    connection_id: ConnectionId,
}

impl Vault {
    pub(super) fn keeper(&self, connection_key: i64, kept: &StoredSecrets) -> Arc<dyn Keeper> {
        Arc::new(Vaulted {
            vault: self.clone(),
            connection_key,
            connection_id: ConnectionId::from_stored(kept.owner_id.clone()),
        })
    }
}

#[async_trait]
impl Keeper for Vaulted {
    fn id(&self) -> Option<&str> {
        Some(self.connection_id.as_str())
    }

    async fn read(&self) -> Result<(Credentials, Envelope), KeeperError> {
        let key = self.connection_key;
        let kept = self.vault.store.read(move |db| secrets::of(db, key)).await.map_err(failed)?;
        let kept = kept.ok_or_else(|| KeeperError {
            message: "the credentials of this connection were erased".to_owned(),
            is_transient: false,
        })?;
        let credentials = self.vault.open(&kept).await.map_err(failed)?;
        let keeper = self.vault.keeper(key, &kept);
        Ok((credentials.kept_by(keeper), Envelope(kept.sealed.bytes)))
    }

    async fn claim(&self) -> Result<bool, KeeperError> {
        let (key, now) = (self.connection_key, self.vault.clock.now());
        let renewer = Arc::clone(&self.vault.renewer);
        let claim = self.vault.store.write(move |tx| secrets::claim(tx, key, &renewer, now));
        claim.await.map_err(failed)
    }

    async fn exchange(&self, before: &Envelope, after: &Credentials) -> Result<bool, KeeperError> {
        let mut attempt = 1;
        loop {
            let sealed = self.vault.seal(&self.connection_id, after).await.map_err(failed)?;
            let (key, before) = (self.connection_key, before.0.clone());
            let exchange =
                self.vault.store.write(move |tx| secrets::exchange(tx, key, &before, &sealed));
            match exchange.await {
                Err(StoreError::KeyRotated) if attempt < MOST_ATTEMPTS => attempt += 1,
                outcome => return outcome.map_err(failed),
            }
        }
    }

    async fn release(&self) -> Result<(), KeeperError> {
        let (key, renewer) = (self.connection_key, Arc::clone(&self.vault.renewer));
        let release = self.vault.store.write(move |tx| secrets::release(tx, key, &renewer));
        release.await.map_err(failed)
    }

    fn all(&self) -> Option<Arc<dyn AllKept>> {
        Some(Arc::new(self.vault.clone()))
    }
}

pub(super) fn failed(error: impl Into<SecretsError>) -> KeeperError {
    let error = error.into();
    KeeperError {
        is_transient: matches!(error, SecretsError::Store(_)),
        message: error.to_string(),
    }
}
