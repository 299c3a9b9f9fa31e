//! Everything below the roots of a source that knows folders by id, with full paths, for previews,
//! which store nothing. It goes as a run does, whose tree is in the store: first what is listed,
//! then folders that no listing has, then the targets of links.
//!
//! Folders are kept in memory, and so are the ids of entries, and the entries whose folders are not
//! known yet.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::{Listing, Outline, Page, Placed, Profile, RootFolder, Source, SourceError};
use crate::{
    model::{Entry, EntryId, EntryKind, EntryPath, Folder, FolderId, Link, Shard},
    sources::retry::RetryPolicy,
};

/// How many ids the source is asked for at once.
const AT_ONCE: usize = 100;

/// More folders above each other than this are a circle.
const MAX_DEPTH: usize = 1000;

/// See the module. The stream ends as that of [`Source::walk`] does.
pub(super) fn pages(source: &dyn Source) -> BoxStream<'_, Result<Page, SourceError>> {
    stream::try_unfold(TreeWalk::new(source), |mut walk| async move {
        Ok(walk.next().await?.map(|page| (page, walk)))
    })
    .boxed()
}

/// What has a place once its folder is known.
enum Item {
    Entry(Entry),
    Outline(Outline),
}

/// Where a folder is.
enum Placement {
    Inside(EntryPath),
    Outside,
    /// Not known, because this folder is not.
    Unknown(FolderId),
}

/// A folder: those that it is in, and its name.
type KnownFolder = (Vec<FolderId>, Vec<u8>);

struct TreeWalk<'a> {
    source: &'a dyn Source,
    profile: Profile,
    /// What is listed now.
    listing: Option<BoxStream<'a, Result<Page, SourceError>>>,
    /// Whether the content of folders is listed separately.
    lists_folders: bool,
    to_list: VecDeque<FolderId>,
    /// Folders that are to be listed if they turn out to be below a root.
    unplaced: Vec<FolderId>,
    listed: HashSet<FolderId>,
    folders: HashMap<FolderId, KnownFolder>,
    /// By the folder that is not known.
    waiting: HashMap<FolderId, Vec<Item>>,
    links: Vec<Link>,
    /// The entries that are in a page.
    found: HashSet<EntryId>,
    /// The targets of links that were asked for.
    asked: HashSet<EntryId>,
}

impl<'a> TreeWalk<'a> {
    fn new(source: &'a dyn Source) -> Self {
        let profile = source.profile();
        let is_flat = profile.listing == Listing::Flat;
        let walk = || {
            let shards = stream::iter(source.shards());
            shards.flat_map(move |shard| source.walk(&shard, None)).boxed()
        };
        let roots = profile.roots.iter().map(|root| root.id.clone());
        Self {
            source,
            listing: is_flat.then(walk),
            lists_folders: !is_flat,
            to_list: if is_flat { VecDeque::new() } else { roots.collect() },
            unplaced: Vec::new(),
            listed: HashSet::new(),
            folders: HashMap::new(),
            waiting: HashMap::new(),
            links: Vec::new(),
            found: HashSet::new(),
            asked: HashSet::new(),
            profile,
        }
    }

    /// The next page, which may be empty.
    async fn next(&mut self) -> Result<Option<Page>, SourceError> {
        loop {
            if let Some(listing) = &mut self.listing {
                match listing.next().await.transpose()? {
                    Some(page) => return self.placed(page).await.map(Some),
                    None => self.listing = None,
                }
            } else if !self.to_list.is_empty() {
                self.list_next_folders();
            } else if !self.waiting.is_empty() || !self.unplaced.is_empty() {
                return self.ask_for_unknown().await.map(Some);
            } else {
                return self.targets().await;
            }
        }
    }

    fn list_next_folders(&mut self) {
        let at_once = match self.profile.listing {
            Listing::ByFolder { at_once } => at_once.max(1),
            Listing::Flat => 1,
        };
        let folders: Vec<FolderId> =
            self.to_list.drain(..at_once.min(self.to_list.len())).collect();
        let shard = self.source.shards().into_iter().next().unwrap_or_else(Shard::whole);
        self.listing = Some(self.source.children(&shard, &folders));
    }

    /// Asks for folders that no listing has had.
    async fn ask_for_unknown(&mut self) -> Result<Page, SourceError> {
        let unplaced = std::mem::take(&mut self.unplaced);
        let above = unplaced.iter().filter_map(|folder| match self.place(folder) {
            Placement::Unknown(above) => Some(above),
            Placement::Inside(_) | Placement::Outside => None,
        });
        let unknown: HashSet<FolderId> =
            self.waiting.keys().cloned().chain(above).take(AT_ONCE).collect();
        let folders = ask_for(self.source, unknown.into_iter().collect()).await?;
        let page = self.placed(Page { folders, ..Page::default() }).await?;
        unplaced.iter().for_each(|folder| self.list_later(folder));
        Ok(page)
    }

    /// Takes note of the folders of a page, and gives its entries their paths, and those that have
    /// waited for these folders.
    async fn placed(&mut self, page: Page) -> Result<Page, SourceError> {
        let Page { entries, folders, links, outlines, unlisted, several_parents, .. } = page;
        let several: HashMap<EntryId, Vec<FolderId>> = several_parents.into_iter().collect();
        let mut items: Vec<Item> = Vec::new();
        for folder in folders {
            let parents = several.get(&folder.id).cloned();
            items.extend(self.learn(folder, parents));
        }
        self.links.extend(links);
        items.extend(entries.into_iter().map(Item::Entry));
        items.extend(outlines.into_iter().map(Item::Outline));
        let mut placed = Page { unlisted, ..Page::default() };
        for item in items {
            match item {
                Item::Entry(entry) => self.put(entry, &mut placed),
                Item::Outline(outline) => {
                    for entry in self.expanded(outline).await? {
                        self.put(entry, &mut placed);
                    }
                }
            }
        }
        Ok(placed)
    }

    /// Takes note of a folder; returns what has waited for it.
    fn learn(&mut self, folder: Folder, several: Option<Vec<FolderId>>) -> Vec<Item> {
        let Folder { id, parent, name } = folder;
        if !self.is_root(&id) {
            let parents = several.unwrap_or_else(|| parent.into_iter().collect());
            self.folders.entry(id.clone()).or_insert((parents, name));
            self.list_later(&id);
        }
        self.waiting.remove(&id).unwrap_or_default()
    }

    /// Has the content of a folder listed, where that is done separately.
    fn list_later(&mut self, id: &FolderId) {
        if !self.lists_folders {
            return;
        }
        match self.place(id) {
            Placement::Inside(_) if self.listed.insert(id.clone()) => {
                self.to_list.push_back(id.clone());
            }
            Placement::Unknown(_) => self.unplaced.push(id.clone()),
            Placement::Inside(_) | Placement::Outside => {}
        }
    }

    /// Puts an entry into a page, unless it is below no root, or its folder is not known yet.
    fn put(&mut self, mut entry: Entry, page: &mut Page) {
        if entry.parent.is_some() {
            let places = entry.folders().into_iter().map(|folder| (self.place(&folder), folder));
            let first = places.into_iter().find(|(place, _)| !matches!(place, Placement::Outside));
            let (folder, parent) = match first {
                Some((Placement::Inside(path), folder)) => (path, folder),
                Some((Placement::Unknown(folder), _)) => {
                    return self.waiting.entry(folder).or_default().push(Item::Entry(entry));
                }
                Some((Placement::Outside, _)) | None => return,
            };
            let name = entry.path.as_bytes().to_vec();
            entry.path = below(&folder, &name);
            if let EntryKind::File(file) = &mut entry.kind {
                file.details.get_or_insert_default().place = Some((parent, name));
            }
        }
        if self.found.insert(entry.id.clone()) {
            page.entries.push(entry);
        }
    }

    /// The entries of what is outlined; none if it is below no root, or its folders are not known
    /// yet.
    async fn expanded(&mut self, outline: Outline) -> Result<Vec<Entry>, SourceError> {
        let (mut inside, mut unknown) = (Vec::new(), None);
        for folder in &outline.folders {
            match self.place(folder) {
                Placement::Inside(path) => inside.push((path, folder.clone())),
                Placement::Unknown(folder) => unknown = Some(folder),
                Placement::Outside => {}
            }
        }
        inside.sort();
        let mut inside = inside.into_iter();
        match (inside.next(), unknown) {
            (Some((path, folder)), _) => {
                let others = inside.map(|(path, _)| path).collect();
                self.source.expand(&outline, &Placed { folder, path, others }).await
            }
            (None, Some(folder)) => {
                self.waiting.entry(folder).or_default().push(Item::Outline(outline));
                Ok(Vec::new())
            }
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Asks for the next targets of links that are not found yet; `None` when there are none left.
    async fn targets(&mut self) -> Result<Option<Page>, SourceError> {
        // No listing has what is below them.
        self.lists_folders = true;
        let mut wanted: BTreeMap<EntryId, (FolderId, Vec<u8>)> = BTreeMap::new();
        for link in &self.links {
            let is_found = self.found.contains(&link.target)
                || matches!(self.place(&link.target), Placement::Inside(_));
            let is_wanted = !is_found
                && !self.asked.contains(&link.target)
                && matches!(self.place(&link.parent), Placement::Inside(_));
            if is_wanted && wanted.len() < AT_ONCE {
                let place = (link.parent.clone(), link.name.clone());
                wanted.entry(link.target.clone()).or_insert(place);
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let ids: Vec<EntryId> = wanted.keys().cloned().collect();
        self.asked.extend(ids.iter().cloned());
        let Page { entries, folders, .. } = self.source.by_ids(&ids).await?;
        for Folder { id, parent, name } in folders {
            let own = (parent, name);
            let place = match wanted.get(&id) {
                Some((parent, name)) if !self.is_inside(own.0.as_ref()) => {
                    (vec![parent.clone()], name.clone())
                }
                _ => (own.0.into_iter().collect(), own.1),
            };
            self.folders.insert(id.clone(), place);
            self.list_later(&id);
        }
        let place = |mut entry: Entry| {
            if let Some((parent, name)) = wanted.get(&entry.id)
                && !self.is_inside(entry.parent.as_ref())
            {
                entry.parent = Some(parent.clone());
                entry.path = EntryPath::new(name.as_slice());
            }
            entry
        };
        let entries = entries.into_iter().map(place).collect();
        self.placed(Page { entries, ..Page::default() }).await.map(Some)
    }

    fn is_root(&self, id: &FolderId) -> bool {
        self.root(id).is_some()
    }

    fn root(&self, id: &FolderId) -> Option<&RootFolder> {
        self.profile.roots.iter().find(|root| root.id == *id)
    }

    fn is_inside(&self, folder: Option<&FolderId>) -> bool {
        folder.is_some_and(|folder| matches!(self.place(folder), Placement::Inside(_)))
    }

    fn place(&self, folder: &FolderId) -> Placement {
        let mut steps = MAX_DEPTH;
        self.place_within(folder, &mut steps)
    }

    /// The same, with no more than so many `steps` up.
    fn place_within(&self, folder: &FolderId, steps: &mut usize) -> Placement {
        if let Some(root) = self.root(folder) {
            return Placement::Inside(root.path.clone());
        }
        let Some((parents, name)) = self.folders.get(folder) else {
            return Placement::Unknown(folder.clone());
        };
        for parent in parents {
            let Some(left) = steps.checked_sub(1) else { break };
            *steps = left;
            match self.place_within(parent, steps) {
                Placement::Inside(path) => return Placement::Inside(below(&path, name)),
                Placement::Outside => {}
                unknown @ Placement::Unknown(_) => return unknown,
            }
        }
        Placement::Outside
    }
}

/// Asks for folders that are not known. One that cannot be seen is below no root.
async fn ask_for(source: &dyn Source, ids: Vec<FolderId>) -> Result<Vec<Folder>, SourceError> {
    let asks = ids.into_iter().map(|id| async move {
        match RetryPolicy::FETCH.run(|| source.folder(&id)).await {
            Err(error) if error.class().ends_run() => Err(error),
            found => {
                let nowhere = || Folder { id: id.clone(), parent: None, name: Vec::new() };
                Ok(found.ok().flatten().unwrap_or_else(nowhere))
            }
        }
    });
    stream::iter(asks).buffer_unordered(source.default_concurrency()).try_collect().await
}

fn below(folder: &EntryPath, name: &[u8]) -> EntryPath {
    match folder.as_bytes() {
        b"" => EntryPath::new(name),
        folder => EntryPath::new([folder, b"/", name].concat()),
    }
}
