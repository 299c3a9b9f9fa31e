//! Servers that speak S3 in a way of their own: what arrives is what is stored, and once is enough.

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Kind, Manner, Object},
};

const SOURCE: &str = "s3://catchment-test";

/// Large enough to be fetched in parts.
const LARGE: usize = 20 << 20;

/// A server that behaves so, with objects of all sizes, whose keys take every way to be fetched.
fn server(manner: Manner) -> (FakeS3, Catchment) {
    let s3 = FakeS3::start();
    s3.behaves(manner);
    for (key, size) in [("small", 10), ("odd//key", 300_000), ("medium", 300_000), ("large", LARGE)]
    {
        let unpacked = content::pattern(7, size * 2);
        s3.put_object(key, Object::new(content::pattern(1, size)).unpacks_to(unpacked));
    }
    s3.put("plain", "not packed");
    let catchment = Catchment::reaching(&s3.endpoint());
    (s3, catchment)
}

/// Syncs twice: everything arrives as it is stored, and nothing is fetched again.
fn arrives_once(manner: Manner) {
    let (s3, catchment) = server(manner);

    let first = catchment.sync(SOURCE).exits(0).summary();
    s3.forget_requests();
    let second = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((first.synced, second.unchanged), (5, 5), "{manner:?}");
    assert_eq!(s3.count(Kind::Get) + s3.count(Kind::Head), 0, "{manner:?}");
    catchment.holds_exactly(BUCKET, &s3.contents());
    catchment.run(&["verify"]).exits(0);
}

#[test]
fn objects_of_a_server_without_ranges_arrive_whole() {
    arrives_once(Manner::IgnoresRanges);
    arrives_once(Manner::RefusesRanges);
}

#[test]
fn what_is_stored_packed_arrives_packed_from_a_server_that_unpacks_it() {
    arrives_once(Manner::Unpacks);
    arrives_once(Manner::UnpacksAndTellsTheLength);
}

#[test]
fn objects_arrive_from_a_server_that_sends_no_content_length() {
    arrives_once(Manner::TellsNoLength);
}

#[test]
fn objects_whose_tags_are_weak_where_they_are_read_are_not_fetched_by_every_run() {
    arrives_once(Manner::WeakTags);
}

#[test]
fn objects_that_reads_call_otherwise_than_the_listing_are_not_fetched_by_every_run() {
    arrives_once(Manner::OtherTags);
}

#[test]
fn an_object_that_reads_call_otherwise_arrives_anew_once_it_has_changed() {
    let (s3, catchment) = server(Manner::OtherTags);
    catchment.sync(SOURCE).exits(0);
    s3.put("small", "changed to this");
    s3.put("large", content::pattern(2, LARGE));

    let second = catchment.sync(SOURCE).exits(0).summary();

    assert_eq!((second.updated, second.unchanged), (2, 3));
    catchment.holds_exactly(BUCKET, &s3.contents());
}
