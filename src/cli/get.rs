//! `catchment get`: one object, to stdout or into a file.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Exit, Outcome, Settings, bucket, error::CliError, ls};
use crate::{
    blobs::{BlobError, Damage, Reader, Window},
    engine::verify,
    store::{blobs, objects},
};

/// Arguments of `catchment get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  catchment get photos/2026/a.jpg > a.jpg
  catchment get photos/2026/a.jpg -o a.jpg
  catchment get footage/reel.mov --range 0-1048575    the first MiB
  catchment get footage/reel.mov --range -4096        the last 4 KiB")]
pub(super) struct Args {
    /// BUCKET/PATH, split at the first slash; the rest is the exact path
    #[arg(value_name = "BUCKET/PATH")]
    place: OsString,

    /// Write to this file; it appears once it is complete
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Only these bytes, first and last: 0-99, 100-, or -100 for the last hundred
    #[arg(long, value_name = "FIRST-LAST", allow_hyphen_values = true)]
    range: Option<Range>,
}

/// A range as it was typed, before the size is known.
#[derive(Clone, Copy, Debug)]
enum Range {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a range: write 0-99, 100- or -100");
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        match (first, last) {
            ("", last) => last.parse().map(Range::Last).map_err(|_| wrong()),
            (first, "") => {
                first.parse().map(|first| Range::From { first, last: None }).map_err(|_| wrong())
            }
            (first, last) => {
                let first = first.parse().map_err(|_| wrong())?;
                let last = last.parse().map_err(|_| wrong())?;
                if last < first {
                    return Err(format!("{text:?} ends before it begins"));
                }
                Ok(Range::From { first, last: Some(last) })
            }
        }
    }
}

impl Range {
    /// The part of `size` bytes that this means; `None` where it begins after the end.
    fn clip(self, size: u64) -> Option<Window> {
        let (start, end) = match self {
            Self::From { first, last } => {
                (first, last.map_or(size, |last| last.saturating_add(1).min(size)))
            }
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < size || (size == 0 && start == 0))
            .then_some(Window { start, len: end.saturating_sub(start) })
    }
}

pub(super) async fn run(args: Args, settings: &Settings) -> Outcome {
    let engine = settings.reading_engine()?;
    let (name, path) = ls::split(&args.place)?;
    let path = path.ok_or_else(|| {
        CliError::usage(format_args!("{:?} does not name an object: write BUCKET/PATH", args.place))
    })?;
    let bucket = bucket(&engine.store, name).await?;
    let wanted = path.clone();
    let object = engine
        .store
        .read(move |db| objects::by_path(db, bucket.key, &wanted))
        .await?
        .ok_or(CliError::NoSuchObject { bucket: bucket.name, path })?;
    let window = match args.range {
        None => None,
        Some(range) => Some(range.clip(object.size).ok_or_else(|| {
            CliError::usage(format_args!("the object has only {} bytes", object.size))
        })?),
    };
    let place = engine
        .store
        .read(move |db| blobs::locate(db, &object.hash))
        .await?
        .ok_or_else(|| CliError::failed("the object was removed just now"))?;
    let damage = match engine.blobs.read(&object.hash, place, window) {
        Ok(reader) => match write(reader, args.output.as_deref()) {
            Ok(()) => return Ok(Exit::Done),
            Err(Unwritten::Damaged(damage)) => damage,
            Err(Unwritten::Other(error)) => return Err(error),
        },
        Err(BlobError::Damaged(damage)) => damage,
        Err(error) => return Err(error.into()),
    };
    verify::report_damage(&engine.store, &damage).await;
    Err(CliError::Damaged { bucket: name.to_owned(), path: object.path, damage })
}

/// Why the bytes did not reach their end.
enum Unwritten {
    Damaged(Damage),
    Other(CliError),
}

fn write(reader: Reader, output: Option<&Path>) -> Result<(), Unwritten> {
    let file = output.filter(|path| *path != Path::new("-"));
    let written = match file {
        Some(path) => to_file(reader, path),
        None => to_stdout(reader),
    };
    written.map_err(|error| match (Damage::of(&error), file) {
        (Some(damage), _) => Unwritten::Damaged(damage.clone()),
        (None, Some(path)) => Unwritten::Other(CliError::File { path: path.to_owned(), error }),
        (None, None) => Unwritten::Other(error.into()),
    })
}

fn to_stdout(mut reader: Reader) -> io::Result<()> {
    let mut out = io::stdout().lock();
    pump(&mut reader, &mut out)?;
    out.flush()
}

/// Writes beside the target and renames, so that the target is never half of something.
fn to_file(mut reader: Reader, path: &Path) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", ulid::Ulid::generate()));
    let written = File::create_new(&partial)
        .and_then(|mut file| {
            pump(&mut reader, &mut file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

fn pump(reader: &mut impl Read, writer: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            read => writer.write_all(&buffer[..read])?,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn clip(text: &str, size: u64) -> Option<(u64, u64)> {
        text.parse::<Range>().unwrap().clip(size).map(|window| (window.start, window.len))
    }

    #[test]
    fn a_range_is_clipped_to_the_object() {
        assert_eq!(clip("0-99", 10), Some((0, 10)));
        assert_eq!(clip("5-", 10), Some((5, 5)));
        assert_eq!(clip("-3", 10), Some((7, 3)));
        assert_eq!(clip("-30", 10), Some((0, 10)));
        assert_eq!(clip("9-9", 10), Some((9, 1)));
        assert_eq!(clip("10-", 10), None);
        assert_eq!(clip("0-", 0), Some((0, 0)));
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for wrong in ["", "5", "9-3", "a-b", "-", "--3"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
