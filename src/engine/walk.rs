//! Going through the source: is its root the one that it was, and what does it list?

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::{
    RunError,
    run::{Pass, Run},
};
use crate::{
    sources::{RootIdentity, Source},
    store::syncs,
};

/// Makes sure that a source answers, before anything is made for it.
///
/// # Errors
/// The source's: it is not there, may not be read, or cannot be listed.
pub async fn probe(source: &dyn Source) -> Result<(), RunError> {
    source.root().await?;
    source.walk(None).next().await.transpose()?;
    Ok(())
}

/// Looks at the root before the walk. Where the bucket has content of another root, the run fails
/// here, unless it was told to adopt the new one.
pub(super) async fn check_root(run: &Arc<Run>) -> Result<RootIdentity, RunError> {
    let root = run.source.root().await?;
    let (Some(is), Some(was)) = (&root.0, &run.sync.root_identity) else { return Ok(root) };
    if is != was && !run.options.adopt_root && has_entries(run).await? {
        return Err(RunError::RootChanged {
            place: run.sync.location.to_string(),
            was: was.clone(),
            is: is.clone(),
        });
    }
    Ok(root)
}

/// Looks at the root once more after the walk: a mount that went away in between has listed less
/// than there is, and a root that lists nothing proves nothing.
pub(super) async fn check_pass(
    run: &Arc<Run>,
    root: &RootIdentity,
    pass: &Pass,
) -> Result<(), RunError> {
    let now = run.source.root().await?;
    if let (Some(is), Some(was)) = (&now.0, &root.0)
        && is != was
    {
        return Err(RunError::RootChanged {
            place: run.sync.location.to_string(),
            was: was.clone(),
            is: is.clone(),
        });
    }
    if !pass.listed_something && !run.options.adopt_root && has_entries(run).await? {
        return Err(RunError::RootEmptied { place: run.sync.location.to_string() });
    }
    Ok(())
}

async fn has_entries(run: &Arc<Run>) -> Result<bool, RunError> {
    let sync_key = run.target.fence.sync_key;
    Ok(run.store.read(move |db| syncs::has_entries(db, sync_key)).await?)
}
