//! What the contract says that the bucket holds after a run, and whether it does.

use std::collections::{BTreeMap, BTreeSet};

use catchment::{
    clock::Clock as _,
    engine::Report,
    model::{BlobHash, Life, MaxDelete, Patience, RunStatus, Shard},
    store::{
        checkpoints::{Checkpoint, Position},
        syncs::{HeldReason, HeldRemovals},
    },
};

use crate::{
    bucket::{Found, Seen},
    history::{History, SHARDS},
    simulated::File,
};

/// What the model knows of an object's entry: the file as it was taken, where that is certain.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) hash: BlobHash,
    pub(super) file: Option<File>,
    /// What the mapping has made of it, where that is certain.
    pub(super) fields: Option<serde_json::Value>,
    /// It was gone, and somebody said to keep it.
    pub(super) released: bool,
}

/// What the model expects of a complete run.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Not tried, since they failed before.
    pub(super) waiting: BTreeSet<String>,
    /// Tried, in vain.
    pub(super) failing: BTreeSet<String>,
    /// Not there any more, or no longer passing, and to be removed for that.
    pub(super) gone: BTreeSet<String>,
}

impl History {
    /// What the mapping makes of an entry of that name.
    pub(super) fn mapped(&self, name: &str) -> serde_json::Value {
        let (folder, file_name) = name.rsplit_once('/').unwrap();
        match self.mapping {
            0 => serde_json::Value::Null,
            1 => serde_json::json!({"kind": "film"}),
            2 => serde_json::json!({"folder": folder}),
            _ => serde_json::json!({"n": file_name}),
        }
    }

    /// Whether the listing would show an entry of that name.
    pub(super) fn covers(&self, name: &str) -> bool {
        let prefixes = SHARDS[self.shards];
        prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// How many entries the listing shows.
    pub(super) fn listed(&self) -> usize {
        self.source.world().files.keys().filter(|name| self.covers(name)).count()
    }

    pub(super) fn passes(&self, name: &str) -> bool {
        if !self.covers(name) {
            return false;
        }
        let file_name = name.rsplit('/').next().unwrap();
        match self.options.filters.exclude_patterns.first().map(String::as_str) {
            Some("*7") => !file_name.ends_with('7'),
            Some(_) => !name.starts_with('a') && !file_name.starts_with('1'),
            None => true,
        }
    }

    /// After a run that did not come to its end: what is there was there, or is at the source; what
    /// is not, is on its way out there too. Then the model takes it as it is.
    pub(super) async fn after_an_unfinished_run(&mut self, before: &BTreeMap<String, Seen>) {
        let after = self.bucket().await;
        if self.options.skip_duplicates {
            return;
        }
        let world = self.source.world().files.clone();
        for (name, seen) in &after {
            let at_source = world.get(name).map(|file| BlobHash::of(&file.content));
            let was = before.get(name).map(|seen| seen.hash);
            assert!([at_source, was].contains(&Some(seen.hash)), "{name} came from nowhere");
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            let gone = self.covers(name) && !world.contains_key(name);
            let may_go = if gone { self.options.reconcile.on_delete } else { !self.passes(name) };
            assert!(may_go, "{name} went without a reason");
        }
        let old = std::mem::take(&mut self.model);
        for (name, seen) in after {
            let released = old.get(&name).is_some_and(|taken| taken.released);
            let taken = Taken { hash: seen.hash, file: None, fields: None, released };
            self.model.insert(name, taken);
        }
    }

    /// What a complete run has to come to. `letters` are those of before.
    pub(super) fn expect(&mut self, letters: &BTreeMap<String, Life>, full: bool) -> Expected {
        let mut expected = Expected::default();
        let names: Vec<String> = self.source.world().files.keys().cloned().collect();
        let passing: BTreeSet<String> =
            names.into_iter().filter(|name| self.passes(name)).collect();
        let world = self.source.world();
        let now = self.clock.now();
        let patience = if full { Patience::UntilQuarantine } else { Patience::Full };
        let flags = &self.options.reconcile;
        let fields: BTreeMap<&String, serde_json::Value> =
            passing.iter().map(|name| (name, self.mapped(name))).collect();
        for (name, file) in world.files.iter().filter(|(name, _)| passing.contains(*name)) {
            let known = self.model.get_mut(name);
            let wants = match &known {
                None => true,
                Some(taken) if full => taken.file.as_ref() == Some(file) || flags.on_update,
                Some(taken) => taken.file.as_ref() != Some(file) && flags.on_update,
            };
            let is_certain = known.as_ref().is_none_or(|taken| taken.file.is_some());
            if let Some(taken) = known {
                taken.released = false;
                // Decided anew from what is kept, where it is what was taken.
                let is_same = taken.file.as_ref().map(|taken| taken == file);
                match (is_same, full && wants) {
                    (Some(true), false) => taken.fields = Some(fields[name].clone()),
                    (None, _) => taken.fields = None,
                    (Some(_), _) => {}
                }
            }
            if !wants {
                continue;
            }
            let same_version = world.refusals.get(name) == Some(&file.version);
            let waits =
                same_version && letters.get(name).is_some_and(|life| !life.is_due(now, patience));
            match (waits, world.is_unreadable(name)) {
                (true, _) => expected.waiting.extend(is_certain.then(|| name.clone())),
                (false, true) => expected.failing.extend(is_certain.then(|| name.clone())),
                (false, false) => {
                    let hash = BlobHash::of(&file.content);
                    let fields = Some(fields[name].clone());
                    let taken = Taken { hash, file: Some(file.clone()), fields, released: false };
                    self.model.insert(name.clone(), taken);
                }
            }
        }
        for (name, taken) in &self.model {
            // Of what is not listed nothing is known but that.
            let wanted = match world.files.contains_key(name) || !self.covers(name) {
                true => flags.on_filter_drift,
                false => flags.on_delete,
            };
            if !passing.contains(name) && wanted && !taken.released {
                expected.gone.insert(name.clone());
            }
        }
        expected
    }

    /// A run without faults of its own: its outcome is what the model says.
    /// Answers what is held after it.
    pub(super) async fn complete_run(&mut self) -> Option<HeldRemovals> {
        let full = self.random.u8(..6) == 0;
        let in_slices = self.random.u8(..3) == 0 && self.listed() > 0;
        let Found { bucket: before, letters, held: waiting } = self.found().await;
        let old = self.model.clone();
        let listed = self.listed() as u64;
        if in_slices || old.values().any(|taken| taken.file.is_none()) {
            // Whether a new name is a renamed one, and needs no fetch, the model cannot tell.
            self.source.world().heal();
        }
        if self.options.skip_duplicates {
            let report = self.run(full).await.unwrap();
            assert!(report.error.is_none(), "{:?}", report.error);
            return self.check_contents(&report).await;
        }
        self.compare(&before);
        let mut expected = self.expect(&letters, full);
        // What an interrupted pass left behind it has its second chance in this one.
        self.source.world().asked_for.clear();
        let report =
            if in_slices { self.run_in_slices(full).await } else { self.run(full).await.unwrap() };
        assert!(report.error.is_none(), "{:?}", report.error);
        let Found { bucket: after, letters: letters_after, held } = self.found().await;
        let renamed = if in_slices { BTreeMap::new() } else { self.renamed(&old, &letters, full) };
        for (new, gone) in &renamed {
            assert_eq!(after[new].id, before[gone].id, "{gone} became {new}, and stays what it is");
            assert!(!self.source.world().asked_for.contains(new), "{new} was not fetched");
            expected.failing.remove(new);
        }
        let unmoved: BTreeSet<String> = expected
            .gone
            .iter()
            .filter(|name| !renamed.values().any(|gone| gone == *name))
            .cloned()
            .collect();
        self.settle_removals(&report, &unmoved, &renamed, &after, waiting.as_ref());
        self.compare(&after);
        for (name, seen) in before.iter().filter(|(name, _)| old.contains_key(*name)) {
            let stays = after.get(name).is_none_or(|now| now.id == seen.id);
            assert!(stays, "{name} is the object that it was");
        }
        if !in_slices {
            assert_eq!(report.counts.discovered(), listed, "each entry is counted once");
        }
        self.check_letters(&letters, &letters_after, &expected);
        held
    }

    /// The bucket is what the model says, object for object.
    fn compare(&self, bucket: &BTreeMap<String, Seen>) {
        let found: BTreeMap<&String, &BlobHash> =
            bucket.iter().map(|(name, seen)| (name, &seen.hash)).collect();
        let wanted: BTreeMap<&String, &BlobHash> =
            self.model.iter().map(|(name, taken)| (name, &taken.hash)).collect();
        assert_eq!(found, wanted, "the bucket is what the model says");
        for (name, taken) in &self.model {
            if let Some(fields) = &taken.fields {
                let wanted = self.with_what_people_wrote(&bucket[name], fields);
                assert_eq!(bucket[name].fields, wanted, "{name} has the fields of its mapping");
            }
        }
    }

    /// New names by the old ones that they take the place of, as far as the model is certain.
    pub(super) fn renamed(
        &self,
        old: &BTreeMap<String, Taken>,
        letters: &BTreeMap<String, Life>,
        full: bool,
    ) -> BTreeMap<String, String> {
        let world = self.source.world();
        let flags = &self.options.reconcile;
        if full
            || !flags.on_delete
            || !flags.on_update
            || old.values().any(|taken| taken.file.is_none())
        {
            return BTreeMap::new();
        }
        let mut renamed = BTreeMap::new();
        for (name, file) in &world.files {
            let is_new =
                !old.contains_key(name) && self.passes(name) && !letters.contains_key(name);
            let twins: Vec<&String> = old
                .iter()
                .filter(|(_, taken)| taken.file.as_ref().is_some_and(|was| was.stamp == file.stamp))
                .map(|(name, _)| name)
                .collect();
            if let ([twin], true) = (twins.as_slice(), is_new)
                && !world.files.contains_key(*twin)
                && !old[*twin].released
                && self.covers(twin)
            {
                renamed.insert(name.clone(), (*twin).clone());
            }
        }
        renamed
    }

    pub(super) fn settle_removals(
        &mut self,
        report: &Report,
        gone: &BTreeSet<String>,
        renamed: &BTreeMap<String, String>,
        after: &BTreeMap<String, Seen>,
        waiting: Option<&HeldRemovals>,
    ) {
        // A decision that was asked for is waited for, however few are gone now. An empty source is
        // adopted here, which is a decision about what was held for that.
        if let Some(held) = waiting.filter(|held| held.reason == HeldReason::ManyRemoved)
            && gone.iter().any(|name| self.held.contains(name))
        {
            assert_eq!(report.status, RunStatus::Held, "{held:?} waits for an answer");
            self.did("removals that wait");
        }
        for (new, gone) in renamed {
            self.model.remove(gone);
            let file = self.source.world().files[new].clone();
            let hash = BlobHash::of(&file.content);
            let fields = Some(self.mapped(new));
            let taken = Taken { hash, file: Some(file), fields, released: false };
            self.model.insert(new.clone(), taken);
            self.did("rename that is followed");
        }
        // In slices, or where the model is not certain, what looks gone may have been renamed.
        let count = gone.len() as u64;
        let of = self.model.len() as u64;
        if report.status == RunStatus::Held {
            assert!(count > 0 && report.counts.removed == 0);
            self.did("held removals");
            self.held = gone.iter().filter(|name| after.contains_key(*name)).cloned().collect();
            self.model.retain(|name, _| !gone.contains(name) || after.contains_key(name));
            return;
        }
        assert!(
            !MaxDelete::holds(self.max_delete, report.counts.removed, of),
            "no more is removed than the guard lets through"
        );
        self.held.clear();
        for name in gone {
            assert!(!after.contains_key(name), "{name} is gone from the source");
            self.model.remove(name);
        }
    }

    pub(super) fn check_letters(
        &mut self,
        before: &BTreeMap<String, Life>,
        letters: &BTreeMap<String, Life>,
        expected: &Expected,
    ) {
        let now = self.clock.now();
        expected.waiting.iter().for_each(|_| self.did("entry that waits"));
        expected.failing.iter().for_each(|_| self.did("entry that fails"));
        for name in &expected.waiting {
            assert_eq!(letters.get(name), before.get(name), "{name} was let wait");
            assert!(!self.source.world().asked_for.contains(name), "{name} was not asked for");
        }
        for name in &expected.failing {
            let life = letters.get(name).expect("what fails has a dead letter");
            let again = before.get(name).map(|life| life.failed_again(now));
            assert!(*life == Life::begun(now) || Some(life) == again.as_ref(), "{name}: {life:?}");
        }
    }

    pub(super) async fn take_as_it_is(&mut self) {
        let before = self.bucket().await;
        self.after_an_unfinished_run(&before).await;
    }

    /// With `skip_duplicates` which of several equal entries has the object is not modelled: the
    /// contents are, as far as nothing is held or fails.
    pub(super) async fn check_contents(&mut self, report: &Report) -> Option<HeldRemovals> {
        let Found { bucket: found, held, .. } = self.found().await;
        let world = self.source.world();
        let files = world.files.iter().filter(|(name, _)| self.passes(name));
        let expected: BTreeMap<&String, BlobHash> =
            files.map(|(name, file)| (name, BlobHash::of(&file.content))).collect();
        if report.status != RunStatus::Completed {
            return held;
        }
        let of_bucket: BTreeSet<String> =
            found.values().map(|seen| seen.hash.to_string()).collect();
        let of_source: BTreeSet<String> = expected.values().map(ToString::to_string).collect();
        assert!(of_source.is_subset(&of_bucket), "every content is there");
        for (name, seen) in &found {
            let stands = expected.get(name) == Some(&seen.hash);
            assert!(stands, "{name} stands for a file that has these bytes");
        }
        held
    }

    /// Each shard was listed from where it had come to, and one that was complete not at all.
    pub(super) fn check_listings(&mut self, checkpoint: Checkpoint) {
        let mut listings: BTreeMap<String, Option<String>> = BTreeMap::new();
        // The first of each: after the rest, all of it is listed once more.
        let rest = std::mem::take(&mut self.source.world().listings);
        let shards = SHARDS[self.shards].len().max(1);
        let rest = &rest[..rest.len() - shards];
        listings.extend(rest.iter().cloned());
        for reached in checkpoint.shards {
            let prefix = match reached.shard.as_str() {
                Shard::WHOLE => "",
                prefix => prefix,
            };
            let from = listings.get(prefix);
            match reached.position {
                Position::End => {
                    assert_eq!(from, None, "{prefix} was complete");
                    self.did("shard that was complete");
                }
                Position::Behind(cursor) => {
                    let behind = String::from_utf8(cursor.0).unwrap();
                    assert_eq!(from, Some(&Some(behind)), "{prefix} goes on");
                }
                Position::Beginning => assert_eq!(from, Some(&None), "{prefix} begins"),
                Position::Feed { .. } => unreachable!("this source has no feed"),
            }
        }
    }
}
