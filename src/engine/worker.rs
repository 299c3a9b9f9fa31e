//! This process as others see it: an id, and a lock file that is locked for as long as it lives.
//!
//! The operating system releases the lock with the process, however that ends, so a worker whose
//! file can be locked is dead; a process id alone could have been reused by now.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// This process.
#[derive(Debug)]
pub struct Worker {
    id: String,
    host: String,
    folder: PathBuf,
    /// Holds the lock; closing it releases the lock. `None` for a worker that only reads.
    _lock: Option<File>,
}

impl Worker {
    /// Registers this process in `data_dir`, and unregisters dead ones.
    ///
    /// # Errors
    /// When the lock file cannot be created.
    pub fn register(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("workers");
        std::fs::create_dir_all(&folder)?;
        let id = format!("worker_{}", ulid::Ulid::generate());
        // Locked before it has its final name, so that nobody believes it dead.
        let unnamed = folder.join(&id);
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed)?;
        lock.lock()?;
        std::fs::rename(unnamed, lock_file(&folder, &id))?;
        let worker = Self { id, host: host(), folder, _lock: Some(lock) };
        worker.unregister_the_dead()?;
        Ok(worker)
    }

    /// A process that writes nothing, and of which others need not know.
    #[must_use]
    pub fn unregistered(data_dir: &Path) -> Self {
        let id = format!("worker_{}", ulid::Ulid::generate());
        Self { id, host: host(), folder: data_dir.join("workers"), _lock: None }
    }

    /// The id of this process.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of this host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the worker of that id, on this host, has ended.
    #[must_use]
    pub fn is_dead(&self, id: &str) -> bool {
        if id == self.id {
            return false;
        }
        match OpenOptions::new().write(true).open(lock_file(&self.folder, id)) {
            Ok(file) => !matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Since when the oldest of the other living processes is there; `None` when there is none.
    #[must_use]
    pub fn others_since(&self) -> Option<SystemTime> {
        let files = std::fs::read_dir(&self.folder).ok()?;
        let since = files.filter_map(Result::ok).filter_map(|file| {
            let path = file.path();
            let id = path.file_stem()?.to_str()?;
            let is_other = id != self.id && !self.is_dead(id);
            // Nothing is written to it after it was made.
            is_other.then(|| file.metadata().ok()?.modified().ok())?
        });
        since.min()
    }

    fn unregister_the_dead(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // It was killed before its lock file had its final name.
            let is_nameless = path.extension().is_none() && is_old(&path);
            let dead = path.extension().is_some_and(|extension| extension == "lock")
                && path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .is_some_and(|id| self.is_dead(id));
            if dead || is_nameless {
                // Another process may be doing the same.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // There is none of a worker that only reads.
        let _ = std::fs::remove_file(lock_file(&self.folder, &self.id));
    }
}

/// Whether a file was written more than an hour ago.
fn is_old(path: &Path) -> bool {
    let written = std::fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let age = written.and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > std::time::Duration::from_secs(60 * 60))
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn lock_file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.lock"))
}
