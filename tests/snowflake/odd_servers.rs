//! A server that does not do as its documentation says: a run fails and says why, and what is in
//! the bucket stays.

use serde_json::{Value, json};

use crate::{fake::FakeSnowflake, syncs::Fixture};

const T: [&str; 3] = ["DB", "S", "T"];

fn row(id: u32, value: &str) -> Value {
    json!([id.to_string(), value])
}

/// A sync of thirty rows in three partitions, which has run.
fn synced() -> (FakeSnowflake, Fixture, String) {
    let fake = FakeSnowflake::start();
    let rows: Vec<Value> = (10..40).map(|id| row(id, "a")).collect();
    fake.table(T, &json!([["ID", "fixed", 0], ["V", "text", null]]), &["ID"], &json!(rows));
    fake.faults(&json!({ "first_rows": 10, "partition_rows": 10 }));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    (fake, fixture, sync)
}

/// Each of these faults fails a run, in words that have this in them, and takes nothing away; once
/// it is over, a run completes.
fn fail_and_recover(faults: &[(Value, &str)]) {
    let (fake, fixture, sync) = synced();
    let rows = fixture.rows();
    for (fault, words) in faults {
        // Something is new: another token, and the same rows.
        fake.change(T, &json!([]), &json!([]));
        fake.faults(fault);
        let job = fixture.run(&sync);
        assert_eq!(job["status"], "failed", "{fault}: {job}");
        let error = job["error"].as_str().unwrap_or_else(|| panic!("{job}"));
        assert!(error.contains(words), "{fault}: {error}");
        assert_eq!(fixture.rows(), rows, "{fault}");
        fake.faults(&json!({ "bodies": {}, "instead": {}, "torn": {}, "query": [], "poll": [] }));
        let job = fixture.run(&sync);
        assert_eq!(job["status"], "completed", "{fault}: {job}");
        assert_eq!(fixture.rows(), rows, "{fault}");
    }
}

#[test]
fn a_partition_in_the_place_of_another_one_fails_the_run_and_removes_nothing() {
    // As many rows as were announced, but not all of them: those of the other are not gone.
    fail_and_recover(&[
        (json!({ "instead": { "2": 1 } }), "another order"),
        (json!({ "instead": { "1": 0 } }), "another order"),
        (json!({ "instead": { "1": 2, "2": 1 } }), "another order"),
    ]);
}

#[test]
fn a_partition_that_lacks_a_row_in_its_middle_fails_the_run_and_the_row_is_not_taken_for_gone() {
    let lacking: Vec<Value> =
        (20..30).filter(|id| *id != 25).map(|id| json!([id.to_string(), "1"])).collect();
    let body = json!({ "data": lacking }).to_string();
    fail_and_recover(&[(json!({ "bodies": { "1": body } }), "announced")]);
}

#[test]
fn news_in_another_order_than_asked_for_are_read_again_from_where_they_began() {
    let fake = FakeSnowflake::start();
    let row = |id: u32, second: u32| json!([id.to_string(), format!("17000{second:05}.0")]);
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9]]);
    fake.table(T, &columns, &["ID"], &json!([row(1, 0)]));
    let fixture = Fixture::with(&fake, &json!({ "incremental_column": "w" }));
    let sync = fixture.sync("db.s.t", &json!({}));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    let rows: Vec<Value> = (10..40).map(|id| row(id, id * 10)).collect();
    fake.change(T, &json!([]), &json!(rows));
    fake.faults(&json!({ "first_rows": 10, "partition_rows": 10 }));
    fake.faults(&json!({ "instead": { "1": 2, "2": 1 } }));
    let job = fixture.run(&sync);
    assert_eq!((&job["status"], &job["details"]["pass"]), (&json!("failed"), &json!("changes")));
    fake.faults(&json!({ "instead": {} }));
    let job = fixture.run(&sync);
    assert_eq!((&job["status"], &job["details"]["pass"]), (&json!("completed"), &json!("changes")));
    assert_eq!(fixture.rows().len(), 31);
}

#[test]
fn rows_of_a_table_without_a_key_in_another_order_than_their_hashes_fail_the_run() {
    let fake = FakeSnowflake::start();
    let rows: Vec<Value> = (10..40).map(|id| row(id, "a")).collect();
    fake.table(T, &json!([["ID", "fixed", 0], ["V", "text", null]]), &[], &json!(rows));
    fake.faults(&json!({ "first_rows": 10, "partition_rows": 10 }));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    fake.change(T, &json!([]), &json!([]));
    fake.faults(&json!({ "instead": { "2": 1 } }));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("another order"), "{job}");
    assert_eq!(fixture.rows().len(), 30);
}

#[test]
fn an_answer_that_is_no_result_fails_the_run_and_removes_nothing() {
    let page = "<!doctype html><title>Maintenance</title>";
    let no_rows = json!({ "statementHandle": "h", "code": "090001" }).to_string();
    fail_and_recover(&[
        (json!({ "bodies": { "1": page } }), "it is not what was asked for"),
        (json!({ "bodies": { "2": "{\"data\": [[\"1\", \"2\"" } }), "it ends in the middle"),
        (json!({ "poll": [{ "status": 200, "body": page }] }), "it is not what was asked for"),
        (json!({ "poll": [{ "status": 200, "body": no_rows }] }), "does not describe its rows"),
        (json!({ "query": [{ "status": 202, "body": page }] }), "it is not what was asked for"),
    ]);
}

#[test]
fn an_answer_whose_counts_or_columns_do_not_agree_fails_the_run_and_removes_nothing() {
    let result = |numbers: Value, columns: Value, data: Value| {
        let partitions: Vec<Value> = numbers.as_array().unwrap()[1..]
            .iter()
            .map(|rows| json!({ "rowCount": rows, "uncompressedSize": 0 }))
            .collect();
        let columns = columns.as_array().unwrap().iter();
        let columns: Vec<Value> =
            columns.map(|name| json!({ "name": name, "type": "text" })).collect();
        let body = json!({
            "statementHandle": "h-1", "code": "090001", "data": data,
            "resultSetMetaData": {
                "numRows": numbers[0], "rowType": columns, "partitionInfo": partitions,
            },
        });
        json!({ "poll": [{ "status": 200, "body": body.to_string() }] })
    };
    let columns = json!(["ID", "HASH(*)"]);
    let one = json!([["10", "1"]]);
    fail_and_recover(&[
        (result(json!([30, 1, 1]), columns.clone(), one.clone()), "other numbers of rows"),
        (result(json!([0, 1]), columns.clone(), one.clone()), "other numbers of rows"),
        (result(json!([5, 5]), columns.clone(), one.clone()), "announced"),
        (result(json!([1, 1]), json!(["ID", "X", "HASH(*)"]), one), "it is not what was asked for"),
    ]);
}

#[test]
fn numbers_and_truth_values_in_the_place_of_text_are_read_as_what_they_are() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["V", "boolean", null]]);
    let rows: Vec<Value> = (4..12).map(|id| json!([id.to_string(), "true"])).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fake.faults(&json!({ "first_rows": 6, "partition_rows": 2 }));
    fake.faults(&json!({ "bodies": { "1": r#"{"data": [[10, true, 1], [11, false, 2]]}"# } }));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    assert_eq!(fixture.rows()["10.json"], json!({ "ID": 10, "V": true }));
    assert_eq!(fixture.rows()["11.json"], json!({ "ID": 11, "V": false }));
}

#[test]
fn a_result_that_stays_incomplete_fails_the_run_and_removes_nothing() {
    let (fake, fixture, sync) = synced();
    let rows = fixture.rows();
    fake.change(T, &json!([["10"], ["39"]]), &json!([]));
    let incomplete = json!({ "status": 422, "code": "391908", "message": "result too large" });
    fake.faults(&json!({ "poll": vec![incomplete; 50] }));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job["error"].as_str().unwrap().contains("391908"), "{job}");
    assert_eq!(fixture.rows(), rows);
    fake.faults(&json!({ "poll": [] }));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    assert_eq!(fixture.rows().len(), 28);
}
