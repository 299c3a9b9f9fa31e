//! What is new in a table: whether there is anything, and which rows.

use std::collections::BTreeSet;

use catchment::{
    model::{Cursor, Shard},
    sources::{Source, SourceError},
};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::{account::Connected, fake::FakeSnowflake, reading::pages};

const T: [&str; 3] = ["DB", "S", "T"];

/// A table with a watermark of this type; rows are (id, watermark).
fn table(fake: &FakeSnowflake, kind: &str, rows: &[(&str, &str)]) -> Connected {
    let scale = if kind == "fixed" { json!(0) } else { json!(9) };
    let columns = json!([["ID", "fixed", 0], ["W", kind, scale]]);
    let rows: Vec<Value> = rows.iter().map(|(id, w)| json!([id, w])).collect();
    fake.table(T, &columns, &["ID"], &json!(rows));
    Connected::to(fake).with(&json!({ "incremental_column": "w" }))
}

/// A full pass as the engine makes one; returns the token that it ends with.
async fn full_pass(source: &dyn Source) -> Cursor {
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    pages(source, None).await.unwrap();
    news(source, token).await.unwrap().1
}

/// The ids of what is new since a token, and the token as of now.
async fn news(
    source: &dyn Source,
    from: Cursor,
) -> Result<(BTreeSet<String>, Cursor), SourceError> {
    let pages: Vec<_> = source.changes(&Shard::whole(), from).try_collect().await?;
    let token = pages.last().unwrap().cursor.clone().unwrap();
    let ids = pages.iter().flat_map(|page| &page.entries).map(|e| e.path.to_json_text());
    Ok((ids.collect(), token))
}

/// A token, as JSON.
fn read(token: &Cursor) -> Value {
    serde_json::from_slice(&token.0).unwrap()
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| format!("{id}.json")).collect()
}

#[tokio::test]
async fn nothing_new_is_one_statement_and_no_warehouse() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.000000001")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let before = fake.log().len();
    let source = connected.table("db.s.t").await;
    let (new, again) = news(source.as_ref(), token.clone()).await.unwrap();
    assert_eq!((new, again), (BTreeSet::new(), token));
    let log = fake.log();
    assert_eq!(log.len(), before + 1);
    assert_eq!(log[before]["takes_warehouse"], false);
}

#[tokio::test]
async fn ties_at_the_bound_are_all_kept_in_each_type_of_timestamp() {
    for (kind, suffix) in [("timestamp_ntz", ""), ("timestamp_ltz", ""), ("timestamp_tz", " 1500")]
    {
        let fake = FakeSnowflake::start();
        // 300 seconds apart: the second lies exactly on the lower bound of the next pass.
        let at = |text: &str| format!("{text}{suffix}");
        let (low, tie, high) =
            (at("1699999700.123456788"), at("1699999700.123456789"), at("1700000000.123456789"));
        let connected = table(&fake, kind, &[("1", &low), ("2", &tie), ("3", &high)]);
        let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
        fake.change(T, &json!([]), &json!([["4", high], ["5", tie]]));
        let source = connected.table("db.s.t").await;
        let (new, _) = news(source.as_ref(), token).await.unwrap();
        assert_eq!(new, ids(&["2", "3", "4", "5"]), "{kind}");
        let log = fake.log();
        let bound = &log.last().unwrap();
        let query = log.iter().rev().find(|entry| entry["takes_warehouse"] == true);
        let value = query.unwrap_or(bound)["bindings"]["1"].clone();
        let expected = format!("1699999700123456789{suffix}");
        assert_eq!(value, json!({ "type": kind.to_uppercase(), "value": expected }));
    }
}

#[tokio::test]
async fn a_row_that_is_committed_late_is_found_within_the_overlap_and_by_its_null() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ltz", &[("1", "1700000000.000000000")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let late = json!([["2", "1699999701.000000000"], ["3", "1690000000.000000000"], ["4", null]]);
    fake.change(T, &json!([]), &late);
    let source = connected.table("db.s.t").await;
    let (new, _) = news(source.as_ref(), token).await.unwrap();
    assert_eq!(new, ids(&["1", "2", "4"]), "3 is older than the overlap: a full pass finds it");
}

#[tokio::test]
async fn the_overlap_is_a_setting_and_both_bounds_are_included() {
    for (seconds, expected) in
        [(0, vec!["1", "2"]), (60, vec!["1", "2", "3"]), (61, vec!["1", "2", "3", "4"])]
    {
        let fake = FakeSnowflake::start();
        let connected = table(&fake, "timestamp_tz", &[("1", "1700000000.000000001 1560")]);
        let connected = connected.overlapping(seconds);
        let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
        let late = json!([
            ["2", "1700000000.000000001 1440"],
            ["3", "1699999940.000000001 1440"],
            ["4", "1699999940.000000000 1440"],
            ["5", "1699999938.999999999 1440"],
        ]);
        fake.change(T, &json!([]), &late);
        let source = connected.table("db.s.t").await;
        let (new, _) = news(source.as_ref(), token).await.unwrap();
        assert_eq!(new, ids(&expected), "{seconds}");
    }
}

#[tokio::test]
async fn what_is_written_while_a_pass_is_broken_off_is_the_next_ones() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.0")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let now = jiff::Timestamp::now().as_second();
    let at = |seconds: i64| format!("{}.000000000", now + seconds);
    let rows: Vec<_> = (2..6).map(|id| json!([id.to_string(), at(id - 100)])).collect();
    fake.change(T, &json!([]), &json!(rows));
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 2 }));
    let source = connected.table("db.s.t").await;
    let pages: Vec<_> =
        source.changes(&Shard::whole(), token).try_collect::<Vec<_>>().await.unwrap();
    let broken_off = pages[0].cursor.clone().unwrap();
    // Ten minutes later, by Snowflake's clock.
    fake.faults(&json!({ "clock": 600 }));
    fake.change(T, &json!([]), &json!([["6", at(500)], ["7", at(-96)]]));
    let source = connected.table("db.s.t").await;
    let (rest, token) = news(source.as_ref(), broken_off).await.unwrap();
    assert_eq!(rest, ids(&["3", "4", "5", "7"]), "not 6: it is younger than the pass");
    let log = fake.log();
    let query = log.iter().rev().find(|entry| entry["takes_warehouse"] == true).unwrap();
    let statement = query["statement"].as_str().unwrap();
    assert!(
        statement.contains(
            r#"WHERE ("W" >= ? AND "W" <= ? OR "W" IS NULL) AND ("W" > ? OR "W" = ? AND "ID" > ?)"#
        ),
        "{statement}"
    );
    let until = query["bindings"]["2"]["value"].as_str().unwrap();
    let until: i64 = until[..until.len() - 9].parse().unwrap();
    assert!((now..now + 120).contains(&until), "{until} is no moment of the first statement");
    let (next, token) = news(source.as_ref(), token).await.unwrap();
    assert!(next.contains("6.json"), "{next:?}");
    assert!(news(source.as_ref(), token).await.unwrap().0.is_empty());
}

/// A nanosecond later than a cell says.
fn next_nanosecond(cell: &str) -> String {
    let (moment, offset) = cell.split_once(' ').map_or((cell, None), |(m, o)| (m, Some(o)));
    let nanos = moment.replace('.', "").parse::<u64>().unwrap() + 1;
    let moment = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    offset.map_or(moment.clone(), |offset| format!("{moment} {offset}"))
}

#[tokio::test]
async fn ties_at_the_upper_bound_of_a_pass_that_goes_on_are_all_kept_in_each_type_of_timestamp() {
    for (kind, suffix) in [("timestamp_ntz", ""), ("timestamp_ltz", ""), ("timestamp_tz", " 1500")]
    {
        let fake = FakeSnowflake::start();
        let now = jiff::Timestamp::now().as_second();
        let at = |seconds: i64| format!("{seconds}.123456789{suffix}");
        let connected = table(&fake, kind, &[("1", &at(1_700_000_000))]);
        let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
        let rows: Vec<_> = (2..6).map(|id| json!([id.to_string(), at(now + id - 100)])).collect();
        fake.change(T, &json!([]), &json!(rows));
        fake.faults(&json!({ "first_rows": 2, "partition_rows": 2 }));
        let source = connected.table("db.s.t").await;
        let pages: Vec<_> =
            source.changes(&Shard::whole(), token).try_collect::<Vec<_>>().await.unwrap();
        let broken_off = pages[0].cursor.clone().unwrap();
        let progress = read(&broken_off)["under_way"]["progress"].clone();
        let bound = progress["until"].as_str().unwrap_or_else(|| panic!("{progress}")).to_owned();
        // The same moment by another clock, where the column has clocks.
        let tie = bound.replace(" 1440", " 960");
        let behind = next_nanosecond(&bound);
        fake.change(T, &json!([]), &json!([["6", bound], ["7", tie], ["8", behind]]));
        let source = connected.table("db.s.t").await;
        let (rest, token) = news(source.as_ref(), broken_off).await.unwrap();
        assert_eq!(rest, ids(&["3", "4", "5", "6", "7"]), "{kind}: 8 is the next pass's");
        let (next, _) = news(source.as_ref(), token).await.unwrap();
        assert!(next.is_superset(&ids(&["6", "7", "8"])), "{kind}: {next:?}");
    }
}

#[tokio::test]
async fn a_row_from_the_future_hides_nothing_that_is_written_until_then() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "9000000000.000000000")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let now = jiff::Timestamp::now().as_second();
    fake.change(T, &json!([]), &json!([["2", format!("{now}.000000000")]]));
    let source = connected.table("db.s.t").await;
    assert_eq!(news(source.as_ref(), token).await.unwrap().0, ids(&["1", "2"]));
}

#[tokio::test]
async fn a_number_of_38_digits_is_a_watermark_to_its_last_digit() {
    let fake = FakeSnowflake::start();
    let (low, high) =
        ("99999999999999999999999999999999999998", "99999999999999999999999999999999999999");
    let connected = table(&fake, "fixed", &[("1", low)]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    fake.change(T, &json!([["1"]]), &json!([["2", high], ["3", low], ["4", "7"]]));
    let source = connected.table("db.s.t").await;
    let (new, token) = news(source.as_ref(), token).await.unwrap();
    assert_eq!(new, ids(&["2", "3"]));
    fake.change(T, &json!([]), &json!([["5", high]]));
    assert_eq!(news(source.as_ref(), token).await.unwrap().0, ids(&["2", "5"]));
}

#[tokio::test]
async fn what_changes_while_a_full_pass_runs_is_found_before_it_is_complete() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.0"), ("2", "1700000001.0")]);
    let source = connected.table("db.s.t").await;
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    pages(source.as_ref(), None).await.unwrap();
    fake.change(T, &json!([]), &json!([["3", "1700000002.0"]]));
    assert!(news(source.as_ref(), token).await.unwrap().0.contains("3.json"));
}

#[tokio::test]
async fn a_pass_over_what_is_new_goes_on_behind_its_last_page() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.0")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let rows: Vec<_> = (10..16).map(|id| json!([id.to_string(), "1700000001.5"])).collect();
    fake.change(T, &json!([["1"]]), &json!(rows));
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 2 }));
    let source = connected.table("db.s.t").await;
    let pages: Vec<_> =
        source.changes(&Shard::whole(), token).try_collect::<Vec<_>>().await.unwrap();
    let sizes: Vec<_> = pages.iter().map(|page| page.entries.len()).collect();
    assert_eq!(sizes, [2, 2, 2, 0]);
    let source = connected.table("db.s.t").await;
    let (rest, last) = news(source.as_ref(), pages[1].cursor.clone().unwrap()).await.unwrap();
    assert_eq!(rest, ids(&["14", "15"]));
    let (last, whole) = (read(&last), read(pages[3].cursor.as_ref().unwrap()));
    assert_eq!(last["watermark"], whole["watermark"], "it ends where the whole one does");
    assert_eq!(last["change"], Value::Null, "and the next pass asks for what it left");
}

#[tokio::test]
async fn without_an_incremental_column_a_change_takes_a_full_pass_and_no_change_none() {
    let fake = FakeSnowflake::start();
    table(&fake, "timestamp_ntz", &[("1", "1700000000.0")]);
    let connected = Connected::to(&fake);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let source = connected.table("db.s.t").await;
    let (new, token) = news(source.as_ref(), token).await.unwrap();
    assert_eq!(new, BTreeSet::new());
    fake.change(T, &json!([]), &json!([["2", null]]));
    let error = news(source.as_ref(), token).await.unwrap_err();
    assert!(matches!(error, SourceError::FeedExpired { .. }), "{error:?}");
}

#[tokio::test]
async fn where_snowflake_has_no_token_of_the_last_change_the_query_decides() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.0")]);
    fake.faults(&json!({ "no_last_change": true }));
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    fake.change(T, &json!([]), &json!([["2", "1700000009.0"]]));
    let source = connected.table("db.s.t").await;
    assert_eq!(news(source.as_ref(), token).await.unwrap().0, ids(&["1", "2"]));
}

#[tokio::test]
async fn a_column_of_another_type_takes_a_full_pass_though_nothing_can_be_compared_with_it() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.0")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    for (kind, scale, cell) in [
        ("timestamp_ltz", json!(9), "1700000009.0"),
        ("fixed", json!(0), "7"),
        ("text", json!(null), "x"),
    ] {
        let columns = json!([["ID", "fixed", 0], ["W", kind, scale]]);
        fake.table(T, &columns, &["ID"], &json!([["1", cell], ["2", cell]]));
        let source = connected.table("db.s.t").await;
        let error = news(source.as_ref(), token.clone()).await.unwrap_err();
        assert!(matches!(error, SourceError::FeedExpired { .. }), "{kind}: {error:?}");
        full_pass(source.as_ref()).await;
    }
}

#[tokio::test]
async fn a_full_pass_begins_again_where_its_key_has_another_type_than_when_it_broke_off() {
    let fake = FakeSnowflake::start();
    let texts = json!([["K", "text", null], ["V", "text", null]]);
    let rows: Vec<_> = ["a", "b", "c", "d"].map(|key| json!([key, "x"])).into();
    fake.table(T, &texts, &["K"], &json!(rows));
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 2 }));
    let connected = Connected::to(&fake);
    let broken_off = pages(connected.table("db.s.t").await.as_ref(), None).await.unwrap();
    let broken_off = broken_off[0].cursor.clone();
    for (kind, cells) in [("fixed", ["1", "2"]), ("date", ["19000", "19001"])] {
        let columns = json!([["K", kind, 0], ["V", "text", null]]);
        fake.table(T, &columns, &["K"], &json!(cells.map(|key| json!([key, "y"]))));
        let source = connected.table("db.s.t").await;
        let pages = pages(source.as_ref(), broken_off.clone()).await.unwrap();
        assert_eq!(pages.iter().map(|page| page.entries.len()).sum::<usize>(), 2, "{kind}");
    }
}

#[tokio::test]
async fn other_columns_than_before_take_a_full_pass() {
    let fake = FakeSnowflake::start();
    let connected = table(&fake, "timestamp_ntz", &[("1", "1700000000.0")]);
    let token = full_pass(connected.table("db.s.t").await.as_ref()).await;
    let columns = json!([["ID", "fixed", 0], ["W", "timestamp_ntz", 9], ["NEW", "text", null]]);
    fake.table(T, &columns, &["ID"], &json!([["1", "1700000009.0", "x"]]));
    let source = connected.table("db.s.t").await;
    let error = news(source.as_ref(), token).await.unwrap_err();
    assert!(matches!(error, SourceError::FeedExpired { .. }), "{error:?}");
}
