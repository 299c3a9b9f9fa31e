//! What the tests of the source share: a library that is opened without a server.

use std::{sync::Arc, time::Duration};

use catchment::{
    clock::SystemClock,
    config::SourceTuning,
    model::{
        Connection, Credentials, Cursor, Entry, EntryId, EntryKind, EntryPath, Fingerprint,
        Location, ProviderName, Shard, SyncOptions,
    },
    sources::{
        Body, ByteRange, Opener as _, Outline, Page, Placed, Registry, Source, SourceError,
        http::Budgets, oauth::Grants,
    },
};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::fake::{APP_ID, AUTH_TOKEN, FakeIconik};

/// Opens a place with settings of the connection and filters of the sync.
pub async fn open_with(
    fake: &FakeIconik,
    place: &str,
    settings: Value,
    filters: Value,
) -> Result<Arc<dyn Source>, SourceError> {
    // As fast as it goes, but where a test says otherwise.
    let mut config = json!({ "base_url": fake.url(), "rate_limit_rps": 100_000 });
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let stored = json!({ "config": config, "credentials": "app_token" });
    let location = Location {
        connection: Connection {
            provider: ProviderName::new("iconik"),
            settings: stored.as_object().unwrap().clone(),
        },
        source_path: place.as_bytes().to_vec(),
    };
    let credentials = json!({ "type": "app_token", "app_id": APP_ID, "auth_token": AUTH_TOKEN });
    let credentials = Credentials::from_json(credentials.to_string());
    let options = SyncOptions {
        provider_filters: filters.as_object().unwrap().clone(),
        ..SyncOptions::default()
    };
    let tuning = SourceTuning {
        clock: Arc::new(SystemClock),
        quiet_period: Duration::ZERO,
        own_folders: Vec::new(),
        hosts: Arc::default(),
        grants: Grants::default(),
        budgets: Budgets::default(),
        closings: catchment::sources::closings::Closings::default(),
    };
    Registry.open(&location, Some(&credentials), &options, &tuning).await
}

/// Opens a place.
pub async fn open(fake: &FakeIconik, place: &str) -> Arc<dyn Source> {
    open_with(fake, place, json!({}), json!({})).await.unwrap()
}

pub fn id(text: &str) -> EntryId {
    EntryPath::new(text.as_bytes())
}

/// The pages of a walk over all shards.
pub async fn walk(source: &dyn Source) -> Vec<Page> {
    let mut pages = Vec::new();
    for shard in source.shards() {
        let walked: Vec<Page> = source.walk(&shard, None).try_collect().await.unwrap();
        pages.extend(walked);
    }
    pages
}

pub fn outlines(pages: &[Page]) -> Vec<Outline> {
    pages.iter().flat_map(|page| page.outlines.clone()).collect()
}

/// Ids of what was outlined, sorted.
pub fn ids(pages: &[Page]) -> Vec<String> {
    let mut ids: Vec<String> =
        outlines(pages).iter().map(|outline| outline.id.to_json_text()).collect();
    ids.sort();
    ids
}

/// In the first of its folders, at the root.
pub fn placed(outline: &Outline) -> Placed {
    let folder = outline.folders[0].clone();
    Placed { folder, path: EntryPath::new(Vec::new()), others: Vec::new() }
}

/// The entries of an asset, expanded from its outline.
pub async fn expand(source: &dyn Source, asset: &str) -> Vec<Entry> {
    let pages = walk(source).await;
    let outline = outlines(&pages).into_iter().find(|outline| outline.id == id(asset)).unwrap();
    source.expand(&outline, &placed(&outline)).await.unwrap()
}

/// What the feed of all shards reports from a token on, and the token behind it.
pub async fn changes(
    source: &dyn Source,
    from: Cursor,
) -> Result<(Vec<Page>, Cursor), SourceError> {
    let shard = source.shards().remove(0);
    let pages: Vec<Page> = source.changes(&shard, from.clone()).try_collect().await?;
    let token = pages.iter().rev().find_map(|page| page.cursor.clone()).unwrap_or(from);
    Ok((pages, token))
}

/// The token behind a full pass in which every asset is expanded.
pub async fn token_after_walk(source: &dyn Source) -> Cursor {
    let shard = source.shards().remove(0);
    let token = source.feed_token(&shard).await.unwrap();
    for outline in outlines(&walk(source).await) {
        source.expand(&outline, &placed(&outline)).await.unwrap();
    }
    changes(source, token).await.unwrap().1
}

pub fn file(entry: &Entry) -> &Fingerprint {
    match &entry.kind {
        EntryKind::File(fingerprint) => fingerprint,
        other => panic!("{other:?}"),
    }
}

pub async fn read(
    source: &dyn Source,
    entry: &Entry,
    range: Option<ByteRange>,
) -> Result<Vec<u8>, SourceError> {
    let Body::Stream(stream) = source.fetch(&entry.id, file(entry), range).await?.body else {
        panic!("a stream");
    };
    let parts: Vec<bytes::Bytes> = stream.try_collect().await?;
    Ok(parts.concat())
}

pub fn whole() -> Shard {
    Shard::whole()
}
