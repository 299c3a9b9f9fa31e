//! What was synced can be listed, read, verified and given back.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Object},
    trees::Tree,
};

fn bucket_of(tree: &Tree) -> Catchment {
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    catchment
}

#[test]
fn ls_shows_path_size_hash_time_type_and_id_of_each_object() {
    let tree = Tree::new("tree");
    tree.write("a/photo.jpg", "pixels");
    std::fs::File::open(tree.at("a/photo.jpg"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
        .unwrap();
    let catchment = bucket_of(&tree);

    let objects = catchment.objects("tree");

    let photo = &objects[&b"a/photo.jpg"[..]];
    assert_eq!((photo.size, &photo.hash), (6, &content::hash(b"pixels")));
    assert_eq!(photo.modified_at.as_deref(), Some("2001-09-09T01:46:40Z"));
    assert_eq!(photo.mime_type.as_deref(), Some("image/jpeg"));
    assert!(photo.object_id.starts_with("obj_"), "{photo:?}");
}

#[test]
fn ls_of_a_prefix_lists_what_begins_with_it() {
    let tree = Tree::new("tree");
    for path in ["a/1", "a/2", "ab", "b/1"] {
        tree.write(path, path);
    }
    let catchment = bucket_of(&tree);

    let listed = |place: &str| catchment.objects(place).into_keys().collect::<Vec<_>>();

    assert_eq!(listed("tree/a/"), [b"a/1".to_vec(), b"a/2".to_vec()]);
    assert_eq!(listed("tree/a"), [b"a/1".to_vec(), b"a/2".to_vec(), b"ab".to_vec()]);
    assert!(listed("tree/c").is_empty());
}

#[test]
fn ls_without_a_bucket_lists_the_buckets() {
    let tree = Tree::of_files("tree", 3);
    let catchment = bucket_of(&tree);

    catchment.run(&["ls"]).exits(0).says(&["tree", "3 objects"]);
}

#[test]
fn ls_shows_hostile_names_without_their_control_characters() {
    let tree = Tree::new("tree");
    tree.write("\u{1b}[2Jcleared", "x");
    let catchment = bucket_of(&tree);

    let run = catchment.run(&["ls", "tree"]).exits(0);

    assert!(!run.stdout.contains(&0x1b), "{run}");
}

#[test]
fn get_writes_the_exact_bytes_to_stdout_or_a_file() {
    let tree = Tree::new("tree");
    let bytes = content::pattern(1, 9 << 20);
    tree.write("folder/large", &bytes);
    let catchment = bucket_of(&tree);

    assert!(catchment.get("tree", b"folder/large") == bytes);
    catchment.run(&["get", "tree/folder/large", "-o", "copy"]).exits(0);

    assert!(std::fs::read(catchment.home().join("copy")).unwrap() == bytes);
}

#[test]
fn get_returns_any_range_of_an_object() {
    let tree = Tree::new("tree");
    let (small, large) = (content::pattern(1, 1000), content::pattern(2, 9 << 20));
    tree.write("small", &small);
    tree.write("large", &large);
    let catchment = bucket_of(&tree);

    for (name, bytes) in [("small", &small), ("large", &large)] {
        let last = bytes.len() - 1;
        for (range, start, end) in [
            ("0-0".to_owned(), 0, 1),
            ("10-99".to_owned(), 10, 100),
            ("500-".to_owned(), 500, last + 1),
            ("-7".to_owned(), last - 6, last + 1),
            (format!("{last}-{last}"), last, last + 1),
            (format!("900-{}", u64::MAX), 900, last + 1),
        ] {
            let place = format!("tree/{name}");
            let argument = format!("--range={range}");
            let run = catchment.run(&["get", &place, &argument]).exits(0);
            assert!(run.stdout == bytes[start..end], "{name} {range}");
        }
        let past = format!("--range={}-", bytes.len());
        catchment.run(&["get", &format!("tree/{name}"), &past]).exits(2).says(&["bytes"]);
    }
}

#[test]
fn a_get_into_a_place_that_cannot_be_written_says_where() {
    let tree = Tree::of_files("tree", 1);
    let catchment = bucket_of(&tree);

    let run = catchment.run(&["get", "tree/d00/f0000", "-o", "no/such/folder/file"]);

    run.exits(1).says(&["no/such/folder/file"]);
}

/// The files below the data directory that hold large blobs.
fn blob_files(catchment: &Catchment, size: u64) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![catchment.data_dir().to_owned()];
    while let Some(folder) = folders.pop() {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::metadata(&path).unwrap().len() == size {
                found.push(path);
            }
        }
    }
    found
}

const DAMAGED: u64 = (3 << 20) + 1;

/// A bucket `tree` with an object `large` whose stored bytes rot, and the source that it came from.
fn rotten_bucket() -> (Tree, Catchment) {
    let tree = Tree::of_files("tree", 5);
    tree.write("large", content::pattern(1, DAMAGED as usize));
    let catchment = bucket_of(&tree);
    let files = blob_files(&catchment, DAMAGED);
    assert_eq!(files.len(), 1);
    std::fs::set_permissions(&files[0], PermissionsExt::from_mode(0o600)).unwrap();
    let mut bytes = std::fs::read(&files[0]).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(&files[0], bytes).unwrap();
    (tree, catchment)
}

#[test]
fn verify_finds_one_flipped_bit_and_names_the_object() {
    let (_tree, catchment) = rotten_bucket();

    let run = catchment.run(&["verify", "tree"]).exits(1).says(&["large"]);

    assert!(!run.stdout().contains("f0000"), "a sound object is accused: {run}");
}

#[test]
fn verify_finds_bytes_that_are_gone() {
    let tree = Tree::new("tree");
    tree.write("large", content::pattern(1, DAMAGED as usize));
    let catchment = bucket_of(&tree);
    std::fs::remove_file(&blob_files(&catchment, DAMAGED)[0]).unwrap();

    catchment.run(&["verify"]).exits(1).says(&["large"]);
}

#[test]
fn verify_repairs_from_the_source() {
    let (tree, catchment) = rotten_bucket();

    catchment.run(&["verify", "--repair"]).exits(0).says(&["large", "repaired"]);

    catchment.holds_exactly("tree", &tree.contents());
    assert_eq!(catchment.get("tree", b"large"), content::pattern(1, DAMAGED as usize));
}

#[test]
fn verify_cannot_repair_what_has_changed_at_the_source_and_says_so() {
    let (tree, catchment) = rotten_bucket();
    tree.write("large", "something else");

    catchment.run(&["verify", "--repair"]).exits(1).says(&["large"]);
}

#[test]
fn status_shows_buckets_sources_and_the_result_of_the_last_run() {
    let tree = Tree::of_files("tree", 7);
    let catchment = bucket_of(&tree);

    let run = catchment.run(&["status"]).exits(0);

    run.says(&["tree", tree.root().to_str().unwrap(), "completed", "7"]);
}

#[test]
fn status_names_the_entries_that_failed_and_why() {
    let s3 = FakeS3::start();
    s3.put("good", "x");
    s3.put("bad", "y");
    s3.inject(crate::support::fake_s3::Fault::error(
        crate::support::fake_s3::On::GetOf("bad"),
        403,
        "AccessDenied",
    ));
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(format!("s3://{BUCKET}")).exits(3);

    catchment.run(&["status"]).exits(0).says(&["bad", "AccessDenied"]);
}

#[test]
fn status_shows_why_the_last_run_failed() {
    let s3 = FakeS3::start();
    s3.put("key", "x");
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync(format!("s3://{BUCKET}")).exits(0);
    s3.remove_bucket();
    catchment.sync(format!("s3://{BUCKET}")).exits(1);

    catchment.run(&["status"]).exits(0).says(&["failed", "NoSuchBucket"]);
}

#[test]
fn gc_gives_back_the_space_of_what_was_removed_and_keeps_what_is_shared() {
    let tree = Tree::new("tree");
    for number in 0..8 {
        tree.write(format!("file {number}"), content::pattern(number, 2 << 20));
    }
    tree.write("shared", content::pattern(0, 2 << 20));
    let catchment = bucket_of(&tree);
    for number in 0..4 {
        tree.remove(&format!("file {number}"));
    }
    catchment.sync(tree.source()).exits(0);

    catchment.run(&["gc"]).exits(0);

    assert_eq!(blob_files(&catchment, 2 << 20).len(), 5, "four files, and the shared bytes");
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn objects_of_many_types_keep_the_type_that_s3_reports() {
    let s3 = FakeS3::start();
    s3.put_object("page", Object::new("x").content_type("text/html; charset=utf-8"));
    s3.put_object("untyped.jpg", Object::new("y"));
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(format!("s3://{BUCKET}")).exits(0);

    let objects = catchment.objects(BUCKET);
    assert_eq!(objects[&b"page"[..]].mime_type.as_deref(), Some("text/html; charset=utf-8"));
}
