//! Rows are other people's data: no cell is in a log, in an error or in what is told of a job,
//! whatever goes wrong with it.

use serde_json::{Value, json};

use crate::{
    fake::FakeSnowflake,
    syncs::{Fixture, home},
};

const T: [&str; 3] = ["DB", "S", "T"];

/// What is in the cells.
const SECRET: &str = "cell-of-somebody";

/// What people and programs are told of a sync and its connection, and what was logged.
fn told(fixture: &Fixture, sync: &str) -> String {
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    let sync_now = fixture.server.get(sync).is(200);
    [
        Value::from(fixture.jobs(sync)),
        letters,
        // Its cursors are Snowflake's own: places in the table.
        sync_now["last_error"].clone(),
        sync_now["notices"].clone(),
        fixture.server.get(&connection).is(200),
        fixture.server.get("/v1/events/log?limit=100").is(200),
        fixture.server.get("/v1/overview").is(200),
    ]
    .map(|value| value.to_string())
    .join("\n")
}

#[test]
fn no_cell_is_in_a_log_or_an_error_whatever_goes_wrong() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["W", "text", null], ["V", "text", null]]);
    // The watermark is data, too, and is bound to statements.
    let row = |id: u32| json!([id.to_string(), SECRET, SECRET]);
    let rows = |ids: std::ops::Range<u32>| -> Vec<Value> { ids.map(row).collect() };
    fake.table(T, &columns, &["ID"], &json!(rows(10..20)));
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 2 }));
    let home = home(&fake).env("CATCHMENT_LOG", "trace");
    let fixture = Fixture::on(&home, &json!({ "incremental_column": "w" }));
    let sync = fixture.sync("db.s.t", &json!({}));
    let cells = format!(r#"{{"data": [["{SECRET}", ["{SECRET}"], "{SECRET}", "1"]]}}"#);
    let message = format!("Numeric value '{SECRET}' is not recognized");
    let conversion = json!({ "status": 422, "code": "100038", "message": message });
    for (fault, fails) in [
        (json!({}), false),
        (json!({ "torn": { "1": 100 } }), true),
        (json!({}), false),
        (json!({ "bodies": { "1": cells } }), true),
        (json!({}), false),
        (json!({ "query": [conversion, conversion] }), true),
        (json!({}), false),
    ] {
        fake.change(T, &json!([]), &json!([]));
        fake.faults(&fault);
        let job = fixture.run(&sync);
        assert_eq!(job["status"], if fails { "failed" } else { "completed" }, "{fault}: {job}");
        fake.faults(&json!({ "torn": {}, "bodies": {}, "query": [] }));
    }
    // A key twice, a row that is too large, one that a mapping refuses, one without a key.
    let mut twice = rows(10..20);
    twice.push(row(19));
    fake.table(T, &columns, &["ID"], &json!(twice));
    assert_eq!(fixture.run(&sync)["status"], "failed");
    let large = json!(["30", "", format!("{SECRET}{}", "x".repeat(17 * 1024 * 1024))]);
    let rows = [rows(10..20), vec![large, json!([null, "", SECRET])]].concat();
    fake.table(T, &columns, &["ID"], &json!(rows));
    let title = json!({ "target_type": "field", "source": { "type": "column", "name": "v" } });
    let mapping = json!({ "schema_mapping": { "mappings": { "title": title } } });
    let schema = json!({ "bucket_schema": { "properties": { "title": { "type": "integer" } } } });
    fixture.server.patch("/v1/buckets/rows?force_schema_break=true", &schema).is(200);
    fixture.server.patch(&sync, &mapping).is(200);
    fixture.run(&sync);
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    assert_eq!(letters["results"].as_array().unwrap().len(), 12, "{letters}");
    assert!(letters.to_string().contains("has a value which is no integer"), "{letters}");
    let told = told(&fixture, &sync);
    assert!(!told.contains(SECRET), "{told}");
    let log = fixture.server.log();
    assert!(log.contains("TRACE"), "it is logged in full");
    for line in log.lines() {
        assert!(!line.contains(SECRET), "{line}");
    }
}
