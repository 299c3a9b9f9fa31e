//! Who is writing files, as far as the system reports it. A file that its writer has just closed is
//! finished, and no time need pass until that can be believed; one that is written all the time is
//! not worth a try. Whoever watches folders writes it down here; where nothing is written down,
//! nothing is known.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What is known is kept for so long: by then, a file has been left alone long enough anyway.
const KEPT: Duration = Duration::from_secs(4);

/// Writes and closings that follow each other so soon are one writer's who continues.
const AGAIN: Duration = Duration::from_secs(1);

/// So many closings are more than somebody who saves twice.
const MANY: u32 = 4;

/// Whoever has been writing for so long without closing the file is not about to.
const LONG: Duration = Duration::from_secs(2);

/// The most files that are kept in mind. Nothing is known of those on top.
const MOST: usize = 100_000;

/// Who has written and closed what, lately; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Closings(Arc<Mutex<HashMap<PathBuf, Writing>>>);

/// What has been done to a file lately.
#[derive(Clone, Copy, Debug)]
struct Writing {
    /// When it was written to or closed last.
    last: Instant,
    /// Since when that has been going on, each time within [`AGAIN`] of the time before.
    since: Instant,
    /// The last two closings, the last one first.
    closings: [Option<Instant>; 2],
    /// How many closings before the last came within [`AGAIN`] of each other.
    again: u32,
    /// Whether it was written to since it was closed.
    is_open: bool,
}

impl Writing {
    const fn begun(at: Instant) -> Self {
        Self { last: at, since: at, closings: [None; 2], again: 0, is_open: true }
    }

    /// It was written to or closed.
    fn touched(&mut self, at: Instant) {
        if at.duration_since(self.last) >= AGAIN {
            self.since = at;
        }
        self.last = at;
    }

    fn closed(&mut self, at: Instant) {
        self.touched(at);
        let before = self.closings[0];
        let is_again = before.is_some_and(|before| at.duration_since(before) < AGAIN);
        self.again = if is_again { self.again.saturating_add(1) } else { 0 };
        self.closings = [Some(at), before];
        self.is_open = false;
    }
}

impl Closings {
    /// Somebody who could write to a file has closed it.
    pub fn closed(&self, path: &Path, at: Instant) {
        self.note(path, at, |file| file.closed(at));
    }

    /// A file is being written to.
    pub fn written(&self, path: &Path, at: Instant) {
        self.note(path, at, |file| {
            file.touched(at);
            file.is_open = true;
        });
    }

    fn note(&self, path: &Path, at: Instant, change: impl FnOnce(&mut Writing)) {
        let mut files = self.lock();
        if let Some(file) = files.get_mut(path) {
            return change(file);
        }
        if files.len() >= MOST {
            files.retain(|_, file| at.duration_since(file.last) < KEPT);
        }
        if files.len() < MOST {
            change(files.entry(path.to_owned()).or_insert_with(|| Writing::begun(at)));
        }
    }

    /// A file has another name.
    pub fn renamed(&self, from: &Path, to: &Path) {
        let mut files = self.lock();
        if let Some(file) = files.remove(from) {
            files.insert(to.to_owned(), file);
        }
    }

    /// Whether a file was written to and has not been closed since.
    #[must_use]
    pub fn is_open(&self, path: &Path) -> bool {
        self.lock().get(path).is_some_and(|file| file.is_open)
    }

    /// Whether a file is finished: it is closed, and is not one that is closed again and again
    /// within `quiet`, as by somebody who continues adding to it.
    #[must_use]
    pub fn is_finished(&self, path: &Path, quiet: Duration) -> bool {
        self.lock().get(path).is_some_and(|file| match file.closings {
            [Some(at), Some(before)] => !file.is_open && at.duration_since(before) >= quiet,
            [Some(_), None] => !file.is_open,
            [None, _] => false,
        })
    }

    /// Whether somebody writes a file all the time, and has done so within `quiet`: opens it, adds
    /// to it and closes it again and again, or has been adding to it for long. To wait for such a
    /// file would take as long as that continues.
    #[must_use]
    pub fn is_busy(&self, path: &Path, quiet: Duration) -> bool {
        self.lock().get(path).is_some_and(|file| {
            let is_kept_open = file.is_open && file.last.duration_since(file.since) >= LONG;
            (file.again >= MANY || is_kept_open) && file.last.elapsed() < quiet
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Writing>> {
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
        closings.written(file, now);
        assert!(!closings.is_finished(file, QUIET));
        closings.closed(file, now);
        assert!(closings.is_finished(file, QUIET));
        closings.written(file, now + QUIET);
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
    fn a_file_that_is_kept_open_and_added_to_for_long_is_busy_until_it_is_closed() {
        let (closings, file, now) = (Closings::default(), Path::new("/a"), Instant::now());
        let steps = |from: u32, to: u32| (from..to).map(|step| now + step * AGAIN / 2);
        steps(0, 3).for_each(|at| closings.written(file, at));
        assert!(!closings.is_busy(file, QUIET * 100), "it may be done soon");
        steps(3, 6).for_each(|at| closings.written(file, at));
        assert!(closings.is_busy(file, QUIET * 100));
        closings.closed(file, now + 3 * AGAIN);
        assert!(!closings.is_busy(file, QUIET * 100));
        closings.written(file, now + 5 * AGAIN);
        assert!(!closings.is_busy(file, QUIET * 100), "it begins anew after a pause");
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
