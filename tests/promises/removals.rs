//! A removal needs proof, and many removals need a word from their owner.

use std::ffi::OsStr;

use crate::support::{
    catchment::{Catchment, Run},
    fake_s3::{BUCKET, FakeS3, Fault, On},
    trees::Tree,
};

fn synced(tree: &Tree) -> Catchment {
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    catchment
}

/// The run failed and took nothing away.
fn failed_without_removals(catchment: &Catchment, run: Run, objects: usize) {
    let run = run.exits(1);
    assert_eq!(run.summary().removed, 0);
    assert_eq!(catchment.objects("tree").len(), objects);
    catchment.run(&["verify", "tree"]).exits(0);
}

/// The removals wait for a decision, and nothing was taken away.
fn held_without_removals(catchment: &Catchment, run: Run, objects: usize) {
    let run = run.exits(4);
    assert_eq!(run.summary().removed, 0);
    assert_eq!(catchment.objects("tree").len(), objects);
    catchment.run(&["verify", "tree"]).exits(0);
}

/// A sync whose messages are for people.
fn told(catchment: &Catchment, tree: &Tree) -> Run {
    catchment.run(&[OsStr::new("sync"), tree.source()])
}

#[test]
fn a_folder_that_has_vanished_removes_nothing() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    std::fs::remove_dir_all(tree.root()).unwrap();

    let run = catchment.sync(tree.source());

    failed_without_removals(&catchment, run, 5);
}

#[test]
fn a_folder_that_was_emptied_removes_nothing() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    std::fs::remove_dir_all(tree.at("d00")).unwrap();

    told(&catchment, &tree).exits(4).says(&["empty", "--adopt-root"]);
    let run = catchment.sync(tree.source());

    held_without_removals(&catchment, run, 5);
}

#[test]
fn another_folder_in_the_place_of_the_old_one_removes_nothing() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    std::fs::rename(tree.root(), tree.root().with_extension("away")).unwrap();
    tree.write("stranger", "of another disk");

    told(&catchment, &tree).exits(4).says(&["another folder", "--adopt-root"]);
    let run = catchment.sync(tree.source());

    held_without_removals(&catchment, run, 5);
}

#[test]
fn a_folder_that_comes_back_syncs_as_if_it_had_never_been_away() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    let away = tree.root().with_extension("away");
    std::fs::rename(tree.root(), &away).unwrap();
    catchment.sync(tree.source()).exits(1);
    std::fs::rename(&away, tree.root()).unwrap();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.unchanged, summary.removed), (5, 0));
}

#[test]
fn a_file_in_the_place_of_the_folder_removes_nothing() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    std::fs::remove_dir_all(tree.root()).unwrap();
    std::fs::write(tree.root(), "a file").unwrap();

    let run = catchment.sync(tree.source());

    failed_without_removals(&catchment, run, 5);
}

/// 30 files of which so many are gone.
fn tree_without(removed: usize) -> (Tree, Catchment) {
    let tree = Tree::of_files("tree", 30);
    let catchment = synced(&tree);
    for number in 0..removed {
        tree.remove(&format!("d00/f{number:04}"));
    }
    (tree, catchment)
}

#[test]
fn more_removals_than_half_and_ten_are_held() {
    let (tree, catchment) = tree_without(16);

    let run = catchment.sync(tree.source()).exits(4);

    assert_eq!(run.summary().removed, 0);
    assert_eq!(run.summary().unchanged, 14);
    assert_eq!(catchment.objects("tree").len(), 30);
}

#[test]
fn held_removals_are_reported_with_the_way_to_approve_them() {
    let (tree, catchment) = tree_without(16);

    let run = catchment.run(&[OsStr::new("sync"), tree.source()]).exits(4);

    run.says(&["held", "16 of 30", "d00/f0000", "--max-delete 16"]);
}

#[test]
fn half_of_the_objects_may_go_without_asking() {
    let (tree, catchment) = tree_without(15);

    assert_eq!(catchment.sync(tree.source()).exits(0).summary().removed, 15);

    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn ten_objects_may_go_without_asking_whatever_their_share() {
    let tree = Tree::of_files("tree", 12);
    let catchment = synced(&tree);
    for number in 0..10 {
        tree.remove(&format!("d00/f{number:04}"));
    }

    assert_eq!(catchment.sync(tree.source()).exits(0).summary().removed, 10);
}

#[test]
fn held_removals_stay_held_until_they_are_approved() {
    let (tree, catchment) = tree_without(20);
    catchment.sync(tree.source()).exits(4);
    catchment.sync(tree.source()).exits(4);
    catchment.sync_with(tree.source(), &["--max-delete", "19"]).exits(4);
    assert_eq!(catchment.objects("tree").len(), 30);

    let run = catchment.sync_with(tree.source(), &["--max-delete", "20"]).exits(0);

    assert_eq!(run.summary().removed, 20);
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn held_removals_can_be_approved_as_a_share() {
    let (tree, catchment) = tree_without(20);
    catchment.sync_with(tree.source(), &["--max-delete", "60%"]).exits(4);

    let run = catchment.sync_with(tree.source(), &["--max-delete", "70%"]).exits(0);

    assert_eq!(run.summary().removed, 20);
}

#[test]
fn a_limit_of_zero_holds_the_first_removal() {
    let (tree, catchment) = tree_without(1);

    catchment.sync_with(tree.source(), &["--max-delete", "0"]).exits(4);

    assert_eq!(catchment.objects("tree").len(), 30);
}

#[test]
fn held_removals_do_not_hold_back_what_is_new() {
    let (tree, catchment) = tree_without(20);
    tree.write("new", "new");

    let summary = catchment.sync(tree.source()).exits(4).summary();

    assert_eq!(summary.synced, 1);
    assert_eq!(catchment.get("tree", b"new"), b"new");
}

#[test]
fn no_delete_keeps_what_is_gone_from_the_source() {
    let (tree, catchment) = tree_without(20);

    let summary = catchment.sync_with(tree.source(), &["--no-delete"]).exits(0).summary();

    assert_eq!(summary.removed, 0);
    assert_eq!(catchment.objects("tree").len(), 30);
}

#[test]
fn a_bucket_that_lists_as_empty_is_held() {
    let s3 = FakeS3::start();
    for number in 0..30 {
        s3.put(format!("key {number}"), "x");
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    catchment.sync(&source).exits(0);
    s3.change(|objects| objects.clear());

    let run = catchment.sync(&source);

    assert!(matches!(run.code(), Some(1 | 4)), "{run}");
    assert_eq!(catchment.objects(BUCKET).len(), 30);
}

#[test]
fn a_listing_that_wrongly_says_it_is_complete_is_held() {
    let s3 = FakeS3::start();
    s3.page_size(10);
    for number in 0..40 {
        s3.put(format!("key {number:02}"), "x");
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    catchment.sync(&source).exits(0);
    s3.inject(Fault::listing_ends());

    catchment.sync(&source).exits(4);

    assert_eq!(catchment.objects(BUCKET).len(), 40);
}

#[test]
fn removals_that_wait_for_a_decision_wait_when_they_become_fewer() {
    let (tree, catchment) = tree_without(20);
    catchment.sync(tree.source()).exits(4);
    for number in 0..15 {
        tree.write(format!("d00/f{number:04}"), "it is back");
    }

    let run = catchment.sync(tree.source()).exits(4);

    assert_eq!((run.summary().removed, catchment.objects("tree").len()), (0, 30));
    let run = catchment.sync_with(tree.source(), &["--max-delete", "5"]).exits(0);
    assert_eq!(run.summary().removed, 5);
}

#[test]
fn a_resumed_run_removes_nothing_of_a_source_that_was_emptied_meanwhile() {
    let s3 = FakeS3::start();
    s3.page_size(10);
    for number in 0..40 {
        s3.put(format!("key {number:02}"), "x");
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    catchment.sync(&source).exits(0);
    s3.inject(Fault::error(On::Listing, 403, "AccessDenied").after(1));
    catchment.sync(&source).exits(1);
    s3.heal();
    s3.change(|objects| objects.clear());

    let run = catchment.sync(&source).exits(4);

    assert_eq!((run.summary().removed, catchment.objects(BUCKET).len()), (0, 40));
}

#[test]
fn a_resumed_run_has_what_changed_before_its_checkpoint() {
    let s3 = FakeS3::start();
    s3.page_size(10);
    for number in 0..40 {
        s3.put(format!("key {number:02}"), format!("content {number}"));
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    let source = format!("s3://{BUCKET}");
    s3.inject(Fault::error(On::Listing, 403, "AccessDenied").after(2));
    catchment.sync(&source).exits(1);
    s3.heal();
    s3.put("key 00", "changed");
    s3.put("a new key", "before all others");
    s3.delete("key 01");

    let summary = catchment.sync(&source).exits(0).summary();

    assert_eq!(summary.discovered, 40, "each entry is counted once");
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn a_folder_that_is_the_same_under_another_number_is_synced_as_before() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    let away = tree.root().with_extension("away");
    std::fs::rename(tree.root(), &away).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(&away).arg(tree.root()).status();
    assert!(copied.unwrap().success());
    tree.remove("d00/f0000");

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.discovered, summary.removed), (4, 1));
}

#[test]
fn a_filter_that_now_excludes_an_object_removes_it() {
    let tree = Tree::of_files("tree", 5);
    tree.write("notes.tmp", "x");
    let catchment = synced(&tree);

    let run = catchment.sync_with(tree.source(), &["--exclude", "*.tmp"]).exits(0);

    assert_eq!((run.summary().filtered, run.summary().removed), (1, 1));
    assert_eq!(catchment.objects("tree").len(), 5);
}

#[test]
fn removals_of_a_sync_leave_the_objects_of_another_alone() {
    let (one, other) = (Tree::of_files("one", 3), Tree::new("other"));
    other.write("theirs", "x");
    let catchment = Catchment::new();
    catchment.sync_with(one.source(), &["--bucket", "shared"]).exits(0);
    catchment.sync_with(other.source(), &["--bucket", "shared"]).exits(0);
    one.remove("d00/f0000");

    let run = catchment.sync_with(one.source(), &["--bucket", "shared"]).exits(0);

    assert_eq!(run.summary().removed, 1);
    let paths: Vec<_> = catchment.contents("shared").into_keys().collect();
    assert_eq!(paths, [b"d00/f0001".to_vec(), b"d00/f0002".to_vec(), b"theirs".to_vec()]);
}

#[test]
fn a_folder_that_was_emptied_on_purpose_can_be_adopted() {
    let tree = Tree::of_files("tree", 5);
    let catchment = synced(&tree);
    std::fs::remove_dir_all(tree.at("d00")).unwrap();
    catchment.sync(tree.source()).exits(4);

    let run = catchment.sync_with(tree.source(), &["--adopt-root"]).exits(0);

    assert_eq!(run.summary().removed, 5);
    catchment.sync(tree.source()).exits(0);
}
