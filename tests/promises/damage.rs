//! Bytes are right or refused: whoever reads damaged ones is told, and they are mended.

use std::{ffi::OsStr, os::unix::fs::PermissionsExt, path::PathBuf};

use crate::support::{catchment::Catchment, content, trees::Tree};

const SIZE: usize = (3 << 20) + 1;

/// A bucket `tree` with an object `large`, and the file that holds its bytes.
fn bucket() -> (Tree, Catchment, PathBuf) {
    let tree = Tree::of_files("tree", 5);
    tree.write("large", content::pattern(1, SIZE));
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

#[test]
fn a_range_of_bytes_that_are_gone_fails() {
    let (_tree, catchment, file) = bucket();
    cut_short(&file);

    catchment.run(&["get", "tree/large", "--range=-100"]).exits(1).says(&["damaged"]);
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
