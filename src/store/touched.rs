//! The objects that a transaction has touched, to be told of in one event of each kind.

use jiff::Timestamp;
use rusqlite::Transaction;
use serde_json::json;

use super::{
    Result,
    commit::{Target, Work},
    events::{self, About, EventKind},
};

/// Objects to be told of: all counted, some named.
#[derive(Default)]
pub(super) struct Touched {
    count: u64,
    ids: Vec<String>,
}

impl Touched {
    /// Notes an object.
    pub(super) fn note(&mut self, id: impl FnOnce() -> Result<String>) -> Result<()> {
        self.count += 1;
        if self.ids.len() < events::NAMED {
            self.ids.push(id()?);
        }
        Ok(())
    }

    /// Tells of them, if there are any.
    pub(super) fn tell(
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

impl Work<'_> {
    pub(super) fn tell(&self) -> Result<()> {
        self.added.tell(self.tx, EventKind::ObjectsAdded, self.target, self.now)?;
        self.updated.tell(self.tx, EventKind::ObjectsUpdated, self.target, self.now)
    }

    pub(super) fn note_updated(&mut self, object_key: i64) -> Result<()> {
        let tx = self.tx;
        self.updated.note(|| {
            Ok(tx
                .prepare_cached("SELECT id FROM objects WHERE object_key = ?1")?
                .query_row([object_key], |row| row.get(0))?)
        })
    }
}
