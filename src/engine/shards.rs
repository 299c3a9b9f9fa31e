//! The shards of a pass under way: how far each has come, and which of its pages hold it there.
//!
//! Entries are dealt with in any order; a shard moves over a page once all of it is dealt with, and
//! all pages before it. The pages of another shard hold it back in nothing.

use std::collections::BTreeMap;

use crate::{
    model::Shard,
    store::checkpoints::{Basis, Checkpoint, Place, Reached, Tally},
};

/// Where a run begins in a shard.
#[derive(Clone, Debug)]
pub struct Start {
    /// The shard.
    pub shard: Shard,
    /// Where its listing goes on.
    pub place: Place,
    /// What the pass knows already of the entries before.
    pub tally: Tally,
}

/// Where a run begins in each shard: where the pass has come to, and at the beginning of those that
/// it has not come to yet.
pub(super) fn starts(shards: Vec<Shard>, checkpoint: Option<Checkpoint>) -> Vec<Start> {
    let reached = checkpoint.map(|checkpoint| checkpoint.shards).unwrap_or_default();
    let mut reached: BTreeMap<String, Reached> =
        reached.into_iter().map(|reached| (reached.shard.clone(), reached)).collect();
    shards
        .into_iter()
        .map(|shard| {
            let (place, tally) = match reached.remove(shard.name()) {
                Some(reached) => (reached.place, reached.tally),
                None => (Place::Beginning, Tally::default()),
            };
            Start { shard, place, tally }
        })
        .collect()
}

/// A page of the walk, by which its entries find back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageId {
    shard: usize,
    number: u64,
}

/// As the store keeps it for the length of a run.
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

/// A page that is not wholly dealt with.
#[derive(Debug)]
pub(super) struct OpenPage {
    /// Entries that it has.
    pub(super) entries: u64,
    /// Those that are being fetched.
    pub(super) missing: usize,
    /// Those that may be renamed ones.
    pub(super) renamed: usize,
    /// Where its shard has come to once it and all before it are dealt with; `None`: no further.
    pub(super) place: Option<Place>,
}

/// A shard under way.
#[derive(Debug)]
struct UnderWay {
    name: String,
    tally: Tally,
    /// In the order of the walk.
    pages: BTreeMap<u64, OpenPage>,
    /// Where it has come to, if that has moved since it was told last.
    place: Option<Place>,
    /// Entries of the pages that were closed since then.
    processed: u64,
}

/// All shards of a pass.
#[derive(Debug)]
pub(super) struct Shards {
    all: Vec<UnderWay>,
    next_page: u64,
    /// Pages that wait for fetches.
    busy: usize,
}

impl Shards {
    pub(super) fn new(starts: &[Start]) -> Self {
        let under_way = |start: &Start| UnderWay {
            name: start.shard.name().to_owned(),
            tally: start.tally.clone(),
            pages: BTreeMap::new(),
            place: None,
            processed: 0,
        };
        Self { all: starts.iter().map(under_way).collect(), next_page: 0, busy: 0 }
    }

    /// What the pass learns of the entries of a shard; `shard` is its position among the starts.
    pub(super) fn tally(&mut self, shard: usize) -> &mut Tally {
        &mut self.all[shard].tally
    }

    /// The same, of the shard that a page is of.
    pub(super) fn tally_of(&mut self, page: PageId) -> &mut Tally {
        self.tally(page.shard)
    }

    /// Whether an entry has been found in any shard, by the key of its row.
    pub(super) fn have_found(&self, row: u64) -> bool {
        let found = |tally: &Tally| tally.seen.contains(row) || tally.drifted.contains(row);
        self.all.iter().any(|shard| found(&shard.tally))
    }

    /// What the pass has learnt of all shards.
    pub(super) fn whole_tally(&self) -> Tally {
        let mut whole = Tally::default();
        self.all.iter().for_each(|shard| whole.join(shard.tally.clone()));
        whole
    }

    /// The name of the next page of a shard.
    pub(super) fn next_page(&mut self, shard: usize) -> PageId {
        self.next_page += 1;
        PageId { shard, number: self.next_page }
    }

    /// Opens a page.
    pub(super) fn open(&mut self, page: PageId, open: OpenPage) {
        self.busy += usize::from(open.missing > 0);
        self.all[page.shard].pages.insert(page.number, open);
    }

    /// How many pages wait for fetches.
    pub(super) fn busy_pages(&self) -> usize {
        self.busy
    }

    /// An entry of the page has been fetched, or never will be.
    pub(super) fn dealt_with(&mut self, page: PageId) {
        if let Some(open) = self.all[page.shard].pages.get_mut(&page.number) {
            open.missing -= 1;
            self.busy -= usize::from(open.missing == 0);
        }
    }

    /// An entry of the page that was held back as a renamed one is taken up.
    pub(super) fn is_taken_up(&mut self, page: PageId) {
        if let Some(open) = self.all[page.shard].pages.get_mut(&page.number) {
            open.renamed -= 1;
            self.busy += usize::from(open.missing == 0);
            open.missing += 1;
        }
    }

    /// Closes the pages at the front of each shard that are dealt with.
    pub(super) fn close_pages(&mut self) {
        self.all.iter_mut().for_each(UnderWay::close_pages);
    }

    /// How far the shards have come that have moved since this was asked last.
    pub(super) fn reached(&mut self, basis: &Basis) -> Vec<Reached> {
        self.all.iter_mut().filter_map(|shard| shard.reached(basis)).collect()
    }
}

impl UnderWay {
    fn close_pages(&mut self) {
        while let Some(first) = self.pages.first_entry()
            && first.get().missing == 0
            && first.get().renamed == 0
        {
            let page = first.remove();
            if let Some(place) = page.place {
                self.processed += page.entries;
                self.place = Some(place);
            }
        }
    }

    fn reached(&mut self, basis: &Basis) -> Option<Reached> {
        Some(Reached {
            place: self.place.take()?,
            shard: self.name.clone(),
            tally: self.tally.clone(),
            processed: std::mem::take(&mut self.processed),
            basis: basis.clone(),
        })
    }
}
