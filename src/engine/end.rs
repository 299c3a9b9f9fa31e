//! How a run ends: what is recorded of it, and what follows immediately.

use jiff::Timestamp;

use super::{
    RunError,
    context::{PassKind, Run},
    held::{self, Held},
    sync_state::{self, Ending},
};
use crate::{
    model::{
        Cause, EntryPath, JobId, JobStatus, NOTHING_THERE_YET, Notice, RunStatus, Shard, Sweep,
        SyncStatus,
    },
    sources,
    store::{
        self, Transaction, blobs,
        checkpoints::{self, Basis},
        commit::Target,
        connections::{self, ConnectionFailure},
        dead_letters, feeds, folders, jobs, leases,
        processing::to_batch,
        syncs,
    },
};

/// How a pass, or a slice of it, came out.
#[derive(Debug)]
pub(super) struct Passed {
    /// What became of the entries that it did not find.
    pub(super) outcome: PassOutcome,
    /// Prefixes that it could not list: it knows nothing of what is below them.
    pub(super) unlisted: Vec<EntryPath>,
}

/// What became of the entries that a pass did not find.
#[derive(Debug)]
pub(super) enum PassOutcome {
    /// The pass is complete: the bucket equals the source.
    Complete,
    /// The pass is complete, and some removals wait for a decision.
    Held(Held),
    /// Another root is in the place of the source: nothing was listed, and all objects wait for a
    /// decision.
    Replaced(Held),
    /// The pass continues in another run; nothing is decided yet.
    Slice,
}

/// What a run leaves behind.
pub(super) struct Aftermath {
    /// Open dead letters of the sync.
    pub(super) dead_letters: u64,
    /// The job that continues the pass.
    pub(super) next_job: Option<JobId>,
    /// Whether bytes may have lost their last reference.
    pub(super) has_orphans: bool,
    /// Whether the source has never had an entry.
    pub(super) nothing_there: bool,
}

impl Run {
    /// What it has asked of its provider, as JSON.
    fn details(&self) -> String {
        let usage = self.source.usage();
        let pass = match self.kind {
            PassKind::Full => "full",
            PassKind::Changes => "changes",
        };
        let mut details = serde_json::json!({
            "pass": pass,
            "requests": usage.requests,
            "throttled_seconds": usage.throttled.as_secs_f64(),
            "rate_limit_hits": usage.rate_limit_hits,
        });
        if let Some((name, time)) = usage.paid {
            details[name] = time.as_secs_f64().into();
        }
        details.to_string()
    }

    /// Records how the run ended, and releases the lease in the same transaction.
    pub(super) async fn end(
        &self,
        outcome: &Result<Passed, RunError>,
    ) -> Result<Aftermath, RunError> {
        let (target, now, sync_id) = (self.target, self.clock.now(), self.sync.id.clone());
        let end = EndOfRun {
            kind: self.kind,
            details: self.details(),
            remark: self.source.remark(),
            basis: self.has_order().then(|| self.basis.clone()),
            ..EndOfRun::new(outcome, self.options.full)
        };
        let is_complete = end.is_complete;
        let shards: Vec<Shard> = self.starts.iter().map(|start| start.shard.clone()).collect();
        let after = self.store.write(move |tx| end.write(tx, &target, &shards, now)).await?;
        if is_complete && after.dead_letters == 0 {
            let blobs = self.blobs.clone();
            let cleared = tokio::task::spawn_blocking(move || blobs.clear_partials(&sync_id)).await;
            if let Ok(Err(error)) = cleared {
                tracing::warn!(%error, "could not clear parts of earlier downloads");
            }
        }
        Ok(after)
    }
}

/// What is recorded when a run ends.
struct EndOfRun {
    status: JobStatus,
    error: Option<String>,
    held: Option<Held>,
    run_status: RunStatus,
    was_stopped: bool,
    of_connection: Option<ConnectionFailure>,
    /// Whether the whole source was listed, and all of it is settled or waits for a decision.
    is_complete: bool,
    /// Not the pass is complete, but this run's slice of it.
    is_slice: bool,
    /// Prefixes that the pass could not list.
    unlisted: Vec<EntryPath>,
    /// Whether the run was a full one, as its next slice is.
    full: bool,
    /// Whether what was listed may not be the source at all.
    is_wrong_root: bool,
    kind: PassKind,
    /// What a complete full pass is valid for, where changes passes follow it.
    basis: Option<Basis>,
    held_until: Option<Timestamp>,
    /// What the run has asked of its provider, as JSON.
    details: String,
    /// What its source remarks on how it is listed.
    remark: Option<String>,
}

impl EndOfRun {
    fn new(outcome: &Result<Passed, RunError>, full: bool) -> Self {
        let passed = outcome.as_ref().ok();
        let held = match passed.map(|passed| &passed.outcome) {
            Some(PassOutcome::Held(held) | PassOutcome::Replaced(held)) => Some(held.clone()),
            _ => None,
        };
        let error = outcome.as_ref().err();
        let run_status = error.map_or(RunStatus::Completed, RunError::status);
        Self {
            status: match run_status {
                RunStatus::Interrupted => JobStatus::Interrupted,
                RunStatus::Failed => JobStatus::Failed,
                _ => JobStatus::Completed,
            },
            error: error.map(ToString::to_string),
            held,
            run_status,
            was_stopped: matches!(error, Some(RunError::Stopped)),
            of_connection: error.and_then(RunError::of_connection),
            is_complete: passed.is_some_and(|passed| {
                matches!(passed.outcome, PassOutcome::Complete | PassOutcome::Held(_))
            }),
            is_slice: passed.is_some_and(|passed| matches!(passed.outcome, PassOutcome::Slice)),
            unlisted: passed.map(|passed| passed.unlisted.clone()).unwrap_or_default(),
            full,
            is_wrong_root: matches!(error, Some(RunError::RootChanged { .. }))
                || passed.is_some_and(|passed| matches!(passed.outcome, PassOutcome::Replaced(_))),
            kind: PassKind::Full,
            basis: None,
            held_until: error.and_then(RunError::held_until),
            details: String::new(),
            remark: None,
        }
    }

    /// One transaction: the job, the pass, the connection, the sync, and the lease.
    fn write(
        &self,
        tx: &Transaction<'_>,
        target: &Target,
        shards: &[Shard],
        now: Timestamp,
    ) -> store::Result<Aftermath> {
        leases::check(tx, target.fence)?;
        let sync_key = target.fence.sync_key;
        if self.is_complete || self.held.is_some() {
            held::save(tx, target, self.held.as_ref(), now)?;
        }
        if self.is_complete {
            checkpoints::complete(tx, target, shards, now)?;
            syncs::pass_completed(tx, sync_key, self.kind == PassKind::Full)?;
            syncs::set_full_since(tx, sync_key, None)?;
            syncs::refuse_root(tx, sync_key, None)?;
            if self.kind == PassKind::Full {
                syncs::set_notice(tx, sync_key, Notice::ListedInFull, self.remark.as_deref())?;
                dead_letters::resolve_others(tx, sync_key, target.pass, &self.unlisted, now)?;
                if let Some(basis) = &self.basis {
                    feeds::complete_full_pass(tx, target, basis, now)?;
                    folders::delete_unlisted(tx, target)?;
                }
            }
        }
        if self.is_wrong_root {
            // Continuing from here would remove entries that were never listed.
            checkpoints::reset(tx, sync_key)?;
            feeds::invalidate(tx, sync_key)?;
        }
        let dead_letters = dead_letters::open_count(tx, sync_key)?;
        jobs::set_details(tx, target.job_key, &self.details)?;
        jobs::end(tx, target.job_key, self.status, self.error.as_deref(), now)?;
        if to_batch::is_wanted(tx, target.bucket_key)? {
            to_batch::make_batches(tx, &syncs::by_key(tx, sync_key)?, true, now)?;
        }
        // Asked for, a stop is not continued at once.
        let at_once = self.was_stopped && !leases::is_to_stop(tx, target.fence)?;
        leases::release(tx, target.fence)?;
        syncs::survived(tx, sync_key)?;
        let nothing_there = self.note_nothing_there(tx, sync_key)?;
        let next_job = self.update_sync(tx, target, dead_letters, at_once, now)?;
        let has_orphans = blobs::has_orphans(tx)?;
        Ok(Aftermath { dead_letters, next_job, has_orphans, nothing_there })
    }

    /// Notes whether the source has never had an entry, which is no emptied source.
    fn note_nothing_there(&self, tx: &Transaction<'_>, sync_key: i64) -> store::Result<bool> {
        let listed = syncs::by_key(tx, sync_key)?.totals.counts.discovered();
        if listed == 0 && !self.is_complete {
            return Ok(false);
        }
        let message = (listed == 0).then_some(NOTHING_THERE_YET);
        syncs::set_notice(tx, sync_key, Notice::NothingThereYet, message)?;
        Ok(listed == 0)
    }

    /// Updates the state of the sync and its connection. Returns the job that follows at once, if
    /// there is one.
    fn update_sync(
        &self,
        tx: &Transaction<'_>,
        target: &Target,
        dead_letters: u64,
        at_once: bool,
        now: Timestamp,
    ) -> store::Result<Option<JobId>> {
        let sync_key = target.fence.sync_key;
        let sync = syncs::by_key(tx, sync_key)?;
        let waits = self.held_until.and(self.error.as_deref());
        syncs::set_notice(tx, sync_key, Notice::WaitingForProvider, waits)?;
        if self.error.is_none() {
            connections::worked(tx, sync.connection_key, now)?;
        }
        let ending = match &self.error {
            None if self.is_slice => Ending::Slice,
            None if !self.is_complete => Ending::Waiting { dead_letters },
            None => Ending::Complete { dead_letters },
            Some(_) if self.held_until.is_some() => {
                Ending::Held { until: self.held_until.unwrap_or(now) }
            }
            Some(why) => Ending::of_error(self.run_status, at_once, why),
        };
        let mut state = sync_state::after(&sync, ending, now);
        let may_run = !matches!(state.status, SyncStatus::Suspended | SyncStatus::Archived);
        let mut next = None;
        if sync.pending_full_sync && may_run {
            next = Some((Cause::FullSync, Sweep::of(true, sync.pending_refetch)));
            state.pending_full_sync = false;
            state.pending_refetch = false;
        } else if self.is_slice && may_run && sync.is_active {
            next = Some((Cause::Slice, Sweep::of(self.full, false)));
            // The job is queued already.
            state.next_sync_at = None;
        } else if may_run
            && sync.is_active
            && (self.is_outdated(tx, sync_key)? || requeued_meanwhile(tx, target)?)
        {
            state.next_sync_at = Some(now);
        }
        let next = next
            .map(|(cause, sweep)| {
                state.status = SyncStatus::Queued;
                let id = JobId::generate();
                jobs::queue(tx, sync_key, &id, cause, sweep, now).map(|_| id)
            })
            .transpose()?;
        syncs::set_state(tx, &sync, &state, now)?;
        if let (Some(why), Some(how)) = (&self.error, self.of_connection)
            && sources::is_configurable(&sync.location.connection.provider)
        {
            connections::failed(tx, sync.connection_key, how, why, now)?;
        }
        Ok(next)
    }

    /// Whether entries have moved with their folders that rules have judged by their old paths.
    fn is_outdated(&self, tx: &Transaction<'_>, sync_key: i64) -> store::Result<bool> {
        Ok(self.error.is_none() && feeds::needs_full_pass(tx, sync_key)?)
    }
}

/// Whether somebody requeued a dead letter after the run had passed its entry.
fn requeued_meanwhile(tx: &Transaction<'_>, target: &Target) -> store::Result<bool> {
    let job = jobs::by_key(tx, target.job_key)?;
    let since = job.started_at.unwrap_or(job.queued_at);
    dead_letters::awaits_retry(tx, target.fence.sync_key, since)
}
