//! `catchment ls`: the buckets, or what is in one.

use std::{
    ffi::OsString,
    io::{BufWriter, Write as _},
    os::unix::ffi::OsStrExt as _,
};

use super::{Exit, Outcome, Settings, bucket, error::CliError, output};
use crate::{
    model::EntryPath,
    store::{
        Store, buckets,
        objects::{self, After, Object},
    },
};

/// Arguments of `catchment ls`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment ls                     the buckets
  catchment ls photos              everything in one
  catchment ls photos/2026/        what begins with a prefix
  catchment ls photos --json       one JSON object a line")]
pub(super) struct Args {
    /// BUCKET or BUCKET/PREFIX, split at the first slash
    #[arg(value_name = "BUCKET[/PREFIX]")]
    place: Option<OsString>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Splits `BUCKET/REST` at the first slash; the rest are exact bytes.
pub(super) fn split(place: &OsString) -> Result<(&str, Option<EntryPath>), CliError> {
    let mut parts = place.as_bytes().splitn(2, |byte| *byte == b'/');
    let bucket = parts.next().unwrap_or_default();
    let bucket = str::from_utf8(bucket).map_err(|_| {
        CliError::usage(format_args!("{place:?} does not begin with the name of a bucket"))
    })?;
    Ok((bucket, parts.next().map(EntryPath::new)))
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let store = settings.store()?;
    match (&args.place, store) {
        (None, None) => Ok(Exit::Done),
        (None, Some(store)) => list_buckets(&store, args.json).await,
        (Some(_), None) => Err(CliError::NothingHere { data_dir: settings.config()?.data_dir }),
        (Some(place), Some(store)) => {
            let (name, prefix) = split(place)?;
            let bucket = bucket(&store, name).await?;
            list_objects(&store, bucket.key, prefix, args.json).await
        }
    }
}

async fn list_buckets(store: &Store, json: bool) -> Outcome {
    let buckets = store.read(buckets::all).await?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for bucket in buckets {
        if json {
            let value = serde_json::json!({
                "bucket": bucket.name,
                "bucket_id": bucket.id,
                "objects": bucket.object_count,
                "bytes": bucket.object_bytes,
                "created_at": bucket.created_at,
            });
            output::json_line(&mut out, &value)?;
        } else {
            let (objects, size) =
                (output::count(bucket.object_count), output::size(bucket.object_bytes));
            let noun = if bucket.object_count == 1 { "object " } else { "objects" };
            writeln!(out, "{objects:>12} {noun}  {size:>10}  {}", bucket.name)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

async fn list_objects(
    store: &Store,
    bucket_key: i64,
    prefix: Option<EntryPath>,
    json: bool,
) -> Outcome {
    let mut pages = Pages::new(bucket_key, prefix);
    while let Some(page) = pages.next(store).await? {
        let mut out = BufWriter::new(std::io::stdout().lock());
        for object in &page {
            if json {
                output::json_line(&mut out, &output::JsonObject::from(object))?;
            } else {
                let modified = object
                    .modified
                    .map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
                let size = output::size(object.size);
                writeln!(out, "{size:>10}  {modified:19}  {}", object.path)?;
            }
        }
        out.flush()?;
    }
    Ok(Exit::Done)
}

/// The objects of a bucket under a prefix, a page at a time, so that a large bucket neither fills
/// the memory nor keeps a snapshot open.
pub(super) struct Pages {
    bucket_key: i64,
    prefix: Vec<u8>,
    after: After,
}

impl Pages {
    const SIZE: u32 = 1000;

    pub(super) fn new(bucket_key: i64, prefix: Option<EntryPath>) -> Self {
        let prefix = prefix.map(|prefix| prefix.as_bytes().to_vec()).unwrap_or_default();
        Self { bucket_key, prefix, after: After::default() }
    }

    /// The next page; `None` behind the last.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<Object>>, CliError> {
        let (bucket_key, prefix, after) =
            (self.bucket_key, self.prefix.clone(), self.after.clone());
        let page = store
            .read(move |db| objects::page(db, bucket_key, &prefix, &after, Self::SIZE))
            .await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = After::object(last);
        Ok(Some(page))
    }
}
