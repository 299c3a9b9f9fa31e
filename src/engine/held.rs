//! Removals that the removal guard holds until somebody approves or rejects them (`approvals`).

use jiff::Timestamp;
use roaring::RoaringTreemap;
use serde_json::json;

use super::context::Run;
use crate::{
    model::{EntryPath, Phase},
    store::{
        self, StoreError, Transaction,
        commit::Target,
        events::{self, About, EventKind},
        jobs, reconcile,
        syncs::{self, HeldReason, HeldRemovals},
    },
};

/// Removals that wait for a decision.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// What people see of them.
    pub(super) removals: HeldRemovals,
    /// The keys of their entries.
    pub(super) entries: RoaringTreemap,
}

/// How many paths of held removals people are shown.
pub(super) const SAMPLE: usize = 20;

/// Holds every object of a sync, because the root `is` is in the place of its source. What was held
/// for that reason before stays as it is.
pub(super) async fn everything(run: &Run, is: String) -> Result<Held, StoreError> {
    let (sync_key, now, limit) = (run.target.fence.sync_key, run.clock.now(), limit(run));
    run.store
        .read(move |db| {
            let before = syncs::held_removals(db, sync_key)?;
            let held_at = before.as_ref().map_or(now, |held| held.held_at);
            if let Some(removals) = before.filter(|held| held.root.as_ref() == Some(&is)) {
                return Ok(Held { removals, entries: syncs::held_entries(db, sync_key)? });
            }
            let (entries, count, paths) = reconcile::everything(db, sync_key, SAMPLE)?;
            let removals = HeldRemovals {
                reason: HeldReason::SourceReplaced,
                count,
                of: syncs::object_count(db, sync_key)?,
                sample: paths.iter().map(EntryPath::to_json_text).collect(),
                held_at,
                approved_at: None,
                limit,
                root: Some(is),
            };
            Ok(Held { removals, entries })
        })
        .await
}

/// The limit of a run, as it is stored with what it holds.
pub(super) fn limit(run: &Run) -> Option<String> {
    run.options.max_delete.map(|limit| limit.to_string())
}

/// Stores what a complete pass holds; `None` clears what an earlier one held.
pub(super) fn save(
    tx: &Transaction<'_>,
    target: &Target,
    held: Option<&Held>,
    now: Timestamp,
) -> store::Result<()> {
    let sync_key = target.fence.sync_key;
    syncs::hold_removals(tx, sync_key, held.map(|held| (&held.removals, &held.entries)))?;
    let Some(held) = held else { return Ok(()) };
    jobs::enter(tx, target.job_key, Phase::Held, now)?;
    emit_event(tx, About::job(sync_key, target.job_key), "held", &held.removals, now)
}

/// Emits an event that says what happened to held removals.
pub(super) fn emit_event(
    tx: &Transaction<'_>,
    about: About,
    change: &str,
    removals: &HeldRemovals,
    now: Timestamp,
) -> store::Result<()> {
    let detail = json!({
        "change": change,
        "reason": removals.reason,
        "count": removals.count,
        "of": removals.of,
        "sample": removals.sample,
    });
    events::append(tx, EventKind::SyncChanged, about, &detail, now)
}
