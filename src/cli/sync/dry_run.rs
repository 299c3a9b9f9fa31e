//! `catchment sync --dry-run`: what a run would do, and why.

use std::{io::Write as _, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{Args, Summary, existing_sync, in_words, print_summary};
use crate::{
    cli::{Exit, Outcome, Settings, error::CliError, output},
    clock::{Clock as _, SystemClock},
    engine::{
        Report, Request, RunError,
        preview::{self, Bounds, Preview, Question, Verdict},
    },
    model::{EntryPath, RunStatus},
    sources::{Opener as _, Registry, Source},
    store::{Store, syncs::Sync},
};

pub(super) async fn run(
    args: &Args,
    request: &Request,
    settings: &Settings,
    stop: &CancellationToken,
) -> Outcome {
    let started = Instant::now();
    let store = settings.store()?;
    let of_api = match &store {
        Some(store) => existing_sync::find(args, request, store).await?,
        None => None,
    };
    let request = &match &of_api {
        Some(sync) => existing_sync::request(request.clone(), sync),
        None => request.clone(),
    };
    let mut failed = None;
    let report = |path: &EntryPath, verdict: Verdict| {
        if let Err(error) = print_verdict(args, path, &verdict) {
            failed.get_or_insert(error);
        }
    };
    let outcome = match open(request, of_api.as_ref(), settings).await {
        Ok(source) => {
            let question = question(store.as_ref(), request).await?;
            let bounds = Bounds::default();
            let previewed =
                preview::preview(store.as_ref(), &*source, question, bounds, stop, report).await;
            previewed.map_err(CliError::from)
        }
        Err(error) => Err(error),
    };
    if let Some(error) = failed {
        return Err(error);
    }
    let preview = match outcome {
        Ok(preview) => preview,
        Err(error) => {
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
        output::line(&format!("would be: {}", in_words(&preview.counts)));
        if preview.held {
            output::line("the removals would be held; --max-delete allows them");
        }
    }
    Ok(match preview.counts.failed {
        _ if preview.held => Exit::Held,
        0 => Exit::Done,
        _ => Exit::SomeFailed,
    })
}

/// Opens the source, with the credentials that are kept for it.
async fn open(
    request: &Request,
    of_api: Option<&Sync>,
    settings: &Settings,
) -> Result<Arc<dyn Source>, CliError> {
    if let Some(sync) = of_api {
        return Ok(settings.engine()?.open_source(sync).await?);
    }
    if request.connection.is_some() {
        return Ok(settings.engine()?.open_requested(request).await?);
    }
    let tuning = settings.config()?.source_tuning(Arc::new(SystemClock));
    let opened = Registry.open(&request.location, None, &request.options, &tuning).await;
    Ok(opened.map_err(RunError::from)?)
}

/// What the preview is asked: the request, and the sync that it would run, if that is there.
async fn question<'a>(
    store: Option<&Store>,
    request: &'a Request,
) -> Result<Question<'a>, CliError> {
    let known = match store {
        Some(store) => {
            let wanted = request.clone();
            store.read(move |db| wanted.find(db)).await?
        }
        None => None,
    };
    let Request { location, options, run, .. } = request;
    Ok(Question { known, location, options, run, now: SystemClock.now() })
}

fn as_report(preview: &Preview) -> Report {
    Report {
        status: engine_status(preview),
        job: None,
        bucket: None,
        counts: preview.counts,
        held: None,
        next: None,
        nothing_there: false,
        remark: None,
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
        Verdict::Reshape { why } => ('~', "would_update", why.clone(), None),
        Verdict::Rename { from } => ('~', "would_update", format!("was {from}"), None),
        Verdict::Wait => ('!', "would_fail", "failed before, not due to be tried".to_owned(), None),
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
