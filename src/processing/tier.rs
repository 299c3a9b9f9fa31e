//! One tier of a batch: its members page by page, each decided about in each of the tier's
//! collections, handed out, and settled with its documents in one transaction.
//!
//! There is no cursor: a tier that is begun again goes through its members again, and the ledger
//! says what is settled.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    context::Context,
    extract::{Class, Failure},
    plan::{self, Rules, Run, Taking, Verdict},
    work::{self, Made, Through},
};
use crate::{
    model::BatchStatus,
    store::{
        Connection, StoreError, Transaction,
        buckets::Bucket,
        events::{self, About, EventKind},
        processing::{
            batches::{self, Batch},
            collections::{self, Upstream},
            documents,
            members::{self, Member},
            outcomes::{self, Failed},
            tasks::{self, Counts, Task},
        },
    },
};

/// Members that are decided about, and tried, in one go.
const PAGE: u32 = 64;
/// How often it is checked whether what is extracted is still wanted.
const LOOK: Duration = Duration::from_millis(500);
/// Documents that one transaction writes at most, but for those of one object.
const DOCUMENTS: usize = 256;
/// Tries of an object whose failure may pass, and of one that took too much.
const TRIES: u32 = 4;
const TRIES_OF_RESOURCE: u32 = 2;
/// Seconds before the second, third and fourth try.
const WAITS: [u64; 3] = [1, 10, 60];

/// Why a tier did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// The batch was stopped, or its record removed.
    #[error("the batch is not wanted any more")]
    Unwanted,
    /// A collection of the tier is deleted: the tier begins again without it.
    #[error("a collection is deleted")]
    Deleted,
    /// An extractor is paused: the batch continues later.
    #[error("an extractor is paused")]
    Paused,
    /// This process is to end.
    #[error("stopped")]
    Stopped,
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a tier works with.
pub(super) struct Tier<'a> {
    pub(super) context: &'a Context,
    pub(super) batch: &'a Batch,
    pub(super) bucket: &'a Bucket,
    pub(super) task: &'a Task,
    pub(super) takings: Vec<Taking>,
    /// By their places among `takings`: those whose extractor is paused. They wait, and the others
    /// do not wait for them.
    pub(super) paused: BTreeSet<usize>,
    /// Those whose extractor was paused: one object is tried before others.
    pub(super) doubtful: BTreeSet<usize>,
    /// Whether a collection of the tier has an extractor that is not here now.
    pub(super) lacks: bool,
}

impl Tier<'_> {
    /// Goes through the tier to its end.
    pub(super) async fn run(mut self) -> Result<(), Interrupted> {
        self.begin().await?;
        let mut after = i64::MIN;
        let mut later = Later::default();
        loop {
            self.check_pauses()?;
            let limit = if self.doubtful.is_empty() { PAGE } else { 1 };
            let batch_key = self.batch.key;
            let page = self
                .context
                .engine
                .store
                .read(move |db| members::page(db, batch_key, after, limit))
                .await?;
            let Some(last) = page.last() else { break };
            after = last.object_key;
            self.go_through(page, &mut later).await?;
        }
        loop {
            self.check_pauses()?;
            self.run_alone(&mut later).await?;
            let Some((at, members)) = later.take() else { break };
            self.wait_until(at).await?;
            self.go_through(members, &mut later).await?;
        }
        if self.lacks || !self.paused.is_empty() {
            return Err(Interrupted::Paused);
        }
        let (key, now) = (self.task.key, self.now());
        self.guarded(&[], move |tx| {
            let counts = tasks::by_key(tx, key)?.map(|task| task.counts).unwrap_or_default();
            let worked = counts.processed + counts.skipped;
            tasks::end(tx, key, BatchStatus::ended(worked, counts.failed), None, now)
        })
        .await
    }

    /// Goes on unless all that is left waits for paused extractors.
    fn check_pauses(&self) -> Result<(), Interrupted> {
        match self.paused.len() == self.takings.len() {
            true => Err(Interrupted::Paused),
            false => Ok(()),
        }
    }

    fn now(&self) -> Timestamp {
        self.context.engine.clock().now()
    }

    /// Sets the counts to what the ledger already has, which is what the walk will not count again.
    async fn begin(&self) -> Result<(), Interrupted> {
        let keys = self.all();
        let (task, now) = (self.task.clone(), self.now());
        let (batch_key, members) = (self.batch.key, self.batch.object_count);
        self.guarded(&self.all(), move |tx| {
            let (processed, failed) = outcomes::count_finished(tx, batch_key, &keys)?;
            let counts = Counts {
                submitted: members * keys.len() as u64,
                processed,
                failed,
                skipped: 0,
                ..task.counts
            };
            tasks::set_counts(tx, task.key, &counts, now)?;
            tasks::begin(tx, task.key, now)
        })
        .await
    }

    /// Decides about members in every collection, and does what is to be done.
    async fn go_through(
        &mut self,
        page: Vec<Member>,
        later: &mut Later,
    ) -> Result<(), Interrupted> {
        for index in 0..self.takings.len() {
            if self.context.stop.is_cancelled() {
                return Err(Interrupted::Stopped);
            }
            if self.paused.contains(&index) {
                continue;
            }
            let only = later.only_for(index);
            let members: Vec<Member> = page
                .iter()
                .filter(|member| only.as_ref().is_none_or(|only| only.contains(&member.object_key)))
                .cloned()
                .collect();
            let decided = self.decide(index, members).await?;
            let runs = self.note(index, decided, later, false).await?;
            self.extract(index, runs, later).await?;
        }
        later.again.clear();
        Ok(())
    }

    /// Tries what must run alone, one at a time, and last what processing died with most often:
    /// only what is really to blame is at hand when it dies again and again.
    async fn run_alone(&mut self, later: &mut Later) -> Result<(), Interrupted> {
        while let Some((index, member)) = later.next_alone() {
            if self.context.stop.is_cancelled() {
                return Err(Interrupted::Stopped);
            }
            if self.paused.contains(&index) {
                continue;
            }
            let decided = self.decide(index, vec![member]).await?;
            let runs = self.note(index, decided, later, true).await?;
            self.extract(index, runs, later).await?;
        }
        Ok(())
    }

    async fn decide(
        &self,
        index: usize,
        members: Vec<Member>,
    ) -> Result<Vec<(Member, Verdict)>, Interrupted> {
        let (taking, bucket) = (self.takings[index].clone(), self.bucket.clone());
        let rules = Rules {
            batch_key: self.batch.key,
            bucket_key: self.batch.bucket_key,
            dedup: self.batch.dedup,
            now: self.now(),
        };
        let decided = self
            .context
            .engine
            .store
            .read(move |db| {
                let wanted = wanted(db, &taking, &bucket, &members)?;
                members
                    .into_iter()
                    .map(|member| {
                        let is_wanted =
                            wanted.as_ref().is_none_or(|keys| keys.contains(&member.object_key));
                        let verdict = match is_wanted {
                            true => plan::decide(db, &rules, bucket.id.as_str(), &taking, &member)?,
                            false => Verdict::Skip,
                        };
                        Ok((member, verdict))
                    })
                    .collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        Ok(decided)
    }

    /// Writes down what is decided: what is skipped, what is about to be tried. Returns the latter;
    /// what must run alone is put off unless its time has come.
    async fn note(
        &self,
        index: usize,
        decided: Vec<(Member, Verdict)>,
        later: &mut Later,
        alone: bool,
    ) -> Result<Vec<(Member, Run)>, Interrupted> {
        let mut runs = Vec::new();
        let (mut counts, mut carries, mut fails) = (Counts::default(), Vec::new(), Vec::new());
        for (member, verdict) in decided {
            match verdict {
                Verdict::Done => {}
                Verdict::Skip => counts.skipped += 1,
                Verdict::Later(at) => later.add(at, index, member),
                Verdict::Carry(carry) => {
                    counts.skipped += 1;
                    carries.push(carry);
                }
                Verdict::Fail(of, class, message) => {
                    counts.failed += 1;
                    fails.push((of, class, message));
                }
                Verdict::Run(run) if run.alone && !alone => {
                    later.alone.push((run.deaths, index, member));
                }
                Verdict::Run(run) => runs.push((member, *run)),
            }
        }
        let tries: Vec<_> = runs.iter().map(|(_, run)| run.of).collect();
        let (batch_key, task_key, now) = (self.batch.key, self.task.key, self.now());
        if tries.is_empty() && carries.is_empty() && counts == Counts::default() {
            return Ok(runs);
        }
        let elsewhere = self
            .guarded(&self.only(index), move |tx| {
                let mut elsewhere = BTreeSet::new();
                for carry in carries {
                    let (collection, object) = (carry.collection_key, carry.object_key);
                    documents::carry(tx, collection, object, &carry.old, &carry.new, now)?;
                    let text = carried_text(&carry.new);
                    outcomes::set_carried(tx, collection, object, text.as_deref())?;
                }
                for (of, class, message) in &fails {
                    if !outcomes::begin(tx, batch_key, of, now)? {
                        (counts.failed, counts.skipped) = (counts.failed - 1, counts.skipped + 1);
                        continue;
                    }
                    let failed =
                        Failed { class: class.as_str(), error: message, log: "", took_ms: 0 };
                    outcomes::fail(tx, of, &failed, now)?;
                }
                // Another batch that runs beside this one may have begun with it since.
                for of in &tries {
                    if !outcomes::begin(tx, batch_key, of, now)? {
                        counts.skipped += 1;
                        elsewhere.insert(of.object_key);
                    }
                }
                tasks::add_counts(tx, task_key, &counts, now)?;
                Ok(elsewhere)
            })
            .await?;
        runs.retain(|(_, run)| !elsewhere.contains(&run.of.object_key));
        Ok(runs)
    }

    /// Has objects extracted, several at once, and settles them as they come.
    async fn extract(
        &mut self,
        index: usize,
        runs: Vec<(Member, Run)>,
        later: &mut Later,
    ) -> Result<(), Interrupted> {
        let mut running = JoinSet::new();
        let mut handed_out = BTreeSet::new();
        for (member, mut run) in runs {
            run.bucket_id = self.bucket.id.to_string();
            handed_out.insert((run.of.collection_key, run.of.object_key));
            let taking = self.takings[index].clone();
            let (context, batch_id) = (self.context.clone(), self.batch.id.clone());
            running.spawn(async move {
                // First a turn, then a slot: nobody holds a slot to wait for a turn.
                let _turn = context.extractors.turn(&taking.extractor).await;
                let run_id = format!("{batch_id}/{}/{}", taking.collection.id, run.object_id);
                let parameters = taking.settings().extractor.parameters.clone();
                let through = Through {
                    engine: &context.engine,
                    extractors: &context.extractors,
                    extractor: &taking.extractor,
                    parameters: &parameters.unwrap_or_default(),
                    run_id: &run_id,
                };
                let (outcome, took) = work::extract(through, &run, Some(&context.slots)).await;
                Finished {
                    member,
                    run,
                    outcome,
                    took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                }
            });
        }
        let mut finished = Vec::new();
        let unwanted = until_unwanted(self.context.clone(), self.batch.key, self.only(index));
        let mut unwanted = std::pin::pin!(unwanted);
        loop {
            let next = tokio::select! {
                () = self.context.stop.cancelled() => return Err(Interrupted::Stopped),
                // What still runs ends with the processes that it has.
                interrupted = &mut unwanted => return Err(interrupted),
                next = running.join_next() => next,
            };
            match next {
                Some(Ok(one)) => {
                    let is_off = one.is_unavailable();
                    handed_out.remove(&(one.run.of.collection_key, one.run.of.object_key));
                    finished.push(one);
                    // The others would only find the same: they wait untried.
                    if is_off {
                        running.shutdown().await;
                        self.take_back(index, handed_out).await?;
                        return self.record(index, finished, later).await;
                    }
                }
                // What it was of stays to be tried: the batch is gone through again.
                Some(Err(error)) => {
                    return Err(StoreError::nonsense("extraction", error).into());
                }
                None => {
                    self.record(index, finished, later).await?;
                    return Ok(());
                }
            }
            let documents =
                |one: &Finished| one.outcome.as_ref().map_or(0, |made| made.documents.len());
            if finished.iter().map(documents).sum::<usize>() >= DOCUMENTS {
                self.record(index, std::mem::take(&mut finished), later).await?;
            }
        }
    }

    /// Takes back what was handed out and has not been tried to its end.
    async fn take_back(
        &self,
        index: usize,
        handed_out: BTreeSet<(i64, i64)>,
    ) -> Result<(), Interrupted> {
        if handed_out.is_empty() {
            return Ok(());
        }
        let batch_key = self.batch.key;
        self.guarded(&self.only(index), move |tx| {
            handed_out.into_iter().try_for_each(|(collection, object)| {
                outcomes::refund(tx, batch_key, collection, object)
            })
        })
        .await
    }

    /// Records what has been extracted, in one transaction.
    async fn record(
        &mut self,
        index: usize,
        finished: Vec<Finished>,
        later: &mut Later,
    ) -> Result<(), Interrupted> {
        if finished.is_empty() {
            return Ok(());
        }
        let taking = &self.takings[index];
        let name = taking.extractor.name.clone();
        let blame = self.blame(&name, &finished).await?;
        let now = self.now();
        let mut settled = Vec::new();
        let mut pause = None;
        for one in finished {
            let Finished { member, run, outcome, took_ms } = one;
            let end = match outcome {
                Ok(made) => End::Done(made),
                Err(failure) => {
                    let end = what_follows(&run, failure, blame.as_deref(), now);
                    if let End::Refund(reason) = &end {
                        pause.get_or_insert_with(|| reason.clone());
                    }
                    end
                }
            };
            if let End::Wait(at, _) = &end {
                later.add(*at, index, member.clone());
            }
            settled.push(Ended { member, run, end, took_ms });
        }
        let again = self.write_down(index, settled).await?;
        for member in again {
            later.add(now, index, member);
        }
        if let Some(reason) = pause {
            self.context.pause(&name, reason).await?;
            let same = self.places_of(&name);
            self.doubtful.retain(|index| !same.contains(index));
            self.paused.extend(same);
        }
        Ok(())
    }

    /// Where the collections of an extractor stand among `takings`.
    fn places_of(&self, extractor: &str) -> BTreeSet<usize> {
        let all = self.takings.iter().enumerate();
        all.filter(|(_, taking)| taking.extractor.name == extractor).map(|(at, _)| at).collect()
    }

    /// Whether failures that may pass are the extractor's fault: of different objects, in a row.
    async fn blame(
        &mut self,
        name: &str,
        finished: &[Finished],
    ) -> Result<Option<String>, Interrupted> {
        let mut blame = None;
        for one in finished {
            match &one.outcome {
                Err(failure) if failure.class == Class::Transient => {
                    if self.context.doubts(name, one.run.of.object_key) {
                        blame = Some(failure.message.clone());
                    }
                }
                Err(failure) if failure.class == Class::Unavailable => {}
                _ => {
                    self.context.works(name).await?;
                    let works = self.places_of(name);
                    self.doubtful.retain(|index| !works.contains(index));
                    blame = None;
                }
            }
        }
        Ok(blame)
    }

    /// Commits documents and outcomes. Returns members that changed meanwhile: they are decided
    /// about anew.
    async fn write_down(
        &self,
        index: usize,
        settled: Vec<Ended>,
    ) -> Result<Vec<Member>, Interrupted> {
        let taking = self.takings[index].clone();
        let (batch, task_key, now) = (self.batch.clone(), self.task.key, self.now());
        let files = self.context.engine.blobs.clone();
        self.guarded(&self.only(index), move |tx| {
            let (mut counts, mut again, mut written_ids) =
                (Counts::default(), Vec::new(), Vec::new());
            for Ended { member, run, end, took_ms } in settled {
                let is_current =
                    outcomes::is_current(tx, batch.key, &run.of, &run.object_id, run.revision_ms)?;
                if !is_current {
                    outcomes::refund(tx, batch.key, run.of.collection_key, run.of.object_key)?;
                    again.push(member);
                    continue;
                }
                match end {
                    End::Done(made) => {
                        let mut blobs = made.documents.iter().flat_map(|new| &new.blobs);
                        // Collected between its writing and now: it is made again.
                        if blobs.any(|blob| {
                            blob.stored.inline.is_none() && !files.exists(&blob.stored.hash)
                        }) {
                            outcomes::refund(
                                tx,
                                batch.key,
                                run.of.collection_key,
                                run.of.object_key,
                            )?;
                            again.push(member);
                            continue;
                        }
                        let place = documents::Provenance {
                            collection_key: run.of.collection_key,
                            object_key: run.of.object_key,
                            batch_key: batch.key,
                            recipe: run.of.recipe,
                        };
                        let written = documents::replace(tx, &place, &made.documents, now)?;
                        let carried = run.carried.as_ref().and_then(carried_text);
                        outcomes::done(
                            tx,
                            &run.of,
                            carried.as_deref(),
                            made.left_out,
                            &made.log,
                            took_ms,
                            now,
                        )?;
                        counts.processed += 1;
                        counts.documents += written.written;
                        counts.replaced += written.replaced;
                        written_ids.push(member.object_id);
                    }
                    End::Fail(failure) => {
                        counts.failed += 1;
                        outcomes::fail(tx, &run.of, &failed(&failure, took_ms), now)?;
                    }
                    End::Wait(at, failure) => {
                        outcomes::wait(tx, &run.of, &failed(&failure, took_ms), at, now)?;
                    }
                    End::Refund(_) => {
                        outcomes::refund(tx, batch.key, run.of.collection_key, run.of.object_key)?;
                    }
                }
            }
            tasks::add_counts(tx, task_key, &counts, now)?;
            if counts.documents > 0 {
                written_ids.truncate(10);
                let detail = json!({
                    "collection_id": taking.collection.id,
                    "batch_id": batch.id,
                    "count": counts.documents,
                    "object_ids": written_ids,
                });
                let about = About::bucket(batch.bucket_key);
                events::append(tx, EventKind::DocumentsWritten, about, &detail, now)?;
            }
            Ok(again)
        })
        .await
    }

    /// The keys of the tier's collections.
    fn all(&self) -> Vec<i64> {
        self.takings.iter().map(|taking| taking.collection.key).collect()
    }

    /// The key of one of them.
    fn only(&self, index: usize) -> [i64; 1] {
        [self.takings[index].collection.key]
    }

    /// A transaction that only happens while this process may process, the batch is wanted and
    /// these collections are not deleted.
    async fn guarded<T: Send + 'static>(
        &self,
        collections: &[i64],
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Interrupted> {
        let (batch_key, collections) = (self.batch.key, collections.to_vec());
        self.context
            .write(move |tx| match unwanted(tx, batch_key, &collections)? {
                Some(interrupted) => Ok(Err(interrupted)),
                None => work(tx).map(Ok),
            })
            .await?
    }

    async fn wait_until(&self, at: Timestamp) -> Result<(), Interrupted> {
        let wait = at.duration_since(self.now());
        let Ok(wait) = Duration::try_from(wait) else { return Ok(()) };
        let unwanted = until_unwanted(self.context.clone(), self.batch.key, self.all());
        tokio::select! {
            () = self.context.stop.cancelled() => Err(Interrupted::Stopped),
            interrupted = unwanted => Err(interrupted),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }
}

/// Waits until somebody cancels a batch, removes it, or deletes one of these collections.
async fn until_unwanted(
    context: Context,
    batch_key: i64,
    collections: impl Into<Vec<i64>>,
) -> Interrupted {
    let collections = collections.into();
    loop {
        tokio::time::sleep(LOOK).await;
        let keys = collections.clone();
        let look = move |db: &Connection| unwanted(db, batch_key, &keys);
        match context.engine.store.read(look).await {
            Ok(None) => {}
            Ok(Some(interrupted)) => return interrupted,
            Err(error) => return error.into(),
        }
    }
}

/// Why a batch, or what it does for these collections, is not to go on, if it is not.
fn unwanted(
    db: &Connection,
    batch_key: i64,
    collections: &[i64],
) -> Result<Option<Interrupted>, StoreError> {
    if !batches::is_wanted(db, batch_key)? {
        return Ok(Some(Interrupted::Unwanted));
    }
    for key in collections {
        if !collections::is_kept(db, *key)? {
            return Ok(Some(Interrupted::Deleted));
        }
    }
    Ok(None)
}

/// The keys of the members that a collection wants; `None`: all of them.
fn wanted(
    db: &Connection,
    taking: &Taking,
    bucket: &Bucket,
    members: &[Member],
) -> Result<Option<BTreeSet<i64>>, StoreError> {
    let of_bucket = taking.sources.contains(&Upstream::Bucket(bucket.key));
    let of_documents = taking.upstream().next().is_some();
    if !of_bucket && !of_documents {
        return Ok(Some(BTreeSet::new()));
    }
    let Some(filter) = taking.settings().source.filter.as_ref().filter(|_| of_bucket) else {
        return Ok(None);
    };
    let keys: Vec<i64> = members.iter().map(|member| member.object_key).collect();
    match members::passing(db, bucket, filter, &keys)? {
        Ok(keys) => Ok(Some(keys.into_iter().collect())),
        Err(problem) => Err(StoreError::nonsense("filter", problem.message)),
    }
}

fn carried_text(carried: &serde_json::Map<String, Value>) -> Option<String> {
    (!carried.is_empty()).then(|| Value::Object(carried.clone()).to_string())
}

/// An object that came back from its extractor.
struct Finished {
    member: Member,
    run: Run,
    outcome: Result<Made, Failure>,
    took_ms: u64,
}

impl Finished {
    /// Whether it is its extractor that cannot be used.
    fn is_unavailable(&self) -> bool {
        matches!(&self.outcome, Err(failure) if failure.class == Class::Unavailable)
    }
}

struct Ended {
    member: Member,
    run: Run,
    end: End,
    took_ms: u64,
}

/// What is written down of a try.
enum End {
    Done(Made),
    Fail(Failure),
    Wait(Timestamp, Failure),
    /// It does not count: the extractor is at fault.
    Refund(String),
}

fn what_follows(run: &Run, failure: Failure, blame: Option<&str>, now: Timestamp) -> End {
    let tries = run.attempts + 1;
    match failure.class {
        Class::Unavailable => End::Refund(failure.message),
        Class::Transient => match blame {
            Some(reason) => End::Refund(reason.to_owned()),
            None if tries < TRIES => {
                let wait = WAITS[(tries as usize - 1).min(WAITS.len() - 1)];
                let wait = jitter(Duration::from_secs(wait));
                End::Wait(now + wait.max(failure.retry_after.unwrap_or_default()), failure)
            }
            None => End::Fail(failure),
        },
        Class::Resource if tries < TRIES_OF_RESOURCE => End::Wait(now, failure),
        Class::Resource | Class::Permanent => End::Fail(failure),
    }
}

/// A wait of about this length, so that what failed together is not tried together: from three
/// quarters to five quarters of it.
fn jitter(wait: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without chance the wait is as good.
    let _ = getrandom::fill(&mut bytes);
    let share = f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX);
    wait.mul_f64(0.75 + share / 2.0)
}

fn failed(failure: &Failure, took_ms: u64) -> Failed<'_> {
    Failed { class: failure.class.as_str(), error: &failure.message, log: &failure.log, took_ms }
}

/// Members that are to be tried again, and when.
#[derive(Default)]
struct Later {
    waiting: Vec<(Timestamp, usize, Member)>,
    /// What was taken out last: which members for which collection.
    again: Vec<(usize, i64)>,
    /// What must run alone, with how often processing died with it at hand.
    alone: Vec<(u32, usize, Member)>,
}

impl Later {
    fn add(&mut self, at: Timestamp, index: usize, member: Member) {
        self.waiting.push((at, index, member));
    }

    /// The next that must run alone: the least suspect first.
    fn next_alone(&mut self) -> Option<(usize, Member)> {
        let place = (0..self.alone.len()).min_by_key(|place| self.alone[*place].0)?;
        let (_, index, member) = self.alone.swap_remove(place);
        Some((index, member))
    }

    /// All that is waiting, with the time at which the first may be tried.
    fn take(&mut self) -> Option<(Timestamp, Vec<Member>)> {
        let first = self.waiting.iter().map(|(at, ..)| *at).min()?;
        let (mut due, mut rest) = (Vec::new(), Vec::new());
        for one in self.waiting.drain(..) {
            if one.0 <= first { due.push(one) } else { rest.push(one) }
        }
        self.waiting = rest;
        self.again = due.iter().map(|(_, index, member)| (*index, member.object_key)).collect();
        let mut members: Vec<Member> = Vec::new();
        for (_, _, member) in due {
            if !members.contains(&member) {
                members.push(member);
            }
        }
        Some((first, members))
    }

    /// The members that are tried again for a collection; `None` where all are gone through.
    fn only_for(&self, index: usize) -> Option<BTreeSet<i64>> {
        if self.again.is_empty() {
            return None;
        }
        let keys = self.again.iter().filter(|(of, _)| *of == index).map(|(_, key)| *key);
        Some(keys.collect())
    }
}

/// The collections of a tier that take anything still, with what they take from, and the names of
/// extractors that are not here now. Collections that are gone or switched off are left out.
pub(super) fn takings(
    db: &Connection,
    extractors: &super::extract::Extractors,
    keys: &[i64],
) -> Result<(Vec<Taking>, BTreeSet<String>), StoreError> {
    let (mut takings, mut missing) = (Vec::new(), BTreeSet::new());
    for key in keys {
        let Some(collection) = collections::by_key(db, *key)? else { continue };
        if !collection.is_enabled || collection.is_deleting {
            continue;
        }
        let settings = &collection.settings.extractor;
        match extractors.find(&settings.name, &settings.version) {
            Some(extractor) => {
                let sources = collections::sources(db, *key)?;
                takings.push(Taking::new(collection, extractor, sources));
            }
            None => {
                missing.insert(settings.name.clone());
            }
        }
    }
    Ok((takings, missing))
}
