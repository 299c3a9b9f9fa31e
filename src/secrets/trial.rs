//! The same credentials in several connections: tried by one process at a time, and by none once
//! their server has refused them. Nothing at rest tells that they are the same; they are opened and
//! compared.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Vault, renewal::failed};
use crate::{
    model::{AllKept, IsSame, KeeperError, ProviderName, Trial},
    store::secrets::{self, Has},
};

impl AllKept for Vault {
    fn trial(&self, provider: ProviderName, is_same: Box<IsSame>) -> Arc<dyn Trial> {
        Arc::new(SameKept { vault: self.clone(), provider, is_same, compared: Mutex::default() })
    }
}

/// See the module.
struct SameKept {
    vault: Vault,
    provider: ProviderName,
    is_same: Box<IsSame>,
    /// What came of comparing: opening a private key may take a while. By a hash of the envelope
    /// and of the settings of its connection.
    compared: Mutex<HashMap<blake3::Hash, bool>>,
}

impl SameKept {
    /// The connections that have these credentials now.
    async fn connections(&self) -> Result<Vec<Has>, KeeperError> {
        let provider = self.provider.clone();
        let kept = self.vault.store.read(move |db| secrets::of_provider(db, &provider));
        let mut same = Vec::new();
        for has in kept.await.map_err(failed)? {
            if self.is_same(&has).await {
                same.push(has);
            }
        }
        Ok(same)
    }

    async fn is_same(&self, has: &Has) -> bool {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&has.kept.sealed.bytes).update(&has.connection_key.to_le_bytes());
        let settings = serde_json::to_vec(&has.settings).unwrap_or_default();
        let hash = hasher.update(&settings).finalize();
        if let Some(same) = self.lock().get(&hash) {
            return *same;
        }
        // What cannot be opened is sent by nobody, as long as it cannot.
        let Ok(credentials) = self.vault.open(&has.kept).await else { return false };
        let same = (self.is_same)(&has.settings, &credentials);
        self.lock().insert(hash, same);
        same
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<blake3::Hash, bool>> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keys(&self) -> Result<Vec<i64>, KeeperError> {
        Ok(self.connections().await?.into_iter().map(|has| has.connection_key).collect())
    }
}

#[async_trait]
impl Trial for SameKept {
    async fn claim(&self) -> Result<bool, KeeperError> {
        let (keys, now) = (self.keys().await?, self.vault.clock.now());
        let renewer = Arc::clone(&self.vault.renewer);
        let claim = self.vault.store.write(move |tx| secrets::claim_all(tx, &keys, &renewer, now));
        claim.await.map_err(failed)
    }

    async fn release(&self) -> Result<(), KeeperError> {
        let (keys, renewer) = (self.keys().await?, Arc::clone(&self.vault.renewer));
        let release = self.vault.store.write(move |tx| secrets::release_all(tx, &keys, &renewer));
        release.await.map_err(failed)
    }

    async fn refusal(&self) -> Result<Option<String>, KeeperError> {
        Ok(self.connections().await?.into_iter().find_map(|has| has.refusal))
    }

    async fn record_refusal(&self, refusal: &str) -> Result<(), KeeperError> {
        let (same, refusal) = (self.connections().await?, refusal.to_owned());
        let record = self.vault.store.write(move |tx| {
            same.iter().try_for_each(|has| {
                let sealed = &has.kept.sealed.bytes;
                secrets::record_refusal(tx, has.connection_key, sealed, &refusal)
            })
        });
        record.await.map_err(failed)
    }

    async fn clear_refusal(&self) -> Result<(), KeeperError> {
        let keys = self.keys().await?;
        let clear = self
            .vault
            .store
            .write(move |tx| keys.iter().try_for_each(|key| secrets::clear_refusal(tx, *key)));
        clear.await.map_err(failed)
    }
}
