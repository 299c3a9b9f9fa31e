//! Filters on more than the listing: asked once, of those that passed the rest, and remembered.

use crate::support::{
    catchment::Catchment,
    fake_s3::{BUCKET, FakeS3, Fault, Kind, Object, On, Seen},
};

const SOURCE: &str = "s3://catchment-test";

fn keys(s3: &FakeS3, kind: Kind) -> Vec<String> {
    let of_kind = |seen: &Seen| seen.kind == kind;
    let mut keys: Vec<_> = s3.requests().into_iter().filter(of_kind).collect();
    keys.sort_by(|one, other| one.key.cmp(&other.key));
    keys.into_iter().map(|seen| String::from_utf8(seen.key).unwrap()).collect()
}

fn paths(catchment: &Catchment) -> Vec<String> {
    catchment.objects(BUCKET).into_keys().map(|path| String::from_utf8(path).unwrap()).collect()
}

fn author(name: &str) -> Object {
    Object::new(name.as_bytes()).metadata("author", name)
}

#[test]
fn metadata_is_requested_once_and_only_for_entries_that_pass_the_other_filters() {
    let s3 = FakeS3::start();
    s3.put_object("a.txt", author("Ada"));
    s3.put_object("b.txt", author("Bob"));
    s3.put_object("c.jpg", author("Ada"));
    let catchment = Catchment::reaching(&s3.endpoint());
    let filters = ["--include", "*.txt", "--metadata", "metadata.author equals Ada"];

    let first = catchment.sync_with(SOURCE, &filters).exits(0).summary();

    assert_eq!((first.synced, first.filtered), (1, 2));
    assert_eq!(paths(&catchment), ["a.txt"]);
    assert_eq!(keys(&s3, Kind::Head), ["a.txt", "b.txt"]);
    assert_eq!(keys(&s3, Kind::Get), ["a.txt"]);
    assert_eq!(s3.count(Kind::Tags), 0);

    s3.forget_requests();
    let again = catchment.sync_with(SOURCE, &filters).exits(0).summary();
    assert_eq!((again.unchanged, again.filtered), (1, 2));
    assert_eq!(s3.requests().len(), s3.count(Kind::List), "nothing is asked twice");
}

#[test]
fn a_condition_that_the_listing_can_decide_makes_no_request() {
    let s3 = FakeS3::start();
    s3.put("small", "x");
    s3.put("large", "x".repeat(100));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync_with(SOURCE, &["--metadata", "size gt 99"]).exits(0);

    assert_eq!(paths(&catchment), ["large"]);
    assert_eq!((s3.count(Kind::Head), s3.count(Kind::Tags), s3.count(Kind::Get)), (0, 0, 1));
}

#[test]
fn only_a_changed_entrys_metadata_is_requested_again() {
    let s3 = FakeS3::start();
    for name in ["Ada", "Bob", "Cid"] {
        s3.put_object(name, author(name));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let filters = ["--metadata", "author equals Ada"];
    catchment.sync_with(SOURCE, &filters).exits(0);
    s3.put_object("Bob", Object::new("Bob is Ada now").metadata("author", "Ada"));
    s3.forget_requests();

    let summary = catchment.sync_with(SOURCE, &filters).exits(0).summary();

    assert_eq!((summary.synced, summary.filtered, summary.unchanged), (1, 1, 1));
    assert_eq!(
        (keys(&s3, Kind::Head), keys(&s3, Kind::Get)),
        (vec!["Bob".into()], vec!["Bob".into()])
    );
}

#[test]
fn a_new_condition_is_checked_against_existing_objects_without_reading_them_again() {
    let s3 = FakeS3::start();
    for name in ["Ada", "Bob", "Cid"] {
        s3.put_object(
            name,
            author(name).tag("state", if name == "Bob" { "draft" } else { "final" }),
        );
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    s3.forget_requests();

    let by_metadata = ["--metadata", "metadata.author not_equals Ada"];
    let planned = catchment
        .sync_with(SOURCE, &[&by_metadata[..], &["--dry-run"]].concat())
        .exits(0)
        .summary();
    assert_eq!((planned.removed, planned.filtered), (1, 1), "a preview asks, and says so");
    assert_eq!(paths(&catchment).len(), 3, "and changes nothing");
    s3.forget_requests();
    let summary = catchment.sync_with(SOURCE, &by_metadata).exits(0).summary();
    assert_eq!((summary.removed, summary.filtered, summary.unchanged), (1, 1, 2));
    assert_eq!(s3.requests().len(), s3.count(Kind::List), "its metadata was kept");

    let by_tag = ["--metadata", "tags.state equals final"];
    let summary = catchment.sync_with(SOURCE, &by_tag).exits(0).summary();
    assert_eq!(paths(&catchment), ["Ada", "Cid"]);
    assert_eq!((summary.synced, summary.removed), (1, 1));
    assert_eq!(keys(&s3, Kind::Tags), ["Ada", "Bob", "Cid"]);
    assert_eq!(keys(&s3, Kind::Get), ["Ada"], "what was removed comes back, the rest is here");
    s3.forget_requests();
    catchment.sync_with(SOURCE, &by_tag).exits(0);
    assert_eq!(s3.requests().len(), s3.count(Kind::List));
}

#[test]
fn an_entry_whose_metadata_cannot_be_read_fails_and_is_not_left_out() {
    let s3 = FakeS3::start();
    s3.put_object("a", author("Ada"));
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(SOURCE).exits(0);
    s3.inject(Fault::error(On::TagsOf("a"), 403, "AccessDenied"));

    let summary = catchment.sync_with(SOURCE, &["--metadata", "tags.x exists false"]).exits(3);

    summary.says(&["GetObjectTagging"]);
    assert_eq!(paths(&catchment), ["a"], "nothing is removed for a question without an answer");
}

#[test]
fn the_storage_class_and_the_content_type_can_be_filtered_by() {
    let s3 = FakeS3::start();
    s3.put_object("cold", Object::new("1").storage_class("STANDARD_IA"));
    s3.put_object("page", Object::new("2").content_type("text/html"));
    s3.put("plain", "3");
    let of = |condition: &str| {
        let catchment = Catchment::reaching(&s3.endpoint());
        catchment.sync_with(SOURCE, &["--metadata", condition]).exits(0);
        paths(&catchment)
    };
    assert_eq!(of("storage_class equals STANDARD_IA"), ["cold"]);
    assert_eq!(of("storage_class equals STANDARD"), ["page", "plain"]);
    assert_eq!(of("content_type contains html"), ["page"]);
}

#[test]
fn deleted_entries_are_forgotten() {
    let s3 = FakeS3::start();
    s3.put_object("Ada", author("Ada"));
    s3.put_object("Bob", author("Bob"));
    let catchment = Catchment::reaching(&s3.endpoint());
    let filters = ["--metadata", "author equals Ada"];
    let remembered = || -> i64 {
        let db = rusqlite::Connection::open(catchment.data_dir().join("catchment.db")).unwrap();
        db.query_row("SELECT count(*) FROM left_out", [], |row| row.get(0)).unwrap()
    };
    catchment.sync_with(SOURCE, &filters).exits(0);
    assert_eq!(remembered(), 1);
    catchment.sync_with(SOURCE, &filters).exits(0);
    assert_eq!(remembered(), 1);

    s3.delete("Bob");
    catchment.sync_with(SOURCE, &filters).exits(0);
    assert_eq!(remembered(), 0);
}

#[test]
fn extensions_and_mime_types_are_filtered_from_the_listing_alone() {
    let s3 = FakeS3::start();
    for key in ["a.JPG", "b.png", "c.txt", "d.tar.gz", "jpg"] {
        s3.put(key, key);
    }
    let of = |arguments: &[&str]| {
        let catchment = Catchment::reaching(&s3.endpoint());
        catchment.sync_with(SOURCE, arguments).exits(0);
        paths(&catchment)
    };
    assert_eq!(of(&["--extension", "jpg", "--extension", ".tar.gz"]), ["a.JPG", "d.tar.gz"]);
    assert_eq!(of(&["--mime-type", "image/*"]), ["a.JPG", "b.png"]);
    assert_eq!(s3.count(Kind::Head), 0);
}

#[test]
fn an_invalid_condition_is_refused_before_anything_happens() {
    let catchment = Catchment::new();
    for (condition, says) in [
        ("author resembles Ada", "is not an operator"),
        ("author gt", "--metadata (value)"),
        ("author exists perhaps", "true, false"),
    ] {
        catchment.run(&["sync", "/tmp", "--metadata", condition]).exits(2).says(&[says]);
    }
}
