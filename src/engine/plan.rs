//! What to do about each entry of a page: compare it with the index, cheaply, and say.

use std::sync::Arc;

use super::{RunError, run::Run};
use crate::{
    model::{Counts, Cursor, EntryId, EntryKind, EntryPath, Fingerprint, SkipReason},
    sources::Page,
    store::{
        dead_letters::Failure,
        entries::{self, Known},
    },
};

/// A page of the listing, decided.
#[derive(Debug, Default)]
pub struct Plan {
    /// Where the walk goes on once the page is dealt with.
    pub cursor: Option<Cursor>,
    /// What is to be fetched.
    pub work: Vec<Work>,
    /// Entries that cost nothing more: unchanged and filtered ones.
    pub passed: Counts,
    /// Entries that failed without a fetch.
    pub failed: Vec<Failure>,
    /// Keys of rows whose entries are there and are left alone.
    pub seen: Vec<u64>,
    /// Keys of rows whose entries are there but no longer pass.
    pub drifted: Vec<u64>,
    /// Prefixes that could not be listed.
    pub unlisted: Vec<EntryPath>,
}

/// An entry to be fetched.
#[derive(Clone, Debug)]
pub struct Work {
    /// The source's name for it.
    pub id: EntryId,
    /// Its path from the root.
    pub path: EntryPath,
    /// What the listing tells about it.
    pub fingerprint: Fingerprint,
    /// The key of its row, if it has one.
    pub known: Option<u64>,
}

impl Plan {
    /// How many entries the page had.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.passed.discovered() + (self.failed.len() + self.work.len()) as u64
    }
}

/// Decides a page.
pub(super) async fn plan(run: &Arc<Run>, page: Page) -> Result<Plan, RunError> {
    let sync_key = run.target.fence.sync_key;
    let (page, known) = run
        .store
        .read(move |db| {
            let ids = page.entries.iter().map(|entry| (&entry.id, version_of(&entry.kind)));
            let known = entries::compare(db, sync_key, ids)?;
            Ok((page, known))
        })
        .await?;
    let mut plan = Plan { cursor: page.cursor, unlisted: page.unlisted, ..Plan::default() };
    for (entry, known) in page.entries.into_iter().zip(known) {
        match entry.kind {
            EntryKind::File(fingerprint) => {
                plan.file(run, entry.id, entry.path, fingerprint, &known);
            }
            EntryKind::Skipped(reason) => {
                run.observer.skipped(reason);
                plan.skipped(reason, &known);
            }
            EntryKind::Unreadable { error_type, message } => {
                plan.seen.extend(row(&known));
                plan.failed.push(Failure { id: entry.id, path: entry.path, error_type, message });
            }
        }
    }
    Ok(plan)
}

fn version_of(kind: &EntryKind) -> Option<&crate::model::Version> {
    match kind {
        EntryKind::File(fingerprint) => Some(&fingerprint.version),
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => None,
    }
}

fn row(known: &Known) -> Option<u64> {
    known.entry_key().and_then(|key| u64::try_from(key).ok())
}

impl Plan {
    fn file(
        &mut self,
        run: &Run,
        id: EntryId,
        path: EntryPath,
        fingerprint: Fingerprint,
        known: &Known,
    ) {
        if run.filter.refuses(&path, &fingerprint).is_some() {
            self.passed.filtered += 1;
            self.drifted.extend(row(known));
            return;
        }
        let leave = match known {
            Known::No => false,
            Known::Same { .. } => !run.options.full,
            Known::Other { .. } => !run.sync.options.reconcile.on_update,
        };
        if leave {
            self.passed.unchanged += 1;
            self.seen.extend(row(known));
        } else {
            self.work.push(Work { id, path, fingerprint, known: row(known) });
        }
    }

    fn skipped(&mut self, reason: SkipReason, known: &Known) {
        self.passed.filtered += 1;
        match reason {
            // What was taken before it was archived is still its content.
            SkipReason::Archived => self.seen.extend(row(known)),
            SkipReason::Symlink | SkipReason::SymlinkEscapes | SkipReason::SpecialFile => {
                self.drifted.extend(row(known));
            }
        }
    }
}
