//! The state of processing: collections, what waits to be batched, batches with their tasks, the
//! ledger of outcomes, documents.
//!
//! Everything that a processor writes begins with [`processor::check`], as everything that a run of
//! a sync writes begins with its lease.

pub mod batches;
pub mod collections;
pub mod documents;
pub mod members;
pub mod outcomes;
pub mod pauses;
pub mod processor;
pub mod tasks;
pub mod to_batch;

use rusqlite::Transaction;

use super::Result;

/// 128 bits of BLAKE3: of what goes into an extractor, or of what it goes through.
pub type Digest = [u8; 16];

/// Forgets an object that goes: outcomes, documents of all tiers, and the references of those to
/// blobs. Costs a look at two indexes where there is nothing.
pub(super) fn forget_object(tx: &Transaction<'_>, object_key: i64) -> Result<()> {
    documents::remove_of_object(tx, object_key)?;
    tx.prepare_cached("DELETE FROM outcomes WHERE object_key = ?1")?.execute([object_key])?;
    Ok(())
}
