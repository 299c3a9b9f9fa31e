//! Files that whoever wrote them has just closed, as far as the system tells: they are finished,
//! and no time need pass until that can be believed. Whoever watches folders writes it down here;
//! where nothing is written down, nothing is known.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Closings are kept for so long: by then, a file has been left alone long enough anyway.
const KEPT: Duration = Duration::from_secs(4);

/// Closings that follow each other so soon are one file's that somebody continues writing.
const AGAIN: Duration = Duration::from_secs(1);

/// So many of them are more than somebody who saves twice.
const MANY: u32 = 4;

/// The most files that are kept in mind. What comes on top is not known to be closed.
const MOST: usize = 100_000;

/// Who has closed what, lately; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Closings(Arc<Mutex<HashMap<PathBuf, Closing>>>);

#[derive(Clone, Copy, Debug)]
struct Closing {
    at: Instant,
    /// The closing before this one.
    before: Option<Instant>,
    /// How many closings before this one came within [`AGAIN`] of each other.
    again: u32,
    /// Whether it was written to since.
    is_open: bool,
}

impl Closings {
    /// Somebody who could write to a file has closed it.
    pub fn closed(&self, path: &Path, at: Instant) {
        let mut files = self.lock();
        if files.len() >= MOST {
            files.retain(|_, closing| at.duration_since(closing.at) < KEPT);
        }
        let last = files.get(path).copied();
        if files.len() < MOST || last.is_some() {
            let before = last.map(|last| last.at);
            let is_again = before.is_some_and(|before| at.duration_since(before) < AGAIN);
            let again = last.filter(|_| is_again).map_or(0, |last| last.again.saturating_add(1));
            files.insert(path.to_owned(), Closing { at, before, again, is_open: false });
        }
    }

    /// A file is being written to.
    pub fn written(&self, path: &Path) {
        if let Some(closing) = self.lock().get_mut(path) {
            closing.is_open = true;
        }
    }

    /// A file has another name.
    pub fn renamed(&self, from: &Path, to: &Path) {
        let mut files = self.lock();
        if let Some(closing) = files.remove(from) {
            files.insert(to.to_owned(), closing);
        }
    }

    /// Whether a file is finished: it is closed, and is not one that is closed again and again
    /// within `quiet`, as by somebody who continues adding to it.
    #[must_use]
    pub fn is_finished(&self, path: &Path, quiet: Duration) -> bool {
        self.lock().get(path).is_some_and(|closing| {
            let again = closing.before.is_some_and(|before| closing.at - before < quiet);
            !closing.is_open && !again
        })
    }

    /// Whether somebody opens a file, adds to it and closes it again and again, and has done so
    /// within `quiet`: to wait for it would take as long as that continues.
    #[must_use]
    pub fn is_busy(&self, path: &Path, quiet: Duration) -> bool {
        self.lock()
            .get(path)
            .is_some_and(|closing| closing.again >= MANY && closing.at.elapsed() < quiet)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Closing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(500);

    #[test]
    fn a_file_is_finished_once_it_is_closed_until_somebody_writes_again() {
        let (closings, file, now) = (Closings::default(), Path::new("/a"), Instant::now());
        assert!(!closings.is_finished(file, QUIET), "nothing is known");
        closings.written(file);
        assert!(!closings.is_finished(file, QUIET));
        closings.closed(file, now);
        assert!(closings.is_finished(file, QUIET));
        closings.written(file);
        assert!(!closings.is_finished(file, QUIET));
        closings.closed(file, now + 2 * QUIET);
        assert!(closings.is_finished(file, QUIET));
    }

    #[test]
    fn a_file_that_is_closed_again_and_again_is_not_finished() {
        let (closings, file, now) = (Closings::default(), Path::new("/a"), Instant::now());
        closings.closed(file, now);
        closings.closed(file, now + QUIET / 50);
        assert!(!closings.is_finished(file, QUIET));
        closings.closed(file, now + QUIET * 2);
        assert!(closings.is_finished(file, QUIET));
    }

    #[test]
    fn a_file_is_busy_while_it_is_closed_again_and_again_and_not_for_being_saved_twice() {
        let (closings, file) = (Closings::default(), Path::new("/a"));
        let now = Instant::now();
        closings.closed(file, now);
        closings.closed(file, now);
        assert!(!closings.is_busy(file, QUIET));
        (0..10).for_each(|_| closings.closed(file, now));
        assert!(closings.is_busy(file, QUIET * 100));
        assert!(!closings.is_busy(file, Duration::ZERO), "it has been left alone since");
    }

    #[test]
    fn a_file_that_was_closed_and_renamed_is_finished_under_its_new_name() {
        let (closings, now) = (Closings::default(), Instant::now());
        closings.closed(Path::new("/a.part"), now);
        closings.renamed(Path::new("/a.part"), Path::new("/a"));
        assert!(closings.is_finished(Path::new("/a"), QUIET));
        assert!(!closings.is_finished(Path::new("/a.part"), QUIET));
    }
}
