//! The one writer: a thread that owns the writing connection and runs transactions in turn.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Result, StoreError};

type Write = Box<dyn FnOnce(&mut Connection) + Send>;

/// Sends transactions to the writer thread, which ends when the last handle is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Write>,
}

impl Writer {
    /// Transactions that may wait; more make their senders wait, which is the back-pressure.
    const QUEUE: usize = 4;

    pub(super) fn start(mut connection: Connection) -> Result<Self> {
        let (queue, mut waiting) = mpsc::channel::<Write>(Self::QUEUE);
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                while let Some(work) = waiting.blocking_recv() {
                    work(&mut connection);
                }
            })
            .map_err(StoreError::WriterThread)?;
        Ok(Self { queue })
    }

    /// Runs `work` in a transaction of its own, which its error rolls back.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.on_connection(move |connection| {
            // IMMEDIATE: wait for another process here, not fail in the middle.
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(StoreError::from)?;
            let outcome = work(&transaction)?;
            transaction.commit().map_err(StoreError::from)?;
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

    /// Runs `work` with the connection, outside of any transaction.
    pub(super) async fn on_connection<T, E>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (sender, outcome) = oneshot::channel();
        let work: Write = Box::new(move |connection| {
            // A fault in one transaction, which is rolled back, does not end all those to come.
            let done = catch_unwind(AssertUnwindSafe(|| work(connection)))
                .unwrap_or_else(|_| Err(StoreError::Panicked.into()));
            // A caller that has stopped waiting does not undo the work.
            let _ = sender.send(done);
        });
        self.queue.send(work).await.map_err(|_| StoreError::Stopped)?;
        outcome.await.map_err(|_| StoreError::Stopped)?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::Store;

    /// A refusal by a caller of the store, which is no error of the database.
    #[derive(Debug)]
    enum Refusal {
        NotAllowed,
        Store(StoreError),
    }

    impl From<StoreError> for Refusal {
        fn from(error: StoreError) -> Self {
            Self::Store(error)
        }
    }

    fn write_value(tx: &Transaction<'_>, value: &str) -> Result<()> {
        let insert = "INSERT OR REPLACE INTO installation (name, value) VALUES ('test', ?1)";
        tx.execute(insert, [value])?;
        Ok(())
    }

    #[tokio::test]
    async fn a_write_that_is_refused_for_any_reason_stores_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.write(|tx| write_value(tx, "before")).await.unwrap();
        let refused = store
            .write(|tx| {
                write_value(tx, "refused")?;
                Err::<(), _>(Refusal::NotAllowed)
            })
            .await;
        assert!(matches!(refused, Err(Refusal::NotAllowed)));
        let failed = store
            .write(|tx| {
                write_value(tx, "failed")?;
                tx.execute("no such statement", []).map_err(StoreError::from)?;
                Ok::<_, Refusal>(())
            })
            .await;
        assert!(matches!(failed, Err(Refusal::Store(StoreError::Sqlite(_)))));
        let read = "SELECT value FROM installation WHERE name = 'test'";
        let kept: String =
            store.read(move |db| Ok(db.query_row(read, [], |row| row.get(0))?)).await.unwrap();
        assert_eq!(kept, "before");
    }
}
