//! The objects that a transaction has changed, for one event of each kind.

use jiff::Timestamp;
use rusqlite::Transaction;
use serde_json::json;

use super::{
    Result,
    commit::{Changes, Target},
    events::{self, About, EventKind},
    uploads::waiting,
};

/// Changed objects: all are counted, some are named.
#[derive(Default)]
pub(super) struct Touched {
    count: u64,
    ids: Vec<String>,
}

impl Touched {
    /// Adds an object.
    pub(super) fn add(&mut self, id: impl FnOnce() -> Result<String>) -> Result<()> {
        self.count += 1;
        if self.ids.len() < events::NAMED {
            self.ids.push(id()?);
        }
        Ok(())
    }

    /// Adds the object of that key.
    pub(super) fn add_object(&mut self, tx: &Transaction<'_>, object_key: i64) -> Result<()> {
        self.add(|| {
            Ok(tx
                .prepare_cached("SELECT id FROM objects WHERE object_key = ?1")?
                .query_row([object_key], |row| row.get(0))?)
        })
    }

    /// Emits the event, if there are any.
    pub(super) fn emit_event(
        &self,
        tx: &Transaction<'_>,
        kind: EventKind,
        target: &Target,
        now: Timestamp,
    ) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let about = About::job(target.fence.sync_key, target.job_key);
        let detail = json!({"count": self.count, "object_ids": self.ids});
        events::append(tx, kind, about, &detail, now)
    }
}

impl Changes<'_> {
    pub(super) fn emit_events(&self) -> Result<()> {
        self.added.emit_event(self.tx, EventKind::ObjectsAdded, self.target, self.now)?;
        self.updated.emit_event(self.tx, EventKind::ObjectsUpdated, self.target, self.now)
    }

    /// Looks at an object that may be about to change.
    pub(super) fn look(&mut self, object_key: i64) -> Result<()> {
        match &mut self.batching {
            Some(batching) => batching.look(self.tx, object_key),
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
