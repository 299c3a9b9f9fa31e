//! `/v1/buckets/{bucket}/syncs`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    server::Server,
    support::{
        accounts,
        catchment::{Catchment, poll_until},
        fake_s3::{FakeS3, Fault, On},
        trees::Tree,
        wire::Delivery,
    },
};

/// No run of these tests takes longer, on a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server with a bucket called `films`, and a folder of `files` files.
struct Fixture {
    server: Server,
    tree: Tree,
}

impl Fixture {
    fn with(files: usize) -> Self {
        let home = Catchment::new().env("CATCHMENT_QUIET_PERIOD_MS", "0");
        let other = Tree::new("other");
        other.write("of another sync", "in no other file");
        home.sync_with(other.source(), &["--bucket", "films"]).exits(0);
        Self { server: Server::on(&home), tree: Tree::of_files("source", files) }
    }

    /// What is sent to make a sync of the folder, with these fields besides.
    fn order(&self, more: Value) -> Value {
        let path = self.tree.root().to_str().unwrap();
        let mut order = json!({ "connection_id": "conn_local", "source_path": path });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    }

    /// A sync of the folder, with these fields besides.
    fn sync(&self, more: Value) -> Sync<'_> {
        let made = self.server.post("/v1/buckets/films/syncs", &self.order(more)).is(200);
        let id = made["sync_config_id"].as_str().unwrap();
        Sync { server: &self.server, path: format!("/v1/buckets/films/syncs/{id}"), made }
    }

    /// A paused sync of the folder: nothing runs unless somebody says so.
    fn resting(&self, more: Value) -> Sync<'_> {
        let mut more = more;
        more["status"] = "SUSPENDED".into();
        self.sync(more)
    }
}

/// A sync, asked through its server.
pub struct Sync<'a> {
    /// The server.
    pub server: &'a Server,
    /// Where it is found.
    pub path: String,
    made: Value,
}

impl Sync<'_> {
    /// As it stands.
    pub fn now(&self) -> Value {
        self.server.get(&self.path).is(200)
    }

    fn order(&self, order: &str) -> Value {
        self.server.post(&format!("{}/{order}", self.path), &json!({})).is(200)
    }

    fn jobs(&self) -> Vec<Value> {
        let list = self.server.post(&format!("{}/jobs", self.path), &json!({})).is(200);
        list["results"].as_array().unwrap().clone()
    }

    /// Waits until so many jobs have completed and none is under way.
    fn has_completed(&self, jobs: usize) -> Value {
        poll_until("the jobs", DEADLINE, || {
            std::thread::sleep(Duration::from_millis(20));
            let all = self.jobs();
            let done = all.iter().filter(|job| job["status"] == "completed").count();
            let idle = all.iter().all(|job| job["status"] != "running");
            if done < jobs || !idle {
                return None;
            }
            let (now, metrics) = (self.now(), self.metrics());
            // Nothing has begun in between.
            (self.jobs() == all).then(|| {
                accounts::agree(&now, &all, &metrics);
                now
            })
        })
    }

    fn metrics(&self) -> Value {
        self.server.get(&format!("{}/metrics", self.path)).is(200)
    }
}

#[test]
fn a_new_sync_has_the_defaults_of_the_contract() {
    let fixture = Fixture::with(1);
    let made = fixture.resting(json!({})).made;
    for (field, value) in [
        ("sync_mode", json!("continuous")),
        ("polling_interval_seconds", json!(300)),
        ("batch_size", json!(50)),
        ("skip_duplicates", json!(true)),
        ("max_objects_per_run", json!(100_000)),
        ("create_object_on_confirm", json!(true)),
        ("resume_enabled", json!(true)),
        ("resume_checkpoint_frequency", json!(1000)),
        ("batch_chunk_size", json!(100)),
        ("max_batch_chunk_size", json!(1000)),
        ("source_type", json!("local")),
        ("connection_id", json!("conn_local")),
        ("file_filters", Value::Null),
        ("schema_mapping", Value::Null),
        ("is_active", json!(true)),
        ("locked", json!(false)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(made["reconcile"]["on_delete"], true);
}

#[test]
fn a_new_sync_runs_at_once_and_its_totals_equal_its_jobs() {
    let fixture = Fixture::with(30);
    let sync = fixture.sync(json!({}));
    let after = sync.has_completed(1);
    assert_eq!(after["status"], "ACTIVE");
    assert_eq!(after["total_files_synced"], 30);
    assert_eq!(after["stats"]["last_run_objects_synced"], 30);
    let discovered: u64 = sync
        .jobs()
        .iter()
        .map(|job| job["metadata"]["counts"]["discovered"].as_u64().unwrap())
        .sum();
    assert_eq!(after["total_files_discovered"], discovered);
    assert!(after["next_sync_at"].is_string(), "{after}");
    let metrics = fixture.server.get(&format!("{}/metrics", sync.path)).is(200);
    assert_eq!(metrics["healthy"], true, "{metrics}");
    assert_eq!(metrics["total_files_synced"], 30);
}

#[test]
fn every_setting_that_is_made_can_be_changed_and_read_back() {
    let fixture = Fixture::with(1);
    let settings = json!({
        "description": "words",
        "metadata": {"team": "a"},
        "sync_mode": "initial_only",
        "polling_interval_seconds": 30,
        "batch_size": 7,
        "sync_concurrency": 3,
        "max_objects_per_run": 11,
        "resume_enabled": false,
        "resume_checkpoint_frequency": 100,
        "batch_chunk_size": 9,
        "max_batch_chunk_size": 10,
        "skip_batch_submission": true,
        "batch_collection_ids": ["col_a"],
        "create_object_on_confirm": false,
        "skip_duplicates": false,
        "follow_symlinks": true,
        "symlinks_may_leave_root": true,
        "max_delete": "12.5%",
    });
    let made = fixture.resting(settings.clone());
    let changed = fixture.resting(json!({}));
    fixture.server.patch(&changed.path, &settings).is(200);
    for (field, value) in settings.as_object().unwrap() {
        assert_eq!(&made.made[field], value, "made: {field}");
        assert_eq!(&changed.now()[field], value, "changed: {field}");
    }
}

#[test]
fn a_patch_leaves_what_it_does_not_name_and_null_gives_back_the_default() {
    let fixture = Fixture::with(1);
    let sync = fixture.resting(json!({
        "description": "words", "batch_size": 7,
        "file_filters": {"extensions": ["jpg"]}, "reconcile": {"on_update": false},
    }));
    let after = fixture.server.patch(&sync.path, &json!({"reconcile": {"on_delete": false}}));
    let after = after.is(200);
    assert_eq!(after["description"], "words");
    assert_eq!(after["reconcile"]["on_update"], false);
    assert_eq!(after["reconcile"]["on_delete"], false);
    assert_eq!(after["file_filters"]["extensions"], json!(["jpg"]));
    let cleared = json!({"description": null, "batch_size": null, "file_filters": null});
    let after = fixture.server.patch(&sync.path, &cleared).is(200);
    assert_eq!(after["description"], Value::Null);
    assert_eq!(after["batch_size"], 50);
    assert_eq!(after["file_filters"], Value::Null);
}

#[test]
fn every_wrong_field_is_named_at_once_with_its_value() {
    let fixture = Fixture::with(1);
    let order = fixture.order(json!({
        "polling_interval_seconds": 29, "batch_size": 101, "sync_mode": "sometimes", "batchsize": 3,
    }));
    let answer = fixture.server.post("/v1/buckets/films/syncs", &order);
    assert_eq!(answer.blames("polling_interval_seconds")["value"], 29);
    assert_eq!(answer.blames("batch_size")["value"], 101);
    assert_eq!(answer.blames("sync_mode")["value"], "sometimes");
    assert_eq!(answer.blames("batchsize")["type"], "extra_forbidden");
}

#[test]
fn filters_and_limits_that_contradict_each_other_are_refused_by_name() {
    let fixture = Fixture::with(1);
    let order = fixture.order(json!({
        "file_filters": {"min_size_bytes": 9, "max_size_bytes": 3},
        "provider_filters": {"prefix": "a"},
        "batch_chunk_size": 20, "max_batch_chunk_size": 10,
        "status": "COMPLETED", "max_delete": "many",
    }));
    let answer = fixture.server.post("/v1/buckets/films/syncs", &order);
    answer.blames("file_filters.min_size_bytes");
    answer.blames("provider_filters.prefix");
    assert_eq!(answer.blames("batch_chunk_size")["value"], 20);
    assert_eq!(answer.blames("status")["accepted"], json!(["ACTIVE", "SUSPENDED"]));
    assert_eq!(answer.blames("max_delete")["value"], "many");
}

#[test]
fn a_source_that_is_not_there_is_refused_with_the_reason_and_leaves_no_sync() {
    let fixture = Fixture::with(1);
    let path = "/v1/buckets/films/syncs";
    let order = |source: &str| json!({"connection_id": "conn_local", "source_path": source});
    fixture.server.post(path, &order("/nowhere/at/all")).blames("source_path");
    fixture.server.post(path, &order("relative")).blames("source_path");
    let own = fixture.server.home.data_dir().to_str().unwrap().to_owned();
    fixture.server.post(path, &order(&own)).blames("source_path");
    let unknown = json!({"connection_id": "conn_none", "source_path": "/tmp"});
    assert_eq!(fixture.server.post(path, &unknown).blames("connection_id")["value"], "conn_none");
    let missing = json!({"connection_id": "conn_local"});
    assert_eq!(fixture.server.post(path, &missing).blames("source_path")["type"], "missing");
    let listed = fixture.server.post("/v1/buckets/films/syncs/list", &json!({"is_active": true}));
    let listed = listed.is(200);
    let by_api =
        listed["results"].as_array().unwrap().iter().filter(|sync| sync["made_by"] == "api");
    assert_eq!(by_api.count(), 0);
}

#[test]
fn a_paused_sync_is_triggered_only_once_it_is_resumed() {
    let fixture = Fixture::with(3);
    let sync = fixture.resting(json!({}));
    let paused = fixture.server.post(&format!("{}/pause", sync.path), &json!({"reason": "lunch"}));
    let paused = paused.is(200);
    assert_eq!((&paused["status"], &paused["paused"]), (&json!("SUSPENDED"), &json!(true)));
    assert_eq!(paused["pause_reason"], "lunch");
    assert!(paused["paused_at"].is_string() && paused["paused_by_user_id"].is_string());
    let refused =
        fixture.server.post(&format!("{}/trigger", sync.path), &json!({})).fails_with(409);
    assert_eq!(refused["code"], "sync_paused");

    let resumed = sync.order("resume");
    assert_eq!((&resumed["paused"], &resumed["pause_reason"]), (&json!(false), &Value::Null));
    assert_eq!(sync.has_completed(1)["total_files_synced"], 3);
    assert_eq!(sync.order("resume")["status"], "ACTIVE", "resuming again changes nothing");
}

#[test]
fn a_reason_may_come_in_the_query_and_a_status_may_pause_and_resume() {
    let fixture = Fixture::with(1);
    let sync = fixture.resting(json!({}));
    let reason = fixture.server.post(&format!("{}/pause?reason=why%20not", sync.path), &json!({}));
    assert_eq!(reason.is(200)["pause_reason"], "why not");
    fixture.server.patch(&sync.path, &json!({"status": "ACTIVE"})).is(200);
    sync.has_completed(1);
    let paused = fixture.server.patch(&sync.path, &json!({"status": "SUSPENDED"})).is(200);
    assert_eq!(paused["paused"], true);
}

#[test]
fn a_trigger_returns_its_job_at_once() {
    let fixture = Fixture::with(2);
    let sync = fixture.sync(json!({"sync_mode": "initial_only"}));
    assert_eq!(sync.has_completed(1)["status"], "COMPLETED");
    let triggered = sync.order("trigger");
    assert_eq!(triggered["status"], "running");
    let id = triggered["sync_job_id"].as_str().unwrap();
    assert_eq!(triggered["task_id"], id.replacen("job_", "task_", 1));
    sync.has_completed(2);
    let job = fixture.server.get(&format!("{}/jobs/{id}", sync.path)).is(200);
    assert_eq!((&job["status"], &job["trigger"]), (&json!("completed"), &json!("manual")));
    assert_eq!(job["files_verified"], 2);
    assert_eq!(job["progress_percent"], 100.0);
    let listed = fixture.server.post(&format!("{}/jobs?limit=1", sync.path), &json!({})).is(200);
    assert_eq!(listed["results"][0]["sync_job_id"], id, "the newest first");
    assert_eq!(listed["total"], 2);
    let next = listed["pagination"]["next_cursor"].as_str().unwrap();
    let rest = fixture.server.post(&format!("{}/jobs?cursor={next}", sync.path), &json!({}));
    assert_eq!(rest.is(200)["results"].as_array().unwrap().len(), 1);
}

#[test]
fn a_run_that_is_unlocked_is_interrupted_and_taken_up_again() {
    let fixture = Fixture::with(1);
    let (server, s3) = (&fixture.server, FakeS3::start());
    for number in 0..40 {
        s3.put(format!("k{number:02}"), format!("bytes of {number}"));
    }
    let sync = s3_sync(server, &s3, json!({"sync_concurrency": 1, "status": "SUSPENDED"}));
    s3.inject(Fault::delivery(On::GetOf("k39"), Delivery::StallAfter(0)));
    sync.order("resume");
    let running =
        poll_until("a lease", DEADLINE, || Some(sync.now()).filter(|sync| sync["locked"] == true));
    assert!(running["locked_by_worker_id"].is_string() && running["lock_expires_at"].is_string());
    assert_eq!(sync.order("trigger")["status"], "skipped_already_running");
    let full = server.post(&format!("{}/trigger?full_sync=true", sync.path), &json!({})).is(200);
    assert_eq!(full["pending_full_sync"], true);
    assert_eq!(sync.now()["pending_full_sync"], true);

    let unlocked = sync.order("unlock");
    assert_eq!(unlocked["unlocked"], true);
    assert_eq!(unlocked["locked_by_worker_id"], running["locked_by_worker_id"]);
    let job = unlocked["interrupted_sync_job_id"].as_str().unwrap();
    let job = server.get(&format!("{}/jobs/{job}", sync.path)).is(200);
    assert_eq!(job["status"], "interrupted");
    s3.heal();
    assert_eq!(sync.has_completed(1)["totals"]["failed"], 0);
    assert_eq!(sync.order("unlock")["unlocked"], false);
}

#[test]
fn a_run_whose_lock_is_gone_closes_a_stalled_connection_in_the_middle_of_a_large_object() {
    let fixture = Fixture::with(1);
    let (server, s3) = (&fixture.server, FakeS3::start());
    s3.put("large", vec![7; 20 << 20]);
    let sync = s3_sync(server, &s3, json!({"status": "SUSPENDED"}));
    s3.inject(Fault::delivery(On::GetOf("large"), Delivery::StallAfter(1 << 20)));
    sync.order("resume");
    poll_until("the stretches stand still", DEADLINE, || (s3.stalled() > 1).then_some(()));
    s3.heal();
    assert_eq!(sync.order("unlock")["unlocked"], true);
    // Much sooner than it would by itself, having waited in vain.
    poll_until("all are let go of", Duration::from_secs(30), || (s3.stalled() == 0).then_some(()));
    assert_eq!(sync.has_completed(1)["totals"]["failed"], 0);
}

/// A sync of a scripted S3 server.
pub fn s3_sync<'a>(server: &'a Server, s3: &FakeS3, more: Value) -> Sync<'a> {
    let endpoint = s3.endpoint();
    let connection = server.post(
        "/v1/organizations/connections",
        &json!({
            "name": "the fake", "provider_type": "s3",
            "provider_config": {
                "endpoint_url": endpoint.url, "region": "us-east-1",
                "credentials": {
                    "type": "access_key", "access_key_id": endpoint.access_key,
                    "secret_access_key": endpoint.secret_key,
                },
            },
            "test_before_save": false,
        }),
    );
    let connection = connection.is(200)["connection_id"].clone();
    let mut order =
        json!({"connection_id": connection, "source_path": crate::support::fake_s3::BUCKET});
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = server.post("/v1/buckets/films/syncs", &order).is(200);
    let id = made["sync_config_id"].as_str().unwrap();
    Sync { server, path: format!("/v1/buckets/films/syncs/{id}"), made }
}

#[test]
fn an_entry_that_fails_is_a_dead_letter_until_it_is_given_up_requeued_and_taken() {
    let fixture = Fixture::with(1);
    let (server, s3) = (&fixture.server, FakeS3::start());
    s3.put("good", "bytes");
    s3.put("bad", "other bytes");
    s3.inject(Fault::error(On::GetOf("bad"), 403, "AccessDenied"));
    let sync = s3_sync(server, &s3, json!({}));
    let after = sync.has_completed(1);
    assert_eq!((&after["dead_letters"], &after["total_files_failed"]), (&json!(1), &json!(1)));
    assert_eq!(after["status"], "COMPLETED_WITH_ERRORS", "nothing is good while one is open");
    assert!(after["next_sync_at"].is_string(), "it stays scheduled: {after}");
    let dlq =
        |what: &str, body: &Value| server.post(&format!("{}/dlq{what}", sync.path), body).is(200);
    let letter = dlq("", &json!({}))["results"][0].clone();
    assert_eq!(letter["source_path"], "bad");
    assert_eq!(letter["error_type"], "permission_denied");
    assert!(letter["sync_job_id"].is_string(), "{letter}");
    assert_eq!(dlq("", &json!({"error_types": ["timeout"]}))["total"], 0);

    let marked = dlq("/bulk-mark-failed", &json!({"error_types": ["permission_denied"]}));
    assert_eq!(marked["updated"], 1);
    assert_eq!(dlq("", &json!({"only_max_retries": true}))["total"], 1);
    let metrics = server.get(&format!("{}/metrics", sync.path)).is(200);
    assert_eq!(metrics["dlq_by_error"], json!({"permission_denied": 1}));
    s3.heal();
    assert_eq!(dlq("/requeue", &json!({}))["requeued"], 1);
    assert_eq!(sync.has_completed(2)["status"], "ACTIVE");
    assert_eq!(dlq("", &json!({}))["total"], 0);
    let resolved = dlq("", &json!({"include_resolved": true}))["results"][0].clone();
    assert!(resolved["resolved_at"].is_string() && resolved["requeued_at"].is_string());
    let wrong = server.post(&format!("{}/dlq", sync.path), &json!({"error_types": ["bad luck"]}));
    wrong.fails_with(422);
}

#[test]
fn a_list_is_filtered_and_paged_in_every_style() {
    let fixture = Fixture::with(1);
    let ids: Vec<_> =
        (0..3).map(|_| fixture.resting(json!({})).made["sync_config_id"].clone()).collect();
    let off = fixture.resting(json!({"is_active": false}));
    let list = |query: &str, body: Value| {
        fixture.server.post(&format!("/v1/buckets/films/syncs/list{query}"), &body).is(200)
    };
    assert_eq!(
        list("", json!({"is_active": false}))["results"][0]["sync_config_id"],
        off.made["sync_config_id"]
    );
    assert_eq!(list("", json!({"status": "SUSPENDED"}))["total"], 4);
    assert_eq!(list("", json!({"status": "DRAFT"}))["total"], 0);
    assert_eq!(
        list(
            "",
            json!({"connection_id": "This computer", "is_active": true, "status": "SUSPENDED"})
        )["total"],
        3
    );
    assert_eq!(list("", json!({"connection_id": "conn_none"}))["total"], 0);
    let active = json!({"is_active": true, "status": "SUSPENDED"});
    let mut seen = Vec::new();
    let mut query = "?limit=1".to_owned();
    loop {
        let page = list(&query, active.clone());
        seen.extend(
            page["results"].as_array().unwrap().iter().map(|sync| sync["sync_config_id"].clone()),
        );
        let Some(next) = page["pagination"]["next_cursor"].as_str() else { break };
        query = format!("?page_size=1&after={next}");
    }
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(seen, newest_first);
    for (number, id) in newest_first.iter().enumerate() {
        let page = list(&format!("?limit=1&page={}", number + 1), active.clone());
        assert_eq!(&page["results"][0]["sync_config_id"], id);
        let offset = list(&format!("?limit=1&offset={number}"), active.clone());
        assert_eq!(&offset["results"][0]["sync_config_id"], id);
    }
}

#[test]
fn a_deleted_sync_is_kept_for_its_history_and_takes_no_orders() {
    let fixture = Fixture::with(4);
    let sync = fixture.sync(json!({}));
    sync.has_completed(1);
    for _ in 0..2 {
        assert_eq!(fixture.server.delete(&sync.path).is(200)["status"], "ARCHIVED");
    }
    let after = sync.now();
    assert_eq!((&after["status"], &after["next_sync_at"]), (&json!("ARCHIVED"), &Value::Null));
    assert_eq!(sync.jobs().len(), 1);
    for order in ["trigger", "pause"] {
        fixture.server.post(&format!("{}/{order}", sync.path), &json!({})).fails_with(409);
    }
    fixture.server.patch(&sync.path, &json!({"batch_size": 3})).fails_with(409);
    let listed = fixture.server.post("/v1/buckets/films/syncs/list", &json!({})).is(200);
    assert!(!listed.to_string().contains(sync.made["sync_config_id"].as_str().unwrap()));
    let archived = json!({"status": "ARCHIVED"});
    assert_eq!(fixture.server.post("/v1/buckets/films/syncs/list", &archived).is(200)["total"], 1);
    assert_eq!(fixture.server.home.objects("films").len(), 5, "objects stay");
}

#[test]
fn a_preview_shows_what_a_changed_filter_would_do_and_changes_nothing() {
    let fixture = Fixture::with(3);
    fixture.tree.write("a.txt", "text");
    let path = "/v1/buckets/films/syncs/preview";
    let new = fixture.order(json!({"file_filters": {"extensions": ["txt"]}}));
    let told = fixture.server.post(path, &new).is(200);
    assert_eq!((&told["complete"], &told["counts"]["synced"]), (&json!(true), &json!(1)));
    assert_eq!(told["counts"]["filtered"], 3);

    let sync = fixture.sync(json!({}));
    sync.has_completed(1);
    let changed = json!({
        "sync_config_id": sync.made["sync_config_id"],
        "file_filters": {"extensions": ["txt"]},
    });
    let told = fixture.server.post(path, &changed).is(200);
    assert_eq!(told["counts"]["removed"], 3, "{told}");
    let removed = told["sample"].as_array().unwrap().iter().filter(|one| one["action"] == "remove");
    assert_eq!(removed.count(), 3);
    assert_eq!(sync.now()["file_filters"], Value::Null);
    fixture.server.post(path, &json!({})).blames("connection_id");
}

#[test]
fn a_preview_shows_which_objects_a_changed_mapping_would_change() {
    let fixture = Fixture::with(3);
    fixture.tree.write("a.txt", "text");
    let sync = fixture.sync(json!({}));
    sync.has_completed(1);
    let changed = json!({
        "sync_config_id": sync.made["sync_config_id"],
        "schema_mapping": {"mappings": {"folder": {"source": {"type": "folder_path"}}}},
    });

    let told = fixture.server.post("/v1/buckets/films/syncs/preview", &changed).is(200);

    let counts = &told["counts"];
    assert_eq!((&counts["updated"], &counts["unchanged"]), (&json!(3), &json!(1)), "{told}");
    let sample = told["sample"].as_array().unwrap();
    assert_eq!(sample.len(), 3);
    for entry in sample {
        assert_eq!((&entry["action"], &entry["size_bytes"]), (&json!("update"), &Value::Null));
        assert_eq!(entry["reason"], "the settings make it another object: folder");
    }
    assert_eq!(sync.now()["schema_mapping"], Value::Null);
}

#[test]
fn held_removals_wait_for_a_word_and_are_kept_or_let_go() {
    let fixture = Fixture::with(30);
    let sync = fixture.sync(json!({}));
    sync.has_completed(1);
    let no_word = fixture.server.post(&format!("{}/removals/reject", sync.path), &json!({}));
    no_word.fails_with(409);
    for number in 0..20 {
        fixture.tree.remove(&format!("d00/f{number:04}"));
    }
    let held = poll_until("the guard", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(50));
        Some(sync.now()).filter(|sync| sync["held_removals"]["count"] == 20)
    });
    assert_eq!(held["held_removals"]["of"], 30);
    let metrics = fixture.server.get(&format!("{}/metrics", sync.path)).is(200);
    assert_eq!(metrics["held_removals"]["count"], 20);
    let approved = sync.order("removals/approve");
    assert_eq!(approved["approved"], 20);
    poll_until("the removals", DEADLINE, || {
        std::thread::sleep(Duration::from_millis(50));
        Some(()).filter(|()| sync.now()["totals"]["removed"] == 20)
    });
}

#[test]
fn a_sync_of_another_bucket_or_namespace_is_not_there() {
    let fixture = Fixture::with(1);
    let sync = fixture.resting(json!({}));
    let id = sync.made["sync_config_id"].as_str().unwrap();
    fixture.server.get(&format!("/v1/buckets/none/syncs/{id}")).fails_with(404);
    fixture.server.get("/v1/buckets/films/syncs/sync_none").fails_with(404);
    fixture.server.post("/v1/namespaces", &json!({"namespace_name": "elsewhere"})).is(200);
    let elsewhere = fixture.server.request("GET", &sync.path).header("X-Namespace", "elsewhere");
    elsewhere.send().fails_with(404);
}

#[test]
fn an_emptied_source_waits_for_a_decision_and_is_kept_or_accepted() {
    let (fixture, s3) = (Fixture::with(1), FakeS3::start());
    for number in 0..5 {
        s3.put(format!("key {number}"), format!("content {number}"));
    }
    let sync = s3_sync(&fixture.server, &s3, json!({}));
    sync.has_completed(1);
    let clear = || s3.change(|objects| objects.clear());
    clear();
    sync.order("trigger");
    let held = sync.has_completed(2)["held_removals"].clone();
    assert_eq!((&held["reason"], &held["count"]), (&json!("source_emptied"), &json!(5)));
    assert_eq!(sync.jobs()[0]["phase"], "held");
    assert_eq!(sync.order("removals/reject")["kept"], 5);

    s3.put("new", "the source is used again");
    sync.order("trigger");
    let kept = sync.has_completed(3);
    assert_eq!((&kept["held_removals"], &kept["totals"]["removed"]), (&Value::Null, &json!(0)));
    clear();
    sync.order("trigger");
    assert_eq!(sync.has_completed(4)["held_removals"]["count"], 1, "the others are kept");
    sync.order("removals/approve");
    assert_eq!(sync.has_completed(5)["totals"]["removed"], 1);
}

#[test]
fn a_run_takes_up_exactly_as_many_entries_as_it_may() {
    let fixture = Fixture::with(25);
    let sync = fixture.sync(json!({"max_objects_per_run": 10}));
    sync.has_completed(3);
    let jobs = sync.jobs();
    let synced: Vec<_> = jobs.iter().rev().take(3).map(|job| &job["files_synced"]).collect();
    assert_eq!(synced, [&json!(10), &json!(10), &json!(5)]);
}

#[test]
fn the_times_of_filters_mean_the_same_by_command_line_and_by_api() {
    let home = Catchment::new();
    let (server, tree) = (Server::on(&home), Tree::of_files("source", 1));
    let folder = tree.root().to_str().unwrap().to_owned();
    let exact = [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00Z"),
        ("2026-01-31T12:00:00-05:30", "2026-01-31T17:30:00Z"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456789Z"),
        ("1500-01-01T00:00:00Z", "1500-01-01T00:00:00Z"),
        ("2500-01-01T00:00:00Z", "2500-01-01T00:00:00Z"),
    ];
    let wrong =
        ["2026-01-31T12:00:00", "2026-01-31T12:00", "2026-02-30T12:00:00Z", "noon", "1769860800"];
    let mut number = 0;
    for (field, flag) in
        [("modified_after", "--modified-after"), ("modified_before", "--modified-before")]
    {
        let mut by_api = |text: &str| {
            number += 1;
            let name = format!("api{number}");
            crate::buckets::bucket(&server, &name);
            let order = json!({
                "connection_id": "conn_local", "source_path": folder, "status": "SUSPENDED",
                "file_filters": { field: text },
            });
            (format!("cli{number}"), server.post(&format!("/v1/buckets/{name}/syncs"), &order))
        };
        for (text, instant) in exact {
            let (bucket, answer) = by_api(text);
            assert_eq!(answer.is(200)["file_filters"][field], instant, "{text} by API");
            home.run(&["sync", &folder, "--bucket", &bucket, flag, text]).exits(0);
            let list = format!("/v1/buckets/{bucket}/syncs/list");
            let list = server.post(&list, &json!({})).is(200);
            assert_eq!(list["results"][0]["file_filters"][field], instant, "{text} by command");
        }
        for text in wrong {
            let (bucket, answer) = by_api(text);
            let refused = answer.fails_with(422).to_string();
            assert!(refused.contains(field) && refused.contains(text), "{refused}");
            let run = home.run(&["sync", &folder, "--bucket", &bucket, flag, text]);
            run.exits(2).says(&[flag, text]);
        }
    }
}
