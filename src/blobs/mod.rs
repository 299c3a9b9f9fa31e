//! The bytes of large blobs: immutable files named by their BLAKE3 hash.
//!
//! Knows no providers, schedules or SQL; which hashes are in use is the store's knowledge. A file
//! gets its final name only once its bytes are durable (`Blobs::publish`), so whatever bears a
//! name is whole. Everything here blocks: call it on a blocking thread.
//!
//! ```text
//! blobs/ab/ab01…            finished blobs, in 256 folders by the first two digits
//! staging/<worker>/…        one-pass writes under way; rubbish once the worker is dead
//! partial/<sync>/<name>     large blobs arriving in parts, kept for the next try
//! ```

mod block;
mod direct;
mod partial;
mod read;
mod stage;
mod stretch;

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytesize::ByteSize;

use block::Blocks;

use crate::model::{BlobHash, SyncId};

pub use partial::{PART_BYTES, Partial};
pub use read::{Reader, Window};
pub use stage::Stage;
pub use stretch::{Filled, Stretch};

/// Blobs up to this size live in the database, where they are cheaper than files.
pub const INLINE_MAX: u64 = 64 * 1024;

/// An error of the disk beneath the blobs.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The disk is full, or as good as: the floor that is to stay free would be used up.
    #[error(
        "the disk of the data directory is full: {free} left, {needed} needed now, and {floor} are \
         to stay free: make room or lower CATCHMENT_MIN_FREE, then run again to go on"
    )]
    Full {
        /// What is free, besides what is promised to bytes on their way.
        free: ByteSize,
        /// What there was to be room for.
        needed: ByteSize,
        /// What should stay free.
        floor: ByteSize,
    },
    /// There is no memory for bytes to pass through.
    #[error("no memory for the bytes of a large file: {0}")]
    Memory(io::Error),
    /// Anything else that the system says.
    #[error("{path:?}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The blob files of a data directory.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
    staging: PathBuf,
    floor: Option<ByteSize>,
    /// Bytes that are on their way to this disk.
    promised: Arc<AtomicU64>,
    /// Memory that large blobs pass through.
    blocks: Blocks,
}

/// Room on the disk that is set aside, see [`Blobs::reserve`].
#[derive(Debug)]
#[must_use = "the room is given back when this is dropped"]
pub struct Room {
    bytes: u64,
    promised: Arc<AtomicU64>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Blobs {
    /// The blob files of `data_dir`; `worker` names this process's staging folder. `floor` is how
    /// much space to leave free, by default a twentieth of the filesystem, at most 1 GiB.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(data_dir: &Path, worker: &str, floor: Option<ByteSize>) -> Result<Self, BlobError> {
        let blobs = Self {
            root: data_dir.to_owned(),
            staging: data_dir.join("staging").join(worker),
            floor,
            promised: Arc::default(),
            blocks: Blocks::default(),
        };
        make_dir(&blobs.root.join("blobs"))?;
        make_dir(&blobs.staging)?;
        Ok(blobs)
    }

    /// Bytes that are free where the files are.
    ///
    /// # Errors
    /// The system's.
    pub fn free(&self) -> Result<u64, BlobError> {
        let space = rustix::fs::statvfs(&self.root).map_err(|e| at(&self.root)(e.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Whether the folders can be read and, if asked for, written.
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

    /// Where the bytes of `hash` are, if they are in a file.
    #[must_use]
    pub fn path(&self, hash: &BlobHash) -> PathBuf {
        let hex = hash.to_hex();
        self.root.join("blobs").join(&hex[..2]).join(hex)
    }

    /// Whether the file of `hash` is in place.
    #[must_use]
    pub fn exists(&self, hash: &BlobHash) -> bool {
        self.path(hash).is_file()
    }

    /// Gives a complete file its name. When this returns, the bytes and the name are durable. A
    /// file of that name that has the right size stays, and the new one goes.
    fn publish(
        &self,
        path: &Path,
        file: &File,
        hash: &BlobHash,
        size: u64,
    ) -> Result<(), BlobError> {
        let target = self.path(hash);
        if fs::metadata(&target).is_ok_and(|there| there.is_file() && there.len() == size) {
            return fs::remove_file(path).map_err(at(path));
        }
        let folder = target.parent().unwrap_or(&self.root);
        make_dir(folder)?;
        // In this order: a name must never stand over bytes that a power cut can still take.
        file.sync_all().map_err(|error| self.failed(path, error))?;
        fs::rename(path, &target).map_err(at(&target))?;
        sync_dir(folder)
    }

    /// Deletes the file of `hash`; one that is not there is as good.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let path = self.path(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Moves the damaged file of `hash` out of the way of a whole one.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_aside(&self, hash: &BlobHash) -> Result<SetAside, BlobError> {
        let path = self.path(hash);
        let aside = path.with_extension("damaged");
        match fs::rename(&path, &aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(SetAside { path, aside }),
        }
    }

    /// Calls `visit` with the hash and size of every finished file, in no order.
    ///
    /// # Errors
    /// The disk's, or the visitor's.
    pub fn each<E: From<BlobError>>(
        &self,
        mut visit: impl FnMut(BlobHash, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        for folder in list(&self.root.join("blobs"))? {
            for file in list(&folder.path())? {
                let name = file.file_name();
                let Some(hash) =
                    name.to_str().and_then(|hex| format!("blake3:{hex}").parse::<BlobHash>().ok())
                else {
                    continue;
                };
                let size = file.metadata().map_or(0, |facts| facts.len());
                visit(hash, size)?;
            }
        }
        Ok(())
    }

    /// Deletes the staging folders of workers that `is_dead` says are dead.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_staging(&self, is_dead: impl Fn(&str) -> bool) -> Result<(), BlobError> {
        for folder in list(&self.root.join("staging"))? {
            let worker = folder.file_name();
            if worker.to_str().is_some_and(&is_dead) {
                remove_dir(&folder.path())?;
            }
        }
        Ok(())
    }

    /// Removes this worker's own staging folder: its last act.
    pub fn leave(&self) {
        // Whatever stays goes when the worker is found dead.
        let _ = fs::remove_dir_all(&self.staging);
    }

    /// Forgets the parts of large blobs that a sync has no more use for.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_partials(&self, sync: &SyncId) -> Result<(), BlobError> {
        remove_dir(&self.partials(sync))
    }

    /// Deletes parts that nobody has touched for `age`; answers how many bytes they took.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear_stale_partials(&self, age: std::time::Duration) -> Result<u64, BlobError> {
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

    /// Sets room for `bytes` aside, until the answer is dropped: what is on its way is counted
    /// before it lies there, so that the floor holds however much arrives at once.
    ///
    /// # Errors
    /// [`BlobError::Full`] when they would use up the floor, or the system's.
    pub fn reserve(&self, bytes: u64) -> Result<Room, BlobError> {
        let Disk { free, floor, .. } = self.disk()?;
        let room = Room { bytes, promised: self.promised.clone() };
        let promised = self.promised.fetch_add(bytes, Ordering::Relaxed);
        let free = free.saturating_sub(promised);
        if free < floor.saturating_add(bytes) {
            return Err(BlobError::Full {
                free: ByteSize(free),
                needed: ByteSize(bytes),
                floor: ByteSize(floor),
            });
        }
        Ok(room)
    }

    /// How much room the disk of the data directory has.
    ///
    /// # Errors
    /// The system's.
    pub fn disk(&self) -> Result<Disk, BlobError> {
        let space = rustix::fs::statvfs(&self.root).map_err(|e| at(&self.root)(e.into()))?;
        let total = space.f_blocks.saturating_mul(space.f_frsize);
        Ok(Disk {
            free: space.f_bavail.saturating_mul(space.f_frsize),
            total,
            floor: self.floor.map_or_else(|| (total / 20).min(bytesize::GIB), |floor| floor.0),
        })
    }

    /// What to make of an error of the system while writing: a full disk has its own meaning.
    fn failed(&self, path: &Path, error: io::Error) -> BlobError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                self.reserve(0).err().unwrap_or(BlobError::Full {
                    free: ByteSize(0),
                    needed: ByteSize(0),
                    floor: self.floor.unwrap_or_default(),
                })
            }
            _ => BlobError::Io { path: path.to_owned(), error },
        }
    }
}

/// Room on the disk of the data directory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    /// What is left for us.
    pub free: u64,
    /// What there is in all.
    pub total: u64,
    /// What is to stay free.
    pub floor: u64,
}

/// A damaged file that waits for a whole one to take its place.
#[derive(Debug)]
pub struct SetAside {
    path: PathBuf,
    aside: PathBuf,
}

impl Drop for SetAside {
    /// A damaged file is better than none: it comes back, unless it has been replaced.
    fn drop(&mut self) {
        let _ = match self.path.exists() {
            true => fs::remove_file(&self.aside),
            false => fs::rename(&self.aside, &self.path),
        };
    }
}

/// Names the file in an error of the system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError {
    let path = path.to_owned();
    move |error| BlobError::Io { path, error }
}

fn make_dir(path: &Path) -> Result<(), BlobError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn remove_dir(path: &Path) -> Result<(), BlobError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// What is in a folder; nothing when it is not there.
fn list(path: &Path) -> Result<Vec<fs::DirEntry>, BlobError> {
    match fs::read_dir(path) {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(at(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(at(path)(error)),
    }
}

/// Makes the names in a folder durable.
fn sync_dir(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path))
}
