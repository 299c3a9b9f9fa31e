//! `catchment export`: writes objects as files.
//!
//! Objects come in the order of their paths and get their names in that order, so of two that want
//! the same name the first has it, in every export. Only reading and writing their bytes continues
//! side by side.

mod dir;
mod facts;
mod file_task;
mod filesystem;
mod folder;
mod leftover;
mod refusal;
mod relative_path;
mod target;
mod temp;

use std::{
    collections::VecDeque, ffi::OsString, io::Write as _, os::unix::ffi::OsStringExt as _,
    path::PathBuf, sync::Arc, time::Instant,
};

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Outcome, Settings, bucket, error::CliError, ls::Pages, output, signals::stop_on_signals,
};
use crate::{
    blobs::Damage,
    engine::{Engine, verify},
    model::EntryPath,
    store::{
        blobs::{self, BlobLocation},
        objects::Object,
    },
};

use facts::Facts;
use file_task::{Bytes, Done, FileTask};
use refusal::{Refusal, Trouble};
use relative_path::RelativePath;
use target::{FileOutcome, Step, Target};

/// Arguments of `catchment export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment export photos /mnt/usb                     everything in a bucket
  catchment export photos ~/2026 --prefix 2026/        what begins with a prefix
  catchment export photos /mnt/usb                     again: only what is not there yet
  catchment export photos /mnt/usb --overwrite         files that differ are replaced

Existing files with the same size and time, or the same content, are left alone. What the folder
cannot hold is reported and left out: names that it refuses or would change, and names that it does
not tell from another, such as A from a. Exit code 3 means that something was left out.")]
pub(super) struct Args {
    /// The bucket
    #[arg(value_name = "BUCKET")]
    bucket: String,

    /// The folder to write to; it is created if missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Export only objects whose path begins with this; they keep their whole path below DIR
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<OsString>,

    /// Replace files that differ, and symbolic links, which are never followed
    #[arg(long)]
    overwrite: bool,

    /// Print one JSON event per line; the last one is the summary
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let started = Instant::now();
    let engine = settings.reading_engine()?;
    let bucket = bucket(&engine.store, &args.bucket).await?;
    let prefix = args.prefix.map(|prefix| EntryPath::new(prefix.into_vec()));
    let mut pages = Pages::new(bucket.key, prefix);
    let target = Target::open(&args.dir, args.overwrite)
        .map_err(|error| CliError::File { path: args.dir.clone(), error })?;
    let mut export = Export {
        engine: Arc::new(engine),
        dir: args.dir.clone(),
        target,
        json: args.json,
        stop: stop_on_signals("between two files")?,
        under_way: VecDeque::new(),
        latest: None,
        tally: Tally::default(),
    };
    let ended = export.all(&mut pages).await;
    export.abandon().await;
    let ended = ended.and_then(|()| {
        export.target.flush().map_err(|error| CliError::File { path: args.dir.clone(), error })
    });
    let tally = export.tally;
    if args.json {
        let summary = tally.json(&bucket.name, &ended, started.elapsed().as_secs_f64());
        output::json_line(&mut std::io::stdout().lock(), &summary)?;
    } else if ended.is_ok() {
        writeln!(std::io::stdout(), "{}", tally.words())?;
    }
    match ended {
        Ok(()) if tally.failed == 0 => Ok(Exit::Done),
        Ok(()) => Ok(Exit::SomeFailed),
        Err(CliError::ClosedPipe) => Err(CliError::ClosedPipe),
        Err(error) => Err(CliError::failed(format!(
            "{error}; until then {}; run it again to continue",
            tally.words()
        ))),
    }
}

/// An export under way.
struct Export {
    engine: Arc<Engine>,
    /// The target as it was named.
    dir: PathBuf,
    target: Target,
    json: bool,
    stop: CancellationToken,
    /// Objects that are not settled yet, in the order of their paths; at most [`Export::AT_ONCE`].
    under_way: VecDeque<UnderWay>,
    /// The first object of the path that came last, and whether it is in the target.
    latest: Option<Latest>,
    tally: Tally,
}

struct UnderWay {
    object: Arc<Object>,
    state: State,
}

enum State {
    Known(Result<FileOutcome, Trouble>),
    /// It has the path of the object before it: what that one came to decides.
    Twin,
    Working(FileTask, JoinHandle<Result<Done, Trouble>>),
}

struct Latest {
    object: Arc<Object>,
    outcome: Result<(), Refusal>,
}

impl Export {
    /// Objects that are read and written at once, or wait for one that is.
    const AT_ONCE: usize = 8;

    async fn all(&mut self, pages: &mut Pages) -> Result<(), CliError> {
        let store = self.engine.store.clone();
        while let Some(page) = pages.next(&store).await? {
            for object in page {
                if self.stop.is_cancelled() {
                    return Err(CliError::failed(Trouble::Stopped));
                }
                self.begin(Arc::new(object)).await?;
            }
        }
        self.settle_down_to(0).await
    }

    /// Takes up an object, once there is room for it.
    async fn begin(&mut self, object: Arc<Object>) -> Result<(), CliError> {
        self.settle_down_to(Self::AT_ONCE - 1).await?;
        let is_twin = match (self.under_way.back(), &self.latest) {
            (Some(before), _) => before.object.path == object.path,
            (None, Some(latest)) => latest.object.path == object.path,
            (None, None) => false,
        };
        let state = if is_twin { State::Twin } else { self.start(&object).await? };
        self.under_way.push_back(UnderWay { object, state });
        Ok(())
    }

    async fn start(&mut self, object: &Arc<Object>) -> Result<State, CliError> {
        let place = match RelativePath::of(&object.path, object.size) {
            Ok(place) => place,
            Err(refusal) => return Ok(State::Known(Err(refusal.into()))),
        };
        if let Some(folder) = self.target.branching(&place).cloned()
            && self.under_way.iter().any(|other| other.is_for(&folder))
        {
            self.settle_down_to(0).await?;
        }
        Ok(match self.target.prepare(&place, object) {
            Err(trouble) => State::Known(Err(trouble)),
            Ok(Step::Done(outcome)) => State::Known(Ok(outcome)),
            Ok(Step::Write(work)) => {
                let (task, object) = (work.clone(), object.clone());
                let (engine, stop) = (self.engine.clone(), self.stop.clone());
                let facts = self.target.facts();
                let handle = tokio::task::spawn_blocking(move || {
                    carry_out(&task, &object, &engine, &facts, &stop)
                });
                State::Working(work, handle)
            }
        })
    }

    /// Settles the objects that came first until `left` are under way.
    async fn settle_down_to(&mut self, left: usize) -> Result<(), CliError> {
        while self.under_way.len() > left {
            let Some(UnderWay { object, state }) = self.under_way.pop_front() else { break };
            let outcome = match state {
                State::Known(outcome) => outcome,
                State::Twin => {
                    let outcome = self.twin(&object);
                    self.count(&object, outcome)?;
                    continue;
                }
                State::Working(work, handle) => match handle.await.map_err(CliError::failed)? {
                    Ok(done) => self.target.place(&work, done, &object),
                    Err(trouble) => Err(trouble),
                },
            };
            let outcome = match outcome {
                Ok(settled) => Ok(settled),
                Err(Trouble::Refused(refusal)) => Err(refusal),
                Err(Trouble::Store(error)) => return Err(error.into()),
                Err(Trouble::TargetFull(error)) => {
                    return Err(CliError::File { path: self.dir.clone(), error });
                }
                Err(trouble) => return Err(CliError::failed(trouble)),
            };
            self.latest = Some(Latest {
                object: object.clone(),
                outcome: outcome.as_ref().map(|_| ()).map_err(Clone::clone),
            });
            self.count(&object, outcome)?;
        }
        Ok(())
    }

    /// What becomes of a second object of one path: the file is its file, too, if the bytes are.
    fn twin(&self, object: &Object) -> Result<FileOutcome, Refusal> {
        match &self.latest {
            Some(first) if first.object.hash == object.hash => {
                first.outcome.clone().map(|()| FileOutcome::Unchanged)
            }
            _ => Err(Refusal::Twin),
        }
    }

    fn count(
        &mut self,
        object: &Object,
        outcome: Result<FileOutcome, Refusal>,
    ) -> Result<(), CliError> {
        match outcome {
            Ok(FileOutcome::Exported) => {
                self.tally.exported += 1;
                self.tally.bytes += object.size;
                Ok(())
            }
            Ok(FileOutcome::Unchanged) => {
                self.tally.unchanged += 1;
                Ok(())
            }
            Err(refusal) => {
                self.tally.failed += 1;
                report(&object.path, &refusal, self.json)
            }
        }
    }

    /// Waits for what is under way to end, without giving it names: so no half-written file stays
    /// behind when the process ends.
    async fn abandon(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        self.stop.cancel();
        for UnderWay { state, .. } in self.under_way.drain(..) {
            if let State::Working(_, handle) = state {
                // Dropping what it wrote removes it; there is nothing else to learn.
                let _ = handle.await;
            }
        }
    }
}

impl UnderWay {
    fn is_for(&self, folder: &Arc<cap_std::fs::Dir>) -> bool {
        matches!(&self.state, State::Working(work, _) if Arc::ptr_eq(&work.folder, folder))
    }
}

/// Does the part of the work that takes reading or writing bytes. Blocks.
fn carry_out(
    work: &FileTask,
    object: &Object,
    engine: &Engine,
    facts: &Facts,
    stop: &CancellationToken,
) -> Result<Done, Trouble> {
    if stop.is_cancelled() {
        return Err(Trouble::Stopped);
    }
    if !work.writes() {
        return work.compare(object.hash);
    }
    let place = engine.store.read_blocking(|db| blobs::locate(db, &object.hash))?;
    let bytes = match place.ok_or(Refusal::Removed)? {
        BlobLocation::Inline(bytes) => Ok(Bytes::Inline(bytes)),
        BlobLocation::File { size } => {
            engine.blobs.open_file(&object.hash, size).map(Bytes::File).map_err(Trouble::from)
        }
    };
    let written = bytes.and_then(|bytes| work.write(bytes, object, facts, stop));
    if let Err(Trouble::Refused(Refusal::Damaged(problem))) = &written {
        let damage = Damage { hash: object.hash, problem: problem.clone() };
        Handle::current().block_on(verify::report_damage(&engine.store, &damage));
    }
    written
}

fn report(path: &EntryPath, refusal: &Refusal, json: bool) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    if !json {
        writeln!(out, "not exported: {path} ({refusal})")?;
        return Ok(());
    }
    let mut event = serde_json::json!({
        "event": "not_exported",
        "path": path.to_json_text(),
        "reason": refusal.to_string(),
        "error_type": refusal.error_type(),
    });
    if let Some(bytes) = path.base64_if_not_utf8() {
        event["path_bytes"] = bytes.into();
    }
    output::json_line(&mut out, &event)
}

/// What came of the objects so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    exported: u64,
    unchanged: u64,
    failed: u64,
    /// Of those that were exported.
    bytes: u64,
}

impl Tally {
    fn words(&self) -> String {
        format!(
            "exported {} ({}), {} unchanged, {} not exported",
            output::counted(self.exported, "object"),
            output::size(self.bytes),
            output::count(self.unchanged),
            output::count(self.failed),
        )
    }

    fn json(&self, bucket: &str, ended: &Result<(), CliError>, seconds: f64) -> serde_json::Value {
        let status = match ended {
            Err(_) => "failed",
            Ok(()) if self.failed > 0 => "completed_with_errors",
            Ok(()) => "completed",
        };
        let mut summary = serde_json::json!({
            "event": "summary",
            "status": status,
            "bucket": bucket,
            "exported": self.exported,
            "unchanged": self.unchanged,
            "failed": self.failed,
            "bytes": self.bytes,
            "seconds": seconds,
        });
        if let Err(error) = ended {
            summary["error"] = error.to_string().into();
        }
        summary
    }
}
