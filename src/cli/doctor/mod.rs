//! `catchment doctor`: looks for what keeps Catchment from working on this machine, and says how to
//! mend it. Changes nothing, and shows no secret.
//!
//! - here: what a finding is, and how findings are shown
//! - `machine`: disk, clock, watches, port, confinement
//! - `state`: the data directory, the database, keys, and whether providers can be reached

mod machine;
mod state;

use std::io::Write as _;

use serde::Serialize;

use super::{Exit, Outcome, Settings, output};

/// Arguments of `catchment doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment doctor         what is wrong, and how to mend it
  catchment doctor --json  the same, for programs

Exit code 1 when something is wrong; warnings alone are 0.")]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Error,
}

/// What one check has found.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    message: String,
    fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, message: message.into(), fix: None }
    }

    fn warning(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, status: Status::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    fn error(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, status: Status::Error, message: message.into(), fix: Some(fix.into()) }
    }
}

#[derive(Serialize)]
struct Report {
    findings: Vec<Finding>,
}

/// Runs it.
pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let config = settings.config()?;
    let mut findings = vec![state::permissions(&config.data_dir)];
    findings.extend(machine::disk(&config));
    findings.extend(state::findings(&config).await);
    findings.push(machine::port(&config));
    findings.push(machine::confinement());
    let mut out = std::io::stdout().lock();
    let has_errors = findings.iter().any(|finding| finding.status == Status::Error);
    if args.json {
        output::json_line(&mut out, &Report { findings })?;
    } else {
        for finding in &findings {
            writeln!(out, "{}", text(finding))?;
        }
    }
    Ok(if has_errors { Exit::Failed } else { Exit::Done })
}

fn text(finding: &Finding) -> String {
    let status = match finding.status {
        Status::Ok => "ok     ",
        Status::Warning => "warning",
        Status::Error => "ERROR  ",
    };
    let fix = finding.fix.as_deref().map(|fix| format!("\n         {fix}")).unwrap_or_default();
    format!("{status}  {}: {}{fix}", finding.check, finding.message)
}
