//! What `docs/replication.md` says: the state replicated by Litestream while syncs run, and
//! restored elsewhere beside the blobs, is whole and goes on.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::{
    catchment::{Catchment, poll_until},
    content,
    fake_s3::{BUCKET, FakeS3, Kind},
    peers,
};

const SOURCE: &str = "s3://catchment-test";

fn litestream() -> Command {
    Command::new(peers::venv("litestream"))
}

/// Litestream at work. Dropped, it is killed.
struct Replicating(Child);

impl Replicating {
    fn start(database: &Path, replica: &str) -> Self {
        let mut command = litestream();
        command
            .arg("replicate")
            .arg(database)
            .arg(replica)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().expect("litestream starts"))
    }
}

impl Drop for Replicating {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn restore(replica: &str, to: &Path) -> bool {
    let mut command = litestream();
    command
        .arg("restore")
        .arg("-o")
        .arg(to)
        .arg(replica)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().expect("litestream starts").success()
}

/// A data directory elsewhere, with the replicated state and a copy of the blobs.
fn elsewhere(home: &Catchment, replica: &str, name: &str) -> Catchment {
    let dir: PathBuf = home.home().join(name);
    std::fs::create_dir(&dir).unwrap();
    assert!(restore(replica, &dir.join("catchment.db")), "litestream restores");
    let copied = Command::new("cp").arg("-a").arg(home.data_dir().join("blobs")).arg(&dir).status();
    assert!(copied.unwrap().success());
    home.clone().with_data_dir(&dir)
}

#[test]
fn a_replica_made_while_syncs_ran_until_a_kill_is_whole_and_goes_on_without_a_download() {
    let s3 = FakeS3::start();
    for number in 0..300 {
        s3.put(format!("small {number:03}"), content::pattern(number, 3000));
    }
    s3.put("large", content::pattern(1000, 200_000));
    let home = Catchment::reaching(&s3.endpoint());
    home.sync(SOURCE).exits(0);
    let replica = format!("file://{}", home.home().join("replica").display());
    let replicating = Replicating::start(&home.data_dir().join("catchment.db"), &replica);
    for round in 0..5 {
        s3.put(format!("round {round}"), content::pattern(2000 + round, 100_000));
        s3.put(format!("small {round:03}"), content::pattern(3000 + round, 3000));
        home.sync(SOURCE).exits(0);
    }
    let all = home.contents(BUCKET);
    // Compacts the database and empties its log, beneath Litestream.
    home.run(&["gc"]).exits(0);

    // Litestream lags by a second or so: the replica has caught up when it says the same.
    let mut tries = 0;
    let other = poll_until("the replica to catch up", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(300));
        tries += 1;
        let dir = home.home().join(format!("restored {tries}"));
        std::fs::create_dir(&dir).unwrap();
        if !restore(&replica, &dir.join("catchment.db")) {
            return None;
        }
        let other = home.clone().with_data_dir(&dir);
        (other.contents(BUCKET) == all).then_some(other)
    });
    drop(other);
    drop(replicating);

    let other = elsewhere(&home, &replica, "elsewhere");
    other.holds_exactly(BUCKET, &s3.contents());
    let gets = || s3.requests().iter().filter(|seen| seen.kind == Kind::Get).count();
    let before = gets();
    assert_eq!(other.sync(SOURCE).exits(0).summary().unchanged, 306);
    assert_eq!(gets(), before, "something was downloaded again");
}

#[test]
fn a_replica_of_a_sync_that_was_killed_in_the_middle_is_a_moment_of_it() {
    let s3 = FakeS3::start();
    for number in 0..400 {
        s3.put(format!("key {number:03}"), content::pattern(number, 40_000));
    }
    s3.page_size(50);
    let home = Catchment::reaching(&s3.endpoint());
    s3.put("first", "first");
    home.run(&["status"]).exits(0);
    home.sync_with(SOURCE, &["--include", "first"]).exits(0);
    let replica = format!("file://{}", home.home().join("replica").display());
    let replicating = Replicating::start(&home.data_dir().join("catchment.db"), &replica);
    let probe = home.home().join("probe.db");
    poll_until("the first state to be replicated", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(100));
        let _ = std::fs::remove_file(&probe);
        restore(&replica, &probe).then_some(())
    });
    let run = home.start_sync(SOURCE, &["--include", "*"]);
    s3.wait_until("some to be fetched", |seen| {
        seen.iter().filter(|seen| seen.kind == Kind::Get).count() > 200
    });
    run.kill();
    drop(replicating);

    let other = elsewhere(&home, &replica, "elsewhere");
    other.run(&["verify"]).exits(0);
    let all = s3.contents();
    let held = other.contents(BUCKET);
    assert!(held.iter().all(|(path, hash)| all.get(path) == Some(hash)));
    poll_until("the lease of the lost machine to expire", Duration::from_secs(120), || {
        (other.sync_with(SOURCE, &["--include", "*"]).code() == Some(0)).then_some(())
    });
    other.holds_exactly(BUCKET, &all);
}
