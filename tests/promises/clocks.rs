//! A clock that jumps costs nothing: not time with the lease, not objects, not a second copy.

use std::time::Duration;

use crate::support::{
    catchment::Catchment,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
    trees::Tree,
    wire::Delivery,
};

#[test]
fn a_clock_that_has_jumped_ahead_or_back_finds_everything_unchanged() {
    let tree = Tree::of_files("tree", 20);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);

    for clock in ["+400d", "-400d", "+0d"] {
        let catchment = catchment.at_time(clock);
        let summary = catchment.sync(tree.source()).exits(0).summary();
        assert_eq!((summary.unchanged, summary.removed), (20, 0), "{clock}");
    }
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn changes_arrive_while_the_clock_is_set_in_the_past() {
    let tree = Tree::of_files("tree", 20);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    tree.write("new", "new");
    tree.remove("d00/f0001");

    let summary = catchment.at_time("-400d").sync(tree.source()).exits(0).summary();

    assert_eq!((summary.synced, summary.removed), (1, 1));
    catchment.holds_exactly("tree", &tree.contents());
}

/// A lease seems to be of the future, or long expired, to a process whose clock is another.
#[test]
fn the_lease_of_a_dead_run_is_taken_over_whatever_the_clock_says() {
    for clock in ["+400d", "-400d"] {
        let s3 = FakeS3::start();
        s3.put("key", "x".repeat(100));
        s3.inject(Fault::delivery(On::AnyGet, Delivery::StallAfter(10)));
        let catchment = Catchment::reaching(&s3.endpoint());
        let run = catchment.start_sync(format!("s3://{BUCKET}"), &[] as &[&str]);
        s3.wait_until("the first read", |seen| seen.iter().any(|seen| seen.kind == Kind::Get));
        run.kill();
        s3.heal();
        s3.accept_any_time();

        catchment.at_time(clock).sync(format!("s3://{BUCKET}")).exits(0);

        catchment.holds_exactly(BUCKET, &s3.contents());
    }
}

/// By its clock the other's lease has long expired, so it may take it; what it must not do is let
/// both of them write.
#[test]
fn two_runs_whose_clocks_disagree_store_each_object_once() {
    let s3 = FakeS3::start();
    for number in 0..20 {
        s3.put(format!("key {number}"), "x".repeat(100));
    }
    s3.inject(
        Fault::delivery(On::AnyGet, Delivery::Paced(50, Duration::from_millis(500))).times(20),
    );
    s3.accept_any_time();
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    let first = catchment.start_sync(&source, &[] as &[&str]);
    s3.wait_until("the first read", |seen| seen.iter().any(|seen| seen.kind == Kind::Get));

    let ahead = catchment.at_time("+400d").sync(&source);
    let first = first.ends();

    assert!([&ahead, &first].iter().all(|run| matches!(run.code(), Some(0 | 1))), "{ahead}{first}");
    assert!(ahead.summary().synced + first.summary().synced <= 20, "{ahead}{first}");
    catchment.sync(&source).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}
