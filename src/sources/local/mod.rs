//! Folders of this machine, mounted shares included.
//!
//! The walk is depth-first in bytewise order of the paths from the root, so any path is a cursor.
//! Folders are read and files looked at in parallel, some way ahead of the consumer. Nothing is
//! ever written, and nothing but regular files is opened.
//!
//! - here: the folder as a source, and what a file's facts are to it
//! - `provider`: which folders there are, and how they are named
//! - `walk`: the listing
//! - `browse`: one level of it, for people
//! - `reading`: the bytes of a file, proved to be of one version

mod browse;
pub mod provider;
mod reading;
mod walk;

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use tokio::task::spawn_blocking;

use self::{
    reading::Reading,
    walk::{Recent, Walk},
};
use super::{
    Body, ByteRange, Content, Facts, Page, RootIdentity, Source, SourceError,
    browse::{ItemKind, Level},
    closings::Closings,
    instant,
    tuning::SourceTuning,
};
use crate::{
    clock::SharedClock,
    model::{
        Cursor, Entry, EntryId, EntryKind, Fingerprint, Identity, Shard, SkipReason, SyncOptions,
        Version,
    },
};

/// A folder as a source.
#[derive(Debug)]
pub struct Folder {
    tree: Arc<Tree>,
    quiet_period: Duration,
    closings: Closings,
    clock: SharedClock,
}

/// The coarsest step in which Linux gives times to files: what is written within one of a look at a
/// file has the same time.
const TICK: Duration = Duration::from_millis(20);

/// A file that has not changed for so long is not being added to, however often it is opened.
const BUSY: Duration = Duration::from_secs(2);

/// Where the folder is and how links in it are taken.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    links: Links,
    /// Identities of folders that are never entered.
    own: Vec<FileId>,
    /// The folders that the walk has open.
    recent: Recent,
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
            tree: Arc::new(Tree { root, links, own, recent: Recent::default() }),
            quiet_period: tuning.quiet_period,
            closings: tuning.closings.clone(),
            clock: tuning.clock.clone(),
        }
    }

    /// Whether somebody is writing a file all the time. Opening and closing alone changes nothing.
    fn is_busy(&self, id: &EntryId, fingerprint: &Fingerprint) -> bool {
        let age = fingerprint.modified.map(|at| self.clock.now().duration_since(at));
        let is_old = age
            .and_then(|age| Duration::try_from(age).ok())
            .is_some_and(|age| age >= self.quiet_period.max(BUSY));
        !is_old && self.closings.is_busy(&self.tree.path(id), self.quiet_period)
    }

    /// How long until a file modified at `fingerprint.modified` has been left alone long enough to
    /// be believed finished, which needs no time where whoever wrote it has closed it. A time stamp
    /// in the future proves nothing and is not waited for.
    fn settles_in(&self, id: &EntryId, fingerprint: &Fingerprint) -> Option<Duration> {
        let age = self.clock.now().duration_since(fingerprint.modified?);
        let age = Duration::try_from(age).ok()?;
        let wait = self.quiet_period.checked_sub(age).filter(|wait| !wait.is_zero())?;
        match self.closings.is_finished(&self.tree.path(id), self.quiet_period) {
            true => TICK.checked_sub(age),
            false => Some(wait),
        }
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

    async fn is_empty(&self) -> Result<bool, SourceError> {
        let tree = self.tree.clone();
        blocking(move || {
            let root = &tree.root;
            let mut names = root.read_dir().map_err(|error| root_error(root, &error))?;
            Ok(names.next().is_none())
        })
        .await
    }

    fn walk(
        &self,
        _whole: &Shard,
        from: Option<Cursor>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
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
        if self.is_busy(id, fingerprint) {
            let message = format!("{:?} is being written all the time", self.tree.path(id));
            return Err(SourceError::BeingWritten { message });
        }
        if let Some(wait) = self.settles_in(id, fingerprint) {
            tokio::time::sleep(wait).await;
        }
        let range = range.unwrap_or(ByteRange { start: 0, len: fingerprint.size });
        Ok(Content {
            facts: Facts::default(),
            body: Body::Blocking(Box::new(Reading::new(
                self.tree.clone(),
                id.clone(),
                fingerprint.version.clone(),
                range,
            ))),
        })
    }

    /// Inode, size and time of last modification. A time without a fraction of a second proves
    /// nothing: archives set such times on many files alike, and inodes are used again.
    fn identity(&self, fingerprint: &Fingerprint) -> Option<Identity> {
        let version = &fingerprint.version.0;
        let (size, modified, inode) =
            (version.get(..8)?, version.get(8..20)?, version.get(32..40)?);
        (modified[8..] != [0; 4]).then(|| Identity::of(&[b"file", size, modified, inode]))
    }

    async fn browse(&self, wanted: ItemKind, limit: usize) -> Result<Level, SourceError> {
        let tree = self.tree.clone();
        blocking(move || browse::level(&tree.root, wanted, limit)).await
    }

    fn default_concurrency(&self) -> usize {
        16
    }

    fn bundle(&self) -> usize {
        // With 64 it is no faster, measured, and takes 8 MiB more of memory.
        16
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

    /// Opens a file for reading; nothing but a regular file blocks or does anything else.
    fn open_file(&self, id: &EntryId) -> io::Result<File> {
        let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if self.links == Links::Skip {
            flags |= OFlags::NOFOLLOW;
        }
        let path = self.path(id);
        let file = if is_long(&path) {
            let (folder, name) = self.reach(id)?;
            rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?
        } else {
            rustix::fs::open(&path, flags, Mode::empty())?
        };
        Ok(file.into())
    }

    /// The folder of an entry whose path is longer than the system takes at once, reached step by
    /// step as the walk does, and the entry's name in it. No link is followed on the way.
    fn reach<'a>(&self, id: &'a EntryId) -> io::Result<(OwnedFd, &'a [u8])> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(&self.root, flags, Mode::empty())?;
        let mut names = id.as_bytes().split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return Ok((folder, name));
            }
            folder = rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Err(io::ErrorKind::NotFound.into())
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

    /// [`Tree::stat`] for a path that the system does not take at once.
    fn stat_long(&self, id: EntryId, path: &Path) -> Result<Option<Entry>, SourceError> {
        let looked = self.reach(&id).and_then(|(folder, name)| {
            Ok(rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
        });
        match looked {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(None),
            Ok(stat) => Ok(Some(entry(id, kind_of(&stat)))),
            Err(error) => match source_error(path, &error) {
                SourceError::NotFound { .. } | SourceError::Changed { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    fn stat(&self, id: EntryId) -> Result<Option<Entry>, SourceError> {
        let path = self.path(&id);
        if is_long(&path) {
            return self.stat_long(id, &path);
        }
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

/// Whether a path is longer than the system takes at once, with the byte that ends it
/// (<https://man7.org/linux/man-pages/man7/path_resolution.7.html>).
fn is_long(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    const MOST: usize = 4096;
    #[cfg(not(target_os = "linux"))]
    const MOST: usize = 1024;
    path.as_os_str().len() >= MOST
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
        // No other try makes the name shorter.
        io::ErrorKind::InvalidFilename => SourceError::Permanent { message },
        _ => SourceError::Transient { message },
    }
}

fn entry(id: EntryId, kind: EntryKind) -> Entry {
    Entry { path: id.clone(), id, parent: None, kind }
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
        details: None,
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
