//! One object through an extractor: its bytes opened, the extractor asked, what it returned made
//! into documents whose files are durable. Nothing of it is in the database yet.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use super::{
    context::{Slot, Slots},
    extract::{
        Class, Document, Extracted, Extractor, Extractors, Failure, Given, Job, Piece, memory,
        protocol::{FileFacts, ObjectFacts},
    },
    job::{InputPlan, JobPlan},
    plan::{self, Chosen, RESERVED, Run},
    view::Blob,
};
use crate::{
    blobs::{BlobError, Blobs, INLINE_MAX},
    engine::{Engine, verify},
    model::{BlobHash, ExtractorSettings},
    store::{
        blobs::{self, BlobLocation},
        buckets::Bucket,
        commit::Stored,
        objects::record::Record,
        processing::documents::{New, NewBlob},
    },
};

/// What came of an object.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) documents: Vec<New>,
    pub(super) left_out: u64,
    pub(super) log: String,
}

impl Made {
    fn add(&mut self, more: Self) {
        self.documents.extend(more.documents);
        self.left_out += more.left_out;
        self.log.push_str(&more.log);
    }
}

/// What an object goes through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Through<'a> {
    pub(super) engine: &'a Engine,
    pub(super) extractors: &'a Extractors,
    pub(super) extractor: &'a Extractor,
    pub(super) parameters: &'a Map<String, Value>,
    /// The same for every try of this object in this batch.
    pub(super) run_id: &'a str,
}

/// Has an object extracted, call by call. Returns what came of it and how long it took.
///
/// Its bytes are opened and checked before it takes a slot, and its documents made after it has
/// left it: an extractor need not wait for either.
pub(super) async fn extract(
    through: Through<'_>,
    run: &Run,
    slots: Option<&Slots>,
) -> (Result<Made, Failure>, Duration) {
    let Some(plan) = run.jobs.first() else { return (Ok(Made::default()), Duration::ZERO) };
    let (mut ahead, mut slot) = (None, None);
    if let Some(slots) = slots {
        ahead = slots.prepare().await;
    }
    let first = match prepare(through, run, plan).await {
        Ok(job) => job,
        Err(failure) => return (Err(failure), Duration::ZERO),
    };
    if let Some(slots) = slots {
        slot = slots.take(run.alone).await;
    }
    drop(ahead);
    let begun = Instant::now();
    let outcome = call_by_call(through, run, first, slot).await;
    (outcome, begun.elapsed())
}

async fn call_by_call(
    through: Through<'_>,
    run: &Run,
    first: Job,
    mut slot: Option<Slot>,
) -> Result<Made, Failure> {
    let (mut made, mut next) = (Made::default(), Some(first));
    for (number, plan) in run.jobs.iter().enumerate() {
        let job = match next.take() {
            Some(job) => job,
            None => prepare(through, run, plan).await?,
        };
        let extracted = through.extractors.extract(through.extractor, job).await?;
        if number + 1 == run.jobs.len() {
            drop(slot.take());
        }
        made.add(documents_of(through.engine, plan, extracted).await?);
    }
    Ok(made)
}

/// An object tried out.
#[derive(Debug)]
pub struct Tried {
    /// The fields of its documents, or why there are none.
    pub outcome: Result<Vec<Map<String, Value>>, Failure>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The most memory that its processes were seen to use together, in bytes; `None`: none was.
    pub memory: Option<u64>,
    /// The end of what the extractor said.
    pub log: String,
}

/// Has an object extracted without keeping anything of it.
pub async fn try_out(
    engine: &Engine,
    extractors: &Extractors,
    extractor: &Extractor,
    settings: &ExtractorSettings,
    bucket: &Bucket,
    object: &Record,
) -> Tried {
    let chosen = Chosen { by_source: &BTreeMap::new(), bucket_id: bucket.id.as_str() };
    let jobs = match plan::jobs(extractor, settings, chosen, object, None) {
        Ok(jobs) if jobs.is_empty() => {
            let mime = object.mime.as_deref().unwrap_or("unknown");
            let message =
                format!("{} takes nothing of this object, whose type is {mime}", extractor.name);
            let outcome = Err(Failure::new(Class::Permanent, message));
            return Tried { outcome, took_ms: 0, memory: None, log: String::new() };
        }
        Ok(jobs) => jobs,
        Err(missing) => {
            let outcome = Err(Failure::new(Class::Permanent, missing));
            return Tried { outcome, took_ms: 0, memory: None, log: String::new() };
        }
    };
    let run = Run::of_jobs(bucket, object, jobs);
    let parameters = settings.parameters.clone().unwrap_or_default();
    let parameters = &parameters;
    let through = Through { engine, extractors, extractor, parameters, run_id: "try" };
    let ((outcome, took), memory) = memory::measured(extract(through, &run, None)).await;
    let log = match &outcome {
        Ok(made) => made.log.clone(),
        Err(failure) => failure.log.clone(),
    };
    Tried {
        outcome: outcome.map(|made| made.documents.into_iter().map(|new| new.body).collect()),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        memory,
        log,
    }
}

/// One call: its inputs opened.
async fn prepare(through: Through<'_>, run: &Run, plan: &JobPlan) -> Result<Job, Failure> {
    let mut inputs = BTreeMap::new();
    for (name, input) in &plan.inputs {
        let given = match input {
            InputPlan::Value(value) => Given::Value(value.clone()),
            InputPlan::Blob(blob) => {
                Given::File { file: open(through.engine, &blob.hash).await?, facts: facts_of(blob) }
            }
        };
        inputs.insert(name.clone(), given);
    }
    Ok(Job {
        run: through.run_id.to_owned(),
        object: ObjectFacts {
            object_id: run.object_id.clone(),
            bucket_id: run.bucket_id.clone(),
            path: run.path.clone(),
        },
        inputs,
        parameters: through.parameters.clone(),
    })
}

/// The documents that a call made, ready to be written.
async fn documents_of(
    engine: &Engine,
    plan: &JobPlan,
    extracted: Extracted,
) -> Result<Made, Failure> {
    let files = engine.blobs.clone();
    let (carried, origin) = (plan.carried.clone(), origin_of(plan));
    let hash = plan.content_hash.clone();
    let log = match extracted.left_out.is_empty() {
        true => extracted.log.clone(),
        false => format!("{}{}\n", extracted.log, extracted.left_out.join("\n")),
    };
    let left_out = extracted.left_out_count;
    let documents = tokio::task::spawn_blocking(move || {
        let documents = extracted
            .documents
            .iter()
            .map(|document| document_of(&files, document, &carried, origin.clone(), hash.clone()));
        documents.collect::<Result<Vec<New>, Failure>>()
    });
    let documents = documents
        .await
        .map_err(|error| Failure::new(Class::Transient, format!("it broke off: {error}")))??;
    Ok(Made { documents, left_out, log })
}

fn facts_of(blob: &Blob) -> FileFacts {
    FileFacts {
        mime_type: blob.mime.clone(),
        size_bytes: blob.size,
        hash: blob.hash.to_string(),
        filename: blob.filename.clone(),
    }
}

fn origin_of(plan: &JobPlan) -> Option<Value> {
    let upstream = plan.upstream.as_ref()?;
    Some(json!({
        "source_document_id": upstream.document_id,
        "source_collection_id": upstream.collection_id,
    }))
}

/// The bytes of a blob as an open file, wherever they are.
pub(super) async fn open(engine: &Engine, hash: &BlobHash) -> Result<File, Failure> {
    let (wanted, hash) = (*hash, *hash);
    let gone = |error: String| {
        Failure::new(Class::Transient, format!("its bytes cannot be read: {error}"))
    };
    let place = engine
        .store
        .read(move |db| blobs::locate(db, &wanted))
        .await
        .map_err(|error| gone(error.to_string()))?;
    match place {
        None => Err(gone("they are gone".to_owned())),
        Some(BlobLocation::Inline(bytes)) => {
            handed(&bytes).map_err(|error| gone(error.to_string()))
        }
        Some(BlobLocation::File { size }) => {
            let files = engine.blobs.clone();
            match spawn_blocking(move || files.open_checked(&hash, size)).await {
                Ok(Ok(file)) => Ok(file),
                Ok(Err(error)) => {
                    if let BlobError::Damaged(damage) = &error {
                        verify::report_damage(&engine.store, damage).await;
                    }
                    Err(gone(error.to_string()))
                }
                Err(error) => Err(gone(error.to_string())),
            }
        }
    }
}

/// Bytes as a file without a name.
fn handed(bytes: &[u8]) -> io::Result<File> {
    let mut file = nameless()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(target_os = "linux")]
fn nameless() -> io::Result<File> {
    let memory = rustix::fs::memfd_create("blob", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from(memory))
}

#[cfg(not(target_os = "linux"))]
fn nameless() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("catchment-{}", ulid::Ulid::generate()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn document_of(
    files: &Blobs,
    document: &Document,
    carried: &Map<String, Value>,
    origin: Option<Value>,
    content_hash: Option<String>,
) -> Result<New, Failure> {
    let mut body = document.body.clone();
    body.retain(|name, _| !RESERVED.contains(&name.as_str()));
    for (name, value) in carried {
        body.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let blobs =
        document.blobs.iter().map(|piece| blob_of(files, piece)).collect::<Result<_, _>>()?;
    let vectors = document
        .vectors
        .iter()
        .map(|vector| (vector.name.clone(), vector.values.clone()))
        .collect();
    Ok(New { body, blobs, vectors, origin, content_hash })
}

fn blob_of(files: &Blobs, piece: &Piece) -> Result<NewBlob, Failure> {
    let file = piece.file.open().map_err(|error| {
        let message = format!("a file that the extractor sent could not be read: {error}");
        Failure::new(class_of(&error), message)
    })?;
    let stored = store(files, file, piece.file.size()).map_err(|error| {
        Failure::new(Class::Transient, format!("what it made could not be kept: {error}"))
    })?;
    Ok(NewBlob {
        field: piece.field.clone(),
        role: piece.role.clone(),
        mime: piece.mime_type.clone(),
        stored,
    })
}

/// What to do where a file of an extractor's cannot be opened: unless this computer is short of
/// something, the extractor has replaced it.
fn class_of(error: &io::Error) -> Class {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO) => Class::Transient,
        _ => Class::Permanent,
    }
}

/// Makes a file of an extractor's durable, or small enough to be kept in the database. No more of
/// it is read than it had when the extractor sent it.
fn store(
    files: &Blobs,
    file: File,
    size: u64,
) -> Result<Stored, Box<dyn std::error::Error + Send + Sync>> {
    let mut file = file.take(size);
    if size <= INLINE_MAX {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let hash = BlobHash::of(&bytes);
        return Ok(Stored { hash, size: bytes.len() as u64, inline: Some(Bytes::from(bytes)) });
    }
    let mut stage = files.stage()?;
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        stage.write(&chunk[..read])?;
    }
    let size = stage.size();
    Ok(Stored { hash: stage.finish()?, size, inline: None })
}
