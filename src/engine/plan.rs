//! What to do about each entry of a page, decided by comparing it with the index.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    RunError,
    context::{PassKind, Run},
    filter::{Filter, Rule, Unmet},
    request::RunOptions,
    tree::TreeView,
};
use crate::{
    model::{
        Counts, Details, Entry, EntryId, EntryKind, EntryPath, Fingerprint, Patience, Reconcile,
        SkipReason, Version,
    },
    sources::{Page, VersionMatch},
    store::{
        self, Connection,
        dead_letters::{self, Failure, Open},
        entries::{self, CurrentRules, Known},
        left_out::LeftOut,
        places::{self, Placement},
        unplaced::Unplaced,
    },
};

/// A page of the listing, decided.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is to be done.
    pub actions: Vec<Action>,
    /// New entries that may be renamed ones.
    pub rename_candidates: Vec<RenameCandidate>,
    /// Entries that need nothing more: unchanged, filtered, and failed ones that are not due.
    pub counts: Counts,
    /// The dead letters of those that are not due.
    pub waiting: Vec<i64>,
    /// Entries that failed without a fetch.
    pub failed: Vec<Failure>,
    /// Keys of rows whose entries are listed and stay as they are.
    pub seen: Vec<u64>,
    /// Keys of rows whose entries are listed but no longer pass the filters.
    pub drifted: Vec<u64>,
    /// Prefixes that could not be listed.
    pub unlisted: Vec<EntryPath>,
    /// Keys of the `left_out` rows of listed entries.
    pub left_out: Vec<i64>,
    /// Outlined entries that the filters leave out, to be remembered.
    pub excluded: Vec<LeftOut>,
    /// Entries whose folder is not known yet.
    pub unplaced: Vec<Unplaced>,
    /// Keys of the `unplaced_entries` that the page consists of.
    pub placed: Vec<i64>,
    /// Keys of rows whose entries are below no root any more.
    pub outside: Vec<u64>,
}

/// What is to be done about an entry.
#[derive(Clone, Debug)]
pub struct Action {
    /// Which kind of action.
    pub kind: ActionKind,
    /// The source's name for it.
    pub id: EntryId,
    /// Its path from the root.
    pub path: EntryPath,
    /// What the listing says about it.
    pub fingerprint: Fingerprint,
    /// The key of its row, if it has one.
    pub known: Option<u64>,
}

/// A new entry that may be one that the index has under another name. Whether that name is gone is
/// only proved at the end of the pass.
#[derive(Clone, Debug)]
pub struct RenameCandidate {
    /// What is to be done if it is not.
    pub action: Action,
    /// The key of the row that it may belong to.
    pub row: i64,
}

/// A kind of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Fetch its bytes.
    Fetch,
    /// Evaluate it again: its bytes are stored, but the settings have changed.
    Reevaluate {
        /// Whether its version is still the stored one.
        is_same: bool,
    },
    /// Rename the entry whose old name is gone: its bytes are stored.
    Rename {
        /// The key of that entry's row.
        row: i64,
    },
}

impl ActionKind {
    /// What is to be done about an entry that turns out to have changed since it was listed.
    #[must_use]
    pub const fn after_change(self, reconcile: &Reconcile) -> Self {
        match self {
            Self::Reevaluate { .. } if !reconcile.on_update => Self::Reevaluate { is_same: false },
            Self::Fetch | Self::Reevaluate { .. } | Self::Rename { .. } => Self::Fetch,
        }
    }
}

impl Action {
    /// How many bytes are to be fetched.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self.kind {
            ActionKind::Fetch => self.fingerprint.size,
            ActionKind::Reevaluate { .. } | ActionKind::Rename { .. } => 0,
        }
    }

    /// Its entry was looked at again: it is as it is now, in the place where the listing has it.
    pub(super) fn looked_at_again(&mut self, mut fingerprint: Fingerprint) {
        if let Some(Details { place: Some(place), further, .. }) =
            self.fingerprint.details.take().map(|details| *details)
        {
            let details = fingerprint.details.get_or_insert_default();
            (details.place, details.further) = (Some(place), further);
        }
        self.fingerprint = fingerprint;
    }

    /// The key of its row, if it has one.
    #[must_use]
    pub fn known_row(&self) -> Option<i64> {
        self.known.and_then(|key| i64::try_from(key).ok())
    }

    /// The key of its row, where its bytes are stored.
    #[must_use]
    pub fn row(&self) -> Option<i64> {
        match self.kind {
            ActionKind::Fetch => None,
            ActionKind::Reevaluate { .. } => self.known_row(),
            ActionKind::Rename { row } => Some(row),
        }
    }
}

impl Plan {
    /// How many entries the page had.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let others = self.failed.len() + self.actions.len() + self.rename_candidates.len();
        self.counts.discovered() + others as u64
    }

    /// How many entries it takes up: new, changed or failed ones.
    #[must_use]
    pub fn taken_up(&self) -> u64 {
        (self.failed.len() + self.actions.len() + self.rename_candidates.len()) as u64
    }

    /// Limits it to `most` entries that are taken up. Returns whether there were more: then the
    /// page will be listed again, and nothing else of it counts.
    pub fn cut_off(&mut self, most: u64) -> bool {
        if self.taken_up() <= most {
            return false;
        }
        let mut left = usize::try_from(most).unwrap_or(usize::MAX);
        self.failed.truncate(left);
        left -= self.failed.len();
        self.rename_candidates.truncate(left);
        left -= self.rename_candidates.len();
        self.actions.truncate(left);
        self.counts = Counts::default();
        true
    }
}

/// What is to be done about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'f> {
    /// Fetch it: it is new.
    Add,
    /// Fetch it: it has changed, or everything is to be fetched.
    Update,
    /// Evaluate it again without fetching it: it was stored under other settings.
    Reevaluate {
        /// Whether its version is still the stored one.
        is_same: bool,
    },
    /// Nothing: the bucket has it.
    Leave,
    /// Nothing: it does not pass this rule.
    Exclude(Rule<'f>),
    /// Nothing: entries of its kind are skipped.
    Skip(SkipReason),
    /// Nothing can be done.
    Fail,
}

/// What a pass records of an entry whose row it does not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It still exists.
    Seen,
    /// It still exists, but no longer passes the filters.
    Drifted,
}

/// Decides about an entry, given what the index knows of it. This is the only place where that is
/// decided, for runs and for previews.
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
        Known::Same { is_fetched: false, .. } if full => Decision::Update,
        Known::LeftOut { unmet, .. } => match filter.rule_of(Unmet(*unmet)) {
            Some(rule) => Decision::Exclude(rule),
            None => Decision::Add,
        },
        Known::No => Decision::Add,
        Known::Other { .. } if reconcile.on_update => Decision::Update,
        Known::Same { is_current, is_relisted, .. } if !is_current || *is_relisted => {
            Decision::Reevaluate { is_same: true }
        }
        Known::Other { is_current: false, .. } => Decision::Reevaluate { is_same: false },
        Known::Same { .. } | Known::Other { .. } => Decision::Leave,
    }
}

impl SkipReason {
    /// What a pass records of an entry that it skips for this reason.
    pub(super) const fn sighting(self) -> Sighting {
        match self {
            // What was stored before is still its content, or may be.
            Self::Archived | Self::FailedBefore | Self::StillArriving => Sighting::Seen,
            Self::Symlink
            | Self::SymlinkEscapes
            | Self::SpecialFile
            | Self::NoContent
            | Self::DanglingLink
            | Self::Shortcut
            | Self::Elsewhere
            | Self::NoProxy
            | Self::NoProxyYet
            | Self::OtherPath => Sighting::Drifted,
        }
    }

    /// Whether an outlined entry that is skipped for this reason is not asked for its files again
    /// until it changes, is moved, or the filters are others.
    pub(super) const fn is_lasting(self) -> bool {
        matches!(self, Self::NoProxy | Self::OtherPath)
    }
}

impl Decision<'_> {
    /// What to record of an entry with this decision if it has a row; `None` where the action that
    /// follows decides.
    #[must_use]
    pub const fn sighting(&self) -> Option<Sighting> {
        match self {
            Self::Add | Self::Update | Self::Reevaluate { .. } => None,
            Self::Leave | Self::Fail => Some(Sighting::Seen),
            Self::Skip(reason) => Some(reason.sighting()),
            Self::Exclude(_) => Some(Sighting::Drifted),
        }
    }
}

/// Decides about the entries of a page.
pub(super) async fn plan(
    run: &Arc<Run>,
    shard: usize,
    mut page: Page,
    placed: Vec<i64>,
) -> Result<Plan, RunError> {
    if page.entries.is_empty() {
        return Ok(Plan { unlisted: page.unlisted, placed, ..Plan::default() });
    }
    if run.has_order() {
        keep_last(&mut page.entries);
    }
    let reader = run.clone();
    let (page, index, mut plan) = run
        .store
        .read(move |db| {
            let mut plan = Plan { placed, ..Plan::default() };
            if reader.profile.is_by_id() {
                place(db, &reader, shard, &mut page, &mut plan)?;
            }
            let index = Index::read(db, &reader, &page)?;
            Ok((page, index, plan))
        })
        .await?;
    plan.unlisted = page.unlisted;
    for (position, entry) in page.entries.into_iter().enumerate() {
        plan.add(run, entry, position, &index);
    }
    Ok(plan)
}

/// Of entries that a page has more than once, keeps the last occurrence.
fn keep_last(entries: &mut Vec<Entry>) {
    let mut seen = HashSet::new();
    let is_last: Vec<bool> =
        entries.iter().rev().map(|entry| seen.insert(entry.id.clone())).collect();
    let mut is_last = is_last.into_iter().rev();
    entries.retain(|_| is_last.next().unwrap_or(true));
}

/// Gives entries their paths, and takes those out of the page that have none: because their folder
/// is below no root, or is not known yet.
fn place(
    db: &Connection,
    run: &Run,
    shard: usize,
    page: &mut Page,
    plan: &mut Plan,
) -> store::Result<()> {
    let sync_key = run.target.fence.sync_key;
    let view = TreeView::of(run);
    let mut places = view.places(db);
    for mut entry in std::mem::take(&mut page.entries) {
        let mut folders = entry.folders();
        if folders.is_empty() {
            page.entries.push(entry);
            continue;
        }
        let (first, placement) = places.of_first(&folders, run.kind == PassKind::Full)?;
        match placement {
            Placement::Inside(folder) => {
                let name = entry.path.as_bytes().to_vec();
                entry.path = places::below(&folder, &name);
                if let EntryKind::File(file) = &mut entry.kind {
                    let parent = folders.swap_remove(first);
                    file.details.get_or_insert_default().place = Some((parent, name));
                }
                page.entries.push(entry);
            }
            Placement::Outside => {
                let row = entries::key_of(db, sync_key, &entry.id)?;
                plan.outside.extend(row.and_then(|row| u64::try_from(row).ok()));
            }
            Placement::Unknown(_) => {
                let shard = run.starts[shard].shard.name().to_owned();
                let waits_for = folders.swap_remove(first);
                plan.unplaced.push(Unplaced { shard, entry, waits_for });
            }
        }
    }
    Ok(())
}

/// What the index has for a page.
struct Index {
    known: Vec<Known>,
    letters: HashMap<EntryId, Open>,
    /// For new entries, by position: the row that each may have had before it was renamed.
    rename_sources: HashMap<usize, i64>,
}

impl Index {
    fn read(db: &Connection, run: &Run, page: &Page) -> store::Result<Self> {
        let sync_key = run.target.fence.sync_key;
        let rules = run.rules.current(run.full_since);
        let is_same = |stored: &[u8], listed: &Version| {
            run.source.compare(stored, listed) == VersionMatch::Same
        };
        let known = compare(db, sync_key, page, rules, is_same)?;
        let ids = page.entries.iter().map(|entry| &entry.id);
        let letters = dead_letters::among(db, sync_key, ids)?;
        let mut rename_sources = HashMap::new();
        if run.follows_renames() {
            for (position, (entry, known)) in page.entries.iter().zip(&known).enumerate() {
                if *known == Known::No
                    && let EntryKind::File(facts) = &entry.kind
                    && let Some(identity) = run.source.identity(facts)
                {
                    let row = entries::only_one_like(db, sync_key, run.target.pass, identity)?;
                    rename_sources.extend(row.map(|row| (position, row)));
                }
            }
        }
        Ok(Self { known, letters, rename_sources })
    }
}

impl Run {
    /// Whether an entry that failed before is not tried: it is not due yet, or has failed in this
    /// very run.
    fn lets_wait(&self, letter: &Open, kind: &EntryKind) -> bool {
        if letter.job_key == Some(self.target.job_key) && !is_another(letter, kind) {
            return true;
        }
        let patience = Patience::of(&self.options, self.full_since.is_some());
        has_to_wait(letter, kind, self.clock.now(), patience)
    }
}

impl Patience {
    /// That of a run with these options.
    #[must_use]
    pub const fn of(options: &RunOptions, full: bool) -> Self {
        match (options.tries_waiting, full) {
            (true, _) => Self::None,
            (false, true) => Self::UntilQuarantine,
            (false, false) => Self::Full,
        }
    }
}

/// Whether an entry that failed before is not due yet. Another version than the one that failed
/// always is.
pub(super) fn has_to_wait(
    letter: &Open,
    kind: &EntryKind,
    now: Timestamp,
    patience: Patience,
) -> bool {
    !is_another(letter, kind) && !letter.life.is_due(now, patience)
}

/// Whether an entry has another version than the one that failed.
fn is_another(letter: &Open, kind: &EntryKind) -> bool {
    match (&letter.version, kind) {
        (None, _) => false,
        (Some(failed), EntryKind::File(facts)) => *failed != facts.version,
        (Some(_), EntryKind::Skipped(_) | EntryKind::Unreadable { .. }) => true,
    }
}

/// Looks a page's entries up in the index.
pub(super) fn compare(
    db: &Connection,
    sync_key: i64,
    page: &Page,
    rules: CurrentRules,
    is_same: impl Fn(&[u8], &Version) -> bool,
) -> store::Result<Vec<Known>> {
    let has_details =
        |entry: &Entry| matches!(&entry.kind, EntryKind::File(file) if file.details.is_some());
    if page.entries.iter().any(has_details) {
        let files = page.entries.iter().map(|entry| match &entry.kind {
            EntryKind::File(file) => (&entry.id, Some(file)),
            EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => (&entry.id, None),
        });
        return entries::compare_by_id(db, sync_key, files, rules, is_same);
    }
    let ids = page.entries.iter().map(|entry| match &entry.kind {
        EntryKind::File(facts) => (&entry.id, Some(&facts.version)),
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => (&entry.id, None),
    });
    entries::compare(db, sync_key, ids, rules)
}

impl Plan {
    fn add(&mut self, run: &Run, entry: Entry, position: usize, index: &Index) {
        let known = &index.known[position];
        let settings = &run.sync.options.reconcile;
        let full = run.full_since.is_some();
        let decision = decide(&run.rules.filter, settings, full, &entry, known);
        let row = known.row();
        if let Known::LeftOut { left_out_key, .. } = known {
            self.left_out.push(*left_out_key);
        }
        match decision.sighting() {
            Some(Sighting::Seen) => self.seen.extend(row),
            Some(Sighting::Drifted) => self.drifted.extend(row),
            None => {}
        }
        match decision {
            Decision::Leave => self.counts.unchanged += 1,
            Decision::Exclude(_) => self.counts.filtered += 1,
            Decision::Skip(reason) => {
                self.counts.filtered += 1;
                run.observer.skipped(reason);
            }
            Decision::Add | Decision::Update | Decision::Fail => {
                let letter = index.letters.get(&entry.id);
                match letter.filter(|letter| run.lets_wait(letter, &entry.kind)) {
                    Some(letter) => {
                        self.seen.extend(row);
                        self.waiting.push(letter.key);
                        self.counts.filtered += 1;
                        run.observer.skipped(SkipReason::FailedBefore);
                    }
                    None => {
                        let renamed = index.rename_sources.get(&position);
                        let renamed = renamed.filter(|_| letter.is_none());
                        self.act(entry, row, ActionKind::Fetch, renamed.copied());
                    }
                }
            }
            Decision::Reevaluate { is_same } => {
                self.act(entry, row, ActionKind::Reevaluate { is_same }, None);
            }
        }
    }

    /// Adds an entry that needs an action, or has failed already. `renamed` is the row that it may
    /// have had before it was renamed.
    fn act(&mut self, entry: Entry, known: Option<u64>, action: ActionKind, renamed: Option<i64>) {
        let Entry { id, path, kind, .. } = entry;
        match kind {
            EntryKind::File(fingerprint) => {
                let action = Action { kind: action, id, path, fingerprint, known };
                match renamed {
                    Some(row) => self.rename_candidates.push(RenameCandidate { action, row }),
                    None => self.actions.push(action),
                }
            }
            EntryKind::Unreadable { error_type, message } => {
                let message = error_type.with_way_out(&message);
                self.failed.push(Failure {
                    id,
                    path,
                    version: None,
                    error_type,
                    message,
                    passes_by_itself: false,
                    wait: None,
                });
            }
            EntryKind::Skipped(_) => {}
        }
    }
}
