//! Bytes on their way in: hashed as they pass, never whole in memory unless they are few.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::{
    api::{content::links::hex, error::ApiError, objects::create::disk},
    blobs::{Blobs, INLINE_MAX, Stage},
    model::BlobHash,
    store::commit::Stored,
};

/// Bytes that are gathered before they are handed to a blocking thread.
const BUFFER: usize = 1024 * 1024;

/// The most bytes that one upload may have.
const MAX_BYTES: u64 = 1 << 40;

/// Bytes that have come.
pub(super) struct Received {
    /// Where they are.
    pub(super) stored: Stored,
    /// Their SHA-256, in hex.
    pub(super) sha256: String,
}

/// Takes the body of a request. `expected` is how many bytes there are to be, if that is known.
pub(super) async fn receive(
    blobs: &Blobs,
    body: Body,
    expected: Option<u64>,
) -> Result<Received, ApiError> {
    let mut stream = body.into_data_stream();
    let mut sha256 = Sha256::new();
    let first = gather(&mut stream, &mut sha256, INLINE_MAX as usize + 1).await?;
    if first.len() as u64 <= INLINE_MAX {
        check(first.len() as u64, expected)?;
        let stored =
            Stored { hash: BlobHash::of(&first), size: first.len() as u64, inline: Some(first) };
        return Ok(Received { stored, sha256: hex(&sha256.finalize()) });
    }
    bound(first.len() as u64, expected)?;
    let room = blobs.reserve(expected.unwrap_or(0)).map_err(disk)?;
    let blobs = blobs.clone();
    let mut stage = blocking(move || {
        let mut stage = blobs.stage()?;
        stage.write(&first)?;
        Ok(stage)
    })
    .await?;
    loop {
        let chunk = gather(&mut stream, &mut sha256, BUFFER).await?;
        if chunk.is_empty() {
            break;
        }
        bound(stage.size() + chunk.len() as u64, expected)?;
        stage = write(stage, chunk).await?;
    }
    let size = stage.size();
    check(size, expected)?;
    let hash = blocking(move || stage.finish()).await?;
    drop(room);
    let stored = Stored { hash, size, inline: None };
    Ok(Received { stored, sha256: hex(&sha256.finalize()) })
}

async fn write(mut stage: Stage, chunk: Bytes) -> Result<Stage, ApiError> {
    blocking(move || {
        stage.write(&chunk)?;
        Ok(stage)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::blobs::BlobError> + Send + 'static,
) -> Result<T, ApiError> {
    spawn_blocking(work).await.map_err(ApiError::internal)?.map_err(disk)
}

/// Bytes that are too many are not waited for.
fn bound(size: u64, expected: Option<u64>) -> Result<(), ApiError> {
    if size <= expected.unwrap_or(MAX_BYTES) {
        return Ok(());
    }
    Err(ApiError::too_large(match expected {
        Some(expected) => format!("more than the {expected} bytes that were announced came"),
        None => format!("an upload has {MAX_BYTES} bytes at most"),
    }))
}

fn check(size: u64, expected: Option<u64>) -> Result<(), ApiError> {
    match expected {
        Some(expected) if expected != size => {
            Err(ApiError::malformed(format!("{expected} bytes were announced and {size} came"))
                .code("wrong_size"))
        }
        _ => Ok(()),
    }
}

/// The next bytes: at least `enough`, unless the body ends.
async fn gather(
    stream: &mut BodyDataStream,
    sha256: &mut Sha256,
    enough: usize,
) -> Result<Bytes, ApiError> {
    let mut gathered = BytesMut::new();
    while gathered.len() < enough {
        match stream.next().await {
            None => break,
            Some(Ok(bytes)) => {
                sha256.update(&bytes);
                gathered.extend_from_slice(&bytes);
            }
            Some(Err(_)) => return Err(ApiError::malformed("the bytes broke off")),
        }
    }
    Ok(gathered.freeze())
}
