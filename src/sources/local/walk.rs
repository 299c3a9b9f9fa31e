//! Listing a folder: depth first, in bytewise order of the paths, in parallel. However deep folders
//! are nested, a bounded number of them is open, and a folder takes memory for its own name only.

use std::{
    collections::VecDeque,
    ffi::{CStr, OsStr},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{FileId, Links, Tree, entry, kind_of, root_error, source_error};
use crate::{
    model::{Cursor, Entry, EntryKind, EntryPath, SkipReason},
    sources::{Page, SourceError},
};

/// A walk under way: what is still to do, in order, the front of it running already.
pub(super) struct Walk {
    tree: Arc<Tree>,
    todo: VecDeque<Step>,
    /// Paths up to and with this one are behind us.
    from: Option<Vec<u8>>,
    page: Page,
}

/// Longest path of a folder that is listed, in bytes: twice what most programs can open. Deeper
/// ones would take time that grows with the square of their depth.
const LONGEST_PATH: usize = 8 * 1024;

/// A part of the tree.
enum Step {
    /// Everything in a folder.
    List(PendingFolder),
    /// Some files of one folder, their names NUL-separated.
    Look { folder: Arc<OpenFolder>, names: Vec<u8> },
    /// Either of these, under way.
    Running(JoinHandle<Result<Done, SourceError>>),
}

/// A folder that is still to be listed.
struct PendingFolder {
    /// Its name in the folder that it is in; empty for the root.
    name: Vec<u8>,
    /// The folder that it is in; none for the root.
    parent: Option<Arc<OpenFolder>>,
}

impl PendingFolder {
    /// Path from the root, empty or ending with `/`.
    fn prefix(&self) -> Vec<u8> {
        prefix(&self.name, self.parent.as_ref())
    }
}

/// A folder that was opened, and the folders above it up to the root. It may have been closed for
/// others since ([`Tree::opened`]).
struct OpenFolder {
    id: FileId,
    name: Vec<u8>,
    parent: Option<Arc<OpenFolder>>,
    fd: Mutex<Option<Arc<OwnedFd>>>,
}

impl OpenFolder {
    fn prefix(&self) -> Vec<u8> {
        prefix(&self.name, self.parent.as_ref())
    }

    /// Whether it, or a folder above it, is that one: a link to it leads in a circle.
    fn is_within(&self, id: FileId) -> bool {
        let mut folders = std::iter::successors(Some(self), |folder| folder.parent.as_deref());
        folders.any(|folder| folder.id == id)
    }

    fn fd(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.fd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenFolder {
    /// One after the other: a chain is as long as folders are nested, and the stack is not.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut last) = next.and_then(Arc::into_inner) {
            next = last.parent.take();
        }
    }
}

/// The path from the root of the folder of that name in `parent`, empty or ending with `/`.
fn prefix(name: &[u8], parent: Option<&Arc<OpenFolder>>) -> Vec<u8> {
    let above = std::iter::successors(parent, |folder| folder.parent.as_ref());
    let names: Vec<&[u8]> =
        std::iter::once(name).chain(above.map(|folder| folder.name.as_slice())).collect();
    let mut prefix = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum());
    for name in names.iter().rev().filter(|name| !name.is_empty()) {
        prefix.extend_from_slice(name);
        prefix.push(b'/');
    }
    prefix
}

/// The folders that were opened last, the most recent at the end; those before them are closed.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Weak<OpenFolder>>>);

impl std::fmt::Debug for OpenFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFolder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Recent {
    /// Folders that are open at once, besides those in use: a process may open 1,024 files by
    /// default, of which others need some.
    const MOST: usize = 256;

    /// Takes note of a folder that was opened, and closes the oldest.
    fn add(&self, folder: &Arc<OpenFolder>) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(Arc::downgrade(folder));
        let oldest = if recent.len() > Self::MOST { recent.pop_front() } else { None };
        drop(recent);
        if let Some(oldest) = oldest.and_then(|oldest| oldest.upgrade()) {
            oldest.fd().take();
        }
    }
}

/// What became of a step.
enum Done {
    /// A folder: what to do for what is in it, in order.
    Listed(Vec<Step>),
    /// Files.
    Looked(Vec<Entry>),
    /// A folder that is there and cannot be listed.
    Unlisted(Vec<u8>, SourceError),
}

impl Walk {
    /// Steps that run ahead of the consumer.
    const AHEAD: usize = 12;
    /// Files that one step looks at.
    const LOOK: usize = 128;
    /// Entries of a page, at least, but for the last.
    const PAGE: usize = 1000;

    pub(super) fn new(tree: Arc<Tree>, from: Option<Cursor>) -> Self {
        let root = PendingFolder { name: Vec::new(), parent: None };
        Self {
            tree,
            todo: VecDeque::from([Step::List(root)]),
            from: from.map(|cursor| cursor.0),
            page: Page::default(),
        }
    }

    /// The next page, `None` behind the last.
    pub(super) async fn page(&mut self) -> Result<Option<Page>, SourceError> {
        while self.page.entries.len() < Self::PAGE {
            self.run_ahead();
            let Some(step) = self.todo.pop_front() else { break };
            match step.finish(&self.tree).await? {
                Done::Listed(steps) => self.descend(steps),
                Done::Looked(entries) => self.take(entries),
                Done::Unlisted(prefix, error) => self.leave_out(prefix, error)?,
            }
        }
        let mut page = std::mem::take(&mut self.page);
        page.cursor = page.entries.last().map(|entry| Cursor(entry.id.as_bytes().to_vec()));
        Ok(page.cursor.is_some().then_some(page))
    }

    fn run_ahead(&mut self) {
        for step in self.todo.iter_mut().take(Self::AHEAD) {
            step.start(&self.tree);
        }
    }

    /// Puts what a folder holds in front of everything else.
    fn descend(&mut self, steps: Vec<Step>) {
        for step in steps.into_iter().rev() {
            let behind = matches!(&step, Step::List(place) if self.is_all_behind(place));
            if !behind {
                self.todo.push_front(step);
            }
        }
    }

    fn take(&mut self, mut entries: Vec<Entry>) {
        if let Some(from) = &self.from {
            entries.retain(|entry| entry.id.as_bytes() > from.as_slice());
        }
        self.page.entries.append(&mut entries);
    }

    /// Whether every path in a folder is behind us.
    fn is_all_behind(&self, place: &PendingFolder) -> bool {
        let Some(from) = self.from.as_deref() else { return false };
        let prefix = place.prefix();
        prefix.as_slice() < from && !from.starts_with(&prefix)
    }

    /// Notes a folder that cannot be listed: an entry that fails, and a prefix beneath which
    /// nothing counts as gone. For the root, the walk itself has failed.
    fn leave_out(&mut self, prefix: Vec<u8>, error: SourceError) -> Result<(), SourceError> {
        if prefix.is_empty() {
            return Err(error);
        }
        let path = EntryPath::new(prefix);
        self.take(vec![entry(path.clone(), unreadable(&error))]);
        self.page.unlisted.push(path);
        Ok(())
    }
}

impl Step {
    /// Sets the step going, if it is not.
    fn start(&mut self, tree: &Arc<Tree>) {
        if !matches!(self, Self::Running(_)) {
            let work = std::mem::replace(self, Self::List(PendingFolder::nowhere()));
            let tree = tree.clone();
            *self = Self::Running(spawn_blocking(move || work.run(&tree)));
        }
    }

    async fn finish(mut self, tree: &Arc<Tree>) -> Result<Done, SourceError> {
        self.start(tree);
        match self {
            Self::Running(done) => done
                .await
                .unwrap_or_else(|error| Err(SourceError::Transient { message: error.to_string() })),
            unstarted => unstarted.run(tree),
        }
    }

    fn run(self, tree: &Tree) -> Result<Done, SourceError> {
        match self {
            Self::List(place) => tree.list(place),
            Self::Look { folder, names } => Ok(Done::Looked(tree.stat_names(&folder, &names))),
            Self::Running(_) => Ok(Done::Looked(Vec::new())),
        }
    }
}

impl PendingFolder {
    /// Stands in for a place that is being moved.
    const fn nowhere() -> Self {
        Self { name: Vec::new(), parent: None }
    }
}

/// How folders are opened.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a link leads to.
enum Target {
    Folder(FileId),
    File(Stat),
    /// Out of the root, or nowhere.
    Beyond,
}

impl Tree {
    fn list(&self, place: PendingFolder) -> Result<Done, SourceError> {
        let prefix = place.prefix();
        if prefix.len() > LONGEST_PATH {
            let message = format!("the path of this folder is longer than {LONGEST_PATH} bytes");
            return Ok(Done::Unlisted(prefix, SourceError::TooLarge { message }));
        }
        let path = self.root.join(OsStr::from_bytes(&prefix));
        match self.read_folder(&path, place) {
            Ok(steps) => Ok(Done::Listed(steps)),
            Err(error) if prefix.is_empty() => Err(root_error(&path, &error)),
            Err(error) => Ok(match source_error(&path, &error) {
                // Gone, or replaced by a file, since its parent was read: so are its contents.
                SourceError::NotFound { .. } | SourceError::Changed { .. } => {
                    Done::Listed(Vec::new())
                }
                error => Done::Unlisted(prefix, error),
            }),
        }
    }

    fn read_folder(&self, path: &Path, place: PendingFolder) -> io::Result<Vec<Step>> {
        let PendingFolder { name, parent } = place;
        let fd = match &parent {
            Some(parent) => {
                let parent = self.opened(parent)?;
                self.open_in(&parent, &name)?
            }
            None => self.open_root()?,
        };
        let id = file_id(&rustix::fs::fstat(&fd)?);
        if self.own.contains(&id) {
            return Ok(Vec::new());
        }
        let fd = Arc::new(fd);
        let folder = Arc::new(OpenFolder { id, name, parent, fd: Mutex::new(Some(fd.clone())) });
        let names = self.names(path, &fd, &folder)?;
        self.recent.add(&folder);
        Ok(steps(&names, &folder))
    }

    /// The root may be a link: somebody named it.
    fn open_root(&self) -> io::Result<OwnedFd> {
        Ok(rustix::fs::open(&self.root, FOLDER, Mode::empty())?)
    }

    /// Opens a folder by its name in the one above it, so that nothing on the way there can have
    /// become a link meanwhile.
    fn open_in(&self, parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
        let no_links = match self.links {
            Links::Skip => OFlags::NOFOLLOW,
            Links::Within(_) | Links::Anywhere => OFlags::empty(),
        };
        Ok(rustix::fs::openat(parent, name, FOLDER | no_links, Mode::empty())?)
    }

    /// A folder, opened again where it was closed for others: from the next one above it that is
    /// open, or from the root. Several on the way stay open, because they will be needed next.
    fn opened(&self, folder: &Arc<OpenFolder>) -> io::Result<Arc<OwnedFd>> {
        let mut closed = Vec::new();
        let mut next = Some(folder);
        let mut above = None;
        while let Some(folder) = next {
            above = folder.fd().clone();
            if above.is_some() {
                break;
            }
            closed.push(folder);
            next = folder.parent.as_ref();
        }
        while let Some(folder) = closed.pop() {
            let fd = match &above {
                Some(parent) => self.open_in(parent, &folder.name)?,
                None => self.open_root()?,
            };
            if file_id(&rustix::fs::fstat(&fd)?) != folder.id {
                return Err(io::Error::other("another folder has taken its place"));
            }
            let fd = Arc::new(fd);
            if closed.len() < Recent::MOST / 2 {
                *folder.fd() = Some(fd.clone());
                self.recent.add(folder);
            }
            above = Some(fd);
        }
        above.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The names in a folder in the order of the walk; those of folders end with `/`.
    fn names(&self, path: &Path, fd: &OwnedFd, folder: &OpenFolder) -> io::Result<Names> {
        let mut names = Names::default();
        for found in Dir::read_from(fd)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let file_type = match found.file_type() {
                FileType::Unknown => {
                    match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(rustix::io::Errno::NOENT) => continue,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                known => known,
            };
            let is_folder = match file_type {
                FileType::Directory => true,
                FileType::Symlink if self.links != Links::Skip => {
                    matches!(self.resolve(path, name), Target::Folder(id) if !folder.is_within(id))
                }
                _ => false,
            };
            names.push(name.to_bytes(), is_folder);
        }
        names.sort();
        Ok(names)
    }

    fn resolve(&self, folder: &Path, name: &CStr) -> Target {
        let link = folder.join(OsStr::from_bytes(name.to_bytes()));
        let Ok(stat) = rustix::fs::stat(&link) else { return Target::Beyond };
        if let Links::Within(root) = &self.links
            && !link.canonicalize().is_ok_and(|target| target.starts_with(root))
        {
            return Target::Beyond;
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Target::Folder(file_id(&stat)),
            _ => Target::File(stat),
        }
    }

    fn stat_names(&self, folder: &Arc<OpenFolder>, names: &[u8]) -> Vec<Entry> {
        let (prefix, fd) = (folder.prefix(), self.opened(folder));
        names
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
            .filter_map(|name| {
                let path = EntryPath::new([&prefix, name.to_bytes()].concat());
                let kind = match &fd {
                    Ok(fd) => self.look_at(fd, &prefix, name)?,
                    Err(error) => unreadable(&source_error(&self.path(&path), error)),
                };
                Some(entry(path, kind))
            })
            .collect()
    }

    /// What a name in a folder is; `None` when it is gone by now.
    fn look_at(&self, fd: &OwnedFd, prefix: &[u8], name: &CStr) -> Option<EntryKind> {
        let path = || self.root.join(OsStr::from_bytes(prefix));
        match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if self.follows(&stat) => Some(match self.resolve(&path(), name) {
                Target::File(stat) => kind_of(&stat),
                // A folder that is entered is not looked at: this one leads back up.
                Target::Folder(_) | Target::Beyond => {
                    EntryKind::Skipped(SkipReason::SymlinkEscapes)
                }
            }),
            Ok(stat) => Some(kind_of(&stat)),
            Err(rustix::io::Errno::NOENT) => None,
            Err(errno) => {
                let path = path().join(OsStr::from_bytes(name.to_bytes()));
                Some(unreadable(&source_error(&path, &errno.into())))
            }
        }
    }

    fn follows(&self, stat: &Stat) -> bool {
        self.links != Links::Skip && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
    }
}

fn unreadable(error: &SourceError) -> EntryKind {
    EntryKind::Unreadable { error_type: error.error_type(), message: error.to_string() }
}

fn file_id(stat: &Stat) -> FileId {
    FileId { device: stat.st_dev, inode: stat.st_ino }
}

/// Many names in one buffer.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
}

impl Names {
    fn push(&mut self, name: &[u8], is_folder: bool) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        if is_folder {
            self.bytes.push(b'/');
        }
        self.spans.push((start, self.bytes.len()));
    }

    /// Orders by the whole paths: a folder's name with its `/` is what they go on with.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by(|a, b| bytes[a.0..a.1].cmp(&bytes[b.0..b.1]));
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|(start, end)| &self.bytes[*start..*end])
    }
}

/// The steps for what is in a folder: each folder its own, files in bunches.
fn steps(names: &Names, folder: &Arc<OpenFolder>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut bunch = Vec::new();
    let mut bunched = 0;
    for name in names.iter() {
        let is_folder = name.ends_with(b"/");
        if bunched > 0 && (is_folder || bunched == Walk::LOOK) {
            let names = std::mem::take(&mut bunch);
            steps.push(Step::Look { folder: folder.clone(), names });
            bunched = 0;
        }
        if is_folder {
            let name = name[..name.len() - 1].to_vec();
            steps.push(Step::List(PendingFolder { name, parent: Some(folder.clone()) }));
        } else {
            bunch.extend_from_slice(name);
            bunch.push(0);
            bunched += 1;
        }
    }
    if bunched > 0 {
        steps.push(Step::Look { folder: folder.clone(), names: bunch });
    }
    steps
}
