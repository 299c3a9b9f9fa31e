//! A drive, a folder, or what is shared with the account, as a source.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{
    api::{Api, UNITS_PER_MINUTE, units},
    batch,
    export::{FOLDER, Format, Formats},
    file::{FIELDS, File, Listed, Listings, NOWHERE, SHARED},
    place::Place,
    refusal::Subject,
};
use crate::{
    model::{Credentials, Cursor, Entry, EntryId, EntryPath, Fingerprint, Folder, FolderId, Shard},
    sources::{
        Absence, Body, ByteRange, Content, Facts, Listing, Needs, Opening, Page, Profile,
        RootFolder, RootIdentity, Source, SourceError,
        browse::{Item, Level, Wanted},
        http::{Client, USER_AGENT, Usage, headers::text_of, stream},
        limits::Rate,
        oauth::google::Google,
        retry::RetryPolicy,
        trail::Trail,
    },
};

/// Folders that one query lists.
const FOLDERS_AT_ONCE: usize = 50;

/// How many downloads at once the quota lets through without waiting.
const CONCURRENCY: usize = 8;

/// How often a listing begins anew because its page token is refused.
const RESTARTS: usize = 3;

/// Files of a page.
const PAGE: &str = "1000";

/// See the module.
pub(super) struct Drive {
    api: Api,
    root: Root,
    formats: Formats,
    /// The person's own query, if there is one.
    query: Option<String>,
    acknowledge_abuse: bool,
    follows_shortcuts: bool,
}

/// What is synced, known by ids.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    /// Above all drives, for people who look around.
    Top,
    /// A whole drive; `drive` is its id if it is a shared one.
    Whole { folder: String, drive: Option<String> },
    /// A folder.
    Folder { id: String, drive: Option<String> },
    /// What is shared with the account.
    Shared,
}

/// The settings of a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    shared_drive_id: Option<String>,
    impersonate_user: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Files {
    files: Vec<File>,
    next_page_token: Option<String>,
    incomplete_search: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Changes {
    changes: Vec<Change>,
    next_page_token: Option<String>,
    new_start_page_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Change {
    change_type: String,
    removed: bool,
    file_id: String,
    file: Option<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartPageToken {
    start_page_token: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Drives {
    drives: Vec<File>,
    next_page_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct User {
    email_address: String,
    permission_id: String,
}

impl Drive {
    /// Opens a place. One that is not resolved to ids yet takes requests.
    pub(super) async fn open(opening: Opening<'_>) -> Result<Self, SourceError> {
        let Opening { location, credentials, options, tuning, .. } = opening;
        let misconfigured = |message: String| SourceError::Misconfigured { message };
        let config = location.connection.settings.get("config").cloned().unwrap_or_default();
        let settings: Settings =
            serde_json::from_value(config).map_err(|error| misconfigured(error.to_string()))?;
        let credentials = credentials.ok_or_else(|| {
            misconfigured("this connection's credentials are gone: enter them again".to_owned())
        })?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let google =
            Google { hosts: tuning.hosts.clone(), subject: given(settings.impersonate_user) };
        let connection = Credentials::keeper(credentials).and_then(|keeper| keeper.id());
        let per_minute = tuning.budgets.limits().google_drive_units_per_minute;
        let per_minute = per_minute.map_or(UNITS_PER_MINUTE, Rate::of_a_minute);
        let budget = tuning.budgets.of(connection, Some(per_minute));
        let host = tuning.hosts.google_api.as_str().to_owned();
        let client: Client<Full<Bytes>> =
            Client::new(host.starts_with("http://"), USER_AGENT, budget)?;
        let clock = tuning.clock.clone();
        let grant = tuning.grants.of(credentials, std::sync::Arc::new(google), clock.clone());
        let filters = &options.provider_filters;
        let text = |name: &str| {
            let value = filters.get(name).and_then(serde_json::Value::as_str);
            given(value.map(str::to_owned))
        };
        let mut drive = Self {
            api: Api { client, grant, host, clock },
            root: Root::Top,
            formats: Formats::read(filters.get("export_formats")).unwrap_or_default(),
            query: text("q"),
            acknowledge_abuse: filters.get("acknowledge_abuse") == Some(&true.into()),
            follows_shortcuts: filters.get("follow_shortcuts") != Some(&false.into()),
        };
        let shared_drive = text("shared_drive_id").or(given(settings.shared_drive_id));
        let place = Place::parse(&String::from_utf8_lossy(&location.source_path))
            .map_err(|problem| misconfigured(format!("source_path {problem}")))?;
        drive.root = drive.resolve(place, shared_drive).await?;
        Ok(drive)
    }

    async fn resolve(
        &self,
        place: Place,
        shared_drive: Option<String>,
    ) -> Result<Root, SourceError> {
        Ok(match place {
            Place::Top => Root::Top,
            Place::SharedWithMe => Root::Shared,
            Place::MyDrive { root } => Root::Whole { folder: root, drive: None },
            Place::Drive => match shared_drive {
                Some(drive) => Root::Whole { folder: drive.clone(), drive: Some(drive) },
                None => {
                    let folder = self.get(Subject::Root, "root").await?.id;
                    Root::Whole { folder, drive: None }
                }
            },
            Place::Folder { id, drive: Some(drive) } if id == drive => {
                Root::Whole { folder: id, drive: Some(drive) }
            }
            Place::Folder { id, drive } => Root::Folder { id, drive },
            Place::Id(id) => self.by_id(&id).await?,
            Place::Path(names) => {
                let mut at = shared_drive.clone().unwrap_or_else(|| "root".to_owned());
                for name in &names {
                    at = self.child(&at, name, shared_drive.as_deref()).await?;
                }
                Root::Folder { id: at, drive: shared_drive }
            }
        })
    }

    async fn by_id(&self, id: &str) -> Result<Root, SourceError> {
        let file = self.get(Subject::Root, id).await?;
        let drive = file.drive_id.clone();
        if !file.is_folder() {
            return Err(SourceError::Misconfigured {
                message: format!(
                    "{id} is the file {:?}: to sync one file, sync its folder with a filter",
                    file.name
                ),
            });
        }
        Ok(match drive.as_deref() == Some(id) {
            true => Root::Whole { folder: file.id, drive },
            false => Root::Folder { id: file.id, drive },
        })
    }

    /// The folder of that name in another.
    async fn child(
        &self,
        parent: &str,
        name: &str,
        drive: Option<&str>,
    ) -> Result<String, SourceError> {
        let query = format!(
            "{} in parents and name = {} and mimeType = '{FOLDER}' and trashed = false",
            quoted(parent),
            quoted(name)
        );
        let found = self.list(drive, &query, None, "name").await?.files;
        match found.as_slice() {
            [] => Err(SourceError::RootMissing { message: format!("there is no folder {name:?}") }),
            [only] => Ok(only.id.clone()),
            several => {
                let ids: Vec<&str> = several.iter().map(|folder| folder.id.as_str()).collect();
                Err(SourceError::Misconfigured {
                    message: format!(
                        "there are {} folders {name:?}: name one by its id, {}",
                        several.len(),
                        ids.join(" or ")
                    ),
                })
            }
        }
    }

    async fn get(&self, subject: Subject, id: &str) -> Result<File, SourceError> {
        let path = format!("/drive/v3/files/{id}");
        let query = [("fields", FIELDS), ("supportsAllDrives", "true")];
        self.again(|| self.api.json(self.api.call(subject, units::GET, &path, &query))).await
    }

    /// Asks until there is a response, as a listing does.
    async fn again<T, F>(&self, ask: impl FnMut() -> F + Send) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>> + Send,
    {
        RetryPolicy::LISTING.run(ask).await
    }

    /// A page of files that a query finds.
    async fn list(
        &self,
        drive: Option<&str>,
        query: &str,
        token: Option<&str>,
        order: &str,
    ) -> Result<Files, SourceError> {
        let fields = format!("nextPageToken,incompleteSearch,files({FIELDS})");
        let mut pairs = vec![
            ("q", query),
            ("pageSize", PAGE),
            ("fields", &fields),
            ("spaces", "drive"),
            ("supportsAllDrives", "true"),
            ("includeItemsFromAllDrives", "true"),
        ];
        match drive {
            Some(drive) => pairs.extend([("corpora", "drive"), ("driveId", drive)]),
            None => pairs.push(("corpora", "user")),
        }
        if !order.is_empty() {
            pairs.push(("orderBy", order));
        }
        pairs.extend(token.map(|token| ("pageToken", token)));
        let subject = if token.is_some() { Subject::Feed } else { Subject::Root };
        let files: Files = self
            .again(|| self.api.json(self.api.call(subject, units::LIST, "/drive/v3/files", &pairs)))
            .await?;
        match files.incomplete_search {
            true => Err(SourceError::Transient {
                message: "Google has not searched all drives".to_owned(),
            }),
            false => Ok(files),
        }
    }

    /// The shared drive that is synced, or that the folder is in.
    fn drive(&self) -> Option<&str> {
        match &self.root {
            Root::Whole { drive, .. } | Root::Folder { drive, .. } => drive.as_deref(),
            Root::Top | Root::Shared => None,
        }
    }

    /// A condition with what holds for every listing, and with the person's query: folders are
    /// listed all the same, for they lead to what it finds.
    fn query(&self, condition: &str) -> String {
        let mut query = "trashed = false".to_owned();
        if !condition.is_empty() {
            query.push_str(&format!(" and ({condition})"));
        }
        if let Some(own) = &self.query {
            query.push_str(&format!(" and (({own}) or mimeType = '{FOLDER}')"));
        }
        query
    }

    fn page(&self, files: &[File], cursor: Option<String>) -> Page {
        let mut page =
            Page { cursor: cursor.map(|token| Cursor(token.into_bytes())), ..Page::default() };
        for file in files.iter().filter(|file| !file.trashed) {
            match file.listed(self.listings()) {
                Listed::Folder(folder) => page.folders.push(folder),
                Listed::Entry(entry) => page.entries.push(entry),
                Listed::Link(link) => page.links.push(link),
            }
        }
        page
    }

    fn listings(&self) -> Listings<'_> {
        Listings {
            formats: &self.formats,
            shared_is_root: self.root == Root::Shared,
            follows_shortcuts: self.follows_shortcuts,
        }
    }

    /// What is below some folders, by conditions that are asked one after the other; of the last
    /// one from `token` on.
    fn listed(
        &self,
        conditions: Vec<String>,
        token: Option<String>,
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let start = (conditions, token, Trail::default());
        stream::try_unfold(start, move |(mut conditions, token, mut trail)| async move {
            let Some(condition) = conditions.last().cloned() else { return Ok(None) };
            let query = self.query(&condition);
            let Files { files, next_page_token: next, .. } =
                self.list(self.drive(), &query, token.as_deref(), "").await?;
            trail.follow(files.len(), next.as_deref())?;
            if next.is_none() {
                conditions.pop();
            }
            Ok(Some((self.page(&files, None), (conditions, next, trail))))
        })
        .boxed()
    }

    /// The first page of what several folders have, the conditions that are left to ask, and where
    /// the first of them continues.
    async fn first_page(
        &self,
        folders: &[FolderId],
    ) -> Result<(Option<Page>, Vec<String>, Option<String>), SourceError> {
        let each: Vec<String> = folders.iter().map(condition).collect();
        if each.len() < 2 {
            return Ok((None, each, None));
        }
        let together = each.join(" or ");
        let files = self.list(self.drive(), &self.query(&together), None, "").await?;
        let page = self.page(&files.files, None);
        Ok(match (files.files.is_empty(), files.next_page_token) {
            // Service accounts may be told of nothing at all in a shared drive, when several
            // folders are asked for at once.
            (true, None) => (None, each, None),
            (_, None) => (Some(page), Vec::new(), None),
            (_, token) => (Some(page), vec![together], token),
        })
    }

    async fn feed(&self, token: &str) -> Result<Changes, SourceError> {
        let fields = format!(
            "nextPageToken,newStartPageToken,changes(changeType,removed,fileId,file({FIELDS}))"
        );
        let mut pairs = vec![
            ("pageToken", token),
            ("pageSize", PAGE),
            ("fields", &fields),
            ("spaces", "drive"),
            ("includeRemoved", "true"),
            ("supportsAllDrives", "true"),
            ("includeItemsFromAllDrives", "true"),
        ];
        pairs.extend(self.drive().map(|drive| ("driveId", drive)));
        self.again(|| {
            self.api.json(self.api.call(Subject::Feed, units::LIST, "/drive/v3/changes", &pairs))
        })
        .await
    }

    /// A page of changes, with the last word on each id.
    fn changed(&self, changes: Vec<Change>, cursor: String) -> Page {
        let mut last: Vec<Change> = Vec::with_capacity(changes.len());
        let mut seen = std::collections::HashSet::new();
        for change in changes.into_iter().rev() {
            if change.change_type != "drive" && seen.insert(change.file_id.clone()) {
                last.push(change);
            }
        }
        let (mut files, mut removed) = (Vec::new(), Vec::new());
        for change in last.into_iter().rev() {
            match change.file {
                Some(file) if !change.removed && !file.trashed => files.push(file),
                _ => removed.push(EntryPath::new(change.file_id.into_bytes())),
            }
        }
        Page { removed, ..self.page(&files, Some(cursor)) }
    }

    async fn about(&self) -> Result<User, SourceError> {
        let query = [("fields", "user(emailAddress,permissionId)")];
        let about: About = self
            .again(|| {
                self.api.json(self.api.call(Subject::Root, units::GET, "/drive/v3/about", &query))
            })
            .await?;
        Ok(about.user)
    }

    async fn download(
        &self,
        id: &str,
        size: u64,
        range: Option<ByteRange>,
    ) -> Result<Response<Incoming>, SourceError> {
        let mut query = vec![("alt", "media"), ("supportsAllDrives", "true")];
        if self.acknowledge_abuse {
            query.push(("acknowledgeAbuse", "true"));
        }
        let path = format!("/drive/v3/files/{id}");
        let mut call = self.api.call(Subject::File, units::DOWNLOAD, &path, &query);
        if let Some(ByteRange { start, len }) = range {
            let last = start + len.saturating_sub(1);
            call = call.header(header::RANGE, &format!("bytes={start}-{last}"));
        }
        let response = self.api.open(call).await?;
        match range {
            Some(range) => check_range(&response, range, size).map(|()| response),
            None => Ok(response),
        }
    }

    /// The drives and places that there are.
    async fn top(&self, wanted: Wanted, limit: usize) -> Result<Level, SourceError> {
        if wanted == Wanted::Files {
            return Ok(Level::default());
        }
        let mut items = vec![
            folder("My Drive", "root"),
            folder("Shared with me", super::place::SHARED_WITH_ME),
        ];
        let (mut token, mut trail) = (None::<String>, Trail::default());
        loop {
            let mut query = vec![("pageSize", "100"), ("fields", "nextPageToken,drives(id,name)")];
            query.extend(token.as_deref().map(|token| ("pageToken", token)));
            let page: Drives = self
                .again(|| {
                    let path = "/drive/v3/drives";
                    self.api.json(self.api.call(Subject::Root, units::LIST, path, &query))
                })
                .await?;
            items.extend(page.drives.iter().map(|drive| folder(&drive.name, &drive.id)));
            token = page.next_page_token;
            trail.follow(page.drives.len(), token.as_deref())?;
            if token.is_none() || items.len() > limit {
                break;
            }
        }
        let truncated = items.len() > limit || token.is_some();
        items.truncate(limit);
        Ok(Level { items, truncated })
    }

    /// The folders or files of a folder, by name.
    async fn level(
        &self,
        folder: &FolderId,
        wanted: Wanted,
        limit: usize,
    ) -> Result<Level, SourceError> {
        let kind = match wanted {
            Wanted::Folders => "=",
            Wanted::Files => "!=",
        };
        let query =
            format!("{} and mimeType {kind} '{FOLDER}' and trashed = false", condition(folder));
        let (mut items, mut token, mut trail) = (Vec::new(), None::<String>, Trail::default());
        loop {
            let page = self.list(self.drive(), &query, token.as_deref(), "name").await?;
            items.extend(page.files.iter().map(item));
            token = page.next_page_token;
            trail.follow(page.files.len(), token.as_deref())?;
            if token.is_none() || items.len() > limit {
                break;
            }
        }
        let truncated = items.len() > limit || token.is_some();
        items.truncate(limit);
        Ok(Level { items, truncated })
    }
}

#[async_trait]
impl Source for Drive {
    /// A whole drive is there if it can be listed, and takes no request.
    async fn root(&self) -> Result<RootIdentity, SourceError> {
        Ok(RootIdentity(match &self.root {
            Root::Top => None,
            Root::Whole { folder, .. } => Some(format!("drive {folder}")),
            Root::Folder { id, drive } => {
                let folder = self.get(Subject::Root, id).await?;
                if folder.trashed {
                    let message = format!("the folder {:?} is in the trash", folder.name);
                    return Err(SourceError::RootMissing { message });
                }
                Some(format!("drive {} folder {id}", drive.as_deref().unwrap_or("my")))
            }
            Root::Shared => Some(format!("shared with {}", self.about().await?.permission_id)),
        }))
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.root().await?;
        match &self.root {
            Root::Whole { .. } => {
                self.list(self.drive(), &self.query(""), None, "").await.map(drop)
            }
            _ => Ok(()),
        }
    }

    fn place(&self) -> Option<Vec<u8>> {
        let place = match self.root.clone() {
            Root::Top | Root::Whole { drive: Some(_), .. } | Root::Shared => return None,
            Root::Whole { folder, drive: None } => Place::MyDrive { root: folder },
            Root::Folder { id, drive } => Place::Folder { id, drive },
        };
        Some(place.to_string().into_bytes())
    }

    fn profile(&self) -> Profile {
        let root = match &self.root {
            Root::Top => return Profile::default(),
            Root::Whole { folder, .. } => folder.as_str(),
            Root::Folder { id, .. } => id.as_str(),
            Root::Shared => SHARED,
        };
        let id = EntryPath::new(root.as_bytes());
        Profile {
            roots: vec![RootFolder { id, path: EntryPath::new(Vec::new()) }],
            listing: match &self.root {
                Root::Whole { .. } => Listing::Flat,
                _ => Listing::ByFolder { at_once: FOLDERS_AT_ONCE },
            },
            has_feed: self.query.is_none(),
            absence: Absence::Ask { at_once: batch::MOST },
            has_outlines: false,
            // The feed of a shared drive is about nothing else.
            asks_for_targets: self.follows_shortcuts && self.drive().is_some(),
        }
    }

    /// Everything that the account sees in the drive. A page token that is refused makes the
    /// listing begin anew.
    fn walk(&self, _: &Shard, from: Option<Cursor>) -> BoxStream<'_, Result<Page, SourceError>> {
        let from = from.map(|cursor| String::from_utf8_lossy(&cursor.0).into_owned());
        let query = self.query("");
        let start = Some((from, 0, Trail::default()));
        stream::try_unfold(start, move |at| {
            let query = query.clone();
            async move {
                let Some((mut token, mut restarts, mut trail)) = at else { return Ok(None) };
                let files = loop {
                    match self.list(self.drive(), &query, token.as_deref(), "").await {
                        Err(SourceError::FeedExpired { message }) => {
                            if restarts == RESTARTS {
                                return Err(SourceError::Garbled { message });
                            }
                            (token, restarts, trail) = (None, restarts + 1, Trail::default());
                        }
                        outcome => break outcome?,
                    }
                };
                let next = files.next_page_token;
                trail.follow(files.files.len(), next.as_deref())?;
                let page = self.page(&files.files, next.clone());
                Ok(Some((page, next.map(|token| (Some(token), restarts, trail)))))
            }
        })
        .boxed()
    }

    fn children(
        &self,
        _: &Shard,
        folders: &[FolderId],
    ) -> BoxStream<'_, Result<Page, SourceError>> {
        let folders = folders.to_vec();
        stream::once(async move { self.first_page(&folders).await })
            .flat_map(|first| match first {
                Ok((page, conditions, token)) => {
                    stream::iter(page.map(Ok)).chain(self.listed(conditions, token)).boxed()
                }
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    async fn folder(&self, id: &FolderId) -> Result<Option<Folder>, SourceError> {
        let Some(id) = file_id(id) else { return Ok(None) };
        match self.get(Subject::File, id).await {
            Ok(file) if file.trashed => Ok(None),
            Ok(file) => Ok(match file.listed(self.listings()) {
                Listed::Folder(folder) => Some(folder),
                Listed::Entry(_) | Listed::Link(_) => None,
            }),
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn feed_token(&self, _: &Shard) -> Result<Cursor, SourceError> {
        let mut query = vec![("supportsAllDrives", "true")];
        query.extend(self.drive().map(|drive| ("driveId", drive)));
        let token: StartPageToken = self
            .again(|| {
                let path = "/drive/v3/changes/startPageToken";
                self.api.json(self.api.call(Subject::Root, units::LIST, path, &query))
            })
            .await?;
        Ok(Cursor(token.start_page_token.into_bytes()))
    }

    fn changes(&self, _: &Shard, from: Cursor) -> BoxStream<'_, Result<Page, SourceError>> {
        let from = String::from_utf8_lossy(&from.0).into_owned();
        let start = Some((from, Trail::default()));
        stream::try_unfold(start, move |at| async move {
            let Some((token, mut trail)) = at else { return Ok(None) };
            let page = self.feed(&token).await?;
            let next = page.next_page_token.filter(|next| *next != token);
            trail.follow(page.changes.len(), next.as_deref())?;
            let cursor = next.clone().or(page.new_start_page_token).ok_or_else(|| {
                let message = "Google's page of changes has no token".to_owned();
                SourceError::Garbled { message }
            })?;
            Ok(Some((self.changed(page.changes, cursor), next.map(|next| (next, trail)))))
        })
        .boxed()
    }

    async fn existing(&self, ids: &[EntryId]) -> Result<Vec<EntryId>, SourceError> {
        #[derive(Deserialize)]
        struct There {
            #[serde(default)]
            trashed: bool,
        }
        let mut existing = Vec::new();
        for ids in ids.chunks(batch::MOST) {
            let path = |id: &EntryId| {
                let id = file_id(id).unwrap_or("-");
                format!("/drive/v3/files/{id}?fields=id%2Ctrashed&supportsAllDrives=true")
            };
            let paths: Vec<String> = ids.iter().map(path).collect();
            let parts = self.again(|| self.api.batch(&paths)).await?;
            for (id, part) in ids.iter().zip(parts) {
                match part.status {
                    404 => {}
                    200 => {
                        let there: There = serde_json::from_str(&part.body)
                            .map_err(|error| SourceError::Garbled { message: error.to_string() })?;
                        if !there.trashed {
                            existing.push(id.clone());
                        }
                    }
                    // What is not known to be gone stays.
                    _ => existing.push(id.clone()),
                }
            }
        }
        Ok(existing)
    }

    async fn by_ids(&self, ids: &[EntryId]) -> Result<Page, SourceError> {
        let fields = utf8_percent_encode(FIELDS, NON_ALPHANUMERIC).to_string();
        let path = |id: &EntryId| {
            let id = file_id(id).unwrap_or(NOWHERE);
            format!("/drive/v3/files/{id}?fields={fields}&supportsAllDrives=true")
        };
        let paths: Vec<String> = ids.iter().map(path).collect();
        let parts = self.again(|| self.api.batch(&paths)).await?;
        let (mut files, mut removed) = (Vec::new(), Vec::new());
        for (id, part) in ids.iter().zip(parts) {
            match part.status {
                404 => removed.push(id.clone()),
                200 => {
                    let file: File = serde_json::from_str(&part.body)
                        .map_err(|error| SourceError::Garbled { message: error.to_string() })?;
                    match file.trashed {
                        true => removed.push(id.clone()),
                        false => files.push(file),
                    }
                }
                _ => {}
            }
        }
        Ok(Page { removed, ..self.page(&files, None) })
    }

    async fn stat(&self, id: &EntryId) -> Result<Option<Entry>, SourceError> {
        let Some(id) = file_id(id) else { return Ok(None) };
        match self.get(Subject::File, id).await {
            Ok(file) if file.trashed => Ok(None),
            Ok(file) => Ok(match file.listed(self.listings()) {
                Listed::Entry(entry) => Some(entry),
                Listed::Folder(_) | Listed::Link(_) => None,
            }),
            Err(SourceError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        range: Option<ByteRange>,
    ) -> Result<Content, SourceError> {
        let facts = Facts { mime: fingerprint.mime.clone(), ..Facts::default() };
        if fingerprint.known_size() == Some(0) {
            return Ok(Content { facts, body: Body::Stream(stream::empty().boxed()) });
        }
        let id = file_id(id).ok_or_else(|| SourceError::NotFound {
            message: format!("{} is no id of a file", id.to_json_text()),
        })?;
        let response = match Format::of_version(&fingerprint.version) {
            Some(format) => self.api.export(id, format).await?,
            None => self.download(id, fingerprint.size, range).await?,
        };
        Ok(Content { facts, body: Body::Stream(stream(response.into_body())) })
    }

    async fn facts(
        &self,
        id: &EntryId,
        fingerprint: &Fingerprint,
        needs: Needs,
    ) -> Result<Facts, SourceError> {
        if !needs.properties {
            return Ok(Facts::default());
        }
        let listed = match fingerprint.properties() {
            Some(properties) => Some(properties.clone()),
            None => match self.stat(id).await?.map(|entry| entry.kind) {
                Some(crate::model::EntryKind::File(now)) => now.properties().cloned(),
                _ => None,
            },
        };
        let properties = listed.unwrap_or_default();
        Ok(Facts { mime: fingerprint.mime.clone(), properties, ..Facts::default() })
    }

    async fn browse(&self, wanted: Wanted, limit: usize) -> Result<Level, SourceError> {
        match self.profile().roots.first() {
            Some(root) => self.level(&root.id, wanted, limit).await,
            None => self.top(wanted, limit).await,
        }
    }

    async fn account(&self) -> Result<Option<String>, SourceError> {
        Ok(Some(self.about().await?.email_address))
    }

    fn default_concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn usage(&self) -> Usage {
        self.api.usage()
    }
}

/// The id of a file or folder, unless it is one that stands for something else.
fn file_id(id: &EntryId) -> Option<&str> {
    let id = str::from_utf8(id.as_bytes()).ok()?;
    (![NOWHERE, SHARED].contains(&id) && super::place::is_id(id)).then_some(id)
}

/// Text in a query (<https://developers.google.com/workspace/drive/api/guides/search-files>).
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What a query says of the files of a folder.
fn condition(folder: &FolderId) -> String {
    match str::from_utf8(folder.as_bytes()) {
        Ok(SHARED) => "sharedWithMe = true".to_owned(),
        Ok(id) => format!("{} in parents", quoted(id)),
        Err(_) => format!("{} in parents", quoted(NOWHERE)),
    }
}

fn folder(name: &str, id: &str) -> Item {
    Item {
        name: EntryPath::new(name.as_bytes()),
        id: Some(id.to_owned()),
        mime: None,
        size: None,
        modified: None,
        note: None,
    }
}

fn item(file: &File) -> Item {
    Item {
        name: EntryPath::new(file.name.as_bytes()),
        id: Some(file.id.clone()),
        mime: Some(file.mime_type.clone()),
        size: file.size(),
        modified: file.modified_time,
        note: None,
    }
}

/// Whether a response is the range that was asked for, of a file of that size.
fn check_range(
    response: &Response<Incoming>,
    range: ByteRange,
    size: u64,
) -> Result<(), SourceError> {
    let last = range.start + range.len.saturating_sub(1);
    let expected = format!("bytes {}-{last}/{size}", range.start);
    let got = text_of(response.headers(), header::CONTENT_RANGE.as_str()).unwrap_or_default();
    if response.status() == StatusCode::PARTIAL_CONTENT && got == expected {
        return Ok(());
    }
    let message = format!("{got:?} (HTTP {}) instead of {expected:?}", response.status());
    match got.rsplit('/').next().and_then(|total| total.parse::<u64>().ok()) {
        Some(total) if total != size => Err(SourceError::Changed { message }),
        _ => Err(SourceError::Garbled { message }),
    }
}
