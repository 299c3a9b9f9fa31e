//! The engine against a model: random histories of a simulated source, listed as one or in shards,
//! with edits, renames, removals, faults, deaths, slices, held removals, entries that keep failing,
//! changes of settings, mappings and shards, fields that people write, and a trash. After each
//! completed run the bucket holds what the [`model`] says, object for object; after each other one,
//! nothing that neither was there before nor is at the source. A failing history prints its seed;
//! `SIMULATION_SEED=N` runs it alone, `SIMULATION_HISTORIES=N` so many.
//!
//! Histories lie in memory where the system has a place for files there, and a death is heard of,
//! not waited for: what remains is the engine's own work, some two milliseconds of a core for each
//! run in a build for tests, which makes about eight hundred steps a second on each core. What can
//! be decided without it is tried far more often in [`rules`].

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bucket;
mod drive;
#[allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]
#[path = "../support/fake_authority.rs"]
mod fake_authority;
mod history;
mod model;
mod people;
mod rules;
mod running;
#[path = "../support/simulated.rs"]
mod simulated;
#[path = "../support/simulated_drive.rs"]
mod simulated_drive;
#[allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]
#[path = "../support/wire.rs"]
mod wire;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use history::History;

/// How often each kind of step was taken.
type Happened = BTreeMap<&'static str, usize>;

/// What has to happen somewhere in all histories, or they prove nothing about it.
const KINDS: [&str; 26] = [
    "add or edit",
    "removal at the source",
    "rename at the source",
    "rewrite",
    "filter edit",
    "mapping edit",
    "run",
    "full run",
    "slice",
    "listing that breaks",
    "entry that fails",
    "entry that waits",
    "death",
    "resumed pass",
    "shards edit",
    "shard that was complete",
    "rename that is followed",
    "held removals",
    "rejected removals",
    "approved removals",
    "removals that wait",
    "edits before a resumed pass",
    "field that a person wrote",
    "collection beside a run",
    "full run that is resumed",
    "duplicates that are skipped no more",
];

/// Of these, what is seen to come of a step, and is none itself.
const SEEN: [&str; 10] = [
    "listing that breaks",
    "entry that fails",
    "entry that waits",
    "death",
    "resumed pass",
    "full run that is resumed",
    "shard that was complete",
    "rename that is followed",
    "held removals",
    "removals that wait",
];

/// Histories that are played when nobody says otherwise.
const HISTORIES: u64 = 100;

/// Names the history whose assertion fails.
pub(crate) struct Named(pub(crate) u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIMULATION_SEED={} fails", self.0);
        }
    }
}

/// Plays a history to its end, on one thread, as far as the engine has it so.
fn play(seed: u64) -> Happened {
    let _named = Named(seed);
    // Without a driver for sockets, which nobody has, and with one thread that reads, those that
    // there are wake each other faster.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(1).build().unwrap();
    let mut history = History::new(seed);
    runtime.block_on(history.play());
    history.happened
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}

#[test]
fn after_any_history_of_edits_faults_and_deaths_the_bucket_is_what_the_model_says() {
    let one = number("SIMULATION_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_HISTORIES").unwrap_or(HISTORIES),
    };
    eprintln!("histories {seeds:?}");
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    // Two a core: while one waits for its database's threads, another one goes on.
    let threads = 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let happened = std::thread::scope(|scope| {
        let work = || {
            let mut happened = Happened::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if !seeds.contains(&seed) {
                    return happened;
                }
                for (what, times) in play(seed) {
                    *happened.entry(what).or_default() += times;
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Happened::new();
        for worker in workers {
            for (what, times) in worker.join().expect("each history holds") {
                *all.entry(what).or_default() += times;
            }
        }
        all
    });
    let steps: usize =
        happened.iter().filter(|(what, _)| !SEEN.contains(what)).map(|(_, times)| times).sum();
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{steps} steps in {seconds:.1} s, {:.0} a second: {happened:?}",
        steps as f64 / seconds
    );
    let missing: Vec<_> = KINDS.iter().filter(|what| !happened.contains_key(*what)).collect();
    assert!(one.is_some() || missing.is_empty(), "it never came to {missing:?}");
}
