//! Every row of the table of errors.

use std::time::{Duration, Instant};

use catchment::{
    model::{EntryKind, ErrorType},
    sources::{ErrorClass, SourceError},
};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::{
    fake::FakeIconik,
    library::{expand, ids, open, open_with, walk, whole},
    support::wire::Reply,
};

#[tokio::test]
async fn a_refused_token_stops_everything_and_says_how_to_make_a_new_one() {
    let fake = FakeIconik::start();
    let source = open(&fake, "/").await;
    fake.refuse_token(true);
    let error = source.probe().await.unwrap_err();
    assert!(matches!(error, SourceError::SignInAgain { .. }), "{error:?}");
    assert!(error.to_string().contains("Application Tokens"), "{error}");
    assert!(!format!("{error:?}").contains("canary"));
    assert_eq!(fake.seen().len(), 1, "a refused token is not tried twice");
}

#[tokio::test]
async fn what_is_forbidden_is_the_assets_or_the_connections() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "x");
    let source = open(&fake, "/").await;
    fake.fail("files", 403, 1);
    let entry = expand(&*source, &asset).await.remove(0);
    let EntryKind::Unreadable { error_type, .. } = entry.kind else { panic!("{entry:?}") };
    assert_eq!(error_type, ErrorType::PermissionDenied);
    fake.fail("search", 403, 1);
    let walked: Result<Vec<_>, _> = source.walk(&whole(), None).try_collect().await;
    assert_eq!(walked.unwrap_err().class(), ErrorClass::Connection);
}

#[tokio::test]
async fn an_asset_that_is_gone_by_now_has_no_entries() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "x");
    let source = open(&fake, "/").await;
    fake.fail("files", 404, 1);
    assert!(expand(&*source, &asset).await.is_empty());
}

#[tokio::test]
async fn a_server_that_stumbles_is_asked_again_and_one_asset_that_keeps_failing_stops_nothing() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "x");
    let source = open(&fake, "/").await;
    fake.fail("search", 500, 1);
    fake.fail_after("search", 0, 1, || Reply::Reset);
    assert_eq!(ids(&walk(&*source).await), std::slice::from_ref(&asset));
    fake.fail("files", 400, 1);
    let entry = expand(&*source, &asset).await.remove(0);
    assert!(matches!(entry.kind, EntryKind::Unreadable { .. }), "{entry:?}");
}

#[tokio::test]
async fn a_missing_collection_is_a_missing_root_and_one_the_index_does_not_know_is_not() {
    let fake = FakeIconik::start();
    let root = fake.collection("Root", None);
    let missing = open(&fake, "00000000-0000-11ee-8000-000000000000").await;
    let error = missing.root().await.unwrap_err();
    assert!(matches!(error, SourceError::RootMissing { .. }), "{error:?}");
    fake.rebuild_index(true);
    let error = open(&fake, &root).await.root().await.unwrap_err();
    assert!(matches!(error, SourceError::Transient { .. }), "{error:?}");
}

/// Lists and expands forty assets by a connection with these settings, which allow twenty requests
/// a second.
async fn keeps_to_twenty_requests_a_second(settings: Value) {
    let fake = FakeIconik::start();
    for number in 0..40 {
        fake.asset(&number.to_string(), &[], "x");
    }
    let source = open_with(&fake, "/", settings, json!({})).await.unwrap();
    let pages = walk(&*source).await;
    for outline in crate::library::outlines(&pages) {
        source.expand(&outline, &crate::library::placed(&outline)).await.unwrap();
    }
    let seen = fake.seen();
    for (first, from) in seen.iter().enumerate() {
        let within = seen[first..]
            .iter()
            .filter(|seen| seen.at.duration_since(from.at) < Duration::from_secs(1));
        // What was let through ahead of the even pace, and one at the edge.
        assert!(within.count() <= 20 + 8 + 1);
    }
    let took = seen.last().unwrap().at.duration_since(seen[0].at);
    assert!(took > Duration::from_millis(1500), "{took:?} for {} requests", seen.len());
}

#[tokio::test]
async fn never_more_is_asked_than_the_connection_allows() {
    keeps_to_twenty_requests_a_second(json!({ "rate_limit_rps": 20 })).await;
}

#[tokio::test]
async fn twenty_requests_a_second_are_allowed_where_nobody_names_a_limit() {
    keeps_to_twenty_requests_a_second(json!({ "rate_limit_rps": null })).await;
}

#[tokio::test]
async fn too_many_requests_are_waited_for_and_fail_nothing() {
    let fake = FakeIconik::start();
    fake.limit(10, 60);
    for number in 0..30 {
        fake.asset(&number.to_string(), &[], "x");
    }
    let source = open(&fake, "/").await;
    let pages = walk(&*source).await;
    for outline in crate::library::outlines(&pages) {
        let entries = source.expand(&outline, &crate::library::placed(&outline)).await.unwrap();
        assert!(matches!(entries[0].kind, EntryKind::File(_)), "{entries:?}");
    }
    assert!(source.usage().rate_limit_hits > 0);
}

#[tokio::test]
async fn it_waits_as_long_as_the_api_asks_for() {
    let fake = FakeIconik::start();
    let source = open(&fake, "/").await;
    fake.fail_after("search", 0, 1, || crate::fake::error(429).header("Retry-After", "2").into());
    let began = Instant::now();
    source.probe().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(source.usage().rate_limit_hits, 1);
}

#[tokio::test]
async fn the_test_of_a_connection_is_one_search_for_one_asset_and_the_view_that_is_named() {
    let fake = FakeIconik::start();
    fake.asset("a.mxf", &[], "x");
    for (settings, kinds) in [
        (json!({}), vec!["search"]),
        (json!({ "metadata_view_id": crate::fake::VIEW }), vec!["search", "view"]),
    ] {
        let source = open_with(&fake, "/", settings, json!({})).await.unwrap();
        fake.forget();
        source.probe().await.unwrap();
        let seen = fake.seen();
        assert_eq!(seen.iter().map(|seen| seen.kind).collect::<Vec<_>>(), kinds);
        assert!(seen[0].target.contains("per_page=1&"), "{}", seen[0].target);
        assert!(seen[0].target.contains("generate_signed_url=false"), "{}", seen[0].target);
    }
    let source = open(&fake, "/").await;
    assert_eq!(source.default_concurrency(), 8, "downloads at once");
}

#[tokio::test]
async fn it_slows_down_before_the_limit_is_used_up() {
    let fake = FakeIconik::start();
    fake.remaining(2);
    let source = open(&fake, "/").await;
    let began = Instant::now();
    source.probe().await.unwrap();
    source.probe().await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(source.usage().rate_limit_hits, 0);
}

#[tokio::test]
async fn a_base_url_that_would_send_the_token_in_plain_text_is_refused() {
    let fake = FakeIconik::start();
    let settings = json!({ "base_url": "http://iconik.example.org" });
    let error = open_with(&fake, "/", settings, json!({})).await.err().unwrap();
    assert!(matches!(error, SourceError::Misconfigured { .. }), "{error:?}");
}

#[tokio::test]
async fn a_view_that_is_not_there_is_named() {
    let fake = FakeIconik::start();
    let settings = json!({ "metadata_view_id": "00000000-0000-11ee-8000-000000000000" });
    let source = open_with(&fake, "/", settings, json!({})).await.unwrap();
    let error = source.probe().await.unwrap_err();
    assert!(error.to_string().contains("metadata_view_id"), "{error}");
}
