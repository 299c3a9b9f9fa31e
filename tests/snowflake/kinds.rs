//! Every kind of table that Snowflake has: what people are shown of it, and that its rows are
//! synced.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{fake::FakeSnowflake, syncs::Fixture};

const T: [&str; 3] = ["DB", "S", "T"];

/// What is directly below a place, by name: its note.
fn notes(fixture: &Fixture, path: &str) -> BTreeMap<String, String> {
    let target = format!("/v1/organizations/connections/{}/folders", fixture.connection);
    let query = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
    let level = fixture.server.get(&format!("{target}?path={query}")).is(200);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = level["results"].as_array().unwrap_or_else(|| panic!("{level}")).iter();
    items.map(|item| (text(&item["name"]), text(&item["note"]))).collect()
}

fn values(fixture: &Fixture) -> BTreeMap<String, Value> {
    fixture.rows().into_iter().map(|(path, row)| (path, row["V"].clone())).collect()
}

fn expected(rows: &[(u32, &str)]) -> BTreeMap<String, Value> {
    rows.iter().map(|(id, value)| (format!("{id}.json"), json!(value))).collect()
}

/// Runs a sync; returns the job, and the statements that took a warehouse.
fn run(fake: &FakeSnowflake, fixture: &Fixture, sync: &str) -> (Value, Vec<String>) {
    let before = fake.log().len();
    let job = fixture.run(sync);
    assert_eq!(job["status"], "completed", "{job}");
    let log = fake.log().split_off(before);
    let queries = log.iter().filter(|entry| entry["takes_warehouse"] == true);
    (job, queries.map(|entry| entry["statement"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn tables_of_every_kind_are_shown_as_what_they_are() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0]]);
    for (name, object) in [
        ("A", json!({})),
        ("B", json!({ "kind": "VIEW" })),
        ("C", json!({ "kind": "MATERIALIZED_VIEW" })),
        ("D", json!({ "kind": "EXTERNAL TABLE" })),
        ("E", json!({ "is_dynamic": "Y" })),
        ("F", json!({ "is_dynamic": "Y", "is_iceberg": "Y" })),
        // As it was until 2024.
        ("G", json!({ "kind": "DYNAMIC_TABLE" })),
        ("H", json!({ "is_hybrid": "Y" })),
        ("I", json!({ "is_iceberg": "Y" })),
    ] {
        fake.table_of_kind(["DB", "S", name], &columns, &json!([]), &json!({ "object": object }));
    }
    let fixture = Fixture::with(&fake, &json!({}));
    let kinds = [
        ("A", "TABLE"),
        ("B", "VIEW"),
        ("C", "MATERIALIZED VIEW"),
        ("D", "EXTERNAL TABLE"),
        ("E", "DYNAMIC TABLE"),
        ("F", "DYNAMIC TABLE"),
        ("G", "DYNAMIC TABLE"),
        ("H", "HYBRID TABLE"),
        ("I", "ICEBERG TABLE"),
    ];
    let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    assert_eq!(notes(&fixture, r#""DB"."S""#), BTreeMap::from(kinds));
}

#[test]
fn the_rows_of_a_dynamic_table_are_synced_and_cost_no_query_until_it_is_refreshed() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    let rows = json!([["1", "a"], ["2", "b"], ["3", "c"]]);
    fake.table_of_kind(T, &columns, &rows, &json!({ "object": { "is_dynamic": "Y" } }));
    // No dynamic table declares a key.
    let fixture = Fixture::with(&fake, &json!({ "primary_key_columns": ["id"] }));
    let sync = fixture.sync("db.s.t", &json!({}));
    run(&fake, &fixture, &sync);
    assert_eq!(values(&fixture), expected(&[(1, "a"), (2, "b"), (3, "c")]));
    assert!(run(&fake, &fixture, &sync).1.is_empty());
    // A refresh replaces what differs.
    let rows = json!([["1", "a"], ["2", "b2"], ["4", "d"]]);
    fake.table_of_kind(T, &columns, &rows, &json!({ "object": { "is_dynamic": "Y" } }));
    let (job, _) = run(&fake, &fixture, &sync);
    assert_eq!(job["metadata"]["counts"]["unchanged"], 1, "{job}");
    assert_eq!(values(&fixture), expected(&[(1, "a"), (2, "b2"), (4, "d")]));
}

#[test]
fn the_rows_of_an_external_table_are_synced_by_its_virtual_columns() {
    let fake = FakeSnowflake::start();
    let columns = json!([["VALUE", "variant", null], ["ID", "fixed", 0], ["V", "text", null]]);
    let row = |id: u32, v: &str| json!([format!("{{\"c1\":{id}}}"), id.to_string(), v]);
    let more = json!({
        "object": { "kind": "EXTERNAL TABLE" }, "virtual": ["ID", "V"], "no_last_change": true,
    });
    fake.table_of_kind(T, &columns, &json!([row(1, "a"), row(2, "b")]), &more);
    let fixture = Fixture::with(&fake, &json!({ "primary_key_columns": ["id"] }));
    let shown = notes(&fixture, r#""DB"."S"."T""#);
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["ID", "V", "VALUE"]);
    assert!(shown["ID"].starts_with("NUMBER(38,0)"), "{shown:?}");
    let sync = fixture.sync("db.s.t", &json!({}));
    run(&fake, &fixture, &sync);
    assert_eq!(
        fixture.rows()["1.json"],
        json!({ "VALUE": { "c1": 1 }, "ID": 1, "V": "a" }),
        "all of its columns, in their order"
    );
    // Snowflake tells no change of it: keys and hashes do.
    let keys = r#"SELECT "ID", HASH(*) FROM "DB"."S"."T" ORDER BY "ID" NULLS FIRST"#;
    let (job, queries) = run(&fake, &fixture, &sync);
    assert_eq!((queries, &job["metadata"]["counts"]["unchanged"]), (vec![keys.into()], &json!(2)));
    fake.table_of_kind(T, &columns, &json!([row(2, "b2"), row(3, "c")]), &more);
    run(&fake, &fixture, &sync);
    assert_eq!(values(&fixture), expected(&[(2, "b2"), (3, "c")]));
}

#[test]
fn the_token_of_the_last_change_may_be_refused_as_long_as_the_rows_may_be_read() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    fake.table(T, &columns, &["ID"], &json!([["1", "a"]]));
    let fixture = Fixture::with(&fake, &json!({}));
    let sync = fixture.sync("db.s.t", &json!({}));
    // Of a view whose tables belong to somebody else.
    let refused = json!({
        "status": 422, "code": "003001", "message": "Insufficient privileges to operate on table 'B'",
    });
    fake.faults(&json!({ "submit": [refused] }));
    run(&fake, &fixture, &sync);
    assert_eq!(values(&fixture), expected(&[(1, "a")]));
}

#[test]
fn a_table_without_a_key_says_so_before_it_is_synced_and_until_it_has_one() {
    let fake = FakeSnowflake::start();
    let columns = json!([["LINE", "text", null], ["N", "fixed", 0]]);
    let rows = json!([["a", "1"], ["b", "2"], ["b", "2"]]);
    fake.table(T, &columns, &[], &rows);
    let fixture = Fixture::with(&fake, &json!({}));
    let told = |notices: &Value| -> Vec<String> {
        let notices = notices.as_array().unwrap_or_else(|| panic!("{notices}")).iter();
        let of_keys = notices.filter(|notice| notice["code"] == "listed_in_full");
        of_keys.map(|notice| notice["message"].as_str().unwrap().to_owned()).collect()
    };
    let wanted = json!({ "connection_id": fixture.connection, "source_path": "db.s.t" });
    let preview = fixture.server.post("/v1/syncs/preview", &wanted).is(200);
    let message = told(&preview["notices"]).pop().unwrap_or_else(|| panic!("{preview}"));
    for part in ["declares no key", "hash", "whole table", "primary_key_columns"] {
        assert!(message.contains(part), "{message}");
    }
    let sync = fixture.sync("db.s.t", &json!({ "skip_duplicates": false }));
    let now = || told(&fixture.server.get(&sync).is(200)["notices"]);
    assert_eq!(now(), std::slice::from_ref(&message), "as soon as it is made");
    fixture.run(&sync);
    assert_eq!((now(), fixture.rows().len()), (vec![message], 3));
    // Every change takes a full pass: the row that changes is another one.
    fake.table(T, &columns, &[], &json!([["a", "1"], ["b", "2"], ["b", "3"]]));
    let job = fixture.run(&sync);
    assert_eq!(job["details"]["pass"], "full", "{job}");
    let counts = &job["metadata"]["counts"];
    assert_eq!(
        (&counts["synced"], &counts["removed"], &counts["updated"]),
        (&json!(1), &json!(1), &json!(0))
    );

    let connection = format!("/v1/organizations/connections/{}", fixture.connection);
    let keyed = json!({ "provider_config": { "primary_key_columns": ["n"] } });
    fixture.server.patch(&connection, &keyed).is(200);
    let job = fixture.run(&sync);
    assert_eq!(job["status"], "completed", "{job}");
    assert!(now().is_empty(), "it has one now");
}
