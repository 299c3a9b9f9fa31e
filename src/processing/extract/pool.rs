//! All extractors of a data directory, and the children that are kept for their next object.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Builtin, Class, Extracted, Failure, Job, builtin, process::Process};

/// Objects after which a child is replaced, whatever it has gathered by then.
const OBJECTS: u32 = 1000;
/// How long a child without work is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Children without work that are kept of one extractor.
const MOST_IDLE: usize = 8;

/// Extractors, ready to be asked; clones share their children.
#[derive(Clone, Debug)]
pub struct Extractors {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// This program, which its own extractors are part of.
    program: PathBuf,
    /// Where scratch folders are made.
    folder: PathBuf,
    idle: Mutex<HashMap<&'static str, Vec<(Process, Instant)>>>,
}

impl Extractors {
    /// Extractors whose scratch folders are made in `folder`. `program` is a `catchment`.
    #[must_use]
    pub fn new(program: PathBuf, folder: PathBuf) -> Self {
        Self { shared: Arc::new(Shared { program, folder, idle: Mutex::default() }) }
    }

    /// The program that runs here, even where its file has been replaced meanwhile.
    #[must_use]
    pub fn own_program() -> PathBuf {
        let own = Path::new("/proc/self/exe");
        match own.exists() {
            true => own.to_owned(),
            false => std::env::current_exe().unwrap_or_else(|_| own.to_owned()),
        }
    }

    /// The extractor of that name and version.
    #[must_use]
    pub fn find(&self, name: &str, version: &str) -> Option<&'static Builtin> {
        builtin::find(name).filter(|found| found.version == version)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<&'static Builtin> {
        builtin::ALL.to_vec()
    }

    /// Has an object extracted. Dropping the future ends the extraction, processes and all.
    ///
    /// # Errors
    /// Whatever went wrong, by what to do about it.
    pub async fn extract(
        &self,
        extractor: &'static Builtin,
        job: Job,
        timeout: Duration,
    ) -> Result<Extracted, Failure> {
        let mut process = match self.take_idle(extractor.name) {
            Some(process) => process,
            None => {
                let Shared { program, folder, .. } = &*self.shared;
                Process::start(program, extractor, folder).await.map_err(|error| {
                    Failure::new(Class::Unavailable, format!("it could not be started: {error}"))
                })?
            }
        };
        let asked = process.ask(job, timeout).await;
        if !asked.is_spent && process.served < OBJECTS {
            self.keep(extractor.name, process);
        }
        asked.outcome
    }

    /// Ends children that have had no work for a while.
    pub fn tidy(&self) {
        let mut idle = self.lock();
        for kept in idle.values_mut() {
            kept.retain(|(_, since)| since.elapsed() < IDLE);
        }
    }

    /// Ends all children that have no work.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn take_idle(&self, name: &str) -> Option<Process> {
        let mut idle = self.lock();
        let kept = idle.get_mut(name)?;
        while let Some((mut process, _)) = kept.pop() {
            if process.is_alive() {
                return Some(process);
            }
        }
        None
    }

    fn keep(&self, name: &'static str, process: Process) {
        let mut idle = self.lock();
        let kept = idle.entry(name).or_default();
        if kept.len() < MOST_IDLE {
            kept.push((process, Instant::now()));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Vec<(Process, Instant)>>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
