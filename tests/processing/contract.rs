//! What each operation does beyond its use: what it refuses and why, what it returns then, and what
//! stays as it was.

use serde_json::{Value, json};

use crate::{
    commands::{Here, files},
    ledger::{DEADLINE, Fixture},
    server::Server,
    support::catchment::{Catchment, poll_until},
};

const BATCHES: &str = "/v1/buckets/films/batches";

/// A fixture with two objects of which no batch is made, and their ids.
fn two_objects() -> (Fixture, Vec<String>) {
    let here = Fixture::new();
    here.tree.write("a.txt", "one");
    here.tree.write("b.txt", "other");
    here.sync(json!({"skip_batch_submission": true}));
    let listed = here.server.post("/v1/buckets/films/objects/list", &json!({})).is(200);
    let rows = listed["results"].as_array().unwrap();
    let ids = rows.iter().map(|row| row["object_id"].as_str().unwrap().to_owned()).collect();
    (here, ids)
}

fn batch_of(server: &Server, order: &Value) -> String {
    let made = server.post(BATCHES, order).is(200);
    format!("{BATCHES}/{}", made["batch_id"].as_str().unwrap())
}

#[test]
fn a_batch_is_of_objects_and_collections_that_are_there_or_says_what_is_wrong_with_them() {
    let (here, ids) = two_objects();
    let server = &here.server;
    server.post(BATCHES, &json!({})).blames("object_ids");
    let both = json!({"object_ids": ids, "filters": {"key_prefix": "a.txt"}});
    server.post(BATCHES, &both).blames("object_ids");
    server.post(BATCHES, &json!({"object_ids": ["obj_none"]})).blames("object_ids");
    let other = json!({"bucket_name": "other", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &other).is(200);
    let elsewhere = json!({
        "collection_name": "elsewhere", "source": {"type": "bucket", "bucket_ids": ["other"]},
        "feature_extractor": {"feature_extractor_name": "file_facts", "version": "v1"},
    });
    server.post("/v1/collections", &elsewhere).is(200);
    let of_other = json!({"object_ids": ids, "collection_ids": ["elsewhere"]});
    server.post(BATCHES, &of_other).blames("collection_ids");
    server.post(BATCHES, &json!({"object_ids": ids, "dedup": "skip"})).blames("dedup");

    let empty = batch_of(server, &json!({"filters": {"key_prefix": "none"}}));
    assert_eq!(server.post(&format!("{empty}/submit"), &json!({})).status, 422);
    assert_eq!(server.get(&empty).is(200)["status"], "DRAFT");

    let skipping = format!("{BATCHES}?skip_validation=true");
    let made = server.post(&skipping, &json!({"object_ids": [ids[0], "obj_none"]})).is(200);
    let batch = format!("{BATCHES}/{}", made["batch_id"].as_str().unwrap());
    server.patch(&batch, &json!({"batch_name": "another"})).blames("batch_name");
    let submit = format!("{batch}/submit");
    server.post(&submit, &json!({"collection_ids": ["elsewhere"]})).blames("collection_ids");
    let first = server.post(&submit, &json!({})).is(200);
    here.settled();
    let shown = server.get(&batch).is(200);
    assert_eq!(shown["status"], "COMPLETED", "{shown}");
    assert_eq!(shown["progress"]["objects_skipped"], 1, "an unknown object is skipped: {shown}");
    assert_eq!(shown["documents_resolvable"], true, "{shown}");
    let ended = server.post(&submit, &json!({})).fails_with(409);
    assert!(ended["message"].as_str().unwrap().contains("resubmit"), "{ended}");
    let added = server.post(&format!("{batch}/objects"), &json!({"object_ids": [ids[1]]}));
    assert_eq!(added.status, 409, "{}", added.text());

    let task = format!("/v1/tasks/{}", first["task_id"].as_str().unwrap());
    assert_eq!(server.get(&task).is(200)["status"], "COMPLETED");
    for id in [task.as_str(), task.as_str(), "/v1/tasks/task_none"] {
        assert_eq!(server.delete(id).is(200)["success"], true, "{id}");
    }

    server.delete(&batch).is(200);
    server.get(&batch).fails_with(404);
    let left = here.documents("facts");
    assert_eq!((left.len(), &left[0]["_internal"]["batch_id"]), (1, &Value::Null));
}

#[test]
fn a_submitted_batch_has_one_task_and_holds_back_what_would_change_under_it() {
    let here = Here::with(&files(&[("slow.txt", "slow")]), None);
    let server = &here.fixture.server;
    let running = here.batch(&["slow.txt"]);
    let first = running.does("submit", json!({}), 200);
    let again = running.does("submit", json!({}), 200);
    assert_eq!(first["task_id"], again["task_id"]);
    running.becomes("IN_PROGRESS");

    let other = json!({"feature_extractor": {"feature_extractor_name": "text", "version": "v1"}});
    assert_eq!(server.patch("/v1/collections/made", &other).fails_with(409)["code"], "batch_runs");
    assert_eq!(server.delete("/v1/collections/made").fails_with(409)["code"], "batch_runs");
    server.patch("/v1/collections/made", &json!({"description": "while it runs"})).is(200);
    server.delete("/v1/collections/made?force=true").is(200);
    server.get("/v1/collections/made").fails_with(404);
    running.becomes("COMPLETED");
}

#[test]
fn an_object_in_two_waiting_batches_is_extracted_by_one_and_skipped_by_the_other() {
    let here = Here::with(&files(&[("good.txt", "good")]), None);
    let both = [here.batch(&["good.txt"]), here.batch(&["good.txt"])];
    for batch in &both {
        batch.does("submit", json!({}), 200);
    }
    let mut counts = [0, 0];
    for batch in &both {
        batch.becomes("COMPLETED");
        let shown = here.fixture.server.get(&batch.path).is(200);
        let audit = &shown["tier_tasks"][0]["audit"];
        counts[0] += audit["processed"].as_u64().unwrap();
        counts[1] += audit["skipped"].as_u64().unwrap();
    }
    assert_eq!(counts, [1, 1]);
}

#[test]
fn a_batch_that_no_collection_takes_from_is_refused_and_force_replaces_and_says_so() {
    let (here, ids) = two_objects();
    let server = &here.server;
    let forced = json!({"object_ids": ids, "dedup_strategy": "force"});
    let forced = batch_of(server, &forced);
    server.post(&format!("{forced}/submit"), &json!({})).is(200);
    here.settled();
    let shown = server.get(&forced).is(200);
    assert_eq!(shown["effective_dedup_strategy"], "replace", "{shown}");
    assert!(shown["progress"]["status_warnings"].to_string().contains("force"), "{shown}");

    let bulk = json!({"chunk_size": 50000, "dedup_strategy": "replace"});
    let bulk = server.post(&format!("{BATCHES}/bulk-submit"), &bulk).is(200);
    assert_eq!((&bulk["chunk_size"], &bulk["total_batches"]), (&json!(1000), &json!(1)));
    let id = bulk["batches"][0]["batch_id"].as_str().unwrap();
    let shown = server.get(&format!("{BATCHES}/{id}")).is(200);
    assert_eq!(shown["metadata"]["batch_group_id"], bulk["batch_group_id"]);
    here.settled();

    server.patch("/v1/collections/facts", &json!({"enabled": false})).is(200);
    let batch = batch_of(server, &json!({"object_ids": ids}));
    let refused = server.post(&format!("{batch}/submit"), &json!({}));
    assert_eq!(refused.status, 422, "a silent success would be wrong: {}", refused.text());
    let refused = server.post("/v1/collections/facts/trigger", &json!({})).fails_with(409);
    assert_eq!(refused["code"], "collection_disabled");
}

#[test]
fn a_collection_is_refused_with_what_is_accepted_in_its_place() {
    let here = Fixture::new();
    let server = &here.server;
    let with = |more: Value| {
        let mut order = Fixture::collection("another");
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/v1/collections", &order)
    };
    let extractor = |name: &str, version: &str| json!({"feature_extractor": {"feature_extractor_name": name, "version": version}});
    let unknown = with(extractor("multimodal_extractor", "v1"));
    let words = unknown.text();
    assert!(words.contains("extractors/multimodal_extractor.toml"), "{words}");
    for known in ["file_facts", "text", "thumbnail", "passthrough_extractor"] {
        assert!(words.contains(known), "{words}");
    }
    unknown.blames("feature_extractor.feature_extractor_name");
    with(extractor("file_facts", "v9")).blames("feature_extractor.version");
    let odd = json!({"feature_extractor": {
        "feature_extractor_name": "text", "version": "v1",
        "parameters": {"extractor_type": "text", "split_by": "mood"},
    }});
    with(odd).blames("feature_extractor.parameters.split_by");
    let odd = json!({"feature_extractor": {
        "feature_extractor_name": "text", "version": "v1", "parameters": {"splitby": "page"},
    }});
    let blamed = with(odd).blames("feature_extractor.parameters.splitby");
    assert_eq!(blamed["type"], "extra_forbidden", "{blamed}");
    assert!(blamed["accepted"].as_array().unwrap().contains(&json!("split_by")), "{blamed}");
    with(json!({"collection_name": "ab"})).blames("collection_name");
    let cron = json!({"trigger_type": "cron", "schedule_config": {"cron_expression": "* * * * *"}});
    with(json!({"schedule": cron})).blames("schedule.trigger_type");
    let often = json!({"trigger_type": "interval", "schedule_config": {"interval_seconds": 59}});
    with(json!({"schedule": often})).blames("schedule.schedule_config.interval_seconds");
    with(json!({"tiering": "cold"})).blames("tiering");
    with(json!({"collection_name": "facts"})).fails_with(409);
    server.get("/v1/collections/none").fails_with(404);
    let itself = json!({"include_buckets": ["films"], "include_collections": ["facts"]});
    server.post("/v1/collections/facts/trigger", &itself).blames("include_collections");
}

#[test]
fn a_trigger_takes_no_permanent_failure_again_and_replace_takes_all() {
    let all = files(&[("bad.txt", "bad"), ("good.txt", "good")]);
    let here = Here::with(&all, Some(10));
    let server = &here.fixture.server;
    here.fixture.settled();
    let trigger = |body: Value| {
        let begun = server.post("/v1/collections/made/trigger", &body).is(202);
        here.fixture.settled();
        let task = format!("/v1/tasks/{}", begun["task_id"].as_str().unwrap());
        poll_until("the end of the trigger", DEADLINE, || {
            let status = server.get(&task).is(200)["status"].clone();
            ["COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED"]
                .contains(&status.as_str().unwrap())
                .then_some(())
        });
        begun["object_count"].clone()
    };
    assert_eq!(trigger(json!({})), 0, "a failure for good would come back at every interval");
    assert_eq!(trigger(json!({"dedup_strategy": "replace"})), 2);
    assert_eq!(trigger(json!({"only_outdated": true})), 0);
}

#[test]
fn documents_written_by_hand_are_checked_and_changed_field_by_field() {
    let here = Fixture::new();
    let server = &here.server;
    let schema = json!({"type": "object", "properties": {"rank": {"type": "integer"}}});
    let strict = json!({"document_schema": schema, "schema_validation": "strict"});
    server.patch("/v1/collections/facts", &strict).is(200);
    let documents = "/v1/collections/facts/documents";
    server.post(documents, &json!({"metadata": {"_internal": 1}})).blames("metadata._internal");
    assert_eq!(server.post(documents, &json!({"metadata": {"rank": "high"}})).status, 422);
    let made = json!({"metadata": {"rank": 1, "a": {"b": 1, "c": 2}}, "vectors": {"v": [1, 2]}});
    let made = server.post(documents, &made).is(200);
    let three = json!({"vectors": {"v": [1, 2, 3]}});
    server.post(documents, &three).blames("vectors.v");
    let one = format!("{documents}/{}", made["document_id"].as_str().unwrap());

    for change in [
        server.patch(&one, &json!({"a.b": 5, "metadata": {"tag": "x"}})).is(200),
        server.put(&one, &json!({"a.c": null})).is(200),
    ] {
        assert_eq!((&change["a"]["b"], &change["tag"]), (&json!(5), &json!("x")), "{change}");
    }
    let shown = server.get(&one).is(200);
    assert_eq!(
        (&shown["a"], &shown["rank"]),
        (&json!({"b": 5}), &json!(1)),
        "what is left out stays"
    );
    assert_eq!(server.patch(&one, &json!({"rank": "high"})).status, 422);
    server.patch(&format!("{documents}/doc_none"), &json!({"a": 1})).fails_with(404);
    server.patch(&one, &json!({"document_blobs": []})).blames("document_blobs");

    let near = json!({"AND": [{"field": "place", "operator": "geo_radius", "value": {}}]});
    let list = format!("{documents}/list");
    assert_eq!(server.post(&list, &json!({"filters": near})).status, 422);
    let part = json!({"partition": {"index": 2, "count": 2}});
    server.post(&list, &part).blames("partition.index");
    let many = format!("{documents}/batch");
    let ids = json!({"document_ids": ["doc_none"], "filters": {"rank": 1}});
    assert_eq!(server.request("DELETE", &many).json(&ids).send().status, 422);
    assert_eq!(server.request("DELETE", &many).json(&json!({})).send().status, 422);
    assert_eq!(server.post(&many, &json!({"update_data": {"a": 1}})).status, 422);
    let refused = server.get(&format!("{one}/download"));
    assert!(refused.text().contains("has no clip"), "{}", refused.text());
    refused.blames("document_id");
}

#[test]
fn a_deleted_document_stays_away_until_its_object_is_extracted_again() {
    let here = Fixture::new();
    here.tree.write("a.txt", "one");
    let sync = here.sync(json!({}));
    here.settled();
    let id = here.documents("facts")[0]["document_id"].as_str().unwrap().to_owned();
    here.server.delete(&format!("/v1/collections/facts/documents/{id}")).is(200);
    here.run_again(&sync, 2);
    here.server.post("/v1/collections/facts/trigger", &json!({})).is(202);
    here.settled();
    assert_eq!(here.documents("facts").len(), 0, "nothing changed: it is settled");
    here.tree.write("a.txt", "another");
    here.run_again(&sync, 3);
    poll_until("the document", DEADLINE, || {
        here.settled();
        (here.documents("facts").len() == 1).then_some(())
    });
}

#[test]
fn a_change_of_more_than_ten_thousand_documents_is_a_task_that_reaches_each_of_them() {
    let here = Fixture::new();
    let rows = |name: &str| {
        let rows: Vec<String> =
            (0..5001).map(|number| json!({"from": name, "number": number}).to_string()).collect();
        here.tree.write(format!("{name}.jsonl"), rows.join("\n"));
    };
    ["a", "b"].into_iter().for_each(rows);
    let collection = json!({
        "collection_name": "rows", "source": {"type": "bucket", "bucket_ids": ["films"]},
        "feature_extractor": {
            "feature_extractor_name": "passthrough_extractor", "version": "v1",
            "parameters": {"extractor_type": "passthrough_extractor", "row_format": "jsonl"},
            "input_mappings": {"file": "content"},
        },
    });
    let server = &here.server;
    server.post("/v1/collections", &collection).is(200);
    here.sync(json!({}));
    here.settled();
    let documents = "/v1/collections/rows/documents";
    let list = format!("{documents}/list");
    let count = |filter: Value| {
        let body = json!({"filters": filter, "limit": 1, "include_total": true});
        server.post(&list, &body).is(200)["total_documents"].as_u64().unwrap()
    };
    assert_eq!(count(json!({})), 10_002);
    let ended = |begun: &Value| {
        let id = begun["task_id"].as_str().unwrap_or_else(|| panic!("no task: {begun}"));
        let task = format!("/v1/tasks/{id}");
        poll_until("the end of the task", 3 * DEADLINE, || {
            let shown = server.get(&task).is(200);
            assert_ne!(shown["status"], "FAILED", "{shown}");
            (shown["status"] == "COMPLETED").then_some(shown)
        })
    };
    let bulk = server.patch(&format!("{documents}/bulk"), &json!({"update_data": {"seen": true}}));
    let bulk = bulk.is(200);
    let stopped = server.delete(&format!("/v1/tasks/{}", bulk["task_id"].as_str().unwrap()));
    assert!(
        [200, 409].contains(&stopped.status),
        "done, or not to be stopped half done: {stopped}"
    );
    assert_eq!(ended(&bulk)["task_type"], "api_collections_documents_bulk_update");
    assert_eq!(count(json!({"seen": true})), 10_002);

    let delete = |filter: Value| {
        let body = json!({"filters": filter});
        server.request("DELETE", &format!("{documents}/batch")).json(&body).send().is(200)
    };
    let few = delete(json!({"from": "a", "number": 0}));
    assert_eq!((&few["status"], &few["deleted_count"]), (&json!("COMPLETED"), &json!(1)), "{few}");
    let many = delete(json!({"seen": true}));
    assert_eq!((&many["status"], &many["deleted_count"]), (&json!("PENDING"), &Value::Null));
    assert_eq!(ended(&many)["task_type"], "api_collections_documents_bulk_delete");
    assert_eq!(count(json!({})), 0);
}

#[test]
fn analytics_count_what_failed_by_its_kind_and_leave_healthy_buckets_out() {
    let all = files(&[("bad.txt", "bad"), ("good.txt", "good")]);
    let here = Here::with(&all, Some(10));
    let server = &here.fixture.server;
    let other = json!({"bucket_name": "quiet", "bucket_schema": {"properties": {}}});
    server.post("/v1/buckets", &other).is(200);
    here.fixture.settled();
    let analytics = "/v1/analytics/buckets";
    let health = server.get(&format!("{analytics}/films/health?hours=1")).is(200);
    assert_eq!(health["total_errors"], 1, "{health}");
    let kind = &health["error_breakdown"][0];
    assert_eq!((&kind["count"], &kind["percentage"]), (&json!(1), &json!(100.0)), "{health}");
    let buckets = server.get(&format!("{analytics}/health")).is(200)["buckets"].clone();
    assert_eq!(buckets.as_array().unwrap().len(), 1, "{buckets}");
    assert_eq!(
        server.get(&format!("{analytics}/quiet/health")).is(200)["overall_health"],
        "healthy"
    );
    for hours in ["0", "8761", "many"] {
        server.get(&format!("{analytics}/films/health?hours={hours}")).blames("hours");
    }
    for what in ["storage", "usage", "upload-performance"] {
        server.get(&format!("{analytics}/films/{what}?group_by=mood")).blames("group_by");
    }
    let usage = server.get(&format!("{analytics}/films/usage")).is(200);
    assert_eq!(usage["total_credits"], 0, "nobody bills: {usage}");
    server.get(&format!("{analytics}/none/health")).fails_with(404);
}

#[test]
fn what_there_is_none_of_here_costs_nothing_and_is_null() {
    let here = Fixture::new();
    here.tree.write("a.txt", "a");
    here.sync(json!({}));
    let id = here.settled().remove(0)["batch_id"].as_str().unwrap().to_owned();
    let batch = here.server.get(&format!("{BATCHES}/{id}")).is(200);
    for (name, cost) in batch["cost"].as_object().unwrap() {
        assert_eq!(cost.as_f64(), Some(0.0), "{name}");
    }
    for name in [
        "manifest_key",
        "submitted_by_key_id",
        "submitted_by_key_prefix",
        "submitted_by_is_internal",
        "quota_block_first_seen_at",
        "internal_metadata",
        "dedup_audit",
    ] {
        assert_eq!(batch.get(name), Some(&Value::Null), "{name}: {batch}");
    }
    for name in ["max_node_death_resubmits", "max_deploy_resubmits"] {
        assert_eq!(batch[name], i32::MAX, "a restart always goes on");
    }
    let tier = &batch["tier_tasks"][0];
    assert_eq!((&tier["ray_job_id"], &tier["status"]), (&Value::Null, &json!("COMPLETED")));
    assert_eq!(tier["audit"]["lost"], 0);
    let collection = here.server.get("/v1/collections/facts").is(200);
    assert_eq!(collection["lifecycle_state"], "active");
    for name in ["tiering", "tiering_rules", "s3_vector_index"] {
        assert_eq!(collection.get(name), Some(&Value::Null), "{name}: {collection}");
    }
    for (name, value) in [
        ("lifecycle_state", json!("cold")),
        ("s3_vector_index", json!({})),
        ("taxonomy_applications", json!([{"taxonomy_id": "tax_1"}])),
        ("retriever_transform", json!({"retriever_id": "ret_1"})),
    ] {
        let mut order = Fixture::collection("another");
        order[name] = value;
        assert_eq!(here.server.post("/v1/collections", &order).status, 422, "{name}");
    }
}

#[test]
fn hours_in_which_nothing_ran_are_as_the_last_before_them_and_there_are_none_before_the_first() {
    const HOUR: i64 = 3600;
    let here = Fixture::new();
    let server = &here.server;
    let get = |what: &str, query: &str| {
        let target = format!("/v1/analytics/buckets/films/{what}?group_by=hour{query}");
        server.get(&target).is(200)["metrics"].as_array().unwrap().clone()
    };
    poll_until("this hour", DEADLINE, || (!get("storage", "").is_empty()).then_some(()));
    let db = rusqlite::Connection::open(here.home.data_dir().join("catchment.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let now: i64 = db.query_row("SELECT max(hour) FROM bucket_hours", [], |it| it.get(0)).unwrap();
    for (hour, objects, bytes) in [(now - 50, 1, 100), (now - 10, 4, 1000)] {
        let row = "INSERT INTO bucket_hours SELECT bucket_key, ?1, ?2, ?3 FROM buckets";
        db.execute(row, [hour, objects, bytes]).unwrap();
    }
    let time = |hour: i64| jiff::Timestamp::from_second(hour * HOUR).unwrap();
    let at = |point: &Value| {
        let time: jiff::Timestamp = point["time_bucket"].as_str().unwrap().parse().unwrap();
        time.as_second() / HOUR
    };

    let all = get("storage", "");
    let hours: Vec<i64> = all.iter().map(at).collect();
    // An hour may have begun since.
    let last = *hours.last().unwrap();
    assert!((now..=now + 1).contains(&last), "{last} at {now}");
    assert_eq!(hours, (now - 50..=last).collect::<Vec<_>>());
    for (point, hour) in all.iter().zip(hours) {
        let expected = match hour - now {
            ..-10 => (100, 1, 100),
            -10..0 => (1000, 4, 250),
            _ => (0, 0, 0),
        };
        let shown = ["total_size_bytes", "object_count", "avg_size_bytes"]
            .map(|field| point[field].as_u64().unwrap());
        assert_eq!((shown[0], shown[1], shown[2]), expected, "{point}");
    }
    let range = format!("&start_date={}&end_date={}", time(now - 30), time(now - 20));
    let part = get("storage", &range);
    assert_eq!((at(&part[0]), part.len()), (now - 30, 11), "it begins in the middle of a gap");
    assert!(part.iter().all(|point| point["total_size_bytes"] == 100), "{part:?}");
    let before = format!("&start_date={}&end_date={}", time(now - 90), time(now - 51));
    assert_eq!(get("storage", &before), [] as [Value; 0]);
    let used = get("usage", &range);
    assert_eq!(used.len(), 11);
    assert!(used.iter().all(|point| point["storage_gb_hours"] == 1e-7), "{used:?}");
}

#[test]
fn webhooks_refuse_templates_and_mail_and_deleting_one_again_changes_nothing() {
    let server = Server::on(&Catchment::new());
    let hooks = "/v1/organizations/webhooks";
    let with = |channel: Value| {
        let order = json!({
            "webhook_name": "mine", "event_types": ["object.created"], "channels": [channel],
        });
        server.post(hooks, &order)
    };
    let config = |more: Value| {
        let mut config = json!({"url": "http://127.0.0.1:9/"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"channel": "webhook", "configs": config})
    };
    let template = with(config(json!({"payload_template": {"a": "{{b}}"}})));
    template.blames("channels[0].configs.payload_template");
    with(config(json!({"timeout": 31}))).blames("channels[0].configs.timeout");
    with(config(json!({"url": "http://169.254.169.254/"}))).blames("channels[0].configs.url");
    let mail = json!({"channel": "email", "configs": {"to_addresses": ["a@example.com"]}});
    with(mail).blames("channels[0].channel");
    let made = with(config(json!({}))).is(200);
    let one = format!("{hooks}/{}", made["webhook_id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(server.delete(&one).status, 204);
    }
    server.get(&one).fails_with(404);
}

#[test]
fn process_that_watches_extracts_what_each_sync_brings_and_documents_are_searched_by_words() {
    let Fixture { home, server, tree } = Fixture::new();
    assert!(server.stop().success());
    let source = tree.root().to_str().unwrap();
    let watching = home.start(&["process", "--watch"]);
    for (name, count) in [("one", 1), ("two", 2)] {
        tree.write(format!("{name}.txt"), name);
        home.run(&["sync", source, "--bucket", "films"]).exits(0);
        poll_until("the documents", DEADLINE, || {
            let listed = home.run(&["documents", "facts"]).exits(0).stdout();
            (listed.lines().count() == count).then_some(())
        });
    }
    watching.signal(rustix::process::Signal::TERM);
    watching.ends().exits(0);
    let found =
        home.run(&["documents", "facts", "--search", "txt two", "--json"]).exits(0).stdout();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["path"], "two.txt", "{found}");
    home.run(&["documents", "none"]).exits(1).says(&["no collection", "facts"]);
}
