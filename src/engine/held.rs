//! Removals that the removal guard holds until somebody approves or rejects them (`approvals`).

use jiff::Timestamp;
use roaring::RoaringTreemap;
use serde_json::json;

use crate::{
    model::Phase,
    store::{
        self, Transaction,
        commit::Target,
        events::{self, About, EventKind},
        jobs,
        syncs::{self, HeldRemovals},
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
        "count": removals.count,
        "of": removals.of,
        "sample": removals.sample,
    });
    events::append(tx, EventKind::SyncChanged, about, &detail, now)
}
