//! What people order and what it costs, through the API and the command line: statements that are
//! cancelled, the time of warehouses, credentials that are refused, places on the command line.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    fake::{ACCOUNT, FakeSnowflake, TOKEN, USER, private_key, public_key},
    server::Server,
    support::catchment::{Catchment, poll_until},
    syncs::{DEADLINE, Fixture, home},
};

const T: [&str; 3] = ["DB", "S", "T"];

/// A table of four rows.
fn four_rows(fake: &FakeSnowflake) {
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9]]);
    let rows: Vec<_> = (1..5).map(|id| json!([id.to_string(), "1700000000.000000000"])).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
}

fn waits_for(what: &str, mut is_so: impl FnMut() -> bool) {
    poll_until(what, DEADLINE, || {
        std::thread::sleep(Duration::from_millis(20));
        is_so().then_some(())
    });
}

/// The handles of statements that need a warehouse, and those that were cancelled.
fn handles(fake: &FakeSnowflake) -> (Vec<Value>, Vec<Value>) {
    let log = fake.log();
    let queries = log.iter().filter(|entry| entry["takes_warehouse"] == true);
    let queries = queries.map(|entry| entry["handle"].clone()).collect();
    let path = |entry: &Value| entry["path"].as_str().unwrap_or_default().to_owned();
    let cancelled = log.iter().filter_map(|entry| {
        let path = path(entry);
        let handle = path.strip_suffix("/cancel")?.rsplit('/').next()?.to_owned();
        Some(Value::from(handle))
    });
    (queries, cancelled.collect())
}

/// A sync whose statement has been submitted and goes on and on.
fn under_way(fake: &FakeSnowflake) -> (Fixture, String) {
    four_rows(fake);
    let fixture = Fixture::with(fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fake.faults(&json!({ "query_polls": 1_000_000 }));
    fixture.server.post(&format!("{sync}/resume"), &json!({})).is(200);
    waits_for("the statement", || !handles(fake).0.is_empty());
    (fixture, sync)
}

#[test]
fn pausing_a_sync_cancels_its_statement() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = under_way(&fake);
    fixture.server.post(&format!("{sync}/pause"), &json!({})).is(200);
    waits_for("the cancellation", || !handles(&fake).1.is_empty());
    let (queries, cancelled) = handles(&fake);
    assert_eq!(queries, cancelled);
    waits_for("the end of the run", || fixture.jobs(&sync)[0]["status"] == "interrupted");
}

#[test]
fn a_run_that_loses_its_lease_cancels_its_statement() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = under_way(&fake);
    fixture.server.post(&format!("{sync}/unlock"), &json!({})).is(200);
    waits_for("the cancellation", || {
        let (queries, cancelled) = handles(&fake);
        cancelled.contains(&queries[0])
    });
}

#[test]
fn stopping_the_server_cancels_the_statements_that_run() {
    let fake = FakeSnowflake::start();
    let (fixture, _) = under_way(&fake);
    // Snowflake takes its time with it.
    fake.faults(&json!({ "cancel_seconds": 1 }));
    assert!(fixture.server.stop().success());
    let (queries, cancelled) = handles(&fake);
    assert_eq!(queries, cancelled);
    let log = fake.log();
    let answer = log.iter().find(|entry| entry["path"].as_str().unwrap().ends_with("/cancel"));
    assert_eq!(answer.unwrap()["status"], 200, "it was waited for");
}

#[test]
fn ending_a_sync_on_the_command_line_cancels_its_statement() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let home = connected(&fake, &["tables"]);
    fake.faults(&json!({ "query_polls": 1_000_000 }));
    let running = home.start_sync("snowflake://db.s.t", &[] as &[&str]);
    waits_for("the statement", || !handles(&fake).0.is_empty());
    running.signal(rustix::process::Signal::INT);
    running.ends_somehow();
    let (queries, cancelled) = handles(&fake);
    assert_eq!(queries, cancelled);
}

#[test]
fn a_jobs_details_show_how_long_a_warehouse_worked_and_no_change_is_one_request_without_any() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({ "incremental_column": "w" }));
    let sync = fixture.sync("db.s.t", &json!({}));
    // It is looked at three times before it is done: after 0.1, 0.15 and 0.225 s.
    fake.faults(&json!({ "query_polls": 3 }));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    let worked = job["details"]["warehouse_seconds"].as_f64().unwrap();
    assert!((0.475..60.0).contains(&worked), "{worked}");
    let before = fake.log().len();
    let job = fixture.run(&sync);
    assert_eq!(job["details"]["pass"], "changes", "{job}");
    assert_eq!(job["details"]["requests"], 1, "{job}");
    assert_eq!(job["details"]["warehouse_seconds"], 0.0, "{job}");
    let log = fake.log().split_off(before);
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["takes_warehouse"], false);
}

fn refusals(fake: &FakeSnowflake) -> usize {
    fake.log().iter().filter(|entry| entry["status"] == 401).count()
}

#[test]
fn a_refused_key_is_sent_once_by_all_syncs_together_and_suspends_the_connection() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    fake.sql(&["create table U (ID number(38,0) primary key)"]);
    let fixture = Fixture::with(&fake, &json!({}));
    let syncs = [("db.s.t", "rows"), ("db.public.u", "rows")].map(|(table, _)| {
        let sync = fixture.sync(table, &json!({}));
        assert_eq!(fixture.run(&sync)["status"], "completed");
        sync
    });
    fake.users(&json!({ format!("ORG-ACC.{USER}"): { "key": null } }));
    // Both are in flight before either is answered.
    fake.faults(&json!({ "refusal_seconds": 0.5 }));
    for sync in &syncs {
        fixture.server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    }
    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    waits_for("the suspension", || {
        fixture.server.get(&connection).is(200)["status"] == "SUSPENDED"
    });
    waits_for("the end of both", || {
        syncs.iter().all(|sync| {
            let jobs = fixture.jobs(sync);
            jobs.len() > 1 && jobs.iter().all(|job| job["status"] != "running")
        })
    });
    assert_eq!(refusals(&fake), 1);
    let told = fixture.server.get(&connection).is(200);
    let statement = format!("ALTER USER \\\"LOADER\\\" SET RSA_PUBLIC_KEY='{}';", public_key());
    assert!(told.to_string().contains(&statement), "{told}");
    let trigger = fixture.server.post(&format!("{}/trigger", syncs[0]), &json!({}));
    trigger.fails_with(409);
    assert_eq!(refusals(&fake), 1, "and never by itself again");
}

#[test]
fn a_refused_key_is_sent_once_by_two_processes_together_and_again_when_a_person_tests_it() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    fake.sql(&["create table U (ID number(38,0) primary key)"]);
    let home = connected(&fake, &["tables"]);
    let user = format!("ORG-ACC.{USER}");
    fake.users(&json!({ &user: { "key": null } }));
    // Whoever comes second is there before the first one has its answer.
    fake.faults(&json!({ "refusal_seconds": 2 }));
    let tables = ["snowflake://db.s.t", "snowflake://db.public.u"];
    let both = tables.map(|table| home.start_sync::<&str>(table, &[]));
    for sync in both {
        sync.ends().exits(1).says(&["ALTER USER"]);
    }
    assert_eq!(refusals(&fake), 1);
    home.run(&["connections", "test", "tables"]).exits(1);
    assert_eq!(refusals(&fake), 2, "a person wants to know");

    fake.users(&json!({ &user: { "key": public_key() } }));
    home.run(&["connections", "test", "tables"]).exits(0);
    home.sync(tables[0]).exits(0);
    assert_eq!(refusals(&fake), 2);
}

#[test]
fn a_refused_key_is_not_sent_by_another_connection_that_has_it_however_it_is_spelled() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let first = fixture.sync("db.s.t", &json!({}));
    let twin = fixture.server.post(
        "/v1/organizations/connections",
        &json!({
            "name": "twin", "provider_type": "snowflake", "test_before_save": false,
            "provider_config": {
                "account": "https://app.snowflake.com/org/acc", "warehouse": "load_wh",
                "role": "reader", "database": "db",
                "credentials": {
                    "type": "key_pair", "username": USER.to_lowercase(),
                    "private_key": private_key().replace('\n', "\\n"),
                },
            },
        }),
    );
    let twin = twin.is(200)["connection_id"].as_str().unwrap().to_owned();
    let both = [fixture.connection.clone(), twin.clone()];
    let fixture = Fixture { connection: twin, ..fixture };
    let second = fixture.sync("db.s.t", &json!({}));
    let user = format!("ORG-ACC.{USER}");
    fake.users(&json!({ &user: { "key": null } }));
    assert_eq!(fixture.run(&first)["status"], "failed");
    assert_eq!(refusals(&fake), 1);

    // Another process: what it knows is what was written down.
    let home = fixture.server.home.clone();
    assert!(fixture.server.stop().success());
    let fixture = Fixture { server: Server::on(&home), ..fixture };
    let sent = fake.log().len();
    assert_eq!(fixture.run(&second)["status"], "failed");
    assert_eq!(fake.log().len(), sent, "{:?}", fake.log().split_off(sent));
    let path = |connection: &String| format!("/v1/organizations/connections/{connection}");
    for connection in &both {
        let told = fixture.server.get(&path(connection)).is(200);
        assert_eq!(told["status"], "SUSPENDED", "{told}");
        assert!(told.to_string().contains("ALTER USER"), "{told}");
    }

    // A person who tests one of them wants the key to be sent.
    fake.users(&json!({ &user: { "key": public_key() } }));
    for connection in &both {
        let test = fixture.server.post(&format!("{}/test", path(connection)), &json!({})).is(200);
        assert_eq!(test["success"], true, "{test}");
    }
    assert_eq!(fixture.run(&second)["status"], "completed");
    assert_eq!(refusals(&fake), 1);
}

#[test]
fn a_key_that_two_connections_have_is_tried_by_one_process_at_a_time() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let home = connected(&fake, &["one", "two"]);
    fake.users(&json!({ format!("ORG-ACC.{USER}"): { "key": null } }));
    // Whoever comes second is there before the first one has its answer.
    fake.faults(&json!({ "refusal_seconds": 2 }));
    let both =
        ["one", "two"].map(|name| home.start_sync("snowflake://db.s.t", &["--connection", name]));
    for sync in both {
        sync.ends().exits(1).says(&["ALTER USER"]);
    }
    assert_eq!(refusals(&fake), 1);
}

#[test]
fn fetch_size_is_taken_within_its_bounds_and_changes_no_request() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0]]);
    let rows: Vec<_> = (0..450).map(|id| json!([id.to_string()])).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
    fake.faults(&json!({ "first_rows": 150, "partition_rows": 150 }));
    let asked = [100, 10_000].map(|size| {
        let fixture = Fixture::with(&fake, &json!({ "fetch_size": size }));
        let connection = format!("/v1/organizations/connections/{}", fixture.connection);
        let told = fixture.server.get(&connection).is(200);
        assert_eq!(told["provider_config"]["fetch_size"], size, "{told}");
        let sync = fixture.sync("db.s.t", &json!({}));
        let before = fake.log().len();
        assert_eq!(fixture.run(&sync)["status"], "completed");
        assert_eq!(fixture.rows().len(), 450);
        let log = fake.log().split_off(before);
        let what = |entry: &Value| {
            (
                entry["statement"].clone(),
                entry["parameters"].clone(),
                entry["query"]["partition"].clone(),
            )
        };
        log.iter().map(what).collect::<Vec<_>>()
    });
    assert_eq!(asked[0], asked[1]);
    let partitions = asked[0].iter().filter(|(_, _, partition)| !partition.is_null()).count();
    assert_eq!(partitions, 2, "as Snowflake has divided them: {:?}", asked[0]);

    let server = Server::on(&home(&fake));
    for wrong in [json!(99), json!(10_001), json!("many"), json!(1000.5)] {
        let order = json!({
            "name": "wrong", "provider_type": "snowflake", "test_before_save": false,
            "provider_config": {
                "account": ACCOUNT, "warehouse": "load_wh", "fetch_size": wrong,
                "credentials": {"type": "username_password", "username": USER, "password": "x"},
            },
        });
        let made = server.post("/v1/organizations/connections", &order);
        made.blames("provider_config.fetch_size");
    }
}

#[test]
fn every_kind_of_refused_sign_in_suspends_the_connection_after_one_request() {
    for (status, code, message) in [
        (401, "390144", "JWT token is invalid."),
        (401, "390100", "Incorrect username or password was specified."),
        (403, "390422", "Incoming request with IP/Token is not allowed to access Snowflake."),
        (401, "", "Your user account has been temporarily locked."),
    ] {
        let fake = FakeSnowflake::start();
        four_rows(&fake);
        let fixture = Fixture::with(&fake, &json!({}));
        let sync = fixture.sync("db.s.t", &json!({}));
        let before = fake.log().len();
        let refusal = json!({ "status": status, "code": code, "message": message });
        fake.faults(&json!({ "submit": [refusal] }));
        let job = fixture.run(&sync);
        assert_eq!(job["status"], "failed", "{job}");
        let connection = format!("/v1/organizations/connections/{}", fixture.connection);
        let told = fixture.server.get(&connection).is(200);
        assert_eq!(told["status"], "SUSPENDED", "{told}");
        assert_eq!(fake.log().len() - before, 1, "{code}");
    }
}

#[test]
fn every_right_that_is_missing_fails_the_run_with_the_grant_that_helps() {
    let warehouse = r#"GRANT USAGE ON WAREHOUSE \"LOAD_WH\" TO ROLE \"READER\";"#;
    let table = r#"GRANT SELECT ON TABLE \"DB\".\"S\".\"T\" TO ROLE \"READER\";"#;
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    for (code, message, grant) in [
        ("390201", "The requested warehouse does not exist or not authorized.", warehouse),
        ("000606", "No active warehouse selected in the current session.", warehouse),
        ("002003", "Object 'T' does not exist or not authorized.", table),
        ("003001", "Insufficient privileges to operate on table 'T'.", table),
    ] {
        let refusal = json!({ "status": 422, "code": code, "message": message });
        // The token of the last change may be refused where the rows may be read.
        let requests = if grant == table { 2 } else { 1 };
        fake.faults(&json!({ "submit": vec![refusal; requests] }));
        let before = fake.log().len();
        let job = fixture.run(&sync);
        assert_eq!(job["status"], "failed", "{job}");
        assert!(job.to_string().contains(grant), "{job}");
        assert_eq!(fake.log().len() - before, requests, "{code} is not tried again");
    }
    assert_eq!(fixture.run(&sync)["status"], "completed", "once it is granted");
}

#[test]
fn a_throttled_request_is_waited_for_as_long_as_it_says_and_told_in_the_jobs_details() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    let busy = json!({ "status": 429, "code": "390505", "headers": {"Retry-After": "4"} });
    fake.faults(&json!({ "submit": [busy] }));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(job["details"]["rate_limit_hits"], 1, "{job}");
    assert!(job["details"]["throttled_seconds"].as_f64().unwrap() >= 1.0, "{job}");
    let log = fake.log();
    let busy = log.iter().position(|entry| entry["status"] == 429).unwrap();
    assert_eq!(log[busy]["query"]["requestId"], log[busy + 1]["query"]["requestId"]);
    assert_eq!(log[busy + 1]["query"]["retry"], "true");
}

/// What a run asks for, a word for each request.
fn asked(fixture: &Fixture, sync: &str, fake: &FakeSnowflake) -> Vec<String> {
    let before = fake.log().len();
    let job = fixture.run(sync);
    assert_eq!(job["status"], "completed", "{job}");
    let log = fake.log().split_off(before);
    assert_eq!(job["details"]["requests"], log.len(), "{job}");
    let word = |entry: &Value| match (entry["statement"].as_str(), &entry["query"]["partition"]) {
        (Some(text), _) if text.contains("LAST_CHANGE") => "anything new".to_owned(),
        (Some(text), _) => text.split(' ').next().unwrap().to_owned(),
        (None, Value::Null) => "result".to_owned(),
        (None, partition) => format!("partition {}", partition.as_str().unwrap()),
    };
    log.iter().map(word).collect()
}

#[test]
fn a_pass_is_one_query_and_a_request_for_each_partition_however_many_rows_there_are() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9]]);
    let row = |id: u32, second: u32| json!([id.to_string(), format!("17000{second:05}.000000000")]);
    let rows: Vec<_> = (0..250).map(|id| row(id, id * 10)).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
    fake.faults(&json!({ "first_rows": 100, "partition_rows": 100 }));
    let fixture = Fixture::with(&fake, &json!({ "incremental_column": "w" }));
    let sync = fixture.sync("db.s.t", &json!({}));
    let first = asked(&fixture, &sync, &fake);
    let of_the_table = ["SELECT", "result", "partition 1", "partition 2"];
    assert!(first.windows(4).any(|part| part == of_the_table), "{first:?}");
    assert_eq!(first.iter().filter(|word| *word == "SELECT").count(), 1, "{first:?}");
    assert_eq!(asked(&fixture, &sync, &fake), ["anything new"]);
    let news: Vec<_> = (1000..1150).map(|id| row(id, 10_000 + id)).collect();
    fake.change(T, &json!([]), &json!(news));
    let changed = asked(&fixture, &sync, &fake);
    assert_eq!(changed, ["anything new", "SELECT", "result", "partition 1"]);
    assert_eq!(fixture.rows().len(), 400);
}

#[test]
fn a_spent_quota_lets_the_sync_rest_for_an_hour_without_blame() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    let spent = json!({
        "status": 422, "code": "090073", "message": "the resource monitor has exceeded its quota",
    });
    fake.faults(&json!({ "query": [spent] }));
    rests_for_an_hour(&fixture, &sync);
}

/// Runs a sync, which is interrupted and due in an hour.
fn rests_for_an_hour(fixture: &Fixture, sync: &str) {
    let job = fixture.run(sync);
    assert_eq!(job["status"], "interrupted", "{job}");
    let told = fixture.server.get(sync).is(200);
    let due: jiff::Timestamp = told["next_sync_at"].as_str().unwrap().parse().unwrap();
    let wait = due.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((3000..=3600).contains(&wait), "{wait} s: {told}");
    assert_eq!(told["consecutive_failures"], 0, "{told}");
    let notices = told["notices"].to_string();
    assert!(notices.contains("waiting_for_provider") && notices.contains("quota"), "{notices}");
}

#[test]
fn a_spent_quota_lets_the_whole_connection_rest_in_another_process_too() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    fake.table(["DB", "S", "U"], &json!([["ID", "fixed", 0]]), &["ID"], &json!([["1"]]));
    let fixture = Fixture::with(&fake, &json!({}));
    let [first, second] = ["db.s.t", "db.s.u"].map(|table| fixture.sync(table, &json!({})));
    assert_eq!(fixture.run(&second)["status"], "completed");
    let spent = json!({
        "status": 422, "code": "090073", "message": "the resource monitor has exceeded its quota",
    });
    fake.faults(&json!({ "query": [spent] }));
    rests_for_an_hour(&fixture, &first);
    let before = fake.log().len();
    rests_for_an_hour(&fixture, &second);
    let home = fixture.server.home.clone();
    assert!(fixture.server.stop().success());
    let fixture = Fixture { server: Server::on(&home), ..fixture };
    rests_for_an_hour(&fixture, &second);
    assert_eq!(fake.log().len(), before, "{:?}", fake.log().split_off(before));
}

#[test]
fn a_statement_that_takes_too_long_twice_fails_the_run_and_names_the_setting() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({ "query_timeout_seconds": 40 }));
    let sync = fixture.sync("db.s.t", &json!({}));
    let slow =
        json!({ "status": 408, "code": "000630", "message": "Statement reached its timeout" });
    fake.faults(&json!({ "query": [slow, slow] }));
    let before = fake.log().len();
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job.to_string().contains("query_timeout_seconds"), "{job}");
    let log = fake.log().split_off(before);
    let queries = log.iter().filter(|entry| entry["takes_warehouse"] == true);
    assert_eq!(queries.map(|entry| entry["timeout"].clone()).collect::<Vec<_>>(), [40, 80]);
}

#[test]
fn a_clock_that_is_off_is_named_by_tests_and_runs_and_the_key_is_sent_once() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    // Another process, for tokens are good for an hour.
    let home = fixture.server.home.clone();
    assert!(fixture.server.stop().success());
    fake.faults(&json!({ "clock": -7200 }));
    let fixture = Fixture { server: Server::on(&home), ..fixture };
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job.to_string().contains("s ahead of Snowflake's"), "{job}");
    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    let told = fixture.server.get(&connection).is(200);
    assert_eq!(told["status"], "SUSPENDED", "{told}");
    assert!(told["last_error"].to_string().contains("set the clock"), "{told}");
    assert_eq!(refusals(&fake), 1);
    fake.faults(&json!({ "clock": 7200 }));
    let test = fixture.server.post(&format!("{connection}/test"), &json!({})).is(200);
    assert!(test["message"].to_string().contains("s behind Snowflake's"), "{test}");
}

#[test]
fn a_refused_token_is_sent_by_nothing_that_is_not_a_test_of_a_person() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let token = json!({ "credentials": {
        "type": "username_password", "username": USER, "password": TOKEN,
    } });
    let fixture = Fixture::with(&fake, &token);
    let first = fixture.sync("db.s.t", &json!({}));
    let order = json!({
        "name": "twin", "provider_type": "snowflake", "test_before_save": false,
        "provider_config": {
            "account": "org-acc.snowflakecomputing.com", "warehouse": "load_wh", "role": "reader",
            "credentials": token["credentials"],
        },
    });
    let twin = fixture.server.post("/v1/organizations/connections", &order).is(200);
    let twin = twin["connection_id"].as_str().unwrap().to_owned();
    let both = [fixture.connection.clone(), twin.clone()];
    let second = Fixture { connection: twin, ..fixture };
    let other = second.sync("db.s.t", &json!({}));
    let user = format!("ORG-ACC.{USER}");
    fake.users(&json!({ &user: { "tokens": [] } }));
    let job = second.run(&first);
    assert!(job.to_string().contains("programmatic access token"), "{job}");
    assert_eq!(refusals(&fake), 1);

    let nothing_is_sent = |fixture: &Fixture| {
        let before = fake.log().len();
        for connection in &both {
            let at = format!("/v1/organizations/connections/{connection}");
            fixture.server.get(&format!("{at}/folders"));
            fixture.server.get(&format!("{at}/files?path=/DB/S/T"));
            let table = json!({ "connection_id": connection, "source_path": "db.s.t" });
            let preview = fixture.server.post("/v1/syncs/preview", &table);
            assert_ne!(preview.status, 200, "{preview}");
            let made = fixture.server.post("/v1/buckets/rows/syncs", &table);
            assert_ne!(made.status, 200, "{made}");
        }
        for sync in [&first, &other] {
            fixture.server.post(&format!("{sync}/trigger"), &json!({}));
        }
        waits_for("the end of all runs", || {
            let jobs = [&first, &other].map(|sync| fixture.jobs(sync));
            jobs.iter().flatten().all(|job| job["status"] != "running")
        });
        assert_eq!(fake.log().len(), before, "{:?}", fake.log().split_off(before));
    };
    nothing_is_sent(&second);
    let home = second.server.home.clone();
    assert!(second.server.stop().success());
    let fixture = Fixture { server: Server::on(&home), ..second };
    nothing_is_sent(&fixture);

    fake.users(&json!({ &user: { "tokens": [TOKEN] } }));
    for connection in &both {
        let test = format!("/v1/organizations/connections/{connection}/test");
        assert_eq!(fixture.server.post(&test, &json!({})).is(200)["success"], true);
    }
    assert_eq!(fixture.run(&other)["status"], "completed");
    assert_eq!(refusals(&fake), 1);
}

#[test]
fn other_credentials_in_the_place_of_refused_ones_are_sent() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fake.users(&json!({ format!("ORG-ACC.{USER}"): { "key": null, "tokens": [TOKEN] } }));
    assert_eq!(fixture.run(&sync)["status"], "failed");
    let token = json!({ "type": "username_password", "username": USER, "password": TOKEN });
    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    let change = json!({ "provider_config": { "credentials": token } });
    let changed = fixture.server.patch(&connection, &change).is(200);
    assert!(!changed.to_string().contains(TOKEN), "{changed}");
    let tested = fixture.server.post(&format!("{connection}/test"), &json!({})).is(200);
    assert_eq!(tested["success"], true, "{tested}");
    assert_eq!(fixture.run(&sync)["status"], "completed");
    assert_eq!(refusals(&fake), 1);
}

#[test]
fn a_proxy_that_lets_nobody_through_refuses_no_key() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    let page = json!({ "status": 403, "body": "<title>Blocked</title>" });
    fake.faults(&json!({ "submit": [page] }));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    assert_eq!(fixture.server.get(&connection).is(200)["status"], "ACTIVE");
}

#[test]
fn the_first_rows_of_a_table_are_shown_to_who_asks_for_them_which_is_said_to_take_a_query() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let fixture = Fixture::with(&fake, &json!({}));
    let at = format!("/v1/organizations/connections/{}", fixture.connection);
    let queries = || fake.log().iter().filter(|entry| entry["takes_warehouse"] == true).count();
    fixture.server.get(&format!("{at}/folders?path=/DB/S/T")).is(200);
    assert_eq!(queries(), 0);
    let files = fixture.server.get(&format!("{at}/files?path=/DB/S/T&max_results=2")).is(200);
    let names = files["results"].as_array().unwrap().iter();
    assert_eq!(names.map(|file| file["name"].clone()).collect::<Vec<_>>(), ["1.json", "2.json"]);
    assert_eq!(files["results"][0]["mime_type"], "application/json", "{files}");
    assert_eq!(queries(), 1);
    let api = fixture.server.get("/openapi.json").is(200);
    let about = "/v1/organizations/connections/{connection_identifier}/files";
    let about = api["paths"][about]["get"]["description"].to_string();
    assert!(about.contains("first rows") && about.contains("wakes"), "{about}");
}

/// An installation with connections of these names, made on the command line.
fn connected(fake: &FakeSnowflake, names: &[&str]) -> Catchment {
    let home = home(fake);
    let keys = json!({ "type": "key_pair", "username": USER, "private_key": private_key() });
    let keys = home.write_home("keys.json", keys.to_string());
    for name in names {
        let account = format!("account={ACCOUNT}");
        let mut args = vec!["connect", "snowflake", "--name", name, "--set", &account];
        args.extend(["--set", "warehouse=load_wh", "--set", "role=reader", "--set", "database=db"]);
        args.extend(["--credentials", keys.to_str().unwrap()]);
        home.run(&args).exits(0);
    }
    home
}

#[test]
fn a_pass_under_way_shows_the_key_of_the_last_row() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["B", "text", null]]);
    let rows: Vec<_> = (10..40).map(|id| json!([id.to_string(), "it's"])).collect();
    fake.table(T, &columns, &["ID", "B"], &json!(rows));
    fake.faults(&json!({ "first_rows": 10, "partition_rows": 10, "hold": 2 }));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({ "batch_size": 1 }));
    let last = || fixture.server.get(&sync).is(200)["resume_last_primary_key"].clone();
    assert_eq!(last(), Value::Null);
    fixture.server.post(&format!("{sync}/resume"), &json!({})).is(200);
    waits_for("the first rows", || last().is_string());
    let key: Value = serde_json::from_str(last().as_str().unwrap()).unwrap();
    let id: u32 = key[0].as_str().unwrap().parse().unwrap();
    assert!((10..30).contains(&id) && key[1] == "it's", "{key}");
    fake.release();
    waits_for("the end of the pass", || fixture.jobs(&sync)[0]["status"] == "completed");
    assert_eq!(last(), Value::Null);
}

#[test]
fn the_command_line_says_that_a_table_has_no_key() {
    let fake = FakeSnowflake::start();
    fake.table(T, &json!([["LINE", "text", null]]), &[], &json!([["a"], ["b"]]));
    let home = connected(&fake, &["tables"]);
    let said = home.run(&["sync", "snowflake://db.s.t"]).exits(0);
    said.says(&["declares no key", "primary_key_columns"]);
}

#[test]
fn the_command_line_syncs_a_table_through_a_connection() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let home = connected(&fake, &["tables"]);
    home.sync_with("snowflake://db.s.t", &["--connection", "tables"]).exits(0);
    assert_eq!(home.objects("DB.S.T").len(), 4);
    assert_eq!(home.get("DB.S.T", b"1.json"), br#"{"ID":1,"W":"2023-11-14T22:13:20.000000000"}"#);
    // Where there is but one connection, it need not be named, nor what it has by default.
    fake.change(T, &json!([["1"]]), &json!([["5", "1700000001.000000000"]]));
    home.sync(r#"snowflake://s."T""#).exits(0);
    fake.sql(&["create table FILMS (ID number(38,0) primary key)", "insert into FILMS values (7)"]);
    home.sync("snowflake://public.films").exits(0);
    assert_eq!(home.objects("PUBLIC.FILMS").len(), 1);
    let before = fake.log().len();
    home.sync("snowflake://public.films").exits(0);
    assert_eq!(fake.log().len() - before, 1, "no change is one statement");
}

#[test]
fn the_command_line_says_which_connection_or_place_is_wrong() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let home = connected(&fake, &["one", "two"]);
    home.sync("snowflake://db.s.t").exits(2).says(&["--connection", "one", "two"]);
    home.sync_with("snowflake://db.s.t", &["--connection", "one"]).exits(0);
    home.sync_with("snowflake://db.s.my-table", &["--connection", "one"])
        .exits(2)
        .says(&["\"my-table\""]);
    home.sync_with("snowflake://db.s.nope", &["--connection", "one"])
        .exits(1)
        .says(&["GRANT SELECT ON TABLE \"DB\".\"S\".\"NOPE\""]);
}

#[test]
fn a_key_made_here_signs_in_after_the_one_statement_that_the_test_shows() {
    let fake = FakeSnowflake::start();
    four_rows(&fake);
    let server = Server::on(&home(&fake));
    let made = server.post(
        "/v1/organizations/connections",
        &json!({
            "name": "made here", "provider_type": "snowflake", "test_before_save": false,
            "provider_config": {
                "account": ACCOUNT, "warehouse": "load_wh", "role": "reader",
                "credentials": {"type": "key_pair", "username": "loader", "private_key": "generate"},
            },
        }),
    );
    let made = made.is(200);
    assert!(!made.to_string().contains("PRIVATE"), "{made}");
    let connection = made["connection_id"].as_str().unwrap();
    let test = format!("/v1/organizations/connections/{connection}/test");
    let refused = server.post(&test, &json!({}));
    let told = String::from_utf8_lossy(&refused.text().into_bytes()).replace("\\\"", "\"");
    let (_, rest) = told.split_once("ALTER USER \"LOADER\" SET RSA_PUBLIC_KEY='").expect(&told);
    let key = rest.split_once("';").unwrap().0;
    // Somebody with the right to do so runs it.
    fake.users(&json!({ format!("ORG-ACC.{USER}"): { "key": key } }));
    let tested = server.post(&test, &json!({})).is(200);
    assert_eq!(tested["success"], true, "{tested}");
}

#[test]
fn people_look_around_down_to_the_columns_with_a_proposed_key_and_watermark() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (ID number(38,0) primary key, TITLE varchar, UPDATED_AT timestamp_ntz)",
    ]);
    let fixture = Fixture::with(&fake, &json!({}));
    let below = |path: &str| {
        let target = format!("/v1/organizations/connections/{}/folders", fixture.connection);
        let query = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
        let level = fixture.server.get(&format!("{target}?path={query}")).is(200);
        level["results"].as_array().unwrap_or_else(|| panic!("{level}")).clone()
    };
    let named = |items: &[Value], name: &str| {
        items
            .iter()
            .find(|item| item["name"] == name)
            .unwrap_or_else(|| panic!("{items:?}"))
            .clone()
    };
    let database = named(&below("/"), "DB");
    let schema = named(&below(database["path"].as_str().unwrap()), "PUBLIC");
    let table = named(&below(schema["path"].as_str().unwrap()), "FILMS");
    let columns = below(table["path"].as_str().unwrap());
    let note = |name: &str| named(&columns, name).to_string();
    assert!(note("ID").contains("suits primary_key_columns"), "{columns:?}");
    assert!(note("UPDATED_AT").contains("suits incremental_column"), "{columns:?}");
    assert!(!note("TITLE").contains("suits"), "{columns:?}");
    assert!(fake.log().iter().all(|entry| entry["takes_warehouse"] == false), "no warehouse wakes");
}

#[test]
fn a_run_takes_up_exactly_as_many_rows_as_it_may() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0]]);
    let rows: Vec<_> = (1..25).map(|id| json!([id.to_string()])).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({ "max_objects_per_run": 10 }));
    fixture.server.post(&format!("{sync}/resume"), &json!({})).is(200);
    waits_for("the last slice", || {
        let jobs = fixture.jobs(&sync);
        let is_over = jobs.iter().all(|job| job["completed_at"].is_string());
        is_over && fixture.server.get("/v1/buckets/rows").is(200)["object_count"] == 24
    });
    let synced: Vec<_> =
        fixture.jobs(&sync).iter().rev().map(|job| job["files_synced"].clone()).collect();
    assert_eq!(synced, [json!(10), json!(10), json!(4)]);
}
