//! What cannot be is refused with a message that says what is wrong, before anything is touched.

use std::os::unix::fs::PermissionsExt;

use crate::support::{
    Endpoint,
    catchment::Catchment,
    fake_s3::{BUCKET, FakeS3},
    trees::Tree,
};

#[test]
fn an_unknown_scheme_is_refused_with_those_that_are_known() {
    let run = Catchment::new().run(&["sync", "gopher://host/path"]);

    run.exits(2).says(&["gopher", "s3://", "tigris://"]);
}

#[test]
fn an_address_without_a_bucket_is_refused() {
    Catchment::new().run(&["sync", "s3://"]).exits(2).says(&["bucket"]);
    Catchment::new().run(&["sync", "s3:///key"]).exits(2).says(&["bucket"]);
}

#[test]
fn an_empty_source_is_refused() {
    Catchment::new().run(&["sync", ""]).exits(2).says(&["source"]);
}

#[test]
fn a_source_is_needed() {
    Catchment::new().run(&["sync"]).exits(2).says(&["SOURCE"]);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let catchment = Catchment::new();

    let run = catchment.sync("/no/such/folder").exits(1).says(&["/no/such/folder"]);

    assert_eq!(run.summary().discovered, 0);
}

#[test]
fn a_file_is_not_a_folder() {
    let tree = Tree::new("tree");
    tree.write("file", "x");

    Catchment::new().sync(tree.at("file")).exits(1).says(&["file", "folder"]);
}

#[test]
fn a_bucket_that_does_not_exist_is_named() {
    let s3 = FakeS3::start();
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync("s3://no-such-bucket").exits(1).says(&["no-such-bucket", "NoSuchBucket"]);
}

#[test]
fn a_wrong_secret_is_named_as_such() {
    let s3 = FakeS3::start();
    let endpoint = Endpoint { secret_key: "wrong".to_owned(), ..s3.endpoint() };

    let run = Catchment::reaching(&endpoint).sync(format!("s3://{BUCKET}"));

    run.exits(1).says(&["SignatureDoesNotMatch"]);
    assert!(s3.requests().len() <= 2, "wrong credentials were tried again and again");
}

#[test]
fn an_unknown_access_key_is_named_as_such() {
    let s3 = FakeS3::start();
    let endpoint = Endpoint { access_key: "AKIDUNKNOWN".to_owned(), ..s3.endpoint() };

    let run = Catchment::reaching(&endpoint).sync(format!("s3://{BUCKET}"));

    run.exits(1).says(&["InvalidAccessKeyId"]);
}

#[test]
fn missing_credentials_are_reported_with_the_ways_to_give_them() {
    let s3 = FakeS3::start();
    let catchment = Catchment::new().with_endpoint(&s3.endpoint().url);

    catchment.sync(format!("s3://{BUCKET}")).exits(1).says(&["credentials", "--anonymous"]);

    assert_eq!(s3.requests().len(), 0);
}

#[test]
fn a_secret_is_never_printed() {
    let s3 = FakeS3::start();
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    s3.put("key", "x");
    let secret = s3.endpoint().secret_key;

    let runs = [
        catchment.sync_with(&source, &["-vv"]).exits(0),
        catchment.sync_with("s3://no-such-bucket", &["-vv"]).exits(1),
    ];

    for run in runs {
        assert!(!format!("{}{}", run.stdout(), run.stderr).contains(&secret), "{run}");
    }
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let s3 = FakeS3::start();
    let catchment = Catchment::new().with_endpoint(&s3.endpoint().url);

    let run = catchment.sync_with(format!("s3://{BUCKET}"), &["--profile", "nobody"]);

    run.exits(1).says(&["nobody", "there are none", "credentials"]);
}

#[test]
fn a_size_and_a_pattern_that_are_none_are_told_what_is_one() {
    let catchment = Catchment::new();
    let run = catchment.run(&["sync", ".", "--min-size", "5XB"]);
    run.exits(2).says(&["5XB", "KB, MB, GB, TB, KiB, MiB", "1.5MiB"]);
    let run = catchment.run(&["sync", ".", "--include", "[a"]);
    run.exits(2).says(&["--include", "accepted: a pattern, as in *.jpg"]);
}

#[test]
fn an_invalid_endpoint_is_refused() {
    let catchment = Catchment::new();

    let run = catchment.run(&["sync", "s3://bucket", "--endpoint-url", "not a url"]);

    run.exits(2).says(&["endpoint", "not a url"]);
}

#[test]
fn invalid_options_are_refused_with_their_value() {
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new();
    for (option, value) in [
        ("--include", "[a"),
        ("--exclude", "{a"),
        ("--min-size", "much"),
        ("--max-size", "-1"),
        ("--modified-after", "yesterdayish"),
        ("--modified-before", "2024-13-01"),
        ("--max-delete", "many"),
        ("--max-delete", "101%"),
        ("--max-delete", "-1"),
        ("--concurrency", "0"),
        ("--concurrency", "x"),
        ("--bucket", ""),
        ("--bucket", "a/b"),
    ] {
        let argument = format!("{option}={value}");
        let run = catchment.sync_with(tree.source(), &[argument.as_str()]).exits(2);
        run.says(&[option, value]);
    }
    assert!(!catchment.data_dir().join(catchment::store::DATABASE_FILE).exists());
}

#[test]
fn a_data_directory_that_is_a_file_is_named() {
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new();
    std::fs::write(catchment.data_dir(), "a file").unwrap();

    let run = catchment.sync(tree.source()).exits(1);

    run.says(&[catchment.data_dir().to_str().unwrap()]);
}

#[test]
fn a_data_directory_that_may_not_be_read_is_named() {
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new().bound_by_permissions();
    std::fs::create_dir(catchment.data_dir()).unwrap();
    std::fs::set_permissions(catchment.data_dir(), PermissionsExt::from_mode(0o000)).unwrap();

    let run = catchment.sync(tree.source()).exits(1);

    run.says(&[catchment.data_dir().to_str().unwrap(), "permission"]);
}

#[test]
fn a_data_directory_of_a_newer_version_is_left_alone() {
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let database = catchment.data_dir().join(catchment::store::DATABASE_FILE);
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 9999).unwrap();
    connection.close().unwrap();
    let before = std::fs::read(&database).unwrap();

    catchment.sync(tree.source()).exits(1).says(&["newer"]);
    catchment.run(&["ls"]).exits(1).says(&["newer"]);

    assert!(std::fs::read(&database).unwrap() == before, "it wrote to a database of the future");
}

#[test]
fn a_database_that_is_garbage_is_named_and_left_alone() {
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new();
    let database = catchment.data_dir().join(catchment::store::DATABASE_FILE);
    std::fs::create_dir(catchment.data_dir()).unwrap();
    std::fs::write(&database, "not a database ".repeat(1000)).unwrap();

    catchment.sync(tree.source()).exits(1).says(&[catchment::store::DATABASE_FILE]);

    assert_eq!(std::fs::read_to_string(&database).unwrap(), "not a database ".repeat(1000));
}

#[test]
fn buckets_and_objects_that_are_not_there_are_named_with_those_that_are() {
    let tree = Tree::of_files("tree", 1);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);

    catchment.run(&["ls", "no-such"]).exits(1).says(&["no-such", "tree"]);
    catchment.run(&["get", "no-such/a"]).exits(1).says(&["no-such", "tree"]);
    catchment.run(&["get", "tree/no-such"]).exits(1).says(&["no-such"]);
    catchment.run(&["get", "tree"]).exits(2).says(&["BUCKET/PATH"]);
    catchment.run(&["verify", "no-such"]).exits(1).says(&["no-such"]);
    catchment.run(&["export", "no-such", "out"]).exits(1).says(&["no-such"]);
}

#[test]
fn commands_that_need_a_bucket_say_so_where_there_is_none() {
    let catchment = Catchment::new();

    catchment.run(&["ls", "bucket"]).exits(1).says(&["catchment sync"]);
    catchment.run(&["get", "bucket/path"]).exits(1).says(&["catchment sync"]);

    assert!(!catchment.data_dir().exists(), "looking made a data directory");
}

#[test]
fn prefixes_that_would_list_a_key_twice_are_refused() {
    let catchment = Catchment::new();
    let twice = catchment.run(&["sync", "s3://b", "--prefix", "2026/", "--prefix", "2026/05"]);
    twice.exits(2).says(&["--prefix \"2026/05\"", "overlaps with \"2026/\""]);

    let tree = Tree::new("tree");
    let local = catchment.sync_with(tree.source(), &["--prefix", "2026/"]);
    local.exits(2).says(&["--prefix", "local"]);
}

#[test]
fn a_data_directory_that_is_everybodys_is_refused_and_left_as_it_is() {
    let tree = Tree::of_files("tree", 1);
    let home = Catchment::new();
    let shared = home.home().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o1777)).unwrap();
    let catchment = home.with_data_dir(&shared);

    catchment.sync(tree.source()).exits(1).says(&["shared", "others"]);

    assert_eq!(std::fs::metadata(&shared).unwrap().permissions().mode() & 0o7777, 0o1777);
    assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn a_time_without_a_zone_is_refused_and_never_read_as_midnight() {
    let tree = Tree::of_files("tree", 1);
    for option in ["--modified-after", "--modified-before"] {
        let given = [option, "2026-01-31T12:00:00"];
        Catchment::new().sync_with(tree.source(), &given).exits(2).says(&["time zone"]);
    }
    let given = ["--modified-after", "2001-01-31"];
    Catchment::new().sync_with(tree.source(), &given).exits(0);
}
