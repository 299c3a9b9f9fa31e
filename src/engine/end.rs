//! How a run ends: what is written down of it, and what follows at once.

use jiff::Timestamp;

use super::{
    RunError,
    held::{self, Held},
    reconcile::Settled,
    run::{Passed, Run},
    standing::{self, Ending},
};
use crate::{
    model::{Cause, EntryPath, JobId, JobStatus, RunStatus, Shard, SyncStatus},
    store::{
        self, Transaction, blobs, checkpoints, commit::Target, connections, dead_letters, jobs,
        leases, syncs,
    },
};

impl Run {
    /// Writes down how the run ended, and gives the lease back in the same transaction.
    pub(super) async fn end(&self, outcome: &Result<Passed, RunError>) -> Result<Left, RunError> {
        let (target, now, sync_id) = (self.target, self.clock.now(), self.sync.id.clone());
        let end = End::of(outcome, self.options.full);
        let complete = end.status == JobStatus::Completed && !end.sliced;
        let shards: Vec<Shard> = self.starts.iter().map(|start| start.shard.clone()).collect();
        let left = self.store.write(move |tx| end.write(tx, &target, &shards, now)).await?;
        if complete && left.dead_letters == 0 {
            let blobs = self.blobs.clone();
            let cleared = tokio::task::spawn_blocking(move || blobs.clear_partials(&sync_id)).await;
            if let Ok(Err(error)) = cleared {
                tracing::warn!(%error, "could not clear parts of earlier downloads");
            }
        }
        Ok(left)
    }
}

/// What a run leaves behind.
pub(super) struct Left {
    /// Entries that could not be taken in this pass, by this run or those that it went on from.
    pub(super) dead_letters: u64,
    /// The job that goes on with the pass.
    pub(super) next: Option<JobId>,
    /// Whether bytes may have lost their last reference.
    pub(super) has_orphans: bool,
}

/// What is written down when a run ends.
struct End {
    status: JobStatus,
    error: Option<String>,
    held: Option<Held>,
    run_status: RunStatus,
    stopped: bool,
    blames_connection: bool,
    /// The pass is not complete, but this run's slice of it.
    sliced: bool,
    /// What the pass knows nothing of.
    unlisted: Vec<EntryPath>,
    /// Whether the run fetched every entry again, as its next slice has to.
    full: bool,
    /// What was listed may not be of the source at all.
    wrong_root: bool,
}

impl End {
    fn of(outcome: &Result<Passed, RunError>, full: bool) -> Self {
        let passed = outcome.as_ref().ok();
        let held = match passed.map(|passed| &passed.settled) {
            Some(Settled::Held(held)) => Some(held.clone()),
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
            stopped: matches!(error, Some(RunError::Stopped)),
            blames_connection: error.is_some_and(RunError::blames_connection),
            sliced: passed.is_some_and(|passed| matches!(passed.settled, Settled::Slice)),
            unlisted: passed.map(|passed| passed.unlisted.clone()).unwrap_or_default(),
            full,
            wrong_root: matches!(
                error,
                Some(RunError::RootChanged { .. } | RunError::RootEmptied { .. })
            ),
        }
    }

    /// One transaction: the job, the pass, the connection, the sync, and the lease given back.
    fn write(
        &self,
        tx: &Transaction<'_>,
        target: &Target,
        shards: &[Shard],
        now: Timestamp,
    ) -> store::Result<Left> {
        leases::check(tx, target.fence)?;
        let sync_key = target.fence.sync_key;
        if self.status == JobStatus::Completed && !self.sliced {
            checkpoints::complete(tx, target, shards, now)?;
            held::write(tx, target, self.held.as_ref(), now)?;
            dead_letters::resolve_others(tx, sync_key, target.pass, &self.unlisted, now)?;
        }
        if self.wrong_root {
            // To go on from here would be to take what was not there for removed.
            checkpoints::forget(tx, sync_key)?;
        }
        let left = dead_letters::open_count(tx, sync_key)?;
        jobs::end(tx, target.job_key, self.status, self.error.as_deref(), now)?;
        leases::release(tx, target.fence)?;
        let next = self.settle_sync(tx, target, left, now)?;
        Ok(Left { dead_letters: left, next, has_orphans: blobs::has_orphans(tx)? })
    }

    /// How the sync stands now. Answers the job that goes on at once, if one does.
    fn settle_sync(
        &self,
        tx: &Transaction<'_>,
        target: &Target,
        left: u64,
        now: Timestamp,
    ) -> store::Result<Option<JobId>> {
        let sync_key = target.fence.sync_key;
        let sync = syncs::by_key(tx, sync_key)?;
        match &self.error {
            None => connections::worked(tx, sync.connection_key, now)?,
            Some(why) if self.blames_connection => {
                connections::failed(tx, sync.connection_key, why, now)?;
            }
            Some(_) => {}
        }
        let ending = match &self.error {
            None if self.sliced => Ending::Slice,
            None => Ending::Complete { left },
            Some(why) => Ending::of_error(self.run_status, self.stopped, why),
        };
        let mut standing = standing::after(&sync, ending, now);
        let rests = matches!(standing.status, SyncStatus::Suspended | SyncStatus::Archived);
        let mut next = None;
        if sync.pending_full_sync && !rests {
            next = Some((Cause::Manual, true));
            standing.pending_full_sync = false;
        } else if self.sliced && !rests && sync.is_active {
            next = Some((Cause::Resume, self.full));
            // The job is queued already.
            standing.next_sync_at = None;
        } else if !rests && sync.is_active && requeued_meanwhile(tx, target)? {
            standing.next_sync_at = Some(now);
        }
        let next = next
            .map(|(cause, full)| {
                standing.status = SyncStatus::Queued;
                let id = JobId::generate();
                jobs::queue(tx, sync_key, &id, cause, full, now).map(|_| id)
            })
            .transpose()?;
        syncs::stand(tx, &sync, &standing, now)?;
        Ok(next)
    }
}

/// Whether somebody gave a dead letter another chance after the run had passed by.
fn requeued_meanwhile(tx: &Transaction<'_>, target: &Target) -> store::Result<bool> {
    let job = jobs::by_key(tx, target.job_key)?;
    let since = job.started_at.unwrap_or(job.queued_at);
    dead_letters::awaits_retry(tx, target.fence.sync_key, since)
}
