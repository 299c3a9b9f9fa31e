//! What to do about each entry of a page: compare it with the index, cheaply, and say.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;

use super::{
    RunError,
    filter::{Filter, Rule, Unmet},
    run::Run,
};
use crate::{
    model::{
        Counts, Entry, EntryId, EntryKind, EntryPath, Fingerprint, Reconcile, SkipReason,
        SyncOptions,
    },
    sources::Page,
    store::{
        self, Connection,
        dead_letters::{self, Failure, Open},
        entries::{self, Judge, Known},
    },
};

/// A page of the listing, decided.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is to be fetched.
    pub work: Vec<Work>,
    /// What looks like an entry of another name, to be fetched only if it is not.
    pub renamed: Vec<Renamed>,
    /// Entries that cost nothing more: unchanged and filtered ones, and failed ones that wait.
    pub passed: Counts,
    /// The dead letters of those that wait.
    pub waiting: Vec<i64>,
    /// Entries that failed without a fetch.
    pub failed: Vec<Failure>,
    /// Keys of rows whose entries are there and are left alone.
    pub seen: Vec<u64>,
    /// Keys of rows whose entries are there but no longer pass.
    pub drifted: Vec<u64>,
    /// Prefixes that could not be listed.
    pub unlisted: Vec<EntryPath>,
    /// Keys of what is remembered of entries that were left out for more than their listing.
    pub left_out: Vec<i64>,
}

/// An entry to be fetched, or to be looked at anew.
#[derive(Clone, Debug)]
pub struct Work {
    /// What is to be done.
    pub task: Task,
    /// The source's name for it.
    pub id: EntryId,
    /// Its path from the root.
    pub path: EntryPath,
    /// What the listing tells about it.
    pub fingerprint: Fingerprint,
    /// The key of its row, if it has one.
    pub known: Option<u64>,
}

/// A new entry that may be one which the index has under another name. Whether that is gone, only
/// the end of the pass proves.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// What it is otherwise.
    pub work: Work,
    /// The key of the row that it may be.
    pub row: i64,
}

/// What is to be done about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Fetch its bytes.
    Fetch,
    /// Decide about it anew: its bytes are here, but the settings are others by now.
    Rejudge {
        /// Whether its version is still the one that was taken.
        is_same: bool,
    },
    /// Take its name for the new one of an entry whose old one is gone: its bytes are here.
    Rename {
        /// The key of that entry's row.
        row: i64,
    },
}

impl Task {
    /// What is to be done about an entry that turns out to have changed.
    #[must_use]
    pub const fn of_changed(self, reconcile: &Reconcile) -> Self {
        match self {
            Self::Rejudge { .. } if !reconcile.on_update => Self::Rejudge { is_same: false },
            Self::Fetch | Self::Rejudge { .. } | Self::Rename { .. } => Self::Fetch,
        }
    }
}

impl Work {
    /// How many bytes are to be fetched.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self.task {
            Task::Fetch => self.fingerprint.size,
            Task::Rejudge { .. } | Task::Rename { .. } => 0,
        }
    }

    /// The key of the row by which it was taken, where its bytes are here.
    #[must_use]
    pub fn row(&self) -> Option<i64> {
        match self.task {
            Task::Fetch => None,
            Task::Rejudge { .. } => self.known.and_then(|key| i64::try_from(key).ok()),
            Task::Rename { row } => Some(row),
        }
    }
}

impl Plan {
    /// How many entries the page had.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let acted_on = self.failed.len() + self.work.len() + self.renamed.len();
        self.passed.discovered() + acted_on as u64
    }
}

/// What is to be done about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'f> {
    /// Fetch it: it is new.
    Add,
    /// Fetch it: it has changed, or everything is to be fetched.
    Update,
    /// Decide anew what it becomes, without its bytes: the bucket has it, but by other settings.
    Rejudge {
        /// Whether its version is still the one that was taken.
        is_same: bool,
    },
    /// Nothing: the bucket has it.
    Leave,
    /// Nothing: it does not pass this rule.
    Exclude(Rule<'f>),
    /// Nothing: it is left out for what it is.
    Skip(SkipReason),
    /// Nothing can be done.
    Fail,
}

/// What a pass that does not write an entry's row has to remember of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It is still there.
    Seen,
    /// It is still there, but is no longer to be taken.
    Drifted,
}

/// Decides about an entry, given what the index knows of it. The one place where that is decided,
/// for a run and for a preview of one.
#[must_use]
pub fn decide<'f>(
    filter: &'f Filter,
    reconcile: &Reconcile,
    full: bool,
    entry: &Entry,
    known: &Known,
) -> Decision<'f> {
    let facts = match &entry.kind {
        EntryKind::File(facts) => facts,
        EntryKind::Skipped(reason) => return Decision::Skip(*reason),
        EntryKind::Unreadable { .. } => return Decision::Fail,
    };
    if let Some(rule) = filter.refuses(&entry.path, facts) {
        return Decision::Exclude(rule);
    }
    match known {
        Known::Same { .. } if full => Decision::Update,
        Known::LeftOut { unmet, .. } => match filter.rule_of(Unmet(*unmet)) {
            Some(rule) => Decision::Exclude(rule),
            None => Decision::Add,
        },
        Known::No => Decision::Add,
        Known::Other { .. } if reconcile.on_update => Decision::Update,
        Known::Same { is_settled: false, .. } => Decision::Rejudge { is_same: true },
        Known::Other { is_settled: false, .. } => Decision::Rejudge { is_same: false },
        Known::Same { .. } | Known::Other { .. } => Decision::Leave,
    }
}

impl Decision<'_> {
    /// What to remember of an entry that this was decided about, should it have a row; `None` where
    /// the fetch that follows decides.
    #[must_use]
    pub const fn memory(&self) -> Option<Memory> {
        match self {
            Self::Add | Self::Update | Self::Rejudge { .. } => None,
            // What was taken before it was archived is still its content.
            Self::Leave | Self::Fail | Self::Skip(SkipReason::Archived) => Some(Memory::Seen),
            Self::Exclude(_) | Self::Skip(_) => Some(Memory::Drifted),
        }
    }
}

/// Decides a page.
pub(super) async fn plan(run: &Arc<Run>, page: Page) -> Result<Plan, RunError> {
    if page.entries.is_empty() {
        return Ok(Plan { unlisted: page.unlisted, ..Plan::default() });
    }
    let reader = run.clone();
    let (page, index) = run
        .store
        .read(move |db| {
            let index = Index::read(db, &reader, &page)?;
            Ok((page, index))
        })
        .await?;
    let mut plan = Plan { unlisted: page.unlisted, ..Plan::default() };
    for (position, entry) in page.entries.into_iter().enumerate() {
        plan.add(run, entry, position, &index);
    }
    Ok(plan)
}

/// What the index has for a page.
struct Index {
    known: Vec<Known>,
    letters: HashMap<EntryId, Open>,
    /// For new entries, by position: the one row that each may have been before it was renamed.
    twins: HashMap<usize, i64>,
}

impl Index {
    fn read(db: &Connection, run: &Run, page: &Page) -> store::Result<Self> {
        let sync_key = run.target.fence.sync_key;
        let judge = run.rules.judge(run.options.full);
        let known = compare(db, sync_key, page, judge)?;
        let ids = page.entries.iter().map(|entry| &entry.id);
        let letters = dead_letters::among(db, sync_key, ids)?;
        let mut twins = HashMap::new();
        if run.follows_renames() {
            for (position, (entry, known)) in page.entries.iter().zip(&known).enumerate() {
                if *known == Known::No
                    && let EntryKind::File(facts) = &entry.kind
                    && let Some(identity) = run.source.identity(facts)
                {
                    let twin = entries::only_one_like(db, sync_key, run.target.pass, identity)?;
                    twins.extend(twin.map(|row| (position, row)));
                }
            }
        }
        Ok(Self { known, letters, twins })
    }
}

/// Whether an entry that was renamed takes its object along: only where both a removal and a change
/// reach the bucket, and no entry is to be read again.
pub(super) fn follows_renames(options: &SyncOptions, full: bool) -> bool {
    options.reconcile.on_delete && options.reconcile.on_update && !full
}

/// Whether an entry that failed before is not to be tried now. Another version than the one that
/// failed always is.
pub(super) fn has_to_wait(letter: &Open, kind: &EntryKind, now: Timestamp, full: bool) -> bool {
    let is_another = match (&letter.version, kind) {
        (None, _) => false,
        (Some(failed), EntryKind::File(facts)) => *failed != facts.version,
        (Some(_), EntryKind::Skipped(_) | EntryKind::Unreadable { .. }) => true,
    };
    !is_another && !letter.life.is_due(now, full)
}

/// Looks a page's entries up in the index.
pub(super) fn compare(
    db: &Connection,
    sync_key: i64,
    page: &Page,
    judge: Judge,
) -> store::Result<Vec<Known>> {
    let ids = page.entries.iter().map(|entry| match &entry.kind {
        EntryKind::File(facts) => (&entry.id, Some(&facts.version)),
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => (&entry.id, None),
    });
    entries::compare(db, sync_key, ids, judge)
}

impl Plan {
    fn add(&mut self, run: &Run, entry: Entry, position: usize, index: &Index) {
        let known = &index.known[position];
        let settings = &run.sync.options.reconcile;
        let decision = decide(&run.rules.filter, settings, run.options.full, &entry, known);
        let row = known.row();
        if let Known::LeftOut { left_out_key, .. } = known {
            self.left_out.push(*left_out_key);
        }
        match decision.memory() {
            Some(Memory::Seen) => self.seen.extend(row),
            Some(Memory::Drifted) => self.drifted.extend(row),
            None => {}
        }
        match decision {
            Decision::Leave => self.passed.unchanged += 1,
            Decision::Exclude(_) => self.passed.filtered += 1,
            Decision::Skip(reason) => {
                self.passed.filtered += 1;
                run.observer.skipped(reason);
            }
            Decision::Add | Decision::Update | Decision::Fail => {
                let letter = index.letters.get(&entry.id);
                let (now, full) = (run.clock.now(), run.options.full);
                match letter.filter(|letter| has_to_wait(letter, &entry.kind, now, full)) {
                    Some(letter) => {
                        self.seen.extend(row);
                        self.waiting.push(letter.key);
                        self.passed.failed += 1;
                    }
                    None => {
                        let twin = index.twins.get(&position).filter(|_| letter.is_none());
                        self.act(entry, row, Task::Fetch, twin.copied());
                    }
                }
            }
            Decision::Rejudge { is_same } => self.act(entry, row, Task::Rejudge { is_same }, None),
        }
    }

    /// Takes an entry up that is to be fetched, or has failed already.
    fn act(&mut self, entry: Entry, known: Option<u64>, task: Task, twin: Option<i64>) {
        let Entry { id, path, kind } = entry;
        match kind {
            EntryKind::File(fingerprint) => {
                let work = Work { task, id, path, fingerprint, known };
                match twin {
                    Some(row) => self.renamed.push(Renamed { work, row }),
                    None => self.work.push(work),
                }
            }
            EntryKind::Unreadable { error_type, message } => {
                let message = error_type.with_way_out(&message);
                self.failed.push(Failure { id, path, version: None, error_type, message });
            }
            EntryKind::Skipped(_) => {}
        }
    }
}
