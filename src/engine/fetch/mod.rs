//! Fetching an entry: its bytes into the blob store, hashed as they pass, however often it takes.
//!
//! Small ones are kept in memory and go into the database with their row; larger ones become files
//! (`body`); the largest come in parts, in parallel, and what has arrived of them survives the run
//! (`parts`). Here is what happens around that: room on the disk, retries, second looks.

mod body;
mod closer;
mod parts;
mod web;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    RunError,
    inquiry::Inquiry,
    plan::{Task, Work},
    run::Run,
    shards::PageId,
};
use crate::{
    blobs::{INLINE_MAX, PART_BYTES, Room},
    model::{EntryKind, Fingerprint},
    sources::{
        Body, Content, ErrorClass, Facts, SourceError,
        retry::{Classified as _, RetryPolicy},
    },
    store::{
        commit::{Stored, Taken},
        dead_letters::Failure,
        left_out::LeftOut,
        rejudge::Rejudged,
        renames::Moved,
        shape::Shape,
    },
};

pub(super) use body::store;
use body::{FetchError, kept, on_blocking_thread, slurp};
use closer::Recalled;
pub(super) use parts::WRITES;

/// What became of an entry.
#[derive(Debug)]
pub enum Outcome {
    /// Its bytes are here.
    Taken(Box<Taken>),
    /// Its bytes were here, and it is decided what becomes of it now.
    Rejudged(Box<Rejudged>),
    /// It is one that was taken under another name.
    Renamed(Box<Moved>),
    /// It has changed since it was listed and no longer passes the filters.
    Filtered,
    /// Its source says something of it that the filters leave it out for.
    LeftOut(LeftOut),
    /// It is gone since it was listed.
    Vanished,
    /// It could not be taken.
    Failed(Failure),
    /// Nothing else could be taken either.
    Fatal(RunError),
}

/// How often an entry that changes under our hands is looked at anew.
const REREADS: usize = 3;

/// From this size on a blob comes in parts.
const IN_PARTS: u64 = 2 * PART_BYTES;

/// An entry that was fetched, for the page that it is of.
#[derive(Debug)]
pub struct Fetched {
    /// The page.
    pub page: PageId,
    /// The key of the entry's row, if it has one.
    pub known: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Room on the disk for what is still in memory of it.
    pub room: Option<Arc<Room>>,
}

/// Works that are carried out by one task: a single one, or several small ones of a source that is
/// best read so.
pub type Bundle = Vec<(PageId, Work)>;

/// Most bytes of a bundle of several works.
const BUNDLE_BYTES: u64 = 256 * 1024;

/// Most works of a bundle that has nothing to fetch and nothing to ask. With one for each, 400,000
/// renames had 517 threads and took a third longer, measured.
const FROM_HERE: usize = 64;

/// Takes the next bundle off the works that wait; empty only when there are none.
pub(super) fn next_bundle(run: &Run, waiting: &mut VecDeque<(PageId, Work)>) -> Bundle {
    let asks_nothing = !run.rules.look_closer();
    let is_from_here = |work: &Work| asks_nothing && work.task != Task::Fetch;
    let from_here = waiting.front().is_some_and(|(_, first)| is_from_here(first));
    let most = if from_here { FROM_HERE } else { run.source.bundle() };
    let mut bundle = Vec::new();
    let mut bytes = 0;
    while let Some((_, work)) = waiting.front() {
        bytes += work.bytes();
        let is_full = bundle.len() >= most || bytes > BUNDLE_BYTES;
        if !bundle.is_empty() && (is_full || is_from_here(work) != from_here) {
            break;
        }
        bundle.extend(waiting.pop_front());
    }
    bundle
}

/// Fetches a bundle's entries, retrying what may pass and looking again at what has changed.
///
/// Room for all of them is set aside first; large ones that come in parts see to that themselves.
pub(super) async fn fetch(run: Arc<Run>, bundle: Bundle) -> Vec<Fetched> {
    let bytes = bundle.iter().map(|(_, work)| room_for(&run, work)).sum();
    let room = match run.blobs.reserve(bytes) {
        Ok(room) => Arc::new(room),
        Err(error) => return nothing_goes(&bundle, error.into()),
    };
    let recalled = match closer::recall(&run, &bundle).await {
        Ok(recalled) => recalled,
        Err(error) => return nothing_goes(&bundle, error.into()),
    };
    for (_, work) in &bundle {
        run.observer.fetching(&work.path, work.bytes());
    }
    let by_itself = bundle.len() == 1
        || run.rules.look_closer()
        || bundle.iter().any(|(_, work)| work.task != Task::Fetch);
    let first_tries = match by_itself {
        true => bundle.iter().map(|_| None).collect(),
        false => all_at_once(&run, &bundle).await,
    };
    let mut fetched = Vec::with_capacity(bundle.len());
    for ((page, mut work), first_try) in bundle.into_iter().zip(first_tries) {
        let outcome = match first_try {
            Some((facts, stored)) => {
                Outcome::Taken(Box::new(taken(&run, &work, facts, stored, None)))
            }
            None => take(&run, &mut work, &recalled).await,
        };
        run.observer.fetched(&work.path);
        let in_memory = work.bytes() <= INLINE_MAX;
        let room = in_memory.then(|| room.clone());
        fetched.push(Fetched { page, known: work.known, outcome, room });
    }
    fetched
}

/// What an entry will take: small ones lie in the database's log and, later, in the database.
fn room_for(run: &Run, work: &Work) -> u64 {
    match work.bytes() {
        size if size <= INLINE_MAX => 2 * size + ROW_BYTES,
        size if size >= IN_PARTS && run.source.ranges() => ROW_BYTES,
        size => size + ROW_BYTES,
    }
}

/// About what the rows of an entry take.
const ROW_BYTES: u64 = 1024;

/// What stops the first of a bundle stops them all.
fn nothing_goes(bundle: &Bundle, error: RunError) -> Vec<Fetched> {
    let stands_for_all = bundle.first().map(|(page, work)| Fetched {
        page: *page,
        known: work.known,
        outcome: Outcome::Fatal(error),
        room: None,
    });
    stands_for_all.into_iter().collect()
}

/// Reads small entries one after the other on one blocking thread. `None` for each that did not go
/// smoothly: it is taken by itself, with all patience.
async fn all_at_once(run: &Arc<Run>, bundle: &Bundle) -> Vec<Option<(Facts, Stored)>> {
    let _permit = permit(run).await;
    let mut readers = Vec::with_capacity(bundle.len());
    for (_, work) in bundle {
        let size = work.fingerprint.size;
        readers.push(match run.source.fetch(&work.id, &work.fingerprint, None).await {
            Ok(Content { facts, body: Body::Blocking(reader) }) if size <= INLINE_MAX => {
                Some((facts, reader, size))
            }
            _ => None,
        });
    }
    let observer = run.observer.clone();
    let read = move || {
        let read =
            |(facts, reader, size)| Some((facts, kept(slurp(reader, size).ok()?, &*observer)));
        Ok(readers.into_iter().map(|reader| reader.and_then(read)).collect())
    };
    let nothing = || bundle.iter().map(|_| None).collect();
    on_blocking_thread(read).await.unwrap_or_else(|_| nothing())
}

async fn take(run: &Arc<Run>, work: &mut Work, recalled: &Recalled) -> Outcome {
    let mut rereads = 0;
    loop {
        let error = match attempt(run, work, recalled).await {
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        match error.class() {
            ErrorClass::Reread if rereads < REREADS => rereads += 1,
            ErrorClass::Reread
            | ErrorClass::Retry
            | ErrorClass::RetryBriefly
            | ErrorClass::Entry => return failed(work, &error),
            // Gone may mean replaced; the second look tells.
            ErrorClass::Gone if rereads == 0 => rereads += 1,
            ErrorClass::Gone => return Outcome::Vanished,
            ErrorClass::Connection => return Outcome::Fatal(fatal(error)),
        }
        match look_again(run, work).await {
            Ok(Some(fingerprint)) => {
                work.fingerprint = fingerprint;
                work.task = work.task.of_changed(&run.sync.options.reconcile);
            }
            Ok(None) => return Outcome::Vanished,
            Err(error) if error.class() == ErrorClass::Connection => {
                return Outcome::Fatal(error.into());
            }
            Err(error) => return failed(work, &error.into()),
        }
        if run.rules.filter.refuses(&work.path, &work.fingerprint).is_some() {
            return Outcome::Filtered;
        }
    }
}

/// Asks what has to be asked, brings the bytes where they are not here, and makes of them what the
/// rules say.
async fn attempt(run: &Arc<Run>, work: &Work, recalled: &Recalled) -> Result<Outcome, FetchError> {
    match work.task {
        Task::Fetch => fetch_whole(run, work).await,
        Task::Rejudge { is_same } => closer::rejudge(run, work, is_same, recalled).await,
        Task::Rename { row } => closer::rename(run, work, row, recalled).await,
    }
}

async fn fetch_whole(run: &Arc<Run>, work: &Work) -> Result<Outcome, FetchError> {
    let mut inquiry = Inquiry::default();
    if let Some(left_out) = closer::left_out(run, work, &mut inquiry).await? {
        return Ok(left_out);
    }
    let (facts, stored) = content(run, work).await?;
    inquiry.came(facts);
    let shape = closer::shape(run, work, &mut inquiry, &BTreeMap::new()).await?;
    Ok(Outcome::Taken(Box::new(taken(run, work, inquiry.facts, stored, shape))))
}

/// The entry as it is now; `None` when it is gone, or no longer a file.
async fn look_again(run: &Run, work: &Work) -> Result<Option<Fingerprint>, SourceError> {
    let entry = RetryPolicy::FETCH.run(|| run.source.stat(&work.id)).await?;
    Ok(entry.and_then(|entry| match entry.kind {
        EntryKind::File(fingerprint) => Some(fingerprint),
        EntryKind::Skipped(_) | EntryKind::Unreadable { .. } => None,
    }))
}

fn taken(run: &Run, work: &Work, facts: Facts, stored: Stored, shape: Option<Box<Shape>>) -> Taken {
    let mime = facts
        .mime
        .or_else(|| work.fingerprint.mime.clone())
        .or_else(|| work.path.mime_guess().map(str::to_owned));
    let metadata = (!facts.metadata.is_empty())
        .then(|| serde_json::Value::from_iter(facts.metadata).to_string());
    Taken {
        id: work.id.clone(),
        path: work.path.clone(),
        fingerprint: work.fingerprint.clone(),
        identity: run.source.identity(&work.fingerprint),
        mime,
        metadata,
        stored,
        shape,
    }
}

fn failed(work: &Work, error: &FetchError) -> Outcome {
    let error_type = error.error_type();
    let failure = Failure {
        id: work.id.clone(),
        path: work.path.clone(),
        version: Some(work.fingerprint.version.clone()),
        error_type,
        message: error_type.with_way_out(&error.to_string()),
    };
    match work.task {
        // Its object stays what it is, under the new name, until the rest can be worked out.
        Task::Rename { row } => {
            let moved = closer::moved(work, row, None);
            Outcome::Renamed(Box::new(Moved { failure: Some(failure), ..moved }))
        }
        Task::Fetch | Task::Rejudge { .. } => Outcome::Failed(failure),
    }
}

fn fatal(error: FetchError) -> RunError {
    match error {
        FetchError::Source(error) => error.into(),
        FetchError::Disk(error) => error.into(),
        FetchError::Store(error) => error.into(),
        // An entry's own failures, which end no run.
        FetchError::Mapping(_) | FetchError::Web { .. } | FetchError::Died => {
            crate::store::StoreError::Stopped.into()
        }
    }
}

/// The bytes of an entry, in the way that suits its size.
async fn content(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
    if work.fingerprint.size >= IN_PARTS && run.source.ranges() {
        parts::fetch(run, work).await
    } else {
        RetryPolicy::FETCH.run(|| in_one(run, work)).await
    }
}

/// One try at the bytes of an entry, front to back.
async fn in_one(run: &Arc<Run>, work: &Work) -> Result<(Facts, Stored), FetchError> {
    let size = work.fingerprint.size;
    let _permit = permit(run).await;
    let content = run.source.fetch(&work.id, &work.fingerprint, None).await?;
    let stored = body::store(&run.blobs, &run.observer, content.body, size).await?;
    Ok((content.facts, stored))
}

async fn permit(run: &Run) -> Option<tokio::sync::SemaphorePermit<'_>> {
    permits(run, 1).await
}

/// The permit to make a request that takes the memory of so many usual ones.
async fn permits(run: &Run, weight: usize) -> Option<tokio::sync::SemaphorePermit<'_>> {
    let weight = u32::try_from(weight).unwrap_or(u32::MAX);
    // Never closed; if it were, going without a permit would do no harm.
    run.requests.acquire_many(weight).await.ok()
}
