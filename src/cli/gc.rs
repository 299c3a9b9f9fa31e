//! `catchment gc`: frees the space of bytes that no object uses.

use super::{Exit, Outcome, Settings, output};
use crate::engine::{collect, leftovers};

/// Arguments of `catchment gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment gc         after objects were removed, to have their space back
  catchment gc --json  the same, for programs")]
pub(super) struct Args {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let engine = settings.existing_engine()?;
    leftovers::clear(&engine).await;
    let collected = collect::everything(&engine).await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let value = serde_json::json!({ "blobs": collected.blobs, "bytes": collected.bytes });
        output::json_line(&mut out, &value)?;
    } else {
        let blobs = output::counted(collected.blobs, "unused blob");
        let bytes = output::size(collected.bytes);
        std::io::Write::write_fmt(&mut out, format_args!("{blobs} removed, {bytes} freed\n"))?;
    }
    Ok(Exit::Done)
}
