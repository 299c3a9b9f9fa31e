//! `catchment token`: shows or replaces the token of the API.

use std::io::{self, Write as _};

use super::{Exit, Outcome, Settings, error::CliError};
use crate::{
    api::access::token::{TokenFile, VARIABLE},
    store::sessions,
};

/// Arguments of `token`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment token           what programs send as \"Authorization: Bearer ...\"
  catchment token --rotate  another one, when somebody has seen it")]
pub(super) struct Args {
    /// Make a new token; the old one and every browser's login end at once
    #[arg(long)]
    rotate: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let config = settings.config()?;
    let set = std::env::var(VARIABLE).ok().filter(|token| !token.is_empty());
    let token = match set {
        Some(_) if args.rotate => {
            return Err(CliError::usage(format!(
                "the token is set by {VARIABLE}: change it there"
            )));
        }
        Some(token) => token,
        None => {
            // Opening the store makes the data directory, private.
            let store = crate::store::Store::open(&config.data_dir)?;
            let file = TokenFile::of(&config.data_dir);
            if args.rotate {
                store.write(sessions::end_all).await?;
                file.rotate().map_err(CliError::failed)?
            } else {
                file.ensure().map_err(CliError::failed)?
            }
        }
    };
    writeln!(io::stdout(), "{token}")?;
    Ok(Exit::Done)
}
