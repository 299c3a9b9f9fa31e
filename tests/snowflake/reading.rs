//! Rows, read through the source.

use std::collections::BTreeMap;

use catchment::{
    model::{Cursor, Entry, EntryKind, ErrorType, Shard},
    sources::{Body, Page, Source, SourceError},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::{account::Connected, fake::FakeSnowflake};

/// All pages of a table.
pub async fn pages(source: &dyn Source, from: Option<Cursor>) -> Result<Vec<Page>, SourceError> {
    source.walk(&Shard::whole(), from).try_collect().await
}

/// The rows of a table by their paths, as JSON.
pub async fn rows(source: &dyn Source) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    let mut walk = source.walk(&Shard::whole(), None);
    while let Some(page) = walk.next().await {
        for entry in page.unwrap().entries {
            let text = text(source, &entry).await;
            let value = serde_json::from_str(&text).unwrap();
            assert!(rows.insert(entry.path.to_json_text(), value).is_none(), "{entry:?} twice");
        }
    }
    rows
}

async fn text(source: &dyn Source, entry: &Entry) -> String {
    let EntryKind::File(fingerprint) = &entry.kind else { panic!("{entry:?}") };
    let content = source.fetch(&entry.id, fingerprint, None).await.unwrap();
    let Body::Stream(body) = content.body else { panic!("a row is no file") };
    let bytes = body.try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(bytes.len() as u64, fingerprint.size);
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn rows_of_a_table_arrive_with_the_bytes_that_one_statement_brings() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table FILMS (TITLE varchar, ID number(38,0) primary key, SEEN boolean)",
        "insert into FILMS values ('Solaris', 2, true), ('Stalker', 1, null)",
    ]);
    let source = Connected::to(&fake).table("db.public.films").await;
    let rows = rows(source.as_ref()).await;
    assert_eq!(
        rows,
        BTreeMap::from([
            ("1.json".to_owned(), json!({"TITLE": "Stalker", "ID": 1})),
            ("2.json".to_owned(), json!({"TITLE": "Solaris", "ID": 2, "SEEN": true})),
        ])
    );
    let queries: Vec<String> =
        fake.statements().into_iter().filter(|text| text.starts_with("SELECT")).collect();
    assert_eq!(queries.len(), 1, "{queries:?}");
}

#[tokio::test]
async fn every_value_is_exact_to_the_nanosecond_and_the_last_of_38_digits() {
    let fake = FakeSnowflake::start();
    let digits = "99999999999999999999999999999999999999";
    let columns = json!([
        ["K", "text", null],
        ["N", "fixed", 0],
        ["D", "fixed", 2],
        ["W", "timestamp_ntz", 9],
        ["L", "timestamp_ltz", 9],
        ["Z", "timestamp_tz", 9],
        ["B", "binary", null],
        ["J", "variant", null],
        ["MISSING", "text", null],
    ]);
    let row = json!([[
        "k",
        digits,
        "1.10",
        "1641008096.123456789",
        "1641008096.123456789",
        "1641008096.123456789 960",
        "00FF",
        "{\n  \"b\": [ null, undefined ]\n}",
        null
    ]]);
    fake.table(["DB", "S", "exact"], &columns, &["K"], &row);
    let source = Connected::to(&fake).table(r#"db.s."exact""#).await;
    let rows = rows(source.as_ref()).await;
    assert_eq!(
        rows["k.json"],
        json!({
            "K": "k", "N": digits, "D": "1.10",
            "W": "2022-01-01T03:34:56.123456789",
            "L": "2022-01-01T03:34:56.123456789Z",
            "Z": "2021-12-31T19:34:56.123456789-08:00",
            "B": "AP8=",
            "J": {"b": [null, null]},
        })
    );
}

#[tokio::test]
async fn hostile_names_of_tables_columns_and_keys_change_no_statement_and_leave_no_folder() {
    let fake = FakeSnowflake::start();
    let name = ["DB", "S", "a\"; DROP TABLE x; --"];
    let columns = json!([["K\"'\\", "text", null], ["v", "text", null]]);
    let keys = ["../../etc", "it's \"x\"", "a/b%", "\u{0}\u{7f}\u{85}", "", " "];
    let cells: Vec<_> = keys.iter().map(|key| json!([key, "v"])).collect();
    fake.table(name, &columns, &["K\"'\\"], &json!(cells));
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 1 }));
    let source = Connected::to(&fake).table("db.s.\"a\"\"; DROP TABLE x; --\"").await;
    let all = rows(source.as_ref()).await;
    let mut expected = [
        "..%2F..%2Fetc.json",
        "it's \"x\".json",
        "a%2Fb%25.json",
        "%00%7F%C2%85.json",
        ".json",
        " .json",
    ];
    expected.sort_unstable();
    assert_eq!(all.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    // A pass goes on behind each of them, and each is found by itself.
    let pages = pages(source.as_ref(), None).await.unwrap();
    let entries: Vec<&Entry> = pages.iter().flat_map(|page| &page.entries).collect();
    for page in &pages {
        let rest = self::pages(source.as_ref(), page.cursor.clone()).await.unwrap();
        let last = page.entries.last().unwrap();
        let behind = entries.iter().skip_while(|entry| **entry != last).skip(1).count();
        assert_eq!(rest.iter().map(|page| page.entries.len()).sum::<usize>(), behind);
    }
    for entry in entries {
        assert_eq!(source.stat(&entry.id).await.unwrap().as_ref(), Some(entry));
    }
}

#[tokio::test]
async fn null_in_a_key_is_a_failure_of_that_row_and_names_the_columns() {
    let fake = FakeSnowflake::start();
    let columns = json!([["A", "text", null], ["B", "fixed", 0]]);
    let rows = json!([["secret", null], ["x", "1"], [null, "2"]]);
    fake.table(["DB", "S", "T"], &columns, &["A", "B"], &rows);
    let source = Connected::to(&fake).table("db.s.t").await;
    let pages = pages(source.as_ref(), None).await.unwrap();
    let entries: Vec<&Entry> = pages.iter().flat_map(|page| &page.entries).collect();
    assert_eq!(entries.len(), 3);
    let failed: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Unreadable { error_type, message } => Some((error_type, message)),
            _ => None,
        })
        .collect();
    assert_eq!(failed.len(), 2);
    for (error_type, message) in failed {
        assert_eq!(*error_type, ErrorType::ValidationError);
        assert!(message.contains(r#""A", "B""#) && !message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn two_rows_with_one_key_are_an_error_of_the_settings_even_across_partitions() {
    let fake = FakeSnowflake::start();
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    let rows = json!([["1", "a"], ["2", "b"], ["2", "c"], ["3", "d"]]);
    fake.table(["DB", "S", "T"], &columns, &["ID"], &rows);
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 1 }));
    let source = Connected::to(&fake).table("db.s.t").await;
    let error = pages(source.as_ref(), None).await.unwrap_err();
    assert!(matches!(error, SourceError::Misconfigured { .. }), "{error:?}");
    assert!(error.to_string().contains("primary_key_columns"), "{error}");
}

#[tokio::test]
async fn a_table_without_a_key_has_an_entry_for_each_of_its_equal_rows() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table LOG (LINE varchar, N number(38,0))",
        "insert into LOG values ('a', 1), ('b', 2), ('a', 1), ('a', 1)",
    ]);
    let source = Connected::to(&fake).table("db.public.log").await;
    let first = rows(source.as_ref()).await;
    assert_eq!(first.len(), 4);
    let equal = first.values().filter(|row| **row == json!({"LINE": "a", "N": 1})).count();
    assert_eq!(equal, 3);
    assert_eq!(rows(source.as_ref()).await, first, "the same rows have the same names");
}

#[tokio::test]
async fn a_view_is_read_like_a_table() {
    let fake = FakeSnowflake::start();
    fake.sql(&[
        "create table BASE (ID number(38,0), V varchar)",
        "insert into BASE values (1, 'a'), (2, 'b')",
        "create view ONLY_B as select ID, V from BASE where V = 'b'",
    ]);
    let connected = Connected::to(&fake).with(&json!({ "primary_key_columns": ["id"] }));
    let source = connected.table("db.public.only_b").await;
    assert_eq!(
        rows(source.as_ref()).await,
        BTreeMap::from([("2.json".into(), json!({"ID": 2, "V": "b"}))])
    );
}

#[tokio::test]
async fn many_partitions_are_one_statement() {
    let fake = FakeSnowflake::start();
    fake.sql(&["create table T as select range as ID, 'x' || range as V from range(25000)"]);
    fake.faults(&json!({ "first_rows": 100, "partition_rows": 4000 }));
    let connected = Connected::to(&fake).with(&json!({ "primary_key_columns": ["ID"] }));
    let source = connected.table("db.public.t").await;
    let pages = pages(source.as_ref(), None).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.entries.len()).sum::<usize>(), 25_000);
    let log = fake.log();
    let queries = log.iter().filter(|entry| entry["takes_warehouse"] == true).count();
    assert_eq!(queries, 1);
    let parts: Vec<_> =
        log.iter().filter_map(|entry| entry["query"]["partition"].as_str()).collect();
    assert_eq!(parts, ["1", "2", "3", "4", "5", "6", "7"]);
}
