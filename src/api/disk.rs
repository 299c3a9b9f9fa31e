//! The space that the data uses, and what is left on its disk: the same wherever it is shown.

use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

use super::{App, error::ApiError};
use crate::store::{DATABASE_FILE, blobs};

/// The space that the data uses on its disk.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DiskUse {
    /// What is used in all: the database and the larger blobs beside it, those of the trash too.
    pub used_bytes: u64,
    /// The database, small blobs in it.
    pub database_bytes: u64,
    /// Larger blobs, files beside it.
    pub blob_bytes: u64,
    /// What is left, in bytes.
    pub free_bytes: u64,
    /// What there is in all, in bytes.
    pub total_bytes: u64,
    /// What is kept free: a run that would go below it pauses.
    pub floor_bytes: u64,
}

/// Looks at the disk of the data directory.
pub(super) async fn used(app: &App) -> Result<DiskUse, ApiError> {
    let blobs = app.engine.store.read(blobs::totals).await?;
    let room = app.engine.blobs.disk().map_err(ApiError::internal)?;
    let (database_bytes, blob_bytes) = (database_bytes(&app.config.data_dir), blobs.file_bytes);
    Ok(DiskUse {
        used_bytes: database_bytes + blob_bytes,
        database_bytes,
        blob_bytes,
        free_bytes: room.free,
        total_bytes: room.total,
        floor_bytes: room.floor,
    })
}

/// The database with the files that SQLite keeps beside it.
fn database_bytes(data_dir: &Path) -> u64 {
    ["", "-wal", "-shm"]
        .iter()
        .filter_map(|end| data_dir.join(format!("{DATABASE_FILE}{end}")).metadata().ok())
        .map(|file| file.len())
        .sum()
}
