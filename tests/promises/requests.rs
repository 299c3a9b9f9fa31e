//! What a run costs in requests and bytes.

use std::time::Duration;

use catchment::blobs::PART_BYTES;

use crate::support::{
    catchment::{Catchment, poll_until},
    content,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On, Seen},
    wire::Delivery,
};

const SOURCE: &str = "s3://catchment-test";

fn no_change_run_costs(objects: usize, lists: usize) {
    let s3 = FakeS3::start();
    for number in 0..objects {
        s3.put(format!("key {number:05}"), number.to_string());
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let first = catchment.sync(SOURCE).exits(0).summary();
    assert_eq!(first.synced, objects as u64);
    assert_eq!(s3.count(Kind::Get), objects, "one read an object");
    assert_eq!(s3.count(Kind::Head), 0);
    s3.forget_requests();

    let again = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((again.unchanged, again.bytes), (objects as u64, 0));
    assert_eq!(s3.count(Kind::List), lists);
    let others: Vec<_> = s3.requests().into_iter().filter(|seen| seen.kind != Kind::List).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn an_unchanged_bucket_of_nothing_costs_one_listing() {
    no_change_run_costs(0, 1);
}

#[test]
fn an_unchanged_bucket_of_1_object_costs_one_listing() {
    no_change_run_costs(1, 1);
}

#[test]
fn an_unchanged_bucket_of_1000_objects_costs_one_listing() {
    no_change_run_costs(1000, 1);
}

#[test]
fn an_unchanged_bucket_of_1001_objects_costs_two_listings() {
    no_change_run_costs(1001, 2);
}

#[test]
fn an_unchanged_bucket_of_2500_objects_costs_three_listings() {
    no_change_run_costs(2500, 3);
}

#[test]
fn a_changed_object_costs_one_read() {
    let s3 = FakeS3::start();
    for number in 0..50 {
        s3.put(format!("key {number}"), number.to_string());
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    s3.put("key 7", "changed");
    s3.forget_requests();

    let summary = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((summary.updated, summary.unchanged), (1, 49));
    assert_eq!((s3.count(Kind::List), s3.count(Kind::Get), s3.count(Kind::Head)), (1, 1, 0));
}

#[test]
fn every_read_is_pinned_to_the_version_that_was_listed() {
    let s3 = FakeS3::start();
    s3.put("small", "x");
    s3.put("large", content::pattern(1, 40 << 20));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(SOURCE).exits(0);

    for seen in s3.requests().iter().filter(|seen| seen.kind == Kind::Get) {
        assert!(seen.request.header("if-match").is_some(), "{seen:?}");
    }
}

#[test]
fn a_large_object_is_read_in_ranges_that_together_are_its_size() {
    let s3 = FakeS3::start();
    s3.put("large", content::pattern(1, 64 << 20));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(SOURCE).exits(0);

    assert!(s3.count(Kind::Get) > 1, "one read for 64 MiB");
    assert_eq!(s3.object_bytes_sent(), 64 << 20);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_large_object_resumes_from_its_parts_after_a_kill() {
    const SIZE: u64 = 64 << 20;
    const WORKERS: u64 = 3;
    let s3 = FakeS3::start();
    s3.put("large", content::pattern(1, SIZE as usize));
    s3.inject(Fault::delivery(On::AnyGet, Delivery::Paced(1 << 20, Duration::from_millis(20))));
    let catchment = Catchment::reaching(&s3.endpoint());
    let arguments = ["--concurrency", &WORKERS.to_string()];

    let run = catchment.start_sync(SOURCE, &arguments);
    s3.wait_until("most of the object to be sent", |seen| {
        seen.iter().map(Seen::bytes_sent).sum::<u64>() > SIZE * 3 / 4
    });
    run.kill();
    s3.heal();
    catchment.sync_with(SOURCE, &arguments).exits(0);

    let again = s3.object_bytes_sent().saturating_sub(SIZE);
    let allowed = WORKERS * PART_BYTES;
    assert!(again <= allowed, "{again} bytes were sent twice, {allowed} may be");
    catchment.holds_exactly(BUCKET, &s3.contents());
}

/// Each request brings more than a part and less than was asked for: the tries are for each part.
#[test]
fn a_large_object_arrives_over_a_connection_that_breaks_after_every_few_mib() {
    const SIZE: u64 = 100 << 20;
    let s3 = FakeS3::start();
    s3.put("large", content::pattern(1, SIZE as usize));
    s3.inject(Fault::delivery(On::AnyGet, Delivery::CutAfter(9 << 20)));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(SOURCE).exits(0);

    catchment.holds_exactly(BUCKET, &s3.contents());
    let sent = s3.object_bytes_sent();
    assert!(sent < SIZE * 5 / 4, "{sent} bytes for {SIZE}: parts that had come were sent again");
}

#[test]
fn a_large_object_that_was_replaced_meanwhile_does_not_resume_from_old_parts() {
    let s3 = FakeS3::start();
    s3.put("large", content::pattern(1, 48 << 20));
    s3.inject(Fault::delivery(On::AnyGet, Delivery::Paced(1 << 20, Duration::from_millis(20))));
    let catchment = Catchment::reaching(&s3.endpoint());
    let run = catchment.start_sync(SOURCE, &["--concurrency", "2"]);
    s3.wait_until("half of the object to be sent", |seen| {
        seen.iter().map(Seen::bytes_sent).sum::<u64>() > 24 << 20
    });
    run.kill();
    s3.heal();
    s3.put("large", content::pattern(2, 48 << 20));

    catchment.sync(SOURCE).exits(0);

    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn objects_that_arrived_before_a_kill_are_not_read_again() {
    let s3 = FakeS3::start();
    for number in 0..3000 {
        s3.put(format!("key {number:04}"), content::pattern(number, 500));
    }
    // The listing's third page does not come, so that the run stands still behind the first two.
    s3.inject(Fault::delivery(On::Listing, Delivery::StallAfter(10)).after(2));
    let catchment = Catchment::reaching(&s3.endpoint());
    let run = catchment.start_sync(SOURCE, &[] as &[&str]);
    s3.wait_until("the objects of a page to be read", |seen| {
        seen.iter().filter(|seen| seen.kind == Kind::Get).count() >= 1000
    });
    poll_until("most of them to be committed", Duration::from_secs(20), || {
        (catchment.objects(BUCKET).len() >= 900).then_some(())
    });
    run.kill();
    let there = catchment.objects(BUCKET).len();
    s3.heal();
    s3.forget_requests();

    catchment.sync(SOURCE).exits(0);

    assert_eq!(s3.count(Kind::Get), 3000 - there);
    catchment.holds_exactly(BUCKET, &s3.contents());
}
