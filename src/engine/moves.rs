//! Renames: a new entry that is, by all that its source tells, one whose old name is gone.
//!
//! While the walk is under way nothing is proved: the old name may be listed yet. So such entries
//! wait, in the store, until the pass has seen everything (`commit` keeps the checkpoint before them,
//! so that a killed run meets them again as new ones). Here they are settled, some at a time: where the
//! old name is proved gone, the entry and its object get the new one, without a byte read; the others
//! are fetched like any other.

use std::collections::HashMap;

use super::{
    RunError,
    plan::{Task, Work},
    run::Run,
    shards::PageId,
};
use crate::{
    model::EntryPath,
    store::{
        StoreError, Transaction,
        checkpoints::Tally,
        entries,
        held_back::{self, HeldBack},
        leases,
    },
};

/// Entries that are settled together.
const AT_ONCE: usize = 1000;

/// The entries that a run held back and has not settled yet, from the first to the last.
pub(super) struct Unsettled<'a> {
    run: &'a Run,
    /// By what names are proved gone: that of a complete pass. `None`: none is, yet.
    tally: Option<Tally>,
    after: i64,
}

impl<'a> Unsettled<'a> {
    pub(super) fn new(run: &'a Run, tally: Option<Tally>) -> Self {
        Self { run, tally, after: 0 }
    }

    /// The next of them, and what is to be done about them; none behind the last one. What was answered
    /// before has to be committed by then: a row that has a new name is not given another.
    pub(super) async fn next(&mut self) -> Result<Vec<(PageId, Work)>, RunError> {
        let (sync_key, after) = (self.run.target.fence.sync_key, self.after);
        let next =
            self.run.store.read(move |db| held_back::next(db, sync_key, after, AT_ONCE)).await?;
        self.after = next.last().map_or(after, |(key, _)| *key);
        let mut gone = self.gone(next.iter().map(|(_, held)| held.row).collect()).await?;
        let settle = |(_, held): (i64, HeldBack)| {
            let HeldBack { page, row, id, path, fingerprint } = held;
            // One new name takes the old one's place; a second one is a copy.
            let task = gone.remove(&row).map_or(Task::Fetch, |_| Task::Rename { row });
            (PageId::from(page), Work { task, id, path, fingerprint, known: None })
        };
        Ok(next.into_iter().map(settle).collect())
    }

    /// The old names, by the keys of their rows, that the pass proves gone: neither listed, nor beneath
    /// what could not be.
    async fn gone(&self, rows: Vec<i64>) -> Result<HashMap<i64, EntryPath>, RunError> {
        let Some(tally) = &self.tally else { return Ok(HashMap::new()) };
        let target = self.run.target;
        let mut old = self
            .run
            .store
            .read(move |db| entries::not_written(db, target.fence.sync_key, target.pass, &rows))
            .await?;
        let scope = self.run.scope();
        old.retain(|key, path| tally.proves_gone(*key, path) && scope.covers(path));
        Ok(old)
    }

    /// Ends it: all have been dealt with.
    pub(super) async fn forget(self) -> Result<(), StoreError> {
        let fence = self.run.target.fence;
        let some = move |tx: &Transaction<'_>| {
            leases::check(tx, fence)?;
            held_back::forget_some(tx, fence.sync_key)
        };
        while self.run.store.write(some).await? {}
        Ok(())
    }
}
