//! Entries that a listing only outlines. Those that are new or have changed are asked for, and the
//! others cost no more than the comparison.
//!
//! Where entries consist of several files, each is expanded into the entries of its files, at a few
//! requests. Where the source knows no folders, an outline is one entry, and those of many pages
//! are looked up together: a page waits until enough of them are wanted, but not for long, since
//! the checkpoint waits with it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, timeout_at};

use super::{
    RunError,
    context::{PassKind, Run},
    known_facts::KnownFacts,
    plan::{Plan, Sighting},
    tree,
    walk::WalkedPage,
};
use crate::{
    model::{Entry, EntryId, EntryKind, Folder, FolderId, Identity, Patience},
    sources::{Outline, Page, Placed, VersionMatch, retry::RetryPolicy},
    store::{
        self, Connection, StoreError,
        dead_letters::{self, Open},
        folders::Lists,
        left_out::LeftOut,
        outlines::{self, LeftOut as LeftOutOutline},
        places::{self, Placement, Places},
    },
};

/// Most folders that are above one which is not known yet.
const DEPTH: usize = 100;

/// So many entries are looked up together; or fewer, once so many pages wait for them, or for so
/// long, or once no page has come for a while.
const LOOKED_UP_AT_ONCE: usize = 500;
const PAGES_WAITING: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(2);

/// What a page's outlines come to without being expanded.
#[derive(Debug, Default)]
pub(super) struct Unexpanded {
    /// Keys of rows whose entries are there and stay as they are.
    seen: Vec<u64>,
    /// Keys of rows whose entries are below no root any more.
    outside: Vec<u64>,
    /// Keys of rows whose entries are there and no longer pass the filters.
    drifted: Vec<u64>,
    /// Keys of the `left_out` rows of listed entries.
    left_out: Vec<i64>,
    /// Those that the filters were found to leave out.
    excluded: Vec<LeftOut>,
    /// The dead letters of those that are not due.
    waiting: Vec<i64>,
    unchanged: u64,
    filtered: u64,
}

impl Unexpanded {
    /// Takes note of what an outline is found to be; returns those that differ.
    fn take(&mut self, look: Look, rows: Vec<u64>) -> Option<(Outline, Placed)> {
        match look {
            Look::Outside => self.outside.extend(rows),
            Look::Same => {
                self.unchanged += rows.len() as u64;
                self.seen.extend(rows);
            }
            Look::LeftOut { key, own } => {
                self.filtered += 1;
                self.left_out.push(key);
                let further = rows.into_iter().filter(|row| Some(*row) != own);
                let before = self.seen.len();
                self.seen.extend(further);
                self.unchanged += (self.seen.len() - before) as u64;
                self.drifted.extend(own);
            }
            Look::Waits(letter) => {
                self.filtered += 1;
                self.seen.extend(rows);
                self.waiting.push(letter);
            }
            Look::Differs(outline, placed) => return Some((outline, placed)),
        }
        None
    }

    /// Adds it to the plan of the page.
    pub(super) fn add_to(self, plan: &mut Plan) {
        plan.seen.extend(self.seen);
        plan.outside.extend(self.outside);
        plan.drifted.extend(self.drifted);
        plan.left_out.extend(self.left_out);
        plan.excluded.extend(self.excluded);
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
    /// Left out as before, and the row that it has nevertheless. The rows of its further files
    /// stay.
    LeftOut { key: i64, own: Option<u64> },
    /// It failed before, and its next try is not due.
    Waits(i64),
    /// New, or not as it is stored.
    Differs(Outline, Placed),
}

/// A page whose outlines are compared, and those of them that are to be looked up.
struct Compared {
    page: WalkedPage,
    done: Unexpanded,
    wanted: Vec<Outline>,
}

/// Pages with the entries of what they outline, in their order.
pub(super) fn expanded<'a>(
    run: &'a Arc<Run>,
    lists: Lists,
    pages: impl Stream<Item = Result<WalkedPage, RunError>> + Send + 'a,
) -> BoxStream<'a, Result<(WalkedPage, Unexpanded), RunError>> {
    if run.profile.has_outlines && !run.profile.is_by_id() {
        let waiting = Waiting { run, pages: pages.boxed(), compared: Vec::new(), end: None };
        return waiting.lots().flat_map(stream::iter).boxed();
    }
    pages
        .then(move |page| async move {
            let mut page = page?;
            let done = expand(run, page.shard, &mut page.page, lists).await?;
            Ok((page, done))
        })
        .boxed()
}

/// Pages that wait until enough of their entries are to be looked up.
struct Waiting<'a> {
    run: &'a Arc<Run>,
    pages: BoxStream<'a, Result<WalkedPage, RunError>>,
    compared: Vec<Compared>,
    /// How the pages have come to their end.
    end: Option<Option<RunError>>,
}

/// Pages that are ready, and the error behind them.
type Lot = Vec<Result<(WalkedPage, Unexpanded), RunError>>;

impl<'a> Waiting<'a> {
    fn lots(self) -> impl Stream<Item = Lot> + Send + 'a {
        stream::unfold(self, |mut waiting| async move {
            let lot = waiting.next_lot().await.unwrap_or_else(|error| {
                waiting.end = Some(None);
                vec![Err(error)]
            });
            (!lot.is_empty()).then_some((lot, waiting))
        })
    }

    /// The next pages, looked up; none at the end.
    async fn next_lot(&mut self) -> Result<Lot, RunError> {
        let longest = Instant::now() + LONGEST_WAIT;
        while self.end.is_none() && !self.is_enough() {
            let next = match self.compared.is_empty() {
                true => self.pages.next().await,
                false => {
                    let until = longest.min(Instant::now() + PAUSE);
                    let Ok(next) = timeout_at(until, self.pages.next()).await else { break };
                    next
                }
            };
            match next {
                Some(Ok(page)) => self.compared.push(compare(self.run, page).await?),
                Some(Err(error)) => self.end = Some(Some(error)),
                None => self.end = Some(None),
            }
        }
        let mut compared = std::mem::take(&mut self.compared);
        look_up(self.run, &mut compared).await?;
        let ready = compared.into_iter().map(|Compared { page, done, .. }| Ok((page, done)));
        let end = self.end.as_mut().and_then(Option::take);
        Ok(ready.chain(end.map(Err)).collect())
    }

    /// Whether nothing is gained by waiting: nothing is wanted yet, or enough is.
    fn is_enough(&self) -> bool {
        let wanted = self.compared.iter().map(|compared| compared.wanted.len()).sum::<usize>();
        match wanted {
            0 => !self.compared.is_empty(),
            _ => wanted >= LOOKED_UP_AT_ONCE || self.compared.len() >= PAGES_WAITING,
        }
    }
}

/// Compares what a page outlines with what is stored.
async fn compare(run: &Arc<Run>, mut page: WalkedPage) -> Result<Compared, RunError> {
    let mut done = Unexpanded::default();
    let outlines = std::mem::take(&mut page.page.outlines);
    if outlines.is_empty() {
        return Ok(Compared { page, done, wanted: Vec::new() });
    }
    let reader = run.clone();
    let looks = run.store.read(move |db| look_at_all(db, &reader, outlines)).await?;
    let differing = looks.into_iter().filter_map(|(look, rows)| done.take(look, rows));
    let wanted = differing.map(|(outline, _)| outline).collect();
    Ok(Compared { page, done, wanted })
}

/// Takes what is wanted into the pages that have outlined it. What is gone is in none.
async fn look_up(run: &Run, compared: &mut [Compared]) -> Result<(), RunError> {
    let mut page_of = HashMap::new();
    let mut all = Vec::new();
    for (at, of) in compared.iter_mut().enumerate() {
        for outline in std::mem::take(&mut of.wanted) {
            page_of.insert(outline.id.clone(), at);
            all.push(outline);
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    for entry in run.source.look_up(&all).await? {
        if let Some(at) = page_of.get(&entry.id) {
            compared[*at].page.page.entries.push(entry);
        }
    }
    Ok(())
}

/// Puts the entries of what a page outlines in the place of the outlines.
async fn expand(
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
    let differing: Vec<_> =
        looks.into_iter().filter_map(|(look, rows)| done.take(look, rows)).collect();
    let asks = differing.into_iter().map(|(outline, placed)| async move {
        let ask = || run.source.expand(&outline, &placed);
        let mut entries = RetryPolicy::LISTING.run(ask).await?;
        let excluded = judge(run, &outline, &placed, &mut entries);
        Ok::<_, RunError>((outline.id, entries, excluded))
    });
    let mut expanded = stream::iter(asks).buffered(run.concurrency);
    while let Some((id, entries, excluded)) = expanded.try_next().await? {
        done.excluded.extend(excluded);
        take_over(run, page, &mut done, id, entries).await?;
    }
    Ok(done)
}

/// Notes with an outlined entry how many of its further files are taken. Returns what is to be
/// remembered where the filters leave the entry itself out.
fn judge(run: &Run, outline: &Outline, placed: &Placed, entries: &mut [Entry]) -> Option<LeftOut> {
    let passes = |entry: &&Entry| {
        let EntryKind::File(file) = &entry.kind else { return false };
        let path = places::below(&placed.path, entry.path.as_bytes());
        let (filter, known) = (&run.rules.filter, KnownFacts::listed(file));
        filter.refuses(&path, file).is_none()
            && filter.refuses_facts(&known.dossier(&path, file)).is_none()
    };
    let taken = entries.iter().filter(|entry| entry.id != outline.id).filter(passes).count();
    let further = u32::try_from(taken).unwrap_or(u32::MAX);
    let own = entries.iter_mut().find(|entry| entry.id == outline.id)?;
    let is_left_out = match &mut own.kind {
        EntryKind::File(file) => {
            file.details.get_or_insert_default().further = further;
            let path = places::below(&placed.path, own.path.as_bytes());
            run.rules.filter.refuses(&path, file).is_some()
        }
        EntryKind::Skipped(reason) => reason.is_lasting(),
        EntryKind::Unreadable { .. } => false,
    };
    is_left_out.then(|| LeftOut {
        id: outline.id.clone(),
        version: outline.version.clone(),
        unmet: 0,
        facts_mark: Some(mark_with_path(outline, placed)),
        further,
    })
}

/// Changes with everything that filters look at, the titles of the folders among it.
fn mark_with_path(outline: &Outline, placed: &Placed) -> i64 {
    Identity::of(&[&outline.mark_in(placed).to_le_bytes()[..], placed.path.as_bytes()]).0
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
    let rules = run.rules.current(run.full_since);
    let further = run.store.read(move |db| outlines::further(db, sync_key, &of, rules)).await?;
    let listed: HashSet<&EntryId> = entries.iter().map(|entry| &entry.id).collect();
    for row in further.into_iter().filter(|row| !listed.contains(&row.id)) {
        match tells_files {
            true => page.removed.push(row.id),
            false => done.seen.push(row.entry_key),
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
    let rules = run.rules.current(run.full_since);
    let further = run
        .store
        .read(move |db| {
            let mut all = Vec::new();
            for id in &removed {
                all.extend(outlines::further(db, sync_key, id, rules)?);
            }
            Ok::<_, StoreError>(all)
        })
        .await?;
    page.removed.extend(further.into_iter().map(|row| row.id));
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
    let is_by_id = run.profile.is_by_id();
    let stored = outlines::stored(db, sync_key, &outline.id, rules)?;
    let further = match is_by_id {
        true => outlines::further(db, sync_key, &outline.id, rules)?,
        false => Vec::new(),
    };
    // A run may have ended before all files of the entry were there.
    let has_taken = |wanted: u32| {
        further.iter().filter(|row| row.is_current).count() >= usize::try_from(wanted).unwrap_or(0)
    };
    let (has_all, has_none_stale) = (
        stored.as_ref().is_none_or(|row| has_taken(row.further)),
        further.iter().all(|row| row.is_current),
    );
    let left_out = outlines::left_out(db, sync_key, &outline.id, rules)?
        .filter(|left_out| has_none_stale && has_taken(left_out.further));
    let further = further.into_iter().map(|row| row.entry_key);
    let rows: Vec<u64> = stored.iter().map(|row| row.entry_key).chain(further).collect();
    let placed = match is_by_id {
        true => placed(places, &outline)?,
        false => Some(Placed::at_its_own_path()),
    };
    let Some(placed) = placed else { return Ok((Look::Outside, rows)) };
    let is_as =
        |version: &[u8]| run.source.compare(version, &outline.version) == VersionMatch::Same;
    if let Some(row) = &stored {
        let is_wanted = run.full_since.is_some() && !row.is_fetched;
        let has_facts = !is_by_id || row.facts_mark == Some(outline.mark_in(&placed));
        let is_listed = is_as(&row.version) && has_facts;
        let is_kept = is_listed || !run.sync.options.reconcile.on_update;
        if row.is_current && is_kept && has_all && !is_wanted {
            return Ok((Look::Same, rows));
        }
    }
    let is_told = |left_out: &LeftOutOutline| {
        let marks = [outline.mark_in(&placed), mark_with_path(&outline, &placed)];
        !is_by_id || left_out.facts_mark.is_some_and(|mark| marks.contains(&mark))
    };
    if stored.as_ref().is_none_or(|row| !row.is_current)
        && let Some(left_out) = left_out.filter(|of| is_as(&of.version.0) && is_told(of))
    {
        let own = stored.map(|row| row.entry_key);
        return Ok((Look::LeftOut { key: left_out.key, own }, rows));
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
