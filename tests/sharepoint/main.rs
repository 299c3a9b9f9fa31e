//! SharePoint and OneDrive as a source, against a Graph of our own that fails on demand: what it
//! asks for, exactly, and what becomes of each answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support module is written like a library, for its readers.
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
// Each test crate uses its own part of it.
#[allow(dead_code)]
mod support;

#[path = "../support/server.rs"]
#[allow(dead_code)]
mod server;

#[path = "../support/synced.rs"]
#[allow(dead_code)]
mod synced;

mod columns;
mod hashes;
mod libraries;
mod peer;
mod syncs;
mod troubles;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use catchment::{
    clock::SystemClock,
    config::{Hosts, SourceTuning},
    model::{
        Connection, Credentials, Cursor, Entry, EntryId, EntryKind, Fingerprint, HashAlgorithm,
        Location, ProviderName, Shard, SizeKind, SkipReason, SyncOptions,
    },
    sources::{
        Body, ByteRange, Opener as _, Page, Registry, Source, SourceError, VersionMatch,
        browse::ItemKind, http::Budgets, oauth::Grants,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use serde_json::json;

use crate::support::{
    fake_authority::{CLIENT, PUBLIC_CLIENT, SECRET},
    fake_graph::{DRIVE, FakeGraph, Fault, Kind},
    wire::Answer,
};

fn tuning(graph: &FakeGraph) -> SourceTuning {
    let file = graph.hosts();
    let hosts: Hosts = toml::from_str(file.strip_prefix("[hosts]\n").unwrap()).unwrap();
    SourceTuning {
        clock: Arc::new(SystemClock),
        quiet_period: Duration::ZERO,
        own_folders: Vec::new(),
        hosts: Arc::new(hosts),
        grants: Grants::default(),
        budgets: Budgets::default(),
        closings: catchment::sources::closings::Closings::default(),
    }
}

async fn open_as(
    graph: &FakeGraph,
    place: &str,
    credentials: serde_json::Value,
    config: serde_json::Value,
) -> Result<Arc<dyn Source>, SourceError> {
    let kind = credentials["type"].clone();
    let settings = json!({ "config": config, "credentials": kind });
    let location = Location {
        connection: Connection {
            provider: ProviderName::new("sharepoint"),
            settings: settings.as_object().unwrap().clone(),
        },
        source_path: place.into(),
    };
    let credentials = Credentials::from_json(credentials.to_string());
    let options = SyncOptions::default();
    Registry.open(&location, Some(&credentials), &options, &tuning(graph)).await
}

fn application() -> serde_json::Value {
    json!({ "type": "client_credentials", "tenant_id": "t", "client_id": CLIENT,
            "client_secret": SECRET })
}

fn person(graph: &FakeGraph) -> serde_json::Value {
    json!({ "type": "delegated", "tenant_id": "common", "client_id": PUBLIC_CLIENT,
            "refresh_token": graph.authority.refresh_token() })
}

/// The whole drive, named by its id, so that nothing is asked for to find it.
async fn open(graph: &FakeGraph) -> Arc<dyn Source> {
    let source = open_as(graph, &format!("{DRIVE}!root"), application(), json!({})).await;
    source.unwrap()
}

type Pages<'a> = BoxStream<'a, Result<Page, SourceError>>;

async fn all(pages: Pages<'_>) -> Vec<Page> {
    pages.try_collect().await.unwrap()
}

/// Names by id, the last word on each counting.
fn names(pages: &[Page]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for page in pages {
        for entry in &page.entries {
            names.insert(entry.id.to_json_text(), entry.path.to_json_text());
        }
        for folder in &page.folders {
            let name = String::from_utf8(folder.name.clone()).unwrap();
            names.insert(folder.id.to_json_text(), name);
        }
        for id in &page.removed {
            names.remove(&id.to_json_text());
        }
    }
    names
}

fn entry_named(pages: &[Page], name: &str) -> Entry {
    let mut entries = pages.iter().flat_map(|page| &page.entries);
    entries.rfind(|entry| entry.path.as_bytes() == name.as_bytes()).unwrap().clone()
}

fn file_of(entry: &Entry) -> Fingerprint {
    match &entry.kind {
        EntryKind::File(file) => file.clone(),
        other => panic!("{other:?}"),
    }
}

async fn bytes_of(
    source: &dyn Source,
    entry: &Entry,
    range: Option<ByteRange>,
) -> Result<Vec<u8>, SourceError> {
    let content = source.fetch(&entry.id, &file_of(entry), range).await?;
    let Body::Stream(stream) = content.body else { panic!("a stream") };
    let parts: Vec<Bytes> = stream.try_collect().await?;
    Ok(parts.concat())
}

/// The token behind a full pass: walked, then replayed.
async fn token_after_walk(source: &dyn Source) -> Cursor {
    let shard = Shard::whole();
    let token = source.feed_token(&shard).await.unwrap();
    all(source.walk(&shard, None)).await;
    all(source.changes(&shard, token)).await.pop().unwrap().cursor.unwrap()
}

#[tokio::test]
async fn a_first_pass_costs_a_request_for_each_200_items_and_downloads_none_through_graph() {
    let graph = FakeGraph::start();
    let folder = graph.folder("root", "Reports");
    for number in 0..449 {
        graph.file(&folder, &format!("{number}.txt"), format!("content {number}"));
    }
    let source = open(&graph).await;
    let shard = Shard::whole();
    let token = source.feed_token(&shard).await.unwrap();
    let pages = all(source.walk(&shard, None)).await;
    let replayed = all(source.changes(&shard, token)).await;
    assert_eq!(names(&pages).len(), 451);
    assert!(replayed[0].entries.is_empty() && replayed[0].cursor.is_some());
    assert_eq!(graph.count(Kind::Delta), 3);
    assert_eq!(graph.seen().len(), 3);

    let entry = entry_named(&pages, "17.txt");
    assert_eq!(bytes_of(&*source, &entry, None).await.unwrap(), b"content 17");

    let kinds: Vec<Kind> = graph.seen().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [Kind::Delta, Kind::Delta, Kind::Delta, Kind::Download]);
    assert_eq!(graph.leaks(), 0);
    let agent = &graph.seen()[0].user_agent;
    assert!(agent.starts_with("NONISV|Catchment|Catchment/"), "{agent}");
    assert_eq!(source.usage().requests, 4);
}

#[tokio::test]
async fn nothing_changed_is_one_request() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "a");
    let source = open(&graph).await;
    let token = token_after_walk(&*source).await;
    graph.forget();
    let pages = all(source.changes(&Shard::whole(), token)).await;
    assert!(pages.iter().all(|page| page.entries.is_empty() && page.removed.is_empty()));
    assert_eq!(graph.seen().len(), 1);
}

#[tokio::test]
async fn a_renamed_folder_is_one_event_and_its_files_are_not_reported() {
    let graph = FakeGraph::start();
    let folder = graph.folder("root", "before");
    for number in 0..30 {
        graph.file(&folder, &number.to_string(), "x");
    }
    let source = open(&graph).await;
    let token = token_after_walk(&*source).await;
    graph.forget();
    graph.change(&folder, |folder| folder.name = "after".into());
    let pages = all(source.changes(&Shard::whole(), token)).await;
    assert_eq!(names(&pages), BTreeMap::from([(format!("{DRIVE}!{folder}"), "after".into())]));
    assert_eq!(graph.seen().len(), 1);
}

#[tokio::test]
async fn what_is_deleted_is_removed_and_what_changed_has_another_version() {
    let graph = FakeGraph::start();
    let (gone, changed) = (graph.file("root", "gone", "1"), graph.file("root", "changed", "2"));
    let source = open(&graph).await;
    let shard = Shard::whole();
    let before = entry_named(&all(source.walk(&shard, None)).await, "changed");
    let token = token_after_walk(&*source).await;
    graph.delete(&gone);
    graph.change(&changed, |file| file.bytes = Some(b"other".to_vec()));
    let pages = all(source.changes(&shard, token)).await;
    let removed: Vec<String> =
        pages.iter().flat_map(|page| &page.removed).map(EntryId::to_json_text).collect();
    assert_eq!(removed, [format!("{DRIVE}!{gone}")]);
    let after = entry_named(&pages, "changed");
    let compared = source.compare(&file_of(&before).version.0, &file_of(&after).version);
    assert_eq!(compared, VersionMatch::Other);
}

#[tokio::test]
async fn of_an_item_that_comes_twice_the_last_word_counts() {
    let graph = FakeGraph::start();
    let id = graph.file("root", "new name", "x");
    graph.repeat(&id);
    let pages = all(open(&graph).await.walk(&Shard::whole(), None)).await;
    assert_eq!(names(&pages)[&format!("{DRIVE}!{id}")], "new name");
    assert_eq!(pages.iter().map(|page| page.entries.len()).sum::<usize>(), 1);
}

#[tokio::test]
async fn a_resync_at_any_page_of_a_walk_loses_nothing() {
    for page in 0..4 {
        let graph = FakeGraph::start();
        graph.page_size(5);
        for number in 0..17 {
            graph.file("root", &number.to_string(), "x");
        }
        graph.inject(Fault::resync().after(page));
        let source = open(&graph).await;
        let pages = all(source.walk(&Shard::whole(), None)).await;
        assert_eq!(names(&pages).len(), 18, "410 at page {page}");
        assert!(pages.iter().all(|page| page.removed.is_empty()));
    }
}

#[tokio::test]
async fn a_walk_continues_behind_its_cursor_and_begins_anew_behind_one_that_is_refused() {
    let graph = FakeGraph::start();
    graph.page_size(5);
    for number in 0..12 {
        graph.file("root", &number.to_string(), "x");
    }
    let shard = Shard::whole();
    let source = open(&graph).await;
    let first = source.walk(&shard, None).next().await.unwrap().unwrap();
    let cursor = first.cursor.clone().unwrap();
    let rest = all(open(&graph).await.walk(&shard, Some(cursor.clone()))).await;
    assert_eq!(names(&[first]).len() + names(&rest).len(), 13);
    graph.inject(Fault::error(Kind::Delta, 404, "itemNotFound"));
    assert_eq!(names(&all(source.walk(&shard, Some(cursor))).await).len(), 13);
}

#[tokio::test]
async fn a_refused_token_of_the_feed_asks_for_a_full_pass() {
    let graph = FakeGraph::start();
    let source = open(&graph).await;
    let token = token_after_walk(&*source).await;
    for fault in [
        Fault::resync(),
        Fault::error(Kind::Delta, 400, "invalidRequest"),
        Fault::error(Kind::Delta, 404, "itemNotFound"),
    ] {
        graph.inject(fault);
        let refused = source.changes(&Shard::whole(), token.clone()).next().await.unwrap();
        assert!(matches!(refused, Err(SourceError::FeedExpired { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed() {
    let graph = FakeGraph::start();
    let source = open(&graph).await;
    let token = Cursor(b"http://127.0.0.1:1/v1.0/drives/x/root/delta?token=1".to_vec());
    let refused = source.changes(&Shard::whole(), token).next().await.unwrap();
    assert!(matches!(refused, Err(SourceError::Permanent { .. })), "{refused:?}");
    assert!(graph.seen().is_empty());
}

#[tokio::test]
async fn an_address_that_expired_is_asked_for_once_more_and_our_token_never_goes_there() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "content");
    let source = open(&graph).await;
    let pages = all(source.walk(&Shard::whole(), None)).await;
    let entry = entry_named(&pages, "a.txt");
    graph.expire_downloads();
    graph.forget();
    assert_eq!(bytes_of(&*source, &entry, None).await.unwrap(), b"content");
    let kinds: Vec<Kind> = graph.seen().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [Kind::Download, Kind::Content, Kind::Download]);
    graph.forget();
    assert_eq!(bytes_of(&*source, &entry, None).await.unwrap(), b"content");
    assert_eq!(graph.seen().len(), 1, "the new address is kept");
    assert_eq!(graph.leaks(), 0);
}

#[tokio::test]
async fn an_entry_listed_without_an_address_is_downloaded_all_the_same() {
    let graph = FakeGraph::start();
    graph.lose_download_urls();
    graph.file("root", "a.txt", "content");
    let source = open(&graph).await;
    let pages = all(source.walk(&Shard::whole(), None)).await;
    let entry = entry_named(&pages, "a.txt");
    assert_eq!(bytes_of(&*source, &entry, None).await.unwrap(), b"content");
    assert_eq!((graph.count(Kind::Content), graph.leaks()), (1, 0));
}

#[tokio::test]
async fn a_range_is_requested_at_the_download_host_only_and_cut_out_of_a_whole_response() {
    let graph = FakeGraph::start();
    graph.file("root", "a.txt", "0123456789");
    let source = open(&graph).await;
    let pages = all(source.walk(&Shard::whole(), None)).await;
    let entry = entry_named(&pages, "a.txt");
    let range = Some(ByteRange { start: 3, len: 4 });
    assert_eq!(bytes_of(&*source, &entry, range).await.unwrap(), b"3456");
    graph.ignore_range();
    graph.expire_downloads();
    assert_eq!(bytes_of(&*source, &entry, range).await.unwrap(), b"3456");
    for seen in graph.seen() {
        assert!(seen.range.is_none() || seen.kind == Kind::Download, "{seen:?}");
    }
}

#[tokio::test]
async fn what_went_meanwhile_is_gone_and_what_may_not_be_read_says_so() {
    let graph = FakeGraph::start();
    let gone = graph.file("root", "gone", "x");
    graph.file("root", "kept", "x");
    let source = open(&graph).await;
    let pages = all(source.walk(&Shard::whole(), None)).await;
    graph.delete(&gone);
    graph.expire_downloads();
    let entry = entry_named(&pages, "gone");
    graph.inject(Fault::error(Kind::Content, 404, "itemNotFound"));
    let error = bytes_of(&*source, &entry, None).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error:?}");
    let kept = entry_named(&pages, "kept");
    for (status, code, wanted) in [
        (403, "accessDenied", "PermissionDenied"),
        (423, "resourceLocked", "PermissionDenied"),
        (500, "generalException", "Transient"),
        (504, "timeout", "Transient"),
        (509, "bandwidth", "RateLimited"),
    ] {
        graph.expire_downloads();
        graph.inject(Fault::error(Kind::Content, status, code));
        let error = bytes_of(&*source, &kept, None).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{status}: {error:?}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_and_the_request_repeated() {
    let graph = FakeGraph::start();
    graph.file("root", "a", "x");
    let source = open(&graph).await;
    let token = token_after_walk(&*source).await;
    graph.authority.expire_access_tokens();
    graph.forget();
    all(source.changes(&Shard::whole(), token.clone())).await;
    let statuses: Vec<u16> = graph.seen().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [401, 200]);
    graph.inject(Fault::error(Kind::Delta, 401, "InvalidAuthenticationToken").times(2));
    let refused = source.changes(&Shard::whole(), token).next().await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("sign in again"), "{refused}");
}

#[tokio::test]
async fn throttling_is_waited_for_by_everybody_also_within_a_batch() {
    let graph = FakeGraph::start();
    let id = graph.file("root", "a", "x");
    let gone = graph.file("root", "b", "x");
    let source = open(&graph).await;
    all(source.walk(&Shard::whole(), None)).await;
    graph.delete(&gone);
    graph.forget();
    graph.inject(Fault::throttled(Kind::Item, 429, 1));
    let ids = [format!("{DRIVE}!{id}"), format!("{DRIVE}!{gone}")].map(EntryId::new);
    let began = std::time::Instant::now();
    let existing = source.existing(&ids).await.unwrap();
    assert_eq!(existing, ids[..1]);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(graph.count(Kind::Batch), 2);
    graph.inject(Fault::throttled(Kind::Delta, 503, 1));
    let began = std::time::Instant::now();
    all(source.walk(&Shard::whole(), None)).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(source.usage().rate_limit_hits >= 1);
    graph.inject(Fault::throttled(Kind::Delta, 429, 3600));
    let held = source.walk(&Shard::whole(), None).next().await.unwrap();
    assert!(matches!(held, Err(SourceError::Held { .. })), "{held:?}");
}

#[tokio::test]
async fn what_cannot_be_downloaded_is_said_before_anything_is_asked() {
    let graph = FakeGraph::start();
    let with = |name: &str, facets: serde_json::Value| {
        let id = graph.file("root", name, "x");
        graph.change(&id, |item| item.facets = facets);
    };
    with("notebook", json!({ "package": { "type": "oneNote" } }));
    with("virus", json!({ "malware": { "description": "bad" } }));
    with("elsewhere", json!({ "remoteItem": { "id": "x" } }));
    let pages = all(open(&graph).await.walk(&Shard::whole(), None)).await;
    let kind = |name: &str| entry_named(&pages, name).kind;
    assert_eq!(kind("notebook"), EntryKind::Skipped(SkipReason::NoContent));
    assert_eq!(kind("elsewhere"), EntryKind::Skipped(SkipReason::Elsewhere));
    assert!(matches!(kind("virus"), EntryKind::Unreadable { .. }));
}

#[tokio::test]
async fn a_listing_has_size_hash_times_type_and_properties() {
    let graph = FakeGraph::start();
    let name = "Zu\u{308}rich #1 %41 .txt ";
    graph.file("root", name, "content");
    let pages = all(open(&graph).await.walk(&Shard::whole(), None)).await;
    let file = file_of(&entry_named(&pages, name));
    assert_eq!(file.size_kind(), SizeKind::Claimed);
    assert_eq!(file.modified.unwrap().to_string(), "2025-06-07T08:09:10Z");
    assert_eq!(file.mime.as_deref(), Some("text/plain"));
    let details = file.details.as_ref().unwrap();
    assert_eq!(details.hashes[0].algorithm, HashAlgorithm::QuickXor);
    assert_eq!(details.hashes[0].digest.len(), 20);
    let properties = file.properties().unwrap();
    assert_eq!(properties["createdBy"], "ada@contoso.example");
    assert_eq!(properties["lastModifiedBy"], "bob@contoso.example");
    assert_eq!(properties["name"], name);
}

#[tokio::test]
async fn versions_are_compared_by_the_strongest_mark_that_both_have() {
    let graph = FakeGraph::start();
    let id = graph.file("root", "a", "content");
    graph.change(&id, |file| file.has_hash = false);
    let source = open(&graph).await;
    let version =
        async || file_of(&entry_named(&all(source.walk(&Shard::whole(), None)).await, "a")).version;
    let without_hash = version().await;
    assert_eq!(source.compare(&without_hash.0, &version().await), VersionMatch::Same);
    // Metadata changed, and there is still no hash: the bytes decide.
    graph.change(&id, |file| file.name = "a".into());
    assert_eq!(source.compare(&without_hash.0, &version().await), VersionMatch::Unknown);
    graph.change(&id, |file| file.has_hash = true);
    let with_hash = version().await;
    assert_eq!(source.compare(&with_hash.0, &version().await), VersionMatch::Same);
    graph.change(&id, |file| file.name = "a".into());
    assert_eq!(source.compare(&with_hash.0, &version().await), VersionMatch::Same);
}

#[tokio::test]
async fn places_are_found_by_site_library_and_folder_and_kept_by_id() {
    let graph = FakeGraph::start();
    let reports = graph.folder("root", "Reports #1");
    let id = format!("{DRIVE}!{reports}");
    for place in ["/sites/Team/Shared Documents/Reports #1", "/sites/Team/Documents/Reports #1"] {
        let source = open_as(&graph, place, application(), json!({})).await.unwrap();
        assert_eq!(source.profile().roots[0].id.to_json_text(), id, "{place}");
        assert_eq!(source.root().await.unwrap().0.unwrap(), id);
    }
    let own = open_as(&graph, "/Reports #1", person(&graph), json!({})).await.unwrap();
    assert_eq!(own.profile().roots[0].id.to_json_text(), id);
    let place = "/users/ada@contoso.example/Reports #1";
    let user = open_as(&graph, place, application(), json!({})).await.unwrap();
    assert_eq!(user.profile().roots[0].id.to_json_text(), id);
    let config = json!({ "drive_id": DRIVE, "folder_path": "/Reports #1" });
    let default = open_as(&graph, "/", application(), config).await.unwrap();
    assert_eq!(default.profile().roots[0].id.to_json_text(), id);
    for (place, words) in [
        ("/sites/Nobody/Documents", "no site"),
        ("/sites/Team/Nothing/x", "there are: Documents"),
        ("/sites/Team/Documents/Nothing", "itemNotFound"),
    ] {
        let error = open_as(&graph, place, application(), json!({})).await.err().unwrap();
        assert!(matches!(error, SourceError::RootMissing { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    graph.inject(Fault::error(Kind::Place, 403, "accessDenied"));
    let error = open_as(&graph, "/sites/Team/Documents", application(), json!({})).await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("Sites.Read.All") && error.contains("Sites.Selected"), "{error}");
}

#[tokio::test]
async fn people_look_around_from_sites_to_libraries_to_folders_and_files() {
    let graph = FakeGraph::start();
    let folder = graph.folder("root", "Reports");
    graph.file("root", "a.txt", "content");
    let look = async |place: &str, wanted: ItemKind| {
        let source = open_as(&graph, place, application(), json!({})).await.unwrap();
        let level = source.browse(wanted, 100).await.unwrap();
        let told = level.items.iter().map(|item| (item.name.to_json_text(), item.id.clone()));
        told.collect::<BTreeSet<_>>()
    };
    let one = |name: &str, id: String| BTreeSet::from([(name.to_owned(), Some(id))]);
    assert_eq!(look("/", ItemKind::Folders).await, one("Team", "/sites/Team".into()));
    let library = format!("{DRIVE}!root");
    assert_eq!(look("/sites/Team", ItemKind::Folders).await, one("Documents", library.clone()));
    let reports = format!("{DRIVE}!{folder}");
    assert_eq!(look(&library, ItemKind::Folders).await, one("Reports", reports));
    let files = look(&library, ItemKind::Files).await;
    assert_eq!(files.first().unwrap().0, "a.txt");
}

#[tokio::test]
async fn a_person_finds_their_drive_the_sites_that_they_follow_and_all_others() {
    let graph = FakeGraph::start();
    graph.folder("root", "Reports");
    let look = async |place: &str| {
        let source = open_as(&graph, place, person(&graph), json!({})).await.unwrap();
        let level = source.browse(ItemKind::Folders, 100).await.unwrap();
        level.items.iter().map(|item| item.name.to_json_text()).collect::<Vec<_>>()
    };
    assert_eq!(look("/").await, ["SharePoint sites", "Reports"]);
    graph.forget();
    assert_eq!(look("/sites").await, ["Team"]);
    let asked: Vec<String> = graph.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(asked, ["/v1.0/me/followedSites", "/v1.0/sites?search=*"]);
    graph.inject(Fault::error(Kind::Place, 403, "accessDenied"));
    assert_eq!(look("/sites").await, ["Team"], "who may not see the first list sees the second");
    let drive = "0abcdef012345678";
    let root = graph.library(drive, "OneDrive");
    let config = json!({ "drive_id": drive });
    graph.folder(&root, "Mine");
    let source = open_as(&graph, "/", person(&graph), config).await.unwrap();
    let level = source.browse(ItemKind::Folders, 100).await.unwrap();
    assert_eq!(level.items.len(), 1, "{level:?}");
}

#[tokio::test]
async fn a_file_that_is_protected_by_rights_is_of_a_kind_that_cannot_be_read() {
    let graph = FakeGraph::start();
    graph.lose_download_urls();
    graph.file("root", "a.docx", "x");
    let source = open(&graph).await;
    let pages = all(source.walk(&Shard::whole(), None)).await;
    graph.inject(Fault::error(Kind::Content, 403, "irmProtected"));
    let error = bytes_of(&*source, &entry_named(&pages, "a.docx"), None).await.unwrap_err();
    assert!(matches!(error, SourceError::Unsupported { .. }), "{error:?}");
}

#[tokio::test]
async fn requests_slow_down_before_microsoft_has_to_ask_for_it() {
    let graph = FakeGraph::start();
    let id = EntryId::new(format!("{DRIVE}!{}", graph.file("root", "a.txt", "x")));
    let source = open(&graph).await;
    source.stat(&id).await.unwrap();
    let used_up = || {
        let body = json!({ "id": "01ITEM0001", "name": "a.txt", "file": {}, "size": 1 });
        Answer::new(200, body.to_string())
            .header("RateLimit-Limit", "1200")
            .header("RateLimit-Remaining", "2")
            .header("RateLimit-Reset", "4")
            .into()
    };
    graph.inject(Fault::reply(Kind::Item, used_up));
    source.stat(&id).await.unwrap();
    let began = std::time::Instant::now();
    source.stat(&id).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_folder_that_came_in_is_listed_with_all_that_is_directly_in_it() {
    let graph = FakeGraph::start();
    let folder = graph.folder("root", "in");
    let (inner, file) = (graph.folder(&folder, "inner"), graph.file(&folder, "a", "x"));
    let source = open(&graph).await;
    let id = EntryId::new(format!("{DRIVE}!{folder}"));
    let pages = all(source.children(&Shard::whole(), std::slice::from_ref(&id))).await;
    let ids: BTreeSet<String> = names(&pages).into_keys().collect();
    assert_eq!(ids, BTreeSet::from([inner, file].map(|id| format!("{DRIVE}!{id}"))));
    let found = source.folder(&id).await.unwrap().unwrap();
    assert_eq!(found.parent.unwrap().to_json_text(), format!("{DRIVE}!root"));
    graph.delete(&folder);
    assert!(source.folder(&id).await.unwrap().is_none());
    assert!(all(source.children(&Shard::whole(), &[id])).await.len() <= 1);
}
