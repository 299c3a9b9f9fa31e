//! Microsoft Graph as far as files go, from Microsoft's documentation, failing on demand: drives
//! whose changes are told as deltas, downloads from another host by pre-signed addresses,
//! throttling. Everything that is asked is written down. An `Authorization` header at the download
//! host is a leak, and is remembered as one.
//!
//! - <https://learn.microsoft.com/graph/api/driveitem-delta>
//! - <https://learn.microsoft.com/graph/api/driveitem-get-content>
//! - <https://learn.microsoft.com/graph/json-batching>
//! - <https://learn.microsoft.com/graph/errors>

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    fake_authority::FakeAuthority,
    wire::{Answer, Delivery, Reply, Request, Wire, decode},
};

/// The drive that everybody has.
pub const DRIVE: &str = "b!drive-1";
/// The site that it is a library of.
pub const SITE: &str = "contoso.sharepoint.com,site-1,web-1";

/// What a request for a page, an item or children asks for besides the items.
#[derive(Clone, Copy)]
struct Asks {
    /// Addresses to download from.
    urls: bool,
    /// The columns of the list.
    fields: bool,
}

impl Asks {
    fn of(query: Option<&str>, expand: Option<&str>) -> Self {
        Self {
            urls: query.is_none_or(|select| select.contains("@microsoft.graph.downloadUrl")),
            fields: expand.is_some_and(|expand| expand.starts_with("listItem(")),
        }
    }

    fn by(request: &Request) -> Self {
        let (select, expand) = (request.query_text("$select"), request.query_text("$expand"));
        Self::of(select.as_deref(), expand.as_deref())
    }
}

/// A site below that one; it has the same library.
pub const SUBSITE: &str = "contoso.sharepoint.com,site-1,web-2";

/// A site that is not below /sites; it has the same libraries.
pub const ELSEWHERE: &str = "contoso.sharepoint.com,site-9,web-9";

/// A running Graph; it stops when dropped.
pub struct FakeGraph {
    /// Where access tokens come from.
    pub authority: FakeAuthority,
    graph: Wire,
    /// Kept for its end.
    _downloads: Wire,
    state: Arc<Mutex<State>>,
}

/// What is asked, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A page of a delta.
    Delta,
    /// One item, by id or path.
    Item,
    /// What lies in a folder.
    Children,
    /// An item's content through Graph.
    Content,
    /// A pre-signed address at the other host.
    Download,
    /// Sites, libraries, drives, people.
    Place,
    /// The columns of a library's list.
    Columns,
    /// Several requests in one.
    Batch,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its kind.
    pub kind: Kind,
    /// Path and query, decoded.
    pub target: String,
    /// The `Range` that it asked for.
    pub range: Option<String>,
    /// The `User-Agent` that it came with.
    pub user_agent: String,
    /// The status that it got.
    pub status: u16,
}

/// A fault, for the next requests of a kind.
pub struct Fault {
    kind: Kind,
    /// How many requests of the kind pass first.
    skip: usize,
    /// How many fail then.
    times: usize,
    reply: Box<dyn Fn() -> Reply + Send>,
}

impl Fault {
    /// An error as Graph words it.
    pub fn error(kind: Kind, status: u16, code: &'static str) -> Self {
        Self::reply(kind, move || error(status, code).into())
    }

    /// A resync: a 410 with the address to begin again at.
    pub fn resync() -> Self {
        Self::reply(Kind::Delta, || {
            let body = json!({ "error": { "code": "resyncRequired", "message": "Resync required",
                "innererror": { "code": "resyncChangesApplyDifferences" } } });
            Answer::new(410, body.to_string())
                .header("Location", format!("/v1.0/drives/{DRIVE}/root/delta?token="))
                .into()
        })
    }

    /// Slow down, for so many seconds.
    pub fn throttled(kind: Kind, status: u16, seconds: u32) -> Self {
        Self::reply(kind, move || {
            error(status, "activityLimitReached").header("Retry-After", seconds.to_string()).into()
        })
    }

    /// The connection is reset.
    pub fn reset(kind: Kind) -> Self {
        Self::reply(kind, || Reply::Reset)
    }

    /// Any reply.
    pub fn reply(kind: Kind, reply: impl Fn() -> Reply + Send + 'static) -> Self {
        Self { kind, skip: 0, times: 1, reply: Box::new(reply) }
    }

    /// Only after so many requests of its kind.
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// So many times.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// An item of the drive.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// Its parent's id; `None` for the root.
    pub parent: Option<String>,
    /// Its name.
    pub name: String,
    /// Its bytes; `None` for a folder.
    pub bytes: Option<Vec<u8>>,
    /// Besides what follows from the above.
    pub facets: Value,
    /// Whether its listing tells a hash.
    pub has_hash: bool,
    /// Added to the size that its listing tells.
    pub size_lie: i64,
    /// The columns of its list.
    pub fields: Value,
    /// Whether a full delta leaves it out, although it is there.
    pub is_skipped: bool,
    /// The version of content.
    pub content: u64,
    /// The version of everything.
    pub version: u64,
    deleted: bool,
}

/// A document library, or a person's drive.
struct Library {
    drive: String,
    root: String,
    name: String,
    /// The last part of its address.
    address: String,
    /// Its columns: internal name and display name.
    columns: Vec<(String, String)>,
}

struct State {
    libraries: Vec<Library>,
    /// Bytes that an item gets when it is downloaded, after so many downloads.
    swaps: Vec<(String, usize, Vec<u8>)>,
    /// Whether the next download is damaged on its way.
    damages: bool,
    /// Whether there is a site that is not below /sites.
    has_elsewhere: bool,
    items: BTreeMap<String, Item>,
    /// Ids in the order of their last changes.
    changes: Vec<(u64, String)>,
    sequence: u64,
    page_size: usize,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    leaks: u32,
    /// Pre-signed addresses that are good: ticket to item.
    tickets: BTreeMap<String, String>,
    ignores_range: bool,
    loses_urls: bool,
    /// Repeats of items that a delta tells with an older name before the real one.
    repeats: BTreeSet<String>,
    downloads: String,
    number: u64,
}

impl FakeGraph {
    /// Starts one with an empty drive.
    pub fn start() -> Self {
        let mut items = BTreeMap::new();
        items.insert("root".to_owned(), Item::folder("root", None, "root"));
        let library = Library {
            drive: DRIVE.to_owned(),
            root: "root".to_owned(),
            name: "Documents".to_owned(),
            address: "Shared%20Documents".to_owned(),
            columns: Vec::new(),
        };
        let state = Arc::new(Mutex::new(State {
            libraries: vec![library],
            swaps: Vec::new(),
            damages: false,
            has_elsewhere: false,
            items,
            changes: vec![(1, "root".to_owned())],
            sequence: 1,
            page_size: 200,
            faults: Vec::new(),
            seen: Vec::new(),
            leaks: 0,
            tickets: BTreeMap::new(),
            ignores_range: false,
            loses_urls: false,
            repeats: BTreeSet::new(),
            downloads: String::new(),
            number: 0,
        }));
        let shared = Arc::clone(&state);
        let downloads = Wire::serve(move |request| download(&mut shared.lock().unwrap(), request));
        state.lock().unwrap().downloads = downloads.url();
        let authority = FakeAuthority::start();
        let (shared, tokens) = (Arc::clone(&state), authority.watcher());
        let graph = Wire::serve(move |request| {
            let admitted = request
                .header("authorization")
                .and_then(|value| value.strip_prefix("Bearer "))
                .is_some_and(&tokens);
            answer(&mut shared.lock().unwrap(), request, admitted)
        });
        Self { authority, graph, _downloads: downloads, state }
    }

    /// The `[hosts]` of a `config.toml` that lead here.
    pub fn hosts(&self) -> String {
        let (graph, login) = (self.graph.url(), self.authority.url());
        format!("[hosts]\nmicrosoft_graph = \"{graph}\"\nmicrosoft_login = \"{login}\"\n")
    }

    /// Where Graph is.
    pub fn url(&self) -> String {
        self.graph.url()
    }

    /// Adds a library to the site, or a drive that is in none; returns the id of its root.
    pub fn library(&self, drive: &str, name: &str) -> String {
        let mut state = self.lock();
        let root = format!("root-of-{}", state.libraries.len());
        state.libraries.push(Library {
            drive: drive.to_owned(),
            root: root.clone(),
            name: name.to_owned(),
            address: name.replace(' ', "%20"),
            columns: Vec::new(),
        });
        state.put(Item::folder(&root, None, "root"));
        root
    }

    /// Calls a library something else; its address stays.
    pub fn rename_library(&self, drive: &str, name: &str) {
        let mut state = self.lock();
        let library = state.libraries.iter_mut().find(|of| of.drive == drive).unwrap();
        library.name = name.to_owned();
    }

    /// Adds a column to the list of the first library.
    pub fn column(&self, name: &str, display_name: &str) {
        self.lock().libraries[0].columns.push((name.to_owned(), display_name.to_owned()));
    }

    /// Gives an item other bytes as it is downloaded, after so many downloads of it.
    pub fn swap_at_download(&self, id: &str, after: usize, bytes: impl Into<Vec<u8>>) {
        self.lock().swaps.push((id.to_owned(), after, bytes.into()));
    }

    /// Adds a site that is not below /sites.
    pub fn site_elsewhere(&self) {
        self.lock().has_elsewhere = true;
    }

    /// Has one byte of the next download changed on its way.
    pub fn damage_next_download(&self) {
        self.lock().damages = true;
    }

    /// Lists the hash of an item from now on, which is no change of it.
    pub fn show_hash(&self, id: &str) {
        self.lock().items.get_mut(id).unwrap().has_hash = true;
    }

    /// Adds a folder to a folder; answers its id.
    pub fn folder(&self, parent: &str, name: &str) -> String {
        let mut state = self.lock();
        let id = state.new_id();
        state.put(Item::folder(&id, Some(parent), name));
        id
    }

    /// Adds a file to a folder; answers its id.
    pub fn file(&self, parent: &str, name: &str, bytes: impl Into<Vec<u8>>) -> String {
        let mut state = self.lock();
        let id = state.new_id();
        let file = Item { bytes: Some(bytes.into()), ..Item::folder(&id, Some(parent), name) };
        state.put(file);
        id
    }

    /// Changes an item.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Item)) {
        let mut state = self.lock();
        let mut item = state.items[id].clone();
        let before = item.bytes.clone();
        change(&mut item);
        if item.bytes != before {
            item.content += 1;
        }
        state.put(item);
    }

    /// Deletes an item; of a folder, each descendant is reported too.
    pub fn delete(&self, id: &str) {
        let mut state = self.lock();
        let below: Vec<String> = state.below(id);
        for id in below.iter().rev() {
            let mut item = state.items[id].clone();
            item.deleted = true;
            state.put(item);
        }
    }

    /// How many items a page of a delta has.
    pub fn page_size(&self, items: usize) {
        self.lock().page_size = items;
    }

    /// Tells an item with an older name before it tells it as it is.
    pub fn repeat(&self, id: &str) {
        self.lock().repeats.insert(id.to_owned());
    }

    /// Answers 200 with the whole file to a range.
    pub fn ignore_range(&self) {
        self.lock().ignores_range = true;
    }

    /// Lets every pre-signed address that was given expire.
    pub fn expire_downloads(&self) {
        self.lock().tickets.clear();
    }

    /// Lists without pre-signed addresses.
    pub fn lose_download_urls(&self) {
        self.lock().loses_urls = true;
    }

    /// The id of what has this name.
    pub fn named(&self, name: &str) -> String {
        let state = self.lock();
        let mut items = state.items.values();
        items.find(|item| item.name == name && !item.deleted).unwrap().id.clone()
    }

    /// An item as it is.
    pub fn item_of(&self, id: &str) -> Item {
        self.lock().items[id].clone()
    }

    /// Fails no more.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Fails.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// What was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// How often something of that kind was asked.
    pub fn count(&self, kind: Kind) -> usize {
        self.lock().seen.iter().filter(|seen| seen.kind == kind).count()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.lock().seen.clear();
    }

    /// How often our credentials went to the download host.
    pub fn leaks(&self) -> u32 {
        self.lock().leaks
    }

    /// The address of the download host.
    pub fn download_host(&self) -> String {
        self.lock().downloads.strip_prefix("http://").unwrap().to_owned()
    }

    /// Counts leaks anew, for a test of the count itself.
    pub fn forgive_leaks(&self) {
        self.lock().leaks = 0;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A test in which our credentials went to the download host fails.
impl Drop for FakeGraph {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.leaks(), 0, "credentials went to the download host");
        }
    }
}

impl Item {
    fn folder(id: &str, parent: Option<&str>, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            name: name.to_owned(),
            bytes: None,
            facets: json!({}),
            has_hash: true,
            size_lie: 0,
            fields: json!({}),
            is_skipped: false,
            content: 1,
            version: 0,
            deleted: false,
        }
    }
}

impl State {
    fn new_id(&mut self) -> String {
        self.number += 1;
        format!("01ITEM{:04}", self.number)
    }

    fn put(&mut self, mut item: Item) {
        self.sequence += 1;
        item.version = self.sequence;
        self.changes.retain(|(_, id)| *id != item.id);
        self.changes.push((self.sequence, item.id.clone()));
        self.items.insert(item.id.clone(), item);
    }

    fn below(&self, id: &str) -> Vec<String> {
        let mut all = vec![id.to_owned()];
        let mut next = 0;
        while let Some(parent) = all.get(next).cloned() {
            let children = self.items.values().filter(|item| item.parent.as_ref() == Some(&parent));
            all.extend(children.filter(|item| !item.deleted).map(|item| item.id.clone()));
            next += 1;
        }
        all
    }

    /// The library that an item is in.
    fn library_of(&self, id: &str) -> &Library {
        let mut id = id.to_owned();
        while let Some(parent) = self.items[&id].parent.clone() {
            id = parent;
        }
        self.libraries.iter().find(|library| library.root == id).unwrap()
    }

    fn drive_of(&self, id: &str) -> String {
        self.library_of(id).drive.clone()
    }

    /// An item as a listing tells it: without a path, as deltas are.
    fn told(&mut self, id: &str, asks: Asks) -> Value {
        let drive = self.drive_of(id);
        let item = self.items[id].clone();
        let mut told = json!({
            "id": item.id,
            "name": item.name,
            "eTag": format!("\"{{{}}},{}\"", item.id, item.version),
            "lastModifiedDateTime": "2026-01-02T03:04:05Z",
            "fileSystemInfo": {
                "createdDateTime": "2025-01-02T03:04:05Z",
                "lastModifiedDateTime": "2025-06-07T08:09:10Z",
            },
            "webUrl": format!("https://contoso.sharepoint.com/{}", item.name),
            "createdBy": { "user": { "email": "ada@contoso.example" } },
            "lastModifiedBy": { "user": { "email": "bob@contoso.example" } },
            "parentReference": { "driveId": drive, "driveType": "business", "id": item.parent },
        });
        if item.deleted {
            // Business deltas may leave the rest out.
            return json!({ "id": item.id, "deleted": { "state": "deleted" },
                "parentReference": { "driveId": drive, "id": item.parent } });
        }
        if item.parent.is_none() {
            told["root"] = json!({});
        }
        match &item.bytes {
            None => told["folder"] = json!({ "childCount": 0 }),
            Some(bytes) => {
                told["size"] = (bytes.len() as i64 + item.size_lie).into();
                told["file"] = json!({ "mimeType": "text/plain" });
                if item.has_hash {
                    told["file"]["hashes"] = json!({ "quickXorHash": quick_xor(bytes) });
                }
                if asks.fields {
                    told["listItem"] = json!({ "id": "7", "fields": item.fields });
                }
                if asks.urls && !self.loses_urls {
                    told["@microsoft.graph.downloadUrl"] = self.ticket(&item.id).into();
                }
            }
        }
        if let Some(facets) = item.facets.as_object() {
            told.as_object_mut().unwrap().extend(facets.clone());
        }
        told
    }

    /// Gives the item of a ticket the other bytes that it is to have by now.
    fn swap(&mut self, ticket: &str) {
        let Some(id) = self.tickets.get(ticket).cloned() else { return };
        let Some(at) = self.swaps.iter().position(|(of, ..)| *of == id) else { return };
        if self.swaps[at].1 > 0 {
            self.swaps[at].1 -= 1;
            return;
        }
        let (_, _, bytes) = self.swaps.remove(at);
        let mut item = self.items[&id].clone();
        (item.bytes, item.content) = (Some(bytes), item.content + 1);
        self.put(item);
    }

    fn ticket(&mut self, id: &str) -> String {
        self.number += 1;
        let ticket = format!("canary-ticket-{}", self.number);
        self.tickets.insert(ticket.clone(), id.to_owned());
        format!("{}/download?tempauth={ticket}", self.downloads)
    }

    /// The first fault that is due for a request of that kind.
    fn fault(&mut self, kind: Kind) -> Option<Reply> {
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

    fn note(&mut self, kind: Kind, request: &Request, reply: Reply) -> Reply {
        let status = match &reply {
            Reply::Answer(answer) => answer.status,
            _ => 0,
        };
        let target = String::from_utf8_lossy(&decode(&request.target)).into_owned();
        self.seen.push(Seen {
            kind,
            target,
            range: request.header("range").map(str::to_owned),
            user_agent: request.header("user-agent").unwrap_or_default().to_owned(),
            status,
        });
        reply
    }

    fn delta(&mut self, drive: &str, request: &Request) -> Answer {
        // `since;behind`: the sequence that a walk began with, and the last that was told.
        let token = request.query_text("token").unwrap_or_default();
        let (since, behind) = match token.split_once(';').unwrap_or((&token, "0")) {
            ("", _) => (0, 0),
            (since, behind) => match (since.parse::<u64>(), behind.parse::<u64>()) {
                (Ok(since), Ok(behind)) => (since, behind),
                _ => return error(400, "invalidRequest"),
            },
        };
        let after = behind.max(since);
        let is_first = since == 0;
        let told = |(_, id): &&(u64, String)| {
            let item = &self.items[id];
            let is_left_out = is_first && (item.deleted || item.is_skipped);
            !is_left_out && self.drive_of(id) == drive
        };
        let changes = || self.changes.iter().filter(told);
        let due: Vec<(u64, String)> =
            changes().filter(|(at, _)| *at > after).take(self.page_size).cloned().collect();
        let last = due.last().map_or(after, |(at, _)| *at);
        let more = changes().any(|(at, _)| *at > last);
        let mut value = Vec::new();
        for (_, id) in &due {
            let told = self.told(id, Asks::by(request));
            if self.repeats.contains(id) {
                let mut older = told.clone();
                older["name"] = "older name".into();
                value.push(older);
            }
            value.push(told);
        }
        // Whatever else was asked for is asked for by the links, too.
        let others = request.raw_query().split('&').filter(|part| !part.starts_with("token="));
        let others: String = others.map(|part| format!("&{part}")).collect();
        let link = |token: String| {
            let host = request.header("host").unwrap_or_default();
            format!("http://{host}/v1.0/drives/{drive}/root/delta?token={token}{others}")
        };
        let mut body = json!({ "value": value });
        match more {
            true => body["@odata.nextLink"] = link(format!("{since};{last}")).into(),
            false => body["@odata.deltaLink"] = link(format!("{last};{last}")).into(),
        }
        Answer::new(200, body.to_string())
    }

    fn item(&mut self, id: &str, asks: Asks) -> Answer {
        match self.items.get(id) {
            Some(item) if !item.deleted => Answer::new(200, self.told(id, asks).to_string()),
            _ => error(404, "itemNotFound"),
        }
    }

    fn root_of(&self, drive: &str) -> Option<String> {
        let mut all = self.libraries.iter();
        Some(all.find(|library| library.drive == drive)?.root.clone())
    }

    fn columns(&self, drive: &str) -> Answer {
        let Some(library) = self.libraries.iter().find(|library| library.drive == drive) else {
            return error(404, "itemNotFound");
        };
        let column =
            |(name, display): &(String, String)| json!({ "name": name, "displayName": display });
        let value: Vec<Value> = library.columns.iter().map(column).collect();
        Answer::new(200, json!({ "value": value }).to_string())
    }

    fn by_path(&mut self, drive: &str, path: &str, asks: Asks) -> Answer {
        let Some(mut id) = self.root_of(drive) else { return error(404, "itemNotFound") };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let child = self.items.values().find(|item| {
                item.parent.as_ref() == Some(&id) && item.name == name && !item.deleted
            });
            match child {
                Some(child) => id = child.id.clone(),
                None => return error(404, "itemNotFound"),
            }
        }
        self.item(&id, asks)
    }

    fn children(&mut self, id: &str, asks: Asks) -> Answer {
        let ids: Vec<String> = self
            .items
            .values()
            .filter(|item| item.parent.as_deref() == Some(id) && !item.deleted)
            .map(|item| item.id.clone())
            .collect();
        let value: Vec<Value> = ids.iter().map(|id| self.told(id, asks)).collect();
        Answer::new(200, json!({ "value": value }).to_string())
    }

    fn batch(&mut self, request: &Request) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let requests = body["requests"].as_array().unwrap().clone();
        assert!(requests.len() <= 20, "a batch has at most 20 requests");
        let responses: Vec<Value> = requests
            .iter()
            .map(|one| {
                let url = one["url"].as_str().unwrap();
                let id = url.split(['?', '/']).rfind(|part| part.starts_with("01ITEM"));
                let answer = match self.fault(Kind::Item) {
                    Some(Reply::Answer(answer)) => answer,
                    _ => self.item(id.unwrap_or_default(), Asks { urls: false, fields: false }),
                };
                let headers: serde_json::Map<String, Value> = answer
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone().into()))
                    .collect();
                json!({
                    "id": one["id"], "status": answer.status, "headers": headers,
                    "body": serde_json::from_slice::<Value>(&answer.body).unwrap_or_default(),
                })
            })
            .collect();
        Answer::new(200, json!({ "responses": responses }).to_string())
    }
}

fn error(status: u16, code: &str) -> Answer {
    let body = json!({ "error": { "code": code, "message": format!("the words of {code}") } });
    Answer::new(status, body.to_string()).header("Content-Type", "application/json")
}

fn answer(state: &mut State, request: &Request, admitted: bool) -> Reply {
    let path = String::from_utf8_lossy(&decode(request.raw_path())).into_owned();
    let Some(path) = path.strip_prefix("/v1.0") else { return error(404, "notFound").into() };
    let drive = path.strip_prefix("/drives/").and_then(|rest| rest.split_once('/'));
    let below = drive.map_or(path, |(_, rest)| rest);
    let drive = drive.map(|(drive, _)| drive.to_owned());
    let known = drive.as_deref().unwrap_or(DRIVE);
    let asks = Asks::by(request);
    let kind = match () {
        () if path == "/$batch" => Kind::Batch,
        () if below.ends_with("/delta") => Kind::Delta,
        () if below.ends_with("/children") => Kind::Children,
        () if below.ends_with("/content") => Kind::Content,
        () if below == "list/columns" => Kind::Columns,
        () if drive.is_some() => Kind::Item,
        () => Kind::Place,
    };
    if !admitted {
        let refused = error(401, "InvalidAuthenticationToken").into();
        return state.note(kind, request, refused);
    }
    if let Some(reply) = state.fault(kind) {
        return state.note(kind, request, reply);
    }
    let id = below.strip_prefix("items/").and_then(|rest| rest.split('/').next());
    let reply = match kind {
        Kind::Batch => state.batch(request),
        Kind::Delta if state.root_of(known).is_none() => error(404, "itemNotFound"),
        Kind::Delta => state.delta(known, request),
        Kind::Columns => state.columns(known),
        Kind::Children => state.children(id.unwrap_or("root"), asks),
        Kind::Content => {
            let url = state.ticket(id.unwrap_or_default());
            Answer::new(302, "").header("Location", url)
        }
        Kind::Item => match (id, below.strip_prefix("root:")) {
            (Some(id), _) => state.item(id, asks),
            (None, Some(path)) => state.by_path(known, path.trim_end_matches(':'), asks),
            (None, None) => state.by_path(known, "", asks),
        },
        Kind::Place | Kind::Download => place(state, path),
    };
    state.note(kind, request, reply.into())
}

fn place(state: &State, path: &str) -> Answer {
    let drive = |library: &Library| {
        let Library { drive, name, address, .. } = library;
        json!({ "id": drive, "name": name, "driveType": "business",
            "webUrl": format!("https://contoso.sharepoint.com/sites/Team/{address}") })
    };
    let first = drive(&state.libraries[0]);
    let site = |id: &str, path: &str, name: &str| {
        json!({ "id": id, "displayName": name, "name": name,
            "webUrl": format!("https://contoso.sharepoint.com/sites/{path}"),
            "siteCollection": { "hostname": "contoso.sharepoint.com" } })
    };
    let (team, sub) = (site(SITE, "Team", "Team"), site(SUBSITE, "Team/Sub", "Sub"));
    let news = site(ELSEWHERE, "", "News");
    let body = match path {
        "/me/drive" | "/users/ada@contoso.example/drive" => first,
        "/sites/root" | "/sites/contoso.sharepoint.com:/sites/Team" => team,
        "/sites/contoso.sharepoint.com:/sites/Team/Sub" => sub,
        "/sites" if state.has_elsewhere => {
            let mut news = news;
            news["webUrl"] = "https://contoso.sharepoint.com/teams/News".into();
            json!({ "value": [team, news] })
        }
        "/sites" | "/me/followedSites" => json!({ "value": [team] }),
        path if path == format!("/sites/{SITE}/drives")
            || path == format!("/sites/{ELSEWHERE}/drives") =>
        {
            json!({ "value": state.libraries.iter().map(drive).collect::<Vec<_>>() })
        }
        path if path == format!("/sites/{SUBSITE}/drives") => json!({ "value": [first] }),
        path if path == format!("/drives/{DRIVE}") => first,
        _ => return error(404, "itemNotFound"),
    };
    Answer::new(200, body.to_string())
}

/// The other host: it knows only its own addresses, and nobody's credentials.
fn download(state: &mut State, request: &Request) -> Reply {
    if request.header("authorization").is_some() {
        state.leaks += 1;
    }
    if let Some(reply) = state.fault(Kind::Download) {
        return state.note(Kind::Download, request, reply);
    }
    let ticket = request.query_text("tempauth").unwrap_or_default();
    state.swap(&ticket);
    let found = state.tickets.get(&ticket).and_then(|id| state.items.get(id)).cloned();
    let Some(mut bytes) = found.filter(|item| !item.deleted).and_then(|item| item.bytes) else {
        return state.note(Kind::Download, request, Answer::new(401, "").into());
    };
    let whole = bytes.len();
    let range = request.header("range").filter(|_| !state.ignores_range).map(|range| {
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        first..last.parse::<usize>().map_or(whole, |last| (last + 1).min(whole))
    });
    if std::mem::take(&mut state.damages) {
        let at = range.as_ref().map_or(0, |range| range.start);
        bytes[at] ^= 1;
    }
    let mut answer = Answer::new(200, bytes);
    if let Some(range) = range {
        answer.status = 206;
        let content = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
        answer = answer.header("Content-Range", content);
        answer.range = range;
    }
    answer.delivery = Delivery::Whole;
    state.note(Kind::Download, request, answer.into())
}

/// QuickXorHash, bit by bit, as Microsoft describes it.
fn quick_xor(bytes: &[u8]) -> String {
    let mut bits = [false; 160];
    for (index, byte) in bytes.iter().enumerate() {
        for bit in 0..8 {
            let at = (index * 11 + bit) % 160;
            bits[at] ^= byte >> bit & 1 == 1;
        }
    }
    let mut hash = [0_u8; 20];
    for (at, bit) in bits.iter().enumerate() {
        hash[at / 8] |= u8::from(*bit) << (at % 8);
    }
    for (cell, byte) in hash[12..].iter_mut().zip((bytes.len() as u64).to_le_bytes()) {
        *cell ^= byte;
    }
    BASE64_STANDARD.encode(hash)
}
