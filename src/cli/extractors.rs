//! `catchment extractors`: lists what objects can go through, and tries one of the owner's on a
//! file.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use serde_json::{Map, json};

use super::{Exit, Outcome, Settings, error::CliError, output};
use crate::{
    engine::Engine,
    processing::extract::{
        Extracted, Extractors, Given, Job, Links, confine,
        protocol::{FileFacts, ObjectFacts},
    },
};

/// Arguments of `catchment extractors`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  catchment extractors                           name, version and purpose of each
  catchment extractors --json                    with their parameters, one a line
  catchment extractors check whisper talk.mp3    read extractors/whisper.toml, and try it on a file

Extractors of yours are files extractors/NAME.toml in the data directory."
)]
pub(super) struct Args {
    /// Print the list as JSON, one extractor a line
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read the definition of an extractor, and try it on a file without keeping anything
    Check {
        /// The extractor
        name: String,
        /// The file; none: only the definition is read
        file: Option<PathBuf>,
    },
}

/// The extractors of an open data directory, with the owner's. What a killed process left running
/// of them is ended.
pub(super) fn of(engine: &Engine, links: Option<Arc<dyn Links>>) -> Extractors {
    let staging = engine.data_dir().join("staging");
    let staging = std::path::absolute(&staging).unwrap_or(staging);
    Extractors::end_strays(|scratch| {
        let inner = scratch.strip_prefix(&staging).ok();
        let worker = inner.and_then(|inner| inner.components().next());
        let worker = worker.and_then(|worker| worker.as_os_str().to_str());
        worker.is_some_and(|worker| engine.worker().is_dead(worker))
    });
    Extractors::with(
        Extractors::own_program(),
        engine.blobs.scratch(),
        Some(Extractors::own_folder(engine.data_dir())),
        links,
    )
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let data_dir = settings.config()?.data_dir;
    let scratch = std::env::temp_dir().join(format!("catchment-{}", ulid::Ulid::generate()));
    let own = Extractors::own_folder(&data_dir);
    let extractors = Extractors::with(Extractors::own_program(), scratch.clone(), Some(own), None);
    match args.command {
        None => list(&extractors, args.json),
        Some(Command::Check { name, file }) => {
            let outcome = check(&extractors, &name, file.as_deref()).await;
            extractors.end_all().await;
            let _ = std::fs::remove_dir_all(&scratch);
            outcome
        }
    }
}

fn list(extractors: &Extractors, as_json: bool) -> Outcome {
    let missing = confine::missing();
    let mut out = std::io::stdout().lock();
    for extractor in extractors.all() {
        if as_json {
            let value = json!({
                "name": extractor.name,
                "version": extractor.version,
                "description": extractor.description,
                "source": if extractor.is_builtin() { "builtin" } else { "own" },
                "accepts": extractor.accepts,
                "network": extractor.reaches_network(),
                "not_confined": if extractor.is_service() { vec!["service"] } else { missing.clone() },
                "parameters": extractor.parameters,
            });
            output::json_line(&mut out, &value)?;
        } else {
            let name = format!("{}@{}", extractor.name, extractor.version);
            writeln!(out, "{name:<28} {}", extractor.description)?;
        }
    }
    let unusable = extractors.unusable();
    for file in &unusable {
        output::warning(&format!("extractors/{}.toml cannot be used: {}", file.name, file.why));
    }
    if !missing.is_empty() && !as_json {
        let what = missing.join(", ");
        writeln!(out, "The kernel of this computer does not keep extractors from: {what}")?;
    }
    Ok(if unusable.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

async fn check(extractors: &Extractors, name: &str, file: Option<&Path>) -> Outcome {
    if let Some(unusable) = extractors.unusable().into_iter().find(|it| it.name == name) {
        return Err(CliError::failed(format!("extractors/{name}.toml: {}", unusable.why)));
    }
    let all = extractors.all();
    let Some(extractor) = all.iter().find(|known| known.name == name) else {
        let known: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
        return Err(CliError::failed(format!(
            "there is no extractor {name:?} here: write extractors/{name}.toml in the data directory. \
             There are: {}",
            known.join(", ")
        )));
    };
    let Some(path) = file else {
        output::line(&format!("{}@{} can be used", extractor.name, extractor.version));
        return Ok(Exit::Done);
    };
    let begun = Instant::now();
    match extractors.extract(extractor, job(path)?).await {
        Ok(made) => {
            show(&made)?;
            let took = begun.elapsed().as_millis();
            let documents = output::counted(made.documents.len() as u64, "document");
            output::warning(&format!("{documents} in {took} ms"));
            if !made.log.is_empty() {
                output::warning(made.log.trim_end());
            }
            Ok(Exit::Done)
        }
        Err(failure) => Err(CliError::failed(format!(
            "{} ({}){}{}",
            failure.message,
            failure.class.as_str(),
            if failure.log.is_empty() { "" } else { "\n" },
            failure.log.trim_end()
        ))),
    }
}

/// What a collection would hand over of an object with that content.
fn job(path: &Path) -> Result<Job, CliError> {
    let file = File::open(path)
        .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    let size_bytes = file.metadata().map_err(CliError::failed)?.len();
    let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let facts = FileFacts {
        mime_type: mime_guess::from_path(path).first().map(|mime| mime.to_string()),
        size_bytes,
        filename: filename.clone(),
        hash: String::new(),
    };
    Ok(Job {
        run: "check".to_owned(),
        object: ObjectFacts { path: filename, ..ObjectFacts::default() },
        inputs: BTreeMap::from([("file".to_owned(), Given::File { file, facts })]),
        parameters: Map::new(),
    })
}

fn show(made: &Extracted) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    for document in &made.documents {
        let mut told = document.body.clone();
        let vectors: Map<_, _> = document
            .vectors
            .iter()
            .map(|vector| (vector.name.clone(), json!(vector.values)))
            .collect();
        if !vectors.is_empty() {
            told.insert("_vectors".to_owned(), vectors.into());
        }
        let files: Vec<&str> = document.blobs.iter().map(|blob| blob.field.as_str()).collect();
        if !files.is_empty() {
            told.insert("_files".to_owned(), json!(files));
        }
        output::json_line(&mut out, &told)?;
    }
    Ok(())
}
