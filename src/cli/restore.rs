//! `catchment restore`: a backup put back into an empty data directory.

use std::{io::Write as _, path::PathBuf};

use secrecy::SecretString;

use super::{Exit, Outcome, Settings, backup, error::CliError, output};
use crate::backup::{
    Manifest, Secrets,
    restore::{self, Restored},
};

/// Arguments of `catchment restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment restore /mnt/usb/catchment                         into the usual place, if it is empty
  catchment restore /mnt/usb/catchment --data-dir ~/elsewhere  into another one
  catchment verify                                             reads every byte again

The next sync continues from there, and fetches nothing that is in the backup. A restore that is cut
short continues when it is run again. Exit code 3 when a blob in the backup is damaged: `catchment
verify --repair` fetches it again.")]
pub(super) struct Args {
    /// The folder of the backup
    dir: PathBuf,

    /// Leave the secrets in the backup; credentials have to be entered again
    #[arg(long)]
    without_secrets: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let data_dir = settings.config()?.data_dir;
    let manifest = restore::inspect(&args.dir)?;
    restore::check_empty(&data_dir)?;
    let passphrase = passphrase(&args, &manifest)?;
    let restored = restore::restore(&args.dir, &data_dir, passphrase).await?;
    let mut out = std::io::stdout().lock();
    match args.json {
        true => output::json_line(&mut out, &json(&data_dir, &restored))?,
        false => writeln!(out, "{}", text(&data_dir, &restored))?,
    }
    for hash in &restored.moved.damaged {
        output::warning(&format!(
            "catchment: damaged in the backup: {hash}; `catchment verify --repair`"
        ));
    }
    Ok(if restored.moved.damaged.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

fn passphrase(args: &Args, manifest: &Manifest) -> Result<Option<SecretString>, CliError> {
    if args.without_secrets || !matches!(manifest.secrets(), Secrets::Sealed(_)) {
        return Ok(None);
    }
    match backup::from_environment() {
        Some(passphrase) => Ok(Some(passphrase)),
        None => Ok(Some(backup::prompt("Passphrase of the backup: ")?.into())),
    }
}

fn json(data_dir: &std::path::Path, restored: &Restored) -> serde_json::Value {
    serde_json::json!({
        "data_dir": data_dir.to_string_lossy(),
        "made_at": restored.manifest.made_at,
        "blobs": backup::moved_json(&restored.moved),
        "secrets": restored.with_secrets,
    })
}

fn text(data_dir: &std::path::Path, restored: &Restored) -> String {
    let secrets = match (restored.manifest.secrets(), restored.with_secrets) {
        (Secrets::None, _) => "it had no secrets",
        (_, true) => "with its secrets",
        (_, false) => "without secrets: enter the credentials again",
    };
    format!(
        "the backup of {} is in {}: {}; {secrets}",
        restored.manifest.made_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        data_dir.display(),
        backup::moved_text(&restored.moved),
    )
}
