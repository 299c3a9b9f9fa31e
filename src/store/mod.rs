//! The state: one SQLite database. All SQL lives here, in one file an aggregate, whose functions
//! are named for what happens and take the transaction, so that callers see what commits together.
//!
//! [`Store::write`] runs a closure in one transaction on the single writer thread;
//! [`Store::read`] runs one on a pooled connection. Several processes may share a database:
//! SQLite's own locking keeps them apart, and leases keep their runs apart. What does not live
//! here: the bytes of large blobs, decisions about entries, network.

pub mod access_keys;
pub mod analytics;
mod apply_fetched;
mod below;
pub mod blobs;
pub mod bucket_deletion;
pub mod buckets;
pub mod budgets;
mod changed_objects;
mod changes;
pub mod checkpoints;
mod clause;
pub mod command_line_syncs;
pub mod commit;
pub mod connections;
pub mod dead_letters;
pub mod edits;
pub mod entries;
mod error;
pub mod events;
pub mod feeds;
mod fetched;
mod filter;
pub mod folders;
mod functions;
pub mod gone;
pub mod held_back;
mod holder;
mod inherit;
pub mod installation;
pub mod jobs;
mod json;
pub mod leases;
pub mod left_out;
pub mod links;
mod log;
mod migrate;
pub mod namespaces;
mod new_entries;
pub mod objects;
mod open;
pub mod outlines;
pub mod overview;
pub mod places;
mod prefix;
pub mod probe;
pub mod processing;
pub mod progress;
pub mod reconcile;
pub mod reevaluate;
mod remove;
pub mod renames;
mod row_position;
pub mod schedule;
pub mod secrets;
pub mod sessions;
pub mod settings;
pub mod several_parents;
pub mod shape;
pub mod snapshot;
mod stored;
pub mod syncs;
pub mod syncs_list;
mod target;
pub mod thumbnails;
mod time;
pub mod totals;
mod touched;
pub mod trash;
pub mod tree;
mod two_level_index;
pub mod unique_keys;
pub mod unplaced;
pub mod uploads;
pub mod webhooks;
mod write_order;
mod writer;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::TransactionBehavior;
pub use rusqlite::{Connection, Transaction};

pub use error::StoreError;
pub use open::{DATABASE_FILE, RESTORING_FILE, is_read_only};
pub use row_position::RowPosition;
use writer::Writer;

/// Result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A handle on the database; clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// `None` where nothing can be written.
    writer: Option<Writer>,
    /// Idle read connections; one is opened when a reader finds none.
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Idle read connections that are kept; more are opened under load and closed after.
    const IDLE_READERS: usize = 16;

    /// Of those, the ones that keep the pages that they have read in memory, 4 MiB each at most.
    const WARM_READERS: usize = 4;

    /// Opens the database in `data_dir`, creating the directory (mode 0700) and the database if
    /// need be, and bringing an older one up to date.
    ///
    /// # Errors
    /// When the directory cannot be used, or the database is damaged or from a newer version.
    pub fn open(data_dir: &std::path::Path) -> Result<Self> {
        let path = open::prepare(data_dir)?;
        let writer = Some(Writer::start(open::connect_writer(&path)?)?);
        Ok(Self { shared: Arc::new(Shared { path, writer, readers: Mutex::default() }) })
    }

    /// Opens the database in `data_dir` to look at it, also where nothing can be written: every
    /// [`Store::write`] fails then.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_to_read(data_dir: &std::path::Path) -> Result<Self> {
        if !is_read_only(data_dir) {
            return Self::open(data_dir);
        }
        let path = open::find(data_dir)?;
        Ok(Self { shared: Arc::new(Shared { path, writer: None, readers: Mutex::default() }) })
    }

    /// Runs `work` in one transaction, which commits if it returns `Ok` and rolls back on every
    /// `Err`, whatever its type: a refusal is an `Err` like any other, never an `Ok(Err(_))`.
    /// When this returns `Ok` the changes are durable.
    ///
    /// # Errors
    /// The closure's, or SQLite's when the transaction cannot begin or commit.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.shared.writer()?.run(work).await
    }

    /// Runs `work` on a consistent snapshot of the database.
    ///
    /// # Errors
    /// The closure's, or SQLite's.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.read(work))
            .await
            .map_err(|_| StoreError::Stopped)?
    }

    /// [`Store::read`] for work that has errors of its own.
    ///
    /// # Errors
    /// The closure's, or SQLite's.
    pub async fn read_or<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        self.read(move |connection| Ok(work(connection))).await?
    }

    /// [`Store::read`] for callers that are on a blocking thread already.
    ///
    /// # Errors
    /// The closure's, or SQLite's.
    pub fn read_blocking<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.shared.read(work)
    }

    /// Runs `work` with the writing connection, between transactions: for what belongs to the
    /// connection, such as SQLite's hooks into commits, with which a test ends its process at one.
    ///
    /// # Errors
    /// The closure's.
    pub async fn on_writer(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.shared.writer()?.on_connection(work).await
    }

    /// Gives the space of removed rows back to the filesystem, and empties the write-ahead log.
    ///
    /// # Errors
    /// SQLite's.
    pub async fn compact(&self) -> Result<()> {
        self.shared.writer()?.compact().await
    }
}

impl Shared {
    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or(StoreError::ReadOnly)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open::connect_reader(&self.path, self.writer.is_some())?,
        };
        let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let outcome = work(&snapshot);
        drop(snapshot);
        let idle = self.idle().len();
        if (Store::WARM_READERS..Store::IDLE_READERS).contains(&idle) {
            connection.execute_batch("PRAGMA shrink_memory")?;
        }
        let mut readers = self.idle();
        if readers.len() < Store::IDLE_READERS {
            readers.push(connection);
        }
        outcome
    }
}
