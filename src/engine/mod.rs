//! One run of a sync, in reading order: [`lease`], [`walk`], [`filter`], [`plan`], [`fetch`],
//! [`commit`] and the [`shards`] that it moves on, [`reconcile`]; [`run`] tells the story, `begin`
//! and `end` its first and its last page. [`preview`] tells what a run would do; [`collect`] and
//! [`verify`] look after what runs have stored, [`searching`] after how it is found.
//!
//! The engine decides; it holds no SQL, speaks no provider's protocol and prints nothing. What it
//! is doing it tells an [`Observer`].

mod begin;
pub mod board;
pub mod collect;
pub mod commit;
mod end;
pub mod error;
pub mod fetch;
pub mod filter;
mod held;
mod inquiry;
pub mod lease;
pub mod mapping;
mod moves;
pub mod observer;
pub mod orders;
pub mod plan;
pub mod preview;
pub mod reconcile;
pub mod rules;
pub mod run;
pub mod searching;
mod shaping;
pub mod shards;
pub mod standing;
pub mod verify;
pub mod walk;
pub mod worker;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    blobs::{BlobError, Blobs},
    clock::SharedClock,
    config::{Config, SourceTuning},
    model::{Credentials, Location, SyncOptions},
    secrets::{SystemKeyring, Vault},
    sources::{Opener, Source, SourceError, web::Web},
    store::{Store, StoreError, syncs::Sync},
};

pub use board::Board;
pub use error::RunError;
pub use observer::{Observer, Silent};
pub use run::{Report, Request, RunOptions};
pub use worker::Worker;

/// An open data directory, and this process at work in it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The state.
    pub store: Store,
    /// The bytes.
    pub blobs: Blobs,
    /// The credentials of connections.
    pub vault: Vault,
    data_dir: PathBuf,
    worker: Arc<SignedOn>,
    clock: SharedClock,
    tuning: SourceTuning,
    opener: Arc<dyn Opener>,
    web: Web,
}

/// The worker with its staging folder, which it clears away at the end.
#[derive(Debug)]
struct SignedOn {
    worker: Worker,
    blobs: Blobs,
}

impl Drop for SignedOn {
    fn drop(&mut self) {
        self.blobs.leave();
    }
}

/// A data directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blob files.
    #[error("cannot use the data directory: {0}")]
    Blobs(#[from] BlobError),
    /// The lock file of this process.
    #[error("cannot write to the data directory {data_dir:?}: {error}")]
    Worker {
        /// The data directory.
        data_dir: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Engine {
    /// Opens the data directory, making it if need be, and clears away what dead processes left.
    /// Time and the outside world are passed in.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(
        config: &Config,
        clock: SharedClock,
        opener: Arc<dyn Opener>,
    ) -> Result<Self, OpenError> {
        let data_dir = &config.data_dir;
        let store = Store::open(data_dir)?;
        let worker = Worker::sign_on(data_dir)
            .map_err(|error| OpenError::Worker { data_dir: data_dir.clone(), error })?;
        let blobs = Blobs::open(data_dir, worker.id(), config.min_free)?;
        blobs.clear_staging(|id| worker.is_dead(id))?;
        let keyring = config.keyring.then(|| Arc::new(SystemKeyring) as _);
        Ok(Self {
            vault: Vault::new(store.clone(), data_dir, keyring, clock.clone()),
            store,
            data_dir: data_dir.clone(),
            worker: Arc::new(SignedOn { worker, blobs: blobs.clone() }),
            blobs,
            tuning: config.source_tuning(clock.clone()),
            clock,
            opener,
            web: Web::new(config.allow_private_urls),
        })
    }

    /// Opens the source of a location, with these credentials if it has any of its own.
    ///
    /// # Errors
    /// When its settings cannot work.
    pub async fn connect(
        &self,
        location: &Location,
        credentials: Option<&Credentials>,
        options: &SyncOptions,
    ) -> Result<Arc<dyn Source>, SourceError> {
        self.opener.open(location, credentials, options, &self.tuning).await
    }

    /// Opens the source of a sync, with its connection's credentials.
    ///
    /// # Errors
    /// When its settings cannot work, or its credentials cannot be had.
    pub async fn reach(&self, sync: &Sync) -> Result<Arc<dyn Source>, RunError> {
        let credentials = self.vault.credentials(sync.connection_key).await?;
        Ok(self.connect(&sync.location, credentials.as_ref(), &sync.options).await?)
    }

    /// Where everything of this installation lives.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The time, as this engine sees it.
    #[must_use]
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// This process, as others see it.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker.worker
    }
}
