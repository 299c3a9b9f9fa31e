//! `catchment sync`: the main job.

mod args;
mod dry_run;
mod existing_sync;
mod stored;

use super::{
    Exit, Outcome, Settings,
    error::CliError,
    output,
    progress::{LeftOut, Progress},
    signals::stop_on_signals,
};
use crate::{
    engine::{Engine, Report, Request, leftovers},
    model::{Counts, NOTHING_THERE_YET, RunStatus},
    sources,
    store::{
        command_line_syncs::BucketChoice,
        processing::batches,
        syncs::{HeldReason, HeldRemovals},
    },
};

pub(super) use args::Args;

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let connection = stored::connection(&args, settings).await?;
    let mut request = args.request(connection)?;
    let address = sources::address(&request.location);
    let stop = stop_on_signals("at the next checkpoint")?;
    if request.connection.is_some() {
        request = settings.engine()?.at_stored_place(request).await?;
    }
    if args.how.dry_run {
        return dry_run::run(&args, &request, settings, &stop).await;
    }
    let started = std::time::Instant::now();
    let engine = match settings.engine() {
        Ok(engine) => match existing_sync::find(&args, &request, &engine.store).await {
            Ok(None) => engine,
            Ok(Some(sync)) => {
                request = existing_sync::request(request, &sync);
                engine
            }
            Err(error) => return Err(in_the_end(&args, &request, error, started)?),
        },
        Err(error) => return Err(in_the_end(&args, &request, error, started)?),
    };
    leftovers::clear(&engine).await;
    let progress = Progress::start(args.mode(), address);
    let report = engine.run(&request, progress.observer(), stop).await;
    let left_out = progress.finish().await;
    if args.json {
        print_summary(&request, Some(&report), &Summary::of(&report), started)?;
    } else if !args.quiet && report.job.is_some() {
        output::line(&closing_words(&report, &left_out, started.elapsed()));
        if let Some(words) = waiting_words(&engine).await {
            output::line(&words);
        }
    }
    let exit = match report.status {
        RunStatus::Completed => Exit::Done,
        RunStatus::CompletedWithErrors => Exit::SomeFailed,
        RunStatus::Held => Exit::Held,
        RunStatus::Failed | RunStatus::Interrupted => Exit::Failed,
    };
    match report.error {
        Some(error) => Err(error.into()),
        None => Ok(exit),
    }
}

/// The last line of --json is a summary in every case but a usage error.
fn in_the_end(
    args: &Args,
    request: &Request,
    error: CliError,
    started: std::time::Instant,
) -> Result<CliError, CliError> {
    if args.json && !matches!(error, CliError::Usage(_)) {
        print_summary(request, None, &Summary::failed(&error), started)?;
    }
    Ok(error)
}

/// What the summary says besides the counts.
struct Summary {
    status: &'static str,
    error: Option<String>,
}

impl Summary {
    fn of(report: &Report) -> Self {
        Self {
            status: report.status.as_str(),
            error: report.error.as_ref().map(ToString::to_string),
        }
    }

    fn failed(error: &CliError) -> Self {
        Self { status: RunStatus::Failed.as_str(), error: Some(error.to_string()) }
    }
}

fn print_summary(
    request: &Request,
    report: Option<&Report>,
    summary: &Summary,
    started: std::time::Instant,
) -> Result<(), CliError> {
    let counts = report.map(|report| report.counts).unwrap_or_default();
    let bucket =
        report.and_then(|report| report.bucket.clone()).unwrap_or_else(|| match &request.bucket {
            BucketChoice::Named(name) | BucketChoice::AfterSource(name) => name.to_string(),
        });
    let value = serde_json::json!({
        "event": "summary",
        "status": summary.status,
        "job_id": report.and_then(|report| report.job.clone()),
        "bucket": bucket,
        "discovered": counts.discovered(),
        "synced": counts.synced,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "duplicates": counts.duplicates,
        "filtered": counts.filtered,
        "removed": counts.removed,
        "failed": counts.failed,
        "bytes": counts.bytes,
        "seconds": started.elapsed().as_secs_f64(),
        "held": report.and_then(|report| report.held.clone()),
        "error": summary.error,
    });
    output::json_line(&mut std::io::stdout().lock(), &value)
}

/// Summarises the run in a sentence or two.
fn closing_words(report: &Report, left_out: &LeftOut, took: std::time::Duration) -> String {
    let bucket = report.bucket.as_deref().unwrap_or("(no bucket)");
    let mut words =
        format!("{bucket}: {} in {:.1} s", in_words(&report.counts), took.as_secs_f64());
    if report.nothing_there {
        words.push_str(&format!("\n{NOTHING_THERE_YET}"));
    }
    if let Some(remark) = &report.remark {
        words.push_str(&format!("\n{remark}"));
    }
    for (reason, entries) in left_out {
        words.push_str(&format!("\n{} left out: {}", output::count(*entries), reason.describe()));
    }
    if report.counts.failed > 0 {
        words.push_str(&format!(
            "\n{} failed; later runs retry them, `catchment status` lists them",
            output::count(report.counts.failed)
        ));
    } else if report.status == RunStatus::CompletedWithErrors {
        words.push_str(
            "\nentries that failed in earlier runs are missing; `catchment status` lists them",
        );
    }
    if let Some(held) = &report.held {
        words.push_str(&in_words_held(held));
    }
    words
}

/// That objects wait to be extracted, where no other process is there that would do it.
async fn waiting_words(engine: &Engine) -> Option<String> {
    let open = engine.store.read(|db| batches::open(db, u32::MAX)).await.ok()?;
    let objects: u64 = open.iter().map(|batch| batch.object_count).sum();
    let is_alone = engine.worker().others_since().is_none();
    (is_alone && objects > 0).then(|| {
        format!(
            "{} to be extracted: `catchment process` does it, and so does a server",
            match objects {
                1 => "1 object waits".to_owned(),
                many => format!("{} objects wait", output::count(many)),
            }
        )
    })
}

/// Why removals are held, and how to decide about them.
fn in_words_held(held: &HeldRemovals) -> String {
    let (why, way_out) = match held.reason {
        HeldReason::SourceEmptied => (
            "the source is empty and was not before",
            "if its content was to go, run the same command with --adopt-root".to_owned(),
        ),
        HeldReason::SourceReplaced => (
            "another folder is in the place of the source",
            "mount what belongs there; if this is the source from now on, run the same command \
             with --adopt-root"
                .to_owned(),
        ),
        HeldReason::ManyRemoved => (
            "they are gone from the source",
            format!("to remove them, run the same command with --max-delete {}", held.count),
        ),
    };
    format!(
        "\nheld: {} of {} objects are kept until you decide, because {why}: {}{}\n{way_out}",
        output::count(held.count),
        output::count(held.of),
        held.sample.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", "),
        if held.count > 5 { ", …" } else { "" },
    )
}

fn in_words(counts: &Counts) -> String {
    let mut parts = vec![format!(
        "{} new, {} updated, {} unchanged",
        output::count(counts.synced),
        output::count(counts.updated),
        output::count(counts.unchanged)
    )];
    let others = [
        (counts.duplicates, "duplicates"),
        (counts.filtered, "left out"),
        (counts.removed, "removed"),
        (counts.failed, "failed"),
    ];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        parts.push(format!("{} {what}", output::count(count)));
    }
    parts.push(format!("{} fetched", output::size(counts.bytes)));
    parts.join(", ")
}
