//! Killed at any instant, or asked to stop, a sync loses nothing and goes on where it was.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::Signal;

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
    trees::Tree,
    wire::Delivery,
};

const S3_SOURCE: &str = "s3://catchment-test";

/// Everything that can be read after a kill is whole and was in the source.
fn holds_only_whole_objects(
    catchment: &Catchment,
    bucket: &str,
    source: &BTreeMap<Vec<u8>, String>,
) {
    let is_there = catchment.run(&["ls", "--json"]).stdout().contains(bucket);
    if !is_there {
        return;
    }
    for (path, hash) in catchment.contents(bucket) {
        assert_eq!(source.get(&path), Some(&hash), "{}", crate::support::catchment::show(&path));
    }
    catchment.run(&["verify", bucket]).exits(0);
}

#[test]
fn a_folder_sync_that_is_killed_at_any_instant_ends_equal_to_the_source() {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let tree = Tree::of_files("tree", 1500);
    for number in 0..6 {
        tree.write(format!("large {number}"), content::pattern(number, 3 << 20));
    }
    let source = tree.contents();
    let whole = Catchment::new();
    let mut duration = whole.sync(tree.source()).exits(0).took;

    let mut killed = 0;
    for _ in 0..12 {
        let catchment = Catchment::new();
        for attempt in 0..2 {
            let delay = duration.mul_f64(rng.f64() * 1.1);
            let is_killed = catchment.start_sync(tree.source(), NO_ARGS).killed_after(delay);
            killed += u32::from(is_killed);
            if attempt == 0 && !is_killed {
                // The one that was measured had less of the machine.
                duration = duration.min(delay);
            }
        }
        holds_only_whole_objects(&catchment, "tree", &source);

        catchment.sync(tree.source()).exits(0);

        catchment.holds_exactly("tree", &source);
        let again = catchment.sync(tree.source()).exits(0).summary();
        assert_eq!(again.unchanged, source.len() as u64);
    }
    assert!(killed >= 6, "only {killed} kills came before the end");
}

const NO_ARGS: &[&str] = &[];

#[test]
fn an_s3_sync_that_is_killed_at_any_instant_ends_equal_to_the_source() {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let s3 = FakeS3::start();
    for number in 0..400 {
        s3.put(format!("key {number:04}"), content::pattern(number, rng.usize(0..20_000)));
    }
    s3.put("large", content::pattern(9999, 40 << 20));
    s3.page_size(100);
    // Slow enough that kills fall into the middle of transfers.
    s3.inject(Fault::delivery(On::AnyGet, Delivery::Paced(4 << 20, Duration::from_millis(5))));
    let source = s3.contents();
    let whole = Catchment::reaching(&s3.endpoint());
    let mut duration = whole.sync(S3_SOURCE).exits(0).took;

    let mut killed = 0;
    for _ in 0..10 {
        let catchment = Catchment::reaching(&s3.endpoint());
        for attempt in 0..3 {
            let delay = duration.mul_f64(rng.f64());
            let is_killed = catchment.start_sync(S3_SOURCE, NO_ARGS).killed_after(delay);
            killed += u32::from(is_killed);
            if attempt == 0 && !is_killed {
                // The one that was measured had less of the machine.
                duration = duration.min(delay);
            }
        }
        holds_only_whole_objects(&catchment, BUCKET, &source);

        catchment.sync(S3_SOURCE).exits(0);

        catchment.holds_exactly(BUCKET, &source);
        let again = catchment.sync(S3_SOURCE).exits(0).summary();
        assert_eq!(again.unchanged, source.len() as u64);
    }
    assert!(killed >= 8, "only {killed} kills came before the end");
}

#[test]
fn a_run_of_updates_and_removals_that_is_killed_ends_equal_to_the_source() {
    let mut rng = fastrand::Rng::with_seed(content::seed());
    let tree = Tree::of_files("tree", 600);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    for round in 0..8 {
        for _ in 0..60 {
            let path = format!("d{:02}/f{:04}", rng.u8(0..6), rng.u16(0..600));
            match rng.u8(0..3) {
                0 if tree.at(&path).exists() => tree.remove(&path),
                _ => tree.write(&path, format!("round {round} {}", rng.u64(..))),
            }
        }
        let delay = Duration::from_micros(rng.u64(0..120_000));
        catchment.start_sync(tree.source(), NO_ARGS).killed_after(delay);

        catchment.sync(tree.source()).exits(0);

        catchment.holds_exactly("tree", &tree.contents());
    }
}

/// A sync that stands in the middle of slow transfers.
fn in_the_middle_of_a_sync() -> (FakeS3, Catchment, crate::support::catchment::Running) {
    let s3 = FakeS3::start();
    for number in 0..200 {
        s3.put(format!("key {number:03}"), content::pattern(number, 1000));
    }
    s3.put("large", content::pattern(1000, 40 << 20));
    let slow = Delivery::Paced(10_000, Duration::from_millis(50));
    s3.inject(Fault::delivery(On::AnyGet, slow).after(100));
    let catchment = Catchment::reaching(&s3.endpoint());
    let run = catchment.start_sync(S3_SOURCE, NO_ARGS);
    s3.wait_until("the reading to be under way", |seen| {
        seen.iter().filter(|seen| seen.kind == Kind::Get).count() > 110
    });
    (s3, catchment, run)
}

fn stops_within_five_seconds_and_resumes(signal: Signal) {
    let (s3, catchment, run) = in_the_middle_of_a_sync();
    let asked = std::time::Instant::now();
    run.signal(signal);
    let run = run.ends();

    assert!(asked.elapsed() < Duration::from_secs(5), "after {:?}", asked.elapsed());
    let run = run.exits(1).says(&["again"]);
    assert_eq!(run.summary().status, "interrupted");
    assert_eq!(run.summary().removed, 0);

    s3.heal();
    catchment.sync(S3_SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn ctrl_c_stops_within_five_seconds_and_the_next_run_goes_on() {
    stops_within_five_seconds_and_resumes(Signal::INT);
}

#[test]
fn sigterm_stops_within_five_seconds_and_the_next_run_goes_on() {
    stops_within_five_seconds_and_resumes(Signal::TERM);
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_nothing_is_lost() {
    let (s3, catchment, run) = in_the_middle_of_a_sync();
    run.signal(Signal::INT);
    run.signal(Signal::INT);
    let asked = std::time::Instant::now();
    let _ = run.ends_somehow();

    assert!(asked.elapsed() < Duration::from_secs(2), "after {:?}", asked.elapsed());
    holds_only_whole_objects(&catchment, BUCKET, &s3.contents());
    s3.heal();
    catchment.sync(S3_SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}
