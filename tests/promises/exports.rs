//! An export is the files again, in the folder that was named and nowhere else.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::fs::symlink, path::PathBuf};

use crate::support::{
    catchment::{Catchment, Run},
    content,
    fake_s3::{FakeS3, Object},
    trees::{Tree, contents_of, odd_names},
};

/// A bucket `b` with these keys of S3, each with its key as content, and the folder to export to.
fn bucket_of(keys: &[&str]) -> (Catchment, PathBuf) {
    let s3 = FakeS3::start();
    for key in keys {
        s3.put(key, *key);
    }
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync_with("s3://catchment-test", &["--bucket", "b"]).exits(0);
    let out = catchment.home().join("area/out");
    std::fs::create_dir_all(&out).unwrap();
    (catchment, out)
}

fn export(catchment: &Catchment, out: &std::path::Path) -> Run {
    catchment.run(&[OsStr::new("export"), OsStr::new("b"), out.as_os_str()])
}

fn text_contents(pairs: &[(&str, &str)]) -> BTreeMap<Vec<u8>, String> {
    pairs
        .iter()
        .map(|(path, content)| (path.as_bytes().to_vec(), content::hash(content.as_bytes())))
        .collect()
}

#[test]
fn an_exported_folder_equals_its_source_names_bytes_and_times() {
    let tree = Tree::new("b");
    for name in odd_names() {
        tree.write([b"sub/", &name[..]].concat(), &name);
        tree.write(&name, [&name[..], b"!"].concat());
    }
    std::fs::remove_file(tree.at("C:")).unwrap();
    tree.write("large", content::pattern(1, 9 << 20));
    tree.write("empty", "");
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let out = catchment.home().join("out");

    export(&catchment, &out).exits(0);

    assert_eq!(contents_of(&out), tree.contents());
    for path in tree.contents().keys() {
        let modified = |root: &std::path::Path| {
            use std::os::unix::ffi::OsStrExt as _;
            std::fs::metadata(root.join(OsStr::from_bytes(path))).unwrap().modified().unwrap()
        };
        assert_eq!(modified(&out), modified(tree.root()), "{}", path.escape_ascii());
    }
}

#[test]
fn an_export_keeps_the_times_of_s3() {
    let s3 = FakeS3::start();
    s3.put_object("key", Object::new("x").modified(1_000_000_000));
    let catchment = Catchment::reaching(&s3.endpoint());
    catchment.sync_with("s3://catchment-test", &["--bucket", "b"]).exits(0);
    let out = catchment.home().join("out");

    export(&catchment, &out).exits(0);

    let modified = std::fs::metadata(out.join("key")).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_000_000_000);
}

#[test]
fn hostile_names_never_lead_out_of_the_folder() {
    let hostile = [
        "../evil",
        "../../evil",
        "/evil",
        "//evil",
        "a/../../evil",
        "a/../evil",
        "..",
        ".",
        "./evil",
        "a/./evil",
        "a//evil",
        "evil/",
        "../out/evil",
        "../out-evil/x",
    ];
    let (catchment, out) = bucket_of(&[&hostile[..], &["good"]].concat());
    let before = contents_of(catchment.home());

    let run = export(&catchment, &out).exits(3);

    let after = contents_of(catchment.home());
    let outside = |contents: BTreeMap<Vec<u8>, String>| -> Vec<Vec<u8>> {
        contents
            .into_keys()
            .filter(|path| !path.starts_with(b"area/out/") && !path.starts_with(b"data/"))
            .collect()
    };
    assert_eq!(outside(after), outside(before), "something was written outside: {run}");
    assert_eq!(contents_of(&out), text_contents(&[("good", "good")]));
    for name in hostile {
        run.mentions(name);
    }
}

#[test]
fn an_export_does_not_write_through_a_symlink_in_the_folder() {
    let (catchment, out) = bucket_of(&["link/evil", "file", "good"]);
    let outside = Tree::new("outside");
    outside.write("untouched", "x");
    symlink(outside.root(), out.join("link")).unwrap();
    symlink(outside.at("untouched"), out.join("file")).unwrap();

    let run = export(&catchment, &out);

    assert!(run.code() != Some(1), "{run}");
    assert_eq!(outside.contents(), text_contents(&[("untouched", "x")]));
    assert!(out.join("good").exists());
}

#[test]
fn a_name_that_is_both_a_file_and_a_folder_is_reported_and_not_merged() {
    let (catchment, out) = bucket_of(&["a", "a/b", "good"]);

    let run = export(&catchment, &out).exits(3);

    let there = contents_of(&out);
    assert!(
        there == text_contents(&[("a", "a"), ("good", "good")])
            || there == text_contents(&[("a/b", "a/b"), ("good", "good")]),
        "{there:?}"
    );
    run.mentions("a");
}

#[test]
fn a_name_that_the_file_system_cannot_hold_is_reported_and_the_rest_is_written() {
    let too_long = "k".repeat(300);
    let (catchment, out) = bucket_of(&[&too_long, "with\0nul", "good"]);

    let run = export(&catchment, &out).exits(3);

    assert_eq!(contents_of(&out), text_contents(&[("good", "good")]));
    run.mentions(&too_long).mentions("with");
}

#[test]
fn names_that_differ_in_case_or_composition_are_not_merged() {
    let names = ["README", "readme", "caf\u{e9}", "cafe\u{301}"];
    let (catchment, out) = bucket_of(&names);

    let run = export(&catchment, &out);

    // A file system that holds them apart gets all; one that does not gets one of each, and a word.
    let there = contents_of(&out);
    for (path, hash) in &there {
        assert_eq!(*hash, content::hash(path), "{} was overwritten", path.escape_ascii());
    }
    assert_eq!(run.code(), Some(if there.len() == 4 { 0 } else { 3 }), "{run}");
}

#[test]
fn an_export_of_a_prefix_writes_what_begins_with_it() {
    let (catchment, out) = bucket_of(&["p/one", "p/two", "q/three"]);

    catchment.run(&["export", "b", out.to_str().unwrap(), "--prefix", "p/"]).exits(0);

    let hashes: Vec<_> = contents_of(&out).into_values().collect();
    assert_eq!(hashes, [content::hash(b"p/one"), content::hash(b"p/two")]);
}

#[test]
fn an_export_a_second_time_is_the_same_again() {
    let (catchment, out) = bucket_of(&["a/b", "c"]);
    export(&catchment, &out).exits(0);

    export(&catchment, &out).exits(0);

    assert_eq!(contents_of(&out), text_contents(&[("a/b", "a/b"), ("c", "c")]));
}

#[test]
fn an_exported_file_is_a_copy_that_can_be_changed_without_harm() {
    let tree = Tree::new("b");
    tree.write("large", content::pattern(1, 4 << 20));
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let out = catchment.home().join("out");
    export(&catchment, &out).exits(0);

    std::fs::write(out.join("large"), "changed").unwrap();

    catchment.run(&["verify"]).exits(0);
    assert_eq!(catchment.get("b", b"large"), content::pattern(1, 4 << 20));
}
