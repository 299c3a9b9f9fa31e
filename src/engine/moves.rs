//! Renames: a new entry that is, by all that its source tells, one whose old name is gone.
//!
//! While the walk is under way nothing is proved: the old name may be listed yet. So such entries
//! wait until the pass has seen everything (`commit` keeps the checkpoint before them, so that a
//! killed run meets them again as new ones). Here they are settled: renamed where the old name is
//! proved gone, with their objects and without a byte read; else fetched like any other.

use std::{collections::HashMap, sync::Arc};

use super::{
    RunError,
    plan::{Renamed, Work},
    run::Run,
    shards::PageId,
};
use crate::{
    model::{Counts, EntryPath},
    store::{
        checkpoints::Tally,
        commit::{self, Moved},
        entries,
    },
};

/// Renames in one transaction.
const PAGE: usize = 1000;

/// What became of entries that looked renamed.
pub(super) struct Settled {
    /// The pages of those that were.
    pub(super) pages: Vec<PageId>,
    /// Those that were not, with their pages.
    pub(super) others: Vec<(PageId, Work)>,
    /// What was done.
    pub(super) counts: Counts,
}

/// Renames what `tally`, that of a complete pass, proves renamed.
pub(super) async fn settle(
    run: &Arc<Run>,
    tally: &Tally,
    renamed: Vec<(PageId, Renamed)>,
) -> Result<Settled, RunError> {
    let mut settled = Settled { pages: Vec::new(), others: Vec::new(), counts: Counts::default() };
    let mut gone = gone(run, tally, &renamed).await?;
    let mut moves = Vec::new();
    for (page, Renamed { work, row }) in renamed {
        // One new name takes the old one's place; a second one is a copy.
        if gone.remove(&row).is_none() {
            settled.others.push((page, work));
            continue;
        }
        settled.pages.push(page);
        let Work { id, path, fingerprint, .. } = work;
        moves.push(Moved { entry_key: row, id, path, fingerprint });
    }
    for moves in moves.chunks(PAGE) {
        let (target, now, moves) = (run.target, run.clock.now(), moves.to_vec());
        let counts = run.store.write(move |tx| commit::rename(tx, &target, &moves, now)).await?;
        settled.counts.add(&counts);
    }
    Ok(settled)
}

/// The old names that the pass proves gone: neither listed, nor beneath what could not be.
async fn gone(
    run: &Arc<Run>,
    tally: &Tally,
    renamed: &[(PageId, Renamed)],
) -> Result<HashMap<i64, EntryPath>, RunError> {
    let keys: Vec<i64> = renamed.iter().map(|(_, new)| new.row).collect();
    let target = run.target;
    let mut old = run
        .store
        .read(move |db| entries::not_written(db, target.fence.sync_key, target.pass, &keys))
        .await?;
    let scope = run.scope();
    old.retain(|key, path| tally.proves_gone(*key, path) && scope.covers(path));
    Ok(old)
}
