//! Memory and disk follow what is there, not what somebody says is there.

use std::{os::unix::fs::MetadataExt as _, path::Path, process::Command};

use crate::support::{
    catchment::Catchment,
    content,
    fake_s3::{BUCKET, FakeS3, Fault, On},
    trees::Tree,
};

/// A listing of `small`, which is there, and of two objects of these sizes, which are not.
fn listing(size: &str) -> String {
    let object = |key: &str, size: &str| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
             <ETag>\"0cc175b9c0f1b6a831c399e269772661\"</ETag><Size>{size}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{BUCKET}</Name><Prefix></Prefix>\
         <KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{}{}{}\
         </ListBucketResult>",
        object("huge 1", size),
        object("huge 2", size),
        object("small", "1"),
    )
}

#[test]
fn an_object_of_an_impossible_size_fails_and_no_other() {
    let s3 = FakeS3::start();
    s3.put("small", "a");
    for size in ["10000000000000000000", "9223372036854775807", "1125899906842624"] {
        s3.inject(Fault::body(On::Listing, listing(size)));
        let catchment = Catchment::reaching(&s3.endpoint());

        let run = catchment.sync(format!("s3://{BUCKET}")).exits(3).says(&["huge 1"]);

        assert_eq!((run.summary().synced, run.summary().failed), (1, 2), "{size}: {run}");
        catchment.run(&["status", "--json"]).exits(0).says(&["too_large"]);
        s3.heal();
    }
}

#[test]
fn an_object_of_an_impossible_size_takes_no_memory_before_it_fails() {
    let s3 = FakeS3::start();
    s3.put("small", "a");
    s3.inject(Fault::body(On::Listing, listing("1125899906842624")));
    let catchment = Catchment::reaching(&s3.endpoint());
    let (source, endpoint) = (format!("s3://{BUCKET}"), s3.endpoint().url);
    let command = catchment.command(&["sync", &source, "--endpoint-url", &endpoint]);
    let mut limited = Command::new("sh");
    // In KiB: what a run takes by far, and half of what a table of all the parts would.
    limited.args(["-c", "ulimit -v 2000000 && exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));

    let ended = limited.output().unwrap();

    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    assert_eq!(catchment.objects(BUCKET).len(), 1);
}

/// Bytes that the files below a folder take on its disk.
fn on_disk(folder: &Path) -> u64 {
    let items = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let size = |item: std::fs::DirEntry| match item.path().is_dir() {
        true => on_disk(&item.path()),
        false => item.metadata().unwrap().blocks() * 512,
    };
    items.map(size).sum()
}

#[test]
fn runs_of_zeros_cost_no_disk_neither_stored_nor_exported() {
    let tree = Tree::new("tree");
    // One that is fetched front to back, and one in parts.
    for (name, mib) in [("small", 4), ("large", 64)] {
        tree.write(name, content::pattern(1, 100_000));
        let file = std::fs::File::options().write(true).open(tree.at(name)).unwrap();
        file.set_len(mib << 20).unwrap();
    }
    let catchment = Catchment::new();

    catchment.sync(tree.source()).exits(0);

    catchment.holds_exactly("tree", &tree.contents());
    let stored = on_disk(&catchment.data_dir().join("blobs"));
    assert!(stored < 8 << 20, "{stored} bytes stored");
    let out = catchment.home().join("out");
    catchment.run(&["export", "tree", out.to_str().unwrap()]).exits(0);
    assert_eq!(crate::support::trees::contents_of(&out), tree.contents());
    let exported = on_disk(&out);
    assert!(exported < 8 << 20, "{exported} bytes exported");
}

#[test]
fn a_garbage_collection_beside_a_sync_takes_nothing_that_it_is_about_to_record() {
    let tree = Tree::new("tree");
    for number in 0..300 {
        tree.write(format!("file {number}"), content::pattern(number, 100_000));
    }
    let catchment = Catchment::new();
    catchment.sync(tree.source()).exits(0);
    for number in 300..600 {
        tree.write(format!("file {number}"), content::pattern(number, 100_000));
    }
    let nothing: [&str; 0] = [];
    let sync = catchment.start_sync(tree.source(), &nothing);
    for _ in 0..5 {
        catchment.run(&["gc"]).exits(0);
    }

    sync.ends().exits(0);

    catchment.holds_exactly("tree", &tree.contents());
    catchment.run(&["verify"]).exits(0);
}
