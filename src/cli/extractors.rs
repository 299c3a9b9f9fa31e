//! `catchment extractors`: lists what objects can go through.

use std::io::Write as _;

use super::{Exit, Outcome, Settings, output};
use crate::processing::extract::{Extractors, confine};

/// Arguments of `catchment extractors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment extractors                           name, version and purpose of each
  catchment extractors --json                    with their parameters, one a line")]
pub(super) struct Args {
    /// Print the list as JSON, one extractor a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, settings: &Settings) -> Outcome {
    let scratch = settings.config()?.data_dir.join("staging");
    let extractors = Extractors::new(Extractors::own_program(), scratch);
    let missing = confine::missing();
    let mut out = std::io::stdout().lock();
    for extractor in extractors.all() {
        if args.json {
            let value = serde_json::json!({
                "name": extractor.name,
                "version": extractor.version,
                "description": extractor.description,
                "accepts": extractor.accepts,
                "parameters": (extractor.parameters)(),
            });
            output::json_line(&mut out, &value)?;
        } else {
            let name = format!("{}@{}", extractor.name, extractor.version);
            writeln!(out, "{name:<28} {}", extractor.description)?;
        }
    }
    if !missing.is_empty() && !args.json {
        let what = missing.join(" and ");
        writeln!(out, "This system's kernel does not let extractors be kept from: {what}")?;
    }
    Ok(Exit::Done)
}
