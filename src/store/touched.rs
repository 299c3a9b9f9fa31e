//! The objects that a transaction has changed, for one event of each kind.

use jiff::Timestamp;
use rusqlite::Transaction;
use serde_json::json;

use super::{
    Result,
    events::{self, About, EventKind},
    target::Target,
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
