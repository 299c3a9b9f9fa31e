//! Bytes are right or refused: whoever reads damaged ones is told, and they are mended.

use std::{ffi::OsStr, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::support::{catchment::Catchment, content, trees::Tree};

const SIZE: usize = (3 << 20) + 1;

/// Bytes of the parts in which large blobs are hashed.
const PART: usize = 8 << 20;

/// A bucket `tree` with an object `large`, and the file that holds its bytes.
fn bucket() -> (Tree, Catchment, PathBuf) {
    bucket_of(SIZE)
}

/// The same with that many bytes.
fn bucket_of(size: usize) -> (Tree, Catchment, PathBuf) {
    let tree = Tree::of_files("tree", 5);
    tree.write("large", content::pattern(1, size));
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let hash = &catchment.objects("tree")[&b"large"[..]].hash;
    let hex = hash.trim_start_matches("blake3:").to_owned();
    let file = catchment.data_dir().join("blobs").join(&hex[..2]).join(hex);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    (tree, catchment, file)
}

fn flip_a_bit(file: &PathBuf) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn cut_short(file: &PathBuf) {
    std::fs::File::options().write(true).open(file).unwrap().set_len(1 << 20).unwrap();
}

#[test]
fn a_get_of_damaged_bytes_fails_names_the_object_and_leaves_no_file() {
    for damage in [flip_a_bit, cut_short] {
        let (_tree, catchment, file) = bucket();
        damage(&file);

        catchment.run(&["get", "tree/large"]).exits(1).says(&["tree/large", "damaged"]);
        catchment.run(&["get", "tree/large", "-o", "copy"]).exits(1).says(&["tree/large"]);

        assert!(!catchment.home().join("copy").exists());
    }
}

fn flip(file: &PathBuf, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn get_range(catchment: &Catchment, range: &str) -> crate::support::catchment::Run {
    catchment.run(&["get", "tree/large", "--range", range])
}

#[test]
fn a_range_of_a_blob_that_is_cut_short_is_refused_wherever_it_lies() {
    for size in [SIZE, 2 * PART + 5] {
        let (_tree, catchment, file) = bucket_of(size);
        cut_short(&file);

        for range in ["-100", "0-9", "1000-2000"] {
            get_range(&catchment, range).exits(1).says(&["tree/large", "damaged"]);
        }
    }
}

#[test]
fn a_range_is_refused_where_a_byte_of_it_has_changed_and_right_where_another_has() {
    // Written front to back, and in parts.
    for size in [PART + 77, 2 * PART + 5] {
        let (_tree, catchment, file) = bucket_of(size);
        let right = content::pattern(1, size);
        flip(&file, PART + 20);

        let before = get_range(&catchment, "7000000-7000999");
        assert!(before.exits(0).stdout == right[7_000_000..7_001_000]);
        for range in [format!("{}-{}", PART + 20, PART + 20), format!("1000-{}", PART + 21)] {
            let refused = get_range(&catchment, &range).exits(1);
            let refused = refused.says(&["tree/large", "damaged"]);
            let start = range.split('-').next().unwrap().parse::<usize>().unwrap();
            assert!(right[start..].starts_with(&refused.stdout), "no wrong byte of {range}");
        }
    }
}

#[test]
fn a_range_is_checked_where_the_hashes_of_its_parts_are_lost_or_wrong() {
    let size = 2 * PART + 5;
    let (_tree, catchment, file) = bucket_of(size);
    let right = content::pattern(1, size);
    let parts = file.with_extension("parts");
    for wrong in [None, Some(vec![7; 96]), Some(vec![7; 5])] {
        let stored = std::fs::read(&parts).unwrap();
        match wrong {
            None => std::fs::remove_file(&parts).unwrap(),
            Some(wrong) => std::fs::write(&parts, wrong).unwrap(),
        }

        let range = get_range(&catchment, "8388600-8388699");

        assert!(range.exits(0).stdout == right[8_388_600..8_388_700]);
        assert!(std::fs::read(&parts).unwrap() == stored, "they are there again");
    }
    std::fs::remove_file(&parts).unwrap();
    flip(&file, size - 1);
    get_range(&catchment, "0-9").exits(1).says(&["tree/large", "damaged"]);
}

#[test]
fn bytes_that_a_reader_of_a_range_found_damaged_are_fetched_again_by_the_next_sync() {
    let size = 2 * PART + 5;
    let (tree, catchment, file) = bucket_of(size);
    flip(&file, PART + 20);
    get_range(&catchment, "8388608-").exits(1);

    catchment.sync(tree.source()).exits(0);

    assert!(catchment.get("tree", b"large") == content::pattern(1, size));
    let staging = crate::support::trees::contents_of(&catchment.data_dir().join("staging"));
    assert_eq!(staging.len(), 0, "nothing of the damaged file is left");
}

#[test]
fn an_export_of_damaged_bytes_fails_for_that_object_and_no_other() {
    for damage in [flip_a_bit, cut_short] {
        let (tree, catchment, file) = bucket();
        damage(&file);
        let out = catchment.home().join("out");

        let run = catchment.run(&[OsStr::new("export"), OsStr::new("tree"), out.as_os_str()]);
        run.exits(3).says(&["large", "damaged"]);

        let exported = crate::support::trees::contents_of(&out);
        assert!(!exported.contains_key(&b"large"[..]));
        assert_eq!(exported.len(), tree.contents().len() - 1);
    }
}

#[test]
fn bytes_that_a_reader_found_damaged_are_fetched_again_by_the_next_sync() {
    let (tree, catchment, file) = bucket();
    flip_a_bit(&file);
    catchment.run(&["get", "tree/large"]).exits(1);

    catchment.sync(tree.source()).exits(0);

    assert!(catchment.get("tree", b"large") == content::pattern(1, SIZE));
    catchment.run(&["verify"]).exits(0);
}

#[test]
fn what_a_killed_repair_had_set_aside_is_put_back_by_the_next_command_or_cleared() {
    let (_tree, catchment, file) = bucket();
    let hex = file.file_name().unwrap();
    let aside = catchment.data_dir().join("staging/worker_dead/aside");
    std::fs::create_dir_all(&aside).unwrap();
    // Before there is an intact file: a damaged one is better than none.
    std::fs::rename(&file, aside.join(hex)).unwrap();
    catchment.run(&["verify"]).exits(0);
    assert!(file.exists() && !aside.exists());
    // Once there is one.
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::write(aside.join(hex), b"damaged").unwrap();
    catchment.run(&["verify"]).exits(0);
    assert!(!aside.exists());
}
