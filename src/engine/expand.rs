//! Entries that consist of several files. A listing outlines them; those that are new or have
//! changed are expanded into the entries of their files, at a few requests each, and the others
//! cost no more than the comparison.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    RunError,
    context::{PassKind, Run},
    plan::{Plan, Sighting},
    tree,
};
use crate::{
    model::{Entry, EntryId, EntryKind, Folder, FolderId, Patience},
    sources::{Outline, Page, Placed, VersionMatch, retry::RetryPolicy},
    store::{
        self, Connection, StoreError,
        dead_letters::{self, Open},
        folders::Lists,
        outlines,
        places::{Placement, Places},
    },
};

/// Most folders that are above one which is not known yet.
const DEPTH: usize = 100;

/// What a page's outlines come to without being expanded.
#[derive(Debug, Default)]
pub(super) struct Unexpanded {
    /// Keys of rows whose entries are there and stay as they are.
    seen: Vec<u64>,
    /// Keys of rows whose entries are below no root any more.
    outside: Vec<u64>,
    /// Keys of the `left_out` rows of listed entries.
    left_out: Vec<i64>,
    /// The dead letters of those that are not due.
    waiting: Vec<i64>,
    unchanged: u64,
    filtered: u64,
}

impl Unexpanded {
    /// Adds it to the plan of the page.
    pub(super) fn add_to(self, plan: &mut Plan) {
        plan.seen.extend(self.seen);
        plan.outside.extend(self.outside);
        plan.left_out.extend(self.left_out);
        plan.waiting.extend(self.waiting);
        plan.counts.unchanged += self.unchanged;
        plan.counts.filtered += self.filtered;
    }
}

/// What an outline is found to be.
enum Look {
    /// Below no root.
    Outside,
    /// As it is stored.
    Same,
    /// Left out as before.
    LeftOut(i64),
    /// It failed before, and its next try is not due.
    Waits(i64),
    /// New, or not as it is stored.
    Differs(Outline, Placed),
}

/// Puts the entries of what a page outlines in the place of the outlines.
pub(super) async fn expand(
    run: &Arc<Run>,
    shard: usize,
    page: &mut Page,
    lists: Lists,
) -> Result<Unexpanded, RunError> {
    let mut done = Unexpanded::default();
    if !run.profile.has_outlines {
        return Ok(done);
    }
    remove_further(run, page).await?;
    let outlines = std::mem::take(&mut page.outlines);
    if outlines.is_empty() {
        return Ok(done);
    }
    learn_folders(run, shard, &outlines, lists).await?;
    let reader = run.clone();
    let looks = run.store.read(move |db| look_at_all(db, &reader, outlines)).await?;
    let mut differing = Vec::new();
    for (look, rows) in looks {
        match look {
            Look::Outside => done.outside.extend(rows),
            Look::Same => {
                done.unchanged += rows.len() as u64;
                done.seen.extend(rows);
            }
            Look::LeftOut(key) => {
                done.filtered += 1;
                done.left_out.push(key);
            }
            Look::Waits(letter) => {
                done.filtered += 1;
                done.seen.extend(rows);
                done.waiting.push(letter);
            }
            Look::Differs(outline, placed) => differing.push((outline, placed)),
        }
    }
    let asks = differing.into_iter().map(|(outline, placed)| async move {
        let ask = || run.source.expand(&outline, &placed);
        let entries = RetryPolicy::LISTING.run(ask).await?;
        Ok::<_, RunError>((outline.id, entries))
    });
    let mut expanded = stream::iter(asks).buffered(run.concurrency);
    while let Some((id, entries)) = expanded.try_next().await? {
        take_over(run, page, &mut done, id, entries).await?;
    }
    Ok(done)
}

/// Takes the entries of an expanded outline into the page. Files that it had and has no more are
/// gone, if its files could be seen at all.
async fn take_over(
    run: &Run,
    page: &mut Page,
    done: &mut Unexpanded,
    id: EntryId,
    entries: Vec<Entry>,
) -> Result<(), RunError> {
    let tells_files = match entries.as_slice() {
        [] => run.kind == PassKind::Changes,
        [only] => match &only.kind {
            EntryKind::File(_) => true,
            EntryKind::Skipped(reason) => reason.sighting() == Sighting::Drifted,
            EntryKind::Unreadable { .. } => false,
        },
        _ => true,
    };
    let (sync_key, of) = (run.target.fence.sync_key, id.clone());
    let further = run.store.read(move |db| outlines::further(db, sync_key, &of)).await?;
    let listed: HashSet<&EntryId> = entries.iter().map(|entry| &entry.id).collect();
    for (key, further) in further.into_iter().filter(|(_, id)| !listed.contains(id)) {
        match tells_files {
            true => page.removed.push(further),
            false => done.seen.push(key),
        }
    }
    if entries.is_empty() && tells_files {
        page.removed.push(id);
    }
    page.entries.extend(entries);
    Ok(())
}

/// The further files of what a page reports as removed are removed with it.
async fn remove_further(run: &Run, page: &mut Page) -> Result<(), RunError> {
    if page.removed.is_empty() {
        return Ok(());
    }
    let (sync_key, removed) = (run.target.fence.sync_key, page.removed.clone());
    let further = run
        .store
        .read(move |db| {
            let mut all = Vec::new();
            for id in &removed {
                all.extend(outlines::further(db, sync_key, id)?);
            }
            Ok::<_, StoreError>(all)
        })
        .await?;
    page.removed.extend(further.into_iter().map(|(_, id)| id));
    Ok(())
}

/// Asks for the folders that outlines are in and that are not known, and for those above them, as
/// far as no known one leads to a root.
async fn learn_folders(
    run: &Arc<Run>,
    shard: usize,
    outlines: &[Outline],
    lists: Lists,
) -> Result<(), RunError> {
    let wanted: Arc<Vec<Vec<FolderId>>> =
        Arc::new(outlines.iter().map(|outline| outline.folders.clone()).collect());
    for _ in 0..DEPTH {
        let (sync_key, roots) = (run.target.fence.sync_key, run.profile.roots.clone());
        let wanted = wanted.clone();
        let unknown: HashSet<FolderId> = run
            .store
            .read(move |db| {
                let mut places = Places::new(db, sync_key, &roots);
                let mut unknown = HashSet::new();
                for folders in wanted.iter() {
                    let mut of_this = Vec::new();
                    let mut is_inside = false;
                    for folder in folders {
                        match places.of(folder)? {
                            Placement::Inside(_) => is_inside = true,
                            Placement::Unknown(folder) => of_this.push(folder),
                            Placement::Outside => {}
                        }
                    }
                    if !is_inside {
                        unknown.extend(of_this);
                    }
                }
                Ok::<_, StoreError>(unknown)
            })
            .await?;
        if unknown.is_empty() {
            return Ok(());
        }
        let asks = unknown.into_iter().map(|id| async move {
            let found = RetryPolicy::LISTING.run(|| run.source.folder(&id)).await?;
            // One that cannot be seen is in no folder that is synced.
            Ok::<_, RunError>(found.unwrap_or(Folder { id, parent: None, name: Vec::new() }))
        });
        let folders: Vec<Folder> =
            stream::iter(asks).buffer_unordered(run.concurrency).try_collect().await?;
        let mut page = Page { folders, ..Page::default() };
        tree::apply(run, shard, &mut page, lists).await?;
    }
    Ok(())
}

/// Looks all outlines of a page up, each with the keys of its rows: its own first.
fn look_at_all(
    db: &Connection,
    run: &Run,
    outlines: Vec<Outline>,
) -> store::Result<Vec<(Look, Vec<u64>)>> {
    let sync_key = run.target.fence.sync_key;
    let letters = dead_letters::among(db, sync_key, outlines.iter().map(|outline| &outline.id))?;
    let mut places = Places::new(db, sync_key, &run.profile.roots);
    outlines.into_iter().map(|outline| look_at(db, run, &mut places, &letters, outline)).collect()
}

fn look_at(
    db: &Connection,
    run: &Run,
    places: &mut Places<'_>,
    letters: &HashMap<EntryId, Open>,
    outline: Outline,
) -> store::Result<(Look, Vec<u64>)> {
    let sync_key = run.target.fence.sync_key;
    let rules = run.rules.current(run.full_since);
    let stored = outlines::stored(db, sync_key, &outline.id, rules)?;
    let further = outlines::further(db, sync_key, &outline.id)?.into_iter().map(|(key, _)| key);
    let rows: Vec<u64> = stored.iter().map(|row| row.entry_key).chain(further).collect();
    let Some(placed) = placed(places, &outline)? else { return Ok((Look::Outside, rows)) };
    let is_as =
        |version: &[u8]| run.source.compare(version, &outline.version) == VersionMatch::Same;
    if let Some(row) = &stored {
        let is_wanted = run.full_since.is_some() && !row.is_fetched;
        let is_listed = is_as(&row.version) && row.facts_mark == Some(outline.mark_in(&placed));
        let is_kept = is_listed || !run.sync.options.reconcile.on_update;
        if row.is_current && is_kept && !is_wanted {
            return Ok((Look::Same, rows));
        }
    } else if let Some(left_out) = outlines::left_out(db, sync_key, &outline.id, rules)?
        && is_as(&left_out.version.0)
    {
        return Ok((Look::LeftOut(left_out.key), rows));
    }
    if let Some(letter) = letters.get(&outline.id).filter(|letter| waits(run, letter, is_as)) {
        return Ok((Look::Waits(letter.key), rows));
    }
    Ok((Look::Differs(outline, placed), rows))
}

/// Whether what failed before is not tried: it is as it was then, and not due yet.
fn waits(run: &Run, letter: &Open, is_as: impl Fn(&[u8]) -> bool) -> bool {
    let is_another = letter.version.as_ref().is_some_and(|failed| !is_as(&failed.0));
    let patience = Patience::of(&run.options, run.full_since.is_some());
    let is_due =
        letter.job_key != Some(run.target.job_key) && letter.life.is_due(run.clock.now(), patience);
    !is_another && !is_due
}

/// Where an outlined entry is: below the first of its folders by path. `None` where none of them is
/// below a root.
fn placed(places: &mut Places<'_>, outline: &Outline) -> store::Result<Option<Placed>> {
    let mut inside = Vec::with_capacity(outline.folders.len());
    for folder in &outline.folders {
        if let Placement::Inside(path) = places.of(folder)? {
            inside.push((path, folder));
        }
    }
    inside.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    let mut inside = inside.into_iter();
    Ok(inside.next().map(|(path, folder)| Placed {
        folder: folder.clone(),
        path,
        others: inside.map(|(path, _)| path).collect(),
    }))
}
