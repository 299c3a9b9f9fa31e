//! All extractors of a data directory, and the children that are kept for their next object.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    Class, Extracted, Extractor, Failure, Given, Job, builtin, child, drawing,
    extractor::How,
    group,
    own::{self, Own, Unusable},
    own_paths::OwnPaths,
    process::Process,
    program::Program,
    service::{Asking, Links},
    strays,
};
use crate::sources::http::post::Poster;

/// Objects after which a child is replaced, whatever it has gathered by then.
const OBJECTS: u32 = 1000;
const MIB: u64 = 1024 * 1024;
/// Children without work that are kept of one extractor.
const MOST_IDLE: usize = 8;

/// The extractors that come with Catchment.
static BUILTIN: LazyLock<Vec<Arc<Extractor>>> =
    LazyLock::new(|| builtin::ALL.iter().map(|found| Arc::new((*found).into())).collect());

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
    /// The owner's extractors.
    own: Option<Own>,
    /// Folders of ours, whose paths are not shown.
    own_paths: OwnPaths,
    /// Links to what services are to fetch, where a server runs.
    links: Option<Arc<dyn Links>>,
    poster: Poster,
    idle: Mutex<HashMap<Kind, Vec<Kept>>>,
    /// What programs that run at once may use together, in MiB; `None`: nobody knows how much there
    /// is.
    memory: Option<Memory>,
    /// Turns at extractors of which only so many may run, by name, with how many that is.
    turns: Mutex<HashMap<String, (usize, Arc<Semaphore>)>>,
}

#[derive(Debug)]
struct Memory {
    all: u32,
    free: Arc<Semaphore>,
}

impl Memory {
    fn of(bytes: u64) -> Self {
        // More than there are permits for is more than any program is given.
        let all = u32::try_from(bytes / MIB).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3);
        let permits = usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS);
        Self { all, free: Arc::new(Semaphore::new(permits)) }
    }

    /// Waits until there is so much, or all of it for what wants more.
    async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes.div_ceil(MIB)).unwrap_or(u32::MAX).min(self.all);
        self.free.clone().acquire_many_owned(wanted).await.ok()
    }
}

/// A turn at an extractor, with the memory that it may use, for as long as it is held.
#[derive(Debug)]
pub struct Turn {
    _turn: Option<OwnedSemaphorePermit>,
    _memory: Option<OwnedSemaphorePermit>,
}

/// A child without work.
#[derive(Debug)]
struct Kept {
    process: Process,
    /// Until when it is kept.
    until: Instant,
}

/// What children are alike in: the extractor, and for one of the owner's what its file says.
type Kind = (String, Option<[u8; 16]>);

impl Extractors {
    /// Extractors whose scratch folders are made in `folder`. `program` is a `catchment`.
    #[must_use]
    pub fn new(program: PathBuf, folder: PathBuf) -> Self {
        Self::with(program, folder, None, None)
    }

    /// The same and the owner's, which are files of the folder `own`. `links` leads services to
    /// bytes.
    #[must_use]
    pub fn with(
        program: PathBuf,
        folder: PathBuf,
        own: Option<PathBuf>,
        links: Option<Arc<dyn Links>>,
    ) -> Self {
        // A child that has changed to its scratch folder still finds it by this.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let data_dir = own.as_deref().and_then(Path::parent);
        let shared = Shared {
            program,
            own_paths: OwnPaths::of([Some(&*folder), data_dir].into_iter().flatten()),
            folder,
            own: own.map(Own::new),
            links,
            poster: Poster::new(),
            idle: Mutex::default(),
            memory: own::quarter_of_memory().map(Memory::of),
            turns: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The folder with the owner's extractors in a data directory.
    #[must_use]
    pub fn own_folder(data_dir: &Path) -> PathBuf {
        data_dir.join("extractors")
    }

    /// The program that runs here, even where its file has been replaced meanwhile.
    #[must_use]
    pub fn own_program() -> PathBuf {
        child::own_program()
    }

    /// The extractor of that name and version. One of the owner's is whatever version its file
    /// says: raising that makes documents outdated, and no collection useless.
    #[must_use]
    pub fn find(&self, name: &str, version: &str) -> Option<Arc<Extractor>> {
        let ours = BUILTIN.iter().find(|known| known.name == name);
        match ours {
            Some(ours) => Some(ours.clone()).filter(|known| known.version == version),
            None => self.own().into_iter().find(|known| known.name == name),
        }
    }

    /// All of them, ours first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Extractor>> {
        let mut all = BUILTIN.clone();
        all.extend(self.own());
        all
    }

    /// Files of the owner's that cannot be used, and why.
    #[must_use]
    pub fn unusable(&self) -> Vec<Unusable> {
        self.shared.own.as_ref().map(Own::unusable).unwrap_or_default()
    }

    fn own(&self) -> Vec<Arc<Extractor>> {
        self.shared.own.as_ref().map(Own::usable).unwrap_or_default()
    }

    /// Waits for a turn at an extractor of which only so many may run at once, and until the memory
    /// that it may use is left by others.
    pub async fn turn(&self, extractor: &Extractor) -> Turn {
        let turn = match self.turns_at(extractor) {
            Some(turns) => turns.acquire_owned().await.ok(),
            None => None,
        };
        let memory = match (&self.shared.memory, &extractor.how) {
            (Some(memory), How::Program(own)) => memory.take(own.memory).await,
            _ => None,
        };
        Turn { _turn: turn, _memory: memory }
    }

    fn turns_at(&self, extractor: &Extractor) -> Option<Arc<Semaphore>> {
        let most = extractor.concurrency?.min(Semaphore::MAX_PERMITS);
        let mut all = self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all
            .entry(extractor.name.clone())
            .or_insert_with(|| (most, Arc::new(Semaphore::new(most))));
        if known.0 != most {
            // Its file has changed. Those that run have turns of the old count.
            *known = (most, Arc::new(Semaphore::new(most)));
        }
        Some(known.1.clone())
    }

    /// Has an object extracted. Dropping the future ends the extraction, processes and all.
    ///
    /// # Errors
    /// Whatever went wrong, by what to do about it.
    pub async fn extract(&self, extractor: &Extractor, mut job: Job) -> Result<Extracted, Failure> {
        for (name, value) in &extractor.defaults {
            job.parameters.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let Shared { program, folder, links, poster, own_paths, .. } = &*self.shared;
        let timeout = extractor.timeout;
        let outcome = match &extractor.how {
            How::Builtin(builtin) if builtin.draws => self.run_drawing(extractor, job).await,
            How::Builtin(_) => self.run_kept(extractor, None, job).await,
            How::Program(own) if own.stay => self.run_kept(extractor, Some(own), job).await,
            How::Program(own) => own.run(program, folder, job, timeout).await,
            How::Service(service) => {
                service.extract(Asking { poster, links: links.as_ref(), timeout }, job).await
            }
        };
        match outcome {
            Ok(made) => {
                let left_out = made.left_out.iter().map(|why| own_paths.redacted(why)).collect();
                let log = extractor.blanked(own_paths.redacted(&made.log));
                Ok(Extracted { log, left_out, ..made })
            }
            Err(failure) => {
                let failure = match &extractor.how {
                    How::Program(own) => own.explained(&extractor.name, failure),
                    _ => failure,
                };
                Err(Failure {
                    message: extractor.blanked(own_paths.redacted(&failure.message)),
                    log: extractor.blanked(own_paths.redacted(&failure.log)),
                    ..failure
                })
            }
        }
    }

    /// Asks a child of ours. What that cannot draw is drawn by a program of the system, and the
    /// child asked again with the picture.
    async fn run_drawing(&self, extractor: &Extractor, job: Job) -> Result<Extracted, Failure> {
        let unreadable = |error| Failure::new(Class::Unavailable, format!("{error}"));
        let again = drawing::twin(&job).map_err(unreadable)?;
        let made = self.run_kept(extractor, None, job).await?;
        let Some(drawable) = made.drawable else { return Ok(made) };
        let Shared { program, folder, .. } = &*self.shared;
        let Job { run, object, inputs, parameters } = again;
        let drawn = drawing::draw(drawable, program, folder, inputs, extractor.timeout).await?;
        let file = Given::File { file: drawn.file, facts: drawn.facts };
        let inputs = [("file".to_owned(), file)].into();
        self.run_kept(extractor, None, Job { run, object, inputs, parameters }).await
    }

    /// Asks a child that is kept, or one that is started to be kept.
    async fn run_kept(
        &self,
        extractor: &Extractor,
        own: Option<&Program>,
        job: Job,
    ) -> Result<Extracted, Failure> {
        let kind: Kind = (extractor.name.clone(), extractor.definition);
        let mut process = match self.take_idle(&kind) {
            Some(process) => process,
            None => self.start(extractor, own).await?,
        };
        let asked = process.run_job(job, extractor.timeout).await;
        if !asked.is_spent && process.served < OBJECTS {
            self.keep(kind, Kept { process, until: Instant::now() + extractor.idle });
        } else if asked.is_spent && own.is_some() {
            process.kill().await;
        }
        asked.outcome
    }

    async fn start(
        &self,
        extractor: &Extractor,
        own: Option<&Program>,
    ) -> Result<Process, Failure> {
        let Shared { program, folder, .. } = &*self.shared;
        match (own, &extractor.how) {
            (Some(own), _) => own.keep(program, folder).await,
            (None, How::Builtin(builtin)) => {
                Process::start(program, builtin, folder).await.map_err(|error| {
                    Failure::new(Class::Unavailable, format!("it could not be started: {error}"))
                })
            }
            (None, _) => Err(Failure::new(Class::Permanent, "it is no program")),
        }
    }

    /// Ends children that have had no work for a while, and clears away those that have ended.
    pub fn tidy(&self) {
        let mut idle = self.lock();
        let now = Instant::now();
        for kept in idle.values_mut() {
            kept.retain_mut(|one| one.process.is_alive() && now < one.until);
        }
        idle.retain(|_, kept| !kept.is_empty());
    }

    /// Ends all children that have no work, and waits for these and for those whose extraction was
    /// broken off.
    pub async fn end_all(&self) {
        self.lock().clear();
        group::all_ended().await;
    }

    /// Ends what programs of the owner's have left behind whose scratch folder is one of these: the
    /// processes of a server that was killed.
    pub fn end_strays(is_one: impl Fn(&Path) -> bool) {
        strays::end(is_one);
    }

    fn take_idle(&self, kind: &Kind) -> Option<Process> {
        let mut idle = self.lock();
        let kept = idle.get_mut(kind)?;
        while let Some(Kept { mut process, .. }) = kept.pop() {
            if process.is_alive() {
                return Some(process);
            }
        }
        None
    }

    fn keep(&self, kind: Kind, one: Kept) {
        let mut idle = self.lock();
        let kept = idle.entry(kind).or_default();
        if kept.len() < MOST_IDLE {
            kept.push(one);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Kind, Vec<Kept>>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
