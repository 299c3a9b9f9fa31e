//! What one transaction changes of a sync's entries and objects. How each kind of change is applied
//! is in `apply_fetched`, `reevaluate` and `renames`.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::{
    Result, events::EventKind, processing::to_batch::Batching, target::Target, touched::Touched,
    uploads::waiting,
};
use crate::model::{Counts, EntryId};

/// One transaction's changes to entries and objects.
pub(super) struct Changes<'a> {
    pub(super) tx: &'a Transaction<'a>,
    pub(super) target: &'a Target,
    pub(super) now: Timestamp,
    pub(super) counts: Counts,
    /// Objects that the bucket gained.
    pub(super) objects: i64,
    /// Bytes that the bucket gained.
    pub(super) bytes: i64,
    /// The largest object key in use, once it is known.
    pub(super) last_object: Option<i64>,
    /// Objects that are new.
    pub(super) added: Touched,
    /// Objects that are changed.
    pub(super) updated: Touched,
    /// What is noted for processing; `None` where the bucket has no collection.
    pub(super) batching: Option<Batching>,
    /// Whether anything in the trash came from this sync.
    pub(super) has_trash: bool,
}

impl Changes<'_> {
    /// Records that an entry exists, whatever happened to the version that was fetched.
    pub(super) fn mark_seen(&self, id: &EntryId) -> Result<()> {
        self.tx
            .prepare_cached("UPDATE entries SET pass = ?3 WHERE sync_key = ?1 AND source_id = ?2")?
            .execute(params![self.target.fence.sync_key, id.as_bytes(), self.target.pass])?;
        Ok(())
    }

    pub(super) fn emit_events(&self) -> Result<()> {
        self.added.emit_event(self.tx, EventKind::ObjectsAdded, self.target, self.now)?;
        self.updated.emit_event(self.tx, EventKind::ObjectsUpdated, self.target, self.now)
    }

    /// Notes the state of an object that may be about to change.
    pub(super) fn before_change(&mut self, object_key: i64) -> Result<()> {
        match &mut self.batching {
            Some(batching) => batching.before_change(self.tx, object_key),
            None => Ok(()),
        }
    }

    pub(super) fn note_updated(&mut self, object_key: i64) -> Result<()> {
        let tx = self.tx;
        waiting::follow(tx, object_key, self.now)?;
        if let Some(batching) = &self.batching {
            batching.updated(tx, object_key)?;
        }
        self.updated.add_object(tx, object_key)
    }
}
