//! `catchment connections`: lists, tests and removes them. `catchment connect` makes them.

use std::io::{self, Write as _};

use serde_json::json;

use super::{Exit, Outcome, Settings, connect::named, error::CliError, output};
use crate::{
    engine::{Engine, connections::ConnectionError},
    sources,
    store::{
        Store,
        connections::{self, ConnectionFilter, StoredConnection},
    },
};

/// Arguments of `catchment connections`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment connections                     what there is, and what needs you
  catchment connections test \"Google\"
  catchment connections remove old --force  pauses the syncs that use it")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Test whether a connection works
    Test {
        /// Its name or id
        connection: String,
    },
    /// Remove a connection and erase its credentials
    Remove {
        /// Its name or id
        connection: String,
        /// Pause the syncs that use it
        #[arg(long)]
        force: bool,
    },
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    match args.command {
        None => list(settings, args.json).await,
        Some(Command::Test { connection }) => test(settings, &connection, args.json).await,
        Some(Command::Remove { connection, force }) => {
            remove(&settings.existing_engine()?, &connection, force, args.json).await
        }
    }
}

async fn list(settings: &Settings, as_json: bool) -> Outcome {
    let all = match settings.store()? {
        Some(store) => stored(&store).await?,
        None => Vec::new(),
    };
    let mut out = io::stdout().lock();
    if all.is_empty() && !as_json {
        writeln!(out, "no connections yet: `catchment connect PROVIDER` makes one")?;
    }
    for connection in &all {
        if as_json {
            output::json_line(&mut out, &to_json(connection))?;
            continue;
        }
        let StoredConnection { name, provider, status, .. } = connection;
        let status = match sources::reader(&connection.settings.provider) {
            Some(_) => status.to_lowercase(),
            None => sources::NOT_READ.to_owned(),
        };
        writeln!(out, "{name}  {provider}  {status}  {}", connection.id)?;
        if let Some(error) = &connection.last_error {
            writeln!(out, "    {error}")?;
        }
    }
    Ok(Exit::Done)
}

/// All that can be used or put right.
async fn stored(store: &Store) -> Result<Vec<StoredConnection>, CliError> {
    let wanted = ConnectionFilter { hidden: sources::built_in(), ..ConnectionFilter::default() };
    let mut all = store.read(move |db| connections::list(db, &wanted, None, 0, u32::MAX)).await?;
    all.retain(|connection| connection.status != "ARCHIVED");
    Ok(all)
}

fn to_json(connection: &StoredConnection) -> serde_json::Value {
    json!({
        "connection_id": connection.id,
        "name": connection.name,
        "provider": connection.provider,
        "status": connection.status,
        "last_used_at": connection.last_used_at,
        "last_error": connection.last_error,
    })
}

async fn test(settings: &Settings, name: &str, as_json: bool) -> Outcome {
    let engine = settings.existing_engine()?;
    let connection = named(&engine, name).await?;
    let outcome = engine.test_stored_connection(&connection).await?;
    let mut out = io::stdout().lock();
    let success = outcome.is_ok();
    let message = outcome.unwrap_or_else(|reason| reason);
    match as_json {
        true => output::json_line(&mut out, &json!({ "success": success, "message": message }))?,
        false => writeln!(out, "{}: {message}", connection.name)?,
    }
    Ok(if success { Exit::Done } else { Exit::Failed })
}

async fn remove(engine: &Engine, name: &str, force: bool, as_json: bool) -> Outcome {
    let connection = named(engine, name).await?;
    if !sources::is_configurable(&connection.settings.provider) {
        return Err(CliError::usage(format!("{:?} is always there", connection.name)));
    }
    engine.archive_connection(&connection, force).await.map_err(|error| match error {
        ConnectionError::InUse(syncs) => CliError::usage(format!(
            "it is in use by {}: --force pauses what uses it",
            output::counted(syncs.len() as u64, "active sync")
        )),
        error => error.into(),
    })?;
    let mut out = io::stdout().lock();
    match as_json {
        true => output::json_line(&mut out, &to_json(&connection))?,
        false => writeln!(out, "{:?} is removed, its credentials are erased", connection.name)?,
    }
    Ok(Exit::Done)
}
