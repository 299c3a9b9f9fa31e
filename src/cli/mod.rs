//! The command line: what is typed, what is printed, how the process ends. One file a command.
//!
//! Commands call the engine and the store; none decides anything that the API would have to decide
//! again.

mod arenas;
mod backup;
mod completions;
mod connect;
mod connections;
mod doctor;
mod documents;
mod error;
mod export;
mod extractors;
mod gc;
mod get;
mod ls;
mod man;
mod open;
mod output;
mod process;
mod progress;
mod restore;
mod secrets;
mod serve;
mod signals;
mod status;
mod sync;
mod token;
mod verify;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    clock::SystemClock,
    config::Config,
    engine::Engine,
    logging,
    processing::extract,
    sources::Registry,
    store::{self, DATABASE_FILE, Store, buckets::Bucket},
};

use error::CliError;

/// Result of a command: how the process ends.
type Outcome = Result<Exit, CliError>;

/// How the process ends when nothing went wrong enough for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    SomeFailed = 3,
    Held = 4,
}

/// What `--version` prints behind the name: version, commit, its date, and what it was built for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CATCHMENT_BUILD"), ")");

const EXAMPLES: &str = "\
Examples:
  catchment sync ~/Photos                      a folder into the bucket \"Photos\"
  catchment sync s3://footage/2026 --bucket f  an S3 prefix into the bucket \"f\"
  catchment sync ~/Photos --dry-run            what would be done, and why
  catchment ls Photos/2026/                    what is in the bucket under a prefix
  catchment get Photos/2026/a.jpg -o a.jpg     one object
  catchment export Photos /mnt/usb             all of it, as files again
  catchment verify                             read every byte again

Exit codes: 0 done; 1 failed; 2 usage; 3 done, but some entries failed; 4 done, but removals are
held until --max-delete allows them.";

/// Keeps local buckets up to date with storage that lives elsewhere.
#[derive(Debug, Parser)]
#[command(name = "catchment", version = VERSION, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// The data directory [default: the platform's convention]
    #[arg(long, global = true, env = "CATCHMENT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Log more to stderr: -v events, -vv every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log format: text for people, or json, one object per line
    #[arg(
        long,
        global = true,
        env = "CATCHMENT_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_default_value = true
    )]
    log_format: LogFormat,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sync a folder, bucket, drive, media library or table into a local bucket
    Sync(Box<sync::Args>),
    /// Serve the API and the browser interface, and run syncs when they are due
    Serve(serve::Args),
    /// Print a link that signs a browser in, once
    Open(open::Args),
    /// Show the token that programs need for the API, or make a new one
    Token(token::Args),
    /// List the buckets, or the objects in one
    Ls(ls::Args),
    /// Write one object to stdout or a file
    Get(get::Args),
    /// Write a bucket's objects to a folder, as files
    Export(export::Args),
    /// Check every stored byte against its hash
    Verify(verify::Args),
    /// Extract what waits to be extracted, without a server
    Process(process::Args),
    /// List the extractors that are here, or try one of yours on a file
    Extractors(extractors::Args),
    /// Print the documents of a collection
    Documents(documents::Args),
    /// Show buckets, syncs and their last jobs
    Status(status::Args),
    /// Free the space of bytes that no object uses any more
    Gc(gc::Args),
    /// Look for what keeps Catchment from working here, and say how to mend it
    Doctor(doctor::Args),
    /// Copy everything to a folder, while syncs run
    Backup(backup::Args),
    /// Put a backup back into an empty data directory
    Restore(restore::Args),
    /// Manage the key that encrypts stored credentials
    Secrets(secrets::Args),
    /// Run an extractor, confined, for the process that started this one
    #[command(name = extract::child::COMMAND, hide = true)]
    Extract {
        /// Its name
        name: String,
        /// What it may use, as JSON
        confinement: String,
        /// The command line of a program of the owner's
        #[arg(last = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Make a connection to a provider, or sign in again
    Connect(connect::Args),
    /// List, test and remove connections
    Connections(connections::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Write the manual pages to a folder
    #[command(hide = true)]
    Man(man::Args),
}

/// Runs the process's command line and says how the process ends.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before there is a second thread: a process can only confine the one that it is.
    if let Command::Extract { name, confinement, words } = &cli.command {
        return extract::child::serve(name, confinement, words);
    }
    if matches!(cli.command, Command::Serve(_) | Command::Sync(_)) {
        arenas::limit();
    }
    log_to_stderr(&cli);
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(cli));
            // Work that hangs in a system call must not hold the process up.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(CliError::failed(error)),
    };
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(CliError::ClosedPipe) => ExitCode::SUCCESS,
        Err(error) => {
            output::warning(&format!("catchment: {error}"));
            error.exit_code()
        }
    }
}

async fn run(cli: Cli) -> Outcome {
    let settings = Settings { data_dir: cli.data_dir };
    match cli.command {
        Command::Sync(args) => sync::run(*args, &settings).await,
        Command::Serve(args) => serve::run(args, &settings).await,
        Command::Open(args) => open::run(args, &settings).await,
        Command::Token(args) => token::run(args, &settings).await,
        Command::Ls(args) => ls::run(args, &settings).await,
        Command::Get(args) => get::run(args, &settings).await,
        Command::Export(args) => export::run(args, &settings).await,
        Command::Verify(args) => verify::run(args, &settings).await,
        Command::Process(args) => process::run(args, &settings).await,
        Command::Extractors(args) => extractors::run(args, &settings).await,
        Command::Documents(args) => documents::run(args, &settings).await,
        Command::Status(args) => status::run(args, &settings).await,
        Command::Gc(args) => gc::run(args, &settings).await,
        Command::Doctor(args) => doctor::run(args, &settings).await,
        Command::Backup(args) => backup::run(args, &settings).await,
        Command::Restore(args) => restore::run(args, &settings).await,
        Command::Secrets(args) => secrets::run(args, &settings).await,
        Command::Connect(args) => connect::run(args, &settings).await,
        Command::Connections(args) => connections::run(args, &settings).await,
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Extract { .. } => Err(CliError::usage("an extractor is run by itself".to_owned())),
    }
}

fn log_to_stderr(cli: &Cli) {
    // A server logs its requests and jobs; a command prints what it does.
    let serves = matches!(cli.command, Command::Serve(_));
    let default = match cli.verbose {
        0 if serves => "catchment=info,warn,aws_config=error",
        // The AWS chain warns of each of its links that has no credentials; our error sums them up.
        0 => "warn,aws_config=error",
        1 => "catchment=info,warn",
        _ => "catchment=debug,info",
    };
    let filter = EnvFilter::try_from_env("CATCHMENT_LOG").unwrap_or_else(|_| default.into());
    logging::start(filter, matches!(cli.log_format, LogFormat::Json));
}

/// What the global options say.
struct Settings {
    data_dir: Option<PathBuf>,
}

impl Settings {
    fn config(&self) -> Result<Config, CliError> {
        Ok(Config::load(self.data_dir.clone())?)
    }

    /// Opens the data directory to work in it, making it if need be.
    fn engine(&self) -> Result<Engine, CliError> {
        self.engine_with(&self.config()?)
    }

    /// [`Settings::engine`] with settings that a command has changed.
    fn engine_with(&self, config: &Config) -> Result<Engine, CliError> {
        Ok(Engine::open(config, Arc::new(SystemClock), Arc::new(Registry))?)
    }

    /// [`Settings::existing_engine`] for commands that only look, also where nothing can be
    /// written.
    fn reading_engine(&self) -> Result<Engine, CliError> {
        let config = self.existing_config()?;
        Ok(Engine::open_to_read(&config, Arc::new(SystemClock), Arc::new(Registry))?)
    }

    /// Opens the database of a data directory to look at it; `None` where there is none yet.
    fn store(&self) -> Result<Option<Store>, CliError> {
        let data_dir = self.config()?.data_dir;
        match data_dir.join(DATABASE_FILE).try_exists() {
            Ok(false) => Ok(None),
            _ => Ok(Some(Store::open_to_read(&data_dir)?)),
        }
    }

    /// [`Settings::engine`] for commands that only make sense where something is already.
    fn existing_engine(&self) -> Result<Engine, CliError> {
        self.engine_with(&self.existing_config()?)
    }

    fn existing_config(&self) -> Result<Config, CliError> {
        let config = self.config()?;
        if matches!(config.data_dir.join(DATABASE_FILE).try_exists(), Ok(false)) {
            return Err(CliError::NothingHere { data_dir: config.data_dir });
        }
        Ok(config)
    }
}

/// The bucket of that name, or an error that names those there are.
async fn bucket(store: &Store, name: &str) -> Result<Bucket, CliError> {
    let wanted = name.to_owned();
    let found = store.read(move |db| store::buckets::by_name(db, &wanted)).await?;
    match found {
        Some(bucket) => Ok(bucket),
        None => {
            let all = store.read(store::buckets::all).await?;
            Err(CliError::NoSuchBucket {
                name: name.to_owned(),
                known: all.into_iter().map(|bucket| bucket.name).collect(),
            })
        }
    }
}
