//! The shards of a pass: how far each has come, and which of its pages hold its checkpoint back.
//!
//! Entries finish in any order; a shard's checkpoint moves past a page once all of the page's
//! entries are done, and those of all pages before it. Pages of one shard do not hold back another
//! shard.

use std::collections::BTreeMap;

use crate::{
    model::Shard,
    store::checkpoints::{Basis, Checkpoint, Position, ShardCheckpoint, Sightings},
};

/// Where a run starts in a shard.
#[derive(Clone, Debug)]
pub struct Start {
    /// The shard.
    pub shard: Shard,
    /// Where its listing continues.
    pub position: Position,
    /// What the pass already knows of the entries before that position.
    pub sightings: Sightings,
}

/// Where a run starts in each shard: at the pass's checkpoint, or at the beginning of those that
/// the pass has not begun.
pub(super) fn starts(shards: Vec<Shard>, checkpoint: Option<Checkpoint>) -> Vec<Start> {
    let saved = checkpoint.map(|checkpoint| checkpoint.shards).unwrap_or_default();
    let mut saved: BTreeMap<String, ShardCheckpoint> =
        saved.into_iter().map(|saved| (saved.shard.clone(), saved)).collect();
    shards
        .into_iter()
        .map(|shard| {
            let (position, sightings) = match saved.remove(shard.name()) {
                Some(saved) => (saved.position, saved.sightings),
                None => (Position::Beginning, Sightings::default()),
            };
            Start { shard, position, sightings }
        })
        .collect()
}

/// Identifies a page of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageId {
    shard: usize,
    number: u64,
}

/// As the store keeps it for the duration of a run.
impl From<(usize, u64)> for PageId {
    fn from((shard, number): (usize, u64)) -> Self {
        Self { shard, number }
    }
}

impl From<PageId> for (usize, u64) {
    fn from(PageId { shard, number }: PageId) -> Self {
        (shard, number)
    }
}

/// A page that is not finished.
#[derive(Debug)]
pub(super) struct OpenPage {
    /// How many entries it has.
    pub(super) entries: u64,
    /// Those that are being fetched.
    pub(super) pending: usize,
    /// Those that are held back because they may be renamed.
    pub(super) candidates: usize,
    /// Where its shard's listing continues once it and all pages before it are done; `None`: where
    /// it did before.
    pub(super) position: Option<Position>,
}

/// A shard in progress.
#[derive(Debug)]
struct ShardState {
    name: String,
    sightings: Sightings,
    /// In the order of the walk.
    pages: BTreeMap<u64, OpenPage>,
    /// Where its listing continues, if that has moved since its last checkpoint.
    position: Option<Position>,
    /// Entries of the pages that were closed since then.
    processed: u64,
}

/// All shards of a pass.
#[derive(Debug)]
pub(super) struct Shards {
    all: Vec<ShardState>,
    next_page: u64,
    /// Pages that wait for fetches.
    busy: usize,
}

impl Shards {
    pub(super) fn new(starts: &[Start]) -> Self {
        let state = |start: &Start| ShardState {
            name: start.shard.name().to_owned(),
            sightings: start.sightings.clone(),
            pages: BTreeMap::new(),
            position: None,
            processed: 0,
        };
        Self { all: starts.iter().map(state).collect(), next_page: 0, busy: 0 }
    }

    /// What the pass knows of a shard's entries; `shard` is its index among the starts.
    pub(super) fn sightings_of_shard(&mut self, shard: usize) -> &mut Sightings {
        &mut self.all[shard].sightings
    }

    /// The same, for the shard of a page.
    pub(super) fn sightings_of_page(&mut self, page: PageId) -> &mut Sightings {
        self.sightings_of_shard(page.shard)
    }

    /// Whether the entry with this row was found in any shard.
    pub(super) fn have_found(&self, row: u64) -> bool {
        let found = |known: &Sightings| known.seen.contains(row) || known.drifted.contains(row);
        self.all.iter().any(|shard| found(&shard.sightings))
    }

    /// What the pass knows of all shards together.
    pub(super) fn sightings(&self) -> Sightings {
        let mut whole = Sightings::default();
        self.all.iter().for_each(|shard| whole.join(shard.sightings.clone()));
        whole
    }

    /// The id of the next page of a shard.
    pub(super) fn next_page(&mut self, shard: usize) -> PageId {
        self.next_page += 1;
        PageId { shard, number: self.next_page }
    }

    /// Opens a page.
    pub(super) fn open(&mut self, page: PageId, open: OpenPage) {
        self.busy += usize::from(open.pending > 0);
        self.all[page.shard].pages.insert(page.number, open);
    }

    /// How many pages wait for fetches.
    pub(super) fn busy_pages(&self) -> usize {
        self.busy
    }

    /// An entry of the page was fetched, or never will be.
    pub(super) fn entry_done(&mut self, page: PageId) {
        if let Some(open) = self.all[page.shard].pages.get_mut(&page.number) {
            open.pending -= 1;
            self.busy -= usize::from(open.pending == 0);
        }
    }

    /// An entry of the page that was held back is being fetched now.
    pub(super) fn candidate_started(&mut self, page: PageId) {
        if let Some(open) = self.all[page.shard].pages.get_mut(&page.number) {
            open.candidates -= 1;
            self.busy += usize::from(open.pending == 0);
            open.pending += 1;
        }
    }

    /// Closes the finished pages at the front of each shard.
    pub(super) fn close_pages(&mut self) {
        self.all.iter_mut().for_each(ShardState::close_pages);
    }

    /// The checkpoints of the shards that have moved since this was last called.
    pub(super) fn moved_checkpoints(&mut self, basis: &Basis) -> Vec<ShardCheckpoint> {
        self.all.iter_mut().filter_map(|shard| shard.moved_checkpoint(basis)).collect()
    }
}

impl ShardState {
    fn close_pages(&mut self) {
        while let Some(first) = self.pages.first_entry()
            && first.get().pending == 0
            && first.get().candidates == 0
        {
            let page = first.remove();
            if let Some(position) = page.position {
                self.processed += page.entries;
                self.position = Some(position);
            }
        }
    }

    fn moved_checkpoint(&mut self, basis: &Basis) -> Option<ShardCheckpoint> {
        Some(ShardCheckpoint {
            position: self.position.take()?,
            shard: self.name.clone(),
            sightings: self.sightings.clone(),
            processed: std::mem::take(&mut self.processed),
            basis: basis.clone(),
        })
    }
}
