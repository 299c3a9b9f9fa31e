//! Google Drive, from its documentation: files with ids and parents, a change feed, exports,
//! batches, and everything that goes wrong there on demand. It checks the access token of every
//! request, and remembers each.
//!
//! - <https://developers.google.com/workspace/drive/api/reference/rest/v3>
//! - <https://developers.google.com/workspace/drive/api/guides/handle-errors>

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};

use crate::wire::{Answer, Delivery, Reply, Request, Wire};

pub const FOLDER: &str = "application/vnd.google-apps.folder";
pub const SHORTCUT: &str = "application/vnd.google-apps.shortcut";
pub const DOCUMENT: &str = "application/vnd.google-apps.document";

/// The id of My Drive.
pub const ROOT: &str = "0AMyDriveRoot";

/// A request as it came, by what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As in `list`, `get`, `download`, `export`, `changes`, `startPageToken`, `batch`, `token`.
    pub kind: String,
    /// The file that it is about.
    pub id: String,
    pub query: BTreeMap<String, String>,
    pub authorization: Option<String>,
    /// When it came.
    pub at: Instant,
    /// The range of bytes that it asks for.
    pub range: Option<String>,
    pub status: u16,
}

/// How a large document can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large {
    ByLink,
    ByOperation,
    NotAtAll,
}

#[derive(Clone, Debug, Default)]
pub struct File {
    pub meta: Map<String, Value>,
    pub content: Vec<u8>,
}

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, File>,
    /// Ids in the order in which they changed.
    pub log: Vec<String>,
    pub page_size: usize,
    /// The number of the access token that is good.
    token: u32,
    /// Refuse refresh tokens with this error.
    pub refuse_sign_in: Option<&'static str>,
    /// For requests of a kind, so many times: status and reason, as in `backendError`, or with
    /// seconds for Retry-After, as in `backendError after 60`.
    pub faults: Vec<(&'static str, usize, u16, &'static str)>,
    /// Status and reason for what is asked of these files' bytes.
    pub refused_files: BTreeMap<String, (u16, &'static str)>,
    /// What is listed, or named as a parent, and cannot be seen when it is asked for.
    pub hidden: BTreeSet<String>,
    /// The resource keys of files and folders that are shared by their links: who does not send
    /// them does not see these.
    pub keys: BTreeMap<String, String>,
    /// Refuses every access token.
    pub refuses_tokens: bool,
    /// Listings say that not everything was searched.
    pub searches_incompletely: bool,
    /// The first page of a listing has nothing but the token of the next.
    pub begins_with_an_empty_page: bool,
    /// What Google calls malicious: it is only downloaded by who acknowledges that.
    pub abusive: BTreeSet<String>,
    /// So many downloads are a byte short, and end cleanly.
    pub truncates_downloads: usize,
    /// So many downloads end too early.
    pub cuts_downloads: usize,
    /// Answers nine of ten requests with 429.
    pub throttles: bool,
    throttled: usize,
    /// Answers listings of several folders with nothing.
    pub hides_several_parents: bool,
    /// Page tokens of listings and of the feed that are refused, each once for each time that it is
    /// here.
    pub refused_page_tokens: Vec<String>,
    /// Tokens by these names have 100,000 bytes.
    pub long_tokens: BTreeSet<&'static str>,
    /// Refuses every token of the feed before this position.
    pub forgets_feed_before: usize,
    pub large: BTreeMap<String, Large>,
    /// Pages of listings and changes have nothing on them and lead on to others, for ever.
    pub has_endless_pages: bool,
    /// Folders that go as soon as they are listed: listings of what is in them are refused.
    pub vanishing: BTreeSet<String>,
    /// Listings of more than some folders do not have these files, though they exist.
    pub skipped_of_many: BTreeSet<String>,
    /// Listings do not have these files, though they exist.
    pub skipped: BTreeSet<String>,
    /// The feed reports changes of these files without saying what they are now.
    pub reported_without_file: BTreeSet<String>,
    /// The feed reports these files as removed, though they exist.
    pub reported_as_removed: BTreeSet<String>,
    /// Batches have a proxy's 404 for these files.
    pub blocked_by_a_proxy: BTreeSet<String>,
    /// After so many downloads it says nothing any more.
    pub silent_after: Option<usize>,
    /// Whether it does.
    pub is_silent: bool,
    /// Whether it tears down every connection.
    pub is_off: bool,
    /// After so many downloads it does.
    pub off_after: Option<usize>,
    pub drives: Vec<(String, String)>,
    /// Shared drives that are gone, or that the account is no member of any more.
    pub gone_drives: BTreeSet<String>,
    /// Files that have left a shared drive, with that drive.
    left: BTreeSet<(String, String)>,
    /// Who is signed in.
    pub account: String,
    /// Their permission id.
    pub permission: String,
    /// The id of their My Drive.
    pub root: String,
    seen: Vec<Seen>,
    number: u32,
    url: String,
}

pub struct FakeDrive {
    wire: Wire,
    state: Arc<Mutex<State>>,
}

impl FakeDrive {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            page_size: 1000,
            token: 1,
            account: "me@example.org".to_owned(),
            permission: "0123".to_owned(),
            root: ROOT.to_owned(),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let wire = Wire::serve(move |request| respond(&mut shared.lock().unwrap(), request));
        state.lock().unwrap().url = wire.url();
        let fake = Self { wire, state };
        let mut root = Map::new();
        root.insert("id".into(), ROOT.into());
        root.insert("name".into(), "My Drive".into());
        root.insert("mimeType".into(), FOLDER.into());
        fake.state().files.insert(ROOT.to_owned(), File { meta: root, content: Vec::new() });
        fake
    }

    pub fn url(&self) -> String {
        self.wire.url()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests since the last look, but those for access tokens.
    pub fn requests(&self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut self.state().seen);
        seen.retain(|seen| seen.kind != "token");
        seen
    }

    /// How many requests of each kind came since the last look.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in self.requests() {
            *counts.entry(seen.kind).or_default() += 1;
        }
        counts
    }

    pub fn file(&self, parent: &str, name: &str, content: impl Into<Vec<u8>>) -> String {
        let content = content.into();
        let md5 = hex(&Md5::digest(&content));
        let more = json!({
            "mimeType": "text/plain", "size": content.len().to_string(), "md5Checksum": md5,
        });
        self.add(parent, name, more, content)
    }

    pub fn folder(&self, parent: &str, name: &str) -> String {
        self.add(parent, name, json!({ "mimeType": FOLDER }), Vec::new())
    }

    pub fn add(&self, parent: &str, name: &str, more: Value, content: Vec<u8>) -> String {
        let mut state = self.state();
        state.number += 1;
        let id = format!("1File{:05}", state.number);
        let mut meta = Map::new();
        meta.insert("id".into(), id.clone().into());
        meta.insert("name".into(), name.into());
        if !parent.is_empty() {
            meta.insert("parents".into(), json!([parent]));
        }
        meta.insert("trashed".into(), false.into());
        meta.insert("modifiedTime".into(), "2026-01-02T03:04:05.678Z".into());
        meta.extend(more.as_object().unwrap().clone());
        state.files.insert(id.clone(), File { meta, content });
        state.log.push(id.clone());
        id
    }

    /// Changes facts of a file.
    pub fn change(&self, id: &str, more: Value) {
        let mut state = self.state();
        let drive = |meta: &Map<String, Value>| {
            meta.get("driveId").and_then(Value::as_str).map(str::to_owned)
        };
        let meta = &mut state.files.get_mut(id).unwrap().meta;
        let before = drive(meta);
        meta.extend(more.as_object().unwrap().clone());
        let after = drive(meta);
        if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
            state.left.insert((before, id.to_owned()));
        }
        state.log.push(id.to_owned());
    }

    /// Changes facts of a file of which the feed says nothing.
    pub fn change_silently(&self, id: &str, more: Value) {
        let reported = self.state().log.len();
        self.change(id, more);
        self.state().log.truncate(reported);
    }

    /// Gives a file other bytes.
    pub fn rewrite(&self, id: &str, content: &str) {
        let md5 = hex(&Md5::digest(content));
        let size = content.len().to_string();
        self.state().files.get_mut(id).unwrap().content = content.into();
        self.change(id, json!({ "md5Checksum": md5, "size": size }));
    }

    /// Deletes a file, or a folder with all that is in no other one; of that the feed says nothing.
    pub fn delete(&self, id: &str) {
        let mut state = self.state();
        let mut deleted = BTreeSet::from([id.to_owned()]);
        loop {
            let is_left = |file: &File| {
                let parents = file.meta.get("parents").and_then(Value::as_array);
                parents.is_none_or(|of| !of.iter().all(|it| deleted.contains(it.as_str().unwrap())))
            };
            let more: Vec<String> = state
                .files
                .iter()
                .filter(|(id, file)| !deleted.contains(*id) && !is_left(file))
                .map(|(id, _)| id.clone())
                .collect();
            if more.is_empty() {
                break;
            }
            deleted.extend(more);
        }
        state.files.retain(|id, _| !deleted.contains(id));
        state.log.push(id.to_owned());
    }

    /// The access token that was given last is good no more.
    pub fn expire_token(&self) {
        self.state().token += 1;
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn json_answer(status: u16, body: Value) -> Answer {
    Answer::new(status, body.to_string()).header("Content-Type", "application/json")
}

fn refused(status: u16, reason: &str) -> Answer {
    json_answer(status, error_document(status, reason))
}

fn error_document(status: u16, reason: &str) -> Value {
    json!({ "error": {
        "code": status, "message": format!("refused: {reason}"),
        "errors": [{ "domain": "global", "reason": reason, "message": "refused" }],
    }})
}

fn respond(state: &mut State, request: &Request) -> Reply {
    let path = request.raw_path().to_owned();
    let query: BTreeMap<String, String> = url_pairs(request.raw_query()).into_iter().collect();
    let (kind, id) = kind(&path, &query);
    if kind == "download"
        && let Some(left) = &mut state.off_after
    {
        state.is_off |= *left == 0;
        *left = left.saturating_sub(1);
    }
    if state.is_off {
        return Reply::Reset;
    }
    if kind == "download"
        && let Some(left) = &mut state.silent_after
    {
        if *left == 0 {
            state.is_silent = true;
            return Reply::Silence;
        }
        *left -= 1;
    }
    let answer = answer(state, request, &kind, &id, &query);
    state.seen.push(Seen {
        kind,
        id,
        query,
        authorization: request.header("authorization").map(str::to_owned),
        at: Instant::now(),
        range: request.header("range").map(str::to_owned),
        status: answer.status,
    });
    answer.into()
}

fn url_pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
            (name.to_owned(), decoded.into_owned())
        })
        .collect()
}

fn kind(path: &str, query: &BTreeMap<String, String>) -> (String, String) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (kind, id) = match parts.as_slice() {
        ["token"] => ("token", ""),
        ["batch", "drive", "v3"] => ("batch", ""),
        ["drive", "v3", "files"] => ("list", ""),
        ["drive", "v3", "files", id] if query.get("alt").is_some() => ("download", *id),
        ["drive", "v3", "files", id] => ("get", *id),
        ["drive", "v3", "files", id, "export"] => ("export", *id),
        ["drive", "v3", "files", id, "download"] => ("prepare", *id),
        ["drive", "v3", "operations", id] => ("operation", *id),
        ["drive", "v3", "changes", "startPageToken"] => ("startPageToken", ""),
        ["drive", "v3", "changes"] => ("changes", ""),
        ["drive", "v3", "drives"] => ("drives", ""),
        ["drive", "v3", "about"] => ("about", ""),
        ["link", id] => ("link", *id),
        _ => ("unknown", path),
    };
    (kind.to_owned(), id.to_owned())
}

fn answer(
    state: &mut State,
    request: &Request,
    kind: &str,
    id: &str,
    query: &BTreeMap<String, String>,
) -> Answer {
    if kind == "token" {
        if let Some(fault) = fault(state, kind) {
            return fault;
        }
        return match state.refuse_sign_in {
            Some(error) => json_answer(400, json!({ "error": error })),
            None => json_answer(
                200,
                json!({ "access_token": format!("token-{}", state.token), "expires_in": 3600 }),
            ),
        };
    }
    let is_good = request.header("authorization") == Some(&format!("Bearer token-{}", state.token));
    if state.refuses_tokens || !is_good {
        return refused(401, "authError");
    }
    if state.throttles {
        state.throttled += 1;
        if !state.throttled.is_multiple_of(10) {
            return refused(429, "rateLimitExceeded").header("Retry-After", "0");
        }
    }
    if let Some(fault) = fault(state, kind) {
        return fault;
    }
    let token = query.get("pageToken");
    let is_refused = |refused: &String| Some(refused) == token;
    if let Some(at) = state.refused_page_tokens.iter().position(is_refused) {
        state.refused_page_tokens.remove(at);
        return refused(400, "invalid");
    }
    if state.has_endless_pages && matches!(kind, "list" | "changes") {
        state.number += 1;
        let next = format!("empty-{}", state.number);
        let of = if kind == "list" { "files" } else { "changes" };
        return json_answer(200, json!({ of: [], "nextPageToken": next }));
    }
    if query.get("driveId").is_some_and(|drive| state.gone_drives.contains(drive)) {
        return refused(404, "teamDriveNotFound");
    }
    if let Some((status, reason)) = state.refused_files.get(id)
        && ["download", "export"].contains(&kind)
    {
        return refused(*status, reason);
    }
    if !is_open(state, request, id) {
        return refused(404, "notFound");
    }
    match kind {
        "list" => list(state, request, query),
        "get" => match found(state, id).filter(|_| !state.hidden.contains(id)) {
            Some(file) => json_answer(200, Value::Object(file.meta.clone())),
            None => refused(404, "notFound"),
        },
        "download"
            if state.abusive.contains(id)
                && query.get("acknowledgeAbuse").is_none_or(|given| given != "true") =>
        {
            refused(403, "cannotDownloadAbusiveFile")
        }
        "download" if state.truncates_downloads > 0 => {
            state.truncates_downloads -= 1;
            let mut short = download(state, request, id);
            short.range.end -= 1;
            short
        }
        "download" if state.cuts_downloads > 0 => {
            state.cuts_downloads -= 1;
            let mut cut = download(state, request, id);
            cut.delivery = Delivery::CutAfter(1);
            cut
        }
        "download" => download(state, request, id),
        "export" => export(state, id, query),
        "link" => Answer::new(200, state.files[id].content.clone()),
        "prepare" => match state.large.get(id) {
            Some(Large::ByOperation) => json_answer(200, json!({ "name": id, "done": false })),
            _ => refused(403, "exportSizeLimitExceeded"),
        },
        "operation" => {
            let uri = format!("{}/link/{id}", state.url);
            json_answer(
                200,
                json!({ "name": id, "done": true, "response": { "downloadUri": uri } }),
            )
        }
        "startPageToken" => {
            let token = sent_token(state, "startPageToken", format!("feed-{}", state.log.len()));
            json_answer(200, json!({ "startPageToken": token }))
        }
        "changes" => changes(state, query),
        "drives" => {
            let drives: Vec<Value> =
                state.drives.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
            json_answer(200, json!({ "drives": drives }))
        }
        "about" => json_answer(
            200,
            json!({ "user": { "emailAddress": state.account, "permissionId": state.permission } }),
        ),
        "batch" => batch(state, request),
        _ => refused(404, "notFound"),
    }
}

/// The next fault that is planned for requests of a kind.
fn fault(state: &mut State, kind: &str) -> Option<Answer> {
    let fault = state.faults.iter_mut().find(|fault| fault.0 == kind && fault.1 > 0)?;
    fault.1 -= 1;
    let (_, _, status, reason) = *fault;
    let (reason, after) = reason.split_once(" after ").unwrap_or((reason, ""));
    let answer = refused(status, reason);
    Some(if after.is_empty() { answer } else { answer.header("Retry-After", after) })
}

fn found<'a>(state: &'a State, id: &str) -> Option<&'a File> {
    state.files.get(if id == "root" { state.root.as_str() } else { id })
}

/// Whether a request has the resource key of a file, if that needs one
/// (<https://developers.google.com/workspace/drive/api/guides/resource-keys>).
fn is_open(state: &State, request: &Request, id: &str) -> bool {
    let Some(key) = state.keys.get(id) else { return true };
    let given = request.header("x-goog-drive-resource-keys").unwrap_or_default();
    given.split(',').any(|pair| pair == format!("{id}/{key}"))
}

fn list(state: &State, request: &Request, query: &BTreeMap<String, String>) -> Answer {
    if state.begins_with_an_empty_page && !query.contains_key("pageToken") {
        return json_answer(200, json!({ "files": [], "nextPageToken": "page-0" }));
    }
    let text = query.get("q").cloned().unwrap_or_default();
    if state.hides_several_parents && text.matches(" in parents").count() > 1 {
        return json_answer(200, json!({ "files": [] }));
    }
    if state.vanishing.iter().any(|id| text.contains(&format!("'{id}' in parents"))) {
        return refused(404, "notFound");
    }
    let drive = query.get("driveId").map(String::as_str);
    let matching: Vec<&File> = state
        .files
        .iter()
        .filter(|(id, _)| **id != state.root && !state.skipped.contains(*id))
        .filter(|(id, _)| text.contains(" in parents") || !state.skipped_of_many.contains(*id))
        .map(|(_, file)| file)
        .filter(|file| file.meta.get("driveId").and_then(Value::as_str) == drive)
        .filter(|file| Query::new(&text).matches(&file.meta))
        .filter(|file| {
            let parent = file.meta.get("parents").and_then(|parents| parents[0].as_str());
            parent.is_none_or(|parent| is_open(state, request, parent))
        })
        .collect();
    let from: usize = match query.get("pageToken") {
        None => 0,
        Some(token) => match token.strip_prefix("page-").and_then(|token| token.parse().ok()) {
            Some(from) => from,
            None => return refused(400, "invalid"),
        },
    };
    let wanted: usize = query.get("pageSize").and_then(|size| size.parse().ok()).unwrap_or(100);
    let to = matching.len().min(from + wanted.min(state.page_size));
    let files: Vec<Value> =
        matching[from..to].iter().map(|file| Value::Object(file.meta.clone())).collect();
    let mut body = json!({ "files": files, "incompleteSearch": state.searches_incompletely });
    if to < matching.len() {
        body["nextPageToken"] = sent_token(state, "page", format!("page-{to}")).into();
    }
    json_answer(200, body)
}

fn changes(state: &State, query: &BTreeMap<String, String>) -> Answer {
    let from = query
        .get("pageToken")
        .and_then(|token| token.split(':').next()?.strip_prefix("feed-")?.parse().ok());
    let Some(from) = from.filter(|from: &usize| *from >= state.forgets_feed_before) else {
        return refused(400, "invalid");
    };
    let to = state.log.len().min(from + state.page_size);
    // The feed of a shared drive is about nothing else.
    let drive = query.get("driveId").map(String::as_str);
    let has_left = |id: &str| {
        let of = state.files.get(id).and_then(|file| file.meta.get("driveId")?.as_str());
        drive.is_some_and(|drive| {
            of != Some(drive) && state.left.contains(&(drive.to_owned(), id.to_owned()))
        })
    };
    let is_told = |id: &&String| {
        let of = state.files.get(*id).map(|file| file.meta.get("driveId").and_then(Value::as_str));
        drive.is_none() || of.is_none_or(|of| of == drive) || has_left(id)
    };
    let changes: Vec<Value> = state.log[from..to]
        .iter()
        .filter(is_told)
        .map(|id| match state.files.get(id) {
            _ if state.reported_without_file.contains(id) => {
                json!({ "changeType": "file", "removed": false, "fileId": id })
            }
            Some(file) if !has_left(id) && !state.reported_as_removed.contains(id) => {
                json!({ "changeType": "file", "removed": false, "fileId": id, "file": file.meta })
            }
            _ => json!({ "changeType": "file", "removed": true, "fileId": id }),
        })
        .collect();
    let next = if to < state.log.len() { "nextPageToken" } else { "newStartPageToken" };
    let token = sent_token(state, next, format!("feed-{to}"));
    json_answer(200, json!({ "changes": changes, next: token }))
}

/// A token, which may have to be a long one.
fn sent_token(state: &State, name: &str, token: String) -> String {
    if state.long_tokens.contains(name) { token + ":" + &"x".repeat(100_000) } else { token }
}

fn download(state: &State, request: &Request, id: &str) -> Answer {
    let Some(file) = found(state, id) else { return refused(404, "notFound") };
    let Some(range) = request.header("range").and_then(|range| range.strip_prefix("bytes=")) else {
        return Answer::new(200, file.content.clone());
    };
    let (start, end) = range.split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    Answer::new(206, file.content[start..=end].to_vec())
        .header("Content-Range", format!("bytes {start}-{end}/{}", file.content.len()))
}

fn export(state: &mut State, id: &str, query: &BTreeMap<String, String>) -> Answer {
    let url = state.url.clone();
    match state.large.get(id) {
        None => Answer::new(200, state.files[id].content.clone()),
        Some(large) => {
            if *large == Large::ByLink {
                let mime = query["mimeType"].clone();
                let links = json!({ mime: format!("{url}/link/{id}") });
                state.files.get_mut(id).unwrap().meta.insert("exportLinks".into(), links);
            }
            refused(403, "exportSizeLimitExceeded")
        }
    }
}

fn batch(state: &State, request: &Request) -> Answer {
    let body = String::from_utf8(request.body.clone()).unwrap();
    let mut parts = String::new();
    for (number, line) in body.lines().filter(|line| line.starts_with("GET ")).enumerate() {
        let path = line.split(' ').nth(1).unwrap();
        let id = path.split('?').next().unwrap().rsplit('/').next().unwrap();
        let is_seen = is_open(state, request, id) && !state.hidden.contains(id);
        let (status, body) = match found(state, id).filter(|_| is_seen) {
            _ if state.blocked_by_a_proxy.contains(id) => (404, "<html>Not here</html>".to_owned()),
            Some(file) => (200, Value::Object(file.meta.clone()).to_string()),
            None => (404, error_document(404, "notFound").to_string()),
        };
        parts.push_str(&format!(
            "--batch_x\r\nContent-Type: application/http\r\nContent-ID: <response-item-{number}>\r\n\
             \r\nHTTP/1.1 {status} Word\r\nContent-Type: application/json\r\n\r\n{body}\r\n"
        ));
    }
    parts.push_str("--batch_x--\r\n");
    Answer::new(200, parts).header("Content-Type", "multipart/mixed; boundary=batch_x")
}

/// The part of Google's query language that is used: conditions, `and`, `or`, parentheses.
struct Query {
    tokens: Vec<String>,
    at: usize,
}

impl Query {
    fn new(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                ' ' => {}
                '(' | ')' => tokens.push(c.to_string()),
                '\'' => {
                    let mut value = "'".to_owned();
                    while let Some(c) = chars.next() {
                        match c {
                            '\\' => value.extend(chars.next()),
                            '\'' => break,
                            c => value.push(c),
                        }
                    }
                    tokens.push(value);
                }
                c => {
                    let mut word = c.to_string();
                    while let Some(c) = chars.next_if(|c| !" ()'".contains(*c)) {
                        word.push(c);
                    }
                    tokens.push(word);
                }
            }
        }
        Self { tokens, at: 0 }
    }

    fn matches(mut self, meta: &Map<String, Value>) -> bool {
        self.tokens.is_empty() || self.any(meta)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    fn eat(&mut self, word: &str) -> bool {
        let is_it = self.tokens.get(self.at).is_some_and(|token| token == word);
        self.at += usize::from(is_it);
        is_it
    }

    fn any(&mut self, meta: &Map<String, Value>) -> bool {
        let mut result = self.all(meta);
        while self.eat("or") {
            result |= self.all(meta);
        }
        result
    }

    fn all(&mut self, meta: &Map<String, Value>) -> bool {
        let mut result = self.one(meta);
        while self.eat("and") {
            result &= self.one(meta);
        }
        result
    }

    fn one(&mut self, meta: &Map<String, Value>) -> bool {
        if self.eat("(") {
            let result = self.any(meta);
            assert!(self.eat(")"), "{:?}", self.tokens);
            return result;
        }
        let (left, operator, right) = (self.next(), self.next(), self.next());
        let text = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
        match (left.as_str(), operator.as_str()) {
            (id, "in") => {
                let id = if id == "'root" { ROOT } else { &id[1..] };
                let parents = meta.get("parents").and_then(Value::as_array);
                parents.is_some_and(|parents| parents.contains(&id.into()))
            }
            ("trashed", "=") => (right == "true") == (meta.get("trashed") == Some(&true.into())),
            ("sharedWithMe", "=") => meta.contains_key("sharedWithMeTime"),
            (field, "=") => text(field) == &right[1..],
            (field, "!=") => text(field) != &right[1..],
            (field, "contains") => text(field).contains(&right[1..]),
            _ => panic!("not in the query language: {:?}", self.tokens),
        }
    }
}
