//! What changes while it is read is never stored as a mixture.

use std::{
    io::{Seek as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::support::{
    catchment::{Catchment, poll_until},
    content,
    fake_s3::{BUCKET, FakeS3, Fault, Object, On},
    trees::Tree,
};

const SOURCE: &str = "s3://catchment-test";

#[test]
fn an_object_that_is_replaced_between_listing_and_reading_arrives_in_its_new_version() {
    let s3 = FakeS3::start();
    s3.put("key", "the old version");
    s3.put("other", "other");
    s3.inject(
        Fault::first(On::GetOf("key"), |objects| {
            objects.insert(b"key".to_vec(), Object::new("the new one"));
        })
        .times(1),
    );
    let catchment = Catchment::reaching(&s3.endpoint());

    catchment.sync(SOURCE);
    catchment.sync(SOURCE).exits(0);

    catchment.holds_exactly(BUCKET, &s3.contents());
}

/// The size in the listing is that of the old version, and so must not be trusted for the new one.
#[test]
fn a_large_object_that_is_replaced_between_two_of_its_parts_is_never_mixed() {
    let s3 = FakeS3::start();
    s3.put("key", content::pattern(1, 48 << 20));
    s3.inject(
        Fault::first(On::GetOf("key"), |objects| {
            objects.insert(b"key".to_vec(), Object::new(content::pattern(2, 40 << 20)));
        })
        .after(2)
        .times(1),
    );
    let catchment = Catchment::reaching(&s3.endpoint());

    let first = catchment.sync(SOURCE);

    for hash in catchment.contents(BUCKET).values() {
        assert_eq!(*hash, content::hash(&content::pattern(2, 40 << 20)), "{first}");
    }
    catchment.sync(SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

#[test]
fn an_object_that_changes_with_every_read_fails_alone() {
    let s3 = FakeS3::start();
    s3.put("steady", "steady");
    s3.put("restless", "0");
    s3.inject(Fault::first(On::GetOf("restless"), |objects| {
        let next = Object::new(fastrand::u64(..).to_string());
        objects.insert(b"restless".to_vec(), next);
    }));
    let catchment = Catchment::reaching(&s3.endpoint());

    let run = catchment.sync(SOURCE).exits(3);

    assert_eq!((run.summary().synced, run.summary().failed), (1, 1));
    s3.heal();
    catchment.sync(SOURCE).exits(0);
    catchment.holds_exactly(BUCKET, &s3.contents());
}

/// Somebody who goes on writing to a file until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                work();
            }
        });
        Self { stop, thread }
    }

    fn stops(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// With the longest quiet period that may be set: a busy machine may keep these tests' own writers
/// waiting for longer than the default, and a file that is left alone half written is one that is
/// done.
fn patient() -> Catchment {
    Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "2000")
}

#[test]
fn a_file_that_grows_while_it_is_read_is_copied_once_it_stops_changing() {
    let tree = Tree::of_files("tree", 3);
    let mut log = std::fs::File::create(tree.at("growing.log")).unwrap();
    let line = vec![b'x'; 64 * 1024];
    let writer = Writer::start(move || {
        log.write_all(&line).unwrap();
        log.flush().unwrap();
        std::thread::yield_now();
        if log.stream_position().unwrap() > 1 << 30 {
            log.set_len(0).unwrap();
            log.rewind().unwrap();
        }
    });
    let catchment = patient();

    let run = catchment.sync(tree.source());
    let stored = catchment.contents("tree").contains_key(&b"growing.log"[..]);
    writer.stops();

    assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    assert!(!stored, "a file that was being written was stored: {run}");
    poll_until("the file to arrive", Duration::from_secs(30), || {
        catchment.sync(tree.source());
        (catchment.contents("tree") == tree.contents()).then_some(())
    });
    catchment.run(&["verify"]).exits(0);
}

#[test]
fn a_file_that_is_rewritten_in_place_is_never_stored_torn() {
    const SIZE: usize = 8 << 20;
    let tree = Tree::new("tree");
    tree.write("restless", vec![0; SIZE]);
    let mut file = std::fs::File::options().write(true).open(tree.at("restless")).unwrap();
    let mut byte = 0;
    let writer = Writer::start(move || {
        byte = u8::wrapping_add(byte, 1);
        file.rewind().unwrap();
        for _ in 0..32 {
            file.write_all(&vec![byte; SIZE / 32]).unwrap();
        }
    });
    let catchment = patient();

    for _ in 0..5 {
        catchment.sync(tree.source());
        if catchment.contents("tree").contains_key(&b"restless"[..]) {
            let bytes = catchment.get("tree", b"restless");
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture of two versions");
        }
    }
    writer.stops();
    poll_until("the file to arrive", Duration::from_secs(30), || {
        catchment.sync(tree.source());
        (catchment.contents("tree") == tree.contents()).then_some(())
    });
}

#[test]
fn files_that_come_and_go_during_the_walk_fail_nothing() {
    let tree = Tree::of_files("tree", 300);
    let root = tree.root().to_owned();
    let mut number = 0_u32;
    let writer = Writer::start(move || {
        number += 1;
        let folder = root.join(format!("passing {}", number % 7));
        let _ = std::fs::create_dir(&folder);
        let _ = std::fs::write(folder.join("file"), number.to_string());
        let _ = std::fs::remove_file(folder.join("file"));
        let _ = std::fs::remove_dir(&folder);
    });
    let catchment = Catchment::new();

    let runs: Vec<_> = (0..5).map(|_| catchment.sync(tree.source())).collect();
    writer.stops();

    for run in &runs {
        assert!(matches!(run.code(), Some(0 | 3)), "{run}");
    }
    for number in 0..7 {
        let _ = std::fs::remove_dir_all(tree.at(format!("passing {number}")));
    }
    catchment.sync(tree.source()).exits(0);
    catchment.holds_exactly("tree", &tree.contents());
}
