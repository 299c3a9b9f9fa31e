//! What goes wrong between a statement and its last row.

use std::sync::Arc;

use catchment::sources::{ErrorClass, Source, SourceError};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    account::Connected,
    fake::FakeSnowflake,
    reading::{pages, rows},
};

/// Ten rows in partitions of two.
async fn ten_rows(faults: &Value) -> (FakeSnowflake, Arc<dyn Source>) {
    let fake = FakeSnowflake::start();
    let rows: Vec<_> = (10..20).map(|id| json!([id.to_string(), "x"])).collect();
    let columns = json!([["ID", "fixed", 0], ["V", "text", null]]);
    fake.table(["DB", "S", "T"], &columns, &["ID"], &json!(rows));
    fake.faults(&json!({ "first_rows": 2, "partition_rows": 2 }));
    fake.faults(faults);
    let source = Connected::to(&fake).table("db.s.t").await;
    (fake, source)
}

/// The bound values of the queries.
fn queries(fake: &FakeSnowflake) -> Vec<Value> {
    let log = fake.log();
    log.iter()
        .filter(|entry| entry["takes_warehouse"] == true)
        .map(|entry| entry["bindings"].clone())
        .collect()
}

#[tokio::test]
async fn a_statement_that_takes_its_time_is_waited_for() {
    let busy = json!({"status": 429, "code": "390505", "headers": {"Retry-After": "1"}});
    let (fake, source) = ten_rows(&json!({ "polls": 3, "poll": [null, busy] })).await;
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    assert_eq!(queries(&fake).len(), 1);
}

#[tokio::test]
async fn a_submission_that_stumbles_is_repeated_under_its_own_id() {
    let (fake, source) = ten_rows(&json!({})).await;
    source.probe().await.unwrap();
    fake.faults(
        &json!({ "submit": [{"status": 503}, {"status": 429, "headers": {"Retry-After": "1"}}] }),
    );
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    let log = fake.log();
    let stumbled = log.iter().position(|entry| entry["status"] == 503).unwrap();
    let (first, again) = (&log[stumbled], &log[stumbled + 1]);
    assert_eq!(first["query"]["requestId"], again["query"]["requestId"]);
    assert_eq!(again["query"]["retry"], "true");
}

#[tokio::test]
async fn a_submission_whose_connection_breaks_is_repeated_under_its_own_id() {
    let (fake, source) = ten_rows(&json!({})).await;
    source.probe().await.unwrap();
    fake.faults(&json!({ "submit": [{"status": 0}, {"status": 0}] }));
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    let log = fake.log();
    let broken = log.iter().position(|entry| entry["status"] == 0).unwrap();
    let ids: Vec<_> = log[broken..broken + 3].iter().map(|of| &of["query"]["requestId"]).collect();
    assert!(ids[0].is_string() && ids[0] == ids[1] && ids[1] == ids[2], "{log:?}");
    assert_eq!(log[broken + 2]["query"]["retry"], "true");
    assert_eq!(queries(&fake).len(), 1);
}

#[tokio::test]
async fn a_partition_that_is_not_ready_is_asked_for_again_and_the_statement_is_not() {
    let busy = json!({"status": 429, "code": "390505", "headers": {"Retry-After": "1"}});
    let (fake, source) = ten_rows(&json!({ "late": {"1": 2, "4": 1} })).await;
    source.probe().await.unwrap();
    fake.faults(&json!({ "poll": [null, busy] }));
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    assert_eq!(queries(&fake).len(), 1);
}

#[tokio::test]
async fn a_partition_that_is_cut_short_goes_on_where_it_broke_off() {
    let (fake, source) = ten_rows(&json!({ "cut": {"2": 2} })).await;
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    assert_eq!(queries(&fake).len(), 1);
}

#[tokio::test]
async fn a_result_that_is_gone_is_asked_for_again_behind_the_last_row() {
    let (fake, source) = ten_rows(&json!({ "gone": {"3": 1} })).await;
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    let queries = queries(&fake);
    assert_eq!(queries.len(), 2);
    assert_eq!(queries[1], json!({"1": {"type": "FIXED", "value": "15"}}));
}

#[tokio::test]
async fn a_result_that_is_not_kept_any_more_is_asked_for_again_however_snowflake_says_so() {
    // Results are kept for a day.
    for (status, code) in [(404, ""), (404, "000709"), (422, "000710"), (410, ""), (422, "391911")]
    {
        let (fake, source) = ten_rows(&json!({})).await;
        let gone = json!({ "status": status, "code": code, "message": "not found" });
        fake.faults(&json!({ "poll": [null, null, gone] }));
        assert_eq!(rows(source.as_ref()).await.len(), 10, "{status} {code}");
        let queries = queries(&fake);
        assert_eq!(queries.len(), 2, "{status} {code}");
        assert_eq!(queries[1], json!({"1": {"type": "FIXED", "value": "13"}}));
    }
}

#[tokio::test]
async fn a_result_that_is_always_gone_ends_the_pass() {
    let (fake, source) = ten_rows(&json!({ "first_rows": 0, "gone": {"1": 100} })).await;
    let error = pages(source.as_ref(), None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(queries(&fake).len() < 10);
}

#[tokio::test]
async fn a_result_that_is_incomplete_is_never_read_on() {
    let (fake, source) = ten_rows(&json!({})).await;
    source.probe().await.unwrap();
    let incomplete = json!({"status": 422, "code": "391908", "message": "result too large"});
    fake.faults(&json!({ "poll": [null, null, incomplete] }));
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    let queries = queries(&fake);
    assert_eq!(queries.len(), 2);
    assert_eq!(queries[1], json!({"1": {"type": "FIXED", "value": "13"}}));
}

#[tokio::test]
async fn a_result_that_is_lost_twice_goes_on_behind_the_last_row_each_time() {
    let (fake, source) = ten_rows(&json!({ "gone": {"2": 2} })).await;
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    assert_eq!(queries(&fake).len(), 3);
}

#[tokio::test]
async fn a_partition_with_fewer_rows_than_announced_ends_the_pass_as_incomplete() {
    for torn in ["0", "2"] {
        let (_fake, source) = ten_rows(&json!({ "torn": {torn: 100} })).await;
        let error = pages(source.as_ref(), None).await.unwrap_err();
        assert!(matches!(error, SourceError::Garbled { .. }), "{error:?}");
        assert!(error.to_string().contains("announced"), "{error}");
    }
}

#[tokio::test]
async fn a_statement_that_times_out_gets_twice_the_time_once() {
    let slow = json!({"status": 408, "code": "000630", "message": "timeout"});
    let (fake, source) = ten_rows(&json!({})).await;
    source.probe().await.unwrap();
    fake.faults(&json!({ "submit": [slow] }));
    assert_eq!(rows(source.as_ref()).await.len(), 10);
    let timeouts: Vec<_> = fake
        .log()
        .iter()
        .filter(|entry| entry["statement"].as_str().is_some_and(|text| text.contains("HASH")))
        .map(|entry| entry["timeout"].clone())
        .collect();
    assert_eq!(timeouts, [300, 600]);
    fake.faults(&json!({ "submit": [slow, slow] }));
    let error = pages(source.as_ref(), None).await.unwrap_err();
    assert!(error.to_string().contains("query_timeout_seconds"), "{error}");
}

#[tokio::test]
async fn a_spent_quota_holds_for_an_hour() {
    let (fake, source) = ten_rows(&json!({})).await;
    source.probe().await.unwrap();
    fake.faults(&json!({ "submit": [
        {"status": 422, "code": "090073", "message": "resource monitor has exceeded its quota"},
    ] }));
    let error = pages(source.as_ref(), None).await.unwrap_err();
    let SourceError::Held { until, .. } = error else { panic!("{error:?}") };
    let wait = until.duration_since(jiff::Timestamp::now());
    assert!((3500..=3600).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_is_cancelled() {
    let (fake, source) = ten_rows(&json!({ "polls": 100_000 })).await;
    fake.faults(&json!({ "polls": 0 }));
    source.probe().await.unwrap();
    fake.faults(&json!({ "polls": 100_000 }));
    {
        let shard = catchment::model::Shard::whole();
        let mut walk = source.walk(&shard, None);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(2), walk.next()).await;
        assert!(waited.is_err(), "it still runs");
    }
    let cancelled = async {
        loop {
            let log = fake.log();
            if log.iter().any(|entry| entry["path"].as_str().unwrap().ends_with("/cancel")) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), cancelled).await.unwrap();
}
