//! The one writer: a thread that owns the writing connection and runs transactions in turn.

use std::thread;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Result, StoreError};

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// Hands transactions to the writer thread, which ends when the last handle is gone.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Work>,
}

impl Writer {
    /// Transactions that may wait; more make their senders wait, which is the back-pressure.
    const QUEUE: usize = 4;

    pub(super) fn start(mut connection: Connection) -> Result<Self> {
        let (queue, mut waiting) = mpsc::channel::<Work>(Self::QUEUE);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                while let Some(work) = waiting.blocking_recv() {
                    work(&mut connection);
                }
            })
            .map_err(|error| StoreError::DataDir { path: "the writer thread".into(), error })?;
        Ok(Self { queue })
    }

    /// Runs `work` in a transaction of its own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on_connection(move |connection| {
            // IMMEDIATE: wait for another process here, not fail in the middle.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = work(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        })
        .await
    }

    /// See [`super::Store::compact`].
    pub(super) async fn compact(&self) -> Result<()> {
        self.on_connection(|connection| {
            connection.execute_batch(
                "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;",
            )?;
            Ok(())
        })
        .await
    }

    async fn on_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |connection| {
            // Nobody waiting for the answer is no reason not to have done the work.
            let _ = answer.send(work(connection));
        });
        self.queue.send(work).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}
