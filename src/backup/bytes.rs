//! One blob from one folder to another: by reflink, else by hard link, else copied, and checked in
//! each case. Blobs never change, so that one file may serve both.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use super::{BackupError, Moved, at, make_dir, sync_dir, sync_file};
use crate::{blobs, model::BlobHash, store::blobs::Blob};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// From one root to another; `drafts` is a folder beside the target's.
pub(super) struct Move<'a> {
    pub(super) from: &'a Path,
    pub(super) to: &'a Path,
    pub(super) drafts: &'a Path,
    /// Read what is there already, too.
    pub(super) checks_all: bool,
}

/// How one blob came.
enum Came {
    Kept,
    Reflinked,
    Linked,
    Copied,
    Damaged,
}

impl Move<'_> {
    /// Brings the files of these blobs, several at once. They are durable when this returns, except
    /// for the names of their folders.
    pub(super) fn bring(&self, all: &[Blob]) -> Result<Moved, BackupError> {
        let files: Vec<&Blob> = all.iter().filter(|blob| !blob.inline).collect();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let waiting = Mutex::new(files.into_iter());
        let next = || waiting.lock().ok().and_then(|mut files| files.next());
        let work = || {
            let mut moved = Moved::default();
            while let Some(blob) = next() {
                self.count(&mut moved, blob, self.one(blob)?);
            }
            Ok(moved)
        };
        let outcomes: Vec<Result<Moved, BackupError>> = thread::scope(|scope| {
            let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            started.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
        });
        let mut moved = Moved::default();
        for outcome in outcomes {
            moved.add(outcome?);
        }
        Ok(moved)
    }

    fn count(&self, moved: &mut Moved, blob: &Blob, came: Came) {
        let counter = match came {
            Came::Kept => return moved.kept += 1,
            Came::Damaged => return moved.damaged.push(blob.hash),
            Came::Reflinked => &mut moved.reflinked,
            Came::Linked => &mut moved.linked,
            Came::Copied => &mut moved.copied,
        };
        *counter += 1;
        moved.bytes += blob.size;
    }

    fn one(&self, blob: &Blob) -> Result<Came, BackupError> {
        let (from, to) =
            (blobs::file_of(self.from, &blob.hash), blobs::file_of(self.to, &blob.hash));
        if fs::metadata(&to).is_ok_and(|there| there.is_file() && there.len() == blob.size)
            && (!self.checks_all || hash_of(&to).map_err(at(&to))? == blob.hash)
        {
            return Ok(Came::Kept);
        }
        let draft = self.drafts.join(blob.hash.to_hex());
        remove(&draft)?;
        let came = match bring_bytes(&from, &draft, &blob.hash) {
            Ok(came) => came,
            Err(error) if is_the_original_s_fault(&error) => Came::Damaged,
            Err(error) => return Err(at(&draft)(error)),
        };
        if matches!(came, Came::Damaged) {
            remove(&draft)?;
            return Ok(came);
        }
        if !matches!(came, Came::Linked) {
            sync_file(&draft)?;
        }
        make_dir(to.parent().unwrap_or(self.to))?;
        fs::rename(&draft, &to).map_err(at(&to))?;
        Ok(came)
    }
}

/// Brings bytes, and says `Damaged` if they are not what the name says.
fn bring_bytes(from: &Path, draft: &Path, hash: &BlobHash) -> io::Result<Came> {
    let came = if reflink_copy::reflink(from, draft).is_ok() {
        Came::Reflinked
    } else if fs::hard_link(from, draft).is_ok() {
        Came::Linked
    } else {
        let is_right = copy(from, draft)? == *hash;
        return Ok(if is_right { Came::Copied } else { Came::Damaged });
    };
    Ok(if hash_of(draft)? == *hash { came } else { Came::Damaged })
}

/// A missing file, or a disk that cannot read it back, is damage of that blob; a full disk is not.
fn is_the_original_s_fault(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(EIO)
}

fn copy(from: &Path, to: &Path) -> io::Result<BlobHash> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    pass(&mut source, &mut target)
}

/// The hash of a file's bytes.
pub(super) fn hash_of(path: &Path) -> io::Result<BlobHash> {
    pass(&mut File::open(path)?, &mut io::sink())
}

fn pass(source: &mut impl Read, target: &mut impl Write) -> io::Result<BlobHash> {
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; BUFFER]);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                target.write_all(&buffer[..read])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Makes the names of all blobs below `root` durable.
pub(super) fn sync_names(root: &Path) -> Result<(), BackupError> {
    let blobs: PathBuf = root.join("blobs");
    for folder in fs::read_dir(&blobs).map_err(at(&blobs))? {
        sync_dir(&folder.map_err(at(&blobs))?.path())?;
    }
    sync_dir(&blobs)
}

fn panicked<T>() -> Result<T, BackupError> {
    Err(BackupError::Store(crate::store::StoreError::Stopped))
}
