//! Renames: a new entry that is, by all that its source tells, one whose old name is gone.
//!
//! While the walk is under way nothing is proved: the old name may be listed yet. So such entries
//! wait until the pass has seen everything (`commit` keeps the checkpoint before them, so that a
//! killed run meets them again as new ones). Here they are settled: where the old name is proved
//! gone, the entry and its object get the new one, without a byte read; the others are fetched like
//! any other.

use std::{collections::HashMap, sync::Arc};

use super::{
    RunError,
    plan::{Renamed, Task, Work},
    run::Run,
    shards::PageId,
};
use crate::{
    model::EntryPath,
    store::{checkpoints::Tally, entries},
};

/// What is to be done about entries that looked renamed, by what `tally`, that of a complete pass,
/// proves.
pub(super) async fn settle(
    run: &Arc<Run>,
    tally: &Tally,
    renamed: Vec<(PageId, Renamed)>,
) -> Result<Vec<(PageId, Work)>, RunError> {
    let mut gone = gone(run, tally, &renamed).await?;
    let settle = |(page, Renamed { work, row }): (PageId, Renamed)| {
        // One new name takes the old one's place; a second one is a copy.
        let task = gone.remove(&row).map_or(work.task, |_| Task::Rename { row });
        (page, Work { task, ..work })
    };
    Ok(renamed.into_iter().map(settle).collect())
}

/// The old names that the pass proves gone: neither listed, nor beneath what could not be.
async fn gone(
    run: &Arc<Run>,
    tally: &Tally,
    renamed: &[(PageId, Renamed)],
) -> Result<HashMap<i64, EntryPath>, RunError> {
    let keys: Vec<i64> = renamed.iter().map(|(_, new)| new.row).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let target = run.target;
    let mut old = run
        .store
        .read(move |db| entries::not_written(db, target.fence.sync_key, target.pass, &keys))
        .await?;
    let scope = run.scope();
    old.retain(|key, path| tally.proves_gone(*key, path) && scope.covers(path));
    Ok(old)
}
