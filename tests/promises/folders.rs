//! A folder of this computer arrives whole, whatever its files are called and whatever lies between
//! them.

use std::{
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use crate::support::{
    catchment::Catchment,
    content,
    trees::{Tree, odd_names},
};

#[test]
fn every_name_that_the_file_system_allows_keeps_its_exact_bytes() {
    let tree = Tree::new("odd");
    for (number, name) in odd_names().iter().enumerate() {
        tree.write(name, format!("file {number}"));
        tree.write([b"folder-", &name[..name.len().min(240)], b"/inside"].concat(), name);
    }
    let catchment = Catchment::new();

    let run = catchment.sync(tree.source()).exits(0);

    assert_eq!(run.summary().synced, tree.contents().len() as u64);
    catchment.holds_exactly("odd", &tree.contents());
}

#[test]
fn every_odd_name_is_read_back_by_its_exact_bytes() {
    let tree = Tree::new("odd");
    for name in odd_names() {
        tree.write(&name, &name);
    }
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);

    for name in odd_names() {
        assert_eq!(catchment.get("odd", &name), name);
    }
}

#[test]
fn a_second_run_of_an_unchanged_folder_reads_nothing() {
    let tree = Tree::of_files("tree", 250);
    let catchment = Catchment::new();
    let first = catchment.sync(tree.source()).exits(0).summary();
    assert_eq!((first.synced, first.unchanged), (250, 0));

    let second = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((second.synced, second.unchanged, second.bytes), (0, 250, 0));
}

#[test]
fn changes_additions_and_removals_arrive_with_the_next_run() {
    let tree = Tree::of_files("tree", 20);
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    tree.write("d00/f0003", "another content");
    tree.write("new/file", "new");
    tree.remove("d00/f0004");

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.synced, summary.updated, summary.removed), (1, 1, 1));
    assert_eq!(summary.unchanged, 18);
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn a_change_that_keeps_size_and_modified_time_is_seen() {
    let tree = Tree::new("tree");
    tree.write("file", "before");
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    let time = std::fs::metadata(tree.at("file")).unwrap().modified().unwrap();

    tree.write("file", "after!");
    std::fs::File::options().write(true).open(tree.at("file")).unwrap().set_modified(time).unwrap();
    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!(summary.updated, 1);
    assert_eq!(catchment.get("tree", b"file"), b"after!");
}

#[test]
fn empty_files_and_large_files_arrive() {
    let tree = Tree::new("tree");
    tree.write("empty", "");
    tree.write("large", content::pattern(1, 20 << 20));
    tree.write("at 4 KiB", content::pattern(2, 4096));
    tree.write("at 1 MiB", content::pattern(3, 1 << 20));
    tree.write("over 1 MiB", content::pattern(4, (1 << 20) + 1));
    let catchment = Catchment::new();

    catchment.sync(tree.source()).exits(0);

    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn an_empty_folder_is_a_sync_of_nothing() {
    let tree = Tree::new("empty");
    let catchment = Catchment::new();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!(summary.discovered, 0);
    assert!(catchment.objects("empty").is_empty());
}

#[test]
fn bytes_that_many_files_share_are_stored_once() {
    let tree = Tree::new("copies");
    for number in 0..20 {
        tree.write(format!("copy {number}"), content::pattern(1, 2 << 20));
    }
    let catchment = Catchment::new();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!(summary.synced, 20, "every path is an object");
    assert_eq!(catchment.objects("copies").len(), 20);
    let stored = disk_usage(catchment.data_dir());
    assert!(stored < 5 << 20, "40 MiB of copies take {stored} bytes");
}

/// Bytes that a folder takes on its disk.
fn disk_usage(folder: &std::path::Path) -> u64 {
    let output = Command::new("du").arg("-sk").arg(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn pipes_and_sockets_are_skipped_and_counted() {
    let tree = Tree::new("tree");
    tree.write("file", "x");
    assert!(Command::new("mkfifo").arg(tree.at("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(tree.at("socket")).unwrap();
    let catchment = Catchment::new();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.synced, summary.filtered), (1, 2));
}

#[test]
fn symlinks_are_not_followed_unless_asked() {
    let tree = Tree::new("tree");
    tree.write("file", "x");
    tree.write("folder/inside", "y");
    symlink("file", tree.at("link to file")).unwrap();
    symlink("folder", tree.at("link to folder")).unwrap();
    symlink("nowhere", tree.at("dangling")).unwrap();
    let catchment = Catchment::new();

    let summary = catchment.sync(tree.source()).exits(0).summary();

    assert_eq!((summary.synced, summary.filtered), (2, 3));
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn followed_symlinks_bring_what_they_point_to_and_survive_loops() {
    let tree = Tree::new("tree");
    tree.write("file", "x");
    tree.write("folder/inside", "y");
    symlink("../file", tree.at("folder/link")).unwrap();
    symlink(".", tree.at("loop")).unwrap();
    symlink("..", tree.at("folder/up")).unwrap();
    symlink("self", tree.at("self")).unwrap();
    let catchment = Catchment::new();

    let run = catchment.sync_with(tree.source(), &["--follow-symlinks"]);

    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    let contents = catchment.contents("tree");
    assert_eq!(contents[&b"folder/link"[..]], content::hash(b"x"));
    assert_eq!(contents[&b"folder/inside"[..]], content::hash(b"y"));
    assert!(contents.len() < 12, "a loop was walked: {:?}", contents.keys());
}

#[test]
fn followed_symlinks_do_not_lead_out_of_the_folder() {
    let tree = Tree::new("tree");
    let outside = Tree::new("outside");
    outside.write("secret", "not yours");
    tree.write("file", "x");
    symlink(outside.at("secret"), tree.at("file link")).unwrap();
    symlink(outside.root(), tree.at("folder link")).unwrap();
    let catchment = Catchment::new();

    catchment.sync_with(tree.source(), &["--follow-symlinks"]);

    assert_eq!(catchment.contents("tree"), tree.contents());
}

#[test]
fn a_symlink_may_name_the_folder_to_sync() {
    let tree = Tree::of_files("tree", 3);
    let catchment = Catchment::new();
    let link = catchment.home().join("link");
    symlink(tree.root(), &link).unwrap();

    catchment.sync_with(&link, &["--bucket", "linked"]).exits(0);

    catchment.holds_exactly("linked", &tree.contents());
}

#[test]
fn a_folder_that_may_not_be_read_is_a_failure_and_the_rest_arrives() {
    let tree = Tree::new("tree");
    tree.write("open/file", "x");
    tree.write("closed/file", "y");
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    tree.write("open/file2", "z");
    let closed = tree.at("closed");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).unwrap();

    let catchment = catchment.bound_by_permissions();
    let run = catchment.sync(tree.source());
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o755)).unwrap();

    let summary = run.exits(3).summary();
    assert_eq!((summary.synced, summary.removed), (1, 0));
    catchment.holds_exactly("tree", &tree.contents());
}

#[test]
fn a_file_that_may_not_be_read_is_a_failure_and_the_rest_arrives() {
    let tree = Tree::of_files("tree", 5);
    std::fs::set_permissions(tree.at("d00/f0002"), PermissionsExt::from_mode(0o000)).unwrap();
    let catchment = Catchment::new().bound_by_permissions();

    let summary = catchment.sync(tree.source()).exits(3).summary();

    assert_eq!((summary.synced, summary.failed), (4, 1));
}

#[test]
fn entries_that_failed_in_a_folder_that_became_unreadable_still_count_as_failing() {
    let tree = Tree::new("tree");
    tree.write("closed/file", "x");
    tree.write("open/file", "y");
    let forbid = |path: &str, mode| {
        std::fs::set_permissions(tree.at(path), PermissionsExt::from_mode(mode)).unwrap();
    };
    forbid("closed/file", 0o000);
    let catchment = Catchment::new().bound_by_permissions();
    catchment.sync(tree.source()).exits(3);
    forbid("closed", 0o000);

    catchment.sync(tree.source()).exits(3);

    forbid("closed", 0o755);
    let status = catchment.run(&["status"]).stdout();
    assert!(status.contains("2 entries keep failing"), "{status}");
    assert!(status.contains("closed/ (") && status.contains("closed/file ("), "{status}");

    std::fs::remove_file(tree.at("closed/file")).unwrap();
    catchment.sync(tree.source()).exits(0);
}

#[test]
fn times_from_the_far_past_and_future_are_kept() {
    let tree = Tree::new("tree");
    tree.write("old", "x");
    tree.write("future", "y");
    let set = |name: &str, stamp: &str| {
        let touched = Command::new("touch").arg("-d").arg(stamp).arg(tree.at(name)).status();
        assert!(touched.unwrap().success());
    };
    set("old", "1931-01-02T03:04:05Z");
    set("future", "2199-01-02T03:04:05Z");
    let catchment = Catchment::new();

    catchment.sync(tree.source()).exits(0);

    let objects = catchment.objects("tree");
    let time = |name: &str| objects[name.as_bytes()].modified_at.clone().unwrap();
    assert!(time("old").starts_with("1931-01-02T03:04:05"), "{}", time("old"));
    assert!(time("future").starts_with("2199-01-02T03:04:05"), "{}", time("future"));
}

#[test]
fn files_whose_paths_are_longer_than_the_system_takes_are_synced_at_once() {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let tree = Tree::of_files("tree", 2);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = open(tree.root(), flags, Mode::empty()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..25 {
        mkdirat(&folder, name.as_str(), Mode::RWXU).unwrap();
        folder = openat(&folder, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let write = OFlags::WRONLY | OFlags::CREATE;
    for (file, bytes) in [("small", 10), ("large", 200_000)] {
        let mut file: std::fs::File =
            openat(&folder, file, write, Mode::RUSR | Mode::WUSR).unwrap().into();
        std::io::Write::write_all(&mut file, &content::pattern(1, bytes)).unwrap();
    }
    let catchment = Catchment::new();

    let run = catchment.sync(tree.source()).exits(0);

    assert_eq!(run.summary().synced, 4);
    let objects = catchment.objects("tree");
    let long = objects.keys().find(|path| path.ends_with(b"/large")).unwrap();
    assert!(long.len() > 5000);
    assert_eq!(objects[long].hash, content::hash(&content::pattern(1, 200_000)));
}

/// Each folder holds the next, and a file that comes after it: each has to be gone back to.
#[test]
fn folders_that_are_nested_deeper_than_files_can_be_open_are_synced() {
    let tree = Tree::of_files("tree", 2);
    nest(&tree, 1500);
    let catchment = Catchment::new();

    let (code, said) = sync_with_few_files(&catchment, &tree);

    assert_eq!(code, Some(0), "{said}");
    assert_eq!(catchment.objects("tree").len(), 2 + 1500);
    remove(&tree);
}

/// Paths of up to 8 KiB are followed: 4,096 of these folders.
#[test]
fn ten_thousand_nested_folders_fail_where_their_path_is_too_long_and_end_nothing() {
    let tree = Tree::of_files("tree", 2);
    nest(&tree, 10_000);
    let catchment = Catchment::new();

    let (code, said) = sync_with_few_files(&catchment, &tree);

    assert_eq!(code, Some(3), "{said}");
    assert_eq!(catchment.objects("tree").len(), 2 + 4096);
    assert!(said.contains("longer than 8192 bytes"), "{}", &said[..said.len().min(500)]);
    remove(&tree);
}

/// So many folders, each in the one before it and beside a file.
fn nest(tree: &Tree, levels: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = open(tree.root(), flags, Mode::empty()).unwrap();
    for level in 0..levels {
        mkdirat(&folder, "d", Mode::RWXU).unwrap();
        folder = openat(&folder, "d", flags, Mode::empty()).unwrap();
        let write = OFlags::WRONLY | OFlags::CREATE;
        let mut file: std::fs::File =
            openat(&folder, "e", write, Mode::RUSR | Mode::WUSR).unwrap().into();
        std::io::Write::write_all(&mut file, level.to_string().as_bytes()).unwrap();
    }
}

/// Syncs with 400 file descriptors; returns the exit code, and what was printed.
fn sync_with_few_files(catchment: &Catchment, tree: &Tree) -> (Option<i32>, String) {
    let mut args = vec![std::ffi::OsStr::new("sync"), tree.source(), "--json".as_ref()];
    args.extend(["--concurrency".as_ref(), std::ffi::OsStr::new("4")]);
    let command = catchment.command(&args);
    let mut few_files = std::process::Command::new("sh");
    few_files.args(["-c", "ulimit -n 400 && exec \"$0\" \"$@\""]);
    few_files.arg(command.get_program()).args(command.get_args()).env_clear();
    few_files.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = few_files.current_dir(catchment.home()).output().unwrap();
    let printed = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

/// The standard library's way keeps each folder open.
fn remove(tree: &Tree) {
    std::process::Command::new("rm").arg("-rf").arg(tree.root()).status().unwrap();
}

/// As files of the kernel are.
#[test]
fn files_that_have_bytes_and_no_size_fail_and_are_not_stored_as_empty() {
    let catchment = Catchment::new();

    let run = catchment.sync("/proc/sys/kernel/random").exits(3).says(&["boot_id", "size is 0"]);

    assert_eq!(run.summary().synced, 0, "{run}");
    assert!(run.summary().failed > 2, "{run}");
}
