//! The daily pass: keys and hashes of all rows, and the rows that differ.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    fake::FakeSnowflake,
    server::Server,
    support::catchment::poll_until,
    syncs::{DEADLINE, Fixture, home_with},
};

const T: [&str; 3] = ["DB", "S", "T"];

/// Every run is a full pass.
const DAILY: &str = "[limits]\nfull_pass_hours = 0\n";

const ALL: &str = r#"SELECT *, HASH(*) FROM "DB"."S"."T" ORDER BY "ID" NULLS FIRST"#;
const KEYS: &str = r#"SELECT "ID", "W", HASH(*) FROM "DB"."S"."T" ORDER BY "ID" NULLS FIRST"#;

/// A table whose rows are (id, watermark, value).
fn table(fake: &FakeSnowflake, rows: impl IntoIterator<Item = (u32, i64, &'static str)>) {
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9], ["V", "text", null]]);
    let rows: Vec<Value> = rows.into_iter().map(row).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
}

fn row((id, at, value): (u32, i64, &str)) -> Value {
    json!([id.to_string(), format!("{at}.000000000"), value])
}

/// A sync of it, whose every run is a full pass.
fn synced(fake: &FakeSnowflake) -> (Fixture, String) {
    let fixture = Fixture::on(&home_with(fake, DAILY), &json!({ "incremental_column": "w" }));
    let sync = fixture.sync("db.s.t", &json!({}));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    (fixture, sync)
}

/// The queries that a run makes: what takes a warehouse.
fn queries(fake: &FakeSnowflake, run: impl FnOnce()) -> Vec<String> {
    let before = fake.log().len();
    run();
    let log = fake.log().split_off(before);
    let queries = log.iter().filter(|entry| entry["takes_warehouse"] == true);
    queries.map(|entry| entry["statement"].as_str().unwrap().to_owned()).collect()
}

fn completes(fixture: &Fixture, sync: &str) -> Value {
    let job = fixture.run(sync);
    assert_eq!(job["status"], "completed", "{job}");
    job
}

/// The values in the bucket, by the paths of their rows.
fn values(fixture: &Fixture) -> BTreeMap<String, String> {
    let value = |row: Value| row["V"].as_str().unwrap().to_owned();
    fixture.rows().into_iter().map(|(path, row)| (path, value(row))).collect()
}

fn expected(values: &[(u32, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(id, value)| (format!("{id}.json"), (*value).to_owned())).collect()
}

#[test]
fn a_daily_pass_reads_keys_and_hashes_and_only_the_rows_that_differ() {
    let fake = FakeSnowflake::start();
    table(&fake, [(1, 100, "a"), (2, 200, "b"), (3, 300, "c"), (4, 1_700_000_000, "d")]);
    let (fixture, sync) = synced(&fake);
    assert_eq!(
        queries(&fake, || {
            completes(&fixture, &sync);
        }),
        [KEYS],
        "nothing has changed"
    );
    // One that goes, one that changes without moving its watermark, one that is very late.
    let now = [(2, 200, "silent"), (5, 50, "late")].map(row);
    fake.change(T, &json!([["1"], ["2"]]), &json!(now));
    let made = queries(&fake, || {
        let job = completes(&fixture, &sync);
        assert_eq!(job["details"]["pass"], "full", "{job}");
    });
    let by_key = r#"SELECT *, HASH(*) FROM "DB"."S"."T" WHERE "ID" = ? OR "ID" = ? ORDER BY "ID" NULLS FIRST"#;
    assert_eq!(made, [KEYS, by_key]);
    let bound =
        fake.log().iter().rev().find(|entry| entry["statement"] == by_key).cloned().unwrap();
    assert_eq!(
        bound["bindings"],
        json!({"1": {"type": "FIXED", "value": "2"}, "2": {"type": "FIXED", "value": "5"}})
    );
    assert_eq!(values(&fixture), expected(&[(2, "silent"), (3, "c"), (4, "d"), (5, "late")]));
}

#[test]
fn a_view_that_changes_with_the_clock_and_tells_no_change_is_compared_by_the_daily_pass() {
    let fake = FakeSnowflake::start();
    table(&fake, [(1, 100, "a"), (2, 200, "b")]);
    let (fixture, sync) = synced(&fake);
    fake.faults(&json!({ "same_last_change": true }));
    fake.change(T, &json!([["1"]]), &json!([row((3, 300, "c"))]));
    completes(&fixture, &sync);
    assert_eq!(values(&fixture), expected(&[(2, "b"), (3, "c")]));
}

#[test]
fn the_first_pass_and_one_after_changed_settings_read_the_rows_themselves() {
    let fake = FakeSnowflake::start();
    table(&fake, [(1, 100, "a"), (2, 200, "b")]);
    let made = queries(&fake, || {
        let (fixture, sync) = synced(&fake);
        let filters = json!({ "file_filters": { "exclude_patterns": ["2.json"] } });
        fixture.server.patch(&sync, &filters).is(200);
        completes(&fixture, &sync);
        assert_eq!(values(&fixture), expected(&[(1, "a")]));
    });
    assert_eq!(made, [ALL, ALL]);
}

#[test]
fn rows_that_differ_are_looked_up_five_hundred_at_a_time_whatever_their_partitions() {
    let fake = FakeSnowflake::start();
    table(&fake, (0..6000).map(|id| (id, 100, "a")));
    let (fixture, sync) = synced(&fake);
    // Every fifth one.
    let other: Vec<u32> = (0..6000).step_by(5).collect();
    let gone: Vec<Value> = other.iter().map(|id| json!([id.to_string()])).collect();
    let new: Vec<Value> = other.iter().map(|id| row((*id, 100, "b"))).collect();
    fake.change(T, &json!(gone), &json!(new));
    fake.faults(&json!({ "first_rows": 100, "partition_rows": 100 }));
    let made = queries(&fake, || {
        let job = completes(&fixture, &sync);
        assert_eq!(job["metadata"]["counts"]["updated"], 1200, "{job}");
    });
    let keys: Vec<usize> = made[1..].iter().map(|text| text.matches('?').count()).collect();
    assert_eq!(keys, [500, 500, 200]);
}

#[test]
fn a_table_most_of_whose_rows_have_changed_is_read_whole() {
    let fake = FakeSnowflake::start();
    table(&fake, (0..6000).map(|id| (id, 100, "a")));
    let (fixture, sync) = synced(&fake);
    table(&fake, (0..6000).map(|id| (id, 100, "b")));
    let made = queries(&fake, || {
        let job = completes(&fixture, &sync);
        assert_eq!(job["metadata"]["counts"]["updated"], 6000, "{job}");
    });
    let rest = r#"SELECT *, HASH(*) FROM "DB"."S"."T" WHERE ("ID" > ?) ORDER BY "ID" NULLS FIRST"#;
    assert_eq!(made.first().map(String::as_str), Some(KEYS));
    assert_eq!(made.last().map(String::as_str), Some(rest));
    assert!(made.len() <= 8, "{} queries", made.len());
}

#[test]
fn a_renamed_column_changes_every_row_though_no_value_has_changed() {
    let fake = FakeSnowflake::start();
    table(&fake, [(1, 100, "a"), (2, 200, "b")]);
    let (fixture, sync) = synced(&fake);
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9], ["V2", "text", null]]);
    let rows = [(1, 100, "a"), (2, 200, "b")].map(row);
    fake.table(T, &columns, &["ID"], &json!(rows));
    completes(&fixture, &sync);
    let rows: Vec<Value> = fixture.rows().into_values().collect();
    assert_eq!(rows.iter().map(|row| row["V2"].clone()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(rows.iter().all(|row| row.get("V").is_none()), "{rows:?}");
}

#[test]
fn keys_of_several_columns_with_null_in_some_are_compared_and_looked_up_too() {
    let fake = FakeSnowflake::start();
    let columns = json!([["A", "text", null], ["B", "date", null], ["V", "text", null]]);
    let rows = json!([["x/%", "19000", "1"], ["x/%", "19001", "2"], [null, "19000", "3"]]);
    fake.table(T, &columns, &["A", "B"], &rows);
    let fixture = Fixture::on(&home_with(&fake, DAILY), &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fixture.run(&sync);
    fake.change(T, &json!([["x/%", "19001"]]), &json!([["x/%", "19001", "2b"], ["'", "1", "4"]]));
    let made = queries(&fake, || {
        fixture.run(&sync);
    });
    assert_eq!(
        made[0],
        r#"SELECT "A", "B", HASH(*) FROM "DB"."S"."T" ORDER BY "A" NULLS FIRST, "B" NULLS FIRST"#
    );
    assert!(
        made[1].contains(r#"WHERE "A" = ? AND "B" = ? OR "A" = ? AND "B" = ? ORDER BY"#),
        "{made:?}"
    );
    assert_eq!(made.len(), 2);
    let got = values(&fixture);
    let got: Vec<&str> = got.values().map(String::as_str).collect();
    assert_eq!(got, ["4", "1", "2b"]);
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    assert_eq!(letters["results"].as_array().unwrap().len(), 1, "{letters}");
}

#[test]
fn hashes_that_change_though_no_row_does_cost_one_look_at_the_rows_and_change_nothing() {
    let fake = FakeSnowflake::start();
    table(&fake, [(1, 100, "a"), (2, 200, "b")]);
    let (fixture, sync) = synced(&fake);
    let objects = || {
        let list = fixture.server.post("/v1/buckets/rows/objects/list", &json!({})).is(200);
        let mut objects = list["results"].clone();
        for object in objects.as_array_mut().unwrap() {
            // Behind the hash of the row is Snowflake's own.
            let version = object["source"]["version"].as_str().unwrap();
            object["source"]["version"] = version[..64].into();
        }
        objects
    };
    let before = objects();
    fake.faults(&json!({ "salt": "another release" }));
    let made = queries(&fake, || {
        let job = completes(&fixture, &sync);
        let counts = &job["metadata"]["counts"];
        assert_eq!((&counts["unchanged"], &counts["updated"]), (&json!(2), &json!(0)), "{job}");
    });
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(objects(), before);
    let made = queries(&fake, || {
        completes(&fixture, &sync);
    });
    assert_eq!(made, [KEYS], "the new hashes are known");
}

#[test]
fn rows_that_the_filters_leave_out_are_not_looked_up_again() {
    let fake = FakeSnowflake::start();
    table(&fake, [(1, 100, "a"), (2, 200, "b"), (3, 300, "b")]);
    let fixture = Fixture::on(&home_with(&fake, DAILY), &json!({}));
    let only_a = json!({"file_filters": {"metadata_filters": [
        {"field": "V", "operator": "equals", "value": "a"},
    ]}});
    let sync = fixture.sync("db.s.t", &only_a);
    completes(&fixture, &sync);
    let made = queries(&fake, || {
        completes(&fixture, &sync);
    });
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(values(&fixture), expected(&[(1, "a")]));
}

#[test]
fn a_server_killed_in_the_middle_of_a_daily_pass_has_each_row_once_afterwards() {
    let fake = FakeSnowflake::start();
    table(&fake, (1000..1400).map(|id| (id, 100, "a")));
    let (fixture, sync) = synced(&fake);
    let gone: Vec<Value> = (1000..1010).map(|id| json!([id.to_string()])).collect();
    let new: Vec<Value> = (1005..1010).map(|id| row((id, 100, "b"))).collect();
    fake.change(T, &json!(gone), &json!(new));
    fake.faults(&json!({ "first_rows": 50, "partition_rows": 50, "hold": 4 }));
    fixture.server.post(&format!("{sync}/trigger"), &json!({})).is(200);
    poll_until("the partition that is held", DEADLINE, || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        fake.log().iter().any(|entry| entry["query"]["partition"] == "4").then_some(())
    });
    let home = fixture.server.home.clone();
    fixture.server.kill();
    fake.faults(&json!({ "hold": null }));
    fake.release();
    let fixture = Fixture { server: Server::on(&home), connection: fixture.connection };
    poll_until("the end of the pass", DEADLINE, || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let jobs = fixture.jobs(&sync);
        let done = jobs.iter().filter(|job| job["status"] == "completed").count();
        (done > 1 && jobs.iter().all(|job| job["status"] != "running")).then_some(())
    });
    let values = values(&fixture);
    assert_eq!(values.len(), 395);
    assert_eq!(values.values().filter(|value| *value == "b").count(), 5);
    let all = "/v1/buckets/rows/objects/list?limit=1000";
    let list = fixture.server.post(all, &json!({})).is(200);
    assert_eq!(list["results"].as_array().unwrap().len(), 395, "each once");
}
