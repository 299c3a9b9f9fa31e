//! Iconik as far as a media library goes, an imitation written from its public OpenAPI documents
//! (<https://app.iconik.io/docs/reference.html>), failing on demand: a search that is sorted and
//! continued behind its last object, files that are asked for by asset, downloads from the host of
//! a storage by pre-signed addresses, rate limits. Everything that is asked is written down. Our
//! headers at the storage's host are a leak, and are remembered as one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::support::wire::{Answer, Reply, Request, Wire, decode};

/// What the imitation lets in.
pub const APP_ID: &str = "app-of-the-tests";
pub const AUTH_TOKEN: &str = "canary-token-of-the-tests";
/// The view of metadata that it has.
pub const VIEW: &str = "0e0b7a1a-0000-11ee-8000-000000000001";

/// A running Iconik; it stops when dropped.
pub struct FakeIconik {
    api: Wire,
    /// Kept for its end.
    _storage: Wire,
    state: Arc<Mutex<State>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `search`, `collections`, `files`, `proxies`, `keyframes`, `keyframe`, `formats`,
    /// `download_url`, `asset`,
    /// `collection`, `contents`, `view`, `metadata` or `download`.
    pub kind: &'static str,
    pub target: String,
    /// The body, where it is JSON.
    pub body: Value,
    pub status: u16,
    pub at: Instant,
}

/// A file of an asset.
#[derive(Clone, Debug)]
pub struct Media {
    pub id: String,
    pub name: String,
    pub bytes: Vec<u8>,
    pub status: &'static str,
    /// Of the ORIGINAL format, or another.
    pub format: &'static str,
    pub has_checksum: bool,
    /// Added to the size that is told.
    pub size_lie: i64,
}

/// An asset.
#[derive(Clone, Debug)]
pub struct Asset {
    pub id: String,
    pub title: String,
    pub kind: &'static str,
    pub status: &'static str,
    pub media_type: &'static str,
    pub archive_status: &'static str,
    pub date_modified: String,
    pub in_collections: Vec<String>,
    pub metadata: Map<String, Value>,
    pub files: Vec<Media>,
    pub proxies: Vec<Media>,
    pub keyframes: Vec<Media>,
    pub formats_archived: bool,
    /// Whether its storage is reachable.
    pub is_online: bool,
    /// Purged: nothing knows it any more.
    pub is_purged: bool,
}

#[derive(Default)]
struct State {
    assets: BTreeMap<String, Asset>,
    collections: BTreeMap<String, (String, Option<String>)>,
    storage_url: String,
    number: u64,
    /// Objects of a page at most.
    page_limit: usize,
    /// Whether the search tells files, formats and proxies.
    search_has_files: bool,
    /// Assets that the search knows as they were: the index is late.
    late: BTreeMap<String, Option<Asset>>,
    /// Whether the search knows nothing at all.
    index_is_empty: bool,
    seen: Vec<Seen>,
    faults: Vec<Fault>,
    leaks: u32,
    /// Pre-signed addresses that are good: ticket to bytes and entity tag.
    tickets: BTreeMap<String, (String, String)>,
    ignores_range: bool,
    /// Requests that are let through in a second and in 20 seconds.
    windows: Option<(usize, usize)>,
    remaining: Option<u64>,
    token_is_refused: bool,
}

struct Fault {
    kind: &'static str,
    skip: usize,
    times: usize,
    reply: Box<dyn Fn() -> Reply + Send>,
}

impl Asset {
    /// The main file.
    pub fn file(&mut self) -> &mut Media {
        &mut self.files[0]
    }
}

impl FakeIconik {
    /// One with nothing in it.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State { page_limit: 1000, ..State::default() }));
        let shared = Arc::clone(&state);
        let storage = Wire::serve(move |request| download(&mut shared.lock().unwrap(), request));
        state.lock().unwrap().storage_url = storage.url();
        let shared = Arc::clone(&state);
        let api = Wire::serve(move |request| answer(&mut shared.lock().unwrap(), request));
        Self { api, _storage: storage, state }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.api.url()
    }

    /// Adds a collection; returns its id.
    pub fn collection(&self, title: &str, parent: Option<&str>) -> String {
        let mut state = self.lock();
        let id = state.new_id();
        state.collections.insert(id.clone(), (title.to_owned(), parent.map(str::to_owned)));
        id
    }

    /// Renames a collection.
    pub fn rename_collection(&self, id: &str, title: &str) {
        self.lock().collections.get_mut(id).unwrap().0 = title.to_owned();
    }

    /// Removes a collection.
    pub fn delete_collection(&self, id: &str) {
        self.lock().collections.remove(id);
    }

    /// Adds an asset with one file; returns its id.
    pub fn asset(&self, name: &str, collections: &[&str], bytes: impl Into<Vec<u8>>) -> String {
        let mut state = self.lock();
        let (id, file) = (state.new_id(), state.new_id());
        let date_modified = state.date();
        let title = name.split('.').next().unwrap_or(name).to_owned();
        let asset = Asset {
            id: id.clone(),
            title,
            kind: "ASSET",
            status: "ACTIVE",
            media_type: if name.ends_with(".jpg") { "image" } else { "video" },
            archive_status: "NOT_ARCHIVED",
            date_modified,
            in_collections: collections.iter().map(|id| (*id).to_owned()).collect(),
            metadata: Map::new(),
            files: vec![Media::new(&file, name, bytes)],
            proxies: Vec::new(),
            keyframes: Vec::new(),
            formats_archived: false,
            is_online: true,
            is_purged: false,
        };
        state.assets.insert(id.clone(), asset);
        id
    }

    /// An id for a file of the test's own.
    pub fn new_id(&self) -> String {
        self.lock().new_id()
    }

    /// Changes an asset, which dates it anew.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Asset)) {
        let mut state = self.lock();
        let date = state.date();
        let asset = state.assets.get_mut(id).unwrap();
        asset.date_modified = date;
        change(asset);
    }

    /// Changes an asset without dating it anew.
    pub fn change_silently(&self, id: &str, change: impl FnOnce(&mut Asset)) {
        change(self.lock().assets.get_mut(id).unwrap());
    }

    /// All assets.
    pub fn assets(&self) -> Vec<Asset> {
        self.lock().assets.values().cloned().collect()
    }

    /// Lets the search know an asset as it is now, or not at all, until [`FakeIconik::catch_up`].
    pub fn lag(&self, id: &str, knows: bool) {
        let mut state = self.lock();
        let asset = state.assets[id].clone();
        state.late.insert(id.to_owned(), knows.then_some(asset));
    }

    /// The search knows everything.
    pub fn catch_up(&self) {
        self.lock().late.clear();
    }

    /// Lets the search know nothing, or everything again.
    pub fn rebuild_index(&self, is_empty: bool) {
        self.lock().index_is_empty = is_empty;
    }

    /// How many objects a page has at most.
    pub fn page_limit(&self, objects: usize) {
        self.lock().page_limit = objects;
    }

    /// Whether the search tells files, formats and proxies.
    pub fn search_has_files(&self) {
        self.lock().search_has_files = true;
    }

    /// Answers 200 with the whole file to a range.
    pub fn ignore_range(&self) {
        self.lock().ignores_range = true;
    }

    /// Lets every pre-signed address that was given expire.
    pub fn expire_downloads(&self) {
        self.lock().tickets.clear();
    }

    /// Refuses the token from now on.
    pub fn refuse_token(&self, is_refused: bool) {
        self.lock().token_is_refused = is_refused;
    }

    /// Lets through so many requests in a second and in 20 seconds; others get 429.
    pub fn limit(&self, per_second: usize, per_20_seconds: usize) {
        self.lock().windows = Some((per_second, per_20_seconds));
    }

    /// What `RateLimit-Remaining` says, of 50.
    pub fn remaining(&self, remaining: u64) {
        self.lock().remaining = Some(remaining);
    }

    /// Fails the next requests of a kind with an error.
    pub fn fail(&self, kind: &'static str, status: u16, times: usize) {
        self.fail_after(kind, 0, times, move || error(status).into());
    }

    /// Fails requests of a kind, once some have passed.
    pub fn fail_after(
        &self,
        kind: &'static str,
        skip: usize,
        times: usize,
        reply: impl Fn() -> Reply + Send + 'static,
    ) {
        self.lock().faults.push(Fault { kind, skip, times, reply: Box::new(reply) });
    }

    /// What was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// How often each kind was asked.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for seen in &self.lock().seen {
            *counts.entry(seen.kind).or_default() += 1;
        }
        counts
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.lock().seen.clear();
    }

    /// How often our headers went to the storage's host.
    pub fn leaks(&self) -> u32 {
        self.lock().leaks
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Media {
    /// A file that is there.
    pub fn new(id: &str, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            bytes: bytes.into(),
            status: "CLOSED",
            format: "ORIGINAL",
            has_checksum: true,
            size_lie: 0,
        }
    }

    fn size(&self) -> i64 {
        self.bytes.len() as i64 + self.size_lie
    }
}

impl State {
    fn new_id(&mut self) -> String {
        self.number += 1;
        format!("{:08x}-0000-11ee-8000-0000000000ff", self.number)
    }

    /// A date that is later than every one before.
    fn date(&mut self) -> String {
        self.number += 1;
        let (minutes, seconds) = (self.number / 60 % 60, self.number % 60);
        format!("2026-05-01T{:02}:{minutes:02}:{seconds:02}.000000+00:00", self.number / 3600)
    }

    fn file_json(asset: &Asset, file: &Media) -> Value {
        json!({
            "id": file.id, "asset_id": asset.id, "name": file.name, "original_name": file.name,
            "status": file.status, "type": "FILE", "size": file.size(),
            "checksum": file.has_checksum.then(|| md5(&file.bytes)),
            "format_id": format_id(asset, file.format), "version_id": format!("v-{}", asset.id),
            "directory_path": "", "file_set_id": format!("set-{}", asset.id),
            "storage_id": "storage-1", "storage_method": "S3",
            "file_date_created": "2025-01-02T03:04:05+00:00",
            "file_date_modified": "2025-06-07T08:09:10+00:00",
            "date_created": asset.date_modified, "date_modified": asset.date_modified,
        })
    }

    fn proxy_json(asset: &Asset, proxy: &Media) -> Value {
        json!({
            "id": proxy.id, "asset_id": asset.id, "name": proxy.name, "filename": proxy.name,
            "status": proxy.status, "size": proxy.size(), "format": "mp4", "codec": "h264",
            "resolution": { "width": 1280, "height": 720 }, "storage_id": "storage-1",
            "storage_method": "S3", "version_id": format!("v-{}", asset.id),
        })
    }

    fn keyframe_json(asset: &Asset, frame: &Media) -> Value {
        json!({
            "id": frame.id, "asset_id": asset.id, "name": frame.name, "filename": frame.name,
            "status": frame.status, "size": frame.size(), "format": "jpg", "type": "KEYFRAME",
            "is_custom_keyframe": false, "is_public": false, "rotation": 0,
            "resolution": { "width": 640, "height": 360 }, "storage_id": "storage-1",
            "storage_method": "S3", "version_id": format!("v-{}", asset.id),
        })
    }

    fn formats_json(asset: &Asset) -> Vec<Value> {
        let mut names: Vec<&str> = asset.files.iter().map(|file| file.format).collect();
        names.sort_unstable();
        names.dedup();
        let archive = if asset.formats_archived { "ARCHIVED" } else { "NOT_ARCHIVED" };
        let format = |name: &&str| {
            json!({
                "id": format_id(asset, name), "name": name, "asset_id": asset.id,
                "status": "ACTIVE", "archive_status": archive, "is_online": asset.is_online,
                "metadata": [{ "internet_media_type": "video/mp4" }], "storage_methods": ["S3"],
                "version_id": format!("v-{}", asset.id),
            })
        };
        names.iter().map(format).collect()
    }

    /// An asset as its own address tells it.
    fn asset_json(asset: &Asset) -> Value {
        json!({
            "id": asset.id, "title": asset.title, "type": asset.kind, "status": asset.status,
            "media_type": asset.media_type, "archive_status": asset.archive_status,
            "object_type": "assets", "is_online": asset.is_online, "external_id": null,
            "date_created": "2025-01-01T00:00:00+00:00", "date_modified": asset.date_modified,
            "in_collections": asset.in_collections, "created_by_user": "user-1",
            "versions": [{ "id": format!("v-{}", asset.id), "status": "ACTIVE",
                           "version_number": 1 }],
        })
    }

    /// An asset as the search tells it.
    fn search_json(&self, asset: &Asset, fields: &[&str], has_view: bool) -> Value {
        let mut told = Self::asset_json(asset);
        told["duration_milliseconds"] = 1500.into();
        told["metadata"] = if has_view { asset.metadata.clone().into() } else { json!({}) };
        if self.search_has_files {
            let files = asset.files.iter().map(|file| Self::file_json(asset, file));
            told["files"] = files.collect::<Vec<_>>().into();
            let proxies = asset.proxies.iter().map(|proxy| Self::proxy_json(asset, proxy));
            told["proxies"] = proxies.collect::<Vec<_>>().into();
            told["formats"] = Self::formats_json(asset).into();
        }
        if !fields.is_empty() {
            told.as_object_mut().unwrap().retain(|name, _| fields.contains(&name.as_str()));
        }
        told["_sort"] = json!([millis(&asset.date_modified), asset.id]);
        told
    }

    fn collection_json(id: &str, (title, parent): &(String, Option<String>)) -> Value {
        json!({
            "id": id, "title": title, "parent_id": parent, "status": "ACTIVE",
            "object_type": "collections", "is_root": parent.is_none(),
            "in_collections": parent.iter().collect::<Vec<_>>(), "_sort": [id],
            "date_created": "2025-01-01T00:00:00+00:00",
            "date_modified": "2025-01-01T00:00:00+00:00", "created_by_user": "user-1",
        })
    }

    /// The assets as the search knows them.
    fn indexed(&self) -> Vec<Asset> {
        if self.index_is_empty {
            return Vec::new();
        }
        let known = |asset: &Asset| match self.late.get(&asset.id) {
            Some(late) => late.clone(),
            None => Some(asset.clone()),
        };
        self.assets.values().filter(|asset| !asset.is_purged).filter_map(known).collect()
    }

    fn find(&self, id: &str) -> Option<&Asset> {
        self.assets.get(id).filter(|asset| !asset.is_purged)
    }

    fn fault(&mut self, kind: &str) -> Option<Reply> {
        let index = self.faults.iter_mut().position(|fault| {
            if fault.kind != kind || fault.times == 0 {
                return false;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return false;
            }
            true
        })?;
        self.faults[index].times -= 1;
        Some((self.faults[index].reply)())
    }

    fn note(&mut self, kind: &'static str, request: &Request, reply: Reply) -> Reply {
        let status = match &reply {
            Reply::Answer(answer) => answer.status,
            _ => 0,
        };
        let target = String::from_utf8_lossy(&decode(&request.target)).into_owned();
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        self.seen.push(Seen { kind, target, body, status, at: Instant::now() });
        reply
    }

    /// Whether a request is one too many.
    fn is_limited(&self) -> bool {
        let Some((second, twenty)) = self.windows else { return false };
        let within = |window: Duration| {
            let api = self.seen.iter().filter(|seen| seen.kind != "download" && seen.status != 429);
            api.filter(|seen| seen.at.elapsed() < window).count()
        };
        within(Duration::from_secs(1)) >= second || within(Duration::from_secs(20)) >= twenty
    }
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let path = request.raw_path().to_owned();
    if !path.ends_with('/') {
        let query = request.raw_query();
        let question = if query.is_empty() { "" } else { "?" };
        let to = Answer::new(308, "").header("Location", format!("{path}/{question}{query}"));
        return state.note("redirect", request, to.into());
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let doc_types = || {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        body["doc_types"][0].as_str().unwrap_or_default().to_owned()
    };
    let (kind, ids): (&'static str, Vec<String>) = match parts.as_slice() {
        ["API", "search", "v1", "search", ""] if doc_types() == "collections" => {
            ("collections", Vec::new())
        }
        ["API", "search", "v1", "search", ""] => ("search", Vec::new()),
        ["API", "assets", "v1", "assets", id, ""] => ("asset", vec![(*id).into()]),
        ["API", "assets", "v1", "collections", id, ""] => ("collection", vec![(*id).into()]),
        ["API", "assets", "v1", "collections", id, "contents", ""] => {
            ("contents", vec![(*id).into()])
        }
        ["API", "files", "v1", "assets", id, "files", ""] => ("files", vec![(*id).into()]),
        ["API", "files", "v1", "assets", id, "proxies", ""] => ("proxies", vec![(*id).into()]),
        ["API", "files", "v1", "assets", id, "keyframes", ""] => ("keyframes", vec![(*id).into()]),
        ["API", "files", "v1", "assets", id, "keyframes", frame, ""] => {
            ("keyframe", vec![(*id).into(), (*frame).into()])
        }
        ["API", "files", "v1", "assets", id, "formats", ""] => ("formats", vec![(*id).into()]),
        ["API", "files", "v1", "assets", id, "files" | "proxies", file, "download_url", ""] => {
            ("download_url", vec![(*id).into(), (*file).into()])
        }
        ["API", "metadata", "v1", "views", id, ""] => ("view", vec![(*id).into()]),
        ["API", "metadata", "v1", "assets", id, "views", view, ""] => {
            ("metadata", vec![(*id).into(), (*view).into()])
        }
        _ => ("unknown", Vec::new()),
    };
    let is_known = request.header("app-id") == Some(APP_ID)
        && request.header("auth-token") == Some(AUTH_TOKEN)
        && !state.token_is_refused;
    if !is_known {
        return state.note(kind, request, error(401).into());
    }
    if state.is_limited() {
        return state.note(kind, request, error(429).into());
    }
    if let Some(reply) = state.fault(kind) {
        return state.note(kind, request, reply);
    }
    let mut answer = match (kind, ids.as_slice()) {
        ("search", _) => search(state, request),
        ("collections", _) => collections(state, request),
        ("asset", [id]) => match state.find(id) {
            Some(asset) => json_answer(&State::asset_json(asset)),
            None => error(404),
        },
        ("collection", [id]) => match state.collections.get(id) {
            Some(collection) => json_answer(&State::collection_json(id, collection)),
            None => error(404),
        },
        ("contents", [id]) => contents(state, request, id),
        ("files", [id]) => match state.find(id) {
            Some(asset) => {
                let file = |file: &Media| State::file_json(asset, file);
                paged(state, request, asset.files.iter().map(file).collect())
            }
            None => error(404),
        },
        ("proxies", [id]) => match state.find(id) {
            Some(asset) => {
                let proxy = |proxy: &Media| State::proxy_json(asset, proxy);
                paged(state, request, asset.proxies.iter().map(proxy).collect())
            }
            None => error(404),
        },
        ("keyframes", [id]) => match state.find(id) {
            Some(asset) => {
                let frame = |frame: &Media| State::keyframe_json(asset, frame);
                paged(state, request, asset.keyframes.iter().map(frame).collect())
            }
            None => error(404),
        },
        ("keyframe", [id, frame]) => keyframe(state, request, id, frame),
        ("formats", [id]) => match state.find(id) {
            Some(asset) => paged(state, request, State::formats_json(asset)),
            None => error(404),
        },
        ("download_url", [id, file]) => download_url(state, id, file),
        ("view", [id]) if id == VIEW => {
            json_answer(&json!({ "id": VIEW, "name": "Everything", "view_fields": [] }))
        }
        ("metadata", [id, view]) if view == VIEW => match state.find(id) {
            Some(asset) => {
                let values = asset.metadata.iter().map(|(name, values)| {
                    let all = values.as_array().cloned().unwrap_or_default();
                    let all: Vec<Value> =
                        all.into_iter().map(|value| json!({ "value": value })).collect();
                    (name.clone(), json!({ "field_values": all }))
                });
                let values: Map<String, Value> = values.collect();
                json_answer(&json!({ "object_id": id, "metadata_values": values }))
            }
            None => error(404),
        },
        _ => error(404),
    };
    if let Some(remaining) = state.remaining {
        answer = answer
            .header("RateLimit-Limit", "50")
            .header("RateLimit-Remaining", remaining.to_string());
    }
    state.note(kind, request, answer.into())
}

fn search(state: &State, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    if request.query_text("page").is_some() {
        return error(400);
    }
    let wanted = |name: &str| -> Option<Vec<String>> {
        let terms = body["filter"]["terms"].as_array()?;
        let term = terms.iter().find(|term| term["name"] == name)?;
        Some(match term["value_in"].as_array() {
            Some(all) => all.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
            None => vec![term["value"].as_str().unwrap_or_default().to_owned()],
        })
    };
    let from = body["filter"]["terms"].as_array().and_then(|terms| {
        let term = terms.iter().find(|term| term["name"] == "date_modified")?;
        Some(millis(term["range"]["min"].as_str().unwrap()))
    });
    let (collections, media) = (wanted("in_collections"), wanted("media_type"));
    let mut found: Vec<Asset> = state
        .indexed()
        .into_iter()
        .filter(|asset| {
            let is_in = |id: &String| collections.as_ref().is_none_or(|all| all.contains(id));
            let in_collection = collections.is_none() || asset.in_collections.iter().any(is_in);
            let is_media =
                media.as_ref().is_none_or(|all| all.iter().any(|of| of == asset.media_type));
            let is_due = from.is_none_or(|from| millis(&asset.date_modified) >= from);
            in_collection && is_media && is_due
        })
        .collect();
    found.sort_by_key(|asset| (millis(&asset.date_modified), asset.id.clone()));
    let total = found.len();
    let after = match body.get("search_after") {
        None => None,
        Some(after) => match (after[0].as_i64(), after[1].as_str()) {
            (Some(date), Some(id)) => Some((date, id.to_owned())),
            _ => return error(400),
        },
    };
    let per_page: usize = request.query_text("per_page").map_or(50, |text| text.parse().unwrap());
    let fields: Vec<&str> =
        body["include_fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let has_view = body["metadata_view_id"] == VIEW;
    let objects: Vec<Value> = found
        .iter()
        .filter(|asset| {
            let place = (millis(&asset.date_modified), asset.id.clone());
            after.as_ref().is_none_or(|after| place > *after)
        })
        .take(per_page.min(state.page_limit))
        .map(|asset| state.search_json(asset, &fields, has_view))
        .collect();
    json_answer(&json!({
        "objects": objects, "total": total, "per_page": per_page, "facets": {},
        "page": 1, "pages": total.div_ceil(per_page.max(1)),
    }))
}

fn collections(state: &State, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let after = body["search_after"][0].as_str().unwrap_or_default().to_owned();
    let all = state.collections.iter().filter(|(id, _)| id.as_str() > after.as_str());
    let objects: Vec<Value> = match state.index_is_empty {
        true => Vec::new(),
        false => {
            all.take(1000).map(|(id, collection)| State::collection_json(id, collection)).collect()
        }
    };
    json_answer(&json!({ "objects": objects, "total": state.collections.len(), "facets": {} }))
}

fn contents(state: &State, request: &Request, id: &str) -> Answer {
    if !state.collections.contains_key(id) {
        return error(404);
    }
    let kinds = request.query_text("object_types").unwrap_or_default();
    let mut objects = Vec::new();
    if kinds.is_empty() || kinds.contains("collections") {
        let inner =
            state.collections.iter().filter(|(_, (_, parent))| parent.as_deref() == Some(id));
        objects.extend(inner.map(|(id, collection)| State::collection_json(id, collection)));
    }
    if kinds.is_empty() || kinds.contains("assets") {
        let inner = state.assets.values().filter(|asset| {
            asset.in_collections.iter().any(|known| known == id) && !asset.is_purged
        });
        objects.extend(inner.map(State::asset_json));
    }
    let page: usize = request.query_text("page").map_or(1, |text| text.parse().unwrap());
    let per_page: usize = request.query_text("per_page").map_or(50, |text| text.parse().unwrap());
    let (total, pages) = (objects.len(), objects.len().div_ceil(per_page));
    let objects: Vec<Value> =
        objects.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    json_answer(&json!({ "objects": objects, "total": total, "page": page, "pages": pages }))
}

fn paged(state: &State, request: &Request, objects: Vec<Value>) -> Answer {
    let per_page: usize = request.query_text("per_page").map_or(50, |text| text.parse().unwrap());
    let behind = match request.query_text("last_id") {
        Some(last) => {
            objects.iter().position(|of| of["id"] == last.as_str()).map_or(0, |at| at + 1)
        }
        None => 0,
    };
    let limit = per_page.min(state.page_limit.max(1000));
    let total = objects.len();
    let objects: Vec<Value> = objects.into_iter().skip(behind).take(limit).collect();
    json_answer(&json!({ "objects": objects, "per_page": per_page, "total": total }))
}

fn download_url(state: &mut State, asset: &str, id: &str) -> Answer {
    let Some(found) = state.find(asset) else { return error(404) };
    if !found.files.iter().chain(&found.proxies).any(|file| file.id == id) {
        return error(404);
    }
    json_answer(&json!({ "url": signed_url(state, asset, id) }))
}

/// A keyframe's record, with an address only where one is asked for.
fn keyframe(state: &mut State, request: &Request, asset: &str, id: &str) -> Answer {
    let found = state.find(asset);
    let frame = found.and_then(|of| of.keyframes.iter().find(|frame| frame.id == id));
    let (Some(found), Some(frame)) = (found, frame) else { return error(404) };
    let mut told = State::keyframe_json(found, frame);
    if request.query_text("generate_signed_url").as_deref() == Some("true") {
        told["url"] = signed_url(state, asset, id).into();
    }
    json_answer(&told)
}

fn signed_url(state: &mut State, asset: &str, id: &str) -> String {
    state.number += 1;
    let ticket = format!("canary-ticket-{}", state.number);
    state.tickets.insert(ticket.clone(), (asset.to_owned(), id.to_owned()));
    format!("{}/bucket/{id}?signature={ticket}", state.storage_url)
}

/// The storage's host: it knows only its own addresses, and nobody's credentials.
fn download(state: &mut State, request: &Request) -> Reply {
    let ours = ["app-id", "auth-token", "authorization"];
    if ours.iter().any(|name| request.header(name).is_some()) {
        state.leaks += 1;
    }
    if let Some(reply) = state.fault("download") {
        return state.note("download", request, reply);
    }
    let ticket = request.query_text("signature").unwrap_or_default();
    let Some((asset, id)) = state.tickets.get(&ticket).cloned() else {
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>\
                    <Message>Request has expired</Message></Error>";
        return state.note("download", request, Answer::new(403, body).into());
    };
    let bytes = state.find(&asset).and_then(|found| {
        let all = found.files.iter().chain(&found.proxies).chain(&found.keyframes);
        all.into_iter().find(|file| file.id == id).map(|file| file.bytes.clone())
    });
    let Some(bytes) = bytes else {
        return state.note("download", request, Answer::new(404, "").into());
    };
    let whole = bytes.len();
    let etag = format!("\"{}\"", md5(&bytes));
    let range = request.header("range").filter(|_| !state.ignores_range).map(|range| {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        first..last.parse::<usize>().map_or(whole, |last| (last + 1).min(whole))
    });
    let mut answer = Answer::new(200, bytes).header("ETag", etag);
    if let Some(range) = range {
        answer.status = 206;
        let content = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
        answer = answer.header("Content-Range", content);
        answer.range = range;
    }
    state.note("download", request, answer.into())
}

fn format_id(asset: &Asset, name: &str) -> String {
    format!("format-{name}-{}", asset.id)
}

fn json_answer(body: &Value) -> Answer {
    Answer::new(200, body.to_string()).header("Content-Type", "application/json")
}

/// An error as Iconik words it.
pub fn error(status: u16) -> Answer {
    Answer::new(status, json!({ "errors": [format!("error {status}")] }).to_string())
        .header("Content-Type", "application/json")
}

fn millis(date: &str) -> i64 {
    let time: jiff::Timestamp = date.parse().unwrap();
    time.as_millisecond()
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    md5::Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
