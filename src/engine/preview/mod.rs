//! What a run would do, without doing any of it: the same walk, filter and comparison, then a
//! verdict on each entry instead of a fetch.
//!
//! Stored entries are evaluated under the settings in question as a run would do it, from what is
//! stored of them.
//!
//! It cannot know what only the bytes show: an entry whose bytes the bucket has already
//! (`skip_duplicates`) is shown as one to add. Removals are only known after the whole listing, so
//! a preview that reaches its bounds shows none, and says that it is incomplete.

mod page;
mod reshaped;

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    RunError, RunOptions,
    filter::Filter,
    plan::{self, Decision, Sighting},
    rules::{self, Rules},
};
use crate::{
    model::{
        Counts, Entry, EntryKind, EntryPath, ErrorType, Location, MaxDelete, Patience, SyncOptions,
    },
    sources::{self, Source, walk_all},
    store::{
        Store, buckets,
        checkpoints::Sightings,
        dead_letters::Open,
        entries::{self, Known},
        gone::Gone,
        reconcile,
        syncs::{self, Sync},
    },
};

use page::Looked;
use reshaped::Foreseen;

/// What a run would do about one entry or object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be fetched and become an object.
    Add {
        /// Its size in bytes.
        size: u64,
    },
    /// It would be fetched and change its object.
    Update {
        /// Its size in bytes.
        size: u64,
    },
    /// Its object would change under the settings in question, and its bytes would stay.
    Reshape {
        /// What would change and why, in words.
        why: String,
    },
    /// Its object would be renamed, without fetching anything.
    Rename {
        /// Its old name.
        from: EntryPath,
    },
    /// Its object would be removed, and why.
    Remove {
        /// Whether its entry still exists and only the filters exclude it.
        filtered: bool,
    },
    /// It would be excluded, and by which rule.
    Exclude {
        /// The rule, in words.
        rule: String,
    },
    /// It could not even be looked at.
    Fail {
        /// The kind of failure.
        error_type: ErrorType,
        /// What happened.
        message: String,
    },
    /// It failed before and is not due yet.
    Wait,
}

/// The configuration to preview, stored or not.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Its sync as it is stored; `None` if it is not.
    pub known: Option<Sync>,
    /// Where it reads.
    pub location: &'a Location,
    /// The settings in question, which may differ from the stored ones.
    pub options: &'a SyncOptions,
    /// How the run would be made.
    pub run: &'a RunOptions,
    /// The time.
    pub now: Timestamp,
}

/// How far a preview looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// Listed entries; `None`: all.
    pub entries: Option<u64>,
    /// Time; `None`: as long as it takes.
    pub time: Option<Duration>,
}

/// What a run would do in total.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// The counts that the run would have; `bytes` are those that it would fetch.
    pub counts: Counts,
    /// Whether the removal guard would hold the removals back.
    pub held: bool,
    /// Whether the whole source was looked at; otherwise the counts cover only part of it, and no
    /// removal is known.
    pub complete: bool,
    /// Listed entries that were looked at.
    pub looked_at: u64,
    /// How many entries each rule excludes.
    pub excluded: BTreeMap<String, u64>,
}

/// A preview with some of its entries.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// The whole.
    pub preview: Preview,
    /// Some entries of each kind of verdict, in the order of the listing.
    pub sample: Vec<(EntryPath, Verdict)>,
}

/// [`preview`] with at most `most` entries of each kind of verdict.
///
/// # Errors
/// As there.
pub async fn outlook(
    store: &Store,
    source: &dyn Source,
    question: Question<'_>,
    bounds: Bounds,
    most: usize,
    stop: &CancellationToken,
) -> Result<Outlook, RunError> {
    let mut sample: Vec<(EntryPath, Verdict)> = Vec::new();
    let mut taken = std::collections::HashMap::new();
    let preview = preview(Some(store), source, question, bounds, stop, |path, verdict| {
        let count = taken.entry(std::mem::discriminant(&verdict)).or_insert(0);
        *count += 1;
        if *count <= most {
            sample.push((path.clone(), verdict));
        }
    })
    .await?;
    Ok(Outlook { preview, sample })
}

/// Walks `source`, which is that of `question`, and reports to `report` what a run would do about
/// each entry that it would change or exclude. Writes nothing; `store` is `None` where there is no
/// database.
///
/// # Errors
/// Those of a run, as far as a listing shows them, and the store's.
pub async fn preview(
    store: Option<&Store>,
    source: &dyn Source,
    question: Question<'_>,
    bounds: Bounds,
    stop: &CancellationToken,
    report: impl FnMut(&EntryPath, Verdict),
) -> Result<Preview, RunError> {
    let (profile, location) = (source.profile(), question.location);
    let mut rules =
        Rules::compile(question.options)?.listed_as(&profile, location, question.options);
    rules.filter = rules.filter.since(question.options.sync_from);
    let root = source.root().await?;
    if let Some(sync) = &question.known
        && let (Some(is), Some(was)) = (&root.0, &sync.root_identity)
        && is != was
        && !question.run.adopt_root
    {
        return Err(RunError::RootChanged {
            place: sources::address(question.location),
            was: was.clone(),
            is: is.clone(),
        });
    }
    let known = store.zip(question.known.as_ref());
    if let Some((store, sync)) = known {
        let bucket_key = sync.bucket_key;
        let settings = store.read(move |db| buckets::settings(db, bucket_key)).await?;
        rules = rules.bound_to(question.options, settings);
    }
    // Nothing that is stored counts as fetched again already.
    let current = rules.current(question.run.refetch.then_some(i64::MAX));
    let mapping = rules.mapping;
    let mut looking = Looking {
        question: &question,
        filter: rules.filter,
        preview: Preview { complete: true, ..Preview::default() },
        sightings: Sightings::default(),
        renamed: Vec::new(),
        report,
    };
    let deadline = bounds.time.map(|time| Instant::now() + time);
    let mut pages = pin!(walk_all(source));
    loop {
        let look = async {
            let Some(page) = pages.next().await else { return Ok(None) };
            let mut looked = Looked::up(known, source, &question, page?, current).await?;
            looked.check_facts(source, &question, &looking.filter).await?;
            looked.foresee(known, source, &question, &looking.filter, mapping.as_ref()).await?;
            Ok(Some(looked))
        };
        let looked: Result<Option<Looked>, RunError> = match deadline {
            None => look.await,
            Some(deadline) => match timeout_at(deadline, look).await {
                Ok(looked) => looked,
                Err(_) => {
                    looking.preview.complete = false;
                    break;
                }
            },
        };
        let Some(looked) = looked? else { break };
        if stop.is_cancelled() {
            return Err(RunError::Stopped);
        }
        looking.add_page(looked);
        if bounds.entries.is_some_and(|most| looking.preview.looked_at >= most) {
            // This may have been the last entry, but that is not known.
            looking.preview.complete = false;
            break;
        }
    }
    looking.decide_renames(known).await?;
    if let Some((store, sync)) = known
        && looking.preview.complete
    {
        looking.removals(store, sync).await?;
    }
    Ok(looking.preview)
}

/// No pass has this number, so every row is compared with what was seen.
const NO_PASS: i64 = -1;

/// A preview in progress.
struct Looking<'a, R> {
    question: &'a Question<'a>,
    filter: Filter,
    preview: Preview,
    sightings: Sightings,
    /// New entries that may be renamed ones: path, size, and the row that each may belong to.
    renamed: Vec<(EntryPath, u64, i64)>,
    report: R,
}

impl<R: FnMut(&EntryPath, Verdict)> Looking<'_, R> {
    fn add_page(&mut self, looked: Looked) {
        let Looked { page, known, letters, rename_sources, mut moved, mut foreseen } = looked;
        self.preview.looked_at += page.entries.len() as u64;
        self.sightings.unlisted.extend(page.unlisted);
        for (position, entry) in page.entries.iter().enumerate() {
            if let Some(from) = moved.remove(&position)
                && self.passes(entry)
            {
                self.add_moved(entry, &known[position], from);
                continue;
            }
            match foreseen.remove(&position) {
                Some(foreseen) => self.add_reevaluated(entry, &known[position], foreseen),
                None => {
                    let letter = letters.get(&entry.id);
                    self.add_entry(entry, &known[position], letter, rename_sources[position]);
                }
            }
        }
    }

    /// Whether the filters look at no more than the listing to take an entry.
    fn passes(&self, entry: &Entry) -> bool {
        matches!(&entry.kind, EntryKind::File(facts)
            if self.filter.refuses(&entry.path, facts).is_none())
    }

    /// Reports a stored entry that has moved, or has another name, with its content.
    fn add_moved(&mut self, entry: &Entry, known: &Known, from: EntryPath) {
        self.sightings.seen.extend(known.row());
        self.preview.counts.updated += 1;
        (self.report)(&entry.path, Verdict::Rename { from });
    }

    /// Reports a stored entry that a run would evaluate again with a different result.
    fn add_reevaluated(&mut self, entry: &Entry, known: &Known, foreseen: Foreseen) {
        self.sightings.seen.extend(known.row());
        let counts = &mut self.preview.counts;
        let verdict = match foreseen {
            Foreseen::Changed { why } => {
                counts.updated += 1;
                Verdict::Reshape { why }
            }
            Foreseen::Failed { error_type, message } => {
                counts.failed += 1;
                Verdict::Fail { error_type, message }
            }
        };
        (self.report)(&entry.path, verdict);
    }

    /// Reports what a run would decide about an entry, and counts it as the run would.
    fn add_entry(
        &mut self,
        entry: &Entry,
        known: &Known,
        letter: Option<&Open>,
        renamed: Option<i64>,
    ) {
        let Question { options, run, now, .. } = *self.question;
        let decision = plan::decide(&self.filter, &options.reconcile, run.refetch, entry, known);
        match decision.sighting() {
            Some(Sighting::Seen) | None => self.sightings.seen.extend(known.row()),
            Some(Sighting::Drifted) => self.sightings.drifted.extend(known.row()),
        }
        let size = match &entry.kind {
            EntryKind::File(facts) => facts.size,
            EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => 0,
        };
        let patience = Patience::of(run, run.refetch);
        let waits = letter.is_some_and(|open| plan::has_to_wait(open, &entry.kind, now, patience));
        let counts = &mut self.preview.counts;
        let verdict = match decision {
            // What would change is in `foreseen`.
            Decision::Leave | Decision::Reevaluate { .. } => {
                counts.unchanged += 1;
                return;
            }
            Decision::Add | Decision::Update | Decision::Fail if waits => {
                counts.filtered += 1;
                Verdict::Wait
            }
            Decision::Add => match renamed.filter(|_| letter.is_none()) {
                Some(row) => return self.renamed.push((entry.path.clone(), size, row)),
                None => return self.add(&entry.path, size),
            },
            Decision::Update => {
                counts.updated += 1;
                counts.bytes += size;
                Verdict::Update { size }
            }
            Decision::Exclude(rule) => {
                return exclude(&mut self.preview, &mut self.report, entry, rule.to_string());
            }
            Decision::Skip(reason) => {
                let rule = reason.describe().to_owned();
                return exclude(&mut self.preview, &mut self.report, entry, rule);
            }
            Decision::Fail => {
                counts.failed += 1;
                match &entry.kind {
                    EntryKind::Unreadable { error_type, message } => {
                        Verdict::Fail { error_type: *error_type, message: message.clone() }
                    }
                    EntryKind::File(_) | EntryKind::Skipped(_) => return,
                }
            }
        };
        (self.report)(&entry.path, verdict);
    }

    fn add(&mut self, path: &EntryPath, size: u64) {
        self.preview.counts.synced += 1;
        self.preview.counts.bytes += size;
        (self.report)(path, Verdict::Add { size });
    }

    /// Decides which new entries are renamed ones, if the whole source was looked at.
    async fn decide_renames(&mut self, known: Option<(&Store, &Sync)>) -> Result<(), RunError> {
        let renamed = std::mem::take(&mut self.renamed);
        let Some((store, sync)) = known else { return Ok(()) };
        let (sync_key, keys) =
            (sync.key, renamed.iter().map(|(_, _, row)| *row).collect::<Vec<_>>());
        let mut old =
            store.read(move |db| entries::not_written(db, sync_key, NO_PASS, &keys)).await?;
        let scope = rules::removal_scope(self.question.location, self.question.options);
        let complete = self.preview.complete;
        old.retain(|key, path| {
            complete && self.sightings.proves_gone(*key, path) && scope.covers(path)
        });
        for (path, size, row) in renamed {
            match old.remove(&row) {
                Some(from) => {
                    self.preview.counts.updated += 1;
                    self.sightings.seen.extend(u64::try_from(row));
                    (self.report)(&path, Verdict::Rename { from });
                }
                None => self.add(&path, size),
            }
        }
        Ok(())
    }

    async fn removals(&mut self, store: &Store, sync: &Sync) -> Result<(), RunError> {
        let sync_key = sync.key;
        let scope = rules::removal_scope(self.question.location, self.question.options);
        if scope.is_empty() {
            return Ok(());
        }
        let sightings = Arc::new(std::mem::take(&mut self.sightings));
        let mut from = Some(Vec::new());
        while let Some(id) = from {
            let (seen, wanted) = (sightings.clone(), scope.clone());
            let (missing, next) = store
                .read(move |db| {
                    let (gone, only_gone) = (Gone::default(), false);
                    let proof = reconcile::Proof { sightings: &seen, gone: &gone, only_gone };
                    reconcile::missing(db, sync_key, NO_PASS, proof, &wanted, &id, 1000)
                })
                .await?;
            for entry in missing.iter().filter(|entry| entry.has_object) {
                self.preview.counts.removed += 1;
                let listed =
                    u64::try_from(entry.entry_key).is_ok_and(|key| sightings.drifted.contains(key));
                let filtered = listed || !scope.covers(&entry.path);
                (self.report)(&entry.path, Verdict::Remove { filtered });
            }
            from = next;
        }
        let of = store.read(move |db| syncs::object_count(db, sync_key)).await?;
        let (run, removed) = (self.question.run, self.preview.counts.removed);
        let is_emptied = self.preview.looked_at == 0 && !run.adopt_root;
        let waits = sync.held_removals.as_ref().is_some_and(|held| held.approved_at.is_none());
        self.preview.held =
            removed > 0 && (is_emptied || waits || MaxDelete::holds(run.max_delete, removed, of));
        Ok(())
    }
}

fn exclude(
    preview: &mut Preview,
    report: &mut impl FnMut(&EntryPath, Verdict),
    entry: &Entry,
    rule: String,
) {
    preview.counts.filtered += 1;
    *preview.excluded.entry(rule.clone()).or_default() += 1;
    report(&entry.path, Verdict::Exclude { rule });
}
