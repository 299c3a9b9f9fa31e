//! Watching folders: a change makes its sync due, without waiting for its interval.
//!
//! What the system tells is a hint to look, never proof of anything: the run that follows lists and
//! compares as always. Where the system cannot tell (too many folders, a share that others write
//! to, an overflow), the interval still does.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use serde_json::json;
use tokio::time::Instant;

use super::Nudge;
use crate::{
    engine::Engine,
    model::EntryPath,
    store::{
        StoreError,
        events::{self, About, EventKind as Told},
        schedule::{self, Folder},
    },
};

/// How long a folder must be quiet before it is looked at.
const SETTLE: Duration = Duration::from_millis(100);

/// How long a folder that never is quiet waits at most.
const AT_MOST: Duration = Duration::from_millis(600);

/// How often it is looked which folders are to be watched.
const REFRESH: Duration = Duration::from_secs(2);

/// The longest rest between two runs of a folder that keeps changing.
const MOST_REST: Duration = Duration::from_secs(30);

/// Which folders are watched, for others to see; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Watching(Arc<Mutex<BTreeMap<i64, Watch>>>);

/// How a folder is kept an eye on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Changes are told as they happen.
    Live,
    /// It is looked at in its interval only, and why.
    Rescans(String),
}

impl Watching {
    /// How the folder of a sync is kept an eye on; `None` where it is no folder, or rests.
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

/// A folder that has changed and was not looked at since.
#[derive(Clone, Copy, Debug)]
struct Stir {
    first: Instant,
    last: Instant,
}

/// Changes that the system has told of, by folder.
#[derive(Debug, Default)]
struct Stirred {
    /// Watched folders with their syncs.
    roots: Vec<(PathBuf, i64)>,
    stirs: HashMap<i64, Stir>,
}

impl Stirred {
    fn told(&mut self, event: &Event, at: Instant) -> bool {
        if !is_change(event) {
            return false;
        }
        let everything = event.need_rescan() || event.paths.is_empty();
        let about =
            |root: &Path| everything || event.paths.iter().any(|path| path.starts_with(root));
        let keys: Vec<i64> =
            self.roots.iter().filter(|(root, _)| about(root)).map(|(_, key)| *key).collect();
        for key in &keys {
            self.stirs.entry(*key).or_insert(Stir { first: at, last: at }).last = at;
        }
        !keys.is_empty()
    }
}

/// Whether something may be different now: reading changes nothing.
fn is_change(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => event.need_rescan(),
        _ => true,
    }
}

/// The folders that are watched.
pub(super) struct Folders {
    watcher: Option<Arc<Mutex<RecommendedWatcher>>>,
    stirred: Arc<Mutex<Stirred>>,
    /// What is watched, with the inode that it had.
    watched: HashMap<i64, (PathBuf, Option<u64>)>,
    watching: Watching,
    refresh_at: Instant,
    /// Folders that were looked at just now.
    rests: HashMap<i64, Instant>,
}

impl Folders {
    pub(super) fn new(engine: &Engine, watching: Watching, nudge: Nudge) -> Self {
        let stirred = Arc::new(Mutex::new(Stirred::default()));
        let own = engine.data_dir().to_owned();
        let inbox = stirred.clone();
        let told = move |event: notify::Result<Event>| {
            let Ok(mut event) = event else { return };
            // What we write ourselves is no change of a source.
            let any = event.paths.len();
            event.paths.retain(|path| !path.starts_with(&own));
            if any > 0 && event.paths.is_empty() {
                return;
            }
            let mut stirred = inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if stirred.told(&event, Instant::now()) {
                nudge.nudge();
            }
        };
        let watcher = match notify::recommended_watcher(told) {
            Ok(watcher) => Some(Arc::new(Mutex::new(watcher))),
            Err(error) => {
                tracing::warn!(%error, "folders cannot be watched; they are rescanned instead");
                None
            }
        };
        Self {
            watcher,
            stirred,
            watched: HashMap::new(),
            watching,
            refresh_at: Instant::now(),
            rests: HashMap::new(),
        }
    }

    /// Brings what is watched in line with the syncs there are.
    pub(super) async fn look(&mut self, engine: &Engine) -> Result<(), StoreError> {
        if Instant::now() < self.refresh_at {
            return Ok(());
        }
        self.refresh_at = Instant::now() + REFRESH;
        let wanted: HashMap<i64, Folder> = engine
            .store
            .read(schedule::folders)
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
            // What happened before nobody has told of.
            if folder.has_run {
                self.stir(&[key]);
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
        let (Some(watcher), Some(_)) = (self.watcher.clone(), is) else {
            return Ok(());
        };
        {
            let mut stirred = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
            stirred.roots.push((root.clone(), key));
        }
        let place = root.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
            watcher.watch(&place, RecursiveMode::Recursive)
        })
        .await
        .map_err(|_| StoreError::Stopped)?;
        let watch = match outcome {
            Ok(()) => Watch::Live,
            Err(error) => Watch::Rescans(why(&error)),
        };
        if let Watch::Rescans(reason) = &watch {
            tell(engine, key, &root, reason).await?;
        }
        self.watching.set(key, Some(watch));
        self.watched.insert(key, (root, is));
        Ok(())
    }

    async fn unwatch(&mut self, key: i64) {
        self.watching.set(key, None);
        let Some((root, _)) = self.watched.remove(&key) else { return };
        {
            let mut stirred = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
            stirred.roots.retain(|(_, of)| *of != key);
            stirred.stirs.remove(&key);
        }
        let shared = self.watched.values().any(|(other, _)| *other == root);
        if let (Some(watcher), false) = (self.watcher.clone(), shared) {
            let unwatched = tokio::task::spawn_blocking(move || {
                let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
                watcher.unwatch(&root)
            });
            // It may be gone, and its watch with it.
            let _ = unwatched.await;
        }
    }

    /// How long until a folder that has changed is to be looked at.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let stirred = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
        let due = stirred.stirs.iter().map(|(key, stir)| self.due_at(*key, *stir)).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// The syncs whose folders have changed and are to be looked at now.
    pub(super) fn take_due(&mut self) -> Vec<i64> {
        let now = Instant::now();
        let mut stirred = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<i64> = stirred
            .stirs
            .iter()
            .filter(|(key, stir)| self.due_at(**key, **stir) <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in &due {
            stirred.stirs.remove(key);
        }
        self.rests.retain(|_, until| *until > now);
        due
    }

    /// Has the folders of these syncs looked at again, those that are watched.
    pub(super) fn stir(&mut self, keys: &[i64]) {
        let now = Instant::now();
        let mut stirred = self.stirred.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys.iter().filter(|key| self.watched.contains_key(key)) {
            stirred.stirs.insert(*key, Stir { first: now, last: now });
        }
    }

    fn due_at(&self, key: i64, stir: Stir) -> Instant {
        let settled = (stir.last + SETTLE).min(stir.first + AT_MOST);
        self.rests.get(&key).map_or(settled, |rest| settled.max(*rest))
    }

    /// A run of a sync has ended: its folder is left alone for as long as that took, so that one
    /// which changes all the time does not keep the machine busy.
    pub(super) fn has_run(&mut self, key: i64, took: Duration) {
        if self.watched.contains_key(&key) {
            self.rests.insert(key, Instant::now() + took.min(MOST_REST));
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|facts| facts.ino())
}

/// Why a folder cannot be watched, and what helps.
fn why(error: &notify::Error) -> String {
    match error.kind {
        ErrorKind::MaxFilesWatch => {
            "this system watches no more folders: raise fs.inotify.max_user_watches".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Says that a folder is rescanned in its interval, and why.
async fn tell(engine: &Engine, key: i64, root: &Path, reason: &str) -> Result<(), StoreError> {
    let place = EntryPath::new(root.as_os_str().as_bytes()).to_json_text();
    let message =
        format!("{place} cannot be watched ({reason}); it is rescanned in its interval instead");
    tracing::warn!(sync_key = key, "{message}");
    let now = engine.clock().now();
    let detail = json!({"message": message});
    engine
        .store
        .write(move |tx| events::append(tx, Told::Notice, About::sync(key), &detail, now))
        .await
}
