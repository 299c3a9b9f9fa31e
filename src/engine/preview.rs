//! What a run would do, without doing any of it: the same walk, filter and comparison, then a
//! verdict on each entry instead of a fetch.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{
    Request, RunError,
    filter::{Dossier, Filter},
    plan::{self, Decision, Memory},
    rules::Rules,
};
use crate::{
    model::{Counts, Entry, EntryKind, EntryPath, ErrorType, MaxDelete},
    sources::{ErrorClass, Page, Source, retry::RetryPolicy},
    store::{
        Store, buckets,
        checkpoints::Tally,
        entries::{Judge, Known},
        reconcile::{self, Scope},
        syncs::{self, Sync},
    },
};

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
    /// Its object would be removed, and why.
    Remove {
        /// Whether it is still there, and only the filters leave it out.
        filtered: bool,
    },
    /// It would be left out, and by which rule.
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
}

/// What a run would do in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preview {
    /// The counts that it would have; `bytes` are those that it would fetch.
    pub counts: Counts,
    /// Whether the removal guard would hold the removals back.
    pub held: bool,
}

/// Goes through `source`, which is that of `request`, and tells `report` what a run would do about each entry
/// that it would touch or leave out. Writes nothing; `store` is `None` where there is no database.
///
/// # Errors
/// What a run would fail with, as far as a listing shows it, and the store's.
pub async fn preview(
    store: Option<&Store>,
    source: &dyn Source,
    request: &Request,
    stop: &CancellationToken,
    mut report: impl FnMut(&EntryPath, Verdict),
) -> Result<Preview, RunError> {
    let mut rules = Rules::compile(&request.options)?;
    let root = source.root().await?;
    let known = match store {
        Some(store) => {
            let wanted = request.clone();
            store
                .read(move |db| syncs::find(db, &wanted.location, &wanted.bucket))
                .await?
                .map(|sync| (store, sync))
        }
        None => None,
    };
    if let Some((_, sync)) = &known
        && let (Some(is), Some(was)) = (&root.0, &sync.root_identity)
        && is != was
        && !request.run.adopt_root
    {
        return Err(RunError::RootChanged {
            place: request.location.to_string(),
            was: was.clone(),
            is: is.clone(),
        });
    }

    if let Some((store, sync)) = &known {
        let bucket_key = sync.bucket_key;
        let settings = store.read(move |db| buckets::settings(db, bucket_key)).await?;
        rules = rules.bound_to(&request.options, settings.bucket_schema);
    }

    let mut preview = Preview::default();
    let mut tally = Tally::default();
    let mut pages = source.walk(None);
    while let Some(page) = pages.next().await {
        if stop.is_cancelled() {
            return Err(RunError::Stopped);
        }
        let (page, mut rows) =
            compare(known.as_ref(), page?, rules.judge(request.run.full)).await?;
        tally.unlisted.extend(page.unlisted);
        look_closer(source, request, &rules.filter, &page.entries, &mut rows).await?;
        for (entry, row) in page.entries.iter().zip(&rows) {
            judge(request, &rules.filter, &mut preview.counts, &mut tally, entry, row, &mut report);
        }
    }
    if let Some((store, sync)) = known {
        removals(store, sync, request, tally, &mut preview, &mut report).await?;
    }
    Ok(preview)
}

/// Asks the source about the entries of a page that are decided by more than their listing, as a run
/// would, and notes those that are left out for it as if they had been before.
async fn look_closer(
    source: &dyn Source,
    request: &Request,
    filter: &Filter,
    entries: &[Entry],
    rows: &mut [Known],
) -> Result<(), RunError> {
    let needs = filter.needs();
    if needs.is_nothing() {
        return Ok(());
    }
    let settings = &request.options.reconcile;
    let undecided = entries.iter().zip(rows).filter_map(|(entry, row)| {
        let decision = plan::decide(filter, settings, request.run.full, entry, row);
        let is_open =
            matches!(decision, Decision::Add | Decision::Update | Decision::Rejudge { .. });
        match &entry.kind {
            EntryKind::File(fingerprint) if is_open => Some((entry, fingerprint, row)),
            _ => None,
        }
    });
    let looks = undecided.map(|(entry, fingerprint, row)| async move {
        let ask = || source.facts(&entry.id, fingerprint, needs);
        let facts = match RetryPolicy::FETCH.run(ask).await {
            Ok(facts) => facts,
            Err(error) if error.class() == ErrorClass::Connection => return Err(error.into()),
            // The run finds out what is the matter with it.
            Err(_) => return Ok(()),
        };
        let dossier = Dossier { path: &entry.path, fingerprint, facts: Some(&facts) };
        if let Some(unmet) = filter.refuses_facts(&dossier) {
            let entry_key = row.entry_key();
            *row = Known::LeftOut { entry_key, left_out_key: 0, unmet: unmet.0 };
        }
        Ok::<(), RunError>(())
    });
    stream::iter(looks).buffer_unordered(source.default_concurrency()).try_collect().await
}

async fn compare(
    known: Option<&(&Store, Sync)>,
    page: Page,
    judge: Judge,
) -> Result<(Page, Vec<Known>), RunError> {
    let Some((store, sync)) = known else {
        let new = vec![Known::No; page.entries.len()];
        return Ok((page, new));
    };
    let sync_key = sync.key;
    let compared = store.read(move |db| {
        let known = plan::compare(db, sync_key, &page, judge)?;
        Ok((page, known))
    });
    Ok(compared.await?)
}

/// Says what a run would decide about an entry, and counts it as the run would.
fn judge(
    request: &Request,
    filter: &Filter,
    counts: &mut Counts,
    tally: &mut Tally,
    entry: &Entry,
    known: &Known,
    report: &mut impl FnMut(&EntryPath, Verdict),
) {
    let settings = &request.options.reconcile;
    let decision = plan::decide(filter, settings, request.run.full, entry, known);
    match decision.memory() {
        Some(Memory::Seen) | None => tally.seen.extend(known.row()),
        Some(Memory::Drifted) => tally.drifted.extend(known.row()),
    }
    let size = match &entry.kind {
        EntryKind::File(facts) => facts.size,
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => 0,
    };
    let verdict = match decision {
        // Which of these a new mapping changes shows when they are mapped.
        Decision::Leave | Decision::Rejudge { .. } => {
            counts.unchanged += 1;
            return;
        }
        Decision::Add => {
            counts.synced += 1;
            counts.bytes += size;
            Verdict::Add { size }
        }
        Decision::Update => {
            counts.updated += 1;
            counts.bytes += size;
            Verdict::Update { size }
        }
        Decision::Exclude(rule) => {
            counts.filtered += 1;
            Verdict::Exclude { rule: rule.to_string() }
        }
        Decision::Skip(reason) => {
            counts.filtered += 1;
            Verdict::Exclude { rule: reason.describe().to_owned() }
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
    report(&entry.path, verdict);
}

async fn removals(
    store: &Store,
    sync: Sync,
    request: &Request,
    tally: Tally,
    preview: &mut Preview,
    report: &mut impl FnMut(&EntryPath, Verdict),
) -> Result<(), RunError> {
    let settings = &request.options.reconcile;
    let scope = Scope { absent: settings.on_delete, drifted: settings.on_filter_drift };
    let has_entries = store.read(move |db| syncs::has_entries(db, sync.key)).await?;
    if preview.counts.discovered() == 0 && has_entries && !request.run.adopt_root {
        return Err(RunError::RootEmptied { place: request.location.to_string() });
    }
    if !scope.absent && !scope.drifted {
        return Ok(());
    }
    let tally = Arc::new(tally);
    let mut after = Some(0);
    while let Some(key) = after {
        let seen = tally.clone();
        // No pass has this number: every row is compared with what was seen.
        let (missing, next) = store
            .read(move |db| reconcile::missing(db, sync.key, -1, &seen, scope, key, 1000))
            .await?;
        for entry in missing.iter().filter(|entry| entry.has_object) {
            preview.counts.removed += 1;
            let filtered =
                u64::try_from(entry.entry_key).is_ok_and(|key| tally.drifted.contains(key));
            report(&entry.path, Verdict::Remove { filtered });
        }
        after = next;
    }
    let of = store.read(move |db| syncs::object_count(db, sync.key)).await?;
    preview.held = MaxDelete::holds(request.run.max_delete, preview.counts.removed, of);
    Ok(())
}
