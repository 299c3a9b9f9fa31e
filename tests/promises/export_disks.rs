//! An export gets along with the disk that it finds: one that shares blocks, one that is full, one
//! on which an earlier export was killed.

use std::{ffi::OsStr, fs, os::unix::fs::symlink, path::Path};

use crate::support::{
    catchment::{Catchment, Run, poll_until},
    content,
    sharing_disk::SharingDisk,
    small_disk::SmallDisk,
    trees::{Tree, contents_of},
};

fn export(catchment: &Catchment, out: &Path) -> Run {
    catchment.run(&export_args(out))
}

fn export_args(out: &Path) -> [&OsStr; 3] {
    [OsStr::new("export"), OsStr::new("b"), out.as_os_str()]
}

/// What a folder has of files that are not finished.
fn unfinished(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(".catchment-")).collect()
}

#[test]
fn an_export_shares_the_stored_blocks_where_the_file_system_can() {
    let Some(disk) = SharingDisk::mount() else { return };
    let tree = Tree::new("b");
    tree.write("large", content::pattern(1, 64 << 20));
    let catchment = Catchment::new().with_data_dir(&disk.path().join("data"));
    catchment.sync(tree.source()).exits(0);
    let out = disk.path().join("out");
    let before = disk.used();

    export(&catchment, &out).exits(0);

    let more = disk.used().saturating_sub(before);
    assert!(more < 8 << 20, "the export of 64 MiB took {more} bytes of its own");
    assert_eq!(contents_of(&out), tree.contents());
    // Sharing ends where one of the two is written to.
    fs::write(out.join("large"), "changed").unwrap();
    catchment.run(&["verify"]).exits(0);
}

#[test]
fn a_full_target_is_named_and_left_without_half_a_file() {
    let tree = Tree::new("b");
    tree.write("1 fits", content::pattern(1, 1 << 20));
    tree.write("2 does not fit", content::pattern(2, 16 << 20));
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let disk = SmallDisk::of_mib(8);

    let run = export(&catchment, &disk.path().join("out")).exits(1);

    run.says(&[
        "No space left on device",
        "/out",
        "exported 1 object ",
        "run it again to continue",
    ]);
    let mut fitted = tree.contents();
    fitted.remove(&b"2 does not fit"[..]);
    assert_eq!(contents_of(&disk.path().join("out")), fitted);
    catchment.holds_exactly("b", &tree.contents());
    disk.grow_to_mib(64);
    export(&catchment, &disk.path().join("out")).exits(0);
    assert_eq!(contents_of(&disk.path().join("out")), tree.contents());
}

#[test]
fn what_a_killed_export_left_is_removed_by_the_next() {
    let tree = Tree::new("b");
    tree.write("folder/large", content::pattern(1, 64 << 20));
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let out = catchment.home().join("out");
    let folder = out.join("folder");
    poll_until("an export that is killed at work", std::time::Duration::from_secs(100), || {
        let _ = fs::remove_dir_all(&out);
        let running = catchment.start(&export_args(&out));
        let has_begun =
            || (folder.join("large").exists() || !unfinished(&folder).is_empty()).then_some(());
        poll_until("the export's file", std::time::Duration::from_secs(60), has_begun);
        running.kill();
        (!unfinished(&folder).is_empty()).then_some(())
    });

    export(&catchment, &out).exits(0);

    assert_eq!(contents_of(&out), tree.contents());
}

#[test]
fn only_dead_exports_leftovers_are_removed() {
    let tree = Tree::new("b");
    tree.write("object", "x");
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let out = catchment.home().join("out");
    fs::create_dir(&out).unwrap();
    let name =
        |number: u32| out.join(format!(".catchment-01ARZ3NDEKTSV4RRFFQ69G5FA{number}.partial"));
    let [dead, alive, link, folder] = [1, 2, 3, 4].map(name);
    let similar = out.join(".catchment-notes.partial");
    for file in [&dead, &alive, &similar] {
        fs::write(file, "half").unwrap();
    }
    symlink(&similar, &link).unwrap();
    fs::create_dir(&folder).unwrap();
    let living = fs::File::open(&alive).unwrap();
    living.lock().unwrap();

    export(&catchment, &out).exits(0);

    // The folder is what a dead export wrote beside its files.
    let gone = [&dead, &folder].map(|path| !path.exists());
    let stay = [&alive, &similar, &link].map(|path| fs::symlink_metadata(path).is_ok());
    assert_eq!((gone, stay), ([true; 2], [true; 3]));
    drop(living);
    export(&catchment, &out).exits(0);
    assert!(!alive.exists(), "nobody is at it any more");
}
