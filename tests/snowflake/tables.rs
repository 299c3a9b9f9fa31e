//! What becomes of a bucket when its table is emptied, made anew, dropped or holds a row that is
//! too large, and when its warehouse is gone.

use serde_json::{Value, json};

use crate::{
    fake::{FakeSnowflake, USER, public_key},
    syncs::Fixture,
};

const T: [&str; 3] = ["DB", "S", "T"];

fn rows(count: u32) -> Vec<Value> {
    (0..count).map(|id| json!([id.to_string(), format!("value {id}")])).collect()
}

fn table(fake: &FakeSnowflake, rows: &[Value]) {
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    fake.table(T, &columns, &["ID"], &json!(rows));
}

/// A sync of a table of thirty rows that has run.
fn synced(fake: &FakeSnowflake) -> (Fixture, String) {
    table(fake, &rows(30));
    let fixture = Fixture::with(fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    (fixture, sync)
}

#[test]
fn the_rows_of_an_emptied_table_stay_until_somebody_says_that_they_are_gone() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = synced(&fake);
    table(&fake, &[]);
    assert_eq!(fixture.run(&sync)["phase"], "held");
    let held = fixture.server.get(&sync).is(200)["held_removals"].clone();
    assert_eq!((&held["reason"], &held["count"]), (&json!("source_emptied"), &json!(30)), "{held}");
    assert_eq!(fixture.rows().len(), 30);
}

#[test]
fn a_table_that_is_made_anew_with_the_same_rows_is_the_same_table() {
    let fake = FakeSnowflake::start();
    let create = [
        "create or replace table FILMS (ID number(38,0) primary key, TITLE varchar)",
        "insert into FILMS values (1, 'Stalker'), (2, 'Solaris')",
    ];
    fake.sql(&create);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.public.films", &json!({}));
    fixture.run(&sync);
    let before = fixture.server.post("/v1/buckets/rows/objects/list", &json!({})).is(200);
    fake.sql(&create);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(job["metadata"]["counts"]["unchanged"], 2, "{job}");
    let after = fixture.server.post("/v1/buckets/rows/objects/list", &json!({})).is(200);
    let ids = |list: &Value| -> Vec<Value> {
        let objects = list["results"].as_array().unwrap();
        objects.iter().map(|object| object["object_id"].clone()).collect()
    };
    assert_eq!(ids(&before), ids(&after));
}

#[test]
fn the_table_of_that_name_in_another_account_is_another_source() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = synced(&fake);
    let rows = fixture.rows();
    fake.users(&json!({ format!("ORG-OTHER.{USER}"): { "key": public_key() } }));
    table(&fake, &[json!(["100", "of the other account"])]);
    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    let other = json!({ "provider_config": { "account": "org-other" } });
    fixture.server.patch(&connection, &other).is(200);
    fixture.run(&sync);
    let held = fixture.server.get(&sync).is(200)["held_removals"].clone();
    assert_eq!(held["reason"], "source_replaced", "{held}");
    assert_eq!(fixture.rows(), rows);
}

#[test]
fn a_dropped_table_fails_the_run_with_the_grants_that_help_and_removes_nothing() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (ID number(38,0) primary key)",
        "insert into FILMS values (1), (2)",
    ]);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.public.films", &json!({}));
    fixture.run(&sync);
    fake.sql(&["drop table FILMS"]);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    let grant = r#"GRANT SELECT ON TABLE \"DB\".\"PUBLIC\".\"FILMS\""#;
    assert!(job.to_string().contains(grant), "{job}");
    assert_eq!(fixture.rows().len(), 2);
}

#[test]
fn a_pass_whose_rows_are_fewer_than_announced_removes_nothing() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = synced(&fake);
    table(&fake, &rows(25));
    fake.faults(&json!({ "torn": {"0": 1000} }));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    assert!(job.to_string().contains("announced"), "{job}");
    assert_eq!(fixture.rows().len(), 30);
    fake.faults(&json!({ "torn": {} }));
    assert_eq!(fixture.run(&sync)["status"], "completed");
    assert_eq!(fixture.rows().len(), 25, "what is whole is proof");
}

#[test]
fn a_warehouse_that_is_gone_fails_the_run_with_the_grant_that_helps() {
    let fake = FakeSnowflake::start();
    let (fixture, sync) = synced(&fake);
    table(&fake, &rows(31));
    fake.faults(&json!({ "warehouses": [] }));
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "failed", "{job}");
    let grant = r#"GRANT USAGE ON WAREHOUSE \"LOAD_WH\" TO ROLE \"READER\";"#;
    assert!(job.to_string().contains(grant), "{job}");
    assert_eq!(fixture.rows().len(), 30);
}

#[test]
fn a_row_of_more_than_16_mib_is_a_dead_letter_and_the_run_goes_on() {
    let fake = FakeSnowflake::start();
    let mut rows = rows(30);
    // More than a whole partition has otherwise.
    rows[7] = json!(["7", "x".repeat(40 * 1024 * 1024)]);
    table(&fake, &rows);
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    fixture.run(&sync);
    assert_eq!(fixture.rows().len(), 29);
    let letters = fixture.server.post(&format!("{sync}/dlq"), &json!({})).is(200);
    assert_eq!(letters["results"][0]["error_type"], "too_large", "{letters}");
    let message = letters["results"][0]["error_message"].as_str().unwrap();
    assert!(message.contains("16777216") && message.len() < 1000, "{message}");
}
