//! `catchment export`: objects as files again.

use std::{ffi::OsString, path::PathBuf};

use super::{Exit, Outcome, Settings};

/// Arguments of `catchment export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bucket
    bucket: String,
    /// The folder to write to
    dir: PathBuf,
    /// Only objects under this prefix
    #[arg(long)]
    prefix: Option<OsString>,
}

pub(super) async fn run(_args: Args, _settings: &Settings) -> Outcome {
    Ok(Exit::Done)
}
