//! `catchment process`: carries out the batches that wait, without a server.

use std::{io::Write as _, num::NonZero};

use super::{Exit, Outcome, Settings, error::CliError, output, signals::stop_on_signals};
use crate::{
    processing::processor::{Busy, Processor, default_concurrency, until_idle},
    store::processing::{batches, collections},
};

/// Arguments of `catchment process`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment sync ~/Photos && catchment process   sync, then extract what came
  catchment process --watch                      go on until stopped")]
pub(super) struct Args {
    /// Keep running when nothing is left, and carry out what comes
    #[arg(long)]
    watch: bool,

    /// How many extractors may run at once [default: as configured, else half of the processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let engine = settings.existing_engine()?;
    let stop = stop_on_signals("when running extractors are stopped")?;
    let extractors = super::extractors::of(&engine, None);
    let configured = settings.config()?.processing.map(NonZero::get);
    let wanted = args.concurrency.or(configured);
    let concurrency = wanted.map_or_else(default_concurrency, usize::from);
    if args.watch {
        let processor = Processor::start(engine.clone(), extractors, concurrency);
        stop.cancelled().await;
        processor.stop().await;
    } else {
        match until_idle(engine.clone(), extractors, concurrency, stop).await {
            Ok(()) => {}
            Err(Busy::Store(error)) => return Err(error.into()),
            Err(busy @ Busy::Held) => return Err(CliError::failed(busy)),
        }
    }
    let (waiting, failed, documents) = engine
        .store
        .read(|db| {
            let waiting = batches::open(db, u32::MAX)?.len() as u64;
            let (mut failed, mut documents) = (0, 0);
            for collection in collections::all(db)? {
                failed += collections::failed(db, collection.key)?;
                documents += collection.document_count;
            }
            Ok((waiting, failed, documents))
        })
        .await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let value = serde_json::json!({
            "batches_waiting": waiting, "objects_failed": failed, "documents": documents,
        });
        output::json_line(&mut out, &value)?;
    } else {
        writeln!(
            out,
            "{}; {} failed; {} waiting",
            output::counted(documents, "document"),
            output::counted(failed, "object"),
            output::counted(waiting, "batch")
        )?;
    }
    Ok(if failed > 0 { Exit::SomeFailed } else { Exit::Done })
}
