//! `catchment sync`: the main job.

use std::{ffi::OsString, io::Write as _, sync::Arc};

use bytesize::ByteSize;
use jiff::{SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Outcome, Settings,
    error::CliError,
    output,
    progress::{LeftOut, Mode, Progress},
    signals::stop_on_signals,
};
use crate::{
    clock::{Clock as _, SystemClock},
    engine::{
        Report, Request, RunOptions,
        filter::Filter,
        preview::{self, Preview, Verdict},
    },
    model::{
        Addressing, BucketName, Counts, EntryPath, FileFilters, Location, MaxDelete, Reconcile,
        RunStatus, S3Connection, SyncOptions,
    },
    sources::{Opener as _, Registry},
    store::syncs::BucketChoice,
};

const EXAMPLES: &str = "\
Examples:
  catchment sync ~/Photos
  catchment sync ~/Photos --exclude '*.tmp' --exclude 'cache/**' --dry-run
  catchment sync s3://footage/2026 --profile studio
  catchment sync s3://public-data --anonymous --include '*.csv'
  catchment sync s3://b --endpoint-url http://nas:9000 --region us-east-1
  catchment sync tigris://corpus/v3 --bucket corpus
  catchment sync ~/Photos --max-delete 50%     let up to half of the objects be removed

The same source and bucket again is the same sync: only what changed is fetched.";

/// Arguments of `catchment sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A folder, s3://bucket/prefix or tigris://bucket/prefix
    source: OsString,

    /// The bucket to fill [default: named after the source]
    #[arg(long, value_name = "NAME")]
    bucket: Option<BucketName>,

    #[command(flatten, next_help_heading = "Which files")]
    which: Which,

    #[command(flatten, next_help_heading = "How")]
    how: How,

    #[command(flatten, next_help_heading = "S3 and Tigris")]
    s3: S3,

    /// Print one JSON event a line; the last one is the summary
    #[arg(long)]
    json: bool,

    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Take only what matches this glob (repeatable). Without `/` it is held against the file
    /// name, with `/` against the path; `**` crosses folders
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,

    /// Leave out what matches this glob (repeatable); wins over --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,

    /// Take only files of at least this size (4096, 10KB, 1.5MiB)
    #[arg(long, value_name = "SIZE")]
    min_size: Option<ByteSize>,

    /// Take only files of at most this size
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,

    /// Take only files modified after this (2026-01-31, 2026-01-31T12:00:00Z, or an age: 7d)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    modified_after: Option<Timestamp>,

    /// Take only files modified before this
    #[arg(long, value_name = "TIME", value_parser = instant)]
    modified_before: Option<Timestamp>,

    /// Take the files that symbolic links lead to, within the folder
    #[arg(long)]
    follow_symlinks: bool,

    /// With --follow-symlinks: also those that lead out of the folder
    #[arg(long, requires = "follow_symlinks")]
    symlinks_may_leave: bool,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Show what would be added, updated and removed, and why; change nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove nothing, whatever is gone from the source
    #[arg(long, conflicts_with = "max_delete")]
    no_delete: bool,

    /// Remove at most this many objects, or this share; beyond it nothing is removed and exit code
    /// 4 says so [default: half of them, once that is more than 10]
    #[arg(long, value_name = "N|N%")]
    max_delete: Option<MaxDelete>,

    /// Make no second object of a file whose bytes the bucket has
    #[arg(long)]
    skip_duplicates: bool,

    /// Fetch so many files at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    concurrency: Option<u8>,

    /// Start over, and fetch every file again whether it changed or not
    #[arg(long)]
    full: bool,

    /// Take the source as it is now for the right one, although it is another folder than before,
    /// or empty
    #[arg(long)]
    adopt_root: bool,
}

#[derive(Debug, clap::Args)]
struct S3 {
    /// The profile in the shared AWS config and credentials files
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// The region of the bucket
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// Another endpoint than the provider's own
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint_url: Option<String>,

    /// Sign nothing: for public buckets
    #[arg(long, conflicts_with_all = ["profile", "role_arn"])]
    anonymous: bool,

    /// A role to assume
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,

    /// The external id that the role asks for
    #[arg(long, value_name = "ID", requires = "role_arn")]
    external_id: Option<String>,

    /// Agree to pay for requests and transfer
    #[arg(long)]
    requester_pays: bool,

    /// Where the bucket's name goes in URLs
    #[arg(long, value_name = "STYLE", value_enum, default_value_t = Style::Auto)]
    addressing: Style,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Style {
    /// As the endpoint needs it
    Auto,
    /// `https://endpoint/bucket/key`
    Path,
    /// `https://bucket.endpoint/key`
    Virtual,
}

/// An address that requests can go to.
fn endpoint(text: &str) -> Result<String, String> {
    let is_address = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    match is_address {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no endpoint: write http://HOST[:PORT] or https://HOST")),
    }
}

/// An instant, or an age before now.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    if let Ok(date) = text.parse::<Date>() {
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        return TimeZone::UTC.to_timestamp(midnight).map_err(|error| error.to_string());
    }
    let age: jiff::Span = text.parse().map_err(|_| {
        format!("{text:?} is no time: write 2026-01-31, 2026-01-31T12:00:00Z, or an age such as 7d")
    })?;
    age.abs()
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .and_then(|age| SystemClock.now().checked_sub(age))
        .map_err(|error| error.to_string())
}

impl Args {
    fn request(&self) -> Result<Request, CliError> {
        let location =
            Location::parse(&self.source, &self.s3.connection()).map_err(CliError::usage)?;
        let bucket = match &self.bucket {
            Some(name) => BucketChoice::Named(name.clone()),
            None => BucketChoice::AfterSource(BucketName::derived_from(&location.suggested_name())),
        };
        let options = self.options();
        Filter::compile(&options.filters).map_err(CliError::usage)?;
        let run = RunOptions {
            max_delete: self.how.max_delete,
            concurrency: self.how.concurrency.map(usize::from),
            full: self.how.full,
            adopt_root: self.how.adopt_root,
        };
        Ok(Request { location, bucket, options, run })
    }

    fn options(&self) -> SyncOptions {
        let which = &self.which;
        SyncOptions {
            filters: FileFilters {
                include_patterns: which.include.clone(),
                exclude_patterns: which.exclude.clone(),
                min_size_bytes: which.min_size.map(|size| size.0),
                max_size_bytes: which.max_size.map(|size| size.0),
                modified_after: which.modified_after,
                modified_before: which.modified_before,
                ..FileFilters::default()
            },
            reconcile: match self.how.no_delete {
                true => Reconcile { on_delete: false, on_filter_drift: false, on_update: true },
                false => Reconcile::default(),
            },
            skip_duplicates: self.how.skip_duplicates,
            follow_symlinks: which.follow_symlinks,
            symlinks_may_leave_root: which.symlinks_may_leave,
        }
    }

    fn mode(&self) -> Mode {
        match (self.json, self.quiet) {
            (true, _) => Mode::Json,
            (false, true) => Mode::Quiet,
            (false, false) => Mode::for_people(),
        }
    }
}

impl S3 {
    fn connection(&self) -> S3Connection {
        S3Connection {
            endpoint_url: self.endpoint_url.clone(),
            region: self.region.clone(),
            profile: self.profile.clone(),
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            anonymous: self.anonymous,
            requester_pays: self.requester_pays,
            addressing: match self.addressing {
                Style::Auto => Addressing::Auto,
                Style::Path => Addressing::Path,
                Style::Virtual => Addressing::VirtualHost,
            },
        }
    }
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let request = args.request()?;
    let stop = stop_on_signals("at the next checkpoint")?;
    if args.how.dry_run {
        return dry_run(&args, &request, settings, &stop).await;
    }
    let started = std::time::Instant::now();
    let (report, left_out) = match settings.engine() {
        Ok(engine) => {
            let progress = Progress::start(args.mode(), request.location.to_string());
            let report = engine.run(&request, progress.observer(), stop).await;
            (report, progress.finish().await)
        }
        // The last line of --json is a summary, come what may.
        Err(error) if args.json => {
            print_summary(&request, None, &Summary::failed(&error), started)?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    if args.json {
        print_summary(&request, Some(&report), &Summary::of(&report), started)?;
    } else if !args.quiet && report.job.is_some() {
        println!("{}", closing_words(&report, &left_out, started.elapsed()));
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

/// The run in a sentence or two.
fn closing_words(report: &Report, left_out: &LeftOut, took: std::time::Duration) -> String {
    let bucket = report.bucket.as_deref().unwrap_or("(no bucket)");
    let mut words =
        format!("{bucket}: {} in {:.1} s", in_words(&report.counts), took.as_secs_f64());
    for (reason, entries) in left_out {
        words.push_str(&format!("\n{} left out: {}", output::count(*entries), reason.describe()));
    }
    if report.counts.failed > 0 {
        words.push_str(&format!(
            "\n{} failed; they are tried again by the next run, `catchment status` lists them",
            output::count(report.counts.failed)
        ));
    }
    if let Some(held) = &report.held {
        words.push_str(&format!(
            "\nheld: {} of {} objects are gone from the source, and were not removed: {}{}\n\
             to remove them, run the same command with --max-delete {}",
            output::count(held.count),
            output::count(held.of),
            held.sample.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", "),
            if held.count > 5 { ", …" } else { "" },
            held.count,
        ));
    }
    words
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

async fn dry_run(
    args: &Args,
    request: &Request,
    settings: &Settings,
    stop: &CancellationToken,
) -> Outcome {
    let started = std::time::Instant::now();
    let store = settings.store()?;
    let tuning = settings.config()?.source_tuning(Arc::new(SystemClock));
    let mut failed = None;
    let report = |path: &EntryPath, verdict: Verdict| {
        if let Err(error) = print_verdict(args, path, &verdict) {
            failed.get_or_insert(error);
        }
    };
    let outcome = match Registry.open(&request.location, &request.options, &tuning).await {
        Ok(source) => preview::preview(store.as_ref(), &*source, request, stop, report).await,
        Err(error) => Err(error.into()),
    };
    if let Some(error) = failed {
        return Err(error);
    }
    let preview = match outcome {
        Ok(preview) => preview,
        Err(error) => {
            let error = CliError::from(error);
            if args.json {
                print_summary(request, None, &Summary::failed(&error), started)?;
            }
            return Err(error);
        }
    };
    if args.json {
        let report = as_report(&preview);
        let summary = Summary { status: "dry_run", error: None };
        print_summary(request, Some(&report), &summary, started)?;
    } else if !args.quiet {
        println!("would be: {}", in_words(&preview.counts));
        if preview.held {
            println!("the removals would be held; --max-delete lets them through");
        }
    }
    Ok(if preview.held { Exit::Held } else { Exit::Done })
}

fn as_report(preview: &Preview) -> Report {
    Report {
        status: engine_status(preview),
        job: None,
        bucket: None,
        counts: preview.counts,
        held: None,
        error: None,
    }
}

fn engine_status(preview: &Preview) -> RunStatus {
    if preview.held { RunStatus::Held } else { RunStatus::Completed }
}

fn print_verdict(args: &Args, path: &EntryPath, verdict: &Verdict) -> Result<(), CliError> {
    if args.quiet {
        return Ok(());
    }
    let (sign, event, reason, size) = match verdict {
        Verdict::Add { size } => ('+', "would_add", "new".to_owned(), Some(*size)),
        Verdict::Update { size } => {
            ('~', "would_update", "changed at the source".to_owned(), Some(*size))
        }
        Verdict::Remove { filtered: true } => {
            ('-', "would_remove", "no longer passes the filters".to_owned(), None)
        }
        Verdict::Remove { filtered: false } => {
            ('-', "would_remove", "gone from the source".to_owned(), None)
        }
        Verdict::Exclude { rule } => ('x', "would_exclude", rule.clone(), None),
        Verdict::Fail { message, .. } => ('!', "would_fail", message.clone(), None),
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        let value = serde_json::json!({
            "event": event,
            "path": path.to_json_text(),
            "path_bytes": path.base64_if_not_utf8(),
            "size": size,
            "reason": reason,
        });
        return output::json_line(&mut out, &value);
    }
    let size = size.map(|size| format!(", {}", output::size(size))).unwrap_or_default();
    writeln!(out, "{sign} {path} ({reason}{size})")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_time_is_an_instant_a_day_or_an_age() {
        assert_eq!(instant("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(
            instant("2026-01-31T12:00:00+02:00").unwrap().to_string(),
            "2026-01-31T10:00:00Z"
        );
        let then = instant("7d").unwrap();
        let week = SystemClock.now().duration_since(then);
        assert_eq!(week.as_hours(), 7 * 24);
        assert!(instant("yesterday-ish").is_err());
    }
}
