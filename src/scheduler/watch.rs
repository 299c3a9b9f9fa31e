//! Watching folders: a change makes its sync due, without waiting for its interval.
//!
//! A notification is a hint to check, never a proof: the run that follows lists and compares as
//! always. Where the system does not notify (too many folders, a network share), from the beginning
//! or later, the folder is looked at every minute, and a notice says so.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use serde_json::json;
use tokio::time::Instant;

use super::Nudge;
use crate::{
    engine::Engine,
    model::{EntryPath, Notice},
    sources::{self, closings::Closings},
    store::{
        StoreError,
        events::{self, About, EventKind as Kind},
        schedule::{self, Folder},
        syncs,
    },
};

/// How long a folder must be quiet before its sync runs.
const QUIET: Duration = Duration::from_millis(100);

/// The same where the last change has ended: a file was closed, renamed or removed.
const ENDED: Duration = Duration::from_millis(20);

/// The longest wait for a folder that is never quiet.
const MAX_WAIT: Duration = Duration::from_millis(600);

/// How often the list of watched folders is brought up to date.
const REFRESH: Duration = Duration::from_secs(2);

/// A file that has changed so lately may have been written to by whoever closes it, although the
/// system has not said so.
const RECENT: Duration = Duration::from_secs(2);

/// How often a folder is rescanned where the system does not notify of all changes in it.
const RESCAN: Duration = Duration::from_secs(60);

/// The longest pause between two runs of a folder that keeps changing.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What the system says when a user has as many notifiers as are allowed (EMFILE).
const TOO_MANY: i32 = rustix::io::Errno::MFILE.raw_os_error();

/// Which folders are watched, for others to see; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Watching(Arc<Mutex<BTreeMap<i64, Watch>>>);

/// How a folder is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// The system notifies of changes as they happen.
    Live,
    /// It is rescanned every minute, and why.
    Rescans(String),
}

impl Watching {
    /// How the folder of a sync is watched; `None` if it is no folder, or does not run.
    #[must_use]
    pub fn of(&self, sync_key: i64) -> Option<Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&sync_key).cloned()
    }

    fn set(&self, sync_key: i64, watch: Option<Watch>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match watch {
            Some(watch) => all.insert(sync_key, watch),
            None => all.remove(&sync_key),
        };
    }
}

/// When a folder has changed since its last run.
#[derive(Clone, Copy, Debug)]
struct Changed {
    first: Instant,
    last: Instant,
    /// How long it must be quiet from then on.
    quiet: Duration,
}

/// What waits until somebody is done with writing a file.
#[derive(Clone, Copy, Debug)]
struct PutOff {
    first: Instant,
    /// When it would be finished, if that was the last time.
    until: Instant,
}

impl PutOff {
    /// However long that continues, it is looked at now and then: that it is not finished is said.
    fn due_at(self) -> Instant {
        self.until.min(self.first + RESCAN)
    }
}

/// Changed folders.
#[derive(Debug, Default)]
struct Changes {
    /// Watched folders with their syncs.
    roots: Vec<(PathBuf, i64)>,
    changed: HashMap<i64, Changed>,
    /// Syncs in whose folders somebody is writing a file all the time.
    put_off: HashMap<i64, PutOff>,
    /// Syncs whose folders have turned out to be watched in part only, and why.
    limited: HashMap<i64, String>,
}

impl Changes {
    /// The system no longer notifies of changes: in the folder that an error names, or else in all.
    fn limit(&mut self, error: &notify::Error) {
        let about = |root: &Path| {
            error.paths.is_empty() || error.paths.iter().any(|path| path.starts_with(root))
        };
        let reason = why(error);
        let keys = self.roots.iter().filter(|(root, _)| about(root)).map(|(_, key)| *key);
        for key in keys {
            self.limited.insert(key, reason.clone());
        }
    }

    /// A file that somebody is writing all the time was written to: its folder is not due for that
    /// until the file has been left alone for `wait`.
    fn put_off(&mut self, path: &Path, at: Instant, wait: Duration) {
        let of = self.roots.iter().filter(|(root, _)| path.starts_with(root));
        for (_, key) in of {
            let first = self.put_off.get(key).map_or(at, |before| before.first);
            self.put_off.insert(*key, PutOff { first, until: at + wait });
        }
    }

    fn add(&mut self, event: &Event, at: Instant) -> bool {
        if !is_change(event) {
            return false;
        }
        let everything = event.need_rescan() || event.paths.is_empty();
        let about =
            |root: &Path| everything || event.paths.iter().any(|path| path.starts_with(root));
        let keys: Vec<i64> =
            self.roots.iter().filter(|(root, _)| about(root)).map(|(_, key)| *key).collect();
        let quiet = if is_end(event) { ENDED } else { QUIET };
        for key in &keys {
            let first = self.changed.get(key).map_or(at, |changed| changed.first);
            self.changed.insert(*key, Changed { first, last: at, quiet });
        }
        !keys.is_empty()
    }
}

/// Whether an event may be a change: reading is none.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => event.need_rescan(),
        _ => true,
    }
}

/// Whether an event is the end of a change, and not one of several.
fn is_end(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_)
    )
}

/// Whether an event only says that a file is closed which could have been written to and was not.
/// Where a write may have been missed, as in a folder that is not watched for long, the file's time
/// of last change shows.
fn is_without_change(event: &Event, closings: &Closings) -> bool {
    let EventKind::Access(AccessKind::Close(AccessMode::Write)) = event.kind else { return false };
    let [path] = event.paths.as_slice() else { return false };
    let modified = || std::fs::symlink_metadata(path).and_then(|facts| facts.modified()).ok();
    let age = || modified().and_then(|at| at.elapsed().ok());
    !event.need_rescan() && !closings.is_open(path) && age().is_some_and(|age| age > RECENT)
}

/// Writes down which files are finished by now, and which are not any more.
fn note_closings(event: &Event, closings: &Closings, at: Instant) {
    match (event.kind, event.paths.as_slice()) {
        (EventKind::Access(AccessKind::Close(AccessMode::Write)), [path]) => {
            closings.closed(path, at.into_std());
        }
        (EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(_), [path]) => {
            closings.written(path, at.into_std());
        }
        (EventKind::Modify(ModifyKind::Name(RenameMode::Both)), [from, to]) => {
            closings.renamed(from, to);
        }
        _ => {}
    }
}

/// Where the system's notifications go.
#[derive(Clone)]
struct Inbox {
    changes: Arc<Mutex<Changes>>,
    closings: Closings,
    /// Our own writes are no changes of a source.
    own: PathBuf,
    quiet: Duration,
    nudge: Nudge,
}

impl Inbox {
    fn receive(&self, event: notify::Result<Event>) {
        let mut event = match event {
            Ok(event) => event,
            Err(error) => {
                self.changes().limit(&error);
                return self.nudge.nudge();
            }
        };
        let any = event.paths.len();
        event.paths.retain(|path| !path.starts_with(&self.own));
        if any > 0 && event.paths.is_empty() {
            return;
        }
        if is_without_change(&event, &self.closings) {
            return;
        }
        let now = Instant::now();
        note_closings(&event, &self.closings, now);
        let mut changes = self.changes();
        if let Some(path) = self.busy_file(&event) {
            changes.put_off(path, now, self.quiet + QUIET);
        } else if changes.add(&event, now) {
            self.nudge.nudge();
        }
    }

    /// The file that an event is about, should somebody be writing it all the time.
    fn busy_file<'e>(&self, event: &'e Event) -> Option<&'e Path> {
        match event.paths.as_slice() {
            [path] if !event.need_rescan() => {
                self.closings.is_busy(path, self.quiet).then_some(path.as_path())
            }
            _ => None,
        }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the system notifies through.
type Watcher = Arc<Mutex<RecommendedWatcher>>;

/// The folders that are watched.
pub(super) struct Folders {
    /// `None` while the system has none for us: made with the first folder that needs it.
    watcher: Option<Watcher>,
    inbox: Inbox,
    /// The watched folders, with their inodes.
    watched: HashMap<i64, (PathBuf, Option<u64>)>,
    watching: Watching,
    refresh_at: Instant,
    /// Until when the folders of syncs that have just run are left alone.
    paused: HashMap<i64, Instant>,
    /// When the folders that cannot be watched are looked at next.
    rescan_at: HashMap<i64, Instant>,
}

impl Folders {
    pub(super) fn new(engine: &Engine, watching: Watching, nudge: Nudge) -> Self {
        let inbox = Inbox {
            changes: Arc::default(),
            closings: engine.closings().clone(),
            own: engine.data_dir().to_owned(),
            quiet: engine.quiet_period(),
            nudge,
        };
        Self {
            watcher: None,
            inbox,
            watched: HashMap::new(),
            watching,
            refresh_at: Instant::now(),
            paused: HashMap::new(),
            rescan_at: HashMap::new(),
        }
    }

    /// The system's notifications. Where it had none to give, it is asked again with each rescan.
    fn watcher(&mut self) -> notify::Result<Watcher> {
        if let Some(watcher) = &self.watcher {
            return Ok(watcher.clone());
        }
        let inbox = self.inbox.clone();
        let watcher = notify::recommended_watcher(move |event| inbox.receive(event))?;
        Ok(self.watcher.insert(Arc::new(Mutex::new(watcher))).clone())
    }

    /// Watches the folders of the current syncs, and no others.
    pub(super) async fn refresh(&mut self, engine: &Engine) -> Result<(), StoreError> {
        if Instant::now() < self.refresh_at {
            return Ok(());
        }
        self.refresh_at = Instant::now() + REFRESH;
        self.note_limits(engine).await?;
        let wanted: HashMap<i64, Folder> = engine
            .store
            .read(|db| schedule::folders(db, &sources::watched()))
            .await?
            .into_iter()
            .map(|folder| (folder.sync_key, folder))
            .collect();
        let gone: Vec<i64> =
            self.watched.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.unwatch(key).await;
        }
        for (key, folder) in wanted {
            let root = PathBuf::from(OsStr::from_bytes(&folder.path));
            let is = inode(&root);
            let as_before = self
                .watched
                .get(&key)
                .is_some_and(|(path, was)| *path == root && *was == is && is.is_some());
            if as_before {
                continue;
            }
            self.unwatch(key).await;
            self.watch(engine, key, root, is).await?;
            // Nobody was notified of earlier changes.
            if folder.has_run {
                self.mark_changed(&[key]);
            }
        }
        Ok(())
    }

    async fn watch(
        &mut self,
        engine: &Engine,
        key: i64,
        root: PathBuf,
        is: Option<u64>,
    ) -> Result<(), StoreError> {
        if is.is_none() {
            return Ok(());
        }
        self.inbox.changes().roots.push((root.clone(), key));
        let watch = match self.watcher() {
            Ok(watcher) => watch_folder(watcher, root.clone()).await,
            Err(error) => Watch::Rescans(why(&error)),
        };
        self.watched.insert(key, (root, is));
        self.set(engine, key, watch).await
    }

    /// Notes how a folder is watched, and says so where it is rescanned from now on.
    async fn set(&mut self, engine: &Engine, key: i64, watch: Watch) -> Result<(), StoreError> {
        match &watch {
            Watch::Live => drop(self.rescan_at.remove(&key)),
            Watch::Rescans(reason) => {
                let before = self.watching.of(key);
                self.rescan_at.insert(key, Instant::now() + RESCAN);
                if before.as_ref() != Some(&watch)
                    && let Some((root, _)) = self.watched.get(&key)
                {
                    emit_event(engine, key, root, reason).await?;
                }
            }
        }
        let message = match &watch {
            Watch::Live => None,
            Watch::Rescans(reason) => {
                Some(format!("changes are looked for every 60 s instead: {reason}"))
            }
        };
        engine
            .store
            .write(move |tx| syncs::set_notice(tx, key, Notice::WatchLimited, message.as_deref()))
            .await?;
        self.watching.set(key, Some(watch));
        Ok(())
    }

    /// Takes note of folders that are watched in part only by now, and has those that cannot be
    /// watched looked at and watched once more when it is time.
    async fn note_limits(&mut self, engine: &Engine) -> Result<(), StoreError> {
        let limited = {
            let mut changes = self.inbox.changes();
            std::mem::take(&mut changes.limited)
        };
        for (key, reason) in limited {
            if self.watched.contains_key(&key) {
                self.set(engine, key, Watch::Rescans(reason)).await?;
            }
        }
        let now = Instant::now();
        let due: Vec<i64> =
            self.rescan_at.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
        for key in due {
            let Some((root, is)) = self.watched.get(&key).cloned() else {
                self.rescan_at.remove(&key);
                continue;
            };
            self.unwatch_folder(key).await;
            self.watch(engine, key, root, is).await?;
            self.mark_changed(&[key]);
        }
        Ok(())
    }

    async fn unwatch(&mut self, key: i64) {
        self.watching.set(key, None);
        self.rescan_at.remove(&key);
        self.unwatch_folder(key).await;
    }

    async fn unwatch_folder(&mut self, key: i64) {
        let Some((root, _)) = self.watched.remove(&key) else { return };
        {
            let mut changes = self.inbox.changes();
            changes.roots.retain(|(_, of)| *of != key);
            changes.changed.remove(&key);
            changes.put_off.remove(&key);
        }
        let shared = self.watched.values().any(|(other, _)| *other == root);
        if let (Some(watcher), false) = (self.watcher.clone(), shared) {
            let unwatched = tokio::task::spawn_blocking(move || {
                let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
                watcher.unwatch(&root)
            });
            // The folder may be gone, and its watch with it.
            let _ = unwatched.await;
        }
    }

    /// How long until the sync of a changed folder is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let changes = self.inbox.changes();
        let changed = changes.changed.iter().map(|(key, changed)| self.due_at(*key, *changed));
        let put_off = changes.put_off.values().map(|put_off| put_off.due_at());
        let due = changed.chain(put_off).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// The syncs that are due because their folders have changed.
    pub(super) fn take_due(&mut self) -> Vec<i64> {
        let now = Instant::now();
        let mut changes = self.inbox.changes();
        let mut due: Vec<i64> = changes
            .changed
            .iter()
            .filter(|(key, changed)| self.due_at(**key, **changed) <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in &due {
            changes.changed.remove(key);
        }
        let settled: Vec<i64> = changes
            .put_off
            .iter()
            .filter(|(_, put_off)| put_off.due_at() <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in settled {
            changes.put_off.remove(&key);
            if !due.contains(&key) {
                due.push(key);
            }
        }
        self.paused.retain(|_, until| *until > now);
        due
    }

    /// Marks the folders of these syncs as changed, if they are watched.
    pub(super) fn mark_changed(&mut self, keys: &[i64]) {
        let now = Instant::now();
        let mut changes = self.inbox.changes();
        for key in keys.iter().filter(|key| self.watched.contains_key(key)) {
            changes.changed.insert(*key, Changed { first: now, last: now, quiet: QUIET });
        }
    }

    fn due_at(&self, key: i64, changed: Changed) -> Instant {
        let is_quiet_at = (changed.last + changed.quiet).min(changed.first + MAX_WAIT);
        self.paused.get(&key).map_or(is_quiet_at, |until| is_quiet_at.max(*until))
    }

    /// A run of a sync has ended: its folder is left alone for as long as the run took, so that a
    /// folder that changes all the time does not keep the machine busy.
    pub(super) fn has_run(&mut self, key: i64, took: Duration) {
        if self.watched.contains_key(&key) {
            self.paused.insert(key, Instant::now() + took.min(MAX_PAUSE));
        }
    }
}

/// Has the system notify of what happens in a folder.
async fn watch_folder(watcher: Watcher, folder: PathBuf) -> Watch {
    let watched = tokio::task::spawn_blocking(move || {
        let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
        watcher.watch(&folder, RecursiveMode::Recursive)
    });
    match watched.await {
        Ok(Ok(())) => Watch::Live,
        Ok(Err(error)) => Watch::Rescans(why(&error)),
        Err(_) => Watch::Rescans("an internal error".to_owned()),
    }
}

fn inode(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|facts| facts.ino())
}

/// Why a folder cannot be watched, and what helps.
fn why(error: &notify::Error) -> String {
    match error.kind {
        ErrorKind::MaxFilesWatch => {
            "the limit of watched folders is reached: raise fs.inotify.max_user_watches".to_owned()
        }
        ErrorKind::Io(ref error) if error.raw_os_error() == Some(TOO_MANY) => {
            "too many programs of this user watch folders: raise fs.inotify.max_user_instances"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

/// Emits a notice that a folder is rescanned in its interval, and why.
async fn emit_event(
    engine: &Engine,
    key: i64,
    root: &Path,
    reason: &str,
) -> Result<(), StoreError> {
    let place = EntryPath::new(root.as_os_str().as_bytes()).to_json_text();
    let message =
        format!("{place} cannot be watched ({reason}); it is looked at every 60 s instead");
    tracing::warn!(sync_key = key, "{message}");
    let now = engine.clock().now();
    let detail = json!({"message": message});
    engine
        .store
        .write(move |tx| events::append(tx, Kind::Notice, About::sync(key), &detail, now))
        .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{clock::SystemClock, config::Config, sources::Registry};

    #[test]
    fn a_limit_that_is_reached_later_concerns_the_folder_that_the_error_names_or_else_all() {
        let roots = vec![(PathBuf::from("/a"), 1), (PathBuf::from("/b"), 2)];
        let mut changes = Changes { roots, ..Changes::default() };
        let limit = || notify::Error::new(ErrorKind::MaxFilesWatch);
        changes.limit(&limit().add_path("/b/new".into()));
        assert_eq!(changes.limited.keys().collect::<Vec<_>>(), [&2]);
        assert!(changes.limited[&2].contains("fs.inotify.max_user_watches"));
        changes.limit(&limit());
        assert_eq!(changes.limited.len(), 2);
    }
    #[tokio::test]
    async fn a_folder_that_the_system_does_not_notify_of_is_looked_at_again_within_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::load(Some(dir.path().join("data"))).unwrap();
        let engine = Engine::open(&config, Arc::new(SystemClock), Arc::new(Registry)).unwrap();
        let mut folders = Folders::new(&engine, Watching::default(), Nudge::default());
        let key = 1;
        folders.watched.insert(key, (dir.path().to_owned(), inode(dir.path())));
        folders.watching.set(key, Some(Watch::Rescans("too many".to_owned())));
        folders.set(&engine, key, Watch::Rescans("too many".to_owned())).await.unwrap();
        assert!(folders.rescan_at[&key] <= Instant::now() + RESCAN);
        assert!(folders.next_due().is_none(), "nothing has changed yet");

        folders.rescan_at.insert(key, Instant::now());
        folders.note_limits(&engine).await.unwrap();
        tokio::time::sleep(folders.next_due().unwrap()).await;
        assert_eq!(folders.take_due(), [key]);
        assert_eq!(folders.watching.of(key), Some(Watch::Live), "it is watched once that works");
    }
}
