//! `catchment secrets`: the key that encrypts stored credentials.

use std::io::Write as _;

use super::{Exit, Outcome, Settings, error::CliError, output};

/// Arguments of `catchment secrets`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment secrets rotate  a new key for all stored credentials, at once")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Encrypt all stored credentials again with a new key, and remove the old one
    Rotate {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let Command::Rotate { json } = args.command;
    let engine = settings.existing_engine()?;
    let rotated = engine.vault.rotate().await.map_err(CliError::failed)?;
    let mut out = std::io::stdout().lock();
    if json {
        let value = serde_json::json!({ "key_id": rotated.key_id, "resealed": rotated.resealed });
        output::json_line(&mut out, &value)?;
    } else {
        let count = match rotated.resealed {
            1 => "the credentials of 1 connection".to_owned(),
            n => format!("the credentials of {n} connections"),
        };
        writeln!(out, "{count} encrypted with the new key {}", rotated.key_id)?;
    }
    Ok(Exit::Done)
}
