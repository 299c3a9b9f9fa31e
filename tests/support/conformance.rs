//! What the engine relies on, as functions that every source passes: an in-memory source, folders,
//! S3, and each provider that comes.
//!
//! One of the files is `large`; where entries get an extension, that too.
//!
//! A test makes a place with known files, opens its source, and calls these.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "written like a library, for its readers")]

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use catchment::{
    model::{Cursor, Entry, EntryKind, EntryPath, Fingerprint, Folder, FolderId, Shard},
    sources::{
        Absence, BlockingRead, Body, ByteRange, ErrorClass, Listing, Page, Placed, Source,
        SourceError, VersionMatch,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _};

/// The files of a place, by their paths.
pub type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// A source that stands still for longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files for a place: enough for several pages, in folders, one of them empty, one of some size.
pub fn files() -> Files {
    let mut files = Files::new();
    for number in 0..25 {
        let path = format!("folder {}/file {number:02}", number % 3);
        files.insert(path.into_bytes(), format!("content {number}").into_bytes());
    }
    files.insert(b"empty".to_vec(), Vec::new());
    files.insert(b"large".to_vec(), (0..100_000u32).map(|n| (n % 251) as u8).collect());
    files
}

async fn pages(source: &dyn Source, shard: &Shard, from: Option<Cursor>) -> Vec<Page> {
    let walk = source.walk(shard, from).try_collect();
    let mut pages: Vec<Page> =
        tokio::time::timeout(PATIENCE, walk).await.expect("a listing that ends").unwrap();
    for page in &mut pages {
        expand(source, page).await;
    }
    pages
}

/// What a page outlines, expanded as if none of it was known.
async fn expand(source: &dyn Source, page: &mut Page) {
    for outline in std::mem::take(&mut page.outlines) {
        let folder = outline.folders[0].clone();
        let placed = Placed { folder, path: EntryPath::new(Vec::new()), others: Vec::new() };
        page.entries.extend(source.expand(&outline, &placed).await.unwrap());
    }
}

/// Every file that is listed, the last occurrence of each, by its path.
async fn listed(source: &dyn Source) -> BTreeMap<Vec<u8>, Entry> {
    let mut all = Vec::new();
    for shard in source.shards() {
        match source.profile().listing {
            Listing::Flat => all.extend(pages(source, &shard, None).await),
            Listing::ByFolder { at_once } => all.extend(below(source, &shard, at_once).await),
        }
    }
    let folders = all.iter().flat_map(|page| page.folders.clone());
    let folders: BTreeMap<_, _> = folders.map(|folder| (folder.id.clone(), folder)).collect();
    let mut listed = BTreeMap::new();
    for page in all {
        assert!(page.unlisted.is_empty(), "{:?}", page.unlisted);
        for entry in page.entries {
            listed.extend(path_of(source, &folders, &entry).map(|path| (path, entry)));
        }
    }
    listed
}

/// The folders of a source, by their ids.
type Folders = BTreeMap<FolderId, Folder>;

/// All that is below the roots of a source that is listed folder after folder.
async fn below(source: &dyn Source, shard: &Shard, at_once: usize) -> Vec<Page> {
    let roots = source.profile().roots.into_iter();
    let mut waiting: VecDeque<FolderId> = roots.map(|root| root.id).collect();
    let mut all: Vec<Page> = Vec::new();
    while !waiting.is_empty() {
        let some: Vec<FolderId> = waiting.drain(..at_once.min(waiting.len())).collect();
        let found: Vec<Page> = source.children(shard, &some).try_collect().await.unwrap();
        let folders = found.iter().flat_map(|page| &page.folders);
        waiting.extend(folders.map(|folder| folder.id.clone()));
        all.extend(found);
    }
    all
}

/// The path of an entry from the root; `None` where it is below none.
fn path_of(source: &dyn Source, folders: &Folders, entry: &Entry) -> Option<Vec<u8>> {
    let mut path = entry.path.as_bytes().to_vec();
    let mut at = entry.parent.clone();
    let roots = source.profile().roots;
    while let Some(id) = at.filter(|id| roots.iter().all(|root| root.id != *id)) {
        let folder = folders.get(&id)?;
        path = [&folder.name, &b"/"[..], &path].concat();
        at = Some(folder.parent.clone()?);
    }
    Some(path)
}

/// The file called `large`, whatever its extension.
fn large<T>(files: &BTreeMap<Vec<u8>, T>) -> &T {
    files.iter().find(|(path, _)| path.starts_with(b"large")).expect("a large file").1
}

/// The large file, as if its bytes had not come with the listing.
fn large_without_bytes(listed: &BTreeMap<Vec<u8>, Entry>) -> Entry {
    let mut entry = large(listed).clone();
    if let EntryKind::File(Fingerprint { details: Some(details), .. }) = &mut entry.kind {
        details.bytes = None;
    }
    entry
}

fn file(entry: &Entry) -> &Fingerprint {
    match &entry.kind {
        EntryKind::File(fingerprint) => fingerprint,
        other => panic!("{:?} is no file: {other:?}", entry.path),
    }
}

/// The bytes of an entry, however they come.
pub async fn read(
    source: &dyn Source,
    entry: &Entry,
    range: Option<ByteRange>,
) -> Result<Vec<u8>, SourceError> {
    let fetch = async {
        match source.fetch(&entry.id, file(entry), range).await?.body {
            Body::Stream(mut stream) => {
                let mut all = Vec::new();
                while let Some(bytes) = stream.next().await {
                    all.extend_from_slice(&bytes?);
                }
                Ok(all)
            }
            Body::Blocking(reader) => {
                tokio::task::spawn_blocking(move || drain(reader)).await.unwrap()
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.expect("a fetch that ends")
}

fn drain(mut reader: Box<dyn BlockingRead>) -> Result<Vec<u8>, SourceError> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 7000]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Everything that is there is listed, with its size, and nothing else is.
pub async fn lists_everything(source: &dyn Source, files: &Files) {
    let listed = listed(source).await;
    assert_eq!(listed.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    for (path, entry) in &listed {
        if let Some(size) = file(entry).known_size() {
            assert_eq!(size, files[path].len() as u64, "{:?}", entry.path);
        }
    }
}

/// The order is bytewise by path, for sources that promise that by their cursors.
pub async fn lists_in_order(source: &dyn Source) {
    for shard in source.shards() {
        let entries = pages(source, &shard, None).await.into_iter().flat_map(|page| page.entries);
        let paths: Vec<Vec<u8>> = entries.map(|entry| entry.path.as_bytes().to_vec()).collect();
        assert!(paths.is_sorted(), "{paths:?}");
    }
}

/// From the cursor of every page, the rest is listed: nothing of it is left out.
pub async fn resumes_from_every_cursor(source: &dyn Source) {
    let ids = |pages: &[Page]| -> Vec<Vec<u8>> {
        let entries = pages.iter().flat_map(|page| &page.entries);
        entries.map(|entry| entry.id.as_bytes().to_vec()).collect()
    };
    let mut resumed = 0;
    for shard in source.shards() {
        let all = pages(source, &shard, None).await;
        for (done, page) in all.iter().enumerate() {
            let Some(cursor) = page.cursor.clone() else { continue };
            let rest = ids(&pages(source, &shard, Some(cursor)).await);
            for id in ids(&all[done + 1..]) {
                assert!(rest.contains(&id), "{id:?} is left out behind page {done}");
            }
            resumed += 1;
        }
    }
    assert!(resumed > 0, "no page has a cursor, so nothing was tried");
}

/// Two listings of a place that has not changed are the same, versions and all.
pub async fn lists_the_same_twice(source: &dyn Source) {
    assert_eq!(listed(source).await, listed(source).await);
}

/// An entry that is looked at again is as it was listed.
pub async fn looks_again_as_it_lists(source: &dyn Source) {
    for (_, entry) in listed(source).await {
        let again = source.stat(&entry.id).await.unwrap().expect("an entry that is there");
        assert_eq!(again.id, entry.id);
        assert_eq!(file(&again).version, file(&entry).version, "{:?}", entry.path);
    }
}

/// Every file is read whole.
pub async fn reads_whole_files(source: &dyn Source, files: &Files) {
    for (path, entry) in listed(source).await {
        assert_eq!(read(source, &entry, None).await.unwrap(), files[&path], "{:?}", entry.path);
    }
}

/// A range is exactly those bytes.
pub async fn reads_ranges(source: &dyn Source, files: &Files) {
    let listed = listed(source).await;
    let (entry, content) = (large(&listed), large(files));
    let size = content.len();
    for (start, len) in [(0, 1), (0, size), (1, 50_000), (size - 1, 1), (33_333, 33_333)] {
        let range = Some(ByteRange { start: start as u64, len: len as u64 });
        let read = read(source, entry, range).await.unwrap();
        assert!(read == content[start..start + len], "{len} bytes from {start}");
    }
}

/// What was changed after it was listed is refused as changed, never mixed; `change` writes other
/// bytes of the same length.
pub async fn refuses_what_has_changed(source: &dyn Source, change: impl FnOnce()) {
    let listed = listed(source).await;
    let entry = large_without_bytes(&listed);
    change();
    let error = read(source, &entry, None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Reread, "{error:?}");
}

/// What was removed after it was listed is gone, when it is fetched and when it is looked at.
pub async fn tells_what_is_gone(source: &dyn Source, remove: impl FnOnce()) {
    let listed = listed(source).await;
    let entry = large_without_bytes(&listed);
    remove();
    let error = read(source, &entry, None).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Gone, "{error:?}");
    assert_eq!(source.stat(&entry.id).await.unwrap(), None);
    assert_eq!(source.stat(&EntryPath::new(b"never there".as_slice())).await.unwrap(), None);
}

/// Bytes that were changed after they were listed do not have the hash that was listed; `change`
/// writes other bytes of the same length. For sources that cannot pin a version.
pub async fn lists_have_hashes_that_show_what_has_changed(
    source: &dyn Source,
    change: impl FnOnce(),
) {
    let before = listed(source).await;
    change();
    let after = listed(source).await;
    let of = |listed: &BTreeMap<Vec<u8>, Entry>| {
        let file = file(&listed[&b"large"[..]]).clone();
        (file.version, file.details.unwrap().hashes)
    };
    let ((version, hashes), (other, others)) = (of(&before), of(&after));
    assert!(!hashes.is_empty() && hashes != others, "{hashes:?}");
    assert_ne!(source.compare(&version.0, &other), VersionMatch::Same);
}

/// What a feed reports from a token on: entries that were added, changed and moved, and what is
/// gone; and from its last token on, nothing. `change` adds `new` to the root and removes `empty`.
pub async fn reports_what_has_changed(source: &dyn Source, change: impl FnOnce()) {
    let shard = source.shards().remove(0);
    let token = source.feed_token(&shard).await.unwrap();
    let _: Vec<Page> = pages(source, &shard, None).await;
    let reported = |from: Cursor| async {
        let changes: Vec<Page> = source.changes(&shard, from).try_collect().await.unwrap();
        assert!(changes.iter().all(|page| page.cursor.is_some()), "a page without a token");
        changes
    };
    let token = reported(token).await.pop().unwrap().cursor.unwrap();
    let gone = listed(source).await[&b"empty"[..]].id.clone();
    change();
    let changes = reported(token).await;
    let names = changes.iter().flat_map(|page| &page.entries).map(|entry| entry.path.as_bytes());
    assert_eq!(names.collect::<Vec<_>>(), [b"new"]);
    assert!(changes.iter().any(|page| page.removed.contains(&gone)));
    let token = changes.last().unwrap().cursor.clone().unwrap();
    let nothing = reported(token).await;
    let is_empty =
        |page: &Page| page.entries.is_empty() && page.folders.is_empty() && page.removed.is_empty();
    assert!(nothing.iter().all(is_empty), "{nothing:?}");
}

/// Of entries that are asked for, exactly those that are there exist.
pub async fn knows_what_exists(source: &dyn Source, remove: impl FnOnce()) {
    let listed = listed(source).await;
    let gone = listed[&b"large"[..]].id.clone();
    let ids: Vec<_> = listed.values().map(|entry| entry.id.clone()).collect();
    remove();
    let absence = source.profile().absence;
    let mut existing = Vec::new();
    for some in ids.chunks(absence.at_once().expect("it is asked")) {
        match absence {
            Absence::LookUp { .. } => {
                let Page { removed, .. } = source.by_ids(some).await.unwrap();
                existing.extend(some.iter().filter(|id| !removed.contains(id)).cloned());
            }
            _ => existing.extend(source.existing(some).await.unwrap()),
        }
    }
    let expected: Vec<_> = ids.into_iter().filter(|id| *id != gone).collect();
    assert_eq!(existing, expected);
}

/// A root that is not there fails everything, as a connection's failure and not as an empty
/// listing.
pub async fn a_missing_root_is_no_empty_listing(source: &dyn Source) {
    let error = source.probe().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Connection, "{error:?}");
    let shard = source.shards().remove(0);
    let walked: Result<Vec<Page>, _> = source.walk(&shard, None).try_collect().await;
    let error = walked.expect_err("no listing");
    assert_eq!(error.class(), ErrorClass::Connection, "{error:?}");
}

/// A listing and a fetch that are dropped midway leave the source as it was.
pub async fn survives_being_dropped(source: &dyn Source, files: &Files) {
    let shard = source.shards().remove(0);
    drop(source.walk(&shard, None).next().await);
    let listed = listed(source).await;
    let entry = large(&listed);
    drop(source.fetch(&entry.id, file(entry), None).await.unwrap());
    lists_everything(source, files).await;
    assert_eq!(read(source, entry, None).await.unwrap(), *large(files));
}
