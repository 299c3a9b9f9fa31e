//! Fetching an entry: its bytes go into the blob store and are hashed as they pass.
//!
//! Small entries stay in memory and go into the database with their row; larger ones become files
//! (`body`); the largest are fetched in parts, in parallel, and the parts that have arrived survive
//! the run (`parts`). This file handles everything around that: disk space, retries, and looking
//! again at entries that have changed.

mod body;
mod checks;
mod enrich;
mod parts;
mod proof;
mod web;

use std::{
    collections::{BTreeMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::FutureExt as _;

use super::{
    RunError,
    context::Run,
    known_facts::KnownFacts,
    plan::{Action, ActionKind, Sighting},
    shards::PageId,
};
use crate::{
    blobs::{BlobError, INLINE_MAX, PART_BYTES, Room},
    model::{BlobHash, Details, Entry, EntryId, EntryKind, ExpectedHash, Fingerprint, SizeKind},
    sources::{
        Body, Content, ErrorClass, Facts, SourceError,
        retry::{Classified as _, RetryPolicy},
    },
    store::{
        commit::{FetchedEntry, Stored},
        dead_letters::Failure,
        left_out::LeftOut,
        reevaluate::Reevaluated,
        renames::Renamed,
        shape::Shape,
    },
};

pub(super) use body::store;
use body::{FetchError, in_memory, on_blocking_thread, read_small};
use enrich::StoredEntries;
pub(super) use parts::WRITES;

/// What became of an entry.
#[derive(Debug)]
pub enum Outcome {
    /// Its bytes were fetched.
    Fetched(Box<FetchedEntry>),
    /// It was evaluated again with its stored bytes.
    Reevaluated(Box<Reevaluated>),
    /// It is a stored entry under a new name.
    Renamed(Box<Renamed>),
    /// It has changed since it was listed and no longer passes the filters, or is no file any more.
    Filtered(Sighting),
    /// It does not pass the filters' conditions on its metadata.
    LeftOut(LeftOut),
    /// It has vanished since it was listed, and the listing no longer shows it.
    Vanished,
    /// It could not be fetched.
    Failed(Failure),
    /// No entry can be fetched any more.
    Fatal(RunError),
}

/// How often an entry that changes while it is read is listed again.
const REREADS: usize = 3;

/// How often an entry in parts is fetched again whose bytes do not have the hash that they should.
const REFETCHES: usize = 3;

/// From this size on an entry is fetched in parts.
const IN_PARTS: u64 = 2 * PART_BYTES;

/// A finished action.
#[derive(Debug)]
pub struct Finished {
    /// The page of its entry.
    pub page: PageId,
    /// The source's name for the entry.
    pub id: EntryId,
    /// The key of the entry's row, if it has one.
    pub known: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Reserved disk space for what is still in memory of it.
    pub room: Option<Arc<Room>>,
}

/// Actions that one task carries out: a single one, or several small ones of a source for which
/// that is faster.
pub type Bundle = Vec<(PageId, Action)>;

/// The most bytes of a bundle of several actions.
const BUNDLE_BYTES: u64 = 256 * 1024;

/// The most actions of a bundle that makes no requests. With one bundle for each, 400,000 renames
/// used 517 threads and took a third longer, measured.
const WITHOUT_REQUESTS: usize = 64;

/// Takes the next bundle off the waiting actions; empty only when there are none.
pub(super) fn next_bundle(run: &Run, waiting: &mut VecDeque<(PageId, Action)>) -> Bundle {
    let needs_facts = run.rules.need_facts();
    let is_local = |action: &Action| {
        let has_bytes = action.fingerprint.bytes().is_some();
        !needs_facts && (has_bytes || action.kind != ActionKind::Fetch)
    };
    let local = waiting.front().is_some_and(|(_, first)| is_local(first));
    let most = if local { WITHOUT_REQUESTS } else { run.source.bundle() };
    let mut bundle = Vec::new();
    let mut bytes = 0;
    while let Some((_, action)) = waiting.front() {
        bytes = action.bytes().saturating_add(bytes);
        let is_full = bundle.len() >= most || bytes > BUNDLE_BYTES;
        if !bundle.is_empty() && (is_full || is_local(action) != local) {
            break;
        }
        bundle.extend(waiting.pop_front());
    }
    bundle
}

/// Carries out a bundle's actions, retrying what may succeed later and looking again at what has
/// changed.
///
/// Disk space for all of them is reserved first; large ones that are fetched in parts reserve their
/// own.
pub(super) async fn fetch(run: Arc<Run>, bundle: Bundle) -> Vec<Finished> {
    let rooms = bundle.iter().map(|(_, action)| room_for(&run, action));
    let room = match run.blobs.reserve(rooms.fold(0, u64::saturating_add)) {
        Ok(room) => Arc::new(room),
        // It is the only one of its bundle: several are small.
        Err(error @ BlobError::TooLarge { .. }) => return all_failed(bundle, error.into()),
        Err(error) => return fatal_for(&bundle, error.into()),
    };
    let stored = match enrich::load_stored(&run, &bundle).await {
        Ok(stored) => stored,
        Err(error) => return fatal_for(&bundle, error.into()),
    };
    let has_listed_bytes = bundle.iter().all(|(_, action)| is_whole_as_listed(&run, action));
    if !has_listed_bytes {
        bundle.iter().for_each(|(_, of)| run.observer.fetching(&of.path, of.bytes()));
    }
    let one_by_one = bundle.len() == 1
        || run.rules.need_facts()
        || bundle.iter().any(|(_, action)| {
            action.kind != ActionKind::Fetch || action.fingerprint.details.is_some()
        });
    let first_tries = match (has_listed_bytes, one_by_one) {
        (true, _) => bundle.iter().map(|(_, action)| listed_bytes(&run, action)).collect(),
        (false, true) => bundle.iter().map(|_| None).collect(),
        (false, false) => read_together(&run, &bundle).await,
    };
    let mut finished = Vec::with_capacity(bundle.len());
    for ((page, mut action), first_try) in bundle.into_iter().zip(first_tries) {
        let (id, known, bytes) = (action.id.clone(), action.known, action.bytes());
        let outcome = match first_try {
            Some((facts, bytes)) => {
                run.observer.fetched(&action.path);
                Outcome::Fetched(Box::new(fetched_entry(&run, action, facts, bytes, None)))
            }
            None => {
                let outcome = carry_out_or_fail(&run, &mut action, &stored).await;
                run.observer.fetched(&action.path);
                outcome
            }
        };
        let room = (bytes <= INLINE_MAX).then(|| room.clone());
        finished.push(Finished { page, id, known, outcome, room });
    }
    finished
}

/// Whether everything that is needed of a new or changed entry came with its listing.
fn is_whole_as_listed(run: &Run, action: &Action) -> bool {
    action.kind == ActionKind::Fetch
        && !run.rules.need_facts()
        && action.fingerprint.known_size().is_some()
        && action.fingerprint.properties().is_none()
        && action.fingerprint.bytes().is_some_and(|bytes| bytes.len() as u64 <= INLINE_MAX)
}

fn listed_bytes(run: &Run, action: &Action) -> Option<(Facts, Stored)> {
    let bytes = action.fingerprint.bytes()?;
    Some((Facts::default(), in_memory(bytes.clone(), &*run.observer)))
}

/// The disk space that an entry needs: small ones are written to the database's log and, later, to
/// the database.
fn room_for(run: &Run, action: &Action) -> u64 {
    match action.bytes() {
        size if size <= INLINE_MAX => 2 * size + ROW_BYTES,
        size if size >= IN_PARTS && has_ranges(run, action) => ROW_BYTES,
        size => size.saturating_add(ROW_BYTES),
    }
}

/// Roughly the size of an entry's rows.
const ROW_BYTES: u64 = 1024;

/// An error that each action of a bundle fails with.
fn all_failed(bundle: Bundle, error: FetchError) -> Vec<Finished> {
    let finished = bundle.into_iter().map(|(page, action)| {
        let outcome = failed(&action, &error);
        Finished { page, id: action.id, known: action.known, outcome, room: None }
    });
    finished.collect()
}

/// A fatal error, reported for the first action of a bundle.
fn fatal_for(bundle: &Bundle, error: RunError) -> Vec<Finished> {
    let first = bundle.first().map(|(page, action)| Finished {
        page: *page,
        id: action.id.clone(),
        known: action.known,
        outcome: Outcome::Fatal(error),
        room: None,
    });
    first.into_iter().collect()
}

/// Reads small entries one after the other on one blocking thread. `None` for each that failed: it
/// is fetched on its own, with retries.
async fn read_together(run: &Arc<Run>, bundle: &Bundle) -> Vec<Option<(Facts, Stored)>> {
    let _permit = permit(run).await;
    let mut readers = Vec::with_capacity(bundle.len());
    for (_, action) in bundle {
        let size = action.fingerprint.size;
        readers.push(match run.source.fetch(&action.id, &action.fingerprint, None).await {
            Ok(Content { facts, body: Body::Blocking(reader) }) if size <= INLINE_MAX => {
                Some((facts, reader, size))
            }
            _ => None,
        });
    }
    let observer = run.observer.clone();
    let read = move || {
        let read = |(facts, reader, size)| {
            Some((facts, in_memory(read_small(reader, size).ok()?, &*observer)))
        };
        Ok(readers.into_iter().map(|reader| reader.and_then(read)).collect())
    };
    let nothing = || bundle.iter().map(|_| None).collect();
    on_blocking_thread(read).await.unwrap_or_else(|_| nothing())
}

/// Carries out an action. A panic fails its entry and nothing else.
async fn carry_out_or_fail(run: &Arc<Run>, action: &mut Action, stored: &StoredEntries) -> Outcome {
    let done = AssertUnwindSafe(carry_out(run, action, stored)).catch_unwind().await;
    done.unwrap_or_else(|_| failed(action, &FetchError::Died))
}

async fn carry_out(run: &Arc<Run>, action: &mut Action, stored: &StoredEntries) -> Outcome {
    if let ActionKind::Rename { row } = action.kind {
        match proof::is_proved(run, action, row).await {
            Ok(true) => {}
            Ok(false) => action.kind = ActionKind::Fetch,
            Err(error) => return failed(action, &error),
        }
    }
    let mut rereads = 0;
    loop {
        let error = match attempt(run, action, stored).await {
            Ok(outcome) => return outcome,
            Err(error) => error,
        };
        match error.class() {
            ErrorClass::Reread if rereads < REREADS => rereads += 1,
            ErrorClass::Reread
            | ErrorClass::Retry
            | ErrorClass::RetryBriefly
            | ErrorClass::Entry => return failed(action, &error),
            // It may have been replaced: look again.
            ErrorClass::Gone if rereads == 0 => rereads += 1,
            ErrorClass::Gone => return not_found(run, action, &error).await,
            ErrorClass::Connection | ErrorClass::Hold | ErrorClass::StartOver => {
                return Outcome::Fatal(fatal(error));
            }
        }
        match RetryPolicy::FETCH.run(|| run.source.stat(&action.id)).await {
            Ok(Some(Entry { kind: EntryKind::File(fingerprint), .. })) => {
                action.looked_at_again(as_listed(run, action, fingerprint));
                action.kind = action.kind.after_change(&run.sync.options.reconcile);
            }
            Ok(Some(Entry { kind: EntryKind::Skipped(reason), .. })) => {
                run.observer.skipped(reason);
                return Outcome::Filtered(reason.sighting());
            }
            Ok(Some(Entry { kind: EntryKind::Unreadable { .. }, .. })) => {
                return failed(action, &error);
            }
            Ok(None) => {
                let message = "the source has nothing under this name".to_owned();
                return not_found(run, action, &SourceError::NotFound { message }.into()).await;
            }
            Err(error) if error.class().ends_run() => {
                return Outcome::Fatal(error.into());
            }
            Err(error) => return failed(action, &error.into()),
        }
        if run.rules.filter.refuses(&action.path, &action.fingerprint).is_some() {
            return Outcome::Filtered(Sighting::Drifted);
        }
    }
}

/// What a look at a file found, under the version that the listing gave: that is what the next
/// listing is compared with. Its tag pins the next read; where reads have yet another one, none
/// does.
fn as_listed(run: &Run, action: &Action, now: Fingerprint) -> Fingerprint {
    let listed = &action.fingerprint;
    if !run.source.is_called_otherwise(listed, &now) {
        return now;
    }
    let was_pinned = listed.etag.is_none() || listed.etag == now.etag;
    let etag = if was_pinned { None } else { now.etag };
    Fingerprint { version: listed.version.clone(), etag, ..now }
}

/// Asks the source for the facts that the rules need, fetches the bytes where they are not stored,
/// and applies the mapping.
async fn attempt(
    run: &Arc<Run>,
    action: &Action,
    stored: &StoredEntries,
) -> Result<Outcome, FetchError> {
    match action.kind {
        ActionKind::Fetch => fetch_whole(run, action, stored).await,
        ActionKind::Reevaluate { is_same } => {
            enrich::reevaluate(run, action, is_same, stored).await
        }
        ActionKind::Rename { row } => enrich::rename(run, action, row, stored).await,
    }
}

async fn fetch_whole(
    run: &Arc<Run>,
    action: &Action,
    before: &StoredEntries,
) -> Result<Outcome, FetchError> {
    let mut known = KnownFacts::listed(&action.fingerprint);
    if let Some(left_out) = enrich::left_out(run, action, &mut known).await? {
        return Ok(left_out);
    }
    let Fetched { facts, stored, is_size_mismatch } = content(run, action).await?;
    if action.fingerprint.known_size().is_none()
        && run.rules.filter.refuses_size(stored.size).is_some()
    {
        return Ok(Outcome::Filtered(Sighting::Drifted));
    }
    known.add_fetched(facts);
    if is_size_mismatch {
        known.facts.properties.insert("size_mismatch".to_owned(), true.into());
    }
    let before = action.known_row().and_then(|row| before.get(&row));
    let nothing = BTreeMap::new();
    let urls = before.filter(|_| run.full_since.is_none()).map_or(&nothing, |kept| &kept.urls);
    let shape = enrich::shape(run, action, &mut known, urls).await?;
    let entry = fetched_entry(run, action.clone(), known.facts, stored, shape);
    Ok(Outcome::Fetched(Box::new(entry)))
}

/// What became of an entry that cannot be found. While the listing shows it, that is its failure:
/// an index may be ahead of its data, or name it wrongly. Only a listing without it proves that it
/// is gone.
async fn not_found(run: &Run, action: &Action, error: &FetchError) -> Outcome {
    match RetryPolicy::FETCH.run(|| run.source.is_listed(&action.id)).await {
        Ok(true) => failed(action, error),
        Ok(false) => Outcome::Vanished,
        Err(error) if error.class().ends_run() => Outcome::Fatal(error.into()),
        Err(error) => failed(action, &error.into()),
    }
}

fn fetched_entry(
    run: &Run,
    action: Action,
    facts: Facts,
    stored: Stored,
    shape: Option<Box<Shape>>,
) -> FetchedEntry {
    let metadata = enrich::metadata_of(&facts, &action.fingerprint);
    let mime = enrich::mime(facts.mime, &action);
    let identity = run.source.identity(&action.fingerprint);
    let Action { id, path, mut fingerprint, known, .. } = action;
    // Thousands of them wait for their commit: they keep only what that stores.
    fingerprint.mime = None;
    let details = fingerprint.details.take();
    let details = details.filter(|details| known.is_some() || details.has_stored_facts());
    fingerprint.details = details.map(|details| Box::new(details.to_store()));
    FetchedEntry { id, path, fingerprint, identity, mime, metadata, stored, shape }
}

fn failed(action: &Action, error: &FetchError) -> Outcome {
    let error_type = error.error_type();
    let failure = Failure {
        id: action.id.clone(),
        path: action.path.clone(),
        version: Some(action.fingerprint.version.clone()),
        error_type,
        message: error_type.with_way_out(&error.to_string()),
        passes_by_itself: matches!(error, FetchError::Source(SourceError::BeingWritten { .. })),
        wait: error.retry_after(),
    };
    match action.kind {
        // Its object gets the new name and otherwise stays as it is until the rest succeeds.
        ActionKind::Rename { row } => {
            let renamed = enrich::renamed(action, row, None);
            Outcome::Renamed(Box::new(Renamed { failure: Some(failure), ..renamed }))
        }
        ActionKind::Fetch | ActionKind::Reevaluate { .. } => Outcome::Failed(failure),
    }
}

fn fatal(error: FetchError) -> RunError {
    match error {
        FetchError::Source(error) => error.into(),
        FetchError::Disk(error) => error.into(),
        FetchError::Store(error) => error.into(),
        // Failures of one entry, which never are fatal.
        FetchError::Mapping(_) | FetchError::Web { .. } | FetchError::Died => {
            RunError::Internal { message: error.to_string() }
        }
    }
}

/// The content of an entry.
struct Fetched {
    facts: Facts,
    stored: Stored,
    /// Whether the provider's record of its size or hash is wrong.
    is_size_mismatch: bool,
}

/// Whether parts of an entry can be fetched.
fn has_ranges(run: &Run, action: &Action) -> bool {
    let allows = |details: &Details| {
        // A claimed size is only good for parts where the hash would show that it is wrong.
        let is_sure = match details.size {
            SizeKind::Exact => true,
            SizeKind::Claimed => !details.hashes.is_empty(),
            SizeKind::Unknown => false,
        };
        is_sure && !details.no_ranges
    };
    run.source.ranges() && action.fingerprint.details.as_deref().is_none_or(allows)
}

/// The bytes of an entry, fetched as suits its size.
async fn content(run: &Arc<Run>, action: &Action) -> Result<Fetched, FetchError> {
    let file = &action.fingerprint;
    if let Some(bytes) = file.bytes() {
        let stored = body::store_listed(&run.blobs, &run.observer, bytes.clone()).await?;
        return Ok(Fetched { facts: Facts::default(), stored, is_size_mismatch: false });
    }
    if file.size >= IN_PARTS && has_ranges(run, action) {
        match in_parts(run, action).await {
            Err(FetchError::Source(SourceError::Corrupt { .. }))
                if file.size_kind() == SizeKind::Claimed =>
            {
                run.source.confirm(&action.id, file).await?;
            }
            // It has turned out that it serves entries only whole.
            Err(_) if !run.source.ranges() => {}
            fetched => {
                let (facts, stored) = fetched?;
                return Ok(Fetched { facts, stored, is_size_mismatch: false });
            }
        }
    }
    if file.size_kind() == SizeKind::Claimed {
        return RetryPolicy::FETCH.run(|| claimed(run, action)).await;
    }
    let (facts, stored) = RetryPolicy::FETCH.run(|| in_one(run, action)).await?;
    Ok(Fetched { facts, stored, is_size_mismatch: false })
}

/// The bytes of an entry, fetched in parts; all of them again where they do not have the hash that
/// they should have, unless that may itself be wrong.
async fn in_parts(run: &Arc<Run>, action: &Action) -> Result<(Facts, Stored), FetchError> {
    let mut again = match action.fingerprint.size_kind() {
        SizeKind::Exact => REFETCHES,
        SizeKind::Claimed | SizeKind::Unknown => 0,
    };
    loop {
        match parts::fetch(run, action).await {
            Err(FetchError::Source(SourceError::Corrupt { .. })) if again > 0 => again -= 1,
            outcome => return outcome,
        }
    }
}

/// One attempt to fetch the bytes of an entry, front to back.
async fn in_one(run: &Arc<Run>, action: &Action) -> Result<(Facts, Stored), FetchError> {
    let file = &action.fingerprint;
    let _permit = permit(run).await;
    let content = run.source.fetch(&action.id, file, None).await?;
    let stored = match &file.details {
        None => body::store(&run.blobs, &run.observer, content.body, file.size).await?,
        Some(details) => {
            let wanted = (details.size == SizeKind::Exact).then_some(file.size);
            body::store_checked(&run.blobs, &run.observer, content.body, wanted, &details.hashes)
                .await?
        }
    };
    Ok((content.facts, stored))
}

/// The bytes of an entry whose listed size and hashes may be wrong: two equal downloads are
/// believed rather than they.
async fn claimed(run: &Arc<Run>, action: &Action) -> Result<Fetched, FetchError> {
    let file = &action.fingerprint;
    let hashes: &[ExpectedHash] = file.details.as_ref().map_or(&[], |details| &details.hashes);
    let mut before: Option<BlobHash> = None;
    loop {
        let _permit = permit(run).await;
        let content = run.source.fetch(&action.id, file, None).await?;
        let (stored, check) =
            body::store_any(&run.blobs, &run.observer, content.body, hashes).await?;
        let mismatch = check.err().or_else(|| {
            (stored.size != file.size)
                .then_some(SourceError::SizeMismatch { listed: file.size, sent: stored.size })
        });
        let Some(mismatch) = mismatch else {
            return Ok(Fetched { facts: content.facts, stored, is_size_mismatch: false });
        };
        let is_html =
            content.facts.mime.as_deref().is_some_and(|mime| mime.starts_with("text/html"))
                && !file.mime.as_deref().is_some_and(|mime| mime.starts_with("text/html"));
        if stored.size == 0 || is_html {
            return Err(mismatch.into());
        }
        match before {
            None => {
                run.source.confirm(&action.id, file).await?;
                before = Some(stored.hash);
            }
            Some(hash) if hash == stored.hash => {
                return Ok(Fetched { facts: content.facts, stored, is_size_mismatch: true });
            }
            Some(_) => return Err(mismatch.into()),
        }
    }
}

async fn permit(run: &Run) -> Option<tokio::sync::SemaphorePermit<'_>> {
    permits(run, 1).await
}

/// The permit to make a request that needs as much memory as `weight` usual ones.
async fn permits(run: &Run, weight: usize) -> Option<tokio::sync::SemaphorePermit<'_>> {
    let weight = u32::try_from(weight).unwrap_or(u32::MAX);
    // Never closed; if it were, going without a permit would do no harm.
    run.requests.acquire_many(weight).await.ok()
}
