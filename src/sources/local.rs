//! Folders of this machine, mounted shares included.
//!
//! The walk is depth-first in bytewise order of the paths from the root, so any path is a cursor.
//! Folders are read and files looked at in parallel, some way ahead of the consumer. Nothing is
//! ever written, no access time is asked for, and nothing but regular files is opened.

use std::{
    collections::VecDeque,
    ffi::{CStr, OsStr},
    fs::File,
    io::{self, Read as _, Seek as _},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    BlockingRead, Body, ByteRange, Content, Facts, Page, RootIdentity, Source, SourceError, instant,
};
use crate::{
    clock::SharedClock,
    config::SourceTuning,
    model::{
        Cursor, Entry, EntryId, EntryKind, EntryPath, Fingerprint, SkipReason, SyncOptions, Version,
    },
};

/// A folder as a source.
#[derive(Debug)]
pub struct Folder {
    tree: Arc<Tree>,
    quiet_period: Duration,
    clock: SharedClock,
}

/// Where the folder is and how links in it are taken.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    links: Links,
    /// Identities of folders that are never entered.
    own: Vec<FileId>,
}

/// What to do about symbolic links.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Links {
    Skip,
    /// Follow those whose target lies within this resolved root.
    Within(PathBuf),
    Anywhere,
}

/// Device and inode: what a file is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl Folder {
    /// The folder at `root`, which need not be there yet.
    #[must_use]
    pub fn new(root: PathBuf, options: &SyncOptions, tuning: &SourceTuning) -> Self {
        let links = match (options.follow_symlinks, options.symlinks_may_leave_root) {
            (false, _) => Links::Skip,
            (true, true) => Links::Anywhere,
            (true, false) => Links::Within(root.canonicalize().unwrap_or_else(|_| root.clone())),
        };
        let own = tuning.own_folders.iter().filter_map(|path| identity_of(path)).collect();
        Self {
            tree: Arc::new(Tree { root, links, own }),
            quiet_period: tuning.quiet_period,
            clock: tuning.clock.clone(),
        }
    }

    /// How long until a file modified at `fingerprint.modified` has been left alone long enough to
    /// be believed finished. A time stamp in the future proves nothing and is not waited for.
    fn settles_in(&self, fingerprint: &Fingerprint) -> Option<Duration> {
        let age = self.clock.now().duration_since(fingerprint.modified?);
        let age = Duration::try_from(age).ok()?;
        self.quiet_period.checked_sub(age).filter(|wait| !wait.is_zero())
    }
}

fn identity_of(path: &Path) -> Option<FileId> {
    let facts = path.metadata().ok()?;
    Some(FileId { device: facts.dev(), inode: facts.ino() })
}

#[async_trait]
impl Source for Folder {
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        let tree = self.tree.clone();
        blocking(move || tree.root_identity()).await
    }

    fn walk(&self, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        let walk = Walk::new(self.tree.clone(), from);
        stream::unfold(Some(walk), |walk| async move {
            let mut walk = walk?;
            match walk.page().await {
                Ok(Some(page)) => Some((Ok(page), Some(walk))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let tree = self.tree.clone();
        let id = id.clone();
        blocking(move || tree.stat(id)).await
    }

    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        if let Some(wait) = self.settles_in(fingerprint) {
            tokio::time::sleep(wait).await;
        }
        let range = range.unwrap_or(ByteRange { start: 0, len: fingerprint.size });
        Ok(Content {
            facts: Facts::default(),
            body: Body::Blocking(Box::new(Reading {
                path: self.tree.path(id),
                follow: self.tree.links != Links::Skip,
                version: fingerprint.version.clone(),
                range,
                file: None,
            })),
        })
    }

    fn default_concurrency(&self) -> usize {
        16
    }

    fn bundle(&self) -> usize {
        64
    }
}

/// Runs `work` on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(SourceError::Transient { message: error.to_string() }))
}

impl Tree {
    fn path(&self, id: &EntryId) -> PathBuf {
        self.root.join(OsStr::from_bytes(id.as_bytes()))
    }

    /// The filesystem's id and the folder's inode. Where a filesystem has no id (0), its device
    /// number stands in, which may differ after a restart.
    fn root_identity(&self) -> Result<RootIdentity, SourceError> {
        let root = &self.root;
        let facts = root.metadata().map_err(|error| root_error(root, &error))?;
        if !facts.is_dir() {
            return Err(SourceError::Misconfigured {
                message: format!(
                    "{root:?} is not a folder: to take one file, sync its folder with --include NAME"
                ),
            });
        }
        let filesystem = rustix::fs::statvfs(root).map_err(|e| root_error(root, &e.into()))?.f_fsid;
        Ok(RootIdentity(Some(match filesystem {
            0 => format!("device {:x} inode {}", facts.dev(), facts.ino()),
            id => format!("filesystem {id:x} inode {}", facts.ino()),
        })))
    }

    /// Whether a path still leads where the walk would have gone: what was a folder may be a link
    /// to somewhere else by now.
    fn leads_here(&self, path: &Path) -> bool {
        match &self.links {
            Links::Anywhere => true,
            Links::Within(root) => path.canonicalize().is_ok_and(|real| real.starts_with(root)),
            Links::Skip => match (path.parent(), self.root.canonicalize()) {
                (Some(folder), Ok(root)) => {
                    let below = folder.strip_prefix(&self.root).unwrap_or(folder);
                    folder.canonicalize().is_ok_and(|real| real == root.join(below))
                }
                _ => false,
            },
        }
    }

    fn stat(&self, id: EntryId) -> Result<Option<Entry>, SourceError> {
        let path = self.path(&id);
        if !self.leads_here(&path) {
            return Ok(None);
        }
        let flags = match self.links {
            Links::Skip => AtFlags::SYMLINK_NOFOLLOW,
            Links::Within(_) | Links::Anywhere => AtFlags::empty(),
        };
        match rustix::fs::statat(rustix::fs::CWD, &path, flags) {
            // A folder is no entry.
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(None),
            Ok(stat) => Ok(Some(entry(id, kind_of(&stat)))),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(source_error(&path, &errno.into())),
        }
    }
}

/// Why the root itself cannot be used.
fn root_error(root: &Path, error: &io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::RootMissing {
            message: format!("{root:?} is not there: is its disk or share mounted?"),
        },
        io::ErrorKind::PermissionDenied => {
            SourceError::Auth { message: format!("{root:?} may not be read by this user") }
        }
        _ => SourceError::RootMissing { message: format!("{root:?} cannot be read: {error}") },
    }
}

fn source_error(path: &Path, error: &io::Error) -> SourceError {
    let message = format!("{path:?}: {error}");
    // What was a file is a link by now.
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP) {
        return SourceError::Changed { message };
    }
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::NotFound { message },
        io::ErrorKind::PermissionDenied => SourceError::PermissionDenied { message },
        io::ErrorKind::TimedOut => SourceError::Timeout { message },
        _ => SourceError::Transient { message },
    }
}

fn entry(id: EntryId, kind: EntryKind) -> Entry {
    Entry { path: id.clone(), id, kind }
}

/// What a file that is not a folder is to us.
fn kind_of(stat: &Stat) -> EntryKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File(fingerprint(stat)),
        FileType::Symlink => EntryKind::Skipped(SkipReason::Symlink),
        _ => EntryKind::Skipped(SkipReason::SpecialFile),
    }
}

fn fingerprint(stat: &Stat) -> Fingerprint {
    Fingerprint {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        version: version(stat),
        modified: instant(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        etag: None,
        mime: None,
    }
}

/// Size, mtime, ctime and inode, in fixed widths. The device is left out: it changes when a share
/// is mounted again.
#[expect(clippy::useless_conversion, reason = "the fields' widths differ between systems")]
fn version(stat: &Stat) -> Version {
    let mut bytes = Vec::with_capacity(40);
    bytes.extend(i64::from(stat.st_size).to_le_bytes());
    bytes.extend(i64::from(stat.st_mtime).to_le_bytes());
    bytes.extend(u32::try_from(stat.st_mtime_nsec).unwrap_or_default().to_le_bytes());
    bytes.extend(i64::from(stat.st_ctime).to_le_bytes());
    bytes.extend(u32::try_from(stat.st_ctime_nsec).unwrap_or_default().to_le_bytes());
    bytes.extend(u64::from(stat.st_ino).to_le_bytes());
    Version(bytes)
}

/// A walk under way: what is still to do, in order, the front of it running already.
struct Walk {
    tree: Arc<Tree>,
    todo: VecDeque<Step>,
    /// Paths up to and with this one are behind us.
    from: Option<Vec<u8>>,
    page: Page,
}

/// A stretch of the tree.
enum Step {
    /// Everything in a folder.
    List(Place),
    /// Some files of one folder, their names NUL-separated.
    Look { folder: Arc<OpenFolder>, names: Vec<u8> },
    /// Either of these, under way.
    Running(JoinHandle<Result<Done, SourceError>>),
}

/// A folder on the way, with the folders above it, against loops of links.
struct Place {
    /// Path from the root, empty or ending with `/`.
    prefix: Vec<u8>,
    /// The folder that it is in; none for the root.
    parent: Option<Arc<OpenFolder>>,
    above: Option<Arc<Above>>,
}

/// A chain of folders up to the root.
struct Above {
    id: FileId,
    above: Option<Arc<Above>>,
}

impl Above {
    fn contains(&self, id: FileId) -> bool {
        self.id == id || self.above.as_ref().is_some_and(|above| above.contains(id))
    }
}

struct OpenFolder {
    prefix: Vec<u8>,
    fd: OwnedFd,
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

    fn new(tree: Arc<Tree>, from: Option<Cursor>) -> Self {
        let root = Place { prefix: Vec::new(), parent: None, above: None };
        Self {
            tree,
            todo: VecDeque::from([Step::List(root)]),
            from: from.map(|cursor| cursor.0),
            page: Page::default(),
        }
    }

    /// The next page, `None` behind the last.
    async fn page(&mut self) -> Result<Option<Page>, SourceError> {
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
            let behind = matches!(&step, Step::List(place) if self.is_all_behind(&place.prefix));
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

    /// Whether every path that begins with `prefix` is behind us.
    fn is_all_behind(&self, prefix: &[u8]) -> bool {
        self.from.as_deref().is_some_and(|from| prefix < from && !from.starts_with(prefix))
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
            let work = std::mem::replace(self, Self::List(Place::nowhere()));
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
            Self::Look { folder, names } => Ok(Done::Looked(tree.look(&folder, &names))),
            Self::Running(_) => Ok(Done::Looked(Vec::new())),
        }
    }
}

impl Place {
    /// Stands in for a place that is being moved.
    const fn nowhere() -> Self {
        Self { prefix: Vec::new(), parent: None, above: None }
    }
}

/// What a link leads to.
enum Target {
    Folder(FileId),
    File(Stat),
    /// Out of the root, or nowhere.
    Beyond,
}

impl Tree {
    fn list(&self, place: Place) -> Result<Done, SourceError> {
        let path = self.root.join(OsStr::from_bytes(&place.prefix));
        match self.read_folder(&path, &place) {
            Ok(steps) => Ok(Done::Listed(steps)),
            Err(error) if place.prefix.is_empty() => Err(root_error(&path, &error)),
            Err(error) => Ok(match source_error(&path, &error) {
                // Gone, or replaced by a file, since its parent was read: so are its contents.
                SourceError::NotFound { .. } | SourceError::Changed { .. } => {
                    Done::Listed(Vec::new())
                }
                error => Done::Unlisted(place.prefix, error),
            }),
        }
    }

    fn read_folder(&self, path: &Path, place: &Place) -> io::Result<Vec<Step>> {
        let fd = self.open_folder(path, place)?;
        let stat = rustix::fs::fstat(&fd)?;
        let id = file_id(&stat);
        if self.own.contains(&id) {
            return Ok(Vec::new());
        }
        let chain = Arc::new(Above { id, above: place.above.clone() });
        let names = self.names(path, &fd, &chain)?;
        let folder = Arc::new(OpenFolder { prefix: place.prefix.clone(), fd });
        Ok(steps(&names, &folder, &chain))
    }

    /// Opens a folder by its name in the one above it, so that nothing on the way there can have
    /// become a link meanwhile. The root may be one: somebody named it.
    fn open_folder(&self, path: &Path, place: &Place) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(parent) = &place.parent else {
            return Ok(rustix::fs::open(path, flags, Mode::empty())?);
        };
        let no_links = match self.links {
            Links::Skip => OFlags::NOFOLLOW,
            Links::Within(_) | Links::Anywhere => OFlags::empty(),
        };
        let name = &place.prefix[parent.prefix.len()..place.prefix.len() - 1];
        Ok(rustix::fs::openat(&parent.fd, name, flags | no_links, Mode::empty())?)
    }

    /// The names in a folder in the order of the walk; those of folders end with `/`.
    fn names(&self, path: &Path, fd: &OwnedFd, chain: &Above) -> io::Result<Names> {
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
                    matches!(self.resolve(path, name), Target::Folder(id) if !chain.contains(id))
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

    fn look(&self, folder: &OpenFolder, names: &[u8]) -> Vec<Entry> {
        names
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
            .filter_map(|name| {
                let kind = self.look_at(folder, name)?;
                let mut path = Vec::with_capacity(folder.prefix.len() + name.count_bytes());
                path.extend_from_slice(&folder.prefix);
                path.extend_from_slice(name.to_bytes());
                Some(entry(EntryPath::new(path), kind))
            })
            .collect()
    }

    /// What a name in a folder is; `None` when it is gone by now.
    fn look_at(&self, folder: &OpenFolder, name: &CStr) -> Option<EntryKind> {
        let path = || self.root.join(OsStr::from_bytes(&folder.prefix));
        match rustix::fs::statat(&folder.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
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
fn steps(names: &Names, folder: &Arc<OpenFolder>, chain: &Arc<Above>) -> Vec<Step> {
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
            let prefix = [folder.prefix.as_slice(), name].concat();
            let (parent, above) = (Some(folder.clone()), Some(chain.clone()));
            steps.push(Step::List(Place { prefix, parent, above }));
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

/// A file being read, or about to be.
struct Reading {
    path: PathBuf,
    follow: bool,
    version: Version,
    range: ByteRange,
    file: Option<io::Take<File>>,
}

impl BlockingRead for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        if self.file.is_none() {
            self.file = Some(self.open().map_err(|error| source_error(&self.path, &error))?);
        }
        let Some(file) = &mut self.file else { return Ok(0) };
        let read = loop {
            match file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(|error| source_error(&self.path, &error))?,
            }
        };
        if read == 0 {
            self.check_version()?;
        }
        Ok(read)
    }
}

impl Reading {
    fn open(&self) -> io::Result<io::Take<File>> {
        let mut flags = OFlags::NONBLOCK;
        if !self.follow {
            flags |= OFlags::NOFOLLOW;
        }
        let mut file =
            File::options().read(true).custom_flags(flags.bits().cast_signed()).open(&self.path)?;
        if self.range.start > 0 {
            file.seek(io::SeekFrom::Start(self.range.start))?;
        }
        Ok(file.take(self.range.len))
    }

    /// What was read is the version that was asked for if the open file is it still: any write in
    /// between has moved its ctime.
    fn check_version(&self) -> Result<(), SourceError> {
        let Some(file) = &self.file else { return Ok(()) };
        let stat = rustix::fs::fstat(file.get_ref())
            .map_err(|errno| source_error(&self.path, &errno.into()))?;
        if version(&stat) == self.version {
            return Ok(());
        }
        Err(SourceError::Changed { message: format!("{:?} is being written", self.path) })
    }
}
