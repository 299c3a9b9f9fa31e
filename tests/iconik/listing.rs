//! What is asked to list a library, to the request, and what the listing tells.

use std::collections::{BTreeMap, BTreeSet};

use catchment::{
    model::{Cursor, EntryKind, ErrorType, SizeKind, SkipReason},
    sources::{SourceError, VersionMatch},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::{
    conformance,
    fake::{FakeIconik, Media, VIEW},
    library::{
        changes, expand, file, id, ids, open, open_with, outlines, placed, token_after_walk, walk,
        whole,
    },
};

fn counted(counts: &[(&'static str, usize)]) -> BTreeMap<&'static str, usize> {
    counts.iter().copied().collect()
}

#[tokio::test]
async fn a_full_pass_searches_once_for_each_thousand_assets_and_asks_none_for_its_files() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    for number in 0..2000 {
        fake.asset(&format!("{number}.mxf"), &[&news], "x");
    }
    let source = open(&fake, "/").await;
    let token = source.feed_token(&whole()).await.unwrap();
    assert_eq!(ids(&walk(&*source).await).len(), 2000);
    let (pages, _) = changes(&*source, token).await.unwrap();
    assert!(outlines(&pages).is_empty());
    assert_eq!(fake.counts(), counted(&[("collections", 1), ("search", 2)]));
    assert!(fake.seen().iter().all(|seen| !seen.target.contains("&page=")));
    assert_eq!(source.usage().requests, 3);
}

#[tokio::test]
async fn nothing_changed_is_one_request() {
    let fake = FakeIconik::start();
    let news = fake.collection("News", None);
    for number in 0..30 {
        fake.asset(&number.to_string(), &[&news], "x");
    }
    let token = token_after_walk(&*open(&fake, "/").await).await;
    fake.forget();
    let source = open(&fake, "/").await;
    let (_, next) = changes(&*source, token.clone()).await.unwrap();
    assert_eq!(fake.counts(), counted(&[("search", 1)]));
    assert_eq!(next, token);
}

#[tokio::test]
async fn a_bulk_edit_of_more_than_a_page_is_searched_once_more_and_then_costs_one_request() {
    let fake = FakeIconik::start();
    for number in 0..1500 {
        let asset = fake.asset(&number.to_string(), &[], "x");
        fake.change_silently(&asset, |asset| {
            asset.date_modified = "2026-05-01T00:00:07.000000+00:00".into();
        });
    }
    let mut token = token_after_walk(&*open(&fake, "/").await).await;
    for searches in [2, 1, 1] {
        fake.forget();
        token = changes(&*open(&fake, "/").await, token).await.unwrap().1;
        assert_eq!(fake.counts(), counted(&[("search", searches)]));
    }
    fake.asset("new", &[], "x");
    let (pages, _) = changes(&*open(&fake, "/").await, token).await.unwrap();
    assert_eq!(ids(&pages).len(), 1501, "all of the last ten minutes, to be compared");
}

#[tokio::test]
async fn no_asset_is_lost_at_a_page_border_within_one_timestamp() {
    let fake = FakeIconik::start();
    fake.page_limit(7);
    let mut all = BTreeSet::new();
    for number in 0..240 {
        let asset = fake.asset(&number.to_string(), &[], "x");
        let date = if number % 2 == 0 { "2026-05-01T00:00:07Z" } else { "2026-05-01T00:00:08Z" };
        fake.change_silently(&asset, |asset| asset.date_modified = date.into());
        all.insert(asset);
    }
    let listed = ids(&walk(&*open(&fake, "/").await).await);
    assert_eq!(listed, all.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_walk_continues_behind_the_search_after_of_its_cursor() {
    let fake = FakeIconik::start();
    fake.page_limit(5);
    for number in 0..12 {
        fake.asset(&number.to_string(), &[], "x");
    }
    let source = open(&fake, "/").await;
    let first = source.walk(&whole(), None).next().await.unwrap().unwrap();
    let cursor = first.cursor.clone().unwrap();
    let after: Value = serde_json::from_slice(&cursor.0).unwrap();
    assert!(
        after.as_array().is_some_and(|after| after.len() == 2),
        "search_after as JSON: {after}"
    );
    let source = open(&fake, "/").await;
    let rest: Vec<_> = source.walk(&whole(), Some(cursor)).try_collect().await.unwrap();
    assert_eq!((ids(&[first]).len(), ids(&rest).len()), (5, 7));
}

#[tokio::test]
async fn what_the_api_refuses_to_continue_behind_begins_anew_and_lists_everything() {
    let fake = FakeIconik::start();
    fake.page_limit(5);
    for number in 0..12 {
        fake.asset(&number.to_string(), &[], "x");
    }
    let stale = Cursor(br#"["no date", "x"]"#.to_vec());
    let source = open(&fake, "/").await;
    let pages: Vec<_> = source.walk(&whole(), Some(stale)).try_collect().await.unwrap();
    assert_eq!(ids(&pages).len(), 12);
    let token = token_after_walk(&*source).await;
    fake.fail_after("search", 1, 1, || crate::fake::error(400).into());
    let (pages, _) = changes(&*open(&fake, "/").await, token).await.unwrap();
    assert_eq!(ids(&pages).into_iter().collect::<BTreeSet<_>>().len(), 12);
    let broken = Cursor(b"not JSON".to_vec());
    let refused = changes(&*source, broken).await.unwrap_err();
    assert!(matches!(refused, SourceError::FeedExpired { .. }), "{refused:?}");
}

#[tokio::test]
async fn titles_metadata_and_collections_change_the_facts_and_not_the_version_of_the_bytes() {
    let fake = FakeIconik::start();
    let (a, b) = (fake.collection("A", None), fake.collection("B", None));
    let asset = fake.asset("clip.mxf", &[&a], "content");
    let settings = json!({ "metadata_view_id": VIEW });
    let source = open_with(&fake, "/", settings, json!({})).await.unwrap();
    let before = expand(&*source, &asset).await;
    let mark = |entries: &[catchment::model::Entry]| {
        file(&entries[0]).details.as_ref().unwrap().facts_mark
    };
    let mut marks = BTreeSet::from([mark(&before)]);
    fake.change(&asset, |asset| asset.title = "other".into());
    let renamed = expand(&*source, &asset).await;
    marks.insert(mark(&renamed));
    fake.change_silently(&asset, |asset| {
        asset.metadata.insert("Campaign".into(), json!(["spring"]));
    });
    let edited = expand(&*source, &asset).await;
    marks.insert(mark(&edited));
    fake.change_silently(&asset, |asset| asset.in_collections = vec![b.clone()]);
    let moved = expand(&*source, &asset).await;
    marks.insert(mark(&moved));
    assert_eq!(marks.len(), 4, "each changes the facts");
    assert_eq!(moved[0].parent, Some(id(&b)));
    for after in [&renamed, &edited, &moved] {
        let (stored, listed) = (&file(&before[0]).version, &file(&after[0]).version);
        assert_eq!(source.compare(&stored.0, listed), VersionMatch::Same);
    }
    fake.change(&asset, |asset| asset.file().bytes = b"others".to_vec());
    let changed = expand(&*source, &asset).await;
    let (stored, listed) = (&file(&before[0]).version, &file(&changed[0]).version);
    assert_eq!(source.compare(&stored.0, listed), VersionMatch::Other);
}

#[tokio::test]
async fn an_edit_without_a_new_date_is_found_by_the_next_full_pass() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    let settings = || json!({ "metadata_view_id": VIEW });
    let source = open_with(&fake, "/", settings(), json!({})).await.unwrap();
    let before = outlines(&walk(&*source).await);
    fake.change_silently(&asset, |asset| {
        asset.metadata.insert("Campaign".into(), json!(["spring"]));
    });
    let after = outlines(&walk(&*source).await);
    assert_eq!(before[0].version, after[0].version);
    assert_ne!(before[0].facts_mark, after[0].facts_mark);
}

#[tokio::test]
async fn an_asset_is_its_closed_original_file_and_further_files_are_entries_below_its_title() {
    let fake = FakeIconik::start();
    let asset = fake.asset("small.mxf", &[], "small");
    let [large, proxy_like] = [fake.new_id(), fake.new_id()];
    fake.change(&asset, |asset| {
        asset.title = "Interview".into();
        asset.files.push(Media::new(&large, "large.mxf", "much larger"));
        asset.files.push(Media { format: "PPRO_PROXY", ..Media::new(&proxy_like, "x.mp4", "p") });
    });
    let source = open(&fake, "/").await;
    fake.forget();
    let entries = expand(&*source, &asset).await;
    let paths: Vec<_> = entries.iter().map(|entry| entry.path.to_json_text()).collect();
    assert_eq!(paths, ["large.mxf", "Interview/small.mxf"]);
    assert_eq!(entries[0].id, id(&asset));
    assert!(entries[1].id.to_json_text().starts_with(&format!("{asset}/")));
    assert_eq!(fake.counts()["formats"], 1, "only because there are several formats");
    let facts = file(&entries[0]);
    let details = facts.details.as_ref().unwrap();
    assert_eq!((facts.size, details.size, details.hashes.len()), (11, SizeKind::Claimed, 1));
    assert_eq!(facts.mime.as_deref(), Some("application/mxf"));
    assert_eq!(facts.modified.unwrap().to_string(), "2025-06-07T08:09:10Z");
}

#[tokio::test]
async fn where_the_search_returns_the_files_nothing_else_is_requested() {
    let fake = FakeIconik::start();
    fake.search_has_files();
    let asset = fake.asset("clip.mxf", &[], "content");
    let source = open(&fake, "/").await;
    fake.forget();
    assert_eq!(expand(&*source, &asset).await[0].path.to_json_text(), "clip.mxf");
    assert_eq!(fake.counts(), counted(&[("collections", 1), ("search", 1)]));
}

#[tokio::test]
async fn a_sequence_of_a_thousand_frames_is_a_thousand_files_below_its_title_for_one_call() {
    let fake = FakeIconik::start();
    let asset = fake.asset("0000.dpx", &[], "frame 0");
    let frames: Vec<Media> = (1..1000)
        .map(|number| Media::new(&fake.new_id(), &format!("{number:04}.dpx"), format!("{number}")))
        .collect();
    fake.change(&asset, |asset| {
        asset.kind = "SEQUENCE";
        asset.title = "Shot 7".into();
        asset.files.extend(frames);
    });
    let source = open(&fake, "/").await;
    let pages = walk(&*source).await;
    fake.forget();
    let outline = outlines(&pages).remove(0);
    let entries = source.expand(&outline, &placed(&outline)).await.unwrap();
    assert_eq!(entries.len(), 1000);
    assert!(entries.iter().all(|entry| entry.path.to_json_text().starts_with("Shot 7/")));
    assert_eq!(fake.counts(), counted(&[("files", 1)]));
}

#[tokio::test]
async fn more_than_a_thousand_files_of_an_asset_are_asked_for_behind_the_last_id() {
    let fake = FakeIconik::start();
    let asset = fake.asset("0000.dpx", &[], "frame 0");
    let frames: Vec<Media> = (1..2500)
        .map(|number| Media::new(&fake.new_id(), &format!("{number:04}.dpx"), "frame"))
        .collect();
    fake.change(&asset, |asset| asset.files.extend(frames));
    let source = open(&fake, "/").await;
    assert_eq!(expand(&*source, &asset).await.len(), 2500);
    let pages: Vec<_> = fake.seen().into_iter().filter(|seen| seen.kind == "files").collect();
    let behind = |seen: &&crate::fake::Seen| seen.target.contains("last_id=");
    assert_eq!((pages.len(), pages.iter().filter(behind).count()), (3, 2));
}

#[tokio::test]
async fn without_a_checksum_the_size_and_the_date_of_a_file_distinguish_its_versions() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    fake.change(&asset, |asset| asset.file().has_checksum = false);
    let source = open(&fake, "/").await;
    let before = expand(&*source, &asset).await;
    assert!(file(&before[0]).details.as_ref().unwrap().hashes.is_empty());
    let is_same = |after: &[catchment::model::Entry]| {
        let (stored, listed) = (&file(&before[0]).version, &file(&after[0]).version);
        source.compare(&stored.0, listed)
    };
    fake.change(&asset, |asset| asset.title = "other".into());
    assert_eq!(is_same(&expand(&*source, &asset).await), VersionMatch::Same);
    fake.change(&asset, |asset| asset.file().bytes = b"longer content".to_vec());
    assert_eq!(is_same(&expand(&*source, &asset).await), VersionMatch::Other);
}

#[tokio::test]
async fn proxies_are_taken_in_the_place_of_originals_or_beside_them() {
    let fake = FakeIconik::start();
    let (with, without) = (fake.asset("a.mxf", &[], "original"), fake.asset("b.mxf", &[], "x"));
    let proxy = fake.new_id();
    fake.change(&with, |asset| asset.proxies.push(Media::new(&proxy, "a_proxy.mp4", "proxy")));
    let source = open_with(&fake, "/", json!({}), json!({ "files": "proxy" })).await.unwrap();
    let entries = expand(&*source, &with).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0].id, entries[0].path.to_json_text()),
        (&id(&with), "a_proxy.mp4".into())
    );
    assert_eq!(crate::library::read(&*source, &entries[0], None).await.unwrap(), b"proxy");
    let left_out = expand(&*source, &without).await;
    assert_eq!(left_out[0].kind, EntryKind::Skipped(SkipReason::NoProxy));
    let source = open_with(&fake, "/", json!({}), json!({ "files": "all" })).await.unwrap();
    let all = expand(&*source, &with).await;
    let paths: Vec<_> = all.iter().map(|entry| entry.path.to_json_text()).collect();
    assert_eq!(paths, ["a.mxf", "a/a_proxy.mp4"]);
    assert_eq!(crate::library::read(&*source, &all[1], None).await.unwrap(), b"proxy");
}

#[tokio::test]
async fn what_cannot_be_taken_is_left_out_with_its_reason() {
    let fake = FakeIconik::start();
    let of = |change: fn(&mut crate::fake::Asset)| {
        let asset = fake.asset("clip.mxf", &[], "x");
        fake.change(&asset, change);
        asset
    };
    let placeholder = of(|asset| asset.kind = "PLACEHOLDER");
    let empty = of(|asset| asset.files.clear());
    let arriving = of(|asset| asset.file().status = "OPEN");
    let archived = of(|asset| asset.archive_status = "ARCHIVED");
    let archived_format = of(|asset| asset.formats_archived = true);
    let missing = of(|asset| asset.file().status = "MISSING");
    let off_line = of(|asset| asset.is_online = false);
    let subclip = of(|asset| asset.kind = "SUBCLIP");
    fake.search_has_files();
    let source = open(&fake, "/").await;
    let kind = async |asset: &str| expand(&*source, asset).await.remove(0).kind;
    for (asset, reason) in [
        (&placeholder, SkipReason::NoContent),
        (&empty, SkipReason::NoContent),
        (&arriving, SkipReason::StillArriving),
        (&archived, SkipReason::Archived),
        (&archived_format, SkipReason::Archived),
    ] {
        assert_eq!(kind(asset).await, EntryKind::Skipped(reason));
    }
    for gone in [&missing, &off_line] {
        let EntryKind::Unreadable { error_type, .. } = kind(gone).await else { panic!() };
        assert_eq!(error_type, ErrorType::NotFound);
    }
    assert!(!ids(&walk(&*source).await).contains(&subclip), "no entry at all");
}

#[tokio::test]
async fn what_was_still_arriving_is_looked_at_again_without_a_new_date() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "content");
    fake.change(&asset, |asset| asset.file().status = "OPEN");
    // What is newer than ten minutes is looked at anyway.
    let newer = fake.asset("newer.mxf", &[], "x");
    fake.change_silently(&newer, |asset| {
        asset.date_modified = "2026-05-01T23:00:00.000000+00:00".into();
    });
    let token = token_after_walk(&*open(&fake, "/").await).await;
    fake.change_silently(&asset, |asset| asset.file().status = "CLOSED");
    let source = open(&fake, "/").await;
    let (pages, token) = changes(&*source, token).await.unwrap();
    assert!(ids(&pages).contains(&asset));
    for outline in outlines(&pages) {
        source.expand(&outline, &placed(&outline)).await.unwrap();
    }
    // The token of the run before its end still names it: it is looked at once more.
    let source = open(&fake, "/").await;
    let mut pages = source.changes(&whole(), token);
    let mut last = None;
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        for outline in &page.outlines {
            source.expand(outline, &placed(outline)).await.unwrap();
        }
        last = page.cursor.or(last);
    }
    fake.forget();
    let (pages, _) = changes(&*open(&fake, "/").await, last.unwrap()).await.unwrap();
    assert!(!ids(&pages).contains(&asset));
    assert_eq!(fake.counts(), counted(&[("search", 1)]));
}

#[tokio::test]
async fn a_deleted_asset_is_reported_and_a_purged_one_is_gone_when_it_is_asked_for() {
    let fake = FakeIconik::start();
    let (deleted, purged) = (fake.asset("a", &[], "x"), fake.asset("b", &[], "x"));
    let kept = fake.asset("c", &[], "x");
    let token = token_after_walk(&*open(&fake, "/").await).await;
    fake.change(&deleted, |asset| asset.status = "DELETED");
    fake.change_silently(&purged, |asset| asset.is_purged = true);
    let source = open(&fake, "/").await;
    let (pages, _) = changes(&*source, token).await.unwrap();
    let removed: Vec<_> = pages.iter().flat_map(|page| page.removed.clone()).collect();
    assert_eq!(removed, [id(&deleted)]);
    let all = [&deleted, &purged, &kept].map(|asset| id(asset));
    assert_eq!(source.existing(&all).await.unwrap(), [id(&kept)]);
    assert_eq!(source.stat(&id(&purged)).await.unwrap(), None);
}

#[tokio::test]
async fn a_further_file_that_was_removed_is_gone_and_the_asset_is_not() {
    let fake = FakeIconik::start();
    let asset = fake.asset("a.mxf", &[], "larger");
    let (kept, gone) = (fake.new_id(), fake.new_id());
    fake.change(&asset, |asset| asset.files.push(Media::new(&kept, "b.xml", "x")));
    let source = open(&fake, "/").await;
    let of = |file: &str| id(&format!("{asset}/{file}"));
    let asked = [id(&asset), of(&kept), of(&gone)];
    assert_eq!(source.existing(&asked).await.unwrap(), [id(&asset), of(&kept)]);
    assert_eq!(source.stat(&of(&gone)).await.unwrap(), None);
    assert!(source.stat(&of(&kept)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_left_the_collection_that_is_synced_is_gone_and_what_is_nested_in_it_is_not() {
    let fake = FakeIconik::start();
    let root = fake.collection("Root", None);
    let (inner, outer) = (fake.collection("Inner", Some(&root)), fake.collection("Outer", None));
    let (stays, leaves) = (fake.asset("a", &[&inner], "x"), fake.asset("b", &[&root], "x"));
    fake.asset("elsewhere", &[&outer], "x");
    let source = open(&fake, "/Root").await;
    assert_eq!(source.place().unwrap(), root.as_bytes());
    let mut expected = vec![stays.clone(), leaves.clone()];
    expected.sort();
    assert_eq!(ids(&walk(&*source).await), expected);
    fake.change(&leaves, |asset| asset.in_collections = vec![outer.clone()]);
    let source = open(&fake, &root).await;
    assert_eq!(source.existing(&[id(&stays), id(&leaves)]).await.unwrap(), [id(&stays)]);
}

#[tokio::test]
async fn two_collections_of_one_title_are_refused_with_both_ids() {
    let fake = FakeIconik::start();
    let (a, b) = (fake.collection("News", None), fake.collection("News", None));
    let error = open_with(&fake, "/News", json!({}), json!({})).await.err().unwrap();
    assert!(matches!(error, SourceError::Misconfigured { .. }), "{error:?}");
    assert!(error.to_string().contains(&a) && error.to_string().contains(&b), "{error}");
    let none = open_with(&fake, "/Nothing", json!({}), json!({})).await.err().unwrap();
    assert!(matches!(none, SourceError::RootMissing { .. }), "{none:?}");
    assert!(open_with(&fake, &a, json!({}), json!({})).await.is_ok());
}

#[tokio::test]
async fn each_collection_id_is_a_shard_and_an_asset_in_several_is_listed_by_the_first() {
    let fake = FakeIconik::start();
    let (a, b) = (fake.collection("A", None), fake.collection("B", None));
    let nested = fake.collection("Nested", Some(&b));
    let (both, only) = (fake.asset("both", &[&b, &a], "x"), fake.asset("only", &[&nested], "x"));
    fake.asset("neither", &[], "x");
    let filters = json!({ "collection_ids": [a, b] });
    let source = open_with(&fake, "/", json!({}), filters).await.unwrap();
    let shards = source.shards();
    assert_eq!(shards.iter().map(|shard| shard.name()).collect::<Vec<_>>(), [&a, &b]);
    for (shard, expected) in shards.iter().zip([&both, &only]) {
        let pages: Vec<_> = source.walk(shard, None).try_collect().await.unwrap();
        assert_eq!(ids(&pages), std::slice::from_ref(expected));
    }
    let searches = fake.seen().into_iter().filter(|seen| seen.kind == "search");
    let narrowed: Vec<Value> =
        searches.map(|seen| seen.body["filter"]["terms"][0].clone()).collect();
    assert_eq!(narrowed[0], json!({ "name": "in_collections", "value": a }));
    assert_eq!(narrowed[1], json!({ "name": "in_collections", "value_in": [b, nested] }));
}

#[tokio::test]
async fn media_types_narrow_the_search_and_path_patterns_leave_out() {
    let fake = FakeIconik::start();
    let (video, image) = (fake.asset("a.mxf", &[], "x"), fake.asset("b.jpg", &[], "x"));
    let filters = json!({ "media_type": "video", "path_patterns": ["*.mov"] });
    let source = open_with(&fake, "/", json!({}), filters).await.unwrap();
    assert_eq!(ids(&walk(&*source).await), std::slice::from_ref(&video));
    assert_eq!(expand(&*source, &video).await[0].kind, EntryKind::Skipped(SkipReason::OtherPath));
    let filters = json!({ "media_type": ["image"], "path_patterns": ["*.jpg"] });
    let source = open_with(&fake, "/", json!({}), filters).await.unwrap();
    assert!(matches!(expand(&*source, &image).await[0].kind, EntryKind::File(_)));
}

#[tokio::test]
async fn fields_of_the_view_are_known_by_their_names_and_lists_stay_lists() {
    let fake = FakeIconik::start();
    let asset = fake.asset("clip.mxf", &[], "x");
    fake.change(&asset, |asset| {
        asset.metadata.insert("Campaign".into(), json!(["spring"]));
        asset.metadata.insert("Tags".into(), json!(["a", "b"]));
        asset.metadata.insert("Empty".into(), json!([]));
        asset.metadata.insert("title".into(), json!(["of the view"]));
    });
    let settings = json!({ "metadata_view_id": VIEW });
    let source = open_with(&fake, "/", settings, json!({})).await.unwrap();
    let entries = expand(&*source, &asset).await;
    let properties = file(&entries[0]).properties().unwrap().clone();
    assert_eq!(properties["Campaign"], "spring");
    assert_eq!(properties["Tags"], json!(["a", "b"]));
    assert!(!properties.contains_key("Empty"));
    assert_eq!(
        (&properties["title"], &properties["metadata.title"]),
        (&json!("clip"), &json!("of the view"))
    );
    assert_eq!(
        (&properties["duration"], &properties["created_by"]),
        (&json!(1.5), &json!("user-1"))
    );
    assert!(!fake.counts().contains_key("metadata"), "the search has told them");
    let none =
        open_with(&fake, "/", json!({ "metadata_view_id": "none" }), json!({})).await.unwrap();
    let entries = expand(&*none, &asset).await;
    assert!(!file(&entries[0]).properties().unwrap().contains_key("Campaign"));
}

#[tokio::test]
async fn the_index_may_be_late_by_minutes() {
    let fake = FakeIconik::start();
    fake.asset("old", &[], "x");
    let late = fake.asset("late", &[], "x");
    fake.lag(&late, false);
    let newest = fake.asset("newest", &[], "x");
    let source = open(&fake, "/").await;
    let token = token_after_walk(&*source).await;
    fake.catch_up();
    let (pages, _) = changes(&*open(&fake, "/").await, token).await.unwrap();
    let found = ids(&pages);
    assert!(found.contains(&late) && found.contains(&newest), "{found:?}");
}

#[tokio::test]
async fn it_keeps_what_the_engine_relies_on() {
    let fake = FakeIconik::start();
    fake.page_limit(10);
    let files = conformance::files();
    for (path, content) in &files {
        fake.asset(str::from_utf8(path).unwrap(), &[], content.clone());
    }
    let source = &*open(&fake, "/").await;
    conformance::lists_everything(source, &files).await;
    conformance::lists_the_same_twice(source).await;
    conformance::looks_again_as_it_lists(source).await;
    conformance::resumes_from_every_cursor(source).await;
    conformance::reads_whole_files(source, &files).await;
    conformance::reads_ranges(source, &files).await;
    conformance::survives_being_dropped(source, &files).await;
    let large = || {
        let page = ids_by_name(&fake);
        page["large"].clone()
    };
    let asset = large();
    conformance::tells_what_is_gone(source, || {
        fake.change(&asset, |asset| asset.is_purged = true);
    })
    .await;
    let root = fake.collection("Root", None);
    let source = open(&fake, &root).await;
    fake.delete_collection(&root);
    conformance::a_missing_root_is_no_empty_listing(&*source).await;
}

/// The assets by the names of their first files.
fn ids_by_name(fake: &FakeIconik) -> BTreeMap<String, String> {
    fake.assets().into_iter().map(|asset| (asset.files[0].name.clone(), asset.id)).collect()
}
