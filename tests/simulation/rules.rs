//! What is decided about each entry, without an engine around it: random histories of entries and
//! settings, decided by [`decide`] and carried out on a map, against the rules of the contract.

use std::collections::BTreeMap;

use catchment::{
    engine::{
        filter::Filter,
        plan::{Decision, Sighting, decide},
    },
    model::{
        Entry, EntryKind, EntryPath, FileFilters, Fingerprint, Reconcile, SkipReason, Version,
    },
    store::entries::Known,
};

/// An object of the bucket: the version that it was taken in, and the settings that shaped it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    version: u64,
    shaped_by: u8,
}

/// What is at the source under a name; a version of `None` stands for what is no file.
type Source = BTreeMap<String, Option<u64>>;
type Bucket = BTreeMap<String, Object>;

/// The settings of a pass.
struct Settings {
    reconcile: Reconcile,
    excluded: Option<char>,
    mapping: u8,
    full: bool,
}

impl Settings {
    fn any(random: &mut fastrand::Rng) -> Self {
        Self {
            reconcile: Reconcile {
                on_delete: random.bool(),
                on_update: random.bool(),
                on_filter_drift: random.bool(),
                ..Reconcile::default()
            },
            excluded: random.bool().then(|| random.char('a'..='c')),
            mapping: random.u8(..3),
            full: random.u8(..5) == 0,
        }
    }

    /// What the contract says that a pass over `source` makes of `bucket`.
    fn model(&self, source: &Source, bucket: &Bucket) -> Bucket {
        let names = source.keys().chain(bucket.keys());
        let kept = |name: &String| {
            let passes = self.excluded.is_none_or(|letter| !name.ends_with(letter));
            let is_taken = bucket.get(name).cloned();
            match source.get(name) {
                None => is_taken.filter(|_| !self.reconcile.on_delete),
                Some(Some(version)) if passes => {
                    let now = Object { version: *version, shaped_by: self.mapping };
                    let leaves =
                        |was: &Object| was.version != *version && !self.reconcile.on_update;
                    Some(is_taken.filter(leaves).unwrap_or(now))
                }
                Some(_) => is_taken.filter(|_| !self.reconcile.on_filter_drift),
            }
        };
        names.filter_map(|name| Some((name.clone(), kept(name)?))).collect()
    }

    /// The same as the engine decides it.
    fn decided(&self, source: &Source, bucket: &Bucket) -> Bucket {
        let exclude_patterns = self.excluded.map(|letter| format!("*{letter}"));
        let filters = FileFilters {
            exclude_patterns: exclude_patterns.into_iter().collect(),
            ..FileFilters::default()
        };
        let filter = Filter::compile(&filters).unwrap();
        let mut after = Bucket::new();
        for (name, version) in source {
            let was = bucket.get(name);
            let is_current = was.is_some_and(|was| was.shaped_by == self.mapping);
            let known = match (was, version) {
                (None, _) => Known::No,
                (Some(was), Some(version)) if was.version == *version => {
                    Known::Same { entry_key: 1, is_current, is_fetched: false, is_relisted: false }
                }
                (Some(_), _) => Known::Other { entry_key: 1, is_current },
            };
            let decision =
                decide(&filter, &self.reconcile, self.full, &entry(name, *version), &known);
            let stays = match (&decision, decision.sighting()) {
                (Decision::Add | Decision::Update, _) => {
                    version.map(|version| Object { version, shaped_by: self.mapping })
                }
                (Decision::Reevaluate { is_same: true }, _) => {
                    was.map(|was| Object { shaped_by: self.mapping, ..was.clone() })
                }
                (_, Some(Sighting::Drifted)) => {
                    was.cloned().filter(|_| !self.reconcile.on_filter_drift)
                }
                _ => was.cloned(),
            };
            after.extend(stays.map(|object| (name.clone(), object)));
        }
        let unlisted = bucket.iter().filter(|(name, _)| !source.contains_key(*name));
        after.extend(
            unlisted
                .filter(|_| !self.reconcile.on_delete)
                .map(|(name, object)| (name.clone(), object.clone())),
        );
        after
    }
}

fn entry(name: &str, version: Option<u64>) -> Entry {
    let path = EntryPath::new(name.as_bytes());
    let kind = match version {
        None => EntryKind::Skipped(SkipReason::SpecialFile),
        Some(version) => EntryKind::File(Fingerprint {
            size: 1,
            version: Version(version.to_le_bytes().to_vec()),
            modified: None,
            etag: None,
            mime: None,
            details: None,
        }),
    };
    Entry { id: path.clone(), path, parent: None, kind }
}

#[test]
fn after_every_step_what_is_decided_is_what_the_contract_says() {
    let seed = super::number("SIMULATION_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SIMULATION_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut source, mut bucket) = (Source::new(), Bucket::new());
    let mut settings = Settings::any(&mut random);
    let started = std::time::Instant::now();
    let steps = 20_000;
    for step in 0..steps {
        let name = format!("{}{}", random.u8(..4), random.char('a'..='c'));
        match random.u8(..6) {
            0 => drop(source.remove(&name)),
            1 => settings = Settings::any(&mut random),
            2 => drop(source.insert(name, None)),
            3 => {
                if let Some(version) = source.remove(&name) {
                    source.insert(format!("renamed {name}"), version);
                }
            }
            _ => drop(source.insert(name, Some(step))),
        }
        let wanted = settings.model(&source, &bucket);
        bucket = settings.decided(&source, &bucket);
        assert_eq!(bucket, wanted, "SIMULATION_SEED={seed}, step {step}");
    }
    let each = started.elapsed().as_secs_f64() / f64::from(u32::try_from(steps).unwrap());
    eprintln!("{steps} steps, {:.0} a second", each.recip());
}
