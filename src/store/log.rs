//! The write-ahead log: copied back into the database by a thread of its own, while the writer goes
//! on.
//!
//! Left to itself, SQLite copies the log back on the connection whose commit made it long, and
//! syncs the database before that commit returns: some 70 ms for 64 MiB, twice in a first sync of
//! 20,000 small files that takes 0.7 s. Here a thread copies while the writer adds to the log, and
//! the writer copies only what came in meanwhile: a log starts over when all of it is copied, and
//! grows until then (<https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files>).
//! SQLite's word for copying is checkpoint, which means a pass's everywhere else in this crate.
//! Knows nothing of tables.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use rusqlite::{Connection, MAIN_DB, hooks::Wal, wal::CheckpointMode};

use super::{Result, StoreError};

/// Frames (pages of 16 KiB in the log) that are worth copying. With half of it 200,000 files took a
/// tenth longer, since pages that are written often are copied more often; with twice as many,
/// 20,000 did, since a long log is more memory to be touched for the first time.
const WORTH_COPYING: i32 = 2048;

/// Frames that the writer copies itself: that is soon done, and the log starts over.
const FEW: i32 = WORTH_COPYING / 2;

/// Frames after which the writer copies whatever is left: the thread does not keep up.
const TOO_MANY: i32 = 2 * WORTH_COPYING;

/// Who copies a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copier {
    Nobody,
    Thread,
    Writer,
}

/// Who copies a log of so many frames, of which so many are copied.
const fn copier(frames: i32, copied: i32) -> Copier {
    match frames {
        ..WORTH_COPYING => Copier::Nobody,
        TOO_MANY.. => Copier::Writer,
        _ if frames - copied <= FEW => Copier::Writer,
        _ => Copier::Thread,
    }
}

/// Has the writer's log copied from now on, through a connection that `connect` makes. The thread
/// ends with the writer's connection.
pub(super) fn copy_beside(
    writer: &mut Connection,
    path: &Path,
    connect: fn(&Path) -> Result<Connection>,
) -> Result<()> {
    let progress = Arc::new(Progress::default());
    let (wake, woken) = sync_channel(1);
    start(path.to_owned(), connect, woken, progress.clone())?;
    let mut before = 0;
    writer.wal_hook(Some(move |log: &mut Wal, frames| {
        if frames < before {
            progress.copied.store(0, Ordering::Relaxed);
        }
        before = frames;
        // Nothing here is the commit's to fail by: it has happened, and another one copies.
        match copier(frames, progress.copied.load(Ordering::Relaxed)) {
            Copier::Nobody => {}
            Copier::Thread => drop(wake.try_send(())),
            Copier::Writer => {
                // Only one can copy, and SQLite would turn the second one away.
                let _turn = progress.turn();
                drop(log.checkpoint_v2(CheckpointMode::PASSIVE));
            }
        }
        Ok(())
    }))?;
    Ok(())
}

/// What the thread and the writer know of each other.
#[derive(Debug, Default)]
struct Progress {
    /// Frames of the log that the thread has copied.
    copied: AtomicI32,
    copying: Mutex<()>,
}

impl Progress {
    /// Waits until no copy is under way.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread, which opens a connection when it is first needed and ends when nobody can
/// wake it any more.
fn start(
    path: PathBuf,
    connect: fn(&Path) -> Result<Connection>,
    woken: Receiver<()>,
    progress: Arc<Progress>,
) -> Result<thread::JoinHandle<()>> {
    let work = move || {
        let mut connection = None;
        while woken.recv().is_ok() {
            let _turn = progress.turn();
            match copy(&mut connection, || connect(&path)) {
                Ok(frames) => progress.copied.store(frames, Ordering::Relaxed),
                Err(error) => tracing::warn!(%error, "the database's log could not be copied back"),
            }
        }
    };
    thread::Builder::new()
        .name("store-log".to_owned())
        .spawn(work)
        .map_err(|error| StoreError::DataDir { path: "the thread of the log".into(), error })
}

/// Copies what no reader still needs to be elsewhere; returns how many frames of the log are
/// copied.
fn copy(
    connection: &mut Option<Connection>,
    connect: impl FnOnce() -> Result<Connection>,
) -> Result<i32> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect()?),
    };
    let (_, copied) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use super::{super::open, *};

    #[test]
    fn a_short_log_is_left_alone() {
        assert_eq!(copier(WORTH_COPYING - 1, 0), Copier::Nobody);
    }

    #[test]
    fn a_long_log_is_the_threads_but_for_the_few_frames_that_came_in_meanwhile() {
        assert_eq!(copier(WORTH_COPYING, 0), Copier::Thread);
        assert_eq!(copier(WORTH_COPYING + FEW, WORTH_COPYING), Copier::Writer);
    }

    #[test]
    fn a_log_that_outgrows_the_thread_is_the_writers() {
        assert_eq!(copier(TOO_MANY, 0), Copier::Writer);
    }

    /// A database whose transactions each put a page or more into the log.
    fn database(dir: &Path) -> (PathBuf, Connection) {
        let path = open::prepare(dir).unwrap();
        let writer = open::connect_writer(&path).unwrap();
        writer.execute_batch("CREATE TABLE filler (bytes BLOB)").unwrap();
        (path, writer)
    }

    /// Adds some 64 pages.
    fn fill(writer: &Connection) {
        writer.execute("INSERT INTO filler VALUES (zeroblob(1048576))", []).unwrap();
    }

    fn bytes_of_log(path: &Path) -> u64 {
        path.with_extension("db-wal").metadata().unwrap().len()
    }

    #[test]
    fn however_much_is_written_the_log_stays_short() {
        let dir = tempfile::tempdir().unwrap();
        let (path, writer) = database(dir.path());
        (0..256).for_each(|_| fill(&writer));
        let most = u64::try_from(TOO_MANY + 128).unwrap() * (16384 + 24);
        assert!(bytes_of_log(&path) <= most, "{} bytes", bytes_of_log(&path));
    }

    #[test]
    fn a_long_log_is_copied_without_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let (path, writer) = database(dir.path());
        let (wake, woken) = mpsc::sync_channel(1);
        let progress = Arc::new(Progress::default());
        let copier = start(path, open::connect_copier, woken, progress.clone()).unwrap();
        fill(&writer);
        wake.send(()).unwrap();
        drop(wake);
        copier.join().unwrap();
        assert!(progress.copied.load(Ordering::Relaxed) >= 64);
    }

    #[test]
    fn what_a_reader_still_needs_stays_as_it_was_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, writer) = database(dir.path());
        let reader = open::connect_reader(&path, true).unwrap();
        let count = || -> i64 {
            reader.query_row("SELECT count(*) FROM filler", [], |row| row.get(0)).unwrap()
        };
        fill(&writer);
        reader.execute_batch("BEGIN").unwrap();
        assert_eq!(count(), 1);
        (0..128).for_each(|_| fill(&writer));
        assert_eq!(count(), 1);
        reader.execute_batch("COMMIT").unwrap();
        assert_eq!(count(), 129);
    }
}
