//! A disk that fills up pauses the run and loses nothing.

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3},
    small_disk::SmallDisk,
    trees::Tree,
};

/// 24 MiB in files that are too large to lie inside the database, and a few small ones.
fn tree_of_24_mib() -> Tree {
    let tree = Tree::new("tree");
    for number in 0..24 {
        tree.write(format!("file {number:02}"), content::pattern(number, 1 << 20));
        tree.write(format!("small {number:02}"), content::pattern(100 + number, 3000));
    }
    tree
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_loses_nothing() {
    let tree = tree_of_24_mib();
    let disk = SmallDisk::of_mib(16);
    let catchment = Catchment::new().with_data_dir(&disk.path().join("data"));

    let run = catchment.sync(tree.source()).exits(1).says(&["disk"]);
    assert_eq!(run.summary().failed, 0, "no entry is to blame");
    let source = tree.contents();
    for (path, hash) in catchment.contents("tree") {
        assert_eq!(source.get(&path), Some(&hash), "{}", path.escape_ascii());
    }
    catchment.run(&["verify"]).exits(0);

    disk.grow_to_mib(128);
    catchment.sync(tree.source()).exits(0);
    catchment.holds_exactly("tree", &source);
}

#[test]
fn the_free_space_floor_is_kept() {
    let tree = tree_of_24_mib();
    let disk = SmallDisk::of_mib(40);
    let catchment = Catchment::new()
        .with_data_dir(&disk.path().join("data"))
        .env("CATCHMENT_MIN_FREE", "20MiB");

    let run = catchment.sync(tree.source()).exits(1).says(&["disk"]);

    assert_eq!((run.summary().failed, run.summary().removed), (0, 0));
    let there = catchment.objects("tree").len();
    assert!(there > 0, "what fitted is there: {run}");
    let free = rustix::fs::statvfs(disk.path()).unwrap();
    let free = free.f_bavail * free.f_frsize;
    assert!(free > 14 << 20, "only {free} bytes were left free");
    let catchment = catchment.env("CATCHMENT_MIN_FREE", "1MiB");
    catchment.sync(tree.source()).exits(0);
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn a_floor_above_what_is_free_stops_before_anything_is_read() {
    let s3 = FakeS3::start();
    s3.put("key", "x");
    let catchment = Catchment::reaching(&s3.endpoint()).env("CATCHMENT_MIN_FREE", "9000000GiB");

    let run = catchment.sync(format!("s3://{BUCKET}")).exits(1).says(&["disk"]);

    assert_eq!((run.summary().synced, run.summary().failed), (0, 0));
    assert_eq!(s3.object_bytes_sent(), 0);
}

#[test]
fn an_object_larger_than_the_disk_fails_alone_and_leaves_no_litter() {
    let s3 = FakeS3::start();
    s3.put("small", "x");
    s3.put("huge", content::pattern(1, 48 << 20));
    let disk = SmallDisk::of_mib(24);
    let catchment = Catchment::reaching(&s3.endpoint()).with_data_dir(&disk.path().join("data"));

    let run = catchment.sync(format!("s3://{BUCKET}")).exits(3).says(&["huge", "disk"]);
    assert_eq!((run.summary().synced, run.summary().failed), (1, 1));

    catchment.run(&["verify"]).exits(0);
    disk.grow_to_mib(200);
    catchment.sync_with(format!("s3://{BUCKET}"), &["--full"]).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}
