//! A listing that fails, lies or breaks off ends the run with the reason, and removes nothing.

use std::time::Duration;

use crate::support::{
    catchment::{Catchment, Run},
    fake_s3::{BUCKET, FakeS3, Fault, Kind, On},
    wire::Delivery,
};

const SOURCE: &str = "s3://catchment-test";

/// 36 objects on four pages, synced; then four of them, few enough for the guard, are deleted. Four
/// pages are left.
fn four_pages() -> (FakeS3, Catchment) {
    let s3 = FakeS3::start();
    s3.page_size(10);
    for number in 0..36 {
        s3.put(format!("key {number:02}"), format!("content {number}"));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    for number in [0, 11, 22, 33] {
        s3.delete(&format!("key {number:02}"));
    }
    s3.forget_requests();
    (s3, catchment)
}

/// The run failed and took nothing away; without the fault, the next run removes what is gone.
fn removes_nothing_until_healed(s3: &FakeS3, catchment: &Catchment, run: Run) {
    let run = run.exits(1);
    assert_eq!(run.summary().removed, 0, "{run}");
    assert_eq!(catchment.objects(BUCKET).len(), 36);
    s3.heal();
    let healed = catchment.sync(SOURCE).exits(0).summary();
    assert_eq!(healed.removed, 4);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_listing_that_is_denied_on_any_page_removes_nothing() {
    for page in 0..4 {
        let (s3, catchment) = four_pages();
        s3.inject(Fault::error(On::Listing, 403, "AccessDenied").after(page));

        let run = catchment.sync(SOURCE).says(&["AccessDenied"]);

        removes_nothing_until_healed(&s3, &catchment, run);
    }
}

#[test]
fn a_retry_is_reported_while_it_waits() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::error(On::Listing, 500, "InternalError").after(2).times(2));

    let run = catchment.sync(SOURCE).exits(0);

    let told: Vec<_> =
        run.events().into_iter().filter(|event| event["event"] == "retrying").collect();
    let attempts: Vec<_> = told.iter().map(|event| event["attempt"].as_u64()).collect();
    assert_eq!(attempts, [Some(2), Some(3)], "{run}");
    assert!(told[0]["reason"].as_str().unwrap().contains("InternalError"), "{run}");
    assert!(told[0]["wait_seconds"].as_f64().unwrap() > 0.0, "{run}");
}

#[test]
fn a_listing_that_keeps_failing_ends_the_run_within_two_minutes_with_the_reason() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::error(On::Listing, 500, "InternalError").after(2));

    let run = catchment.sync(SOURCE).says(&["InternalError"]);

    assert!(run.took < Duration::from_secs(120), "{run}");
    assert!(s3.count(Kind::List) > 4, "a server's error is worth a second try");
    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_listing_that_fails_now_and_then_is_retried() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::error(On::Listing, 500, "InternalError").after(1).times(1));
    s3.inject(Fault::slow_down(On::Listing, 1).after(2).times(1));
    s3.inject(Fault::reset(On::Listing).after(2).times(1));
    s3.inject(Fault::half_body(On::Listing).after(2).times(1));

    let summary = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((summary.unchanged, summary.removed), (32, 4));
}

#[test]
fn a_listing_whose_xml_ends_in_the_middle_of_its_first_page_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::half_body(On::Listing));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_listing_whose_xml_ends_in_the_middle_of_its_last_page_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::half_body(On::Listing).after(3));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_listing_that_is_cut_off_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::delivery(On::Listing, Delivery::CutAfter(400)).after(3));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_connection_that_is_reset_during_a_listing_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::delivery(On::Listing, Delivery::ResetAfter(900)).after(1));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn an_empty_response_to_a_listing_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::body(On::Listing, ""));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn the_page_of_a_captive_portal_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::body(On::Listing, "<html><body>Please log in</body></html>"));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

/// S3 may answer 200 and then write an error into the body, as it does for other operations.
#[test]
fn an_error_under_the_status_of_success_removes_nothing() {
    let (s3, catchment) = four_pages();
    let body =
        "<?xml version=\"1.0\"?><Error><Code>InternalError</Code><Message>m</Message></Error>";
    s3.inject(Fault::body(On::Listing, body));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_truncated_listing_without_a_continuation_token_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::listing_loses_its_token().after(1));

    let run = catchment.sync(SOURCE);

    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_deleted_source_bucket_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.remove_bucket();

    let run = catchment.sync(SOURCE).exits(1).says(&["NoSuchBucket"]);

    assert_eq!(run.summary().removed, 0);
    assert_eq!(catchment.objects(BUCKET).len(), 36);
}

#[test]
fn an_unreachable_server_removes_nothing() {
    let (s3, catchment) = four_pages();
    drop(s3);

    let run = catchment.sync(SOURCE).exits(1);

    assert!(run.took < Duration::from_secs(120), "{run}");
    assert_eq!(catchment.objects(BUCKET).len(), 36);
}

#[test]
fn a_server_that_goes_silent_in_a_listing_ends_the_run_within_two_minutes() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::delivery(On::Listing, Delivery::StallAfter(100)).after(1));

    let run = catchment.sync(SOURCE);

    assert!(run.took < Duration::from_secs(125), "{run}");
    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_listing_of_nothing_but_empty_pages_ends_after_a_thousand_and_removes_nothing() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::empty_pages().after(1));

    let run = catchment.sync(SOURCE).says(&["1000 pages in a row were empty"]);

    // Few more: an answer that makes no sense is asked for again, not often.
    assert!((1000..1020).contains(&s3.count(Kind::List)), "{}", s3.count(Kind::List));
    removes_nothing_until_healed(&s3, &catchment, run);
}

#[test]
fn a_listing_that_comes_a_byte_a_second_ends_the_run_within_two_minutes_with_the_reason() {
    let (s3, catchment) = four_pages();
    s3.inject(Fault::delivery(On::Listing, Delivery::Paced(1, Duration::from_secs(1))).after(1));

    let run = catchment.sync(SOURCE).says(&["no listing within 110 s"]);

    assert!(run.took < Duration::from_secs(125), "{run}");
    removes_nothing_until_healed(&s3, &catchment, run);
}
