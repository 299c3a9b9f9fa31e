//! What fails for one entry is that entry's failure; what fails for the connection is the run's.

use std::time::Duration;

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, Object, On},
    wire::Delivery,
};

const SOURCE: &str = "s3://catchment-test";

fn with_objects(count: usize) -> (FakeS3, Catchment) {
    let s3 = FakeS3::start();
    for number in 0..count {
        s3.put(format!("key {number:02}"), format!("content {number}"));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    (s3, catchment)
}

#[test]
fn an_object_that_may_not_be_read_fails_alone_and_is_copied_once_it_may_be() {
    let (s3, catchment) = with_objects(10);
    s3.inject(Fault::error(On::GetOf("key 04"), 403, "AccessDenied"));

    let summary = catchment.sync(SOURCE).exits(3).says(&["key 04", "AccessDenied"]).summary();
    assert_eq!((summary.synced, summary.failed), (9, 1));
    assert_eq!(catchment.objects(BUCKET).len(), 9);

    s3.heal();
    let summary = catchment.sync(SOURCE).exits(0).summary();
    assert_eq!((summary.synced, summary.unchanged), (1, 9));
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn an_object_that_keeps_failing_costs_no_other_object() {
    let (s3, catchment) = with_objects(10);
    s3.inject(Fault::error(On::GetOf("key 04"), 500, "InternalError"));

    let summary = catchment.sync(SOURCE).exits(3).says(&["key 04"]).summary();

    assert_eq!((summary.synced, summary.failed), (9, 1));
}

#[test]
fn a_failing_update_leaves_the_object_as_it_was() {
    let (s3, catchment) = with_objects(3);
    catchment.sync(SOURCE).exits(0);
    s3.put("key 01", "changed");
    s3.inject(Fault::error(On::GetOf("key 01"), 403, "AccessDenied"));

    let summary = catchment.sync(SOURCE).exits(3).summary();

    assert_eq!((summary.failed, summary.unchanged, summary.removed), (1, 2, 0));
    assert_eq!(catchment.get(BUCKET, b"key 01"), b"content 1");
}

#[test]
fn everything_arrives_from_a_server_that_asks_to_slow_down() {
    let (s3, catchment) = with_objects(60);
    let seed = content::seed();
    // Seven times in a row, after which an entry is left for the next run, is one run in ten
    // thousand.
    s3.inject(Fault::slow_down(On::Anything, 0).percent(15, seed));

    catchment.sync(SOURCE).exits(0);

    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_retry_waits_as_long_as_the_server_says() {
    for status in [429, 503] {
        let (s3, catchment) = with_objects(1);
        let fault = match status {
            503 => Fault::slow_down(On::GetOf("key 00"), 3),
            _ => Fault::too_many_requests(On::GetOf("key 00"), 3),
        };
        s3.inject(fault.times(1));

        catchment.sync(SOURCE).exits(0);

        let times: Vec<_> = s3
            .requests()
            .iter()
            .filter(|seen| seen.kind == Kind::Get)
            .map(|seen| seen.at)
            .collect();
        assert_eq!(times.len(), 2);
        assert!(times[1] - times[0] >= Duration::from_secs(3), "after {:?}", times[1] - times[0]);
    }
}

#[test]
fn bodies_that_are_cut_off_or_reset_are_fetched_again() {
    let s3 = FakeS3::start();
    for number in 0..8 {
        s3.put(format!("key {number}"), content::pattern(number, 300_000));
    }
    s3.inject(Fault::delivery(On::GetOf("key 1"), Delivery::CutAfter(0)).times(1));
    s3.inject(Fault::delivery(On::GetOf("key 2"), Delivery::CutAfter(299_999)).times(1));
    s3.inject(Fault::delivery(On::GetOf("key 3"), Delivery::ResetAfter(100_000)).times(2));
    s3.inject(Fault::reset(On::GetOf("key 4")).times(1));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(SOURCE).exits(0);

    catchment.holds_exactly(BUCKET, &s3.contents());
}

/// A length that is a lie under a whole HTTP message: the object's size in the listing tells.
#[test]
fn a_body_that_is_shorter_than_listed_is_never_stored() {
    let (s3, catchment) = with_objects(3);
    s3.put("short", content::pattern(1, 10_000));
    s3.inject(Fault::half_body(On::GetOf("short")));

    let summary = catchment.sync(SOURCE).exits(3).summary();

    assert_eq!((summary.synced, summary.failed), (3, 1));
    assert!(!catchment.contents(BUCKET).contains_key(&b"short"[..]));
}

#[test]
fn an_object_that_vanishes_before_it_is_read_leaves_nothing_behind() {
    let (s3, catchment) = with_objects(5);
    s3.inject(
        Fault::first(On::GetOf("key 02"), |objects| {
            objects.remove(&b"key 02"[..]);
        })
        .times(1),
    );

    let run = catchment.sync(SOURCE);
    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    assert_eq!(catchment.objects(BUCKET).len(), 4);

    catchment.sync(SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_run_that_a_person_starts_tries_what_waits() {
    let (s3, catchment) = with_objects(2);
    s3.inject(Fault::error(On::GetOf("key 01"), 403, "AccessDenied"));
    for _ in 0..3 {
        assert_eq!(catchment.sync(SOURCE).exits(3).summary().failed, 1);
    }
    s3.heal();

    assert_eq!(catchment.sync(SOURCE).exits(0).summary().synced, 1);
}

/// An index that is ahead of its data: what it lists cannot be read yet.
#[test]
fn an_object_that_is_listed_and_cannot_be_found_fails_and_is_never_removed() {
    let (s3, catchment) = with_objects(5);
    catchment.sync(SOURCE).exits(0);
    s3.put("key 02", "the new content");
    s3.put("new key", "new");
    s3.inject(Fault::error(On::Object("key 02"), 404, "NoSuchKey"));
    s3.inject(Fault::error(On::GetOf("new key"), 404, "NoSuchKey"));

    let summary = catchment.sync(SOURCE).exits(3).says(&["key 02", "new key"]).summary();

    assert_eq!((summary.discovered, summary.failed, summary.removed), (6, 2, 0));
    assert_eq!(catchment.get(BUCKET, b"key 02"), b"content 2");
    s3.heal();
    s3.delete("key 02");
    assert_eq!(catchment.sync(SOURCE).exits(0).summary().removed, 1, "a listing without it");
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_key_that_the_listing_names_wrongly_is_counted_as_failed() {
    let (s3, catchment) = with_objects(1);
    s3.put("a+b", "its name has a plus");
    s3.inject(Fault::listing_leaves_plus());

    let summary = catchment.sync(SOURCE).exits(3).summary();

    assert_eq!((summary.discovered, summary.synced, summary.failed), (2, 1, 1));
}

#[test]
fn expired_credentials_stop_the_run_and_blame_no_entry() {
    for code in ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"] {
        let (s3, catchment) = with_objects(80);
        s3.inject(Fault::error(On::Anything, 400, code).after(20));

        let summary = catchment.sync(SOURCE).exits(1).says(&[code]).summary();
        assert_eq!((summary.failed, summary.removed), (0, 0), "{code}");

        s3.heal();
        catchment.sync(SOURCE).exits(0);
        catchment.holds_exactly(BUCKET, &s3.contents());
    }
}

#[test]
fn credentials_that_are_revoked_during_the_run_stop_it_and_blame_no_entry() {
    for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch"] {
        let (s3, catchment) = with_objects(600);
        s3.inject(Fault::error(On::Anything, 403, code).after(20));

        let summary = catchment.sync(SOURCE).exits(1).says(&[code]).summary();

        assert_eq!((summary.failed, summary.removed), (0, 0), "{code}");
        let requests = s3.requests().len();
        assert!(requests < 300, "it went on asking: {requests} requests");
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_and_blames_no_entry() {
    let (s3, catchment) = with_objects(5);
    s3.inject(Fault::error(On::Anything, 403, "RequestTimeTooSkewed"));

    let run = catchment.sync(SOURCE).exits(1).says(&["RequestTimeTooSkewed", "clock"]);

    assert_eq!(run.summary().failed, 0);
}

#[test]
fn archived_objects_are_skipped_with_a_count_and_restored_ones_are_copied() {
    let (s3, catchment) = with_objects(2);
    s3.put_object("glacier", Object::new("a").storage_class("GLACIER"));
    s3.put_object("deep", Object::new("b").storage_class("DEEP_ARCHIVE"));
    s3.put_object("restored", Object::new("c").storage_class("GLACIER").restored());
    s3.put_object("instant", Object::new("d").storage_class("GLACIER_IR"));
    s3.put_object("infrequent", Object::new("e").storage_class("STANDARD_IA"));

    let run = catchment.sync(SOURCE).exits(0);

    assert_eq!((run.summary().synced, run.summary().filtered), (5, 2));
    let paths: Vec<_> = catchment.contents(BUCKET).into_keys().collect();
    let want = ["infrequent", "instant", "key 00", "key 01", "restored"];
    assert_eq!(paths, want.map(|path| path.as_bytes().to_vec()));
    let asked = s3.requests().iter().any(|seen| [&b"glacier"[..], b"deep"].contains(&&*seen.key));
    assert!(!asked, "an archived object was asked for");
}

#[test]
fn the_reason_why_archived_objects_are_skipped_is_shown() {
    let (s3, catchment) = with_objects(2);
    s3.put_object("glacier", Object::new("a").storage_class("GLACIER"));
    let endpoint = s3.endpoint().url;

    catchment.sync_with(SOURCE, &["--dry-run"]).exits(0).says(&["GLACIER"]);
    let run = catchment.run(&["sync", SOURCE, "--endpoint-url", &endpoint]).exits(0);

    run.says(&["1 left out", "archive"]);
}

#[test]
fn an_object_that_the_server_redirects_fails_alone() {
    let (s3, other) = (FakeS3::start(), FakeS3::start());
    for key in ["a", "elsewhere", "z"] {
        s3.put(key, key);
    }
    s3.inject(Fault::redirect(On::GetOf("elsewhere"), &other.url_under_another_name()));
    let catchment = Catchment::reaching(&s3.endpoint());

    let run = catchment.sync(format!("s3://{BUCKET}")).exits(3).says(&["elsewhere", "redirect"]);

    assert_eq!((run.summary().synced, run.summary().failed), (2, 1));
}

#[test]
fn a_key_without_end_fails_alone_or_is_synced() {
    let s3 = FakeS3::start();
    s3.put("a", "a");
    s3.put("k".repeat(70_000), "long");
    s3.put("z", "z");
    let catchment = Catchment::reaching(&s3.endpoint());

    let run = catchment.sync(format!("s3://{BUCKET}"));

    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    assert_eq!(run.summary().synced + run.summary().failed, 3);
    assert!(run.summary().synced >= 2);
}

#[test]
fn an_object_that_comes_a_byte_a_second_fails_alone_within_two_minutes_with_the_reason() {
    let (s3, catchment) = with_objects(10);
    s3.put("key 04", content::pattern(4, 4096));
    let pace = Delivery::Paced(1, Duration::from_secs(1));
    s3.inject(Fault::delivery(On::GetOf("key 04"), pace));

    let run = catchment.sync(SOURCE).exits(3).says(&["key 04", "bytes came in"]);

    assert!(run.took < Duration::from_secs(140), "{run}");
    assert_eq!((run.summary().synced, run.summary().failed), (9, 1), "{run}");
    s3.heal();
    catchment.sync(SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}
