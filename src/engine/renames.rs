//! Renames: a new entry whose source says, by everything it says, that it is an entry that the
//! index has under another name, if that name is gone.
//!
//! During the walk nothing is proved, because the old name may still be listed. So such candidates
//! are held back in the store until the pass has seen everything (the checkpoint stays before them,
//! so that after a crash they are found again as new entries). Then they are decided, some at a
//! time: where the old name is proved gone, the entry and its object get the new name without
//! reading a byte; the others are fetched like any new entry.

use std::collections::HashMap;

use super::{
    RunError,
    context::Run,
    plan::{Action, ActionKind},
    shards::PageId,
};
use crate::{
    model::EntryPath,
    store::{
        StoreError, Transaction,
        checkpoints::Sightings,
        entries,
        held_back::{self, HeldBack},
        leases,
    },
};

/// Candidates that are decided together.
const AT_ONCE: usize = 1000;

/// The candidates that a run held back and has not decided yet, in order.
pub(super) struct RenameCandidates<'a> {
    run: &'a Run,
    /// What a complete pass has seen, which proves that other names are gone; `None`: nothing is
    /// proved yet.
    sightings: Option<Sightings>,
    after: i64,
}

impl<'a> RenameCandidates<'a> {
    pub(super) fn new(run: &'a Run, sightings: Option<Sightings>) -> Self {
        Self { run, sightings, after: 0 }
    }

    /// The next of them with what is to be done about each; empty after the last. What was returned
    /// before has to be committed by then: a row that was renamed is not renamed again.
    pub(super) async fn next(&mut self) -> Result<Vec<(PageId, Action)>, RunError> {
        let (sync_key, after) = (self.run.target.fence.sync_key, self.after);
        let next =
            self.run.store.read(move |db| held_back::next(db, sync_key, after, AT_ONCE)).await?;
        self.after = next.last().map_or(after, |(key, _)| *key);
        let mut gone = self.gone(next.iter().map(|(_, held)| held.row).collect()).await?;
        let decide = |(_, held): (i64, HeldBack)| {
            let HeldBack { page, row, id, path, fingerprint } = held;
            // The first new name replaces the old one; a second one is a copy.
            let kind = gone.remove(&row).map_or(ActionKind::Fetch, |_| ActionKind::Rename { row });
            (PageId::from(page), Action { kind, id, path, fingerprint, known: None })
        };
        Ok(next.into_iter().map(decide).collect())
    }

    /// The old names, by the keys of their rows, that the pass proves gone: neither listed, nor
    /// below a prefix that could not be listed.
    async fn gone(&self, rows: Vec<i64>) -> Result<HashMap<i64, EntryPath>, RunError> {
        let Some(sightings) = &self.sightings else { return Ok(HashMap::new()) };
        let target = self.run.target;
        let mut old = self
            .run
            .store
            .read(move |db| entries::not_written(db, target.fence.sync_key, target.pass, &rows))
            .await?;
        let scope = self.run.removal_scope();
        old.retain(|key, path| sightings.proves_gone(*key, path) && scope.covers(path));
        Ok(old)
    }

    /// Deletes all of them, once each is done.
    pub(super) async fn delete_all(self) -> Result<(), StoreError> {
        let fence = self.run.target.fence;
        let some = move |tx: &Transaction<'_>| {
            leases::check(tx, fence)?;
            held_back::delete_some(tx, fence.sync_key)
        };
        while self.run.store.write(some).await? {}
        Ok(())
    }
}
