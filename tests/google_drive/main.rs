//! Google Drive as a source, against a Drive of our own that fails on demand: what it asks for, to
//! the request, and what it makes of the responses.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// The support modules are written like a library, for their readers.
#![allow(unreachable_pub)]
#![allow(dead_code)]

mod account;
mod document;
mod doubtful;
mod errors;
#[path = "../support/fake_drive.rs"]
mod fake_drive;
mod keys;
mod large;
mod moved_away;
mod outage;
mod parents;
mod peer;
mod previews;
#[path = "../support/server.rs"]
mod server;
mod shared;
mod shortcuts;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/synced.rs"]
mod synced;
mod syncs;
mod tokens;

use support::wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use catchment::{
    clock::SystemClock,
    config::{Hosts, SourceTuning},
    model::{
        Connection, Credentials, Cursor, Entry, EntryId, EntryKind, EntryPath, Fingerprint,
        Location, ProviderName, Shard, SkipReason, SyncOptions,
    },
    sources::{
        Absence, Body, ByteRange, Listing, Opening, Page, ProviderFilters, Reader as _, Source,
        SourceError,
        browse::ItemKind,
        google_drive::provider::GoogleDrive,
        http::Budgets,
        oauth::Grants,
        provider::{Browsing as _, Locations as _},
    },
};
use fake_drive::{DOCUMENT, FOLDER, FakeDrive, Large, ROOT, SHORTCUT};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

struct Account {
    tuning: SourceTuning,
    settings: Value,
}

impl Account {
    fn of(drive: &FakeDrive) -> Self {
        let url = drive.url();
        let hosts = format!("google_api = \"{url}\"\ngoogle_token = \"{url}\"\n");
        let hosts: Hosts = toml::from_str(&hosts).unwrap();
        let tuning = SourceTuning {
            clock: Arc::new(SystemClock),
            quiet_period: Duration::ZERO,
            own_folders: Vec::new(),
            hosts: Arc::new(hosts),
            grants: Grants::default(),
            budgets: Budgets::default(),
            closings: catchment::sources::closings::Closings::default(),
        };
        Self { tuning, settings: json!({}) }
    }

    async fn open(&self, place: &str) -> Result<Arc<dyn Source>, SourceError> {
        self.open_with(place, json!({})).await
    }

    async fn open_with(&self, place: &str, filters: Value) -> Result<Arc<dyn Source>, SourceError> {
        let stored = json!({
            "config": self.settings, "credentials": "oauth", "signed_in_as": "0123",
        });
        let connection = Connection {
            provider: ProviderName::new("google_drive"),
            settings: stored.as_object().unwrap().clone(),
        };
        let location = Location { connection, source_path: place.as_bytes().to_vec() };
        let credentials = json!({
            "type": "oauth", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        });
        let credentials = Credentials::from_json(credentials.to_string());
        let options = SyncOptions {
            provider_filters: filters.as_object().unwrap().clone(),
            ..SyncOptions::default()
        };
        let opening = Opening {
            location: &location,
            credentials: Some(&credentials),
            options: &options,
            filters: &ProviderFilters::default(),
            tuning: &self.tuning,
        };
        GoogleDrive.open(opening).await
    }
}

async fn walk(source: &dyn Source) -> Vec<Page> {
    source.walk(&Shard::whole(), None).try_collect().await.unwrap()
}

async fn children(source: &dyn Source, folders: &[EntryId]) -> Vec<Page> {
    source.children(&Shard::whole(), folders).try_collect().await.unwrap()
}

async fn changes(source: &dyn Source, from: Cursor) -> Result<Vec<Page>, SourceError> {
    source.changes(&Shard::whole(), from).try_collect().await
}

fn id(text: &str) -> EntryId {
    EntryPath::new(text.as_bytes())
}

fn names(pages: &[Page]) -> Vec<String> {
    let mut names: Vec<String> = pages
        .iter()
        .flat_map(|page| &page.entries)
        .map(|entry| entry.path.to_json_text())
        .collect();
    names.sort();
    names
}

fn file(entry: &Entry) -> &Fingerprint {
    match &entry.kind {
        EntryKind::File(fingerprint) => fingerprint,
        other => panic!("{other:?}"),
    }
}

async fn read(
    source: &dyn Source,
    entry: &Entry,
    range: Option<ByteRange>,
) -> Result<Vec<u8>, SourceError> {
    match source.fetch(&entry.id, file(entry), range).await?.body {
        Body::Stream(stream) => {
            stream
                .try_fold(Vec::new(), |mut all, bytes| async move {
                    all.extend_from_slice(&bytes);
                    Ok(all)
                })
                .await
        }
        Body::Blocking(_) => panic!("Drive streams"),
    }
}

fn counted(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_whole_drive_is_listed_by_pages_and_nothing_else_is_asked() {
    let drive = FakeDrive::start();
    drive.state().page_size = 10;
    let folder = drive.folder(ROOT, "a");
    for number in 0..24 {
        drive.file(&folder, &format!("file {number}"), "x");
    }
    let account = Account::of(&drive);
    let source = account.open(&format!("root!{ROOT}")).await.unwrap();

    source.root().await.unwrap();
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    let pages = walk(source.as_ref()).await;
    let replayed = changes(source.as_ref(), token).await.unwrap();

    assert_eq!(names(&pages).len(), 24);
    assert_eq!(pages.iter().map(|page| page.folders.len()).sum::<usize>(), 1);
    assert!(replayed.iter().all(|page| page.entries.is_empty() && page.removed.is_empty()));
    let expected = [("startPageToken", 1), ("list", 3), ("changes", 1)];
    assert_eq!(drive.counts(), counted(&expected), "25 items in pages of 10");
    assert_eq!(source.usage().requests, 5);
    assert_eq!(source.profile().listing, Listing::Flat);
}

#[tokio::test]
async fn a_pass_without_changes_is_one_request() {
    let drive = FakeDrive::start();
    drive.file(ROOT, "file", "x");
    let account = Account::of(&drive);
    let source = account.open(&format!("root!{ROOT}")).await.unwrap();
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    drive.requests();

    let source = account.open(&format!("root!{ROOT}")).await.unwrap();
    let pages = changes(source.as_ref(), token.clone()).await.unwrap();

    assert_eq!(pages.last().unwrap().cursor, Some(token));
    assert_eq!(drive.counts(), counted(&[("changes", 1)]));
}

#[tokio::test]
async fn a_place_is_resolved_to_ids_once_and_opens_without_a_request_after_that() {
    let drive = FakeDrive::start();
    let a = drive.folder(ROOT, "it's \\ a");
    let b = drive.folder(&a, "b");
    let account = Account::of(&drive);

    for (given, stored) in [
        ("root", format!("root!{ROOT}")),
        ("/it's \\ a/b", format!("my!{b}")),
        (b.as_str(), format!("my!{b}")),
    ] {
        let source = account.open(given).await.unwrap();
        let place = String::from_utf8(source.place().unwrap()).unwrap();
        assert_eq!(place, stored);
        drive.requests();
        account.open(&place).await.unwrap();
        assert_eq!(drive.requests(), []);
    }
}

#[tokio::test]
async fn what_names_no_folder_or_several_is_refused_with_the_way_out() {
    let drive = FakeDrive::start();
    let (one, two) = (drive.folder(ROOT, "twin"), drive.folder(ROOT, "twin"));
    let file = drive.file(ROOT, "file.txt", "x");
    let account = Account::of(&drive);
    let refusal = async |place: &str| account.open(place).await.err().unwrap();

    let twins = refusal("/twin").await;
    assert!(matches!(twins, SourceError::Misconfigured { .. }));
    assert!(twins.to_string().contains(&one) && twins.to_string().contains(&two), "{twins}");
    assert!(matches!(refusal(&file).await, SourceError::Misconfigured { .. }));
    assert!(matches!(refusal("/nowhere").await, SourceError::RootMissing { .. }));
    assert!(matches!(refusal("1NoSuchFile").await, SourceError::RootMissing { .. }));
}

#[tokio::test]
async fn a_folder_in_the_trash_or_gone_is_a_missing_root() {
    let drive = FakeDrive::start();
    let folder = drive.folder(ROOT, "a");
    let account = Account::of(&drive);
    let source = account.open(&folder).await.unwrap();
    assert!(source.root().await.is_ok());

    drive.change(&folder, json!({ "trashed": true }));
    assert!(matches!(source.root().await, Err(SourceError::RootMissing { .. })));
    drive.delete(&folder);
    assert!(matches!(source.root().await, Err(SourceError::RootMissing { .. })));
}

#[tokio::test]
async fn files_of_one_name_are_as_many_entries() {
    let drive = FakeDrive::start();
    for content in ["a", "b", "c"] {
        drive.file(ROOT, "same / name", content);
    }
    let source = Account::of(&drive).open("root").await.unwrap();

    let pages = walk(source.as_ref()).await;

    assert_eq!(names(&pages), ["same / name"; 3]);
    let mut contents = Vec::new();
    for entry in pages.iter().flat_map(|page| &page.entries) {
        assert_eq!(entry.parent, Some(id(ROOT)));
        contents.extend(read(source.as_ref(), entry, None).await.unwrap());
    }
    contents.sort_unstable();
    assert_eq!(contents, b"abc");
}

#[tokio::test]
async fn several_folders_are_listed_by_one_request_and_one_by_one_where_nothing_comes() {
    let drive = FakeDrive::start();
    let folders: Vec<EntryId> = (0..3)
        .map(|number| {
            let folder = drive.folder(ROOT, &format!("folder {number}"));
            drive.file(&folder, &format!("file {number}"), "x");
            id(&folder)
        })
        .collect();
    let account = Account::of(&drive);
    let source = account.open(&folders[0].to_json_text()).await.unwrap();
    assert_eq!(source.profile().listing, Listing::ByFolder { at_once: 50 });
    drive.requests();

    let all = ["file 0", "file 1", "file 2"];
    assert_eq!(names(&children(source.as_ref(), &folders).await), all);
    let together = drive.requests().len();
    drive.state().hides_several_parents = true;
    assert_eq!(names(&children(source.as_ref(), &folders).await), all);
    assert_eq!((together, drive.requests().len()), (1, 1 + 3));
}

#[tokio::test]
async fn the_feed_reports_renames_moves_trash_and_folders_and_the_last_report_counts() {
    let drive = FakeDrive::start();
    let folder = drive.folder(ROOT, "folder");
    let renamed = drive.file(&folder, "before", "x");
    let trashed = drive.file(&folder, "trashed", "x");
    let deleted = drive.file(&folder, "deleted", "x");
    let source = Account::of(&drive).open("root").await.unwrap();
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    drive.requests();

    drive.change(&renamed, json!({ "name": "between" }));
    drive.change(&renamed, json!({ "name": "after", "parents": [ROOT] }));
    drive.change(&folder, json!({ "name": "new name" }));
    drive.change(&trashed, json!({ "trashed": true }));
    drive.delete(&deleted);
    let pages = changes(source.as_ref(), token).await.unwrap();

    let [page] = pages.as_slice() else { panic!("{pages:?}") };
    assert_eq!(names(&pages), ["after"]);
    assert_eq!(page.entries[0].parent, Some(id(ROOT)));
    assert_eq!(page.folders[0].name, b"new name");
    assert_eq!(page.removed, [id(&trashed), id(&deleted)]);
    assert_eq!(drive.counts(), counted(&[("changes", 1)]));
}

#[tokio::test]
async fn every_page_of_the_feed_has_the_token_to_go_on_from() {
    let drive = FakeDrive::start();
    let source = Account::of(&drive).open("root").await.unwrap();
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    for number in 0..5 {
        drive.file(ROOT, &format!("file {number}"), "x");
    }
    drive.state().page_size = 2;
    let pages = changes(source.as_ref(), token).await.unwrap();
    assert_eq!(pages.len(), 3);

    for (done, page) in pages.iter().enumerate() {
        let rest = changes(source.as_ref(), page.cursor.clone().unwrap()).await.unwrap();
        let expected: Vec<String> =
            (0..5).skip((done + 1) * 2).map(|number| format!("file {number}")).collect();
        assert_eq!(names(&rest), expected);
    }
}

#[tokio::test]
async fn a_token_of_the_feed_that_is_refused_asks_for_a_full_pass() {
    let drive = FakeDrive::start();
    let source = Account::of(&drive).open("root").await.unwrap();
    let token = source.feed_token(&Shard::whole()).await.unwrap();
    drive.file(ROOT, "file", "x");
    drive.state().forgets_feed_before = 1;
    let error = changes(source.as_ref(), token).await.unwrap_err();
    assert!(matches!(error, SourceError::FeedExpired { .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_token_that_is_refused_begins_the_listing_anew() {
    let drive = FakeDrive::start();
    drive.file(ROOT, "file", "x");
    let source = Account::of(&drive).open("root").await.unwrap();
    let from = Some(Cursor(b"dead".to_vec()));
    let pages: Vec<Page> = source.walk(&Shard::whole(), from).try_collect().await.unwrap();
    assert_eq!(names(&pages), ["file"]);
}

#[tokio::test]
async fn a_query_of_ones_own_finds_files_in_folders_that_it_does_not_match() {
    let drive = FakeDrive::start();
    let folder = drive.folder(ROOT, "folder");
    drive.file(&folder, "wanted", "x");
    drive.file(&folder, "other", "x");
    let filters = json!({ "q": "name = 'wanted' or name = 'also'" });
    let source = Account::of(&drive).open_with("root", filters).await.unwrap();

    let pages = walk(source.as_ref()).await;

    assert_eq!(names(&pages), ["wanted"]);
    assert_eq!(pages.iter().flat_map(|page| &page.folders).count(), 1);
    assert!(!source.profile().has_feed, "a query is not in the feed");
}

#[tokio::test]
async fn a_drive_that_lets_one_request_of_ten_through_is_read_whole() {
    let drive = FakeDrive::start();
    for number in 0..5 {
        drive.file(ROOT, &format!("file {number}"), format!("content {number}"));
    }
    let source = Account::of(&drive).open("root").await.unwrap();
    drive.state().throttles = true;

    let pages = walk(source.as_ref()).await;
    for entry in pages.iter().flat_map(|page| &page.entries) {
        assert_eq!(read(source.as_ref(), entry, None).await.unwrap().len(), 9);
    }

    let usage = source.usage();
    assert_eq!(usage.rate_limit_hits, 6 * 9, "six requests, each the tenth");
}

#[tokio::test]
async fn an_access_token_that_expires_is_renewed_once_and_a_sign_in_that_ended_says_so() {
    let drive = FakeDrive::start();
    drive.file(ROOT, "file", "content");
    let source = Account::of(&drive).open("root").await.unwrap();
    let pages = walk(source.as_ref()).await;
    drive.expire_token();
    drive.requests();

    let entry = &pages[0].entries[0];
    assert_eq!(read(source.as_ref(), entry, None).await.unwrap(), b"content");
    let statuses: Vec<u16> = drive.requests().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [401, 200]);

    drive.expire_token();
    drive.state().refuse_sign_in = Some("invalid_grant");
    let error = read(source.as_ref(), entry, None).await.unwrap_err();
    assert!(error.class().ends_run(), "{error:?}");
    assert!(error.to_string().contains("sign in again"), "{error}");
}

#[tokio::test]
async fn documents_are_exported_and_beyond_ten_megabytes_by_link_or_as_a_prepared_download() {
    let drive = FakeDrive::start();
    let add = |name: &str| drive.add(ROOT, name, json!({ "mimeType": DOCUMENT }), name.into());
    let small = add("small");
    for (name, large) in
        [("link", Large::ByLink), ("operation", Large::ByOperation), ("never", Large::NotAtAll)]
    {
        let id = add(name);
        drive.state().large.insert(id, large);
    }
    let source = Account::of(&drive).open("root").await.unwrap();
    let pages = walk(source.as_ref()).await;
    assert_eq!(names(&pages), ["link.docx", "never.docx", "operation.docx", "small.docx"]);

    for entry in pages.iter().flat_map(|page| &page.entries) {
        let name = entry.path.to_json_text().replace(".docx", "");
        let outcome = read(source.as_ref(), entry, None).await;
        match name.as_str() {
            "never" => assert!(matches!(outcome, Err(SourceError::TooLarge { .. }))),
            name => assert_eq!(outcome.unwrap(), name.as_bytes()),
        }
    }
    drive.state().faults.push(("export", 1, 403, "cannotExportFile"));
    let small = pages[0].entries.iter().find(|entry| entry.id == id(&small)).unwrap();
    let error = read(source.as_ref(), small, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Unsupported { .. }), "{error:?}");
}

#[tokio::test]
async fn ranges_are_those_bytes_and_empty_files_take_no_request() {
    let drive = FakeDrive::start();
    drive.file(ROOT, "digits", "0123456789");
    drive.file(ROOT, "empty", "");
    let source = Account::of(&drive).open("root").await.unwrap();
    let pages = walk(source.as_ref()).await;
    let entry = |name: &str| {
        pages[0].entries.iter().find(|entry| entry.path.to_json_text() == name).unwrap()
    };
    drive.requests();

    let range = Some(ByteRange { start: 3, len: 4 });
    assert_eq!(read(source.as_ref(), entry("digits"), range).await.unwrap(), b"3456");
    assert_eq!(read(source.as_ref(), entry("empty"), None).await.unwrap(), b"");
    assert_eq!(drive.counts(), counted(&[("download", 1)]));

    let digits = entry("digits").id.to_json_text();
    drive.state().files.get_mut(&digits).unwrap().content = b"0123456789ab".to_vec();
    let error = read(source.as_ref(), entry("digits"), range).await.unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_missing_is_asked_for_by_hundreds_and_only_what_is_gone_or_trashed_counts_as_gone()
{
    let drive = FakeDrive::start();
    let mut ids: Vec<EntryId> =
        (0..203).map(|number| id(&drive.file(ROOT, &format!("{number}"), "x"))).collect();
    let source = Account::of(&drive).open("root").await.unwrap();
    drive.delete(&ids[0].to_json_text());
    drive.change(&ids[150].to_json_text(), json!({ "trashed": true }));
    drive.requests();

    let Absence::LookUp { at_once } = source.profile().absence else { panic!("it is looked up") };
    let (mut gone, mut there) = (Vec::new(), Vec::new());
    for some in ids.chunks(at_once) {
        let page = source.by_ids(some).await.unwrap();
        gone.extend(page.removed);
        there.extend(page.entries.into_iter().map(|entry| entry.id));
    }

    assert_eq!(gone, [ids.remove(0), ids.remove(149)]);
    assert_eq!(there, ids);
    assert_eq!(drive.counts(), counted(&[("batch", 3)]));
}

#[tokio::test]
async fn what_has_no_bytes_is_left_out_with_the_reason() {
    let drive = FakeDrive::start();
    let add =
        |name: &str, mime: &str| drive.add(ROOT, name, json!({ "mimeType": mime }), Vec::new());
    add("form", "application/vnd.google-apps.form");
    add("shortcut", SHORTCUT);
    let source = Account::of(&drive).open("root").await.unwrap();
    let pages = walk(source.as_ref()).await;
    let kinds: Vec<&EntryKind> = pages[0].entries.iter().map(|entry| &entry.kind).collect();
    assert_eq!(
        kinds,
        [&EntryKind::Skipped(SkipReason::NoContent), &EntryKind::Skipped(SkipReason::Shortcut)]
    );
}

#[tokio::test]
async fn what_is_shared_with_the_account_is_a_place_of_its_own() {
    let drive = FakeDrive::start();
    let shared = json!({ "mimeType": FOLDER, "sharedWithMeTime": "2026-01-01T00:00:00Z" });
    let folder = drive.add("", "shared folder", shared, Vec::new());
    drive.file(&folder, "file", "x");
    drive.file(ROOT, "my own", "x");
    let source = Account::of(&drive).open("/Shared with me").await.unwrap();

    let root = source.profile().roots[0].id.clone();
    let top = children(source.as_ref(), std::slice::from_ref(&root)).await;
    assert_eq!(top[0].folders[0].parent, Some(root));
    let below = children(source.as_ref(), &[top[0].folders[0].id.clone()]).await;
    assert_eq!(names(&below), ["file"]);
}

#[tokio::test]
async fn a_shared_drive_is_listed_by_itself() {
    let drive = FakeDrive::start();
    let shared = "0ASharedDrive";
    drive.add(shared, "shared", json!({ "driveId": shared, "size": "0" }), Vec::new());
    drive.file(ROOT, "my own", "x");
    let account = Account::of(&drive);
    let filters = json!({ "shared_drive_id": shared });
    let source = account.open_with("root", filters).await.unwrap();

    assert_eq!(names(&walk(source.as_ref()).await), ["shared"]);
    let requests = drive.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].query["corpora"], "drive");
    assert_eq!(requests[0].query["driveId"], shared);
}

#[tokio::test]
async fn people_look_around_by_ids_from_all_drives_down() {
    let drive = FakeDrive::start();
    drive.state().drives = (0..12).map(|n| (format!("0ADrive{n}"), format!("Team {n}"))).collect();
    let folder = drive.folder(ROOT, "folder");
    drive.file(&folder, "file", "content");
    let account = Account::of(&drive);
    let level = async |path: &str, wanted| {
        let place = String::from_utf8(GoogleDrive.browsed(path).unwrap()).unwrap();
        account.open(&place).await.unwrap().browse(wanted, 100).await.unwrap()
    };

    let top = level("/", ItemKind::Folders).await;
    assert_eq!(top.items.len(), 2 + 12, "every shared drive");
    let mine = level("/My Drive", ItemKind::Folders).await;
    assert_eq!(mine.items[0].id.as_deref(), Some(folder.as_str()));
    for path in [folder.as_str(), "/My Drive/folder"] {
        let files = level(path, ItemKind::Files).await;
        assert_eq!((files.items.len(), files.items[0].size), (1, Some(7)));
    }
    let source = account.open(&String::from_utf8(GoogleDrive.root()).unwrap()).await.unwrap();
    let found = GoogleDrive.test(source.as_ref()).await.unwrap();
    assert!(found.contains("me@example.org"), "{found}");
    assert!(GoogleDrive.place("/", std::path::Path::new("")).is_ok());
}
