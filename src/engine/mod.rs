//! One run of a sync. Read [`run`] first: it takes the [`lease`] (`begin`), drives the
//! [`pipeline`], which [`walk`]s, filters ([`filter`]), [`plan`]s, [`fetch`]es and [`commit`]s,
//! lets [`reconcile`] remove what is gone, and records the end (`end`). All stages share the
//! [`context`]; imports go in this direction only. [`preview`] shows what a run would do,
//! [`commands`] and `approvals` are what people ask for, [`connections`] makes and tests them,
//! [`collect`] and [`verify`] maintain what runs have stored, [`leftovers`] removes what killed
//! processes have left, [`search_index`] keeps the text index up to date.
//!
//! The engine decides. It contains no SQL, knows no provider's protocol and prints nothing; an
//! It reports what it does to an [`Observer`].

mod approvals;
mod begin;
mod budgets;
pub mod collect;
pub mod commands;
pub mod commit;
pub mod connections;
pub mod context;
mod end;
pub mod error;
mod expand;
pub mod expiry;
pub mod fetch;
pub mod filter;
mod held;
mod known_facts;
pub mod lease;
pub mod leftovers;
mod links;
pub mod live_progress;
pub mod mapping;
pub mod observer;
pub mod pipeline;
pub mod plan;
pub mod preview;
pub mod reconcile;
mod renames;
pub mod request;
pub mod rules;
pub mod run;
mod same_place;
pub mod search_index;
mod shaping;
pub mod shards;
pub mod sync_state;
mod tree;
pub mod verify;
pub mod walk;
pub mod worker;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::budgets::StoredLedger;
use crate::{
    blobs::{BlobError, Blobs},
    clock::SharedClock,
    config::{Config, Hosts, SourceTuning},
    model::{Credentials, Location, SyncOptions},
    secrets::{SystemKeyring, Vault},
    sources::{Opener, Source, SourceError, closings::Closings, oauth::Grants, web::Web},
    store::{Store, StoreError, is_read_only, syncs::Sync},
};

pub use error::RunError;
pub use live_progress::LiveProgress;
pub use observer::{Observer, Silent};
pub use request::{Report, Request, RunOptions};
pub use worker::Worker;

/// An open data directory and this process as a worker in it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The state.
    pub store: Store,
    /// The bytes.
    pub blobs: Blobs,
    /// The credentials of connections.
    pub vault: Vault,
    data_dir: PathBuf,
    worker: Arc<RegisteredWorker>,
    clock: SharedClock,
    tuning: SourceTuning,
    opener: Arc<dyn Opener>,
    web: Web,
    /// How long changes passes may follow a full one.
    full_pass: Duration,
}

/// The worker with its staging folder, which is deleted with it.
#[derive(Debug)]
struct RegisteredWorker {
    worker: Worker,
    blobs: Blobs,
}

impl Drop for RegisteredWorker {
    fn drop(&mut self) {
        self.blobs.delete_staging();
    }
}

/// Why a data directory cannot be opened.
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
    /// Opens the data directory, creating it if necessary, and deletes what dead processes left.
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
        let worker = Worker::register(data_dir)
            .map_err(|error| OpenError::Worker { data_dir: data_dir.clone(), error })?;
        let blobs = Blobs::open(data_dir, worker.id(), config.min_free)?;
        blobs.clear_staging(|id| worker.is_dead(id))?;
        Ok(Self::of(config, clock, opener, (store, blobs, worker)))
    }

    /// Opens an existing data directory to look at what is in it, also where nothing can be
    /// written.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open_to_read(
        config: &Config,
        clock: SharedClock,
        opener: Arc<dyn Opener>,
    ) -> Result<Self, OpenError> {
        let data_dir = &config.data_dir;
        if !is_read_only(data_dir) {
            return Self::open(config, clock, opener);
        }
        let store = Store::open_to_read(data_dir)?;
        let worker = Worker::unregistered(data_dir);
        let blobs = Blobs::to_read(data_dir, worker.id(), config.min_free);
        Ok(Self::of(config, clock, opener, (store, blobs, worker)))
    }

    fn of(
        config: &Config,
        clock: SharedClock,
        opener: Arc<dyn Opener>,
        (store, blobs, worker): (Store, Blobs, Worker),
    ) -> Self {
        let data_dir = &config.data_dir;
        let keyring = config.keyring.then(|| Arc::new(SystemKeyring) as _);
        let mut tuning = config.source_tuning(clock.clone());
        let ledger = StoredLedger { store: store.clone(), clock: clock.clone() };
        tuning.budgets = tuning.budgets.written_in(Arc::new(ledger));
        Self {
            vault: Vault::new(store.clone(), data_dir, keyring, clock.clone()),
            store,
            data_dir: data_dir.clone(),
            worker: Arc::new(RegisteredWorker { worker, blobs: blobs.clone() }),
            blobs,
            tuning,
            clock,
            opener,
            web: Web::new(config.allow_private_urls, config.url_timeout),
            full_pass: Duration::from_secs(u64::from(config.limits.full_pass_hours) * 3600),
        }
    }

    /// Opens the source of a location, with its own credentials if it has any.
    ///
    /// # Errors
    /// When its settings are invalid.
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
    /// When its settings are invalid, or its credentials cannot be read.
    pub async fn open_source(&self, sync: &Sync) -> Result<Arc<dyn Source>, RunError> {
        let credentials = self.vault.credentials(sync.connection_key).await?;
        Ok(self.connect(&sync.location, credentials.as_ref(), &sync.options).await?)
    }

    /// Where providers are reached.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.tuning.hosts
    }

    /// The access tokens of this process.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        &self.tuning.grants
    }

    /// Files that are known to be finished, for whoever watches folders to say.
    #[must_use]
    pub const fn closings(&self) -> &Closings {
        &self.tuning.closings
    }

    /// How long a file has to be left alone to be believed finished.
    #[must_use]
    pub const fn quiet_period(&self) -> Duration {
        self.tuning.quiet_period
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
