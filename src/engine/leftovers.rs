//! What processes that were killed have left in the data directory, and a later one removes: keys
//! that sealed nothing, and files that were about to replace others. Their writes in progress go
//! when the directory is opened (`Engine::open`), abandoned downloads with `collect`.

use std::{fs, path::Path, time::Duration};

use super::Engine;

/// A file that was to replace another one and is older than this never will.
const DRAFT_AGE: Duration = Duration::from_secs(60 * 60);

/// Removes it. Best effort: what cannot be removed is in nobody's way.
pub async fn clear(engine: &Engine) {
    if let Err(error) = engine.vault.remove_unneeded().await {
        tracing::warn!(%error, "a key that nothing needs could not be removed");
    }
    let data_dir = engine.data_dir().to_owned();
    let cleared = tokio::task::spawn_blocking(move || clear_drafts(&data_dir)).await;
    if let Ok(Err(error)) = cleared {
        tracing::debug!(%error, "could not look for unfinished files");
    }
}

/// Names of drafts end in `.new`, or in `.new-` and the id of the process that writes it.
fn is_draft(name: &str) -> bool {
    let is_number = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    name.ends_with(".new") || name.rsplit_once(".new-").is_some_and(|(_, id)| is_number(id))
}

fn clear_drafts(data_dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(data_dir)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        let age = facts.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        let is_old = facts.is_file() && age >= DRAFT_AGE;
        if is_old && entry.file_name().to_str().is_some_and(is_draft) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
