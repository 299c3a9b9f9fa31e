//! Verification: every stored byte is read again and compared with its hash and, if asked for,
//! fetched again from its source.

use std::{
    collections::HashMap,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{StreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::{Engine, Observer, RunError, Silent, fetch};
use crate::{
    blobs::Blobs,
    model::{BlobHash, EntryKind, EntryPath, Fingerprint},
    sources::{Source, SourceError},
    store::{
        Store,
        blobs::{self, Blob},
        commit::Stored,
        objects::{self, Holder},
        syncs,
    },
};

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Blobs that were read.
    pub blobs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Blobs whose bytes do not match their hash.
    pub damaged: Vec<Damage>,
}

/// A blob whose bytes do not match its hash.
#[derive(Debug)]
pub struct Damage {
    /// What its bytes should hash to.
    pub hash: BlobHash,
    /// How many bytes there should be.
    pub size: u64,
    /// What is wrong.
    pub problem: String,
    /// The objects that use it.
    pub objects: Vec<Holder>,
    /// The outcome of its repair, if that was tried.
    pub repair: Option<Repair>,
}

/// Marks a blob whose bytes a reader found to be damaged, so that a run of a sync that has it
/// fetches it again. Best effort: `verify` finds it, too.
pub async fn report_damage(store: &Store, found: &crate::blobs::Damage) {
    tracing::error!(hash = %found.hash, problem = %found.problem, "stored bytes are damaged");
    let (hash, problem) = (found.hash, found.problem.clone());
    let marked = store.write(move |tx| blobs::mark_damaged(tx, &hash, &problem)).await;
    if let Err(error) = marked {
        tracing::warn!(%error, "could not mark a damaged blob for its repair");
    }
}

/// Fetches the marked blobs again that objects of a sync are made of. Costs one read if there are
/// none.
///
/// # Errors
/// The store's. What cannot be repaired stays marked, and is logged.
pub async fn repair_marked(engine: &Engine, sync_key: i64) -> Result<(), RunError> {
    let marked = engine.store.read(move |db| blobs::damaged(db, sync_key, PAGE)).await?;
    let mut repairer = Repairer { engine, sources: HashMap::new() };
    for (blob, problem) in marked {
        let found = repairer.look_into(blob, problem, true).await?;
        if let Some(Damage { repair: Some(Repair::Failed(why)), hash, .. }) = found {
            tracing::warn!(%hash, why, "damaged bytes could not be fetched again");
        }
    }
    Ok(())
}

/// The outcome of a repair.
#[derive(Debug, PartialEq, Eq)]
pub enum Repair {
    /// The bytes are intact again.
    Done,
    /// They could not be fetched again, and why.
    Failed(String),
}

/// How many blobs are read from the database at once.
const PAGE: u32 = 256;

/// Reads every blob, or every one of a bucket, and with `repair` fetches damaged ones again.
/// `progress` counts the bytes as they are read.
///
/// # Errors
/// The store's. Unreadable files are findings, not errors.
pub async fn verify(
    engine: &Engine,
    bucket_key: Option<i64>,
    repair: bool,
    progress: Arc<AtomicU64>,
) -> Result<Verified, RunError> {
    let mut verified = Verified::default();
    let mut repairer = Repairer { engine, sources: HashMap::new() };
    let mut after = 0;
    loop {
        let page = engine.store.read(move |db| blobs::page(db, bucket_key, after, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(verified) };
        after = last.key;
        let parallel = std::thread::available_parallelism().map_or(1, usize::from);
        let mut checks = stream::iter(page)
            .map(|blob| check(&engine.store, &engine.blobs, blob, &progress))
            .buffer_unordered(parallel);
        while let Some((blob, problem)) = checks.next().await {
            verified.blobs += 1;
            verified.bytes += blob.size;
            if let Some(problem) = problem? {
                let damage = repairer.look_into(blob, problem, repair).await?;
                verified.damaged.extend(damage);
            }
        }
    }
}

/// Reads one blob; returns what is wrong with it, if anything is.
async fn check(
    store: &Store,
    files: &Blobs,
    blob: Blob,
    progress: &Arc<AtomicU64>,
) -> (Blob, Result<Option<String>, RunError>) {
    let (store, files, progress) = (store.clone(), files.clone(), progress.clone());
    let outcome = spawn_blocking(move || {
        let Some(place) = store.read_blocking(|db| blobs::locate(db, &blob.hash))? else {
            return Ok(None); // collected meanwhile
        };
        Ok::<_, RunError>(match read_all(&files, &blob, place, &progress) {
            Ok(found) if found == blob.hash => None,
            Ok(found) => Some(format!("its bytes hash to {found}")),
            Err(error) => Some(error),
        })
    })
    .await
    .unwrap_or_else(|error| Err(RunError::panicked(error)));
    (blob, outcome)
}

fn read_all(
    files: &Blobs,
    blob: &Blob,
    place: blobs::BlobLocation,
    progress: &AtomicU64,
) -> Result<BlobHash, String> {
    let mut reader = files.read(&blob.hash, place, None).map_err(|error| error.to_string())?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer).map_err(|error| error.to_string())? {
            0 => return Ok(hasher.finalize().into()),
            read => {
                hasher.update(&buffer[..read]);
                progress.fetch_add(read as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Finds out which objects are damaged, and repairs them.
struct Repairer<'a> {
    engine: &'a Engine,
    /// Sources that were opened, by sync; `Err` says why one could not be.
    sources: HashMap<i64, Result<Arc<dyn Source>, String>>,
}

impl Repairer<'_> {
    /// `None` when the blob was collected meanwhile.
    async fn look_into(
        &mut self,
        blob: Blob,
        problem: String,
        repair: bool,
    ) -> Result<Option<Damage>, RunError> {
        let store = &self.engine.store;
        if !store.read(move |db| blobs::is_recorded(db, &blob.hash)).await? {
            return Ok(None);
        }
        let objects = store.read(move |db| objects::made_of(db, blob.key)).await?;
        let repair = match repair {
            true => Some(self.repair(&blob, &objects).await?),
            false => None,
        };
        Ok(Some(Damage { hash: blob.hash, size: blob.size, problem, objects, repair }))
    }

    /// Tries one object after the other until the entry of one still has the bytes.
    async fn repair(&mut self, blob: &Blob, objects: &[Holder]) -> Result<Repair, RunError> {
        let mut reason = "no object that uses it has a source any more".to_owned();
        for object in objects {
            let (Some(sync_key), Some(id)) = (object.sync_key, &object.source_id) else { continue };
            let outcome = match self.source(sync_key).await? {
                Ok(source) => self.fetch_again(&*source, id, blob).await?,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => return Ok(Repair::Done),
                Err(error) => reason = error,
            }
        }
        Ok(Repair::Failed(reason))
    }

    async fn source(&mut self, sync_key: i64) -> Result<Result<Arc<dyn Source>, String>, RunError> {
        if let Some(opened) = self.sources.get(&sync_key) {
            return Ok(opened.clone());
        }
        let sync = self.engine.store.read(move |db| syncs::by_key(db, sync_key)).await?;
        let opened = self.engine.open_source(&sync).await.map_err(|error| error.to_string());
        self.sources.insert(sync_key, opened.clone());
        Ok(opened)
    }

    async fn fetch_again(
        &self,
        source: &dyn Source,
        id: &EntryPath,
        blob: &Blob,
    ) -> Result<Result<(), String>, RunError> {
        let fingerprint = match source.stat(id).await {
            Ok(Some(entry)) => match entry.kind {
                EntryKind::File(fingerprint) => fingerprint,
                _ => return Ok(Err("it is no longer a file at the source".to_owned())),
            },
            Ok(None) => return Ok(Err("it is gone from the source".to_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        };
        if fingerprint.size != blob.size {
            return Ok(Err(CHANGED.to_owned()));
        }
        let fetched = match source.fetch(id, &fingerprint, None).await {
            // Reads may have another tag than a look; what comes is compared with the hash anyway.
            Err(SourceError::Changed { .. }) => {
                source.fetch(id, &Fingerprint { etag: None, ..fingerprint }, None).await
            }
            fetched => fetched,
        };
        let content = match fetched {
            Ok(content) => content,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let engine = self.engine;
        let observer: Arc<dyn Observer> = Arc::new(Silent);
        // Dropped at the end: if there is no intact file by then, the damaged one is put back.
        let _aside = (!blob.inline).then(|| engine.blobs.set_aside(&blob.hash)).transpose()?;
        let stored = match fetch::store(&engine.blobs, &observer, content.body, blob.size).await {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error.to_string())),
        };
        self.put_back(blob, stored).await
    }

    async fn put_back(&self, blob: &Blob, stored: Stored) -> Result<Result<(), String>, RunError> {
        let (key, inline) = (blob.key, blob.inline);
        let files = self.engine.blobs.clone();
        let right = stored.hash == blob.hash;
        self.engine
            .store
            .write(move |tx| {
                if right {
                    blobs::mark_intact(tx, key)?;
                }
                match stored.inline {
                    Some(bytes) if right && inline => blobs::restore_inline(tx, key, &bytes),
                    None if !right => blobs::delete_unrecorded(tx, &[stored.hash], |hash| {
                        if let Err(error) = files.remove(hash) {
                            tracing::warn!(%error, "could not delete a blob that does not match");
                        }
                    }),
                    _ => Ok(()),
                }
            })
            .await?;
        Ok(if right { Ok(()) } else { Err(CHANGED.to_owned()) })
    }
}

const CHANGED: &str = "the source has other bytes by now; the next sync fetches them";
