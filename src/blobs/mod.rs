//! The bytes of large blobs: immutable files named by their BLAKE3 hash.
//!
//! Knows no providers, schedules or SQL; only the store knows which hashes are in use. A file gets
//! its final name only once its bytes are durable (`Blobs::publish`), so every file with such a
//! name is complete. Everything here blocks: call it on a blocking thread.
//!
//! ```text
//! blobs/ab/ab01…            finished blobs, in 256 folders by the first two digits
//! blobs/ab/ab01….parts      the hashes of the parts of a large one (see `tree`)
//! staging/<worker>/…        writes in progress; garbage once the worker is dead
//! staging/<worker>/aside/…  damaged blobs while they are fetched again
//! partial/<sync>/<name>     large blobs arriving in parts, kept for the next attempt
//! ```

mod block;
mod direct;
pub mod holes;
mod keep;
mod part_writer;
mod partial;
mod read;
mod stage;
mod tree;

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytesize::ByteSize;
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW};

use block::Blocks;

use crate::model::{BlobHash, SyncId};

pub use keep::KeepGuard;
pub use part_writer::{FilledBlock, PartWriter};
pub use partial::Partial;
pub use read::{Damage, Reader, Window};
pub use stage::Stage;
pub use tree::PART_BYTES;

/// Blobs up to this size are stored in the database, where they are cheaper than files.
pub const INLINE_MAX: u64 = 64 * 1024;

/// An error of the disk beneath the blobs.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk is full, or the space that is to stay free would be used.
    #[error(
        "the disk of the data directory is full: {free} left, {needed} needed now, and {floor} are \
         to stay free: make room or lower CATCHMENT_MIN_FREE, then run again to go on"
    )]
    Full {
        /// What is free and not reserved.
        free: ByteSize,
        /// What was needed.
        needed: ByteSize,
        /// What is to stay free.
        floor: ByteSize,
    },
    /// One blob is larger than what the disk can take, which has room for others.
    #[error(
        "{size} do not fit on the disk of the data directory, which has {room} left for them: make \
         room, or exclude it with a filter"
    )]
    TooLarge {
        /// What the blob needs.
        size: ByteSize,
        /// What is free and neither reserved nor to stay free.
        room: ByteSize,
    },
    /// Stored bytes are not what they were.
    #[error(transparent)]
    Damaged(Damage),
    /// There is no memory for the bytes in transit.
    #[error("no memory for the bytes of a large file: {0}")]
    Memory(io::Error),
    /// Any other error of the system.
    #[error("{path:?}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// With this much room left a disk is not full: what does not fit then is itself too large.
const ROOM_FOR_OTHERS: u64 = 64 * 1024 * 1024;

/// A blob file that is younger than this may be about to be recorded by another process.
const UNRECORDED_FOR: Duration = Duration::from_secs(60 * 60);

/// The blob files of a data directory.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
    staging: PathBuf,
    floor: Option<ByteSize>,
    /// Reserved bytes.
    reserved: Arc<AtomicU64>,
    /// Memory for large blobs in transit.
    blocks: Blocks,
    /// Held while a blob is read to find the hashes of its parts.
    rehashing: Arc<Mutex<()>>,
}

/// Reserved disk space, see [`Blobs::reserve`].
#[derive(Debug)]
#[must_use = "the space is released when this is dropped"]
pub struct Room {
    bytes: u64,
    reserved: Arc<AtomicU64>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Blobs {
    /// The blob files of `data_dir`; `worker` names this process's staging folder. `floor` is how
    /// much space to leave free, by default a twentieth of the filesystem, at most 1 GiB.
    ///
    /// # Errors
    /// When the folders cannot be created.
    pub fn open(data_dir: &Path, worker: &str, floor: Option<ByteSize>) -> Result<Self, BlobError> {
        let blobs = Self::to_read(data_dir, worker, floor);
        make_dir(&blobs.root.join("blobs"))?;
        make_dir(&blobs.staging)?;
        Ok(blobs)
    }

    /// [`Blobs::open`] where nothing can be written.
    #[must_use]
    pub fn to_read(data_dir: &Path, worker: &str, floor: Option<ByteSize>) -> Self {
        Self {
            root: data_dir.to_owned(),
            staging: data_dir.join("staging").join(worker),
            floor,
            reserved: Arc::default(),
            blocks: Blocks::default(),
            rehashing: Arc::default(),
        }
    }

    /// Where extractors of this process put what they are making.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.staging.join("extract")
    }

    /// Bytes that are free where the files are.
    ///
    /// # Errors
    /// The system's.
    pub fn free(&self) -> Result<u64, BlobError> {
        let space = rustix::fs::statvfs(&self.root).map_err(|e| at(&self.root)(e.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Checks that the folders can be read and, with `writes`, written.
    ///
    /// # Errors
    /// When they cannot.
    pub fn probe(&self, writes: bool) -> Result<(), BlobError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| BlobError::Io { path, error }
        };
        let blobs = self.root.join("blobs");
        fs::read_dir(&blobs).map_err(failed(&blobs))?;
        if writes {
            let file = self.staging.join("probe");
            fs::write(&file, b"probe").map_err(failed(&file))?;
            fs::remove_file(&file).map_err(failed(&file))?;
        }
        Ok(())
    }

    /// The path of the file of `hash`.
    #[must_use]
    pub fn path(&self, hash: &BlobHash) -> PathBuf {
        file_of(&self.root, hash)
    }

    /// Whether the file of `hash` exists.
    #[must_use]
    pub fn exists(&self, hash: &BlobHash) -> bool {
        self.path(hash).is_file()
    }

    /// Gives a complete file its final name. When this returns, the bytes and the name are durable.
    /// If a file of that name and size exists, it stays and the new one is deleted; it counts as
    /// new, so that nobody collects it before it is recorded ([`Blobs::may_be_recorded_soon`]).
    fn publish(
        &self,
        path: &Path,
        file: &File,
        hash: &BlobHash,
        size: u64,
    ) -> Result<(), BlobError> {
        let target = self.path(hash);
        let is_there =
            fs::metadata(&target).is_ok_and(|there| there.is_file() && there.len() == size);
        if is_there && renew(&target).is_ok() {
            return fs::remove_file(path).map_err(at(path));
        }
        let folder = target.parent().unwrap_or(&self.root);
        make_dir(folder)?;
        // In this order, so that a power cut never leaves the name on bytes that are not durable.
        file.sync_all().map_err(|error| self.failed(path, error))?;
        fs::rename(path, &target).map_err(at(&target))?;
        sync_dir(folder)
    }

    /// Deletes the file of `hash`, if it exists.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let path = self.path(hash);
        remove_file(&tree::values_path(&path))?;
        remove_file(&path)
    }

    /// Moves the damaged file of `hash` out of the way of an intact one. Should this process die
    /// meanwhile, it is put back with [`Blobs::clear_staging`].
    ///
    /// # Errors
    /// The disk's.
    pub fn set_aside(&self, hash: &BlobHash) -> Result<SetAside, BlobError> {
        let path = self.path(hash);
        let folder = aside(&self.staging);
        make_dir(&folder)?;
        let aside = folder.join(hash.to_hex());
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(SetAside { path, aside }),
        }
    }

    /// Whether the file of `hash` was published after `since`, the start of a process that may be
    /// about to record it.
    #[must_use]
    pub fn may_be_recorded_soon(&self, hash: &BlobHash, since: SystemTime) -> bool {
        let Ok(facts) = fs::metadata(self.path(hash)) else { return false };
        // The time of its last change, which its final name was.
        let seconds = u64::try_from(facts.ctime()).unwrap_or_default();
        let published = Duration::from_secs(seconds.saturating_add(1));
        let Some(published) = SystemTime::UNIX_EPOCH.checked_add(published) else { return false };
        let age = SystemTime::now().duration_since(published).unwrap_or_default();
        published >= since && age <= UNRECORDED_FOR
    }

    /// Deletes what processes that were killed have left beside the blobs: damaged files that
    /// earlier versions had set aside there, and hashes of parts of blobs that are gone.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_leftovers(&self) -> Result<(), BlobError> {
        for folder in list(&self.root.join("blobs"))? {
            for file in list(&folder.path())? {
                let path = file.path();
                let whole = path.with_extension("");
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("damaged") => drop(SetAside { path: whole, aside: path }),
                    Some("parts") if !whole.exists() => remove_file(&path)?,
                    Some(name) if name.starts_with("parts-") && is_old(&file) => {
                        remove_file(&path)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` with the hash and size of every finished file, in no order.
    ///
    /// # Errors
    /// The disk's, or the visitor's.
    pub fn each<E: From<BlobError>>(
        &self,
        visit: impl FnMut(BlobHash, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        each_file(&self.root, visit)
    }

    /// Deletes the staging folders of workers that `is_dead` says are dead, once damaged files that
    /// nothing has replaced are back in their places.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_staging(&self, is_dead: impl Fn(&str) -> bool) -> Result<(), BlobError> {
        for folder in list(&self.root.join("staging"))? {
            let worker = folder.file_name();
            if worker.to_str().is_some_and(&is_dead) {
                for file in list(&aside(&folder.path()))? {
                    let hash = file.file_name().to_str().and_then(BlobHash::from_hex);
                    if let Some(hash) = hash {
                        drop(SetAside { path: self.path(&hash), aside: file.path() });
                    }
                }
                remove_dir(&folder.path())?;
            }
        }
        Ok(())
    }

    /// Deletes this worker's own staging folder.
    pub fn delete_staging(&self) {
        // What is left is deleted when another process finds the worker dead.
        let _ = fs::remove_dir_all(&self.staging);
    }

    /// Deletes the parts of large blobs that a sync does not need any more.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_partials(&self, sync: &SyncId) -> Result<(), BlobError> {
        remove_dir(&self.partials(sync))
    }

    /// Deletes parts that were not written for `age`; returns how many bytes they took.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_stale_partials(&self, age: Duration) -> Result<u64, BlobError> {
        let mut freed = 0;
        for folder in list(&self.root.join("partial"))? {
            for file in list(&folder.path())? {
                let facts = file.metadata().map_err(at(&file.path()))?;
                let untouched = facts.modified().ok().and_then(|at| at.elapsed().ok());
                if untouched.is_some_and(|untouched| untouched >= age) {
                    fs::remove_file(file.path()).map_err(at(&file.path()))?;
                    freed += facts.len();
                }
            }
        }
        Ok(freed)
    }

    fn partials(&self, sync: &SyncId) -> PathBuf {
        self.root.join("partial").join(sync.as_str())
    }

    /// Reserves space for `bytes` until the returned value is dropped. Bytes in transit are counted
    /// before they are written, so that enough stays free however much arrives at once.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] when they do not fit and others would, [`BlobError::Full`] when
    /// too little is left for anything, or the system's.
    pub fn reserve(&self, bytes: u64) -> Result<Room, BlobError> {
        let Disk { free, floor, total } = self.disk()?;
        let left = |reserved: u64| free.saturating_sub(reserved).saturating_sub(floor);
        // Whatever the number is, it is added only if it fits.
        let added = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
            (bytes <= left(reserved)).then(|| reserved + bytes)
        });
        let reserved = match added {
            Ok(_) => return Ok(Room { bytes, reserved: self.reserved.clone() }),
            Err(reserved) => reserved,
        };
        let room = left(reserved);
        if bytes > total || (bytes > 0 && room >= ROOM_FOR_OTHERS) {
            return Err(BlobError::TooLarge { size: ByteSize(bytes), room: ByteSize(room) });
        }
        Err(BlobError::Full {
            free: ByteSize(free.saturating_sub(reserved)),
            needed: ByteSize(bytes),
            floor: ByteSize(floor),
        })
    }

    /// The space on the disk of the data directory.
    ///
    /// # Errors
    /// The system's.
    pub fn disk(&self) -> Result<Disk, BlobError> {
        disk(&self.root, self.floor)
    }

    /// The error for a failed write: a full disk has its own variant.
    fn failed(&self, path: &Path, error: io::Error) -> BlobError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                self.reserve(0).err().unwrap_or(BlobError::Full {
                    free: ByteSize(0),
                    needed: ByteSize(0),
                    floor: self.floor.unwrap_or_default(),
                })
            }
            // Of this filesystem: what other files are is not its business.
            ErrorKind::FileTooLarge => BlobError::TooLarge {
                size: ByteSize(fs::metadata(path).map_or(0, |facts| facts.len())),
                room: ByteSize(0),
            },
            _ => BlobError::Io { path: path.to_owned(), error },
        }
    }
}

/// Where the file of `hash` is below a data directory, or a backup of one.
#[must_use]
pub fn file_of(root: &Path, hash: &BlobHash) -> PathBuf {
    let hex = hash.to_hex();
    root.join("blobs").join(&hex[..2]).join(hex)
}

/// Calls `visit` with the hash and size of every finished file below `root`, in no order.
///
/// # Errors
/// The disk's, or the visitor's.
pub fn each_file<E: From<BlobError>>(
    root: &Path,
    mut visit: impl FnMut(BlobHash, u64) -> Result<(), E>,
) -> Result<(), E> {
    for folder in list(&root.join("blobs"))? {
        for file in list(&folder.path())? {
            let Some(hash) = file.file_name().to_str().and_then(BlobHash::from_hex) else {
                continue;
            };
            let size = file.metadata().map_or(0, |facts| facts.len());
            visit(hash, size)?;
        }
    }
    Ok(())
}

/// Makes a file count as new.
fn renew(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::empty())?)
}

/// Space on the disk of the data directory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// What is free for us.
    pub free: u64,
    /// The total size.
    pub total: u64,
    /// What is to stay free.
    pub floor: u64,
}

/// How much room there is where `path` is; `floor` as for [`Blobs::open`].
///
/// # Errors
/// The system's.
pub fn disk(path: &Path, floor: Option<ByteSize>) -> Result<Disk, BlobError> {
    let space = rustix::fs::statvfs(path).map_err(|error| at(path)(error.into()))?;
    let total = space.f_blocks.saturating_mul(space.f_frsize);
    Ok(Disk {
        free: space.f_bavail.saturating_mul(space.f_frsize),
        total,
        floor: floor.map_or_else(|| (total / 20).min(bytesize::GIB), |floor| floor.0),
    })
}

/// A damaged file that was moved out of the way.
#[derive(Debug)]
pub struct SetAside {
    path: PathBuf,
    aside: PathBuf,
}

impl Drop for SetAside {
    /// Restores the damaged file unless it has been replaced: it is better than none.
    fn drop(&mut self) {
        let _ = match self.path.exists() {
            true => fs::remove_file(&self.aside),
            false => fs::rename(&self.aside, &self.path),
        };
    }
}

/// Adds the file to an error of the system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError + use<> {
    let path = path.to_owned();
    move |error| BlobError::Io { path, error }
}

fn make_dir(path: &Path) -> Result<(), BlobError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Where a worker's staging folder has the damaged files that it has set aside.
fn aside(staging: &Path) -> PathBuf {
    staging.join("aside")
}

/// Whether a file is too old to be under way still.
fn is_old(file: &fs::DirEntry) -> bool {
    let written = file.metadata().and_then(|facts| facts.modified()).ok();
    written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= UNRECORDED_FOR)
}

fn remove_file(path: &Path) -> Result<(), BlobError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn remove_dir(path: &Path) -> Result<(), BlobError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// The entries of a folder; none if it does not exist.
fn list(path: &Path) -> Result<Vec<fs::DirEntry>, BlobError> {
    match fs::read_dir(path) {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(at(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(path)(error)),
    }
}

/// Makes the file names in a folder durable.
fn sync_dir(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path))
}
