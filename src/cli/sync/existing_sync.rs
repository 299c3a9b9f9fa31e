//! A sync from the same place into the same bucket that was created through the API: `catchment
//! sync` runs that one with its own settings, and does not create a second one.

use super::{Args, args::Changed};
use crate::{
    cli::error::CliError,
    engine::{Request, RunOptions},
    store::{
        Store,
        syncs::{MadeBy, Sync},
    },
};

/// The sync that was created through the API for what `request` describes, if there is one.
///
/// # Errors
/// When it is paused, or an argument would change its settings.
pub(super) async fn find(
    args: &Args,
    request: &Request,
    store: &Store,
) -> Result<Option<Sync>, CliError> {
    let wanted = request.clone();
    let found = store.read(move |db| wanted.find(db)).await?;
    let Some(sync) = found.filter(|found| found.made_by == MadeBy::Api) else { return Ok(None) };
    if sync.rests() {
        return Err(CliError::failed(paused(&sync)));
    }
    let changed = args.changes(request, &sync);
    if changed.is_empty() { Ok(Some(sync)) } else { Err(CliError::usage(refusal(&sync, &changed))) }
}

/// A request for that sync: its own settings, except for those of this one run.
pub(super) fn request(request: Request, sync: &Sync) -> Request {
    let Request { bucket, connection, run, .. } = request;
    let pace = &sync.options.pace;
    let concurrency = pace.sync_concurrency.and_then(|number| usize::try_from(number).ok());
    let run = RunOptions {
        max_delete: run.max_delete.or(sync.options.max_delete),
        concurrency: run.concurrency.or(concurrency),
        ..run
    };
    let (location, options) = (sync.location.clone(), sync.options.clone());
    Request { location, connection, bucket, options, run }
}

fn paused(Sync { id, bucket, pause, .. }: &Sync) -> String {
    let why = pause.as_ref().and_then(|pause| pause.reason.as_deref());
    let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!(
        "bucket {bucket:?} is synced from there by {id}, which is paused or switched off{why}: \
         resume it in the interface or with POST /v1/buckets/{bucket}/syncs/{id}/resume, then run \
         this again"
    )
}

fn refusal(Sync { id, bucket, .. }: &Sync, changed: &[Changed]) -> String {
    let (them, flags) = (if changed.len() == 1 { "it" } else { "them" }, changed.join(", "));
    format!(
        "{flags} would change the settings of {id}, which was created in the interface or through the \
         API and syncs into bucket {bucket:?} from there: leave {them} out, change the sync there \
         (PATCH /v1/buckets/{bucket}/syncs/{id}), or name another --bucket"
    )
}
