//! `catchment backup`: a copy of everything, while syncs run.

use std::{io::Write as _, path::PathBuf, time::Instant};

use secrecy::SecretString;

use super::{Exit, Outcome, Settings, error::CliError, output};
use crate::backup::{
    Moved,
    make::{self, Keep, Made},
};

/// The variable that holds the passphrase.
pub(super) const PASSPHRASE: &str = "CATCHMENT_BACKUP_PASSPHRASE";

/// Arguments of `catchment backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment backup /mnt/usb/catchment     asks for a passphrase to seal secrets with
  catchment backup /mnt/usb/catchment     again: only what is new is copied
  catchment backup ~/copy --without-secrets
  catchment restore /mnt/usb/catchment --data-dir ~/elsewhere

Syncs may run meanwhile: the backup is what was committed when it began. It can be killed at any
time, and the one before is still complete. On the same disk the bytes of large files are shared
with the data directory (by reflink or hard link): that protects from mistakes, not from losing the
disk. For programs, the passphrase is in CATCHMENT_BACKUP_PASSPHRASE. Exit code 3 when a blob is
damaged already: `catchment verify --repair` fetches it again.")]
pub(super) struct Args {
    /// The folder for the backup: an empty one, or that of an earlier backup
    dir: PathBuf,

    /// Leave credentials, their keys, the token and your extractors out; bring them again after a
    /// restore
    #[arg(long)]
    without_secrets: bool,

    /// Read again what earlier backups copied, too
    #[arg(long)]
    check: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let engine = settings.existing_engine()?;
    let keep = match args.without_secrets || !make::has_secrets(&engine).await? {
        true => Keep::LeaveOut,
        false => Keep::Sealed(new_passphrase()?),
    };
    let since = Instant::now();
    let made = make::make(&engine, &args.dir, keep, args.check).await?;
    let mut out = std::io::stdout().lock();
    match args.json {
        true => output::json_line(&mut out, &json(&args, &made, since))?,
        false => writeln!(out, "{}", text(&args, &made, since))?,
    }
    if made.extractors_left_out > 0 {
        output::warning(&format!(
            "catchment: not in the backup: {} in extractors/, which may hold secrets; without \
             --without-secrets they are sealed with the others",
            output::counted(made.extractors_left_out as u64, "file")
        ));
    }
    for missing in &made.missing_keys {
        output::warning(&format!("catchment: not in the backup: {missing}"));
    }
    for hash in &made.moved.damaged {
        output::warning(&format!(
            "catchment: damaged, and not in the backup: {hash}; `catchment verify --repair`"
        ));
    }
    let is_whole = made.moved.damaged.is_empty() && made.missing_keys.is_empty();
    Ok(if is_whole { Exit::Done } else { Exit::SomeFailed })
}

/// The passphrase to seal with: from the environment, else typed twice.
fn new_passphrase() -> Result<SecretString, CliError> {
    if let Some(passphrase) = from_environment() {
        return Ok(passphrase);
    }
    let first = prompt("Passphrase for the secrets in the backup: ")?;
    if first.is_empty() {
        return Err(CliError::usage("an empty passphrase seals nothing: choose one"));
    }
    match first == prompt("The same again: ")? {
        true => Ok(first.into()),
        false => Err(CliError::usage("the two passphrases differ: nothing was done")),
    }
}

/// The passphrase in the environment, if one is there.
pub(super) fn from_environment() -> Option<SecretString> {
    std::env::var(PASSPHRASE).ok().filter(|text| !text.is_empty()).map(SecretString::from)
}

/// Asks on the terminal, without showing what is typed.
pub(super) fn prompt(question: &str) -> Result<String, CliError> {
    rpassword::prompt_password(question).map_err(|_| {
        CliError::usage(format!(
            "there is no terminal to ask for the passphrase: set {PASSPHRASE}, or leave the secrets \
             out with --without-secrets"
        ))
    })
}

fn json(args: &Args, made: &Made, since: Instant) -> serde_json::Value {
    serde_json::json!({
        "backup": args.dir.to_string_lossy(),
        "made_at": made.manifest.made_at,
        "state_bytes": made.state_bytes,
        "blobs": moved_json(&made.moved),
        "removed": made.removed,
        "secrets": made.manifest.secrets().as_str(),
        "extractors_left_out": made.extractors_left_out,
        "seconds": since.elapsed().as_secs_f64(),
    })
}

/// How blobs came, for programs.
pub(super) fn moved_json(moved: &Moved) -> serde_json::Value {
    serde_json::json!({
        "kept": moved.kept,
        "reflinked": moved.reflinked,
        "linked": moved.linked,
        "copied": moved.copied,
        "bytes": moved.bytes,
        "damaged": moved.damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn text(args: &Args, made: &Made, since: Instant) -> String {
    let secrets = match made.manifest.secrets().as_str() {
        "sealed" => "secrets sealed",
        "left_out" => "secrets left out",
        _ => "no secrets",
    };
    format!(
        "backup in {}: database {}, {}, {secrets}, in {:.1} s",
        args.dir.display(),
        output::size(made.state_bytes),
        moved_text(&made.moved),
        since.elapsed().as_secs_f64(),
    )
}

/// How blobs came, for people.
pub(super) fn moved_text(moved: &Moved) -> String {
    let new = moved.reflinked + moved.linked + moved.copied;
    let shared = match moved.reflinked + moved.linked {
        0 => String::new(),
        shared => format!(", {} of them shared with the original", output::count(shared)),
    };
    format!(
        "{} ({}{shared}), {} already there",
        output::counted(new, "new blob"),
        output::size(moved.bytes),
        output::count(moved.kept),
    )
}
