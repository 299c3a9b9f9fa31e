//! What syncs and jobs tell of what they do: counts, progress, phases, causes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    folders::FolderSync,
    server::Server,
    support::{
        catchment::{Catchment, poll_until},
        fake_s3::{FakeS3, Fault, Kind, On},
        trees::Tree,
        wire::Delivery,
    },
    syncs,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// A sync of an S3 bucket into the bucket `films`, which runs when it is told to.
struct S3Sync<'a>(syncs::Sync<'a>);

impl<'a> S3Sync<'a> {
    fn of(server: &'a Server, s3: &FakeS3, mut more: Value) -> Self {
        crate::buckets::bucket(server, "films");
        if more["sync_mode"].is_null() {
            more["sync_mode"] = "initial_only".into();
        }
        Self(syncs::s3_sync(server, s3, more))
    }

    fn post(&self, order: &str) -> Value {
        self.0.server.post(&format!("{}/{order}", self.0.path), &json!({})).is(200)
    }

    fn jobs(&self) -> Vec<Value> {
        self.post("jobs")["results"].as_array().unwrap().clone()
    }

    /// The newest job, once so many have ended and none is under way.
    fn ended(&self, count: usize) -> Value {
        poll_until("the end of the runs", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(20));
            let jobs = self.jobs();
            let is_over = jobs.len() >= count && jobs.iter().all(|job| job["status"] != "running");
            is_over.then(|| jobs[0].clone())
        })
    }

    fn run(&self, query: &str) -> Value {
        let before = self.jobs().len();
        self.post(&format!("trigger{query}"));
        self.ended(before + 1)
    }
}

#[test]
fn a_job_counts_tries_that_failed_and_a_sync_counts_entries_that_did() {
    let (server, s3) = (Server::start(), FakeS3::start());
    s3.put("good", "bytes");
    s3.put("bad", "bytes that are refused");
    s3.inject(Fault::error(On::GetOf("bad"), 403, "AccessDenied"));
    let sync = S3Sync::of(&server, &s3, json!({}));
    let failed =
        |job: &Value| (job["files_failed"].clone(), sync.0.now()["total_files_failed"].clone());
    assert_eq!(failed(&sync.ended(1)), (json!(1), json!(1)));
    assert_eq!(failed(&sync.run("")), (json!(1), json!(1)), "tried again, and the same entry");
    s3.heal();
    assert_eq!(failed(&sync.run("")), (json!(0), json!(1)), "resolved");
    s3.put("bad", "bytes that are refused once more");
    s3.inject(Fault::error(On::GetOf("bad"), 403, "AccessDenied"));
    assert_eq!(failed(&sync.run("")), (json!(1), json!(2)));
}

#[test]
fn the_progress_of_a_slice_is_that_of_its_pass_and_its_phase_says_what_it_does() {
    let (server, s3) = (Server::start(), FakeS3::start());
    s3.page_size(5);
    let put_all = |content: &str| {
        for number in 0..30 {
            s3.put(format!("k{number:02}"), format!("{content} {number}"));
        }
    };
    put_all("first");
    let slices = json!({ "max_objects_per_run": 10, "sync_concurrency": 1, "batch_size": 1 });
    let sync = S3Sync::of(&server, &s3, slices);
    sync.ended(3);

    put_all("second content of");
    // The last one takes some seconds.
    let slowly = Delivery::Paced(1, Duration::from_millis(200));
    s3.inject(Fault::delivery(On::GetOf("k29"), slowly));
    sync.post("trigger");
    let progress = poll_until("the last slice", DEADLINE, || {
        let progress = sync.0.now()["sync_progress"].clone();
        (progress["status"] == "running" && progress["done"] == 29).then_some(progress)
    });
    assert_eq!(progress["total"], 30, "{progress}");
    assert!(progress["percent"].as_f64().unwrap() > 96.0, "{progress}");
    assert!(progress["synced"].as_u64().unwrap() + progress["updated"].as_u64().unwrap() < 11);
    assert_eq!(progress["phase"], "downloading");
    assert_eq!(sync.ended(6)["phase"], "verifying");
    s3.delete("k07");
    assert_eq!(sync.run("")["phase"], "reconciling");
}

#[test]
fn a_sync_whose_runs_hang_is_stale_however_often_it_begins_anew() {
    let home = Catchment::new();
    let (server, s3) = (Server::on(&home), FakeS3::start());
    s3.accept_any_time();
    s3.put("k", "bytes that never come");
    s3.inject(Fault::delivery(On::GetOf("k"), Delivery::StallAfter(0)));
    let continuous = json!({ "sync_mode": "continuous", "polling_interval_seconds": 30 });
    let path = S3Sync::of(&server, &s3, continuous).0.path;
    let metrics = |server: &Server| server.get(&format!("{path}/metrics")).is(200);
    assert_eq!(metrics(&server)["is_stale"], false);
    server.kill();

    let later = Server::on(&home.under_clock("+10m"));
    let metrics = poll_until("another run", DEADLINE, || {
        Some(metrics(&later)).filter(|metrics| metrics["running_job"] == true)
    });
    assert_eq!(metrics["is_stale"], true, "{metrics}");
}

#[test]
fn a_small_batch_size_shows_entries_as_they_come_and_a_large_one_saves_commits() {
    let commits = |batch_size: u32| {
        let (server, s3) = (Server::start(), FakeS3::start());
        for number in 0..60 {
            s3.put(format!("k{number:02}"), format!("{number:0>400}"));
        }
        let slowly = Delivery::Paced(100, Duration::from_millis(2));
        s3.inject(Fault::delivery(On::AnyGet, slowly));
        let settings = json!({ "batch_size": batch_size, "sync_concurrency": 1 });
        let sync = S3Sync::of(&server, &s3, settings);
        assert_eq!(sync.ended(1)["files_synced"], 60);
        let log = server.get("/v1/events/log?limit=500").is(200);
        let events = log["results"].as_array().unwrap();
        events.iter().filter(|event| event["type"] == "objects.added").count()
    };
    let (small, large) = (commits(1), commits(100));
    assert!(small >= 15 && large <= 5, "{small} commits of one entry, {large} of a hundred");
}

#[test]
fn a_full_sync_compares_everything_and_only_a_refetch_fetches_it_again() {
    let (server, s3) = (Server::start(), FakeS3::start());
    for number in 0..5 {
        s3.put(format!("k{number}"), format!("bytes of {number}"));
    }
    let sync = S3Sync::of(&server, &s3, json!({}));
    sync.ended(1);
    assert_eq!(s3.count(Kind::Get), 5);
    s3.put("k3", "other bytes");
    let full = sync.run("?full_sync=true");
    assert_eq!(
        (&full["cause"], &full["metadata"]["full_sync"]),
        (&json!("full_sync"), &json!(true))
    );
    assert_eq!((&full["files_verified"], s3.count(Kind::Get)), (&json!(4), 6));
    let again = sync.run("?full_sync=true&refetch=true");
    assert_eq!((&again["metadata"]["refetch"], s3.count(Kind::Get)), (&json!(true), 11));
}

#[test]
fn a_job_says_why_it_was_begun() {
    let continuous = json!({ "sync_mode": "continuous", "polling_interval_seconds": 900 });
    let tree = Tree::of_files("tree", 1);
    let sync = FolderSync::on(Server::on(&Catchment::new()), tree, json!({}), continuous);
    let first = &sync.jobs()[0];
    assert_eq!((&first["cause"], &first["trigger"]), (&json!("interval"), &json!("scheduled")));
    sync.tree.write("new", "bytes");
    let changed = poll_until("a run for the change", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(50));
        let jobs = sync.jobs();
        jobs.into_iter().find(|job| job["cause"] == "file_changed")
    });
    assert_eq!(changed["trigger"], "scheduled");
    let of = |query: &str| sync.run_with(query)["cause"].clone();
    poll_until("quiet", DEADLINE, || {
        sync.jobs().iter().all(|job| job["status"] != "running").then_some(())
    });
    assert_eq!((of(""), of("?full_sync=true")), (json!("manual"), json!("full_sync")));
}

#[test]
fn failed_entries_that_are_requeued_are_why_a_job_begins() {
    let (server, s3) = (Server::start(), FakeS3::start());
    s3.put("bad", "bytes that are refused");
    s3.inject(Fault::error(On::GetOf("bad"), 403, "AccessDenied"));
    let sync = S3Sync::of(&server, &s3, json!({}));
    sync.ended(1);
    s3.heal();
    sync.post("dlq/requeue");
    assert_eq!(sync.ended(2)["cause"], "requeue");
}

#[test]
fn the_overview_and_the_settings_show_the_same_disk_use() {
    let sync = FolderSync::of(Tree::of_files("tree", 3), json!({}), json!({}));
    poll_until("a quiet moment", DEADLINE, || {
        let disk = |path: &str| sync.server.get(path).is(200)["disk"].clone();
        let (mut one, mut other) = (disk("/v1/overview"), disk("/v1/settings"));
        // Others use the disk, too.
        for disk in [&mut one, &mut other] {
            disk.as_object_mut().unwrap().remove("free_bytes");
        }
        let used = one["used_bytes"].as_u64().unwrap();
        assert!(used > 0 && one["total_bytes"].as_u64().unwrap() > used, "{one}");
        (one == other).then_some(())
    });
}
