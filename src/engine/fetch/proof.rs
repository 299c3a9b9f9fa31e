//! Whether a rename is proved. A source may know files by tags that it assumes to be hashes of
//! their content, and some servers' tags are none: before stored bytes are believed to be those of
//! a file under another name, a few of them are compared with what the tags say.

use std::{
    io::Read as _,
    sync::{Arc, atomic::Ordering},
};

use super::{FetchError, checks::Checks, on_blocking_thread};
use crate::{
    blobs::{BlobError, Blobs, Damage},
    engine::{context::Run, plan::Action},
    model::ExpectedHash,
    store::{Store, blobs, entries},
};

/// So many tags that are hashes prove the others.
const ENOUGH: u32 = 16;

/// Larger blobs are not read for it, once one tag is proved.
const LARGE: u64 = 256 * 1024 * 1024;

/// Whether the entry of `row`, whose bytes are stored, is this one under another name.
pub(super) async fn is_proved(
    run: &Arc<Run>,
    action: &Action,
    row: i64,
) -> Result<bool, FetchError> {
    let Some(hash) = run.source.identity_hash(&action.fingerprint) else { return Ok(true) };
    if run.tags.are_no_hashes.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let proved = run.tags.proved.load(Ordering::Relaxed);
    if proved >= ENOUGH || (proved > 0 && action.fingerprint.size > LARGE) {
        return Ok(true);
    }
    let (store, files) = (run.store.clone(), run.blobs.clone());
    match on_blocking_thread(move || has_hash(&store, &files, row, hash)).await? {
        Some(true) => drop(run.tags.proved.fetch_add(1, Ordering::Relaxed)),
        Some(false) => run.tags.are_no_hashes.store(true, Ordering::Relaxed),
        None => return Ok(false),
    }
    Ok(!run.tags.are_no_hashes.load(Ordering::Relaxed))
}

/// Whether the stored bytes of an entry have that hash; `None` where they cannot be read.
fn has_hash(
    store: &Store,
    files: &Blobs,
    row: i64,
    expected: ExpectedHash,
) -> Result<Option<bool>, FetchError> {
    let found = store.read_blocking(|db| {
        let Some(hash) = entries::content_hash(db, row)? else { return Ok(None) };
        Ok(blobs::locate(db, &hash)?.map(|place| (hash, place)))
    })?;
    let Some((hash, place)) = found else { return Ok(None) };
    let mut reader = match files.read(&hash, place, None) {
        Ok(reader) => reader,
        Err(BlobError::Damaged(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut checks = Checks::new(&[expected]);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(Some(checks.finish().is_ok())),
            Ok(read) => checks.update(&buffer[..read]),
            Err(error) if Damage::of(&error).is_some() => return Ok(None),
            Err(error) => return Err(BlobError::Io { path: files.path(&hash), error }.into()),
        }
    }
}
